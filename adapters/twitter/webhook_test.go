package twitter_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tweetledger/adapters/twitter"
	"tweetledger/adapters/twitter/xsim"
	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

const (
	consumerSecret = "the app's API secret key"
	clientSecret   = "the app's OAuth 2.0 client secret"
)

// hook is a webhook that keeps what it stores.
type hook struct {
	*world
	handler  *twitter.Webhook
	registry *prometheus.Registry

	mu        sync.Mutex
	messages  []payments.Message
	deletions []payments.Deletion
	fail      error
	arrived   chan struct{} // gets a value for each thing stored
}

func newHook(t *testing.T, change func(*twitter.WebhookOptions)) *hook {
	t.Helper()
	h := &hook{world: newWorld(t), registry: prometheus.NewRegistry(), arrived: make(chan struct{}, 100)}
	opts := twitter.WebhookOptions{ConsumerSecret: consumerSecret, BankUserID: bankID,
		Store: func(_ context.Context, m payments.Message) error {
			return h.keep(func() { h.messages = append(h.messages, m) })
		},
		Delete: func(_ context.Context, d payments.Deletion) error {
			return h.keep(func() { h.deletions = append(h.deletions, d) })
		}}
	if change != nil {
		change(&opts)
	}
	var err error
	if h.handler, err = twitter.NewWebhook(h.newClientWith(h.server.URL, h.registry), opts); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *hook) keep(what func()) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return h.fail
	}
	what()
	h.arrived <- struct{}{}
	return nil
}

func (h *hook) setFail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail = err
}

// wait returns once n more things are stored.
func (h *hook) wait(n int) {
	h.t.Helper()
	for range n {
		select {
		case <-h.arrived:
		case <-h.ctx.Done():
			h.t.Fatal("nothing was delivered")
		}
	}
}

// post delivers a body by hand and returns the status.
func (h *hook) post(body string, header map[string]string) int {
	h.t.Helper()
	r := httptest.NewRequestWithContext(h.ctx, http.MethodPost, "/webhooks/x", strings.NewReader(body))
	for name, value := range header {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	return w.Code
}

func signedBy(secret, body string) map[string]string {
	return map[string]string{"X-Twitter-Webhooks-Signature": xsim.Sign(secret, []byte(body))}
}

// mention is a delivery of a post by marie, created at.
func mention(id string, at time.Time) string {
	return fmt.Sprintf(`{"data":{"event_type":"post.mention.create","payload":{"id":%q,"text":"@SmoneyFR #don 5€","author_id":%q,"created_at":%q}}}`, id, marieID, at.Format(time.RFC3339))
}

// subscribe registers the webhook with xsim.
func (h *hook) subscribe(shape xsim.WebhookShape) {
	h.t.Helper()
	server := httptest.NewServer(h.handler)
	h.t.Cleanup(server.Close)
	if err := h.sim.Subscribe(h.ctx, xsim.WebhookConfig{URL: server.URL + "/webhooks/x?a=b", Secret: consumerSecret, UserID: bankID, Shape: shape}); err != nil {
		h.t.Fatal(err)
	}
}

// TestWebhookChallengeSignsNoDelivery asks for the signature of a delivery as if that
// were the token of a challenge: with it anybody could write in anybody's name.
func TestWebhookChallengeSignsNoDelivery(t *testing.T) {
	h := newHook(t, nil)
	body := mention("9001", h.clock.Now())
	r := httptest.NewRequestWithContext(h.ctx, http.MethodGet, "/webhooks/x?crc_token="+url.QueryEscape(body), nil)
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	var answer struct {
		Token string `json:"response_token"`
	}
	_ = json.Unmarshal(w.Body.Bytes(), &answer) // a refusal is no JSON
	if status := h.post(body, map[string]string{"X-Twitter-Webhooks-Signature": answer.Token}); status != http.StatusForbidden || len(h.messages) != 0 {
		t.Errorf("a delivery signed by a challenge was answered with %d, and %d messages were stored", status, len(h.messages))
	}
	for _, token := range []string{"9b4507b3-9040-4669-9ca3-6b94edb50553", "NGEyZGUxYzktODRkNy00ZmM0LTk2ZTctOTNjM2E5ZTEyZDI2", "a+/_=="} {
		r := httptest.NewRequestWithContext(h.ctx, http.MethodGet, "/webhooks/x?crc_token="+url.QueryEscape(token), nil)
		w := httptest.NewRecorder()
		if h.handler.ServeHTTP(w, r); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), xsim.Sign(consumerSecret, []byte(token))) {
			t.Errorf("challenge %s is answered with %d %s", token, w.Code, w.Body)
		}
	}
}

// TestWebhookChallenge answers challenge-response checks, with the client secret
// where there is one.
func TestWebhookChallenge(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*twitter.WebhookOptions)
		secret string
	}{
		"consumer secret": {nil, consumerSecret},
		"both":            {func(o *twitter.WebhookOptions) { o.ClientSecret = clientSecret }, clientSecret},
		"client secret":   {func(o *twitter.WebhookOptions) { o.ConsumerSecret, o.ClientSecret = "", clientSecret }, clientSecret},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHook(t, test.change)
			for _, tt := range []struct {
				target string
				status int
			}{{"/?crc_token=abc", 200}, {"/", 400}, {"/?crc_token=", 400}, {"/?crc_token=" + strings.Repeat("a", 1025), 400}} {
				w := httptest.NewRecorder()
				h.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, tt.target, nil))
				if w.Code != tt.status {
					t.Errorf("%.20s: %d", tt.target, w.Code)
				}
				if want := fmt.Sprintf(`{"response_token":%q}`, xsim.Sign(test.secret, []byte("abc"))); tt.status == 200 && strings.TrimSpace(w.Body.String()) != want {
					t.Errorf("answered %s, want %s", w.Body, want)
				}
			}
			w := httptest.NewRecorder()
			if h.handler.ServeHTTP(w, httptest.NewRequest(http.MethodPut, "/", nil)); w.Code != http.StatusMethodNotAllowed {
				t.Errorf("PUT: %d", w.Code)
			}
		})
	}
}

// TestWebhookBelievesOnlyWhatXHasSigned delivers with each signature that is not one.
func TestWebhookBelievesOnlyWhatXHasSigned(t *testing.T) {
	h := newHook(t, func(o *twitter.WebhookOptions) { o.ClientSecret = clientSecret })
	body := mention("1850000000000000001", h.clock.Now())
	right := xsim.Sign(consumerSecret, []byte(body))
	const oauth2 = "X-Twitter-Webhooks-Signature-OAuth2"
	for name, header := range map[string]map[string]string{
		"none":                        nil,
		"empty":                       {"X-Twitter-Webhooks-Signature": ""},
		"another secret":              signedBy("guess", body),
		"another body":                signedBy(consumerSecret, body+" "),
		"without its prefix":          {"X-Twitter-Webhooks-Signature": strings.TrimPrefix(right, "sha256=")},
		"cut short":                   {"X-Twitter-Webhooks-Signature": right[:len(right)-1]},
		"the other header's secret":   {oauth2: right},
		"right, beside one that lies": {oauth2: "sha256=AAAA", "X-Twitter-Webhooks-Signature": right},
	} {
		if status := h.post(body, header); status != http.StatusForbidden {
			t.Errorf("%s: %d", name, status)
		}
	}
	if len(h.messages) > 0 {
		t.Errorf("stored %+v", h.messages)
	}
	for _, header := range []map[string]string{signedBy(consumerSecret, body), {oauth2: xsim.Sign(clientSecret, []byte(body))}} {
		if status := h.post(body, header); status != http.StatusOK {
			t.Errorf("rightly signed: %d", status)
		}
	}
	if len(h.messages) != 2 || metric(t, h.registry, "webhook_requests_total result=bad_signature") != 8 {
		t.Errorf("stored %+v", h.messages)
	}
}

// TestWebhookReplayWindow leaves out what happened too long ago, or has yet to happen.
func TestWebhookReplayWindow(t *testing.T) {
	h := newHook(t, nil)
	for _, tt := range []struct {
		ago    time.Duration
		stored int
	}{{0, 1}, {24 * time.Hour, 2}, {25*time.Hour + time.Second, 2}, {10 * 365 * 24 * time.Hour, 2}, {-4 * time.Minute, 3}, {-6 * time.Minute, 3}} {
		body := mention("1850000000000000001", h.clock.Now().Add(-tt.ago))
		if status := h.post(body, signedBy(consumerSecret, body)); status != http.StatusOK || len(h.messages) != tt.stored {
			t.Errorf("%v ago: %d, %d stored", tt.ago, status, len(h.messages))
		}
	}
	body := fmt.Sprintf(`{"tweet_delete_events":[{"status":{"id":"1","user_id":"2"},"timestamp_ms":"%d"}]}`, h.clock.Now().AddDate(0, 0, -2).UnixMilli())
	if status := h.post(body, signedBy(consumerSecret, body)); status != http.StatusOK || len(h.deletions) != 0 {
		t.Errorf("an old deletion: %d, %+v", status, h.deletions)
	}
	if n := metric(t, h.registry, "webhook_requests_total result=stale"); n != 4 {
		t.Errorf("%v stale deliveries", n)
	}
}

// TestWebhookBodyLimit refuses more than a mebibyte, without reading it.
func TestWebhookBodyLimit(t *testing.T) {
	h := newHook(t, nil)
	body := `{"padding":"` + strings.Repeat("a", 1<<20) + `"}`
	if status := h.post(body, signedBy(consumerSecret, body)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("%d", status)
	}
	many := `{"tweet_delete_events":[` + strings.TrimSuffix(strings.Repeat(`{"status":{"id":"1"}},`, 101), ",") + `]}`
	if status := h.post(many, signedBy(consumerSecret, many)); status != http.StatusOK || len(h.deletions) != 0 {
		t.Errorf("101 events: %d, %d stored", status, len(h.deletions))
	}
}

// TestWebhookTurnsAwayWhatIsTooMuch keeps deliveries from being stored, until there is
// no room for one more. That one is turned away unread, with the word when to come again.
func TestWebhookTurnsAwayWhatIsTooMuch(t *testing.T) {
	const most = 64
	storing, release := make(chan struct{}), make(chan struct{})
	h := newHook(t, func(o *twitter.WebhookOptions) {
		o.Store = func(context.Context, payments.Message) error {
			storing <- struct{}{}
			<-release
			return nil
		}
	})
	body := mention("7", h.clock.Now())
	status := make(chan int, most)
	for range most {
		go func() { status <- h.post(body, signedBy(consumerSecret, body)) }()
	}
	for range most {
		<-storing
	}
	unread := &countingReader{}
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/webhooks/x", unread))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" || unread.read != 0 {
		t.Errorf("one too many is answered %d, %v, after %d readings of its body", w.Code, w.Header(), unread.read)
	}
	w = httptest.NewRecorder()
	h.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/webhooks/x?crc_token=abc", nil))
	if w.Code != http.StatusOK {
		t.Errorf("a challenge is answered %d meanwhile", w.Code)
	}
	close(release)
	for range most {
		if code := <-status; code != http.StatusOK {
			t.Errorf("a delivery is answered %d", code)
		}
	}
	go func() { <-storing }()
	if code := h.post(body, signedBy(consumerSecret, body)); code != http.StatusOK {
		t.Errorf("when there is room again: %d", code)
	}
	if got := metric(t, h.registry, "webhook_requests_total result=busy"); got != 1 {
		t.Errorf("%v were counted", got)
	}
}

// countingReader counts how often somebody reads from it.
type countingReader struct{ read int }

func (r *countingReader) Read([]byte) (int, error) {
	r.read++
	return 0, io.EOF
}

// TestWebhookAnswersWhenStored asks X for another delivery while storing fails, and
// not where a message is refused for good.
func TestWebhookAnswersWhenStored(t *testing.T) {
	h := newHook(t, nil)
	body := mention("1850000000000000001", h.clock.Now())
	header := signedBy(consumerSecret, body)
	h.setFail(errors.New("disk full"))
	if status := h.post(body, header); status != http.StatusServiceUnavailable {
		t.Errorf("storing fails: %d", status)
	}
	h.setFail(ledger.Errorf(ledger.CodeInvalid, "too odd"))
	if status := h.post(body, header); status != http.StatusOK {
		t.Errorf("refused for good: %d", status)
	}
	h.setFail(nil)
	if status := h.post(body, header); status != http.StatusOK || len(h.messages) != 1 {
		t.Errorf("%d, %d stored", status, len(h.messages))
	}
	ctx, cancel := context.WithCancel(h.ctx)
	cancel()
	slow := newHook(t, func(o *twitter.WebhookOptions) {
		o.Store = func(ctx context.Context, _ payments.Message) error { return ctx.Err() }
	})
	slow.ctx = ctx
	if status := slow.post(body, header); status != http.StatusServiceUnavailable {
		t.Errorf("nobody waits any more: %d", status)
	}
}

// TestWebhookEvents subscribes to xsim in both shapes: posts, edits, long texts,
// replies, direct messages, deletions; not what the bank wrote.
func TestWebhookEvents(t *testing.T) {
	for _, shape := range []xsim.WebhookShape{xsim.ShapeActivity, xsim.ShapeAccount} {
		t.Run(string(shape), func(t *testing.T) {
			h := newHook(t, nil)
			h.subscribe(shape)
			first := h.sim.Tweet(marieID, "@SmoneyFR #envoyer 20€ @yoann_test <3")
			edit := h.sim.Edit(first, "@SmoneyFR #envoyer 21€ @yoann_test")
			long := h.sim.Tweet(marieID, "@SmoneyFR #envoyer 22€ "+strings.Repeat("merci ", 60)+"@yoann_test", xsim.ReplyTo(first))
			h.sim.Tweet(bankID, "@SmoneyFR se parle")
			h.sim.Tweet(yoannID, "sans la banque")
			direct := h.sim.Direct(marieID, bankID, "#envoyer 23€ @yoann_test")
			h.sim.Direct(bankID, marieID, "bien reçu")
			h.sim.Delete(edit)
			h.wait(5)
			h.mu.Lock()
			defer h.mu.Unlock()
			if len(h.messages) != 4 || len(h.deletions) != 1 {
				t.Fatalf("stored %+v and %+v", h.messages, h.deletions)
			}
			for i, want := range []struct {
				id, firstID string
				version     int
				kind        payments.MessageKind
				amount      ledger.Amount
			}{{first, first, 0, payments.Original, 2000}, {edit, first, 1, payments.Original, 2100}, {long, long, 0, payments.Answer, 2200}, {direct, direct, 0, payments.Direct, 2300}} {
				m := h.messages[i]
				if m.ID != want.id || m.FirstID != want.firstID || m.Version != want.version || m.Kind != want.kind || m.AuthorID != marieID || m.AuthorHandle != "marie_test" ||
					!m.CreatedAt.Truncate(time.Second).Equal(h.clock.Now().Truncate(time.Second)) || m.Via != twitter.ViaWebhook || m.Validate() != nil {
					t.Errorf("message %d: %+v (%v)", i, m, m.Validate())
				}
				if want.kind == payments.Direct {
					if m.Channel != twitter.ChannelDirect || m.ConversationID != bankID+"-"+marieID {
						t.Errorf("direct message: %+v", m)
					}
				} else if got := newParser(t).Parse(m); got.Command == nil || got.Command.Amount != want.amount || got.Command.PayeeID != yoannID {
					t.Errorf("message %d: %s", i, outcome(got))
				}
			}
			if d := h.deletions[0]; d.Channel != twitter.Channel || d.ID != edit || d.AuthorID != marieID {
				t.Errorf("deletion: %+v", d)
			}
		})
	}
}

// TestWebhookFaults delivers twice, replays, and forges.
func TestWebhookFaults(t *testing.T) {
	h := newHook(t, nil)
	h.subscribe(xsim.ShapeActivity)
	h.sim.Duplicate(1)
	h.sim.Forge(1)
	h.sim.Tweet(marieID, "@SmoneyFR un")
	h.wait(2)
	h.sim.Replay()
	h.wait(1)
	if n := metric(t, h.registry, "webhook_requests_total result=bad_signature"); n != 1 {
		t.Errorf("%v forged deliveries", n)
	}
	if n := metric(t, h.registry, "duplicates_total via=webhook"); n != 2 {
		t.Errorf("%v duplicates", n)
	}
}

// TestFilteredStreamByWebhook reads what the filtered stream delivers to a webhook.
func TestFilteredStreamByWebhook(t *testing.T) {
	h := newHook(t, nil)
	body := fmt.Sprintf(`{"data":{"id":"1850000000000000001","text":"@SmoneyFR #don 5€","author_id":%q,"created_at":%q},"includes":{"users":[{"id":%q,"username":"marie_test"}]},
		"matching_rules":[{"id":"1","tag":"tweetledger:mentions"}]}`, marieID, h.clock.Now().Format(time.RFC3339), marieID)
	if status := h.post(body, signedBy(consumerSecret, body)); status != http.StatusOK || len(h.messages) != 1 || h.messages[0].AuthorHandle != "marie_test" {
		t.Errorf("%d, %+v", status, h.messages)
	}
}

// TestWebhookPassesOverWhatItCannotRead takes anything that X has signed without failing.
func TestWebhookPassesOverWhatItCannotRead(t *testing.T) {
	h := newHook(t, nil)
	for _, body := range []string{
		"", "{", "[]", "null", "{}", `{"data":[]}`, `{"data":{}}`, `{"data":{"event_type":"like.create","payload":{}}}`, `{"data":{"event_type":"post.delete","payload":{}}}`,
		`{"data":{"event_type":"post.delete","payload":[]}}`, `{"data":{"event_type":"dm.received","payload":[]}}`, `{"data":{"event_type":"post.create","payload":{"id":"1"}}}`,
		`{"tweet_create_events":[{},{"id_str":"1"},{"id_str":"1","user":{"id_str":"2"}},{"id_str":"1","user":{"id_str":"2"},"text":"a"},7]}`,
		`{"tweet_delete_events":[{},{"status":{"id":"1"},"timestamp_ms":"x"},{"status":{"id":"1"},"timestamp_ms":"99999999999999999"}]}`,
		`{"direct_message_events":[{},7,{"type":"message_create","id":"1"},{"type":"message_create","id":"1","message_create":{"sender_id":"2","target":{"recipient_id":"3"}}}]}`,
		`{"user_event":{"revoke":{}}}`, `{"replay_job_status":{"job_state":"Complete","job_id":"1"}}`, `{"favorite_events":[{}]}`,
	} {
		if status := h.post(body, signedBy(consumerSecret, body)); status != http.StatusOK {
			t.Errorf("%s: %d", body, status)
		}
	}
	if len(h.messages)+len(h.deletions) != 0 {
		t.Errorf("stored %+v and %+v", h.messages, h.deletions)
	}
}

// TestWebhookLeavesOutWhatOthersWriteEachOther delivers direct messages to the bank, and
// between two others, as X does for every account that has let the app act for it.
func TestWebhookLeavesOutWhatOthersWriteEachOther(t *testing.T) {
	h := newHook(t, nil)
	for i, reader := range []string{bankID, yoannID} {
		body := fmt.Sprintf(`{"for_user_id":%q,"direct_message_events":[{"type":"message_create","id":"88%d","created_timestamp":"%d","message_create":{"sender_id":%q,
			"target":{"recipient_id":%q},"message_data":{"text":"#aide"}}}]}`, reader, i, h.clock.Now().UnixMilli(), marieID, reader)
		if status := h.post(body, signedBy(consumerSecret, body)); status != http.StatusOK {
			t.Errorf("to %s: %d", reader, status)
		}
	}
	if len(h.messages) != 1 || h.messages[0].ID != "880" {
		t.Errorf("stored %+v", h.messages)
	}
}

func TestNewWebhookChecksItsOptions(t *testing.T) {
	w := newWorld(t)
	store := func(context.Context, payments.Message) error { return nil }
	remove := func(context.Context, payments.Deletion) error { return nil }
	for _, opts := range []twitter.WebhookOptions{
		{BankUserID: bankID, Store: store, Delete: remove}, {ConsumerSecret: "a", BankUserID: "SmoneyFR", Store: store, Delete: remove}, {ConsumerSecret: "a", BankUserID: bankID},
	} {
		if _, err := twitter.NewWebhook(w.client, opts); ledger.CodeOf(err) != ledger.CodeInvalid {
			t.Errorf("%+v: %v", opts, err)
		}
	}
}

func FuzzWebhook(f *testing.F) {
	f.Add(mention("1850000000000000001", time.Date(2024, 10, 26, 10, 0, 0, 0, time.UTC)))
	f.Add(`{"tweet_create_events":[{"id_str":"1","user":{"id_str":"2"},"text":"a","created_at":"Sat Oct 26 10:00:00 +0000 2024","edit_history":{"initial_tweet_id":"1"}}]}`)
	f.Add(`{"direct_message_events":[{"type":"message_create","id":"1","created_timestamp":"1","message_create":{"sender_id":"2","target":{"recipient_id":"3"}}}],"users":{"2":{"screen_name":"a"}}}`)
	client, err := twitter.NewClient(twitter.Options{BaseURL: "http://127.0.0.1:1"})
	if err != nil {
		f.Fatal(err)
	}
	handler, err := twitter.NewWebhook(client, twitter.WebhookOptions{ConsumerSecret: consumerSecret, BankUserID: bankID,
		Store:  func(_ context.Context, m payments.Message) error { return m.Validate() },
		Delete: func(context.Context, payments.Deletion) error { return nil }})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("X-Twitter-Webhooks-Signature", xsim.Sign(consumerSecret, []byte(body)))
		if handler.ServeHTTP(w, r); w.Code != http.StatusOK && w.Code != http.StatusServiceUnavailable {
			t.Errorf("%d for %q", w.Code, body)
		}
	})
}
