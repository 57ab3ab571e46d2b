package payouts_test

import (
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

func day(t testing.TB, text string) ledger.Date {
	t.Helper()
	d, err := ledger.ParseDate(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestBusinessDaysArePublished compares whole years with the closing days that the
// European Central Bank has published, but for those at weekends.
func TestBusinessDaysArePublished(t *testing.T) {
	for year, closed := range map[int][]string{
		2008: {"01-01", "03-21", "03-24", "05-01", "12-25", "12-26"},
		2015: {"01-01", "04-03", "04-06", "05-01", "12-25"},
		2024: {"01-01", "03-29", "04-01", "05-01", "12-25", "12-26"},
		2025: {"01-01", "04-18", "04-21", "05-01", "12-25", "12-26"},
		2026: {"01-01", "04-03", "04-06", "05-01", "12-25"},
		2027: {"01-01", "03-26", "03-29"},
		2028: {"04-14", "04-17", "05-01", "12-25", "12-26"},
	} {
		want := map[string]bool{}
		for _, d := range closed {
			want[d] = true
		}
		for d := (ledger.Date{Year: year, Month: 1, Day: 1}); d.Year == year; d = d.AddDays(1) {
			at := d.Midnight(time.UTC)
			weekend := at.Weekday() == time.Saturday || at.Weekday() == time.Sunday
			if open := !weekend && !want[at.Format("01-02")]; payouts.BusinessDay(d) != open {
				t.Errorf("%s is a business day: %v, want %v", d, !open, open)
			}
		}
	}
}

func TestBusinessDayFrom(t *testing.T) {
	for from, want := range map[string]string{
		"2026-11-20": "2026-11-20", // a Friday
		"2026-11-21": "2026-11-23",
		"2026-04-03": "2026-04-07", // Good Friday
		"2026-12-25": "2026-12-28", // a Friday; the 26th is a Saturday
		"2024-12-25": "2024-12-27",
		"2027-12-31": "2027-12-31",
		"2028-01-01": "2028-01-03",
	} {
		if got := payouts.BusinessDayFrom(day(t, from)); got != day(t, want) {
			t.Errorf("from %s the first business day is %s, want %s", from, got, want)
		}
	}
}

func TestOccurrences(t *testing.T) {
	tests := []struct {
		name   string
		rhythm payments.Rhythm
		anchor string
		from   string
		want   []string // by rhythm, and where they differ: prepared on, executed on
	}{
		{"daily across year end", payments.Daily, "2024-01-01", "2026-12-24", []string{"2026-12-24 2026-12-24 2026-12-28", "2026-12-28", "2026-12-29", "2026-12-30",
			"2026-12-31 2026-12-31 2027-01-04", "2027-01-04"}},
		{"daily over a weekend", payments.Daily, "2024-01-01", "2026-11-21", []string{"2026-11-23"}},
		{"weekly on Mondays over Easter", payments.Weekly, "2024-01-01", "2026-03-31", []string{"2026-04-06 2026-04-07 2026-04-08", "2026-04-13"}},
		{"weekly on Fridays over Christmas", payments.Weekly, "2026-11-06", "2026-12-19", []string{"2026-12-25 2026-12-28 2026-12-29", "2027-01-01 2027-01-04 2027-01-05"}},
		{"weekly on Sundays when summer time ends", payments.Weekly, "2026-11-01", "2026-10-20", []string{"2026-10-25 2026-10-26 2026-10-27", "2026-11-01 2026-11-02 2026-11-03"}},
		{"weekly on Sundays when summer time begins", payments.Weekly, "2026-11-01", "2026-03-24", []string{"2026-03-29 2026-03-30 2026-03-31"}},
		{"fortnightly across year end", payments.Fortnightly, "2026-12-22", "2026-12-10", []string{"2026-12-22", "2027-01-05", "2027-01-19"}},
		{"fortnightly before its anchor", payments.Fortnightly, "2026-12-22", "2026-11-20", []string{"2026-11-24", "2026-12-08"}},
		{"fortnightly over a leap day", payments.Fortnightly, "2028-02-22", "2028-02-22", []string{"2028-02-22", "2028-03-07"}},
		{"monthly on the 1st across year end", payments.Monthly, "2024-01-01", "2026-12-02", []string{"2027-01-01 2027-01-04 2027-01-05", "2027-02-01"}},
		{"monthly on the last", payments.Monthly, "2024-01-31", "2026-11-03", []string{"2026-11-30", "2026-12-31 2026-12-31 2027-01-04", "2027-01-31 2027-02-01 2027-02-02", "2027-02-28 2027-03-01 2027-03-02"}},
		{"monthly on the last, leap year", payments.Monthly, "2024-01-31", "2028-02-10", []string{"2028-02-29", "2028-03-31"}},
		{"monthly on a leap day", payments.Monthly, "2024-02-29", "2027-02-10", []string{"2027-02-28 2027-03-01 2027-03-02", "2027-03-29 2027-03-30 2027-03-31"}},
		{"a batch that waits for Monday is still to come", payments.Monthly, "2024-01-01", "2026-11-02", []string{"2026-11-01 2026-11-02 2026-11-03", "2026-12-01"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := payouts.NextOccurrences(tt.rhythm, day(t, tt.anchor), day(t, tt.from), len(tt.want))
			for i, o := range got {
				text := o.On.String()
				if o.PreparedOn != o.On || o.ExecutionDate != payouts.BusinessDayFrom(o.On.AddDays(1)) || len(tt.want[i]) > len(text) {
					text += " " + o.PreparedOn.String() + " " + o.ExecutionDate.String()
				}
				if text != tt.want[i] {
					t.Errorf("occurrence %d is %s, want %s", i, text, tt.want[i])
				}
				if o.Until != o.On.AddDays(-1) {
					t.Errorf("occurrence %d pays out until %s", i, o.Until)
				}
			}
		})
	}
}

// TestOccurrencesFollowEachOther: whatever day it is, the last occurrence is the one
// before the next, and none is left out or comes twice.
func TestOccurrencesFollowEachOther(t *testing.T) {
	for _, rhythm := range []payments.Rhythm{payments.Daily, payments.Weekly, payments.Fortnightly, payments.Monthly} {
		for _, anchor := range []string{"2024-01-01", "2026-10-31", "2024-02-29", "2030-06-15"} {
			list := payouts.NextOccurrences(rhythm, day(t, anchor), day(t, "2026-01-01"), 300)
			for i := 1; i < len(list); i++ {
				if !list[i-1].On.Before(list[i].On) || list[i].PreparedOn.Before(list[i-1].PreparedOn) || !payouts.BusinessDay(list[i].ExecutionDate) {
					t.Fatalf("%s from %s: %+v is followed by %+v", rhythm, anchor, list[i-1], list[i])
				}
				if last := payouts.LastOccurrence(rhythm, day(t, anchor), list[i].PreparedOn); last != list[i] && last.PreparedOn != list[i].PreparedOn {
					t.Fatalf("%s from %s: on %s the last is %+v, want %+v", rhythm, anchor, list[i].PreparedOn, last, list[i])
				}
				if before := payouts.LastOccurrence(rhythm, day(t, anchor), list[i].PreparedOn.AddDays(-1)); list[i].PreparedOn != list[i-1].PreparedOn && before != list[i-1] {
					t.Fatalf("%s from %s: the day before %s the last is %+v, want %+v", rhythm, anchor, list[i].PreparedOn, before, list[i-1])
				}
			}
		}
	}
}
