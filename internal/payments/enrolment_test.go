package payments_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

const (
	newPhone   = "+33612345690"
	otherPhone = "+33612345691"
	mariePhone = "+33612345678" // a customer's
)

var codePattern = regexp.MustCompile(`(?:code est|code is) ([0-9]{6})\b`)

// sentTo delivers what waits and returns the texts that went to a number.
func (w *world) sentTo(phone string) []string {
	w.t.Helper()
	w.deliver()
	var texts []string
	for _, n := range w.sink.notices {
		if n.Phone == phone {
			texts = append(texts, n.Text)
		}
	}
	return texts
}

// codeTo returns the newest code that was sent to a number.
func (w *world) codeTo(phone string) string {
	w.t.Helper()
	texts, code := w.sentTo(phone), ""
	for _, text := range texts {
		if match := codePattern.FindStringSubmatch(text); match != nil {
			code = match[1]
		}
	}
	if code == "" {
		w.t.Fatalf("no code in %q", texts)
	}
	return code
}

// other returns six digits that are not the code.
func other(code string) string {
	digit := (code[5]-'0'+1)%10 + '0'
	return code[:5] + string(digit)
}

// startEnrolment begins an enrolment on the page and returns the token of its address.
func (w *world) startEnrolment(name, phone string) (payments.Enrolment, string) {
	w.t.Helper()
	stamp, err := w.EnrolStamp()
	must(w.t, err)
	e, err := w.StartEnrolment(w.ctx, payments.StartEnrolmentRequest{Stamp: stamp, Name: name, Phone: phone, Language: "fr", Actor: payments.ActorPage})
	must(w.t, err)
	address := w.EnrolmentAddress(e.ID)
	if !strings.HasPrefix(address, "https://pay.test/enrol/") {
		w.t.Fatalf("the address is %s", address)
	}
	return e, address[strings.LastIndex(address, "/")+1:]
}

// step makes the form of an enrolment's page.
func (w *world) step(token, code string) payments.EnrolmentStep {
	w.t.Helper()
	page, err := w.EnrolmentPage(w.ctx, token)
	must(w.t, err)
	return payments.EnrolmentStep{Token: token, Stamp: page.Stamp, Code: code, Actor: payments.ActorPage}
}

func (w *world) enrolment(id uuid.UUID) (e payments.Enrolment, history string) {
	w.t.Helper()
	w.read(func(ctx context.Context, tx *sqldb.Tx) (err error) {
		if e, err = payments.FindEnrolment(ctx, tx, id); err != nil {
			return err
		}
		events, err := payments.EnrolmentEvents(ctx, tx, id)
		var words []string
		for _, event := range events {
			words = append(words, string(event.To)+":"+event.Reason)
		}
		history = strings.Join(words, " ")
		return err
	})
	return e, history
}

func (w *world) wantHistory(id uuid.UUID, want string) {
	w.t.Helper()
	if _, got := w.enrolment(id); got != want {
		w.t.Fatalf("the enrolment's history is %q, want %q", got, want)
	}
}

// one returns the only number of a query.
func (w *world) one(query string, args ...any) (n int64) {
	w.t.Helper()
	w.read(func(ctx context.Context, tx *sqldb.Tx) error { return tx.QueryRow(ctx, query, args, &n) })
	return n
}

func TestEnrolByOneself(t *testing.T) {
	onCore(t, func(t *testing.T, w *world) {
		e, token := w.startEnrolment("Chloé Bernard", "06 12 34 56 90")
		if e.Phone != newPhone {
			t.Fatalf("the number is %s", e.Phone)
		}
		code := w.codeTo(newPhone)
		_, err := w.FinishEnrolment(w.ctx, w.step(token, rightCode))
		w.wantCode(err, ledger.CodeConflict) // the number is not proven
		_, err = w.VerifyEnrolment(w.ctx, w.step(token, other(code)))
		w.wantCode(err, ledger.CodeForbidden)
		_, err = w.VerifyEnrolment(w.ctx, w.step(token, code))
		must(t, err)
		page, err := w.EnrolmentPage(w.ctx, token)
		must(t, err)
		if page.Step != payments.StepSecret || page.PhoneEnd != "90" {
			t.Fatalf("the page is %+v", page)
		}
		made, err := w.FinishEnrolment(w.ctx, w.step(token, rightCode))
		must(t, err)
		if made.Number != "c-000003" || made.ID != e.ID || made.Phone != newPhone || !made.HasSecret {
			t.Fatalf("made %+v", made)
		}
		w.wantBalance("wallet:c-000003", 0, 0)
		w.wantHistory(e.ID, "started:asked phone_verified:one_time_code secret_set:secret_chosen enrolled:complete")

		// Again it changes nothing, the secret code neither.
		before := w.counts()
		again, err := w.FinishEnrolment(w.ctx, w.step(token, wrongCode))
		must(t, err)
		if again.ID != made.ID || w.counts() != before {
			t.Fatalf("made %+v again", again)
		}
		page, err = w.EnrolmentPage(w.ctx, token)
		must(t, err)
		if page.Step != payments.StepDone || page.CustomerNumber != "c-000003" {
			t.Fatalf("the page is %+v", page)
		}
		w.wantCode(w.ResendCode(w.ctx, w.step(token, "")), ledger.CodeConflict)

		// The customer is one as any other, with the secret code that was chosen first.
		must(t, w.LinkCustomer(w.ctx, channel, stranger, "chloe", made.Number))
		_, err = w.TopUp(w.ctx, made.Number, 50_00, "charge-chloe")
		must(t, err)
		h := w.say(stranger, "pay 20.00 "+acf+" ACF_France")
		if h.Order == nil || h.Order.State != payments.StateAwaitingConfirmation {
			t.Fatalf("%+v", h)
		}
		_, err = w.confirm(h.Order.ID, wrongCode)
		w.wantCode(err, ledger.CodeForbidden)
		_, err = w.confirm(h.Order.ID, rightCode)
		must(t, err)
	})
}

// TestCodesGiveOneAnswer: what is wrong with a code is never told.
func TestCodesGiveOneAnswer(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		var answers []string
		refused := func(why string, r payments.EnrolmentStep) {
			t.Helper()
			_, err := w.VerifyEnrolment(w.ctx, r)
			w.wantCode(err, ledger.CodeForbidden)
			answers = append(answers, err.Error())
			if answers[0] != err.Error() {
				t.Errorf("%s: the answer is %q, not %q", why, err, answers[0])
			}
		}
		first, token := w.startEnrolment("First", newPhone)
		code := w.codeTo(newPhone)
		refused("a wrong code", w.step(token, other(code)))
		second, secondToken := w.startEnrolment("Second", otherPhone)
		foreign := w.codeTo(otherPhone)
		if foreign == code {
			t.Fatal("two codes are the same: give the test other random numbers")
		}
		refused("a code of somebody else", w.step(token, foreign))
		must(t, w.ResendCode(w.ctx, w.step(token, "")))
		newer := w.codeTo(newPhone)
		if newer != code {
			refused("a code that was replaced", w.step(token, code))
		}
		late := w.step(token, newer)
		w.clock.Add(10 * time.Minute)
		late.Stamp = w.step(token, "").Stamp
		refused("an expired code", late)
		known, knownToken := w.startEnrolment("Not Marie", mariePhone)
		refused("a number of a customer", w.step(knownToken, "000000"))
		must(t, w.ResendCode(w.ctx, w.step(secondToken, "")))
		foreign = w.codeTo(otherPhone)
		reused := w.step(secondToken, foreign)
		_, err := w.VerifyEnrolment(w.ctx, reused)
		must(t, err)
		w.exec("UPDATE enrolments SET state = 'started' WHERE id = $1", second.ID)
		refused("a code that was used", reused)

		w.wantHistory(first.ID, "started:asked")
		w.wantHistory(known.ID, "started:asked refused:already_customer")
		if texts := w.sentTo(mariePhone); len(texts) != 1 || !strings.Contains(texts[0], "déjà celui d'un client") || codePattern.MatchString(texts[0]) {
			t.Errorf("Marie was told %q", texts)
		}
		if n := w.one("SELECT COUNT(*) FROM customers"); n != 2 {
			t.Errorf("there are %d customers", n)
		}
	})
}

// TestAKnownNumberIsNotToldFromAnother: each step answers the same for a customer's
// number as for any other.
func TestAKnownNumberIsNotToldFromAnother(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	config := w.Config()
	story := func(phone string) []string {
		var said []string
		say := func(what string, err error) {
			said = append(said, fmt.Sprintf("%s: %v", what, err))
		}
		tokens := []string{}
		for i := range 2 { // the second takes the place of the first
			_, token := w.startEnrolment(fmt.Sprint("Somebody ", i), phone)
			tokens = append(tokens, token)
		}
		for _, token := range tokens {
			page, err := w.EnrolmentPage(w.ctx, token)
			say(page.Step+" "+page.PhoneEnd+" "+page.ExpiresAt.String(), err)
			for range config.Enrolment.CodeTries + 1 {
				_, err := w.VerifyEnrolment(w.ctx, w.step(token, "000000"))
				say("verify", err)
			}
			_, err = w.FinishEnrolment(w.ctx, w.step(token, rightCode))
			_, detail, _ := strings.Cut(fmt.Sprint(err), " is ") // its id, and the state, are not shown to anybody
			_, detail, _ = strings.Cut(detail, ";")
			say("finish: "+detail, nil)
		}
		for range 5 {
			say("resend", w.ResendCode(w.ctx, w.step(tokens[1], "")))
		}
		stamp, err := w.EnrolStamp()
		must(t, err)
		_, err = w.StartEnrolment(w.ctx, payments.StartEnrolmentRequest{Stamp: stamp, Name: "Somebody", Phone: phone, Actor: payments.ActorPage})
		say("start", err)
		w.clock.Add(time.Hour)
		for range 6 {
			stamp, err := w.VerifyStamp()
			must(t, err)
			address, err := w.StartVerification(w.ctx, payments.StartVerificationRequest{Stamp: stamp, Phone: phone})
			say(fmt.Sprint("start to verify ", len(address)), err)
			if err != nil {
				continue
			}
			token := address[strings.LastIndex(address, "/")+1:]
			page, err := w.VerificationPage(w.ctx, token)
			say(page.PhoneEnd+" "+fmt.Sprint(page.Done), err)
			for range config.Enrolment.CodeTries + 1 {
				say("verify", w.Verify(w.ctx, payments.VerifyRequest{Token: token, Stamp: page.Stamp, Code: "000000"}))
			}
		}
		w.clock.Add(-time.Hour)
		return said
	}
	const unknown = "+33612345778" // ends as Marie's does
	known, other := story(mariePhone), story(unknown)
	for i := range known {
		if known[i] != other[i] {
			t.Errorf("a customer's number is told by %q, another one by %q", known[i], other[i])
		}
	}
	if len(known) != len(other) {
		t.Errorf("%d answers, and %d", len(known), len(other))
	}
}

// TestGuessesOfOneCode: a hundred guesses at once, on two nodes, are as good as few.
func TestGuessesOfOneCode(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		e, token := w.startEnrolment("Chloé", newPhone)
		code := w.codeTo(newPhone)
		nodes := []*payments.Service{w.Service, w.node(testConfig())}
		r := w.step(token, other(code))
		results := make(chan error, 100)
		for i := range cap(results) {
			go func() {
				_, err := nodes[i%len(nodes)].VerifyEnrolment(w.ctx, r)
				results <- err
			}()
		}
		for range cap(results) {
			w.wantCode(<-results, ledger.CodeForbidden)
		}
		if n := w.one("SELECT tries FROM one_time_codes WHERE subject_id = $1", e.ID); n != 5 {
			t.Errorf("%d guesses were compared", n)
		}
		if n := w.one("SELECT COUNT(*) FROM party_events WHERE party_id = $1 AND event = 'code_exhausted'", e.ID); n != 1 {
			t.Errorf("%d events tell of it", n)
		}
		_, err := w.VerifyEnrolment(w.ctx, w.step(token, code))
		w.wantCode(err, ledger.CodeForbidden)

		// Another code works; the right one, entered a hundred times at once, once.
		must(t, w.ResendCode(w.ctx, w.step(token, "")))
		r = w.step(token, w.codeTo(newPhone))
		for i := range cap(results) {
			go func() {
				_, err := nodes[i%len(nodes)].VerifyEnrolment(w.ctx, r)
				results <- err
			}()
		}
		verified := 0
		for range cap(results) {
			switch err := <-results; ledger.CodeOf(err) {
			case "":
				must(t, err)
				verified++
			case ledger.CodeForbidden, ledger.CodeConflict:
			default:
				t.Fatal(err)
			}
		}
		if verified != 1 {
			t.Errorf("the code was used %d times", verified)
		}
		w.wantHistory(e.ID, "started:asked phone_verified:one_time_code")
	})
}

func TestGuessingRefusesTheEnrolment(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	e, token := w.startEnrolment("Chloé", newPhone)
	for i := range 3 {
		if i > 0 {
			must(t, w.ResendCode(w.ctx, w.step(token, "")))
		}
		wrong := other(w.codeTo(newPhone))
		for range 5 {
			_, err := w.VerifyEnrolment(w.ctx, w.step(token, wrong))
			w.wantCode(err, ledger.CodeForbidden)
		}
	}
	w.wantHistory(e.ID, "started:asked refused:codes_guessed")
	must(t, w.ResendCode(w.ctx, w.step(token, ""))) // the answer is the same, and nothing is sent
	if texts := w.sentTo(newPhone); len(texts) != 3 {
		t.Errorf("%d codes were sent", len(texts))
	}
}

// TestEnrolmentsOfOneNumber: people who enrol with one number at once, on two nodes,
// become one customer.
func TestEnrolmentsOfOneNumber(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		config := testConfig()
		config.Enrolment.CodesHour, config.Enrolment.CodesDay = 20, 20
		nodes := []*payments.Service{w.node(config), w.node(config)}
		w.Service = nodes[0]
		const people = 8
		// All of them are begun at once: one asks for its code at the end.
		var wait sync.WaitGroup
		for i := range people {
			wait.Go(func() {
				stamp, err := w.EnrolStamp()
				if err == nil {
					_, err = nodes[i%2].StartEnrolment(w.ctx, payments.StartEnrolmentRequest{Stamp: stamp, Name: fmt.Sprint("Person ", i), Phone: newPhone, Actor: payments.ActorPage})
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if n := w.one("SELECT COUNT(*) FROM enrolments WHERE phone = $1 AND closed_at IS NULL", newPhone); n != 1 {
			t.Fatalf("%d enrolments of the number are open", n)
		}
		// At the end the customer, twice, and staff finish at once: only one customer is made.
		e, token := w.startEnrolment("Chloé", newPhone)
		_, err := w.VerifyEnrolment(w.ctx, w.step(token, w.codeTo(newPhone)))
		must(t, err)
		results := make(chan error, people)
		for i := range people {
			go func() {
				var err error
				if i < people/2 {
					_, err = nodes[i%2].FinishEnrolment(w.ctx, payments.EnrolmentStep{ID: e.ID, Code: rightCode, Actor: "test"})
				} else {
					_, err = nodes[i%2].EnrolCustomer(w.ctx, payments.NewCustomer{Name: fmt.Sprint("Person ", i), Phone: newPhone})
				}
				results <- err
			}()
		}
		made := 0
		for range people {
			switch err := <-results; ledger.CodeOf(err) {
			case "":
				must(t, err)
				made++
			case ledger.CodeForbidden, ledger.CodeConflict:
			default:
				t.Fatal(err)
			}
		}
		if n := w.one("SELECT COUNT(*) FROM customers WHERE phone = $1", newPhone); made == 0 || n != 1 {
			t.Fatalf("%d were told that they are customers, %d are", made, n)
		}
		if n := w.one("SELECT COUNT(*) FROM accounts WHERE code LIKE 'wallet:%'"); n != 3 {
			t.Fatalf("there are %d wallets", n)
		}
	})
}

func TestTheLastWhoProvesANumberHasIt(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		first, token := w.startEnrolment("First", newPhone)
		_, err := w.VerifyEnrolment(w.ctx, w.step(token, w.codeTo(newPhone)))
		must(t, err)
		second, secondToken := w.startEnrolment("Second", newPhone)
		w.wantHistory(first.ID, "started:asked phone_verified:one_time_code") // nothing is proven yet
		_, err = w.VerifyEnrolment(w.ctx, w.step(secondToken, w.codeTo(newPhone)))
		must(t, err)
		w.wantHistory(first.ID, "started:asked phone_verified:one_time_code expired:restarted")
		_, err = w.EnrolmentPage(w.ctx, token)
		w.wantCode(err, ledger.CodeNotFound)
		_, err = w.FinishEnrolment(w.ctx, payments.EnrolmentStep{ID: first.ID, Code: rightCode, Actor: "test"})
		w.wantCode(err, ledger.CodeConflict)
		_, err = w.FinishEnrolment(w.ctx, w.step(secondToken, rightCode))
		must(t, err)
		w.wantHistory(second.ID, "started:asked phone_verified:one_time_code secret_set:secret_chosen enrolled:complete")
	})
}
