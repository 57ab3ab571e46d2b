package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"tweetledger/adapters/bank"
	"tweetledger/internal/payouts"
)

func (a *app) statementCommand() *cobra.Command {
	command := &cobra.Command{Use: "statement", Short: "Bank statements that come in, and donation statements that go out"}
	command.AddCommand(a.statementImportCommand(), a.statementIssueCommand(), a.statementIssuedCommand(), a.statementWriteCommand(), a.statementVerifyCommand())
	return command
}

func (a *app) statementImportCommand() *cobra.Command {
	var actor string
	c := &cobra.Command{
		Use: "import FILE…", Short: "Book bank statements (camt.053.001.02 or .08); \"-\" is standard input",
		Example: `  tweetledger statement import 2026-11-23.camt053.xml`,
		Long: `import reads bank statements, checks that each adds up, and books their movements:
payouts that the bank has paid, payouts that came back, and unknown money, which
goes to suspense. The same statement twice books once. A statement that is refused
changes nothing; those after it are still read, and the exit code is 1.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			service, err := a.openPayouts(c.Context())
			if err != nil {
				return err
			}
			var failed []error
			for _, name := range args {
				if err := a.importStatements(c, service, name, a.actor(actor)); err != nil {
					failed = append(failed, err)
				}
			}
			return errors.Join(failed...)
		},
	}
	actorFlag(c, &actor)
	return c
}

func (a *app) importStatements(c *cobra.Command, service *payouts.Service, name, actor string) error {
	in, label := a.in, "standard input"
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("read the statement: %w", err)
		}
		defer func() { _ = file.Close() }()
		in, label = file, name
	}
	statements, err := bank.ReadCamt053(in, label)
	if err != nil {
		return err
	}
	var failed []error
	for _, st := range statements {
		result, err := service.ImportStatement(c.Context(), st, actor)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", label, err))
			continue
		}
		printImport(a.out, label, result)
	}
	return errors.Join(failed...)
}

func printImport(out io.Writer, label string, r payouts.ImportResult) {
	s := r.Statement
	if r.Already {
		fmt.Fprintf(out, "%s: statement %s was imported before; nothing changed\n", label, s.StatementID)
		return
	}
	fmt.Fprintf(out, "%s: booked statement %s: entries %d, opening %s, closing %s %s; %s settled, %d returned, %d to suspense\n",
		label, s.StatementID, s.Entries, s.Opening.Format(s.Currency), s.Closing.Format(s.Currency), s.Currency, count(r.Settled, "payout"), r.Returned, r.Suspense)
	for _, finding := range r.Findings {
		fmt.Fprintf(out, "  note: %s\n", finding.Message)
	}
}
