package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tweetledger/internal/metrics"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/reconciliation"
)

// handClock stands still until it is moved.
type handClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *handClock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// process opens a book as one "serve" does.
func process(t *testing.T, variables map[string]string, clock *handClock) (*jobs, *app) {
	t.Helper()
	env := steered(clock.Now(), strings.NewReader(""), io.Discard, io.Discard, func(name string) string { return variables[name] })
	env.now = clock.Now
	a := &app{environment: env, registry: metrics.New()}
	t.Cleanup(func() {
		if err := a.close(); err != nil {
			t.Error(err)
		}
	})
	service, s, err := a.openPayments(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Seal.KeyFile, s.Seal.Publish = variables["seal.pem"], true
	j, err := newJobs(service, s, a.registry, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if j.reconciler, err = a.servedReconciler(t.Context(), service, nil); err != nil {
		t.Fatal(err)
	}
	return j, a
}

// tornHistory cannot be read.
type tornHistory struct{}

func (tornHistory) Messages(context.Context, time.Time, time.Time) iter.Seq2[payments.Message, error] {
	return func(yield func(payments.Message, error) bool) {
		yield(payments.Message{}, errors.New("the archive is torn"))
	}
}

func (tornHistory) Lookup(context.Context, []string) (map[string]reconciliation.Found, error) {
	return nil, nil
}

// TestPayoutsArePreparedOnceADay: whichever of two processes comes first makes the day's
// batch, from the hour on, on business days; one that stood still catches up.
func TestPayoutsArePreparedOnceADay(t *testing.T) {
	dir := t.TempDir()
	if err := cheapSecrets(dir); err != nil {
		t.Fatal(err)
	}
	clock := &handClock{now: time.Date(2026, 10, 23, 7, 0, 0, 0, time.UTC)} // a Friday
	variables := map[string]string{"TWEETLEDGER_DB": "sqlite:" + filepath.Join(dir, "book.db"), "TWEETLEDGER_KEY": testKey,
		"TWEETLEDGER_CONFIG": filepath.Join(dir, defaultConfig), "seal.pem": filepath.Join(dir, "seal.pem")}
	tell := func(args ...string) string {
		t.Helper()
		var out bytes.Buffer
		env := steered(clock.Now(), strings.NewReader(""), &out, &out, func(name string) string { return variables[name] })
		if code := run(t.Context(), args, env); code != exitOK {
			t.Fatalf("%s: exit code %d: %s", strings.Join(args, " "), code, out.String())
		}
		return out.String()
	}
	tell("init")
	tell("seal", "keygen", "--out", variables["seal.pem"])
	tell("payee", "add", "acf", "--name", "Action contre la Faim", "--iban", "FR1420041010050500013M02606", "--rhythm", "daily", "--actor", "anne")
	tell("payee", "approve", "acf", "1", "--actor", "bruno")
	donated := 0
	donate := func() {
		t.Helper()
		donated++
		tell("post", "--key", fmt.Sprintf("gift-%d", donated), "--label", "Gift", "--line", "cards-to-settle,payable:acf,1.00")
	}
	donate()
	first, _ := process(t, variables, clock)
	second, _ := process(t, variables, clock)
	round := func(want int) {
		t.Helper()
		for _, j := range []*jobs{first, second, first} {
			if _, err := j.payouts.run(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := strings.Count(tell("payout", "list", "--format", "csv"), "tweetledger serve"); n != want {
			t.Fatalf("at %s there are %d batches, want %d", clock.Now(), n, want)
		}
	}
	paris := func(date string, hour, minute int) {
		t.Helper()
		d, err := ledger.ParseDate(date)
		if err != nil {
			t.Fatal(err)
		}
		at := d.Midnight(first.book.Location())
		clock.set(time.Date(at.Year(), at.Month(), at.Day(), hour, minute, 0, 0, first.book.Location()))
	}
	round(0) // what is given on a day waits for the next
	paris("2026-10-24", 9, 0)
	round(0) // a Saturday
	donate()
	paris("2026-10-25", 2, 30) // a Sunday, on which summer time ends
	round(0)
	paris("2026-10-26", 5, 59)
	round(0)
	paris("2026-10-26", 6, 0)
	round(1)
	paris("2026-10-26", 23, 59)
	donate()
	round(1)
	paris("2026-10-28", 10, 0) // nobody served on the 27th
	round(2)
	paris("2026-10-29", 10, 0)
	round(2) // nothing was given
	for text, ok := range map[string]bool{"": true, "00:00": true, "6h": false, "24:00": false} {
		s := first.settings
		s.Payouts.PrepareAt = text
		if j, err := newPayoutJob(first.book, s, "x", first.log); (err == nil) != ok || (j == nil) != (text == "" || !ok) {
			t.Errorf("prepare_at = %q gives %v, %v", text, j, err)
		}
	}
}

func gauge(t *testing.T, a *app, name string) float64 {
	t.Helper()
	families, err := a.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func TestOneOfTwoProcessesDoesEachJobAndTheOtherTakesOver(t *testing.T) {
	dir := t.TempDir()
	if err := cheapSecrets(dir); err != nil {
		t.Fatal(err)
	}
	clock := &handClock{now: firstMinute}
	variables := map[string]string{"TWEETLEDGER_DB": "sqlite:" + filepath.Join(dir, "book.db"), "TWEETLEDGER_KEY": testKey,
		"TWEETLEDGER_CONFIG": filepath.Join(dir, defaultConfig), "seal.pem": filepath.Join(dir, "seal.pem")}
	tell := func(args ...string) {
		t.Helper()
		var out bytes.Buffer
		env := steered(clock.Now(), strings.NewReader(""), &out, &out, func(name string) string { return variables[name] })
		if code := run(t.Context(), args, env); code != exitOK {
			t.Fatalf("%s: exit code %d: %s", strings.Join(args, " "), code, out.String())
		}
	}
	settle := func(key string) {
		t.Helper()
		tell("post", "--key", key, "--label", "Settlement", "--line", "safeguarding-account,cards-to-settle,1.00")
	}
	tell("init")
	tell("seal", "keygen", "--out", variables["seal.pem"])
	settle("s-1")
	first, a := process(t, variables, clock)
	second, b := process(t, variables, clock)
	do := func(what string, job func(context.Context) (int, error)) {
		t.Helper()
		if _, err := job(t.Context()); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	entries := func() (n int64) {
		t.Helper()
		heads, _, _, err := sealState(t.Context(), first.book)
		if err != nil {
			t.Fatal(err)
		}
		return heads.Entries()
	}
	announced := func() (n int) {
		t.Helper()
		err := first.book.DB().Read(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			rows, err := payments.ListOutbox(ctx, tx, payments.OutboxFilter{Limit: 100})
			n = len(rows)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}

	// Nothing is announced before something is sealed.
	do("announce", first.announce)
	if n := announced(); n != 0 {
		t.Errorf("%d announcements of nothing", n)
	}
	// The first seals; the second may not, until the lease of the first expires.
	do("measure", first.measure)
	if n := gauge(t, a, "tweetledger_unsealed_pages"); n != 1 {
		t.Errorf("%v pages wait, want 1", n)
	}
	do("seal", first.seal)
	settle("s-2")
	do("seal", second.seal)
	if n := entries(); n != 1 {
		t.Errorf("%d entries are sealed while the first process holds the lease, want 1", n)
	}
	clock.add(2 * leaseTerm)
	do("seal", second.seal)
	if n := entries(); n != 2 {
		t.Errorf("%d entries are sealed after it has expired, want 2", n)
	}
	// The first learns that it has lost the lease, and does no harm.
	settle("s-3")
	do("seal", first.seal)
	if n := entries(); n != 2 {
		t.Errorf("%d entries are sealed by who has lost the lease", n)
	}
	do("seal", second.seal)
	do("measure", second.measure)
	if pages, number := gauge(t, b, "tweetledger_unsealed_pages"), gauge(t, b, "tweetledger_sealed_number"); pages != 0 || number != 3 {
		t.Errorf("%v pages wait, and the last number is %v; want 0 and 3", pages, number)
	}

	// Both announce once in an interval, and nothing behind what still waits.
	do("announce", first.announce)
	do("announce", second.announce)
	settle("s-4")
	do("seal", second.seal)
	clock.add(time.Duration(first.settings.Seal.Interval))
	do("announce", second.announce)
	if n := announced(); n != 1 {
		t.Errorf("%d announcements wait, want 1", n)
	}

	// Both verify once in an interval.
	do("verify", first.verify)
	if n := gauge(t, a, "tweetledger_verify_postings"); n != 4 {
		t.Errorf("%v postings were read, want 4", n)
	}
	do("verify", second.verify)
	if n := gauge(t, b, "tweetledger_verify_postings"); n != 0 {
		t.Errorf("the second process verified what the first just had")
	}
	do("measure", second.measure)
	if at := gauge(t, b, "tweetledger_verify_last_timestamp_seconds"); at != float64(clock.Now().Unix()) {
		t.Errorf("last verified at %v, want %d", at, clock.Now().Unix())
	}
	clock.add(time.Duration(first.settings.Verify.Interval))
	do("verify", second.verify)
	if n := gauge(t, b, "tweetledger_verify_postings"); n != 4 {
		t.Errorf("%v postings were read a day later, want 4", n)
	}

	// Both reconcile once in an interval; a job that fails waits for the next one.
	reconciled := func(j *jobs) (n int) {
		t.Helper()
		do("reconcile", j.reconcile)
		err := j.book.DB().Read(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			list, err := reconciliation.ListRuns(ctx, tx, reconciliation.RunFilter{Job: reconciliation.JobPayouts, Limit: 100})
			n = len(list)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for range 2 {
		for _, j := range []*jobs{first, second} {
			if n := reconciled(j); n != 1 {
				t.Errorf("%d runs in an interval, want 1", n)
			}
		}
	}
	clock.add(first.settings.Reconcile.interval())
	first.reconciler.payments, first.reconciler.history = first.service, tornHistory{}
	if n := reconciled(first); n != 2 {
		t.Errorf("%d runs in two intervals, want 2", n)
	}
	if n := reconciled(second); n != 2 {
		t.Errorf("a job that failed is tried again at once: %d runs", n)
	}
	do("measure breaks", second.measureBreaks)
	if at := gauge(t, b, "tweetledger_reconcile_last_timestamp_seconds"); at != float64(clock.Now().Unix()) {
		t.Errorf("last reconciled at %v, want %d", at, clock.Now().Unix())
	}
	if n := gauge(t, b, "tweetledger_breaks_open"); n != 0 {
		t.Errorf("%v breaks are open", n)
	}
	if n := gauge(t, b, "tweetledger_safeguarding_cover_minor_units"); n != 0 {
		t.Errorf("the settlements have left %v on the account beyond what customers are owed", n)
	}
	first.release(t.Context())
	second.release(t.Context())
	if _, got, err := first.book.AcquireLease(t.Context(), engine.SealerLease, "third", time.Minute); err != nil || !got {
		t.Errorf("the sealer's lease was not given back: %v, %v", got, err)
	}
}
