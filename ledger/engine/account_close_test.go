package engine_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

func (w *world) closeAccount(a ledger.Account) error {
	_, err := w.CloseAccount(w.ctx, a.ID, "anne", "No longer used")
	return err
}

// A closed account takes nothing more, from an engine that met it before as little
// as from one that did not, until it is opened again.
func TestAccountCloses(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		// Shards of the account that hold and release each other's: they come to nothing.
		var held []ledger.Hold
		shards := map[int]bool{}
		for len(shards) < 2 {
			e := w.another()
			shards[e.Shard(w.payee.Shards)] = true
			h, err := e.Hold(w.ctx, w.holdOf(w.cash, w.payee, 100))
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, h)
		}
		in := w.mustPost(w.transfer(w.cash, w.payee, 70))
		w.refused("holds pending", w.closeAccount(w.payee), ledger.CodeConflict, "account")
		for _, h := range held {
			if _, err := w.VoidHold(w.ctx, ledger.VoidHoldRequest{Key: w.key(), HoldID: h.ID}); err != nil {
				t.Fatal(err)
			}
		}
		w.says("not at zero", w.closeAccount(w.payee), ledger.CodeConflict, "stands at 0.70 EUR; bring it to zero first")
		w.mustPost(w.transfer(w.payee, w.cash, 70))
		if err := w.closeAccount(w.payee); err != nil {
			t.Fatal(err)
		}
		w.verify()
		closed := w.Now()
		w.clock.Advance(time.Minute) // at the same instant it would be the same request
		w.says("closed before", w.closeAccount(w.payee), ledger.CodeConflict, "is closed already: anne did it at "+closed.Format(time.RFC3339)+" (No longer used)")

		for name, e := range map[string]*engine.Engine{"which knows the account": w.Engine, "new": w.another()} {
			for mode, prepare := range map[string]func(){"hopeful": e.Hope, "cautious": e.BeCautious} {
				for what, do := range map[string]func() error{
					"debit":    func() error { _, err := e.Post(w.ctx, w.transfer(w.payee, w.cash, 1)); return err },
					"credit":   func() error { _, err := e.Post(w.ctx, w.transfer(w.cash, w.payee, 1)); return err },
					"hold":     func() error { _, err := e.Hold(w.ctx, w.holdOf(w.cash, w.payee, 1)); return err },
					"reversal": func() error { _, err := e.Reverse(w.ctx, w.reverse(in)); return err },
				} {
					prepare()
					if err := do(); ledger.CodeOf(err) != ledger.CodeAccountClosed {
						t.Errorf("%s, %s, by an engine %s: %v", what, mode, name, err)
					}
				}
			}
		}
		for _, set := range []string{"debits_posted = debits_posted + 1", "credits_pending = credits_pending + 1"} {
			if err := w.exec("UPDATE balances SET " + set + " WHERE " + w.ofAccount(w.payee)); sqldb.ClassOf(err) != sqldb.ClassCheck {
				t.Errorf("%s past the engine: %v", set, err)
			}
		}

		w.clock.Advance(time.Minute)
		opened, err := w.ReopenAccount(w.ctx, w.payee.ID, "bruno", "Used again")
		if err != nil || opened.Status != ledger.AccountOpen {
			t.Fatalf("opened again: %+v, %v", opened, err)
		}
		w.Hope()
		w.mustPost(w.transfer(w.cash, w.payee, 1))
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			changes, err := engine.AccountChanges(ctx, tx, w.payee.ID)
			want := []engine.AccountChange{
				{AccountID: w.payee.ID, To: ledger.AccountClosed, By: "anne", Reason: "No longer used", At: closed},
				{AccountID: w.payee.ID, To: ledger.AccountOpen, By: "bruno", Reason: "Used again", At: w.Now()},
			}
			if !slices.Equal(changes, want) {
				t.Errorf("the trace is %+v, want %+v", changes, want)
			}
			return err
		})
		w.verify()
	})
}

func TestAccountCloseRefusals(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		_, err := w.CloseAccount(w.ctx, ledger.SystemAccountID("nothing"), "anne", "x")
		if ledger.CodeOf(err) != ledger.CodeNotFound {
			t.Errorf("no account: %v", err)
		}
		for _, blank := range []string{"", "  ", "a\nb", strings.Repeat("x", ledger.MaxReason+1)} {
			_, err := w.CloseAccount(w.ctx, w.marie.ID, blank, "reason")
			w.refused("by nobody", err, ledger.CodeInvalid, "by")
			_, err = w.CloseAccount(w.ctx, w.marie.ID, "anne", blank)
			w.refused("for no reason", err, ledger.CodeInvalid, "reason")
		}
		_, err = w.ReopenAccount(w.ctx, w.marie.ID, "anne", "x")
		w.says("never closed", err, ledger.CodeConflict, "nobody ever closed it")
		// The change is the caller's to commit.
		err = db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			if _, err := w.CloseAccountTx(ctx, tx, w.marie.ID, "anne", "x"); err != nil {
				return err
			}
			_, err := w.PostTx(ctx, tx, w.transfer(w.cash, w.marie, 1))
			if ledger.CodeOf(err) != ledger.CodeAccountClosed {
				t.Errorf("posting to an account that the transaction has closed: %v", err)
			}
			_, err = w.ReopenAccountTx(ctx, tx, w.marie.ID, "anne", "y")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		w.mustPost(w.transfer(w.cash, w.marie, 1))

		// Verify sees where the account and its balance do not say the same.
		if err := w.closeAccount(w.yoann); err != nil {
			t.Fatal(err)
		}
		w.mustExec("UPDATE balances SET closed_debits = NULL, closed_credits = NULL WHERE " + w.ofAccount(w.yoann))
		report, err := w.Verify(w.ctx, nil)
		if err != nil || len(report.Differences) != 1 || report.Differences[0].Subject != "account yoann" {
			t.Errorf("a closed account with a balance that is not: %+v, %v", report, err)
		}
	})
}
