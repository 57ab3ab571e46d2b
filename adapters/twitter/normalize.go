package twitter

import (
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// char is one character of the normalised text, with the span of bytes of the
// original that it came from.
type char struct {
	r        rune
	from, to int32
	class    class
}

// normalize appends the text's NFKC form to into: no-break and narrow spaces
// become spaces, full-width digits and letters plain ones; characters that
// cannot be seen (zero-width, bidirectional controls, variation selectors) are
// dropped. A character that merely contains a digit (², ①, ½) stays what it is:
// read as that digit, "20²€" would be 202 euros.
func (t *runeTable) normalize(into []char, text string) []char {
	settled := 0 // nothing before it joins what follows
	for i := 0; i < len(text); {
		if b := text[i]; b < utf8.RuneSelf {
			into = append(into, char{r: rune(b), from: int32(i), to: int32(i) + 1, class: t[b]})
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		switch c := t.of(r); {
		case c.is(plainForm):
			into = append(into, char{r: r, from: int32(i), to: int32(i + size), class: c})
			i += size
		case c.is(blankForm):
			into = append(into, char{r: ' ', from: int32(i), to: int32(i + size), class: t[' ']})
			i += size
		case c.is(hiddenForm):
			i += size
		default:
			into, i = t.normalizeSegment(into, text, settled, i)
			settled = i
		}
	}
	return into
}

// normalizeSegment appends what NFKC makes of the text around i, where a character
// stands that is changed or joins the one before it. Nothing before settled is
// touched. It returns where to go on.
func (t *runeTable) normalizeSegment(into []char, text string, settled, i int) ([]char, int) {
	start := i
	if i > settled {
		_, before := utf8.DecodeLastRuneInString(text[settled:i])
		start -= before
		for len(into) > 0 && int(into[len(into)-1].from) >= start {
			into = into[:len(into)-1]
		}
	}
	end := start + max(norm.NFKC.NextBoundaryInString(text[start:], true), 1)
	segment := text[start:end]
	normal := norm.NFKC.String(segment)
	if t.holds(normal, digitClass) && !t.holds(segment, digitClass|otherDigitClass) {
		for k := start; k < end; {
			r, size := utf8.DecodeRuneInString(text[k:])
			into = t.appendChar(into, r, k, k+size)
			k += size
		}
		return into, end
	}
	for _, r := range normal {
		into = t.appendChar(into, r, start, end)
	}
	return into, end
}

func (t *runeTable) holds(s string, what class) bool {
	for _, r := range s {
		if t.of(r).is(what) {
			return true
		}
	}
	return false
}

func (t *runeTable) appendChar(into []char, r rune, from, to int) []char {
	if r >= utf8.RuneSelf && invisible(r) {
		return into
	}
	return append(into, char{r: r, from: int32(from), to: int32(to), class: t.of(r)})
}
