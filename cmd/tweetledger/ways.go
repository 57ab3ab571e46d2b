package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"tweetledger/adapters/twitter"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// The ways in from X. Of several processes one goes them: X allows an app one
// connection to the stream, counts requests by app, and bills what is read.

// ways are the ways in of a process, while it holds their lease.
type ways struct {
	worker
	lease  *heldLease
	direct *heldLease // whose done_at says until when direct messages have been read
	leases sync.Mutex // of both
	// refused is set while X refuses the stream: then the mentions are read more often.
	refused atomic.Bool
	pause   func(ctx context.Context, d time.Duration) error // waits, or returns the context's error
}

const (
	listenerLease = "listener"
	directLease   = "listener-dm"
	// keepInterval is how often a lease of leaseTerm is looked after: often enough to
	// keep it through a failure.
	keepInterval = leaseTerm / 6
	// mentionsInterval is how often the mentions are read beside the stream, and
	// fallbackInterval how often where there is none. X takes 450 requests in 15 minutes.
	mentionsInterval = time.Minute
	fallbackInterval = 15 * time.Second
	// directInterval keeps below the 15 requests in 15 minutes that X takes for direct
	// messages; with a webhook they come at once.
	directInterval = 90 * time.Second
	// firstPause is how soon what ended begins anew.
	firstPause = 5 * time.Second
	// refusedPause is how long after a refusal the stream is tried again: somebody has
	// to buy access or replace a token first.
	refusedPause = 15 * time.Minute
	// firstOverlap is how far a book without messages is read back: nobody was served
	// before.
	firstOverlap = 15 * time.Minute
)

func newWays(w worker) *ways {
	return &ways{worker: w, lease: &heldLease{book: w.service.Engine(), name: listenerLease, holder: holder()},
		direct: &heldLease{book: w.service.Engine(), name: directLease, holder: holder()}, pause: pause}
}

// holdLease takes or extends a lease.
func (w *ways) holdLease(ctx context.Context, l *heldLease) (engine.Lease, bool, error) {
	w.leases.Lock()
	defer w.leases.Unlock()
	return l.hold(ctx)
}

// progress notes until when everything that X shows has been read: whoever reads next
// begins there. What cannot be noted is read once more.
func (w *ways) progress(ctx context.Context, l *heldLease, until time.Time) {
	lease, got, err := w.holdLease(ctx, l)
	if err == nil && got {
		err = w.service.Engine().DB().WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			return lease.Done(ctx, tx, until)
		})
	}
	if err != nil && ctx.Err() == nil {
		w.log.WarnContext(ctx, "how far X was read is not noted; it is read once more", "lease", l.name, "err", err)
	}
}

// run goes all ways in while this process holds the lease, until ctx ends.
func (w *ways) run(ctx context.Context) error {
	defer func() {
		w.leases.Lock()
		defer w.leases.Unlock()
		for _, l := range []*heldLease{w.lease, w.direct} {
			if err := l.release(ctx); err != nil {
				w.log.WarnContext(ctx, "a lease was not given back; it expires", "lease", l.name, "err", err)
			}
		}
	}()
	for {
		_, got, err := w.holdLease(ctx, w.lease)
		if err != nil && ctx.Err() == nil {
			w.log.ErrorContext(ctx, "whether to listen to X is not known", "err", err)
		}
		if got {
			if err := w.hold(ctx); err != nil {
				return err
			}
		}
		if err := w.pause(ctx, keepInterval); err != nil {
			return err
		}
	}
}

// hold goes all ways in until the lease is lost or ctx ends.
func (w *ways) hold(ctx context.Context) error {
	listening, stop := context.WithCancel(ctx)
	defer stop()
	group, groupCtx := errgroup.WithContext(listening)
	group.Go(func() error {
		defer stop()
		return w.keep(groupCtx)
	})
	if w.settings.Twitter.Stream {
		group.Go(func() error { return w.listen(groupCtx) })
	}
	if w.settings.Twitter.Compliance {
		for partition := 1; partition <= compliancePartitions; partition++ {
			group.Go(func() error {
				return w.persist(groupCtx, "deletions", func(ctx context.Context) error { return w.compliance(ctx, partition) })
			})
			group.Go(func() error {
				return w.persist(groupCtx, "accounts that are gone", func(ctx context.Context) error {
					return w.client.UserCompliance(ctx, partition, w.service.NoteAuthorGone)
				})
			})
		}
	}
	group.Go(func() error { return w.readMentions(groupCtx) })
	if w.settings.Twitter.DirectMessages {
		group.Go(func() error { return w.readDirect(groupCtx) })
	}
	err := group.Wait()
	if ctx.Err() == nil && errors.Is(err, context.Canceled) {
		return nil // the lease is lost
	}
	return err
}

// keep looks after the lease and returns when it is lost.
func (w *ways) keep(ctx context.Context) error {
	for {
		if err := w.pause(ctx, keepInterval); err != nil {
			return err
		}
		_, got, err := w.holdLease(ctx, w.lease)
		if err != nil {
			w.log.ErrorContext(ctx, "the lease to listen to X was not extended", "err", err)
			w.leases.Lock()
			got = w.service.Engine().Now().Before(w.lease.lease.ExpiresAt.Add(-keepInterval))
			w.leases.Unlock()
		}
		if !got {
			w.log.WarnContext(ctx, "another process listens to X now, or the database is away")
			return nil
		}
	}
}

// pause waits for d, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// persist begins work anew when it ends: where our own side failed, or X was not to be
// reached, after firstPause, doubling up to streamPause; after refusedPause where X
// refuses. The rest of the service goes on meanwhile.
func (w *ways) persist(ctx context.Context, what string, work func(context.Context) error) error {
	wait := firstPause
	for {
		began := w.service.Engine().Now()
		err := work(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if w.service.Engine().Now().Sub(began) > streamPause {
			wait = firstPause
		}
		now := wait
		if refused, ok := errors.AsType[*twitter.APIError](err); ok && ledger.CodeOf(refused) != ledger.CodeUnavailable {
			now = refusedPause
		}
		w.log.ErrorContext(ctx, "reading from X ended and will begin anew", "what", what, "in", now, "err", err)
		if err := w.pause(ctx, now); err != nil {
			return err
		}
		wait = min(2*wait, streamPause)
	}
}

// listen reads the filtered stream, and what it leaves out, until ctx ends. While X
// refuses it, the mentions are what there is.
func (w *ways) listen(ctx context.Context) error {
	return w.persist(ctx, "stream", func(ctx context.Context) error {
		rule := twitter.BankRule(w.settings.Twitter.BankHandle)
		if err := w.client.DeclareRules(ctx, ruleOwner, []twitter.Rule{rule}); err != nil {
			w.refused.Store(true)
			return fmt.Errorf("declare the rules of the stream: %w", err)
		}
		since, err := w.since(ctx, listenerLease, twitter.Channel)
		if err != nil {
			return err
		}
		w.refused.Store(false)
		err = w.client.Listen(ctx, twitter.Listening{BankUserID: w.settings.Twitter.BankUserID, Rule: rule, Since: since,
			Progress: func(ctx context.Context, until time.Time) { w.progress(ctx, w.lease, until) }}, w.take)
		w.refused.Store(true)
		return err
	})
}

// since returns until when whoever listened before has read everything of a channel:
// what was noted, else when the newest message was written that somebody listened for.
func (w *ways) since(ctx context.Context, lease, channel string) (time.Time, error) {
	var at time.Time
	err := w.service.Engine().DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		if at, err = engine.DoneAt(ctx, tx, lease); err != nil || !at.IsZero() {
			return err
		}
		at, err = payments.LatestMessage(ctx, tx, channel,
			[]string{twitter.ViaStream, twitter.ViaSearch, twitter.ViaMentions, twitter.ViaWebhook, twitter.ViaDirect})
		return err
	})
	return at, err
}

// readMentions reads the mentions, the safety net beside the stream and what there is
// without it.
func (w *ways) readMentions(ctx context.Context) error {
	alone := func() bool { return !w.settings.Twitter.Stream || w.refused.Load() }
	return w.poll(ctx, polling{what: "mentions", lease: w.lease, channel: twitter.Channel, notes: alone,
		interval: func() time.Duration {
			if alone() {
				return fallbackInterval
			}
			return mentionsInterval
		},
		read: func(ctx context.Context, from time.Time) (time.Time, error) {
			return w.client.ReadMentions(ctx, w.settings.Twitter.BankUserID, from, w.take)
		}})
}

// readDirect reads the direct messages to the bank.
func (w *ways) readDirect(ctx context.Context) error {
	return w.poll(ctx, polling{what: "direct messages", lease: w.direct, channel: twitter.ChannelDirect, notes: func() bool { return true },
		interval: func() time.Duration { return directInterval },
		read: func(ctx context.Context, from time.Time) (time.Time, error) {
			return w.client.ReadDirect(ctx, w.settings.Twitter.BankUserID, from, w.take)
		}})
}

// polling is something that is read again and again.
type polling struct {
	what, channel string
	lease         *heldLease
	interval      func() time.Duration
	notes         func() bool // whether what was read is all that is read of the channel
	read          func(ctx context.Context, from time.Time) (time.Time, error)
}

// poll reads again and again, from some minutes before what was read last. A failure is
// logged and does not end it.
func (w *ways) poll(ctx context.Context, p polling) error {
	var from time.Time
	for {
		if from.IsZero() {
			since, err := w.since(ctx, p.lease.name, p.channel)
			switch {
			case err != nil:
				w.log.ErrorContext(ctx, "where to read on is not known", "what", p.what, "err", err)
			case since.IsZero():
				from = w.service.Engine().Now().Add(-firstOverlap)
			default:
				from = since.Add(-firstOverlap)
			}
		}
		if !from.IsZero() {
			began := w.service.Engine().Now()
			notes := p.notes()
			next, err := p.read(ctx, from)
			switch {
			case err == nil && notes && p.notes(): // all the while
				w.progress(ctx, p.lease, began)
			case err != nil && ctx.Err() == nil:
				w.log.ErrorContext(ctx, "reading from X failed and will be tried again", "what", p.what, "err", err)
			}
			from = next
		}
		if err := w.pause(ctx, p.interval()); err != nil {
			return err
		}
	}
}

// store takes a message through the inbox, for whoever has no time to wait until it
// is handled.
func (w worker) store(ctx context.Context, m payments.Message) error {
	return w.take(ctx, []payments.Message{m})[0]
}

// take takes what came together through the inbox. Whoever handles the inbox does so at
// once, together where more has come meanwhile, and in the order in which it came.
func (w worker) take(ctx context.Context, batch []payments.Message) []error {
	errs, fresh := make([]error, len(batch)), false
	for i, received := range w.service.ReceiveAll(ctx, batch) {
		errs[i] = received.Err
		fresh = fresh || received.New
	}
	if fresh {
		w.wake()
	}
	return errs
}

// wake lets the inbox be looked at now.
func (w worker) wake() {
	select {
	case w.woken <- struct{}{}:
	default: // it has been woken already, or sleeps for good
	}
}

// webhookHandler returns what answers X's deliveries, or nil where the configuration
// wants none.
func (w worker) webhookHandler() (http.Handler, error) {
	s := w.settings
	if w.client == nil || !s.Twitter.Webhook {
		return nil, nil
	}
	options := twitter.WebhookOptions{BankUserID: s.Twitter.BankUserID, Store: w.store, Delete: w.forget}
	for _, secret := range []struct {
		to             *string
		variable, file string
	}{
		{&options.ConsumerSecret, webhookSecretVariable, s.Twitter.WebhookSecretFile},
		{&options.ClientSecret, clientSecretVariable, s.Twitter.ClientSecretFile},
	} {
		if s.getenv(secret.variable) == "" && secret.file == "" {
			continue // X signs with the other one
		}
		var err error
		if *secret.to, err = s.token(secret.variable, secret.file); err != nil {
			return nil, err
		}
	}
	handler, err := twitter.NewWebhook(w.client, options)
	if err != nil {
		return nil, fmt.Errorf("configuration, [twitter]: %w", err)
	}
	return handler, nil
}

// webhookSecretVariable names the environment variable that holds the app's consumer
// secret, by which X signs what it delivers to an app without an OAuth 2.0 client secret.
const webhookSecretVariable = "TWEETLEDGER_X_WEBHOOK_SECRET"

// forget purges the text of a deleted message.
func (w worker) forget(ctx context.Context, d payments.Deletion) error {
	if _, err := w.service.Delete(ctx, d); err != nil {
		return err
	}
	if w.purged != nil {
		w.purged(d)
	}
	return nil
}
