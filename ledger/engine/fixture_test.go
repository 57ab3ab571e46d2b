package engine_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/ledger/ledgertest"
)

// patience bounds what a test waits for; it is only ever reached when something
// is broken.
const patience = time.Minute

// world is a book with an engine, a clock and an open account of each sort.
type world struct {
	*engine.Engine
	t        testing.TB
	ctx      context.Context
	db       *sqldb.DB
	clock    *ledgertest.Clock
	registry *prometheus.Registry
	keys     *atomic.Int64
	asked    *atomic.Int64 // how often the engine asked for the time

	cash  ledger.Account // debit side, no bounds
	bank  ledger.Account // debit side, no bounds
	marie ledger.Account // wallet: 0 to 2500.00
	yoann ledger.Account // wallet
	payee ledger.Account // credit side, 4 shards, no bounds
}

func newWorld(t testing.TB, db *sqldb.DB) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience)
	t.Cleanup(cancel)
	w := &world{t: t, ctx: ctx, db: db, clock: ledgertest.NewClock(ledgertest.Start), registry: prometheus.NewRegistry(),
		keys: &atomic.Int64{}, asked: &atomic.Int64{}}
	w.Engine = engine.New(db, engine.Options{Registerer: w.registry, Clock: func() time.Time {
		w.asked.Add(1)
		return w.clock.Now()
	}})
	t.Cleanup(w.Close)
	w.cash = w.open(ledger.Account{Code: "cash", Category: ledger.Safeguarding, Side: ledger.Debit})
	w.bank = w.open(ledger.Account{Code: "bank", Category: ledger.OwnAccount, Side: ledger.Debit})
	w.marie = w.wallet("marie")
	w.yoann = w.wallet("yoann")
	w.payee = w.open(ledger.Account{Code: "payee", Category: ledger.CharityPayable, Side: ledger.Credit, Shards: 4})
	return w
}

// in is the same world in a subtest.
func (w *world) in(t testing.TB) *world {
	inner := *w
	inner.t = t
	return &inner
}

func (w *world) open(a ledger.Account) ledger.Account {
	w.t.Helper()
	a.ID, a.Name = ledger.SystemAccountID(a.Code), "Account for a test"
	if a.Currency == "" {
		a.Currency = ledger.EUR
	}
	a.Shards = max(a.Shards, 1)
	opened, err := w.OpenAccount(w.ctx, a)
	if err != nil {
		w.t.Fatalf("open account %s: %v", a.Code, err)
	}
	return opened
}

func (w *world) wallet(code string) ledger.Account {
	w.t.Helper()
	zero, ceiling := ledger.Amount(0), ledger.Amount(250_000)
	return w.open(ledger.Account{Code: code, Category: ledger.CustomerEMoney, Side: ledger.Credit, Min: &zero, Max: &ceiling})
}

func (w *world) key() string { return fmt.Sprintf("test:%d", w.keys.Add(1)) }

func (w *world) transfer(debit, credit ledger.Account, amount ledger.Amount) ledger.PostRequest {
	return ledger.PostRequest{Key: w.key(), Journal: ledger.JournalTransfers, Label: "Test transfer",
		Postings: []ledger.Posting{{Debit: debit.ID, Credit: credit.ID, Amount: amount, Currency: debit.Currency}}}
}

func (w *world) holdOf(debit, credit ledger.Account, amount ledger.Amount) ledger.HoldRequest {
	return ledger.HoldRequest{Key: w.key(), Debit: debit.ID, Credit: credit.ID, Amount: amount, Currency: debit.Currency}
}

func (w *world) postOf(hold ledger.Hold, amount ledger.Amount) ledger.PostHoldRequest {
	return ledger.PostHoldRequest{Key: w.key(), HoldID: hold.ID, Amount: amount, Journal: ledger.JournalTransfers, Label: "Test of a hold"}
}

// codes returns how each request of a batch ended.
func (w *world) codes(e *engine.Engine, requests ...ledger.Request) []ledger.Code {
	w.t.Helper()
	outcomes, err := e.Submit(w.ctx, requests)
	if err != nil {
		w.t.Fatal(err)
	}
	codes := make([]ledger.Code, len(outcomes))
	for i, out := range outcomes {
		codes[i] = ledger.CodeOf(out.Err)
		if out.Err != nil && codes[i] == "" {
			w.t.Errorf("request %d failed: %v", i, out.Err)
		}
	}
	return codes
}

// another opens a second engine on the book, as another process has.
func (w *world) another() *engine.Engine {
	e := engine.New(w.db, engine.Options{Clock: w.clock.Now})
	w.t.Cleanup(e.Close)
	return e
}

// refused checks that a request was refused, and what it was blamed for.
func (w *world) refused(what string, err error, code ledger.Code, field string) {
	w.t.Helper()
	refusal, ok := errors.AsType[*ledger.Error](err)
	if !ok || refusal.Code != code || refusal.Field != field {
		w.t.Errorf("%s: got %v, want %s in %s", what, err, code, field)
	}
}

func (w *world) mustPost(r ledger.PostRequest) ledger.Transaction {
	w.t.Helper()
	made, err := w.Post(w.ctx, r)
	if err != nil {
		w.t.Fatalf("post %s: %v", r.Key, err)
	}
	return made
}

func (w *world) mustHold(r ledger.HoldRequest) ledger.Hold {
	w.t.Helper()
	held, err := w.Hold(w.ctx, r)
	if err != nil {
		w.t.Fatalf("hold %s: %v", r.Key, err)
	}
	return held
}

// read runs queries on one snapshot.
func (w *world) read(fn func(ctx context.Context, tx *sqldb.Tx) error) {
	w.t.Helper()
	if err := w.db.Read(w.ctx, fn); err != nil {
		w.t.Fatal(err)
	}
}

// exec runs raw statements in one transaction, past the engine.
func (w *world) exec(statements ...string) error {
	return w.db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		for _, statement := range statements {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *world) mustExec(statements ...string) {
	w.t.Helper()
	if err := w.exec(statements...); err != nil {
		w.t.Fatalf("%q: %v", statements, err)
	}
}

// lit writes an id as a literal of the engine's SQL.
func (w *world) lit(id uuid.UUID) string {
	if w.db.Engine() == sqldb.SQLite {
		return fmt.Sprintf("x'%x'", id[:])
	}
	return "'" + id.String() + "'"
}

// hashLit writes a hash as a literal of the engine's SQL.
func (w *world) hashLit(hash [sha256.Size]byte) string {
	if w.db.Engine() == sqldb.SQLite {
		return fmt.Sprintf("x'%x'", hash)
	}
	return fmt.Sprintf("'\\x%x'", hash)
}

// no is the number by which postings and balances refer to an account.
func (w *world) no(a ledger.Account) (no int64) {
	w.t.Helper()
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.QueryRow(ctx, "SELECT no FROM accounts WHERE id = $1", []any{a.ID}, &no)
	})
	return no
}

// ofAccount selects the rows of an account's balance.
func (w *world) ofAccount(a ledger.Account) string {
	w.t.Helper()
	return fmt.Sprintf("account_no = %d", w.no(a))
}

func (w *world) balance(a ledger.Account) (b ledger.Balance) {
	w.t.Helper()
	w.read(func(ctx context.Context, tx *sqldb.Tx) (err error) {
		b, err = engine.FindBalance(ctx, tx, a.ID)
		return err
	})
	return b
}

// wantBalance checks posted and available amounts on the account's normal side.
func (w *world) wantBalance(a ledger.Account, posted, available ledger.Amount) {
	w.t.Helper()
	if b := w.balance(a); b.Posted() != posted || b.Available() != available {
		w.t.Errorf("balance of %s: posted %d, available %d; want %d, %d", a.Code, b.Posted(), b.Available(), posted, available)
	}
}

func (w *world) verify() {
	w.t.Helper()
	report, err := w.Verify(w.ctx, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, d := range report.Differences {
		w.t.Error(d)
	}
}

// block holds the lock of an account's balance until the returned function is
// called, so that the batch of a request for the account must wait. On SQLite it
// is the lock of everything.
func (w *world) block(a ledger.Account) (unblock func()) {
	w.t.Helper()
	no := w.no(a)
	locked, release, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		first := true
		done <- w.db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			var version int64
			if err := tx.QueryRow(ctx, "SELECT version FROM balances WHERE account_no = $1"+tx.ForUpdate(), []any{no}, &version); err != nil {
				return err
			}
			if first {
				first = false
				close(locked)
			}
			<-release
			return nil
		})
	}()
	select {
	case <-locked:
	case err := <-done:
		w.t.Fatalf("lock account %s: %v", a.Code, err)
	}
	return func() {
		close(release)
		if err := <-done; err != nil {
			w.t.Errorf("lock account %s: %v", a.Code, err)
		}
	}
}

// result is what a caller was told.
type result struct {
	transaction ledger.Transaction
	err         error
}

// start posts r from another goroutine.
func (w *world) start(ctx context.Context, r ledger.PostRequest) <-chan result {
	done := make(chan result, 1)
	go func() {
		made, err := w.Post(ctx, r)
		done <- result{made, err}
	}()
	return done
}

// occupy starts a request for a blocked account and waits until its batch is
// under way, so that those that come later form the next batch.
func (w *world) occupy(r ledger.PostRequest) <-chan result {
	w.t.Helper()
	before := w.asked.Load()
	first := w.start(w.ctx, r)
	// The loop asks for the time when it has collected a batch.
	w.await("the first batch to start", func() bool { return w.asked.Load() > before })
	return first
}

// await waits for a condition that another goroutine is about to make true.
func (w *world) await(what string, condition func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); !condition(); runtime.Gosched() {
		if time.Now().After(end) {
			w.t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

func (w *world) receive(done <-chan result) result {
	w.t.Helper()
	select {
	case r := <-done:
		return r
	case <-time.After(patience):
		w.t.Fatalf("no answer within %s", patience)
		return result{}
	}
}

// batches returns how many batches were committed, and of how many requests.
func (w *world) batches() (count, requests int64) {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "tweetledger_batch_requests" {
			histogram := family.GetMetric()[0].GetHistogram()
			return int64(histogram.GetSampleCount()), int64(histogram.GetSampleSum())
		}
	}
	w.t.Fatal("no metric tweetledger_batch_requests")
	return 0, 0
}

// restarted returns how many batches of the world's engine hoped in vain.
func (w *world) restarted() int64 {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "tweetledger_batches_restarted_total" {
			return int64(family.GetMetric()[0].GetCounter().GetValue())
		}
	}
	w.t.Fatal("no metric tweetledger_batches_restarted_total")
	return 0
}

// counted returns the requests of one result.
func (w *world) counted(result string) int64 {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "tweetledger_requests_total" && m.GetLabel()[0].GetValue() == result {
				return int64(m.GetCounter().GetValue())
			}
		}
	}
	return 0
}
