package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"tweetledger/adapters/notify"
	"tweetledger/internal/console"
)

var (
	codeInText  = regexp.MustCompile(`code (?:est|is) ([0-9]{6})`)
	stampInPage = regexp.MustCompile(`name="stamp" value="([^"]+)"`)
	enrolmentID = regexp.MustCompile(`enrolment ([0-9a-f-]{36}) is`)
	addressLine = regexp.MustCompile(`(?m)^http\S+$`)
)

// TestEnrolOnTheCommandLine: staff begin an enrolment and enter the code that the person
// reads to them; the person chooses the secret code on the page.
func TestEnrolOnTheCommandLine(t *testing.T) {
	t.Parallel()
	b := newXBook(t)
	telephone := notify.NewRecorder(io.Discard)
	code := func() string {
		t.Helper()
		b.clock.add(time.Second)
		if _, err := b.service.Deliver(t.Context(), nil, telephone, 100); err != nil {
			t.Fatal(err)
		}
		notices := telephone.Notices()
		match := codeInText.FindStringSubmatch(notices[len(notices)-1].Text)
		if match == nil {
			t.Fatalf("no code in %q", notices[len(notices)-1].Text)
		}
		return match[1]
	}
	said := b.tell("", "customer", "enrol", "--name", "Chloé Bernard", "--phone", "06 12 34 56 90")
	id, address := enrolmentID.FindStringSubmatch(said)[1], addressLine.FindString(said)
	if !strings.Contains(said, "a code goes to +336••••••90") || address == "" {
		t.Fatalf("enrol says %q", said)
	}
	first := code()
	b.tell("", "customer", "verify-phone", id, "--send")
	newer := code()
	if got := b.refused(first+"\n", "customer", "verify-phone", id); first != newer && !strings.Contains(got, "the code was not accepted") {
		t.Errorf("an old code is answered %q", got)
	}
	b.tell(newer+"\n", "customer", "verify-phone", id)
	if got := b.tell("", "customer", "enrolments", "list", "--state", "phone_verified", "--format", "csv"); !strings.Contains(got, id+",Chloé Bernard,'+336••••••90,phone_verified,one_time_code") {
		t.Errorf("the list is %q", got)
	}

	pages, err := console.New(b.service, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	visit := func(method string, form url.Values) (int, string) {
		r := httptest.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		pages.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	_, body := visit(http.MethodGet, nil)
	stamp := stampInPage.FindStringSubmatch(body)
	if stamp == nil {
		t.Fatalf("the page has no form:\n%s", body)
	}
	if status, body := visit(http.MethodPost, url.Values{"stamp": {stamp[1]}, "do": {"secret"}, "code": {"864209"}, "repeat": {"864209"}}); status != http.StatusSeeOther {
		t.Fatalf("%d: %s", status, body)
	}
	shown := b.tell("", "customer", "enrolments", "show", id)
	for _, want := range []string{"c-000003", "started", "secret_set", "enrolled", "page", "anne"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the enrolment does not show %q:\n%s", want, shown)
		}
	}
	if got := b.tell("", "customer", "enrol", "--name", "Chloé Bernard", "--phone", "+33612345690"); !strings.Contains(got, "is refused (already_customer)") {
		t.Errorf("enrol says %q", got)
	}
	if got := b.refused("", "customer", "add", "--name", "Chloé", "--phone", "+33612345690"); !strings.Contains(got, "--phone: this number is another customer's") {
		t.Errorf("add says %q", got)
	}
	b.tell("", "customer", "verify-phone", "c-000003", "--send")
	b.tell(code()+"\n", "customer", "verify-phone", "c-000003")
	if got := b.tell("", "customer", "show", "c-000003"); !strings.Contains(got, "phone_verified") {
		t.Errorf("show says %q", got)
	}
	other := enrolmentID.FindStringSubmatch(b.tell("", "customer", "enrol", "--name", "Hugo", "--phone", "0612345691"))[1]
	b.tell("", "customer", "enrolments", "refuse", other, "--reason", "a false name")
	if got := b.tell("", "customer", "enrolments", "show", other); !strings.Contains(got, "a false name") {
		t.Errorf("show says %q", got)
	}
	if got := b.refused("", "customer", "enrolments", "show", "nonsense"); !strings.Contains(got, "is not the id of an enrolment") {
		t.Errorf("show says %q", got)
	}
}

// refused runs a command that ends with an error, and returns what it prints.
func (b *xBook) refused(in string, args ...string) string {
	b.t.Helper()
	var out bytes.Buffer
	b.clock.add(time.Minute)
	env := steered(b.clock.Now(), strings.NewReader(in), &out, &out, func(name string) string { return b.variables[name] })
	if code := run(b.t.Context(), args, env); code == exitOK {
		b.t.Fatalf("%s is done: %s", strings.Join(args, " "), out.String())
	}
	return out.String()
}
