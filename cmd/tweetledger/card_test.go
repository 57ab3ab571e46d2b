package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"tweetledger/adapters/card"
	"tweetledger/adapters/card/cardsim"
	"tweetledger/ledger"
)

// cardBook is a book with a customer, before a simulated acquirer.
type cardBook struct {
	t         *testing.T
	sim       *cardsim.Server
	variables map[string]string
	now       time.Time
}

func newCardBook(t *testing.T) *cardBook {
	b := &cardBook{t: t, now: firstMinute}
	address := ""
	b.sim = cardsim.New(cardsim.Options{Clock: func() time.Time { return b.now }, SecretKey: "sk_test", Secret: "whsec_test", URL: func() string { return address }})
	server := httptest.NewServer(b.sim)
	t.Cleanup(server.Close)
	address = server.URL
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/"+defaultConfig, []byte("[card]\napi_url = \""+address+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.variables = map[string]string{"TWEETLEDGER_DB": "sqlite:" + dir + "/book.db", "TWEETLEDGER_KEY": testKey, "TWEETLEDGER_ACTOR": "anne",
		"TWEETLEDGER_CONFIG": dir + "/" + defaultConfig, cardKeyVariable: "sk_test", cardWebhookSecretVariable: "whsec_test"}
	b.run(exitOK, "init", "--db", b.variables["TWEETLEDGER_DB"])
	b.run(exitOK, "customer", "add", "--name", "Marie Test", "--phone", "+33612000101")
	return b
}

// run runs a command and returns what it printed.
func (b *cardBook) run(want int, args ...string) string {
	b.t.Helper()
	var out bytes.Buffer
	env := steered(b.now, strings.NewReader(""), &out, &out, func(name string) string { return b.variables[name] })
	if code := run(b.t.Context(), args, env); code != want {
		b.t.Fatalf("%v: exit code %d, not %d: %s", args, code, want, out.String())
	}
	return out.String()
}

// says runs a command and returns what a pattern's group matches in its output.
func (b *cardBook) says(pattern string, args ...string) string {
	b.t.Helper()
	out := b.run(exitOK, args...)
	match := regexp.MustCompile(pattern).FindStringSubmatch(out)
	if match == nil {
		b.t.Fatalf("%v printed %q, which is not like %s", args, out, pattern)
	}
	return match[len(match)-1]
}

func TestCardCommands(t *testing.T) {
	b := newCardBook(t)
	for _, token := range []string{"4242424242424242", "pm_sim_ok_de_1"} {
		if out := b.run(exitFailed, "card", "add", "c-000001", "--token", token); !strings.Contains(out, "--token") || strings.Contains(out, "4242424242424242") {
			t.Errorf("%s: %s", token, out)
		}
	}
	one := b.says(`card (\S+) of c-000001: visa \d{4}, 12/20\d\d`, "card", "add", "c-000001", "--token", "pm_sim_ok_1")
	two := b.says(`card (\S+) of`, "card", "add", "c-000001", "--token", "pm_sim_challenge_1")
	b.says(`(may be charged up to 50\.00 EUR)`, "card", "allow", two, "50.00")
	if list := b.run(exitOK, "card", "list", "c-000001", "--format", "csv"); strings.Count(list, "visa") != 2 || strings.Count(list, "default") != 2 || !strings.Contains(list, "50.00") {
		t.Errorf("the cards are\n%s", list)
	}
	charge := b.says(`charge (\S+) of 20\.00 EUR is posted \(topped_up\)`, "card", "charge", "c-000001", "20.00", "--key", "k1", "--card", one)
	if again := b.says(`charge (\S+) of`, "card", "charge", "c-000001", "20.00", "--key", "k1", "--card", one); again != charge {
		t.Errorf("the same key made %s after %s", again, charge)
	}
	b.says(`(authenticates at http://\S+/challenge/pi_)`, "card", "charge", "c-000001", "5.00", "--key", "k2", "--present")
	number := b.says(`to refund 20\.00 EUR; .* approval approve (\d+)`, "card", "refund", charge, "--reason", "by mistake")
	b.run(exitFailed, "approval", "approve", number)
	b.says(`(state +posted)|State +(posted)`, "card", "show", charge)
	b.says(`(refunded \(refunded\))`, "approval", "approve", number, "--actor", "bruno")
	b.says(`(posted +refunding +bruno +approval 1, proposed by anne: by mistake)`, "card", "show", charge)
	b.run(exitFailed, "card", "refund", charge, "--reason", "once more")
	b.says(`(challenged)`, "card", "charges", "--state", "challenged")
	b.says(`is (removed)`, "card", "remove", one, "--reason", "lost")
	b.run(exitFailed, "card", "charge", "c-000001", "5.00", "--key", "k3", "--card", one)
	b.run(exitFailed, "card", "show", "k1")
	b.says(`(the book verifies)`, "verify")
}

// TestCardWebhookWakes lets "serve" take a delivery, and refuse to start without what
// it needs for them.
func TestCardWebhookWakes(t *testing.T) {
	b := newCardBook(t)
	b.run(exitOK, "card", "add", "c-000001", "--token", "pm_sim_ok_1")
	b.run(exitOK, "card", "charge", "c-000001", "20.00", "--key", "k1")
	env := steered(b.now, strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}, func(name string) string { return b.variables[name] })
	a := &app{environment: env}
	service, s, err := a.openPayments(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.close() })
	woken := make(chan struct{}, 1)
	hook, err := s.cardWebhook(service, woken, card.WebhookOptions{Clock: func() time.Time { return b.now }})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(hook)
	defer server.Close()
	deliveries := b.sim.Take()
	if len(deliveries) == 0 {
		t.Fatal("the acquirer has nothing to tell")
	}
	for _, d := range append(deliveries, deliveries...) {
		if err := b.sim.Post(t.Context(), http.DefaultClient, server.URL, d); err != nil {
			t.Fatal(err)
		}
	}
	if len(woken) != 1 {
		t.Fatal("nobody was woken")
	}
	if n, err := service.SweepCharges(t.Context(), 10); n != 1 || err != nil {
		t.Fatalf("%d charges were looked at (%v), not 1", n, err)
	}
	metrics := newCardMetrics(nil)
	if err := metrics.measure(t.Context(), service.Engine()); err != nil {
		t.Fatal(err)
	}
	for _, missing := range []string{cardKeyVariable, cardWebhookSecretVariable} {
		kept := b.variables[missing]
		delete(b.variables, missing)
		if _, err := s.cardWebhook(service, woken, card.WebhookOptions{}); ledger.CodeOf(err) != ledger.CodeInvalid {
			t.Errorf("without %s: %v", missing, err)
		}
		b.variables[missing] = kept
	}
}
