package twitter

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// endpointTimeline are the posts of one user, here of the bank's account: they show
// a post at once, where search takes its time to index it.
const endpointTimeline endpoint = "timeline"

const (
	// ownPages bounds the search for one own post: 3,200 posts are as far back as X
	// lets anybody read. Source: X API, GET /2/users/{id}/tweets.
	ownPages = 32
	// ownReach is how many posts read say that there may be more than X shows: some of the
	// 3,200 may be deleted.
	ownReach = 3_000
	// answerPages bounds the search of one conversation for our own answers.
	answerPages = 5
	// ownSkew is how much X's clock may be behind ours.
	ownSkew = time.Minute
)

// ownPost is a post of the bank's account, with what tells it from others.
type ownPost struct {
	ID         numericID   `json:"id"`
	Text       string      `json:"text"`
	NoteTweet  *noteText   `json:"note_tweet"`
	NotePost   *noteText   `json:"note_post"`
	Referenced []reference `json:"referenced_tweets"`
	References []reference `json:"referenced_posts"`
}

type noteText struct {
	Text string `json:"text"`
}

// words returns the whole text of a post.
func (p ownPost) words() string {
	for _, note := range []*noteText{p.NoteTweet, p.NotePost} {
		if note != nil && note.Text != "" {
			return note.Text
		}
	}
	return p.Text
}

// answers returns the id of the post that p answers, or "".
func (p ownPost) answers() string {
	for _, list := range [][]reference{p.Referenced, p.References} {
		for _, r := range list {
			if r.Type == "replied_to" {
				return string(r.ID)
			}
		}
	}
	return ""
}

// findOwn looks for something outgoing among the posts of the bank's account that
// are not older than it, and where X shows no more of these, by a search of the
// conversation. It returns the id, or "" where it is not there.
func (c *Client) findOwn(ctx context.Context, out payments.Outgoing) (string, error) {
	own, err := c.ownID(ctx)
	if err != nil {
		return "", err
	}
	query := url.Values{}
	if !out.Since.IsZero() {
		query.Set("start_time", out.Since.Add(-ownSkew).UTC().Format(time.RFC3339))
	}
	timeline := call{endpoint: endpointTimeline, method: http.MethodGet, path: "/2/users/" + own + "/tweets", query: query, token: c.opts.UserToken}
	id, read, err := c.findAmong(ctx, timeline, "pagination_token", ownPages, out)
	if id != "" || err != nil || read < ownReach || out.InReplyTo == "" {
		return id, err
	}
	conversation := cmp.Or(out.ConversationID, out.InReplyTo)
	search := call{endpoint: endpointSearch, method: http.MethodGet, path: "/2/tweets/search/recent",
		query: url.Values{"query": {"conversation_id:" + conversation + " from:" + own}}, token: c.opts.AppToken}
	id, _, err = c.findAmong(ctx, search, "next_token", answerPages, out)
	return id, err
}

// findAmong looks for something outgoing among the posts that a call returns in pages.
// It returns its id, or "", and how many posts it has read.
func (c *Client) findAmong(ctx context.Context, what call, next string, pages int, out payments.Outgoing) (id string, read int, err error) {
	what.query.Set("tweet.fields", "referenced_tweets,note_tweet")
	what.query.Set("max_results", strconv.Itoa(pageSize))
	for range pages {
		var page struct {
			Data []json.RawMessage `json:"data"`
			Meta struct {
				NextToken string `json:"next_token"`
			} `json:"meta"`
		}
		if err := c.do(ctx, what, &page); err != nil {
			return "", read, fmt.Errorf("looking for an own post: %w", err)
		}
		for _, raw := range page.Data {
			read++
			var p ownPost
			if err := json.Unmarshal(raw, &p); err != nil {
				c.unreadable(ctx, "own posts", raw, err)
				continue
			}
			c.noteRead(resourcePost, "own posts", string(p.ID), time.Time{})
			if p.answers() == out.InReplyTo && sameWords(p.words(), out.Text) {
				return string(p.ID), read, nil
			}
		}
		if page.Meta.NextToken == "" {
			break
		}
		what.query.Set(next, page.Meta.NextToken)
	}
	return "", read, nil
}

// ownID returns the numeric id of the bank's account, as X knows whose token we
// post with. It is asked for once.
func (c *Client) ownID(ctx context.Context) (string, error) {
	c.mu.Lock()
	id := c.own
	c.mu.Unlock()
	if id != "" {
		return id, nil
	}
	var answer struct {
		Data user `json:"data"`
	}
	if err := c.do(ctx, call{endpoint: endpointMe, method: http.MethodGet, path: "/2/users/me", token: c.opts.UserToken}, &answer); err != nil {
		return "", fmt.Errorf("asking X whose account we post with: %w", err)
	}
	if id = string(answer.Data.ID); !validID(id) {
		return "", ledger.Errorf(ledger.CodeUnavailable, "X did not say whose account we post with")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own = id
	return id, nil
}

// sameWords reports whether X shows what we have sent: it escapes texts, and puts
// the names of those who are answered before a reply.
func sameWords(shown, sent string) bool { return plainWords(shown) == plainWords(sent) }

func plainWords(text string) string {
	words := strings.Fields(norm.NFC.String(html.UnescapeString(text)))
	for len(words) > 0 && strings.HasPrefix(words[0], "@") && validHandle(words[0][1:]) {
		words = words[1:]
	}
	return strings.Join(words, " ")
}

// isGone reports whether X has refused a reply since the post that it answers was
// deleted, or is hidden from us. For that, too, there are only words.
func isGone(refused *APIError) bool {
	return refused.Status == http.StatusForbidden && strings.Contains(strings.ToLower(refused.Problem.Detail+refused.Problem.Message), "deleted or not visible")
}

// isDuplicate reports whether X has refused a post since it has the same already.
// There is no code for it, only words.
func isDuplicate(err error) bool {
	refused, ok := errors.AsType[*APIError](err)
	return ok && refused.Status == http.StatusForbidden && strings.Contains(strings.ToLower(refused.Problem.Detail+refused.Problem.Message), "duplicate content")
}
