package payments

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// A customer's own page. Who has its address sees what of the account may be seen without
// a code: the end of the telephone number and of the cards' numbers. Whatever changes
// something takes the secret code (PSD2 art. 97(1)(c)).

// InviteToAccount makes an address under which a customer sees the own account. It ends
// the customer's earlier one. A closed customer is CodeConflict.
func (s *Service) InviteToAccount(ctx context.Context, customerNumber, actor string) (Invitation, error) {
	return s.invite(ctx, customerNumber, actor, inviting{table: "account_invitations", address: s.config.AccountURL(), token: s.accountToken,
		event: "account_invited", reason: "address of the customer's own page"})
}

func (s *Service) accountToken(id uuid.UUID) string {
	return base64.RawURLEncoding.EncodeToString(mac(s.keys.link, []byte("account"), id[:]))
}

// AccountPage is what a customer's own page shows.
type AccountPage struct {
	CustomerNumber string
	PhoneEnd       string // the last two digits
	Cards          []Card // active ones, oldest first
	// Registration is the newest visit to the card processor's page; nil: there was none
	// in the last 24 hours.
	Registration *CardRegistration
	TakesCards   bool
	IBAN         string // of the customer's own bank account, masked; empty: none
	ExpiresAt    time.Time
	Stamp        string // to come back with a form
}

func errNoAccountPage() error {
	return ledger.Errorf(ledger.CodeNotFound, "this address of an account is not, or no longer, good; ask for a new one")
}

// customerOfPage returns whose page an address is.
func customerOfPage(ctx context.Context, tx *sqldb.Tx, token string, now time.Time) (invitation, Customer, error) {
	if len(token) != tokenLength {
		return invitation{}, Customer{}, errNoAccountPage()
	}
	var i invitation
	err := tx.QueryRow(ctx, "SELECT id, customer_id, expires_at FROM account_invitations WHERE token_hash = $1 AND closed_at IS NULL AND expires_at > $2",
		[]any{hashToken(token), now}, &i.id, &i.customerID, &i.expiresAt)
	if sqldb.IsNoRows(err) {
		return invitation{}, Customer{}, errNoAccountPage()
	}
	if err != nil {
		return invitation{}, Customer{}, fmt.Errorf("find the page of a customer: %w", err)
	}
	c, err := FindCustomerByID(ctx, tx, i.customerID)
	if err == nil && c.Status == Closed {
		err = errNoAccountPage()
	}
	return i, c, err
}

// AccountPage returns what a customer's own page shows. An address that was never given
// out or has expired, and that of a closed customer, is CodeNotFound.
func (s *Service) AccountPage(ctx context.Context, token string) (AccountPage, error) {
	now := s.engine.Now()
	page := AccountPage{TakesCards: s.TakesCards()}
	var i invitation
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		page.Registration = nil
		var c Customer
		var err error
		if i, c, err = customerOfPage(ctx, tx, token, now); err != nil {
			return err
		}
		page.CustomerNumber, page.PhoneEnd, page.ExpiresAt = c.Number, c.Phone[len(c.Phone)-phoneEnd:], i.expiresAt
		if page.Cards, err = findCards(ctx, tx, "customer_id = $1 AND state = 'active'", []any{c.ID}, " ORDER BY created_at, id"); err != nil {
			return err
		}
		if page.Registration, err = s.newestRegistration(ctx, tx, c.ID, now); err != nil {
			return err
		}
		bank, err := FindPayee(ctx, tx, OwnBankCode(c.Number))
		if page.IBAN = MaskIBAN(bank.IBAN); ledger.CodeOf(err) == ledger.CodeNotFound {
			return nil
		}
		return err
	})
	if err != nil {
		return AccountPage{}, err
	}
	page.Stamp, err = s.pageStamp("account", i.id, now)
	return page, err
}

// newestRegistration returns the visit to the processor's page that a page speaks of.
func (s *Service) newestRegistration(ctx context.Context, tx *sqldb.Tx, owner uuid.UUID, now time.Time) (*CardRegistration, error) {
	list, err := RegistrationsOf(ctx, tx, owner, 1)
	if err != nil || len(list) == 0 || list[0].CreatedAt.Before(now.Add(-velocityWindow)) {
		return nil, err
	}
	return &list[0], nil
}

// AccountStep is a form of a customer's own page.
type AccountStep struct {
	Token    string // of the address
	Stamp    string // as AccountPage returned it
	Code     string // the secret code
	Language string // to speak
}

// errNotDone is the one answer to everything that is wrong with who asks.
func errNotDone() error {
	return ledger.Errorf(ledger.CodeForbidden, "nothing was changed; check what you entered, or contact us")
}

// authorise returns the customer who has sent a form with the right secret code, and the
// id of what begins with it.
func (s *Service) authorise(ctx context.Context, r AccountStep) (Customer, uuid.UUID, error) {
	return s.authoriseFor(ctx, r, func(context.Context, *sqldb.Tx, Customer) (string, error) { return "account", nil })
}

// authoriseFor is authorise for a form whose stamp is for a purpose.
func (s *Service) authoriseFor(ctx context.Context, r AccountStep, purpose func(context.Context, *sqldb.Tx, Customer) (string, error)) (Customer, uuid.UUID, error) {
	if err := validSecret(r.Code); err != nil {
		return Customer{}, uuid.Nil, err
	}
	now := s.engine.Now()
	var i invitation
	var c Customer
	what := ""
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		if i, c, err = customerOfPage(ctx, tx, r.Token, now); err == nil {
			what, err = purpose(ctx, tx, c)
		}
		return err
	})
	if err != nil {
		return Customer{}, uuid.Nil, err
	}
	id, err := s.checkPageStamp(what, i.id, r.Stamp, now)
	if err != nil {
		return Customer{}, uuid.Nil, err
	}
	c, err = s.tryOwnCode(ctx, c, r.Code, ActorPage)
	return c, id, err
}

// tryOwnCode returns the customer whose secret code this is. Wrong codes count as they do
// on the confirmation page.
func (s *Service) tryOwnCode(ctx context.Context, c Customer, code, actor string) (Customer, error) {
	tried, err := s.tryCode(ctx, c, code)
	if err != nil {
		return Customer{}, err
	}
	if !tried.right {
		if tried.last {
			s.recordBlock(ctx, c, actor)
		}
		s.log.InfoContext(ctx, "what a customer asked for was refused", "customer", c.Number, "actor", actor)
		return Customer{}, errNotDone()
	}
	before := c.secretHash
	err = s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if c, err = FindCustomerByID(ctx, tx, c.ID); err != nil {
			return err
		}
		if c.Status != Open || c.secretHash != before { // staff were faster
			return errNotDone()
		}
		return secretAccepted(ctx, tx, c.ID)
	})
	return c, err
}

// BeginOwnCard opens the card processor's page for a customer who knows the secret code;
// the customer enters a card on PageURL. While one is open that one is returned. Too many
// tries are CodeLimitExceeded, too many cards CodeInvalid.
func (s *Service) BeginOwnCard(ctx context.Context, r AccountStep) (CardRegistration, error) {
	c, id, err := s.authorise(ctx, r)
	if err != nil {
		return CardRegistration{}, err
	}
	return s.beginRegistration(ctx, id, c.ID, language(r.Language), func(ctx context.Context, tx *sqldb.Tx) error {
		now, err := FindCustomerByID(ctx, tx, c.ID)
		if err == nil && now.Status != Open {
			err = errNotDone()
		}
		return err
	})
}

// RemoveOwnCard removes a card of a customer who knows the secret code. One of somebody
// else, or of nobody, is CodeInvalid, and stands in the customer's history.
func (s *Service) RemoveOwnCard(ctx context.Context, r AccountStep, card uuid.UUID) (Card, error) {
	c, _, err := s.authorise(ctx, r)
	if err != nil {
		return Card{}, err
	}
	var own Card
	err = s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		own, err = FindCard(ctx, tx, card)
		return err
	})
	if ledger.CodeOf(err) == ledger.CodeNotFound || (err == nil && own.CustomerID != c.ID) {
		s.suspect(ctx, c, ActorPage, "form_forged", "a form to remove a card that was never shown")
		return Card{}, ledger.Errorf(ledger.CodeInvalid, "the customer has no such card").InField("card")
	}
	if err != nil {
		return Card{}, err
	}
	return s.RemoveCard(ctx, own.ID, ActorPage, "by the customer")
}

// BeginEnrolmentCard opens the card processor's page for somebody who becomes a customer
// and has proven the number. Whoever has the address has that number: there is no secret
// code yet.
func (s *Service) BeginEnrolmentCard(ctx context.Context, r EnrolmentStep, speak string) (CardRegistration, error) {
	e, err := s.enrolmentOf(ctx, r)
	if err != nil {
		return CardRegistration{}, err
	}
	if s.step(e) != StepCard {
		return CardRegistration{}, errStep(e)
	}
	now := s.engine.Now()
	id, err := s.checkPageStamp("enrolment", e.ID, r.Stamp, now)
	if err != nil {
		return CardRegistration{}, err
	}
	return s.beginRegistration(ctx, id, e.ID, language(speak), func(ctx context.Context, tx *sqldb.Tx) error {
		e, err := lockEnrolment(ctx, tx, e.ID)
		if err == nil && (s.step(e) != StepCard || !now.Before(e.ExpiresAt)) {
			err = errStep(e)
		}
		return err
	})
}

// InviteEnrolledToAccount makes an address of the own page for the page on which the
// enrolment was completed.
func (s *Service) InviteEnrolledToAccount(ctx context.Context, r EnrolmentStep) (Invitation, error) {
	return s.inviteEnrolled(ctx, r, s.InviteToAccount)
}
