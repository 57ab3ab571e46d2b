package reconciliation

import (
	"encoding/binary"
	"time"

	"tweetledger/ledger"
)

// Side is where an item was found.
type Side string

// The two sides.
const (
	Inside  Side = "inside"  // the book and what the service keeps beside it
	Outside Side = "outside" // tweets, bank statements
)

// Item is what one source says about one movement of money. Sources that say the
// same about a reference agree; each that does not is a break.
type Item struct {
	Side      Side
	Key       string // what the job itself calls it; matchers do not look at it
	Reference string // what both sides call it: an edit chain's key, an end-to-end id
	// Batch is the reference of the item of the other side that stands for this one
	// together with others; empty where it stands for itself.
	Batch string
	// Counterparty is who pays whom, written alike by every source; empty where the
	// source does not say.
	Counterparty string
	Amount       ledger.Amount // minor units
	Currency     ledger.Currency
	Date         ledger.Date // business date; zero where the source does not say
	Source       string      // for people: "the order", "statement 2026-001 entry 3"
}

// days counts days, so that dates can be subtracted; the zero date is day 0.
func days(d ledger.Date) int64 {
	if d.IsZero() {
		return 0
	}
	return d.Midnight(time.UTC).Unix() / 86_400
}

// order appends all that an item says, after a matcher's key, in an encoding whose
// order is total: nothing depends on which of two items came first. Items that say
// whom they concern come first, and so choose first among those that do not.
func (i Item) order(b []byte, byDate bool) []byte {
	if byDate {
		b = orderedNumber(b, days(i.Date))
	}
	b = append(b, 0)
	if i.Counterparty == "" {
		b[len(b)-1] = 1
	}
	return orderedText(orderedNumber(orderedText(b, string(i.Currency)), int64(i.Amount)), i.Counterparty)
}

func (i Item) encode(b []byte) []byte {
	for _, s := range []string{string(i.Side), i.Key, i.Reference, i.Batch, i.Counterparty, string(i.Currency), i.Date.String(), i.Source} {
		b = plainText(b, s)
	}
	return binary.AppendVarint(b, int64(i.Amount))
}

func decodeItem(value []byte) (Item, error) {
	d := decoder{rest: value}
	i := Item{Side: Side(d.text()), Key: d.text(), Reference: d.text(), Batch: d.text(), Counterparty: d.text(), Currency: ledger.Currency(d.text())}
	date := d.text()
	i.Source, i.Amount = d.text(), ledger.Amount(d.number())
	if d.err != nil {
		return Item{}, d.err
	}
	if date != (ledger.Date{}).String() {
		var err error
		if i.Date, err = ledger.ParseDate(date); err != nil {
			return Item{}, err
		}
	}
	return i, nil
}

func agree(items []Item) bool {
	return sameMoney(items) && sameCounterparty(items)
}

func sameMoney(items []Item) bool {
	for _, item := range items {
		if item.Amount != items[0].Amount || item.Currency != items[0].Currency {
			return false
		}
	}
	return true
}

func sameCounterparty(items []Item) bool {
	first := ""
	for _, item := range items {
		switch {
		case item.Counterparty == "":
		case first == "":
			first = item.Counterparty
		case item.Counterparty != first:
			return false
		}
	}
	return true
}

// spread returns by how much the largest and the smallest amount differ, or the
// first amount where they are in different currencies.
func spread(items []Item) ledger.Amount {
	low, high := items[0].Amount, items[0].Amount
	for _, item := range items[1:] {
		if item.Currency != items[0].Currency {
			return items[0].Amount
		}
		low, high = min(low, item.Amount), max(high, item.Amount)
	}
	return high - low
}
