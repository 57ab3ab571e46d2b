package payments

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// ExpireOrders ends the orders whose term is over and releases what they hold, at
// most limit of them, and returns how many it ended. Any number of processes may
// run it. One that fails does not keep the others; the error joins all failures.
func (s *Service) ExpireOrders(ctx context.Context, limit int) (int, error) {
	if err := sqldb.CheckPage(limit, MaxPage); err != nil {
		return 0, err
	}
	var due []uuid.UUID
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		due = nil
		return tx.Each(ctx, fmt.Sprintf(`SELECT id FROM orders WHERE state IN ('awaiting_payee', 'under_review', 'awaiting_confirmation')
			AND expires_at <= $1 ORDER BY expires_at, id LIMIT %d`, limit), []any{s.engine.Now()}, func(rows *sqldb.Rows) error {
			var id uuid.UUID
			err := rows.Scan(&id)
			due = append(due, id)
			return err
		})
	})
	if err != nil {
		return 0, fmt.Errorf("look for orders to expire: %w", err)
	}
	expired := 0
	var failures error
	for _, id := range due {
		ended, err := s.expire(ctx, id)
		if err != nil {
			if ctx.Err() != nil {
				return expired, err
			}
			failures = errors.Join(failures, err)
			continue
		}
		if ended {
			expired++
		}
	}
	return expired, failures
}

func (s *Service) expire(ctx context.Context, id uuid.UUID) (bool, error) {
	ended := false
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		ended = false
		o, err := lockOrder(ctx, tx, id)
		if err != nil {
			return err
		}
		now := s.engine.Now()
		if !o.State.Open() || o.ExpiresAt.IsZero() || now.Before(o.ExpiresAt) {
			return nil // somebody was faster
		}
		reason := ReasonTermOver
		if o.State == StateUnderReview {
			reason = ReasonReviewOver
		}
		if err := s.release(ctx, tx, &o, StateExpired, ActorSweeper, reason, now); err != nil {
			return err
		}
		ended = true
		return s.replyTo(ctx, tx, o, now)
	})
	if err != nil {
		return false, fmt.Errorf("expire order %s: %w", id, err)
	}
	return ended, nil
}

// Cancel ends an order that was not confirmed yet and releases what it holds. To
// cancel it again changes nothing; any other final state is CodeConflict.
func (s *Service) Cancel(ctx context.Context, id uuid.UUID, actor, reason string) (Order, error) {
	if err := validAct(actor, reason); err != nil {
		return Order{}, err
	}
	var o Order
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		if o, err = lockOrder(ctx, tx, id); err != nil || o.State == StateCancelled {
			return err
		}
		if !o.State.Open() {
			return ledger.Errorf(ledger.CodeConflict, "order %s is %s and cannot be cancelled", o.ID, o.State).InField("order")
		}
		now := s.engine.Now()
		if err := s.release(ctx, tx, &o, StateCancelled, actor, reason, now); err != nil {
			return err
		}
		return s.replyTo(ctx, tx, o, now)
	})
	if err != nil {
		return Order{}, fmt.Errorf("cancel order %s: %w", id, err)
	}
	return o, nil
}
