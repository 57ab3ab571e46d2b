package payouts

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// FindPayouts returns the payouts with the given ids, by id. Ids that no payout
// has are left out.
func FindPayouts(ctx context.Context, tx *sqldb.Tx, ids []uuid.UUID) (map[uuid.UUID]Payout, error) {
	found := make(map[uuid.UUID]Payout, len(ids))
	for page := range slices.Chunk(ids, MaxPage) {
		list, err := sqldb.Collect(ctx, tx, payoutSelect+" WHERE "+tx.AnyUUID("p.id", 1), []any{page}, scanPayout)
		if err != nil {
			return nil, fmt.Errorf("find %d payouts: %w", len(ids), err)
		}
		for _, p := range list {
			found[p.ID] = p
		}
	}
	return found, nil
}

// ItemTotal adds up the items of a payout.
type ItemTotal struct {
	Items int
	// Amount is what the items say, Posted what the ledger's postings behind them
	// say, in minor units.
	Amount, Posted ledger.Amount
	// Foreign counts the items whose posting credits another account than the payee's.
	Foreign int
}

// TotalItems adds up the items of payouts, by payout. A payout without any is
// left out.
func TotalItems(ctx context.Context, tx *sqldb.Tx, payoutIDs []uuid.UUID) (map[uuid.UUID]ItemTotal, error) {
	totals := make(map[uuid.UUID]ItemTotal, len(payoutIDs))
	query := `SELECT i.payout_id, COUNT(*), CAST(SUM(i.amount) AS %[1]s), CAST(SUM(d.amount) AS %[1]s),
			CAST(SUM(CASE WHEN a.id = p.account_id THEN 0 ELSE 1 END) AS %[1]s)
		FROM payout_items AS i
		JOIN payouts AS p ON p.id = i.payout_id
		JOIN requests AS q ON q.id = i.transaction_id
		JOIN postings AS d ON d.page_id = q.page_id AND d.line = q.line + i.posting
		JOIN accounts AS a ON a.no = d.credit_no
		WHERE %[2]s GROUP BY i.payout_id`
	for page := range slices.Chunk(payoutIDs, MaxPage) {
		type row struct {
			id uuid.UUID
			ItemTotal
		}
		list, err := sqldb.Collect(ctx, tx, fmt.Sprintf(query, tx.Int8(), tx.AnyUUID("i.payout_id", 1)), []any{page}, func(rows *sqldb.Rows) (row, error) {
			var r row
			err := rows.Scan(&r.id, &r.Items, &r.Amount, &r.Posted, &r.Foreign)
			return r, err
		})
		if err != nil {
			return nil, fmt.Errorf("add up the items of %d payouts: %w", len(payoutIDs), err)
		}
		for _, r := range list {
			totals[r.id] = r.ItemTotal
		}
	}
	return totals, nil
}

// EntriesOfPayouts returns the bank's movements that name one of the given
// payouts, by booking date, statement, entry and detail.
func EntriesOfPayouts(ctx context.Context, tx *sqldb.Tx, payoutIDs []uuid.UUID) ([]StoredEntry, error) {
	var list []StoredEntry
	for page := range slices.Chunk(payoutIDs, MaxPage) {
		part, err := sqldb.Collect(ctx, tx, entrySelect+" WHERE "+tx.AnyUUID("e.payout_id", 1)+
			" ORDER BY e.booking_date, s.closing_date, s.sequence, s.statement_id, e.entry, e.detail", []any{page}, scanEntry)
		if err != nil {
			return nil, fmt.Errorf("bank entries of %d payouts: %w", len(payoutIDs), err)
		}
		list = append(list, part...)
	}
	return list, nil
}

// InTransit adds up what was on its way to payees at the end of a day: the net
// amounts of the payouts that had been approved, and neither cancelled, rejected nor paid.
func InTransit(ctx context.Context, tx *sqldb.Tx, on ledger.Date) (ledger.Amount, error) {
	var total ledger.Amount
	err := tx.QueryRow(ctx, "SELECT CAST(COALESCE(SUM(net), 0) AS "+tx.Int8()+`) FROM payouts WHERE approved_on <= $1
		AND (settled_on IS NULL OR settled_on > $1) AND (cancelled_on IS NULL OR cancelled_on > $1)
		AND (rejected_on IS NULL OR rejected_on > $1)`, []any{on}, &total)
	if err != nil {
		return 0, fmt.Errorf("add up the payouts on their way on %s: %w", on, err)
	}
	return total, nil
}
