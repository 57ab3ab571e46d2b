package console_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"tweetledger/internal/sqldb"
)

const (
	enrolPage  = "https://pay.test/enrol"
	verifyPage = "https://pay.test/verify"
)

var sentCode = regexp.MustCompile(`code (?:est|is) ([0-9]{6})`)

// code delivers what waits and returns the code that was sent last.
func (s *site) code() string {
	s.t.Helper()
	_, err := s.service.Deliver(s.t.Context(), nil, s, 100)
	must(s.t, err)
	match := sentCode.FindStringSubmatch(s.notices[len(s.notices)-1])
	if match == nil {
		s.t.Fatalf("no code in %q", s.notices[len(s.notices)-1])
	}
	return match[1]
}

// fill posts a page's form with what is entered, and returns the answer.
func (s *site) fill(address string, entered ...string) (*http.Response, string) {
	s.t.Helper()
	_, body := s.get(address)
	form := url.Values{"stamp": {stampOf(s.t, body)}}
	for i := 0; i < len(entered); i += 2 {
		form.Set(entered[i], entered[i+1])
	}
	return s.post(address, form)
}

// goesTo is where a form that was accepted leads.
func (s *site) goesTo(r *http.Response, _ string) string {
	s.t.Helper()
	wantStatus(s.t, r, http.StatusSeeOther)
	to := r.Header.Get("Location")
	if strings.HasPrefix(to, "/") {
		to = "https://pay.test" + to
	}
	return to
}

func (s *site) customers() (n int64) {
	s.t.Helper()
	must(s.t, s.service.Engine().DB().Read(s.t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.QueryRow(ctx, "SELECT COUNT(*) FROM customers", nil, &n)
	}))
	return n
}

func TestOpenAnAccount(t *testing.T) {
	s := newSite(t)
	r, body := s.get(enrolPage)
	wantStatus(t, r, http.StatusOK)
	wantText(t, body, "Ouvrez un compte S-money", `name="name"`, `name="phone"`, `type="tel"`, `name="named"`)
	if strings.Contains(body, "<script") || !strings.Contains(r.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("the page is not as bare as it should be")
	}
	address := s.goesTo(s.fill(enrolPage, "name", "Chloé <Bernard>", "phone", "06 12 34 56 90", "named", "1"))
	if !strings.HasPrefix(address, enrolPage+"/") {
		t.Fatalf("sent to %s", address)
	}
	_, body = s.get(address)
	wantText(t, body, "•••• 90", `autocomplete="one-time-code"`, `value="resend"`)
	r, body = s.fill(address, "do", "code", "code", "000000")
	wantStatus(t, r, http.StatusForbidden)
	wantText(t, body, "Le code n&#39;a pas été accepté")
	first := s.code()
	s.goesTo(s.fill(address, "do", "resend"))
	code := s.code()
	if code == first {
		t.Error("the same code was sent again")
	}
	s.goesTo(s.fill(address, "do", "code", "code", code))
	_, body = s.get(address)
	wantText(t, body, "Choisissez votre code secret", `autocomplete="new-password"`)
	r, body = s.fill(address, "do", "secret", "code", "864209", "repeat", "864208")
	wantStatus(t, r, http.StatusUnprocessableEntity)
	wantText(t, body, "ne sont pas les mêmes")
	if strings.Contains(body, "864209") {
		t.Error("the page shows a secret code")
	}
	for weak, why := range map[string]string{"111111": "répètent", "123456": "se suivent", "456789": "se suivent", "147258": "beaucoup de gens", "345690": "numéro de téléphone"} {
		r, body = s.fill(address, "do", "secret", "code", weak, "repeat", weak)
		wantStatus(t, r, http.StatusUnprocessableEntity)
		wantText(t, body, "facile à deviner", why)
	}
	s.goesTo(s.fill(address, "do", "secret", "code", "864209", "repeat", "864209"))
	_, body = s.get(address)
	wantText(t, body, "Bienvenue", "c-000002", "Relier mon compte Twitter")
	c, err := s.service.Customer(t.Context(), "c-000002")
	must(t, err)
	if c.Name != "Chloé <Bernard>" || c.Phone != "+33612345690" || !c.Named || !c.HasSecret {
		t.Errorf("the customer is %+v", c)
	}
	link := s.goesTo(s.fill(address, "do", "link"))
	if !strings.HasPrefix(link, "https://pay.test/link/") {
		t.Fatalf("sent to %s", link)
	}
	r, _ = s.fill(link, "code", "864209")
	wantStatus(t, r, http.StatusSeeOther)
	s.now = s.now.Add(24 * time.Hour)
	r, _ = s.get(address)
	wantStatus(t, r, http.StatusNotFound)
}

// TestPagesDoNotTellCustomers: what is answered for a customer's number is what is
// answered for another, to the letter.
func TestPagesDoNotTellCustomers(t *testing.T) {
	s := newSite(t)
	hidden := regexp.MustCompile(`(name="stamp" value=")[^"]*`)
	secret := regexp.MustCompile(`/[0-9A-Za-z_-]{43}$`)
	story := func(phone string) string {
		var told strings.Builder
		tell := func(r *http.Response, body string) string {
			location := r.Header.Get("Location")
			header := r.Header.Clone()
			header.Del("Location")
			_ = header.Write(&told)
			told.WriteString(r.Status + secret.ReplaceAllString(location, "/…") + hidden.ReplaceAllString(body, "$1…") + "\n")
			if strings.HasPrefix(location, "/") {
				location = "https://pay.test" + location
			}
			return location
		}
		address := tell(s.fill(enrolPage, "name", "Somebody", "phone", phone))
		for range 6 {
			tell(s.fill(address, "do", "code", "code", "000000"))
		}
		for _, do := range []string{"secret", "card", "link", "resend", "resend", "resend", "resend", "resend"} {
			tell(s.fill(address, "do", do, "code", "864209", "repeat", "864209"))
		}
		tell(s.get(address))
		s.now = s.now.Add(time.Hour)
		proof := tell(s.fill(verifyPage, "phone", phone))
		for range 6 {
			tell(s.fill(proof, "do", "code", "code", "000000"))
		}
		tell(s.get(proof))
		for range 5 {
			tell(s.fill(verifyPage, "phone", phone))
		}
		s.now = s.now.Add(-time.Hour)
		return told.String()
	}
	known, unknown := story("+33612345678"), story("+33612345778")
	if known != strings.ReplaceAll(unknown, "612345778", "612345678") {
		t.Errorf("a customer's number is answered\n%s\nand another one\n%s", known, unknown)
	}
	if n := s.customers(); n != 1 {
		t.Errorf("there are %d customers", n)
	}
}

func TestBadFormsOfEnrolments(t *testing.T) {
	s := newSite(t)
	_, body := s.get(enrolPage)
	stamp := stampOf(t, body)
	good := url.Values{"stamp": {stamp}, "name": {"Chloé"}, "phone": {"0612345690"}}
	with := func(name, value string) url.Values {
		form := url.Values{}
		for k, v := range good {
			form[k] = v
		}
		form.Set(name, value)
		return form
	}
	for what, c := range map[string]struct {
		form   url.Values
		status int
		says   string
	}{
		"no name":          {with("name", ""), http.StatusUnprocessableEntity, "Entrez votre nom"},
		"right to left":    {with("name", "Chloé \u202edranreB"), http.StatusUnprocessableEntity, "Entrez votre nom"},
		"control":          {with("name", "Chlo\x07é"), http.StatusUnprocessableEntity, "Entrez votre nom"},
		"10 MB":            {with("name", strings.Repeat("x", 10<<20)), http.StatusRequestEntityTooLarge, "n&#39;a pas pu être lu"},
		"a landline":       {with("phone", "0142345678"), http.StatusUnprocessableEntity, "mobile français"},
		"script":           {with("phone", `"><script>`), http.StatusUnprocessableEntity, "mobile français"},
		"no stamp":         {with("stamp", ""), http.StatusUnprocessableEntity, "trop longtemps"},
		"a stamp of ours":  {with("stamp", stamp[:len(stamp)-4]+"AAAA"), http.StatusUnprocessableEntity, "trop longtemps"},
		"what cannot be a": {url.Values{"%": {"%"}}, http.StatusUnprocessableEntity, "Entrez votre nom"},
	} {
		r, body := s.post(enrolPage, c.form)
		if r.StatusCode != c.status || !strings.Contains(body, c.says) || strings.Contains(body, "<script") || len(body) > 20<<10 {
			t.Errorf("%s: %d, %.2000s", what, r.StatusCode, body)
		}
	}
	foreign, _ := s.post(enrolPage, good, "Origin", "https://evil.test")
	wantStatus(t, foreign, http.StatusForbidden)
	for _, address := range []string{enrolPage + "/nothing", verifyPage + "/" + strings.Repeat("A", 43)} {
		r, body := s.get(address)
		wantStatus(t, r, http.StatusNotFound)
		wantText(t, body, "Recommencez depuis le début")
	}
	address := s.goesTo(s.fill(enrolPage, "name", "Chloé", "phone", "0612345690"))
	r, _ := s.fill(address, "do", "everything")
	wantStatus(t, r, http.StatusUnprocessableEntity)
	r, body = s.fill(address, "do", "code", "code", "12345")
	wantStatus(t, r, http.StatusUnprocessableEntity)
	wantText(t, body, "Le code a 6 chiffres")
	_, body = s.get(address)
	stale := url.Values{"stamp": {stampOf(t, body)}, "do": {"code"}, "code": {s.code()}}
	s.now = s.now.Add(5*time.Minute + time.Second)
	r, _ = s.post(address, stale)
	wantStatus(t, r, http.StatusUnprocessableEntity)
	if n := s.customers(); n != 1 {
		t.Errorf("there are %d customers", n)
	}
}

func TestProveTheNumberOnThePage(t *testing.T) {
	s := newSite(t)
	_, order := s.order("fr")
	for range 5 {
		s.fill(order, "code", "246801")
	}
	r, _ := s.fill(order, "code", "135790")
	wantStatus(t, r, http.StatusForbidden)
	address := s.goesTo(s.fill(verifyPage, "phone", "06.12.34.56.78"))
	_, body := s.get(address)
	wantText(t, body, "•••• 78")
	s.goesTo(s.fill(address, "code", s.code()))
	_, body = s.get(address)
	wantText(t, body, "Numéro prouvé")
	r, _ = s.fill(order, "code", "135790")
	wantStatus(t, r, http.StatusSeeOther)
}

func TestEnrolmentPagesSpeakEnglish(t *testing.T) {
	s := newSite(t)
	for address, want := range map[string]string{enrolPage: "Open a S-money account", verifyPage: "Prove your number", enrolPage + "/x": "Address not good"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		r.Header.Set("Accept-Language", "en-GB,fr;q=0.5")
		if _, body := s.do(r); !strings.Contains(body, `lang="en"`) || !strings.Contains(body, want) {
			t.Errorf("%s says\n%s", address, body)
		}
	}
}
