// Package banksim is a simulated bank for demonstrations and tests: it is told
// what to pay by a pain.001, reports on it by a pain.002.001.10 and answers with a
// camt.053.001.08 statement, real XML both ways. It executes every transfer unless told
// otherwise.
package banksim

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

// Options says what a statement shows beside the transfers of the payment file.
type Options struct {
	ID          string // of the statement, 35 characters at most
	Sequence    int64  // electronic sequence number, above zero
	Account     payouts.Party
	CreatedAt   time.Time   // UTC
	BookingDate ledger.Date // of all entries, and of the closing balance
	Opening     ledger.Amount
	// Batch books all transfers as one entry with a detail each.
	Batch bool
	// Returns gives the ISO reason (AC04, …) for each end-to-end id whose money
	// comes back on the same statement. Returns of transfers of earlier files are
	// Extra entries.
	Returns map[string]string
	// Unexecuted names the end-to-end ids that the bank has not paid.
	Unexecuted map[string]bool
	// Extra are further entries, booked after the transfers.
	Extra []Extra
}

// Extra is an entry that no transfer of the payment file gave rise to: money in
// where Amount is positive.
type Extra struct {
	Amount       ledger.Amount
	EndToEndID   string
	Counterparty payouts.Party
	Remittance   string
	ReturnReason string
	Reversal     bool
}

// maxPaymentFile bounds the pain.001 that is read: 10,000 transfers need 10 MB.
const maxPaymentFile = 64 << 20

// Statement returns the XML of the statement that follows on a payment file.
// pain001 may be nil: then it shows only Extra. The error says what is wrong with
// the file or the options.
func Statement(pain001 io.Reader, o Options) ([]byte, error) {
	var transfers []transfer
	if pain001 != nil {
		initiation, err := readPain001(pain001)
		if err != nil {
			return nil, err
		}
		if iban := initiation.Payment.DebtorIBAN; o.Account.IBAN != "" && iban != o.Account.IBAN {
			return nil, ledger.Errorf(ledger.CodeInvalid, "the payment file debits %s, which is not the account %s of this bank", iban, o.Account.IBAN)
		}
		o.Account.IBAN = initiation.Payment.DebtorIBAN
		if o.Account.Name == "" {
			o.Account.Name = initiation.Payment.Debtor
		}
		transfers = initiation.Payment.Transfers
	}
	entries, total, err := entriesOf(transfers, o)
	if err != nil {
		return nil, err
	}
	closing, err := o.Opening.Add(total)
	if err != nil {
		return nil, fmt.Errorf("closing balance: %w", err)
	}
	doc := document{Namespace: "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"}
	created := o.CreatedAt.UTC().Format("2006-01-02T15:04:05Z")
	doc.Header = header{MessageID: "MSG-" + clipped(o.ID, 31), CreatedAt: created}
	doc.Statement = statement{
		ID: o.ID, Sequence: o.Sequence, CreatedAt: created, Account: account{IBAN: o.Account.IBAN, Currency: "EUR"},
		Balances: []balance{
			balanceOf("OPBD", o.Opening, o.BookingDate),
			balanceOf("CLBD", closing, o.BookingDate),
		},
		Entries: entries,
	}
	if o.Account.Name != "" {
		doc.Statement.Account.Owner = &name{o.Account.Name}
	}
	var b bytes.Buffer
	b.WriteString(xml.Header)
	enc := xml.NewEncoder(&b)
	enc.Indent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("write statement %s: %w", o.ID, err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// entriesOf books the transfers, then what came back of them, then the extras,
// and returns what they add up to.
func entriesOf(transfers []transfer, o Options) ([]entry, ledger.Amount, error) {
	var executed, rest []Extra
	for _, t := range transfers {
		amount, err := ledger.ParseAmount(t.Amount.Value, ledger.EUR)
		if err != nil || t.Amount.Currency != string(ledger.EUR) || amount <= 0 {
			return nil, 0, ledger.Errorf(ledger.CodeInvalid, "transfer %s: %q %s is not an amount in EUR", t.EndToEndID, t.Amount.Value, t.Amount.Currency)
		}
		if o.Unexecuted[t.EndToEndID] {
			continue
		}
		creditor := payouts.Party{Name: t.Creditor, IBAN: t.CreditorIBAN, BIC: t.CreditorBIC}
		executed = append(executed, Extra{Amount: -amount, EndToEndID: t.EndToEndID, Counterparty: creditor, Remittance: t.Remittance})
		if reason := o.Returns[t.EndToEndID]; reason != "" {
			rest = append(rest, Extra{Amount: amount, EndToEndID: t.EndToEndID, Counterparty: creditor, Remittance: t.Remittance, ReturnReason: reason})
		}
	}
	var entries []entry
	var total ledger.Amount
	add := func(group ...Extra) error {
		e, amount, err := entryOf(group, o, len(entries)+1)
		if err != nil {
			return err
		}
		entries = append(entries, e)
		total, err = total.Add(amount)
		return err
	}
	if o.Batch && len(executed) > 0 {
		if err := add(executed...); err != nil {
			return nil, 0, err
		}
	} else {
		rest = append(executed, rest...)
	}
	for _, x := range append(rest, o.Extra...) {
		if err := add(x); err != nil {
			return nil, 0, err
		}
	}
	return entries, total, nil
}

// entryOf books a group of movements of one direction as one entry.
func entryOf(group []Extra, o Options, number int) (entry, ledger.Amount, error) {
	var total ledger.Amount
	details := make([]detail, len(group))
	for i, x := range group {
		var err error
		if total, err = total.Add(x.Amount); err != nil {
			return entry{}, 0, fmt.Errorf("entry %d: %w", number, err)
		}
		if x.Amount == 0 {
			return entry{}, 0, ledger.Errorf(ledger.CodeInvalid, "entry %d has no amount", number)
		}
		details[i] = detailOf(x, o.Account)
	}
	e := entry{
		Number: fmt.Sprint(number), Amount: amountOf(total), Sign: signOf(total), Reversal: group[0].Reversal, Status: "BOOK",
		BookingDate: o.BookingDate.String(), ValueDate: o.BookingDate.String(),
		Reference: fmt.Sprintf("%s-%d", clipped(o.ID, 28), number),
		Domain:    "PMNT", Family: "RCDT", SubFamily: "ESCT", Details: details,
	}
	switch {
	case group[0].ReturnReason != "":
		e.Family, e.SubFamily = "ICDT", "RRTN"
	case total < 0:
		e.Family = "ICDT"
	}
	return e, total, nil
}

// detailOf names the parties as a bank does: of a return, those of the transfer
// that was sent.
func detailOf(x Extra, holder payouts.Party) detail {
	d := detail{EndToEndID: x.EndToEndID, Amount: amountOf(x.Amount), Sign: signOf(x.Amount)}
	if d.EndToEndID == "" {
		d.EndToEndID = "NOTPROVIDED"
	}
	debtor, creditor := x.Counterparty, holder
	if x.Amount < 0 || x.ReturnReason != "" || x.Reversal {
		debtor, creditor = creditor, debtor
	}
	d.Parties = &parties{}
	d.Parties.Debtor, d.Parties.DebtorAccount = partyOf(debtor)
	d.Parties.Creditor, d.Parties.CreditorAccount = partyOf(creditor)
	if x.Remittance != "" {
		d.Remittance = &unstructured{x.Remittance}
	}
	if x.ReturnReason != "" {
		d.Return = &returned{Code: x.ReturnReason}
	}
	return d
}

func partyOf(p payouts.Party) (*partyName, *partyAccount) {
	var named *partyName
	var acct *partyAccount
	if p.Name != "" {
		named = &partyName{p.Name}
	}
	if p.IBAN != "" {
		acct = &partyAccount{p.IBAN}
	}
	return named, acct
}

func balanceOf(code string, a ledger.Amount, on ledger.Date) balance {
	return balance{Code: code, Amount: amountOf(a), Sign: signOf(a), Date: on.String()}
}

// amountOf writes an amount without its sign, which stands in CdtDbtInd.
func amountOf(a ledger.Amount) money {
	return money{Currency: "EUR", Value: strings.TrimPrefix(a.Format(ledger.EUR), "-")}
}

func signOf(a ledger.Amount) string {
	if a < 0 {
		return "DBIT"
	}
	return "CRDT"
}

func clipped(s string, most int) string {
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most])
	}
	return s
}
