package main

import (
	"context"
	"log/slog"
	"time"

	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// payoutJob gathers what is due by rhythm into batches, once on each business day,
// whichever of several processes does it. People approve them.
type payoutJob struct {
	book    *engine.Engine
	service *payouts.Service
	at      time.Duration // after midnight in Paris
	lease   *heldLease
	log     *slog.Logger
}

const (
	payoutLease = "payouts"
	// payoutTerm is longer than gathering a batch takes.
	payoutTerm = 10 * time.Minute
	// payoutActor is who prepares these batches: whoever approves them is another one.
	payoutActor = "tweetledger serve"
	// mostBatches bounds the batches of one day: as many payees as a batch holds, each.
	mostBatches = 100
)

// newPayoutJob returns nil where the configuration wants no such job.
func newPayoutJob(book *engine.Engine, s settings, holder string, log *slog.Logger) (*payoutJob, error) {
	if s.Payouts.PrepareAt == "" {
		return nil, nil
	}
	at, err := time.Parse("15:04", s.Payouts.PrepareAt)
	if err != nil {
		return nil, ledger.Errorf(ledger.CodeInvalid, "%q is no time of day; write it like 06:00, or \"\" for never", ledger.Clip(s.Payouts.PrepareAt)).InField("payouts.prepare_at")
	}
	service, err := payouts.New(book, s.payouts(), payouts.Options{Log: log})
	if err != nil {
		return nil, err
	}
	return &payoutJob{book: book, service: service, at: time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute,
		lease: &heldLease{book: book, name: payoutLease, holder: holder, term: payoutTerm}, log: log}, nil
}

// due reports whether a day's batches are to be made now and were not yet, last being
// when the job was last done. The hour is the one on the clock: on the day on which
// summer time begins or ends it comes once, or at once.
func (j *payoutJob) due(now, last time.Time) bool {
	paris := now.In(j.book.Location())
	hour := time.Duration(paris.Hour())*time.Hour + time.Duration(paris.Minute())*time.Minute
	today := ledger.DateIn(now, j.book.Location())
	return hour >= j.at && payouts.BusinessDay(today) && ledger.DateIn(last, j.book.Location()).Before(today)
}

func (j *payoutJob) isDue(ctx context.Context) (bool, error) {
	var last time.Time
	err := j.book.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		last, err = engine.DoneAt(ctx, tx, payoutLease)
		return err
	})
	return j.due(j.book.Now(), last), err
}

// run prepares the day's batches where they are due. A process that ends in between
// leaves the rest to the next run, which finds what is in no batch yet.
func (j *payoutJob) run(ctx context.Context) (_ int, err error) {
	if ok, err := j.isDue(ctx); err != nil || !ok {
		return 0, err
	}
	lease, got, err := j.lease.hold(ctx)
	defer func() { err = firstOf(err, j.lease.release(ctx)) }()
	if err != nil || !got {
		return 0, err
	}
	if ok, err := j.isDue(ctx); err != nil || !ok { // another process has done it just now
		return 0, err
	}
	for n := 1; ; n++ {
		more, err := j.prepare(ctx)
		if err != nil {
			return 0, err
		}
		if !more || n == mostBatches {
			break
		}
		if lease, got, err = j.lease.hold(ctx); err != nil || !got {
			return 0, err
		}
	}
	return 0, j.book.DB().WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return lease.Done(ctx, tx, j.book.Now())
	})
}

// prepare makes one batch, and reports whether there may be more to gather. What
// cannot be paid out is logged: it stays due, and is tried again on the next day.
func (j *payoutJob) prepare(ctx context.Context) (more bool, err error) {
	result, err := j.service.Prepare(ctx, payouts.PrepareRequest{ByRhythm: true, Actor: payoutActor})
	switch code := ledger.CodeOf(err); {
	case code == ledger.CodeNotFound:
		return false, nil
	case code == ledger.CodeUnavailable || (err != nil && code == ""):
		return false, err
	case err != nil:
		j.log.WarnContext(ctx, "payouts are due, and none can be prepared", "err", err)
		return false, nil
	}
	for _, refused := range result.Refused {
		j.log.WarnContext(ctx, "a payee is left out of the batch", "batch", result.Batch.Reference, "payee", refused.PayeeCode, "err", refused.Err)
	}
	j.log.InfoContext(ctx, "payouts wait for approval", "batch", result.Batch.Reference, "payouts", result.Batch.Payouts)
	return result.Left, nil
}
