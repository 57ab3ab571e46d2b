package payments

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Deleted says what Delete found.
type Deleted struct {
	Known    bool // the message was in the inbox
	Versions int  // whose text was purged or noted as deleted now
}

// strangerDeletionTerm is how long a deletion by somebody who is linked to nobody is
// remembered. X hands out again what is a day old at most (webhook replay), and a
// compliance stream carries the deletions of everybody on X: they must not pile up.
// Those of linked users, and of unknown authors, are remembered as long as a text
// would be kept (Config.TextRetention).
const strangerDeletionTerm = 48 * time.Hour

// Delete notes that a message is gone from its channel: the text of all its edit
// chain is purged, at once where it was handled, else as soon as it is. What it asked
// for stays as it is, since an order does not depend on the message staying. A
// deletion that comes before its message is remembered, so that the outcome is the
// same. Where the deletion names an author, messages of others stay untouched.
func (s *Service) Delete(ctx context.Context, d Deletion) (Deleted, error) {
	switch {
	case !channelPattern.MatchString(d.Channel) || !idPattern.MatchString(d.ID):
		return Deleted{}, ledger.Errorf(ledger.CodeInvalid, "%q of %q names no message", clip(d.ID), clip(d.Channel)).InField("id")
	case d.AuthorID != "" && !idPattern.MatchString(d.AuthorID):
		return Deleted{}, ledger.Errorf(ledger.CodeInvalid, "message %s: %q is not the id of an author", d.ID, clip(d.AuthorID)).InField("author_id")
	case !storable(d.At):
		return Deleted{}, ledger.Errorf(ledger.CodeInvalid, "message %s was deleted in the year %d, which is not between 1 and 9999", d.ID, d.At.UTC().Year()).InField("at")
	}
	now := s.engine.Now()
	if d.At.IsZero() {
		d.At = now
	}
	var deleted Deleted
	var open []uuid.UUID
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		deleted, open = Deleted{}, nil
		if err := s.rememberDeletion(ctx, tx, d, now); err != nil {
			return err
		}
		chains, err := chainsOf(ctx, tx, d)
		deleted.Known = len(chains) > 0
		for _, c := range chains {
			if err != nil {
				break
			}
			var versions int
			versions, err = c.delete(ctx, tx, d, &open)
			deleted.Versions += versions
		}
		return err
	})
	if err != nil {
		return Deleted{}, fmt.Errorf("delete message %s: %w", d.ID, err)
	}
	for _, id := range open {
		if _, err := s.Handle(ctx, id); err != nil { // HandlePending tries again, and gives up in the end; both purge
			s.log.WarnContext(ctx, "a deleted message waits in the inbox", "message", id, "error", err)
		}
	}
	return deleted, nil
}

// rememberDeletion keeps a deletion for messages that are not here yet.
func (s *Service) rememberDeletion(ctx context.Context, tx *sqldb.Tx, d Deletion, now time.Time) error {
	term, err := s.deletionTerm(ctx, tx, d.Channel, d.AuthorID)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO deletions (channel, message_id, author_id, deleted_at, expires_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (channel, message_id) DO NOTHING`, d.Channel, d.ID, d.AuthorID, d.At, now.Add(term))
	return err
}

// deletionTerm is how long a deletion by an author is remembered; of an unknown one, "".
func (s *Service) deletionTerm(ctx context.Context, tx *sqldb.Tx, channel, authorID string) (time.Duration, error) {
	if authorID == "" {
		return s.config.TextRetention, nil
	}
	_, err := FindLink(ctx, tx, channel, authorID)
	if ledger.CodeOf(err) == ledger.CodeNotFound {
		return min(s.config.TextRetention, strangerDeletionTerm), nil
	}
	return s.config.TextRetention, err
}

// editChain names the versions of a message that one author wrote. A first id alone
// does not: an archive that somebody hands in can name anybody's tweet as its first.
type editChain struct{ channel, firstID, authorID string }

// chainsQuery finds by whom and under which first ids a message was written. With
// DISTINCT, SQLite would read all of the channel for it.
const chainsQuery = "SELECT first_id, author_id FROM messages WHERE channel = $1 AND message_id = $2 AND ($3 = '' OR author_id = $3)"

// chainsOf returns the edit chains of a message. There are several of it where one
// way in knew its history and another did not.
func chainsOf(ctx context.Context, tx *sqldb.Tx, d Deletion) ([]editChain, error) {
	var list []editChain
	err := tx.Each(ctx, chainsQuery,
		[]any{d.Channel, d.ID, d.AuthorID}, func(rows *sqldb.Rows) error {
			c := editChain{channel: d.Channel}
			err := rows.Scan(&c.firstID, &c.authorID)
			if !slices.Contains(list, c) {
				list = append(list, c)
			}
			return err
		})
	return list, err
}

// delete notes the deletion on all versions, purges the texts of those that were
// handled, and adds those that were not to open.
func (c editChain) delete(ctx context.Context, tx *sqldb.Tx, d Deletion, open *[]uuid.UUID) (int, error) {
	n, err := tx.Exec(ctx, `UPDATE messages SET deleted_at = COALESCE(deleted_at, $4), text = CASE WHEN handled_at IS NULL THEN text END
		WHERE channel = $1 AND first_id = $2 AND author_id = $3 AND (deleted_at IS NULL OR (text IS NOT NULL AND handled_at IS NOT NULL))`,
		c.channel, c.firstID, c.authorID, d.At)
	if err != nil {
		return 0, err
	}
	err = tx.Each(ctx, "SELECT id FROM messages WHERE channel = $1 AND first_id = $2 AND author_id = $3 AND handled_at IS NULL ORDER BY version",
		[]any{c.channel, c.firstID, c.authorID}, func(rows *sqldb.Rows) error {
			var id uuid.UUID
			err := rows.Scan(&id)
			*open = append(*open, id)
			return err
		})
	return int(n), err
}

// PurgeDeletions forgets the deletions whose term is over, at most limit of them,
// and returns how many it forgot.
func (s *Service) PurgeDeletions(ctx context.Context, limit int) (int, error) {
	purged, err := s.purge(ctx, limit, `DELETE FROM deletions WHERE (channel, message_id) IN (SELECT channel, message_id FROM deletions
		WHERE expires_at <= $1 ORDER BY expires_at LIMIT %d)`, s.engine.Now())
	if err != nil {
		return purged, fmt.Errorf("purge old deletions: %w", err)
	}
	return purged, nil
}
