package notify_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tweetledger/adapters/notify"
	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

var (
	gatewaySecret = bytes.Repeat([]byte{7}, notify.MinWebhookSecret)
	noon          = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
)

func atNoon() time.Time { return noon }

func newWebhook(t *testing.T, address string) *notify.Webhook {
	t.Helper()
	w, err := notify.NewWebhook(notify.WebhookOptions{URL: address, Secret: gatewaySecret, Clock: atNoon})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestWebhookSigns checks a delivery as docs/operations.md tells a gateway to.
func TestWebhookSigns(t *testing.T) {
	var body []byte
	var header http.Header
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		header = r.Header
		w.WriteHeader(http.StatusAccepted)
	}))
	defer gateway.Close()
	if err := newWebhook(t, gateway.URL).Notify(t.Context(), notice); err != nil {
		t.Fatal(err)
	}
	h := hmac.New(sha256.New, gatewaySecret)
	h.Write([]byte("1795435200." + string(body)))
	if got, want := header.Get("Tweetledger-Signature"), "t=1795435200,v1="+hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("signature %q, want %q", got, want)
	}
	if got := header.Get("Idempotency-Key"); got != notice.ID {
		t.Errorf("idempotency key %q", got)
	}
	if got := header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content type %q", got)
	}
	var said map[string]string
	if err := json.Unmarshal(body, &said); err != nil {
		t.Fatal(err)
	}
	if len(said) != 4 || said["id"] != notice.ID || said["kind"] != "sms" || said["to"] != notice.Phone || said["text"] != notice.Text {
		t.Errorf("body %s", body)
	}
}

// TestWebhookJudgesAnswers tells what is tried again from what is not, and that no
// error repeats what a gateway wrote.
func TestWebhookJudgesAnswers(t *testing.T) {
	echo := notice.Phone + " " + notice.Text
	for _, c := range []struct {
		name, retryAfter, body string
		status                 int
		want                   *payments.SendError // nil: delivered
		says                   string
	}{
		{name: "ok", status: 200},
		{name: "known already", status: 208, body: echo},
		{name: "bad number", status: 422, body: `{"error":"invalid_number","detail":"` + echo + `"}`, want: &payments.SendError{Permanent: true}, says: "the gateway answered 422 invalid_number"},
		{name: "echo as a code", status: 400, body: `{"error":"33612345678"}`, want: &payments.SendError{Permanent: true}, says: "the gateway answered 400"},
		{name: "bad signature", status: 401, body: echo, want: &payments.SendError{}, says: "the gateway answered 401"},
		{name: "not allowed", status: 403, body: echo, want: &payments.SendError{}, says: "the gateway answered 403"},
		{name: "wrong address", status: 404, body: echo, want: &payments.SendError{}, says: "the gateway answered 404"},
		{name: "moved", status: 308, body: echo, want: &payments.SendError{Permanent: true}, says: "the gateway answered 308"},
		{name: "slow down", status: 429, retryAfter: "90", want: &payments.SendError{RetryAfter: 90 * time.Second}, says: "the gateway answered 429"},
		{name: "slow down, somehow", status: 429, retryAfter: "soon", want: &payments.SendError{}, says: "the gateway answered 429"},
		{name: "timeout", status: 408, want: &payments.SendError{}, says: "the gateway answered 408"},
		{name: "maintenance", status: 503, retryAfter: "Mon, 23 Nov 2026 12:10:00 GMT", want: &payments.SendError{RetryAfter: 10 * time.Minute, InDoubt: true}, says: "the gateway answered 503"},
		{name: "maintenance that is over", status: 503, retryAfter: "Mon, 23 Nov 2026 11:10:00 GMT", want: &payments.SendError{InDoubt: true}, says: "the gateway answered 503"},
		{name: "for ever", status: 503, retryAfter: "9223372036854775807", want: &payments.SendError{RetryAfter: 24 * time.Hour, InDoubt: true}, says: "the gateway answered 503"},
		{name: "negative", status: 503, retryAfter: "-5", want: &payments.SendError{InDoubt: true}, says: "the gateway answered 503"},
		{name: "broken, at length", status: 500, body: strings.Repeat(echo, 10_000), want: &payments.SendError{InDoubt: true}, says: "the gateway answered 500"},
	} {
		t.Run(c.name, func(t *testing.T) {
			gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if c.retryAfter != "" {
					w.Header().Set("Retry-After", c.retryAfter)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			}))
			defer gateway.Close()
			wantSent(t, newWebhook(t, gateway.URL).Notify(t.Context(), notice), c.want, c.says)
		})
	}
}

func wantSent(t *testing.T, err error, want *payments.SendError, says string) {
	t.Helper()
	if want == nil {
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	got, ok := errors.AsType[*payments.SendError](err)
	if !ok || got.Permanent != want.Permanent || got.RetryAfter != want.RetryAfter || got.InDoubt != want.InDoubt {
		t.Fatalf("error %+v, want %+v", got, want)
	}
	if says != "" && err.Error() != says {
		t.Errorf("error says %q, want %q", err, says)
	}
	wantNoSecret(t, err.Error())
}

// wantNoSecret fails where a text has what only the customer may read.
func wantNoSecret(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{notice.Phone, notice.Phone[1:], token, token[:8], "hunter2", hex.EncodeToString(gatewaySecret)} {
		if strings.Contains(text, secret) {
			t.Errorf("it tells %q: %s", secret, text)
		}
	}
}

func TestWebhookThatDoesNotAnswer(t *testing.T) {
	gateway := httptest.NewServer(http.NotFoundHandler())
	address := gateway.URL + "/send?token=" + token
	gateway.Close()
	wantSent(t, newWebhook(t, address).Notify(t.Context(), notice), &payments.SendError{InDoubt: true}, "")

	cancelled, cancel := context.WithCancel(t.Context())
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // without it the server does not see that the client has gone
		cancel()                           // the attempt's time is over while the gateway thinks
		<-r.Context().Done()
	}))
	defer silent.Close()
	wantSent(t, newWebhook(t, silent.URL).Notify(cancelled, notice), &payments.SendError{InDoubt: true}, "")
}

func TestWebhookSettings(t *testing.T) {
	for field, o := range map[string]notify.WebhookOptions{
		"webhook_url":         {URL: "sms.example", Secret: gatewaySecret, Clock: atNoon},
		"webhook_secret_file": {URL: "https://sms.example/n", Secret: gatewaySecret[1:], Clock: atNoon},
		"clock":               {URL: "https://sms.example/n", Secret: gatewaySecret},
	} {
		_, err := notify.NewWebhook(o)
		wantField(t, err, field)
	}
	for _, address := range []string{"", "ftp://sms.example", "http://sms.example/n", "https://user:hunter2@sms.example", "https://\x7f"} {
		_, err := notify.NewWebhook(notify.WebhookOptions{URL: address, Secret: gatewaySecret, Clock: atNoon})
		wantField(t, err, "webhook_url")
		wantNoSecret(t, err.Error())
	}
	for _, address := range []string{"https://sms.example/n", "http://localhost:8080/n", "http://127.0.0.1/", "http://[::1]:9/"} {
		if _, err := notify.NewWebhook(notify.WebhookOptions{URL: address, Secret: gatewaySecret, Clock: atNoon}); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func wantField(t *testing.T, err error, field string) {
	t.Helper()
	e, ok := errors.AsType[*ledger.Error](err)
	if !ok || e.Code != ledger.CodeInvalid || e.Field != field {
		t.Errorf("error %v, want %s to be invalid", err, field)
	}
}

type answers []error

func (a *answers) Notify(context.Context, payments.Notice) error {
	first := (*a)[0]
	*a = (*a)[1:]
	return first
}

func TestMeterCountsAttempts(t *testing.T) {
	registry := prometheus.NewRegistry()
	meter, err := notify.NewMeter(registry)
	if err != nil {
		t.Fatal(err)
	}
	attempts := answers{nil, nil, errFull, &payments.SendError{RetryAfter: time.Second, Err: errFull}, &payments.SendError{Permanent: true, Err: errFull}}
	metered := meter.Of(&attempts, "webhook")
	for range 5 {
		_ = metered.Notify(t.Context(), notice) // what it answers is counted
	}
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "tweetledger_notices_total" {
		t.Fatalf("metrics %v, %v", families, err)
	}
	got := map[string]float64{}
	for _, counter := range families[0].GetMetric() {
		var labels []string
		for _, label := range counter.GetLabel() {
			labels = append(labels, label.GetValue())
		}
		got[strings.Join(labels, " ")] = counter.GetCounter().GetValue()
	}
	if want := map[string]float64{"failed webhook": 1, "later webhook": 1, "refused webhook": 1, "sent webhook": 2}; !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}
