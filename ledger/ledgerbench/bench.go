// Package ledgerbench measures an engine on a database: transfers a second and
// how long callers wait, beside two other ways to write the same transfers on the
// same database in the same run. The naive way is one SQL transaction a transfer;
// the floor is the fastest bulk insert of the same rows, without any check.
//
// It also measures what callers wait at half of the maximum load, and how costs
// change as the book grows.
package ledgerbench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// Workload says between which accounts transfers run.
type Workload string

// The workloads. Every account has a bound, so each transfer must be judged.
const (
	Uniform Workload = "uniform" // between any two of all accounts
	Hot10   Workload = "hot-10"  // from any account to one of ten
	Hot1    Workload = "hot-1"   // from any account to the same one
)

// Workloads are all of them, in the order in which they are measured.
func Workloads() []Workload { return []Workload{Uniform, Hot10, Hot1} }

// Method says how transfers are written.
type Method string

// The methods.
const (
	Engine Method = "engine" // Engine.Post, or Engine.Submit in bulk
	Naive  Method = "naive"  // insert, two balance updates, one SQL transaction a transfer
	Floor  Method = "floor"  // the rows alone, in bulk, unchecked
)

// Options of a run.
type Options struct {
	DB       *sqldb.DB // migrated; the run adds accounts, transfers and tables of its own
	Accounts int       // MinAccounts to MaxAccounts
	// Callers are the numbers of callers that transfer one by one: 1 to MaxCallers.
	Callers []int
	// Bulk are the numbers of transfers in one call: 1 to engine.MaxSubmit. Each is
	// measured with every number of BulkCallers that keeps to MaxInFlight.
	Bulk        []int
	BulkCallers []int
	// History, where it is not empty, replaces the cases above: the book is filled to
	// these numbers of postings, in rising order, and costs are measured at each.
	History []int64
	// FillTime bounds the filling for History, all in all. When it is over the last
	// costs are measured at the size that was reached.
	FillTime time.Duration
	Time     time.Duration        // how long each case is measured, up to MaxTime
	Progress func(state Progress) // may be nil; called by one goroutine at a time
	Seed     uint64

	// beforeVerify is for tests: it may spoil the book.
	beforeVerify func(ctx context.Context, b *bench) error
}

// Bounds of a run.
const (
	MinAccounts = 2 * hotAccounts
	MaxAccounts = 100_000
	MaxCallers  = 10_000
	// MaxInFlight bounds the transfers that all callers of a case have under way at
	// once: with more of them the last calls would end long after the measured time.
	MaxInFlight = 65_536
	// MaxHistory is what a disk holds and a person waits for.
	MaxHistory = 1_000_000_000
	MaxTime    = 10 * time.Minute
	// maxCalls of one case: the latency of each is kept in memory.
	maxCalls = 20_000_000
	// funding of every account: so much that no transfer of a run is refused.
	funding = ledger.Amount(1_000_000_000_00)
)

// Result is what a run came to.
type Result struct {
	Engine     sqldb.Engine  `json:"engine"`
	Version    string        `json:"version"` // of the database
	CPUs       int           `json:"cpus"`    // that this process may use
	Accounts   int           `json:"accounts"`
	Time       time.Duration `json:"time_ns"` // of one case
	Durability Durability    `json:"durability"`
	Figures    []Figures     `json:"figures,omitempty"`
	History    []Costs       `json:"history,omitempty"`
	Verified   Verified      `json:"verified"`
}

// Verified is the size of the book that verified at the end of a run.
type Verified struct {
	Transactions int64 `json:"transactions"`
	Postings     int64 `json:"postings"`
	Accounts     int64 `json:"accounts"`
}

// DifferencesError says that the book does not verify at the end of a run. Its
// figures are worth nothing, so there are none.
type DifferencesError struct {
	First string // difference, as a sentence
	Count int64
}

// Error implements error.
func (e *DifferencesError) Error() string {
	return fmt.Sprintf("the book does not verify, so there are no figures; the first of %d differences: %s", e.Count, e.First)
}

// Run measures every case of the options and verifies the book. Figures of a book
// that does not verify are worth nothing: then it returns a *DifferencesError instead.
func Run(ctx context.Context, o Options) (Result, error) {
	if err := o.validate(); err != nil {
		return Result{}, err
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	b := &bench{Options: o, registry: prometheus.NewRegistry(),
		random: rand.New(rand.NewPCG(o.Seed, 1)), // repeatable, not secret
		result: Result{Engine: o.DB.Engine(), CPUs: runtime.GOMAXPROCS(0), Accounts: o.Accounts, Time: o.Time}}
	b.snowflake.Store(firstSnowflake(time.Now()))
	b.engine = engine.New(o.DB, engine.Options{Registerer: b.registry})
	defer b.engine.Close()
	if err := b.runSteps(ctx, b.plan()); err != nil {
		return Result{}, err
	}
	rate(b.result.Figures)
	return b.result, nil
}

func (o Options) validate() error {
	invalid := func(field, format string, args ...any) error {
		return ledger.Errorf(ledger.CodeInvalid, format, args...).InField(field)
	}
	if o.Accounts < MinAccounts || o.Accounts > MaxAccounts {
		return invalid("accounts", "a run needs %d to %d accounts, not %d", MinAccounts, MaxAccounts, o.Accounts)
	}
	if o.Time <= 0 || o.Time > MaxTime {
		return invalid("time", "a case is measured for a time above zero, up to %s, not for %s", MaxTime, o.Time)
	}
	for _, list := range []struct {
		field, what string
		numbers     []int
		most        int
	}{
		{"callers", "callers", o.Callers, MaxCallers},
		{"bulk", "transfers in a call", o.Bulk, engine.MaxSubmit},
		{"bulk-callers", "callers", o.BulkCallers, MaxCallers},
	} {
		for _, n := range list.numbers {
			if n < 1 || n > list.most {
				return invalid(list.field, "a case has 1 to %d %s, not %d", list.most, list.what, n)
			}
		}
	}
	before := int64(0)
	for _, n := range o.History {
		if n <= before || n > MaxHistory {
			return invalid("history", "the sizes of the book must rise, and none may be above %d postings; %d does not fit there", MaxHistory, n)
		}
		before = n
	}
	if len(o.History) > 0 && o.FillTime <= 0 {
		return invalid("fill-time", "filling the book needs a time above zero, not %s", o.FillTime)
	}
	if len(o.History) > 0 && len(o.Callers) == 0 {
		return invalid("callers", "the costs of a growing book are measured with the largest number of callers; name one")
	}
	return nil
}

type bench struct {
	Options
	engine   *engine.Engine
	registry *prometheus.Registry
	random   *rand.Rand
	result   Result

	accounts  []uuid.UUID // that transfers run between
	quiet     []uuid.UUID // whose history ends with the first size of History
	sources   []string    // ids of sources in the book
	snowflake atomic.Int64
	floorPage atomic.Int64 // the last page of the floor's rows
	parts     atomic.Pointer[parts]
	measured  uint64 // cases so far, so that none repeats the draws of another

	before       int64        // transactions of the book at the start
	acknowledged atomic.Int64 // transactions that the engine said it made
	repeats      atomic.Int64 // calls that a caller of the engine, or the naive way, made again
	givenUp      atomic.Int64 // transfers whose callers gave up
}

// plan lists what a run does.
func (b *bench) plan() []step {
	steps := []step{{"preparing accounts", time.Duration(b.Accounts) * accountTime, b.prepare}}
	if len(b.History) > 0 {
		steps = append(steps, b.historySteps()...)
	} else {
		for _, w := range Workloads() {
			for _, c := range b.cases(w) {
				steps = append(steps, step{c.String(), b.Time, func(ctx context.Context) error { return b.measureCase(ctx, c) }})
			}
		}
	}
	return append(steps, step{"verifying the book", b.Time, b.verify})
}

// accountTime is a guess at what it takes to prepare one account, for the progress.
const accountTime = 500 * time.Microsecond

// verify accepts the figures if the book bears them out: every balance, and as
// many transactions as callers were told.
func (b *bench) verify(ctx context.Context) error {
	if b.beforeVerify != nil {
		if err := b.beforeVerify(ctx, b); err != nil {
			return err
		}
	}
	report, err := b.engine.Verify(ctx, b.notePart)
	if err != nil {
		return err
	}
	if !report.OK() {
		return &DifferencesError{First: report.Differences[0].String(), Count: int64(len(report.Differences)) + report.More}
	}
	// What a caller gave up on may have been made all the same.
	want, most := b.before+b.acknowledged.Load(), b.before+b.acknowledged.Load()+b.givenUp.Load()
	if report.Transactions < want || report.Transactions > most {
		return &DifferencesError{Count: 1, First: fmt.Sprintf("the book has %d transactions, but callers were told of %d", report.Transactions, want)}
	}
	b.result.Verified = Verified{Transactions: report.Transactions, Postings: report.Postings, Accounts: report.Accounts}
	return nil
}
