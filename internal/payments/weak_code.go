package payments

import (
	"slices"
	"strings"

	"tweetledger/ledger"
)

// WeakReason is why a secret code is too easy to guess.
type WeakReason string

// The reasons. Whoever guesses has SecretTries of a million codes, and tries first what
// people choose. Source: Markert, Bailey, Golla, Dürmuth and Aviv, "This PIN Can Be
// Easily Guessed" (2020). Dates of birth are not known here, so they are not compared.
const (
	WeakRepeated WeakReason = "repeated"  // 111111, 121212, 123123, 112233
	WeakSequence WeakReason = "sequence"  // 123456, 654321, 890123
	WeakCommon   WeakReason = "common"    // a pattern of the keypad, or another usual choice
	WeakPhone    WeakReason = "telephone" // part of the customer's number
)

// WeakCodeError refuses a secret code that somebody has chosen. It wraps an Error with
// CodeInvalid about the field "code".
type WeakCodeError struct {
	Reason WeakReason
	err    error
}

func (e *WeakCodeError) Error() string { return e.err.Error() }

func (e *WeakCodeError) Unwrap() error { return e.err }

// commonCodes are usual choices that no rule describes: lines and squares of the
// keypad, and mirrored sequences.
func commonCodes() []string {
	return []string{"123321", "147258", "258369", "147852", "159357", "159753", "357159", "456123", "741852", "753159", "789456", "852456", "963852", "321654", "124578"}
}

// checkChosen refuses a secret code that is none, or too easy to guess for a customer
// with this telephone number (E.164).
func checkChosen(code, phone string) error {
	if err := validSecret(code); err != nil {
		return err
	}
	weak := func(reason WeakReason, why string) error {
		return &WeakCodeError{Reason: reason, err: ledger.Errorf(ledger.CodeInvalid, "this code is easy to guess: %s; choose another one", why).InField("code")}
	}
	switch {
	case repeats(code):
		return weak(WeakRepeated, "digits repeat in a pattern")
	case isSequence(code):
		return weak(WeakSequence, "its digits follow each other")
	case slices.Contains(commonCodes(), code):
		return weak(WeakCommon, "many people choose it")
	case partOfPhone(code, phone):
		return weak(WeakPhone, "it is part of the telephone number")
	}
	return nil
}

// repeats reports whether a code is made of one, two or three digits that come again,
// or of three pairs.
func repeats(code string) bool {
	for length := 1; length <= len(code)/2; length++ {
		if code == strings.Repeat(code[:length], len(code)/length) {
			return true
		}
	}
	return code[0] == code[1] && code[2] == code[3] && code[4] == code[5]
}

// isSequence reports whether each digit of a code is the one after, or before, the last
// one. 0 follows 9.
func isSequence(code string) bool {
	step := (code[1] - code[0] + 10) % 10
	if step != 1 && step != 9 {
		return false
	}
	for i := 2; i < len(code); i++ {
		if (code[i]-code[i-1]+10)%10 != step {
			return false
		}
	}
	return true
}

// partOfPhone reports whether a code stands in a telephone number, forwards or
// backwards, as it is dialled at home or from abroad.
func partOfPhone(code, phone string) bool {
	digits := strings.TrimPrefix(phone, "+")
	home := "0" + strings.TrimPrefix(digits, "33")
	reversed := []byte(code)
	slices.Reverse(reversed)
	for _, number := range []string{digits, home} {
		if strings.Contains(number, code) || strings.Contains(number, string(reversed)) {
			return true
		}
	}
	return false
}
