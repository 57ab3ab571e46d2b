package payments

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
	"golang.org/x/text/unicode/norm"
)

// MaxWeight is the most that the text of a post may weigh. Source: twitter-text,
// configuration v3, maxWeightedTweetLength.
const MaxWeight = 280

// The weights of X's counting, in hundredths of a character. Source: twitter-text,
// configuration v3 (scale 100).
const (
	weightScale   = 100
	lightWeight   = 100
	defaultWeight = 200
	addressLength = 23 // of an address, however long: X makes a short one of it
)

// Weigh counts the characters of a text as X does: most letters of European scripts,
// spaces and punctuation are one, everything else is two, an emoji is two however
// many code points it takes, and an address with its protocol is 23. The text is
// counted in NFC.
func Weigh(text string) int {
	weight := 0
	for text = norm.NFC.String(text); text != ""; {
		if n := addressAt(text); n > 0 {
			weight += addressLength * weightScale
			text = text[n:]
			continue
		}
		cluster, rest, _, _ := uniseg.FirstGraphemeClusterInString(text, -1)
		weight += weighCluster(cluster)
		text = rest
	}
	return (weight + weightScale - 1) / weightScale
}

// addressAt returns the length of the address that text begins with, or 0.
func addressAt(text string) int {
	protocol := ""
	for _, p := range []string{"https://", "http://"} {
		if len(text) > len(p) && strings.EqualFold(text[:len(p)], p) {
			protocol = p
		}
	}
	if protocol == "" {
		return 0
	}
	for i, r := range text[len(protocol):] {
		if unicode.IsSpace(r) {
			return len(protocol) + i
		}
	}
	return len(text)
}

func weighCluster(cluster string) int {
	first, size := utf8.DecodeRuneInString(cluster)
	if size < len(cluster) && isEmoji(first, cluster) || first == '©' || first == '®' {
		return defaultWeight
	}
	weight := 0
	for _, r := range cluster {
		weight += weighRune(r)
	}
	return weight
}

// isEmoji reports whether a cluster of several code points is an emoji: a symbol with
// what selects, colours or joins it, a flag, or a key cap.
func isEmoji(first rune, cluster string) bool {
	const firstSymbol, keycap = 0x2000, '\u20E3'
	last, _ := utf8.DecodeLastRuneInString(cluster)
	return last == keycap || (first > firstSymbol && !unicode.In(first, unicode.L, unicode.M, unicode.N, unicode.Z, unicode.C))
}

// weighRune is the weight of a character by itself. Source: twitter-text,
// configuration v3, ranges.
func weighRune(r rune) int {
	switch {
	case r <= 4351, 8192 <= r && r <= 8205, 8208 <= r && r <= 8223, 8242 <= r && r <= 8247:
		return lightWeight
	}
	return defaultWeight
}
