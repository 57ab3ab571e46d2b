package twitter_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tweetledger/adapters/twitter"
	"tweetledger/adapters/twitter/xsim"
	"tweetledger/internal/payments"
)

// testTimeout ends a test that waits for what never comes.
const testTimeout = 30 * time.Second

// silence is how long the client lets a stream be quiet.
const silence = 30 * time.Second

// clock is a clock that moves when somebody waits: back-off waits end at once,
// and are written down. Waits for silence end when the test says so.
type clock struct {
	mu      sync.Mutex
	now     time.Time
	waits   []time.Duration
	silent  []chan time.Time
	watched chan struct{} // closed and made anew when a wait for silence starts
}

func newClock() *clock {
	return &clock{now: time.Date(2024, 10, 26, 10, 0, 0, 0, time.UTC), watched: make(chan struct{})}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *clock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := make(chan time.Time, 1)
	if d == silence {
		c.silent = append(c.silent, ch)
		close(c.watched)
		c.watched = make(chan struct{})
		return ch
	}
	c.waits = append(c.waits, d)
	c.now = c.now.Add(d)
	ch <- c.now
	return ch
}

// endSilence lets all waits for silence run out.
func (c *clock) endSilence() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range c.silent {
		select {
		case ch <- c.now:
		default:
		}
	}
	c.silent = nil
}

func (c *clock) waited() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.waits)
}

// world is a simulated X with the people of the tests, and a client of it.
type world struct {
	t      *testing.T
	ctx    context.Context
	clock  *clock
	sim    *xsim.Server
	idle   chan time.Time // a value makes xsim send a keep-alive
	server *httptest.Server
	client *twitter.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldWith(t, xsim.Options{})
}

func newWorldWith(t *testing.T, opts xsim.Options) *world {
	t.Helper()
	w := &world{t: t, clock: newClock(), idle: make(chan time.Time)}
	opts.Clock, opts.After = w.clock.Now, func(time.Duration) <-chan time.Time { return w.idle }
	w.sim = xsim.New(opts)
	for handle, id := range map[string]string{"SmoneyFR": bankID, "marie_test": marieID, "yoann_test": yoannID, "ACF_France": charityID} {
		w.sim.AddUser(id, handle, handle)
	}
	w.server = httptest.NewServer(w.sim)
	w.client = w.newClient(w.server.URL)
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	w.ctx = ctx
	t.Cleanup(func() {
		cancel()
		w.sim.Close()
		w.server.Close()
	})
	return w
}

func (w *world) newClient(address string) *twitter.Client {
	w.t.Helper()
	return w.newClientWith(address, nil)
}

func (w *world) newClientWith(address string, registry prometheus.Registerer) *twitter.Client {
	w.t.Helper()
	transport := &http.Transport{}
	w.t.Cleanup(transport.CloseIdleConnections)
	client, err := twitter.NewClient(twitter.Options{
		BaseURL: address, AppToken: twitter.StaticToken(w.sim.AppToken()), UserToken: twitter.StaticToken(w.sim.UserToken(bankID)),
		HTTPClient: &http.Client{Transport: transport}, Clock: w.clock.Now, After: w.clock.After,
		Jitter: func(time.Duration) time.Duration { return 0 }, Registerer: registry,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return client
}

// streaming is a running Stream.
type streaming struct {
	w        *world
	messages chan payments.Message
	ended    chan error
	stop     context.CancelFunc
}

// stream declares the bank's rule, starts a Stream and waits until X sees it.
func (w *world) stream() *streaming {
	w.t.Helper()
	if err := w.client.DeclareRules(w.ctx, "test", []twitter.Rule{twitter.BankRule("SmoneyFR")}); err != nil {
		w.t.Fatal(err)
	}
	s := w.start(func(handle func(context.Context, payments.Message) error) func(context.Context) error {
		return func(ctx context.Context) error { return w.client.Stream(ctx, handle) }
	})
	w.connected(1, 0)
	return s
}

func (w *world) start(run func(func(context.Context, payments.Message) error) func(context.Context) error) *streaming {
	ctx, stop := context.WithCancel(w.ctx)
	s := &streaming{w: w, messages: make(chan payments.Message), ended: make(chan error, 1), stop: stop}
	handle := func(ctx context.Context, m payments.Message) error {
		select {
		case s.messages <- m:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	go func() { s.ended <- run(handle)(ctx) }()
	w.t.Cleanup(stop)
	return s
}

func (w *world) connected(filtered, compliance int) {
	w.t.Helper()
	if err := w.sim.WaitForStreams(w.ctx, filtered, compliance); err != nil {
		w.t.Fatal(err)
	}
}

// next returns the next message that arrives.
func (s *streaming) next() payments.Message {
	s.w.t.Helper()
	select {
	case m := <-s.messages:
		return m
	case err := <-s.ended:
		s.w.t.Fatalf("the stream ended: %v", err)
	case <-s.w.ctx.Done():
		s.w.t.Fatal("no message came")
	}
	return payments.Message{}
}

// end returns with what Stream ended by itself.
func (s *streaming) end() error {
	s.w.t.Helper()
	select {
	case err := <-s.ended:
		return err
	case m := <-s.messages:
		s.w.t.Fatalf("a message came instead of the end: %+v", m)
	case <-s.w.ctx.Done():
		s.w.t.Fatal("the stream did not end")
	}
	return nil
}

// silenceRunsOut lets the client meet the end of its patience, whenever it
// starts to wait.
func (w *world) silenceRunsOut() {
	w.t.Helper()
	for {
		w.clock.mu.Lock()
		watched := w.clock.watched
		w.clock.mu.Unlock()
		w.clock.endSilence()
		if len(w.clock.waited()) > 0 {
			return
		}
		select {
		case <-watched:
		case <-w.ctx.Done():
			w.t.Fatal("the client never lost its patience")
		default:
			runtime.Gosched()
		}
	}
}

// reconnected waits until the client has waited n times and is connected again.
func (w *world) reconnected(n int) {
	w.t.Helper()
	for len(w.clock.waited()) < n {
		w.clock.mu.Lock()
		watched := w.clock.watched
		w.clock.mu.Unlock()
		if len(w.clock.waited()) >= n {
			break
		}
		select {
		case <-watched:
		case <-w.ctx.Done():
			w.t.Fatalf("waited %v, not %d times", w.clock.waited(), n)
		}
	}
}
