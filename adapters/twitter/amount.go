package twitter

import (
	"strings"
	"unicode"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// maxWholeDigits bounds an amount before its decimals: a billion euros is not
// sent by tweet, and all that is below fits a ledger.Amount many times over.
const maxWholeDigits = 9

// candidate is a place in the text that states an amount of money, well or
// badly: the tokens first..last. code is why it cannot be accepted, or "".
type candidate struct {
	first, last int
	amount      ledger.Amount
	code        payments.RefusalCode
}

// currencySign is what stands beside a number.
type currencySign uint8

const (
	noCurrency currencySign = iota
	euroSign
	foreignSign
	centSign // of whichever currency: "50 centimes"
)

// theAmount returns the one amount of the text, or why there is not exactly
// one. Two amounts are refused even where they are equal: they may add up.
func (s *scanned) theAmount() (ledger.Amount, *payments.Refusal) {
	found := s.found
	switch {
	case len(found) == 0:
		return 0, s.noAmount()
	case len(found) > 1:
		return 0, s.refusalFor(payments.RefusedTwoAmounts, found[1])
	case found[0].code != "":
		return 0, s.refusalFor(found[0].code, found[0])
	}
	return found[0].amount, nil
}

func (s *scanned) refusalFor(code payments.RefusalCode, c candidate) *payments.Refusal {
	return s.refusalAt(code, s.tokens[c.first].from, s.tokens[c.last].to)
}

// noAmount points at what may have been meant as the amount: a number without a
// currency ("20"), else a currency without a number ("vingt euros").
func (s *scanned) noAmount() *payments.Refusal {
	for _, t := range s.tokens {
		if t.kind == numberToken {
			return s.refusal(payments.RefusedNoAmount, t)
		}
	}
	for i, t := range s.tokens {
		if s.currency(i) != noCurrency {
			return s.refusal(payments.RefusedNoAmount, t)
		}
	}
	return &payments.Refusal{Code: payments.RefusedNoAmount}
}

// findAmounts finds every number that has a currency, in order. A number without
// one ("les 3 bières") is no amount.
func (s *scanned) findAmounts() {
	s.found = s.found[:0]
	free := 0 // the first token that no earlier amount has taken
	for i := 0; i < len(s.tokens); i++ {
		if s.tokens[i].kind != numberToken {
			continue
		}
		c, ok := s.amountAt(i, free)
		if !ok {
			continue
		}
		s.found = append(s.found, c)
		free = c.last + 1
		i = c.last
	}
}

// amountAt judges the number at token i. Tokens before free belong to an
// earlier amount.
func (s *scanned) amountAt(i, free int) (candidate, bool) {
	left, right := noCurrency, s.currency(i+1)
	if i-1 >= free {
		left = s.currencyBefore(i - 1)
	}
	signed := i+2 < len(s.tokens) && s.tokens[i+2].kind == numberToken && s.glued(i+2) && right != noCurrency
	if signed && !s.glued(i+1) && left != noCurrency {
		right, signed = noCurrency, false // "€20 €30": the second sign is the second number's
	}
	c := candidate{first: i, last: i}
	switch {
	case signed:
		c.last = i + 2
		if c.amount, c.code = s.centsAfterSign(i, left, right); c.code == "" {
			c.code = s.context(c)
		}
		return c, true
	case left != noCurrency && right != noCurrency:
		c.first, c.last, c.code = i-1, i+1, payments.RefusedAmbiguousAmount // "€20€"
		return c, true
	case left != noCurrency:
		c.first = i - 1
	case right != noCurrency:
		c.last = i + 1
	case i-2 >= free && minus(s.mark(s.tokens[i-1])) && s.glued(i) && s.currencyBefore(i-2) != noCurrency:
		c.first, c.code = i-2, payments.RefusedNotPositive // "€-5"
		return c, true
	default:
		return c, false
	}
	c.amount, c.code = s.judge(c, i, max(left, right))
	return c, true
}

// judge returns the amount of the number at token i with its currency, or why
// not: what stands around it first (a sign, a sum, a range), then the number.
func (s *scanned) judge(c candidate, i int, sign currencySign) (ledger.Amount, payments.RefusalCode) {
	switch sign {
	case foreignSign:
		return 0, payments.RefusedCurrency
	case centSign:
		return 0, payments.RefusedAmbiguousAmount
	case euroSign, noCurrency:
	}
	if code := s.context(c); code != "" {
		return 0, code
	}
	return s.value(s.tokens[i])
}

// centsAfterSign reads "12€50". Only two digits are cents without doubt, and
// only where all is written in one: "12 €50" may be 12 or 50.
func (s *scanned) centsAfterSign(i int, left, right currencySign) (ledger.Amount, payments.RefusalCode) {
	if right == foreignSign {
		return 0, payments.RefusedCurrency
	}
	cents := s.tokens[i+2]
	if left != noCurrency || right != euroSign || !s.glued(i+1) || !s.plainDigits(s.tokens[i]) || !s.plainDigits(cents) || cents.len() != 2 {
		return 0, payments.RefusedAmbiguousAmount
	}
	whole, code := s.value(s.tokens[i])
	if code != "" && code != payments.RefusedNotPositive {
		return 0, code
	}
	total := whole + ledger.Amount(s.chars[cents.from].r-'0')*10 + ledger.Amount(s.chars[cents.from+1].r-'0')
	if total == 0 {
		return 0, payments.RefusedNotPositive
	}
	return total, ""
}

func (s *scanned) plainDigits(t token) bool {
	for _, c := range s.chars[t.from:t.to] {
		if !c.class.is(digitClass) {
			return false
		}
	}
	return true
}

// currency tells whether token i, standing after a number, is a currency.
func (s *scanned) currency(i int) currencySign {
	if i < 0 || i >= len(s.tokens) {
		return noCurrency
	}
	switch t := s.tokens[i]; t.kind {
	case euroToken:
		return euroSign
	case foreignToken:
		return foreignSign
	case wordToken:
		var buf [longestWord]byte
		if sign := currencyWord(string(s.lower(t, 0, &buf))); sign != noCurrency {
			return sign
		}
		if t.len() == 3 && currencyCode(s.chars[t.from:t.to]) {
			return foreignSign
		}
	default:
	}
	return noCurrency
}

// currencyBefore tells whether token i, standing before a number, is its
// currency: of the words only codes stand there ("EUR 20", not "euros 20").
func (s *scanned) currencyBefore(i int) currencySign {
	sign := s.currency(i)
	if sign != noCurrency && s.tokens[i].kind == wordToken && s.tokens[i].len() != 3 {
		return noCurrency
	}
	return sign
}

// context judges what stands around an amount: a minus, or anything that makes
// it part of something else (a range, a sum, a product, a longer word).
func (s *scanned) context(c candidate) payments.RefusalCode {
	if code := s.before(c.first); code != "" {
		return code
	}
	return s.after(c.last)
}

func (s *scanned) before(first int) payments.RefusalCode {
	if !s.glued(first) {
		return s.operatorBefore(first)
	}
	i := first - 1
	if minus(s.mark(s.tokens[i])) {
		for j := i; s.glued(j); j-- {
			if kind := s.tokens[j-1].kind; kind == numberToken || kind == wordToken || kind == euroToken || kind == foreignToken {
				return payments.RefusedAmbiguousAmount // a range: "10-20€"
			}
		}
		return payments.RefusedNotPositive
	}
	if s.mark(s.tokens[i]) == '.' && s.glued(i) && s.mark(s.tokens[i-1]) == '.' {
		i -= 2 // three points and more are an ellipsis: "merci...20€"
		for s.glued(i+1) && s.mark(s.tokens[i]) == '.' {
			i--
		}
		i++
	} else if !neutralBefore(s, s.tokens[i]) {
		return payments.RefusedAmbiguousAmount
	}
	for ; s.glued(i); i-- {
		switch s.tokens[i-1].kind {
		case numberToken:
			return payments.RefusedAmbiguousAmount // "3*20€", "14:20€"
		case markToken:
			if unicode.IsNumber(s.mark(s.tokens[i-1])) {
				return payments.RefusedAmbiguousAmount // "½'20€"
			}
		case mentionToken, hashtagToken:
			if r := s.mark(s.tokens[i]); (r == '\'' || r == '’') && s.endsInDigit(s.tokens[i-1]) {
				return payments.RefusedAmbiguousAmount // "#resto3'200€"
			}
			return ""
		default:
		}
	}
	return ""
}

func (s *scanned) endsInDigit(t token) bool { return anyDigit(s.chars[t.to-1]) }

// neutralBefore reports whether t may stand glued to the front of an amount
// without a doubt about it.
func neutralBefore(s *scanned, t token) bool {
	switch t.kind {
	case mentionToken, hashtagToken: // "#resto3€20" may be 3.20 or 20
		return !s.endsInDigit(t)
	case breakToken:
		return true
	case markToken:
		r := s.mark(t)
		return strings.ContainsRune(`([{«»“”„"'‘’:;!?=*_|+`, r) || (r >= 0x80 && unicode.Is(unicode.So, r))
	default:
		return false
	}
}

// operatorBefore finds what joins the amount to a number before it, with spaces
// between: "3 x 20€", "10 ou 20€", "10 + 20€".
func (s *scanned) operatorBefore(first int) payments.RefusalCode {
	i := first - 1
	if i < 0 {
		return ""
	}
	joined := i > 0 && s.tokens[i-1].kind == numberToken
	if s.mark(s.tokens[i]) == '−' && !joined {
		return payments.RefusedNotPositive // a true minus sign is one with a space as well
	}
	if !joined {
		return ""
	}
	if joins(s.tokens[i], s) {
		return payments.RefusedAmbiguousAmount
	}
	if r := s.mark(s.tokens[i]); minus(r) || strings.ContainsRune("×*✕✖+/÷:~", r) && r != 0 {
		return payments.RefusedAmbiguousAmount
	}
	return ""
}

// joins reports whether t is a word that makes one amount of two numbers.
func joins(t token, s *scanned) bool {
	var buf [longestWord]byte
	switch string(s.word(t, &buf)) {
	case "x", "à", "a", "ou", "or", "to", "et", "and", "fois", "times":
		return true
	}
	return false
}

func (s *scanned) after(last int) payments.RefusalCode {
	endsInNumber := s.tokens[last].kind == numberToken
	i := last + 1
	for ; i < len(s.tokens) && s.glued(i); i++ {
		switch t := s.tokens[i]; t.kind {
		case numberToken, euroToken, foreignToken:
			return payments.RefusedAmbiguousAmount // "20€x2", "20€/3"
		case mentionToken, hashtagToken, linkToken:
			return ""
		case wordToken:
			if endsInNumber && i == last+1 {
				return payments.RefusedAmbiguousAmount // "€20k"
			}
		case markToken:
			if r := s.mark(t); i == last+1 && (unicode.IsMark(r) || unicode.IsNumber(r) || (endsInNumber && r == '%')) {
				return payments.RefusedAmbiguousAmount // "€20½"
			}
		case breakToken:
		}
	}
	if i >= len(s.tokens) {
		return ""
	}
	return s.continued(i, endsInNumber)
}

// continued judges the first token after an amount and a space: it may go on
// ("12 euros 50", "20€ x 3", "€2 millions").
func (s *scanned) continued(i int, endsInNumber bool) payments.RefusalCode {
	t := s.tokens[i]
	var buf [longestWord]byte
	word := string(s.word(t, &buf))
	switch {
	case t.kind == numberToken && t.len() == 2 && s.standsAlone(i) && s.currency(i+1) == noCurrency:
		return payments.RefusedAmbiguousAmount
	case (word == "x" || s.mark(t) == '×' || s.mark(t) == '*') && i+1 < len(s.tokens) && s.tokens[i+1].kind == numberToken:
		return payments.RefusedAmbiguousAmount
	case endsInNumber && (magnitude(word) || unicode.IsNumber(s.mark(t))):
		return payments.RefusedAmbiguousAmount
	}
	return ""
}

// word returns the lower-case text of a word token, nothing for every other kind.
func (s *scanned) word(t token, buf *[longestWord]byte) []byte {
	if t.kind != wordToken {
		return nil
	}
	return s.lower(t, 0, buf)
}

func magnitude(word string) bool {
	switch word {
	case "k", "m", "mille", "milliers", "million", "millions", "milliard", "milliards", "thousand", "billion", "billions":
		return true
	}
	return false
}

// minus reports whether r is a hyphen, a dash or a minus sign.
func minus(r rune) bool {
	switch r {
	case '-', '‐', '‑', '‒', '–', '—', '―', '−':
		return true
	}
	return false
}

// standsAlone reports whether the number at token i is not part of a word.
func (s *scanned) standsAlone(i int) bool {
	if s.glued(i) && (s.tokens[i-1].kind == wordToken || s.mark(s.tokens[i-1]) == '_') {
		return false
	}
	next := i + 1
	return next >= len(s.tokens) || !s.glued(next) || (s.tokens[next].kind != wordToken && s.mark(s.tokens[next]) != '_')
}
