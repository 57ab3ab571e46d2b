package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"tweetledger/adapters/card"
	"tweetledger/adapters/twitter"
	"tweetledger/adapters/twitter/xsim"
	"tweetledger/internal/console"
	"tweetledger/internal/metrics"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// soakCommand is this binary as the service that the soak kills.
const soakCommand = "tweetledger-soak"

// soakOrders is what the service is told beside its configuration, in the
// environment variable soakVariable.
type soakOrders struct {
	XURL  string
	Clock fastClock
	// Listen leaves it at reading the stream and making orders: nothing is sent, nobody
	// confirms, and the other ways in are closed.
	Listen bool
	// Profile is the file that its processor time is noted in; empty: it is not.
	Profile string
	// Cards has it charge cards, serve its pages, and send notices as its configuration
	// says; then customers confirm on the pages, and not in the process.
	Cards bool
}

// soakXPath is where the service takes what X delivers.
const soakXPath = "/webhooks/x"

const soakVariable = "TWEETLEDGER_TEST_SOAK"

// soakProcess is the service in a process of its own.
type soakProcess struct {
	cmd    *exec.Cmd
	errors *strings.Builder
	hook   http.Handler // its webhook
}

// start starts a process and waits until it takes what comes to its webhook.
func (s *soak) start() {
	s.t.Helper()
	s.now.Store(s.startProcess(s.orders))
}

// startProcess starts the service in a process and waits until it serves.
func (s *stage) startProcess(o soakOrders) *soakProcess {
	s.t.Helper()
	orders, err := json.Marshal(o)
	if err != nil {
		s.t.Fatal(err)
	}
	p := &soakProcess{cmd: exec.CommandContext(s.ctx, soakCommand), errors: &strings.Builder{}}
	p.cmd.Env = append(os.Environ(), soakVariable+"="+string(orders))
	for name, value := range s.variables {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	p.cmd.Stderr = p.errors
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	address, parseErr := url.Parse(strings.TrimSpace(line))
	if err != nil || parseErr != nil {
		s.t.Fatalf("the service says %q, %v: %v, %s", line, err, errors.Join(parseErr, p.cmd.Wait()), p.errors)
	}
	proxy := httputil.NewSingleHostReverseProxy(address)
	proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	p.hook = proxy
	return p
}

// kill ends the process without letting it finish anything.
func (s *soak) kill() {
	s.t.Helper()
	s.stopProcess(s.now.Swap(nil), syscall.SIGKILL)
	s.kills++
}

// end lets the process finish, as an operator would.
func (s *soak) end() {
	s.t.Helper()
	s.stopProcess(s.now.Swap(nil), syscall.SIGTERM)
}

func (s *stage) stopProcess(p *soakProcess, with syscall.Signal) {
	s.t.Helper()
	if err := p.cmd.Process.Signal(with); err != nil {
		s.t.Fatalf("the service ended by itself: %v, %s", errors.Join(err, p.cmd.Wait()), p.errors)
	}
	err := p.cmd.Wait()
	if killed := with == syscall.SIGKILL; killed != (err != nil) || (killed && err.Error() != "signal: killed") {
		s.t.Fatalf("%v of the service: %v, %s", with, err, p.errors)
	}
}

// soakService is the process: the service as "serve" runs it, on fast time, and
// customers who confirm. It ends with what started it.
func soakService() int {
	var orders soakOrders
	if err := json.Unmarshal([]byte(os.Getenv(soakVariable)), &orders); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	env := steered(time.Now(), strings.NewReader(""), io.Discard, io.Discard, os.Getenv)
	env.now = orders.Clock.Now
	a := &app{environment: env, registry: metrics.New()}
	err := profiled(orders.Profile, func() error { return soakServe(ctx, a, orders, os.Stdout) })
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	if err = errors.Join(err, a.close()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	return exitOK
}

// profiled does something and notes in a file, where one is named, what took the
// processor's time.
func profiled(file string, do func() error) error {
	if file == "" {
		return do()
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return errors.Join(err, out.Close())
	}
	err = do()
	pprof.StopCPUProfile()
	return errors.Join(err, out.Close())
}

// silentPhone takes every notice and keeps none, however many there are.
type silentPhone struct{}

// Notify implements payments.Notifier.
func (silentPhone) Notify(context.Context, payments.Notice) error { return nil }

// soakServe serves until ctx ends, and writes to out where its webhook is.
func soakServe(ctx context.Context, a *app, orders soakOrders, out io.Writer) error {
	clock := orders.Clock
	service, settings, err := soakPayments(ctx, a, clock.Factor*time.Second)
	if err != nil {
		return err
	}
	settings.Twitter.APIURL, settings.Twitter.Compliance, settings.Twitter.DirectMessages, settings.Twitter.Webhook = orders.XURL, !orders.Listen, !orders.Listen, true
	client, err := twitter.NewClient(twitter.Options{BaseURL: orders.XURL, AppToken: twitter.StaticToken(xsim.DefaultAppToken), UserToken: twitter.StaticToken("xsim-user-" + stageBank),
		HTTPClient: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}, Clock: clock.Now, After: clock.After})
	if err != nil {
		return err
	}
	w := worker{service: service, client: client, settings: settings, log: slog.New(slog.DiscardHandler), notifier: silentPhone{}, woken: make(chan struct{}, 1)}
	mux := http.NewServeMux()
	webhook, err := w.webhookHandler()
	if err != nil {
		return err
	}
	mux.Handle(soakXPath, webhook)
	if orders.Cards {
		if err := w.soakCards(a, mux); err != nil {
			return err
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return errors.Join(ctx.Err(), server.Close())
	})
	every := func(interval time.Duration, woken chan struct{}, what string, work func(context.Context) (int, error)) {
		group.Go(func() error { return w.repeat(ctx, interval/clock.Factor, woken, what, work) })
	}
	every(inboxInterval, w.woken, "inbox", func(ctx context.Context) (int, error) { return service.HandlePending(ctx, inboxBatch) })
	every(sweepInterval, nil, "purge", func(ctx context.Context) (int, error) { return service.PurgeDeletions(ctx, workBatch) })
	every(sweepInterval, nil, "unclaimed", func(ctx context.Context) (int, error) { return service.SweepUnclaimed(ctx, workBatch) })
	if !orders.Listen {
		every(outboxInterval, nil, "deliver", w.deliver)
	}
	switch customers := (&soakCustomers{app: a, service: service, clock: clock}); {
	case orders.Cards:
		every(cardInterval, w.cardNews, "finish charges of cards", func(ctx context.Context) (int, error) { return service.SweepCharges(ctx, workBatch) })
		every(sweepInterval, nil, "expire orders", func(ctx context.Context) (int, error) { return service.ExpireOrders(ctx, workBatch) })
	case !orders.Listen:
		every(sweepInterval, nil, "confirm", func(ctx context.Context) (int, error) { return 0, customers.confirm(ctx) })
	}
	ways := newWays(w)
	ways.pause = func(ctx context.Context, d time.Duration) error { return pause(ctx, d/clock.Factor) }
	group.Go(func() error { return ways.run(ctx) })
	if _, err := fmt.Fprintln(out, "http://"+listener.Addr().String()); err != nil {
		return err
	}
	return group.Wait()
}

// soakPayments opens the service with a lease on outgoing rows that is long in fast
// time: on a slow machine a short one would run out while a row is sent.
func soakPayments(ctx context.Context, a *app, lease time.Duration) (*payments.Service, settings, error) {
	book, err := a.openBook(ctx)
	if err != nil {
		return nil, settings{}, err
	}
	set, err := a.settings()
	if err != nil {
		return nil, settings{}, err
	}
	config, err := set.payments()
	if err != nil {
		return nil, settings{}, err
	}
	config.Outbox.Lease = max(config.Outbox.Lease, lease)
	parser, err := twitter.NewParser(set.parser())
	if err != nil {
		return nil, settings{}, err
	}
	processor, err := set.cardProcessor()
	if err != nil {
		return nil, settings{}, err
	}
	service, err := payments.New(book, config, parser, payments.Options{Random: a.random, Processor: processor})
	return service, set, err
}

// soakCards adds to a process what serves customers who pay by card: the pages, the
// card processor's webhook, and notices by the gateway of the configuration.
func (w *worker) soakCards(a *app, mux *http.ServeMux) error {
	var err error
	w.cardNews = make(chan struct{}, 1)
	if w.notifier, err = a.notifier(w.settings, w.log); err != nil {
		return err
	}
	hook, err := w.settings.cardWebhook(w.service, w.cardNews, card.WebhookOptions{Clock: a.now, Log: w.log})
	if err != nil {
		return err
	}
	mux.Handle(w.settings.Card.WebhookPath, hook)
	pages, err := console.New(w.service, nil, w.log)
	if err != nil {
		return err
	}
	mux.Handle("/", pages)
	return nil
}

// soakCustomers are the customers who confirm.
type soakCustomers struct {
	app     *app
	service *payments.Service
	clock   fastClock
	tried   sync.Map // orders whose confirmation was asked for, and refused for good
}

func (c *soakCustomers) confirm(ctx context.Context) error {
	var waiting []payments.Order
	err := c.app.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		waiting, err = toConfirm(ctx, tx, c.clock.Now())
		return err
	})
	for _, o := range waiting {
		if _, again := c.tried.Load(o.ID); again || err != nil {
			continue
		}
		_, confirmErr := c.service.Confirm(ctx, payments.ConfirmRequest{OrderID: o.ID, Code: soakCode, Actor: "soak"})
		if ledger.CodeOf(confirmErr) == ledger.CodeConflict {
			c.tried.Store(o.ID, true)
		} else if confirmErr != nil {
			return confirmErr
		}
	}
	return err
}

// toConfirm returns the orders that customers are about to confirm: every fifth of
// the newest.
func toConfirm(ctx context.Context, tx *sqldb.Tx, now time.Time) ([]payments.Order, error) {
	all, err := payments.ListOrders(ctx, tx, payments.OrderFilter{State: payments.StateAwaitingConfirmation, From: now.Add(-10 * time.Minute), Limit: payments.MaxPage})
	var fifth []payments.Order
	for _, o := range all {
		if o.ID[0]%5 == 0 {
			fifth = append(fifth, o)
		}
	}
	return fifth, err
}
