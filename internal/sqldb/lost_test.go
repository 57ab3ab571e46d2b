package sqldb_test

import (
	"context"
	"testing"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
)

// commitText is what the client says to commit: cockroach-go releases its
// savepoint, which is the commit.
var commitText = map[sqldb.Engine]string{
	sqldb.PostgreSQL:  "commit",
	sqldb.CockroachDB: "RELEASE SAVEPOINT",
}

// eachServer runs fn on the engines that have a connection to lose.
func eachServer(t *testing.T, fn func(t *testing.T, db *sqldb.DB, c *cutter)) {
	t.Helper()
	for _, engine := range sqltest.Engines(t) {
		if engine == sqldb.SQLite {
			continue
		}
		t.Run(string(engine), func(t *testing.T) {
			db, c := throughCutter(t, sqltest.New(t, engine).String())
			noPause(db)
			fn(t, db, c)
		})
	}
}

func TestConnectionLostBeforeTheCommitRunsAgain(t *testing.T) {
	eachServer(t, func(t *testing.T, db *sqldb.DB, c *cutter) {
		c.cutAt("INSERT INTO chart_entries", false)
		runs := 0
		var first error
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			runs++
			err := insertRow(ctx, tx, "a", "1")
			if runs == 1 {
				first = err
			}
			return err
		})
		if runs != 2 || c.cuts.Load() != 1 || sqldb.ClassOf(first) != sqldb.ClassConnectionLost {
			t.Errorf("%d runs, %d cuts, first error %v; want a second run after one lost connection", runs, c.cuts.Load(), first)
		}
		if n := count(t, db, countRows); n != 1 {
			t.Errorf("there are %d rows; want 1", n)
		}
	})
}

func TestConnectionLostInARead(t *testing.T) {
	eachServer(t, func(t *testing.T, db *sqldb.DB, c *cutter) {
		c.cutAt("FROM chart_entries", false)
		if n := count(t, db, countRows); n != 0 || c.cuts.Load() != 1 {
			t.Errorf("count = %d after %d cuts; want 0 after 1", n, c.cuts.Load())
		}
	})
}

func TestCommitInDoubt(t *testing.T) {
	for _, test := range []struct {
		name      string
		delivered bool
		rows      int64
	}{{"lost on the way there", false, 0}, {"lost on the way back", true, 1}} {
		t.Run(test.name, func(t *testing.T) {
			eachServer(t, func(t *testing.T, db *sqldb.DB, c *cutter) {
				c.cutAt(commitText[db.Engine()], test.delivered)
				runs := 0
				err := db.Write(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
					runs++
					return insertRow(ctx, tx, "a", "1")
				})
				if !sqldb.IsAmbiguous(err) || runs != 1 {
					t.Errorf("Write = %v after %d runs; want an ambiguous commit after one", err, runs)
				}
				if n := count(t, db, countRows); n != test.rows {
					t.Errorf("there are %d rows; want %d", n, test.rows)
				}
			})
		})
	}
}

// WriteIdempotent runs again whatever became of the commit.
func TestCommitInDoubtIsLookedUp(t *testing.T) {
	for _, delivered := range []bool{false, true} {
		eachServer(t, func(t *testing.T, db *sqldb.DB, c *cutter) {
			c.cutAt(commitText[db.Engine()], delivered)
			runs, found := 0, int64(0)
			err := db.WriteIdempotent(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				runs++
				if err := tx.QueryRow(ctx, countRows, nil, &found); err != nil || found > 0 {
					return err
				}
				return insertRow(ctx, tx, "a", "1")
			})
			if err != nil || runs != 2 || (found == 1) != delivered {
				t.Errorf("WriteIdempotent = %v after %d runs, the last of which found %d rows (commit delivered: %v)", err, runs, found, delivered)
			}
			if n := count(t, db, countRows); n != 1 {
				t.Errorf("there are %d rows; want 1", n)
			}
		})
	}
}

// A caller whose deadline passes while the commit is under way cannot know either.
func TestDeadlineInTheCommit(t *testing.T) {
	eachServer(t, func(t *testing.T, db *sqldb.DB, c *cutter) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c.onCut(cancel)
		c.cutAt(commitText[db.Engine()], true)
		err := db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return insertRow(ctx, tx, "a", "1") })
		if !sqldb.IsAmbiguous(err) {
			t.Errorf("Write = %v; want an ambiguous commit", err)
		}
		if n := count(t, db, countRows); n != 1 {
			t.Errorf("there are %d rows; want the one that was committed unseen", n)
		}
	})
}

func TestTerminatedBackend(t *testing.T) {
	db := sqltest.New(t, sqldb.PostgreSQL)
	noPause(db)
	runs := 0
	write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
		runs++
		var pid int64
		if err := tx.QueryRow(ctx, `SELECT pg_backend_pid()`, nil, &pid); err != nil {
			return err
		}
		if runs == 1 {
			exec(t, db, `SELECT pg_terminate_backend($1)`, pid)
		}
		return insertRow(ctx, tx, "a", "1")
	})
	if n := count(t, db, countRows); runs != 2 || n != 1 {
		t.Errorf("%d runs left %d rows; want 2 and 1", runs, n)
	}
}
