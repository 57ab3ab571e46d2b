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

// A customer proves the mobile number again to have a blocked secret code lifted, or
// because staff have changed the number.

// StartVerificationRequest is a number whose owner wants to prove it.
type StartVerificationRequest struct {
	Stamp    string
	Phone    string // in any usual form
	Language string
}

// VerifyStamp returns the stamp of the page on which verifications begin.
func (s *Service) VerifyStamp() (string, error) {
	return s.pageStamp("verify", uuid.Nil, s.engine.Now())
}

// StartVerification sends a code to a number where it is a customer's, and returns the
// address of the page that asks for it: the same for any number. The same form sent
// twice sends one code. Too many codes to a number are CodeLimitExceeded, whether or
// not it is known.
func (s *Service) StartVerification(ctx context.Context, r StartVerificationRequest) (address string, err error) {
	phone, err := s.mobileNumber(r.Phone)
	if err != nil {
		return "", err
	}
	now := s.engine.Now()
	id, err := s.checkPageStamp("verify", uuid.Nil, r.Stamp, now)
	if err != nil {
		return "", err
	}
	if err := s.roomForCodes(ctx); err != nil {
		return "", err
	}
	code, err := s.newCode(purposeVerification, id, phone, language(r.Language))
	if err != nil {
		return "", err
	}
	code.id, code.token = id, s.verificationToken(id)
	err = s.writeUnique(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		before, err := codes(ctx, tx, "id = $1", []any{id})
		if err != nil {
			return err
		}
		if len(before) > 0 {
			if before[0].phone != phone {
				return ledger.Errorf(ledger.CodeInvalid, "this page was used before; open it again").InField("stamp")
			}
			return nil
		}
		owners, err := sqldb.Collect(ctx, tx, "SELECT "+customerColumns+" FROM customers WHERE phone = $1 AND status <> 'closed'", []any{phone}, scanCustomer)
		if err != nil {
			return fmt.Errorf("find the customer of a number: %w", err)
		}
		code.subject, code.silent = id, true
		if len(owners) == 1 { // a number that customers share proves nothing: staff know who is who
			code.subject, code.silent = owners[0].ID, false
		}
		return s.issueCode(ctx, tx, code, now)
	})
	if err != nil {
		return "", err
	}
	return s.config.VerifyURL() + "/" + code.token, nil
}

func (s *Service) verificationToken(id uuid.UUID) string {
	return base64.RawURLEncoding.EncodeToString(mac(s.keys.oneTime, []byte("verification"), id[:]))
}

// VerificationPage is what the page of a verification shows.
type VerificationPage struct {
	PhoneEnd  string // the last two digits
	ExpiresAt time.Time
	Done      bool
	Stamp     string // to come back with the code
}

func verificationOfToken(ctx context.Context, tx *sqldb.Tx, token string, now time.Time) (oneTimeCode, error) {
	gone := ledger.Errorf(ledger.CodeNotFound, "this address to prove a telephone number is not, or no longer, good; begin again")
	if len(token) != tokenLength {
		return oneTimeCode{}, gone
	}
	list, err := codes(ctx, tx, "token_hash = $1", []any{hashToken(token)})
	if err != nil {
		return oneTimeCode{}, fmt.Errorf("find the verification of an address: %w", err)
	}
	if len(list) == 0 || !now.Before(list[0].expiresAt) {
		return oneTimeCode{}, gone
	}
	return list[0], nil
}

// VerificationPage returns what the page of a verification shows, or CodeNotFound.
func (s *Service) VerificationPage(ctx context.Context, token string) (VerificationPage, error) {
	now := s.engine.Now()
	var c oneTimeCode
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		c, err = verificationOfToken(ctx, tx, token, now)
		return err
	})
	if err != nil {
		return VerificationPage{}, err
	}
	page := VerificationPage{PhoneEnd: c.phone[len(c.phone)-phoneEnd:], ExpiresAt: c.expiresAt, Done: c.outcome == codeUsed}
	page.Stamp, err = s.pageStamp("verification", c.id, now)
	return page, err
}

// VerifyRequest is a one-time code on the page of a verification.
type VerifyRequest struct {
	Token string
	Stamp string
	Code  string // 6 digits
}

// Verify takes the code that was sent to a customer's number: the number is proven, and
// a blocked secret code has new tries. Whatever is wrong is CodeForbidden, always with
// the same words.
func (s *Service) Verify(ctx context.Context, r VerifyRequest) error {
	if !secretPattern.MatchString(r.Code) {
		return ledger.Errorf(ledger.CodeInvalid, "the code that was sent has 6 digits").InField("code")
	}
	now := s.engine.Now()
	var page oneTimeCode
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		page, err = verificationOfToken(ctx, tx, r.Token, now)
		return err
	})
	if err != nil {
		return err
	}
	if _, err := s.checkPageStamp("verification", page.id, r.Stamp, now); err != nil {
		return err
	}
	if page.outcome != "" { // a code that came after it is another page's
		return errCodeNotAccepted()
	}
	return s.verify(ctx, page.subject, page.id, r.Code, ActorPage)
}

// SendVerification sends a code to a customer's number, for staff who have the
// customer before them or on the telephone: VerifyPhone takes it. The number of a
// closed customer is CodeConflict.
func (s *Service) SendVerification(ctx context.Context, customerNumber, actor string) error {
	if err := validText("actor", actor, maxActor); err != nil {
		return err
	}
	c, err := s.Customer(ctx, customerNumber)
	if err != nil {
		return err
	}
	if c.Status == Closed {
		return ledger.Errorf(ledger.CodeConflict, "customer %s is closed", c.Number).InField("customer")
	}
	if err := s.roomForCodes(ctx); err != nil {
		return err
	}
	code, err := s.newCode(purposeVerification, c.ID, c.Phone, French)
	if err != nil {
		return err
	}
	now := s.engine.Now()
	err = s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := s.issueCode(ctx, tx, code, now); err != nil {
			return err
		}
		return recordPartyEvent(ctx, tx, c.ID, PartyEvent{At: now, Actor: actor, Event: "code_sent", Reason: "to prove the telephone number"})
	})
	if err != nil {
		return fmt.Errorf("send a code to customer %s: %w", c.Number, err)
	}
	return nil
}

// VerifyPhone is Verify for staff to whom the customer has told the code.
func (s *Service) VerifyPhone(ctx context.Context, customerNumber, code, actor string) error {
	if !secretPattern.MatchString(code) {
		return ledger.Errorf(ledger.CodeInvalid, "the code that was sent has 6 digits").InField("code")
	}
	if err := validText("actor", actor, maxActor); err != nil {
		return err
	}
	c, err := s.Customer(ctx, customerNumber)
	if err != nil {
		return err
	}
	return s.verify(ctx, c.ID, uuid.Nil, code, actor)
}

// verify tries a code of a customer: the one with an id, or (Nil) whichever is open.
func (s *Service) verify(ctx context.Context, customer, id uuid.UUID, digits, actor string) error {
	code, err := s.tryOneTimeCode(ctx, purposeVerification, customer, digits, actor)
	if err != nil {
		return err
	}
	if id != uuid.Nil && code.id != id {
		return errCodeNotAccepted()
	}
	now := s.engine.Now()
	return s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := useCode(ctx, tx, code, now); err != nil {
			return err
		}
		c, err := FindCustomerByID(ctx, tx, customer)
		if ledger.CodeOf(err) == ledger.CodeNotFound || (err == nil && (c.Phone != code.phone || c.Status == Closed)) {
			return errCodeNotAccepted()
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE customers SET phone_verified_at = $1, secret_failures = 0, secret_blocked_at = NULL WHERE id = $2", now, c.ID)
		if err != nil {
			return fmt.Errorf("note that the number of customer %s is proven: %w", c.Number, err)
		}
		event := PartyEvent{At: now, Actor: actor, Event: "phone_verified", Reason: "code sent to the telephone"}
		if err := recordPartyEvent(ctx, tx, c.ID, event); err != nil || c.SecretBlockedAt.IsZero() {
			return err
		}
		event.Event = "secret_unblocked"
		return recordPartyEvent(ctx, tx, c.ID, event)
	})
}
