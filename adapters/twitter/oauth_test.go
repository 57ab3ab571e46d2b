package twitter_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"tweetledger/adapters/twitter"
	"tweetledger/adapters/twitter/xsim"
	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

const (
	redirect = "https://pay.test/link/callback"
	verifier = "verifier-of-at-least-43-characters-0123456789ab"
)

func (w *world) linker(opts twitter.LinkOptions) *twitter.Linker {
	w.t.Helper()
	opts.RedirectURL, opts.AuthorizeURL = redirect, w.server.URL+"/i/oauth2/authorize"
	linker, err := twitter.NewLinker(w.client, opts)
	if err != nil {
		w.t.Fatal(err)
	}
	return linker
}

// allow plays a user on X's page and returns the code that comes back.
func (w *world) allow(linker *twitter.Linker, userID string) string {
	w.t.Helper()
	back, err := w.sim.Authorize(linker.AuthorizeURL("state-1", verifier), userID)
	if err != nil {
		w.t.Fatal(err)
	}
	u, err := url.Parse(back)
	if err != nil || !strings.HasPrefix(back, redirect+"?") || u.Query().Get("state") != "state-1" {
		w.t.Fatalf("sent back to %s, %v", back, err)
	}
	return u.Query().Get("code")
}

// TestIdentify asks X who has allowed a visit, as a client with a secret and as one
// without. No token is left behind.
func TestIdentify(t *testing.T) {
	for name, opts := range map[string]twitter.LinkOptions{
		"confidential": {ClientID: "client-1", ClientSecret: "s3cret/+ %"}, "public": {ClientID: "client-2"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.sim.AddApp(xsim.App{ClientID: opts.ClientID, ClientSecret: opts.ClientSecret, RedirectURLs: []string{redirect}})
			linker := w.linker(opts)
			code := w.allow(linker, marieID)
			who, err := linker.Identify(w.ctx, code, verifier)
			if want := (payments.Identity{Channel: twitter.Channel, UserID: marieID, Handle: "marie_test"}); err != nil || who != want {
				t.Fatalf("%+v, %v", who, err)
			}
			if n := w.sim.LiveTokens(); n != 0 {
				t.Errorf("%d tokens are left", n)
			}
			if _, err := linker.Identify(w.ctx, code, verifier); ledger.CodeOf(err) != ledger.CodeForbidden {
				t.Errorf("the same code again: %v", err)
			}
		})
	}
}

func TestIdentifyRefusals(t *testing.T) {
	w := newWorld(t)
	w.sim.AddApp(xsim.App{ClientID: "client-1", RedirectURLs: []string{redirect}})
	linker := w.linker(twitter.LinkOptions{ClientID: "client-1"})
	forbidden := func(why, code, verifier string) {
		t.Helper()
		if _, err := linker.Identify(w.ctx, code, verifier); ledger.CodeOf(err) != ledger.CodeForbidden || strings.Contains(err.Error(), code) {
			t.Errorf("%s: %v", why, err)
		}
	}
	forbidden("another verifier", w.allow(linker, marieID), verifier+"x")
	code := w.allow(linker, marieID)
	w.clock.advance(31 * time.Second)
	forbidden("too late", code, verifier)
	forbidden("a code of nobody", "guessed", verifier)

	w.sim.Fail(xsim.EndpointOAuth, xsim.Failure{Status: 503, Times: 1})
	if _, err := linker.Identify(w.ctx, w.allow(linker, marieID), verifier); ledger.CodeOf(err) != ledger.CodeUnavailable {
		t.Errorf("503: %v", err)
	}
	// One customer's limit is not another's.
	w.sim.Fail(xsim.EndpointUsers, xsim.Failure{Status: 429, Times: 1, Reset: time.Hour})
	if _, err := linker.Identify(w.ctx, w.allow(linker, marieID), verifier); ledger.CodeOf(err) != ledger.CodeUnavailable {
		t.Errorf("429: %v", err)
	}
	if n := w.sim.LiveTokens(); n != 0 {
		t.Errorf("%d tokens are left where X did not say who it is", n)
	}
	if who, err := linker.Identify(w.ctx, w.allow(linker, yoannID), verifier); err != nil || who.UserID != yoannID {
		t.Errorf("%+v, %v", who, err)
	}
	w.server.Close()
	if _, err := linker.Identify(w.ctx, "code", verifier); ledger.CodeOf(err) != ledger.CodeUnavailable {
		t.Errorf("X away: %v", err)
	}
}

func TestLinkerOptions(t *testing.T) {
	w := newWorld(t)
	for field, opts := range map[string]twitter.LinkOptions{
		"client_id":     {RedirectURL: redirect},
		"redirect_url":  {ClientID: "1", RedirectURL: "/link"},
		"authorize_url": {ClientID: "1", RedirectURL: redirect, AuthorizeURL: "javascript:alert(1)"},
	} {
		_, err := twitter.NewLinker(w.client, opts)
		var invalid *ledger.Error
		if !errors.As(err, &invalid) || invalid.Code != ledger.CodeInvalid || invalid.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	linker, err := twitter.NewLinker(w.client, twitter.LinkOptions{ClientID: "1", RedirectURL: redirect})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(linker.AuthorizeURL("s", verifier))
	if err != nil || u.Host != "x.com" || u.Query().Get("code_challenge_method") != "S256" || u.Query().Get("code_challenge") == verifier ||
		u.Query().Get("scope") != "tweet.read users.read" || u.Query().Get("redirect_uri") != redirect {
		t.Errorf("%v, %v", u, err)
	}
}

// TestWhoIsChecked: what X says about a user is not believed unread.
func TestWhoIsChecked(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		out.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/2/oauth2/token":
			_, _ = out.Write([]byte(`{"access_token":"t","token_type":"bearer"}`))
		case "/2/users/me":
			_, _ = out.Write([]byte(`{"data":{"id":"12","username":"<script>"}}`))
		}
	}))
	defer server.Close()
	w := newWorld(t)
	linker, err := twitter.NewLinker(w.newClient(server.URL), twitter.LinkOptions{ClientID: "1", RedirectURL: redirect})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := linker.Identify(w.ctx, "code", verifier); ledger.CodeOf(err) != ledger.CodeUnavailable {
		t.Error(err)
	}
}
