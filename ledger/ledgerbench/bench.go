// Package ledgerbench measures an engine on a database: transfers a second and
// how long callers wait, beside two other ways to write the same transfers on the
// same database in the same run. The naive way is one SQL transaction a transfer;
// the floor is the fastest bulk insert of the same rows, without any check.
package ledgerbench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
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
	Accounts int       // 12 to MaxAccounts
	Callers  []int     // for single transfers
	Bulk     []int     // transfers a call, from one caller
	Time     time.Duration
	Progress func(line string) // may be nil
	Seed     uint64
}

// Bounds of a run.
const (
	MaxAccounts  = 100_000
	MaxCallers   = 10_000
	floorBatch   = 2000
	funding      = ledger.Amount(1_000_000_000_00) // of every account: no transfer is refused
	maxTransfers = 20_000_000                      // of one case: the latencies are kept in memory
)

// Figures are what one case came to.
type Figures struct {
	Workload  Workload      `json:"workload"`
	Method    Method        `json:"method"`
	Callers   int           `json:"callers"`
	Bulk      int           `json:"bulk"` // transfers a call
	Transfers int64         `json:"transfers"`
	Elapsed   time.Duration `json:"elapsed_ns"`
	PerSecond int64         `json:"transfers_per_second"`
	P50       time.Duration `json:"p50_ns"` // of one call
	P99       time.Duration `json:"p99_ns"`
	P999      time.Duration `json:"p999_ns"`
	Retries   int64         `json:"retries"`
	// MeanBatch is how many requests shared a commit, in hundredths; 0 where that
	// means nothing.
	MeanBatch int64 `json:"mean_batch_hundredths"`
}

// Run measures every case of the options and verifies the book. Figures of a book
// that does not verify are worth nothing: then it returns an error instead.
func Run(ctx context.Context, o Options) ([]Figures, error) {
	if o.Accounts < hotAccounts+2 || o.Accounts > MaxAccounts {
		return nil, ledger.Errorf(ledger.CodeInvalid, "a run needs %d to %d accounts, not %d", hotAccounts+2, MaxAccounts, o.Accounts).InField("accounts")
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	b := &bench{Options: o, registry: prometheus.NewRegistry(), random: rand.New(rand.NewPCG(o.Seed, 1))} // repeatable, not secret
	b.engine = engine.New(o.DB, engine.Options{Registerer: b.registry})
	defer b.engine.Close()
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	var all []Figures
	for _, w := range []Workload{Uniform, Hot10, Hot1} {
		for _, c := range b.cases(w) {
			figures, err := b.measure(ctx, c)
			if err != nil {
				return nil, fmt.Errorf("measure %s %s with %d callers: %w", c.workload, c.method, c.callers, err)
			}
			all = append(all, figures)
			o.Progress(figures.String())
		}
	}
	report, err := b.engine.Verify(ctx, nil)
	if err != nil {
		return nil, err
	}
	if !report.OK() {
		return nil, fmt.Errorf("the book does not verify, so there are no figures: %s", report.Differences[0])
	}
	return all, nil
}

// String is the figures on one line.
func (f Figures) String() string {
	return fmt.Sprintf("%-8s %-7s callers %5d  bulk %5d  %8d/s  p50 %-9s p99 %-9s p99.9 %-9s retries %d  mean batch %d.%02d",
		f.Workload, f.Method, f.Callers, f.Bulk, f.PerSecond, f.P50.Round(time.Microsecond), f.P99.Round(time.Microsecond),
		f.P999.Round(time.Microsecond), f.Retries, f.MeanBatch/100, f.MeanBatch%100)
}

type bench struct {
	Options
	engine   *engine.Engine
	registry *prometheus.Registry
	random   *rand.Rand
	accounts []uuid.UUID
	run      string // makes the keys of one run differ from those of another
	measured uint64 // cases so far, so that none repeats the keys of another
}

// aCase is one line of the result.
type aCase struct {
	workload Workload
	method   Method
	callers  int
	bulk     int
}

func (b *bench) cases(w Workload) []aCase {
	var list []aCase
	for _, callers := range b.Callers {
		list = append(list, aCase{w, Engine, callers, 1}, aCase{w, Naive, callers, 1})
	}
	for _, bulk := range b.Bulk {
		list = append(list, aCase{w, Engine, 1, bulk})
	}
	return append(list, aCase{w, Floor, 1, floorBatch})
}

// hotAccounts is how many accounts Hot10 credits.
const hotAccounts = 10

// pick returns the two accounts of a transfer.
func (b *bench) pick(w Workload, r *rand.Rand) (debit, credit uuid.UUID) {
	n := len(b.accounts)
	switch w {
	case Hot10:
		return b.accounts[hotAccounts+r.IntN(n-hotAccounts)], b.accounts[r.IntN(hotAccounts)]
	case Hot1:
		return b.accounts[hotAccounts+r.IntN(n-hotAccounts)], b.accounts[0]
	case Uniform:
	}
	i := r.IntN(n)
	return b.accounts[i], b.accounts[(i+1+r.IntN(n-1))%n]
}

// measure runs one case for the time of the options.
func (b *bench) measure(ctx context.Context, c aCase) (Figures, error) {
	if c.callers < 1 || c.callers > MaxCallers {
		return Figures{}, ledger.Errorf(ledger.CodeInvalid, "a case has 1 to %d callers, not %d", MaxCallers, c.callers).InField("callers")
	}
	write, err := b.writer(c)
	if err != nil {
		return Figures{}, err
	}
	b.measured++
	retries, batches := b.DB.Retries(), b.batches()
	var mu sync.Mutex
	var waits []time.Duration
	var failed error
	start := time.Now()
	deadline := start.Add(b.Time)
	var callers sync.WaitGroup
	for caller := range c.callers {
		callers.Go(func() {
			r := rand.New(rand.NewPCG(b.Seed, b.measured*(MaxCallers+1)+uint64(caller)+2))
			var own []time.Duration
			var err error
			for began := time.Now(); err == nil && began.Before(deadline) && len(own) < maxTransfers/c.callers && ctx.Err() == nil; {
				err = write(ctx, r)
				now := time.Now()
				own = append(own, now.Sub(began))
				began = now
			}
			mu.Lock()
			defer mu.Unlock()
			waits = append(waits, own...)
			if failed == nil {
				failed = err
			}
		})
	}
	callers.Wait()
	elapsed := time.Since(start)
	if failed == nil {
		failed = ctx.Err()
	}
	if failed != nil {
		return Figures{}, failed
	}
	f := Figures{Workload: c.workload, Method: c.method, Callers: c.callers, Bulk: c.bulk, Elapsed: elapsed,
		Transfers: int64(len(waits)) * int64(c.bulk), Retries: b.DB.Retries() - retries}
	f.PerSecond = f.Transfers * int64(time.Second) / int64(elapsed)
	slices.Sort(waits)
	f.P50, f.P99, f.P999 = percentile(waits, 500), percentile(waits, 990), percentile(waits, 999)
	if c.method == Engine {
		f.MeanBatch = b.batches().since(batches)
	}
	return f, nil
}

// percentile returns the wait that perMille of a thousand calls did not exceed.
func percentile(sorted []time.Duration, perMille int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, len(sorted)*perMille/1000)]
}

// batchCount is how many commits there were, and requests in them.
type batchCount struct{ commits, requests int64 }

func (c batchCount) since(before batchCount) int64 {
	if c.commits == before.commits {
		return 0
	}
	return (c.requests - before.requests) * 100 / (c.commits - before.commits)
}

// batches reads the engine's own histogram.
func (b *bench) batches() batchCount {
	families, err := b.registry.Gather()
	if err != nil {
		return batchCount{}
	}
	for _, family := range families {
		if family.GetName() != "tweetledger_batch_requests" {
			continue
		}
		h := family.GetMetric()[0].GetHistogram()
		return batchCount{int64(h.GetSampleCount()), int64(h.GetSampleSum())}
	}
	return batchCount{}
}
