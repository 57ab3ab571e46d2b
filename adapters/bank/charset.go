package bank

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// sepaSpellings says how characters are written that decomposition does not
// bring into the SEPA character set.
// Source: EPC217-08, SEPA conversion table; letters with a stroke and ligatures
// as Unicode names them.
var sepaSpellings = map[rune]string{
	'&': "+", '_': "-", '@': ".", '"': ".", '!': ".", ';': ",", '*': ".", '#': ".",
	'[': "(", '{': "(", ']': ")", '}': ")", '\\': "/", '|': "/", '~': "-", '=': "-",
	'‘': "'", '’': "'", '`': "'", '´': "'", '“': ".", '”': ".", '«': ".", '»': ".",
	'–': "-", '—': "-", '‐': "-", '‑': "-", '−': "-", '€': "EUR", '°': ".",
	'ß': "ss", 'ẞ': "SS", 'æ': "ae", 'Æ': "AE", 'œ': "oe", 'Œ': "OE", 'ø': "o", 'Ø': "O",
	'ł': "l", 'Ł': "L", 'đ': "d", 'Đ': "D", 'ð': "d", 'Ð': "D", 'þ': "th", 'Þ': "TH",
	'ı': "i", 'ħ': "h", 'Ħ': "H", 'ŋ': "n", 'Ŋ': "N",
}

// unmappable stands for a character that has no spelling in the SEPA character
// set. The same text always gives the same bytes.
const unmappable = "."

// toSEPA writes s in the SEPA character set (EPC217-08): accents are dropped,
// ligatures spelled out, what cannot be written becomes a point, white space is
// one space. It is empty where nothing of s could be written.
func toSEPA(s string) string {
	var b strings.Builder
	written := false
	space := false
	for _, r := range norm.NFKD.String(s) {
		if unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Cf, r) {
			continue // the accent of the letter before, or an invisible mark
		}
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			space = b.Len() > 0
			continue
		}
		spelled := unmappable
		if isSEPA(r) {
			spelled = string(r)
		} else if known, ok := sepaSpellings[r]; ok {
			spelled = known
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		written = written || spelled != unmappable
		b.WriteString(spelled)
	}
	if !written {
		return ""
	}
	return b.String()
}

// isSEPA reports whether r is in the SEPA character set.
func isSEPA(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return true
	}
	return strings.ContainsRune("/-?:().,'+ ", r)
}

// isReference reports whether s can be a reference of a SEPA message: 1 to 35
// characters of the SEPA set that neither start nor end with a slash, nor hold
// two in a row (EPC217-08), nor start or end with a space, which banks trim.
func isReference(s string) bool {
	if s == "" || len(s) > maxReference || strings.TrimSpace(s) != s ||
		strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/") || strings.Contains(s, "//") {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return !isSEPA(r) })
}

// clipped cuts an ASCII text to at most most bytes, and the space that a cut may
// leave at its end.
func clipped(s string, most int) string {
	if len(s) > most {
		s = s[:most]
	}
	return strings.TrimRight(s, " ")
}
