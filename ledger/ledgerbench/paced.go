package ledgerbench

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// maxWaiting bounds the transfers of a paced load that wait for their answers. A
// ledger that falls so far behind does not bear the load: later arrivals then wait
// to be handed over, and what they wait counts too.
const maxWaiting = MaxInFlight

// patience is how long the last answers of a paced load may take after the measured
// time, and a tenth of that: some batches, not a queue.
const patience = time.Second

// measurePaced measures what callers wait at half of the load that the ledger bore
// when each caller waited for its answer.
func (b *bench) measurePaced(ctx context.Context, c aCase) (Figures, error) {
	arrivals := max(1, b.singles(c.workload).PerSecond/2)
	total := min(maxCalls, max(1, arrivals*int64(b.Time)/int64(time.Second)))
	b.measured++
	random := rand.New(rand.NewPCG(b.Seed, b.measured*(MaxCallers+1)+2))
	before := b.counters()
	var transfers atomic.Int64
	start := time.Now()
	latencies, err := paced(ctx, arrivals, total, func() func() error {
		debit, credit := b.pick(c.workload, random)
		request := b.transfer(debit, credit)
		return func() error {
			made, err := b.post(ctx, request)
			transfers.Add(int64(made))
			return err
		}
	})
	if err != nil {
		return Figures{}, err
	}
	elapsed := time.Since(start)
	f := Figures{Workload: c.workload, Method: c.method, Arrivals: arrivals, Bulk: 1, Behind: elapsed > b.Time+b.Time/10+patience}
	f.set(transfers.Load(), elapsed, latencies)
	b.count(&f, before)
	return f, nil
}

// paced makes total calls that arrive by the clock, so many a second, and returns
// their latencies. A latency counts from the arrival: what comes while the ledger is
// busy waits, and that wait is in the figures, as it would be for people. next is
// called by one goroutine and returns the next call.
func paced(ctx context.Context, arrivals, total int64, next func() (call func() error)) ([]time.Duration, error) {
	latencies := make([]time.Duration, total)
	errs := make([]error, total)
	waiting := make(chan struct{}, maxWaiting)
	var calls sync.WaitGroup
	timer := time.NewTimer(0)
	defer timer.Stop()
	start := time.Now()
	for i := range total {
		due := start.Add(time.Duration(i * int64(time.Second) / arrivals))
		if early := time.Until(due); early > 0 {
			timer.Reset(early)
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			break
		}
		call := next()
		waiting <- struct{}{}
		calls.Go(func() {
			errs[i] = call()
			latencies[i] = time.Since(due)
			<-waiting
		})
	}
	calls.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return nil, errs[i]
	}
	return latencies, nil
}
