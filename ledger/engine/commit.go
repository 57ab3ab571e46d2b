package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Bounds of group commit.
const (
	// maxBatchPostings bounds the postings of one database transaction: past a
	// few thousand rows the cost a row no longer falls, and everyone waits longer.
	maxBatchPostings = 2000
	// maxBulkPostings bounds those of one database transaction of Submit, whose
	// callers have asked for throughput.
	maxBulkPostings = sqldb.MaxRowsPerStatement
	// maxQueue bounds the requests that wait for the next batch; more callers
	// than that wait to get into the queue.
	maxQueue = 4096
	// batchTimeout bounds one batch with all its retries.
	batchTimeout = 30 * time.Second
)

// Outcome is what became of a request: a Transaction (PostRequest,
// PostHoldRequest, ReverseRequest), a Hold (HoldRequest, VoidHoldRequest), or Err.
type Outcome struct {
	Transaction ledger.Transaction
	Hold        ledger.Hold
	// Replayed says that the request was carried out before, under the same key.
	Replayed bool
	Err      error
}

// call is a request that waits for its outcome.
type call struct {
	request ledger.Request
	outcome chan Outcome // room for one, so that the loop never waits for a caller
}

// submit puts a request into the next batch and waits for its outcome.
func (e *Engine) submit(ctx context.Context, r ledger.Request) Outcome {
	if err := r.Validate(); err != nil {
		return Outcome{Err: err}
	}
	c := &call{request: r, outcome: make(chan Outcome, 1)}
	select {
	case <-e.closing:
		return Outcome{Err: errClosed()}
	default:
	}
	select {
	case e.queue <- c:
	case <-e.closing:
		return Outcome{Err: errClosed()}
	case <-ctx.Done():
		return Outcome{Err: errInterrupted(ctx)}
	}
	select {
	case out := <-c.outcome:
		return out
	case <-ctx.Done():
		return c.outcomeOr(errInterrupted(ctx))
	case <-e.done:
		return c.outcomeOr(errClosed())
	}
}

// outcomeOr returns the outcome if it is there already.
func (c *call) outcomeOr(err error) Outcome {
	select {
	case out := <-c.outcome:
		return out
	default:
		return Outcome{Err: err}
	}
}

func errClosed() error {
	return ledger.Errorf(ledger.CodeUnavailable, "the ledger is shutting down; repeat the request with the same key")
}

func errInterrupted(ctx context.Context) error {
	return ledger.Errorf(ledger.CodeUnavailable,
		"gave up waiting for the ledger, so whether the request was carried out is unknown; repeat it with the same key: %w",
		context.Cause(ctx))
}

// commitLoop collects the requests that wait and commits them together. A
// request that finds the loop idle is committed at once: batches form only while
// the one before is being committed, so nobody waits for company.
func (e *Engine) commitLoop() {
	defer close(e.done)
	for {
		var first *call
		select {
		case first = <-e.queue:
		case <-e.closing:
			select { // finish what was accepted
			case first = <-e.queue:
			default:
				return
			}
		}
		batch := []*call{first}
		for size := weight(first.request); size < maxBatchPostings; {
			select {
			case c := <-e.queue:
				batch = append(batch, c)
				size += weight(c.request)
				continue
			default:
			}
			break
		}
		e.commitBatch(batch)
	}
}

// weight is how many postings a request makes, as far as one can tell beforehand.
func weight(r ledger.Request) int {
	if post, ok := r.(ledger.PostRequest); ok {
		return len(post.Postings)
	}
	return 1
}

func (e *Engine) commitBatch(batch []*call) {
	ctx, cancel := context.WithTimeout(context.Background(), batchTimeout)
	defer cancel()
	requests := make([]ledger.Request, len(batch))
	for i, c := range batch {
		requests[i] = c.request
	}
	start := e.clock()
	outcomes, err := e.commit(ctx, requests)
	e.metrics.batch(len(batch), e.clock().Sub(start))
	if err != nil && len(batch) > 1 && refusedBySchema(err) {
		// The database refused what the engine had judged to be right. One request
		// is to blame; the others must not suffer for it.
		e.log.Warn("the database refused a batch; committing its requests one by one", "requests", len(batch), "err", err)
		for _, c := range batch {
			e.commitBatch([]*call{c})
		}
		return
	}
	for i, c := range batch {
		out := Outcome{Err: err}
		if err == nil {
			out = outcomes[i]
		}
		e.metrics.outcome(out)
		c.outcome <- out
	}
}

func refusedBySchema(err error) bool {
	switch sqldb.ClassOf(err) {
	case sqldb.ClassUnique, sqldb.ClassForeignKey, sqldb.ClassCheck, sqldb.ClassOutOfRange:
		return true
	}
	return false
}

// Bounds of hope and caution.
const (
	// cautiousBatches is how many batches look before they write after one that
	// did not and had to start again: where refusals and repeats come often,
	// starting twice would cost more than it saves.
	cautiousBatches = 16
	// maxCautious bounds how often a batch that the database refuses starts again
	// cautiously: another process may have used its key or its page meanwhile.
	maxCautious = 3
)

// commit carries requests out in one database transaction. Running it again is
// harmless: what an earlier run committed is found by its keys. So an ambiguous
// commit is simply repeated.
func (e *Engine) commit(ctx context.Context, requests []ledger.Request) ([]Outcome, error) {
	if e.caution.Load() > 0 {
		e.caution.Add(-1)
	} else {
		outcomes, err := e.try(ctx, requests, hopeful)
		if !errors.Is(err, errHopeless) && !refusedBySchema(err) {
			return outcomes, asLedgerError(err)
		}
		e.caution.Store(cautiousBatches)
		e.metrics.restarted.Inc()
	}
	for n := 1; ; n++ {
		outcomes, err := e.try(ctx, requests, cautious)
		if sqldb.ClassOf(err) == sqldb.ClassUnique {
			e.skip()
		}
		if !refusedBySchema(err) || n == maxCautious {
			return outcomes, asLedgerError(err)
		}
	}
}

func (e *Engine) try(ctx context.Context, requests []ledger.Request, how mode) ([]Outcome, error) {
	var outcomes []Outcome
	err := e.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		outcomes, err = e.apply(ctx, tx, requests, how)
		return err
	})
	return outcomes, err
}

// asLedgerError gives a failure of the database the code that tells the caller
// what to do.
func asLedgerError(err error) error {
	if err == nil || ledger.CodeOf(err) != "" {
		return err
	}
	code := ledger.CodeUnavailable
	what := "the database did not answer; repeat the request with the same key"
	switch sqldb.ClassOf(err) {
	case sqldb.ClassOutOfRange:
		code, what = ledger.CodeOverflow, "a balance would leave the range of 64 bits"
	case sqldb.ClassFull:
		what = "the database's disk is full; make room and repeat the request with the same key"
	case sqldb.ClassUnique, sqldb.ClassForeignKey, sqldb.ClassCheck, sqldb.ClassOther:
		return fmt.Errorf("write to the book: %w", err)
	}
	return &ledger.Error{Code: code, Message: what + ": " + err.Error(), Err: err}
}

// Submit carries out up to MaxSubmit requests and returns the outcome of each, in
// order. Each stands for itself: the refusal of one does not touch the others.
// They may be spread over several database transactions, in the order given.
func (e *Engine) Submit(ctx context.Context, requests []ledger.Request) ([]Outcome, error) {
	if len(requests) > MaxSubmit {
		return nil, ledger.Errorf(ledger.CodeInvalid, "%d requests in one call; at most %d are taken", len(requests), MaxSubmit)
	}
	outcomes := make([]Outcome, len(requests))
	var chunk []ledger.Request
	var places []int
	size := 0
	flush := func() {
		if len(chunk) == 0 {
			return
		}
		for i, out := range e.submitTogether(ctx, chunk) {
			outcomes[places[i]] = out
		}
		chunk, places, size = nil, nil, 0
	}
	for i, r := range requests {
		if r == nil {
			outcomes[i] = Outcome{Err: ledger.Errorf(ledger.CodeInvalid, "there is no request at place %d", i)}
			continue
		}
		if err := r.Validate(); err != nil {
			outcomes[i] = Outcome{Err: err}
			continue
		}
		if size += weight(r); size > maxBulkPostings {
			flush()
			size = weight(r)
		}
		chunk, places = append(chunk, r), append(places, i)
	}
	flush()
	return outcomes, nil
}

// MaxSubmit bounds the requests of one call of Submit.
const MaxSubmit = 10_000

// submitTogether commits requests that were validated, one by one where the
// database refuses them together.
func (e *Engine) submitTogether(ctx context.Context, requests []ledger.Request) []Outcome {
	start := e.clock()
	outcomes, err := e.commit(ctx, requests)
	e.metrics.batch(len(requests), e.clock().Sub(start))
	if err != nil {
		outcomes = make([]Outcome, len(requests))
		if refusedBySchema(err) && len(requests) > 1 {
			e.log.Warn("the database refused a batch; committing its requests one by one", "requests", len(requests), "err", err)
			for i := range requests {
				outcomes[i] = e.submitTogether(ctx, requests[i:i+1])[0]
			}
			return outcomes
		}
		for i := range outcomes {
			outcomes[i].Err = err
		}
	}
	for _, out := range outcomes {
		e.metrics.outcome(out)
	}
	return outcomes
}
