package payouts

import (
	"regexp"
	"strings"

	"tweetledger/ledger"
)

// sepaIBANLengths has the length of an IBAN by country, for the countries in the
// geographical scope of the SEPA schemes. The overseas territories of France use
// FR, the Channel Islands and the Isle of Man GB.
// Source: EPC409-09; lengths from the SWIFT IBAN registry.
var sepaIBANLengths = map[string]int{
	"AD": 24, "AL": 28, "AT": 20, "BE": 16, "BG": 22, "CH": 21, "CY": 28, "CZ": 24,
	"DE": 22, "DK": 18, "EE": 20, "ES": 24, "FI": 18, "FR": 27, "GB": 22, "GI": 23,
	"GR": 27, "HR": 21, "HU": 28, "IE": 22, "IS": 26, "IT": 27, "LI": 21, "LT": 20,
	"LU": 20, "LV": 21, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MT": 31, "NL": 18,
	"NO": 15, "PL": 28, "PT": 25, "RO": 24, "RS": 22, "SE": 24, "SI": 19, "SK": 24,
	"SM": 27, "VA": 22,
}

var (
	ibanPattern = regexp.MustCompile(`^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$`)
	bicPattern  = regexp.MustCompile(`^[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?$`)
)

// maxIBANInput bounds what is read as an IBAN: 34 characters in groups of four
// make 42, and some write it with more spaces.
const maxIBANInput = 64

// ParseIBAN reads the IBAN of an account that SEPA reaches, written with or
// without spaces and in any case, and returns it in electronic form. The error is
// a ledger.Error with CodeInvalid; it does not repeat the account number, which
// must not end up in a log.
func ParseIBAN(s string) (string, error) {
	if len(s) > maxIBANInput {
		return "", ledger.Errorf(ledger.CodeInvalid, "an IBAN has at most 34 characters").InField("iban")
	}
	iban := strings.ToUpper(strings.NewReplacer(" ", "", "\u00a0", "", "\u202f", "").Replace(s))
	if !ibanPattern.MatchString(iban) {
		return "", ledger.Errorf(ledger.CodeInvalid, "an IBAN is a country, 2 check digits and up to 30 letters and digits, like FR76 3000 6000 0112 3456 7890 189").InField("iban")
	}
	want, ok := sepaIBANLengths[iban[:2]]
	switch {
	case !ok:
		return "", ledger.Errorf(ledger.CodeInvalid, "accounts in %s cannot be reached by SEPA; ask for an IBAN of a SEPA country", iban[:2]).InField("iban")
	case len(iban) != want:
		return "", ledger.Errorf(ledger.CodeInvalid, "an IBAN of %s has %d characters, not %d; a character is missing or doubled", iban[:2], want, len(iban)).InField("iban")
	case ibanRemainder(iban) != 1:
		return "", ledger.Errorf(ledger.CodeInvalid, "the check digits of the IBAN are wrong; a character was mistyped").InField("iban")
	}
	return iban, nil
}

// ibanRemainder is the IBAN's number modulo 97 (ISO 13616: 1 for a valid one).
func ibanRemainder(iban string) int {
	remainder := 0
	for _, c := range []byte(iban[4:] + iban[:4]) {
		if c >= 'A' {
			remainder = (remainder*100 + int(c-'A') + 10) % 97
		} else {
			remainder = (remainder*10 + int(c-'0')) % 97
		}
	}
	return remainder
}

// CheckBIC refuses what is not a BIC of 8 or 11 characters (ISO 9362). An empty
// one is fine: within SEPA the IBAN is enough.
func CheckBIC(bic string) error {
	if bic != "" && !bicPattern.MatchString(bic) {
		return ledger.Errorf(ledger.CodeInvalid, "a BIC has 8 or 11 capital letters and digits, like AGRIFRPP; leave it empty where it is unknown").InField("bic")
	}
	return nil
}
