package twitter

import (
	"strings"
	"unicode/utf8"

	"tweetledger/internal/payments"
)

// glance tells from the bytes of a text that it asks for nothing, as most do, without
// taking it apart: that it does not mention the bank, or has neither a command nor
// enough digits for a secret code. It says what read would say, or nothing where it
// takes read to find out.
func (p *Parser) glance(m *payments.Message) payments.IgnoreReason {
	text := m.Text
	mentioned := m.Kind == payments.Direct
	if !mentioned && strings.IndexByte(text, '@') < 0 && !holdsWideAt(text) {
		return payments.IgnoredNoMention
	}
	digits, linkAt := 0, -1
	symbolEnd := -1 // behind the last symbol, where an invisible character is part of an emoji
	for i := 0; i < len(text); i++ {
		switch p.bytes[text[i]] {
		case otherByte:
		case digitByte:
			digits++
		case atByte:
			bank, ok := p.glanceMention(m, i, linkAt)
			if !ok {
				return ""
			}
			mentioned = mentioned || bank
		case hashByte:
			if !p.glanceHashtag(text[i+1:]) {
				return ""
			}
		case colonByte:
			if i+1 < len(text) && text[i+1] == '/' {
				linkAt = i
			}
		case wideByte:
			r, size := utf8.DecodeRuneInString(text[i:])
			c := p.runes.of(r)
			switch {
			case c.is(plainForm) && r >= firstSymbol && !c.is(^anyForm), c.is(hiddenForm) && symbolEnd == i:
				symbolEnd = i + size
			case !c.is(plainForm|blankForm) && r != '…':
				return ""
			case c.is(otherDigitClass):
				digits++
			}
			i += size - 1
		}
	}
	switch {
	case !mentioned:
		return payments.IgnoredNoMention
	case digits >= secretLength:
		return ""
	}
	return payments.IgnoredNoHashtag
}

// byteKind is what a byte is at a glance.
type byteKind uint8

const (
	otherByte byteKind = iota
	digitByte
	atByte
	hashByte
	colonByte
	wideByte // part of a character beyond ASCII
)

func newByteKinds() (kinds [256]byteKind) {
	for b := range kinds {
		switch {
		case b >= utf8.RuneSelf:
			kinds[b] = wideByte
		case digit(rune(b)):
			kinds[b] = digitByte
		}
	}
	kinds['@'], kinds['#'], kinds[':'] = atByte, hashByte, colonByte
	return kinds
}

// firstSymbol is the first of the blocks of arrows, technical signs, shapes and
// emoji. None of them is a quotation mark or a space.
const firstSymbol = 0x2190

// holdsWideAt reports whether the text has one of the characters that NFKC makes an
// @ of: U+FF20 and U+FE6B.
func holdsWideAt(text string) bool {
	return strings.IndexByte(text, 0xEF) >= 0 && (strings.Contains(text, "＠") || strings.Contains(text, "﹫"))
}

// glanceMention judges the @ at i. Not ok: it may be inside a link, or may begin the
// words of somebody else ("RT @ami").
func (p *Parser) glanceMention(m *payments.Message, i, linkAt int) (bank, ok bool) {
	text := m.Text
	if linkAt >= 0 && !holdsBlank(text[linkAt:i]) {
		return false, false
	}
	before := i - 1
	for before >= 0 && (text[before] <= ' ' || text[before] == 0x7F) {
		before--
	}
	if before >= 0 && text[before] == 'T' {
		return false, false
	}
	if before >= 0 && text[before] >= utf8.RuneSelf {
		if r, _ := utf8.DecodeLastRuneInString(text[:before+1]); p.runes.of(r).is(spaceClass | breakClass) {
			return false, false
		}
	}
	if i > 0 && !mayPrecedeMention(rune(text[i-1])) {
		return false, true
	}
	end := i + 1 + asciiWordLength(text[i+1:])
	if end < len(text) && text[end] >= utf8.RuneSelf {
		if r, _ := utf8.DecodeRuneInString(text[end:]); p.runes.of(r).is(wordClass) {
			return false, true // a handle goes on in letters that none has
		}
	}
	_, who := p.resolve(m, text[i+1:end])
	return who == theBank, true
}

func holdsBlank(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' {
			return true
		}
	}
	return false
}

func asciiWordLength(s string) int {
	n := 0
	for n < len(s) && asciiWord(rune(s[n])) {
		n++
	}
	return n
}

// glanceHashtag reports whether what follows a # is certainly no command.
func (p *Parser) glanceHashtag(rest string) bool {
	n := asciiWordLength(rest)
	if n < len(rest) && rest[n] >= utf8.RuneSelf {
		if r, _ := utf8.DecodeRuneInString(rest[n:]); p.runes.of(r).is(wordClass) {
			return p.asciiTags // those do not go on in letters beyond ASCII
		}
	}
	if n > longestHashtag {
		return true
	}
	var lower [longestHashtag]byte
	for i := range n {
		lower[i] = rest[i]
		if 'A' <= rest[i] && rest[i] <= 'Z' {
			lower[i] += 'a' - 'A'
		}
	}
	return p.hashtags[string(lower[:n])] == nil
}
