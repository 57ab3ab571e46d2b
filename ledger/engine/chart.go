package engine

import (
	"context"
	"fmt"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// MaxChartEntries bounds one call of SetChart: a dozen categories with decades of
// changes each.
const MaxChartEntries = 1000

// SetChart adds dated entries to the chart of accounts, or replaces those of the
// same category and date. All entries are stored, or none.
func (e *Engine) SetChart(ctx context.Context, entries []ledger.ChartEntry) error {
	if len(entries) > MaxChartEntries {
		return ledger.Errorf(ledger.CodeInvalid, "%d chart entries at once; at most %d are taken", len(entries), MaxChartEntries)
	}
	for i, entry := range entries {
		if err := entry.Validate(); err != nil {
			return fmt.Errorf("chart entry %d: %w", i+1, err)
		}
	}
	err := e.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		for _, entry := range entries {
			_, err := tx.Exec(ctx, `INSERT INTO chart_entries (category, valid_from, number, label) VALUES ($1, $2, $3, $4)
				ON CONFLICT (category, valid_from) DO UPDATE SET number = excluded.number, label = excluded.label`,
				string(entry.Category), entry.ValidFrom, entry.Number, entry.Label)
			if err != nil {
				return fmt.Errorf("store chart entry %s: %w", entry.Category, err)
			}
		}
		return nil
	})
	return asLedgerError(err)
}

// Chart returns the chart of accounts as it is on a date.
func Chart(ctx context.Context, tx *sqldb.Tx, on ledger.Date) (map[ledger.Category]ledger.ChartEntry, error) {
	chart := map[ledger.Category]ledger.ChartEntry{}
	err := tx.Each(ctx, "SELECT category, valid_from, number, label FROM chart_entries WHERE valid_from <= $1 ORDER BY category, valid_from",
		[]any{on}, func(rows *sqldb.Rows) error {
			var entry ledger.ChartEntry
			if err := rows.Scan(&entry.Category, &entry.ValidFrom, &entry.Number, &entry.Label); err != nil {
				return err
			}
			chart[entry.Category] = entry // the newest comes last
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("read the chart of accounts: %w", err)
	}
	return chart, nil
}
