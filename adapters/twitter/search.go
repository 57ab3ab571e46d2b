package twitter

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

const (
	// searchReach is how far back recent search goes. Source: X API, recent search.
	searchReach = 7 * 24 * time.Hour
	// maxSearchPages bounds one search: 5,000 posts are more than a minute of a stream
	// that X lets an app read.
	maxSearchPages = 50
	// maxSearchQuery is how long a query may be. Source: X API, recent search.
	maxSearchQuery = 512
)

// Search asks X for the posts of the last seven days that a query of its rule
// language finds, those written at from or later, the newest first. False: there were
// more than are read at a time.
func (c *Client) Search(ctx context.Context, query string, from time.Time) ([]payments.Message, bool, error) {
	if query == "" || len(query) > maxSearchQuery {
		return nil, false, ledger.Errorf(ledger.CodeInvalid, "a search has a query of 1 to %d characters, not %d", maxSearchQuery, len(query)).InField("query")
	}
	parameters := url.Values{"query": {query}}
	// A start that X would refuse as too early is as good as none.
	if from.After(c.opts.Clock().Add(-searchReach + time.Minute)) {
		parameters.Set("start_time", from.UTC().Format(time.RFC3339))
	}
	what := call{endpoint: endpointSearch, method: http.MethodGet, path: "/2/tweets/search/recent", query: parameters, token: c.opts.AppToken}
	messages, whole, err := c.readPages(ctx, what, ViaSearch, "next_token", maxSearchPages)
	if err != nil {
		return nil, false, fmt.Errorf("searching: %w", err)
	}
	return messages, whole, nil
}
