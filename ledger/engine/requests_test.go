package engine_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// What was opened and used in a transaction that was rolled back was never there:
// the engine does not keep its number, which SQLite gives to the next account.
func TestAccountOfATransactionThatWasRolledBack(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		never := ledger.Account{ID: ledger.SystemAccountID("never"), Code: "never", Name: "Account for a test", Category: ledger.Suspense,
			Side: ledger.Credit, Currency: ledger.EUR, Shards: 1}
		changedMyMind := errors.New("changed my mind")
		err := db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			if _, err := w.OpenAccountTx(ctx, tx, never); err != nil {
				return err
			}
			if _, err := w.PostTx(ctx, tx, w.transfer(w.cash, never, 10)); err != nil {
				return err
			}
			return changedMyMind
		})
		if !errors.Is(err, changedMyMind) {
			t.Fatal(err)
		}
		next := w.open(ledger.Account{Code: "next", Category: ledger.Suspense, Side: ledger.Credit})
		for _, prepare := range []func(){w.Hope, w.BeCautious, w.Hope} {
			prepare()
			_, err := w.Post(w.ctx, w.transfer(w.cash, never, 777))
			w.refused("posting to it", err, ledger.CodeNotFound, "postings[0].credit")
		}
		w.wantBalance(next, 0, 0)
		// Once it is there, what is posted to it is its own.
		never = w.open(never)
		for _, prepare := range []func(){w.BeCautious, w.Hope, w.Hope} {
			prepare()
			w.mustPost(w.transfer(w.cash, never, 5))
		}
		w.wantBalance(next, 0, 0)
		w.wantBalance(never, 15, 15)
		w.verify()
	})
}

// A caller who has given up waiting may use slices and maps of the request again:
// what is posted is what was asked for.
func TestRequestIsTheCallersAgain(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		unblock := w.block(w.marie)
		first := w.occupy(w.transfer(w.cash, w.marie, 1))
		ctx, giveUp := context.WithCancel(w.ctx)
		r := w.transfer(w.cash, w.payee, 10)
		r.Metadata = map[string]string{"order": "7"}
		waiting := w.start(ctx, r)
		w.await("the request to queue", func() bool { return w.Queued() == 1 })
		giveUp()
		if got := w.receive(waiting); ledger.CodeOf(got.err) != ledger.CodeUnavailable {
			t.Fatalf("gave up: %v", got.err)
		}
		r.Postings[0].Amount = 999_999
		r.Metadata["order"] = "8"
		unblock()
		if got := w.receive(first); got.err != nil {
			t.Fatal(got.err)
		}
		w.mustPost(w.transfer(w.cash, w.payee, 1)) // behind the one that waited
		r.Postings[0].Amount = 10
		r.Metadata["order"] = "7"
		if made := w.mustPost(r); made.Postings[0].Amount != 10 || made.Metadata["order"] != "7" {
			t.Errorf("posted %+v with %v", made.Postings, made.Metadata)
		}
		w.wantBalance(w.payee, 11, 11)
		w.verify()
	})
}

// Where a call that is all or nothing is refused, what an earlier call carried out
// stands, and its caller is told so.
func TestEarlierRequestInARefusedBundle(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		done := w.transfer(w.cash, w.payee, 10)
		made := w.mustPost(done)
		outcomes, err := w.SubmitTogether(w.ctx, []ledger.Request{done, w.transfer(w.marie, w.payee, 10), w.transfer(w.cash, w.payee, 1)})
		if err != nil {
			t.Fatal(err)
		}
		if out := outcomes[0]; out.Err != nil || !out.Replayed || out.Transaction.ID != made.ID {
			t.Errorf("the earlier one: %+v", out)
		}
		if a, b := ledger.CodeOf(outcomes[1].Err), ledger.CodeOf(outcomes[2].Err); a != ledger.CodeInsufficientFunds || b != ledger.CodeAborted {
			t.Errorf("the others: %q, %q", a, b)
		}
		w.wantBalance(w.payee, 10, 10)
	})
}

// Two processes that hold under one key at once, each in a transaction of its own,
// make one hold, and both are told of it.
func TestSameHoldAtTheSameTime(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		other := w.another()
		for range 5 {
			r := w.holdOf(w.cash, w.payee, 10)
			var holding sync.WaitGroup
			for _, e := range []*engine.Engine{w.Engine, other, w.Engine, other} {
				holding.Go(func() {
					var held ledger.Hold
					err := db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
						held, err = e.HoldTx(ctx, tx, r)
						return err
					})
					if err != nil || held.ID != ledger.IDOfKey(r.Key) {
						t.Errorf("hold: %v, %v", held.ID, err)
					}
				})
			}
			holding.Wait()
		}
		if b := w.balance(w.payee); b.CreditsPending != 50 {
			t.Errorf("%d are held, want 50", b.CreditsPending)
		}
		w.verify()
	})
}

// Reversals of whole transactions do not make a batch of more postings than others do.
func TestReversalsAreSplitIntoBatches(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		var back []ledger.Request
		for range 12 {
			r := w.transfer(w.cash, w.payee, 1)
			for len(r.Postings) < ledger.MaxPostings {
				r.Postings = append(r.Postings, r.Postings[0])
			}
			back = append(back, ledger.ReverseRequest{Key: w.key(), TransactionID: w.mustPost(r).ID, Label: "Back"})
		}
		outcomes, err := w.Submit(w.ctx, back)
		if err != nil {
			t.Fatal(err)
		}
		onPage := map[int64]int{}
		for _, out := range outcomes {
			if out.Err != nil {
				t.Fatal(out.Err)
			}
			onPage[out.Transaction.Place.PageID] += len(out.Transaction.Postings)
		}
		for page, n := range onPage {
			if n > engine.MaxBulkPostings {
				t.Errorf("page %d has %d postings, more than %d", page, n, engine.MaxBulkPostings)
			}
		}
		w.wantBalance(w.payee, 0, 0)
	})
}

// Shards can come to more than 64 bits hold together. That is the fault of nobody
// else in the batch, and Verify names it.
func TestShardsThatComeToTooMuch(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		other := w.another()
		for other.Shard(w.payee.Shards) == w.Shard(w.payee.Shards) {
			other = w.another()
		}
		const most = ledger.Amount(9e18)
		w.mustPost(w.transfer(w.cash, w.payee, most))
		if _, err := other.Post(w.ctx, w.transfer(w.bank, w.payee, most)); err != nil {
			t.Fatal(err)
		}
		conditional := w.transfer(w.cash, w.marie, 5)
		conditional.Conditions = []ledger.Condition{{AccountID: w.payee.ID, Balance: new(ledger.Amount)}}
		w.BeCautious()
		outcomes, err := w.Submit(w.ctx, []ledger.Request{w.transfer(w.cash, w.marie, 1), conditional, w.transfer(w.marie, w.yoann, 1)})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []ledger.Code{"", ledger.CodeOverflow, ""} {
			if got := ledger.CodeOf(outcomes[i].Err); got != want {
				t.Errorf("request %d: %v, want %q", i, outcomes[i].Err, want)
			}
		}
		report, err := w.Verify(w.ctx, nil)
		if err != nil || report.OK() {
			t.Errorf("verify: %+v, %v", report, err)
		}
	})
}
