package banksim

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"time"

	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

// ReportOptions says what a report says of a payment file.
type ReportOptions struct {
	ID        string // of the report, 35 characters at most
	CreatedAt time.Time
	// Status of the file as a whole; empty: what the transfers come to.
	Status payouts.Status
	Reason string // ISO code, where the file is rejected; may be empty
	// Transfers gives what is said of single ones, by end-to-end id. The report names
	// those, and all of them where Status is empty: accepted, unless it is said otherwise.
	Transfers map[string]Verdict
}

// Verdict is what the bank says of one transfer.
type Verdict struct {
	Status payouts.Status
	Reason string // ISO code; may be empty
	Info   string // in its own words, 105 characters at most; may be empty
}

// Report returns the XML of the report (pain.002.001.10) that follows on a payment file.
// The error says what is wrong with the file.
func Report(pain001 io.Reader, o ReportOptions) ([]byte, error) {
	sent, err := readPain001(pain001)
	if err != nil {
		return nil, err
	}
	doc := reportDocument{Namespace: "urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"}
	doc.Header = header{MessageID: o.ID, CreatedAt: o.CreatedAt.UTC().Format("2006-01-02T15:04:05Z")}
	var total ledger.Amount
	accepted, rejected := 0, 0
	for _, t := range sent.Payment.Transfers {
		amount, err := ledger.ParseAmount(t.Amount.Value, ledger.EUR)
		if err == nil {
			total, err = total.Add(amount)
		}
		if err != nil {
			return nil, fmt.Errorf("transfer %s: %w", t.EndToEndID, err)
		}
		v, named := o.Transfers[t.EndToEndID]
		if !named {
			v.Status = payouts.StatusProfile
		}
		if v.Status == payouts.StatusRejected || v.Status == payouts.StatusCancelled {
			rejected++
		} else {
			accepted++
		}
		if named || o.Status == "" {
			doc.Payment.Transactions = append(doc.Payment.Transactions, reportTransaction{EndToEndID: t.EndToEndID, Status: string(v.Status), Reason: reasonOf(v.Reason, v.Info), Amount: t.Amount})
		}
	}
	status := o.Status
	switch {
	case status != "":
	case accepted == 0:
		status = payouts.StatusRejected
	case rejected == 0:
		status = payouts.StatusProfile
	default:
		status = payouts.StatusPartial
	}
	doc.Original = reportOriginal{MessageID: sent.MessageID, Format: "pain.001.001.09", Count: len(sent.Payment.Transfers), Sum: total.Format(ledger.EUR),
		Status: string(status), Reason: reasonOf(o.Reason, "")}
	doc.Payment.ID = sent.Payment.ID
	var b bytes.Buffer
	b.WriteString(xml.Header)
	enc := xml.NewEncoder(&b)
	enc.Indent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("write report %s: %w", o.ID, err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

func reasonOf(code, info string) *reportReason {
	if code == "" && info == "" {
		return nil
	}
	return &reportReason{Code: code, Info: info}
}

// The elements of a pain.002.001.10 that this bank sends, in the order of the schema.
type reportDocument struct {
	XMLName   xml.Name       `xml:"Document"`
	Namespace string         `xml:"xmlns,attr"`
	Header    header         `xml:"CstmrPmtStsRpt>GrpHdr"`
	Original  reportOriginal `xml:"CstmrPmtStsRpt>OrgnlGrpInfAndSts"`
	Payment   reportPayment  `xml:"CstmrPmtStsRpt>OrgnlPmtInfAndSts"`
}

type reportOriginal struct {
	MessageID string        `xml:"OrgnlMsgId"`
	Format    string        `xml:"OrgnlMsgNmId"`
	Count     int           `xml:"OrgnlNbOfTxs"`
	Sum       string        `xml:"OrgnlCtrlSum"`
	Status    string        `xml:"GrpSts"`
	Reason    *reportReason `xml:"StsRsnInf"`
}

type reportPayment struct {
	ID           string              `xml:"OrgnlPmtInfId"`
	Transactions []reportTransaction `xml:"TxInfAndSts"`
}

type reportTransaction struct {
	EndToEndID string        `xml:"OrgnlEndToEndId"`
	Status     string        `xml:"TxSts"`
	Reason     *reportReason `xml:"StsRsnInf"`
	Amount     money         `xml:"OrgnlTxRef>Amt>InstdAmt"`
}

type reportReason struct {
	Code string `xml:"Rsn>Cd,omitempty"`
	Info string `xml:"AddtlInf,omitempty"`
}
