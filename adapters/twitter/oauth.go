package twitter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// DefaultAuthorizeURL is X's page on which a user allows an app to act.
const DefaultAuthorizeURL = "https://x.com/i/oauth2/authorize"

// endpointMe is the only thing that a customer's token is used for.
const endpointMe endpoint = "me"

// linkScopes are what X asks for in exchange for saying who somebody is. Without
// offline.access X gives no refresh token: there is nothing to keep.
// Source: X API, GET /2/users/me.
func linkScopes() []string { return []string{"tweet.read", "users.read"} }

// LinkOptions are the app's OAuth 2.0 client at X.
type LinkOptions struct {
	ClientID     string
	ClientSecret string // empty: a public client
	AuthorizeURL string // empty: DefaultAuthorizeURL
	RedirectURL  string // of our own, as it is registered with X
}

// Linker finds out which account of X a customer has, by OAuth 2.0 with PKCE (RFC
// 7636). It keeps nothing: the token serves one question, and is revoked.
type Linker struct {
	client *Client
	config oauth2.Config
}

// NewLinker returns a Linker on a client, or an Error with CodeInvalid where the
// options cannot work. It does not call X.
func NewLinker(client *Client, opts LinkOptions) (*Linker, error) {
	if opts.AuthorizeURL == "" {
		opts.AuthorizeURL = DefaultAuthorizeURL
	}
	if opts.ClientID == "" {
		return nil, ledger.Errorf(ledger.CodeInvalid, "linking accounts needs the app's OAuth 2.0 client id").InField("client_id")
	}
	for name, address := range map[string]string{"authorize_url": opts.AuthorizeURL, "redirect_url": opts.RedirectURL} {
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
			return nil, ledger.Errorf(ledger.CodeInvalid, "%q is not an address like %s", clip(address), DefaultAuthorizeURL).InField(name)
		}
	}
	style := oauth2.AuthStyleInHeader
	if opts.ClientSecret == "" {
		style = oauth2.AuthStyleInParams
	}
	return &Linker{client: client, config: oauth2.Config{
		ClientID: opts.ClientID, ClientSecret: opts.ClientSecret, RedirectURL: opts.RedirectURL, Scopes: linkScopes(),
		Endpoint: oauth2.Endpoint{AuthURL: opts.AuthorizeURL, TokenURL: client.base + "/2/oauth2/token", AuthStyle: style},
	}}, nil
}

// AuthorizeURL returns the address of X's page for one visit.
func (l *Linker) AuthorizeURL(state, verifier string) string {
	return l.config.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier))
}

// Identify asks X who has allowed the visit that code came back from. A code that X
// does not take is CodeForbidden; that X cannot be asked is CodeUnavailable.
func (l *Linker) Identify(ctx context.Context, code, verifier string) (payments.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	token, err := l.config.Exchange(l.oauthContext(ctx), code, oauth2.VerifierOption(verifier))
	if err != nil {
		return payments.Identity{}, exchangeError(err)
	}
	who, err := l.me(ctx, token.AccessToken)
	l.revoke(context.WithoutCancel(ctx), token.AccessToken)
	return who, err
}

// exchangeError says what became of a code, without X's answer: it may hold a token.
func exchangeError(err error) error {
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refused.Response != nil {
		status := refused.Response.StatusCode
		if status/100 == 4 && status != http.StatusTooManyRequests {
			return ledger.Errorf(ledger.CodeForbidden, "X did not take the code of a visit (%d %s)", status, clip(refused.ErrorCode))
		}
		return ledger.Errorf(ledger.CodeUnavailable, "X exchanges no codes now (%d)", status)
	}
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	return ledger.Errorf(ledger.CodeUnavailable, "X could not be asked for a token: %w", err)
}

func (l *Linker) me(ctx context.Context, token string) (payments.Identity, error) {
	var answer struct {
		Data user `json:"data"`
	}
	what := call{endpoint: endpointMe, method: http.MethodGet, path: "/2/users/me", token: StaticToken(token), apart: true}
	if err := l.client.do(ctx, what, &answer); err != nil {
		return payments.Identity{}, fmt.Errorf("asking X who has allowed a visit: %w", err)
	}
	if !validID(string(answer.Data.ID)) || !validHandle(answer.Data.Username) {
		return payments.Identity{}, ledger.Errorf(ledger.CodeUnavailable, "X did not say who has allowed a visit")
	}
	return payments.Identity{Channel: Channel, UserID: string(answer.Data.ID), Handle: answer.Data.Username}, nil
}

// revokeTimeout bounds the giving back of a token: a customer waits for the page
// behind it.
const revokeTimeout = 5 * time.Second

// revoke gives a token back. Without a refresh token it would end by itself within
// two hours, so failing is only worth a note.
func (l *Linker) revoke(ctx context.Context, token string) {
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	err := func() error {
		form := url.Values{"token": {token}, "token_type_hint": {"access_token"}, "client_id": {l.config.ClientID}}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, l.client.base+"/2/oauth2/revoke", strings.NewReader(form.Encode()))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if l.config.ClientSecret != "" {
			request.SetBasicAuth(url.QueryEscape(l.config.ClientID), url.QueryEscape(l.config.ClientSecret))
		}
		response, err := l.client.opts.HTTPClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxProblemBytes))
		if response.StatusCode/100 != 2 {
			return fmt.Errorf("the answer was %d", response.StatusCode)
		}
		return nil
	}()
	if err != nil {
		l.client.opts.Log.WarnContext(ctx, "a customer's token was not revoked; it ends by itself", "error", err)
	}
}
