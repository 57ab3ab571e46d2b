package twitter_test

import (
	"errors"
	"testing"

	"tweetledger/internal/payments"
)

func TestAnnouncementIsAPostOfItsOwn(t *testing.T) {
	w := newWorld(t)
	if id, err := w.client.Reply(w.ctx, payments.Outgoing{ID: "1", Announcement: true, Text: "Ledger heads at noon"}); err != nil || id == "" {
		t.Fatalf("announcement: %q, %v", id, err)
	}
	for _, out := range []payments.Outgoing{
		{ID: "2", Announcement: true},
		{ID: "3", Announcement: true, InReplyTo: "1990000000000000001", Text: "a"},
		{ID: "4", Text: "a reply that has lost what it answers"},
	} {
		_, err := w.client.Reply(w.ctx, out)
		if refused, ok := errors.AsType[*payments.SendError](err); !ok || !refused.Permanent {
			t.Errorf("%+v: %v, want a permanent refusal", out, err)
		}
	}
}
