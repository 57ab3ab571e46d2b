package notify

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"tweetledger/internal/payments"
)

// The outcomes of an attempt to deliver a notice.
const (
	outcomeSent    = "sent"
	outcomeLater   = "later"   // the sink says when to come back
	outcomeFailed  = "failed"  // to be tried again
	outcomeRefused = "refused" // for good
)

// Meter counts what becomes of the attempts to deliver notices, by sink.
type Meter struct{ attempts *prometheus.CounterVec }

// NewMeter returns a Meter whose counter is in a registry, which may be nil.
func NewMeter(registerer prometheus.Registerer) (*Meter, error) {
	m := &Meter{attempts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tweetledger_notices_total",
		Help: "Attempts of this process to deliver a notice to a customer: sent, later (the sink says when), failed (to be tried again), refused (for good)."},
		[]string{"sink", "outcome"})}
	if registerer == nil {
		return m, nil
	}
	return m, registerer.Register(m.attempts)
}

// Of returns next, with its attempts counted under the name of a sink.
func (m *Meter) Of(next payments.Notifier, sink string) payments.Notifier {
	for _, outcome := range []string{outcomeSent, outcomeLater, outcomeFailed, outcomeRefused} {
		m.attempts.WithLabelValues(sink, outcome)
	}
	return metered{next: next, sink: sink, attempts: m.attempts}
}

// metered is a payments.Notifier whose attempts are counted.
type metered struct {
	next     payments.Notifier
	sink     string
	attempts *prometheus.CounterVec
}

// Notify implements payments.Notifier.
func (m metered) Notify(ctx context.Context, n payments.Notice) error {
	err := m.next.Notify(ctx, n)
	outcome := outcomeFailed
	refused, ok := errors.AsType[*payments.SendError](err)
	switch {
	case err == nil:
		outcome = outcomeSent
	case ok && refused.Permanent:
		outcome = outcomeRefused
	case ok && refused.RetryAfter > 0:
		outcome = outcomeLater
	}
	m.attempts.WithLabelValues(m.sink, outcome).Inc()
	return err
}
