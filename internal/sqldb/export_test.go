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
func (db *DB) MigrateDown(ctx context.Context) error {
	provider, err := db.provider()
	if err != nil {
		return err
	}
	if _, err := provider.DownTo(ctx, 0); err != nil {
		return fmt.Errorf("migrate down: %w", err)
	}
	return nil
}

// HeldRowSets counts the sets that statements on SQLite are reading.
func (db *DB) HeldRowSets() int {
	db.rowsets.mu.Lock()
	defer db.rowsets.mu.Unlock()
	return len(db.rowsets.sets)
}
