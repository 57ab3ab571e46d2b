package sqldb_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

// The tests keep a counter in chart_entries: one row, its label the count.
const (
	insertCounter = `INSERT INTO chart_entries (category, valid_from, number, label) VALUES ($1, $2, '4671', $3)`
	readCounter   = `SELECT label FROM chart_entries WHERE category = $1`
	writeCounter  = `UPDATE chart_entries SET label = $1 WHERE category = $2`
	countRows     = `SELECT count(*) FROM chart_entries`
)

var someDate = ledger.Date{Year: 2026, Month: time.January, Day: 31}

func insertRow(ctx context.Context, tx *sqldb.Tx, category, label string) error {
	_, err := tx.Exec(ctx, insertCounter, category, someDate, label)
	return err
}

// increment reads the counter of category and writes it back, one higher.
func increment(ctx context.Context, tx *sqldb.Tx, category string) error {
	n, err := counter(ctx, tx, category)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, writeCounter, fmt.Sprint(n+1), category)
	return err
}

func counter(ctx context.Context, tx *sqldb.Tx, category string) (n int, err error) {
	var label string
	if err := tx.QueryRow(ctx, readCounter, []any{category}, &label); err != nil {
		return 0, err
	}
	_, err = fmt.Sscan(label, &n)
	return n, err
}

func TestWriteCommits(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error { return insertRow(ctx, tx, "a", "1") })
		if n := count(t, db, countRows); n != 1 {
			t.Errorf("after Write there are %d rows; want 1", n)
		}
	})
}

func TestErrorRollsBack(t *testing.T) {
	refusal := ledger.Errorf(ledger.CodeInsufficientFunds, "no")
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		runs := 0
		err := db.Write(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			runs++
			return errors.Join(insertRow(ctx, tx, "a", "1"), refusal)
		})
		if !errors.Is(err, refusal) || runs != 1 {
			t.Errorf("Write = %v after %d runs; want the refusal after one", err, runs)
		}
		if n := count(t, db, countRows); n != 0 {
			t.Errorf("a refused transaction left %d rows", n)
		}
	})
}

func TestPanicRollsBack(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		func() {
			defer func() {
				if r := recover(); r != "oops" {
					t.Errorf("recovered %v; want the panic of the function", r)
				}
			}()
			_ = db.Write(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				if err := insertRow(ctx, tx, "a", "1"); err != nil {
					return err
				}
				panic("oops")
			})
		}()
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error { return insertRow(ctx, tx, "b", "1") })
		if n := count(t, db, countRows); n != 1 {
			t.Errorf("there are %d rows; want the one written after the panic", n)
		}
	})
}

func TestReadCannotWrite(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		err := db.Read(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error { return insertRow(ctx, tx, "a", "1") })
		if err == nil {
			t.Error("Read let a row be written")
		}
		if n := count(t, db, countRows); n != 0 {
			t.Errorf("Read left %d rows", n)
		}
	})
}

func TestReadSeesOneState(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error { return insertRow(ctx, tx, "a", "1") })
		wrote := false
		read(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			before, err := counter(ctx, tx, "a")
			if err != nil {
				return err
			}
			if !wrote {
				write(t, db, func(ctx context.Context, tx *sqldb.Tx) error { return increment(ctx, tx, "a") })
				wrote = true
			}
			after, err := counter(ctx, tx, "a")
			if err == nil && before != after {
				t.Errorf("one Read saw %d and then %d", before, after)
			}
			return err
		})
	})
}

// Two transactions read the same two rows and each changes one of them: only one
// order of them can have happened, so one must run again and see the other.
func TestConflictRunsAgain(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		if db.Engine() == sqldb.SQLite {
			t.Skip("SQLite has one writer: its transactions cannot conflict")
		}
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			return errors.Join(insertRow(ctx, tx, "a", "1"), insertRow(ctx, tx, "b", "1"))
		})
		runs := 0
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			runs++
			a, errA := counter(ctx, tx, "a")
			b, errB := counter(ctx, tx, "b")
			if err := errors.Join(errA, errB); err != nil {
				return err
			}
			if runs == 1 { // the other one, in between
				write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
					if _, err := counter(ctx, tx, "b"); err != nil {
						return err
					}
					return increment(ctx, tx, "a")
				})
			}
			_, err := tx.Exec(ctx, writeCounter, fmt.Sprint(a+b), "b")
			return err
		})
		if runs < 2 {
			t.Errorf("the transaction ran %d times; want a second run", runs)
		}
		read(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			b, err := counter(ctx, tx, "b")
			if err == nil && b != 3 {
				t.Errorf("b = %d; want 3, from the a = 2 of the other transaction", b)
			}
			return err
		})
	})
}

func TestConcurrentWriters(t *testing.T) {
	const writers, each = 8, 10
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error { return insertRow(ctx, tx, "a", "0") })
		incrementConcurrently(t, []*sqldb.DB{db}, writers, each)
	})
}

// Two processes may have the same file open; each has a writer of its own.
func TestSQLiteFileOpenTwice(t *testing.T) {
	rawURL := sqltest.URL(t, sqldb.SQLite)
	dbs := []*sqldb.DB{openURL(t, rawURL), openURL(t, rawURL)}
	write(t, dbs[0], func(ctx context.Context, tx *sqldb.Tx) error { return insertRow(ctx, tx, "a", "0") })
	incrementConcurrently(t, dbs, 4, 10)
}

func incrementConcurrently(t *testing.T, dbs []*sqldb.DB, writers, each int) {
	t.Helper()
	var group sync.WaitGroup
	for _, db := range dbs {
		for range writers {
			group.Go(func() {
				for range each {
					err := db.Write(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
						if _, err := tx.Exec(ctx, `SELECT 1 FROM chart_entries WHERE category = 'a'`+tx.ForUpdate()); err != nil {
							return err
						}
						return increment(ctx, tx, "a")
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	group.Wait()
	read(t, dbs[0], func(ctx context.Context, tx *sqldb.Tx) error {
		n, err := counter(ctx, tx, "a")
		if want := len(dbs) * writers * each; err == nil && n != want {
			t.Errorf("the counter is %d; want %d", n, want)
		}
		return err
	})
}

func TestRetriesAreBounded(t *testing.T) {
	conflict := &pgconn.PgError{Code: "40001", Message: "restart transaction"}
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		var pauses []int
		db.SetPause(func(_ context.Context, attempt int) error {
			pauses = append(pauses, attempt)
			return nil
		})
		perAttempt := 1
		if db.Engine() == sqldb.CockroachDB {
			perAttempt += sqldb.SavepointRetries
		}
		runs := 0
		fail := func(context.Context, *sqldb.Tx) error {
			runs++
			return fmt.Errorf("lock balances: %w", conflict)
		}
		check := func(name string, err error, wantRuns int) {
			t.Helper()
			if ledger.CodeOf(err) != ledger.CodeUnavailable || sqldb.ClassOf(err) != sqldb.ClassSerialization {
				t.Errorf("%s: %v (%s); want unavailable because of a conflict", name, err, ledger.CodeOf(err))
			}
			if runs != wantRuns || len(pauses) != sqldb.MaxRetries || pauses[len(pauses)-1] != sqldb.MaxRetries-1 {
				t.Errorf("%s: %d runs and pauses %v; want %d runs, %d pauses", name, runs, pauses, wantRuns, sqldb.MaxRetries)
			}
			runs, pauses = 0, nil
		}
		check("Write", db.Write(t.Context(), fail), perAttempt*(sqldb.MaxRetries+1))
		check("WriteIdempotent", db.WriteIdempotent(t.Context(), fail), perAttempt*(sqldb.MaxRetries+1))
		check("Read", db.Read(t.Context(), fail), sqldb.MaxRetries+1)
	})
}

func TestCancelledContextEndsRetries(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		runs := 0
		err := db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			runs++
			if err := insertRow(ctx, tx, "a", "1"); err != nil {
				return err
			}
			cancel()
			return nil
		})
		if !errors.Is(err, context.Canceled) || sqldb.IsAmbiguous(err) || runs != 1 {
			t.Errorf("Write = %v after %d runs; want context.Canceled after one, with nothing in doubt", err, runs)
		}
		if n := count(t, db, countRows); n != 0 {
			t.Errorf("a cancelled transaction left %d rows", n)
		}
	})
}

func TestPauseWithJitter(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	if err := sqldb.PauseWithJitter(ctx, 0); err != nil {
		t.Errorf("a pause ended with %v", err)
	}
	cancel()
	start := time.Now()
	if err := sqldb.PauseWithJitter(ctx, 1000); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled pause ended with %v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("a cancelled pause took %v", took)
	}
}
