package render

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"tweetledger/ledger"
	"tweetledger/reports"
)

// JSON writes t as one object with the members name, title, description,
// generated_at, facts, columns, rows, totals and notes, always all and in this
// order:
//
//	facts    [{"name", "title", "kind", "value"}]  kind and value null where not known
//	columns  [{"name", "title", "kind"}]
//	rows     [{column name: value, …}]  every column in its order, null where empty
//	totals   the same for the rows that are totals
//	notes    ["…"]
//
// The kind of a column is that of package reports. Text is a string, an integer
// a number, a date "2006-01-02", an instant RFC 3339 in UTC, a flag a boolean.
// Money is {"amount": "1250.00", "currency": "EUR"}: major units with all the
// currency's decimals, as a string, because programs read numbers as floats.
func JSON(w io.Writer, t reports.Table) error {
	if err := t.Check(); err != nil {
		return fmt.Errorf("render json: %w", err)
	}
	out := &jsonWriter{w: bufio.NewWriter(w)}
	out.raw("{\n  \"name\": ").value(t.Name)
	out.raw(",\n  \"title\": ").value(t.Title)
	out.raw(",\n  \"description\": ").value(t.Description)
	out.raw(",\n  \"generated_at\": ").value(jsonCell(t.GeneratedAt))
	out.list("facts", len(t.Facts), func(i int) {
		f := t.Facts[i]
		fact := jsonFact{Name: f.Name, Title: f.Title, Value: jsonCell(f.Value)}
		if kind, ok := reports.KindOf(f.Value); ok {
			fact.Kind = kind
		}
		out.value(fact)
	})
	out.list("columns", len(t.Columns), func(i int) { out.value(jsonColumn(t.Columns[i])) })
	lines, totals := split(t.Rows)
	out.list("rows", len(lines), func(i int) { out.row(t.Columns, lines[i].Cells) })
	out.list("totals", len(totals), func(i int) { out.row(t.Columns, totals[i].Cells) })
	out.list("notes", len(t.Notes), func(i int) { out.value(t.Notes[i]) })
	out.raw("\n}\n")
	if out.err == nil {
		out.err = out.w.Flush()
	}
	if out.err != nil {
		return fmt.Errorf("render json: %w", out.err)
	}
	return nil
}

type jsonFact struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	Kind  any    `json:"kind"` // a reports.Kind, or nil where there is no value
	Value any    `json:"value"`
}

type jsonColumn struct {
	Name  string       `json:"name"`
	Title string       `json:"title"`
	Kind  reports.Kind `json:"kind"`
}

type jsonCash struct {
	Amount   string          `json:"amount"`
	Currency ledger.Currency `json:"currency"`
}

func jsonCell(cell any) any {
	switch v := cell.(type) {
	case reports.Cash:
		return jsonCash{v.Amount.Format(v.Currency), v.Currency}
	case ledger.Date:
		if v.IsZero() {
			return nil
		}
		return v.String()
	case time.Time:
		if v.IsZero() {
			return nil
		}
		return rfc3339(v)
	}
	return cell
}

func split(rows []reports.Row) (lines, totals []reports.Row) {
	for _, row := range rows {
		if row.Total {
			totals = append(totals, row)
		} else {
			lines = append(lines, row)
		}
	}
	return lines, totals
}

// jsonWriter writes objects whose members keep the order of the columns, one row
// a line, without holding the whole text. After an error it writes nothing.
type jsonWriter struct {
	w   *bufio.Writer
	buf bytes.Buffer
	err error
}

func (j *jsonWriter) raw(s string) *jsonWriter {
	if j.err == nil {
		_, j.err = j.w.WriteString(s)
	}
	return j
}

func (j *jsonWriter) value(v any) {
	if j.err != nil {
		return
	}
	j.buf.Reset()
	encoder := json.NewEncoder(&j.buf)
	encoder.SetEscapeHTML(false)
	if j.err = encoder.Encode(v); j.err == nil {
		_, j.err = j.w.Write(bytes.TrimRight(j.buf.Bytes(), "\n"))
	}
}

func (j *jsonWriter) list(name string, n int, element func(i int)) {
	j.raw(",\n  ").value(name)
	j.raw(": [")
	for i := range n {
		if i > 0 {
			j.raw(",")
		}
		j.raw("\n    ")
		element(i)
	}
	if n > 0 {
		j.raw("\n  ")
	}
	j.raw("]")
}

func (j *jsonWriter) row(columns []reports.Column, cells []any) {
	j.raw("{")
	for i, c := range columns {
		if i > 0 {
			j.raw(",")
		}
		j.value(c.Name)
		j.raw(":").value(jsonCell(cells[i]))
	}
	j.raw("}")
}
