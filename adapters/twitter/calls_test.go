package twitter_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"tweetledger/adapters/twitter"
	"tweetledger/adapters/twitter/xsim"
	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

func TestDeclareRulesTouchesOnlyItsOwn(t *testing.T) {
	w := newWorld(t)
	if err := w.client.AddRules(w.ctx, []twitter.Rule{{Value: "@yoann_test", Tag: "marketing:yoann"}, {Value: "#old", Tag: "pay:old"}}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to do
		if err := w.client.DeclareRules(w.ctx, "pay", []twitter.Rule{twitter.BankRule("@SmoneyFR"), {Value: "#don", Tag: "gifts"}}); err != nil {
			t.Fatal(err)
		}
		rules, err := w.client.Rules(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range rules {
			got = append(got, r.Tag+" "+r.Value)
			if r.ID == "" {
				t.Errorf("no id: %+v", r)
			}
		}
		want := []string{"marketing:yoann @yoann_test", "pay:mentions @SmoneyFR -is:retweet", "pay:gifts #don"}
		if !slices.Equal(got, want) {
			t.Errorf("rules %q", got)
		}
	}
	if err := w.client.AddRules(w.ctx, []twitter.Rule{{Value: "@yoann_test", Tag: "again"}}); err != nil {
		t.Errorf("a rule that is there: %v", err)
	}
	if err := w.client.AddRules(w.ctx, []twitter.Rule{{Value: "(a OR b)"}}); ledger.CodeOf(err) != ledger.CodeInvalid {
		t.Errorf("a rule that X does not understand: %v", err)
	}
	w.sim.Fail(xsim.EndpointRules, xsim.Failure{Status: 401, Times: 1})
	if err := w.client.DeclareRules(w.ctx, "pay", nil); ledger.CodeOf(err) != ledger.CodeForbidden {
		t.Errorf("a wrong token: %v", err)
	}
}

// poll reads mentions and returns their ids and the id to go on from.
func (w *world) poll(since string) ([]string, string) {
	w.t.Helper()
	var ids []string
	next, err := w.client.PollMentions(w.ctx, bankID, since, func(_ context.Context, m payments.Message) error {
		if m.Via != twitter.ViaMentions {
			w.t.Errorf("via %s", m.Via)
		}
		ids = append(ids, m.ID)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return ids, next
}

func TestPollMentionsReadsOnWithOverlap(t *testing.T) {
	w := newWorld(t)
	if ids, next := w.poll(""); len(ids) != 0 || next != "" {
		t.Errorf("nothing there: %v, %q", ids, next)
	}
	var all []string
	for i := range 250 {
		all = append(all, w.sim.Tweet(marieID, fmt.Sprintf("@SmoneyFR bonjour %d", i)))
		w.sim.Tweet(marieID, "not for the bank")
		w.clock.advance(time.Minute)
	}
	ids, next := w.poll("")
	if !slices.Equal(ids, all) {
		t.Fatalf("%d ids in another order or number, want 250, the oldest first", len(ids))
	}
	if next != all[250-1-15] {
		t.Errorf("goes on at %d of 250", slices.Index(all, next))
	}
	later := w.sim.Tweet(marieID, "@SmoneyFR encore")
	ids, after := w.poll(next)
	if want := append(slices.Clone(all[250-15:]), later); !slices.Equal(ids, want) {
		t.Errorf("%d ids, want %d: what lies in the overlap comes again", len(ids), len(want))
	}
	if after != all[250-15] {
		t.Errorf("goes on at %d of 250", slices.Index(all, after))
	}
	if ids, same := w.poll(after); len(ids) != 15 || same != after {
		t.Errorf("nothing new: %d ids, %q", len(ids), same)
	}
}

func TestPollMentionsKeepsItsPlaceOnErrors(t *testing.T) {
	w := newWorld(t)
	w.sim.Tweet(marieID, "@SmoneyFR bonjour")
	w.sim.Fail(xsim.EndpointMentions, xsim.Failure{Status: 503, Times: 1})
	nothing := func(context.Context, payments.Message) error { return nil }
	if next, err := w.client.PollMentions(w.ctx, bankID, "5", nothing); ledger.CodeOf(err) != ledger.CodeUnavailable || next != "5" {
		t.Errorf("%q, %v", next, err)
	}
	broken := errors.New("disk full")
	if next, err := w.client.PollMentions(w.ctx, bankID, "5", func(context.Context, payments.Message) error { return broken }); !errors.Is(err, broken) || next != "5" {
		t.Errorf("%q, %v", next, err)
	}
	if _, err := w.client.PollMentions(w.ctx, "SmoneyFR", "", nothing); ledger.CodeOf(err) != ledger.CodeInvalid {
		t.Error(err)
	}
}

func TestPollMentionsStopsAtWhatXHas(t *testing.T) {
	w := newWorld(t)
	for i := range 900 {
		w.sim.Tweet(marieID, fmt.Sprintf("@SmoneyFR %d", i))
	}
	if ids, _ := w.poll(""); len(ids) != 800 {
		t.Errorf("%d mentions", len(ids))
	}
}

func TestLookupTellsWhatBecameOfPosts(t *testing.T) {
	w := newWorld(t)
	there := w.sim.Tweet(marieID, "@SmoneyFR #envoyer 20€ @yoann_test")
	deleted := w.sim.Tweet(marieID, "@SmoneyFR #envoyer 21€ @yoann_test")
	w.sim.Delete(deleted)
	hidden := w.sim.Tweet(marieID, "@SmoneyFR #envoyer 22€ @yoann_test")
	w.sim.HideFromLookup(hidden)
	w.sim.AddUser("66", "bandit", "")
	w.sim.AddUser("67", "secret", "")
	suspended, protected := w.sim.Tweet("66", "@SmoneyFR 1"), w.sim.Tweet("67", "@SmoneyFR 2")
	w.sim.Suspend("66")
	w.sim.Protect("67")

	results, err := w.client.Lookup(w.ctx, []string{suspended, there, deleted, hidden, protected, "1"})
	if err != nil {
		t.Fatal(err)
	}
	want := []twitter.LookupState{twitter.Suspended, twitter.Found, twitter.NotFound, twitter.NotFound, twitter.NotAuthorized, twitter.NotFound}
	for i, r := range results {
		if r.State != want[i] {
			t.Errorf("%d: %s, want %s (%s)", i, r.State, want[i], r.Detail)
		}
	}
	if m := results[1].Message; m.ID != there || m.AuthorHandle != "marie_test" || len(m.Mentions) != 2 || m.Via != twitter.ViaLookup {
		t.Errorf("%+v", m)
	}
	if results, err := w.client.Lookup(w.ctx, nil); err != nil || results != nil {
		t.Errorf("no ids: %v, %v", results, err)
	}
	for _, ids := range [][]string{slices.Repeat([]string{"1"}, 101), {"1,2"}} {
		if _, err := w.client.Lookup(w.ctx, ids); ledger.CodeOf(err) != ledger.CodeInvalid {
			t.Error(err)
		}
	}
}

func TestUserID(t *testing.T) {
	w := newWorld(t)
	if id, err := w.client.UserID(w.ctx, "@acf_france"); err != nil || id != charityID {
		t.Errorf("%q, %v", id, err)
	}
	if _, err := w.client.UserID(w.ctx, "ghost"); ledger.CodeOf(err) != ledger.CodeNotFound {
		t.Error(err)
	}
	if _, err := w.client.UserID(w.ctx, "a,b"); ledger.CodeOf(err) != ledger.CodeInvalid {
		t.Error(err)
	}
}

func TestReply(t *testing.T) {
	w := newWorld(t)
	command := w.sim.Tweet(marieID, "@SmoneyFR #envoyer 20€ @yoann_test")
	id, err := w.client.Reply(w.ctx, payments.Outgoing{ID: "1", InReplyTo: command, Text: "@marie_test Confirmez sur notre page & à bientôt."})
	if err != nil {
		t.Fatal(err)
	}
	replies := w.sim.RepliesTo(command)
	if len(replies) != 1 || replies[0].ID != id || replies[0].AuthorID != bankID || replies[0].Text != "@marie_test Confirmez sur notre page & à bientôt." {
		t.Errorf("%+v", replies)
	}
	if all := w.sim.Replies(); len(all) != 1 {
		t.Errorf("%+v", all)
	}

	deleted := w.sim.Tweet(marieID, "@SmoneyFR #envoyer 21€ @yoann_test")
	w.sim.Delete(deleted)
	uninvited := w.sim.Tweet(marieID, "il fait beau")
	tests := map[string]payments.Outgoing{
		"a duplicate":     {InReplyTo: w.sim.Tweet(marieID, "@SmoneyFR #envoyer 22€ @yoann_test"), Text: "@marie_test Confirmez sur notre page & à bientôt."},
		"a deleted tweet": {InReplyTo: deleted, Text: "a"},
		"not mentioned":   {InReplyTo: uninvited, Text: "b"},
		"too long":        {InReplyTo: command, Text: strings.Repeat("c", 281)},
		"no text":         {InReplyTo: command},
		"no id":           {InReplyTo: "x", Text: "d"},
	}
	for name, out := range tests {
		_, err := w.client.Reply(w.ctx, out)
		var refused *payments.SendError
		if !errors.As(err, &refused) || !refused.Permanent || refused.Gone != (name == "a deleted tweet") {
			t.Errorf("%s: %+v", name, err)
		}
	}
}

func TestReplyWaitsForX(t *testing.T) {
	w := newWorld(t)
	command := w.sim.Tweet(marieID, "@SmoneyFR #envoyer 20€ @yoann_test")
	out := payments.Outgoing{InReplyTo: command, Text: "@marie_test bonjour"}

	w.sim.Fail(xsim.EndpointCreate, xsim.Failure{Status: 429, Times: 1, Reset: 7 * time.Minute})
	for range 2 { // the second time X is not even asked: the failure was for one request
		_, err := w.client.Reply(w.ctx, out)
		var refused *payments.SendError
		if !errors.As(err, &refused) || refused.Permanent || refused.RetryAfter != 7*time.Minute || ledger.CodeOf(err) != ledger.CodeUnavailable {
			t.Fatalf("%+v", err)
		}
	}
	if _, err := w.client.Lookup(w.ctx, []string{command}); err != nil {
		t.Errorf("another endpoint is not concerned: %v", err)
	}
	w.clock.advance(7 * time.Minute)
	for _, status := range []int{503, 401} {
		w.sim.Fail(xsim.EndpointCreate, xsim.Failure{Status: status, Times: 1})
		_, err := w.client.Reply(w.ctx, out)
		var refused *payments.SendError
		if !errors.As(err, &refused) || refused.Permanent {
			t.Errorf("%d: %v", status, err)
		}
	}
	if _, err := w.client.Reply(w.ctx, out); err != nil {
		t.Error(err)
	}
}

// TestRepliesWaitForWhatIsWrongWithUs gives no reply up, and uses no try, where X takes
// nothing from us at all: a person mends that, and all that waits goes out.
func TestRepliesWaitForWhatIsWrongWithUs(t *testing.T) {
	const forbidden = `{"title":"Client Forbidden","type":"https://api.twitter.com/2/problems/client-forbidden","detail":"This app has no access."}`
	status, body := http.StatusOK, ""
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		out.WriteHeader(status)
		fmt.Fprint(out, body)
	}))
	defer server.Close()
	client := func(token twitter.TokenSource) *twitter.Client {
		c, err := twitter.NewClient(twitter.Options{BaseURL: server.URL, UserToken: token})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for name, try := range map[string]struct {
		token  twitter.TokenSource
		status int
		body   string
	}{
		"no token":               {nil, 200, ""},
		"the token is not there": {noToken{}, 200, ""},
		"the token has ended":    {twitter.StaticToken("a"), 401, `{"title":"Unauthorized","type":"about:blank","status":401,"detail":"Unauthorized"}`},
		"the credits are gone":   {twitter.StaticToken("a"), 402, `{"title":"CreditsDepleted"}`},
		"the app has no access":  {twitter.StaticToken("a"), 403, forbidden},
	} {
		status, body = try.status, try.body
		for _, out := range []payments.Outgoing{{InReplyTo: "1", Text: "a"}, {InReplyTo: "1", Text: "a", InDoubt: true}, {RecipientID: "1", Text: "a"},
			{RecipientID: "1", Text: "a", InDoubt: true}} {
			_, err := client(try.token).Reply(t.Context(), out)
			var refused *payments.SendError
			if !errors.As(err, &refused) || refused.Permanent || refused.RetryAfter <= 0 || refused.InDoubt != out.InDoubt {
				t.Errorf("%s, %+v: %+v", name, out, err)
			}
		}
	}
}

// noToken is a source of tokens that has none.
type noToken struct{}

func (noToken) Token(context.Context) (string, error) {
	return "", ledger.Errorf(ledger.CodeForbidden, "there is no token")
}

func TestReplyWhenXCannotBeAsked(t *testing.T) {
	w := newWorld(t)
	command := w.sim.Tweet(marieID, "@SmoneyFR #envoyer 20€ @yoann_test")
	w.sim.Close()
	w.server.Close()
	_, err := w.client.Reply(w.ctx, payments.Outgoing{InReplyTo: command, Text: "a"})
	var refused *payments.SendError
	if err == nil || errors.As(err, &refused) {
		t.Errorf("%v", err)
	}
}

func TestAnswersAreBoundedAndChecked(t *testing.T) {
	bodies := map[string]string{
		"not JSON":  "<html>",
		"cut off":   `{"data":[`,
		"too large": `{"data":[` + strings.Repeat(" ", 17<<20) + `]}`,
	}
	for name, body := range bodies {
		server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { fmt.Fprint(out, body) }))
		w := newWorld(t)
		if _, err := w.newClient(server.URL).Lookup(w.ctx, []string{"1"}); ledger.CodeOf(err) != ledger.CodeUnavailable {
			t.Errorf("%s: %v", name, err)
		}
		server.Close()
	}
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(out, `{"data":[{"id":"1","text":"no author"},{"id":"2","text":"x","author_id":"1","created_at":"2024-10-26T10:00:00Z"}]}`)
	}))
	defer server.Close()
	w := newWorld(t)
	results, err := w.newClient(server.URL).Lookup(w.ctx, []string{"1", "2"})
	if err != nil || results[0].State != twitter.Unreadable || results[1].State != twitter.Found {
		t.Errorf("%+v, %v", results, err)
	}
}
