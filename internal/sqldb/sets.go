package sqldb

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"tweetledger/ledger"
)

// Column is a column of rows that are written set-wise. Type is its type on
// PostgreSQL and CockroachDB: uuid, int8, text, date, timestamptz, bytea, bool, jsonb.
type Column struct{ Name, Type string }

// RowSet is rows that one statement reads as if they were a table. Row(i) returns
// the values of row i, from 0 to N-1, in the order of the columns; it is called
// once a row, in order.
type RowSet struct {
	Columns []Column
	N       int
	Row     func(i int) []any
}

// MaxRowsPerStatement bounds the rows of one set of a statement, and with them
// what a statement takes in memory here and in one message to a server
// (CockroachDB: 16 MiB, which leaves 1.6 kB a row).
const MaxRowsPerStatement = 10_000

// Insert writes n rows; row(i) returns the values of row i in the order of the
// columns. More than MaxRowsPerStatement rows travel in several statements.
func (tx *Tx) Insert(ctx context.Context, table string, columns []Column, n int, row func(i int) []any) error {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	_, err := tx.ExecRows(ctx, "INSERT INTO "+table+" ("+strings.Join(names, ", ")+") SELECT * FROM ROWS", columns, n, row)
	return err
}

// ExecRows runs a statement that reads n rows and returns how many rows of the
// database it changed. See ExecSets for how a query names them; the one set may be
// called ROWS. More than MaxRowsPerStatement rows are read by several statements,
// and no rows by none.
//
//	UPDATE holds SET posted = d.posted FROM ROWS AS d(id, posted) WHERE holds.id = d.id
func (tx *Tx) ExecRows(ctx context.Context, query string, columns []Column, n int, row func(i int) []any) (int64, error) {
	changed := int64(0)
	err := inParts(n, columns, row, func(part RowSet) error {
		count, err := tx.ExecSets(ctx, query, part)
		changed += count
		return err
	})
	return changed, err
}

// EachOfRows runs a query that reads n rows and calls fn for every row that it
// returns. See QuerySets for how to write it; the one set may be called ROWS. More
// than MaxRowsPerStatement rows are read by several queries, each of which returns
// its rows in an order of its own, and no rows by none.
func (tx *Tx) EachOfRows(ctx context.Context, query string, columns []Column, n int, row func(i int) []any, fn func(rows *Rows) error) error {
	return inParts(n, columns, row, func(part RowSet) error { return tx.QuerySets(ctx, query, fn, part) })
}

// inParts calls fn for the rows, at most MaxRowsPerStatement at a time.
func inParts(n int, columns []Column, row func(i int) []any, fn func(part RowSet) error) error {
	for start := 0; start < n; start += MaxRowsPerStatement {
		part := RowSet{Columns: columns, N: min(n-start, MaxRowsPerStatement), Row: func(i int) []any { return row(start + i) }}
		if err := fn(part); err != nil {
			return err
		}
	}
	return nil
}

// ExecSets runs a statement that reads the sets and returns how many rows of the
// database it changed: of a WITH clause, those of its last part.
//
// In the query the words ROWS1, ROWS2 … stand for the sets in their order (ROWS is
// ROWS1), each as often as needed: "FROM ROWS1 AS d" has the names of the set's
// columns, "FROM ROWS1 AS d(id, amount)" other ones. The query has no other
// parameters: what is the same for all rows is a column too. A set may be empty,
// and may have at most MaxRowsPerStatement rows. SQLite runs no INSERT or UPDATE
// inside WITH.
func (tx *Tx) ExecSets(ctx context.Context, query string, sets ...RowSet) (int64, error) {
	s, err := tx.statement(query, sets)
	if err != nil {
		return 0, err
	}
	defer s.release()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if s.quick {
		// SQLite's driver watches a context that can end by a goroutine a statement: an
		// eighth of what a statement for one row costs.
		ctx = context.WithoutCancel(ctx)
	}
	return tx.Exec(ctx, s.query, s.args...)
}

// QuerySets runs a query that reads the sets, as ExecSets does, and calls fn for
// every row that it returns. While it runs, the transaction can do nothing else.
// The query may be a SELECT, or end in RETURNING.
//
// Two things keep it the same on all engines. A SELECT that looks the rows of a
// set up in a table joins them by CROSS JOIN with the set first, which is an order
// to SQLite and an ordinary join to servers:
//
//	SELECT t.id FROM ROWS AS d(key) CROSS JOIN things AS t WHERE t.id = d.key
//
// And RETURNING names columns without their table, because SQLite knows no other
// there; so no column of the set may have the name of one that is returned:
//
//	UPDATE things SET n = things.n + d.amount FROM ROWS AS d(key, amount)
//	WHERE things.id = d.key RETURNING id, n
func (tx *Tx) QuerySets(ctx context.Context, query string, fn func(rows *Rows) error, sets ...RowSet) error {
	s, err := tx.statement(query, sets)
	if err != nil {
		return err
	}
	defer s.release()
	if err := ctx.Err(); err != nil {
		return err
	}
	return tx.Each(ctx, s.query, s.args, fn)
}

// quickRows is how many rows SQLite writes in less than a millisecond.
const quickRows = 50

// setStatement is a query over sets as Tx.Exec and Tx.Query take it.
type setStatement struct {
	query   string
	args    []any
	quick   bool     // SQLite: it is over before anyone could want to interrupt it
	sets    *rowsets // SQLite: where the handles are registered
	handles []int64
}

// release forgets what the statement has registered.
func (s *setStatement) release() {
	if len(s.handles) > 0 {
		s.sets.remove(s.handles)
	}
}

// statement makes the engine's query and arguments of a query over sets. On
// success the caller must release it.
func (tx *Tx) statement(query string, sets []RowSet) (*setStatement, error) {
	s := &setStatement{quick: tx.db.engine == SQLite, sets: tx.db.rowsets}
	all := make([]*rowset, len(sets))
	for k, set := range sets {
		values, err := tx.rowset(set)
		if err != nil {
			return nil, fmt.Errorf("ROWS%d: %w", k+1, err)
		}
		all[k] = values
		s.quick = s.quick && set.N <= quickRows
	}
	var err error
	if s.query, err = tx.db.texts.of(query, sets); err != nil {
		return nil, err
	}
	for k, set := range sets {
		switch {
		case tx.db.engine != SQLite:
			for c := range set.Columns {
				s.args = append(s.args, arrayOfColumn{all[k], c})
			}
		case set.N == 1: // values need no table
			s.args = append(s.args, all[k].values...)
		default:
			handle := tx.db.rowsets.add(all[k])
			s.handles = append(s.handles, handle)
			s.args = append(s.args, handle)
		}
	}
	return s, nil
}

// rowset takes the values of a set for the engine's driver. All rows are asked for
// before the statement runs, so that nothing of the caller's runs inside it.
func (tx *Tx) rowset(set RowSet) (*rowset, error) {
	width := len(set.Columns)
	switch {
	case width == 0 || width > maxRowsetColumns:
		return nil, fmt.Errorf("a set has 1 to %d columns, not %d", maxRowsetColumns, width)
	case set.N < 0 || set.N > MaxRowsPerStatement:
		return nil, fmt.Errorf("a set of one statement has at most %d rows, not %d", MaxRowsPerStatement, set.N)
	}
	convert := serverCell
	if tx.db.engine == SQLite {
		convert = (&sqliteCells{tx: tx}).cell
	}
	s := &rowset{width: width, length: set.N, values: make([]any, 0, width*set.N)}
	for i := range set.N {
		row := set.Row(i)
		if len(row) != width {
			return nil, fmt.Errorf("row %d has %d values for %d columns", i, len(row), width)
		}
		for c, v := range row {
			value, err := convert(v, set.Columns[c].Type)
			if err != nil {
				return nil, fmt.Errorf("row %d, column %s: %w", i, set.Columns[c].Name, err)
			}
			s.values = append(s.values, value)
		}
	}
	return s, nil
}

// sqliteCells makes values of rows into what SQLite stores. The rows of a set
// mostly have the same instant and date, which are written as text once.
type sqliteCells struct {
	tx         *Tx
	at         time.Time
	atAsText   any
	date       ledger.Date
	dateAsText any
}

// cell returns v as one of the types that the driver takes, or as one that
// rowsetCursor hands over without making a slice of it first.
func (s *sqliteCells) cell(v any, _ string) (any, error) {
	switch v := v.(type) {
	case nil, int64, string, uuid.UUID, [32]byte:
		return v, nil
	case []byte:
		if v == nil {
			return nil, nil // as where it is an argument
		}
		return v, nil
	case time.Time:
		if s.atAsText == nil || !v.Equal(s.at) {
			s.at, s.atAsText = v, s.tx.value(v)
		}
		return s.atAsText, nil
	case ledger.Date:
		if s.dateAsText == nil || v != s.date {
			s.date, s.dateAsText = v, s.tx.value(v)
		}
		return s.dateAsText, nil
	}
	return driver.DefaultParameterConverter.ConvertValue(s.tx.value(v))
}

// serverCell returns v as a type that pgx encodes directly. An array of ids in
// other types costs it two to four times as much, also a [][16]byte.
func serverCell(v any, columnType string) (any, error) {
	switch v := v.(type) {
	case uuid.UUID:
		return pgtype.UUID{Bytes: v, Valid: true}, nil
	case time.Time:
		return instantCell(v, columnType), nil
	case ledger.Date:
		if v.IsZero() {
			return nil, nil
		}
		return instantCell(v.Midnight(time.UTC), columnType), nil
	case ledger.Amount:
		return int64(v), nil
	case [32]byte:
		return v[:], nil
	case map[string]string:
		if v == nil {
			return "{}", nil
		}
		return asJSON(v), nil
	}
	return v, nil
}

func instantCell(t time.Time, columnType string) any {
	switch {
	case t.IsZero():
		return nil
	case columnType == "date":
		return pgtype.Date{Time: t.UTC(), Valid: true}
	case columnType == "timestamptz":
		return pgtype.Timestamptz{Time: t.UTC().Truncate(time.Microsecond), Valid: true}
	}
	return t.UTC().Truncate(time.Microsecond)
}

// arrayOfColumn is one column of a set as pgx encodes an array.
type arrayOfColumn struct {
	set    *rowset
	column int
}

// Dimensions implements pgtype.ArrayGetter.
func (a arrayOfColumn) Dimensions() []pgtype.ArrayDimension {
	return []pgtype.ArrayDimension{{Length: int32(a.set.length), LowerBound: 1}} // at most MaxRowsPerStatement
}

// Index implements pgtype.ArrayGetter.
func (a arrayOfColumn) Index(i int) any { return a.set.values[i*a.set.width+a.column] }

// IndexType implements pgtype.ArrayGetter: each element has a type of its own.
func (arrayOfColumn) IndexType() any { return nil }
