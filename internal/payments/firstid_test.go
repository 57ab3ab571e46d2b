package payments_test

import (
	"context"
	"testing"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
)

// TestSameMessageUnderAnotherFirstID delivers an edit by a way in that knows the
// edit history, and by one that takes it for a message of its own.
func TestSameMessageUnderAnotherFirstID(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		full := edited(w.message(marie, toYoann), 1, toYoann)
		bare := full
		bare.FirstID, bare.Version = bare.ID, 0
		if got := w.take(full); got.Outcome != payments.OutcomeOrder {
			t.Fatalf("the edit became %+v", got)
		}
		if got := w.take(bare); got.Outcome != payments.OutcomeIgnored || got.Reason != payments.ReasonDuplicate {
			t.Fatalf("the same message once more became %+v", got)
		}
		w.wantBalance("wallet:c-000001", 1000_00, 980_00)
	})
}

// TestEditOrderedUnderItsOwnID lets an edit arrive as a message of its own first,
// so that the message and its edit both have an order, and then as what it is:
// no more than one of the two can be paid.
func TestEditOrderedUnderItsOwnID(t *testing.T) {
	type chain struct {
		first, second    payments.Order
		edit, edit2, own payments.Message
	}
	begin := func(t *testing.T, w *world) chain {
		t.Helper()
		m := w.message(marie, toYoann)
		c := chain{edit: edited(m, 1, "pay 21.00 "+yoann+" yoann_test"), edit2: edited(m, 2, "pay 22.00 "+yoann+" yoann_test")}
		c.own = c.edit
		c.own.FirstID, c.own.Version = c.own.ID, 0
		c.first, c.second = *w.take(m).Order, *w.take(c.own).Order
		return c
	}
	for name, test := range map[string]func(t *testing.T, w *world, c chain){
		"nothing is paid": func(t *testing.T, w *world, c chain) {
			if got := w.take(c.edit); got.Reason != payments.ReasonDuplicate {
				t.Fatalf("the edit became %+v", got)
			}
			w.wantState(c.first.ID, payments.StateVoided, payments.ReasonEdited)
			w.wantState(c.second.ID, payments.StateAwaitingConfirmation, payments.ReasonHeld)
			w.wantBalance("wallet:c-000001", 1000_00, 979_00)
		},
		"the message is paid": func(t *testing.T, w *world, c chain) {
			_, err := w.confirm(c.first.ID, rightCode)
			must(t, err)
			w.take(c.edit)
			w.wantState(c.second.ID, payments.StateVoided, payments.ReasonEdited)
			w.wantBalance("wallet:c-000001", 980_00, 980_00)
		},
		"the edit is paid": func(t *testing.T, w *world, c chain) {
			_, err := w.confirm(c.second.ID, rightCode)
			must(t, err)
			w.take(c.edit)
			w.wantState(c.first.ID, payments.StateVoided, payments.ReasonEdited)
			w.wantBalance("wallet:c-000001", 979_00, 979_00)
		},
		"the next edit is handled first": func(t *testing.T, w *world, c chain) {
			for _, m := range []payments.Message{c.edit, c.edit2} {
				_, err := w.Receive(w.ctx, m)
				must(t, err)
			}
			third := w.take(c.edit2).Order
			w.wantState(c.first.ID, payments.StateVoided, payments.ReasonEdited)
			w.wantState(c.second.ID, payments.StateVoided, payments.ReasonEdited)
			if got := w.take(c.edit); got.Outcome != payments.OutcomeSuperseded {
				t.Fatalf("the edit became %+v", got)
			}
			w.wantState(third.ID, payments.StateAwaitingConfirmation, payments.ReasonHeld)
			w.wantBalance("wallet:c-000001", 1000_00, 978_00)
		},
		"the next edit comes after payment": func(t *testing.T, w *world, c chain) {
			_, err := w.confirm(c.first.ID, rightCode)
			must(t, err)
			_, err = w.Receive(w.ctx, c.edit)
			must(t, err)
			if got := w.take(c.edit2); got.Outcome != payments.OutcomeTooLate {
				t.Fatalf("the edit became %+v", got)
			}
			w.wantState(c.second.ID, payments.StateVoided, payments.ReasonEdited)
			w.wantBalance("wallet:c-000001", 980_00, 980_00)
		},
		"another author claims the message": func(t *testing.T, w *world, c chain) {
			forged := c.own
			forged.FirstID, forged.Version, forged.AuthorID = "123", 1, stranger
			w.take(forged)
			w.wantState(c.first.ID, payments.StateAwaitingConfirmation, payments.ReasonHeld)
			w.wantState(c.second.ID, payments.StateAwaitingConfirmation, payments.ReasonHeld)
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, w *world) { test(t, w, begin(t, w)) })
		})
	}
}

// TestDeleteUnderEveryFirstID deletes a message that two ways in filed under two
// first ids: no text of it stays.
func TestDeleteUnderEveryFirstID(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		edit := edited(w.message(marie, toYoann), 1, toYoann)
		own := edit
		own.FirstID, own.Version = own.ID, 0
		w.take(edit)
		w.take(own)
		deleted, err := w.Delete(w.ctx, payments.Deletion{Channel: channel, ID: edit.ID, At: w.clock.Now()})
		must(t, err)
		if !deleted.Known || deleted.Versions != 2 {
			t.Fatalf("deleted %+v", deleted)
		}
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			list, err := payments.ListMessages(ctx, tx, payments.MessageFilter{Limit: 10})
			for _, m := range list {
				if m.HasText || m.DeletedAt.IsZero() {
					t.Errorf("version %d of %s still has its text", m.Version, m.FirstID)
				}
			}
			return err
		})
	})
}
