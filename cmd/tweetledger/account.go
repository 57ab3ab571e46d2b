package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/reports"
	"tweetledger/reports/render"
)

func (a *app) accountCommand() *cobra.Command {
	command := &cobra.Command{Use: "account", Short: "Open, list, look at and close accounts of the book"}
	command.AddCommand(a.accountOpenCommand(), a.accountListCommand(), a.accountShowCommand(), a.accountBalanceCommand(), a.accountCloseCommand(), a.accountReopenCommand())
	return command
}

func (a *app) accountOpenCommand() *cobra.Command {
	var account ledger.Account
	var category, side, currency, minimum, maximum string
	c := &cobra.Command{
		Use: "open CODE", Short: "Open an account",
		Long: `open makes an account for the bank's own use, such as petty cash or a second bank
account. Wallets of customers and accounts of charities are not opened by hand:
"customer add" and "payee add" open them.

The category is one of the chart of accounts, which numbers the account by it: in the
chart that "init" makes own_account, safeguarding_account, cards_to_settle, card_fees,
commissions, customer_receivable, payouts_in_transit, suspense, unclaimed_payments,
result_of_the_year or loss_of_the_year.

The same command twice opens one account; another account under a code in use is
refused. The bounds --min and --max hold whoever posts, held money included.`,
		Example: `  tweetledger account open petty-cash --name "Petty cash" --category own_account --side debit --min 0`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			account.ID, account.Code = ledger.SystemAccountID(args[0]), args[0]
			account.Category, account.Side, account.Currency = ledger.Category(category), ledger.Side(side), ledger.Currency(currency)
			for _, bound := range []struct {
				flag, text string
				to         **ledger.Amount
			}{{"--min", minimum, &account.Min}, {"--max", maximum, &account.Max}} {
				if bound.text == "" {
					continue
				}
				amount, err := ledger.ParseAmount(bound.text, account.Currency)
				if err != nil {
					return fmt.Errorf("%s: %w", bound.flag, err)
				}
				*bound.to = &amount
			}
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				return checkCategory(ctx, tx, account.Category, book.Today())
			})
			if err != nil {
				return err
			}
			opened, err := book.OpenAccount(c.Context(), account)
			if err != nil {
				return err
			}
			if opened.Status == ledger.AccountClosed {
				return ledger.Errorf(ledger.CodeAccountClosed, "there is an account %s, which is closed; open it again with: tweetledger account reopen %s",
					opened.Code, opened.Code).InField("code")
			}
			_, err = fmt.Fprintf(a.out, "opened account %s (%s)\n", opened.Code, opened.ID)
			return err
		},
	}
	c.Flags().StringVar(&account.Name, "name", "", "what the account is; no personal data")
	c.Flags().StringVar(&category, "category", "", "what it is for, such as own_account: the chart of accounts numbers it by this")
	c.Flags().StringVar(&side, "side", "", "the side its balance normally stands on: debit or credit")
	c.Flags().StringVar(&currency, "currency", string(ledger.EUR), "its currency, ISO 4217")
	c.Flags().StringVar(&minimum, "min", "", "the least that its balance may be, holds included (default no bound)")
	c.Flags().StringVar(&maximum, "max", "", "the most that its balance may be, holds included (default no bound)")
	c.Flags().IntVar(&account.Shards, "shards", 1, "balance rows, for an account that many nodes post to at once")
	required(c, "name", "category", "side")
	return c
}

// checkCategory refuses, for an account that is opened by hand, the categories of
// customers and payees, and those without a number in the chart: a fiscal year with
// such an account would not close.
func checkCategory(ctx context.Context, tx *sqldb.Tx, category ledger.Category, today ledger.Date) error {
	switch category {
	case ledger.CustomerEMoney:
		return ledger.Errorf(ledger.CodeInvalid, "accounts of %s are customers' wallets; \"tweetledger customer add\" opens them", category).InField("category")
	case ledger.CharityPayable:
		return ledger.Errorf(ledger.CodeInvalid, "accounts of %s are payees'; \"tweetledger payee add\" opens them", category).InField("category")
	}
	chart, err := engine.Chart(ctx, tx, today)
	if err != nil {
		return err
	}
	if _, ok := chart[category]; ok {
		return nil
	}
	delete(chart, ledger.CustomerEMoney)
	delete(chart, ledger.CharityPayable)
	var known []string
	for c := range chart {
		known = append(known, string(c))
	}
	slices.Sort(known)
	return ledger.Errorf(ledger.CodeInvalid, "%q is no category of the chart of accounts; use one of: %s", ledger.Clip(string(category)),
		strings.Join(known, ", ")).InField("category")
}

func (a *app) accountListCommand() *cobra.Command {
	var category, after, format string
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List accounts with their balances",
		Long: `list shows the accounts by code, with what is posted on each and what of that is
available: posted less what is held.`,
		Example: `  tweetledger account list --category customer_emoney
  tweetledger account list --format csv`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			var table reports.Table
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				table, err = accountTable(ctx, tx, book, engine.AccountFilter{Category: ledger.Category(category), AfterCode: after, Limit: limit})
				return err
			})
			if err != nil {
				return err
			}
			return a.show(table, format, "")
		},
	}
	c.Flags().StringVar(&category, "category", "", "only accounts of this category")
	c.Flags().StringVar(&after, "after", "", "go on behind this code")
	c.Flags().IntVar(&limit, "limit", 1000, "how many at most")
	formatFlag(c, &format)
	return c
}

func accountTable(ctx context.Context, tx *sqldb.Tx, book *engine.Engine, f engine.AccountFilter) (reports.Table, error) {
	table := reports.Table{
		Name: "accounts", Title: "Accounts", GeneratedAt: book.Now(),
		Columns: []reports.Column{
			{Name: "code", Title: "Account", Kind: reports.Text}, {Name: "name", Title: "Name", Kind: reports.Text},
			{Name: "category", Title: "Category", Kind: reports.Text}, {Name: "status", Title: "Status", Kind: reports.Text},
			{Name: "posted", Title: "Posted", Kind: reports.Money}, {Name: "available", Title: "Available", Kind: reports.Money},
		},
	}
	accounts, err := engine.ListAccounts(ctx, tx, f)
	if err != nil {
		return reports.Table{}, err
	}
	for _, account := range accounts {
		balance, err := engine.FindBalance(ctx, tx, account.ID)
		if err != nil {
			return reports.Table{}, err
		}
		table.Rows = append(table.Rows, reports.Row{Cells: []any{
			account.Code, account.Name, string(account.Category), string(account.Status),
			reports.Cash{Amount: balance.Posted(), Currency: account.Currency},
			reports.Cash{Amount: balance.Available(), Currency: account.Currency},
		}})
	}
	if len(accounts) == f.Limit {
		table.Notes = append(table.Notes, fmt.Sprintf("There may be more: go on with --after %s", accounts[len(accounts)-1].Code))
	}
	return table, nil
}

func (a *app) accountBalanceCommand() *cobra.Command {
	var at asOf
	c := &cobra.Command{
		Use: "balance CODE", Short: "Show what stands on an account, now or as of a date",
		Long: `balance shows what is posted on an account, what is available (less held money) and
what is expected (with money that is on its way in).

With --as-of it shows what was posted up to a date; with --recorded, what the book
knew at an instant. Both together answer "what did we then believe it was".`,
		Example: `  tweetledger account balance wallet:c-000017
  tweetledger account balance safeguarding-account --as-of 2026-01-31 --recorded 2026-02-01T08:00:00Z`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			point, err := at.parse()
			if err != nil {
				return err
			}
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			var balance ledger.Balance
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				account, err := engine.FindAccountByCode(ctx, tx, args[0])
				if err != nil {
					return err
				}
				if point == (engine.AsOf{}) {
					balance, err = engine.FindBalance(ctx, tx, account.ID)
				} else {
					balance, err = engine.BalanceAsOf(ctx, tx, account.ID, point)
				}
				return err
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "posted     %s %s\n", balance.Posted().Format(balance.Currency), balance.Currency)
			if point == (engine.AsOf{}) {
				fmt.Fprintf(a.out, "available  %s %s\n", balance.Available().Format(balance.Currency), balance.Currency)
				fmt.Fprintf(a.out, "expected   %s %s\n", balance.Expected().Format(balance.Currency), balance.Currency)
			}
			return nil
		},
	}
	at.flags(c)
	return c
}

// formatFlag adds --format.
func formatFlag(c *cobra.Command, format *string) {
	c.Flags().StringVar(format, "format", render.FormatText, "text, csv or json")
}
