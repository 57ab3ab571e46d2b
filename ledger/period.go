package ledger

import (
	"fmt"
	"strings"
	"time"
)

// FiscalYear is a year of the books: twelve months, from the first day of one.
type FiscalYear struct {
	// Year is the year in which it begins, which names it: the fiscal year 2026
	// that begins in July ends on 2027-06-30.
	Year     int
	From, To Date // first and last day
}

// FiscalYearOf returns the fiscal year that d is in, where fiscal years begin on
// the first of startMonth. Any month but February to December counts as January:
// the fiscal year is the calendar year.
func FiscalYearOf(d Date, startMonth time.Month) FiscalYear {
	if startMonth < time.January || startMonth > time.December {
		startMonth = time.January
	}
	first := Date{Year: d.Year, Month: startMonth, Day: 1}
	if d.Month < startMonth {
		first.Year--
	}
	next := Date{Year: first.Year + 1, Month: startMonth, Day: 1}
	return FiscalYear{Year: first.Year, From: first, To: next.AddDays(-1)}
}

// PeriodStatus says who may still post into a period.
type PeriodStatus string

// The states of a period.
const (
	PeriodOpen       PeriodStatus = "open"        // everyone
	PeriodSoftClosed PeriodStatus = "soft_closed" // only who makes adjustments
	PeriodHardClosed PeriodStatus = "hard_closed" // nobody
)

func (s PeriodStatus) valid() bool {
	return s == PeriodOpen || s == PeriodSoftClosed || s == PeriodHardClosed
}

// Admits reports whether a posting may go into a period of this state, as an
// adjustment or not.
func (s PeriodStatus) Admits(adjustment bool) bool {
	return s == PeriodOpen || s == PeriodSoftClosed && adjustment
}

// Period is a month of the books, by effective date.
type Period struct {
	ID         string // "2026-11"
	FiscalYear int    // the year in which the fiscal year begins
	From, To   Date   // first and last day
	Status     PeriodStatus
}

// PeriodOf returns the period that d is in, open as periods are until someone
// closes them; startMonth is the one of FiscalYearOf.
func PeriodOf(d Date, startMonth time.Month) Period {
	first := Date{Year: d.Year, Month: d.Month, Day: 1}
	next := DateIn(first.Midnight(time.UTC).AddDate(0, 1, 0), time.UTC)
	return Period{ID: fmt.Sprintf("%04d-%02d", d.Year, d.Month), FiscalYear: FiscalYearOf(d, startMonth).Year,
		From: first, To: next.AddDays(-1), Status: PeriodOpen}
}

// ParsePeriod reads the id of a period, "2026-11", between those of
// MinEffectiveDate and MaxEffectiveDate. The error is an Error with CodeInvalid.
func ParsePeriod(id string, startMonth time.Month) (Period, error) {
	first, err := ParseDate(id + "-01")
	if err != nil || !postable(first) {
		return Period{}, Errorf(CodeInvalid, "%q is not a period; write it like 2026-11, from %.7s to %.7s",
			Clip(id), MinEffectiveDate, MaxEffectiveDate).InField("period")
	}
	return PeriodOf(first, startMonth), nil
}

// Check returns an Error with CodePeriodClosed where a posting may not go into p,
// as an adjustment or not.
func (p Period) Check(adjustment bool) error {
	switch {
	case p.Status.Admits(adjustment):
		return nil
	case p.Status == PeriodSoftClosed:
		return Errorf(CodePeriodClosed, "the period %s is closed for all but adjustments; post with a later date, or as an adjustment", p.ID).InField("effective_date")
	default:
		return Errorf(CodePeriodClosed, "the period %s is closed; post with a later date", p.ID).InField("effective_date")
	}
}

// PeriodChange is a step in the life of a period, kept for ever. A period is
// closed softly, then hard, and may be opened again from both; opening again takes
// a second person and a reason.
type PeriodChange struct {
	Period     string // its id
	From, To   PeriodStatus
	By         string    // who asked for it
	ApprovedBy string    // another person; "" where none is needed
	Reason     string    // 1 to MaxReason bytes to open again; else it may be ""
	At         time.Time // UTC, microseconds
}

// Bounds of a change's text, in bytes.
const (
	MaxActor  = 64
	MaxReason = 500
)

// Reopens reports whether c opens a period that was closed.
func (c PeriodChange) Reopens() bool { return c.To == PeriodOpen }

// Validate checks what can be checked without the book. The error is an Error
// that names the field, with CodeForbidden where who asks approves as well, else
// with CodeInvalid.
func (c PeriodChange) Validate() error {
	if _, err := ParsePeriod(c.Period, time.January); err != nil {
		return err
	}
	if err := c.validateStep(); err != nil {
		return err
	}
	switch {
	case !sayable(c.By, MaxActor):
		return Errorf(CodeInvalid, "say who asks for it, in 1 to %d bytes of printable text", MaxActor).InField("by")
	case c.ApprovedBy == "" && c.Reopens():
		return Errorf(CodeInvalid, "to open a period again takes a second person, who approves it").InField("approved_by")
	case c.ApprovedBy != "" && !sayable(c.ApprovedBy, MaxActor):
		return Errorf(CodeInvalid, "say who approves it, in 1 to %d bytes of printable text", MaxActor).InField("approved_by")
	case samePerson(c.By, c.ApprovedBy):
		return Errorf(CodeForbidden, "%s asked for it, so another person must approve it", c.By).InField("approved_by")
	case (c.Reason != "" || c.Reopens()) && !sayable(c.Reason, MaxReason):
		return Errorf(CodeInvalid, "give a reason of 1 to %d bytes of printable text", MaxReason).InField("reason")
	case c.At.IsZero() || c.At.UTC().Year() < 1 || c.At.UTC().Year() > maxYear:
		return Errorf(CodeInvalid, "the change needs an instant between the years 1 and %d", maxYear).InField("at")
	}
	return nil
}

func (c PeriodChange) validateStep() error {
	switch {
	case !c.From.valid():
		return Errorf(CodeInvalid, "%q is not a state of a period; use open, soft_closed or hard_closed", Clip(string(c.From))).InField("from")
	case !c.To.valid():
		return Errorf(CodeInvalid, "%q is not a state of a period; use open, soft_closed or hard_closed", Clip(string(c.To))).InField("to")
	case c.From == c.To:
		return Errorf(CodeInvalid, "the period %s is %s already", c.Period, c.From).InField("to")
	case c.From == PeriodOpen && c.To == PeriodHardClosed:
		return Errorf(CodeInvalid, "the period %s is open; close it softly first", c.Period).InField("to")
	case c.From == PeriodHardClosed && c.To == PeriodSoftClosed:
		return Errorf(CodeInvalid, "the period %s is hard_closed; open it again first", c.Period).InField("to")
	}
	return nil
}

// sayable reports whether s is printable and not only blanks.
func sayable(s string, most int) bool { return Printable(s, most) && strings.TrimSpace(s) != "" }

// samePerson reports whether two names are spelled alike but for case and blanks
// around them.
func samePerson(a, b string) bool {
	return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b))
}
