package payments_test

import (
	"fmt"
	"testing"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger/engine"
)

// BenchmarkMessageToOrder takes commands from the channel to a held order on the
// embedded engine: each handled as it comes, or when a hundred wait.
func BenchmarkMessageToOrder(b *testing.B) {
	e := engine.New(sqltest.SQLite(b), engine.Options{})
	b.Cleanup(e.Close)
	config := testConfig()
	config.WalletCeiling = 1_000_000_000_00
	s, err := payments.New(e, config, wordParser{}, payments.Options{})
	check := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	check(err)
	check(s.Setup(b.Context()))
	for i, name := range []string{"Marie Test", "Yoann Test"} {
		_, err := s.EnrolCustomer(b.Context(), payments.NewCustomer{Name: name, Phone: fmt.Sprintf("+3361234567%d", i)})
		check(err)
	}
	check(s.LinkCustomer(b.Context(), channel, marie, "marie_test", "c-000001"))
	check(s.LinkCustomer(b.Context(), channel, yoann, "yoann_test", "c-000002"))
	_, err = s.TopUp(b.Context(), "c-000001", 1_000_000_000_00, "charge-1")
	check(err)
	w := &world{clock: &clock{now: e.Now()}}
	receive := func() payments.Received {
		received, err := s.Receive(b.Context(), w.message(marie, "pay 0.01 "+yoann+" yoann_test"))
		check(err)
		return received
	}
	b.Run("each", func(b *testing.B) {
		for b.Loop() {
			handled, err := s.Handle(b.Context(), receive().ID)
			check(err)
			if handled.Outcome != payments.OutcomeOrder {
				b.Fatalf("became %+v", handled)
			}
		}
	})
	b.Run("together", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			receive()
			if i%100 != 99 {
				continue
			}
			_, err := s.HandlePending(b.Context(), 100)
			check(err)
		}
	})
}
