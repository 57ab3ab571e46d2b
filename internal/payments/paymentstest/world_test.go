package paymentstest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tweetledger/adapters/card"
	"tweetledger/adapters/card/cardsim"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

const (
	channel       = "twitter"
	secretKey     = "sk_test_sim"
	webhookSecret = "whsec_test"
	pageURL       = "https://pay.test/confirm"
	actor         = "test"
	reason        = "the test says so"
)

// nodes is how many processes of the service run on the book.
const nodes = 3

// clock is moved by the test. A process that looks at it may be made to die there.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	looks int    // until die is called; 0: never
	die   func() // cancels what the process does
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.looks > 0 {
		if c.looks--; c.looks == 0 {
			c.die()
		}
	}
	return c.now
}

func (c *clock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

// dieAfter lets what runs under the returned context die when it has looked at the
// clock so often; live ends that. 0 looks: it lives.
func (c *clock) dieAfter(ctx context.Context, looks int) (dying context.Context, live func()) {
	dying, cancel := context.WithCancel(ctx)
	c.mu.Lock()
	c.looks, c.die = looks, cancel
	c.mu.Unlock()
	return dying, func() {
		c.mu.Lock()
		c.looks = 0
		c.mu.Unlock()
		cancel()
	}
}

// wordParser reads "pay 20.00 102 yoann" and "cancel 1A2B3C4D".
type wordParser struct{}

func (wordParser) Parse(m payments.Message) payments.Parsed {
	words := strings.Fields(m.Text)
	switch {
	case len(words) == 2 && words[0] == payments.CommandCancel:
		return payments.Parsed{Command: &payments.Command{Name: payments.CommandCancel, Hashtag: "cancel", Reference: words[1], Language: "fr"}}
	case len(words) == 4 && words[0] == payments.CommandPay:
		amount, err := ledger.ParseAmount(words[1], ledger.EUR)
		if err != nil {
			return payments.Parsed{Refusal: &payments.Refusal{Code: payments.RefusedNoAmount}}
		}
		return payments.Parsed{Command: &payments.Command{Name: payments.CommandPay, Hashtag: "envoyer", Amount: amount, Currency: ledger.EUR,
			PayeeID: words[2], PayeeHandle: words[3], Language: "fr"}}
	}
	return payments.Parsed{Ignored: payments.IgnoredNoMention}
}

// sink takes what the outbox sends, and keeps what people need to go on.
type sink struct {
	mu     sync.Mutex
	sent   int
	fails  int               // so many attempts from now on
	codes  map[string]string // newest one-time code, by telephone
	tokens []string          // of confirmation pages nobody has looked at yet
}

var (
	codePattern  = regexp.MustCompile(`code est ([0-9]{6})`)
	tokenPattern = regexp.MustCompile(regexp.QuoteMeta(pageURL) + `/([0-9A-Za-z_-]{43})`)
)

func (s *sink) fail() error {
	s.sent++
	if s.fails > 0 {
		s.fails--
		return fmt.Errorf("attempt %d is lost", s.sent)
	}
	return nil
}

func (s *sink) Reply(context.Context, payments.Outgoing) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("r%d", s.sent), s.fail()
}

func (s *sink) Notify(_ context.Context, n payments.Notice) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fail(); err != nil {
		return err
	}
	if match := codePattern.FindStringSubmatch(n.Text); match != nil {
		s.codes[n.Phone] = match[1]
	}
	if match := tokenPattern.FindStringSubmatch(n.Text); match != nil {
		s.tokens = append(s.tokens, match[1])
	}
	return nil
}

// rules are those of the service, with limits that a story reaches.
func rules() payments.Config {
	config := payments.DefaultConfig()
	config.Key = []byte("0123456789abcdef0123456789abcdef")
	config.PageURL = pageURL
	config.Secret = payments.SecretParams{MemoryKiB: 8, Iterations: 1, Parallelism: 1, Workers: 4}
	config.WalletCeiling = 900_00
	config.DayAnswers = payments.MaxDayAnswers // replies are tested elsewhere
	config.Screening.DayCount, config.Screening.DayAmount = 6, 600_00
	config.Screening.MonthCount, config.Screening.MonthAmount = 30, 2500_00
	config.Screening.DayOrders = 12
	config.Screening.ManyPayeesCount = 5
	for n := range payments.MaxDenied {
		config.Screening.DeniedIDs = append(config.Screening.DeniedIDs, deniedUser(n))
	}
	return config
}

// world is the processes of a service on one book, before a simulated acquirer.
type world struct {
	ctx     context.Context
	db      *sqldb.DB
	clock   *clock
	config  payments.Config
	sim     *cardsim.Server
	hook    http.Handler
	engine  *engine.Engine
	nodes   []*payments.Service
	sink    *sink
	serials int // of names that must be new in the book
	people  int // customers that were ever made in the book
}

// begins is when the clock starts. The first run begins a month later, which is two days
// before France's clocks go back.
func begins() time.Time { return time.Date(2026, 9, 23, 10, 0, 0, 0, time.UTC) }

func newWorld(t *testing.T, db *sqldb.DB) *world {
	t.Helper()
	w := &world{ctx: t.Context(), db: db, clock: &clock{now: begins()}, config: rules(), sink: &sink{codes: map[string]string{}}}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.sim.ServeHTTP(rw, r) }))
	// Go sends a request with an idempotency key again by itself where a connection
	// breaks that was used before: here what is lost is lost.
	server.Config.SetKeepAlivesEnabled(false)
	w.sim = cardsim.New(cardsim.Options{Clock: w.clock.Now, SecretKey: secretKey, Secret: webhookSecret, URL: func() string { return server.URL }})
	server.Start()
	t.Cleanup(server.Close)
	client, err := card.NewClient(card.Options{SecretKey: secretKey, BaseURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	for range nodes {
		e := engine.New(db, engine.Options{Clock: w.clock.Now})
		t.Cleanup(e.Close)
		s, err := payments.New(e, w.config, wordParser{}, payments.Options{Processor: client})
		if err != nil {
			t.Fatal(err)
		}
		w.engine, w.nodes = e, append(w.nodes, s)
	}
	if err := w.nodes[0].Setup(w.ctx); err != nil {
		t.Fatal(err)
	}
	w.hook, err = card.NewWebhook(card.WebhookOptions{Secret: webhookSecret, Heard: w.nodes[1].HeardOf, Refused: w.nodes[1].RecordRefusedNews, Clock: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// serial returns a number that is new in the book.
func (w *world) serial() int {
	w.serials++
	return w.serials
}

func (w *world) phone() string { return fmt.Sprintf("+3361%07d", w.serial()) }

// send delivers what the outbox has.
func (w *world) send(s *payments.Service) error {
	_, err := s.Deliver(w.ctx, map[string]payments.Replier{channel: w.sink, payments.DirectChannel(channel): w.sink}, w.sink, 1000)
	return err
}

// post brings a delivery of the acquirer to the webhook and returns the answer's status.
func (w *world) post(d cardsim.Delivery) int {
	r := httptest.NewRequestWithContext(w.ctx, http.MethodPost, "/webhooks/card", strings.NewReader(string(d.Body)))
	r.Header.Set("Stripe-Signature", w.sim.Sign(d, w.clock.Now()))
	answer := httptest.NewRecorder()
	w.hook.ServeHTTP(answer, r)
	return answer.Code
}

// newTokens returns the confirmation pages that payers were called to since.
func (w *world) newTokens() []string {
	w.sink.mu.Lock()
	defer w.sink.mu.Unlock()
	tokens := slices.Clone(w.sink.tokens)
	w.sink.tokens = nil
	return tokens
}

// refused writes an error as the model does.
func refused(err error) string {
	if code := ledger.CodeOf(err); code != "" {
		return "refused: " + string(code)
	}
	return "failed: " + err.Error()
}
