package engine

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

const holdColumns = `id, idempotency_key, debit_account_id, credit_account_id, amount, posted, currency, status, expires_at,
	recorded_at, closed_at, COALESCE(source_channel, ''), COALESCE(source_id, ''), source_date`

func scanHold(rows *sqldb.Rows) (ledger.Hold, error) {
	var h ledger.Hold
	err := rows.Scan(&h.ID, &h.Key, &h.Debit, &h.Credit, &h.Amount, &h.Posted, &h.Currency, &h.Status, &h.ExpiresAt,
		&h.RecordedAt, &h.ClosedAt, &h.Source.Channel, &h.Source.ID, &h.Source.Date)
	return h, err
}

// FindHold returns the hold with the given id, or CodeNotFound.
func FindHold(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) (ledger.Hold, error) {
	found, err := holdsByID(ctx, tx, []uuid.UUID{id})
	if err != nil {
		return ledger.Hold{}, fmt.Errorf("find hold %s: %w", id, err)
	}
	h, ok := found[id]
	if !ok {
		return ledger.Hold{}, ledger.Errorf(ledger.CodeNotFound, "there is no hold %s", id)
	}
	return h, nil
}

func holdsByID(ctx context.Context, tx *sqldb.Tx, ids []uuid.UUID) (map[uuid.UUID]ledger.Hold, error) {
	found := map[uuid.UUID]ledger.Hold{}
	if len(ids) == 0 {
		return found, nil
	}
	err := tx.Each(ctx, "SELECT "+holdColumns+" FROM holds WHERE "+tx.AnyUUID("id", 1), []any{ids}, func(rows *sqldb.Rows) error {
		h, err := scanHold(rows)
		found[h.ID] = h
		return err
	})
	return found, err
}

// DueHolds returns up to limit pending holds whose time has come, the oldest first.
func (e *Engine) DueHolds(ctx context.Context, tx *sqldb.Tx, limit int) ([]ledger.Hold, error) {
	if err := sqldb.CheckPage(limit, MaxPage); err != nil {
		return nil, err
	}
	var due []ledger.Hold
	err := tx.Each(ctx, fmt.Sprintf("SELECT %s FROM holds WHERE status = 'pending' AND expires_at <= $1 ORDER BY expires_at, id LIMIT %d",
		holdColumns, limit), []any{e.Now()}, func(rows *sqldb.Rows) error {
		h, err := scanHold(rows)
		due = append(due, h)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list holds that are due: %w", err)
	}
	return due, nil
}
