package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"tweetledger/adapters/twitter"
	"tweetledger/adapters/twitter/xsim"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
)

// TestLoad sends commands through stream, inbox and order, as fast as the service
// takes them, some of them twice. None may be lost or doubled, and the service may
// not need more memory for many than for few.
//
// go test sends loadTweets; TWEETLEDGER_LOAD=1000000 as many as it says (give
// -timeout), and with -v the rate is printed. TWEETLEDGER_LOAD_PROFILE names a file
// for the service's processor profile.
func TestLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	n := loadTweets
	if text := os.Getenv("TWEETLEDGER_LOAD"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 {
			t.Fatalf("TWEETLEDGER_LOAD is %q; write a number of tweets", text)
		}
	}
	l := newLoad(t, n)
	l.send()
	l.judge()
}

const (
	loadPayers = 500 // or a tenth of the tweets
	// loadAhead bounds the tweets that are on their way: the stream of the simulated X
	// ends where a reader is further behind.
	loadAhead = 500
	// loadMemory is what the service may need at most, in KiB.
	loadMemory = 400 << 10
	// loadPatience is what a tweet may take, on the slowest machine.
	loadPatience = 100 * time.Millisecond
)

type load struct {
	*stage
	size  int
	book  *app
	clock fastClock // as fast as the wall's
	ids   []string
}

func newLoad(t *testing.T, size int) *load {
	t.Helper()
	clock := fastClock{Began: time.Now(), Base: time.Now().UTC().Truncate(time.Second), Factor: 1}
	l := &load{stage: newStage(t, xsim.Options{Clock: clock.Now, MaxTweets: 20 * loadAhead}), size: size, clock: clock, ids: make([]string, 0, size)}
	ctx, cancel := context.WithTimeout(t.Context(), stageTimeout+time.Duration(size)*loadPatience)
	t.Cleanup(cancel)
	l.ctx = ctx
	const calm = "[rules]\nwallet_ceiling = \"10000000.00\"\n[secret]\nmemory_kib = 64\niterations = 1\nparallelism = 1\nworkers = 1\n" +
		"[screening]\nvelocity = \"accept\"\nmany_payees = \"accept\"\nnear_cap = \"accept\"\n"
	if err := os.WriteFile(l.variables["TWEETLEDGER_CONFIG"], []byte(calm), 0o600); err != nil {
		t.Fatal(err)
	}
	l.enrol(l.payers())
	l.book = l.app()
	if _, err := l.book.openBook(l.ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.book.close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func (l *load) payers() int { return min(loadPayers, max(1, l.size/10)) }

// send tweets, and waits for the service where it falls behind.
func (l *load) send() {
	l.t.Helper()
	p := l.startProcess(soakOrders{XURL: l.xURL, Clock: l.clock, Listen: true, Profile: os.Getenv("TWEETLEDGER_LOAD_PROFILE")})
	began := time.Now()
	for i := range l.size {
		if i%100 == 50 {
			l.sim.Duplicate(1)
		}
		l.ids = append(l.ids, l.sim.Tweet(soakPayer(i%l.payers()), fmt.Sprintf("@SmoneyFR #envoyer 0,0%d€ @payer_%d", 1+i%9, (i*7+1)%l.payers())))
		if i >= loadAhead && i%10 == 0 {
			l.until("a tweet comes", func() bool { return l.there(l.ids[i-loadAhead]) })
		}
		if i%100_000 == 99_999 {
			l.t.Logf("%d after %v", i+1, time.Since(began).Round(time.Second))
		}
	}
	// The first may come last: read back, from before the stream was open.
	l.until("all are ordered", func() bool {
		return l.there(l.ids[l.size-1]) && l.count("SELECT COUNT(*) FROM messages WHERE handled_at IS NULL") == 0 &&
			l.count("SELECT COUNT(*) FROM messages") == l.size
	})
	took := time.Since(began)
	l.stopProcess(p, syscall.SIGTERM)
	usage, ok := p.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		l.t.Fatal("nothing is known of the memory that the service needed")
	}
	l.t.Logf("%d commands in %v: %d a second; the service needed %d MiB at most, and %v of processor time", l.size, took.Round(time.Millisecond),
		int64(l.size)*int64(time.Second)/int64(took), usage.Maxrss>>10, (p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()).Round(time.Millisecond))
	if usage.Maxrss > loadMemory {
		l.t.Errorf("the service needed %d KiB; %d are enough", usage.Maxrss, loadMemory)
	}
}

// until looks again and again whether something is so.
func (l *load) until(what string, so func() bool) {
	l.t.Helper()
	for !so() {
		if err := pause(l.ctx, time.Millisecond); err != nil {
			l.t.Fatalf("it never came to this: %s", what)
		}
	}
}

// there reports whether a tweet is in the inbox.
func (l *load) there(id string) bool {
	l.t.Helper()
	return l.count("SELECT COUNT(*) FROM messages WHERE channel = $1 AND message_id = $2", twitter.Channel, id) == 1
}

func (l *load) count(query string, args ...any) (n int) {
	l.t.Helper()
	err := l.book.db.Read(l.ctx, func(ctx context.Context, tx *sqldb.Tx) error { return tx.QueryRow(ctx, query, args, &n) })
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

// judge wants one order of each tweet that holds its money, and a book that verifies.
func (l *load) judge() {
	l.t.Helper()
	held, want := 0, 0
	for i := range l.size {
		want += 1 + i%9
	}
	orders := l.count("SELECT COUNT(*) FROM orders WHERE state = $1", string(payments.StateAwaitingConfirmation))
	messages := l.count("SELECT COUNT(DISTINCT message_id) FROM orders")
	held = l.count("SELECT CAST(SUM(amount) AS INTEGER) FROM holds WHERE status = 'pending'")
	if all := l.count("SELECT COUNT(*) FROM orders"); all != l.size || orders != l.size || messages != l.size || held != want {
		l.t.Errorf("%d tweets made %d orders, %d of them of different messages, of which %d wait for confirmation and hold %d cents; want %d", l.size, all, messages, orders, held, want)
	}
	l.run("verify")
}
