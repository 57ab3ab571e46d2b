package reconciliation

import (
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
	Reference string // what both sides call it: an edit chain's key, an end-to-end id
	// Counterparty is who pays whom, written alike by every source; empty where the
	// source does not say.
	Counterparty string
	Amount       ledger.Amount // minor units
	Currency     ledger.Currency
	Date         ledger.Date // business date; zero where the source does not say
	Source       string      // for people: "the order", "statement 2026-001 entry 3"
}

// Matcher is one way of finding that items belong together. Matchers are tried in
// order, and the name of the first that accepts is kept with the match.
type Matcher struct {
	Name    string
	Accepts func(items []Item) bool
}

// ExactReference accepts items of one reference from both sides that agree in
// amount, currency and counterparty.
func ExactReference() Matcher {
	return Matcher{Name: "exact_reference", Accepts: func(items []Item) bool {
		sides := map[Side]bool{}
		for _, item := range items {
			sides[item.Side] = true
		}
		return sides[Inside] && sides[Outside] && agree(items)
	}}
}

// match returns the name of the first matcher that accepts the items, or "".
func match(matchers []Matcher, items []Item) string {
	for _, m := range matchers {
		if m.Accepts(items) {
			return m.Name
		}
	}
	return ""
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
