package payments

import (
	"regexp"
	"strings"

	"tweetledger/ledger"
)

// ibanLength returns how long an IBAN of a country of the SEPA schemes is, or 0
// for another country. Sources: European Payments Council, EPC409-09; ISO 13616
// registry. French overseas departments and most territories write FR.
func ibanLength(country string) int {
	switch country {
	case "NO":
		return 15
	case "BE":
		return 16
	case "DK", "FI", "NL":
		return 18
	case "MK", "SI":
		return 19
	case "AT", "EE", "LT", "LU":
		return 20
	case "CH", "HR", "LI", "LV":
		return 21
	case "BG", "DE", "GB", "IE", "ME", "RS", "VA":
		return 22
	case "GI":
		return 23
	case "AD", "CZ", "ES", "MD", "RO", "SE", "SK":
		return 24
	case "PT":
		return 25
	case "IS":
		return 26
	case "FR", "GR", "IT", "MC", "SM":
		return 27
	case "AL", "CY", "HU", "PL":
		return 28
	case "MT":
		return 31
	}
	return 0
}

var (
	ibanPattern = regexp.MustCompile(`^[A-Z]{2}[0-9]{2}[A-Z0-9]+$`)
	bicPattern  = regexp.MustCompile(`^[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?$`)
)

// ParseIBAN returns an IBAN of the SEPA area in its electronic form: capitals,
// no blanks. The error is an Error with CodeInvalid.
func ParseIBAN(s string) (string, error) {
	iban := strings.ToUpper(strings.NewReplacer(" ", "", "\u00a0", "", "\u202f", "").Replace(s))
	if !ibanPattern.MatchString(iban) {
		return "", ledger.Errorf(ledger.CodeInvalid, "%q is not an IBAN; write it like FR76 3000 6000 0112 3456 7890 189", clip(s)).InField("iban")
	}
	length := ibanLength(iban[:2])
	switch {
	case length == 0:
		return "", ledger.Errorf(ledger.CodeInvalid, "%s is not a country of the SEPA area; give an IBAN there", iban[:2]).InField("iban")
	case len(iban) != length:
		return "", ledger.Errorf(ledger.CodeInvalid, "an IBAN of %s has %d characters, not %d", iban[:2], length, len(iban)).InField("iban")
	case mod97(iban[4:]+iban[:4]) != 1:
		return "", ledger.Errorf(ledger.CodeInvalid, "the check digits of this IBAN of %s do not fit; compare it with the original", iban[:2]).InField("iban")
	}
	return iban, nil
}

// mod97 reads letters as 10 to 35 and returns the rest by 97 (ISO 7064).
func mod97(s string) int {
	rest := 0
	for _, c := range s {
		if c >= 'A' {
			rest = (rest*100 + int(c-'A') + 10) % 97
		} else {
			rest = (rest*10 + int(c-'0')) % 97
		}
	}
	return rest
}

// ParseBIC returns a BIC (ISO 9362) in capitals. The error is an Error with CodeInvalid.
func ParseBIC(s string) (string, error) {
	bic := strings.ToUpper(strings.TrimSpace(s))
	if !bicPattern.MatchString(bic) {
		return "", ledger.Errorf(ledger.CodeInvalid, "%q is not a BIC: 8 or 11 letters and digits", clip(s)).InField("bic")
	}
	return bic, nil
}
