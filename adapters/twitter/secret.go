package twitter

// A secret code has secretLength digits. In a message it looks like one where that
// many digits stand by themselves and are no amount: together ("123456"), in groups
// of one size ("123 456", "12 34 56", "1-2-3-4-5-6"), in the digits of any script,
// or behind a word that says what they are ("code123456").
const secretLength = 6

// keycap makes a key of a telephone of the digit before it.
const keycap = '\u20E3'

// holdsSecret reports whether the text has what looks like a secret code. Amounts
// have been found.
func (s *scanned) holdsSecret() bool {
	digits := 0
	for _, c := range s.chars {
		if anyDigit(c) {
			digits++
		}
	}
	if digits < secretLength || len(s.tokens) == 0 {
		return false
	}
	from := 0
	for _, t := range s.tokens {
		switch t.kind {
		case mentionToken, hashtagToken, linkToken:
			if s.secretBetween(from, int(t.from)) {
				return true
			}
			from = int(t.to)
		default:
		}
	}
	return s.secretBetween(from, int(s.tokens[len(s.tokens)-1].to))
}

func anyDigit(c char) bool { return c.class.is(digitClass | otherDigitClass) }

func (s *scanned) secretBetween(from, to int) bool {
	for i := from; i < to; i++ {
		if !anyDigit(s.chars[i]) {
			continue
		}
		var found bool
		if i, found = s.secretAt(i, to); found {
			return true
		}
	}
	return false
}

// secretAt judges the digits that start at i, and the groups that follow them with
// one space or hyphen between. It returns where they end.
func (s *scanned) secretAt(i, to int) (int, bool) {
	const mostGroups = secretLength
	start, size, total, groups, mark := i, 0, 0, 0, rune(0)
	alike := s.mayBegin(i)
	for {
		group, digits := i, 0
		for ; i < to && (anyDigit(s.chars[i]) || s.chars[i].r == keycap && digits > 0); i++ {
			if s.chars[i].r != keycap {
				digits++
			}
		}
		if digits == secretLength && s.mayBegin(group) && s.mayEnd(i) && !s.isAmount(group) {
			return i, true
		}
		if groups++; groups == 1 {
			size = digits
		}
		total += digits
		alike = alike && digits == size && groups <= mostGroups
		separator := rune(0)
		if i+1 < to && anyDigit(s.chars[i+1]) {
			separator = separatorOf(s.chars[i])
		}
		if separator == 0 {
			break
		}
		alike = alike && (mark == 0 || mark == separator)
		mark = separator
		i++
	}
	date := mark == '-' && groups == 3 // 14-10-14
	return i, alike && total == secretLength && groups > 1 && !date && s.mayEnd(i) && !s.inAmount(start)
}

// separatorOf returns the separator that c is between groups of a code, or 0.
func separatorOf(c char) rune {
	switch {
	case c.class.is(spaceClass):
		return ' '
	case minus(c.r):
		return '-'
	}
	return 0
}

// mayBegin reports whether a code may begin at i: not within a word, unless the word
// announces it, and not behind a decimal mark.
func (s *scanned) mayBegin(i int) bool {
	if i == 0 {
		return true
	}
	before := s.chars[i-1]
	switch {
	case before.class.is(letterClass):
		return s.announced(i)
	case before.class.is(wordClass):
		return false
	}
	return !(decimalMark(before.r) && i > 1 && anyDigit(s.chars[i-2]))
}

// announced reports whether the word that ends before i says that a code follows.
func (s *scanned) announced(i int) bool {
	from := i
	for from > 0 && s.chars[from-1].class.is(letterClass|markClass) {
		from--
	}
	var buf [longestWord]byte
	switch string(s.lower(token{from: int32(from), to: int32(i)}, 0, &buf)) {
	case "code", "secret", "pin", "mdp", "password":
		return true
	}
	return false
}

// mayEnd reports whether a code may end before i.
func (s *scanned) mayEnd(i int) bool {
	if i >= len(s.chars) {
		return true
	}
	if s.chars[i].class.is(wordClass) {
		return false
	}
	return !(decimalMark(s.chars[i].r) && i+1 < len(s.chars) && anyDigit(s.chars[i+1]))
}

func decimalMark(r rune) bool { return r == '.' || r == ',' || r == '\'' || r == '’' }

// isAmount reports whether the digits at char i are all of an amount's number.
func (s *scanned) isAmount(i int) bool {
	for _, c := range s.found {
		for _, t := range s.tokens[c.first : c.last+1] {
			if int(t.from) <= i && i < int(t.to) {
				return s.plainDigits(t)
			}
		}
	}
	return false
}

// inAmount reports whether char i belongs to an amount.
func (s *scanned) inAmount(i int) bool {
	for _, c := range s.found {
		if int(s.tokens[c.first].from) <= i && i < int(s.tokens[c.last].to) {
			return true
		}
	}
	return false
}
