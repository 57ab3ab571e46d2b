package payments

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Release lets an order go on that waits for staff, exactly as if screening had
// accepted it: the rules are asked again and the money is held. Who does it and why stands in the order's history. An order that is
// not under review, or no longer, is CodeConflict.
func (s *Service) Release(ctx context.Context, id uuid.UUID, actor, reason string) (Order, error) {
	return s.review(ctx, id, actor, reason, func(ctx context.Context, h handling, o *Order) error {
		// The decision is staff's, what follows from it the service's: two events.
		if err := note(ctx, h.tx, o, actor, reason, h.now); err != nil {
			return err
		}
		payer, err := FindCustomerByID(ctx, h.tx, o.PayerID)
		if err != nil {
			return err
		}
		to, err := loadPayee(ctx, h.tx, *o)
		if err != nil {
			return err
		}
		if refused := h.refusal(*o, payer, to); refused != "" {
			return change(ctx, h.tx, o, StateRejected, ActorService, refused, h.now)
		}
		p := payment{payer: payer, to: to, o: *o}
		if err := h.settle(ctx, []*payment{&p}); err != nil {
			return err
		}
		if err := update(ctx, h.tx, p.o, p.events[0]); err != nil {
			return err
		}
		*o = p.o
		if o.State != StateAwaitingConfirmation {
			return nil
		}
		return h.insertOutbox(ctx, h.tx, noticeOf(*o, h.now))
	})
}

// RejectReviewed ends an order that waits for staff. The reason is private.
func (s *Service) RejectReviewed(ctx context.Context, id uuid.UUID, actor, reason string) (Order, error) {
	return s.review(ctx, id, actor, reason, func(ctx context.Context, h handling, o *Order) error {
		return change(ctx, h.tx, o, StateRejected, actor, reason, h.now)
	})
}

// review decides on an order that waits for staff, and tells the payer.
func (s *Service) review(ctx context.Context, id uuid.UUID, actor, reason string, decide func(ctx context.Context, h handling, o *Order) error) (Order, error) {
	if err := validAct(actor, reason); err != nil {
		return Order{}, err
	}
	now := s.engine.Now()
	var o Order
	err := s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		if o, err = lockOrder(ctx, tx, id); err != nil {
			return err
		}
		if o.State != StateUnderReview || !now.Before(o.ExpiresAt) {
			return ledger.Errorf(ledger.CodeConflict, "order %s does not wait for a review (it is %s)", o.ID, stateAt(o, now)).InField("order")
		}
		if err := decide(ctx, handling{Service: s, tx: tx, now: now}, &o); err != nil {
			return err
		}
		return s.sayTx(ctx, tx, o, "reviewed", orderText(o, s.config, false), now)
	})
	if err != nil {
		return Order{}, fmt.Errorf("review order %s: %w", id, err)
	}
	return o, nil
}

// stateAt is the state of an order, also where the sweeper has not come by yet.
func stateAt(o Order, now time.Time) State {
	if o.State.Open() && !o.ExpiresAt.IsZero() && !now.Before(o.ExpiresAt) {
		return StateExpired
	}
	return o.State
}
