package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

var dayTable = []sqldb.Column{
	{Name: "account_no", Type: "int8"}, {Name: "effective_date", Type: "date"}, {Name: "currency", Type: "text"},
	{Name: "debits", Type: "int8"}, {Name: "credits", Type: "int8"},
}

// rollUp adds the pages of the round to the roll-ups, so that these hold at any
// time exactly what is sealed.
func (s *sealer) rollUp(ctx context.Context) error {
	ids := make([]int64, len(s.pages))
	for i, p := range s.pages {
		ids[i] = p.id
	}
	type day struct {
		account int64
		date    ledger.Date
	}
	type sums struct {
		currency        string
		debits, credits ledger.Amount
	}
	days := map[day]*sums{}
	err := s.tx.Each(ctx, `SELECT p.debit_no, p.credit_no, p.amount, p.currency, g.effective_date FROM postings AS p JOIN pages AS g ON g.id = p.page_id
		WHERE `+s.tx.AnyInt8("p.page_id", 1), []any{ids}, func(rows *sqldb.Rows) error {
		var debit, credit int64
		var amount ledger.Amount
		var currency string
		var date ledger.Date
		if err := rows.Scan(&debit, &credit, &amount, &currency, &date); err != nil {
			return err
		}
		for _, account := range []int64{debit, credit} {
			sum, ok := days[day{account, date}]
			if !ok {
				sum = &sums{currency: currency}
				days[day{account, date}] = sum
			}
			side := &sum.debits
			if account == credit {
				side = &sum.credits
			}
			total, err := side.Add(amount)
			if err != nil {
				return err
			}
			*side = total
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("add up sealed pages: %w", err)
	}
	keys := make([]day, 0, len(days))
	for k := range days {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b day) int { return cmp.Or(cmp.Compare(a.account, b.account), a.date.Compare(b.date)) })
	_, err = s.tx.ExecRows(ctx, `INSERT INTO account_days (account_no, effective_date, currency, debits, credits) SELECT * FROM ROWS AS d WHERE 1 = 1
		ON CONFLICT (account_no, effective_date) DO UPDATE SET debits = account_days.debits + excluded.debits,
			credits = account_days.credits + excluded.credits`, dayTable, len(keys), func(i int) []any {
		sum := days[keys[i]]
		return []any{keys[i].account, keys[i].date, sum.currency, int64(sum.debits), int64(sum.credits)}
	})
	if err != nil {
		return fmt.Errorf("store roll-ups: %w", err)
	}
	return nil
}

// balanceByRollUp adds up an account up to an effective date: the roll-ups of what
// is sealed, and the postings of what is not. Its cost follows the days on which
// the account moved and what waits for the sealer, not the account's postings.
func balanceByRollUp(ctx context.Context, tx *sqldb.Tx, accountNo int64, until ledger.Date) (debits, credits ledger.Amount, err error) {
	var q sqldb.Where
	q.And("account_no = ?", accountNo)
	if !until.IsZero() {
		q.And("effective_date <= ?", until)
	}
	err = tx.QueryRow(ctx, fmt.Sprintf("SELECT CAST(COALESCE(SUM(debits), 0) AS %[1]s), CAST(COALESCE(SUM(credits), 0) AS %[1]s) FROM account_days%[2]s",
		tx.Int8(), q.Clause()), q.Args, &debits, &credits)
	if err != nil {
		return 0, 0, err
	}
	for _, side := range []struct {
		column, index string
		sum           *ledger.Amount
	}{{"debit_no", "postings_by_debit", &debits}, {"credit_no", "postings_by_credit", &credits}} {
		var tail sqldb.Where
		tail.And("p.page_id = u.page_id AND p."+side.column+" = ?", accountNo)
		overPages(&tail, "u.page_id", ledger.Date{}, until)
		var amount ledger.Amount
		err := tx.QueryRow(ctx, "SELECT CAST(COALESCE(SUM(p.amount), 0) AS "+tx.Int8()+
			") FROM unsealed_pages AS u CROSS JOIN postings AS p"+tx.IndexedBy(side.index)+tail.Clause(), tail.Args, &amount) // from the few to the many
		if err != nil {
			return 0, 0, err
		}
		if *side.sum, err = side.sum.Add(amount); err != nil {
			return 0, 0, err
		}
	}
	return debits, credits, nil
}
