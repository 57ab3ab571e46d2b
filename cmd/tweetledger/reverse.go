package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

func (a *app) reverseCommand() *cobra.Command {
	var r ledger.ReverseRequest
	var date string
	var postings []int
	var anyDate bool
	c := &cobra.Command{
		Use:   "reverse TRANSACTION --key KEY --label TEXT",
		Short: "Undo a transaction with one that refers to it",
		Long: `reverse posts the same postings with debit and credit exchanged. What was posted
stays as it is; each posting is reversed once. It is refused where an account may
not give the money back, such as a wallet that has spent it.

TRANSACTION is its id, its key or its entry number ("tweetledger transaction show").
With --posting only these of its postings are reversed, counted from 1.
The key makes it safe to repeat: the same command twice reverses once.`,
		Example: `  tweetledger reverse 2b3ee82a-94db-596f-b905-075742caab4b --key voucher-2026-18 --label "Voucher 17 was booked twice"
  tweetledger reverse OD-2026-17 --posting 2 --key voucher-2026-19 --label "The fee was waived"`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if r.EffectiveDate, err = parseDate("--date", date); err != nil {
				return err
			}
			if r.Postings, err = ordinals(postings); err != nil {
				return err
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
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				original, err := resolveTransaction(ctx, tx, args[0])
				if err != nil {
					return err
				}
				r.TransactionID = original.ID
				return payments.CheckReversal(ctx, tx, original)
			})
			if err != nil {
				return err
			}
			voucher := r.Key
			r.Key = staffKeys + voucher
			made, repeated, err := submit(c.Context(), book, r)
			if ledger.CodeOf(err) == ledger.CodeAlreadyReversed {
				return whatIsLeft(c.Context(), book, r.TransactionID, err)
			}
			if err != nil {
				return err
			}
			said := "reversed transaction %s with %s of %s, effective %s\n"
			if repeated {
				said = "transaction %s was reversed before, with %s of %s, effective %s; nothing changed\n"
			}
			_, err = fmt.Fprintf(a.out, said, made.Reverses, made.ID, voucher, made.EffectiveDate)
			return err
		},
	}
	c.Flags().StringVar(&r.Key, "key", "", "idempotency key, such as the voucher's number")
	c.Flags().StringVar(&r.Label, "label", "", "why; it goes into the tax file, so no personal data")
	c.Flags().IntSliceVar(&postings, "posting", nil, "reverse only this posting, counted from 1; may be repeated")
	c.Flags().StringVar(&date, "date", "", "effective date (default today in Paris)")
	anyDateFlag(c, &anyDate)
	c.Flags().BoolVar(&r.Adjustment, "adjustment", false, "let it into a month that is soft-closed")
	required(c, "key", "label")
	return c
}

// ordinals returns postings that people count from 1 as the ledger counts them.
func ordinals(postings []int) ([]int, error) {
	list := make([]int, 0, len(postings))
	for _, n := range slices.Sorted(slices.Values(postings)) {
		if n < 1 || n > ledger.MaxPostings {
			return nil, ledger.Errorf(ledger.CodeInvalid, "postings are counted from 1 to %d; there is no %d", ledger.MaxPostings, n).InField("--posting")
		}
		if len(list) > 0 && list[len(list)-1] == n-1 {
			return nil, ledger.Errorf(ledger.CodeInvalid, "%d is named twice", n).InField("--posting")
		}
		list = append(list, n-1)
	}
	return list, nil
}

// submit carries out a request, and reports whether that had happened before,
// under the same key.
func submit(ctx context.Context, book *engine.Engine, r ledger.Request) (ledger.Transaction, bool, error) {
	outcomes, err := book.Submit(ctx, []ledger.Request{r})
	if err != nil {
		return ledger.Transaction{}, false, err
	}
	return outcomes[0].Transaction, outcomes[0].Replayed, outcomes[0].Err
}

// whatIsLeft adds to a refusal the postings that can still be reversed, if any.
func whatIsLeft(ctx context.Context, book *engine.Engine, id uuid.UUID, refusal error) error {
	var left []string
	err := book.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		original, err := engine.FindTransaction(ctx, tx, id)
		if err != nil {
			return err
		}
		reversals, err := engine.ReversalsOf(ctx, tx, id)
		if err != nil {
			return err
		}
		undone := map[int]bool{}
		for _, by := range reversals {
			for _, p := range by.Postings {
				undone[p.Reverses.Ordinal] = true
			}
		}
		left = left[:0]
		for i := range original.Postings {
			if !undone[i] && len(left) < maxNamed {
				left = append(left, fmt.Sprintf("--posting %d", i+1))
			}
		}
		return nil
	})
	if err != nil || len(left) == 0 {
		return refusal
	}
	return fmt.Errorf("%w; to reverse what is left: %s", refusal, strings.Join(left, " "))
}

// maxNamed bounds the postings that one line of a refusal names.
const maxNamed = 10
