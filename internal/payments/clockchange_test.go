package payments_test

import (
	"strings"
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// turnsOfClocks are instants just before the clocks of Paris change, or the year does, with the
// business dates that follow from them.
var turnsOfClocks = []struct {
	name      string
	start     time.Time   // when everything is ordered and confirmed
	today     ledger.Date // in Paris
	expiresOn ledger.Date // when the term of a confirmation is over
	returnOn  ledger.Date // when an unclaimed payment is returned
	shown     string      // the end of a confirmation, as the payer reads it
	kept      string      // the end of an unclaimed payment, as the payee reads it
}{
	{"an ordinary week", time.Date(2027, 6, 14, 10, 0, 0, 0, time.UTC), ledger.Date{Year: 2027, Month: 6, Day: 14}, ledger.Date{Year: 2027, Month: 6, Day: 16},
		ledger.Date{Year: 2027, Month: 6, Day: 19}, "16/06 à 12h00", "19/06 à 12h00"},
	// 28 March 2027, 01:00 UTC: 02:00 becomes 03:00. 48 hours are 48 hours: an hour later on the clock.
	{"into summer time", time.Date(2027, 3, 26, 22, 30, 0, 0, time.UTC), ledger.Date{Year: 2027, Month: 3, Day: 26}, ledger.Date{Year: 2027, Month: 3, Day: 29},
		ledger.Date{Year: 2027, Month: 4, Day: 1}, "29/03 à 00h30", "01/04 à 00h30"},
	{"in the hour that is not there", time.Date(2027, 3, 26, 1, 30, 0, 0, time.UTC), ledger.Date{Year: 2027, Month: 3, Day: 26}, ledger.Date{Year: 2027, Month: 3, Day: 28},
		ledger.Date{Year: 2027, Month: 3, Day: 31}, "28/03 à 03h30", "31/03 à 03h30"},
	// 31 October 2027, 01:00 UTC: 03:00 becomes 02:00. An hour earlier on the clock.
	{"into winter time", time.Date(2027, 10, 29, 22, 30, 0, 0, time.UTC), ledger.Date{Year: 2027, Month: 10, Day: 30}, ledger.Date{Year: 2027, Month: 10, Day: 31},
		ledger.Date{Year: 2027, Month: 11, Day: 3}, "31/10 à 23h30", "03/11 à 23h30"},
	{"in the hour that comes twice", time.Date(2027, 10, 29, 0, 30, 0, 0, time.UTC), ledger.Date{Year: 2027, Month: 10, Day: 29}, ledger.Date{Year: 2027, Month: 10, Day: 31},
		ledger.Date{Year: 2027, Month: 11, Day: 3}, "31/10 à 02h30", "03/11 à 01h30"},
	// 31 December, 23:30 UTC, is the first business day of the next year.
	{"after the year in Paris alone", time.Date(2027, 12, 31, 23, 30, 0, 0, time.UTC), ledger.Date{Year: 2028, Month: 1, Day: 1}, ledger.Date{Year: 2028, Month: 1, Day: 3},
		ledger.Date{Year: 2028, Month: 1, Day: 6}, "03/01 à 00h30", "06/01 à 00h30"},
	{"in the last minute of the year", time.Date(2027, 12, 31, 22, 59, 0, 0, time.UTC), ledger.Date{Year: 2027, Month: 12, Day: 31}, ledger.Date{Year: 2028, Month: 1, Day: 2},
		ledger.Date{Year: 2028, Month: 1, Day: 5}, "02/01 à 23h59", "05/01 à 23h59"},
}

// TestTermsWhenClocksChange: terms are elapsed time, whatever the clocks of Paris do;
// business dates are those of Paris; and people are told the end on the clock that they
// will see then.
func TestTermsWhenClocksChange(t *testing.T) {
	for _, turn := range turnsOfClocks {
		t.Run(turn.name, func(t *testing.T) {
			config := testConfig()
			config.Screening.Velocity, config.Screening.DayOrders = payments.VerdictReject, 4
			w := newWorldWith(t, sqliteDB(t), config)
			at := func(since time.Duration) { w.clock.now = turn.start.Add(since) }

			// Orders are made at the start, but for the millisecond that each message takes.
			at(0)
			inTime, tooLate, kept := w.ordered("pay 10.00 "+acf+" ACF_France"), w.ordered("pay 20.00 "+acf+" ACF_France"), w.ordered(toStranger)
			for _, o := range []payments.Order{inTime, tooLate, kept} {
				if o.ExpiresAt.Sub(o.CreatedAt) != 48*time.Hour {
					t.Errorf("the term is %s", o.ExpiresAt.Sub(o.CreatedAt))
				}
			}
			w.deliver()
			if notice := w.sink.notices[0].Text; !strings.Contains(notice, turn.shown) {
				t.Errorf("the payer is told %q, and not %s", notice, turn.shown)
			}
			w.clock.now = turn.start
			keptOrder, err := w.confirm(kept.ID, rightCode)
			must(t, err)
			if keptOrder.EffectiveDate != turn.today {
				t.Errorf("posted on %s, not %s", keptOrder.EffectiveDate, turn.today)
			}
			if reply := w.lastReply(); !strings.Contains(reply, turn.kept) {
				t.Errorf("the payee is told %q, and not %s", reply, turn.kept)
			}

			// A rolling day has 24 hours also where the date has 23 or 25.
			at(24*time.Hour - time.Second)
			w.ordered("pay 1.00 " + acf + " ACF_France")
			if h := w.say(marie, "pay 1.00 "+acf+" ACF_France"); h.Order == nil || h.Order.State == payments.StateAwaitingConfirmation {
				t.Errorf("the fifth order in 24 hours became %+v", h.Order)
			}
			at(24*time.Hour + time.Second)
			w.ordered("pay 1.00 " + acf + " ACF_France")

			// The last moment, and the first one after it.
			w.clock.now = inTime.ExpiresAt.Add(-time.Microsecond)
			posted, err := w.confirm(inTime.ID, rightCode)
			must(t, err)
			if posted.EffectiveDate != turn.expiresOn {
				t.Errorf("posted on %s, not %s", posted.EffectiveDate, turn.expiresOn)
			}
			w.clock.now = tooLate.ExpiresAt
			_, err = w.confirm(tooLate.ID, rightCode)
			w.wantCode(err, ledger.CodeConflict)
			_, err = w.ExpireOrders(w.ctx, 100)
			must(t, err)
			w.wantState(tooLate.ID, payments.StateExpired, payments.ReasonTermOver)

			// Five days of 24 hours for the payee, a reminder one of them before.
			at(4*24*time.Hour - time.Microsecond)
			w.sweep(0)
			at(4 * 24 * time.Hour)
			w.sweep(1)
			if u := w.unclaimed(kept.ID); !u.RemindedAt.Equal(turn.start.Add(4 * 24 * time.Hour)) {
				t.Errorf("reminded at %s", u.RemindedAt)
			}
			at(5*24*time.Hour - time.Microsecond)
			w.sweep(0)
			at(5 * 24 * time.Hour)
			w.sweep(1)
			w.wantUnclaimed(kept.ID, payments.UnclaimedReturned, payments.ReasonTermOver)
			if u := w.unclaimed(kept.ID); u.ClosedOn != turn.returnOn {
				t.Errorf("returned on %s, not %s", u.ClosedOn, turn.returnOn)
			}
			w.tied()
			w.verify()
		})
	}
}
