package engine_test

import (
	"context"
	"strings"
	"testing"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// What PostgreSQL planned for a small book must not read all of a larger one for
// each new posting: it keeps a plan until it takes the tables to have changed much,
// and they may grow a thousandfold before.
func TestNewPostingsAreCheckedByIndex(t *testing.T) {
	w := newWorld(t, sqltest.New(t, sqldb.PostgreSQL))
	w.mustPost(w.transfer(w.cash, w.marie, 1000))
	w.mustExec("ANALYZE postings")
	err := w.db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		for range 3 { // the check's plan is made in the first
			var requests []ledger.Request
			for range 50 {
				requests = append(requests, w.transfer(w.marie, w.payee, 1))
			}
			outcomes, err := w.SubmitTx(ctx, tx, requests)
			if err != nil {
				return err
			}
			for _, o := range outcomes {
				if o.Err != nil {
					return o.Err
				}
			}
		}
		var read int64
		err := tx.QueryRow(ctx, "SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'postings'", nil, &read)
		if err == nil && read > 0 {
			t.Errorf("150 postings were checked by reading all that were there, %d in all", read)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// planOf returns how SQLite carries a query out.
func (w *world) planOf(query func(tx *sqldb.Tx) string) string {
	w.t.Helper()
	var plan []string
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		plan = nil
		return tx.Each(ctx, "EXPLAIN QUERY PLAN "+query(tx), nil, func(rows *sqldb.Rows) error {
			var id, parent, unused int64
			var step string
			err := rows.Scan(&id, &parent, &unused, &step)
			plan = append(plan, step)
			return err
		})
	})
	return strings.Join(plan, "; ")
}

// Verify must read a large book in the order in which it lies on the disk.
func TestSealedPostingsAreReadPageByPage(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	steps := w.planOf(func(*sqldb.Tx) string { return engine.SealedPostings })
	if !strings.HasPrefix(steps, "SCAN g; ") || !strings.HasSuffix(steps, "SEARCH p USING PRIMARY KEY (page_id=?)") {
		t.Errorf("the postings are read like this: %s", steps)
	}
}

// Verify must not read all that an account ever got for each hold on it.
func TestHoldsAreProvedByTheirOwnPostings(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	if steps := w.planOf(engine.ProvedHolds); !strings.Contains(steps, "SEARCH p USING INDEX postings_of_hold (hold_id=?)") || strings.Contains(steps, "SCAN p") {
		t.Errorf("the postings of holds are read like this: %s", steps)
	}
}
