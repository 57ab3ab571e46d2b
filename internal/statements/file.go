package statements

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"tweetledger/ledger"
)

// MaxFile bounds the file of a statement, in bytes: MaxLines of common length take
// half.
const MaxFile = 64 << 20

// file is a signed statement as it is handed out. Amounts are decimal, in the
// statement's currency. The digest and the key's id follow from the rest; they are
// there for people to compare.
type file struct {
	Format    string      `json:"format"`
	Issuer    string      `json:"issuer"`
	Payee     string      `json:"payee"`
	Name      string      `json:"name"`
	Number    int64       `json:"number"`
	From      ledger.Date `json:"from"`
	To        ledger.Date `json:"to"`
	Currency  string      `json:"currency"`
	Opening   string      `json:"opening_payable"`
	Closing   string      `json:"closing_payable"`
	IssuedAt  string      `json:"issued_at"`
	Before    string      `json:"statement_before,omitempty"`
	Lines     []fileLine  `json:"lines"`
	Digest    string      `json:"digest"`
	KeyID     string      `json:"key_id"`
	PublicKey []byte      `json:"public_key"`
	Signature []byte      `json:"signature"`
}

type fileLine struct {
	Date          ledger.Date  `json:"date"`
	Entry         string       `json:"entry"`
	Reference     string       `json:"reference"`
	Donor         string       `json:"donor,omitempty"`
	Amount        string       `json:"amount"`
	Payout        string       `json:"payout,omitempty"`
	PayoutState   string       `json:"payout_state,omitempty"`
	SettledOn     *ledger.Date `json:"settled_on,omitempty"`
	BankReference string       `json:"bank_reference,omitempty"`
	ReturnReason  string       `json:"return_reason,omitempty"`
	Reconciled    bool         `json:"reconciled_with_bank"`
	Transaction   uuid.UUID    `json:"transaction"`
	Posting       int          `json:"posting"`
}

// Encode writes s as a file: JSON, the same bytes at every time.
func (s Signed) Encode() ([]byte, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	digest := s.Digest()
	f := file{Format: Format, Issuer: s.Issuer, Payee: s.Payee, Name: s.Name, Number: s.Number, From: s.From, To: s.To, Currency: string(s.Currency),
		Opening: s.Opening.Format(s.Currency), Closing: s.Closing.Format(s.Currency), IssuedAt: s.IssuedAt.UTC().Format(time.RFC3339Nano),
		Lines: make([]fileLine, len(s.Lines)), Digest: hex.EncodeToString(digest[:]), KeyID: ledger.KeyID(s.PublicKey),
		PublicKey: s.PublicKey, Signature: s.Signature}
	if s.Number > 1 {
		f.Before = hex.EncodeToString(s.Before[:])
	}
	for i, l := range s.Lines {
		f.Lines[i] = fileLine{Date: l.Date, Entry: l.Entry, Reference: l.Reference, Donor: l.Donor, Amount: l.Amount.Format(s.Currency),
			Payout: l.EndToEndID, PayoutState: l.PayoutState, BankReference: l.BankReference, ReturnReason: l.ReturnReason,
			Reconciled: l.Reconciled(), Transaction: l.TransactionID, Posting: l.Posting}
		if !l.SettledOn.IsZero() {
			f.Lines[i].SettledOn = &l.SettledOn
		}
	}
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write a statement: %w", err)
	}
	return append(text, '\n'), nil
}

// Parse reads what Encode writes. It checks the form, the digest and the key's id,
// but not the signature: Verify does. The error is a ledger.Error with CodeInvalid
// that says where.
func Parse(text []byte) (Signed, error) {
	if len(text) > MaxFile {
		return Signed{}, ledger.Errorf(ledger.CodeInvalid, "the file has more than %d bytes; a statement has not", MaxFile)
	}
	var f file
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		return Signed{}, ledger.Errorf(ledger.CodeInvalid, "the file is not a statement: at byte %d: %w", decoder.InputOffset(), err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Signed{}, ledger.Errorf(ledger.CodeInvalid, "something follows the statement at byte %d", decoder.InputOffset())
	}
	if f.Format != Format {
		return Signed{}, ledger.Errorf(ledger.CodeInvalid, "%q is not a format that is known here; %q is", ledger.Clip(f.Format), Format).InField("format")
	}
	s, err := f.statement()
	if err != nil {
		return Signed{}, err
	}
	if err := s.Validate(); err != nil {
		return Signed{}, err
	}
	if digest := s.Digest(); f.Digest != hex.EncodeToString(digest[:]) {
		return Signed{}, ledger.Errorf(ledger.CodeInvalid, "the digest is not that of the statement, which is %x; one of them was changed", digest).InField("digest")
	}
	if len(s.PublicKey) != 32 || f.KeyID != ledger.KeyID(s.PublicKey) {
		return Signed{}, ledger.Errorf(ledger.CodeInvalid, "the key's id is not that of the key").InField("key_id")
	}
	return s, nil
}

func (f file) statement() (Signed, error) {
	s := Signed{Statement: Statement{Issuer: f.Issuer, Payee: f.Payee, Name: f.Name, Number: f.Number, From: f.From, To: f.To,
		Currency: ledger.Currency(f.Currency)}, PublicKey: f.PublicKey, Signature: f.Signature}
	if !s.Currency.Known() {
		return Signed{}, ledger.Errorf(ledger.CodeInvalid, "%q is not a currency that is known here", ledger.Clip(f.Currency)).InField("currency")
	}
	var err error
	if s.IssuedAt, err = time.Parse(time.RFC3339Nano, f.IssuedAt); err != nil {
		return Signed{}, ledger.Errorf(ledger.CodeInvalid, "%q is not an instant", ledger.Clip(f.IssuedAt)).InField("issued_at")
	}
	if f.Before != "" {
		before, err := hex.DecodeString(f.Before)
		if err != nil || len(before) != len(s.Before) {
			return Signed{}, ledger.Errorf(ledger.CodeInvalid, "the digest of the statement before has 64 hexadecimal digits").InField("statement_before")
		}
		copy(s.Before[:], before)
	}
	amount := func(text, field string) ledger.Amount {
		a, failed := ledger.ParseAmount(text, s.Currency)
		if failed != nil && err == nil {
			err = ledger.Errorf(ledger.CodeInvalid, "%w", failed).InField(field)
		}
		return a
	}
	s.Opening, s.Closing = amount(f.Opening, "opening_payable"), amount(f.Closing, "closing_payable")
	s.Lines = make([]Line, len(f.Lines))
	for i, l := range f.Lines {
		s.Lines[i] = Line{TransactionID: l.Transaction, Posting: l.Posting, Date: l.Date, Entry: l.Entry, Reference: l.Reference, Donor: l.Donor,
			EndToEndID: l.Payout, PayoutState: l.PayoutState, BankReference: l.BankReference, ReturnReason: l.ReturnReason,
			Amount: amount(l.Amount, fmt.Sprintf("lines[%d].amount", i))}
		if l.SettledOn != nil {
			s.Lines[i].SettledOn = *l.SettledOn
		}
		if l.Reconciled != s.Lines[i].Reconciled() && err == nil {
			err = ledger.Errorf(ledger.CodeInvalid, "reconciled_with_bank is not what settled_on says").InField(fmt.Sprintf("lines[%d].reconciled_with_bank", i))
		}
	}
	return s, err
}
