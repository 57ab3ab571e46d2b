package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// Bounds of one delivery to a gateway.
const (
	// webhookTimeout is shorter than an attempt of the outbox may take, so that the
	// gateway's silence has an error of its own.
	webhookTimeout = 15 * time.Second
	// maxAnswer bounds what is read of an answer: an error code, and the rest of a
	// small body so that the connection can be used again.
	maxAnswer = 4 << 10
	// MinWebhookSecret is the shortest secret in bytes: as much as HMAC-SHA256 uses.
	MinWebhookSecret = 32
)

// The headers of a delivery. docs/operations.md, "Attach an SMS provider", is what
// writers of a gateway read.
const (
	signatureHeader   = "Tweetledger-Signature" // t=<seconds since 1970>,v1=<hex of HMAC-SHA256>
	idempotencyHeader = "Idempotency-Key"
)

// WebhookOptions say where a gateway is. All but Transport must be set.
type WebhookOptions struct {
	URL       string // https, or http on this machine
	Secret    []byte // at least MinWebhookSecret bytes, which the gateway knows too
	Clock     func() time.Time
	Transport http.RoundTripper // http.DefaultTransport where nil
}

// Webhook is a payments.Notifier that posts each notice to a gateway, signed.
type Webhook struct {
	url    string
	secret []byte
	now    func() time.Time
	client *http.Client
}

// NewWebhook returns a Webhook. The error is an Error with CodeInvalid that names
// what is wrong.
func NewWebhook(o WebhookOptions) (*Webhook, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http"):
		return nil, ledger.Errorf(ledger.CodeInvalid, "this is not the address of a gateway; write it like https://sms.example/notices").InField("webhook_url")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, ledger.Errorf(ledger.CodeInvalid, "notices to %s would go over the network unencrypted; write https://", u.Host).InField("webhook_url")
	case len(o.Secret) < MinWebhookSecret:
		return nil, ledger.Errorf(ledger.CodeInvalid, "the secret that signs notices has %d bytes and needs %d", len(o.Secret), MinWebhookSecret).InField("webhook_secret_file")
	case o.Clock == nil:
		return nil, ledger.Errorf(ledger.CodeInvalid, "a gateway needs a clock: signatures carry the time").InField("clock")
	}
	return &Webhook{url: o.URL, secret: slices.Clone(o.Secret), now: o.Clock, client: &http.Client{
		Transport: o.Transport, Timeout: webhookTimeout,
		// Whoever is redirected to has not been named, and would get the notice.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// isLoopback reports whether a host is this machine.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// delivery is the body of a post.
type delivery struct {
	ID   string `json:"id"`
	Kind string `json:"kind"` // what to make of it: kindSMS
	To   string `json:"to"`   // E.164
	Text string `json:"text"`
}

const kindSMS = "sms"

// Notify implements payments.Notifier. 2xx is delivered. 401, 403, 404, 408, 425, 429
// and 5xx are tried again, after Retry-After where the gateway says so: the first three
// say that our secret or address is wrong, and no notice is given up for that. Any other
// answer is permanent. An error that is a *payments.SendError never holds what the gateway
// wrote, but for an error code.
func (w *Webhook) Notify(ctx context.Context, n payments.Notice) error {
	body, err := json.Marshal(delivery{ID: n.ID, Kind: kindSMS, To: n.Phone, Text: n.Text})
	if err != nil {
		return &payments.SendError{Permanent: true, Err: fmt.Errorf("write notice %s: %w", n.ID, err)}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return &payments.SendError{Permanent: true, Err: fmt.Errorf("notice %s: %w", n.ID, withoutURL(err))}
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "tweetledger")
	request.Header.Set(idempotencyHeader, n.ID)
	request.Header.Set(signatureHeader, w.sign(body))
	response, err := w.client.Do(request)
	if err != nil {
		// It may have arrived; the gateway knows it by its id.
		return &payments.SendError{InDoubt: true, Err: fmt.Errorf("the gateway did not answer: %w", withoutURL(err))}
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer)) // the status says it all
	if response.StatusCode >= 200 && response.StatusCode < 300 {
		return nil
	}
	return w.refused(response, answer)
}

// sign returns the signature of a body: of the time too, so that who overhears a
// delivery cannot send it again tomorrow.
func (w *Webhook) sign(body []byte) string {
	at := strconv.FormatInt(w.now().Unix(), 10)
	h := hmac.New(sha256.New, w.secret)
	h.Write([]byte(at + "."))
	h.Write(body)
	return "t=" + at + ",v1=" + hex.EncodeToString(h.Sum(nil))
}

// withoutURL drops the address from an error of net/http: some gateways have their
// token in it.
func withoutURL(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err
	}
	return err
}

// errorCode is what an answer may say of itself: {"error":"invalid_number"}. Digits
// are left out, since a telephone number is made of them.
var errorCode = regexp.MustCompile(`^[a-z_]{1,40}$`)

// refused makes an error of an answer that is not 2xx.
func (w *Webhook) refused(response *http.Response, answer []byte) error {
	var said struct {
		Error string `json:"error"`
	}
	text := fmt.Sprintf("the gateway answered %d", response.StatusCode)
	if json.Unmarshal(answer, &said) == nil && errorCode.MatchString(said.Error) {
		text += " " + said.Error
	}
	transient := response.StatusCode >= 500
	switch response.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		transient = true
	}
	if !transient {
		return &payments.SendError{Permanent: true, Err: errors.New(text)}
	}
	return &payments.SendError{RetryAfter: w.retryAfter(response.Header.Get("Retry-After")),
		InDoubt: response.StatusCode >= 500, Err: errors.New(text)}
}

// longestRetryAfter keeps an absurd number of seconds from overflowing; the outbox
// has a bound of its own for what a channel may ask.
const longestRetryAfter = 24 * time.Hour

// retryAfter reads the header of that name: seconds, or a date (RFC 9110, 10.2.3).
// What is neither, or is over, is 0.
func (w *Webhook) retryAfter(text string) time.Duration {
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Duration(min(max(seconds, 0), int64(longestRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(w.now()), 0), longestRetryAfter)
}
