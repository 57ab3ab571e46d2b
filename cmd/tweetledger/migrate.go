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
			Use: "up", Short: "Bring the schema to the newest version", Args: cobra.NoArgs,
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
			Use: "status", Short: "List the versions of the schema and since when the book has them", Args: cobra.NoArgs,
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
		Use: "version", Short: "Print the version of this program", Args: cobra.NoArgs,
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
