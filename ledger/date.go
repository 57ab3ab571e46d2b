package ledger

import (
	"fmt"
	"time"
)

// Date is a business date in Europe/Paris, with no time of day. Effective dates
// are Dates; recorded times are UTC instants.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// maxYear is the last year that a date can be written in.
const maxYear = 9999

// MinEffectiveDate and MaxEffectiveDate are the first and the last day that can be
// posted to. They hold what any book brings along and plans for; the engine packs
// the day into the ids of its pages, where there is room for these.
var (
	MinEffectiveDate = Date{Year: 1900, Month: time.January, Day: 1}
	MaxEffectiveDate = Date{Year: 2199, Month: time.December, Day: 31}
)

// DateIn returns the date that t falls on in loc.
func DateIn(t time.Time, loc *time.Location) Date {
	y, m, d := t.In(loc).Date()
	return Date{Year: y, Month: m, Day: d}
}

// ParseDate reads "2006-01-02", in the years 1 to 9999.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil || t.Year() < 1 {
		return Date{}, Errorf(CodeInvalid, "%q is not a date; write it like 2026-01-31", Clip(s))
	}
	return DateIn(t, time.UTC), nil
}

// String returns "2006-01-02".
func (d Date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day) }

// IsZero reports whether d is the zero Date, which stands for "not given".
func (d Date) IsZero() bool { return d == Date{} }

// valid reports whether d is a day of the calendar that every database can keep:
// in the years 1 to 9999.
func (d Date) valid() bool {
	return d.Year >= 1 && d.Year <= maxYear && DateIn(d.Midnight(time.UTC), time.UTC) == d
}

// postable reports whether d is between MinEffectiveDate and MaxEffectiveDate.
func postable(d Date) bool {
	return d.valid() && !d.Before(MinEffectiveDate) && !MaxEffectiveDate.Before(d)
}

// Before reports whether d is earlier than e.
func (d Date) Before(e Date) bool { return d.Compare(e) < 0 }

// Compare returns -1, 0 or +1 as d is before, the same as, or after e.
func (d Date) Compare(e Date) int { return d.Midnight(time.UTC).Compare(e.Midnight(time.UTC)) }

// AddDays returns the date n days after d (before it where n is negative).
func (d Date) AddDays(n int) Date { return DateIn(d.Midnight(time.UTC).AddDate(0, 0, n), time.UTC) }

// Midnight returns the instant at which d begins in loc.
func (d Date) Midnight(loc *time.Location) time.Time {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, loc)
}

// MarshalText implements encoding.TextMarshaler, so JSON carries "2006-01-02".
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Date) UnmarshalText(text []byte) error {
	parsed, err := ParseDate(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}
