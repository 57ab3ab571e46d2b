package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/reports"
)

// progressInterval is how often a progress bar is redrawn: often enough to live,
// seldom enough not to cost.
const progressInterval = 100 * time.Millisecond

// asOf is a point in both times of the book, as flags.
type asOf struct{ date, recorded string }

func (f *asOf) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.date, "as-of", "", "up to this effective date, inclusive (2026-01-31)")
	c.Flags().StringVar(&f.recorded, "recorded", "", "as the book stood at this instant (2026-01-31T23:00:00Z)")
}

func (f asOf) parse() (engine.AsOf, error) {
	var at engine.AsOf
	var err error
	if at.EffectiveDate, err = parseDate("--as-of", f.date); err != nil {
		return engine.AsOf{}, err
	}
	at.RecordedAt, err = parseInstant("--recorded", f.recorded)
	return at, err
}

// period is a period of effective dates, as flags.
type period struct{ from, to, recorded string }

func (f *period) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.from, "from", "", "first effective date (default the beginning)")
	c.Flags().StringVar(&f.to, "to", "", "last effective date (default the end)")
	c.Flags().StringVar(&f.recorded, "recorded", "", "the book as it stood at this instant (2026-01-31T23:00:00Z)")
}

func (f period) parse(now time.Time) (reports.Period, error) {
	p := reports.Period{GeneratedAt: now}
	var err error
	if p.From, err = parseDate("--from", f.from); err != nil {
		return p, err
	}
	if p.To, err = parseDate("--to", f.to); err != nil {
		return p, err
	}
	p.RecordedAt, err = parseInstant("--recorded", f.recorded)
	return p, err
}

func parseDate(flag, text string) (ledger.Date, error) {
	if text == "" {
		return ledger.Date{}, nil
	}
	d, err := ledger.ParseDate(text)
	if err != nil {
		return ledger.Date{}, fmt.Errorf("%s: %w", flag, err)
	}
	return d, nil
}

// anyDateFlag adds --any-date.
func anyDateFlag(c *cobra.Command, allowed *bool) {
	c.Flags().BoolVar(allowed, "any-date", false, "take a --date in the future, or more than a year back")
}

// maxBackDays is how far back a --date may lie that nobody confirms: a year is
// closed within the next one, and what is older was most likely mistyped.
const maxBackDays = 366

// checkNear refuses an effective date in the future, or long past. Whether it can be
// posted to at all, the ledger says.
func checkNear(d, today ledger.Date) error {
	switch {
	case d.IsZero() || d.Before(ledger.MinEffectiveDate) || ledger.MaxEffectiveDate.Before(d):
		return nil
	case today.Before(d):
		return ledger.Errorf(ledger.CodeInvalid, "%s is in the future (today is %s); where it is meant, add --any-date", d, today).InField("effective_date")
	case d.Before(today.AddDays(-maxBackDays)):
		return ledger.Errorf(ledger.CodeInvalid, "%s is more than a year back (today is %s); where it is meant, add --any-date", d, today).InField("effective_date")
	}
	return nil
}

func parseInstant(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, ledger.Errorf(ledger.CodeInvalid, "%q is not an instant; write it like 2026-01-31T23:00:00Z", text).InField(flag)
	}
	return t.UTC(), nil
}

// count is a number of things in words: "1 payout", "2 payouts".
func count[N int | int64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
