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
)

func (a *app) postCommand() *cobra.Command {
	var r ledger.PostRequest
	var date, currency string
	var lines []string
	var anyDate bool
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
			if !anyDate {
				if err := checkNear(r.EffectiveDate, book.Today()); err != nil {
					return err
				}
			}
			strange := false
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				if r.Postings, err = parseLines(ctx, tx, lines, ledger.Currency(currency)); err != nil {
					return err
				}
				strange, err = isStrange(ctx, tx, r.Journal)
				return err
			})
			if err != nil {
				return err
			}
			voucher := r.Key
			r.Source = ledger.Source{Channel: "staff", ID: voucher, Date: r.EffectiveDate}
			r.Key = staffKeys + voucher
			made, repeated, err := submit(c.Context(), book, r)
			if err != nil {
				return err
			}
			said := "posted transaction %s of %s, effective %s\n"
			if repeated {
				said = "transaction %s of %s, effective %s, was posted before; nothing changed\n"
			}
			if strange && !repeated {
				a.warnOfJournal(r.Journal)
			}
			_, err = fmt.Fprintf(a.out, said, made.ID, voucher, made.EffectiveDate)
			return err
		},
	}
	c.Flags().StringVar(&r.Key, "key", "", "idempotency key, such as the voucher's number")
	c.Flags().StringVar(&r.Label, "label", "", "what it is for; it goes into the tax file, so no personal data")
	c.Flags().StringVar(&r.Journal, "journal", ledger.JournalMisc, "journal code")
	c.Flags().StringVar(&date, "date", "", "effective date (default today in Paris)")
	anyDateFlag(c, &anyDate)
	c.Flags().BoolVar(&r.Adjustment, "adjustment", false, "let it into a month that is soft-closed")
	c.Flags().StringVar(&currency, "currency", string(ledger.EUR), "ISO 4217")
	c.Flags().StringArrayVar(&lines, "line", nil, "DEBIT,CREDIT,AMOUNT: account codes and an amount like 12.50; may be repeated")
	required(c, "key", "label", "line")
	return c
}

// serviceJournals are those that the service itself posts to.
func serviceJournals() []string {
	return []string{ledger.JournalTransfers, ledger.JournalCards, ledger.JournalPayouts, ledger.JournalBank, ledger.JournalMisc, ledger.JournalClosing}
}

// isStrange reports whether a journal is none of the service's and nothing was ever
// posted to it: it may be mistyped.
func isStrange(ctx context.Context, tx *sqldb.Tx, journal string) (bool, error) {
	if journal == "" || slices.Contains(serviceJournals(), journal) {
		return false, nil
	}
	first, err := engine.ListTransactions(ctx, tx, engine.TransactionFilter{Journal: journal, Limit: 1})
	return len(first) == 0, err
}

func (a *app) warnOfJournal(journal string) {
	fmt.Fprintf(a.err, "tweetledger: nothing was posted to journal %q before; the service's journals are %s\n",
		ledger.Clip(journal), strings.Join(serviceJournals(), ", "))
}

// staffKeys keeps the keys of vouchers apart from those that the service makes: a
// voucher named like a tweet's order must not take its place.
const staffKeys = "staff:"

// pointHint helps where an amount was written with a decimal comma, which makes a
// fourth part of it.
func pointHint(parts []string) string {
	if len(parts) != 4 {
		return ""
	}
	amount := strings.TrimSpace(parts[2]) + "." + strings.TrimSpace(parts[3])
	if _, err := ledger.ParseAmount(amount, ledger.EUR); err != nil {
		return ""
	}
	return "; write " + amount
}

// parseLines reads --line arguments and looks up their accounts.
func parseLines(ctx context.Context, tx *sqldb.Tx, lines []string, currency ledger.Currency) ([]ledger.Posting, error) {
	postings := make([]ledger.Posting, 0, len(lines))
	for i, line := range lines {
		parts := strings.Split(line, ",")
		if len(parts) != 3 {
			return nil, usagef("%s: %q is not DEBIT,CREDIT,AMOUNT%s", lineName(i), line, pointHint(parts))
		}
		amount, err := ledger.ParseAmount(strings.TrimSpace(parts[2]), currency)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", lineName(i), err)
		}
		if amount <= 0 {
			return nil, ledger.Errorf(ledger.CodeInvalid, "the amount must be above zero, not %s; money flows back with the accounts exchanged",
				amount.Format(currency)).InField(lineName(i))
		}
		debit, err := engine.FindAccountByCode(ctx, tx, strings.TrimSpace(parts[0]))
		if err != nil {
			return nil, fmt.Errorf("%s, debit: %w", lineName(i), err)
		}
		credit, err := engine.FindAccountByCode(ctx, tx, strings.TrimSpace(parts[1]))
		if err != nil {
			return nil, fmt.Errorf("%s, credit: %w", lineName(i), err)
		}
		p := ledger.Posting{Debit: debit.ID, Credit: credit.ID, Amount: amount, Currency: currency}
		postings = append(postings, p)
	}
	return postings, nil
}
