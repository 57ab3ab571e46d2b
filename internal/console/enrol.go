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

// enrolPages serves the pages on which people become customers, and those on which
// customers prove their mobile number again. No answer tells whether a number is known.
type enrolPages struct {
	stage
	service  *payments.Service
	bank     string
	enrol    string // paths
	verify   string
	location *time.Location
	idle     time.Duration
	links    bool // accounts can be linked here
	trail    trail
}

func newEnrolPages(service *payments.Service, links bool, words *template.Template, log *slog.Logger) (*enrolPages, error) {
	config := service.Config()
	p := &enrolPages{service: service, bank: config.BankName, location: service.Engine().Location(), idle: config.PageIdle, links: links}
	https := false
	for address, path := range map[string]*string{config.EnrolURL(): &p.enrol, config.VerifyURL(): &p.verify} {
		parsed, err := url.Parse(address)
		if err != nil {
			return nil, fmt.Errorf("address of the pages to open an account: %w", err)
		}
		*path, https = parsed.Path, parsed.Scheme == "https"
	}
	p.stage = stage{log: log, template: words, headers: secureHeaders(https, "'self'")}
	p.trail = newTrail(https)
	return p, nil
}

func (p *enrolPages) register(mux *http.ServeMux, origins *http.CrossOriginProtection) {
	enrolment := beginning{stamp: p.service.EnrolStamp, page: p.startPage, begin: p.startEnrolment}
	proof := beginning{stamp: p.service.VerifyStamp, page: p.startProofPage, begin: p.startVerification}
	for path, page := range map[string]struct {
		get, post func(context.Context, http.ResponseWriter, *http.Request)
	}{
		p.enrol:               {p.asking(enrolment), p.beginning(enrolment)},
		p.enrol + "/{token}":  {p.get, p.post},
		p.verify:              {p.asking(proof), p.beginning(proof)},
		p.verify + "/{token}": {p.getProof, p.postProof},
	} {
		mux.Handle("GET "+path, p.respond(page.get))
		mux.Handle("POST "+path, origins.Handler(p.respond(page.post)))
	}
}

// beginning is a page on which something begins with a mobile number.
type beginning struct {
	stamp func() (string, error)
	page  func(l, stamp string, entered url.Values) page
	// begin begins it with what a form says, and returns where it goes on.
	begin func(ctx context.Context, form url.Values, l string) (address string, err error)
}

// asking shows the form with which something begins.
func (p *enrolPages) asking(b beginning) func(context.Context, http.ResponseWriter, *http.Request) {
	return func(ctx context.Context, w http.ResponseWriter, r *http.Request) {
		p.askStart(ctx, w, b, preferred(r), http.StatusOK, url.Values{}, nil)
	}
}

func (p *enrolPages) askStart(ctx context.Context, w http.ResponseWriter, b beginning, l string, status int, entered url.Values, cause error) {
	stamp, err := b.stamp()
	if err != nil {
		p.failed(ctx, w, l, err)
		return
	}
	shown := b.page(l, stamp, entered)
	shown.Problem = enrolProblem(cause, l)
	p.show(ctx, w, status, shown)
}

// beginning begins something; where it goes on says nothing about the number.
func (p *enrolPages) beginning(b beginning) func(context.Context, http.ResponseWriter, *http.Request) {
	return func(ctx context.Context, w http.ResponseWriter, r *http.Request) {
		l := preferred(r)
		if status, err := readForm(w, r); err != nil {
			p.askStart(ctx, w, b, l, status, url.Values{}, err)
			return
		}
		address, err := b.begin(ctx, r.PostForm, l)
		if status, ok := statusOf(err); ok {
			p.askStart(ctx, w, b, l, status, r.PostForm, err)
			return
		}
		if err != nil {
			p.failed(ctx, w, l, err)
			return
		}
		http.Redirect(w, r, address, http.StatusSeeOther)
	}
}

func (p *enrolPages) startEnrolment(ctx context.Context, form url.Values, l string) (string, error) {
	e, err := p.service.StartEnrolment(ctx, payments.StartEnrolmentRequest{Stamp: form.Get("stamp"), Name: strings.TrimSpace(form.Get("name")),
		Phone: form.Get("phone"), Named: form.Get("named") != "", Language: l, Actor: payments.ActorPage})
	if err != nil {
		return "", err
	}
	return p.service.EnrolmentAddress(e.ID), nil
}

func (p *enrolPages) startVerification(ctx context.Context, form url.Values, l string) (string, error) {
	return p.service.StartVerification(ctx, payments.StartVerificationRequest{Stamp: form.Get("stamp"), Phone: form.Get("phone"), Language: l})
}

// readForm reads a form of a bounded size. An error comes with its status.
func readForm(w http.ResponseWriter, r *http.Request) (int, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	err := r.ParseForm()
	if err == nil {
		return http.StatusOK, nil
	}
	status := http.StatusBadRequest
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		status = http.StatusRequestEntityTooLarge
	}
	return status, ledger.Errorf(ledger.CodeInvalid, "the form cannot be read").InField("form")
}

// statusOf returns the status of an error that the person can help, with which the
// form is shown again.
func statusOf(err error) (int, bool) {
	switch ledger.CodeOf(err) {
	case ledger.CodeInvalid:
		return http.StatusUnprocessableEntity, true
	case ledger.CodeForbidden:
		return http.StatusForbidden, true
	case ledger.CodeLimitExceeded:
		return http.StatusTooManyRequests, true
	}
	return 0, false
}

// get shows the next step of an enrolment. It changes nothing.
func (p *enrolPages) get(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	p.ask(ctx, w, r, http.StatusOK, nil)
}

func (p *enrolPages) ask(ctx context.Context, w http.ResponseWriter, r *http.Request, status int, cause error) {
	l := preferred(r)
	found, err := p.service.EnrolmentPage(ctx, r.PathValue("token"))
	if err != nil {
		p.failed(ctx, w, l, err)
		return
	}
	shown := p.stepPage(found, l)
	if shown.Ask != nil && cause != nil {
		shown.Problem = enrolProblem(cause, l)
	}
	p.show(ctx, w, status, shown)
}

// What the forms of an enrolment ask to be done.
const (
	doCode   = "code"
	doResend = "resend"
	doCard   = "card"
	doSecret = "secret"
	doLink   = "link"
	// doAccount leads to the customer's own page; doAddCard to the card processor's.
	doAccount = "account"
)

// post takes a step. What came of it is shown by a GET that a reload repeats without
// harm; so is the step that is due where another one was taken meanwhile.
func (p *enrolPages) post(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	l := preferred(r)
	if status, err := readForm(w, r); err != nil {
		p.ask(ctx, w, r, status, err)
		return
	}
	to, err := p.step(ctx, w, r)
	if status, ok := statusOf(err); ok {
		p.ask(ctx, w, r, status, err)
		return
	}
	if err != nil && ledger.CodeOf(err) != ledger.CodeConflict {
		p.failed(ctx, w, l, err)
		return
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// step does what a form asks for, and returns where to go on.
func (p *enrolPages) step(ctx context.Context, w http.ResponseWriter, r *http.Request) (to string, err error) {
	form := payments.EnrolmentStep{Token: r.PathValue("token"), Stamp: r.PostForm.Get("stamp"), Code: r.PostForm.Get("code"), Actor: payments.ActorPage}
	to = r.URL.EscapedPath()
	switch r.PostForm.Get("do") {
	case doCode:
		_, err = p.service.VerifyEnrolment(ctx, form)
	case doResend:
		err = p.service.ResendCode(ctx, form)
	case doCard:
		_, err = p.service.RegisterCard(ctx, form)
	case doAddCard:
		if _, err = p.service.BeginEnrolmentCard(ctx, form, preferred(r)); err == nil {
			p.trail.leave(w, to)
		}
	case doSecret:
		if form.Code != r.PostForm.Get("repeat") {
			return to, ledger.Errorf(ledger.CodeInvalid, "the two secret codes are not the same").InField("repeat")
		}
		_, err = p.service.FinishEnrolment(ctx, form)
	case doLink:
		to, err = address(p.service.InviteEnrolled(ctx, form))
	case doAccount:
		to, err = address(p.service.InviteEnrolledToAccount(ctx, form))
	default:
		err = ledger.Errorf(ledger.CodeInvalid, "the form asks for nothing").InField("form")
	}
	return to, err
}

// address returns where an invitation leads.
func address(i payments.Invitation, err error) (string, error) { return i.Address, err }

func (p *enrolPages) getProof(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	p.askProof(ctx, w, r, http.StatusOK, nil)
}

func (p *enrolPages) askProof(ctx context.Context, w http.ResponseWriter, r *http.Request, status int, cause error) {
	l := preferred(r)
	found, err := p.service.VerificationPage(ctx, r.PathValue("token"))
	if err != nil {
		p.failed(ctx, w, l, err)
		return
	}
	shown := p.proofPage(found, l)
	if shown.Ask != nil {
		shown.Problem = enrolProblem(cause, l)
	}
	p.show(ctx, w, status, shown)
}

func (p *enrolPages) postProof(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	if status, err := readForm(w, r); err != nil {
		p.askProof(ctx, w, r, status, err)
		return
	}
	err := p.service.Verify(ctx, payments.VerifyRequest{Token: r.PathValue("token"), Stamp: r.PostForm.Get("stamp"), Code: r.PostForm.Get("code")})
	if status, ok := statusOf(err); ok {
		p.askProof(ctx, w, r, status, err)
		return
	}
	if err != nil {
		p.failed(ctx, w, preferred(r), err)
		return
	}
	http.Redirect(w, r, r.URL.EscapedPath(), http.StatusSeeOther)
}

// failed answers what the person cannot help, or that there is nothing here.
func (p *enrolPages) failed(ctx context.Context, w http.ResponseWriter, l string, err error) {
	if ledger.CodeOf(err) == ledger.CodeNotFound {
		p.show(ctx, w, http.StatusNotFound, nothingBegunPage(p.bank, l))
		return
	}
	p.log.ErrorContext(ctx, "page to open an account failed", "error", err)
	p.show(ctx, w, http.StatusServiceUnavailable, brokenPage(p.bank))
}
