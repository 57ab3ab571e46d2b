package payouts

import (
	"context"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Occurrence is one time that a payee is to be paid out by its rhythm.
type Occurrence struct {
	// On is the day by rhythm and anchor, PreparedOn the day on which the batch is
	// made: the same, or the next business day.
	On, PreparedOn ledger.Date
	// Until is the last day whose donations it pays out, the one before On: what is
	// given while the batch is made waits for the next, so that the hour of its
	// making does not matter.
	Until ledger.Date
	// ExecutionDate is when the bank is to pay: the business day after PreparedOn.
	ExecutionDate ledger.Date
}

func occurrence(on ledger.Date) Occurrence {
	prepared := BusinessDayFrom(on)
	return Occurrence{On: on, PreparedOn: prepared, Until: on.AddDays(-1), ExecutionDate: BusinessDayFrom(prepared.AddDays(1))}
}

// LastOccurrence returns the latest occurrence whose batch was or is to be made on d
// or before. A rhythm counts from its anchor in both directions: weekly on the
// anchor's day of the week, fortnightly every 14 days, monthly on its day of the
// month, or on the month's last where that is shorter; daily is each business day.
func LastOccurrence(rhythm payments.Rhythm, anchor, d ledger.Date) Occurrence {
	on := lastOn(rhythm, anchor, d)
	for last := occurrence(on); ; last = occurrence(on) {
		if !d.Before(last.PreparedOn) {
			return last
		}
		on = lastOn(rhythm, anchor, on.AddDays(-1)) // its batch waits for a business day after d
	}
}

// NextOccurrences returns the n occurrences after LastOccurrence of the day before
// from: those whose batches are to be made on from or later.
func NextOccurrences(rhythm payments.Rhythm, anchor, from ledger.Date, n int) []Occurrence {
	list := make([]Occurrence, 0, n)
	on := LastOccurrence(rhythm, anchor, from.AddDays(-1)).On
	for len(list) < n {
		on = nextOn(rhythm, anchor, on)
		list = append(list, occurrence(on))
	}
	return list
}

// lastOn returns the latest day by rhythm that is d or before.
func lastOn(rhythm payments.Rhythm, anchor, d ledger.Date) ledger.Date {
	switch rhythm {
	case payments.Weekly:
		return d.AddDays(-daysSince(anchor, d, 7))
	case payments.Fortnightly:
		return d.AddDays(-daysSince(anchor, d, 14))
	case payments.Monthly:
		on := dayOfMonth(anchor, d.Year, d.Month)
		if d.Before(on) {
			on = dayOfMonth(anchor, d.Year, d.Month-1)
		}
		return on
	}
	for !BusinessDay(d) {
		d = d.AddDays(-1)
	}
	return d
}

// nextOn returns the day by rhythm after one that is.
func nextOn(rhythm payments.Rhythm, anchor, on ledger.Date) ledger.Date {
	switch rhythm {
	case payments.Weekly:
		return on.AddDays(7)
	case payments.Fortnightly:
		return on.AddDays(14)
	case payments.Monthly:
		return dayOfMonth(anchor, on.Year, on.Month+1)
	}
	return BusinessDayFrom(on.AddDays(1))
}

// daysSince returns how many days ago, at d, a period of so many days began anew
// that began on the anchor, too.
func daysSince(anchor, d ledger.Date, period int) int {
	days := int(d.Midnight(time.UTC).Sub(anchor.Midnight(time.UTC)) / (24 * time.Hour)) // UTC has no summer time
	return ((days % period) + period) % period
}

// dayOfMonth returns the anchor's day in a month, or the month's last where it is
// shorter. The month may be 0 or 13.
func dayOfMonth(anchor ledger.Date, year int, month time.Month) ledger.Date {
	last := ledger.DateIn(time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC), time.UTC)
	return ledger.Date{Year: last.Year, Month: last.Month, Day: min(anchor.Day, last.Day)}
}

// Schedule is when a payee is to be paid out.
type Schedule struct {
	Payee payments.Payee
	Next  []Occurrence
}

// MaxOccurrences bounds the occurrences of one payee that are asked for: a year of
// business days, and some.
const MaxOccurrences = 300

// Schedules returns when the payees with the given codes are to be paid out, or the
// first MaxPage open ones in order of their codes: each one's next n batches that are
// to be made on from or later.
func Schedules(ctx context.Context, tx *sqldb.Tx, codes []string, from ledger.Date, n int) ([]Schedule, error) {
	if n < 1 || n > MaxOccurrences {
		return nil, ledger.Errorf(ledger.CodeInvalid, "ask for 1 to %d dates, not %d", MaxOccurrences, n).InField("count")
	}
	if len(codes) > MaxPage {
		return nil, ledger.Errorf(ledger.CodeInvalid, "ask for at most %d payees, not %d", MaxPage, len(codes)).InField("payees")
	}
	var payees []payments.Payee
	for _, code := range sortedUnique(codes) {
		payee, err := payments.FindPayee(ctx, tx, code)
		if err != nil {
			return nil, err
		}
		payees = append(payees, payee)
	}
	if len(codes) == 0 {
		list, err := payments.ListPayees(ctx, tx, payments.PayeeFilter{Limit: MaxPage})
		if err != nil {
			return nil, err
		}
		for _, payee := range list {
			if payee.Status == payments.Open {
				payees = append(payees, payee)
			}
		}
	}
	schedules := make([]Schedule, len(payees))
	for i, payee := range payees {
		schedules[i] = Schedule{Payee: payee, Next: NextOccurrences(payee.Rhythm, payee.Anchor, from, n)}
	}
	return schedules, nil
}
