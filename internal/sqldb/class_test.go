package sqldb_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
)

func TestClassOfRefusedRows(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		dropAtTheEnd(t, db, "children", "parents")
		exec(t, db, `CREATE TABLE parents (id INTEGER PRIMARY KEY, code TEXT UNIQUE)`)
		exec(t, db, `CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER NOT NULL REFERENCES parents (id),
			n INTEGER CONSTRAINT n_positive CHECK (n > 0))`)
		exec(t, db, `INSERT INTO parents (id, code) VALUES (1, 'a')`)
		for _, test := range []struct {
			statement string
			want      sqldb.Class
		}{
			{`INSERT INTO parents (id, code) VALUES (1, 'b')`, sqldb.ClassUnique},
			{`INSERT INTO parents (id, code) VALUES (2, 'a')`, sqldb.ClassUnique},
			{`INSERT INTO children (id, parent, n) VALUES (1, 9, 1)`, sqldb.ClassForeignKey},
			{`INSERT INTO children (id, parent, n) VALUES (1, 1, 0)`, sqldb.ClassCheck},
			{`INSERT INTO children (id, parent, n) VALUES (1, NULL, 1)`, sqldb.ClassCheck},
			{`INSERT INTO no_such_table (id) VALUES (1)`, sqldb.ClassOther},
			{`INSERT INTO`, sqldb.ClassOther},
		} {
			runs := 0
			err := db.Write(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				runs++
				_, err := tx.Exec(ctx, test.statement)
				return err
			})
			if got := sqldb.ClassOf(err); got != test.want || runs != 1 {
				t.Errorf("%s: class %d after %d runs (%v); want %d after one", test.statement, got, runs, err, test.want)
			}
		}
	})
}

// What is posted stays: on SQLite triggers say so, and they are the schema's refusal.
func TestClassOfTriggers(t *testing.T) {
	db := sqltest.SQLite(t)
	exec(t, db, `INSERT INTO requests (id, request_hash) VALUES (zeroblob(16), zeroblob(32))`)
	err := db.Write(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE requests SET line = 1, page_id = 1`)
		return err
	})
	if sqldb.ClassOf(err) != sqldb.ClassCheck {
		t.Errorf("changing a request: %v (class %d); want ClassCheck", err, sqldb.ClassOf(err))
	}
}

func TestClassOf(t *testing.T) {
	state := func(code string) error { return fmt.Errorf("insert: %w", &pgconn.PgError{Code: code}) }
	for _, test := range []struct {
		err  error
		want sqldb.Class
	}{
		{nil, sqldb.ClassNone},
		{errors.New("other"), sqldb.ClassNone},
		{context.Canceled, sqldb.ClassNone},
		{context.DeadlineExceeded, sqldb.ClassNone},
		{state("40001"), sqldb.ClassSerialization},
		{state("40P01"), sqldb.ClassSerialization},
		{state("40003"), sqldb.ClassAmbiguous},
		{state("23505"), sqldb.ClassUnique},
		{state("23503"), sqldb.ClassForeignKey},
		{state("23514"), sqldb.ClassCheck},
		{state("23502"), sqldb.ClassCheck},
		{state("22003"), sqldb.ClassOutOfRange},
		{state("53100"), sqldb.ClassFull},
		{state("53300"), sqldb.ClassConnectionLost},
		{state("57P01"), sqldb.ClassConnectionLost},
		{state("08006"), sqldb.ClassConnectionLost},
		{state("XXUUU"), sqldb.ClassConnectionLost},
		{state("42601"), sqldb.ClassOther},
		{driver.ErrBadConn, sqldb.ClassConnectionLost},
		{fmt.Errorf("read: %w", io.ErrUnexpectedEOF), sqldb.ClassConnectionLost},
		{errors.Join(errors.New("a"), state("23505")), sqldb.ClassUnique},
	} {
		if got := sqldb.ClassOf(test.err); got != test.want {
			t.Errorf("ClassOf(%v) = %d; want %d", test.err, got, test.want)
		}
	}
}
