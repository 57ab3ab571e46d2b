package console_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// account makes the address of a customer's own page.
func (s *site) account(number string) string {
	s.t.Helper()
	i, err := s.service.InviteToAccount(s.t.Context(), number, "test")
	must(s.t, err)
	return i.Address
}

// another enrols a second customer with a secret code, and returns the number.
func (s *site) another() string {
	s.t.Helper()
	c, err := s.service.EnrolCustomer(s.t.Context(), payments.NewCustomer{Name: "Yoann Test", Phone: "+33612345679"})
	must(s.t, err)
	must(s.t, s.service.SetSecretCode(s.t.Context(), c.Number, "864209", "test"))
	return c.Number
}

// history returns the newest events of a customer, joined.
func (s *site) history(number string) string {
	s.t.Helper()
	c, err := s.service.Customer(s.t.Context(), number)
	must(s.t, err)
	var told strings.Builder
	must(s.t, s.service.Engine().DB().Read(s.t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		told.Reset()
		events, err := payments.PartyEvents(ctx, tx, c.ID, 100)
		for _, e := range events {
			told.WriteString(e.Event + " " + e.Reason + "\n")
		}
		return err
	}))
	return told.String()
}

func (s *site) sweepCards() {
	s.t.Helper()
	_, err := s.service.SweepCards(s.t.Context(), 10)
	must(s.t, err)
}

var cardChoice = regexp.MustCompile(`name="card" type="radio" value="([0-9a-f-]{36})"`)

// complete says that the card was entered on every page.
func complete(token string) payments.CardPageStatus {
	return payments.CardPageStatus{Result: payments.CardPageComplete, Token: token}
}

// comesBack follows an address of return in a browser that has a cookie, or none.
func (s *site) comesBack(address string, cookies []*http.Cookie) (*http.Response, string) {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.t.Context(), http.MethodGet, address, nil)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	return s.do(r)
}

func TestRegisterAndRemoveACard(t *testing.T) {
	s, bank := newSite(t), &issuer{page: payments.CardPageStatus{Result: payments.CardPageOpen}}
	s.takeCards(bank, func(*payments.Config) {})
	address := s.account("c-000001")
	r, body := s.get(address)
	wantStatus(t, r, http.StatusOK)
	wantText(t, body, "Mon compte", "•••• 78", "Enregistrer une carte", "nous ne le voyons jamais")
	if strings.Contains(body, "<script") || strings.Contains(body, "Retirer") || !strings.Contains(r.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("the page is not as bare as it should be:\n%s", body)
	}
	r, body = s.fill(address, "do", "add-card", "code", "000000")
	wantStatus(t, r, http.StatusForbidden)
	wantText(t, body, "Rien n&#39;a été changé")
	if len(bank.opened) != 0 {
		t.Fatal("the processor's page was opened with a wrong code")
	}

	twice := url.Values{"stamp": {stampOf(t, body)}, "do": {"add-card"}, "code": {"135790"}}
	began, _ := s.post(address, twice)
	s.goesTo(began, "")
	s.goesTo(s.post(address, twice))
	if len(bank.opened) != 1 {
		t.Fatalf("%d pages were opened", len(bank.opened))
	}
	back := bank.opened[0].ReturnURL
	if strings.Contains(back, address[strings.LastIndexByte(address, '/')+1:]) || !strings.HasPrefix(back, "https://pay.test/card-return/") {
		t.Fatalf("the processor is told %s", back)
	}
	_, body = s.get(address)
	wantText(t, body, `<a href="https://cards.test/pay">`)

	// Back too early, then in another browser, then twice.
	r, _ = s.comesBack(back, began.Cookies())
	if to := s.goesTo(r, ""); to != address {
		t.Errorf("sent to %s", to)
	}
	s.now = s.now.Add(3 * time.Second)
	bank.page = complete("pm_one")
	r, body = s.comesBack(back, nil)
	wantStatus(t, r, http.StatusOK)
	wantText(t, body, "Revenez à la page")
	if strings.Contains(body, address) {
		t.Error("another browser learns the address of the page")
	}
	bank.page = complete("pm_of_somebody_else")
	s.now = s.now.Add(3 * time.Second)
	for range 2 {
		r, _ = s.comesBack(back, began.Cookies())
		s.goesTo(r, "")
	}
	s.sweepCards()
	_, body = s.get(address)
	wantText(t, body, "Votre carte est enregistrée", "visa •••• 4242, expire fin 12/2030, émise en France (FR) : acceptée (carte par défaut)", "Retirer la carte")
	if strings.Contains(body, "pm_one") {
		t.Error("the page shows a token")
	}
	card := cardChoice.FindStringSubmatch(body)
	if card == nil || strings.Count(body, `type="radio"`) != 1 {
		t.Fatalf("the page has not one card:\n%s", body)
	}

	r, body = s.fill(address, "do", "remove-card", "card", card[1], "code", "000000")
	wantStatus(t, r, http.StatusForbidden)
	wantText(t, body, "•••• 4242")
	s.goesTo(s.fill(address, "do", "remove-card", "card", card[1], "code", "135790"))
	s.goesTo(s.fill(address, "do", "remove-card", "card", card[1], "code", "135790"))
	_, body = s.get(address)
	if strings.Contains(body, "•••• 4242") {
		t.Errorf("the card is still there:\n%s", body)
	}
	s.sweepCards()
	s.sweepCards()
	if len(bank.forgotten) != 1 || bank.forgotten[0] != "pm_one" {
		t.Errorf("the processor was told to forget %v", bank.forgotten)
	}
}

func TestCardsThatAreRefused(t *testing.T) {
	s, bank := newSite(t), &issuer{country: "DE", page: complete("pm_foreign")}
	s.takeCards(bank, func(*payments.Config) {})
	address := s.account("c-000001")
	s.goesTo(s.fill(address, "do", "add-card", "code", "135790"))
	r, _ := s.comesBack(bank.opened[0].ReturnURL, nil)
	wantStatus(t, r, http.StatusOK)
	_, body := s.get(address)
	wantText(t, body, "visa 4242", "émise à l&#39;étranger (DE)", "Enregistrer une carte")
	s.sweepCards()
	if len(bank.forgotten) != 1 || bank.forgotten[0] != "pm_foreign" {
		t.Errorf("the processor was told to forget %v", bank.forgotten)
	}
	if told := s.history("c-000001"); !strings.Contains(told, "card_refused country_refused: visa 4242") {
		t.Errorf("the history says\n%s", told)
	}

	// Nobody comes back, and the page ends by itself; the address says nothing new then.
	bank.page = payments.CardPageStatus{Result: payments.CardPageOver}
	s.now = s.now.Add(time.Minute)
	s.goesTo(s.fill(address, "do", "add-card", "code", "135790"))
	s.now = s.now.Add(36 * time.Minute)
	s.sweepCards()
	_, body = s.get(address)
	wantText(t, body, "Aucune carte n&#39;a été enregistrée à temps")
	bank.page, bank.country = complete("pm_late"), "FR"
	r, _ = s.comesBack(bank.opened[1].ReturnURL, nil)
	wantStatus(t, r, http.StatusOK)
	if _, body = s.get(address); strings.Contains(body, "4242") {
		t.Errorf("a card came on a page that was over:\n%s", body)
	}

	// The tenth card of a day is the last; the processor's silence is not the customer's.
	bank.page, bank.country = complete("pm_again"), "DE"
	for i := 2; i < 10; i++ {
		s.goesTo(s.fill(address, "do", "add-card", "code", "135790"))
		_, _ = s.comesBack(bank.opened[i].ReturnURL, nil)
		s.now = s.now.Add(3 * time.Second)
	}
	r, body = s.fill(address, "do", "add-card", "code", "135790")
	wantStatus(t, r, http.StatusTooManyRequests)
	wantText(t, body, "Trop de cartes ont été essayées")
	s.now = s.now.Add(25 * time.Hour)
	bank.away = true
	r, _ = s.fill(address, "do", "add-card", "code", "135790")
	wantStatus(t, r, http.StatusServiceUnavailable)
	bank.away = false
	s.goesTo(s.fill(address, "do", "add-card", "code", "135790"))
}

func TestBadFormsOfAnAccount(t *testing.T) {
	s, bank := newSite(t), &issuer{page: complete("pm_one")}
	s.takeCards(bank, func(*payments.Config) {})
	other := s.another()
	foreign, err := s.service.AddCard(t.Context(), other, "pm_foreign", "test")
	must(t, err)
	_, err = s.service.AddCard(t.Context(), "c-000001", "pm_own", "test")
	must(t, err)
	address := s.account("c-000001")
	_, body := s.get(address)
	stamp := stampOf(t, body)
	_, body = s.get(s.account(other))
	for what, c := range map[string]struct {
		form   url.Values
		status int
		says   string
	}{
		"another customer's card":  {url.Values{"do": {"remove-card"}, "card": {foreign.ID.String()}, "code": {"135790"}, "stamp": {stamp}}, http.StatusUnprocessableEntity, "Choisissez l&#39;une de vos cartes"},
		"a card of nobody":         {url.Values{"do": {"remove-card"}, "card": {"00000000-0000-0000-0000-000000000000"}, "code": {"135790"}, "stamp": {stamp}}, http.StatusUnprocessableEntity, "Choisissez"},
		"a card that is no id":     {url.Values{"do": {"remove-card"}, "card": {"4242 4242 4242 4242"}, "code": {"135790"}, "stamp": {stamp}}, http.StatusUnprocessableEntity, "Choisissez"},
		"another customer's stamp": {url.Values{"do": {"add-card"}, "code": {"135790"}, "stamp": {stampOf(t, body)}}, http.StatusUnprocessableEntity, "trop longtemps"},
		"a changed stamp":          {url.Values{"do": {"add-card"}, "code": {"135790"}, "stamp": {stamp[:len(stamp)-4] + "AAAA"}}, http.StatusUnprocessableEntity, "trop longtemps"},
		"another customer's code":  {url.Values{"do": {"add-card"}, "code": {"864209"}, "stamp": {stamp}}, http.StatusForbidden, "Rien n&#39;a été changé"},
		"no code":                  {url.Values{"do": {"add-card"}, "stamp": {stamp}}, http.StatusUnprocessableEntity, "6 chiffres"},
		"nothing":                  {url.Values{"stamp": {stamp}}, http.StatusUnprocessableEntity, "pas pu être lu"},
		"10 MB":                    {url.Values{"do": {strings.Repeat("x", 10<<20)}, "stamp": {stamp}}, http.StatusRequestEntityTooLarge, "pas pu être lu"},
	} {
		r, body := s.post(address, c.form)
		if r.StatusCode != c.status || !strings.Contains(body, c.says) || strings.Contains(body, "4242 4242") {
			t.Errorf("%s: %d, %.3000s", what, r.StatusCode, body)
		}
	}
	kept, err := s.service.Customer(t.Context(), other)
	must(t, err)
	must(t, s.service.Engine().DB().Read(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		cards, err := payments.CardsOf(ctx, tx, kept.ID)
		if len(cards) != 1 || cards[0].State != payments.CardActive {
			t.Errorf("the other customer's cards are %+v", cards)
		}
		return err
	}))
	if told := s.history("c-000001"); strings.Count(told, "form_forged") != 2 {
		t.Errorf("the history says\n%s", told)
	}
	r, _ := s.post(address, url.Values{"do": {"add-card"}, "code": {"135790"}, "stamp": {stamp}}, "Origin", "https://evil.test")
	wantStatus(t, r, http.StatusForbidden)
	if len(bank.opened) != 0 {
		t.Errorf("%d pages were opened", len(bank.opened))
	}

	// Addresses of return that were never given out, and cookies that lead elsewhere.
	s.goesTo(s.fill(address, "do", "add-card", "code", "135790"))
	back := bank.opened[0].ReturnURL
	for _, tampered := range []string{back[:len(back)-1], back[:len(back)-2] + "AA", "https://pay.test/card-return/" + strings.Repeat("A", 43)} {
		r, _ = s.comesBack(tampered, nil)
		wantStatus(t, r, http.StatusNotFound)
	}
	for _, path := range []string{"//evil.test/" + strings.Repeat("A", 43), "/account/../" + strings.Repeat("A", 43), "/account/short"} {
		r, body = s.comesBack(back, []*http.Cookie{{Name: "__Host-tweetledger-card", Value: path}})
		wantStatus(t, r, http.StatusOK)
		wantText(t, body, "Revenez à la page")
	}
	for _, gone := range []string{"https://pay.test/account/nothing", "https://pay.test/account/" + strings.Repeat("A", 43)} {
		r, _ = s.get(gone)
		wantStatus(t, r, http.StatusNotFound)
	}
	s.account("c-000001") // a new address ends the one before
	r, _ = s.get(address)
	wantStatus(t, r, http.StatusNotFound)
}

// TestOpenAnAccountWithACard leads somebody to whom a card is asked for through the whole
// enrolment, and somebody else who gives up behind the card.
func TestOpenAnAccountWithACard(t *testing.T) {
	s, bank := newSite(t), &issuer{page: complete("pm_first")}
	s.takeCards(bank, func(c *payments.Config) { c.Enrolment.CardRequired = true })
	begin := func(phone string) string {
		address := s.goesTo(s.fill(enrolPage, "name", "Chloé Bernard", "phone", phone))
		s.goesTo(s.fill(address, "do", "code", "code", s.code()))
		return address
	}
	address := begin("0612345690")
	_, body := s.get(address)
	wantText(t, body, "Votre carte de paiement", "nous ne le voyons jamais", "Enregistrer une carte")
	r, body := s.fill(address, "do", "card")
	wantStatus(t, r, http.StatusForbidden)
	wantText(t, body, "Nous ne voyons pas encore de carte")
	bank.country = "BE"
	began, _ := s.fill(address, "do", "add-card")
	s.goesTo(began, "")
	r, _ = s.comesBack(bank.opened[0].ReturnURL, began.Cookies())
	if to := s.goesTo(r, ""); to != address {
		t.Errorf("sent to %s", to)
	}
	_, body = s.get(address)
	wantText(t, body, "émise à l&#39;étranger (BE)", "Enregistrer une carte")
	bank.country, bank.page = "FR", complete("pm_second")
	s.now = s.now.Add(time.Minute)
	s.goesTo(s.fill(address, "do", "add-card"))
	must(t, s.service.HeardOf(t.Context(), "", "cs_2")) // the webhook comes, the person does not
	s.sweepCards()
	_, body = s.get(address)
	wantText(t, body, "Choisissez votre code secret")
	s.goesTo(s.fill(address, "do", "secret", "code", "864209", "repeat", "864209"))
	_, body = s.get(address)
	wantText(t, body, "Bienvenue", "Mes cartes")
	own := s.goesTo(s.fill(address, "do", "account"))
	_, body = s.get(own)
	wantText(t, body, "c-000002", "visa •••• 4242")

	bank.page = complete("pm_third")
	address = begin("0612345691")
	s.goesTo(s.fill(address, "do", "add-card"))
	_, _ = s.comesBack(bank.opened[2].ReturnURL, nil)
	s.now = s.now.Add(25 * time.Hour)
	_, err := s.service.ExpireEnrolments(t.Context(), 10)
	must(t, err)
	s.sweepCards()
	if strings.Join(bank.forgotten, " ") != "pm_first pm_third" {
		t.Errorf("the processor was told to forget %v", bank.forgotten)
	}
}

func TestCashOutOnThePage(t *testing.T) {
	s := newSite(t)
	address := s.account("c-000001")
	_, body := s.get(address)
	wantText(t, body, "Mon compte bancaire", "dans la zone SEPA")
	if strings.Contains(body, "Enregistrer une carte") || strings.Contains(body, "Récupérer mon argent") {
		t.Errorf("the page offers what cannot be done:\n%s", body)
	}
	for iban, says := range map[string]string{"FR7630006000011234567890188": "Cet IBAN n&#39;est pas valable", "BR1800360305000010009795493C1": "zone SEPA", "": "IBAN"} {
		r, body := s.fill(address, "do", "bank", "iban", iban, "code", "135790")
		wantStatus(t, r, http.StatusUnprocessableEntity)
		wantText(t, body, says)
	}
	r, _ := s.fill(address, "do", "bank", "iban", "FR76 3000 6000 0112 3456 7890 189", "code", "000000")
	wantStatus(t, r, http.StatusForbidden)
	s.goesTo(s.fill(address, "do", "bank", "iban", "fr76 3000 6000 0112 3456 7890 189", "code", "135790"))
	_, body = s.get(address)
	wantText(t, body, "FR76 … 0189", "Récupérer mon argent")
	if strings.Contains(body, "FR7630006000011234567890189") {
		t.Error("who only has the address sees the whole IBAN")
	}

	for amount, status := range map[string]int{"much": http.StatusUnprocessableEntity, "-1": http.StatusUnprocessableEntity, "0": http.StatusUnprocessableEntity, "1e3": http.StatusUnprocessableEntity, "99999999": http.StatusUnprocessableEntity} {
		r, body := s.fill(address, "do", "cash-out", "amount", amount)
		wantStatus(t, r, status)
		wantText(t, body, "Entrez un montant")
	}
	r, body = s.fill(address, "do", "cash-out", "amount", "20,50 €")
	wantStatus(t, r, http.StatusOK)
	wantText(t, body, "Confirmez le virement", "20,50\u00a0€", "FR7630006000011234567890189")
	confirm := url.Values{"stamp": {stampOf(t, body)}, "do": {"confirm-cash-out"}, "amount": {"20.50"}, "code": {"135790"}}
	with := func(name, value string) url.Values {
		form := url.Values{}
		for k, v := range confirm {
			form[k] = v
		}
		form.Set(name, value)
		return form
	}
	_, account := s.get(address)
	for what, c := range map[string]struct {
		form   url.Values
		status int
	}{
		"another amount":    {with("amount", "200.50"), http.StatusUnprocessableEntity},
		"the page's stamp":  {with("stamp", stampOf(t, account)), http.StatusUnprocessableEntity},
		"another code":      {with("code", "135791"), http.StatusForbidden},
		"no code":           {with("code", ""), http.StatusUnprocessableEntity},
		"no amount at all":  {with("amount", ""), http.StatusUnprocessableEntity},
		"more digits still": {with("amount", "20.505"), http.StatusUnprocessableEntity},
	} {
		if r, body := s.post(address, c.form); r.StatusCode != c.status {
			t.Errorf("%s: %d, %.2000s", what, r.StatusCode, body)
		}
	}
	if has := s.wallet(); has != 500_00 {
		t.Fatalf("the wallet has %d", has)
	}
	for range 2 {
		s.goesTo(s.post(address, confirm))
	}
	if has := s.wallet(); has != 479_50 {
		t.Errorf("the wallet has %d", has)
	}
	r, body = s.fill(address, "do", "bank", "iban", "DE89370400440532013000", "code", "135790")
	wantStatus(t, r, http.StatusConflict)
	wantText(t, body, "Un virement est en cours")
	_, body = s.fill(address, "do", "cash-out", "amount", "479.51")
	r, body = s.post(address, url.Values{"stamp": {stampOf(t, body)}, "do": {"confirm-cash-out"}, "amount": {"479.51"}, "code": {"135790"}})
	wantStatus(t, r, http.StatusPaymentRequired)
	wantText(t, body, "n&#39;a pas autant d&#39;argent")
	for range 9 {
		s.now = s.now.Add(time.Second)
		_, body = s.fill(address, "do", "cash-out", "amount", "1")
		s.goesTo(s.post(address, url.Values{"stamp": {stampOf(t, body)}, "do": {"confirm-cash-out"}, "amount": {"1.00"}, "code": {"135790"}}))
	}
	_, body = s.fill(address, "do", "cash-out", "amount", "1")
	r, body = s.post(address, url.Values{"stamp": {stampOf(t, body)}, "do": {"confirm-cash-out"}, "amount": {"1.00"}, "code": {"135790"}})
	wantStatus(t, r, http.StatusTooManyRequests)
	wantText(t, body, "trop de virements")
}

// wallet returns what the customer has.
func (s *site) wallet() (has ledger.Amount) {
	s.t.Helper()
	must(s.t, s.service.Engine().DB().Read(s.t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		b, err := engine.FindBalance(ctx, tx, ledger.SystemAccountID(payments.WalletCode("c-000001")))
		has = b.Posted()
		return err
	}))
	return has
}
