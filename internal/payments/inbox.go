package payments

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Bounds of a message. Every channel's own are far below.
const (
	MaxTextRunes = 10_000
	MaxMentions  = 100
	MaxVersion   = 100
)

// Outcome is what became of a message.
type Outcome string

// The outcomes.
const (
	OutcomeOrder    Outcome = "order"    // an order was made and is on its way
	OutcomeRejected Outcome = "rejected" // an order was made, and the rules refuse it: see its reason
	OutcomeRefused  Outcome = "refused"  // meant for us, but not a command that we can take
	OutcomeAnswered Outcome = "answered" // a command that moves no money was done: see its reason
	OutcomeIgnored  Outcome = "ignored"  // none of our business
	// OutcomeSuperseded: a newer version of the message was there already.
	OutcomeSuperseded Outcome = "superseded"
	// OutcomeTooLate: an edit of a message whose payment was already posted.
	OutcomeTooLate Outcome = "edited_after_posting"
	// OutcomeFailed: handling it failed again and again; staff must look.
	OutcomeFailed Outcome = "failed"
)

// InboxMessage is a message as the inbox keeps it.
type InboxMessage struct {
	Message              // Text is empty once purged
	RowID      uuid.UUID // MessageID(Channel, FirstID, Version)
	TextHash   []byte    // HMAC-SHA256 of the text
	HasText    bool
	ReceivedAt time.Time // UTC
	HandledAt  time.Time // zero: not yet
	Outcome    Outcome
	Reason     string   // of a refusal, rejection or ignoring
	Command    *Command // what was asked for, or nil
	OrderID    uuid.UUID
	DeletedAt  time.Time // zero: not deleted, as far as we know
}

var messageNamespace = uuid.MustParse("5f0e2f0a-6d42-5c1b-8a5d-2d5d8e4f7a10")

// MessageID returns the id that a version of a message has in the inbox.
func MessageID(channel, firstID string, version int) uuid.UUID {
	return uuid.NewSHA1(messageNamespace, []byte(channel+"\x00"+firstID+"\x00"+strconv.Itoa(version)))
}

// Validate checks a message from a channel. The error is an Error with CodeInvalid.
func (m Message) Validate() error {
	invalid := func(field, format string, args ...any) error {
		return ledger.Errorf(ledger.CodeInvalid, format, args...).InField(field)
	}
	switch {
	case !channelPattern.MatchString(m.Channel):
		return invalid("channel", "%q is not a channel: 1 to 32 of a-z 0-9 -", clip(m.Channel))
	case !idPattern.MatchString(m.ID):
		return invalid("id", "%q is not a message id: 1 to 64 letters, digits and _ . : -", clip(m.ID))
	case !idPattern.MatchString(m.FirstID):
		return invalid("first_id", "message %s: %q is not the first id of an edit chain", m.ID, clip(m.FirstID))
	case m.Version < 0 || m.Version > MaxVersion:
		return invalid("version", "message %s: the version must be 0 to %d, not %d", m.ID, MaxVersion, m.Version)
	case m.Version == 0 && m.ID != m.FirstID:
		return invalid("first_id", "message %s is version 0 and so the first of its edit chain, not %s", m.ID, m.FirstID)
	case m.ConversationID != "" && !idPattern.MatchString(m.ConversationID):
		return invalid("conversation_id", "message %s: %q is not a conversation id", m.ID, clip(m.ConversationID))
	case !idPattern.MatchString(m.AuthorID):
		return invalid("author_id", "message %s: %q is not the id of an author", m.ID, clip(m.AuthorID))
	case m.AuthorHandle != "" && !handlePattern.MatchString(m.AuthorHandle):
		return invalid("author_handle", "message %s: %q is not a handle", m.ID, clip(m.AuthorHandle))
	case m.Kind != Original && m.Kind != Answer && m.Kind != Quote && m.Kind != Repost && m.Kind != Direct:
		return invalid("kind", "message %s: %q is not a kind of message", m.ID, clip(string(m.Kind)))
	case m.CreatedAt.IsZero():
		return invalid("created_at", "message %s says not when it was written", m.ID)
	case !storable(m.CreatedAt):
		return invalid("created_at", "message %s was written in the year %d, which is not between 1 and 9999", m.ID, m.CreatedAt.UTC().Year())
	case len(m.Mentions) > MaxMentions:
		return invalid("mentions", "message %s mentions %d users; at most %d are read", m.ID, len(m.Mentions), MaxMentions)
	case !validTag(m.Language) || !validTag(m.Via):
		return invalid("language", "message %s: language and via are at most %d bytes of printable text", m.ID, maxTag)
	}
	if len(m.Chain) > MaxVersion+1 || slices.ContainsFunc(m.Chain, func(id string) bool { return !idPattern.MatchString(id) }) {
		return invalid("chain", "message %s: its edit chain is no list of at most %d message ids", m.ID, MaxVersion+1)
	}
	for i, mention := range m.Mentions {
		if (mention.UserID != "" && !idPattern.MatchString(mention.UserID)) || !handlePattern.MatchString(mention.Handle) {
			return invalid(fmt.Sprintf("mentions[%d]", i), "message %s: %q (%q) is not a user", m.ID, clip(mention.Handle), clip(mention.UserID))
		}
	}
	// The cheap bound first: counting runes of a text of any size is work for nothing.
	if len(m.Text) > MaxTextRunes*utf8.UTFMax || utf8.RuneCountInString(m.Text) > MaxTextRunes {
		return invalid("text", "message %s has a text of %d bytes; at most %d characters are read", m.ID, len(m.Text), MaxTextRunes)
	}
	if !utf8.ValidString(m.Text) || strings.ContainsRune(m.Text, 0) {
		return invalid("text", "message %s is not UTF-8 text", m.ID)
	}
	return nil
}

// maxTag bounds short labels in bytes: a BCP 47 language, a way in.
const maxTag = 35

func validTag(s string) bool { return s == "" || ledger.Printable(s, maxTag) }

// storable reports whether every database keeps t and reads it back: a time zone
// can carry the last hours of the year 9999 into a year that SQLite's text cannot.
func storable(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 1 && year <= 9999
}

// TextHash returns the keyed hash by which a text can be compared with one that
// was purged.
func (s *Service) TextHash(text string) []byte { return mac(s.keys.text, []byte(text)) }

const messageColumns = `id, channel, first_id, version, message_id, conversation_id, author_id, author_handle, kind, COALESCE(text, ''),
	CASE WHEN text IS NULL THEN 0 ELSE 1 END, text_hash, CAST(mentions AS text), language, via, created_at, received_at, handled_at,
	COALESCE(outcome, ''), COALESCE(reason, ''), COALESCE(CAST(command AS text), ''), order_id, deleted_at`

func scanMessage(rows *sqldb.Rows) (InboxMessage, error) {
	var m InboxMessage
	var hasText int64
	var mentions, command string
	err := rows.Scan(&m.RowID, &m.Channel, &m.FirstID, &m.Version, &m.ID, &m.ConversationID, &m.AuthorID, &m.AuthorHandle, &m.Kind, &m.Text,
		&hasText, &m.TextHash, &mentions, &m.Language, &m.Via, &m.CreatedAt, &m.ReceivedAt, &m.HandledAt,
		&m.Outcome, &m.Reason, &command, &m.OrderID, &m.DeletedAt)
	if err != nil {
		return m, err
	}
	m.HasText = hasText != 0
	if err := json.Unmarshal([]byte(mentions), &m.Mentions); err != nil {
		return m, fmt.Errorf("mentions of message %s: %w", m.RowID, err)
	}
	if m.Command, err = decodeCommand(command); err != nil {
		return m, fmt.Errorf("command of message %s: %w", m.RowID, err)
	}
	return m, nil
}

// commandJSON is a command as the inbox keeps it.
type commandJSON struct {
	Name        string          `json:"name"`
	Hashtag     string          `json:"hashtag"`
	Amount      ledger.Amount   `json:"amount"` // minor units
	Currency    ledger.Currency `json:"currency"`
	PayeeID     string          `json:"payee_id"`
	PayeeHandle string          `json:"payee_handle"`
	Language    string          `json:"language"`
	Reference   string          `json:"reference,omitempty"`
}

func encodeCommand(c *Command) (any, error) {
	if c == nil {
		return nil, nil
	}
	text, err := json.Marshal(commandJSON(*c))
	return string(text), err
}

func decodeCommand(text string) (*Command, error) {
	if text == "" {
		return nil, nil
	}
	var c commandJSON
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return nil, err
	}
	command := Command(c)
	return &command, nil
}

// FindMessage returns a message of the inbox, or CodeNotFound.
func FindMessage(ctx context.Context, tx *sqldb.Tx, rowID uuid.UUID) (InboxMessage, error) {
	list, err := messages(ctx, tx, "id = $1", []any{rowID}, "")
	if err != nil {
		return InboxMessage{}, fmt.Errorf("find message %s: %w", rowID, err)
	}
	if len(list) == 0 {
		return InboxMessage{}, ledger.Errorf(ledger.CodeNotFound, "there is no message %s in the inbox", rowID).InField("message")
	}
	return list[0], nil
}

// FindMessageByChannelID returns the message with an id of its channel, of
// whatever version, or CodeNotFound.
func FindMessageByChannelID(ctx context.Context, tx *sqldb.Tx, channel, id string) (InboxMessage, error) {
	list, err := messages(ctx, tx, "channel = $1 AND message_id = $2", []any{channel, id}, " ORDER BY version LIMIT 1")
	if err != nil {
		return InboxMessage{}, fmt.Errorf("find message %s of %s: %w", clip(id), clip(channel), err)
	}
	if len(list) == 0 {
		return InboxMessage{}, ledger.Errorf(ledger.CodeNotFound, "there is no message %s of %s in the inbox", clip(id), clip(channel)).InField("message")
	}
	return list[0], nil
}

func messages(ctx context.Context, tx *sqldb.Tx, where string, args []any, tail string) ([]InboxMessage, error) {
	return messagesFrom(ctx, tx, "messages", where, args, tail)
}

func messagesFrom(ctx context.Context, tx *sqldb.Tx, table, where string, args []any, tail string) ([]InboxMessage, error) {
	var list []InboxMessage
	err := tx.Each(ctx, "SELECT "+messageColumns+" FROM "+table+" WHERE "+where+tail, args, func(rows *sqldb.Rows) error {
		m, err := scanMessage(rows)
		list = append(list, m)
		return err
	})
	return list, err
}

// MessageFilter selects a page of the inbox by the time at which messages were
// written, in that order.
type MessageFilter struct {
	Channel  string    // empty: any
	From, To time.Time // To is exclusive; zero: no bound
	After    Cursor    // the last one seen; zero: from the first
	Limit    int       // 1 to MaxPage
}

// Cursor is a place in a list that is ordered by time and then by id.
type Cursor struct {
	At time.Time
	ID uuid.UUID
}

// Cursor returns the place of a message in the list of messages.
func (m InboxMessage) Cursor() Cursor { return Cursor{At: m.CreatedAt, ID: m.RowID} }

// ListMessages returns a page of the inbox.
func ListMessages(ctx context.Context, tx *sqldb.Tx, f MessageFilter) ([]InboxMessage, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	var c sqldb.Where
	if f.Channel != "" {
		c.And("channel = ?", f.Channel)
	}
	createdBetween(&c, f.From, f.To, f.After)
	list, err := messagesFrom(ctx, tx, "messages"+tx.IndexedBy("messages_by_time"), c.Condition(), c.Args, fmt.Sprintf(" ORDER BY created_at, id LIMIT %d", f.Limit))
	if err != nil {
		return nil, fmt.Errorf("list messages: %w", err)
	}
	return list, nil
}

// createdBetween adds that a row was created from one instant to before another
// (zero is no bound), and comes behind a cursor.
func createdBetween(w *sqldb.Where, from, to time.Time, after Cursor) {
	if !from.IsZero() {
		w.And("created_at >= ?", from)
	}
	if !to.IsZero() {
		w.And("created_at < ?", to)
	}
	if !after.At.IsZero() {
		after.behind(w, "created_at")
	}
}

// behind adds that a row, whose time is in a column, comes behind the cursor. The time by
// itself says nothing more, but is what CockroachDB begins to read an index at.
func (c Cursor) behind(w *sqldb.Where, column string) {
	w.And(column+" >= ? AND ("+column+", id) > (?, ?)", c.At, c.At, c.ID)
}

// PurgeTexts removes the texts that are older than Config.TextRetention, at most
// limit of them, and returns how many it removed.
func (s *Service) PurgeTexts(ctx context.Context, limit int) (int, error) {
	purged, err := s.purge(ctx, limit, `UPDATE messages SET text = NULL WHERE id IN (SELECT id FROM messages
		WHERE text IS NOT NULL AND received_at < $1 AND handled_at IS NOT NULL ORDER BY received_at LIMIT %d)`,
		s.engine.Now().Add(-s.config.TextRetention))
	if err != nil {
		return purged, fmt.Errorf("purge old texts: %w", err)
	}
	return purged, nil
}

// purgeBatch bounds the rows that one transaction of purge changes.
const purgeBatch = 500

// purge runs a statement about what is older than an instant, which stands in it as
// $1, in transactions of a few rows (%d in it) until limit or nothing is left. It
// returns how many rows were changed.
func (s *Service) purge(ctx context.Context, limit int, statement string, before time.Time) (int, error) {
	purged := 0
	for purged < limit {
		size := min(purgeBatch, limit-purged)
		var n int64
		err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			var err error
			n, err = tx.Exec(ctx, fmt.Sprintf(statement, size), before)
			return err
		})
		if err != nil {
			return purged, err
		}
		purged += int(n)
		if int(n) < size {
			break
		}
	}
	return purged, nil
}
