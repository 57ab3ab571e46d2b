package twitter

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
	"tweetledger/reconciliation"
)

// maxHistoryMessages bounds the tweets that a FileHistory keeps in memory: about
// a kilobyte each.
const maxHistoryMessages = 1_000_000

// FileHistory is tweet history out of files (archive downloads, pages of the X
// API, JSON lines), for reconciliation without a connection to X. It knows no
// more than the files say: a tweet that stands in none of them counts as not found.
type FileHistory struct {
	messages []payments.Message
	byID     map[string]int
	newest   map[string]int // newest version by first id
}

// ReadHistory reads files as OpenImport has found them. Unlike an import it stops
// at the first item that cannot be read: a reconciliation against half a history
// would invent breaks.
func ReadHistory(files *Import) (*FileHistory, error) {
	h := &FileHistory{byID: map[string]int{}, newest: map[string]int{}}
	for m, err := range files.Messages() {
		if err != nil {
			return nil, err
		}
		if len(h.messages) == maxHistoryMessages {
			return nil, ledger.Errorf(ledger.CodeInvalid, "the history has more than %d tweets; reconcile it in parts", maxHistoryMessages)
		}
		if _, repeated := h.byID[m.ID]; repeated {
			continue
		}
		h.byID[m.ID] = len(h.messages)
		h.messages = append(h.messages, m)
		h.newest[m.FirstID] = max(h.newest[m.FirstID], m.Version)
	}
	return h, nil
}

// Messages implements reconciliation.History.
func (h *FileHistory) Messages(_ context.Context, from, to time.Time) iter.Seq2[payments.Message, error] {
	return func(yield func(payments.Message, error) bool) {
		for _, m := range h.messages {
			if m.CreatedAt.Before(from) || !m.CreatedAt.Before(to) {
				continue
			}
			if !yield(m, nil) {
				return
			}
		}
	}
}

// Lookup implements reconciliation.History.
func (h *FileHistory) Lookup(_ context.Context, ids []string) (map[string]reconciliation.Found, error) {
	found := make(map[string]reconciliation.Found, len(ids))
	for _, id := range ids {
		if i, ok := h.byID[id]; ok {
			m := h.messages[i]
			found[id] = reconciliation.Found{Status: reconciliation.There, Message: m, Newest: h.newest[m.FirstID]}
		}
	}
	return found, nil
}

// History is tweet history out of the X API: the bank's mentions, of which X
// keeps the newest 800, and look-ups by id, which reach back for ever.
type History struct {
	client *Client
	bankID string
}

// NewHistory returns the history of the mentions of the bank's account.
func NewHistory(c *Client, bankUserID string) *History {
	return &History{client: c, bankID: bankUserID}
}

// Messages implements reconciliation.History.
func (h *History) Messages(ctx context.Context, from, to time.Time) iter.Seq2[payments.Message, error] {
	return func(yield func(payments.Message, error) bool) {
		stopped := errors.New("the reader has seen enough")
		_, err := h.client.PollMentions(ctx, h.bankID, "", func(_ context.Context, m payments.Message) error {
			if m.CreatedAt.Before(from) || !m.CreatedAt.Before(to) || yield(m, nil) {
				return nil
			}
			return stopped
		})
		if err != nil && !errors.Is(err, stopped) {
			yield(payments.Message{}, err)
		}
	}
}

// Lookup implements reconciliation.History. A tweet that X has but that cannot be
// read is left out, and so counts as not found; the client's log names it.
func (h *History) Lookup(ctx context.Context, ids []string) (map[string]reconciliation.Found, error) {
	results, err := h.client.Lookup(ctx, ids)
	if err != nil {
		return nil, err
	}
	found := make(map[string]reconciliation.Found, len(results))
	for _, r := range results {
		switch r.State {
		case Found:
			found[r.ID] = reconciliation.Found{Status: reconciliation.There, Message: r.Message, Newest: r.Newest}
		case NotAuthorized:
			found[r.ID] = reconciliation.Found{Status: reconciliation.NotAuthorised}
		case Suspended:
			found[r.ID] = reconciliation.Found{Status: reconciliation.Suspended}
		case NotFound, Unreadable:
		}
	}
	return found, nil
}

// newestVersion counts the versions that a post says its edit chain has; 0 is the
// original alone.
func newestVersion(raw json.RawMessage) int {
	var history struct {
		Tweets []json.RawMessage `json:"edit_history_tweet_ids"`
		Posts  []json.RawMessage `json:"edit_history_post_ids"`
	}
	if err := json.Unmarshal(raw, &history); err != nil {
		return 0 // the post's own decoder has said what is wrong
	}
	return max(len(history.Tweets), len(history.Posts), 1) - 1
}
