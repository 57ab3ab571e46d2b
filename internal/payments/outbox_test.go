package payments_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

func (w *world) outbox(status payments.OutboxStatus) []payments.OutboxRow {
	w.t.Helper()
	var rows []payments.OutboxRow
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		rows, err = payments.ListOutbox(ctx, tx, payments.OutboxFilter{Status: status, Limit: 1000})
		return err
	})
	return rows
}

func TestFailedSendsAreTriedAgainAndThenGivenUp(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.ordered(toYoann)
		w.sink.fail = errors.New("gateway away")
		tries := w.Config().Outbox.Tries
		pause := w.Config().Outbox.FirstPause
		for try := 1; try <= tries; try++ {
			done := w.deliver()
			if want := (payments.Delivered{Retried: 2}); try < tries && done != want {
				t.Fatalf("try %d: %+v", try, done)
			}
			if want := (payments.Delivered{Dead: 2}); try == tries && done != want {
				t.Fatalf("last try: %+v", done)
			}
			if early := w.deliver(); early != (payments.Delivered{}) {
				t.Fatalf("tried again at once after try %d: %+v", try, early)
			}
			w.clock.Add(pause)
			pause = min(2*pause, w.Config().Outbox.LongestPause)
		}
		dead := w.outbox(payments.OutboxDead)
		if len(dead) != 2 || dead[0].Attempts != tries || dead[0].LastError != "gateway away" {
			t.Fatalf("dead rows are %+v", dead)
		}
		w.sink.fail = nil
		for _, row := range dead {
			must(t, w.Resend(w.ctx, row.ID))
		}
		w.wantCode(w.Resend(w.ctx, dead[0].ID), ledger.CodeNotFound)
		if done := w.deliver(); done != (payments.Delivered{Sent: 2}) {
			t.Fatalf("resent %+v", done)
		}
		sent := w.outbox(payments.OutboxSent)
		for _, row := range sent {
			if row.Kind == payments.OutboxReply && row.ExternalID != "r1" {
				t.Fatalf("the reply is known as %q", row.ExternalID)
			}
		}
	})
}

func TestSendErrorsAreHonoured(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.say(stranger, toYoann)
		w.sink.fail = fmt.Errorf("reply: %w", &payments.SendError{RetryAfter: 15 * time.Minute, Err: errors.New("429")})
		w.deliver()
		w.clock.Add(15*time.Minute - time.Second)
		if done := w.deliver(); done != (payments.Delivered{}) {
			t.Fatalf("tried before the channel allows: %+v", done)
		}
		w.clock.Add(time.Second)
		w.sink.fail = &payments.SendError{Permanent: true, Err: errors.New("403 author has blocked us")}
		if done := w.deliver(); done != (payments.Delivered{Dead: 1}) {
			t.Fatalf("a permanent refusal: %+v", done)
		}
	})
}

// TestWaitingInALongQueueIsNoFailure has the channel say "later" more often than
// a row may fail, as X does to those at the end of a queue beyond its limit: they
// are sent when their turn comes, and given up when it does not come for a week.
func TestWaitingInALongQueueIsNoFailure(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	later := &payments.SendError{RetryAfter: 15 * time.Minute, Err: errors.New("429")}
	w.say(stranger, toYoann)
	w.sink.fail = later
	for range w.Config().Outbox.Tries + 5 {
		if done := w.deliver(); done != (payments.Delivered{Retried: 1}) {
			t.Fatalf("told to come back later: %+v", done)
		}
		w.clock.Add(w.Config().Outbox.LongestPause)
	}
	w.sink.fail = nil
	if done := w.deliver(); done != (payments.Delivered{Sent: 1}) {
		t.Fatalf("when its turn came: %+v", done)
	}
	w.say(stranger, toYoann)
	w.sink.fail = later
	for range 7 * 24 {
		w.deliver()
		w.clock.Add(w.Config().Outbox.LongestPause)
	}
	if done := w.deliver(); done != (payments.Delivered{Dead: 1}) {
		t.Fatalf("after a week: %+v", done)
	}
}

// TestCutBetweenSendAndMark ends the process after the channel has taken a reply:
// it is sent again, with the same id, and never lost.
func TestCutBetweenSendAndMark(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.say(stranger, toYoann)
		w.sink.onReply = func() { panic("the process dies here") }
		func() {
			defer func() {
				if recover() == nil {
					t.Fatal("nothing was sent")
				}
			}()
			_, _ = w.Deliver(w.ctx, map[string]payments.Replier{channel: w.sink}, w.sink, 10)
		}()
		w.sink.onReply = nil
		if done := w.deliver(); done != (payments.Delivered{}) {
			t.Fatalf("sent again while the lease runs: %+v", done)
		}
		w.clock.Add(w.Config().Outbox.Lease)
		if done := w.deliver(); done != (payments.Delivered{Sent: 1}) {
			t.Fatalf("after the lease: %+v", done)
		}
		if len(w.sink.replies) != 2 || w.sink.replies[0].InDoubt || !w.sink.replies[1].InDoubt {
			t.Fatalf("replies are %+v; the second must say that it is in doubt", w.sink.replies)
		}
		if w.sink.replies[1].InDoubt = false; w.sink.replies[0] != w.sink.replies[1] {
			t.Fatalf("replies differ: %+v", w.sink.replies)
		}
		if done := w.deliver(); done != (payments.Delivered{}) || len(w.outbox(payments.OutboxPending)) != 0 {
			t.Fatalf("still something to send: %+v", done)
		}
	})
}

// TestStopWhileSending asks the process to stop while a reply is on its way: what
// was sent is marked, and the next row is left to others.
func TestStopWhileSending(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.say(stranger, toYoann)
		w.say(stranger, toYoann)
		ctx, stop := context.WithCancel(w.ctx)
		w.sink.onReply = stop
		done, err := w.Deliver(ctx, map[string]payments.Replier{channel: w.sink}, w.sink, 10)
		if !errors.Is(err, context.Canceled) || done.Sent != 1 {
			t.Fatalf("delivered %+v, %v", done, err)
		}
		w.sink.onReply = nil
		w.clock.Add(2 * w.Config().Outbox.Lease) // each row of a round waits for those before it
		if done := w.deliver(); done != (payments.Delivered{Sent: 1}) || len(w.sink.replies) != 2 {
			t.Fatalf("after the lease: %+v, replies %+v", done, w.sink.replies)
		}
	})
}

func TestConversationsKeepTheirOrder(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		m := w.message(marie, toYoann)
		o := w.take(m).Order
		w.sink.fail = errors.New("away")
		w.deliver()
		_, err := w.confirm(o.ID, rightCode)
		must(t, err)
		w.sink.fail = nil
		w.deliver() // the receipt is due, but what was said before it is not
		for _, r := range w.sink.replies {
			if r.InReplyTo == m.ID {
				t.Fatalf("%q overtook an earlier reply", r.Text)
			}
		}
		w.clock.Add(w.Config().Outbox.FirstPause)
		w.deliver()
		if len(w.sink.replies) != 2 || !strings.HasPrefix(w.sink.replies[0].Text, "Bien reçu") || !strings.HasPrefix(w.sink.replies[1].Text, "C'est fait") {
			t.Fatalf("replies are %+v", w.sink.replies)
		}
		if len(w.sink.notices) != 0 {
			t.Fatal("the payer is called to confirm what is confirmed")
		}
	})
}

func TestMissingChannelsWait(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.ordered(toYoann)
		done, err := w.Deliver(w.ctx, nil, w.sink, 10)
		must(t, err)
		if done != (payments.Delivered{Sent: 1}) || len(w.sink.notices) != 1 {
			t.Fatalf("without a channel: %+v", done)
		}
		done, err = w.Deliver(w.ctx, map[string]payments.Replier{channel: w.sink}, nil, 10)
		must(t, err)
		if done != (payments.Delivered{Sent: 1}) || len(w.sink.replies) != 1 {
			t.Fatalf("with the channel: %+v", done)
		}
	})
}

func TestParallelWorkersSendOnce(t *testing.T) {
	onCore(t, func(t *testing.T, w *world) {
		for range 12 {
			w.ordered("pay 1.00 " + yoann + " yoann_test")
		}
		nodes := []*payments.Service{w.Service, w.node(testConfig()), w.node(testConfig())}
		var group sync.WaitGroup
		for _, node := range nodes {
			group.Go(func() {
				if _, err := node.Deliver(w.ctx, map[string]payments.Replier{channel: w.sink}, w.sink, 100); err != nil && ledger.CodeOf(err) != ledger.CodeUnavailable {
					t.Errorf("deliver: %v", err)
				}
			})
		}
		group.Wait()
		w.deliver() // what a worker that met too much contention has left
		seen := map[string]bool{}
		for _, r := range w.sink.replies {
			if seen[r.ID] {
				t.Fatalf("%s was sent twice", r.ID)
			}
			seen[r.ID] = true
		}
		if len(seen) != 12 || len(w.sink.notices) != 12 {
			t.Fatalf("%d replies and %d notices were sent", len(seen), len(w.sink.notices))
		}
	})
}

// TestChangedKey changes the service's key: links that were not sent yet cannot
// be made any more, and say so.
func TestChangedKey(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	o := w.ordered(toYoann)
	other := testConfig()
	other.Key = []byte(strings.Repeat("z", payments.MinKey))
	done, err := w.node(other).Deliver(w.ctx, nil, w.sink, 10)
	must(t, err)
	dead := w.outbox(payments.OutboxDead)
	if done != (payments.Delivered{Dead: 1}) || len(dead) != 1 || !strings.Contains(dead[0].LastError, o.ID.String()) {
		t.Fatalf("%+v, dead %+v", done, dead)
	}
}
