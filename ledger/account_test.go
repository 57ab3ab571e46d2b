package ledger_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"tweetledger/ledger"
)

func amount(n int64) *ledger.Amount {
	a := ledger.Amount(n)
	return &a
}

func wallet() ledger.Account {
	return ledger.Account{ID: uuid.MustParse("11111111-1111-4111-8111-111111111111"), Code: "wallet:c-000017", Name: "Customer wallet",
		Category: ledger.CustomerEMoney, Side: ledger.Credit, Currency: ledger.EUR, Min: amount(0), Max: amount(250_000), Shards: 1}
}

// wantField checks that err is CodeInvalid about exactly this field; an empty
// field means that there is no error.
func wantField(t *testing.T, name string, err error, field string) {
	t.Helper()
	refusal, ok := errors.AsType[*ledger.Error](err)
	switch {
	case field == "" && err != nil:
		t.Errorf("%s: refused: %v", name, err)
	case field != "" && (!ok || refusal.Code != ledger.CodeInvalid || refusal.Field != field):
		t.Errorf("%s: got %v, want field %s", name, err, field)
	case ok && (refusal.Message == "" || len(refusal.Message) > 300 || strings.ContainsAny(refusal.Message, "\n\x00")):
		t.Errorf("%s: the message %q is not one clear line", name, refusal.Message)
	}
}

// Amounts in what a person reads are in the account's currency, not in cents.
func TestAccountBoundsAreSaidInItsCurrency(t *testing.T) {
	a := wallet()
	a.Min, a.Max = amount(1000), amount(500)
	if err := a.Validate(); err == nil || err.Error() != "min: the minimum 10.00 EUR is above the maximum 5.00 EUR" {
		t.Errorf("got %v", err)
	}
}

func TestAccountValidate(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(a *ledger.Account)
		field  string
	}{
		{"a wallet", func(a *ledger.Account) {}, ""},
		{"no bounds", func(a *ledger.Account) { a.Min, a.Max = nil, nil }, ""},
		{"most shards", func(a *ledger.Account) { a.Min, a.Max, a.Shards = nil, nil, ledger.MaxShards }, ""},
		{"a credit line", func(a *ledger.Account) { a.Min = amount(-10_000) }, ""},
		{"nothing at all may stand on it", func(a *ledger.Account) { a.Max = amount(0) }, ""},
		{"longest code", func(a *ledger.Account) { a.Code = strings.Repeat("a", ledger.MaxAccountCode) }, ""},
		{"longest name", func(a *ledger.Account) { a.Name = strings.Repeat("n", ledger.MaxAccountName) }, ""},
		{"accents", func(a *ledger.Account) { a.Name = "Chèques à l'encaissement" }, ""},
		{"longest category", func(a *ledger.Account) { a.Category = ledger.Category(strings.Repeat("c", 40)) }, ""},

		{"no id", func(a *ledger.Account) { a.ID = uuid.Nil }, "id"},
		{"no code", func(a *ledger.Account) { a.Code = "" }, "code"},
		{"long code", func(a *ledger.Account) { a.Code = strings.Repeat("a", ledger.MaxAccountCode+1) }, "code"},
		{"very long code", func(a *ledger.Account) { a.Code = strings.Repeat("A", 1<<16) }, "code"},
		{"capitals in the code", func(a *ledger.Account) { a.Code = "Wallet" }, "code"},
		{"space in the code", func(a *ledger.Account) { a.Code = "a b" }, "code"},
		{"code that starts with a colon", func(a *ledger.Account) { a.Code = ":a" }, "code"},
		{"line break behind the code", func(a *ledger.Account) { a.Code = "a\n" }, "code"},
		{"no name", func(a *ledger.Account) { a.Name = "" }, "name"},
		{"long name", func(a *ledger.Account) { a.Name = strings.Repeat("n", ledger.MaxAccountName+1) }, "name"},
		{"broken UTF-8", func(a *ledger.Account) { a.Name = "a\xff" }, "name"},
		{"no category", func(a *ledger.Account) { a.Category = "" }, "category"},
		{"capitals in the category", func(a *ledger.Account) { a.Category = "Wallets" }, "category"},
		{"long category", func(a *ledger.Account) { a.Category = ledger.Category(strings.Repeat("c", 41)) }, "category"},
		{"no side", func(a *ledger.Account) { a.Side = "" }, "side"},
		{"third side", func(a *ledger.Account) { a.Side = "both" }, "side"},
		{"no currency", func(a *ledger.Account) { a.Currency = "" }, "currency"},
		{"unknown currency", func(a *ledger.Account) { a.Currency = "ECU" }, "currency"},
		{"bounds crossed", func(a *ledger.Account) { a.Min, a.Max = amount(-1), amount(-2) }, "min"},
		{"minimum above zero", func(a *ledger.Account) { a.Min, a.Max = amount(1), nil }, "min"},
		{"maximum below zero", func(a *ledger.Account) { a.Min, a.Max = nil, amount(-1) }, "min"},
		{"no shard", func(a *ledger.Account) { a.Shards = 0 }, "shards"},
		{"fewer than no shards", func(a *ledger.Account) { a.Shards = -1 }, "shards"},
		{"many shards", func(a *ledger.Account) { a.Min, a.Max, a.Shards = nil, nil, ledger.MaxShards+1 }, "shards"},
		{"shards and a minimum", func(a *ledger.Account) { a.Max, a.Shards = nil, 2 }, "shards"},
		{"shards and a maximum", func(a *ledger.Account) { a.Min, a.Shards = nil, 2 }, "shards"},
	} {
		a := wallet()
		c.change(&a)
		wantField(t, c.name, a.Validate(), c.field)
	}
}

func TestChartEntryValidate(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(e *ledger.ChartEntry)
		field  string
	}{
		{"as it should be", func(e *ledger.ChartEntry) {}, ""},
		{"shortest number", func(e *ledger.ChartEntry) { e.Number = "419" }, ""},
		{"letters behind", func(e *ledger.ChartEntry) { e.Number = "467ABCdef00000000000" }, ""},
		{"no category", func(e *ledger.ChartEntry) { e.Category = "" }, "category"},
		{"odd category", func(e *ledger.ChartEntry) { e.Category = "e-money" }, "category"},
		{"no date", func(e *ledger.ChartEntry) { e.ValidFrom = ledger.Date{} }, "valid_from"},
		{"30 February", func(e *ledger.ChartEntry) { e.ValidFrom = day(2026, 2, 30) }, "valid_from"},
		{"no number", func(e *ledger.ChartEntry) { e.Number = "" }, "number"},
		{"two digits", func(e *ledger.ChartEntry) { e.Number = "41" }, "number"},
		{"letter among the first three", func(e *ledger.ChartEntry) { e.Number = "41A" }, "number"},
		{"long number", func(e *ledger.ChartEntry) { e.Number = strings.Repeat("4", 21) }, "number"},
		{"separator in the number", func(e *ledger.ChartEntry) { e.Number = "419\t1" }, "number"},
		{"no label", func(e *ledger.ChartEntry) { e.Label = "" }, "label"},
		{"line break in the label", func(e *ledger.ChartEntry) { e.Label = "a\nb" }, "label"},
	} {
		e := ledger.ChartEntry{Category: ledger.CustomerEMoney, ValidFrom: day(2014, 10, 14), Number: "4191", Label: "Clients, monnaie électronique"}
		c.change(&e)
		wantField(t, c.name, e.Validate(), c.field)
	}
}

func TestLimited(t *testing.T) {
	a := wallet()
	for name, c := range map[string]struct {
		min, max *ledger.Amount
		want     bool
	}{
		"both": {amount(0), amount(1), true}, "minimum": {amount(0), nil, true},
		"maximum": {nil, amount(1), true}, "none": {nil, nil, false},
	} {
		a.Min, a.Max = c.min, c.max
		if a.Limited() != c.want {
			t.Errorf("%s: Limited is %t", name, a.Limited())
		}
	}
}

// The two sides of the book mirror each other, and holds only ever take away
// from what is available and add to what is expected.
func TestBalanceSides(t *testing.T) {
	b := ledger.Balance{Side: ledger.Credit, DebitsPosted: 300, CreditsPosted: 1000, DebitsPending: 50, CreditsPending: 7}
	if b.Posted() != 700 || b.Available() != 650 || b.Expected() != 707 {
		t.Errorf("credit side: %d posted, %d available, %d expected", b.Posted(), b.Available(), b.Expected())
	}
	b.Side = ledger.Debit
	if b.Posted() != -700 || b.Available() != -707 || b.Expected() != -650 {
		t.Errorf("debit side: %d posted, %d available, %d expected", b.Posted(), b.Available(), b.Expected())
	}
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(name string) ledger.Amount { return ledger.Amount(rapid.Int64Range(0, 1<<40).Draw(rt, name)) }
		b := ledger.Balance{Side: ledger.Credit, DebitsPosted: draw("dp"), CreditsPosted: draw("cp"),
			DebitsPending: draw("dh"), CreditsPending: draw("ch")}
		mirror := ledger.Balance{Side: ledger.Debit, DebitsPosted: b.CreditsPosted, CreditsPosted: b.DebitsPosted,
			DebitsPending: b.CreditsPending, CreditsPending: b.DebitsPending}
		if b.Posted() != mirror.Posted() || b.Available() != mirror.Available() || b.Expected() != mirror.Expected() {
			rt.Fatalf("%+v and its mirror differ", b)
		}
		if b.Available() > b.Posted() || b.Expected() < b.Posted() {
			rt.Fatalf("%+v: available %d, posted %d, expected %d", b, b.Available(), b.Posted(), b.Expected())
		}
	})
}

func TestHoldRemaining(t *testing.T) {
	for status, want := range map[ledger.HoldStatus]ledger.Amount{
		ledger.HoldPending: 60, ledger.HoldPosted: 0, ledger.HoldVoided: 0, ledger.HoldExpired: 0,
	} {
		h := ledger.Hold{Amount: 100, Posted: 40, Status: status}
		if got := h.Remaining(); got != want {
			t.Errorf("%s: %d remains, want %d", status, got, want)
		}
	}
}
