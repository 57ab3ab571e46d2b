package payouts_test

import (
	"context"
	"fmt"
	"testing"

	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

// notified is a file with one notification.
func notified(id string, entries ...payouts.Entry) payouts.BankFile {
	return func(yield func(payouts.Part, error) bool) {
		if !yield(payouts.Part{Head: &payouts.Head{Kind: payouts.KindNotification, ID: id, IBAN: bankIBAN, Currency: ledger.EUR}}, nil) {
			return
		}
		for i := range entries {
			if !yield(payouts.Part{Entry: &entries[i]}, nil) {
				return
			}
		}
		yield(payouts.Part{End: &payouts.End{Pending: 2}}, nil)
	}
}

// TestNotificationsExplainStatements: what a notification announced is booked once,
// by the statement, and taken apart as the notification says.
func TestNotificationsExplainStatements(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		for _, code := range []string{"acf", "msf", "zoo"} {
			w.enrol(code, acfIBAN, 0, 0)
			w.donate(code, 10_00)
		}
		list := w.sent().Payouts
		long := make([]payouts.Detail, 0, 1100)
		for i := range 1100 {
			long = append(long, payouts.Detail{EndToEndID: fmt.Sprint("GIFT-", i), Amount: 1})
		}
		batch := w.entry(payouts.Detail{EndToEndID: list[0].EndToEndID, Amount: -10_00}, payouts.Detail{EndToEndID: list[1].EndToEndID, Amount: -10_00})
		batch.Reference = "BATCH-REF"
		gifts := w.entry(long...)
		gifts.Reference, gifts.Details[0].MessageID = "", "GIFTS"
		back := w.cameBack(list[0])
		first := w.importOne(notified("N-1", batch, gifts, back))
		if first.Err != nil || first.Already || first.Entries != 3 || first.Pending != 2 || w.transactions() != 6 {
			t.Fatalf("a notification gave %+v and %d transactions", first, w.transactions())
		}
		if again := w.importOne(notified("N-1", batch, gifts, back)); again.Err != nil || !again.Already {
			t.Errorf("again: %+v", again)
		}
		if other := w.importOne(notified("N-1", batch)); ledger.CodeOf(other.Err) != ledger.CodeConflict {
			t.Errorf("another one: %+v", other)
		}
		if f := w.findings(); len(f) != 1 || f[0].Source != payouts.SourceNotification || f[0].Kind != payouts.OtherContent || f[0].Statement != "N-1" {
			t.Errorf("findings are %+v", f)
		}

		sum := w.entry(payouts.Detail{Amount: -20_00})
		sum.Reference = "BATCH-REF"
		other := w.entry(payouts.Detail{Amount: -21_00}) // the reference of the batch, but not its amount
		other.Reference = "BATCH-REF"
		gift := w.entry(payouts.Detail{MessageID: "GIFTS", Amount: 11_00})
		gift.Reference = ""
		silent := w.cameBack(list[0]) // the statement does not say why, the notification did
		silent.Details[0].ReturnReason = ""
		r := w.imported(w.statement(sum, other, gift, silent))
		if r.Settled != 2 || r.Returned != 1 || r.Suspense != 1101 || r.Entries != 4 {
			t.Errorf("the statement gave %d settled, %d returned, %d to suspense", r.Settled, r.Returned, r.Suspense)
		}
		if p := w.payout(list[0].EndToEndID); p.State != payouts.Returned || p.ReturnReason != "AC04" {
			t.Errorf("the payout that came back is %+v", p)
		}
		entries := read(w, func(ctx context.Context, tx *sqldb.Tx) ([]payouts.StoredEntry, error) {
			return payouts.ListEntries(ctx, tx, payouts.EntryFilter{PayoutID: list[1].ID, Limit: 9})
		})
		if len(entries) != 1 || entries[0].Entry != 1 || entries[0].Detail != 2 || entries[0].Reference != "BATCH-REF" {
			t.Errorf("the second payout of the batch is %+v", entries)
		}
		w.balances(map[string]ledger.Amount{"payouts-in-transit": 10_00, "suspense": -10_00})
		w.verify()
	})
}

// TestBatchOfOurFile: where the bank books a payment file at once and gives no more
// than its message id, the file says what it consists of.
func TestBatchOfOurFile(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		for _, code := range []string{"acf", "msf"} {
			w.enrol(code, acfIBAN, 0, 0)
			w.donate(code, 10_00)
		}
		batch := w.sent().Batch
		part := w.entry(payouts.Detail{MessageID: batch.MessageID, Amount: -19_99})
		whole := w.entry(payouts.Detail{MessageID: batch.MessageID, EndToEndID: "NOTPROVIDED", Amount: -20_00})
		r := w.imported(w.statement(part, whole))
		if r.Settled != 2 || r.Suspense != 1 || w.batch(batch.Reference).State != payouts.BatchSettled {
			t.Errorf("%d settled, %d to suspense, the batch is %s", r.Settled, r.Suspense, w.batch(batch.Reference).State)
		}
		if r := w.imported(w.statement(whole)); r.Settled != 0 || r.Suspense != 1 {
			t.Errorf("the same batch once more: %d settled, %d to suspense", r.Settled, r.Suspense)
		}
		w.balances(map[string]ledger.Amount{"payouts-in-transit": 0})
		w.verify()
	})
}
