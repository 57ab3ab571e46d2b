package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// FindTransactions returns the transactions with the given ids, with their
// postings, by id. Ids that no transaction has are left out.
func FindTransactions(ctx context.Context, tx *sqldb.Tx, ids []uuid.UUID) (map[uuid.UUID]ledger.Transaction, error) {
	found := make(map[uuid.UUID]ledger.Transaction, len(ids))
	for page := range slices.Chunk(ids, MaxPage) {
		part, err := transactionsByID(ctx, tx, page)
		if err != nil {
			return nil, fmt.Errorf("find %d transactions: %w", len(ids), err)
		}
		list := slices.Collect(maps.Values(part))
		if err := addNumbers(ctx, tx, list); err != nil {
			return nil, err
		}
		for _, t := range list {
			found[t.ID] = t
		}
	}
	return found, nil
}

// FindReversals returns, for those of the given transactions that were reversed,
// the id of the transaction that did it: the last one, where several reversed a
// part each.
func FindReversals(ctx context.Context, tx *sqldb.Tx, ids []uuid.UUID) (map[uuid.UUID]uuid.UUID, error) {
	found := map[uuid.UUID]uuid.UUID{}
	for page := range slices.Chunk(ids, MaxPage) {
		err := tx.Each(ctx, "SELECT reverses, transaction_id FROM postings WHERE reverses IS NOT NULL AND "+
			tx.AnyUUID("reverses", 1)+" ORDER BY page_id, line", []any{page},
			func(rows *sqldb.Rows) error {
				var reversed, by uuid.UUID
				err := rows.Scan(&reversed, &by)
				found[reversed] = by
				return err
			})
		if err != nil {
			return nil, fmt.Errorf("find reversals of %d transactions: %w", len(ids), err)
		}
	}
	return found, nil
}
