package card

import (
	"context"
	"errors"
	"net/http"

	"github.com/stripe/stripe-go/v85"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// Cards are entered on Stripe's own page: a Checkout session in setup mode, which makes a
// customer of its own at Stripe for the card, so that it can be charged later. Source:
// Stripe, "Save a customer's payment method when they use it", and "Checkout Sessions".

// OpenCardPage implements payments.CardPages. What is sent does not depend on the time of
// the request, so that the same key gets the same page.
func (c *Client) OpenCardPage(ctx context.Context, r payments.CardPageRequest) (payments.CardPageStatus, error) {
	params := &stripe.CheckoutSessionCreateParams{
		Mode: stripe.String(string(stripe.CheckoutSessionModeSetup)), CustomerCreation: stripe.String("always"),
		PaymentMethodTypes: []*string{stripe.String("card")}, Locale: stripe.String(r.Language),
		SuccessURL: stripe.String(r.ReturnURL), CancelURL: stripe.String(r.ReturnURL), ExpiresAt: stripe.Int64(r.ExpiresAt.Unix()),
	}
	params.IdempotencyKey = stripe.String(r.Key)
	made, err := c.api.V1CheckoutSessions.Create(ctx, params)
	if err != nil {
		return payments.CardPageStatus{}, unavailable(err)
	}
	return pageStatus(made), nil
}

// pageFields are what is asked for beside a session itself.
func pageFields() []*string { return []*string{stripe.String("setup_intent")} }

// LookupCardPage implements payments.CardPages.
func (c *Client) LookupCardPage(ctx context.Context, reference string) (payments.CardPageStatus, error) {
	found, err := c.api.V1CheckoutSessions.Retrieve(ctx, reference, &stripe.CheckoutSessionRetrieveParams{Expand: pageFields()})
	if refused, ok := errors.AsType[*stripe.Error](err); ok && refused.HTTPStatusCode == http.StatusNotFound {
		return payments.CardPageStatus{}, ledger.Errorf(ledger.CodeNotFound, "the card processor knows no such page").InField("reference")
	}
	if err != nil {
		return payments.CardPageStatus{}, unavailable(err)
	}
	return pageStatus(found), nil
}

// CloseCardPage implements payments.CardPages.
func (c *Client) CloseCardPage(ctx context.Context, reference string) (payments.CardPageStatus, error) {
	closed, err := c.api.V1CheckoutSessions.Expire(ctx, reference, &stripe.CheckoutSessionExpireParams{Expand: pageFields()})
	if refused, ok := errors.AsType[*stripe.Error](err); ok && (refused.HTTPStatusCode == http.StatusBadRequest || refused.HTTPStatusCode == http.StatusNotFound) {
		return c.LookupCardPage(ctx, reference) // it has ended in another way
	}
	if err != nil {
		return payments.CardPageStatus{}, unavailable(err)
	}
	return pageStatus(closed), nil
}

// ForgetCard implements payments.CardPages.
func (c *Client) ForgetCard(ctx context.Context, token string) error {
	_, err := c.api.V1PaymentMethods.Detach(ctx, token, &stripe.PaymentMethodDetachParams{})
	if refused, ok := errors.AsType[*stripe.Error](err); ok && (refused.HTTPStatusCode == http.StatusBadRequest || refused.HTTPStatusCode == http.StatusNotFound) {
		return nil // it is attached to nobody, or not there at all
	}
	if err != nil {
		return unavailable(err)
	}
	return nil
}

func pageStatus(s *stripe.CheckoutSession) payments.CardPageStatus {
	status := payments.CardPageStatus{Reference: s.ID, Result: payments.CardPageOpen, URL: s.URL}
	switch s.Status {
	case stripe.CheckoutSessionStatusComplete:
		status.Result = payments.CardPageComplete
		if s.SetupIntent != nil && s.SetupIntent.PaymentMethod != nil {
			status.Token = s.SetupIntent.PaymentMethod.ID
		}
	case stripe.CheckoutSessionStatusExpired:
		status.Result = payments.CardPageOver
	}
	return status
}
