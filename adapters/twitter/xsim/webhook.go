package xsim

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// WebhookShape is in which of X's shapes a webhook gets events.
type WebhookShape string

// The shapes.
const (
	ShapeActivity WebhookShape = "activity" // X Activity
	ShapeAccount  WebhookShape = "account"  // Account Activity, with the names of the API v1.1
)

// WebhookConfig says where events go.
type WebhookConfig struct {
	URL    string
	Secret string // the app's consumer secret, which signs
	UserID string // the account that is subscribed: its mentions and direct messages are delivered
	Shape  WebhookShape
	Client *http.Client // nil: http.DefaultClient
}

const (
	// webhookQueue is how many deliveries wait for a slow webhook; those beyond are lost.
	webhookQueue = 10_000
	// webhookTries and webhookPause are how often, and after what pause, a delivery is
	// made that is not answered with 200.
	webhookTries = 5
	webhookPause = time.Second
	// webhookTimeout is how long an answer may take. Source: X, webhooks.
	webhookTimeout = 10 * time.Second
	// webhookKept is how many deliveries can be replayed.
	webhookKept = 1000
)

// webhook is a registered address.
type webhook struct {
	config WebhookConfig
	queue  chan delivery
	kept   []delivery // the newest ones, the oldest first
}

// delivery is an event on its way.
type delivery struct {
	body    []byte
	deleted string // id of the tweet whose deletion it is; empty: another event
}

// Subscribe registers a webhook once it has answered a challenge-response check. From
// then on posts that mention the user, direct messages to him and everybody's
// deletions are delivered to it, each until it is answered with 200, a few times at most.
func (s *Server) Subscribe(ctx context.Context, config WebhookConfig) error {
	if config.Client == nil {
		config.Client = http.DefaultClient
	}
	if config.Shape != ShapeActivity && config.Shape != ShapeAccount {
		return fmt.Errorf("%q is not a shape of events; use %s or %s", config.Shape, ShapeActivity, ShapeAccount)
	}
	if err := challenge(ctx, config); err != nil {
		return fmt.Errorf("the webhook %s does not pass the challenge-response check: %w", config.URL, err)
	}
	hook := &webhook{config: config, queue: make(chan delivery, webhookQueue)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.webhook != nil {
		return errors.New("a webhook is registered already")
	}
	s.webhook = hook
	s.workers.Go(func() { s.work(hook) })
	return nil
}

func challenge(ctx context.Context, config WebhookConfig) error {
	address, err := url.Parse(config.URL)
	if err != nil {
		return err
	}
	const token = "xsim-challenge"
	query := address.Query()
	query.Set("crc_token", token)
	address.RawQuery = query.Encode()
	ctx, cancel := context.WithTimeout(ctx, webhookTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return err
	}
	response, err := config.Client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer struct {
		Token string `json:"response_token"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, mostRequestBytes)).Decode(&answer); err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s (%w)", response.Status, err)
	}
	if answer.Token != Sign(config.Secret, []byte(token)) {
		return errors.New("its answer is not signed with the app's secret")
	}
	return nil
}

// Sign returns the signature of a body in the way of X.
func Sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// Replay delivers once more what was delivered, as X does on request.
func (s *Server) Replay() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.webhook == nil {
		return
	}
	for _, d := range slices.Clone(s.webhook.kept) {
		s.webhook.send(d)
	}
}

func (h *webhook) send(d delivery) {
	select {
	case h.queue <- d:
	default: // too slow: lost, as with X
	}
}

// enqueue delivers an event, which may be the deletion of a tweet. s.mu is held.
func (s *Server) enqueue(event map[string]any, deleted string, twice bool) {
	d := delivery{body: bytes.TrimSpace(line(event)), deleted: deleted}
	h := s.webhook
	if h.kept = append(h.kept, d); len(h.kept) > webhookKept {
		h.kept = h.kept[1:]
	}
	h.send(d)
	if twice {
		h.send(d)
	}
}

// DeletionTaken reports whether the webhook has taken the deletion of a tweet, by the
// id of the version that was deleted.
func (s *Server) DeletionTaken(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deletionsTaken[id]
}

// work delivers until the server is closed.
func (s *Server) work(h *webhook) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-s.closed
		cancel()
	}()
	for {
		select {
		case d := <-h.queue:
			s.push(ctx, h, d)
		case <-ctx.Done():
			return
		}
	}
}

// push makes one delivery, again while it is not answered with 200.
func (s *Server) push(ctx context.Context, h *webhook, d delivery) {
	s.mu.Lock()
	forge := s.faults.forge > 0
	if forge {
		s.faults.forge--
	}
	s.mu.Unlock()
	if forge {
		status, err := post(ctx, h.config, d.body, Sign(h.config.Secret+"?", d.body))
		s.opts.Log.InfoContext(ctx, "sent a forged delivery", "status", status, "error", err)
	}
	for try := 1; try <= webhookTries; try++ {
		status, err := post(ctx, h.config, d.body, Sign(h.config.Secret, d.body))
		if status == http.StatusOK && d.deleted != "" {
			s.mu.Lock()
			s.deletionsTaken[d.deleted] = true
			s.mu.Unlock()
		}
		if status == http.StatusOK || ctx.Err() != nil {
			return
		}
		s.opts.Log.WarnContext(ctx, "a delivery was not taken", "try", try, "status", status, "error", err)
		select {
		case <-s.opts.After(webhookPause):
		case <-ctx.Done():
			return
		}
	}
}

func post(ctx context.Context, config WebhookConfig, body []byte, signature string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, webhookTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, config.URL, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Twitter-Webhooks-Signature", signature)
	response, err := config.Client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(response.Body, mostRequestBytes))
	return response.StatusCode, err
}

// allFields is what events show of a tweet.
func (s *Server) allFields() view {
	fields := set("author_id,conversation_id,created_at,edit_history_tweet_ids,entities,lang,note_tweet,referenced_tweets")
	return view{fields, set("author_id,entities.mentions.username"), s.opts.PostNames}
}

// activity is an event of X Activity.
func (s *Server) activity(kind, user string, payload any, includes map[string]any) map[string]any {
	data := map[string]any{"event_uuid": s.newID(), "event_type": kind, "filter": map[string]string{"user_id": user}, "payload": payload}
	if includes != nil {
		data["includes"] = includes
	}
	return map[string]any{"data": data}
}

// notifyPost delivers a tweet that mentions the subscribed user. s.mu is held.
func (s *Server) notifyPost(t *tweet) {
	if s.webhook == nil || !t.mentionsUser(s.webhook.config.UserID) || t.authorID == s.webhook.config.UserID {
		return
	}
	config, twice := s.webhook.config, s.faults.deliver2 > 0
	if twice {
		s.faults.deliver2--
	}
	if config.Shape == ShapeAccount {
		s.enqueue(map[string]any{"for_user_id": config.UserID, "tweet_create_events": []any{s.oldStatus(t)}}, "", twice)
		return
	}
	v := s.allFields()
	s.enqueue(s.activity("post.mention.create", config.UserID, v.render(t), s.includes(v, t)), "", twice)
}

// notifyDeletion delivers the deletion of a tweet. s.mu is held.
func (s *Server) notifyDeletion(t *tweet) {
	switch {
	case s.webhook == nil:
	case s.webhook.config.Shape == ShapeAccount:
		s.enqueue(map[string]any{"for_user_id": t.authorID, "tweet_delete_events": []any{map[string]any{
			"status": map[string]string{"id": t.id, "user_id": t.authorID}, "timestamp_ms": strconv.FormatInt(s.opts.Clock().UnixMilli(), 10)}}}, t.id, false)
	default:
		s.enqueue(s.activity("post.delete", t.authorID, map[string]string{"id": t.id, "author_id": t.authorID}, nil), t.id, false)
	}
}

// notifyDirect delivers a direct message to the subscribed user. s.mu is held.
func (s *Server) notifyDirect(d *direct) {
	if s.webhook == nil || d.to != s.webhook.config.UserID {
		return
	}
	users := map[string]any{}
	for _, id := range []string{d.from, d.to} {
		u := s.users[id]
		users[id] = map[string]any{"id": u.ID, "name": u.Name, "screen_name": u.Handle, "data": u.render()}
	}
	event := map[string]any{"type": "message_create", "id": d.id, "created_timestamp": strconv.FormatInt(d.createdAt.UnixMilli(), 10),
		"message_create": map[string]any{"sender_id": d.from, "target": map[string]string{"recipient_id": d.to},
			"message_data": map[string]any{"text": escape(d.text), "entities": map[string]any{"user_mentions": oldMentions(d.mentions)}}}}
	payload := map[string]any{"direct_message_events": []any{event}, "users": users}
	if s.webhook.config.Shape == ShapeAccount {
		payload["for_user_id"] = d.to
		s.enqueue(payload, "", false)
		return
	}
	s.enqueue(s.activity("dm.received", d.to, payload, nil), "", false)
}

func oldMentions(mentions []mention) []map[string]any {
	old := make([]map[string]any, len(mentions))
	for i, m := range mentions {
		old[i] = map[string]any{"screen_name": m.Username, "id_str": m.ID, "indices": []int{m.Start, m.End}}
	}
	return old
}

// oldStatus renders a tweet as the API v1.1 does.
func (s *Server) oldStatus(t *tweet) map[string]any {
	author := s.users[t.authorID]
	out := map[string]any{"id_str": t.id, "text": escape(t.text), "lang": t.lang, "created_at": t.createdAt.Format(time.RubyDate),
		"user":         map[string]string{"id_str": author.ID, "screen_name": author.Handle, "name": author.Name},
		"entities":     map[string]any{"user_mentions": oldMentions(t.mentions)},
		"edit_history": map[string]any{"initial_tweet_id": t.chain.ids[0], "edit_tweet_ids": slices.Clone(t.chain.ids)}}
	if runes := []rune(t.text); len(runes) > mostCharacters {
		out["text"], out["truncated"] = escape(string(runes[:shortForm]))+"…", true
		out["extended_tweet"] = map[string]any{"full_text": escape(t.text), "entities": out["entities"]}
	}
	for _, ref := range t.refs {
		switch ref.Type {
		case "replied_to":
			out["in_reply_to_status_id_str"] = ref.ID
		case "quoted":
			out["quoted_status_id_str"], out["is_quote_status"] = ref.ID, true
		case "retweeted":
			out["retweeted_status"] = map[string]string{"id_str": ref.ID}
		}
	}
	return out
}
