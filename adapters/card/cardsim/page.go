package cardsim

import (
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The page on which a cardholder enters a card: here, chooses one of the simulator's.

// maxPages bounds the pages that are remembered.
const maxPages = 200_000

// The least and the most that a page may be open. Source: Stripe API, Checkout Sessions,
// expires_at.
const (
	leastPageTerm = 30 * time.Minute
	mostPageTerm  = 24 * time.Hour
)

// The states of a page. Source: Stripe API, Checkout Sessions, status.
const (
	pageOpen     = "open"
	pageComplete = "complete"
	pageExpired  = "expired"
)

// cardPage is a Checkout session in setup mode.
type cardPage struct {
	id, status, returnURL, language string
	expires                         time.Time
	token                           string // of the card, once complete
	challenged                      string // of the card whose cardholder is to authenticate
}

// testCard is a card that can be chosen on the page.
type testCard struct{ Behaviour, Label string }

func testCards() []testCard {
	return []testCard{
		{"ok", "FR, est débitée / is charged"},
		{"challenge", "FR, 3-D Secure"},
		{"declined", "FR, refusée par sa banque / declined by its bank"},
		{"ok_de", "DE, émise à l'étranger / issued abroad"},
		{"funds", "FR, sans provision / without funds"},
	}
}

func (s *Server) openPage(r *http.Request) (int, any) {
	seconds, err := strconv.ParseInt(r.PostForm.Get("expires_at"), 10, 64)
	now, expires := s.opts.Clock(), time.Unix(seconds, 0)
	back, backErr := url.Parse(r.PostForm.Get("success_url"))
	switch {
	case r.PostForm.Get("mode") != "setup" || r.PostForm.Get("customer_creation") != "always":
		return http.StatusBadRequest, invalid("this simulator only knows sessions in setup mode that create a customer")
	case err != nil || expires.Before(now.Add(leastPageTerm)) || expires.After(now.Add(mostPageTerm)):
		return http.StatusBadRequest, invalid("The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation")
	case backErr != nil || back.Host == "":
		return http.StatusBadRequest, invalid("Not a valid URL")
	case len(s.pages) >= maxPages:
		return http.StatusServiceUnavailable, failure("api_error", "", "", "the simulator is full", nil)
	}
	p := &cardPage{id: s.name("cs"), status: pageOpen, returnURL: back.String(), language: r.PostForm.Get("locale"), expires: expires}
	s.pages[p.id] = p
	return http.StatusOK, s.shownPage(p)
}

// current returns a page, which ends by itself once its time is over; the server is locked.
func (s *Server) current(id string) (*cardPage, bool) {
	p, ok := s.pages[id]
	if ok && p.status == pageOpen && !s.opts.Clock().Before(p.expires) {
		s.closePage(p)
	}
	return p, ok
}

func (s *Server) closePage(p *cardPage) {
	p.status = pageExpired
	s.deliver("checkout.session.expired", s.shownPage(p))
}

func (s *Server) shownPage(p *cardPage) map[string]any {
	out := map[string]any{"id": p.id, "object": "checkout.session", "mode": "setup", "status": p.status, "expires_at": p.expires.Unix(), "url": nil, "setup_intent": nil}
	if p.status == pageOpen {
		out["url"] = s.opts.URL() + "/pay/" + p.id
	}
	if p.token != "" {
		out["customer"] = holder(p.token)
		out["setup_intent"] = map[string]any{"id": "seti_" + strings.TrimPrefix(p.id, "cs_"), "object": "setup_intent", "status": statusSucceeded, "payment_method": p.token}
	}
	return out
}

func (s *Server) getPage(r *http.Request) (int, any) {
	p, ok := s.current(r.PathValue("id"))
	if !ok {
		return http.StatusNotFound, failure("invalid_request_error", "resource_missing", "", "No such checkout.session", nil)
	}
	return http.StatusOK, s.shownPage(p)
}

func (s *Server) expirePage(r *http.Request) (int, any) {
	p, ok := s.current(r.PathValue("id"))
	switch {
	case !ok:
		return http.StatusNotFound, failure("invalid_request_error", "resource_missing", "", "No such checkout.session", nil)
	case p.status != pageOpen:
		return http.StatusBadRequest, invalid("Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session has a status of %s.", p.status)
	}
	s.closePage(p)
	return http.StatusOK, s.shownPage(p)
}

// detach takes a card from its customer: it is charged no more.
func (s *Server) detach(r *http.Request) (int, any) {
	c, ok := parseToken(r.PathValue("id"))
	switch {
	case !ok:
		return http.StatusNotFound, failure("invalid_request_error", "resource_missing", "", "No such PaymentMethod", nil)
	case s.forgotten[c.token]:
		return http.StatusBadRequest, invalid("The payment method you provided is not attached to a customer so detachment is impossible.")
	}
	s.forgotten[c.token] = true
	return http.StatusOK, s.shownCard(c)
}

// Forgotten returns the tokens of the cards that were detached, in order.
func (s *Server) Forgotten() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]string, 0, len(s.forgotten))
	for token := range s.forgotten {
		list = append(list, token)
	}
	slices.Sort(list)
	return list
}

// cardPageHTML is the page. What is chosen is a behaviour: there are no numbers here.
const cardPageHTML = `<!doctype html><html lang="fr"><meta charset="utf-8"><title>Carte / Card</title>
<h1>Votre carte / Your card</h1>
{{with .Problem}}<p role="alert">{{.}}</p>{{end}}
{{if .Challenged}}<p>3-D Secure</p>
<form method="post"><button name="answer" value="approve">Approuver / Approve</button> <button name="answer" value="refuse">Refuser / Refuse</button></form>
{{else}}<form method="post">{{range .Cards}}<p><button name="card" value="{{.Behaviour}}">{{.Behaviour}}: {{.Label}}</button></p>
{{end}}</form>{{end}}
<p><a href="{{.Back}}">Annuler / Cancel</a></p>
</html>
`

func (s *Server) cardPage(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	p, ok := s.current(r.PathValue("id"))
	open := ok && p.status == pageOpen
	var shown cardPage
	if open {
		shown = *p
	}
	s.mu.Unlock()
	if !open {
		http.Error(w, "this page is over", http.StatusNotFound)
		return
	}
	showCardPage(w, http.StatusOK, shown, "")
}

func showCardPage(w http.ResponseWriter, status int, p cardPage, problem string) {
	page, err := template.New("card").Parse(cardPageHTML)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	w.WriteHeader(status)
	_ = page.Execute(w, map[string]any{"Cards": testCards(), "Problem": problem, "Challenged": p.challenged != "", "Back": p.returnURL}) // whoever hung up misses it
}

func (s *Server) cardPageAnswer(w http.ResponseWriter, r *http.Request) {
	status, p, problem := s.answerPage(r.PathValue("id"), r.FormValue("card"), r.FormValue("answer"))
	switch status {
	case http.StatusSeeOther:
		http.Redirect(w, r, p.returnURL, status)
	case http.StatusNotFound:
		http.Error(w, problem, status)
	default:
		showCardPage(w, status, p, problem)
	}
}

// EnterCard has a cardholder enter a card that behaves in a way on a page, "ok" or
// "ok_de", and authenticate where that is asked for. It reports whether the card was taken.
func (s *Server) EnterCard(page, behaviour string) bool {
	status, p, _ := s.answerPage(page, behaviour, "")
	if p.challenged != "" {
		status, _, _ = s.answerPage(page, "", "approve")
	}
	return status == http.StatusSeeOther
}

// Abandon closes a page as if its time were over.
func (s *Server) Abandon(page string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.current(page); ok && p.status == pageOpen {
		s.closePage(p)
	}
}

// answerPage takes what a cardholder entered, as the cardholder would be answered.
func (s *Server) answerPage(id, behaviour, answer string) (status int, after cardPage, problem string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.current(id)
	if !ok || p.status != pageOpen {
		return http.StatusNotFound, cardPage{}, "this page is over"
	}
	if p.challenged != "" {
		token := p.challenged
		p.challenged = ""
		if answer != "approve" {
			return http.StatusPaymentRequired, *p, "L'authentification a échoué. / Authentication failed."
		}
		return s.complete(p, token)
	}
	c, known := parseToken("pm_sim_" + behaviour + "_" + s.name("card"))
	switch {
	case !known:
		return http.StatusBadRequest, *p, "Choisissez une carte. / Choose a card."
	case c.behaviour == BehaviourDeclined || c.behaviour == BehaviourStolen:
		return http.StatusPaymentRequired, *p, "Votre carte a été refusée. / Your card was declined."
	case c.behaviour == BehaviourChallenge:
		p.challenged = c.token
		return http.StatusOK, *p, ""
	}
	return s.complete(p, c.token)
}

func (s *Server) complete(p *cardPage, token string) (int, cardPage, string) {
	p.status, p.token = pageComplete, token
	s.deliver("checkout.session.completed", s.shownPage(p))
	return http.StatusSeeOther, *p, ""
}
