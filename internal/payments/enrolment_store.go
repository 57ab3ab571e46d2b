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

// EnrolmentEvent is a change of an enrolment's state.
type EnrolmentEvent struct {
	At     time.Time
	Actor  string
	From   EnrolmentState // empty for the first
	To     EnrolmentState
	Reason string
}

// change moves an enrolment on, and records it.
func (e *Enrolment) change(ctx context.Context, tx *sqldb.Tx, to EnrolmentState, actor, reason string, at time.Time) error {
	from := e.State
	if !slices.Contains(enrolmentSteps(from), to) {
		return ledger.Errorf(ledger.CodeConflict, "enrolment %s is %s and cannot become %s", e.ID, from, to).InField("enrolment")
	}
	if !to.Open() {
		e.ClosedAt = at
	}
	ordinal := e.events
	e.State, e.Reason, e.events = to, reason, e.events+1
	if to != EnrolmentSecretSet { // which is passed through: the next change is of the same transaction
		_, err := tx.Exec(ctx, "UPDATE enrolments SET state = $1, reason = $2, events = $3, customer_id = $4, closed_at = $5 WHERE id = $6",
			string(to), reason, e.events, sqldb.NullUUID(e.CustomerID), e.ClosedAt, e.ID)
		if err != nil {
			return fmt.Errorf("change enrolment %s to %s: %w", e.ID, to, err)
		}
	}
	if to == EnrolmentRefused || to == EnrolmentExpired {
		if err := detachCardsOf(ctx, tx, e.ID, ReasonNotEnrolled, at); err != nil {
			return err
		}
	}
	return recordEnrolmentEvent(ctx, tx, *e, ordinal, from, actor, at)
}

func recordEnrolmentEvent(ctx context.Context, tx *sqldb.Tx, e Enrolment, ordinal int64, from EnrolmentState, actor string, at time.Time) error {
	_, err := tx.Exec(ctx, "INSERT INTO enrolment_events (enrolment_id, ordinal, at, actor, from_state, to_state, reason) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		e.ID, ordinal, at, actor, string(from), string(e.State), e.Reason)
	if err != nil {
		return fmt.Errorf("record the change of enrolment %s: %w", e.ID, err)
	}
	return nil
}

const enrolmentColumns = "id, phone, name, named, language, state, reason, events, customer_id, created_at, expires_at, closed_at"

func enrolments(ctx context.Context, tx *sqldb.Tx, where string, args []any, tail string) ([]Enrolment, error) {
	return sqldb.Collect(ctx, tx, "SELECT "+enrolmentColumns+" FROM enrolments WHERE "+where+tail, args, func(rows *sqldb.Rows) (Enrolment, error) {
		var e Enrolment
		var named int64
		err := rows.Scan(&e.ID, &e.Phone, &e.Name, &named, &e.Language, &e.State, &e.Reason, &e.events, &e.CustomerID, &e.CreatedAt, &e.ExpiresAt, &e.ClosedAt)
		e.Named = named != 0
		return e, err
	})
}

// FindEnrolment returns the enrolment with the given id, or CodeNotFound.
func FindEnrolment(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) (Enrolment, error) {
	return oneEnrolment(ctx, tx, id, "")
}

func lockEnrolment(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) (Enrolment, error) {
	return oneEnrolment(ctx, tx, id, tx.ForUpdate())
}

func oneEnrolment(ctx context.Context, tx *sqldb.Tx, id uuid.UUID, tail string) (Enrolment, error) {
	list, err := enrolments(ctx, tx, "id = $1", []any{id}, tail)
	if err != nil {
		return Enrolment{}, fmt.Errorf("find enrolment %s: %w", id, err)
	}
	if len(list) == 0 {
		return Enrolment{}, ledger.Errorf(ledger.CodeNotFound, "there is no enrolment %s", id).InField("enrolment")
	}
	return list[0], nil
}

// EnrolmentFilter selects a page of enrolments, oldest first.
type EnrolmentFilter struct {
	State EnrolmentState // empty: any
	After Cursor
	Limit int // 1 to MaxPage
}

// Cursor returns the place of an enrolment in their list.
func (e Enrolment) Cursor() Cursor { return Cursor{At: e.CreatedAt, ID: e.ID} }

// ListEnrolments returns a page of enrolments.
func ListEnrolments(ctx context.Context, tx *sqldb.Tx, f EnrolmentFilter) ([]Enrolment, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	var c sqldb.Where
	if f.State != "" {
		states := []EnrolmentState{EnrolmentStarted, EnrolmentPhoneVerified, EnrolmentCard, EnrolmentEnrolled, EnrolmentRefused, EnrolmentExpired}
		if !slices.Contains(states, f.State) {
			return nil, ledger.Errorf(ledger.CodeInvalid, "%q is not a state of an enrolment; use one of %v", clip(string(f.State)), states).InField("state")
		}
		c.And("state = ?", string(f.State))
	}
	createdBetween(&c, time.Time{}, time.Time{}, f.After)
	list, err := enrolments(ctx, tx, c.Condition(), c.Args, fmt.Sprintf(" ORDER BY created_at, id LIMIT %d", f.Limit))
	if err != nil {
		return nil, fmt.Errorf("list enrolments: %w", err)
	}
	return list, nil
}

// EnrolmentEvents returns what happened to an enrolment, oldest first.
func EnrolmentEvents(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) ([]EnrolmentEvent, error) {
	list, err := sqldb.Collect(ctx, tx, fmt.Sprintf("SELECT at, actor, from_state, to_state, reason FROM enrolment_events WHERE enrolment_id = $1 ORDER BY ordinal LIMIT %d", MaxPage),
		[]any{id}, func(rows *sqldb.Rows) (EnrolmentEvent, error) {
			var e EnrolmentEvent
			err := rows.Scan(&e.At, &e.Actor, &e.From, &e.To, &e.Reason)
			return e, err
		})
	if err != nil {
		return nil, fmt.Errorf("list the events of enrolment %s: %w", id, err)
	}
	return list, nil
}

// ExpireEnrolments ends the enrolments whose term is over, forgets name and number of
// those that came to nothing TextRetention ago, and one-time codes that nobody counts
// any more; of each at most limit. It returns the most that it did of one of them. Any
// number of processes may run it.
func (s *Service) ExpireEnrolments(ctx context.Context, limit int) (int, error) {
	if err := sqldb.CheckPage(limit, MaxPage); err != nil {
		return 0, err
	}
	now := s.engine.Now()
	var due []Enrolment
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		due, err = enrolments(ctx, tx, "closed_at IS NULL AND expires_at <= $1", []any{now}, fmt.Sprintf(" ORDER BY expires_at, id LIMIT %d", limit))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("look for enrolments to expire: %w", err)
	}
	var failures error
	for _, e := range due {
		failures = errors.Join(failures, s.expireEnrolment(ctx, e.ID, now))
	}
	forgotten, err := s.forgetEnrolments(ctx, now, limit)
	return max(len(due), forgotten), errors.Join(failures, err)
}

func (s *Service) expireEnrolment(ctx context.Context, id uuid.UUID, now time.Time) error {
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		e, err := lockEnrolment(ctx, tx, id)
		if err != nil || !e.State.Open() || now.Before(e.ExpiresAt) {
			return err
		}
		if err := endCodes(ctx, tx, e.ID, now); err != nil {
			return err
		}
		return e.change(ctx, tx, EnrolmentExpired, ActorService, ReasonTermOver, now)
	})
	if err != nil {
		return fmt.Errorf("expire enrolment %s: %w", id, err)
	}
	return nil
}

func (s *Service) forgetEnrolments(ctx context.Context, now time.Time, limit int) (int, error) {
	var most int64
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		names, err := tx.Exec(ctx, fmt.Sprintf(`UPDATE enrolments SET phone = '', name = '' WHERE id IN (
			SELECT id FROM enrolments WHERE state IN ('refused', 'expired') AND phone <> '' AND closed_at <= $1 ORDER BY closed_at LIMIT %d)`, limit), now.Add(-s.config.TextRetention))
		if err != nil {
			return err
		}
		codes, err := tx.Exec(ctx, fmt.Sprintf(`DELETE FROM one_time_codes WHERE id IN (
			SELECT id FROM one_time_codes WHERE created_at <= $1 ORDER BY created_at LIMIT %d)`, limit), now.Add(-codesKept))
		most = max(names, codes)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("forget enrolments: %w", err)
	}
	return int(most), nil
}

// EnrolmentCounts is what there is to watch.
type EnrolmentCounts struct {
	Open      int64 // enrolments that can go on
	Refused   int64 // in the last 24 hours
	Codes     int64 // one-time codes asked for in the last hour
	Exhausted int64 // guessed at, in the last 24 hours
	Unsent    int64 // that wait to be sent, or were given up, in the last hour
}

// MeasureEnrolments counts up to MaxPage of each.
func MeasureEnrolments(ctx context.Context, tx *sqldb.Tx, now time.Time) (EnrolmentCounts, error) {
	var c EnrolmentCounts
	hour, day := now.Add(-time.Hour), now.Add(-codeDay)
	for _, q := range []struct {
		query string
		args  []any
		to    *int64
	}{
		{"enrolments WHERE closed_at IS NULL", nil, &c.Open},
		{"enrolments WHERE state = 'refused' AND created_at > $1", []any{day}, &c.Refused},
		{"one_time_codes WHERE created_at > $1", []any{hour}, &c.Codes},
		{"one_time_codes WHERE created_at > $1 AND outcome = 'exhausted'", []any{day}, &c.Exhausted},
		{"one_time_codes WHERE created_at > $1 AND status <> 'sent'", []any{hour}, &c.Unsent},
	} {
		err := tx.QueryRow(ctx, fmt.Sprintf("SELECT COUNT(*) FROM (SELECT 1 FROM %s LIMIT %d) AS counted", q.query, MaxPage), q.args, q.to)
		if err != nil {
			return EnrolmentCounts{}, fmt.Errorf("measure enrolments: %w", err)
		}
	}
	return c, nil
}
