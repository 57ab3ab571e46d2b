package twitter_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"tweetledger/adapters/twitter/xsim"
	"tweetledger/internal/payments"
)

// answering is a reply to a new command, as the outbox has it.
func (w *world) answering(text string) payments.Outgoing {
	w.t.Helper()
	command := w.sim.Tweet(marieID, "@SmoneyFR #envoyer 20€ @yoann_test")
	return payments.Outgoing{ID: "1", InReplyTo: command, ConversationID: command, Text: text, Since: w.clock.Now()}
}

func (w *world) wantReplies(to string, n int) {
	w.t.Helper()
	if replies := w.sim.RepliesTo(to); len(replies) != n {
		w.t.Fatalf("%d replies: %+v; want %d", len(replies), replies, n)
	}
}

// TestWhatIsInDoubtIsLookedFor sends a reply whose earlier attempt went out, and one
// whose earlier attempt did not.
func TestWhatIsInDoubtIsLookedFor(t *testing.T) {
	w := newWorld(t)
	out := w.answering("Bien reçu & noté : 20,00\u00a0€ Réf.\u00a044B5BCB2")
	first, err := w.client.Reply(w.ctx, out)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 250 { // what the account says meanwhile
		w.clock.advance(time.Second)
		if _, err := w.client.Reply(w.ctx, w.answering(fmt.Sprint("Réponse ", i))); err != nil {
			t.Fatal(err)
		}
	}
	w.clock.advance(time.Hour)
	out.InDoubt = true
	if again, err := w.client.Reply(w.ctx, out); err != nil || again != first {
		t.Fatalf("sent %q again as %q, %v", first, again, err)
	}
	w.wantReplies(out.InReplyTo, 1)

	// The same words to somebody else, and other words to the same command, are not it.
	other := w.answering(out.Text + " !")
	other.InDoubt = true
	if id, err := w.client.Reply(w.ctx, other); err != nil || id == first {
		t.Fatalf("%q, %v", id, err)
	}
	w.wantReplies(other.InReplyTo, 1)
	receipt := out
	receipt.Text = "C'est fait"
	if id, err := w.client.Reply(w.ctx, receipt); err != nil || id == first {
		t.Fatalf("%q, %v", id, err)
	}
	w.wantReplies(out.InReplyTo, 2)
}

// TestWhatIsFarBackIsFoundInItsConversation: X shows the newest 3,200 posts of an
// account, and an account that answers many has soon said more than that.
func TestWhatIsFarBackIsFoundInItsConversation(t *testing.T) {
	w := newWorld(t)
	out := w.answering("Bien reçu : 20,00 €. Réf. 44B5BCB2")
	first, err := w.client.Reply(w.ctx, out)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3_300 {
		w.sim.Tweet(bankID, fmt.Sprint("Réponse ", i))
	}
	w.clock.advance(time.Hour)
	out.InDoubt = true
	if again, err := w.client.Reply(w.ctx, out); err != nil || again != first {
		t.Fatalf("sent %q again as %q, %v", first, again, err)
	}
	w.wantReplies(out.InReplyTo, 1)
	lost := w.answering("Bien reçu : 21,00 €. Réf. 55B5BCB2")
	lost.Since, lost.InDoubt = out.Since, true
	if id, err := w.client.Reply(w.ctx, lost); err != nil || id == "" {
		t.Fatalf("what never went out: %q, %v", id, err)
	}
	w.wantReplies(lost.InReplyTo, 1)
}

// TestDuplicatesAreOurOwn: X refuses what an attempt that we know nothing of has
// published.
func TestDuplicatesAreOurOwn(t *testing.T) {
	w := newWorld(t)
	out := w.answering("Bien reçu")
	first, err := w.client.Reply(w.ctx, out)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := w.client.Reply(w.ctx, out); err != nil || again != first {
		t.Fatalf("%q, %v; want %q", again, err, first)
	}
	elsewhere := w.answering("Bien reçu")
	_, err = w.client.Reply(w.ctx, elsewhere)
	if refused, ok := errors.AsType[*payments.SendError](err); !ok || !refused.Permanent {
		t.Fatalf("the same words to another command: %v", err)
	}
	elsewhere.InDoubt = true
	_, err = w.client.Reply(w.ctx, elsewhere)
	if refused, ok := errors.AsType[*payments.SendError](err); !ok || refused.Permanent || !refused.InDoubt {
		t.Fatalf("in doubt, refused and not found: %v", err)
	}
}

func TestWhenOwnPostsCannotBeRead(t *testing.T) {
	w := newWorld(t)
	published, lost := w.answering("Bien reçu, un"), w.answering("Bien reçu, deux")
	if _, err := w.client.Reply(w.ctx, published); err != nil {
		t.Fatal(err)
	}
	published.InDoubt, lost.InDoubt = true, true

	// For a while: nothing is sent until it is known whether that is right.
	for _, status := range []int{503, 429} {
		w.sim.Fail(xsim.EndpointTimeline, xsim.Failure{Status: status, Times: 1, Reset: time.Minute})
		_, err := w.client.Reply(w.ctx, lost)
		refused, ok := errors.AsType[*payments.SendError](err)
		if !ok || refused.Permanent || !refused.InDoubt || (refused.RetryAfter == time.Minute) != (status == 429) {
			t.Fatalf("%d: %+v", status, err)
		}
		w.wantReplies(lost.InReplyTo, 0)
		w.clock.advance(time.Minute)
	}
	// For good, as some levels of access do: X's refusal of duplicates must do.
	w.sim.Fail(xsim.EndpointTimeline, xsim.Failure{Status: 403, Times: 3})
	if id, err := w.client.Reply(w.ctx, published); err != nil || id != "" {
		t.Fatalf("published before: %q, %v", id, err)
	}
	if id, err := w.client.Reply(w.ctx, lost); err != nil || id == "" {
		t.Fatalf("not published before: %q, %v", id, err)
	}
	w.wantReplies(published.InReplyTo, 1)
	w.wantReplies(lost.InReplyTo, 1)
}

// TestNothingIsReadWhileXTakesNoPosts keeps reads, which X bills, for when they help.
func TestNothingIsReadWhileXTakesNoPosts(t *testing.T) {
	w := newWorld(t)
	out := w.answering("Bien reçu")
	w.sim.Fail(xsim.EndpointCreate, xsim.Failure{Status: 429, Times: 1, Reset: time.Minute})
	for _, out.InDoubt = range []bool{false, true} {
		if out.InDoubt {
			w.server.Close() // a request would fail in another way
		}
		_, err := w.client.Reply(w.ctx, out)
		if refused, ok := errors.AsType[*payments.SendError](err); !ok || refused.RetryAfter != time.Minute || refused.InDoubt {
			t.Fatalf("in doubt %v: %+v", out.InDoubt, err)
		}
	}
}

func TestAnswersThatLeaveDoubt(t *testing.T) {
	w := newWorld(t)
	w.sim.Fail(xsim.EndpointCreate, xsim.Failure{Status: 503, Times: 1})
	_, err := w.client.Reply(w.ctx, w.answering("Bien reçu"))
	if refused, ok := errors.AsType[*payments.SendError](err); !ok || refused.Permanent || !refused.InDoubt {
		t.Fatalf("503: %v", err)
	}
}

// TestOwnPostsAsXShowsThem reads a timeline in X's other names, with the names of
// those who are answered before the text, escapes, and posts that cannot be read.
func TestOwnPostsAsXShowsThem(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/2/users/me":
			fmt.Fprint(out, `{"data":{"id":"700000001","username":"SmoneyFR"}}`)
		case "/2/users/700000001/tweets":
			if r.URL.Query().Get("start_time") != "2024-10-26T09:59:00Z" {
				t.Errorf("asked for posts since %s", r.URL.Query().Get("start_time"))
			}
			fmt.Fprint(out, `{"data":[{"id":7},{"id":"90","text":"no reply"},`+
				`{"id":"91","text":"@marie_test @yoann_test Bien reçu &amp; noté : 20,00 € …","note_post":{"text":"@marie_test @yoann_test Bien rec\u0327u &amp; noté : 20,00 € pour vous"},"referenced_posts":[{"type":"replied_to","id":"55"}]}]}`)
		default:
			t.Errorf("asked for %s %s", r.Method, r.URL.Path)
		}
	}))
	defer server.Close()
	w := newWorld(t)
	id, err := w.newClient(server.URL).Reply(w.ctx, payments.Outgoing{ID: "1", InReplyTo: "55", Text: "Bien reçu & noté : 20,00\u00a0€ pour vous", InDoubt: true, Since: w.clock.Now()})
	if err != nil || id != "91" {
		t.Fatalf("%q, %v", id, err)
	}
}
