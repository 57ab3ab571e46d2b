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
		Long: `roles prints the SQL script that makes four roles for the book's database and grants
each what its work needs. It changes nothing itself; a database administrator runs it:

  tweetledger_serving    serve, and every command but migrate and bench (init where
                         nothing is left to migrate); it may add to what was posted,
                         never change or delete it
  tweetledger_reading    report, verify, and the commands that only show or list
  tweetledger_erasing    all that tweetledger_serving may, and to approve the erasure of a
                         customer's data
  tweetledger_migrating  owns the tables: migrate up, and init of a new book

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
