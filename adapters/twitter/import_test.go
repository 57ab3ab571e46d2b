package twitter_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"tweetledger/adapters/twitter"
	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// imported reads all there is: messages, and errors as they would be printed.
func imported(t *testing.T, owner twitter.Owner, stdin io.Reader, paths ...string) ([]payments.Message, []string) {
	t.Helper()
	im, err := twitter.OpenImport(paths, owner, stdin)
	if err != nil {
		t.Fatal(err)
	}
	var messages []payments.Message
	var failures []string
	for m, err := range im.Messages() {
		if err == nil {
			messages = append(messages, m)
			continue
		}
		var item *twitter.ImportError
		if !errors.As(err, &item) || ledger.CodeOf(err) == "" {
			t.Errorf("not an ImportError with a code: %v", err)
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("more than one line: %q", err)
		}
		failures = append(failures, err.Error())
	}
	if im.TotalBytes() > 0 && len(failures) == 0 && im.BytesRead() != im.TotalBytes() {
		t.Errorf("read %d of %d bytes", im.BytesRead(), im.TotalBytes())
	}
	return messages, failures
}

func expectFailures(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d errors, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range want {
		for _, part := range strings.Split(want[i], "|") {
			if !strings.Contains(got[i], part) {
				t.Errorf("error %d: %s\ndoes not say %q", i, got[i], part)
			}
		}
	}
}

func TestImportArchive(t *testing.T) {
	for _, path := range []string{"testdata/archive", "testdata/archive/data"} {
		messages, failures := imported(t, twitter.Owner{}, nil, path)
		expectFailures(t, failures)
		if len(messages) != 5 {
			t.Fatalf("%s: %d messages", path, len(messages))
		}
		first := messages[0]
		want := payments.Message{
			Channel: "twitter", ID: "521939100000000001", FirstID: "521939100000000001", AuthorID: marieID, AuthorHandle: "marie_test",
			Kind: payments.Original, Text: "@SmoneyFR #envoyer 100EUR @ACF_France faites comme moi & donnez !",
			Mentions: []payments.Mention{{UserID: bankID, Handle: "SmoneyFR"}, {UserID: charityID, Handle: "ACF_France"}},
			Language: "fr", CreatedAt: time.Date(2014, 10, 14, 9, 31, 40, 0, time.UTC), Via: twitter.ViaArchive,
		}
		if fmt.Sprint(first) != fmt.Sprint(want) {
			t.Errorf("got  %+v\nwant %+v", first, want)
		}
		if m := messages[1]; m.FirstID != "521939100000000006" || m.Version != 1 || m.ID != "521939100000000007" {
			t.Errorf("edit chain: %+v", m)
		}
		if m := messages[2]; m.Kind != payments.Repost || len(m.Mentions) != 1 {
			t.Errorf("retweet: %+v", m)
		}
		if m := messages[3]; m.Kind != payments.Answer || !strings.HasSuffix(m.Text, "#envoyer 42,50 € @yoann_test") || !m.CreatedAt.Equal(time.Date(2014, 10, 15, 10, 6, 0, 0, time.UTC)) {
			t.Errorf("long reply: %+v", m)
		}
		if m := messages[4]; m.Kind != payments.Quote {
			t.Errorf("quote: %+v", m)
		}
	}
}

func TestImportV2(t *testing.T) {
	messages, failures := imported(t, twitter.Owner{}, nil, "testdata/v2/page.json")
	expectFailures(t, failures,
		"page.json: item 1 at byte 0: author_id: post 1850000000000000004 names no author",
		"item 1|id: the post has no id")
	if len(messages) != 3 {
		t.Fatalf("%d messages", len(messages))
	}
	reply := messages[0]
	if reply.FirstID != "1850000000000000001" || reply.Version != 1 || reply.Kind != payments.Answer || reply.AuthorHandle != "marie_test" ||
		reply.Text != "@SmoneyFR #send €20 @yoann_test <3" || reply.ConversationID != "1849999999999999999" || reply.Via != twitter.ViaImport {
		t.Errorf("reply: %+v", reply)
	}
	if len(reply.Mentions) != 2 || reply.Mentions[1] != (payments.Mention{UserID: yoannID, Handle: "yoann_test"}) {
		t.Errorf("mentions: %+v", reply.Mentions)
	}
	quote := messages[1]
	if quote.Kind != payments.Quote || quote.Text != "@SmoneyFR #don 5€ pour le repas & le reste @ACF_France" || len(quote.Mentions) != 2 {
		t.Errorf("quote with a long text: %+v", quote)
	}
	if messages[2].Kind != payments.Repost {
		t.Errorf("repost: %+v", messages[2])
	}
	p := newParser(t)
	if got := p.Parse(reply); got.Command == nil || got.Command.Amount != 2000 || got.Command.PayeeID != yoannID {
		t.Error(outcome(got))
	}
	if got := p.Parse(quote); got.Command == nil || got.Command.Amount != 500 || got.Command.PayeeID != charityID {
		t.Error(outcome(got))
	}
}

func TestImportLines(t *testing.T) {
	file, err := os.ReadFile("testdata/v2/tweets.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"item 3 at byte|not JSON", `item 8 at byte|"abc" is not a numeric id`}
	fromFile, failures := imported(t, twitter.Owner{}, nil, "testdata/v2/tweets.jsonl")
	expectFailures(t, failures, want...)
	fromStdin, failures := imported(t, twitter.Owner{}, strings.NewReader("\ufeff\n"+string(file)), "-")
	expectFailures(t, failures, "standard input: "+want[0], want[1])
	for _, messages := range [][]payments.Message{fromFile, fromStdin} {
		var ids []string
		for _, m := range messages {
			ids = append(ids, m.ID[len(m.ID)-2:]+m.AuthorHandle)
		}
		if got := strings.Join(ids, " "); got != "11 13yoann_test 14 15" {
			t.Errorf("got %s", got)
		}
	}
}

func TestImportSharedFixture(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "fixtures", "x-archive")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the shared archive sample is not beside this checkout")
	}
	messages, failures := imported(t, twitter.Owner{}, nil, dir)
	expectFailures(t, failures)
	p := newParser(t)
	var got []string
	for _, m := range messages {
		parsed := p.Parse(m)
		if c := parsed.Command; c != nil {
			got = append(got, fmt.Sprintf("%s %s to %s", m.FirstID[len(m.FirstID)-1:], c.Amount.Format(c.Currency), c.PayeeID))
		} else {
			got = append(got, outcome(parsed))
		}
	}
	want := []string{"1 12.99 to 700000102", "2 100.00 to 700000201", "3 20.00 to 700000102", "ignored: no_command_hashtag", "5 251.00 to 700000102", "6 15.00 to 700000102"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

// write makes a file of an archive with one good tweet before body.
func write(t *testing.T, body string) string {
	t.Helper()
	const good = `window.YTD.tweets.part0 = [ {"tweet":{"id_str":"1","created_at":"Tue Oct 14 09:31:40 +0000 2014","full_text":"hello"}}`
	path := filepath.Join(t.TempDir(), "tweets.js")
	if err := os.WriteFile(path, []byte(good+body), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestImportBadInput(t *testing.T) {
	marie := twitter.Owner{ID: marieID, Handle: "marie_test"}
	tests := []struct {
		name, body string
		messages   int
		failures   []string
	}{
		{"whole", "]", 1, nil},
		{"whole with a semicolon", "];\n", 1, nil},
		{"cut off between items", ",", 1, []string{"tweets.js at byte|cut off after item 1"}},
		{"cut off in an item", `, {"tweet":{"id_str":"2","full`, 1, []string{"cut off after item 1"}},
		{"cut off before the end of the list", ``, 1, []string{"cut off after item 1"}},
		{"damaged", `, {"tweet":{"id_str":"2",,}}, {"tweet":{"id_str":"3"}} ]`, 1, []string{"tweets.js at byte|is damaged after item 1|invalid character ','"}},
		{"a wrong type", `, {"tweet":{"id_str":"2","full_text":["x"],"created_at":"x"}}]`, 1, []string{"item 2 at byte|(tweet 2)|full_text"}},
		{"no id", `, {"tweet":{"full_text":"x","created_at":"x"}}]`, 1, []string{"item 2 at byte|id_str: the tweet has no id"}},
		{"no text", `, {"tweet":{"id_str":"2"}}]`, 1, []string{"item 2|full_text: tweet 2 has no text"}},
		{"no time", `, {"tweet":{"id_str":"2","full_text":"x"}}]`, 1, []string{"item 2|created_at: tweet 2 was created at"}},
		{"no tweet", `, {"like":{}}, 7, null]`, 1, []string{`item 2|no "tweet"`, "item 3", `item 4|no "tweet"`}},
		{"an id that is none", `, {"tweet":{"id_str":"2; DROP TABLE","full_text":"x"}}]`, 1, []string{"item 2|not a numeric id"}},
		{"an edit history without itself", `, {"tweet":{"id_str":"2","full_text":"x","created_at":"Tue Oct 14 09:31:40 +0000 2014","edit_info":{"initial":{"editTweetIds":["3"]}}}}]`, 1, []string{"item 2|edit history of post 2 does not name"}},
		{"a megabyte of text", `, {"tweet":{"id_str":"2","created_at":"Tue Oct 14 09:31:40 +0000 2014","full_text":"` + strings.Repeat("a", 1<<20) + `"}}, {"tweet":{"id_str":"3","created_at":"Tue Oct 14 09:31:40 +0000 2014","full_text":"next"}} ]`, 2, []string{"item 2|post 2 has a text of 1048576 bytes"}},
		{"an item without end", `, {"tweet":{"id_str":"2","full_text":"` + strings.Repeat("a", 18<<20), 1, []string{"item 2 is larger than 16 MiB"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			messages, failures := imported(t, marie, nil, write(t, tt.body))
			expectFailures(t, failures, tt.failures...)
			if len(messages) != tt.messages {
				t.Errorf("%d messages, want %d", len(messages), tt.messages)
			}
		})
	}
}

func TestImportBadFiles(t *testing.T) {
	tests := map[string]struct {
		content, says string
		owner         twitter.Owner
	}{
		"empty":        {" \n ", "is empty", twitter.Owner{}},
		"text":         {"bonjour", `neither an archive's tweets.js nor JSON of the X API: it starts with "b"`, twitter.Owner{}},
		"zip":          {"PK\x03\x04", "unpack it first", twitter.Owner{}},
		"other table":  {`window.YTD.like.part0 = [ ]`, `holds the archive's "like"`, twitter.Owner{}},
		"no table":     {`window.alert("hi")`, "does not start like an archive's file", twitter.Owner{}},
		"not a list":   {`window.YTD.tweets.part0 = {"tweet":{}}`, "no list of tweets", twitter.Owner{ID: marieID}},
		"no owner":     {`window.YTD.tweets.part0 = [ ]`, "do not name their author; put its account.js beside it", twitter.Owner{}},
		"page cut off": {"{\n\"data\": [", "cut off", twitter.Owner{}},
		"page damaged": {"{\n\"data\": [}", "is damaged", twitter.Owner{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "some.js")
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			good := "testdata/archive"
			messages, failures := imported(t, tt.owner, nil, path, good)
			expectFailures(t, failures, path+"|"+tt.says)
			if len(messages) != 5 {
				t.Errorf("the next file gave %d messages", len(messages))
			}
		})
	}
}

func TestOpenImportRefuses(t *testing.T) {
	empty := t.TempDir()
	broken := filepath.Dir(write(t, "]"))
	if err := os.WriteFile(filepath.Join(broken, "account.js"), []byte("window.YTD.account.part0 = [ {"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		paths []string
		owner twitter.Owner
		code  ledger.Code
		says  string
	}{
		"no path":       {nil, twitter.Owner{}, ledger.CodeInvalid, "no file was given"},
		"no such file":  {[]string{"testdata/nowhere.js"}, twitter.Owner{}, ledger.CodeNotFound, "testdata/nowhere.js: cannot be opened"},
		"nothing in it": {[]string{empty}, twitter.Owner{}, ledger.CodeNotFound, "neither tweets.js"},
		"another owner": {[]string{"testdata/archive"}, twitter.Owner{ID: "42"}, ledger.CodeConflict, "of account 700000101 (@marie_test), not of 42"},
		"owner's id":    {[]string{"testdata/archive"}, twitter.Owner{ID: "marie"}, ledger.CodeInvalid, "not a numeric user id"},
		"account.js":    {[]string{broken}, twitter.Owner{}, ledger.CodeInvalid, "account.js: does not name one account"},
	}
	for name, tt := range tests {
		_, err := twitter.OpenImport(tt.paths, tt.owner, nil)
		if ledger.CodeOf(err) != tt.code || !strings.Contains(fmt.Sprint(err), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestImportStopsWhenTheCallerDoes(t *testing.T) {
	im, err := twitter.OpenImport([]string{"testdata/archive", "testdata/v2"}, twitter.Owner{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for range im.Messages() {
		if seen++; seen == 2 {
			break
		}
	}
	if seen != 2 {
		t.Errorf("%d seen", seen)
	}
}

// TestImportKeepsLittleInMemory reads an archive far larger than it may hold.
func TestImportKeepsLittleInMemory(t *testing.T) {
	const tweets = 40_000
	in, out := io.Pipe()
	go func() {
		for i := range tweets {
			fmt.Fprintf(out, `{"id":"%d","text":"@SmoneyFR #envoyer 20€ @ami %s","author_id":"%s","created_at":"2024-10-26T10:00:00Z"}`+"\n", i+1, strings.Repeat("x", 1000), marieID)
		}
		out.Close()
	}()
	im, err := twitter.OpenImport([]string{"-"}, twitter.Owner{}, in)
	if err != nil {
		t.Fatal(err)
	}
	seen, before := 0, heap()
	for _, err := range im.Messages() {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen == tweets/2 {
			if grown := heap() - before; grown > 10<<20 {
				t.Errorf("%d MiB in memory after %d MiB were read", grown>>20, im.BytesRead()>>20)
			}
		}
	}
	if seen != tweets || im.BytesRead() < tweets*1000 {
		t.Errorf("%d tweets, %d bytes", seen, im.BytesRead())
	}
}

func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func FuzzDecodeEvent(f *testing.F) {
	page, err := os.ReadFile("testdata/v2/page.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(page)
	f.Add([]byte(`{"data":{"id":"1","text":"&amp;","author_id":"2","created_at":"2024-10-26T10:00:00Z","edit_history_tweet_ids":["1"]}}`))
	f.Add([]byte(`window.YTD.tweets.part0 = [{"tweet":{"id_str":"1","full_text":"x","created_at":"Tue Oct 14 09:31:40 +0000 2014"}}]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if m, err := twitter.DecodeEvent(raw, twitter.ViaStream); err == nil && (m.ID == "" || m.AuthorID == "" || m.FirstID == "" || m.CreatedAt.IsZero()) {
			t.Fatalf("%+v", m)
		}
		im, err := twitter.OpenImport([]string{"-"}, twitter.Owner{ID: "1"}, strings.NewReader(string(raw)))
		if err != nil {
			t.Fatal(err)
		}
		for m, err := range im.Messages() {
			if err == nil && (m.ID == "" || m.AuthorID == "" || m.FirstID == "") {
				t.Fatalf("%+v", m)
			}
		}
	})
}
