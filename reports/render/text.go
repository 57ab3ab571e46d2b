package render

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"tweetledger/ledger"
	"tweetledger/reports"
)

// TextOptions fit text to where it is shown. The zero value suits files and
// pipes: nothing is shortened or coloured.
type TextOptions struct {
	// Width is the number of character cells of the terminal; 0 is no limit. Only
	// text cells are ever shortened: an amount, a date or a number that is cut
	// would be another one. A table that still does not fit stays wide.
	Width int
	// Colour marks titles and totals by ANSI escape sequences.
	Colour bool
}

// Text writes t as aligned columns for people. Amounts are grouped by thousands
// with a space and have a decimal point ("1 250.00"); their currency is in the
// column's title where all rows share it, else behind each amount.
func Text(w io.Writer, t reports.Table, opts TextOptions) error {
	if err := t.Check(); err != nil {
		return fmt.Errorf("render text: %w", err)
	}
	out := &textWriter{w: bufio.NewWriter(w), opts: opts}
	out.head(t)
	out.facts(t.Facts)
	clipped := out.table(newLayout(t, opts.Width))
	notes := t.Notes
	if clipped {
		notes = append(notes[:len(notes):len(notes)], "Texts that end in … are shortened to the width of the terminal.")
	}
	out.notes(notes)
	if out.err == nil {
		out.err = out.w.Flush()
	}
	if out.err != nil {
		return fmt.Errorf("render text: %w", out.err)
	}
	return nil
}

// ANSI sequences (ECMA-48 SGR).
const (
	bold  = "\x1b[1m"
	faint = "\x1b[2m"
	plain = "\x1b[0m"
)

// textWriter writes lines; after an error it writes nothing.
type textWriter struct {
	w    *bufio.Writer
	opts TextOptions
	err  error
}

// line writes s, which has passed through visible, without trailing spaces.
func (o *textWriter) line(style, s string) {
	s = strings.TrimRight(s, " ")
	if style != "" && o.opts.Colour && s != "" {
		s = style + s + plain
	}
	if o.err == nil {
		_, o.err = o.w.WriteString(s + "\n")
	}
}

func (o *textWriter) wrapped(style, first, s string) {
	width := 0
	if o.opts.Width > 0 {
		width = max(o.opts.Width-len(first), minTextWidth)
	}
	for _, part := range wrap(visible(s), width) {
		o.line(style, first+part)
		first = strings.Repeat(" ", len(first))
	}
}

func (o *textWriter) head(t reports.Table) {
	o.wrapped(bold, "", t.Title)
	if t.Description != "" {
		o.wrapped("", "", t.Description)
	}
	if !t.GeneratedAt.IsZero() {
		o.line(faint, "Generated "+textInstant(t.GeneratedAt))
	}
	o.line("", "")
}

func (o *textWriter) facts(facts []reports.Fact) {
	titles, values := make([]string, len(facts)), make([]string, len(facts))
	titleWidth, moneyWidth := 0, 0
	for i, f := range facts {
		titles[i], values[i] = visible(f.Title), textCell(f.Value, false)
		titleWidth = max(titleWidth, width(titles[i]))
		if _, ok := f.Value.(reports.Cash); ok {
			moneyWidth = max(moneyWidth, width(values[i]))
		}
	}
	for i, f := range facts {
		value := values[i]
		if _, ok := f.Value.(reports.Cash); ok {
			value = padLeft(value, moneyWidth)
		}
		o.line("", padRight(titles[i], titleWidth)+gutter+value)
	}
	if len(facts) > 0 {
		o.line("", "")
	}
}

// table writes header and rows and reports whether a cell was shortened.
func (o *textWriter) table(l *layout) (clipped bool) {
	if len(l.columns) == 0 {
		return false
	}
	rule := l.rule()
	for _, line := range l.header() {
		o.line(bold, line)
	}
	o.line(faint, rule)
	for i, row := range l.rows {
		if i > 0 && row.total != l.rows[i-1].total {
			o.line(faint, rule)
		}
		style := ""
		if row.total {
			style = bold
		}
		line, cut := l.line(row)
		clipped = clipped || cut
		o.line(style, line)
	}
	if len(l.rows) == 0 {
		o.line("", "Nothing to show.")
	}
	return clipped
}

func (o *textWriter) notes(notes []string) {
	if len(notes) > 0 {
		o.line("", "")
	}
	for _, note := range notes {
		o.wrapped("", "- ", note)
	}
}

// textCell returns a cell as people read it. bare leaves out the currency.
func textCell(cell any, bare bool) string {
	switch v := cell.(type) {
	case string:
		return visible(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case reports.Cash:
		if bare {
			return grouped(v.Amount.Format(v.Currency))
		}
		return grouped(v.Amount.Format(v.Currency)) + " " + string(v.Currency)
	case ledger.Date:
		return isoDate(v)
	case time.Time:
		return textInstant(v)
	case bool:
		if v {
			return "yes"
		}
		return "no"
	}
	return ""
}

func textInstant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// grouped puts a space between the thousands of a plain decimal. It is an
// ordinary space: every terminal, font and editor shows it one cell wide.
func grouped(number string) string {
	digits, rest, hasPoint := strings.Cut(number, ".")
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	var b strings.Builder
	b.WriteString(sign)
	for i := range len(digits) {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(' ')
		}
		b.WriteByte(digits[i])
	}
	if hasPoint {
		b.WriteString("." + rest)
	}
	return b.String()
}
