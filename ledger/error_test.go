package ledger_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"testing"

	"tweetledger/ledger"
)

func TestCodeOf(t *testing.T) {
	refusal := ledger.Errorf(ledger.CodeNotFound, "there is no account %s", "x")
	for _, c := range []struct {
		name string
		err  error
		want ledger.Code
	}{
		{"nil", nil, ""},
		{"another error", io.EOF, ""},
		{"itself", refusal, ledger.CodeNotFound},
		{"wrapped", fmt.Errorf("pay: %w", refusal), ledger.CodeNotFound},
		{"wrapped twice", fmt.Errorf("serve: %w", fmt.Errorf("pay: %w", refusal)), ledger.CodeNotFound},
		{"joined", errors.Join(io.EOF, refusal), ledger.CodeNotFound},
		{"the outer one counts", ledger.Errorf(ledger.CodeUnavailable, "later: %w", refusal), ledger.CodeUnavailable},
		{"only quoted", fmt.Errorf("pay: %v", refusal), ""}, //nolint:errorlint // quoting is what this tries
	} {
		if got := ledger.CodeOf(c.err); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestErrorfWraps(t *testing.T) {
	one := ledger.Errorf(ledger.CodeUnavailable, "reading: %w", io.ErrUnexpectedEOF)
	if !errors.Is(one, io.ErrUnexpectedEOF) || one.Message != "reading: unexpected EOF" {
		t.Errorf("got %v with cause %v", one, one.Err)
	}
	two := ledger.Errorf(ledger.CodeUnavailable, "%w and %w", io.ErrUnexpectedEOF, fs.ErrNotExist)
	if !errors.Is(two, io.ErrUnexpectedEOF) || !errors.Is(two, fs.ErrNotExist) {
		t.Errorf("%v lost a cause", two)
	}
	if none := ledger.Errorf(ledger.CodeInvalid, "no cause: %v", io.EOF); none.Err != nil || errors.Unwrap(none) != nil {
		t.Errorf("%v has cause %v", none, none.Err)
	}
}

func TestInField(t *testing.T) {
	err := ledger.Errorf(ledger.CodeInvalid, "the amount must be above zero")
	if got := err.Error(); got != "the amount must be above zero" {
		t.Errorf("without a field: %q", got)
	}
	if got := err.InField("postings[2].amount").Error(); got != "postings[2].amount: the amount must be above zero" {
		t.Errorf("with a field: %q", got)
	}
}

func TestErrorNamesItsFieldOnce(t *testing.T) {
	for _, c := range []struct{ field, message, want string }{
		{"", "no", "no"},
		{"amount", "\"1e3\" is not an amount", "amount: \"1e3\" is not an amount"},
		{"name", "is missing", "name: is missing"},
		{"order", "order 7 is posted", "order 7 is posted"},
		{"order", "orders are closed", "order: orders are closed"},
	} {
		if got := ledger.Errorf(ledger.CodeInvalid, "%s", c.message).InField(c.field).Error(); got != c.want {
			t.Errorf("%q in %q: got %q, want %q", c.message, c.field, got, c.want)
		}
	}
}
