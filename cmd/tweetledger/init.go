package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func (a *app) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Make a new book: schema, system accounts, chart, configuration and key",
		Example: `  tweetledger init
  tweetledger init --db cockroach://ledger@db:26257/tweetledger`,
		Long: `init makes what is missing and leaves alone what is there:

  tweetledger.toml   the configuration, with every setting and its default
  tweetledger.key    the service's secret (readable by you alone; back it up)
  the book           schema, system accounts, default chart of accounts`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			if a.configFile == "" && a.getenv("TWEETLEDGER_CONFIG") == "" {
				err := makeNew(a.out, defaultConfig, func() error {
					return writeFile(defaultConfig, func(w io.Writer) error {
						_, err := io.WriteString(w, exampleConfig)
						return err
					})
				})
				if err != nil {
					return err
				}
			}
			s, err := a.settings()
			if err != nil {
				return err
			}
			if a.getenv("TWEETLEDGER_KEY") == "" {
				file := s.path(s.Service.KeyFile)
				if err := makeNew(a.out, file, func() error { return writeKey(file) }); err != nil {
					return err
				}
			}
			db, err := a.openDB(ctx)
			if err != nil {
				return err
			}
			applied, err := db.MigrateUp(ctx)
			if err != nil {
				return err
			}
			service, _, err := a.openPayments(ctx)
			if err != nil {
				return err
			}
			if err := a.engine.KeepSettings(ctx); err != nil {
				return err
			}
			if err := service.Setup(ctx); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "book   %s (%d migrations applied)\n", db, len(applied))
			return nil
		},
	}
}

// makeNew makes a file unless there is one, and says which of the two.
func makeNew(out io.Writer, name string, make func() error) error {
	_, err := os.Stat(name)
	switch {
	case err == nil:
		fmt.Fprintf(out, "found  %s\n", name)
		return nil
	case !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("look for %s: %w", name, err)
	}
	if err := make(); err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	fmt.Fprintf(out, "made   %s\n", name)
	return nil
}
