package twitter

import (
	"encoding/json"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// complianceEvent is what the compliance stream says about a post.
type complianceEvent struct {
	Delete *struct {
		Tweet struct {
			ID       numericID `json:"id"`
			AuthorID numericID `json:"author_id"`
		} `json:"tweet"`
		EventAt string `json:"event_at"`
	} `json:"delete"`
}

// decodeDeletion reads one event of the compliance stream. False without an
// error is an event of another kind (withheld, drop, edit), which changes nothing here.
func decodeDeletion(raw []byte) (payments.Deletion, bool, error) {
	var c complianceEvent
	if err := json.Unmarshal(raw, &c); err != nil {
		return payments.Deletion{}, false, jsonError("the compliance event", err)
	}
	if c.Delete == nil {
		return payments.Deletion{}, false, nil
	}
	if c.Delete.Tweet.ID == "" {
		return payments.Deletion{}, false, ledger.Errorf(ledger.CodeInvalid, "the deletion names no post").InField("delete.tweet.id")
	}
	at, err := time.Parse(time.RFC3339, c.Delete.EventAt)
	if err != nil {
		return payments.Deletion{}, false, ledger.Errorf(ledger.CodeInvalid, "post %s was deleted at %q, which is not a time", c.Delete.Tweet.ID, clip(c.Delete.EventAt)).InField("delete.event_at")
	}
	return payments.Deletion{Channel: Channel, ID: string(c.Delete.Tweet.ID), AuthorID: string(c.Delete.Tweet.AuthorID), At: at.UTC()}, true, nil
}

// accountEvent is what happened to an account. Source: X API, schema UserComplianceData.
type accountEvent struct {
	User struct {
		ID numericID `json:"id"`
	} `json:"user"`
	At string `json:"event_at"`
}

// decodeAuthorGone reads one event of the compliance stream of accounts. False without
// an error is an event that changes nothing here: an account that is back, withheld
// somewhere or has another profile, and scrub_geo, since no place is ever stored.
func decodeAuthorGone(raw []byte) (payments.AuthorGone, bool, error) {
	var c struct {
		Delete  *accountEvent `json:"user_delete"`
		Suspend *accountEvent `json:"user_suspend"`
		Protect *accountEvent `json:"user_protect"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return payments.AuthorGone{}, false, jsonError("the compliance event", err)
	}
	for _, e := range []*accountEvent{c.Delete, c.Suspend, c.Protect} {
		if e == nil {
			continue
		}
		if e.User.ID == "" {
			return payments.AuthorGone{}, false, ledger.Errorf(ledger.CodeInvalid, "the compliance event names no account").InField("user.id")
		}
		at, err := time.Parse(time.RFC3339, e.At)
		if err != nil {
			return payments.AuthorGone{}, false, ledger.Errorf(ledger.CodeInvalid, "account %s was gone at %q, which is not a time", e.User.ID, clip(e.At)).InField("event_at")
		}
		return payments.AuthorGone{Channel: Channel, AuthorID: string(e.User.ID), At: at.UTC()}, true, nil
	}
	return payments.AuthorGone{}, false, nil
}
