package main

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/reports"
)

func (a *app) outboxCommand() *cobra.Command {
	command := &cobra.Command{Use: "outbox", Short: "Look at replies and notices, and send again what was given up"}
	command.AddCommand(a.outboxListCommand(), a.outboxResendCommand())
	return command
}

func (a *app) outboxListCommand() *cobra.Command {
	var format, status string
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List what went out, is waiting, or was given up",
		Long: `list shows replies to tweets and notices to customers: pending ones wait for
"tweetledger serve", dead ones were given up after many tries. The text of a notice
is between the bank and its customer, and not shown.`,
		Example: `  tweetledger outbox list --status dead`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			var rows []payments.OutboxRow
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				rows, err = payments.ListOutbox(ctx, tx, payments.OutboxFilter{Status: payments.OutboxStatus(status), Limit: limit})
				return err
			})
			if err != nil {
				return err
			}
			table := reports.Table{
				Name: "outbox", Title: "Outbox", GeneratedAt: book.Now(),
				Columns: []reports.Column{
					{Name: "id", Title: "Id", Kind: reports.Text}, {Name: "kind", Title: "Kind", Kind: reports.Text},
					{Name: "status", Title: "Status", Kind: reports.Text}, {Name: "attempts", Title: "Tries", Kind: reports.Integer},
					{Name: "in_reply_to", Title: "In reply to", Kind: reports.Text}, {Name: "text", Title: "Text", Kind: reports.Text},
					{Name: "last_error", Title: "Last error", Kind: reports.Text},
				},
			}
			for _, row := range rows {
				table.Rows = append(table.Rows, reports.Row{Cells: []any{row.ID.String(), string(row.Kind), string(row.Status),
					int64(row.Attempts), row.InReplyTo, row.Text, row.LastError}})
			}
			return a.show(table, format, "")
		},
	}
	c.Flags().StringVar(&status, "status", "", "pending, sent or dead (default all)")
	c.Flags().IntVar(&limit, "limit", 1000, "how many at most")
	formatFlag(c, &format)
	return c
}

func (a *app) outboxResendCommand() *cobra.Command {
	return &cobra.Command{
		Use: "resend ID", Short: "Try again to send what was given up",
		Long:    `resend puts a reply or notice that was given up back into the queue, with new tries.`,
		Example: `  tweetledger outbox resend 0c0d6496-4f85-5a87-b479-1ad9a090e0cb`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := uuid.Parse(args[0])
			if err != nil {
				return ledger.Errorf(ledger.CodeInvalid, "%q is not the id of a row; \"tweetledger outbox list\" shows them", args[0]).InField("id")
			}
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			if err := service.Resend(c.Context(), id); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s waits to be sent\n", id)
			return err
		},
	}
}
