package payments

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Messages that wait are handled many in one transaction, and what is the same for all
// of them is read and written by one statement: what they are, who wrote them, whom
// they pay, the money held, the orders, the answers. Each is judged by itself, as if it
// were alone, and in the order of its writer.

// together handles messages in one transaction and returns what became of each. Where
// one of them fails none is handled.
func (s *Service) together(ctx context.Context, ids []uuid.UUID) ([]Handled, error) {
	var done []Handled
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		h := handling{Service: s, tx: tx, now: s.engine.Now()}
		var err error
		done, err = h.all(ctx, ids)
		return err
	})
	return done, err
}

// handling is the work on messages inside one transaction.
type handling struct {
	*Service
	tx  *sqldb.Tx
	now time.Time
}

// work is a message that is to be handled.
type work struct {
	m       InboxMessage
	parsed  Parsed
	plain   bool // the inbox has nothing else of its edit chain
	handled Handled
}

// all handles messages in rounds.
func (h handling) all(ctx context.Context, ids []uuid.UUID) ([]Handled, error) {
	list, err := h.lock(ctx, ids)
	if err != nil {
		return nil, err
	}
	open := make([]*work, 0, len(list))
	for _, w := range list {
		if !w.m.HandledAt.IsZero() {
			if w.handled, err = h.again(ctx, w.m); err != nil {
				return nil, err
			}
			continue
		}
		w.parsed = h.parse(w.m.Message)
		open = append(open, w)
	}
	if len(open) > 0 {
		if err := h.findPlain(ctx, open); err != nil {
			return nil, err
		}
		who, err := h.findParties(ctx, open)
		if err != nil {
			return nil, err
		}
		for len(open) > 0 {
			var round []*work
			round, open = nextRound(open, who)
			h.now = h.engine.Now()
			if err := h.round(ctx, round, who); err != nil {
				return nil, err
			}
		}
	}
	done := make([]Handled, len(list))
	for i, w := range list {
		done[i] = w.handled
	}
	return done, nil
}

// lock reads messages in the order of ids, and locks them in one that is the same for
// everybody.
func (h handling) lock(ctx context.Context, ids []uuid.UUID) ([]*work, error) {
	found, err := messages(ctx, h.tx, h.tx.AnyUUID("id", 1), []any{ids}, " ORDER BY id"+h.tx.ForUpdate())
	if err != nil {
		return nil, err
	}
	byID := make(map[uuid.UUID]*work, len(found))
	for _, m := range found {
		byID[m.RowID] = &work{m: m}
	}
	list := make([]*work, len(ids))
	for i, id := range ids {
		if list[i] = byID[id]; list[i] == nil {
			return nil, ledger.Errorf(ledger.CodeNotFound, "there is no message %s in the inbox", id).InField("message")
		}
	}
	return list, nil
}

// relativesQuery finds the messages of ROWS that the inbox has other versions of, or
// that it has under another first id as well. ROWS begins each of its halves, which are
// read by an index.
const relativesQuery = `SELECT d.row_id FROM ROWS AS d CROSS JOIN messages AS x WHERE x.channel = d.in_channel AND x.message_id = d.known_as AND x.id <> d.row_id
	UNION ALL SELECT d.row_id FROM ROWS AS d CROSS JOIN messages AS x WHERE x.channel = d.in_channel AND x.first_id = d.known_as AND x.id <> d.row_id`

var relativesColumns = []sqldb.Column{{Name: "row_id", Type: "uuid"}, {Name: "in_channel", Type: "text"}, {Name: "known_as", Type: "text"}}

// findPlain finds out of which messages there is nothing else in the inbox: no edit, no
// older version, and so no order.
func (h handling) findPlain(ctx context.Context, list []*work) error {
	byID := make(map[uuid.UUID]*work, len(list))
	for _, w := range list {
		byID[w.m.RowID], w.plain = w, w.m.Version == 0
	}
	err := h.tx.EachOfRows(ctx, relativesQuery, relativesColumns, len(list),
		func(i int) []any { return []any{list[i].m.RowID, list[i].m.Channel, list[i].m.ID} },
		func(rows *sqldb.Rows) error {
			var id uuid.UUID
			err := rows.Scan(&id)
			if w := byID[id]; w != nil {
				w.plain = false
			}
			return err
		})
	if err != nil {
		return fmt.Errorf("look for other versions: %w", err)
	}
	return nil
}

// nextRound takes the first message of each person: what somebody wrote is handled in
// its order, and what one message does is there when the next is judged.
func nextRound(list []*work, who parties) (round, rest []*work) {
	taken := make(map[string]bool, len(list))
	for _, w := range list {
		writer := who.writer(w.m)
		if taken[writer] {
			rest = append(rest, w)
			continue
		}
		taken[writer] = true
		round = append(round, w)
	}
	return round, rest
}

// round handles messages of different people. Those with a history are handled one by
// one, as are those that move no money but are answered.
func (h handling) round(ctx context.Context, list []*work, who parties) error {
	var payers []*work
	var payments []*payment
	var quiet []noted
	for _, w := range list {
		var err error
		switch c := w.parsed.Command; {
		case w.plain && c != nil && c.Name == CommandPay:
			payers = append(payers, w)
			payments = append(payments, &payment{m: w.m, c: *c, warned: w.parsed.SecretWarning})
		case w.plain && w.parsed.Ignored != "" && !w.parsed.SecretWarning:
			w.handled = Handled{MessageID: w.m.RowID, Outcome: OutcomeIgnored, Reason: string(w.parsed.Ignored)}
			quiet = append(quiet, noted{m: w.m, handled: w.handled, forget: true})
		default:
			if w.handled, err = h.message(ctx, w.m); err != nil {
				return fmt.Errorf("message %s: %w", w.m.RowID, err)
			}
		}
	}
	if err := h.pay(ctx, payments, who); err != nil {
		return err
	}
	for i, w := range payers {
		w.handled = payments[i].handled
	}
	return h.conclude(ctx, quiet)
}

// noted is what is to be noted of a message.
type noted struct {
	m       InboxMessage
	handled Handled
	command *Command // nil: none
	forget  bool     // its text is none of our business and goes at once
}

var notedColumns = []sqldb.Column{
	{Name: "row_id", Type: "uuid"}, {Name: "at", Type: "timestamptz"}, {Name: "became", Type: "text"}, {Name: "why", Type: "text"},
	{Name: "asked", Type: "jsonb"}, {Name: "made", Type: "uuid"}, {Name: "verdict", Type: "text"}, {Name: "kept", Type: "int8"},
}

// The text of what is deleted already was kept for the parser alone.
const noteOutcomes = `UPDATE messages SET handled_at = d.at, outcome = d.became, reason = d.why, command = d.asked, order_id = d.made, decision = d.verdict,
		text = CASE WHEN d.kept = 1 AND messages.deleted_at IS NULL THEN messages.text END
	FROM ROWS AS d WHERE messages.id = d.row_id AND messages.handled_at IS NULL`

// conclude notes on the rows of the inbox what became of their messages.
func (h handling) conclude(ctx context.Context, list []noted) error {
	commands := make([]any, len(list))
	for i, n := range list {
		var err error
		if commands[i], err = encodeCommand(n.command); err != nil {
			return fmt.Errorf("normalise the command: %w", err)
		}
	}
	n, err := h.tx.ExecRows(ctx, noteOutcomes, notedColumns, len(list), func(i int) []any {
		n, order := list[i], uuid.Nil
		if n.handled.Order != nil {
			order = n.handled.Order.ID
		}
		return []any{n.m.RowID, h.now, string(n.handled.Outcome), n.handled.Reason, commands[i], sqldb.NullUUID(order),
			string(verdictOf(n.handled)), sqldb.Flag(!n.forget)}
	})
	if err != nil {
		return fmt.Errorf("note the outcome: %w", err)
	}
	if n != int64(len(list)) {
		return ledger.Errorf(ledger.CodeConflict, "%d of %d messages were handled by somebody else", int64(len(list))-n, len(list))
	}
	return nil
}

// done notes what became of one message.
func (h handling) done(ctx context.Context, m InboxMessage, handled Handled, c *Command) (Handled, error) {
	handled.MessageID = m.RowID
	return handled, h.conclude(ctx, []noted{{m: m, handled: handled, command: c}})
}
