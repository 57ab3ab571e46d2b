// Package reports answers the questions of accounting staff and charities: each
// report is a query that gives a typed Table. It knows no output format; package
// reports/render does.
package reports

import (
	"fmt"
	"time"

	"tweetledger/ledger"
)

// Kind is the type of a column's cells, and so of the values in it.
type Kind string

// The kinds of cell and the Go type of their values. A nil cell is empty.
const (
	Text    Kind = "text"    // string
	Integer Kind = "integer" // int64
	Money   Kind = "money"   // Cash
	Day     Kind = "date"    // ledger.Date
	Instant Kind = "instant" // time.Time, UTC
	Flag    Kind = "flag"    // bool
)

// Cash is an amount with its currency: what a Money cell holds.
type Cash struct {
	Amount   ledger.Amount
	Currency ledger.Currency
}

// Column describes a column. Name is for machines (CSV header, JSON key:
// "effective_date"), Title for people ("Effective date"). Money columns that stand
// side by side have one currency in any one row.
type Column struct {
	Name  string
	Title string
	Kind  Kind
}

// Row is one line of a table; Cells has one value a column.
type Row struct {
	Cells []any
	// Total marks a line of totals, which is drawn apart from the lines it sums
	// and left out of CSV, where it would be summed once more.
	Total bool
}

// Fact is a line above a table: "Opening balance: 12.00 EUR". Value is of the
// types that cells have.
type Fact struct {
	Name  string // for machines
	Title string
	Value any
}

// Table is the result of a report.
type Table struct {
	Name        string // for machines: "trial_balance"
	Title       string
	Description string // one line: what it shows and as of when
	GeneratedAt time.Time
	Facts       []Fact
	Columns     []Column
	Rows        []Row
	Notes       []string // below the table: what a reader must know to trust it
}

// KindOf returns the kind of cell that v is a value of, and whether it is one.
func KindOf(v any) (Kind, bool) {
	switch v.(type) {
	case string:
		return Text, true
	case int64:
		return Integer, true
	case Cash:
		return Money, true
	case ledger.Date:
		return Day, true
	case time.Time:
		return Instant, true
	case bool:
		return Flag, true
	}
	return "", false
}

// Check reports the first place where t breaks the rules above: names missing or
// twice, rows of the wrong length, cells of the wrong type or with a currency
// that is not known. It is what a renderer relies on.
func (t Table) Check() error {
	if t.Name == "" {
		return fmt.Errorf("table %q has no name", t.Title)
	}
	seen := map[string]bool{}
	for i, c := range t.Columns {
		if c.Name == "" || seen[c.Name] {
			return fmt.Errorf("table %s: column %d has no name of its own: %q", t.Name, i, c.Name)
		}
		seen[c.Name] = true
	}
	for _, f := range t.Facts {
		if _, ok := KindOf(f.Value); !ok && f.Value != nil {
			return fmt.Errorf("table %s: fact %s holds a %T", t.Name, f.Name, f.Value)
		}
	}
	for i, row := range t.Rows {
		if len(row.Cells) != len(t.Columns) {
			return fmt.Errorf("table %s: row %d has %d cells for %d columns", t.Name, i, len(row.Cells), len(t.Columns))
		}
		for j, cell := range row.Cells {
			if err := checkCell(t.Columns[j].Kind, cell); err != nil {
				return fmt.Errorf("table %s: row %d, column %s: %w", t.Name, i, t.Columns[j].Name, err)
			}
		}
	}
	return nil
}

func checkCell(kind Kind, cell any) error {
	if cell == nil {
		return nil
	}
	if got, ok := KindOf(cell); !ok || got != kind {
		return fmt.Errorf("a %T is not a value of kind %s", cell, kind)
	}
	if cash, ok := cell.(Cash); ok && !cash.Currency.Known() {
		return fmt.Errorf("%q is not a currency", string(cash.Currency))
	}
	return nil
}
