package reconciliation

import (
	"context"
	"fmt"
	"strings"

	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// SafeguardingParams say what Safeguarding proves.
type SafeguardingParams struct {
	From, To ledger.Date // inclusive; days that are not over yet are left out
	// Watch, where it is set, is told which references of open breaks were judged.
	Watch Watch
}

// safeguardingJob is one run of the job, inside one transaction that only reads.
type safeguardingJob struct {
	*run
	currency ledger.Currency
}

// Safeguarding proves, for each day of a period, that what customers are owed is
// covered by the safeguarding account and by what the acquirer owes, and that the
// account has what the ledger says where a statement of the bank closes on that day. A
// proof that fails is a break of the day.
func Safeguarding(ctx context.Context, e *engine.Engine, config payouts.Config, p SafeguardingParams) (Result, error) {
	if err := checkPeriod(p.From, p.To); err != nil {
		return Result{}, err
	}
	last := p.To
	if today := e.Today(); !last.Before(today) {
		last = today.AddDays(-1)
	}
	var result Result
	err := e.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		j := &safeguardingJob{run: newRun(JobSafeguarding, p.From, p.To, "", e.Now()), currency: config.Currency}
		j.watch = p.Watch
		if last.Before(p.To) {
			j.result.Open++ // the day that is not over
		}
		if !last.Before(p.From) {
			if err := j.all(ctx, tx, config.Account.IBAN, p.From, last); err != nil {
				return err
			}
		}
		result = j.done()
		return nil
	})
	if err != nil {
		return Result{}, fmt.Errorf("reconcile safeguarding: %w", err)
	}
	return result, nil
}

func (j *safeguardingJob) all(ctx context.Context, tx *sqldb.Tx, iban string, from, to ledger.Date) error {
	proofs, err := Proofs(ctx, tx, from, to, j.currency)
	if err != nil {
		return err
	}
	closing, err := closings(ctx, tx, iban, from, to)
	if err != nil {
		return err
	}
	for _, p := range proofs {
		st, ok := closing[p.Date]
		if !ok {
			st = nil
		}
		if err := j.judge(p, st); err != nil {
			return err
		}
	}
	last := proofs[len(proofs)-1]
	cover, err := last.Cover()
	if err != nil {
		return err
	}
	for _, total := range []Total{{Name: "owed_to_customers", Amount: last.Owed}, {Name: "on_the_account", Amount: last.Bank}, {Name: "on_its_way_from_cards", Amount: last.Cards},
		{Name: "in_suspense", Amount: last.Unknown}, {Name: TotalCover, Amount: cover}} {
		total.Count, total.Currency = len(proofs), j.currency
		j.result.Totals = append(j.result.Totals, total)
	}
	return nil
}

// TotalCover names the total of a safeguarding run that is what the account has, on the
// last day, beyond what customers are owed.
const TotalCover = "cover"

// closings returns the last statement that closes on each day.
func closings(ctx context.Context, tx *sqldb.Tx, iban string, from, to ledger.Date) (map[ledger.Date]*payouts.StoredStatement, error) {
	closing := map[ledger.Date]*payouts.StoredStatement{}
	f := payouts.StatementFilter{IBAN: iban, From: from, To: to, Limit: payoutsPage}
	for {
		page, err := payouts.ListStatements(ctx, tx, f)
		if err != nil {
			return nil, err
		}
		for i := range page {
			closing[page[i].ClosingDate] = &page[i]
		}
		if len(page) < payoutsPage {
			return closing, nil
		}
		f.After = payouts.CursorOf(page[len(page)-1])
	}
}

func (j *safeguardingJob) judge(p Proof, st *payouts.StoredStatement) error {
	j.inputs.on(p.Date)
	j.inputs.text("proof", p.Date.String())
	j.inputs.number(int64(p.Owed), int64(p.Bank), int64(p.Cards), int64(p.Unknown), int64(p.Commissions), int64(p.Fees), int64(p.Receivable), int64(p.Own))
	cover, err := p.Cover()
	if err != nil {
		return err
	}
	about := "safeguarding " + p.Date.String()
	j.watch.judged(about)
	say := func(class Class, amount ledger.Amount, format string, args ...any) error {
		return j.addBreak(Break{Class: class, Reference: about, Amount: amount, Currency: j.currency, Date: p.Date, Message: fmt.Sprintf(format, args...)})
	}
	if cover < 0 {
		if err := say(Shortfall, -cover, "at the end of %s customers are owed %s, the account has %s and the acquirer owes %s, of which %s may be somebody else's: %s is not covered%s; transfer it from the own account",
			p.Date, j.money(p.Owed), j.money(p.Bank), j.money(p.Cards), j.money(max(p.Unknown, 0)), j.money(-cover), j.because(p)); err != nil {
			return err
		}
	} else {
		j.matched("daily_proof")
	}
	if st == nil {
		return nil
	}
	j.inputs.text("statement", st.StatementID)
	j.inputs.number(int64(st.Closing))
	if st.Closing == p.Bank {
		j.matched("statement_balance")
		return nil
	}
	return say(AmountDiffers, abs(st.Closing-p.Bank), "at the end of %s the account has %s by statement %s and %s by the ledger, on which the proof of the day stands; import what is missing, or correct the ledger",
		p.Date, j.money(st.Closing), st.StatementID, j.money(p.Bank))
}

func (j *safeguardingJob) money(a ledger.Amount) string { return money(a, j.currency) }

// because names what takes money from the account that is not paid from own money.
func (j *safeguardingJob) because(p Proof) string {
	var parts []string
	for _, of := range []struct {
		what   string
		amount ledger.Amount
	}{{"the acquirer has kept fees of", p.Fees}, {"customers owe after chargebacks", p.Receivable}, {"unexplained, went out", -p.Unknown}, {"the own account has", p.Own}} {
		if of.amount > 0 {
			parts = append(parts, of.what+" "+j.money(of.amount))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s; commissions come to %s)", strings.Join(parts, ", "), j.money(p.Commissions))
}
