package payments_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger/engine"
)

// nobodyIsForgotten checks that the first pending row of each queue has its turn.
func (w *world) nobodyIsForgotten() {
	w.t.Helper()
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		var forgotten int64
		err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM outbox AS o WHERE o.status = 'pending' AND o.turn = 0 AND NOT EXISTS (
			SELECT 1 FROM outbox AS e WHERE e.queue = o.queue AND e.status = 'pending' AND (e.created_at, e.id) < (o.created_at, o.id))`, nil, &forgotten)
		if forgotten > 0 {
			w.t.Errorf("%d rows are first in their queue and do not have their turn", forgotten)
		}
		return err
	})
}

// TestTurns fills queues while several processes empty them, through failures, rows that
// are given up and sent again: all goes out, that of a queue in order.
func TestTurns(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		random := rand.New(rand.NewPCG(1, 2))
		repliers := map[string]payments.Replier{channel: w.sink, payments.DirectChannel(channel): w.sink}
		const rounds, processes = 12, 3
		for range rounds {
			w.sink.mu.Lock()
			w.sink.fail = nil
			switch random.IntN(4) {
			case 0:
				w.sink.fail = errors.New("gateway away")
			case 1:
				w.sink.fail = &payments.SendError{Permanent: true, Err: errors.New("refused")}
			}
			w.sink.mu.Unlock()
			var wg sync.WaitGroup
			for range processes {
				wg.Go(func() {
					if _, err := w.Deliver(w.ctx, repliers, w.sink, 5); err != nil {
						t.Error(err)
					}
				})
			}
			for range 1 + random.IntN(3) {
				w.ordered("pay 0.01 " + yoann + " yoann_test")
			}
			wg.Wait()
			w.nobodyIsForgotten()
			for _, row := range w.outbox(payments.OutboxDead) {
				if random.IntN(2) == 0 {
					must(t, w.Resend(w.ctx, row.ID))
				}
			}
			w.nobodyIsForgotten()
			w.clock.Add(w.Config().Outbox.Lease)
		}
		w.sink.fail = nil
		for _, row := range w.outbox(payments.OutboxDead) {
			must(t, w.Resend(w.ctx, row.ID))
		}
		w.clock.Add(w.Config().Outbox.LongestPause)
		sent := len(w.sink.notices)
		w.deliver()
		if left := w.outbox(payments.OutboxPending); len(left) != 0 {
			t.Fatalf("%d rows are pending, the first is %+v", len(left), left[0])
		}
		rows := map[string]payments.OutboxRow{}
		for _, row := range w.outbox(payments.OutboxSent) {
			rows[row.ID.String()] = row
		}
		var last time.Time
		for _, n := range w.sink.notices[sent:] {
			if at := rows[n.ID].CreatedAt; at.Before(last) {
				t.Errorf("notice %s of %v went out after that of %v", n.ID, at, last)
			} else {
				last = at
			}
		}
	})
}

// BenchmarkDeliver sends one row while many wait behind others in their queues.
func BenchmarkDeliver(b *testing.B) {
	const queues = 40
	for _, kind := range sqltest.Engines(b) {
		for _, waiting := range []int{1_000, 10_000, 100_000} {
			b.Run(fmt.Sprintf("%s/waiting=%d", kind, waiting), func(b *testing.B) {
				db := sqltest.New(b, kind)
				e := engine.New(db, engine.Options{})
				b.Cleanup(e.Close)
				check := func(err error) {
					if err != nil {
						b.Fatal(err)
					}
				}
				s, err := payments.New(e, testConfig(), wordParser{}, payments.Options{})
				check(err)
				began := e.Now()
				check(db.Write(b.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
					return tx.Insert(ctx, "outbox", []sqldb.Column{{Name: "id", Type: "uuid"}, {Name: "kind", Type: "text"}, {Name: "queue", Type: "text"},
						{Name: "channel", Type: "text"}, {Name: "in_reply_to", Type: "text"}, {Name: "conversation_id", Type: "text"}, {Name: "template", Type: "text"},
						{Name: "text", Type: "text"}, {Name: "status", Type: "text"}, {Name: "attempts", Type: "int8"}, {Name: "next_attempt_at", Type: "timestamptz"},
						{Name: "created_at", Type: "timestamptz"}, {Name: "external_id", Type: "text"}, {Name: "last_error", Type: "text"}, {Name: "turn", Type: "int8"},
					}, waiting, func(i int) []any {
						at := began.Add(time.Duration(i-waiting) * time.Millisecond)
						return []any{uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, i)), "reply", fmt.Sprint("conversation", i%queues), channel, fmt.Sprint(i), fmt.Sprint(i % queues), "ignored",
							"hello", "pending", int64(0), at, at, "", "", sqldb.Flag(i < queues)}
					})
				}))
				repliers := map[string]payments.Replier{channel: &sink{}}
				for b.Loop() {
					done, err := s.Deliver(b.Context(), repliers, nil, 1)
					check(err)
					if done.Sent != 1 {
						b.Fatalf("delivered %+v", done)
					}
				}
			})
		}
	}
}
