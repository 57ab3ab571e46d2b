package bank

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/shopspring/decimal"
	"golang.org/x/text/encoding/charmap"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

// Bounds of a CFONB file, of which one movement at a time is in memory.
const (
	cfonbWidth    = 120
	maxCfonbLine  = 4 * cfonbWidth // in UTF-8, with blanks behind it
	maxCfonbExtra = 99             // records 05 of one movement: more than there are qualifiers
)

// ReadCFONB reads a file of account statements in the French format CFONB 120
// (relevé de compte, July 2004, with the details of transfers of August 2007), one
// movement at a time: records 01 old balance, 04 movement, 05 its details, 07 new
// balance. Records are lines, or follow each other without line ends; the text is
// ISO 8859-1, of which UTF-8 and ASCII are recognised.
//
// CFONB numbers no statements: the id is made of the date of the old balance. The
// account's IBAN is made of its bank, branch and number. A file that is refused ends
// with a ledger.Error of CodeInvalid whose Field says file, line and record.
func ReadCFONB(r io.Reader, name string) payouts.BankFile {
	return reading(func(emit func(payouts.Part) error) error {
		reader := cfonbReader{in: bufio.NewReaderSize(r, maxCfonbLine), file: name, emit: emit}
		return reader.read()
	})
}

// cfonbReader hands over what one file holds.
type cfonbReader struct {
	in         *bufio.Reader
	file       string
	emit       func(payouts.Part) error
	line       int // of the record at hand, from 1
	blocks     bool
	statements int
}

// cfonbStatement is a statement on its way: from a record 01 to its 07.
type cfonbStatement struct {
	account  string // bank, branch and number
	head     payouts.Head
	opening  []byte // amount of record 01, whose currency a later record may say
	decimals byte   // of record 01
	begun    bool
	total    ledger.Amount
	entries  int
	pending  *cfonbMovement // a record 04 whose 05 may follow
}

func (r *cfonbReader) read() error {
	if err := r.look(); err != nil {
		return err
	}
	var st *cfonbStatement
	for {
		record, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if st, err = r.record(st, record); err != nil {
			return err
		}
	}
	switch {
	case st != nil:
		return r.refuse("", "the file ends before the new balance (record 07); fetch it again")
	case r.statements == 0:
		return r.refuse("", "the file holds no statement; choose the statement that the bank sent")
	}
	return nil
}

// look finds out whether records are lines.
func (r *cfonbReader) look() error {
	start, err := r.in.Peek(cfonbWidth + len("\r\n"))
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s: %w", r.file, err)
	}
	r.blocks = len(start) > cfonbWidth && !strings.ContainsAny(string(start), "\r\n")
	return nil
}

// cfonbRecord is 120 bytes of ISO 8859-1.
type cfonbRecord []byte

// field returns the bytes from one position to another, both from 1 and inclusive
// as the format counts them.
func (c cfonbRecord) field(from, to int) string { return string(c[from-1 : to]) }

// text returns a field as text.
func (c cfonbRecord) text(from, to int) string {
	decoded, err := charmap.ISO8859_1.NewDecoder().Bytes(c[from-1 : to])
	if err != nil { // every byte is a character
		return ""
	}
	plain := strings.Map(func(c rune) rune {
		if unicode.IsControl(c) { // which no database would keep, and nobody can read
			return -1
		}
		return c
	}, string(decoded))
	return strings.TrimSpace(plain)
}

// next returns the next record that is not blank, or io.EOF.
func (r *cfonbReader) next() (cfonbRecord, error) {
	for {
		var text []byte
		var err error
		if r.blocks {
			text = make([]byte, cfonbWidth)
			var n int
			n, err = io.ReadFull(r.in, text)
			text = text[:n]
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = io.EOF
			}
		} else {
			text, err = r.in.ReadSlice('\n')
		}
		r.line++
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, r.refuse("", "the line is longer than the %d characters of a record; choose a CFONB 120 statement", cfonbWidth)
		case err != nil && !errors.Is(err, io.EOF):
			return nil, fmt.Errorf("read %s: %w", r.file, err)
		}
		const endOfFile = "\x1a" // old systems write it
		line := strings.TrimRight(strings.TrimPrefix(string(text), byteOrderMark), " \r\n"+endOfFile)
		if line == "" {
			if errors.Is(err, io.EOF) {
				return nil, io.EOF
			}
			continue
		}
		return r.recordOf(line)
	}
}

// recordOf fills a line up to the width of a record; many programs drop blanks at
// the end of lines.
func (r *cfonbReader) recordOf(line string) (cfonbRecord, error) {
	record := []byte(line)
	if utf8.ValidString(line) {
		encoded, err := charmap.ISO8859_1.NewEncoder().Bytes(record)
		if err != nil {
			return nil, r.refuse("", "the line has characters that ISO 8859-1 does not have; convert the file to ISO 8859-1")
		}
		record = encoded
	}
	if len(record) > cfonbWidth {
		return nil, r.refuse("", "the line has %d characters, and a record has %d; choose a CFONB 120 statement", len(record), cfonbWidth)
	}
	for len(record) < cfonbWidth {
		record = append(record, ' ')
	}
	return record, nil
}

// refuse makes the error for the record at hand; what names a field of it.
func (r *cfonbReader) refuse(what, format string, args ...any) error {
	return ledger.Errorf(ledger.CodeInvalid, format, args...).InField(placeIn(r.file, r.line, what))
}

// record takes a record in and returns the statement that is on its way, or nil.
func (r *cfonbReader) record(st *cfonbStatement, c cfonbRecord) (*cfonbStatement, error) {
	kind := c.field(1, 2)
	if st == nil && (kind == "04" || kind == "05" || kind == "07") {
		return nil, r.refuse("record "+kind, "the record stands before an old balance (record 01); fetch the file again")
	}
	switch kind {
	case "01":
		if st != nil {
			return nil, r.refuse("record 01", "an old balance follows before the new balance (record 07) of the statement before; fetch the file again")
		}
		if r.statements++; r.statements > maxStatements {
			return nil, r.refuse("record 01", "the file holds more than %d statements; ask the bank for smaller files", maxStatements)
		}
		return r.opening(c)
	case "04":
		return st, r.movement(st, c)
	case "05":
		return st, r.extra(st, c)
	case "07":
		return nil, r.closing(st, c)
	}
	return nil, r.refuse("", "%q is not a record of an account statement (01, 04, 05, 07); choose a CFONB 120 statement", brief(c.text(1, 2)))
}

func (r *cfonbReader) opening(c cfonbRecord) (*cfonbStatement, error) {
	st := &cfonbStatement{account: account(c), opening: c[90:104], decimals: c[19]}
	date, err := r.date(c, 35, "record 01, date")
	if err != nil {
		return nil, err
	}
	iban, err := frenchIBAN(c.field(3, 7), c.field(12, 16), c.field(22, 32))
	if err != nil {
		return nil, r.refuse("record 01, account", "%w; ask the bank for a new file", err)
	}
	st.head = payouts.Head{Kind: payouts.KindStatement, IBAN: iban, OpeningDate: date, Place: placeIn(r.file, r.line, "record 01, account")}
	return st, r.currency(st, c, "record 01")
}

// account is what names the account in every record.
func account(c cfonbRecord) string { return c.field(3, 7) + c.field(12, 16) + c.field(22, 32) }

// same makes sure that a record belongs to the statement's account.
func (r *cfonbReader) same(st *cfonbStatement, c cfonbRecord, what string) error {
	if account(c) != st.account {
		return r.refuse(what, "the record is of another account than the old balance; fetch the file again")
	}
	return r.currency(st, c, what)
}

// currency reads a record's currency, which records of a balance may leave out.
func (r *cfonbReader) currency(st *cfonbStatement, c cfonbRecord, what string) error {
	code := strings.TrimSpace(c.field(17, 19))
	currency := ledger.Currency(code)
	switch {
	case code == "":
		return nil
	case !currency.Known():
		return r.refuse(what+", currency", "%q is not an ISO 4217 currency code; ask the bank for a new file", brief(c.text(17, 19)))
	case st.head.Currency == "":
		st.head.Currency = currency
	case st.head.Currency != currency:
		return r.refuse(what+", currency", "the record is in %s, but the account is in %s; ask the bank for a new file", currency, st.head.Currency)
	}
	return nil
}

// begin hands the head over: not before the first record that has a currency, which
// the old balance may lack.
func (r *cfonbReader) begin(st *cfonbStatement) error {
	if st.begun {
		return nil
	}
	if st.head.Currency == "" {
		st.head.Currency = ledger.EUR // a balance without a currency, and no movement: the format is French
	}
	opening, err := r.amount(st.opening, st.decimals, st.head.Currency, "record 01, amount")
	if err != nil {
		return err
	}
	st.head.Opening, st.total, st.begun = opening, opening, true
	st.head.ID = "CFONB " + st.head.OpeningDate.String()
	head := st.head
	return r.emit(payouts.Part{Head: &head})
}

func (r *cfonbReader) movement(st *cfonbStatement, c cfonbRecord) error {
	if err := r.flush(st); err != nil {
		return err
	}
	if err := r.same(st, c, "record 04"); err != nil {
		return err
	}
	if err := r.begin(st); err != nil {
		return err
	}
	amount, err := r.amount(c[90:104], c[19], st.head.Currency, "record 04, amount")
	if err != nil {
		return err
	}
	booked, err := r.date(c, 35, "record 04, date")
	if err != nil {
		return err
	}
	value := booked
	if strings.Trim(c.field(43, 48), " 0") != "" {
		if value, err = r.date(c, 43, "record 04, value date"); err != nil {
			return err
		}
	}
	st.pending = &cfonbMovement{amount: amount, booked: booked, value: value, line: r.line,
		label: c.text(49, 79), number: strings.Trim(c.text(82, 88), "0"), rejected: c.text(41, 42)}
	return nil
}

func (r *cfonbReader) extra(st *cfonbStatement, c cfonbRecord) error {
	if st.pending == nil {
		return r.refuse("record 05", "the record belongs to no movement (record 04); fetch the file again")
	}
	if err := r.same(st, c, "record 05"); err != nil {
		return err
	}
	if st.pending.extras++; st.pending.extras > maxCfonbExtra {
		return r.refuse("record 05", "the movement has more than %d records of details; ask the bank for a new file", maxCfonbExtra)
	}
	st.pending.add(c)
	return nil
}

// flush hands over the movement whose records are complete.
func (r *cfonbReader) flush(st *cfonbStatement) error {
	m := st.pending
	if m == nil {
		return nil
	}
	st.pending = nil
	st.entries++
	var err error
	if st.total, err = st.total.Add(m.amount); err != nil {
		return r.refuse("record 04, amount", "the movements add up to more than fits; ask the bank for a new file")
	}
	entry := m.entry()
	return r.emit(payouts.Part{Entry: &entry})
}

func (r *cfonbReader) closing(st *cfonbStatement, c cfonbRecord) error {
	if err := r.flush(st); err != nil {
		return err
	}
	if err := r.same(st, c, "record 07"); err != nil {
		return err
	}
	if err := r.begin(st); err != nil {
		return err
	}
	date, err := r.date(c, 35, "record 07, date")
	if err != nil {
		return err
	}
	closing, err := r.amount(c[90:104], c[19], st.head.Currency, "record 07, amount")
	if err != nil {
		return err
	}
	if closing != st.total {
		return r.refuse("record 07, amount", "the statement does not add up: opening %s and its %d movements make %s, but the closing balance is %s; ask the bank for a new file",
			st.head.Opening.Format(st.head.Currency), st.entries, st.total.Format(st.head.Currency), closing.Format(st.head.Currency))
	}
	return r.emit(payouts.Part{End: &payouts.End{ClosingDate: date, Closing: closing, Place: placeIn(r.file, r.line, "record 07")}})
}

// date reads six digits, day month year. The format is of 2004: years from 80 are
// of the century before.
func (r *cfonbReader) date(c cfonbRecord, from int, what string) (ledger.Date, error) {
	s := c.field(from, from+5)
	century := "20"
	if s[4] >= '8' {
		century = "19"
	}
	date, err := ledger.ParseDate(century + s[4:6] + "-" + s[2:4] + "-" + s[0:2])
	if err != nil {
		return ledger.Date{}, r.refuse(what, "%q is not a date (day, month, year, two digits each); ask the bank for a new file", brief(c.text(from, from+5)))
	}
	return date, nil
}

// amount reads fourteen digits, of which the last one carries the sign: { and A to I
// are +0 to +9, } and J to R are -0 to -9. French character sets of seven bits have é
// and è in the places of the braces. A record without decimals has those of the currency.
func (r *cfonbReader) amount(field []byte, decimals byte, currency ledger.Currency, what string) (ledger.Amount, error) {
	refuse := func() (ledger.Amount, error) {
		return 0, r.refuse(what, "%q is not an amount of 14 digits whose last one carries the sign; ask the bank for a new file", brief(cfonbRecord(field).text(1, len(field))))
	}
	digits, last := field[:len(field)-1], field[len(field)-1]
	var unit int64
	negative := false
	switch {
	case last == '{' || last == 0xe9:
	case last >= 'A' && last <= 'I':
		unit = int64(last-'A') + 1
	case last == '}' || last == 0xe8:
		negative = true
	case last >= 'J' && last <= 'R':
		unit, negative = int64(last-'J')+1, true
	default:
		return refuse()
	}
	var n int64
	for _, d := range digits {
		if d < '0' || d > '9' {
			return refuse()
		}
		n = n*10 + int64(d-'0')
	}
	n = n*10 + unit
	if negative {
		n = -n
	}
	exponent, _ := currency.Exponent()
	if decimals != ' ' {
		if decimals < '0' || decimals > '9' {
			return 0, r.refuse(what, "the number of decimals is %q, not a digit; ask the bank for a new file", brief(string(rune(decimals))))
		}
		exponent = int32(decimals - '0')
	}
	amount, err := ledger.AmountOf(decimal.New(n, -exponent), currency)
	if err != nil {
		return 0, r.refuse(what, "%w; ask the bank for a new file", err)
	}
	return amount, nil
}

// frenchIBAN makes the IBAN of a French account: bank, branch and number with the
// key of the RIB (letters count as their digits there), and the check digits of ISO 13616.
func frenchIBAN(bank, branch, number string) (string, error) {
	key := 0
	for _, part := range []struct {
		text   string
		weight int
	}{{bank, 89}, {branch, 15}, {number, 3}} {
		rest := 0
		for _, c := range part.text {
			digit := 0
			switch {
			case c >= '0' && c <= '9':
				digit = int(c - '0')
			case c >= 'A' && c <= 'I':
				digit = int(c-'A') + 1
			case c >= 'J' && c <= 'R':
				digit = int(c-'J') + 1
			case c >= 'S' && c <= 'Z':
				digit = int(c-'S') + 2
			default:
				return "", ledger.Errorf(ledger.CodeInvalid, "bank %q, branch %q and number %q are not those of a French account", brief(bank), brief(branch), brief(number))
			}
			rest = (rest*10 + digit) % 97
		}
		key = (key + rest*part.weight) % 97
	}
	account := bank + branch + number + fmt.Sprintf("%02d", 97-key)
	rest := 0
	for _, c := range account + "FR00" {
		if c >= 'A' {
			rest = (rest*100 + int(c-'A') + 10) % 97
		} else {
			rest = (rest*10 + int(c-'0')) % 97
		}
	}
	return payments.ParseIBAN(fmt.Sprintf("FR%02d%s", 98-rest, account))
}
