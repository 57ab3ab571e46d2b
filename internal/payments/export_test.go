package payments

import (
	"context"

	"github.com/google/uuid"
)

// OccupyHashSlot takes a slot that a hash is computed in, until release is called.
func (s *Service) OccupyHashSlot() (release func()) {
	s.hashing <- struct{}{}
	return func() { <-s.hashing }
}

// OccupyTurn keeps a customer's codes from being checked until release is called.
func (s *Service) OccupyTurn(ctx context.Context, customer uuid.UUID) (release func(), err error) {
	return s.turns.take(ctx, customer)
}

// Turns returns how many customers have codes under way.
func (s *Service) Turns() int {
	s.turns.mu.Lock()
	defer s.turns.mu.Unlock()
	return len(s.turns.of)
}
