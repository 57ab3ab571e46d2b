package payouts

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// gatheredDay is an effective date of a payee's account of which nothing is due: it
// need not be looked at again until the sealed credits of that day are others, or
// one of its donations is freed. So what a batch costs follows what has happened
// since the last one, not the history of its payees.
type gatheredDay struct {
	account uuid.UUID
	date    ledger.Date
	credits ledger.Amount // what is sealed of that day, when nothing of it was due
	freed   int64         // how often donations of that day were freed until then
}

// maxGatheredDays bounds the days that one batch keeps as gathered. Days beyond it
// are looked at again by the next batch.
const maxGatheredDays = 10_000

// openDays returns the effective dates until one of which something may be due to an
// account, in order. unsealed are the dates of what waits for the sealer, which the
// roll-ups do not know yet: its credits are not those that the day will have.
func openDays(ctx context.Context, tx *sqldb.Tx, account uuid.UUID, until ledger.Date, unsealed []ledger.Date) ([]gatheredDay, error) {
	var days []gatheredDay
	err := tx.Each(ctx, fmt.Sprintf(`SELECT d.effective_date, CAST(SUM(d.credits) AS %s), COALESCE(m.credits, 0), COALESCE(m.freed, 0)
		FROM accounts AS a JOIN account_days AS d ON d.account_no = a.no
			LEFT JOIN gathered_days AS m ON m.account_id = a.id AND m.effective_date = d.effective_date
		WHERE a.id = $1 AND d.effective_date <= $2 GROUP BY d.effective_date, m.credits, m.freed ORDER BY d.effective_date`, tx.Int8()),
		[]any{account, until}, func(rows *sqldb.Rows) error {
			day := gatheredDay{account: account}
			var before ledger.Amount
			if err := rows.Scan(&day.date, &day.credits, &before, &day.freed); err != nil {
				return err
			}
			for len(unsealed) > 0 && unsealed[0].Before(day.date) {
				days = append(days, gatheredDay{account: account, date: unsealed[0]})
				unsealed = unsealed[1:]
			}
			waits := len(unsealed) > 0 && unsealed[0] == day.date
			if waits {
				unsealed = unsealed[1:]
			}
			if waits || day.credits != before {
				days = append(days, day)
			}
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("look for days that were not gathered: %w", err)
	}
	for _, date := range unsealed {
		days = append(days, gatheredDay{account: account, date: date})
	}
	return days, nil
}

// unsealedDates returns the effective dates until one of what waits for the sealer, in order.
func unsealedDates(ctx context.Context, tx *sqldb.Tx, until ledger.Date) ([]ledger.Date, error) {
	_, end := engine.PagesOf(until)
	list, err := sqldb.Collect(ctx, tx, `SELECT DISTINCT g.effective_date FROM unsealed_pages AS u JOIN pages AS g ON g.id = u.page_id
		WHERE u.page_id < $1 ORDER BY g.effective_date`, []any{end}, func(rows *sqldb.Rows) (d ledger.Date, err error) {
		err = rows.Scan(&d)
		return d, err
	})
	if err != nil {
		return nil, fmt.Errorf("look for days that are not sealed: %w", err)
	}
	return list, nil
}

// keepGathered keeps days as gathered, unless donations of them were freed meanwhile.
func keepGathered(ctx context.Context, tx *sqldb.Tx, days []gatheredDay) error {
	_, err := tx.ExecRows(ctx, `INSERT INTO gathered_days (account_id, effective_date, credits, freed)
		SELECT d.account, d.day, d.credits, d.freed FROM ROWS AS d WHERE 1 = 1
		ON CONFLICT (account_id, effective_date) DO UPDATE SET credits = excluded.credits WHERE gathered_days.freed = excluded.freed`,
		[]sqldb.Column{{Name: "account", Type: "uuid"}, {Name: "day", Type: "date"}, {Name: "credits", Type: "int8"}, {Name: "freed", Type: "int8"}},
		len(days), func(i int) []any {
			return []any{days[i].account, days[i].date, int64(days[i].credits), days[i].freed}
		})
	if err != nil {
		return fmt.Errorf("keep the days that were gathered: %w", err)
	}
	return nil
}

// freeDays makes the days of the donations of payouts open again.
func freeDays(ctx context.Context, tx *sqldb.Tx, list []Payout) error {
	_, err := tx.ExecRows(ctx, `INSERT INTO gathered_days (account_id, effective_date, credits, freed)
		SELECT DISTINCT p.account_id, g.effective_date, 0, 1 FROM ROWS AS d CROSS JOIN payouts AS p CROSS JOIN payout_items AS i CROSS JOIN requests AS q CROSS JOIN pages AS g
		WHERE p.id = d.payout AND i.payout_id = p.id AND q.id = i.transaction_id AND g.id = q.page_id
		ON CONFLICT (account_id, effective_date) DO UPDATE SET credits = 0, freed = gathered_days.freed + 1`,
		[]sqldb.Column{{Name: "payout", Type: "uuid"}}, len(list), func(i int) []any { return []any{list[i].ID} })
	if err != nil {
		return fmt.Errorf("open the days of %d payouts again: %w", len(list), err)
	}
	return nil
}
