package twitter

import (
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// TestDecodeAuthorGone reads every event of the compliance stream of accounts.
func TestDecodeAuthorGone(t *testing.T) {
	at := time.Date(2021, 7, 6, 18, 40, 40, 0, time.UTC)
	event := func(name, more string) string {
		return `{"` + name + `":{"user":{"id":"700000101"},"event_at":"2021-07-06T18:40:40.000Z"` + more + `}}`
	}
	for name, more := range map[string]string{"user_delete": "", "user_suspend": "", "user_protect": "", "user_undelete": "", "user_unsuspend": "",
		"user_unprotect": "", "scrub_geo": `,"up_to_tweet_id":"1"`, "user_withheld": `,"withheld_in_countries":["FR"]`,
		"user_profile_modification": `,"profile_field":"name","new_value":"x"`} {
		got, ok, err := decodeAuthorGone([]byte(event(name, more)))
		gone := name == "user_delete" || name == "user_suspend" || name == "user_protect"
		want := payments.AuthorGone{}
		if gone {
			want = payments.AuthorGone{Channel: Channel, AuthorID: "700000101", At: at}
		}
		if err != nil || ok != gone || got != want {
			t.Errorf("%s: %+v %t %v", name, got, ok, err)
		}
	}
	for _, bad := range []string{`{"user_delete":{"user":{},"event_at":"2021-07-06T18:40:40.000Z"}}`, `{"user_delete":{"user":{"id":"1"}}}`, `{"user_delete":[]}`,
		`{"user_protect":{"user":{"id":"marie"},"event_at":"2021-07-06T18:40:40.000Z"}}`} {
		if _, ok, err := decodeAuthorGone([]byte(bad)); ok || ledger.CodeOf(err) != ledger.CodeInvalid {
			t.Errorf("%s: %t %v", bad, ok, err)
		}
	}
}
