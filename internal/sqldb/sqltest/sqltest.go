// Package sqltest gives each test an empty database of its own on every engine
// that the machine has, and starts PostgreSQL and CockroachDB itself where it
// finds their binaries. What it starts ends with the test process, however that
// ends, and leaves nothing behind but the schema as CockroachDB tells it, in one
// file in the user's cache directory.
//
// SQLite is always there. The other two are looked for:
//
//   - PostgreSQL: at the URL in TWEETLEDGER_TEST_POSTGRES, of a server on which
//     databases may be created; else as server binaries on the PATH or where
//     packagers install them.
//   - CockroachDB: at the URL in TWEETLEDGER_TEST_COCKROACH; else as the binary
//     that COCKROACH_BINARY names, or cockroach on the PATH.
//
// TWEETLEDGER_TEST_ENGINES=sqlite,postgres limits which engines tests run on. Without
// a limit go test runs the core of the tests on CockroachDB, which is slow; with
// TWEETLEDGER_TEST_ENGINES=cockroach it runs all there.
// TWEETLEDGER_REQUIRE_ENGINES=postgres makes a missing one a failure; without
// it its tests are skipped and say so.
package sqltest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tweetledger/internal/sqldb"
)

// Each runs fn as a subtest named after the engine, on an empty database with
// the newest schema, once for every engine that tests are to run on; on CockroachDB
// where WholeOnly lets it.
func Each(t *testing.T, fn func(t *testing.T, db *sqldb.DB)) {
	t.Helper()
	each(t, WholeOnly, fn)
}

// Core is Each for the few tests of a package that run on CockroachDB too whenever
// it is found: those that tell soonest that something does not work there.
func Core(t *testing.T, fn func(t *testing.T, db *sqldb.DB)) {
	t.Helper()
	each(t, func(testing.TB, sqldb.Engine) {}, fn)
}

func each(t *testing.T, choose func(testing.TB, sqldb.Engine), fn func(t *testing.T, db *sqldb.DB)) {
	t.Helper()
	for _, engine := range Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			t.Helper()
			choose(t, engine)
			fn(t, New(t, engine))
		})
	}
}

// SQLite returns an empty database with the newest schema on SQLite, for tests
// of what does not depend on the engine.
func SQLite(t testing.TB) *sqldb.DB {
	t.Helper()
	return open(t, sqliteURL(t))
}

// New returns an empty database with the newest schema on engine. Where the
// machine has no such engine it skips the test, or fails it if
// TWEETLEDGER_REQUIRE_ENGINES says so.
//
// Tests of a process may be given the same database one after the other, emptied
// in between. A test that changes columns or constraints must use URL.
func New(t testing.TB, engine sqldb.Engine) *sqldb.DB {
	t.Helper()
	server := find(t, engine)
	if server == nil {
		return open(t, sqliteURL(t))
	}
	if !server.ours {
		return open(t, EmptyURL(t, engine))
	}
	b, err := server.takeBook()
	if err != nil {
		t.Fatalf("sqltest: new database on %s: %v", engine, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
		defer cancel()
		if err := server.giveBack(ctx, b); err != nil {
			t.Errorf("sqltest: empty the test's database on %s: %v", engine, err)
		}
	})
	return open(t, b.url)
}

// URL is New for tests that open the database themselves, as those that run the
// program do. The database is never used again.
func URL(t testing.TB, engine sqldb.Engine) string {
	t.Helper()
	rawURL := EmptyURL(t, engine)
	if server := find(t, engine); server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), migrateTimeout)
		defer cancel()
		if err := server.migrate(ctx, rawURL); err != nil {
			t.Fatalf("sqltest: new database on %s: %v", engine, err)
		}
	}
	if err := open(t, rawURL).Close(); err != nil {
		t.Fatalf("sqltest: close the new database on %s: %v", engine, err)
	}
	return rawURL
}

// EmptyURL returns the URL of a new database on engine that has no tables yet.
// Where the machine has no such engine it does as New.
func EmptyURL(t testing.TB, engine sqldb.Engine) string {
	t.Helper()
	server := find(t, engine)
	if server == nil {
		return sqliteURL(t)
	}
	rawURL, drop, err := server.createDatabase()
	if err != nil {
		t.Fatalf("sqltest: new database on %s: %v", engine, err)
	}
	t.Cleanup(func() {
		if err := drop(); err != nil {
			t.Errorf("sqltest: drop the test's database on %s: %v", engine, err)
		}
	})
	return rawURL
}

// find returns the server of engine, which is nil for SQLite. Where the machine
// has none it ends the test.
func find(t testing.TB, engine sqldb.Engine) *server {
	t.Helper()
	if !slices.Contains(Engines(t), engine) {
		t.Skipf("%s is not in %s", engine, limitVariable)
	}
	if engine == sqldb.SQLite {
		return nil
	}
	server, err := serverOf(engine)
	if err != nil {
		t.Fatalf("sqltest: %v", err)
	}
	if server == nil {
		notFound(t, engine)
	}
	return server
}

// The environment variables that choose engines; each is a list with commas.
const (
	limitVariable   = "TWEETLEDGER_TEST_ENGINES"
	requireVariable = "TWEETLEDGER_REQUIRE_ENGINES"
)

// Engines returns the engines that tests are to run on: all, or those that
// TWEETLEDGER_TEST_ENGINES names. One that the machine lacks is among them; New
// and URL then skip the test.
func Engines(t testing.TB) []sqldb.Engine {
	t.Helper()
	all := []sqldb.Engine{sqldb.SQLite, sqldb.PostgreSQL, sqldb.CockroachDB}
	named, ok := enginesIn(t, limitVariable)
	if !ok {
		return all
	}
	return slices.DeleteFunc(all, func(e sqldb.Engine) bool { return !slices.Contains(named, e) })
}

// enginesIn reads a list of engines from the environment; ok is whether there is one.
func enginesIn(t testing.TB, variable string) (engines []sqldb.Engine, ok bool) {
	t.Helper()
	list := os.Getenv(variable)
	if list == "" {
		return nil, false
	}
	for name := range strings.SplitSeq(list, ",") {
		engine := sqldb.Engine(strings.TrimSpace(name))
		switch engine {
		case sqldb.SQLite, sqldb.PostgreSQL, sqldb.CockroachDB:
			engines = append(engines, engine)
		default:
			t.Fatalf("sqltest: %s=%s: %q is no engine; write sqlite, postgres or cockroach", variable, list, engine)
		}
	}
	return engines, true
}

// notFound ends a test whose engine the machine does not have.
func notFound(t testing.TB, engine sqldb.Engine) {
	t.Helper()
	text := notFoundText(engine)
	if required, _ := enginesIn(t, requireVariable); slices.Contains(required, engine) {
		t.Fatalf("%s; %s requires it", text, requireVariable)
	}
	sayOnce(engine)
	t.Skip(text + ": this test is skipped")
}

// notFoundText tells how an engine that was not found can be made to be found.
func notFoundText(engine sqldb.Engine) string {
	if engine == sqldb.CockroachDB {
		return "sqltest: CockroachDB not found (set COCKROACH_BINARY, or put cockroach on the PATH)"
	}
	return "sqltest: PostgreSQL not found (install its server, or set TWEETLEDGER_TEST_POSTGRES to a server's URL)"
}

func sqliteURL(t testing.TB) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "book.db")
}

// open brings a database to the newest schema and keeps it open until the test ends.
func open(t testing.TB, rawURL string) *sqldb.DB {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), migrateTimeout)
	defer cancel()
	db, err := sqldb.Open(ctx, rawURL)
	if err != nil {
		t.Fatalf("sqltest: %v", err)
	}
	t.Cleanup(func() { _ = db.Close() }) // a test may have closed it
	if _, err := db.MigrateUp(ctx); err != nil {
		t.Fatalf("sqltest: %v", err)
	}
	return db
}

// say writes a line that the person who runs the tests should see.
func say(line string) { fmt.Fprintln(os.Stderr, line) }
