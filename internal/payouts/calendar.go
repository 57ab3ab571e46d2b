package payouts

import (
	"time"

	"github.com/rickar/cal/v2/ecb"

	"tweetledger/ledger"
)

// BusinessDay reports whether banks settle credit transfers in euro on d: not on
// Saturdays and Sundays, nor on the closing days of TARGET, which are the same in
// all of the euro area whatever else is a holiday there.
// Source: European Central Bank, long-term calendar for TARGET closing days of 14
// December 2000: New Year's Day, Good Friday, Easter Monday, 1 May, 25 and 26 December.
func BusinessDay(d ledger.Date) bool {
	switch d.Midnight(time.UTC).Weekday() {
	case time.Saturday, time.Sunday:
		return false
	}
	for _, closing := range ecb.Holidays {
		if day, _ := closing.Calc(d.Year); ledger.DateIn(day, day.Location()) == d {
			return false
		}
	}
	return true
}

// BusinessDayFrom returns d where it is a business day, and else the next one.
func BusinessDayFrom(d ledger.Date) ledger.Date {
	for !BusinessDay(d) {
		d = d.AddDays(1) // four times at most: from Good Friday over Easter
	}
	return d
}
