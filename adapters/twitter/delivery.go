package twitter

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// delivery is the body of a delivery to a webhook, in any of the three shapes that X
// sends: a post of the filtered stream {"data": {post}, "includes": …}, an event of X
// Activity {"data": {"event_type": …, "payload": …}}, and events of Account Activity
// {"for_user_id": …, "tweet_create_events": […], …}, which keep the names of the API
// v1.1. Source: X, webhooks, event payloads.
type delivery struct {
	Data     json.RawMessage `json:"data"`
	Includes includes        `json:"includes"`
	accountActivity
	Replay *struct {
		State string `json:"job_state"`
		ID    string `json:"job_id"`
	} `json:"replay_job_status"`
}

// accountActivity is what Account Activity delivers, and what X Activity does for
// direct messages.
type accountActivity struct {
	Posts   []json.RawMessage `json:"tweet_create_events"`
	Deleted []deletedPost     `json:"tweet_delete_events"`
	Directs []json.RawMessage `json:"direct_message_events"`
	Users   map[string]struct {
		ScreenName string `json:"screen_name"`
		Data       struct {
			Username string `json:"username"`
		} `json:"data"`
	} `json:"users"`
}

type deletedPost struct {
	Status struct {
		ID     numericID `json:"id"`
		UserID numericID `json:"user_id"`
	} `json:"status"`
	At string `json:"timestamp_ms"`
}

// activityEvent is an event of X Activity.
type activityEvent struct {
	Type     string          `json:"event_type"`
	Payload  json.RawMessage `json:"payload"`
	Includes includes        `json:"includes"`
}

// decode reads a delivery. What is none of the service's business is left out; an
// event that cannot be read is noted, and the others of the delivery count.
func (h *Webhook) decode(ctx context.Context, body []byte) ([]webhookEvent, error) {
	var d delivery
	if err := json.Unmarshal(body, &d); err != nil {
		return nil, jsonError("the delivery", err)
	}
	if d.Replay != nil {
		h.client.opts.Log.InfoContext(ctx, "X has ended a replay of the webhook", "job", d.Replay.ID, "state", d.Replay.State)
	}
	if isNull(d.Data) {
		return h.account(ctx, d.accountActivity)
	}
	var activity activityEvent
	if err := json.Unmarshal(d.Data, &activity); err != nil {
		return nil, jsonError("the delivery", err)
	}
	if activity.Type == "" || isNull(activity.Payload) {
		m, err := decodeTweet(d.Data, d.Includes.directory(), ViaWebhook)
		return h.posted(m, err)
	}
	switch activity.Type {
	case "post.create", "post.mention.create", "post.reply.create", "post.quote.create":
		m, err := decodeTweet(activity.Payload, activity.Includes.directory(), ViaWebhook)
		return h.posted(m, err)
	case "post.delete":
		return h.deleted(activity.Payload)
	case "dm.received":
		var directs accountActivity
		if err := json.Unmarshal(activity.Payload, &directs); err != nil {
			return nil, jsonError("the event", err)
		}
		return h.account(ctx, directs)
	}
	return nil, nil // dm.sent, likes, follows, …
}

func (h *Webhook) posted(m payments.Message, err error) ([]webhookEvent, error) {
	if err != nil || m.AuthorID == h.opts.BankUserID {
		return nil, err
	}
	return []webhookEvent{{message: &m}}, nil
}

func (h *Webhook) deleted(payload json.RawMessage) ([]webhookEvent, error) {
	var post struct {
		ID       numericID `json:"id"`
		AuthorID numericID `json:"author_id"`
	}
	if err := json.Unmarshal(payload, &post); err != nil {
		return nil, jsonError("the deletion", err)
	}
	if post.ID == "" {
		return nil, ledger.Errorf(ledger.CodeInvalid, "the deletion names no post").InField("payload.id")
	}
	return []webhookEvent{{deletion: &payments.Deletion{Channel: Channel, ID: string(post.ID), AuthorID: string(post.AuthorID)}}}, nil
}

// account reads the events of Account Activity.
func (h *Webhook) account(ctx context.Context, a accountActivity) ([]webhookEvent, error) {
	if n := len(a.Posts) + len(a.Deleted) + len(a.Directs); n > maxWebhookEvents {
		return nil, ledger.Errorf(ledger.CodeInvalid, "the delivery has %d events, more than the %d that are read", n, maxWebhookEvents)
	}
	var events []webhookEvent
	add := func(raw json.RawMessage, m payments.Message, err error) {
		switch {
		case err != nil:
			h.client.unreadable(ctx, ViaWebhook, raw, err)
		case m.AuthorID != h.opts.BankUserID:
			events = append(events, webhookEvent{message: &m})
		}
	}
	for _, raw := range a.Posts {
		m, err := decodeStatus(raw)
		add(raw, m, err)
	}
	for _, raw := range a.Directs {
		m, reader, err := decodeOldDirect(raw, a)
		if err == nil && reader != h.opts.BankUserID {
			continue // X delivers for every account that the app may act for
		}
		add(raw, m, err)
	}
	for _, post := range a.Deleted {
		at, err := milliseconds(post.At)
		if err == nil && post.Status.ID == "" {
			err = ledger.Errorf(ledger.CodeInvalid, "the deletion names no post").InField("status.id")
		}
		if err != nil {
			h.client.unreadable(ctx, ViaWebhook, nil, err)
			continue
		}
		events = append(events, webhookEvent{deletion: &payments.Deletion{Channel: Channel, ID: string(post.Status.ID), AuthorID: string(post.Status.UserID), At: at}})
	}
	return events, nil
}

// milliseconds reads a time in milliseconds since 1970; "" is the zero time.
func milliseconds(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ms < 0 || ms > latestMillisecond {
		return time.Time{}, ledger.Errorf(ledger.CodeInvalid, "%q is not a time in milliseconds", clip(text))
	}
	return time.UnixMilli(ms).UTC(), nil
}

// latestMillisecond is the end of the year 9999.
const latestMillisecond = 253_402_300_799_999

// status is a post as the API v1.1 writes it.
type status struct {
	ID        numericID `json:"id_str"`
	Text      *string   `json:"text"`
	CreatedAt string    `json:"created_at"`
	Lang      string    `json:"lang"`
	User      struct {
		ID         numericID `json:"id_str"`
		ScreenName string    `json:"screen_name"`
	} `json:"user"`
	InReplyTo numericID       `json:"in_reply_to_status_id_str"`
	QuotedID  numericID       `json:"quoted_status_id_str"`
	IsQuote   bool            `json:"is_quote_status"`
	Repost    json.RawMessage `json:"retweeted_status"`
	Entities  oldEntities     `json:"entities"`
	Extended  *struct {
		FullText string      `json:"full_text"`
		Entities oldEntities `json:"entities"`
	} `json:"extended_tweet"`
	History struct {
		Initial numericID   `json:"initial_tweet_id"`
		IDs     []numericID `json:"edit_tweet_ids"`
	} `json:"edit_history"`
}

type oldEntities struct {
	Mentions []struct {
		ScreenName string    `json:"screen_name"`
		ID         numericID `json:"id_str"`
	} `json:"user_mentions"`
}

func (e oldEntities) named() []entityMention {
	named := make([]entityMention, 0, len(e.Mentions))
	for _, m := range e.Mentions {
		named = append(named, entityMention{Username: m.ScreenName, ID: m.ID})
	}
	return named
}

func decodeStatus(raw []byte) (payments.Message, error) {
	var s status
	if err := json.Unmarshal(raw, &s); err != nil {
		return payments.Message{}, jsonError("the post", err)
	}
	m := payments.Message{Channel: Channel, ID: string(s.ID), AuthorID: string(s.User.ID), AuthorHandle: s.User.ScreenName, Kind: s.kind(), Language: s.Lang, Via: ViaWebhook}
	switch {
	case s.ID == "":
		return m, ledger.Errorf(ledger.CodeInvalid, "the post has no id").InField("id_str")
	case s.User.ID == "":
		return m, ledger.Errorf(ledger.CodeInvalid, "post %s names no author", s.ID).InField("user.id_str")
	case s.Text == nil:
		return m, ledger.Errorf(ledger.CodeInvalid, "post %s has no text", s.ID).InField("text")
	}
	created, err := time.Parse(time.RubyDate, s.CreatedAt)
	if err != nil {
		return m, ledger.Errorf(ledger.CodeInvalid, "post %s was created at %q, which is not a time like %q", s.ID, clip(s.CreatedAt), time.RubyDate).InField("created_at")
	}
	m.CreatedAt = created.UTC()
	text, named := *s.Text, s.Entities.named()
	if s.Extended != nil {
		text, named = s.Extended.FullText, append(s.Extended.Entities.named(), named...)
	}
	if m.Text, err = unescape(m.ID, text); err != nil {
		return m, err
	}
	chain := s.History.IDs
	if first := s.History.Initial; first != "" && (len(chain) == 0 || chain[0] != first) {
		chain = append([]numericID{first}, chain...)
	}
	if err := setEdits(&m, chain); err != nil {
		return m, err
	}
	m.Mentions = mentions(named, directory{})
	return m, nil
}

func (s *status) kind() payments.MessageKind {
	switch {
	case !isNull(s.Repost):
		return payments.Repost
	case s.IsQuote || s.QuotedID != "":
		return payments.Quote
	case s.InReplyTo != "":
		return payments.Answer
	}
	return payments.Original
}

// oldDirect is a direct message as the API v1.1 writes it.
type oldDirect struct {
	Type      string    `json:"type"`
	ID        numericID `json:"id"`
	CreatedAt string    `json:"created_timestamp"`
	Create    struct {
		SenderID numericID `json:"sender_id"`
		Target   struct {
			RecipientID numericID `json:"recipient_id"`
		} `json:"target"`
		Data struct {
			Text     string      `json:"text"`
			Entities oldEntities `json:"entities"`
		} `json:"message_data"`
	} `json:"message_create"`
}

// decodeOldDirect returns a direct message, and the numeric id of who it is for.
func decodeOldDirect(raw []byte, a accountActivity) (m payments.Message, reader string, err error) {
	var d oldDirect
	if err := json.Unmarshal(raw, &d); err != nil {
		return m, "", jsonError("the direct message", err)
	}
	sender, reader := string(d.Create.SenderID), string(d.Create.Target.RecipientID)
	m = payments.Message{Channel: ChannelDirect, ID: string(d.ID), FirstID: string(d.ID), AuthorID: sender, Kind: payments.Direct, Via: ViaWebhook,
		ConversationID: directConversation(sender, reader)}
	switch {
	case d.Type != "message_create" || m.ID == "":
		return m, reader, ledger.Errorf(ledger.CodeInvalid, "the event %q is no direct message", clip(d.Type)).InField("type")
	case sender == "" || reader == "":
		return m, reader, ledger.Errorf(ledger.CodeInvalid, "direct message %s names not both who wrote it and to whom", m.ID).InField("message_create")
	}
	if u, ok := a.Users[sender]; ok {
		if m.AuthorHandle = u.ScreenName; m.AuthorHandle == "" {
			m.AuthorHandle = u.Data.Username
		}
	}
	if m.CreatedAt, err = milliseconds(d.CreatedAt); err != nil || m.CreatedAt.IsZero() {
		return m, reader, ledger.Errorf(ledger.CodeInvalid, "direct message %s was created at %q, which is not a time in milliseconds", m.ID, clip(d.CreatedAt)).InField("created_timestamp")
	}
	if m.Text, err = unescape(m.ID, d.Create.Data.Text); err != nil {
		return m, reader, err
	}
	m.Mentions = mentions(directMentions(d.Create.Data.Entities.named(), m.Text), directory{})
	return m, reader, nil
}

// directConversation names a conversation of two as X does: both ids, the smaller first.
func directConversation(a, b string) string {
	if compareIDs(a, b) > 0 {
		a, b = b, a
	}
	return a + "-" + b
}
