package faulttest_test

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// The environment of a worker.
const (
	workerVariable = "TWEETLEDGER_FAULT_WORKER"       // the URL of its database
	offsetVariable = "TWEETLEDGER_FAULT_CLOCK_OFFSET" // how far its clock is ahead
)

// TestMain runs a worker instead of the tests where the environment says so: the
// test binary starts itself again to have processes that it can kill.
func TestMain(m *testing.M) {
	registerRequests()
	if url := os.Getenv(workerVariable); url != "" {
		if err := work(url, os.Stdin, os.NewFile(3, "answers")); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// order is what a worker is asked to do. Without requests it just answers.
type order struct {
	ID       uint64
	Requests []ledger.Request // one is Post, Hold, …; several are one Submit
	Lookup   bool             // Submit also one, which tells if it was carried out before
}

// answer is what became of an order. The first one, with ID 0, says that the
// worker is ready.
type answer struct {
	ID       uint64
	Outcomes []outcome
}

// outcome is an engine.Outcome that can travel.
type outcome struct {
	Transaction ledger.Transaction
	Hold        ledger.Hold
	Replayed    bool
	Code        ledger.Code // "" is success, unless there is a Message
	Message     string
}

func (o outcome) accepted() bool { return o.Code == "" && o.Message == "" }

// registerRequests tells gob what an order can carry.
func registerRequests() {
	for _, r := range []ledger.Request{ledger.PostRequest{}, ledger.HoldRequest{}, ledger.PostHoldRequest{}, ledger.VoidHoldRequest{}, ledger.ReverseRequest{}} {
		gob.Register(r)
	}
}

// work carries out orders on the book at rawURL, all at once, until there are no more.
func work(rawURL string, orders io.Reader, answers io.Writer) error {
	ctx := context.Background()
	offset, err := time.ParseDuration(os.Getenv(offsetVariable))
	if err != nil {
		return fmt.Errorf("%s: %w", offsetVariable, err)
	}
	db, err := sqldb.Open(ctx, rawURL)
	if err != nil {
		return err
	}
	defer db.Close()
	e := engine.New(db, engine.Options{Clock: func() time.Time { return time.Now().Add(offset) }})
	defer e.Close()
	var mu sync.Mutex
	encoder := gob.NewEncoder(answers) // an answer is one write, so a kill never leaves two mixed up
	tell := func(a answer) error {
		mu.Lock()
		defer mu.Unlock()
		return encoder.Encode(a)
	}
	if err := tell(answer{}); err != nil {
		return err
	}
	var under sync.WaitGroup
	defer under.Wait()
	decoder := gob.NewDecoder(bufio.NewReader(orders))
	for {
		var o order
		if err := decoder.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if len(o.Requests) == 0 {
			if err := tell(answer{ID: o.ID}); err != nil {
				return err
			}
			continue
		}
		under.Go(func() {
			// Nobody is there to hear that an answer cannot be told.
			_ = tell(answer{ID: o.ID, Outcomes: carryOut(ctx, e, o)})
		})
	}
}

// carryOut does what an order says.
func carryOut(ctx context.Context, e *engine.Engine, o order) []outcome {
	if len(o.Requests) > 1 || o.Lookup {
		outcomes, err := e.Submit(ctx, o.Requests)
		if err != nil {
			return []outcome{told(engine.Outcome{Err: err})}
		}
		list := make([]outcome, len(outcomes))
		for i, out := range outcomes {
			list[i] = told(out)
		}
		return list
	}
	var out engine.Outcome
	switch r := o.Requests[0].(type) {
	case ledger.PostRequest:
		out.Transaction, out.Err = e.Post(ctx, r)
	case ledger.HoldRequest:
		out.Hold, out.Err = e.Hold(ctx, r)
	case ledger.PostHoldRequest:
		out.Transaction, out.Err = e.PostHold(ctx, r)
	case ledger.VoidHoldRequest:
		out.Hold, out.Err = e.VoidHold(ctx, r)
	case ledger.ReverseRequest:
		out.Transaction, out.Err = e.Reverse(ctx, r)
	}
	return []outcome{told(out)}
}

func told(out engine.Outcome) outcome {
	o := outcome{Transaction: out.Transaction, Hold: out.Hold, Replayed: out.Replayed, Code: ledger.CodeOf(out.Err)}
	if out.Err != nil {
		o.Message = out.Err.Error()
	}
	return o
}

// book takes orders: an engine in this process, or a worker.
type book interface {
	// do returns what became of an order; ok is whether there was an answer.
	do(o order) (outcomes []outcome, ok bool)
}

// local is an engine in this process.
type local struct {
	ctx    context.Context
	engine *engine.Engine
}

func (l local) do(o order) ([]outcome, bool) { return carryOut(l.ctx, l.engine, o), true }

// worker is a process that works on a book.
type worker struct {
	t    *testing.T
	cmd  *exec.Cmd
	gone chan struct{} // closed when it has ended and all that it said was read

	mu      sync.Mutex
	answers int // how many orders with requests it has answered
	goal    int
	reached chan struct{} // closed when there are as many answers as the goal
	orders  io.WriteCloser
	encoder *gob.Encoder
	last    uint64
	waiting map[uint64]chan answer
}

// startWorker starts a worker and waits until it is ready. It ends with the test.
func startWorker(t *testing.T, rawURL string, offset time.Duration) *worker {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	says, hears, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{t: t, gone: make(chan struct{}), waiting: map[uint64]chan answer{}}
	w.cmd = exec.Command(program)
	w.cmd.Env = append(os.Environ(), workerVariable+"="+rawURL, offsetVariable+"="+offset.String())
	w.cmd.ExtraFiles = []*os.File{hears}
	w.cmd.Stderr = os.Stderr
	if w.orders, err = w.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	w.encoder = gob.NewEncoder(w.orders)
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = hears.Close()
	ready := w.expect(0)
	go w.listen(says)
	t.Cleanup(w.kill)
	select {
	case <-ready:
	case <-w.gone:
		t.Fatal("the worker ended before it was ready")
	case <-time.After(patience):
		t.Fatalf("the worker was not ready within %s", patience)
	}
	return w
}

// expect returns where the answer to an order will be.
func (w *worker) expect(id uint64) <-chan answer {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := make(chan answer, 1)
	w.waiting[id] = c
	return c
}

// listen reads answers until the worker says no more.
func (w *worker) listen(says *os.File) {
	defer close(w.gone)
	defer func() { _ = w.cmd.Wait() }() // a worker that is killed has no better end
	defer says.Close()
	decoder := gob.NewDecoder(bufio.NewReader(says))
	for {
		var a answer
		switch err := decoder.Decode(&a); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return
		case err != nil:
			w.t.Errorf("read the worker's answer: %v", err)
			_ = w.cmd.Process.Kill()
			return
		}
		w.mu.Lock()
		c := w.waiting[a.ID]
		delete(w.waiting, a.ID)
		if len(a.Outcomes) > 0 {
			w.answers++
		}
		if w.reached != nil && w.answers == w.goal {
			close(w.reached)
			w.reached = nil
		}
		w.mu.Unlock()
		if c != nil {
			c <- a
		}
	}
}

// do implements book.
func (w *worker) do(o order) ([]outcome, bool) {
	w.mu.Lock()
	w.last++
	o.ID = w.last
	c := make(chan answer, 1)
	w.waiting[o.ID] = c
	err := w.encoder.Encode(o)
	w.mu.Unlock()
	if err != nil {
		return nil, false
	}
	select {
	case a := <-c:
		return a.Outcomes, true
	case <-w.gone:
	}
	select { // the last thing that it said
	case a := <-c:
		return a.Outcomes, true
	default:
		return nil, false
	}
}

// after returns what is closed when n more orders have been answered, n above 0.
// It is called once.
func (w *worker) after(n int) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.goal, w.reached = w.answers+n, make(chan struct{})
	return w.reached
}

// kill ends the process at once, as a power cut does, and waits until all that
// it had said is known.
func (w *worker) kill() {
	_ = w.cmd.Process.Kill() // it may have ended
	<-w.gone
}

// stop lets the worker finish, and fails the test unless it ends well.
func (w *worker) stop() {
	w.t.Helper()
	w.mu.Lock()
	_ = w.orders.Close()
	w.mu.Unlock()
	select {
	case <-w.gone:
	case <-time.After(patience):
		w.t.Fatalf("the worker did not end within %s", patience)
	}
	if state := w.cmd.ProcessState; !state.Success() {
		w.t.Errorf("the worker ended with %s", state)
	}
}
