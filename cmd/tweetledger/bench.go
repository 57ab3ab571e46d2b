package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger/ledgerbench"
)

func (a *app) benchCommand() *cobra.Command {
	o := ledgerbench.Options{Seed: 1}
	var asJSON bool
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure the ledger on a database, beside the naive way and the floor",
		Example: `  tweetledger bench --time 1s --callers 1,256 --bulk 500 --bulk-callers 1
  tweetledger bench --db cockroach://root@localhost:26257/defaultdb --json
  tweetledger bench --history 100000,1000000,10000000`,
		Long: `bench makes a new book (an SQLite file beside the one that --db names, or a new
database on that server), measures it, and removes it. Transfers run between any
accounts (uniform), to ten hot ones (hot-10) and to one (hot-1). Callers make them one
by one, or in bulk: many in one call. Beside each case it measures on the same database:

  naive   what one writes without thinking of speed: a SQL transaction a transfer, of
          an insert and two updates of balances in the order of their ids. It runs at
          the database's default isolation, on the same pool of connections, and begins
          again at once where the database asks for that (serialization, deadlock)
  floor   the same rows (postings and requests) by the fastest bulk insert: COPY on
          PostgreSQL, one statement for many rows elsewhere. It checks nothing, and its
          tables have primary keys only

× naive is the engine's rate over that of the naive way with as many callers. ÷ floor is
its rate over that of the floor with as many callers and transfers a call; beside single
transfers, over the fastest floor of the workload. p50, p99 and p99.9 are what a call
takes. Bulk is not measured with callers that would have more than 65,536 transfers
under way together.

Then transfers arrive by the clock, at half of the rate that 256 callers reached, and
what each takes counts from its arrival, whether or not the ledger was busy ("paced").

--history measures something else: it fills the book to each size in turn, with dates
over 300 days, and prints what reading and posting cost there. A quiet account has 200
postings at every size; a tenth of all transfers go to the busy one.

Durability is as the database has it, and the output says what that is. At the end the
book is verified: of one that does not verify, bench prints no figures and keeps the
database.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.bench(c.Context(), o, asJSON, ledgerbench.Run) },
	}
	c.Flags().IntVar(&o.Accounts, "accounts", 10_000, "how many accounts transfers run between")
	c.Flags().IntSliceVar(&o.Callers, "callers", []int{1, 16, 256, 1024}, "concurrent callers of single transfers")
	c.Flags().IntSliceVar(&o.Bulk, "bulk", []int{50, 500, 8000}, "transfers a call")
	c.Flags().IntSliceVar(&o.BulkCallers, "bulk-callers", []int{1, 16, 256, 1024}, "concurrent callers in bulk")
	c.Flags().DurationVar(&o.Time, "time", 5*time.Second, "how long each case is measured")
	c.Flags().Int64SliceVar(&o.History, "history", nil, "measure how costs change as the book grows to these numbers of postings")
	c.Flags().DurationVar(&o.FillTime, "fill-time", time.Hour, "how long filling the book may take, for --history")
	c.Flags().BoolVar(&asJSON, "json", false, "print everything as JSON (see docs/operations.md)")
	return c
}

// bench makes a book, lets run measure it, and prints what that came to.
func (a *app) bench(ctx context.Context, o ledgerbench.Options, asJSON bool,
	run func(context.Context, ledgerbench.Options) (ledgerbench.Result, error)) error {
	book, err := a.makeBenchBook(ctx)
	if err != nil {
		return err
	}
	if _, visible := terminal(a.err); visible {
		o.Progress = func(p ledgerbench.Progress) { fmt.Fprintf(a.err, clearLine+"%s", p) }
		defer fmt.Fprint(a.err, clearLine)
	}
	o.DB = book.db
	result, err := run(ctx, o)
	differences, keep := errors.AsType[*ledgerbench.DifferencesError](err)
	if closeErr := book.close(keep); err == nil {
		err = closeErr
	}
	switch {
	case keep:
		return &exitError{exitBreaks, fmt.Sprintf("%s; the book is kept at %s", differences, book.db)}
	case err != nil:
		return err
	case asJSON:
		encoder := json.NewEncoder(a.out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(result)
	}
	printBench(a.out, result)
	return nil
}

// clearLine goes back to the beginning of a terminal's line and empties it.
const clearLine = "\r\x1b[K"

// benchBook is the database of one run.
type benchBook struct {
	db     *sqldb.DB
	remove func() error
}

// makeBenchBook makes a database of its own for the run, where the book is or would
// be: a file on the same disk, or a database on the same server.
func (a *app) makeBenchBook(ctx context.Context) (*benchBook, error) {
	kind, err := sqldb.ParseURL(a.url())
	if err != nil {
		return nil, err
	}
	book := &benchBook{}
	url := ""
	if kind == sqldb.SQLite {
		folder, err := os.MkdirTemp(filepath.Dir(strings.TrimPrefix(a.url(), "sqlite:")), "tweetledger-bench-")
		if err != nil {
			return nil, fmt.Errorf("make a folder for the benchmark: %w", err)
		}
		url, book.remove = "sqlite:"+filepath.Join(folder, "bench.db"), func() error { return os.RemoveAll(folder) }
	} else {
		name := "tweetledger_bench_" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
		if url, err = sqldb.CreateDatabase(ctx, a.url(), name); err != nil {
			return nil, err
		}
		book.remove = func() error { return a.dropDatabase(name) }
	}
	if book.db, err = sqldb.Open(ctx, url); err != nil {
		return nil, errors.Join(err, book.remove())
	}
	if _, err = book.db.MigrateUp(ctx); err != nil {
		return nil, errors.Join(err, book.close(false))
	}
	return book, nil
}

// close closes the database and removes it, unless it is to be kept.
func (b *benchBook) close(keep bool) error {
	err := b.db.Close()
	if !keep {
		err = errors.Join(err, b.remove())
	}
	if err != nil {
		return fmt.Errorf("remove the book of the benchmark: %w", err)
	}
	return nil
}

// dropTimeout bounds the removal of a benchmark's database, which happens after an
// interrupt too.
const dropTimeout = time.Minute

func (a *app) dropDatabase(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), dropTimeout)
	defer cancel()
	db, err := sqldb.Open(ctx, a.url())
	if err != nil {
		return err
	}
	defer db.Close()
	statement := "DROP DATABASE " + name
	if db.Engine() == sqldb.CockroachDB {
		statement += " CASCADE"
	}
	_, err = db.Pool().ExecContext(ctx, statement)
	return err
}
