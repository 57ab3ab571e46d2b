package xsim_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"tweetledger/adapters/twitter/xsim"
)

const redirect = "https://pay.test/callback"

func authorizeQuery(change func(url.Values)) string {
	q := url.Values{"response_type": {"code"}, "client_id": {"client-1"}, "redirect_uri": {redirect}, "scope": {"users.read tweet.read"},
		"state": {"s"}, "code_challenge": {"c"}, "code_challenge_method": {"S256"}}
	if change != nil {
		change(q)
	}
	return "/i/oauth2/authorize?" + q.Encode()
}

// TestAuthorizePage clicks through X's page as a browser would.
func TestAuthorizePage(t *testing.T) {
	f := newFixture(t, xsim.Options{})
	f.sim.AddApp(xsim.App{ClientID: "client-1", RedirectURLs: []string{redirect}})
	w := httptest.NewRecorder()
	f.sim.ServeHTTP(w, httptest.NewRequest(http.MethodGet, authorizeQuery(nil), nil))
	if body := w.Body.String(); w.Code != http.StatusOK || !strings.Contains(body, `<button name="user" value="2">@marie</button>`) || !strings.Contains(body, "client_id=client-1") {
		t.Fatalf("%d\n%s", w.Code, body)
	}
	for user, want := range map[string]string{"2": "code=", "": "error=access_denied"} {
		r := httptest.NewRequest(http.MethodPost, authorizeQuery(nil), strings.NewReader("user="+user))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		f.sim.ServeHTTP(w, r)
		if to := w.Header().Get("Location"); w.Code != http.StatusFound || !strings.HasPrefix(to, redirect+"?") || !strings.Contains(to, want) || !strings.Contains(to, "state=s") {
			t.Errorf("user %q: %d to %s", user, w.Code, to)
		}
	}
}

func TestAuthorizeRefusals(t *testing.T) {
	f := newFixture(t, xsim.Options{})
	f.sim.AddApp(xsim.App{ClientID: "client-1", RedirectURLs: []string{redirect}})
	for name, change := range map[string]func(url.Values){
		"another app":      func(q url.Values) { q.Set("client_id", "client-2") },
		"another redirect": func(q url.Values) { q.Set("redirect_uri", redirect+"/") },
		"no PKCE":          func(q url.Values) { q.Del("code_challenge") },
		"plain PKCE":       func(q url.Values) { q.Set("code_challenge_method", "plain") },
		"no state":         func(q url.Values) { q.Del("state") },
		"no scope":         func(q url.Values) { q.Del("scope") },
	} {
		if to, err := f.sim.Authorize(authorizeQuery(change), "2"); err == nil {
			t.Errorf("%s: sent to %s", name, to)
		}
	}
	if _, err := f.sim.Authorize(authorizeQuery(nil), "404"); err == nil {
		t.Error("a user that is not there")
	}
	for _, path := range []string{"/2/oauth2/token", "/2/oauth2/revoke"} {
		if status, body := f.ask(http.MethodPost, path, "", ""); status != http.StatusUnauthorized || body["error"] != "unauthorized_client" {
			t.Errorf("%s: %d %v", path, status, body)
		}
	}
	if status, _ := f.ask(http.MethodGet, "/2/users/me", xsim.DefaultAppToken, ""); status != http.StatusForbidden {
		t.Errorf("an app has no account: %d", status)
	}
}
