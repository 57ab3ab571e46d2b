package reconciliation

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"time"

	"tweetledger/internal/payments"
)

// MaxLookup is how many messages History.Lookup is asked for at once (X API v2:
// GET /2/tweets takes 100 ids).
const MaxLookup = 100

// History is what a channel remembers, or an archive of it.
type History interface {
	// Messages yields the messages written from one instant to before another, in
	// any order; repeats and messages outside of that time do no harm. An error ends
	// the run.
	Messages(ctx context.Context, from, to time.Time) iter.Seq2[payments.Message, error]
	// Lookup says what is there now under the ids of at most MaxLookup messages. An
	// id that is left out counts as NotFound.
	Lookup(ctx context.Context, ids []string) (map[string]Found, error)
}

// FoundStatus is what a channel answers when it is asked for a message.
type FoundStatus string

// The answers.
const (
	There         FoundStatus = "there"
	NotFound      FoundStatus = "not_found"      // deleted, or it never was
	NotAuthorised FoundStatus = "not_authorised" // the author's account is protected now
	Suspended     FoundStatus = "suspended"      // the author's account is suspended
)

// Found is the answer about one message.
type Found struct {
	Status  FoundStatus
	Message payments.Message // the version that was asked for; set where it is There
	// Newest is the number of the newest version of the edit chain as far as the
	// channel says; Message.Version or less where it says nothing of newer ones.
	Newest int
}

// outside is the tweets of a period as one side of a join.
type outside struct {
	side[payments.Message]
	// own are the texts that the bank itself wrote, by conversation: receipts.
	own *shelf
}

func (t *tweets) newOutside() *outside {
	return &outside{side: side[payments.Message]{sorter: sorter{spill: t.spill}, key: t.keyOf, within: byVersion, encode: appendMessage, decode: readMessage}}
}

// readHistory collects what can bear on the book: commands, those that are nearly
// one, edits, and what the bank itself wrote.
func (t *tweets) readHistory(ctx context.Context, h History, from, to time.Time) (*outside, error) {
	o, own := t.newOutside(), sorter{spill: t.spill}
	for m, err := range h.Messages(ctx, from, to) {
		if err != nil {
			return nil, fmt.Errorf("read the history of %s: %w", t.channel, err)
		}
		if m.Channel != t.channel || m.CreatedAt.Before(from) || !m.CreatedAt.Before(to) {
			continue
		}
		if err := m.Validate(); err != nil {
			t.run.addNote(Break{Class: Unreadable, Reference: payments.OrderKey(t.channel, m.FirstID), Currency: t.currency,
				Message: fmt.Sprintf("%v; the inbox would refuse it, and so it counts for nothing here", err)})
			continue
		}
		parsed := t.parser.Parse(m)
		switch {
		case parsed.Ignored == payments.IgnoredOwn:
			err = own.add(orderedText(nil, m.ConversationID), []byte(m.Text))
		case parsed.Ignored != "" && m.Version == 0:
		default:
			err = o.add(m)
		}
		if err != nil {
			return nil, err
		}
	}
	var err error
	o.own, err = newShelf(&own)
	return o, err
}

// maxOwn bounds the texts of the bank in one conversation that a receipt is looked for
// in: a payment has two or three.
const maxOwn = 1_000

// ownTexts returns what the bank wrote in a conversation.
func (t *tweets) ownTexts(conversation string) ([]string, error) {
	if conversation == "" {
		return nil, nil
	}
	return t.own.values(orderedText(nil, conversation), maxOwn)
}

// byVersion orders the versions of an edit chain. Copies of one version that came
// by several ways differ in little things; what is kept of them decides then, and not
// which came first.
func byVersion(b []byte, m payments.Message) []byte {
	return orderedText(orderedNumber(b, int64(m.Version)), m.ID)
}

// appendMessage writes a message as JSON, which always goes well: it is strings,
// numbers and a time.
func appendMessage(b []byte, m payments.Message) []byte {
	text, err := json.Marshal(m)
	if err != nil {
		return b
	}
	return append(b, text...)
}

func readMessage(value []byte) (payments.Message, error) {
	var m payments.Message
	if err := json.Unmarshal(value, &m); err != nil {
		return m, fmt.Errorf("read a message back: %w", err)
	}
	return m, nil
}

// versions drops the copies of each version but the first.
func versions(messages []payments.Message) []payments.Message {
	return slices.CompactFunc(messages, func(a, b payments.Message) bool { return a.Version == b.Version })
}
