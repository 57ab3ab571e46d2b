package twitter

import "time"

// failureKind is why a stream ended, as far as the wait before the next
// connection depends on it.
type failureKind string

const (
	networkFailure failureKind = "network"    // TCP, TLS, a cut, silence, a disconnect in the stream
	httpFailure    failureKind = "http"       // an answer that is not 200
	rateFailure    failureKind = "rate_limit" // 429
)

// The waits before a stream connects again. Source: X, filtered stream,
// "Reconnecting to a stream": TCP/IP errors linearly by 250 ms up to 16 s, HTTP
// errors exponentially from 5 s up to 320 s, 429 exponentially from 60 s.
const (
	networkStep = 250 * time.Millisecond
	networkMost = 16 * time.Second
	httpFirst   = 5 * time.Second
	httpMost    = 320 * time.Second
	rateFirst   = time.Minute
	rateMost    = 15 * time.Minute // X's window: waiting longer gains nothing
)

// backoff counts failures in a row. The zero value is ready.
type backoff struct {
	failures map[failureKind]int
}

// next returns how long to wait after one more failure, without jitter.
func (b *backoff) next(kind failureKind) time.Duration {
	if b.failures == nil {
		b.failures = map[failureKind]int{}
	}
	b.failures[kind]++
	n := b.failures[kind]
	switch kind {
	case httpFailure:
		return double(httpFirst, httpMost, n)
	case rateFailure:
		return double(rateFirst, rateMost, n)
	case networkFailure:
	}
	return min(networkStep*time.Duration(min(n, int(networkMost/networkStep))), networkMost)
}

// double returns first·2ⁿ⁻¹, at most most.
func double(first, most time.Duration, n int) time.Duration {
	d := first
	for ; n > 1 && d < most; n-- {
		d *= 2
	}
	return min(d, most)
}

// succeeded forgets all failures.
func (b *backoff) succeeded() { clear(b.failures) }

const (
	// connectWindow and connectsPerWindow keep below X's 50 connects in 15
	// minutes, with a few left for whoever tries by hand.
	connectWindow     = 15 * time.Minute
	connectsPerWindow = 45
)

// connectBudget remembers the last connects.
type connectBudget struct {
	at   [connectsPerWindow]time.Time
	next int
}

// spend books a connect at now, or returns how long to wait before it.
func (b *connectBudget) spend(now time.Time) time.Duration {
	oldest := b.at[b.next]
	if !oldest.IsZero() {
		if wait := oldest.Add(connectWindow).Sub(now); wait > 0 {
			return wait
		}
	}
	b.at[b.next] = now
	b.next = (b.next + 1) % len(b.at)
	return 0
}
