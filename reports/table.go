// Package reports answers the questions of accounting staff and charities: each
// report is a query that gives a typed Table. It knows no output format; package
// reports/render does.
package reports

import (
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
// "effective_date"), Title for people ("Effective date").
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
