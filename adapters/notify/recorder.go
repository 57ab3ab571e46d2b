package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"tweetledger/internal/payments"
)

// Recorder is a payments.Notifier that stands in for an SMS gateway: each notice
// becomes a line of JSON on a writer, whole, with its link. It is for
// demonstrations and tests: what it writes lets anybody open the page.
type Recorder struct {
	mu    sync.Mutex
	out   io.Writer
	known map[string]bool
	all   []payments.Notice
}

// NewRecorder returns a Recorder that writes to out, which may be nil.
func NewRecorder(out io.Writer) *Recorder {
	return &Recorder{out: out, known: map[string]bool{}}
}

// maxRecorded bounds the notices that are kept in memory: far more than any story
// tells.
const maxRecorded = 10_000

// line is a notice as a Recorder writes it.
type line struct {
	ID    string `json:"id"`
	Phone string `json:"phone"`
	Text  string `json:"text"`
}

// Notify implements payments.Notifier. A notice that was recorded before is not
// recorded again: a gateway recognises it by its id.
func (r *Recorder) Notify(_ context.Context, n payments.Notice) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known[n.ID] {
		return nil
	}
	if len(r.all) == maxRecorded {
		return fmt.Errorf("record notice %s: %d notices are recorded, and no more are", n.ID, maxRecorded)
	}
	if r.out != nil {
		text, err := json.Marshal(line(n))
		if err != nil {
			return fmt.Errorf("record notice %s: %w", n.ID, err)
		}
		if _, err := r.out.Write(append(text, '\n')); err != nil {
			return fmt.Errorf("record notice %s: %w", n.ID, err)
		}
	}
	r.known[n.ID] = true
	r.all = append(r.all, n)
	return nil
}

// Notices returns all notices that were recorded, in order.
func (r *Recorder) Notices() []payments.Notice {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]payments.Notice(nil), r.all...)
}
