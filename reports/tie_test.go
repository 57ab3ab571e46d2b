package reports

import (
	"math"
	"strings"
	"testing"

	"tweetledger/ledger"
)

// A book of postings cannot be out of balance, so that what the trial balance
// says of one is tested on amounts that never were in a book.
func TestTrialBalanceSaysLoudlyThatABookDoesNotTie(t *testing.T) {
	line := func(opening, debits, credits ledger.Amount) *trialLine {
		l := &trialLine{currency: ledger.EUR}
		l.opening.add(opening, 0)
		l.movement.add(debits, credits)
		return l
	}
	for _, tc := range []struct {
		line *trialLine
		want string
		ties bool
	}{
		{line(0, 12345, 12345), "Debits and credits tie in EUR: 123.45 on either side.", true},
		{line(0, 12345, 12344), "THE BOOK DOES NOT TIE: the period's debits less credits leave 0.01 EUR", false},
		{line(0, 0, math.MaxInt64), "leave -92233720368547758.07 EUR", false},
		{line(5, 1, 1), "THE BOOK DOES NOT TIE: the opening debits less credits leave 0.05 EUR", false},
	} {
		note, ties := tc.line.tieNote()
		if ties != tc.ties || !strings.Contains(note, tc.want) {
			t.Errorf("got %q, %v; want %q, %v", note, ties, tc.want, tc.ties)
		}
	}
}

func TestSumIsExactBeyond64Bits(t *testing.T) {
	var s sum
	for range 3 {
		s.add(math.MaxInt64)
	}
	if _, err := s.cash(ledger.EUR); ledger.CodeOf(err) != ledger.CodeOverflow {
		t.Errorf("got %v", err)
	}
	for range 2 {
		s.add(-math.MaxInt64)
	}
	if cash, err := s.cash(ledger.EUR); err != nil || cash.Amount != math.MaxInt64 {
		t.Errorf("got %v, %v", cash, err)
	}
}
