package twitter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// ChannelDirect is the name of the channel of direct messages in messages, keys and
// the inbox.
const ChannelDirect = Channel + "-dm"

const (
	// maxDirectPages bounds one reading: X hands out the direct messages of 30 days,
	// and takes 15 requests in 15 minutes.
	maxDirectPages = 10
	// maxDirectRunes is how long a direct message may be. Source: X API, direct messages.
	maxDirectRunes = 10_000
	// maxResolved bounds the handles of one direct message that are looked up, each of
	// which is billed: a command names one payee.
	maxResolved = 3
)

// directEvent is an event of the direct messages of the X API v2. Source: OpenAPI
// document of the X API v2, schema DmEvent.
type directEvent struct {
	ID             numericID `json:"id"`
	EventType      string    `json:"event_type"`
	Text           *string   `json:"text"`
	SenderID       numericID `json:"sender_id"`
	ConversationID string    `json:"dm_conversation_id"`
	CreatedAt      string    `json:"created_at"`
	Entities       entities  `json:"entities"`
}

// directEventType is the one event that carries a text.
const directEventType = "MessageCreate"

func (e directEvent) message(users directory) (payments.Message, error) {
	m := payments.Message{Channel: ChannelDirect, ID: string(e.ID), FirstID: string(e.ID), ConversationID: e.ConversationID,
		AuthorID: string(e.SenderID), AuthorHandle: users.handles[e.SenderID], Kind: payments.Direct, Via: ViaDirect}
	switch {
	case e.ID == "":
		return m, ledger.Errorf(ledger.CodeInvalid, "the direct message has no id").InField("id")
	case e.SenderID == "":
		return m, ledger.Errorf(ledger.CodeInvalid, "direct message %s names no sender; ask X for expansions=sender_id", e.ID).InField("sender_id")
	}
	created, err := time.Parse(time.RFC3339, e.CreatedAt)
	if err != nil {
		return m, ledger.Errorf(ledger.CodeInvalid, "direct message %s was created at %q, which is not a time; ask X for dm_event.fields=created_at", e.ID, clip(e.CreatedAt)).InField("created_at")
	}
	text := ""
	if e.Text != nil { // a picture has none
		text = *e.Text
	}
	m.CreatedAt = created.UTC()
	if m.Text, err = unescape(m.ID, text); err != nil {
		return m, err
	}
	m.Mentions = mentions(directMentions(e.Entities.Mentions, m.Text), users)
	return m, nil
}

// writtenMention finds handles in a text as X does.
var writtenMention = regexp.MustCompile(`(?:^|[^A-Za-z0-9_!#$%&*@＠])[@＠]([A-Za-z0-9_]{1,20})`)

// directMentions adds the handles that a text names to those that X has found in it:
// in direct messages X does not find all.
func directMentions(found []entityMention, text string) []entityMention {
	all := slices.Clone(found)
	for _, match := range writtenMention.FindAllStringSubmatch(text, maxMentions) {
		if !slices.ContainsFunc(all, func(m entityMention) bool { return strings.EqualFold(m.Username, match[1]) }) {
			all = append(all, entityMention{Username: match[1]})
		}
	}
	return all
}

func directQuery() url.Values {
	return url.Values{
		"dm_event.fields": {"created_at,dm_conversation_id,entities,event_type,id,text"},
		"event_types":     {directEventType},
		"expansions":      {"sender_id,participant_ids"},
		"user.fields":     {"username"},
	}
}

// ReadDirect reads the direct messages to the bank that were written at from or later,
// hands them to take, the oldest first, and returns from where to read the next
// time, in the way of ReadMentions. What the bank's account itself has written is left
// out. The zero time reads all that X has, which is 30 days.
func (c *Client) ReadDirect(ctx context.Context, bankUserID string, from time.Time, take BatchHandler) (time.Time, error) {
	if !validID(bankUserID) {
		return from, ledger.Errorf(ledger.CodeInvalid, "%q is not a numeric user id", clip(bankUserID))
	}
	messages, whole, err := c.directMessages(ctx, "/2/dm_events", from)
	if err != nil {
		return from, fmt.Errorf("reading direct messages: %w", err)
	}
	if !whole {
		c.metrics.gaps.Inc()
		c.opts.Log.WarnContext(ctx, "more direct messages than are read at a time; older ones are left out", "from", from, "read", len(messages))
	}
	next := from
	for i := range messages {
		if n := messages[i].CreatedAt.Add(-overlap); n.After(next) {
			next = n
		}
		if messages[i].AuthorID == bankUserID {
			continue
		}
		if err := c.resolve(ctx, &messages[i]); err != nil {
			return from, err
		}
	}
	messages = slices.DeleteFunc(messages, func(m payments.Message) bool { return m.AuthorID == bankUserID })
	if err := c.offerAll(ctx, ViaDirect, messages, take); err != nil {
		return from, err
	}
	return next, nil
}

// directMessages reads the events of a path, the newest first, down to from. False:
// there were more than are read at a time.
func (c *Client) directMessages(ctx context.Context, path string, from time.Time) ([]payments.Message, bool, error) {
	query := directQuery()
	query.Set("max_results", strconv.Itoa(pageSize))
	what := call{endpoint: endpointDirectRead, method: http.MethodGet, path: path, query: query, token: c.opts.UserToken}
	var messages []payments.Message
	for range maxDirectPages {
		var page answerPage
		if err := c.do(ctx, what, &page); err != nil {
			return nil, false, err
		}
		users := page.Includes.directory()
		for _, raw := range page.Data {
			m, ok := c.decodeDirect(ctx, raw, users)
			if !ok {
				continue
			}
			if m.CreatedAt.Before(from) {
				return messages, true, nil
			}
			messages = append(messages, m)
		}
		if page.Meta.NextToken == "" {
			return messages, true, nil
		}
		query.Set("pagination_token", page.Meta.NextToken)
	}
	return messages, false, nil
}

func (c *Client) decodeDirect(ctx context.Context, raw json.RawMessage, users directory) (payments.Message, bool) {
	var e directEvent
	err := json.Unmarshal(raw, &e)
	if err != nil {
		err = jsonError("the direct message", err)
	} else if e.EventType != "" && e.EventType != directEventType {
		return payments.Message{}, false
	}
	var m payments.Message
	if err == nil {
		m, err = e.message(users)
	}
	c.noteRead(resourceDirect, ViaDirect, lenientID(raw), m.CreatedAt)
	if err != nil {
		c.unreadable(ctx, ViaDirect, raw, err)
		return payments.Message{}, false
	}
	return m, true
}

// resolve looks up the handles of a direct message that X gave no ids for. Only a text
// with a hashtag can be a command, and only a command needs them.
func (c *Client) resolve(ctx context.Context, m *payments.Message) error {
	if !strings.ContainsAny(m.Text, "#＃") {
		return nil
	}
	var unknown []string
	for _, n := range directMentions(nil, m.Text) {
		if !slices.ContainsFunc(m.Mentions, func(known payments.Mention) bool { return strings.EqualFold(known.Handle, n.Username) }) {
			unknown = append(unknown, n.Username)
		}
	}
	if len(unknown) == 0 || len(unknown) > maxResolved {
		return nil
	}
	users, err := c.users(ctx, unknown)
	if refused, ok := errors.AsType[*APIError](err); ok && (refused.Status == http.StatusBadRequest || refused.Status == http.StatusNotFound) {
		// What cannot be a handle names nobody. It must not keep this message, and all
		// that come with it, from being read for ever.
		c.opts.Log.WarnContext(ctx, "X looks up no handle of a direct message", "message", m.ID, "status", refused.Status) // X's words quote the message
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking up who direct message %s names: %w", m.ID, err)
	}
	for _, handle := range unknown {
		if id := users.ids[strings.ToLower(handle)]; id != "" {
			m.Mentions = append(m.Mentions, payments.Mention{UserID: string(id), Handle: handle})
		}
	}
	return nil
}

// users looks up handles.
func (c *Client) users(ctx context.Context, handles []string) (directory, error) {
	var answer struct {
		Data []user `json:"data"`
	}
	what := call{endpoint: endpointUsers, method: http.MethodGet, path: "/2/users/by", query: url.Values{"usernames": {strings.Join(handles, ",")}}, token: c.opts.AppToken}
	if err := c.do(ctx, what, &answer); err != nil {
		return directory{}, err
	}
	for _, u := range answer.Data {
		c.noteRead(resourceUser, ViaLookup, string(u.ID), time.Time{})
	}
	return includes{Users: answer.Data}.directory(), nil
}

// direct sends a direct message of the outbox. X takes no key to send it once, so one
// that is in doubt is looked for first.
func (c *Client) direct(ctx context.Context, out payments.Outgoing) (string, error) {
	if out.InDoubt {
		id, err := c.FindDirect(ctx, out.RecipientID, out.Text, out.Since)
		if err != nil {
			return "", lookError(out, err)
		}
		if id != "" {
			c.metrics.found.Inc()
			return id, nil
		}
	}
	return c.SendDirect(ctx, out.RecipientID, out.Text)
}

// SendDirect sends a direct message to a user as the bank's account and returns the
// id of the event that it became. Errors are those of Reply.
func (c *Client) SendDirect(ctx context.Context, userID, text string) (string, error) {
	if size := utf8.RuneCountInString(text); !validID(userID) || size == 0 || size > maxDirectRunes {
		return "", &payments.SendError{Permanent: true, Err: ledger.Errorf(ledger.CodeInvalid,
			"a direct message needs the numeric id of its reader, not %q, and a text of 1 to %d characters", clip(userID), maxDirectRunes)}
	}
	var answer struct {
		Data struct {
			ID numericID `json:"dm_event_id"`
		} `json:"data"`
	}
	err := c.do(ctx, call{endpoint: endpointDirect, method: http.MethodPost, path: "/2/dm_conversations/with/" + userID + "/messages",
		body: map[string]string{"text": text}, token: c.opts.UserToken}, &answer)
	switch {
	case err != nil:
		return "", sendError(err)
	case answer.Data.ID == "":
		return "", ledger.Errorf(ledger.CodeUnavailable, "X sent a direct message to %s without saying its id", userID)
	}
	return string(answer.Data.ID), nil
}

// FindDirect looks for a direct message with this text that the bank's account sent to
// a user at since or later, and returns its id, or "". X writes when a message was
// sent by its own clock, so since is taken with some grace.
func (c *Client) FindDirect(ctx context.Context, userID, text string, since time.Time) (string, error) {
	if !validID(userID) {
		return "", ledger.Errorf(ledger.CodeInvalid, "%q is not a numeric user id", clip(userID))
	}
	sent, _, err := c.directMessages(ctx, "/2/dm_conversations/with/"+userID+"/dm_events", since.Add(-clockGrace))
	if err != nil {
		return "", fmt.Errorf("looking for a direct message to %s: %w", userID, err)
	}
	for _, m := range sent {
		if m.AuthorID != userID && withoutAddresses(m.Text) == withoutAddresses(text) {
			return m.ID, nil
		}
	}
	return "", nil
}

// sentAddress is an address in a text that was sent: X shows a short one of its own.
var sentAddress = regexp.MustCompile(`https?://[^\s]+`)

func withoutAddresses(text string) string { return sentAddress.ReplaceAllString(text, "https://") }

// clockGrace is by how much X's clock and ours may differ.
const clockGrace = time.Minute
