package payments

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// weigh counts as X does: most letters of European scripts 1, everything else 2.
// Source: twitter-text configuration v3.
func weigh(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case r <= 4351, r >= 8192 && r <= 8205, r >= 8208 && r <= 8223, r >= 8242 && r <= 8247:
			n++
		default:
			n += 2
		}
	}
	return n
}

// address is anything that X would make a link of.
var address = regexp.MustCompile(`(?i)https?:|www\.|[a-z0-9]\.[a-z]{2,}`)

func TestRepliesAreFitForThePublic(t *testing.T) {
	config := DefaultConfig()
	config.BankName = strings.Repeat("B", 30)
	config.BankHandle = strings.Repeat("b", 20)
	o := Order{ID: uuid.New(), Amount: 2_500_00, Currency: config.Currency, PayeeHandle: strings.Repeat("h", 20), HoldID: uuid.New()}
	texts := map[string]bool{}
	for _, lang := range []string{French, English} {
		o.Language = lang
		for _, state := range []State{StateAwaitingConfirmation, StateAwaitingPayee, StateRejected, StatePosted, StateExpired, StateCancelled, StateVoided} {
			for _, kind := range []PayeeKind{Person, Charity, Business, Unregistered} {
				for _, reason := range []string{ReasonOverCap, ReasonSelfPayment, ReasonInsufficientFunds, ReasonPayerBlocked, ReasonPayeeCeiling} {
					o.State, o.PayeeKind, o.Reason = state, kind, reason
					texts[orderText(o, config, false)] = true
					texts[secretWarningPrefix(lang)+orderText(o, config, true)] = true
				}
			}
		}
		for _, code := range []RefusalCode{RefusedNoAmount, RefusedTwoAmounts, RefusedAmbiguousAmount, RefusedTooManyDecimals, RefusedNotPositive,
			RefusedCurrency, RefusedTooLarge, RefusedNoPayee, RefusedTwoPayees, RefusedSelf, RefusedBank, RefusedUnresolved, RefusedTwoCommands, "new"} {
			texts[refusalText(code, config, lang)] = true
		}
		texts[withdrawnText(o, lang)], texts[invitationText(config, lang)], texts[secretWarning(lang)] = true, true, true
	}
	if len(texts) < 60 {
		t.Fatalf("only %d different texts", len(texts))
	}
	for text := range texts {
		if n := weigh(text); n > 280 {
			t.Errorf("%d characters: %s", n, text)
		}
		if address.MatchString(text) {
			t.Errorf("reads as an address: %s", text)
		}
		if strings.Contains(text, "%!") {
			t.Errorf("badly formatted: %s", text)
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
