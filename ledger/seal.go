package ledger

import (
	"crypto/sha256"

	"github.com/google/uuid"
)

// Seal is an entry of the sealed journal: the place that a transaction was given
// for ever, and the hashes that a later change of it would contradict. Each
// journal has one chain of seals a fiscal year.
type Seal struct {
	Journal     string
	FiscalYear  int   // the year in which it begins
	Number      int64 // from 1, without a gap
	Transaction uuid.UUID
	Entry       [sha256.Size]byte // EntryHash
	Link        [sha256.Size]byte // NextLink of the seal before (ChainStart before number 1) and Entry
}

// The first field of what is hashed says what it is, so that the hash of an entry
// cannot pass for a link. The number is the version of the format: published
// heads depend on every byte of it.
const (
	entryFormat = "tweetledger entry 1"
	startFormat = "tweetledger chain 1"
	linkFormat  = "tweetledger link 1"
)

// EntryHash identifies everything that the book says of t as an entry with this
// number in the chain of this journal and fiscal year. No field of t is left out:
// its own journal too, beside the chain's; t.FiscalYear and t.Number are what
// EntryHash is given. Instants count in microseconds, as they are kept.
func EntryHash(journal string, fiscalYear int, number int64, t Transaction) [sha256.Size]byte {
	h := newHasher(entryFormat)
	h.text(journal)
	h.number(int64(fiscalYear))
	h.number(number)
	h.id(t.ID)
	h.text(t.Key, t.Journal, t.Label, t.EffectiveDate.String())
	h.number(microseconds(t.RecordedAt))
	h.text(t.Source.Channel, t.Source.ID, t.Source.Date.String())
	h.metadata(t.Metadata)
	h.id(t.Reverses)
	h.id(t.HoldID)
	h.number(int64(len(t.Postings)))
	for _, p := range t.Postings {
		h.posting(p.Debit, p.Credit, p.Amount, p.Currency)
		h.id(p.Reverses.TransactionID)
		h.number(int64(p.Reverses.Ordinal))
	}
	return h.sum()
}

// ChainStart returns the link before the first entry of a journal and fiscal
// year. It differs from chain to chain, so that none can be passed off as another.
func ChainStart(journal string, fiscalYear int) [sha256.Size]byte {
	h := newHasher(startFormat)
	h.text(journal)
	h.number(int64(fiscalYear))
	return h.sum()
}

// NextLink returns the link of an entry behind the link before it.
func NextLink(previous, entry [sha256.Size]byte) [sha256.Size]byte {
	h := newHasher(linkFormat)
	h.buf = append(append(h.buf, previous[:]...), entry[:]...)
	return h.sum()
}

// ChainLink returns the link of the last of these entries, which follow on start;
// start itself where there are none.
func ChainLink(start [sha256.Size]byte, entries ...[sha256.Size]byte) [sha256.Size]byte {
	link := start
	for _, entry := range entries {
		link = NextLink(link, entry)
	}
	return link
}
