package twitter

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// LookupState is what became of a post.
type LookupState string

// What a look-up finds.
const (
	Found         LookupState = "found"
	NotFound      LookupState = "not_found"      // deleted, never there, or left out by X without a word
	NotAuthorized LookupState = "not_authorized" // the account shows its posts to followers only
	Suspended     LookupState = "suspended"      // X has taken the account down
	Unreadable    LookupState = "unreadable"     // it is there, but not as X documents it
)

// LookupResult is what X says about one id.
type LookupResult struct {
	ID      string
	State   LookupState
	Message payments.Message // where Found
	Newest  int              // where Found: the number of the edit chain's newest version
	Detail  string           // what X said, where not
}

// maxLookup is how many ids X takes at a time.
const maxLookup = 100

// Lookup asks X for posts by id, at most 100, and answers for each, in the order
// of ids. More ids, or one that is no id, are an Error with CodeInvalid.
func (c *Client) Lookup(ctx context.Context, ids []string) ([]LookupResult, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	if len(ids) > maxLookup {
		return nil, ledger.Errorf(ledger.CodeInvalid, "%d ids in one look-up; X takes %d", len(ids), maxLookup).InField("ids")
	}
	for _, id := range ids {
		if !validID(id) {
			return nil, ledger.Errorf(ledger.CodeInvalid, "%q is not a numeric id", clip(id)).InField("ids")
		}
	}
	query := tweetQuery()
	query.Set("ids", strings.Join(ids, ","))
	var page answerPage
	if err := c.do(ctx, call{endpoint: endpointLookup, method: http.MethodGet, path: "/2/tweets", query: query, token: c.opts.AppToken}, &page); err != nil {
		return nil, fmt.Errorf("looking posts up: %w", err)
	}
	answers := c.lookupAnswers(ctx, page)
	results := make([]LookupResult, len(ids))
	for i, id := range ids {
		results[i] = LookupResult{ID: id, State: NotFound}
		if r, ok := answers[id]; ok {
			results[i] = r
		}
	}
	return results, nil
}

func (c *Client) lookupAnswers(ctx context.Context, page answerPage) map[string]LookupResult {
	answers := map[string]LookupResult{}
	users := page.Includes.directory()
	for _, raw := range page.Data {
		c.noteRead(resourcePost, ViaLookup, lenientID(raw), time.Time{})
		m, err := decodeTweet(raw, users, ViaLookup)
		if err != nil {
			c.unreadable(ctx, ViaLookup, raw, err)
			id := lenientID(raw)
			answers[id] = LookupResult{ID: id, State: Unreadable, Detail: err.Error()}
			continue
		}
		answers[m.ID] = LookupResult{ID: m.ID, State: Found, Message: m, Newest: max(m.Version, newestVersion(raw))}
	}
	for _, p := range page.Errors {
		id := p.ResourceID
		if id == "" {
			id = p.Value
		}
		if _, found := answers[id]; !found {
			answers[id] = LookupResult{ID: id, State: stateOf(p), Detail: p.String()}
		}
	}
	return answers
}

// stateOf reads a problem. For suspended accounts X has no type of its own: only
// the detail says so.
func stateOf(p Problem) LookupState {
	switch {
	case strings.Contains(strings.ToLower(p.Detail), "suspended"):
		return Suspended
	case strings.HasSuffix(p.Type, "/not-authorized-for-resource"), strings.HasSuffix(p.Type, "/resource-unavailable"):
		return NotAuthorized
	}
	return NotFound
}

// UserID returns the numeric id of the user who has this handle now, or an Error
// with CodeNotFound.
func (c *Client) UserID(ctx context.Context, handle string) (string, error) {
	handle = strings.TrimPrefix(handle, "@")
	if !validHandle(handle) {
		return "", ledger.Errorf(ledger.CodeInvalid, "%q is not a handle", clip(handle))
	}
	users, err := c.users(ctx, []string{handle})
	if err != nil {
		return "", fmt.Errorf("looking up @%s: %w", handle, err)
	}
	if id := users.ids[strings.ToLower(handle)]; id != "" {
		return string(id), nil
	}
	return "", ledger.Errorf(ledger.CodeNotFound, "X knows nobody called @%s", handle)
}
