package ledger_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tweetledger/ledger"
)

func TestFiscalYearOf(t *testing.T) {
	for _, c := range []struct {
		date     ledger.Date
		start    time.Month
		year     int
		from, to ledger.Date
	}{
		{day(2026, 1, 1), time.January, 2026, day(2026, 1, 1), day(2026, 12, 31)},
		{day(2026, 12, 31), time.January, 2026, day(2026, 1, 1), day(2026, 12, 31)},
		{day(2026, 6, 30), time.July, 2025, day(2025, 7, 1), day(2026, 6, 30)},
		{day(2026, 7, 1), time.July, 2026, day(2026, 7, 1), day(2027, 6, 30)},
		{day(2024, 2, 29), time.March, 2023, day(2023, 3, 1), day(2024, 2, 29)},
		{day(2026, 11, 30), time.December, 2025, day(2025, 12, 1), day(2026, 11, 30)},
		{day(2026, 5, 1), 0, 2026, day(2026, 1, 1), day(2026, 12, 31)},
		{day(2026, 5, 1), 13, 2026, day(2026, 1, 1), day(2026, 12, 31)},
	} {
		want := ledger.FiscalYear{Year: c.year, From: c.from, To: c.to}
		if got := ledger.FiscalYearOf(c.date, c.start); got != want {
			t.Errorf("%s with a start in %s: got %+v, want %+v", c.date, c.start, got, want)
		}
	}
}

// Every day is in exactly one period and one fiscal year, and these follow on one
// another without a gap.
func TestPeriodsCoverTheCalendar(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		first := ledger.MinEffectiveDate
		d := first.AddDays(rapid.IntRange(0, 109_572).Draw(rt, "day"))
		start := time.Month(rapid.IntRange(1, 12).Draw(rt, "start"))
		year, period := ledger.FiscalYearOf(d, start), ledger.PeriodOf(d, start)
		if d.Before(period.From) || period.To.Before(d) || period.From.Before(year.From) || year.To.Before(period.To) || period.FiscalYear != year.Year {
			rt.Fatalf("%s is in period %+v of %+v", d, period, year)
		}
		if period.ID != d.String()[:7] || period.Status != ledger.PeriodOpen {
			rt.Fatalf("%s is in period %+v", d, period)
		}
		if next := ledger.PeriodOf(period.To.AddDays(1), start); next.From != period.To.AddDays(1) || next.ID <= period.ID {
			rt.Fatalf("%+v follows on %+v", next, period)
		}
		if next := ledger.FiscalYearOf(year.To.AddDays(1), start); next.From != year.To.AddDays(1) || next.Year != year.Year+1 || year.From.Year != year.Year {
			rt.Fatalf("%+v follows on %+v", next, year)
		}
		if ledger.PeriodOf(period.From, start) != period || ledger.PeriodOf(period.To, start) != period || ledger.FiscalYearOf(year.From, start) != year {
			rt.Fatalf("the ends of %+v or %+v are elsewhere", period, year)
		}
		if back, err := ledger.ParsePeriod(period.ID, start); err != nil || back != period {
			rt.Fatalf("%+v reads as %+v, %v", period, back, err)
		}
	})
	if last := ledger.MinEffectiveDate.AddDays(109_572); last != ledger.MaxEffectiveDate {
		t.Errorf("not all days are drawn: up to %s", last)
	}
}

func TestPeriodsThatAreNone(t *testing.T) {
	for _, id := range []string{"", "2026", "2026-1", "2026-13", "2026-00", "2026-11-01", "2026/11", "1899-12", "2200-01", "26-11", "2026-11 ", "-2026-11"} {
		_, err := ledger.ParsePeriod(id, time.January)
		wantField(t, id, err, "period")
	}
}

func TestWhoMayPostIntoAPeriod(t *testing.T) {
	for _, c := range []struct {
		status             ledger.PeriodStatus
		anyone, adjustment bool
	}{
		{ledger.PeriodOpen, true, true},
		{ledger.PeriodSoftClosed, false, true},
		{ledger.PeriodHardClosed, false, false},
		{"", false, false},
		{"ajar", false, false},
	} {
		p := ledger.PeriodOf(day(2026, 11, 23), time.January)
		p.Status = c.status
		for adjustment, may := range map[bool]bool{false: c.anyone, true: c.adjustment} {
			err := p.Check(adjustment)
			if c.status.Admits(adjustment) != may || (err == nil) != may {
				t.Errorf("%s, adjustment %t: %v", c.status, adjustment, err)
			}
			if e, ok := errors.AsType[*ledger.Error](err); err != nil && (!ok || e.Code != ledger.CodePeriodClosed || e.Field != "effective_date" ||
				!strings.Contains(e.Message, "2026-11")) {
				t.Errorf("%s, adjustment %t: %v", c.status, adjustment, err)
			}
		}
	}
}

func reopening() ledger.PeriodChange {
	return ledger.PeriodChange{Period: "2026-10", From: ledger.PeriodHardClosed, To: ledger.PeriodOpen, By: "anne", ApprovedBy: "paul",
		Reason: "Invoice 12 belongs to October", At: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)}
}

func TestStepsOfAPeriod(t *testing.T) {
	states := []ledger.PeriodStatus{ledger.PeriodOpen, ledger.PeriodSoftClosed, ledger.PeriodHardClosed}
	allowed := map[string]bool{"open soft_closed": true, "soft_closed hard_closed": true, "soft_closed open": true, "hard_closed open": true}
	for _, from := range states {
		for _, to := range states {
			c := reopening()
			c.From, c.To = from, to
			step := fmt.Sprintf("%s %s", from, to)
			field := "to"
			if allowed[step] {
				field = ""
			}
			wantField(t, step, c.Validate(), field)
			c.ApprovedBy, c.Reason = "", ""
			if allowed[step] && c.Reopens() {
				field = "approved_by"
			}
			wantField(t, step+" alone", c.Validate(), field)
		}
	}
}

func TestPeriodChangesAreChecked(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(c *ledger.PeriodChange)
		field  string
	}{
		{"as it is", func(c *ledger.PeriodChange) {}, ""},
		{"longest", func(c *ledger.PeriodChange) {
			c.By, c.Reason = strings.Repeat("a", ledger.MaxActor), strings.Repeat("r", ledger.MaxReason)
		}, ""},
		{"no period", func(c *ledger.PeriodChange) { c.Period = "" }, "period"},
		{"a day", func(c *ledger.PeriodChange) { c.Period = "2026-10-01" }, "period"},
		{"from nothing", func(c *ledger.PeriodChange) { c.From = "" }, "from"},
		{"to nothing", func(c *ledger.PeriodChange) { c.To = "closed" }, "to"},
		{"by nobody", func(c *ledger.PeriodChange) { c.By = "" }, "by"},
		{"by blanks", func(c *ledger.PeriodChange) { c.By = "  " }, "by"},
		{"by someone with a long name", func(c *ledger.PeriodChange) { c.By = strings.Repeat("a", ledger.MaxActor+1) }, "by"},
		{"approved by nobody", func(c *ledger.PeriodChange) { c.ApprovedBy = "" }, "approved_by"},
		{"approved by blanks", func(c *ledger.PeriodChange) { c.ApprovedBy = " " }, "approved_by"},
		{"approved by a line break", func(c *ledger.PeriodChange) { c.ApprovedBy = "paul\n" }, "approved_by"},
		{"no reason", func(c *ledger.PeriodChange) { c.Reason = "" }, "reason"},
		{"blanks for a reason", func(c *ledger.PeriodChange) { c.Reason = " " }, "reason"},
		{"long reason", func(c *ledger.PeriodChange) { c.Reason = strings.Repeat("é", ledger.MaxReason/2+1) }, "reason"},
		{"no instant", func(c *ledger.PeriodChange) { c.At = time.Time{} }, "at"},
		{"year 10000", func(c *ledger.PeriodChange) { c.At = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC) }, "at"},
	} {
		change := reopening()
		c.change(&change)
		wantField(t, c.name, change.Validate(), c.field)
	}
	closing := reopening()
	closing.From, closing.To, closing.Reason = ledger.PeriodOpen, ledger.PeriodSoftClosed, "a\nb"
	wantField(t, "a reason that need not be given", closing.Validate(), "reason")
}

// Four eyes: nobody approves what they ask for, under no spelling of the name.
func TestNobodyApprovesTheirOwnChange(t *testing.T) {
	for _, approver := range []string{"anne", "Anne", " anne ", "ANNE\u00a0"} {
		c := reopening()
		c.ApprovedBy = approver
		err := c.Validate()
		if e, ok := errors.AsType[*ledger.Error](err); !ok || e.Code != ledger.CodeForbidden || e.Field != "approved_by" {
			t.Errorf("%q: %v", approver, err)
		}
	}
}

// The day of what is posted or reversed is within what the storage keeps.
func TestEffectiveDatesAreBounded(t *testing.T) {
	for _, c := range []struct {
		date  ledger.Date
		field string
	}{
		{ledger.Date{}, ""}, {ledger.MinEffectiveDate, ""}, {ledger.MaxEffectiveDate, ""},
		{day(1899, 12, 31), "effective_date"}, {day(2200, 1, 1), "effective_date"}, {day(1, 1, 1), "effective_date"}, {day(9999, 12, 31), "effective_date"},
	} {
		post, posted, rev := transfer(), postHold(), reverse()
		post.EffectiveDate, posted.EffectiveDate, rev.EffectiveDate = c.date, c.date, c.date
		for _, r := range []ledger.Request{post, posted, rev} {
			wantField(t, fmt.Sprintf("%T on %s", r, c.date), r.Validate(), c.field)
		}
	}
}
