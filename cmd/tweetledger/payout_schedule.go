package main

import (
	"context"

	"github.com/spf13/cobra"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/reports"
)

func (a *app) payoutScheduleCommand() *cobra.Command {
	var from, format string
	var n int
	c := &cobra.Command{
		Use: "schedule [PAYEE…]", Short: "Show when payees are to be paid out by their rhythms",
		Long: `schedule shows the next dates of payees (all open ones, or those named): the day by
rhythm, the business day on which the batch is made, up to which day it pays out what was
given, and the business day on which the bank is to pay. Business days are those of
TARGET, the settlement system of the euro.`,
		Example: `  tweetledger payout schedule
  tweetledger payout schedule acf --from 2026-12-20 --count 5 --format csv`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			first, err := parseDate("--from", from)
			if err != nil {
				return err
			}
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			if first.IsZero() {
				first = book.Today()
			}
			var list []payouts.Schedule
			var notes []string
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				if list, err = payouts.Schedules(ctx, tx, args, first, n); err != nil {
					return err
				}
				payees := make([]payments.Payee, len(list))
				for i, s := range list {
					payees[i] = s.Payee
				}
				notes, err = flagNotes(ctx, tx, payees)
				return err
			})
			if err != nil {
				return err
			}
			table := scheduleTable(list, first)
			table.GeneratedAt, table.Notes = book.Now(), notes
			return a.show(table, format, "")
		},
	}
	c.Flags().StringVar(&from, "from", "", "first day on which a batch is made (default today)")
	c.Flags().IntVar(&n, "count", 3, "how many dates of each payee")
	formatFlag(c, &format)
	return c
}

func scheduleTable(list []payouts.Schedule, from ledger.Date) reports.Table {
	table := reports.Table{
		Name: "payout_schedule", Title: "When payees are paid out, from " + from.String(),
		Columns: []reports.Column{
			{Name: "payee", Title: "Payee", Kind: reports.Text}, {Name: "rhythm", Title: "Paid", Kind: reports.Text},
			{Name: "on", Title: "By rhythm", Kind: reports.Day}, {Name: "prepared_on", Title: "Batch made on", Kind: reports.Day},
			{Name: "until", Title: "Donations until", Kind: reports.Day}, {Name: "execution_date", Title: "Bank pays on", Kind: reports.Day},
		},
	}
	for _, s := range list {
		for _, o := range s.Next {
			table.Rows = append(table.Rows, reports.Row{Cells: []any{s.Payee.Code, string(s.Payee.Rhythm), o.On, o.PreparedOn, o.Until, o.ExecutionDate}})
		}
	}
	return table
}
