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
	err := tx.Each(ctx, `SELECT b.currency, b.side, b.debits_posted, b.credits_posted, b.debits_pending, b.credits_pending, b.version
		FROM accounts AS a JOIN balances AS b ON b.account_no = a.no WHERE a.id = $1`, []any{accountID}, func(rows *sqldb.Rows) error {
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
	no, err := accountNo(ctx, tx, accountID)
	if err != nil {
		return ledger.Balance{}, err
	}
	b := ledger.Balance{AccountID: accountID, Currency: account.Currency, Side: account.Side}
	b.DebitsPosted, b.CreditsPosted, err = balanceByRollUp(ctx, tx, no, at)
	if err != nil {
		return ledger.Balance{}, fmt.Errorf("balance of account %s as of %s: %w", account.Code, at.EffectiveDate, err)
	}
	return b, nil
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

// Totals adds up the postings of every account that has any, in order of id. From
// the beginning of the book it is added up from roll-ups, as BalanceAsOf is; from a
// later date from the postings since.
func Totals(ctx context.Context, tx *sqldb.Tx, f TotalsFilter) ([]AccountTotal, error) {
	var source string
	var args []any
	if f.From.IsZero() {
		source, args = AsOf{f.To, f.RecordedAt}.totalsByRollUp()
	} else {
		source, args = f.postings()
	}
	query := fmt.Sprintf(`SELECT a.id, CAST(SUM(sides.debits) AS %[2]s), CAST(SUM(sides.credits) AS %[2]s) FROM (%[1]s) AS sides
		JOIN accounts AS a ON a.no = sides.no GROUP BY a.id ORDER BY a.id`, source, tx.Int8())
	var totals []AccountTotal
	err := tx.Each(ctx, query, args, func(rows *sqldb.Rows) error {
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

// postings is the source of the totals of the postings that the filter selects.
func (f TotalsFilter) postings() (source string, args []any) {
	var q sqldb.Where
	source = "postings AS p"
	overPages(&q, "p.page_id", f.From, f.To)
	if !f.RecordedAt.IsZero() {
		source += " JOIN pages AS g ON g.id = p.page_id"
		q.And("g.recorded_at <= ?", f.RecordedAt)
	}
	return fmt.Sprintf(`SELECT p.debit_no AS no, SUM(p.amount) AS debits, 0 AS credits FROM %[1]s%[2]s GROUP BY p.debit_no
		UNION ALL SELECT p.credit_no, 0, SUM(p.amount) FROM %[1]s%[2]s GROUP BY p.credit_no`, source, q.Clause()), q.Args
}
