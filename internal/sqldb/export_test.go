package sqldb

import (
	"context"
	"fmt"
)

// What the tests in package sqldb_test need of the inside.

const (
	MaxRetries       = maxRetries
	SavepointRetries = savepointRetries
)

var (
	Migrations      = migrations
	PauseWithJitter = pauseWithJitter
)

// SetPause replaces what db does between two attempts.
func (db *DB) SetPause(pause func(ctx context.Context, attempt int) error) { db.pause = pause }

// MigrateDown takes all of the schema away again.
func (db *DB) MigrateDown(ctx context.Context) error { return db.MigrateDownTo(ctx, 0) }

// MigrateDownTo takes away what came after a version.
func (db *DB) MigrateDownTo(ctx context.Context, version int64) error {
	provider, err := db.provider()
	if err != nil {
		return err
	}
	if _, err := provider.DownTo(ctx, version); err != nil {
		return fmt.Errorf("migrate down to %d: %w", version, err)
	}
	return nil
}

// MigrateUpTo brings the schema to a version.
func (db *DB) MigrateUpTo(ctx context.Context, version int64) error {
	provider, err := db.provider()
	if err != nil {
		return err
	}
	if _, err := provider.UpTo(ctx, version); err != nil {
		return fmt.Errorf("migrate up to %d: %w", version, err)
	}
	return nil
}

// HeldRowSets counts the sets that statements on SQLite are reading.
func (db *DB) HeldRowSets() int {
	db.rowsets.mu.Lock()
	defer db.rowsets.mu.Unlock()
	return len(db.rowsets.sets)
}

// Values reads the row whatever its columns are.
func (r *Rows) Values() ([]any, error) {
	columns, err := r.rows.Columns()
	if err != nil {
		return nil, err
	}
	values := make([]any, len(columns))
	fields := make([]any, len(columns))
	for i := range values {
		fields[i] = &values[i]
	}
	return values, r.rows.Scan(fields...)
}

// StopCarrier ends what carries SQLite's log over, so that a test can, and lets
// that many pages wait.
func (db *DB) StopCarrier(pages int64) {
	db.carrier.halt()
	db.carrier.pages = pages
}

// Carry carries the log over as is done after a commit.
func (db *DB) Carry(ctx context.Context) { db.carrier.carry(ctx) }

// WaitingPages is how many pages of SQLite's log are not carried over.
func (db *DB) WaitingPages(ctx context.Context) (int64, error) {
	return carryOver(ctx, db.carrier.conn, "NOOP")
}

// LogPages is how many pages SQLite's log has.
func (db *DB) LogPages(ctx context.Context) (int64, error) {
	var busy, pages, carried int64
	err := db.carrier.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(NOOP)").Scan(&busy, &pages, &carried)
	return pages, err
}
