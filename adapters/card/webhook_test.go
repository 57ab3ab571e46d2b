package card_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/adapters/card"
	"tweetledger/adapters/card/cardsim"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// refusals returns what was noted of who spoke in the processor's name.
func (w *world) refusals() []payments.PartyEvent {
	w.t.Helper()
	var list []payments.PartyEvent
	w.must(w.db.Read(w.ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		list, err = payments.RefusedNews(ctx, tx, 100)
		return err
	}))
	return list
}

// TestWebhookBelievesOnlyItsProcessor brings deliveries with everything wrong that can
// be: nothing changes, and the first of them is noted.
func TestWebhookBelievesOnlyItsProcessor(t *testing.T) {
	w := sqliteWorld(t)
	on := w.add("c-000001", "pm_sim_challenge_1")
	c := w.charge("c-000001", on, 10_00)
	w.must(w.sim.Authenticate(c.Reference, true))
	var d cardsim.Delivery
	for _, d = range w.sim.Take() {
	}
	now := w.clock.Now()
	right := w.sim.Sign(d, now)
	_, signature, _ := strings.Cut(right, ",v1=")
	other := cardsim.New(cardsim.Options{Secret: "whsec_other"})
	for name, bad := range map[string]struct {
		body, signature string
		status          int
	}{
		"no signature":        {string(d.Body), "", http.StatusBadRequest},
		"another secret":      {string(d.Body), other.Sign(d, now), http.StatusBadRequest},
		"another body":        {strings.Replace(string(d.Body), "1000", "9000", 1), right, http.StatusBadRequest},
		"another time":        {string(d.Body), fmt.Sprintf("t=%d,v1=%s", now.Unix()+1, signature), http.StatusBadRequest},
		"no time":             {string(d.Body), "v1=" + signature, http.StatusBadRequest},
		"no number":           {string(d.Body), "t=now,v1=" + signature, http.StatusBadRequest},
		"the old scheme":      {string(d.Body), fmt.Sprintf("t=%d,v0=%s", now.Unix(), signature), http.StatusBadRequest},
		"too many signatures": {string(d.Body), fmt.Sprintf("t=%d%s,v1=%s", now.Unix(), strings.Repeat(",v1=00", 5), signature), http.StatusBadRequest},
		"an old one":          {string(d.Body), w.sim.Sign(d, now.Add(-6*time.Minute)), http.StatusBadRequest},
		"one of the future":   {string(d.Body), w.sim.Sign(d, now.Add(6*time.Minute)), http.StatusBadRequest},
		"too large":           {strings.Repeat(" ", 300<<10), right, http.StatusRequestEntityTooLarge},
	} {
		if status := w.post(bad.body, bad.signature); status != bad.status {
			t.Errorf("%s: answered %d, not %d", name, status, bad.status)
		}
	}
	w.sweep() // the challenge's own time has not come
	w.wantState(c.ID, payments.ChargeChallenged, payments.ReasonChallenge)
	if list := w.refusals(); len(list) != 1 || list[0].Event != "card_webhook_refused" {
		t.Fatalf("noted: %+v; want one event for all that came within a minute", list)
	}
	w.clock.add(time.Minute)
	w.post("{}", "")
	if n := len(w.refusals()); n != 2 {
		t.Fatalf("%d events, not 2, a minute later", n)
	}
	r := httptest.NewRequestWithContext(w.ctx, http.MethodGet, "/webhooks/card", nil)
	answer := httptest.NewRecorder()
	w.hook.ServeHTTP(answer, r)
	if answer.Code != http.StatusMethodNotAllowed {
		t.Errorf("a GET was answered %d", answer.Code)
	}
	if status := w.deliver(d); status != http.StatusOK {
		t.Fatalf("the right delivery was answered %d", status)
	}
	w.sweep()
	w.wantState(c.ID, payments.ChargePosted, payments.ReasonToppedUp)
}

// TestWebhookTellsNothing delivers signed events whose content is wrong: what they say
// makes no difference, only which charge they are about.
func TestWebhookTellsNothing(t *testing.T) {
	w := sqliteWorld(t)
	c := w.charge("c-000001", w.add("c-000001", "pm_sim_challenge_1"), 10_00)
	w.sim.Take()
	event := func(object string) int {
		return w.deliver(cardsim.Delivery{Body: []byte(`{"id":"evt_1","type":"x","data":{"object":` + object + `}}`)})
	}
	intent := `{"object":"payment_intent","id":"` + c.Reference + `","status":"succeeded","amount":1000,"amount_received":1000,"currency":"eur","metadata":{"charge":"` + c.Key + `"}}`
	for name, object := range map[string]string{
		"a success that was none": intent, "of another amount": strings.ReplaceAll(intent, "1000", "999999"), "in dollars": strings.Replace(intent, "eur", "usd", 1),
		"under our key alone":  strings.Replace(intent, c.Reference, "pi_unknown", 1),
		"a dispute":            `{"object":"dispute","id":"dp_1","amount":1000,"payment_intent":"` + c.Reference + `"}`,
		"a refund":             `{"object":"refund","id":"re_1","payment_intent":{"id":"` + c.Reference + `"}}`,
		"an unknown charge":    `{"object":"charge","id":"ch_1","payment_intent":"pi_unknown"}`,
		"about something else": `{"object":"customer","id":"cus_1"}`, "nothing": `null`,
	} {
		if status := event(object); status != http.StatusOK {
			t.Errorf("%s: answered %d", name, status)
		}
		w.sweep()
		w.wantState(c.ID, payments.ChargeChallenged, payments.ReasonChallenge)
	}
	if status := w.deliver(cardsim.Delivery{Body: []byte(`{"data":`)}); status != http.StatusBadRequest {
		t.Errorf("what is no JSON was answered %d", status)
	}
	w.wantBalances(map[string]ledger.Amount{walletMarie: 0, "cards-to-settle": 0})
	w.verify()
}

// TestWebhookIsDeliveredAgain answers so that the processor comes again where the news
// were not noted.
func TestWebhookIsDeliveredAgain(t *testing.T) {
	w := sqliteWorld(t)
	hook, err := card.NewWebhook(card.WebhookOptions{Secret: webhookSecret, Clock: w.clock.Now, Refused: w.RecordRefusedNews,
		Heard: func(context.Context, string, string) error {
			return ledger.Errorf(ledger.CodeUnavailable, "the database is away")
		}})
	w.must(err)
	w.hook = hook
	w.charge("c-000001", w.add("c-000001", "pm_sim_ok_1"), 10_00)
	for _, d := range w.sim.Take() {
		if status := w.deliver(d); status != http.StatusServiceUnavailable {
			t.Fatalf("answered %d, not 503", status)
		}
	}
	_, err = card.NewWebhook(card.WebhookOptions{})
	w.wantCode(err, ledger.CodeInvalid)
}

func TestClientOptions(t *testing.T) {
	for _, o := range []card.Options{{}, {SecretKey: "sk", BaseURL: "api.stripe.com"}, {SecretKey: "sk", BaseURL: "ftp://x"}} {
		if _, err := card.NewClient(o); ledger.CodeOf(err) != ledger.CodeInvalid {
			t.Errorf("%+v: %v", o, err)
		}
	}
	// A wrong key is nobody's decline: the charge is looked at again.
	w := sqliteWorld(t)
	client, err := card.NewClient(card.Options{SecretKey: "sk_wrong", BaseURL: w.url})
	w.must(err)
	r := payments.CardCharge{Key: "k", Token: "pm_sim_ok_1", Amount: 10_00, Currency: ledger.EUR}
	if _, err := client.Charge(w.ctx, r); ledger.CodeOf(err) != ledger.CodeUnavailable {
		t.Errorf("a wrong key: %v", err)
	}
	if _, err := client.Lookup(w.ctx, r); ledger.CodeOf(err) != ledger.CodeUnavailable {
		t.Errorf("a look with a wrong key: %v", err)
	}
}

// TestLookupFindsByKey finds a charge among more of the customer's than a page lists.
func TestLookupFindsByKey(t *testing.T) {
	w := sqliteWorld(t)
	client, err := card.NewClient(card.Options{SecretKey: secretKey, BaseURL: w.url})
	w.must(err)
	details, err := client.Card(w.ctx, "pm_sim_ok_1")
	w.must(err)
	var first payments.CardCharge
	for i := range 120 {
		r := payments.CardCharge{Key: uuid.NewString(), Token: "pm_sim_ok_1", Holder: details.Holder, Amount: 10_00, Currency: ledger.EUR, CreatedAt: w.clock.Now()}
		if i == 0 {
			first = r
		}
		_, err := client.Charge(w.ctx, r)
		w.must(err)
	}
	found, err := client.Lookup(w.ctx, first)
	w.must(err)
	if found.Result != payments.CardSucceeded || found.Amount != 10_00 || found.Currency != ledger.EUR {
		t.Fatalf("found %+v", found)
	}
	first.Key = "of nobody"
	_, err = client.Lookup(w.ctx, first)
	w.wantCode(err, ledger.CodeNotFound)
	first.Reference = found.Reference // somebody else's
	if _, err = client.Lookup(w.ctx, first); err == nil {
		t.Fatal("another charge was taken for ours")
	}
}
