package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"tweetledger/adapters/twitter"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/reports"
)

func (a *app) payeeCommand() *cobra.Command {
	command := &cobra.Command{Use: "payee", Short: "Enrol charities and businesses, and link their Twitter accounts"}
	command.AddCommand(a.payeeAddCommand(), a.payeeListCommand(), a.payeeLinkCommand(), a.payeeBankCommand(), a.payeeConfirmBankCommand(), a.payeeTermsCommand(), a.payeeAddressCommand(),
		a.payeeProposalsCommand(), a.payeeApproveCommand(), a.payeeRejectCommand(),
		a.payeeStatusCommand("block", "Block a charity or business, which is then neither paid nor paid out", payments.Blocked),
		a.payeeStatusCommand("unblock", "Lift the block of a charity or business", payments.Open),
		a.payeeStatusCommand("close", "Close a charity or business, at zero and for ever", payments.Closed))
	return command
}

func (a *app) payeeAddCommand() *cobra.Command {
	var n payments.NewPayee
	var kind, rhythm, minimum, anchor, actor, reason string
	var tiers []string
	c := &cobra.Command{
		Use: "add CODE", Short: "Propose a charity or business, which another person approves",
		Long: `add proposes a charity or business under a short code. It is there, with an account of
what it is owed, once another person has approved it with "payee approve". It cannot be
paid out until its bank account is known. The commission is taken from each payout; each
--tier names a lower rate for the part of a payout above an amount. The rhythm says how
often it is paid out, counted from --anchor: on its day of the week, every second week
from it, on its day of the month (or the month's last).`,
		Example: `  tweetledger payee add acf --name "Action contre la Faim" --commission 150 --rhythm weekly
  tweetledger payee add bakery --kind business --name "Aux bons pains" --commission 180 --tier 1000.00:120 --tier 5000.00:80 --vat 2000`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			n.Code, n.Kind, n.Rhythm = args[0], payments.PayeeKind(kind), payments.Rhythm(rhythm)
			if n.CommissionMinimum, err = ledger.ParseAmount(minimum, service.Config().Currency); err != nil {
				return fmt.Errorf("--commission-minimum: %w", err)
			}
			if n.Tiers, err = parseTiers(tiers, service.Config().Currency); err != nil {
				return err
			}
			if n.Anchor, err = parseDate("--anchor", anchor); err != nil {
				return err
			}
			p, err := service.ProposePayee(c.Context(), n, a.actor(actor), reason)
			if err != nil {
				return err
			}
			return a.sayProposed(p)
		},
	}
	c.Flags().StringVar(&kind, "kind", string(payments.Charity), "charity or business")
	c.Flags().StringVar(&n.Name, "name", "", "full name")
	required(c, "name")
	c.Flags().StringVar(&n.IBAN, "iban", "", "bank account to pay to (may be given later with \"payee bank\")")
	c.Flags().StringVar(&n.BIC, "bic", "", "bank, BIC (optional)")
	c.Flags().IntVar(&n.CommissionPoints, "commission", 0, "commission in hundredths of a percent: 150 is 1.5 %")
	c.Flags().StringVar(&minimum, "commission-minimum", "0", "the least commission of a payout")
	c.Flags().IntVar(&n.VATPoints, "vat", 0, "VAT on the commission, in hundredths of a percent: 2000 is 20 %")
	c.Flags().StringVar(&rhythm, "rhythm", string(payments.Monthly), "daily, weekly, fortnightly or monthly")
	tierFlags(c, &tiers, &anchor)
	addressFlags(c, &n.Address)
	c.Flags().StringVar(&reason, "reason", "new payee", "why, for the audit trail")
	actorFlag(c, &actor)
	return c
}

func (a *app) payeeListCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "list", Short: "List charities and businesses with what they are owed",
		Long: `list shows charities and businesses with their bank accounts, terms, Twitter accounts
and what the book owes them now. Below are those that are not paid out because the bank
could not credit their accounts.`,
		Example: `  tweetledger payee list --format json`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			var table reports.Table
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				table, err = payeeTable(ctx, tx, book.Today())
				return err
			})
			if err != nil {
				return err
			}
			table.GeneratedAt = book.Now()
			return a.show(table, format, "")
		},
	}
	formatFlag(c, &format)
	return c
}

func payeeTable(ctx context.Context, tx *sqldb.Tx, today ledger.Date) (reports.Table, error) {
	table := reports.Table{
		Name: "payees", Title: "Charities and businesses",
		Columns: []reports.Column{
			{Name: "code", Title: "Code", Kind: reports.Text}, {Name: "kind", Title: "Kind", Kind: reports.Text},
			{Name: "name", Title: "Name", Kind: reports.Text}, {Name: "status", Title: "Status", Kind: reports.Text},
			{Name: "iban", Title: "IBAN", Kind: reports.Text}, {Name: "rhythm", Title: "Paid", Kind: reports.Text},
			{Name: "commission", Title: "Commission", Kind: reports.Text},
			{Name: "twitter", Title: "Twitter", Kind: reports.Text}, {Name: "owed", Title: "Owed", Kind: reports.Money},
		},
	}
	payees, err := payments.ListPayees(ctx, tx, payments.PayeeFilter{Paid: true, Limit: payments.MaxPage})
	if err != nil {
		return reports.Table{}, err
	}
	ids := make([]uuid.UUID, len(payees))
	for i, payee := range payees {
		ids[i] = payee.ID
	}
	terms, err := payments.TermsOf(ctx, tx, ids)
	if err != nil {
		return reports.Table{}, err
	}
	if table.Notes, err = flagNotes(ctx, tx, payees); err != nil {
		return reports.Table{}, err
	}
	for _, payee := range payees {
		balance, err := engine.FindBalance(ctx, tx, payee.AccountID)
		if err != nil {
			return reports.Table{}, err
		}
		links, err := payments.ListLinks(ctx, tx, payee.ID)
		if err != nil {
			return reports.Table{}, err
		}
		table.Rows = append(table.Rows, reports.Row{Cells: []any{
			payee.Code, string(payee.Kind), payee.Name, string(payee.Status), payee.IBAN, string(payee.Rhythm),
			termsText(payments.TermsOn(terms[payee.ID], today)), handles(links), reports.Cash{Amount: balance.Posted(), Currency: balance.Currency},
		}})
	}
	return table, nil
}

// percent writes hundredths of a percent for people: 150 is "1.50 %".
func percent(points int) string { return fmt.Sprintf("%d.%02d %%", points/100, points%100) }

func (a *app) payeeLinkCommand() *cobra.Command {
	var id, handle string
	c := &cobra.Command{
		Use: "link CODE --twitter-id ID --handle HANDLE", Short: "Link a Twitter account to a charity or business, by its numeric id",
		Long: `link says that a Twitter account is this charity's or business's: who mentions it in
a command pays it.`,
		Example: `  tweetledger payee link acf --twitter-id 700000201 --handle ACF_France`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkTwitterID(id); err != nil {
				return err
			}
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			if err := service.LinkPayee(c.Context(), twitter.Channel, id, strings.TrimPrefix(handle, "@"), args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "linked Twitter account %s to %s\n", id, args[0])
			return err
		},
	}
	linkFlags(c, &id, &handle)
	return c
}
