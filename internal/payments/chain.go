package payments

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
)

// What reconciliation reads of many edit chains at once. Each function takes any
// number of keys and asks for MaxPage of them at a time.

// OrdersOfKeys returns the orders of edit chains, by key and version.
func OrdersOfKeys(ctx context.Context, tx *sqldb.Tx, keys []string) ([]Order, error) {
	var list []Order
	for page := range slices.Chunk(keys, MaxPage) {
		part, err := orders(ctx, tx, tx.AnyText("order_key", 1), []any{page}, " ORDER BY order_key, version")
		if err != nil {
			return nil, fmt.Errorf("orders of %d edit chains: %w", len(keys), err)
		}
		list = append(list, part...)
	}
	return list, nil
}

// MessagesOfChains returns all versions that the inbox has of edit chains, by
// first id and version.
func MessagesOfChains(ctx context.Context, tx *sqldb.Tx, channel string, firstIDs []string) ([]InboxMessage, error) {
	var list []InboxMessage
	for page := range slices.Chunk(firstIDs, MaxPage) {
		part, err := messages(ctx, tx, "channel = $1 AND "+tx.AnyText("first_id", 2), []any{channel, page}, " ORDER BY first_id, version")
		if err != nil {
			return nil, fmt.Errorf("messages of %d edit chains: %w", len(firstIDs), err)
		}
		list = append(list, part...)
	}
	return list, nil
}

// ReceiptsOfOrders returns the replies that tell payers that their orders were
// posted, oldest first.
func ReceiptsOfOrders(ctx context.Context, tx *sqldb.Tx, orderIDs []uuid.UUID) ([]OutboxRow, error) {
	var list []OutboxRow
	for page := range slices.Chunk(orderIDs, MaxPage) {
		part, err := outboxRowsBy(ctx, tx, tx.IndexedBy("outbox_of_order"), "kind = 'reply' AND template = $1 AND order_id IS NOT NULL AND "+tx.AnyUUID("order_id", 2), []any{string(StatePosted), page},
			" ORDER BY created_at, id")
		if err != nil {
			return nil, fmt.Errorf("receipts of %d orders: %w", len(orderIDs), err)
		}
		list = append(list, part...)
	}
	return list, nil
}

// AccountsOfParties returns the ledger account of each of the given customers
// (their wallet) and payees (what they are owed).
func AccountsOfParties(ctx context.Context, tx *sqldb.Tx, ids []uuid.UUID) (map[uuid.UUID]uuid.UUID, error) {
	accounts := make(map[uuid.UUID]uuid.UUID, len(ids))
	for page := range slices.Chunk(ids, MaxPage) {
		err := tx.Each(ctx, "SELECT id, wallet_id FROM customers WHERE "+tx.AnyUUID("id", 1)+
			" UNION ALL SELECT id, account_id FROM payees WHERE "+tx.AnyUUID("id", 1), []any{page}, func(rows *sqldb.Rows) error {
			var party, account uuid.UUID
			err := rows.Scan(&party, &account)
			accounts[party] = account
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("accounts of %d parties: %w", len(ids), err)
		}
	}
	return accounts, nil
}
