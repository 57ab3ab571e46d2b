package bank

import (
	"encoding/xml"
	"strconv"
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
	returned  bool // by its bank transaction code
	status    string
	booked    ledger.Date
	value     ledger.Date
	reference string
	batches   []camtBatch
	details   []camtDetail
	line      int
}

// camtBatch is a NtryDtls, and what its Btch says of the details in it.
type camtBatch struct {
	messageID        string
	transactions     string // NbOfTxs
	total            camtAmount
	negative, signed bool
	first, next      int // its details among those of the entry
	line             int
}

// camtDetail is a TxDtls on its way.
type camtDetail struct {
	endToEnd, message  string
	amount             camtAmount // in the account's currency
	underlying         camtAmount // of the transaction: the account's currency or another
	negative, signed   bool
	returned           bool // by its bank transaction code
	debtor, creditor   payouts.Party
	unstructured       string
	structured, reason string
	line               int
}

func (r *camtReader) entry(m *camtMessage) error {
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
		case "BkTxCd":
			return r.transactionCode(&e.returned)
		case "NtryDtls":
			return r.entryDetails(&e)
		}
		return r.skip()
	})
	if err != nil {
		return err
	}
	place := strings.Join(r.path, "/")
	if !e.amount.given || !e.signed {
		return r.refuseAt(e.line, place, "the entry lacks its amount or its sign (CdtDbtInd); ask the bank for a new file")
	}
	switch e.status {
	case "BOOK":
	case "PDNG", "INFO", "FUTR":
		m.closing.Pending++ // not booked: it will come again when it is
		return r.tally(m, &m.listed, e, place)
	case "":
		return r.refuseAt(e.line, place, "the entry does not say whether it is booked (Sts); ask the bank for a new file")
	default:
		return r.refuseAt(e.line, place, "%q is not a state of an entry (BOOK, PDNG, INFO, FUTR); ask the bank for a new file", brief(e.status))
	}
	if e.booked.IsZero() {
		return r.refuseAt(e.line, place, "the booked entry has no booking date (BookgDt); ask the bank for a new file")
	}
	if e.value.IsZero() {
		e.value = e.booked
	}
	return r.book(m, e, place)
}

// book hands a booked entry over.
func (r *camtReader) book(m *camtMessage, e camtEntry, place string) error {
	entry := payouts.Entry{Reference: e.reference, Reversal: e.reversal, BookingDate: e.booked, ValueDate: e.value, Line: e.line}
	var err error
	if entry.Amount, err = r.signedAmount(m, e.amount, e.negative, place+"/Amt"); err != nil {
		return err
	}
	if entry.Details, err = r.detailsOf(m, e, entry.Amount, place); err != nil {
		return err
	}
	if err := r.begin(m); err != nil {
		return err
	}
	if m.total, err = m.total.Add(entry.Amount); err != nil {
		return r.refuseAt(e.line, place, "the entries of %s %s add up to more than fits; ask the bank for a new file", r.kind, m.ID)
	}
	for _, tally := range []*camtTally{&m.booked, &m.listed} {
		if err := r.tally(m, tally, e, place); err != nil {
			return err
		}
	}
	return r.emit(payouts.Part{Entry: &entry})
}

// detailsOf takes a batch booking apart and checks that its parts are the whole.
// An entry without details is one detail; one of several batches of which the bank
// gives only the sums is a detail a batch.
func (r *camtReader) detailsOf(m *camtMessage, e camtEntry, whole ledger.Amount, place string) ([]payouts.Detail, error) {
	if len(e.details) == 0 {
		return r.batchesOf(m, e, whole, place)
	}
	details := make([]payouts.Detail, len(e.details))
	var total ledger.Amount
	for i, d := range e.details {
		amount, err := r.detailAmount(m, e, d, whole, place+"/NtryDtls/TxDtls")
		if err != nil {
			return nil, err
		}
		if total, err = total.Add(amount); err != nil {
			return nil, r.refuseAt(e.line, place, "the details add up to more than fits; ask the bank for a new file")
		}
		d.returned = d.returned || e.returned
		details[i] = d.detail(amount, e.reversal)
	}
	if total != whole {
		return nil, r.refuseAt(e.line, place, "the entry's %d details add up to %s, but the entry is %s; ask the bank for a new file",
			len(details), total.Format(m.Currency), whole.Format(m.Currency))
	}
	for _, b := range e.batches {
		if err := r.checkBatch(m, e, b, details[b.first:b.next], place+"/NtryDtls/Btch"); err != nil {
			return nil, err
		}
		for i := b.first; i < b.next; i++ {
			if details[i].MessageID == "" {
				details[i].MessageID = b.messageID
			}
		}
	}
	return details, nil
}

// batchesOf are the details of an entry for which the bank gives none.
func (r *camtReader) batchesOf(m *camtMessage, e camtEntry, whole ledger.Amount, place string) ([]payouts.Detail, error) {
	reason := ""
	if e.returned {
		reason = reasonNotGiven
	}
	apart := make([]payouts.Detail, 0, len(e.batches))
	var total ledger.Amount
	for _, b := range e.batches {
		if !b.total.given || b.total.currency != string(m.Currency) {
			break
		}
		amount, err := r.signedAmount(m, b.total, b.sign(e), place+"/NtryDtls/Btch/TtlAmt")
		if err != nil {
			return nil, err
		}
		if total, err = total.Add(amount); err != nil {
			return nil, r.refuseAt(e.line, place, "the batches add up to more than fits; ask the bank for a new file")
		}
		apart = append(apart, payouts.Detail{MessageID: b.messageID, Amount: amount, ReturnReason: reason})
	}
	if len(e.batches) > 0 && len(apart) == len(e.batches) {
		if total != whole {
			return nil, r.refuseAt(e.line, place, "the entry's %d batches (Btch) add up to %s, but the entry is %s; ask the bank for a new file",
				len(apart), total.Format(m.Currency), whole.Format(m.Currency))
		}
		return apart, nil
	}
	single := payouts.Detail{Amount: whole, ReturnReason: reason}
	if len(e.batches) == 1 {
		single.MessageID = e.batches[0].messageID
	}
	return []payouts.Detail{single}, nil
}

// sign reports whether the batch is a debit.
func (b camtBatch) sign(e camtEntry) bool {
	if b.signed {
		return b.negative
	}
	return e.negative
}

// checkBatch compares what a Btch says with the details that stand by it.
func (r *camtReader) checkBatch(m *camtMessage, e camtEntry, b camtBatch, details []payouts.Detail, place string) error {
	sum := len(details) == 1 && !identified(details[0].EndToEndID) // the batch's own references, given as if they were a detail's
	if b.transactions != "" && len(details) > 0 && !sum && strings.TrimLeft(b.transactions, "0") != strconv.Itoa(len(details)) {
		return r.refuseAt(b.line, place+"/NbOfTxs", "the batch has %s transactions by its own count, and %d are given; ask the bank for a new file",
			brief(b.transactions), len(details))
	}
	if !b.total.given || b.total.currency != string(m.Currency) || len(details) == 0 {
		return nil
	}
	want, err := r.signedAmount(m, b.total, b.sign(e), place+"/TtlAmt")
	if err != nil {
		return err
	}
	var total ledger.Amount
	for _, d := range details {
		total += d.Amount // which is a part of a sum that fits
	}
	if total != want {
		return r.refuseAt(b.line, place+"/TtlAmt", "the batch is %s by its own total, but its details add up to %s; ask the bank for a new file",
			want.Format(m.Currency), total.Format(m.Currency))
	}
	return nil
}

// identified reports whether an end-to-end id says anything: ISO 20022 wants one
// also where the payer gave none.
func identified(endToEndID string) bool { return endToEndID != "" && endToEndID != "NOTPROVIDED" }

// detail is the detail as others know it.
func (d camtDetail) detail(amount ledger.Amount, reversal bool) payouts.Detail {
	if d.reason == "" && d.returned {
		d.reason = reasonNotGiven
	}
	remittance := d.unstructured
	if remittance == "" {
		remittance = d.structured
	}
	return payouts.Detail{EndToEndID: d.endToEnd, MessageID: d.message, Amount: amount, Counterparty: d.counterparty(amount, reversal),
		Remittance: remittance, ReturnReason: d.reason}
}

// detailAmount is the signed amount of one detail. Only where an entry has a
// single detail may it be missing: it is the entry's then.
func (r *camtReader) detailAmount(m *camtMessage, e camtEntry, d camtDetail, whole ledger.Amount, place string) (ledger.Amount, error) {
	negative := e.negative
	if d.signed {
		negative = d.negative
	}
	underlying := d.underlying.given && d.underlying.currency == string(m.Currency)
	switch {
	case d.amount.given:
		return r.signedAmount(m, d.amount, negative, place+"/Amt")
	case len(e.details) == 1:
		return whole, nil
	case underlying:
		return r.signedAmount(m, d.underlying, negative, place+"/AmtDtls/TxAmt/Amt")
	}
	return 0, r.refuseAt(d.line, place, "a detail of a batch booking has no amount in %s; ask the bank for details with amounts", m.Currency)
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
	b := camtBatch{first: len(e.details)}
	err := r.children(func(name string, _ []xml.Attr) error {
		switch name {
		case "Btch":
			return r.batch(&b)
		case "TxDtls":
			if len(e.details) == maxDetails {
				return r.refuse("the entry has more than %d transactions; ask the bank to book fewer at once", maxDetails)
			}
			d, err := r.detail()
			e.details = append(e.details, d)
			return err
		}
		return r.skip()
	})
	if len(e.batches) == maxDetails {
		return r.refuse("the entry has more than %d batches; ask the bank to book fewer at once", maxDetails)
	}
	b.next = len(e.details)
	e.batches = append(e.batches, b)
	return err
}

func (r *camtReader) batch(b *camtBatch) error {
	b.line = r.line()
	var paymentInformation string
	err := r.children(func(name string, attrs []xml.Attr) error {
		switch name {
		case "MsgId":
			return r.text(&b.messageID, maxReference)
		case "PmtInfId":
			return r.text(&paymentInformation, maxReference)
		case "NbOfTxs":
			return r.text(&b.transactions, maxCount)
		case "TtlAmt":
			return r.amount(&b.total, attrs)
		case "CdtDbtInd":
			b.signed = true
			return r.debit(&b.negative)
		}
		return r.skip()
	})
	if b.messageID == "" {
		b.messageID = paymentInformation
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
		case "BkTxCd":
			return r.transactionCode(&d.returned)
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

// reasonNotGiven stands for the reason of a return whose reason nobody gives.
const reasonNotGiven = "NOTPROVIDED"

// returnSubfamily is the bank transaction code (ISO 20022 external code set, any
// family of domain PMNT) of a transfer that came back.
const returnSubfamily = "RRTN"

// transactionCode reads a BkTxCd.
func (r *camtReader) transactionCode(returned *bool) error {
	var subfamily string
	err := r.nested([]string{"Domn", "Fmly", "SubFmlyCd"}, &subfamily, maxReasonText)
	*returned = *returned || subfamily == returnSubfamily
	return err
}

func (r *camtReader) returnReason(into *string) error {
	*into = reasonNotGiven // a return all the same
	return r.children(func(name string, _ []xml.Attr) error {
		if name != "Rsn" {
			return r.skip()
		}
		return r.code(into)
	})
}

// status reads an entry's state: text in version 2, a choice of Cd and Prtry in
// version 8.
func (r *camtReader) status(into *string) error {
	if r.version == 2 {
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
