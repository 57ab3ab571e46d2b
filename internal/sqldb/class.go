package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/cockroachdb/cockroach-go/v2/crdb"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Class is what kind of failure a database error is, the same on all engines.
type Class int

// The classes of error. ClassNone is no database error at all.
const (
	ClassNone           Class = iota
	ClassSerialization        // run the whole transaction again
	ClassUnique               // a unique or primary key is taken
	ClassForeignKey           // a referenced row is missing
	ClassCheck                // a CHECK, NOT NULL or trigger of the schema refused the row
	ClassAmbiguous            // the commit may or may not have happened
	ClassConnectionLost       // the connection broke before the commit began
	ClassOutOfRange           // a number left the range of its column
	ClassFull                 // no room on the database's disk
	ClassOther                // anything else the database said
)

// ClassOf returns the class of err.
func ClassOf(err error) Class {
	if err == nil {
		return ClassNone
	}
	if _, ok := errors.AsType[*ambiguousError](err); ok {
		return ClassAmbiguous
	}
	if _, ok := errors.AsType[*againError](err); ok {
		return ClassSerialization
	}
	if e, ok := errors.AsType[*crdb.AmbiguousCommitError](err); ok {
		return classOfCommit(e)
	}
	if e, ok := errors.AsType[*crdb.MaxRetriesExceededError](err); ok {
		return ClassOf(errors.Unwrap(e))
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return classOfSQLState(e.Code)
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return classOfSQLite(e.Code())
	}
	if connectionLost(err) {
		return ClassConnectionLost
	}
	return ClassNone
}

// Again asks for the whole transaction to be run again because of err, which the
// database itself does not see as a reason: a key was taken that was free when the
// transaction looked.
func Again(err error) error { return &againError{err} }

type againError struct{ err error }

// Error implements error.
func (e *againError) Error() string { return e.err.Error() }

// Unwrap returns the reason.
func (e *againError) Unwrap() error { return e.err }

// classOfCommit classifies what cockroach-go calls ambiguous, which is each error
// of a commit but 40001. Where the database itself named the row or the state
// that it refused, nothing is in doubt.
func classOfCommit(err *crdb.AmbiguousCommitError) Class {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		if strings.HasPrefix(e.Code, "23") || strings.HasPrefix(e.Code, "25") {
			return classOfSQLState(e.Code)
		}
	}
	return ClassAmbiguous
}

// classOfSQLState classifies the codes of PostgreSQL and CockroachDB.
// Source: PostgreSQL appendix A; CockroachDB adds 40003 for an ambiguous result
// and CR000-class codes that never reach a client. Its XXUUU is an error that has no
// code, such as the EOF that it finds where a client's half of a connection ended:
// to run the transaction again is right for that and harmless for all others.
func classOfSQLState(code string) Class {
	switch {
	case code == "40003":
		return ClassAmbiguous
	case code == "40001", code == "40P01", code == "55P03":
		return ClassSerialization
	case code == "23505":
		return ClassUnique
	case code == "23503":
		return ClassForeignKey
	case code == "53100":
		return ClassFull
	case strings.HasPrefix(code, "23"), code == "P0001":
		return ClassCheck
	case code == "22003":
		return ClassOutOfRange
	case strings.HasPrefix(code, "08"), code == "53300", code == "57P01", code == "57P02", code == "57P03", code == "58C01", code == "XXUUU":
		return ClassConnectionLost
	}
	return ClassOther
}

func classOfSQLite(code int) Class {
	switch code {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return ClassUnique
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return ClassForeignKey
	case sqlite3.SQLITE_CONSTRAINT_DATATYPE: // a sum that overflowed became a float
		return ClassOutOfRange
	}
	switch code & 0xff { // the primary code
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return ClassSerialization
	case sqlite3.SQLITE_CONSTRAINT:
		return ClassCheck
	case sqlite3.SQLITE_FULL:
		return ClassFull
	}
	return ClassOther
}

func connectionLost(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) {
		return true
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	_, ok := errors.AsType[net.Error](err)
	return ok
}
