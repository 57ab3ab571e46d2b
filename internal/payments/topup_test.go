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

// TestParallelTopUps books one charge on three nodes at once, a hundred times, and then a
// hundred charges of which the wallet may hold thirty.
func TestParallelTopUps(t *testing.T) {
	onCore(t, func(t *testing.T, w *world) {
		nodes := []*payments.Service{w.Service, w.node(testConfig()), w.node(testConfig())}
		atOnce := func(reference func(i int) string) (booked map[string]int, full int) {
			booked = map[string]int{}
			var group sync.WaitGroup
			var mu sync.Mutex
			for i := range 100 {
				group.Go(func() {
					made, err := nodes[i%len(nodes)].TopUp(w.ctx, "c-000001", 50_00, reference(i))
					mu.Lock()
					defer mu.Unlock()
					switch ledger.CodeOf(err) {
					case "":
						must(t, err)
						booked[made.ID.String()]++
					case ledger.CodeLimitExceeded:
						full++
					default:
						t.Errorf("top-up %d: %v", i, err)
					}
				})
			}
			group.Wait()
			return booked, full
		}
		if booked, full := atOnce(func(int) string { return "the-same" }); len(booked) != 1 || full != 0 {
			t.Fatalf("one charge was booked as %v, and refused %d times", booked, full)
		}
		w.wantBalance("wallet:c-000001", 1050_00, 1050_00)
		if booked, full := atOnce(func(i int) string { return fmt.Sprintf("another-%d", i) }); len(booked) != 29 || full != 71 {
			t.Fatalf("%d charges were booked and %d refused", len(booked), full)
		}
		w.wantBalance("wallet:c-000001", 2500_00, 2500_00)
	})
}
