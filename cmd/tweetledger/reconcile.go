package main

import (
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
		Use: "reconcile", Short: "Compare the book with tweet history and with the bank, and name every break",
		Long: `reconcile compares what the book says with what the world says, in both directions.
It changes nothing, and its exit code is 3 where it found breaks.`,
	}
	command.AddCommand(a.reconcileTweetsCommand(), a.reconcilePayoutsCommand())
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

func (a *app) reconcileTweetsCommand() *cobra.Command {
	var dates reconcilePeriod
	var files []string
	var owner twitter.Owner
	var format, file string
	var feed bool
	c := &cobra.Command{
		Use: "tweets", Short: "The ledger and its orders against tweet history, in both directions",
		Example: `  tweetledger reconcile tweets --from 2026-11-01 --to 2026-11-30
  tweetledger reconcile tweets --history tweets.jsonl --feed`,
		Long: `tweets compares what was posted with what was tweeted, and what was tweeted with
what was posted. The history comes from X (mentions and look-ups, where the
configuration has a connection) or from files named with --history.

A tweet that never arrived can be fed into the inbox with --feed; its payer is then
asked for the code as always.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			service, s, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			p := reconciliation.TweetsParams{Channel: twitter.Channel, Feed: feed}
			if p.From, p.To, err = dates.parse(service.Engine().Today()); err != nil {
				return err
			}
			parser, err := twitter.NewParser(s.parser())
			if err != nil {
				return err
			}
			history, err := a.history(s, files, owner)
			if err != nil {
				return err
			}
			bar := a.progress(-1, "reconciling tweets")
			p.Progress = func(done, total int) {
				bar.ChangeMax(total)
				_ = bar.Set(done)
			}
			result, err := reconciliation.Tweets(c.Context(), service, parser, history, p)
			_ = bar.Finish()
			if err != nil {
				return err
			}
			return a.showReconciliation(result, format, file)
		},
	}
	dates.flags(c)
	c.Flags().StringArrayVar(&files, "history", nil, "tweet history from this file or folder rather than from X; may be repeated")
	c.Flags().StringVar(&owner.ID, "owner-id", "", "numeric id of an archive's owner, where no account.js says it")
	c.Flags().StringVar(&owner.Handle, "owner-handle", "", "handle of an archive's owner")
	c.Flags().BoolVar(&feed, "feed", false, "put tweets that never arrived into the inbox")
	formatFlag(c, &format)
	outputFlag(c, &file)
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
	if client == nil {
		return nil, ledger.Errorf(ledger.CodeInvalid, "no tweet history: name files with --history, or set twitter.api_url in the configuration")
	}
	return twitter.NewHistory(client, s.Twitter.BankUserID), nil
}

func (a *app) reconcilePayoutsCommand() *cobra.Command {
	var dates reconcilePeriod
	var payee, format, file string
	c := &cobra.Command{
		Use: "payouts", Short: "Donations against payouts, the ledger and the bank's statements, to the cent",
		Long: `payouts follows each donation to the payout that it is in, to the ledger, and to the
bank's statement, and back: money that nobody expected, payouts that the bank has not
made in time or has sent back, statements that are missing.`,
		Example: `  tweetledger reconcile payouts --payee acf --from 2026-11-01 --to 2026-11-30`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			paying, err := a.openPayouts(c.Context())
			if err != nil {
				return err
			}
			p := reconciliation.PayoutsParams{Payee: payee}
			if p.From, p.To, err = dates.parse(book.Today()); err != nil {
				return err
			}
			result, err := reconciliation.Payouts(c.Context(), book, paying, p)
			if err != nil {
				return err
			}
			return a.showReconciliation(result, format, file)
		},
	}
	dates.flags(c)
	c.Flags().StringVar(&payee, "payee", "", "only this charity or business")
	formatFlag(c, &format)
	outputFlag(c, &file)
	return c
}

// showReconciliation prints a run; breaks make the exit code 3.
func (a *app) showReconciliation(r reconciliation.Result, format, file string) error {
	if err := a.show(reconciliationTable(r), format, file); err != nil {
		return err
	}
	if len(r.Breaks) > 0 {
		return &exitError{exitBreaks, count(len(r.Breaks), "break") + "; the report says what each one is and what to do"}
	}
	return nil
}

// words makes a title of a name: "payouts_net" is "Payouts net".
func words(name string) string {
	title := strings.ReplaceAll(name, "_", " ")
	return strings.ToUpper(title[:1]) + title[1:]
}

// reconciliationTable lists the breaks of a run, then its notes.
func reconciliationTable(r reconciliation.Result) reports.Table {
	title := fmt.Sprintf("Reconciliation of %s", r.Job)
	if r.Subject != "" {
		title += " for " + r.Subject
	}
	table := reports.Table{
		Name: "reconciliation_" + string(r.Job), Title: title, GeneratedAt: r.At,
		Description: fmt.Sprintf("From %s to %s, both inclusive (Paris).", r.From, r.To),
		Columns: []reports.Column{
			{Name: "kind", Title: "", Kind: reports.Text}, {Name: "class", Title: "Class", Kind: reports.Text},
			{Name: "reference", Title: "Reference", Kind: reports.Text}, {Name: "date", Title: "Date", Kind: reports.Day},
			{Name: "amount", Title: "Amount", Kind: reports.Money}, {Name: "message", Title: "What, and what to do", Kind: reports.Text},
		},
	}
	for _, m := range r.Matches {
		table.Facts = append(table.Facts, reports.Fact{Name: "matched_" + m.Matcher, Title: "Matched by " + strings.ReplaceAll(m.Matcher, "_", " "), Value: int64(m.Count)})
	}
	for _, total := range r.Totals {
		table.Facts = append(table.Facts, reports.Fact{Name: "total_" + total.Name, Title: fmt.Sprintf("%s (%d)", words(total.Name), total.Count),
			Value: reports.Cash{Amount: total.Amount, Currency: total.Currency}})
	}
	table.Facts = append(table.Facts,
		reports.Fact{Name: "open", Title: "Not finished, and not late", Value: int64(r.Open)},
		reports.Fact{Name: "breaks", Title: "Breaks", Value: int64(len(r.Breaks))},
		reports.Fact{Name: "inputs", Title: "Inputs (SHA-256)", Value: r.InputsHash})
	add := func(kind string, list []reconciliation.Break) {
		for _, b := range list {
			cells := []any{kind, string(b.Class), b.Reference, nil, nil, b.Message}
			if !b.Date.IsZero() {
				cells[3] = b.Date
			}
			if b.Currency != "" {
				cells[4] = reports.Cash{Amount: b.Amount, Currency: b.Currency}
			}
			if b.Fed != "" {
				cells[5] = b.Message + "; done: " + b.Fed
			}
			table.Rows = append(table.Rows, reports.Row{Cells: cells})
		}
	}
	add("break", r.Breaks)
	add("note", r.Notes)
	return table
}
