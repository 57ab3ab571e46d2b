package payouts_test

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

func TestWholeLife(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.enrol("acf", acfIBAN, 250, 0) // 2.5 %
		w.enrol("msf", msfIBAN, 0, 0)
		w.enrol("zero", msfIBAN, 100, 0)
		first := w.donate("acf", 100_00)
		second := w.donate("acf", 30_01)
		w.donate("msf", 5_00)

		r := w.prepare()
		b := r.Batch
		if b.Reference != "PO-20261122-0001" || b.State != payouts.BatchPrepared || b.Payouts != 2 || b.Gross != 135_01 || b.Commission != 3_25 ||
			b.Net != 131_76 || len(r.Refused) != 0 || r.Left || b.Until.String() != "2026-11-22" || b.ExecutionDate.String() != "2026-11-23" {
			t.Fatalf("prepared %+v", r)
		}
		if !reflect.DeepEqual(w.batch(b.Reference), b) {
			t.Errorf("stored %+v\nwant %+v", w.batch(b.Reference), b)
		}
		acf, msf := r.Payouts[0], r.Payouts[1]
		if acf.PayeeCode != "acf" || acf.Donations != 2 || acf.Net != 126_76 || acf.Creditor.IBAN != acfIBAN || msf.Net != 5_00 || msf.Commission != 0 {
			t.Errorf("payouts are %+v and %+v", acf, msf)
		}
		if acf.Remittance != "PO-20261122-0001: 2 dons jusqu'au 2026-11-22, commission 3.25 EUR" ||
			msf.Remittance != "PO-20261122-0001: 1 don jusqu'au 2026-11-22, commission 0.00 EUR" {
			t.Errorf("remittances are %q and %q", acf.Remittance, msf.Remittance)
		}
		if got := w.payout(acf.EndToEndID); got != acf {
			t.Errorf("stored %+v\nwant %+v", got, acf)
		}
		items := w.items(acf)
		if len(items) != 2 || items[0].TransactionID != first.ID || items[1].TransactionID != second.ID || items[1].Amount != 30_01 || !items[1].Live {
			t.Errorf("items are %+v", items)
		}
		w.balances(map[string]ledger.Amount{"payable:acf": 130_01, "payouts-in-transit": 0})

		ctx := t.Context()
		_, err := w.service.Export(ctx, b.Reference, "bob")
		w.refused(err, ledger.CodeConflict)
		_, err = w.service.Approve(ctx, b.Reference, "alice")
		w.refused(err, ledger.CodeForbidden)
		_, err = w.service.Approve(ctx, b.Reference, "Alice ")
		w.refused(err, ledger.CodeForbidden)
		w.balances(map[string]ledger.Amount{"payable:acf": 130_01, "payouts-in-transit": 0})
		approved, err := w.service.Approve(ctx, b.Reference, "bob")
		w.must(err)
		if approved.State != payouts.BatchApproved || approved.ApprovedBy != "bob" || !reflect.DeepEqual(approved, w.batch(b.Reference)) {
			t.Errorf("approved %+v, stored %+v", approved, w.batch(b.Reference))
		}
		again, err := w.service.Approve(ctx, b.Reference, "bob")
		w.must(err)
		if !reflect.DeepEqual(again, approved) {
			t.Errorf("approved again: %+v", again)
		}
		_, err = w.service.Approve(ctx, b.Reference, "dave")
		w.refused(err, ledger.CodeConflict)
		w.balances(map[string]ledger.Amount{"payable:acf": 0, "payable:msf": 0, "payouts-in-transit": 131_76, "commissions": 3_25})

		file, err := w.service.Export(ctx, b.Reference, "bob")
		w.must(err)
		want := payouts.PaymentFile{MessageID: b.MessageID, CreatedAt: approved.ApprovedAt.Truncate(time.Second), ExecutionDate: b.ExecutionDate, Currency: ledger.EUR,
			Debtor: payouts.Party{Name: "S-money", IBAN: bankIBAN}, Transfers: []payouts.CreditTransfer{
				{EndToEndID: acf.EndToEndID, Amount: 126_76, Creditor: acf.Creditor, Remittance: acf.Remittance},
				{EndToEndID: msf.EndToEndID, Amount: 5_00, Creditor: msf.Creditor, Remittance: msf.Remittance},
			}}
		if !reflect.DeepEqual(file, want) {
			t.Errorf("file is %+v\nwant %+v", file, want)
		}
		w.nextDay()
		w.nextDay() // the execution date has passed
		once, err := w.service.Export(ctx, b.Reference, "erin")
		w.must(err)
		if !reflect.DeepEqual(once, file) {
			t.Errorf("exported again: %+v", once)
		}
		_, err = w.service.Cancel(ctx, b.Reference, "alice")
		w.refused(err, ledger.CodeConflict)

		res := w.imported(w.statement(w.paid(acf)))
		if res.Settled != 1 || res.Returned+res.Suspense+len(res.Findings) != 0 || res.Already {
			t.Errorf("import gave %+v", res)
		}
		if s := w.batch(b.Reference).State; s != payouts.BatchExported {
			t.Errorf("with one payout to come the batch is %s", s)
		}
		w.imported(w.statement(w.paid(msf)))
		got := w.batch(b.Reference)
		if got.State != payouts.BatchSettled || got.ExportedBy != "bob" || got.FileHash != file.ContentHash() {
			t.Errorf("settled batch is %+v", got)
		}
		p := w.payout(acf.EndToEndID)
		if p.State != payouts.Settled || p.SettledOn.String() != "2026-11-24" || p.BankStatement != "ST-1" || p.BankReference != "REF" {
			t.Errorf("settled payout is %+v", p)
		}
		w.balances(map[string]ledger.Amount{"payable:acf": 0, "payouts-in-transit": 0, "commissions": 3_25, "safeguarding-account": -131_76, "suspense": 0})
		w.verify()
	})
}

func TestReturnIsPaidAgain(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.enrol("acf", acfIBAN, 500, 1_00)
		w.enrol("msf", msfIBAN, 0, 0)
		donation := w.donate("acf", 40_00)
		w.donate("msf", 7_00)
		r := w.sent()
		acf, msf := r.Payouts[0], r.Payouts[1]
		w.nextDay()
		// The bank lists the return before the payment that it returns.
		res := w.imported(w.statement(w.cameBack(acf), w.entry(
			payouts.Detail{EndToEndID: acf.EndToEndID, Amount: -acf.Net}, payouts.Detail{EndToEndID: msf.EndToEndID, Amount: -msf.Net})))
		if res.Settled != 2 || res.Returned != 1 || res.Suspense != 0 {
			t.Fatalf("import gave %+v", res)
		}
		p := w.payout(acf.EndToEndID)
		if p.State != payouts.Returned || p.ReturnReason != "AC04" || p.ReturnedOn.String() != "2026-11-23" || p.SettledOn.String() != "2026-11-23" {
			t.Errorf("returned payout is %+v", p)
		}
		w.balances(map[string]ledger.Amount{"payable:acf": 40_00, "commissions": 0, "payouts-in-transit": 0, "safeguarding-account": -7_00})

		w.donate("acf", 2_00)
		w.confirmed("acf")
		second := w.sent().Payouts[0]
		if second.RetryOf != acf.EndToEndID || second.Gross != 42_00 || second.Commission != 2_10 || second.EndToEndID == acf.EndToEndID || second.Donations != 2 {
			t.Errorf("the second attempt is %+v", second)
		}
		items := read(w, func(ctx context.Context, tx *sqldb.Tx) ([]payouts.Item, error) {
			return payouts.ItemsOfDonations(ctx, tx, []uuid.UUID{donation.ID})
		})
		live := map[uuid.UUID]bool{}
		for _, i := range items {
			live[i.PayoutID] = i.Live
		}
		if len(items) != 2 || live[acf.ID] || !live[second.ID] {
			t.Errorf("the donation is in %+v", items)
		}
		w.nextDay()
		// Reversal of the bank's own booking error counts as a return without a reason.
		w.imported(w.statement(w.paid(second)))
		back := w.cameBack(second)
		back.Reversal, back.Details[0].ReturnReason = true, ""
		if res := w.imported(w.statement(back)); res.Returned != 1 {
			t.Errorf("the reversal gave %+v", res)
		}
		third := w.sent().Payouts[0]
		w.imported(w.statement(w.paid(third)))
		w.balances(map[string]ledger.Amount{"payable:acf": 0, "commissions": 2_10, "payouts-in-transit": 0, "safeguarding-account": -46_90, "suspense": 0})
		w.verify()
	})
}

func TestCancelFreesDonations(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.enrol("acf", acfIBAN, 100, 0)
		w.donate("acf", 10_00)
		for _, approve := range []bool{false, true} {
			r := w.prepare()
			if approve {
				_, err := w.service.Approve(t.Context(), r.Batch.Reference, "bob")
				w.must(err)
				w.balances(map[string]ledger.Amount{"payable:acf": 0, "commissions": 10})
			}
			b, err := w.service.Cancel(t.Context(), r.Batch.Reference, "dave")
			w.must(err)
			if b.State != payouts.BatchCancelled || b.CancelledBy != "dave" || !reflect.DeepEqual(b, w.batch(r.Batch.Reference)) {
				t.Errorf("cancelled %+v", b)
			}
			if p := w.payout(r.Payouts[0].EndToEndID); p.State != payouts.Cancelled || p.CancelledOn.IsZero() {
				t.Errorf("cancelled payout is %+v", p)
			}
			again, err := w.service.Cancel(t.Context(), r.Batch.Reference, "erin")
			w.must(err)
			if again.CancelledBy != "dave" {
				t.Errorf("cancelled again by %s", again.CancelledBy)
			}
			_, err = w.service.Approve(t.Context(), r.Batch.Reference, "bob")
			w.refused(err, ledger.CodeConflict)
			_, err = w.service.Export(t.Context(), r.Batch.Reference, "bob")
			w.refused(err, ledger.CodeConflict)
			w.balances(map[string]ledger.Amount{"payable:acf": 10_00, "commissions": 0, "payouts-in-transit": 0})
		}
		if p := w.prepare().Payouts[0]; p.Donations != 1 || p.Gross != 10_00 {
			t.Errorf("after two cancellations: %+v", p)
		}
		w.verify()
	})
}
