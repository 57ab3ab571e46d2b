package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/reconciliation"
	"tweetledger/reports"
)

func (a *app) periodCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "period", Short: "Close the months of the book, and open them again",
		Long: `A period is a month of the book, by effective date. It goes through three states:

  open          everyone posts
  soft-closed   the month is being finished: only adjustments are posted
  hard-closed   nothing is posted any more; a correction has a later date

Every change stands in the period's trace: "tweetledger period show".`,
	}
	command.AddCommand(a.periodListCommand(), a.periodShowCommand(), a.periodCloseCommand(), a.periodReopenCommand())
	return command
}

// stateWords are the states of a period as people read them.
func stateWords(s ledger.PeriodStatus) string { return strings.ReplaceAll(string(s), "_", "-") }

// effectiveWords say in which state a period takes postings, and which later one put
// it there.
func effectiveWords(s engine.EffectiveState) string {
	if s.With == "" {
		return stateWords(s.Status)
	}
	return stateWords(s.Status) + ", with " + s.With
}

func (a *app) periodListCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "list [YEAR]", Short: "List the periods of a fiscal year with their states",
		Long: `list shows the twelve periods of a fiscal year, which is named after the calendar year
in which it begins; without YEAR, of the one that today is in. A month that a later
period closes is shown closed with that one.`,
		Example: `  tweetledger period list
  tweetledger period list 2026 --format csv`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			named := ""
			if len(args) == 1 {
				named = args[0]
			}
			year, err := a.fiscalYear(book, named)
			if err != nil {
				return err
			}
			var list []ledger.Period
			var states []engine.EffectiveState
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				if list, err = book.ListPeriods(ctx, tx, year); err != nil {
					return err
				}
				states, err = engine.EffectiveStates(ctx, tx, list)
				return err
			})
			if err != nil {
				return err
			}
			table := reports.Table{
				Name: "periods", Title: fmt.Sprintf("Periods of the fiscal year %d", year.Year), GeneratedAt: book.Now(),
				Columns: []reports.Column{
					{Name: "period", Title: "Period", Kind: reports.Text}, {Name: "from", Title: "From", Kind: reports.Day},
					{Name: "to", Title: "To", Kind: reports.Day}, {Name: "state", Title: "State", Kind: reports.Text},
				},
			}
			for i, p := range list {
				table.Rows = append(table.Rows, reports.Row{Cells: []any{p.ID, p.From, p.To, effectiveWords(states[i])}})
			}
			return a.show(table, format, "")
		},
	}
	formatFlag(c, &format)
	return c
}

// fiscalYear reads a fiscal year's name; empty is the one that today is in.
func (a *app) fiscalYear(book *engine.Engine, name string) (ledger.FiscalYear, error) {
	if name == "" {
		return book.FiscalYearOf(book.Today()), nil
	}
	year, err := strconv.Atoi(name)
	if err != nil {
		return ledger.FiscalYear{}, ledger.Errorf(ledger.CodeInvalid, "%q is not a fiscal year; write the year in which it begins, like 2026",
			ledger.Clip(name)).InField("year")
	}
	return book.FiscalYear(year)
}

func (a *app) periodShowCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "show PERIOD", Short: "Show a period's state, and who changed it when and why",
		Long:    `show prints the state of a period and its trace, the first change first.`,
		Example: `  tweetledger period show 2026-10`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			var p ledger.Period
			var changes []ledger.PeriodChange
			var states []engine.EffectiveState
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				if p, err = book.FindPeriod(ctx, tx, args[0]); err != nil {
					return err
				}
				if states, err = engine.EffectiveStates(ctx, tx, []ledger.Period{p}); err != nil {
					return err
				}
				changes, err = engine.PeriodChanges(ctx, tx, p.ID)
				return err
			})
			if err != nil {
				return err
			}
			table := reports.Table{
				Name: "period", Title: "Period " + p.ID, GeneratedAt: book.Now(),
				Facts: []reports.Fact{
					{Name: "state", Title: "State", Value: effectiveWords(states[0])}, {Name: "fiscal_year", Title: "Fiscal year", Value: strconv.Itoa(p.FiscalYear)},
					{Name: "from", Title: "From", Value: p.From}, {Name: "to", Title: "To", Value: p.To},
				},
				Columns: []reports.Column{
					{Name: "at", Title: "At (UTC)", Kind: reports.Text}, {Name: "from", Title: "From", Kind: reports.Text},
					{Name: "to", Title: "To", Kind: reports.Text}, {Name: "by", Title: "By", Kind: reports.Text},
					{Name: "approved_by", Title: "Approved by", Kind: reports.Text}, {Name: "reason", Title: "Reason", Kind: reports.Text},
				},
			}
			for _, change := range changes {
				table.Rows = append(table.Rows, reports.Row{Cells: []any{change.At.Format(time.DateTime), stateWords(change.From), stateWords(change.To),
					change.By, change.ApprovedBy, change.Reason}})
			}
			return a.show(table, format, "")
		},
	}
	formatFlag(c, &format)
	return c
}

func (a *app) periodCloseCommand() *cobra.Command {
	var soft, hard bool
	var breaks breakCheck
	change := ledger.PeriodChange{}
	c := &cobra.Command{
		Use: "close PERIOD", Short: "Close a period: --soft to finish it, then --hard for good",
		Long: `close --soft ends the daily business of a month: from then on only adjustments are
posted into it. close --hard ends it for good. Either closes all that is before it
too, also months without postings. The last period of a fiscal year is hard-closed
with the year: "tweetledger year close".

Before that it makes sure that all of the period is sealed, that the earlier periods
are closed as far, with --hard that the book verifies, and that no break of the period
is open: it reconciles payouts, cards, safeguarding, and tweets where there is a history,
and keeps the runs.
With breaks that nobody has explained or corrected ("tweetledger break") it closes only
for a --reason, which stands in the trace.`,
		Example: `  tweetledger period close 2026-10 --soft --by anne
  tweetledger period close 2026-10 --hard --by anne --reason "Break 1 is with the bank, ticket 4711"`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case soft == hard:
				return usagef("say either --soft or --hard; see: %s --help", c.CommandPath())
			case soft:
				change.To = ledger.PeriodSoftClosed
			default:
				change.To = ledger.PeriodHardClosed
			}
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			change.Period, change.By = args[0], a.actor(change.By)
			made, err := book.ChangePeriod(c.Context(), change, breaks.check(a, change.By, change.Reason))
			if err != nil {
				return beginWith(c.Context(), book, err, change.Period, change.To)
			}
			return a.showChange(made)
		},
	}
	c.Flags().BoolVar(&soft, "soft", false, "close for all but adjustments")
	c.Flags().BoolVar(&hard, "hard", false, "close for good")
	byFlag(c, &change.By)
	c.Flags().StringVar(&change.Reason, "reason", "", "for the trace; with it, breaks do not keep the period open")
	breaks.flags(c)
	return c
}

func byFlag(c *cobra.Command, by *string) {
	c.Flags().StringVar(by, "by", "", "who does this, for the trace (default $TWEETLEDGER_ACTOR, else the system user)")
}

func (a *app) showChange(made ledger.PeriodChange) error {
	_, err := fmt.Fprintf(a.out, "period %s is %s, by %s\n", made.Period, stateWords(made.To), made.By)
	return err
}

func (a *app) periodReopenCommand() *cobra.Command {
	change := ledger.PeriodChange{To: ledger.PeriodOpen}
	c := &cobra.Command{
		Use: "reopen PERIOD", Short: "Open a closed period again; it takes two persons and a reason",
		Long: `reopen opens a period that is closed. Whoever asks for it needs the approval of
another person and a reason; all of it stands in the trace. The names are taken as
given: nothing here asks for a password. The later periods must be open.

A correction rarely needs it: post it with a date in a period that is open. To open
the last period of a closed fiscal year drops the opening balances of the next one,
which are recorded anew when the year is closed again.`,
		Example: `  tweetledger period reopen 2026-10 --by anne --approved-by bruno --reason "The bank corrected statement 31"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			change.Period = args[0]
			if strings.TrimSpace(change.By) == "" {
				return ledger.Errorf(ledger.CodeInvalid, "say who asks for it; the system's user is no answer where two persons are needed").InField("--by")
			}
			made, err := book.ChangePeriod(c.Context(), change)
			if err != nil {
				return err
			}
			return a.showChange(made)
		},
	}
	c.Flags().StringVar(&change.By, "by", "", "who asks for it, for the trace")
	c.Flags().StringVar(&change.ApprovedBy, "approved-by", "", "another person, who approves it")
	c.Flags().StringVar(&change.Reason, "reason", "", "why, for the trace")
	required(c, "by", "approved-by", "reason")
	return c
}

// breakCheck keeps a period open while breaks of it are open.
type breakCheck struct {
	history historyFlags
	found   map[string]error // by period: it is asked more than once
}

func (b *breakCheck) flags(c *cobra.Command) { b.history.flags(c) }

// check returns what ChangePeriod asks: it reconciles the period once, beside the
// closing's own transaction, which others would have to wait for, and then asks for the
// breaks of the period that nobody has dealt with.
func (b *breakCheck) check(a *app, by, reason string) engine.Check {
	b.found = map[string]error{}
	return func(ctx context.Context, tx *sqldb.Tx, p ledger.Period) error {
		if reason != "" {
			return nil
		}
		err, ok := b.found[p.ID]
		if !ok {
			err = b.reconcile(ctx, a, p, by)
			b.found[p.ID] = err
			return err
		}
		if err != nil {
			return err
		}
		return noBreaks(ctx, tx, p)
	}
}

func (b *breakCheck) reconcile(ctx context.Context, a *app, p ledger.Period, by string) error {
	r, err := a.reconciler(ctx, b.history.files, b.history.owner)
	if err != nil {
		return err
	}
	for _, job := range r.jobs() {
		if _, _, err := r.keep(ctx, reconciliation.KeepRequest{Job: job, From: p.From, To: p.To, By: by}); err != nil {
			return err
		}
	}
	// The check's own transaction may not see what the runs have written.
	return a.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return noBreaks(ctx, tx, p) })
}

// noBreaks refuses a period with breaks that nobody has dealt with.
func noBreaks(ctx context.Context, tx *sqldb.Tx, p ledger.Period) error {
	open, err := reconciliation.CountOpen(ctx, tx, p.From, p.To)
	if err != nil {
		return err
	}
	total := 0
	var jobs []string
	for _, job := range slices.Sorted(maps.Keys(open)) {
		total += open[job]
		jobs = append(jobs, fmt.Sprintf("%s %d", job, open[job]))
	}
	if total == 0 {
		return nil
	}
	is := "are"
	if total == 1 {
		is = "is"
	}
	return ledger.Errorf(ledger.CodeConflict, "%s of the period %s %s open (%s); look at: tweetledger break list --from %s --to %s; explain or correct them, or give a --reason",
		count(total, "break"), p.ID, is, strings.Join(jobs, ", "), p.From, p.To).InField("period")
}
