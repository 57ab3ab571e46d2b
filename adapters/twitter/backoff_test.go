package twitter

import (
	"testing"
	"time"
)

func TestBackoffFollowsTheTableOfX(t *testing.T) {
	tests := map[failureKind]map[int]time.Duration{ // by the number of failures in a row
		networkFailure: {1: 250 * time.Millisecond, 2: 500 * time.Millisecond, 10: 2500 * time.Millisecond, 64: 16 * time.Second, 1000: 16 * time.Second},
		httpFailure:    {1: 5 * time.Second, 2: 10 * time.Second, 7: 320 * time.Second, 8: 320 * time.Second, 1000: 320 * time.Second},
		rateFailure:    {1: time.Minute, 2: 2 * time.Minute, 4: 8 * time.Minute, 5: 15 * time.Minute, 1000: 15 * time.Minute},
	}
	for kind, want := range tests {
		var b backoff
		for n := 1; n <= 1000; n++ {
			got := b.next(kind)
			if d, ok := want[n]; ok && got != d {
				t.Errorf("%s: failure %d waits %v, want %v", kind, n, got, d)
			}
		}
		b.succeeded()
		if got := b.next(kind); got != want[1] {
			t.Errorf("%s: after a success waits %v", kind, got)
		}
	}
}

func TestConnectBudget(t *testing.T) {
	var b connectBudget
	start := time.Date(2024, 10, 26, 10, 0, 0, 0, time.UTC)
	for i := range connectsPerWindow {
		if wait := b.spend(start.Add(time.Duration(i) * time.Second)); wait != 0 {
			t.Fatalf("connect %d waits %v", i, wait)
		}
	}
	if wait := b.spend(start.Add(time.Minute)); wait != connectWindow-time.Minute {
		t.Errorf("one too many waits %v", wait)
	}
	if wait := b.spend(start.Add(connectWindow)); wait != 0 {
		t.Errorf("after the window waits %v", wait)
	}
}
