package twitter

import (
	"bufio"
	"context"
	"errors"
	"io"
	"time"

	"golang.org/x/sync/semaphore"
)

// What X sends while earlier posts are being stored is read meanwhile, so that it can be
// stored together: X cuts off who does not read. The bounds are what waits in memory.
const (
	maxLinesAhead = maxOffered
	maxBytesAhead = 2 * maxEventBytes
)

// streamLine is a line of a stream.
type streamLine struct {
	text []byte
	at   time.Time // when it was read
	err  error     // the stream has ended with it
}

// streamLines are the lines of one connection that were read and not yet taken.
type streamLines struct {
	queue chan streamLine
	bytes *semaphore.Weighted // room for what waits
	done  chan struct{}       // closed when nothing is read any more
}

// readLines reads lines ahead until the stream or ctx ends, which must end the reading
// of body as well.
func (c *Client) readLines(ctx context.Context, body io.Reader) *streamLines {
	l := &streamLines{queue: make(chan streamLine, maxLinesAhead), bytes: semaphore.NewWeighted(maxBytesAhead), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		in := bufio.NewReaderSize(body, importBuffer)
		for {
			text, err := readLine(in, maxEventBytes)
			if errors.Is(err, io.EOF) {
				err = errEnded
			}
			if l.bytes.Acquire(ctx, int64(len(text))) != nil {
				return
			}
			select {
			case l.queue <- streamLine{text: text, at: c.opts.Clock(), err: err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return l
}

// finished waits until nothing is read any more, after ctx has ended.
func (l *streamLines) finished() { <-l.done }

// nextLines waits for a line and returns it with all that are there behind it, or
// errSilent where none comes in time.
func (c *Client) nextLines(ctx context.Context, l *streamLines) ([]streamLine, error) {
	batch := l.waiting(nil)
	if len(batch) == 0 {
		select {
		case line := <-l.queue:
			batch = l.waiting(l.took(nil, line))
		case <-c.opts.After(streamSilence):
			return nil, errSilent
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return batch, nil
}

// waiting adds the lines that are there to batch.
func (l *streamLines) waiting(batch []streamLine) []streamLine {
	for len(batch) < maxLinesAhead {
		select {
		case line := <-l.queue:
			batch = l.took(batch, line)
		default:
			return batch
		}
	}
	return batch
}

func (l *streamLines) took(batch []streamLine, line streamLine) []streamLine {
	l.bytes.Release(int64(len(line.text)))
	return append(batch, line)
}
