package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"tweetledger/adapters/bank"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/reports"
)

func (a *app) statementCommand() *cobra.Command {
	command := &cobra.Command{Use: "statement", Short: "Bank statements that come in, and donation statements that go out"}
	command.AddCommand(a.statementImportCommand(), a.statementListCommand(), a.statementShowCommand(), a.statementIssueCommand(), a.statementIssuedCommand(), a.statementWriteCommand(), a.statementVerifyCommand())
	return command
}

func (a *app) statementImportCommand() *cobra.Command {
	var actor, format string
	c := &cobra.Command{
		Use: "import FILE…", Short: "Book bank statements (camt.053, camt.054, CFONB 120); \"-\" is standard input",
		Example: `  tweetledger statement import 2026-11-23.camt053.xml
  tweetledger statement import --format cfonb november/*.txt`,
		Long: `import reads bank statements (camt.053.001.02 and .08, CFONB 120), checks that each adds
up, and books their movements: payouts that the bank has paid, payouts that came back,
transfers of card acquirers whose settlement files were imported, and unknown money,
which goes to suspense. Notifications (camt.054.001.02 and .08) book nothing: they say
what a later statement's batch bookings consist of, and why money comes back.

The same statement twice books once; one with other content is refused, and kept as a
finding. A statement that is refused changes nothing; those after it are still read,
and the exit code is 1. An import that broke off goes on when the file is imported
again.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			read, err := bank.ParseFormat(format)
			if err != nil {
				return err
			}
			service, err := a.openPayouts(c.Context())
			if err != nil {
				return err
			}
			return a.eachFile(args, func(in io.Reader, label string) []error {
				return a.importStatements(c, service, bank.Read(in, label, read), label, a.actor(actor))
			})
		},
	}
	actorFlag(c, &actor)
	c.Flags().StringVar(&format, "format", string(bank.FormatAuto), "auto, camt or cfonb")
	return c
}

// eachFile calls take for each file named and prints what is refused. One bad file does not stop the others; the exit code says so.
func (a *app) eachFile(names []string, take func(in io.Reader, label string) []error) error {
	failed := false
	for _, name := range names {
		for _, err := range a.withFile(name, take) {
			failed = true
			fmt.Fprintln(a.err, "tweetledger: "+inOneLine(err.Error()))
		}
	}
	if failed {
		return &exitError{code: exitFailed}
	}
	return nil
}

func (a *app) withFile(name string, take func(in io.Reader, label string) []error) []error {
	if name == "-" {
		return take(a.in, "standard input")
	}
	file, err := os.Open(name)
	if err != nil {
		return []error{fmt.Errorf("read the file: %w", err)}
	}
	defer func() { _ = file.Close() }()
	size := int64(-1)
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	bar := a.progress(size, "reading "+name)
	defer func() { _ = bar.Finish() }()
	return take(io.TeeReader(file, bar), name)
}

func (a *app) importStatements(c *cobra.Command, service *payouts.Service, file payouts.BankFile, label, actor string) []error {
	bar := a.progress(-1, "booking "+label)
	results, err := service.ImportFile(c.Context(), file, actor, func(booked int) { _ = bar.Set(booked) })
	_ = bar.Finish()
	var failed []error
	for _, r := range results {
		if r.Err != nil {
			failed = append(failed, inFile(label, r.Err))
			continue
		}
		printImport(a.out, label, r)
	}
	if err != nil {
		failed = append(failed, inFile(label, err))
	}
	return failed
}

// inFile adds the name of a file to an error that does not say it.
func inFile(label string, err error) error {
	refusal, ok := errors.AsType[*ledger.Error](err)
	if ok && len(refusal.Field) >= len(label) && refusal.Field[:len(label)] == label {
		return err
	}
	return fmt.Errorf("%s: %w", label, err)
}

func printImport(out io.Writer, label string, r payouts.ImportResult) {
	pending := ""
	if r.Pending > 0 {
		pending = fmt.Sprintf("; %s left out", count(r.Pending, "pending movement"))
	}
	s := r.Statement
	switch {
	case r.Already && !r.Resumed:
		fmt.Fprintf(out, "%s: %s %s was imported before; nothing changed\n", label, r.Kind, r.MessageID)
		return
	case r.Kind == payouts.KindNotification:
		fmt.Fprintf(out, "%s: kept notification %s: entries %d%s\n", label, r.MessageID, r.Entries, pending)
		return
	}
	cards := ""
	if r.Cards > 0 {
		cards = fmt.Sprintf("%s, ", count(r.Cards, "card settlement"))
	}
	what := "booked"
	if r.Resumed {
		what = "booked the rest of"
	}
	fmt.Fprintf(out, "%s: %s statement %s: entries %d, opening %s, closing %s %s; %s settled, %d returned, %s%d to suspense%s\n",
		label, what, s.StatementID, s.Entries, s.Opening.Format(s.Currency), s.Closing.Format(s.Currency), s.Currency, count(r.Settled, "payout"), r.Returned, cards, r.Suspense, pending)
	for _, finding := range r.Findings {
		fmt.Fprintf(out, "  note: %s\n", finding.Message)
	}
	if unnamed := r.Suspense - payouts.MaxFindings; unnamed > 0 {
		fmt.Fprintf(out, "  note: %d more went to suspense; \"tweetledger statement show %s --suspense\" lists them\n", unnamed, s.StatementID)
	}
}

func (a *app) statementListCommand() *cobra.Command {
	var from, to, format string
	c := &cobra.Command{
		Use: "list", Short: "List the statements that were imported, and what is wrong with them",
		Long: `list shows statements in their order, by closing date. Below them are the findings that
are open: statements that are missing between two others, balances that do not follow
each other, and statements that came again with other content. A statement whose
booking broke off is not listed; import its file again.`,
		Example: `  tweetledger statement list --from 2026-11-01 --format csv`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			service, err := a.openPayouts(c.Context())
			if err != nil {
				return err
			}
			f := payouts.StatementFilter{IBAN: service.Config().Account.IBAN, Limit: payouts.MaxPage}
			if f.From, err = parseDate("--from", from); err != nil {
				return err
			}
			if f.To, err = parseDate("--to", to); err != nil {
				return err
			}
			table := reports.Table{
				Name: "statements", Title: "Bank statements of " + f.IBAN, GeneratedAt: a.now().UTC(),
				Columns: []reports.Column{
					{Name: "statement", Title: "Statement", Kind: reports.Text}, {Name: "sequence", Title: "No.", Kind: reports.Integer},
					{Name: "opening_date", Title: "From", Kind: reports.Day}, {Name: "closing_date", Title: "To", Kind: reports.Day},
					{Name: "opening", Title: "Opening", Kind: reports.Money}, {Name: "closing", Title: "Closing", Kind: reports.Money},
					{Name: "entries", Title: "Entries", Kind: reports.Integer}, {Name: "imported_by", Title: "Imported by", Kind: reports.Text},
					{Name: "imported_at", Title: "Imported at", Kind: reports.Instant},
				},
			}
			err = a.db.Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				table.Rows, table.Notes = nil, nil
				return listStatements(ctx, tx, f, &table)
			})
			if err != nil {
				return err
			}
			return a.show(table, format, "")
		},
	}
	c.Flags().StringVar(&from, "from", "", "first closing date (default the beginning)")
	c.Flags().StringVar(&to, "to", "", "last closing date (default the end)")
	formatFlag(c, &format)
	return c
}

// listStatements fills the table with statements, and with the first page of what is
// wrong with any.
func listStatements(ctx context.Context, tx *sqldb.Tx, f payouts.StatementFilter, table *reports.Table) error {
	for {
		page, err := payouts.ListStatements(ctx, tx, f)
		if err != nil {
			return err
		}
		for _, s := range page {
			var number any
			if s.Sequence > 0 {
				number = s.Sequence
			}
			table.Rows = append(table.Rows, reports.Row{Cells: []any{s.StatementID, number, s.OpeningDate, s.ClosingDate,
				reports.Cash{Amount: s.Opening, Currency: s.Currency}, reports.Cash{Amount: s.Closing, Currency: s.Currency}, int64(s.Entries), s.ImportedBy, s.ImportedAt}})
		}
		if len(page) < f.Limit {
			break
		}
		f.After = payouts.CursorOf(page[len(page)-1])
	}
	findings, err := payouts.ListFindings(ctx, tx, payouts.FindingFilter{Open: true, Limit: payouts.MaxPage})
	for _, finding := range findings {
		table.Notes = append(table.Notes, fmt.Sprintf("Open since %s: %s.", finding.FoundAt.Format("2006-01-02"), finding.Message))
	}
	return err
}

// maxShownEntries bounds the movements of one statement that "statement show" prints:
// a table is in memory as a whole.
const maxShownEntries = 10_000

func (a *app) statementShowCommand() *cobra.Command {
	var format string
	var suspense bool
	c := &cobra.Command{
		Use: "show STATEMENT", Short: "Show a statement with its movements, and what the book made of each",
		Long: `show prints a statement and its movements, batch bookings taken apart: which payout or
card settlement each one is, or why it went to suspense. At most ` + fmt.Sprint(maxShownEntries) + ` are shown;
the journal has them all.`,
		Example: `  tweetledger statement show 2026-11-23/1 --suspense`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			service, err := a.openPayouts(c.Context())
			if err != nil {
				return err
			}
			var table reports.Table
			err = a.db.Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				table, err = statementTable(ctx, tx, service.Config().Account.IBAN, args[0], suspense)
				return err
			})
			if err != nil {
				return err
			}
			table.GeneratedAt = a.now().UTC()
			return a.show(table, format, "")
		},
	}
	c.Flags().BoolVar(&suspense, "suspense", false, "only what went to suspense")
	formatFlag(c, &format)
	return c
}

func statementTable(ctx context.Context, tx *sqldb.Tx, iban, id string, suspense bool) (reports.Table, error) {
	s, left, err := payouts.FindStatement(ctx, tx, iban, id)
	if err != nil {
		return reports.Table{}, err
	}
	cash := func(amount ledger.Amount) reports.Cash { return reports.Cash{Amount: amount, Currency: s.Currency} }
	table := reports.Table{
		Name: "statement", Title: "Bank statement " + s.StatementID,
		Facts: []reports.Fact{
			{Name: "account", Title: "Account", Value: s.IBAN}, {Name: "opening_date", Title: "From", Value: s.OpeningDate},
			{Name: "opening", Title: "Opening balance", Value: cash(s.Opening)}, {Name: "closing_date", Title: "To", Value: s.ClosingDate},
			{Name: "closing", Title: "Closing balance", Value: cash(s.Closing)}, {Name: "entries", Title: "Entries", Value: int64(s.Entries)},
			{Name: "imported_by", Title: "Imported by", Value: s.ImportedBy}, {Name: "imported_at", Title: "Imported at", Value: s.ImportedAt},
		},
		Columns: []reports.Column{
			{Name: "entry", Title: "Entry", Kind: reports.Text}, {Name: "booking_date", Title: "Booked", Kind: reports.Day},
			{Name: "value_date", Title: "Value", Kind: reports.Day}, {Name: "amount", Title: "Amount", Kind: reports.Money},
			{Name: "outcome", Title: "Outcome", Kind: reports.Text}, {Name: "finding", Title: "Finding", Kind: reports.Text},
			{Name: "end_to_end_id", Title: "End-to-end id", Kind: reports.Text}, {Name: "counterparty", Title: "Counterparty", Kind: reports.Text},
			{Name: "remittance", Title: "Text", Kind: reports.Text}, {Name: "return_reason", Title: "Return", Kind: reports.Text},
			{Name: "reference", Title: "Reference", Kind: reports.Text},
		},
	}
	if left > 0 {
		table.Notes = append(table.Notes, fmt.Sprintf("The booking broke off with %s left: import the file again to go on with it.", count(left, "movement")))
	}
	f := payouts.EntryFilter{StatementID: s.ID, Limit: payouts.MaxPage}
	if suspense {
		f.Outcome = payouts.OutcomeSuspense
	}
	for {
		page, err := payouts.ListEntries(ctx, tx, f)
		if err != nil {
			return reports.Table{}, err
		}
		for _, e := range page {
			table.Rows = append(table.Rows, reports.Row{Cells: []any{fmt.Sprintf("%d.%d", e.Entry, e.Detail), e.BookingDate, e.ValueDate, cash(e.Amount),
				string(e.Outcome), string(e.Finding), e.EndToEndID, e.Counterparty.Name, e.Remittance, e.ReturnReason, e.Reference}})
		}
		if len(page) < f.Limit {
			return table, nil
		}
		if len(table.Rows) >= maxShownEntries {
			table.Notes = append(table.Notes, fmt.Sprintf("There may be more: only %d movements are shown.", len(table.Rows)))
			return table, nil
		}
		f.After = payouts.EntryCursorOf(page[len(page)-1])
	}
}
