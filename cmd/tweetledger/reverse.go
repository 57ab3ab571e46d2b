package main

import (
	"fmt"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"tweetledger/ledger"
)

func (a *app) reverseCommand() *cobra.Command {
	var r ledger.ReverseRequest
	var date string
	c := &cobra.Command{
		Use:   "reverse TRANSACTION --key KEY --label TEXT",
		Short: "Undo a transaction with one that refers to it",
		Long: `reverse posts the same postings with debit and credit exchanged. What was posted
stays as it is; a transaction is reversed once. It is refused where an account may
not give the money back, such as a wallet that has spent it.
The key makes it safe to repeat: the same command twice reverses once.`,
		Example: `  tweetledger reverse 2b3ee82a-94db-596f-b905-075742caab4b --key voucher-2026-18 --label "Voucher 17 was booked twice"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if r.TransactionID, err = uuid.Parse(args[0]); err != nil {
				return ledger.Errorf(ledger.CodeInvalid, "%q is not the id of a transaction; \"tweetledger report journal\" shows them",
					ledger.Clip(args[0])).InField("transaction")
			}
			if r.EffectiveDate, err = parseDate("--date", date); err != nil {
				return err
			}
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			voucher := r.Key
			r.Key = staffKeys + voucher
			made, err := book.Reverse(c.Context(), r)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "reversed transaction %s with %s of %s, effective %s\n", made.Reverses, made.ID, voucher, made.EffectiveDate)
			return err
		},
	}
	c.Flags().StringVar(&r.Key, "key", "", "idempotency key, such as the voucher's number")
	c.Flags().StringVar(&r.Label, "label", "", "why; it goes into the tax file, so no personal data")
	c.Flags().StringVar(&date, "date", "", "effective date (default today in Paris)")
	c.Flags().BoolVar(&r.Adjustment, "adjustment", false, "let it into a month that is soft-closed")
	required(c, "key", "label")
	return c
}
