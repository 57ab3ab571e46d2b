package twitter

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

const (
	pageSize = 100
	// maxMentionPages reaches back to the newest 800 mentions: X has no more.
	maxMentionPages = 8
	// overlap is how far each reading goes into what was read before: since_id has
	// been seen to lose mentions, search knows a post only some seconds after it was
	// written, and the inbox drops repeats.
	overlap = 15 * time.Minute
)

// answerPage is a page of posts as X answers it.
type answerPage struct {
	Data     []json.RawMessage `json:"data"`
	Includes includes          `json:"includes"`
	Errors   []Problem         `json:"errors"`
	Meta     struct {
		NextToken string `json:"next_token"`
	} `json:"meta"`
}

// PollMentions reads the mentions of a user that are newer than the id since (""
// for all that X has), hands them to handle, the oldest first, and returns the id
// to give the next time. That lies some minutes back on purpose, so messages
// repeat. An error changes nothing: poll again with the same since.
func (c *Client) PollMentions(ctx context.Context, userID, since string, handle Handler) (string, error) {
	if !validID(userID) || (since != "" && !validID(since)) {
		return since, ledger.Errorf(ledger.CodeInvalid, "mentions of %q since %q: both are numeric ids", clip(userID), clip(since))
	}
	query := url.Values{}
	if since != "" {
		query.Set("since_id", since)
	}
	messages, err := c.mentions(ctx, userID, query)
	if err != nil {
		return since, err
	}
	if err := c.offerAll(ctx, ViaMentions, messages, handle.Each()); err != nil {
		return since, err
	}
	return nextSince(messages, since), nil
}

// ReadMentions reads the mentions of a user that were written at from or later,
// hands them to take, the oldest first, and returns from where to read the next
// time: some minutes before the newest, on purpose, so messages repeat. An error
// changes nothing: read again from the same time. The zero time reads all that X
// has, which is the newest 800.
func (c *Client) ReadMentions(ctx context.Context, userID string, from time.Time, take BatchHandler) (time.Time, error) {
	return c.readMentions(ctx, userID, from, func(payments.Message) bool { return true }, take)
}

// readMentions is ReadMentions; only those that are wanted are handed over.
func (c *Client) readMentions(ctx context.Context, userID string, from time.Time, wanted func(payments.Message) bool, take BatchHandler) (time.Time, error) {
	if !validID(userID) {
		return from, ledger.Errorf(ledger.CodeInvalid, "%q is not a numeric user id", clip(userID))
	}
	query := url.Values{}
	if !from.IsZero() {
		query.Set("start_time", from.UTC().Format(time.RFC3339))
	}
	messages, err := c.mentions(ctx, userID, query)
	if err != nil {
		return from, err
	}
	next := from
	for _, m := range messages {
		if at := m.CreatedAt.Add(-overlap); at.After(next) {
			next = at
		}
	}
	messages = slices.DeleteFunc(messages, func(m payments.Message) bool { return !wanted(m) })
	if err := c.offerAll(ctx, ViaMentions, messages, take); err != nil {
		return from, err
	}
	return next, nil
}

// mentions reads the mentions of a user that a query selects.
func (c *Client) mentions(ctx context.Context, userID string, query url.Values) ([]payments.Message, error) {
	what := call{endpoint: endpointMentions, method: http.MethodGet, path: "/2/users/" + url.PathEscape(userID) + "/mentions", query: query, token: c.opts.AppToken}
	messages, whole, err := c.readPages(ctx, what, ViaMentions, "pagination_token", maxMentionPages)
	if err != nil {
		return nil, fmt.Errorf("reading mentions: %w", err)
	}
	if !whole {
		c.metrics.gaps.Inc()
		c.opts.Log.WarnContext(ctx, "more mentions than X lets us read back; import or reconcile to find the others", "read", len(messages))
	}
	return messages, nil
}

// readPages reads page after page of posts, at most most. False: there was more.
func (c *Client) readPages(ctx context.Context, what call, via, token string, most int) ([]payments.Message, bool, error) {
	query := tweetQuery()
	for name, values := range what.query {
		query[name] = values
	}
	query.Set("max_results", strconv.Itoa(pageSize))
	what.query = query
	var messages []payments.Message
	for range most {
		var page answerPage
		if err := c.do(ctx, what, &page); err != nil {
			return nil, false, err
		}
		messages = append(messages, c.decodePage(ctx, page, via)...)
		if page.Meta.NextToken == "" {
			return messages, true, nil
		}
		query.Set(token, page.Meta.NextToken)
	}
	return messages, false, nil
}

// offerAll hands messages over, the oldest first.
func (c *Client) offerAll(ctx context.Context, via string, messages []payments.Message, take BatchHandler) error {
	slices.SortStableFunc(messages, func(a, b payments.Message) int { return compareIDs(a.ID, b.ID) })
	return c.offerMessages(ctx, via, messages, take)
}

// decodePage decodes the posts of a page; those that cannot be read are noted
// and left out.
func (c *Client) decodePage(ctx context.Context, page answerPage, via string) []payments.Message {
	users := page.Includes.directory()
	messages := make([]payments.Message, 0, len(page.Data))
	for _, raw := range page.Data {
		m, err := decodeTweet(raw, users, via)
		if err != nil {
			c.unreadable(ctx, via, raw, err)
			c.noteRead(resourcePost, via, lenientID(raw), time.Time{})
			continue
		}
		c.noteRead(resourcePost, via, m.ID, m.CreatedAt)
		messages = append(messages, m)
	}
	return messages
}

// nextSince returns the newest id that lies overlap before the newest
// message, or since where none does.
func nextSince(messages []payments.Message, since string) string {
	var newest time.Time
	for _, m := range messages {
		if m.CreatedAt.After(newest) {
			newest = m.CreatedAt
		}
	}
	for _, m := range slices.Backward(messages) {
		if !m.CreatedAt.After(newest.Add(-overlap)) && compareIDs(m.ID, since) > 0 {
			return m.ID
		}
	}
	return since
}

// compareIDs orders numeric ids, which X gives out rising.
func compareIDs(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
