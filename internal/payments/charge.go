package payments

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// ChargeState is where a charge of a card is in its life.
type ChargeState string

// The states of a charge. Only requested, challenged, succeeded and refunding wait for
// something; the service looks at them until they do not.
const (
	ChargeRequested  ChargeState = "requested"  // written down; the processor may know of it or not
	ChargeChallenged ChargeState = "challenged" // the cardholder must authenticate (3-D Secure)
	ChargeSucceeded  ChargeState = "succeeded"  // the card was charged, and nothing is posted yet
	ChargePosted     ChargeState = "posted"     // the wallet has the money
	ChargeDeclined   ChargeState = "declined"
	ChargeFailed     ChargeState = "failed"    // it never came to the processor, or was given up
	ChargeRefunding  ChargeState = "refunding" // the money stands apart until it is back on the card
	ChargeRefunded   ChargeState = "refunded"
	ChargeDisputed   ChargeState = "disputed" // a chargeback has taken it
)

func chargeTransitions(from ChargeState) []ChargeState {
	switch from {
	case ChargeRequested:
		return []ChargeState{ChargeChallenged, ChargeSucceeded, ChargeDeclined, ChargeFailed}
	case ChargeChallenged:
		return []ChargeState{ChargeSucceeded, ChargeDeclined, ChargeFailed}
	case ChargeDeclined, ChargeFailed: // the processor has thought better of it: it is given back
		return []ChargeState{ChargeSucceeded}
	case ChargeSucceeded:
		return []ChargeState{ChargePosted, ChargeRefunding}
	case ChargePosted:
		return []ChargeState{ChargeRefunding, ChargeDisputed}
	case ChargeRefunding:
		return []ChargeState{ChargeRefunded, ChargeDisputed}
	case ChargeRefunded: // a refund can come back when its card's account is closed
		return []ChargeState{ChargeRefunding, ChargeDisputed}
	case ChargeDisputed:
		return []ChargeState{ChargePosted, ChargeRefunding, ChargeRefunded}
	}
	return nil
}

// Valid reports whether s is one of the states.
func (s ChargeState) Valid() bool { return chargeTransitions(s) != nil }

// open reports whether the charge may still succeed for what it was asked for.
func (s ChargeState) open() bool {
	return s == ChargeRequested || s == ChargeChallenged || s == ChargeSucceeded
}

// Unfinished reports whether the charge waits for something.
func (s ChargeState) Unfinished() bool { return s.open() || s == ChargeRefunding }

// The reasons of changes of charges, beside DeclineReason and those of orders.
const (
	ReasonAskedFor        = "asked_for"
	ReasonCharged         = "charged"
	ReasonChallenge       = "authentication_asked_for"
	ReasonNeverArrived    = "never_arrived" // the processor does not know of it
	ReasonAbandoned       = "abandoned"     // the cardholder did not authenticate in time
	ReasonLate            = "late_success"  // it succeeded after it was given up
	ReasonMismatch        = "amount_mismatch"
	ReasonToppedUp        = "topped_up"
	ReasonCeiling         = "wallet_ceiling"
	ReasonOrderOver       = "order_over" // what it was to pay for cannot be paid any more
	ReasonRefunded        = "refunded"
	ReasonRefundFailed    = "refund_failed"
	ReasonRefundedOutside = "refunded_at_the_processor" // nobody here asked for it
	ReasonDisputed        = "disputed"
	ReasonDisputeWon      = "dispute_won"
	ReasonDisputeLost     = "dispute_lost"
	ReasonCustomerNotOpen = "customer_not_open"
)

// ActorProcessor is the actor of what the card processor said.
const ActorProcessor = "card processor"

// Charge is money that a customer's card is asked for.
type Charge struct {
	ID              uuid.UUID // UUIDv5 of Key
	Key             string    // idempotency key at the processor
	CustomerID      uuid.UUID
	CardID          uuid.UUID
	OrderID         uuid.UUID // that it pays for; Nil: a top-up of its own
	Present         bool      // the cardholder was there
	Amount          ledger.Amount
	Currency        ledger.Currency
	State           ChargeState
	Reason          string        // of the last change
	Reference       string        // the processor's; empty while it is not known
	ChallengeURL    string        // where the cardholder authenticates, while challenged
	TransactionID   uuid.UUID     // that credited the wallet; Nil: none did
	HeldApart       ledger.Amount // what stands in suspense until it is back on the card
	Refunds         int           // that the processor has definitely refused
	RefundReference string        // of the last one that it answered
	DisputedFrom    ChargeState   // where it goes back to when the dispute is won
	Attempts        int           // looks at the processor since the last change
	DueAt           time.Time     // when it is looked at again; zero: never
	CreatedAt       time.Time
	ChangedAt       time.Time

	events int64
}

// Cursor returns the place of a charge in the list of charges.
func (c Charge) Cursor() Cursor { return Cursor{At: c.CreatedAt, ID: c.ID} }

// stepKey is the idempotency key of what the next change of the charge posts.
func (c Charge) stepKey() string { return fmt.Sprintf("charge:%s:%d", c.ID, c.events) }

// refundKey names the next refund at the processor: one that it has refused for good
// is tried again under another key.
func (c Charge) refundKey() string { return fmt.Sprintf("%s:refund:%d", c.Key, c.Refunds) }

var chargeNamespace = uuid.MustParse("7d5c8a1e-32f4-5b06-8f6d-1be02c5a9a44")

func chargeID(key string) uuid.UUID { return uuid.NewSHA1(chargeNamespace, []byte(key)) }

const (
	presencePresent    = "present"
	presenceOffSession = "off_session"
)

func presence(present bool) string {
	if present {
		return presencePresent
	}
	return presenceOffSession
}

const chargeColumns = `id, charge_key, customer_id, card_id, order_id, presence, amount, currency, state, reason, events, COALESCE(reference, ''),
	COALESCE(challenge_url, ''), transaction_id, held_apart, refunds, COALESCE(refund_reference, ''), COALESCE(disputed_from, ''), attempts,
	due_at, created_at, changed_at`

func findCharges(ctx context.Context, tx *sqldb.Tx, where string, args []any, tail string) ([]Charge, error) {
	list, err := sqldb.Collect(ctx, tx, "SELECT "+chargeColumns+" FROM charges WHERE "+where+tail, args, func(rows *sqldb.Rows) (Charge, error) {
		var c Charge
		var how string
		err := rows.Scan(&c.ID, &c.Key, &c.CustomerID, &c.CardID, &c.OrderID, &how, &c.Amount, &c.Currency, &c.State, &c.Reason, &c.events,
			&c.Reference, &c.ChallengeURL, &c.TransactionID, &c.HeldApart, &c.Refunds, &c.RefundReference, &c.DisputedFrom, &c.Attempts,
			&c.DueAt, &c.CreatedAt, &c.ChangedAt)
		c.Present = how == presencePresent
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("find charges: %w", err)
	}
	return list, nil
}

func oneCharge(ctx context.Context, tx *sqldb.Tx, id uuid.UUID, tail string) (Charge, error) {
	list, err := findCharges(ctx, tx, "id = $1", []any{id}, tail)
	if err != nil {
		return Charge{}, err
	}
	if len(list) == 0 {
		return Charge{}, ledger.Errorf(ledger.CodeNotFound, "there is no charge %s", id).InField("charge")
	}
	return list[0], nil
}

// FindCharge returns the charge with the given id, or CodeNotFound.
func FindCharge(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) (Charge, error) {
	return oneCharge(ctx, tx, id, "")
}

func lockCharge(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) (Charge, error) {
	return oneCharge(ctx, tx, id, tx.ForUpdate())
}

// Charge returns the charge with the given id, or CodeNotFound.
func (s *Service) Charge(ctx context.Context, id uuid.UUID) (Charge, error) {
	var c Charge
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		c, err = FindCharge(ctx, tx, id)
		return err
	})
	return c, err
}

// ChargeFilter selects a page of charges, in the order in which they were made.
type ChargeFilter struct {
	State      ChargeState // empty: any
	CustomerID uuid.UUID   // Nil: any
	OrderID    uuid.UUID   // Nil: any
	After      Cursor
	Limit      int // 1 to MaxPage
}

// ListCharges returns a page of charges.
func ListCharges(ctx context.Context, tx *sqldb.Tx, f ChargeFilter) ([]Charge, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	var w sqldb.Where
	if f.State != "" {
		if !f.State.Valid() {
			return nil, ledger.Errorf(ledger.CodeInvalid, "%q is not a state of charges; use one such as challenged, posted or refunding", clip(string(f.State))).InField("state")
		}
		w.And("state = ?", string(f.State))
	}
	if f.CustomerID != uuid.Nil {
		w.And("customer_id = ?", f.CustomerID)
	}
	if f.OrderID != uuid.Nil {
		w.And("order_id = ?", f.OrderID)
	}
	createdBetween(&w, time.Time{}, time.Time{}, f.After)
	return findCharges(ctx, tx, w.Condition(), w.Args, fmt.Sprintf(" ORDER BY created_at, id LIMIT %d", f.Limit))
}

// ChargeEvent is something that happened to a charge.
type ChargeEvent struct {
	At       time.Time
	Actor    string
	From, To ChargeState // From is empty for the first
	Reason   string
}

// ChargeEvents returns what happened to a charge, oldest first.
func ChargeEvents(ctx context.Context, tx *sqldb.Tx, charge uuid.UUID) ([]ChargeEvent, error) {
	list, err := sqldb.Collect(ctx, tx, "SELECT at, actor, from_state, to_state, reason FROM charge_events WHERE charge_id = $1 ORDER BY ordinal",
		[]any{charge}, func(rows *sqldb.Rows) (ChargeEvent, error) {
			var e ChargeEvent
			err := rows.Scan(&e.At, &e.Actor, &e.From, &e.To, &e.Reason)
			return e, err
		})
	if err != nil {
		return nil, fmt.Errorf("events of charge %s: %w", charge, err)
	}
	return list, nil
}

func recordChargeEvent(ctx context.Context, tx *sqldb.Tx, charge uuid.UUID, ordinal int64, e ChargeEvent) error {
	_, err := tx.Exec(ctx, `INSERT INTO charge_events (charge_id, ordinal, at, actor, from_state, to_state, reason)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`, charge, ordinal, e.At, e.Actor, string(e.From), string(e.To), e.Reason)
	if err != nil {
		return fmt.Errorf("record an event of charge %s: %w", charge, err)
	}
	return nil
}

func insertCharge(ctx context.Context, tx *sqldb.Tx, c Charge, actor string) error {
	_, err := tx.Exec(ctx, `INSERT INTO charges (id, charge_key, customer_id, card_id, order_id, presence, amount, currency, state, reason, events,
			held_apart, refunds, attempts, due_at, created_at, changed_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, 0, 0, 0, $11, $12, $12)`,
		c.ID, c.Key, c.CustomerID, c.CardID, sqldb.NullUUID(c.OrderID), presence(c.Present), int64(c.Amount), string(c.Currency),
		string(c.State), c.Reason, c.DueAt, c.CreatedAt)
	if err != nil {
		return fmt.Errorf("store charge %s: %w", c.Key, err)
	}
	return recordChargeEvent(ctx, tx, c.ID, 0, ChargeEvent{At: c.CreatedAt, Actor: actor, To: c.State, Reason: c.Reason})
}

// changeCharge moves a charge to another state, with everything that c has of that
// state, and records the event. The charge is locked by tx. To stay in its state
// records the event alone.
func changeCharge(ctx context.Context, tx *sqldb.Tx, c *Charge, to ChargeState, actor, reason string, at time.Time) error {
	from := c.State
	if to != from && !slices.Contains(chargeTransitions(from), to) {
		return ledger.Errorf(ledger.CodeConflict, "charge %s is %s and cannot become %s", c.ID, from, to).InField("charge")
	}
	c.State, c.Reason, c.ChangedAt = to, reason, at
	if to != from {
		c.Attempts = 0
		// Whoever asked the processor may have done so before the news that made the
		// charge due: they stay to be looked at.
		if c.DueAt.IsZero() || c.DueAt.After(at) {
			c.DueAt = dueAfter(to, at)
		}
	}
	if to != ChargeChallenged {
		c.ChallengeURL = ""
	}
	n, err := tx.Exec(ctx, `UPDATE charges SET state = $1, reason = $2, events = events + 1, reference = $3, challenge_url = $4, transaction_id = $5,
			held_apart = $6, refunds = $7, refund_reference = $8, disputed_from = $9, attempts = $10, due_at = $11, changed_at = $12
		WHERE id = $13 AND state = $14`,
		string(to), reason, sqldb.NullText(c.Reference), sqldb.NullText(c.ChallengeURL), sqldb.NullUUID(c.TransactionID),
		int64(c.HeldApart), int64(c.Refunds), sqldb.NullText(c.RefundReference), sqldb.NullText(string(c.DisputedFrom)),
		int64(c.Attempts), c.DueAt, at, c.ID, string(from))
	if err != nil {
		return fmt.Errorf("change charge %s to %s: %w", c.ID, to, err)
	}
	if n != 1 {
		return ledger.Errorf(ledger.CodeConflict, "charge %s is no longer %s", c.ID, from).InField("charge")
	}
	if err := recordChargeEvent(ctx, tx, c.ID, c.events, ChargeEvent{At: at, Actor: actor, From: from, To: to, Reason: reason}); err != nil {
		return err
	}
	c.events++
	return nil
}

// dueAfter is when a charge that has come to a state is looked at; zero: never.
func dueAfter(s ChargeState, now time.Time) time.Time {
	switch s {
	case ChargeRequested, ChargeSucceeded: // whoever asked for it goes on, unless that process ends
		return now.Add(chargeFlight)
	case ChargeChallenged:
		return now.Add(challengePoll)
	case ChargeRefunding:
		return now
	}
	return time.Time{}
}
