package payments

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// OutboxStatus is where something outgoing is.
type OutboxStatus string

// The states of a row of the outbox.
const (
	OutboxPending OutboxStatus = "pending"
	OutboxSent    OutboxStatus = "sent"
	OutboxDead    OutboxStatus = "dead" // given up; staff look and resend
)

// OutboxKind is what goes out.
type OutboxKind string

// The kinds of row.
const (
	OutboxReply        OutboxKind = "reply"
	OutboxNotice       OutboxKind = "notice"
	OutboxAnnouncement OutboxKind = "announcement" // a post of the service's own, which answers nobody
	// OutboxDirectMessage answers what came by direct message, or what only the
	// writer may know.
	OutboxDirectMessage OutboxKind = "direct_message"
)

// OutboxRow is something outgoing, with how far its sending got.
type OutboxRow struct {
	ID             uuid.UUID
	Kind           OutboxKind
	Queue          string // what goes out in order: a conversation, a customer's notices, messages to a user
	Channel        string // of all but a notice
	InReplyTo      string // the message that it answers, also where that is by direct message
	ConversationID string
	RecipientID    string    // user id that a direct message goes to; empty for all else
	CustomerID     uuid.UUID // of a notice
	OrderID        uuid.UUID // Nil: about no order
	Template       string    // the order's state, "refused", "ignored" or "confirm"
	Text           string    // of a reply, announcement or direct message
	Status         OutboxStatus
	Attempts       int
	NextAttemptAt  time.Time
	CreatedAt      time.Time
	ClosedAt       time.Time // zero while pending
	ExternalID     string    // the own id that it got on its channel; or see Unanswerable
	LastError      string
	// InDoubt is set where an attempt began whose outcome is not known: a process
	// ended between sending and marking, or the channel did not answer.
	InDoubt  bool
	Decision Verdict // of screening: VerdictAccept or VerdictReject; empty: older than screening
	TextHash []byte  // keyed hash of what was sent; of a notice once it was written
}

// Unanswerable reports whether the row was given up since its channel said that what
// it answers is gone, or hidden from us.
func (r OutboxRow) Unanswerable() bool { return r.Status == OutboxDead && r.ExternalID == externalGone }

// Cursor returns the place of a row in the list of the outbox.
func (r OutboxRow) Cursor() Cursor { return Cursor{At: r.CreatedAt, ID: r.ID} }

// PendingCursor returns the place of a row in the list of pending rows. A try moves a
// row back in it, so that a later page may have the row again.
func (r OutboxRow) PendingCursor() Cursor { return Cursor{At: r.NextAttemptAt, ID: r.ID} }

var outboxNamespace = uuid.MustParse("2d1f3c68-9b0e-5b77-b1d5-44e5a0c0a9d3")

// outboxID makes sure that nothing is said twice, whatever is run again.
func outboxID(kind OutboxKind, template string, about uuid.UUID) uuid.UUID {
	return uuid.NewSHA1(outboxNamespace, []byte(string(kind)+"\x00"+template+"\x00"+about.String()))
}

// reply answers the message that is being handled.
func (h handling) reply(ctx context.Context, m InboxMessage, template, text string, o *Order) error {
	return h.insertOutbox(ctx, h.tx, h.replyOf(m, template, text, o))
}

// replyOf is the answer to the message that is being handled.
func (h handling) replyOf(m InboxMessage, template, text string, o *Order) OutboxRow {
	row := answer(m, "handled", m.RowID)
	row.Template, row.Text, row.NextAttemptAt, row.CreatedAt = template, text, h.now, h.now
	if o != nil {
		row.OrderID = o.ID
	}
	return row
}

// answer begins an answer to m, the way m came: what was written in private is
// answered in private. what and about name it, once and for ever.
func answer(m InboxMessage, what string, about uuid.UUID) OutboxRow {
	row := OutboxRow{Kind: OutboxReply, Queue: conversation(m.Channel, m.ConversationID, m.FirstID), Channel: m.Channel, InReplyTo: m.ID, ConversationID: m.ConversationID}
	if m.Kind == Direct {
		row.Kind, row.Queue, row.RecipientID = OutboxDirectMessage, directMessages(m.Channel, m.AuthorID), m.AuthorID
	}
	row.ID = outboxID(row.Kind, what, about)
	return row
}

// directMessages is the queue of the direct messages to a user.
func directMessages(channel, userID string) string { return channel + ":direct:" + userID }

// replyTo answers the message that an order came from with what became of it.
func (s *Service) replyTo(ctx context.Context, tx *sqldb.Tx, o Order, now time.Time) error {
	m, err := FindMessage(ctx, tx, o.MessageID)
	if err != nil {
		return err
	}
	return s.answerTx(ctx, tx, m, o, string(o.State), string(o.State), closedText(o)+reference(o), now)
}

// sayTx answers the message that an order came from in words of its own. what
// names the occasion: an order has one answer on each.
func (s *Service) sayTx(ctx context.Context, tx *sqldb.Tx, o Order, what, text string, now time.Time) error {
	m, err := FindMessage(ctx, tx, o.MessageID)
	if err != nil {
		return err
	}
	return s.answerTx(ctx, tx, m, o, what, string(o.State), text, now)
}

func (s *Service) answerTx(ctx context.Context, tx *sqldb.Tx, m InboxMessage, o Order, what, template, text string, now time.Time) error {
	row := answer(m, what, o.ID)
	row.OrderID, row.Template, row.Text, row.NextAttemptAt, row.CreatedAt = o.ID, template, text, now, now
	return s.insertOutbox(ctx, tx, row)
}

// noticeOf calls the payer to the confirmation page. Its text, with the link and
// the telephone number, is made when it is sent.
func noticeOf(o Order, now time.Time) OutboxRow {
	return OutboxRow{ID: outboxID(OutboxNotice, templateNotice, o.ID), Kind: OutboxNotice, Queue: "customer:" + o.PayerID.String(), CustomerID: o.PayerID,
		OrderID: o.ID, Template: templateNotice, NextAttemptAt: now, CreatedAt: now}
}

// conversation is the queue of a reply: those of one conversation go out in order.
func conversation(channel, conversationID, firstID string) string {
	if conversationID == "" {
		conversationID = firstID
	}
	return channel + ":" + conversationID
}

var outboxTable = []sqldb.Column{
	{Name: "id", Type: "uuid"}, {Name: "kind", Type: "text"}, {Name: "queue", Type: "text"}, {Name: "channel", Type: "text"},
	{Name: "in_reply_to", Type: "text"}, {Name: "conversation_id", Type: "text"}, {Name: "recipient_id", Type: "text"},
	{Name: "customer_id", Type: "uuid"}, {Name: "order_id", Type: "uuid"}, {Name: "template", Type: "text"}, {Name: "text", Type: "text"},
	{Name: "status", Type: "text"}, {Name: "attempts", Type: "int8"}, {Name: "next_attempt_at", Type: "timestamptz"},
	{Name: "created_at", Type: "timestamptz"}, {Name: "closed_at", Type: "timestamptz"}, {Name: "external_id", Type: "text"},
	{Name: "last_error", Type: "text"}, {Name: "decision", Type: "text"}, {Name: "text_hash", Type: "bytea"}, {Name: "turn", Type: "int8"},
}

// insertOutbox puts rows last into their queues, also where the clocks of two nodes
// disagree on what was said first. What screening does not let out is kept, dead.
func (s *Service) insertOutbox(ctx context.Context, tx *sqldb.Tx, list ...OutboxRow) error {
	last, err := endsOfQueues(ctx, tx, list)
	if err != nil {
		return err
	}
	waits := make(map[string]bool, len(last)) // queues in which something is pending
	for queue, end := range last {
		waits[queue] = !end.IsZero()
	}
	err = tx.Insert(ctx, "outbox", outboxTable, len(list), func(i int) []any {
		r := list[i]
		if end := last[r.Queue]; !r.CreatedAt.After(end) {
			r.CreatedAt = end.Add(time.Microsecond)
		}
		last[r.Queue] = r.CreatedAt
		r.Status = OutboxPending
		if r.Decision, r.LastError = screenOutgoing(r); r.Decision == VerdictReject {
			r.Status, r.ClosedAt = OutboxDead, r.CreatedAt
			s.log.ErrorContext(ctx, "screening keeps back what was to go out", "row", r.ID, "kind", r.Kind, "order", r.OrderID, "reason", r.LastError)
		}
		if r.Text != "" {
			r.TextHash = s.TextHash(r.Text)
		}
		turn := !waits[r.Queue]
		waits[r.Queue] = waits[r.Queue] || r.Status == OutboxPending
		return []any{r.ID, string(r.Kind), r.Queue, r.Channel, r.InReplyTo, r.ConversationID, r.RecipientID,
			sqldb.NullUUID(r.CustomerID), sqldb.NullUUID(r.OrderID), r.Template, r.Text,
			string(r.Status), int64(0), r.NextAttemptAt, r.CreatedAt, r.ClosedAt, "",
			r.LastError, string(r.Decision), nullBytes(r.TextHash), sqldb.Flag(turn)}
	})
	if err != nil {
		return fmt.Errorf("put %d rows into the outbox: %w", len(list), err)
	}
	return nil
}

// endsQuery finds when the last pending row of each queue of ROWS was put into it, by an
// index and a row a queue, however long the queues are.
const endsQuery = `SELECT d.name, (SELECT o.created_at FROM outbox AS o WHERE o.queue = d.name AND o.status = 'pending' ORDER BY o.created_at DESC LIMIT 1) FROM ROWS AS d`

var endsColumns = []sqldb.Column{{Name: "name", Type: "text"}}

// endsOfQueues returns when the last row was put into each queue that rows go into.
func endsOfQueues(ctx context.Context, tx *sqldb.Tx, list []OutboxRow) (map[string]time.Time, error) {
	last := make(map[string]time.Time, len(list))
	var queues []string
	for _, row := range list {
		if _, known := last[row.Queue]; !known {
			last[row.Queue] = time.Time{}
			queues = append(queues, row.Queue)
		}
	}
	err := tx.EachOfRows(ctx, endsQuery, endsColumns, len(queues), func(i int) []any { return []any{queues[i]} },
		func(rows *sqldb.Rows) error {
			var queue string
			var at time.Time
			err := rows.Scan(&queue, &at)
			last[queue] = at
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("find the ends of queues of the outbox: %w", err)
	}
	return last, nil
}

const outboxColumns = `id, kind, queue, channel, in_reply_to, conversation_id, recipient_id, customer_id, order_id, template, text, status, attempts,
	next_attempt_at, created_at, closed_at, external_id, last_error, in_doubt, COALESCE(decision, ''), text_hash`

func outboxRows(ctx context.Context, tx *sqldb.Tx, where string, args []any, tail string) ([]OutboxRow, error) {
	return outboxRowsBy(ctx, tx, "", where, args, tail)
}

// outboxRowsBy is outboxRows, read by an index; empty: by any.
func outboxRowsBy(ctx context.Context, tx *sqldb.Tx, index, where string, args []any, tail string) ([]OutboxRow, error) {
	var list []OutboxRow
	err := tx.Each(ctx, "SELECT "+outboxColumns+" FROM outbox AS o"+index+" WHERE "+where+tail, args, func(rows *sqldb.Rows) error {
		var r OutboxRow
		var inDoubt int64
		err := rows.Scan(&r.ID, &r.Kind, &r.Queue, &r.Channel, &r.InReplyTo, &r.ConversationID, &r.RecipientID, &r.CustomerID, &r.OrderID, &r.Template, &r.Text,
			&r.Status, &r.Attempts, &r.NextAttemptAt, &r.CreatedAt, &r.ClosedAt, &r.ExternalID, &r.LastError, &inDoubt, &r.Decision, &r.TextHash)
		r.InDoubt = inDoubt != 0
		list = append(list, r)
		return err
	})
	return list, err
}

// OutboxFilter selects a page of the outbox: what is pending in the order in which it is
// tried, all else oldest first.
type OutboxFilter struct {
	Status  OutboxStatus // empty: any
	Kind    OutboxKind   // empty: any
	OrderID uuid.UUID    // Nil: any
	After   Cursor       // OutboxRow.Cursor of the last row seen, for pending ones PendingCursor; zero: from the first
	Limit   int          // 1 to MaxPage
}

// ListOutbox returns a page of the outbox. Whatever is asked for, it is read from an
// index in its order, so that a page costs the same however much was sent before.
func ListOutbox(ctx context.Context, tx *sqldb.Tx, f OutboxFilter) ([]OutboxRow, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	if f.Status != "" && f.Status != OutboxPending && f.Status != OutboxSent && f.Status != OutboxDead {
		return nil, ledger.Errorf(ledger.CodeInvalid, "%q is not a status of the outbox; use pending, sent or dead", clip(string(f.Status))).InField("status")
	}
	if f.Kind != "" && !slices.Contains(outboxKinds(), f.Kind) {
		return nil, ledger.Errorf(ledger.CodeInvalid, "%q is not a kind of the outbox; use one of %v", clip(string(f.Kind)), outboxKinds()).InField("kind")
	}
	var list []OutboxRow
	for _, page := range f.pages() {
		part, err := outboxRows(ctx, tx, page.where, page.args, page.tail)
		if err != nil {
			return nil, fmt.Errorf("list the outbox: %w", err)
		}
		list = append(list, part...)
	}
	if f.Status != OutboxPending { // the kinds one after the other
		slices.SortFunc(list, func(a, b OutboxRow) int {
			return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), bytes.Compare(a.ID[:], b.ID[:]))
		})
	}
	return list[:min(len(list), f.Limit)], nil
}

// outboxPage is a query of a list of the outbox, with the index that it is read from.
type outboxPage struct {
	index       string
	where, tail string
	args        []any
}

// pages returns the queries that together have the page. Of pending and dead rows there
// are few, with an index each; all others are read kind by kind.
func (f OutboxFilter) pages() []outboxPage {
	page := func(index, at string, kind OutboxKind) outboxPage {
		var c sqldb.Where
		few := f.Status == OutboxPending || f.Status == OutboxDead
		switch {
		case few: // written out: an index of some rows is only used where the query says which
			c.And("status = '" + string(f.Status) + "'")
		case f.Status != "":
			c.And("status = ?", string(f.Status))
		}
		switch {
		case kind != "" && few: // no index of all rows of a kind fits that
			c.And("kind || '' = ?", string(kind))
		case kind != "":
			c.And("kind = ?", string(kind))
		}
		if f.OrderID != uuid.Nil {
			c.And("order_id = ?", f.OrderID)
		}
		if !f.After.At.IsZero() {
			f.After.behind(&c, at)
		}
		return outboxPage{index: index, where: c.Condition(), args: c.Args, tail: fmt.Sprintf(" ORDER BY %s, id LIMIT %d", at, f.Limit)}
	}
	switch {
	case f.OrderID != uuid.Nil && f.Status == OutboxPending:
		return []outboxPage{page("outbox_of_order", "next_attempt_at", f.Kind)}
	case f.OrderID != uuid.Nil:
		return []outboxPage{page("outbox_of_order", "created_at", f.Kind)}
	case f.Status == OutboxPending:
		return []outboxPage{page("outbox_due", "next_attempt_at", f.Kind)}
	case f.Status == OutboxDead:
		return []outboxPage{page("outbox_dead", "created_at", f.Kind)}
	case f.Kind != "":
		return []outboxPage{page("outbox_by_kind", "created_at", f.Kind)}
	}
	var all []outboxPage
	for _, kind := range outboxKinds() {
		all = append(all, page("outbox_by_kind", "created_at", kind))
	}
	return all
}

func outboxKinds() []OutboxKind {
	return []OutboxKind{OutboxReply, OutboxDirectMessage, OutboxNotice, OutboxAnnouncement}
}

// FindOutbox returns the row with the given id, or CodeNotFound.
func FindOutbox(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) (OutboxRow, error) {
	list, err := outboxRows(ctx, tx, "id = $1", []any{id}, "")
	if err != nil {
		return OutboxRow{}, fmt.Errorf("find row %s of the outbox: %w", id, err)
	}
	if len(list) == 0 {
		return OutboxRow{}, ledger.Errorf(ledger.CodeNotFound, "there is no row %s in the outbox", id).InField("outbox")
	}
	return list[0], nil
}

// giveTurn lets the first row of a queue go out, after the one before it was closed.
// Whose turn it is may be said of too many rows, as a claim looks for earlier ones,
// but never of too few: transactions that put rows in and close them see each other.
func giveTurn(ctx context.Context, tx *sqldb.Tx, queue string) error {
	_, err := tx.Exec(ctx, `UPDATE outbox SET turn = 1 WHERE status = 'pending' AND turn = 0
		AND id = (SELECT o.id FROM outbox AS o WHERE o.queue = $1 AND o.status = 'pending' ORDER BY o.created_at, o.id LIMIT 1)`, queue)
	if err != nil {
		return fmt.Errorf("let the next of queue %s go out: %w", queue, err)
	}
	return nil
}

// Resend gives a dead row new tries. Whether an earlier one sent it after all is
// looked up first where that is in doubt. A row that is not dead is CodeNotFound,
// one that screening keeps back, or that told a balance, CodeConflict.
func (s *Service) Resend(ctx context.Context, id uuid.UUID) error {
	now := s.engine.Now()
	return s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		row, err := FindOutbox(ctx, tx, id)
		if err != nil {
			return err
		}
		switch {
		case row.Status != OutboxDead:
			return ledger.Errorf(ledger.CodeNotFound, "there is no dead row %s in the outbox: it is %s", id, row.Status).InField("outbox")
		case row.Template == templateBalance && row.Text == "":
			return ledger.Errorf(ledger.CodeConflict, "row %s told a balance, which is not kept; the customer asks again", id).InField("outbox")
		case row.Decision == VerdictReject:
			return ledger.Errorf(ledger.CodeConflict, "row %s is kept back by screening (%s) and is never sent", id, row.LastError).InField("outbox")
		}
		_, err = tx.Exec(ctx, "UPDATE outbox SET status = 'pending', turn = 1, attempts = 0, next_attempt_at = $1, closed_at = NULL WHERE id = $2 AND status = 'dead'", now, id)
		if err != nil {
			return fmt.Errorf("resend %s: %w", id, err)
		}
		return nil
	})
}
