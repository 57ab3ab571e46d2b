package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// call is requests that wait for their outcomes together.
type call struct {
	requests []asked
	weight   int
	outcomes chan []Outcome // room for one, so that the loop never waits for a caller
}

// submit puts a request into the next batch and waits for its outcome.
func (e *Engine) submit(ctx context.Context, r ledger.Request) Outcome {
	if err := r.Validate(); err != nil {
		return Outcome{Err: err}
	}
	return e.enqueue(ctx, []asked{ask(r)}, weight(r))[0]
}

// enqueue puts requests that were validated into the next batch and waits
// for their outcomes.
func (e *Engine) enqueue(ctx context.Context, requests []asked, weight int) []Outcome {
	c := &call{requests: requests, weight: weight, outcomes: make(chan []Outcome, 1)}
	select {
	case <-e.closing:
		return c.failed(errClosed())
	case <-ctx.Done():
		return c.failed(errInterrupted(ctx))
	default:
	}
	select {
	case e.queue <- c:
	case <-e.closing:
		return c.failed(errClosed())
	case <-ctx.Done():
		return c.failed(errInterrupted(ctx))
	}
	select {
	case out := <-c.outcomes:
		return out
	case <-ctx.Done():
		return c.outcomesOr(errInterrupted(ctx))
	case <-e.done:
		return c.outcomesOr(errClosed())
	}
}

// outcomesOr returns the outcomes if they are there already.
func (c *call) outcomesOr(err error) []Outcome {
	select {
	case out := <-c.outcomes:
		return out
	default:
		return c.failed(err)
	}
}

func (c *call) failed(err error) []Outcome {
	outcomes := make([]Outcome, len(c.requests))
	for i := range outcomes {
		outcomes[i].Err = err
	}
	return outcomes
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
	var next *call // did not fit into the batch before
	for {
		first := next
		next = nil
		if first == nil {
			select {
			case first = <-e.queue:
			case <-e.closing:
				select { // finish what was accepted
				case first = <-e.queue:
				default:
					return
				}
			}
		}
		batch := []*call{first}
		for size := first.weight; size < maxBatchPostings && next == nil; {
			select {
			case c := <-e.queue:
				if size += c.weight; size > maxBulkPostings {
					next = c
					continue
				}
				batch = append(batch, c)
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
	switch r := r.(type) {
	case ledger.PostRequest:
		return len(r.Postings)
	case ledger.ReverseRequest:
		if len(r.Postings) == 0 { // of the whole transaction, which may have as many
			return ledger.MaxPostings
		}
		return len(r.Postings)
	}
	return 1
}

// commitBatch commits the requests of calls together and tells each call what
// became of its own.
func (e *Engine) commitBatch(batch []*call) {
	ctx, cancel := context.WithTimeout(context.Background(), batchTimeout)
	defer cancel()
	requests := batch[0].requests
	if len(batch) > 1 {
		requests = nil
		for _, c := range batch {
			requests = append(requests, c.requests...)
		}
	}
	outcomes := e.commitEach(ctx, requests)
	for _, out := range outcomes {
		e.metrics.outcome(out)
	}
	for _, c := range batch {
		n := len(c.requests)
		c.outcomes <- outcomes[:n:n]
		outcomes = outcomes[n:]
	}
}

// commitEach commits requests together, or one by one where the database refuses
// what the engine had judged to be right: one request is to blame, and the others
// must not suffer for it.
func (e *Engine) commitEach(ctx context.Context, requests []asked) []Outcome {
	start := e.clock()
	outcomes, err := e.commit(ctx, requests)
	e.metrics.batch(len(requests), e.clock().Sub(start))
	if err == nil {
		return outcomes
	}
	outcomes = make([]Outcome, len(requests))
	if !refusedBySchema(err) || len(requests) == 1 {
		for i := range outcomes {
			outcomes[i].Err = err
		}
		return outcomes
	}
	e.log.Warn("the database refused a batch; committing its requests one by one", "requests", len(requests), "err", err)
	for i := range requests {
		outcomes[i] = e.commitEach(ctx, requests[i:i+1])[0]
	}
	return outcomes
}

func refusedBySchema(err error) bool {
	switch sqldb.ClassOf(err) {
	case sqldb.ClassUnique, sqldb.ClassForeignKey, sqldb.ClassCheck, sqldb.ClassOutOfRange:
		return true
	}
	return false
}

// cautiousBatches is how many batches look before they write after one that did
// not and had to start again: where refusals and repeats come often, starting
// twice would cost more than it saves.
const cautiousBatches = 16

// commit carries requests out in one database transaction. Running it again is
// harmless: what an earlier run committed is found by its keys. So an ambiguous
// commit is simply repeated.
func (e *Engine) commit(ctx context.Context, requests []asked) ([]Outcome, error) {
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
	outcomes, err := e.try(ctx, requests, cautious)
	return outcomes, asLedgerError(err)
}

func (e *Engine) try(ctx context.Context, requests []asked, how mode) ([]Outcome, error) {
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

// MaxSubmit bounds the requests of one call.
const MaxSubmit = 10_000

// checkSubmit refuses a call that is too long, and validates each request.
func checkSubmit(requests []ledger.Request) ([]Outcome, error) {
	if len(requests) > MaxSubmit {
		return nil, ledger.Errorf(ledger.CodeInvalid, "%d requests in one call; at most %d are taken", len(requests), MaxSubmit)
	}
	outcomes := make([]Outcome, len(requests))
	for i, r := range requests {
		if r == nil {
			outcomes[i].Err = ledger.Errorf(ledger.CodeInvalid, "there is no request at place %d", i)
			continue
		}
		outcomes[i].Err = r.Validate()
	}
	return outcomes, nil
}

// Submit carries out up to MaxSubmit requests and returns the outcome of each, in
// order. Each stands for itself: the refusal of one does not touch the others.
// They may be spread over several database transactions, in the order given.
func (e *Engine) Submit(ctx context.Context, requests []ledger.Request) ([]Outcome, error) {
	outcomes, err := checkSubmit(requests)
	if err != nil {
		return nil, err
	}
	var chunk []asked
	var places []int
	size := 0
	flush := func() {
		if len(chunk) == 0 {
			return
		}
		for i, out := range e.enqueue(ctx, chunk, size) {
			outcomes[places[i]] = out
		}
		chunk, places, size = nil, nil, 0
	}
	for i, r := range requests {
		if outcomes[i].Err != nil {
			continue
		}
		if size+weight(r) > maxBulkPostings {
			flush()
		}
		chunk, places, size = append(chunk, ask(r)), append(places, i), size+weight(r)
	}
	flush()
	return outcomes, nil
}

// maxTogether bounds the postings of requests that are carried out together or
// not at all.
const maxTogether = 2 * maxBulkPostings

// errOneRefused says that requests were to be carried out together, and one was refused.
var errOneRefused = errors.New("one of the requests was refused")

// SubmitTogether carries out up to MaxSubmit requests, all of them or none: where
// one is refused, its outcome says why and the others' have CodeAborted. They make
// one database transaction, of at most 20,000 postings.
func (e *Engine) SubmitTogether(ctx context.Context, requests []ledger.Request) ([]Outcome, error) {
	outcomes, err := checkTogether(requests)
	if outcomes != nil || err != nil {
		return outcomes, err
	}
	all := make([]asked, len(requests))
	for i, r := range requests {
		all[i] = ask(r)
	}
	err = e.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		outcomes, err = e.apply(ctx, tx, all, cautious)
		if err == nil && slices.ContainsFunc(outcomes, func(out Outcome) bool { return out.Err != nil }) {
			return errOneRefused
		}
		return err
	})
	if err != nil && !errors.Is(err, errOneRefused) {
		return nil, asLedgerError(err)
	}
	return abortOthers(outcomes), nil
}

// SubmitTx carries out up to MaxSubmit requests inside the caller's transaction,
// as PostTx does one, and returns the outcome of each: a refused one changed
// nothing, and the transaction can go on.
func (e *Engine) SubmitTx(ctx context.Context, tx *sqldb.Tx, requests []ledger.Request) ([]Outcome, error) {
	outcomes, err := checkSubmit(requests)
	if err != nil {
		return nil, err
	}
	var valid []asked
	var places []int
	for i, r := range requests {
		if outcomes[i].Err == nil {
			valid, places = append(valid, ask(r)), append(places, i)
		}
	}
	done, err := e.apply(ctx, tx, valid, cautious)
	if err != nil {
		return nil, err
	}
	for i, out := range done {
		outcomes[places[i]] = out
	}
	return outcomes, nil
}

// checkTogether returns outcomes where a request is refused before it is tried.
func checkTogether(requests []ledger.Request) ([]Outcome, error) {
	outcomes, err := checkSubmit(requests)
	if err != nil {
		return nil, err
	}
	size := 0
	for i, r := range requests {
		if outcomes[i].Err != nil {
			return abortOthers(outcomes), nil
		}
		size += weight(r)
	}
	if size > maxTogether {
		return nil, ledger.Errorf(ledger.CodeInvalid, "the requests have %d postings; at most %d are carried out together", size, maxTogether)
	}
	return nil, nil
}

// abortOthers gives the outcomes of requests that were right, where another was
// refused, the error that says so. What was carried out by an earlier call stands.
func abortOthers(outcomes []Outcome) []Outcome {
	refused := slices.IndexFunc(outcomes, func(out Outcome) bool { return out.Err != nil })
	if refused < 0 {
		return outcomes
	}
	for i := range outcomes {
		if outcomes[i].Err == nil && !outcomes[i].Replayed {
			outcomes[i] = Outcome{Err: ledger.Errorf(ledger.CodeAborted, "not carried out by this call, because request %d of it was refused", refused)}
		}
	}
	return outcomes
}
