package xsim

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// EndpointOAuth are the endpoints of OAuth 2.0 for which a fault can be ordered.
const EndpointOAuth Endpoint = "oauth"

// App is a client of OAuth 2.0 as it is registered with X.
type App struct {
	ClientID     string
	ClientSecret string   // empty: a public client
	RedirectURLs []string // exactly as they are asked for
}

// oauthState is what X remembers of apps, codes and tokens. Server.mu guards it.
type oauthState struct {
	apps    map[string]App
	codes   map[string]grant
	tokens  map[string]liveToken
	refresh map[string]grant // each good once
}

// liveToken is an access token that was given out.
type liveToken struct {
	userID string
	until  time.Time
}

// userOf returns whose a token is, or "". s.mu is held.
func (s *Server) userOf(token string) string {
	t, ok := s.oauth.tokens[token]
	if !ok || s.opts.Clock().After(t.until) {
		return ""
	}
	return t.userID
}

// grant is a user's yes, until it is exchanged.
type grant struct {
	client, redirect, challenge, userID string
	until                               time.Time
	offline                             bool // the user agreed to a refresh token
}

const (
	// codeTerm is how long X takes a code. Source: X, OAuth 2.0 with PKCE.
	codeTerm = 30 * time.Second
	// tokenTerm is how long X takes an access token. Source: X, OAuth 2.0 with PKCE.
	tokenTerm = 2 * time.Hour
	// mostGrants bounds what is remembered of codes and tokens each.
	mostGrants = 10_000
)

// AddApp registers an app, in place of one with the same client id.
func (s *Server) AddApp(app App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.oauth.apps == nil {
		s.oauth = oauthState{apps: map[string]App{}, codes: map[string]grant{}, tokens: map[string]liveToken{}, refresh: map[string]grant{}}
	}
	s.oauth.apps[app.ClientID] = app
}

// LiveTokens returns how many tokens of users were given out and not revoked.
func (s *Server) LiveTokens() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.oauth.tokens)
}

func (s *Server) oauthRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /i/oauth2/authorize", s.authorizePage)
	mux.HandleFunc("POST /i/oauth2/authorize", s.authorizeForm)
	mux.HandleFunc("POST /2/oauth2/token", s.exchange)
	mux.HandleFunc("POST /2/oauth2/revoke", s.revoke)
	mux.Handle("GET /2/users/me", s.guard(EndpointUsers, func(c caller) bool { return c.userID != "" }, s.me))
}

// Authorize plays a user on the page under address who says yes (userID) or no
// (""), and returns where the browser is sent.
func (s *Server) Authorize(address, userID string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	return s.authorize(u.Query(), userID)
}

func (s *Server) authorize(q url.Values, userID string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	app, known := s.oauth.apps[q.Get("client_id")]
	redirect := q.Get("redirect_uri")
	switch {
	case !known:
		return "", fmt.Errorf("there is no app %q", q.Get("client_id"))
	case !slices.Contains(app.RedirectURLs, redirect):
		return "", fmt.Errorf("%q is not registered as a redirect", redirect)
	case q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" || q.Get("state") == "":
		return "", fmt.Errorf("response_type code, state and a code_challenge by S256 are needed")
	case !strings.Contains(q.Get("scope"), "users.read"):
		return "", fmt.Errorf("the scope %q does not allow to ask who the user is", q.Get("scope"))
	}
	back := url.Values{"state": {q.Get("state")}}
	if userID == "" {
		back.Set("error", "access_denied")
		return redirect + "?" + back.Encode(), nil
	}
	if a := s.users[userID]; a == nil || a.suspended {
		return "", fmt.Errorf("there is no user %q", userID)
	}
	if len(s.oauth.codes) >= mostGrants {
		clear(s.oauth.codes)
	}
	code := rand.Text()
	s.oauth.codes[code] = grant{client: app.ClientID, redirect: redirect, challenge: q.Get("code_challenge"), userID: userID, until: s.opts.Clock().Add(codeTerm),
		offline: strings.Contains(q.Get("scope"), "offline.access")}
	back.Set("code", code)
	return redirect + "?" + back.Encode(), nil
}

var authorizeHTML = template.Must(template.New("authorize").Parse(`<!DOCTYPE html>
<title>Authorize app (simulated X)</title>
<form method="post" action="?{{.Query}}">
<p>{{.App}} wants to know who you are. Be:</p>
{{range .Users}}<button name="user" value="{{.ID}}">@{{.Handle}}</button>
{{end}}<button name="user" value="">Refuse</button>
</form>
`))

// mostShown bounds the accounts that the page offers.
const mostShown = 100

func (s *Server) authorizePage(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	users := make([]User, 0, len(s.users))
	for _, a := range s.users {
		users = append(users, a.User)
	}
	s.mu.Unlock()
	slices.SortFunc(users, func(a, b User) int { return strings.Compare(a.ID, b.ID) })
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = authorizeHTML.Execute(w, map[string]any{"App": r.URL.Query().Get("client_id"), "Query": template.URL(r.URL.RawQuery), "Users": users[:min(len(users), mostShown)]}) // a simulated page for whoever runs the simulation
}

func (s *Server) authorizeForm(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, mostRequestBytes)
	to, err := s.authorize(r.URL.Query(), r.PostFormValue("user"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	http.Redirect(w, r, to, http.StatusFound)
}

// oauthError is how X refuses a token. Source: RFC 6749, section 5.2.
func oauthError(w http.ResponseWriter, status int, code, description string) {
	answer(w, status, map[string]string{"error": code, "error_description": description})
}

// client returns the app that a request to the token endpoints is from.
func (s *Server) client(r *http.Request) (App, bool) {
	id, secret, basic := r.BasicAuth()
	if basic { // form-encoded before it became base64: RFC 6749, section 2.3.1
		plainID, idErr := url.QueryUnescape(id)
		plainSecret, secretErr := url.QueryUnescape(secret)
		if idErr != nil || secretErr != nil {
			return App{}, false
		}
		id, secret = plainID, plainSecret
	} else {
		id, secret = r.PostForm.Get("client_id"), ""
	}
	app, known := s.oauth.apps[id]
	return app, known && subtle.ConstantTimeCompare([]byte(app.ClientSecret), []byte(secret)) == 1
}

func (s *Server) exchange(w http.ResponseWriter, r *http.Request) {
	if s.failed(w, EndpointOAuth) {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, mostRequestBytes)
	if err := r.ParseForm(); err != nil {
		oauthError(w, http.StatusBadRequest, "invalid_request", "the form cannot be read")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	app, known := s.client(r)
	if !known {
		oauthError(w, http.StatusUnauthorized, "unauthorized_client", "Missing valid authorization header")
		return
	}
	if r.PostForm.Get("grant_type") == "refresh_token" {
		old := r.PostForm.Get("refresh_token")
		g, granted := s.oauth.refresh[old]
		delete(s.oauth.refresh, old)
		if !granted || g.client != app.ClientID {
			oauthError(w, http.StatusBadRequest, "invalid_request", "Value passed for the token was invalid.")
			return
		}
		s.giveToken(w, g)
		return
	}
	code := r.PostForm.Get("code")
	g, granted := s.oauth.codes[code]
	delete(s.oauth.codes, code) // whoever shows it: a code is good once
	hash := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	switch {
	case r.PostForm.Get("grant_type") != "authorization_code":
		oauthError(w, http.StatusBadRequest, "unsupported_grant_type", "grant_type must be authorization_code")
	case !granted || g.client != app.ClientID || g.redirect != r.PostForm.Get("redirect_uri") || s.opts.Clock().After(g.until):
		oauthError(w, http.StatusBadRequest, "invalid_request", "Value passed for the authorization code was invalid.")
	case base64.RawURLEncoding.EncodeToString(hash[:]) != g.challenge:
		oauthError(w, http.StatusBadRequest, "invalid_request", "Value passed for the code verifier did not match the code challenge.")
	default:
		s.giveToken(w, g)
	}
}

// giveToken answers with an access token, and with one to renew it where the user
// agreed to that. s.mu is held.
func (s *Server) giveToken(w http.ResponseWriter, g grant) {
	if len(s.oauth.tokens) >= mostGrants {
		clear(s.oauth.tokens)
		clear(s.oauth.refresh)
	}
	token := rand.Text()
	s.oauth.tokens[token] = liveToken{userID: g.userID, until: s.opts.Clock().Add(tokenTerm)}
	body := map[string]any{"token_type": "bearer", "expires_in": int(tokenTerm.Seconds()), "access_token": token, "scope": "users.read tweet.read"}
	if g.offline {
		next := rand.Text()
		s.oauth.refresh[next] = g
		body["refresh_token"] = next
	}
	answer(w, http.StatusOK, body)
}

func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, mostRequestBytes)
	if err := r.ParseForm(); err != nil {
		oauthError(w, http.StatusBadRequest, "invalid_request", "the form cannot be read")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.client(r); !known {
		oauthError(w, http.StatusUnauthorized, "unauthorized_client", "Missing valid authorization header")
		return
	}
	delete(s.oauth.tokens, r.PostForm.Get("token"))
	answer(w, http.StatusOK, map[string]any{"revoked": true})
}

// me is GET /2/users/me.
func (s *Server) me(w http.ResponseWriter, r *http.Request) {
	id := s.caller(r).userID
	s.mu.Lock()
	defer s.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{"data": s.users[id].render()})
}
