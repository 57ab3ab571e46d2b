package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

func (a *app) accountCloseCommand() *cobra.Command {
	return a.accountChangeCommand(&cobra.Command{
		Use: "close CODE", Short: "Close an account at zero, so that nothing is posted to it any more",
		Long: `close ends an account that stands at zero with nothing held. From then on whatever is
posted to it is refused, by the database too. Its postings and statements stay.
An account that "init" makes is never closed: the service posts to it.`,
		Example: `  tweetledger account close petty-cash --by anne --reason "The till was given up"`,
	}, "closed", closeAccount)
}

// closeAccount is the engine's, but for accounts that the service cannot do without.
func closeAccount(ctx context.Context, e *engine.Engine, account ledger.Account, by, reason string) (ledger.Account, error) {
	if payments.IsSystemAccount(account.Code) {
		return ledger.Account{}, ledger.Errorf(ledger.CodeInvalid, "account %s is one that every book has and the service posts to; it stays open",
			account.Code).InField("code")
	}
	return e.CloseAccount(ctx, account.ID, by, reason)
}

func reopenAccount(ctx context.Context, e *engine.Engine, account ledger.Account, by, reason string) (ledger.Account, error) {
	return e.ReopenAccount(ctx, account.ID, by, reason)
}

func (a *app) accountReopenCommand() *cobra.Command {
	return a.accountChangeCommand(&cobra.Command{
		Use: "reopen CODE", Short: "Open a closed account again",
		Long: `reopen lets a closed account take postings again. Who did so and why stands in its
trace, beside who had closed it.`,
		Example: `  tweetledger account reopen petty-cash --by anne --reason "The till is back"`,
	}, "reopened", reopenAccount)
}

// accountChangeCommand makes the command of a step in the life of an account.
func (a *app) accountChangeCommand(c *cobra.Command, done string,
	change func(ctx context.Context, e *engine.Engine, account ledger.Account, by, reason string) (ledger.Account, error)) *cobra.Command {
	var by, reason string
	c.Args = cobra.ExactArgs(1)
	c.RunE = func(c *cobra.Command, args []string) error {
		book, err := a.openBook(c.Context())
		if err != nil {
			return err
		}
		var account ledger.Account
		err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			account, err = engine.FindAccountByCode(ctx, tx, args[0])
			return err
		})
		if err != nil {
			return err
		}
		if account, err = change(c.Context(), book, account, a.actor(by), reason); err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.out, "%s account %s\n", done, account.Code)
		return err
	}
	byFlag(c, &by)
	c.Flags().StringVar(&reason, "reason", "", "why, for the trace")
	required(c, "reason")
	return c
}
