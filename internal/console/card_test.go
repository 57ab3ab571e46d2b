package console_test

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"tweetledger/internal/console"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// issuer is a card processor that answers every charge alike, and whose page ends as a
// test says.
type issuer struct {
	status    payments.CardStatus
	page      payments.CardPageStatus // of every page
	country   string                  // of every card; empty: FR
	opened    []payments.CardPageRequest
	forgotten []string
	away      bool
}

// errAway is the answer of an issuer that does not.
var errAway = ledger.Errorf(ledger.CodeUnavailable, "the card processor does not answer")

func (i *issuer) OpenCardPage(_ context.Context, r payments.CardPageRequest) (payments.CardPageStatus, error) {
	if i.away {
		return payments.CardPageStatus{}, errAway
	}
	if !slices.ContainsFunc(i.opened, func(o payments.CardPageRequest) bool { return o.Key == r.Key }) {
		i.opened = append(i.opened, r)
	}
	return payments.CardPageStatus{Reference: fmt.Sprintf("cs_%d", len(i.opened)), Result: payments.CardPageOpen, URL: "https://cards.test/pay"}, nil
}

func (i *issuer) LookupCardPage(_ context.Context, reference string) (payments.CardPageStatus, error) {
	if i.away {
		return payments.CardPageStatus{}, errAway
	}
	status := i.page
	status.Reference = reference
	return status, nil
}

func (i *issuer) CloseCardPage(ctx context.Context, reference string) (payments.CardPageStatus, error) {
	return i.LookupCardPage(ctx, reference)
}

func (i *issuer) ForgetCard(_ context.Context, token string) error {
	i.forgotten = append(i.forgotten, token)
	return nil
}

func (i *issuer) Card(context.Context, string) (payments.CardDetails, error) {
	return payments.CardDetails{Brand: "visa", LastFour: "4242", ExpiryYear: 2030, ExpiryMonth: 12, Country: cmp.Or(i.country, "FR")}, nil
}

func (i *issuer) Charge(_ context.Context, r payments.CardCharge) (payments.CardStatus, error) {
	status := i.status
	status.Reference, status.Amount, status.Currency = "pi_"+r.Key[len(r.Key)-1:], r.Amount, r.Currency
	return status, nil
}

func (i *issuer) Lookup(ctx context.Context, r payments.CardCharge) (payments.CardStatus, error) {
	return i.Charge(ctx, r)
}

func (i *issuer) Cancel(ctx context.Context, r payments.CardCharge) (payments.CardStatus, error) {
	return i.Charge(ctx, r)
}

func (i *issuer) Refund(ctx context.Context, r payments.CardCharge, _ string) (payments.CardStatus, error) {
	return i.Charge(ctx, r)
}

// TestCardPaysTheRest leads a payer whose wallet has too little through the pages: the
// card and its amount are shown before the code is entered, a declined card is said to
// be one, and the card's issuer is a link and not a place where a form goes.
func TestCardPaysTheRest(t *testing.T) {
	s := newSite(t)
	bank := &issuer{status: payments.CardStatus{Result: payments.CardDeclined, Reason: payments.DeclineFunds}}
	s.takeCards(bank, func(*payments.Config) {})
	card, err := s.service.AddCard(t.Context(), "c-000001", "pm_1", "test")
	must(t, err)
	_, err = s.service.AllowAutomaticTopUp(t.Context(), card.ID, 20_00, "test")
	must(t, err)
	s.leave(488_00)

	o, address := s.order(payments.French)
	_, body := s.get(address)
	wantText(t, body, "Il manque 8,00\u00a0€", "visa •••• 4242", "Envoyer 20,00\u00a0€")
	form := url.Values{"stamp": {stampOf(t, body)}, "code": {"135790"}}
	r, body := s.post(address, form)
	wantStatus(t, r, http.StatusPaymentRequired)
	wantText(t, body, "La carte n&#39;a pas payé", "name=\"code\"")

	bank.status = payments.CardStatus{Result: payments.CardChallenge, ChallengeURL: "https://issuer.test/3ds?id=1"}
	r, _ = s.post(address, form)
	wantStatus(t, r, http.StatusSeeOther)
	_, body = s.get(address)
	wantText(t, body, `<a href="https://issuer.test/3ds?id=1">`, "Votre code secret est bon")
	if strings.Contains(body, "<form") {
		t.Fatalf("the page asks for a code that was entered:\n%s", body)
	}

	bank.status = payments.CardStatus{Result: payments.CardSucceeded}
	s.lookAtCharges()
	_, body = s.get(address)
	wantText(t, body, "Paiement effectué")
	posted, err := s.service.Order(t.Context(), o.ID)
	must(t, err)
	if posted.State != payments.StatePosted {
		t.Fatalf("the order is %s", posted.State)
	}
}

// takeCards serves the pages with a card processor.
func (s *site) takeCards(bank *issuer, change func(*payments.Config)) {
	s.t.Helper()
	config := s.service.Config()
	config.Key = []byte(strings.Repeat("k", payments.MinKey))
	change(&config)
	var err error
	s.service, err = payments.New(s.service.Engine(), config, payParser{}, payments.Options{Processor: bank})
	must(s.t, err)
	s.handler, err = console.New(s.service, s.x, nil)
	must(s.t, err)
}

// leave lets the customer spend all but 12.00 of 500.00.
func (s *site) leave(spend ledger.Amount) {
	s.t.Helper()
	_, err := s.service.Engine().Post(s.t.Context(), ledger.PostRequest{Key: "spent", Journal: ledger.JournalMisc, Label: "Spent", Postings: []ledger.Posting{
		{Debit: ledger.SystemAccountID(payments.WalletCode("c-000001")), Credit: ledger.SystemAccountID(payments.AccountSuspense), Amount: spend, Currency: ledger.EUR}}})
	must(s.t, err)
}

// lookAtCharges lets the service hear of all charges, and look.
func (s *site) lookAtCharges() {
	s.t.Helper()
	var list []payments.Charge
	must(s.t, s.service.Engine().DB().Read(s.t.Context(), func(ctx context.Context, tx *sqldb.Tx) (err error) {
		list, err = payments.ListCharges(ctx, tx, payments.ChargeFilter{State: payments.ChargeChallenged, Limit: 10})
		return err
	}))
	for _, c := range list {
		must(s.t, s.service.HeardOf(s.t.Context(), c.Key, ""))
	}
	_, err := s.service.SweepCharges(s.t.Context(), 10)
	must(s.t, err)
}
