// Package sqldb opens the database that a book lives in and runs whole
// transactions on it, the same way on SQLite, PostgreSQL and CockroachDB.
//
// The three differ in little, and that little is here: how a transaction is
// retried, how many rows travel in one statement, and how ids, instants and
// dates are stored (SQLite has no types for them). All other packages write one
// SQL, with $1 placeholders.
package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"tweetledger/ledger"
)

// Engine names a kind of database.
type Engine string

// The engines.
const (
	SQLite      Engine = "sqlite"
	PostgreSQL  Engine = "postgres"
	CockroachDB Engine = "cockroach"
)

// DefaultURL is the embedded book that is used where no other is named.
const DefaultURL = "sqlite:tweetledger.db"

// Bounds on connections. The server's own limit (PostgreSQL: 100) is shared by
// all processes of the service, so one process takes a small part of it.
const (
	maxServerConns  = 16 // of a pool: PostgreSQL has one that writes and one that reads
	maxSQLiteReads  = 8
	connMaxIdleTime = 5 * time.Minute
	// pingTimeout bounds the first contact with a server.
	pingTimeout = 10 * time.Second
)

// DB is an open database. It is safe for concurrent use.
type DB struct {
	engine Engine
	url    string
	write  *sql.DB // SQLite: one connection, the single writer
	read   *sql.DB // SQLite: a pool of readers; otherwise the same as write
	// rowsets is how rows reach a statement on SQLite; nil on servers.
	rowsets *rowsets
	carrier *carrier // of SQLite's log; nil on servers
	texts   *setTexts
	pause   func(ctx context.Context, attempt int) error

	retries atomic.Int64

	mu         sync.Mutex
	stmts      map[string]*sql.Stmt // SQLite: by query, prepared on the writer; nil until it is
	unprepared []string             // SQLite: queries that wait to be prepared
}

// ParseURL tells which engine a database URL names: sqlite:FILE,
// postgres://… or cockroach://…. The error says what is accepted.
func ParseURL(rawURL string) (Engine, error) {
	scheme, rest, ok := strings.Cut(rawURL, ":")
	switch {
	case ok && scheme == "sqlite" && namesFile(rest):
		return SQLite, nil
	case ok && (scheme == "postgres" || scheme == "postgresql"):
		return PostgreSQL, nil
	case ok && (scheme == "cockroach" || scheme == "cockroachdb"):
		return CockroachDB, nil
	}
	return "", ledger.Errorf(ledger.CodeInvalid,
		"%q names no database; write sqlite:FILE, postgres://USER@HOST/DATABASE or cockroach://USER@HOST/DATABASE",
		redact(rawURL)).InField("--db")
}

// namesFile keeps out what other programs read as something else than a file: a
// book in memory would be lost, and in sqlite://x it is unclear if x is a host.
func namesFile(s string) bool {
	return s != "" && s != ":memory:" && (!strings.HasPrefix(s, "//") || strings.HasPrefix(s, "///"))
}

// Open opens the database that rawURL names and makes sure that it answers. It
// neither creates nor checks tables: see MigrateUp and CheckSchema. An SQLite
// file that does not exist is created.
func Open(ctx context.Context, rawURL string) (*DB, error) {
	engine, err := ParseURL(rawURL)
	if err != nil {
		return nil, err
	}
	db := &DB{engine: engine, url: rawURL, texts: newSetTexts(engine), pause: pauseWithJitter, stmts: map[string]*sql.Stmt{}}
	if engine == SQLite {
		err = db.openSQLite(strings.TrimPrefix(rawURL, "sqlite:"))
	} else {
		err = db.openServer(rawURL)
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	for _, pool := range []*sql.DB{db.write, db.read} {
		if err := pool.PingContext(ctx); err != nil {
			_ = db.Close()
			return nil, &ledger.Error{Code: ledger.CodeUnavailable, Field: "--db", Err: err,
				Message: fmt.Sprintf("cannot open %s: %v; check the address and that the server runs", redact(rawURL), err)}
		}
	}
	return db, nil
}

// serverConfig reads the URL of a server's database.
func serverConfig(rawURL string) (*pgx.ConnConfig, error) {
	_, rest, _ := strings.Cut(rawURL, ":")
	config, err := pgx.ParseConfig("postgres:" + rest)
	if err != nil {
		return nil, ledger.Errorf(ledger.CodeInvalid, "%s is not a database URL: %v", redact(rawURL), err).InField("--db")
	}
	return config, nil
}

func (db *DB) openServer(rawURL string) error {
	config, err := serverConfig(rawURL)
	if err != nil {
		return err
	}
	if _, ok := config.RuntimeParams["application_name"]; !ok {
		config.RuntimeParams["application_name"] = "tweetledger"
	}
	config.RuntimeParams["timezone"] = "UTC" // in which goose's timestamps are written and read
	db.read = serverPool(config, maxServerConns)
	db.write = db.read
	if db.engine == PostgreSQL {
		// A batch's one statement is the same every time, and PostgreSQL takes longer
		// to plan it anew for its parameters than to run it for a few rows. Queries of
		// reports are another matter, so they have connections of their own.
		if _, ok := config.RuntimeParams["plan_cache_mode"]; !ok {
			config.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
		}
		db.write = serverPool(config, maxServerConns)
	}
	return nil
}

func serverPool(config *pgx.ConnConfig, most int) *sql.DB {
	pool := stdlib.OpenDB(*config.Copy())
	pool.SetMaxOpenConns(most)
	pool.SetMaxIdleConns(most)
	pool.SetConnMaxIdleTime(connMaxIdleTime)
	return pool
}

// Engine returns which engine the database is.
func (db *DB) Engine() Engine { return db.engine }

// Pool returns the connections that write, for benchmarks and for tests that go
// around the ledger. The service itself never uses it.
func (db *DB) Pool() *sql.DB { return db.write }

// String returns the database's URL without its password.
func (db *DB) String() string { return redact(db.url) }

// Close closes all connections.
func (db *DB) Close() error {
	db.mu.Lock()
	for _, stmt := range db.stmts {
		if stmt != nil {
			_ = stmt.Close()
		}
	}
	clear(db.stmts)
	db.mu.Unlock()
	var err error
	if db.carrier != nil {
		err = db.carrier.close()
	}
	err = errors.Join(err, db.write.Close())
	if db.read != db.write {
		err = errors.Join(err, db.read.Close())
	}
	return err
}

// redact removes the password from a database URL. What it cannot take apart it
// does not show: the password may be what made the URL unreadable.
func redact(rawURL string) string {
	scheme, _, _ := strings.Cut(rawURL, ":")
	if scheme == string(SQLite) || !strings.ContainsAny(rawURL, "@?") {
		return rawURL
	}
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" && u.User == nil && u.Path == "" {
		return "[not readable]"
	}
	query := u.Query()
	for _, secret := range []string{"password", "sslpassword"} {
		if query.Has(secret) {
			query.Set(secret, "xxxxx")
			u.RawQuery = query.Encode()
		}
	}
	return u.Redacted()
}

// pauseWithJitter waits before a retry: 1 ms doubling to 256 ms, and a random
// part on top so that colliding writers spread out.
func pauseWithJitter(ctx context.Context, attempt int) error {
	base := time.Millisecond << min(attempt, 8)
	timer := time.NewTimer(base/2 + rand.N(base)) // not for secrets
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
