package main

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"tweetledger/adapters/bank"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/reports"
)

func (a *app) payoutCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "payout", Short: "Pay out what the book owes to charities and businesses",
		Long: `A payout batch goes through these hands and states:

  prepare         gathers what is due; the book is not changed yet
  approve         by another person: the book is posted
  export          writes the bank's file (pain.001.001.09)
  status import   takes in what the bank reports of it: accepted or rejected (pain.002)
  and "tweetledger statement import" books what the bank did: paid, or paid and returned`,
	}
	command.AddCommand(a.payoutPrepareCommand(), a.payoutScheduleCommand(), a.payoutListCommand(), a.payoutShowCommand(), a.payoutApproveCommand(),
		a.payoutExportCommand(), a.payoutCancelCommand(), a.payoutStatusCommand(), a.payoutHistoryCommand())
	return command
}

func (a *app) payoutPrepareCommand() *cobra.Command {
	var r payouts.PrepareRequest
	var until, execution, actor string
	var all bool
	c := &cobra.Command{
		Use: "prepare [PAYEE…]", Short: "Gather what is due by rhythm, or to the payees named, into a batch",
		Long: `prepare gathers donations into a batch: those that are due today by each payee's rhythm,
which "payout schedule" shows; or, of the payees that are named (of all with --all),
every donation until today. What is gathered by rhythm was given before the day of the
rhythm: what comes in meanwhile waits for the next. Nothing is posted: another person
approves the batch first. Who cannot be paid, for want of an IBAN say, or because the
bank could not credit it last time, is left out and named. The bank pays on a business
day (TARGET): a date that is none moves to the next.`,
		Example: `  tweetledger payout prepare
  tweetledger payout prepare --all
  tweetledger payout prepare acf --until 2026-01-31 --execution-date 2026-02-02`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if r.Until, err = parseDate("--until", until); err != nil {
				return err
			}
			if r.ExecutionDate, err = parseDate("--execution-date", execution); err != nil {
				return err
			}
			service, err := a.openPayouts(c.Context())
			if err != nil {
				return err
			}
			if all && len(args) > 0 {
				return ledger.Errorf(ledger.CodeInvalid, "name payees, or say --all, not both").InField("all")
			}
			r.Payees, r.ByRhythm, r.Actor = args, len(args) == 0 && !all, a.actor(actor)
			result, err := service.Prepare(c.Context(), r)
			if err != nil {
				return err
			}
			for _, refused := range result.Refused {
				fmt.Fprintf(a.err, "tweetledger: %s is left out: %v\n", refused.PayeeCode, refused.Err)
			}
			table := payoutTable(result.Batch, result.Payouts)
			table.GeneratedAt = a.now().UTC()
			if result.Left {
				table.Notes = append(table.Notes, "The batch is full and more is due: prepare another one.")
			}
			return a.show(table, "text", "")
		},
	}
	c.Flags().StringVar(&until, "until", "", "donations up to this date (default today)")
	c.Flags().StringVar(&execution, "execution-date", "", "when the bank is to pay (default the next business day)")
	c.Flags().BoolVar(&all, "all", false, "all payees, whatever their rhythm")
	actorFlag(c, &actor)
	return c
}

func payoutTable(b payouts.Batch, list []payouts.Payout) reports.Table {
	cash := func(p payouts.Payout) []any {
		return []any{
			reports.Cash{Amount: p.Gross, Currency: p.Currency}, reports.Cash{Amount: p.Commission, Currency: p.Currency},
			reports.Cash{Amount: p.VAT, Currency: p.Currency}, reports.Cash{Amount: p.Net, Currency: p.Currency},
		}
	}
	table := reports.Table{
		Name: "payout_batch", Title: "Payout batch " + b.Reference,
		Facts: []reports.Fact{
			{Name: "state", Title: "State", Value: string(b.State)},
			{Name: "prepared_by", Title: "Prepared by", Value: b.CreatedBy},
			{Name: "approved_by", Title: "Approved by", Value: b.ApprovedBy},
			{Name: "execution_date", Title: "Execution date", Value: b.ExecutionDate},
		},
		Columns: []reports.Column{
			{Name: "payee", Title: "Payee", Kind: reports.Text}, {Name: "name", Title: "Name", Kind: reports.Text},
			{Name: "iban", Title: "IBAN", Kind: reports.Text}, {Name: "end_to_end_id", Title: "End-to-end id", Kind: reports.Text},
			{Name: "state", Title: "State", Kind: reports.Text}, {Name: "donations", Title: "Donations", Kind: reports.Integer},
			{Name: "gross", Title: "Gross", Kind: reports.Money}, {Name: "commission", Title: "Commission", Kind: reports.Money},
			{Name: "vat", Title: "VAT", Kind: reports.Money}, {Name: "net", Title: "Net", Kind: reports.Money},
		},
	}
	for _, p := range list {
		table.Rows = append(table.Rows, reports.Row{Cells: append([]any{
			p.PayeeCode, p.Creditor.Name, p.Creditor.IBAN, p.EndToEndID, string(p.State), int64(p.Donations)}, cash(p)...)})
	}
	total := payouts.Payout{Gross: b.Gross, Commission: b.Commission, VAT: b.VAT, Net: b.Net, Currency: b.Currency}
	table.Rows = append(table.Rows, reports.Row{Total: true, Cells: append([]any{"Total", nil, nil, nil, nil, nil}, cash(total)...)})
	return table
}

func (a *app) payoutListCommand() *cobra.Command {
	var format, state, after string
	c := &cobra.Command{
		Use: "list", Short: "List payout batches, the newest first, or the payouts in a state",
		Long: `list shows batches with their states: prepared, approved, exported, settled, rejected
(all of it) or cancelled. With --state it shows the single payouts that are in that
state, of all batches, the oldest first: prepared, approved, exported, accepted,
rejected, settled, returned or cancelled.`,
		Example: `  tweetledger payout list --format csv
  tweetledger payout list --state rejected`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			if state != "" {
				table, err := payoutsInState(c.Context(), book, state, after)
				if err != nil {
					return err
				}
				return a.show(table, format, "")
			}
			var list []payouts.Batch
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				list, err = payouts.ListBatches(ctx, tx, payouts.BatchFilter{Limit: payouts.MaxPage})
				return err
			})
			if err != nil {
				return err
			}
			table := reports.Table{
				Name: "payout_batches", Title: "Payout batches", GeneratedAt: book.Now(),
				Columns: []reports.Column{
					{Name: "batch", Title: "Batch", Kind: reports.Text}, {Name: "state", Title: "State", Kind: reports.Text},
					{Name: "execution_date", Title: "Execution", Kind: reports.Day}, {Name: "payouts", Title: "Payouts", Kind: reports.Integer},
					{Name: "gross", Title: "Gross", Kind: reports.Money}, {Name: "commission", Title: "Commission", Kind: reports.Money},
					{Name: "vat", Title: "VAT", Kind: reports.Money}, {Name: "net", Title: "Net", Kind: reports.Money},
					{Name: "prepared_by", Title: "Prepared by", Kind: reports.Text}, {Name: "approved_by", Title: "Approved by", Kind: reports.Text},
				},
			}
			for _, b := range list {
				table.Rows = append(table.Rows, reports.Row{Cells: []any{b.Reference, string(b.State), b.ExecutionDate, int64(b.Payouts),
					reports.Cash{Amount: b.Gross, Currency: b.Currency}, reports.Cash{Amount: b.Commission, Currency: b.Currency},
					reports.Cash{Amount: b.VAT, Currency: b.Currency}, reports.Cash{Amount: b.Net, Currency: b.Currency}, b.CreatedBy, b.ApprovedBy}})
			}
			return a.show(table, format, "")
		},
	}
	c.Flags().StringVar(&state, "state", "", "the payouts in this state, instead of batches")
	c.Flags().StringVar(&after, "after", "", "with --state: go on behind this end-to-end id")
	formatFlag(c, &format)
	return c
}

func (a *app) payoutShowCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "show BATCH", Short: "Show a batch with its payouts",
		Long: `show prints a batch, and each payout in it with its end-to-end id, by which the bank's
statement will know it again. Below are those that the bank has rejected or returned, and
those that pay out again what came back.`,
		Example: `  tweetledger payout show PO-20261122-0001`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			var batch payouts.Batch
			var list []payouts.Payout
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				if batch, err = payouts.FindBatch(ctx, tx, args[0]); err != nil {
					return err
				}
				list, err = payouts.ListPayouts(ctx, tx, payouts.PayoutFilter{BatchID: batch.ID, Limit: payouts.MaxPage})
				return err
			})
			if err != nil {
				return err
			}
			table := payoutTable(batch, list)
			table.Notes = append(table.Notes, fateNotes(list)...)
			table.GeneratedAt = book.Now()
			return a.show(table, format, "")
		},
	}
	formatFlag(c, &format)
	return c
}

func (a *app) payoutApproveCommand() *cobra.Command {
	var actor string
	c := &cobra.Command{
		Use: "approve BATCH", Short: "Approve a batch that somebody else prepared, and post it",
		Long: `approve posts the payouts of a batch: from what payees are owed, less commission and
VAT on it, to payouts in transit. Who prepared a batch cannot approve it.`,
		Example: `  tweetledger payout approve PO-20261122-0001 --actor bruno`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			service, err := a.openPayouts(c.Context())
			if err != nil {
				return err
			}
			batch, err := service.Approve(c.Context(), args[0], a.actor(actor))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "approved batch %s: %s, net %s %s\n", batch.Reference, count(batch.Payouts, "payout"), batch.Net.Format(batch.Currency), batch.Currency)
			return err
		},
	}
	actorFlag(c, &actor)
	return c
}

func (a *app) payoutExportCommand() *cobra.Command {
	var actor, file, format string
	c := &cobra.Command{
		Use: "export BATCH", Short: "Write the bank's file of an approved batch (pain.001)",
		Long: `export writes the payment file for the bank, to standard output or to a file. The same
batch always gives the same file, so that it can be sent again if it got lost; the
bank drops what it has had by the message id. A payee who was blocked, got another bank
account or has one that is flagged since the approval stops the first export. A batch of
which the bank has rejected a payout is not exported again.`,
		Example: `  tweetledger payout export PO-20261122-0001 -o payouts.xml
  tweetledger payout export PO-20261122-0001 --format pain.001.001.03 -o payouts.xml`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			version, err := bank.ParsePain001(format)
			if err != nil {
				return err
			}
			service, err := a.openPayouts(c.Context())
			if err != nil {
				return err
			}
			content, err := service.Export(c.Context(), args[0], a.actor(actor))
			if err != nil {
				return err
			}
			var xml bytes.Buffer
			if err := bank.WritePain001As(&xml, content, version); err != nil {
				return err
			}
			if file == "" || file == "-" {
				_, err = a.out.Write(xml.Bytes())
				return err
			}
			err = writeFile(file, func(w io.Writer) error {
				_, err := w.Write(xml.Bytes())
				return err
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "wrote %s: %s, message id %s\n", file, count(len(content.Transfers), "transfer"), content.MessageID)
			return err
		},
	}
	c.Flags().StringVar(&format, "format", string(bank.Pain00109), "pain.001.001.09 or pain.001.001.03, as the bank asks")
	actorFlag(c, &actor)
	outputFlag(c, &file)
	return c
}

func (a *app) payoutCancelCommand() *cobra.Command {
	var actor string
	c := &cobra.Command{
		Use: "cancel BATCH", Short: "Cancel a batch that was not exported yet; its donations are due again",
		Long: `cancel ends a batch that the bank does not have yet. Where it was approved, its posting
is reversed.`,
		Example: `  tweetledger payout cancel PO-20261122-0001`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			service, err := a.openPayouts(c.Context())
			if err != nil {
				return err
			}
			batch, err := service.Cancel(c.Context(), args[0], a.actor(actor))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "batch %s is %s\n", batch.Reference, batch.State)
			return err
		},
	}
	actorFlag(c, &actor)
	return c
}
