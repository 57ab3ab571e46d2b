package sqldb_test

import (
	"context"
	"strings"
	"testing"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
)

// eachServer runs fn on the engines that have a connection to lose.
func eachServer(t *testing.T, fn func(t *testing.T, db *sqldb.DB, p *sqltest.Proxy)) {
	t.Helper()
	for _, engine := range sqltest.Engines(t) {
		if engine == sqldb.SQLite {
			continue
		}
		t.Run(string(engine), func(t *testing.T) {
			p, db := sqltest.ThroughProxy(t, sqltest.New(t, engine).String())
			noPause(db)
			fn(t, db, p)
		})
	}
}

// saying matches the statements that contain text.
func saying(text string) func(statement string) bool {
	return func(statement string) bool { return strings.Contains(statement, text) }
}

// noPause makes db try again at once.
func noPause(db *sqldb.DB) {
	db.SetPause(func(ctx context.Context, _ int) error { return ctx.Err() })
}

func TestConnectionLostBeforeTheCommitRunsAgain(t *testing.T) {
	for _, fault := range []sqltest.Fault{sqltest.CutBefore, sqltest.CutDuring, sqltest.CutAfter, sqltest.HalfCloseServer, sqltest.HalfCloseClient} {
		t.Run(fault.String(), func(t *testing.T) {
			eachServer(t, func(t *testing.T, db *sqldb.DB, p *sqltest.Proxy) {
				p.Once(fault, saying("INSERT INTO chart_entries"))
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
				if runs != 2 || p.Strikes() != 1 || sqldb.ClassOf(first) != sqldb.ClassConnectionLost {
					t.Errorf("%d runs, %d cuts, first error %v; want a second run after one lost connection", runs, p.Strikes(), first)
				}
				if n := count(t, db, countRows); n != 1 {
					t.Errorf("there are %d rows; want 1", n)
				}
			})
		})
	}
}

func TestConnectionLostInARead(t *testing.T) {
	eachServer(t, func(t *testing.T, db *sqldb.DB, p *sqltest.Proxy) {
		p.Once(sqltest.CutBefore, saying("FROM chart_entries"))
		if n := count(t, db, countRows); n != 0 || p.Strikes() != 1 {
			t.Errorf("count = %d after %d cuts; want 0 after 1", n, p.Strikes())
		}
	})
}

func TestCommitInDoubt(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault sqltest.Fault
		rows  int64
	}{
		{"lost on the way there", sqltest.CutBefore, 0},
		{"lost half said", sqltest.CutDuring, 0},
		{"half-closed on the way there", sqltest.HalfCloseServer, 0},
		{"lost on the way back", sqltest.CutAfter, 1},
		{"half-closed on the way back", sqltest.HalfCloseClient, 1},
		{"the server itself in doubt", sqltest.Doubt, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachServer(t, func(t *testing.T, db *sqldb.DB, p *sqltest.Proxy) {
				p.Once(test.fault, sqltest.IsCommit)
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
	for _, fault := range []sqltest.Fault{sqltest.CutBefore, sqltest.CutAfter} {
		eachServer(t, func(t *testing.T, db *sqldb.DB, p *sqltest.Proxy) {
			p.Once(fault, sqltest.IsCommit)
			runs, found := 0, int64(0)
			err := db.WriteIdempotent(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				runs++
				if err := tx.QueryRow(ctx, countRows, nil, &found); err != nil || found > 0 {
					return err
				}
				return insertRow(ctx, tx, "a", "1")
			})
			if err != nil || runs != 2 || (found == 1) != (fault == sqltest.CutAfter) {
				t.Errorf("WriteIdempotent = %v after %d runs, the last of which found %d rows (%s)", err, runs, found, fault)
			}
			if n := count(t, db, countRows); n != 1 {
				t.Errorf("there are %d rows; want 1", n)
			}
		})
	}
}

// A caller whose deadline passes while the commit is under way cannot know either.
func TestDeadlineInTheCommit(t *testing.T) {
	eachServer(t, func(t *testing.T, db *sqldb.DB, p *sqltest.Proxy) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		p.OnStrike(func(sqltest.Fault) { cancel() })
		p.Once(sqltest.Silence, sqltest.IsCommit)
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
