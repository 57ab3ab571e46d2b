package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// FindAccounts returns the accounts with the given ids, by id. Ids that no
// account has are left out.
func FindAccounts(ctx context.Context, tx *sqldb.Tx, ids []uuid.UUID) (map[uuid.UUID]ledger.Account, error) {
	found := make(map[uuid.UUID]ledger.Account, len(ids))
	for page := range slices.Chunk(ids, MaxPage) {
		err := tx.Each(ctx, "SELECT "+accountColumns+" FROM accounts WHERE "+tx.AnyUUID("id", 1), []any{page},
			func(rows *sqldb.Rows) error {
				a, err := scanAccount(rows)
				found[a.ID] = a
				return err
			})
		if err != nil {
			return nil, fmt.Errorf("find %d accounts: %w", len(ids), err)
		}
	}
	return found, nil
}
