package payments_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// TestWeakCodes sets codes that are easy to guess: each is refused for its reason, and
// the code that was there stays.
func TestWeakCodes(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	before := w.counts()
	for code, want := range map[string]payments.WeakReason{
		"111111": payments.WeakRepeated, "000000": payments.WeakRepeated, "121212": payments.WeakRepeated, "123123": payments.WeakRepeated,
		"112233": payments.WeakRepeated, "774411": payments.WeakRepeated,
		"123456": payments.WeakSequence, "654321": payments.WeakSequence, "890123": payments.WeakSequence, "210987": payments.WeakSequence,
		"147258": payments.WeakCommon, "123321": payments.WeakCommon,
		// of +33612345678
		"061234": payments.WeakPhone, "336123": payments.WeakPhone, "432160": payments.WeakPhone,
	} {
		err := w.SetSecretCode(w.ctx, "c-000001", code, "test")
		weak, ok := errors.AsType[*payments.WeakCodeError](err)
		if !ok || weak.Reason != want || ledger.CodeOf(err) != ledger.CodeInvalid {
			t.Errorf("%s: %v, want %s", code, err, want)
			continue
		}
		if strings.Contains(err.Error(), code) {
			t.Errorf("the refusal repeats the code: %v", err)
		}
	}
	if w.counts() != before {
		t.Error("a refused code changed something")
	}
	for _, code := range []string{rightCode, wrongCode, "112234", "121213", "135791", "902341", "345670"} {
		must(t, w.SetSecretCode(w.ctx, "c-000001", code, "test"))
	}
	must(t, w.SetSecretCode(w.ctx, "c-000001", rightCode, "test"))
	if _, err := w.confirm(w.ordered("pay 1.00 "+acf+" ACF_France").ID, rightCode); err != nil {
		t.Fatal(err)
	}
}

// TestMostCodesAreGood counts what is refused: whoever guesses gains next to nothing
// from knowing the rules.
func TestMostCodesAreGood(t *testing.T) {
	weak := 0
	for n := range 1_000_000 {
		if payments.CheckChosen(fmt.Sprintf("%06d", n), mariePhone) != nil {
			weak++
		}
	}
	if weak < 1000 || weak > 3000 {
		t.Errorf("%d of a million codes are refused", weak)
	}
}

// TestWeakCodeAtEnrolment: a code that is easy to guess makes no customer.
func TestWeakCodeAtEnrolment(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	e, token := w.startEnrolment("Chloé Bernard", newPhone)
	_, err := w.VerifyEnrolment(w.ctx, w.step(token, w.codeTo(newPhone)))
	must(t, err)
	_, err = w.FinishEnrolment(w.ctx, w.step(token, "345690"))
	if weak, ok := errors.AsType[*payments.WeakCodeError](err); !ok || weak.Reason != payments.WeakPhone {
		t.Fatalf("the end of the number was taken as a code: %v", err)
	}
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		if _, err := payments.FindCustomerByID(ctx, tx, e.ID); ledger.CodeOf(err) != ledger.CodeNotFound {
			t.Fatalf("there is a customer (%v)", err)
		}
		return nil
	})
	_, err = w.FinishEnrolment(w.ctx, w.step(token, rightCode))
	must(t, err)
	_, err = w.FinishEnrolment(w.ctx, w.step(token, "111111")) // again: it changes nothing
	must(t, err)
}
