package twitter_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"tweetledger/adapters/twitter"
	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// checkParsed holds what is true of every answer of a parser.
func checkParsed(m payments.Message, got payments.Parsed) error {
	set := 0
	for _, is := range []bool{got.Command != nil, got.Refusal != nil, got.Ignored != ""} {
		if is {
			set++
		}
	}
	if set != 1 {
		return fmt.Errorf("%d of command, refusal and ignored are set", set)
	}
	if got.Language != "fr" && got.Language != "en" {
		return fmt.Errorf("language %q", got.Language)
	}
	if r := got.Refusal; r != nil {
		runes := utf8.RuneCountInString(m.Text)
		if r.Code == "" || r.Start < 0 || r.End > runes || r.Start > r.End || (r.Start == r.End && r.Start != 0) {
			return fmt.Errorf("refusal %+v in a text of %d code points", *r, runes)
		}
	}
	if c := got.Command; c != nil {
		return checkCommand(m, *c)
	}
	return nil
}

// checkCommand finds the command in the text by another way than the parser's.
func checkCommand(m payments.Message, c payments.Command) error {
	seen := visible(m.Text)
	switch {
	case c.Language != "fr" && c.Language != "en":
		return fmt.Errorf("language %q", c.Language)
	case !strings.Contains(strings.ToLower(seen), "#"+c.Hashtag):
		return fmt.Errorf("hashtag #%s is not in %q", c.Hashtag, seen)
	case m.Kind != payments.Direct && !strings.Contains(strings.ToLower(m.Text), "smoneyfr"):
		return fmt.Errorf("a command that does not mention the bank")
	case c.Name != payments.CommandPay:
		if c != (payments.Command{Name: c.Name, Hashtag: c.Hashtag, Language: c.Language, Reference: c.Reference}) {
			return fmt.Errorf("more than a command that moves no money: %+v", c)
		}
		if c.Reference != "" && (c.Name != payments.CommandCancel || len(c.Reference) != 8 || !strings.Contains(strings.ToUpper(seen), c.Reference)) {
			return fmt.Errorf("reference %q", c.Reference)
		}
	case c.Amount <= 0 || c.Currency != ledger.EUR || c.Reference != "":
		return fmt.Errorf("command %+v", c)
	case c.PayeeID == bankID || c.PayeeID == m.AuthorID || c.PayeeID == "":
		return fmt.Errorf("payee %q", c.PayeeID)
	case users()[strings.ToLower(c.PayeeHandle)] != c.PayeeID || !strings.Contains(strings.ToLower(m.Text), strings.ToLower(c.PayeeHandle)):
		return fmt.Errorf("payee %s (%s) is not in the text", c.PayeeHandle, c.PayeeID)
	case !amountPattern(c.Amount).MatchString(seen):
		return fmt.Errorf("%d cents are not in %q", c.Amount, seen)
	}
	return nil
}

// visible is a text in NFKC without what cannot be seen, and with one kind of space.
func visible(text string) string {
	var b strings.Builder
	for _, r := range norm.NFKC.String(text) {
		switch {
		case r >= 0x80 && (unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Variation_Selector, r) || r == 0x034F):
		case r != '\n' && (unicode.IsSpace(r) || unicode.IsControl(r)):
			b.WriteByte(' ')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// amountPattern matches every accepted way to write an amount, and no other amount.
func amountPattern(a ledger.Amount) *regexp.Regexp {
	whole, cents := fmt.Sprint(int64(a)/100), fmt.Sprintf("%02d", int64(a)%100)
	var numbers []string
	decimals := "[.,]" + cents
	switch {
	case cents == "00":
		decimals = "(?:[.,]00?)?"
	case cents[1] == '0':
		decimals = "[.,]" + cents[:1] + "0?"
	}
	numbers = append(numbers, whole+decimals)
	if len(whole) > 3 {
		numbers = append(numbers, group(whole, " ")+decimals, group(whole, `\.`)+","+cents, group(whole, ",")+`\.`+cents)
	}
	number := "(?:" + strings.Join(numbers, "|") + ")"
	const sign = "(?:€|eur|euros?)"
	return regexp.MustCompile(`(?i)(?:^|[^0-9.,'’]|(?:^|[^0-9])[.,'’]+)(?:` + number + ` *` + sign + `|(?:€|eur) *` + number + `|` + whole + sign + cents + `)(?:$|[^0-9])`)
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"@SmoneyFR #envoyer 20€ @ami", "@SmoneyFR #envoyer 12,99€ @yoann_test", "@SmoneyFR #send €1.250,00 @ami",
		"@SmoneyFR #envoyer 1\u00a0250,00\u202f€ @ami", "@SmoneyFR #don 12€50 @ACF_France 123456", "@SmoneyFR #envoyer 1.000€ @ami",
		"＠SmoneyFR ＃envoyer ２０€ ＠ami", "@SmoneyFR #envoyer 20²€ ½ ① @ami", "RT @ami: @SmoneyFR #envoyer 20€", "“@SmoneyFR #envoyer 20€” @ami",
		"@SmoneyFR #envoyer -5€ @ami", "@SmoneyFR #envoyer €-5 10-20€ 3 x 2€ @ami", "@SmoneyFR #envoyer ...20€ @ghost", "\xff\xfe@SmoneyFR #envoyer 20€ @ami\x80",
		"@SmoneyFR #envoyer 20€ e\u0301\u0327\u0338 @ami \u202e 05€", "@SmoneyFR #envoyer EUR20USD @marie_test", "@SmoneyFR#envoyer@ami20€", "€", "-", "12€50€", "1'000€",
	} {
		f.Add(seed, 0)
	}
	p := newParser(f)
	kinds := []payments.MessageKind{payments.Original, payments.Answer, payments.Quote, payments.Repost, payments.Direct}
	f.Fuzz(func(t *testing.T, text string, kind int) {
		m := written(text)
		m.Kind = kinds[uint(kind)%uint(len(kinds))]
		got := p.Parse(m)
		if err := checkParsed(m, got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if again := p.Parse(m); !reflect.DeepEqual(got, again) {
			t.Fatalf("%q: %+v, then %+v", text, got, again)
		}
	})
}

// TestRandomTextsAreReadRightly puts texts together from what commands consist of and
// what can be mistaken for it, and looks for what was accepted by another way.
func TestRandomTextsAreReadRightly(t *testing.T) {
	pieces := []string{"@SmoneyFR", "@SmoneyFR ", "#envoyer ", "#send", "#solde", "#annuler ", " ", " ", " ", "@ami", " @ami", "@yoann_test ", "@marie_test", "@ghost",
		"20€", " 20 €", "€20", "12,99", "1.000", "12€50", "1 250,00 €", "1\u00a0250", "euros", " EUR", "eur", "centimes", "$", "USD", "k", "x", " x ", "2", "0", "00", "000",
		"5", "9", ".", ",", "'", "’", "-", "−", "–", "+", "/", "*", "~", "%", "(", ")", "«", "»", "“", "”", "\"", "…", "!", "?", "é", "e\u0301", "\u0301", "\u200b", "\u202e",
		"\u00ad", "\ufe0f", "\u20e3", "❤", "２", "０", "€", "＠", "＃", "²", "½", "①", "١", "RT ", "http://", "\n", "\t", "\x00", "_", "a", "1A2B3C4D", "123456", "&amp;", "\xff"}
	p := newParser(t)
	r := rand.New(rand.NewPCG(20141014, 3))
	accepted, refused := 0, 0
	for range 100_000 {
		text := ""
		if r.IntN(2) == 0 {
			text = "@SmoneyFR #envoyer @ami "
		}
		for range r.IntN(9) {
			text += pieces[r.IntN(len(pieces))]
		}
		m := written(text)
		if r.IntN(8) == 0 {
			m.Kind = payments.Direct
		}
		got := p.Parse(m)
		if err := checkParsed(m, got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		switch {
		case got.Command != nil:
			accepted++
		case got.Refusal != nil:
			refused++
		}
	}
	if accepted < 1000 || refused < 10_000 {
		t.Errorf("only %d accepted and %d refused", accepted, refused)
	}
}

// spelling draws one of the accepted ways to write an amount.
func spelling(t *rapid.T, amount ledger.Amount) string {
	whole, cents := int64(amount)/100, int64(amount)%100
	space := rapid.SampledFrom([]string{"", " ", "\u00a0", "\u202f"}).Draw(t, "space")
	mark := rapid.SampledFrom([]string{",", "."}).Draw(t, "mark")
	number := fmt.Sprint(whole)
	if whole >= 1000 && rapid.Bool().Draw(t, "grouped") {
		number = group(number, rapid.SampledFrom([]string{" ", "\u00a0", "\u202f"}).Draw(t, "group"))
	}
	switch {
	case cents == 0 && rapid.Bool().Draw(t, "whole"):
	case cents%10 == 0 && rapid.Bool().Draw(t, "one decimal"):
		number += mark + fmt.Sprint(cents/10)
	case number == fmt.Sprint(whole) && rapid.Bool().Draw(t, "sign as mark"):
		return number + rapid.SampledFrom([]string{"€", "EUR", "euros"}).Draw(t, "mark sign") + fmt.Sprintf("%02d", cents)
	default:
		number += mark + fmt.Sprintf("%02d", cents)
	}
	if rapid.Bool().Draw(t, "full width") {
		number = strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return r - '0' + '０'
			}
			return r
		}, number)
	}
	if rapid.Bool().Draw(t, "sign first") {
		return rapid.SampledFrom([]string{"€", "EUR", "eur"}).Draw(t, "sign") + space + number
	}
	return number + space + rapid.SampledFrom([]string{"€", "EUR", "eur", "Eur", "euro", "euros", "EUROS"}).Draw(t, "sign")
}

func group(digits, mark string) string {
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + mark + digits[i:]
	}
	return digits
}

func TestEverySpellingParsesBack(t *testing.T) {
	p := newParser(t)
	tags := twitter.DefaultHashtags()
	chatter := []string{"", "merci !", "pour le resto d'hier", "les 3 bières", "Ça marche ?", "🍺", "à bientôt", "#resto", "(fête)", "le 14/10", "❤️", "« oui »", "&amp; toi", "#aide"}
	rapid.Check(t, func(t *rapid.T) {
		amount := ledger.Amount(rapid.Int64Range(1, 99_999_999_999).Draw(t, "cents"))
		tag := rapid.SampledFrom(tags).Draw(t, "hashtag")
		payee := rapid.SampledFrom([]string{"@ami", "@AMI", "@Yoann_Test", "@acf_france"}).Draw(t, "payee")
		parts := rapid.Permutation([]string{
			rapid.SampledFrom([]string{"@SmoneyFR", "@smoneyfr"}).Draw(t, "bank"),
			"#" + rapid.SampledFrom([]string{tag, strings.ToUpper(tag)}).Draw(t, "case"),
			spelling(t, amount), payee,
		}).Draw(t, "order")
		text := rapid.SampledFrom(chatter).Draw(t, "before")
		for _, part := range parts {
			text += "\n" + part
		}
		text += "\n" + rapid.SampledFrom(chatter).Draw(t, "after")
		if rapid.Bool().Draw(t, "one line") {
			text = strings.ReplaceAll(text, "\n", " ; ")
		}

		m := written(text)
		if rapid.Bool().Draw(t, "direct message") {
			m.Kind = payments.Direct
		}
		got := p.Parse(m)
		if got.Command == nil {
			t.Fatalf("%q: %s", text, outcome(got))
		}
		language := map[string]string{"send": "en", "give": "en"}[tag]
		if language == "" {
			language = "fr"
		}
		want := payments.Command{
			Name: payments.CommandPay, Hashtag: tag, Amount: amount, Currency: ledger.EUR,
			PayeeID: users()[strings.ToLower(payee[1:])], PayeeHandle: payee[1:], Language: language,
		}
		if *got.Command != want {
			t.Fatalf("%q:\n got %+v\nwant %+v", text, *got.Command, want)
		}
		if err := checkParsed(m, got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
