package main

import (
	"context"
	"regexp"
	"strconv"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/reports"
)

func (a *app) transactionCommand() *cobra.Command {
	command := &cobra.Command{Use: "transaction", Short: "Look at one transaction"}
	command.AddCommand(a.transactionShowCommand())
	return command
}

func (a *app) transactionShowCommand() *cobra.Command {
	var format, file string
	c := &cobra.Command{
		Use: "show TRANSACTION", Short: "Show a transaction with everything about it",
		Long: `show prints a transaction: its postings, key, source and metadata, its number and
page, what it reverses and what reversed it. TRANSACTION is its id, its key (of a
voucher: the key that was given to "post" or "reverse"), or its entry number, such as
OD-2026-17: journal, fiscal year and number. Where a key looks like the number of
another transaction, write it in full: staff:OD-2026-17.`,
		Example: `  tweetledger transaction show OD-2026-17
  tweetledger transaction show voucher-2026-17
  tweetledger transaction show 2b3ee82a-94db-596f-b905-075742caab4b --format json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			var table reports.Table
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				found, err := resolveTransaction(ctx, tx, args[0])
				if err != nil {
					return err
				}
				table, err = reports.Transaction(ctx, tx, found.ID, book.Now())
				return err
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

var entryNumber = regexp.MustCompile(`^([A-Z0-9]{1,8})-([0-9]{4})-([0-9]{1,18})$`)

// resolveTransaction returns the transaction that a person means: by its id, its
// entry number, or its key, a voucher's also without what it begins with.
func resolveTransaction(ctx context.Context, tx *sqldb.Tx, text string) (ledger.Transaction, error) {
	if parts := entryNumber.FindStringSubmatch(text); parts != nil {
		year, _ := strconv.Atoi(parts[2])               // the pattern has let digits through alone,
		number, _ := strconv.ParseInt(parts[3], 10, 64) // and so few that they fit
		t, err := engine.FindByNumber(ctx, tx, parts[1], year, number)
		if err == nil || ledger.CodeOf(err) != ledger.CodeNotFound {
			return t, err
		}
	}
	var ids []uuid.UUID
	if id, err := uuid.Parse(text); err == nil {
		ids = append(ids, id)
	}
	ids = append(ids, ledger.IDOfKey(text), ledger.IDOfKey(staffKeys+text))
	found, err := engine.FindTransactions(ctx, tx, ids)
	if err != nil {
		return ledger.Transaction{}, err
	}
	for _, id := range ids {
		if t, ok := found[id]; ok {
			return t, nil
		}
	}
	return ledger.Transaction{}, ledger.Errorf(ledger.CodeNotFound, "there is no transaction with id, key or entry number %q; \"tweetledger report journal\" shows them",
		ledger.Clip(text)).InField("transaction")
}
