package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"tweetledger/adapters/notify"
	"tweetledger/adapters/twitter"
	"tweetledger/adapters/twitter/xsim"
	"tweetledger/internal/metrics"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// stage is a book with customers, and a simulated X on which they tweet.
type stage struct {
	t         *testing.T
	ctx       context.Context
	variables map[string]string
	sim       *xsim.Server
	xURL      string
	ticks     chan struct{} // a value ends one wait of a worker
}

// stageTimeout ends a test that waits for what never comes.
const stageTimeout = time.Minute

// The people of a stage.
const (
	stageBank    = "700000001"
	stageMarie   = "700000101"
	stageYoann   = "700000102"
	stageCharity = "700000201"
)

func newStage(t *testing.T, opts xsim.Options) *stage {
	t.Helper()
	dir := t.TempDir()
	if err := cheapSecrets(dir); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), stageTimeout)
	t.Cleanup(cancel)
	s := &stage{t: t, ctx: ctx, sim: xsim.New(opts), ticks: make(chan struct{}), variables: map[string]string{
		"TWEETLEDGER_DB": "sqlite:" + filepath.Join(dir, "book.db"), "TWEETLEDGER_KEY": testKey, "TWEETLEDGER_CONFIG": filepath.Join(dir, defaultConfig),
		webhookSecretVariable: "the app's API secret key", "TWEETLEDGER_X_TOKEN": xsim.DefaultAppToken, "TWEETLEDGER_X_USER_TOKEN": "xsim-user-" + stageBank,
	}}
	server := httptest.NewServer(s.sim)
	t.Cleanup(func() {
		s.sim.Close()
		server.Close()
	})
	s.xURL = server.URL
	for id, handle := range map[string]string{stageBank: "SmoneyFR", stageMarie: "marie_test", stageYoann: "yoann_test", stageCharity: "ACF_France"} {
		s.sim.AddUser(id, handle, handle)
	}
	s.run("init")
	s.open(func(p *payments.Service) error {
		for i, c := range []struct{ id, handle string }{{stageMarie, "marie_test"}, {stageYoann, "yoann_test"}} {
			number := fmt.Sprintf("c-%06d", i+1)
			if _, err := p.EnrolCustomer(ctx, payments.NewCustomer{Name: c.handle, Phone: fmt.Sprintf("+3361234567%d", i)}); err != nil {
				return err
			}
			if err := p.LinkCustomer(ctx, twitter.Channel, c.id, c.handle, number); err != nil {
				return err
			}
			if _, err := p.TopUp(ctx, number, 1000_00, "charge-"+number); err != nil {
				return err
			}
		}
		if _, err := p.EnrolPayee(ctx, payments.NewPayee{Code: "acf", Kind: payments.Charity, Name: "Action contre la Faim", IBAN: "FR14 2004 1010 0505 0001 3M02 606"}, "anne", "bruno"); err != nil {
			return err
		}
		return p.LinkPayee(ctx, twitter.Channel, stageCharity, "ACF_France", "acf")
	})
	return s
}

// run carries out a command line.
func (s *stage) run(args ...string) string {
	s.t.Helper()
	return s.runAt(time.Now(), args...)
}

// runAt carries out a command line at an instant.
func (s *stage) runAt(now time.Time, args ...string) string {
	s.t.Helper()
	var out bytes.Buffer
	env := steered(now, strings.NewReader(""), &out, &out, s.getenv)
	if code := run(s.ctx, args, env); code != exitOK {
		s.t.Fatalf("%s: exit code %d: %s", strings.Join(args, " "), code, out.String())
	}
	return out.String()
}

func (s *stage) getenv(name string) string { return s.variables[name] }

// open does something with the book that no process serves yet.
func (s *stage) open(do func(*payments.Service) error) {
	s.t.Helper()
	a := s.app()
	service, _, err := a.openPayments(s.ctx)
	if err == nil {
		err = do(service)
	}
	if closeErr := a.close(); err == nil {
		err = closeErr
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) app() *app {
	env := steered(time.Now(), strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}, s.getenv)
	env.now = time.Now
	return &app{environment: env, registry: metrics.New()}
}

// serving is one process that listens to X, as "serve" does.
type serving struct {
	*stage
	app   *app
	ways  *ways
	stop  context.CancelFunc
	ended chan error
}

// serve starts a process. change may set what its configuration would say.
func (s *stage) serve(change func(*settings)) *serving {
	s.t.Helper()
	a := s.app()
	service, settings, err := a.openPayments(s.ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	settings.Twitter.APIURL = s.xURL
	if change != nil {
		change(&settings)
	}
	client, err := a.client(settings)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(s.ctx)
	p := &serving{stage: s, app: a, stop: stop, ended: make(chan error, 1), ways: newWays(worker{service: service, client: client, settings: settings,
		log: slog.New(slog.DiscardHandler), notifier: notify.NewRecorder(&bytes.Buffer{}), woken: make(chan struct{}, 1)})}
	p.ways.pause = func(ctx context.Context, _ time.Duration) error {
		select {
		case <-s.ticks:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	handled := make(chan error, 1)
	go func() { handled <- p.ways.handleInbox(ctx) }()
	go func() {
		err := p.ways.run(ctx)
		if inboxErr := <-handled; inboxErr == nil {
			s.t.Error("the inbox is not handled any more")
		}
		p.ended <- err
	}()
	s.t.Cleanup(p.end)
	return p
}

// end stops the process and waits until it has ended.
func (p *serving) end() {
	p.t.Helper()
	if p.stop == nil {
		return
	}
	p.stop()
	p.stop = nil
	if err := <-p.ended; err == nil {
		p.t.Error("a process ended by itself")
	}
	if err := p.app.close(); err != nil {
		p.t.Error(err)
	}
}

// await lets time go on for the workers until something is so.
func (s *stage) await(what string, so func() bool) {
	s.t.Helper()
	for !so() {
		select {
		case s.ticks <- struct{}{}:
		case <-s.ctx.Done():
			s.t.Fatalf("it never came to this: %s", what)
		default:
			runtime.Gosched()
		}
	}
}

// orders returns all orders, by the first id of their message.
func (p *serving) orders() map[string][]payments.Order {
	p.t.Helper()
	orders := map[string][]payments.Order{}
	err := p.app.db.Read(p.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		list, err := payments.ListOrders(ctx, tx, payments.OrderFilter{Limit: payments.MaxPage})
		for _, o := range list {
			orders[o.FirstID] = append(orders[o.FirstID], o)
		}
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return orders
}

// ordered reports whether a message has made exactly one order, over an amount.
func (p *serving) ordered(id string, amount ledger.Amount) bool {
	p.t.Helper()
	list := p.orders()[id]
	if len(list) > 1 || len(list) == 1 && list[0].Amount != amount {
		p.t.Fatalf("message %s made %+v", id, list)
	}
	return len(list) == 1
}
