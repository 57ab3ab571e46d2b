package sqltest_test

import (
	"context"
	"os"
	"slices"
	"testing"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
)

const insertChart = `INSERT INTO chart_entries (category, valid_from, number, label) VALUES ('x', '2026-01-01', '4671', 'x')`

// However many tests come before it, each finds an empty database with the schema.
func TestEachDatabaseIsEmpty(t *testing.T) {
	for range 3 {
		sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
			ctx := t.Context()
			if err := db.CheckSchema(ctx); err != nil {
				t.Fatal(err)
			}
			err := db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
				var n int
				if err := tx.QueryRow(ctx, `SELECT count(*) FROM chart_entries`, nil, &n); err != nil {
					return err
				}
				if n != 0 {
					t.Errorf("the database has %d rows of another test", n)
				}
				_, err := tx.Exec(ctx, insertChart)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A test that changes the schema spoils it for no other.
func TestChangedSchemaIsNotReused(t *testing.T) {
	for range 2 {
		sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
			err := db.Write(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				_, err := tx.Exec(ctx, `CREATE TABLE left_over (id INTEGER PRIMARY KEY)`)
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// Tests that run side by side have different databases.
func TestDatabasesAreApart(t *testing.T) {
	for _, engine := range sqltest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			a, b := sqltest.New(t, engine), sqltest.New(t, engine)
			err := a.Write(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				_, err := tx.Exec(ctx, insertChart)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			var n int
			err = b.Read(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				return tx.QueryRow(ctx, `SELECT count(*) FROM chart_entries`, nil, &n)
			})
			if err != nil || n != 0 {
				t.Errorf("%v sees %d rows of %v, %v", b, n, a, err)
			}
		})
	}
}

func TestURLs(t *testing.T) {
	for _, engine := range sqltest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			for _, test := range []struct {
				url      string
				migrated bool
			}{{sqltest.URL(t, engine), true}, {sqltest.EmptyURL(t, engine), false}} {
				if got, err := sqldb.ParseURL(test.url); err != nil || got != engine {
					t.Fatalf("%s names %q, %v", test.url, got, err)
				}
				db, err := sqldb.Open(t.Context(), test.url)
				if err != nil {
					t.Fatal(err)
				}
				defer db.Close()
				if err := db.CheckSchema(t.Context()); (err == nil) != test.migrated {
					t.Errorf("CheckSchema of %s: %v; want the schema: %v", db, err, test.migrated)
				}
			}
		})
	}
}

func TestEnginesAreLimited(t *testing.T) {
	t.Setenv("TWEETLEDGER_TEST_ENGINES", "cockroach, sqlite")
	want := []sqldb.Engine{sqldb.SQLite, sqldb.CockroachDB}
	if got := sqltest.Engines(t); !slices.Equal(got, want) {
		t.Errorf("Engines() = %v; want %v", got, want)
	}
	if err := os.Unsetenv("TWEETLEDGER_TEST_ENGINES"); err != nil {
		t.Fatal(err)
	}
	if got := sqltest.Engines(t); len(got) != 3 {
		t.Errorf("without a limit Engines() = %v; want all three", got)
	}
}
