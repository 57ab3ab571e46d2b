package sqltest

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"tweetledger/internal/sqldb"
)

// book is a database with the newest schema that tests take turns in: emptying
// one takes milliseconds, making one takes CockroachDB seconds.
type book struct {
	url    string
	schema []string // what describe said when it was new
}

// takeBook returns an empty book: one that another test has given back, or a new one.
func (s *server) takeBook() (book, error) {
	if b, ok := s.takeSpare(); ok {
		return b, nil
	}
	rawURL, _, err := s.createDatabase()
	if err != nil {
		return book{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), migrateTimeout)
	defer cancel()
	if err := s.migrate(ctx, rawURL); err != nil {
		return book{}, err
	}
	conn, err := connectTo(ctx, rawURL)
	if err != nil {
		return book{}, err
	}
	defer conn.Close(ctx)
	schema, _, err := describe(ctx, conn)
	return book{url: rawURL, schema: schema}, err
}

// migrate brings a new database to the newest schema.
func (s *server) migrate(ctx context.Context, rawURL string) error {
	file := ""
	if s.ours && s.url.Scheme == string(sqldb.CockroachDB) {
		file = cachedSchema()
	}
	if file != "" {
		if cloned, err := cloneSchema(ctx, rawURL, file); cloned || err != nil {
			return err
		}
	}
	db, err := sqldb.Open(ctx, rawURL)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.MigrateUp(ctx); err != nil || file == "" {
		return err
	}
	return keepSchema(ctx, rawURL, file)
}

func (s *server) takeSpare() (book, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.spare) == 0 {
		return book{}, false
	}
	b := s.spare[len(s.spare)-1]
	s.spare = s.spare[:len(s.spare)-1]
	return b, true
}

// giveBack empties a book for the next test. One whose schema the test has
// changed is left alone; it ends with the server.
func (s *server) giveBack(ctx context.Context, b book) error {
	conn, err := connectTo(ctx, b.url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	schema, tables, err := describe(ctx, conn)
	if err != nil || !slices.Equal(schema, b.schema) {
		return err
	}
	engine, err := sqldb.ParseURL(b.url)
	if err != nil {
		return err
	}
	if engine == sqldb.PostgreSQL { // whose triggers keep what a book was made with
		if _, err := conn.Exec(ctx, "SET session_replication_role = replica"); err != nil {
			return err
		}
	}
	if err := empty(ctx, conn, tables); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spare = append(s.spare, b)
	return nil
}

// describe returns the names of all tables and indexes and the versions that
// were migrated to, and which tables hold a test's rows, the newest first.
func describe(ctx context.Context, conn *pgx.Conn) (schema, tables []string, err error) {
	rows, err := conn.Query(ctx, `SELECT c.relname, c.relkind = 'r' FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
		WHERE n.nspname = 'public' AND c.relkind IN ('r', 'i') ORDER BY c.oid DESC`)
	if err != nil {
		return nil, nil, err
	}
	var name string
	var isTable bool
	_, err = pgx.ForEachRow(rows, []any{&name, &isTable}, func() error {
		schema = append(schema, name)
		if isTable && name != versionTable {
			tables = append(tables, name)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	slices.Sort(schema)
	rows, err = conn.Query(ctx, "SELECT version_id::text FROM "+versionTable+" ORDER BY version_id")
	if err != nil {
		return nil, nil, err
	}
	versions, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return append(schema, versions...), tables, err
}

// versionTable is where goose keeps which migrations a database has.
const versionTable = "goose_db_version"

// empty deletes all rows. A table that another one still refers to is tried
// again when that one is empty.
func empty(ctx context.Context, conn *pgx.Conn, tables []string) error {
	for len(tables) > 0 {
		var left []string
		var last error
		for _, table := range tables {
			if _, err := conn.Exec(ctx, "DELETE FROM "+table); err != nil {
				left, last = append(left, table), err
			}
		}
		if len(left) == len(tables) {
			return last
		}
		tables = left
	}
	return nil
}
