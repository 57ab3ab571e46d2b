package reconciliation_test

import (
	"fmt"
	"strings"
	"testing"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/reconciliation"
)

// payOut prepares a batch for a payee and takes it as far as until says.
func (w *world) payOut(payee string, until payouts.BatchState) payouts.Payout {
	w.t.Helper()
	prepared, err := w.payouts.Prepare(w.ctx, payouts.PrepareRequest{Payees: []string{payee}, Actor: "alice"})
	w.must(err)
	if until == payouts.BatchPrepared {
		return prepared.Payouts[0]
	}
	_, err = w.payouts.Approve(w.ctx, prepared.Batch.Reference, "bob")
	w.must(err)
	if until == payouts.BatchApproved {
		return prepared.Payouts[0]
	}
	_, err = w.payouts.Export(w.ctx, prepared.Batch.Reference, "bob")
	w.must(err)
	return prepared.Payouts[0]
}

// paid is the movement that pays a payout, and back the one that returns it.
func paid(p payouts.Payout) payouts.Detail {
	return payouts.Detail{EndToEndID: p.EndToEndID, Amount: -p.Net, Counterparty: p.Creditor}
}

func back(p payouts.Payout) payouts.Detail {
	return payouts.Detail{EndToEndID: p.EndToEndID, Amount: p.Net, Counterparty: p.Creditor, ReturnReason: "AC04"}
}

// statement is the bank's next statement, of today, with an entry for each detail.
func (w *world) statement(details ...payouts.Detail) payouts.Statement {
	w.sequence++
	today := w.engine.Today()
	st := payouts.Statement{ID: fmt.Sprintf("2026-%03d", w.sequence), Sequence: w.sequence, IBAN: bankIBAN, Currency: ledger.EUR,
		OpeningDate: today, Opening: w.closing, ClosingDate: today}
	for i, d := range details {
		st.Entries = append(st.Entries, payouts.Entry{Reference: fmt.Sprintf("REF%d-%d", w.sequence, i+1), Amount: d.Amount, BookingDate: today, ValueDate: today,
			Details: []payouts.Detail{d}})
		w.closing += d.Amount
	}
	st.Closing = w.closing
	st.Hash = st.ContentHash()
	return st
}

func (w *world) importStatement(st payouts.Statement) {
	w.t.Helper()
	_, err := w.payouts.ImportStatement(w.ctx, st, "carol")
	w.must(err)
}

// bankSays imports the bank's next statement.
func (w *world) bankSays(details ...payouts.Detail) {
	w.t.Helper()
	w.importStatement(w.statement(details...))
}

// given is the story's donations by name.
type given struct {
	acf, msf payments.Order   // paid out and settled
	settled  payouts.Payout   // of acf, 100.00 less 1.50
	batch    payouts.Payout   // of msf
	open     []payments.Order // to acf, not paid out yet: 30.00 each
}

// cleanPayouts is a story without a break: donations paid out and settled, and two
// of today that are not due yet.
func cleanPayouts(w *world) given {
	w.t.Helper()
	var g given
	_, g.acf = w.pay("pay 100.00 " + acf + " ACF_France")
	_, g.msf = w.pay("pay 30.00 " + msf + " MSF_france")
	g.settled, g.batch = w.payOut("acf", payouts.BatchExported), w.payOut("msf", payouts.BatchExported)
	w.pass(day)
	w.bankSays(paid(g.settled), paid(g.batch))
	for range 2 {
		_, o := w.pay("pay 30.00 " + acf + " ACF_France")
		g.open = append(g.open, o)
	}
	return g
}

func TestPayoutsOfCleanBookHaveNoBreaks(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		g := cleanPayouts(w)
		r := w.reconcilePayouts()
		wantBreaks(t, r)
		if got, want := matches(r), "exact_reference 2, payout_item 2, statement_balance 1"; got != want {
			t.Errorf("matches are %q, want %q", got, want)
		}
		if r.Open != 2 {
			t.Errorf("%d open, want the two donations of today", r.Open)
		}
		wantTotals(t, r, "donations 4 190.00", "donations_not_paid_out 2 60.00", "payouts_gross 2 130.00", "payouts_commission 2 1.50",
			"payouts_net 2 128.50", "settled 2 128.50", "returned 0 0.00")

		// A return re-opens the debt; its donations go out again with a new id.
		w.pass(day)
		w.bankSays(back(g.settled))
		for _, actor := range []string{"anne", "bob"} {
			_, err := w.payouts.ConfirmIBAN(w.ctx, "acf", actor, "the bank erred")
			w.must(err)
		}
		again := w.payOut("acf", payouts.BatchExported)
		cancelled := w.payOutOther(w.pay("pay 11.00 " + msf + " MSF_france"))
		_, err := w.payouts.Cancel(w.ctx, cancelled.Batch, "bob")
		w.must(err)
		w.pass(day)
		w.bankSays(paid(again))
		r = w.reconcilePayouts()
		wantBreaks(t, r)
		wantTotals(t, r, "donations 5 201.00", "donations_not_paid_out 1 11.00", "payouts_gross 3 290.00", "payouts_commission 3 3.90",
			"payouts_net 3 286.10", "settled 3 286.10", "returned 1 98.50")

		one, err := reconciliation.Payouts(w.ctx, w.engine, w.payouts, reconciliation.PayoutsParams{From: from, To: to, Payee: "msf"})
		w.must(err)
		wantBreaks(t, one)
		wantTotals(t, one, "donations 2 41.00", "donations_not_paid_out 1 11.00", "payouts_gross 1 30.00", "payouts_commission 1 0.00",
			"payouts_net 1 30.00", "settled 1 30.00", "returned 0 0.00")
	})
}

// payOutOther prepares and approves a payout for msf after a donation to it.
func (w *world) payOutOther(payments.Message, payments.Order) payouts.Payout {
	w.t.Helper()
	return w.payOut("msf", payouts.BatchApproved)
}

func wantTotals(t *testing.T, r reconciliation.Result, want ...string) {
	t.Helper()
	var got []string
	for _, total := range r.Totals {
		got = append(got, fmt.Sprintf("%s %d %s", total.Name, total.Count, total.Amount.Format(total.Currency)))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("totals are\n%q, want\n%q", got, want)
	}
}

func TestPayoutsFindEachBreak(t *testing.T) {
	list := []struct {
		name  string
		plant func(w *world, g given) []want
	}{
		{"donation not paid out in time", func(w *world, g given) []want {
			w.pass(13 * day) // weekly, and five days
			return []want{{reconciliation.Late, g.open[0].Key, 30_00}, {reconciliation.Late, g.open[1].Key, 30_00}}
		}},
		{"donation in two payouts", func(w *world, g given) []want {
			p := w.payOut("acf", payouts.BatchPrepared)
			_, again := w.pay("pay 100.00 " + acf + " ACF_France")
			w.exec("UPDATE payout_items SET amount = 10000 WHERE payout_id = $1 AND transaction_id = $2", p.ID, g.open[0].TransactionID)
			w.exec("UPDATE payout_items SET transaction_id = $3, live = 0 WHERE payout_id = $1 AND transaction_id = $2", p.ID, g.open[0].TransactionID, g.acf.TransactionID)
			w.exec("UPDATE payouts SET gross = 13000, net = 13000 - commission WHERE id = $1", p.ID)
			_ = again
			return []want{{reconciliation.Duplicate, g.acf.Key, 100_00}}
		}},
		{"donations do not add up", func(w *world, g given) []want {
			w.exec("UPDATE payout_items SET amount = 9000 WHERE payout_id = $1", g.settled.ID)
			return []want{{reconciliation.AmountDiffers, g.settled.EndToEndID, 10_00}}
		}},
		{"donation of somebody else", func(w *world, g given) []want {
			p := w.payOut("acf", payouts.BatchPrepared)
			_, other := w.pay("pay 30.00 " + msf + " MSF_france")
			w.exec("UPDATE payout_items SET transaction_id = $3 WHERE payout_id = $1 AND transaction_id = $2", p.ID, g.open[0].TransactionID, other.TransactionID)
			return []want{{reconciliation.WrongParty, p.EndToEndID, p.Net}}
		}},
		{"commission of a settled payout", func(w *world, g given) []want {
			w.exec("UPDATE payouts SET commission = commission + 100, net = net - 100 WHERE id = $1", g.settled.ID)
			return []want{{reconciliation.AmountDiffers, g.settled.EndToEndID, 1_00}}
		}},
		{"commission of a payout on its way", func(w *world, g given) []want {
			p := w.payOut("acf", payouts.BatchExported)
			w.exec("UPDATE payouts SET commission = commission + 100, net = net - 100 WHERE id = $1", p.ID)
			return []want{{reconciliation.AmountDiffers, p.EndToEndID, 1_00}}
		}},
		{"exported, and never on a statement", func(w *world, g given) []want {
			p := w.payOut("acf", payouts.BatchExported)
			w.pass(8 * day)
			return []want{{reconciliation.MissingOutside, p.EndToEndID, p.Net}}
		}},
		{"approved, and never exported", func(w *world, g given) []want {
			p := w.payOut("acf", payouts.BatchApproved)
			w.pass(8 * day)
			return []want{{reconciliation.MissingOutside, p.EndToEndID, p.Net}}
		}},
		{"settled, but on no statement", func(w *world, g given) []want {
			w.exec("DELETE FROM bank_entries WHERE payout_id = $1", g.settled.ID)
			return []want{{reconciliation.MissingOutside, g.settled.EndToEndID, g.settled.Net}}
		}},
		{"paid with another amount", func(w *world, g given) []want {
			p := w.payOut("acf", payouts.BatchExported)
			w.pass(8 * day)
			d := paid(p)
			d.Amount -= 7
			w.bankSays(d)
			return []want{{reconciliation.AmountDiffers, p.EndToEndID, 7}}
		}},
		{"paid twice", func(w *world, g given) []want {
			w.pass(day)
			w.bankSays(paid(g.settled))
			return []want{{reconciliation.Duplicate, g.settled.EndToEndID, g.settled.Net}}
		}},
		{"paid twice, and both taken for it", func(w *world, g given) []want {
			w.pass(day)
			w.bankSays(paid(g.settled))
			w.exec("UPDATE bank_entries SET outcome = 'settled', finding = '' WHERE outcome = 'suspense'")
			return []want{{reconciliation.Duplicate, g.settled.EndToEndID, g.settled.Net}}
		}},
		{"paid to somebody else", func(w *world, g given) []want {
			p := w.payOut("acf", payouts.BatchExported)
			w.pass(day)
			d := paid(p)
			d.Counterparty.IBAN = msfIBAN
			w.bankSays(d)
			return []want{{reconciliation.WrongParty, p.EndToEndID, p.Net}}
		}},
		{"paid without having been sent", func(w *world, g given) []want {
			p := w.payOut("acf", payouts.BatchApproved)
			w.bankSays(paid(p))
			return []want{{reconciliation.UnknownMoney, p.EndToEndID, p.Net}}
		}},
		{"came back without having been paid", func(w *world, g given) []want {
			p := w.payOut("acf", payouts.BatchExported)
			w.pass(8 * day)
			w.bankSays(back(p))
			return []want{{reconciliation.MissingOutside, p.EndToEndID, p.Net}}
		}},
		{"came back, and nothing re-opens the debt", func(w *world, g given) []want {
			w.pass(day)
			w.bankSays(back(g.settled))
			w.exec("UPDATE payouts SET state = 'settled', return_transaction_id = NULL, returned_on = NULL WHERE id = $1", g.settled.ID)
			return []want{{reconciliation.MissingInLedger, g.settled.EndToEndID, g.settled.Net}}
		}},
		{"cancelled, and the approval stands", func(w *world, g given) []want {
			p := w.payOut("acf", payouts.BatchApproved)
			_, err := w.payouts.Cancel(w.ctx, p.Batch, "bob")
			w.must(err)
			w.exec("UPDATE payouts SET cancel_transaction_id = transaction_id WHERE id = $1", p.ID)
			return []want{{reconciliation.MissingInLedger, p.EndToEndID, p.Net}}
		}},
		{"donation reversed after it was paid out", func(w *world, g given) []want {
			_, err := w.engine.Reverse(w.ctx, ledger.ReverseRequest{Key: "undo", TransactionID: g.acf.TransactionID, Label: "Undone"})
			w.must(err)
			return []want{{reconciliation.AmountDiffers, g.acf.Key, 100_00}}
		}},
		{"unknown money in and out", func(w *world, g given) []want {
			w.pass(day)
			w.bankSays(payouts.Detail{Amount: 12_34, Remittance: "a gift"}, payouts.Detail{Amount: -5_00, EndToEndID: "NOT-OURS"})
			return []want{{reconciliation.UnknownMoney, "2026-002 entry 1.1", 12_34}, {reconciliation.UnknownMoney, "2026-002 entry 2.1", 5_00}}
		}},
		{"missing statement without movement", func(w *world, g given) []want {
			w.sequence++
			w.pass(day)
			w.bankSays()
			return []want{{reconciliation.SequenceGap, "2026-003", 0}}
		}},
		{"missing statement with movements", func(w *world, g given) []want {
			w.statement(payouts.Detail{Amount: 40_00})
			w.pass(day)
			w.bankSays(payouts.Detail{Amount: 0})
			return []want{{reconciliation.SequenceGap, "2026-003", 40_00}}
		}},
		{"posting to the account that no statement shows", func(w *world, g given) []want {
			w.post("by hand", ledger.Source{}, payments.AccountSafeguarding, payments.AccountSuspense, 9_00)
			return []want{{reconciliation.AmountDiffers, payments.AccountSafeguarding, 9_00}}
		}},
		{"posting on its way that no payout made", func(w *world, g given) []want {
			w.post("by hand", ledger.Source{}, payments.AccountSuspense, payments.AccountPayoutsInTransit, 6_00)
			return []want{{reconciliation.AmountDiffers, payments.AccountPayoutsInTransit, 6_00}}
		}},
	}
	for _, p := range list {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel() // mostly waiting for the disk
			sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
				w := newWorld(t, db)
				g := cleanPayouts(w)
				wanted := p.plant(w, g)
				wantBreaks(t, w.reconcilePayouts(), wanted...)
			})
		})
	}
}

func TestPayoutsRefuseWrongQuestions(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	for _, c := range []struct {
		params reconciliation.PayoutsParams
		code   ledger.Code
	}{
		{reconciliation.PayoutsParams{To: to}, ledger.CodeInvalid},
		{reconciliation.PayoutsParams{From: to, To: from}, ledger.CodeInvalid},
		{reconciliation.PayoutsParams{From: from, To: to, Payee: "nobody"}, ledger.CodeNotFound},
	} {
		if _, err := reconciliation.Payouts(w.ctx, w.engine, w.payouts, c.params); ledger.CodeOf(err) != c.code {
			t.Errorf("%+v: %v, want %s", c.params, err, c.code)
		}
	}
}

// Statements of one day may be imported in any order, and twice: the result stays
// the same, but for the hash over ids that are random.
func TestPayoutsResultDoesNotDependOnOrder(t *testing.T) {
	var first string
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		w := newWorld(t, sqltest.SQLite(t))
		g := cleanPayouts(w)
		w.pass(day)
		statements := []payouts.Statement{
			w.statement(payouts.Detail{Amount: 12_34}),
			w.statement(payouts.Detail{Amount: -5_00, EndToEndID: "NOT-OURS"}, payouts.Detail{Amount: 1}),
			w.statement(back(g.settled)),
		}
		for _, i := range append(order, order[0]) {
			w.importStatement(statements[i])
		}
		r := w.reconcilePayouts()
		wantBreaks(t, r, want{reconciliation.UnknownMoney, "2026-002 entry 1.1", 12_34}, want{reconciliation.UnknownMoney, "2026-003 entry 1.1", 5_00},
			want{reconciliation.UnknownMoney, "2026-003 entry 2.1", 1})
		r.InputsHash, r.Days = "", nil
		switch text := indent(r); first {
		case "":
			first = text
		case text:
		default:
			t.Errorf("in order %v the result is\n%s\nand was\n%s", order, text, first)
		}
	}
}

// The same book gives the same bytes, hash included; another book another hash.
func TestPayoutsRepeatTheirResult(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	g := cleanPayouts(w)
	one, two := indent(w.reconcilePayouts()), indent(w.reconcilePayouts())
	if one != two {
		t.Errorf("the second run says\n%s\nthe first said\n%s", two, one)
	}
	before := w.reconcilePayouts().InputsHash
	w.exec("UPDATE payouts SET creditor_iban = $2 WHERE id = $1", g.settled.ID, msfIBAN)
	if w.reconcilePayouts().InputsHash == before {
		t.Error("another creditor leaves the hash of the inputs as it was")
	}
}

// TestRejectedPayoutHasNoBreaks: its donations are due again and its posting is reversed.
// Without the reversal, or where the bank pays all the same, there is a break.
func TestRejectedPayoutHasNoBreaks(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		g := cleanPayouts(w)
		before := w.reconcilePayouts()
		w.pay("pay 12.00 " + acf + " ACF_France")
		p := w.payOut("acf", payouts.BatchExported)
		_, err := w.payouts.ImportReport(w.ctx, func(yield func(payouts.ReportPart, error) bool) {
			_ = yield(payouts.ReportPart{Group: &payouts.ReportGroup{MessageID: "RPT", OriginalMessage: strings.TrimSuffix(p.EndToEndID, "-00001"), Status: payouts.StatusRejected}}, nil)
		}, "bob")
		w.must(err)
		w.pass(5 * day)
		w.bankSays()
		r := w.reconcilePayouts()
		wantBreaks(t, r)
		if before.Open == 0 || g.settled.ID == p.ID {
			t.Errorf("before: %+v", before)
		}
		w.bankSays(paid(p))
		r = w.reconcilePayouts()
		if len(r.Breaks) != 1 || r.Breaks[0].Class != reconciliation.UnknownMoney || !strings.Contains(r.Breaks[0].Message, "which the bank had rejected") {
			t.Errorf("paid in spite of its rejection: %+v", r.Breaks)
		}
		w.exec("UPDATE payouts SET reject_transaction_id = transaction_id WHERE id = $1", p.ID)
		if r = w.reconcilePayouts(); len(r.Breaks) != 2 {
			t.Errorf("without the reversal: %+v", r.Breaks)
		}
	})
}
