package ledgerbench

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Progress is how far a run has come.
type Progress struct {
	Step, Steps int // this is step Step of Steps, from 1
	What        string
	Left        time.Duration // of the whole run, as far as one can tell
}

// String is the progress on one line.
func (p Progress) String() string {
	return fmt.Sprintf("[%d/%d] %s; about %s left", p.Step, p.Steps, p.What, p.Left.Round(time.Second))
}

// step is a part of a run.
type step struct {
	what   string
	expect time.Duration
	run    func(ctx context.Context) error
}

// progressEvery is how often the progress is told within one step.
const progressEvery = 500 * time.Millisecond

func (b *bench) runSteps(ctx context.Context, steps []step) error {
	left := time.Duration(0)
	for _, s := range steps {
		left += s.expect
	}
	for i, s := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		left -= s.expect
		stop := b.tell(Progress{Step: i + 1, Steps: len(steps), What: s.what}, left, s.expect)
		err := s.run(ctx)
		stop()
		if err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return nil
}

// parts is how far a step has come that knows: so many of all its parts are done.
type parts struct{ done, all int64 }

// notePart is called within a step.
func (b *bench) notePart(done, all int64) { b.parts.Store(&parts{done, all}) }

// tell tells the progress until the returned function is called. after is the time
// expected of later steps, expect that of this one, where it does not know better.
func (b *bench) tell(p Progress, after, expect time.Duration) (stop func()) {
	b.parts.Store(&parts{})
	what := p.What
	ended := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for start := time.Now(); ; {
			took := time.Since(start)
			p.Left = after + max(0, expect-took)
			if now := b.parts.Load(); now.done > 0 {
				p.What = fmt.Sprintf("%s, %d%% done", what, 100*now.done/now.all)
				p.Left = after + took/time.Duration(now.done)*time.Duration(now.all-now.done)
			}
			b.Progress(p)
			select {
			case <-tick.C:
			case <-ended:
				return
			}
		}
	})
	return func() {
		close(ended)
		telling.Wait()
	}
}
