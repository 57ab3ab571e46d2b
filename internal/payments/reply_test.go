package payments

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// address is anything that X would make a link of.
var address = regexp.MustCompile(`(?i)https?:|www\.|[a-z0-9]\.[a-z]{2,}`)

// publicTexts returns everything that can be said in public about an order or message
// with this id, by what it is, with the longest fields that there can be.
func publicTexts(t *testing.T, id uuid.UUID, lang string) map[string][]string {
	t.Helper()
	config := DefaultConfig()
	config.BankName, config.BankHandle = strings.Repeat("B", maxBankName), strings.Repeat("b", 20) // X's longest
	config.PersonCap, config.CharityCap, config.BusinessCap = 999_999_999_99, 999_999_999_99, 999_999_999_99
	texts := map[string][]string{}
	add := func(what, text string) {
		if !slices.Contains(texts[what], text) {
			texts[what] = append(texts[what], text)
		}
	}
	s := saying{lang, id}
	o := Order{ID: id, Amount: 999_999_999_99, Currency: config.Currency, PayeeHandle: strings.Repeat("h", 20), HoldID: id, Language: lang}
	for _, state := range []State{StateAwaitingConfirmation, StateAwaitingPayee, StateUnderReview, StateRejected, StatePosted, StateExpired, StateCancelled, StateVoided} {
		for _, kind := range []PayeeKind{Person, Charity, Business, Unregistered} {
			for _, reason := range []string{ReasonOverCap, ReasonSelfPayment, ReasonInsufficientFunds, ReasonPayerBlocked, ReasonPayeeCeiling, ReasonReviewOver} {
				for _, hold := range []uuid.UUID{id, uuid.Nil} {
					o.State, o.PayeeKind, o.Reason, o.HoldID = state, kind, reason, hold
					add(string(state), orderText(o, config, false))
					add(string(state), s.secretPrefix()+orderText(o, config, true))
				}
			}
		}
	}
	o.State, o.PayeeKind, o.HoldID = StatePosted, Unregistered, id
	for what, p := range map[string]phrase{"unclaimed": words.unclaimed, "reminder": words.reminder, "claimed": words.claimed, "returned": words.returned} {
		add(what, unclaimedText(p, o, Unclaimed{ExpiresAt: time.Date(2026, 12, 31, 22, 59, 0, 0, time.UTC)}, config, time.UTC))
	}
	for _, code := range refusalCodes() {
		add("refusal "+string(code), s.refusal(code, config))
	}
	add("withdrawn", withdrawnText(o, lang))
	add("invitation", s.invitation(config))
	add("secret", s.secret())
	h := handling{Service: &Service{config: config}}
	prefix := s.secretPrefix() + words.replaced.say(lang, id)
	add("help", prefix+h.helpText(s, false))
	for _, linked := range []bool{false, true} {
		add("link", prefix+h.linkText(s, false, linked))
	}
	for _, p := range []phrase{words.balanceInPrivate, words.nothingToCancel, words.tooLateToCancel, words.lastAnswer} {
		add("command", prefix+s.say(p)+s.number())
	}
	add("command", prefix+words.cancelledQuietly.say(lang, id)+reference(o))
	return texts
}

func refusalCodes() []RefusalCode {
	return []RefusalCode{RefusedNoAmount, RefusedTwoAmounts, RefusedAmbiguousAmount, RefusedTooManyDecimals, RefusedNotPositive, RefusedCurrency,
		RefusedTooLarge, RefusedNoPayee, RefusedTwoPayees, RefusedSelf, RefusedBank, RefusedUnresolved, RefusedTwoCommands, "new"}
}

func TestRepliesAreFitForThePublic(t *testing.T) {
	for _, lang := range []string{French, English} {
		ways := map[string]map[string]bool{}
		for way := range byte(6) { // every one of 2 and of 3 ways
			id := uuid.UUID{1, 2, 3, 4, 15: way}
			for what, list := range publicTexts(t, id, lang) {
				for _, text := range list {
					switch {
					case Weigh(text) > MaxWeight:
						t.Errorf("%s weighs %d: %s", what, Weigh(text), text)
					case address.MatchString(text):
						t.Errorf("reads as an address: %s", text)
					case strings.Contains(text, "%!"):
						t.Errorf("badly formatted: %s", text)
					case strings.Contains(text, "@ami") || strings.Contains(text, "@friend"):
						t.Errorf("calls somebody: %s", text)
					}
				}
				if ways[what] == nil {
					ways[what] = map[string]bool{}
				}
				ways[what][list[0]] = true
			}
		}
		if len(ways) < 25 {
			t.Errorf("%s: only %d texts", lang, len(ways))
		}
		for what, texts := range ways {
			if len(texts) < 3 {
				t.Errorf("%s: %s is said in %d ways", lang, what, len(texts))
			}
		}
	}
}

// TestEveryPhraseIsWhole finds phrases that lack a language, or an argument in one of
// their ways.
func TestEveryPhraseIsWhole(t *testing.T) {
	verb := regexp.MustCompile(`%\[[0-9]\]s`)
	check := func(name string, p phrase) {
		t.Helper()
		if len(p.french) == 0 || len(p.french) != len(p.english) {
			t.Errorf("%s is said in %d ways in French and in %d in English", name, len(p.french), len(p.english))
			return
		}
		args := func(format string) string {
			found := verb.FindAllString(format, -1)
			slices.Sort(found)
			return strings.Join(slices.Compact(found), " ")
		}
		seen := map[string]bool{}
		for _, format := range slices.Concat(p.french, p.english) {
			if args(format) != args(p.french[0]) {
				t.Errorf("%s: %q has the arguments %s, and %q %s", name, format, args(format), p.french[0], args(p.french[0]))
			}
			if seen[format] {
				t.Errorf("%s: %q stands twice", name, format)
			}
			seen[format] = true
			if strings.Contains(verb.ReplaceAllString(format, ""), "%") {
				t.Errorf("%s: %q has an argument without a number", name, format)
			}
		}
	}
	fields := reflect.ValueOf(words)
	for i := range fields.NumField() {
		if p, ok := fieldPhrase(fields.Field(i)); ok {
			check(fields.Type().Field(i).Name, p)
		}
	}
	for code, p := range words.refused {
		check(string(code), p)
	}
	for _, code := range refusalCodes() {
		if _, ok := words.refused[code]; !ok && code != "new" {
			t.Errorf("no words for %s", code)
		}
	}
}

// TestTheSameIsSaidInTheSameWay proves that a retry says what was said.
func TestTheSameIsSaidInTheSameWay(t *testing.T) {
	one, other := uuid.UUID{15: 1}, uuid.UUID{0: 1, 15: 2}
	first := words.secret.say(French, one)
	if again := words.secret.say(French, one); again != first || words.secret.say(French, other) == first {
		t.Error("the way to say something does not follow from what it is about")
	}
	if a, b := (saying{French, one}).secret(), (saying{French, uuid.UUID{0: 9, 15: 1}}).secret(); a == b {
		t.Errorf("two messages are answered with the same words: %s", a)
	}
}

// TestPrivateTextsMayHoldAddresses has the longest of them, too.
func TestPrivateTextsMayHoldAddresses(t *testing.T) {
	config := DefaultConfig()
	config.PageURL = "https://pay.test/confirm"
	h := handling{Service: &Service{config: config}}
	for _, lang := range []string{French, English} {
		for _, linked := range []bool{false, true} {
			if text := h.linkText(saying{lang, uuid.UUID{}}, true, linked); !strings.Contains(text, "https://pay.test/link/") {
				t.Errorf("no address in %q", text)
			}
		}
	}
}

// TestPrivateReasonsStayPrivate compares what the public is told about reasons
// that are nobody's business.
func TestPrivateReasonsStayPrivate(t *testing.T) {
	config := DefaultConfig()
	told := map[string]bool{}
	for _, reason := range []string{ReasonInsufficientFunds, ReasonPayeeCeiling, ReasonPayerBlocked, ReasonPayerClosed, ReasonPayeeBlocked,
		ReasonPayeeClosed, ReasonAccountClosed} {
		o := Order{State: StateRejected, Reason: reason, Amount: 1_00, Currency: config.Currency, PayeeHandle: "x", Language: English}
		told[orderText(o, config, false)] = true
	}
	if len(told) != 1 {
		t.Fatalf("private reasons can be told apart: %v", told)
	}
}

func TestMoneyAndNotice(t *testing.T) {
	if got := money(1_250_00, "EUR", French); got != "1250,00\u00a0€" {
		t.Errorf("French money is %q", got)
	}
	if got := money(5, "EUR", English); got != "€0.05" {
		t.Errorf("English money is %q", got)
	}
	if got := money(500, "JPY", English); got != "JPY\u00a0500" {
		t.Errorf("English yen are %q", got)
	}
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	// the term ends after the clocks went back: 01:30 UTC is 02:30 in Paris
	o := Order{Amount: 20_00, Currency: "EUR", PayeeHandle: "ACF_France", Language: French, ExpiresAt: time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC)}
	got := noticeText(o, "Action contre la Faim", "https://pay.test/confirm/x", DefaultConfig(), paris)
	if want := "S-money : pour envoyer 20,00\u00a0€ à Action contre la Faim (@ACF_France), validez avant le 25/10 à 02h30 : https://pay.test/confirm/x"; got != want {
		t.Errorf("notice is %q, want %q", got, want)
	}
}

// TestEveryTransition asks for each pair of states whether it is allowed, against
// the diagram of the product written down once more.
func TestEveryTransition(t *testing.T) {
	states := []State{StateReceived, StateRejected, StateAwaitingPayee, StateUnderReview, StateAwaitingConfirmation, StatePosted, StateExpired,
		StateCancelled, StateVoided}
	final := map[State]bool{StateRejected: true, StatePosted: true, StateExpired: true, StateCancelled: true, StateVoided: true}
	for _, from := range states {
		if !from.Valid() || from.Open() == final[from] {
			t.Errorf("%s: valid %t, open %t", from, from.Valid(), from.Open())
		}
		for _, to := range transitions(from) {
			if final[from] || to == StateReceived || to == from {
				t.Errorf("%s may become %s", from, to)
			}
			if to == StatePosted && from != StateAwaitingConfirmation {
				t.Errorf("%s is posted without a confirmation", from)
			}
		}
	}
	if State("lost").Valid() {
		t.Error("any word is a state")
	}
}
