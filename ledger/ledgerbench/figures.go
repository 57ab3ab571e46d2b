package ledgerbench

import (
	"fmt"
	"slices"
	"time"
)

// Figures are what one case came to.
type Figures struct {
	Workload Workload `json:"workload"`
	Method   Method   `json:"method"`
	Callers  int      `json:"callers"` // 0 where transfers arrive by the clock
	// Arrivals is how many transfers arrived a second by the clock, however long
	// those before them took; 0 where callers wait for an answer before they go on.
	Arrivals int64 `json:"arrivals_per_second"`
	// Behind says that the ledger did not bear those arrivals: the last answers came
	// long after the last arrivals.
	Behind    bool          `json:"behind"`
	Bulk      int           `json:"bulk"`      // transfers a call
	Transfers int64         `json:"transfers"` // committed
	Elapsed   time.Duration `json:"elapsed_ns"`
	PerSecond int64         `json:"transfers_per_second"`
	P50       time.Duration `json:"p50_ns"` // of one call; where transfers arrive by the clock, from the arrival
	P99       time.Duration `json:"p99_ns"`
	P999      time.Duration `json:"p999_ns"`
	// Retries counts the database transactions that were run again, by whomever.
	Retries int64 `json:"retries"`
	// GivenUp counts the transfers that callers gave up, having repeated them; they
	// are not among Transfers.
	GivenUp int64 `json:"given_up"`
	// MeanBatch is how many requests shared a commit; 0 where that means nothing.
	MeanBatch Hundredths `json:"mean_batch"`
	// TimesNaive is PerSecond over that of the naive way with as many callers.
	TimesNaive Hundredths `json:"times_naive"`
	// OfFloor is PerSecond over that of the floor with as many callers and as many
	// transfers a call; over the fastest floor of the workload where Bulk is 1.
	OfFloor Hundredths `json:"of_floor"`
}

// Hundredths is a ratio with two decimals. 0 stands for none.
type Hundredths int64

// String writes the ratio as a decimal number: 250 is 2.50.
func (h Hundredths) String() string { return fmt.Sprintf("%d.%02d", h/100, h%100) }

// MarshalJSON implements json.Marshaler.
func (h Hundredths) MarshalJSON() ([]byte, error) { return []byte(h.String()), nil }

func ratio(a, b int64) Hundredths {
	if b == 0 {
		return 0
	}
	return Hundredths(a * 100 / b)
}

// set fills in what follows from the latencies of all calls, which it sorts.
func (f *Figures) set(transfers int64, elapsed time.Duration, latencies []time.Duration) {
	f.Transfers, f.Elapsed = transfers, elapsed
	f.PerSecond = transfers * int64(time.Second) / max(1, int64(elapsed))
	slices.Sort(latencies)
	f.P50, f.P99, f.P999 = percentile(latencies, 500), percentile(latencies, 990), percentile(latencies, 999)
}

// percentile returns the latency that perMille of a thousand calls did not exceed
// (the nearest rank).
func percentile(sorted []time.Duration, perMille int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, (len(sorted)*perMille+999)/1000-1)]
}

// rate sets the figures of the engine beside those of the other methods.
func rate(all []Figures) {
	type key struct {
		workload      Workload
		callers, bulk int
	}
	naive, floor, fastest := map[key]int64{}, map[key]int64{}, map[Workload]int64{}
	for _, f := range all {
		switch f.Method {
		case Naive:
			naive[key{f.Workload, f.Callers, 1}] = f.PerSecond
		case Floor:
			floor[key{f.Workload, f.Callers, f.Bulk}] = f.PerSecond
			fastest[f.Workload] = max(fastest[f.Workload], f.PerSecond)
		case Engine:
		}
	}
	for i := range all {
		f := &all[i]
		if f.Method != Engine || f.Arrivals > 0 {
			continue
		}
		f.TimesNaive = ratio(f.PerSecond, naive[key{f.Workload, f.Callers, 1}])
		f.OfFloor = ratio(f.PerSecond, fastest[f.Workload])
		if f.Bulk > 1 {
			f.OfFloor = ratio(f.PerSecond, floor[key{f.Workload, f.Callers, f.Bulk}])
		}
	}
}
