package main

import (
	"context"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/reports"
)

func (a *app) reportCommand() *cobra.Command {
	command := &cobra.Command{Use: "report", Short: "Run the reports of the accounting staff and the charities"}

	var detailed bool
	trial := a.report("trial-balance", "Opening, debits, credits and closing of every account", cobra.NoArgs,
		func(ctx context.Context, tx *sqldb.Tx, p reports.Period, _ []string) (reports.Table, error) {
			return reports.TrialBalance(ctx, tx, reports.TrialBalanceParams{Period: p, Detailed: detailed})
		})
	trial.Long = `trial-balance adds up what was posted to each account of the chart in a period. Debits
and credits must come to the same; the last line says whether they do.`
	trial.Example = `  tweetledger report trial-balance --to 2026-01-31
  tweetledger report trial-balance --detailed --format csv -o trial.csv`
	trial.Flags().BoolVar(&detailed, "detailed", false, "one line a wallet and payable, rather than one a chart account")

	var code, after string
	var strange bool
	journal := a.report("journal", "All transactions with their debit and credit lines", cobra.NoArgs,
		func(ctx context.Context, tx *sqldb.Tx, p reports.Period, _ []string) (reports.Table, error) {
			id, err := parseID("--after", after)
			if err != nil {
				return reports.Table{}, err
			}
			if strange, err = isStrange(ctx, tx, code); err != nil {
				return reports.Table{}, err
			}
			return reports.Journal(ctx, tx, reports.JournalParams{Period: p, Journal: code, After: id})
		})
	show := journal.RunE
	journal.RunE = func(c *cobra.Command, args []string) error {
		if err := show(c, args); err != nil || !strange {
			return err
		}
		a.warnOfJournal(code)
		return nil
	}
	journal.Long = `journal lists the transactions of a period, each with its debit and credit lines, in
order of effective date. Journals are named by short codes; without --journal all
are listed. The entry number is empty until the transaction is sealed.`
	journal.Example = `  tweetledger report journal --from 2026-01-01 --to 2026-01-31 --format csv`
	journal.Flags().StringVar(&code, "journal", "", "only this journal code")
	journal.Flags().StringVar(&after, "after", "", "go on behind this transaction")

	var afterLine string
	account := a.report("account CODE", "One account's statement with its running balance", cobra.ExactArgs(1),
		func(ctx context.Context, tx *sqldb.Tx, p reports.Period, args []string) (reports.Table, error) {
			id, err := parseID("--after", afterLine)
			if err != nil {
				return reports.Table{}, err
			}
			return reports.AccountStatement(ctx, tx, reports.AccountStatementParams{Period: p, Account: args[0], After: id})
		})
	account.Long = `account lists what moved on an account in a period, from its opening balance to its
closing balance, with the balance after each line.`
	account.Example = `  tweetledger report account wallet:c-000017 --from 2026-01-01 --to 2026-01-31`
	account.Flags().StringVar(&afterLine, "after", "", "go on behind this transaction")

	command.AddCommand(trial, journal, account, a.donationsCommand(), a.ageingCommand(), a.safeguardingCommand())
	return command
}

func (a *app) ageingCommand() *cobra.Command {
	var date, format, file string
	c := &cobra.Command{
		Use: "ageing", Short: "Payments that wait for somebody to become a customer, by age",
		Long: `ageing lists what was sent to people who were no customers and had not claimed it at the
end of a date: for how long it has waited, and when it is returned. "Waits for" says why
a payee who is a customer by now has not got it. The payments must come to the balance of
the account unclaimed-payments; the last line says whether they do.`,
		Example: `  tweetledger report ageing
  tweetledger report ageing --as-of 2026-01-31 --format csv -o ageing.csv`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			on, err := parseDate("--as-of", date)
			if err != nil {
				return err
			}
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			if on.IsZero() {
				on = book.Today()
			}
			var table reports.Table
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				table, err = reports.Ageing(ctx, tx, reports.AgeingParams{On: on, GeneratedAt: a.now().UTC()})
				return err
			})
			if err != nil {
				return err
			}
			return a.show(table, format, file)
		},
	}
	c.Flags().StringVar(&date, "as-of", "", "at the end of this effective date (2026-01-31; default today)")
	formatFlag(c, &format)
	outputFlag(c, &file)
	return c
}

func (a *app) safeguardingCommand() *cobra.Command {
	var dates reconcilePeriod
	var format, file string
	c := &cobra.Command{
		Use: "safeguarding", Short: "What customers are owed and what covers it, day by day",
		Long: `safeguarding shows at the end of each day what customers are owed, what is on the
safeguarding account, what the acquirer owes, and what is left beyond: own money that
waits for its sweep. Below zero, customers' money is not all there. "reconcile
safeguarding" compares the account with the bank's statements, too, and keeps breaks.`,
		Example: `  tweetledger report safeguarding --from 2026-11-01 --to 2026-11-30 --format csv -o november.csv`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			p := reports.SafeguardingParams{Currency: ledger.EUR, GeneratedAt: a.now().UTC()}
			if p.From, p.To, err = dates.parse(book.Today()); err != nil {
				return err
			}
			var table reports.Table
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				table, err = reports.Safeguarding(ctx, tx, p)
				return err
			})
			if err != nil {
				return err
			}
			return a.show(table, format, file)
		},
	}
	dates.flags(c)
	formatFlag(c, &format)
	outputFlag(c, &file)
	return c
}

// report makes the command of a report that is a query on one snapshot.
func (a *app) report(use, short string, args cobra.PositionalArgs,
	query func(ctx context.Context, tx *sqldb.Tx, p reports.Period, args []string) (reports.Table, error)) *cobra.Command {
	var dates period
	var format, file string
	c := &cobra.Command{
		Use: use, Short: short, Args: args,
		RunE: func(c *cobra.Command, args []string) error {
			p, err := dates.parse(a.now().UTC())
			if err != nil {
				return err
			}
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			var table reports.Table
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				table, err = query(ctx, tx, p, args)
				return err
			})
			if err != nil {
				return err
			}
			return a.show(table, format, file)
		},
	}
	dates.flags(c)
	formatFlag(c, &format)
	outputFlag(c, &file)
	return c
}

func outputFlag(c *cobra.Command, file *string) {
	c.Flags().StringVarP(file, "output", "o", "", "write to this file instead of standard output")
}

func parseID(flag, text string) (uuid.UUID, error) {
	if text == "" {
		return uuid.Nil, nil
	}
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil, ledger.Errorf(ledger.CodeInvalid, "%q is not an id", text).InField(flag)
	}
	return id, nil
}
