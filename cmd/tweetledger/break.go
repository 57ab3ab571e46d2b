package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/reconciliation"
	"tweetledger/reports"
)

func (a *app) breakCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "break", Short: "Work the breaks that reconciliation has found",
		Long: `A break is a difference between the book and the world that a person must look at.
Reconciliation finds and keeps it, and closes it when a later run does not find it any
more. Until then somebody explains it, corrects the ledger, or writes it off:

  open             nobody has dealt with it
  explained        it is right as it is, for a reason
  corrected        a transaction has corrected the ledger; two persons were needed
  written off      a transaction has taken it for a loss or a gain; likewise
  closed by match  a run did not find it any more

docs/reconciliation.md says of each class of break what it means and what to do.`,
	}
	command.AddCommand(a.breakListCommand(), a.breakShowCommand(), a.breakAssignCommand(),
		a.breakActCommand("comment", "text", "Note what was found out about a break",
			`comment adds a line to the trace of a break. It changes nothing else.`, `--text "asked the bank, ticket 4711"`, "noted", reconciliation.Comment),
		a.breakActCommand("explain", "reason", "End a break: it is right as it is, for a reason",
			`explain ends an open break without a posting. It keeps no period open then. When a later
run finds it with another amount, it is open again.`, `--reason "the customer agreed on the telephone"`, "", reconciliation.Explain),
		a.breakActCommand("reopen", "reason", "Take the explanation of a break back",
			`reopen makes an explained break open again.`, `--reason "it was another customer"`, "", reconciliation.Reopen),
		a.breakProposeCommand("correct", reconciliation.Correction, "Propose a transaction that corrects the ledger",
			`correct proposes what to post for a break, as from suspense to the account that the money
belongs to. Another person approves it with "break approve", which posts it and ends the
break. A payment that was wrong is rather reversed: "tweetledger reverse".`),
		a.breakProposeCommand("write-off", reconciliation.WriteOff, "Propose a transaction that takes a break for a loss or a gain",
			`write-off proposes what to post for money that is lost, or that nobody will ever claim.
Another person approves it with "break approve".`),
		a.breakDecideCommand("approve", "Post what another person has proposed for a break",
			`approve posts the proposal that waits and ends the break. It takes another person than the
one who proposed it: look at it with "break show".`, reconciliation.Approve),
		a.breakDecideCommand("reject", "End a proposal without effect",
			`reject ends the proposal that waits; another one can be made then. Who proposed it may
withdraw it this way, too.`, reconciliation.Reject),
		a.breakFeedCommand())
	return command
}

func parseBreak(text string) (int64, error) {
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number < 1 {
		return 0, ledger.Errorf(ledger.CodeInvalid, "%.40q is not the number of a break; \"tweetledger break list\" shows them", text).InField("number")
	}
	return number, nil
}

func (a *app) breakListCommand() *cobra.Command {
	var dates reconcilePeriod
	var job, state, class, owner, format, file string
	var limit int
	var after int64
	c := &cobra.Command{
		Use: "list", Short: "List breaks with state, age and owner, the oldest first",
		Long: `list shows the breaks that are open, or those in another --state ("all" for every one),
in the order in which they were found. Ages count from the day of the first run that found
a break; the lines above tell how many open ones there are of each age.`,
		Example: `  tweetledger break list
  tweetledger break list --state explained --from 2026-11-01 --to 2026-11-30 --format csv -o november.csv`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f := reconciliation.BreakFilter{Job: reconciliation.Job(job), State: reconciliation.BreakState(state), Class: reconciliation.Class(class), Owner: owner,
				After: after, Limit: limit}
			if state == "all" {
				f.State = ""
			}
			var err error
			if f.From, err = parseDate("--from", dates.from); err != nil {
				return err
			}
			if f.To, err = parseDate("--to", dates.to); err != nil {
				return err
			}
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			var list []reconciliation.KeptBreak
			var ages map[reconciliation.Job]map[reconciliation.Age]int
			now := book.Now()
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				if list, err = reconciliation.ListBreaks(ctx, tx, f); err != nil {
					return err
				}
				ages, err = reconciliation.CountByAge(ctx, tx, now, book.Location())
				return err
			})
			if err != nil {
				return err
			}
			table := breakTable("breaks", "Breaks", list, book)
			for _, age := range reconciliation.Ages() {
				total := 0
				for _, of := range ages {
					total += of[age]
				}
				table.Facts = append(table.Facts, reports.Fact{Name: "open_" + string(age), Title: "Open for " + string(age) + " days", Value: int64(total)})
			}
			return a.show(table, format, file)
		},
	}
	c.Flags().StringVar(&dates.from, "from", "", "only of what is of this date or later")
	c.Flags().StringVar(&dates.to, "to", "", "only of what is of this date or earlier")
	c.Flags().StringVar(&job, "job", "", "only of this job: tweets, payouts or safeguarding")
	c.Flags().StringVar(&state, "state", string(reconciliation.Open), "open, explained, corrected, written_off, closed_by_match or all")
	c.Flags().StringVar(&class, "class", "", "only of this class")
	c.Flags().StringVar(&owner, "owner", "", "only of this owner")
	c.Flags().Int64Var(&after, "after", 0, "go on behind this number")
	c.Flags().IntVar(&limit, "limit", reconciliation.MaxPage, "how many at most")
	formatFlag(c, &format)
	outputFlag(c, &file)
	return c
}

// breakTable lists kept breaks.
func breakTable(name, title string, list []reconciliation.KeptBreak, book *engine.Engine) reports.Table {
	table := reports.Table{
		Name: name, Title: title, GeneratedAt: book.Now(),
		Columns: []reports.Column{
			{Name: "number", Title: "Number", Kind: reports.Integer}, {Name: "job", Title: "Job", Kind: reports.Text}, {Name: "class", Title: "Class", Kind: reports.Text},
			{Name: "reference", Title: "Reference", Kind: reports.Text}, {Name: "date", Title: "Date", Kind: reports.Day}, {Name: "amount", Title: "Amount", Kind: reports.Money},
			{Name: "state", Title: "State", Kind: reports.Text}, {Name: "days", Title: "Days", Kind: reports.Integer}, {Name: "owner", Title: "Owner", Kind: reports.Text},
			{Name: "message", Title: "What, and what to do", Kind: reports.Text},
		},
	}
	for _, b := range list {
		cells := []any{b.Number, string(b.Job), string(b.Class), b.Reference, nil, reports.Cash{Amount: b.Amount, Currency: b.Currency}, stateOf(b.State),
			int64(b.Days(book.Now(), book.Location())), b.Owner, withSuggestion(b.Break)}
		if !b.Date.IsZero() {
			cells[4] = b.Date
		}
		table.Rows = append(table.Rows, reports.Row{Cells: cells})
	}
	return table
}

func (a *app) breakShowCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "show NUMBER", Short: "Show a break, what is proposed for it, and what has happened to it",
		Long:    `show prints all that is known of a break, and its trace, the first thing first.`,
		Example: `  tweetledger break show 7`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			number, err := parseBreak(args[0])
			if err != nil {
				return err
			}
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			var b reconciliation.KeptBreak
			var events []reconciliation.Event
			var proposals []reconciliation.Proposal
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				if b, err = reconciliation.FindBreak(ctx, tx, number); err != nil {
					return err
				}
				if proposals, err = reconciliation.ProposalsOf(ctx, tx, number); err != nil {
					return err
				}
				events, err = reconciliation.EventsOf(ctx, tx, number)
				return err
			})
			if err != nil {
				return err
			}
			age := b.Days(book.Now(), book.Location())
			table := reports.Table{
				Name: "break", Title: fmt.Sprintf("Break %d", b.Number), GeneratedAt: book.Now(),
				Facts: []reports.Fact{
					{Name: "job", Title: "Job", Value: string(b.Job)}, {Name: "class", Title: "Class", Value: string(b.Class)},
					{Name: "state", Title: "State", Value: stateOf(b.State)}, {Name: "owner", Title: "Owner", Value: b.Owner},
					{Name: "reference", Title: "Reference", Value: b.Reference}, {Name: "amount", Title: "Amount", Value: reports.Cash{Amount: b.Amount, Currency: b.Currency}},
					{Name: "days", Title: fmt.Sprintf("Known for days (%s)", reconciliation.AgeOf(age)), Value: int64(age)},
					{Name: "runs", Title: "Found by runs", Value: fmt.Sprintf("%d to %d", b.FirstRun, b.LastRun)},
					{Name: "message", Title: "What, and what to do", Value: b.Message},
				},
				Columns: []reports.Column{
					{Name: "at", Title: "At (UTC)", Kind: reports.Instant}, {Name: "event", Title: "Event", Kind: reports.Text},
					{Name: "actor", Title: "By", Kind: reports.Text}, {Name: "run", Title: "Run", Kind: reports.Integer}, {Name: "reason", Title: "Why", Kind: reports.Text},
				},
			}
			if !b.Date.IsZero() {
				table.Facts = append(table.Facts, reports.Fact{Name: "date", Title: "Date", Value: b.Date})
			}
			if b.Suggestion != "" {
				table.Facts = append(table.Facts, reports.Fact{Name: "suggestion", Title: "Perhaps", Value: b.Suggestion})
			}
			for _, p := range proposals {
				table.Facts = append(table.Facts, reports.Fact{Name: fmt.Sprintf("proposal_%d", p.Number), Title: fmt.Sprintf("Proposal %d", p.Number), Value: proposalWords(p)})
			}
			for _, e := range events {
				cells := []any{e.At, stateOf(reconciliation.BreakState(e.Event)), e.Actor, nil, e.Reason}
				if e.Run > 0 {
					cells[3] = e.Run
				}
				table.Rows = append(table.Rows, reports.Row{Cells: cells})
			}
			return a.show(table, format, "")
		},
	}
	formatFlag(c, &format)
	return c
}

func proposalWords(p reconciliation.Proposal) string {
	text := fmt.Sprintf("%s: debit %s, credit %s, %s %s; %s, by %s: %s", stateOf(reconciliation.BreakState(p.Kind)), p.Debit, p.Credit, p.Amount.Format(p.Currency), p.Currency,
		p.State, p.ProposedBy, p.Reason)
	if p.DecidedBy != "" {
		text += fmt.Sprintf("; decided by %s: %s", p.DecidedBy, p.Decision)
	}
	if p.TransactionID != uuid.Nil {
		text += "; transaction " + p.TransactionID.String()
	}
	return text
}
