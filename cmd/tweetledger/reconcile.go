package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tweetledger/adapters/twitter"
	"tweetledger/ledger"
	"tweetledger/reconciliation"
	"tweetledger/reports"
)

// reconcileDays is how far back a reconciliation goes that is not told: the last
// month and the days of the one that is open.
const reconcileDays = 31

func (a *app) reconcileCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "reconcile", Short: "Compare the book with tweets, settlement files and the bank, and keep every break",
		Long: `reconcile compares what the book says with what the world says, in both directions. It
posts nothing. Each run is kept, and so is each break until somebody has dealt with it
("tweetledger break") or a later run does not find it any more. The exit code is 3 where
breaks of the run are open. With --dry-run nothing is kept.`,
	}
	command.AddCommand(a.reconcileTweetsCommand(), a.reconcilePayoutsCommand(), a.reconcileCardsCommand(), a.reconcileSafeguardingCommand(), a.reconcileRunsCommand(), a.reconcileShowCommand(), a.reconcileRepeatCommand())
	return command
}

// reconcilePeriod is --from and --to of a reconciliation.
type reconcilePeriod struct{ from, to string }

func (p *reconcilePeriod) flags(c *cobra.Command) {
	c.Flags().StringVar(&p.from, "from", "", fmt.Sprintf("first date, in Paris (default %d days ago)", reconcileDays))
	c.Flags().StringVar(&p.to, "to", "", "last date (default today)")
}

func (p reconcilePeriod) parse(today ledger.Date) (from, to ledger.Date, err error) {
	if from, err = parseDate("--from", p.from); err != nil {
		return from, to, err
	}
	if to, err = parseDate("--to", p.to); err != nil {
		return from, to, err
	}
	if to.IsZero() {
		to = today
	}
	if from.IsZero() {
		from = to.AddDays(-reconcileDays)
	}
	return from, to, nil
}

// historyFlags say where tweet history comes from, if not from X.
type historyFlags struct {
	files []string
	owner twitter.Owner
}

func (f *historyFlags) flags(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.files, "history", nil, "tweet history from this file or folder rather than from X; may be repeated")
	c.Flags().StringVar(&f.owner.ID, "owner-id", "", "numeric id of an archive's owner, where no account.js says it")
	c.Flags().StringVar(&f.owner.Handle, "owner-handle", "", "handle of an archive's owner")
}

// jobFlags are those of all jobs.
type jobFlags struct {
	dates        reconcilePeriod
	by           string
	dryRun       bool
	format, file string
}

func (f *jobFlags) flags(c *cobra.Command) {
	f.dates.flags(c)
	byFlag(c, &f.by)
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "keep nothing: neither the run nor its breaks")
	formatFlag(c, &f.format)
	outputFlag(c, &f.file)
}

// runJob runs a job as the flags say, and shows what it found.
func (a *app) runJob(ctx context.Context, r *reconciler, f jobFlags, k reconciliation.KeepRequest) error {
	var err error
	if k.From, k.To, err = f.dates.parse(r.book.Today()); err != nil {
		return err
	}
	k.By = a.actor(f.by)
	bar := a.progress(-1, "reconciling "+string(k.Job))
	r.progress = func(done, total int) {
		bar.ChangeMax(total)
		_ = bar.Set(done)
	}
	if f.dryRun {
		result, err := r.run(ctx, k, nil)
		_ = bar.Finish()
		if err != nil {
			return err
		}
		return a.showReconciliation(result, nil, f.format, f.file)
	}
	kept, result, err := r.keep(ctx, k)
	_ = bar.Finish()
	if err != nil {
		return err
	}
	return a.showReconciliation(result, &kept, f.format, f.file)
}

func (a *app) reconcileTweetsCommand() *cobra.Command {
	var f jobFlags
	var from historyFlags
	var feed bool
	c := &cobra.Command{
		Use: "tweets", Short: "The ledger and its orders against tweet history, in both directions",
		Example: `  tweetledger reconcile tweets --from 2026-11-01 --to 2026-11-30
  tweetledger reconcile tweets --history tweets.jsonl --feed`,
		Long: `tweets compares what was posted with what was tweeted, and what was tweeted with
what was posted. The history comes from X (mentions and look-ups, where the
configuration has a connection) or from files named with --history.

A tweet that never arrived can be fed into the inbox with --feed; its payer is then
asked for the code as always. "tweetledger break feed" does so for one.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := a.reconciler(c.Context(), from.files, from.owner)
			if err != nil {
				return err
			}
			if r.history == nil {
				return errNoHistory()
			}
			r.feed = feed
			return a.runJob(c.Context(), r, f, reconciliation.KeepRequest{Job: reconciliation.JobTweets})
		},
	}
	f.flags(c)
	from.flags(c)
	c.Flags().BoolVar(&feed, "feed", false, "put tweets that never arrived into the inbox")
	return c
}

// history is where tweet history comes from.
func (a *app) history(s settings, files []string, owner twitter.Owner) (reconciliation.History, error) {
	if len(files) > 0 {
		opened, err := twitter.OpenImport(files, owner, a.in)
		if err != nil {
			return nil, err
		}
		return twitter.ReadHistory(opened)
	}
	client, err := a.client(s)
	if err != nil {
		return nil, err
	}
	return twitter.NewHistory(client, s.Twitter.BankUserID), nil
}

func (a *app) reconcilePayoutsCommand() *cobra.Command {
	var f jobFlags
	var payee string
	c := &cobra.Command{
		Use: "payouts", Short: "Donations against payouts, the ledger and the bank's statements, to the cent",
		Long: `payouts follows each donation to the payout that it is in, to the ledger, and to the
bank's statement, and back: money that nobody expected, payouts that the bank has not
made in time or has sent back, statements that are missing.`,
		Example: `  tweetledger reconcile payouts --payee acf --from 2026-11-01 --to 2026-11-30`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := a.reconciler(c.Context(), nil, twitter.Owner{})
			if err != nil {
				return err
			}
			return a.runJob(c.Context(), r, f, reconciliation.KeepRequest{Job: reconciliation.JobPayouts, Subject: payee})
		},
	}
	f.flags(c)
	c.Flags().StringVar(&payee, "payee", "", "only this charity or business")
	return c
}

func (a *app) reconcileCardsCommand() *cobra.Command {
	var f jobFlags
	c := &cobra.Command{
		Use: "cards", Short: "Card charges against settlement files and the bank's statements, to the cent",
		Long: `cards compares what the ledger says of cards (charges, refunds, chargebacks) with the
lines of the acquirers' settlement files, and each transfer that a file tells of with its
lines, the fees that were booked, and the bank's statements; and back: lines that nobody
here asked for, chargebacks that were not heard of, an acquirer's money of which no file
tells.

A charge that is in no file is late after reconcile.card_days, and missing after
reconcile.card_missing_days; a transfer after the days of its acquirer.`,
		Example: `  tweetledger reconcile cards --from 2026-11-01 --to 2026-11-30`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := a.reconciler(c.Context(), nil, twitter.Owner{})
			if err != nil {
				return err
			}
			return a.runJob(c.Context(), r, f, reconciliation.KeepRequest{Job: reconciliation.JobCards})
		},
	}
	f.flags(c)
	return c
}

func (a *app) reconcileSafeguardingCommand() *cobra.Command {
	var f jobFlags
	c := &cobra.Command{
		Use: "safeguarding", Short: "The daily proof that customers' money is on the safeguarding account",
		Long: `safeguarding proves, for each day that is over, that what customers are owed is covered
(CMF L.526-32): wallets, charities, unclaimed payments and payouts on their way, by the
safeguarding account and what the acquirer owes. Where a bank statement closes on the day,
its balance must be the ledger's. A proof that fails is a break of the day.

The totals are those of the last day; "report safeguarding" lists every day.`,
		Example: `  tweetledger reconcile safeguarding --from 2026-11-01 --to 2026-11-30`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := a.reconciler(c.Context(), nil, twitter.Owner{})
			if err != nil {
				return err
			}
			return a.runJob(c.Context(), r, f, reconciliation.KeepRequest{Job: reconciliation.JobSafeguarding})
		},
	}
	f.flags(c)
	return c
}

// showReconciliation prints a run; breaks that are open make the exit code 3.
func (a *app) showReconciliation(r reconciliation.Result, kept *reconciliation.Kept, format, file string) error {
	if err := a.show(reconciliationTable(r, kept), format, file); err != nil {
		return err
	}
	open, where := len(r.Breaks), "the report says what each one is and what to do"
	if kept != nil {
		open, where = kept.Open(), where+"; work them with: tweetledger break"
	}
	if open > 0 {
		return &exitError{exitBreaks, count(open, "break") + "; " + where}
	}
	return nil
}

// words makes a title of a name: "payouts_net" is "Payouts net".
func words(name string) string {
	title := strings.ReplaceAll(name, "_", " ")
	return strings.ToUpper(title[:1]) + title[1:]
}

// reconciliationTable lists the breaks of a run, then its notes; kept is nil where
// nothing was kept.
func reconciliationTable(r reconciliation.Result, kept *reconciliation.Kept) reports.Table {
	title := fmt.Sprintf("Reconciliation of %s", r.Job)
	if r.Subject != "" {
		title += " for " + r.Subject
	}
	table := reports.Table{
		Name: "reconciliation_" + string(r.Job), Title: title, GeneratedAt: r.At,
		Description: fmt.Sprintf("From %s to %s, both inclusive (Paris).", r.From, r.To),
		Columns: []reports.Column{
			{Name: "kind", Title: "", Kind: reports.Text}, {Name: "number", Title: "Number", Kind: reports.Integer}, {Name: "class", Title: "Class", Kind: reports.Text},
			{Name: "reference", Title: "Reference", Kind: reports.Text}, {Name: "date", Title: "Date", Kind: reports.Day},
			{Name: "amount", Title: "Amount", Kind: reports.Money}, {Name: "message", Title: "What, and what to do", Kind: reports.Text},
		},
	}
	if kept != nil {
		table.Facts = append(table.Facts, reports.Fact{Name: "run", Title: "Run", Value: kept.Number})
	}
	table.Facts = append(table.Facts, outcomeFacts(r.Matches, r.Totals)...)
	table.Facts = append(table.Facts,
		reports.Fact{Name: "open", Title: "Not finished, and not late", Value: int64(r.Open)},
		reports.Fact{Name: "breaks", Title: "Breaks", Value: int64(len(r.Breaks))},
	)
	if kept != nil {
		table.Facts = append(table.Facts, reports.Fact{Name: "breaks_open", Title: "… of these open", Value: int64(kept.Open())},
			reports.Fact{Name: "breaks_new", Title: "… new, or open again", Value: int64(kept.Found + kept.FoundAgain)},
			reports.Fact{Name: "breaks_closed", Title: "Closed, as they are there no more", Value: int64(kept.Closed)})
	}
	table.Facts = append(table.Facts, reports.Fact{Name: "inputs", Title: "Inputs (SHA-256)", Value: r.InputsHash})
	add := func(kind string, list []reconciliation.Break) {
		for _, b := range list {
			cells := []any{kind, nil, string(b.Class), b.Reference, nil, nil, withSuggestion(b)}
			if kept != nil && kind == breakKind {
				cells[0], cells[1] = kindOf(kept.States[b.Key].State), kept.States[b.Key].Number
			}
			if !b.Date.IsZero() {
				cells[4] = b.Date
			}
			if b.Currency != "" {
				cells[5] = reports.Cash{Amount: b.Amount, Currency: b.Currency}
			}
			if b.Fed != "" {
				cells[6] = withSuggestion(b) + "; done: " + b.Fed
			}
			table.Rows = append(table.Rows, reports.Row{Cells: cells})
		}
	}
	add(breakKind, r.Breaks)
	add("note", r.Notes)
	return table
}

// outcomeFacts are what a run has matched and added up.
func outcomeFacts(matches []reconciliation.Match, totals []reconciliation.Total) []reports.Fact {
	var facts []reports.Fact
	for _, m := range matches {
		facts = append(facts, reports.Fact{Name: "matched_" + m.Matcher, Title: "Matched by " + strings.ReplaceAll(m.Matcher, "_", " "), Value: int64(m.Count)})
	}
	for _, total := range totals {
		facts = append(facts, reports.Fact{Name: "total_" + total.Name, Title: fmt.Sprintf("%s (%d)", words(total.Name), total.Count),
			Value: reports.Cash{Amount: total.Amount, Currency: total.Currency}})
	}
	return facts
}

// breakKind marks a break that is open among what a run tells.
const breakKind = "break"

func kindOf(s reconciliation.BreakState) string {
	if s == reconciliation.Open {
		return breakKind
	}
	return stateOf(s)
}

// stateOf is a break's state in words.
func stateOf(s reconciliation.BreakState) string { return strings.ReplaceAll(string(s), "_", " ") }

func withSuggestion(b reconciliation.Break) string {
	if b.Suggestion == "" {
		return b.Message
	}
	return b.Message + "; perhaps: " + b.Suggestion
}
