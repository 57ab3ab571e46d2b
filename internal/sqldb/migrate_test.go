package sqldb_test

import (
	"context"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

func TestMigrateUp(t *testing.T) {
	for _, engine := range sqltest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			ctx := t.Context()
			db := openEmpty(t, engine)

			err := db.CheckSchema(ctx)
			if ledger.CodeOf(err) != ledger.CodeUnavailable || !strings.Contains(err.Error(), "migrate up --db "+db.String()) {
				t.Fatalf("CheckSchema of an empty database: %v; want what to run", err)
			}
			pending := status(t, db)
			if len(pending) == 0 {
				t.Fatal("MigrationStatus knows no versions")
			}
			for _, m := range pending {
				if !m.AppliedAt.IsZero() {
					t.Errorf("before MigrateUp, %s was applied at %v", m.Name, m.AppliedAt)
				}
			}

			applied, err := db.MigrateUp(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(versions(applied), versions(pending)) {
				t.Errorf("MigrateUp applied %v, pending were %v", versions(applied), versions(pending))
			}
			for _, m := range status(t, db) {
				if m.AppliedAt.IsZero() {
					t.Errorf("after MigrateUp, %s is pending", m.Name)
				}
			}
			if err := db.CheckSchema(ctx); err != nil {
				t.Errorf("CheckSchema after MigrateUp: %v", err)
			}

			again, err := db.MigrateUp(ctx)
			if err != nil || len(again) != 0 {
				t.Errorf("a second MigrateUp = %v, %v; want nothing", versions(again), err)
			}
		})
	}
}

func TestCheckSchemaOfANewerProgram(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		exec(t, db, `INSERT INTO goose_db_version (version_id, is_applied) VALUES ($1, $2)`, 99999, engineTrue(db))
		err := db.CheckSchema(t.Context())
		if ledger.CodeOf(err) != ledger.CodeUnavailable || !strings.Contains(err.Error(), "newer tweetledger") {
			t.Errorf("CheckSchema: %v; want a refusal that asks for a newer program", err)
		}
	})
}

func TestMigrateDownAndUpAgain(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		if db.Engine() == sqldb.CockroachDB {
			t.Skip("dropping its tables one by one takes CockroachDB half a minute")
		}
		if err := db.MigrateDown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if left := tables(t, db); len(left) != 0 {
			t.Errorf("MigrateDown leaves %v", left)
		}
		if _, err := db.MigrateUp(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// A schema is one migration an engine, all with the same version and name.
func TestMigrationsHaveTheSameVersions(t *testing.T) {
	want := migrationFiles(t, sqldb.SQLite)
	if len(want) == 0 {
		t.Fatal("there are no migrations")
	}
	for i, name := range want {
		if !strings.HasSuffix(name, ".sql") || len(strings.SplitN(name, "_", 2)[0]) != 5 {
			t.Errorf("migration %d is called %s; want NNNNN_name.sql", i, name)
		}
	}
	for _, engine := range []sqldb.Engine{sqldb.PostgreSQL, sqldb.CockroachDB} {
		if got := migrationFiles(t, engine); !slices.Equal(got, want) {
			t.Errorf("migrations of %s are %v, of sqlite %v", engine, got, want)
		}
	}
}

// What one SQL shall run on must have the same tables and columns everywhere.
func TestSchemasAreAlike(t *testing.T) {
	want := tables(t, sqltest.SQLite(t))
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		got := tables(t, db)
		for table, columns := range want {
			if !slices.Equal(got[table], columns) {
				t.Errorf("table %s has columns\n%v, on SQLite\n%v", table, got[table], columns)
			}
		}
		for table := range got {
			if _, ok := want[table]; !ok {
				t.Errorf("table %s is not on SQLite", table)
			}
		}
	})
}

// tables returns the columns of each table, sorted, those that take NULL with a
// question mark.
func tables(t *testing.T, db *sqldb.DB) map[string][]string {
	t.Helper()
	query := `SELECT table_name, column_name, CASE is_nullable WHEN 'YES' THEN '?' ELSE '' END
		FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'goose_db_version'
			AND table_name NOT IN (SELECT table_name FROM information_schema.views WHERE table_schema = 'public')`
	if db.Engine() == sqldb.SQLite {
		query = `SELECT m.name, c.name, CASE WHEN c."notnull" = 0 THEN '?' ELSE '' END
			FROM sqlite_schema AS m, pragma_table_info(m.name) AS c
			WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'goose_db_version'`
	}
	var found map[string][]string
	read(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
		found = map[string][]string{}
		rows, err := tx.Query(ctx, query)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var table, column, null string
			if err := rows.Scan(&table, &column, &null); err != nil {
				return err
			}
			found[table] = append(found[table], column+null)
		}
		return rows.Err()
	})
	for _, columns := range found {
		slices.Sort(columns)
	}
	return found
}

func migrationFiles(t *testing.T, engine sqldb.Engine) []string {
	t.Helper()
	entries, err := fs.ReadDir(sqldb.Migrations, "migrations/"+string(engine))
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	return names
}

func status(t *testing.T, db *sqldb.DB) []sqldb.Migration {
	t.Helper()
	list, err := db.MigrationStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func versions(list []sqldb.Migration) []int64 {
	numbers := make([]int64, len(list))
	for i, m := range list {
		numbers[i] = m.Version
	}
	return numbers
}

// engineTrue is true where there are booleans, and 1 on SQLite.
func engineTrue(db *sqldb.DB) any {
	if db.Engine() == sqldb.SQLite {
		return 1
	}
	return true
}

func openEmpty(t *testing.T, engine sqldb.Engine) *sqldb.DB {
	t.Helper()
	return openURL(t, sqltest.EmptyURL(t, engine))
}

func openURL(t *testing.T, rawURL string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), rawURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// read and write run fn in a transaction that must succeed.
func read(t *testing.T, db *sqldb.DB, fn func(ctx context.Context, tx *sqldb.Tx) error) {
	t.Helper()
	if err := db.Read(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, db *sqldb.DB, fn func(ctx context.Context, tx *sqldb.Tx) error) {
	t.Helper()
	if err := db.Write(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func exec(t *testing.T, db *sqldb.DB, query string, args ...any) {
	t.Helper()
	write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, query, args...)
		return err
	})
}

func count(t *testing.T, db *sqldb.DB, query string, args ...any) int64 {
	t.Helper()
	var n int64
	read(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.QueryRow(ctx, query, args, &n)
	})
	return n
}
