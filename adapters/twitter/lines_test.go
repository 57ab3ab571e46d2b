package twitter_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"tweetledger/adapters/twitter"
	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// posting is a stream that sends n posts, ids from 1, and says when it has.
func posting(t *testing.T, n int, sent chan<- struct{}) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/2/tweets/search/stream" { // what a gap has left out
			fmt.Fprint(out, `{"meta":{"result_count":0}}`)
			return
		}
		for i := range n {
			fmt.Fprintf(out, `{"data":{"id":"%d","text":"x","author_id":"1","created_at":"2024-10-26T10:00:00Z"}}`+"\r\n", i+1)
		}
		if err := http.NewResponseController(out).Flush(); err != nil {
			return
		}
		select {
		case sent <- struct{}{}:
		case <-r.Context().Done():
		}
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	return server
}

// TestStreamIsReadAhead keeps the first posts from being stored until X has sent many
// more: those come together, in their order, and never too many at once.
func TestStreamIsReadAhead(t *testing.T) {
	const posts, most = 700, 200
	w := newWorld(t)
	sent := make(chan struct{})
	server := posting(t, posts, sent)
	ctx, stop := context.WithCancel(w.ctx)
	var sizes []int
	var ids []string
	err := w.newClient(server.URL).Listen(ctx, twitter.Listening{BankUserID: bankID, Rule: twitter.BankRule("SmoneyFR")}, func(_ context.Context, batch []payments.Message) []error {
		if len(sizes) == 0 {
			select {
			case <-sent:
			case <-w.ctx.Done():
			}
		}
		sizes = append(sizes, len(batch))
		for _, m := range batch {
			ids = append(ids, m.ID)
		}
		if len(ids) == posts {
			stop()
		}
		return make([]error, len(batch))
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if slices.Max(sizes) > most || len(sizes) == posts {
		t.Errorf("%d posts came in batches of %v", posts, sizes)
	}
	for i, id := range ids {
		if id != fmt.Sprint(i+1) {
			t.Fatalf("post %s came at place %d", id, i+1)
		}
	}
}

// TestOneOfManyIsOfferedAgain has one of many messages fail twice, and one refused for
// good: the others are stored once.
func TestOneOfManyIsOfferedAgain(t *testing.T) {
	const posts = 50
	w := newWorld(t)
	sent := make(chan struct{}, 1)
	server := posting(t, posts, sent)
	ctx, stop := context.WithCancel(w.ctx)
	offered := map[string]int{}
	busy := errors.New("the disk is busy")
	err := w.newClient(server.URL).Listen(ctx, twitter.Listening{BankUserID: bankID, Rule: twitter.BankRule("SmoneyFR")}, func(_ context.Context, batch []payments.Message) []error {
		errs := make([]error, len(batch))
		for i, m := range batch {
			offered[m.ID]++
			switch {
			case m.ID == "7" && offered[m.ID] < 3:
				errs[i] = busy
			case m.ID == "9":
				errs[i] = ledger.Errorf(ledger.CodeInvalid, "a test")
			}
		}
		if len(offered) == posts && offered["7"] == 3 {
			stop()
		}
		return errs
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for id, n := range offered {
		if want := map[bool]int{true: 3, false: 1}[id == "7"]; n != want {
			t.Errorf("message %s was offered %d times, want %d", id, n, want)
		}
	}
	if waits := w.clock.waited(); !slices.Equal(waits, []time.Duration{250 * time.Millisecond, 500 * time.Millisecond}) {
		t.Errorf("waited %v", waits)
	}
}
