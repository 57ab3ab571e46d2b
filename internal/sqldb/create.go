package sqldb

import (
	"context"
	"fmt"
	"net/url"
	"regexp"

	"tweetledger/ledger"
)

// databaseName is what CreateDatabase takes: it stands in SQL unquoted.
var databaseName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// CreateDatabase makes an empty database of that name on the server of rawURL
// and returns its URL.
func CreateDatabase(ctx context.Context, rawURL, name string) (string, error) {
	if !databaseName.MatchString(name) {
		return "", ledger.Errorf(ledger.CodeInvalid, "%q is not a name for a database: 1 to 63 of a-z 0-9 _, a letter first", name)
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", ledger.Errorf(ledger.CodeInvalid, "%s is not a database URL", redact(rawURL)).InField("--db")
	}
	db, err := Open(ctx, rawURL)
	if err != nil {
		return "", err
	}
	defer func() { _ = db.Close() }()
	if db.engine == SQLite {
		return "", ledger.Errorf(ledger.CodeInvalid, "an SQLite file holds one database; name another file").InField("--db")
	}
	if _, err := db.write.ExecContext(ctx, "CREATE DATABASE "+name); err != nil {
		return "", fmt.Errorf("make the database %s on %s (its user must be allowed to): %w", name, db, err)
	}
	u.Path = "/" + name
	return u.String(), nil
}
