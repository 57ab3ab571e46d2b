package reconciliation_test

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/reconciliation"
)

// TestScale reconciles many tweets with as many orders, of which one in a thousand has
// each kind of break: all must be found, and none invented, in memory that does not
// grow with them.
//
// go test has scaleTweets; TWEETLEDGER_RECONCILE=1000000 as many as it says (give
// -timeout), and with -v seconds and memory are printed.
func TestScale(t *testing.T) {
	n := scaleTweets
	if text := os.Getenv("TWEETLEDGER_RECONCILE"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < scaleStep {
			t.Fatalf("TWEETLEDGER_RECONCILE is %q; write a number of tweets, %d or more", text, scaleStep)
		}
	}
	s := newScale(t, n)
	s.fill()
	if n == scaleTweets {
		s.spill.SortMemory = 256 << 10 // so that these few are sorted on disk, too
	}
	s.judge(s.reconcile())
}

const (
	scaleTweets = 2_000
	// scaleStep is in how many tweets each kind of break is planted once.
	scaleStep = 1_000
	// scaleBatch is how many are posted and stored at once: together they are less than
	// what the payer has.
	scaleBatch  = 1_000
	scaleAmount = ledger.Amount(1_00)
	// scaleMemory is what a run may hold beyond what the process held before, in bytes.
	scaleMemory = 400 << 20
)

// The kinds of breaks, by the number of the tweet modulo scaleStep.
const (
	neverArrived = iota + 1
	otherAmount
	otherPayee
	postedTwice
	receiptWaits
	receiptGivenUp
	asksNothing
	editedLater
	toldTwice
	postedForNothing
	deleted // a note, no break
)

type scale struct {
	*world
	size   int
	spill  reconciliation.Spill
	first  time.Time
	rows   map[string]map[string]any // the one payment that was made, by table
	text   string                    // of its receipt
	peak   uint64
	before uint64
}

func newScale(t *testing.T, n int) *scale {
	s := &scale{world: newWorld(t, sqltest.SQLite(t)), size: n, spill: reconciliation.Spill{Dir: t.TempDir()}, rows: map[string]map[string]any{}}
	s.first = s.clock()
	m, _ := s.pay("pay 1.00 " + yoann + " y") // the pattern of all others
	s.text = s.receipt(m)
	for table, where := range map[string]string{"messages": "first_id = '" + m.FirstID + "'", "orders": "first_id = '" + m.FirstID + "'",
		"outbox": "template = 'posted' AND kind = 'reply'"} {
		s.rows[table] = s.row("SELECT * FROM " + table + " WHERE " + where)
	}
	return s
}

// row reads one row of any table, by column.
func (s *scale) row(query string) map[string]any {
	s.t.Helper()
	rows, err := s.db.Pool().QueryContext(s.ctx, query)
	s.must(err)
	defer rows.Close()
	columns, err := rows.Columns()
	s.must(err)
	if !rows.Next() {
		s.t.Fatalf("no row: %s (%v)", query, rows.Err())
	}
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	s.must(rows.Scan(into...))
	row := map[string]any{}
	for i, column := range columns {
		if at, ok := values[i].(time.Time); ok {
			values[i] = at.Format("2006-01-02T15:04:05.000000Z")
		}
		row[column] = values[i]
	}
	return row
}

func (s *scale) id(i int) string { return fmt.Sprintf("6%09d", i) }

func (s *scale) at(i int) time.Time {
	const days = 20
	return s.first.Add(time.Duration(i%days)*day + time.Duration(i)*time.Millisecond)
}

func (s *scale) key(i int) string { return payments.OrderKey(channel, s.id(i)) }

// fill makes the book: what was posted goes through the ledger, what lies beside it is
// written as the service would have left it.
func (s *scale) fill() {
	s.t.Helper()
	for from := 0; from < s.size; from += scaleBatch {
		to := min(from+scaleBatch, s.size)
		s.postings(from, to)
		tx, err := s.db.Pool().BeginTx(s.ctx, nil)
		s.must(err)
		insert := map[string]func(change map[string]any){}
		for table, pattern := range s.rows {
			insert[table] = s.inserter(tx, table, pattern)
		}
		for i := from; i < to; i++ {
			s.order(i, insert)
		}
		s.must(tx.Commit())
	}
	s.pass(28 * day)
}

func (s *scale) postings(from, to int) {
	s.t.Helper()
	var requests []ledger.Request
	total := ledger.Amount(0)
	post := func(key, source string, i int) {
		requests = append(requests, ledger.PostRequest{Key: key, Journal: ledger.JournalTransfers, Label: "Payment by tweet", EffectiveDate: ledger.DateIn(s.at(i), s.engine.Location()),
			Source:   ledger.Source{Channel: channel, ID: source},
			Postings: []ledger.Posting{{Debit: ledger.SystemAccountID("wallet:c-000001"), Credit: ledger.SystemAccountID("wallet:c-000002"), Amount: scaleAmount, Currency: ledger.EUR}}})
		total += scaleAmount
	}
	for i := from; i < to; i++ {
		switch i % scaleStep {
		case neverArrived:
			continue
		case postedTwice:
			post(s.key(i)+":again", s.id(i), i)
		case postedForNothing:
			post("stray:"+s.id(i), s.id(i)+"9", i)
		}
		post(s.key(i), s.id(i), i)
	}
	requests = append(requests, ledger.PostRequest{Key: fmt.Sprint("back:", from), Journal: ledger.JournalMisc, Label: "Back again", EffectiveDate: ledger.DateIn(s.first, s.engine.Location()),
		Postings: []ledger.Posting{{Debit: ledger.SystemAccountID("wallet:c-000002"), Credit: ledger.SystemAccountID("wallet:c-000001"), Amount: total, Currency: ledger.EUR}}})
	outcomes, err := s.engine.Submit(s.ctx, requests)
	s.must(err)
	for _, o := range outcomes {
		s.must(o.Err)
	}
}

// inserter writes rows of a table that are the pattern but for some columns.
func (s *scale) inserter(tx *sql.Tx, table string, pattern map[string]any) func(change map[string]any) {
	s.t.Helper()
	columns := slices.Sorted(maps.Keys(pattern))
	stmt, err := tx.PrepareContext(s.ctx, fmt.Sprintf("INSERT INTO %s (%s) VALUES (?%s)", table, strings.Join(columns, ", "), strings.Repeat(", ?", len(columns)-1))) //nolint:sqlclosecheck // the transaction closes it
	s.must(err)
	return func(change map[string]any) {
		s.t.Helper()
		values := make([]any, len(columns))
		for i, column := range columns {
			values[i] = pattern[column]
			if v, ok := change[column]; ok {
				values[i] = v
			}
		}
		_, err := stmt.ExecContext(s.ctx, values...)
		s.must(err)
	}
}

// order writes the message, the order and the receipt of a tweet.
func (s *scale) order(i int, insert map[string]func(map[string]any)) {
	kind := i % scaleStep
	if kind == neverArrived {
		return
	}
	messageID, orderID := payments.MessageID(channel, s.id(i), 0), uuid.NewSHA1(uuid.NameSpaceOID, []byte(s.id(i)))
	outboxID, transactionID := uuid.NewSHA1(uuid.NameSpaceURL, []byte(s.id(i))), ledger.IDOfKey(s.key(i))
	at := s.at(i).UTC().Format("2006-01-02T15:04:05.000000Z")
	insert["messages"](map[string]any{"id": messageID[:], "first_id": s.id(i), "message_id": s.id(i), "conversation_id": s.id(i), "order_id": orderID[:], "created_at": at,
		"received_at": at, "handled_at": at})
	insert["orders"](map[string]any{"id": orderID[:], "order_key": s.key(i), "message_id": messageID[:], "first_id": s.id(i), "transaction_id": transactionID[:],
		"effective_date": ledger.DateIn(s.at(i), s.engine.Location()).String(), "message_at": at, "created_at": at, "closed_at": at, "token_hash": nil})
	receipt := map[string]any{"id": outboxID[:], "queue": s.id(i), "in_reply_to": s.id(i), "conversation_id": s.id(i), "order_id": orderID[:], "created_at": at,
		"next_attempt_at": at, "closed_at": at, "text": s.receiptOf(i), "external_id": s.id(i) + "1"}
	switch kind {
	case receiptWaits:
		receipt["status"], receipt["closed_at"] = "pending", nil
	case receiptGivenUp:
		receipt["status"] = "dead"
	}
	insert["outbox"](receipt)
}

func (s *scale) receiptOf(i int) string { return s.text + " " + s.id(i) }

// Messages implements reconciliation.History: all tweets, in no order.
func (s *scale) Messages(context.Context, time.Time, time.Time) iter.Seq2[payments.Message, error] {
	return func(yield func(payments.Message, error) bool) {
		for _, m := range s.history.tweets {
			if !yield(m, nil) {
				return
			}
		}
		const stride = 7_919 // a prime, so that all have their turn
		for j := range s.size {
			i := j * stride % s.size
			for _, m := range s.tweetsOf(i) {
				if !yield(m, nil) {
					return
				}
			}
		}
	}
}

// tweetsOf returns what X has of a conversation: the command and the bank's receipt.
func (s *scale) tweetsOf(i int) []payments.Message {
	kind := i % scaleStep
	m := payments.Message{Channel: channel, ID: s.id(i), FirstID: s.id(i), ConversationID: s.id(i), AuthorID: marie, AuthorHandle: "marie_test", Kind: payments.Original,
		Text: "pay 1.00 " + yoann + " y", Language: "fr", CreatedAt: s.at(i), Via: "archive"}
	receipt := m
	receipt.ID, receipt.FirstID, receipt.AuthorID, receipt.AuthorHandle, receipt.Text = s.id(i)+"1", s.id(i)+"1", bank, "bank", "@marie_test "+s.receiptOf(i)
	switch kind {
	case otherAmount:
		m.Text = "pay 2.00 " + yoann + " y"
	case otherPayee:
		m.Text = "pay 1.00 " + acf + " a"
	case asksNothing:
		m.Text = "refuse no_amount"
	case editedLater:
		edit := m
		edit.Version, edit.ID, edit.Text = 1, s.id(i)+"2", "never mind"
		return []payments.Message{edit, receipt, m}
	case toldTwice:
		again := receipt
		again.ID, again.FirstID = s.id(i)+"3", s.id(i)+"3"
		return []payments.Message{receipt, m, again}
	case deleted:
		return []payments.Message{receipt}
	case neverArrived:
		return []payments.Message{m}
	}
	return []payments.Message{receipt, m}
}

// Lookup implements reconciliation.History: what Messages leaves out is not there.
func (s *scale) Lookup(context.Context, []string) (map[string]reconciliation.Found, error) {
	return nil, nil
}

func (s *scale) reconcile() reconciliation.Result {
	s.t.Helper()
	s.before = resident()
	began, worked := time.Now(), processorTime()
	r, err := reconciliation.Tweets(s.ctx, s.payments, wordParser{}, s, reconciliation.TweetsParams{From: from, To: to, Spill: s.spill,
		Progress: func(int, int) { s.peak = max(s.peak, resident()) }})
	s.must(err)
	s.t.Logf("%d tweets against as many orders in %s (%s of processor time), %d MB resident at most, %d MB before", s.size, time.Since(began).Round(time.Millisecond),
		(processorTime() - worked).Round(time.Millisecond), s.peak>>20, s.before>>20)
	if s.peak > s.before+scaleMemory {
		s.t.Errorf("the run took %d MB", (s.peak-s.before)>>20)
	}
	return r
}

// processorTime is what the process has worked so far, which a busy machine does not
// make longer.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// resident is the memory of the process that is in use, in bytes; 0 where the system
// does not say.
func resident() uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, pages uint64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}

// judge wants exactly the planted breaks.
func (s *scale) judge(r reconciliation.Result) {
	s.t.Helper()
	planted := map[string]int{}
	matched := 1 // the pattern
	for i := range s.size {
		said := func(class reconciliation.Class, reference string) { planted[fmt.Sprintf("%s %s", class, reference)]++ }
		switch i % scaleStep {
		case neverArrived:
			said(reconciliation.MissingInLedger, s.key(i))
		case otherAmount:
			said(reconciliation.AmountDiffers, s.key(i))
		case otherPayee:
			said(reconciliation.WrongParty, s.key(i))
		case postedTwice, toldTwice:
			said(reconciliation.Duplicate, s.key(i))
			matched++
		case receiptWaits:
			said(reconciliation.Late, s.key(i))
			matched++
		case receiptGivenUp:
			said(reconciliation.MissingOutside, s.key(i))
			matched++
		case asksNothing:
			said(reconciliation.MissingOutside, s.key(i))
		case editedLater:
			said(reconciliation.Edited, s.key(i))
		case postedForNothing:
			said(reconciliation.MissingOutside, s.key(i)+"9")
			matched++
		case deleted:
			said(reconciliation.TextDeleted, s.key(i))
		default:
			matched++
		}
	}
	found := map[string]int{}
	for _, b := range slices.Concat(r.Breaks, r.Notes) {
		found[fmt.Sprintf("%s %s", b.Class, b.Reference)]++
	}
	for what := range planted {
		if found[what] != planted[what] {
			s.t.Errorf("%s was planted and not found", what)
		}
	}
	for what := range found {
		if planted[what] == 0 {
			s.t.Errorf("%s was found and not planted", what)
		}
	}
	exact := 0
	for _, m := range r.Matches {
		if m.Matcher == "exact_reference" {
			exact = m.Count
		}
	}
	if exact != matched {
		s.t.Errorf("%d are matched by reference, want %d", exact, matched)
	}
}
