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
// recipient that it has.
// X's refusals are *payments.SendError: 429 says when to try again; 400, 403 and
// 404 (a duplicate, a deleted tweet, an account that did not mention us) are
// permanent; all else may pass. Where X could not be asked the error is another
// one: the reply may have been published, and X refuses its duplicate.
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
	var answer struct {
		Data struct {
			ID numericID `json:"id"`
		} `json:"data"`
	}
	err := c.do(ctx, call{endpoint: endpointCreate, method: http.MethodPost, path: "/2/tweets", body: body, token: c.opts.UserToken}, &answer)
	var refused *APIError
	switch {
	case errors.As(err, &refused):
		return "", &payments.SendError{Permanent: permanent(refused.Status), RetryAfter: refused.RetryAfter, Err: err}
	case err != nil:
		return "", err
	case answer.Data.ID == "":
		return "", ledger.Errorf(ledger.CodeUnavailable, "X published outbox row %s without saying its id", out.ID)
	}
	return string(answer.Data.ID), nil
}

// permanent reports whether X will refuse the same reply for ever. 401 is not: a
// token is renewed.
func permanent(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusForbidden || status == http.StatusNotFound
}
