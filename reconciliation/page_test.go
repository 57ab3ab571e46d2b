package reconciliation_test

import (
	"fmt"
	"sync"
	"testing"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/reconciliation"
)

// More postings than one page holds, and more tweets than one look-up asks for,
// are all seen, and each once.
func TestJobsReadPastTheFirstPage(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		const many = 1_103
		w.postMany(many, payments.PayableCode("acf"))
		r := w.reconcileTweets()
		if len(r.Breaks) != many || w.history.asked != many {
			t.Errorf("%d breaks after %d look-ups, want %d of each", len(r.Breaks), w.history.asked, many)
		}
		p := w.reconcilePayouts()
		wantBreaks(t, p)
		wantTotals(t, p, fmt.Sprintf("donations %d %d.00", many, many), fmt.Sprintf("donations_not_paid_out %d %d.00", many, many),
			"payouts_gross 0 0.00", "payouts_commission 0 0.00", "payouts_net 0 0.00", "settled 0 0.00", "returned 0 0.00")
		for i, b := range r.Breaks {
			if b.Class != reconciliation.MissingOutside || (i > 0 && b.Reference <= r.Breaks[i-1].Reference) {
				t.Fatalf("break %d is %+v", i, b)
			}
		}
	})
}

// postMany makes postings of 1.00 EUR that no order asked for.
func (w *world) postMany(n int, credit string) {
	w.t.Helper()
	next := make(chan int)
	var workers sync.WaitGroup
	for range 32 {
		workers.Go(func() {
			for i := range next {
				_, err := w.engine.Post(w.ctx, ledger.PostRequest{Key: fmt.Sprintf("many:%d", i), Journal: ledger.JournalMisc, Label: "By hand",
					Source: ledger.Source{Channel: channel, ID: fmt.Sprintf("8%06d", i)},
					Postings: []ledger.Posting{{Debit: ledger.SystemAccountID("wallet:c-000001"), Credit: ledger.SystemAccountID(credit),
						Amount: 1_00, Currency: ledger.EUR}}})
				if err != nil {
					w.t.Error(err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	workers.Wait()
}
