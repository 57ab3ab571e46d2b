package reconciliation

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// RunFilter selects a page of runs, the newest first.
type RunFilter struct {
	Job    Job      // empty: of all jobs
	State  RunState // empty: in any state
	Before int64    // the last number of the page before; 0: the newest ones
	Limit  int      // 1 to MaxPage
}

// ListRuns returns a page of runs.
func ListRuns(ctx context.Context, tx *sqldb.Tx, f RunFilter) ([]Run, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	var q sqldb.Where
	if f.Job != "" {
		q.And("job = ?", string(f.Job))
	}
	if f.State != "" {
		q.And("state = ?", string(f.State))
	}
	if f.Before > 0 {
		q.And("number < ?", f.Before)
	}
	return runs(ctx, tx, q.Clause(), q.Args, f.Limit)
}

// FindRun returns the run of a number, or CodeNotFound.
func FindRun(ctx context.Context, tx *sqldb.Tx, number int64) (Run, error) {
	list, err := runs(ctx, tx, " WHERE number = $1", []any{number}, 1)
	if err != nil {
		return Run{}, err
	}
	if len(list) == 0 {
		return Run{}, ledger.Errorf(ledger.CodeNotFound, "there is no run %d; \"tweetledger reconcile runs\" shows those there are", number).InField("run")
	}
	return list[0], nil
}

func runs(ctx context.Context, tx *sqldb.Tx, clause string, args []any, limit int) ([]Run, error) {
	list, err := sqldb.Collect(ctx, tx, fmt.Sprintf(`SELECT number, job, from_date, to_date, subject, state, reason, started_by, started_at, finished_at, inputs_hash,
		COALESCE(outcome, '') FROM reconciliation_runs%s ORDER BY number DESC LIMIT %d`, clause, limit), args, func(rows *sqldb.Rows) (Run, error) {
		var r Run
		var hash []byte
		var outcome string
		if err := rows.Scan(&r.Number, &r.Job, &r.From, &r.To, &r.Subject, &r.State, &r.Reason, &r.By, &r.StartedAt, &r.FinishedAt, &hash, &outcome); err != nil {
			return r, err
		}
		r.InputsHash = hex.EncodeToString(hash)
		if outcome == "" {
			return r, nil
		}
		return r, json.Unmarshal([]byte(outcome), &r.Outcome)
	})
	if err != nil {
		return nil, fmt.Errorf("read runs: %w", err)
	}
	return list, nil
}

// BreaksOfRun returns the breaks that something happened to in a run, or that it has
// found: by number, at most MaxPage.
func BreaksOfRun(ctx context.Context, tx *sqldb.Tx, r Run) ([]KeptBreak, error) {
	numbers := r.Outcome.Breaks[:min(len(r.Outcome.Breaks), MaxPage)]
	return breaks(ctx, tx, "("+tx.AnyInt8("number", 1)+" OR number IN (SELECT break_number FROM break_events WHERE run_number = $2))",
		[]any{numbers, r.Number}, fmt.Sprintf(" ORDER BY number LIMIT %d", MaxPage))
}

// Change is one way in which a run that was repeated differs from the first one.
type Change struct {
	What          string // "inputs of 2026-11-03", "matched by exact_reference", "breaks"
	Before, After string
}

// Changes compares two runs of a job over the same period: nothing where the inputs
// and all that was found are the same.
func Changes(before, after Run) []Change {
	var list []Change
	differ := func(what, a, b string) {
		if a != b {
			list = append(list, Change{what, a, b})
		}
	}
	differ("inputs", before.InputsHash, after.InputsHash)
	for _, day := range keysOf(before.Outcome.Days, after.Outcome.Days) {
		differ("inputs of "+day, before.Outcome.Days[day], after.Outcome.Days[day])
	}
	counts := func(r Run) map[string]string {
		said := map[string]string{"not finished, and not late": fmt.Sprint(r.Outcome.Open), "notes": fmt.Sprint(r.Outcome.Notes)}
		for _, m := range r.Outcome.Matches {
			said["matched by "+m.Matcher] = fmt.Sprint(m.Count)
		}
		for _, t := range r.Outcome.Totals {
			said["total "+t.Name] = fmt.Sprintf("%d, %s", t.Count, money(t.Amount, t.Currency))
		}
		return said
	}
	was, is := counts(before), counts(after)
	for _, what := range keysOf(was, is) {
		differ(what, was[what], is[what])
	}
	differ("breaks", numbersOf(before.Outcome.Breaks), numbersOf(after.Outcome.Breaks))
	return list
}

// keysOf returns the keys of two maps, each once and in order.
func keysOf(a, b map[string]string) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

func numbersOf(numbers []int64) string {
	if len(numbers) == 0 {
		return "none"
	}
	var text []string
	for _, n := range numbers[:min(len(numbers), maxNamed)] {
		text = append(text, fmt.Sprint(n))
	}
	if more := len(numbers) - maxNamed; more > 0 {
		text = append(text, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(text, ", ")
}

// maxNamed bounds the breaks that one line names.
const maxNamed = 50

// LastFinished returns when a run of each job was last finished.
func LastFinished(ctx context.Context, tx *sqldb.Tx) (map[Job]time.Time, error) {
	last := map[Job]time.Time{}
	err := tx.Each(ctx, "SELECT job, MAX(finished_at) FROM reconciliation_runs WHERE state = 'finished' GROUP BY job", nil, func(rows *sqldb.Rows) error {
		var job Job
		var at time.Time
		err := rows.Scan(&job, &at)
		last[job] = at
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look when jobs were last finished: %w", err)
	}
	return last, nil
}
