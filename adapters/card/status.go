package card

import (
	"context"
	"strings"

	"github.com/stripe/stripe-go/v85"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// status says how a payment stands, with its refunds and disputes. Those are asked for
// only where there are any.
func (c *Client) status(ctx context.Context, p *stripe.PaymentIntent) (payments.CardStatus, error) {
	s := payments.CardStatus{Reference: p.ID, Amount: ledger.Amount(p.Amount), Currency: ledger.Currency(strings.ToUpper(string(p.Currency)))}
	switch p.Status {
	case stripe.PaymentIntentStatusSucceeded:
		s.Result, s.Amount = payments.CardSucceeded, ledger.Amount(p.AmountReceived)
	case stripe.PaymentIntentStatusCanceled:
		s.Result = payments.CardCancelled
	case stripe.PaymentIntentStatusRequiresAction:
		s.Result = payments.CardChallenge
		if p.NextAction != nil && p.NextAction.RedirectToURL != nil {
			s.ChallengeURL = p.NextAction.RedirectToURL.URL
		}
	case stripe.PaymentIntentStatusRequiresPaymentMethod:
		s.Result, s.Reason = payments.CardDeclined, payments.DeclineOther
		if p.LastPaymentError != nil {
			s.Reason = declineReason(p.LastPaymentError)
		}
	default:
		s.Result = payments.CardPending
	}
	if p.LatestCharge == nil || s.Result != payments.CardSucceeded {
		return s, nil
	}
	if err := c.refunds(ctx, p, &s); err != nil {
		return payments.CardStatus{}, err
	}
	if p.LatestCharge.Disputed {
		if err := c.disputes(ctx, p, &s); err != nil {
			return payments.CardStatus{}, err
		}
	}
	return s, nil
}

// refunds reads the newest refund. Only one of the whole charge is done.
func (c *Client) refunds(ctx context.Context, p *stripe.PaymentIntent, s *payments.CardStatus) error {
	params := &stripe.RefundListParams{PaymentIntent: stripe.String(p.ID)}
	params.Limit = stripe.Int64(1) // the newest comes first
	for refund, err := range c.api.V1Refunds.List(ctx, params).All(ctx) {
		if err != nil {
			return unavailable(err)
		}
		s.RefundReference = refund.ID
		switch refund.Status {
		case stripe.RefundStatusFailed, stripe.RefundStatusCanceled:
			s.Refund = payments.RefundFailed
		case stripe.RefundStatusSucceeded:
			if p.LatestCharge.Refunded {
				s.Refund = payments.RefundDone
			}
		default:
			s.Refund = payments.RefundPending
		}
		return nil
	}
	return nil
}

// disputes reads the disputes that have moved money: inquiries have not.
func (c *Client) disputes(ctx context.Context, p *stripe.PaymentIntent, s *payments.CardStatus) error {
	params := &stripe.DisputeListParams{PaymentIntent: stripe.String(p.ID)}
	params.Limit = stripe.Int64(mostDisputes)
	for dispute, err := range c.api.V1Disputes.List(ctx, params).All(ctx) {
		if err != nil {
			return unavailable(err)
		}
		if len(s.Disputes) == mostDisputes {
			return nil
		}
		d := payments.CardDispute{Reference: dispute.ID, Amount: ledger.Amount(dispute.Amount)}
		switch dispute.Status {
		case stripe.DisputeStatusNeedsResponse, stripe.DisputeStatusUnderReview:
			d.State = payments.DisputeOpen
		case stripe.DisputeStatusWon:
			d.State = payments.DisputeWon
		case stripe.DisputeStatusLost:
			d.State = payments.DisputeLost
		default:
			continue
		}
		s.Disputes = append(s.Disputes, d)
	}
	return nil
}

// declineReason tells the reasons apart that make a difference to us. Source: Stripe,
// "Decline codes".
func declineReason(e *stripe.Error) payments.DeclineReason {
	switch e.Code {
	case stripe.ErrorCodeExpiredCard:
		return payments.DeclineExpired
	case stripe.ErrorCodeAuthenticationRequired, stripe.ErrorCodePaymentIntentAuthenticationFailure:
		return payments.DeclineAuthentication
	case stripe.ErrorCodeIncorrectCVC, stripe.ErrorCodeInvalidCVC, stripe.ErrorCodeIncorrectNumber:
		return payments.DeclineDetails
	case stripe.ErrorCodeProcessingError:
		return payments.DeclineProcessing
	}
	switch e.DeclineCode {
	case stripe.DeclineCodeInsufficientFunds:
		return payments.DeclineFunds
	case stripe.DeclineCodeLostCard, stripe.DeclineCodeStolenCard, stripe.DeclineCodePickupCard:
		return payments.DeclineStolen
	case stripe.DeclineCodeCardVelocityExceeded, stripe.DeclineCodeWithdrawalCountLimitExceeded:
		return payments.DeclineLimit
	case stripe.DeclineCodeAuthenticationRequired:
		return payments.DeclineAuthentication
	case stripe.DeclineCodeExpiredCard:
		return payments.DeclineExpired
	}
	return payments.DeclineOther
}
