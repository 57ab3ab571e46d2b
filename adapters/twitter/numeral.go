package twitter

import (
	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// maxDigitGroups bounds the groups of digits in a number: three of thousands
// and one of decimals is the most that maxWholeDigits leaves sense for.
const maxDigitGroups = 4

// numeral is a number taken apart: groups of digits and what stands between
// them. sizes[i] is the length of group i, separators[i] what follows it.
type numeral struct {
	groups     int
	sizes      [maxDigitGroups]int
	separators [maxDigitGroups]rune
	whole      int64 // the value of the groups before a decimal mark
	wholeSize  int   // their digits
	fraction   int64 // the value of the last group
	lastDigit  rune
	zeroFirst  bool // it starts with a 0
}

const wideGap = '\u2003' // stands for more than one space between two groups

// value returns the amount that the number t states, or why it is none. A space
// may group thousands (French writes 1 250,00); point and comma are decimal
// marks, and where three digits follow they may as well group: nobody can tell.
func (s *scanned) value(t token) (ledger.Amount, payments.RefusalCode) {
	n, ok := s.takeApart(t)
	if !ok {
		if s.plainDigits(t) {
			return 0, payments.RefusedTooLarge
		}
		return 0, payments.RefusedAmbiguousAmount
	}
	decimals, code := n.decimals()
	if code != "" {
		return 0, code
	}
	if n.zeroFirst && n.wholeSize > 1 {
		return 0, payments.RefusedAmbiguousAmount // "0250€": a mark was lost
	}
	if n.wholeSize > maxWholeDigits {
		return 0, payments.RefusedTooLarge
	}
	amount := ledger.Amount(n.whole * 100)
	switch decimals {
	case 1:
		amount += ledger.Amount(n.fraction * 10)
	case 2:
		amount += ledger.Amount(n.fraction)
	}
	if amount == 0 {
		return 0, payments.RefusedNotPositive
	}
	return amount, ""
}

// takeApart reads t's digits; false where it has more than fit in a numeral.
func (s *scanned) takeApart(t token) (numeral, bool) {
	const mostDigits = 18 // what an int64 holds whatever the digits
	n := numeral{groups: 1, zeroFirst: s.chars[t.from].r == '0'}
	var all, last int64
	var digits, lastSize int
	for i := t.from; i < t.to; i++ {
		r := s.chars[i].r
		if digit(r) {
			if digits++; digits > mostDigits {
				return n, false
			}
			all, last = all*10+int64(r-'0'), last*10+int64(r-'0')
			lastSize++
			n.lastDigit = r
			continue
		}
		if n.groups == maxDigitGroups {
			return n, false
		}
		n.sizes[n.groups-1], n.separators[n.groups-1] = lastSize, s.separator(&i)
		n.groups++
		n.whole, n.wholeSize = all, digits
		last, lastSize = 0, 0
	}
	n.sizes[n.groups-1], n.fraction = lastSize, last
	if n.groups == 1 || n.lastSeparator() == ' ' {
		n.whole, n.wholeSize = all, digits
	}
	return n, true
}

// separator returns the separator at i and moves i to its last character.
func (s *scanned) separator(i *int32) rune {
	if !s.chars[*i].class.is(spaceClass) {
		return s.chars[*i].r
	}
	start := *i
	for s.chars[*i+1].class.is(spaceClass) {
		*i++
	}
	if *i > start {
		return wideGap
	}
	return ' '
}

func (n *numeral) lastSeparator() rune {
	if n.groups == 1 {
		return 0
	}
	return n.separators[n.groups-2]
}

// decimals returns how many decimals the number has, or why it cannot be read.
func (n *numeral) decimals() (int, payments.RefusalCode) {
	last := n.lastSeparator()
	size := n.sizes[n.groups-1]
	switch {
	case last == 0:
		return 0, ""
	case last == ' ':
		if !n.grouped(n.groups, ' ') {
			return 0, payments.RefusedAmbiguousAmount
		}
		return 0, ""
	case last != '.' && last != ',':
		return 0, payments.RefusedAmbiguousAmount
	case n.groups == 2:
		return n.plainDecimals(last, size)
	}
	grouping := n.separators[0]
	if grouping == last || !n.grouped(n.groups-1, grouping) {
		return 0, payments.RefusedAmbiguousAmount
	}
	if size > 2 {
		return 0, payments.RefusedTooManyDecimals
	}
	if grouping != ' ' && (size != 2 || (grouping != '.' && grouping != ',')) {
		return 0, payments.RefusedAmbiguousAmount
	}
	return size, ""
}

// plainDecimals judges a number with one decimal mark and nothing else. Three
// digits after it may be thousands: after a point they always may, after a comma
// (the French decimal mark) where they end in 0, which no decimals do.
func (n *numeral) plainDecimals(mark rune, size int) (int, payments.RefusalCode) {
	if size <= 2 {
		return size, ""
	}
	mayGroup := size == 3 && n.sizes[0] <= 3 && !n.zeroFirst
	if mayGroup && (mark == '.' || n.lastDigit == '0') {
		return 0, payments.RefusedAmbiguousAmount
	}
	return 0, payments.RefusedTooManyDecimals
}

// grouped reports whether the first groups are well-formed thousands: one to
// three digits, then three and three, all with the same mark between.
func (n *numeral) grouped(groups int, mark rune) bool {
	if n.sizes[0] > 3 || n.zeroFirst {
		return false
	}
	for i := 1; i < groups; i++ {
		if n.sizes[i] != 3 || n.separators[i-1] != mark {
			return false
		}
	}
	return true
}
