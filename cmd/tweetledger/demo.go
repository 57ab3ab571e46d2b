package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"tweetledger/adapters/card/cardsim"
	"tweetledger/adapters/notify"
	"tweetledger/adapters/twitter"
	"tweetledger/adapters/twitter/xsim"
	"tweetledger/internal/console"
	"tweetledger/internal/metrics"
	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger/engine"
)

func (a *app) demoCommand() *cobra.Command {
	var folder string
	var serve bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Tell the whole story: from a tweet to a trial balance and a charity's statement",
		Example: `  tweetledger demo
  tweetledger demo --serve
  tweetledger demo --db postgres://postgres@localhost/postgres`,
		Long: `demo makes a new book in a fresh folder, starts a simulated X, bank and card acquirer and
the confirmation pages on 127.0.0.1, and plays a day of payments by tweet through
the same code that runs in production. It leaves the book and all files behind.

With --db postgres://… or cockroach://… the book is a new database on that server,
whose user must be allowed to make one.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			d, err := a.newDemo(c.Context(), folder)
			if err != nil {
				return err
			}
			err = d.run(c.Context(), serve)
			return errors.Join(err, d.close())
		},
	}
	c.Flags().StringVar(&folder, "dir", "", "folder for the book and the files (default a new one in the system's temporary folder)")
	c.Flags().BoolVar(&serve, "serve", false, "keep the pages running when the story is told, until interrupted")
	return c
}

// demo is the stage on which the story is told: the service as in production,
// and simulated neighbours.
type demo struct {
	*narrator
	app      *app
	folder   string
	settings settings

	payments *payments.Service
	payouts  *payouts.Service
	acquirer *cardsim.Server
	x        *xsim.Server
	xURL     string
	pages    *http.ServeMux
	pagesURL string
	bank     *twitter.Client
	phone    *notify.Recorder
	sms      *os.File
	servers  []*http.Server
	worker   worker
	arrived  chan arrival
	purged   chan payments.Deletion
	stop     context.CancelFunc
	workers  sync.WaitGroup
	files    []string
	people   map[string]*person // by handle
	told     map[string]bool    // replies, by id
}

// arrival is a message that came out of the stream, and what became of it.
type arrival struct {
	message payments.Message
	handled payments.Handled
}

// newDemo opens a new book and starts the neighbours.
func (a *app) newDemo(ctx context.Context, folder string) (*demo, error) {
	if folder == "" {
		made, err := os.MkdirTemp("", "tweetledger-demo-")
		if err != nil {
			return nil, fmt.Errorf("make a folder for the demo: %w", err)
		}
		folder = made
	} else if err := os.MkdirAll(folder, 0o750); err != nil {
		return nil, fmt.Errorf("make the folder %s: %w", folder, err)
	}
	d := &demo{narrator: newNarrator(a.out, a.colour(a.out)), app: a, folder: folder, arrived: make(chan arrival, 64), purged: make(chan payments.Deletion, 64), people: map[string]*person{}, told: map[string]bool{}}
	err := d.start(ctx)
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *demo) start(ctx context.Context) error {
	d.app.registry = metrics.New()
	book, err := d.newBook(ctx)
	if err != nil {
		return err
	}
	if err := d.startNeighbours(); err != nil {
		return err
	}
	if d.settings, err = d.app.settings(); err != nil {
		return err
	}
	d.settings.Service.PageURL = d.pagesURL + "/confirm"
	d.settings.Twitter.APIURL = d.xURL
	d.settings.folder = d.folder
	if err := d.startAcquirer(); err != nil {
		return err
	}
	d.settings.Service.KeyFile = "tweetledger.key"
	if err := writeKey(d.file("tweetledger.key")); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make the service's key: %w", err)
	}
	if d.payments, err = d.app.newPayments(book, d.settings); err != nil {
		return err
	}
	if d.payouts, err = payouts.New(book, d.settings.payouts(), payouts.Options{Log: d.app.log(), Random: d.app.random}); err != nil {
		return err
	}
	if err := d.payments.Setup(ctx); err != nil {
		return err
	}
	return d.servePages()
}

// newBook makes an empty book: a file in the folder, or a database on the server
// that --db names.
func (d *demo) newBook(ctx context.Context) (*engine.Engine, error) {
	url := "sqlite:" + filepath.Join(d.folder, "book.db")
	if d.app.dbURL != "" {
		kind, err := sqldb.ParseURL(d.app.dbURL)
		if err != nil {
			return nil, err
		}
		if kind == sqldb.SQLite {
			url = d.app.dbURL
		} else if url, err = sqldb.CreateDatabase(ctx, d.app.dbURL, "tweetledger_demo_"+strings.ReplaceAll(uuid.NewString(), "-", "")[:12]); err != nil {
			return nil, err
		}
	}
	if file, ok := strings.CutPrefix(url, "sqlite:"); ok {
		if _, err := os.Stat(file); err == nil {
			return nil, fmt.Errorf("%s exists already; the demo needs a new book: name another file or folder", file)
		}
	}
	d.app.dbURL = url
	db, err := d.app.openDB(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := db.MigrateUp(ctx); err != nil {
		return nil, err
	}
	return d.app.openBook(ctx)
}

// startNeighbours starts the simulated X, SMS gateway and the server of the pages.
func (d *demo) startNeighbours() error {
	d.x = xsim.New(xsim.Options{Clock: d.app.now, Log: d.app.log()})
	var err error
	if d.xURL, err = d.listen(d.x); err != nil {
		return err
	}
	d.pages = http.NewServeMux() // filled once the service stands, which must know the address
	if d.pagesURL, err = d.listen(d.pages); err != nil {
		return err
	}
	sms, err := os.OpenFile(d.file("sms.jsonl"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("make the file of the simulated SMS gateway: %w", err)
	}
	d.sms, d.phone = sms, notify.NewRecorder(sms)
	d.files = append(d.files, sms.Name())
	return nil
}

// listen serves a handler on a free port of 127.0.0.1 and returns its address.
func (d *demo) listen(h http.Handler) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen on 127.0.0.1: %w", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout} // a stream is written for ever
	d.servers = append(d.servers, server)
	d.workers.Go(func() { _ = server.Serve(listener) }) // ends with ErrServerClosed
	return "http://" + listener.Addr().String(), nil
}

func (d *demo) file(name string) string { return filepath.Join(d.folder, name) }

// close stops everything that start has started.
func (d *demo) close() error {
	if d.stop != nil {
		d.stop()
	}
	if d.x != nil {
		d.x.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	var errs []error
	for _, server := range d.servers {
		if err := server.Shutdown(ctx); err != nil {
			errs = append(errs, server.Close())
		}
	}
	d.workers.Wait()
	if d.sms != nil {
		errs = append(errs, d.sms.Close())
	}
	return errors.Join(errs...)
}

// servePages serves the confirmation pages, and what operators look at.
func (d *demo) servePages() error {
	handler, err := console.New(d.payments, nil, d.app.log())
	if err != nil {
		return err
	}
	d.pages.Handle("/", routes(handler, d.app.db, d.app.registry))
	return d.serveAcquirer()
}

// connect starts to read the simulated X's stream, as "serve" does.
func (d *demo) connect(ctx context.Context) error {
	var err error
	d.bank, err = twitter.NewClient(twitter.Options{BaseURL: d.xURL, AppToken: twitter.StaticToken(d.x.AppToken()),
		UserToken: twitter.StaticToken(d.x.UserToken(d.settings.Twitter.BankUserID)), Clock: d.app.now, Log: d.app.log(), Registerer: d.app.registry})
	if err != nil {
		return err
	}
	ctx, d.stop = context.WithCancel(ctx)
	d.worker = worker{service: d.payments, client: d.bank, settings: d.settings, log: d.app.log(), notifier: d.phone,
		observe: func(m payments.Message, h payments.Handled) {
			select {
			case d.arrived <- arrival{m, h}:
			case <-ctx.Done():
			}
		},
		purged: func(deletion payments.Deletion) {
			select {
			case d.purged <- deletion:
			case <-ctx.Done():
			}
		}}
	d.workers.Go(func() { d.tellFailure(ctx, d.worker.stream(ctx)) })
	for partition := 1; partition <= compliancePartitions; partition++ {
		d.workers.Go(func() { d.tellFailure(ctx, d.worker.compliance(ctx, partition)) })
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := d.x.WaitForStreams(waiting, 1, compliancePartitions); err != nil {
		return fmt.Errorf("connect to the simulated X: %w", err)
	}
	return nil
}

// tellFailure tells why a stream ended that should not have.
func (d *demo) tellFailure(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		d.refused("a stream ended: %v", err)
	}
}

// deliver sends what is in the outbox, as the worker of "serve" does.
func (d *demo) deliver(ctx context.Context) error {
	for {
		done, err := d.worker.deliver(ctx)
		if err != nil || done < workBatch {
			return err
		}
	}
}

// deleteTweet deletes a tweet on the simulated X and waits until its text is purged.
func (d *demo) deleteTweet(ctx context.Context, got arrival) error {
	d.x.Delete(got.message.ID)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-d.purged:
	case <-ctx.Done():
		return fmt.Errorf("the deletion of tweet %s did not arrive: %w", got.message.ID, ctx.Err())
	}
	d.says("Yoann", "deletes the tweet")
	d.ok("its text is purged here too; the payment stays as it was")
	return d.expectState(ctx, got, payments.StatePosted)
}
