package reports

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// AgeingParams select an ageing report.
type AgeingParams struct {
	// On is the business date at whose end things stood so; zero: the newest there is.
	On          ledger.Date
	GeneratedAt time.Time
}

// MaxAgeingLines bounds an ageing report, which is held in memory and must be whole
// to tie.
const MaxAgeingLines = 200_000

// ageingPage bounds the payments that are read at once.
const ageingPage = 1000

// ageBucket is a range of ages, in days; most is inclusive, and 0 for no bound.
type ageBucket struct {
	title string
	most  int
}

// ageBuckets split the default term of five days, and what is beyond it: such a
// payment should have been returned.
func ageBuckets() []ageBucket {
	return []ageBucket{{"0 to 1 day", 1}, {"2 to 3 days", 3}, {"4 to 5 days", 5}, {"over 5 days", 0}}
}

// Ageing lists the payments to people who are no customers that waited to be claimed
// at the end of a business date, by their age, and says in a note and in the fact
// "ties" whether they come to the balance of the account of unclaimed payments. Why a
// payment waits though its payee is known is told as it is now.
func Ageing(ctx context.Context, tx *sqldb.Tx, p AgeingParams) (Table, error) {
	if p.On.IsZero() {
		return Table{}, ledger.Errorf(ledger.CodeInvalid, "an ageing report needs its date").InField("as_of")
	}
	a := ageing{on: p.On, buckets: make([]sum, len(ageBuckets()))}
	account, err := engine.FindAccount(ctx, tx, ledger.SystemAccountID(payments.AccountUnclaimed))
	if err != nil {
		return Table{}, fmt.Errorf("ageing: %w", err)
	}
	a.currency = account.Currency
	balance, err := engine.BalanceAsOf(ctx, tx, account.ID, engine.AsOf{EffectiveDate: p.On})
	if err != nil {
		return Table{}, fmt.Errorf("ageing: %w", err)
	}
	if err := a.read(ctx, tx); err != nil {
		return Table{}, fmt.Errorf("ageing: %w", err)
	}
	table, err := a.table(balance.Posted())
	if err != nil {
		return Table{}, fmt.Errorf("ageing: %w", err)
	}
	table.GeneratedAt = p.GeneratedAt
	return table, nil
}

type ageing struct {
	on       ledger.Date
	currency ledger.Currency
	rows     []Row
	buckets  []sum
	total    sum
}

func (a *ageing) read(ctx context.Context, tx *sqldb.Tx) error {
	var after payments.Cursor
	for {
		page, err := payments.UnclaimedOn(ctx, tx, a.on, after, ageingPage)
		if err != nil {
			return err
		}
		if len(a.rows)+len(page) > MaxAgeingLines {
			return ledger.Errorf(ledger.CodeInvalid, "more than %d payments wait to be claimed", MaxAgeingLines).InField("as_of")
		}
		if err := a.add(ctx, tx, page); err != nil {
			return err
		}
		if len(page) < ageingPage {
			return nil
		}
		after = page[len(page)-1].Cursor()
	}
}

func (a *ageing) add(ctx context.Context, tx *sqldb.Tx, page []payments.Unclaimed) error {
	if len(page) == 0 {
		return nil
	}
	payers := map[uuid.UUID]string{}
	for _, u := range page {
		number, known := payers[u.PayerID]
		if !known {
			c, err := payments.FindCustomerByID(ctx, tx, u.PayerID)
			if err != nil {
				return err
			}
			number = c.Number
			payers[u.PayerID] = number
		}
		age := daysBetween(u.PostedOn, a.on)
		a.rows = append(a.rows, Row{Cells: []any{u.PostedOn, int64(age), payments.Order{ID: u.OrderID}.Reference(), number,
			u.UserID, u.ExpiresAt, u.Reason, Cash{u.Amount, u.Currency}}})
		a.total.add(u.Amount)
		for i, bucket := range ageBuckets() {
			if bucket.most == 0 || age <= bucket.most {
				a.buckets[i].add(u.Amount)
				break
			}
		}
	}
	return nil
}

// daysBetween returns the number of days from one date to another.
func daysBetween(from, to ledger.Date) int {
	return int(to.Midnight(time.UTC).Sub(from.Midnight(time.UTC)) / (24 * time.Hour))
}

func (a *ageing) table(balance ledger.Amount) (Table, error) {
	listed, err := a.total.cash(a.currency)
	if err != nil {
		return Table{}, err
	}
	table := Table{
		Name: "ageing", Title: "Ageing of unclaimed payments",
		Description: "Payments to people who were no customers, and had not claimed them at the end of " + a.on.String(),
		Facts: []Fact{
			{Name: "as_of", Title: "As of", Value: a.on},
			{Name: "balance", Title: "Balance of " + payments.AccountUnclaimed, Value: Cash{balance, a.currency}},
			{Name: "ties", Title: "Payments and balance tie", Value: listed.Amount == balance},
		},
		Columns: []Column{
			{"posted_on", "Date", Day}, {"age_days", "Days", Integer}, {"reference", "Reference", Text}, {"payer", "Payer", Text},
			{"payee_user_id", "Payee (id)", Text}, {"expires_at", "Returned at", Instant}, {"waits_for", "Waits for", Text}, {"amount", "Amount", Money},
		},
		Rows: a.rows,
	}
	for i, bucket := range ageBuckets() {
		cash, err := a.buckets[i].cash(a.currency)
		if err != nil {
			return Table{}, err
		}
		table.Rows = append(table.Rows, Row{Cells: []any{nil, nil, nil, bucket.title, nil, nil, nil, cash}, Total: true})
	}
	table.Rows = append(table.Rows, Row{Cells: []any{nil, nil, nil, "Total", nil, nil, nil, listed}, Total: true})
	if listed.Amount == balance {
		table.Notes = []string{fmt.Sprintf("The payments come to the balance of the account: %s %s.", balance.Format(a.currency), a.currency)}
	} else {
		table.Notes = []string{fmt.Sprintf("THE ACCOUNT DOES NOT TIE: the payments come to %s, its balance is %s %s. Look for what was posted or reversed by hand: tweetledger report account %s",
			listed.Amount.Format(a.currency), balance.Format(a.currency), a.currency, payments.AccountUnclaimed)}
	}
	return table, nil
}
