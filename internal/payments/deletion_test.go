package payments_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// inboxRow returns a version of a message as the inbox keeps it.
func (w *world) inboxRow(m payments.Message) (row payments.InboxMessage) {
	w.t.Helper()
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		row, err = payments.FindMessage(ctx, tx, payments.MessageID(m.Channel, m.FirstID, m.Version))
		return err
	})
	return row
}

func (w *world) delete(d payments.Deletion) payments.Deleted {
	w.t.Helper()
	deleted, err := w.Delete(w.ctx, d)
	must(w.t, err)
	return deleted
}

// deletions counts what is remembered.
func (w *world) deletions() (n int) {
	w.t.Helper()
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.QueryRow(ctx, "SELECT COUNT(*) FROM deletions", nil, &n)
	})
	return n
}

// TestDeletionBeforeItsMessageIsRemembered plays the two in the wrong order: the
// order is made as in the right one, and no text stays.
func TestDeletionBeforeItsMessageIsRemembered(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		m := w.message(marie, toYoann)
		at := w.clock.Now()
		if got := w.delete(payments.Deletion{Channel: channel, ID: m.ID, AuthorID: marie, At: at}); got.Known || got.Versions != 0 {
			t.Fatalf("deleted %+v", got)
		}
		got := w.take(m)
		if got.Outcome != payments.OutcomeOrder || got.Order.State != payments.StateAwaitingConfirmation {
			t.Fatalf("the message became %+v", got)
		}
		if row := w.inboxRow(m); row.HasText || !row.DeletedAt.Equal(at) || row.Command == nil || len(row.TextHash) == 0 {
			t.Errorf("kept as %+v", row)
		}
		_, err := w.confirm(got.Order.ID, rightCode)
		must(t, err)
		w.wantBalance("wallet:c-000001", 980_00, 980_00)
	})
}

// TestDeletionOfOneVersionDeletesVersionsToCome names each version of a chain whose
// last version comes after the deletion.
func TestDeletionOfOneVersionDeletesVersionsToCome(t *testing.T) {
	for name, test := range map[string]struct{ known, deleted int }{
		"the first, which nobody has seen":   {-1, 0},
		"one between, which nobody has seen": {-1, 1},
		"the last itself":                    {-1, 2},
		"the first, which is here":           {0, 0},
		"one between, which is here":         {1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, w *world) {
				first := w.message(marie, toYoann)
				versions := []payments.Message{first, edited(first, 1, toYoann), edited(first, 2, toYoann)}
				for i := range versions {
					for _, v := range versions[:i+1] {
						versions[i].Chain = append(versions[i].Chain, v.ID)
					}
				}
				if test.known >= 0 {
					w.take(versions[test.known])
				}
				w.delete(payments.Deletion{Channel: channel, ID: versions[test.deleted].ID})
				w.take(versions[2])
				if row := w.inboxRow(versions[2]); row.HasText || row.DeletedAt.IsZero() {
					t.Errorf("kept as %+v", row)
				}
			})
		})
	}
}

// TestDeletionTakesOtherVersionsWithIt: the last version was deleted before it came. In
// whatever order the versions come, none keeps its text.
func TestDeletionTakesOtherVersionsWithIt(t *testing.T) {
	for name, come := range map[string]func(w *world, first, last payments.Message){
		"one after the other": func(w *world, first, last payments.Message) {
			w.take(first)
			w.take(last)
		},
		"the last one first": func(w *world, first, last payments.Message) {
			w.take(last)
			w.take(first)
		},
		"together": func(w *world, first, last payments.Message) {
			for _, received := range w.ReceiveAll(w.ctx, []payments.Message{first, last}) {
				must(w.t, received.Err)
			}
			_, err := w.HandlePending(w.ctx, 10)
			must(w.t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, w *world) {
				first := w.message(marie, toYoann)
				last := edited(first, 1, toYoann)
				w.delete(payments.Deletion{Channel: channel, ID: last.ID, AuthorID: marie})
				come(w, first, last)
				for _, m := range []payments.Message{first, last} {
					if row := w.inboxRow(m); row.HasText || row.DeletedAt.IsZero() {
						t.Errorf("version %d is kept as %+v", m.Version, row)
					}
				}
			})
		})
	}
}

func TestDeletionOfSomebodyElseChangesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		early, here := w.message(marie, toYoann), w.message(marie, toYoann)
		w.take(here)
		for _, m := range []payments.Message{early, here} {
			if got := w.delete(payments.Deletion{Channel: channel, ID: m.ID, AuthorID: stranger}); got.Known {
				t.Errorf("deleted %+v", got)
			}
		}
		w.take(early)
		for _, m := range []payments.Message{early, here} {
			if row := w.inboxRow(m); !row.HasText || !row.DeletedAt.IsZero() {
				t.Errorf("kept as %+v", row)
			}
		}
	})
}

// TestDeletedTextIsPurgedWhenHandlingFails deletes a message that can never be
// handled: its text goes all the same, once that is clear.
func TestDeletedTextIsPurgedWhenHandlingFails(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		m := w.message(marie, toYoann)
		received, err := w.Receive(w.ctx, m)
		must(t, err)
		w.exec("UPDATE messages SET mentions = '{}' WHERE id = $1", received.ID) // a row that cannot be read
		w.delete(payments.Deletion{Channel: channel, ID: m.ID})
		for range 10 {
			w.clock.Add(time.Hour)
			_, _ = w.HandlePending(w.ctx, 10) // it fails
		}
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			var left int
			err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM messages WHERE text IS NOT NULL OR handled_at IS NULL", nil, &left)
			if left != 0 {
				t.Errorf("%d texts stay", left)
			}
			return err
		})
	})
}

// TestDeletionsAreForgotten keeps deletions as long as texts would be kept, and those
// of strangers for two days.
func TestDeletionsAreForgotten(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		for id, author := range map[string]string{"1": marie, "2": stranger, "3": ""} {
			w.delete(payments.Deletion{Channel: channel, ID: id, AuthorID: author})
			w.delete(payments.Deletion{Channel: channel, ID: id, AuthorID: author}) // twice is once
		}
		for _, step := range []struct {
			wait         time.Duration
			purged, left int
		}{{47 * time.Hour, 0, 3}, {time.Hour, 1, 2}, {28*24*time.Hour - time.Second, 0, 2}, {time.Second, 2, 0}} {
			w.clock.Add(step.wait)
			purged, err := w.PurgeDeletions(w.ctx, 100)
			must(t, err)
			if left := w.deletions(); purged != step.purged || left != step.left {
				t.Errorf("after another %v: %d purged, %d left", step.wait, purged, left)
			}
		}
	})
}

func TestDeletionsThatCannotBeStored(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	for _, d := range []payments.Deletion{{Channel: "X", ID: "1"}, {Channel: channel, ID: ""}, {Channel: channel, ID: "1", AuthorID: "a b"},
		{Channel: channel, ID: "1", At: time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)}} {
		_, err := w.Delete(w.ctx, d)
		w.wantCode(err, ledger.CodeInvalid)
	}
}

// forged is a message that claims to be an edit of m, by somebody else, as an archive
// that somebody hands in can say.
func forged(m payments.Message, version int) payments.Message {
	m.AuthorID, m.AuthorHandle, m.ID, m.Version, m.Text = stranger, "eve", "999"+m.FirstID, version, "bonjour"
	return m
}

// TestForgedFirstIDChangesNothing hands in a message whose author is not that of the
// message that it claims to edit.
func TestForgedFirstIDChangesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		m := w.message(marie, toYoann)
		o := w.take(m).Order
		before := w.counts()
		for version := range 3 {
			_, err := w.Receive(w.ctx, forged(m, version+1))
			w.wantCode(err, ledger.CodeInvalid)
		}
		same := m
		same.AuthorID = stranger
		_, err := w.Receive(w.ctx, same)
		w.wantCode(err, ledger.CodeInvalid)
		if after := w.counts(); after != before {
			t.Errorf("%s became %s", before, after)
		}
		w.wantState(o.ID, payments.StateAwaitingConfirmation, payments.ReasonHeld)
		if got := w.take(edited(m, 1, "pay 21.00 "+yoann+" yoann_test")); got.Outcome != payments.OutcomeOrder {
			t.Errorf("the author's own edit became %+v", got)
		}
	})
}

// TestForgedFirstIDBeforeTheMessage lets the forgery come first, with an order: when
// the message itself comes, that is void, and the author's order is made.
func TestForgedFirstIDBeforeTheMessage(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		m := w.message(marie, toYoann)
		claim := forged(m, 1)
		claim.AuthorID, claim.Text = yoann, "pay 1.00 "+marie+" marie_test"
		_, err := w.TopUp(w.ctx, "c-000002", 5_00, "charge-2")
		must(t, err)
		bad := w.take(claim).Order
		if bad == nil || bad.State != payments.StateAwaitingConfirmation {
			t.Fatalf("the forgery became %+v", bad)
		}
		good := w.take(m).Order
		if good == nil {
			t.Fatal("no order")
		}
		w.wantState(bad.ID, payments.StateVoided, payments.ReasonNotAuthor)
		w.wantState(good.ID, payments.StateAwaitingConfirmation, payments.ReasonHeld)
		_, err = w.confirm(good.ID, rightCode)
		must(t, err)
		w.wantBalance("wallet:c-000002", 25_00, 25_00)
	})
}

// TestForgedFirstIDPaidBeforeTheMessage lets the forgery be paid before the message comes:
// an edit chain pays once, so its author is told that the payment cannot be made, and the
// message does not lie in the inbox for ever.
func TestForgedFirstIDPaidBeforeTheMessage(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		m := w.message(marie, toYoann)
		claim := forged(m, 1)
		claim.AuthorID, claim.Text = yoann, "pay 1.00 "+marie+" marie_test"
		_, err := w.TopUp(w.ctx, "c-000002", 5_00, "charge-2")
		must(t, err)
		must(t, w.SetSecretCode(w.ctx, "c-000002", rightCode, "test"))
		_, err = w.confirm(w.take(claim).Order.ID, rightCode)
		must(t, err)
		for range 2 {
			if got := w.take(m); got.Outcome != payments.OutcomeRefused || got.Reason != payments.ReasonUsurped || got.Order != nil {
				t.Fatalf("the message became %+v", got)
			}
		}
		if reply := w.lastReply(); !strings.HasPrefix(reply, "Ce paiement ne peut pas être effectué.") {
			t.Errorf("its author reads %q", reply)
		}
		if got := w.say(marie, toYoann); got.Outcome != payments.OutcomeOrder {
			t.Errorf("what the author writes anew became %+v", got)
		}
		w.wantBalance("wallet:c-000001", 1001_00, 981_00)
	})
}

// TestForgedMessageIDDoesNotSwallowAnEdit lets somebody else's message carry the id of
// an edit, with a first id of its own.
func TestForgedMessageIDDoesNotSwallowAnEdit(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		m := w.message(marie, toYoann)
		first := w.take(m).Order
		edit := edited(m, 1, "pay 21.00 "+yoann+" yoann_test")
		claim := edit
		claim.AuthorID, claim.FirstID, claim.Version = stranger, edit.ID, 0
		w.take(claim)
		got := w.take(edit)
		if got.Outcome != payments.OutcomeOrder {
			t.Fatalf("the edit became %+v", got)
		}
		w.wantState(first.ID, payments.StateVoided, payments.ReasonEdited)
		w.wantBalance("wallet:c-000001", 1000_00, 979_00)
	})
}

// TestDirectMessagesAreOfTheSamePeople orders by direct message what a linked user may.
func TestDirectMessagesAreOfTheSamePeople(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		m := w.message(marie, toYoann)
		m.Channel, m.Kind, m.ConversationID = payments.DirectChannel(channel), payments.Direct, "1-2"
		o := w.take(m).Order
		if o == nil || o.State != payments.StateAwaitingConfirmation || o.Key != "twitter-dm:"+m.ID {
			t.Fatalf("ordered %+v", o)
		}
		tweet := w.message(marie, toYoann)
		tweet.ID, tweet.FirstID = m.ID, m.ID // the ids of posts and of messages are given out apart
		if got := w.take(tweet); got.Order == nil || got.Order.ID == o.ID {
			t.Fatalf("the tweet with the same id became %+v", got)
		}
		w.wantCode(w.LinkCustomer(w.ctx, payments.DirectChannel(channel), marie, "marie_test", "c-000002"), ledger.CodeConflict)
	})
}

// TestLatestMessage goes on from the newest message that somebody listened for.
func TestLatestMessage(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		latest := func(channel string) (at time.Time) {
			w.read(func(ctx context.Context, tx *sqldb.Tx) error {
				var err error
				at, err = payments.LatestMessage(ctx, tx, channel, []string{"stream", "search"})
				return err
			})
			return at
		}
		if at := latest(channel); !at.IsZero() {
			t.Errorf("without messages: %v", at)
		}
		heard := w.message(marie, "bonjour")
		imported := w.message(marie, "bonjour")
		imported.Via = "archive"
		w.take(imported)
		w.take(heard)
		if at := latest(channel); !at.Equal(heard.CreatedAt) {
			t.Errorf("latest is %v, want %v", at, heard.CreatedAt)
		}
		if at := latest("other"); !at.IsZero() {
			t.Errorf("of another channel: %v", at)
		}
	})
}
