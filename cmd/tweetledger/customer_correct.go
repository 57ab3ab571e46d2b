package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tweetledger/adapters/notify"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/reports"
)

func (a *app) customerCorrectCommand() *cobra.Command {
	var k payments.Correction
	var named bool
	var actor, reason string
	c := &cobra.Command{
		Use: "correct NUMBER", Short: "Correct a customer's name, number or consent, and keep what stood there before",
		Long: `correct changes what is known of a customer; "customer changes" shows what stood there
before, who changed it and why. Another mobile number must be proven before the customer
can pay again: by the customer on the page /verify, or with "customer verify-phone". Codes
that were sent to the old number are worth nothing from then on.`,
		Example: `  tweetledger customer correct c-000017 --name "Marie Laurent-Petit" --reason "married, certificate seen"
  tweetledger customer correct c-000017 --phone +33612345679 --reason "new contract, called back"
  tweetledger customer correct c-000017 --named=false --reason "letter of 20 November"`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			if c.Flags().Changed("named") {
				k.Named = &named
			}
			customer, err := service.CorrectCustomer(c.Context(), args[0], k, a.actor(actor), reason)
			if err != nil {
				return err
			}
			said := "customer %s is %s, %s\n"
			if customer.PhoneVerifiedAt.IsZero() {
				said = "customer %s is %s, %s: the number is to be proven before the next payment\n"
			}
			_, err = fmt.Fprintf(a.out, said, customer.Number, customer.Name, notify.MaskPhone(customer.Phone))
			return err
		},
	}
	c.Flags().StringVar(&k.Name, "name", "", "full name")
	c.Flags().StringVar(&k.Phone, "phone", "", "mobile number, like +33612345678")
	c.Flags().BoolVar(&named, "named", false, "consents to be named to charities (--named=false: does not)")
	actorFlag(c, &actor)
	reasonFlag(c, &reason)
	return c
}

func (a *app) customerChangesCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "changes NUMBER", Short: "Show what was corrected of a customer: old and new value, by whom and why",
		Long: `changes prints the newest corrections of a customer's data, oldest first. Of numbers it
shows beginning and end; the book has them whole.`,
		Example: `  tweetledger customer changes c-000017`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			var list []payments.PartyChange
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				customer, err := payments.FindCustomer(ctx, tx, args[0])
				if err != nil {
					return err
				}
				list, err = payments.PartyChanges(ctx, tx, customer.ID, newestEvents)
				return err
			})
			if err != nil {
				return err
			}
			table := reports.Table{Name: "customer_changes", Title: "Corrections of customer " + args[0], GeneratedAt: book.Now(), Columns: []reports.Column{
				{Name: "at", Title: "At", Kind: reports.Instant}, {Name: "field", Title: "What", Kind: reports.Text},
				{Name: "old", Title: "Before", Kind: reports.Text}, {Name: "new", Title: "After", Kind: reports.Text},
				{Name: "actor", Title: "By", Kind: reports.Text}, {Name: "reason", Title: "Reason", Kind: reports.Text},
			}}
			for _, change := range list {
				if change.Field == "phone" {
					change.Old, change.New = notify.MaskPhone(change.Old), notify.MaskPhone(change.New)
				}
				table.Rows = append(table.Rows, reports.Row{Cells: []any{change.At, change.Field, change.Old, change.New, change.Actor, change.Reason}})
			}
			if len(list) == newestEvents {
				table.Notes = append(table.Notes, fmt.Sprintf("There may be more: these are the newest %d", newestEvents))
			}
			return a.show(table, format, "")
		},
	}
	formatFlag(c, &format)
	return c
}
