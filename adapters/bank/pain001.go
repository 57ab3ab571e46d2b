package bank

import (
	"encoding/xml"
	"fmt"
	"io"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

// Bounds of a pain.001 by its schema and the SEPA rulebook; text counts
// characters, which are bytes in the SEPA character set.
const (
	maxReference  = 35
	maxName       = 70
	maxRemittance = 140
	maxBuilding   = 16 // and post codes
	// MaxTransfers bounds the transfers of one file. Banks take at least this many
	// (EBICS remote servers commonly cut at 10,000 to 100,000), and a file of that
	// size, about 10 MB, is made in memory.
	MaxTransfers = 10_000
	// maxSEPAAmount is the largest SEPA credit transfer, 999,999,999.99 EUR
	// (EPC rulebook AT-04).
	maxSEPAAmount ledger.Amount = 99_999_999_999
)

const (
	namespacePrefix = "urn:iso:std:iso:20022:tech:xsd:"
	isoDateTime     = "2006-01-02T15:04:05Z"
)

// Pain001 is a version of the credit transfer initiation.
type Pain001 string

// The versions that banks in France take: the one of SEPA's rulebooks since 2023, and
// the one before, which some still ask for.
const (
	Pain00109 Pain001 = "pain.001.001.09"
	Pain00103 Pain001 = "pain.001.001.03"
)

// ParsePain001 returns the version with the given name, or an error with CodeInvalid.
func ParsePain001(name string) (Pain001, error) {
	switch version := Pain001(name); version {
	case Pain00109, Pain00103:
		return version, nil
	}
	return "", ledger.Errorf(ledger.CodeInvalid, "%q is no format of payment files; use %s or %s", brief(name), Pain00109, Pain00103).InField("format")
}

// WritePain001 is WritePain001As in the version of today's rulebooks.
func WritePain001(w io.Writer, f payouts.PaymentFile) error { return WritePain001As(w, f, Pain00109) }

// WritePain001As writes f as a SEPA credit transfer initiation in a version. Equal
// files give equal bytes. Names and remittances are
// brought into the SEPA character set, names cut to 70 characters; what cannot
// be sent is a ledger.Error with CodeInvalid that names the transfer, and then
// nothing is written.
func WritePain001As(w io.Writer, f payouts.PaymentFile, version Pain001) error {
	doc, err := pain001Of(f, version)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("write pain.001 %s: %w", f.MessageID, err)
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return fmt.Errorf("write pain.001 %s: %w", f.MessageID, err)
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return fmt.Errorf("write pain.001 %s: %w", f.MessageID, err)
	}
	return nil
}

func pain001Of(f payouts.PaymentFile, version Pain001) (pain001, error) {
	if err := checkPaymentFile(f); err != nil {
		return pain001{}, err
	}
	debtor, err := painPartyOf(f.Debtor, "debtor")
	if err != nil {
		return pain001{}, err
	}
	transfers := make([]painTransfer, len(f.Transfers))
	seen := make(map[string]int, len(f.Transfers))
	var total ledger.Amount
	for i, t := range f.Transfers {
		place := fmt.Sprintf("transfers[%d]", i)
		if first, ok := seen[t.EndToEndID]; ok {
			return pain001{}, ledger.Errorf(ledger.CodeInvalid, "the end-to-end id %q is also that of transfers[%d]; each transfer needs its own",
				t.EndToEndID, first).InField(place + ".end_to_end_id")
		}
		seen[t.EndToEndID] = i
		if transfers[i], err = painTransferOf(t, place, version); err != nil {
			return pain001{}, err
		}
		if total, err = total.Add(t.Amount); err != nil {
			return pain001{}, fmt.Errorf("control sum of %s: %w", f.MessageID, err)
		}
	}
	sum := total.Format(f.Currency)
	doc := pain001{Namespace: namespacePrefix + string(version)}
	doc.Header = painHeader{
		MessageID: f.MessageID, CreatedAt: f.CreatedAt.UTC().Format(isoDateTime),
		Count: len(transfers), ControlSum: sum, Initiator: debtor.name,
	}
	doc.Payment = painInstruction{
		ID: f.MessageID, Method: "TRF", BatchBooking: false, Count: len(transfers), ControlSum: sum,
		ServiceLevel: "SEPA", ExecutionDate: executionDate(f.ExecutionDate, version),
		Debtor: debtor.name, DebtorIBAN: debtor.iban, DebtorAgent: debtor.agent(version),
		ChargeBearer: "SLEV", Transfers: transfers,
	}
	return doc, nil
}

func checkPaymentFile(f payouts.PaymentFile) error {
	switch {
	case !isReference(f.MessageID):
		return ledger.Errorf(ledger.CodeInvalid, "%q is no message id: 1 to %d characters of the SEPA set, no slash at its ends", brief(f.MessageID), maxReference).InField("message_id")
	case f.CreatedAt.IsZero():
		return ledger.Errorf(ledger.CodeInvalid, "the file needs the time at which it was made").InField("created_at")
	case f.ExecutionDate.IsZero():
		return ledger.Errorf(ledger.CodeInvalid, "the file needs an execution date").InField("execution_date")
	case f.Currency != ledger.EUR:
		return ledger.Errorf(ledger.CodeInvalid, "SEPA transfers are in EUR, not in %q", brief(string(f.Currency))).InField("currency")
	case len(f.Transfers) == 0:
		return ledger.Errorf(ledger.CodeInvalid, "the file has no transfers; a bank refuses an empty one").InField("transfers")
	case len(f.Transfers) > MaxTransfers:
		return ledger.Errorf(ledger.CodeInvalid, "the file has %d transfers and at most %d fit; split the batch", len(f.Transfers), MaxTransfers).InField("transfers")
	}
	return nil
}

func painTransferOf(t payouts.CreditTransfer, place string, version Pain001) (painTransfer, error) {
	creditor, err := painPartyOf(t.Creditor, place+".creditor")
	if err != nil {
		return painTransfer{}, err
	}
	remittance := toSEPA(t.Remittance)
	switch {
	case !isReference(t.EndToEndID):
		return painTransfer{}, ledger.Errorf(ledger.CodeInvalid, "%q is no end-to-end id: 1 to %d characters of the SEPA set, no slash at its ends",
			brief(t.EndToEndID), maxReference).InField(place + ".end_to_end_id")
	case t.Amount <= 0:
		return painTransfer{}, ledger.Errorf(ledger.CodeInvalid, "a transfer must be above zero, not %s", t.Amount.Format(ledger.EUR)).InField(place + ".amount")
	case t.Amount > maxSEPAAmount:
		return painTransfer{}, ledger.Errorf(ledger.CodeInvalid, "a SEPA transfer is at most %s EUR, not %s",
			maxSEPAAmount.Format(ledger.EUR), t.Amount.Format(ledger.EUR)).InField(place + ".amount")
	case len(remittance) > maxRemittance:
		return painTransfer{}, ledger.Errorf(ledger.CodeInvalid, "the remittance has %d characters of the SEPA set and at most %d fit; shorten it",
			len(remittance), maxRemittance).InField(place + ".remittance")
	}
	out := painTransfer{
		EndToEndID: t.EndToEndID,
		Amount:     isoAmount{Currency: string(ledger.EUR), Value: t.Amount.Format(ledger.EUR)},
		Creditor:   creditor.name, CreditorAddress: painAddressOf(t.Address), CreditorIBAN: creditor.iban,
	}
	if creditor.bic != "" {
		agent := creditor.agent(version)
		out.CreditorAgent = &agent
	}
	if remittance != "" {
		out.Remittance = &painRemittance{Text: remittance}
	}
	return out, nil
}

// sepaParty is a party that has been checked and brought into the SEPA
// character set.
type sepaParty struct{ name, iban, bic string }

func painPartyOf(p payouts.Party, place string) (sepaParty, error) {
	iban, err := payments.ParseIBAN(p.IBAN)
	if err != nil {
		return sepaParty{}, ledger.Errorf(ledger.CodeInvalid, "%w", err).InField(place)
	}
	bic := p.BIC
	if bic != "" {
		if bic, err = payments.ParseBIC(bic); err != nil {
			return sepaParty{}, ledger.Errorf(ledger.CodeInvalid, "%w", err).InField(place)
		}
	}
	name := clipped(toSEPA(p.Name), maxName)
	if name == "" {
		return sepaParty{}, ledger.Errorf(ledger.CodeInvalid, "the name %q cannot be written in the SEPA character set; give one in Latin letters",
			brief(p.Name)).InField(place + ".name")
	}
	return sepaParty{name: name, iban: iban, bic: bic}, nil
}

func (p sepaParty) agent(version Pain001) painAgent {
	switch {
	case p.bic == "":
		return painAgent{Other: &painOther{ID: "NOTPROVIDED"}}
	case version == Pain00103:
		return painAgent{BIC: p.bic}
	}
	return painAgent{BICFI: p.bic}
}

func executionDate(d ledger.Date, version Pain001) painDate {
	if version == Pain00103 {
		return painDate{Text: d.String()}
	}
	return painDate{Date: d.String()}
}

// painAddressOf brings an address into the SEPA character set. Without a town or
// country that can be written there is none: the rulebooks want both (EPC132-08).
func painAddressOf(a payments.Address) *painAddress {
	out := painAddress{Street: clipped(toSEPA(a.Street), maxName), Building: clipped(toSEPA(a.Building), maxBuilding),
		PostCode: clipped(toSEPA(a.PostCode), maxBuilding), Town: clipped(toSEPA(a.Town), maxReference), Country: a.Country}
	if out.Town == "" || out.Country == "" {
		return nil
	}
	return &out
}

// brief shortens what a caller sent so that an error stays one readable line.
func brief(s string) string {
	const most = 40
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}

// The elements of a pain.001 that a SEPA credit transfer needs, in the
// order of the schema.
type pain001 struct {
	XMLName   xml.Name        `xml:"Document"`
	Namespace string          `xml:"xmlns,attr"`
	Header    painHeader      `xml:"CstmrCdtTrfInitn>GrpHdr"`
	Payment   painInstruction `xml:"CstmrCdtTrfInitn>PmtInf"`
}

type painHeader struct {
	MessageID  string `xml:"MsgId"`
	CreatedAt  string `xml:"CreDtTm"`
	Count      int    `xml:"NbOfTxs"`
	ControlSum string `xml:"CtrlSum"`
	Initiator  string `xml:"InitgPty>Nm"`
}

type painInstruction struct {
	ID     string `xml:"PmtInfId"`
	Method string `xml:"PmtMtd"`
	// BatchBooking false asks the bank for one statement line a transfer, each
	// with its end-to-end id, so that each is settled by itself.
	BatchBooking  bool           `xml:"BtchBookg"`
	Count         int            `xml:"NbOfTxs"`
	ControlSum    string         `xml:"CtrlSum"`
	ServiceLevel  string         `xml:"PmtTpInf>SvcLvl>Cd"`
	ExecutionDate painDate       `xml:"ReqdExctnDt"`
	Debtor        string         `xml:"Dbtr>Nm"`
	DebtorIBAN    string         `xml:"DbtrAcct>Id>IBAN"`
	DebtorAgent   painAgent      `xml:"DbtrAgt>FinInstnId"`
	ChargeBearer  string         `xml:"ChrgBr"`
	Transfers     []painTransfer `xml:"CdtTrfTxInf"`
}

type painTransfer struct {
	EndToEndID      string          `xml:"PmtId>EndToEndId"`
	Amount          isoAmount       `xml:"Amt>InstdAmt"`
	CreditorAgent   *painAgent      `xml:"CdtrAgt>FinInstnId"`
	Creditor        string          `xml:"Cdtr>Nm"`
	CreditorAddress *painAddress    `xml:"Cdtr>PstlAdr"`
	CreditorIBAN    string          `xml:"CdtrAcct>Id>IBAN"`
	Remittance      *painRemittance `xml:"RmtInf"`
}

// painDate is an element of its own since version .09, and text before.
type painDate struct {
	Date string `xml:"Dt,omitempty"`
	Text string `xml:",chardata"`
}

type painAddress struct {
	Street   string `xml:"StrtNm,omitempty"`
	Building string `xml:"BldgNb,omitempty"`
	PostCode string `xml:"PstCd,omitempty"`
	Town     string `xml:"TwnNm"`
	Country  string `xml:"Ctry"`
}

type painAgent struct {
	BICFI string     `xml:"BICFI,omitempty"`
	BIC   string     `xml:"BIC,omitempty"` // its name before version .09
	Other *painOther `xml:"Othr"`
}

type painOther struct {
	ID string `xml:"Id"`
}

type painRemittance struct {
	Text string `xml:"Ustrd"`
}

type isoAmount struct {
	Currency string `xml:"Ccy,attr"`
	Value    string `xml:",chardata"`
}
