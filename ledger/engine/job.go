package engine

import (
	"context"
	"fmt"
	"time"

	"tweetledger/internal/sqldb"
)

// Done notes in the caller's transaction that the job of the lease has been done
// to its end, for DoneAt. It refuses as Check does.
func (l Lease) Done(ctx context.Context, tx *sqldb.Tx, at time.Time) error {
	if err := l.Check(ctx, tx); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "UPDATE leases SET done_at = $1 WHERE name = $2", at, l.Name); err != nil {
		return fmt.Errorf("note that %s was done: %w", l.Name, err)
	}
	return nil
}

// DoneAt returns when the job of a lease was last done to its end, by whichever
// process; the zero time where it never was.
func DoneAt(ctx context.Context, tx *sqldb.Tx, name string) (time.Time, error) {
	var at time.Time
	err := tx.QueryRow(ctx, "SELECT done_at FROM leases WHERE name = $1", []any{name}, &at)
	if err != nil && !sqldb.IsNoRows(err) {
		return time.Time{}, fmt.Errorf("look when %s was done: %w", name, err)
	}
	return at, nil
}
