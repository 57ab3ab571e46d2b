package twitter_test

import (
	"regexp"
	"strings"
	"testing"

	"tweetledger/adapters/twitter"
	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

const (
	bankID    = "700000001"
	marieID   = "700000101"
	yoannID   = "700000102"
	charityID = "700000201"
)

// users are whom X would resolve; @ghost is nobody.
func users() map[string]string {
	return map[string]string{
		"smoneyfr": bankID, "marie_test": marieID, "yoann_test": yoannID, "acf_france": charityID, "ami": "700000103",
	}
}

func newParser(t testing.TB) *twitter.Parser {
	t.Helper()
	p, err := twitter.NewParser(twitter.Config{BankUserID: bankID, BankHandle: "SmoneyFR"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var handlePattern = regexp.MustCompile(`[@＠]([A-Za-z0-9_]+)`)

// written is a message by Marie as X would deliver it, its mentions resolved.
func written(text string) payments.Message {
	m := payments.Message{Channel: twitter.Channel, ID: "1", FirstID: "1", AuthorID: marieID, AuthorHandle: "marie_test", Kind: payments.Original, Text: text}
	seen := map[string]bool{}
	for _, found := range handlePattern.FindAllStringSubmatch(text, -1) {
		handle := found[1]
		id, ok := users()[strings.ToLower(handle)]
		if ok && !seen[id] {
			seen[id] = true
			m.Mentions = append(m.Mentions, payments.Mention{UserID: id, Handle: handle})
		}
	}
	return m
}

func TestParseAccepts(t *testing.T) {
	const nbsp, narrow = "\u00a0", "\u202f"
	tests := []struct {
		name, text string
		amount     ledger.Amount
		payee      string
		hashtag    string
		language   string
	}{
		{"the press of 2014", "@Smoneyfr #envoyer 12,99€ @yoann_test", 1299, yoannID, "envoyer", "fr"},
		{"symbol", "@SmoneyFR #envoyer 20€ @ami", 2000, "700000103", "envoyer", "fr"},
		{"symbol after a space", "@SmoneyFR #envoyer 20 € @ami", 2000, "700000103", "envoyer", "fr"},
		{"symbol after a no-break space", "@SmoneyFR #envoyer 20" + nbsp + "€ @ami", 2000, "700000103", "envoyer", "fr"},
		{"symbol after a narrow space", "@SmoneyFR #envoyer 20" + narrow + "€ @ami", 2000, "700000103", "envoyer", "fr"},
		{"symbol first", "@SmoneyFR #send €20 @ami", 2000, "700000103", "send", "en"},
		{"symbol first with a space", "@SmoneyFR #send € 20 @ami", 2000, "700000103", "send", "en"},
		{"code", "@SmoneyFR #envoyer 20EUR @ami", 2000, "700000103", "envoyer", "fr"},
		{"code in lower case", "@SmoneyFR #envoyer 20 eur @ami", 2000, "700000103", "envoyer", "fr"},
		{"code first", "@SmoneyFR #give EUR 20 @ami", 2000, "700000103", "give", "en"},
		{"code first, glued", "@SmoneyFR #give EUR20 @ami", 2000, "700000103", "give", "en"},
		{"word", "@SmoneyFR #envoyer 20 euros @ami", 2000, "700000103", "envoyer", "fr"},
		{"word in the singular, capitals", "@SmoneyFR #envoyer 1 EURO @ami", 100, "700000103", "envoyer", "fr"},
		{"comma", "@SmoneyFR #envoyer 12,99€ @ami", 1299, "700000103", "envoyer", "fr"},
		{"point", "@SmoneyFR #envoyer 12.99 € @ami", 1299, "700000103", "envoyer", "fr"},
		{"one decimal", "@SmoneyFR #envoyer 12,5€ @ami", 1250, "700000103", "envoyer", "fr"},
		{"symbol as the decimal mark", "@SmoneyFR #envoyer 12€50 @ami", 1250, "700000103", "envoyer", "fr"},
		{"word as the decimal mark", "@SmoneyFR #envoyer 12euros50 @ami", 1250, "700000103", "envoyer", "fr"},
		{"cents only", "@SmoneyFR #envoyer 0€50 @ami", 50, "700000103", "envoyer", "fr"},
		{"one cent", "@SmoneyFR #envoyer 0,01€ @ami", 1, "700000103", "envoyer", "fr"},
		{"groups with no-break spaces", "@SmoneyFR #envoyer 1" + nbsp + "250,00" + nbsp + "€ @ami", 125000, "700000103", "envoyer", "fr"},
		{"groups with narrow spaces", "@SmoneyFR #envoyer 1" + narrow + "250,00" + narrow + "€ @ami", 125000, "700000103", "envoyer", "fr"},
		{"groups with plain spaces", "@SmoneyFR #envoyer 1 250,00 € @ami", 125000, "700000103", "envoyer", "fr"},
		{"groups with points and a comma", "@SmoneyFR #envoyer 1.250,00€ @ami", 125000, "700000103", "envoyer", "fr"},
		{"groups with commas and a point", "@SmoneyFR #envoyer 1,250.00€ @ami", 125000, "700000103", "envoyer", "fr"},
		{"millions", "@SmoneyFR #envoyer 1 250 000 € @ami", 125000000, "700000103", "envoyer", "fr"},
		{"full-width digits and signs", "＠SmoneyFR ＃envoyer ２０€ ＠ami", 2000, "700000103", "envoyer", "fr"},
		{"zero-width characters", "@SmoneyFR #envoyer 2\u200b0\u2060€ \u200f@ami\ufeff", 2000, "700000103", "envoyer", "fr"},
		{"bidirectional controls", "@SmoneyFR #envoyer \u202a20€\u202c @ami", 2000, "700000103", "envoyer", "fr"},
		{"mixed case", "@SMONEYfr #EnVoYeR 20€ @AMI", 2000, "700000103", "envoyer", "fr"},
		{"accents and text around", "Ça marche ? @smoneyfr #Envoyer 20 euros @yoann_test pour le resto d'hier", 2000, yoannID, "envoyer", "fr"},
		{"decomposed accents", "C\u0327a marche\u00a0? @smoneyfr #envoyer 20\u00a0euros @ami e\u0301te\u0301", 2000, "700000103", "envoyer", "fr"},
		{"text after, ampersand", "@SmoneyFR #envoyer 100EUR @ACF_France faites comme moi & donnez !", 10000, charityID, "envoyer", "fr"},
		{"payee before amount", "@SmoneyFR #don @ACF_France 15€", 1500, charityID, "don", "fr"},
		{"bank last", "#donner 15€ @ACF_France via @SmoneyFR", 1500, charityID, "donner", "fr"},
		{"amount first", "20€ #envoyer @ami @SmoneyFR", 2000, "700000103", "envoyer", "fr"},
		{"all glued together", "@SmoneyFR:#envoyer:20€@ami", 2000, "700000103", "envoyer", "fr"},
		{"in parentheses", "@SmoneyFR #envoyer (20€) à @ami.", 2000, "700000103", "envoyer", "fr"},
		{"a full stop after", "@SmoneyFR #envoyer @ami 20€.", 2000, "700000103", "envoyer", "fr"},
		{"text glued behind the sign", "@SmoneyFR #envoyer 20€pour @ami", 2000, "700000103", "envoyer", "fr"},
		{"ellipsis before", "@SmoneyFR #envoyer merci…20€ @ami", 2000, "700000103", "envoyer", "fr"},
		{"emoji", "@SmoneyFR #envoyer 🍺20€🍺 @ami 👍🏽", 2000, "700000103", "envoyer", "fr"},
		{"several lines", "@SmoneyFR\n#envoyer\n20 €\n@ami", 2000, "700000103", "envoyer", "fr"},
		{"a line break is no group", "@SmoneyFR #envoyer le 14\n250€ @ami", 25000, "700000103", "envoyer", "fr"},
		{"another number", "@SmoneyFR #envoyer 20€ @ami pour les 3 bières du 14/10/2014", 2000, "700000103", "envoyer", "fr"},
		{"another number before", "@SmoneyFR #envoyer pour 3 bières 20€ @ami", 2000, "700000103", "envoyer", "fr"},
		{"the same payee twice", "@SmoneyFR #envoyer 20€ @ami merci @Ami !", 2000, "700000103", "envoyer", "fr"},
		{"the bank twice", "@SmoneyFR @SmoneyFR #envoyer 20€ @ami", 2000, "700000103", "envoyer", "fr"},
		{"another hashtag", "@SmoneyFR #envoyer 20€ @ami #resto #2014envies", 2000, "700000103", "envoyer", "fr"},
		{"two aliases, one payment", "@SmoneyFR #don #envoyer 20€ @ACF_France", 2000, charityID, "don", "fr"},
		{"a link", "@SmoneyFR #envoyer 20€ @ami https://t.co/123456?eur=30€", 2000, "700000103", "envoyer", "fr"},
		{"an e-mail address is no mention", "@SmoneyFR #envoyer 20€ @ami (moi@marie_test.example)", 2000, "700000103", "envoyer", "fr"},
		{"quoted words", "@SmoneyFR #envoyer 20€ @ami « pour le resto »", 2000, "700000103", "envoyer", "fr"},
		{"a quoted command beside the own one", "@SmoneyFR #envoyer 20€ @ami “comme @SmoneyFR #envoyer 30€ @yoann_test”", 2000, "700000103", "envoyer", "fr"},
		{"a retweeted command beside the own one", "@SmoneyFR #envoyer 20€ @ami RT @yoann_test: @SmoneyFR #envoyer 30€ @marie_test", 2000, "700000103", "envoyer", "fr"},
		{"a time behind the amount", "@SmoneyFR #envoyer 20€ 12h30 @ami", 2000, "700000103", "envoyer", "fr"},
		{"books are no pounds", "@SmoneyFR #envoyer 20€ @ami pour 2 livres", 2000, "700000103", "envoyer", "fr"},
	}
	p := newParser(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := p.Parse(written(tt.text))
			if got.Command == nil {
				t.Fatalf("%s\nwas not accepted: %s", tt.text, outcome(got))
			}
			want := payments.Command{
				Name: payments.CommandPay, Hashtag: tt.hashtag, Amount: tt.amount, Currency: ledger.EUR,
				PayeeID: tt.payee, PayeeHandle: got.Command.PayeeHandle, Language: tt.language,
			}
			if *got.Command != want {
				t.Errorf("%s\n got %+v\nwant %+v", tt.text, *got.Command, want)
			}
			if got.Refusal != nil || got.Ignored != "" || got.SecretWarning {
				t.Errorf("%s: more than a command: %s", tt.text, outcome(got))
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name, text string
		code       payments.RefusalCode
		span       string // what is pointed at
	}{
		{"thousands or decimals, point", "@SmoneyFR #envoyer 1.000€ @ami", payments.RefusedAmbiguousAmount, "1.000€"},
		{"thousands or decimals, comma", "@SmoneyFR #envoyer 1,000€ @ami", payments.RefusedAmbiguousAmount, "1,000€"},
		{"thousands or decimals, round", "@SmoneyFR #envoyer 1.250 € @ami", payments.RefusedAmbiguousAmount, "1.250 €"},
		{"three decimals", "@SmoneyFR #envoyer 12,999€ @ami", payments.RefusedTooManyDecimals, "12,999€"},
		{"three decimals after zero", "@SmoneyFR #envoyer 0,999€ @ami", payments.RefusedTooManyDecimals, "0,999€"},
		{"many decimals", "@SmoneyFR #envoyer 12.99999 € @ami", payments.RefusedTooManyDecimals, "12.99999 €"},
		{"nothing", "@SmoneyFR #envoyer 0€ @ami", payments.RefusedNotPositive, "0€"},
		{"nothing with decimals", "@SmoneyFR #envoyer 0,00 € @ami", payments.RefusedNotPositive, "0,00 €"},
		{"nothing around the sign", "@SmoneyFR #envoyer 0€00 @ami", payments.RefusedNotPositive, "0€00"},
		{"negative", "@SmoneyFR #envoyer -5€ @ami", payments.RefusedNotPositive, "5€"},
		{"negative with a true minus", "@SmoneyFR #envoyer − 5€ @ami", payments.RefusedNotPositive, "5€"},
		{"negative after the sign", "@SmoneyFR #envoyer €-5 @ami", payments.RefusedNotPositive, "€-5"},
		{"two amounts", "@SmoneyFR #envoyer 20€ 30€ @ami", payments.RefusedTwoAmounts, "30€"},
		{"the same amount twice", "@SmoneyFR #envoyer 20€ (20 euros) @ami", payments.RefusedTwoAmounts, "20 euros"},
		{"euros and cents", "@SmoneyFR #envoyer 20€ et 50 centimes @ami", payments.RefusedTwoAmounts, "50 centimes"},
		{"euros and dollars", "@SmoneyFR #envoyer 20€ (22$) @ami", payments.RefusedTwoAmounts, "22$"},
		{"dollars", "@SmoneyFR #envoyer 20$ @ami", payments.RefusedCurrency, "20$"},
		{"dollars, sign first", "@SmoneyFR #envoyer $20 @ami", payments.RefusedCurrency, "$20"},
		{"dollars in words", "@SmoneyFR #send 20 dollars @ami", payments.RefusedCurrency, "20 dollars"},
		{"pounds", "@SmoneyFR #send £20 @ami", payments.RefusedCurrency, "£20"},
		{"francs by code", "@SmoneyFR #envoyer 20 CHF @ami", payments.RefusedCurrency, "20 CHF"},
		{"yen", "@SmoneyFR #envoyer 2000¥ @ami", payments.RefusedCurrency, "2000¥"},
		{"crowns", "@SmoneyFR #envoyer 200 SEK @ami", payments.RefusedCurrency, "200 SEK"},
		{"no amount", "@SmoneyFR #envoyer @ami", payments.RefusedNoAmount, ""},
		{"no currency", "@SmoneyFR #envoyer 20 @ami", payments.RefusedNoAmount, "20"},
		{"amount in letters", "@SmoneyFR #envoyer vingt euros @ami", payments.RefusedNoAmount, "euros"},
		{"thousand euros, short", "@SmoneyFR #envoyer 20 k€ @ami", payments.RefusedNoAmount, "20"},
		{"no payee", "@SmoneyFR #envoyer 20€", payments.RefusedNoPayee, ""},
		{"an e-mail address", "@SmoneyFR #envoyer 20€ moi@ami.example", payments.RefusedNoPayee, ""},
		{"two payees", "@SmoneyFR #envoyer 20€ @ami @yoann_test", payments.RefusedTwoPayees, "@yoann_test"},
		{"payer and another", "@SmoneyFR #envoyer 20€ @marie_test @ami", payments.RefusedTwoPayees, "@ami"},
		{"the payer", "@SmoneyFR #envoyer 20€ @Marie_Test", payments.RefusedSelf, "@Marie_Test"},
		{"the bank", "@SmoneyFR #envoyer 20€ @smoneyfr", payments.RefusedBank, "@smoneyfr"},
		{"nobody", "@SmoneyFR #envoyer 20€ @ghost", payments.RefusedUnresolved, "@ghost"},
		{"nobody beside somebody", "@SmoneyFR #envoyer 20€ @ami @ghost", payments.RefusedUnresolved, "@ghost"},
		{"a look-alike in Cyrillic", "@SmoneyFR #envoyer 20€ @аmi", payments.RefusedUnresolved, "@аmi"},
		{"a handle that goes on", "@SmoneyFR #envoyer 20€ @amié", payments.RefusedUnresolved, "@amié"},
		{"two commands", "@SmoneyFR #envoyer 20€ @ami #envoyer 30€ @yoann_test", payments.RefusedTwoCommands, "#envoyer"},
		{"huge", "@SmoneyFR #envoyer 1000000000€ @ami", payments.RefusedTooLarge, "1000000000€"},
		{"beyond 64 bits", "@SmoneyFR #envoyer 99999999999999999999999999€ @ami", payments.RefusedTooLarge, "99999999999999999999999999€"},
		{"huge with groups", "@SmoneyFR #envoyer 1 000 000 000 € @ami", payments.RefusedTooLarge, "1 000 000 000 €"},
		{"a lost mark", "@SmoneyFR #envoyer 0250€ @ami", payments.RefusedAmbiguousAmount, "0250€"},
		{"odd groups", "@SmoneyFR #envoyer 12 20€ @ami", payments.RefusedAmbiguousAmount, "12 20€"},
		{"two spaces in a group", "@SmoneyFR #envoyer 1  250€ @ami", payments.RefusedAmbiguousAmount, "1  250€"},
		{"a control character in a number", "@SmoneyFR #envoyer 12\x0020€ @ami", payments.RefusedAmbiguousAmount, "12\x0020€"},
		{"Swiss groups", "@SmoneyFR #envoyer 1'250€ @ami", payments.RefusedAmbiguousAmount, "1'250€"},
		{"no whole part", "@SmoneyFR #envoyer ,50€ @ami", payments.RefusedAmbiguousAmount, "50€"},
		{"one digit of cents", "@SmoneyFR #envoyer 12€5 @ami", payments.RefusedAmbiguousAmount, "12€5"},
		{"before or behind", "@SmoneyFR #envoyer 12 €50 @ami", payments.RefusedAmbiguousAmount, "12 €50"},
		{"cents after a space", "@SmoneyFR #envoyer 12 euros 50 @ami", payments.RefusedAmbiguousAmount, "12 euros"},
		{"signs on both sides", "@SmoneyFR #envoyer €20€ @ami", payments.RefusedAmbiguousAmount, "€20€"},
		{"cents in words", "@SmoneyFR #envoyer 50 centimes @ami", payments.RefusedAmbiguousAmount, "50 centimes"},
		{"a range", "@SmoneyFR #envoyer 10-20€ @ami", payments.RefusedAmbiguousAmount, "20€"},
		{"a range in words", "@SmoneyFR #envoyer 10 ou 20€ @ami", payments.RefusedAmbiguousAmount, "20€"},
		{"a product", "@SmoneyFR #envoyer 3 x 20€ @ami", payments.RefusedAmbiguousAmount, "20€"},
		{"a product behind", "@SmoneyFR #envoyer 20€ x 3 @ami", payments.RefusedAmbiguousAmount, "20€"},
		{"a product, glued", "@SmoneyFR #envoyer 20€x2 @ami", payments.RefusedAmbiguousAmount, "20€"},
		{"a division", "@SmoneyFR #envoyer 20€/3 @ami", payments.RefusedAmbiguousAmount, "20€"},
		{"a sum", "@SmoneyFR #envoyer 10 + 20€ @ami", payments.RefusedAmbiguousAmount, "20€"},
		{"thousand euros, sign first", "@SmoneyFR #envoyer €20k @ami", payments.RefusedAmbiguousAmount, "€20"},
		{"a superscript digit", "@SmoneyFR #envoyer 20²€ @ami", payments.RefusedNoAmount, "20"},
		{"keycap digits", "@SmoneyFR #envoyer 2\ufe0f\u20e30\ufe0f\u20e3€ @ami", payments.RefusedNoAmount, "2"},
		{"a fraction", "@SmoneyFR #envoyer 20½€ @ami", payments.RefusedNoAmount, "20"},
		{"digits of a hashtag before", "@SmoneyFR #envoyer @ami #resto3€20", payments.RefusedAmbiguousAmount, "€20"},
		{"a fraction behind", "@SmoneyFR #envoyer €20½ @ami", payments.RefusedAmbiguousAmount, "€20"},
		{"a fraction behind the sign", "@SmoneyFR #envoyer 20€½ @ami", payments.RefusedAmbiguousAmount, "20€"},
		{"a fraction after a space", "@SmoneyFR #envoyer €20 ½ @ami", payments.RefusedAmbiguousAmount, "€20"},
		{"a superscript digit behind", "@SmoneyFR #envoyer €20² @ami", payments.RefusedAmbiguousAmount, "€20"},
		{"a digit of another script behind", "@SmoneyFR #envoyer €20٢ @ami", payments.RefusedAmbiguousAmount, "€20"},
		{"digits of another script", "@SmoneyFR #envoyer ٢٠€ @ami", payments.RefusedNoAmount, "€"},
	}
	p := newParser(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := p.Parse(written(tt.text))
			if got.Refusal == nil {
				t.Fatalf("%q\nwas not refused: %s", tt.text, outcome(got))
			}
			if got.Refusal.Code != tt.code {
				t.Fatalf("%q\n got %s\nwant %s", tt.text, got.Refusal.Code, tt.code)
			}
			if span := string([]rune(tt.text)[got.Refusal.Start:got.Refusal.End]); span != tt.span {
				t.Errorf("%q: pointed at %q, want %q", tt.text, span, tt.span)
			}
			if got.Command != nil || got.Ignored != "" {
				t.Errorf("%q: more than a refusal: %s", tt.text, outcome(got))
			}
		})
	}
}

func TestParseIgnores(t *testing.T) {
	tests := []struct {
		name   string
		m      payments.Message
		reason payments.IgnoreReason
	}{
		{"chatter", written("Je viens d'ouvrir mon compte @SmoneyFR, qui a déjà essayé ?"), payments.IgnoredNoHashtag},
		{"another's hashtag", written("@SmoneyFR #envoyerez 20€ @ami"), payments.IgnoredNoHashtag},
		{"a hashtag inside a word", written("@SmoneyFR super#envoyer 20€ @ami"), payments.IgnoredNoHashtag},
		{"the bank is not mentioned", written("#envoyer 20€ @ami"), payments.IgnoredNoMention},
		{"the bank only in an e-mail address", written("#envoyer 20€ @ami aide@SmoneyFR"), payments.IgnoredNoMention},
		{"a retweet by hand", written("RT @yoann_test: @SmoneyFR #envoyer 20€ @ami"), payments.IgnoredRepost},
		{"a retweet by hand with a comment", written("haha @SmoneyFR RT @yoann_test: @SmoneyFR #envoyer 20€ @ami"), payments.IgnoredNoHashtag},
		{"a command in quotation marks", written(`"@SmoneyFR #envoyer 20€ @ami" c'est tout ? @SmoneyFR`), payments.IgnoredNoHashtag},
		{"a command in guillemets", written(`@SmoneyFR on écrit « @SmoneyFR #envoyer 20€ @ami » ?`), payments.IgnoredNoHashtag},
		{"empty", written(""), payments.IgnoredNoMention},
		{"too long", written("@SmoneyFR #envoyer 20€ @ami " + strings.Repeat("é", 25_000)), payments.IgnoredTooLong},
		{"a megabyte", written("@SmoneyFR #envoyer 20€ @ami " + strings.Repeat("a", 1<<20)), payments.IgnoredTooLong},
	}
	repost := written("@SmoneyFR #envoyer 20€ @ami")
	repost.Kind = payments.Repost
	own := written("@SmoneyFR #envoyer 20€ @ami")
	own.AuthorID = bankID
	tests = append(tests, []struct {
		name   string
		m      payments.Message
		reason payments.IgnoreReason
	}{{"a repost", repost, payments.IgnoredRepost}, {"the bank's own", own, payments.IgnoredOwn}}...)
	p := newParser(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := p.Parse(tt.m)
			if got.Ignored != tt.reason || got.Command != nil || got.Refusal != nil {
				t.Errorf("got %s, want ignored: %s", outcome(got), tt.reason)
			}
		})
	}
}

func TestParseRepliesAndQuotesWithTheirOwnCommand(t *testing.T) {
	p := newParser(t)
	for _, kind := range []payments.MessageKind{payments.Answer, payments.Quote} {
		m := written("@SmoneyFR #envoyer 20€ @ami https://t.co/abc")
		m.Kind = kind
		if got := p.Parse(m); got.Command == nil {
			t.Errorf("%s: %s", kind, outcome(got))
		}
	}
}

func TestParseWarnsOfSecrets(t *testing.T) {
	tests := []struct {
		text string
		warn bool
	}{
		{"@SmoneyFR #envoyer 20€ @ami 123456", true},
		{"@SmoneyFR #envoyer 20€ @ami code:123456.", true},
		{"@SmoneyFR mon code est 123456", true},
		{"@SmoneyFR mon code est １２３４５６", true},
		{"@SmoneyFR #123456", true},
		{"@SmoneyFR 123456 20€ #envoyer @ami", true},
		{"@SmoneyFR #envoyer 123456€ @ami", false},
		{"@SmoneyFR #envoyer 20€ @ami 1234567", false},
		{"@SmoneyFR #envoyer 20€ @ami 12345", false},
		{"@SmoneyFR #envoyer 20€ @ami A123456", false},
		{"@SmoneyFR #envoyer 20€ @ami 123456,78", false},
		{"@SmoneyFR #envoyer 20€ @ami https://t.co/123456", false},
		{"mon code est 123456", false},
		{"@SmoneyFR mon code : 123 456", true},
		{"@SmoneyFR mon code 12\u00a034\u00a056 !", true},
		{"@SmoneyFR 1 2 3 4 5 6", true},
		{"@SmoneyFR 1-2-3-4-5-6", true},
		{"@SmoneyFR 123–456", true},
		{"@SmoneyFR 1\ufe0f\u20e32\ufe0f\u20e33\ufe0f\u20e34\ufe0f\u20e35\ufe0f\u20e36\ufe0f\u20e3", true},
		{"@SmoneyFR ١٢٣٤٥٦", true},
		{"@SmoneyFR 𝟏𝟐𝟑𝟒𝟓𝟔", true},
		{"@SmoneyFR code123456", true},
		{"@SmoneyFR 12\u200b34\u200b56", true},
		{"@SmoneyFR #solde 123456", true},
		{"@SmoneyFR #annuler 1A2B3C4D 123456", true},
		{"@SmoneyFR #annuler 12345678", false},
		{"@SmoneyFR appelez le 06 12 34 56 78", false},
		{"@SmoneyFR le 14-10-14, le 14/10/2014 et le 14.10.14", false},
		{"@SmoneyFR 12 345 6", false},
		{"@SmoneyFR 123,456 abonnés", false},
		{"@SmoneyFR #envoyer 250 000 € @ami", false},
		{"@SmoneyFR #envoyer 123 456 euros @ami", false},
		{"@SmoneyFR #envoyer 20€ @ami123456", false},
		{"@SmoneyFR 99123456789", false},
		{"@SmoneyFR 2014, 2015 et 2016", false},
		{"RT @yoann_test: 123456 @SmoneyFR", false},
		{"@SmoneyFR bravo RT @yoann_test: 123456", false},
	}
	p := newParser(t)
	for _, tt := range tests {
		if got := p.Parse(written(tt.text)); got.SecretWarning != tt.warn {
			t.Errorf("%s: warning %v, want %v", tt.text, got.SecretWarning, tt.warn)
		}
	}
}

func TestParseBindsIDsAndNotHandles(t *testing.T) {
	p := newParser(t)
	t.Run("the bank under a new handle", func(t *testing.T) {
		m := written("@NewBank #envoyer 20€ @ami")
		m.Mentions = append(m.Mentions, payments.Mention{UserID: bankID, Handle: "newbank"})
		if got := p.Parse(m); got.Command == nil || got.Command.PayeeID != "700000103" {
			t.Error(outcome(got))
		}
	})
	t.Run("the bank's old handle in other hands", func(t *testing.T) {
		m := payments.Message{AuthorID: marieID, Text: "@SmoneyFR #envoyer 20€ @ami", Mentions: []payments.Mention{
			{UserID: "999", Handle: "SmoneyFR"}, {UserID: "700000103", Handle: "ami"}}}
		if got := p.Parse(m); got.Ignored != payments.IgnoredNoMention {
			t.Error(outcome(got))
		}
	})
	t.Run("the payer under another handle", func(t *testing.T) {
		m := written("@SmoneyFR #envoyer 20€ @me_again")
		m.Mentions = append(m.Mentions, payments.Mention{UserID: marieID, Handle: "me_again"})
		if got := p.Parse(m); got.Refusal == nil || got.Refusal.Code != payments.RefusedSelf {
			t.Error(outcome(got))
		}
	})
	t.Run("one handle with two ids", func(t *testing.T) {
		m := written("@SmoneyFR #envoyer 20€ @ami")
		m.Mentions = append(m.Mentions, payments.Mention{UserID: "42", Handle: "AMI"})
		if got := p.Parse(m); got.Refusal == nil || got.Refusal.Code != payments.RefusedUnresolved {
			t.Error(outcome(got))
		}
	})
	t.Run("an id that is none", func(t *testing.T) {
		m := written("@SmoneyFR #envoyer 20€ @odd")
		m.Mentions = append(m.Mentions, payments.Mention{UserID: "odd", Handle: "odd"})
		if got := p.Parse(m); got.Refusal == nil || got.Refusal.Code != payments.RefusedUnresolved {
			t.Error(outcome(got))
		}
	})
	t.Run("the bank without an id from the channel", func(t *testing.T) {
		m := payments.Message{AuthorID: marieID, Text: "@SmoneyFR #envoyer 20€ @ami", Mentions: []payments.Mention{{UserID: "700000103", Handle: "ami"}}}
		if got := p.Parse(m); got.Command == nil {
			t.Error(outcome(got))
		}
	})
}

func TestNewParserChecksItsConfiguration(t *testing.T) {
	for name, cfg := range map[string]twitter.Config{
		"bank_user_id": {BankUserID: "@bank", BankHandle: "bank"},
		"bank_handle":  {BankUserID: "1", BankHandle: "la banque"},
		"hashtags":     {BankUserID: "1", BankHandle: "bank", Hashtags: []string{"2014"}},
	} {
		_, err := twitter.NewParser(cfg)
		if ledger.CodeOf(err) != ledger.CodeInvalid || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p, err := twitter.NewParser(twitter.Config{BankUserID: bankID, BankHandle: "@SmoneyFR", Hashtags: []string{"#Spenden"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Parse(written("@SmoneyFR #spenden 20€ @ami")); got.Command == nil || got.Command.Hashtag != "spenden" {
		t.Error(outcome(got))
	}
	if got := p.Parse(written("@SmoneyFR #envoyer 20€ @ami")); got.Ignored != payments.IgnoredNoHashtag {
		t.Error(outcome(got))
	}
}

func outcome(p payments.Parsed) string {
	switch {
	case p.Command != nil:
		return "command " + p.Command.Amount.Format(p.Command.Currency) + " to " + p.Command.PayeeID
	case p.Refusal != nil:
		return "refused: " + string(p.Refusal.Code)
	}
	return "ignored: " + string(p.Ignored)
}
