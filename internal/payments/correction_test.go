package payments_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

func (w *world) corrections(number string) (list []payments.PartyChange) {
	w.t.Helper()
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		c, err := payments.FindCustomer(ctx, tx, number)
		if err != nil {
			return err
		}
		list, err = payments.PartyChanges(ctx, tx, c.ID, 100)
		return err
	})
	return list
}

func TestCorrectACustomer(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		no := false
		k := payments.Correction{Name: "Marie Laurent-Test", Named: &no}
		for range 2 { // the second changes nothing
			c, err := w.CorrectCustomer(w.ctx, "c-000001", k, "anne", "married")
			must(t, err)
			if c.Name != "Marie Laurent-Test" || c.Named || c.Phone != mariePhone || c.PhoneVerifiedAt.IsZero() {
				t.Fatalf("corrected to %+v", c)
			}
		}
		list := w.corrections("c-000001")
		if len(list) != 2 || list[0].Field != "name" || list[0].Old != "Marie Test" || list[0].New != "Marie Laurent-Test" || list[0].Actor != "anne" ||
			list[0].Reason != "married" || list[1].Field != "named" || list[1].Old != "true" || list[1].New != "false" {
			t.Errorf("the corrections are %+v", list)
		}
		if got := w.partyEvents("c-000001"); got != "secret_set name_corrected named_corrected" {
			t.Errorf("the history is %s", got)
		}
	})
}

// TestANewNumberIsProven: until it is, the customer cannot pay, and what was sent to
// the old number is worth nothing.
func TestANewNumberIsProven(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		waiting := w.ordered("pay 20.00 " + acf + " ACF_France")
		must(t, w.SendVerification(w.ctx, "c-000001", "anne"))
		old := w.codeTo(mariePhone)
		calls := len(w.sentTo(mariePhone))
		c, err := w.CorrectCustomer(w.ctx, "c-000001", payments.Correction{Phone: newPhone}, "anne", "new contract")
		must(t, err)
		if c.Phone != newPhone || !c.PhoneVerifiedAt.IsZero() {
			t.Fatalf("corrected to %+v", c)
		}
		w.wantCode(w.VerifyPhone(w.ctx, "c-000001", old, "anne"), ledger.CodeForbidden)
		if h := w.say(marie, "pay 21.00 "+acf+" ACF_France"); h.Order == nil || h.Order.State != payments.StateRejected || h.Order.Reason != payments.ReasonPhoneUnproven {
			t.Fatalf("an order with a number that is not proven: %+v", h)
		}
		token := w.startVerification(mariePhone) // the old number is nobody's
		if n := len(w.sentTo(mariePhone)); n != calls {
			t.Errorf("%d messages went to the old number", n-calls)
		}
		w.wantCode(w.Verify(w.ctx, w.proof(token, old)), ledger.CodeForbidden)
		must(t, w.Verify(w.ctx, w.proof(w.startVerification(newPhone), w.codeTo(newPhone))))
		_, err = w.confirm(waiting.ID, rightCode)
		must(t, err)
		if h := w.say(marie, "pay 22.00 "+acf+" ACF_France"); h.Order == nil || h.Order.State != payments.StateAwaitingConfirmation {
			t.Fatalf("an order with a number that is proven: %+v", h)
		}
	})
}

func TestConfirmAsksForAProvenNumber(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		o := w.ordered("pay 20.00 " + acf + " ACF_France")
		_, err := w.CorrectCustomer(w.ctx, "c-000001", payments.Correction{Phone: newPhone}, "anne", "new contract")
		must(t, err)
		w.deliver()
		if texts := w.sentTo(newPhone); len(texts) != 0 {
			t.Errorf("a number that is not proven was sent %q", texts)
		}
		_, err = w.confirm(o.ID, rightCode)
		w.wantCode(err, ledger.CodeForbidden)
		w.wantState(o.ID, payments.StateVoided, payments.ReasonPhoneUnproven)
	})
}

func TestBadCorrections(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	before := w.counts()
	for field, k := range map[string]payments.Correction{
		"name":     {},
		"name ":    {Name: strings.Repeat("x", 10<<20)},
		"name  ":   {Name: "Marie\u202eeiram"},
		"name   ":  {Name: "Marie\x1b[31m"},
		"phone":    {Phone: "0612345678"},
		"phone ":   {Phone: "+15551234567"},
		"phone  ":  {Phone: "+33612345678;ext=1"},
		"phone   ": {Phone: "+33 6 12 34 56 78"},
	} {
		_, err := w.CorrectCustomer(w.ctx, "c-000001", k, "anne", "a reason")
		var e *ledger.Error
		if !errors.As(err, &e) || e.Code != ledger.CodeInvalid || e.Field != strings.TrimSpace(field) || len(err.Error()) > 300 {
			t.Errorf("%.40v: error is %.400v", k, err)
		}
	}
	_, err := w.CorrectCustomer(w.ctx, "c-000001", payments.Correction{Phone: "+33712345678"}, "anne", "Yoann's")
	w.wantCode(err, ledger.CodeConflict)
	_, err = w.CorrectCustomer(w.ctx, "c-000001", payments.Correction{Name: "Marie"}, "anne", "")
	w.wantCode(err, ledger.CodeInvalid)
	_, err = w.CorrectCustomer(w.ctx, "c-000099", payments.Correction{Name: "Marie"}, "anne", "nobody")
	w.wantCode(err, ledger.CodeNotFound)
	if after := w.counts(); after != before || len(w.corrections("c-000001")) != 0 {
		t.Errorf("bad corrections changed %s to %s", before, after)
	}
	must(t, w.SetCustomerStatus(w.ctx, "c-000002", payments.Closed, "anne", "left"))
	_, err = w.CorrectCustomer(w.ctx, "c-000002", payments.Correction{Name: "Yoann"}, "anne", "too late")
	w.wantCode(err, ledger.CodeConflict)
	// Whose number it was may become a customer again.
	_, err = w.EnrolCustomer(w.ctx, payments.NewCustomer{Name: "Yoann Again", Phone: "+33712345678"})
	must(t, err)
}
