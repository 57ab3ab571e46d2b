package main

import (
	"io"

	"github.com/spf13/cobra"

	"tweetledger/internal/sqldb"
)

func (a *app) rolesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "roles",
		Short: "Print the SQL script of the roles that may serve, read and migrate a book",
		Long: `roles prints the SQL script that makes three roles for the book's database and grants
each what its work needs. It changes nothing itself; a database administrator runs it:

  tweetledger_serving    the service and all commands but init and migrate; it may add to
                         what was posted, never change or delete it
  tweetledger_reading    reports
  tweetledger_migrating  owns the tables: init and migrate

Run the script in the book's database after "migrate up", and again after every later
one. In SQLite there are no roles: triggers do the same there.`,
		Example: `  tweetledger roles --db postgres://db/tweetledger
  tweetledger roles --db cockroach://db:26257/tweetledger`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			script, err := sqldb.Roles(a.url())
			if err != nil {
				return err
			}
			_, err = io.WriteString(a.out, script)
			return err
		},
	}
}
