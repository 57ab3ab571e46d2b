package engine

import (
	"context"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

const periodColumns = "id, fiscal_year, starts_on, ends_on, status"

func scanPeriod(rows *sqldb.Rows) (ledger.Period, error) {
	var p ledger.Period
	err := rows.Scan(&p.ID, &p.FiscalYear, &p.From, &p.To, &p.Status)
	return p, err
}

// closedPeriods returns the periods that are not open. There are twelve of a
// year at most.
func closedPeriods(ctx context.Context, tx *sqldb.Tx) ([]ledger.Period, error) {
	return sqldb.Collect(ctx, tx, "SELECT "+periodColumns+" FROM periods WHERE status <> 'open' ORDER BY starts_on", nil, scanPeriod)
}
