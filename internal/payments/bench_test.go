package payments_test

import (
	"fmt"
	"testing"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger/engine"
)

// BenchmarkMessageToOrder takes commands of many customers from the channel to a held
// order on the embedded engine: each handled as it comes, or when a hundred wait.
func BenchmarkMessageToOrder(b *testing.B) {
	const payers, waiting = 250, 100
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
	id := func(i int) string { return fmt.Sprint(700_001_000 + i) }
	for i := range payers {
		c, err := s.EnrolCustomer(b.Context(), payments.NewCustomer{Name: "Payer", Phone: fmt.Sprintf("+336%08d", i)})
		check(err)
		check(s.LinkCustomer(b.Context(), channel, id(i), fmt.Sprintf("payer_%d", i), c.Number))
		_, err = s.TopUp(b.Context(), c.Number, 1_000_000_00, "charge-"+c.Number)
		check(err)
	}
	w := &world{clock: &clock{now: e.Now()}}
	message := func() payments.Message {
		return w.message(id(w.next%payers), "pay 0.01 "+id((w.next+7)%payers)+" somebody")
	}
	b.Run("each", func(b *testing.B) {
		for b.Loop() {
			received, err := s.Receive(b.Context(), message())
			check(err)
			handled, err := s.Handle(b.Context(), received.ID)
			check(err)
			if handled.Outcome != payments.OutcomeOrder {
				b.Fatalf("became %+v", handled)
			}
		}
	})
	b.Run("together", func(b *testing.B) {
		var batch []payments.Message
		for b.Loop() {
			if batch = append(batch, message()); len(batch) < waiting {
				continue
			}
			for _, received := range s.ReceiveAll(b.Context(), batch) {
				check(received.Err)
			}
			batch = batch[:0]
			done, err := s.HandlePending(b.Context(), waiting)
			check(err)
			if done != waiting {
				b.Fatalf("%d of %d were handled", done, waiting)
			}
		}
	})
}
