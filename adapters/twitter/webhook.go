package twitter

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

const (
	// maxWebhookBytes bounds a delivery: one event with the accounts of two people.
	maxWebhookBytes = 1 << 20
	// maxDeliveries bounds the deliveries under way at once, and so what their bodies take
	// in memory: 64 MiB, where anybody may send one. X sends again what is turned away,
	// and the mentions bring it, too.
	maxDeliveries = 64
	// deliveryRetry is what who is turned away is asked to wait, in seconds: a few
	// deliveries are stored in less.
	deliveryRetry = "1"
	// maxWebhookEvents bounds the events of a delivery; X sends one, or a few.
	maxWebhookEvents = 100
	// webhookTimeout bounds the storing of a delivery: X waits for 10 s and then sends
	// it again.
	webhookTimeout = 8 * time.Second
	// maxCRCToken bounds the token of a challenge-response check.
	maxCRCToken = 1 << 10
	// replayWindow is how old an event may be. Nothing that X signs says when it sent
	// it, so what counts is when it happened: X itself delivers again what is at most a
	// day old (webhook replay). Within the window the inbox drops what is repeated.
	replayWindow = 25 * time.Hour
	// futureWindow is by how much X's clock may be ahead of ours.
	futureWindow = 5 * time.Minute
)

// The headers that sign the raw body of a delivery. Source: X, webhooks.
const (
	signatureHeader      = "X-Twitter-Webhooks-Signature"        // with the consumer secret
	signatureOAuthHeader = "X-Twitter-Webhooks-Signature-OAuth2" // with the client secret
	signaturePrefix      = "sha256="
)

// WebhookOptions are what a Webhook needs from outside. At least one secret must be
// there; Store and Delete must, too.
type WebhookOptions struct {
	ConsumerSecret string // the app's API secret key (OAuth 1.0a)
	ClientSecret   string // the app's OAuth 2.0 client secret; X signs with it where the app has one
	BankUserID     string // numeric; what the bank's account itself wrote is left out
	// Store keeps a message; the delivery is answered once it has returned nil. It
	// must be quick: whoever works on the message does so later.
	Store  Handler
	Delete func(ctx context.Context, d payments.Deletion) error
}

// Webhook receives what X delivers to a registered address: the filtered stream's
// posts, X Activity and Account Activity events (mentions, direct messages, deletions).
// It answers challenge-response checks, believes only what X has signed, and answers
// 200 once everything in a delivery is stored, or X will never deliver it again; where
// storing fails, or too many come at once, it answers 503, and X does. It is an
// http.Handler.
type Webhook struct {
	client *Client
	opts   WebhookOptions
	slots  chan struct{} // holds a value for each delivery under way
}

// NewWebhook returns a Webhook, or an Error with CodeInvalid where the options cannot
// work. It shares clock, log and metrics with the client.
func NewWebhook(c *Client, opts WebhookOptions) (*Webhook, error) {
	switch {
	case opts.ConsumerSecret == "" && opts.ClientSecret == "":
		return nil, ledger.Errorf(ledger.CodeInvalid, "a webhook needs the app's consumer secret or client secret, by which X signs").InField("webhook_secret")
	case !validID(opts.BankUserID):
		return nil, ledger.Errorf(ledger.CodeInvalid, "%q is not a numeric user id; look up the id of the bank's account", clip(opts.BankUserID)).InField("bank_user_id")
	case opts.Store == nil || opts.Delete == nil:
		return nil, ledger.Errorf(ledger.CodeInvalid, "a webhook needs somewhere to store what it receives")
	}
	return &Webhook{client: c, opts: opts, slots: make(chan struct{}, maxDeliveries)}, nil
}

// ServeHTTP implements http.Handler.
func (h *Webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var status int
	var result string
	switch r.Method {
	case http.MethodGet:
		status, result = h.challenge(w, r)
	case http.MethodPost:
		status, result = h.delivery(w, r)
	default:
		w.Header().Set("Allow", "GET, POST")
		status, result = http.StatusMethodNotAllowed, "method"
	}
	h.client.metrics.webhooks.WithLabelValues(result).Inc()
	if status != http.StatusOK {
		http.Error(w, http.StatusText(status), status)
	} else if result != "challenge" {
		w.WriteHeader(http.StatusOK)
	}
}

// challenge answers a challenge-response check, by which X sees that the address is ours.
// Anybody may ask, and the answer is the signature of a delivery with the token as its
// body: what could be one is not signed.
func (h *Webhook) challenge(w http.ResponseWriter, r *http.Request) (int, string) {
	token := r.URL.Query().Get("crc_token")
	if token == "" || len(token) > maxCRCToken || strings.ContainsFunc(token, notInCRCToken) {
		return http.StatusBadRequest, "bad_challenge"
	}
	secret := h.opts.ClientSecret
	if secret == "" {
		secret = h.opts.ConsumerSecret
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"response_token": sign(secret, []byte(token))}) // whoever hung up misses the answer
	return http.StatusOK, "challenge"
}

// notInCRCToken reports whether r cannot stand in X's tokens, which are UUIDs or Base64.
// A delivery is a JSON object and has braces and quotes.
func notInCRCToken(r rune) bool {
	letter := (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z')
	return !letter && (r < '0' || r > '9') && !strings.ContainsRune("+/=_-.~", r)
}

// sign returns the signature that X and we give a text.
func sign(secret string, text []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(text)
	return signaturePrefix + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// signed reports whether X has signed the body. Comparing takes the same time whatever
// the difference.
func (h *Webhook) signed(header http.Header, body []byte) bool {
	for _, way := range []struct{ header, secret string }{
		{signatureOAuthHeader, h.opts.ClientSecret}, {signatureHeader, h.opts.ConsumerSecret},
	} {
		given := header.Get(way.header)
		if given != "" && way.secret != "" {
			return hmac.Equal([]byte(given), []byte(sign(way.secret, body)))
		}
	}
	return false
}

// delivery takes one delivery, where there is room for it: its body is not read before.
func (h *Webhook) delivery(w http.ResponseWriter, r *http.Request) (int, string) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		w.Header().Set("Retry-After", deliveryRetry)
		return http.StatusServiceUnavailable, "busy"
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxWebhookBytes))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return http.StatusRequestEntityTooLarge, "too_large"
		}
		return http.StatusBadRequest, "unreadable"
	}
	if !h.signed(r.Header, body) {
		h.client.opts.Log.WarnContext(r.Context(), "a delivery to the webhook is not signed by X", "from", r.RemoteAddr, "bytes", len(body))
		return http.StatusForbidden, "bad_signature"
	}
	events, err := h.decode(r.Context(), body)
	if err != nil { // X would send the same again: there is nothing to wait for
		h.client.unreadable(r.Context(), ViaWebhook, body, err)
		return http.StatusOK, "unreadable"
	}
	ctx, cancel := context.WithTimeout(r.Context(), webhookTimeout)
	defer cancel()
	result := "ignored"
	for _, e := range events {
		switch stored, err := h.store(ctx, e); {
		case err != nil:
			h.client.opts.Log.ErrorContext(ctx, "a delivery to the webhook was not stored; X delivers it again", "id", e.id(), "error", err)
			return http.StatusServiceUnavailable, "not_stored"
		case stored:
			result = "stored"
		case result == "ignored":
			result = "stale"
		}
	}
	return http.StatusOK, result
}

// store keeps what one event says; false where that is too old, or refused for good.
func (h *Webhook) store(ctx context.Context, e webhookEvent) (bool, error) {
	log, now := h.client.opts.Log, h.client.opts.Clock()
	if at := e.at(); !at.IsZero() && (at.Before(now.Add(-replayWindow)) || at.After(now.Add(futureWindow))) {
		log.WarnContext(ctx, "a delivery to the webhook is out of the replay window and was left out", "id", e.id(), "at", at)
		return false, nil
	}
	var err error
	if e.deletion != nil {
		err = h.opts.Delete(ctx, *e.deletion)
	} else {
		err = h.storeMessage(ctx, *e.message)
	}
	if ledger.CodeOf(err) == ledger.CodeInvalid {
		h.client.metrics.unread.WithLabelValues(ViaWebhook).Inc()
		log.LogAttrs(ctx, slog.LevelWarn, "a message was refused", slog.String("via", ViaWebhook), slog.String("id", e.id()), slog.Any("error", err))
		return false, nil
	}
	if err == nil {
		h.client.metrics.messages.WithLabelValues(ViaWebhook).Inc()
	}
	return err == nil, err
}

func (h *Webhook) storeMessage(ctx context.Context, m payments.Message) error {
	resource := resourcePost
	if m.Kind == payments.Direct {
		resource = resourceDirect
	}
	h.client.noteRead(resource, ViaWebhook, m.ID, m.CreatedAt)
	if m.Kind == payments.Direct {
		if err := h.client.resolve(ctx, &m); err != nil {
			return err
		}
	}
	return h.opts.Store(ctx, m)
}

// webhookEvent is one thing that a delivery tells: a message or a deletion.
type webhookEvent struct {
	message  *payments.Message
	deletion *payments.Deletion
}

func (e webhookEvent) id() string {
	if e.deletion != nil {
		return e.deletion.ID
	}
	return e.message.ID
}

// at is when it happened; zero where X does not say.
func (e webhookEvent) at() time.Time {
	if e.deletion != nil {
		return e.deletion.At
	}
	return e.message.CreatedAt
}
