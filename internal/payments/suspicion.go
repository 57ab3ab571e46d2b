package payments

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
)

// errForged marks a form that is none of ours though it says so: nobody comes to send
// one by mistake.
var errForged = errors.New("the form's stamp is forged")

// maxSuspicions bounds the events of suspicion that a process writes in a minute: who
// attacks must not fill the book. The log has all of them.
const maxSuspicions = 60

// suspicions counts the events of suspicion of the running minute.
type suspicions struct {
	mu     sync.Mutex
	minute time.Time
	count  int
}

// room reports whether one more may be written.
func (s *suspicions) room(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if minute := now.Truncate(time.Minute); !minute.Equal(s.minute) {
		s.minute, s.count = minute, 0
	}
	s.count++
	return s.count <= maxSuspicions
}

// suspect notes in a customer's history, and in the log, what smells of an attack.
// Losing the note loses no safety: what was tried was refused.
func (s *Service) suspect(ctx context.Context, customer Customer, actor, event, reason string) {
	now := s.engine.Now()
	var err error
	if s.suspected.room(now) {
		err = s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			return recordPartyEvent(ctx, tx, customer.ID, PartyEvent{At: now, Actor: actor, Event: event, Reason: reason})
		})
	}
	s.log.WarnContext(ctx, "this smells of an attack", "customer", customer.Number, "event", event, "reason", reason, "actor", actor, "error", err)
}

// suspectForm notes a forged form about an order.
func (s *Service) suspectForm(ctx context.Context, payer Customer, order uuid.UUID, actor string, err error) {
	if errors.Is(err, errForged) {
		s.suspect(ctx, payer, actor, "form_forged", "a form to confirm order "+order.String()+" that was never shown")
	}
}
