package payouts_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

const (
	ownCode     = "135790"
	cashOutMari = "cash-out:c-000001"
)

// customer enrols somebody with money and a bank account.
func (w *world) customer(amount ledger.Amount) {
	w.t.Helper()
	ctx := w.t.Context()
	_, err := w.payments.EnrolCustomer(ctx, payments.NewCustomer{Name: "Marie Test", Phone: "+33612345678"})
	w.must(err)
	w.must(w.payments.SetSecretCode(ctx, "c-000001", ownCode, "test"))
	_, err = w.payments.TopUp(ctx, "c-000001", amount, "charge-1")
	w.must(err)
	w.bank(acfIBAN)
}

// bank gives the customer a bank account, by the word of two persons.
func (w *world) bank(iban string) {
	w.t.Helper()
	p, err := w.payments.ProposeOwnBank(w.t.Context(), "c-000001", iban, "", "anne", "seen on a statement")
	w.must(err)
	_, err = w.payments.ApprovePayee(w.t.Context(), p.Code, p.Number, "bruno", "compared")
	w.must(err)
}

func (w *world) cashOut(key string, amount ledger.Amount, code string) (payments.CashOut, error) {
	return w.payments.CashOut(w.t.Context(), payments.CashOutRequest{CustomerNumber: "c-000001", Key: key, Amount: amount, Code: code, Actor: "anne"})
}

// told returns the events of the customer.
func (w *world) told() string {
	c, err := w.payments.Customer(w.t.Context(), "c-000001")
	w.must(err)
	events := read(w, func(ctx context.Context, tx *sqldb.Tx) ([]payments.PartyEvent, error) {
		return payments.PartyEvents(ctx, tx, c.ID, 100)
	})
	var text strings.Builder
	for _, e := range events {
		fmt.Fprintf(&text, "%s %s\n", e.Event, e.Reason)
	}
	return text.String()
}

// TestCashOutAndBack redeems money, has the bank pay it and send it back, and redeems it
// anew to another account.
func TestCashOutAndBack(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.customer(100_00)
		for range 2 { // the same once more
			made, err := w.cashOut("k1", 60_00, ownCode)
			w.must(err)
			if made.IBAN != acfIBAN || made.Amount != 60_00 {
				t.Fatalf("redeemed %+v", made)
			}
		}
		w.balances(map[string]ledger.Amount{"wallet:c-000001": 40_00, cashOutMari: 60_00})
		_, err := w.cashOut("k1", 50_00, ownCode)
		w.refused(err, ledger.CodeConflict)
		_, err = w.cashOut("k2", 40_01, ownCode)
		w.refused(err, ledger.CodeInsufficientFunds)
		_, err = w.cashOut("k2", 10_00, "000000")
		w.refused(err, ledger.CodeForbidden)
		_, err = w.payments.ProposeOwnBank(t.Context(), "c-000001", msfIBAN, "", "anne", "moved")
		w.refused(err, ledger.CodeConflict)
		w.refused(w.payments.LinkPayee(t.Context(), "twitter", "101", "marie", payments.OwnBankCode("c-000001")), ledger.CodeInvalid)

		r := w.sent()
		p := r.Payouts[0]
		if len(r.Payouts) != 1 || p.Net != 60_00 || p.Commission != 0 || p.Creditor.Name != "Marie Test" || p.Creditor.IBAN != acfIBAN {
			t.Fatalf("the batch is %+v", r)
		}
		w.balances(map[string]ledger.Amount{cashOutMari: 0, "payouts-in-transit": 60_00})
		w.nextDay()
		w.imported(w.statement(w.paid(p)))
		w.balances(map[string]ledger.Amount{"payouts-in-transit": 0, "wallet:c-000001": 40_00})
		back := w.statement(w.cameBack(p))
		w.imported(back)
		w.imported(back)
		w.balances(map[string]ledger.Amount{"wallet:c-000001": 100_00, cashOutMari: 0, "payouts-in-transit": 0, "safeguarding-account": 0})
		if told := w.told(); strings.Count(told, "cash_out_returned 60.00 EUR to FR76 … 0189, sent back by the bank (AC04)") != 1 {
			t.Errorf("the history says\n%s", told)
		}
		_, err = w.cashOut("k3", 10_00, ownCode) // the account is flagged
		w.refused(err, ledger.CodeConflict)
		_, err = w.service.Prepare(t.Context(), payouts.PrepareRequest{Actor: "alice"})
		w.refused(err, ledger.CodeNotFound)

		w.bank(msfIBAN)
		_, err = w.cashOut("k3", 100_00, ownCode)
		w.must(err)
		cancelled := w.prepare()
		_, err = w.service.Cancel(t.Context(), cancelled.Batch.Reference, "alice")
		w.must(err)
		again := w.sent()
		if again.Payouts[0].Creditor.IBAN != msfIBAN || again.Payouts[0].Net != 100_00 {
			t.Fatalf("the second batch is %+v", again)
		}
		if res := w.reported(report("R-1", again.Batch, payouts.StatusPartial, says(again.Payouts[0], payouts.StatusRejected, "MS03"))); res.Rejected != 1 {
			t.Fatalf("the report gave %+v", res)
		}
		w.balances(map[string]ledger.Amount{"wallet:c-000001": 100_00, cashOutMari: 0, "payouts-in-transit": 0})
		_, err = w.cashOut("k4", 100_00, ownCode) // the bank's reason is not the account
		w.must(err)
		last := w.sent()
		w.nextDay()
		w.imported(w.statement(w.paid(last.Payouts[0])))
		w.balances(map[string]ledger.Amount{"wallet:c-000001": 0, cashOutMari: 0, "payouts-in-transit": 0})
		w.must(w.payments.SetCustomerStatus(t.Context(), "c-000001", payments.Closed, "anne", "asked for it"))
		w.verify()
	})
}

// TestReturnedCashOutWaitsForRoom: what a wallet may not hold waits, is not paid out again,
// and is in the wallet once there is room.
func TestReturnedCashOutWaitsForRoom(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	w.customer(1000_00)
	_, err := w.cashOut("k1", 1000_00, ownCode)
	w.must(err)
	p := w.sent().Payouts[0]
	w.nextDay()
	w.imported(w.statement(w.paid(p)))
	_, err = w.payments.TopUp(t.Context(), "c-000001", 2000_00, "charge-2")
	w.must(err)
	w.imported(w.statement(w.cameBack(p)))
	w.balances(map[string]ledger.Amount{"wallet:c-000001": 2000_00, cashOutMari: 1000_00})
	_, err = w.service.Prepare(t.Context(), payouts.PrepareRequest{Actor: "alice"})
	w.refused(err, ledger.CodeConflict)
	_, err = w.payments.ProposeOwnBank(t.Context(), "c-000001", msfIBAN, "", "anne", "moved")
	w.refused(err, ledger.CodeConflict)
	w.refused(w.payments.SetCustomerStatus(t.Context(), "c-000001", payments.Closed, "anne", "asked for it"), ledger.CodeConflict)
	_, err = w.engine.Post(t.Context(), ledger.PostRequest{Key: "spent", Journal: ledger.JournalMisc, Label: "Spent", Postings: []ledger.Posting{
		{Debit: ledger.SystemAccountID("wallet:c-000001"), Credit: ledger.SystemAccountID(payments.AccountSuspense), Amount: 600_00, Currency: ledger.EUR}}})
	w.must(err)
	if n, err := w.service.ReturnCashOuts(t.Context(), 10); n != 1 || err != nil {
		t.Fatalf("%d cash-outs were returned (%v)", n, err)
	}
	w.balances(map[string]ledger.Amount{"wallet:c-000001": 2400_00, cashOutMari: 0})
	w.verify()
}

// TestCashOutsAtOnce: of many cash-outs at once no more go than the wallet has, and of one
// key one.
func TestCashOutsAtOnce(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.customer(50_00)
		var group sync.WaitGroup
		var mu sync.Mutex
		done := 0
		for i := range 8 {
			group.Go(func() {
				if _, err := w.cashOut(fmt.Sprintf("k%d", i%6), 20_00, ownCode); err == nil {
					mu.Lock()
					done++
					mu.Unlock()
				}
			})
		}
		group.Wait()
		w.balances(map[string]ledger.Amount{"wallet:c-000001": 10_00, cashOutMari: 40_00})
		if got := strings.Count(w.told(), "cash_out "); got != 2 || done < 2 {
			t.Errorf("%d cash-outs are in the history, and %d were answered", got, done)
		}
		w.verify()
	})
}

func TestOwnBankIsAtParAndByTwo(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	w.customer(10_00)
	ctx, points := t.Context(), 500
	for what, c := range map[string]struct {
		err  error
		code ledger.Code
	}{
		"check digits": {second(w.payments.ProposeOwnBank(ctx, "c-000001", "FR7630006000011234567890188", "", "anne", "x")), ledger.CodeInvalid},
		"not SEPA":     {second(w.payments.ProposeOwnBank(ctx, "c-000001", "BR1800360305000010009795493C1", "", "anne", "x")), ledger.CodeInvalid},
		"none":         {second(w.payments.ProposeOwnBank(ctx, "c-000001", "", "", "anne", "x")), ledger.CodeInvalid},
		"nobody":       {second(w.payments.ProposeOwnBank(ctx, "c-000009", acfIBAN, "", "anne", "x")), ledger.CodeNotFound},
		"commission":   {second(w.payments.ProposePayeeChange(ctx, "cash-out-c-000001", payments.PayeeChange{CommissionPoints: &points}, "anne", "x")), ledger.CodeForbidden},
		"another name": {second(w.payments.ProposePayeeChange(ctx, "cash-out-c-000001", payments.PayeeChange{Name: "Mallory"}, "anne", "x")), ledger.CodeForbidden},
		"as a charity": {second(w.payments.ProposePayee(ctx, payments.NewPayee{Code: "cash-out-c-000002", Kind: payments.Charity, Name: "X"}, "anne", "x")), ledger.CodeInvalid},
		"by hand":      {second(w.payments.ProposePayee(ctx, payments.NewPayee{Code: "cash-out-c-000002", Kind: payments.OwnBank, Name: "X"}, "anne", "x")), ledger.CodeInvalid},
		"zero":         {second(w.cashOut("k", 0, ownCode)), ledger.CodeInvalid},
		"too much":     {second(w.cashOut("k", 2500_01, ownCode)), ledger.CodeInvalid},
		"no key":       {second(w.cashOut("", 1_00, ownCode)), ledger.CodeInvalid},
	} {
		if ledger.CodeOf(c.err) != c.code {
			t.Errorf("%s: %v, want %s", what, c.err, c.code)
		}
	}
	p, err := w.payments.ProposeOwnBank(ctx, "c-000001", msfIBAN, "", "anne", "moved")
	w.must(err)
	_, err = w.payments.ApprovePayee(ctx, p.Code, p.Number, "Anne", "compared")
	w.refused(err, ledger.CodeForbidden)
	_, err = w.cashOut("k1", 1_00, ownCode) // the old account counts until then
	w.must(err)
	_, err = w.payments.ApprovePayee(ctx, p.Code, p.Number, "bruno", "compared")
	w.refused(err, ledger.CodeConflict)
	w.must(w.payments.SetCustomerStatus(ctx, "c-000001", payments.Blocked, "anne", "lost telephone"))
	_, err = w.cashOut("k2", 1_00, ownCode)
	w.refused(err, ledger.CodeForbidden)
}
