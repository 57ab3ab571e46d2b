package payments

import (
	"regexp"

	"tweetledger/ledger"
)

// Address is where a payee lives, in the parts that a SEPA message has for it (PstlAdr
// of pain.001.001.09; lengths and the need of town and country: EPC132-08). It is
// empty where it is not known.
type Address struct {
	Street   string `json:"street"`   // StrtNm, at most 70 characters
	Building string `json:"building"` // BldgNb, at most 16
	PostCode string `json:"post_code"`
	Town     string `json:"town"`    // TwnNm, at most 35
	Country  string `json:"country"` // Ctry, ISO 3166-1 alpha-2
}

// Bounds of an address, in code points.
const (
	maxStreet   = 70
	maxBuilding = 16
	maxPostCode = 16
	maxTown     = 35
)

var frenchPostCodePattern = regexp.MustCompile(`^[0-9]{5}$`)

func (a Address) validate() error {
	if a == (Address{}) {
		return nil
	}
	for _, part := range []struct {
		name, text string
		most       int
		needed     bool
	}{{"street", a.Street, maxStreet, false}, {"building", a.Building, maxBuilding, false}, {"post_code", a.PostCode, maxPostCode, false}, {"town", a.Town, maxTown, true}} {
		if part.text == "" && !part.needed {
			continue
		}
		if err := validText(part.name, part.text, part.most); err != nil {
			return err
		}
	}
	switch {
	case !countryPattern.MatchString(a.Country):
		return ledger.Errorf(ledger.CodeInvalid, "%q is not a country; write two capitals, like FR", clip(a.Country)).InField("country")
	case a.Country == "FR" && a.PostCode != "" && !frenchPostCodePattern.MatchString(a.PostCode):
		return ledger.Errorf(ledger.CodeInvalid, "a French post code has 5 digits, not %q", clip(a.PostCode)).InField("post_code")
	}
	return nil
}
