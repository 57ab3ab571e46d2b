package console_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"tweetledger/internal/console"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// site is the page's handler over a service with one customer and one payee, in
// the embedded database.
type site struct {
	t       *testing.T
	now     time.Time
	service *payments.Service
	handler http.Handler
	notices []string
	next    int
	x       *simulated
}

type payParser struct{}

func (payParser) Parse(m payments.Message) payments.Parsed {
	c := payments.Command{Name: payments.CommandPay, Hashtag: "don", Amount: 20_00, Currency: ledger.EUR,
		PayeeID: "201", PayeeHandle: "ACF_France", Language: m.Language}
	if m.Text == "to a stranger" {
		c.PayeeID, c.PayeeHandle = "999", "hugo"
	}
	return payments.Parsed{Command: &c}
}

func (s *site) Notify(_ context.Context, n payments.Notice) error {
	s.notices = append(s.notices, n.Text)
	return nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), x: &simulated{}}
	e := engine.New(sqltest.SQLite(t), engine.Options{Clock: func() time.Time { return s.now }})
	t.Cleanup(e.Close)
	config := payments.DefaultConfig()
	config.Key = bytes.Repeat([]byte("k"), payments.MinKey)
	config.PageURL = "https://pay.test/confirm"
	config.Secret = payments.SecretParams{MemoryKiB: 8, Iterations: 1, Parallelism: 1, Workers: 2}
	var err error
	s.service, err = payments.New(e, config, payParser{}, payments.Options{})
	must(t, err)
	s.handler, err = console.New(s.service, s.x, nil)
	must(t, err)
	ctx := t.Context()
	must(t, s.service.Setup(ctx))
	_, err = s.service.EnrolCustomer(ctx, payments.NewCustomer{Name: "Marie Test", Phone: "+33612345678"})
	must(t, err)
	_, err = s.service.EnrolPayee(ctx, payments.NewPayee{Code: "acf", Kind: payments.Charity, Name: "Action <contre> la Faim"}, "anne", "bruno")
	must(t, err)
	must(t, s.service.LinkCustomer(ctx, "twitter", "101", "marie", "c-000001"))
	must(t, s.service.LinkPayee(ctx, "twitter", "201", "ACF_France", "acf"))
	must(t, s.service.SetSecretCode(ctx, "c-000001", "135790", "test"))
	_, err = s.service.TopUp(ctx, "c-000001", 500_00, "charge-1")
	must(t, err)
	return s
}

// order makes an order and returns the address of its page.
func (s *site) order(language string) (payments.Order, string) {
	s.t.Helper()
	return s.orderBy("give", language)
}

func (s *site) orderBy(text, language string) (payments.Order, string) {
	s.t.Helper()
	s.next++
	id := fmt.Sprint(9000 + s.next)
	received, err := s.service.Receive(s.t.Context(), payments.Message{Channel: "twitter", ID: id, FirstID: id, AuthorID: "101", Kind: payments.Original,
		Text: text, Language: language, CreatedAt: s.now, Via: "test"})
	must(s.t, err)
	handled, err := s.service.Handle(s.t.Context(), received.ID)
	must(s.t, err)
	_, err = s.service.Deliver(s.t.Context(), nil, s, 10)
	must(s.t, err)
	notice := s.notices[len(s.notices)-1]
	_, link, found := strings.Cut(notice, "https://")
	if !found {
		s.t.Fatalf("the notice has no link: %s", notice)
	}
	return *handled.Order, "https://" + link
}

func (s *site) do(r *http.Request) (*http.Response, string) {
	s.t.Helper()
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	must(s.t, err)
	return w.Result(), string(body)
}

func (s *site) get(address string) (*http.Response, string) {
	s.t.Helper()
	return s.do(httptest.NewRequestWithContext(s.t.Context(), http.MethodGet, address, nil))
}

func (s *site) post(address string, form url.Values, headers ...string) (*http.Response, string) {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "https://pay.test")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return s.do(r)
}

var stampPattern = regexp.MustCompile(`name="stamp" value="([^"]+)"`)

func stampOf(t *testing.T, body string) string {
	t.Helper()
	match := stampPattern.FindStringSubmatch(body)
	if match == nil {
		t.Fatalf("the page has no form:\n%s", body)
	}
	return match[1]
}

func wantStatus(t *testing.T, r *http.Response, want int) {
	t.Helper()
	if r.StatusCode != want {
		t.Fatalf("status is %d, want %d", r.StatusCode, want)
	}
}

func wantText(t *testing.T, body string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(body, text) {
			t.Fatalf("the page lacks %q:\n%s", text, body)
		}
	}
}

func TestPageShowsThePayment(t *testing.T) {
	s := newSite(t)
	o, address := s.order("fr")
	r, body := s.get(address)
	wantStatus(t, r, http.StatusOK)
	wantText(t, body, `<html lang="fr">`, "20,00\u00a0€", "Action &lt;contre&gt; la Faim (@ACF_France)", o.Reference(), `<label for="code">`,
		"À confirmer avant le 24/11/2026 à 11h00")
	_, english := s.order("en")
	_, body = s.get(english)
	wantText(t, body, `<html lang="en">`, "€20.00", "Confirm your payment")
	if again, err := s.service.Order(t.Context(), o.ID); err != nil || again.State != payments.StateAwaitingConfirmation {
		t.Fatalf("looking at the page changed the order to %s (%v)", again.State, err)
	}
}

// TestPageSaysWhoIsNoCustomer: what is confirmed is that the money may come back.
func TestPageSaysWhoIsNoCustomer(t *testing.T) {
	s := newSite(t)
	const french, english = "Le bénéficiaire n&#39;est pas encore notre client", "The payee is not our customer yet"
	_, address := s.orderBy("to a stranger", "fr")
	_, body := s.get(address)
	wantText(t, body, "@hugo", french)
	_, address = s.orderBy("to a stranger", "en")
	_, body = s.get(address)
	wantText(t, body, english)
	_, address = s.order("fr")
	if _, body = s.get(address); strings.Contains(body, french) {
		t.Fatalf("a charity is taken for a stranger:\n%s", body)
	}
}

func TestPageIsLockedDown(t *testing.T) {
	s := newSite(t)
	_, address := s.order("fr")
	for _, where := range []string{address, "https://pay.test/confirm/unknown"} {
		r, body := s.get(where)
		for name, want := range map[string]string{"Cache-Control": "no-store", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
			"Referrer-Policy": "same-origin", "Strict-Transport-Security": "max-age=31536000"} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		_, style, _ := strings.Cut(body, "<style>")
		style, _, _ = strings.Cut(style, "</style>")
		hash := sha256.Sum256([]byte(style))
		csp := r.Header.Get("Content-Security-Policy")
		wantText(t, csp, "default-src 'none'", "frame-ancestors 'none'", "form-action 'self'",
			"style-src 'sha256-"+base64.StdEncoding.EncodeToString(hash[:])+"'")
		if len(r.Header.Values("Set-Cookie")) != 0 {
			t.Error("the page sets a cookie")
		}
		if strings.Contains(body, "http://") || strings.Contains(body, "https://") || strings.Contains(body, "<script") {
			t.Errorf("the page refers to somewhere else:\n%s", body)
		}
	}
}

func TestConfirmOnThePage(t *testing.T) {
	s := newSite(t)
	o, address := s.order("fr")
	_, body := s.get(address)
	form := url.Values{"stamp": {stampOf(t, body)}, "code": {"135790"}}
	r, _ := s.post(address, form)
	wantStatus(t, r, http.StatusSeeOther)
	if got := r.Header.Get("Location"); got != strings.TrimPrefix(address, "https://pay.test") {
		t.Fatalf("sent on to %q", got)
	}
	r, body = s.get(address)
	wantStatus(t, r, http.StatusOK)
	wantText(t, body, "Paiement effectué")
	posted, err := s.service.Order(t.Context(), o.ID)
	must(t, err)
	if posted.State != payments.StatePosted {
		t.Fatalf("order is %s", posted.State)
	}
	// the same form once more: a reload, or a second click
	r, _ = s.post(address, form)
	wantStatus(t, r, http.StatusSeeOther)
	again, err := s.service.Order(t.Context(), o.ID)
	must(t, err)
	if again.TransactionID != posted.TransactionID || again.ClosedAt != posted.ClosedAt {
		t.Fatal("the second form changed the order")
	}
}

func TestWrongCodeOnThePage(t *testing.T) {
	s := newSite(t)
	o, address := s.order("fr")
	const neutral = "Le paiement n&#39;a pas été confirmé. Vérifiez votre saisie ou contactez-nous."
	answers := map[string]bool{}
	for try := range 7 {
		_, body := s.get(address)
		code := "246801"
		if try == 6 {
			code = "135790" // right, but blocked by then
		}
		r, body := s.post(address, url.Values{"stamp": {stampOf(t, body)}, "code": {code}})
		wantStatus(t, r, http.StatusForbidden)
		wantText(t, body, neutral, `role="alert"`)
		answers[stampPattern.ReplaceAllString(body, "")] = true
	}
	if len(answers) != 1 {
		t.Fatal("the page tells a wrong code from a blocked one")
	}
	if after, err := s.service.Order(t.Context(), o.ID); err != nil || after.State != payments.StateAwaitingConfirmation {
		t.Fatalf("order is %s (%v)", after.State, err)
	}
}

func TestBadForms(t *testing.T) {
	s := newSite(t)
	o, address := s.order("fr")
	_, other := s.order("fr")
	_, body := s.get(address)
	stamp := stampOf(t, body)
	_, otherBody := s.get(other)
	for name, c := range map[string]struct {
		form   url.Values
		status int
		text   string
	}{
		"no code":                {url.Values{"stamp": {stamp}}, 422, "Le code secret a 6 chiffres."},
		"letters":                {url.Values{"stamp": {stamp}, "code": {"13579O"}}, 422, "Le code secret a 6 chiffres."},
		"full-width digits":      {url.Values{"stamp": {stamp}, "code": {"１３５７９０"}}, 422, "Le code secret a 6 chiffres."},
		"no stamp":               {url.Values{"code": {"135790"}}, 422, "Cette page est restée ouverte trop longtemps."},
		"stamp of another order": {url.Values{"stamp": {stampOf(t, otherBody)}, "code": {"135790"}}, 422, "Cette page est restée ouverte trop longtemps."},
		"tampered stamp":         {url.Values{"stamp": {"B" + stamp[1:]}, "code": {"135790"}}, 422, "Cette page est restée ouverte trop longtemps."}, // a time in the far future
		"too large":              {url.Values{"stamp": {strings.Repeat("A", 10<<10)}, "code": {"135790"}}, 413, "Confirmez votre paiement"},
	} {
		t.Run(name, func(t *testing.T) {
			r, body := s.post(address, c.form)
			wantStatus(t, r, c.status)
			wantText(t, body, c.text)
		})
	}
	s.now = s.now.Add(5*time.Minute + time.Second)
	r, body := s.post(address, url.Values{"stamp": {stamp}, "code": {"135790"}})
	wantStatus(t, r, http.StatusUnprocessableEntity)
	wantText(t, body, "Cette page est restée ouverte trop longtemps.")
	customer, err := s.service.Customer(t.Context(), "c-000001")
	must(t, err)
	if after, err := s.service.Order(t.Context(), o.ID); err != nil || after.State != payments.StateAwaitingConfirmation || customer.SecretFailures != 0 {
		t.Fatalf("bad forms left the order %s with %d tries (%v)", after.State, customer.SecretFailures, err)
	}
	r, _ = s.post(address, url.Values{"stamp": {stampOf(t, body)}, "code": {"135790"}}) // the form shown again is good
	wantStatus(t, r, http.StatusSeeOther)
}

// TestAmountsInTheForm adds to a form what it does not have: what is confirmed is what
// was ordered, and shown.
func TestAmountsInTheForm(t *testing.T) {
	s := newSite(t)
	o, address := s.order("fr")
	other, _ := s.order("fr")
	_, body := s.get(address)
	r, _ := s.post(address, url.Values{"stamp": {stampOf(t, body)}, "code": {"135790"}, "amount": {"0.01"}, "currency": {"XXX"}, "payee": {"700000999"}, "order": {other.ID.String()}})
	wantStatus(t, r, http.StatusSeeOther)
	after, err := s.service.Order(t.Context(), o.ID)
	must(t, err)
	if after.State != payments.StatePosted || after.Amount != o.Amount || after.PayeeUserID != o.PayeeUserID {
		t.Errorf("posted %+v", after)
	}
	if untouched, err := s.service.Order(t.Context(), other.ID); err != nil || untouched.State != payments.StateAwaitingConfirmation {
		t.Errorf("the other order is %s (%v)", untouched.State, err)
	}
}

func TestFormFromAnotherSite(t *testing.T) {
	s := newSite(t)
	o, address := s.order("fr")
	_, body := s.get(address)
	form := url.Values{"stamp": {stampOf(t, body)}, "code": {"135790"}}
	for _, headers := range [][]string{
		{"Origin", "https://evil.test"},
		{"Origin", "https://evil.test", "Sec-Fetch-Site", "cross-site"},
		{"Origin", "null", "Sec-Fetch-Site", "cross-site"},
	} {
		r, _ := s.post(address, form, headers...)
		wantStatus(t, r, http.StatusForbidden)
	}
	if after, err := s.service.Order(t.Context(), o.ID); err != nil || after.State != payments.StateAwaitingConfirmation {
		t.Fatalf("order is %s (%v)", after.State, err)
	}
}

func TestClosedAndUnknownPages(t *testing.T) {
	s := newSite(t)
	_, expired := s.order("fr")
	cancelledOrder, cancelled := s.order("fr")
	_, err := s.service.Cancel(t.Context(), cancelledOrder.ID, "staff:anne", "asked by telephone")
	must(t, err)
	_, body := s.get(expired)
	stamp := stampOf(t, body)
	s.now = s.now.Add(49 * time.Hour)
	for range 2 { // before the sweeper has come by, and after
		_, body := s.get(expired)
		wantText(t, body, "Demande expirée", "Rien n&#39;a été débité.")
		r, _ := s.post(expired, url.Values{"stamp": {stamp}, "code": {"135790"}})
		wantStatus(t, r, http.StatusSeeOther)
		_, err := s.service.ExpireOrders(t.Context(), 10)
		must(t, err)
	}
	_, body = s.get(cancelled)
	wantText(t, body, "Demande close")
	if strings.Contains(body, "telephone") || strings.Contains(body, "<form") {
		t.Fatal("a closed page tells the reason, or still asks for a code")
	}
	for _, token := range []string{"x", strings.Repeat("A", 43), strings.Repeat("A", 5000)} {
		r, body := s.get("https://pay.test/confirm/" + token)
		wantStatus(t, r, http.StatusNotFound)
		wantText(t, body, "Page introuvable")
		r, _ = s.post("https://pay.test/confirm/"+token, url.Values{"stamp": {stamp}, "code": {"135790"}})
		wantStatus(t, r, http.StatusNotFound)
	}
}
