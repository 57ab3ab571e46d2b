package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/reconciliation"
	"tweetledger/reports"
)

func (a *app) reconcileRunsCommand() *cobra.Command {
	var job, format string
	var limit int
	var before int64
	c := &cobra.Command{
		Use: "runs", Short: "List the runs that were kept, the newest first",
		Long: `runs lists the reconciliations that were kept, with who wanted them and what they came to.
A run that is still running for long has lost its process; the next one finds the same.`,
		Example: `  tweetledger reconcile runs --job payouts`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			table := reports.Table{
				Name: "reconciliation_runs", Title: "Reconciliations", GeneratedAt: book.Now(),
				Columns: []reports.Column{
					{Name: "run", Title: "Run", Kind: reports.Integer}, {Name: "job", Title: "Job", Kind: reports.Text}, {Name: "from", Title: "From", Kind: reports.Day},
					{Name: "to", Title: "To", Kind: reports.Day}, {Name: "subject", Title: "Only", Kind: reports.Text}, {Name: "state", Title: "State", Kind: reports.Text},
					{Name: "by", Title: "By", Kind: reports.Text}, {Name: "started_at", Title: "Started at", Kind: reports.Instant},
					{Name: "breaks", Title: "Breaks", Kind: reports.Integer}, {Name: "inputs", Title: "Inputs (SHA-256)", Kind: reports.Text},
				},
			}
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				table.Rows = nil
				list, err := reconciliation.ListRuns(ctx, tx, reconciliation.RunFilter{Job: reconciliation.Job(job), Before: before, Limit: limit})
				for _, r := range list {
					state := string(r.State)
					if r.Reason != "" {
						state += ": " + r.Reason
					}
					table.Rows = append(table.Rows, reports.Row{Cells: []any{r.Number, string(r.Job), r.From, r.To, r.Subject, state, r.By, r.StartedAt,
						int64(len(r.Outcome.Breaks)), r.InputsHash}})
				}
				return err
			})
			if err != nil {
				return err
			}
			return a.show(table, format, "")
		},
	}
	c.Flags().StringVar(&job, "job", "", "only of this job")
	c.Flags().Int64Var(&before, "before", 0, "go on behind this run")
	c.Flags().IntVar(&limit, "limit", 100, "how many at most")
	formatFlag(c, &format)
	return c
}

// findRun reads the run of a number as a person writes it.
func (a *app) findRun(ctx context.Context, text string, also func(ctx context.Context, tx *sqldb.Tx, r reconciliation.Run) error) (reconciliation.Run, error) {
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number < 1 {
		return reconciliation.Run{}, ledger.Errorf(ledger.CodeInvalid, "%.40q is not the number of a run; \"tweetledger reconcile runs\" shows them", text).InField("run")
	}
	book, err := a.openBook(ctx)
	if err != nil {
		return reconciliation.Run{}, err
	}
	var r reconciliation.Run
	err = book.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if r, err = reconciliation.FindRun(ctx, tx, number); err != nil || also == nil {
			return err
		}
		return also(ctx, tx, r)
	})
	return r, err
}

func (a *app) reconcileShowCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "show RUN", Short: "Show what a run came to, and its breaks as they are now",
		Long: `show prints what a run that was kept has matched and added up, and the breaks that it
found, opened again or closed, in the state that they have now.`,
		Example: `  tweetledger reconcile show 12`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var list []reconciliation.KeptBreak
			r, err := a.findRun(c.Context(), args[0], func(ctx context.Context, tx *sqldb.Tx, r reconciliation.Run) (err error) {
				list, err = reconciliation.BreaksOfRun(ctx, tx, r)
				return err
			})
			if err != nil {
				return err
			}
			table := breakTable("reconciliation_run", fmt.Sprintf("Run %d: reconciliation of %s", r.Number, r.Job), list, a.engine)
			table.Description = fmt.Sprintf("From %s to %s, both inclusive (Paris).", r.From, r.To)
			table.Facts = append([]reports.Fact{
				{Name: "state", Title: "State", Value: string(r.State)}, {Name: "by", Title: "By", Value: r.By}, {Name: "started_at", Title: "Started at", Value: r.StartedAt},
			}, outcomeFacts(r.Outcome.Matches, r.Outcome.Totals)...)
			if r.Reason != "" {
				table.Facts = append(table.Facts, reports.Fact{Name: "reason", Title: "Why", Value: r.Reason})
			}
			if r.Subject != "" {
				table.Facts = append(table.Facts, reports.Fact{Name: "subject", Title: "Only", Value: r.Subject})
			}
			table.Facts = append(table.Facts, reports.Fact{Name: "open", Title: "Not finished, and not late", Value: int64(r.Outcome.Open)},
				reports.Fact{Name: "inputs", Title: "Inputs (SHA-256)", Value: r.InputsHash})
			return a.show(table, format, "")
		},
	}
	formatFlag(c, &format)
	return c
}

func (a *app) reconcileRepeatCommand() *cobra.Command {
	var by, format string
	var from historyFlags
	c := &cobra.Command{
		Use: "repeat RUN", Short: "Run a kept run again, and say what has changed since",
		Long: `repeat runs the job of a run again, over the same period, and keeps that run too. Where
nothing has changed it says so, and the exit code is 0: the inputs have the same hash, and
all that was found is the same. Else it lists what differs: the days whose inputs have
changed, counts, sums and breaks; the exit code is 3.`,
		Example: `  tweetledger reconcile repeat 12 --history tweets.jsonl`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			first, err := a.findRun(c.Context(), args[0], nil)
			if err != nil {
				return err
			}
			if first.State != reconciliation.RunFinished {
				return ledger.Errorf(ledger.CodeConflict, "run %d is %s; there is nothing to compare with", first.Number, first.State).InField("run")
			}
			r, err := a.reconciler(c.Context(), from.files, from.owner)
			if err != nil {
				return err
			}
			again, _, err := r.keep(c.Context(), reconciliation.KeepRequest{Job: first.Job, From: first.From, To: first.To, Subject: first.Subject, By: a.actor(by)})
			if err != nil {
				return err
			}
			changes := reconciliation.Changes(first, again.Run)
			if len(changes) == 0 {
				_, err := fmt.Fprintf(a.out, "run %d has the same inputs as run %d, %s, and found the same\n", again.Number, first.Number, first.InputsHash)
				return err
			}
			table := reports.Table{
				Name: "changes", Title: fmt.Sprintf("Run %d against run %d of %s", again.Number, first.Number, first.Job), GeneratedAt: r.book.Now(),
				Description: fmt.Sprintf("From %s to %s, both inclusive (Paris).", first.From, first.To),
				Columns: []reports.Column{{Name: "what", Title: "What", Kind: reports.Text}, {Name: "before", Title: fmt.Sprintf("Run %d", first.Number), Kind: reports.Text},
					{Name: "after", Title: fmt.Sprintf("Run %d", again.Number), Kind: reports.Text}},
			}
			for _, change := range changes {
				table.Rows = append(table.Rows, reports.Row{Cells: []any{change.What, change.Before, change.After}})
			}
			if err := a.show(table, format, ""); err != nil {
				return err
			}
			return &exitError{exitBreaks, fmt.Sprintf("run %d differs from run %d in %s", again.Number, first.Number, count(len(changes), "place"))}
		},
	}
	byFlag(c, &by)
	from.flags(c)
	formatFlag(c, &format)
	return c
}
