package payments

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// EnrolmentStep is a form of an enrolment's page, or what staff enter for somebody.
type EnrolmentStep struct {
	Token string // of the address
	Stamp string // as EnrolmentPage returned it
	// ID names the enrolment for a caller that has made sure by itself which one is
	// meant (the command line), instead of Token and Stamp.
	ID    uuid.UUID
	Code  string // of six digits: the one-time code, or the secret code that is chosen
	Actor string
}

// enrolmentOf returns the enrolment that a step is about.
func (s *Service) enrolmentOf(ctx context.Context, r EnrolmentStep) (Enrolment, error) {
	if err := validText("actor", r.Actor, maxActor); err != nil {
		return Enrolment{}, err
	}
	now := s.engine.Now()
	var e Enrolment
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		if r.Token == "" {
			e, err = FindEnrolment(ctx, tx, r.ID)
		} else {
			e, err = enrolmentOfToken(ctx, tx, r.Token, now, "")
		}
		return err
	})
	if err != nil {
		return Enrolment{}, err
	}
	if r.Token != "" {
		_, err = s.checkPageStamp("enrolment", e.ID, r.Stamp, now)
	}
	return e, err
}

// ResendCode sends another code for an enrolment whose number is not proven; the one
// before is worth nothing then. Where the enrolment has ended meanwhile the answer is
// the same, and nothing is sent. Too many codes are CodeLimitExceeded.
func (s *Service) ResendCode(ctx context.Context, r EnrolmentStep) error {
	e, err := s.enrolmentOf(ctx, r)
	if err != nil {
		return err
	}
	if e.proven() {
		return errStep(e)
	}
	if err := s.roomForCodes(ctx); err != nil {
		return err
	}
	code, err := s.newCode(purposeEnrolment, e.ID, e.Phone, e.Language)
	if err != nil {
		return err
	}
	now := s.engine.Now()
	return s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return s.issueCode(ctx, tx, code, now) })
}

// errStep says that an enrolment is at another step by now.
func errStep(e Enrolment) error {
	return ledger.Errorf(ledger.CodeConflict, "enrolment %s is %s; this is not its next step", e.ID, e.State).InField("enrolment")
}

// VerifyEnrolment takes the one-time code that was sent to the number. Whatever is
// wrong with it is CodeForbidden, always with the same words. An enrolment of the same
// number that was proven before ends: who proves it last is who has it.
func (s *Service) VerifyEnrolment(ctx context.Context, r EnrolmentStep) (Enrolment, error) {
	if !secretPattern.MatchString(r.Code) {
		return Enrolment{}, ledger.Errorf(ledger.CodeInvalid, "the code that was sent has 6 digits").InField("code")
	}
	e, err := s.enrolmentOf(ctx, r)
	if err != nil {
		return Enrolment{}, err
	}
	if e.proven() {
		return e, errStep(e)
	}
	code, err := s.tryOneTimeCode(ctx, purposeEnrolment, e.ID, r.Code, r.Actor)
	if err != nil {
		return Enrolment{}, err
	}
	now, id := s.engine.Now(), e.ID
	err = s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if e, err = lockEnrolment(ctx, tx, id); err != nil {
			return err
		}
		if e.State != EnrolmentStarted || !now.Before(e.ExpiresAt) || code.phone != e.Phone {
			return errCodeNotAccepted()
		}
		if err := useCode(ctx, tx, code, now); err != nil {
			return err
		}
		if err := replaceEnrolments(ctx, tx, e.Phone, []EnrolmentState{EnrolmentPhoneVerified, EnrolmentCard}, r.Actor, now); err != nil {
			return err
		}
		return e.change(ctx, tx, EnrolmentPhoneVerified, r.Actor, ReasonCodeRight, now)
	})
	if err != nil {
		return Enrolment{}, err
	}
	return e, nil
}

// RegisterCard goes on once a payment card that was issued in France is registered;
// until then it is CodeForbidden.
func (s *Service) RegisterCard(ctx context.Context, r EnrolmentStep) (Enrolment, error) {
	e, err := s.enrolmentOf(ctx, r)
	if err != nil {
		return Enrolment{}, err
	}
	now, id := s.engine.Now(), e.ID
	err = s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if e, err = lockEnrolment(ctx, tx, id); err != nil || e.State == EnrolmentCard {
			return err
		}
		if e.State != EnrolmentPhoneVerified || !s.config.Enrolment.CardRequired || !now.Before(e.ExpiresAt) {
			return errStep(e)
		}
		has, err := s.cards.HasFrenchCard(ctx, tx, e.ID)
		if err != nil {
			return fmt.Errorf("look for a payment card: %w", err)
		}
		if !has {
			return ledger.Errorf(ledger.CodeForbidden, "no payment card that was issued in France is registered yet").InField("card")
		}
		return e.change(ctx, tx, EnrolmentCard, r.Actor, ReasonCardKnown, now)
	})
	return e, err
}

// FinishEnrolment takes the secret code that the person has chosen, and makes the
// customer with the wallet. A code that is easy to guess is a WeakCodeError. To finish again changes nothing: the secret code stays the
// first one. A number that has become a customer's meanwhile is CodeForbidden.
func (s *Service) FinishEnrolment(ctx context.Context, r EnrolmentStep) (Customer, error) {
	if err := validSecret(r.Code); err != nil {
		return Customer{}, err
	}
	e, err := s.enrolmentOf(ctx, r)
	if err != nil {
		return Customer{}, err
	}
	switch s.step(e) {
	case StepSecret:
		if err := checkChosen(r.Code, e.Phone); err != nil {
			return Customer{}, err
		}
	case StepDone: // the first code stays
	default:
		return Customer{}, errStep(e)
	}
	hash, err := s.hashSecret(ctx, e.ID, r.Code)
	if err != nil {
		return Customer{}, err
	}
	now := s.engine.Now()
	c := Customer{ID: e.ID, Name: e.Name, Phone: e.Phone, Named: e.Named, Status: Open, CreatedAt: now, PhoneVerifiedAt: now, pseudonymSalt: make([]byte, 32)}
	if _, err := io.ReadFull(s.random, c.pseudonymSalt); err != nil {
		return Customer{}, fmt.Errorf("make a pseudonym's salt: %w", err)
	}
	var made Customer
	var refused error
	err = s.writeUnique(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		made, refused, err = s.finishEnrolment(ctx, tx, c, hash, r.Actor, now)
		return err
	})
	if err != nil {
		return Customer{}, fmt.Errorf("finish an enrolment: %w", err)
	}
	return made, refused
}

func (s *Service) finishEnrolment(ctx context.Context, tx *sqldb.Tx, c Customer, hash, actor string, now time.Time) (made Customer, refused, err error) {
	e, err := lockEnrolment(ctx, tx, c.ID)
	if err != nil {
		return Customer{}, nil, err
	}
	if e.State == EnrolmentEnrolled {
		made, err = FindCustomerByID(ctx, tx, e.CustomerID)
		return made, nil, err
	}
	if s.step(e) != StepSecret || !now.Before(e.ExpiresAt) {
		return Customer{}, nil, errStep(e)
	}
	known, err := knownPhone(ctx, tx, e.Phone, uuid.Nil)
	if err != nil {
		return Customer{}, nil, err
	}
	if known {
		return Customer{}, ledger.Errorf(ledger.CodeForbidden, "the account cannot be opened; contact us"),
			e.change(ctx, tx, EnrolmentRefused, actor, ReasonAlreadyCustomer, now)
	}
	if err := e.change(ctx, tx, EnrolmentSecretSet, actor, ReasonSecretChosen, now); err != nil {
		return Customer{}, nil, err
	}
	if made, err = s.enrolCustomer(ctx, tx, "", c); err != nil {
		return Customer{}, nil, err
	}
	if _, err := tx.Exec(ctx, "UPDATE customers SET secret_hash = $1 WHERE id = $2", hash, made.ID); err != nil {
		return Customer{}, nil, fmt.Errorf("set the secret code of customer %s: %w", made.Number, err)
	}
	made.secretHash, made.HasSecret = hash, true
	if err := recordPartyEvent(ctx, tx, made.ID, PartyEvent{At: now, Actor: actor, Event: "enrolled", Reason: "by the customer, with a code sent to the telephone"}); err != nil {
		return Customer{}, nil, err
	}
	e.CustomerID = made.ID
	return made, nil, e.change(ctx, tx, EnrolmentEnrolled, actor, ReasonComplete, now)
}

// InviteEnrolled makes an address under which a customer links an account, for the page
// on which the enrolment was completed.
func (s *Service) InviteEnrolled(ctx context.Context, r EnrolmentStep) (Invitation, error) {
	return s.inviteEnrolled(ctx, r, s.InviteToLink)
}

func (s *Service) inviteEnrolled(ctx context.Context, r EnrolmentStep, invite func(ctx context.Context, customerNumber, actor string) (Invitation, error)) (Invitation, error) {
	e, err := s.enrolmentOf(ctx, r)
	if err != nil {
		return Invitation{}, err
	}
	if e.State != EnrolmentEnrolled {
		return Invitation{}, errStep(e)
	}
	var c Customer
	err = s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		c, err = FindCustomerByID(ctx, tx, e.CustomerID)
		return err
	})
	if err != nil {
		return Invitation{}, err
	}
	return invite(ctx, c.Number, r.Actor)
}

// RefuseEnrolment ends an enrolment, for a reason of staff. One that is over is
// CodeConflict.
func (s *Service) RefuseEnrolment(ctx context.Context, id uuid.UUID, actor, reason string) error {
	if err := validAct(actor, reason); err != nil {
		return err
	}
	now := s.engine.Now()
	return s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		e, err := lockEnrolment(ctx, tx, id)
		if err != nil || (e.State == EnrolmentRefused && e.Reason == reason) {
			return err
		}
		if err := endCodes(ctx, tx, e.ID, now); err != nil {
			return err
		}
		return e.change(ctx, tx, EnrolmentRefused, actor, reason, now)
	})
}

// refuseGuessed ends an enrolment for which too many codes were guessed at.
func (s *Service) refuseGuessed(ctx context.Context, tx *sqldb.Tx, id uuid.UUID, actor string, now time.Time) error {
	var exhausted int64
	err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM one_time_codes WHERE subject_id = $1 AND purpose = 'enrolment' AND outcome = $2", []any{id, codeExhausted}, &exhausted)
	if err != nil || exhausted < mostExhausted {
		return err
	}
	e, err := lockEnrolment(ctx, tx, id)
	if err != nil || e.State != EnrolmentStarted {
		return err
	}
	return e.change(ctx, tx, EnrolmentRefused, actor, ReasonCodesGuessed, now)
}
