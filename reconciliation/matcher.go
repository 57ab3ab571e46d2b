package reconciliation

import (
	"tweetledger/ledger"
)

// Matcher is one way of finding that items belong together. Matchers are tried in
// order, and the name of the first that accepts is kept with the match.
type Matcher struct {
	Name string
	// Accepts says whether items that have met belong together.
	Accepts func(items []Item) bool
	// Meet returns under what an item meets those of the other side; "" keeps it from
	// this matcher.
	Meet func(Item) string
	// Days is how far the dates of a pair may lie apart; anyDays: as far as they like.
	Days int
	// Sums: items meet whose sum is the one item of the other side that stands for them.
	Sums bool
	// Suggests: a pair is only suggested. It stays open until a person has looked at it.
	Suggests bool
}

// anyDays lets dates lie apart as far as they like.
const anyDays = -1

// DefaultMatchDays is how far the dates of one movement may lie apart in the book and
// at the bank: a weekend, and a holiday before or behind it.
const DefaultMatchDays = 4

// ExactReference accepts items of one reference from both sides that agree in
// amount, currency and counterparty.
func ExactReference() Matcher {
	return Matcher{Name: "exact_reference", Days: anyDays, Meet: func(i Item) string { return i.Reference },
		Accepts: func(items []Item) bool { return bothSides(items) && agree(items) }}
}

// BatchReference accepts one item whose reference all items of a batch on the other
// side name, and whose amount is their sum.
func BatchReference() Matcher {
	return Matcher{Name: "batch_reference", Days: anyDays, Sums: true, Accepts: bothSides, Meet: func(i Item) string {
		if i.Batch != "" {
			return i.Batch
		}
		return i.Reference
	}}
}

// AmountDateCounterparty accepts a pair of one amount and one counterparty, whose
// dates are at most so many days apart, whatever the references.
func AmountDateCounterparty(within int) Matcher {
	return Matcher{Name: "amount_date_counterparty", Days: within, Meet: counterparty, Accepts: func(items []Item) bool { return bothSides(items) && agree(items) }}
}

// WithinTolerance accepts a pair of one counterparty whose amounts differ by at most
// tolerance (minor units) and whose dates by at most so many days. The nearest amount
// is taken, then the nearest date.
func WithinTolerance(tolerance ledger.Amount, within int) Matcher {
	return Matcher{Name: "amount_within_tolerance", Days: within, Meet: counterparty, Accepts: func(items []Item) bool {
		return bothSides(items) && sameCurrency(items) && sameCounterparty(items) && spread(items) <= tolerance
	}}
}

// Suggested suggests a pair of one amount whose dates are at most so many days apart,
// whoever the counterparty is.
func Suggested(within int) Matcher {
	return Matcher{Name: "suggested", Days: within, Suggests: true, Accepts: func(items []Item) bool { return bothSides(items) && sameMoney(items) },
		Meet: func(i Item) string { return i.Amount.Format(i.Currency) + " " + string(i.Currency) }}
}

// counterparty is under what the items of one counterparty meet.
func counterparty(i Item) string { return i.Counterparty }

func bothSides(items []Item) bool {
	inside, outside := false, false
	for _, item := range items {
		inside, outside = inside || item.Side == Inside, outside || item.Side == Outside
	}
	return inside && outside
}

func sameCurrency(items []Item) bool {
	for _, item := range items {
		if item.Currency != items[0].Currency {
			return false
		}
	}
	return true
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
