package engine

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tweetledger/ledger"
)

// metrics of the engine. Seconds and sizes are measurements, never money.
type metrics struct {
	batchSize    prometheus.Histogram
	batchSeconds prometheus.Histogram
	requests     *prometheus.CounterVec
	restarted    prometheus.Counter
	sealed       prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	m := &metrics{
		batchSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tweetledger_batch_requests", Help: "Requests committed together in one database transaction.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 12),
		}),
		batchSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tweetledger_batch_seconds", Help: "Time from the start of a batch to its commit, retries included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tweetledger_requests_total", Help: "Requests to the ledger by result: done, replayed, or the code of the refusal.",
		}, []string{"result"}),
		restarted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tweetledger_batches_restarted_total",
			Help: "Batches that began again more cautiously, because a request was repeated or refused.",
		}),
		sealed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tweetledger_sealed_transactions_total", Help: "Transactions that this process gave their number and their link of the chain.",
		}),
	}
	if registerer != nil {
		registerer.MustRegister(m.batchSize, m.batchSeconds, m.requests, m.restarted, m.sealed)
	}
	return m
}

func (m *metrics) batch(requests int, took time.Duration) {
	m.batchSize.Observe(float64(requests))
	m.batchSeconds.Observe(took.Seconds())
}

func (m *metrics) outcome(out Outcome) {
	result := "done"
	switch {
	case out.Err != nil:
		if result = string(ledger.CodeOf(out.Err)); result == "" {
			result = "failed"
		}
	case out.Replayed:
		result = "replayed"
	}
	m.requests.WithLabelValues(result).Inc()
}
