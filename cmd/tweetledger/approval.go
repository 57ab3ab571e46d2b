package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/reports"
)

func (a *app) approvalCommand() *cobra.Command {
	command := &cobra.Command{Use: "approval", Short: "Decide on what another person wants done: money moved by hand, data erased"}
	command.AddCommand(a.approvalListCommand(), a.approvalApproveCommand(), a.approvalRejectCommand())
	return command
}

// sayForApproval tells what a proposal needs to happen.
func (a *app) sayForApproval(what string, p payments.Approval) error {
	_, err := fmt.Fprintf(a.out, "proposed %s; it happens once another person approves it: tweetledger approval approve %d\n", what, p.Number)
	return err
}

func (a *app) approvalListCommand() *cobra.Command {
	var format string
	var all bool
	var limit, after int
	c := &cobra.Command{
		Use: "list", Short: "List what waits for another person's approval",
		Long: `list shows what one person has proposed and another one is to approve or reject: top-ups
booked by hand, refunds of charges, and erasures of customers' data. --all shows what was
decided, too.`,
		Example: `  tweetledger approval list
  tweetledger approval list --all --format csv`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			table := reports.Table{Name: "approvals", Title: "Approvals", GeneratedAt: book.Now(), Columns: []reports.Column{
				{Name: "number", Title: "No.", Kind: reports.Integer}, {Name: "state", Title: "State", Kind: reports.Text}, {Name: "what", Title: "What", Kind: reports.Text},
				{Name: "subject", Title: "About", Kind: reports.Text}, {Name: "customer", Title: "Customer", Kind: reports.Text}, {Name: "amount", Title: "Amount", Kind: reports.Money},
				{Name: "at", Title: "At", Kind: reports.Instant}, {Name: "actor", Title: "By", Kind: reports.Text}, {Name: "reason", Title: "Reason", Kind: reports.Text},
				{Name: "decided_by", Title: "Decided by", Kind: reports.Text}, {Name: "decision", Title: "Because", Kind: reports.Text},
			}}
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				table.Rows, table.Notes = nil, nil
				list, err := payments.ListApprovals(ctx, tx, payments.ApprovalFilter{Decided: all, After: after, Limit: limit})
				if err != nil {
					return err
				}
				for _, p := range list {
					customer, err := payments.FindCustomerByID(ctx, tx, p.CustomerID)
					if err != nil {
						return err
					}
					table.Rows = append(table.Rows, reports.Row{Cells: []any{int64(p.Number), string(p.State), string(p.Kind), p.Subject, customer.Number,
						reports.Cash{Amount: p.Amount, Currency: ledger.EUR}, p.ProposedAt, p.ProposedBy, p.Reason, p.DecidedBy, p.Decision}})
				}
				if len(list) == limit {
					table.Notes = append(table.Notes, fmt.Sprintf("There may be more: go on with --after %d", list[limit-1].Number))
				}
				return nil
			})
			if err != nil {
				return err
			}
			return a.show(table, format, "")
		},
	}
	c.Flags().BoolVar(&all, "all", false, "those that were decided, too")
	c.Flags().IntVar(&after, "after", 0, "go on behind this number")
	c.Flags().IntVar(&limit, "limit", 1000, "how many at most")
	formatFlag(c, &format)
	return c
}

// parseApproval reads the number of an approval.
func parseApproval(text string) (int, error) {
	number, err := strconv.ParseInt(text, 10, 32)
	if err != nil || number < 1 {
		return 0, ledger.Errorf(ledger.CodeInvalid, "%.40q is not the number of an approval; \"tweetledger approval list\" shows them", text).InField("number")
	}
	return int(number), nil
}

func (a *app) approvalApproveCommand() *cobra.Command {
	var actor, reason string
	c := &cobra.Command{
		Use: "approve NUMBER", Short: "Have happen what another person has proposed",
		Long: `approve takes another person than the one who proposed it, and checks all of it again.
A top-up or refund is booked; a customer's data is erased, which needs a database user
with the role tweetledger_erasing. What was interrupted goes on when it is approved again.`,
		Example: `  tweetledger approval approve 17 --actor bruno`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			number, err := parseApproval(args[0])
			if err != nil {
				return err
			}
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			done, err := service.Approve(c.Context(), number, a.actor(actor), reason)
			if err != nil {
				return err
			}
			currency := service.Config().Currency
			switch done.Kind {
			case payments.ApprovalTopUp:
				_, err = fmt.Fprintf(a.out, "booked %s %s under %s (transaction %s)\n", done.Amount.Format(currency), currency, done.Subject, done.Transaction.ID)
			case payments.ApprovalRefund:
				err = a.sayCharge(done.Charge)
			default:
				_, err = fmt.Fprintf(a.out, "everything personal of customer %s is erased\n", done.Subject)
			}
			return err
		},
	}
	c.Flags().StringVar(&reason, "reason", "checked", "why, for the audit trail")
	actorFlag(c, &actor)
	return c
}

func (a *app) approvalRejectCommand() *cobra.Command {
	var actor, reason string
	c := &cobra.Command{
		Use: "reject NUMBER", Short: "Reject what was proposed, for a reason",
		Long: `reject ends a proposal without effect; another one can be made then. Who proposed it may
withdraw it this way, too.`,
		Example: `  tweetledger approval reject 17 --reason "the acquirer knows no such charge"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			number, err := parseApproval(args[0])
			if err != nil {
				return err
			}
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			p, err := service.RejectApproval(c.Context(), number, a.actor(actor), reason)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "approval %d is %s\n", p.Number, p.State)
			return err
		},
	}
	actorFlag(c, &actor)
	reasonFlag(c, &reason)
	return c
}

func (a *app) customerTopUpCommand() *cobra.Command {
	var reference, actor, reason string
	c := &cobra.Command{
		Use: "topup NUMBER AMOUNT --reference REF", Short: "Propose to book a card top-up that the acquirer has collected",
		Example: `  tweetledger customer topup c-000017 50.00 --reference ch_8f3a
  tweetledger approval approve 1 --actor bruno`,
		Long: `topup proposes to book money that the acquirer has taken from the customer's card: debit
cards to be settled, credit the wallet. It is booked once another person has approved it
with "approval approve". The reference is the acquirer's; the same one is booked once.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			currency := service.Config().Currency
			amount, err := ledger.ParseAmount(args[1], currency)
			if err != nil {
				return err
			}
			booked, err := a.booked(c.Context(), payments.TopUpKey(reference))
			if err != nil {
				return err
			}
			if booked { // then this books nothing: it finds what was, or says that it was something else
				made, err := service.TopUp(c.Context(), args[0], amount, reference)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(a.out, "the top-up of %s %s to the wallet of customer %s (transaction %s) was posted before; nothing changed\n",
					amount.Format(currency), currency, args[0], made.ID)
				return err
			}
			p, err := service.ProposeTopUp(c.Context(), args[0], amount, reference, a.actor(actor), reason)
			if err != nil {
				return err
			}
			return a.sayForApproval(fmt.Sprintf("to book %s %s to the wallet of customer %s", amount.Format(currency), currency, args[0]), p)
		},
	}
	c.Flags().StringVar(&reference, "reference", "", "the acquirer's reference of the charge")
	c.Flags().StringVar(&reason, "reason", "collected by the acquirer", "why, for the audit trail")
	required(c, "reference")
	actorFlag(c, &actor)
	return c
}

// booked reports whether something was posted under a key.
func (a *app) booked(ctx context.Context, key string) (bool, error) {
	book, err := a.openBook(ctx)
	if err != nil {
		return false, err
	}
	found := 0
	err = book.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		list, err := engine.FindTransactions(ctx, tx, []uuid.UUID{ledger.IDOfKey(key)})
		found = len(list)
		return err
	})
	return found > 0, err
}

func (a *app) cardRefundCommand() *cobra.Command {
	var actor, reason string
	c := &cobra.Command{
		Use: "refund CHARGE", Short: "Propose to give a charge back to its card",
		Example: `  tweetledger card refund 44b5bcb2-86ba-54af-a9c4-e063f52585f9 --reason "charged by mistake"
  tweetledger approval approve 2 --actor bruno`,
		Long: `refund proposes to take the money out of the wallet, which must have it, and to give it
back to the card that it came from. It happens once another person has approved it with
"approval approve". Until the processor has the money, it stands in suspense.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := cardID(args[0], "charge")
			if err != nil {
				return err
			}
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			p, err := service.ProposeRefund(c.Context(), id, a.actor(actor), reason)
			if err != nil {
				return err
			}
			return a.sayForApproval(fmt.Sprintf("to refund %s %s", p.Amount.Format(service.Config().Currency), service.Config().Currency), p)
		},
	}
	actorFlag(c, &actor)
	reasonFlag(c, &reason)
	return c
}
