package twitter_test

import (
	"context"
	"errors"
	"math"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tweetledger/adapters/twitter"
	"tweetledger/adapters/twitter/xsim"
	"tweetledger/internal/payments"
)

// listen starts to listen from since, without declaring rules first.
func (w *world) listen(since time.Time) *streaming {
	w.t.Helper()
	s := w.start(func(handle func(context.Context, payments.Message) error) func(context.Context) error {
		return func(ctx context.Context) error {
			return w.client.Listen(ctx, twitter.Listening{BankUserID: bankID, Rule: twitter.BankRule("SmoneyFR"), Since: since}, twitter.Handler(handle).Each())
		}
	})
	w.connected(1, 0)
	return s
}

func (w *world) declare() {
	w.t.Helper()
	if err := w.client.DeclareRules(w.ctx, "test", []twitter.Rule{twitter.BankRule("SmoneyFR")}); err != nil {
		w.t.Fatal(err)
	}
}

// until takes messages until all of ids have come, and returns by which ways each did.
func (s *streaming) until(ids ...string) map[string]string {
	s.w.t.Helper()
	ways := map[string]string{}
	for missing := len(ids); missing > 0; {
		m := s.next()
		missing = 0
		ways[m.ID] += m.Via + " "
		for _, id := range ids {
			if ways[id] == "" {
				missing++
			}
		}
	}
	return ways
}

// TestGapIsFilledBySearchAndMentions loses tweets in each way that a stream can, and
// finds them after it is connected again.
func TestGapIsFilledBySearchAndMentions(t *testing.T) {
	w := newWorld(t)
	w.declare()
	s := w.listen(time.Time{})
	w.sim.CutMidTweet(1)
	cut := w.sim.Tweet(marieID, "@SmoneyFR #envoyer 1€ @yoann_test")
	w.reconnected(1)
	w.connected(1, 0)
	if ways := s.until(cut); ways[cut] != "search " {
		t.Errorf("the tweet that was cut came by %q", ways[cut])
	}
	s.stop()
	if err := s.end(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestGapIsFilledFromWhereTheProcessBeforeStopped begins with what was posted while
// nobody listened, some minutes before the last stored message included.
func TestGapIsFilledFromWhereTheProcessBeforeStopped(t *testing.T) {
	w := newWorld(t)
	w.declare()
	old := w.sim.Tweet(marieID, "@SmoneyFR trop vieux")
	w.clock.advance(time.Hour)
	overlapping := w.sim.Tweet(marieID, "@SmoneyFR avant l'arrêt")
	w.clock.advance(5 * time.Minute)
	stopped := w.clock.Now()
	missed := w.sim.Tweet(marieID, "@SmoneyFR pendant l'arrêt")
	w.clock.advance(3 * time.Hour)
	s := w.listen(stopped)
	if ways := s.until(overlapping, missed); ways[old] != "" {
		t.Errorf("read back too far: %v", ways)
	}
}

// TestGapIsFilledByOneWayWhereTheOtherFails refuses search, then mentions.
func TestGapIsFilledByOneWayWhereTheOtherFails(t *testing.T) {
	for way, endpoint := range map[string]xsim.Endpoint{"mentions ": xsim.EndpointSearch, "search ": xsim.EndpointMentions} {
		w := newWorld(t)
		w.declare()
		missed := w.sim.Tweet(marieID, "@SmoneyFR pendant l'arrêt")
		w.sim.Fail(endpoint, xsim.Failure{Status: 403, Times: 1000})
		if ways := w.listen(w.clock.Now()).until(missed); ways[missed] != way {
			t.Errorf("%s is refused, and the tweet came by %q", endpoint, ways[missed])
		}
	}
}

// TestGapIsTriedAgain lets both ways fail for a while: 503, and 429 with a reset.
func TestGapIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.declare()
	missed := w.sim.Tweet(marieID, "@SmoneyFR pendant l'arrêt")
	w.sim.Fail(xsim.EndpointSearch, xsim.Failure{Status: 503, Times: 2})
	w.sim.Fail(xsim.EndpointMentions, xsim.Failure{Status: 429, Times: 1, Reset: 10 * time.Minute})
	w.listen(w.clock.Now()).until(missed)
	if waits := w.clock.waited(); len(waits) == 0 || waits[0] < 5*time.Second {
		t.Errorf("waited %v", waits)
	}
}

// TestSearchReadsPageAfterPage finds more than a page holds, and never asks for what
// X would refuse as too old.
func TestSearchReadsPageAfterPage(t *testing.T) {
	w := newWorld(t)
	for range 250 {
		w.sim.Tweet(marieID, "@SmoneyFR #don 1€ @ACF_France")
	}
	for _, from := range []time.Time{{}, w.clock.Now().Add(-time.Hour), w.clock.Now().AddDate(0, -1, 0)} {
		found, whole, err := w.client.Search(w.ctx, twitter.BankRule("SmoneyFR").Value, from)
		if err != nil || !whole || len(found) != 250 || found[0].Via != twitter.ViaSearch {
			t.Errorf("from %v: %d found, %v, %v", from, len(found), whole, err)
		}
	}
	if _, _, err := w.client.Search(w.ctx, strings.Repeat("a", 513), time.Time{}); err == nil {
		t.Error("a query that is too long")
	}
}

// TestMentionsAreReadWithOverlap polls again and again: each reading goes some minutes
// back, and a mention that appears late is not lost.
func TestMentionsAreReadWithOverlap(t *testing.T) {
	w := newWorld(t)
	seen := map[string]int{}
	read := func(from time.Time) time.Time {
		t.Helper()
		next, err := w.client.ReadMentions(w.ctx, bankID, from, twitter.Handler(func(_ context.Context, m payments.Message) error {
			seen[m.ID]++
			return nil
		}).Each())
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	first := w.sim.Tweet(marieID, "@SmoneyFR un")
	next := read(time.Time{})
	if want := w.clock.Now().Add(-15 * time.Minute); !next.Equal(want) {
		t.Errorf("reads on from %v, want %v", next, want)
	}
	w.clock.advance(10 * time.Minute)
	second := w.sim.Tweet(marieID, "@SmoneyFR deux")
	next = read(next)
	w.clock.advance(10 * time.Minute)
	if after := read(next); !after.Equal(next) {
		t.Errorf("reads on from %v without anything new, want %v", after, next)
	}
	if seen[first] != 3 || seen[second] != 2 {
		t.Errorf("seen %v", seen)
	}
	w.sim.Fail(xsim.EndpointMentions, xsim.Failure{Status: 500, Times: 1})
	if after, err := w.client.ReadMentions(w.ctx, bankID, next, nil); err == nil || !after.Equal(next) {
		t.Errorf("a failure moves the place to %v: %v", after, err)
	}
}

// TestStreamFaults plays duplicates, and tweets that come late and out of order.
func TestStreamFaults(t *testing.T) {
	w := newWorld(t)
	s := w.stream()
	w.sim.Duplicate(1)
	twice := w.sim.Tweet(marieID, "@SmoneyFR deux fois")
	for range 2 {
		if m := s.next(); m.ID != twice {
			t.Errorf("%+v", m)
		}
	}
	w.sim.Hold(2)
	first, second := w.sim.Tweet(marieID, "@SmoneyFR 1"), w.sim.Tweet(marieID, "@SmoneyFR 2")
	third := w.sim.Tweet(marieID, "@SmoneyFR 3")
	for _, id := range []string{third, second, first} {
		if m := s.next(); m.ID != id {
			t.Errorf("%s came, want %s", m.ID, id)
		}
	}
	w.sim.Hold(1)
	late := w.sim.Tweet(marieID, "@SmoneyFR tard")
	w.sim.Release()
	if m := s.next(); m.ID != late {
		t.Errorf("%+v", m)
	}
}

// TestPostNames reads what X says in the names of posts.
func TestPostNames(t *testing.T) {
	w := newWorldWith(t, xsim.Options{PostNames: true})
	s := w.stream()
	first := w.sim.Tweet(marieID, "@SmoneyFR #envoyer 20€ @yoann_test "+strings.Repeat("merci ", 60)+"@ACF_France")
	if m := s.next(); !strings.HasSuffix(m.Text, "@ACF_France") || len(m.Mentions) != 3 {
		t.Errorf("the long text is %q with %v", m.Text, m.Mentions)
	}
	edit := w.sim.Edit(first, "@SmoneyFR #envoyer 21€ @yoann_test")
	if m := s.next(); m.ID != edit || m.FirstID != first || m.Version != 1 {
		t.Errorf("%+v", m)
	}
	w.sim.Tweet(marieID, "@SmoneyFR oui", xsim.QuoteOf(first))
	if m := s.next(); m.Kind != payments.Quote {
		t.Errorf("%+v", m)
	}
}

// TestMetricsOfTheStream counts lag, connections, duplicates and reads billed.
func TestMetricsOfTheStream(t *testing.T) {
	registry := prometheus.NewRegistry()
	w := newWorld(t)
	w.client = w.newClientWith(w.server.URL, registry)
	s := w.stream()
	w.sim.Tweet(marieID, "@SmoneyFR un")
	w.sim.Redeliver(s.next().ID)
	s.next()
	w.sim.CutMidTweet(1)
	w.sim.Tweet(marieID, "@SmoneyFR coupé")
	w.reconnected(1)
	w.connected(1, 0) // at X, which is before the client knows
	for w.ctx.Err() == nil && (metric(t, registry, "stream_connects_total stream=stream") < 2 || metric(t, registry, "stream_connected stream=stream") < 1) {
		runtime.Gosched()
	}
	if _, err := w.client.PollMentions(w.ctx, bankID, "", func(context.Context, payments.Message) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{
		"duplicates_total via=mentions": 1, "duplicates_total via=stream": 1, "reads_billed_total resource=post": 2, "reads_total resource=post": 4,
		"stream_connects_total stream=stream": 2, "stream_ends_total reason=network stream=stream": 1, "stream_connected stream=stream": 1,
		"stream_heard_timestamp_seconds stream=stream": float64(w.clock.Now().Unix()), "messages_total via=stream": 2,
		"lag_seconds via=stream": 1, "lag_seconds via=mentions": 1,
	} {
		if got := metric(t, registry, name); math.Abs(got-want) > 1 || want < 1000 && got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// metric returns the value of "name label=value …"; of a histogram, how much it counted.
func metric(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			full := strings.TrimPrefix(family.GetName(), "tweetledger_twitter_")
			for _, label := range m.GetLabel() {
				full += " " + label.GetName() + "=" + label.GetValue()
			}
			if full == name {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

// TestRateLimitHeadersAreObeyed asks nothing more of an endpoint that said it has none
// left, before any 429.
func TestRateLimitHeadersAreObeyed(t *testing.T) {
	w := newWorld(t)
	w.sim.Fail(xsim.EndpointSearch, xsim.Failure{Status: http.StatusTooManyRequests, Times: 1, Reset: 15 * time.Minute})
	for range 3 {
		_, _, err := w.client.Search(w.ctx, "@SmoneyFR", time.Time{})
		refused, ok := errors.AsType[*twitter.APIError](err)
		if !ok || refused.Status != http.StatusTooManyRequests || refused.RetryAfter != 15*time.Minute {
			t.Fatalf("search: %v", err)
		}
	}
	w.clock.advance(15 * time.Minute)
	if _, _, err := w.client.Search(w.ctx, "@SmoneyFR", time.Time{}); err != nil {
		t.Errorf("after the reset: %v", err)
	}
}

// TestGapThatIsNotFilledIsLeftToTheNext lets the stream bring what is new while a gap
// cannot be read back: who listens next must begin with the gap, not with the newest.
func TestGapThatIsNotFilledIsLeftToTheNext(t *testing.T) {
	w := newWorld(t)
	w.declare()
	stopped := w.clock.Now()
	w.clock.advance(time.Hour)
	w.sim.Tweet(marieID, "@SmoneyFR pendant l'arrêt")
	w.clock.advance(time.Hour)
	for _, endpoint := range []xsim.Endpoint{xsim.EndpointSearch, xsim.EndpointMentions} {
		w.sim.Fail(endpoint, xsim.Failure{Status: http.StatusServiceUnavailable, Times: 1 << 20})
	}
	reached := make(chan time.Time)
	listen := func() (*streaming, func() time.Time) {
		s := w.start(func(handle func(context.Context, payments.Message) error) func(context.Context) error {
			return func(ctx context.Context) error {
				return w.client.Listen(ctx, twitter.Listening{BankUserID: bankID, Rule: twitter.BankRule("SmoneyFR"), Since: stopped,
					Progress: func(ctx context.Context, until time.Time) {
						select {
						case reached <- until:
						case <-ctx.Done():
						}
					}}, twitter.Handler(handle).Each())
			}
		})
		w.connected(1, 0)
		return s, func() time.Time {
			for i := 0; ; i++ {
				if i%1000 == 0 { // X may notice a new connection after the old one's end
					w.clock.advance(time.Minute)
					w.sim.Tweet(marieID, "@SmoneyFR maintenant")
				}
				select {
				case <-s.messages:
				case until := <-reached:
					return until
				case <-w.ctx.Done():
					t.Fatal("nothing was reached")
				default:
					runtime.Gosched()
				}
			}
		}
	}
	s, next := listen()
	for range 3 {
		if until := next(); until.After(stopped) {
			t.Fatalf("everything was read until %v, though the gap since %v is not", until, stopped)
		}
	}
	s.stop()
	if err := s.end(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	w.sim.Fail(xsim.EndpointSearch, xsim.Failure{Status: http.StatusServiceUnavailable, Times: 1})
	w.sim.Fail(xsim.EndpointMentions, xsim.Failure{Status: http.StatusServiceUnavailable, Times: 1})
	_, next = listen()
	for until := next(); !until.After(stopped.Add(2 * time.Hour)); until = next() {
	}
}
