package payments

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"tweetledger/internal/sqldb"
)

// Delivered counts what a run of Deliver did.
type Delivered struct {
	Sent    int
	Retried int // failed, to be tried again
	Dead    int // given up
}

// Deliver sends what is due, at most limit rows: replies, announcements and direct
// messages through the replier of their channel, notices and, before all else, one-time
// codes through notifier. A row is
// sent at least once: should the process end between sending and marking, it is
// sent again with the same id and the word that it is in doubt, upon which a channel
// looks for it first. What is missing (a channel without replier, a nil notifier)
// stays for a process that has it. Rows of one conversation are sent in order, notices
// to several customers at the same time: notifier must allow that. A channel that says to come back later is left alone until then. Failures to send
// are recorded and counted, not returned.
func (s *Service) Deliver(ctx context.Context, repliers map[string]Replier, notifier Notifier, limit int) (Delivered, error) {
	var done Delivered
	if err := sqldb.CheckPage(limit, MaxPage); err != nil {
		return done, err
	}
	sent := 0
	for taken := deliverBatch; notifier != nil && taken == deliverBatch && sent < limit; sent += taken {
		var err error
		if taken, err = s.deliverCodes(ctx, notifier, limit-sent, &done); err != nil {
			return done, err
		}
	}
	for sent < limit {
		claimed, err := s.claim(ctx, repliers, notifier, min(deliverBatch, limit-sent))
		if err != nil {
			return done, fmt.Errorf("claim what is to be sent: %w", err)
		}
		if len(claimed) == 0 {
			return done, nil
		}
		if err := s.deliverClaimed(ctx, claimed, repliers, notifier, &done); err != nil {
			return done, err
		}
		sent += len(claimed)
	}
	return done, nil
}

// deliverClaimed sends rows, of which no two are of one queue: notices all at once,
// since a telephone waits for no other; what goes through a channel lane by lane,
// each row after the other, so that a channel can stop the next one.
func (s *Service) deliverClaimed(ctx context.Context, claimed []OutboxRow, repliers map[string]Replier, notifier Notifier, done *Delivered) error {
	var parts [][]OutboxRow
	of := map[lane]int{}
	for _, row := range claimed {
		at, known := of[row.lane()]
		if !known || row.Kind == OutboxNotice {
			at = len(parts)
			of[row.lane()], parts = at, append(parts, nil)
		}
		parts[at] = append(parts[at], row)
	}
	counts := make([]Delivered, len(parts))
	one := func(i int) error {
		for _, row := range parts[i] {
			var err error
			if until := s.pauses.until(row.lane()); s.engine.Now().Before(until) {
				err = s.giveBack(ctx, row, until)
			} else {
				err = s.deliver(ctx, row, repliers, notifier, &counts[i])
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	var group errgroup.Group
	for i := range parts[1:] {
		group.Go(func() error { return one(i + 1) })
	}
	err := errors.Join(one(0), group.Wait())
	for _, part := range counts {
		done.Sent += part.Sent
		done.Retried += part.Retried
		done.Dead += part.Dead
	}
	return err
}

// lanesOf returns what can be sent.
func lanesOf(repliers map[string]Replier, notifier Notifier) []lane {
	var list []lane
	for channel := range repliers {
		for _, kind := range []OutboxKind{OutboxReply, OutboxDirectMessage, OutboxAnnouncement} {
			list = append(list, lane{channel, kind})
		}
	}
	if notifier != nil {
		list = append(list, lane{kind: OutboxNotice}) // which has no channel
	}
	slices.SortFunc(list, func(a, b lane) int { // so that the statement is the same each time
		return cmp.Or(cmp.Compare(a.channel, b.channel), cmp.Compare(a.kind, b.kind))
	})
	return list
}

// lane is what a channel counts by itself and can ask to pause: X counts posts and
// direct messages apart.
type lane struct {
	channel string
	kind    OutboxKind
}

func (r OutboxRow) lane() lane { return lane{channel: r.Channel, kind: r.Kind} }

// pauses are the lanes of this process that wait until their channel takes more.
// Without them a long queue would be claimed and put back row by row.
type pauses struct {
	mu sync.Mutex
	at map[lane]time.Time
}

func (p *pauses) until(l lane) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at[l]
}

func (p *pauses) set(l lane, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at[l] = until
}

// active returns the lanes that wait at an instant, and forgets the others.
func (p *pauses) active(now time.Time) []lane {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []lane
	for l, until := range p.at {
		if !now.Before(until) {
			delete(p.at, l)
			continue
		}
		list = append(list, l)
	}
	return list
}

// deliverBatch bounds the rows claimed at once, and so how long the last of them
// waits should the process end.
const deliverBatch = 8

// claim takes rows that are due and first in their queue. Their next attempt is
// put off by the lease, which is longer for each since they may be sent one after
// the other; attempts says who owns the row: only the claim with the newest
// number may mark it. From now on the row is in doubt, should nobody mark it;
// InDoubt of what is returned says whether it was before.
func (s *Service) claim(ctx context.Context, repliers map[string]Replier, notifier Notifier, limit int) ([]OutboxRow, error) {
	lanes := lanesOf(repliers, notifier)
	var claimed []OutboxRow
	err := s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		claimed = nil
		now := s.engine.Now()
		resting := s.pauses.active(now)
		var parts []string
		args := []any{now}
		for _, l := range lanes {
			if slices.Contains(resting, l) {
				continue
			}
			parts = append(parts, fmt.Sprintf("SELECT * FROM (SELECT o.id, o.next_attempt_at FROM outbox AS o"+` WHERE o.channel = $%d AND o.kind = $%d
				AND o.status = 'pending' AND o.turn = 1 AND o.next_attempt_at <= $1 AND NOT EXISTS (
					SELECT 1 FROM outbox AS e WHERE e.queue = o.queue AND e.status = 'pending' AND (e.created_at, e.id) < (o.created_at, o.id))
				ORDER BY o.next_attempt_at, o.id LIMIT %d) AS lane%d`, len(args)+1, len(args)+2, limit, len(parts)))
			args = append(args, l.channel, string(l.kind))
		}
		if len(parts) == 0 {
			return nil
		}
		due, err := outboxRows(ctx, tx, fmt.Sprintf("o.id IN (SELECT id FROM (%s) AS due ORDER BY next_attempt_at, id LIMIT %d)", strings.Join(parts, " UNION ALL "), limit),
			args, " ORDER BY next_attempt_at, id")
		if err != nil {
			return err
		}
		for i, row := range due {
			n, err := tx.Exec(ctx, "UPDATE outbox SET attempts = attempts + 1, in_doubt = 1, next_attempt_at = $1 WHERE id = $2 AND status = 'pending' AND attempts = $3",
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

// giveBack returns a row that was claimed and not begun.
func (s *Service) giveBack(ctx context.Context, row OutboxRow, until time.Time) error {
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE outbox SET attempts = attempts - 1, in_doubt = $1, next_attempt_at = $2
			WHERE id = $3 AND status = 'pending' AND attempts = $4`, sqldb.Flag(row.InDoubt), until, row.ID, int64(row.Attempts))
		return err
	})
	if err != nil {
		return fmt.Errorf("give back %s %s: %w", row.Kind, row.ID, err)
	}
	return nil
}

// markTimeout bounds the marking of a row that was sent while the process is
// asked to stop.
const markTimeout = 10 * time.Second

// deliver sends one row and marks it. Who asks the process to stop waits for both:
// a reply that was sent and not marked is looked for before it is said again.
func (s *Service) deliver(ctx context.Context, row OutboxRow, repliers map[string]Replier, notifier Notifier, done *Delivered) error {
	if err := ctx.Err(); err != nil {
		return err // not begun: the lease runs out and somebody else sends it
	}
	finishing := context.WithoutCancel(ctx)
	sendCtx, cancel := context.WithTimeout(finishing, s.config.Outbox.SendTimeout)
	sent, err := s.send(sendCtx, row, repliers, notifier)
	cancel()
	now := s.engine.Now()
	m := marking{status: OutboxPending, attempts: row.Attempts, next: now}
	switch outcome := s.judgeSend(row, err, now); {
	case err == nil:
		m.status, m.externalID, m.textHash, m.closedAt = OutboxSent, sent.id, sent.textHash, now
		done.Sent++
	case outcome.dead:
		m.status, m.lastError, m.inDoubt, m.closedAt = OutboxDead, clipError(err), outcome.inDoubt, now
		if outcome.gone {
			m.externalID = externalGone
		}
		done.Dead++
		s.log.WarnContext(ctx, "outbox row given up", "row", row.ID, "kind", row.Kind, "order", row.OrderID, "attempts", row.Attempts, "error", m.lastError)
	default:
		m.lastError, m.inDoubt, m.next = clipError(err), outcome.inDoubt, now.Add(outcome.pause)
		if outcome.later {
			m.attempts--
			s.pauses.set(row.lane(), m.next)
			s.log.WarnContext(ctx, "what waits in the outbox is left alone for a while", "channel", row.Channel, "kind", row.Kind, "for", outcome.pause, "error", m.lastError)
		}
		done.Retried++
	}
	markCtx, cancel := context.WithTimeout(finishing, markTimeout)
	defer cancel()
	return s.mark(markCtx, row, m)
}

// marking is what became of a row's attempt.
type marking struct {
	status     OutboxStatus
	attempts   int
	externalID string
	lastError  string
	inDoubt    bool
	textHash   []byte // of a notice
	closedAt   time.Time
	next       time.Time
}

func (s *Service) mark(ctx context.Context, row OutboxRow, m marking) error {
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		// A row whose lease ran out while it was sent belongs to somebody else now,
		// unless it went out: that is a fact, whoever marks it.
		_, err := tx.Exec(ctx, `UPDATE outbox SET status = $1, external_id = $2, last_error = $3, closed_at = $4, next_attempt_at = $5,
				attempts = $6, in_doubt = $7, text_hash = COALESCE($8, text_hash), text = CASE WHEN $1 <> 'pending' AND template = 'balance' THEN '' ELSE text END
			WHERE id = $9 AND status = 'pending' AND (attempts = $10 OR $1 = 'sent')`,
			string(m.status), m.externalID, m.lastError, m.closedAt, m.next, int64(m.attempts), sqldb.Flag(m.inDoubt), nullBytes(m.textHash),
			row.ID, int64(row.Attempts))
		if err != nil || m.status == OutboxPending {
			return err
		}
		return giveTurn(ctx, tx, row.Queue)
	})
	if err != nil {
		return fmt.Errorf("mark %s %s: %w", row.Kind, row.ID, err)
	}
	return nil
}

type sendOutcome struct {
	dead    bool
	later   bool // the channel takes nothing now: no failure to send this row
	inDoubt bool // it may have been sent all the same
	gone    bool // there is nothing to answer any more
	pause   time.Duration
}

func (s *Service) judgeSend(row OutboxRow, err error, now time.Time) sendOutcome {
	config := s.config.Outbox
	outcome := sendOutcome{dead: row.Attempts >= config.Tries, inDoubt: true,
		pause: s.jitter(backOff(row.Attempts, config.FirstPause, config.LongestPause))}
	if refused, ok := errors.AsType[*SendError](err); ok {
		outcome.inDoubt = row.InDoubt || refused.InDoubt
		switch {
		case refused.Permanent:
			outcome.dead, outcome.gone = true, refused.Gone
		case refused.RetryAfter > 0: // its turn has not come
			outcome.dead = now.Sub(row.CreatedAt) >= longestQueue
			outcome.later = !outcome.dead
			outcome.pause = min(refused.RetryAfter, longestRetryAfter)
		}
	}
	return outcome
}

// jitter shortens a pause by up to half of it, so that what failed together is not
// tried again together. Without random numbers the pause stays as it is.
func (s *Service) jitter(pause time.Duration) time.Duration {
	var raw [8]byte
	if _, err := io.ReadFull(s.random, raw[:]); err != nil || pause < 2 {
		return pause
	}
	return pause - time.Duration(binary.BigEndian.Uint64(raw[:])%uint64(pause/2))
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

// sending is what was sent.
type sending struct {
	id       string // on its channel
	textHash []byte // of what was written only now
}

func (s *Service) send(ctx context.Context, row OutboxRow, repliers map[string]Replier, notifier Notifier) (sending, error) {
	if row.Kind != OutboxNotice {
		id, err := repliers[row.Channel].Reply(ctx, Outgoing{ID: row.ID.String(), Channel: row.Channel, InReplyTo: row.InReplyTo,
			ConversationID: row.ConversationID, RecipientID: row.RecipientID, Announcement: row.Kind == OutboxAnnouncement, Text: row.Text,
			InDoubt: row.InDoubt, Since: row.CreatedAt})
		return sending{id: id}, err
	}
	notice, err := s.notice(ctx, row)
	if err != nil {
		return sending{}, err
	}
	if notice.Phone == "" {
		return sending{id: externalObsolete}, nil
	}
	return sending{textHash: s.TextHash(notice.Text)}, notifier.Notify(ctx, notice)
}

// externalObsolete marks a notice that was not sent, since nothing is asked of the
// customer any more.
const externalObsolete = "obsolete"

// externalGone marks a reply that could not be sent, since what it answers is gone. No
// channel gives such an id.
const externalGone = "gone"

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
		if c.PhoneVerifiedAt.IsZero() { // it may be anybody's
			return &SendError{Err: fmt.Errorf("the telephone number of customer %s is not proven", c.Number)}
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
