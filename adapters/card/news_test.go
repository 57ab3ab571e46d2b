package card_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"tweetledger/adapters/card"
	"tweetledger/adapters/card/cardsim"
	"tweetledger/internal/payments"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// interrupted lets something happen between a look at the processor and what follows
// from it.
type interrupted struct {
	payments.CardProcessor
	meanwhile func()
}

// Lookup implements payments.CardProcessor.
func (i *interrupted) Lookup(ctx context.Context, r payments.CardCharge) (payments.CardStatus, error) {
	status, err := i.CardProcessor.Lookup(ctx, r)
	if i.meanwhile != nil {
		i.meanwhile()
		i.meanwhile = nil
	}
	return status, err
}

// TestNewsWhileLooking has the processor speak of a dispute after it was asked, and
// before what it said is written down: the charge is looked at again all the same.
func TestNewsWhileLooking(t *testing.T) {
	w := sqliteWorld(t)
	on := w.add("c-000001", "pm_sim_ok_1")
	w.sim.Inject(cardsim.LoseAnswer)
	c := w.charge("c-000001", on, 10_00)
	client, err := card.NewClient(card.Options{SecretKey: secretKey, BaseURL: w.url})
	w.must(err)
	looking := &interrupted{CardProcessor: client}
	e := engine.New(w.db, engine.Options{Clock: w.clock.Now})
	t.Cleanup(e.Close)
	service, err := payments.New(e, testConfig(), payParser{}, payments.Options{Processor: looking})
	w.must(err)
	w.clock.add(time.Minute)
	looking.meanwhile = func() {
		reference := w.sim.Payments()[0].Reference
		_, err := w.sim.Dispute(reference)
		w.must(err)
		w.must(w.HeardOf(w.ctx, c.Key, reference))
	}
	_, err = service.SweepCharges(w.ctx, 10)
	w.must(err)
	w.wantState(c.ID, payments.ChargePosted, payments.ReasonToppedUp)
	_, err = service.SweepCharges(w.ctx, 10)
	w.must(err)
	w.wantState(c.ID, payments.ChargeDisputed, payments.ReasonDisputed)
	w.wantBalances(map[string]ledger.Amount{walletMarie: 0, "cards-to-settle": 0})
	w.verify()
}

// TestSameAtOnce asks for the same card and the same charge many times at once, on two
// nodes: there is one of each, and nobody is told of an error.
func TestSameAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		const callers = 8
		errs := make(chan error, 2*callers)
		atOnce := func(what func(s *payments.Service) error) {
			var all sync.WaitGroup
			for i := range callers {
				all.Go(func() {
					s := w.Service
					if i%2 == 1 {
						s = w.other
					}
					errs <- what(s)
				})
			}
			all.Wait()
		}
		atOnce(func(s *payments.Service) error {
			_, err := s.AddCard(w.ctx, "c-000001", "pm_sim_ok_1", "test")
			return err
		})
		atOnce(func(s *payments.Service) error {
			_, err := s.ChargeCard(w.ctx, payments.ChargeRequest{Key: "once", CustomerNumber: "c-000001", Amount: 10_00, Present: true, Actor: "test"})
			return err
		})
		close(errs)
		for err := range errs {
			w.must(err)
		}
		w.news()
		if n := len(w.sim.Payments()); n != 1 {
			t.Fatalf("the card was charged %d times", n)
		}
		w.wantBalances(map[string]ledger.Amount{walletMarie: 10_00, "cards-to-settle": 10_00})
	})
}

// TestLostAmongThousands finds a charge of which only our key is known, though the
// processor has taken more payments since than are ever read.
func TestLostAmongThousands(t *testing.T) {
	w := sqliteWorld(t)
	w.sim.Inject(cardsim.LoseRequest)
	on := w.add("c-000001", "pm_sim_ok_1")
	c := w.charge("c-000001", on, 10_00)
	w.clock.add(time.Hour)
	for i := range 1001 {
		form := url.Values{"amount": {"1000"}, "currency": {"eur"}, "confirm": {"true"}, "payment_method": {"pm_sim_ok_1"}, "customer": {on.Holder}}
		r := httptest.NewRequestWithContext(w.ctx, http.MethodPost, "/v1/payment_intents", strings.NewReader(form.Encode()))
		r.Header.Set("Authorization", "Bearer "+secretKey)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer := httptest.NewRecorder()
		w.sim.ServeHTTP(answer, r)
		if answer.Code != http.StatusOK {
			t.Fatalf("payment %d: %d %s", i, answer.Code, answer.Body)
		}
	}
	w.sweep()
	w.wantState(c.ID, payments.ChargeFailed, payments.ReasonNeverArrived)
}
