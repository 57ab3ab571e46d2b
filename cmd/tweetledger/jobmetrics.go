package main

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tweetledger/ledger"
)

// jobMetrics tell what sealing and verifying have come to. They are measurements,
// never money.
type jobMetrics struct {
	waiting, waitingSeconds               prometheus.Gauge
	number                                *prometheus.GaugeVec
	verifyLast, verifySeconds, verifyRead prometheus.Gauge
	verifyDifferences                     prometheus.Gauge
}

func newJobMetrics(registerer prometheus.Registerer) *jobMetrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &jobMetrics{
		waiting:        gauge("tweetledger_unsealed_pages", "Pages that wait for the sealer, counted up to 10,000."),
		waitingSeconds: gauge("tweetledger_unsealed_oldest_seconds", "Age of the page that waits longest for the sealer; 0 where none waits."),
		number: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tweetledger_sealed_number", Help: "Number of the last entry sealed, by journal and fiscal year.",
		}, []string{"journal", "fiscal_year"}),
		verifyLast:        gauge("tweetledger_verify_last_timestamp_seconds", "When any process last verified the whole book; 0 for never."),
		verifySeconds:     gauge("tweetledger_verify_seconds", "How long this process's last verification of the book took."),
		verifyRead:        gauge("tweetledger_verify_postings", "Postings that this process's last verification of the book read."),
		verifyDifferences: gauge("tweetledger_verify_differences", "Differences that this process's last verification of the book found."),
	}
	if registerer != nil {
		registerer.MustRegister(m.waiting, m.waitingSeconds, m.number, m.verifyLast, m.verifySeconds, m.verifyRead, m.verifyDifferences)
	}
	return m
}

func (m *jobMetrics) verified(took time.Duration, postings, differences int64) {
	m.verifySeconds.Set(took.Seconds())
	m.verifyRead.Set(float64(postings))
	m.verifyDifferences.Set(float64(differences))
}

func (m *jobMetrics) measured(heads ledger.Heads, waiting int64, since, verified, now time.Time) {
	m.waiting.Set(float64(waiting))
	m.waitingSeconds.Set(0)
	if !since.IsZero() {
		m.waitingSeconds.Set(max(0, now.Sub(since).Seconds()))
	}
	for _, h := range heads.List {
		m.number.WithLabelValues(h.Journal, strconv.Itoa(h.FiscalYear)).Set(float64(h.Number))
	}
	if !verified.IsZero() {
		m.verifyLast.Set(float64(verified.Unix()))
	}
}
