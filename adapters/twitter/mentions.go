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
	mentionsPageSize = 100
	// maxMentionPages reaches back to the newest 800 mentions: X has no more.
	maxMentionPages = 8
	// mentionOverlap is how far each poll reads into what was read before: since_id
	// has been seen to lose mentions, and the inbox drops repeats.
	mentionOverlap = 15 * time.Minute
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
func (c *Client) PollMentions(ctx context.Context, userID, since string, handle func(context.Context, payments.Message) error) (string, error) {
	if !validID(userID) || (since != "" && !validID(since)) {
		return since, ledger.Errorf(ledger.CodeInvalid, "mentions of %q since %q: both are numeric ids", clip(userID), clip(since))
	}
	messages, whole, err := c.readMentions(ctx, userID, since)
	if err != nil {
		return since, fmt.Errorf("reading mentions: %w", err)
	}
	if !whole {
		c.metrics.gaps.Inc()
		c.opts.Log.WarnContext(ctx, "more mentions than X lets us read back; import or reconcile to find the others", "since", since, "read", len(messages))
	}
	slices.SortStableFunc(messages, func(a, b payments.Message) int { return compareIDs(a.ID, b.ID) })
	for _, m := range messages {
		if err := c.offer(ctx, ViaMentions, m.ID, func() error { return handle(ctx, m) }); err != nil {
			return since, err
		}
	}
	return nextSince(messages, since), nil
}

// readMentions reads page after page. False: there was more than X shows.
func (c *Client) readMentions(ctx context.Context, userID, since string) ([]payments.Message, bool, error) {
	query := tweetQuery()
	query.Set("max_results", strconv.Itoa(mentionsPageSize))
	if since != "" {
		query.Set("since_id", since)
	}
	var messages []payments.Message
	for range maxMentionPages {
		var page answerPage
		what := call{endpoint: endpointMentions, method: http.MethodGet, path: "/2/users/" + url.PathEscape(userID) + "/mentions", query: query, token: c.opts.AppToken}
		if err := c.do(ctx, what, &page); err != nil {
			return nil, false, err
		}
		messages = append(messages, c.decodePage(ctx, page, ViaMentions)...)
		if page.Meta.NextToken == "" {
			return messages, true, nil
		}
		query.Set("pagination_token", page.Meta.NextToken)
	}
	return messages, false, nil
}

// decodePage decodes the posts of a page; those that cannot be read are noted
// and left out.
func (c *Client) decodePage(ctx context.Context, page answerPage, via string) []payments.Message {
	users := page.Includes.directory()
	messages := make([]payments.Message, 0, len(page.Data))
	for _, raw := range page.Data {
		c.metrics.billed.Inc()
		m, err := decodeTweet(raw, users, via)
		if err != nil {
			c.unreadable(ctx, via, raw, err)
			continue
		}
		messages = append(messages, m)
	}
	return messages
}

// nextSince returns the newest id that lies mentionOverlap before the newest
// message, or since where none does.
func nextSince(messages []payments.Message, since string) string {
	var newest time.Time
	for _, m := range messages {
		if m.CreatedAt.After(newest) {
			newest = m.CreatedAt
		}
	}
	for _, m := range slices.Backward(messages) {
		if !m.CreatedAt.After(newest.Add(-mentionOverlap)) && compareIDs(m.ID, since) > 0 {
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
