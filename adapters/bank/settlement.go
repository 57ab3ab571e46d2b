package bank

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

// Bounds of a settlement file, of which one line at a time is in memory.
const (
	maxSettlementColumns = 500 // Stripe's report has a hundred
	maxSkippedLines      = 100
	maxSettlementText    = 120 // of a reference
)

// SettlementLayout says how an acquirer writes its settlement files. The zero value
// of a field is its default.
type SettlementLayout struct {
	Separator string // one character, or "tab"; default ","
	Decimal   string // "." (default) or ","
	Group     string // what separates thousands: one character that is dropped; default none
	Encoding  string // "utf-8" (default), "iso-8859-1" or "windows-1252"
	Date      string // YYYY, MM, DD, YY, hh, mm, ss and what stands between; default "YYYY-MM-DD"
	Skip      int    // lines before the one that names the columns
	Currency  string // of all lines, where no column says it

	Columns SettlementColumns
	// Kinds says which words of the column Kind mean what; "ignore" names those of
	// lines that are passed over. Without it the words are those of payouts.SettlementKinds.
	Kinds map[string][]string

	NegativeFees    bool // the file writes a fee that is kept with a minus sign
	PositiveRefunds bool // the file writes refunds, chargebacks and payouts without one
}

// SettlementColumns names the columns of a file. Gross, and Fee or Net or both, are
// needed; of the others, an empty name is a column that the file does not have.
type SettlementColumns struct {
	Kind, Charge, Reference, Gross, Fee, Net, Currency, SettledOn, Payout string
}

// Check refuses a layout that cannot work; the Field of the error names the setting.
func (l SettlementLayout) Check() error {
	_, err := l.resolve()
	return err
}

// ignoredKind is the word of Kinds for lines that are passed over.
const ignoredKind = "ignore"

// settlementFormat is a layout ready for use.
type settlementFormat struct {
	SettlementLayout
	separator rune
	date      string // Go's layout
	kinds     map[string]payouts.SettlementKind
}

func (l SettlementLayout) resolve() (settlementFormat, error) {
	invalid := func(field, format string, args ...any) (settlementFormat, error) {
		return settlementFormat{}, ledger.Errorf(ledger.CodeInvalid, format, args...).InField(field)
	}
	f := settlementFormat{SettlementLayout: l, separator: ',', kinds: map[string]payouts.SettlementKind{}}
	switch {
	case l.Separator == "tab":
		f.separator = '\t'
	case utf8.RuneCountInString(l.Separator) == 1 && l.Separator != "\"" && l.Separator != "\n" && l.Separator != "\r":
		f.separator, _ = utf8.DecodeRuneInString(l.Separator)
	case l.Separator != "":
		return invalid("separator", "%q does not separate columns; write one character, or tab", brief(l.Separator))
	}
	if f.Decimal == "" {
		f.Decimal = "."
	}
	if f.Decimal != "." && f.Decimal != "," {
		return invalid("decimal", "%q is not a decimal sign; write \".\" or \",\"", brief(f.Decimal))
	}
	if utf8.RuneCountInString(f.Group) > 1 || (f.Group != "" && (f.Group == f.Decimal || strings.Trim(f.Group, "-+0123456789") == "")) {
		return invalid("group", "%q does not separate thousands; write one character other than the decimal sign, or leave it out", brief(f.Group))
	}
	if _, ok := charsetOf(f.Encoding); !ok {
		return invalid("encoding", "%q is not known; write utf-8, iso-8859-1 or windows-1252", brief(f.Encoding))
	}
	if f.Date == "" {
		f.Date = "YYYY-MM-DD"
	}
	f.date = strings.NewReplacer("YYYY", "2006", "YY", "06", "MM", "01", "DD", "02", "hh", "15", "mm", "04", "ss", "05").Replace(f.Date)
	probe := time.Date(2014, time.November, 23, 0, 0, 0, 0, time.UTC)
	if read, err := time.Parse(f.date, probe.Format(f.date)); err != nil || !read.Equal(probe) {
		return invalid("date", "%q is not how a date is written; write it like YYYY-MM-DD or DD/MM/YYYY", brief(f.Date))
	}
	if f.Skip < 0 || f.Skip > maxSkippedLines {
		return invalid("skip", "%d lines cannot be skipped; write 0 to %d", f.Skip, maxSkippedLines)
	}
	if f.Currency != "" && !ledger.Currency(f.Currency).Known() {
		return invalid("currency", "%q is not an ISO 4217 currency code", brief(f.Currency))
	}
	switch {
	case f.Columns.Gross == "":
		return invalid("columns.gross", "name the column of the gross amount")
	case f.Columns.Fee == "" && f.Columns.Net == "":
		return invalid("columns.net", "name the column of the fee, or of the net amount, or both")
	case f.Columns.SettledOn == "":
		return invalid("columns.settled_on", "name the column of the settlement date")
	case f.Columns.Currency == "" && f.Currency == "":
		return invalid("currency", "name the column of the currency (columns.currency), or the currency of all lines")
	}
	return f, f.words()
}

// words turns the kinds of the layout round.
func (f settlementFormat) words() error {
	known := payouts.SettlementKinds()
	if len(f.Kinds) == 0 {
		for _, kind := range known {
			f.kinds[string(kind)] = kind
		}
		return nil
	}
	for name, words := range f.Kinds {
		kind := payouts.SettlementKind(name)
		if name != ignoredKind && !slices.Contains(known, kind) {
			return ledger.Errorf(ledger.CodeInvalid, "%q is not a kind of line; there are charge, refund, chargeback, chargeback_won, fee, payout and ignore", brief(name)).InField("kinds")
		}
		for _, word := range words {
			if before, ok := f.kinds[word]; ok && before != kind {
				return ledger.Errorf(ledger.CodeInvalid, "%q is %s and %s; it can be one of them only", brief(word), before, kind).InField("kinds")
			}
			f.kinds[word] = kind
		}
	}
	return nil
}

// charsetOf returns the decoder of an encoding; nil is UTF-8.
func charsetOf(name string) (*charmap.Charmap, bool) {
	switch strings.ToLower(name) {
	case "", "utf-8":
		return nil, true
	case "iso-8859-1":
		return charmap.ISO8859_1, true
	case "windows-1252":
		return charmap.Windows1252, true
	}
	return nil, false
}

// ReadSettlement reads an acquirer's settlement file, one line at a time: CSV as
// RFC 4180 has it, with a line that names the columns. Amounts are read as decimals,
// never rounded, and net must be gross less fee where the file has all three. A file
// that is refused ends with a ledger.Error of CodeInvalid whose Field says file, line
// and column.
func ReadSettlement(r io.Reader, name string, layout SettlementLayout) payouts.SettlementSource {
	return func(yield func(payouts.SettlementLine, error) bool) {
		reader := settlementReader{file: name}
		err := reader.read(r, layout, func(line payouts.SettlementLine) error {
			if !yield(line, nil) {
				return errStopped
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(payouts.SettlementLine{}, err)
		}
	}
}

type settlementReader struct {
	settlementFormat
	file    string
	source  *meteredReader
	in      *csv.Reader
	columns map[string]int
	line    int
	row     []string
}

func (r *settlementReader) refuse(column, format string, args ...any) error {
	return ledger.Errorf(ledger.CodeInvalid, format, args...).InField(placeIn(r.file, r.line, column))
}

func (r *settlementReader) read(source io.Reader, layout SettlementLayout, emit func(payouts.SettlementLine) error) error {
	var err error
	if r.settlementFormat, err = layout.resolve(); err != nil {
		return err
	}
	if charset, _ := charsetOf(r.Encoding); charset != nil {
		source = charset.NewDecoder().Reader(source)
	}
	r.source = &meteredReader{r: source}
	r.in = csv.NewReader(r.source)
	r.in.Comma, r.in.ReuseRecord, r.in.FieldsPerRecord = r.separator, true, -1
	if err := r.header(); err != nil {
		return err
	}
	for {
		if err := r.next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		line, counts, err := r.settlementLine()
		if err != nil {
			return err
		}
		if !counts {
			continue
		}
		if err := emit(line); err != nil {
			return err
		}
	}
}

// next reads the next row that is not blank, or io.EOF.
func (r *settlementReader) next() error {
	r.source.read = 0
	row, err := r.in.Read()
	if len(row) > 0 {
		r.line, _ = r.in.FieldPos(0)
	}
	broken, malformed := errors.AsType[*csv.ParseError](err)
	switch {
	case errors.Is(err, io.EOF):
		return io.EOF
	case errors.Is(err, errToken):
		if len(row) == 0 {
			r.line++
		}
		return r.refuse("", "a line is longer than %d bytes, which no settlement needs; fetch the file again", maxToken)
	case r.source.failed:
		return fmt.Errorf("read %s: %w", r.file, err)
	case malformed:
		r.line = broken.Line
		return r.refuse(fmt.Sprintf("column %d", broken.Column), "this is not CSV: %v; fetch the file again, or correct the separator of its layout", broken.Err)
	case err != nil:
		return fmt.Errorf("read %s: %w", r.file, err)
	}
	for i, field := range row {
		if !utf8.ValidString(field) {
			return r.refuse(fmt.Sprintf("column %d", i+1), "the text is not UTF-8; name the encoding in the layout, such as iso-8859-1")
		}
	}
	r.row = row
	return nil
}

// header reads the line that names the columns.
func (r *settlementReader) header() error {
	for n := 0; ; n++ {
		if err := r.next(); errors.Is(err, io.EOF) {
			r.line = max(r.line, 1)
			return r.refuse("", "the file ends before the line that names the columns; fetch it again, or correct skip in its layout")
		} else if err != nil {
			return err
		}
		if n == r.Skip {
			break
		}
	}
	if len(r.row) > maxSettlementColumns {
		return r.refuse("", "the file has %d columns, more than %d; ask for a file with fewer", len(r.row), maxSettlementColumns)
	}
	r.in.FieldsPerRecord = len(r.row)
	r.columns = make(map[string]int, len(r.row))
	for i, name := range r.row {
		name = strings.TrimSpace(strings.TrimPrefix(name, byteOrderMark))
		if _, twice := r.columns[name]; twice && slices.Contains(r.wanted(), name) {
			return r.refuse(name, "the file has this column twice; ask for a file that has it once")
		}
		r.columns[name] = i
	}
	for _, name := range r.wanted() {
		if _, ok := r.columns[name]; !ok {
			return r.refuse(name, "the file has no such column; correct the columns or the separator of its layout")
		}
	}
	return nil
}

// wanted are the columns that the layout names.
func (r *settlementReader) wanted() []string {
	c := r.Columns
	return slices.DeleteFunc([]string{c.Kind, c.Charge, c.Reference, c.Gross, c.Fee, c.Net, c.Currency, c.SettledOn, c.Payout},
		func(name string) bool { return name == "" })
}

// field returns the value of a column, or "" where the file does not have it.
func (r *settlementReader) field(column string) string {
	if column == "" {
		return ""
	}
	return strings.TrimSpace(r.row[r.columns[column]])
}

// settlementLine makes a line of the row; counts is false where it is to be passed over.
func (r *settlementReader) settlementLine() (line payouts.SettlementLine, counts bool, err error) {
	line = payouts.SettlementLine{Line: r.line, Kind: payouts.SettledCharge}
	if r.Columns.Kind != "" {
		word := r.field(r.Columns.Kind)
		kind, ok := r.kinds[word]
		if !ok {
			return line, false, r.refuse(r.Columns.Kind, "%q is not a kind of line that the layout knows; add it to kinds (charge, refund, chargeback, chargeback_won, fee, payout or ignore)", brief(word))
		}
		if kind == ignoredKind {
			return line, false, nil
		}
		line.Kind = kind
	}
	line.Currency = ledger.Currency(r.Currency)
	if r.Columns.Currency != "" {
		line.Currency = ledger.Currency(strings.ToUpper(r.field(r.Columns.Currency)))
	}
	if !line.Currency.Known() {
		return line, false, r.refuse(r.Columns.Currency, "%q is not an ISO 4217 currency code; fetch the file again", brief(string(line.Currency)))
	}
	for _, text := range []struct {
		column string
		to     *string
	}{{r.Columns.Charge, &line.ChargeReference}, {r.Columns.Reference, &line.Reference}, {r.Columns.Payout, &line.PayoutReference}} {
		*text.to = r.field(text.column)
		if *text.to != "" && !ledger.Printable(*text.to, maxSettlementText) {
			return line, false, r.refuse(text.column, "the reference is longer than %d bytes, or not printable; fetch the file again", maxSettlementText)
		}
	}
	if line.SettledOn, err = r.day(r.Columns.SettledOn); err != nil {
		return line, false, err
	}
	return line, true, r.amounts(&line)
}

// amounts reads what the columns of a line come to.
func (r *settlementReader) amounts(line *payouts.SettlementLine) error {
	var err error
	if line.Gross, err = r.amount(r.Columns.Gross, line.Currency); err != nil {
		return err
	}
	if r.Columns.Fee != "" {
		if line.Fee, err = r.amount(r.Columns.Fee, line.Currency); err != nil {
			return err
		}
	}
	if r.Columns.Net != "" {
		if line.Net, err = r.amount(r.Columns.Net, line.Currency); err != nil {
			return err
		}
	}
	if r.NegativeFees {
		line.Fee = -line.Fee
	}
	takes := line.Kind == payouts.SettledRefund || line.Kind == payouts.SettledChargeback || line.Kind == payouts.SettledPayout
	if r.PositiveRefunds && takes {
		line.Gross = -line.Gross
		if line.Net > 0 {
			line.Net = -line.Net
		}
	}
	if r.Columns.Fee == "" {
		line.Fee, err = line.Gross.Sub(line.Net)
		return r.overflow(err)
	}
	net, err := line.Gross.Sub(line.Fee)
	if err != nil {
		return r.overflow(err)
	}
	if r.Columns.Net != "" && net != line.Net {
		return r.refuse(r.Columns.Net, "gross %s less fee %s is %s, not %s; correct the signs of the layout, or ask the acquirer",
			line.Gross.Format(line.Currency), line.Fee.Format(line.Currency), net.Format(line.Currency), line.Net.Format(line.Currency))
	}
	line.Net = net
	return nil
}

func (r *settlementReader) overflow(err error) error {
	if err == nil {
		return nil
	}
	return r.refuse(r.Columns.Gross, "the amounts are larger than can be; fetch the file again")
}

// amount reads a decimal; an empty field is zero.
func (r *settlementReader) amount(column string, currency ledger.Currency) (ledger.Amount, error) {
	text := r.field(column)
	if text == "" {
		return 0, nil
	}
	plain := text
	if r.Group != "" {
		plain = strings.ReplaceAll(plain, r.Group, "")
	}
	if r.Decimal == "," {
		if strings.Contains(plain, ".") {
			return 0, r.refuse(column, "%q has a point, but the decimal sign of the layout is a comma; correct decimal, or group", brief(text))
		}
		plain = strings.Replace(plain, ",", ".", 1)
	}
	sign := ""
	if rest, negative := strings.CutPrefix(plain, "-"); negative {
		sign, plain = "-", rest
	}
	amount, err := ledger.ParseAmount(sign+xmlDecimal(plain), currency)
	if err != nil {
		return 0, r.refuse(column, "%w; fetch the file again, or correct decimal and group of its layout", err)
	}
	return amount, nil
}

// day reads a date, behind which a time may stand.
func (r *settlementReader) day(column string) (ledger.Date, error) {
	text := r.field(column)
	prefix := text
	if len(text) > len(r.date) && (text[len(r.date)] == ' ' || text[len(r.date)] == 'T') {
		prefix = text[:len(r.date)]
	}
	t, err := time.Parse(r.date, prefix)
	if err != nil {
		return ledger.Date{}, r.refuse(column, "%q is not a date like %s; correct date in the layout", brief(text), r.Date)
	}
	return ledger.DateIn(t, time.UTC), nil
}
