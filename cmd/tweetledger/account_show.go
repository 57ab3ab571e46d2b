package main

import (
	"context"

	"github.com/spf13/cobra"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/reports"
)

func (a *app) accountShowCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "show CODE", Short: "Show an account, and who opened and closed it when and why",
		Long: `show prints an account with its bounds and its balance: what is posted, what of that is
available, what is expected. Below stands when it was opened, and each time that it was
closed or opened again, by whom and why.`,
		Example: `  tweetledger account show petty-cash`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			var table reports.Table
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				table, err = accountSheet(ctx, tx, book, args[0])
				return err
			})
			if err != nil {
				return err
			}
			return a.show(table, format, "")
		},
	}
	formatFlag(c, &format)
	return c
}

func accountSheet(ctx context.Context, tx *sqldb.Tx, book *engine.Engine, code string) (reports.Table, error) {
	account, err := engine.FindAccountByCode(ctx, tx, code)
	if err != nil {
		return reports.Table{}, err
	}
	balance, err := engine.FindBalance(ctx, tx, account.ID)
	if err != nil {
		return reports.Table{}, err
	}
	chart, err := engine.Chart(ctx, tx, book.Today())
	if err != nil {
		return reports.Table{}, err
	}
	changes, err := engine.AccountChanges(ctx, tx, account.ID)
	if err != nil {
		return reports.Table{}, err
	}
	cash := func(amount ledger.Amount) reports.Cash {
		return reports.Cash{Amount: amount, Currency: account.Currency}
	}
	bound := func(amount *ledger.Amount) any {
		if amount == nil {
			return "none"
		}
		return cash(*amount)
	}
	var number any
	if entry, ok := chart[account.Category]; ok {
		number = entry.Number + " " + entry.Label
	}
	table := reports.Table{
		Name: "account", Title: "Account " + account.Code, Description: account.Name, GeneratedAt: book.Now(),
		Facts: []reports.Fact{
			{Name: "account_id", Title: "Id", Value: account.ID.String()},
			{Name: "category", Title: "Category", Value: string(account.Category)},
			{Name: "account_no", Title: "Account no.", Value: number},
			{Name: "side", Title: "Normal side", Value: string(account.Side)},
			{Name: "currency", Title: "Currency", Value: string(account.Currency)},
			{Name: "min", Title: "Least balance", Value: bound(account.Min)},
			{Name: "max", Title: "Greatest balance", Value: bound(account.Max)},
			{Name: "shards", Title: "Balance rows", Value: int64(account.Shards)},
			{Name: "status", Title: "Status", Value: string(account.Status)},
			{Name: "posted", Title: "Posted", Value: cash(balance.Posted())},
			{Name: "available", Title: "Available", Value: cash(balance.Available())},
			{Name: "expected", Title: "Expected", Value: cash(balance.Expected())},
		},
		Columns: []reports.Column{
			{Name: "at", Title: "At", Kind: reports.Instant}, {Name: "to", Title: "Became", Kind: reports.Text},
			{Name: "by", Title: "By", Kind: reports.Text}, {Name: "reason", Title: "Reason", Kind: reports.Text},
		},
		Rows: []reports.Row{{Cells: []any{account.OpenedAt, string(ledger.AccountOpen), nil, nil}}},
	}
	for _, change := range changes {
		table.Rows = append(table.Rows, reports.Row{Cells: []any{change.At, string(change.To), change.By, change.Reason}})
	}
	return table, nil
}
