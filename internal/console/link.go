package console

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// Identifier knows a channel's own page on which people say which account is
// theirs (OAuth 2.0 with PKCE).
type Identifier interface {
	// AuthorizeURL returns the address of that page for one visit.
	AuthorizeURL(state, verifier string) string
	// Identify returns who has said yes there. A code that the channel does not take
	// is CodeForbidden.
	Identify(ctx context.Context, code, verifier string) (payments.Identity, error)
}

// maxCallback bounds what comes back from the channel in an address, in bytes: X's
// codes have about 130.
const maxCallback = 2048

// linkPages serves the pages on which customers link accounts.
type linkPages struct {
	stage
	service    *payments.Service
	identifier Identifier
	bank       string
	path       string // of the pages
	cookie     string // its name
	https      bool
	location   *time.Location
	idle       time.Duration
}

func newLinkPages(service *payments.Service, identifier Identifier, words *template.Template, log *slog.Logger) (*linkPages, error) {
	config := service.Config()
	address, err := url.Parse(config.LinkURL())
	if err != nil {
		return nil, fmt.Errorf("address of the pages to link accounts: %w", err)
	}
	channel, err := url.Parse(identifier.AuthorizeURL("", ""))
	if err != nil {
		return nil, fmt.Errorf("address of the channel's page: %w", err)
	}
	p := &linkPages{service: service, identifier: identifier, bank: config.BankName, path: address.Path, cookie: "tweetledger-link",
		https: address.Scheme == "https", location: service.Engine().Location(), idle: config.PageIdle}
	if p.https { // then no other host or path can set it
		p.cookie = "__Host-" + p.cookie
	}
	// Browsers ask the policy also where a form's answer sends them to.
	p.stage = stage{log: log, template: words, headers: secureHeaders(p.https, "'self' "+channel.Scheme+"://"+channel.Host)}
	return p, nil
}

func (p *linkPages) register(mux *http.ServeMux, origins *http.CrossOriginProtection) {
	mux.Handle("GET "+p.path+"/{token}", p.respond(p.get))
	mux.Handle("POST "+p.path+"/{token}", origins.Handler(p.respond(p.post)))
	mux.Handle("GET "+p.path+"/callback", p.respond(p.callback))
}

// get shows the customer's account. It changes nothing.
func (p *linkPages) get(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	p.ask(ctx, w, r, http.StatusOK, "")
}

// ask shows the form, with a problem where there is one.
func (p *linkPages) ask(ctx context.Context, w http.ResponseWriter, r *http.Request, status int, problem string) {
	l := preferred(r)
	found, err := p.service.LinkPage(ctx, r.PathValue("token"))
	if err != nil {
		p.failed(ctx, w, l, err)
		return
	}
	shown := p.pageOf(found, l)
	shown.Problem = problem
	p.show(ctx, w, status, shown)
}

// post takes the code, and sends who knows it to the channel's page.
func (p *linkPages) post(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	l := preferred(r)
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		status := http.StatusBadRequest
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			status = http.StatusRequestEntityTooLarge
		}
		p.ask(ctx, w, r, status, linkProblem(ledger.CodeInvalid, "", l))
		return
	}
	visit, err := p.service.BeginLink(ctx, payments.BeginLinkRequest{Token: r.PathValue("token"), Stamp: r.PostForm.Get("stamp"), Code: r.PostForm.Get("code")})
	switch code := ledger.CodeOf(err); {
	case err == nil:
		p.setCookie(w, visit.Browser, visit.Term)
		http.Redirect(w, r, p.identifier.AuthorizeURL(visit.State, visit.Verifier), http.StatusSeeOther)
	case code == ledger.CodeInvalid:
		p.ask(ctx, w, r, http.StatusUnprocessableEntity, linkProblem(code, fieldOf(err), l))
	case code == ledger.CodeForbidden:
		p.ask(ctx, w, r, http.StatusForbidden, linkProblem(code, "", l))
	default:
		p.failed(ctx, w, l, err)
	}
}

// callback ends the visit to the channel's page. The address is good once, and
// only in the browser that began.
func (p *linkPages) callback(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	l := preferred(r)
	p.setCookie(w, "", 0)
	q := r.URL.Query()
	if len(r.URL.RawQuery) > maxCallback {
		p.show(ctx, w, http.StatusBadRequest, visitOverPage(p.bank, l))
		return
	}
	browser := ""
	if cookie, err := r.Cookie(p.cookie); err == nil {
		browser = cookie.Value
	}
	back, err := p.service.EndVisit(ctx, q.Get("state"), browser)
	if ledger.CodeOf(err) == ledger.CodeNotFound {
		p.show(ctx, w, http.StatusNotFound, visitOverPage(p.bank, l))
		return
	}
	if err != nil {
		p.failed(ctx, w, l, err)
		return
	}
	if q.Get("error") != "" || q.Get("code") == "" {
		p.show(ctx, w, http.StatusOK, notAllowedPage(p.bank, l))
		return
	}
	who, err := p.identifier.Identify(ctx, q.Get("code"), back.Verifier)
	if ledger.CodeOf(err) == ledger.CodeForbidden {
		p.log.WarnContext(ctx, "the channel did not take the code of a visit", "error", err)
		p.show(ctx, w, http.StatusForbidden, visitOverPage(p.bank, l))
		return
	}
	if err != nil {
		p.failed(ctx, w, l, err)
		return
	}
	linked, err := p.service.FinishLink(ctx, back, who)
	switch ledger.CodeOf(err) {
	case "":
		if err != nil {
			p.failed(ctx, w, l, err)
			return
		}
		p.show(ctx, w, http.StatusOK, linkedPage(p.bank, linked, l))
	case ledger.CodeConflict:
		p.log.WarnContext(ctx, "account not linked", "error", err)
		p.show(ctx, w, http.StatusConflict, takenPage(p.bank, who, l))
	default:
		p.failed(ctx, w, l, err)
	}
}

// failed answers what the customer cannot help, or that there is nothing here.
func (p *linkPages) failed(ctx context.Context, w http.ResponseWriter, l string, err error) {
	if ledger.CodeOf(err) == ledger.CodeNotFound {
		p.show(ctx, w, http.StatusNotFound, noInvitationPage(p.bank, l))
		return
	}
	p.log.ErrorContext(ctx, "page to link an account failed", "error", err)
	p.show(ctx, w, http.StatusServiceUnavailable, brokenPage(p.bank))
}

// setCookie binds a visit to this browser for a time; 0 forgets it.
func (p *linkPages) setCookie(w http.ResponseWriter, value string, term time.Duration) {
	age := int(term.Seconds())
	if age == 0 {
		age = -1
	}
	// Lax: the channel sends the customer back by a link.
	http.SetCookie(w, &http.Cookie{Name: p.cookie, Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: p.https, SameSite: http.SameSiteLaxMode})
}

// preferred returns the language to speak: French, unless the browser's first
// choice is English.
func preferred(r *http.Request) string {
	if strings.HasPrefix(strings.ToLower(r.Header.Get("Accept-Language")), payments.English) {
		return payments.English
	}
	return payments.French
}

func fieldOf(err error) string {
	if e, ok := errors.AsType[*ledger.Error](err); ok {
		return e.Field
	}
	return ""
}
