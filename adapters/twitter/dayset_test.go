package twitter

import (
	"strconv"
	"testing"
	"time"
)

// TestReadsAreBilledOnceADay counts ids that come again on the same UTC day, on the
// next, and of another kind.
func TestReadsAreBilledOnceADay(t *testing.T) {
	var s daySet
	evening := time.Date(2026, 11, 22, 23, 59, 59, 0, time.UTC)
	for _, step := range []struct {
		at       time.Time
		resource string
		fresh    bool
	}{
		{evening, "post", true}, {evening, "post", false}, {evening, "dm_event", true},
		{evening.In(time.FixedZone("UTC+9", 9*60*60)), "post", false}, // the day is that of UTC
		{evening.Add(time.Second), "post", true}, {evening.Add(24 * time.Hour), "post", false}, {evening.Add(25 * time.Hour), "post", true},
	} {
		if got := s.add(step.at, step.resource, "1990000000000000001"); got != step.fresh {
			t.Errorf("%s at %v: new is %v", step.resource, step.at, got)
		}
	}
}

// TestReadsOfADayTakeBoundedMemory reads more than X sells in a day.
func TestReadsOfADayTakeBoundedMemory(t *testing.T) {
	var s daySet
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	const reads = 300_000
	mistaken := 0
	for i := range reads {
		if !s.add(now, "post", strconv.Itoa(1_990_000_000_000_000_000+i)) {
			mistaken++
		}
	}
	for i := range reads {
		if s.add(now, "post", strconv.Itoa(1_990_000_000_000_000_000+i)) {
			t.Fatalf("read %d was forgotten", i)
		}
	}
	if mistaken > 3 || len(s.bits)*8 != 4<<20 {
		t.Errorf("%d of %d were mistaken for repeats, in %d bytes", mistaken, reads, len(s.bits)*8)
	}
}
