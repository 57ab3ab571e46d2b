package render

import (
	"strings"
	"unicode"
)

const replacement = '\uFFFD'

// visible makes s safe to show: control characters become their pictures (␛),
// whatever else has no shape of its own (bidirectional overrides, zero-width
// spaces, invalid UTF-8) becomes U+FFFD. Text from tweets and bank files could
// otherwise steer the terminal or make a line read as another.
func visible(s string) string { return strings.Map(shown, s) }

func shown(r rune) rune {
	switch {
	case r < 0x20:
		return '\u2400' + r
	case r == 0x7f:
		return '\u2421'
	case r == '\u200c' || r == '\u200d': // joiners: Persian, Indic scripts and emoji need them
		return r
	case !unicode.IsGraphic(r):
		return replacement
	}
	return r
}
