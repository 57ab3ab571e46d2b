package faulttest_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

// Sizes of the tests of a full disk.
const (
	pagesLeft  = 20      // of a database with a size limit
	diskSize   = "10m"   // of the small disk; an empty book takes some of it
	ballastLen = 4 << 20 // bytes of it that are given back later
	logPages   = 100     // of SQLite's log there, which could fill the disk alone
	maxFill    = 500     // calls until the disk must be full
	fillBulk   = 100     // transfers in every other one of them
	fullTries  = 5       // of requests that have failed, while it is full
)

// TestDiskFullBySizeLimit is the line "the disk full (SQLite on a small tmpfs or a
// size limit): clean error, clean book", by a limit that SQLite itself keeps.
func TestDiskFullBySizeLimit(t *testing.T) {
	db := sqltest.SQLite(t)
	w := newWitness(newStage(t, db))
	var pages int64
	if err := db.Pool().QueryRowContext(w.ctx, "PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	limit := func(pages int64) {
		t.Helper()
		var got int64 // the limit is one of the writer's connection
		if err := db.Pool().QueryRowContext(w.ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages)).Scan(&got); err != nil || got != pages {
			t.Fatalf("the limit is %d pages, %v; want %d", got, err, pages)
		}
	}
	limit(pages + pagesLeft)
	w.fillDisk(func() { limit(pages + 100*pagesLeft) })
}

// TestDiskFull fills a small disk.
func TestDiskFull(t *testing.T) {
	disk := smallDisk(t)
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, ballastLen), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sqldb.Open(t.Context(), "sqlite:"+filepath.Join(disk, "book.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.MigrateUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Pool().ExecContext(t.Context(), fmt.Sprintf("PRAGMA wal_autocheckpoint = %d", logPages)); err != nil {
		t.Fatal(err)
	}
	w := newWitness(newStage(t, db))
	w.fillDisk(func() {
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	})
}

// fillDisk posts until the disk is full, checks that the callers are told so and
// the book is clean, makes room, and has the same requests carried out.
func (w *witness) fillDisk(makeRoom func()) {
	w.t.Helper()
	b := local{w.ctx, w.engine}
	var refused outcome
	for i := range maxFill {
		o := order{Lookup: true}
		for j := range 1 + fillBulk*(i%2) {
			o.Requests = append(o.Requests, transfer(fmt.Sprintf("fill:%d:%d", i, j), w.cash, w.payee, 1))
		}
		outcomes, _ := b.do(o)
		for j, out := range outcomes {
			if out.accepted() {
				w.acknowledge(o.Requests[j].IdempotencyKey(), out.Transaction)
			} else {
				refused = out
				w.doubtful[o.Requests[j].IdempotencyKey()] = o.Requests[j].(ledger.PostRequest)
			}
		}
		if !outcomes[0].accepted() {
			break
		}
	}
	if refused.Code != ledger.CodeUnavailable || !strings.Contains(refused.Message, "disk is full") {
		w.t.Fatalf("after %d transfers: %q: %q; want it to be said that the disk is full", len(w.acknowledged), refused.Code, refused.Message)
	}
	// It stays so, and what is refused is not there in part.
	for i, key := range slices.Sorted(maps.Keys(w.doubtful)) {
		if i == fullTries {
			break
		}
		r := w.doubtful[key]
		if outcomes, _ := b.do(order{Requests: []ledger.Request{r}, Lookup: true}); outcomes[0].accepted() {
			w.acknowledge(key, outcomes[0].Transaction) // a smaller one may find room still
		} else if outcomes[0].Code != ledger.CodeUnavailable {
			w.t.Errorf("on a full disk: %+v", outcomes[0])
		}
	}
	w.checkAcknowledged()
	w.checkMoney(w.journal())
	w.verify()
	makeRoom()
	if len(w.doubtful) == 0 {
		w.t.Error("nothing was refused for good")
	}
	w.settle(b, true)
	w.load(b, "after", 4, 4)
	w.checkBook()
}

// smallDisk mounts a disk of diskSize in memory, where root can.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	mount := exec.Command("mount", "-t", "tmpfs", "-o", "size="+diskSize, "tmpfs", dir)
	if said, err := mount.CombinedOutput(); err != nil {
		why := fmt.Sprintf("faulttest: no small disk can be mounted (%v: %s): what a really full disk does is not tested; "+
			"run the tests as root on Linux", err, strings.TrimSpace(string(said)))
		fmt.Fprintln(os.Stderr, why)
		t.Skip(why)
	}
	t.Cleanup(func() {
		if said, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v: %s", dir, err, said)
		}
	})
	return dir
}
