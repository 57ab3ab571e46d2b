package xsim_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"tweetledger/adapters/twitter/xsim"
)

type fixture struct {
	t   *testing.T
	sim *xsim.Server
	now time.Time
}

func newFixture(t *testing.T, opts xsim.Options) *fixture {
	f := &fixture{t: t, now: time.Date(2024, 10, 26, 10, 0, 0, 0, time.UTC)}
	opts.Clock = func() time.Time { return f.now }
	f.sim = xsim.New(opts)
	t.Cleanup(f.sim.Close)
	f.sim.AddUser("1", "bank", "Bank")
	f.sim.AddUser("2", "marie", "Marie")
	return f
}

// ask makes a request and returns status and body.
func (f *fixture) ask(method, target, token, body string) (int, map[string]any) {
	f.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	f.sim.ServeHTTP(w, r)
	var out map[string]any
	if err := json.NewDecoder(w.Body).Decode(&out); err != nil && err != io.EOF {
		f.t.Fatalf("%s: %v", target, err)
	}
	return w.Code, out
}

func TestTokens(t *testing.T) {
	f := newFixture(t, xsim.Options{AppToken: "app"})
	tests := []struct {
		method, target, token string
		status                int
	}{
		{"GET", "/2/tweets?ids=1", "", 401},
		{"GET", "/2/tweets?ids=1", "wrong", 401},
		{"GET", "/2/tweets?ids=1", f.sim.UserToken("nobody"), 401},
		{"GET", "/2/tweets?ids=1", "app", 200},
		{"GET", "/2/tweets?ids=1", f.sim.UserToken("1"), 200},
		{"GET", "/2/tweets/search/stream/rules", f.sim.UserToken("1"), 403},
		{"GET", "/2/tweets/search/stream/rules", "app", 200},
		{"POST", "/2/tweets", "app", 403},
		{"GET", "/2/nothing", "app", 404},
	}
	for _, tt := range tests {
		if status, _ := f.ask(tt.method, tt.target, tt.token, "{}"); status != tt.status {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.target, status, tt.status)
		}
	}
}

func TestFieldsComeOnlyWhenAskedFor(t *testing.T) {
	f := newFixture(t, xsim.Options{})
	id := f.sim.Tweet("2", "@bank #don 5€ <3")
	_, plain := f.ask("GET", "/2/tweets?ids="+id, xsim.DefaultAppToken, "")
	if got := fmt.Sprint(plain); got != fmt.Sprintf("map[data:[map[edit_history_tweet_ids:[%s] id:%s text:@bank #don 5€ &lt;3]]]", id, id) {
		t.Error(got)
	}
	_, full := f.ask("GET", "/2/tweets?ids="+id+"&tweet.fields=author_id,entities,created_at&expansions=author_id,entities.mentions.username", xsim.DefaultAppToken, "")
	got := fmt.Sprint(full)
	for _, part := range []string{"author_id:2", "created_at:2024-10-26T10:00:00.000Z", "mentions:[map[end:5 id:1 start:0 username:bank]]", "hashtags:[map[end:10 start:6 tag:don]]", "map[id:1 name:Bank username:bank]", "map[id:2 name:Marie username:marie]"} {
		if !strings.Contains(got, part) {
			t.Errorf("%s lacks %s", got, part)
		}
	}
}

func TestIDsRiseAndTellTheTime(t *testing.T) {
	f := newFixture(t, xsim.Options{})
	last := uint64(0)
	for i := range 100 {
		if i == 50 {
			f.now = f.now.Add(-time.Hour) // ids rise even when the clock does not
		}
		id, err := strconv.ParseUint(f.sim.Tweet("2", "a"), 10, 64)
		if err != nil || id <= last {
			t.Fatalf("%d after %d, %v", id, last, err)
		}
		if i == 0 && int64(id>>22)+1288834974657 != f.now.UnixMilli() {
			t.Errorf("%d tells another time", id)
		}
		last = id
	}
}

func TestEditsEndAfterFive(t *testing.T) {
	f := newFixture(t, xsim.Options{})
	first := f.sim.Tweet("2", "@bank 0")
	id := first
	for i := 1; i <= 5; i++ {
		if id = f.sim.Edit(id, fmt.Sprintf("@bank %d", i)); id == "" {
			t.Fatalf("edit %d was refused", i)
		}
	}
	if f.sim.Edit(id, "@bank 6") != "" {
		t.Error("a sixth edit")
	}
	_, page := f.ask("GET", "/2/users/1/mentions", xsim.DefaultAppToken, "")
	if data, ok := page["data"].([]any); !ok || len(data) != 1 || data[0].(map[string]any)["id"] != id {
		t.Errorf("mentions show %v", page)
	}
	f.sim.Delete(first)
	if _, page := f.ask("GET", "/2/tweets?ids="+id, xsim.DefaultAppToken, ""); page["data"] != nil {
		t.Error("deleting one version deletes all")
	}
	if f.sim.Edit(id, "again") != "" {
		t.Error("an edit of what was deleted")
	}
}

func TestOnlyTheNewestTweetsAreKept(t *testing.T) {
	f := newFixture(t, xsim.Options{MaxTweets: 3})
	var ids []string
	for i := range 5 {
		ids = append(ids, f.sim.Tweet("2", fmt.Sprint(i)))
	}
	_, page := f.ask("GET", "/2/tweets?ids="+strings.Join(ids, ","), xsim.DefaultAppToken, "")
	if found := len(page["data"].([]any)); found != 3 || len(page["errors"].([]any)) != 2 {
		t.Errorf("%d found: %v", found, page["errors"])
	}
}

func TestParametersAreChecked(t *testing.T) {
	f := newFixture(t, xsim.Options{})
	for _, target := range []string{
		"/2/tweets", "/2/tweets?ids=" + strings.Repeat("1,", 100) + "1", "/2/users/1/mentions?max_results=1", "/2/users/1/mentions?pagination_token=~",
		"/2/users/1/mentions?start_time=yesterday", "/2/tweets/compliance/stream", "/2/tweets/compliance/stream?partition=5",
	} {
		if status, body := f.ask("GET", target, xsim.DefaultAppToken, ""); status != http.StatusBadRequest || body["title"] != "Invalid Request" {
			t.Errorf("%s: %d %v", target, status, body)
		}
	}
	for _, body := range []string{"", "{}", `{"text":""}`, `{"text":"` + strings.Repeat("a", 2<<20) + `"}`} {
		if status, _ := f.ask("POST", "/2/tweets", f.sim.UserToken("1"), body); status != http.StatusBadRequest {
			t.Errorf("%.20s: %d", body, status)
		}
	}
}

func TestUsers(t *testing.T) {
	f := newFixture(t, xsim.Options{})
	if _, body := f.ask("GET", "/2/users/2", xsim.DefaultAppToken, ""); fmt.Sprint(body) != "map[data:map[id:2 name:Marie username:marie]]" {
		t.Error(body)
	}
	f.sim.AddUser("2", "marie2", "Marie") // renamed; the old handle is free
	_, body := f.ask("GET", "/2/users/by?usernames=MARIE2,marie", xsim.DefaultAppToken, "")
	if len(body["data"].([]any)) != 1 || len(body["errors"].([]any)) != 1 {
		t.Error(body)
	}
	if _, body := f.ask("GET", "/2/users/9", xsim.DefaultAppToken, ""); body["errors"] == nil {
		t.Error(body)
	}
}
