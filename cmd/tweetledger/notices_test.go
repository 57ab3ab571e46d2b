package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"tweetledger/adapters/notify"
	"tweetledger/internal/console"
	"tweetledger/internal/metrics"
	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

const gatewaySecret = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

// smsGateway stands in for an SMS provider that repeats in every answer what it was
// sent.
type smsGateway struct {
	t       *testing.T
	answers []int // to the next posts; then 200
	got     []map[string]string
}

// ServeHTTP implements http.Handler.
func (g *smsGateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		g.t.Error(err)
	}
	var notice map[string]string
	if err := json.Unmarshal(body, &notice); err != nil {
		g.t.Error(err)
	}
	g.got = append(g.got, notice)
	status := http.StatusOK
	if len(g.answers) > 0 {
		status, g.answers = g.answers[0], g.answers[1:]
	}
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "600")
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

var confirmLink = regexp.MustCompile(`http://[^/ ]+(/confirm/([0-9A-Za-z_-]{43}))`)

// TestNoticesReachTheCustomerAlone tells a whole story (a gateway that fails, asks for
// patience and refuses; wrong codes, a payment, a dead letter that is sent again), and
// reads everything that the service has logged and printed meanwhile.
func TestNoticesReachTheCustomerAlone(t *testing.T) {
	b := newXBook(t)
	gateway := &smsGateway{t: t, answers: []int{503, 429, 200, 422, 200}}
	provider := httptest.NewServer(gateway)
	defer provider.Close()
	configure(t, b, "[notify]\nsms = \"webhook\"\nwebhook_url = \""+provider.URL+"/send\"\n", map[string]string{notifySecretVariable: gatewaySecret})

	var told bytes.Buffer
	env := steered(b.clock.Now(), strings.NewReader(""), &told, &told, func(name string) string { return b.variables[name] })
	env.now = b.clock.Now
	a := &app{environment: env, registry: metrics.New(), verbose: true}
	service, s, err := a.openPayments(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.app, b.service, b.worker.service, b.worker.settings, b.worker.log = a, service, service, s, slog.New(slog.NewTextHandler(&told, nil))
	t.Cleanup(func() { _ = a.close() })
	if b.worker.notifier, err = a.notifier(s, a.log()); err != nil {
		t.Fatal(err)
	}
	deliver := func(later time.Duration, posts int) {
		t.Helper()
		b.clock.add(later)
		if _, err := b.worker.deliver(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(gateway.got) != posts {
			t.Fatalf("the gateway got %d posts, want %d: %v", len(gateway.got), posts, gateway.got)
		}
	}
	_, first := b.tweet(xMarie, "@SmoneyFR #envoyer 12,99€ @yoann_test")
	deliver(0, 1)              // 503
	deliver(5*time.Second, 1)  // the pause
	deliver(30*time.Second, 2) // 429, come back in ten minutes
	deliver(9*time.Minute, 2)  // not yet
	deliver(2*time.Minute, 3)  // 200
	deliver(24*time.Hour-1, 3) // nothing is sent twice
	if got := gateway.got[2]; got["to"] != "+33612000101" || got["id"] != gateway.got[0]["id"] || got["kind"] != "sms" {
		t.Fatalf("the gateway got %v", got)
	}
	link := confirmLink.FindStringSubmatch(gateway.got[2]["text"])
	if link == nil {
		t.Fatalf("no link in %q", gateway.got[2]["text"])
	}
	pages, err := console.New(service, nil, slog.New(slog.NewTextHandler(&told, nil)))
	if err != nil {
		t.Fatal(err)
	}
	pages.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, link[1], nil))
	page, err := service.Confirmation(t.Context(), link[2])
	if err != nil {
		t.Fatal(err)
	}
	confirm := func(code string) error {
		_, err := service.Confirm(t.Context(), payments.ConfirmRequest{Token: link[2], Stamp: page.Stamp, Code: code, Actor: payments.ActorPage})
		return err
	}
	if err := confirm("274950"); ledger.CodeOf(err) != ledger.CodeForbidden {
		t.Fatalf("a wrong code: %v", err)
	}
	if err := confirm("274951"); err != nil {
		t.Fatal(err)
	}

	_, second := b.tweet(xMarie, "@SmoneyFR #envoyer 7€ @yoann_test")
	deliver(0, 4) // 422
	told.WriteString(b.tell("", "outbox", "list", "--kind", "notice"))
	dead := b.tell("", "outbox", "list", "--kind", "notice", "--status", "dead", "--format", "csv")
	id := regexp.MustCompile(`(?m)^([0-9a-f-]{36}),notice,dead,.*the gateway answered 422`).FindStringSubmatch(dead)
	if id == nil {
		t.Fatalf("no dead letter:\n%s", dead)
	}
	told.WriteString(b.tell("", "outbox", "show", id[1]))
	told.WriteString(b.tell("", "outbox", "resend", id[1]))
	deliver(time.Second, 5)
	if counted := counter(t, a, "tweetledger_notices_total", map[string]string{"sink": "webhook", "outcome": "sent"}); counted != 2 {
		t.Errorf("%v notices are counted as sent", counted)
	}
	if first.Order == nil || second.Order == nil {
		t.Fatalf("orders %+v, %+v", first, second)
	}
	again := confirmLink.FindStringSubmatch(gateway.got[4]["text"])
	text := told.String()
	for _, secret := range []string{link[2], again[2], link[2][:8], "612000101", "12000101", gatewaySecret, "274951", "274950"} {
		if strings.Contains(text, secret) {
			t.Errorf("the service tells %q:\n%s", secret, text)
		}
	}
	if !strings.Contains(text, "the gateway answered 422") || !strings.Contains(text, "payment not confirmed") {
		t.Errorf("the service does not tell what happened:\n%s", text)
	}
}

// configure adds to the configuration of a book, and to its environment.
func configure(t *testing.T, b *xBook, text string, variables map[string]string) {
	t.Helper()
	file, err := os.OpenFile(b.variables["TWEETLEDGER_CONFIG"], os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = file.WriteString(text)
	}
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range variables {
		b.variables[name] = value
	}
}

// TestNotifySettings has "serve" refuse a section that would deliver nothing.
func TestNotifySettings(t *testing.T) {
	notifier := func(s settings) (payments.Notifier, error) {
		env := steered(firstMinute, strings.NewReader(""), io.Discard, io.Discard, s.getenv)
		return (&app{environment: env, registry: metrics.New()}).notifier(s, slog.New(slog.DiscardHandler))
	}
	with := func(n notifySettings, variables map[string]string) settings {
		return settings{Notify: n, folder: t.TempDir(), getenv: func(name string) string { return variables[name] }}
	}
	secret := map[string]string{notifySecretVariable: gatewaySecret, smtpPasswordVariable: "hunter2"}
	mail := notifySettings{SMS: sinkSMTP, SMTPHost: "mail.example", SMTPPort: 587, SMTPTLS: notify.StartTLS, SMTPUsername: "bank", SMTPFrom: "notices@bank.example", SMTPSMSDomain: "sms.example"}
	for _, s := range []settings{
		with(notifySettings{SMS: sinkLog}, nil), with(mail, secret),
		with(notifySettings{SMS: sinkWebhook, WebhookURL: "https://sms.example/send"}, secret),
	} {
		if n, err := notifier(s); err != nil || n == nil {
			t.Errorf("%+v: %v", s.Notify, err)
		}
	}
	broken := mail
	broken.SMTPTLS = notify.NoTLS
	for want, s := range map[string]settings{
		"sms":                 with(notifySettings{SMS: "pigeon"}, secret),
		"webhook_url":         with(notifySettings{SMS: sinkWebhook, WebhookURL: "http://sms.example/send"}, secret),
		"webhook_secret_file": with(notifySettings{SMS: sinkWebhook, WebhookURL: "https://sms.example/send"}, nil),
		"hexadecimal":         with(notifySettings{SMS: sinkWebhook, WebhookURL: "https://sms.example/send"}, map[string]string{notifySecretVariable: "hunter2"}),
		"no such file":        with(notifySettings{SMS: sinkWebhook, WebhookURL: "https://sms.example/send", WebhookSecretFile: "none"}, nil),
		"smtp_tls":            with(broken, secret),
		"smtp_username":       with(mail, nil),
	} {
		_, err := notifier(s)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "[notify]") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
}
