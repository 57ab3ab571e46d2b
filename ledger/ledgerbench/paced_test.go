package ledgerbench

import (
	"context"
	"errors"
	"testing"
	"time"
)

// No coordinated omission: calls arrive while none has been answered, and what they
// wait counts from their arrival.
func TestPacedLoadDoesNotWaitForAnswers(t *testing.T) {
	const arrivals, total = 1000, 50
	allHere := make(chan struct{})
	made := 0
	latencies, err := paced(t.Context(), arrivals, total, func() func() error {
		made++
		if made == total {
			close(allHere)
		}
		return func() error {
			<-allHere
			return nil
		}
	})
	if err != nil || made != total {
		t.Fatalf("%d of %d calls were made: %v", made, total, err)
	}
	for i, latency := range latencies {
		if least := time.Duration(total-1-i) * time.Second / arrivals; latency < least {
			t.Errorf("call %d waited %s for its answer, but %s are counted", i, least, latency)
		}
	}
}

func TestPacedLoadEnds(t *testing.T) {
	broken := errors.New("broken")
	if _, err := paced(t.Context(), 1000, 3, func() func() error { return func() error { return broken } }); !errors.Is(err, broken) {
		t.Errorf("the error of a call is lost: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	made := 0
	_, err := paced(ctx, 1, 1000, func() func() error {
		made++
		cancel()
		return func() error { return nil }
	})
	if !errors.Is(err, context.Canceled) || made != 1 {
		t.Errorf("after an interrupt at the first call %d were made: %v", made, err)
	}
}
