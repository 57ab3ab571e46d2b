package payouts_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

func TestPrepareGathersEachDonationOnce(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		for i := range 3 {
			w.enrol(fmt.Sprintf("c%d", i), acfIBAN, 100, 0)
		}
		const donations = 12
		for i := range donations {
			w.donate(fmt.Sprintf("c%d", i%3), ledger.Amount(100*(i+1)))
		}
		// Many prepare at the same time, some for all payees, some for one.
		const callers = 6
		results := make([]payouts.PrepareResult, callers)
		errs := make([]error, callers)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				r := payouts.PrepareRequest{Actor: fmt.Sprintf("caller-%d", i)}
				if i%2 == 1 {
					r.Payees = []string{"c1"}
				}
				results[i], errs[i] = w.service.Prepare(t.Context(), r)
			})
		}
		wg.Wait()
		seen := map[uuid.UUID]int{}
		references := map[string]bool{}
		for i, r := range results {
			if errs[i] != nil {
				w.refused(errs[i], ledger.CodeNotFound)
				continue
			}
			if references[r.Batch.Reference] {
				t.Errorf("batch %s exists twice", r.Batch.Reference)
			}
			references[r.Batch.Reference] = true
			for _, p := range r.Payouts {
				for _, item := range w.items(p) {
					seen[item.TransactionID]++
				}
			}
		}
		if len(seen) != donations {
			t.Errorf("%d donations were gathered, want %d", len(seen), donations)
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("donation %s is in %d payouts", id, n)
			}
		}
		_, err := w.service.Prepare(t.Context(), payouts.PrepareRequest{Actor: "alice"})
		w.refused(err, ledger.CodeNotFound)
		later := w.donate("c0", 9_99)
		r := w.prepare()
		if items := w.items(r.Payouts[0]); r.Batch.Gross != 9_99 || len(items) != 1 || items[0].TransactionID != later.ID {
			t.Errorf("after one more donation: %+v", r)
		}
		w.donationOnlyOnce(r.Payouts[0], later)
		w.verify()
	})
}

// donationOnlyOnce goes around the service: the schema itself must refuse a
// donation in a second live payout.
func (w *world) donationOnlyOnce(p payouts.Payout, donation ledger.Transaction) {
	w.t.Helper()
	err := w.db.Write(w.t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO payout_items (payout_id, ordinal, transaction_id, posting, amount, live) VALUES ($1, 99, $2, 0, 1, 1)",
			p.ID, donation.ID)
		return err
	})
	if sqldb.ClassOf(err) != sqldb.ClassUnique {
		w.t.Errorf("a donation in two payouts: error is %v", err)
	}
}

func TestPrepareRefusesPayees(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.enrol("acf", acfIBAN, 0, 0)
		w.enrol("blocked", acfIBAN, 0, 0)
		w.enrol("dear", acfIBAN, 0, 5_00)
		w.enrol("no-iban", "", 0, 0)
		for _, code := range []string{"acf", "blocked", "dear", "no-iban"} {
			w.donate(code, 5_00)
		}
		w.must(w.payments.SetPayeeStatus(t.Context(), "blocked", payments.Blocked, "staff", "under inquiry"))
		r := w.prepare()
		if len(r.Payouts) != 1 || r.Payouts[0].PayeeCode != "acf" || len(r.Refused) != 3 {
			t.Fatalf("prepared %+v", r)
		}
		want := map[string]ledger.Code{"blocked": ledger.CodeForbidden, "dear": ledger.CodeInvalid, "no-iban": ledger.CodeInvalid}
		for _, refusal := range r.Refused {
			if refusal.Err.Code != want[refusal.PayeeCode] || refusal.Err.Field != "payee."+refusal.PayeeCode {
				t.Errorf("%s is refused for %v", refusal.PayeeCode, refusal.Err)
			}
		}
		_, err := w.service.Prepare(t.Context(), payouts.PrepareRequest{Payees: []string{"no-iban"}, Actor: "alice"})
		if e, ok := errors.AsType[*ledger.Error](err); !ok || e.Code != ledger.CodeInvalid || e.Field != "payee.no-iban" {
			t.Errorf("only a payee without IBAN: error is %v", err)
		}
		_, err = w.service.Prepare(t.Context(), payouts.PrepareRequest{Actor: "alice"})
		if ledger.CodeOf(err) != ledger.CodeForbidden {
			t.Errorf("three refused payees: error is %v", err)
		}
		w.changeAccount("no-iban", msfIBAN, "", "letter of 20 November")
		if r := w.prepare("no-iban", "no-iban"); len(r.Payouts) != 1 || r.Payouts[0].Creditor.IBAN != msfIBAN {
			t.Errorf("with an IBAN: %+v", r)
		}
		w.donate("dear", 1)
		if r := w.prepare("dear"); r.Batch.Net != 1 || r.Batch.Commission != 5_00 {
			t.Errorf("one cent above the commission: %+v", r)
		}
	})
}

func TestPrepareChecksTheRequest(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	w.enrol("acf", acfIBAN, 0, 0)
	w.donate("acf", 5_00)
	today := w.engine.Today()
	tests := map[string]struct {
		request payouts.PrepareRequest
		code    ledger.Code
	}{
		"no actor":          {payouts.PrepareRequest{}, ledger.CodeInvalid},
		"unprintable actor": {payouts.PrepareRequest{Actor: "a\u202eb"}, ledger.CodeInvalid},
		"unknown payee":     {payouts.PrepareRequest{Actor: "a", Payees: []string{"acf", "who"}}, ledger.CodeNotFound},
		"passed execution":  {payouts.PrepareRequest{Actor: "a", ExecutionDate: today.AddDays(-1)}, ledger.CodeInvalid},
		"until tomorrow":    {payouts.PrepareRequest{Actor: "a", Until: today.AddDays(1)}, ledger.CodeInvalid},
		"nothing due then":  {payouts.PrepareRequest{Actor: "a", Until: today.AddDays(-1)}, ledger.CodeNotFound},
		"too many payees":   {payouts.PrepareRequest{Actor: "a", Payees: make([]string, payouts.MaxPayouts+1)}, ledger.CodeInvalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := w.service.Prepare(t.Context(), tt.request); ledger.CodeOf(err) != tt.code {
				t.Errorf("error is %v, want %s", err, tt.code)
			}
		})
	}
	if r := w.prepare(); r.Batch.Reference != "PO-20261122-0001" {
		t.Errorf("refusals used up numbers: the first batch is %s", r.Batch.Reference)
	}
}

func TestReversedDonations(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.enrol("acf", acfIBAN, 0, 0)
		w.reverse(w.donate("acf", 1_00))
		kept, undone := w.donate("acf", 2_00), w.donate("acf", 4_00)
		r := w.prepare()
		if items := w.items(r.Payouts[0]); len(items) != 2 || r.Batch.Gross != 6_00 {
			t.Fatalf("a reversed donation was gathered: %+v", items)
		}
		w.reverse(undone)
		_, err := w.service.Approve(t.Context(), r.Batch.Reference, "bob")
		w.refused(err, ledger.CodeConflict)
		_, err = w.service.Cancel(t.Context(), r.Batch.Reference, "alice")
		w.must(err)
		w.sent()
		// One that was paid out already: what comes later first makes up for it.
		w.reverse(kept)
		w.donate("acf", 1_50)
		_, err = w.service.Prepare(t.Context(), payouts.PrepareRequest{Actor: "alice"})
		w.refused(err, ledger.CodeInsufficientFunds)
		w.balances(map[string]ledger.Amount{"payable:acf": -50, "payouts-in-transit": 2_00})
		w.verify()
	})
}

func TestApproveSeesChanges(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	w.enrol("acf", acfIBAN, 0, 0)
	w.donate("acf", 2_00)
	ctx := t.Context()
	r := w.prepare()
	w.changeAccount("acf", msfIBAN, "", "moved")
	_, err := w.service.Approve(ctx, r.Batch.Reference, "bob")
	w.refused(err, ledger.CodeConflict)
	w.changeAccount("acf", acfIBAN, "AGRIFRPP", "moved back, to another branch")
	_, err = w.service.Approve(ctx, r.Batch.Reference, "bob")
	w.refused(err, ledger.CodeConflict)
	w.changeAccount("acf", acfIBAN, "", "as it was")
	w.must(w.payments.SetPayeeStatus(ctx, "acf", payments.Blocked, "staff", "inquiry"))
	_, err = w.service.Approve(ctx, r.Batch.Reference, "bob")
	w.refused(err, ledger.CodeConflict)
	w.must(w.payments.SetPayeeStatus(ctx, "acf", payments.Open, "staff", "cleared"))
	w.nextDay()
	w.nextDay()
	_, err = w.service.Approve(ctx, r.Batch.Reference, "bob")
	w.refused(err, ledger.CodeConflict)
	_, err = w.service.Approve(ctx, "PO-1", "bob")
	w.refused(err, ledger.CodeNotFound)
	_, err = w.service.Approve(ctx, r.Batch.Reference, "")
	w.refused(err, ledger.CodeInvalid)
	w.balances(map[string]ledger.Amount{"payable:acf": 2_00, "payouts-in-transit": 0})

	_, err = w.service.Cancel(ctx, r.Batch.Reference, "alice")
	w.must(err)
	late := w.prepare()
	_, err = w.service.Approve(ctx, late.Batch.Reference, "bob")
	w.must(err)
	w.nextDay()
	w.nextDay()
	_, err = w.service.Export(ctx, late.Batch.Reference, "bob")
	w.refused(err, ledger.CodeConflict)
	w.verify()
}

func TestConcurrentApprovals(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.enrol("acf", acfIBAN, 1000, 0)
		w.donate("acf", 50_00)
		r := w.prepare()
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				if i%2 == 0 {
					_, _ = w.service.Approve(t.Context(), r.Batch.Reference, fmt.Sprintf("approver-%d", i))
				} else {
					_, _ = w.service.Cancel(t.Context(), r.Batch.Reference, fmt.Sprintf("canceller-%d", i))
				}
			})
		}
		wg.Wait()
		if b := w.batch(r.Batch.Reference); b.State != payouts.BatchCancelled {
			t.Errorf("the batch is %s; a cancellation always succeeds before an export", b.State)
		}
		w.balances(map[string]ledger.Amount{"payable:acf": 50_00, "payouts-in-transit": 0, "commissions": 0})
		w.verify()
	})
}

func TestNewChecksTheAccount(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	good := payouts.Config{Account: payouts.Party{Name: "S-money", IBAN: "FR14 2004 1010 0505 0001 3M02 606", BIC: "psstfrppxxx"}, Currency: ledger.EUR}
	s, err := payouts.New(w.engine, good, payouts.Options{})
	w.must(err)
	if a := s.Config().Account; a.IBAN != bankIBAN || a.BIC != "PSSTFRPPXXX" {
		t.Errorf("the account is %+v", a)
	}
	for name, change := range map[string]func(*payouts.Config){
		"IBAN":     func(c *payouts.Config) { c.Account.IBAN = "FR14" },
		"BIC":      func(c *payouts.Config) { c.Account.BIC = "X" },
		"name":     func(c *payouts.Config) { c.Account.Name = "" },
		"currency": func(c *payouts.Config) { c.Currency = "USD" },
	} {
		c := good
		change(&c)
		if _, err := payouts.New(w.engine, c, payouts.Options{}); ledger.CodeOf(err) != ledger.CodeInvalid {
			t.Errorf("wrong %s: error is %v", name, err)
		}
	}
}
