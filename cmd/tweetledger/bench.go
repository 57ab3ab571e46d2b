package main

import (
	"context"
	"encoding/json"
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
		Example: `  tweetledger bench --time 1s --callers 1,256
  tweetledger bench --db cockroach://root@localhost:26257/defaultdb --json`,
		Long: `bench makes a new book (an SQLite file in a temporary folder, or with --db a new
database on that server) and writes transfers to it: between any accounts, to ten
hot ones, to one; by 1 to 1,024 callers one by one, and in bulk. Beside each case it
measures, on the same database, the naive way (one SQL transaction a transfer) and
the floor (the same rows in bulk, unchecked). Durability is on throughout.

At the end it verifies the book, and prints no figures of one that does not verify.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			db, where, remove, err := a.benchDB(c.Context())
			if err != nil {
				return err
			}
			defer remove()
			o.DB = db
			if !asJSON {
				fmt.Fprintf(a.out, "measuring on %s, %s a case\n", where, o.Time)
				o.Progress = func(line string) { fmt.Fprintln(a.out, line) }
			}
			figures, err := ledgerbench.Run(c.Context(), o)
			if err != nil {
				return err
			}
			if asJSON {
				encoder := json.NewEncoder(a.out)
				encoder.SetIndent("", "  ")
				return encoder.Encode(figures)
			}
			fmt.Fprintln(a.out, "the book verifies")
			printRatios(a, figures)
			return nil
		},
	}
	c.Flags().IntVar(&o.Accounts, "accounts", 10_000, "how many accounts transfers run between")
	c.Flags().IntSliceVar(&o.Callers, "callers", []int{1, 16, 256, 1024}, "concurrent callers of single transfers")
	c.Flags().IntSliceVar(&o.Bulk, "bulk", []int{50, 500, 8000}, "transfers a call, from one caller")
	c.Flags().DurationVar(&o.Time, "time", 5*time.Second, "how long each case is measured")
	c.Flags().BoolVar(&asJSON, "json", false, "print the figures as JSON")
	return c
}

// benchDB makes a database of its own for the run.
func (a *app) benchDB(ctx context.Context) (db *sqldb.DB, where string, remove func(), err error) {
	url, remove := "", func() {}
	if kind, err := sqldb.ParseURL(a.url()); a.dbURL != "" && err == nil && kind != sqldb.SQLite {
		if url, err = sqldb.CreateDatabase(ctx, a.dbURL, "tweetledger_bench_"+strings.ReplaceAll(uuid.NewString(), "-", "")[:12]); err != nil {
			return nil, "", nil, err
		}
	} else {
		folder, err := os.MkdirTemp("", "tweetledger-bench-")
		if err != nil {
			return nil, "", nil, fmt.Errorf("make a folder for the benchmark: %w", err)
		}
		url, remove = "sqlite:"+filepath.Join(folder, "bench.db"), func() { _ = os.RemoveAll(folder) }
	}
	a.dbURL = url
	if db, err = a.openDB(ctx); err != nil {
		remove()
		return nil, "", nil, err
	}
	if _, err = db.MigrateUp(ctx); err != nil {
		remove()
		return nil, "", nil, err
	}
	return db, db.String(), remove, nil
}

// printRatios prints how the engine stands to the naive way with as many callers,
// and at its best to the floor.
func printRatios(a *app, figures []ledgerbench.Figures) {
	naive := map[string]int64{}
	floor := map[ledgerbench.Workload]int64{}
	for _, f := range figures {
		switch f.Method {
		case ledgerbench.Naive:
			naive[fmt.Sprint(f.Workload, f.Callers)] = f.PerSecond
		case ledgerbench.Floor:
			floor[f.Workload] = f.PerSecond
		case ledgerbench.Engine:
		}
	}
	for _, f := range figures {
		if f.Method != ledgerbench.Engine {
			continue
		}
		line := fmt.Sprintf("%-8s callers %5d  bulk %5d  %8d/s", f.Workload, f.Callers, f.Bulk, f.PerSecond)
		if n := naive[fmt.Sprint(f.Workload, f.Callers)]; n > 0 && f.Bulk == 1 {
			line += "  × naive " + ratio(f.PerSecond, n)
		}
		if n := floor[f.Workload]; n > 0 {
			line += "  × floor " + ratio(f.PerSecond, n)
		}
		fmt.Fprintln(a.out, line)
	}
}

// ratio is a/b with two decimals.
func ratio(a, b int64) string {
	hundredths := a * 100 / b
	return fmt.Sprintf("%d.%02d", hundredths/100, hundredths%100)
}
