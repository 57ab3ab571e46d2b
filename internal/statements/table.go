package statements

import (
	"encoding/hex"
	"fmt"

	"tweetledger/ledger"
	"tweetledger/reports"
)

// Table shows a statement as it was issued.
func (s Signed) Table() reports.Table {
	cash := func(a ledger.Amount) reports.Cash { return reports.Cash{Amount: a, Currency: s.Currency} }
	digest := s.Digest()
	debits, credits := s.turnover()
	table := reports.Table{
		Name:        "donation_statement_issued",
		Title:       fmt.Sprintf("Donation statement %d for %s", s.Number, s.Name),
		Description: fmt.Sprintf("From %s to %s, by %s; amounts that are paid out or kept are negative", s.From, s.To, s.Issuer),
		GeneratedAt: s.IssuedAt,
		Facts: []reports.Fact{
			{Name: "number", Title: "Statement", Value: s.Number}, {Name: "payee", Title: "Payee", Value: s.Payee},
			{Name: "from", Title: "From", Value: s.From}, {Name: "to", Title: "To", Value: s.To},
			{Name: "opening_payable", Title: "Owed before", Value: cash(s.Opening)}, {Name: "credits", Title: "Added", Value: cash(credits)},
			{Name: "debits", Title: "Taken off", Value: cash(-debits)}, {Name: "closing_payable", Title: "Owed at the end", Value: cash(s.Closing)},
		},
		Columns: []reports.Column{
			{Name: "effective_date", Title: "Date", Kind: reports.Day}, {Name: "entry", Title: "Entry", Kind: reports.Text},
			{Name: "reference", Title: "Reference", Kind: reports.Text}, {Name: "donor", Title: "Donor", Kind: reports.Text},
			{Name: "end_to_end_id", Title: "Payout", Kind: reports.Text}, {Name: "payout_state", Title: "State", Kind: reports.Text},
			{Name: "settled_on", Title: "Paid on", Kind: reports.Day}, {Name: "bank_reference", Title: "Bank reference", Kind: reports.Text},
			{Name: "return_reason", Title: "Returned for", Kind: reports.Text}, {Name: "reconciled", Title: "On the bank's statement", Kind: reports.Flag},
			{Name: "amount", Title: "Amount", Kind: reports.Money},
		},
		Notes: []string{
			"States are those of the day of issue. What was recorded later, for whatever day, is on a later statement.",
			fmt.Sprintf("Signed with key %s; SHA-256 %s.", ledger.KeyID(s.PublicKey), hex.EncodeToString(digest[:])),
		},
	}
	text := func(t string) any {
		if t == "" {
			return nil
		}
		return t
	}
	late := 0
	for _, l := range s.Lines {
		var settled any
		if l.Reconciled() {
			settled = l.SettledOn
		}
		if l.Date.Before(s.From) {
			late++
		}
		table.Rows = append(table.Rows, reports.Row{Cells: []any{l.Date, l.Entry, l.Reference, text(l.Donor), text(l.EndToEndID), text(l.PayoutState),
			settled, text(l.BankReference), text(l.ReturnReason), l.Reconciled(), cash(l.Amount)}})
	}
	if late > 0 {
		table.Notes = append(table.Notes, fmt.Sprintf("Of these lines %d are of days that had been stated before: they were recorded after that.", late))
	}
	return table
}
