package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// Into a soft-closed period go adjustments alone, into a hard-closed one nothing,
// whichever way a batch goes to work.
func TestClosedPeriods(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.mustPost(w.transfer(w.cash, w.marie, 1000))
		late := w.transfer(w.cash, w.yoann, 5)
		late.EffectiveDate = date(2014, 8, 15)
		original := w.mustPost(late)
		w.sealAll() // without which no period is closed
		w.closeTraced("2014-08", ledger.PeriodHardClosed)
		soft := w.closeTraced("2014-09", ledger.PeriodSoftClosed)
		for name, prepare := range map[string]func(){"hopeful": w.Hope, "cautious": w.BeCautious} {
			t.Run(name, func(t *testing.T) { postIntoClosed(w.in(t), prepare) })
		}
		// What was posted into a period that is closed now is undone in the open one.
		_, err := w.Reverse(w.ctx, ledger.ReverseRequest{Key: w.key(), TransactionID: original.ID, Label: "Back", EffectiveDate: original.EffectiveDate, Adjustment: true})
		w.refused("reversal in the closed period", err, ledger.CodePeriodClosed, "effective_date")
		if back, err := w.Reverse(w.ctx, w.reverse(original)); err != nil || back.EffectiveDate != w.Today() {
			t.Errorf("reversal: %+v, %v", back, err)
		}
		// The trace of it is on the pages.
		for adjustment, want := range []int64{0, 6} {
			var pages int64
			w.read(func(ctx context.Context, tx *sqldb.Tx) error {
				return tx.QueryRow(ctx, "SELECT COUNT(*) FROM pages WHERE adjustment = $1 AND effective_date BETWEEN $2 AND $3",
					[]any{int64(adjustment), soft.From, soft.To}, &pages)
			})
			if pages != want {
				t.Errorf("%d pages in %s have adjustment %d, want %d", pages, soft.ID, adjustment, want)
			}
		}
		w.verify()
	})
}

// postIntoClosed leaves three pages of adjustments.
func postIntoClosed(w *world, prepare func()) {
	before := w.balance(w.marie)
	on := func(d ledger.Date, adjustment bool) ledger.PostRequest {
		r := w.transfer(w.cash, w.marie, 1)
		r.EffectiveDate, r.Adjustment = d, adjustment
		return r
	}
	for _, c := range []struct {
		name       string
		on         ledger.Date
		adjustment bool
		want       ledger.Code
	}{
		{"last day of a soft-closed period", date(2014, 9, 30), false, ledger.CodePeriodClosed},
		{"first day of a soft-closed period", date(2014, 9, 1), false, ledger.CodePeriodClosed},
		{"hard-closed period", date(2014, 8, 31), false, ledger.CodePeriodClosed},
		{"adjustment in a hard-closed period", date(2014, 8, 1), true, ledger.CodePeriodClosed},
		{"month before, which nobody closed since it had no postings", date(2014, 7, 31), true, ledger.CodePeriodClosed},
		{"first day of all", ledger.MinEffectiveDate, false, ledger.CodePeriodClosed},
		{"after any closed period", date(2014, 10, 1), true, ""},
		{"adjustment in a soft-closed period", date(2014, 9, 1), true, ""},
	} {
		prepare()
		made, err := w.Post(w.ctx, on(c.on, c.adjustment))
		if c.want != "" {
			w.refused(c.name, err, c.want, "effective_date")
		} else if err != nil || made.EffectiveDate != c.on {
			w.t.Errorf("%s: %+v, %v", c.name, made, err)
		}
	}
	prepare()
	held := w.mustHold(w.holdOf(w.cash, w.marie, 1))
	part := w.postOf(held, 0)
	part.EffectiveDate = date(2014, 9, 30)
	prepare()
	_, err := w.PostHold(w.ctx, part)
	w.refused("posting of a hold", err, ledger.CodePeriodClosed, "effective_date")
	part.Adjustment = true
	prepare()
	if _, err := w.PostHold(w.ctx, part); err != nil {
		w.t.Errorf("posting of a hold as an adjustment, after the key was refused: %v", err)
	}
	prepare()
	got := w.codes(w.Engine, on(date(2014, 10, 1), false), on(date(2014, 9, 30), false), on(date(2014, 10, 1), false), on(date(2014, 9, 30), true))
	if want := []ledger.Code{"", ledger.CodePeriodClosed, "", ""}; !slices.Equal(got, want) {
		w.t.Errorf("in one batch: got %q, want %q", got, want)
	}
	w.wantBalance(w.marie, before.Posted()+6, before.Available()+6)
	// In a transaction of the caller's a refusal leaves it usable.
	err = w.db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := w.PostTx(ctx, tx, on(date(2014, 9, 30), false))
		w.refused("PostTx", err, ledger.CodePeriodClosed, "effective_date")
		_, err = w.PostTx(ctx, tx, on(date(2014, 10, 1), false))
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
	w.wantBalance(w.marie, before.Posted()+7, before.Available()+7)
}

// CockroachDB has no triggers: a page in a closed period that is written past the
// engine is the one state that its schema takes. The sealer gives it no number, and
// Verify names it. On SQLite the same is seen once its trigger is gone.
func TestPageInAClosedPeriodIsLeftToVerify(t *testing.T) {
	for _, on := range []sqldb.Engine{sqldb.SQLite, sqldb.CockroachDB} {
		t.Run(string(on), func(t *testing.T) {
			w := newWorld(t, sqltest.New(t, on))
			late := w.transfer(w.marie, w.yoann, 40)
			late.EffectiveDate = date(2014, 9, 30)
			fund := w.transfer(w.cash, w.marie, 1000)
			fund.EffectiveDate = date(2014, 9, 29)
			w.mustPost(fund)
			made := w.mustPost(late)
			w.sealAll()
			w.closeTraced("2014-09", ledger.PeriodHardClosed)
			w.verify()
			if on == sqldb.SQLite {
				w.mustExec("DROP TRIGGER pages_in_open_periods")
			}
			// The payment once more, with all that belongs to it but the roll-ups.
			id := ledger.IDOfKey("forged")
			page := made.Place.PageID + 1
			w.mustExec(
				fmt.Sprintf(`INSERT INTO pages (id, effective_date, adjustment, recorded_at, transactions, postings)
					SELECT %d, effective_date, 1, recorded_at, 1, 1 FROM pages WHERE id = %d`, page, made.Place.PageID),
				fmt.Sprintf("INSERT INTO unsealed_pages (recorded_at, page_id) SELECT recorded_at, id FROM pages WHERE id = %d", page),
				fmt.Sprintf("INSERT INTO requests (id, request_hash, page_id, line) VALUES (%s, %s, %d, 0)", w.lit(id), w.hashLit(late.Hash()), page),
				strings.Replace(w.insertPosting(made, 0, id, "forged"), fmt.Sprint(made.Place.PageID), fmt.Sprint(page), 1),
				w.moreToYoann(40)[0], w.moreToYoann(40)[1])
			want := []string{fmt.Sprintf("page %d: seal", page), fmt.Sprintf("page %d: recorded time", page)}
			for range 2 { // before the sealer came by, and after
				if got := w.differences(engine.VerifyOptions{}); !slices.Equal(got, want) && !slices.Equal(got, []string{want[1], want[0]}) {
					t.Errorf("found %q, want %q", got, want)
				}
				if n := w.sealAll(); n != 0 {
					t.Errorf("%d transactions were sealed into the closed period", n)
				}
			}
		})
	}
}
