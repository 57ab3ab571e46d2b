package main

import (
	"context"

	"github.com/spf13/cobra"

	"tweetledger/internal/sqldb"
	"tweetledger/reports"
)

func (a *app) donationsCommand() *cobra.Command {
	var from, to, format, file string
	c := &cobra.Command{
		Use: "donations PAYEE --from DATE --to DATE", Short: "A charity's statement: each donation, commission, payout and return",
		Example: `  tweetledger report donations acf --from 2026-11-01 --to 2026-11-30 --format csv -o acf.csv`,
		Long: `donations makes the statement that a charity's own accountant checks against its
bank account: what it was owed at first, each donation, the commissions, each payout
with its bank reference, and what it is owed at the end. Where anything does not tie
to the ledger to the cent, no statement is made and the difference is named.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			p := reports.DonationStatementParams{Payee: args[0], GeneratedAt: a.now().UTC()}
			if p.From, err = parseDate("--from", from); err != nil {
				return err
			}
			if p.To, err = parseDate("--to", to); err != nil {
				return err
			}
			var table reports.Table
			err = a.db.Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				table, err = reports.DonationStatement(ctx, tx, service, p)
				return err
			})
			if err != nil {
				return err
			}
			return a.show(table, format, file)
		},
	}
	c.Flags().StringVar(&from, "from", "", "first effective date")
	c.Flags().StringVar(&to, "to", "", "last effective date")
	required(c, "from", "to")
	formatFlag(c, &format)
	outputFlag(c, &file)
	return c
}
