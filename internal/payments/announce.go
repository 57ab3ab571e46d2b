package payments

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

const templateHeads = "heads"

// MaxAnnouncement bounds an announcement, in bytes: it is ASCII on a channel with
// the shortest posts.
const MaxAnnouncement = ledger.MaxAnnouncement

// Announce puts heads of the sealed journal into the outbox, as a post on a channel
// that answers nobody, unless heads with the same digest are there already. It
// returns their row, and whether it is new.
func (s *Service) Announce(ctx context.Context, tx *sqldb.Tx, channel string, heads ledger.Heads) (OutboxRow, bool, error) {
	text, err := heads.Text(MaxAnnouncement)
	if err != nil {
		return OutboxRow{}, false, fmt.Errorf("announce heads: %w", err)
	}
	now := s.engine.Now()
	row := OutboxRow{ID: announcementID(heads.Digest()), Kind: OutboxAnnouncement, Queue: announcements(channel), Channel: channel, Template: templateHeads, Text: text,
		Status: OutboxPending, NextAttemptAt: now, CreatedAt: now}
	found, err := outboxRows(ctx, tx, "id = $1", []any{row.ID}, "")
	if err != nil {
		return OutboxRow{}, false, fmt.Errorf("look for an announcement: %w", err)
	}
	if len(found) > 0 {
		return found[0], false, nil
	}
	return row, true, s.insertOutbox(ctx, tx, row)
}

func announcementID(digest [sha256.Size]byte) uuid.UUID {
	return outboxID(OutboxAnnouncement, templateHeads, uuid.NewSHA1(outboxNamespace, digest[:]))
}

// announcements is the queue of the announcements on a channel.
func announcements(channel string) string { return "announcements:" + channel }

// AnnouncementWaits reports whether an announcement on the channel is yet to be
// sent: another one behind it would be news too late.
func AnnouncementWaits(ctx context.Context, tx *sqldb.Tx, channel string) (bool, error) {
	var waiting int64
	err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM outbox WHERE queue = $1 AND status = 'pending'", []any{announcements(channel)}, &waiting)
	if err != nil {
		return false, fmt.Errorf("look for announcements that wait: %w", err)
	}
	return waiting > 0, nil
}
