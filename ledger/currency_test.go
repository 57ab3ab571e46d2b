package ledger_test

import (
	"testing"

	"golang.org/x/text/currency"

	"tweetledger/ledger"
)

// knownCurrencies tries every code of three capitals.
func knownCurrencies() []ledger.Currency {
	var known []ledger.Currency
	for i := range 26 * 26 * 26 {
		c := ledger.Currency([]byte{'A' + byte(i/676), 'A' + byte(i/26%26), 'A' + byte(i%26)})
		if c.Known() {
			known = append(known, c)
		}
	}
	return known
}

// The Unicode CLDR, from which x/text is made, is a list of currencies that does
// not come from ISO's table. Where the two differ, the reason stands here.
func TestCurrenciesAgainstCLDR(t *testing.T) {
	newer := map[ledger.Currency]string{
		"SLE": "Sierra Leone, 2022", "VED": "Venezuela, 2021", "XCG": "Curaçao and Sint Maarten, 2025", "ZWG": "Zimbabwe, 2024",
		"VES": "Venezuela, 2018", "MRU": "Mauritania, 2018",
	}
	// CLDR gives the decimals in use; ISO 4217, which payment files follow, those defined.
	unused := map[ledger.Currency]bool{
		"AFN": true, "ALL": true, "IQD": true, "IRR": true, "KPW": true, "LAK": true, "LBP": true, "MGA": true,
		"MMK": true, "RSD": true, "SOS": true, "SYP": true, "YER": true,
		"AMD": true, "COP": true,
		"GYD": true, "IDR": true, "MNT": true, "MUR": true, "PKR": true, "TZS": true, "UZS": true,
	}
	known := knownCurrencies()
	if len(known) < 150 {
		t.Fatalf("only %d currencies are known", len(known))
	}
	for _, c := range known {
		exp, ok := c.Exponent()
		if !ok || exp < 0 || exp > 3 {
			t.Errorf("%s has exponent %d, %t", c, exp, ok)
		}
		unit, err := currency.ParseISO(string(c))
		if (err != nil) != (newer[c] != "") {
			t.Errorf("x/text about %s: %v, against %q here", c, err, newer[c])
		}
		if err != nil {
			continue
		}
		scale, _ := currency.Standard.Rounding(unit)
		if scale > int(exp) || (scale < int(exp)) != unused[c] {
			t.Errorf("%s has %d decimals, CLDR says %d", c, exp, scale)
		}
	}
}

func TestEuroAndItsExponent(t *testing.T) {
	for c, want := range map[ledger.Currency]int32{ledger.EUR: 2, "JPY": 0, "TND": 3, "XPF": 0, "XOF": 0, "CHF": 2, "ISK": 0, "KWD": 3} {
		if exp, ok := c.Exponent(); !ok || exp != want {
			t.Errorf("%s has exponent %d, %t; want %d", c, exp, ok, want)
		}
	}
}

// What is no money to hold, or no longer any, is unknown.
func TestCurrenciesThatAreNone(t *testing.T) {
	for _, c := range []ledger.Currency{"", "EU", "eur", "EURO", " EUR", "EUR\n", "FRF", "DEM", "HRK", "XAU", "XXX", "XTS", "XDR", "CHE", "CLF", "UYW", "BTC", "ΕUR"} {
		if exp, ok := c.Exponent(); ok || c.Known() {
			t.Errorf("%q counts as a currency with %d decimals", c, exp)
		}
	}
}
