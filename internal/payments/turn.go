package payments

import (
	"context"
	"sync"

	"github.com/google/uuid"

	"tweetledger/ledger"
)

// turns lets one request a customer at a time go on, so that a customer who
// floods the page waits for himself and not everybody for him.
type turns struct {
	mu sync.Mutex
	of map[uuid.UUID]*turn // of the customers who have requests under way
}

type turn struct {
	busy     chan struct{} // room for the one request that goes on
	requests int           // those that wait included
}

func newTurns() *turns { return &turns{of: map[uuid.UUID]*turn{}} }

// take waits for the customer's turn, which ends with release.
func (t *turns) take(ctx context.Context, customer uuid.UUID) (release func(), err error) {
	t.mu.Lock()
	own := t.of[customer]
	if own == nil {
		own = &turn{busy: make(chan struct{}, 1)}
		t.of[customer] = own
	}
	own.requests++
	t.mu.Unlock()
	select {
	case own.busy <- struct{}{}:
		return func() { <-own.busy; t.leave(customer, own) }, nil
	case <-ctx.Done():
		t.leave(customer, own)
		return nil, &ledger.Error{Code: ledger.CodeUnavailable, Err: ctx.Err(), Message: "another code of this customer is being checked; try again in a moment"}
	}
}

func (t *turns) leave(customer uuid.UUID, own *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if own.requests--; own.requests == 0 {
		delete(t.of, customer)
	}
}
