package card_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"tweetledger/adapters/card/cardsim"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// page returns a form of a customer's own page, whose address it makes.
func (w *world) page(number string) payments.AccountStep {
	w.t.Helper()
	i, err := w.InviteToAccount(w.ctx, number, "test")
	w.must(err)
	token := i.Address[strings.LastIndexByte(i.Address, '/')+1:]
	page, err := w.AccountPage(w.ctx, token)
	w.must(err)
	return payments.AccountStep{Token: token, Stamp: page.Stamp, Code: code}
}

// visit lets a customer go to the acquirer's page, and returns the visit.
func (w *world) visit(number string) payments.CardRegistration {
	w.t.Helper()
	w.clock.add(time.Second) // visits follow each other
	r, err := w.BeginOwnCard(w.ctx, w.page(number))
	w.must(err)
	if r.State != payments.RegistrationOpen || !strings.HasPrefix(r.PageURL, w.url+"/pay/cs_") {
		w.t.Fatalf("the visit is %+v", r)
	}
	return r
}

// visits returns a customer's visits, the newest first.
func (w *world) visits(number string) (list []payments.CardRegistration, cards []payments.Card) {
	w.t.Helper()
	c, err := w.Customer(w.ctx, number)
	w.must(err)
	w.must(w.db.Read(w.ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		if list, err = payments.RegistrationsOf(ctx, tx, c.ID, 100); err == nil {
			cards, err = payments.CardsOf(ctx, tx, c.ID)
		}
		return err
	}))
	return list, cards
}

func (w *world) wantVisit(number string, state payments.CardRegistrationState, reason string, cards int) {
	w.t.Helper()
	list, has := w.visits(number)
	active := 0
	for _, c := range has {
		if c.State == payments.CardActive {
			active++
		}
	}
	if list[0].State != state || list[0].Reason != reason || active != cards {
		w.t.Fatalf("the visit is %+v with %d cards, want %s (%s) with %d", list[0], active, state, reason, cards)
	}
}

// cardNews delivers everything that lies ready, and lets the service look.
func (w *world) cardNews() {
	w.t.Helper()
	w.news()
	_, err := w.SweepCards(w.ctx, 100)
	w.must(err)
}

// TestCardOnTheAcquirersPage registers cards by webhook, by coming back, by neither, and
// by all of them in any order and twice.
func TestCardOnTheAcquirersPage(t *testing.T) {
	onCore(t, func(t *testing.T, w *world) {
		first := w.visit("c-000001")
		if again, err := w.BeginOwnCard(w.ctx, w.page("c-000001")); err != nil || again.ID != first.ID {
			t.Fatalf("a second visit began beside the first: %+v (%v)", again, err)
		}
		if w.sim.EnterCard(first.Reference, "declined") || !w.sim.EnterCard(first.Reference, "challenge") {
			t.Fatal("the page takes the wrong cards")
		}
		deliveries := w.sim.Take()
		for range 2 {
			if status := w.deliver(deliveries[len(deliveries)-1]); status != http.StatusOK {
				t.Fatalf("answered %d", status)
			}
		}
		if _, err := w.SweepCards(w.ctx, 10); err != nil {
			t.Fatal(err)
		}
		w.wantVisit("c-000001", payments.RegistrationRegistered, "", 1)
		for _, d := range deliveries { // late, and once more
			w.deliver(d)
		}
		w.cardNews()
		w.wantVisit("c-000001", payments.RegistrationRegistered, "", 1)

		second := w.visit("c-000001") // nobody says anything
		w.sim.EnterCard(second.Reference, "ok")
		w.sim.Take()
		w.clock.add(time.Minute)
		w.cardNews()
		w.wantVisit("c-000001", payments.RegistrationRegistered, "", 2)

		third := w.visit("c-000001")
		w.sim.EnterCard(third.Reference, "ok_de")
		w.cardNews()
		w.wantVisit("c-000001", payments.RegistrationRefused, payments.ReasonCountryRefused, 2)
		if gone := w.sim.Forgotten(); len(gone) != 1 || !strings.HasPrefix(gone[0], "pm_sim_ok_de_") {
			t.Errorf("the acquirer has forgotten %v", gone)
		}

		abandoned := w.visit("c-000001")
		w.clock.add(36 * time.Minute)
		w.cardNews()
		w.wantVisit("c-000001", payments.RegistrationAbandoned, "", 2)
		if w.sim.EnterCard(abandoned.Reference, "ok") {
			t.Error("a card was entered on a page that is over")
		}

		_, cards := w.visits("c-000001")
		charge := w.charge("c-000001", cards[1], 10_00)
		if charge.State != payments.ChargePosted {
			t.Errorf("the charge is %s (%s)", charge.State, charge.Reason)
		}
		if _, err := w.RemoveOwnCard(w.ctx, w.page("c-000001"), cards[1].ID); err != nil {
			t.Fatal(err)
		}
		w.cardNews()
		if gone := w.sim.Forgotten(); len(gone) != 2 {
			t.Errorf("the acquirer has forgotten %v", gone)
		}
	})
}

// TestCardPageThroughFaults loses requests and answers of every kind: there is one page, one
// card, and a card that is refused is forgotten in the end.
func TestCardPageThroughFaults(t *testing.T) {
	w := sqliteWorld(t)
	w.sim.Inject(cardsim.LoseAnswer, cardsim.LoseRequest)
	for range 2 {
		_, err := w.BeginOwnCard(w.ctx, w.page("c-000001"))
		w.wantCode(err, ledger.CodeUnavailable)
	}
	r, err := w.BeginOwnCard(w.ctx, w.page("c-000001"))
	w.must(err)
	if list, _ := w.visits("c-000001"); len(list) != 1 || list[0].ID != r.ID {
		t.Fatalf("there are the visits %+v", list)
	}
	w.sim.EnterCard(r.Reference, "ok_us")
	w.sim.Inject(cardsim.LoseRequest, cardsim.Overload, cardsim.LoseAnswer)
	w.clock.add(time.Minute)
	for range 5 {
		_, _ = w.SweepCards(w.ctx, 10) // says what failed
		w.clock.add(10 * time.Minute)
	}
	if gone := w.sim.Forgotten(); len(gone) != 1 {
		t.Errorf("the acquirer has forgotten %v", gone)
	}
	w.must(w.db.Read(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var left int64
		err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM card_detachments", nil, &left)
		if left != 0 {
			t.Errorf("%d cards are still to be forgotten", left)
		}
		return err
	}))

	// One that completes while it is closed counts; one that was never answered ends.
	late := w.visit("c-000002")
	w.sim.EnterCard(late.Reference, "ok")
	w.sim.Take()
	w.clock.add(36 * time.Minute)
	w.cardNews()
	w.wantVisit("c-000002", payments.RegistrationRegistered, "", 1)
	w.clock.add(time.Second)
	w.sim.Inject(cardsim.LoseRequest)
	_, err = w.BeginOwnCard(w.ctx, w.page("c-000002"))
	w.wantCode(err, ledger.CodeUnavailable)
	w.clock.add(36 * time.Minute)
	w.cardNews()
	w.wantVisit("c-000002", payments.RegistrationAbandoned, "", 1)
}

// TestBlockedWhileAtTheAcquirer: who may have no card when it is entered gets none.
func TestBlockedWhileAtTheAcquirer(t *testing.T) {
	w := sqliteWorld(t)
	r := w.visit("c-000001")
	w.must(w.SetCustomerStatus(w.ctx, "c-000001", payments.Blocked, "test", "lost telephone"))
	w.sim.EnterCard(r.Reference, "ok")
	w.cardNews()
	w.wantVisit("c-000001", payments.RegistrationRefused, payments.ReasonOwnerGone, 0)
	if gone := w.sim.Forgotten(); len(gone) != 1 {
		t.Errorf("the acquirer has forgotten %v", gone)
	}
	_, err := w.BeginOwnCard(w.ctx, w.page("c-000001"))
	w.wantCode(err, ledger.CodeForbidden)
	foreign := w.add("c-000002", "pm_sim_ok_1")
	w.must(w.SetCustomerStatus(w.ctx, "c-000001", payments.Open, "test", "found"))
	_, err = w.RemoveOwnCard(w.ctx, w.page("c-000001"), foreign.ID)
	w.wantCode(err, ledger.CodeInvalid)
}

// TestAcquirersPageByHand is the simulator's page as a browser uses it.
func TestAcquirersPageByHand(t *testing.T) {
	w := sqliteWorld(t)
	r := w.visit("c-000001")
	send := func(method string, form url.Values) *httptest.ResponseRecorder {
		request := httptest.NewRequestWithContext(t.Context(), method, r.PageURL, strings.NewReader(form.Encode()))
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer := httptest.NewRecorder()
		w.sim.ServeHTTP(answer, request)
		return answer
	}
	if shown := send(http.MethodGet, nil); shown.Code != http.StatusOK || !strings.Contains(shown.Body.String(), `value="ok_de"`) || strings.Contains(shown.Body.String(), "<script") {
		t.Fatalf("%d %s", shown.Code, shown.Body)
	}
	for _, step := range []struct {
		form   url.Values
		status int
		says   string
	}{
		{url.Values{"card": {"gold"}}, http.StatusBadRequest, "Choose a card"},
		{url.Values{"card": {"declined"}}, http.StatusPaymentRequired, "declined"},
		{url.Values{"card": {"challenge"}}, http.StatusOK, "3-D Secure"},
		{url.Values{"answer": {"refuse"}}, http.StatusPaymentRequired, "Authentication failed"},
		{url.Values{"card": {"challenge"}}, http.StatusOK, "Approve"},
		{url.Values{"answer": {"approve"}}, http.StatusSeeOther, ""},
		{url.Values{"card": {"ok"}}, http.StatusNotFound, "over"},
	} {
		answer := send(http.MethodPost, step.form)
		if answer.Code != step.status || !strings.Contains(answer.Body.String(), step.says) {
			t.Fatalf("%v: %d %s", step.form, answer.Code, answer.Body)
		}
		if to := answer.Header().Get("Location"); step.status == http.StatusSeeOther && !strings.HasPrefix(to, "https://pay.test/card-return/") {
			t.Errorf("sent to %s", to)
		}
	}
}
