package ledger_test

import (
	"encoding/json"
	"testing"
	"time"
	_ "time/tzdata"

	"pgregory.net/rapid"

	"tweetledger/ledger"
)

func day(year, month, day int) ledger.Date {
	return ledger.Date{Year: year, Month: time.Month(month), Day: day}
}

func paris(t testing.TB) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func TestDateInParis(t *testing.T) {
	for instant, want := range map[string]string{
		"2026-07-14T21:59:59Z": "2026-07-14", // summer: two hours ahead
		"2026-07-14T22:00:00Z": "2026-07-15",
		"2026-01-14T22:59:59Z": "2026-01-14", // winter: one hour
		"2026-01-14T23:00:00Z": "2026-01-15",
		"2026-03-28T23:00:00Z": "2026-03-29", // the night to summer time
		"2026-03-29T21:59:59Z": "2026-03-29",
		"2026-03-29T22:00:00Z": "2026-03-30", // that day had 23 hours
		"2026-10-24T22:00:00Z": "2026-10-25", // the night to winter time
		"2026-10-25T22:59:59Z": "2026-10-25",
		"2026-10-25T23:00:00Z": "2026-10-26", // that day had 25
		"2026-12-31T23:00:00Z": "2027-01-01",
	} {
		at, err := time.Parse(time.RFC3339, instant)
		if err != nil {
			t.Fatal(err)
		}
		if got := ledger.DateIn(at, paris(t)).String(); got != want {
			t.Errorf("%s is %s in Paris, want %s", instant, got, want)
		}
	}
}

func TestMidnightInParis(t *testing.T) {
	for d, hours := range map[ledger.Date]time.Duration{day(2026, 3, 29): 23, day(2026, 10, 25): 25, day(2026, 5, 1): 24} {
		begin, end := d.Midnight(paris(t)), d.AddDays(1).Midnight(paris(t))
		if end.Sub(begin) != hours*time.Hour {
			t.Errorf("%s lasts %s, want %d hours", d, end.Sub(begin), hours)
		}
		if ledger.DateIn(begin, paris(t)) != d || ledger.DateIn(begin.Add(-time.Nanosecond), paris(t)) != d.AddDays(-1) {
			t.Errorf("%s does not begin at %s", d, begin)
		}
	}
}

func TestAddDays(t *testing.T) {
	for _, c := range []struct {
		from ledger.Date
		n    int
		want ledger.Date
	}{
		{day(2024, 2, 28), 1, day(2024, 2, 29)}, {day(2024, 2, 29), 1, day(2024, 3, 1)},
		{day(2026, 2, 28), 1, day(2026, 3, 1)}, {day(2026, 3, 1), -1, day(2026, 2, 28)},
		{day(2000, 2, 28), 1, day(2000, 2, 29)}, {day(1900, 2, 28), 1, day(1900, 3, 1)},
		{day(2026, 12, 31), 1, day(2027, 1, 1)}, {day(2026, 3, 29), 1, day(2026, 3, 30)},
		{day(2024, 2, 29), 366, day(2025, 3, 1)}, {day(2026, 1, 1), 0, day(2026, 1, 1)},
	} {
		if got := c.from.AddDays(c.n); got != c.want {
			t.Errorf("%s and %d days is %s, want %s", c.from, c.n, got, c.want)
		}
	}
}

// drawDate draws a day between the years 1 and 9999.
func drawDate(rt *rapid.T, name string) ledger.Date {
	return day(1, 1, 1).AddDays(rapid.IntRange(0, 3_652_058).Draw(rt, name))
}

func TestDatesAreOrderedAsTheirText(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := drawDate(rt, "a")
		n := rapid.IntRange(-400, 400).Draw(rt, "days")
		b := a.AddDays(n)
		if b.Year < 1 || b.Year > 9999 {
			rt.Skip("out of the calendar")
		}
		if got := b.AddDays(-n); got != a {
			rt.Fatalf("%s and %d days and back is %s", a, n, got)
		}
		if a.Compare(b) != -b.Compare(a) || a.Before(b) != (n > 0) || (a.Compare(b) == 0) != (n == 0) {
			rt.Fatalf("%s and %s, %d days apart, compare as %d", a, b, n, a.Compare(b))
		}
		if a.Before(b) != (a.String() < b.String()) {
			rt.Fatalf("%s and %s are not in the order of their text", a, b)
		}
		if back, err := ledger.ParseDate(a.String()); err != nil || back != a {
			rt.Fatalf("%s reads as %s, %v", a, back, err)
		}
	})
}

func TestParseDateRefuses(t *testing.T) {
	for _, text := range []string{
		"", "2026", "2026-1-1", "2026-13-01", "2026-00-10", "2026-02-29", "2026-04-31", "2026-01-00", "0000-01-01", "26-01-01",
		"2026/01/01", "01-01-2026", "2026-01-01T00:00:00Z", " 2026-01-01", "2026-01-01 ", "-2026-01-01", "12026-01-01", "２026-01-01",
	} {
		if got, err := ledger.ParseDate(text); ledger.CodeOf(err) != ledger.CodeInvalid || !got.IsZero() {
			t.Errorf("%q reads as %s, %v", text, got, err)
		}
	}
}

func FuzzParseDate(f *testing.F) {
	for _, text := range []string{"2026-02-28", "2024-02-29", "2026-02-29", "0000-01-01", "9999-12-31"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ledger.ParseDate(text)
		if err != nil {
			if ledger.CodeOf(err) != ledger.CodeInvalid {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if d.String() != text || d.AddDays(1).AddDays(-1) != d || d.IsZero() {
			t.Fatalf("%q reads as %s", text, d)
		}
	})
}

func TestDateInJSON(t *testing.T) {
	type document struct {
		On   ledger.Date `json:"on"`
		Till ledger.Date `json:"till,omitzero"`
	}
	text, err := json.Marshal(document{On: day(2014, 10, 14)})
	if err != nil || string(text) != `{"on":"2014-10-14"}` {
		t.Fatalf("got %s, %v", text, err)
	}
	var back document
	if err := json.Unmarshal(text, &back); err != nil || back.On != day(2014, 10, 14) || !back.Till.IsZero() {
		t.Errorf("got %+v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"on":"2014-02-30"}`), &back); ledger.CodeOf(err) != ledger.CodeInvalid {
		t.Errorf("30 February: %v", err)
	}
}
