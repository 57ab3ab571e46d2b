package twitter

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// char is one code point of the normalised text, with the span of code points
// of the original that it came from.
type char struct {
	r        rune
	from, to int32
}

// normalize appends the text's NFKC form to into: no-break and narrow spaces
// become spaces, full-width digits and letters plain ones; characters that
// cannot be seen (zero-width, bidirectional controls, variation selectors) are
// dropped. A character that merely contains a digit (², ①, ½) stays what it is:
// read as that digit, "20²€" would be 202 euros.
func normalize(into []char, text string) []char {
	at := int32(0)
	for len(text) > 0 {
		quick := norm.NFKC.QuickSpanString(text)
		for _, r := range text[:quick] {
			into = appendChar(into, r, at, at+1)
			at++
		}
		text = text[quick:]
		if text == "" {
			break
		}
		next := max(norm.NFKC.NextBoundaryInString(text, true), 1)
		into, at = appendSegment(into, text[:next], at)
		text = text[next:]
	}
	return into
}

// appendSegment appends one segment that is not normal as it stands.
func appendSegment(into []char, segment string, at int32) ([]char, int32) {
	end := at + int32(utf8.RuneCountInString(segment))
	normal := norm.NFKC.String(segment)
	if holdsDigit(normal) && !holdsNumber(segment) {
		for _, r := range segment {
			into = appendChar(into, r, at, at+1)
			at++
		}
		return into, end
	}
	for _, r := range normal {
		into = appendChar(into, r, at, end)
	}
	return into, end
}

// holdsDigit reports whether s has one of the digits that amounts are made of.
func holdsDigit(s string) bool {
	for i := range len(s) {
		if digit(rune(s[i])) {
			return true
		}
	}
	return false
}

// holdsNumber reports whether s has a decimal digit of any script or style.
func holdsNumber(s string) bool {
	for _, r := range s {
		if unicode.IsDigit(r) {
			return true
		}
	}
	return false
}

func appendChar(into []char, r rune, from, to int32) []char {
	if r >= 0x80 && invisible(r) {
		return into
	}
	return append(into, char{r, from, to})
}

// invisible reports whether r has no glyph of its own: format characters (zero
// width, bidirectional, soft hyphen, tags), variation selectors, the grapheme joiner.
func invisible(r rune) bool {
	return unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Variation_Selector, r) || r == 0x034F
}

func digit(r rune) bool { return r >= '0' && r <= '9' }

// asciiWord reports whether r may stand in a handle.
func asciiWord(r rune) bool {
	return digit(r) || r == '_' || (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z')
}

// wordRune reports whether r may stand in a hashtag.
func wordRune(r rune) bool {
	if r < 0x80 {
		return asciiWord(r)
	}
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r)
}

// horizontalSpace reports whether r separates words on one line. Control
// characters do: they are not seen, and must not glue two numbers together.
func horizontalSpace(r rune) bool {
	if r < 0x80 {
		return r == ' ' || (r < 0x20 && !lineBreak(r)) || r == 0x7F
	}
	return unicode.Is(unicode.Zs, r) || (unicode.IsControl(r) && !lineBreak(r))
}

func lineBreak(r rune) bool {
	switch r {
	case '\n', '\r', '\v', '\f', 0x85, 0x2028, 0x2029:
		return true
	}
	return false
}
