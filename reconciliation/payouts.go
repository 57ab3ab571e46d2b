package reconciliation

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// DefaultSettlementDays is how long a transfer may take to show on a statement: a
// SEPA credit transfer takes one banking day (PSD2 art. 83), the statement comes
// the day after, and Easter has four days without banks.
const DefaultSettlementDays = 6

// PayoutsParams say what Payouts reconciles.
type PayoutsParams struct {
	From, To ledger.Date // inclusive
	Payee    string      // code; empty: all payees, statements and balances too
	// SettlementDays after its execution date a payout must be on a statement; 0:
	// DefaultSettlementDays.
	SettlementDays int
	// UnpaidDays after which a donation must be in a payout; 0: by the payee's rhythm.
	UnpaidDays int
	// Watch, where it is set, is told which references of open breaks were judged.
	Watch Watch
	// Spill is where what is left over is sorted.
	Spill Spill
}

// unpaidDays is the payee's rhythm and then five days: a weekend and the
// approval.
func unpaidDays(rhythm payments.Rhythm) int {
	const slack = 5
	switch rhythm {
	case payments.Daily:
		return 1 + slack
	case payments.Weekly:
		return 7 + slack
	case payments.Fortnightly:
		return 14 + slack
	}
	return 31 + slack
}

// payoutsPage bounds what is read and judged at once.
const payoutsPage = 500

// payoutsJob is one run of the job, inside one transaction that only reads.
type payoutsJob struct {
	*run
	tx       *sqldb.Tx
	params   PayoutsParams
	config   payouts.Config
	asOf     ledger.Date // of ages: the last day of the period, but not after today
	matchers []Matcher
	batches  map[string]payouts.Batch
	totals   map[string]*Total
	left     leftOver
	// transit is by how much breaks that are already found explain that the ledger
	// has another amount on its way than the payouts say.
	transit ledger.Amount
	loc     *time.Location
}

// Payouts reconciles donations, payouts, the ledger and the bank's statements, to
// the cent and with commissions: each donation is in one payout in time, each
// payout is what its donations, the ledger and the bank say, each movement on the
// account has its payout, the statements follow each other, and the balances that
// remain are those of the ledger. It only reads, page by page, and keeps in memory
// one page and what it found.
func Payouts(ctx context.Context, e *engine.Engine, s *payouts.Service, p PayoutsParams) (Result, error) {
	if err := checkPeriod(p.From, p.To); err != nil {
		return Result{}, err
	}
	p.SettlementDays = cmp.Or(p.SettlementDays, DefaultSettlementDays)
	now, today := e.Now(), e.Today()
	asOf := p.To
	if today.Before(asOf) {
		asOf = today
	}
	var result Result
	err := e.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		j := &payoutsJob{run: newRun(JobPayouts, p.From, p.To, p.Payee, now), tx: tx, params: p, config: s.Config(), asOf: asOf,
			matchers: []Matcher{ExactReference()}, batches: map[string]payouts.Batch{}, totals: map[string]*Total{}}
		j.watch, j.loc = p.Watch, e.Location()
		if err := j.all(ctx); err != nil {
			return err
		}
		result = j.done()
		return nil
	})
	if err != nil {
		return Result{}, fmt.Errorf("reconcile payouts: %w", err)
	}
	return result, nil
}

func (j *payoutsJob) all(ctx context.Context) error {
	names := []string{"donations", "donations_not_paid_out", "payouts_gross", "payouts_commission", "payouts_vat", "payouts_net", "settled", "returned"}
	for _, name := range names {
		j.totals[name] = &Total{Name: name, Currency: j.config.Currency}
	}
	if err := j.eachPayee(ctx, func(payee payments.Payee) error {
		j.subject = payee.Code
		if err := j.donations(ctx, payee); err != nil {
			return fmt.Errorf("donations to %s: %w", payee.Code, err)
		}
		if err := j.payouts(ctx, payee); err != nil {
			return fmt.Errorf("payouts to %s: %w", payee.Code, err)
		}
		return nil
	}); err != nil {
		return err
	}
	j.subject = ""
	if err := j.suspense(ctx); err != nil {
		return err
	}
	if err := j.explain(ctx); err != nil {
		return err
	}
	if j.params.Payee == "" {
		if err := j.inTransit(ctx); err != nil {
			return err
		}
		if err := j.statements(ctx); err != nil {
			return err
		}
		if err := j.findings(ctx, j.tx, j.config.Currency, j.loc); err != nil {
			return err
		}
	}
	for _, name := range names {
		if name == "payouts_vat" && j.totals[name].Count == 0 {
			continue // payment services are exempt, but where the bank has opted for it
		}
		j.result.Totals = append(j.result.Totals, *j.totals[name])
	}
	return nil
}

func (j *payoutsJob) eachPayee(ctx context.Context, visit func(payments.Payee) error) error {
	if j.params.Payee != "" {
		payee, err := payments.FindPayee(ctx, j.tx, j.params.Payee)
		if err != nil {
			return err
		}
		return visit(payee)
	}
	for after := ""; ; {
		page, err := payments.ListPayees(ctx, j.tx, payments.PayeeFilter{AfterCode: after, Limit: payoutsPage})
		if err != nil {
			return err
		}
		for _, payee := range page {
			if err := visit(payee); err != nil {
				return err
			}
		}
		if len(page) < payoutsPage {
			return nil
		}
		after = page[len(page)-1].Code
	}
}

func (j *payoutsJob) total(name string, amount ledger.Amount) error {
	t := j.totals[name]
	sum, err := t.Amount.Add(amount)
	if err != nil {
		return err
	}
	t.Amount, t.Count = sum, t.Count+1
	return nil
}

func (j *payoutsJob) inPeriod(d ledger.Date) bool {
	return !d.IsZero() && !d.Before(j.params.From) && !j.params.To.Before(d)
}

// batch returns the batch of a payout. A period has a few a day.
func (j *payoutsJob) batch(ctx context.Context, reference string) (payouts.Batch, error) {
	if b, ok := j.batches[reference]; ok {
		return b, nil
	}
	b, err := payouts.FindBatch(ctx, j.tx, reference)
	j.batches[reference] = b
	return b, err
}

// say adds a break of the job's currency, found as of its day.
func (j *payoutsJob) say(class Class, reference string, amount ledger.Amount, date ledger.Date, format string, args ...any) error {
	return j.addBreak(Break{Class: class, Reference: reference, Amount: amount, Currency: j.config.Currency, Date: date, Message: fmt.Sprintf(format, args...)})
}

func (j *payoutsJob) money(a ledger.Amount) string { return money(a, j.config.Currency) }
