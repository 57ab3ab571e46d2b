package payments

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// A customer registers a card on the card processor's own page. The visit is written down
// before the processor is asked, and what became of it is looked up there: whatever comes
// back by webhook or by the customer's browser says only that there is news.

// CardRegistrationState is where a visit to the card processor's page is.
type CardRegistrationState string

// The states of a registration.
const (
	RegistrationRequested  CardRegistrationState = "requested" // the processor has not answered
	RegistrationOpen       CardRegistrationState = "open"      // the customer may enter a card there
	RegistrationRegistered CardRegistrationState = "registered"
	RegistrationRefused    CardRegistrationState = "refused"   // the processor forgets the card
	RegistrationAbandoned  CardRegistrationState = "abandoned" // nothing was entered in time
)

// The reasons for which a card that was entered is refused.
const (
	ReasonCardUnreadable = "card_unreadable" // the processor describes it as no card is
	ReasonCardUnknown    = "card_unknown"    // the processor does not have it any more
	ReasonCountryUnknown = "country_unknown"
	ReasonCountryRefused = "country_refused"
	ReasonCardExpired    = "expired"
	ReasonCardTaken      = "taken"        // registered for somebody else, or removed
	ReasonTooManyCards   = "too_many"     // maxCards
	ReasonOwnerGone      = "owner_gone"   // the enrolment ended, or the customer was blocked or closed
	ReasonCardRemoved    = "removed"      // of a detachment alone: by the customer or staff
	ReasonNotEnrolled    = "not_enrolled" // likewise: the enrolment came to nothing
)

const (
	// registrationTerm is how long a visit to the processor's page may take. Stripe takes
	// 30 minutes at least; the rest is for clocks that differ.
	registrationTerm = 35 * time.Minute
	// maxRegistrations bounds the visits of one customer in 24 hours: who tries stolen
	// cards tries often.
	maxRegistrations = 10
	// lookPause is how soon somebody who comes back can have the processor asked again.
	lookPause = 2 * time.Second
	// The pauses between looks at a page that stays open where no webhook speaks of it.
	firstPagePause   = 30 * time.Second
	longestPagePause = 5 * time.Minute
	// maxPageURL bounds the address of the processor's page.
	maxPageURL = 2048
)

// CardRegistration is a visit to the card processor's page.
type CardRegistration struct {
	ID        uuid.UUID
	OwnerID   uuid.UUID // the customer, or the enrolment that becomes one
	State     CardRegistrationState
	Reason    string // of RegistrationRefused
	Detail    string // of the refused card: "visa 4242"
	Country   string // of its issuer, where that is why
	Reference string // the processor's; empty while it is not known
	PageURL   string // empty likewise
	CardID    uuid.UUID
	Attempts  int
	DueAt     time.Time
	CreatedAt time.Time
	ExpiresAt time.Time
	ChangedAt time.Time
}

func (r CardRegistration) unfinished() bool {
	return r.State == RegistrationRequested || r.State == RegistrationOpen
}

// AccountURL returns where customers see their own accounts: beside the confirmation pages.
func (c Config) AccountURL() string { return c.beside("account") }

// CardReturnURL returns where customers come back to from the card processor's page.
func (c Config) CardReturnURL() string { return c.beside("card-return") }

// registrationToken returns the secret part of the address of return.
func (s *Service) registrationToken(id uuid.UUID) string {
	return base64.RawURLEncoding.EncodeToString(mac(s.keys.oneTime, []byte("card registration"), id[:]))
}

// TakesCards reports whether customers can register cards here.
func (s *Service) TakesCards() bool { return s.processor != nil }

// beginRegistration opens the processor's page for an owner of cards, or returns the one
// that is open. may says in a transaction whether the owner may register one.
func (s *Service) beginRegistration(ctx context.Context, id, owner uuid.UUID, language string, may func(context.Context, *sqldb.Tx) error) (CardRegistration, error) {
	if s.processor == nil {
		return CardRegistration{}, errNoProcessor()
	}
	now := s.engine.Now()
	r := CardRegistration{ID: id, OwnerID: owner, State: RegistrationRequested, CreatedAt: now, ChangedAt: now, ExpiresAt: now.Add(registrationTerm)}
	r.DueAt = r.ExpiresAt
	err := s.writeUnique(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := may(ctx, tx); err != nil {
			return err
		}
		open, err := registrations(ctx, tx, "owner_id = $1 AND state IN ('requested', 'open') AND expires_at > $2", []any{owner, now}, " ORDER BY created_at DESC LIMIT 1")
		if err != nil {
			return err
		}
		if len(open) > 0 {
			r = open[0]
			return nil
		}
		if err := mayRegister(ctx, tx, owner, now); err != nil {
			return err
		}
		return insertRegistration(ctx, tx, r, hashToken(s.registrationToken(r.ID)))
	})
	if err != nil {
		return CardRegistration{}, fmt.Errorf("begin to register a card: %w", err)
	}
	if r.State != RegistrationRequested {
		return r, nil
	}
	asking, cancel := context.WithTimeout(ctx, processorTimeout)
	defer cancel()
	status, err := s.processor.OpenCardPage(asking, CardPageRequest{Key: "card-page:" + r.ID.String(), Language: language,
		ReturnURL: s.config.CardReturnURL() + "/" + s.registrationToken(r.ID), ExpiresAt: r.ExpiresAt})
	if err != nil {
		return CardRegistration{}, fmt.Errorf("ask the card processor for its page: %w", err)
	}
	return s.openRegistration(ctx, r.ID, status)
}

// mayRegister bounds what one owner of cards tries.
func mayRegister(ctx context.Context, tx *sqldb.Tx, owner uuid.UUID, now time.Time) error {
	var tried, has int64
	err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM card_registrations WHERE owner_id = $1 AND created_at > $2", []any{owner, now.Add(-velocityWindow)}, &tried)
	if err != nil {
		return fmt.Errorf("count the cards that were tried: %w", err)
	}
	if tried >= maxRegistrations {
		return ledger.Errorf(ledger.CodeLimitExceeded, "%d cards were tried in 24 hours; go on tomorrow", tried).InField("card")
	}
	if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM cards WHERE customer_id = $1 AND state = 'active'", []any{owner}, &has); err != nil {
		return fmt.Errorf("count the cards: %w", err)
	}
	if has >= maxCards {
		return ledger.Errorf(ledger.CodeInvalid, "there are %d cards already, the most there may be; remove one first", has).InField("cards")
	}
	return nil
}

// openRegistration keeps where the processor's page is.
func (s *Service) openRegistration(ctx context.Context, id uuid.UUID, status CardPageStatus) (CardRegistration, error) {
	u, err := url.Parse(status.URL)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || len(status.URL) > maxPageURL || !holderPattern.MatchString(status.Reference) || status.Reference == "" {
		return CardRegistration{}, ledger.Errorf(ledger.CodeUnavailable, "the card processor's page has no address that a browser takes")
	}
	now := s.engine.Now()
	return s.changeRegistration(ctx, id, func(_ context.Context, _ *sqldb.Tx, r *CardRegistration) error {
		if r.State == RegistrationRequested {
			r.State, r.Reference, r.PageURL, r.ChangedAt, r.DueAt = RegistrationOpen, status.Reference, status.URL, now, now.Add(firstPagePause)
		}
		return nil
	})
}

// changeRegistration changes a registration that is not finished; one that is stays.
func (s *Service) changeRegistration(ctx context.Context, id uuid.UUID, fn func(ctx context.Context, tx *sqldb.Tx, r *CardRegistration) error) (CardRegistration, error) {
	var r CardRegistration
	err := s.writeUnique(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		list, err := registrations(ctx, tx, "id = $1", []any{id}, tx.ForUpdate())
		if err != nil || len(list) == 0 {
			return firstError(err, errNoRegistration())
		}
		if r = list[0]; !r.unfinished() {
			return nil
		}
		if err := fn(ctx, tx, &r); err != nil {
			return err
		}
		if !r.unfinished() {
			r.DueAt = time.Time{}
		}
		return updateRegistration(ctx, tx, r)
	})
	if err != nil {
		return CardRegistration{}, fmt.Errorf("change the registration of a card: %w", err)
	}
	return r, nil
}

func errNoRegistration() error {
	return ledger.Errorf(ledger.CodeNotFound, "nobody registers a card under this address")
}

// ComeBackWithCard has the processor asked what became of the page whose customer came
// back to an address of return. Coming back again changes nothing, and an address that was
// never given out is CodeNotFound. Where the processor does not answer, the sweeper asks.
func (s *Service) ComeBackWithCard(ctx context.Context, token string) (CardRegistration, error) {
	if len(token) != tokenLength {
		return CardRegistration{}, errNoRegistration()
	}
	var r CardRegistration
	now, look := s.engine.Now(), false
	err := s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		look = false
		list, err := registrations(ctx, tx, "return_hash = $1", []any{hashToken(token)}, "")
		if err != nil || len(list) == 0 {
			return firstError(err, errNoRegistration())
		}
		if r = list[0]; r.State != RegistrationOpen {
			return nil
		}
		n, err := tx.Exec(ctx, "UPDATE card_registrations SET looked_at = $1 WHERE id = $2 AND (looked_at IS NULL OR looked_at <= $3)", now, r.ID, now.Add(-lookPause))
		look = n == 1
		return err
	})
	if err != nil || !look {
		return r, err
	}
	looked, err := s.lookAtPage(ctx, r, s.processor.LookupCardPage)
	if err != nil {
		s.log.WarnContext(ctx, "the card processor has not said what became of its page", "registration", r.ID, "err", err)
		return r, nil
	}
	return looked, nil
}

// lookAtPage asks the processor about its page, and does what follows.
func (s *Service) lookAtPage(ctx context.Context, r CardRegistration, how func(context.Context, string) (CardPageStatus, error)) (CardRegistration, error) {
	asking, cancel := context.WithTimeout(ctx, processorTimeout)
	defer cancel()
	status, err := how(asking, r.Reference)
	switch {
	case ledger.CodeOf(err) == ledger.CodeNotFound:
		return s.abandon(ctx, r.ID)
	case err != nil:
		return r, fmt.Errorf("ask the card processor about its page: %w", err)
	case status.Result == CardPageOver:
		return s.abandon(ctx, r.ID)
	case status.Result != CardPageComplete:
		return r, nil
	case checkToken(status.Token) != nil:
		return r, fmt.Errorf("the card processor's page is complete and names no card")
	}
	card := Card{ID: uuid.NewSHA1(cardNamespace, []byte(status.Token)), CustomerID: r.OwnerID, Token: status.Token, State: CardActive, CreatedAt: s.engine.Now()}
	card.CardDetails, err = s.processor.Card(asking, status.Token)
	reason := ""
	switch code := ledger.CodeOf(err); {
	case err == nil:
		reason = s.verdict(card)
	case code == ledger.CodeNotFound:
		reason = ReasonCardUnknown
	case code == ledger.CodeInvalid:
		reason = ReasonCardUnreadable
	default:
		return r, fmt.Errorf("ask the card processor for the card: %w", err)
	}
	return s.register(ctx, r.ID, card, reason)
}

func (s *Service) abandon(ctx context.Context, id uuid.UUID) (CardRegistration, error) {
	now := s.engine.Now()
	return s.changeRegistration(ctx, id, func(_ context.Context, _ *sqldb.Tx, r *CardRegistration) error {
		r.State, r.ChangedAt = RegistrationAbandoned, now
		return nil
	})
}

// register makes the card that was entered the owner's, or has the processor forget it.
func (s *Service) register(ctx context.Context, id uuid.UUID, card Card, reason string) (CardRegistration, error) {
	now := s.engine.Now()
	return s.changeRegistration(ctx, id, func(ctx context.Context, tx *sqldb.Tx, r *CardRegistration) error {
		why := reason
		if why == "" {
			var err error
			if why, err = s.storeRegistered(ctx, tx, card, now); err != nil {
				return err
			}
		}
		r.ChangedAt = now
		if why == "" {
			r.State, r.CardID = RegistrationRegistered, card.ID
			return nil
		}
		r.State, r.Reason = RegistrationRefused, why
		if why != ReasonCardUnreadable && why != ReasonCardUnknown {
			r.Detail = card.Brand + " " + card.LastFour
		}
		if why == ReasonCountryRefused {
			r.Country = card.Country
		}
		event := PartyEvent{At: now, Actor: ActorPage, Event: "card_refused", Reason: why}
		if r.Detail != "" {
			event.Reason += ": " + r.Detail
		}
		if err := recordPartyEvent(ctx, tx, r.OwnerID, event); err != nil || why == ReasonCardTaken {
			return err // what is registered stays whose it is
		}
		return detachCard(ctx, tx, card.Token, why, now)
	})
}

// storeRegistered stores the card for its owner, and returns why that cannot be, or "".
func (s *Service) storeRegistered(ctx context.Context, tx *sqldb.Tx, card Card, now time.Time) (string, error) {
	customer, err := FindCustomerByID(ctx, tx, card.CustomerID)
	var e Enrolment
	switch {
	case err == nil && customer.Status != Open:
		return ReasonOwnerGone, nil
	case ledger.CodeOf(err) == ledger.CodeNotFound:
		if e, err = lockEnrolment(ctx, tx, card.CustomerID); err == nil && (!e.proven() || !now.Before(e.ExpiresAt)) {
			return ReasonOwnerGone, nil
		}
	}
	if err != nil {
		return "", err
	}
	_, err = storeCard(ctx, tx, card, ActorPage)
	switch ledger.CodeOf(err) {
	case ledger.CodeConflict:
		return ReasonCardTaken, nil
	case ledger.CodeLimitExceeded:
		return ReasonTooManyCards, nil
	}
	if err != nil || e.State != EnrolmentPhoneVerified || !s.config.Enrolment.CardRequired {
		return "", err
	}
	return "", e.change(ctx, tx, EnrolmentCard, ActorPage, ReasonCardKnown, now)
}
