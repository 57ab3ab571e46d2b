package payments

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
)

const registrationColumns = `id, owner_id, state, reason, detail, country, COALESCE(reference, ''), COALESCE(page_url, ''), card_id, attempts, due_at,
	created_at, expires_at, changed_at`

func registrations(ctx context.Context, tx *sqldb.Tx, where string, args []any, tail string) ([]CardRegistration, error) {
	list, err := sqldb.Collect(ctx, tx, "SELECT "+registrationColumns+" FROM card_registrations WHERE "+where+tail, args, func(rows *sqldb.Rows) (CardRegistration, error) {
		var r CardRegistration
		err := rows.Scan(&r.ID, &r.OwnerID, &r.State, &r.Reason, &r.Detail, &r.Country, &r.Reference, &r.PageURL, &r.CardID, &r.Attempts, &r.DueAt,
			&r.CreatedAt, &r.ExpiresAt, &r.ChangedAt)
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("find registrations of cards: %w", err)
	}
	return list, nil
}

// RegistrationsOf returns the newest registrations of cards of a customer or enrolment,
// the newest first, at most limit of them.
func RegistrationsOf(ctx context.Context, tx *sqldb.Tx, owner uuid.UUID, limit int) ([]CardRegistration, error) {
	if err := sqldb.CheckPage(limit, MaxPage); err != nil {
		return nil, err
	}
	return registrations(ctx, tx, "owner_id = $1", []any{owner}, fmt.Sprintf(" ORDER BY created_at DESC, id LIMIT %d", limit))
}

func insertRegistration(ctx context.Context, tx *sqldb.Tx, r CardRegistration, returnHash []byte) error {
	_, err := tx.Exec(ctx, `INSERT INTO card_registrations (id, owner_id, return_hash, state, reason, detail, country, attempts, due_at, created_at, expires_at, changed_at)
		VALUES ($1, $2, $3, $4, '', '', '', 0, $5, $6, $7, $8)`, r.ID, r.OwnerID, returnHash, string(r.State), r.DueAt, r.CreatedAt, r.ExpiresAt, r.ChangedAt)
	if err != nil {
		return fmt.Errorf("store the registration of a card: %w", err)
	}
	return nil
}

func updateRegistration(ctx context.Context, tx *sqldb.Tx, r CardRegistration) error {
	_, err := tx.Exec(ctx, `UPDATE card_registrations SET state = $1, reason = $2, detail = $3, country = $4, reference = $5, page_url = $6, card_id = $7, due_at = $8,
		changed_at = $9 WHERE id = $10`, string(r.State), r.Reason, r.Detail, r.Country, sqldb.NullText(r.Reference), sqldb.NullText(r.PageURL), sqldb.NullUUID(r.CardID),
		r.DueAt, r.ChangedAt, r.ID)
	if err != nil {
		return fmt.Errorf("change the registration of a card: %w", err)
	}
	return nil
}

// SweepCards looks at the registrations of cards that are due, and has the processor
// forget the cards that it is to forget; of each at most limit. A page whose time is over
// is closed at the processor. Any number of processes may run it. It returns the most that
// it did of one of them; the error joins all failures.
func (s *Service) SweepCards(ctx context.Context, limit int) (int, error) {
	if err := sqldb.CheckPage(limit, MaxPage); err != nil {
		return 0, err
	}
	if s.processor == nil {
		return 0, nil
	}
	var due []CardRegistration
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		due, err = registrations(ctx, tx, "due_at <= $1", []any{s.engine.Now()}, fmt.Sprintf(" ORDER BY due_at, id LIMIT %d", limit))
		return err
	})
	if err != nil {
		return 0, err
	}
	looked := 0
	var failures error
	for _, r := range due {
		got, err := s.claimRegistration(ctx, r)
		if err == nil && got {
			looked++
			err = s.workOnRegistration(ctx, r)
		}
		if ctx.Err() != nil {
			return looked, ctx.Err()
		}
		if err != nil {
			s.log.WarnContext(ctx, "the registration of a card waits", "registration", r.ID, "err", err)
			failures = errors.Join(failures, err)
		}
	}
	forgotten, err := s.forgetCards(ctx, limit)
	return max(looked, forgotten), errors.Join(failures, err)
}

// claimRegistration keeps other processes from a registration until the pause is over,
// and reports whether it was still due.
func (s *Service) claimRegistration(ctx context.Context, r CardRegistration) (bool, error) {
	until := s.engine.Now().Add(backOff(r.Attempts+1, firstPagePause, longestPagePause))
	if s.engine.Now().Before(r.ExpiresAt) && r.ExpiresAt.Before(until) {
		until = r.ExpiresAt
	}
	got := false
	err := s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, "UPDATE card_registrations SET attempts = attempts + 1, due_at = $1 WHERE id = $2 AND due_at = $3", until, r.ID, r.DueAt)
		got = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("claim the registration of a card: %w", err)
	}
	return got, nil
}

// workOnRegistration does what is due about a registration. One whose page nobody ever saw
// has none to be completed on.
func (s *Service) workOnRegistration(ctx context.Context, r CardRegistration) error {
	over := !s.engine.Now().Before(r.ExpiresAt)
	var err error
	switch {
	case r.State == RegistrationRequested && over:
		_, err = s.abandon(ctx, r.ID)
	case r.State == RegistrationRequested:
	case over:
		_, err = s.lookAtPage(ctx, r, s.processor.CloseCardPage)
	default:
		_, err = s.lookAtPage(ctx, r, s.processor.LookupCardPage)
	}
	return err
}

// hearOfPage notes that the card processor has news of its page, and reports whether that
// is one of ours.
func hearOfPage(ctx context.Context, tx *sqldb.Tx, reference string, now time.Time) (bool, error) {
	list, err := registrations(ctx, tx, "reference = $1", []any{reference}, "")
	if err != nil || len(list) == 0 {
		return false, err
	}
	_, err = tx.Exec(ctx, "UPDATE card_registrations SET due_at = $1 WHERE reference = $2 AND due_at > $1", now, reference)
	return true, err
}

// detachment is a card that the processor is to forget.
type detachment struct {
	token    string
	attempts int
	dueAt    time.Time
}

// detachCard has the card processor told to forget a card, once what is written here is
// committed. It is tried until it is done, with pauses up to longestChargePause.
func detachCard(ctx context.Context, tx *sqldb.Tx, token, why string, now time.Time) error {
	_, err := tx.Exec(ctx, "INSERT INTO card_detachments (token, reason, attempts, due_at, created_at) VALUES ($1, $2, 0, $3, $3) ON CONFLICT DO NOTHING", token, why, now)
	if err != nil {
		return fmt.Errorf("note a card to be forgotten: %w", err)
	}
	return nil
}

// detachCardsOf ends the cards of an enrolment that comes to nothing.
func detachCardsOf(ctx context.Context, tx *sqldb.Tx, owner uuid.UUID, why string, now time.Time) error {
	active, err := findCards(ctx, tx, "customer_id = $1 AND state = 'active'", []any{owner}, "")
	if err != nil {
		return err
	}
	for i := range active {
		if err := removeCard(ctx, tx, &active[i], why, now); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) forgetCards(ctx context.Context, limit int) (int, error) {
	var due []detachment
	now := s.engine.Now()
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		due, err = sqldb.Collect(ctx, tx, fmt.Sprintf("SELECT token, attempts, due_at FROM card_detachments WHERE due_at <= $1 ORDER BY due_at, token LIMIT %d", limit), []any{now},
			func(rows *sqldb.Rows) (d detachment, err error) {
				err = rows.Scan(&d.token, &d.attempts, &d.dueAt)
				return d, err
			})
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("look for cards to be forgotten: %w", err)
	}
	var failures error
	for _, d := range due {
		if err := s.forgetCard(ctx, d); err != nil {
			if ctx.Err() != nil {
				return len(due), err
			}
			s.log.WarnContext(ctx, "the card processor has not forgotten a card yet", "err", err)
			failures = errors.Join(failures, err)
		}
	}
	return len(due), failures
}

func (s *Service) forgetCard(ctx context.Context, d detachment) error {
	until, got := s.engine.Now().Add(backOff(d.attempts+1, firstChargePause, longestChargePause)), false
	err := s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, "UPDATE card_detachments SET attempts = attempts + 1, due_at = $1 WHERE token = $2 AND due_at = $3", until, d.token, d.dueAt)
		got = n == 1
		return err
	})
	if err != nil || !got {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, processorTimeout)
	defer cancel()
	if err := s.processor.ForgetCard(asking, d.token); err != nil {
		return fmt.Errorf("have the card processor forget a card: %w", err)
	}
	return s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM card_detachments WHERE token = $1", d.token)
		return err
	})
}
