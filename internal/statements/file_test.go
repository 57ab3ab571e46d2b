package statements_test

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/statements"
	"tweetledger/ledger"
)

func signed(t testing.TB) statements.Signed {
	t.Helper()
	s := statements.Statement{Issuer: "S-money", Payee: "acf", Name: "Action contre la Faim", Number: 2, From: date(11, 1), To: date(11, 30), Currency: ledger.EUR,
		Opening: 10000, Closing: 2000, IssuedAt: time.Date(2026, 12, 1, 8, 0, 0, 5000, time.UTC), Before: [32]byte{1, 2},
		Lines: []statements.Line{
			{TransactionID: uuid.UUID{1}, Date: date(10, 31), Entry: "donation", Reference: "AB12", Donor: "Élodie", Amount: 2000, EndToEndID: "PO-1", PayoutState: "settled",
				SettledOn: date(11, 3), BankReference: "REF"},
			{TransactionID: uuid.UUID{2}, Posting: 1, Date: date(11, 2), Entry: "payout", Reference: "x", EndToEndID: "PO-1", PayoutState: "returned", ReturnReason: "AC04", Amount: -10000},
		}}
	out, err := s.Sign(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestFileIsReadAsItWasWritten(t *testing.T) {
	s := signed(t)
	text, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	read, err := statements.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := read.Verify(s.PublicKey); err != nil {
		t.Error(err)
	}
	again, err := read.Encode()
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("written once more it is\n%s\n%v, not\n%s", again, err, text)
	}
	if err := s.Table().Check(); err != nil {
		t.Error(err)
	}
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	if err := read.Verify(other); ledger.CodeOf(err) != ledger.CodeInvalid || !strings.Contains(err.Error(), "is signed with key") {
		t.Errorf("another key: %v", err)
	}
}

// Whatever is changed in a file, it is no longer trusted, and the error says where.
func TestChangedFileIsRefused(t *testing.T) {
	s := signed(t)
	text, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to, want string }{
		{`"donor": "Élodie"`, `"donor": "Elodie"`, "digest"},
		{`"amount": "20.00"`, `"amount": "30.00"`, "closing"},
		{`"amount": "20.00"`, `"amount": "20.001"`, "lines[0].amount"},
		{`"closing_payable": "20.00"`, `"closing_payable": "20.01"`, "closing"},
		{`"number": 2`, `"number": 1`, "before"},
		{`"number": 2`, `"number": 3`, "digest"},
		{`"from": "2026-11-01"`, `"from": "2026-12-01"`, "no day"},
		{`"from": "2026-11-01"`, `"from": "yesterday"`, "not a statement"},
		{`"date": "2026-11-02"`, `"date": "2026-12-02"`, "lines[1]"},
		{`"reconciled_with_bank": true`, `"reconciled_with_bank": false`, "lines[0].reconciled_with_bank"},
		{`"return_reason": "AC04"`, `"return_reason": "AC\u0000"`, "lines[1]"},
		{`"posting": 1`, `"posting": 1000`, "lines[1]"},
		{`"issued_at": "2026`, `"issued_at": "x2026`, "issued_at"},
		{`"currency": "EUR"`, `"currency": "ZZZ"`, "currency"},
		{`"format": "tweetledger donation statement 1"`, `"format": "tweetledger donation statement 2"`, "format"},
		{`"issuer"`, `"isuer"`, "unknown field"},
		{`"signature": "`, `"signature": "AAAA`, "signature"},
		{`"public_key": "`, `"public_key": "AAAA`, "key"},
		{"\n}\n", "\n} {}", "follows"},
		{"\n}\n", "\n", "not a statement"},
	} {
		changed := strings.Replace(string(text), c.from, c.to, 1)
		if changed == string(text) {
			t.Errorf("the file has no %s", c.from)
			continue
		}
		read, err := statements.Parse([]byte(changed))
		if err == nil {
			err = read.Verify(s.PublicKey)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s for %s: %v; want one that says %q", c.to, c.from, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	text, err := signed(f).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"format":"tweetledger donation statement 1","lines":[{}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		read, err := statements.Parse(text)
		if err != nil {
			return
		}
		again, err := read.Encode()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if once, err := statements.Parse(again); err != nil || once.Digest() != read.Digest() {
			t.Fatalf("what was written is read as another statement: %v", err)
		}
	})
}
