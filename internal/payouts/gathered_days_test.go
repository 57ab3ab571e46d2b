package payouts_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// donateOn posts one donation that is effective on a day.
func (w *world) donateOn(code string, amount ledger.Amount, on ledger.Date) ledger.Transaction {
	w.t.Helper()
	w.donated++
	posted, err := w.engine.Post(w.t.Context(), ledger.PostRequest{Key: fmt.Sprintf("donation:%d", w.donated), Journal: ledger.JournalTransfers, Label: "Donation",
		EffectiveDate: on, Postings: []ledger.Posting{{Debit: wallet, Credit: payable(code), Amount: amount, Currency: ledger.EUR}}})
	w.must(err)
	return posted
}

// seal seals all that waits.
func (w *world) seal() {
	w.t.Helper()
	ctx := w.t.Context()
	lease, got, err := w.engine.AcquireLease(ctx, engine.SealerLease, "test", time.Hour)
	if w.must(err); !got {
		w.t.Fatal("the sealer's lease is taken")
	}
	for {
		sealed, err := w.engine.Seal(ctx, lease)
		if w.must(err); sealed.Transactions == 0 {
			break
		}
	}
	w.must(w.engine.ReleaseLease(ctx, lease))
}

// gathered returns the days that are kept as gathered.
func (w *world) gathered(code string) int {
	w.t.Helper()
	return read(w, func(ctx context.Context, tx *sqldb.Tx) (n int, err error) {
		err = tx.QueryRow(ctx, "SELECT COUNT(*) FROM gathered_days WHERE account_id = $1 AND credits > 0", []any{payable(code)}, &n)
		return n, err
	})
}

// TestGatheredDays: days of which nothing is due are not looked at again, until
// something is posted on them or their donations are freed.
func TestGatheredDays(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.enrol("acf", acfIBAN, 0, 0)
		today := w.engine.Today()
		for back := range 3 {
			w.donateOn("acf", 10_00, today.AddDays(-back))
		}
		first := w.prepare()
		if n := w.gathered("acf"); n != 0 || first.Batch.Gross != 30_00 {
			t.Fatalf("%d days are kept as gathered before anything is sealed; %+v", n, first.Batch)
		}
		w.seal()
		_, err := w.service.Prepare(t.Context(), payouts.PrepareRequest{Actor: "alice"})
		w.refused(err, ledger.CodeNotFound)
		if n := w.gathered("acf"); n != 3 {
			t.Errorf("%d days are kept as gathered, want 3 also where nothing is due", n)
		}
		late := w.donateOn("acf", 7_00, today.AddDays(-2))
		second := w.prepare()
		if items := w.items(second.Payouts[0]); len(items) != 1 || items[0].TransactionID != late.ID || items[0].EffectiveDate != late.EffectiveDate {
			t.Errorf("a donation to a day that was gathered: %+v", items)
		}
		w.seal()
		_, err = w.service.Cancel(t.Context(), first.Batch.Reference, "bob")
		w.must(err)
		if n := w.gathered("acf"); n != 0 {
			t.Errorf("%d days are kept as gathered after their payout was cancelled", n)
		}
		if again := w.prepare(); again.Batch.Gross != 30_00 {
			t.Errorf("after the payout was cancelled: %+v", again.Batch)
		}
		if n := w.gathered("acf"); n != 3 {
			t.Errorf("%d days are kept as gathered, want 3", n)
		}
		w.verify()
	})
}

// TestNoDonationIsForgotten plays donations, seals, batches, cancellations and returns
// in random order: in the end each donation is in one live payout.
func TestNoDonationIsForgotten(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		codes := []string{"acf", "msf"}
		for _, code := range codes {
			w.enrol(code, acfIBAN, 0, 0)
		}
		random := rand.New(rand.NewPCG(2026, 11))
		due := map[uuid.UUID]bool{} // donations, and whether no live payout has them
		var open, sent []payouts.PrepareResult
		free := func(r payouts.PrepareResult) {
			for _, p := range r.Payouts {
				for _, item := range w.items(p) {
					due[item.TransactionID] = true
				}
			}
		}
		gather := func() {
			r, err := w.service.Prepare(t.Context(), payouts.PrepareRequest{Actor: "alice"})
			if ledger.CodeOf(err) == ledger.CodeNotFound {
				return
			}
			w.must(err)
			for _, p := range r.Payouts {
				for _, item := range w.items(p) {
					if !due[item.TransactionID] {
						t.Fatalf("donation %s is gathered a second time", item.TransactionID)
					}
					due[item.TransactionID] = false
				}
			}
			open = append(open, r)
		}
		take := func(list *[]payouts.PrepareResult) payouts.PrepareResult {
			i := random.IntN(len(*list))
			r := (*list)[i]
			*list = append((*list)[:i], (*list)[i+1:]...)
			return r
		}
		const steps = 80
		for range steps {
			switch step := random.IntN(10); {
			case step < 4:
				due[w.donateOn(codes[random.IntN(2)], ledger.Amount(1+random.IntN(5_00)), w.engine.Today().AddDays(-random.IntN(4))).ID] = true
			case step < 6:
				w.seal()
			case step < 8:
				gather()
			case step == 8 && len(open) > 0:
				r := take(&open)
				if random.IntN(2) == 0 {
					_, err := w.service.Cancel(t.Context(), r.Batch.Reference, "bob")
					w.must(err)
					free(r)
					continue
				}
				_, err := w.service.Approve(t.Context(), r.Batch.Reference, "bob")
				w.must(err)
				_, err = w.service.Export(t.Context(), r.Batch.Reference, "bob")
				w.must(err)
				sent = append(sent, r)
			case step == 9 && len(sent) > 0:
				w.nextDay()
				var entries []payouts.Entry
				r := take(&sent)
				for _, p := range r.Payouts {
					entries = append(entries, w.paid(p), w.cameBackFor(p, "MS03")) // which stops nobody
				}
				w.imported(w.statement(entries...))
				free(r)
			}
		}
		gather()
		for id, left := range due {
			if left {
				t.Errorf("donation %s is in no live payout", id)
			}
		}
		w.verify()
	})
}

// BenchmarkPrepare gathers one new donation beside those of days that were gathered before.
func BenchmarkPrepare(b *testing.B) {
	for _, kind := range sqltest.Engines(b) {
		for _, history := range []int{1_000, 10_000, 100_000} {
			b.Run(fmt.Sprintf("%s/history=%d", kind, history), func(b *testing.B) {
				w := newWorld(b, sqltest.New(b, kind))
				w.enrol("acf", acfIBAN, 0, 0)
				today := w.engine.Today()
				for done := 0; done < history; {
					requests := make([]ledger.Request, min(engine.MaxSubmit, history-done))
					for i := range requests {
						done++
						requests[i] = ledger.PostRequest{Key: fmt.Sprintf("history:%d", done), Journal: ledger.JournalTransfers, Label: "Donation", EffectiveDate: today.AddDays((done-1)*100/history - 100),
							Postings: []ledger.Posting{{Debit: wallet, Credit: payable("acf"), Amount: 1_00, Currency: ledger.EUR}}}
					}
					outcomes, err := w.engine.Submit(b.Context(), requests)
					w.must(err)
					for _, out := range outcomes {
						w.must(out.Err)
					}
				}
				w.seal()
				for left := true; left; {
					left = w.prepare().Left
				}
				for b.Loop() {
					b.StopTimer()
					w.donate("acf", 1_00)
					w.seal()
					b.StartTimer()
					w.prepare()
				}
			})
		}
	}
}
