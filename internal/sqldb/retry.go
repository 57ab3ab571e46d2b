package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/cockroachdb/cockroach-go/v2/crdb"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"tweetledger/ledger"
)

// maxRetries bounds how often one transaction is tried again. Its pauses add up
// to about two seconds; by then the caller's own retry, with the same
// idempotency key, is the better judge.
const maxRetries = 15

// savepointRetries bounds the retries that cockroach-go makes at once, without a
// pause; after them the transaction begins anew, with one.
const savepointRetries = 3

// Write runs fn in a serializable transaction and commits it. When the database
// asks for a retry, or the connection is lost before the commit began, all of fn
// runs again in a new transaction, so fn must not keep results of an attempt
// that failed. A commit whose fate is unknown is not retried: the error has
// ClassAmbiguous.
func (db *DB) Write(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	return db.writeRetrying(ctx, fn, false)
}

// WriteIdempotent is Write for an fn that finds out by itself what an earlier
// run of it already committed; a commit whose fate is unknown is run again too.
func (db *DB) WriteIdempotent(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	return db.writeRetrying(ctx, fn, true)
}

func (db *DB) writeRetrying(ctx context.Context, fn func(ctx context.Context, tx *Tx) error, idempotent bool) error {
	for attempt := 0; ; attempt++ {
		err := db.writeOnce(ctx, fn)
		class := ClassOf(err)
		retry := class == ClassSerialization || class == ClassConnectionLost || (class == ClassAmbiguous && idempotent)
		if !retry || ctx.Err() != nil {
			return err
		}
		if attempt == maxRetries {
			return gaveUp(err)
		}
		db.retries.Add(1)
		if err := db.pause(ctx, attempt); err != nil {
			return err
		}
	}
}

// Retries counts how often this process has run a writing transaction again,
// since the database was opened.
func (db *DB) Retries() int64 { return db.retries.Load() }

// gaveUp is the error of a transaction whose every attempt failed with one like err.
func gaveUp(err error) error {
	return &ledger.Error{Code: ledger.CodeUnavailable, Err: err,
		Message: fmt.Sprintf("the database refused the transaction %d times; try again later: %v", maxRetries+1, err)}
}

// writeOnce is one attempt. An error after fn succeeded came from the commit.
func (db *DB) writeOnce(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	committing, runs := false, 0
	attempt := func(sqlTx *sql.Tx) error {
		committing = false
		if runs++; runs > 1 {
			db.retries.Add(1) // at the savepoint
		}
		if err := fn(ctx, &Tx{tx: sqlTx, db: db, writes: true}); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err // nothing was sent yet, so nothing is in doubt
		}
		committing = true
		return nil
	}
	var err error
	if db.engine == CockroachDB {
		// ExecuteTx retries 40001 inside the transaction, at the savepoint.
		err = crdb.ExecuteTx(crdb.WithMaxRetries(ctx, savepointRetries), db.write, nil, attempt)
	} else {
		err = db.beginAndCommit(ctx, attempt)
	}
	if err != nil && committing && db.commitInDoubt(err) {
		return &ambiguousError{err}
	}
	return err
}

// commitInDoubt reports whether the error of a commit leaves open if it happened:
// always, unless the server's refusal arrived or the commit was never sent.
// SQLite has no server; there a commit that fails is rolled back.
func (db *DB) commitInDoubt(err error) bool {
	if db.engine == SQLite || errors.Is(err, sql.ErrTxDone) || errors.Is(err, pgx.ErrTxCommitRollback) {
		return false
	}
	if _, ok := errors.AsType[*crdb.TxnRestartError](err); ok {
		return false // the server had refused the commit and asked for a restart
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return classOfSQLState(e.Code) == ClassConnectionLost
	}
	return true
}

// beginAndCommit is for PostgreSQL and SQLite, where cockroach-go would drop the
// error of the real COMMIT.
func (db *DB) beginAndCommit(ctx context.Context, fn func(tx *sql.Tx) error) (err error) {
	opts := &sql.TxOptions{Isolation: sql.LevelSerializable}
	if db.engine == SQLite {
		opts = nil // every SQLite transaction is serializable
	}
	tx, err := db.write.BeginTx(ctx, opts)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	done := false
	defer func() {
		if !done { // also when fn panics
			_ = tx.Rollback()
		}
	}()
	if err := fn(tx); err != nil {
		return err
	}
	done = true
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if db.engine == SQLite {
		db.prepareNew(ctx)
		db.carrier.afterCommit(ctx, db.write)
	}
	return nil
}

// Read runs fn in a read-only transaction that sees one consistent state of the
// book. It is retried like Write.
func (db *DB) Read(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	for attempt := 0; ; attempt++ {
		err := db.readOnce(ctx, fn)
		class := ClassOf(err)
		if (class != ClassSerialization && class != ClassConnectionLost) || ctx.Err() != nil {
			return err
		}
		if attempt == maxRetries {
			return gaveUp(err)
		}
		if err := db.pause(ctx, attempt); err != nil {
			return err
		}
	}
}

func (db *DB) readOnce(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	opts := &sql.TxOptions{ReadOnly: true}
	switch db.engine {
	case PostgreSQL:
		opts.Isolation = sql.LevelRepeatableRead // one snapshot, and never a serialization failure
	case SQLite:
		opts = nil // the reader's connection has query_only
	}
	tx, err := db.read.BeginTx(ctx, opts)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	return fn(ctx, &Tx{tx: tx, db: db})
}

// ambiguousError is a commit whose fate is unknown.
type ambiguousError struct{ err error }

func (e *ambiguousError) Error() string {
	return "the commit was interrupted, so whether it happened is unknown: " + e.err.Error()
}

func (e *ambiguousError) Unwrap() error { return e.err }

// IsAmbiguous reports whether err leaves open if a transaction was committed.
func IsAmbiguous(err error) bool { return ClassOf(err) == ClassAmbiguous }

var errNoRows = sql.ErrNoRows

// IsNoRows reports whether err says that a query for one row found none.
func IsNoRows(err error) bool { return errors.Is(err, errNoRows) }
