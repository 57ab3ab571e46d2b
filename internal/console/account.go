package console

import (
	"context"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// accountPages serves a customer's own page, and takes back who was sent to the card
// processor's page from there or from an enrolment.
type accountPages struct {
	stage
	service  *payments.Service
	bank     string
	path     string // of the pages
	enrol    string // of the pages of enrolments
	back     string // where the card processor sends people
	trail    trail
	location *time.Location
	idle     time.Duration
}

// trail is a cookie that tells, when the card processor sends somebody back, which page
// the visit began on: the addresses of pages are secrets that the processor is not told.
type trail struct {
	name  string
	https bool
}

func newTrail(https bool) trail {
	t := trail{name: "tweetledger-card", https: https}
	if https { // then no other host or path can set it
		t.name = "__Host-" + t.name
	}
	return t
}

// maxVisit is how long a visit to the card processor's page takes at most.
const maxVisit = time.Hour

// leave marks the page that a visit begins on; an empty one forgets it.
func (t trail) leave(w http.ResponseWriter, path string) {
	age := int(maxVisit.Seconds())
	if path == "" {
		age = -1
	}
	// Lax: the processor sends the customer back by a link.
	http.SetCookie(w, &http.Cookie{Name: t.name, Value: path, Path: "/", MaxAge: age, HttpOnly: true, Secure: t.https, SameSite: http.SameSiteLaxMode})
}

// secretPattern is what the secret part of an address looks like.
var secretPattern = regexp.MustCompile(`^[0-9A-Za-z_-]{43}$`)

// follow returns the page that a visit began on, where the browser knows it and it is
// under one of the given paths.
func (t trail) follow(r *http.Request, paths ...string) (string, bool) {
	cookie, err := r.Cookie(t.name)
	if err != nil {
		return "", false
	}
	for _, path := range paths {
		if secret, ok := strings.CutPrefix(cookie.Value, path+"/"); ok && secretPattern.MatchString(secret) {
			return cookie.Value, true
		}
	}
	return "", false
}

func newAccountPages(service *payments.Service, words *template.Template, log *slog.Logger) (*accountPages, error) {
	config := service.Config()
	p := &accountPages{service: service, bank: config.BankName, location: service.Engine().Location(), idle: config.PageIdle}
	https := false
	for address, path := range map[string]*string{config.AccountURL(): &p.path, config.EnrolURL(): &p.enrol, config.CardReturnURL(): &p.back} {
		parsed, err := url.Parse(address)
		if err != nil {
			return nil, fmt.Errorf("address of customers' own pages: %w", err)
		}
		*path, https = parsed.Path, parsed.Scheme == "https"
	}
	p.stage, p.trail = stage{log: log, template: words, headers: secureHeaders(https, "'self'")}, newTrail(https)
	return p, nil
}

func (p *accountPages) register(mux *http.ServeMux, origins *http.CrossOriginProtection) {
	mux.Handle("GET "+p.path+"/{token}", p.respond(p.get))
	mux.Handle("POST "+p.path+"/{token}", origins.Handler(p.respond(p.post)))
	mux.Handle("GET "+p.back+"/{token}", p.respond(p.comeBack))
}

// get shows the customer's account. It changes nothing.
func (p *accountPages) get(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	p.ask(ctx, w, r, http.StatusOK, nil)
}

func (p *accountPages) ask(ctx context.Context, w http.ResponseWriter, r *http.Request, status int, cause error) {
	l := preferred(r)
	found, err := p.service.AccountPage(ctx, r.PathValue("token"))
	if err != nil {
		p.failed(ctx, w, l, err)
		return
	}
	shown := p.accountPage(found, l)
	if cause != nil {
		shown.Problem = accountProblem(cause, l)
	}
	p.show(ctx, w, status, shown)
}

// What the forms of a customer's own page ask to be done.
const (
	doAddCard    = "add-card"
	doRemoveCard = "remove-card"
	doBank       = "bank"
	doCashOut    = "cash-out" // asks for the code, for this amount to this bank account
	doConfirm    = "confirm-cash-out"
)

// post does what a form asks for. What came of it is shown by a GET that a reload repeats
// without harm.
func (p *accountPages) post(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	if status, err := readForm(w, r); err != nil {
		p.ask(ctx, w, r, status, err)
		return
	}
	form := payments.AccountStep{Token: r.PathValue("token"), Stamp: r.PostForm.Get("stamp"), Code: r.PostForm.Get("code"), Language: preferred(r)}
	var err error
	switch r.PostForm.Get("do") {
	case doAddCard:
		if _, err = p.service.BeginOwnCard(ctx, form); err == nil {
			p.trail.leave(w, r.URL.EscapedPath())
		}
	case doRemoveCard:
		card, parseErr := uuid.Parse(r.PostForm.Get("card"))
		if err = ledger.Errorf(ledger.CodeInvalid, "no card is chosen").InField("card"); parseErr == nil {
			_, err = p.service.RemoveOwnCard(ctx, form, card)
		}
	case doBank:
		_, err = p.service.SetOwnBank(ctx, form, r.PostForm.Get("iban"))
	case doCashOut:
		var confirm payments.CashOutPage
		var amount ledger.Amount
		if amount, err = p.amount(r); err == nil {
			confirm, err = p.service.AskCashOut(ctx, form, amount)
		}
		if err == nil {
			p.show(ctx, w, http.StatusOK, p.confirmCashOutPage(confirm, preferred(r)))
			return
		}
	case doConfirm:
		var amount ledger.Amount
		if amount, err = p.amount(r); err == nil {
			_, err = p.service.ConfirmCashOut(ctx, form, amount)
		}
	default:
		err = ledger.Errorf(ledger.CodeInvalid, "the form asks for nothing").InField("form")
	}
	if status, ok := accountStatus(err); ok {
		p.ask(ctx, w, r, status, err)
		return
	}
	if err != nil {
		p.failed(ctx, w, preferred(r), err)
		return
	}
	http.Redirect(w, r, r.URL.EscapedPath(), http.StatusSeeOther)
}

// accountStatus is statusOf for what the customer's own page has beside.
func accountStatus(err error) (int, bool) {
	switch ledger.CodeOf(err) {
	case ledger.CodeInsufficientFunds:
		return http.StatusPaymentRequired, true
	case ledger.CodeConflict:
		return http.StatusConflict, true
	}
	return statusOf(err)
}

// amount reads an amount as people write it: "20", "20,50" or "20.50".
func (p *accountPages) amount(r *http.Request) (ledger.Amount, error) {
	text := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(r.PostForm.Get("amount")), "€"))
	amount, err := ledger.ParseAmount(strings.Replace(text, ",", ".", 1), p.service.Config().Currency)
	if err != nil {
		return 0, ledger.Errorf(ledger.CodeInvalid, "this is no amount").InField("amount")
	}
	return amount, nil
}

// comeBack takes back who was at the card processor's page: it is asked what became of
// that, and nothing in the address is believed. Coming back twice changes nothing.
func (p *accountPages) comeBack(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	l := preferred(r)
	if _, err := p.service.ComeBackWithCard(ctx, r.PathValue("token")); err != nil {
		p.failed(ctx, w, l, err)
		return
	}
	page, ok := p.trail.follow(r, p.path, p.enrol)
	if !ok { // another browser: who is there must not learn the address of the page
		p.show(ctx, w, http.StatusOK, cameBackPage(p.bank, l))
		return
	}
	p.trail.leave(w, "")
	http.Redirect(w, r, page, http.StatusSeeOther)
}

// failed answers what the customer cannot help, or that there is nothing here.
func (p *accountPages) failed(ctx context.Context, w http.ResponseWriter, l string, err error) {
	if ledger.CodeOf(err) == ledger.CodeNotFound {
		p.show(ctx, w, http.StatusNotFound, noAccountPage(p.bank, l))
		return
	}
	p.log.ErrorContext(ctx, "page of a customer's account failed", "error", err)
	p.show(ctx, w, http.StatusServiceUnavailable, brokenPage(p.bank))
}
