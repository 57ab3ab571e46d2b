package twitter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tweetledger/internal/payments"
)

// Listening says what Listen reads.
type Listening struct {
	BankUserID string
	Rule       Rule // as declared: the search for what a gap has left out uses it, too
	// Since is when the last message came that whoever listened before has stored;
	// zero where nobody did. What was posted from then on is read first.
	Since time.Time
}

// Listen reads the filtered stream as Stream does, and after each connection also
// what was posted while there was none: by search and by mentions, since either is
// known to leave something out, from some minutes before the stream was last heard. So
// messages repeat. handle is called from two goroutines.
func (c *Client) Listen(ctx context.Context, l Listening, handle Handler) error {
	ctx, stop := context.WithCancel(ctx)
	filler := &gapFiller{client: c, listening: l, handle: handle, work: make(chan struct{}, 1)}
	heard := l.Since
	if heard.IsZero() {
		heard = c.opts.Clock()
	}
	f := c.filtered(handle)
	f.onConnect = func() { filler.ask(heard.Add(-overlap)) }
	f.heard = func() { heard = c.opts.Clock() }
	var waiting sync.WaitGroup
	waiting.Go(func() { filler.run(ctx) })
	err := c.follow(ctx, f)
	stop()
	waiting.Wait()
	return err
}

// gapFiller reads what gaps in the stream have left out, one after the other. Gaps
// that come while it reads become one.
type gapFiller struct {
	client    *Client
	listening Listening
	handle    Handler
	work      chan struct{}

	mu   sync.Mutex
	from time.Time // zero: no gap waits
}

func (g *gapFiller) ask(from time.Time) {
	g.mu.Lock()
	if g.from.IsZero() || from.Before(g.from) {
		g.from = from
	}
	g.mu.Unlock()
	select {
	case g.work <- struct{}{}:
	default: // it has been woken already
	}
}

func (g *gapFiller) take() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	from := g.from
	g.from = time.Time{}
	return from
}

// run fills gaps until ctx ends. What fails is tried again, politely and without end:
// the gap only grows, and is bounded by how far back X lets anybody read.
func (g *gapFiller) run(ctx context.Context) {
	var waits backoff
	for {
		select {
		case <-g.work:
		case <-ctx.Done():
			return
		}
		from := g.take()
		if from.IsZero() {
			continue
		}
		err := g.client.Backfill(ctx, g.listening, from, g.handle)
		if err == nil {
			waits.succeeded()
			g.client.metrics.backfills.WithLabelValues("done").Inc()
			continue
		}
		if ctx.Err() != nil {
			return
		}
		g.client.metrics.backfills.WithLabelValues("failed").Inc()
		kind, atLeast := failureOf(err)
		if kind == "" || kind == networkFailure {
			kind = httpFailure // a gap is no stream: there is no hurry
		}
		wait := max(waits.next(kind), atLeast)
		g.client.opts.Log.WarnContext(ctx, "a gap in the stream was not filled, trying again", "from", from, "in", wait, "error", err)
		g.ask(from)
		if g.client.wait(ctx, wait) != nil {
			return
		}
	}
}

// Backfill reads what was posted at from or later, by search and by mentions, and
// hands each post to handle once, the oldest first. It fails only where neither way
// could be read to its end, or handle fails.
func (c *Client) Backfill(ctx context.Context, l Listening, from time.Time, handle Handler) error {
	found, whole, searchErr := c.Search(ctx, l.Rule.Value, from)
	if searchErr == nil && !whole {
		c.metrics.gaps.Inc()
		c.opts.Log.WarnContext(ctx, "more posts in a gap than one search reads; import or reconcile to find the others", "from", from, "read", len(found))
	}
	if err := c.offerAll(ctx, ViaSearch, found, handle); err != nil {
		return err
	}
	there := make(map[string]bool, len(found))
	for _, m := range found {
		there[m.ID] = true
	}
	_, mentionsErr := c.ReadMentions(ctx, l.BankUserID, from, func(ctx context.Context, m payments.Message) error {
		if there[m.ID] {
			return nil
		}
		return handle(ctx, m)
	})
	if mentionsErr != nil && (searchErr != nil || isOwn(mentionsErr)) {
		return fmt.Errorf("filling the gap since %s: %w", from.UTC().Format(time.RFC3339), errors.Join(searchErr, mentionsErr))
	}
	for _, err := range []error{searchErr, mentionsErr} {
		if err != nil {
			c.opts.Log.WarnContext(ctx, "one of two ways to fill a gap in the stream failed", "from", from, "error", err)
		}
	}
	return nil
}

// isOwn reports whether an error is of our own side, not of X.
func isOwn(err error) bool {
	var own *handlerError
	return errors.As(err, &own)
}
