package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

var dayTable = []sqldb.Column{
	{Name: "account_no", Type: "int8"}, {Name: "effective_date", Type: "date"}, {Name: "recorded_on", Type: "date"}, {Name: "currency", Type: "text"},
	{Name: "debits", Type: "int8"}, {Name: "credits", Type: "int8"},
}

// rollUp adds the pages of the round to the roll-ups, so that these hold at any
// time exactly what is sealed.
func (s *sealer) rollUp(ctx context.Context) error {
	ids := make([]int64, len(s.pages))
	pages := make(map[int64]waitingPage, len(s.pages))
	for i, p := range s.pages {
		ids[i], pages[p.id] = p.id, p
	}
	type day struct {
		account        int64
		date, recorded ledger.Date
	}
	type sums struct {
		currency        string
		debits, credits ledger.Amount
	}
	days := map[day]*sums{}
	err := s.tx.Each(ctx, `SELECT p.debit_no, p.credit_no, p.amount, p.currency, p.page_id FROM postings AS p WHERE `+s.tx.AnyInt8("p.page_id", 1), []any{ids}, func(rows *sqldb.Rows) error {
		var debit, credit, page int64
		var amount ledger.Amount
		var currency string
		if err := rows.Scan(&debit, &credit, &amount, &currency, &page); err != nil {
			return err
		}
		for _, account := range []int64{debit, credit} {
			on := day{account, pages[page].date, recordedOn(pages[page].recorded)}
			sum, ok := days[on]
			if !ok {
				sum = &sums{currency: currency}
				days[on] = sum
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
	slices.SortFunc(keys, func(a, b day) int {
		return cmp.Or(cmp.Compare(a.account, b.account), a.date.Compare(b.date), a.recorded.Compare(b.recorded))
	})
	_, err = s.tx.ExecRows(ctx, `INSERT INTO account_days (account_no, effective_date, recorded_on, currency, debits, credits) SELECT * FROM ROWS AS d WHERE 1 = 1
		ON CONFLICT (account_no, effective_date, recorded_on) DO UPDATE SET debits = account_days.debits + excluded.debits,
			credits = account_days.credits + excluded.credits`, dayTable, len(keys), func(i int) []any {
		sum := days[keys[i]]
		return []any{keys[i].account, keys[i].date, keys[i].recorded, sum.currency, int64(sum.debits), int64(sum.credits)}
	})
	if err != nil {
		return fmt.Errorf("store roll-ups: %w", err)
	}
	return nil
}

// recordedOn is the day of an instant by which roll-ups are kept, in UTC.
func recordedOn(at time.Time) ledger.Date { return ledger.DateIn(at, time.UTC) }

// rolledUp adds that roll-ups d are of what was effective on a date or before and,
// where the time of recording is bounded, recorded before the day of it.
func (at AsOf) rolledUp(q *sqldb.Where) {
	q.Period("d.effective_date", ledger.Date{}, at.EffectiveDate)
	if !at.RecordedAt.IsZero() {
		q.And("d.recorded_on < ?", recordedOn(at.RecordedAt))
	}
}

// balanceByRollUp adds up an account up to a point in time: the roll-ups of what is
// sealed, and the postings of what is not. Its cost follows the days on which the
// account moved and what waits for the sealer, not the account's postings; with a
// time of recording, also what was recorded on that day.
func balanceByRollUp(ctx context.Context, tx *sqldb.Tx, accountNo int64, at AsOf) (debits, credits ledger.Amount, err error) {
	var q sqldb.Where
	q.And("d.account_no = ?", accountNo)
	at.rolledUp(&q)
	err = tx.QueryRow(ctx, fmt.Sprintf("SELECT CAST(COALESCE(SUM(d.debits), 0) AS %[1]s), CAST(COALESCE(SUM(d.credits), 0) AS %[1]s) FROM account_days AS d%[2]s",
		tx.Int8(), q.Clause()), q.Args, &debits, &credits)
	if err != nil {
		return 0, 0, err
	}
	ranges, err := at.lastDay(ctx, tx, accountNo)
	if err != nil {
		return 0, 0, err
	}
	for _, side := range []struct {
		column, index string
		sum           *ledger.Amount
	}{{"debit_no", "postings_by_debit", &debits}, {"credit_no", "postings_by_credit", &credits}} {
		add := func(rows *sqldb.Rows) error {
			var amount ledger.Amount
			err := rows.Scan(&amount)
			if err == nil {
				*side.sum, err = side.sum.Add(amount)
			}
			return err
		}
		var tail sqldb.Where
		tail.And("p.page_id = u.page_id AND p."+side.column+" = ?", accountNo)
		overPages(&tail, "u.page_id", ledger.Date{}, at.EffectiveDate)
		if !at.RecordedAt.IsZero() {
			tail.And("u.recorded_at <= ?", at.RecordedAt)
		}
		sum := "SELECT CAST(COALESCE(SUM(p.amount), 0) AS " + tx.Int8() + ") FROM "
		err := tx.Each(ctx, sum+"unsealed_pages AS u CROSS JOIN postings AS p"+tx.IndexedBy(side.index)+tail.Clause(), tail.Args, add) // from the few to the many
		if err != nil {
			return 0, 0, err
		}
		err = tx.EachOfRows(ctx, sum+"ROWS AS k CROSS JOIN postings AS p"+tx.IndexedBy(side.index)+` CROSS JOIN pages AS g
			WHERE g.id = p.page_id AND p.`+side.column+` = k.no AND p.page_id >= k.since_page AND p.page_id < k.until_page
				AND g.recorded_at >= k.since AND g.recorded_at <= k.until AND`+sealedPage, rangeTable, len(ranges),
			func(i int) []any {
				return []any{accountNo, firstPage(ranges[i]), firstPage(ranges[i].AddDays(1)), recordedOn(at.RecordedAt).Midnight(time.UTC), at.RecordedAt}
			}, add)
		if err != nil {
			return 0, 0, err
		}
	}
	return debits, credits, nil
}

var rangeTable = []sqldb.Column{{Name: "no", Type: "int8"}, {Name: "since_page", Type: "int8"}, {Name: "until_page", Type: "int8"},
	{Name: "since", Type: "timestamptz"}, {Name: "until", Type: "timestamptz"}}

// lastDay returns the effective dates of what was recorded for an account on the
// day that the time of recording is on, of which some may have come after it.
func (at AsOf) lastDay(ctx context.Context, tx *sqldb.Tx, accountNo int64) ([]ledger.Date, error) {
	if at.RecordedAt.IsZero() {
		return nil, nil
	}
	var q sqldb.Where
	q.And("account_no = ? AND recorded_on = ?", accountNo, recordedOn(at.RecordedAt))
	q.Period("effective_date", ledger.Date{}, at.EffectiveDate)
	return sqldb.Collect(ctx, tx, "SELECT effective_date FROM account_days"+q.Clause(), q.Args, func(rows *sqldb.Rows) (d ledger.Date, err error) {
		err = rows.Scan(&d)
		return d, err
	})
}

// totalsByRollUp is the source of what every account comes to up to a point in
// time, from roll-ups, the sealed pages of the last day, and what waits for the sealer.
func (at AsOf) totalsByRollUp() (source string, args []any) {
	const bySide = `
		UNION ALL SELECT p.debit_no, p.amount, 0 FROM %[1]s CROSS JOIN postings AS p WHERE %[2]s
		UNION ALL SELECT p.credit_no, 0, p.amount FROM %[1]s CROSS JOIN postings AS p WHERE %[2]s`
	var q sqldb.Where
	at.rolledUp(&q)
	source = "SELECT d.account_no AS no, d.debits, d.credits FROM account_days AS d" + q.Clause()
	waiting := sqldb.Where{Args: q.Args}
	waiting.And("p.page_id = u.page_id")
	overPages(&waiting, "u.page_id", ledger.Date{}, at.EffectiveDate)
	if !at.RecordedAt.IsZero() {
		waiting.And("u.recorded_at <= ?", at.RecordedAt)
	}
	source += fmt.Sprintf(bySide, "unsealed_pages AS u", waiting.Condition())
	if at.RecordedAt.IsZero() {
		return source, waiting.Args
	}
	last := sqldb.Where{Args: waiting.Args}
	last.And("p.page_id = g.id AND" + sealedPage)
	last.And("g.recorded_at >= ? AND g.recorded_at <= ?", recordedOn(at.RecordedAt).Midnight(time.UTC), at.RecordedAt)
	overPages(&last, "g.id", ledger.Date{}, at.EffectiveDate)
	return source + fmt.Sprintf(bySide, "pages AS g", last.Condition()), last.Args
}
