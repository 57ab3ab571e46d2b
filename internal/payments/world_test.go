package payments_test

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// wordParser reads messages such as "pay 20.00 102 yoann", "refuse two_amounts",
// "secret", "balance" and "cancel 1A2B3C4D"; anything else is none of the bank's
// business. A ! behind a command is a secret code beside it.
type wordParser struct{}

func (wordParser) Parse(m payments.Message) payments.Parsed {
	text, secret := strings.CutSuffix(m.Text, "!")
	words := strings.Fields(text)
	switch {
	case len(words) > 0 && slices.Contains([]string{payments.CommandBalance, payments.CommandCancel, payments.CommandHelp, payments.CommandLink}, words[0]):
		c := payments.Command{Name: words[0], Hashtag: words[0], Language: m.Language}
		if len(words) > 1 {
			c.Reference = words[1]
		}
		return payments.Parsed{Command: &c, SecretWarning: secret}
	case len(words) == 4 && words[0] == "pay":
		amount, err := ledger.ParseAmount(words[1], ledger.EUR)
		if err != nil {
			return payments.Parsed{Refusal: &payments.Refusal{Code: payments.RefusedNoAmount}}
		}
		return payments.Parsed{Command: &payments.Command{Name: payments.CommandPay, Hashtag: "envoyer", Amount: amount,
			Currency: ledger.EUR, PayeeID: words[2], PayeeHandle: words[3], Language: m.Language}}
	case len(words) == 2 && words[0] == "refuse":
		return payments.Parsed{Refusal: &payments.Refusal{Code: payments.RefusalCode(words[1])}, Language: m.Language}
	case m.Text == "secret":
		return payments.Parsed{Ignored: payments.IgnoredNoHashtag, SecretWarning: true}
	}
	return payments.Parsed{Ignored: payments.IgnoredNoMention}
}

// sink records what the outbox sends, and fails on order.
type sink struct {
	mu      sync.Mutex
	replies []payments.Outgoing
	notices []payments.Notice
	fail    error
	onReply func()
}

func (s *sink) Reply(_ context.Context, out payments.Outgoing) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return "", s.fail
	}
	out.Text = payments.FirstWords(out.Text)
	s.replies = append(s.replies, out)
	if s.onReply != nil {
		s.onReply()
	}
	return "r" + fmt.Sprint(len(s.replies)), nil
}

func (s *sink) Notify(_ context.Context, n payments.Notice) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.notices = append(s.notices, n)
	return nil
}

const (
	channel   = "twitter"
	marie     = "700000101" // payer, customer c-000001
	yoann     = "700000102" // person, customer c-000002
	acf       = "700000201" // charity
	bakery    = "700000301" // business
	stranger  = "700000999" // nobody we know
	rightCode = "135790"
	wrongCode = "246801"
)

var testKey = bytes.Repeat([]byte("0123456789abcdef"), 2)

// world is the service on one database, with two customers, a charity, a
// business and 1,000 EUR in marie's wallet.
type world struct {
	t     *testing.T
	ctx   context.Context
	db    *sqldb.DB
	clock *clock
	*payments.Service
	sink *sink
	next int
	last string // id of the last message taken
}

func testConfig() payments.Config {
	config := payments.DefaultConfig()
	config.Key = testKey
	config.PageURL = "https://pay.test/confirm"
	config.Secret = payments.SecretParams{MemoryKiB: 8, Iterations: 1, Parallelism: 1, Workers: 4}
	// The stories of these tests spend more, and faster, than customers do.
	config.Screening.Velocity, config.Screening.NewPayee = payments.VerdictAccept, payments.VerdictAccept
	return config
}

func newWorld(t *testing.T, db *sqldb.DB) *world {
	t.Helper()
	return newWorldWith(t, db, testConfig())
}

func newWorldWith(t *testing.T, db *sqldb.DB, config payments.Config) *world {
	t.Helper()
	w := &world{t: t, ctx: t.Context(), db: db, clock: &clock{now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}, sink: &sink{}}
	w.Service = w.node(config)
	must(t, w.Setup(w.ctx))
	for _, n := range []payments.NewCustomer{{Name: "Marie Test", Phone: "+33612345678", Named: true}, {Name: "Yoann Test", Phone: "+33712345678"}} {
		_, err := w.EnrolCustomer(w.ctx, n)
		must(t, err)
	}
	_, err := w.EnrolPayee(w.ctx, payments.NewPayee{Code: "acf", Kind: payments.Charity, Name: "Action contre la Faim",
		IBAN: "FR76 3000 6000 0112 3456 7890 189", CommissionPoints: 150, CommissionMinimum: 25, Rhythm: payments.Weekly}, "anne", "bruno")
	must(t, err)
	_, err = w.EnrolPayee(w.ctx, payments.NewPayee{Code: "bakery", Kind: payments.Business, Name: "Boulangerie"}, "anne", "bruno")
	must(t, err)
	must(t, w.LinkCustomer(w.ctx, channel, marie, "marie_test", "c-000001"))
	must(t, w.LinkCustomer(w.ctx, channel, yoann, "yoann_test", "c-000002"))
	must(t, w.LinkPayee(w.ctx, channel, acf, "ACF_France", "acf"))
	must(t, w.LinkPayee(w.ctx, channel, bakery, "bakery", "bakery"))
	must(t, w.SetSecretCode(w.ctx, "c-000001", rightCode, "test"))
	_, err = w.TopUp(w.ctx, "c-000001", 1000_00, "charge-1")
	must(t, err)
	return w
}

// node returns one more process of the service on the same book.
func (w *world) node(config payments.Config) *payments.Service {
	w.t.Helper()
	e := engine.New(w.db, engine.Options{Clock: w.clock.Now})
	w.t.Cleanup(e.Close)
	s, err := payments.New(e, config, wordParser{}, payments.Options{})
	must(w.t, err)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) wantCode(err error, code ledger.Code) {
	w.t.Helper()
	if ledger.CodeOf(err) != code {
		w.t.Fatalf("error is %v (%q), want code %q", err, ledger.CodeOf(err), code)
	}
}

// message makes a new message by author.
func (w *world) message(author, text string) payments.Message {
	w.next++
	w.clock.Add(time.Millisecond)
	id := fmt.Sprintf("5219391%08d", w.next)
	return payments.Message{Channel: channel, ID: id, FirstID: id, ConversationID: id, AuthorID: author, AuthorHandle: "a" + author,
		Kind: payments.Original, Text: text, Language: "fr", CreatedAt: w.clock.Now(), Via: "stream"}
}

// edited makes the next version of a message.
func edited(m payments.Message, version int, text string) payments.Message {
	m.ID, m.Version, m.Text = fmt.Sprintf("%s.%d", m.FirstID, version), version, text
	return m
}

// take receives and handles a message.
func (w *world) take(m payments.Message) payments.Handled {
	w.t.Helper()
	w.last = m.ID
	received, err := w.Receive(w.ctx, m)
	must(w.t, err)
	handled, err := w.Handle(w.ctx, received.ID)
	must(w.t, err)
	return handled
}

// say receives and handles a new message.
func (w *world) say(author, text string) payments.Handled {
	w.t.Helper()
	return w.take(w.message(author, text))
}

// ordered is say for a command that must wait for confirmation.
func (w *world) ordered(text string) payments.Order {
	w.t.Helper()
	handled := w.say(marie, text)
	if handled.Order == nil || handled.Order.State != payments.StateAwaitingConfirmation {
		w.t.Fatalf("%q became %+v", text, handled)
	}
	return *handled.Order
}

func (w *world) deliver() payments.Delivered {
	w.t.Helper()
	done, err := w.Deliver(w.ctx, map[string]payments.Replier{channel: w.sink, payments.DirectChannel(channel): w.sink}, w.sink, 1000)
	must(w.t, err)
	return done
}

// lastReply delivers the outbox and returns the newest reply to the last message taken.
func (w *world) lastReply() string {
	w.t.Helper()
	w.deliver()
	text := ""
	for _, r := range w.sink.replies {
		if r.InReplyTo == w.last {
			text = r.Text
		}
	}
	if text == "" {
		w.t.Fatalf("nothing was replied to %s", w.last)
	}
	return text
}

var tokenPattern = regexp.MustCompile(`https://pay\.test/confirm/([0-9A-Za-z_-]{43})$`)

// token delivers the outbox and returns the token of the last notice.
func (w *world) token() string {
	w.t.Helper()
	w.deliver()
	if len(w.sink.notices) == 0 {
		w.t.Fatal("nobody was called to the page")
	}
	match := tokenPattern.FindStringSubmatch(w.sink.notices[len(w.sink.notices)-1].Text)
	if match == nil {
		w.t.Fatalf("no address in %q", w.sink.notices[len(w.sink.notices)-1].Text)
	}
	return match[1]
}

func (w *world) confirm(order uuid.UUID, code string) (payments.Order, error) {
	return w.Confirm(w.ctx, payments.ConfirmRequest{OrderID: order, Code: code, Actor: "test"})
}

// state returns an order's state and reason.
func (w *world) state(order uuid.UUID) (payments.State, string) {
	w.t.Helper()
	o, err := w.Order(w.ctx, order)
	must(w.t, err)
	return o.State, o.Reason
}

func (w *world) wantState(order uuid.UUID, state payments.State, reason string) {
	w.t.Helper()
	if got, why := w.state(order); got != state || why != reason {
		w.t.Fatalf("order is %s (%s), want %s (%s)", got, why, state, reason)
	}
}

func (w *world) read(fn func(ctx context.Context, tx *sqldb.Tx) error) {
	w.t.Helper()
	must(w.t, w.db.Read(w.ctx, fn))
}

func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	must(w.t, w.db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, query, args...)
		return err
	}))
}

// balance returns posted and available of an account.
func (w *world) balance(code string) (posted, available ledger.Amount) {
	w.t.Helper()
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		b, err := engine.FindBalance(ctx, tx, ledger.SystemAccountID(code))
		posted, available = b.Posted(), b.Available()
		return err
	})
	return posted, available
}

func (w *world) wantBalance(code string, posted, available ledger.Amount) {
	w.t.Helper()
	if p, a := w.balance(code); p != posted || a != available {
		w.t.Fatalf("%s has %d posted and %d available, want %d and %d", code, p, a, posted, available)
	}
}

// counts says how much there is of everything, to see that nothing changed.
func (w *world) counts() string {
	w.t.Helper()
	var out []string
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		out = nil
		for _, table := range []string{"messages", "orders", "order_events", "outbox", "holds", "transactions", "postings", "party_events"} {
			var n int
			if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM "+table, nil, &n); err != nil {
				return err
			}
			out = append(out, fmt.Sprintf("%s %d", table, n))
		}
		return nil
	})
	return strings.Join(out, ", ")
}

// verify proves the book, and that held money belongs to open orders, to the cent.
func (w *world) verify() {
	w.t.Helper()
	report, err := w.Engine().Verify(w.ctx, nil)
	must(w.t, err)
	if !report.OK() {
		w.t.Fatalf("the book does not verify: %v", report.Differences)
	}
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		var stray int
		err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM holds AS h WHERE h.status = 'pending' AND NOT EXISTS (
			SELECT 1 FROM orders AS o WHERE o.hold_id = h.id AND o.state = 'awaiting_confirmation' AND o.amount = h.amount)`, nil, &stray)
		if err != nil || stray != 0 {
			return fmt.Errorf("%d holds belong to no open order (%w)", stray, err)
		}
		err = tx.QueryRow(ctx, `SELECT COUNT(*) FROM orders AS o JOIN holds AS h ON h.id = o.hold_id
			WHERE o.state = 'awaiting_confirmation' AND h.status <> 'pending'`, nil, &stray)
		if err != nil || stray != 0 {
			return fmt.Errorf("%d open orders hold nothing (%w)", stray, err)
		}
		return nil
	})
}

// sqliteDB is for tests of what does not depend on the engine.
func sqliteDB(t *testing.T) *sqldb.DB { return sqltest.SQLite(t) }

// onEach runs a test on every engine, in a world of its own that must verify at the end.
func onEach(t *testing.T, fn func(t *testing.T, w *world)) { sqltest.Each(t, inWorld(fn)) }

// onCore is onEach for the core of the tests.
func onCore(t *testing.T, fn func(t *testing.T, w *world)) { sqltest.Core(t, inWorld(fn)) }

func inWorld(fn func(t *testing.T, w *world)) func(*testing.T, *sqldb.DB) {
	return func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		fn(t, w)
		w.verify()
	}
}
