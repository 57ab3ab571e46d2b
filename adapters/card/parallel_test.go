package card_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"tweetledger/adapters/card/cardsim"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

// TestParallelCharges asks two processes for one charge at once, and then for more than a
// day may have, and than the wallet may hold: the card pays once for each key, and no
// limit is passed.
func TestParallelCharges(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		config := testConfig()
		config.WalletCeiling = 500_00
		config.Cards.DayCount, config.Cards.DayAmount = 8, 1000_00
		w := newWorld(t, t.Context(), db, newAcquirers(t), config)
		w.people()
		on := w.add("c-000001", "pm_sim_"+cardsim.BehaviourOK+"_1")
		nodes := []*payments.Service{w.Service, w.other}
		atOnce := func(amount ledger.Amount, key func(i int) string) {
			var group sync.WaitGroup
			for i := range 20 {
				group.Go(func() {
					_, err := nodes[i%len(nodes)].ChargeCard(w.ctx, payments.ChargeRequest{Key: key(i), CustomerNumber: "c-000001", CardID: on.ID, Amount: amount, Present: true, Actor: "test"})
					if code := ledger.CodeOf(err); err != nil && code != ledger.CodeLimitExceeded {
						t.Errorf("charge %d: %v", i, err)
					}
				})
			}
			group.Wait()
			for range 3 { // what one process asked for while another looked
				w.news()
			}
		}
		atOnce(100_00, func(int) string { return "the-same" })
		w.wantBalances(map[string]ledger.Amount{walletMarie: 100_00, "cards-to-settle": 100_00})
		atOnce(90_00, func(i int) string { return fmt.Sprintf("another-%d", i) })
		var all []payments.Charge
		w.must(w.db.Read(w.ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
			all, err = payments.ListCharges(ctx, tx, payments.ChargeFilter{Limit: payments.MaxPage})
			return err
		}))
		posted := 0
		for _, c := range all {
			switch c.State {
			case payments.ChargePosted:
				posted++
			case payments.ChargeRefunded: // the wallet was full when it came
			default:
				t.Errorf("charge %s is %s (%s)", c.Key, c.State, c.Reason)
			}
		}
		if len(all) > config.Cards.DayCount || posted != 5 {
			t.Errorf("%d charges were made, %d of them into the wallet", len(all), posted)
		}
		w.wantBalances(map[string]ledger.Amount{walletMarie: 460_00, "cards-to-settle": 460_00, "suspense": 0})
		if n := len(w.sim.Payments()); n != len(all) {
			t.Errorf("the acquirer has %d payments, the book %d", n, len(all))
		}
		w.verify()
	})
}
