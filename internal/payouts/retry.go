package payouts

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
)

// linkRetries makes the payouts of a new batch point to the rejected or returned one
// whose donations they pay out again: to the last, where there are several. list are
// the batch's payouts, in memory, and learn it, too.
func linkRetries(ctx context.Context, tx *sqldb.Tx, b Batch, list []Payout) error {
	failed := map[uuid.UUID]uuid.UUID{}
	names := map[uuid.UUID]string{}
	err := tx.Each(ctx, `SELECT p.id, o.id, o.end_to_end_id FROM payouts AS p JOIN payouts AS o ON o.payee_id = p.payee_id
		WHERE p.batch_id = $1 AND o.state IN ('rejected', 'returned')
			AND NOT EXISTS (SELECT 1 FROM payouts AS r WHERE r.retry_of = o.id AND r.state <> 'cancelled')
			AND EXISTS (SELECT 1 FROM payout_items AS mine JOIN payout_items AS his ON his.transaction_id = mine.transaction_id AND his.posting = mine.posting
				WHERE mine.payout_id = p.id AND his.payout_id = o.id)
		ORDER BY p.id, o.end_to_end_id`, []any{b.ID}, func(rows *sqldb.Rows) error {
		var id, of uuid.UUID
		var name string
		err := rows.Scan(&id, &of, &name)
		failed[id], names[id] = of, name
		return err
	})
	if err != nil {
		return fmt.Errorf("look for earlier attempts: %w", err)
	}
	var retries []int
	for i := range list {
		if name, ok := names[list[i].ID]; ok {
			list[i].RetryOf = name
			retries = append(retries, i)
		}
	}
	_, err = tx.ExecRows(ctx, "UPDATE payouts SET retry_of = d.of_payout FROM ROWS AS d(payout, of_payout) WHERE payouts.id = d.payout",
		[]sqldb.Column{{Name: "payout", Type: "uuid"}, {Name: "of_payout", Type: "uuid"}}, len(retries), func(i int) []any {
			id := list[retries[i]].ID
			return []any{id, failed[id]}
		})
	if err != nil {
		return fmt.Errorf("point to earlier attempts: %w", err)
	}
	return nil
}
