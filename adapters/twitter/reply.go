package twitter

import (
	"context"
	"errors"
	"net/http"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

var _ payments.Replier = (*Client)(nil)

// Reply implements payments.Replier: it publishes a reply, or an announcement as a
// post of its own, as the bank's account, and sends a direct message to the one
// recipient that it has. What is in doubt is looked for first, and what X refuses as a
// duplicate afterwards: where the account has it, that is the answer. X's refusals are
// *payments.SendError: 429 says when to try again; 400, 403 and 404 (a deleted tweet,
// which is Gone, an account that did not mention us) are permanent; what is wrong with
// us, as a token that has ended, is waited for; all else may pass. After a 5xx, and where
// X could not be asked, it may have been published all the same.
func (c *Client) Reply(ctx context.Context, out payments.Outgoing) (string, error) {
	body := map[string]any{"text": out.Text}
	switch {
	case out.RecipientID != "": // never to be published
		return c.direct(ctx, out)
	case out.Announcement && (out.InReplyTo != "" || out.Text == ""):
		return "", &payments.SendError{Permanent: true, Err: ledger.Errorf(ledger.CodeInvalid, "an announcement needs a text, and answers nothing (%q)", clip(out.InReplyTo))}
	case !out.Announcement && (!validID(out.InReplyTo) || out.Text == ""):
		return "", &payments.SendError{Permanent: true, Err: ledger.Errorf(ledger.CodeInvalid, "a reply needs a text and the numeric id of what it answers, not %q", clip(out.InReplyTo))}
	case !out.Announcement:
		body["reply"] = map[string]string{"in_reply_to_tweet_id": out.InReplyTo}
	}
	if out.InDoubt {
		if err := c.mayCall(endpointCreate); err != nil {
			return "", sendError(err) // no post, so no need to read for it either
		}
		id, err := c.findOwn(ctx, out)
		if id != "" {
			c.metrics.found.Inc()
			return id, nil
		}
		if err != nil && !denied(err) {
			return "", lookError(out, err)
		}
	}
	id, err := c.publish(ctx, out.ID, body)
	if !isDuplicate(err) {
		return id, sendError(err)
	}
	found, findErr := c.findOwn(ctx, out)
	switch {
	case found != "":
		c.metrics.found.Inc()
		return found, nil
	case out.InDoubt && denied(findErr):
		// X has it, and does not let us read under which id.
		c.metrics.found.Inc()
		return "", nil
	case out.InDoubt || findErr != nil:
		return "", &payments.SendError{InDoubt: true, Err: err}
	}
	return "", sendError(err) // the same words, said to somebody else
}

// publish posts as the bank's account and returns the post's id.
func (c *Client) publish(ctx context.Context, row string, body map[string]any) (string, error) {
	var answer struct {
		Data struct {
			ID numericID `json:"id"`
		} `json:"data"`
	}
	if err := c.do(ctx, call{endpoint: endpointCreate, method: http.MethodPost, path: "/2/tweets", body: body, token: c.opts.UserToken}, &answer); err != nil {
		return "", err
	}
	if answer.Data.ID == "" {
		return "", ledger.Errorf(ledger.CodeUnavailable, "X published outbox row %s without saying its id", row)
	}
	return string(answer.Data.ID), nil
}

// denied reports whether X lets nobody with our access read what we asked for.
func denied(err error) bool {
	refused, ok := errors.AsType[*APIError](err)
	return ok && !isOurs(err) && (refused.Status == http.StatusForbidden || refused.Status == http.StatusNotFound)
}
