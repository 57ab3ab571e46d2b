package faulttest_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
)

// Sizes of the kills.
const (
	kills        = 50
	someKills    = 10 // on SQLite and PostgreSQL, where go test has little time
	fewKills     = 4  // on CockroachDB then
	killCallers  = 16
	maxAnswers   = 80   // before a kill
	maxCommits   = 10   // before a kill at a commit
	maxHeartbeat = 40   // between an answer and the kill
	maxWatched   = 4000 // heartbeats until a commit is seen in SQLite's log
)

// TestKillUnderLoad is the line "kill -9 of a process under load, 50 times".
func TestKillUnderLoad(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		n := kills
		switch {
		case everything():
		case db.Engine() == sqldb.CockroachDB:
			n = fewKills
		default:
			n = someKills
		}
		k := &killer{witness: newWitness(newStage(t, db)), random: seeded(t, 1), rawURL: db.String()}
		if db.Engine() != sqldb.SQLite {
			k.proxy = sqltest.NewProxy(t, db.String())
			k.rawURL = k.proxy.URL()
		}
		doubtful, carriedOut := 0, 0
		for round := range n {
			p := startWorker(t, k.rawURL, 0)
			// What the last one left in doubt, its successor finds out.
			carriedOut += k.settle(p, k.proxy == nil)
			k.kill(p, round)
			doubtful += len(k.doubtful)
			k.checkAcknowledged()
		}
		p := startWorker(t, k.rawURL, 0)
		carriedOut += k.settle(p, k.proxy == nil)
		p.stop()
		k.checkBook()
		t.Logf("%d kills left %d transfers, of which %d were in doubt and %d of those had been carried out", n, len(k.acknowledged), doubtful, carriedOut)
		if doubtful == 0 {
			t.Error("no kill left anything in doubt: there was no load")
		}
		if k.proxy != nil && (carriedOut == 0 || carriedOut == doubtful) {
			t.Errorf("%d of %d requests in doubt had been carried out; the kills at commits must leave some of both", carriedOut, doubtful)
		}
	})
}

// killer kills workers under load, at moments that it counts.
type killer struct {
	*witness
	random *rand.Rand
	rawURL string
	proxy  *sqltest.Proxy // before a server; nil on SQLite
}

// kill lets load loose on a worker and kills it: in every other round a random
// number of heartbeats after a random answer, otherwise at a commit.
func (k *killer) kill(p *worker, round int) {
	kill := func() { k.killBetweenAnswers(p, "") }
	switch {
	case round%2 == 1 && k.proxy != nil:
		fault := [...]sqltest.Fault{sqltest.CutAfter, sqltest.CutBefore, sqltest.CutSent}[round/2%3]
		kill = k.killAtCommit(p, fault)
	case round%2 == 1:
		kill = func() { k.killBetweenAnswers(p, strings.TrimPrefix(k.rawURL, "sqlite:")+"-wal") }
	}
	var load sync.WaitGroup
	load.Go(func() { k.load(p, fmt.Sprintf("kill:%d", round), killCallers, maxAnswers) })
	kill()
	load.Wait()
}

// killBetweenAnswers waits for a number of answers and then of heartbeats, each of
// which takes a small part of a commit. With a logFile it waits until the size of
// that changes instead: a commit has been written, and is not yet acknowledged.
func (k *killer) killBetweenAnswers(p *worker, logFile string) {
	reached, heartbeats := p.after(1+k.random.IntN(maxAnswers)), 1+k.random.IntN(maxHeartbeat)
	select {
	case <-reached:
	case <-time.After(patience):
		k.t.Errorf("no answers within %s", patience)
	}
	if logFile != "" {
		heartbeats = maxWatched
	}
	before := sizeOf(logFile)
	for range heartbeats {
		if _, ok := p.do(order{}); !ok {
			k.t.Error("the worker ended by itself")
		}
		if sizeOf(logFile) != before {
			break
		}
	}
	p.kill()
}

func sizeOf(file string) int64 {
	info, err := os.Stat(file)
	if err != nil {
		return 0 // there is none
	}
	return info.Size()
}

// killAtCommit has the proxy kill the worker before, while or after the server
// hears of a commit.
func (k *killer) killAtCommit(p *worker, f sqltest.Fault) (wait func()) {
	commits := 1 + k.random.IntN(maxCommits)
	killed := make(chan struct{})
	k.proxy.OnStrike(func(sqltest.Fault) {
		p.kill()
		close(killed)
	})
	k.proxy.Decide(func(statement string) sqltest.Fault {
		if sqltest.IsCommit(statement) {
			commits--
		}
		if commits == 0 {
			commits--
			return f
		}
		return sqltest.Pass
	})
	return func() {
		select {
		case <-killed:
		case <-time.After(patience):
			k.t.Errorf("no commit within %s", patience)
			p.kill()
		}
		k.proxy.Decide(nil)
		k.proxy.OnStrike(nil)
	}
}
