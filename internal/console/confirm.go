package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // the page and its style
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

//go:embed page/page.html
var pageHTML string

//go:embed page/style.css
var styleCSS string

// Bounds of a request.
const (
	maxForm = 4 << 10 // a stamp, and a name in its longest encoding
	// handleTimeout bounds a request, waiting for a turn to hash included.
	handleTimeout = 20 * time.Second
)

// stage is what all pages have: words in a template, and headers around them.
type stage struct {
	log      *slog.Logger
	template *template.Template
	headers  http.Header
}

// confirmPages serves the confirmation pages.
type confirmPages struct {
	stage
	service  *payments.Service
	bank     string
	location *time.Location
	idle     time.Duration
}

// New returns the handler of all pages. The confirmation pages are under the path
// of the service's PageURL, and those on which customers link accounts under that
// of its LinkURL, where there is an identifier. Under EnrolURL people become customers,
// and under VerifyURL customers prove their number;
// under AccountURL they see their own accounts. The error says what is wrong with
// the configuration.
func New(service *payments.Service, identifier Identifier, log *slog.Logger) (http.Handler, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	config := service.Config()
	address, err := url.Parse(config.PageURL)
	if err != nil {
		return nil, fmt.Errorf("address of the confirmation pages: %w", err)
	}
	parsed, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return nil, fmt.Errorf("template of the pages: %w", err)
	}
	p := &confirmPages{stage: stage{log: log, template: parsed, headers: secureHeaders(address.Scheme == "https", "'self'")},
		service: service, bank: config.BankName, location: service.Engine().Location(), idle: config.PageIdle}
	// A browser names the origin of every form that it sends. There is no cookie
	// and no session here that another site could borrow; a form must come back
	// with the stamp of a page that we have shown.
	origins := http.NewCrossOriginProtection()
	if err := origins.AddTrustedOrigin(address.Scheme + "://" + address.Host); err != nil {
		return nil, fmt.Errorf("address of the confirmation pages: %w", err)
	}
	origins.SetDenyHandler(p.respond(func(ctx context.Context, w http.ResponseWriter, r *http.Request) {
		p.log.WarnContext(ctx, "form from another site refused", "origin", r.Header.Get("Origin"))
		p.show(ctx, w, http.StatusForbidden, unknownPage(p.bank))
	}))
	mux := http.NewServeMux()
	mux.Handle("GET "+address.Path+"/{token}", p.respond(p.get))
	mux.Handle("POST "+address.Path+"/{token}", origins.Handler(p.respond(p.post)))
	enrolling, err := newEnrolPages(service, identifier != nil, parsed, log)
	if err != nil {
		return nil, err
	}
	enrolling.register(mux, origins)
	accounts, err := newAccountPages(service, parsed, log)
	if err != nil {
		return nil, err
	}
	accounts.register(mux, origins)
	if identifier == nil {
		return mux, nil
	}
	links, err := newLinkPages(service, identifier, parsed, log)
	if err != nil {
		return nil, err
	}
	links.register(mux, origins)
	return mux, nil
}

// secureHeaders keeps the page out of caches, frames and referrers, and lets it
// load nothing but its own style. Its forms may lead where formAction says.
func secureHeaders(https bool, formAction string) http.Header {
	hash := sha256.Sum256([]byte(styleCSS))
	h := http.Header{}
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(hash[:])+
		"'; form-action "+formAction+"; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()")
	// The address is a secret. "no-referrer" would make browsers send forms without
	// their origin, too.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Robots-Tag", "noindex")
	if https {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	return h
}

func (p *stage) respond(fn func(ctx context.Context, w http.ResponseWriter, r *http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, values := range p.headers {
			w.Header()[name] = values
		}
		ctx, cancel := context.WithTimeout(r.Context(), handleTimeout)
		defer cancel()
		fn(ctx, w, r)
	})
}

// get shows the payment. It changes nothing: what previews links in messages
// opens them, too.
func (p *confirmPages) get(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	c, ok := p.find(ctx, w, r.PathValue("token"))
	if !ok {
		return
	}
	p.show(ctx, w, http.StatusOK, p.pageOf(c))
}

// post takes the code. What was confirmed is shown by a GET that a reload repeats
// without harm.
func (p *confirmPages) post(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	token := r.PathValue("token")
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		status := http.StatusBadRequest
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			status = http.StatusRequestEntityTooLarge
		}
		p.again(ctx, w, token, status, ledger.Errorf(ledger.CodeInvalid, "the form cannot be read"))
		return
	}
	_, err := p.service.Confirm(ctx, payments.ConfirmRequest{Token: token, Stamp: r.PostForm.Get("stamp"), Code: r.PostForm.Get("code"), Actor: "page"})
	switch ledger.CodeOf(err) {
	case "", ledger.CodeUnavailable:
		if err != nil {
			p.broken(ctx, w, err)
			return
		}
		http.Redirect(w, r, r.URL.EscapedPath(), http.StatusSeeOther)
	case ledger.CodeConflict: // confirmed, expired or withdrawn meanwhile: the page says which
		http.Redirect(w, r, r.URL.EscapedPath(), http.StatusSeeOther)
	case ledger.CodeNotFound:
		p.show(ctx, w, http.StatusNotFound, unknownPage(p.bank))
	case ledger.CodeInvalid:
		p.again(ctx, w, token, http.StatusUnprocessableEntity, err)
	case ledger.CodeForbidden:
		p.again(ctx, w, token, http.StatusForbidden, err)
	case ledger.CodeInsufficientFunds: // the code was right, and the card did not pay
		p.again(ctx, w, token, http.StatusPaymentRequired, err)
	default:
		p.broken(ctx, w, err)
	}
}

// again shows the form with a problem, or the order's state where there is
// nothing left to try.
func (p *confirmPages) again(ctx context.Context, w http.ResponseWriter, token string, status int, cause error) {
	c, ok := p.find(ctx, w, token)
	if !ok {
		return
	}
	shown := p.pageOf(c)
	if shown.Form != nil {
		field := ""
		if e, ok := errors.AsType[*ledger.Error](cause); ok {
			field = e.Field
		}
		shown.Problem = problemText(ledger.CodeOf(cause), field, c.Language)
	}
	p.show(ctx, w, status, shown)
}

// find returns what a token's page shows, or has answered that there is nothing.
func (p *confirmPages) find(ctx context.Context, w http.ResponseWriter, token string) (payments.Confirmation, bool) {
	c, err := p.service.Confirmation(ctx, token)
	if ledger.CodeOf(err) == ledger.CodeNotFound {
		p.show(ctx, w, http.StatusNotFound, unknownPage(p.bank))
		return c, false
	}
	if err != nil {
		p.broken(ctx, w, err)
		return c, false
	}
	return c, true
}

func (p *confirmPages) broken(ctx context.Context, w http.ResponseWriter, err error) {
	p.log.ErrorContext(ctx, "confirmation page failed", "error", err)
	p.show(ctx, w, http.StatusServiceUnavailable, brokenPage(p.bank))
}

func (p *stage) show(ctx context.Context, w http.ResponseWriter, status int, shown page) {
	shown.Style = template.CSS(styleCSS) // our own, embedded
	if shown.Ask != nil {
		shown.Ask.Wrong = shown.Problem != ""
	}
	for i := range shown.More {
		shown.More[i].Wrong = shown.Problem != ""
	}
	var body bytes.Buffer
	if err := p.template.Execute(&body, shown); err != nil {
		p.log.ErrorContext(ctx, "page not rendered", "page", shown.Title, "error", err)
		http.Error(w, "unavailable", http.StatusInternalServerError)
		return
	}
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // a customer who has gone away needs no answer
}
