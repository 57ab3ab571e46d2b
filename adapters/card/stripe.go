package card

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v85"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

const (
	// maxAnswer is how long a request may take, whatever its caller allows.
	maxAnswer = 20 * time.Second
	// mostListed bounds the payments that are read to find one of which only our key
	// is known: those of one customer when it was asked for, or of all of them.
	mostListed = 1000
	// listPage is the most that Stripe lists at once. Source: Stripe API, pagination.
	listPage = 100
	// clockSkew is how far Stripe's clock may be behind ours.
	clockSkew = 5 * time.Minute
	// arrival is how long after a charge was written down Stripe may still get it: the
	// request is made at once, once, and takes maxAnswer at most. What was paid later need
	// not be read to find it, however long ago that was.
	arrival = time.Minute
	// mostDisputes bounds the disputes of a payment that are read.
	mostDisputes = 8
)

// metadataKey names our key in the metadata of a payment at Stripe.
const metadataKey = "charge"

// Options are what a Client needs from outside.
type Options struct {
	SecretKey string // of the account, or a restricted one
	BaseURL   string // empty: https://api.stripe.com
}

// Client is Stripe as a card processor. It is safe for concurrent use.
type Client struct{ api *stripe.Client }

var _ payments.CardProcessor = (*Client)(nil)

// NewClient returns a client, or an Error with CodeInvalid that names what is wrong
// with the options. It never tries a request again by itself: the payment service does,
// and asks first what became of it.
func NewClient(o Options) (*Client, error) {
	if o.SecretKey == "" {
		return nil, ledger.Errorf(ledger.CodeInvalid, "Stripe needs a secret key").InField("secret_key")
	}
	config := &stripe.BackendConfig{HTTPClient: &http.Client{Timeout: maxAnswer, CheckRedirect: noRedirect}, MaxNetworkRetries: stripe.Int64(0),
		EnableTelemetry: stripe.Bool(false), LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull}}
	if o.BaseURL != "" {
		u, err := url.Parse(o.BaseURL)
		if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
			return nil, ledger.Errorf(ledger.CodeInvalid, "%q is not an address; write it like https://api.stripe.com", ledger.Clip(o.BaseURL)).InField("api_url")
		}
		config.URL = stripe.String(strings.TrimSuffix(o.BaseURL, "/"))
	}
	backends := &stripe.Backends{API: stripe.GetBackendWithConfig(stripe.APIBackend, config)}
	return &Client{api: stripe.NewClient(o.SecretKey, stripe.WithBackends(backends))}, nil
}

// noRedirect keeps the secret key from following where an answer leads.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Card implements payments.CardProcessor.
func (c *Client) Card(ctx context.Context, token string) (payments.CardDetails, error) {
	found, err := c.api.V1PaymentMethods.Retrieve(ctx, token, nil)
	if refused, ok := errors.AsType[*stripe.Error](err); ok && refused.HTTPStatusCode == http.StatusNotFound {
		return payments.CardDetails{}, ledger.Errorf(ledger.CodeNotFound, "the card processor knows no such card").InField("token")
	}
	if err != nil {
		return payments.CardDetails{}, unavailable(err)
	}
	if found.Card == nil {
		return payments.CardDetails{}, ledger.Errorf(ledger.CodeInvalid, "what the card processor has under this token is no card but %q", found.Type).InField("token")
	}
	details := payments.CardDetails{Brand: string(found.Card.Brand), LastFour: found.Card.Last4, ExpiryYear: int(found.Card.ExpYear),
		ExpiryMonth: int(found.Card.ExpMonth), Country: found.Card.Country}
	if found.Customer != nil {
		details.Holder = found.Customer.ID
	}
	return details, nil
}

// Charge implements payments.CardProcessor.
func (c *Client) Charge(ctx context.Context, r payments.CardCharge) (payments.CardStatus, error) {
	params := &stripe.PaymentIntentCreateParams{
		Amount: stripe.Int64(int64(r.Amount)), Currency: stripe.String(strings.ToLower(string(r.Currency))), Confirm: stripe.Bool(true),
		PaymentMethod: stripe.String(r.Token), PaymentMethodTypes: []*string{stripe.String("card")},
		Metadata: map[string]string{metadataKey: r.Key}, Expand: []*string{stripe.String("latest_charge")},
	}
	if r.OrderID != "" {
		params.Metadata["order"] = r.OrderID
	}
	if r.Holder != "" {
		params.Customer = stripe.String(r.Holder)
	}
	if r.Present {
		params.ReturnURL = stripe.String(r.ReturnURL)
	} else {
		params.OffSession = stripe.Bool(true)
	}
	params.IdempotencyKey = stripe.String(r.Key)
	made, err := c.api.V1PaymentIntents.Create(ctx, params)
	if err == nil {
		return c.status(ctx, made)
	}
	refused, ok := errors.AsType[*stripe.Error](err)
	switch {
	case !ok:
		return payments.CardStatus{}, unavailable(err)
	case refused.Type == stripe.ErrorTypeCard:
		status := payments.CardStatus{Result: payments.CardDeclined, Reason: declineReason(refused), Amount: r.Amount, Currency: r.Currency}
		if refused.PaymentIntent != nil {
			status.Reference = refused.PaymentIntent.ID
		}
		return status, nil
	case refused.Type == stripe.ErrorTypeInvalidRequest && (refused.HTTPStatusCode == http.StatusBadRequest || refused.HTTPStatusCode == http.StatusNotFound):
		return payments.CardStatus{Result: payments.CardDeclined, Reason: payments.DeclineInvalid}, nil
	}
	return payments.CardStatus{}, unavailable(err)
}

// Lookup implements payments.CardProcessor.
func (c *Client) Lookup(ctx context.Context, r payments.CardCharge) (payments.CardStatus, error) {
	reference := r.Reference
	if reference == "" {
		var err error
		if reference, err = c.find(ctx, r); err != nil {
			return payments.CardStatus{}, err
		}
	}
	found, err := c.api.V1PaymentIntents.Retrieve(ctx, reference, &stripe.PaymentIntentRetrieveParams{Expand: []*string{stripe.String("latest_charge")}})
	if err != nil {
		return payments.CardStatus{}, unavailable(err)
	}
	if found.Metadata[metadataKey] != r.Key {
		return payments.CardStatus{}, fmt.Errorf("the card processor's %s is not the charge %s", reference, r.Key)
	}
	return c.status(ctx, found)
}

// find looks for a payment of which only our key is known.
func (c *Client) find(ctx context.Context, r payments.CardCharge) (string, error) {
	params := &stripe.PaymentIntentListParams{CreatedRange: &stripe.RangeQueryParams{GreaterThanOrEqual: r.CreatedAt.Add(-clockSkew).Unix(),
		LesserThanOrEqual: r.CreatedAt.Add(clockSkew + arrival).Unix()}}
	params.Limit = stripe.Int64(listPage)
	if r.Holder != "" {
		params.Customer = stripe.String(r.Holder)
	}
	read := 0
	for intent, err := range c.api.V1PaymentIntents.List(ctx, params).All(ctx) {
		if err != nil {
			return "", unavailable(err)
		}
		if intent.Metadata[metadataKey] == r.Key {
			return intent.ID, nil
		}
		if read++; read >= mostListed {
			return "", fmt.Errorf("the charge %s is not among the first %d payments at the card processor", r.Key, mostListed)
		}
	}
	return "", ledger.Errorf(ledger.CodeNotFound, "the card processor does not know the charge %s", r.Key)
}

// Cancel implements payments.CardProcessor.
func (c *Client) Cancel(ctx context.Context, r payments.CardCharge) (payments.CardStatus, error) {
	params := &stripe.PaymentIntentCancelParams{CancellationReason: stripe.String("abandoned"), Expand: []*string{stripe.String("latest_charge")}}
	cancelled, err := c.api.V1PaymentIntents.Cancel(ctx, r.Reference, params)
	if refused, ok := errors.AsType[*stripe.Error](err); ok && refused.HTTPStatusCode == http.StatusBadRequest {
		return c.Lookup(ctx, r) // it has ended in another way
	}
	if err != nil {
		return payments.CardStatus{}, unavailable(err)
	}
	return c.status(ctx, cancelled)
}

// Refund implements payments.CardProcessor.
func (c *Client) Refund(ctx context.Context, r payments.CardCharge, refundKey string) (payments.CardStatus, error) {
	params := &stripe.RefundCreateParams{PaymentIntent: stripe.String(r.Reference), Metadata: map[string]string{metadataKey: r.Key}}
	params.IdempotencyKey = stripe.String(refundKey)
	_, err := c.api.V1Refunds.Create(ctx, params)
	if refused, ok := errors.AsType[*stripe.Error](err); ok && refused.Code == stripe.ErrorCodeChargeAlreadyRefunded {
		err = nil
	}
	if err != nil {
		return payments.CardStatus{}, unavailable(err)
	}
	return c.Lookup(ctx, r)
}

// unavailable says that nobody knows what became of a request. The caller's time being
// over is one way to that.
func unavailable(err error) error {
	if refused, ok := errors.AsType[*stripe.Error](err); ok {
		// Not the whole of it: the message may repeat what was sent.
		return ledger.Errorf(ledger.CodeUnavailable, "the card processor answered %d (%s %s, request %s)", refused.HTTPStatusCode, refused.Type, refused.Code, refused.RequestID)
	}
	return ledger.Errorf(ledger.CodeUnavailable, "the card processor does not answer: %w", err)
}
