package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

func (a *app) postCommand() *cobra.Command {
	var r ledger.PostRequest
	var date, currency string
	var lines []string
	c := &cobra.Command{
		Use:   "post --key KEY --label TEXT --line DEBIT,CREDIT,AMOUNT …",
		Short: "Post a transaction by hand, as a voucher of the staff",
		Long: `post writes one transaction of one or more postings. Each --line moves an amount
from the credit account to the debit account; all of them are posted, or none.
The key makes it safe to repeat: the same command twice posts once.`,
		Example: `  tweetledger post --key voucher-2026-17 --label "Bank fees for October" --line card-fees,safeguarding-account,12.50`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if date != "" {
				if r.EffectiveDate, err = ledger.ParseDate(date); err != nil {
					return fmt.Errorf("--date: %w", err)
				}
			}
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				r.Postings, err = parseLines(ctx, tx, lines, ledger.Currency(currency))
				return err
			})
			if err != nil {
				return err
			}
			voucher := r.Key
			r.Source = ledger.Source{Channel: "staff", ID: voucher, Date: r.EffectiveDate}
			r.Key = staffKeys + voucher
			made, err := book.Post(c.Context(), r)
			if err != nil {
				return inLine(err)
			}
			_, err = fmt.Fprintf(a.out, "posted transaction %s of %s, effective %s\n", made.ID, voucher, made.EffectiveDate)
			return err
		},
	}
	c.Flags().StringVar(&r.Key, "key", "", "idempotency key, such as the voucher's number")
	c.Flags().StringVar(&r.Label, "label", "", "what it is for; it goes into the tax file, so no personal data")
	c.Flags().StringVar(&r.Journal, "journal", ledger.JournalMisc, "journal code")
	c.Flags().StringVar(&date, "date", "", "effective date (default today in Paris)")
	c.Flags().BoolVar(&r.Adjustment, "adjustment", false, "let it into a month that is soft-closed")
	c.Flags().StringVar(&currency, "currency", string(ledger.EUR), "ISO 4217")
	c.Flags().StringArrayVar(&lines, "line", nil, "DEBIT,CREDIT,AMOUNT: account codes and an amount like 12.50; may be repeated")
	required(c, "key", "label", "line")
	return c
}

// inLine says of a refusal which --line it is about.
func inLine(err error) error {
	refused, ok := errors.AsType[*ledger.Error](err)
	var posting int
	if !ok {
		return err
	}
	if _, scanErr := fmt.Sscanf(refused.Field, "postings[%d]", &posting); scanErr != nil {
		return err
	}
	said := *refused
	return said.InField(fmt.Sprintf("line %d", posting+1))
}

// staffKeys keeps the keys of vouchers apart from those that the service makes: a
// voucher named like a tweet's order must not take its place.
const staffKeys = "staff:"

// parseLines reads --line arguments and looks up their accounts.
func parseLines(ctx context.Context, tx *sqldb.Tx, lines []string, currency ledger.Currency) ([]ledger.Posting, error) {
	postings := make([]ledger.Posting, 0, len(lines))
	for i, line := range lines {
		parts := strings.Split(line, ",")
		if len(parts) != 3 {
			return nil, usagef("line %d: %q is not DEBIT,CREDIT,AMOUNT", i+1, line)
		}
		amount, err := ledger.ParseAmount(strings.TrimSpace(parts[2]), currency)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if amount <= 0 {
			return nil, ledger.Errorf(ledger.CodeInvalid, "the amount must be above zero, not %s; money flows back with the accounts exchanged",
				amount.Format(currency)).InField(fmt.Sprintf("line %d", i+1))
		}
		debit, err := engine.FindAccountByCode(ctx, tx, strings.TrimSpace(parts[0]))
		if err != nil {
			return nil, fmt.Errorf("line %d, debit: %w", i+1, err)
		}
		credit, err := engine.FindAccountByCode(ctx, tx, strings.TrimSpace(parts[1]))
		if err != nil {
			return nil, fmt.Errorf("line %d, credit: %w", i+1, err)
		}
		p := ledger.Posting{Debit: debit.ID, Credit: credit.ID, Amount: amount, Currency: currency}
		postings = append(postings, p)
	}
	return postings, nil
}
