package bank

import (
	"encoding/xml"
	"errors"
	"io"
	"iter"
	"strconv"
	"strings"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

// Bounds of a file of account messages, of which one entry at a time is in memory.
const (
	maxStatements  = 1_000   // a file has one an account and day
	maxDetails     = 100_000 // of one entry: ten of our largest payment files booked at once
	maxStatementID = 35
	maxText        = 500 // names and unstructured remittances together
)

// camtFormat is what differs between the messages that are read. Version 2 spells
// the state of an entry, parties and amounts of details otherwise than 8.
type camtFormat struct {
	kind      payouts.MessageKind
	container string // the element that holds the messages
	message   string // the element of one message
	version   int
}

// camtFormats are the messages that banks send today, by name space.
func camtFormats(space string) (camtFormat, bool) {
	statement := camtFormat{kind: payouts.KindStatement, container: "BkToCstmrStmt", message: "Stmt"}
	notification := camtFormat{kind: payouts.KindNotification, container: "BkToCstmrDbtCdtNtfctn", message: "Ntfctn"}
	f := statement
	switch strings.TrimPrefix(space, "urn:iso:std:iso:20022:tech:xsd:") {
	case "camt.053.001.02":
		f.version = 2
	case "camt.053.001.08":
		f.version = 8
	case "camt.054.001.02":
		f = notification
		f.version = 2
	case "camt.054.001.08":
		f = notification
		f.version = 8
	}
	return f, f.version != 0
}

// ReadCamt reads a file of account statements (camt.053.001.02 or .08) or of debit
// and credit notifications (camt.054.001.02 or .08), one entry at a time, and checks
// that each message adds up: opening balance + booked entries = closing balance,
// details = entry, batches and the message = their summaries. Entries that are not
// booked (pending, for information) are counted and left out. name stands for the
// file in messages.
//
// A file that is refused ends with a ledger.Error of CodeInvalid whose Field says
// file, line and element; other errors come from r.
func ReadCamt(r io.Reader, name string) payouts.BankFile {
	return reading(func(emit func(payouts.Part) error) error {
		reader := camtReader{cursor: newCursor(r, name), emit: emit}
		return reader.document()
	})
}

// errStopped ends a reader whose caller wants no more.
var errStopped = errors.New("the caller wants no more")

// reading makes a sequence of a function that hands parts over and stops at the first error.
func reading[P any](read func(emit func(P) error) error) iter.Seq2[P, error] {
	return func(yield func(P, error) bool) {
		err := read(func(part P) error {
			if !yield(part, nil) {
				return errStopped
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			var none P
			yield(none, err)
		}
	}
}

// camtReader hands over what one file holds.
type camtReader struct {
	*cursor
	camtFormat
	emit     func(payouts.Part) error
	messages int
}

func (r *camtReader) document() error {
	root, err := r.root()
	if err != nil {
		return err
	}
	if root.Name.Local != "Document" {
		return r.refuse("this is not an ISO 20022 message (its root is <%s>); choose a camt.053 or camt.054 file", brief(root.Name.Local))
	}
	known := false
	if r.camtFormat, known = camtFormats(root.Name.Space); !known {
		return r.refuse("%q is not read here; ask the bank for camt.053.001.02 or .08 (statements), or camt.054.001.02 or .08 (notifications)",
			brief(lastPart(root.Name.Space)))
	}
	r.space = root.Name.Space
	err = r.children(func(name string, _ []xml.Attr) error {
		if name == r.container {
			return r.all()
		}
		return r.skip()
	})
	if err != nil {
		return err
	}
	if r.messages == 0 {
		return r.refuse("the file holds no %s (<%s>); ask the bank for one with the day's movements", r.kind, r.message)
	}
	return r.end()
}

// lastPart is the part of a URN that names the message: camt.053.001.04.
func lastPart(space string) string {
	return space[strings.LastIndexByte(space, ':')+1:]
}

// all reads the messages of a file.
func (r *camtReader) all() error {
	return r.children(func(name string, _ []xml.Attr) error {
		if name != r.message {
			return r.skip()
		}
		if r.messages++; r.messages > maxStatements {
			return r.refuse("the file holds more than %d %ss; ask the bank for smaller files", maxStatements, r.kind)
		}
		return r.one()
	})
}

// camtMessage is a statement or notification on its way. Its elements stand in the
// order of the schema: the account, the balances, the summary, the entries.
type camtMessage struct {
	payouts.Head
	closing                payouts.End
	openingCode            string // OPBD wins over PRCD
	hasOpening, hasClosing bool
	begun                  bool // the head was handed over
	total                  ledger.Amount
	summary                camtSummary
	booked, listed         camtTally // booked entries; all entries
}

// one reads a Stmt or Ntfctn.
func (r *camtReader) one() error {
	m := camtMessage{Head: payouts.Head{Kind: r.kind, Place: r.here()}}
	err := r.children(func(name string, _ []xml.Attr) error {
		if m.begun && (name == "Id" || name == "Acct" || name == "Bal" || name == "TxsSummry") {
			return r.refuse("this stands behind the entries and belongs before them; ask the bank for a new file")
		}
		switch name {
		case "Id":
			return r.text(&m.ID, maxStatementID)
		case "ElctrncSeqNb":
			return r.sequence(&m.Sequence)
		case "Acct":
			return r.account(&m)
		case "Bal":
			return r.balance(&m)
		case "TxsSummry":
			return r.summary(&m.summary)
		case "Ntry":
			return r.entry(&m)
		}
		return r.skip()
	})
	if err != nil {
		return err
	}
	if err := r.begin(&m); err != nil {
		return err
	}
	if r.kind == payouts.KindStatement && m.total != m.closing.Closing {
		return r.refuse("statement %s does not add up: opening %s and its %d booked entries make %s, but the closing balance is %s; ask the bank for a new file",
			m.ID, m.Opening.Format(m.Currency), m.booked.count(), m.total.Format(m.Currency), m.closing.Closing.Format(m.Currency))
	}
	if err := r.checkSummary(&m); err != nil {
		return err
	}
	m.closing.Place = r.here()
	return r.emit(payouts.Part{End: &m.closing})
}

// begin hands the head over, before the first booked entry or at the end.
func (r *camtReader) begin(m *camtMessage) error {
	if m.begun {
		return nil
	}
	switch {
	case m.ID == "":
		return r.refuse("the %s has no <Id>; ask the bank for a new file", r.kind)
	case m.IBAN == "":
		return r.refuse("the %s names no account (<Acct>); ask the bank for a new file", r.kind)
	case r.kind == payouts.KindStatement && !m.hasOpening:
		return r.refuse("statement %s has no opening balance (OPBD or PRCD); if it is one page of several, ask the bank for the whole", m.ID)
	case r.kind == payouts.KindStatement && !m.hasClosing:
		return r.refuse("statement %s has no closing balance (CLBD); if it is one page of several, ask the bank for the whole", m.ID)
	}
	m.begun, m.total = true, m.Opening
	head := m.Head
	return r.emit(payouts.Part{Head: &head})
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

func (r *camtReader) account(m *camtMessage) error {
	line := r.line()
	var currency string
	err := r.children(func(name string, _ []xml.Attr) error {
		switch name {
		case "Id":
			return r.accountIBAN(&m.IBAN)
		case "Ccy":
			return r.text(&currency, 3)
		}
		return r.skip()
	})
	if err != nil {
		return err
	}
	if m.IBAN == "" {
		return r.refuseAt(line, strings.Join(r.path, "/"), "the account has no IBAN; ask the bank for statements that name the account by its IBAN")
	}
	iban, err := payments.ParseIBAN(m.IBAN)
	if err != nil {
		return r.refuseAt(line, strings.Join(r.path, "/"), "the account's IBAN is wrong: %w", err)
	}
	m.IBAN = iban
	if currency != "" {
		return r.inCurrency(m, currency)
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
func (r *camtReader) inCurrency(m *camtMessage, currency string) error {
	c := ledger.Currency(currency)
	switch {
	case !c.Known():
		return r.refuse("%q is not an ISO 4217 currency code; ask the bank for a new file", brief(currency))
	case m.Currency == "":
		m.Currency = c
	case m.Currency != c:
		return r.refuse("the amount is in %s, but the account is in %s; ask the bank for a new file", c, m.Currency)
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

func (r *camtReader) balance(m *camtMessage) error {
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
	amount, err := r.signedAmount(m, b.amount, b.negative, place)
	if err != nil {
		return err
	}
	switch {
	case opening && m.openingCode == b.code, b.code == "CLBD" && m.hasClosing:
		return r.refuseAt(line, place, "the statement has this balance twice; if it is pages put together, ask the bank for a whole one")
	case opening && m.openingCode == "OPBD":
		return nil
	case opening:
		m.Opening, m.OpeningDate, m.openingCode, m.hasOpening = amount, b.date, b.code, true
	default:
		m.closing.Closing, m.closing.ClosingDate, m.hasClosing = amount, b.date, true
	}
	return nil
}

// maxAmount is the length of an amount: 18 digits, a sign, a point, and leading zeros.
const maxAmount = 24

// camtAmount is an amount as the file says it.
type camtAmount struct {
	text     string
	currency string
	line     int
	given    bool
}

func (r *camtReader) amount(into *camtAmount, attrs []xml.Attr) error {
	*into = camtAmount{currency: attribute(attrs, "Ccy"), line: r.line(), given: true}
	return r.text(&into.text, maxAmount)
}

// signedAmount returns an amount in the statement's currency in minor units,
// negative where it is a debit.
func (r *camtReader) signedAmount(m *camtMessage, a camtAmount, negative bool, place string) (ledger.Amount, error) {
	c := ledger.Currency(a.currency)
	switch {
	case !c.Known():
		return 0, r.refuseAt(a.line, place, "%q is not an ISO 4217 currency code; ask the bank for a new file", brief(a.currency))
	case m.Currency == "":
		m.Currency = c
	case m.Currency != c:
		return 0, r.refuseAt(a.line, place, "the amount is in %s, but the account is in %s; ask the bank for a new file", c, m.Currency)
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
