package ledger

import (
	"errors"
	"fmt"
	"strings"
)

// Code names why a request was refused. The list is short and stable: callers
// switch on it, and HTTP status, exit code and reply text are derived from it.
type Code string

// The codes, each with what the caller can do about it.
const (
	// CodeInvalid: the request itself is wrong; it will never be accepted.
	CodeInvalid Code = "invalid"
	// CodeNotFound: an account, transaction or hold that was named does not exist.
	CodeNotFound Code = "not_found"
	// CodeConflict: the idempotency key was used before for another request.
	CodeConflict Code = "conflict"
	// CodeInsufficientFunds: an account would fall below its minimum, holds included.
	CodeInsufficientFunds Code = "insufficient_funds"
	// CodeLimitExceeded: an account would rise above its maximum, holds included.
	CodeLimitExceeded Code = "limit_exceeded"
	// CodeCurrencyMismatch: posting and account are not in the same currency.
	CodeCurrencyMismatch Code = "currency_mismatch"
	// CodeAccountClosed: the account takes no more postings.
	CodeAccountClosed Code = "account_closed"
	// CodePeriodClosed: the effective date is in a period that takes no such posting.
	CodePeriodClosed Code = "period_closed"
	// CodeAborted: the request was to be carried out together with others, and
	// another of them was refused.
	CodeAborted Code = "aborted"
	// CodeConditionFailed: an account is not as the request's conditions say; read
	// it again and decide anew.
	CodeConditionFailed Code = "condition_failed"
	// CodeHoldClosed: the hold was already posted in full, voided or expired, or
	// has less left than was asked for.
	CodeHoldClosed Code = "hold_closed"
	// CodeAlreadyReversed: what is to be reversed was reversed before, in full or in
	// part.
	CodeAlreadyReversed Code = "already_reversed"
	// CodeOverflow: a balance would leave the range of an int64 in minor units.
	CodeOverflow Code = "overflow"
	// CodeForbidden: the actor may not do this (four-eyes, blocked code, other's order).
	CodeForbidden Code = "forbidden"
	// CodeUnavailable: nothing is wrong with the request; try again later with the same key.
	CodeUnavailable Code = "unavailable"
)

// Error is the refusal of a request. Message is a full sentence for the person
// who must act on it; Field names the offending part of the request, if one does
// ("postings[2].amount").
type Error struct {
	Code    Code
	Field   string
	Message string
	Err     error
}

// Errorf makes an Error with a formatted message. %w wraps as in fmt.Errorf.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	cause := errors.Unwrap(err)
	if _, many := err.(interface{ Unwrap() []error }); many {
		cause = err
	}
	return &Error{Code: code, Message: err.Error(), Err: cause}
}

// InField returns e with the part of the request that it is about.
func (e *Error) InField(field string) *Error {
	e.Field = field
	return e
}

// Error implements error: the place, if known, then the message.
func (e *Error) Error() string {
	// "order: order 7 is posted" says nothing more than "order 7 is posted".
	if e.Field == "" || strings.HasPrefix(e.Message, e.Field+" ") {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

// Unwrap returns the cause, if any.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first Error in err's chain, or "" where there
// is none (an unexpected failure, or nil).
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}
