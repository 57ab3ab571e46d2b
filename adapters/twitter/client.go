package twitter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tweetledger/ledger"
)

// DefaultBaseURL is where X serves its API.
const DefaultBaseURL = "https://api.x.com"

// TokenSource gives the bearer token for a request. It may refresh it.
type TokenSource interface {
	Token(ctx context.Context) (string, error)
}

// StaticToken is a TokenSource of one token that does not expire.
type StaticToken string

// Token implements TokenSource.
func (t StaticToken) Token(context.Context) (string, error) { return string(t), nil }

// Options are what a Client needs from outside. Only tokens have no default.
type Options struct {
	BaseURL    string      // "": DefaultBaseURL
	AppToken   TokenSource // the app's: streams, rules, mentions, look-ups
	UserToken  TokenSource // the bank account's own, with tweet.write: replies
	HTTPClient *http.Client
	Clock      func() time.Time
	After      func(d time.Duration) <-chan time.Time // for back-off and the keep-alive watch
	Jitter     func(most time.Duration) time.Duration // a random duration in [0, most)
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Client speaks to the X API v2. It is safe for concurrent use, and implements
// payments.Replier.
type Client struct {
	opts    Options
	base    string
	metrics *metrics
	today   daySet // what X bills once a day

	mu      sync.Mutex
	blocked map[endpoint]time.Time // until when X takes no more requests
	own     string                 // id of the account that we post with, once it is known
}

// endpoint names a part of the API that X counts requests to by itself.
type endpoint string

const (
	endpointStream     endpoint = "stream"
	endpointCompliance endpoint = "compliance"
	endpointGone       endpoint = "user_compliance"
	endpointRules      endpoint = "rules"
	endpointMentions   endpoint = "mentions"
	endpointSearch     endpoint = "search"
	endpointDirectRead endpoint = "direct_read"
	endpointDirect     endpoint = "direct_send"
	endpointLookup     endpoint = "lookup"
	endpointUsers      endpoint = "users"
	endpointCreate     endpoint = "create"
)

const (
	// requestTimeout bounds one request other than a stream, its body included.
	requestTimeout = 30 * time.Second
	// maxAnswerBytes bounds an answer: a hundred posts of 25,000 characters.
	maxAnswerBytes = maxValueBytes
	// maxWait bounds how long one answer of X can make us wait: its longest window
	// is a day.
	maxWait = 24 * time.Hour
)

// NewClient returns a Client, or an Error with CodeInvalid where the options
// cannot work. It does not call X.
func NewClient(opts Options) (*Client, error) {
	if opts.BaseURL == "" {
		opts.BaseURL = DefaultBaseURL
	}
	base, err := url.Parse(opts.BaseURL)
	if err != nil || base.Host == "" || (base.Scheme != "https" && base.Scheme != "http") {
		return nil, ledger.Errorf(ledger.CodeInvalid, "%q is not an address like %s", clip(opts.BaseURL), DefaultBaseURL).InField("base_url")
	}
	if opts.HTTPClient == nil {
		opts.HTTPClient = &http.Client{Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: requestTimeout}).DialContext,
			TLSHandshakeTimeout:   requestTimeout,
			ResponseHeaderTimeout: requestTimeout,
			ForceAttemptHTTP2:     true,
			MaxIdleConnsPerHost:   8, // one a kind of request; streams hold theirs
			IdleConnTimeout:       90 * time.Second,
		}}
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.After == nil {
		opts.After = time.After
	}
	if opts.Jitter == nil {
		opts.Jitter = func(most time.Duration) time.Duration { return rand.N(max(most, 1)) }
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(opts.Registerer)
	if err != nil {
		return nil, fmt.Errorf("registering the metrics of the Twitter client: %w", err)
	}
	return &Client{opts: opts, base: strings.TrimSuffix(opts.BaseURL, "/"), metrics: m, blocked: map[endpoint]time.Time{}}, nil
}

// APIError is X's refusal of a request.
type APIError struct {
	Status     int
	Problem    Problem
	RetryAfter time.Duration // with 429: when X takes requests again; 0 where it did not say
	err        *ledger.Error
}

// Error implements error.
func (e *APIError) Error() string { return e.err.Error() }

// Unwrap returns the *ledger.Error that says the same to those who know nothing
// of HTTP.
func (e *APIError) Unwrap() error { return e.err }

// call is one request to X.
type call struct {
	endpoint endpoint
	method   string
	path     string
	query    url.Values
	body     any // written as JSON; nil: none
	token    TokenSource
	// apart is set where the token is a customer's: X counts its requests by
	// themselves, and a limit that it meets is nobody else's.
	apart bool
}

// do makes a request and decodes the answer into into. Its error is an *APIError
// where X refused, anything else where X could not be asked.
func (c *Client) do(ctx context.Context, what call, into any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	response, err := c.send(ctx, what)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes+1))
	if err != nil {
		return fmt.Errorf("reading X's answer to %s: %w", what.endpoint, err)
	}
	if len(raw) > maxAnswerBytes {
		return ledger.Errorf(ledger.CodeUnavailable, "X's answer to %s is larger than %d MiB and was not read", what.endpoint, maxAnswerBytes>>20)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return ledger.Errorf(ledger.CodeUnavailable, "X's answer to %s is not JSON as documented: %w", what.endpoint, err)
	}
	return nil
}

// send makes a request and returns an answer with a 2xx status; the caller
// closes its body.
func (c *Client) send(ctx context.Context, what call) (*http.Response, error) {
	if err := c.mayCall(what.endpoint); err != nil && !what.apart {
		return nil, err
	}
	request, err := c.request(ctx, what)
	if err != nil {
		return nil, err
	}
	response, err := c.opts.HTTPClient.Do(request)
	if err != nil {
		c.metrics.calls.WithLabelValues(string(what.endpoint), "none").Inc()
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err // without the address: it says nothing that endpoint does not
		}
		return nil, fmt.Errorf("asking X for %s: %w", what.endpoint, err)
	}
	c.metrics.calls.WithLabelValues(string(what.endpoint), fmt.Sprint(response.StatusCode)).Inc()
	retryAfter := time.Duration(0)
	if !what.apart {
		retryAfter = c.noteLimits(what.endpoint, response)
	}
	if response.StatusCode/100 == 2 {
		return response, nil
	}
	defer response.Body.Close()
	return nil, c.refused(what.endpoint, response, retryAfter)
}

func (c *Client) request(ctx context.Context, what call) (*http.Request, error) {
	if what.token == nil {
		return nil, &tokenError{ledger.Errorf(ledger.CodeForbidden, "no token was configured for %s", what.endpoint)}
	}
	token, err := what.token.Token(ctx)
	if err != nil {
		return nil, &tokenError{fmt.Errorf("getting a token for %s: %w", what.endpoint, err)}
	}
	var body io.Reader
	if what.body != nil {
		raw, err := json.Marshal(what.body)
		if err != nil {
			return nil, fmt.Errorf("writing the request to %s: %w", what.endpoint, err)
		}
		body = bytes.NewReader(raw)
	}
	address := c.base + what.path
	if len(what.query) > 0 {
		address += "?" + what.query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, what.method, address, body)
	if err != nil {
		return nil, fmt.Errorf("asking X for %s: %w", what.endpoint, err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("User-Agent", "tweetledger")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return request, nil
}

// tokenError says that X was not asked, for want of a token.
type tokenError struct{ error }

func (e *tokenError) Unwrap() error { return e.error }

// maxProblemBytes bounds how much of a refusal is read.
const maxProblemBytes = 64 << 10

// refused makes an APIError of an answer that is not 2xx.
func (c *Client) refused(from endpoint, response *http.Response, retryAfter time.Duration) error {
	e := &APIError{Status: response.StatusCode, RetryAfter: retryAfter}
	if raw, err := io.ReadAll(io.LimitReader(response.Body, maxProblemBytes)); err == nil {
		var body struct {
			Problem
			Errors []Problem `json:"errors"`
		}
		if json.Unmarshal(raw, &body) == nil {
			e.Problem = body.Problem
			if len(body.Errors) > 0 && body.Errors[0].Message != "" {
				e.Problem.Detail = body.Errors[0].Message
			}
		}
	}
	e.err = ledger.Errorf(codeOfStatus(e.Status), "X refused %s with %d: %s", from, e.Status, e.Problem)
	return e
}

func codeOfStatus(status int) ledger.Code {
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return ledger.CodeForbidden
	case status == http.StatusNotFound:
		return ledger.CodeNotFound
	case status == http.StatusTooManyRequests || status >= 500:
		return ledger.CodeUnavailable
	}
	return ledger.CodeInvalid
}

// wait waits for d, or returns the context's error.
func (c *Client) wait(ctx context.Context, d time.Duration) error {
	select {
	case <-c.opts.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tweetQuery asks for what decodeTweet reads. X still takes the tweet.* names
// everywhere.
func tweetQuery() url.Values {
	return url.Values{
		"tweet.fields": {"author_id,conversation_id,created_at,edit_history_tweet_ids,entities,lang,note_tweet,referenced_tweets"},
		"expansions":   {"author_id,entities.mentions.username"},
		"user.fields":  {"username"},
	}
}
