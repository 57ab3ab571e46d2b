package twitter_test

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"tweetledger/adapters/twitter"
	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// direct is a direct message by Marie to the bank.
func direct(text string) payments.Message {
	m := written(text)
	m.Kind = payments.Direct
	return m
}

func TestParseCommandsBesidePay(t *testing.T) {
	command := func(name, hashtag, language, reference string) payments.Command {
		return payments.Command{Name: name, Hashtag: hashtag, Language: language, Reference: reference}
	}
	tests := []struct {
		name string
		m    payments.Message
		want payments.Command
	}{
		{"balance", written("@SmoneyFR #solde"), command(payments.CommandBalance, "solde", "fr", "")},
		{"balance in English", written("hi @smoneyfr, #Balance please"), command(payments.CommandBalance, "balance", "en", "")},
		{"balance, full width", written("＠SmoneyFR ＃ｓｏｌｄｅ"), command(payments.CommandBalance, "solde", "fr", "")},
		{"balance by direct message", direct("#solde"), command(payments.CommandBalance, "solde", "fr", "")},
		{"cancel the newest", written("@SmoneyFR #annuler svp"), command(payments.CommandCancel, "annuler", "fr", "")},
		{"cancel one", written("@SmoneyFR #annuler Réf. 1A2B3C4D"), command(payments.CommandCancel, "annuler", "fr", "1A2B3C4D")},
		{"cancel one, small letters, no-break space", written("@SmoneyFR #cancel Ref.\u00a01a2b3c4d."), command(payments.CommandCancel, "cancel", "en", "1A2B3C4D")},
		{"cancel one, digits only", written("@SmoneyFR #cancel 12345678"), command(payments.CommandCancel, "cancel", "en", "12345678")},
		{"cancel one, letters only", written("#cancel ABCDEFAB @SmoneyFR"), command(payments.CommandCancel, "cancel", "en", "ABCDEFAB")},
		{"cancel one behind another number", written("@SmoneyFR #annuler le 2 12345678"), command(payments.CommandCancel, "annuler", "fr", "12345678")},
		{"cancel one, named twice", written("@SmoneyFR #annuler 1A2B3C4D (1a2b3c4d)"), command(payments.CommandCancel, "annuler", "fr", "1A2B3C4D")},
		{"cancel with a word of the letters a to f", written("@SmoneyFR #cancel my decaffed coffee"), command(payments.CommandCancel, "cancel", "en", "")},
		{"cancel with a part of something longer", written("@SmoneyFR #annuler 1A2B3C4D5 x1A2B3C4D 1A2B3C4_ https://t.co/1A2B3C4D @user1A2B3C4D"), command(payments.CommandCancel, "annuler", "fr", "")},
		{"cancel with amount and payee", written("@SmoneyFR #annuler les 20€ à @ami"), command(payments.CommandCancel, "annuler", "fr", "")},
		{"help", written("@SmoneyFR #aide"), command(payments.CommandHelp, "aide", "fr", "")},
		{"help in English, by direct message", direct("please #HELP"), command(payments.CommandHelp, "help", "en", "")},
		{"link", written("@SmoneyFR comment #lier mon compte ?"), command(payments.CommandLink, "lier", "fr", "")},
		{"link in English", direct("#link"), command(payments.CommandLink, "link", "en", "")},
		{"help beside another", written("@SmoneyFR #aide #solde"), command(payments.CommandBalance, "solde", "fr", "")},
		{"the same twice", written("@SmoneyFR #solde #balance"), command(payments.CommandBalance, "solde", "fr", "")},
		{"beside a quoted one", written("@SmoneyFR #solde « @SmoneyFR #annuler »"), command(payments.CommandBalance, "solde", "fr", "")},
	}
	p := newParser(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := p.Parse(tt.m)
			if got.Command == nil || *got.Command != tt.want {
				t.Fatalf("%q: got %+v (%s), want %+v", tt.m.Text, got.Command, outcome(got), tt.want)
			}
			if got.SecretWarning || got.Language != tt.want.Language {
				t.Errorf("%q: %+v", tt.m.Text, got)
			}
		})
	}
}

func TestParsePaymentsBesideOtherHashtags(t *testing.T) {
	p := newParser(t)
	for _, text := range []string{"@SmoneyFR #don 20€ @ACF_France #aide #humanitaire", "@SmoneyFR #solde de ma dette #envoyer 20€ @ami", "#link @SmoneyFR #send 20€ @ami"} {
		if got := p.Parse(written(text)); got.Command == nil || got.Command.Name != payments.CommandPay || got.Command.Amount != 20_00 {
			t.Errorf("%q: %s", text, outcome(got))
		}
	}
	refused := []struct{ text, span string }{
		{"@SmoneyFR #envoyer 20€ @ami #annuler", "#annuler"},
		{"@SmoneyFR #cancel #send 20€ @ami", "#send"},
		{"@SmoneyFR #solde #annuler", "#annuler"},
		{"@SmoneyFR #aide #lier #balance", "#balance"},
		{"@SmoneyFR #annuler 1A2B3C4D et 5E6F7A8B", "5E6F7A8B"},
	}
	for _, tt := range refused {
		got := p.Parse(written(tt.text))
		if got.Refusal == nil || got.Refusal.Code != payments.RefusedTwoCommands {
			t.Errorf("%q: %s", tt.text, outcome(got))
			continue
		}
		if span := string([]rune(tt.text)[got.Refusal.Start:got.Refusal.End]); span != tt.span {
			t.Errorf("%q: pointed at %q, want %q", tt.text, span, tt.span)
		}
	}
}

func TestParseDirectMessages(t *testing.T) {
	p := newParser(t)
	for _, text := range []string{"#envoyer 20€ @ami", "@SmoneyFR #envoyer 20€ @ami", "20 euros #envoyer @AMI"} {
		if got := p.Parse(direct(text)); got.Command == nil || got.Command.PayeeID != users()["ami"] || got.Command.Amount != 20_00 {
			t.Errorf("%q: %s", text, outcome(got))
		}
	}
	if got := p.Parse(direct("#envoyer 20€ @SmoneyFR")); got.Refusal == nil || got.Refusal.Code != payments.RefusedBank {
		t.Errorf("the bank as payee: %s", outcome(got))
	}
	if got := p.Parse(direct("bonjour")); got.Ignored != payments.IgnoredNoHashtag || got.SecretWarning {
		t.Errorf("chatter: %s", outcome(got))
	}
	if got := p.Parse(direct("mon code est 123456")); got.Ignored != payments.IgnoredNoHashtag || !got.SecretWarning {
		t.Errorf("a secret: %s, %t", outcome(got), got.SecretWarning)
	}
}

// TestParseHandlesAsWritten pairs what readers see with what X resolved.
func TestParseHandlesAsWritten(t *testing.T) {
	p := newParser(t)
	ami := payments.Mention{UserID: users()["ami"], Handle: "ami"}
	for name, text := range map[string]string{
		"zero width inside":    "@SmoneyFR #envoyer 20€ @am\u200bi",
		"soft hyphen inside":   "@SmoneyFR #envoyer 20€ @a\u00admi",
		"full width":           "@SmoneyFR #envoyer 20€ @ａｍｉ",
		"mathematical letters": "@SmoneyFR #envoyer 20€ @𝐚mi",
		"Cyrillic":             "@SmoneyFR #envoyer 20€ @аmi",
		"Kelvin sign":          "@SmoneyFR #envoyer 20€ @\u212Aami",
	} {
		m := payments.Message{AuthorID: marieID, Text: text, Mentions: []payments.Mention{{UserID: bankID, Handle: "SmoneyFR"}, ami}}
		if got := p.Parse(m); got.Refusal == nil || got.Refusal.Code != payments.RefusedUnresolved {
			t.Errorf("%s: %s", name, outcome(got))
		}
	}
	for name, text := range map[string]string{
		"long s":     "@ſmoneyFR #envoyer 20€ @ami",
		"zero width": "@Smoney\u200dFR #envoyer 20€ @ami",
	} {
		if got := p.Parse(payments.Message{AuthorID: marieID, Text: text, Mentions: []payments.Mention{ami}}); got.Ignored != payments.IgnoredNoMention {
			t.Errorf("the bank's handle with %s: %s", name, outcome(got))
		}
	}
}

// TestParserServesManyAtOnce has texts taken apart in rooms that others have left.
func TestParserServesManyAtOnce(t *testing.T) {
	p := newParser(t)
	commands, refused, chatter, others := tweets()
	messages := make([]payments.Message, 0)
	for _, text := range slices.Concat(commands, refused, chatter, others) {
		messages = append(messages, written(text))
	}
	want := make([]payments.Parsed, len(messages))
	for i, m := range messages {
		want[i] = p.Parse(m)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for round := range 200 {
				i := round % len(messages)
				if got := p.Parse(messages[i]); !reflect.DeepEqual(got, want[i]) {
					t.Errorf("%q: %+v, alone %+v", messages[i].Text, got, want[i])
				}
			}
		})
	}
	all.Wait()
}

func TestHashtagsThatPayAreNoOtherCommand(t *testing.T) {
	for _, tag := range []string{"solde", "#Help", strings.Repeat("a", 61)} {
		_, err := twitter.NewParser(twitter.Config{BankUserID: bankID, BankHandle: "SmoneyFR", Hashtags: []string{tag}})
		if ledger.CodeOf(err) != ledger.CodeInvalid || !strings.HasPrefix(err.Error(), "hashtags") {
			t.Errorf("#%s: %v", tag, err)
		}
	}
	p, err := twitter.NewParser(twitter.Config{BankUserID: bankID, BankHandle: "SmoneyFR", Hashtags: []string{"Dépenser"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Parse(written("@SmoneyFR #DÉPENSER 20€ @ami")); got.Command == nil || got.Command.Hashtag != "dépenser" {
		t.Error(outcome(got))
	}
}

func TestEverySpellingOfOtherCommandsParsesBack(t *testing.T) {
	p := newParser(t)
	tags := map[string]payments.Command{}
	for _, c := range []payments.Command{
		{Name: payments.CommandBalance, Hashtag: "solde", Language: "fr"}, {Name: payments.CommandBalance, Hashtag: "balance", Language: "en"},
		{Name: payments.CommandCancel, Hashtag: "annuler", Language: "fr"}, {Name: payments.CommandCancel, Hashtag: "cancel", Language: "en"},
		{Name: payments.CommandHelp, Hashtag: "aide", Language: "fr"}, {Name: payments.CommandHelp, Hashtag: "help", Language: "en"},
		{Name: payments.CommandLink, Hashtag: "lier", Language: "fr"}, {Name: payments.CommandLink, Hashtag: "link", Language: "en"},
	} {
		tags[c.Hashtag] = c
	}
	names := []string{"solde", "balance", "annuler", "cancel", "aide", "help", "lier", "link"}
	chatter := []string{"", "svp", "Ça marche ?", "🍺", "👨‍👩‍👧", "à bientôt", "#resto", "(merci)", "le 14/10", "20€", "@ami", "…"}
	wide := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r > ' ' && r < 0x7F {
				return r - '!' + '！'
			}
			return r
		}, s)
	}
	rapid.Check(t, func(t *rapid.T) {
		want := tags[rapid.SampledFrom(names).Draw(t, "hashtag")]
		tag := "#" + rapid.SampledFrom([]string{want.Hashtag, strings.ToUpper(want.Hashtag), strings.ToUpper(want.Hashtag[:1]) + want.Hashtag[1:]}).Draw(t, "case")
		if rapid.Bool().Draw(t, "full width") {
			tag = wide(tag)
		}
		parts := []string{tag}
		private := rapid.Bool().Draw(t, "direct message")
		if !private || rapid.Bool().Draw(t, "with the bank's handle") {
			parts = append(parts, rapid.SampledFrom([]string{"@SmoneyFR", "@smoneyfr", "＠SMONEYFR"}).Draw(t, "bank"))
		}
		if want.Name == payments.CommandCancel && rapid.Bool().Draw(t, "one order") {
			want.Reference = rapid.StringMatching(`[0-9][0-9A-F]{7}|[A-F]{8}`).Draw(t, "reference")
			written := rapid.SampledFrom([]string{"Réf.\u00a0", "Ref. ", "réf ", ""}).Draw(t, "label") + want.Reference
			if strings.ContainsAny(want.Reference, "0123456789") && rapid.Bool().Draw(t, "small") {
				written = strings.ToLower(written)
			}
			parts = append(parts, written)
		}
		parts = rapid.Permutation(parts).Draw(t, "order")
		space := rapid.SampledFrom([]string{" ", "\n", "\u00a0", "\u202f", " ; "}).Draw(t, "space")
		text := rapid.SampledFrom(chatter).Draw(t, "before") + space + strings.Join(parts, space) + space + rapid.SampledFrom(chatter).Draw(t, "after")
		m := written(text)
		if private {
			m.Kind = payments.Direct
		}
		got := p.Parse(m)
		if got.Command == nil || *got.Command != want {
			t.Fatalf("%q: got %+v (%s), want %+v", text, got.Command, outcome(got), want)
		}
	})
}
