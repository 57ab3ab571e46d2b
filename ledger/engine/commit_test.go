package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// Requests that come while a batch is being committed are committed together.
func TestRequestsThatWaitAreCommittedTogether(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		unblock := w.block(w.marie)
		first := w.occupy(w.transfer(w.cash, w.marie, 10_000))
		var waiting []<-chan result
		for range 20 { // 20 times 6.00 from 100.00: four are too many
			waiting = append(waiting, w.start(w.ctx, w.transfer(w.marie, w.yoann, 600)))
		}
		w.await("all requests to wait", func() bool { return w.Queued() == len(waiting) })
		unblock()
		if r := w.receive(first); r.err != nil {
			t.Fatal(r.err)
		}
		refused := 0
		for _, done := range waiting {
			switch r := w.receive(done); {
			case ledger.CodeOf(r.err) == ledger.CodeInsufficientFunds:
				refused++
			case r.err != nil:
				t.Error(r.err)
			}
		}
		if refused != 4 {
			t.Errorf("%d requests were refused, want 4", refused)
		}
		if batches, requests := w.batches(); batches != 2 || requests != 21 {
			t.Errorf("%d requests in %d batches, want 21 in 2", requests, batches)
		}
		w.wantBalance(w.marie, 400, 400)
		w.verify()
	})
}

// A caller that gives up learns that nothing is certain, and finds out with the
// same key.
func TestCallerGivesUp(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		unblock := w.block(w.marie)
		first := w.occupy(w.transfer(w.cash, w.marie, 1000))
		ctx, cancel := context.WithCancelCause(w.ctx)
		r := w.transfer(w.cash, w.marie, 1)
		waiting := w.start(ctx, r)
		w.await("the request to wait", func() bool { return w.Queued() == 1 })
		wentHome := errors.New("the caller went home")
		cancel(wentHome)
		got := w.receive(waiting)
		if ledger.CodeOf(got.err) != ledger.CodeUnavailable || !errors.Is(got.err, wentHome) {
			t.Errorf("got %v", got.err)
		}
		unblock()
		if r := w.receive(first); r.err != nil {
			t.Error(r.err)
		}
		if again := w.mustPost(r); again.ID != ledger.IDOfKey(r.Key) {
			t.Errorf("got %+v", again)
		}
		w.wantBalance(w.marie, 1001, 1001)
		if _, err := w.Post(ctx, w.transfer(w.cash, w.marie, 1)); err != nil && ledger.CodeOf(err) != ledger.CodeUnavailable {
			t.Errorf("a request that comes cancelled: %v", err)
		}
		w.verify()
	})
}

func TestQueueIsBounded(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	unblock := w.block(w.payee)
	first := w.occupy(w.transfer(w.cash, w.payee, 1))
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	var waiting []<-chan result
	for range engine.MaxQueue {
		waiting = append(waiting, w.start(w.ctx, w.transfer(w.cash, w.payee, 1)))
	}
	w.await("the queue to be full", func() bool { return w.Queued() == engine.MaxQueue })
	tooMany := w.transfer(w.cash, w.payee, 1)
	outside := w.start(ctx, tooMany)
	cancel()
	if r := w.receive(outside); ledger.CodeOf(r.err) != ledger.CodeUnavailable || !errors.Is(r.err, context.Canceled) {
		t.Errorf("got %v", r.err)
	}
	unblock()
	for _, done := range append(waiting, first) {
		if r := w.receive(done); r.err != nil {
			t.Fatal(r.err)
		}
	}
	w.wantBalance(w.payee, engine.MaxQueue+1, engine.MaxQueue+1)
	if batches, _ := w.batches(); batches != 1+engine.MaxQueue/engine.MaxBatchPostings+1 {
		t.Errorf("%d batches", batches)
	}
	w.verify()
}

func TestCloseFinishesWhatWasAccepted(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		unblock := w.block(w.marie)
		waiting := []<-chan result{w.occupy(w.transfer(w.cash, w.marie, 100))}
		for range 10 {
			waiting = append(waiting, w.start(w.ctx, w.transfer(w.cash, w.marie, 100)))
		}
		w.await("all requests to wait", func() bool { return w.Queued() == 10 })
		closed := make(chan struct{})
		go func() {
			w.Close()
			close(closed)
		}()
		<-w.Closing()
		if _, err := w.Post(w.ctx, w.transfer(w.cash, w.marie, 1)); ledger.CodeOf(err) != ledger.CodeUnavailable {
			t.Errorf("a request to an engine that is closing: %v", err)
		}
		select {
		case <-closed:
			t.Error("Close did not wait for the requests that were accepted")
		default:
		}
		unblock()
		for _, done := range waiting {
			if r := w.receive(done); r.err != nil {
				t.Error(r.err)
			}
		}
		<-closed
		w.Close() // may be called again
		if _, err := w.Hold(w.ctx, w.holdOf(w.marie, w.yoann, 1)); ledger.CodeOf(err) != ledger.CodeUnavailable {
			t.Errorf("a request to a closed engine: %v", err)
		}
		w.wantBalance(w.marie, 1100, 1100)
		w.verify()
	})
}

// Callers that race with Close are told the truth: who got an answer is in the
// book, who was turned away is not.
func TestCloseUnderLoad(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	const callers = 8
	var mu sync.Mutex
	var done sync.WaitGroup
	posted := ledger.Amount(0)
	started := make(chan struct{}, callers)
	for i := range callers {
		done.Go(func() {
			for j := 0; ; j++ {
				r := w.transfer(w.cash, w.payee, 1)
				r.Key = fmt.Sprintf("load:%d:%d", i, j)
				_, err := w.Post(w.ctx, r)
				if err != nil {
					if ledger.CodeOf(err) != ledger.CodeUnavailable {
						t.Errorf("caller %d: %v", i, err)
					}
					return
				}
				mu.Lock()
				posted++
				mu.Unlock()
				if j == 3 {
					started <- struct{}{}
				}
			}
		})
	}
	for range callers {
		<-started
	}
	w.Close()
	done.Wait()
	w.wantBalance(w.payee, posted, posted)
	w.verify()
}

// The database is the last judge. Where it refuses one request of a batch, which
// takes a book that was tampered with, the others are committed all the same.
func TestOneRequestIsRefusedByTheDatabase(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		// A bound that only the row in the database knows of.
		if db.Engine() == sqldb.SQLite {
			w.mustExec("DROP TRIGGER balances_fixed")
		}
		w.mustExec("UPDATE balances SET max_balance = 500 WHERE " + w.ofAccount(w.bank))
		unblock := w.block(w.marie)
		waiting := []<-chan result{w.occupy(w.transfer(w.cash, w.marie, 1000))}
		for range 5 {
			waiting = append(waiting, w.start(w.ctx, w.transfer(w.cash, w.marie, 10)))
		}
		bad := w.start(w.ctx, w.transfer(w.bank, w.marie, 501))
		for range 5 {
			waiting = append(waiting, w.start(w.ctx, w.transfer(w.marie, w.yoann, 20)))
		}
		w.await("all requests to wait", func() bool { return w.Queued() == 11 })
		unblock()
		for _, done := range waiting {
			if r := w.receive(done); r.err != nil {
				t.Error(r.err)
			}
		}
		if r := w.receive(bad); r.err == nil || ledger.CodeOf(r.err) != "" || sqldb.ClassOf(r.err) != sqldb.ClassCheck {
			t.Errorf("the bad request got %v", r.err)
		}
		w.wantBalance(w.marie, 950, 950)
		w.wantBalance(w.bank, 0, 0)

		outcomes, err := w.Submit(w.ctx, []ledger.Request{w.transfer(w.cash, w.marie, 1), w.transfer(w.bank, w.marie, 501), w.transfer(w.bank, w.marie, 500)})
		if err != nil || outcomes[0].Err != nil || sqldb.ClassOf(outcomes[1].Err) != sqldb.ClassCheck || outcomes[2].Err != nil {
			t.Errorf("Submit: %+v, %v", outcomes, err)
		}
		w.wantBalance(w.marie, 1451, 1451)
		w.mustExec("UPDATE balances SET max_balance = NULL WHERE " + w.ofAccount(w.bank))
		w.verify()
	})
}

// The balance of an account without bounds is not loaded, so the database tells
// when it leaves 64 bits; it does so to one request, not to a batch.
func TestOverflowIsToldToOneRequest(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.mustPost(w.transfer(w.cash, w.bank, 1<<62))
		outcomes, err := w.Submit(w.ctx, []ledger.Request{w.transfer(w.cash, w.bank, 1), w.transfer(w.cash, w.bank, 1<<62), w.transfer(w.cash, w.bank, 2)})
		if err != nil || outcomes[0].Err != nil || outcomes[2].Err != nil {
			t.Fatalf("%+v, %v", outcomes, err)
		}
		if ledger.CodeOf(outcomes[1].Err) != ledger.CodeOverflow {
			t.Errorf("got %v, want overflow", outcomes[1].Err)
		}
		w.wantBalance(w.cash, 1<<62+3, 1<<62+3)
		w.verify()
	})
}

func TestSubmit(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		fund := w.transfer(w.cash, w.marie, 1000)
		held := w.holdOf(w.marie, w.yoann, 300)
		holdID := ledger.IDOfKey(held.Key)
		invalid := w.transfer(w.cash, w.marie, 1)
		invalid.Label = ""
		changed := fund
		changed.Label = "Other"
		again := fund
		spend, pointer := w.transfer(w.marie, w.payee, 700), w.transfer(w.cash, w.marie, 1)
		partly := ledger.PostHoldRequest{Key: w.key(), HoldID: holdID, Amount: 100, Journal: "VIR", Label: "Part"}
		void := ledger.VoidHoldRequest{Key: w.key(), HoldID: holdID}
		back := ledger.ReverseRequest{Key: w.key(), TransactionID: ledger.IDOfKey(spend.Key), Label: "Back"}
		backAgain := back
		backAgain.Key = w.key()
		steps := []struct {
			r    ledger.Request
			want ledger.Code
		}{
			{fund, ""}, {invalid, ledger.CodeInvalid}, {held, ""}, {w.transfer(w.marie, w.payee, 240_000), ledger.CodeInsufficientFunds},
			{spend, ""}, {again, ""}, {changed, ledger.CodeConflict}, {partly, ""}, {void, ""},
			{ledger.PostHoldRequest{Key: w.key(), HoldID: holdID, Journal: "VIR", Label: "Late"}, ledger.CodeHoldClosed},
			{back, ""}, {backAgain, ledger.CodeAlreadyReversed}, {nil, ledger.CodeInvalid},
			{ledger.VoidHoldRequest{Key: w.key(), HoldID: uuid.New()}, ledger.CodeNotFound},
			{&pointer, ledger.CodeInvalid}, // a pointer is none of the kinds
		}
		requests := make([]ledger.Request, len(steps))
		for i, s := range steps {
			requests[i] = s.r
		}
		for round := range 2 { // the second time, all that was done is replayed
			outcomes, err := w.Submit(w.ctx, requests)
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range steps {
				if got := ledger.CodeOf(outcomes[i].Err); got != s.want {
					t.Errorf("round %d: %T %d: got %v, want %q", round, s.r, i, outcomes[i].Err, s.want)
				}
				if s.want == "" && outcomes[i].Replayed != (round == 1 || i == 5) {
					t.Errorf("round %d: %T %d: replayed is %t", round, s.r, i, outcomes[i].Replayed)
				}
				if s.want == "" && (outcomes[i].Transaction.ID == uuid.Nil) == (outcomes[i].Hold.ID == uuid.Nil) {
					t.Errorf("round %d: %T %d: answered with %+v", round, s.r, i, outcomes[i])
				}
			}
			w.wantBalance(w.marie, 900, 900)
			w.wantBalance(w.yoann, 100, 100)
		}
		if done, replayed := w.counted("done"), w.counted("replayed"); done != 6 || replayed != 8 {
			t.Errorf("%d done and %d replayed were counted, want 6 and 8", done, replayed)
		}
		w.verify()
	})
}

func TestSubmitIsSplitIntoBatches(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		var requests []ledger.Request
		for range engine.MaxBulkPostings - 500 {
			requests = append(requests, w.transfer(w.cash, w.payee, 1))
		}
		large := w.transfer(w.cash, w.payee, 1) // does not fit behind them
		for range ledger.MaxPostings - 1 {
			large.Postings = append(large.Postings, large.Postings[0])
		}
		largest := large
		largest.Key = w.key()
		requests = append(requests, large, largest)
		outcomes, err := w.Submit(w.ctx, requests)
		if err != nil {
			t.Fatal(err)
		}
		for i, out := range outcomes {
			if out.Err != nil || out.Transaction.Key != requests[i].IdempotencyKey() {
				t.Fatalf("request %d: %v, answered with %s", i, out.Err, out.Transaction.Key)
			}
		}
		if batches, count := w.batches(); batches != 2 || count != int64(len(requests)) {
			t.Errorf("%d requests in %d batches, want %d in 2", count, batches, len(requests))
		}
		want := ledger.Amount(engine.MaxBulkPostings - 500 + 2*ledger.MaxPostings)
		w.wantBalance(w.payee, want, want)
		w.verify()
	})
}

func TestSubmitIsBounded(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	if outcomes, err := w.Submit(w.ctx, nil); err != nil || len(outcomes) != 0 {
		t.Errorf("nothing: %v, %v", outcomes, err)
	}
	if _, err := w.Submit(w.ctx, make([]ledger.Request, engine.MaxSubmit+1)); ledger.CodeOf(err) != ledger.CodeInvalid {
		t.Errorf("too many: %v", err)
	}
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	outcomes, err := w.Submit(ctx, []ledger.Request{w.transfer(w.cash, w.payee, 1)})
	if err != nil || ledger.CodeOf(outcomes[0].Err) != ledger.CodeUnavailable {
		t.Errorf("cancelled: %+v, %v", outcomes, err)
	}
	w.wantBalance(w.payee, 0, 0)
}
