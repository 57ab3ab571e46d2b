package reports

import (
	"cmp"
	"context"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

// donationLine is a posting on the payee's account, and what explains it.
type donationLine struct {
	transaction ledger.Transaction
	posting     int
	kind        entryKind
	amount      ledger.Amount // signed: what is owed grows or shrinks by it
	donor       string
	order       string // the reference that the donor was told, of a donation
	payout      *payouts.Payout
}

// itemKey is a donation as payouts know it: a posting of a transaction.
type itemKey struct {
	transaction uuid.UUID
	posting     int
}

// addPage explains a page of the account's transactions and adds their lines.
func (s *donationStatement) addPage(ctx context.Context, transactions []ledger.Transaction) error {
	paidBy, err := s.payoutsOf(ctx, transactions)
	if err != nil {
		return err
	}
	for _, t := range transactions {
		lines, err := s.explain(t)
		if err != nil {
			return err
		}
		for _, line := range lines {
			item := itemKey{t.ID, line.posting}
			if payout, ok := paidBy[item]; ok {
				line.payout = &payout
			}
			if err := s.addLine(line); err != nil {
				return err
			}
		}
	}
	return nil
}

// payoutsOf returns the live payouts that the transactions' donations are in.
func (s *donationStatement) payoutsOf(ctx context.Context, transactions []ledger.Transaction) (map[itemKey]payouts.Payout, error) {
	ids := make([]uuid.UUID, len(transactions))
	for i, t := range transactions {
		ids[i] = t.ID
	}
	items, err := payouts.ItemsOfDonations(ctx, s.tx, ids)
	if err != nil {
		return nil, err
	}
	paidBy := map[itemKey]payouts.Payout{}
	for _, item := range items {
		if payout, ok := s.payouts[item.PayoutID]; ok && item.Live {
			paidBy[itemKey{item.TransactionID, item.Posting}] = payout
		}
	}
	return paidBy, nil
}

// explain says what each of a transaction's postings on the payee's account is,
// and checks it against the payment or payout that it belongs to.
func (s *donationStatement) explain(t ledger.Transaction) ([]donationLine, error) {
	var lines []donationLine
	var total ledger.Amount
	for i, p := range t.Postings {
		line := donationLine{transaction: t, posting: i, kind: entryOther}
		switch s.account.ID {
		case p.Credit:
			line.amount = p.Amount
		case p.Debit:
			line.amount = -p.Amount
		default:
			continue
		}
		var err error
		if total, err = total.Add(line.amount); err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	if d, ok := s.donations[t.ID]; ok {
		delete(s.donations, t.ID)
		return lines, s.explainDonation(lines, d, total)
	}
	if step, ok := s.steps[t.ID]; ok {
		delete(s.steps, t.ID)
		return lines, s.explainPayout(lines, step)
	}
	if t.Reverses != uuid.Nil {
		s.reversed[t.Reverses] = true
		for i := range lines {
			lines[i].kind = entryReversal
		}
	}
	return lines, nil
}

func (s *donationStatement) explainDonation(lines []donationLine, d payments.Donation, total ledger.Amount) error {
	t := lines[0].transaction
	if total != d.Amount || s.account.Currency != d.Currency || t.EffectiveDate != d.EffectiveDate {
		return s.mismatch("donation %s is %s %s on %s, but the ledger has %s on %s", d.Key, d.Amount.Format(d.Currency), d.Currency,
			d.EffectiveDate, s.money(total), t.EffectiveDate)
	}
	for i := range lines {
		lines[i].kind, lines[i].donor, lines[i].order = entryDonation, d.Donor, d.Reference()
	}
	return nil
}

func (s *donationStatement) explainPayout(lines []donationLine, step payoutStep) error {
	commissions, collected := ledger.SystemAccountID(payments.AccountCommissions), ledger.SystemAccountID(payments.AccountVAT)
	var net, commission, vat ledger.Amount
	for i := range lines {
		line := &lines[i]
		line.payout = &step.payout
		p := line.transaction.Postings[line.posting]
		switch {
		case p.Debit == commissions || p.Credit == commissions:
			line.kind = step.commission
			commission += line.amount
		case p.Debit == collected || p.Credit == collected:
			line.kind = step.vat
			vat += line.amount
		default:
			line.kind = step.net
			net += line.amount
		}
	}
	want := step.payout
	t := lines[0].transaction
	if net != step.sign*want.Net || commission != step.sign*want.Commission || vat != step.sign*want.VAT || t.EffectiveDate != step.on {
		return s.mismatch("payout %s is %s, %s of commission and %s of VAT on %s, but the ledger has %s, %s and %s on %s", want.EndToEndID,
			s.money(step.sign*want.Net), s.money(step.sign*want.Commission), s.money(step.sign*want.VAT), step.on, s.money(net), s.money(commission), s.money(vat), t.EffectiveDate)
	}
	return nil
}

func (s *donationStatement) addLine(line donationLine) error {
	if len(s.lines) == MaxDonationLines {
		return tooManyLines()
	}
	t := line.transaction
	var err error
	if s.balance, err = s.balance.Add(line.amount); err != nil {
		return err
	}
	if s.sums[line.kind] == nil {
		s.sums[line.kind] = &sum{}
	}
	s.sums[line.kind].add(line.amount)
	if line.kind == entryDonation && line.payout == nil {
		if s.unpaid[t.ID] == nil {
			s.unpaid[t.ID] = &sum{}
		}
		s.unpaid[t.ID].add(line.amount)
	}
	reference := line.reference()
	if line.kind == entryOther {
		reference += " " + t.Label
	}
	shown := DonationLine{TransactionID: t.ID, Posting: line.posting, Date: t.EffectiveDate, Entry: string(line.kind), Reference: reference,
		Donor: line.donor, Amount: line.amount, Balance: s.balance}
	if p := line.payout; p != nil {
		shown.EndToEndID, shown.PayoutState, shown.SettledOn, shown.ReturnReason = p.EndToEndID, string(p.State), p.SettledOn, cmp.Or(p.ReturnReason, p.RejectReason)
		shown.BankReference = cmp.Or(p.BankReference, p.BankStatement)
	}
	s.lines = append(s.lines, shown)
	return nil
}

// DonationLine is one posting on the account of a charity or business, and what is
// known of it.
type DonationLine struct {
	TransactionID uuid.UUID
	Posting       int // from 0
	Date          ledger.Date
	Entry         string // what it is: "donation", "commission", "payout"
	Reference     string
	Donor         string // name or pseudonym, of a donation
	// EndToEndID and what follows are of the payout that it is part of, if any, as
	// that stands now.
	EndToEndID, PayoutState     string
	SettledOn                   ledger.Date // when the bank paid it; zero: it has not
	BankReference, ReturnReason string
	Amount                      ledger.Amount // minor units; what is owed grows or shrinks by it
	Balance                     ledger.Amount // what is owed after it
}

// cells are those of a row of the statement.
func (l DonationLine) cells(currency ledger.Currency) []any {
	cells := []any{l.Date, l.Entry, l.Reference}
	for _, text := range []string{l.Donor, l.EndToEndID, l.PayoutState} {
		cells = append(cells, textCell(text))
	}
	if l.SettledOn.IsZero() {
		cells = append(cells, nil)
	} else {
		cells = append(cells, l.SettledOn)
	}
	return append(cells, textCell(l.BankReference), textCell(l.ReturnReason), Cash{l.Amount, currency}, Cash{l.Balance, currency})
}

// textCell leaves the cell of an empty text empty.
func textCell(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// shortID is how much of a transaction's id a reference shows: enough beside the
// source, and little enough to read out on the telephone.
const shortID = 8

// reference of a line: for a donation that of its order, which the donor was told
// as well, so that charity, donor and bank speak of the same.
func (l donationLine) reference() string {
	t := l.transaction
	reference := t.ID.String()[:shortID]
	if l.order != "" {
		reference = l.order
	}
	if source, ok := sourceText(t.Source).(string); ok && t.Journal != ledger.JournalPayouts { // payouts have their column
		reference += " " + source
	}
	return reference
}
