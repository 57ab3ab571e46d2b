package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// YearClosing says how a fiscal year is closed.
type YearClosing struct {
	Year   int    // in which the fiscal year begins
	By     string // who closes it, as in ledger.PeriodChange
	Reason string // for the trace; may be ""
	// Seal seals what waits. Where it is nil, or cannot seal now, closing ends with
	// CodeConflict before its last step, and goes on from there when it is run again.
	Seal func(ctx context.Context) error
	// Checks are asked of the last period, as by ChangePeriod.
	Checks []Check
}

// ClosedYear is a fiscal year that was closed.
type ClosedYear struct {
	ledger.FiscalYear
	Result   map[ledger.Currency]ledger.Amount // profit, or loss below zero, in minor units
	Entries  int                               // transactions that closed accounts of income and expense
	Openings int                               // accounts that have an opening balance in the next year
}

// Bounds of closing a year.
const (
	// maxClosingRounds bounds how often a year's accounts are added up anew because
	// adjustments came in: the last period takes nothing else by then.
	maxClosingRounds = 5
	// maxClosings bounds how often a year can be opened again and closed.
	maxClosings = 100
	// closingBatch bounds the closing entries of one database transaction.
	closingBatch = 1000
)

// CloseFiscalYear closes a fiscal year, whose periods but the last must be
// hard-closed where they have postings, and so must be the years before it:
//
//   - it closes the last period softly, where that is open, and posts closing
//     entries into it (journal JournalClosing, an adjustment of the year's last
//     day) that bring each account of income and expense to zero: each whose
//     number in the chart begins with 6 or 7 on that day. The other side is the
//     account of the year's profit, or of its loss, in that currency;
//   - it records the opening balances of the next year, of all accounts that do
//     not stand at zero. They are a frozen record for reports, no postings:
//     balances run on;
//   - and it closes the last period hard, with any months of the year that have no
//     postings.
//
// The last two are one database transaction; the closing entries carry keys of
// their own (close:2026:<account code>). So what was interrupted is finished by
// running it again. Opening the last period again drops the opening balances; when
// the year is closed again, only what was posted since is closed.
//
// Refusals are those of ChangePeriod.
func (e *Engine) CloseFiscalYear(ctx context.Context, y YearClosing) (ClosedYear, error) {
	year, err := e.FiscalYear(y.Year)
	if err != nil {
		return ClosedYear{}, err
	}
	if err := e.KeepSettings(ctx); err != nil {
		return ClosedYear{}, fmt.Errorf("close the fiscal year %d: %w", y.Year, err)
	}
	c := closing{engine: e, order: y, year: year, last: ledger.PeriodOf(year.To, e.starts), at: e.Now()}
	if err := c.begin(ctx); err != nil {
		return ClosedYear{}, fmt.Errorf("close the fiscal year %d: %w", y.Year, asLedgerError(err))
	}
	for range maxClosingRounds {
		done, err := c.round(ctx)
		if err != nil {
			return ClosedYear{}, fmt.Errorf("close the fiscal year %d: %w", y.Year, asLedgerError(err))
		}
		if done {
			return ClosedYear{FiscalYear: year, Result: c.state.result, Entries: len(c.state.entries), Openings: len(c.state.openings)}, nil
		}
	}
	return ClosedYear{}, ledger.Errorf(ledger.CodeUnavailable, "adjustments of the period %s kept coming in while the fiscal year %d was closed; close it again when they are all posted",
		c.last.ID, y.Year)
}

// closing is a fiscal year while it is being closed.
type closing struct {
	engine *Engine
	order  YearClosing
	year   ledger.FiscalYear
	last   ledger.Period
	at     time.Time
	state  yearState
}

// begin closes the last period softly, if it is open.
func (c *closing) begin(ctx context.Context) error {
	var p ledger.Period
	var by ledger.PeriodChange
	err := c.engine.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		if p, err = c.engine.FindPeriod(ctx, tx, c.last.ID); err != nil {
			return err
		}
		if by, err = lastChange(ctx, tx, c.last.ID); err != nil || p.Status == ledger.PeriodHardClosed || !p.To.Before(c.engine.Today()) {
			return err // which is said below
		}
		return c.engine.yearBeforeIsClosed(ctx, tx, c.year)
	})
	if err != nil {
		return err
	}
	soft := c.change(ledger.PeriodOpen, ledger.PeriodSoftClosed)
	switch p.Status {
	case ledger.PeriodHardClosed:
		return ledger.Errorf(ledger.CodeConflict, "it is closed already: %s did it at %s", by.By, by.At.Format(time.RFC3339))
	case ledger.PeriodSoftClosed:
		return c.change(ledger.PeriodSoftClosed, ledger.PeriodHardClosed).Validate()
	}
	if err := soft.Validate(); err != nil {
		return err
	}
	if err := c.seal(ctx); err != nil {
		return err
	}
	if err := c.canClose(ctx); err != nil {
		return err
	}
	_, err = c.engine.ChangePeriod(ctx, soft, c.order.Checks...)
	return err
}

// canClose refuses what a later step would refuse, before the first one changes
// the book: a year that is not ready, or an account without a number in the chart.
func (c *closing) canClose(ctx context.Context) error {
	step := periodStep{engine: c.engine, change: c.change(ledger.PeriodSoftClosed, ledger.PeriodHardClosed), withYear: true}
	return c.engine.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := step.isReady(ctx, tx, c.last); err != nil {
			return err
		}
		_, err := c.readState(ctx, tx)
		return err
	})
}

func (c *closing) change(from, to ledger.PeriodStatus) ledger.PeriodChange {
	return ledger.PeriodChange{Period: c.last.ID, From: from, To: to, By: c.order.By, Reason: c.order.Reason, At: c.at}
}

func (c *closing) seal(ctx context.Context) error {
	if c.order.Seal == nil {
		return nil
	}
	return c.order.Seal(ctx)
}

// round adds the year up, and either posts what is to be closed or, where nothing
// is left, closes the year. It reports true once the year is closed.
func (c *closing) round(ctx context.Context) (bool, error) {
	if err := c.seal(ctx); err != nil {
		return false, err
	}
	step := periodStep{engine: c.engine, change: c.change(ledger.PeriodSoftClosed, ledger.PeriodHardClosed), checks: c.order.Checks, withYear: true}
	err := c.engine.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := step.isReady(ctx, tx, c.last); err != nil {
			return err
		}
		var err error
		c.state, err = c.readState(ctx, tx)
		return err
	})
	if err != nil {
		return false, err
	}
	if len(c.state.toPost) > 0 {
		return false, c.post(ctx)
	}
	if err := c.engine.verifies(ctx); err != nil {
		return false, err
	}
	if err := c.engine.db.Read(ctx, step.runChecks); err != nil {
		return false, err
	}
	err = c.engine.writeAmongPosters(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return c.finish(ctx, tx, step) })
	if errors.Is(err, errMoved) {
		return false, nil
	}
	return err == nil, err
}

// post makes the closing entries, all of a batch or none.
func (c *closing) post(ctx context.Context) error {
	if err := c.openResults(ctx); err != nil {
		return err
	}
	for part := range slices.Chunk(c.state.toPost, closingBatch) {
		requests := make([]ledger.Request, len(part))
		for i, r := range part {
			if err := r.Validate(); err != nil {
				return err
			}
			requests[i] = r
		}
		err := c.engine.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			outcomes, err := c.engine.SubmitTx(ctx, tx, requests)
			if err != nil {
				return err
			}
			for i, out := range outcomes {
				if out.Err != nil {
					return fmt.Errorf("%s: %w", part[i].Key, out.Err)
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("post the closing entries: %w", err)
		}
	}
	return nil
}

// openResults opens the accounts of profit and loss that the entries need.
func (c *closing) openResults(ctx context.Context) error {
	for _, r := range c.state.results {
		if _, err := c.engine.OpenAccount(ctx, r); err != nil {
			return fmt.Errorf("open account %s: %w", r.Code, err)
		}
	}
	return nil
}

// resultAccount is the account that takes a year's profit, or loss, in a currency.
func resultAccount(currency ledger.Currency, category ledger.Category, opened time.Time) ledger.Account {
	code, name, side := "result-of-the-year:"+strings.ToLower(string(currency)), "Result of the year: profit", ledger.Credit
	if category == ledger.ResultLoss {
		code, name, side = "loss-of-the-year:"+strings.ToLower(string(currency)), "Result of the year: loss", ledger.Debit
	}
	return ledger.Account{ID: ledger.SystemAccountID(code), Code: code, Name: name, Category: category, Side: side,
		Currency: currency, Shards: 1, OpenedAt: opened}
}

// errMoved says that something was posted since the year was added up.
var errMoved = errors.New("the year has moved since it was added up")

// finish records the opening balances and closes what is not hard-closed yet.
func (c *closing) finish(ctx context.Context, tx *sqldb.Tx, step periodStep) error {
	p, err := c.engine.FindPeriod(ctx, tx, c.last.ID)
	if err != nil {
		return err
	}
	made, err := step.madeBefore(ctx, tx)
	if err != nil || made {
		return err
	}
	if err := step.accepts(ctx, tx, p); err != nil {
		return err
	}
	mark, err := c.mark(ctx, tx)
	if err != nil {
		return err
	}
	if mark != c.state.mark {
		return errMoved
	}
	if err := step.isReady(ctx, tx, p); err != nil {
		return err
	}
	if err := step.runChecks(ctx, tx); err != nil {
		return err
	}
	list := c.state.openings
	err = tx.Insert(ctx, "opening_balances", []sqldb.Column{{Name: "fiscal_year", Type: "int8"}, {Name: "account_no", Type: "int8"},
		{Name: "currency", Type: "text"}, {Name: "amount", Type: "int8"}}, len(list), func(i int) []any {
		return []any{int64(c.year.Year + 1), list[i].no, string(list[i].currency), int64(list[i].sum)}
	})
	if err != nil {
		return fmt.Errorf("record the opening balances of %d: %w", c.year.Year+1, takenSince(err))
	}
	if err := c.closeEmpty(ctx, tx); err != nil {
		return err
	}
	return storeChange(ctx, tx, p, step.change)
}

// closeEmpty closes the months of the year that nobody had to close, since they
// have no postings.
func (c *closing) closeEmpty(ctx context.Context, tx *sqldb.Tx) error {
	periods, err := c.engine.ListPeriods(ctx, tx, c.year)
	if err != nil {
		return err
	}
	for _, p := range periods[:len(periods)-1] {
		steps := map[ledger.PeriodStatus][]ledger.PeriodStatus{
			ledger.PeriodOpen:       {ledger.PeriodSoftClosed, ledger.PeriodHardClosed},
			ledger.PeriodSoftClosed: {ledger.PeriodHardClosed},
		}[p.Status]
		for _, to := range steps {
			change := ledger.PeriodChange{Period: p.ID, From: p.Status, To: to, By: c.order.By, At: c.at,
				Reason: fmt.Sprintf("No postings; closed with the fiscal year %d", c.year.Year)}
			if err := storeChange(ctx, tx, p, change); err != nil {
				return err
			}
			p.Status = to
		}
	}
	return nil
}

// yearMark changes with everything that can be posted into the year while its
// other periods are hard-closed.
type yearMark struct{ pages, changes int64 }

func (c *closing) mark(ctx context.Context, tx *sqldb.Tx) (m yearMark, err error) {
	err = tx.QueryRow(ctx, "SELECT COUNT(*) FROM pages WHERE id >= $1 AND id < $2",
		[]any{firstPage(c.last.From), firstPage(c.last.To.AddDays(1))}, &m.pages)
	if err != nil {
		return m, fmt.Errorf("count the pages of period %s: %w", c.last.ID, err)
	}
	err = tx.QueryRow(ctx, "SELECT COUNT(*) FROM period_changes AS c JOIN periods AS p ON p.id = c.period_id WHERE p.ends_on <= $1",
		[]any{c.year.To}, &m.changes)
	if err != nil {
		return m, fmt.Errorf("count the changes of periods until %s: %w", c.year.To, err)
	}
	return m, nil
}

// yearState is what a year comes to.
type yearState struct {
	mark     yearMark
	openings []accountSum         // what stands on other accounts than those of income and expense
	entries  []ledger.Transaction // closing entries that are posted
	toPost   []ledger.PostRequest // closing entries that are missing
	results  []ledger.Account     // accounts that these need
	result   map[ledger.Currency]ledger.Amount
}

// accountSum is what stands on an account at the end of the year: debits less
// credits, in minor units.
type accountSum struct {
	no       int64
	id       uuid.UUID
	code     string
	category ledger.Category
	currency ledger.Currency
	sum      ledger.Amount
}

// readState adds the year up from the roll-ups of what is sealed, which all of it is.
func (c *closing) readState(ctx context.Context, tx *sqldb.Tx) (yearState, error) {
	mark, err := c.mark(ctx, tx)
	if err != nil {
		return yearState{}, err
	}
	chart, err := Chart(ctx, tx, c.year.To)
	if err != nil {
		return yearState{}, err
	}
	sums, err := sqldb.Collect(ctx, tx, `SELECT a.no, a.id, a.code, a.category, a.currency,
			CAST(COALESCE((SELECT SUM(d.debits) - SUM(d.credits) FROM account_days AS d WHERE d.account_no = a.no AND d.effective_date <= $1), 0) AS `+tx.Int8()+`)
		FROM accounts AS a ORDER BY a.code`, []any{c.year.To}, func(rows *sqldb.Rows) (accountSum, error) {
		var s accountSum
		err := rows.Scan(&s.no, &s.id, &s.code, &s.category, &s.currency, &s.sum)
		return s, err
	})
	if err != nil {
		return yearState{}, fmt.Errorf("add up the accounts until %s: %w", c.year.To, err)
	}
	state := yearState{mark: mark, result: map[ledger.Currency]ledger.Amount{}}
	var closed []accountSum
	for _, s := range sums {
		entry, numbered := chart[s.category]
		switch {
		case !numbered && s.sum != 0:
			return yearState{}, ledger.Errorf(ledger.CodeConflict, "account %s does not stand at zero, and its category %s has no number in the chart on %s; give it one first",
				s.code, s.category, c.year.To).InField("chart")
		case numbered && (entry.Number[0] == '6' || entry.Number[0] == '7'):
			closed = append(closed, s)
		case s.sum != 0:
			state.openings = append(state.openings, s)
		}
	}
	if err := c.addEntries(ctx, tx, chart, closed, &state); err != nil {
		return yearState{}, err
	}
	return state, state.balances()
}

// balances refuses opening balances that do not come to zero in each currency,
// once income and expense do: the roll-ups would not be those of the postings.
func (s *yearState) balances() error {
	if len(s.toPost) > 0 {
		return nil
	}
	totals := map[ledger.Currency]ledger.Amount{}
	for _, o := range s.openings {
		total, err := totals[o.currency].Add(o.sum)
		if err != nil {
			return fmt.Errorf("add up the opening balances in %s: %w", o.currency, err)
		}
		totals[o.currency] = total
	}
	for currency, total := range totals {
		if total != 0 {
			return ledger.Errorf(ledger.CodeConflict, "the opening balances come to %s %s, not to zero; run: tweetledger verify", total.Format(currency), currency)
		}
	}
	return nil
}

// addEntries finds the closing entries that are posted, and makes those that are
// missing.
func (c *closing) addEntries(ctx context.Context, tx *sqldb.Tx, chart map[ledger.Category]ledger.ChartEntry, accounts []accountSum, state *yearState) error {
	times := map[uuid.UUID]int{} // how often an account was closed for this year
	for n, left := 1, accounts; len(left) > 0; n++ {
		if n > maxClosings {
			return ledger.Errorf(ledger.CodeConflict, "it was closed %d times; correct it in the next year", maxClosings)
		}
		ids := make([]uuid.UUID, len(left))
		for i, a := range left {
			ids[i] = ledger.IDOfKey(c.key(a, n))
		}
		found, err := FindTransactions(ctx, tx, ids)
		if err != nil {
			return err
		}
		var again []accountSum
		for i, a := range left {
			if t, ok := found[ids[i]]; ok {
				state.entries = append(state.entries, t)
				times[a.id] = n
				again = append(again, a)
			}
		}
		left = again
	}
	target, err := c.targets(accounts, state)
	if err != nil {
		return err
	}
	opened := map[ledger.Currency]bool{}
	for _, a := range accounts {
		if a.sum == 0 {
			continue
		}
		result := resultAccount(a.currency, target[a.currency], c.at)
		if _, ok := chart[result.Category]; !ok {
			return ledger.Errorf(ledger.CodeConflict, "the category %s has no number in the chart on %s; \"tweetledger init\" gives it the default one",
				result.Category, c.year.To).InField("chart")
		}
		if !opened[a.currency] {
			opened[a.currency] = true
			state.results = append(state.results, result)
		}
		p := ledger.Posting{Debit: a.id, Credit: result.ID, Amount: -a.sum, Currency: a.currency}
		if a.sum > 0 {
			p = ledger.Posting{Debit: result.ID, Credit: a.id, Amount: a.sum, Currency: a.currency}
		}
		state.toPost = append(state.toPost, ledger.PostRequest{Key: c.key(a, times[a.id]+1), Journal: ledger.JournalClosing,
			Label: fmt.Sprintf("Closing of the fiscal year %d", c.year.Year), EffectiveDate: c.year.To, Adjustment: true, Postings: []ledger.Posting{p}})
	}
	return nil
}

// key is the idempotency key of the nth closing entry of an account. No account
// code has a # in it.
func (c *closing) key(a accountSum, n int) string {
	key := fmt.Sprintf("close:%d:%s", c.year.Year, a.code)
	if n > 1 {
		key += fmt.Sprintf("#%d", n)
	}
	return key
}

// targets adds up the result of each currency, and says whether it goes to the
// account of profit or of loss: where closing entries are posted, to the one that
// they went to.
func (c *closing) targets(accounts []accountSum, state *yearState) (map[ledger.Currency]ledger.Category, error) {
	target := map[ledger.Currency]ledger.Category{}
	add := func(currency ledger.Currency, profit ledger.Amount) error {
		total, err := state.result[currency].Add(profit)
		if err != nil {
			return fmt.Errorf("add up the result in %s: %w", currency, err)
		}
		state.result[currency] = total
		return nil
	}
	for _, t := range state.entries {
		for _, p := range t.Postings {
			profit := p.Amount
			for _, category := range []ledger.Category{ledger.Result, ledger.ResultLoss} {
				switch resultAccount(p.Currency, category, c.at).ID {
				case p.Credit:
					target[p.Currency] = category
				case p.Debit:
					target[p.Currency], profit = category, -p.Amount
				}
			}
			if err := add(p.Currency, profit); err != nil {
				return nil, err
			}
		}
	}
	for _, a := range accounts {
		if err := add(a.currency, -a.sum); err != nil {
			return nil, err
		}
	}
	for currency, result := range state.result {
		switch {
		case target[currency] != "":
		case result < 0:
			target[currency] = ledger.ResultLoss
		default:
			target[currency] = ledger.Result
		}
	}
	return target, nil
}

// OpeningBalance is what stood on an account when a fiscal year began.
type OpeningBalance struct {
	AccountID uuid.UUID
	Code      string
	Currency  ledger.Currency
	Amount    ledger.Amount // debits less credits
}

// OpeningBalances returns a page of the opening balances of a fiscal year in the
// order of the accounts' codes, after the given one; none where the year before was
// not closed. They are what stood there when it was, and follow no later change.
func OpeningBalances(ctx context.Context, tx *sqldb.Tx, year int, afterCode string, limit int) ([]OpeningBalance, error) {
	if err := sqldb.CheckPage(limit, MaxPage); err != nil {
		return nil, err
	}
	list, err := sqldb.Collect(ctx, tx, fmt.Sprintf(`SELECT a.id, a.code, o.currency, o.amount FROM opening_balances AS o
		JOIN accounts AS a ON a.no = o.account_no WHERE o.fiscal_year = $1 AND a.code > $2 ORDER BY a.code LIMIT %d`, limit),
		[]any{int64(year), afterCode}, func(rows *sqldb.Rows) (OpeningBalance, error) {
			var o OpeningBalance
			err := rows.Scan(&o.AccountID, &o.Code, &o.Currency, &o.Amount)
			return o, err
		})
	if err != nil {
		return nil, fmt.Errorf("read the opening balances of %d: %w", year, err)
	}
	return list, nil
}

// dropOpeningBalances forgets the opening balances of a year, when the year before
// it is opened again.
func dropOpeningBalances(ctx context.Context, tx *sqldb.Tx, year int) error {
	if _, err := tx.Exec(ctx, "DELETE FROM opening_balances WHERE fiscal_year = $1", int64(year)); err != nil {
		return fmt.Errorf("drop the opening balances of %d: %w", year, err)
	}
	return nil
}
