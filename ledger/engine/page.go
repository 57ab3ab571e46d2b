package engine

import (
	"math/rand/v2"
	"time"

	"tweetledger/ledger"
)

// The journal is kept in pages: what one commit recorded for one effective date.
// A page's id sorts by effective date, then by recording time: days since
// firstDay in the high bits, steps of slot since firstSlot in the low slotBits (until 2111).
// So the primary key of postings is the order of the journal, and a range of
// dates is a range of ids.
const (
	slotBits = 46
	slot     = 50 * time.Microsecond
)

var (
	firstDay  = ledger.Date{Year: 1900, Month: time.January, Day: 1}
	firstSlot = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)
)

// firstPage returns the id that every page of d has reached and no page of an
// earlier date has. Dates that cannot be posted to count as the nearest that can,
// or as the day after the last.
func firstPage(d ledger.Date) int64 {
	const day = 24 * 60 * 60
	switch last := ledger.MaxEffectiveDate.AddDays(1); {
	case d.Before(firstDay):
		d = firstDay
	case last.Before(d):
		d = last
	}
	// In seconds: a time.Duration ends after 292 years.
	return (d.Midnight(time.UTC).Unix() - firstDay.Midnight(time.UTC).Unix()) / day << slotBits
}

// PagesOf returns the ids between which the pages of an effective date lie: from the
// first to before the end.
func PagesOf(d ledger.Date) (first, end int64) { return firstPage(d), firstPage(d.AddDays(1)) }

// pageID returns the id of the page of d that is recorded at an instant that
// recordedTime gave out.
func pageID(d ledger.Date, recorded time.Time) int64 {
	return firstPage(d) + int64(recorded.Sub(firstSlot)/slot)
}

// place is where a transaction's first posting lies, or any posting.
type place struct{ page, line int64 }

// page is a page of the journal that a batch writes: the transactions that it
// judged one after the other for the same date.
type page struct {
	id           int64
	date         ledger.Date
	adjustment   bool
	recorded     time.Time
	transactions int64
	lines        int64
}

// recordedTime gives out recorded times that only go up, a slot at least from
// one to the next, so that within one engine their order is the order in which
// requests were judged and every page has an id of its own.
func (e *Engine) recordedTime() time.Time {
	now := e.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if earliest := e.last.Add(slot); now.Before(earliest) {
		now = earliest
	}
	e.last = now
	return now
}

// after makes sure that recorded times given out from now on are later than t,
// which another engine with a clock ahead of this one's has given out.
func (e *Engine) after(t time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t.After(e.last) {
		e.last = t.Add(slot)
	}
}

// skip leaves out some slots at random: another engine had the same page id, and
// may go on from there.
func (e *Engine) skip() {
	const most = 1000 // 50 ms
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last = e.last.Add(time.Duration(rand.IntN(most)) * slot)
}
