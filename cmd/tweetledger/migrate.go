package main

import (
	"fmt"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) migrateCommand() *cobra.Command {
	command := &cobra.Command{Use: "migrate", Short: "Bring the schema of the book up to date, or see where it is"}
	command.AddCommand(
		&cobra.Command{
			Use: "up", Short: "Bring the schema to the newest version",
			Long: `up brings the schema of a book to what this program needs; it does nothing where that
is done. Back the book up first. In an empty database it makes the schema, but neither
accounts nor configuration: "tweetledger init" makes those as well.`,
			Example: `  tweetledger migrate up --db postgres://ledger@db/tweetledger`,
			Args:    cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				db, err := a.openDB(c.Context())
				if err != nil {
					return err
				}
				applied, err := db.MigrateUp(c.Context())
				if err != nil {
					return err
				}
				for _, m := range applied {
					fmt.Fprintf(a.out, "applied %s\n", filepath.Base(m.Name))
				}
				fmt.Fprintf(a.out, "%s is up to date\n", db)
				return nil
			},
		},
		&cobra.Command{
			Use: "status", Short: "List the versions of the schema and since when the book has them",
			Long: `status lists the versions that this program knows, and since when the book has each.
The exit code is 1 where one is pending.`,
			Example: `  tweetledger migrate status`,
			Args:    cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				if err := a.mustExist(); err != nil {
					return err
				}
				db, err := a.openDB(c.Context())
				if err != nil {
					return err
				}
				status, err := db.MigrationStatus(c.Context())
				if err != nil {
					return err
				}
				for _, m := range status {
					since := "pending"
					if !m.AppliedAt.IsZero() {
						since = m.AppliedAt.Format(time.RFC3339)
					}
					fmt.Fprintf(a.out, "%05d  %-20s  %s\n", m.Version, since, filepath.Base(m.Name))
				}
				return db.CheckSchema(c.Context())
			},
		},
	)
	return command
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of this program",
		Long: `version prints which build this is: the module's version or commit, and the Go that
built it. Give it with every question about the program.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			version := "(unknown)"
			if info, ok := debug.ReadBuildInfo(); ok {
				version = info.Main.Version + " " + info.GoVersion
			}
			_, err := fmt.Fprintf(a.out, "tweetledger %s\n", version)
			return err
		},
	}
}
