package payments_test

import (
	"context"
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

// hasText reports whether the inbox still has the text of a message.
func (w *world) hasText(m payments.Message) (has bool) {
	w.t.Helper()
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		row, err := payments.FindMessageByChannelID(ctx, tx, m.Channel, m.ID)
		has = row.HasText
		return err
	})
	return has
}

func (w *world) purgeGone(limit, want int) {
	w.t.Helper()
	n, err := w.PurgeGone(w.ctx, channel, limit)
	must(w.t, err)
	if n != want {
		w.t.Errorf("%d texts purged, want %d", n, want)
	}
}

// TestTextsOfAccountsThatAreGone purges what an account wrote until it was gone, in
// posts and direct messages, what comes late as well, and leaves all else: the texts of
// others, what the account writes when it is back, and every order.
func TestTextsOfAccountsThatAreGone(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		paid, late, open := w.message(marie, toYoann), w.message(marie, "help"), w.message(marie, toYoann)
		o := w.take(paid).Order
		private, other := w.direct(marie, "help"), w.message(yoann, "help")
		w.take(private)
		w.take(other)
		received, err := w.Receive(w.ctx, open)
		must(t, err)
		w.purgeGone(100, 0)

		gone := w.clock.Now()
		must(t, w.NoteAuthorGone(w.ctx, payments.AuthorGone{Channel: channel, AuthorID: marie, At: gone}))
		must(t, w.NoteAuthorGone(w.ctx, payments.AuthorGone{Channel: channel, AuthorID: marie, At: gone.Add(-time.Hour)})) // older news changes nothing
		must(t, w.NoteAuthorGone(w.ctx, payments.AuthorGone{Channel: channel, AuthorID: stranger, At: gone}))
		back := w.message(marie, "help")
		w.take(back)
		w.purgeGone(1, 1)
		w.purgeGone(100, 1)
		w.take(late)
		_, err = w.Handle(w.ctx, received.ID)
		must(t, err)
		w.purgeGone(100, 2)
		for _, m := range []payments.Message{paid, late, open, private} {
			if w.hasText(m) {
				t.Errorf("the text of %s is still there", m.ID)
			}
		}
		for _, m := range []payments.Message{other, back} {
			if !w.hasText(m) {
				t.Errorf("the text of %s is gone", m.ID)
			}
		}
		w.wantState(o.ID, payments.StateAwaitingConfirmation, payments.ReasonHeld)
		if _, err := w.confirm(o.ID, rightCode); err != nil {
			t.Errorf("the order cannot be confirmed any more: %v", err)
		}
		w.clock.Add(testConfig().TextRetention)
		if n, err := w.PurgeDeletions(w.ctx, 100); err != nil || n != 2 {
			t.Errorf("%d forgotten, %v", n, err)
		}
		w.wantCode(w.NoteAuthorGone(w.ctx, payments.AuthorGone{Channel: channel, AuthorID: "@marie"}), ledger.CodeInvalid)
	})
}
