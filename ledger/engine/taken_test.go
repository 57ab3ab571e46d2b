package engine_test

import (
	"fmt"
	"testing"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// atOnce calls do from several goroutines and engines and returns what came of it.
func (w *world) atOnce(other *engine.Engine, do func(n int, e *engine.Engine) error) (errs []error) {
	done := make(chan error)
	engines := []*engine.Engine{w.Engine, other, w.Engine, other}
	for n, e := range engines {
		go func() { done <- do(n, e) }()
	}
	for range engines {
		errs = append(errs, <-done)
	}
	return errs
}

// Who loses a race for what is made once is answered by what the winner made, not
// by the database's refusal of a key.
func TestWhatIsMadeOnceAtTheSameTime(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		other := w.another()
		w.mustPost(w.on(date(2014, 8, 15)))
		w.sealAll()
		rounds := 10
		if db.Engine() == sqldb.CockroachDB {
			rounds = 2
		}
		for round := range rounds {
			code := fmt.Sprintf("same-%d", round)
			account := ledger.Account{ID: ledger.SystemAccountID(code), Code: code, Name: "Account for a test", Category: ledger.Suspense,
				Side: ledger.Credit, Currency: ledger.EUR, Shards: 1, OpenedAt: w.Now()}
			for _, err := range w.atOnce(other, func(_ int, e *engine.Engine) error {
				_, err := e.OpenAccount(w.ctx, account)
				return err
			}) {
				if err != nil {
					t.Errorf("open the same account: %v", err)
				}
			}
			got := make(chan bool, 4)
			for _, err := range w.atOnce(other, func(n int, e *engine.Engine) error {
				_, ok, err := e.AcquireLease(w.ctx, code, fmt.Sprint(n), time.Minute)
				got <- ok
				return err
			}) {
				if err != nil {
					t.Errorf("acquire the same lease: %v", err)
				}
			}
			holders := 0
			for range 4 {
				if <-got {
					holders++
				}
			}
			if holders != 1 {
				t.Errorf("%d hold the lease", holders)
			}
			closed := 0
			for _, err := range w.atOnce(other, func(n int, e *engine.Engine) error {
				_, err := e.CloseAccount(w.ctx, account.ID, fmt.Sprint("clerk ", n), "Not needed")
				return err
			}) {
				switch {
				case err == nil:
					closed++
				case ledger.CodeOf(err) != ledger.CodeConflict:
					t.Errorf("close the same account: %v", err)
				}
			}
			if closed != 1 {
				t.Errorf("the account was closed %d times", closed)
			}
		}
		closed := 0
		for _, err := range w.atOnce(other, func(n int, e *engine.Engine) error {
			_, err := e.ChangePeriod(w.ctx, ledger.PeriodChange{Period: "2014-08", To: ledger.PeriodSoftClosed, By: fmt.Sprint("clerk ", n)})
			return err
		}) {
			switch {
			case err == nil:
				closed++
			case ledger.CodeOf(err) != ledger.CodeConflict:
				t.Errorf("close the same period: %v", err)
			}
		}
		if closed != 1 {
			t.Errorf("the period was closed %d times", closed)
		}
		w.verify()
	})
}
