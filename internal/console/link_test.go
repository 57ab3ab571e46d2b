package console_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// simulated is X's page: who says yes there, and what it was asked.
type simulated struct {
	who      payments.Identity
	fail     error
	verifier string // that the last visit began with
	asked    int
}

const xPage = "https://x.test/authorize"

func (x *simulated) AuthorizeURL(state, verifier string) string {
	x.verifier = verifier
	return xPage + "?state=" + state
}

func (x *simulated) Identify(_ context.Context, code, verifier string) (payments.Identity, error) {
	x.asked++
	switch {
	case x.fail != nil:
		return payments.Identity{}, x.fail
	case code != "yes" || verifier != x.verifier:
		return payments.Identity{}, ledger.Errorf(ledger.CodeForbidden, "the code is not mine")
	}
	return x.who, nil
}

func (s *site) invite() string {
	s.t.Helper()
	invitation, err := s.service.InviteToLink(s.t.Context(), "c-000001", "anne")
	must(s.t, err)
	if !strings.HasPrefix(invitation.Address, "https://pay.test/link/") || !invitation.ExpiresAt.Equal(s.now.Add(72*time.Hour)) {
		s.t.Fatalf("the invitation is %+v", invitation)
	}
	return invitation.Address
}

// visit enters the code on an invitation's page, and returns the state that went to
// X and the cookie that stayed.
func (s *site) visit(address string) (state string, cookie *http.Cookie) {
	s.t.Helper()
	_, body := s.get(address)
	r, _ := s.post(address, url.Values{"stamp": {stampOf(s.t, body)}, "code": {"135790"}})
	wantStatus(s.t, r, http.StatusSeeOther)
	to, err := url.Parse(r.Header.Get("Location"))
	must(s.t, err)
	if got := to.Scheme + "://" + to.Host + to.Path; got != xPage || len(r.Cookies()) != 1 {
		s.t.Fatalf("sent to %s with cookies %v", to, r.Cookies())
	}
	return to.Query().Get("state"), r.Cookies()[0]
}

func (s *site) callback(query string, cookie *http.Cookie) (*http.Response, string) {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.t.Context(), http.MethodGet, "https://pay.test/link/callback?"+query, nil)
	if cookie != nil {
		r.AddCookie(cookie)
	}
	return s.do(r)
}

func (s *site) linkedIDs() string {
	s.t.Helper()
	var ids []string
	must(s.t, s.service.Engine().DB().Read(s.t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		ids = nil
		c, err := payments.FindCustomer(ctx, tx, "c-000001")
		if err != nil {
			return err
		}
		links, err := payments.ListLinks(ctx, tx, c.ID)
		for _, l := range links {
			ids = append(ids, l.UserID+"@"+l.Handle)
		}
		return err
	}))
	return strings.Join(ids, " ")
}

func (s *site) lastEvent() payments.PartyEvent {
	s.t.Helper()
	var events []payments.PartyEvent
	must(s.t, s.service.Engine().DB().Read(s.t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		c, err := payments.FindCustomer(ctx, tx, "c-000001")
		if err != nil {
			return err
		}
		events, err = payments.PartyEvents(ctx, tx, c.ID, 1)
		return err
	}))
	return events[0]
}

func TestLinkAnAccount(t *testing.T) {
	s := newSite(t)
	s.x.who = payments.Identity{Channel: "twitter", UserID: "1010", Handle: "marie_two"}
	address := s.invite()
	page, body := s.get(address)
	wantStatus(t, page, http.StatusOK)
	for _, want := range []string{"c-000001", "•••• 78", "@marie", `lang="fr"`, "Continuer vers X"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	if strings.Contains(body, "12345678") || strings.Contains(body, "<script") {
		t.Errorf("the page shows too much:\n%s", body)
	}
	csp := page.Header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "form-action 'self' https://x.test;") {
		t.Errorf("policy is %s", csp)
	}
	state, cookie := s.visit(address)
	if cookie.Name != "__Host-tweetledger-link" || !cookie.Secure || !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" || cookie.MaxAge != 600 {
		t.Errorf("cookie is %+v", cookie)
	}
	if state == cookie.Value || strings.Contains(address, state) {
		t.Error("one secret serves for two things")
	}
	done, body := s.callback("state="+state+"&code=yes", cookie)
	wantStatus(t, done, http.StatusOK)
	if !strings.Contains(body, "@marie_two est relié") || s.linkedIDs() != "101@marie 1010@marie_two" {
		t.Fatalf("linked %s; the page says\n%s", s.linkedIDs(), body)
	}
	if e := s.lastEvent(); e.Event != "linked" || e.Actor != payments.ActorPage || e.Reason != "twitter 1010 (@marie_two)" {
		t.Errorf("event is %+v", e)
	}
	if cookies := done.Cookies(); len(cookies) != 1 || cookies[0].MaxAge >= 0 {
		t.Errorf("the visit's cookie stays: %v", cookies)
	}

	// Address and state are good once.
	gone, _ := s.get(address)
	wantStatus(t, gone, http.StatusNotFound)
	again, _ := s.callback("state="+state+"&code=yes", cookie)
	wantStatus(t, again, http.StatusNotFound)
	if s.x.asked != 1 {
		t.Errorf("X was asked %d times", s.x.asked)
	}
}

// TestVisitsAreBound tries to end a visit that somebody else began, late, twice, or
// under an address that is no longer good.
func TestVisitsAreBound(t *testing.T) {
	s := newSite(t)
	s.x.who = payments.Identity{Channel: "twitter", UserID: "1010", Handle: "marie_two"}
	refused := func(why, query string, cookie *http.Cookie) {
		t.Helper()
		r, _ := s.callback(query, cookie)
		if r.StatusCode != http.StatusNotFound || s.linkedIDs() != "101@marie" {
			t.Errorf("%s: %d, linked %s", why, r.StatusCode, s.linkedIDs())
		}
	}
	address := s.invite()
	state, cookie := s.visit(address)
	refused("another browser", "state="+state+"&code=yes", nil)
	refused("another visit's browser", "state="+state+"&code=yes", &http.Cookie{Name: cookie.Name, Value: strings.Repeat("A", len(cookie.Value))})
	refused("a state of nobody", "state="+strings.Repeat("A", len(state))+"&code=yes", cookie)
	refused("no state", "code=yes", cookie)

	older, olderCookie := state, cookie
	state, cookie = s.visit(address)
	refused("a visit that another has replaced", "state="+older+"&code=yes", olderCookie)
	s.now = s.now.Add(10*time.Minute + time.Second)
	refused("too late", "state="+state+"&code=yes", cookie)

	state, cookie = s.visit(address)
	newer := s.invite()
	refused("an invitation that another has replaced", "state="+state+"&code=yes", cookie)
	gone, _ := s.get(address)
	wantStatus(t, gone, http.StatusNotFound)

	s.now = s.now.Add(72 * time.Hour)
	gone, _ = s.get(newer)
	wantStatus(t, gone, http.StatusNotFound)
	if s.x.asked != 0 {
		t.Errorf("X was asked %d times", s.x.asked)
	}
	long, _ := s.callback("state="+strings.Repeat("a", 3000), cookie)
	wantStatus(t, long, http.StatusBadRequest)
}

func TestLinkTakesTheSecretCode(t *testing.T) {
	s := newSite(t)
	address := s.invite()
	_, body := s.get(address)
	stamp := stampOf(t, body)
	for name, form := range map[string]url.Values{
		"five digits":     {"stamp": {stamp}, "code": {"13579"}},
		"no stamp":        {"code": {"135790"}},
		"a foreign stamp": {"stamp": {"AAAAAAAAAAAA"}, "code": {"135790"}},
	} {
		r, _ := s.post(address, form)
		if r.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", name, r.StatusCode)
		}
	}
	foreign, _ := s.post(address, url.Values{"stamp": {stamp}, "code": {"135790"}}, "Origin", "https://evil.test")
	wantStatus(t, foreign, http.StatusForbidden)
	for try := range 6 {
		r, body := s.post(address, url.Values{"stamp": {stamp}, "code": {"246801"}})
		wantStatus(t, r, http.StatusForbidden)
		if !strings.Contains(body, "Rien n&#39;a été relié. Vérifiez") {
			t.Fatalf("try %d says\n%s", try, body)
		}
	}
	blocked, _ := s.post(address, url.Values{"stamp": {stamp}, "code": {"135790"}})
	wantStatus(t, blocked, http.StatusForbidden)
	if e := s.lastEvent(); e.Event != "secret_blocked" {
		t.Errorf("event is %+v", e)
	}
	must(t, s.service.UnblockCode(t.Context(), "c-000001", "anne", "called back"))
	s.now = s.now.Add(5*time.Minute + time.Second)
	stale, _ := s.post(address, url.Values{"stamp": {stamp}, "code": {"135790"}})
	wantStatus(t, stale, http.StatusUnprocessableEntity)
	must(t, s.service.SetCustomerStatus(t.Context(), "c-000001", payments.Blocked, "anne", "phone stolen"))
	_, body = s.get(address)
	r, _ := s.post(address, url.Values{"stamp": {stampOf(t, body)}, "code": {"135790"}})
	wantStatus(t, r, http.StatusForbidden)
}

// TestAccountsThatCannotBeLinked: somebody else's, the bank's, and what X says when
// the customer does not agree.
func TestAccountsThatCannotBeLinked(t *testing.T) {
	s := newSite(t)
	address := s.invite()
	for _, who := range []payments.Identity{
		{Channel: "twitter", UserID: "201", Handle: "ACF_renamed"}, // the charity's
		{Channel: "twitter", UserID: "999", Handle: "smoneyfr"},
	} {
		s.x.who = who
		state, cookie := s.visit(address)
		r, body := s.callback("state="+state+"&code=yes", cookie)
		wantStatus(t, r, http.StatusConflict)
		if !strings.Contains(body, "ne peut pas être relié") || s.linkedIDs() != "101@marie" {
			t.Errorf("%+v: linked %s; the page says\n%s", who, s.linkedIDs(), body)
		}
		if e := s.lastEvent(); e.Event != "link_refused" || !strings.Contains(e.Reason, who.UserID) {
			t.Errorf("event is %+v", e)
		}
	}
	state, cookie := s.visit(address)
	r, body := s.callback("state="+state+"&error=access_denied", cookie)
	wantStatus(t, r, http.StatusOK)
	if !strings.Contains(body, "pas donné votre accord") {
		t.Errorf("the page says\n%s", body)
	}
	state, cookie = s.visit(address)
	r, _ = s.callback("state="+state+"&code=no", cookie)
	wantStatus(t, r, http.StatusForbidden)
	s.x.fail = ledger.Errorf(ledger.CodeUnavailable, "X is away")
	state, cookie = s.visit(address)
	r, _ = s.callback("state="+state+"&code=yes", cookie)
	wantStatus(t, r, http.StatusServiceUnavailable)

	// None of it used up the address. A renamed account that is linked already is
	// the same account.
	s.x.fail, s.x.who = nil, payments.Identity{Channel: "twitter", UserID: "101", Handle: "marie_renamed"}
	state, cookie = s.visit(address)
	r, _ = s.callback("state="+state+"&code=yes", cookie)
	wantStatus(t, r, http.StatusOK)
	if s.linkedIDs() != "101@marie_renamed" {
		t.Errorf("linked %s", s.linkedIDs())
	}
}

func TestLinkPagesSpeakEnglish(t *testing.T) {
	s := newSite(t)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, s.invite(), nil)
	r.Header.Set("Accept-Language", "en-GB,fr;q=0.5")
	if _, body := s.do(r); !strings.Contains(body, `lang="en"`) || !strings.Contains(body, "Go on to X") {
		t.Errorf("the page says\n%s", body)
	}
}
