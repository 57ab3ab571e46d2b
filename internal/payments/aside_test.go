package payments_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// direct makes a direct message by author.
func (w *world) direct(author, text string) payments.Message {
	m := w.message(author, text)
	m.Channel, m.Kind, m.ConversationID = payments.DirectChannel(channel), payments.Direct, author+"-1"
	return m
}

// sent delivers the outbox and returns what answered the message with this id.
func (w *world) sent(id string) (public, private []string) {
	w.t.Helper()
	w.deliver()
	for _, r := range w.sink.replies {
		switch {
		case r.InReplyTo != id:
		case r.RecipientID == "":
			public = append(public, r.Text)
		default:
			private = append(private, r.Text)
		}
	}
	return public, private
}

func (w *world) wantAnswer(handled payments.Handled, outcome payments.Outcome, reason string) {
	w.t.Helper()
	if handled.Outcome != outcome || handled.Reason != reason {
		w.t.Fatalf("became %s (%s), want %s (%s)", handled.Outcome, handled.Reason, outcome, reason)
	}
}

func TestBalanceIsToldInPrivate(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.ordered("pay 20.00 " + yoann + " yoann_test")
		const balance = "Votre solde disponible le 22/11 à 11h00 : 980,00\u00a0€. 20,00\u00a0€ de plus sont réservés à des paiements qui attendent."

		m := w.message(marie, "balance")
		w.wantAnswer(w.take(m), payments.OutcomeAnswered, payments.CommandBalance)
		public, private := w.sent(m.ID)
		if !slices.Equal(public, []string{"Nous vous répondons par message privé."}) || !slices.Equal(private, []string{balance}) {
			t.Fatalf("public %q, private %q", public, private)
		}
		out := w.sink.replies[len(w.sink.replies)-1]
		if i := slices.IndexFunc(w.sink.replies, func(r payments.Outgoing) bool { return r.RecipientID != "" }); i >= 0 {
			out = w.sink.replies[i]
		}
		if out.RecipientID != marie || out.Channel != payments.DirectChannel(channel) || out.Announcement {
			t.Fatalf("the balance went to %+v", out)
		}

		m = w.direct(marie, "balance")
		w.wantAnswer(w.take(m), payments.OutcomeAnswered, payments.CommandBalance)
		if public, private = w.sent(m.ID); len(public) != 0 || !slices.Equal(private, []string{balance}) {
			t.Fatalf("public %q, private %q", public, private)
		}

		m = w.message(marie, "balance")
		m.Language = "en"
		w.take(m)
		want := "Your available balance on 22 Nov at 11:00: €980.00. Another €20.00 are held for payments that are waiting."
		if public, private = w.sent(m.ID); len(public) != 1 || !slices.Equal(private, []string{want}) {
			t.Fatalf("public %q, private %q", public, private)
		}
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			rows, err := payments.ListOutbox(ctx, tx, payments.OutboxFilter{Limit: 100})
			must(t, err)
			for _, r := range rows {
				if strings.Contains(r.Text, "980") {
					t.Errorf("the outbox still has %q", r.Text)
				}
			}
			return nil
		})
		before := w.counts()
		again, err := w.Handle(w.ctx, payments.MessageID(m.Channel, m.FirstID, m.Version))
		must(t, err)
		if !again.Again || w.counts() != before {
			t.Fatalf("handled again: %+v, %s", again, w.counts())
		}
	})
}

// TestBalanceStaysInTheOutboxUntilItIsSent keeps what cannot be delivered yet.
func TestBalanceStaysInTheOutboxUntilItIsSent(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	m := w.message(marie, "balance")
	w.take(m)
	w.sink.fail = &payments.SendError{RetryAfter: time.Minute, Err: context.DeadlineExceeded}
	w.deliver()
	w.sink.fail = nil
	w.clock.Add(time.Hour)
	if _, private := w.sent(m.ID); len(private) != 1 || !strings.Contains(private[0], "1000,00\u00a0€") {
		t.Fatalf("told %q", private)
	}
}

func TestStrangersAreInvited(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		for _, text := range []string{"balance", "cancel", "cancel 1A2B3C4D"} {
			m := w.message(stranger, text)
			w.wantAnswer(w.take(m), payments.OutcomeRefused, payments.ReasonNotCustomer)
			if public, private := w.sent(m.ID); len(public) != 1 || !strings.HasPrefix(public[0], "Pour payer par tweet") || len(private) != 0 {
				t.Fatalf("%s: public %q, private %q", text, public, private)
			}
		}
		m := w.message(acf, "balance") // a charity has no wallet
		w.wantAnswer(w.take(m), payments.OutcomeRefused, payments.ReasonNotCustomer)
	})
}

func TestCancelTheNewestOrder(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		first := w.ordered("pay 20.00 " + yoann + " yoann_test")
		second := w.ordered("pay 30.00 " + acf + " ACF_France")
		m := w.message(marie, "cancel")
		handled := w.take(m)
		w.wantAnswer(handled, payments.OutcomeAnswered, payments.CommandCancel)
		if handled.Order == nil || handled.Order.ID != second.ID {
			t.Fatalf("cancelled %+v", handled.Order)
		}
		w.wantState(second.ID, payments.StateCancelled, payments.ReasonAsked)
		w.wantState(first.ID, payments.StateAwaitingConfirmation, payments.ReasonHeld)
		w.wantBalance("wallet:c-000001", 1000_00, 980_00)
		want := "La demande de 30,00\u00a0€ pour @ACF_France est annulée. Rien n'est débité. Réf.\u00a0" + second.Reference()
		if public, _ := w.sent(m.ID); !slices.Equal(public, []string{want}) {
			t.Fatalf("told %q", public)
		}
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			events, err := payments.OrderEvents(ctx, tx, second.ID)
			must(t, err)
			if last := events[len(events)-1]; last.Actor != payments.ActorPayer || last.To != payments.StateCancelled {
				t.Fatalf("events are %+v", events)
			}
			return nil
		})
		_, err := w.confirm(second.ID, rightCode)
		w.wantCode(err, ledger.CodeConflict)

		w.say(marie, "cancel")
		w.wantState(first.ID, payments.StateCancelled, payments.ReasonAsked)
		w.wantAnswer(w.say(marie, "cancel"), payments.OutcomeAnswered, payments.ReasonNothingToCancel)
		if got := w.lastReply(); got != "Nous ne trouvons aucune demande à annuler." {
			t.Fatalf("told %q", got)
		}
		w.wantBalance("wallet:c-000001", 1000_00, 1000_00)
	})
}

func TestCancelOneOrder(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		first := w.ordered("pay 20.00 " + yoann + " yoann_test")
		second := w.ordered("pay 30.00 " + acf + " ACF_France")
		must(t, w.SetSecretCode(w.ctx, "c-000002", wrongCode, "test"))
		_, err := w.TopUp(w.ctx, "c-000002", 50_00, "charge-2")
		must(t, err)
		foreign := w.say(yoann, "pay 5.00 "+acf+" ACF_France").Order

		w.wantAnswer(w.say(marie, "cancel "+foreign.Reference()), payments.OutcomeAnswered, payments.ReasonNothingToCancel)
		w.wantAnswer(w.say(marie, "cancel 00000000"), payments.OutcomeAnswered, payments.ReasonNothingToCancel)
		w.wantAnswer(w.say(marie, "cancel nonsense"), payments.OutcomeIgnored, string(payments.IgnoredNoHashtag))
		w.wantState(foreign.ID, payments.StateAwaitingConfirmation, payments.ReasonHeld)
		w.wantState(second.ID, payments.StateAwaitingConfirmation, payments.ReasonHeld)

		w.wantAnswer(w.say(marie, "cancel "+first.Reference()), payments.OutcomeAnswered, payments.CommandCancel)
		w.wantState(first.ID, payments.StateCancelled, payments.ReasonAsked)
		w.wantState(second.ID, payments.StateAwaitingConfirmation, payments.ReasonHeld)

		_, err = w.confirm(second.ID, rightCode)
		must(t, err)
		handled := w.say(marie, "cancel "+second.Reference())
		w.wantAnswer(handled, payments.OutcomeAnswered, payments.ReasonTooLateToCancel)
		w.wantState(second.ID, payments.StatePosted, payments.ReasonConfirmed)
		if got := w.lastReply(); got != "Cette demande ne peut plus être annulée." {
			t.Fatalf("told %q", got)
		}
	})
}

// TestLateCancelSparesWhatCameAfterIt handles a message that was written before the
// order and found by search long after.
func TestLateCancelSparesWhatCameAfterIt(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		late := w.message(marie, "cancel")
		w.clock.Add(time.Minute)
		o := w.ordered("pay 20.00 " + yoann + " yoann_test")
		w.wantAnswer(w.take(late), payments.OutcomeAnswered, payments.ReasonNothingToCancel)
		w.wantState(o.ID, payments.StateAwaitingConfirmation, payments.ReasonHeld)
	})
}

// TestOldOrdersThatAwaitTheirPayee: nothing comes into that state any more, and what is
// in it is cancelled or expires.
func TestOldOrdersThatAwaitTheirPayee(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	old := func() payments.Order {
		t.Helper()
		o := w.say(marie, "pay 5.00 "+stranger+" ACF_Frence").Order // under review: nothing is held
		w.exec("UPDATE orders SET state = 'awaiting_payee' WHERE id = $1 AND state = 'under_review'", o.ID)
		w.wantState(o.ID, payments.StateAwaitingPayee, payments.ReasonLookAlike)
		return *o
	}
	cancelled := old()
	w.wantAnswer(w.say(marie, "cancel "+cancelled.Reference()), payments.OutcomeAnswered, payments.CommandCancel)
	w.wantState(cancelled.ID, payments.StateCancelled, payments.ReasonAsked)
	expired := old()
	_, err := w.confirm(expired.ID, rightCode)
	w.wantCode(err, ledger.CodeConflict)
	w.clock.Add(expired.ExpiresAt.Sub(w.clock.Now()))
	if n, err := w.ExpireOrders(w.ctx, 10); err != nil || n != 1 {
		t.Fatalf("%d expired (%v)", n, err)
	}
	w.wantState(expired.ID, payments.StateExpired, payments.ReasonTermOver)
	w.verify()
}

// TestWhatWasOrderedInPrivateStaysThere cancels in public what was ordered by direct
// message.
func TestWhatWasOrderedInPrivateStaysThere(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		order := w.direct(marie, "pay 20.00 "+yoann+" yoann_test")
		o := w.take(order).Order
		if o == nil || o.State != payments.StateAwaitingConfirmation {
			t.Fatalf("order is %+v", o)
		}
		if public, private := w.sent(order.ID); len(public) != 0 || len(private) != 1 || !strings.Contains(private[0], "20,00") {
			t.Fatalf("public %q, private %q", public, private)
		}
		m := w.message(marie, "cancel "+o.Reference())
		w.wantAnswer(w.take(m), payments.OutcomeAnswered, payments.CommandCancel)
		want := "Votre demande est annulée. Rien n'est débité. Réf.\u00a0" + o.Reference()
		if public, private := w.sent(m.ID); !slices.Equal(public, []string{want}) || len(private) != 0 {
			t.Fatalf("public %q, private %q", public, private)
		}

		// from another account of the same customer, as well
		must(t, w.LinkCustomer(w.ctx, channel, "700000109", "marie_pro", "c-000001"))
		o = new(w.ordered("pay 30.00 " + acf + " ACF_France"))
		m = w.message("700000109", "cancel")
		w.wantAnswer(w.take(m), payments.OutcomeAnswered, payments.CommandCancel)
		w.wantState(o.ID, payments.StateCancelled, payments.ReasonAsked)
		if public, _ := w.sent(m.ID); len(public) != 1 || strings.Contains(public[0], "30,00") || strings.Contains(public[0], "ACF") {
			t.Fatalf("told %q", public)
		}
	})
}

func TestCancelWhileTheCodeIsChecked(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		for range 5 {
			o := w.ordered("pay 2.00 " + yoann + " yoann_test")
			received, err := w.Receive(w.ctx, w.message(marie, "cancel "+o.Reference()))
			must(t, err)
			var handled payments.Handled
			var confirmErr, cancelErr error
			var both sync.WaitGroup
			both.Go(func() { _, confirmErr = w.confirm(o.ID, rightCode) })
			both.Go(func() { handled, cancelErr = w.Handle(w.ctx, received.ID) })
			both.Wait()
			must(t, cancelErr)
			state, _ := w.state(o.ID)
			switch {
			case confirmErr == nil && state == payments.StatePosted && handled.Reason == payments.ReasonTooLateToCancel:
			case ledger.CodeOf(confirmErr) == ledger.CodeConflict && state == payments.StateCancelled && handled.Reason == payments.CommandCancel:
			default:
				t.Fatalf("confirmed: %v; cancelled: %s; the order is %s", confirmErr, handled.Reason, state)
			}
		}
	})
}

// TestABalanceThatCouldNotBeToldIsNotKept gives up a direct message that its reader does
// not take: the text goes, and cannot be resent.
func TestABalanceThatCouldNotBeToldIsNotKept(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.take(w.direct(marie, "balance"))
		w.sink.fail = &payments.SendError{Permanent: true, Err: errors.New("takes no direct messages")}
		w.deliver()
		rows := w.outbox(payments.OutboxDead)
		if len(rows) != 1 || rows[0].Text != "" || len(rows[0].TextHash) == 0 {
			t.Fatalf("kept as %+v", rows)
		}
		w.wantCode(w.Resend(w.ctx, rows[0].ID), ledger.CodeConflict)
	})
}

func TestHelpAndLink(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		for _, author := range []string{marie, stranger} {
			m := w.message(author, "help")
			w.wantAnswer(w.take(m), payments.OutcomeAnswered, payments.CommandHelp)
			if public, _ := w.sent(m.ID); len(public) != 1 || !strings.Contains(public[0], "@SmoneyFR #envoyer 20€") || !strings.Contains(public[0], "#annuler") {
				t.Fatalf("told %q", public)
			}
			m = w.message(author, "link")
			w.wantAnswer(w.take(m), payments.OutcomeAnswered, payments.CommandLink)
			if public, private := w.sent(m.ID); len(public) != 1 || strings.Contains(public[0], "://") || strings.Contains(public[0], "déjà") || len(private) != 0 {
				t.Fatalf("public %q, private %q", public, private)
			}
			m = w.direct(author, "link")
			w.wantAnswer(w.take(m), payments.OutcomeAnswered, payments.CommandLink)
			public, private := w.sent(m.ID)
			if len(public) != 0 || len(private) != 1 || !strings.Contains(private[0], "https://pay.test/link/") || strings.Contains(private[0], "déjà") != (author == marie) {
				t.Fatalf("public %q, private %q", public, private)
			}
		}
		m := w.direct(marie, "help")
		m.Language = "en"
		w.take(m)
		if _, private := w.sent(m.ID); len(private) != 1 || !strings.Contains(private[0], "#balance") || !strings.Contains(private[0], "is not needed") {
			t.Fatalf("told %q", private)
		}
	})
}

func TestSecretsBesideCommandsAreWarnedOf(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	for _, text := range []string{"help!", "link!", "balance!", "cancel!"} {
		m := w.message(marie, text)
		w.take(m)
		if public, _ := w.sent(m.ID); len(public) != 1 || !strings.HasPrefix(public[0], "Jamais de code secret ici : changez-le ! ") {
			t.Errorf("%s: told %q", text, public)
		}
	}
}

// TestEditsToOtherCommands edits an order's message into a command that moves no money.
func TestEditsToOtherCommands(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		for text, want := range map[string]string{
			"cancel":  "Message modifié : la demande de paiement est annulée. Rien n'est débité.",
			"balance": "Message modifié : la demande précédente est annulée. Nous vous répondons par message privé.",
			"help":    "Message modifié : la demande précédente est annulée. Pour payer",
		} {
			m := w.message(marie, "pay 20.00 "+yoann+" yoann_test")
			o := w.take(m).Order
			edit := edited(m, 1, text)
			w.wantAnswer(w.take(edit), payments.OutcomeAnswered, text)
			w.wantState(o.ID, payments.StateVoided, payments.ReasonEdited)
			if public, _ := w.sent(edit.ID); len(public) != 1 || !strings.HasPrefix(public[0], want) {
				t.Fatalf("%s: told %q", text, public)
			}
		}
		w.wantBalance("wallet:c-000001", 1000_00, 1000_00)
	})
}
