package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func (a *app) customerExportCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "export NUMBER", Short: "Write everything that the book has of a customer as one document of JSON",
		Long: `export writes what the book has of a customer: identity, consents, corrections, history,
accounts, cards (their tokens, never a number), charges, enrolments, one-time codes,
orders with their events, messages with their commands, what was sent, approvals and
postings of the wallet (GDPR art. 15 and 20). docs/payments.md describes the document.
It holds personal data: give it to the customer alone.`,
		Example: `  tweetledger customer export c-000017 --out c-000017.json`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			write := func(w io.Writer) error { return service.ExportCustomer(c.Context(), w, args[0]) }
			if out == "" || out == "-" {
				return write(a.out)
			}
			return writeFile(out, write)
		},
	}
	c.Flags().StringVar(&out, "out", "", "file to write (default standard output)")
	return c
}

func (a *app) customerEraseCommand() *cobra.Command {
	var actor, reason string
	c := &cobra.Command{
		Use: "erase NUMBER", Short: "Propose to erase everything personal of a customer who has gone",
		Long: `erase proposes to erase what the book has of a customer's person: name, number, handles
and user ids, cards' tokens, words of messages and of staff. The books keep the customer's
number. The account must be closed, with nothing open, and for rules.identity_years after
that the law keeps the identity: erase says until when. It happens once another person
has approved it with "approval approve". The reason stays, so it must not name the
customer. What was erased does not come back.`,
		Example: `  tweetledger customer erase c-000017 --reason "letter of 20 November"
  tweetledger approval approve 3 --actor bruno`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			p, err := service.ProposeErasure(c.Context(), args[0], a.actor(actor), reason)
			if err != nil {
				return err
			}
			return a.sayForApproval(fmt.Sprintf("to erase everything personal of customer %s", args[0]), p)
		},
	}
	actorFlag(c, &actor)
	reasonFlag(c, &reason)
	return c
}
