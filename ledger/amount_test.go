package ledger_test

import (
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"tweetledger/ledger"
)

func TestAddAndSubAtTheEndsOfTheRange(t *testing.T) {
	const top, bottom = ledger.Amount(math.MaxInt64), ledger.Amount(math.MinInt64)
	add := func(a, b ledger.Amount) (ledger.Amount, error) { return a.Add(b) }
	sub := func(a, b ledger.Amount) (ledger.Amount, error) { return a.Sub(b) }
	for _, c := range []struct {
		name string
		op   func(a, b ledger.Amount) (ledger.Amount, error)
		a, b ledger.Amount
		want ledger.Amount
		code ledger.Code
	}{
		{"to the top", add, top - 1, 1, top, ""},
		{"past the top", add, top, 1, 0, ledger.CodeOverflow},
		{"twice the top", add, top, top, 0, ledger.CodeOverflow},
		{"to the bottom", add, bottom + 1, -1, bottom, ""},
		{"past the bottom", add, bottom, -1, 0, ledger.CodeOverflow},
		{"top and bottom", add, top, bottom, -1, ""},
		{"nothing at the top", add, top, 0, top, ""},
		{"nothing at the bottom", add, bottom, 0, bottom, ""},
		{"down to the bottom", sub, bottom + 1, 1, bottom, ""},
		{"down past the bottom", sub, bottom, 1, 0, ledger.CodeOverflow},
		{"up to the top", sub, top - 1, -1, top, ""},
		{"up past the top", sub, top, -1, 0, ledger.CodeOverflow},
		{"negated bottom", sub, 0, bottom, 0, ledger.CodeOverflow},
		{"minus one less bottom", sub, -1, bottom, top, ""},
		{"equal", sub, bottom, bottom, 0, ""},
	} {
		got, err := c.op(c.a, c.b)
		if got != c.want || ledger.CodeOf(err) != c.code {
			t.Errorf("%s: %d and %d give %d, %v; want %d, %q", c.name, c.a, c.b, got, err, c.want, c.code)
		}
	}
}

// Arithmetic is that of whole numbers, or refused.
func TestAddAndSubAgreeWithBigIntegers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b := drawAmount(rt, "a"), drawAmount(rt, "b")
		bigA, bigB := big.NewInt(int64(a)), big.NewInt(int64(b))
		for _, c := range []struct {
			name string
			op   func(ledger.Amount) (ledger.Amount, error)
			want *big.Int
		}{
			{"+", a.Add, new(big.Int).Add(bigA, bigB)},
			{"-", a.Sub, new(big.Int).Sub(bigA, bigB)},
		} {
			got, err := c.op(b)
			switch {
			case !c.want.IsInt64():
				if ledger.CodeOf(err) != ledger.CodeOverflow || got != 0 {
					rt.Fatalf("%d %s %d gives %d, %v; want overflow", a, c.name, b, got, err)
				}
			case err != nil || int64(got) != c.want.Int64():
				rt.Fatalf("%d %s %d gives %d, %v; want %s", a, c.name, b, got, err, c.want)
			}
		}
	})
}

// drawAmount draws from the whole range, and often from its ends.
func drawAmount(rt *rapid.T, name string) ledger.Amount {
	if rapid.Bool().Draw(rt, name+" at an end") {
		return ledger.Amount(rapid.SampledFrom([]int64{math.MinInt64, math.MinInt64 + 1, -1, 0, 1, math.MaxInt64 - 1, math.MaxInt64}).Draw(rt, name))
	}
	return ledger.Amount(rapid.Int64().Draw(rt, name))
}

func TestFormatIsReadBackByParseAmount(t *testing.T) {
	currencies := knownCurrencies()
	rapid.Check(t, func(rt *rapid.T) {
		amount, c := drawAmount(rt, "amount"), rapid.SampledFrom(currencies).Draw(rt, "currency")
		text := amount.Format(c)
		if back, err := ledger.ParseAmount(text, c); err != nil || back != amount {
			rt.Fatalf("%d %s is written %q, which reads as %d, %v", amount, c, text, back, err)
		}
		exp, _ := c.Exponent()
		if _, decimals, found := strings.Cut(text, "."); found != (exp > 0) || len(decimals) != int(exp) {
			rt.Fatalf("%d %s is written %q, not with %d decimals", amount, c, text, exp)
		}
		if back, err := ledger.AmountOf(amount.Decimal(c), c); err != nil || back != amount {
			rt.Fatalf("%d %s as a decimal comes back as %d, %v", amount, c, back, err)
		}
	})
}

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		amount   ledger.Amount
		currency ledger.Currency
		want     string
	}{
		{1999, "EUR", "19.99"}, {5, "EUR", "0.05"}, {-5, "EUR", "-0.05"}, {0, "EUR", "0.00"}, {100, "EUR", "1.00"},
		{1999, "JPY", "1999"}, {-1, "JPY", "-1"}, {1999, "TND", "1.999"}, {7, "???", "7"},
		{math.MaxInt64, "EUR", "92233720368547758.07"}, {math.MinInt64, "EUR", "-92233720368547758.08"},
	} {
		if got := c.amount.Format(c.currency); got != c.want {
			t.Errorf("%d %s is written %q, want %q", c.amount, c.currency, got, c.want)
		}
	}
}

func TestParseAmount(t *testing.T) {
	for text, want := range map[string]ledger.Amount{
		"20": 2000, "20.5": 2050, "20.50": 2050, "-0.01": -1, "0": 0, "-0": 0, "0.00": 0, "007": 700,
		"92233720368547758.07": math.MaxInt64, "-92233720368547758.08": math.MinInt64,
	} {
		if got, err := ledger.ParseAmount(text, ledger.EUR); err != nil || got != want {
			t.Errorf("%q reads as %d, %v; want %d", text, got, err, want)
		}
	}
}

func TestParseAmountRefuses(t *testing.T) {
	for _, c := range []struct {
		name, text string
		currency   ledger.Currency
		want       ledger.Code
	}{
		{"empty", "", "EUR", ledger.CodeInvalid},
		{"only a sign", "-", "EUR", ledger.CodeInvalid},
		{"two signs", "--1", "EUR", ledger.CodeInvalid},
		{"plus", "+1", "EUR", ledger.CodeInvalid},
		{"sign behind", "1-", "EUR", ledger.CodeInvalid},
		{"bare point", ".", "EUR", ledger.CodeInvalid},
		{"point first", ".5", "EUR", ledger.CodeInvalid},
		{"sign, then point", "-.5", "EUR", ledger.CodeInvalid},
		{"point last", "5.", "EUR", ledger.CodeInvalid},
		{"two points", "1.0.0", "EUR", ledger.CodeInvalid},
		{"points together", "1..0", "EUR", ledger.CodeInvalid},
		{"comma", "12,50", "EUR", ledger.CodeInvalid},
		{"groups", "1 000", "EUR", ledger.CodeInvalid},
		{"underscore", "1_000", "EUR", ledger.CodeInvalid},
		{"space before", " 1", "EUR", ledger.CodeInvalid},
		{"space behind", "1 ", "EUR", ledger.CodeInvalid},
		{"line break", "1\n", "EUR", ledger.CodeInvalid},
		{"exponent", "1e2", "EUR", ledger.CodeInvalid},
		{"hexadecimal", "0x10", "EUR", ledger.CodeInvalid},
		{"infinity", "Inf", "EUR", ledger.CodeInvalid},
		{"no number", "NaN", "EUR", ledger.CodeInvalid},
		{"currency in it", "1 EUR", "EUR", ledger.CodeInvalid},
		{"digits of another script", "１２", "EUR", ledger.CodeInvalid},
		{"NUL", "1\x00", "EUR", ledger.CodeInvalid},
		{"long", strings.Repeat("1", 33), "EUR", ledger.CodeInvalid},
		{"very long", strings.Repeat("1", 1<<20), "EUR", ledger.CodeInvalid},
		{"a decimal too many", "0.001", "EUR", ledger.CodeInvalid},
		{"thousands to a Frenchman", "12.500", "EUR", ledger.CodeInvalid},
		{"decimals in yen", "1.0", "JPY", ledger.CodeInvalid},
		{"four decimals in dinars", "1.0000", "TND", ledger.CodeInvalid},
		{"unknown currency", "1", "EURO", ledger.CodeInvalid},
		{"lower case currency", "1", "eur", ledger.CodeInvalid},
		{"past the top", "92233720368547758.08", "EUR", ledger.CodeOverflow},
		{"past the bottom", "-92233720368547758.09", "EUR", ledger.CodeOverflow},
		{"far too much", "99999999999999999999999999999999", "EUR", ledger.CodeOverflow},
	} {
		got, err := ledger.ParseAmount(c.text, c.currency)
		if ledger.CodeOf(err) != c.want || got != 0 {
			t.Errorf("%s: got %d, %v; want %q", c.name, got, err, c.want)
		}
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("%s: the message has %d bytes", c.name, len(err.Error()))
		}
	}
}

// A decimal may come from JSON, where 1e1000000000 takes a dozen bytes.
func TestAmountOfIsNotLedAstrayByExponents(t *testing.T) {
	for _, c := range []struct {
		name string
		d    decimal.Decimal
		want ledger.Amount
		code ledger.Code
	}{
		{"exact with more zeros", decimal.New(12_500, -3), 1250, ""},
		{"zero with a great exponent", decimal.New(0, math.MaxInt32), 0, ""},
		{"zero with a small exponent", decimal.New(0, math.MinInt32), 0, ""},
		{"great exponent", decimal.New(1, 1_000_000_000), 0, ledger.CodeOverflow},
		{"greatest exponent", decimal.New(1, math.MaxInt32), 0, ledger.CodeOverflow},
		{"small exponent", decimal.New(1, -1_000_000_000), 0, ledger.CodeInvalid},
		{"smallest exponent", decimal.New(1, math.MinInt32), 0, ledger.CodeInvalid},
		{"just too many digits", decimal.New(1, 17), 0, ledger.CodeOverflow},
		{"just few enough digits", decimal.New(9, 16), 9_000_000_000_000_000_000, ""},
		{"half a cent", decimal.New(5, -3), 0, ledger.CodeInvalid},
	} {
		got, err := ledger.AmountOf(c.d, ledger.EUR)
		if got != c.want || ledger.CodeOf(err) != c.code {
			t.Errorf("%s: got %d, %v; want %d, %q", c.name, got, err, c.want, c.code)
		}
	}
}

func FuzzParseAmount(f *testing.F) {
	for _, text := range []string{"20", "20.5", "-0.01", "12,50", "1e9", "92233720368547758.08", "٣", "0.000"} {
		f.Add(text, "EUR")
	}
	f.Add("1999", "JPY")
	f.Add("1.999", "TND")
	f.Fuzz(func(t *testing.T, text, currency string) {
		c := ledger.Currency(currency)
		amount, err := ledger.ParseAmount(text, c)
		if err != nil {
			if _, ok := errors.AsType[*ledger.Error](err); !ok {
				t.Fatalf("%q: %v is no *ledger.Error", text, err)
			}
			return
		}
		exact, ok := new(big.Rat).SetString(text)
		exp, _ := c.Exponent()
		minor := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(exp)), nil))
		if !ok || exact.Mul(exact, minor).Cmp(new(big.Rat).SetInt64(int64(amount))) != 0 {
			t.Fatalf("%q %s reads as %d", text, c, amount)
		}
		if back, err := ledger.ParseAmount(amount.Format(c), c); err != nil || back != amount {
			t.Fatalf("%q: %d %s comes back as %d, %v", text, amount, c, back, err)
		}
	})
}
