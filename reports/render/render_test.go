package render_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"

	"tweetledger/ledger"
	"tweetledger/reports"
	"tweetledger/reports/render"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run the test with -update to write it", err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s differs; got\n%s\nwant\n%s", path, got, want)
	}
}

func eur(minor int64) reports.Cash {
	return reports.Cash{Amount: ledger.Amount(minor), Currency: ledger.EUR}
}

func day(y int, m time.Month, d int) ledger.Date { return ledger.Date{Year: y, Month: m, Day: d} }

var generated = time.Date(2026, 11, 22, 23, 15, 42, 123456000, time.UTC)

// statement has every kind of cell, text from hostile hands and wide characters.
func statement() reports.Table {
	return reports.Table{
		Name:        "sample",
		Title:       "Sample statement",
		Description: "Every kind of cell, from 2026-01-01 to 2026-01-31",
		GeneratedAt: generated,
		Facts: []reports.Fact{
			{Name: "account", Title: "Account", Value: "payable:croix-rouge"},
			{Name: "opening", Title: "Opening balance", Value: eur(125000)},
			{Name: "closing", Title: "Closing balance", Value: eur(-5)},
			{Name: "from", Title: "From", Value: day(2026, 1, 1)},
			{Name: "unknown", Title: "Bank reference", Value: nil},
		},
		Columns: []reports.Column{
			{Name: "effective_date", Title: "Date", Kind: reports.Day},
			{Name: "recorded_at", Title: "Recorded", Kind: reports.Instant},
			{Name: "label", Title: "Label", Kind: reports.Text},
			{Name: "number", Title: "Number", Kind: reports.Integer},
			{Name: "reversal", Title: "Reversal", Kind: reports.Flag},
			{Name: "debit", Title: "Debit", Kind: reports.Money},
			{Name: "credit", Title: "Credit", Kind: reports.Money},
			{Name: "note", Title: "Note", Kind: reports.Text},
			{Name: "balance", Title: "Running balance", Kind: reports.Money},
		},
		Rows: []reports.Row{
			{Cells: []any{day(2026, 1, 2), generated, "Don à l’Œuvre, Noël", int64(1), false, eur(123456789), nil, `said "merci"`, eur(123456789)}},
			{Cells: []any{day(2026, 1, 3), generated, "寄付 🎁 👨‍👩‍👧", int64(1234567), true, nil, eur(5), "=HYPERLINK(\"http://x\")", eur(-5)}},
			{Cells: []any{day(2026, 1, 4), generated, "bell\a esc\x1b[2J over\u202eride", int64(-3), false, nil, eur(0), "-1+1\r\nline two", nil}},
			{Cells: []any{nil, nil, "", nil, nil, nil, nil, nil, nil}},
			{Total: true, Cells: []any{nil, nil, "Total", nil, nil, eur(123456789), eur(5), nil, nil}},
		},
		Notes: []string{"Debits and credits tie.", "A note\x1b[31m with a colour of its own."},
	}
}

func empty() reports.Table {
	table := statement()
	table.Facts, table.Rows, table.Notes = nil, nil, nil
	return table
}

func currencies() reports.Table {
	return reports.Table{
		Name: "currencies", Title: "Amounts of several currencies",
		Columns: []reports.Column{
			{Name: "currency", Title: "Code", Kind: reports.Text},
			{Name: "amount", Title: "Amount", Kind: reports.Money},
		},
		Rows: []reports.Row{
			{Cells: []any{"JPY", reports.Cash{Amount: 1250000, Currency: "JPY"}}},
			{Cells: []any{"TND", reports.Cash{Amount: -1250000, Currency: "TND"}}},
			{Cells: []any{"EUR", eur(-9223372036854775808)}},
		},
	}
}

func TestGolden(t *testing.T) {
	tables := map[string]reports.Table{"sample": statement(), "empty": empty(), "currencies": currencies()}
	for name, table := range tables {
		for _, format := range render.Formats() {
			t.Run(name+"."+format, func(t *testing.T) {
				var out bytes.Buffer
				if err := render.Render(&out, format, table); err != nil {
					t.Fatal(err)
				}
				golden(t, name+"."+format, out.Bytes())
			})
		}
	}
}

func TestTextOnTerminal(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts render.TextOptions
	}{
		{"sample-120.text", render.TextOptions{Width: 120}},
		{"sample-colour.text", render.TextOptions{Width: 140, Colour: true}},
	} {
		var out bytes.Buffer
		if err := render.Text(&out, statement(), tc.opts); err != nil {
			t.Fatal(err)
		}
		golden(t, tc.name, out.Bytes())
	}
}

func TestTextKeepsToTheWidth(t *testing.T) {
	table := statement()
	for width := 118; width < 200; width++ {
		var out bytes.Buffer
		if err := render.Text(&out, table, render.TextOptions{Width: width}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			if got := uniseg.StringWidth(strings.TrimRight(line, "\n")); got > width {
				t.Fatalf("a line takes %d cells of %d:\n%s", got, width, out.String())
			}
		}
		if !strings.Contains(out.String(), "1 234 567.89") {
			t.Fatalf("an amount is cut at width %d:\n%s", width, out.String())
		}
	}
}

func TestTextColumnsAlign(t *testing.T) {
	var out bytes.Buffer
	if err := render.Text(&out, statement(), render.TextOptions{}); err != nil {
		t.Fatal(err)
	}
	// "false" and "true" stand in one column behind a label of accents, CJK and emoji
	columns := map[int]bool{}
	for line := range strings.Lines(out.String()) {
		for _, word := range []string{"  no ", "  yes "} {
			if before, _, ok := strings.Cut(line, word); ok && strings.HasPrefix(line, "2026-") {
				columns[uniseg.StringWidth(before)] = true
			}
		}
	}
	if len(columns) != 1 {
		t.Errorf("the flags stand in the columns %v:\n%s", columns, out.String())
	}
}

func TestTextNeutralisesControls(t *testing.T) {
	table := statement()
	table.Title, table.Description = "\x1b]0;title\a", "\u2066hidden"
	var out bytes.Buffer
	if err := render.Text(&out, table, render.TextOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, r := range out.String() {
		if r != '\n' && r != '\u200d' && !unicode.IsGraphic(r) {
			t.Errorf("%U reached the terminal", r)
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	err := render.Render(io.Discard, "pdf2", statement())
	if ledger.CodeOf(err) != ledger.CodeInvalid {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"format", `"pdf2"`, "text, csv, json"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %s", err, want)
		}
	}
}

type brokenWriter struct{}

var errBroken = errors.New("no space left")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestErrorsReachTheCaller(t *testing.T) {
	wrong := map[string]func(*reports.Table){
		"no name":           func(t *reports.Table) { t.Name = "" },
		"column twice":      func(t *reports.Table) { t.Columns[1].Name = t.Columns[0].Name },
		"row too short":     func(t *reports.Table) { t.Rows[0].Cells = t.Rows[0].Cells[:2] },
		"float":             func(t *reports.Table) { t.Rows[0].Cells[5] = 12.5 },
		"text for money":    func(t *reports.Table) { t.Rows[0].Cells[5] = "12.50" },
		"currency unknown":  func(t *reports.Table) { t.Rows[0].Cells[5] = reports.Cash{Amount: 1, Currency: "XXX"} },
		"fact of odd types": func(t *reports.Table) { t.Facts[0].Value = 12 },
	}
	for _, format := range render.Formats() {
		if err := render.Render(brokenWriter{}, format, statement()); !errors.Is(err, errBroken) {
			t.Errorf("%s to a full disk: %v", format, err)
		}
		for name, breakIt := range wrong {
			table := statement()
			breakIt(&table)
			if err := render.Render(io.Discard, format, table); err == nil {
				t.Errorf("%s accepts a table with %s", format, name)
			}
		}
	}
	mixed := statement()
	mixed.Rows[0].Cells[6] = reports.Cash{Amount: 1, Currency: "JPY"}
	if err := render.CSV(io.Discard, mixed, render.CSVOptions{}); err == nil {
		t.Error("CSV accepts two currencies side by side in one row")
	}
}

func TestCSVByteOrderMark(t *testing.T) {
	var out bytes.Buffer
	if err := render.CSV(&out, empty(), render.CSVOptions{ByteOrderMark: true}); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "\ufeffeffective_date,") {
		t.Errorf("got %q", out.String())
	}
}

func FuzzCSVText(f *testing.F) {
	for _, seed := range []string{"", "plain", "=1+1", "+33 6", "-5", "@here", "\t=1", "\r=1", "\n=1", "＝1", "'=1", "a,\"b\"", "a\r\nb", "\xff\xfe", "\x1b[2J", "\u202e=1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		table := reports.Table{Name: "t",
			Columns: []reports.Column{{Name: "text", Kind: reports.Text}, {Name: "amount", Kind: reports.Money}},
			Rows:    []reports.Row{{Cells: []any{text, eur(-1)}}},
		}
		var out bytes.Buffer
		if err := render.CSV(&out, table, render.CSVOptions{}); err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(out.Bytes()) {
			t.Fatalf("not UTF-8: %q", out.Bytes())
		}
		records, err := csv.NewReader(&out).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if len(records) != 2 || len(records[1]) != 3 || records[1][1] != "-0.01" || records[1][2] != "EUR" {
			t.Fatalf("got %q", records)
		}
		cell := records[1][0]
		if cell != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", []rune(cell)[0]) {
			t.Errorf("%q begins a formula", cell)
		}
		for _, r := range cell {
			if unicode.IsControl(r) && r != '\t' && r != '\n' {
				t.Errorf("%q holds the control character %U", cell, r)
			}
		}
		plain := text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) || r == utf8.RuneError })
		if plain && strings.TrimPrefix(cell, "'") != strings.TrimPrefix(text, "'") {
			t.Errorf("%q became %q", text, cell)
		}
	})
}

func FuzzText(f *testing.F) {
	f.Add("Don à l’Œuvre", 10)
	f.Add("寄付 🎁 👨‍👩‍👧", 9)
	f.Add("\x1b[2J\u202e", 0)
	f.Fuzz(func(t *testing.T, text string, width int) {
		table := reports.Table{Name: "t", Title: text, Notes: []string{text},
			Facts:   []reports.Fact{{Name: "f", Title: text, Value: text}},
			Columns: []reports.Column{{Name: "text", Title: text, Kind: reports.Text}, {Name: "n", Title: "n", Kind: reports.Integer}},
			Rows:    []reports.Row{{Cells: []any{text, int64(1)}}},
		}
		var out bytes.Buffer
		if err := render.Text(&out, table, render.TextOptions{Width: width}); err != nil {
			t.Fatal(err)
		}
		for _, r := range out.String() {
			if r != '\n' && r != '\u200c' && r != '\u200d' && !unicode.IsGraphic(r) && r != utf8.RuneError {
				t.Fatalf("%U reached the terminal from %q", r, text)
			}
		}
	})
}

func TestJSONIsExact(t *testing.T) {
	var out bytes.Buffer
	if err := render.JSON(&out, currencies()); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Rows []struct {
			Currency string
			Amount   struct {
				Amount   string
				Currency ledger.Currency
			}
		}
		Facts, Totals, Notes []any
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Facts == nil || got.Totals == nil || got.Notes == nil {
		t.Error("an empty list is null")
	}
	for i, row := range currencies().Rows {
		want := row.Cells[1].(reports.Cash)
		back, err := ledger.ParseAmount(got.Rows[i].Amount.Amount, got.Rows[i].Amount.Currency)
		if err != nil || back != want.Amount {
			t.Errorf("row %d: %v became %v (%v)", i, want, back, err)
		}
	}
}

func thousandRows() reports.Table {
	table := statement()
	line := table.Rows[0]
	table.Rows = nil
	for i := range 1000 {
		cells := append([]any{}, line.Cells...)
		cells[2] = fmt.Sprintf("Don à l’Œuvre %d", i)
		cells[3] = int64(i)
		table.Rows = append(table.Rows, reports.Row{Cells: cells})
	}
	return table
}

func BenchmarkThousandRows(b *testing.B) {
	table := thousandRows()
	for _, format := range render.Formats() {
		b.Run(format, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := render.Render(io.Discard, format, table); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
