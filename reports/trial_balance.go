package reports

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// TrialBalanceParams select a trial balance. Without Period.From it shows what
// was posted up to Period.To and the balances then; with it, opening balances,
// the period's debits and credits, and closing balances.
type TrialBalanceParams struct {
	Period
	// Detailed gives one line an account of the book (each wallet, each payable)
	// rather than one an account of the chart.
	Detailed bool
}

// MaxTrialBalanceLines bounds a trial balance: more is no longer read by people,
// and each line is held in memory until it is written.
const MaxTrialBalanceLines = 200_000

// TrialBalance lists all accounts that were posted to, by their number in the
// chart on the period's last date, in one snapshot of the book. It says in a note
// and in the fact "ties" whether debits and credits tie.
func TrialBalance(ctx context.Context, tx *sqldb.Tx, p TrialBalanceParams) (Table, error) {
	if err := p.check(); err != nil {
		return Table{}, err
	}
	lines, err := trialLines(ctx, tx, p)
	if err != nil {
		return Table{}, fmt.Errorf("trial balance: %w", err)
	}
	if len(lines) > MaxTrialBalanceLines {
		return Table{}, ledger.Errorf(ledger.CodeInvalid,
			"the trial balance has %d lines, at most %d are shown; ask for it without details", len(lines), MaxTrialBalanceLines).InField("detailed")
	}
	table := Table{
		Name:        "trial_balance",
		Title:       "Trial balance",
		Description: "Posted entries, " + p.describe(),
		GeneratedAt: p.GeneratedAt,
		Columns:     trialColumns(p),
	}
	totals := byCurrency[trialLine]{}
	var unmappedNotes []string
	for _, line := range lines {
		cells, err := line.cells(p)
		if err != nil {
			return Table{}, fmt.Errorf("trial balance: %w", err)
		}
		table.Rows = append(table.Rows, Row{Cells: cells})
		totals.of(line.currency).include(line)
		if line.number == "" {
			unmappedNotes = append(unmappedNotes, line.label+" has no number in the chart of accounts"+p.chartDate()+".")
		}
	}
	ties := true
	for _, currency := range totals.currencies() {
		total := totals[currency]
		total.label, total.currency = "Total "+string(currency), currency
		cells, err := total.totalCells(p)
		if err != nil {
			return Table{}, fmt.Errorf("trial balance: %w", err)
		}
		table.Rows = append(table.Rows, Row{Cells: cells, Total: true})
		note, ok := total.tieNote()
		ties = ties && ok
		table.Notes = append(table.Notes, note)
	}
	table.Facts = append(p.facts(), Fact{Name: "ties", Title: "Debits and credits tie", Value: ties})
	table.Notes = append(table.Notes, slices.Compact(unmappedNotes)...)
	return table, nil
}

// trialLine is one line: what was posted before the period, and in it.
type trialLine struct {
	number, label, account string
	currency               ledger.Currency
	opening, movement      turnover
	// the balances of the lines that a total is of
	openingBalances, closingBalances turnover
}

func (l *trialLine) include(line *trialLine) {
	l.opening = l.opening.plus(line.opening)
	l.movement = l.movement.plus(line.movement)
	l.openingBalances = l.openingBalances.plus(line.opening.balance())
	l.closingBalances = l.closingBalances.plus(line.closing().balance())
}

func (l *trialLine) closing() turnover { return l.opening.plus(l.movement) }

func trialLines(ctx context.Context, tx *sqldb.Tx, p TrialBalanceParams) ([]*trialLine, error) {
	b := newBook(tx)
	if err := b.loadAll(ctx); err != nil {
		return nil, err
	}
	lines := map[trialLine]*trialLine{} // by the line's names, without amounts
	collect := func(f engine.TotalsFilter, part func(*trialLine) *turnover) error {
		totals, err := engine.Totals(ctx, tx, f)
		if err != nil {
			return err
		}
		for _, total := range totals {
			line, err := b.trialLine(ctx, total, p)
			if err != nil {
				return err
			}
			if lines[line] == nil {
				named := line
				lines[line] = &named
			}
			part(lines[line]).add(total.Debits, total.Credits)
		}
		return nil
	}
	if !p.From.IsZero() {
		before := engine.TotalsFilter{To: p.From.AddDays(-1), RecordedAt: p.RecordedAt}
		if err := collect(before, func(l *trialLine) *turnover { return &l.opening }); err != nil {
			return nil, err
		}
	}
	within := engine.TotalsFilter{From: p.From, To: p.To, RecordedAt: p.RecordedAt}
	if err := collect(within, func(l *trialLine) *turnover { return &l.movement }); err != nil {
		return nil, err
	}
	sorted := slices.SortedFunc(maps.Values(lines), func(a, b *trialLine) int {
		return cmp.Or(
			cmp.Compare(min(len(b.number), 1), min(len(a.number), 1)), // those without a number come last
			cmp.Compare(a.number, b.number), cmp.Compare(a.label, b.label),
			cmp.Compare(a.currency, b.currency), cmp.Compare(a.account, b.account))
	})
	return slices.DeleteFunc(sorted, func(l *trialLine) bool {
		return l.movement.isZero() && l.opening.balance().isZero() // settled before the period
	}), nil
}

func (b *book) trialLine(ctx context.Context, total engine.AccountTotal, p TrialBalanceParams) (trialLine, error) {
	account, err := b.account(total.AccountID)
	if err != nil {
		return trialLine{}, err
	}
	entry, ok, err := b.entry(ctx, account.Category, p.end())
	if err != nil {
		return trialLine{}, err
	}
	line := trialLine{number: entry.Number, label: entry.Label, currency: account.Currency}
	if !ok {
		line.number, line.label = "", unmapped(account.Category)
	}
	if p.Detailed {
		line.account = account.Code
	}
	return line, nil
}

func (p TrialBalanceParams) chartDate() string {
	if p.To.IsZero() {
		return ""
	}
	return " on " + p.To.String()
}

func trialColumns(p TrialBalanceParams) []Column {
	columns := []Column{{"account_no", "Account no.", Text}, {"label", "Label", Text}}
	if p.Detailed {
		columns = append(columns, Column{"account", "Account", Text})
	}
	if p.From.IsZero() {
		return append(columns,
			Column{"debits", "Debits", Money}, Column{"credits", "Credits", Money},
			Column{"balance_debit", "Debit balance", Money}, Column{"balance_credit", "Credit balance", Money})
	}
	return append(columns,
		Column{"opening_debit", "Opening debit", Money}, Column{"opening_credit", "Opening credit", Money},
		Column{"debits", "Debits", Money}, Column{"credits", "Credits", Money},
		Column{"closing_debit", "Closing debit", Money}, Column{"closing_credit", "Closing credit", Money})
}

func (l *trialLine) cells(p TrialBalanceParams) ([]any, error) {
	opening, err := l.opening.balanceCells(l.currency)
	if err != nil {
		return nil, err
	}
	movement, err := l.movement.cells(l.currency)
	if err != nil {
		return nil, err
	}
	closing, err := l.closing().balanceCells(l.currency)
	if err != nil {
		return nil, err
	}
	return l.row(p, opening, movement, closing), nil
}

func (l *trialLine) totalCells(p TrialBalanceParams) ([]any, error) {
	opening, err := l.openingBalances.cells(l.currency)
	if err != nil {
		return nil, err
	}
	movement, err := l.movement.cells(l.currency)
	if err != nil {
		return nil, err
	}
	closing, err := l.closingBalances.cells(l.currency)
	if err != nil {
		return nil, err
	}
	return l.row(p, opening, movement, closing), nil
}

func (l *trialLine) row(p TrialBalanceParams, opening, movement, closing []any) []any {
	cells := []any{nil, l.label}
	if l.number != "" {
		cells[0] = l.number
	}
	if p.Detailed {
		if l.account == "" {
			cells = append(cells, nil)
		} else {
			cells = append(cells, l.account)
		}
	}
	if !p.From.IsZero() {
		cells = append(cells, opening...)
	}
	return append(append(cells, movement...), closing...)
}

// tieNote says whether the total's two sides are the same, in what was posted
// before the period and in it.
func (l *trialLine) tieNote() (string, bool) {
	for _, part := range []struct {
		name string
		turnover
	}{{"opening", l.opening}, {"period's", l.movement}} {
		if part.debits.minor.Equal(part.credits.minor) {
			continue
		}
		exponent, _ := l.currency.Exponent()
		difference := part.debits.minus(part.credits).minor.Shift(-exponent)
		return fmt.Sprintf("THE BOOK DOES NOT TIE: the %s debits less credits leave %s %s. Do not use this report; run `tweetledger verify`.",
			part.name, difference.StringFixed(exponent), l.currency), false
	}
	exponent, _ := l.currency.Exponent()
	return fmt.Sprintf("Debits and credits tie in %s: %s on either side.",
		l.currency, l.movement.debits.minor.Shift(-exponent).StringFixed(exponent)), true
}
