package payments_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

func TestMessagesThatCannotBeStored(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	before := w.counts()
	for name, spoil := range map[string]func(m *payments.Message){
		"channel":         func(m *payments.Message) { m.Channel = "Twitter!" },
		"id":              func(m *payments.Message) { m.ID = "" },
		"first_id":        func(m *payments.Message) { m.FirstID = "" },
		"version":         func(m *payments.Message) { m.Version = -1 },
		"author_id":       func(m *payments.Message) { m.AuthorID = strings.Repeat("1", 65) },
		"author_handle":   func(m *payments.Message) { m.AuthorHandle = "évil\u202e" },
		"conversation_id": func(m *payments.Message) { m.ConversationID = "a b" },
		"kind":            func(m *payments.Message) { m.Kind = "shout" },
		"created_at":      func(m *payments.Message) { m.CreatedAt = time.Time{} },
		"language":        func(m *payments.Message) { m.Language = "f\x00" },
		"mentions":        func(m *payments.Message) { m.Mentions = make([]payments.Mention, payments.MaxMentions+1) },
		"mentions[0]":     func(m *payments.Message) { m.Mentions = []payments.Mention{{UserID: "1", Handle: "not a handle"}} },
		"text":            func(m *payments.Message) { m.Text = strings.Repeat("é", payments.MaxTextRunes+1) },
	} {
		m := w.message(marie, toYoann)
		spoil(&m)
		_, err := w.Receive(w.ctx, m)
		var e *ledger.Error
		if !errors.As(err, &e) || e.Code != ledger.CodeInvalid || e.Field != name {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	// an hour that its time zone moves out of the years that can be read back
	m := w.message(marie, toYoann)
	m.CreatedAt = time.Date(9999, time.December, 31, 23, 0, 0, 0, time.FixedZone("", -10*60*60))
	_, err := w.Receive(w.ctx, m)
	w.wantCode(err, ledger.CodeInvalid)
	_, err = w.Delete(w.ctx, payments.Deletion{Channel: channel, ID: m.ID, At: m.CreatedAt})
	w.wantCode(err, ledger.CodeInvalid)
	for name, text := range map[string]string{"1 MB": strings.Repeat("x", 1<<20), "NUL": "pay \x00", "not UTF-8": "pay \xff"} {
		m := w.message(marie, text)
		_, err := w.Receive(w.ctx, m)
		if ledger.CodeOf(err) != ledger.CodeInvalid || len(err.Error()) > 200 || !strings.Contains(err.Error(), m.ID) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if after := w.counts(); after != before {
		t.Fatalf("refused messages changed %s to %s", before, after)
	}
	m = w.message(marie, strings.Repeat("€", payments.MaxTextRunes))
	if _, err := w.Receive(w.ctx, m); err != nil {
		t.Fatalf("a text at the bound is refused: %v", err)
	}
}

func TestReplayChangesNothing(t *testing.T) {
	onCore(t, func(t *testing.T, w *world) {
		list := []payments.Message{
			w.message(marie, toYoann), w.message(marie, "pay 300.00 "+yoann+" yoann_test"), w.message(stranger, toYoann),
			w.message(marie, "refuse no_amount"), w.message(marie, "hello"), w.message(marie, "pay 2.00 "+stranger+" stranger"),
		}
		list = append(list, edited(list[0], 1, "pay 15.00 "+yoann+" yoann_test"))
		run := func(via string) (outcomes []payments.Outcome) {
			for _, m := range list {
				m.Via = via
				received, err := w.Receive(w.ctx, m)
				must(t, err)
				handled, err := w.Handle(w.ctx, received.ID)
				must(t, err)
				if again := via != "stream"; received.New == again || handled.Again != again {
					t.Fatalf("%s by %s: new %t, handled before %t", m.ID, via, received.New, handled.Again)
				}
				outcomes = append(outcomes, handled.Outcome)
			}
			return outcomes
		}
		first := run("stream")
		o := w.orderOf(list[6])
		_, err := w.confirm(o.ID, rightCode)
		must(t, err)
		w.deliver()
		before := w.counts()
		second := run("archive")
		if after := w.counts(); after != before {
			t.Fatalf("a replay changed %s to %s", before, after)
		}
		for i := range first {
			if first[i] != second[i] {
				t.Errorf("message %d was %s and is %s", i, first[i], second[i])
			}
		}
		if done := w.deliver(); done != (payments.Delivered{}) {
			t.Fatalf("a replay was answered: %+v", done)
		}
		w.wantBalance("wallet:c-000002", 15_00, 15_00)
	})
}

// orderOf returns the order that a message made.
func (w *world) orderOf(m payments.Message) payments.Order {
	w.t.Helper()
	var o payments.Order
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		row, err := payments.FindMessage(ctx, tx, payments.MessageID(m.Channel, m.FirstID, m.Version))
		if err != nil {
			return err
		}
		o, err = payments.FindOrder(ctx, tx, row.OrderID)
		return err
	})
	return o
}

func TestEditBeforeConfirmation(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		m := w.message(marie, toYoann)
		first := w.take(m).Order
		oldToken := w.token()
		second := w.take(edited(m, 1, "pay 35.00 "+acf+" ACF_France"))
		w.wantState(first.ID, payments.StateVoided, payments.ReasonEdited)
		if second.Order.State != payments.StateAwaitingConfirmation || second.Order.Key != first.Key || second.Order.PayeeKind != payments.Charity {
			t.Fatalf("the edit made %+v", second.Order)
		}
		w.wantBalance("wallet:c-000001", 1000_00, 965_00)
		if got := w.lastReply(); !strings.HasPrefix(got, "Message modifié : la demande précédente est annulée. Bien reçu : 35,00\u00a0€") {
			t.Fatalf("the edit is answered %q", got)
		}
		page, err := w.Confirmation(w.ctx, oldToken)
		must(t, err)
		if page.State != payments.StateVoided {
			t.Fatalf("the old page shows %s", page.State)
		}
		_, err = w.Confirm(w.ctx, payments.ConfirmRequest{Token: oldToken, Stamp: page.Stamp, Code: rightCode, Actor: "page"})
		w.wantCode(err, ledger.CodeConflict)

		posted, err := w.confirm(second.Order.ID, rightCode)
		must(t, err)
		if posted.Key != "twitter:"+m.FirstID {
			t.Fatalf("posted under %s", posted.Key)
		}
		w.wantBalance("payable:acf", 35_00, 35_00)

		// the original, delivered late by another way, is old news
		late := w.take(m)
		if !late.Again || late.Order.State != payments.StateVoided {
			t.Fatalf("the original became %+v", late)
		}
	})
}

func TestEditToSomethingElse(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		for _, text := range []string{"never mind", "refuse no_amount"} {
			m := w.message(marie, toYoann)
			o := w.take(m).Order
			handled := w.take(edited(m, 1, text))
			if handled.Order != nil {
				t.Fatalf("%q made %+v", text, handled.Order)
			}
			w.wantState(o.ID, payments.StateVoided, payments.ReasonEdited)
			w.wantBalance("wallet:c-000001", 1000_00, 1000_00)
			if got := w.lastReply(); got != "Message modifié : la demande de paiement est annulée. Rien n'est débité. Réf.\u00a0"+o.Reference() {
				t.Fatalf("%q is answered %q", text, got)
			}
		}
	})
}

func TestEditAfterConfirmation(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		m := w.message(marie, toYoann)
		o := w.take(m).Order
		_, err := w.confirm(o.ID, rightCode)
		must(t, err)
		handled := w.take(edited(m, 1, "pay 250.00 "+yoann+" yoann_test"))
		if handled.Outcome != payments.OutcomeTooLate || handled.Order.ID != o.ID {
			t.Fatalf("the edit became %+v", handled)
		}
		w.wantState(o.ID, payments.StatePosted, payments.ReasonConfirmed)
		w.wantBalance("wallet:c-000001", 980_00, 980_00)
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			row, err := payments.FindMessage(ctx, tx, payments.MessageID(channel, m.FirstID, 1))
			must(t, err)
			if row.Command == nil || row.Command.Amount != 250_00 {
				t.Fatalf("reconciliation is not told what the edit asks for: %+v", row)
			}
			orders, err := payments.OrdersOfKey(ctx, tx, o.Key)
			if len(orders) != 1 {
				t.Fatalf("the chain has %d orders", len(orders))
			}
			return err
		})
	})
}

func TestVersionsOutOfOrder(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		m := w.message(marie, toYoann)
		newest := w.take(edited(m, 2, "pay 5.00 "+yoann+" yoann_test"))
		for _, old := range []payments.Message{m, edited(m, 1, "pay 10.00 "+yoann+" yoann_test")} {
			if got := w.take(old); got.Outcome != payments.OutcomeSuperseded || got.Order != nil {
				t.Fatalf("version %d became %+v", old.Version, got)
			}
		}
		w.wantState(newest.Order.ID, payments.StateAwaitingConfirmation, payments.ReasonHeld)
		w.wantBalance("wallet:c-000001", 1000_00, 995_00)
	})
}

func TestEditOfEveryOpenAndClosedState(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		m := w.message(marie, "pay 20.00 "+stranger+" stranger")
		waiting := w.take(m).Order
		again := w.take(edited(m, 1, "pay 300.00 "+yoann+" yoann_test"))
		w.wantState(waiting.ID, payments.StateVoided, payments.ReasonEdited)
		if again.Outcome != payments.OutcomeRejected {
			t.Fatalf("the edit became %+v", again)
		}
		third := w.take(edited(m, 2, toYoann)) // after a rejection the writer may correct it
		if third.Order.State != payments.StateAwaitingConfirmation {
			t.Fatalf("the correction became %+v", third.Order)
		}
		_, err := w.Cancel(w.ctx, third.Order.ID, "customer", "asked for it")
		must(t, err)
		fourth := w.take(edited(m, 3, toYoann))
		_, err = w.confirm(fourth.Order.ID, rightCode)
		must(t, err)
		w.wantBalance("wallet:c-000002", 20_00, 20_00)
	})
}

func TestDelete(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		m := w.message(marie, toYoann)
		w.take(m)
		second := edited(m, 1, "pay 21.00 "+yoann+" yoann_test")
		o := w.take(second).Order
		deleted, err := w.Delete(w.ctx, payments.Deletion{Channel: channel, ID: second.ID, At: w.clock.Now()})
		must(t, err)
		if !deleted.Known || deleted.Versions != 2 {
			t.Fatalf("deleted %+v", deleted)
		}
		w.wantState(o.ID, payments.StateAwaitingConfirmation, payments.ReasonHeld)
		for version := range 2 {
			w.read(func(ctx context.Context, tx *sqldb.Tx) error {
				row, err := payments.FindMessage(ctx, tx, payments.MessageID(channel, m.FirstID, version))
				must(t, err)
				if row.HasText || row.Text != "" || !row.DeletedAt.Equal(w.clock.Now()) || row.Command == nil {
					t.Fatalf("version %d is kept as %+v", version, row)
				}
				return nil
			})
		}
		again, err := w.Delete(w.ctx, payments.Deletion{Channel: channel, ID: m.ID})
		must(t, err)
		if !again.Known || again.Versions != 0 {
			t.Fatalf("deleted again: %+v", again)
		}
		_, err = w.confirm(o.ID, rightCode)
		must(t, err)
		unknown, err := w.Delete(w.ctx, payments.Deletion{Channel: channel, ID: "404"})
		must(t, err)
		if unknown.Known {
			t.Fatal("a message nobody has seen was deleted")
		}
	})
}

func TestDeleteBeforeHandling(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		m := w.message(marie, toYoann)
		_, err := w.Receive(w.ctx, m)
		must(t, err)
		_, err = w.Delete(w.ctx, payments.Deletion{Channel: channel, ID: m.ID, At: w.clock.Now()})
		must(t, err)
		if o := w.orderOf(m); o.State != payments.StateAwaitingConfirmation {
			t.Fatalf("order is %s", o.State)
		}
	})
}

func TestTextsArePurged(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		command, chatter := w.message(marie, toYoann), w.message(marie, "bonjour")
		w.take(command)
		w.take(chatter)
		text := func(m payments.Message) (has bool) {
			w.read(func(ctx context.Context, tx *sqldb.Tx) error {
				row, err := payments.FindMessageByChannelID(ctx, tx, channel, m.ID)
				has = row.HasText
				if string(row.TextHash) != string(w.TextHash(m.Text)) {
					t.Fatal("the text's hash is lost")
				}
				return err
			})
			return has
		}
		if !text(command) || text(chatter) {
			t.Fatal("a command must keep its text, chatter must not")
		}
		w.clock.Add(w.Config().TextRetention)
		for i, want := range []int{1, 0} {
			w.clock.Add(time.Second)
			purged, err := w.PurgeTexts(w.ctx, 100)
			must(t, err)
			if purged != want {
				t.Fatalf("run %d purged %d texts, want %d", i, purged, want)
			}
		}
		if text(command) {
			t.Fatal("the text is still there")
		}
	})
}

func TestSecretInAMessage(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		handled := w.say(marie, "secret")
		w.wantAnswer(handled, payments.OutcomeRefused, payments.ReasonSecretCode)
		if got := w.lastReply(); !strings.HasPrefix(got, "N'écrivez jamais votre code secret ici") {
			t.Fatalf("answered %q", got)
		}
	})
}

func TestHandlePending(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		for range 5 {
			_, err := w.Receive(w.ctx, w.message(marie, toYoann))
			must(t, err)
		}
		for _, want := range []int{3, 2, 0} {
			handled, err := w.HandlePending(w.ctx, 3)
			must(t, err)
			if handled != want {
				t.Fatalf("handled %d, want %d", handled, want)
			}
		}
		w.wantBalance("wallet:c-000001", 1000_00, 900_00)
	})
}

// TestPoisonedMessage spoils a message in the inbox so that handling it fails:
// the others go on, and in the end it is left to staff.
func TestPoisonedMessage(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	bad, good := w.message(marie, toYoann), w.message(marie, toYoann)
	for _, m := range []payments.Message{bad, good} {
		_, err := w.Receive(w.ctx, m)
		must(t, err)
	}
	w.exec("UPDATE messages SET mentions = '{}' WHERE message_id = $1", bad.ID) // not a list
	handled, err := w.HandlePending(w.ctx, 10)
	if handled != 1 || err == nil || !strings.Contains(err.Error(), "mentions") {
		t.Fatalf("handled %d, error %v", handled, err)
	}
	tries := 1
	for ; tries < 100; tries++ {
		w.clock.Add(time.Hour)
		if _, err := w.HandlePending(w.ctx, 10); err == nil {
			break
		}
	}
	if tries != 10 {
		t.Fatalf("a poisoned message was tried %d times", tries)
	}
	w.exec("UPDATE messages SET mentions = '[]' WHERE message_id = $1", bad.ID)
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		list, err := payments.ListMessages(ctx, tx, payments.MessageFilter{Channel: channel, Limit: 10})
		must(t, err)
		if list[0].Outcome != payments.OutcomeFailed || list[1].Outcome != payments.OutcomeOrder {
			t.Fatalf("outcomes are %s and %s", list[0].Outcome, list[1].Outcome)
		}
		return nil
	})
	w.verify()
}

func TestLists(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		from := w.clock.Now()
		for range 5 {
			w.ordered(toYoann)
		}
		to := w.clock.Now().Add(time.Second)
		w.clock.Add(time.Hour)
		w.ordered(toYoann)
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			var messages []payments.InboxMessage
			f := payments.MessageFilter{From: from, To: to, Limit: 2}
			for {
				page, err := payments.ListMessages(ctx, tx, f)
				must(t, err)
				if len(page) == 0 {
					break
				}
				messages = append(messages, page...)
				f.After = page[len(page)-1].Cursor()
			}
			var orders []payments.Order
			g := payments.OrderFilter{State: payments.StateAwaitingConfirmation, From: from, To: to, Limit: 2}
			for {
				page, err := payments.ListOrders(ctx, tx, g)
				must(t, err)
				if len(page) == 0 {
					break
				}
				orders = append(orders, page...)
				g.After = page[len(page)-1].Cursor()
			}
			if len(messages) != 5 || len(orders) != 5 {
				t.Fatalf("listed %d messages and %d orders", len(messages), len(orders))
			}
			for i := range orders {
				if orders[i].MessageID != messages[i].RowID || messages[i].Command.PayeeID != yoann {
					t.Fatalf("row %d: %+v and %+v", i, orders[i], messages[i])
				}
			}
			marieID := orders[0].PayerID
			both, err := payments.ListOrders(ctx, tx, payments.OrderFilter{PayerID: marieID, PayeeID: orders[0].PayeeID, Limit: 10})
			must(t, err)
			if len(both) != 6 {
				t.Fatalf("marie has %d orders to yoann", len(both))
			}
			_, err = payments.ListOrders(ctx, tx, payments.OrderFilter{State: "lost", Limit: 10})
			w.wantCode(err, ledger.CodeInvalid)
			_, err = payments.ListOrders(ctx, tx, payments.OrderFilter{Limit: 0})
			w.wantCode(err, ledger.CodeInvalid)
			return nil
		})
	})
}

// TestMessagesAreReadByTheirIDs keeps what each message costs from growing with the
// inbox. Servers have statistics to choose by; SQLite is told.
func TestMessagesAreReadByTheirIDs(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	w.ordered(toYoann)
	w.explain(func(_ context.Context, _ *sqldb.Tx, plan func(query string, args ...any) string) {
		for _, query := range []string{payments.OtherFirstIDs, payments.ChainsQuery} {
			got := plan(query, channel, "1", marie)
			wantIndex(t, got, "messages_by_id")
			if strings.Contains(got, "(channel=?)") {
				t.Errorf("all of a channel is read:\n%s", got)
			}
		}
	})
}
