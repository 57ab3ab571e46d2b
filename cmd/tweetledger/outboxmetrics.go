package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger/engine"
)

// outboxMetrics tell how the sending goes, and what waits for a person.
type outboxMetrics struct {
	deliveries                                        *prometheus.CounterVec
	pending, oldestSeconds, dead, reviews, reviewsAge prometheus.Gauge
	unclaimed, unclaimedOverdue                       prometheus.Gauge
}

func newOutboxMetrics(registerer prometheus.Registerer) *outboxMetrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &outboxMetrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tweetledger_outbox_deliveries_total",
			Help: "Attempts of this process to send something: sent, retried (failed or put off by the channel, to be tried again), dead (given up)."}, []string{"result"}),
		pending:          gauge("tweetledger_outbox_pending", "Replies, direct messages and notices that wait to be sent, counted up to 10,000."),
		oldestSeconds:    gauge("tweetledger_outbox_oldest_seconds", "Age of the oldest of them; 0 where none waits."),
		dead:             gauge("tweetledger_outbox_dead", "What was given up or kept back and waits for staff, counted up to 10,000."),
		reviews:          gauge("tweetledger_orders_under_review", "Orders that wait for staff, counted up to 10,000."),
		unclaimed:        gauge("tweetledger_unclaimed_payments", "Payments that wait for their payees to become customers, counted up to 10,000."),
		unclaimedOverdue: gauge("tweetledger_unclaimed_payments_overdue_seconds", "For how long something has been due for one of them (a reminder, a return, another try); 0 where nothing is."),
		reviewsAge:       gauge("tweetledger_orders_under_review_oldest_seconds", "Age of the oldest of them; 0 where none waits."),
	}
	for _, result := range []string{"sent", "retried", "dead"} {
		m.deliveries.WithLabelValues(result)
	}
	if registerer != nil {
		registerer.MustRegister(m.deliveries, m.pending, m.oldestSeconds, m.dead, m.reviews, m.reviewsAge, m.unclaimed, m.unclaimedOverdue)
	}
	return m
}

func (m *outboxMetrics) delivered(done payments.Delivered) {
	m.deliveries.WithLabelValues("sent").Add(float64(done.Sent))
	m.deliveries.WithLabelValues("retried").Add(float64(done.Retried))
	m.deliveries.WithLabelValues("dead").Add(float64(done.Dead))
}

// measure reads what waits in the book.
func (m *outboxMetrics) measure(ctx context.Context, book *engine.Engine) error {
	var w payments.Waiting
	err := book.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		w, err = payments.MeasureWaiting(ctx, tx)
		return err
	})
	if err != nil {
		return err
	}
	age := func(since time.Time) float64 {
		if since.IsZero() {
			return 0
		}
		return max(0, book.Now().Sub(since).Seconds())
	}
	m.pending.Set(float64(w.Pending))
	m.oldestSeconds.Set(age(w.OldestAt))
	m.dead.Set(float64(w.Dead))
	m.reviews.Set(float64(w.Reviews))
	m.reviewsAge.Set(age(w.OldestReviewAt))
	m.unclaimed.Set(float64(w.Unclaimed))
	m.unclaimedOverdue.Set(age(w.OldestDueAt))
	return nil
}
