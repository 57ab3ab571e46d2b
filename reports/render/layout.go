package render

import (
	"slices"
	"strings"

	"github.com/rivo/uniseg"

	"tweetledger/ledger"
	"tweetledger/reports"
)

const (
	gutter   = "  "
	ellipsis = "…"
	// minTextWidth is how far a text column is shortened at most: a word still
	// shows what it was.
	minTextWidth = 8
)

// layout is a table as strings, with the width of each column in character cells.
type layout struct {
	columns []layoutColumn
	rows    []layoutRow
}

type layoutColumn struct {
	title string
	width int
	right bool // aligned right
	text  bool // may be shortened
}

type layoutRow struct {
	cells []string
	total bool
}

// newLayout fits t into limit character cells (0: no limit): first titles are
// wrapped, then the widest text columns are shortened.
func newLayout(t reports.Table, limit int) *layout {
	l := &layout{columns: make([]layoutColumn, len(t.Columns)), rows: make([]layoutRow, len(t.Rows))}
	for i, row := range t.Rows {
		l.rows[i] = layoutRow{cells: make([]string, len(t.Columns)), total: row.Total}
	}
	content := make([]int, len(t.Columns))
	for j, c := range t.Columns {
		title := visible(c.Title)
		currency, shared := columnCurrency(t.Rows, j)
		if shared {
			title += " (" + string(currency) + ")"
		}
		for i, row := range t.Rows {
			l.rows[i].cells[j] = textCell(row.Cells[j], shared)
			content[j] = max(content[j], width(l.rows[i].cells[j]))
		}
		l.columns[j] = layoutColumn{
			title: title,
			width: max(content[j], width(title)),
			right: c.Kind == reports.Money || c.Kind == reports.Integer,
			text:  c.Kind == reports.Text,
		}
	}
	if limit > 0 && l.width() > limit {
		for j := range l.columns {
			l.columns[j].width = max(content[j], longestWord(l.columns[j].title))
		}
		l.shorten(l.width() - limit)
	}
	return l
}

// columnCurrency returns the currency of all amounts in column j, if they share one.
func columnCurrency(rows []reports.Row, j int) (ledger.Currency, bool) {
	var currency ledger.Currency
	for _, row := range rows {
		cash, ok := row.Cells[j].(reports.Cash)
		if !ok {
			continue
		}
		if currency != "" && cash.Currency != currency {
			return "", false
		}
		currency = cash.Currency
	}
	return currency, currency != ""
}

func (l *layout) width() int {
	sum := 0
	for _, c := range l.columns {
		sum += c.width
	}
	return sum + len(gutter)*max(len(l.columns)-1, 0)
}

// shorten takes excess cells from the text columns, from the widest first, until
// none is wider than minTextWidth.
func (l *layout) shorten(excess int) {
	for ; excess > 0; excess-- {
		widest := -1
		for j, c := range l.columns {
			if c.text && c.width > minTextWidth && (widest < 0 || c.width > l.columns[widest].width) {
				widest = j
			}
		}
		if widest < 0 {
			return
		}
		l.columns[widest].width--
	}
}

func (l *layout) rule() string {
	parts := make([]string, len(l.columns))
	for j, c := range l.columns {
		parts[j] = strings.Repeat("─", c.width)
	}
	return strings.Join(parts, gutter)
}

// header returns the titles, the last line of each at the bottom.
func (l *layout) header() []string {
	wrapped := make([][]string, len(l.columns))
	height := 1
	for j, c := range l.columns {
		wrapped[j] = wrap(c.title, c.width)
		height = max(height, len(wrapped[j]))
	}
	lines := make([]string, height)
	for i := range lines {
		row := layoutRow{cells: make([]string, len(l.columns))}
		for j, title := range wrapped {
			if k := i - (height - len(title)); k >= 0 {
				row.cells[j] = title[k]
			}
		}
		lines[i], _ = l.line(row)
	}
	return lines
}

// line returns a row as text and whether a cell of it was shortened.
func (l *layout) line(row layoutRow) (line string, clipped bool) {
	cells := make([]string, len(l.columns))
	for j, c := range l.columns {
		cell := row.cells[j]
		if c.text && width(cell) > c.width {
			cell, clipped = clip(cell, c.width), true
		}
		if c.right {
			cells[j] = padLeft(cell, c.width)
		} else {
			cells[j] = padRight(cell, c.width)
		}
	}
	return strings.Join(cells, gutter), clipped
}

// width returns how many character cells s takes: letters with accents one, CJK
// and emoji two (Unicode UAX 11 and 29).
func width(s string) int {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return uniseg.StringWidth(s)
		}
	}
	return len(s)
}

func padLeft(s string, n int) string  { return strings.Repeat(" ", max(n-width(s), 0)) + s }
func padRight(s string, n int) string { return s + strings.Repeat(" ", max(n-width(s), 0)) }

// clip shortens s to n cells, the last of them an ellipsis, between characters as
// people see them.
func clip(s string, n int) string {
	var b strings.Builder
	used, state := width(ellipsis), -1
	for s != "" {
		var cluster string
		var w int
		cluster, s, w, state = uniseg.FirstGraphemeClusterInString(s, state)
		if used += w; used > n {
			break
		}
		b.WriteString(cluster)
	}
	return strings.TrimRight(b.String(), " ") + ellipsis
}

// wrap breaks s between words into lines of n cells (0: no limit). A longer word
// stays whole. There is always one line.
func wrap(s string, n int) []string {
	if n <= 0 || width(s) <= n {
		return []string{s}
	}
	lines := []string{}
	line := ""
	for _, word := range strings.Fields(s) {
		switch {
		case line == "":
			line = word
		case width(line)+1+width(word) <= n:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}

func longestWord(s string) int {
	return slices.Max(append([]int{0}, wordWidths(s)...))
}

func wordWidths(s string) []int {
	var widths []int
	for _, word := range strings.Fields(s) {
		widths = append(widths, width(word))
	}
	return widths
}
