package sqltest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"tweetledger/internal/sqldb"
)

// Bounds on what a server may take, generous for a busy machine with one core.
const (
	startTimeout     = 60 * time.Second
	statementTimeout = 60 * time.Second
	// migrateTimeout is for all migrations: CockroachDB takes half a second for many of
	// their statements, and several servers at once ten times as long.
	migrateTimeout = 5 * time.Minute
	// pollInterval is how often a starting server is asked if it is ready.
	pollInterval = 50 * time.Millisecond
)

// server is a PostgreSQL or CockroachDB server that databases are created on.
type server struct {
	url     *url.URL // with the scheme that sqldb.Open takes
	dropSQL string   // how a test's database is dropped; %s is its name
	ours    bool     // it was started by this process and ends with it

	mu    sync.Mutex // one CREATE or DROP DATABASE at a time
	spare []book
}

// One server of each engine a test process, started by the first test that
// wants it.
var (
	postgresServer  = sync.OnceValues(func() (*server, error) { return findServer(sqldb.PostgreSQL) })
	cockroachServer = sync.OnceValues(func() (*server, error) { return findServer(sqldb.CockroachDB) })
)

// serverOf returns the process's server of engine, or nil where the machine has none.
func serverOf(engine sqldb.Engine) (*server, error) {
	if engine == sqldb.CockroachDB {
		return cockroachServer()
	}
	return postgresServer()
}

// The loud lines, once a test process.
var (
	sayNoPostgres  = sync.OnceFunc(func() { say(notFoundText(sqldb.PostgreSQL) + ": its tests are skipped") })
	sayNoCockroach = sync.OnceFunc(func() { say(notFoundText(sqldb.CockroachDB) + ": its tests are skipped") })
)

func sayOnce(engine sqldb.Engine) {
	if engine == sqldb.CockroachDB {
		sayNoCockroach()
		return
	}
	sayNoPostgres()
}

// findServer takes the server that the environment names, or starts one.
func findServer(engine sqldb.Engine) (*server, error) {
	variable, dropSQL, start := "TWEETLEDGER_TEST_POSTGRES", "DROP DATABASE %s WITH (FORCE)", startPostgres
	if engine == sqldb.CockroachDB {
		variable, dropSQL, start = "TWEETLEDGER_TEST_COCKROACH", "DROP DATABASE %s CASCADE", startCockroach
	}
	var address *url.URL
	var err error
	ours := false
	if given := os.Getenv(variable); given != "" {
		if address, err = url.Parse(given); err != nil || address.Host == "" && address.Query().Get("host") == "" {
			return nil, fmt.Errorf("%s is not a URL like %s://USER@HOST/DATABASE", variable, engine)
		}
	} else {
		if address, err = start(); err != nil {
			return nil, fmt.Errorf("start %s for the tests: %w", engine, err)
		}
		ours = true
	}
	if address == nil {
		return nil, nil
	}
	address.Scheme = string(engine)
	return &server{url: address, dropSQL: dropSQL, ours: ours}, nil
}

// createDatabase makes an empty database; drop removes it with all that is still
// connected to it.
func (s *server) createDatabase() (rawURL string, drop func() error, err error) {
	suffix := make([]byte, 8) // so that test processes that share a server do not collide
	_, _ = rand.Read(suffix)  // never fails
	name := "tweetledger_test_" + hex.EncodeToString(suffix)
	if err := s.exec("CREATE DATABASE " + name); err != nil {
		return "", nil, err
	}
	database := *s.url
	database.Path = "/" + name
	if s.ours && s.url.Scheme == string(sqldb.CockroachDB) {
		return database.String(), func() error { return nil }, nil // dropping takes it seconds, ending none
	}
	return database.String(), func() error { return s.exec(fmt.Sprintf(s.dropSQL, name)) }, nil
}

// exec runs statements, each on its own, on the server's maintenance database.
func (s *server) exec(statements ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	conn, err := connect(ctx, s.url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

func connect(ctx context.Context, address *url.URL) (*pgx.Conn, error) {
	a := *address
	a.Scheme = "postgres" // the one that pgx knows
	return pgx.Connect(ctx, a.String())
}

func connectTo(ctx context.Context, rawURL string) (*pgx.Conn, error) {
	address, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	return connect(ctx, address)
}

// waitReady waits until the process's server answers at the address that locate
// finds; locate may fail while the server is still starting.
func (p *process) waitReady(ctx context.Context, locate func() (*url.URL, error)) (*url.URL, error) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	var last error
	for {
		address, err := locate()
		if err == nil {
			var conn *pgx.Conn
			if conn, err = connect(ctx, address); err == nil {
				return address, conn.Close(ctx)
			}
		}
		last = err
		select {
		case <-p.exited:
			return nil, errors.New("the server ended by itself; its log ends with:\n" + p.log)
		case <-ctx.Done():
			return nil, fmt.Errorf("the server did not answer within %v: %w; its log ends with:\n%s", startTimeout, last, readLogTail(p.dir))
		case <-ticker.C:
		}
	}
}
