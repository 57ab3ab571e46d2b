package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// FindBalance returns what stands on an account now, or CodeNotFound.
func FindBalance(ctx context.Context, tx *sqldb.Tx, accountID uuid.UUID) (ledger.Balance, error) {
	var b ledger.Balance
	found := false
	err := tx.Each(ctx, `SELECT currency, side, debits_posted, credits_posted, debits_pending, credits_pending, version
		FROM balances WHERE account_id = $1`, []any{accountID}, func(rows *sqldb.Rows) error {
		var shard ledger.Balance
		if err := rows.Scan(&shard.Currency, &shard.Side, &shard.DebitsPosted, &shard.CreditsPosted,
			&shard.DebitsPending, &shard.CreditsPending, &shard.Version); err != nil {
			return err
		}
		found = true
		total := delta{b.DebitsPosted, b.CreditsPosted, b.DebitsPending, b.CreditsPending}
		if err := total.add(delta{shard.DebitsPosted, shard.CreditsPosted, shard.DebitsPending, shard.CreditsPending}); err != nil {
			return err
		}
		b = ledger.Balance{
			AccountID: accountID, Currency: shard.Currency, Side: shard.Side,
			DebitsPosted: total.debitsPosted, CreditsPosted: total.creditsPosted,
			DebitsPending: total.debitsPending, CreditsPending: total.creditsPending,
			Version: b.Version + shard.Version,
		}
		return nil
	})
	if err != nil {
		return ledger.Balance{}, fmt.Errorf("read balance of account %s: %w", accountID, err)
	}
	if !found {
		return ledger.Balance{}, ledger.Errorf(ledger.CodeNotFound, "there is no account %s", accountID)
	}
	return b, nil
}

// AsOf is a point in both times of the book. A zero part is no bound.
type AsOf struct {
	EffectiveDate ledger.Date // effective on this date or before
	RecordedAt    time.Time   // recorded at this instant or before
}

// BalanceAsOf returns what stood on an account by its postings up to a point in
// time. Pending amounts and the version are those of no past time and stay 0.
func BalanceAsOf(ctx context.Context, tx *sqldb.Tx, accountID uuid.UUID, at AsOf) (ledger.Balance, error) {
	account, err := FindAccount(ctx, tx, accountID)
	if err != nil {
		return ledger.Balance{}, err
	}
	b := ledger.Balance{AccountID: accountID, Currency: account.Currency, Side: account.Side}
	for column, sum := range map[string]*ledger.Amount{"debit_account_id": &b.DebitsPosted, "credit_account_id": &b.CreditsPosted} {
		var q sqldb.Where
		q.And(column+" = ?", accountID)
		until(&q, at)
		err := tx.QueryRow(ctx, "SELECT CAST(COALESCE(SUM(amount), 0) AS "+tx.Int8()+") FROM postings"+q.Clause(), q.Args, sum)
		if err != nil {
			return ledger.Balance{}, fmt.Errorf("balance of account %s as of %s: %w", account.Code, at.EffectiveDate, err)
		}
	}
	return b, nil
}

// until adds the conditions of a point in time.
func until(q *sqldb.Where, at AsOf) {
	if !at.EffectiveDate.IsZero() {
		q.And("effective_date <= ?", at.EffectiveDate)
	}
	if !at.RecordedAt.IsZero() {
		q.And("recorded_at <= ?", at.RecordedAt)
	}
}

// TotalsFilter selects postings to add up. Zero values select all.
type TotalsFilter struct {
	From, To   ledger.Date // effective dates, both inclusive
	RecordedAt time.Time   // recorded at this instant or before
}

// AccountTotal is what was posted to both sides of an account.
type AccountTotal struct {
	AccountID uuid.UUID
	Debits    ledger.Amount
	Credits   ledger.Amount
}

// Totals adds up the postings of every account that has any, in order of id.
func Totals(ctx context.Context, tx *sqldb.Tx, f TotalsFilter) ([]AccountTotal, error) {
	var q sqldb.Where
	if !f.From.IsZero() {
		q.And("effective_date >= ?", f.From)
	}
	until(&q, AsOf{EffectiveDate: f.To, RecordedAt: f.RecordedAt})
	query := fmt.Sprintf(`SELECT account_id, CAST(SUM(debits) AS %[2]s), CAST(SUM(credits) AS %[2]s) FROM (
		SELECT debit_account_id AS account_id, SUM(amount) AS debits, 0 AS credits FROM postings WHERE %[1]s GROUP BY debit_account_id
		UNION ALL
		SELECT credit_account_id, 0, SUM(amount) FROM postings WHERE %[1]s GROUP BY credit_account_id
	) AS sides GROUP BY account_id ORDER BY account_id`, q.Condition(), tx.Int8())
	var totals []AccountTotal
	err := tx.Each(ctx, query, q.Args, func(rows *sqldb.Rows) error {
		var t AccountTotal
		err := rows.Scan(&t.AccountID, &t.Debits, &t.Credits)
		totals = append(totals, t)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("add up postings: %w", err)
	}
	return totals, nil
}
