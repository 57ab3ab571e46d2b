package bank

import (
	"encoding/xml"
	"strings"

	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

// camtEntry is a Ntry on its way.
type camtEntry struct {
	amount    camtAmount
	negative  bool
	signed    bool
	reversal  bool
	status    string
	booked    ledger.Date
	value     ledger.Date
	reference string
	batchID   string
	details   []camtDetail
	line      int
}

// camtDetail is a TxDtls on its way.
type camtDetail struct {
	endToEnd, message  string
	amount             camtAmount // in the account's currency
	underlying         camtAmount // of the transaction: the account's currency or another
	negative, signed   bool
	debtor, creditor   payouts.Party
	unstructured       string
	structured, reason string
	line               int
}

func (r *camtReader) entry(s *camtStatement) error {
	e := camtEntry{line: r.line()}
	err := r.children(func(name string, attrs []xml.Attr) error {
		switch name {
		case "Amt":
			return r.amount(&e.amount, attrs)
		case "CdtDbtInd":
			e.signed = true
			return r.debit(&e.negative)
		case "RvslInd":
			return r.boolean(&e.reversal)
		case "Sts":
			return r.status(&e.status)
		case "BookgDt":
			return r.date(&e.booked)
		case "ValDt":
			return r.date(&e.value)
		case "AcctSvcrRef":
			return r.text(&e.reference, maxReference)
		case "NtryDtls":
			return r.entryDetails(&e)
		}
		return r.skip()
	})
	if err != nil {
		return err
	}
	place := strings.Join(r.path, "/")
	switch e.status {
	case "BOOK":
	case "PDNG", "INFO", "FUTR":
		return nil // not booked: it will come again when it is
	case "":
		return r.refuseAt(e.line, place, "the entry does not say whether it is booked (Sts); ask the bank for a new file")
	default:
		return r.refuseAt(e.line, place, "%q is not a state of an entry (BOOK, PDNG, INFO, FUTR); ask the bank for a new file", brief(e.status))
	}
	switch {
	case !e.amount.given || !e.signed:
		return r.refuseAt(e.line, place, "the entry lacks its amount or its sign (CdtDbtInd); ask the bank for a new file")
	case e.booked.IsZero():
		return r.refuseAt(e.line, place, "the booked entry has no booking date (BookgDt); ask the bank for a new file")
	}
	if e.value.IsZero() {
		e.value = e.booked
	}
	entry := payouts.Entry{Reference: e.reference, Reversal: e.reversal, BookingDate: e.booked, ValueDate: e.value, Line: e.line}
	if entry.Amount, err = r.signedAmount(s, e.amount, e.negative, place+"/Amt"); err != nil {
		return err
	}
	if entry.Details, err = r.detailsOf(s, e, entry.Amount, place); err != nil {
		return err
	}
	s.Entries = append(s.Entries, entry)
	return nil
}

// detailsOf takes a batch booking apart and checks that its parts are the whole.
// An entry without details, or a batch of which the bank gives only the sum, is
// one detail.
func (r *camtReader) detailsOf(s *camtStatement, e camtEntry, whole ledger.Amount, place string) ([]payouts.Detail, error) {
	if len(e.details) == 0 {
		if r.details++; r.details > maxFileDetails {
			return nil, r.tooManyDetails()
		}
		return []payouts.Detail{{MessageID: e.batchID, Amount: whole}}, nil
	}
	details := make([]payouts.Detail, len(e.details))
	var total ledger.Amount
	for i, d := range e.details {
		amount, err := r.detailAmount(s, e, d, whole, place+"/NtryDtls/TxDtls")
		if err != nil {
			return nil, err
		}
		if total, err = total.Add(amount); err != nil {
			return nil, r.refuseAt(e.line, place, "the details add up to more than fits; ask the bank for a new file")
		}
		details[i] = payouts.Detail{
			EndToEndID: d.endToEnd, MessageID: d.message, Amount: amount, Counterparty: d.counterparty(amount, e.reversal),
			Remittance: d.unstructured, ReturnReason: d.reason,
		}
		if details[i].Remittance == "" {
			details[i].Remittance = d.structured
		}
		if details[i].MessageID == "" {
			details[i].MessageID = e.batchID
		}
	}
	if total != whole {
		return nil, r.refuseAt(e.line, place, "the entry's %d details add up to %s, but the entry is %s; ask the bank for a new file",
			len(details), total.Format(s.Currency), whole.Format(s.Currency))
	}
	return details, nil
}

// detailAmount is the signed amount of one detail. Only where an entry has a
// single detail may it be missing: it is the entry's then.
func (r *camtReader) detailAmount(s *camtStatement, e camtEntry, d camtDetail, whole ledger.Amount, place string) (ledger.Amount, error) {
	negative := e.negative
	if d.signed {
		negative = d.negative
	}
	underlying := d.underlying.given && d.underlying.currency == string(s.Currency)
	switch {
	case d.amount.given:
		return r.signedAmount(s, d.amount, negative, place+"/Amt")
	case len(e.details) == 1:
		return whole, nil
	case underlying:
		return r.signedAmount(s, d.underlying, negative, place+"/AmtDtls/TxAmt/Amt")
	}
	return 0, r.refuseAt(d.line, place, "a detail of a batch booking has no amount in %s; ask the bank for details with amounts", s.Currency)
}

// counterparty is who stands on the other side. When money of ours comes back,
// the bank still names the parties of the transfer that we sent.
func (d camtDetail) counterparty(amount ledger.Amount, reversal bool) payouts.Party {
	wanted, other := d.debtor, d.creditor
	cameBack := d.reason != "" || reversal
	if (amount < 0) != cameBack {
		wanted, other = other, wanted
	}
	if wanted == (payouts.Party{}) {
		return other
	}
	return wanted
}

func (r *camtReader) entryDetails(e *camtEntry) error {
	return r.children(func(name string, _ []xml.Attr) error {
		switch name {
		case "Btch":
			return r.batch(&e.batchID)
		case "TxDtls":
			if r.details++; r.details > maxFileDetails {
				return r.tooManyDetails()
			}
			d, err := r.detail()
			e.details = append(e.details, d)
			return err
		}
		return r.skip()
	})
}

func (r *camtReader) tooManyDetails() error {
	return r.refuse("the file has more than %d transactions; ask the bank for smaller files", maxFileDetails)
}

func (r *camtReader) batch(into *string) error {
	var paymentInformation string
	err := r.children(func(name string, _ []xml.Attr) error {
		switch name {
		case "MsgId":
			return r.text(into, maxReference)
		case "PmtInfId":
			return r.text(&paymentInformation, maxReference)
		}
		return r.skip()
	})
	if *into == "" {
		*into = paymentInformation
	}
	return err
}

func (r *camtReader) detail() (camtDetail, error) {
	d := camtDetail{line: r.line()}
	err := r.children(func(name string, attrs []xml.Attr) error {
		switch name {
		case "Refs":
			return r.references(&d)
		case "Amt":
			return r.amount(&d.amount, attrs)
		case "CdtDbtInd":
			d.signed = true
			return r.debit(&d.negative)
		case "AmtDtls":
			return r.amountDetails(&d)
		case "RltdPties":
			return r.parties(&d)
		case "RltdAgts":
			return r.agents(&d)
		case "RmtInf":
			return r.remittance(&d)
		case "RtrInf":
			return r.returnReason(&d.reason)
		}
		return r.skip()
	})
	return d, err
}

func (r *camtReader) references(d *camtDetail) error {
	return r.children(func(name string, _ []xml.Attr) error {
		switch name {
		case "EndToEndId":
			return r.text(&d.endToEnd, maxReference)
		case "MsgId":
			return r.text(&d.message, maxReference)
		}
		return r.skip()
	})
}

func (r *camtReader) amountDetails(d *camtDetail) error {
	return r.children(func(name string, _ []xml.Attr) error {
		if name != "TxAmt" {
			return r.skip()
		}
		return r.children(func(name string, attrs []xml.Attr) error {
			if name == "Amt" {
				return r.amount(&d.underlying, attrs)
			}
			return r.skip()
		})
	})
}

func (r *camtReader) parties(d *camtDetail) error {
	return r.children(func(name string, _ []xml.Attr) error {
		switch name {
		case "Dbtr":
			return r.partyName(&d.debtor.Name)
		case "Cdtr":
			return r.partyName(&d.creditor.Name)
		case "DbtrAcct":
			return r.partyAccount(&d.debtor.IBAN)
		case "CdtrAcct":
			return r.partyAccount(&d.creditor.IBAN)
		}
		return r.skip()
	})
}

// partyName reads the name of a party: Nm in version 2, Pty/Nm in version 8.
func (r *camtReader) partyName(into *string) error {
	return r.children(func(name string, _ []xml.Attr) error {
		switch name {
		case "Nm":
			return r.text(into, maxText)
		case "Pty":
			return r.nested([]string{"Nm"}, into, maxText)
		}
		return r.skip()
	})
}

func (r *camtReader) partyAccount(into *string) error {
	return r.children(func(name string, _ []xml.Attr) error {
		if name == "Id" {
			return r.accountIBAN(into)
		}
		return r.skip()
	})
}

func (r *camtReader) agents(d *camtDetail) error {
	return r.children(func(name string, _ []xml.Attr) error {
		switch name {
		case "DbtrAgt":
			return r.agentBIC(&d.debtor.BIC)
		case "CdtrAgt":
			return r.agentBIC(&d.creditor.BIC)
		}
		return r.skip()
	})
}

// agentBIC reads a bank's BIC: BIC in version 2, BICFI in version 8.
func (r *camtReader) agentBIC(into *string) error {
	return r.children(func(name string, _ []xml.Attr) error {
		if name != "FinInstnId" {
			return r.skip()
		}
		return r.children(func(name string, _ []xml.Attr) error {
			if name == "BIC" || name == "BICFI" {
				return r.text(into, 11)
			}
			return r.skip()
		})
	})
}

// remittance joins the unstructured lines, up to maxText bytes in all, and takes
// the first creditor's reference where there are none.
func (r *camtReader) remittance(d *camtDetail) error {
	return r.children(func(name string, _ []xml.Attr) error {
		switch name {
		case "Ustrd":
			var line string
			if err := r.text(&line, maxText); err != nil {
				return err
			}
			if len(d.unstructured)+len(line) < maxText {
				d.unstructured = strings.TrimSpace(d.unstructured + " " + line)
			}
			return nil
		case "Strd":
			return r.nested([]string{"CdtrRefInf", "Ref"}, &d.structured, maxReference)
		}
		return r.skip()
	})
}

// maxReasonCode is the length of an external code of ISO 20022, maxReasonText
// that of a bank's own.
const (
	maxReasonCode = 4
	maxReasonText = 35
)

func (r *camtReader) returnReason(into *string) error {
	*into = "NOTPROVIDED" // a return all the same
	return r.children(func(name string, _ []xml.Attr) error {
		if name != "Rsn" {
			return r.skip()
		}
		return r.children(func(name string, _ []xml.Attr) error {
			switch name {
			case "Cd":
				return r.text(into, maxReasonCode)
			case "Prtry":
				return r.text(into, maxReasonText)
			}
			return r.skip()
		})
	})
}

// status reads an entry's state: text in version 2, a choice of Cd and Prtry in
// version 8.
func (r *camtReader) status(into *string) error {
	if r.space == camt053v2 {
		return r.text(into, maxReasonCode)
	}
	return r.children(func(name string, _ []xml.Attr) error {
		if name == "Cd" || name == "Prtry" {
			return r.text(into, maxReasonText)
		}
		return r.skip()
	})
}

// boolean reads an xs:boolean.
func (r *camtReader) boolean(into *bool) error {
	var text string
	if err := r.text(&text, 5); err != nil {
		return err
	}
	switch text {
	case "true", "1":
		*into = true
	case "false", "0":
		*into = false
	default:
		return r.refuse("%q is neither true nor false; ask the bank for a new file", text)
	}
	return nil
}
