package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tweetledger/adapters/twitter"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// heldLease is a lease that a process takes, keeps while it works, and gives back.
type heldLease struct {
	book         *engine.Engine
	name, holder string
	term         time.Duration // 0: leaseTerm
	lease        engine.Lease
}

// leaseTerm is how long a job stands still when its process dies: longer than any
// round of the sealer takes, short enough that nobody notices.
const leaseTerm = 30 * time.Second

// hold takes the lease, or extends it once half of its term is over. It reports
// false, with who has it, where another process does.
func (h *heldLease) hold(ctx context.Context) (engine.Lease, bool, error) {
	term := h.term
	if term == 0 {
		term = leaseTerm
	}
	if h.lease.Token > 0 && h.book.Now().Before(h.lease.ExpiresAt.Add(-term/2)) {
		return h.lease, true, nil
	}
	lease, got, err := h.book.AcquireLease(ctx, h.name, h.holder, term)
	if err != nil || !got {
		h.lease = engine.Lease{}
		return lease, false, err
	}
	h.lease = lease
	return lease, true, nil
}

// lose forgets a lease that another process may have taken.
func (h *heldLease) lose() { h.lease = engine.Lease{} }

// releaseTimeout bounds the giving back of a lease by a process that ends; it
// expires anyway.
const releaseTimeout = 5 * time.Second

func (h *heldLease) release(ctx context.Context) error {
	if h.lease.Token == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	lease := h.lease
	h.lose()
	return h.book.ReleaseLease(ctx, lease)
}

// jobs are what one process of several does for the book.
type jobs struct {
	service  *payments.Service
	book     *engine.Engine
	settings settings
	key      ed25519.PrivateKey // nil: heads are not announced
	log      *slog.Logger
	metrics  *jobMetrics

	reconciler *reconciler // nil: the book is not reconciled
	breaks     *breakMetrics

	sealer, announcer, verifier, reconcilerLease *heldLease
	payouts                                      *payoutJob // nil: batches are only made by hand
}

// The names of the leases beside engine.SealerLease.
const (
	announcerLease = "announcer"
	verifierLease  = "verifier"
)

// verifierTerm is the longest term of a lease: what verify reads in one go at the
// end may take long, and a day's run that its process left is begun again in time.
const verifierTerm = time.Hour

// Bounds of the intervals of the configuration: more often would be no news to
// anybody, and a book that is verified without end.
const shortestInterval = time.Minute

func newJobs(service *payments.Service, s settings, registerer prometheus.Registerer, log *slog.Logger) (*jobs, error) {
	book, me := service.Engine(), holder()
	j := &jobs{service: service, book: book, settings: s, log: log, metrics: newJobMetrics(registerer), breaks: newBreakMetrics(registerer),
		sealer:    &heldLease{book: book, name: engine.SealerLease, holder: me},
		announcer: &heldLease{book: book, name: announcerLease, holder: me},
		verifier:  &heldLease{book: book, name: verifierLease, holder: me, term: verifierTerm},

		reconcilerLease: &heldLease{book: book, name: reconcilerLease, holder: me, term: verifierTerm}}
	if err := checkReconcile(s.Reconcile); err != nil {
		return nil, err
	}
	if interval := time.Duration(s.Verify.Interval); interval != 0 && interval < shortestInterval {
		return nil, ledger.Errorf(ledger.CodeInvalid, "the book is verified at most once a minute, not every %s; \"0\" for never", interval).InField("verify.interval")
	}
	var err error
	if j.payouts, err = newPayoutJob(book, s, me, log); err != nil {
		return nil, err
	}
	if !s.Seal.Publish {
		return j, nil
	}
	if interval := time.Duration(s.Seal.Interval); interval < shortestInterval {
		return nil, ledger.Errorf(ledger.CodeInvalid, "heads are announced at most once a minute, not every %s", interval).InField("seal.interval")
	}
	key, err := s.signingKey("")
	if err != nil {
		return nil, fmt.Errorf("seal.publish: %w", err)
	}
	j.key = key
	return j, nil
}

// seal does one round of the sealer where something waits, and asks for the next
// one at once where more does.
func (j *jobs) seal(ctx context.Context) (int, error) {
	var waiting int64
	err := j.book.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		waiting, _, err = engine.Unsealed(ctx, tx, 1)
		return err
	})
	if err != nil || waiting == 0 {
		return 0, err
	}
	lease, got, err := j.sealer.hold(ctx)
	if err != nil || !got {
		return 0, err
	}
	sealed, err := j.book.Seal(ctx, lease)
	switch {
	case ledger.CodeOf(err) == ledger.CodeConflict:
		j.sealer.lose()
		j.log.InfoContext(ctx, "another process has taken the sealer's lease")
		return 0, nil
	case err != nil:
		return 0, err
	case sealed.More:
		return workBatch, nil
	}
	return 0, nil
}

// due reports whether a job of an interval is to be done, and takes its lease.
func (j *jobs) due(ctx context.Context, h *heldLease, interval time.Duration) (engine.Lease, bool, error) {
	isDue := func() (bool, error) {
		var last time.Time
		err := j.book.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			var err error
			last, err = engine.DoneAt(ctx, tx, h.name)
			return err
		})
		return j.book.Now().Sub(last) >= interval, err
	}
	if ok, err := isDue(); err != nil || !ok {
		return engine.Lease{}, false, err
	}
	lease, got, err := h.hold(ctx)
	if err != nil || !got {
		return engine.Lease{}, false, err
	}
	ok, err := isDue() // or another process has done it just now
	return lease, ok, err
}

// announce puts the heads into the outbox when seal.interval is over. While an
// announcement waits to be sent, another one behind it would be news too late.
func (j *jobs) announce(ctx context.Context) (_ int, err error) {
	lease, ok, err := j.due(ctx, j.announcer, time.Duration(j.settings.Seal.Interval))
	defer func() { err = firstOf(err, j.announcer.release(ctx)) }()
	if err != nil || !ok {
		return 0, err
	}
	err = j.book.DB().WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		waiting, err := payments.AnnouncementWaits(ctx, tx, twitter.Channel)
		if err != nil || waiting {
			return err
		}
		signed, err := j.book.SignHeads(ctx, tx, j.settings.Seal.Book, j.key)
		if ledger.CodeOf(err) == ledger.CodeNotFound {
			return nil // nothing is sealed yet
		}
		if err != nil {
			return err
		}
		if _, _, err := j.service.Announce(ctx, tx, twitter.Channel, signed.Heads); err != nil {
			return err
		}
		return lease.Done(ctx, tx, j.book.Now())
	})
	return 0, err
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// mostLogged bounds the differences that one run of verify writes to the log.
const mostLogged = 20

// verify verifies the book when verify.interval is over.
func (j *jobs) verify(ctx context.Context) (_ int, err error) {
	lease, ok, err := j.due(ctx, j.verifier, time.Duration(j.settings.Verify.Interval))
	defer func() { err = firstOf(err, j.verifier.release(ctx)) }()
	if err != nil || !ok {
		return 0, err
	}
	began := j.book.Now()
	report, err := j.book.VerifyBook(ctx, engine.VerifyOptions{Save: func(engine.Checkpoint) error {
		_, got, err := j.verifier.hold(ctx)
		if err == nil && !got {
			err = ledger.Errorf(ledger.CodeConflict, "another process verifies the book now")
		}
		return err
	}})
	if err != nil {
		return 0, err
	}
	differences := int64(len(report.Differences)) + report.More
	j.metrics.verified(j.book.Now().Sub(began), report.Postings, differences)
	for _, d := range report.Differences[:min(len(report.Differences), mostLogged)] {
		j.log.ErrorContext(ctx, "the book does not verify", "difference", d.String())
	}
	j.log.InfoContext(ctx, "the book was verified", "postings", report.Postings, "differences", differences)
	return 0, j.book.DB().WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return lease.Done(ctx, tx, j.book.Now())
	})
}

// measure tells how far the sealer is, and when the book was last verified.
func (j *jobs) measure(ctx context.Context) (int, error) {
	var verified time.Time
	heads, waiting, since, err := sealState(ctx, j.book)
	if err == nil {
		err = j.book.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			var err error
			verified, err = engine.DoneAt(ctx, tx, verifierLease)
			return err
		})
	}
	if err != nil {
		return 0, err
	}
	j.metrics.measured(heads, waiting, since, verified, j.book.Now())
	return 0, nil
}

// release gives back what the process holds when it ends.
func (j *jobs) release(ctx context.Context) {
	leases := []*heldLease{j.sealer, j.announcer, j.verifier, j.reconcilerLease}
	if j.payouts != nil {
		leases = append(leases, j.payouts.lease)
	}
	for _, h := range leases {
		if err := h.release(ctx); err != nil {
			j.log.WarnContext(ctx, "a lease was not given back; it expires", "lease", h.name, "err", err)
		}
	}
}
