package payouts

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// ContentHash is the SHA-256 of what the statement says: every field, each with
// its length before it, but Hash itself and the lines of the file. It is the same
// however the bank spaces, indents or encodes the file.
func (s Statement) ContentHash() [sha256.Size]byte {
	h := newContent(Head{Kind: KindStatement, ID: s.ID, Sequence: s.Sequence, IBAN: s.IBAN, Currency: s.Currency, OpeningDate: s.OpeningDate, Opening: s.Opening})
	for _, e := range s.Entries {
		h.entry(e)
	}
	return h.end(End{ClosingDate: s.ClosingDate, Closing: s.Closing})
}

// messageContent hashes a statement or notification while it is read. Entries do
// not know how many there will be, so their number comes at the end.
type messageContent struct {
	contentHasher
	entries int64
}

func newContent(head Head) *messageContent {
	h := &messageContent{contentHasher: contentHasher{sha256.New()}}
	h.text(string(head.Kind)+"/2", head.ID, head.IBAN, string(head.Currency), head.OpeningDate.String())
	h.number(head.Sequence, int64(head.Opening))
	return h
}

func (h *messageContent) entry(e Entry) {
	h.entries++
	h.text("entry", e.Reference, e.BookingDate.String(), e.ValueDate.String())
	h.number(int64(e.Amount), sqldb.Flag(e.Reversal), int64(len(e.Details)))
	for _, d := range e.Details {
		h.text(d.EndToEndID, d.MessageID, d.Remittance, d.ReturnReason)
		h.party(d.Counterparty)
		h.number(int64(d.Amount))
	}
}

func (h *messageContent) end(end End) [sha256.Size]byte {
	h.text("end", end.ClosingDate.String())
	h.number(h.entries, int64(end.Closing))
	return h.sum()
}

// ContentHash is the SHA-256 of what the file tells the bank to do.
func (f PaymentFile) ContentHash() [sha256.Size]byte {
	h := contentHasher{sha256.New()}
	h.text("payment-file/1", f.MessageID, f.CreatedAt.UTC().Format(time.RFC3339Nano), f.ExecutionDate.String(), string(f.Currency))
	h.party(f.Debtor)
	h.number(int64(len(f.Transfers)))
	for _, t := range f.Transfers {
		h.text(t.EndToEndID, t.Remittance)
		h.number(int64(t.Amount))
		h.party(t.Creditor)
		if a := t.Address; a != (payments.Address{}) { // files of before there were addresses keep their hash
			h.text("address", a.Street, a.Building, a.PostCode, a.Town, a.Country)
		}
	}
	return h.sum()
}

// Total is the sum of the file's transfers, or an error with CodeOverflow.
func (f PaymentFile) Total() (ledger.Amount, error) {
	var total ledger.Amount
	for _, t := range f.Transfers {
		var err error
		if total, err = total.Add(t.Amount); err != nil {
			return 0, err
		}
	}
	return total, nil
}

// contentHasher feeds length-prefixed fields to SHA-256, so that no two contents
// are spelled alike.
type contentHasher struct{ h hash.Hash }

func newHasher() contentHasher { return contentHasher{sha256.New()} }

func (h contentHasher) number(numbers ...int64) {
	var buf [8]byte
	for _, n := range numbers {
		binary.BigEndian.PutUint64(buf[:], uint64(n))
		h.h.Write(buf[:])
	}
}

func (h contentHasher) text(fields ...string) {
	for _, s := range fields {
		h.number(int64(len(s)))
		h.h.Write([]byte(s))
	}
}

func (h contentHasher) party(p Party) { h.text(p.Name, p.IBAN, p.BIC) }

func (h contentHasher) sum() (sum [sha256.Size]byte) {
	h.h.Sum(sum[:0])
	return sum
}
