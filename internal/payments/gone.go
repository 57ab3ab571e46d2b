package payments

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// AuthorGone says that an account is deleted, suspended or protected: what it wrote
// until then is nobody's to read any more.
type AuthorGone struct {
	Channel  string // of posts; what it wrote in direct messages goes as well
	AuthorID string
	At       time.Time // UTC; zero: now
}

// goneMark stands before the id of an author in the deletions, where it tells all that
// the author wrote from one message: no message's id begins so.
const goneMark = "@"

// NoteAuthorGone remembers that all which an author wrote until then is gone from its
// channel; PurgeGone removes the texts. It is remembered as long as the deletion of one
// message is.
func (s *Service) NoteAuthorGone(ctx context.Context, g AuthorGone) error {
	switch {
	case !channelPattern.MatchString(g.Channel) || !idPattern.MatchString(g.AuthorID):
		return ledger.Errorf(ledger.CodeInvalid, "%q of %q names no author", clip(g.AuthorID), clip(g.Channel)).InField("author_id")
	case !storable(g.At) && !g.At.IsZero():
		return ledger.Errorf(ledger.CodeInvalid, "account %s was gone in the year %d, which is not between 1 and 9999", g.AuthorID, g.At.UTC().Year()).InField("at")
	}
	now := s.engine.Now()
	if g.At.IsZero() {
		g.At = now
	}
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		term, err := s.deletionTerm(ctx, tx, g.Channel, g.AuthorID)
		if err != nil {
			return err
		}
		at := g.At
		var known time.Time
		err = tx.QueryRow(ctx, "SELECT deleted_at FROM deletions WHERE channel = $1 AND message_id = $2", []any{g.Channel, goneMark + g.AuthorID}, &known)
		switch {
		case sqldb.IsNoRows(err):
		case err != nil:
			return err
		case known.After(at):
			at = known
		}
		// Deletions are never changed: nobody who serves may.
		if _, err := tx.Exec(ctx, "DELETE FROM deletions WHERE channel = $1 AND message_id = $2", g.Channel, goneMark+g.AuthorID); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO deletions (channel, message_id, author_id, deleted_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
			g.Channel, goneMark+g.AuthorID, g.AuthorID, at, now.Add(term))
		return err
	})
	if err != nil {
		return fmt.Errorf("note that account %s is gone: %w", g.AuthorID, err)
	}
	return nil
}

// PurgeGone removes the texts of what authors wrote on a channel, and in its direct
// messages, before they were gone, at most limit of them, and returns how many it
// removed. What is not handled yet keeps its text until it is, for the next run.
//
// It looks at every text that is kept, so it is for once in a while: X gives 24 hours.
func (s *Service) PurgeGone(ctx context.Context, channel string, limit int) (int, error) {
	purged := 0
	for purged < limit {
		size := min(purgeBatch, limit-purged)
		ids, err := s.textsOfGone(ctx, channel, size)
		if err == nil && len(ids) > 0 {
			err = s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
				_, err := tx.Exec(ctx, "UPDATE messages SET text = NULL WHERE "+tx.AnyUUID("id", 1), ids)
				return err
			})
		}
		if err != nil {
			return purged, fmt.Errorf("purge the texts of accounts that are gone: %w", err)
		}
		purged += len(ids)
		if len(ids) < size {
			break
		}
	}
	return purged, nil
}

// textsOfGone returns messages whose text must go. It reads in a transaction of its own,
// so that looking at all texts gets in nobody's way.
func (s *Service) textsOfGone(ctx context.Context, channel string, limit int) ([]uuid.UUID, error) {
	var ids []uuid.UUID
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		ids = nil
		return tx.Each(ctx, fmt.Sprintf(`SELECT m.id FROM messages AS m JOIN deletions AS d ON d.channel = $1 AND d.message_id = '%s' || m.author_id
			WHERE m.text IS NOT NULL AND m.handled_at IS NOT NULL AND m.channel IN ($1, $2) AND m.created_at <= d.deleted_at LIMIT %d`, goneMark, limit),
			[]any{channel, DirectChannel(channel)}, func(rows *sqldb.Rows) error {
				var id uuid.UUID
				err := rows.Scan(&id)
				ids = append(ids, id)
				return err
			})
	})
	return ids, err
}
