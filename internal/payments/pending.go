package payments

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Bounds of the messages that one transaction handles: more save little, and keep the
// wallets of their payers waiting for longer. On SQLite all who write wait for each other
// anyhow; on a server others write meanwhile, and a transaction that meets them begins
// anew.
const (
	handleTogether         = 200
	handleTogetherOnServer = 50
)

func (s *Service) mostTogether() int {
	if s.db.Engine() == sqldb.SQLite {
		return handleTogether
	}
	return handleTogetherOnServer
}

// Bounds of the work on one message that keeps failing.
const (
	maxHandleAttempts  = 10
	firstHandlePause   = 10 * time.Second
	longestHandlePause = time.Hour
)

// HandlePending handles the messages that are due, oldest first, at most limit of
// them, many in one transaction, and returns how many it handled. One that fails is
// tried again later, and after ten times left to staff; the others go on. The error
// tells of all failures.
func (s *Service) HandlePending(ctx context.Context, limit int) (int, error) {
	if err := sqldb.CheckPage(limit, MaxPage); err != nil {
		return 0, err
	}
	var due []uuid.UUID
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		due = nil
		return tx.Each(ctx, fmt.Sprintf("SELECT id FROM messages WHERE handled_at IS NULL AND due_at <= $1 ORDER BY due_at, created_at, id LIMIT %d", limit),
			[]any{s.engine.Now()}, func(rows *sqldb.Rows) error {
				var id uuid.UUID
				err := rows.Scan(&id)
				due = append(due, id)
				return err
			})
	})
	if err != nil {
		return 0, fmt.Errorf("look for messages to handle: %w", err)
	}
	handled, failed := 0, error(nil)
	for ids := range slices.Chunk(due, s.mostTogether()) {
		done, stop, err := s.handleSome(ctx, ids)
		handled, failed = handled+done, errors.Join(failed, err)
		if stop {
			break
		}
	}
	return handled, failed
}

// handleSome handles messages in one transaction. Where that fails it handles each half
// of them by itself, so that only those wait that fail; stop says that nothing else can
// be handled now either.
func (s *Service) handleSome(ctx context.Context, ids []uuid.UUID) (handled int, stop bool, failed error) {
	_, err := s.together(ctx, ids)
	switch {
	case err == nil:
		return len(ids), false, nil
	case giveUp(ctx, err):
		return 0, true, err
	case len(ids) > 1:
		half := len(ids) / 2
		if handled, stop, failed = s.handleSome(ctx, ids[:half]); stop {
			return handled, true, failed
		}
		more, stop, err := s.handleSome(ctx, ids[half:])
		return handled + more, stop, errors.Join(failed, err)
	}
	err = fmt.Errorf("handle message %s: %w", ids[0], err)
	s.log.ErrorContext(ctx, "message not handled", "message", ids[0], "error", err)
	if late := s.postpone(ctx, ids[0]); late != nil {
		return 0, true, errors.Join(err, late)
	}
	return 0, false, err
}

// giveUp reports whether an error is not a message's: the process stops, or the
// database is away.
func giveUp(ctx context.Context, err error) bool {
	return ctx.Err() != nil || ledger.CodeOf(err) == ledger.CodeUnavailable
}

// postpone counts a failure to handle a message.
func (s *Service) postpone(ctx context.Context, id uuid.UUID) error {
	now := s.engine.Now()
	return s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var attempts int
		err := tx.QueryRow(ctx, "SELECT attempts FROM messages WHERE id = $1 AND handled_at IS NULL"+tx.ForUpdate(), []any{id}, &attempts)
		if sqldb.IsNoRows(err) {
			return nil
		}
		if err != nil {
			return err
		}
		attempts++
		if attempts >= maxHandleAttempts {
			_, err = tx.Exec(ctx, "UPDATE messages SET attempts = $1, handled_at = $2, outcome = $3, reason = 'handling_failed', text = CASE WHEN deleted_at IS NULL THEN text END WHERE id = $4",
				int64(attempts), now, string(OutcomeFailed), id)
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE messages SET attempts = $1, due_at = $2 WHERE id = $3",
			int64(attempts), now.Add(backOff(attempts, firstHandlePause, longestHandlePause)), id)
		return err
	})
}

// backOff returns the pause after the given number of failures: first, doubling
// up to longest.
func backOff(failures int, first, longest time.Duration) time.Duration {
	pause := first
	for i := 1; i < failures && pause < longest; i++ {
		pause *= 2
	}
	return min(pause, longest)
}
