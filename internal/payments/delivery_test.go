package payments_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

// TestDoubtIsKeptUntilItIsResolved follows one row through failures that leave doubt
// and such that do not, to staff and back.
func TestDoubtIsKeptUntilItIsResolved(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.say(stranger, toYoann)
		asked := []bool{}
		attempt := func(fail error) payments.OutboxRow {
			t.Helper()
			w.clock.Add(w.Config().Outbox.LongestPause)
			w.sink.fail = fail
			replies := len(w.sink.replies)
			w.deliver()
			if fail == nil {
				asked = append(asked, w.sink.replies[replies].InDoubt)
			}
			rows := append(append(w.outbox(payments.OutboxPending), w.outbox(payments.OutboxDead)...), w.outbox(payments.OutboxSent)...)
			if len(rows) != 1 {
				t.Fatalf("rows are %+v", rows)
			}
			return rows[0]
		}
		refused := &payments.SendError{Err: errors.New("401")}
		if row := attempt(refused); row.InDoubt {
			t.Fatalf("refused: %+v", row)
		}
		if row := attempt(&payments.SendError{InDoubt: true, Err: errors.New("503")}); !row.InDoubt {
			t.Fatalf("503: %+v", row)
		}
		if row := attempt(refused); !row.InDoubt {
			t.Fatalf("a refusal says nothing about the attempt before: %+v", row)
		}
		row := attempt(&payments.SendError{Permanent: true, Err: errors.New("403")})
		if row.Status != payments.OutboxDead || !row.InDoubt {
			t.Fatalf("given up: %+v", row)
		}
		must(t, w.Resend(w.ctx, row.ID))
		if row = attempt(nil); row.Status != payments.OutboxSent || row.InDoubt || !asked[0] {
			t.Fatalf("resent, in doubt %v: %+v", asked, row)
		}
	})
}

// TestAnAnswerThatNeverCameLeavesDoubt has the channel time out.
func TestAnAnswerThatNeverCameLeavesDoubt(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	w.say(stranger, toYoann)
	w.sink.fail = context.DeadlineExceeded
	w.deliver()
	if rows := w.outbox(payments.OutboxPending); len(rows) != 1 || !rows[0].InDoubt {
		t.Fatalf("rows are %+v", rows)
	}
}

// TestAChannelIsLeftAlone queues more than one batch while the channel says "later":
// it is asked once, and what was claimed with it goes back untouched; notices go on.
func TestAChannelIsLeftAlone(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		const n = 20
		for range n {
			w.ordered("pay 1.00 " + yoann + " yoann_test")
		}
		asked := 0
		later := replierFunc(func(payments.Outgoing) (string, error) {
			asked++
			return "", &payments.SendError{RetryAfter: 15 * time.Minute, Err: errors.New("429")}
		})
		for range 3 {
			_, err := w.Deliver(w.ctx, map[string]payments.Replier{channel: later}, w.sink, 100)
			must(t, err)
			w.clock.Add(4 * time.Minute)
		}
		if asked != 1 || len(w.sink.notices) != n {
			t.Fatalf("the channel was asked %d times, %d notices were sent", asked, len(w.sink.notices))
		}
		for _, row := range w.outbox(payments.OutboxPending) {
			if row.Attempts != 0 || row.InDoubt {
				t.Fatalf("%+v", row)
			}
		}
		w.clock.Add(3 * time.Minute)
		if done := w.deliver(); done != (payments.Delivered{Sent: n}) {
			t.Fatalf("when the window is open: %+v", done)
		}
	})
}

type replierFunc func(payments.Outgoing) (string, error)

func (f replierFunc) Reply(_ context.Context, out payments.Outgoing) (string, error) { return f(out) }

// TestPausesDiffer: rows that failed together are not tried again together, none
// before half of its pause, and none after it.
func TestPausesDiffer(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	const n = 12
	for range n {
		w.say(stranger, toYoann)
	}
	w.sink.fail = errors.New("away")
	at := w.clock.Now()
	w.deliver()
	pause := w.Config().Outbox.FirstPause
	different := map[time.Time]bool{}
	for _, row := range w.outbox(payments.OutboxPending) {
		if early, late := at.Add(pause/2), at.Add(pause); row.NextAttemptAt.Before(early) || row.NextAttemptAt.After(late) {
			t.Errorf("next at %s, not between %s and %s", row.NextAttemptAt, early, late)
		}
		different[row.NextAttemptAt] = true
	}
	if len(different) < n/2 {
		t.Errorf("%d rows are tried again at %d times", n, len(different))
	}
}

func TestOutboxIsListedInPages(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	for range 3 {
		w.ordered("pay 1.00 " + yoann + " yoann_test")
	}
	list := func(f payments.OutboxFilter) []payments.OutboxRow {
		t.Helper()
		var rows []payments.OutboxRow
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			var err error
			rows, err = payments.ListOutbox(ctx, tx, f)
			return err
		})
		return rows
	}
	first := list(payments.OutboxFilter{Kind: payments.OutboxReply, Limit: 2})
	rest := list(payments.OutboxFilter{Kind: payments.OutboxReply, Limit: 2, After: first[1].Cursor()})
	if len(first) != 2 || len(rest) != 1 || rest[0].ID == first[1].ID {
		t.Fatalf("pages are %+v and %+v", first, rest)
	}
	var waiting payments.Waiting
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		waiting, err = payments.MeasureWaiting(ctx, tx)
		return err
	})
	if waiting.Pending != 6 || waiting.Dead != 0 || waiting.Reviews != 0 || !waiting.OldestAt.Equal(first[0].CreatedAt) {
		t.Fatalf("waiting: %+v", waiting)
	}
}

// TestOrdersAreFoundByReference also where two orders share it.
func TestOrdersAreFoundByReference(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		o, other := w.ordered(toYoann), w.ordered(toYoann)
		resolve := func(text string) (id string, err error) {
			err = db.Read(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
				found, err := payments.ResolveOrder(ctx, tx, text)
				id = found.String()
				return err
			})
			return id, err
		}
		for _, text := range []string{o.ID.String(), o.Reference(), fmt.Sprintf("%x", o.ID[:4]), o.Key} {
			if id, err := resolve(text); err != nil || id != o.ID.String() {
				t.Errorf("%s is %s, %v", text, id, err)
			}
		}
		for text, code := range map[string]string{"": "invalid", "4": "invalid", "ZZZZZZZZ": "invalid", "44B5BCB21": "invalid", "00000000": "not_found", "twitter:0": "not_found",
			"00000000-0000-0000-0000-000000000001": "not_found"} {
			if _, err := resolve(text); string(ledger.CodeOf(err)) != code {
				t.Errorf("%q: %v", text, err)
			}
		}
		// Two ids with the same beginning are rare, and made here by hand.
		shared := other.ID
		copy(shared[:4], o.ID[:4])
		w.exec("DELETE FROM order_events WHERE order_id = $1", other.ID)
		w.exec("DELETE FROM outbox WHERE order_id = $1", other.ID)
		w.exec("UPDATE orders SET id = $1 WHERE id = $2", shared, other.ID)
		_, err := resolve(o.Reference())
		if string(ledger.CodeOf(err)) != "conflict" || !strings.Contains(err.Error(), o.ID.String()) || !strings.Contains(err.Error(), shared.String()) {
			t.Errorf("an ambiguous reference: %v", err)
		}
		if id, err := resolve(shared.String()); err != nil || id != shared.String() {
			t.Errorf("by its id: %s, %v", id, err)
		}
	})
}
