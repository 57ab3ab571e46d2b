package twitter

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

const (
	// streamSilence is how long a stream may say nothing before it counts as dead:
	// X sends a newline every 20 s.
	streamSilence = 30 * time.Second
	// maxEventBytes bounds one event of a stream in memory.
	maxEventBytes = 4 << 20
	// maxHandlerTries bounds how often a message is offered to a handler that
	// fails; with the waits between, about nine seconds. Reading stands still
	// meanwhile, and X cuts off who does not read.
	maxHandlerTries = 8
)

// Stream reads the filtered stream and hands each message to handle, which
// stores it: the next one is read only when it has returned nil. It connects
// again, politely, whenever the stream ends, and returns when the context ends
// (its error), when X refuses for good (wrong token, no access: an *APIError), or
// when handle keeps failing. A message that handle refuses with CodeInvalid is
// noted and passed over. Declare the rules first: see DeclareRules.
//
// What is posted between two connections is not on the stream: see Listen.
func (c *Client) Stream(ctx context.Context, handle Handler) error {
	return c.follow(ctx, c.filtered(handle))
}

// Handler takes a message over. It must have stored it when it returns nil.
type Handler func(ctx context.Context, m payments.Message) error

func (c *Client) filtered(handle Handler) following {
	return following{
		what: call{endpoint: endpointStream, method: http.MethodGet, path: "/2/tweets/search/stream", query: tweetQuery(), token: c.opts.AppToken},
		onEvent: func(ctx context.Context, data json.RawMessage, line []byte) error {
			m, err := DecodeEvent(line, ViaStream)
			if err != nil {
				c.unreadable(ctx, ViaStream, data, err)
				return nil
			}
			c.noteRead(resourcePost, ViaStream, m.ID, m.CreatedAt)
			return c.offer(ctx, ViaStream, m.ID, func() error { return handle(ctx, m) })
		},
	}
}

// Compliance reads one partition (1 to 4) of the compliance stream and hands
// each deletion to handle, in the way of Stream.
func (c *Client) Compliance(ctx context.Context, partition int, handle func(context.Context, payments.Deletion) error) error {
	return follow(ctx, c, partition, endpointCompliance, "/2/tweets/compliance/stream", decodeDeletion,
		func(d payments.Deletion) string { return d.ID }, handle)
}

// UserCompliance reads one partition (1 to 4) of the compliance stream of accounts and
// hands each account that is deleted, suspended or protected to handle, in the way of
// Stream.
func (c *Client) UserCompliance(ctx context.Context, partition int, handle func(context.Context, payments.AuthorGone) error) error {
	return follow(ctx, c, partition, endpointGone, "/2/users/compliance/stream", decodeAuthorGone,
		func(g payments.AuthorGone) string { return g.AuthorID }, handle)
}

// follow reads a partition of a compliance stream. decode says false of what changes
// nothing here.
func follow[T any](ctx context.Context, c *Client, partition int, from endpoint, path string, decode func([]byte) (T, bool, error), id func(T) string,
	handle func(context.Context, T) error) error {
	what := call{endpoint: from, method: http.MethodGet, path: path, token: c.opts.AppToken, query: url.Values{"partition": {strconv.Itoa(partition)}}}
	return c.follow(ctx, following{what: what, onEvent: func(ctx context.Context, data json.RawMessage, _ []byte) error {
		event, ok, err := decode(data)
		if err != nil {
			c.unreadable(ctx, viaCompliance, data, err)
		}
		if err != nil || !ok {
			return nil
		}
		return c.offer(ctx, viaCompliance, id(event), func() error { return handle(ctx, event) })
	}})
}

const viaCompliance = "compliance"

// unreadable notes an event that could not be read. The stream goes on: one odd
// post must not stop all others, and polling and reconciliation will meet it again.
func (c *Client) unreadable(ctx context.Context, via string, raw []byte, err error) {
	c.metrics.unread.WithLabelValues(via).Inc()
	c.opts.Log.WarnContext(ctx, "left out what X sent", "via", via, "id", lenientID(raw), "error", err)
}

// offer hands something over, again and again while the handler fails.
func (c *Client) offer(ctx context.Context, via, id string, handle func() error) error {
	var waits backoff
	for try := 1; ; try++ {
		err := handle()
		switch {
		case err == nil:
			c.metrics.messages.WithLabelValues(via).Inc()
			return nil
		case ledger.CodeOf(err) == ledger.CodeInvalid:
			c.metrics.unread.WithLabelValues(via).Inc()
			c.opts.Log.WarnContext(ctx, "a message was refused", "via", via, "id", id, "error", err)
			return nil
		case try == maxHandlerTries || ctx.Err() != nil:
			return &handlerError{fmt.Errorf("storing %s %s: %w", via, id, err)}
		}
		c.opts.Log.WarnContext(ctx, "storing failed, trying again", "via", via, "id", id, "try", try, "error", err)
		if err := c.wait(ctx, waits.next(networkFailure)); err != nil {
			return err
		}
	}
}

// handlerError is a failure on our own side.
type handlerError struct{ error }

func (e *handlerError) Unwrap() error { return e.error }

// The ends of a stream that are no errors of TCP or HTTP.
var (
	errSilent = errors.New("nothing came from X for 30 s")
	errEnded  = errors.New("the stream was ended by X")
)

// following is a stream that is to be kept connected.
type following struct {
	what    call
	onEvent func(ctx context.Context, data json.RawMessage, line []byte) error
	// onConnect, where it is set, is called when X has accepted a connection, and idle
	// when a keep-alive came: nothing waits to be sent.
	onConnect, idle func()
}

// follow keeps a stream connected until there is a reason to stop.
func (c *Client) follow(ctx context.Context, f following) error {
	what := f.what
	var waits backoff
	var budget connectBudget
	for {
		if wait := budget.spend(c.opts.Clock()); wait > 0 {
			c.opts.Log.WarnContext(ctx, "too many connects, pausing", "stream", what.endpoint, "for", wait)
			if err := c.wait(ctx, wait); err != nil {
				return err
			}
			continue
		}
		err := c.connect(ctx, f, &waits)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var own *handlerError
		if errors.As(err, &own) {
			return own.error
		}
		kind, atLeast := failureOf(err)
		if kind == "" {
			return err
		}
		wait := max(waits.next(kind), atLeast)
		wait += c.opts.Jitter(wait / 4)
		c.metrics.ends.WithLabelValues(string(what.endpoint), string(kind)).Inc()
		c.opts.Log.InfoContext(ctx, "stream ended, connecting again", "stream", what.endpoint, "in", wait, "error", err)
		if err := c.wait(ctx, wait); err != nil {
			return err
		}
	}
}

// failureOf tells how to wait after err; "" where waiting does not help.
func failureOf(err error) (failureKind, time.Duration) {
	var refused *APIError
	switch {
	case !errors.As(err, &refused):
		if ledger.CodeOf(err) == ledger.CodeForbidden {
			return "", 0 // no token at all
		}
		return networkFailure, 0
	case refused.Status == http.StatusTooManyRequests:
		return rateFailure, refused.RetryAfter
	case refused.Status >= 500:
		return httpFailure, 0
	}
	return "", 0
}

// connect opens the stream once and reads it to its end, which is always an error.
func (c *Client) connect(ctx context.Context, f following, waits *backoff) error {
	reading, hangUp := context.WithCancel(ctx)
	defer hangUp()
	response, err := c.open(reading, hangUp, f.what)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	stream := string(f.what.endpoint)
	c.opts.Log.InfoContext(ctx, "stream connected", "stream", stream)
	c.metrics.connects.WithLabelValues(stream).Inc()
	c.metrics.connected.WithLabelValues(stream).Set(1)
	defer c.metrics.connected.WithLabelValues(stream).Set(0)
	if f.onConnect != nil {
		f.onConnect()
	}
	in := bufio.NewReaderSize(response.Body, importBuffer)
	for {
		line, err := c.nextLine(reading, hangUp, in)
		if len(line) > 0 {
			waits.succeeded()
			c.metrics.heard.WithLabelValues(stream).Set(float64(c.opts.Clock().Unix()))
		}
		line = bytes.TrimSpace(line)
		switch {
		case len(line) > 0 && (err == nil || json.Valid(line)):
			if err := c.event(ctx, line, f.onEvent); err != nil {
				return err
			}
		case err == nil && f.idle != nil:
			f.idle()
		}
		if err != nil {
			return err
		}
	}
}

// open waits for the stream's headers no longer than for a line of it.
func (c *Client) open(ctx context.Context, hangUp context.CancelFunc, what call) (*http.Response, error) {
	type result struct {
		response *http.Response
		err      error
	}
	opened := make(chan result, 1)
	go func() {
		response, err := c.send(ctx, what) //nolint:bodyclose // whoever receives it closes it
		opened <- result{response, err}
	}()
	select {
	case r := <-opened:
		return r.response, r.err
	case <-c.opts.After(streamSilence):
	case <-ctx.Done():
	}
	hangUp()
	if r := <-opened; r.response != nil {
		_ = r.response.Body.Close() // it is of no use any more
	}
	return nil, errSilent
}

// nextLine returns the next line, or errSilent where none comes in time. The
// reading goroutine has ended when it returns.
func (c *Client) nextLine(ctx context.Context, hangUp context.CancelFunc, in *bufio.Reader) ([]byte, error) {
	type result struct {
		line []byte
		err  error
	}
	read := make(chan result, 1)
	go func() {
		line, err := readLine(in, maxEventBytes)
		read <- result{line, err}
	}()
	select {
	case r := <-read:
		if errors.Is(r.err, io.EOF) {
			r.err = errEnded
		}
		return r.line, r.err
	case <-c.opts.After(streamSilence):
		hangUp()
		<-read
		return nil, errSilent
	case <-ctx.Done():
		<-read
		return nil, ctx.Err()
	}
}

// event reads one line of a stream. An error object without data is how X
// announces that it hangs up.
func (c *Client) event(ctx context.Context, line []byte, onEvent func(ctx context.Context, data json.RawMessage, line []byte) error) error {
	var e struct {
		Data   json.RawMessage `json:"data"`
		Errors []Problem       `json:"errors"`
	}
	if err := json.Unmarshal(line, &e); err != nil {
		c.unreadable(ctx, ViaStream, line, err)
		return nil
	}
	if isNull(e.Data) {
		if len(e.Errors) > 0 {
			return fmt.Errorf("%w: %s", errEnded, e.Errors[0])
		}
		c.opts.Log.WarnContext(ctx, "X sent an event without data", "bytes", len(line)) // it may hold somebody's words
		return nil
	}
	return onEvent(ctx, e.Data, line)
}
