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

// opened is an engine on the book for fiscal years that begin in a month; zero is
// the book's.
func (w *world) opened(starts time.Month) (*world, error) {
	e, err := engine.Open(w.ctx, w.db, engine.Options{Clock: w.clock.Now, FiscalYearStarts: starts})
	if err != nil {
		return nil, err
	}
	w.t.Cleanup(e.Close)
	other := *w
	other.Engine = e
	return &other, nil
}

// forgetSettings takes the settings out of the book, past its triggers.
func (w *world) forgetSettings() {
	w.t.Helper()
	statements := []string{"DELETE FROM book_settings"}
	switch w.db.Engine() {
	case sqldb.SQLite:
		statements = []string{"DROP TRIGGER IF EXISTS book_settings_no_delete", statements[0]}
	case sqldb.PostgreSQL:
		statements = []string{"SET LOCAL session_replication_role = replica", statements[0]}
	}
	w.mustExec(statements...)
}

// The first month of fiscal years belongs to the book: no other configuration gets
// to number its entries, nor to close or to judge it.
func TestBookKeepsItsFiscalYears(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db) // January
		april, err := w.opened(time.April)
		if err != nil {
			t.Fatal(err)
		}
		for _, day := range []ledger.Date{date(2014, 2, 10), date(2014, 3, 31), date(2014, 4, 1)} {
			april.mustPost(april.on(day))
		}
		april.sealAll()
		if years := april.numbered(); !slices.Equal(years, []int{2013, 2014}) {
			t.Fatalf("sealed in the fiscal years %v", years)
		}

		const both = "the fiscal years of this book begin in April, and the configuration says January; set it to 4 there"
		lease, got, err := w.AcquireLease(w.ctx, "test", "test", time.Minute)
		if err != nil || !got {
			t.Fatal(got, err)
		}
		_, err = w.Seal(w.ctx, lease)
		w.says("seal", err, ledger.CodeConflict, both)
		w.says("close a period", w.change("2014-02", ledger.PeriodSoftClosed), ledger.CodeConflict, both)
		_, err = w.CloseFiscalYear(w.ctx, engine.YearClosing{Year: 2013, By: "anne"})
		w.says("close a year", err, ledger.CodeConflict, both)
		_, err = w.Verify(w.ctx, nil)
		w.says("verify", err, ledger.CodeConflict, both)
		_, err = w.opened(time.January)
		w.refused("open", err, ledger.CodeConflict, "book.fiscal_year_starts")
		w.says("open", err, ledger.CodeConflict, both)

		whatever, err := w.opened(0)
		if err != nil {
			t.Fatal(err)
		}
		if year := whatever.FiscalYearOf(date(2014, 3, 31)); year.From != date(2013, 4, 1) {
			t.Errorf("an engine that was told no month has the year %+v", year)
		}
		whatever.verify()
	})
}

// A book that is older than its settings gets them from the configuration, unless
// what was sealed and closed contradicts it.
func TestOldBookGetsItsSettings(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		april, err := w.opened(time.April)
		if err != nil {
			t.Fatal(err)
		}
		for _, day := range []ledger.Date{date(2014, 3, 31), date(2014, 4, 1)} {
			april.mustPost(april.on(day))
		}
		april.sealAll()
		w.forgetSettings()
		w.says("another month than the seals", w.KeepSettings(w.ctx), ledger.CodeConflict,
			"this book was sealed and closed with fiscal years that begin in April, and the configuration says January")
		if april, err = w.opened(time.April); err != nil {
			t.Fatal(err)
		}
		if err := april.KeepSettings(w.ctx); err != nil {
			t.Fatal(err)
		}
		w.says("another month than the book", w.KeepSettings(w.ctx), ledger.CodeConflict, "begin in April")

		// A chain that was numbered in a wrong year is named, and its book goes on.
		w.letTamper()
		w.forgetSettings()
		w.mustExec("UPDATE seals SET fiscal_year = 2010 WHERE fiscal_year = 2013")
		if april, err = w.opened(time.April); err != nil {
			t.Fatal(err)
		}
		if err := april.KeepSettings(w.ctx); err != nil {
			t.Fatal(err)
		}
		report, err := april.Verify(w.ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(report.Differences, func(d engine.Difference) bool {
			return strings.HasPrefix(d.What, "fiscal year") && d.Got == "2010" && d.Want == "2013"
		}) {
			t.Errorf("no difference names the wrong fiscal year: %v", report.Differences)
		}
	})
}

// numbered returns the fiscal years in which the journal is numbered.
func (w *world) numbered() []int {
	w.t.Helper()
	var years []int
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		heads, err := w.Heads(ctx, tx)
		for _, h := range heads.List {
			years = append(years, h.FiscalYear)
		}
		return err
	})
	slices.Sort(years)
	return slices.Compact(years)
}
