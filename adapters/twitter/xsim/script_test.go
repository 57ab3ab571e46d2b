package xsim_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tweetledger/adapters/twitter/xsim"
)

func TestScriptsNameBadLines(t *testing.T) {
	for script, want := range map[string]string{
		"":                            "the script has no steps",
		"# nothing\n\n":               "the script has no steps",
		"\n\nfoo":                     "line 3: it is not a step: ",
		`{"do":"fly"}`:                `line 1: there is no action "fly"; use one of await_stream, cut, delete, `,
		`{}`:                          `line 1: there is no action ""`,
		`{"do":"tweet"}`:              `line 1: tweet needs "user"`,
		`{"do":"cut","x":1}`:          `unknown field "x"`,
		`{"do":"cut"} {"do":"cut"}`:   "line 1: there is one step a line",
		`{"do":"cut","text":"a"}`:     `line 1: cut takes no "text"`,
		`{"do":"cut","after":"soon"}`: `line 1: after is "soon"; write a time like "500ms"`,
		`{"do":"cut","after":"25h"}`:  "at most 24h0m0s",
		`{"do":"cut","after":"-1s"}`:  "at most 24h0m0s",
		`{"do":"cut","times":-1}`:     "line 1: times is 1 to 10000000, not -1",
		`{"do":"fail","endpoint":"moon","status":503}`:                                                           `line 1: there is no endpoint "moon"; use one of [stream `,
		`{"do":"fail","endpoint":"stream","status":200}`:                                                         "line 1: status is 400 to 599, not 200",
		`{"do":"user","id":"marie","handle":"marie"}`:                                                            `line 1: id is "marie"; ids are numbers`,
		"# one\n" + `{"do":"delete","of":"t"}`:                                                                   `line 2: no tweet before this line is named "t"`,
		`{"do":"tweet","user":"a","text":"b","as":"t","times":2}`:                                                "line 1: a tweet that repeats itself has no name",
		`{"do":"tweet","user":"a","text":"b","as":"t"}` + "\n" + `{"do":"tweet","user":"a","text":"b","as":"t"}`: `line 2: there is a tweet named "t" already`,
		`{"do":"say","text":"` + strings.Repeat("a", 128<<10) + `"}`:                                             "line 1: the line is longer than 131072 bytes",
	} {
		_, err := xsim.ReadScript(strings.NewReader(script))
		if bad, ok := errors.AsType[*xsim.ScriptError](err); !ok || !strings.Contains(bad.Error(), want) {
			t.Errorf("%.60q: %v, want %q", script, err, want)
		}
	}
}

// play plays a script on a new server and returns what it told.
func play(t *testing.T, sim *xsim.Server, script string) (string, error) {
	t.Helper()
	steps, err := xsim.ReadScript(strings.NewReader(script))
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	err = sim.Play(t.Context(), "1", steps, func(line string) { told = append(told, line) })
	return strings.Join(told, "\n"), err
}

func TestPlay(t *testing.T) {
	var waited time.Duration
	f := newFixture(t, xsim.Options{After: func(d time.Duration) <-chan time.Time {
		waited += d
		ch := make(chan time.Time, 1)
		ch <- time.Time{}
		return ch
	}})
	told, err := play(t, f.sim, `# people
{"do":"user","id":"3","handle":"yoann"}
{"do":"tweet","user":"marie","text":"@bank #envoyer 1€ @yoann","as":"first","after":"1s"}
{"do":"edit","of":"first","text":"@bank #envoyer 2€ @yoann"}
{"do":"tweet","user":"@yoann","text":"merci {n}","reply_to":"first","times":3,"every":"2s"}
{"do":"retweet","user":"3","of":"first"}
{"do":"message","user":"marie","text":"#solde"}
{"do":"message","user":"marie","to":"yoann","text":"hop"}
{"do":"delete","of":"first"}
{"do":"silence","for":"30s"}
{"do":"suspend","user":"yoann"}
{"do":"fail","endpoint":"lookup","status":503}
{"do":"say","text":"done"}`)
	if err != nil {
		t.Fatal(err)
	}
	if waited != 35*time.Second {
		t.Errorf("waited %v", waited)
	}
	for _, part := range []string{"by marie: @bank #envoyer 1€ @yoann", "merci 3", "message", "delete first", "silence for 30s", "\ndone"} {
		if !strings.Contains(told, part) {
			t.Errorf("%s lacks %q", told, part)
		}
	}
	if got := f.sim.Directs("1"); len(got) != 1 || got[0].Text != "#solde" || len(f.sim.Directs("3")) != 1 {
		t.Errorf("direct messages: %+v", got)
	}
	if status, _ := f.ask("GET", "/2/tweets?ids=1", xsim.DefaultAppToken, ""); status != 503 {
		t.Errorf("look-up answers %d", status)
	}
}

func TestPlayStopsWhereItCannotGoOn(t *testing.T) {
	f := newFixture(t, xsim.Options{})
	for script, want := range map[string]string{
		"\n" + `{"do":"tweet","user":"nobody","text":"a"}`:         `line 2: there is no user "nobody"`,
		`{"do":"suspend","user":"nobody"}`:                         `line 1: there is no user "nobody"`,
		`{"do":"message","user":"marie","to":"nobody","text":"a"}`: `line 1: there is no user "nobody"`,
		`{"do":"tweet","user":"marie","text":"a","as":"t"}` + "\n" + `{"do":"delete","of":"t"}` + "\n" + `{"do":"delete","of":"t"}`:          `line 3: tweet "t" is gone already`,
		`{"do":"tweet","user":"marie","text":"a","as":"t"}` + "\n" + `{"do":"delete","of":"t"}` + "\n" + `{"do":"edit","of":"t","text":"b"}`: `line 3: tweet "t" cannot be edited`,
	} {
		if _, err := play(t, f.sim, script); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.sim.Play(ctx, "1", []xsim.Step{{Do: "await_stream"}}, func(string) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestSearchKnowsItsParameters pages, and refuses what X refuses.
func TestSearchKnowsItsParameters(t *testing.T) {
	f := newFixture(t, xsim.Options{})
	for i := range 12 {
		f.sim.Tweet("2", fmt.Sprintf("@bank %d", i))
	}
	_, first := f.ask("GET", "/2/tweets/search/recent?query=@bank", xsim.DefaultAppToken, "")
	meta := first["meta"].(map[string]any)
	if len(first["data"].([]any)) != 10 || meta["next_token"] == nil {
		t.Fatalf("the first page: %v", first)
	}
	_, second := f.ask("GET", "/2/tweets/search/recent?query=@bank&next_token="+fmt.Sprint(meta["next_token"]), xsim.DefaultAppToken, "")
	if len(second["data"].([]any)) != 2 {
		t.Errorf("the second page: %v", second)
	}
	for _, bad := range []string{"", "query=", "query=a+OR+b", "query=@bank&max_results=9", "query=@bank&start_time=2024-10-19T09:59:59Z", "query=@bank&next_token=~"} {
		if status, _ := f.ask("GET", "/2/tweets/search/recent?"+bad, xsim.DefaultAppToken, ""); status != 400 {
			t.Errorf("%q: %d", bad, status)
		}
	}
}
