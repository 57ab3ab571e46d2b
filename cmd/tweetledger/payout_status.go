package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"tweetledger/adapters/bank"
	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/reports"
)

func (a *app) payoutStatusCommand() *cobra.Command {
	command := &cobra.Command{Use: "status", Short: "What the bank reports of payment files (pain.002)"}
	command.AddCommand(a.payoutStatusImportCommand())
	return command
}

func (a *app) payoutStatusImportCommand() *cobra.Command {
	var actor string
	c := &cobra.Command{
		Use: "import FILE…", Short: "Take in the bank's reports on payment files (pain.002); \"-\" is standard input",
		Long: `import reads payment status reports (pain.002.001.03 and .10). A payout that the bank
accepts is accepted, which posts nothing: only its statement shows that it was paid. One
that it rejects is rejected: its posting is reversed, and its donations are due again.
Where the reason concerns the account, nothing is paid out to it until another IBAN is
entered ("payee bank"), or two persons say that it is right ("payee confirm-bank").

The same report twice changes nothing; one with other content is refused, and kept as a
finding. So is what a report says of a payout that it has with another amount, or not
from this batch, and what contradicts the book (rejected after it was paid): it changes
nothing, the rest of the report is taken in, and the exit code is 1.`,
		Example: `  tweetledger payout status import 2026-11-23.pain002.xml`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			service, err := a.openPayouts(c.Context())
			if err != nil {
				return err
			}
			return a.eachFile(args, func(in io.Reader, label string) []error {
				r, err := service.ImportReport(c.Context(), bank.ReadPain002(in, label), a.actor(actor))
				if err != nil {
					return []error{inFile(label, err)}
				}
				return a.printReport(label, r)
			})
		},
	}
	actorFlag(c, &actor)
	return c
}

func (a *app) printReport(label string, r payouts.ReportResult) []error {
	if r.Already {
		fmt.Fprintf(a.out, "%s: report %s on batch %s was imported before; nothing changed\n", label, r.MessageID, r.Batch)
		return nil
	}
	flagged := ""
	if r.Flagged > 0 {
		flagged = fmt.Sprintf("; %s flagged, which \"tweetledger payee list\" shows", count(r.Flagged, "account"))
	}
	fmt.Fprintf(a.out, "%s: took in report %s on batch %s: %s accepted, %d rejected, %d unchanged%s\n",
		label, r.MessageID, r.Batch, count(r.Accepted, "payout"), r.Rejected, r.Unchanged, flagged)
	var failed []error
	for _, refused := range r.Refused {
		failed = append(failed, inFile(label, refused))
	}
	for _, f := range r.Findings {
		failed = append(failed, fmt.Errorf("%s: %s", label, f.Message))
	}
	return failed
}

// payoutsInState lists payouts of all batches.
func payoutsInState(ctx context.Context, book *engine.Engine, name, after string) (reports.Table, error) {
	state, err := payouts.ParseState(name)
	if err != nil {
		return reports.Table{}, err
	}
	var list []payouts.Payout
	err = book.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		list, err = payouts.ListPayouts(ctx, tx, payouts.PayoutFilter{State: state, After: after, Limit: payouts.MaxPage})
		return err
	})
	if err != nil {
		return reports.Table{}, err
	}
	table := reports.Table{
		Name: "payouts", Title: "Payouts that are " + string(state), GeneratedAt: book.Now(),
		Columns: []reports.Column{
			{Name: "batch", Title: "Batch", Kind: reports.Text}, {Name: "payee", Title: "Payee", Kind: reports.Text},
			{Name: "iban", Title: "IBAN", Kind: reports.Text}, {Name: "end_to_end_id", Title: "End-to-end id", Kind: reports.Text},
			{Name: "bank_status", Title: "Bank says", Kind: reports.Text}, {Name: "reason", Title: "Reason", Kind: reports.Text},
			{Name: "retry_of", Title: "Next attempt of", Kind: reports.Text}, {Name: "net", Title: "Net", Kind: reports.Money},
		},
	}
	for _, p := range list {
		table.Rows = append(table.Rows, reports.Row{Cells: []any{p.Batch, p.PayeeCode, p.Creditor.IBAN, p.EndToEndID, string(p.BankStatus), failure(p), p.RetryOf,
			reports.Cash{Amount: p.Net, Currency: p.Currency}}})
	}
	if len(list) == payouts.MaxPage {
		table.Notes = append(table.Notes, "There may be more: go on with --after "+list[len(list)-1].EndToEndID)
	}
	return table, nil
}

// failure says why a payout was rejected or returned; it is empty where it was not.
func failure(p payouts.Payout) string {
	switch p.State {
	case payouts.Rejected:
		return payouts.ReasonText(p.RejectReason)
	case payouts.Returned:
		return payouts.ReasonText(p.ReturnReason)
	}
	return ""
}

// fateNotes tell what a table of payouts has no columns for.
func fateNotes(list []payouts.Payout) []string {
	var notes []string
	for _, p := range list {
		if p.RetryOf != "" {
			notes = append(notes, fmt.Sprintf("%s is the next attempt of %s.", p.EndToEndID, p.RetryOf))
		}
		switch p.State {
		case payouts.Rejected:
			notes = append(notes, fmt.Sprintf("%s was rejected on %s: %s.", p.EndToEndID, p.RejectedOn, failure(p)))
		case payouts.Returned:
			notes = append(notes, fmt.Sprintf("%s was returned on %s: %s.", p.EndToEndID, p.ReturnedOn, failure(p)))
		}
	}
	return notes
}

// flagNotes tell which payees are not paid because of their accounts.
func flagNotes(ctx context.Context, tx *sqldb.Tx, payees []payments.Payee) ([]string, error) {
	var notes []string
	for page := range slices.Chunk(payees, payouts.MaxPage) {
		ibans := make([]string, len(page))
		for i, payee := range page {
			ibans[i] = payee.IBAN
		}
		flags, err := payouts.OpenFlags(ctx, tx, ibans)
		if err != nil {
			return nil, err
		}
		for _, payee := range page {
			if flag, ok := flags[payee.IBAN]; ok {
				notes = append(notes, flag.Note(payee.Code))
			}
		}
	}
	return notes, nil
}

func (a *app) payoutHistoryCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "history END-TO-END-ID", Short: "Show what the bank's reports and statements did to a payout",
		Long: `history prints each change that the bank's news made to one payout, with the report or
statement that brought it, the reason and the bank's own words. Who prepared, approved and
exported it stands in its batch ("payout show").`,
		Example: `  tweetledger payout history PO-20261122-0001-9f3c2a1b-00001`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			var p payouts.Payout
			var events []payouts.PayoutEvent
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				if p, err = payouts.FindPayout(ctx, tx, args[0]); err != nil {
					return err
				}
				events, err = payouts.PayoutEvents(ctx, tx, p.ID)
				return err
			})
			if err != nil {
				return err
			}
			table := reports.Table{
				Name: "payout_history", Title: "History of payout " + p.EndToEndID, GeneratedAt: book.Now(),
				Facts: []reports.Fact{
					{Name: "batch", Title: "Batch", Value: p.Batch}, {Name: "payee", Title: "Payee", Value: p.PayeeCode},
					{Name: "iban", Title: "IBAN", Value: p.Creditor.IBAN}, {Name: "net", Title: "Net", Value: reports.Cash{Amount: p.Net, Currency: p.Currency}},
					{Name: "state", Title: "State", Value: string(p.State)}, {Name: "retry_of", Title: "Next attempt of", Value: p.RetryOf},
				},
				Columns: []reports.Column{
					{Name: "at", Title: "At", Kind: reports.Instant}, {Name: "from", Title: "From", Kind: reports.Text}, {Name: "to", Title: "To", Kind: reports.Text},
					{Name: "source", Title: "Report or statement", Kind: reports.Text}, {Name: "status", Title: "Status", Kind: reports.Text},
					{Name: "reason", Title: "Reason", Kind: reports.Text}, {Name: "info", Title: "The bank's words", Kind: reports.Text}, {Name: "actor", Title: "Imported by", Kind: reports.Text},
				},
			}
			for _, e := range events {
				reason := ""
				if e.Reason != "" {
					reason = payouts.ReasonText(e.Reason)
				}
				table.Rows = append(table.Rows, reports.Row{Cells: []any{e.At, string(e.From), string(e.To), e.Source, string(e.Status), reason, e.Info, e.Actor}})
			}
			return a.show(table, format, "")
		},
	}
	formatFlag(c, &format)
	return c
}

func (a *app) payeeConfirmBankCommand() *cobra.Command {
	var actor, reason string
	c := &cobra.Command{
		Use: "confirm-bank CODE", Short: "Say that a flagged IBAN is right after all; two persons must",
		Long: `confirm-bank is your word that a charity's or business's IBAN is right, though the bank
has rejected or returned a payout to it for a reason that concerns the account. Ask the
payee first, not by the address that came with the change. The flag is lifted once
another person has said the same; until then nothing is paid out. Another IBAN needs no
such word.`,
		Example: `  tweetledger payee confirm-bank acf --reason "letter of its bank of 2026-11-24" --actor anne`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			service, err := a.openPayouts(c.Context())
			if err != nil {
				return err
			}
			done, err := service.ConfirmIBAN(c.Context(), args[0], a.actor(actor), reason)
			if err != nil {
				return err
			}
			if done.Waiting {
				_, err = fmt.Fprintf(a.out, "kept your word that %s is right; %s is paid once another person says so, too\n", done.IBAN, ledger.Clip(args[0]))
				return err
			}
			_, err = fmt.Fprintf(a.out, "the flag of %s is lifted; %s is paid again\n", done.IBAN, ledger.Clip(args[0]))
			return err
		},
	}
	actorFlag(c, &actor)
	reasonFlag(c, &reason)
	return c
}
