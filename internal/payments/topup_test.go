package payments_test

import (
	"fmt"
	"sync"
	"testing"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// TestTopUpBesideClosing tops wallets up while their customers are closed: either
// the money is there and the customer is not closed, or it is the other way round.
func TestTopUpBesideClosing(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		other := w.node(testConfig())
		for i := range 20 {
			c, err := w.EnrolCustomer(w.ctx, payments.NewCustomer{Name: "Short Stay", Phone: fmt.Sprintf("+336123456%02d", i)})
			must(t, err)
			var topUp, closing error
			var both sync.WaitGroup
			both.Go(func() { _, topUp = w.TopUp(w.ctx, c.Number, 10_00, "late-"+c.Number) })
			both.Go(func() { closing = other.SetCustomerStatus(w.ctx, c.Number, payments.Closed, "staff", "on request") })
			both.Wait()
			if (topUp == nil) == (closing == nil) {
				t.Fatalf("round %d: topping up: %v; closing: %v", i, topUp, closing)
			}
			if topUp != nil {
				w.wantCode(topUp, ledger.CodeAccountClosed)
			}
		}
	})
}
