package reports

import (
	"maps"
	"slices"

	"github.com/shopspring/decimal"

	"tweetledger/ledger"
)

// sum adds up amounts, in minor units of one currency, without overflow: a book
// can hold more in all than one account can.
type sum struct{ minor decimal.Decimal }

func (s *sum) add(a ledger.Amount) { s.minor = s.minor.Add(decimal.NewFromInt(int64(a))) }

func (s sum) plus(t sum) sum  { return sum{s.minor.Add(t.minor)} }
func (s sum) minus(t sum) sum { return sum{s.minor.Sub(t.minor)} }

// cash returns the sum as a cell, or an Error with CodeOverflow where it does not
// fit: no total at all is better than a wrong one.
func (s sum) cash(c ledger.Currency) (Cash, error) {
	if !s.minor.BigInt().IsInt64() {
		return Cash{}, ledger.Errorf(ledger.CodeOverflow,
			"a total of %s minor units of %s does not fit in 64 bits; ask for a shorter period", s.minor, c)
	}
	return Cash{Amount: ledger.Amount(s.minor.IntPart()), Currency: c}, nil
}

// turnover is what went to both sides.
type turnover struct{ debits, credits sum }

func (t turnover) plus(u turnover) turnover {
	return turnover{t.debits.plus(u.debits), t.credits.plus(u.credits)}
}

func (t *turnover) add(debit, credit ledger.Amount) {
	t.debits.add(debit)
	t.credits.add(credit)
}

func (t turnover) isZero() bool { return t.debits.minor.IsZero() && t.credits.minor.IsZero() }

// balance moves what the sides have in common away: one of them becomes zero.
func (t turnover) balance() turnover {
	net := t.debits.minus(t.credits)
	if net.minor.IsNegative() {
		return turnover{credits: sum{net.minor.Neg()}}
	}
	return turnover{debits: net}
}

// cells returns both sides as cells.
func (t turnover) cells(c ledger.Currency) (cells []any, err error) {
	debits, err := t.debits.cash(c)
	if err != nil {
		return nil, err
	}
	credits, err := t.credits.cash(c)
	if err != nil {
		return nil, err
	}
	return []any{debits, credits}, nil
}

// balanceCells returns the balance as cells, nil on the side on which it is not.
func (t turnover) balanceCells(c ledger.Currency) ([]any, error) {
	net := t.balance()
	cells, err := net.cells(c)
	if err != nil {
		return nil, err
	}
	if net.debits.minor.IsZero() {
		cells[0] = nil
	}
	if net.credits.minor.IsZero() {
		cells[1] = nil
	}
	return cells, nil
}

// byCurrency keeps a value for every currency that a report meets.
type byCurrency[T any] map[ledger.Currency]*T

func (m byCurrency[T]) of(c ledger.Currency) *T {
	if m[c] == nil {
		m[c] = new(T)
	}
	return m[c]
}

func (m byCurrency[T]) currencies() []ledger.Currency { return slices.Sorted(maps.Keys(m)) }
