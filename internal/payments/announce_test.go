package payments_test

import (
	"context"
	"strings"
	"testing"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

func (w *world) announce(heads ledger.Heads) (row payments.OutboxRow, fresh bool) {
	w.t.Helper()
	must(w.t, w.Engine().DB().WriteIdempotent(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		row, fresh, err = w.Announce(ctx, tx, channel, heads)
		return err
	}))
	return row, fresh
}

func (w *world) announcementWaits() (waits bool) {
	w.t.Helper()
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		waits, err = payments.AnnouncementWaits(ctx, tx, channel)
		return err
	})
	return waits
}

func TestHeadsAreAnnouncedOnceAndAnswerNobody(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		heads := ledger.Heads{Book: "demo", At: w.Engine().Now(), List: []ledger.Head{{Journal: "VIR", FiscalYear: 2026, Number: 7}}}
		first, fresh := w.announce(heads)
		if !fresh || !w.announcementWaits() {
			t.Fatalf("first announcement: %+v, new: %v", first, fresh)
		}
		if again, fresh := w.announce(heads); fresh || again.ID != first.ID || again.Text != first.Text {
			t.Errorf("announced twice: %+v", again)
		}
		if done := w.deliver(); done != (payments.Delivered{Sent: 1}) {
			t.Fatalf("delivered: %+v", done)
		}
		sent := w.sink.replies[len(w.sink.replies)-1]
		if !sent.Announcement || sent.InReplyTo != "" || sent.ID != first.ID.String() || !strings.Contains(sent.Text, "1 chain, 7 entries, SHA-256 ") {
			t.Errorf("sent: %+v", sent)
		}
		if again, fresh := w.announce(heads); fresh || again.Status != payments.OutboxSent || w.announcementWaits() {
			t.Errorf("announced again after it was sent: %+v", again)
		}
		heads.List[0].Number++
		if next, fresh := w.announce(heads); !fresh || next.ID == first.ID {
			t.Errorf("heads that moved: %+v, new: %v", next, fresh)
		}
		heads.At = heads.At.AddDate(20_000, 0, 0)
		err := w.Engine().DB().Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			_, _, err := w.Announce(ctx, tx, channel, heads)
			return err
		})
		w.wantCode(err, ledger.CodeInvalid)
	})
}

func TestAnnouncementsAreStrictInTheSchema(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.announce(ledger.Heads{At: w.Engine().Now(), List: []ledger.Head{{Journal: "VIR", FiscalYear: 2026, Number: 7}}})
		for _, change := range []string{"in_reply_to = '1'", "text = ''", "channel = ''", "kind = 'rumour'"} {
			err := w.Engine().DB().Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
				_, err := tx.Exec(ctx, "UPDATE outbox SET "+change+" WHERE kind = 'announcement'")
				return err
			})
			if err == nil {
				t.Errorf("an announcement with %s was stored", change)
			}
		}
	})
}
