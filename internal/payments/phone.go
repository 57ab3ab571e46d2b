package payments

import (
	"slices"
	"strings"

	"github.com/nyaruka/phonenumbers"

	"tweetledger/ledger"
)

// phoneRegion is where a number without a country code is dialled.
const phoneRegion = "FR"

// maxPhoneText bounds what is read as a telephone number: 15 digits (E.164) with
// blanks, dashes and brackets between them.
const maxPhoneText = 40

// validPhone checks a number that staff enter: E.164, of a length that its country
// has, with one of the accepted prefixes. Staff have made sure of it, so a range that
// was opened only lately is fine.
func (s *Service) validPhone(phone string) error {
	number, err := parsePhone(phone)
	if err != nil || phonenumbers.Format(number, phonenumbers.E164) != phone {
		return errNoPhone()
	}
	return s.acceptedPrefix(phone)
}

// mobileNumber returns the E.164 form of what a customer enters as the own mobile
// number: one that the numbering plan of its country gives to mobile telephones, with
// one of the accepted prefixes. Codes are sent to such numbers alone.
func (s *Service) mobileNumber(text string) (string, error) {
	number, err := parsePhone(text)
	if err != nil {
		return "", err
	}
	phone := phonenumbers.Format(number, phonenumbers.E164)
	if err := s.acceptedPrefix(phone); err != nil {
		return "", err
	}
	kind := phonenumbers.GetNumberType(number)
	if !phonenumbers.IsValidNumber(number) || (kind != phonenumbers.MOBILE && kind != phonenumbers.FIXED_LINE_OR_MOBILE) {
		return "", ledger.Errorf(ledger.CodeInvalid, "this is not a mobile number that is in use; write it like 06 12 34 56 78 or +33612345678").InField("phone")
	}
	return phone, nil
}

func parsePhone(text string) (*phonenumbers.PhoneNumber, error) {
	if len(text) > maxPhoneText || strings.ContainsFunc(text, func(r rune) bool { return !strings.ContainsRune("+0123456789 .-()/\u00a0\u202f", r) }) {
		return nil, errNoPhone()
	}
	number, err := phonenumbers.Parse(text, phoneRegion)
	if err != nil || !phonenumbers.IsPossibleNumber(number) {
		return nil, errNoPhone()
	}
	return number, nil
}

func errNoPhone() error {
	return ledger.Errorf(ledger.CodeInvalid, "this is not a telephone number; write it like +33612345678").InField("phone")
}

func (s *Service) acceptedPrefix(phone string) error {
	if !slices.ContainsFunc(s.config.PhonePrefixes, func(prefix string) bool { return strings.HasPrefix(phone, prefix) }) {
		return ledger.Errorf(ledger.CodeInvalid, "a number like %s… is not accepted; it must start with one of %s", phone[:4],
			strings.Join(s.config.PhonePrefixes, ", ")).InField("phone")
	}
	return nil
}
