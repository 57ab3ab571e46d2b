package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// change is a step in the life of a period, asked for by Anne.
func (w *world) change(period string, to ledger.PeriodStatus, checks ...engine.Check) error {
	c := ledger.PeriodChange{Period: period, To: to, By: "anne"}
	if c.Reopens() {
		c.ApprovedBy, c.Reason = "bruno", "Invoice 17 was of September"
	}
	_, err := w.ChangePeriod(w.ctx, c, checks...)
	return err
}

func (w *world) mustChange(period string, to ledger.PeriodStatus) {
	w.t.Helper()
	if err := w.change(period, to); err != nil {
		w.t.Fatalf("make %s %s: %v", period, to, err)
	}
}

// says checks that a refusal has a code, and that it tells what to do.
func (w *world) says(what string, err error, code ledger.Code, words string) {
	w.t.Helper()
	if ledger.CodeOf(err) != code || !strings.Contains(err.Error(), words) {
		w.t.Errorf("%s: got %v, want %s with %q", what, err, code, words)
	}
}

func (w *world) on(d ledger.Date) ledger.PostRequest {
	r := w.transfer(w.cash, w.payee, 100)
	r.EffectiveDate = d
	return r
}

func (w *world) period(id string) (p ledger.Period, changes []ledger.PeriodChange) {
	w.t.Helper()
	w.read(func(ctx context.Context, tx *sqldb.Tx) (err error) {
		if p, err = w.FindPeriod(ctx, tx, id); err != nil {
			return err
		}
		changes, err = engine.PeriodChanges(ctx, tx, id)
		return err
	})
	return p, changes
}

// A period is closed softly, then hard, and opened again by two; all of it stays
// in its trace.
func TestPeriodLife(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		original := w.mustPost(w.on(date(2014, 8, 15)))
		w.mustPost(w.on(date(2014, 9, 30)))
		w.mustPost(w.on(date(2014, 10, 1)))
		w.sealAll()
		if p, changes := w.period("2014-08"); p.Status != ledger.PeriodOpen || len(changes) != 0 {
			t.Errorf("a period that nobody closed is %+v %+v", p, changes)
		}
		w.mustChange("2014-08", ledger.PeriodSoftClosed)
		_, err := w.Post(w.ctx, w.on(date(2014, 8, 31)))
		w.refused("posting", err, ledger.CodePeriodClosed, "effective_date")
		adjustment := w.on(date(2014, 8, 31))
		adjustment.Adjustment = true
		w.mustPost(adjustment)
		w.sealAll()
		w.clock.Advance(time.Hour)
		w.mustChange("2014-08", ledger.PeriodHardClosed)
		adjustment.Key = w.key()
		_, err = w.Post(w.ctx, adjustment)
		w.refused("adjustment", err, ledger.CodePeriodClosed, "effective_date")

		// What was posted there is undone in the period that is open now.
		back := ledger.ReverseRequest{Key: w.key(), TransactionID: original.ID, Label: "Back", EffectiveDate: original.EffectiveDate, Adjustment: true}
		_, err = w.Reverse(w.ctx, back)
		w.refused("reversal in the closed period", err, ledger.CodePeriodClosed, "effective_date")
		back.EffectiveDate = ledger.Date{}
		if undone, err := w.Reverse(w.ctx, back); err != nil || undone.EffectiveDate != w.Today() {
			t.Errorf("reversal: %+v, %v", undone, err)
		}

		w.clock.Advance(time.Hour)
		w.mustChange("2014-08", ledger.PeriodOpen)
		w.mustPost(w.on(date(2014, 8, 31)))
		at := w.Now()
		_, changes := w.period("2014-08")
		want := []ledger.PeriodChange{
			{Period: "2014-08", From: "open", To: "soft_closed", By: "anne", At: at.Add(-2 * time.Hour)},
			{Period: "2014-08", From: "soft_closed", To: "hard_closed", By: "anne", At: at.Add(-time.Hour)},
			{Period: "2014-08", From: "hard_closed", To: "open", By: "anne", ApprovedBy: "bruno", Reason: "Invoice 17 was of September", At: at},
		}
		if !slices.Equal(changes, want) {
			t.Errorf("the trace is\n%+v\nwant\n%+v", changes, want)
		}
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			year, err := w.FiscalYear(2014)
			if err != nil {
				return err
			}
			list, err := w.ListPeriods(ctx, tx, year)
			if len(list) != 12 || list[0].ID != "2014-01" || list[7].Status != ledger.PeriodOpen || list[11].To != year.To {
				t.Errorf("the periods of 2014 are %+v", list)
			}
			return err
		})
		w.verify()
	})
}

// Each thing that keeps a period from being closed or opened is named, with what
// to do about it.
func TestPeriodRefusals(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.mustPost(w.on(date(2014, 7, 1)))
		w.mustPost(w.on(date(2014, 9, 30)))
		w.says("not sealed", w.change("2014-07", ledger.PeriodSoftClosed), ledger.CodeConflict, "run: tweetledger seal run")
		w.sealAll()
		w.mustPost(w.on(date(2014, 10, 1))) // another period's, which does not matter
		w.says("earlier open", w.change("2014-09", ledger.PeriodSoftClosed), ledger.CodeConflict, "2014-07 has postings and is open; first make it soft-closed")
		w.says("not over", w.change("2014-10", ledger.PeriodSoftClosed), ledger.CodeConflict, "2014-10 is not over; close it after 2014-10-31")
		w.says("hard at once", w.change("2014-07", ledger.PeriodHardClosed), ledger.CodeInvalid, "close it softly first")
		w.says("never closed", w.change("2014-07", ledger.PeriodOpen), ledger.CodeConflict, "nobody ever closed it")
		w.says("no period", w.change("2014-13", ledger.PeriodSoftClosed), ledger.CodeInvalid, "write it like 2026-11")
		no := errors.New("three breaks")
		if err := w.change("2014-07", ledger.PeriodSoftClosed, func(_ context.Context, _ *sqldb.Tx, p ledger.Period) error {
			return fmt.Errorf("%s: %w", p.ID, no)
		}); !errors.Is(err, no) || !strings.Contains(err.Error(), "2014-07") {
			t.Errorf("the caller's check: %v", err)
		}
		if p, changes := w.period("2014-07"); p.Status != ledger.PeriodOpen || len(changes) > 0 {
			t.Errorf("refused changes were kept: %+v %+v", p, changes)
		}

		w.mustChange("2014-07", ledger.PeriodSoftClosed)
		w.says("closed before", w.change("2014-07", ledger.PeriodSoftClosed), ledger.CodeConflict, "soft-closed already: anne did it at "+w.Now().Format(time.RFC3339))
		w.mustChange("2014-09", ledger.PeriodSoftClosed)
		w.says("earlier less closed", w.change("2014-09", ledger.PeriodHardClosed), ledger.CodeConflict, "2014-07 has postings and is soft-closed; first make it hard-closed")
		w.says("later closed", w.change("2014-07", ledger.PeriodOpen), ledger.CodeConflict, "the later period 2014-09 is soft-closed; open that one first")
		_, err := w.ChangePeriod(w.ctx, ledger.PeriodChange{Period: "2014-09", From: ledger.PeriodHardClosed, To: ledger.PeriodOpen, By: "anne", ApprovedBy: "bruno", Reason: "x"})
		w.says("another state", err, ledger.CodeConflict, "period 2014-09 is soft-closed, not hard-closed")
		_, err = w.ChangePeriod(w.ctx, ledger.PeriodChange{Period: "2014-09", To: ledger.PeriodOpen, By: "anne", ApprovedBy: "Anne ", Reason: "x"})
		w.refused("one person alone", err, ledger.CodeForbidden, "approved_by")
		_, err = w.ChangePeriod(w.ctx, ledger.PeriodChange{Period: "2014-09", To: ledger.PeriodOpen, By: "anne", ApprovedBy: "bruno"})
		w.refused("no reason", err, ledger.CodeInvalid, "reason")

		// What does not verify is not closed for good.
		w.mustExec("UPDATE balances SET debits_posted = debits_posted + 1 WHERE " + w.ofAccount(w.cash))
		w.says("not verified", w.change("2014-07", ledger.PeriodHardClosed), ledger.CodeConflict, "see all with: tweetledger verify")
		w.mustExec("UPDATE balances SET debits_posted = debits_posted - 1 WHERE " + w.ofAccount(w.cash))
		w.mustChange("2014-07", ledger.PeriodHardClosed)

		// Another first month would put the period into another fiscal year.
		august := engine.New(db, engine.Options{Clock: w.clock.Now, FiscalYearStarts: time.August})
		t.Cleanup(august.Close)
		_, err = august.ChangePeriod(w.ctx, ledger.PeriodChange{Period: "2014-07", To: ledger.PeriodOpen, By: "anne", ApprovedBy: "bruno", Reason: "x"})
		w.says("another fiscal year", err, ledger.CodeConflict, "the fiscal years of this book begin in January, and the configuration says August")
	})
}

// While others post into a period it is closed: what they were told is in it was
// there when it was closed, and nothing came after.
func TestPeriodClosesUnderPosters(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		engines := []*engine.Engine{w.another(), w.another(), w.another()}
		for month := time.January; month <= time.June; month++ {
			w.closeUnderPosters(ledger.PeriodOf(date(2014, int(month), 1), time.January), engines)
		}
		w.verify()
	})
}

// lateAttempts bounds what each poster tries to get into a period: a period into
// which postings come in for ever is never sealed.
const lateAttempts = 8

func (w *world) closeUnderPosters(p ledger.Period, engines []*engine.Engine) {
	w.t.Helper()
	var wg sync.WaitGroup
	var accepted atomic.Int64
	for _, e := range engines {
		wg.Go(func() {
			for n := range lateAttempts {
				r := w.on(p.From.AddDays(n))
				_, err := e.Post(w.ctx, r)
				for ledger.CodeOf(err) == ledger.CodeUnavailable && w.ctx.Err() == nil { // it contended too long; the same again
					_, err = e.Post(w.ctx, r)
				}
				if ledger.CodeOf(err) == ledger.CodePeriodClosed {
					return
				}
				if err != nil {
					w.t.Errorf("post into %s: %v", p.ID, err)
					return
				}
				accepted.Add(1)
			}
		})
	}
	var atClose int64
	for {
		w.sealAll()
		err := w.change(p.ID, ledger.PeriodSoftClosed, func(ctx context.Context, tx *sqldb.Tx, p ledger.Period) (err error) {
			atClose, err = postingsIn(ctx, tx, p)
			return err
		})
		if err == nil {
			break
		}
		// Something came in since it was sealed, or it contended too long.
		if code := ledger.CodeOf(err); code != ledger.CodeConflict && code != ledger.CodeUnavailable {
			w.t.Fatal(err)
		}
	}
	wg.Wait()
	var after int64
	w.read(func(ctx context.Context, tx *sqldb.Tx) (err error) {
		after, err = postingsIn(ctx, tx, p)
		return err
	})
	if after != atClose || after != accepted.Load() {
		w.t.Errorf("%s: %d postings when it was closed, %d now, %d acknowledged", p.ID, atClose, after, accepted.Load())
	}
}

func postingsIn(ctx context.Context, tx *sqldb.Tx, p ledger.Period) (n int64, err error) {
	err = tx.QueryRow(ctx, "SELECT COUNT(*) FROM postings AS p JOIN pages AS g ON g.id = p.page_id WHERE g.effective_date BETWEEN $1 AND $2",
		[]any{p.From, p.To}, &n)
	return n, err
}

// Who posts into the open period does not keep a closed one from being closed.
func TestPeriodClosesBesidePosters(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.mustPost(w.on(date(2014, 9, 30)))
		w.sealAll()
		ctx, stop := context.WithCancel(w.ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer stop()
		started := make(chan struct{}, 4)
		for range cap(started) {
			e := w.another()
			wg.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					if _, err := e.Post(ctx, w.transfer(w.cash, w.payee, 1)); err != nil && ledger.CodeOf(err) != ledger.CodeUnavailable {
						t.Errorf("post beside the closing: %v", err)
						return
					}
					if n == 0 {
						started <- struct{}{}
					}
				}
			})
		}
		for range cap(started) {
			select {
			case <-started:
			case <-w.ctx.Done():
				t.Fatal("no poster came through")
			}
		}
		began := time.Now()
		for _, to := range []ledger.PeriodStatus{ledger.PeriodSoftClosed, ledger.PeriodHardClosed, ledger.PeriodOpen} {
			w.mustChange("2014-09", to)
		}
		t.Logf("closed and opened again in %s, with %d transactions run again", time.Since(began), db.Retries())
	})
}
