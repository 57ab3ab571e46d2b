package twitter

import (
	"net/http"
	"strconv"
	"time"

	"tweetledger/ledger"
)

// limitHeaders are the windows that X counts requests in, each with how many
// are left and when it starts anew (seconds since 1970). Source: X, rate limits.
func limitHeaders() [][2]string {
	return [][2]string{
		{"x-rate-limit-remaining", "x-rate-limit-reset"},
		{"x-user-limit-24hour-remaining", "x-user-limit-24hour-reset"},
		{"x-app-limit-24hour-remaining", "x-app-limit-24hour-reset"},
	}
}

// noteLimits remembers until when an endpoint takes no more requests, so that
// the next one is not even tried, and returns how long that is.
func (c *Client) noteLimits(from endpoint, response *http.Response) time.Duration {
	now := c.opts.Clock()
	var until time.Time
	for _, h := range limitHeaders() {
		remaining, err := strconv.Atoi(response.Header.Get(h[0]))
		if err == nil {
			c.metrics.remaining.WithLabelValues(string(from), h[0]).Set(float64(remaining))
		}
		if (err != nil || remaining > 0) && response.StatusCode != http.StatusTooManyRequests {
			continue
		}
		reset, resetErr := strconv.ParseInt(response.Header.Get(h[1]), 10, 64)
		if resetErr != nil || (err == nil && remaining > 0) {
			continue
		}
		if at := time.Unix(reset, 0); at.After(until) {
			until = at
		}
	}
	if until.IsZero() || !until.After(now) {
		return 0
	}
	if until.After(now.Add(maxWait)) {
		until = now.Add(maxWait)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blocked[from] = until
	return until.Sub(now)
}

// mayCall refuses a request that X has already said it would refuse.
func (c *Client) mayCall(to endpoint) error {
	now := c.opts.Clock()
	c.mu.Lock()
	defer c.mu.Unlock()
	until, blocked := c.blocked[to]
	if !blocked || !until.After(now) {
		delete(c.blocked, to)
		return nil
	}
	wait := until.Sub(now)
	return &APIError{
		Status:     http.StatusTooManyRequests,
		RetryAfter: wait,
		err:        ledger.Errorf(ledger.CodeUnavailable, "X takes no more requests to %s for %s", to, wait.Round(time.Second)),
	}
}
