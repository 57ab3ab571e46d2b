package twitter

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"tweetledger/internal/payments"
)

// pieces are what texts in these tests are made of: what commands consist of, what
// people write around it, and every character that is treated in a way of its own.
func pieces() []string {
	return []string{
		"@SmoneyFR", "@smoneyfr", "@SmoneyFR", " ", " ", " ", " ", "#envoyer", "#send", "#solde", "#annuler", "#été", "#", "@", "@ami", "@ghost",
		"20€", "20 €", "€20", "12,99€", "1.000€", "12€50", "1 250,00 €", "\u00a0", "\u202f", "\u200b", "\u200d", "\ufe0f", "👨", "❤", "❤\ufe0f",
		"…", "RT", "MT", "RT @ami", "T", "http://", "https://t.co/a1", "h", "http:", "/", ":", "123456", "12 34 56", "1-2-3", "é", "e\u0301",
		"\u0301", "«", "»", "“", "”", "\"", "(", ")", "-", "−", "x", "×", "ou", "euros", "EUR", "$", "centimes", "２０", "＠", "﹫", "＃", "﹟", "ﬁ",
		"²", "①", "½", "١", "١٢٣٤٥٦", "\n", "\r", "\x00", "\t", "\x7f", "\u0085", "\u2028", ".", ",", "'", "’", "5", "0", "00", "000", "%", "!",
		"&", "&amp;", "_", "a", "A", "ſ", "\u212a", "한", "ᄒ", "ᅡ", "か", "\u3099", "中", "\xff", "\xe2\x82", "\u034f", "\u202e", "\u00ad", "🇫🇷",
		"1\ufe0f\u20e3", "\u20e3", "à", "œ", "ﬀ", "merci ", "pour le resto", "~", "1A2B3C4D", "code", "\u3000", "ａ", "ⅷ", "™", "𝟏", "🏽",
	}
}

func randomText(r *rand.Rand) string {
	var b strings.Builder
	all := pieces()
	for range r.IntN(14) {
		b.WriteString(all[r.IntN(len(all))])
	}
	return b.String()
}

func testMessage(text string) payments.Message {
	m := payments.Message{AuthorID: "101", Text: text, Mentions: []payments.Mention{{UserID: "103", Handle: "ami"}}}
	if strings.HasPrefix(text, "@") {
		m.Mentions = append(m.Mentions, payments.Mention{UserID: "1", Handle: "smoneyfr"})
	}
	return m
}

func testParser(t testing.TB) *Parser {
	t.Helper()
	p, err := NewParser(Config{BankUserID: "1", BankHandle: "SmoneyFR"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestGlanceSaysWhatReadSays compares the two on random texts: a glance may only be
// quicker.
func TestGlanceSaysWhatReadSays(t *testing.T) {
	p := testParser(t)
	r := rand.New(rand.NewPCG(20141014, 1))
	glanced := map[payments.IgnoreReason]int{}
	for range 100_000 {
		m := testMessage(randomText(r))
		if r.IntN(8) == 0 {
			m.Kind = payments.Direct
		}
		reason := p.glance(&m)
		if reason == "" {
			continue
		}
		glanced[reason]++
		if read, want := p.read(&m), (payments.Parsed{Ignored: reason, Language: "fr"}); !reflect.DeepEqual(read, want) {
			t.Fatalf("%q: at a glance %s, read %+v", m.Text, reason, read)
		}
	}
	if glanced[payments.IgnoredNoMention] < 1000 || glanced[payments.IgnoredNoHashtag] < 1000 {
		t.Errorf("hardly anything is seen at a glance: %v", glanced)
	}
}

// TestUsualTextsAreSeenAtAGlance keeps what people write from being taken apart.
func TestUsualTextsAreSeenAtAGlance(t *testing.T) {
	p := testParser(t)
	for _, text := range []string{
		"Je viens d'ouvrir mon compte @SmoneyFR, qui a déjà essayé ?",
		"@SmoneyFR votre appli plante à chaque fois… c'est « normal » ? 😡😡 #fail",
		"Le cœur ❤️ et la famille 👨‍👩‍👧 : merci @SmoneyFR ! https://t.co/AbCdEfGhIj",
		"@SmoneyFR 20\u00a0€ offerts, vraiment\u202f?",
		"Hello @SmoneyFR — how do I open an account? I’m in “Lyon”",
	} {
		m := testMessage(text)
		if reason := p.glance(&m); reason != payments.IgnoredNoHashtag {
			t.Errorf("%q: %q", text, reason)
		}
	}
}

func TestGlancingAllocatesNothing(t *testing.T) {
	p := testParser(t)
	m := testMessage("Je viens d'ouvrir mon compte @SmoneyFR, qui a déjà essayé ? 😡 https://t.co/AbCdEfGhIj")
	if n := testing.AllocsPerRun(100, func() { p.Parse(m) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// slowNormalize is what normalize does, written down plainly: NFKC of the text
// between two boundaries at a time, but for what only contains a digit.
func slowNormalize(text string) string {
	var b strings.Builder
	add := func(s string) {
		for _, r := range s {
			if r < utf8.RuneSelf || !invisible(r) {
				b.WriteRune(r)
			}
		}
	}
	for len(text) > 0 {
		next := max(norm.NFKC.NextBoundaryInString(text, true), 1)
		segment := text[:next]
		normal := norm.NFKC.String(segment)
		if strings.ContainsAny(normal, "0123456789") && !strings.ContainsFunc(segment, unicode.IsDigit) {
			normal = segment
		}
		add(normal)
		text = text[next:]
	}
	return b.String()
}

// checkNormalized compares the two.
func checkNormalized(t *testing.T, p *Parser, text string) {
	t.Helper()
	var b strings.Builder
	from := int32(0)
	for _, c := range p.runes.normalize(nil, text) {
		b.WriteRune(c.r)
		if c.from < from || c.to <= c.from || int(c.to) > len(text) {
			t.Fatalf("%q: %q comes from bytes %d to %d", text, c.r, c.from, c.to)
		}
		from = c.from
		if want := classOf(c.r); c.class&^anyForm != want {
			t.Fatalf("%q: %q has classes %b, want %b", text, c.r, c.class&^anyForm, want)
		}
	}
	if got, want := b.String(), slowNormalize(text); got != want {
		t.Fatalf("%q: normalised to %q, want %q", text, got, want)
	}
}

// FuzzGlance looks for a text that a glance judges otherwise than reading it does, and
// for one that is not normalised as it should be.
func FuzzGlance(f *testing.F) {
	for _, seed := range []string{
		"Je viens d'ouvrir mon compte @SmoneyFR, qui a déjà essayé ?", "Le cœur ❤️ 👨‍👩‍👧 : merci @SmoneyFR ! https://t.co/AbCdEfGhIj",
		"@SmoneyFR #envoyer 20€ @ami", "＠SmoneyFR ＃ｓｏｌｄｅ", "RT\u00a0@SmoneyFR http://x/@SmoneyFR", "@SmoneyFR 1\ufe0f\u20e3 ١٢٣٤٥٦ 12 34 56",
		"e\u0301\u0327 @SmoneyFR ᄒ\u1161 か\u3099 \xff…",
	} {
		f.Add(seed, false)
	}
	p := testParser(f)
	f.Fuzz(func(t *testing.T, text string, private bool) {
		m := testMessage(text)
		if private {
			m.Kind = payments.Direct
		}
		if reason := p.glance(&m); reason != "" {
			if read, want := p.read(&m), (payments.Parsed{Ignored: reason, Language: "fr"}); !reflect.DeepEqual(read, want) {
				t.Fatalf("%q: at a glance %s, read %+v", text, reason, read)
			}
		}
		checkNormalized(t, p, text)
	})
}

func TestNormalizeIsNFKC(t *testing.T) {
	p := testParser(t)
	check := func(text string) {
		t.Helper()
		checkNormalized(t, p, text)
	}
	r := rand.New(rand.NewPCG(20141014, 2))
	for range 20_000 {
		check(randomText(r))
	}
	for c := rune(0); c <= unicode.MaxRune; c++ {
		if utf8.ValidRune(c) {
			check("a" + string(c) + "b")
		}
	}
	for c := rune(0); c < tableRunes; c++ {
		check(string(c) + "\u0301" + string(c) + "\u3099\u0327" + string(c))
	}
}

// TestStretchesArePlain proves what runeTable says without looking.
func TestStretchesArePlain(t *testing.T) {
	var table runeTable
	for _, s := range stretches() {
		for r := s.first; r <= s.last; r++ {
			if got := classOf(r) | formOf(r); got != table.of(r) {
				t.Errorf("%U has %b, want %b", r, table.of(r), got)
			}
		}
	}
}

// TestWhatBecomesAnAt proves what glance says without looking.
func TestWhatBecomesAnAt(t *testing.T) {
	for r := rune(utf8.RuneSelf); r <= unicode.MaxRune; r++ {
		if strings.Contains(norm.NFKC.String(string(r)), "@") != holdsWideAt(string(r)) {
			t.Errorf("%U is %q", r, norm.NFKC.String(string(r)))
		}
	}
	for r := rune(firstSymbol); r < tableRunes; r++ {
		if c := classOf(r) | formOf(r); c.is(plainForm) && !c.is(^anyForm) && norm.NFKC.String(string(r)) != string(r) {
			t.Errorf("%U is no plain symbol", r)
		}
	}
}
