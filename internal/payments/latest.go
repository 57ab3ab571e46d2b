package payments

import (
	"context"
	"fmt"
	"time"

	"tweetledger/internal/sqldb"
)

// LatestMessage returns when the newest message of a channel was written that came by
// one of the given ways, or the zero time: whoever listens goes on from there. Ways
// that bring what is old, such as imports, say nothing about that.
func LatestMessage(ctx context.Context, tx *sqldb.Tx, channel string, vias []string) (time.Time, error) {
	var at time.Time
	err := tx.QueryRow(ctx, "SELECT created_at FROM messages"+tx.IndexedBy("messages_by_time")+" WHERE channel = $1 AND "+tx.AnyText("via", 2)+" ORDER BY created_at DESC, id DESC LIMIT 1",
		[]any{channel, vias}, &at)
	if err != nil && !sqldb.IsNoRows(err) {
		return time.Time{}, fmt.Errorf("look for the newest message of %s: %w", channel, err)
	}
	return at, nil
}
