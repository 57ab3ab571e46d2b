package payments

import (
	"context"
	"fmt"
	"strings"

	"go.mau.fi/util/confusable"

	"tweetledger/internal/sqldb"
)

// A handle is found that looks like another one by keys: two handles look alike
// where they share one. The first key is the skeleton of the handle (UTS #39: 0 and
// O, 1 and l and I, rn and m are the same), the others are what is left of it
// without one of its letters. So handles meet that differ in one letter: another
// one, one more, one less, two that have changed places. The number of keys is
// bounded by the length of a handle, and the number of payees does not matter.

// shortestSimilar is the length from which one letter's difference is a likeness:
// among shorter handles (acf, acp) it is chance.
const shortestSimilar = 5

// handleKeys returns the keys of a handle.
func handleKeys(handle string) []string {
	skeleton := strings.ReplaceAll(strings.ToLower(confusable.Skeleton(handle)), "_", "")
	keys := []string{"=" + skeleton}
	if len(skeleton) < shortestSimilar {
		return keys
	}
	keys = append(keys, skeleton)
	seen := map[string]bool{skeleton: true}
	for i := range len(skeleton) { // ASCII, as handles are
		if key := skeleton[:i] + skeleton[i+1:]; !seen[key] {
			seen[key] = true
			keys = append(keys, key)
		}
	}
	return keys
}

// indexHandle keeps the keys of a payee's handle, in place of those of an earlier one.
func indexHandle(ctx context.Context, tx *sqldb.Tx, l Link) error {
	if _, err := tx.Exec(ctx, "DELETE FROM handle_keys WHERE channel = $1 AND user_id = $2", l.Channel, l.UserID); err != nil {
		return fmt.Errorf("forget the keys of @%s: %w", l.Handle, err)
	}
	for _, key := range handleKeys(l.Handle) {
		if _, err := tx.Exec(ctx, "INSERT INTO handle_keys (channel, key, user_id) VALUES ($1, $2, $3)", l.Channel, key, l.UserID); err != nil {
			return fmt.Errorf("keep the keys of @%s: %w", l.Handle, err)
		}
	}
	return nil
}

// likenessQuery reads who has one of the keys in argument 2 on channel $1. It says
// nothing of users: an index would be read by them then, and grow with the payees.
func likenessQuery(tx *sqldb.Tx) string {
	return fmt.Sprintf("SELECT user_id FROM handle_keys WHERE channel = $1 AND %s LIMIT %d", tx.AnyText("key", 2), mostAlike)
}

// mostAlike bounds the likenesses of one handle that are looked at.
const mostAlike = 1000

// likenesses remembers the answers of lookedLike while nobody is linked.
type likenesses map[likeness]Link

type likeness struct{ channel, userID, handle string }

func (l likenesses) of(ctx context.Context, tx *sqldb.Tx, channel, userID, handle string) (Link, error) {
	key := likeness{channel, userID, handle}
	if original, known := l[key]; known {
		return original, nil
	}
	original, err := lookedLike(ctx, tx, channel, userID, handle)
	if err == nil {
		l[key] = original
	}
	return original, err
}

// lookedLike returns the link of a payee whose handle somebody else's looks like;
// one without a user id where there is none.
func lookedLike(ctx context.Context, tx *sqldb.Tx, channel, userID, handle string) (Link, error) {
	first := ""
	err := tx.Each(ctx, likenessQuery(tx), []any{channel, handleKeys(handle)}, func(rows *sqldb.Rows) error {
		var id string
		err := rows.Scan(&id)
		if id != userID && (first == "" || id < first) {
			first = id
		}
		return err
	})
	if err != nil {
		return Link{}, fmt.Errorf("look for payees like @%s: %w", clip(handle), err)
	}
	if first == "" {
		return Link{}, nil
	}
	return FindLink(ctx, tx, channel, first)
}

// IndexHandles makes the keys of payees' handles that have none, as those that
// were linked before there was screening, and returns how many it made.
func (s *Service) IndexHandles(ctx context.Context) (int, error) {
	const batch = 100
	for indexed := 0; ; {
		var done int
		err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			missing, err := links(ctx, tx, `payee_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM handle_keys AS k
				WHERE k.channel = links.channel AND k.user_id = links.user_id)`)
			if err != nil {
				return err
			}
			done = min(len(missing), batch)
			for _, l := range missing[:done] {
				if err := indexHandle(ctx, tx, l); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return indexed, fmt.Errorf("index the handles of payees: %w", err)
		}
		indexed += done
		if done < batch {
			return indexed, nil
		}
	}
}
