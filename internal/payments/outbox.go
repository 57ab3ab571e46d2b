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
	ExternalID     string    // the own id that it got on its channel
	LastError      string
}

// Cursor returns the place of a row in the list of the outbox.
func (r OutboxRow) Cursor() Cursor { return Cursor{At: r.CreatedAt, ID: r.ID} }

var outboxNamespace = uuid.MustParse("2d1f3c68-9b0e-5b77-b1d5-44e5a0c0a9d3")

// outboxID makes sure that nothing is said twice, whatever is run again.
func outboxID(kind OutboxKind, template string, about uuid.UUID) uuid.UUID {
	return uuid.NewSHA1(outboxNamespace, []byte(string(kind)+"\x00"+template+"\x00"+about.String()))
}

// reply answers the message that is being handled.
func (h handling) reply(ctx context.Context, m InboxMessage, template, text string, o *Order) error {
	row, queue := answer(m, "handled", m.RowID)
	row.Template, row.Text, row.NextAttemptAt, row.CreatedAt = template, text, h.now, h.now
	if o != nil {
		row.OrderID = o.ID
	}
	return insertOutbox(ctx, h.tx, row, queue)
}

// answer begins an answer to m, the way m came: what was written in private is
// answered in private. what and about name it, once and for ever. It returns the
// queue that the answer belongs in, too.
func answer(m InboxMessage, what string, about uuid.UUID) (OutboxRow, string) {
	row := OutboxRow{Kind: OutboxReply, Channel: m.Channel, InReplyTo: m.ID, ConversationID: m.ConversationID}
	queue := conversation(m.Channel, m.ConversationID, m.FirstID)
	if m.Kind == Direct {
		row.Kind, row.RecipientID = OutboxDirectMessage, m.AuthorID
		queue = directMessages(m.Channel, m.AuthorID)
	}
	row.ID = outboxID(row.Kind, what, about)
	return row, queue
}

// directMessages is the queue of the direct messages to a user.
func directMessages(channel, userID string) string { return channel + ":direct:" + userID }

// replyTo answers the message that an order came from with what became of it.
func (s *Service) replyTo(ctx context.Context, tx *sqldb.Tx, o Order, now time.Time) error {
	m, err := FindMessage(ctx, tx, o.MessageID)
	if err != nil {
		return err
	}
	row, queue := answer(m, string(o.State), o.ID)
	row.OrderID, row.Template, row.Text, row.NextAttemptAt, row.CreatedAt = o.ID, string(o.State), closedText(o)+reference(o), now, now
	return insertOutbox(ctx, tx, row, queue)
}

// noticeTx calls the payer to the confirmation page. Its text, with the link and
// the telephone number, is made when it is sent.
func (s *Service) noticeTx(ctx context.Context, tx *sqldb.Tx, o Order, now time.Time) error {
	return insertOutbox(ctx, tx, OutboxRow{ID: outboxID(OutboxNotice, templateNotice, o.ID), Kind: OutboxNotice, CustomerID: o.PayerID,
		OrderID: o.ID, Template: templateNotice, NextAttemptAt: now, CreatedAt: now}, "customer:"+o.PayerID.String())
}

// conversation is the queue of a reply: those of one conversation go out in order.
func conversation(channel, conversationID, firstID string) string {
	if conversationID == "" {
		conversationID = firstID
	}
	return channel + ":" + conversationID
}

// insertOutbox puts a row last into its queue, also where the clocks of two nodes
// disagree on what was said first.
func insertOutbox(ctx context.Context, tx *sqldb.Tx, r OutboxRow, queue string) error {
	var last time.Time
	err := tx.QueryRow(ctx, "SELECT MAX(created_at) FROM outbox WHERE queue = $1 AND status = 'pending'", []any{queue}, &last)
	if err != nil {
		return fmt.Errorf("find the end of a queue of the outbox: %w", err)
	}
	if !r.CreatedAt.After(last) {
		r.CreatedAt = last.Add(time.Microsecond)
	}
	_, err = tx.Exec(ctx, `INSERT INTO outbox (id, kind, queue, channel, in_reply_to, conversation_id, recipient_id, customer_id, order_id, template, text,
			status, attempts, next_attempt_at, created_at, external_id, last_error)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'pending', 0, $12, $13, '', '')`,
		r.ID, string(r.Kind), queue, r.Channel, r.InReplyTo, r.ConversationID, r.RecipientID, sqldb.NullUUID(r.CustomerID), sqldb.NullUUID(r.OrderID),
		r.Template, r.Text, r.NextAttemptAt, r.CreatedAt)
	if err != nil {
		return fmt.Errorf("put a %s into the outbox: %w", r.Kind, err)
	}
	return nil
}

const outboxColumns = `id, kind, channel, in_reply_to, conversation_id, recipient_id, customer_id, order_id, template, text, status, attempts,
	next_attempt_at, created_at, closed_at, external_id, last_error`

func outboxRows(ctx context.Context, tx *sqldb.Tx, where string, args []any, tail string) ([]OutboxRow, error) {
	var list []OutboxRow
	err := tx.Each(ctx, "SELECT "+outboxColumns+" FROM outbox AS o WHERE "+where+tail, args, func(rows *sqldb.Rows) error {
		var r OutboxRow
		err := rows.Scan(&r.ID, &r.Kind, &r.Channel, &r.InReplyTo, &r.ConversationID, &r.RecipientID, &r.CustomerID, &r.OrderID, &r.Template, &r.Text,
			&r.Status, &r.Attempts, &r.NextAttemptAt, &r.CreatedAt, &r.ClosedAt, &r.ExternalID, &r.LastError)
		list = append(list, r)
		return err
	})
	return list, err
}

// OutboxFilter selects a page of the outbox, oldest first.
type OutboxFilter struct {
	Status  OutboxStatus // empty: any
	OrderID uuid.UUID    // Nil: any
	After   Cursor
	Limit   int // 1 to MaxPage
}

// ListOutbox returns a page of the outbox.
func ListOutbox(ctx context.Context, tx *sqldb.Tx, f OutboxFilter) ([]OutboxRow, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	var c sqldb.Where
	if f.Status != "" {
		if f.Status != OutboxPending && f.Status != OutboxSent && f.Status != OutboxDead {
			return nil, ledger.Errorf(ledger.CodeInvalid, "%q is not a status of the outbox; use pending, sent or dead", clip(string(f.Status))).InField("status")
		}
		c.And("status = ?", string(f.Status))
	}
	if f.OrderID != uuid.Nil {
		c.And("order_id = ?", f.OrderID)
	}
	createdBetween(&c, time.Time{}, time.Time{}, f.After)
	list, err := outboxRows(ctx, tx, c.Condition(), c.Args, fmt.Sprintf(" ORDER BY created_at, id LIMIT %d", f.Limit))
	if err != nil {
		return nil, fmt.Errorf("list the outbox: %w", err)
	}
	return list, nil
}

// Resend gives a dead row new tries.
func (s *Service) Resend(ctx context.Context, id uuid.UUID) error {
	now := s.engine.Now()
	return s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, "UPDATE outbox SET status = 'pending', attempts = 0, next_attempt_at = $1, closed_at = NULL WHERE id = $2 AND status = 'dead'",
			now, id)
		if err != nil {
			return fmt.Errorf("resend %s: %w", id, err)
		}
		if n == 0 {
			return ledger.Errorf(ledger.CodeNotFound, "there is no dead row %s in the outbox", id).InField("outbox")
		}
		return nil
	})
}

// Delivered counts what a run of Deliver did.
type Delivered struct {
	Sent    int
	Retried int // failed, to be tried again
	Dead    int // given up
}

// Deliver sends what is due, at most limit rows: replies, announcements and direct
// messages through the replier of their channel, notices through notifier. A row is sent at least once: should
// the process end between sending and marking, it is sent again with the same id,
// by which a channel recognises it. What is missing (a channel without replier, a
// nil notifier) stays for a process that has it. Rows of one conversation are
// sent in order. Failures to send are recorded and counted, not returned.
func (s *Service) Deliver(ctx context.Context, repliers map[string]Replier, notifier Notifier, limit int) (Delivered, error) {
	var done Delivered
	if err := sqldb.CheckPage(limit, MaxPage); err != nil {
		return done, err
	}
	for sent := 0; sent < limit; {
		claimed, err := s.claim(ctx, repliers, notifier, min(deliverBatch, limit-sent))
		if err != nil {
			return done, fmt.Errorf("claim what is to be sent: %w", err)
		}
		if len(claimed) == 0 {
			return done, nil
		}
		for _, row := range claimed {
			if err := s.deliver(ctx, row, repliers, notifier, &done); err != nil {
				return done, err
			}
		}
		sent += len(claimed)
	}
	return done, nil
}

// deliverBatch bounds the rows claimed at once, and so how long the last of them
// waits should the process end.
const deliverBatch = 8

// claim takes rows that are due and first in their queue. Their next attempt is
// put off by the lease, which is longer for each since they are sent one after
// the other; attempts says who owns the row: only the claim with the newest
// number may mark it.
func (s *Service) claim(ctx context.Context, repliers map[string]Replier, notifier Notifier, limit int) ([]OutboxRow, error) {
	channels := make([]string, 0, len(repliers)+1)
	for channel := range repliers {
		channels = append(channels, channel)
	}
	if notifier != nil {
		channels = append(channels, "") // a notice has no channel
	}
	var claimed []OutboxRow
	err := s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		claimed = nil
		now := s.engine.Now()
		due, err := outboxRows(ctx, tx, tx.AnyText("channel", 1)+` AND status = 'pending' AND next_attempt_at <= $2 AND NOT EXISTS (
				SELECT 1 FROM outbox AS e WHERE e.queue = o.queue AND e.status = 'pending' AND (e.created_at, e.id) < (o.created_at, o.id))`,
			[]any{channels, now}, fmt.Sprintf(" ORDER BY next_attempt_at, id LIMIT %d", limit))
		if err != nil {
			return err
		}
		for i, row := range due {
			n, err := tx.Exec(ctx, "UPDATE outbox SET attempts = attempts + 1, next_attempt_at = $1 WHERE id = $2 AND status = 'pending' AND attempts = $3",
				now.Add(s.config.Outbox.Lease*time.Duration(i+1)), row.ID, int64(row.Attempts))
			if err != nil {
				return err
			}
			if n == 1 {
				row.Attempts++
				claimed = append(claimed, row)
			}
		}
		return nil
	})
	return claimed, err
}

// markTimeout bounds the marking of a row that was sent while the process is
// asked to stop.
const markTimeout = 10 * time.Second

// deliver sends one row and marks it. Who asks the process to stop waits for both:
// a reply that was sent and not marked would be said twice.
func (s *Service) deliver(ctx context.Context, row OutboxRow, repliers map[string]Replier, notifier Notifier, done *Delivered) error {
	if err := ctx.Err(); err != nil {
		return err // not begun: the lease runs out and somebody else sends it
	}
	finishing := context.WithoutCancel(ctx)
	sendCtx, cancel := context.WithTimeout(finishing, s.config.Outbox.SendTimeout)
	externalID, err := s.send(sendCtx, row, repliers, notifier)
	cancel()
	now := s.engine.Now()
	switch outcome := s.judgeSend(row, err, now); {
	case err == nil:
		row.Status, row.ExternalID, row.LastError, row.ClosedAt = OutboxSent, externalID, "", now
		done.Sent++
	case outcome.dead:
		row.Status, row.LastError, row.ClosedAt = OutboxDead, clipError(err), now
		done.Dead++
		s.log.WarnContext(ctx, "outbox row given up", "row", row.ID, "kind", row.Kind, "order", row.OrderID, "attempts", row.Attempts, "error", row.LastError)
	default:
		row.LastError, row.NextAttemptAt = clipError(err), now.Add(outcome.pause)
		done.Retried++
	}
	markCtx, cancel := context.WithTimeout(finishing, markTimeout)
	defer cancel()
	err = s.db.WriteIdempotent(markCtx, func(ctx context.Context, tx *sqldb.Tx) error {
		next := row.NextAttemptAt
		if row.Status != OutboxPending {
			next = now
		}
		// A row whose lease ran out while it was sent belongs to somebody else now,
		// unless it went out: that is a fact, whoever marks it.
		_, err := tx.Exec(ctx, `UPDATE outbox SET status = $1, external_id = $2, last_error = $3, closed_at = $4, next_attempt_at = $5
			WHERE id = $6 AND status = 'pending' AND (attempts = $7 OR $1 = 'sent')`,
			string(row.Status), row.ExternalID, row.LastError, row.ClosedAt, next, row.ID, int64(row.Attempts))
		return err
	})
	if err != nil {
		return fmt.Errorf("mark %s %s: %w", row.Kind, row.ID, err)
	}
	return nil
}

type sendOutcome struct {
	dead  bool
	pause time.Duration
}

func (s *Service) judgeSend(row OutboxRow, err error, now time.Time) sendOutcome {
	config := s.config.Outbox
	outcome := sendOutcome{dead: row.Attempts >= config.Tries, pause: backOff(row.Attempts, config.FirstPause, config.LongestPause)}
	if refused, ok := errors.AsType[*SendError](err); ok {
		if refused.RetryAfter > 0 && now.Sub(row.CreatedAt) < longestQueue {
			outcome.dead = false // its turn has not come: that is no failure to send it
		}
		outcome.dead = outcome.dead || refused.Permanent
		outcome.pause = max(outcome.pause, min(refused.RetryAfter, longestRetryAfter))
	}
	return outcome
}

// longestQueue bounds how long a row may wait for a channel that says to come
// back later: a week empties the longest queue that X's limit a day makes, and
// after it a receipt is no news.
const longestQueue = 7 * 24 * time.Hour

// longestRetryAfter bounds what a channel may ask for: X's longest window of a
// rate limit is a day.
const longestRetryAfter = 24 * time.Hour

// clipError keeps the beginning of an error, as much as staff read in a list.
func clipError(err error) string {
	const most = 500
	runes := []rune(err.Error())
	return string(runes[:min(len(runes), most)])
}

func (s *Service) send(ctx context.Context, row OutboxRow, repliers map[string]Replier, notifier Notifier) (string, error) {
	if row.Kind != OutboxNotice {
		return repliers[row.Channel].Reply(ctx, Outgoing{ID: row.ID.String(), Channel: row.Channel, InReplyTo: row.InReplyTo,
			ConversationID: row.ConversationID, RecipientID: row.RecipientID, Announcement: row.Kind == OutboxAnnouncement, Text: row.Text})
	}
	notice, err := s.notice(ctx, row)
	if err != nil {
		return "", err
	}
	if notice.Phone == "" {
		return externalObsolete, nil
	}
	return "", notifier.Notify(ctx, notice)
}

// externalObsolete marks a notice that was not sent, since nothing is asked of the
// customer any more.
const externalObsolete = "obsolete"

// notice writes a notice from the order as it is now. It is empty where the order
// waits for no confirmation any more.
func (s *Service) notice(ctx context.Context, row OutboxRow) (Notice, error) {
	var notice Notice
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		notice = Notice{}
		o, err := FindOrder(ctx, tx, row.OrderID)
		if err != nil || o.State != StateAwaitingConfirmation || !s.engine.Now().Before(o.ExpiresAt) {
			return err
		}
		c, err := FindCustomerByID(ctx, tx, row.CustomerID)
		if err != nil {
			return err
		}
		to, err := loadPayee(ctx, tx, o)
		if err != nil {
			return err
		}
		token := s.token(o.ID)
		if string(hashToken(token)) != string(o.tokenHash) {
			return &SendError{Permanent: true, Err: fmt.Errorf("the service's key has changed since order %s was made; cancel the order", o.ID)}
		}
		notice = Notice{ID: row.ID.String(), Phone: c.Phone,
			Text: noticeText(o, to.name, s.config.PageURL+"/"+token, s.config, s.engine.Location())}
		return nil
	})
	return notice, err
}
