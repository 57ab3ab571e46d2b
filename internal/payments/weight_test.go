package payments

import (
	"strings"
	"testing"
)

// TestWeighAsX has the examples of twitter-text's conformance suite (validate.yml,
// WeightedTweetsWithDiscountedEmojiCounterTest) that are no address without protocol.
func TestWeighAsX(t *testing.T) {
	long := "285 chars-" + strings.Repeat("xxxxxxxxxx-", 25)
	for _, tt := range []struct {
		name, text string
		weight     int
	}{
		{"regular tweet with url", "Hi http://test.co", 26},
		{"just url", "http://test.co", 23},
		{"long tweet", long, 285},
		{"10 urls", strings.Repeat("https://www.twitter.com/aloha ", 10), 240},
		{"160 CJK characters", strings.Repeat("故人西辞黄鹤楼，烟花三月下扬州。", 10), 320},
		{"160 emoji", strings.Repeat("😷", 160), 320},
		{"3 Latin and 160 CJK", "the" + strings.Repeat("故人西辞黄鹤楼，烟花三月下扬州。", 10), 323},
		{"Á is normalised into 1", "A\u0301B", 2},
		{"שּׁ is normalised into 3", "A\uFB2C", 4},
		{"single and double, and a family", "H🐱☺👨‍👩‍👧‍👦", 7},
		{"emoji inside and outside the basic plane", "😷👾😡🔥💩", 10},
		{"skin tones", "🙋🏽👨‍🎤", 4},
		{"a digit in a key cap", "1⃣", 2},
		{"Unicode 10 emoji and a flag of tags", "Unicode 10.0 emoji: 🤪; 🧕; 🧕🏾; 🏴󠁧󠁢󠁥󠁮󠁧󠁿", 34},
		{"Unicode 9 emoji", "Unicode 9.0 emoji: 🤠; 💃; 💃🏾", 29},
		{"a 64 character domain is none", strings.Repeat("randomurl", 6) + "randomurls.com", 68},
		{"general punctuation with visible spaces", "This is a tweet with general punctuation characters: \u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200A\u200B\u200C\u200D ‐ ‑ ‒ – — ― ‖  ‗ ‘ ’ ‚ ‛ “ ” „ ‟ ′ ″ ‴ ‵ ‶ ‷", 112},
		// beyond the suite
		{"nothing", "", 0},
		{"a flag", "🇫🇷", 2},
		{"French", "Ça marche\u00a0: 20,00\u00a0€ à l’œuvre…", 32},
		{"signs that are emoji too", "©®™", 6},
	} {
		if got := Weigh(tt.text); got != tt.weight {
			t.Errorf("%s: %q weighs %d, want %d", tt.name, tt.text, got, tt.weight)
		}
	}
}
