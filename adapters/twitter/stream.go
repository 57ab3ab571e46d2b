package twitter

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
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

// Stream reads the filtered stream and hands each message to handle, in order, which
// stores it. It connects
// again, politely, whenever the stream ends, and returns when the context ends
// (its error), when X refuses for good (wrong token, no access: an *APIError), or
// when handle keeps failing. A message that handle refuses with CodeInvalid is
// noted and passed over. Declare the rules first: see DeclareRules.
//
// What is posted between two connections is not on the stream: see Listen.
func (c *Client) Stream(ctx context.Context, handle Handler) error {
	return c.follow(ctx, c.filtered(handle.Each(), func(context.Context, time.Time) {}))
}

// Handler takes a message over. It must have stored it when it returns nil.
type Handler func(ctx context.Context, m payments.Message) error

// BatchHandler takes over messages that came together, in their order, and returns an
// error for each: nil where it has stored the message. It gets at most maxOffered, and one
// alone where no more are waiting.
type BatchHandler func(ctx context.Context, batch []payments.Message) []error

// Each returns a BatchHandler that takes one message after the other, until ctx ends.
func (h Handler) Each() BatchHandler {
	return func(ctx context.Context, batch []payments.Message) []error {
		errs := make([]error, len(batch))
		for i, m := range batch {
			if errs[i] = ctx.Err(); errs[i] == nil {
				errs[i] = h(ctx, m)
			}
		}
		return errs
	}
}

// filtered reads posts. stored is told when the messages were written that take has
// taken over.
func (c *Client) filtered(take BatchHandler, stored func(ctx context.Context, at time.Time)) following {
	return following{
		what: call{endpoint: endpointStream, method: http.MethodGet, path: "/2/tweets/search/stream", query: tweetQuery(), token: c.opts.AppToken},
		onEvents: func(ctx context.Context, events []event) error {
			messages := make([]payments.Message, 0, len(events))
			for _, e := range events {
				m, err := e.message(ViaStream)
				if err != nil {
					c.unreadable(ctx, ViaStream, e.Data, err)
					continue
				}
				c.noteRead(resourcePost, ViaStream, m.ID, m.CreatedAt)
				messages = append(messages, m)
			}
			if err := c.offerMessages(ctx, ViaStream, messages, take); err != nil {
				return err
			}
			for _, m := range messages { // what was posted later may still be on its way
				stored(ctx, m.CreatedAt)
			}
			return nil
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
	return c.follow(ctx, following{what: what, onEvents: func(ctx context.Context, events []event) error {
		for _, e := range events {
			said, ok, err := decode(e.Data)
			if err != nil {
				c.unreadable(ctx, viaCompliance, e.Data, err)
			}
			if err != nil || !ok {
				continue
			}
			if err := c.offer(ctx, viaCompliance, []string{id(said)}, func([]int) []error { return []error{handle(ctx, said)} }); err != nil {
				return err
			}
		}
		return nil
	}})
}

const viaCompliance = "compliance"

// unreadable notes an event that could not be read. The stream goes on: one odd
// post must not stop all others, and polling and reconciliation will meet it again.
func (c *Client) unreadable(ctx context.Context, via string, raw []byte, err error) {
	c.metrics.unread.WithLabelValues(via).Inc()
	c.opts.Log.WarnContext(ctx, "left out what X sent", "via", via, "id", lenientID(raw), "error", err)
}

// maxOffered bounds what is handed over at once.
const maxOffered = 200

// offerMessages hands messages over, in order.
func (c *Client) offerMessages(ctx context.Context, via string, messages []payments.Message, take BatchHandler) error {
	for batch := range slices.Chunk(messages, maxOffered) {
		ids := make([]string, len(batch))
		for i, m := range batch {
			ids[i] = m.ID
		}
		err := c.offer(ctx, via, ids, func(which []int) []error {
			if len(which) == len(batch) {
				return take(ctx, batch)
			}
			again := make([]payments.Message, len(which))
			for i, n := range which {
				again[i] = batch[n]
			}
			return take(ctx, again)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// offer hands over things with ids: take is told which of them, and says what became of
// each. Those that it fails on it gets again and again.
func (c *Client) offer(ctx context.Context, via string, ids []string, take func(which []int) []error) error {
	which := make([]int, len(ids))
	for i := range which {
		which[i] = i
	}
	var waits backoff
	for try := 1; ; try++ {
		var failed []int
		var failure error
		for i, err := range take(which) {
			id := ids[which[i]]
			switch {
			case err == nil:
				c.metrics.messages.WithLabelValues(via).Inc()
			case ledger.CodeOf(err) == ledger.CodeInvalid:
				c.metrics.unread.WithLabelValues(via).Inc()
				c.opts.Log.WarnContext(ctx, "a message was refused", "via", via, "id", id, "error", err)
			default:
				failed, failure = append(failed, which[i]), fmt.Errorf("storing %s %s: %w", via, id, err)
			}
		}
		switch {
		case len(failed) == 0:
			return nil
		case try == maxHandlerTries || ctx.Err() != nil:
			return &handlerError{failure}
		}
		which = failed
		c.opts.Log.WarnContext(ctx, "storing failed, trying again", "via", via, "messages", len(failed), "try", try, "error", failure)
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
	what call
	// onEvents is called with what X has sent, in order: all that is there.
	onEvents func(ctx context.Context, events []event) error
	// onConnect, where it is set, is called when X has accepted a connection, and idle
	// with when a keep-alive came: nothing waited to be sent.
	onConnect func()
	idle      func(at time.Time)
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
	lines := c.readLines(reading, response.Body)
	defer func() {
		hangUp()
		lines.finished()
	}()
	for {
		batch, err := c.nextLines(reading, lines)
		if err == nil {
			err = c.read(ctx, f, waits, batch)
		}
		if err != nil {
			return err
		}
	}
}

// read hands on what lines of a stream say. The error of the last line is the stream's
// end.
func (c *Client) read(ctx context.Context, f following, waits *backoff, batch []streamLine) error {
	var events []event
	flush := func() error {
		if len(events) == 0 {
			return nil
		}
		err := f.onEvents(ctx, events)
		events = nil
		return err
	}
	for _, line := range batch {
		if len(line.text) > 0 {
			waits.succeeded()
			c.metrics.heard.WithLabelValues(string(f.what.endpoint)).Set(float64(line.at.Unix()))
		}
		text := bytes.TrimSpace(line.text)
		end := line.err
		switch {
		case len(text) > 0 && (line.err == nil || json.Valid(text)):
			e, ok, err := c.event(ctx, text)
			if ok {
				events = append(events, e)
			}
			if err != nil {
				end = err
			}
		case line.err == nil && f.idle != nil:
			if err := flush(); err != nil {
				return err
			}
			f.idle(line.at)
		}
		if end != nil {
			return cmp.Or(flush(), end)
		}
	}
	return flush()
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

// event reads one line of a stream; false: it says nothing. An error object without
// data is how X announces that it hangs up.
func (c *Client) event(ctx context.Context, line []byte) (event, bool, error) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		c.unreadable(ctx, ViaStream, line, err)
		return event{}, false, nil
	}
	if isNull(e.Data) {
		if len(e.Errors) > 0 {
			return event{}, false, fmt.Errorf("%w: %s", errEnded, e.Errors[0])
		}
		c.opts.Log.WarnContext(ctx, "X sent an event without data", "bytes", len(line)) // it may hold somebody's words
		return event{}, false, nil
	}
	return e, true, nil
}
