package card

import (
	"context"
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stripe/stripe-go/v85/webhook"

	"tweetledger/ledger"
)

const (
	// maxWebhookBytes bounds a delivery: one object with all that belongs to it.
	maxWebhookBytes = 256 << 10
	// webhookTimeout bounds the noting of a delivery; Stripe waits for longer.
	webhookTimeout = 8 * time.Second
	// replayWindow is how old a signature may be, and how far Stripe's clock may be
	// ahead. Source: Stripe, "Receive webhook events", preventing replay attacks.
	replayWindow = 5 * time.Minute
	// maxSignatures bounds the signatures of a delivery: while a secret is rolled there
	// are two.
	maxSignatures = 5
	// refusalPause is how often a refused delivery becomes an audit event; the metric
	// counts all of them.
	refusalPause = time.Minute
)

// signatureHeader signs time and raw body of a delivery.
const signatureHeader = "Stripe-Signature"

// WebhookOptions are what a Webhook needs from outside.
type WebhookOptions struct {
	Secret string // the endpoint's signing secret
	// Heard notes that there are news of a charge, which is named by our key or by the
	// processor's reference, as is a page on which a card is entered. One that nobody knows is CodeNotFound.
	Heard func(ctx context.Context, key, reference string) error
	// Refused notes that somebody else spoke in the processor's name.
	Refused    func(ctx context.Context, reason string) error
	Clock      func() time.Time
	Log        *slog.Logger          // nil: discarded
	Registerer prometheus.Registerer // nil: nobody watches
}

// Webhook takes what Stripe delivers. Nothing in a delivery is believed but which
// charge it is about: the payment service then asks Stripe itself. So duplicates,
// deliveries out of order, late ones, and amounts in them make no difference. It
// answers 200 once the news are noted, and 503 where that fails: Stripe then delivers
// again. It is an http.Handler.
type Webhook struct {
	opts    WebhookOptions
	results *prometheus.CounterVec

	mu      sync.Mutex
	refused time.Time // when a refusal was last noted
}

// NewWebhook returns a Webhook, or an Error with CodeInvalid where it has no secret.
func NewWebhook(o WebhookOptions) (*Webhook, error) {
	if o.Secret == "" {
		return nil, ledger.Errorf(ledger.CodeInvalid, "a webhook needs the endpoint's signing secret").InField("webhook_secret")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	h := &Webhook{opts: o, results: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tweetledger_card_webhooks_total",
		Help: "Deliveries of the card processor: noted, ignored (about no charge), unknown (about a charge of nobody here), unsigned, stale, unreadable, too_large, failed, method."},
		[]string{"result"})}
	if o.Registerer != nil {
		o.Registerer.MustRegister(h.results)
	}
	return h, nil
}

// ServeHTTP implements http.Handler.
func (h *Webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), webhookTimeout)
	defer cancel()
	status, result := h.take(ctx, w, r)
	h.results.WithLabelValues(result).Inc()
	if status != http.StatusOK {
		if status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", http.MethodPost)
		}
		http.Error(w, http.StatusText(status), status)
	}
}

func (h *Webhook) take(ctx context.Context, w http.ResponseWriter, r *http.Request) (int, string) {
	if r.Method != http.MethodPost {
		return http.StatusMethodNotAllowed, "method"
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxWebhookBytes))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			h.refuse(ctx, "a delivery that is too large")
			return http.StatusRequestEntityTooLarge, "too_large"
		}
		return http.StatusBadRequest, "unreadable"
	}
	at, signed := h.signed(r.Header.Get(signatureHeader), body)
	if !signed {
		h.refuse(ctx, "a delivery without the right signature")
		return http.StatusBadRequest, "unsigned"
	}
	if age := h.opts.Clock().Sub(at); age > replayWindow || age < -replayWindow {
		h.refuse(ctx, "a delivery that was signed at another time")
		return http.StatusBadRequest, "stale"
	}
	key, reference, err := readEvent(body)
	if err != nil {
		h.opts.Log.WarnContext(ctx, "a signed delivery of the card processor cannot be read", "err", err)
		return http.StatusBadRequest, "unreadable"
	}
	if key == "" && reference == "" {
		return http.StatusOK, "ignored"
	}
	err = h.opts.Heard(ctx, key, reference)
	switch {
	case ledger.CodeOf(err) == ledger.CodeNotFound:
		h.opts.Log.WarnContext(ctx, "the card processor speaks of a charge that nobody here made", "reference", ledger.Clip(reference))
		return http.StatusOK, "unknown"
	case err != nil:
		h.opts.Log.ErrorContext(ctx, "news of a charge were not noted", "err", err)
		return http.StatusServiceUnavailable, "failed"
	}
	return http.StatusOK, "noted"
}

// signed reports whether Stripe has signed the body, and when. Comparing takes the same
// time whatever the difference.
func (h *Webhook) signed(header string, body []byte) (time.Time, bool) {
	var at time.Time
	var given [][]byte
	for pair := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		switch name {
		case "t":
			seconds, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return time.Time{}, false
			}
			at = time.Unix(seconds, 0)
		case "v1":
			signature, err := hex.DecodeString(value)
			if err == nil && len(given) < maxSignatures {
				given = append(given, signature)
			}
		}
	}
	want := webhook.ComputeSignature(at, body, h.opts.Secret)
	right := false
	for _, signature := range given {
		right = hmac.Equal(signature, want) || right
	}
	return at, right
}

// refuse notes that somebody else spoke in the processor's name, once in a while.
func (h *Webhook) refuse(ctx context.Context, reason string) {
	now := h.opts.Clock()
	h.mu.Lock()
	again := !h.refused.IsZero() && now.Sub(h.refused) < refusalPause
	if !again {
		h.refused = now
	}
	h.mu.Unlock()
	if again {
		return
	}
	h.opts.Log.WarnContext(ctx, "refused in the card processor's name", "what", reason)
	if err := h.opts.Refused(ctx, reason); err != nil {
		h.opts.Log.ErrorContext(ctx, "a refused delivery was not noted", "err", err)
	}
}

// event is what is read of a delivery.
type event struct {
	Data struct {
		Object struct {
			ID            string            `json:"id"`
			Object        string            `json:"object"`
			PaymentIntent json.RawMessage   `json:"payment_intent"` // its id, or all of it
			Metadata      map[string]string `json:"metadata"`
		} `json:"object"`
	} `json:"data"`
}

// readEvent returns which charge a delivery is about, or which page on which a card is
// entered; nothing where it is about none.
func readEvent(body []byte) (key, reference string, err error) {
	var e event
	if err := json.Unmarshal(body, &e); err != nil {
		return "", "", err
	}
	object := e.Data.Object
	switch object.Object {
	case "checkout.session":
		return "", object.ID, nil
	case "payment_intent":
		return object.Metadata[metadataKey], object.ID, nil
	case "charge", "refund", "dispute":
		var id string
		var whole struct {
			ID string `json:"id"`
		}
		if json.Unmarshal(object.PaymentIntent, &id) == nil {
			return "", id, nil
		}
		if json.Unmarshal(object.PaymentIntent, &whole) == nil {
			return "", whole.ID, nil
		}
	}
	return "", "", nil
}
