package card_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/adapters/card"
	"tweetledger/adapters/card/cardsim"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// clock is moved by tests. A process that looks at it may be made to die there.
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

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// dieAfter lets whatever runs under the returned context die when it has looked at the
// clock so often; live ends that.
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

const (
	secretKey     = "sk_test_sim"
	webhookSecret = "whsec_test"
	code          = "135790"
	pageURL       = "https://pay.test/confirm"
	marie, yoann  = "700000101", "700000102"
)

// payParser reads "pay 20.00 102".
type payParser struct{}

func (payParser) Parse(m payments.Message) payments.Parsed {
	words := strings.Fields(m.Text)
	if len(words) != 3 || words[0] != "pay" {
		return payments.Parsed{Ignored: payments.IgnoredNoHashtag}
	}
	amount, err := ledger.ParseAmount(words[1], ledger.EUR)
	if err != nil {
		return payments.Parsed{Refusal: &payments.Refusal{Code: payments.RefusedNoAmount}}
	}
	return payments.Parsed{Command: &payments.Command{Name: payments.CommandPay, Hashtag: "envoyer", Amount: amount, Currency: ledger.EUR,
		PayeeID: words[2], PayeeHandle: "p" + words[2], Language: "fr"}}
}

// world is two processes of the payment service on one book, before a simulated
// acquirer, with the customers c-000001 (marie) and c-000002 (yoann) and no money.
type world struct {
	t      failer
	ctx    context.Context
	db     *sqldb.DB
	clock  *clock
	sim    *cardsim.Server
	hook   http.Handler
	engine *engine.Engine
	*payments.Service
	other *payments.Service
	url   string // of the acquirer
	next  int
}

// failer is a test, of Go or of rapid.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// acquirers serves simulated acquirers at one address, one after the other.
type acquirers struct {
	mu  sync.Mutex
	sim *cardsim.Server
	url string
}

func (a *acquirers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	sim := a.sim
	a.mu.Unlock()
	sim.ServeHTTP(w, r)
}

func newAcquirers(t testing.TB) *acquirers {
	a := &acquirers{}
	server := httptest.NewUnstartedServer(a)
	// Go sends a request with an idempotency key again by itself where a connection
	// breaks that was used before: here what is lost is lost.
	server.Config.SetKeepAlivesEnabled(false)
	server.Start()
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

func testConfig() payments.Config {
	config := payments.DefaultConfig()
	config.Key = []byte("0123456789abcdef0123456789abcdef")
	config.PageURL = pageURL
	config.Secret = payments.SecretParams{MemoryKiB: 8, Iterations: 1, Parallelism: 1, Workers: 4}
	config.Screening.Velocity, config.Screening.NewPayee = payments.VerdictAccept, payments.VerdictAccept
	config.Cards.DayCount, config.Cards.DayAmount = 10_000, 10_000_000_00
	return config
}

func newWorld(t testing.TB, ctx context.Context, db *sqldb.DB, a *acquirers, config payments.Config) *world {
	w := &world{t: t, ctx: ctx, db: db, url: a.url, clock: &clock{now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}}
	w.sim = cardsim.New(cardsim.Options{Clock: w.clock.Now, SecretKey: secretKey, Secret: webhookSecret, URL: func() string { return a.url }})
	a.mu.Lock()
	a.sim = w.sim
	a.mu.Unlock()
	client, err := card.NewClient(card.Options{SecretKey: secretKey, BaseURL: a.url})
	w.must(err)
	node := func() (*engine.Engine, *payments.Service) {
		e := engine.New(db, engine.Options{Clock: w.clock.Now})
		t.Cleanup(e.Close)
		s, err := payments.New(e, config, payParser{}, payments.Options{Processor: client})
		w.must(err)
		return e, s
	}
	w.engine, w.Service = node()
	_, w.other = node()
	w.hook, err = card.NewWebhook(card.WebhookOptions{Secret: webhookSecret, Heard: w.HeardOf, Refused: w.RecordRefusedNews, Clock: w.clock.Now})
	w.must(err)
	return w
}

// people enrols the customers of a new book.
func (w *world) people() {
	w.must(w.Setup(w.ctx))
	w.person(marie)
	w.person(yoann)
}

// person enrols a customer with a Twitter id and returns the customer's number.
func (w *world) person(id string) string {
	w.t.Helper()
	c, err := w.EnrolCustomer(w.ctx, payments.NewCustomer{Name: "Test " + id, Phone: "+336" + id[1:]})
	w.must(err)
	w.must(w.LinkCustomer(w.ctx, "twitter", id, "p"+id, c.Number))
	w.must(w.SetSecretCode(w.ctx, c.Number, code, "test"))
	return c.Number
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) wantCode(err error, code ledger.Code) {
	w.t.Helper()
	if ledger.CodeOf(err) != code {
		w.t.Fatalf("error is %v (%q), want code %q", err, ledger.CodeOf(err), code)
	}
}

// add registers a card with a token of the simulator.
func (w *world) add(customer, token string) payments.Card {
	w.t.Helper()
	c, err := w.AddCard(w.ctx, customer, token, "test")
	w.must(err)
	return c
}

// charge tops a wallet up from a card.
func (w *world) charge(customer string, on payments.Card, amount ledger.Amount) payments.Charge {
	w.t.Helper()
	w.next++
	c, err := w.ChargeCard(w.ctx, payments.ChargeRequest{Key: fmt.Sprintf("t-%d", w.next), CustomerNumber: customer, CardID: on.ID, Amount: amount, Present: true, Actor: "test"})
	w.must(err)
	return c
}

// now returns how a charge stands.
func (w *world) now(id uuid.UUID) payments.Charge {
	w.t.Helper()
	c, err := w.Charge(w.ctx, id)
	w.must(err)
	return c
}

func (w *world) wantState(id uuid.UUID, state payments.ChargeState, reason string) payments.Charge {
	w.t.Helper()
	c := w.now(id)
	if c.State != state || c.Reason != reason {
		w.t.Fatalf("charge %s is %s (%s), want %s (%s)", c.Key, c.State, c.Reason, state, reason)
	}
	return c
}

func (w *world) sweep() {
	w.t.Helper()
	_, err := w.SweepCharges(w.ctx, 1000)
	w.must(err)
}

// deliver brings a delivery to the webhook and returns the answer's status.
func (w *world) deliver(d cardsim.Delivery) int {
	w.t.Helper()
	return w.post(string(d.Body), w.sim.Sign(d, w.clock.Now()))
}

func (w *world) post(body, signature string) int {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.ctx, http.MethodPost, "/webhooks/card", strings.NewReader(body))
	r.Header.Set("Stripe-Signature", signature)
	answer := httptest.NewRecorder()
	w.hook.ServeHTTP(answer, r)
	return answer.Code
}

// news delivers everything that lies ready, and lets the service look.
func (w *world) news() {
	w.t.Helper()
	for _, d := range w.sim.Take() {
		if status := w.deliver(d); status != http.StatusOK {
			w.t.Fatalf("%s was answered %d", d.Type, status)
		}
	}
	w.sweep()
}

// balance returns what is posted on an account.
func (w *world) balance(code string) ledger.Amount {
	w.t.Helper()
	var b ledger.Balance
	w.must(w.db.Read(w.ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		b, err = engine.FindBalance(ctx, tx, ledger.SystemAccountID(code))
		return err
	}))
	return b.Posted()
}

func (w *world) wantBalances(want map[string]ledger.Amount) {
	w.t.Helper()
	for account, amount := range want {
		if got := w.balance(account); got != amount {
			w.t.Fatalf("%s has %d, want %d", account, got, amount)
		}
	}
}

const (
	walletMarie = "wallet:c-000001"
	walletYoann = "wallet:c-000002"
)

// verify proves the book.
func (w *world) verify() {
	w.t.Helper()
	report, err := w.engine.Verify(w.ctx, nil)
	w.must(err)
	if !report.OK() {
		w.t.Fatalf("the book does not verify: %v", report.Differences)
	}
}

// onEach runs a test on every engine, in a world of its own that must verify at the end.
func onEach(t *testing.T, fn func(t *testing.T, w *world)) { sqltest.Each(t, inWorld(fn)) }

// onCore is onEach for what tells soonest that nothing works.
func onCore(t *testing.T, fn func(t *testing.T, w *world)) { sqltest.Core(t, inWorld(fn)) }

func inWorld(fn func(t *testing.T, w *world)) func(*testing.T, *sqldb.DB) {
	return func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, t.Context(), db, newAcquirers(t), testConfig())
		w.people()
		fn(t, w)
		w.verify()
	}
}

// sqliteWorld is for tests of what does not depend on the engine.
func sqliteWorld(t *testing.T) *world {
	t.Helper()
	return sqliteWorldWith(t, testConfig())
}

func sqliteWorldWith(t *testing.T, config payments.Config) *world {
	t.Helper()
	w := newWorld(t, t.Context(), sqltest.SQLite(t), newAcquirers(t), config)
	w.people()
	return w
}

// order lets marie tweet a payment.
func (w *world) order(payee, amount string) payments.Order {
	w.t.Helper()
	return w.orderBy(marie, payee, amount)
}

func (w *world) orderBy(payer, payee, amount string) payments.Order {
	w.t.Helper()
	w.next++
	id := fmt.Sprintf("5219391%08d", w.next)
	received, err := w.Receive(w.ctx, payments.Message{Channel: "twitter", ID: id, FirstID: id, ConversationID: id, AuthorID: payer, AuthorHandle: "p" + payer,
		Kind: payments.Original, Text: "pay " + amount + " " + payee, Language: "fr", CreatedAt: w.clock.Now(), Via: "stream"})
	w.must(err)
	handled, err := w.Handle(w.ctx, received.ID)
	w.must(err)
	if handled.Order == nil {
		w.t.Fatalf("the payment became %+v", handled)
	}
	return *handled.Order
}

// confirm enters marie's code.
func (w *world) confirm(id uuid.UUID) (payments.Order, error) {
	return w.Confirm(w.ctx, payments.ConfirmRequest{OrderID: id, Code: code, Actor: "page"})
}

// pay is a payment from marie's wallet.
func (w *world) pay(payee, amount string) {
	w.t.Helper()
	o, err := w.confirm(w.order(payee, amount).ID)
	w.must(err)
	if o.State != payments.StatePosted {
		w.t.Fatalf("the payment is %s (%s)", o.State, o.Reason)
	}
}
