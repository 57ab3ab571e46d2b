package payouts

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
)

// PayoutEvent is a change that the bank's news made to a payout. Who prepared, approved,
// exported or cancelled it stands in its batch.
type PayoutEvent struct {
	PayoutID uuid.UUID
	Ordinal  int // of the payout, from 1
	At       time.Time
	Actor    string // who imported the news
	From, To State
	Status   Status // of a report; empty: a statement
	Reason   string // ISO code; may be empty
	Info     string // the bank's words, at most MaxInfo characters; may be empty
	Source   string // id of the report or statement
}

// PayoutEvents returns what the bank's news did to a payout, oldest first. There are a
// few at most: a payout never goes back.
func PayoutEvents(ctx context.Context, tx *sqldb.Tx, payoutID uuid.UUID) ([]PayoutEvent, error) {
	list, err := sqldb.Collect(ctx, tx, fmt.Sprintf(`SELECT payout_id, ordinal, at, actor, from_state, to_state, status, reason, info, source
		FROM payout_events WHERE payout_id = $1 ORDER BY ordinal LIMIT %d`, MaxPage), []any{payoutID}, func(rows *sqldb.Rows) (PayoutEvent, error) {
		var e PayoutEvent
		err := rows.Scan(&e.PayoutID, &e.Ordinal, &e.At, &e.Actor, &e.From, &e.To, &e.Status, &e.Reason, &e.Info, &e.Source)
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the history of payout %s: %w", payoutID, err)
	}
	return list, nil
}

// insertEvents appends to the histories of payouts, whose rows the caller has locked.
func insertEvents(ctx context.Context, tx *sqldb.Tx, events []PayoutEvent) error {
	last := map[uuid.UUID]int{}
	ids := make([]uuid.UUID, len(events))
	for i, e := range events {
		ids[i] = e.PayoutID
	}
	for page := range slices.Chunk(ids, MaxPage) {
		err := tx.Each(ctx, "SELECT payout_id, MAX(ordinal) FROM payout_events WHERE "+tx.AnyUUID("payout_id", 1)+" GROUP BY payout_id", []any{page},
			func(rows *sqldb.Rows) error {
				var id uuid.UUID
				var n int
				err := rows.Scan(&id, &n)
				last[id] = n
				return err
			})
		if err != nil {
			return fmt.Errorf("number the events of payouts: %w", err)
		}
	}
	for i := range events {
		last[events[i].PayoutID]++
		events[i].Ordinal = last[events[i].PayoutID]
	}
	err := tx.Insert(ctx, "payout_events", []sqldb.Column{
		{Name: "payout_id", Type: "uuid"}, {Name: "ordinal", Type: "int8"}, {Name: "at", Type: "timestamptz"}, {Name: "actor", Type: "text"},
		{Name: "from_state", Type: "text"}, {Name: "to_state", Type: "text"}, {Name: "status", Type: "text"}, {Name: "reason", Type: "text"},
		{Name: "info", Type: "text"}, {Name: "source", Type: "text"},
	}, len(events), func(i int) []any {
		e := events[i]
		return []any{e.PayoutID, int64(e.Ordinal), e.At, e.Actor, string(e.From), string(e.To), string(e.Status), e.Reason, e.Info, e.Source}
	})
	if err != nil {
		return fmt.Errorf("store the events of payouts: %w", err)
	}
	return nil
}
