// Package engine keeps the book on a database: it posts, holds, reverses, asks
// for balances and verifies, on SQLite, PostgreSQL and CockroachDB alike.
package engine
