package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

func (a *app) yearCommand() *cobra.Command {
	command := &cobra.Command{Use: "year", Short: "Close fiscal years"}
	command.AddCommand(a.yearCloseCommand())
	return command
}

func (a *app) yearCloseCommand() *cobra.Command {
	var breaks breakCheck
	order := engine.YearClosing{}
	c := &cobra.Command{
		Use: "close YEAR", Short: "Close a fiscal year: closing entries, opening balances of the next, last period",
		Long: `close ends a fiscal year, once its periods but the last are hard-closed. It posts
closing entries that bring each account of income and expense (classes 6 and 7) to
zero, against the result of the year (120, or 129 for a loss), records what the other
accounts stand at as the opening balances of the next year, and hard-closes the last
period. It asks what "period close" asks, and seals what it posts.

Opening balances are a record for reports, not postings: balances run on. What was
interrupted is finished by the same command.`,
		Example: `  tweetledger year close 2026 --by anne`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			year, err := a.fiscalYear(book, args[0])
			if err != nil {
				return err
			}
			order.Year, order.By = year.Year, a.actor(order.By)
			order.Seal = func(ctx context.Context) error { return sealWaiting(ctx, book) }
			order.Checks = []engine.Check{breaks.check(a, order.By, order.Reason)}
			closed, err := book.CloseFiscalYear(c.Context(), order)
			if err != nil {
				last := ledger.PeriodOf(year.To, year.From.Month).ID
				return beginWith(c.Context(), book, err, last, ledger.PeriodHardClosed)
			}
			return a.showClosedYear(c.Context(), book, closed)
		},
	}
	byFlag(c, &order.By)
	c.Flags().StringVar(&order.Reason, "reason", "", "for the trace; with it, breaks do not keep the year open")
	breaks.flags(c)
	return c
}

func (a *app) showClosedYear(ctx context.Context, book *engine.Engine, y engine.ClosedYear) error {
	entries := fmt.Sprintf("%d closing entries", y.Entries)
	if y.Entries == 1 {
		entries = "1 closing entry"
	}
	fmt.Fprintf(a.out, "closed the fiscal year %d (%s to %s): %s, %s for %d\n", y.Year, y.From, y.To, entries,
		count(y.Openings, "opening balance"), y.Year+1)
	for _, currency := range slices.Sorted(maps.Keys(y.Result)) {
		what, result := "profit", y.Result[currency]
		if result < 0 {
			what, result = "loss", -result
		}
		if _, err := fmt.Fprintf(a.out, "%s %s %s\n", what, result.Format(currency), currency); err != nil {
			return err
		}
		if err := a.showMisplaced(ctx, book, y, currency); err != nil {
			return err
		}
	}
	return nil
}

// yearSealing bounds how long a command keeps the sealer's lease without a sign.
const yearSealing = time.Minute

// sealWaiting seals what waits. Where another process is the sealer, it does so
// anyway: what it has not come to yet, the closing names.
func sealWaiting(ctx context.Context, book *engine.Engine) error {
	me := holder()
	for {
		lease, got, err := book.AcquireLease(ctx, engine.SealerLease, me, yearSealing)
		if err != nil || !got {
			return err
		}
		sealed, err := book.Seal(ctx, lease)
		if err == nil && sealed.More {
			continue
		}
		if releaseErr := book.ReleaseLease(ctx, lease); err == nil {
			err = releaseErr
		}
		return err
	}
}
