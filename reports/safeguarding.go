package reports

import (
	"context"
	"fmt"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/reconciliation"
)

// SafeguardingParams select the days of the daily proof.
type SafeguardingParams struct {
	From, To    ledger.Date // effective dates, both inclusive
	Currency    ledger.Currency
	GeneratedAt time.Time
}

// Safeguarding lists, for each day, what customers are owed and what covers it, as the
// ledger has it (CMF L.526-32). A day whose cover is below zero is a break of the job
// safeguarding of package reconciliation, which also looks at the bank's statements.
func Safeguarding(ctx context.Context, tx *sqldb.Tx, p SafeguardingParams) (Table, error) {
	proofs, err := reconciliation.Proofs(ctx, tx, p.From, p.To, p.Currency)
	if err != nil {
		return Table{}, fmt.Errorf("safeguarding: %w", err)
	}
	table := Table{
		Name: "safeguarding", Title: "Safeguarding, day by day", GeneratedAt: p.GeneratedAt,
		Description: fmt.Sprintf("At the end of each day from %s to %s, by effective date.", p.From, p.To),
		Columns: []Column{{"date", "Date", Day}, {"owed", "Owed to customers", Money}, {"bank", "On the account", Money}, {"cards", "From the acquirer", Money},
			{"suspense", "In suspense", Money}, {"cover", "Beyond what is owed", Money}, {"covered", "Covered", Flag}},
		Notes: []string{"Owed: wallets, charities and businesses, unclaimed payments, and payouts on their way (4671, 4672, 4673, 4675). " +
			"What is in suspense (4710) may be somebody's and covers nothing. The rest is own money that waits for its sweep."},
	}
	covered := true
	for _, proof := range proofs {
		cover, err := proof.Cover()
		if err != nil {
			return Table{}, fmt.Errorf("safeguarding on %s: %w", proof.Date, err)
		}
		covered = covered && cover >= 0
		cash := func(a ledger.Amount) Cash { return Cash{a, p.Currency} }
		table.Rows = append(table.Rows, Row{Cells: []any{proof.Date, cash(proof.Owed), cash(proof.Bank), cash(proof.Cards), cash(proof.Unknown), cash(cover), cover >= 0}})
	}
	table.Facts = []Fact{{Name: "covered", Title: "Covered on all days", Value: covered}}
	return table, nil
}
