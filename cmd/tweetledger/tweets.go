package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tweetledger/adapters/twitter"
	"tweetledger/internal/payments"
	"tweetledger/ledger"
	"tweetledger/reports"
)

func (a *app) tweetsCommand() *cobra.Command {
	command := &cobra.Command{Use: "tweets", Short: "Bring tweets into the inbox"}
	command.AddCommand(a.tweetsImportCommand())
	return command
}

func (a *app) tweetsImportCommand() *cobra.Command {
	var owner twitter.Owner
	var format string
	c := &cobra.Command{
		Use:   "import FILE…",
		Short: "Import tweets from files and print what became of each command",
		Example: `  tweetledger tweets import twitter-archive/
  tweetledger tweets import tweets.js --owner-id 700000101 --owner-handle marie_test
  tweetledger tweets import - <page.json`,
		Long: `import reads tweets from files, folders or standard input ("-"):

  an archive download   the folder, its data folder, or tweets.js (all parts); the
                        owner comes from account.js beside it, or from the flags
  X API v2 pages        JSON objects with "data" and "includes"
  JSON lines            one tweet or page a line

Every tweet goes through the same inbox as one from the stream: a second import
changes nothing. An item that cannot be read is named and the others go on; the
exit code is then 3.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			files, err := twitter.OpenImport(args, owner, a.in)
			if err != nil {
				return err
			}
			report, err := a.importTweets(c, service, files)
			if err != nil {
				return err
			}
			if err := a.show(report.table, format, ""); err != nil {
				return err
			}
			if report.refused > 0 {
				return &exitError{exitBreaks, count(report.refused, "item") + " could not be imported, for the reasons above; the others are in the inbox"}
			}
			return nil
		},
	}
	c.Flags().StringVar(&owner.ID, "owner-id", "", "numeric id of the archive's owner, where no account.js says it")
	c.Flags().StringVar(&owner.Handle, "owner-handle", "", "handle of the archive's owner")
	formatFlag(c, &format)
	return c
}

// imported is what an import did.
type imported struct {
	table   reports.Table
	refused int
}

// maxImportLines bounds the lines that are shown of an import; all are counted.
const maxImportLines = 10_000

func (a *app) importTweets(c *cobra.Command, service *payments.Service, files *twitter.Import) (imported, error) {
	ctx := c.Context()
	total := files.TotalBytes()
	if total == 0 {
		total = -1
	}
	bar := a.progress(total, "importing")
	defer func() { _ = bar.Finish() }()
	result := imported{table: reports.Table{
		Name: "tweets_import", Title: "Tweets imported", GeneratedAt: service.Engine().Now(),
		Columns: []reports.Column{
			{Name: "tweet", Title: "Tweet", Kind: reports.Text}, {Name: "key", Title: "Key", Kind: reports.Text},
			{Name: "outcome", Title: "Outcome", Kind: reports.Text}, {Name: "reason", Title: "Reason", Kind: reports.Text},
			{Name: "payee", Title: "Payee", Kind: reports.Text}, {Name: "amount", Title: "Amount", Kind: reports.Money},
			{Name: "state", Title: "Order", Kind: reports.Text}, {Name: "again", Title: "Seen before", Kind: reports.Flag},
		},
	}}
	read, more := 0, 0
	for m, err := range files.Messages() {
		_ = bar.Set64(files.BytesRead())
		if ctxErr := ctx.Err(); ctxErr != nil {
			return result, fmt.Errorf("import interrupted after %d tweets; run it again to go on: %w", read, ctxErr)
		}
		var handled payments.Handled
		if err == nil {
			handled, err = receive(c, service, m)
		}
		if err != nil {
			if item, ok := errors.AsType[*twitter.ImportError](err); !ok && ledger.CodeOf(err) != ledger.CodeInvalid {
				return result, err
			} else if !ok {
				err = fmt.Errorf("tweet %s: %w", m.ID, err)
			} else {
				err = item
			}
			_ = bar.Clear()
			fmt.Fprintln(a.err, "tweetledger: "+err.Error())
			result.refused++
			continue
		}
		read++
		if len(result.table.Rows) < maxImportLines {
			result.table.Rows = append(result.table.Rows, importRow(m, handled))
		} else {
			more++
		}
	}
	result.table.Facts = []reports.Fact{
		{Name: "tweets", Title: "Tweets read", Value: int64(read)},
		{Name: "refused", Title: "Items that could not be read", Value: int64(result.refused)},
	}
	if more > 0 {
		result.table.Notes = append(result.table.Notes, fmt.Sprintf("%d more tweets were imported and are not shown.", more))
	}
	return result, nil
}

// receive takes a message through the inbox and does what it asks for.
func receive(c *cobra.Command, service *payments.Service, m payments.Message) (payments.Handled, error) {
	received, err := service.Receive(c.Context(), m)
	if err != nil {
		return payments.Handled{}, err
	}
	return service.Handle(c.Context(), received.ID)
}

func importRow(m payments.Message, h payments.Handled) reports.Row {
	cells := []any{m.ID, payments.OrderKey(m.Channel, m.FirstID), string(h.Outcome), h.Reason, nil, nil, nil, h.Again}
	if o := h.Order; o != nil {
		cells[4], cells[5], cells[6] = "@"+o.PayeeHandle, reports.Cash{Amount: o.Amount, Currency: o.Currency}, string(o.State)
	}
	return reports.Row{Cells: cells}
}
