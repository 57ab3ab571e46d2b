package sqldb_test

import (
	"context"
	"fmt"
	"testing"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
)

// The text of a query is kept, but never used for sets of another shape.
func TestTextOfAQueryIsOfItsSets(t *testing.T) {
	number, name := sqldb.Column{Name: "a", Type: "int8"}, sqldb.Column{Name: "b", Type: "text"}
	tests := []struct {
		columns []sqldb.Column
		rows    [][]any
		want    string
	}{
		{[]sqldb.Column{number, name}, [][]any{{int64(1), "x"}}, "1x"},
		{[]sqldb.Column{number, name}, [][]any{{int64(1), "x"}, {int64(2), "y"}}, "1x 2y"},
		{[]sqldb.Column{{Name: "a", Type: "text"}, name}, [][]any{{"one", "x"}, {"two", "y"}}, "onex twoy"},
		{[]sqldb.Column{name, number}, [][]any{{"x", int64(3)}, {"y", int64(4)}}, "3x 4y"},
		{[]sqldb.Column{{Name: "c", Type: "text"}, number, name}, [][]any{{"-", int64(5), "z"}}, "5z"},
	}
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		for range 2 { // made, then kept
			for _, test := range tests {
				got := ""
				write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
					got = ""
					set := sqldb.RowSet{Columns: test.columns, N: len(test.rows), Row: func(i int) []any { return test.rows[i] }}
					return tx.QuerySets(ctx, "SELECT d.a, d.b FROM ROWS AS d ORDER BY d.b", func(rows *sqldb.Rows) error {
						var a any
						var b string
						err := rows.Scan(&a, &b)
						if got != "" {
							got += " "
						}
						got += fmt.Sprint(a) + b
						return err
					}, set)
				})
				if got != test.want {
					t.Errorf("%v came back as %q; want %q", test.rows, got, test.want)
				}
			}
		}
	})
}
