package payments_test

import (
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

// What was ordered on several days must not be paid on one: an order can wait for two
// days, and is then not among those of the day on which it is confirmed.
func TestVelocityIsBoundedWhenPaid(t *testing.T) {
	for _, l := range []struct {
		name   string
		change func(*payments.ScreeningConfig)
		rule   string
		apart  time.Duration // between orders, so that each passes
		after  time.Duration // when an order passes again
	}{
		{"payments a day", func(c *payments.ScreeningConfig) { c.DayCount = 1 }, payments.ReasonVelocityDay, 25 * time.Hour, 24 * time.Hour},
		{"euros a day", func(c *payments.ScreeningConfig) { c.DayAmount = 29_99 }, payments.ReasonVelocityDay, 25 * time.Hour, 24 * time.Hour},
	} {
		t.Run(l.name, func(t *testing.T) {
			sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
				w := screened(t, db, func(c *payments.ScreeningConfig) { c.Velocity = payments.VerdictReject; l.change(c) })
				text := "pay 15.00 " + yoann + " yoann_test"
				first := w.wantVerdict(marie, text, held, payments.ReasonHeld)
				w.clock.Add(l.apart)
				second := w.wantVerdict(marie, text, held, payments.ReasonHeld)
				_, err := w.confirm(first.ID, rightCode)
				must(t, err)
				_, err = w.confirm(second.ID, rightCode)
				w.wantCode(err, ledger.CodeForbidden)
				w.wantState(second.ID, payments.StateVoided, l.rule)
				w.wantBalance("wallet:c-000001", 985_00, 985_00)
				w.clock.Add(l.after)
				third := w.wantVerdict(marie, text, held, payments.ReasonHeld)
				_, err = w.confirm(third.ID, rightCode)
				must(t, err)
				w.verify()
			})
		})
	}
}

// Where staff decide on those who pay much, they have decided before the payer confirms.
func TestVelocityThatStaffLookAt(t *testing.T) {
	w := screened(t, sqliteDB(t), func(c *payments.ScreeningConfig) { c.Velocity, c.DayCount = payments.VerdictReview, 1 })
	text := "pay 15.00 " + yoann + " yoann_test"
	first := w.wantVerdict(marie, text, held, payments.ReasonHeld)
	second := w.wantVerdict(marie, text, payments.StateUnderReview, payments.ReasonVelocityDay)
	_, err := w.Release(w.ctx, second.ID, "anne", "the customer moves house")
	must(t, err)
	for _, o := range []payments.Order{first, second} {
		_, err := w.confirm(o.ID, rightCode)
		must(t, err)
	}
	w.verify()
}

// A month's limit counts what was ordered before the month and paid within it.
func TestMonthlyVelocityCountsWhenPaid(t *testing.T) {
	w := screened(t, sqliteDB(t), func(c *payments.ScreeningConfig) { c.Velocity, c.MonthCount = payments.VerdictReject, 1 })
	text := "pay 15.00 " + yoann + " yoann_test"
	first := w.wantVerdict(marie, text, held, payments.ReasonHeld)
	w.clock.Add(47 * time.Hour)
	_, err := w.confirm(first.ID, rightCode)
	must(t, err)
	w.clock.Add(29 * 24 * time.Hour) // 30 days and 23 hours after the order, 29 days after its payment
	second := w.wantVerdict(marie, text, held, payments.ReasonHeld)
	_, err = w.confirm(second.ID, rightCode)
	w.wantCode(err, ledger.CodeForbidden)
	w.wantState(second.ID, payments.StateVoided, payments.ReasonVelocity30)
	w.verify()
}
