package payments

import (
	"context"
	"fmt"
	"time"

	"tweetledger/internal/sqldb"
)

// Waiting is how much waits to be sent, and for staff.
type Waiting struct {
	Pending        int       // rows of the outbox, counted up to MaxPage as the others are
	OldestAt       time.Time // since when the oldest of them waits; zero where none does
	Dead           int       // rows that were given up or kept back
	Reviews        int       // orders that wait for staff
	OldestReviewAt time.Time // since when the oldest of them waits
	Unclaimed      int       // payments that wait for their payees
	OldestDueAt    time.Time // when something was due to be done for the first of them; zero where none waits
}

// MeasureWaiting counts what waits. Its cost is bounded by MaxPage.
func MeasureWaiting(ctx context.Context, tx *sqldb.Tx) (Waiting, error) {
	var w Waiting
	for _, part := range []struct {
		rows  string
		count *int
		since *time.Time
	}{
		{"outbox WHERE status = 'pending' ORDER BY next_attempt_at, id", &w.Pending, &w.OldestAt},
		{"outbox WHERE status = 'dead' ORDER BY created_at, id", &w.Dead, new(time.Time)},
		{"orders WHERE state = 'under_review' ORDER BY created_at, id", &w.Reviews, &w.OldestReviewAt},
	} {
		query := fmt.Sprintf("SELECT COUNT(*), MIN(created_at) FROM (SELECT created_at FROM %s LIMIT %d) AS waiting", part.rows, MaxPage)
		if err := tx.QueryRow(ctx, query, nil, part.count, part.since); err != nil {
			return Waiting{}, fmt.Errorf("measure what waits: %w", err)
		}
	}
	query := fmt.Sprintf("SELECT COUNT(*), MIN(due_at) FROM (SELECT due_at FROM unclaimed_payments WHERE state = 'waiting' ORDER BY due_at, order_id LIMIT %d) AS waiting", MaxPage)
	if err := tx.QueryRow(ctx, query, nil, &w.Unclaimed, &w.OldestDueAt); err != nil {
		return Waiting{}, fmt.Errorf("measure unclaimed payments: %w", err)
	}
	return w, nil
}
