package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/reports"
)

func (a *app) outboxCommand() *cobra.Command {
	command := &cobra.Command{Use: "outbox", Short: "Look at replies, direct messages and notices, and send again what was given up"}
	command.AddCommand(a.outboxListCommand(), a.outboxShowCommand(), a.outboxResendCommand())
	return command
}

func (a *app) outboxListCommand() *cobra.Command {
	var format, status, kind, after string
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List what went out, is waiting, or was given up",
		Long: `list shows replies to tweets, direct messages, announcements and notices to customers:
pending ones wait for "tweetledger serve" and are listed in the order in which they are
tried, dead ones were given up after many tries or kept back by screening. The text of a
notice is between the bank and its customer, and not shown.`,
		Example: `  tweetledger outbox list --status dead
  tweetledger outbox list --kind reply --after 0c0d6496-4f85-5a87-b479-1ad9a090e0cb`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			var rows []payments.OutboxRow
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				f := payments.OutboxFilter{Status: payments.OutboxStatus(status), Kind: payments.OutboxKind(kind), Limit: limit}
				if after != "" {
					row, err := findOutbox(ctx, tx, after)
					if err != nil {
						return err
					}
					if f.After = row.Cursor(); f.Status == payments.OutboxPending {
						f.After = row.PendingCursor()
					}
				}
				rows, err = payments.ListOutbox(ctx, tx, f)
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
			if len(rows) == limit {
				table.Notes = append(table.Notes, fmt.Sprintf("There may be more: go on with --after %s", rows[limit-1].ID))
			}
			return a.show(table, format, "")
		},
	}
	c.Flags().StringVar(&status, "status", "", "pending, sent or dead (default all)")
	c.Flags().StringVar(&kind, "kind", "", "reply, direct_message, notice or announcement (default all)")
	c.Flags().StringVar(&after, "after", "", "go on behind the row with this id")
	c.Flags().IntVar(&limit, "limit", 1000, "how many at most")
	formatFlag(c, &format)
	return c
}

// findOutbox returns the row that a person names by its id.
func findOutbox(ctx context.Context, tx *sqldb.Tx, text string) (payments.OutboxRow, error) {
	id, err := parseOutbox(text)
	if err != nil {
		return payments.OutboxRow{}, err
	}
	return payments.FindOutbox(ctx, tx, id)
}

func parseOutbox(text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil, ledger.Errorf(ledger.CodeInvalid, "%q is not the id of a row; \"tweetledger outbox list\" shows them", text).InField("id")
	}
	return id, nil
}

func (a *app) outboxShowCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "show ID", Short: "Show one reply, direct message or notice with how far its sending got",
		Long: `show prints all that is known of something outgoing: what it answers, how often it was
tried, why the last try failed, and the id that it has on its channel. "In doubt" means
that a try may have sent it: before the next one, the channel is asked.`,
		Example: `  tweetledger outbox show 0c0d6496-4f85-5a87-b479-1ad9a090e0cb`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			var row payments.OutboxRow
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				row, err = findOutbox(ctx, tx, args[0])
				return err
			})
			if err != nil {
				return err
			}
			return a.show(outboxRowTable(row, book.Now()), format, "")
		},
	}
	formatFlag(c, &format)
	return c
}

// outboxRowTable lists what is known of a row, and leaves out what is not.
func outboxRowTable(row payments.OutboxRow, now time.Time) reports.Table {
	table := reports.Table{Name: "outbox_row", Title: "Outbox row " + row.ID.String(), GeneratedAt: now,
		Columns: []reports.Column{{Name: "what", Title: "What", Kind: reports.Text}, {Name: "value", Title: "Value", Kind: reports.Text}}}
	add := func(what, value string) {
		if value != "" {
			table.Rows = append(table.Rows, reports.Row{Cells: []any{what, value}})
		}
	}
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	id := func(id uuid.UUID) string {
		if id == uuid.Nil {
			return ""
		}
		return id.String()
	}
	add("kind", string(row.Kind))
	add("status", string(row.Status))
	add("screening", string(row.Decision))
	add("in reply to", row.InReplyTo)
	add("conversation", row.ConversationID)
	add("recipient", row.RecipientID)
	add("order", id(row.OrderID))
	add("says", row.Template)
	add("text", row.Text)
	add("tries", strconv.Itoa(row.Attempts))
	if row.InDoubt {
		add("in doubt", "yes")
	}
	add("made at", at(row.CreatedAt))
	if row.Status == payments.OutboxPending {
		add("next try at", at(row.NextAttemptAt))
	}
	add("closed at", at(row.ClosedAt))
	add("id on its channel", row.ExternalID)
	add("last error", row.LastError)
	return table
}

func (a *app) outboxResendCommand() *cobra.Command {
	return &cobra.Command{
		Use: "resend ID", Short: "Try again to send what was given up",
		Long: `resend puts what was given up back into the queue, with new tries. Where an earlier
try may have sent it after all, the channel is asked first, so nothing is said twice.
What screening keeps back is never sent.`,
		Example: `  tweetledger outbox resend 0c0d6496-4f85-5a87-b479-1ad9a090e0cb`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := parseOutbox(args[0])
			if err != nil {
				return err
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
