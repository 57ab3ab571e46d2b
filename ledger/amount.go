package ledger

import (
	"math"

	"github.com/shopspring/decimal"
)

// Amount is money in minor units of its currency (1999 is 19.99 EUR). It is
// always exact; adding checks for overflow.
type Amount int64

// Add returns a + b, or an Error with CodeOverflow.
func (a Amount) Add(b Amount) (Amount, error) {
	if (b > 0 && a > math.MaxInt64-b) || (b < 0 && a < math.MinInt64-b) {
		return 0, Errorf(CodeOverflow, "%d + %d does not fit in 64 bits", int64(a), int64(b))
	}
	return a + b, nil
}

// Sub returns a - b, or an Error with CodeOverflow.
func (a Amount) Sub(b Amount) (Amount, error) {
	if (b < 0 && a > math.MaxInt64+b) || (b > 0 && a < math.MinInt64+b) {
		return 0, Errorf(CodeOverflow, "%d - %d does not fit in 64 bits", int64(a), int64(b))
	}
	return a - b, nil
}

// Decimal returns a in major units: 1999 in EUR is 19.99.
// A currency that is not known counts as one without decimals.
func (a Amount) Decimal(c Currency) decimal.Decimal {
	exp, _ := c.Exponent()
	return decimal.New(int64(a), -exp)
}

// Format returns a in major units with the currency's number of decimals and a
// point: "19.99". It carries neither grouping nor the currency's code, so that a
// machine can read it back with ParseAmount.
func (a Amount) Format(c Currency) string {
	exp, _ := c.Exponent()
	return a.Decimal(c).StringFixed(exp)
}

// ParseAmount reads what Format writes: digits, at most one point, and no more
// decimals than the currency has ("20", "20.5", "-0.01"). Anything else is an
// Error with CodeInvalid, a value that does not fit one with CodeOverflow.
func ParseAmount(s string, c Currency) (Amount, error) {
	if !plainNumber(s) {
		return 0, Errorf(CodeInvalid, "%q is not an amount; write it like 12.50", Clip(s))
	}
	d, err := decimal.NewFromString(s)
	if err != nil {
		return 0, Errorf(CodeInvalid, "%q is not an amount; write it like 12.50", Clip(s))
	}
	// AmountOf forgives 12.500, which is exact; but who writes that may well mean
	// twelve thousand five hundred.
	if exp, ok := c.Exponent(); ok && d.Exponent() < -exp {
		return 0, tooManyDecimals(s, exp, c)
	}
	return AmountOf(d, c)
}

func tooManyDecimals(amount string, exp int32, c Currency) *Error {
	return Errorf(CodeInvalid, "%s has more than the %d decimals of %s", Clip(amount), exp, c)
}

// maxShift bounds the exponents that AmountOf looks at: none further out than 64
// digits from the point belongs to an amount, and to write one out could take
// gigabytes.
const maxShift = 64

// AmountOf returns d, in major units, as an Amount. It never rounds: more
// decimals than the currency has is an Error with CodeInvalid.
func AmountOf(d decimal.Decimal, c Currency) (Amount, error) {
	exp, ok := c.Exponent()
	if !ok {
		return 0, Errorf(CodeInvalid, "%q is not an ISO 4217 currency code", Clip(string(c)))
	}
	switch {
	case d.IsZero():
		return 0, nil
	case d.Exponent() > maxShift:
		return 0, Errorf(CodeOverflow, "an amount with more than %d digits does not fit in 64 bits", maxShift)
	case d.Exponent() < -maxShift:
		return 0, Errorf(CodeInvalid, "an amount with more than %d decimals has more than the %d of %s", maxShift, exp, c)
	}
	minor := d.Shift(exp)
	if !minor.IsInteger() {
		return 0, tooManyDecimals(d.String(), exp, c)
	}
	if !minor.BigInt().IsInt64() {
		return 0, Errorf(CodeOverflow, "%s %s does not fit in 64 bits", Clip(d.String()), c)
	}
	return Amount(minor.IntPart()), nil
}

// maxAmountLength bounds the text of an amount: 19 digits, a sign, a point, and room to spare.
const maxAmountLength = 32

// plainNumber keeps out what decimal would read as well: exponents, infinities,
// a leading plus, bare points.
func plainNumber(s string) bool {
	if s == "" || len(s) > maxAmountLength {
		return false
	}
	if s[0] == '-' {
		s = s[1:]
	}
	digits, points := 0, 0
	for i := range len(s) {
		switch {
		case s[i] >= '0' && s[i] <= '9':
			digits++
		case s[i] == '.' && digits > 0 && i < len(s)-1:
			points++
		default:
			return false
		}
	}
	return digits > 0 && points <= 1
}

// Clip shortens what a caller sent so that an error stays one readable line.
func Clip(s string) string {
	const most = 40
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most]) + "…"
}
