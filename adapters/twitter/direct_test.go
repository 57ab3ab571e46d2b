package twitter_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"tweetledger/adapters/twitter"
	"tweetledger/adapters/twitter/xsim"
	"tweetledger/internal/payments"
)

// readDirect reads the bank's direct messages from a time.
func (w *world) readDirect(from time.Time) ([]payments.Message, time.Time) {
	w.t.Helper()
	var list []payments.Message
	next, err := w.client.ReadDirect(w.ctx, bankID, from, twitter.Handler(func(_ context.Context, m payments.Message) error {
		list = append(list, m)
		return m.Validate()
	}).Each())
	if err != nil {
		w.t.Fatal(err)
	}
	return list, next
}

// TestDirectMessagesIn reads them page after page, the oldest first, with the payee
// resolved though X gives no id, and without what the bank wrote.
func TestDirectMessagesIn(t *testing.T) {
	w := newWorld(t)
	w.sim.Direct(marieID, bankID, "#envoyer 1€ @yoann_test avant")
	w.clock.advance(time.Hour)
	begin := w.clock.Now()
	var ids []string
	for i := range 150 {
		ids = append(ids, w.sim.Direct(marieID, bankID, fmt.Sprintf("#envoyer %d€ @YOANN_test & merci <3", i+1)))
	}
	w.sim.Direct(bankID, marieID, "bien reçu")
	w.sim.Direct(marieID, yoannID, "entre nous")
	got, next := w.readDirect(begin)
	if len(got) != len(ids) || !next.Equal(begin) {
		t.Fatalf("%d read, reads on from %v", len(got), next)
	}
	for i, m := range got {
		if m.ID != ids[i] || m.FirstID != m.ID || m.Channel != twitter.ChannelDirect || m.Kind != payments.Direct || m.AuthorID != marieID || m.AuthorHandle != "marie_test" ||
			m.ConversationID != bankID+"-"+marieID || m.Text != fmt.Sprintf("#envoyer %d€ @YOANN_test & merci <3", i+1) || m.Via != twitter.ViaDirect {
			t.Fatalf("message %d: %+v", i, m)
		}
		if len(m.Mentions) != 1 || m.Mentions[0] != (payments.Mention{UserID: yoannID, Handle: "YOANN_test"}) {
			t.Fatalf("message %d mentions %v", i, m.Mentions)
		}
	}
	w.clock.advance(time.Hour)
	later := w.sim.Direct(yoannID, bankID, "bonjour @personne_ici")
	if got, next = w.readDirect(next); len(got) != 151 || got[150].ID != later || len(got[150].Mentions) != 0 {
		t.Errorf("%d read", len(got))
	}
	if want := w.clock.Now().Add(-15 * time.Minute); !next.Equal(want) {
		t.Errorf("reads on from %v, want %v", next, want)
	}
}

// TestDirectMessageWithAHandleThatXRefuses is read, with all others: X answers 400 to
// whoever looks up what is too long for a handle.
func TestDirectMessageWithAHandleThatXRefuses(t *testing.T) {
	w := newWorld(t)
	begin := w.clock.Now()
	w.sim.Direct(marieID, bankID, "#envoyer 1€ @abcdefghijklmnopqr")
	w.sim.Direct(marieID, bankID, "#envoyer 2€ @yoann_test")
	got, _ := w.readDirect(begin)
	if len(got) != 2 || len(got[0].Mentions) != 0 || len(got[1].Mentions) != 1 {
		t.Errorf("read %+v", got)
	}
}

// TestDirectMessagesAreReadAgainWhenTheyFail loses nothing where X does not say who is
// named, or our side fails.
func TestDirectMessagesAreReadAgainWhenTheyFail(t *testing.T) {
	w := newWorld(t)
	w.sim.Direct(marieID, bankID, "#envoyer 1€ @yoann_test")
	from := w.clock.Now().Add(-time.Minute)
	for _, endpoint := range []xsim.Endpoint{xsim.EndpointDirectRead, xsim.EndpointUsers} {
		w.sim.Fail(endpoint, xsim.Failure{Status: 503, Times: 1})
		if next, err := w.client.ReadDirect(w.ctx, bankID, from, nil); err == nil || !next.Equal(from) {
			t.Errorf("%s fails: %v, %v", endpoint, next, err)
		}
	}
	broken := errors.New("disk full")
	if next, err := w.client.ReadDirect(w.ctx, bankID, from, twitter.Handler(func(context.Context, payments.Message) error { return broken }).Each()); !errors.Is(err, broken) || !next.Equal(from) {
		t.Errorf("our side fails: %v, %v", next, err)
	}
	if got, _ := w.readDirect(from); len(got) != 1 {
		t.Errorf("%d read", len(got))
	}
}

// TestDirectMessagesOut sends, is refused, and finds what it has sent without knowing.
func TestDirectMessagesOut(t *testing.T) {
	w := newWorld(t)
	begin := w.clock.Now()
	id, err := w.client.SendDirect(w.ctx, marieID, "Votre solde : 12,00 € & <rien>")
	if err != nil || id == "" {
		t.Fatalf("%q, %v", id, err)
	}
	if got := w.sim.Directs(marieID); len(got) != 1 || got[0].ID != id || got[0].From != bankID || got[0].Text != "Votre solde : 12,00 € & <rien>" {
		t.Errorf("sent %+v", got)
	}
	w.sim.LoseAnswers(1)
	_, err = w.client.SendDirect(w.ctx, marieID, "deux")
	if refused, ok := errors.AsType[*payments.SendError](err); !ok || refused.Permanent {
		t.Errorf("the answer was lost: %v", err)
	}
	for text, there := range map[string]bool{"deux": true, "Votre solde : 12,00 € & <rien>": true, "trois": false} {
		found, err := w.client.FindDirect(w.ctx, marieID, text, begin)
		if err != nil || (found != "") != there {
			t.Errorf("%q: found %q, %v", text, found, err)
		}
	}
	w.sim.Direct(marieID, bankID, "trois") // her own words are not ours
	if found, err := w.client.FindDirect(w.ctx, marieID, "trois", begin); err != nil || found != "" {
		t.Errorf("found %q, %v", found, err)
	}
	w.clock.advance(time.Hour)
	if found, err := w.client.FindDirect(w.ctx, marieID, "deux", w.clock.Now()); err != nil || found != "" {
		t.Errorf("found what is too old: %q, %v", found, err)
	}
	w.sim.Suspend(yoannID)
	for user, text := range map[string]string{yoannID: "a", "SmoneyFR": "a", marieID: "", "": "a"} {
		_, err := w.client.SendDirect(w.ctx, user, text)
		if refused, ok := errors.AsType[*payments.SendError](err); !ok || !refused.Permanent {
			t.Errorf("%q to %q: %v", text, user, err)
		}
	}
	w.sim.Fail(xsim.EndpointDirectSend, xsim.Failure{Status: 429, Times: 1, Reset: time.Minute})
	_, err = w.client.SendDirect(w.ctx, marieID, "quatre")
	if refused, ok := errors.AsType[*payments.SendError](err); !ok || refused.Permanent || refused.RetryAfter != time.Minute {
		t.Errorf("too many: %v", err)
	}
	if _, err := w.client.FindDirect(w.ctx, "marie", "a", begin); err == nil {
		t.Error("a handle is no id")
	}
}

// TestDirectMessageOfTheOutboxIsSentOnce answers through the outbox's own door, and
// sends nothing again that is in doubt and there.
func TestDirectMessageOfTheOutboxIsSentOnce(t *testing.T) {
	w := newWorld(t)
	out := payments.Outgoing{ID: "row", Channel: twitter.ChannelDirect, InReplyTo: "7", RecipientID: marieID, Text: "bien reçu", Since: w.clock.Now()}
	w.sim.LoseAnswers(1)
	_, err := w.client.Reply(w.ctx, out)
	if refused, ok := errors.AsType[*payments.SendError](err); !ok || refused.Permanent || !refused.InDoubt {
		t.Fatalf("the answer was lost: %v", err)
	}
	out.InDoubt = true
	w.sim.Fail(xsim.EndpointDirectRead, xsim.Failure{Status: 429, Times: 1, Reset: time.Minute})
	_, err = w.client.Reply(w.ctx, out)
	if refused, ok := errors.AsType[*payments.SendError](err); !ok || refused.Permanent || refused.RetryAfter != time.Minute {
		t.Fatalf("it cannot be looked for: %v", err)
	}
	w.clock.advance(time.Minute)
	id, err := w.client.Reply(w.ctx, out)
	if sent := w.sim.Directs(marieID); err != nil || len(sent) != 1 || sent[0].ID != id || len(w.sim.Replies()) != 0 {
		t.Errorf("%q, %v, sent %+v", id, err, sent)
	}
	out.Text = "Il commence toujours par https://pay.example/link/ et vous le validerez." // X shows another address
	w.sim.LoseAnswers(1)
	if _, err := w.client.Reply(w.ctx, out); err == nil {
		t.Fatal("the answer was not lost")
	}
	if id, err := w.client.Reply(w.ctx, out); err != nil || id == "" || len(w.sim.Directs(marieID)) != 2 {
		t.Errorf("with an address: %q, %v, sent %+v", id, err, w.sim.Directs(marieID))
	}
	out.Text = "et encore"
	if _, err := w.client.Reply(w.ctx, out); err != nil || len(w.sim.Directs(marieID)) != 3 {
		t.Errorf("in doubt and not there: %v", err)
	}
}
