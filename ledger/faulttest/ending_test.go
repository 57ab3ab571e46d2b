package faulttest_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// Sizes of the test of holds that end.
const (
	manyEndings = 100
	someEndings = 15
)

// TestHoldEndsInOneWay is the line "a hold posted, voided and expired at once by
// three callers ends in exactly one of them". The callers are three processes; in
// the last one's opinion the hold's time has come.
func TestHoldEndsInOneWay(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := newStage(t, db)
		s.mustPost(transfer("ending:fund", s.cash, s.hot, funds))
		books := []book{startWorker(t, db.String(), 0), startWorker(t, db.String(), 0), startWorker(t, db.String(), 2*time.Hour)}
		n := someEndings
		if everything() {
			n = manyEndings
		}
		ways := map[ledger.HoldStatus]int{}
		for i := range n {
			key := fmt.Sprintf("ending:%d", i)
			h, err := s.engine.Hold(s.ctx, ledger.HoldRequest{Key: key, Debit: s.hot.ID, Credit: s.payee.ID, Amount: 10,
				Currency: ledger.EUR, ExpiresAt: time.Now().Add(time.Hour)})
			if err != nil {
				t.Fatal(err)
			}
			requests := []ledger.Request{
				ledger.PostHoldRequest{Key: key + ":post", HoldID: h.ID, Journal: ledger.JournalTransfers, Label: "Posted", EffectiveDate: today},
				ledger.VoidHoldRequest{Key: key + ":void", HoldID: h.ID},
				ledger.VoidHoldRequest{Key: key + ":expire", HoldID: h.ID, Expired: true},
			}
			ended := make([]outcome, len(requests))
			var all sync.WaitGroup
			for j := range requests {
				all.Go(func() {
					b := (i + j) % len(requests) // nobody is always the first to be asked
					outcomes, ok := books[b].do(order{Requests: requests[b : b+1]})
					if !ok {
						t.Errorf("no answer to %s", requests[b].IdempotencyKey())
						return
					}
					ended[b] = outcomes[0]
				})
			}
			all.Wait()
			s.read(func(ctx context.Context, tx *sqldb.Tx) (err error) {
				h, err = engine.FindHold(ctx, tx, h.ID)
				return err
			})
			for j, status := range []ledger.HoldStatus{ledger.HoldPosted, ledger.HoldVoided, ledger.HoldExpired} {
				if out := ended[j]; out.accepted() != (h.Status == status) || !out.accepted() && out.Code != ledger.CodeHoldClosed {
					t.Errorf("hold %s ended as %s; who wanted it %s was told %q %s", key, h.Status, status, out.Code, out.Message)
				}
			}
			ways[h.Status]++
		}
		posted := ledger.Amount(10 * ways[ledger.HoldPosted])
		for id, b := range s.storedBalances() {
			if id == s.hot.ID && (b.Posted() != funds-posted || b.Available() != b.Posted()) {
				t.Errorf("the wallet has %d, %d available; want %d", b.Posted(), b.Available(), funds-posted)
			}
		}
		s.checkMoney(s.journal())
		s.verify()
		t.Logf("%d holds ended: %v", n, ways)
	})
}

// TestClockSetBack is the line "clock set back an hour between two posts", also
// across a restart: the second process knows nothing of the first one's clock.
// Within one engine, ledgertest's ClockSetBack looks at the order.
func TestClockSetBack(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWitness(newStage(t, db))
		var told []ledger.Transaction
		for i, offset := range []time.Duration{0, -time.Hour, time.Hour, 0} {
			b := startWorker(t, db.String(), offset)
			for j := range 5 {
				o := order{Requests: []ledger.Request{transfer(fmt.Sprintf("clock:%d:%d", i, j), w.cash, w.hot, 10)}}
				if !w.post(b, o) {
					t.Fatal("no answer")
				}
				told = append(told, w.acknowledged[o.Requests[0].IdempotencyKey()])
				if n := len(told); j > 0 && !told[n-1].RecordedAt.After(told[n-2].RecordedAt) {
					t.Errorf("recorded at %s after %s", told[n-1].RecordedAt, told[n-2].RecordedAt)
				}
			}
			b.stop()
		}
		w.checkBook()
		if n := len(w.journal()); n != len(told) {
			t.Errorf("the pages have %d transactions, want %d", n, len(told))
		}
	})
}
