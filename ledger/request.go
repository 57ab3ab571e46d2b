package ledger

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Request is something the engine is asked to do to the book, under an
// idempotency key: PostRequest, HoldRequest, PostHoldRequest, VoidHoldRequest or
// ReverseRequest.
type Request interface {
	// IdempotencyKey is chosen by the caller and lives for ever: the same key and
	// request give what the first came to (of a hold, how it stands now), another
	// request is CodeConflict.
	IdempotencyKey() string
	// Validate checks what can be checked without the book. The error is an
	// Error with CodeInvalid that names the field.
	Validate() error
	// Hash identifies the request's content.
	Hash() [sha256.Size]byte
}

// PostRequest asks for a transaction. All of its postings are made, or none.
type PostRequest struct {
	Key           string
	Journal       string
	Label         string
	EffectiveDate Date // zero: today in Paris
	Source        Source
	Metadata      map[string]string
	Postings      []Posting   // 1 to MaxPostings
	Conditions    []Condition // at most MaxConditions, each of another account
	// Adjustment lets it into a period that is soft_closed. Who may ask for that,
	// the caller has checked.
	Adjustment bool
}

// HoldRequest asks to set Amount aside for a later posting from Credit's to
// Debit's account.
type HoldRequest struct {
	Key       string
	Debit     uuid.UUID
	Credit    uuid.UUID
	Amount    Amount
	Currency  Currency
	ExpiresAt time.Time // UTC; zero: never by itself
	Source    Source
}

// PostHoldRequest asks to post a hold, in full or in part.
type PostHoldRequest struct {
	Key    string
	HoldID uuid.UUID
	// Amount to post, at most what remains; 0 posts all that remains. After a
	// part, the rest stays held unless ReleaseRest is set.
	Amount        Amount
	ReleaseRest   bool
	Journal       string
	Label         string
	EffectiveDate Date // zero: today in Paris
	Metadata      map[string]string
	Adjustment    bool // as in PostRequest
}

// VoidHoldRequest asks to release what remains of a hold.
type VoidHoldRequest struct {
	Key    string
	HoldID uuid.UUID
	// Expired asks for the state HoldExpired, which is refused with CodeInvalid
	// before the hold's time has come.
	Expired bool
}

// ReverseRequest asks for a transaction that undoes another: the same postings
// with debit and credit exchanged. Each posting is reversed once.
type ReverseRequest struct {
	Key           string
	TransactionID uuid.UUID
	// Postings are the ordinals, from 0 and ascending, of the postings to reverse;
	// none is the whole transaction, which is refused with CodeAlreadyReversed
	// where some of it was reversed before.
	Postings []int
	Label    string
	// EffectiveDate must not be before that of the transaction. Zero is today in
	// Paris, or the transaction's own date where that is later.
	EffectiveDate Date
	Metadata      map[string]string
	Adjustment    bool // as in PostRequest
}

// IdempotencyKey implements Request.
func (r PostRequest) IdempotencyKey() string { return r.Key }

// IdempotencyKey implements Request.
func (r HoldRequest) IdempotencyKey() string { return r.Key }

// IdempotencyKey implements Request.
func (r PostHoldRequest) IdempotencyKey() string { return r.Key }

// IdempotencyKey implements Request.
func (r VoidHoldRequest) IdempotencyKey() string { return r.Key }

// IdempotencyKey implements Request.
func (r ReverseRequest) IdempotencyKey() string { return r.Key }

// Validate implements Request.
func (r PostRequest) Validate() error {
	if err := firstError(validateKey(r.Key), validateJournal(r.Journal), validateLabel(r.Label),
		validateEffectiveDate(r.EffectiveDate), r.Source.validate(), validateMetadata(r.Metadata)); err != nil {
		return err
	}
	if len(r.Postings) < 1 || len(r.Postings) > MaxPostings {
		return Errorf(CodeInvalid, "a transaction has 1 to %d postings, not %d", MaxPostings, len(r.Postings)).InField("postings")
	}
	for i, p := range r.Postings {
		if err := p.validate(); err != nil {
			return within(err, fmt.Sprintf("postings[%d]", i))
		}
	}
	return validateConditions(r.Conditions)
}

// Validate implements Request.
func (r HoldRequest) Validate() error {
	return firstError(validateKey(r.Key), validateExpiry(r.ExpiresAt), r.Source.validate(),
		Posting{Debit: r.Debit, Credit: r.Credit, Amount: r.Amount, Currency: r.Currency}.validate())
}

// Validate implements Request.
func (r PostHoldRequest) Validate() error {
	if r.HoldID == uuid.Nil {
		return Errorf(CodeInvalid, "name the hold to post").InField("hold_id")
	}
	if r.Amount < 0 {
		return Errorf(CodeInvalid, "the amount must be above zero, or 0 for all, not %d", int64(r.Amount)).InField("amount")
	}
	return firstError(validateKey(r.Key), validateJournal(r.Journal), validateLabel(r.Label),
		validateEffectiveDate(r.EffectiveDate), validateMetadata(r.Metadata))
}

// Validate implements Request.
func (r VoidHoldRequest) Validate() error {
	if r.HoldID == uuid.Nil {
		return Errorf(CodeInvalid, "name the hold to release").InField("hold_id")
	}
	if r.Expired && r.Key == ExpiryKey(r.HoldID) {
		return nil
	}
	return validateKey(r.Key)
}

// Validate implements Request.
func (r ReverseRequest) Validate() error {
	if r.TransactionID == uuid.Nil {
		return Errorf(CodeInvalid, "name the transaction to reverse").InField("transaction_id")
	}
	return firstError(validateKey(r.Key), validateOrdinals(r.Postings), validateLabel(r.Label),
		validateEffectiveDate(r.EffectiveDate), validateMetadata(r.Metadata))
}

func validateOrdinals(ordinals []int) error {
	if len(ordinals) > MaxPostings {
		return Errorf(CodeInvalid, "a transaction has at most %d postings to reverse, not %d", MaxPostings, len(ordinals)).InField("postings")
	}
	for i, ordinal := range ordinals {
		place := fmt.Sprintf("postings[%d]", i)
		if ordinal < 0 || ordinal >= MaxPostings {
			return Errorf(CodeInvalid, "postings are counted from 0 to %d, there is no %d", MaxPostings-1, ordinal).InField(place)
		}
		if i > 0 && ordinal <= ordinals[i-1] {
			return Errorf(CodeInvalid, "posting %d comes after %d; name each once, in ascending order", ordinal, ordinals[i-1]).InField(place)
		}
	}
	return nil
}

// Hash implements Request.
func (r PostRequest) Hash() [sha256.Size]byte {
	h := newHasher("post")
	h.text(r.Journal, r.Label, r.EffectiveDate.String(), r.Source.Channel, r.Source.ID, r.Source.Date.String())
	h.metadata(r.Metadata)
	h.number(int64(len(r.Postings)))
	for _, p := range r.Postings {
		h.posting(p.Debit, p.Credit, p.Amount, p.Currency)
	}
	if len(r.Conditions) > 0 {
		h.text("conditions")
		h.number(int64(len(r.Conditions)))
		for _, c := range r.Conditions {
			c.hash(h)
		}
	}
	h.adjustment(r.Adjustment)
	return h.sum()
}

// Hash implements Request.
func (r HoldRequest) Hash() [sha256.Size]byte {
	h := newHasher("hold")
	h.posting(r.Debit, r.Credit, r.Amount, r.Currency)
	h.number(microseconds(r.ExpiresAt))
	h.text(r.Source.Channel, r.Source.ID, r.Source.Date.String())
	return h.sum()
}

// Hash implements Request.
func (r PostHoldRequest) Hash() [sha256.Size]byte {
	h := newHasher("post_hold")
	h.text(r.HoldID.String(), fmt.Sprint(r.ReleaseRest), r.Journal, r.Label, r.EffectiveDate.String())
	h.number(int64(r.Amount))
	h.metadata(r.Metadata)
	h.adjustment(r.Adjustment)
	return h.sum()
}

// Hash implements Request.
func (r VoidHoldRequest) Hash() [sha256.Size]byte {
	h := newHasher("void_hold")
	h.text(r.HoldID.String(), fmt.Sprint(r.Expired))
	return h.sum()
}

// Hash implements Request.
func (r ReverseRequest) Hash() [sha256.Size]byte {
	h := newHasher("reverse")
	h.text(r.TransactionID.String(), r.Label, r.EffectiveDate.String())
	h.metadata(r.Metadata)
	if len(r.Postings) > 0 {
		h.text("postings")
		h.number(int64(len(r.Postings)))
		for _, ordinal := range r.Postings {
			h.number(int64(ordinal))
		}
	}
	h.adjustment(r.Adjustment)
	return h.sum()
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// within puts the field of err under place: "amount" becomes "postings[2].amount".
func within(err error, place string) error {
	if e, ok := errors.AsType[*Error](err); ok {
		inner := *e
		inner.Field = place
		if e.Field != "" {
			inner.Field += "." + e.Field
		}
		return &inner
	}
	return err
}
