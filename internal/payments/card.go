package payments

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// CardState is whether a card may be charged.
type CardState string

// The states of a card.
const (
	CardActive  CardState = "active"
	CardRemoved CardState = "removed" // for ever
)

// Card is a customer's card as the processor names it. Its number never comes here.
type Card struct {
	ID         uuid.UUID // UUIDv5 of Token
	CustomerID uuid.UUID
	Token      string // the processor's name of the card
	CardDetails
	State   CardState
	Default bool // the card that is charged where none is named
	// AutomaticMaximum is what one automatic top-up inside a payment may be; 0 where
	// the customer allows none.
	AutomaticMaximum ledger.Amount
	CreatedAt        time.Time
	RemovedAt        time.Time // zero while active
}

// expired reports whether the card's last month is over.
func (c Card) expired(today ledger.Date) bool {
	return c.ExpiryYear < today.Year || (c.ExpiryYear == today.Year && c.ExpiryMonth < int(today.Month))
}

var (
	// cardTokenPattern is what processors name cards by.
	cardTokenPattern = regexp.MustCompile(`^[0-9A-Za-z_-]{1,255}$`)
	// cardNumberPattern is what card numbers look like (ISO/IEC 7812): they must never
	// come here, so that they are in no log and no database.
	cardNumberPattern = regexp.MustCompile(`^[0-9 -]{12,}$`)
	holderPattern     = regexp.MustCompile(`^[0-9A-Za-z_-]{0,255}$`)
	brandPattern      = regexp.MustCompile(`^[0-9A-Za-z_ -]{1,32}$`)
	lastFourPattern   = regexp.MustCompile(`^[0-9]{4}$`)
	countryPattern    = regexp.MustCompile(`^[A-Z]{2}$`)
)

var cardNamespace = uuid.MustParse("0a9f6c52-7e1d-5f3b-9c84-d2b71e60a3f5")

// maxCards bounds the active cards of a customer: more than a wallet of leather holds.
const maxCards = 10

const cardColumns = `id, customer_id, token, holder, brand, last_four, expiry_year, expiry_month, country, state, is_default,
	COALESCE(automatic_maximum, 0), created_at, removed_at`

func findCards(ctx context.Context, tx *sqldb.Tx, where string, args []any, tail string) ([]Card, error) {
	list, err := sqldb.Collect(ctx, tx, "SELECT "+cardColumns+" FROM cards WHERE "+where+tail, args, func(rows *sqldb.Rows) (Card, error) {
		var c Card
		var isDefault int64
		err := rows.Scan(&c.ID, &c.CustomerID, &c.Token, &c.Holder, &c.Brand, &c.LastFour, &c.ExpiryYear, &c.ExpiryMonth, &c.Country, &c.State,
			&isDefault, &c.AutomaticMaximum, &c.CreatedAt, &c.RemovedAt)
		c.Default = isDefault != 0
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("find cards: %w", err)
	}
	return list, nil
}

// FindCard returns the card with the given id, or CodeNotFound.
func FindCard(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) (Card, error) {
	return oneCard(ctx, tx, id, "")
}

func oneCard(ctx context.Context, tx *sqldb.Tx, id uuid.UUID, tail string) (Card, error) {
	list, err := findCards(ctx, tx, "id = $1", []any{id}, tail)
	if err != nil {
		return Card{}, err
	}
	if len(list) == 0 {
		return Card{}, ledger.Errorf(ledger.CodeNotFound, "there is no card %s", id).InField("card")
	}
	return list[0], nil
}

// CardsOf returns a customer's cards, oldest first, at most MaxPage of them.
func CardsOf(ctx context.Context, tx *sqldb.Tx, customer uuid.UUID) ([]Card, error) {
	return findCards(ctx, tx, "customer_id = $1", []any{customer}, fmt.Sprintf(" ORDER BY created_at, id LIMIT %d", MaxPage))
}

// defaultCard returns the card that a customer's charges go to, if there is one.
func defaultCard(ctx context.Context, tx *sqldb.Tx, customer uuid.UUID) (Card, bool, error) {
	list, err := findCards(ctx, tx, "customer_id = $1 AND is_default = 1", []any{customer}, "")
	if err != nil || len(list) == 0 {
		return Card{}, false, err
	}
	return list[0], true, nil
}

// checkToken refuses what is no token, without repeating it: it may be a card number.
func checkToken(token string) error {
	switch {
	case cardNumberPattern.MatchString(token):
		return ledger.Errorf(ledger.CodeInvalid, "this looks like a card number, which must never come here; give the token that the card processor made of it").InField("token")
	case !cardTokenPattern.MatchString(token):
		return ledger.Errorf(ledger.CodeInvalid, "this is not a card's token: 1 to 255 of letters, digits, _ and -").InField("token")
	}
	return nil
}

// AddCard registers a card that the processor knows under a token, and makes it the
// default where it is the first. A card of another country than CardConfig.Countries,
// an expired one, one of somebody else and one that was removed are refused. The same
// card again changes nothing.
func (s *Service) AddCard(ctx context.Context, customerNumber, token, actor string) (Card, error) {
	return s.addCard(ctx, token, actor, func(ctx context.Context, tx *sqldb.Tx) (uuid.UUID, error) {
		customer, err := FindCustomer(ctx, tx, customerNumber)
		if err == nil && customer.Status == Closed {
			err = ledger.Errorf(ledger.CodeAccountClosed, "customer %s is closed", customer.Number).InField("customer")
		}
		return customer.ID, err
	})
}

// AddEnrolmentCard is AddCard for somebody who is not a customer yet: the card is the
// customer's when there is one.
func (s *Service) AddEnrolmentCard(ctx context.Context, enrolment uuid.UUID, token, actor string) (Card, error) {
	return s.addCard(ctx, token, actor, func(ctx context.Context, tx *sqldb.Tx) (uuid.UUID, error) {
		e, err := lockEnrolment(ctx, tx, enrolment)
		if err == nil && !e.ClosedAt.IsZero() {
			err = ledger.Errorf(ledger.CodeConflict, "the enrolment is %s", e.State).InField("enrolment")
		}
		return e.ID, err
	})
}

func (s *Service) addCard(ctx context.Context, token, actor string, owner func(context.Context, *sqldb.Tx) (uuid.UUID, error)) (Card, error) {
	if err := checkToken(token); err != nil {
		return Card{}, err
	}
	if err := validText("actor", actor, maxActor); err != nil {
		return Card{}, err
	}
	if s.processor == nil {
		return Card{}, errNoProcessor()
	}
	asking, cancel := context.WithTimeout(ctx, processorTimeout)
	defer cancel()
	details, err := s.processor.Card(asking, token)
	if err != nil {
		return Card{}, fmt.Errorf("ask the card processor for the card: %w", err)
	}
	c := Card{ID: uuid.NewSHA1(cardNamespace, []byte(token)), Token: token, CardDetails: details, State: CardActive, CreatedAt: s.engine.Now()}
	if err := s.acceptable(c); err != nil {
		return Card{}, err
	}
	var added Card
	err = s.writeUnique(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		mine := c
		var err error
		if mine.CustomerID, err = owner(ctx, tx); err != nil {
			return err
		}
		added, err = storeCard(ctx, tx, mine, actor)
		return err
	})
	if err != nil {
		return Card{}, fmt.Errorf("add a card: %w", err)
	}
	return added, nil
}

// registeredCards are the cards of the book.
type registeredCards struct{}

// HasFrenchCard implements Cards. Only cards of CardConfig.Countries are registered.
func (registeredCards) HasFrenchCard(ctx context.Context, tx *sqldb.Tx, customer uuid.UUID) (bool, error) {
	active, err := findCards(ctx, tx, "customer_id = $1 AND state = 'active'", []any{customer}, "")
	return len(active) > 0, err
}

// acceptable refuses a card that the rules do not take, or of which the processor
// says what cannot be.
func (s *Service) acceptable(c Card) error {
	refuse := func(format string, args ...any) error {
		return ledger.Errorf(ledger.CodeInvalid, format, args...).InField("token")
	}
	switch s.verdict(c) {
	case ReasonCardUnreadable:
		return refuse("the card processor describes this card in a way that no card has; ask it about the token")
	case ReasonCountryUnknown:
		return refuse("the card processor does not say which country's card this is; use another card")
	case ReasonCountryRefused:
		return refuse("this card was issued in %s; cards of %v are taken", c.Country, s.config.Cards.Countries)
	case ReasonCardExpired:
		return refuse("this card has expired (%02d/%d); use another one", c.ExpiryMonth, c.ExpiryYear)
	}
	return nil
}

// verdict returns why the rules do not take a card, or "".
func (s *Service) verdict(c Card) string {
	switch {
	case !holderPattern.MatchString(c.Holder) || !brandPattern.MatchString(c.Brand) || !lastFourPattern.MatchString(c.LastFour) ||
		c.ExpiryMonth < 1 || c.ExpiryMonth > 12 || c.ExpiryYear < 2000 || c.ExpiryYear > 9999:
		return ReasonCardUnreadable
	case c.Country == "" || !countryPattern.MatchString(c.Country):
		return ReasonCountryUnknown
	case !slices.Contains(s.config.Cards.Countries, c.Country):
		return ReasonCountryRefused
	case c.expired(s.engine.Today()):
		return ReasonCardExpired
	}
	return ""
}

// storeCard registers the card for c.CustomerID, or returns it as it is registered.
func storeCard(ctx context.Context, tx *sqldb.Tx, c Card, actor string) (Card, error) {
	known, err := findCards(ctx, tx, "token = $1", []any{c.Token}, "")
	if err != nil {
		return Card{}, err
	}
	if len(known) > 0 {
		switch k := known[0]; {
		case k.CustomerID != c.CustomerID:
			return Card{}, ledger.Errorf(ledger.CodeConflict, "this card is registered for another customer").InField("token")
		case k.State == CardRemoved:
			return Card{}, ledger.Errorf(ledger.CodeConflict, "this card was removed; let the customer register it anew, which gives it a new token").InField("token")
		default:
			return k, nil
		}
	}
	active, err := findCards(ctx, tx, "customer_id = $1 AND state = 'active'", []any{c.CustomerID}, "")
	if err != nil {
		return Card{}, err
	}
	if len(active) >= maxCards {
		return Card{}, ledger.Errorf(ledger.CodeLimitExceeded, "there are %d cards already, the most there may be; remove one first", maxCards).InField("customer")
	}
	c.Default = len(active) == 0
	_, err = tx.Exec(ctx, `INSERT INTO cards (id, customer_id, token, holder, brand, last_four, expiry_year, expiry_month, country, state, is_default, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		c.ID, c.CustomerID, c.Token, c.Holder, c.Brand, c.LastFour, int64(c.ExpiryYear), int64(c.ExpiryMonth), c.Country, string(c.State),
		sqldb.Flag(c.Default), c.CreatedAt)
	if err != nil {
		return Card{}, fmt.Errorf("store the card: %w", err)
	}
	return c, recordPartyEvent(ctx, tx, c.CustomerID, PartyEvent{At: c.CreatedAt, Actor: actor, Event: "card_added", Reason: c.described()})
}

// described names a card for people.
func (c Card) described() string {
	return fmt.Sprintf("%s %s, %02d/%d", c.Brand, c.LastFour, c.ExpiryMonth, c.ExpiryYear)
}

// changeCard changes an active card in one transaction with its entry in the
// customer's history.
func (s *Service) changeCard(ctx context.Context, id uuid.UUID, actor, event string, fn func(ctx context.Context, tx *sqldb.Tx, c *Card) (reason string, err error)) (Card, error) {
	if err := validText("actor", actor, maxActor); err != nil {
		return Card{}, err
	}
	var c Card
	err := s.writeUnique(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		if c, err = oneCard(ctx, tx, id, tx.ForUpdate()); err != nil {
			return err
		}
		reason, err := fn(ctx, tx, &c)
		if err != nil || reason == "" {
			return err
		}
		return recordPartyEvent(ctx, tx, c.CustomerID, PartyEvent{At: s.engine.Now(), Actor: actor, Event: event, Reason: reason})
	})
	if err != nil {
		return Card{}, fmt.Errorf("change card %s: %w", id, err)
	}
	return c, nil
}

// RemoveCard ends a card: it is charged no more, and the card processor is told to forget
// it. Charges that are on their way go on, and refunds still reach it. To remove it again
// changes nothing.
func (s *Service) RemoveCard(ctx context.Context, id uuid.UUID, actor, reason string) (Card, error) {
	if err := validText("reason", reason, maxReason); err != nil {
		return Card{}, err
	}
	return s.changeCard(ctx, id, actor, "card_removed", func(ctx context.Context, tx *sqldb.Tx, c *Card) (string, error) {
		if c.State == CardRemoved {
			return "", nil
		}
		return reason, removeCard(ctx, tx, c, ReasonCardRemoved, s.engine.Now())
	})
}

// removeCard ends an active card, here and at the processor.
func removeCard(ctx context.Context, tx *sqldb.Tx, c *Card, why string, now time.Time) error {
	c.State, c.Default, c.AutomaticMaximum, c.RemovedAt = CardRemoved, false, 0, now
	_, err := tx.Exec(ctx, "UPDATE cards SET state = 'removed', is_default = 0, automatic_maximum = NULL, removed_at = $1 WHERE id = $2", now, c.ID)
	if err != nil {
		return fmt.Errorf("remove card %s: %w", c.ID, err)
	}
	return detachCard(ctx, tx, c.Token, why, now)
}

// SetDefaultCard makes a card the one that is charged where none is named. The consent
// to automatic top-ups belongs to the card that it was given for.
func (s *Service) SetDefaultCard(ctx context.Context, id uuid.UUID, actor string) (Card, error) {
	return s.changeCard(ctx, id, actor, "card_default", func(ctx context.Context, tx *sqldb.Tx, c *Card) (string, error) {
		if err := c.mustBeActive(); err != nil || c.Default {
			return "", err
		}
		if _, err := tx.Exec(ctx, "UPDATE cards SET is_default = 0 WHERE customer_id = $1 AND is_default = 1", c.CustomerID); err != nil {
			return "", err
		}
		c.Default = true
		_, err := tx.Exec(ctx, "UPDATE cards SET is_default = 1 WHERE id = $1", c.ID)
		return c.described(), err
	})
}

// AllowAutomaticTopUp keeps a customer's consent that the missing part of a payment is
// charged to a card when the payment is confirmed, at most maximum each time; 0
// withdraws it.
func (s *Service) AllowAutomaticTopUp(ctx context.Context, id uuid.UUID, maximum ledger.Amount, actor string) (Card, error) {
	if maximum < 0 || maximum > s.config.Cards.Maximum {
		return Card{}, ledger.Errorf(ledger.CodeInvalid, "an automatic top-up may be at most %s %s, or 0 for none", s.config.Cards.Maximum.Format(s.config.Currency),
			s.config.Currency).InField("maximum")
	}
	return s.changeCard(ctx, id, actor, "automatic_top_up", func(ctx context.Context, tx *sqldb.Tx, c *Card) (string, error) {
		if err := c.mustBeActive(); err != nil || c.AutomaticMaximum == maximum {
			return "", err
		}
		c.AutomaticMaximum = maximum
		if maximum == 0 {
			_, err := tx.Exec(ctx, "UPDATE cards SET automatic_maximum = NULL WHERE id = $1", c.ID)
			return "withdrawn for " + c.described(), err
		}
		_, err := tx.Exec(ctx, "UPDATE cards SET automatic_maximum = $1 WHERE id = $2", int64(maximum), c.ID)
		return fmt.Sprintf("up to %s %s from %s", maximum.Format(s.config.Currency), s.config.Currency, c.described()), err
	})
}

func (c Card) mustBeActive() error {
	if c.State != CardActive {
		return ledger.Errorf(ledger.CodeConflict, "card %s was removed", c.ID).InField("card")
	}
	return nil
}

func errNoProcessor() error {
	return ledger.Errorf(ledger.CodeUnavailable, "no card processor is configured; see [card] in the configuration")
}
