package twitter

import (
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// class is what a character is to the parser, as a set of the bits below.
type class uint16

const (
	digitClass      class = 1 << iota // 0 to 9, which amounts are made of
	otherDigitClass                   // digits of other scripts
	letterClass
	markClass       // what combines with a letter
	underscoreClass // _
	spaceClass      // separates words on one line
	breakClass      // ends a line
	moneyClass      // currency signs

	// The forms of a character of the original text. One with none of them is
	// changed by NFKC, or may join what stands before it.
	plainForm  // stands as it is
	hiddenForm // has no glyph and is dropped
	blankForm  // becomes a plain space
)

const (
	wordClass = digitClass | otherDigitClass | letterClass | markClass | underscoreClass // what stands in a hashtag
	anyForm   = plainForm | hiddenForm | blankForm
)

func (c class) is(of class) bool { return c&of != 0 }

// tableRunes bounds the table: below it are the scripts, signs and symbols of
// European texts.
const tableRunes = 0x3000

// runeTable tells the classes of the characters that texts are mostly made of.
type runeTable [tableRunes]class

// stretches are rows of characters beyond the table with what they all are: emoji, and
// what selects them, and the letters of eastern Asia.
func stretches() [7]stretch {
	return [...]stretch{
		{0x1F300, 0x1FAFF, plainForm}, {0x1F1E6, 0x1F1FF, plainForm}, {0xFE00, 0xFE0F, hiddenForm | markClass},
		{0x3041, 0x3096, plainForm | letterClass}, {0x30A1, 0x30FA, plainForm | letterClass},
		{0x4E00, 0x9FFF, plainForm | letterClass}, {0xAC00, 0xD7A3, plainForm | letterClass},
	}
}

type stretch struct {
	first, last rune
	class       class
}

func newRuneTable() *runeTable {
	var t runeTable
	for r := range rune(tableRunes) {
		t[r] = classOf(r) | formOf(r)
	}
	return &t
}

// of returns classes and form of r.
func (t *runeTable) of(r rune) class {
	if r < tableRunes {
		return t[r]
	}
	for _, s := range stretches() {
		if s.first <= r && r <= s.last {
			return s.class
		}
	}
	return classOf(r)
}

// classOf finds the classes of any character.
func classOf(r rune) class {
	switch {
	case '0' <= r && r <= '9':
		return digitClass
	case r == '_':
		return underscoreClass
	case lineBreak(r):
		return breakClass
	// Control characters separate words: they are not seen, and must not glue two
	// numbers together.
	case unicode.Is(unicode.Zs, r), unicode.IsControl(r):
		return spaceClass
	case unicode.IsLetter(r):
		return letterClass
	case unicode.IsMark(r):
		return markClass
	case unicode.IsDigit(r):
		return otherDigitClass
	case unicode.Is(unicode.Sc, r):
		return moneyClass
	}
	return 0
}

// formOf finds out what becomes of r in a normalised text whatever follows it.
func formOf(r rune) class {
	s := string(r)
	form := norm.NFKC.String(s)
	switch {
	case !norm.NFKC.PropertiesString(s).BoundaryBefore():
		return 0
	case form == " ":
		return blankForm
	case form != s:
		return 0
	case invisible(r):
		return hiddenForm
	}
	return plainForm
}

// invisible reports whether r has no glyph of its own: format characters (zero
// width, bidirectional, soft hyphen, tags), variation selectors, the grapheme joiner.
func invisible(r rune) bool {
	return unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Variation_Selector, r) || r == 0x034F
}

func lineBreak(r rune) bool {
	switch r {
	case '\n', '\r', '\v', '\f', 0x85, 0x2028, 0x2029:
		return true
	}
	return false
}

func digit(r rune) bool { return r >= '0' && r <= '9' }

// asciiWord reports whether r may stand in a handle.
func asciiWord(r rune) bool {
	return digit(r) || r == '_' || (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z')
}
