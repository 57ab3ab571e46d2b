package payments

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Pauses between looks at a charge that stays as it is. They never end: a card that was
// charged is posted or refunded, however long the processor is away.
const (
	firstChargePause   = 30 * time.Second
	longestChargePause = 6 * time.Hour
)

// SweepCharges looks at the charges that are due, at most limit of them, and finishes
// what it can: posts, refunds, books chargebacks, gives up what never came to the
// processor, and cancels what its cardholder has left. Any number of processes may run
// it: whoever looks at a charge keeps the others from it for a while. It returns how
// many it looked at; the error joins all failures.
func (s *Service) SweepCharges(ctx context.Context, limit int) (int, error) {
	if err := sqldb.CheckPage(limit, MaxPage); err != nil {
		return 0, err
	}
	if s.processor == nil {
		return 0, nil
	}
	var due []Charge
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		due, err = findCharges(ctx, tx, "due_at <= $1", []any{s.engine.Now()}, fmt.Sprintf(" ORDER BY due_at, id LIMIT %d", limit))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("look for charges that are due: %w", err)
	}
	looked := 0
	var failures error
	for _, c := range due {
		until, got, err := s.claimCharge(ctx, c)
		if err == nil && got {
			looked++
			if c, err = s.workOn(ctx, c.ID); err == nil {
				err = s.rest(ctx, c, until)
			}
		}
		if err != nil {
			if ctx.Err() != nil {
				return looked, err
			}
			s.log.WarnContext(ctx, "a charge waits", "charge", c.ID, "err", err)
			failures = errors.Join(failures, err)
		}
	}
	return looked, failures
}

// claimCharge keeps other processes from a charge until the pause is over, and reports
// whether it was still due.
func (s *Service) claimCharge(ctx context.Context, c Charge) (time.Time, bool, error) {
	until := s.engine.Now().Add(backOff(c.Attempts+1, firstChargePause, longestChargePause))
	got := false
	err := s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, "UPDATE charges SET attempts = attempts + 1, due_at = $1 WHERE id = $2 AND due_at = $3", until, c.ID, c.DueAt)
		got = n == 1
		return err
	})
	if err != nil {
		return time.Time{}, false, fmt.Errorf("claim charge %s: %w", c.ID, err)
	}
	return until, got, nil
}

// rest lets a finished charge be, unless a webhook has spoken of it since the claim.
func (s *Service) rest(ctx context.Context, c Charge, claimed time.Time) error {
	if c.State.Unfinished() {
		return nil
	}
	err := s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE charges SET due_at = NULL, attempts = 0 WHERE id = $1 AND due_at = $2
			AND state NOT IN ('requested', 'challenged', 'succeeded', 'refunding')`, c.ID, claimed)
		return err
	})
	if err != nil {
		return fmt.Errorf("let charge %s be: %w", c.ID, err)
	}
	return nil
}

// workOn does what is to be done about a charge now.
func (s *Service) workOn(ctx context.Context, id uuid.UUID) (Charge, error) {
	c, card, err := s.chargeAndCard(ctx, id)
	if err != nil {
		return Charge{}, err
	}
	if c.State == ChargeSucceeded { // what the processor said is known
		if c, err = s.apply(ctx, c.ID, CardStatus{}); err != nil {
			return c, err
		}
	}
	c, status, err := s.refresh(ctx, c, card)
	if err != nil {
		return c, err
	}
	switch {
	case (c.State == ChargeRequested || c.State == ChargeChallenged) && c.Reference != "" && !s.engine.Now().Before(c.CreatedAt.Add(s.config.Cards.ChallengeTerm)):
		return s.act(ctx, c, card, s.processor.Cancel)
	case c.State == ChargeRefunding && status.Refund != RefundPending && (c.Reason != ReasonRefundFailed || !s.engine.Now().Before(c.ChangedAt.Add(refundPause))):
		return s.act(ctx, c, card, func(ctx context.Context, r CardCharge) (CardStatus, error) {
			return s.processor.Refund(ctx, r, c.refundKey())
		})
	}
	return c, nil
}

func (s *Service) act(ctx context.Context, c Charge, card Card, how func(context.Context, CardCharge) (CardStatus, error)) (Charge, error) {
	status, err := s.ask(ctx, c, card, how)
	if err != nil {
		return c, fmt.Errorf("ask the card processor about charge %s: %w", c.ID, err)
	}
	return s.apply(ctx, c.ID, status)
}

// HeardOf notes that the card processor has news of a charge, which it names by our key
// or its own reference, or of a page on which a card is entered; SweepCharges and
// SweepCards then ask for them. So it does not matter whether
// the news come twice, late, or in another order than they happened, nor what they say.
// A charge that nobody knows is CodeNotFound.
func (s *Service) HeardOf(ctx context.Context, key, reference string) error {
	now := s.engine.Now()
	var n int64
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		ids, err := sqldb.Collect(ctx, tx, "SELECT id FROM charges WHERE charge_key = $1 OR reference = $2", []any{key, reference},
			func(rows *sqldb.Rows) (id uuid.UUID, err error) { err = rows.Scan(&id); return id, err })
		if err != nil {
			return err
		}
		n = int64(len(ids))
		for _, id := range ids {
			if _, err := tx.Exec(ctx, "UPDATE charges SET due_at = $1 WHERE id = $2 AND (due_at IS NULL OR due_at > $1)", now, id); err != nil {
				return err
			}
		}
		if n == 0 && reference != "" {
			if ours, err := hearOfPage(ctx, tx, reference, now); err != nil || ours {
				n = 1
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("note news of a charge: %w", err)
	}
	if n == 0 {
		return ledger.Errorf(ledger.CodeNotFound, "no charge has the key %s or the reference %s", clip(key), clip(reference)).InField("charge")
	}
	return nil
}

// processorParty is under whom the history of the card processor itself is kept.
var processorParty = uuid.MustParse("5f0b3c1e-9d5a-5c43-8f5e-6a7c2e1d4b90")

// RecordRefusedNews notes that somebody who is not the card processor spoke in its
// name. The caller bounds how often.
func (s *Service) RecordRefusedNews(ctx context.Context, reason string) error {
	if err := validText("reason", reason, maxReason); err != nil {
		return err
	}
	return s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return recordPartyEvent(ctx, tx, processorParty, PartyEvent{At: s.engine.Now(), Actor: ActorService, Event: "card_webhook_refused", Reason: reason})
	})
}

// RefusedNews returns the newest events that RecordRefusedNews noted, oldest first.
func RefusedNews(ctx context.Context, tx *sqldb.Tx, limit int) ([]PartyEvent, error) {
	return PartyEvents(ctx, tx, processorParty, limit)
}

// CardsWaiting is how much of the card top-ups is not finished.
type CardsWaiting struct {
	Open      int       // requested, challenged or succeeded, counted up to MaxPage as the others are
	OldestAt  time.Time // since when the oldest of them waits; zero: none does
	Refunding int
	Disputed  int
	// Apart is what stands in suspense for cards, in minor units.
	Apart ledger.Amount
}

// MeasureCards counts the charges that are not finished. Its cost is bounded by MaxPage.
func MeasureCards(ctx context.Context, tx *sqldb.Tx) (CardsWaiting, error) {
	var w CardsWaiting
	var sums [3]ledger.Amount
	for i, part := range []struct {
		states string
		count  *int
		since  *time.Time
	}{
		{"'requested', 'challenged', 'succeeded'", &w.Open, &w.OldestAt},
		{"'refunding'", &w.Refunding, new(time.Time)},
		{"'disputed'", &w.Disputed, new(time.Time)},
	} {
		query := fmt.Sprintf(`SELECT COUNT(*), MIN(created_at), CAST(COALESCE(SUM(held_apart), 0) AS %s) FROM (
			SELECT created_at, held_apart FROM charges WHERE state IN (%s) LIMIT %d) AS waiting`, tx.Int8(), part.states, MaxPage)
		if err := tx.QueryRow(ctx, query, nil, part.count, part.since, &sums[i]); err != nil {
			return CardsWaiting{}, fmt.Errorf("measure the charges: %w", err)
		}
	}
	w.Apart = sums[0] + sums[1] + sums[2]
	return w, nil
}
