package payments

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// EnrolmentState is how far a person has come who becomes a customer.
type EnrolmentState string

// The states of an enrolment. EnrolmentSecretSet is passed through in the transaction
// that makes the customer.
const (
	EnrolmentStarted       EnrolmentState = "started"
	EnrolmentPhoneVerified EnrolmentState = "phone_verified"
	EnrolmentCard          EnrolmentState = "card_registered"
	EnrolmentSecretSet     EnrolmentState = "secret_set"
	EnrolmentEnrolled      EnrolmentState = "enrolled"
	EnrolmentRefused       EnrolmentState = "refused"
	EnrolmentExpired       EnrolmentState = "expired"
)

// Open reports whether the enrolment can go on.
func (s EnrolmentState) Open() bool {
	return s == EnrolmentStarted || s == EnrolmentPhoneVerified || s == EnrolmentCard || s == EnrolmentSecretSet
}

// enrolmentSteps returns the states that may follow one.
func enrolmentSteps(from EnrolmentState) []EnrolmentState {
	switch from {
	case "":
		return []EnrolmentState{EnrolmentStarted}
	case EnrolmentStarted:
		return []EnrolmentState{EnrolmentPhoneVerified, EnrolmentRefused, EnrolmentExpired}
	case EnrolmentPhoneVerified:
		return []EnrolmentState{EnrolmentCard, EnrolmentSecretSet, EnrolmentRefused, EnrolmentExpired}
	case EnrolmentCard:
		return []EnrolmentState{EnrolmentSecretSet, EnrolmentRefused, EnrolmentExpired}
	case EnrolmentSecretSet:
		return []EnrolmentState{EnrolmentEnrolled}
	}
	return nil
}

// The reasons of an enrolment's changes of state that the service gives; staff give
// their own. They are private: the person is told the same in any case.
const (
	ReasonAskedToEnrol    = "asked"
	ReasonCodeRight       = "one_time_code"
	ReasonCardKnown       = "french_card"
	ReasonSecretChosen    = "secret_chosen"
	ReasonComplete        = "complete"
	ReasonAlreadyCustomer = "already_customer" // the number is a customer's
	ReasonCodesGuessed    = "codes_guessed"    // too many codes were guessed at
	ReasonRestarted       = "restarted"        // a newer enrolment with the same number has taken its place
)

// mostExhausted codes that were guessed at refuse an enrolment.
const mostExhausted = 3

// EnrolmentConfig says how people become customers by themselves.
type EnrolmentConfig struct {
	Term time.Duration // then an enrolment that is not complete expires
	// CardRequired asks for a payment card issued in France; it needs Options.Cards.
	CardRequired bool
	CodeTerm     time.Duration // how long a one-time code is good
	CodeTries    int           // guesses of one code that are compared, at most
	// The most codes sent to one number in an hour and in 24 hours, and to all numbers
	// in an hour: sending costs money, and some number ranges earn it.
	CodesHour    int
	CodesDay     int
	CodesHourAll int
}

// DefaultEnrolment returns how people become customers by themselves.
func DefaultEnrolment() EnrolmentConfig {
	return EnrolmentConfig{Term: 24 * time.Hour, CodeTerm: 10 * time.Minute, CodeTries: 5, CodesHour: 5, CodesDay: 10, CodesHourAll: 2000}
}

// maxCodesHourAll bounds what is counted to see whether a code may be sent.
const maxCodesHourAll = 100_000

func (c EnrolmentConfig) validate() error {
	for name, d := range map[string]time.Duration{"enrolment.term": c.Term, "enrolment.code_term": c.CodeTerm} {
		if d <= 0 || d > codesKept {
			return ledger.Errorf(ledger.CodeInvalid, "the time must be above zero and at most %s, not %s", codesKept, d).InField(name)
		}
	}
	for name, n := range map[string]int{"enrolment.code_tries": c.CodeTries, "enrolment.codes_hour": c.CodesHour,
		"enrolment.codes_day": c.CodesDay, "enrolment.codes_hour_all": c.CodesHourAll} {
		if n < 1 || n > maxCodesHourAll {
			return ledger.Errorf(ledger.CodeInvalid, "the number must be 1 to %d, not %d", maxCodesHourAll, n).InField(name)
		}
	}
	return nil
}

// Cards knows the payment cards that customers have registered.
type Cards interface {
	// HasFrenchCard reports whether a card that was issued in France is registered for
	// who has this id as an enrolment, and then as a customer.
	HasFrenchCard(ctx context.Context, tx *sqldb.Tx, customer uuid.UUID) (bool, error)
}

// Enrolment is somebody who becomes a customer.
type Enrolment struct {
	ID         uuid.UUID // the customer's, once there is one
	Phone      string    // E.164; empty once forgotten
	Name       string    // likewise
	Named      bool
	Language   string
	State      EnrolmentState
	Reason     string // of the last change
	CustomerID uuid.UUID
	CreatedAt  time.Time
	ExpiresAt  time.Time
	ClosedAt   time.Time // zero while open

	events int64
}

// proven reports whether the number was ever proven. Until then whoever asks sees the
// same, whatever became of the enrolment.
func (e Enrolment) proven() bool {
	switch e.State {
	case EnrolmentPhoneVerified, EnrolmentCard, EnrolmentEnrolled:
		return true
	}
	return false
}

// StartEnrolmentRequest is what somebody says who wants to become a customer.
type StartEnrolmentRequest struct {
	Stamp    string // of the page; empty where staff ask
	Name     string // 1 to 120 characters
	Phone    string // French mobile number, in any usual form
	Named    bool   // consents to be named to charities
	Language string // to speak
	Actor    string
}

// EnrolStamp returns the stamp of the page on which enrolments begin.
func (s *Service) EnrolStamp() (string, error) { return s.pageStamp("enrol", uuid.Nil, s.engine.Now()) }

// EnrolURL returns where people become customers: beside the confirmation pages.
func (c Config) EnrolURL() string { return c.beside("enrol") }

// VerifyURL returns where customers prove their mobile number again.
func (c Config) VerifyURL() string { return c.beside("verify") }

// EnrolmentAddress returns where an enrolment goes on. Who has it, and the code that
// is sent to the number, becomes the customer.
func (s *Service) EnrolmentAddress(id uuid.UUID) string {
	return s.config.EnrolURL() + "/" + s.enrolmentToken(id)
}

func (s *Service) enrolmentToken(id uuid.UUID) string {
	return base64.RawURLEncoding.EncodeToString(mac(s.keys.oneTime, []byte("enrolment"), id[:]))
}

// StartEnrolment begins an enrolment and sends a code to the number. Where the number
// is a customer's, the enrolment is refused, and only the number's owner is told: the
// answer is the same. So it is for an enrolment that has been begun before with the
// same stamp, name and number. An older one of the number that has not proven it yet
// ends. Too many codes to the number are CodeLimitExceeded.
func (s *Service) StartEnrolment(ctx context.Context, r StartEnrolmentRequest) (Enrolment, error) {
	e, err := s.newEnrolment(r)
	if err != nil {
		return Enrolment{}, err
	}
	if err := s.roomForCodes(ctx); err != nil {
		return Enrolment{}, err
	}
	code, err := s.newCode(purposeEnrolment, e.ID, e.Phone, e.Language)
	if err != nil {
		return Enrolment{}, err
	}
	var started Enrolment
	err = s.writeUnique(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		started, err = s.startEnrolment(ctx, tx, e, code, r.Actor)
		return err
	})
	if err != nil {
		return Enrolment{}, fmt.Errorf("start an enrolment: %w", err)
	}
	return started, nil
}

func (s *Service) newEnrolment(r StartEnrolmentRequest) (Enrolment, error) {
	if err := validText("name", r.Name, maxName); err != nil {
		return Enrolment{}, err
	}
	if err := validText("actor", r.Actor, maxActor); err != nil {
		return Enrolment{}, err
	}
	phone, err := s.mobileNumber(r.Phone)
	if err != nil {
		return Enrolment{}, err
	}
	now := s.engine.Now()
	e := Enrolment{Phone: phone, Name: r.Name, Named: r.Named, Language: language(r.Language), State: EnrolmentStarted,
		Reason: ReasonAskedToEnrol, CreatedAt: now, ExpiresAt: now.Add(s.config.Enrolment.Term), events: 1}
	if r.Stamp == "" && r.Actor != ActorPage {
		e.ID, err = s.newID()
	} else {
		e.ID, err = s.checkPageStamp("enrol", uuid.Nil, r.Stamp, now)
	}
	return e, err
}

// uniqueTries bounds how often a write is tried anew that another one was faster
// with: a number that two processes take at once is a unique violation for one of
// them on some engines, and a serialization failure on others.
const uniqueTries = 5

// writeUnique is WriteIdempotent for what two processes may write down at once.
func (s *Service) writeUnique(ctx context.Context, fn func(ctx context.Context, tx *sqldb.Tx) error) error {
	for try := 1; ; try++ {
		err := s.db.WriteIdempotent(ctx, fn)
		if sqldb.ClassOf(err) != sqldb.ClassUnique || try == uniqueTries {
			return err
		}
	}
}

func (s *Service) startEnrolment(ctx context.Context, tx *sqldb.Tx, e Enrolment, code oneTimeCode, actor string) (Enrolment, error) {
	before, err := FindEnrolment(ctx, tx, e.ID)
	if err == nil {
		if before.Phone != e.Phone || before.Name != e.Name {
			return Enrolment{}, ledger.Errorf(ledger.CodeInvalid, "this page was used before; open it again").InField("stamp")
		}
		return before, nil
	}
	if ledger.CodeOf(err) != ledger.CodeNotFound {
		return Enrolment{}, err
	}
	known, err := knownPhone(ctx, tx, e.Phone, uuid.Nil)
	if err != nil {
		return Enrolment{}, err
	}
	if err := replaceEnrolments(ctx, tx, e.Phone, []EnrolmentState{EnrolmentStarted}, actor, e.CreatedAt); err != nil {
		return Enrolment{}, err
	}
	_, err = tx.Exec(ctx, `INSERT INTO enrolments (id, token_hash, phone, name, named, language, state, reason, events, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, e.ID, hashToken(s.enrolmentToken(e.ID)), e.Phone, e.Name, sqldb.Flag(e.Named),
		e.Language, string(e.State), e.Reason, e.events, e.CreatedAt, e.ExpiresAt)
	if err != nil {
		return Enrolment{}, fmt.Errorf("store the enrolment: %w", err)
	}
	if err := recordEnrolmentEvent(ctx, tx, e, 0, "", actor, e.CreatedAt); err != nil {
		return Enrolment{}, err
	}
	if known {
		if err := e.change(ctx, tx, EnrolmentRefused, actor, ReasonAlreadyCustomer, e.CreatedAt); err != nil {
			return Enrolment{}, err
		}
	}
	return e, s.issueCode(ctx, tx, code, e.CreatedAt)
}

// knownPhone reports whether a number is a customer's who is not closed, and not the
// one that is excepted.
func knownPhone(ctx context.Context, tx *sqldb.Tx, phone string, except uuid.UUID) (bool, error) {
	var n int64
	err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM customers WHERE phone = $1 AND status <> 'closed' AND id <> $2", []any{phone, except}, &n)
	if err != nil {
		return false, fmt.Errorf("look for a telephone number: %w", err)
	}
	return n > 0, nil
}

// replaceEnrolments ends what is open for a number, in one of some states.
func replaceEnrolments(ctx context.Context, tx *sqldb.Tx, phone string, states []EnrolmentState, actor string, now time.Time) error {
	list, err := enrolments(ctx, tx, "phone = $1 AND closed_at IS NULL", []any{phone}, tx.ForUpdate())
	if err != nil {
		return fmt.Errorf("find enrolments of a number: %w", err)
	}
	for _, e := range list {
		if !slices.Contains(states, e.State) {
			continue
		}
		if err := endCodes(ctx, tx, e.ID, now); err != nil {
			return err
		}
		if err := e.change(ctx, tx, EnrolmentExpired, actor, ReasonRestarted, now); err != nil {
			return err
		}
	}
	return nil
}

// The steps that the page of an enrolment asks for.
const (
	StepCode   = "code"   // the one-time code
	StepCard   = "card"   // a payment card
	StepSecret = "secret" // the secret code of the customer's choice
	StepDone   = "done"
)

// EnrolmentPage is what the page of an enrolment shows.
type EnrolmentPage struct {
	Step           string
	PhoneEnd       string // the last two digits
	ExpiresAt      time.Time
	CustomerNumber string // at StepDone
	// Registration is the newest visit to the card processor's page, at StepCard; nil:
	// there was none.
	Registration *CardRegistration
	TakesCards   bool   // customers can register cards here
	Stamp        string // to come back with the form
}

func errNoEnrolment() error {
	return ledger.Errorf(ledger.CodeNotFound, "this address to open an account is not, or no longer, good; begin again")
}

// EnrolmentPage returns what the page of an enrolment shows. An address that was never
// given out, or is not good any more, is CodeNotFound. As long as the number was not
// proven the page asks for the code until its time is over, whatever happened.
func (s *Service) EnrolmentPage(ctx context.Context, token string) (EnrolmentPage, error) {
	now := s.engine.Now()
	var e Enrolment
	var customer Customer
	var visit *CardRegistration
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		visit = nil
		if e, err = enrolmentOfToken(ctx, tx, token, now, ""); err != nil {
			return err
		}
		switch {
		case e.State == EnrolmentEnrolled:
			customer, err = FindCustomerByID(ctx, tx, e.CustomerID)
		case s.step(e) == StepCard:
			visit, err = s.newestRegistration(ctx, tx, e.ID, now)
		}
		return err
	})
	if err != nil {
		return EnrolmentPage{}, err
	}
	page := EnrolmentPage{Step: s.step(e), PhoneEnd: e.Phone[len(e.Phone)-phoneEnd:], ExpiresAt: e.ExpiresAt, CustomerNumber: customer.Number,
		Registration: visit, TakesCards: s.TakesCards()}
	page.Stamp, err = s.pageStamp("enrolment", e.ID, now)
	return page, err
}

func (s *Service) step(e Enrolment) string {
	switch {
	case !e.proven():
		return StepCode
	case e.State == EnrolmentEnrolled:
		return StepDone
	case e.State == EnrolmentPhoneVerified && s.config.Enrolment.CardRequired:
		return StepCard
	}
	return StepSecret
}

// enrolmentOfToken returns the enrolment of an address that is good. One that was
// proven and then ended is over.
func enrolmentOfToken(ctx context.Context, tx *sqldb.Tx, token string, now time.Time, tail string) (Enrolment, error) {
	if len(token) != tokenLength {
		return Enrolment{}, errNoEnrolment()
	}
	list, err := enrolments(ctx, tx, "token_hash = $1", []any{hashToken(token)}, tail)
	if err != nil {
		return Enrolment{}, fmt.Errorf("find the enrolment of an address: %w", err)
	}
	if len(list) == 0 || !now.Before(list[0].ExpiresAt) || list[0].Phone == "" {
		return Enrolment{}, errNoEnrolment()
	}
	e := list[0]
	if !e.State.Open() && e.State != EnrolmentEnrolled {
		ended, err := endedProven(ctx, tx, e.ID)
		if err != nil || ended {
			return Enrolment{}, errors.Join(err, errNoEnrolment())
		}
	}
	return e, nil
}

// endedProven reports whether an enrolment had its number proven before it ended.
func endedProven(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) (bool, error) {
	var n int64
	err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM enrolment_events WHERE enrolment_id = $1 AND to_state = 'phone_verified'", []any{id}, &n)
	return n > 0, err
}
