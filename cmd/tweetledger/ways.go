package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"tweetledger/adapters/twitter"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
)

// The ways in from X. Of several processes one goes them: X allows an app one
// connection to the stream, counts requests by app, and bills what is read.

// ways are the ways in of a process, while it holds their lease.
type ways struct {
	worker
	lease *heldLease
	// refused is set while X refuses the stream: then the mentions are read more often.
	refused atomic.Bool
	pause   func(ctx context.Context, d time.Duration) error // waits, or returns the context's error
}

const (
	listenerLease = "listener"
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
	// refusedPause is how long after a refusal the stream is tried again: somebody has
	// to buy access or replace a token first.
	refusedPause = 15 * time.Minute
	// firstOverlap is how far a book without messages is read back: nobody was served
	// before.
	firstOverlap = 15 * time.Minute
)

func newWays(w worker) *ways {
	return &ways{worker: w, lease: &heldLease{book: w.service.Engine(), name: listenerLease, holder: holder()}, pause: pause}
}

// run goes all ways in while this process holds the lease, until ctx ends.
func (w *ways) run(ctx context.Context) error {
	defer func() {
		if err := w.lease.release(ctx); err != nil {
			w.log.WarnContext(ctx, "a lease was not given back; it expires", "lease", w.lease.name, "err", err)
		}
	}()
	for {
		_, got, err := w.lease.hold(ctx)
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
		_, got, err := w.lease.hold(ctx)
		if err != nil {
			w.log.ErrorContext(ctx, "the lease to listen to X was not extended", "err", err)
			got = w.service.Engine().Now().Before(w.lease.lease.ExpiresAt.Add(-keepInterval))
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

// persist begins work anew when it ends: after streamPause where our own side failed,
// after refusedPause where X refuses. The rest of the service goes on meanwhile.
func (w *ways) persist(ctx context.Context, what string, work func(context.Context) error) error {
	for {
		err := work(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wait := streamPause
		if _, refused := errors.AsType[*twitter.APIError](err); refused {
			wait = refusedPause
		}
		w.log.ErrorContext(ctx, "reading from X ended and will begin anew", "what", what, "in", wait, "err", err)
		if err := w.pause(ctx, wait); err != nil {
			return err
		}
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
		since, err := w.latest(ctx, twitter.Channel)
		if err != nil {
			return err
		}
		w.refused.Store(false)
		err = w.client.Listen(ctx, twitter.Listening{BankUserID: w.settings.Twitter.BankUserID, Rule: rule, Since: since}, w.receive)
		w.refused.Store(true)
		return err
	})
}

// latest returns when the newest message was written that somebody listened for.
func (w *ways) latest(ctx context.Context, channel string) (time.Time, error) {
	var at time.Time
	err := w.service.Engine().DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		at, err = payments.LatestMessage(ctx, tx, channel,
			[]string{twitter.ViaStream, twitter.ViaSearch, twitter.ViaMentions, twitter.ViaWebhook, twitter.ViaDirect})
		return err
	})
	return at, err
}

// readMentions reads the mentions, the safety net beside the stream and what there is
// without it.
func (w *ways) readMentions(ctx context.Context) error {
	interval := func() time.Duration {
		if !w.settings.Twitter.Stream || w.refused.Load() {
			return fallbackInterval
		}
		return mentionsInterval
	}
	return w.poll(ctx, "mentions", twitter.Channel, interval, func(ctx context.Context, from time.Time) (time.Time, error) {
		return w.client.ReadMentions(ctx, w.settings.Twitter.BankUserID, from, w.receive)
	})
}

// readDirect reads the direct messages to the bank.
func (w *ways) readDirect(ctx context.Context) error {
	return w.poll(ctx, "direct messages", twitter.ChannelDirect, func() time.Duration { return directInterval }, func(ctx context.Context, from time.Time) (time.Time, error) {
		return w.client.ReadDirect(ctx, w.settings.Twitter.BankUserID, from, w.receive)
	})
}

// poll reads again and again, from some minutes before the newest message that is
// there. A failure is logged and does not end it.
func (w *ways) poll(ctx context.Context, what, channel string, interval func() time.Duration, read func(ctx context.Context, from time.Time) (time.Time, error)) error {
	var from time.Time
	for {
		if from.IsZero() {
			latest, err := w.latest(ctx, channel)
			switch {
			case err != nil:
				w.log.ErrorContext(ctx, "where to read on is not known", "what", what, "err", err)
			case latest.IsZero():
				from = w.service.Engine().Now().Add(-firstOverlap)
			default:
				from = latest.Add(-firstOverlap)
			}
		}
		if !from.IsZero() {
			next, err := read(ctx, from)
			if err != nil && ctx.Err() == nil {
				w.log.ErrorContext(ctx, "reading from X failed and will be tried again", "what", what, "err", err)
			}
			from = next
		}
		if err := w.pause(ctx, interval()); err != nil {
			return err
		}
	}
}

// store takes a message through the inbox, for whoever has no time to wait until it
// is handled.
func (w worker) store(ctx context.Context, m payments.Message) error {
	if _, err := w.service.Receive(ctx, m); err != nil {
		return err
	}
	w.wake()
	return nil
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
