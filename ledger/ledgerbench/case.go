package ledgerbench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// aCase is one line of the result.
type aCase struct {
	workload Workload
	method   Method
	callers  int
	bulk     int
	paced    bool // transfers arrive by the clock
}

// String says what the case measures.
func (c aCase) String() string {
	switch {
	case c.paced:
		return fmt.Sprintf("%s, engine at half of the maximum load", c.workload)
	case c.bulk > 1:
		return fmt.Sprintf("%s, %s, %d callers, %d transfers a call", c.workload, c.method, c.callers, c.bulk)
	}
	return fmt.Sprintf("%s, %s, %d callers", c.workload, c.method, c.callers)
}

// floorBatch is how many transfers the floor writes in one call beside single
// transfers: past a few thousand rows the cost a row no longer falls.
const floorBatch = 2000

// cases of a workload, each beside what it is compared with.
func (b *bench) cases(w Workload) []aCase {
	var list []aCase
	naive := map[int]bool{}
	besideNaive := func(c aCase) {
		list = append(list, c)
		if !naive[c.callers] {
			naive[c.callers] = true
			list = append(list, aCase{workload: w, method: Naive, callers: c.callers, bulk: 1})
		}
	}
	for _, callers := range b.Callers {
		besideNaive(aCase{workload: w, method: Engine, callers: callers, bulk: 1})
	}
	for _, bulk := range b.Bulk {
		for _, callers := range b.BulkCallers {
			if bulk == 1 || bulk*callers > MaxInFlight {
				continue
			}
			besideNaive(aCase{workload: w, method: Engine, callers: callers, bulk: bulk})
			list = append(list, aCase{workload: w, method: Floor, callers: callers, bulk: bulk})
		}
	}
	if len(b.Callers) > 0 {
		list = append(list, aCase{workload: w, method: Floor, callers: 1, bulk: floorBatch}, aCase{workload: w, method: Engine, bulk: 1, paced: true})
	}
	return list
}

// hotAccounts is how many accounts Hot10 credits.
const hotAccounts = 10

// pick returns the places of the two accounts of a transfer.
func (b *bench) pick(w Workload, r *rand.Rand) (debit, credit int) {
	n := len(b.accounts)
	switch w {
	case Hot10:
		return hotAccounts + r.IntN(n-hotAccounts), r.IntN(hotAccounts)
	case Hot1:
		return hotAccounts + r.IntN(n-hotAccounts), 0
	case Uniform:
	}
	i := r.IntN(n)
	return i, (i + 1 + r.IntN(n-1)) % n
}

// measureCase adds the figures of one case to the result.
func (b *bench) measureCase(ctx context.Context, c aCase) error {
	measure := b.measure
	if c.paced {
		measure = b.measurePaced
	}
	figures, err := measure(ctx, c)
	if err == nil {
		b.result.Figures = append(b.result.Figures, figures)
	}
	return err
}

// counters are counts of the whole run so far.
type counters struct{ retries, givenUp, commits, requests int64 }

func (b *bench) counters() counters {
	c := counters{retries: b.DB.Retries() + b.repeats.Load(), givenUp: b.givenUp.Load()}
	families, err := b.registry.Gather()
	if err != nil {
		return c // the engine's own counts stay unknown
	}
	for _, family := range families {
		switch family.GetName() {
		case "tweetledger_batch_requests":
			h := family.GetMetric()[0].GetHistogram()
			c.commits, c.requests = int64(h.GetSampleCount()), int64(h.GetSampleSum())
		case "tweetledger_batches_restarted_total":
			c.retries += int64(family.GetMetric()[0].GetCounter().GetValue())
		}
	}
	return c
}

// count fills in what was counted since.
func (b *bench) count(f *Figures, since counters) {
	now := b.counters()
	f.Retries, f.GivenUp = now.retries-since.retries, now.givenUp-since.givenUp
	if f.Method == Engine {
		f.MeanBatch = ratio(now.requests-since.requests, now.commits-since.commits)
	}
}

// measure runs one case for the time of the options: each caller makes its next
// call when the one before has been answered, and at least one, however late the
// machine lets it begin.
func (b *bench) measure(ctx context.Context, c aCase) (Figures, error) {
	write, err := b.writer(ctx, c)
	if err != nil {
		return Figures{}, err
	}
	b.measured++
	before := b.counters()
	var mu sync.Mutex
	var latencies []time.Duration
	transfers := int64(0)
	var failed error
	start := time.Now()
	deadline := start.Add(b.Time)
	var callers sync.WaitGroup
	for caller := range c.callers {
		callers.Go(func() {
			r := rand.New(rand.NewPCG(b.Seed, b.measured*(MaxCallers+1)+uint64(caller)+2))
			var own []time.Duration
			written := int64(0)
			var err error
			more := func(began time.Time) bool {
				return len(own) == 0 || (began.Before(deadline) && len(own) < maxCalls/c.callers)
			}
			for began := time.Now(); err == nil && more(began) && ctx.Err() == nil; {
				n := 0
				n, err = write(ctx, r)
				now := time.Now()
				own, written = append(own, now.Sub(began)), written+int64(n)
				began = now
			}
			mu.Lock()
			defer mu.Unlock()
			latencies, transfers = append(latencies, own...), transfers+written
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
	f := Figures{Workload: c.workload, Method: c.method, Callers: c.callers, Bulk: c.bulk}
	f.set(transfers, elapsed, latencies)
	b.count(&f, before)
	return f, nil
}

// loadCallers is how many callers the maximum load is taken from, where they are measured.
const loadCallers = 256

// singles returns the figures of the engine's single transfers by loadCallers, or
// else by the largest number of callers.
func (b *bench) singles(w Workload) Figures {
	most := loadCallers
	if !slices.Contains(b.Callers, most) {
		most = slices.Max(b.Callers)
	}
	for _, f := range b.result.Figures {
		if f.Workload == w && f.Method == Engine && f.Bulk == 1 && f.Callers == most {
			return f
		}
	}
	return Figures{}
}
