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
	// Since is until when whoever listened before has read everything; zero where nobody
	// did. What was posted from then on is read first.
	Since time.Time
	// Progress, where it is set, is told now and then until when everything that X
	// shows has been read and stored: the Since of whoever listens next.
	Progress func(ctx context.Context, until time.Time)
}

// progressInterval is how often Progress is told: what is read again after a crash is
// billed once a day, but takes its time.
const progressInterval = 10 * time.Second

// Listen reads the filtered stream as Stream does, and after each connection also
// what was posted while there was none: by search and by mentions, since either is
// known to leave something out, from some minutes before the stream was last heard. So
// messages repeat. take is called from two goroutines.
func (c *Client) Listen(ctx context.Context, l Listening, take BatchHandler) error {
	ctx, stop := context.WithCancel(ctx)
	filler := &gapFiller{client: c, listening: l, take: take, work: make(chan struct{}, 1), heard: l.Since}
	if filler.heard.IsZero() {
		filler.heard = c.opts.Clock()
	}
	f := c.filtered(take, filler.reached)
	f.onConnect = filler.connected
	f.idle = func(at time.Time) { filler.reached(ctx, at) }
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
	take      BatchHandler
	work      chan struct{}

	mu      sync.Mutex
	heard   time.Time // until when the stream has brought everything since it was connected
	from    time.Time // where the gap begins that waits; zero: none does
	reading time.Time // where the gap begins that is read; zero: none is
	told    time.Time // when Progress was told last
}

// connected asks for what the stream has left out before this connection.
func (g *gapFiller) connected() {
	g.mu.Lock()
	from := g.heard.Add(-overlap)
	g.mu.Unlock()
	g.ask(from)
}

// reached notes that the stream has brought everything until then, and tells how far
// everything has been read: no further than to a gap that is not filled.
func (g *gapFiller) reached(ctx context.Context, until time.Time) {
	now := g.client.opts.Clock()
	g.mu.Lock()
	if until.After(g.heard) && !until.After(now) {
		g.heard = until
	}
	complete := g.heard
	for _, gap := range []time.Time{g.from, g.reading} {
		if !gap.IsZero() && gap.Before(complete) {
			complete = gap
		}
	}
	tell := g.listening.Progress != nil && now.Sub(g.told) >= progressInterval
	if tell {
		g.told = now
	}
	g.mu.Unlock()
	if tell {
		g.listening.Progress(ctx, complete)
	}
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

// next takes the gap that waits.
func (g *gapFiller) next() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reading, g.from = g.from, time.Time{}
	return g.reading
}

// filled notes that the gap which was taken is read.
func (g *gapFiller) filled() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reading = time.Time{}
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
		from := g.next()
		if from.IsZero() {
			continue
		}
		err := g.client.Backfill(ctx, g.listening, from, g.take)
		if err == nil {
			g.filled()
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
// hands each post to take once, the oldest first. It fails only where neither way
// could be read to its end, or take fails.
func (c *Client) Backfill(ctx context.Context, l Listening, from time.Time, take BatchHandler) error {
	found, whole, searchErr := c.Search(ctx, l.Rule.Value, from)
	if searchErr == nil && !whole {
		c.metrics.gaps.Inc()
		c.opts.Log.WarnContext(ctx, "more posts in a gap than one search reads; import or reconcile to find the others", "from", from, "read", len(found))
	}
	if err := c.offerAll(ctx, ViaSearch, found, take); err != nil {
		return err
	}
	there := make(map[string]bool, len(found))
	for _, m := range found {
		there[m.ID] = true
	}
	_, mentionsErr := c.readMentions(ctx, l.BankUserID, from, func(m payments.Message) bool { return !there[m.ID] }, take)
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
