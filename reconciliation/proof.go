package reconciliation

import (
	"context"
	"fmt"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Proof is the daily proof that customers' money is safeguarded (CMF L.526-32), as the
// book stood at the end of a day. Amounts are in minor units of one currency.
type Proof struct {
	Date ledger.Date
	// Owed is the electronic money that is outstanding: wallets, what is owed to
	// charities and businesses, unclaimed payments, payouts on their way.
	Owed    ledger.Amount
	Bank    ledger.Amount // on the safeguarding account, by the ledger
	Cards   ledger.Amount // on its way from the acquirer
	Unknown ledger.Amount // in suspense: on the account, and nobody knows whose it is; below zero: it went out
	// What makes the rest: commissions that wait for their sweep are own money on the
	// account; fees, and what customers owe after chargebacks, are missing on it.
	Commissions, Fees, Receivable, Own ledger.Amount
}

// Cover is what is on the account beyond what is owed and what may be somebody's: own
// money that waits for its sweep. Below zero customers' money is not all there.
func (p Proof) Cover() (ledger.Amount, error) {
	cover, err := p.Bank.Add(p.Cards)
	if err == nil {
		cover, err = cover.Sub(p.Owed)
	}
	if err == nil {
		cover, err = cover.Sub(max(p.Unknown, 0))
	}
	return cover, err
}

// MaxProofDays bounds the days that are proved at once: two fiscal years.
const MaxProofDays = 732

// Proofs returns the proof of each day of a period, by effective date. It reads the
// roll-ups of what is sealed, and the postings of what waits for the sealer.
func Proofs(ctx context.Context, tx *sqldb.Tx, from, to ledger.Date, currency ledger.Currency) ([]Proof, error) {
	if err := checkPeriod(from, to); err != nil {
		return nil, err
	}
	if days(to)-days(from) >= MaxProofDays {
		return nil, ledger.Errorf(ledger.CodeLimitExceeded, "at most %d days are proved at once", MaxProofDays).InField("from")
	}
	moved, err := movedByDay(ctx, tx, from, to, currency)
	if err != nil {
		return nil, fmt.Errorf("add up the book by day: %w", err)
	}
	stood := moved[ledger.Date{}] // before the period
	if stood == nil {
		stood = map[ledger.Category]ledger.Amount{}
	}
	var list []Proof
	for day := from; !to.Before(day); day = day.AddDays(1) {
		for category, amount := range moved[day] {
			if stood[category], err = stood[category].Add(amount); err != nil {
				return nil, fmt.Errorf("add up %s on %s: %w", category, day, err)
			}
		}
		p, err := proofOf(day, stood)
		if err != nil {
			return nil, fmt.Errorf("prove %s: %w", day, err)
		}
		list = append(list, p)
	}
	return list, nil
}

// proofOf makes a proof of what stands on accounts, debits less credits.
func proofOf(day ledger.Date, stood map[ledger.Category]ledger.Amount) (Proof, error) {
	p := Proof{Date: day, Bank: stood[ledger.Safeguarding], Cards: stood[ledger.CardsToSettle], Unknown: -stood[ledger.Suspense],
		Commissions: -stood[ledger.Commissions], Fees: stood[ledger.CardFees], Receivable: stood[ledger.CustomerReceivable], Own: stood[ledger.OwnAccount]}
	for _, category := range []ledger.Category{ledger.CustomerEMoney, ledger.CharityPayable, ledger.Unclaimed, ledger.PayoutsInTransit} {
		var err error
		if p.Owed, err = p.Owed.Sub(stood[category]); err != nil {
			return Proof{}, err
		}
	}
	return p, nil
}

// movedByDay returns debits less credits of each category by effective date, and of
// all before the period under the zero date.
func movedByDay(ctx context.Context, tx *sqldb.Tx, from, to ledger.Date, currency ledger.Currency) (map[ledger.Date]map[ledger.Category]ledger.Amount, error) {
	moved := map[ledger.Date]map[ledger.Category]ledger.Amount{}
	const day = "CASE WHEN %[1]s < $1 THEN NULL ELSE %[1]s END"
	sealed := fmt.Sprintf(`SELECT a.category, `+day+`, CAST(SUM(d.debits) - SUM(d.credits) AS %[2]s) FROM account_days AS d JOIN accounts AS a ON a.no = d.account_no
		WHERE d.effective_date <= $2 AND a.currency = $3 GROUP BY 1, 2`, "d.effective_date", tx.Int8())
	side := `SELECT a.category, ` + day + `, CAST(SUM(p.amount) AS %[2]s) FROM unsealed_pages AS u JOIN pages AS g ON g.id = u.page_id JOIN postings AS p ON p.page_id = u.page_id
		JOIN accounts AS a ON a.no = p.%[3]s WHERE g.effective_date <= $2 AND a.currency = $3 GROUP BY 1, 2`
	for _, of := range []struct {
		query string
		sign  ledger.Amount
	}{{sealed, 1}, {fmt.Sprintf(side, "g.effective_date", tx.Int8(), "debit_no"), 1}, {fmt.Sprintf(side, "g.effective_date", tx.Int8(), "credit_no"), -1}} {
		err := tx.Each(ctx, of.query, []any{from, to, string(currency)}, func(rows *sqldb.Rows) error {
			var category ledger.Category
			var on ledger.Date
			var amount ledger.Amount
			if err := rows.Scan(&category, &on, &amount); err != nil {
				return err
			}
			if moved[on] == nil {
				moved[on] = map[ledger.Category]ledger.Amount{}
			}
			var err error
			moved[on][category], err = moved[on][category].Add(of.sign * amount)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return moved, nil
}
