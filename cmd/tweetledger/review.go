package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/reports"
)

func (a *app) reviewCommand() *cobra.Command {
	command := &cobra.Command{Use: "review", Short: "Decide on orders that screening has put before staff"}
	command.AddCommand(a.reviewListCommand(), a.reviewShowCommand(),
		a.reviewDecideCommand("release", "Let an order go on, as if screening had accepted it",
			`release lets an order go on as if screening had accepted it: the rules are asked again,
the money is held, and the payer is called to confirm. Where the money is not there any
more, the order is rejected after all.`, (*payments.Service).Release),
		a.reviewDecideCommand("reject", "End an order that waits for staff",
			`reject ends an order. The payer is told that the payment cannot be made, never why.`, (*payments.Service).RejectReviewed))
	return command
}

func (a *app) reviewListCommand() *cobra.Command {
	var format string
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List the orders that wait for staff, the oldest first",
		Long: `list shows the orders that are under review, with the rules that they met and when
they expire. What the rules are stands under [screening] in the configuration.`,
		Example: `  tweetledger review list`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			table := reports.Table{
				Name: "reviews", Title: "Orders under review", GeneratedAt: book.Now(),
				Columns: []reports.Column{
					{Name: "reference", Title: "Reference", Kind: reports.Text}, {Name: "made_at", Title: "Made at", Kind: reports.Instant},
					{Name: "expires_at", Title: "Expires at", Kind: reports.Instant}, {Name: "payer", Title: "Payer (id)", Kind: reports.Text},
					{Name: "payee", Title: "Payee", Kind: reports.Text}, {Name: "amount", Title: "Amount", Kind: reports.Money},
					{Name: "rules", Title: "Rules", Kind: reports.Text},
				},
			}
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				table.Rows = nil
				waiting, err := payments.ListOrders(ctx, tx, payments.OrderFilter{State: payments.StateUnderReview, Limit: limit})
				if err != nil {
					return err
				}
				for _, o := range waiting {
					hits, err := payments.HitsOfOrder(ctx, tx, o.ID)
					if err != nil {
						return err
					}
					table.Rows = append(table.Rows, reports.Row{Cells: []any{o.Reference(), o.CreatedAt, o.ExpiresAt, o.PayerUserID, "@" + o.PayeeHandle,
						reports.Cash{Amount: o.Amount, Currency: o.Currency}, rulesOf(hits)}})
				}
				return nil
			})
			if err != nil {
				return err
			}
			return a.show(table, format, "")
		},
	}
	c.Flags().IntVar(&limit, "limit", 1000, "how many at most")
	formatFlag(c, &format)
	return c
}

func rulesOf(hits []payments.Hit) string {
	rules := make([]string, len(hits))
	for i, hit := range hits {
		rules[i] = hit.Rule
	}
	return strings.Join(rules, ", ")
}

func (a *app) reviewShowCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "show ORDER", Short: "Show what screening found about an order",
		Long: `show prints the rules that an order met, and what was measured. ORDER is the order's id,
or the reference that customers read in replies. "tweetledger order show" tells what has
happened to the order since.`,
		Example: `  tweetledger review show 44B5BCB2`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := a.resolveOrder(c.Context(), args[0])
			if err != nil {
				return err
			}
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			var order payments.Order
			var payer payments.Customer
			var hits []payments.Hit
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				if order, err = payments.FindOrder(ctx, tx, id); err != nil {
					return err
				}
				if payer, err = payments.FindCustomerByID(ctx, tx, order.PayerID); err != nil {
					return err
				}
				hits, err = payments.HitsOfOrder(ctx, tx, id)
				return err
			})
			if err != nil {
				return err
			}
			table := reports.Table{
				Name: "review", Title: "Review of order " + order.ID.String(), GeneratedAt: book.Now(),
				Facts: []reports.Fact{
					{Name: "reference", Title: "Reference", Value: order.Reference()},
					{Name: "state", Title: "State", Value: string(order.State)},
					{Name: "amount", Title: "Amount", Value: reports.Cash{Amount: order.Amount, Currency: order.Currency}},
					{Name: "payer", Title: "Payer", Value: payer.Number + " (" + order.PayerUserID + ")"},
					{Name: "payee", Title: "Payee", Value: "@" + order.PayeeHandle + " (" + order.PayeeUserID + ", " + string(order.PayeeKind) + ")"},
				},
				Columns: []reports.Column{
					{Name: "rule", Title: "Rule", Kind: reports.Text}, {Name: "verdict", Title: "Verdict", Kind: reports.Text},
					{Name: "found", Title: "Found", Kind: reports.Text},
				},
			}
			for _, hit := range hits {
				table.Rows = append(table.Rows, reports.Row{Cells: []any{hit.Rule, string(hit.Verdict), hit.Detail}})
			}
			return a.show(table, format, "")
		},
	}
	formatFlag(c, &format)
	return c
}

func (a *app) reviewDecideCommand(use, short, long string,
	decide func(s *payments.Service, ctx context.Context, id uuid.UUID, actor, reason string) (payments.Order, error)) *cobra.Command {
	var by, reason string
	c := &cobra.Command{
		Use: use + " ORDER --reason REASON", Short: short, Long: long,
		Example: "  tweetledger review " + use + ` 44B5BCB2 --by anne --reason "called the customer back"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := a.resolveOrder(c.Context(), args[0])
			if err != nil {
				return err
			}
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			order, err := decide(service, c.Context(), id, a.actor(by), reason)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "order %s is %s (%s)\n", order.ID, order.State, order.Reason)
			return err
		},
	}
	c.Flags().StringVar(&by, "by", "", "who decides, for the audit trail (default $TWEETLEDGER_ACTOR, else the system user)")
	reasonFlag(c, &reason)
	return c
}
