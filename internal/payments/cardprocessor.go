package payments

import (
	"context"
	"time"

	"tweetledger/ledger"
)

// CardProcessor charges cards. Whatever it answers, the service believes only what a
// later Lookup says again; so an answer that was lost costs nothing but time. Errors
// mean that nobody knows what happened; a refusal is a result.
type CardProcessor interface {
	CardPages
	// Card returns what the processor knows of a card. An unknown token is
	// CodeNotFound.
	Card(ctx context.Context, token string) (CardDetails, error)
	// Charge takes money from a card, once for each key.
	Charge(ctx context.Context, r CardCharge) (CardStatus, error)
	// Lookup says how a charge stands. One that never arrived is CodeNotFound.
	Lookup(ctx context.Context, r CardCharge) (CardStatus, error)
	// Cancel keeps a charge that waits for its cardholder from ever succeeding, and
	// says how it stands then: it may have succeeded in the meantime.
	Cancel(ctx context.Context, r CardCharge) (CardStatus, error)
	// Refund gives all of a charge back, once for each refund key, and says how it
	// stands then.
	Refund(ctx context.Context, r CardCharge, refundKey string) (CardStatus, error)
}

// CardDetails are what may be known of a card outside the processor: never its number.
type CardDetails struct {
	Holder      string // the processor's name of the customer; empty: none
	Brand       string // "visa"
	LastFour    string
	ExpiryYear  int
	ExpiryMonth int
	Country     string // of the issuer, ISO 3166-1 alpha-2; empty: not known
}

// CardCharge is what a processor is asked to charge.
type CardCharge struct {
	Key       string // ours: the processor's idempotency key
	Reference string // the processor's; empty while it is not known
	Token     string // of the card
	Holder    string // as in CardDetails
	Amount    ledger.Amount
	Currency  ledger.Currency
	OrderID   string // that is paid for; empty: a top-up of its own
	Present   bool   // the cardholder is there and can be asked to authenticate
	ReturnURL string // where the cardholder goes after that
	CreatedAt time.Time
}

// CardResult is what became of a charge.
type CardResult string

// The results of a charge.
const (
	CardPending   CardResult = "pending" // not decided yet; look again
	CardChallenge CardResult = "challenge"
	CardSucceeded CardResult = "succeeded"
	CardDeclined  CardResult = "declined"
	CardCancelled CardResult = "cancelled"
)

// DeclineReason is why a card was declined.
type DeclineReason string

// The reasons for which a card is declined. What a processor says beyond them is
// DeclineOther.
const (
	DeclineFunds          DeclineReason = "card_insufficient_funds"
	DeclineExpired        DeclineReason = "card_expired"
	DeclineStolen         DeclineReason = "card_lost_or_stolen"
	DeclineLimit          DeclineReason = "card_limit"
	DeclineDetails        DeclineReason = "card_details_wrong"
	DeclineAuthentication DeclineReason = "card_authentication" // failed, or needed while the cardholder is away
	DeclineProcessing     DeclineReason = "card_processing_error"
	DeclineInvalid        DeclineReason = "card_request_refused" // the processor does not take such a request
	DeclineOther          DeclineReason = "card_declined"
)

// RefundResult is what became of a refund.
type RefundResult string

// The results of a refund; the empty one says that none was asked for.
const (
	RefundPending RefundResult = "pending"
	RefundDone    RefundResult = "refunded"
	RefundFailed  RefundResult = "failed" // for good: the next try takes another key
)

// CardStatus is how a charge stands at the processor.
type CardStatus struct {
	Reference       string // 1 to 64 characters
	Result          CardResult
	Reason          DeclineReason // of CardDeclined
	ChallengeURL    string        // of CardChallenge
	Amount          ledger.Amount // as the processor has it
	Currency        ledger.Currency
	Refund          RefundResult // of the newest refund
	RefundReference string
	Disputes        []CardDispute
}

// CardDispute is a charge that its cardholder disputes (a chargeback).
type CardDispute struct {
	Reference string // the processor's, 1 to 64 characters
	Amount    ledger.Amount
	State     DisputeState
}

// DisputeState is where a dispute is.
type DisputeState string

// The states of a dispute. The money is with the cardholder while it is open.
const (
	DisputeOpen DisputeState = "open"
	DisputeWon  DisputeState = "won"  // the money came back
	DisputeLost DisputeState = "lost" // and will not
)

// CardConfig holds the rules of card top-ups.
type CardConfig struct {
	// Countries are those whose issuers' cards are taken, ISO 3166-1 alpha-2.
	Countries []string
	// The least and the most that one charge may be, in minor units.
	Minimum, Maximum ledger.Amount
	// The most that a customer's cards are asked for in 24 hours, whatever became of
	// it: who tries stolen cards tries often.
	DayCount  int
	DayAmount ledger.Amount
	// ChallengeTerm is how long a cardholder has to authenticate. Then the charge is
	// cancelled.
	ChallengeTerm time.Duration
}

// DefaultCards returns the rules of card top-ups that the service is described by.
func DefaultCards() CardConfig {
	return CardConfig{Countries: []string{"FR"}, Minimum: 1_00, Maximum: 500_00, DayCount: 10, DayAmount: 1000_00,
		ChallengeTerm: 15 * time.Minute}
}

func (c CardConfig) validate() error {
	invalid := func(field, format string, args ...any) error {
		return ledger.Errorf(ledger.CodeInvalid, format, args...).InField(field)
	}
	for _, country := range c.Countries {
		if !countryPattern.MatchString(country) {
			return invalid("card.countries", "%q is not a country; write two capital letters, like FR", clip(country))
		}
	}
	switch {
	case len(c.Countries) == 0:
		return invalid("card.countries", "name at least one country whose cards are taken")
	case c.Minimum <= 0 || c.Maximum < c.Minimum:
		return invalid("card.maximum", "a charge must be above zero, and the most not below the least (%d, %d)", int64(c.Minimum), int64(c.Maximum))
	case c.DayCount < 1 || c.DayAmount < c.Maximum:
		return invalid("card.day_amount", "one charge a day must be possible, up to the most that it may be")
	case c.ChallengeTerm < chargeSettles:
		return invalid("card.challenge_term", "a cardholder needs at least %s to authenticate, not %s", chargeSettles, c.ChallengeTerm)
	}
	return nil
}
