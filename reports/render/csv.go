package render

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"tweetledger/ledger"
	"tweetledger/reports"
)

// CSVOptions are the choices that a reader of the file may need.
type CSVOptions struct {
	// ByteOrderMark puts U+FEFF first, by which spreadsheets know UTF-8.
	ByteOrderMark bool
}

// CSV writes the lines of t, without totals, as RFC 4180 in UTF-8: a header of
// column names, then one record a row. Amounts are plain decimals with a point,
// and each run of money columns is followed by a column with their currency;
// dates are 2006-01-02, instants RFC 3339 in UTC, flags true or false. Text that
// a spreadsheet would take for a formula starts with an apostrophe instead.
func CSV(w io.Writer, t reports.Table, opts CSVOptions) error {
	if err := t.Check(); err != nil {
		return fmt.Errorf("render csv: %w", err)
	}
	if opts.ByteOrderMark {
		if _, err := io.WriteString(w, "\ufeff"); err != nil {
			return fmt.Errorf("render csv: %w", err)
		}
	}
	out := csv.NewWriter(w)
	out.UseCRLF = true
	groups := moneyGroups(t.Columns)
	record := csvHeader(t.Columns, groups)
	if err := out.Write(record); err != nil {
		return fmt.Errorf("render csv: %w", err)
	}
	for i, row := range t.Rows {
		if row.Total {
			continue
		}
		var err error
		if record, err = csvRecord(record[:0], row.Cells, groups); err != nil {
			return fmt.Errorf("render csv: row %d of %s: %w", i, t.Name, err)
		}
		if err := out.Write(record); err != nil {
			return fmt.Errorf("render csv: %w", err)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("render csv: %w", err)
	}
	return nil
}

// moneyGroup is a run of money columns: [first, end).
type moneyGroup struct{ first, end int }

func moneyGroups(columns []reports.Column) []moneyGroup {
	var groups []moneyGroup
	for i, c := range columns {
		switch {
		case c.Kind != reports.Money:
		case len(groups) > 0 && groups[len(groups)-1].end == i:
			groups[len(groups)-1].end++
		default:
			groups = append(groups, moneyGroup{i, i + 1})
		}
	}
	return groups
}

func csvHeader(columns []reports.Column, groups []moneyGroup) []string {
	taken := map[string]bool{}
	for _, c := range columns {
		taken[c.Name] = true
	}
	var header []string
	for i, c := range columns {
		header = append(header, c.Name)
		if g, ok := groupEnding(groups, i); ok {
			name := "currency"
			if len(groups) > 1 || taken[name] {
				name = columns[g.first].Name + "_currency"
			}
			header = append(header, name)
		}
	}
	return header
}

func groupEnding(groups []moneyGroup, column int) (moneyGroup, bool) {
	for _, g := range groups {
		if g.end == column+1 {
			return g, true
		}
	}
	return moneyGroup{}, false
}

func csvRecord(record []string, cells []any, groups []moneyGroup) ([]string, error) {
	for i, cell := range cells {
		record = append(record, csvCell(cell))
		if g, ok := groupEnding(groups, i); ok {
			currency, err := sharedCurrency(cells[g.first:g.end])
			if err != nil {
				return nil, err
			}
			record = append(record, string(currency))
		}
	}
	return record, nil
}

func sharedCurrency(cells []any) (ledger.Currency, error) {
	var currency ledger.Currency
	for _, cell := range cells {
		cash, ok := cell.(reports.Cash)
		switch {
		case !ok || cash.Currency == currency:
		case currency == "":
			currency = cash.Currency
		default:
			return "", fmt.Errorf("amounts in %s and %s stand side by side", currency, cash.Currency)
		}
	}
	return currency, nil
}

func csvCell(cell any) string {
	switch v := cell.(type) {
	case string:
		return csvText(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case reports.Cash:
		return v.Amount.Format(v.Currency)
	case ledger.Date:
		return isoDate(v)
	case time.Time:
		return rfc3339(v)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// formulaStarts are the characters that make a spreadsheet evaluate a cell, with
// their full-width forms (OWASP, CSV injection).
const formulaStarts = "=+-@\t\n\uff1d\uff0b\uff0d\uff20"

// csvText guards s against being evaluated and leaves in it only what RFC 4180
// allows in a field, and tabs: line ends become LF here and CRLF in the file.
func csvText(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	s = strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' {
			return r
		}
		return shown(r)
	}, s)
	if s != "" && strings.ContainsRune(formulaStarts, []rune(s)[0]) {
		return "'" + s
	}
	return s
}

func isoDate(d ledger.Date) string {
	if d.IsZero() {
		return ""
	}
	return d.String()
}

func rfc3339(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
