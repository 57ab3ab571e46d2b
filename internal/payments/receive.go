package payments

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Received says what Receive made of a message.
type Received struct {
	ID  uuid.UUID // in the inbox
	New bool      // false: it was there already, and nothing changed
	// Err says, of one of several messages, why it was not stored.
	Err error
}

// Receive writes a message to the inbox. A version that is there already is left
// as it is, whatever way it came by. A message that cannot be stored, or that claims
// to be a version of what somebody else wrote, is an Error with CodeInvalid. Where
// its deletion is known already, its text goes as soon as it is handled.
func (s *Service) Receive(ctx context.Context, m Message) (Received, error) {
	received := s.ReceiveAll(ctx, []Message{m})[0]
	if received.Err != nil {
		return Received{}, received.Err
	}
	return received, nil
}

// receiveTogether bounds the messages that one transaction stores: what a stream has at
// once, and on SQLite nobody else writes meanwhile.
const receiveTogether = 200

// ReceiveAll writes messages to the inbox, in their order, as Receive does one. Many are
// stored in one transaction, and each stands for itself: one that cannot be stored does
// not touch the others. HandlePending handles them in the same order.
func (s *Service) ReceiveAll(ctx context.Context, batch []Message) []Received {
	received := make([]Received, len(batch))
	valid := make([]*incoming, 0, len(batch))
	for i, m := range batch {
		if received[i].Err = m.Validate(); received[i].Err != nil {
			continue
		}
		received[i].ID = MessageID(m.Channel, m.FirstID, m.Version)
		if m.Mentions == nil {
			m.Mentions = []Mention{}
		}
		mentions, err := json.Marshal(m.Mentions)
		if err != nil {
			received[i].Err = fmt.Errorf("mentions of message %s: %w", m.ID, err)
			continue
		}
		valid = append(valid, &incoming{Message: m, mentions: string(mentions), hash: s.TextHash(m.Text), Received: &received[i]})
	}
	for part := range slices.Chunk(valid, receiveTogether) {
		s.storeSome(ctx, part)
	}
	return received
}

// incoming is a valid message on its way into the inbox.
type incoming struct {
	Message
	*Received
	mentions  string
	hash      []byte
	refused   error     // it cannot be what it says
	deletedAt time.Time // of its edit chain; zero: not deleted, as far as we know
}

// storeSome stores messages in one transaction. Where that fails it stores each half of
// them by itself, so that only that is left out which cannot be stored.
func (s *Service) storeSome(ctx context.Context, list []*incoming) {
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return s.store(ctx, tx, list, s.engine.Now()) })
	if err != nil && len(list) > 1 && !giveUp(ctx, err) {
		half := len(list) / 2
		s.storeSome(ctx, list[:half])
		s.storeSome(ctx, list[half:])
		return
	}
	for _, m := range list {
		switch {
		case err != nil:
			m.Err = fmt.Errorf("store message %s: %w", m.Message.ID, err)
		case m.refused != nil:
			m.Err = fmt.Errorf("store message %s: %w", m.Message.ID, m.refused)
		}
	}
}

var messageTable = []sqldb.Column{
	{Name: "id", Type: "uuid"}, {Name: "channel", Type: "text"}, {Name: "first_id", Type: "text"}, {Name: "version", Type: "int8"},
	{Name: "message_id", Type: "text"}, {Name: "conversation_id", Type: "text"}, {Name: "author_id", Type: "text"},
	{Name: "author_handle", Type: "text"}, {Name: "kind", Type: "text"}, {Name: "text", Type: "text"}, {Name: "text_hash", Type: "bytea"},
	{Name: "mentions", Type: "jsonb"}, {Name: "language", Type: "text"}, {Name: "via", Type: "text"}, {Name: "created_at", Type: "timestamptz"},
	{Name: "received_at", Type: "timestamptz"}, {Name: "due_at", Type: "timestamptz"}, {Name: "deleted_at", Type: "timestamptz"},
}

// WHERE true, since SQLite takes ON for a join otherwise.
const insertMessages = `INSERT INTO messages (id, channel, first_id, version, message_id, conversation_id, author_id, author_handle,
		kind, text, text_hash, mentions, language, via, created_at, received_at, due_at, deleted_at)
	SELECT * FROM ROWS WHERE true ON CONFLICT DO NOTHING`

// store stores messages that are new and what they say.
func (s *Service) store(ctx context.Context, tx *sqldb.Tx, list []*incoming, now time.Time) error {
	fresh, err := s.lookUp(ctx, tx, list)
	if err != nil {
		return err
	}
	n, err := tx.ExecRows(ctx, insertMessages, messageTable, len(fresh), func(i int) []any {
		m := fresh[i]
		// What came together is due a microsecond apart, so that it is handled in its order.
		due := now.Add(-time.Duration(len(fresh)-1-i) * time.Microsecond)
		return []any{m.Received.ID, m.Channel, m.FirstID, int64(m.Version), m.Message.ID, m.ConversationID, m.AuthorID, m.AuthorHandle,
			string(m.Kind), m.Text, m.hash, m.mentions, m.Language, m.Via, m.CreatedAt, now, due, m.deletedAt}
	})
	if err != nil {
		return err
	}
	if len(fresh) > 1 && n != int64(len(fresh)) {
		return fmt.Errorf("%d of %d messages were there already", int64(len(fresh))-n, len(fresh))
	}
	for _, m := range fresh {
		m.New = n > 0
	}
	return deleteChains(ctx, tx, fresh)
}

// deleteChains has a deletion that was known before its message came take the other
// versions with it: those that were here, and those that came in between. What is not
// handled yet is purged as soon as it is.
func deleteChains(ctx context.Context, tx *sqldb.Tx, fresh []*incoming) error {
	for _, m := range fresh {
		if m.deletedAt.IsZero() {
			continue
		}
		var open []uuid.UUID
		c := editChain{channel: m.Channel, firstID: m.FirstID, authorID: m.AuthorID}
		if _, err := c.delete(ctx, tx, Deletion{At: m.deletedAt}, &open); err != nil {
			return fmt.Errorf("delete the other versions of message %s: %w", m.Message.ID, err)
		}
	}
	return nil
}

// chainKey names an edit chain.
type chainKey struct{ channel, firstID string }

// filed is a version of a message that the inbox has.
type filed struct {
	version   int
	author    string
	deletedAt time.Time // zero: not deleted, as far as we know
}

// filedQuery finds what the inbox has of the edit chains of ROWS, and
// deletionsQuery which messages of ROWS are known to be deleted.
const (
	filedQuery = `SELECT m.channel, m.first_id, m.version, m.author_id, m.deleted_at
	FROM ROWS AS d CROSS JOIN messages AS m WHERE m.channel = d.in_channel AND m.first_id = d.began_as`
	deletionsQuery = `SELECT d.n, x.deleted_at FROM ROWS AS d CROSS JOIN deletions AS x
	WHERE x.channel = d.in_channel AND x.message_id = d.known_as AND (x.author_id = '' OR x.author_id = d.writer)`
)

var (
	filedColumns     = []sqldb.Column{{Name: "in_channel", Type: "text"}, {Name: "began_as", Type: "text"}}
	deletionsColumns = []sqldb.Column{{Name: "n", Type: "int8"}, {Name: "in_channel", Type: "text"}, {Name: "known_as", Type: "text"}, {Name: "writer", Type: "text"}}
)

// lookUp finds out what the inbox knows of messages before they are stored, and returns
// those that are new. One that claims to be of a chain that somebody else began is
// refused with CodeInvalid.
func (s *Service) lookUp(ctx context.Context, tx *sqldb.Tx, list []*incoming) ([]*incoming, error) {
	chains := make(map[chainKey][]filed, len(list))
	var keys []chainKey
	for _, m := range list {
		m.New, m.refused, m.deletedAt = false, nil, time.Time{}
		key := chainKey{m.Channel, m.FirstID}
		if _, asked := chains[key]; !asked {
			chains[key] = nil
			keys = append(keys, key)
		}
	}
	err := tx.EachOfRows(ctx, filedQuery, filedColumns, len(keys),
		func(i int) []any { return []any{keys[i].channel, keys[i].firstID} },
		func(rows *sqldb.Rows) error {
			var key chainKey
			var f filed
			err := rows.Scan(&key.channel, &key.firstID, &f.version, &f.author, &f.deletedAt)
			chains[key] = append(chains[key], f)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("look for earlier versions: %w", err)
	}
	var fresh []*incoming
	for _, m := range list {
		key := chainKey{m.Channel, m.FirstID}
		if s.judgeClaim(ctx, m, chains[key]) {
			fresh = append(fresh, m)
			chains[key] = append(chains[key], filed{version: m.Version, author: m.AuthorID, deletedAt: m.deletedAt})
		}
	}
	return fresh, findDeletions(ctx, tx, fresh)
}

// judgeClaim decides whether a message is new beside what is filed of its edit chain.
func (s *Service) judgeClaim(ctx context.Context, m *incoming, chain []filed) bool {
	there, foreign := false, false
	for _, f := range chain {
		switch {
		case f.author != m.AuthorID && (f.version == m.Version || m.Version > 0):
			m.refused = ledger.Errorf(ledger.CodeInvalid, "message %s by %s says that it is version %d of message %s, which %s wrote", m.Message.ID, m.AuthorID, m.Version, m.FirstID, f.author).
				InField("first_id")
			return false
		case f.author != m.AuthorID:
			foreign = true
		default:
			there = there || f.version == m.Version
			m.noteDeletion(f.deletedAt)
		}
	}
	if !there && foreign {
		s.log.WarnContext(ctx, "somebody else has claimed to edit this message", "message", m.Message.ID, "author", m.AuthorID)
	}
	return !there
}

// findDeletions notes which messages are known to be deleted.
func findDeletions(ctx context.Context, tx *sqldb.Tx, list []*incoming) error {
	type name struct {
		n  int
		id string
	}
	var names []name
	for n, m := range list {
		ids := append([]string{m.Message.ID, m.FirstID}, m.Chain...)
		for i, id := range ids {
			if !slices.Contains(ids[:i], id) {
				names = append(names, name{n, id})
			}
		}
	}
	err := tx.EachOfRows(ctx, deletionsQuery, deletionsColumns, len(names), func(i int) []any {
		m := list[names[i].n]
		return []any{int64(names[i].n), m.Channel, names[i].id, m.AuthorID}
	}, func(rows *sqldb.Rows) error {
		var n int
		var at time.Time
		err := rows.Scan(&n, &at)
		if err == nil {
			list[n].noteDeletion(at)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("look for earlier deletions: %w", err)
	}
	return nil
}

func (m *incoming) noteDeletion(at time.Time) {
	if !at.IsZero() && (m.deletedAt.IsZero() || at.Before(m.deletedAt)) {
		m.deletedAt = at
	}
}
