package payments_test

import (
	"testing"
	"time"

	"tweetledger/internal/payments"
)

// The ledger expires holds, and the orders that own them expire too: whichever
// comes first, the money is free once and the order ends as it would alone.
func TestHoldsOfOrdersExpireOnceWhicheverSweeperIsFirst(t *testing.T) {
	for _, ledgerFirst := range []bool{true, false} {
		onEach(t, func(t *testing.T, w *world) {
			o := w.ordered(toYoann)
			w.clock.Add(w.Config().ConfirmationTerm + time.Second)
			holds := func() int {
				t.Helper()
				n, err := w.Engine().ExpireHolds(w.ctx, 100)
				must(t, err)
				return n
			}
			freed := 0
			if ledgerFirst {
				freed = holds()
			}
			ended, err := w.ExpireOrders(w.ctx, 100)
			must(t, err)
			again := holds()
			if want := map[bool]int{true: 1, false: 0}[ledgerFirst]; ended != 1 || freed != want || again != 0 {
				t.Errorf("ledger first %v: %d holds, %d orders, then %d holds expired", ledgerFirst, freed, ended, again)
			}
			w.wantState(o.ID, payments.StateExpired, payments.ReasonTermOver)
			w.wantBalance("wallet:c-000001", 1000_00, 1000_00)
			report, err := w.Engine().Verify(w.ctx, nil)
			must(t, err)
			if !report.OK() {
				t.Errorf("the book does not verify: %v", report.Differences)
			}
		})
	}
}
