package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/reports"
)

func (a *app) orderCommand() *cobra.Command {
	command := &cobra.Command{Use: "order", Short: "List, look at, confirm and cancel payment orders"}
	command.AddCommand(a.orderListCommand(), a.orderShowCommand(), a.orderConfirmCommand(), a.orderCancelCommand())
	return command
}

func (a *app) orderListCommand() *cobra.Command {
	var format, state string
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List payment orders in the order in which they were made",
		Long: `list shows orders in the order in which they were made. The key is the first id of
the tweet's edit chain; the state says where the order is:

  awaiting_confirmation   money is held, the payer must enter the code
  awaiting_payee          of old orders: nobody knows the payee; nothing is held
  under_review            staff decide ("tweetledger review"); nothing is held
  posted                  paid
  rejected, cancelled, voided, expired   ended without payment; the reason says why`,
		Example: `  tweetledger order list --state awaiting_confirmation`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			var orders []payments.Order
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				orders, err = payments.ListOrders(ctx, tx, payments.OrderFilter{State: payments.State(state), Limit: limit})
				return err
			})
			if err != nil {
				return err
			}
			table := orderTable(orders)
			table.GeneratedAt = book.Now()
			return a.show(table, format, "")
		},
	}
	c.Flags().StringVar(&state, "state", "", "only orders in this state, such as awaiting_confirmation")
	c.Flags().IntVar(&limit, "limit", 1000, "how many at most")
	formatFlag(c, &format)
	return c
}

func orderTable(orders []payments.Order) reports.Table {
	table := reports.Table{
		Name: "orders", Title: "Payment orders",
		Columns: []reports.Column{
			{Name: "order", Title: "Order", Kind: reports.Text}, {Name: "key", Title: "Key", Kind: reports.Text},
			{Name: "payer", Title: "Payer (id)", Kind: reports.Text}, {Name: "payee", Title: "Payee", Kind: reports.Text},
			{Name: "payee_kind", Title: "Kind", Kind: reports.Text}, {Name: "amount", Title: "Amount", Kind: reports.Money},
			{Name: "state", Title: "State", Kind: reports.Text}, {Name: "reason", Title: "Reason", Kind: reports.Text},
		},
	}
	for _, o := range orders {
		table.Rows = append(table.Rows, reports.Row{Cells: []any{
			o.ID.String(), o.Key, o.PayerUserID, "@" + o.PayeeHandle, string(o.PayeeKind),
			reports.Cash{Amount: o.Amount, Currency: o.Currency}, string(o.State), o.Reason,
		}})
	}
	return table
}

// resolveOrder returns the order that a person names, by its id or by the reference
// that replies quote.
func (a *app) resolveOrder(ctx context.Context, text string) (uuid.UUID, error) {
	book, err := a.openBook(ctx)
	if err != nil {
		return uuid.Nil, err
	}
	var id uuid.UUID
	err = book.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		id, err = payments.ResolveOrder(ctx, tx, text)
		return err
	})
	return id, err
}

func (a *app) orderShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show ORDER", Short: "Show an order with all that happened to it",
		Long: `show prints an order, and each change of its state: when, by whom and why. ORDER is
the order's id, the reference that customers read in replies and charities on their
statements ("Réf. 44B5BCB2"), or its key ("twitter:1990000000000000002").`,
		Example: `  tweetledger order show 44b5bcb2-86ba-54af-a9c4-e063f52585f9
  tweetledger order show 44B5BCB2`,
		Args: cobra.ExactArgs(1),
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
			var events []payments.OrderEvent
			var hits []payments.Hit
			var unclaimed payments.Unclaimed // of a payee who was no customer
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				if order, err = payments.FindOrder(ctx, tx, id); err != nil {
					return err
				}
				if hits, err = payments.HitsOfOrder(ctx, tx, id); err != nil {
					return err
				}
				if events, err = payments.OrderEvents(ctx, tx, id); err != nil {
					return err
				}
				if unclaimed, err = payments.FindUnclaimed(ctx, tx, id); ledger.CodeOf(err) == ledger.CodeNotFound {
					return nil
				}
				return err
			})
			if err != nil {
				return err
			}
			table := reports.Table{
				Name: "order", Title: "Order " + order.ID.String(), GeneratedAt: book.Now(),
				Facts: []reports.Fact{
					{Name: "reference", Title: "Reference", Value: order.Reference()},
					{Name: "key", Title: "Key", Value: order.Key},
					{Name: "amount", Title: "Amount", Value: reports.Cash{Amount: order.Amount, Currency: order.Currency}},
					{Name: "payer", Title: "Payer (id)", Value: order.PayerUserID},
					{Name: "payee", Title: "Payee", Value: "@" + order.PayeeHandle + " (" + order.PayeeUserID + ", " + string(order.PayeeKind) + ")"},
					{Name: "state", Title: "State", Value: string(order.State)},
				},
				Columns: []reports.Column{
					{Name: "at", Title: "At", Kind: reports.Instant}, {Name: "from", Title: "From", Kind: reports.Text},
					{Name: "to", Title: "To", Kind: reports.Text}, {Name: "actor", Title: "By", Kind: reports.Text},
					{Name: "reason", Title: "Reason", Kind: reports.Text},
				},
			}
			if unclaimed.OrderID != uuid.Nil {
				table.Facts = append(table.Facts, reports.Fact{Name: "unclaimed", Title: "For its payee", Value: unclaimedText(unclaimed)})
			}
			for _, hit := range hits {
				table.Notes = append(table.Notes, "Screening: "+string(hit.Verdict)+", "+hit.Rule+": "+hit.Detail)
			}
			for _, e := range events {
				table.Rows = append(table.Rows, reports.Row{Cells: []any{e.At, string(e.From), string(e.To), e.Actor, e.Reason}})
			}
			return a.show(table, "text", "")
		},
	}
}

// unclaimedText says where the money for somebody who was no customer is.
func unclaimedText(u payments.Unclaimed) string {
	switch {
	case u.State != payments.UnclaimedWaiting:
		return fmt.Sprintf("%s on %s (%s, transaction %s)", u.State, u.ClosedOn, u.Reason, u.TransactionID)
	case u.Reason != "":
		return fmt.Sprintf("waiting until %s (%s)", u.ExpiresAt.Format(time.RFC3339), u.Reason)
	}
	return "waiting until " + u.ExpiresAt.Format(time.RFC3339)
}

func (a *app) orderConfirmCommand() *cobra.Command {
	var actor string
	c := &cobra.Command{
		Use: "confirm ORDER", Short: "Confirm an order with its payer's secret code",
		Long: `confirm takes an order's id or reference, and does what the confirmation page does:
where the code is right, the held money is paid. A wrong code counts as a try, and too
many in a row block the code; what was wrong is never said. The code is asked for on the
terminal, or read as one line from standard input. The order's history names you, who
have passed the code on.`,
		Example: `  tweetledger order confirm 44b5bcb2-86ba-54af-a9c4-e063f52585f9 <code.txt`,
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
			code, err := a.readCode()
			if err != nil {
				return err
			}
			order, err := service.Confirm(c.Context(), payments.ConfirmRequest{OrderID: id, Code: code, Actor: a.actor(actor)})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "posted order %s: %s %s to @%s (transaction %s)\n", order.ID,
				order.Amount.Format(order.Currency), order.Currency, order.PayeeHandle, order.TransactionID)
			return err
		},
	}
	actorFlag(c, &actor)
	return c
}

func (a *app) orderCancelCommand() *cobra.Command {
	var actor, reason string
	c := &cobra.Command{
		Use: "cancel ORDER", Short: "Cancel an order that was not confirmed yet",
		Long: `cancel takes an order's id or reference, ends the order before it is paid and releases
what is held. What is paid is not cancelled but returned, by another transaction.`,
		Example: `  tweetledger order cancel 44b5bcb2-86ba-54af-a9c4-e063f52585f9 --reason "the customer has called"`,
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
			order, err := service.Cancel(c.Context(), id, a.actor(actor), reason)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "order %s is %s\n", order.ID, order.State)
			return err
		},
	}
	actorFlag(c, &actor)
	reasonFlag(c, &reason)
	return c
}
