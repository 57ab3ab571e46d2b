package engine

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// ReversalsOf returns the transactions that reversed one, or a part of it, in the
// order of the journal: at most ledger.MaxPostings, since each posting is reversed
// once. Which postings each has undone, its own postings say (Posting.Reverses).
func ReversalsOf(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) ([]ledger.Transaction, error) {
	var ids []uuid.UUID
	err := tx.Each(ctx, fmt.Sprintf("SELECT transaction_id FROM postings WHERE reverses = $1 ORDER BY page_id, line LIMIT %d", ledger.MaxPostings),
		[]any{id}, func(rows *sqldb.Rows) error {
			var by uuid.UUID
			err := rows.Scan(&by)
			ids = append(ids, by)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("find the reversals of transaction %s: %w", id, err)
	}
	found, err := FindTransactions(ctx, tx, ids)
	if err != nil {
		return nil, err
	}
	list := make([]ledger.Transaction, 0, len(found))
	for _, by := range ids {
		t, ok := found[by]
		if !ok {
			return nil, fmt.Errorf("transaction %s, which reverses %s, is not where its request says; run verify", by, id)
		}
		list = append(list, t)
	}
	return list, nil
}
