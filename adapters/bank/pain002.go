package bank

import (
	"encoding/xml"
	"io"
	"strconv"
	"strings"
	"unicode"

	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

// Bounds of a report by its schema.
const (
	maxStatusCode = 4
	maxAddition   = 105 // AddtlInf, which may be repeated
)

// ReadPain002 reads a bank's report on a payment file (pain.002.001.03 or .10), one
// transaction at a time: its group, its payment informations, and their transactions
// with status, reasons and the amount where the bank repeats it. name stands for the file
// in messages.
//
// A file that is refused ends with a ledger.Error of CodeInvalid whose Field says file,
// line and element; other errors come from r.
func ReadPain002(r io.Reader, name string) payouts.StatusReport {
	return reading(func(emit func(payouts.ReportPart) error) error {
		reader := painReader{cursor: newCursor(r, name), emit: emit}
		return reader.document()
	})
}

// painReader hands over what one report holds.
type painReader struct {
	*cursor
	emit         func(payouts.ReportPart) error
	group        payouts.ReportGroup
	begun        bool // the group was handed over
	transactions int
}

func (r *painReader) document() error {
	root, err := r.root()
	if err != nil {
		return err
	}
	if root.Name.Local != "Document" {
		return r.refuse("this is not an ISO 20022 message (its root is <%s>); choose a pain.002 file", brief(root.Name.Local))
	}
	switch message := strings.TrimPrefix(root.Name.Space, namespacePrefix); message {
	case "pain.002.001.03", "pain.002.001.10":
	default:
		return r.refuse("%q is not read here; ask the bank for pain.002.001.03 or .10 (payment status reports)", brief(lastPart(root.Name.Space)))
	}
	r.space = root.Name.Space
	reports := 0
	err = r.children(func(name string, _ []xml.Attr) error {
		if name != "CstmrPmtStsRpt" {
			return r.skip()
		}
		if reports++; reports > 1 {
			return r.refuse("the file holds more than one report; ask the bank for a new file")
		}
		return r.report()
	})
	if err != nil {
		return err
	}
	if reports == 0 {
		return r.refuse("the file holds no report (<CstmrPmtStsRpt>); choose another one")
	}
	return r.end()
}

func (r *painReader) report() error {
	err := r.children(func(name string, _ []xml.Attr) error {
		if r.begun && (name == "GrpHdr" || name == "OrgnlGrpInfAndSts") {
			return r.refuse("this stands twice, or behind payments and belongs before them; ask the bank for a new file")
		}
		switch name {
		case "GrpHdr":
			return r.nested([]string{"MsgId"}, &r.group.MessageID, maxReference)
		case "OrgnlGrpInfAndSts":
			return r.original()
		case "OrgnlPmtInfAndSts":
			return r.payment()
		}
		return r.skip()
	})
	if err == nil && !r.begun {
		err = r.refuse("the report does not say what file it is on (OrgnlGrpInfAndSts); ask the bank for a new one")
	}
	return err
}

// original reads what the report says of the file as a whole.
func (r *painReader) original() error {
	g := &r.group
	g.Place = r.here()
	err := r.children(func(name string, _ []xml.Attr) error {
		switch name {
		case "OrgnlMsgId":
			return r.text(&g.OriginalMessage, maxReference)
		case "OrgnlMsgNmId":
			return r.text(&g.OriginalFormat, maxReference)
		case "OrgnlNbOfTxs":
			return r.count(&g.OriginalCount)
		case "OrgnlCtrlSum":
			return r.sum(&g.OriginalSum, &g.HasSum)
		case "GrpSts":
			return r.status(&g.Status)
		case "StsRsnInf":
			return r.reason(&g.Reasons)
		}
		return r.skip()
	})
	switch {
	case err != nil:
		return err
	case g.MessageID == "":
		return r.refuse("the report has no id (GrpHdr/MsgId); ask the bank for a new one")
	case g.OriginalMessage == "":
		return r.refuse("the report does not say what file it is on (OrgnlMsgId); ask the bank for a new one")
	}
	r.begun = true
	return r.emit(payouts.ReportPart{Group: g})
}

// payment reads what it says of one payment information and its transactions, before
// which the rest stands.
func (r *painReader) payment() error {
	if !r.begun {
		return r.refuse("the payments stand before the file that they are of (OrgnlGrpInfAndSts); ask the bank for a new report")
	}
	p := payouts.ReportPayment{Place: r.here()}
	begun := false
	begin := func() error {
		if begun {
			return nil
		}
		begun = true
		if p.OriginalPayment == "" {
			return r.refuse("the report does not say what payment information it is on (OrgnlPmtInfId); ask the bank for a new one")
		}
		return r.emit(payouts.ReportPart{Payment: &p})
	}
	err := r.children(func(name string, _ []xml.Attr) error {
		if name == "TxInfAndSts" {
			if err := begin(); err != nil {
				return err
			}
			return r.transaction()
		}
		if begun {
			return r.refuse("this stands behind the transactions and belongs before them; ask the bank for a new file")
		}
		switch name {
		case "OrgnlPmtInfId":
			return r.text(&p.OriginalPayment, maxReference)
		case "OrgnlNbOfTxs":
			return r.count(&p.OriginalCount)
		case "OrgnlCtrlSum":
			return r.sum(&p.OriginalSum, &p.HasSum)
		case "PmtInfSts":
			return r.status(&p.Status)
		case "StsRsnInf":
			return r.reason(&p.Reasons)
		}
		return r.skip()
	})
	if err != nil {
		return err
	}
	return begin()
}

func (r *painReader) transaction() error {
	if r.transactions++; r.transactions > payouts.MaxReported {
		return r.refuse("the report has more than %d transactions, which no file of ours has; choose the report on our file", payouts.MaxReported)
	}
	t := payouts.ReportTransaction{Place: r.here()}
	err := r.children(func(name string, _ []xml.Attr) error {
		switch name {
		case "OrgnlEndToEndId":
			return r.text(&t.EndToEndID, maxReference)
		case "TxSts":
			return r.status(&t.Status)
		case "StsRsnInf":
			return r.reason(&t.Reasons)
		case "OrgnlTxRef":
			return r.originalTransaction(&t)
		}
		return r.skip()
	})
	if err != nil {
		return err
	}
	return r.emit(payouts.ReportPart{Transaction: &t})
}

// originalTransaction reads the amount that the bank was told to pay.
func (r *painReader) originalTransaction(t *payouts.ReportTransaction) error {
	return r.children(func(name string, _ []xml.Attr) error {
		if name != "Amt" {
			return r.skip()
		}
		return r.children(func(name string, attrs []xml.Attr) error {
			if name != "InstdAmt" {
				return r.skip()
			}
			var text string
			currency := ledger.Currency(attribute(attrs, "Ccy"))
			if err := r.text(&text, maxAmount); err != nil {
				return err
			}
			if !currency.Known() {
				return r.refuse("%q is not an ISO 4217 currency code; ask the bank for a new file", brief(string(currency)))
			}
			amount, err := ledger.ParseAmount(xmlDecimal(text), currency)
			if err != nil {
				return r.refuse("%w; ask the bank for a new file", err)
			}
			t.Amount, t.Currency = amount, currency
			return nil
		})
	})
}

func (r *painReader) status(into *payouts.Status) error {
	var text string
	err := r.text(&text, maxStatusCode)
	*into = payouts.Status(text)
	return err
}

func (r *painReader) count(into *int) error {
	var text string
	if err := r.text(&text, maxCount); err != nil {
		return err
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || n == 0 {
		return r.refuse("%q is not a number of transactions; ask the bank for a new file", brief(text))
	}
	*into = int(n)
	return nil
}

// sum reads a control sum, which bears no currency: ours are in EUR.
func (r *painReader) sum(into *ledger.Amount, given *bool) error {
	var text string
	if err := r.text(&text, maxAmount); err != nil {
		return err
	}
	amount, err := ledger.ParseAmount(xmlDecimal(text), ledger.EUR)
	if err != nil {
		return r.refuse("%w; ask the bank for a new file", err)
	}
	*into, *given = amount, true
	return nil
}

// reason reads a StsRsnInf: a code, and the bank's words.
func (r *painReader) reason(into *[]payouts.StatusReason) error {
	if len(*into) == payouts.MaxReasons {
		return r.refuse("there are more than %d reasons of one status; ask the bank for a new file", payouts.MaxReasons)
	}
	var reason payouts.StatusReason
	var words []string
	err := r.children(func(name string, _ []xml.Attr) error {
		switch name {
		case "Rsn":
			return r.code(&reason.Code)
		case "AddtlInf":
			var text string
			err := r.text(&text, maxAddition)
			if len(words) <= payouts.MaxInfo/2 { // each has a letter and a blank at least: what is beyond is cut anyway
				words = append(words, plainWords(text)...)
			}
			return err
		}
		return r.skip()
	})
	reason.Code = strings.Join(plainWords(reason.Code), " ")
	text := []rune(strings.Join(words, " "))
	reason.Info = string(text[:min(len(text), payouts.MaxInfo)])
	if err == nil && reason != (payouts.StatusReason{}) {
		*into = append(*into, reason)
	}
	return err
}

// plainWords returns the words of a text from outside, without characters that do
// something to the line that they are shown in.
func plainWords(s string) []string {
	return strings.Fields(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsGraphic(r):
			return -1
		}
		return r
	}, s))
}
