package engine_test

import (
	"fmt"
	"slices"
	"testing"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// dropForeignKeys lets rows go that others refer to.
func (w *world) dropForeignKeys() {
	w.t.Helper()
	switch w.db.Engine() {
	case sqldb.SQLite:
		if _, err := w.db.Pool().ExecContext(w.ctx, "PRAGMA foreign_keys = OFF"); err != nil {
			w.t.Fatal(err)
		}
	default:
		w.mustExec("ALTER TABLE seals DROP CONSTRAINT seals_page_id_fkey")
	}
}

// Who takes a page out with all that lies on it, and makes all sums right, leaves
// nothing to look at but the seals of its entries.
func TestPageTakenOutWholeIsNamedByItsNumbers(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.mustPost(w.transfer(w.cash, w.marie, 1000))
		second := w.mustPost(w.transfer(w.marie, w.yoann, 40))
		w.mustPost(w.transfer(w.marie, w.yoann, 60))
		w.sealAll()
		published := w.heads()
		w.letTamper()
		w.dropForeignKeys()
		w.mustExec(slices.Concat(w.moreToYoann(-40), []string{
			fmt.Sprintf("DELETE FROM postings WHERE page_id = %d", second.Place.PageID),
			"DELETE FROM requests WHERE id = " + w.lit(second.ID),
			fmt.Sprintf("DELETE FROM pages WHERE id = %d", second.Place.PageID)}, w.lookupsMadeRight())...)
		for _, o := range []engine.VerifyOptions{{}, {Published: published}} {
			if got, want := w.differences(o), []string{"entry 2 of journal VIR of 2014: transaction"}; !slices.Equal(got, want) {
				t.Errorf("found %q, want %q", got, want)
			}
		}
	})
}

// Of heads that contradict each other one is forged, in whatever order they come.
func TestHeadsThatContradictEachOther(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.mustPost(w.transfer(w.cash, w.marie, 1000))
		w.sealAll()
		right := w.heads()
		forged := slices.Clone(right)
		forged[0].Link[0] ^= 1
		want := []string{"entry 1 of journal VIR of 2014: link of the chain"}
		for name, heads := range map[string][]ledger.Head{"forged first": slices.Concat(forged, right), "forged last": slices.Concat(right, forged)} {
			if got := w.differences(engine.VerifyOptions{Published: heads}); !slices.Equal(got, want) {
				t.Errorf("%s: found %q, want %q", name, got, want)
			}
		}
		if got := w.differences(engine.VerifyOptions{Published: slices.Concat(right, right)}); len(got) > 0 {
			t.Errorf("the same heads twice: %q", got)
		}
	})
}
