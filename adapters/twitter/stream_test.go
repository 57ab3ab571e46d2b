package twitter_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tweetledger/adapters/twitter"
	"tweetledger/adapters/twitter/xsim"
	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

func TestStreamDeliversMessages(t *testing.T) {
	w := newWorld(t)
	s := w.stream()
	w.sim.Tweet(marieID, "il fait beau")
	first := w.sim.Tweet(marieID, "@SmoneyFR #envoyer 20€ @yoann_test <3 & merci")
	m := s.next()
	if m.ID != first || m.FirstID != first || m.Version != 0 || m.AuthorID != marieID || m.AuthorHandle != "marie_test" || m.Kind != payments.Original ||
		m.Text != "@SmoneyFR #envoyer 20€ @yoann_test <3 & merci" || m.Language != "fr" || m.Via != twitter.ViaStream || !m.CreatedAt.Equal(w.clock.Now()) {
		t.Errorf("%+v", m)
	}
	if got := newParser(t).Parse(m); got.Command == nil || got.Command.PayeeID != yoannID || got.Command.Amount != 2000 {
		t.Error(outcome(got))
	}

	edited := w.sim.Edit(first, "@SmoneyFR #envoyer 15€ @yoann_test")
	if m := s.next(); m.ID != edited || m.FirstID != first || m.Version != 1 {
		t.Errorf("edit: %+v", m)
	}
	reply := w.sim.Tweet(marieID, "@SmoneyFR #don 5€ @ACF_France", xsim.ReplyTo(first))
	if m := s.next(); m.ID != reply || m.Kind != payments.Answer || m.ConversationID != first {
		t.Errorf("reply: %+v", m)
	}
	w.sim.Tweet(yoannID, "", xsim.RetweetOf(first)) // the rule leaves retweets out
	quote := w.sim.Tweet(yoannID, "moi aussi @SmoneyFR", xsim.QuoteOf(first))
	if m := s.next(); m.ID != quote || m.Kind != payments.Quote {
		t.Errorf("quote: %+v", m)
	}
	w.sim.Redeliver(first)
	if m := s.next(); m.ID != first {
		t.Errorf("repeat: %+v", m)
	}
	s.stop()
	if err := s.end(); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestStreamReadsOnOnlyWhenStored(t *testing.T) {
	w := newWorld(t)
	s := w.stream()
	ids := []string{w.sim.Tweet(marieID, "@SmoneyFR 1"), w.sim.Tweet(marieID, "@SmoneyFR 2"), w.sim.Tweet(marieID, "@SmoneyFR 3")}
	for _, id := range ids { // each handler call blocks until its message is taken here
		if m := s.next(); m.ID != id {
			t.Errorf("got %s, want %s", m.ID, id)
		}
	}
}

func TestStreamComesBack(t *testing.T) {
	w := newWorld(t)
	s := w.stream()
	w.sim.CutMidTweet(1)
	lost := w.sim.Tweet(marieID, "@SmoneyFR #envoyer 20€ @yoann_test")
	w.reconnected(1)
	w.connected(1, 0)
	after := tweetUntilSeen(w, s)
	if waits := w.clock.waited(); waits[0] != 250*time.Millisecond {
		t.Errorf("after a cut: waited %v", waits)
	}
	if after.ID == lost {
		t.Error("the tweet that was cut came as if whole")
	}
	var polled []string
	if _, err := w.client.PollMentions(w.ctx, bankID, "", func(_ context.Context, m payments.Message) error {
		polled = append(polled, m.ID)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(polled, lost) {
		t.Errorf("the mentions %v lack %s", polled, lost)
	}
}

// tweetUntilSeen tweets until one arrives: X may notice a new connection after
// the old one's end, and what falls between is lost on a stream.
func tweetUntilSeen(w *world, s *streaming) payments.Message {
	w.t.Helper()
	for i := 0; ; i++ {
		w.sim.Tweet(marieID, fmt.Sprintf("@SmoneyFR bonjour %d", i))
		select {
		case m := <-s.messages:
			return m
		case err := <-s.ended:
			w.t.Fatalf("the stream ended: %v", err)
		case <-w.ctx.Done():
			w.t.Fatal("no message came")
		default:
			runtime.Gosched()
		}
	}
}

func TestStreamObeysRefusals(t *testing.T) {
	tests := []struct {
		name    string
		failure xsim.Failure
		waits   []time.Duration
	}{
		{"unavailable", xsim.Failure{Status: 503, Times: 3}, []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second}},
		{"too many requests, reset near", xsim.Failure{Status: 429, Times: 2, Reset: time.Second}, []time.Duration{time.Minute, 2 * time.Minute}},
		{"too many requests, reset far", xsim.Failure{Status: 429, Times: 1, Reset: 10 * time.Minute}, []time.Duration{10 * time.Minute}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.sim.Fail(xsim.EndpointStream, tt.failure)
			s := w.stream()
			id := w.sim.Tweet(marieID, "@SmoneyFR bonjour")
			if m := s.next(); m.ID != id {
				t.Errorf("%+v", m)
			}
			if got := w.clock.waited(); fmt.Sprint(got) != fmt.Sprint(tt.waits) {
				t.Errorf("waited %v, want %v", got, tt.waits)
			}
		})
	}
}

func TestStreamGivesUpWithoutAccess(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404} {
		w := newWorld(t)
		w.sim.Fail(xsim.EndpointStream, xsim.Failure{Status: status, Times: 1})
		err := w.client.Stream(w.ctx, func(context.Context, payments.Message) error { return nil })
		var refused *twitter.APIError
		if !errors.As(err, &refused) || refused.Status != status || ledger.CodeOf(err) == ledger.CodeUnavailable {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestStreamCountsSilenceAsDeath(t *testing.T) {
	w := newWorld(t)
	s := w.stream()
	w.sim.Tweet(marieID, "@SmoneyFR bonjour")
	s.next()
	select {
	case w.idle <- w.clock.Now(): // a keep-alive is no message and no end
	case <-w.ctx.Done():
		t.Fatal("xsim sends no keep-alives")
	}
	w.sim.Tweet(marieID, "@SmoneyFR encore")
	s.next()
	if waits := w.clock.waited(); len(waits) != 0 {
		t.Fatalf("connected again while X was alive: %v", waits)
	}
	w.sim.Silence(true)
	w.silenceRunsOut()
	w.sim.Silence(false)
	tweetUntilSeen(w, s)
	if waits := w.clock.waited(); waits[0] != 250*time.Millisecond {
		t.Errorf("waited %v", waits)
	}
}

func TestStreamObeysDisconnects(t *testing.T) {
	w := newWorld(t)
	s := w.stream()
	w.sim.Disconnect()
	w.reconnected(1)
	tweetUntilSeen(w, s)
	if waits := w.clock.waited(); waits[0] != 250*time.Millisecond {
		t.Errorf("waited %v", waits)
	}
}

func TestStreamOffersAMessageAgainWhenStoringFails(t *testing.T) {
	for _, failures := range []int{3, 1000} {
		w := newWorld(t)
		if err := w.client.AddRules(w.ctx, []twitter.Rule{twitter.BankRule("SmoneyFR")}); err != nil {
			t.Fatal(err)
		}
		tries, broken := 0, errors.New("disk full")
		ctx, stop := context.WithCancel(w.ctx)
		ended := make(chan error, 1)
		go func() {
			ended <- w.client.Stream(ctx, func(context.Context, payments.Message) error {
				if tries++; tries <= failures {
					return broken
				}
				stop()
				return nil
			})
		}()
		w.connected(1, 0)
		w.sim.Tweet(marieID, "@SmoneyFR bonjour")
		err := <-ended
		if failures == 3 && (tries != 4 || !errors.Is(err, context.Canceled)) {
			t.Errorf("%d tries, %v", tries, err)
		}
		if failures == 1000 && (tries != 8 || !errors.Is(err, broken)) {
			t.Errorf("%d tries, %v", tries, err)
		}
		stop()
	}
}

func TestStreamPassesOverWhatItCannotRead(t *testing.T) {
	const good = `{"data":{"id":"7","text":"x","author_id":"1","created_at":"2024-10-26T10:00:00Z"},"errors":[{"title":"partial"}]}`
	lines := []string{
		`not json`, `{"data":{"id":"1","text":"no author"}}`, `{"data":{"text":"no id","author_id":"1"}}`, `{}`, `[1]`, `{"data":[]}`,
		`{"data":{"id":"2","author_id":"1","created_at":"2024-10-26T10:00:00Z","text":"` + strings.Repeat("a", 1<<20) + `"}}`, good, "", good,
	}
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		fmt.Fprint(out, strings.Join(lines, "\r\n")) // the last one without an end
	}))
	defer server.Close()
	w := newWorld(t)
	seen := 0
	ctx, stop := context.WithCancel(w.ctx)
	err := w.newClient(server.URL).Stream(ctx, func(_ context.Context, m payments.Message) error {
		if m.ID != "7" {
			t.Errorf("%+v", m)
		}
		if seen++; seen == 4 { // two a connection: it comes back
			stop()
		}
		return nil
	})
	if seen != 4 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d seen, %v", seen, err)
	}
}

func TestStreamConnectsNotTooOften(t *testing.T) {
	w := newWorld(t)
	ctx, stop := context.WithCancel(w.ctx)
	defer stop()
	var mu sync.Mutex
	var at []time.Time
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if at = append(at, w.clock.Now()); len(at) == 120 {
			stop()
		}
		fmt.Fprint(out, "\r\n") // a success, so that back-off starts anew
	}))
	defer server.Close()
	if err := w.newClient(server.URL).Stream(ctx, func(context.Context, payments.Message) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for i := range at {
		if i >= 50 && at[i].Sub(at[i-50]) < 15*time.Minute {
			t.Fatalf("50 connects in %v", at[i].Sub(at[i-50]))
		}
	}
}

func TestComplianceStream(t *testing.T) {
	w := newWorld(t)
	deletions := make(chan payments.Deletion)
	ctx, stop := context.WithCancel(w.ctx)
	defer stop()
	ended := make(chan error, 4)
	for partition := 1; partition <= 4; partition++ {
		go func() {
			ended <- w.client.Compliance(ctx, partition, func(ctx context.Context, d payments.Deletion) error {
				select {
				case deletions <- d:
				case <-ctx.Done():
				}
				return nil
			})
		}()
	}
	w.connected(0, 4)
	for _, author := range []string{marieID, yoannID, "700000103", "700000104"} { // one of each partition
		id := w.sim.Tweet(author, "@SmoneyFR #envoyer 20€ @yoann_test")
		w.clock.advance(time.Minute)
		if !w.sim.Delete(id) || w.sim.Delete(id) {
			t.Error("deleting once works, twice does not")
		}
		select {
		case d := <-deletions:
			if d != (payments.Deletion{Channel: "twitter", ID: id, AuthorID: author, At: w.clock.Now()}) {
				t.Errorf("%+v", d)
			}
		case <-w.ctx.Done():
			t.Fatal("no deletion came")
		}
	}
	stop()
	for range 4 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if err := w.client.Compliance(w.ctx, 5, nil); ledger.CodeOf(err) != ledger.CodeInvalid {
		t.Errorf("partition 5: %v", err)
	}
}

// TestUserComplianceStream hears of accounts that are deleted, suspended and protected,
// and of nothing else.
func TestUserComplianceStream(t *testing.T) {
	w := newWorld(t)
	gone := make(chan payments.AuthorGone)
	ctx, stop := context.WithCancel(w.ctx)
	defer stop()
	ended := make(chan error, 4)
	for partition := 1; partition <= 4; partition++ {
		go func() {
			ended <- w.client.UserCompliance(ctx, partition, func(ctx context.Context, g payments.AuthorGone) error {
				select {
				case gone <- g:
				case <-ctx.Done():
				}
				return nil
			})
		}()
	}
	if err := w.sim.WaitForUserStreams(w.ctx, 4); err != nil {
		t.Fatal(err)
	}
	for author, act := range map[string]func(string){marieID: w.sim.Leave, yoannID: w.sim.Suspend, "700000103": w.sim.Protect} {
		w.sim.AddUser(author, "user_"+author, "")
		w.clock.advance(time.Minute)
		act(author)
		select {
		case g := <-gone:
			if g != (payments.AuthorGone{Channel: "twitter", AuthorID: author, At: w.clock.Now()}) {
				t.Errorf("%+v", g)
			}
		case <-w.ctx.Done():
			t.Fatal("nothing came")
		}
	}
	stop()
	for range 4 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

func TestStreamLeavesNoGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("streams", func(t *testing.T) {
		w := newWorld(t)
		s := w.stream()
		w.sim.CutMidTweet(1)
		w.sim.Tweet(marieID, "@SmoneyFR bonjour")
		w.reconnected(1)
		w.connected(1, 0)
		s.stop()
		if err := s.end(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(testTimeout); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func TestNewClientChecksItsOptions(t *testing.T) {
	for _, address := range []string{"api.x.com", "ftp://x", "://"} {
		if _, err := twitter.NewClient(twitter.Options{BaseURL: address}); ledger.CodeOf(err) != ledger.CodeInvalid {
			t.Errorf("%s: %v", address, err)
		}
	}
	registry := prometheus.NewRegistry()
	client, err := twitter.NewClient(twitter.Options{Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := twitter.NewClient(twitter.Options{Registerer: registry}); err == nil {
		t.Error("the same metrics twice")
	}
	if err := client.Stream(t.Context(), nil); ledger.CodeOf(err) != ledger.CodeForbidden {
		t.Errorf("without a token: %v", err)
	}
}
