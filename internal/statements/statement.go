package statements

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/ledger"
)

// Bounds of a statement.
const (
	// MaxLines bounds a statement, which is issued in one database transaction. Who
	// receives more is sent one for a shorter period.
	MaxLines = 50_000
	maxText  = 512 // bytes of one text of a line
	maxName  = 120 // bytes of the issuer's and of the payee's name
)

// Format is the first thing that a file of a statement says.
const Format = "tweetledger donation statement 1"

// Statement is what a charity or business was owed at first, all that was posted
// to its account and had not been stated before, and what it is owed at the end.
type Statement struct {
	Issuer   string // holder of the account that pays
	Payee    string // code
	Name     string // of the payee
	Number   int64  // of the payee, from 1, without a gap
	From, To ledger.Date
	Currency ledger.Currency
	// Opening and Closing are owed before and at the end, in minor units. Opening is
	// the closing of the statement before.
	Opening, Closing ledger.Amount
	IssuedAt         time.Time         // UTC, microseconds
	Before           [sha256.Size]byte // digest of the statement before; zero for the first
	Lines            []Line            // in the order of the journal
}

// Line is one posting on the payee's account, and what was known of it when the
// statement was issued.
type Line struct {
	TransactionID uuid.UUID
	Posting       int // from 0
	// Date is the effective date. One before the statement's period is of an entry
	// that was recorded after that day had been stated: a correction.
	Date      ledger.Date
	Entry     string // "donation", "reversal", "commission", "payout", "payout returned" …
	Reference string // that the donor was told as well
	Donor     string // name, of who consented; else a pseudonym; empty where it is no donation
	// EndToEndID is the payout that the line is part of; empty: none yet.
	EndToEndID    string
	PayoutState   string
	SettledOn     ledger.Date // when the bank paid that; zero: it has not
	BankReference string
	ReturnReason  string
	Amount        ledger.Amount // minor units by which what is owed grows or shrinks
}

// Reconciled reports whether the bank's own statement bears the line out: money
// that it is part of was seen to leave the account.
func (l Line) Reconciled() bool { return !l.SettledOn.IsZero() }

// Validate checks that the statement adds up and could be one. The error is a
// ledger.Error with CodeInvalid that names the field.
func (s Statement) Validate() error {
	invalid := func(field, format string, args ...any) error {
		return ledger.Errorf(ledger.CodeInvalid, format, args...).InField(field)
	}
	switch {
	case !ledger.Printable(s.Issuer, maxName):
		return invalid("issuer", "the issuer's name must be 1 to %d bytes of printable text", maxName)
	case !ledger.Printable(s.Payee, maxName):
		return invalid("payee", "the payee's code must be 1 to %d bytes of printable text", maxName)
	case !ledger.Printable(s.Name, maxText):
		return invalid("name", "the payee's name must be 1 to %d bytes of printable text", maxText)
	case s.Number < 1:
		return invalid("number", "statements have numbers from 1, not %d", s.Number)
	case (s.Number == 1) != (s.Before == [sha256.Size]byte{}):
		return invalid("before", "a statement names the one before it, and the first names none")
	case s.From.IsZero() || s.To.IsZero() || s.To.Before(s.From):
		return invalid("to", "the period from %s to %s has no day", s.From, s.To)
	case !s.Currency.Known():
		return invalid("currency", "%q is not a currency that is known here", ledger.Clip(string(s.Currency)))
	case s.IssuedAt.IsZero():
		return invalid("issued_at", "the statement needs the instant at which it was issued")
	case len(s.Lines) > MaxLines:
		return invalid("lines", "the statement has %d lines; at most %d fit", len(s.Lines), MaxLines)
	}
	balance := s.Opening
	for i, line := range s.Lines {
		err := line.validate(s.To)
		if err == nil {
			balance, err = balance.Add(line.Amount)
		}
		if err != nil {
			return ledger.Errorf(ledger.CodeInvalid, "%w", err).InField(fmt.Sprintf("lines[%d]", i))
		}
	}
	if balance != s.Closing {
		return invalid("closing", "the statement does not add up: its lines lead from %s to %s, not to %s",
			s.Opening.Format(s.Currency), balance.Format(s.Currency), s.Closing.Format(s.Currency))
	}
	return nil
}

func (l Line) validate(to ledger.Date) error {
	switch {
	case l.Amount == 0:
		return ledger.Errorf(ledger.CodeInvalid, "the line is of nothing")
	case l.Date.IsZero() || to.Before(l.Date):
		return ledger.Errorf(ledger.CodeInvalid, "the line of %s is after the statement's last day", l.Date)
	case l.Posting < 0 || l.Posting >= ledger.MaxPostings:
		return ledger.Errorf(ledger.CodeInvalid, "a transaction has no posting %d", l.Posting)
	case l.Entry == "" || l.Reference == "":
		return ledger.Errorf(ledger.CodeInvalid, "the line does not say what it is")
	}
	for _, text := range []string{l.Entry, l.Reference, l.Donor, l.EndToEndID, l.PayoutState, l.BankReference, l.ReturnReason} {
		if text != "" && !ledger.Printable(text, maxText) {
			return ledger.Errorf(ledger.CodeInvalid, "the line has a text that is not 1 to %d bytes of printable text", maxText)
		}
	}
	return nil
}

// turnover is what the lines take from what is owed, and what they add to it.
func (s Statement) turnover() (debits, credits ledger.Amount) {
	for _, l := range s.Lines {
		if l.Amount < 0 {
			debits -= l.Amount
		} else {
			credits += l.Amount
		}
	}
	return debits, credits
}

// canonical spells the statement in bytes: what is signed. Texts come with their
// lengths, so that no two statements are spelt alike.
func (s Statement) canonical() []byte {
	b := speller{buf: make([]byte, 0, 512+256*len(s.Lines))}
	b.text(Format, s.Issuer, s.Payee, s.Name, s.From.String(), s.To.String(), string(s.Currency))
	b.number(s.Number, int64(s.Opening), int64(s.Closing), s.IssuedAt.UnixMicro(), int64(len(s.Lines)))
	b.buf = append(b.buf, s.Before[:]...)
	for _, l := range s.Lines {
		b.buf = append(b.buf, l.TransactionID[:]...)
		b.number(int64(l.Posting), int64(l.Amount))
		b.text(l.Date.String(), l.Entry, l.Reference, l.Donor, l.EndToEndID, l.PayoutState, dayText(l.SettledOn), l.BankReference, l.ReturnReason)
	}
	return b.buf
}

type speller struct{ buf []byte }

func (b *speller) number(numbers ...int64) {
	for _, n := range numbers {
		b.buf = binary.BigEndian.AppendUint64(b.buf, uint64(n))
	}
}

func (b *speller) text(texts ...string) {
	for _, t := range texts {
		b.number(int64(len(t)))
		b.buf = append(b.buf, t...)
	}
}

func dayText(d ledger.Date) string {
	if d.IsZero() {
		return ""
	}
	return d.String()
}

// Digest is the SHA-256 of all that the statement says: only this one has it.
func (s Statement) Digest() [sha256.Size]byte { return sha256.Sum256(s.canonical()) }

// Signed is a statement that the holder of a key has signed. Only Verify says
// whether the signature is right.
type Signed struct {
	Statement
	PublicKey ed25519.PublicKey
	Signature []byte
}

// Sign returns the statement with the key's signature.
func (s Statement) Sign(key ed25519.PrivateKey) (Signed, error) {
	if err := s.Validate(); err != nil {
		return Signed{}, err
	}
	if len(key) != ed25519.PrivateKeySize {
		return Signed{}, ledger.Errorf(ledger.CodeInvalid, "a private key of Ed25519 has %d bytes, not %d", ed25519.PrivateKeySize, len(key)).InField("key")
	}
	public, _ := key.Public().(ed25519.PublicKey)
	return Signed{Statement: s, PublicKey: public, Signature: ed25519.Sign(key, s.canonical())}, nil
}

// Verify checks that the statement adds up, that it is as it was signed, and by
// this key. Without a key (nil) it takes the one that came with it, which shows
// only that they belong together: anyone can sign with a key of one's own.
func (s Signed) Verify(pinned ed25519.PublicKey) error {
	if err := s.Validate(); err != nil {
		return err
	}
	switch {
	case len(s.PublicKey) != ed25519.PublicKeySize:
		return ledger.Errorf(ledger.CodeInvalid, "a public key of Ed25519 has %d bytes, not %d", ed25519.PublicKeySize, len(s.PublicKey)).InField("public_key")
	case pinned != nil && !pinned.Equal(s.PublicKey):
		return ledger.Errorf(ledger.CodeInvalid, "the statement is signed with key %s, not with %s", ledger.KeyID(s.PublicKey), ledger.KeyID(pinned)).InField("public_key")
	case !ed25519.Verify(s.PublicKey, s.canonical(), s.Signature):
		return ledger.Errorf(ledger.CodeInvalid, "the signature is not one of this statement with key %s; it was changed after it was signed", ledger.KeyID(s.PublicKey)).InField("signature")
	}
	return nil
}
