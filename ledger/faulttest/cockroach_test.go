package faulttest_test

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"testing"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// forcedRuns is how many runs of a transaction CockroachDB refuses with 40001.
const forcedRuns = 5

// TestForcedRetry is the line "CockroachDB: forced 40001 (crdb_internal.force_retry
// or contention)", by the function, in the caller's own transaction, when all is written. The ambiguous
// result that the line also names is TestProxyFaults's Doubt, and
// ledger/engine's TestCommitsOfUnknownFate.
func TestForcedRetry(t *testing.T) {
	db := sqltest.New(t, sqldb.CockroachDB)
	w := newWitness(newStage(t, db))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			r := transfer(fmt.Sprintf("retry:%d", i), w.cash, w.hot, ledger.Amount(1+i))
			var made ledger.Transaction
			runs := 0
			err := db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
				runs++
				var err error
				if made, err = w.engine.PostTx(ctx, tx, r); err == nil && runs <= forcedRuns {
					_, err = tx.Exec(ctx, "SELECT crdb_internal.force_retry('1h')")
				}
				return err
			})
			if err != nil || runs <= forcedRuns {
				t.Errorf("%s: %v after %d runs", r.Key, err, runs)
				return
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.acknowledge(r.Key, made)
		})
	}
	all.Wait()
	w.checkBook()
}

// TestEveryTransactionIsRetried has CockroachDB refuse the first runs of every
// transaction of the engine with 40001, by its setting for tests of clients.
func TestEveryTransactionIsRetried(t *testing.T) {
	direct := sqltest.New(t, sqldb.CockroachDB)
	w := newWitness(newStage(t, direct))
	u, err := url.Parse(direct.String())
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("inject_retry_errors_enabled", "true")
	u.RawQuery = query.Encode()
	db, err := sqldb.Open(w.ctx, u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	e := engine.New(db, engine.Options{})
	t.Cleanup(e.Close)
	w.load(local{w.ctx, e}, "injected", 8, 5)
	if got := db.Retries(); got == 0 {
		t.Error("no transaction was run again: nothing was injected")
	}
	w.settle(local{w.ctx, w.engine}, true)
	w.checkBook()
}

// Sizes of the loss of a node.
const (
	nodeCallers = 16
	beforeLoss  = 10 // calls of each caller
	afterLoss   = 10
)

// TestNodeLost is the line "three nodes with one killed under load, where the
// binary is found": what was acknowledged survives, and the load goes on.
func TestNodeLost(t *testing.T) {
	c := sqltest.NewCluster(t)
	db, err := sqldb.Open(t.Context(), c.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := newWitness(newStage(t, db))
	p := startWorker(t, c.URL(), 0)
	reached := p.after(nodeCallers * beforeLoss)
	var load sync.WaitGroup
	load.Go(func() { w.load(p, "node", nodeCallers, beforeLoss+afterLoss) })
	select {
	case <-reached:
	case <-time.After(patience):
		t.Errorf("no answers within %s", patience)
	}
	w.mu.Lock()
	before := len(w.acknowledged)
	w.mu.Unlock()
	c.Kill(0) // the one that the clients are at
	load.Wait()
	doubtful := len(w.doubtful)
	w.settle(p, false)
	w.load(p, "on two nodes", nodeCallers, 2)
	p.stop()
	w.checkBook()
	t.Logf("%d transfers were acknowledged before the loss and %d after it; %d were in doubt", before, len(w.acknowledged)-before, doubtful)
}
