package payouts

import (
	"context"
	"fmt"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// DateOf returns the day that a finding is about, by the calendar of loc: of a statement
// the one on which it closes, of a settlement file the last one that it settles, else
// the day on which it was found.
func (f StoredFinding) DateOf(ctx context.Context, tx *sqldb.Tx, loc *time.Location) (ledger.Date, error) {
	query, args := "", []any{f.Account, f.Statement}
	switch f.Source {
	case SourceStatement:
		query = "SELECT closing_date FROM bank_statements WHERE iban = $1 AND statement_id = $2"
	case SourceSettlement:
		query = `SELECT MAX(l.settled_on) FROM settlement_lines AS l JOIN settlement_files AS f ON f.id = l.file_id
			WHERE f.acquirer = $1 AND f.file_id = $2 AND f.state = 'complete'`
	default:
		return ledger.DateIn(f.FoundAt, loc), nil
	}
	var on ledger.Date
	err := tx.QueryRow(ctx, query, args, &on)
	if err != nil && !sqldb.IsNoRows(err) {
		return on, fmt.Errorf("read the day of %s %s: %w", f.Source, f.Statement, err)
	}
	if on.IsZero() {
		on = ledger.DateIn(f.FoundAt, loc)
	}
	return on, nil
}

// OfStatements reports whether a finding is about how statements follow on each other,
// which they say themselves.
func (k FindingKind) OfStatements() bool {
	return k == SequenceGap || k == BalanceGap || k == SequenceRepeated
}
