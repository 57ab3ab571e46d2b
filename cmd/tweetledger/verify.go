package main

import (
	"fmt"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

func (a *app) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "verify",
		Short:   "Recompute the whole book from its postings and name every difference",
		Example: `  tweetledger verify --db sqlite:restored.db`,
		Long: `verify reads every posting and hold, recomputes all balances from them, and checks
keys, reversals, holds and limits. It changes nothing. Exit code 3 where the book
does not bear out what it says.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			bar := a.progress(-1, "verifying")
			report, err := book.Verify(c.Context(), func(done, total int64) {
				bar.ChangeMax64(total)
				_ = bar.Set64(done)
			})
			_ = bar.Finish()
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "read %s, %s, %s, %s\n", count(report.Transactions, "transaction"),
				count(report.Postings, "posting"), count(report.Holds, "hold"), count(report.Accounts, "account"))
			for _, d := range report.Differences {
				fmt.Fprintln(a.out, d)
			}
			if report.More > 0 {
				fmt.Fprintf(a.out, "… and %d more\n", report.More)
			}
			if !report.OK() {
				return &exitError{exitBreaks, "the book does not verify: " + count(int64(len(report.Differences))+report.More, "difference")}
			}
			fmt.Fprintln(a.out, "the book verifies")
			return nil
		},
	}
}

// progress returns a bar on a terminal, and one that stays silent elsewhere.
func (a *app) progress(total int64, what string) *progressbar.ProgressBar {
	_, visible := terminal(a.err)
	return progressbar.NewOptions64(total,
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetWriter(a.err),
		progressbar.OptionSetVisibility(visible),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionShowCount(),
		progressbar.OptionThrottle(progressInterval),
	)
}
