package ledgerbench

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger/engine"
)

// short is a run of every kind of case that ends soon.
func short(db *sqldb.DB) Options {
	return Options{DB: db, Accounts: 40, Callers: []int{1, 4}, Bulk: []int{10}, BulkCallers: []int{2}, Time: 20 * time.Millisecond, Seed: 1}
}

func TestRun(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		o := short(db)
		var told []Progress
		o.Progress = func(p Progress) { told = append(told, p) }
		result, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Run("figures", func(t *testing.T) { checkFigures(t, o, result) })
		t.Run("durability", func(t *testing.T) { checkDurability(t, db, result.Durability) })
		t.Run("floor", func(t *testing.T) { checkFloor(t, db) })
		t.Run("progress", func(t *testing.T) {
			last := 0
			for _, p := range told {
				if p.Step < last || p.Step > p.Steps || p.What == "" || p.Left < 0 {
					t.Fatalf("after step %d comes %+v", last, p)
				}
				last = p.Step
			}
			if last == 0 || last != told[0].Steps {
				t.Errorf("the progress ends at step %d", last)
			}
		})
		if result.Version == "" || result.CPUs < 1 || result.Engine != db.Engine() {
			t.Errorf("the result does not say what was measured: %+v", result)
		}
	})
}

// checkFigures checks that every case is there and that the book has exactly what
// its figures claim.
func checkFigures(t *testing.T, o Options, result Result) {
	want, got := 0, len(result.Figures)
	for _, w := range Workloads() {
		want += len((&bench{Options: o}).cases(w))
	}
	if got != want {
		t.Errorf("there are %d figures for %d cases", got, want)
	}
	made := int64(o.Accounts) // funding
	for _, f := range result.Figures {
		name := strings.Join([]string{string(f.Workload), string(f.Method)}, " ")
		if f.Transfers < 1 || f.PerSecond < 1 || f.P50 <= 0 || f.P50 > f.P99 || f.P99 > f.P999 || f.GivenUp != 0 {
			t.Errorf("%s: %+v", name, f)
		}
		if f.Method != Engine {
			if f.MeanBatch != 0 || f.TimesNaive != 0 || f.OfFloor != 0 {
				t.Errorf("%s has figures of the engine: %+v", name, f)
			}
			continue
		}
		made += f.Transfers
		if f.MeanBatch < 100 {
			t.Errorf("%s: a commit has %s requests", name, f.MeanBatch)
		}
		if f.Arrivals == 0 && f.TimesNaive == 0 {
			t.Errorf("%s, %d callers, %d a call: there is no ratio to the naive way", name, f.Callers, f.Bulk)
		}
	}
	if result.Verified.Transactions != made || result.Verified.Postings != made || result.Verified.Accounts < int64(o.Accounts) {
		t.Errorf("%+v verified, but the figures are of %d transfers", result.Verified, made)
	}
}

// checkDurability asks the database in its own words.
func checkDurability(t *testing.T, db *sqldb.DB, d Durability) {
	queries := map[sqldb.Engine]string{
		sqldb.SQLite:      "SELECT synchronous < 2 FROM pragma_synchronous",
		sqldb.PostgreSQL:  "SELECT current_setting('fsync') = 'off'",
		sqldb.CockroachDB: "SELECT count(*) > 0 FROM crdb_internal.cluster_settings WHERE variable = 'kv.raft_log.disable_synchronization_unsafe' AND value = 'true'",
	}
	var off bool
	if err := db.Pool().QueryRowContext(t.Context(), queries[db.Engine()]).Scan(&off); err != nil {
		t.Fatal(err)
	}
	if len(d.Settings) == 0 || off && !strings.HasPrefix(d.Warning, notDurable) || !off && db.Engine() == sqldb.SQLite && d.Warning != "" {
		t.Errorf("fsync is off: %v, but the settings are %+v", off, d)
	}
}

// checkFloor checks that the floor writes the rows that the ledger writes: to
// tables with the same columns, with values in the same ones.
func checkFloor(t *testing.T, db *sqldb.DB) {
	for ours, floor := range map[string]string{"postings": floorPostings, "requests": floorRequests} {
		columns, present := aRow(t, db, "SELECT * FROM "+ours+" LIMIT 1")
		floorColumns, floorPresent := aRow(t, db, "SELECT * FROM "+floor+" LIMIT 1")
		if !slices.Equal(columns, floorColumns) || !slices.Equal(present, floorPresent) {
			t.Errorf("%s has %v with values in %v;\nthe floor has %v with values in %v", ours, columns, present, floorColumns, floorPresent)
		}
	}
}

// aRow returns the columns of a query, and those that have a value in its first row.
func aRow(t *testing.T, db *sqldb.DB, query string) (columns, present []string) {
	t.Helper()
	rows, err := db.Pool().QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if columns, err = rows.Columns(); err != nil || !rows.Next() {
		t.Fatalf("%s finds no row: %v", query, errors.Join(err, rows.Err()))
	}
	values := make([]any, len(columns))
	for i := range values {
		values[i] = new(sql.RawBytes)
	}
	if err := rows.Scan(values...); err != nil {
		t.Fatal(err)
	}
	for i, v := range values {
		if *v.(*sql.RawBytes) != nil {
			present = append(present, columns[i])
		}
	}
	return columns, present
}

func TestNoFiguresOfABookThatDoesNotVerify(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(ctx context.Context, b *bench) error
	}{
		{"a balance", func(ctx context.Context, b *bench) error {
			_, err := b.DB.Pool().ExecContext(ctx, "UPDATE balances SET credits_posted = credits_posted + 1 WHERE credits_posted > 0")
			return err
		}},
		{"a transfer that is not in the book", func(_ context.Context, b *bench) error {
			b.acknowledged.Add(1)
			return nil
		}},
		{"a transfer too many", func(ctx context.Context, b *bench) error {
			_, err := b.engine.Post(ctx, b.transfer(0, 1))
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := short(sqltest.SQLite(t))
			o.Callers, o.Bulk, o.beforeVerify = []int{1}, nil, test.spoil
			result, err := Run(t.Context(), o)
			differences, ok := errors.AsType[*DifferencesError](err)
			if !ok || differences.Count < 1 || differences.First == "" {
				t.Errorf("the error is %v; want one of differences", err)
			}
			if result.Figures != nil {
				t.Errorf("there are figures: %+v", result.Figures)
			}
		})
	}
}

func TestRunIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := short(sqltest.SQLite(t))
	o.Progress = func(p Progress) {
		if p.Step == 3 {
			cancel()
		}
	}
	if result, err := Run(ctx, o); !errors.Is(err, context.Canceled) || result.Figures != nil {
		t.Errorf("an interrupted run returns %d figures and %v", len(result.Figures), err)
	}
}

func TestHistory(t *testing.T) {
	o := short(sqltest.SQLite(t))
	o.Time, o.FillTime, o.History = time.Millisecond, time.Hour, []int64{5000, 9000}
	o.beforeVerify = func(ctx context.Context, b *bench) error {
		return b.DB.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			page, err := engine.ListTransactions(ctx, tx, engine.TransactionFilter{AccountID: b.quiet[0], Limit: engine.MaxPage})
			if want := quietPostings + 1; err == nil && len(page) != want { // and its funding
				t.Errorf("a quiet account has %d postings, not %d", len(page), want)
			}
			return err
		})
	}
	result, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.History) != len(o.History) || result.Figures != nil {
		t.Fatalf("the result is %+v", result)
	}
	for i, costs := range result.History {
		if costs.Wanted != o.History[i] || costs.Postings < costs.Wanted || len(costs.Queries) == 0 || costs.Post.Transfers == 0 {
			t.Errorf("at %d postings the costs are %+v", o.History[i], costs)
		}
		for _, q := range costs.Queries {
			if q.Runs < 1 || q.P50 <= 0 || q.P50 > q.P99 {
				t.Errorf("at %d postings: %+v", costs.Postings, q)
			}
		}
	}
}

// A step that knows how far it is says so, and tells the time left from that.
func TestProgressOfParts(t *testing.T) {
	var told []Progress
	heard := make(chan struct{})
	b := &bench{Options: Options{Progress: func(p Progress) {
		if told = append(told, p); len(told) == 2 {
			close(heard)
		}
	}}}
	const after, expect = time.Minute, time.Hour
	stop := b.tell(Progress{Step: 1, Steps: 2, What: "filling"}, after, expect)
	b.notePart(30, 40)
	<-heard
	stop()
	p := told[1]
	if p.What != "filling, 75% done" || p.Left <= after || p.Left >= after+expect/2 {
		t.Errorf("the progress is %q", p)
	}
}

func TestHistoryStopsFillingInTime(t *testing.T) {
	o := short(sqltest.SQLite(t))
	o.Time, o.FillTime, o.History = time.Millisecond, time.Nanosecond, []int64{MaxHistory}
	result, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if c := result.History[0]; c.Wanted != MaxHistory || c.Postings >= c.Wanted || len(c.Queries) == 0 {
		t.Errorf("without time for filling the costs are %+v", c)
	}
}
