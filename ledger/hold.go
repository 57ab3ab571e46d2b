package ledger

import (
	"time"

	"github.com/google/uuid"
)

// HoldStatus is where a hold is in its life.
type HoldStatus string

// The states of a hold. Every state but pending is final.
const (
	HoldPending HoldStatus = "pending"
	HoldPosted  HoldStatus = "posted"  // all of it was posted, or the rest was given up when some was
	HoldVoided  HoldStatus = "voided"  // what was not posted was released on request
	HoldExpired HoldStatus = "expired" // what was not posted was released because its time ran out
)

// Hold sets money aside for a posting that may follow: it counts against the
// limits of both accounts at once and moves when it is posted.
type Hold struct {
	ID         uuid.UUID // IDOfKey(Key)
	Key        string
	Debit      uuid.UUID
	Credit     uuid.UUID
	Amount     Amount // what was held at first, minor units
	Posted     Amount // what of it has been posted so far
	Currency   Currency
	Status     HoldStatus
	ExpiresAt  time.Time // UTC; zero: never by itself
	RecordedAt time.Time // UTC, microseconds
	ClosedAt   time.Time // UTC; zero while pending
	Source     Source
}

// Remaining returns what is still set aside, in minor units.
func (h Hold) Remaining() Amount {
	if h.Status != HoldPending {
		return 0
	}
	return h.Amount - h.Posted
}
