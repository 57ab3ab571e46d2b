package engine

import (
	"crypto/sha256"
	"time"

	"github.com/google/uuid"

	"tweetledger/ledger"
)

type holdState struct {
	ledger.Hold
	hash    [sha256.Size]byte
	isNew   bool
	changed bool
}

type release struct {
	id     uuid.UUID
	key    string
	hash   [sha256.Size]byte
	hold   uuid.UUID
	amount ledger.Amount
	at     time.Time
}

func (b *batch) hold(id uuid.UUID, hash [sha256.Size]byte, r ledger.HoldRequest) Outcome {
	if !r.ExpiresAt.IsZero() && !r.ExpiresAt.After(b.engine.Now()) {
		return Outcome{Err: ledger.Errorf(ledger.CodeInvalid, "the hold would have expired at %s",
			r.ExpiresAt.UTC().Format(time.RFC3339)).InField("expires_at")}
	}
	p := ledger.Posting{Debit: r.Debit, Credit: r.Credit, Amount: r.Amount, Currency: r.Currency}
	if err := b.usable(p); err != nil {
		return Outcome{Err: err}
	}
	if err := b.try([]change{
		{b.accounts[r.Debit], delta{debitsPending: r.Amount}},
		{b.accounts[r.Credit], delta{creditsPending: r.Amount}},
	}); err != nil {
		return Outcome{Err: err}
	}
	h := &holdState{hash: hash, isNew: true, Hold: ledger.Hold{
		ID: id, Key: r.Key, Debit: r.Debit, Credit: r.Credit, Amount: r.Amount, Currency: r.Currency,
		Status: ledger.HoldPending, ExpiresAt: r.ExpiresAt.UTC().Truncate(time.Microsecond),
		RecordedAt: b.now(), Source: r.Source,
	}}
	if r.ExpiresAt.IsZero() {
		h.ExpiresAt = time.Time{}
	}
	b.holds[id] = h
	b.newHolds = append(b.newHolds, h)
	return Outcome{Hold: h.Hold}
}

// pending returns the hold if it can still be posted or voided.
func (b *batch) pending(id uuid.UUID) (*holdState, error) {
	h, ok := b.holds[id]
	switch {
	case !ok:
		return nil, ledger.Errorf(ledger.CodeNotFound, "there is no hold %s", id).InField("hold_id")
	case h.Status != ledger.HoldPending:
		return nil, ledger.Errorf(ledger.CodeHoldClosed, "hold %s was %s at %s",
			id, h.Status, h.ClosedAt.Format(time.RFC3339)).InField("hold_id")
	}
	return h, nil
}

func (h *holdState) due(now time.Time) bool { return !h.ExpiresAt.IsZero() && !now.Before(h.ExpiresAt) }

func (b *batch) postHold(id uuid.UUID, hash [sha256.Size]byte, r ledger.PostHoldRequest) Outcome {
	h, err := b.pending(r.HoldID)
	if err != nil {
		return Outcome{Err: err}
	}
	if h.due(b.engine.Now()) {
		return Outcome{Err: ledger.Errorf(ledger.CodeHoldClosed, "hold %s expired at %s",
			r.HoldID, h.ExpiresAt.Format(time.RFC3339)).InField("hold_id")}
	}
	amount := r.Amount
	if amount == 0 {
		amount = h.Remaining()
	}
	if amount > h.Remaining() {
		return Outcome{Err: ledger.Errorf(ledger.CodeHoldClosed, "hold %s has %s %s left, less than %s", r.HoldID,
			h.Remaining().Format(h.Currency), h.Currency, amount.Format(h.Currency)).InField("amount")}
	}
	freed := amount
	if r.ReleaseRest {
		freed = h.Remaining()
	}
	t := &ledger.Transaction{
		ID: id, Key: r.Key, Journal: r.Journal, Label: r.Label, EffectiveDate: r.EffectiveDate,
		Source: h.Source, Metadata: r.Metadata, HoldID: h.ID,
		Postings: []ledger.Posting{{Debit: h.Debit, Credit: h.Credit, Amount: amount, Currency: h.Currency}},
	}
	out := b.record(t, hash, r.Adjustment, b.freed(h, freed))
	if out.Err != nil {
		return out
	}
	h.Posted += amount
	h.changed = true
	if freed == amount && h.Posted < h.Amount {
		return out
	}
	h.Status, h.ClosedAt = ledger.HoldPosted, out.Transaction.RecordedAt
	return out
}

func (b *batch) voidHold(id uuid.UUID, hash [sha256.Size]byte, r ledger.VoidHoldRequest) Outcome {
	h, err := b.pending(r.HoldID)
	if err != nil {
		return Outcome{Err: err}
	}
	status := ledger.HoldVoided
	if r.Expired {
		if !h.due(b.engine.Now()) {
			return Outcome{Err: ledger.Errorf(ledger.CodeInvalid, "hold %s has not expired yet", r.HoldID).InField("expired")}
		}
		status = ledger.HoldExpired
	}
	rest := h.Remaining()
	if err := b.try(b.freed(h, rest)); err != nil {
		return Outcome{Err: err}
	}
	h.Status, h.ClosedAt, h.changed = status, b.now(), true
	b.releases = append(b.releases, release{id: id, key: r.Key, hash: hash, hold: h.ID, amount: rest, at: h.ClosedAt})
	return Outcome{Hold: h.Hold}
}

// freed is what both accounts of a hold get back.
func (b *batch) freed(h *holdState, amount ledger.Amount) []change {
	return []change{
		{b.accounts[h.Debit], delta{debitsPending: -amount}},
		{b.accounts[h.Credit], delta{creditsPending: -amount}},
	}
}
