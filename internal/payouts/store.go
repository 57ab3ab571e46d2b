package payouts

import (
	"context"
	"fmt"
	"slices"

	"tweetledger/internal/sqldb"
)

func insertBatch(ctx context.Context, tx *sqldb.Tx, b Batch, list []collected, number int64) error {
	_, err := tx.Exec(ctx, `INSERT INTO payout_batches (id, reference, prepared_on, number, state, currency, until_date, execution_date, message_id,
		debtor_name, debtor_iban, debtor_bic, payouts, gross, commission, vat, net, created_by, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)`,
		b.ID, b.Reference, b.PreparedOn, number, string(b.State), string(b.Currency), b.Until, b.ExecutionDate, b.MessageID,
		b.Debtor.Name, b.Debtor.IBAN, b.Debtor.BIC, int64(b.Payouts), int64(b.Gross), int64(b.Commission), int64(b.VAT), int64(b.Net), b.CreatedBy, b.CreatedAt)
	if err != nil {
		return fmt.Errorf("store the batch: %w", err)
	}
	err = tx.Insert(ctx, "payouts", []sqldb.Column{
		{Name: "id", Type: "uuid"}, {Name: "batch_id", Type: "uuid"}, {Name: "ordinal", Type: "int8"}, {Name: "payee_id", Type: "uuid"},
		{Name: "account_id", Type: "uuid"}, {Name: "currency", Type: "text"}, {Name: "donations", Type: "int8"}, {Name: "gross", Type: "int8"},
		{Name: "commission", Type: "int8"}, {Name: "vat", Type: "int8"}, {Name: "net", Type: "int8"}, {Name: "end_to_end_id", Type: "text"}, {Name: "creditor_name", Type: "text"},
		{Name: "creditor_iban", Type: "text"}, {Name: "creditor_bic", Type: "text"},
		{Name: "creditor_street", Type: "text"}, {Name: "creditor_building", Type: "text"}, {Name: "creditor_post_code", Type: "text"},
		{Name: "creditor_town", Type: "text"}, {Name: "creditor_country", Type: "text"}, {Name: "remittance", Type: "text"}, {Name: "state", Type: "text"},
	}, len(list), func(i int) []any {
		p := list[i]
		return []any{p.ID, b.ID, int64(p.Ordinal), p.PayeeID, p.AccountID, string(p.Currency), int64(p.Donations), int64(p.Gross),
			int64(p.Commission), int64(p.VAT), int64(p.Net), p.EndToEndID, p.Creditor.Name, p.Creditor.IBAN, p.Creditor.BIC,
			p.CreditorAddress.Street, p.CreditorAddress.Building, p.CreditorAddress.PostCode, p.CreditorAddress.Town, p.CreditorAddress.Country, p.Remittance, string(p.State)}
	})
	if err != nil {
		return fmt.Errorf("store the payouts: %w", err)
	}
	var items []Item
	for _, c := range list {
		items = append(items, c.items...)
	}
	err = tx.Insert(ctx, "payout_items", []sqldb.Column{
		{Name: "payout_id", Type: "uuid"}, {Name: "ordinal", Type: "int8"}, {Name: "transaction_id", Type: "uuid"},
		{Name: "posting", Type: "int8"}, {Name: "amount", Type: "int8"}, {Name: "live", Type: "int8"},
	}, len(items), func(i int) []any {
		return []any{items[i].PayoutID, int64(items[i].Ordinal), items[i].TransactionID, int64(items[i].Posting), int64(items[i].Amount), sqldb.Flag(items[i].Live)}
	})
	if err != nil {
		return fmt.Errorf("store the donations of the payouts: %w", err)
	}
	return nil
}

// changeOne runs an update that must change exactly one row.
func changeOne(ctx context.Context, tx *sqldb.Tx, what, query string, args ...any) error {
	n, err := tx.Exec(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if n != 1 {
		return fmt.Errorf("%s: %d rows were changed, not 1", what, n)
	}
	return nil
}

func sortedUnique(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}
