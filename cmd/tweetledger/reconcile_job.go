package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tweetledger/adapters/twitter"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/reconciliation"
)

// reconcilerLease is the name of the lease of who reconciles.
const reconcilerLease = "reconciler"

// checkReconcile refuses settings that make no sense.
func checkReconcile(s reconcileSettings) error {
	if interval := s.interval(); interval != 0 && interval < shortestInterval {
		return ledger.Errorf(ledger.CodeInvalid, "the book is reconciled at most once a minute, not every %s; \"0\" for never", interval).InField("reconcile.interval")
	}
	if s.Days < 1 || s.Days > maxReconcileDays {
		return ledger.Errorf(ledger.CodeInvalid, "a reconciliation goes 1 to %d days back, not %d", maxReconcileDays, s.Days).InField("reconcile.days")
	}
	return checkCardTerms(s)
}

// servedReconciler is that of a process that serves: it has the process's client of X,
// which may be nil. It is nil where the configuration wants none.
func (a *app) servedReconciler(ctx context.Context, service *payments.Service, client *twitter.Client) (*reconciler, error) {
	r, s, err := a.bareReconciler(ctx)
	if err != nil || s.Reconcile.interval() == 0 {
		return nil, err
	}
	if client == nil {
		return r, nil
	}
	return r, r.compareTweets(s, service, twitter.NewHistory(client, s.Twitter.BankUserID))
}

// reconcile runs the jobs when reconcile.interval is over. One that fails is logged and
// counted; it has its next turn with the others, as what it lacks (X, say) may lack for
// long.
func (j *jobs) reconcile(ctx context.Context) (_ int, err error) {
	lease, ok, err := j.due(ctx, j.reconcilerLease, j.settings.Reconcile.interval())
	defer func() { err = firstOf(err, j.reconcilerLease.release(ctx)) }()
	if err != nil || !ok {
		return 0, err
	}
	j.reconciler.progress = func(int, int) {
		if _, _, err := j.reconcilerLease.hold(ctx); err != nil { // what is written finds out if it is lost
			j.log.WarnContext(ctx, "the lease of the reconciliation was not extended", "err", err)
		}
	}
	today := j.book.Today()
	for _, job := range j.reconciler.jobs() {
		began := j.book.Now()
		kept, _, err := j.reconciler.keep(ctx, reconciliation.KeepRequest{Job: job, From: today.AddDays(-j.settings.Reconcile.Days), To: today, By: "serve", Lease: &lease})
		switch {
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case err != nil:
			j.breaks.failures.WithLabelValues(string(job)).Inc()
			j.log.ErrorContext(ctx, "a reconciliation failed", "job", job, "err", err)
			continue
		}
		j.breaks.seconds.WithLabelValues(string(job)).Set(j.book.Now().Sub(began).Seconds())
		j.log.InfoContext(ctx, "the book was reconciled", "job", job, "run", kept.Number, "breaks", len(kept.States), "open", kept.Open(), "new", kept.Found+kept.FoundAgain,
			"closed", kept.Closed)
	}
	return 0, j.book.DB().WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return lease.Done(ctx, tx, j.book.Now())
	})
}

// measureBreaks tells how many breaks wait for somebody, and for how long.
func (j *jobs) measureBreaks(ctx context.Context) (int, error) {
	var ages map[reconciliation.Job]map[reconciliation.Age]int
	var last map[reconciliation.Job]time.Time
	var proved []reconciliation.Run
	err := j.book.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		if ages, err = reconciliation.CountByAge(ctx, tx, j.book.Now(), j.book.Location()); err != nil {
			return err
		}
		if last, err = reconciliation.LastFinished(ctx, tx); err != nil {
			return err
		}
		proved, err = reconciliation.ListRuns(ctx, tx, reconciliation.RunFilter{Job: reconciliation.JobSafeguarding, State: reconciliation.RunFinished, Limit: 1})
		return err
	})
	if err != nil {
		return 0, err
	}
	j.breaks.measured(ages, last)
	for _, r := range proved {
		for _, total := range r.Outcome.Totals {
			if total.Name == reconciliation.TotalCover {
				j.breaks.cover.WithLabelValues(string(total.Currency)).Set(float64(total.Amount))
			}
		}
	}
	return 0, nil
}

// breakMetrics tell what reconciliation has come to. They are measurements, never money.
type breakMetrics struct {
	open, last, seconds, cover *prometheus.GaugeVec
	failures                   *prometheus.CounterVec
}

func newBreakMetrics(registerer prometheus.Registerer) *breakMetrics {
	m := &breakMetrics{
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tweetledger_breaks_open",
			Help: "Breaks that nobody has dealt with, by job and by days since they were found."}, []string{"reconciliation", "age"}),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tweetledger_reconcile_last_timestamp_seconds",
			Help: "When any process last finished a reconciliation, by job."}, []string{"reconciliation"}),
		seconds: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tweetledger_reconcile_seconds",
			Help: "How long this process's last reconciliation took, by job."}, []string{"reconciliation"}),
		cover: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tweetledger_safeguarding_cover_minor_units",
			Help: "What the safeguarding account had beyond what customers were owed, on the last day that any process has proved; below zero it is a shortfall."}, []string{"currency"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tweetledger_reconcile_failures_total",
			Help: "Reconciliations of this process that failed, by job."}, []string{"reconciliation"}),
	}
	if registerer != nil {
		registerer.MustRegister(m.open, m.last, m.seconds, m.cover, m.failures)
	}
	return m
}

func (m *breakMetrics) measured(ages map[reconciliation.Job]map[reconciliation.Age]int, last map[reconciliation.Job]time.Time) {
	for _, job := range reconciliation.Jobs() {
		for _, age := range reconciliation.Ages() {
			m.open.WithLabelValues(string(job), string(age)).Set(float64(ages[job][age]))
		}
		if at := last[job]; !at.IsZero() {
			m.last.WithLabelValues(string(job)).Set(float64(at.Unix()))
		}
	}
}
