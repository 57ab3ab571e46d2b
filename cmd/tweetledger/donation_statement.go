package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/statements"
	"tweetledger/ledger"
	"tweetledger/reports"
)

func (a *app) statementIssueCommand() *cobra.Command {
	var to, keyFile, actor string
	c := &cobra.Command{
		Use: "issue PAYEE", Short: "Number, freeze and sign a charity's next donation statement",
		Example: `  tweetledger statement issue acf
  tweetledger statement issue acf --to 2026-11-15`,
		Long: `issue makes the statement that follows on the last one of this charity or business:
all that was posted to its account and is on no statement yet, up to the end of the
month (or the day that --to names), which must be over. What it says never changes; what
is recorded later for one of its days is a line of a later statement. It ties to the
ledger to the cent, or is not issued.

The statement is signed with the key of the seal (seal.key_file, or --key).`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.settings()
			if err != nil {
				return err
			}
			r := statements.Request{Payee: args[0], Actor: a.actor(actor)}
			if r.To, err = parseDate("--to", to); err != nil {
				return err
			}
			if r.Key, err = s.signingKey(keyFile); err != nil {
				return err
			}
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			issuer, err := statements.New(service.Engine(), service, s.payouts().Account.Name, statements.Options{Log: a.log(), Random: a.random})
			if err != nil {
				return err
			}
			issued, err := issuer.Issue(c.Context(), r)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "statement %d of %s, from %s to %s: %s, owed %s %s before and %s %s at the end\nsigned with key %s; hand it out with: tweetledger statement write %s %d -o FILE\n",
				issued.Number, issued.Payee, issued.From, issued.To, count(len(issued.Lines), "line"), issued.Opening.Format(issued.Currency), issued.Currency,
				issued.Closing.Format(issued.Currency), issued.Currency, ledger.KeyID(issued.PublicKey), issued.Payee, issued.Number)
			return err
		},
	}
	c.Flags().StringVar(&to, "to", "", "last day of the statement (default the end of the month in which it begins)")
	c.Flags().StringVar(&keyFile, "key", "", "private key to sign with (default seal.key_file)")
	actorFlag(c, &actor)
	return c
}

func (a *app) statementIssuedCommand() *cobra.Command {
	var format, file string
	c := &cobra.Command{
		Use: "issued [PAYEE]", Short: "List the donation statements that were issued",
		Example: "  tweetledger statement issued acf",
		Long: `issued lists the statements of all charities and businesses, or of one, by number:
their periods, what was owed before and at the end, and who issued them.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := a.openBook(c.Context()); err != nil {
				return err
			}
			table := reports.Table{Name: "donation_statements", Title: "Donation statements", GeneratedAt: a.now().UTC(), Columns: []reports.Column{
				{Name: "payee", Title: "Payee", Kind: reports.Text}, {Name: "number", Title: "Number", Kind: reports.Integer},
				{Name: "from", Title: "From", Kind: reports.Day}, {Name: "to", Title: "To", Kind: reports.Day},
				{Name: "lines", Title: "Lines", Kind: reports.Integer}, {Name: "opening_payable", Title: "Owed before", Kind: reports.Money},
				{Name: "closing_payable", Title: "Owed at the end", Kind: reports.Money}, {Name: "issued_at", Title: "Issued", Kind: reports.Instant},
				{Name: "issued_by", Title: "By", Kind: reports.Text},
			}}
			err := a.db.Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				table.Rows = nil
				f := statements.Filter{Limit: statements.MaxPage}
				if len(args) > 0 {
					payee, err := payments.FindPayee(ctx, tx, args[0])
					if err != nil {
						return err
					}
					f.PayeeID = payee.ID
				}
				for {
					page, err := statements.List(ctx, tx, f)
					if err != nil {
						return err
					}
					for _, s := range page {
						table.Rows = append(table.Rows, reports.Row{Cells: []any{s.Payee, s.Number, s.From, s.To, int64(s.Count),
							reports.Cash{Amount: s.Opening, Currency: s.Currency}, reports.Cash{Amount: s.Closing, Currency: s.Currency}, s.IssuedAt, s.IssuedBy}})
						f.AfterPayee, f.AfterNumber = s.PayeeID, s.Number
					}
					if len(page) < f.Limit {
						return nil
					}
				}
			})
			if err != nil {
				return err
			}
			return a.show(table, format, file)
		},
	}
	formatFlag(c, &format)
	outputFlag(c, &file)
	return c
}

// signedFormat is the format of a statement that can be verified.
const signedFormat = "signed"

func (a *app) statementWriteCommand() *cobra.Command {
	var format, file string
	c := &cobra.Command{
		Use: "write PAYEE NUMBER", Short: "Write a donation statement that was issued, to be handed out",
		Example: `  tweetledger statement write acf 1 -o acf-1.json
  tweetledger statement write acf 1 --format pdf -o acf-1.pdf`,
		Long: `write writes a statement as it was issued. The format "signed" is the one that
"tweetledger statement verify" proves, the same bytes each time; the others are for
people and for spreadsheets.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			number, err := strconv.ParseInt(args[1], 10, 64)
			if err != nil {
				return ledger.Errorf(ledger.CodeInvalid, "%q is not the number of a statement", ledger.Clip(args[1])).InField("NUMBER")
			}
			if _, err := a.openBook(c.Context()); err != nil {
				return err
			}
			var issued statements.Issued
			err = a.db.Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				payee, err := payments.FindPayee(ctx, tx, args[0])
				if err == nil {
					issued, err = statements.Find(ctx, tx, payee.ID, number)
				}
				return err
			})
			if err != nil {
				return err
			}
			if format != signedFormat {
				return a.show(issued.Table(), format, file)
			}
			text, err := issued.Encode()
			if err != nil {
				return err
			}
			if file != "" && file != "-" {
				return writeFile(file, func(w io.Writer) error {
					_, err := w.Write(text)
					return err
				})
			}
			_, err = a.out.Write(text)
			return err
		},
	}
	c.Flags().StringVar(&format, "format", signedFormat, "signed, or one of the formats of reports (see: tweetledger report --help)")
	outputFlag(c, &file)
	return c
}

func (a *app) statementVerifyCommand() *cobra.Command {
	var keyFile, format string
	c := &cobra.Command{
		Use: "verify FILE", Short: "Prove a donation statement: that it adds up and is as it was signed",
		Example: `  tweetledger statement verify acf-1.json --public-key seal.pem.pub
  tweetledger statement verify acf-1.json --public-key seal.pem.pub --format csv > acf-1.csv`,
		Long: `verify needs no book: who has received a statement proves it with the public key of
who issued it, which should have come another way than the statement. Without a key it
shows only that statement and signature belong together.

With --format it prints what the statement says. Where anything was changed after the
signature, nothing is printed but what is wrong, and the exit code is 3.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			text, err := readBounded(args[0], statements.MaxFile)
			if err != nil {
				return fmt.Errorf("read the statement: %w", err)
			}
			var key ed25519.PublicKey
			if keyFile != "" {
				pem, err := readBounded(keyFile, maxKeyText)
				if err != nil {
					return fmt.Errorf("read the public key: %w", err)
				}
				if key, err = ledger.ParsePublicKey(pem); err != nil {
					return fmt.Errorf("%s: %w", keyFile, err)
				}
			}
			signed, err := statements.Parse(text)
			if err == nil {
				err = signed.Verify(key)
			}
			if err != nil {
				return &exitError{exitBreaks, fmt.Sprintf("%s is not to be trusted: %v", args[0], err)}
			}
			if format != "" {
				return a.show(signed.Table(), format, "")
			}
			if key == nil {
				fmt.Fprintf(a.err, "tweetledger: any key can sign; compare %s with what %s told you, or give its key with --public-key\n", ledger.KeyID(signed.PublicKey), signed.Issuer)
			}
			_, err = fmt.Fprintf(a.out, "statement %d of %s for %s, from %s to %s: %s, owed %s %s before and %s %s at the end\nit adds up and is as it was signed with key %s on %s\n",
				signed.Number, signed.Issuer, signed.Name, signed.From, signed.To, count(len(signed.Lines), "line"), signed.Opening.Format(signed.Currency), signed.Currency,
				signed.Closing.Format(signed.Currency), signed.Currency, ledger.KeyID(signed.PublicKey), signed.IssuedAt.UTC().Format("2006-01-02 15:04 UTC"))
			return err
		},
	}
	c.Flags().StringVar(&keyFile, "public-key", "", "the issuer's public key")
	c.Flags().StringVar(&format, "format", "", "print the statement in this format of reports")
	return c
}
