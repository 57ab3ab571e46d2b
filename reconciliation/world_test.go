package reconciliation_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/reconciliation"
)

const (
	channel  = "twitter"
	bank     = "700000001" // the bank's own account
	marie    = "700000101" // payer, customer c-000001
	yoann    = "700000102" // person, customer c-000002
	acf      = "700000201" // charity, paid weekly
	msf      = "700000202" // charity, paid daily
	code     = "135790"
	bankIBAN = "FR1420041010050500013M02606"
	acfIBAN  = "FR7630006000011234567890189"
	msfIBAN  = "DE89370400440532013000"
)

// wordParser reads messages such as "pay 20.00 102 yoann" and "refuse
// two_amounts"; anything else is none of the bank's business.
type wordParser struct{}

func (wordParser) Parse(m payments.Message) payments.Parsed {
	words := strings.Fields(m.Text)
	switch {
	case m.AuthorID == bank:
		return payments.Parsed{Ignored: payments.IgnoredOwn}
	case len(words) == 4 && words[0] == "pay":
		amount, err := ledger.ParseAmount(words[1], ledger.EUR)
		if err != nil {
			return payments.Parsed{Refusal: &payments.Refusal{Code: payments.RefusedNoAmount}}
		}
		return payments.Parsed{Command: &payments.Command{Name: payments.CommandPay, Hashtag: "envoyer", Amount: amount,
			Currency: ledger.EUR, PayeeID: words[2], PayeeHandle: words[3], Language: "fr"}}
	case len(words) == 2 && words[0] == "refuse":
		return payments.Parsed{Refusal: &payments.Refusal{Code: payments.RefusalCode(words[1])}, Language: "fr"}
	}
	return payments.Parsed{Ignored: payments.IgnoredNoMention}
}

// memory is a history that tests write.
type memory struct {
	tweets []payments.Message
	hidden map[string]reconciliation.FoundStatus // by id
	asked  int
}

func (h *memory) Messages(context.Context, time.Time, time.Time) iter.Seq2[payments.Message, error] {
	return func(yield func(payments.Message, error) bool) {
		for _, m := range h.tweets {
			if h.hidden[m.ID] == "" && !yield(m, nil) {
				return
			}
		}
	}
}

func (h *memory) Lookup(_ context.Context, ids []string) (map[string]reconciliation.Found, error) {
	if len(ids) > reconciliation.MaxLookup {
		return nil, fmt.Errorf("asked for %d ids at once", len(ids))
	}
	h.asked += len(ids)
	found := map[string]reconciliation.Found{}
	for _, m := range h.tweets {
		if !slices.Contains(ids, m.ID) {
			continue
		}
		if status := h.hidden[m.ID]; status != "" {
			found[m.ID] = reconciliation.Found{Status: status}
			continue
		}
		found[m.ID] = reconciliation.Found{Status: reconciliation.There, Message: m, Newest: h.newest(m.FirstID)}
	}
	return found, nil
}

func (h *memory) newest(firstID string) (version int) {
	for _, m := range h.tweets {
		if m.FirstID == firstID {
			version = max(version, m.Version)
		}
	}
	return version
}

// mailbox takes what the outbox sends.
type mailbox struct {
	replies []payments.Outgoing
	refuse  *payments.SendError // nil: it takes all
}

func (b *mailbox) Reply(_ context.Context, out payments.Outgoing) (string, error) {
	if b.refuse != nil {
		return "", b.refuse
	}
	b.replies = append(b.replies, out)
	return fmt.Sprintf("9%07d", len(b.replies)), nil
}

func (b *mailbox) Notify(context.Context, payments.Notice) error { return nil }

// world is a book with the services on it, and what happens outside of it.
type world struct {
	t        testing.TB
	ctx      context.Context
	db       *sqldb.DB
	engine   *engine.Engine
	payments *payments.Service
	payouts  *payouts.Service
	history  *memory
	mail     *mailbox
	tweeted  int
	sequence int64
	closing  ledger.Amount

	mu  sync.Mutex
	now time.Time
}

func newWorld(t testing.TB, db *sqldb.DB) *world {
	t.Helper()
	w := &world{t: t, ctx: t.Context(), db: db, history: &memory{hidden: map[string]reconciliation.FoundStatus{}}, mail: &mailbox{},
		now: time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)} // a Monday
	w.engine = engine.New(db, engine.Options{Clock: w.clock})
	t.Cleanup(w.engine.Close)
	config := payments.DefaultConfig()
	config.Key, config.PageURL = bytes.Repeat([]byte("k"), payments.MinKey), "https://pay.test/confirm"
	config.Secret = payments.SecretParams{MemoryKiB: 8, Iterations: 1, Parallelism: 1, Workers: 1}
	var err error
	w.payments, err = payments.New(w.engine, config, wordParser{}, payments.Options{})
	w.must(err)
	w.must(w.payments.Setup(w.ctx))
	w.payouts, err = payouts.New(w.engine, payouts.Config{Account: payouts.Party{Name: "S-money", IBAN: bankIBAN}, Currency: ledger.EUR}, payouts.Options{})
	w.must(err)
	for _, n := range []payments.NewCustomer{{Name: "Marie Test", Phone: "+33612345678"}, {Name: "Yoann Test", Phone: "+33712345678"}} {
		_, err := w.payments.EnrolCustomer(w.ctx, n)
		w.must(err)
	}
	for _, n := range []payments.NewPayee{
		{Code: "acf", Kind: payments.Charity, Name: "Action contre la Faim", IBAN: acfIBAN, CommissionPoints: 150, CommissionMinimum: 25, Rhythm: payments.Weekly},
		{Code: "msf", Kind: payments.Charity, Name: "Medecins Sans Frontieres", IBAN: msfIBAN, Rhythm: payments.Daily},
	} {
		_, err := w.payments.EnrolPayee(w.ctx, n, "anne", "bruno")
		w.must(err)
	}
	w.must(w.payments.LinkCustomer(w.ctx, channel, marie, "marie_test", "c-000001"))
	w.must(w.payments.LinkCustomer(w.ctx, channel, yoann, "yoann_test", "c-000002"))
	w.must(w.payments.LinkPayee(w.ctx, channel, acf, "ACF_France", "acf"))
	w.must(w.payments.LinkPayee(w.ctx, channel, msf, "MSF_france", "msf"))
	w.must(w.payments.SetSecretCode(w.ctx, "c-000001", code, "test"))
	_, err = w.payments.TopUp(w.ctx, "c-000001", 2000_00, "charge-1")
	w.must(err)
	// The acquirer has paid: the safeguarding account has the money.
	w.post("settled", ledger.Source{}, payments.AccountSafeguarding, payments.AccountCardsToSettle, 2000_00)
	w.closing = 2000_00
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

const day = 24 * time.Hour

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	w.must(w.db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, query, args...)
		if err == nil && n == 0 {
			return fmt.Errorf("no row changed by %s", query)
		}
		return err
	}))
}

// post makes a transaction by hand; accounts are given by code.
func (w *world) post(key string, source ledger.Source, debit, credit string, amount ledger.Amount) ledger.Transaction {
	w.t.Helper()
	txn, err := w.engine.Post(w.ctx, ledger.PostRequest{Key: key, Journal: ledger.JournalMisc, Label: "By hand", Source: source,
		Postings: []ledger.Posting{{Debit: ledger.SystemAccountID(debit), Credit: ledger.SystemAccountID(credit), Amount: amount, Currency: ledger.EUR}}})
	w.must(err)
	return txn
}

// tweet writes a tweet to the history.
func (w *world) tweet(author, text string) payments.Message {
	w.tweeted++
	w.pass(time.Second)
	id := fmt.Sprintf("5219391%05d", w.tweeted)
	m := payments.Message{Channel: channel, ID: id, FirstID: id, ConversationID: id, AuthorID: author, AuthorHandle: "a" + author,
		Kind: payments.Original, Text: text, Language: "fr", CreatedAt: w.clock(), Via: "stream"}
	w.history.tweets = append(w.history.tweets, m)
	return m
}

// edit writes the next version of a tweet to the history.
func (w *world) edit(m payments.Message, text string) payments.Message {
	w.pass(time.Second)
	m.Version++
	m.ID, m.Text, m.CreatedAt = fmt.Sprintf("%s%d", m.FirstID, m.Version), text, w.clock()
	w.history.tweets = append(w.history.tweets, m)
	return m
}

// rewrite changes a tweet in the history as no honest channel would.
func (w *world) rewrite(m payments.Message, text string) {
	for i := range w.history.tweets {
		if w.history.tweets[i].ID == m.ID {
			w.history.tweets[i].Text = text
		}
	}
}

// take receives and handles a tweet.
func (w *world) take(m payments.Message) payments.Handled {
	w.t.Helper()
	received, err := w.payments.Receive(w.ctx, m)
	w.must(err)
	handled, err := w.payments.Handle(w.ctx, received.ID)
	w.must(err)
	return handled
}

func (w *world) confirm(h payments.Handled) payments.Order {
	w.t.Helper()
	if h.Order == nil {
		w.t.Fatalf("there is no order to confirm: %+v", h)
	}
	o, err := w.payments.Confirm(w.ctx, payments.ConfirmRequest{OrderID: h.Order.ID, Code: code, Actor: "test"})
	w.must(err)
	return o
}

// pay tweets, receives, confirms and posts, and sends the receipt.
func (w *world) pay(text string) (payments.Message, payments.Order) {
	w.t.Helper()
	m := w.tweet(marie, text)
	o := w.confirm(w.take(m))
	w.deliver()
	return m, o
}

func (w *world) deliver() {
	w.t.Helper()
	_, err := w.payments.Deliver(w.ctx, map[string]payments.Replier{channel: w.mail}, w.mail, 1000)
	w.must(err)
}

var (
	from = ledger.Date{Year: 2026, Month: time.November, Day: 1}
	to   = ledger.Date{Year: 2026, Month: time.November, Day: 30}
)

func (w *world) reconcileTweets() reconciliation.Result {
	w.t.Helper()
	r, err := reconciliation.Tweets(w.ctx, w.payments, wordParser{}, w.history, reconciliation.TweetsParams{From: from, To: to})
	w.must(err)
	return r
}

func (w *world) reconcilePayouts() reconciliation.Result {
	w.t.Helper()
	r, err := reconciliation.Payouts(w.ctx, w.engine, w.payouts, reconciliation.PayoutsParams{From: from, To: to})
	w.must(err)
	return r
}

// want is a break that must be found.
type want struct {
	class     reconciliation.Class
	reference string
	amount    ledger.Amount
}

// wantBreaks checks that the result has exactly these breaks, each in one line
// with a key of its own.
func wantBreaks(t testing.TB, r reconciliation.Result, wanted ...want) {
	t.Helper()
	var got, expected []string
	keys := map[string]bool{}
	for _, b := range r.Breaks {
		got = append(got, fmt.Sprint(want{b.Class, b.Reference, b.Amount}))
		if keys[b.Key] || b.Key == "" || b.Message == "" || strings.Contains(b.Message, "\n") || b.Date.IsZero() || b.Currency != ledger.EUR {
			t.Errorf("a break that staff cannot work: %+v", b)
		}
		keys[b.Key] = true
	}
	for _, e := range wanted {
		expected = append(expected, fmt.Sprint(e))
	}
	slices.Sort(got)
	slices.Sort(expected)
	if !slices.Equal(got, expected) {
		t.Errorf("breaks are\n  %s\nwant\n  %s\nin\n%s", strings.Join(got, "\n  "), strings.Join(expected, "\n  "), indent(r))
	}
}

func indent(r reconciliation.Result) string {
	text, _ := json.MarshalIndent(r, "", "  ")
	return string(text)
}

func matches(r reconciliation.Result) string {
	var parts []string
	for _, m := range r.Matches {
		parts = append(parts, fmt.Sprintf("%s %d", m.Matcher, m.Count))
	}
	return strings.Join(parts, ", ")
}
