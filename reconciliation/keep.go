package reconciliation

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// RunState is how far a run has come.
type RunState string

// The states of a run. One that stays running has lost its process.
const (
	RunRunning  RunState = "running"
	RunFinished RunState = "finished"
	RunFailed   RunState = "failed"
)

// Run is a reconciliation that was kept.
type Run struct {
	Number     int64
	Job        Job
	From, To   ledger.Date // inclusive
	Subject    string      // what it was limited to: a payee's code
	State      RunState
	Reason     string // why it failed
	By         string
	StartedAt  time.Time
	FinishedAt time.Time // zero while it runs
	InputsHash string    // SHA-256 in hex, once it is finished
	Outcome    Outcome
}

// Outcome is what a finished run came to, as it is kept.
type Outcome struct {
	Matches []Match           `json:"matches,omitempty"`
	Totals  []Total           `json:"totals,omitempty"`
	Open    int               `json:"open"`             // not finished, and not late
	Notes   int               `json:"notes"`            // how many there were
	Breaks  []int64           `json:"breaks,omitempty"` // those that it found, by number
	Days    map[string]string `json:"days,omitempty"`   // Result.Days
}

// KeepRequest says which run is kept.
type KeepRequest struct {
	Job      Job
	From, To ledger.Date
	Subject  string
	By       string // who wants it
	// Lease, where it is set, must still be held when something is written.
	Lease *engine.Lease
}

// Kept is a run that was kept, with what became of breaks.
type Kept struct {
	Run
	// States are the states of the breaks of the result, by key.
	States map[string]KeptBreak
	// Found, FoundAgain and Closed count the breaks that the run opened, opened again,
	// and closed because they are not there any more.
	Found, FoundAgain, Closed int
}

// Open counts the breaks of the run that nobody has explained, corrected or written off.
func (k Kept) Open() int {
	open := 0
	for _, b := range k.States {
		if b.State == Open {
			open++
		}
	}
	return open
}

// Watch are what breaks that are open are about, each with whether the run has judged
// it: only then does it say something that the break is not found any more.
type Watch map[string]bool

func (w Watch) judged(what string) {
	if _, ok := w[what]; ok {
		w[what] = true
	}
}

// about is what a run judges, where it judges a break: its reference, or the movement.
func (b Break) about() string {
	if strings.HasPrefix(b.Key, movementKey) {
		return b.Key
	}
	return b.Reference
}

// keepBatch bounds the breaks that one transaction writes.
const keepBatch = 500

// Keep runs a job and keeps the run, its breaks, and what became of the breaks that it
// does not find any more: those are closed. It is run in the caller's time, not in a
// transaction; job gets the breaks to watch for. What is interrupted is found anew by
// the next run; the run itself stays running, until one by the same name under a lease
// ends it.
func Keep(ctx context.Context, e *engine.Engine, r KeepRequest, job func(ctx context.Context, watch Watch) (Result, error)) (Kept, Result, error) {
	if err := checkPeriod(r.From, r.To); err != nil {
		return Kept{}, Result{}, err
	}
	if !ledger.Printable(r.By, maxActor) {
		return Kept{}, Result{}, ledger.Errorf(ledger.CodeInvalid, "say who wants the run, in 1 to %d bytes", maxActor).InField("by")
	}
	k := keeper{engine: e, request: r}
	if err := k.begin(ctx); err != nil {
		return Kept{}, Result{}, fmt.Errorf("keep a run of %s: %w", r.Job, err)
	}
	watch, err := k.watch(ctx)
	if err != nil {
		return Kept{}, Result{}, fmt.Errorf("keep run %d: %w", k.run.Number, err)
	}
	result, err := job(ctx, watch)
	if err != nil {
		return Kept{}, result, errors.Join(err, k.fail(ctx, err))
	}
	kept, err := k.finish(ctx, result, watch)
	if err != nil {
		return Kept{}, result, fmt.Errorf("keep run %d: %w", k.run.Number, err)
	}
	return kept, result, nil
}

// keeper keeps one run.
type keeper struct {
	engine  *engine.Engine
	request KeepRequest
	run     Run
}

// write runs fn in a transaction that finds out what an earlier try has written.
func (k *keeper) write(ctx context.Context, fn func(ctx context.Context, tx *sqldb.Tx) error) error {
	return writeUnique(ctx, k.engine.DB(), func(ctx context.Context, tx *sqldb.Tx) error {
		if k.request.Lease != nil {
			if err := k.request.Lease.Check(ctx, tx); err != nil {
				return err
			}
		}
		return fn(ctx, tx)
	})
}

// uniqueTries bounds how often a transaction is run again whose number another one took.
const uniqueTries = 20

func writeUnique(ctx context.Context, db *sqldb.DB, fn func(ctx context.Context, tx *sqldb.Tx) error) error {
	for try := 1; ; try++ {
		err := db.WriteIdempotent(ctx, fn)
		if sqldb.ClassOf(err) != sqldb.ClassUnique || try == uniqueTries {
			return err
		}
	}
}

func (k *keeper) begin(ctx context.Context) error {
	r := k.request
	k.run = Run{Job: r.Job, From: r.From, To: r.To, Subject: r.Subject, State: RunRunning, By: r.By, StartedAt: k.engine.Now()}
	return k.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if r.Lease != nil { // who had it before is gone
			_, err := tx.Exec(ctx, "UPDATE reconciliation_runs SET state = $1, reason = $2, finished_at = $3 WHERE job = $4 AND state = 'running' AND started_by = $5",
				string(RunFailed), "its process ended", k.run.StartedAt, string(r.Job), r.By)
			if err != nil {
				return fmt.Errorf("end runs that lost their process: %w", err)
			}
		}
		if err := tx.QueryRow(ctx, "SELECT COALESCE(MAX(number), 0) + 1 FROM reconciliation_runs", nil, &k.run.Number); err != nil {
			return fmt.Errorf("number the run: %w", err)
		}
		_, err := tx.Exec(ctx, `INSERT INTO reconciliation_runs (number, job, from_date, to_date, subject, state, reason, started_by, started_at)
			VALUES ($1, $2, $3, $4, $5, $6, '', $7, $8)`, k.run.Number, string(r.Job), r.From, r.To, r.Subject, string(RunRunning), r.By, k.run.StartedAt)
		return err
	})
}

func (k *keeper) fail(ctx context.Context, cause error) error {
	err := k.engine.DB().WriteIdempotent(context.WithoutCancel(ctx), func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE reconciliation_runs SET state = $1, reason = $2, finished_at = $3 WHERE number = $4 AND state = 'running'",
			string(RunFailed), clipTo(cause.Error(), maxMessage), k.engine.Now(), k.run.Number)
		return err
	})
	if err != nil {
		return fmt.Errorf("note that run %d failed: %w", k.run.Number, err)
	}
	return nil
}

// watch returns the references of the job's open breaks.
func (k *keeper) watch(ctx context.Context) (Watch, error) {
	watch := Watch{}
	err := k.eachOpen(ctx, func(b KeptBreak) { watch[b.about()] = false })
	return watch, err
}

func (k *keeper) eachOpen(ctx context.Context, visit func(KeptBreak)) error {
	for after := int64(0); ; {
		var page []KeptBreak
		err := k.engine.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			var err error
			page, err = ListBreaks(ctx, tx, BreakFilter{Job: k.request.Job, State: Open, After: after, Limit: MaxPage})
			return err
		})
		if err != nil {
			return err
		}
		for _, b := range page {
			visit(b)
		}
		if len(page) < MaxPage {
			return nil
		}
		after = page[len(page)-1].Number
	}
}

func (k *keeper) finish(ctx context.Context, result Result, watch Watch) (Kept, error) {
	kept := Kept{States: map[string]KeptBreak{}}
	outcome := Outcome{Matches: result.Matches, Totals: result.Totals, Open: result.Open, Notes: len(result.Notes), Days: result.Days}
	for batch := range slices.Chunk(result.Breaks, keepBatch) {
		var states map[string]KeptBreak
		err := k.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			var err error
			states, err = k.keepBreaks(ctx, tx, batch)
			return err
		})
		if err != nil {
			return Kept{}, err
		}
		maps.Copy(kept.States, states)
	}
	for _, b := range kept.States {
		outcome.Breaks = append(outcome.Breaks, b.Number)
	}
	slices.Sort(outcome.Breaks)
	if err := k.closeGone(ctx, kept.States, watch); err != nil {
		return Kept{}, err
	}
	k.run.State, k.run.FinishedAt, k.run.InputsHash, k.run.Outcome = RunFinished, k.engine.Now(), result.InputsHash, outcome
	hash, err := hex.DecodeString(result.InputsHash)
	if err != nil {
		return Kept{}, fmt.Errorf("hash of the inputs: %w", err)
	}
	text, err := json.Marshal(outcome)
	if err != nil {
		return Kept{}, fmt.Errorf("write the outcome: %w", err)
	}
	err = k.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE reconciliation_runs SET state = $1, finished_at = $2, inputs_hash = $3, outcome = $4 WHERE number = $5",
			string(RunFinished), k.run.FinishedAt, hash, string(text), k.run.Number); err != nil {
			return err
		}
		kept.Run = k.run
		return k.count(ctx, tx, &kept)
	})
	return kept, err
}

// count tells what the run did to breaks, by its events.
func (k *keeper) count(ctx context.Context, tx *sqldb.Tx, kept *Kept) error {
	kept.Found, kept.FoundAgain, kept.Closed = 0, 0, 0
	return tx.Each(ctx, "SELECT event, COUNT(*) FROM break_events WHERE run_number = $1 GROUP BY event", []any{k.run.Number}, func(rows *sqldb.Rows) error {
		var event EventKind
		var n int
		if err := rows.Scan(&event, &n); err != nil {
			return err
		}
		switch event {
		case EventFound:
			kept.Found = n
		case EventFoundAgain:
			kept.FoundAgain = n
		case EventClosedByMatch:
			kept.Closed = n
		}
		return nil
	})
}

// keepBreaks writes the breaks of a batch: new ones, and what is new of known ones.
func (k *keeper) keepBreaks(ctx context.Context, tx *sqldb.Tx, batch []Break) (map[string]KeptBreak, error) {
	keys := make([]string, len(batch))
	for i, b := range batch {
		keys[i] = b.Key
	}
	known := make(map[string]KeptBreak, len(batch))
	list, err := breaks(ctx, tx, "job = $1 AND "+tx.AnyText("break_key", 2), []any{string(k.request.Job), keys}, "")
	if err != nil {
		return nil, err
	}
	for _, b := range list {
		known[b.Key] = b
	}
	var last int64
	if err := tx.QueryRow(ctx, "SELECT COALESCE(MAX(number), 0) FROM breaks", nil, &last); err != nil {
		return nil, fmt.Errorf("number the breaks: %w", err)
	}
	var made []KeptBreak
	var seen []int64
	for _, b := range batch {
		b = b.bounded()
		before, ok := known[b.Key]
		if !ok {
			last++
			fresh := KeptBreak{Break: b, Number: last, Job: k.request.Job, State: Open, Events: 0, FirstRun: k.run.Number, LastRun: k.run.Number,
				FirstSeenAt: k.run.StartedAt, LastSeenAt: k.run.StartedAt}
			fresh.TweetID = b.tweetID()
			made = append(made, fresh)
			known[b.Key] = fresh
			continue
		}
		if before.same(b) && before.State != ClosedByMatch && b.Fed == "" {
			seen = append(seen, before.Number)
			before.LastRun, before.LastSeenAt = k.run.Number, k.run.StartedAt
			known[b.Key] = before
			continue
		}
		if known[b.Key], err = k.seeAgain(ctx, tx, before, b); err != nil {
			return nil, err
		}
	}
	if len(seen) > 0 {
		if _, err := tx.Exec(ctx, "UPDATE breaks SET last_run = $1, last_seen_at = $2 WHERE "+tx.AnyInt8("number", 3), k.run.Number, k.run.StartedAt, seen); err != nil {
			return nil, fmt.Errorf("note that breaks were seen: %w", err)
		}
	}
	if err := insertBreaks(ctx, tx, made); err != nil {
		return nil, err
	}
	for i, b := range made {
		events := []Event{{At: k.run.StartedAt, Actor: k.run.By, Event: EventFound, Run: k.run.Number, Reason: string(b.Class)}}
		if b.Fed != "" {
			events = append(events, k.fed(b.Break))
		}
		if err := appendEvents(ctx, tx, &made[i], events...); err != nil {
			return nil, err
		}
		known[b.Key] = made[i]
	}
	return known, nil
}

func (k *keeper) fed(b Break) Event {
	return Event{At: k.run.StartedAt, Actor: k.run.By, Event: EventFed, Run: k.run.Number, Reason: clipTo(b.Fed, maxMessage)}
}

// seeAgain brings a known break up to date. One that was closed because it was not
// there any more is open again, and so is one that was dealt with and is another now.
func (k *keeper) seeAgain(ctx context.Context, tx *sqldb.Tx, before KeptBreak, b Break) (KeptBreak, error) {
	after := before
	after.Break, after.LastRun, after.LastSeenAt, after.TweetID = b, k.run.Number, k.run.StartedAt, b.tweetID()
	var events []Event
	reason := ""
	switch {
	case before.State == ClosedByMatch:
		reason = "it is there again"
	case before.State != Open && (before.Amount != b.Amount || before.Currency != b.Currency):
		reason = fmt.Sprintf("it was %s when it was %s, and is %s now", money(before.Amount, before.Currency), before.State.words(), money(b.Amount, b.Currency))
	}
	if reason != "" {
		after.State = Open
		events = append(events, Event{At: k.run.StartedAt, Actor: k.run.By, Event: EventFoundAgain, Run: k.run.Number, Reason: reason})
	}
	if b.Fed != "" {
		events = append(events, k.fed(b))
	}
	_, err := tx.Exec(ctx, `UPDATE breaks SET class = $1, reference = $2, subject = $3, amount = $4, currency = $5, happened_on = $6, message = $7,
		suggestion = $8, tweet_id = $9, state = $10, last_run = $11, last_seen_at = $12 WHERE number = $13`,
		string(b.Class), b.Reference, b.Subject, int64(b.Amount), string(b.Currency), b.Date, b.Message, b.Suggestion, after.TweetID, string(after.State),
		after.LastRun, after.LastSeenAt, after.Number)
	if err != nil {
		return after, fmt.Errorf("bring break %d up to date: %w", before.Number, err)
	}
	return after, appendEvents(ctx, tx, &after, events...)
}

// closeGone closes the open breaks that the run would have found, and has not.
func (k *keeper) closeGone(ctx context.Context, found map[string]KeptBreak, watch Watch) error {
	var candidates []KeptBreak
	err := k.eachOpen(ctx, func(b KeptBreak) {
		if _, ok := found[b.Key]; !ok && k.covers(b, watch) {
			candidates = append(candidates, b)
		}
	})
	if err != nil {
		return err
	}
	gone, err := k.asLate(ctx, candidates)
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(gone, keepBatch) {
		err := k.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return k.closeBatch(ctx, tx, batch) })
		if err != nil {
			return fmt.Errorf("close %d breaks: %w", len(gone), err)
		}
	}
	return nil
}

// covers reports whether the run would have found a break: where it has judged what
// the break is about, and where it has read all of the break's day from the book.
func (k *keeper) covers(b KeptBreak, watch Watch) bool {
	r := k.request
	if r.Subject != "" && b.Subject != r.Subject {
		return false
	}
	if watch[b.about()] {
		return true
	}
	return r.Job.readsTheBook() && !b.Date.IsZero() && !b.Date.Before(r.From) && !r.To.Before(b.Date)
}

// asLate returns the numbers of the breaks that were last found by a run that did not
// look at a later day: what a payout was last month says nothing of what it is now.
func (k *keeper) asLate(ctx context.Context, candidates []KeptBreak) ([]int64, error) {
	if len(candidates) == 0 {
		return nil, nil
	}
	until := map[int64]ledger.Date{}
	var numbers []int64
	for _, b := range candidates {
		if _, ok := until[b.LastRun]; !ok {
			until[b.LastRun] = ledger.Date{}
			numbers = append(numbers, b.LastRun)
		}
	}
	err := k.engine.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.Each(ctx, "SELECT number, to_date FROM reconciliation_runs WHERE "+tx.AnyInt8("number", 1), []any{numbers}, func(rows *sqldb.Rows) error {
			var number int64
			var to ledger.Date
			err := rows.Scan(&number, &to)
			until[number] = to
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read the runs that found breaks: %w", err)
	}
	var list []int64
	for _, b := range candidates {
		if !k.request.Job.readsTheBook() || !k.request.To.Before(until[b.LastRun]) {
			list = append(list, b.Number)
		}
	}
	return list, nil
}

func (k *keeper) closeBatch(ctx context.Context, tx *sqldb.Tx, numbers []int64) error {
	list, err := breaks(ctx, tx, "state = 'open' AND "+tx.AnyInt8("number", 1), []any{numbers}, tx.ForUpdate())
	if err != nil {
		return err
	}
	for _, b := range list {
		b.State = ClosedByMatch
		if _, err := tx.Exec(ctx, "UPDATE breaks SET state = $1 WHERE number = $2", string(b.State), b.Number); err != nil {
			return err
		}
		event := Event{At: k.run.StartedAt, Actor: k.run.By, Event: EventClosedByMatch, Run: k.run.Number,
			Reason: fmt.Sprintf("run %d of %s to %s does not find it any more", k.run.Number, k.run.From, k.run.To)}
		if err := appendEvents(ctx, tx, &b, event); err != nil {
			return err
		}
	}
	return nil
}

// clipTo shortens a text to at most so many characters.
func clipTo(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}
