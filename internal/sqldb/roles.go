package sqldb

import (
	_ "embed"
	"strings"

	"github.com/jackc/pgx/v5"

	"tweetledger/ledger"
)

// The scripts that Roles returns. $BOOK stands for the name of the database, where
// SQL has no word for the one that it runs in.
//
//go:embed roles/postgres.sql
var postgresRoles string

//go:embed roles/cockroach.sql
var cockroachRoles string

// The roles of a book on a server, as the scripts of Roles make them.
const (
	ServingRole   = "tweetledger_serving"   // the service and the commands
	ReadingRole   = "tweetledger_reading"   // reports
	ErasingRole   = "tweetledger_erasing"   // erases a customer's data
	MigratingRole = "tweetledger_migrating" // owns the tables
)

// Roles returns the SQL script that makes the roles of a book on a server, at
// rawURL, and grants each what its work needs: nobody but the owner may change or
// delete what was posted. It can be run again. SQLite has no roles: there it is
// CodeInvalid, as for a URL that names no database.
func Roles(rawURL string) (string, error) {
	engine, err := ParseURL(rawURL)
	if err != nil {
		return "", err
	}
	switch engine {
	case PostgreSQL:
		return postgresRoles, nil
	case CockroachDB:
		config, err := serverConfig(rawURL)
		if err != nil {
			return "", err
		}
		if config.Database == "" {
			return "", ledger.Errorf(ledger.CodeInvalid, "%s names no database; write cockroach://USER@HOST/DATABASE", redact(rawURL)).InField("--db")
		}
		return strings.ReplaceAll(cockroachRoles, "$BOOK", pgx.Identifier{config.Database}.Sanitize()), nil
	}
	return "", ledger.Errorf(ledger.CodeInvalid,
		"SQLite has no roles: triggers in the book itself refuse changes of what was posted; keep others from the file by its permissions").InField("--db")
}
