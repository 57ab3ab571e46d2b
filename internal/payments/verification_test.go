package payments_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// startVerification asks for a code on the page and returns the token of its address.
func (w *world) startVerification(phone string) string {
	w.t.Helper()
	stamp, err := w.VerifyStamp()
	must(w.t, err)
	address, err := w.StartVerification(w.ctx, payments.StartVerificationRequest{Stamp: stamp, Phone: phone, Language: "en"})
	must(w.t, err)
	if !strings.HasPrefix(address, "https://pay.test/verify/") {
		w.t.Fatalf("the address is %s", address)
	}
	return address[strings.LastIndex(address, "/")+1:]
}

func (w *world) proof(token, code string) payments.VerifyRequest {
	w.t.Helper()
	page, err := w.VerificationPage(w.ctx, token)
	must(w.t, err)
	return payments.VerifyRequest{Token: token, Stamp: page.Stamp, Code: code}
}

func (w *world) partyEvents(number string) string {
	w.t.Helper()
	var words []string
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		words = nil
		c, err := payments.FindCustomer(ctx, tx, number)
		if err != nil {
			return err
		}
		events, err := payments.PartyEvents(ctx, tx, c.ID, 100)
		for _, e := range events {
			words = append(words, e.Event)
		}
		return err
	})
	return strings.Join(words, " ")
}

// TestProvingTheNumberLiftsABlock: five wrong secret codes, then the code that was sent
// to the telephone, then the right secret code.
func TestProvingTheNumberLiftsABlock(t *testing.T) {
	onCore(t, func(t *testing.T, w *world) {
		o := w.ordered("pay 20.00 " + acf + " ACF_France")
		for range 5 {
			_, err := w.confirm(o.ID, wrongCode)
			w.wantCode(err, ledger.CodeForbidden)
		}
		_, err := w.confirm(o.ID, rightCode)
		w.wantCode(err, ledger.CodeForbidden)
		token := w.startVerification("06 12 34 56 78")
		code := w.codeTo(mariePhone)
		w.wantCode(w.Verify(w.ctx, w.proof(token, other(code))), ledger.CodeForbidden)
		_, err = w.confirm(o.ID, rightCode)
		w.wantCode(err, ledger.CodeForbidden)
		must(t, w.Verify(w.ctx, w.proof(token, code)))
		w.wantCode(w.Verify(w.ctx, w.proof(token, code)), ledger.CodeForbidden)
		page, err := w.VerificationPage(w.ctx, token)
		if must(t, err); !page.Done {
			t.Error("the page does not say that it is done")
		}
		_, err = w.confirm(o.ID, rightCode)
		must(t, err)
		if got := w.partyEvents("c-000001"); got != "secret_set secret_blocked phone_verified secret_unblocked" {
			t.Errorf("the history is %s", got)
		}
	})
}

func TestCodesOfAVerificationAreBound(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		older := w.startVerification(mariePhone)
		olderCode := w.codeTo(mariePhone)
		newer := w.startVerification(mariePhone)
		code := w.codeTo(mariePhone)
		w.wantCode(w.Verify(w.ctx, w.proof(older, olderCode)), ledger.CodeForbidden)
		w.wantCode(w.Verify(w.ctx, w.proof(older, code)), ledger.CodeForbidden)
		crossed := w.proof(older, code)
		crossed.Token = newer
		w.wantCode(w.Verify(w.ctx, crossed), ledger.CodeInvalid)
		_, enrolling := w.startEnrolment("Not Marie", mariePhone)
		_, err := w.VerifyEnrolment(w.ctx, w.step(enrolling, code))
		w.wantCode(err, ledger.CodeForbidden)
		must(t, w.SetCustomerStatus(w.ctx, "c-000002", payments.Blocked, "anne", "looked at"))
		w.clock.Add(10 * time.Minute)
		_, err = w.VerificationPage(w.ctx, newer)
		w.wantCode(err, ledger.CodeNotFound)
		for _, token := range []string{"", "short", strings.Repeat("A", 43)} {
			_, err := w.VerificationPage(w.ctx, token)
			w.wantCode(err, ledger.CodeNotFound)
			w.wantCode(w.Verify(w.ctx, payments.VerifyRequest{Token: token, Code: code}), ledger.CodeNotFound)
		}
		// A number that is nobody's: nothing is sent, and no code is right.
		token := w.startVerification(newPhone)
		w.wantCode(w.Verify(w.ctx, w.proof(token, code)), ledger.CodeForbidden)
		if texts := w.sentTo(newPhone); len(texts) != 0 {
			t.Errorf("a stranger was sent %q", texts)
		}
		if got := w.partyEvents("c-000001"); got != "secret_set" {
			t.Errorf("the history is %s", got)
		}
	})
}

// TestStaffVerify: the customer tells staff the code that was sent to the number we have.
func TestStaffVerify(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.wantCode(w.VerifyPhone(w.ctx, "c-000001", "123456", "anne"), ledger.CodeForbidden)
		must(t, w.SendVerification(w.ctx, "c-000001", "anne"))
		code := w.codeTo(mariePhone)
		w.wantCode(w.VerifyPhone(w.ctx, "c-000002", code, "anne"), ledger.CodeForbidden)
		w.wantCode(w.VerifyPhone(w.ctx, "c-000001", other(code), "anne"), ledger.CodeForbidden)
		w.wantCode(w.VerifyPhone(w.ctx, "c-000001", "12345", "anne"), ledger.CodeInvalid)
		w.wantCode(w.VerifyPhone(w.ctx, "c-000009", code, "anne"), ledger.CodeNotFound)
		must(t, w.VerifyPhone(w.ctx, "c-000001", code, "anne"))
		w.wantCode(w.VerifyPhone(w.ctx, "c-000001", code, "anne"), ledger.CodeForbidden)
		if got := w.partyEvents("c-000001"); got != "secret_set code_sent phone_verified" {
			t.Errorf("the history is %s", got)
		}
		must(t, w.SetCustomerStatus(w.ctx, "c-000002", payments.Closed, "anne", "left"))
		w.wantCode(w.SendVerification(w.ctx, "c-000002", "anne"), ledger.CodeConflict)
	})
}

// TestCodesAreSentAgain: a gateway that fails is tried again, until the code is worth
// nothing.
func TestCodesAreSentAgain(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		_, token := w.startEnrolment("Chloé", newPhone)
		w.sink.fail = &payments.SendError{Err: context.DeadlineExceeded}
		if done := w.deliver(); done.Retried != 1 || done.Sent != 0 {
			t.Fatalf("delivered %+v", done)
		}
		w.sink.fail = nil
		w.clock.Add(10 * time.Second)
		code := w.codeTo(newPhone)
		if done := w.deliver(); done.Sent+done.Retried+done.Dead != 0 {
			t.Fatalf("delivered %+v again", done)
		}
		_, err := w.VerifyEnrolment(w.ctx, w.step(token, code))
		must(t, err)
		_, _ = w.startEnrolment("Hugo", otherPhone)
		w.sink.fail = &payments.SendError{Permanent: true, Err: context.DeadlineExceeded}
		if done := w.deliver(); done.Dead != 1 {
			t.Fatalf("delivered %+v", done)
		}
		_, _ = w.startEnrolment("Zoé", "+33612345692")
		w.sink.fail = nil
		w.clock.Add(10 * time.Minute)
		if done := w.deliver(); done.Dead != 1 || len(w.sentTo("+33612345692")) != 0 {
			t.Fatalf("a code that had expired: %+v", done)
		}
		if n := w.one("SELECT COUNT(*) FROM one_time_codes WHERE status = 'dead' AND last_error <> ''"); n != 2 {
			t.Errorf("%d codes were given up", n)
		}
	})
}
