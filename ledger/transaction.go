package ledger

import (
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Posting moves Amount from the credit side's account to the debit side's: one
// row, so it always balances.
type Posting struct {
	Debit    uuid.UUID
	Credit   uuid.UUID
	Amount   Amount // minor units, above zero
	Currency Currency
	// Reverses is the posting that this one undoes, or zero. Only a ReverseRequest
	// makes such postings; in a PostRequest it must be zero.
	Reverses PostingRef
}

// PostingRef names a posting of the book. The zero PostingRef names none.
type PostingRef struct {
	TransactionID uuid.UUID
	Ordinal       int // place among the transaction's postings, from 0
}

// Source says what outside the book gave rise to a transaction: the tweet, the
// bank statement's entry, the staff member's voucher (PieceRef and PieceDate of
// the FEC).
type Source struct {
	Channel string `json:"channel,omitempty"` // "twitter", "bank", "staff", …
	ID      string `json:"id,omitempty"`
	Date    Date   `json:"date,omitzero"`
}

// Transaction is a list of postings that happened together. It is never changed
// and never deleted; a correction is a reversal.
type Transaction struct {
	ID            uuid.UUID // TransactionID(Key)
	Key           string    // idempotency key, unique for ever
	Journal       string    // journal code, such as "VIR"
	Label         string    // no personal data: it goes into the tax file
	EffectiveDate Date      // Paris business date
	RecordedAt    time.Time // UTC, microseconds
	Source        Source
	Metadata      map[string]string
	Reverses      uuid.UUID // the transaction that this one reverses, or Nil
	HoldID        uuid.UUID // the hold that this one posts, or Nil
	Postings      []Posting
	Place         Cursor // in the journal; zero before it is posted
	// FiscalYear and Number are its place in the sealed journal: the fiscal year is
	// named after the year in which it begins, and numbers run from 1 without a
	// gap. Both are 0 until it is sealed.
	FiscalYear int
	Number     int64
}

// Namespaces of the name-based (version 5) UUIDs. They are part of the format of
// every book: changing one would make every idempotency key look new.
var (
	keyNamespace     = uuid.MustParse("6f6c8f3e-8a57-5a0e-9a53-0f1d7d1b4b11")
	accountNamespace = uuid.MustParse("0b7b6d55-3c4e-5d53-8d34-6f0c1a1f2c22")
)

// IDOfKey returns the id that the transaction, hold or void made under an
// idempotency key has. That the id follows from the key makes the primary key
// the idempotency check.
func IDOfKey(key string) uuid.UUID { return uuid.NewSHA1(keyNamespace, []byte(key)) }

// Bounds of a request. Text is counted in bytes.
const (
	MaxKey           = 200
	MaxLabel         = 140
	MaxPostings      = 1000 // of one transaction
	MaxSourceChannel = 32
	MaxSourceID      = 128
	MaxMetadataKeys  = 16
	MaxMetadataKey   = 40
	MaxMetadataValue = 256
)

// The journals that the service itself posts to. Any code of 1 to 8 capital
// letters and digits is a journal.
const (
	JournalTransfers = "VIR" // payments by customers
	JournalCards     = "CB"  // card top-ups, settlements, chargebacks
	JournalPayouts   = "PAY" // payouts to charities, businesses and customers
	JournalBank      = "BQ"  // what the bank statement says
	JournalMisc      = "OD"  // opérations diverses: what staff post by hand
	JournalClosing   = "CL"  // clôture: closing entries of a fiscal year
)

var (
	journalPattern     = regexp.MustCompile(`^[A-Z0-9]{1,8}$`)
	channelPattern     = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	metadataKeyPattern = regexp.MustCompile(`^[a-z][a-z0-9_.-]*$`)
)

// Printable reports whether s is 1 to most bytes of UTF-8 without control or
// formatting characters (a right-to-left override would make a journal lie).
func Printable(s string, most int) bool {
	if s == "" || len(s) > most || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsGraphic(r) {
			return false
		}
	}
	return true
}

// expiryPrefix begins the keys of ExpiryKey. Nothing else may: who took one before
// its hold expires would keep it from expiring.
const expiryPrefix = "expire:"

// ExpiryKey returns the idempotency key under which sweepers let a hold expire.
func ExpiryKey(hold uuid.UUID) string { return expiryPrefix + hold.String() }

func validateKey(key string) error {
	if !Printable(key, MaxKey) {
		return Errorf(CodeInvalid, "the idempotency key must be 1 to %d bytes of printable text", MaxKey).InField("key")
	}
	if strings.HasPrefix(key, expiryPrefix) {
		return Errorf(CodeInvalid, "keys that begin with %s are those of holds that expire; choose another", expiryPrefix).InField("key")
	}
	return nil
}

func validateJournal(journal string) error {
	if !journalPattern.MatchString(journal) {
		return Errorf(CodeInvalid, "%q is not a journal code: 1 to 8 capital letters or digits", Clip(journal)).InField("journal")
	}
	return nil
}

func validateLabel(label string) error {
	if !Printable(label, MaxLabel) {
		return Errorf(CodeInvalid, "the label must be 1 to %d bytes of printable text", MaxLabel).InField("label")
	}
	return nil
}

// validateDate checks a date that may be left out.
func validateDate(d Date, field string) error {
	if !d.IsZero() && !d.valid() {
		return Errorf(CodeInvalid, "%s is not a day of the calendar", d).InField(field)
	}
	return nil
}

// validateEffectiveDate checks the day of a posting, which may be left out.
func validateEffectiveDate(d Date) error {
	if err := validateDate(d, "effective_date"); err != nil {
		return err
	}
	if !d.IsZero() && !postable(d) {
		return Errorf(CodeInvalid, "%s is not between %s and %s, the days that can be posted to", d, MinEffectiveDate, MaxEffectiveDate).InField("effective_date")
	}
	return nil
}

// validateExpiry keeps out what a database cannot store or would sort wrongly.
func validateExpiry(t time.Time) error {
	if year := t.UTC().Year(); year < 1 || year > 9999 {
		return Errorf(CodeInvalid, "the year %d is not between 1 and 9999", year).InField("expires_at")
	}
	return nil
}

func (s Source) validate() error {
	if err := validateDate(s.Date, "source.date"); err != nil {
		return err
	}
	switch {
	case s.Channel == "" && s.ID == "":
		return nil
	case len(s.Channel) > MaxSourceChannel || !channelPattern.MatchString(s.Channel):
		return Errorf(CodeInvalid, "%q is not a source channel: 1 to %d of a-z 0-9 -", Clip(s.Channel), MaxSourceChannel).InField("source.channel")
	case !Printable(s.ID, MaxSourceID):
		return Errorf(CodeInvalid, "the source id must be 1 to %d bytes of printable text", MaxSourceID).InField("source.id")
	}
	return nil
}

// ValidMetadataKey reports whether metadata can have this key.
func ValidMetadataKey(key string) bool {
	return len(key) <= MaxMetadataKey && metadataKeyPattern.MatchString(key)
}

func validateMetadata(metadata map[string]string) error {
	if len(metadata) > MaxMetadataKeys {
		return Errorf(CodeInvalid, "metadata has %d keys; at most %d are kept", len(metadata), MaxMetadataKeys).InField("metadata")
	}
	for key, value := range metadata {
		if !ValidMetadataKey(key) {
			return Errorf(CodeInvalid, "%q is not a metadata key: 1 to %d of a-z 0-9 _ . -", Clip(key), MaxMetadataKey).InField("metadata")
		}
		if value != "" && !Printable(value, MaxMetadataValue) {
			return Errorf(CodeInvalid, "the value must be at most %d bytes of printable text", MaxMetadataValue).InField("metadata." + key)
		}
	}
	return nil
}

func (p Posting) validate() error {
	switch {
	case p.Debit == uuid.Nil:
		return Errorf(CodeInvalid, "the posting needs a debit account").InField("debit")
	case p.Credit == uuid.Nil:
		return Errorf(CodeInvalid, "the posting needs a credit account").InField("credit")
	case p.Debit == p.Credit:
		return Errorf(CodeInvalid, "debit and credit are the same account").InField("credit")
	case p.Amount <= 0:
		return Errorf(CodeInvalid, "the amount must be above zero, not %d", int64(p.Amount)).InField("amount")
	case !p.Currency.Known():
		return Errorf(CodeInvalid, "%q is not an ISO 4217 currency code", Clip(string(p.Currency))).InField("currency")
	case p.Reverses != PostingRef{}:
		return Errorf(CodeInvalid, "only a reversal undoes a posting; ask for one of transaction %s", p.Reverses.TransactionID).InField("reverses")
	}
	return nil
}
