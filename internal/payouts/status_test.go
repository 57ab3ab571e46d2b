package payouts_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

// report is the bank's on a batch, of a group status and transactions.
func report(id string, b payouts.Batch, group payouts.Status, transactions ...payouts.ReportTransaction) payouts.StatusReport {
	return func(yield func(payouts.ReportPart, error) bool) {
		parts := []payouts.ReportPart{
			{Group: &payouts.ReportGroup{MessageID: id, OriginalMessage: b.MessageID, OriginalFormat: "pain.001.001.09", Status: group}},
			{Payment: &payouts.ReportPayment{OriginalPayment: b.MessageID, OriginalCount: b.Payouts, OriginalSum: b.Net, HasSum: true}},
		}
		for i := range transactions {
			parts = append(parts, payouts.ReportPart{Transaction: &transactions[i]})
		}
		for _, p := range parts {
			if !yield(p, nil) {
				return
			}
		}
	}
}

func says(p payouts.Payout, s payouts.Status, codes ...string) payouts.ReportTransaction {
	t := payouts.ReportTransaction{EndToEndID: p.EndToEndID, Status: s, Amount: p.Net, Currency: p.Currency}
	for _, c := range codes {
		t.Reasons = append(t.Reasons, payouts.StatusReason{Code: c, Info: "says the bank"})
	}
	return t
}

func (w *world) reported(r payouts.StatusReport) payouts.ReportResult {
	w.t.Helper()
	result, err := w.service.ImportReport(w.t.Context(), r, "carol")
	w.must(err)
	return result
}

func (w *world) state(p payouts.Payout, want payouts.State) payouts.Payout {
	w.t.Helper()
	got := w.payout(p.EndToEndID)
	if got.State != want {
		w.t.Fatalf("payout %s to %s is %s, want %s", p.EndToEndID, p.PayeeCode, got.State, want)
	}
	return got
}

// twoCharities have 40.00 and 7.00 to be paid out.
func twoCharities(t testing.TB, db *sqldb.DB) *world {
	w := newWorld(t, db)
	w.enrol("acf", acfIBAN, 500, 1_00)
	w.enrol("msf", msfIBAN, 0, 0)
	w.donate("acf", 40_00)
	w.donate("msf", 7_00)
	return w
}

func TestRejectedPayoutIsPaidAgain(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		w := twoCharities(t, db)
		r := w.sent()
		acf, msf := r.Payouts[0], r.Payouts[1]
		part := report("R-1", r.Batch, payouts.StatusPartial, says(acf, payouts.StatusRejected, "AC04"), says(msf, payouts.StatusProfile))
		res := w.reported(part)
		if res.Accepted != 1 || res.Rejected != 1 || res.Flagged != 1 || res.Batch != r.Batch.Reference || res.Already || len(res.Refused)+len(res.Findings) != 0 {
			t.Fatalf("the report gave %+v", res)
		}
		p := w.state(acf, payouts.Rejected)
		if p.RejectReason != "AC04" || p.RejectedOn.String() != "2026-11-22" || p.BankStatus != payouts.StatusRejected {
			t.Errorf("rejected payout is %+v", p)
		}
		w.state(msf, payouts.Accepted)
		w.balances(map[string]ledger.Amount{"payable:acf": 40_00, "commissions": 0, "payouts-in-transit": 7_00, "safeguarding-account": 0})
		if again := w.reported(part); !again.Already || again.Rejected != 0 {
			t.Errorf("the report again gave %+v", again)
		}
		w.balances(map[string]ledger.Amount{"payable:acf": 40_00, "payouts-in-transit": 7_00})

		// Nobody is paid to an account that is closed, until two persons say that it is not.
		_, err := w.service.Prepare(t.Context(), payouts.PrepareRequest{Actor: "alice"})
		w.refused(err, ledger.CodeConflict)
		first, err := w.service.ConfirmIBAN(t.Context(), "acf", "anne", "a letter of the bank")
		w.must(err)
		_, err = w.service.ConfirmIBAN(t.Context(), "acf", "Anne", "a letter of the bank")
		w.refused(err, ledger.CodeForbidden)
		_, err = w.service.Prepare(t.Context(), payouts.PrepareRequest{Actor: "alice"})
		w.refused(err, ledger.CodeConflict)
		second, err := w.service.ConfirmIBAN(t.Context(), "acf", "bruno", "a letter of the bank")
		w.must(err)
		if !first.Waiting || second.Waiting || second.IBAN != acfIBAN {
			t.Errorf("confirmed %+v, then %+v", first, second)
		}
		_, err = w.service.ConfirmIBAN(t.Context(), "acf", "bruno", "a letter of the bank")
		w.refused(err, ledger.CodeNotFound)
		retry := w.sent().Payouts[0]
		if retry.RetryOf != acf.EndToEndID || retry.EndToEndID == acf.EndToEndID || retry.Gross != 40_00 || w.payout(retry.EndToEndID).RetryOf != acf.EndToEndID {
			t.Errorf("the next attempt is %+v", retry)
		}
		w.imported(w.statement(w.paid(msf), w.paid(retry)))
		w.state(msf, payouts.Settled)
		if s := w.batch(r.Batch.Reference).State; s != payouts.BatchSettled {
			t.Errorf("the batch is %s", s)
		}
		events := read(w, func(ctx context.Context, tx *sqldb.Tx) ([]payouts.PayoutEvent, error) {
			return payouts.PayoutEvents(ctx, tx, msf.ID)
		})
		if len(events) != 2 || events[0].From != payouts.Exported || events[0].To != payouts.Accepted || events[0].Source != "R-1" || events[0].Status != payouts.StatusProfile ||
			events[1].From != payouts.Accepted || events[1].To != payouts.Settled || events[1].Source != "ST-1" || events[1].Actor != "carol" {
			t.Errorf("events are %+v", events)
		}
		w.balances(map[string]ledger.Amount{"payable:acf": 0, "payable:msf": 0, "commissions": 2_00, "payouts-in-transit": 0, "safeguarding-account": -45_00})
		w.verify()
	})
}

// TestFlaggedAccount: who has another account is paid there, a batch that waits is not let
// go, and a reason that is not about the account stops nobody.
func TestFlaggedAccount(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := twoCharities(t, db)
		ctx := t.Context()
		r := w.sent()
		acf, msf := r.Payouts[0], r.Payouts[1]
		w.donate("acf", 3_00)
		waiting := w.prepare("acf")
		w.donate("acf", 4_00)
		approved := w.prepare("acf")
		_, err := w.service.Approve(ctx, approved.Batch.Reference, "bob")
		w.must(err)
		w.imported(w.statement(w.paid(acf), w.paid(msf)))
		w.imported(w.statement(w.cameBack(acf), w.cameBackFor(msf, "MS03")))
		_, err = w.service.Approve(ctx, waiting.Batch.Reference, "bob")
		w.refused(err, ledger.CodeConflict)
		_, err = w.service.Export(ctx, approved.Batch.Reference, "bob")
		w.refused(err, ledger.CodeConflict)
		if !strings.Contains(err.Error(), "confirm-bank") {
			t.Errorf("the refusal does not say what to do: %v", err)
		}
		// The other charity goes on, and what cannot be paid is named.
		next := w.prepare()
		if len(next.Payouts) != 1 || next.Payouts[0].PayeeCode != "msf" || next.Payouts[0].RetryOf != msf.EndToEndID ||
			len(next.Refused) != 1 || next.Refused[0].PayeeCode != "acf" {
			t.Errorf("prepared %+v", next)
		}
		for _, b := range []payouts.Batch{waiting.Batch, approved.Batch} {
			_, err := w.service.Cancel(ctx, b.Reference, "bob")
			w.must(err)
		}
		w.changeAccount("acf", "FR7630001007941234567890185", "", "moved")
		if p := w.prepare("acf").Payouts[0]; p.RetryOf != acf.EndToEndID || p.Gross != 47_00 {
			t.Errorf("with another account: %+v", p)
		}
		flags := read(w, func(ctx context.Context, tx *sqldb.Tx) (map[string]payouts.IBANFlag, error) {
			return payouts.OpenFlags(ctx, tx, []string{acfIBAN, msfIBAN})
		})
		if f := flags[acfIBAN]; len(flags) != 1 || f.EndToEndID != acf.EndToEndID || f.Reason != "AC04" || f.FlaggedBy != "carol" {
			t.Errorf("flags are %+v", flags)
		}
		_, err = w.service.ConfirmIBAN(ctx, "acf", "anne", "x")
		w.refused(err, ledger.CodeNotFound) // the account of today is another one
		w.verify()
	})
}

// TestTransitions imports each status on a payout in each state.
func TestTransitions(t *testing.T) {
	states := []payouts.State{payouts.Exported, payouts.Accepted, payouts.Rejected, payouts.Settled, payouts.Returned}
	wants := map[payouts.Status]string{ // state after each; ! is a finding
		payouts.StatusReceived:            "exported accepted rejected settled returned",
		payouts.StatusPending:             "exported accepted rejected settled returned",
		payouts.StatusTechnical:           "accepted accepted rejected! settled returned",
		payouts.StatusProfile:             "accepted accepted rejected! settled returned",
		payouts.StatusInProcess:           "accepted accepted rejected! settled returned",
		payouts.StatusWithChange:          "accepted accepted rejected! settled returned",
		payouts.StatusAcceptedNotCredited: "accepted accepted rejected! settled returned",
		payouts.StatusSettled:             "accepted accepted rejected! settled returned",
		payouts.StatusRejected:            "rejected rejected rejected settled! returned!",
		payouts.StatusCancelled:           "rejected rejected rejected settled! returned!",
	}
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.enrol("acf", acfIBAN, 0, 0)
		n := 0
		for status, want := range wants {
			for i, after := range strings.Fields(want) {
				n++
				w.donate("acf", 10_00)
				r := w.sent()
				p := r.Payouts[0]
				id := fmt.Sprintf("R-%d", n)
				switch states[i] {
				case payouts.Accepted:
					w.reported(report(id+"-0", r.Batch, payouts.StatusTechnical))
				case payouts.Rejected:
					w.reported(report(id+"-0", r.Batch, payouts.StatusPartial, says(p, payouts.StatusRejected, "MS03")))
				case payouts.Settled, payouts.Returned:
					w.imported(w.statement(w.paid(p)))
					if states[i] == payouts.Returned {
						w.imported(w.statement(w.cameBackFor(p, "MS03")))
					}
				}
				w.state(p, states[i])
				before := len(w.findings())
				res := w.reported(report(id, r.Batch, payouts.StatusPartial, says(p, status, "MS03")))
				wantFindings := strings.Count(after, "!")
				w.state(p, payouts.State(strings.TrimSuffix(after, "!")))
				if len(res.Findings) != wantFindings || len(w.findings())-before != wantFindings {
					t.Errorf("%s on a payout that is %s has findings %+v", status, states[i], res.Findings)
				}
				if w.payout(p.EndToEndID).State == payouts.Exported || w.payout(p.EndToEndID).State == payouts.Accepted {
					w.imported(w.statement(w.paid(p)))
					w.state(p, payouts.Settled)
				}
			}
		}
		w.balances(map[string]ledger.Amount{"payouts-in-transit": 0})
		w.verify()
	})
}

func TestReportOfTheWholeFile(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := twoCharities(t, db)
		r := w.sent()
		if res := w.reported(report("R-1", r.Batch, payouts.StatusProfile)); res.Accepted != 2 {
			t.Errorf("an accepted file gave %+v", res)
		}
		w.reported(report("R-2", r.Batch, payouts.StatusSettled))
		// Debited by one report and rejected by the next: somebody must ask the bank.
		if res := w.reported(report("R-3", r.Batch, payouts.StatusRejected)); len(res.Findings) != 2 || res.Rejected != 0 {
			t.Errorf("a rejection after the debit gave %+v", res)
		}
		w.imported(w.statement(w.paid(r.Payouts[0]), w.paid(r.Payouts[1])))
		w.donate("acf", 20_00)
		w.donate("msf", 8_00)
		second := w.sent()
		if res := w.reported(report("R-4", second.Batch, payouts.StatusRejected, says(second.Payouts[1], payouts.StatusRejected, "AC06"))); res.Rejected != 2 || res.Flagged != 1 {
			t.Errorf("a rejected file gave %+v", res)
		}
		if b := w.batch(second.Batch.Reference); b.State != payouts.BatchRejected {
			t.Errorf("the batch is %s", b.State)
		}
		_, err := w.service.Export(t.Context(), second.Batch.Reference, "bob")
		w.refused(err, ledger.CodeConflict) // it would be paid twice
		_, err = w.service.Cancel(t.Context(), second.Batch.Reference, "bob")
		w.refused(err, ledger.CodeConflict)
		// The reason of a file is about nobody's account.
		if third := w.prepare(); len(third.Payouts) != 1 || third.Payouts[0].PayeeCode != "acf" || third.Refused[0].PayeeCode != "msf" {
			t.Errorf("then prepared %+v", third)
		}
		w.balances(map[string]ledger.Amount{"payable:acf": 20_00, "payable:msf": 8_00, "payouts-in-transit": 0})
		// What the bank pays in spite of its rejection is not taken for anything.
		res := w.imported(w.statement(w.paid(second.Payouts[0])))
		if res.Suspense != 1 || res.Findings[0].Kind != payouts.PaidRejected {
			t.Errorf("a payment of what was rejected gave %+v", res)
		}
		w.state(second.Payouts[0], payouts.Rejected)
		w.verify()
	})
}

// TestBatchBookingWithoutRejected: the bank books one sum for what is left of a file.
func TestBatchBookingWithoutRejected(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := twoCharities(t, db)
		r := w.sent()
		w.reported(report("R-1", r.Batch, payouts.StatusPartial, says(r.Payouts[1], payouts.StatusRejected, "MS03")))
		res := w.imported(w.statement(w.entry(payouts.Detail{MessageID: r.Batch.MessageID, Amount: -r.Payouts[0].Net})))
		if res.Settled != 1 || res.Suspense != 0 {
			t.Errorf("import gave %+v", res)
		}
		w.state(r.Payouts[0], payouts.Settled)
		w.verify()
	})
}

func TestReportIsRefused(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := twoCharities(t, db)
		ctx := t.Context()
		prepared := w.prepare()
		_, err := w.service.ImportReport(ctx, report("R-0", prepared.Batch, payouts.StatusProfile), "carol")
		w.refused(err, ledger.CodeConflict)
		_, err = w.service.Cancel(ctx, prepared.Batch.Reference, "bob")
		w.must(err)
		r := w.sent()
		b, acf, msf := r.Batch, r.Payouts[0], r.Payouts[1]
		foreign, many, dear := b, b, b
		foreign.MessageID = "PO-ELSEWHERE"
		many.Payouts, dear.Net = 3, b.Net+1
		broken := errors.New("broken")
		for name, file := range map[string]payouts.StatusReport{
			"another message":    report("R-1", foreign, payouts.StatusProfile),
			"more transfers":     report("R-1", many, payouts.StatusProfile),
			"another sum":        report("R-1", dear, payouts.StatusProfile),
			"unknown status":     report("R-1", b, "ZZZZ"),
			"no id":              report("", b, payouts.StatusProfile),
			"contradicts itself": report("R-1", b, payouts.StatusRejected, says(acf, payouts.StatusProfile)),
			"twice":              report("R-1", b, payouts.StatusPartial, says(acf, payouts.StatusProfile), says(acf, payouts.StatusRejected)),
			"nothing":            func(func(payouts.ReportPart, error) bool) {},
			"starts with payment": func(yield func(payouts.ReportPart, error) bool) {
				yield(payouts.ReportPart{Payment: &payouts.ReportPayment{}}, nil)
			},
		} {
			if _, err := w.service.ImportReport(ctx, file, "carol"); ledger.CodeOf(err) != ledger.CodeInvalid {
				t.Errorf("%s: error is %v", name, err)
			}
		}
		_, err = w.service.ImportReport(ctx, func(yield func(payouts.ReportPart, error) bool) { yield(payouts.ReportPart{}, broken) }, "carol")
		if !errors.Is(err, broken) {
			t.Errorf("error is %v", err)
		}
		w.state(acf, payouts.Exported)
		if n := len(w.findings()); n != 0 {
			t.Errorf("%d findings of refused reports", n)
		}

		// One word that is not on our payout leaves the others alone.
		stranger, other, dollars, odd := acf, acf, acf, says(acf, "ABCD")
		stranger.EndToEndID = "PO-NOBODY"
		other.Net++
		dollars.Currency = "USD"
		for i, bad := range []payouts.ReportTransaction{says(stranger, payouts.StatusRejected, "AC04"), says(other, payouts.StatusRejected, "AC04"),
			says(dollars, payouts.StatusRejected, "AC04"), odd, {Status: payouts.StatusProfile}} {
			res := w.reported(report(fmt.Sprintf("R-2-%d", i), b, payouts.StatusProfile, bad, says(msf, payouts.StatusInProcess)))
			if len(res.Refused) != 1 || res.Rejected != 0 || len(w.findings()) != i+1 {
				t.Errorf("%+v: %+v", bad, res)
			}
			if bad.EndToEndID == acf.EndToEndID {
				w.state(acf, payouts.Accepted) // by the group of the first one, which was on somebody else
			}
		}
		w.state(msf, payouts.Accepted)
		_, err = w.service.ImportReport(ctx, report("R-2-0", b, payouts.StatusRejected), "carol")
		w.refused(err, ledger.CodeConflict)
		contradicted := 0
		for _, f := range w.findings() {
			if f.Kind == payouts.OtherContent && f.Source == payouts.SourceReport && f.Statement == "R-2-0" {
				contradicted++
			}
		}
		if contradicted != 1 {
			t.Errorf("findings are %+v", w.findings())
		}
		w.balances(map[string]ledger.Amount{"payable:acf": 0, "payouts-in-transit": b.Net})
		w.verify()
	})
}

// TestReportAtTheSameTime: of several processes that import one report, one changes the book.
func TestReportAtTheSameTime(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := twoCharities(t, db)
		r := w.sent()
		results := make([]payouts.ReportResult, 4)
		group, ctx := errgroup.WithContext(t.Context())
		for i := range results {
			group.Go(func() (err error) {
				results[i], err = w.service.ImportReport(ctx, report("R-1", r.Batch, payouts.StatusRejected), "carol")
				return err
			})
		}
		w.must(group.Wait())
		rejected, already := 0, 0
		for _, result := range results {
			rejected += result.Rejected
			if result.Already {
				already++
			}
		}
		if rejected != 2 || already != 3 {
			t.Errorf("results are %+v", results)
		}
		w.balances(map[string]ledger.Amount{"payable:acf": 40_00, "payable:msf": 7_00, "payouts-in-transit": 0})
		w.verify()
	})
}
