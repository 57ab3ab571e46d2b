package banksim

import (
	"encoding/xml"
	"io"

	"tweetledger/ledger"
)

// initiation is what a bank needs of a pain.001.001.09.
type initiation struct {
	XMLName   xml.Name `xml:"urn:iso:std:iso:20022:tech:xsd:pain.001.001.09 Document"`
	MessageID string   `xml:"CstmrCdtTrfInitn>GrpHdr>MsgId"`
	Payment   struct {
		ID         string     `xml:"PmtInfId"`
		Debtor     string     `xml:"Dbtr>Nm"`
		DebtorIBAN string     `xml:"DbtrAcct>Id>IBAN"`
		Transfers  []transfer `xml:"CdtTrfTxInf"`
	} `xml:"CstmrCdtTrfInitn>PmtInf"`
}

type transfer struct {
	EndToEndID   string `xml:"PmtId>EndToEndId"`
	Amount       money  `xml:"Amt>InstdAmt"`
	CreditorBIC  string `xml:"CdtrAgt>FinInstnId>BICFI"`
	Creditor     string `xml:"Cdtr>Nm"`
	CreditorIBAN string `xml:"CdtrAcct>Id>IBAN"`
	Remittance   string `xml:"RmtInf>Ustrd"`
}

func readPain001(r io.Reader) (initiation, error) {
	content, err := io.ReadAll(io.LimitReader(r, maxPaymentFile+1))
	if err != nil {
		return initiation{}, err
	}
	if len(content) > maxPaymentFile {
		return initiation{}, ledger.Errorf(ledger.CodeInvalid, "the payment file is larger than %d bytes", maxPaymentFile)
	}
	var doc initiation
	if err := xml.Unmarshal(content, &doc); err != nil {
		return initiation{}, ledger.Errorf(ledger.CodeInvalid, "the payment file is not a pain.001.001.09: %w", err)
	}
	if doc.Payment.DebtorIBAN == "" || len(doc.Payment.Transfers) == 0 {
		return initiation{}, ledger.Errorf(ledger.CodeInvalid, "the payment file names no account or no transfer")
	}
	return doc, nil
}

// The elements of a camt.053.001.08 that this bank sends, in the order of the schema.
type document struct {
	XMLName   xml.Name  `xml:"Document"`
	Namespace string    `xml:"xmlns,attr"`
	Header    header    `xml:"BkToCstmrStmt>GrpHdr"`
	Statement statement `xml:"BkToCstmrStmt>Stmt"`
}

type header struct {
	MessageID string `xml:"MsgId"`
	CreatedAt string `xml:"CreDtTm"`
}

type statement struct {
	ID        string    `xml:"Id"`
	Sequence  int64     `xml:"ElctrncSeqNb"`
	CreatedAt string    `xml:"CreDtTm"`
	Account   account   `xml:"Acct"`
	Balances  []balance `xml:"Bal"`
	Entries   []entry   `xml:"Ntry"`
}

type account struct {
	IBAN     string `xml:"Id>IBAN"`
	Currency string `xml:"Ccy"`
	Owner    *name  `xml:"Ownr"`
}

type name struct {
	Name string `xml:"Nm"`
}

type balance struct {
	Code   string `xml:"Tp>CdOrPrtry>Cd"`
	Amount money  `xml:"Amt"`
	Sign   string `xml:"CdtDbtInd"`
	Date   string `xml:"Dt>Dt"`
}

type entry struct {
	Number      string   `xml:"NtryRef"`
	Amount      money    `xml:"Amt"`
	Sign        string   `xml:"CdtDbtInd"`
	Reversal    bool     `xml:"RvslInd,omitempty"`
	Status      string   `xml:"Sts>Cd"`
	BookingDate string   `xml:"BookgDt>Dt"`
	ValueDate   string   `xml:"ValDt>Dt"`
	Reference   string   `xml:"AcctSvcrRef"`
	Domain      string   `xml:"BkTxCd>Domn>Cd"`
	Family      string   `xml:"BkTxCd>Domn>Fmly>Cd"`
	SubFamily   string   `xml:"BkTxCd>Domn>Fmly>SubFmlyCd"`
	Details     []detail `xml:"NtryDtls>TxDtls"`
}

type detail struct {
	EndToEndID string        `xml:"Refs>EndToEndId"`
	Amount     money         `xml:"Amt"`
	Sign       string        `xml:"CdtDbtInd"`
	Parties    *parties      `xml:"RltdPties"`
	Remittance *unstructured `xml:"RmtInf"`
	Return     *returned     `xml:"RtrInf"`
}

type parties struct {
	Debtor          *partyName    `xml:"Dbtr"`
	DebtorAccount   *partyAccount `xml:"DbtrAcct"`
	Creditor        *partyName    `xml:"Cdtr"`
	CreditorAccount *partyAccount `xml:"CdtrAcct"`
}

type partyName struct {
	Name string `xml:"Pty>Nm"`
}

type partyAccount struct {
	IBAN string `xml:"Id>IBAN"`
}

type unstructured struct {
	Text string `xml:"Ustrd"`
}

type returned struct {
	Code string `xml:"Rsn>Cd"`
}

type money struct {
	Currency string `xml:"Ccy,attr"`
	Value    string `xml:",chardata"`
}
