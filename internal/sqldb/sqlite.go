package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"

	"modernc.org/sqlite"

	"tweetledger/ledger"
)

// sqlitePragmas stand in the DSN so that every connection has them, also one
// that database/sql opens later.
//
// The journal of a statement of many rows is kept in memory (temp_store), and
// the log is carried over into the book every walPages pages: each carrying over
// waits for the disk.
func sqlitePragmas() []string {
	return []string{
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
		"cache_size(-65536)", "temp_store(MEMORY)", fmt.Sprintf("wal_autocheckpoint(%d)", walLimit),
	}
}

func (db *DB) openSQLite(file string) error {
	path, err := filepath.Abs(file)
	if err != nil {
		return fmt.Errorf("open sqlite file %s: %w", file, err)
	}
	if dir := filepath.Dir(path); !isDir(dir) {
		return ledger.Errorf(ledger.CodeInvalid, "the folder %s does not exist; create it, or name another file", dir).InField("--db")
	}
	if err := makePrivate(path); err != nil {
		return err
	}
	db.rowsets = newRowsets()
	// A driver of this DB alone: what is registered with the package's own reaches
	// every connection of the process.
	sqliteDriver := &sqlite.Driver{}
	if err := sqliteDriver.RegisterModule(rowsetTable, db.rowsets); err != nil {
		return fmt.Errorf("open sqlite file %s: %w", path, err)
	}
	dsn := (&url.URL{Scheme: "file", OmitHost: true, Path: path}).String()
	values := url.Values{"_pragma": sqlitePragmas()}
	reader := &sqliteConnector{driver: sqliteDriver, dsn: dsn + "?" + values.Encode(), readOnly: true}
	values.Set("_txlock", "immediate")
	writer := &sqliteConnector{driver: sqliteDriver, dsn: dsn + "?" + values.Encode()}
	db.write = sql.OpenDB(writer)
	db.write.SetMaxOpenConns(1)
	db.write.SetMaxIdleConns(1)
	beside := sql.OpenDB(&sqliteConnector{driver: sqliteDriver, dsn: dsn + "?" + values.Encode()})
	beside.SetMaxOpenConns(1)
	db.carrier = newCarrier(beside)
	db.read = sql.OpenDB(reader)
	db.read.SetMaxOpenConns(min(maxSQLiteReads, 2*runtime.NumCPU()))
	db.read.SetMaxIdleConns(min(maxSQLiteReads, 2*runtime.NumCPU()))
	return nil
}

// sqliteConnector opens connections that have the table of row sets. The driver
// calls its own hooks before it knows of modules, which is too early to make it.
type sqliteConnector struct {
	driver   *sqlite.Driver
	dsn      string
	readOnly bool
}

// Driver implements driver.Connector.
func (c *sqliteConnector) Driver() driver.Driver { return c.driver }

// Connect implements driver.Connector.
func (c *sqliteConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.dsn)
	if err != nil {
		return nil, err
	}
	statements := []string{"CREATE VIRTUAL TABLE temp." + rowsetTable + " USING " + rowsetTable}
	if c.readOnly {
		statements = append(statements, "PRAGMA query_only = 1") // last: it refuses temporary tables too
	}
	execer, ok := conn.(driver.ExecerContext)
	if !ok {
		return nil, errors.Join(errors.New("the sqlite driver runs no statements on a connection"), conn.Close())
	}
	for _, statement := range statements {
		if _, err := execer.ExecContext(ctx, statement, nil); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", statement, err), conn.Close())
		}
	}
	return conn, nil
}

// makePrivate makes the file of a new book readable by its owner alone: it holds
// names, telephone numbers and hashes of secret codes. SQLite gives the files
// beside it (-wal, -shm) the same mode.
func makePrivate(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	switch {
	case errors.Is(err, os.ErrExist):
		return nil // whoever made it, or has changed its mode since, knows why
	case err != nil:
		return &ledger.Error{Code: ledger.CodeUnavailable, Field: "--db", Err: err, Message: fmt.Sprintf("cannot make %s: %v; name a file in a folder that you may write to", path, err)}
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("make sqlite file %s: %w", path, err)
	}
	return nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
