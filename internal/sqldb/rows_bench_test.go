package sqldb_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
)

// entryTable is as wide as the widest table that the ledger writes many rows of.
var entryTable = []sqldb.Column{
	{Name: "page", Type: "int8"}, {Name: "line", Type: "int8"}, {Name: "id", Type: "uuid"},
	{Name: "debit", Type: "uuid"}, {Name: "credit", Type: "uuid"}, {Name: "amount", Type: "int8"},
	{Name: "currency", Type: "text"}, {Name: "day", Type: "date"}, {Name: "at", Type: "timestamptz"},
	{Name: "request", Type: "text"}, {Name: "hash", Type: "bytea"}, {Name: "journal", Type: "text"},
	{Name: "label", Type: "text"}, {Name: "channel", Type: "text"}, {Name: "source", Type: "text"},
	{Name: "source_day", Type: "date"}, {Name: "data", Type: "jsonb"},
}

func createEntries(b *testing.B, db *sqldb.DB) {
	b.Helper()
	ddl := `CREATE TABLE entries (page int8, line int8, id uuid NOT NULL, debit uuid NOT NULL, credit uuid NOT NULL,
		amount int8 NOT NULL CHECK (amount > 0), currency text NOT NULL, day date NOT NULL, at timestamptz NOT NULL,
		request text NOT NULL, hash bytea NOT NULL CHECK (length(hash) = 32), journal text NOT NULL, label text NOT NULL,
		channel text, source text, source_day date, data jsonb NOT NULL, PRIMARY KEY (page, line))`
	if db.Engine() == sqldb.SQLite {
		ddl = `CREATE TABLE entries (page INTEGER, line INTEGER, id BLOB NOT NULL, debit BLOB NOT NULL, credit BLOB NOT NULL,
			amount INTEGER NOT NULL CHECK (amount > 0), currency TEXT NOT NULL, day TEXT NOT NULL, at TEXT NOT NULL,
			request TEXT NOT NULL, hash BLOB NOT NULL CHECK (length(hash) = 32), journal TEXT NOT NULL, label TEXT NOT NULL,
			channel TEXT, source TEXT, source_day TEXT, data TEXT NOT NULL, PRIMARY KEY (page, line)) STRICT, WITHOUT ROWID`
	}
	if _, err := db.Pool().ExecContext(b.Context(), ddl); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if _, err := db.Pool().ExecContext(context.Background(), "DROP TABLE entries"); err != nil {
			b.Error(err)
		}
	})
}

// eachSize runs fn for the numbers of rows that requests have, on every engine.
func eachSize(b *testing.B, fn func(b *testing.B, db *sqldb.DB, n int)) {
	for _, engine := range sqltest.Engines(b) {
		b.Run(string(engine), func(b *testing.B) {
			for _, n := range []int{1, 2, 50, 8000} {
				b.Run(fmt.Sprint(n), func(b *testing.B) {
					db := sqltest.New(b, engine)
					createEntries(b, db)
					fn(b, db, n)
					b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
				})
			}
		})
	}
}

// insertEntries inserts n rows in one page.
func insertEntries(ctx context.Context, tx *sqldb.Tx, page, n int) error {
	id := uuid.UUID{byte(page >> 16), byte(page >> 8), byte(page)}
	at := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	hash := [32]byte{1}
	return tx.Insert(ctx, "entries", entryTable, n, func(i int) []any {
		id[14], id[15] = byte(i>>8), byte(i)
		return []any{
			int64(page), int64(i), id, id, id, int64(i + 1), "EUR", someDate, at, "twitter:1234567890123456789", hash, "VIR",
			"Transfer of a benchmark", nil, nil, nil, "{}",
		}
	})
}

func BenchmarkInsert(b *testing.B) {
	eachSize(b, func(b *testing.B, db *sqldb.DB, n int) {
		page := 0
		for b.Loop() {
			page++
			if err := db.Write(b.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				return insertEntries(ctx, tx, page, n)
			}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// The cost of the statement alone, in one long transaction.
func BenchmarkInsertWithoutCommit(b *testing.B) {
	eachSize(b, func(b *testing.B, db *sqldb.DB, n int) {
		for range 2 { // after which the statement is prepared
			if err := db.Write(b.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				if _, err := tx.Exec(ctx, "DELETE FROM entries"); err != nil {
					return err
				}
				return insertEntries(ctx, tx, 0, n)
			}); err != nil {
				b.Fatal(err)
			}
		}
		if err := db.Write(b.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			page := 0
			for b.Loop() {
				page++
				if err := insertEntries(ctx, tx, page, n); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkUpdate(b *testing.B) {
	columns := []sqldb.Column{{Name: "line", Type: "int8"}, {Name: "amount", Type: "int8"}}
	eachSize(b, func(b *testing.B, db *sqldb.DB, n int) {
		update := func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := tx.ExecRows(ctx, `UPDATE entries SET amount = entries.amount + d.amount FROM ROWS AS d(line, amount)
				WHERE entries.page = 0 AND entries.line = d.line`,
				columns, n, func(i int) []any { return []any{int64(i), int64(1)} })
			return err
		}
		for range 2 {
			if err := db.Write(b.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				if _, err := tx.Exec(ctx, "DELETE FROM entries"); err != nil {
					return err
				}
				if err := insertEntries(ctx, tx, 0, n); err != nil {
					return err
				}
				return update(ctx, tx)
			}); err != nil {
				b.Fatal(err)
			}
		}
		if err := db.Write(b.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			for b.Loop() {
				if err := update(ctx, tx); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	})
}
