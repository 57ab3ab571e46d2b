package sqldb

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"tweetledger/ledger"
)

// Each runs a query and calls fn for every row. While it runs, the transaction
// can do nothing else.
func (tx *Tx) Each(ctx context.Context, query string, args []any, fn func(rows *Rows) error) error {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return rows.Close()
}

// IndexedBy returns what stands behind a table's name so that it is read by an
// index. SQLite keeps no statistics of the book and would rather read all of a
// page of the journal; servers choose by themselves.
func (tx *Tx) IndexedBy(index string) string {
	if tx.db.engine == SQLite {
		return " INDEXED BY " + index
	}
	return ""
}

// Collect runs a query and returns what scan makes of every row. The query bounds
// how many there are.
func Collect[T any](ctx context.Context, tx *Tx, query string, args []any, scan func(rows *Rows) (T, error)) ([]T, error) {
	var list []T
	err := tx.Each(ctx, query, args, func(rows *Rows) error {
		item, err := scan(rows)
		if err != nil {
			return err
		}
		list = append(list, item)
		return nil
	})
	return list, err
}

// Where collects conditions and their arguments. A copy of it goes its own way.
type Where struct {
	conditions []string
	Args       []any
}

// And adds a condition; each ? in it stands for the next of args.
func (w *Where) And(condition string, args ...any) {
	parts := strings.Split(condition, "?")
	var b strings.Builder
	for i, part := range parts {
		b.WriteString(part)
		if i < len(parts)-1 {
			fmt.Fprintf(&b, "$%d", len(w.Args)+i+1)
		}
	}
	w.Args = append(slices.Clip(w.Args), args...)
	w.conditions = append(slices.Clip(w.conditions), b.String())
}

// Period adds that column lies between two dates, both inclusive; a zero one is
// no bound.
func (w *Where) Period(column string, from, to ledger.Date) {
	if !from.IsZero() {
		w.And(column+" >= ?", from)
	}
	if !to.IsZero() {
		w.And(column+" <= ?", to)
	}
}

// Clause returns " WHERE …", or nothing where there is no condition.
func (w *Where) Clause() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return " WHERE " + w.Condition()
}

// Condition returns the conditions without the word WHERE, for a query that has
// more of them; it is true where there is none.
func (w *Where) Condition() string {
	if len(w.conditions) == 0 {
		return "1 = 1"
	}
	return strings.Join(w.conditions, " AND ")
}

// CheckPage refuses a page of a list that is empty or longer than most.
func CheckPage(limit, most int) error {
	if limit < 1 || limit > most {
		return ledger.Errorf(ledger.CodeInvalid, "a page has 1 to %d rows, not %d", most, limit).InField("limit")
	}
	return nil
}

// Flag returns b as SQL keeps it on every engine: 0 or 1.
func Flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
