package faulttest_test

import (
	"fmt"
	"sync"
	"testing"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger/engine"
)

// faults are those that a storm behind a proxy meets. Silence is not among them:
// how long a silent server is waited for is the caller's affair.
var faults = [...]sqltest.Fault{sqltest.CutBefore, sqltest.CutDuring, sqltest.CutSent, sqltest.CutAfter,
	sqltest.HalfCloseServer, sqltest.HalfCloseClient, sqltest.Doubt, sqltest.Delay}

// Sizes of the storm.
const (
	proxyCallers = 8
	manyStrikes  = 10 // of each fault
	fewStrikes   = 2
	// oneIn is how many statements there are to a fault.
	oneInCommits = 2
	oneInOthers  = 40
	maxStorms    = 200 // after which a fault that has not struck never will
)

// TestProxyFaults is the line "a proxy on 127.0.0.1 between engine and database
// that cuts connections before, during and after COMMIT, delays and half-closes
// them".
func TestProxyFaults(t *testing.T) {
	for _, kind := range []sqldb.Engine{sqldb.PostgreSQL, sqldb.CockroachDB} {
		t.Run(string(kind), func(t *testing.T) {
			direct := sqltest.New(t, kind)
			w := newWitness(newStage(t, direct))
			p, db := sqltest.ThroughProxy(t, direct.String())
			e := engine.New(db, engine.Options{})
			t.Cleanup(e.Close)
			b := local{w.ctx, e}
			schedule(t, p)
			strikes := fewStrikes
			if everything() {
				strikes = manyStrikes
			}
			storm := 0
			for ; storm < maxStorms && !struck(p, strikes); storm++ {
				w.load(b, fmt.Sprintf("proxy:%d", storm), proxyCallers, 4)
				w.settle(b, false)
				if storm%5 == 4 {
					p.SetDown(true)
					p.SetDown(false)
				}
			}
			p.Decide(nil)
			w.settle(b, false)
			w.checkBook()
			counts := ""
			for _, f := range faults {
				counts += fmt.Sprintf(", %s %d", f, p.Count(f))
				if p.Count(f) < strikes {
					t.Errorf("%s struck %d times in %d storms, want %d", f, p.Count(f), storm, strikes)
				}
			}
			t.Logf("%d transfers; %d attempts were repeated%s", len(w.acknowledged), db.Retries(), counts)
		})
	}
}

// schedule strikes commits often and other statements seldom, with all faults in
// turn and at seeded moments.
func schedule(t *testing.T, p *sqltest.Proxy) {
	random := seeded(t, 2)
	next := 0
	p.Decide(func(statement string) sqltest.Fault {
		oneIn := oneInOthers
		if sqltest.IsCommit(statement) {
			oneIn = oneInCommits
		}
		if random.IntN(oneIn) != 0 {
			return sqltest.Pass
		}
		if !sqltest.IsCommit(statement) {
			return faults[random.IntN(len(faults))]
		}
		next++
		return faults[next%len(faults)]
	})
}

func struck(p *sqltest.Proxy, times int) bool {
	for _, f := range faults {
		if p.Count(f) < times {
			return false
		}
	}
	return true
}

// TestDatabaseGoesAndComes breaks all connections again and again while the load
// goes on.
func TestDatabaseGoesAndComes(t *testing.T) {
	for _, kind := range []sqldb.Engine{sqldb.PostgreSQL, sqldb.CockroachDB} {
		t.Run(string(kind), func(t *testing.T) {
			direct := sqltest.New(t, kind)
			w := newWitness(newStage(t, direct))
			p, db := sqltest.ThroughProxy(t, direct.String())
			e := engine.New(db, engine.Options{})
			t.Cleanup(e.Close)
			b := local{w.ctx, e}
			outages := 0
			var breaking sync.WaitGroup
			p.Decide(func(statement string) sqltest.Fault {
				if sqltest.IsCommit(statement) {
					outages++
				}
				if outages%5 == 4 {
					outages++
					breaking.Go(func() { // not here, where the proxy waits for what is decided
						p.SetDown(true)
						p.SetDown(false)
					})
				}
				return sqltest.Pass
			})
			w.load(b, "away", proxyCallers, 12)
			p.Decide(nil)
			breaking.Wait()
			w.settle(b, false)
			w.checkBook()
			if outages < 5 {
				t.Errorf("%d commits: the connections were never broken", outages)
			}
		})
	}
}
