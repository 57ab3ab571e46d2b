package bank

import (
	"encoding/xml"
	"io"
	"strconv"
	"strings"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

// Bounds of a statement file; all of it is in memory when it has been read. A
// busy account has a few thousand movements a day, so these are years.
const (
	maxStatements  = 1_000
	maxFileDetails = 200_000
	maxStatementID = 35
	maxText        = 500 // names and unstructured remittances together
)

// The name spaces of the two versions that banks send today. Version 2 spells
// the state of an entry, parties and amounts of details otherwise than 8.
const (
	camt053v2 = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.02"
	camt053v8 = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"
)

// ReadCamt053 reads a file of account statements, camt.053.001.02 or .08, and
// checks that each adds up: opening balance + booked entries = closing balance,
// details = entry. Entries that are not booked (pending, for information) are
// left out. name stands for the file in messages.
//
// A file that is refused is refused whole, with a ledger.Error of CodeInvalid
// whose Field says file, line and element; other errors come from r.
func ReadCamt053(r io.Reader, name string) ([]payouts.Statement, error) {
	c := newCursor(r, name)
	root, err := c.root()
	if err != nil {
		return nil, err
	}
	switch {
	case root.Name.Local != "Document":
		return nil, c.refuse("this is not an ISO 20022 message (its root is <%s>); choose a camt.053 file", brief(root.Name.Local))
	case root.Name.Space != camt053v2 && root.Name.Space != camt053v8:
		return nil, c.refuse("%q is not read here; ask the bank for camt.053.001.02 or camt.053.001.08", brief(lastPart(root.Name.Space)))
	}
	c.space = root.Name.Space
	reader := camtReader{cursor: c}
	err = c.children(func(name string, _ []xml.Attr) error {
		if name == "BkToCstmrStmt" {
			return reader.message()
		}
		return c.skip()
	})
	if err != nil {
		return nil, err
	}
	if len(reader.statements) == 0 {
		return nil, c.refuse("the file holds no statement (<Stmt>); ask the bank for one with the day's statement")
	}
	if err := c.end(); err != nil {
		return nil, err
	}
	return reader.statements, nil
}

// lastPart is the part of a URN that names the message: camt.053.001.04.
func lastPart(space string) string {
	return space[strings.LastIndexByte(space, ':')+1:]
}

// camtReader collects the statements of one file.
type camtReader struct {
	*cursor
	statements []payouts.Statement
	details    int // of all statements
}

func (r *camtReader) message() error {
	return r.children(func(name string, _ []xml.Attr) error {
		if name != "Stmt" {
			return r.skip()
		}
		if len(r.statements) == maxStatements {
			return r.refuse("the file holds more than %d statements; ask the bank for smaller files", maxStatements)
		}
		s, err := r.statement()
		if err != nil {
			return err
		}
		r.statements = append(r.statements, s)
		return nil
	})
}

// statement reads a Stmt. Its elements stand in the order of the schema: the
// account, the balances, the entries.
func (r *camtReader) statement() (payouts.Statement, error) {
	var s camtStatement
	err := r.children(func(name string, _ []xml.Attr) error {
		switch name {
		case "Id":
			return r.text(&s.ID, maxStatementID)
		case "ElctrncSeqNb":
			return r.sequence(&s.Sequence)
		case "Acct":
			return r.account(&s)
		case "Bal":
			return r.balance(&s)
		case "Ntry":
			return r.entry(&s)
		}
		return r.skip()
	})
	if err != nil {
		return payouts.Statement{}, err
	}
	switch {
	case s.ID == "":
		return payouts.Statement{}, r.refuse("the statement has no <Id>; ask the bank for a new file")
	case s.IBAN == "":
		return payouts.Statement{}, r.refuse("the statement names no account (<Acct>); ask the bank for a new file")
	case !s.hasOpening:
		return payouts.Statement{}, r.refuse("statement %s has no opening balance (OPBD or PRCD); if it is one page of several, ask the bank for the whole", s.ID)
	case !s.hasClosing:
		return payouts.Statement{}, r.refuse("statement %s has no closing balance (CLBD); if it is one page of several, ask the bank for the whole", s.ID)
	}
	total := s.Opening
	for _, e := range s.Entries {
		if total, err = total.Add(e.Amount); err != nil {
			return payouts.Statement{}, r.refuse("the entries of statement %s add up to more than fits; ask the bank for a new file", s.ID)
		}
	}
	if total != s.Closing {
		return payouts.Statement{}, r.refuse("statement %s does not add up: opening %s and its %d booked entries make %s, but the closing balance is %s; ask the bank for a new file",
			s.ID, s.Opening.Format(s.Currency), len(s.Entries), total.Format(s.Currency), s.Closing.Format(s.Currency))
	}
	s.Hash = s.ContentHash()
	return s.Statement, nil
}

// camtStatement is a statement on its way.
type camtStatement struct {
	payouts.Statement
	openingCode            string // OPBD wins over PRCD
	hasOpening, hasClosing bool
}

// maxSequence bounds ElctrncSeqNb: the schema allows 18 digits.
const maxSequence = 18

func (r *camtReader) sequence(into *int64) error {
	var text string
	if err := r.text(&text, maxSequence); err != nil {
		return err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return r.refuse("%q is not a sequence number; ask the bank for a new file", brief(text))
	}
	*into = n
	return nil
}

func (r *camtReader) account(s *camtStatement) error {
	line := r.line()
	var currency string
	err := r.children(func(name string, _ []xml.Attr) error {
		switch name {
		case "Id":
			return r.accountIBAN(&s.IBAN)
		case "Ccy":
			return r.text(&currency, 3)
		}
		return r.skip()
	})
	if err != nil {
		return err
	}
	if s.IBAN == "" {
		return r.refuseAt(line, strings.Join(r.path, "/"), "the account has no IBAN; ask the bank for statements that name the account by its IBAN")
	}
	iban, err := payments.ParseIBAN(s.IBAN)
	if err != nil {
		return r.refuseAt(line, strings.Join(r.path, "/"), "the account's IBAN is wrong: %w", err)
	}
	s.IBAN = iban
	if currency != "" {
		return r.inCurrency(s, currency)
	}
	return nil
}

// accountIBAN reads the Id of an account, which may carry another number than
// an IBAN; then into stays empty.
func (r *camtReader) accountIBAN(into *string) error {
	return r.children(func(name string, _ []xml.Attr) error {
		if name == "IBAN" {
			return r.text(into, 34)
		}
		return r.skip()
	})
}

// inCurrency makes sure that all booked amounts of a statement are in one known
// currency: the account's, or else that of the first balance.
func (r *camtReader) inCurrency(s *camtStatement, currency string) error {
	c := ledger.Currency(currency)
	switch {
	case !c.Known():
		return r.refuse("%q is not an ISO 4217 currency code; ask the bank for a new file", brief(currency))
	case s.Currency == "":
		s.Currency = c
	case s.Currency != c:
		return r.refuse("the amount is in %s, but the account is in %s; ask the bank for a new file", c, s.Currency)
	}
	return nil
}

// camtBalance is a Bal, whose amount is in a currency that only matters where
// the balance is a booked one.
type camtBalance struct {
	code     string
	amount   camtAmount
	negative bool
	signed   bool
	date     ledger.Date
}

func (r *camtReader) balance(s *camtStatement) error {
	var b camtBalance
	line := r.line()
	err := r.children(func(name string, attrs []xml.Attr) error {
		switch name {
		case "Tp":
			return r.nested([]string{"CdOrPrtry", "Cd"}, &b.code, 4)
		case "Amt":
			return r.amount(&b.amount, attrs)
		case "CdtDbtInd":
			b.signed = true
			return r.debit(&b.negative)
		case "Dt":
			return r.date(&b.date)
		}
		return r.skip()
	})
	if err != nil {
		return err
	}
	opening := b.code == "OPBD" || b.code == "PRCD"
	if !opening && b.code != "CLBD" {
		return nil // available, forward and interim balances say nothing of what is booked
	}
	place := strings.Join(r.path, "/") + "[" + b.code + "]"
	if !b.amount.given || !b.signed || b.date.IsZero() {
		return r.refuseAt(line, place, "the balance lacks its amount, its sign (CdtDbtInd) or its date; ask the bank for a new file")
	}
	amount, err := r.signedAmount(s, b.amount, b.negative, place)
	if err != nil {
		return err
	}
	switch {
	case opening && s.openingCode == b.code, b.code == "CLBD" && s.hasClosing:
		return r.refuseAt(line, place, "the statement has this balance twice; if it is pages put together, ask the bank for a whole one")
	case opening && s.openingCode == "OPBD":
		return nil
	case opening:
		s.Opening, s.OpeningDate, s.openingCode, s.hasOpening = amount, b.date, b.code, true
	default:
		s.Closing, s.ClosingDate, s.hasClosing = amount, b.date, true
	}
	return nil
}

// camtAmount is an amount as the file says it.
type camtAmount struct {
	text     string
	currency string
	line     int
	given    bool
}

func (r *camtReader) amount(into *camtAmount, attrs []xml.Attr) error {
	*into = camtAmount{currency: attribute(attrs, "Ccy"), line: r.line(), given: true}
	return r.text(&into.text, 24) // 18 digits, a sign, a point, and leading zeros
}

// signedAmount returns an amount in the statement's currency in minor units,
// negative where it is a debit.
func (r *camtReader) signedAmount(s *camtStatement, a camtAmount, negative bool, place string) (ledger.Amount, error) {
	c := ledger.Currency(a.currency)
	switch {
	case !c.Known():
		return 0, r.refuseAt(a.line, place, "%q is not an ISO 4217 currency code; ask the bank for a new file", brief(a.currency))
	case s.Currency == "":
		s.Currency = c
	case s.Currency != c:
		return 0, r.refuseAt(a.line, place, "the amount is in %s, but the account is in %s; ask the bank for a new file", c, s.Currency)
	}
	amount, err := ledger.ParseAmount(xmlDecimal(a.text), c)
	if err != nil {
		return 0, r.refuseAt(a.line, place, "%w; ask the bank for a new file", err)
	}
	if amount < 0 {
		return 0, r.refuseAt(a.line, place, "the amount %s has a sign, which belongs into CdtDbtInd; ask the bank for a new file", a.text)
	}
	if negative {
		amount = -amount
	}
	return amount, nil
}

// xmlDecimal writes an xs:decimal the plain way: XML Schema also allows "+1",
// ".5" and "5.", and the amounts of ISO 20022 have up to five decimals, of which
// some banks fill the last with zeros ("12.50000").
func xmlDecimal(s string) string {
	s = strings.TrimPrefix(s, "+")
	if strings.HasPrefix(s, ".") {
		s = "0" + s
	}
	if strings.Contains(s, ".") {
		s = strings.TrimRight(s, "0")
	}
	return strings.TrimSuffix(s, ".")
}

// debit reads a CdtDbtInd.
func (r *camtReader) debit(into *bool) error {
	var text string
	if err := r.text(&text, 4); err != nil {
		return err
	}
	if text != "CRDT" && text != "DBIT" {
		return r.refuse("%q is neither CRDT nor DBIT; ask the bank for a new file", text)
	}
	*into = text == "DBIT"
	return nil
}

// date reads a choice of Dt and DtTm. The day is taken as the bank wrote it,
// whatever the time zone: it is the bank's business date.
func (r *camtReader) date(into *ledger.Date) error {
	return r.children(func(name string, _ []xml.Attr) error {
		if name != "Dt" && name != "DtTm" {
			return r.skip()
		}
		var text string
		if err := r.text(&text, 40); err != nil {
			return err
		}
		day := text
		if len(day) > len("2006-01-02") {
			day = day[:len("2006-01-02")]
		}
		date, err := ledger.ParseDate(day)
		if err != nil || !strings.ContainsAny(text[len(day):]+"T", "TZ+-") {
			return r.refuse("%q is not a date; ask the bank for a new file", brief(text))
		}
		*into = date
		return nil
	})
}

// nested reads the text at a path of elements below the one that the cursor
// stands in.
func (r *camtReader) nested(path []string, into *string, most int) error {
	return r.children(func(name string, _ []xml.Attr) error {
		switch {
		case name != path[0]:
			return r.skip()
		case len(path) == 1:
			return r.text(into, most)
		}
		return r.nested(path[1:], into, most)
	})
}
