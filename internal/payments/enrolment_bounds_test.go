package payments_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

func TestBoundsOfSending(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		config := testConfig()
		config.Enrolment.CodesHour, config.Enrolment.CodesDay, config.Enrolment.CodesHourAll = 3, 4, 6
		w.Service = w.node(config)
		_, token := w.startEnrolment("Chloé", newPhone)
		ask := func() error { return w.ResendCode(w.ctx, w.step(token, "")) }
		results := make(chan error, 10)
		for range cap(results) {
			r := w.step(token, "")
			go func() { results <- w.ResendCode(w.ctx, r) }()
		}
		sent := 1
		for range cap(results) {
			if err := <-results; err == nil {
				sent++
			} else {
				w.wantCode(err, ledger.CodeLimitExceeded)
			}
		}
		if n := w.one("SELECT COUNT(*) FROM one_time_codes"); sent != 3 || n != 3 {
			t.Fatalf("%d codes were asked for in vain, %d are there", sent, n)
		}
		w.clock.Add(time.Hour)
		must(t, ask())
		w.wantCode(ask(), ledger.CodeLimitExceeded) // the fourth of the day was the last
		w.clock.Add(time.Hour)
		w.wantCode(ask(), ledger.CodeLimitExceeded)
		// Other numbers are not concerned, until the service has sent enough.
		for i := range 6 {
			w.startEnrolment("Chloé", fmt.Sprintf("+3361234561%d", i))
		}
		stamp, err := w.EnrolStamp()
		must(t, err)
		_, err = w.StartEnrolment(w.ctx, payments.StartEnrolmentRequest{Stamp: stamp, Name: "Chloé", Phone: "+33612345620", Actor: payments.ActorPage})
		w.wantCode(err, ledger.CodeLimitExceeded)
		stamp, err = w.VerifyStamp()
		must(t, err)
		_, err = w.StartVerification(w.ctx, payments.StartVerificationRequest{Stamp: stamp, Phone: mariePhone})
		w.wantCode(err, ledger.CodeLimitExceeded)
		if n := w.one("SELECT COUNT(*) FROM enrolments WHERE phone = '+33612345620'"); n != 0 {
			t.Errorf("%d enrolments were begun", n)
		}
	})
}

func TestEnrolmentsExpireAndAreForgotten(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		started, token := w.startEnrolment("Chloé", newPhone)
		proven, provenToken := w.startEnrolment("Hugo", otherPhone)
		_, err := w.VerifyEnrolment(w.ctx, w.step(provenToken, w.codeTo(otherPhone)))
		must(t, err)
		w.clock.Add(24 * time.Hour)
		_, err = w.EnrolmentPage(w.ctx, token)
		w.wantCode(err, ledger.CodeNotFound)
		_, err = w.FinishEnrolment(w.ctx, payments.EnrolmentStep{ID: proven.ID, Code: rightCode, Actor: "test"})
		w.wantCode(err, ledger.CodeConflict)
		n, err := w.ExpireEnrolments(w.ctx, 100)
		must(t, err)
		if n != 2 {
			t.Errorf("%d expired", n)
		}
		w.wantHistory(started.ID, "started:asked expired:term_over")
		w.wantHistory(proven.ID, "started:asked phone_verified:one_time_code expired:term_over")
		w.clock.Add(30 * 24 * time.Hour)
		n, err = w.ExpireEnrolments(w.ctx, 100)
		must(t, err)
		e, _ := w.enrolment(started.ID)
		if left := w.one("SELECT COUNT(*) FROM one_time_codes"); n != 2 || e.Name != "" || e.Phone != "" || left != 0 {
			t.Errorf("%d forgotten, %d codes left, %+v", n, left, e)
		}
		n, err = w.ExpireEnrolments(w.ctx, 100)
		if must(t, err); n != 0 {
			t.Errorf("%d things were done again", n)
		}
		_, err = w.EnrolmentPage(w.ctx, token)
		w.wantCode(err, ledger.CodeNotFound)
	})
}

// TestTheSameFormTwice: a double click, or a retry, begins one enrolment and sends one code.
func TestTheSameFormTwice(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		stamp, err := w.EnrolStamp()
		must(t, err)
		r := payments.StartEnrolmentRequest{Stamp: stamp, Name: "Chloé", Phone: newPhone, Actor: payments.ActorPage}
		results := make(chan payments.Enrolment, 6)
		for range cap(results) {
			go func() {
				e, err := w.StartEnrolment(w.ctx, r)
				if err != nil {
					t.Error(err)
				}
				results <- e
			}()
		}
		first := <-results
		for range cap(results) - 1 {
			if e := <-results; e.ID != first.ID {
				t.Errorf("begun %s and %s", first.ID, e.ID)
			}
		}
		if n := len(w.sentTo(newPhone)); n != 1 {
			t.Errorf("%d codes were sent", n)
		}
		r.Phone = otherPhone
		_, err = w.StartEnrolment(w.ctx, r)
		w.wantCode(err, ledger.CodeInvalid)
	})
}

func TestBadEnrolments(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	_, token := w.startEnrolment("Chloé", newPhone)
	w.deliver()
	before := w.counts() + fmt.Sprint(w.one("SELECT COUNT(*) FROM enrolments"), w.one("SELECT COUNT(*) FROM one_time_codes"), w.one("SELECT SUM(tries) FROM one_time_codes"))
	stamp, err := w.EnrolStamp()
	must(t, err)
	good := payments.StartEnrolmentRequest{Stamp: stamp, Name: "Chloé", Phone: otherPhone, Actor: payments.ActorPage}
	for what, spoil := range map[string]func(r *payments.StartEnrolmentRequest){
		"name: none":           func(r *payments.StartEnrolmentRequest) { r.Name = "" },
		"name: 10 MB":          func(r *payments.StartEnrolmentRequest) { r.Name = strings.Repeat("é", 5<<20) },
		"name: control":        func(r *payments.StartEnrolmentRequest) { r.Name = "Chloé\x00" },
		"name: line":           func(r *payments.StartEnrolmentRequest) { r.Name = "Chloé\nBernard" },
		"name: right to left":  func(r *payments.StartEnrolmentRequest) { r.Name = "Chloé \u202edranreB" },
		"name: not UTF-8":      func(r *payments.StartEnrolmentRequest) { r.Name = "Chlo\xe9" },
		"phone: none":          func(r *payments.StartEnrolmentRequest) { r.Phone = "" },
		"phone: 10 MB":         func(r *payments.StartEnrolmentRequest) { r.Phone = strings.Repeat("6", 10<<20) },
		"phone: landline":      func(r *payments.StartEnrolmentRequest) { r.Phone = "01 42 34 56 78" },
		"phone: premium":       func(r *payments.StartEnrolmentRequest) { r.Phone = "0899 70 12 34" },
		"phone: abroad":        func(r *payments.StartEnrolmentRequest) { r.Phone = "+4915112345678" },
		"phone: not given out": func(r *payments.StartEnrolmentRequest) { r.Phone = "+33700012345" },
		"phone: letters":       func(r *payments.StartEnrolmentRequest) { r.Phone = "06FLOWER12" },
		"phone: extension":     func(r *payments.StartEnrolmentRequest) { r.Phone = "0612345691;ext=5" },
		"phone: other digits":  func(r *payments.StartEnrolmentRequest) { r.Phone = "٠٦١٢٣٤٥٦٩١" },
		"stamp: none":          func(r *payments.StartEnrolmentRequest) { r.Stamp = "" },
		"stamp: tampered":      func(r *payments.StartEnrolmentRequest) { r.Stamp = r.Stamp[:8] + strings.ToLower(r.Stamp[8:]) },
		"stamp: of another":    func(r *payments.StartEnrolmentRequest) { r.Stamp, _ = w.VerifyStamp() },
		"actor: none":          func(r *payments.StartEnrolmentRequest) { r.Actor = "" },
	} {
		r := good
		spoil(&r)
		_, err := w.StartEnrolment(w.ctx, r)
		field, _, _ := strings.Cut(what, ":")
		var e *ledger.Error
		if !errors.As(err, &e) || e.Code != ledger.CodeInvalid || e.Field != field || len(err.Error()) > 300 {
			t.Errorf("%s: error is %.400v", what, err)
		}
	}
	step := w.step(token, "12345")
	_, err = w.VerifyEnrolment(w.ctx, step)
	w.wantCode(err, ledger.CodeInvalid)
	step.Code = "１２３４５６" // full width
	_, err = w.VerifyEnrolment(w.ctx, step)
	w.wantCode(err, ledger.CodeInvalid)
	_, otherToken := w.startEnrolment("Other", otherPhone)
	step = w.step(otherToken, "123456")
	step.Token = token
	_, err = w.VerifyEnrolment(w.ctx, step) // the form of another enrolment
	w.wantCode(err, ledger.CodeInvalid)
	w.exec("DELETE FROM one_time_codes WHERE phone = $1", otherPhone)
	w.exec("DELETE FROM enrolment_events WHERE enrolment_id IN (SELECT id FROM enrolments WHERE phone = $1)", otherPhone)
	w.exec("DELETE FROM enrolments WHERE phone = $1", otherPhone)
	for _, token := range []string{"", "short", strings.Repeat("A", 43), strings.Repeat("A", 1<<20)} {
		_, err := w.EnrolmentPage(w.ctx, token)
		w.wantCode(err, ledger.CodeNotFound)
	}
	step = w.step(token, "123456")
	w.clock.Add(5*time.Minute + time.Second)
	_, err = w.VerifyEnrolment(w.ctx, step)
	w.wantCode(err, ledger.CodeInvalid)
	if after := w.counts() + fmt.Sprint(w.one("SELECT COUNT(*) FROM enrolments"), w.one("SELECT COUNT(*) FROM one_time_codes"), w.one("SELECT SUM(tries) FROM one_time_codes")); after != before {
		t.Errorf("bad input changed %s to %s", before, after)
	}
}

// frenchCards knows who has a card.
type frenchCards map[uuid.UUID]bool

func (c frenchCards) HasFrenchCard(_ context.Context, _ *sqldb.Tx, customer uuid.UUID) (bool, error) {
	return c[customer], nil
}

func TestEnrolmentWithACard(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		config := testConfig()
		config.Enrolment.CardRequired = true
		_, err := payments.New(w.Engine(), config, wordParser{}, payments.Options{})
		w.wantCode(err, ledger.CodeInvalid)
		cards := frenchCards{}
		w.Service, err = payments.New(w.Engine(), config, wordParser{}, payments.Options{Cards: cards})
		must(t, err)
		e, token := w.startEnrolment("Chloé", newPhone)
		_, err = w.RegisterCard(w.ctx, w.step(token, ""))
		w.wantCode(err, ledger.CodeConflict)
		_, err = w.VerifyEnrolment(w.ctx, w.step(token, w.codeTo(newPhone)))
		must(t, err)
		_, err = w.FinishEnrolment(w.ctx, w.step(token, rightCode))
		w.wantCode(err, ledger.CodeConflict)
		_, err = w.RegisterCard(w.ctx, w.step(token, ""))
		w.wantCode(err, ledger.CodeForbidden)
		cards[e.ID] = true
		for range 2 {
			_, err = w.RegisterCard(w.ctx, w.step(token, ""))
			must(t, err)
		}
		_, err = w.FinishEnrolment(w.ctx, w.step(token, rightCode))
		must(t, err)
		w.wantHistory(e.ID, "started:asked phone_verified:one_time_code card_registered:french_card secret_set:secret_chosen enrolled:complete")
	})
}

func TestStaffRefuseAnEnrolment(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		e, token := w.startEnrolment("Chloé", newPhone)
		code := w.codeTo(newPhone)
		w.wantCode(w.RefuseEnrolment(w.ctx, e.ID, "anne", ""), ledger.CodeInvalid)
		for range 2 {
			must(t, w.RefuseEnrolment(w.ctx, e.ID, "anne", "name of a person who died"))
		}
		_, err := w.VerifyEnrolment(w.ctx, w.step(token, code))
		w.wantCode(err, ledger.CodeForbidden)
		w.wantCode(w.RefuseEnrolment(w.ctx, e.ID, "anne", "another reason"), ledger.CodeConflict)
		w.wantCode(w.RefuseEnrolment(w.ctx, uuid.New(), "anne", "nobody"), ledger.CodeNotFound)
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			list, err := payments.ListEnrolments(ctx, tx, payments.EnrolmentFilter{State: payments.EnrolmentRefused, Limit: 10})
			if err != nil || len(list) != 1 || list[0].ID != e.ID {
				t.Errorf("refused: %+v, %v", list, err)
			}
			counts, err := payments.MeasureEnrolments(ctx, tx, w.clock.Now())
			if err != nil || counts.Refused != 1 || counts.Codes != 1 || counts.Open != 0 {
				t.Errorf("counted %+v, %v", counts, err)
			}
			_, err = payments.ListEnrolments(ctx, tx, payments.EnrolmentFilter{State: "gone", Limit: 10})
			w.wantCode(err, ledger.CodeInvalid)
			return nil
		})
	})
}
