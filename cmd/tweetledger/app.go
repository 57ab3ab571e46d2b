package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/user"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/term"

	"tweetledger/adapters/twitter"
	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger/engine"
	"tweetledger/reports"
	"tweetledger/reports/render"
)

// app holds what the flags say and what commands have opened.
type app struct {
	environment
	dbURL      string
	configFile string
	verbose    bool

	db       *sqldb.DB
	engine   *engine.Engine
	registry *prometheus.Registry // nil but for processes that are watched
}

// url returns the database URL in force.
func (a *app) url() string {
	switch {
	case a.dbURL != "":
		return a.dbURL
	case a.getenv("TWEETLEDGER_DB") != "":
		return a.getenv("TWEETLEDGER_DB")
	}
	return sqldb.DefaultURL
}

func (a *app) log() *slog.Logger {
	if !a.verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(a.err, nil))
}

// openDB opens the database without looking at its schema.
func (a *app) openDB(ctx context.Context) (*sqldb.DB, error) {
	if a.db != nil {
		return a.db, nil
	}
	db, err := sqldb.Open(ctx, a.url())
	if err != nil {
		return nil, err
	}
	a.db = db
	return db, nil
}

// openBook opens the database and an engine on it, if its schema fits.
func (a *app) openBook(ctx context.Context) (*engine.Engine, error) {
	if a.engine != nil {
		return a.engine, nil
	}
	if err := a.mustExist(); err != nil {
		return nil, err
	}
	db, err := a.openDB(ctx)
	if err != nil {
		return nil, err
	}
	if err := db.CheckSchema(ctx); err != nil {
		return nil, err
	}
	options, err := a.engineOptions()
	if err != nil {
		return nil, err
	}
	book, err := engine.Open(ctx, db, options)
	if err != nil {
		return nil, err
	}
	a.engine = book
	return book, nil
}

// mustExist keeps a mistyped file name from becoming a new, empty book.
func (a *app) mustExist() error {
	engine, err := sqldb.ParseURL(a.url())
	if err != nil || engine != sqldb.SQLite {
		return err
	}
	file := a.url()[len("sqlite:"):]
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no book %s here; make one with: tweetledger init --db %s", file, a.url())
	}
	return nil
}

// openPayments opens the payment service on the book.
func (a *app) openPayments(ctx context.Context) (*payments.Service, settings, error) {
	s, err := a.settings()
	if err != nil {
		return nil, settings{}, err
	}
	book, err := a.openBook(ctx)
	if err != nil {
		return nil, settings{}, err
	}
	service, err := a.newPayments(book, s)
	return service, s, err
}

func (a *app) newPayments(book *engine.Engine, s settings) (*payments.Service, error) {
	parser, err := twitter.NewParser(s.parser())
	if err != nil {
		return nil, err
	}
	config, err := s.payments()
	if err != nil {
		return nil, err
	}
	processor, err := s.cardProcessor()
	if err != nil {
		return nil, err
	}
	return payments.New(book, config, parser, payments.Options{Log: a.log(), Random: a.random, Processor: processor})
}

// openPayouts opens the payout service on the book.
func (a *app) openPayouts(ctx context.Context) (*payouts.Service, error) {
	s, err := a.settings()
	if err != nil {
		return nil, err
	}
	book, err := a.openBook(ctx)
	if err != nil {
		return nil, err
	}
	return payouts.New(book, s.payouts(), payouts.Options{Log: a.log(), Random: a.random})
}

func (a *app) close() error {
	if a.engine != nil {
		a.engine.Close()
	}
	if a.db == nil {
		return nil
	}
	if err := a.db.Close(); err != nil {
		return fmt.Errorf("close the database: %w", err)
	}
	return nil
}

// terminal returns the width of the terminal that w is, and whether it is one.
func terminal(w io.Writer) (width int, ok bool) {
	file, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(file.Fd())) {
		return 0, false
	}
	width, _, err := term.GetSize(int(file.Fd()))
	return width, err == nil
}

// colour reports whether output to w may be coloured (https://no-color.org).
func (a *app) colour(w io.Writer) bool {
	_, ok := terminal(w)
	return ok && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"
}

// show writes a table in a format to standard output, or to a file where one is
// named; a file that exists already is replaced only once the table is written.
func (a *app) show(t reports.Table, format, file string) error {
	if file != "" && file != "-" {
		return writeFile(file, func(w io.Writer) error { return render.Render(w, format, t) })
	}
	if format == render.FormatText {
		width, _ := terminal(a.out)
		return render.Text(a.out, t, render.TextOptions{Width: width, Colour: a.colour(a.out)})
	}
	return render.Render(a.out, format, t)
}

// writeFile writes a file under another name first, so that it is there whole or
// not at all.
func writeFile(name string, write func(io.Writer) error) error {
	temporary := name + ".part"
	file, err := os.OpenFile(temporary, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o640)
	if cause, ok := errors.AsType[*fs.PathError](err); ok {
		err = cause.Err // the other name would only puzzle
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	err = write(file)
	if syncErr := file.Sync(); err == nil {
		err = syncErr
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temporary, name)
	}
	if err != nil {
		_ = os.Remove(temporary)
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// actor is who gives a command, for the audit trail: --actor, else the name of
// the system's user.
func (a *app) actor(flag string) string {
	if flag != "" {
		return flag
	}
	if name := a.getenv("TWEETLEDGER_ACTOR"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "staff"
}
