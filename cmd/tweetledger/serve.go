package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"tweetledger/adapters/card"
	"tweetledger/adapters/twitter"
	"tweetledger/internal/console"
	"tweetledger/internal/metrics"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger/engine"
)

// Bounds of the HTTP server.
const (
	headerTimeout   = 5 * time.Second
	requestTimeout  = 30 * time.Second
	idleTimeout     = 2 * time.Minute
	maxHeaderBytes  = 16 << 10
	shutdownTimeout = 10 * time.Second
	healthTimeout   = 2 * time.Second
)

func (a *app) serveCommand() *cobra.Command {
	var listen string
	c := &cobra.Command{
		Use:     "serve",
		Short:   "Run the service: confirmation pages, the stream of tweets, replies, sweepers",
		Example: `  tweetledger serve --listen 127.0.0.1:8080`,
		Long: `serve runs until it is interrupted. It serves

  /confirm/…   the pages on which customers confirm payments (path of service.page_url)
  /link/…      the pages on which customers link Twitter accounts, beside them, where
               twitter.client_id is set
  /enrol, /verify  the pages on which people become customers, and customers prove their
               mobile number again, beside them
  /account/…   customers' own pages ("tweetledger customer account-page"), beside them;
               /card-return/… takes back who was at the card processor's page
  /healthz     200 where the process and its database answer
  /metrics     Prometheus metrics

and works the inbox, the outbox, the terms of orders, of holds and of unclaimed
payments. It seals what was posted, verifies the book every verify.interval, and announces
heads where seal.publish says so; of several processes one does each of these. With
twitter.api_url in the configuration it replies to tweets, and one of several processes
reads them: the stream, the mentions and, where twitter.direct_messages says so, direct
messages. With twitter.webhook it also takes what X delivers, at

  /webhooks/x  twitter.webhook_path

and with card.api_url it finishes charges of cards, of which the processor has news at

  /webhooks/card  card.webhook_path

Any number of processes may serve one book. docs/twitter.md tells about X.

Notices to customers go where notify.sms says: to an SMS provider by signed webhook, to a
mail server, or (the default) to nobody but the log of --verbose, with phone numbers and
links masked. docs/operations.md tells how to attach a provider.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.serve(c.Context(), listen) },
	}
	c.Flags().StringVar(&listen, "listen", "", "address to listen on (default service.listen of the configuration)")
	return c
}

func (a *app) serve(ctx context.Context, listen string) error {
	logger := slog.New(slog.NewTextHandler(a.err, nil))
	a.registry = metrics.New()
	service, s, err := a.openPayments(ctx)
	if err != nil {
		return err
	}
	if listen == "" {
		listen = s.Service.Listen
	}
	notifier, err := a.notifier(s, a.log())
	if err != nil {
		return err
	}
	client, err := a.client(s)
	if err != nil {
		return err
	}
	identifier, err := s.identifier(client, service.Config())
	if err != nil {
		return err
	}
	pages, err := console.New(service, identifier, logger)
	if err != nil {
		return err
	}
	if _, err := service.IndexHandles(ctx); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", listen, err)
	}
	w := worker{service: service, client: client, settings: s, log: logger, notifier: notifier, woken: make(chan struct{}, 1), cardNews: make(chan struct{}, 1), outbox: newOutboxMetrics(a.registry), enrol: newEnrolmentMetrics(a.registry)}
	mux := routes(pages, a.db, a.registry)
	webhook, err := w.webhookHandler()
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	if webhook != nil {
		mux.Handle(s.Twitter.WebhookPath, webhook)
	}
	cardWebhook, err := s.cardWebhook(service, w.cardNews, card.WebhookOptions{Clock: a.now, Log: logger, Registerer: a.registry})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	if cardWebhook != nil {
		mux.Handle(s.Card.WebhookPath, cardWebhook)
		w.cards = newCardMetrics(a.registry)
	}
	server := newServer(mux)
	if w.jobs, err = newJobs(service, s, a.registry, logger); err != nil {
		return errors.Join(err, listener.Close())
	}
	if w.jobs.reconciler, err = a.servedReconciler(ctx, service, client); err != nil {
		return errors.Join(err, listener.Close())
	}
	fmt.Fprintf(a.out, "serving on http://%s\n", listener.Addr())

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve on %s: %w", listen, err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		return server.Shutdown(stopping)
	})
	w.start(ctx, group)
	err = group.Wait()
	w.jobs.release(ctx)
	if errors.Is(err, context.Canceled) {
		return nil // interrupted, as asked
	}
	return err
}

func newServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
	}
}

// routes puts the pages beside what operators look at.
func routes(pages http.Handler, db *sqldb.DB, registry *prometheus.Registry) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("/", pages)
	mux.Handle("GET /metrics", metrics.Handler(registry))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
		defer cancel()
		if err := db.CheckSchema(ctx); err != nil {
			http.Error(w, "the database does not answer, or its schema does not fit", http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	})
	return mux
}

// client returns the client of X, or nil where the configuration has none.
func (a *app) client(s settings) (*twitter.Client, error) {
	if s.Twitter.APIURL == "" {
		return nil, nil
	}
	appToken, err := s.token("TWEETLEDGER_X_TOKEN", s.Twitter.TokenFile)
	if err != nil {
		return nil, err
	}
	userToken, err := a.userToken(s)
	if err != nil {
		return nil, err
	}
	options := twitter.Options{BaseURL: s.Twitter.APIURL, AppToken: twitter.StaticToken(appToken), UserToken: userToken, Clock: a.now, Log: a.log()}
	if a.registry != nil {
		options.Registerer = a.registry
	}
	return twitter.NewClient(options)
}

// identifier returns who knows X's page on which customers say which account is
// theirs, or nil where the configuration has no OAuth 2.0 client.
func (s settings) identifier(client *twitter.Client, config payments.Config) (console.Identifier, error) {
	if client == nil || s.Twitter.ClientID == "" {
		return nil, nil
	}
	linker, err := s.linker(client, config)
	if err != nil {
		return nil, err
	}
	return linker, nil
}

// linker returns the app's OAuth 2.0 client at X.
func (s settings) linker(client *twitter.Client, config payments.Config) (*twitter.Linker, error) {
	secret, err := s.clientSecret()
	if err != nil {
		return nil, err
	}
	linker, err := twitter.NewLinker(client, twitter.LinkOptions{ClientID: s.Twitter.ClientID, ClientSecret: secret,
		AuthorizeURL: s.Twitter.AuthorizeURL, RedirectURL: redirectURL(config)})
	if err != nil {
		return nil, fmt.Errorf("configuration, [twitter]: %w", err)
	}
	return linker, nil
}

// redirectURL is where X sends customers back to; it is registered with the app.
func redirectURL(config payments.Config) string { return config.LinkURL() + "/callback" }

// clientSecret returns the secret of the app's OAuth 2.0 client, or "" of a public one.
func (s settings) clientSecret() (string, error) {
	if s.getenv(clientSecretVariable) == "" && s.Twitter.ClientSecretFile == "" {
		return "", nil
	}
	return s.token(clientSecretVariable, s.Twitter.ClientSecretFile)
}

// clientSecretVariable names the environment variable that holds the secret of the
// app's OAuth 2.0 client.
const clientSecretVariable = "TWEETLEDGER_X_CLIENT_SECRET"

// worker does what happens without anybody asking.
type worker struct {
	service  *payments.Service
	client   *twitter.Client // nil: no connection to X
	settings settings
	log      *slog.Logger
	notifier payments.Notifier
	jobs     *jobs          // what one process of several does; nil: none
	woken    chan struct{}  // gets a value when the inbox has something new; nil: it is looked at every inboxInterval
	outbox   *outboxMetrics // nil: nobody watches
	enrol    *enrolmentMetrics
	cards    *cardMetrics  // nil: no cards are charged
	cardNews chan struct{} // gets a value when the card processor has news
	// observe, where it is set, is told what became of each message.
	observe func(payments.Message, payments.Handled)
	purged  func(payments.Deletion) // likewise of deletions
}

// How often the workers look, and how much they take at once. A round that was
// full is followed by the next at once.
const (
	outboxInterval = time.Second
	inboxInterval  = 5 * time.Second
	sweepInterval  = time.Minute
	cardInterval   = 10 * time.Second
	goneInterval   = time.Hour // X gives 24 hours, and all texts are looked at
	sealInterval   = time.Second
	dueInterval    = time.Minute // looks whether a job of an interval is due
	gaugeInterval  = 15 * time.Second
	workBatch      = 100
	inboxBatch     = 400 // looked for at once; a transaction takes fewer
)

// ruleOwner marks our rules among those of the app's stream.
const ruleOwner = "tweetledger"

// start runs the workers in a group until ctx ends.
func (w worker) start(ctx context.Context, group *errgroup.Group) {
	every := func(interval time.Duration, what string, work func(context.Context) (int, error)) {
		group.Go(func() error { return w.repeat(ctx, interval, nil, what, work) })
	}
	if w.client != nil {
		every(outboxInterval, "deliver replies", w.deliverReplies)
	}
	every(outboxInterval, "deliver notices", w.deliverNotices)
	group.Go(func() error { return w.handleInbox(ctx) })
	every(sweepInterval, "expire orders", func(ctx context.Context) (int, error) { return w.service.ExpireOrders(ctx, workBatch) })
	every(sweepInterval, "expire enrolments", func(ctx context.Context) (int, error) { return w.service.ExpireEnrolments(ctx, workBatch) })
	every(sweepInterval, "attend to unclaimed payments", func(ctx context.Context) (int, error) { return w.service.SweepUnclaimed(ctx, workBatch) })
	every(sweepInterval, "expire holds", func(ctx context.Context) (int, error) { return w.service.Engine().ExpireHolds(ctx, workBatch) })
	every(sweepInterval, "purge texts", func(ctx context.Context) (int, error) { return w.service.PurgeTexts(ctx, workBatch) })
	every(goneInterval, "purge texts of accounts that are gone", func(ctx context.Context) (int, error) {
		return w.service.PurgeGone(ctx, twitter.Channel, workBatch)
	})
	every(sweepInterval, "forget deletions", func(ctx context.Context) (int, error) { return w.service.PurgeDeletions(ctx, workBatch) })
	if w.outbox != nil {
		every(gaugeInterval, "measure the outbox", func(ctx context.Context) (int, error) { return 0, w.outbox.measure(ctx, w.service.Engine()) })
	}
	if w.enrol != nil {
		every(gaugeInterval, "measure enrolments", func(ctx context.Context) (int, error) { return 0, w.enrol.measure(ctx, w.service.Engine()) })
	}
	if w.cards != nil {
		every(gaugeInterval, "measure the cards", func(ctx context.Context) (int, error) { return 0, w.cards.measure(ctx, w.service.Engine()) })
		group.Go(func() error {
			return w.repeat(ctx, cardInterval, w.cardNews, "finish charges of cards", w.sweepCards)
		})
	}
	if w.jobs != nil {
		every(sealInterval, "seal the journal", w.jobs.seal)
		every(gaugeInterval, "measure sealing", w.jobs.measure)
		if w.jobs.key != nil {
			every(dueInterval, "announce heads", w.jobs.announce)
		}
		every(gaugeInterval, "measure breaks", w.jobs.measureBreaks)
		if w.jobs.reconciler != nil {
			every(dueInterval, "reconcile the book", w.jobs.reconcile)
		}
		if w.settings.Verify.Interval > 0 {
			every(dueInterval, "verify the book", w.jobs.verify)
		}
		if w.jobs.payouts != nil {
			every(dueInterval, "prepare payouts", w.jobs.payouts.run)
		}
	}
	if w.client != nil {
		group.Go(func() error { return newWays(w).run(ctx) })
	}
}

// sweepCards finishes charges of cards, and what became of cards that customers register.
func (w worker) sweepCards(ctx context.Context) (int, error) {
	charges, err := w.service.SweepCharges(ctx, workBatch)
	cards, failed := w.service.SweepCards(ctx, workBatch)
	return max(charges, cards), errors.Join(err, failed)
}

// handleInbox does what the messages ask for that wait in the inbox, at once where w is
// woken, until ctx ends.
func (w worker) handleInbox(ctx context.Context) error {
	return w.repeat(ctx, inboxInterval, w.woken, "handle the inbox", func(ctx context.Context) (int, error) { return w.service.HandlePending(ctx, inboxBatch) })
}

// repeat runs work every interval, when it is woken, and again at once after a full
// round. A failure is logged and does not end it.
func (w worker) repeat(ctx context.Context, interval time.Duration, woken <-chan struct{}, what string, work func(context.Context) (int, error)) error {
	timer := time.NewTicker(interval)
	defer timer.Stop()
	for {
		done, err := work(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			w.log.ErrorContext(ctx, "a worker failed and will try again", "work", what, "err", err)
		}
		if err == nil && done >= workBatch {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		case <-woken:
		}
	}
}

// deliver sends what is due.
func (w worker) deliver(ctx context.Context) (int, error) {
	replies := 0
	if w.client != nil {
		var err error
		if replies, err = w.deliverReplies(ctx); err != nil {
			return replies, err
		}
	}
	notices, err := w.deliverNotices(ctx)
	return replies + notices, err
}

// deliverReplies and deliverNotices work beside each other: a gateway that is slow or
// away holds up no replies, and X no notices.
func (w worker) deliverReplies(ctx context.Context) (int, error) {
	return w.deliverBy(ctx, map[string]payments.Replier{twitter.Channel: w.client, twitter.ChannelDirect: w.client}, nil)
}

func (w worker) deliverNotices(ctx context.Context) (int, error) {
	return w.deliverBy(ctx, nil, w.notifier)
}

func (w worker) deliverBy(ctx context.Context, repliers map[string]payments.Replier, notifier payments.Notifier) (int, error) {
	done, err := w.service.Deliver(ctx, repliers, notifier, workBatch)
	if w.outbox != nil {
		w.outbox.delivered(done)
	}
	return done.Sent + done.Retried + done.Dead, err
}

// streamPause is how long a stream that has ended waits before it begins anew:
// what goes wrong for longer than the client's own retries takes a person.
const streamPause = time.Minute

// stream reads the filtered stream until ctx ends or X refuses for good. When our
// own side fails (the database is away, say) the rest of the service goes on, and
// the stream begins anew; what it misses meanwhile, the mentions bring.
func (w worker) stream(ctx context.Context) error {
	for {
		err := w.streamOnce(ctx)
		if _, refused := errors.AsType[*twitter.APIError](err); refused || ctx.Err() != nil {
			return err
		}
		w.log.ErrorContext(ctx, "the stream of tweets ended and will begin anew", "in", streamPause, "err", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(streamPause):
		}
	}
}

func (w worker) streamOnce(ctx context.Context) error {
	if err := w.client.DeclareRules(ctx, ruleOwner, []twitter.Rule{twitter.BankRule(w.settings.Twitter.BankHandle)}); err != nil {
		return fmt.Errorf("declare the rules of the stream: %w", err)
	}
	return w.client.Stream(ctx, w.receive)
}

// compliancePartitions is how many parts X deals its deletions out in; all of
// them together are all deletions. Source: X API, compliance streams.
const compliancePartitions = 4

// compliance reads one part of the deletions until ctx ends or X refuses for good.
func (w worker) compliance(ctx context.Context, partition int) error {
	return w.client.Compliance(ctx, partition, w.forget)
}

// receive takes a message through the inbox and does what it asks
// for, for whoever waits for that. Stored is enough: what could not be handled now is handled from the inbox.
func (w worker) receive(ctx context.Context, m payments.Message) error {
	received, err := w.service.Receive(ctx, m)
	if err != nil {
		return err
	}
	handled, err := w.service.Handle(ctx, received.ID)
	if err != nil {
		w.log.ErrorContext(ctx, "a message waits in the inbox", "message", received.ID, "err", err)
		return nil
	}
	if w.observe != nil {
		w.observe(m, handled)
	}
	return nil
}

// engineOptions are those of the engine of a process.
func (a *app) engineOptions() (engine.Options, error) {
	s, err := a.settings()
	if err != nil {
		return engine.Options{}, err
	}
	options := engine.Options{Clock: a.now, Log: a.log()}
	if s.Book.named {
		options.FiscalYearStarts = time.Month(s.Book.FiscalYearStarts)
	}
	if a.registry != nil {
		options.Registerer = a.registry
	}
	return options, nil
}
