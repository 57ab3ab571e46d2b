package engine_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

func TestDueHolds(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.mustPost(w.transfer(w.cash, w.marie, 10_000))
		var want []uuid.UUID
		for i, minutes := range []int{30, 10, 20, 0, 50} { // 0: never by itself
			r := w.holdOf(w.marie, w.yoann, ledger.Amount(10+i))
			if minutes > 0 {
				r.ExpiresAt = w.Now().Add(time.Duration(minutes) * time.Minute)
			}
			want = append(want, w.mustHold(r).ID)
		}
		voided := w.holdOf(w.marie, w.yoann, 1)
		voided.ExpiresAt = w.Now().Add(time.Minute)
		if _, err := w.VoidHold(w.ctx, ledger.VoidHoldRequest{Key: w.key(), HoldID: w.mustHold(voided).ID}); err != nil {
			t.Fatal(err)
		}
		want = []uuid.UUID{want[1], want[2], want[0]}
		due := func(limit int) (ids []uuid.UUID) {
			w.read(func(ctx context.Context, tx *sqldb.Tx) error {
				ids = nil
				holds, err := w.DueHolds(ctx, tx, limit)
				for _, h := range holds {
					ids = append(ids, h.ID)
				}
				return err
			})
			return ids
		}
		w.clock.Advance(10*time.Minute - time.Microsecond)
		if got := due(10); len(got) != 0 {
			t.Errorf("too early: %v", got)
		}
		w.clock.Advance(time.Microsecond)
		if got := due(10); !slices.Equal(got, want[:1]) {
			t.Errorf("on time: %v, want %v", got, want[:1])
		}
		w.clock.Advance(20 * time.Minute)
		if got := due(2); !slices.Equal(got, want[:2]) {
			t.Errorf("the first two: %v, want %v", got, want[:2])
		}
		if got := due(10); !slices.Equal(got, want) {
			t.Errorf("all: %v, want %v", got, want)
		}
	})
}

func TestChart(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		entry := func(c ledger.Category, from ledger.Date, number string) ledger.ChartEntry {
			return ledger.ChartEntry{Category: c, ValidFrom: from, Number: number, Label: "Libellé " + number}
		}
		first, second := date(2014, 1, 1), date(2015, 1, 1)
		old, newer := entry(ledger.CustomerEMoney, first, "4191"), entry(ledger.CustomerEMoney, second, "4671")
		fees := entry(ledger.CardFees, second, "6278")
		set := func(entries ...ledger.ChartEntry) error { return w.SetChart(w.ctx, entries) }
		if err := set(old, newer, fees); err != nil {
			t.Fatal(err)
		}
		want := func(on ledger.Date, entries ...ledger.ChartEntry) {
			t.Helper()
			chart := map[ledger.Category]ledger.ChartEntry{}
			for _, e := range entries {
				chart[e.Category] = e
			}
			w.read(func(ctx context.Context, tx *sqldb.Tx) error {
				got, err := engine.Chart(ctx, tx, on)
				if !maps.Equal(got, chart) {
					t.Errorf("on %s: got %+v, want %+v", on, got, chart)
				}
				return err
			})
		}
		want(date(2013, 12, 31))
		want(first, old)
		want(date(2014, 12, 31), old)
		want(second, newer, fees)
		want(date(2030, 6, 15), newer, fees)

		bad := entry(ledger.Suspense, first, "47")
		if err := set(entry(ledger.Commissions, first, "706"), bad); ledger.CodeOf(err) != ledger.CodeInvalid {
			t.Errorf("a bad entry: %v", err)
		}
		want(first, old) // none was stored
		replaced := entry(ledger.CustomerEMoney, first, "4199")
		if err := set(replaced); err != nil {
			t.Fatal(err)
		}
		want(first, replaced)
		want(second, newer, fees)
		if err := set(make([]ledger.ChartEntry, engine.MaxChartEntries+1)...); ledger.CodeOf(err) != ledger.CodeInvalid {
			t.Errorf("too many entries: %v", err)
		}
	})
}

// Today is a Paris date, and what is posted without a date gets it.
func TestBusinessDate(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	for instant, want := range map[string]ledger.Date{
		"2026-06-30T21:59:59Z": date(2026, 6, 30), "2026-06-30T22:00:00Z": date(2026, 7, 1),
		"2026-12-31T22:59:59Z": date(2026, 12, 31), "2026-12-31T23:00:00Z": date(2027, 1, 1),
	} {
		at, err := time.Parse(time.RFC3339, instant)
		if err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(at.Sub(w.clock.Now()))
		if made := w.mustPost(w.transfer(w.cash, w.marie, 1)); w.Today() != want || made.EffectiveDate != want {
			t.Errorf("%s: today is %s, effective %s; want %s", instant, w.Today(), made.EffectiveDate, want)
		}
	}
	if w.Location().String() != "Europe/Paris" || w.DB() != w.db {
		t.Errorf("dates are those of %s", w.Location())
	}
}
