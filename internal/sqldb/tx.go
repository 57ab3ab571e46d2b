package sqldb

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/ledger"
)

// Tx is a transaction. Values travel as uuid.UUID, time.Time (UTC, microseconds)
// and ledger.Date on every engine; the zero time and the zero date are NULL, and
// NULL reads as the zero value.
type Tx struct {
	tx     *sql.Tx
	db     *DB
	writes bool
}

// Engine returns which engine the transaction runs on.
func (tx *Tx) Engine() Engine { return tx.db.engine }

// Exec runs a statement and returns how many rows it changed.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	var result sql.Result
	var err error
	if stmt := tx.prepared(ctx, query); stmt != nil {
		result, err = stmt.ExecContext(ctx, tx.values(args)...)
	} else {
		result, err = tx.tx.ExecContext(ctx, query, tx.values(args)...)
	}
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// Query runs a query. The caller must Close the rows.
func (tx *Tx) Query(ctx context.Context, query string, args ...any) (*Rows, error) {
	var rows *sql.Rows
	var err error
	if stmt := tx.prepared(ctx, query); stmt != nil {
		rows, err = stmt.QueryContext(ctx, tx.values(args)...)
	} else {
		rows, err = tx.tx.QueryContext(ctx, query, tx.values(args)...)
	}
	if err != nil {
		return nil, err
	}
	return &Rows{rows}, nil
}

// QueryRow reads the one row of a query into dest. Where there is none the error
// satisfies IsNoRows.
func (tx *Tx) QueryRow(ctx context.Context, query string, args []any, dest ...any) error {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return err
		}
		return errNoRows
	}
	if err := rows.Scan(dest...); err != nil {
		return err
	}
	return rows.Close()
}

// maxPrepared bounds the statements kept prepared on SQLite's writer: the
// service has a few hundred in all.
const maxPrepared = 512

// prepared returns query as a prepared statement of this transaction where the
// driver does not cache statements itself (SQLite's writer), or nil. A query that
// is new is noted, to be prepared once the transaction has left its connection.
func (tx *Tx) prepared(ctx context.Context, query string) *sql.Stmt {
	db := tx.db
	if db.engine != SQLite || !tx.writes {
		return nil
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	stmt, ok := db.stmts[query]
	if !ok && len(db.stmts) < maxPrepared {
		db.stmts[query] = nil
		db.unprepared = append(db.unprepared, query)
	}
	if stmt == nil {
		return nil
	}
	return tx.tx.StmtContext(ctx, stmt)
}

// prepareNew prepares what transactions have noted. A statement that cannot be
// prepared now is noted again where it is used next.
func (db *DB) prepareNew(ctx context.Context) {
	db.mu.Lock()
	queries := db.unprepared
	db.unprepared = nil
	db.mu.Unlock()
	for _, query := range queries {
		stmt, err := db.write.PrepareContext(ctx, query)
		db.mu.Lock()
		if err == nil {
			db.stmts[query] = stmt
		} else {
			delete(db.stmts, query)
		}
		db.mu.Unlock()
	}
}

// Rows is the result of a query.
type Rows struct{ rows *sql.Rows }

// Next moves to the next row.
func (r *Rows) Next() bool { return r.rows.Next() }

// Err returns what ended the iteration early, if anything did.
func (r *Rows) Err() error { return r.rows.Err() }

// Close releases the rows; it may be called more than once.
func (r *Rows) Close() error { return r.rows.Close() }

// Scan reads the row. Beside what database/sql reads, dest may hold *time.Time,
// *ledger.Date, and *uuid.UUID, which stay zero where the value is NULL.
func (r *Rows) Scan(dest ...any) error {
	wrapped := make([]any, len(dest))
	for i, d := range dest {
		switch d := d.(type) {
		case *time.Time:
			*d = time.Time{}
			wrapped[i] = (*instant)(d)
		case *ledger.Date:
			*d = ledger.Date{}
			wrapped[i] = (*date)(d)
		case *uuid.UUID:
			*d = uuid.Nil
			wrapped[i] = d
		default:
			wrapped[i] = d
		}
	}
	return r.rows.Scan(wrapped...)
}

// instantFormat is how SQLite keeps an instant: UTC with microseconds, so that
// the order of the text is the order in time.
const instantFormat = "2006-01-02T15:04:05.000000Z"

type instant time.Time

// Scan implements sql.Scanner.
func (t *instant) Scan(src any) error {
	switch v := src.(type) {
	case nil:
	case time.Time:
		*t = instant(v.UTC())
	case string:
		parsed, err := time.Parse(instantFormat, v)
		if err != nil {
			return fmt.Errorf("read instant: %w", err)
		}
		*t = instant(parsed)
	default:
		return fmt.Errorf("read instant: unexpected %T", src)
	}
	return nil
}

type date ledger.Date

// Scan implements sql.Scanner.
func (d *date) Scan(src any) error {
	switch v := src.(type) {
	case nil:
	case time.Time:
		*d = date(ledger.DateIn(v, time.UTC))
	case string:
		parsed, err := ledger.ParseDate(v)
		if err != nil {
			return fmt.Errorf("read date: %w", err)
		}
		*d = date(parsed)
	default:
		return fmt.Errorf("read date: unexpected %T", src)
	}
	return nil
}

// values prepares arguments for the engine's driver.
func (tx *Tx) values(args []any) []any {
	out := make([]any, len(args))
	for i, arg := range args {
		out[i] = tx.value(arg)
	}
	return out
}

func (tx *Tx) value(arg any) any {
	lite := tx.db.engine == SQLite
	switch v := arg.(type) {
	case uuid.UUID:
		if lite {
			return v[:]
		}
		return [16]byte(v) // which pgx encodes as it is; a uuid.UUID would become text first
	case time.Time:
		if v.IsZero() {
			return nil
		}
		if lite {
			return v.UTC().Format(instantFormat)
		}
		return v.UTC().Truncate(time.Microsecond)
	case ledger.Date:
		if v.IsZero() {
			return nil
		}
		if lite {
			return v.String()
		}
		return v.Midnight(time.UTC)
	case [32]byte:
		return v[:]
	case []uuid.UUID:
		if lite {
			ids := make([]string, len(v))
			for i, id := range v {
				ids[i] = hex.EncodeToString(id[:])
			}
			return asJSON(ids)
		}
		ids := make([][16]byte, len(v))
		for i, id := range v {
			ids[i] = id
		}
		return ids
	case []string:
		if lite {
			return asJSON(v)
		}
	case []int64:
		if lite {
			return asJSON(v)
		}
	case map[string]string:
		if v == nil {
			return "{}"
		}
		return asJSON(v)
	}
	return arg
}

func asJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil { // strings and maps of strings always marshal
		panic(err)
	}
	return string(text)
}

// NullUUID returns id as an argument that is NULL where id is uuid.Nil.
func NullUUID(id uuid.UUID) any {
	if id == uuid.Nil {
		return nil
	}
	return id
}

// NullText returns s as an argument that is NULL where s is empty.
func NullText(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// AnyUUID returns the condition that column is one of the ids in argument n, a
// []uuid.UUID.
func (tx *Tx) AnyUUID(column string, n int) string {
	if tx.db.engine == SQLite {
		return fmt.Sprintf("%s IN (SELECT unhex(value) FROM json_each($%d))", column, n)
	}
	return fmt.Sprintf("%s = ANY($%d::uuid[])", column, n)
}

// AnyInt8 returns the condition that column is one of the numbers in argument n,
// an []int64.
func (tx *Tx) AnyInt8(column string, n int) string {
	if tx.db.engine == SQLite {
		return fmt.Sprintf("%s IN (SELECT value FROM json_each($%d))", column, n)
	}
	return fmt.Sprintf("%s = ANY($%d::int8[])", column, n)
}

// AnyText returns the condition that column is one of the strings in argument
// n, a []string.
func (tx *Tx) AnyText(column string, n int) string {
	if tx.db.engine == SQLite {
		return fmt.Sprintf("%s IN (SELECT value FROM json_each($%d))", column, n)
	}
	return fmt.Sprintf("%s = ANY($%d::text[])", column, n)
}

// ForUpdate returns the clause that locks the rows a query reads, in its order.
// SQLite needs none: its one writer has locked everything.
func (tx *Tx) ForUpdate() string {
	if tx.db.engine == SQLite {
		return ""
	}
	return " FOR UPDATE"
}

// Int8 returns the name of the 64-bit integer type, for a CAST: sums are wider
// on servers.
func (tx *Tx) Int8() string {
	if tx.db.engine == SQLite {
		return "INTEGER"
	}
	return "int8"
}
