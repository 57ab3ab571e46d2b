package engine

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
	_ "time/tzdata" // business dates are Europe/Paris on machines without zone files too

	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Options of an Engine. The zero value is ready for use.
type Options struct {
	// Clock tells the time; nil is time.Now. It may jump: within one engine the
	// recorded times never go back.
	Clock func() time.Time
	// Log gets what goes wrong behind the caller's back; nil discards it.
	Log *slog.Logger
	// Registerer gets the engine's metrics; nil keeps them private.
	Registerer prometheus.Registerer
	// FiscalYearStarts is the month in which fiscal years begin. Zero is January;
	// for Open, what the book keeps.
	FiscalYearStarts time.Month
}

// Engine keeps the book on a database. It is safe for concurrent use; any number
// of engines, in any number of processes, may share one database.
type Engine struct {
	db      *sqldb.DB
	clock   func() time.Time
	log     *slog.Logger
	paris   *time.Location
	starts  time.Month // of fiscal years
	shard   int        // which shard of a hot account this engine writes
	metrics *metrics

	// numbers are the accounts met last; what of them never changes is used.
	numbers *lru.Cache[uuid.UUID, numberedAccount]
	// kept says that the book keeps the month in which its fiscal years begin.
	kept atomic.Bool
	// caution counts the batches that still go to work cautiously, since one that
	// did not had to start again.
	caution atomic.Int64

	mu   sync.Mutex
	last time.Time // the newest recorded time given out

	queue   chan *call
	closing chan struct{}
	done    chan struct{}
	once    sync.Once
}

// maxNumbers bounds the accounts kept in memory, about 300 bytes each.
const maxNumbers = 100_000

// New starts an engine on db, whose schema must be up to date. Close it before db.
// It does not look at the book: Open does. What it seals and closes is refused
// where the book keeps another month in which fiscal years begin.
func New(db *sqldb.DB, opts Options) *Engine {
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil { // cannot be: tzdata is linked in
		panic(fmt.Sprintf("load Europe/Paris: %v", err))
	}
	e := &Engine{
		db:      db,
		clock:   opts.Clock,
		log:     opts.Log,
		paris:   paris,
		starts:  max(opts.FiscalYearStarts, time.January),
		shard:   rand.IntN(ledger.MaxShards), // any spread of engines over shards is correct
		metrics: newMetrics(opts.Registerer),
		last:    firstSlot,
		queue:   make(chan *call, maxQueue),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
	}
	e.numbers, err = lru.New[uuid.UUID, numberedAccount](maxNumbers)
	if err != nil { // cannot be: the size is above zero
		panic(fmt.Sprintf("make the cache of account numbers: %v", err))
	}
	if e.clock == nil {
		e.clock = time.Now
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	go e.commitLoop()
	return e
}

// Close waits for the requests that are under way and stops the engine.
// Requests that come later are refused with CodeUnavailable.
func (e *Engine) Close() {
	e.once.Do(func() { close(e.closing) })
	<-e.done
}

// DB returns the database that the book is on.
func (e *Engine) DB() *sqldb.DB { return e.db }

// Now returns the clock's time in UTC, in whole microseconds.
func (e *Engine) Now() time.Time { return e.clock().UTC().Truncate(time.Microsecond) }

// Today returns the business date in Europe/Paris.
func (e *Engine) Today() ledger.Date { return ledger.DateIn(e.Now(), e.paris) }

// Location returns the zone of business dates.
func (e *Engine) Location() *time.Location { return e.paris }

// Post makes a transaction. A refusal is a *ledger.Error and changes nothing;
// CodeUnavailable leaves open whether the transaction was made, and the same
// request with the same key finds out.
func (e *Engine) Post(ctx context.Context, r ledger.PostRequest) (ledger.Transaction, error) {
	out := e.submit(ctx, r)
	return out.Transaction, out.Err
}

// Hold sets money aside. Errors are as for Post.
func (e *Engine) Hold(ctx context.Context, r ledger.HoldRequest) (ledger.Hold, error) {
	out := e.submit(ctx, r)
	return out.Hold, out.Err
}

// PostHold posts a hold, in full or in part. Errors are as for Post.
func (e *Engine) PostHold(ctx context.Context, r ledger.PostHoldRequest) (ledger.Transaction, error) {
	out := e.submit(ctx, r)
	return out.Transaction, out.Err
}

// VoidHold releases what remains of a hold. Errors are as for Post.
func (e *Engine) VoidHold(ctx context.Context, r ledger.VoidHoldRequest) (ledger.Hold, error) {
	out := e.submit(ctx, r)
	return out.Hold, out.Err
}

// Reverse undoes a transaction with one that refers to it. Errors are as for Post.
func (e *Engine) Reverse(ctx context.Context, r ledger.ReverseRequest) (ledger.Transaction, error) {
	out := e.submit(ctx, r)
	return out.Transaction, out.Err
}

// PostTx is Post inside the caller's transaction, and commits or fails with it.
// A *ledger.Error is a refusal that changed nothing: the transaction can go on.
func (e *Engine) PostTx(ctx context.Context, tx *sqldb.Tx, r ledger.PostRequest) (ledger.Transaction, error) {
	out := e.applyOne(ctx, tx, r)
	return out.Transaction, out.Err
}

// HoldTx is Hold inside the caller's transaction, as PostTx is Post.
func (e *Engine) HoldTx(ctx context.Context, tx *sqldb.Tx, r ledger.HoldRequest) (ledger.Hold, error) {
	out := e.applyOne(ctx, tx, r)
	return out.Hold, out.Err
}

// PostHoldTx is PostHold inside the caller's transaction, as PostTx is Post.
func (e *Engine) PostHoldTx(ctx context.Context, tx *sqldb.Tx, r ledger.PostHoldRequest) (ledger.Transaction, error) {
	out := e.applyOne(ctx, tx, r)
	return out.Transaction, out.Err
}

// VoidHoldTx is VoidHold inside the caller's transaction, as PostTx is Post.
func (e *Engine) VoidHoldTx(ctx context.Context, tx *sqldb.Tx, r ledger.VoidHoldRequest) (ledger.Hold, error) {
	out := e.applyOne(ctx, tx, r)
	return out.Hold, out.Err
}

// ReverseTx is Reverse inside the caller's transaction, as PostTx is Post.
func (e *Engine) ReverseTx(ctx context.Context, tx *sqldb.Tx, r ledger.ReverseRequest) (ledger.Transaction, error) {
	out := e.applyOne(ctx, tx, r)
	return out.Transaction, out.Err
}

func (e *Engine) applyOne(ctx context.Context, tx *sqldb.Tx, r ledger.Request) Outcome {
	if err := r.Validate(); err != nil {
		return Outcome{Err: err}
	}
	outcomes, err := e.apply(ctx, tx, []asked{ask(r)}, cautious)
	if err != nil {
		return Outcome{Err: err}
	}
	return outcomes[0]
}
