package sqltest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"tweetledger/internal/sqldb"
)

// CockroachDB takes many seconds for the changes of the schema that migrations
// are, and half a second for the same tables in one transaction. So the first
// test process that has migrated keeps what its tables came to, as SQL, in the
// user's cache directory, and databases of later ones are made from that. The
// file's first line tells which migrations on which server it is for; there is
// never more than one file, of some 40 kB.

// cachedSchema returns the file that keeps the schema, or "" where the user has
// no such directory.
func cachedSchema() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "tweetledger", "cockroach-schema.sql")
}

// schemaLabel is the first line of the script for the migrations of this program
// on the server of conn.
func schemaLabel(ctx context.Context, conn *pgx.Conn) (string, error) {
	var version string
	if err := conn.QueryRow(ctx, "SELECT version()").Scan(&version); err != nil {
		return "", err
	}
	files, err := sqldb.MigrationFiles(sqldb.CockroachDB)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	_, _ = fmt.Fprintln(hash, version)
	err = fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, path)
		_, _ = fmt.Fprintln(hash, path, len(content))
		hash.Write(content)
		return err
	})
	return "-- " + hex.EncodeToString(hash.Sum(nil)), err
}

// cloneSchema makes the tables of a new database from the script that was kept.
// It reports whether it did; where it did not, the database is as it was.
func cloneSchema(ctx context.Context, rawURL, file string) (bool, error) {
	script, err := os.ReadFile(file)
	if err != nil {
		return false, nil
	}
	conn, err := connectTo(ctx, rawURL)
	if err != nil {
		return false, err
	}
	defer conn.Close(ctx)
	label, err := schemaLabel(ctx, conn)
	if err != nil || !strings.HasPrefix(string(script), label+"\n") {
		return false, err
	}
	if _, err := conn.PgConn().Exec(ctx, "BEGIN;\n"+string(script)+"COMMIT;").ReadAll(); err != nil {
		return false, nil // it is rolled back; migrations do as well
	}
	return true, nil
}

// keepSchema writes the script of a database that has just been migrated.
func keepSchema(ctx context.Context, rawURL, file string) error {
	conn, err := connectTo(ctx, rawURL)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	script, err := schemaScript(ctx, conn, rawURL)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil // a cache that cannot be written is none
	}
	half, err := os.CreateTemp(filepath.Dir(file), "schema-*.half")
	if err != nil {
		return nil
	}
	_, err = half.WriteString(script)
	if closing := half.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(half.Name(), file) // other test processes see all of it or nothing
	}
	if err != nil {
		_ = os.Remove(half.Name())
	}
	return nil
}

// schemaScript returns SQL that makes the tables and views of a database, and
// says that it is migrated.
func schemaScript(ctx context.Context, conn *pgx.Conn, rawURL string) (string, error) {
	label, err := schemaLabel(ctx, conn)
	if err != nil {
		return "", err
	}
	tables, err := textsOf(ctx, conn, `SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
		WHERE n.nspname = 'public' AND c.relkind IN ('r', 'v') ORDER BY c.relkind, c.oid`)
	if err != nil {
		return "", err
	}
	references, err := textsOf(ctx, conn, `SELECT DISTINCT c.relname || ' ' || o.relname FROM pg_constraint AS k
		JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_class AS o ON o.oid = k.confrelid WHERE k.contype = 'f' AND c.oid <> o.oid`)
	if err != nil {
		return "", err
	}
	address, err := url.Parse(rawURL)
	if err != nil {
		return "", err
	}
	prefix := strings.TrimPrefix(address.Path, "/") + ".public." // as views name their tables
	var script strings.Builder
	fmt.Fprintln(&script, label)
	for _, table := range referredFirst(tables, references) {
		var create string
		if err := conn.QueryRow(ctx, "SELECT create_statement FROM [SHOW CREATE "+table+"]").Scan(&create); err != nil {
			return "", err
		}
		fmt.Fprintln(&script, strings.ReplaceAll(create, prefix, "public.")+";")
	}
	versions, err := textsOf(ctx, conn, "SELECT version_id::text FROM "+versionTable+" ORDER BY id")
	if err != nil {
		return "", err
	}
	for _, version := range versions {
		fmt.Fprintf(&script, "INSERT INTO %s (version_id, is_applied) VALUES (%s, true);\n", versionTable, version)
	}
	return script.String(), nil
}

// referredFirst puts tables after those that they refer to; references are pairs
// of names, the one that refers first. Where tables refer to each other in a
// circle it gives up on their order.
func referredFirst(tables, references []string) []string {
	ordered := make([]string, 0, len(tables))
	for len(ordered) < len(tables) {
		before := len(ordered)
		for _, table := range tables {
			waits := slices.ContainsFunc(references, func(pair string) bool {
				from, to, _ := strings.Cut(pair, " ")
				return from == table && !slices.Contains(ordered, to)
			})
			if !waits && !slices.Contains(ordered, table) {
				ordered = append(ordered, table)
			}
		}
		if len(ordered) == before {
			return tables
		}
	}
	return ordered
}

func textsOf(ctx context.Context, conn *pgx.Conn, query string) ([]string, error) {
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
