package reconciliation

import (
	"context"
	"fmt"
	"strings"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// BreakState is what has become of a break.
type BreakState string

// The states of a break.
const (
	Open          BreakState = "open"
	Explained     BreakState = "explained"       // a person has said why it is right as it is
	Corrected     BreakState = "corrected"       // the ledger was corrected
	WrittenOff    BreakState = "written_off"     // the ledger bears the loss, or the gain
	ClosedByMatch BreakState = "closed_by_match" // a later run does not find it any more
)

func (s BreakState) words() string { return strings.ReplaceAll(string(s), "_", " ") }

// Bounds of what people write about breaks.
const (
	maxActor   = 64
	maxComment = 500
	maxMessage = 2000
	maxKey     = 512
	maxText    = 200
)

// MaxPage bounds the rows of one page of a list of breaks or runs.
const MaxPage = 1_000

// KeptBreak is a break with its life.
type KeptBreak struct {
	Break
	Number            int64 // for people, from 1
	Job               Job
	State             BreakState
	Owner             string // who works on it; empty: nobody yet
	Events            int
	FirstRun, LastRun int64 // that found it
	FirstSeenAt       time.Time
	LastSeenAt        time.Time
	TweetID           string // of the tweet that can be fed into the inbox
}

// same reports whether a run has found just what is kept already.
func (b KeptBreak) same(other Break) bool {
	return b.Class == other.Class && b.Reference == other.Reference && b.Subject == other.Subject && b.Amount == other.Amount &&
		b.Currency == other.Currency && b.Date == other.Date && b.Message == other.Message && b.Suggestion == other.Suggestion && b.TweetID == other.tweetID()
}

// bounded clips what names from outside can make long.
func (b Break) bounded() Break {
	b.Message, b.Suggestion = clipTo(b.Message, maxMessage), clipTo(b.Suggestion, maxMessage)
	b.Reference, b.Subject = clipTo(b.Reference, maxText), clipTo(b.Subject, maxActor)
	return b
}

func (b Break) tweetID() string {
	if b.Tweet == nil {
		return ""
	}
	return b.Tweet.ID
}

// Age is how old a break is, in buckets as accountants look at them.
type Age string

// The buckets: days since a break was first seen.
const (
	AgeNew   Age = "0-1"
	AgeWeek  Age = "2-5"
	AgeMonth Age = "6-30"
	AgeOld   Age = "over 30"
)

// Ages returns the buckets, the youngest first.
func Ages() []Age { return []Age{AgeNew, AgeWeek, AgeMonth, AgeOld} }

// Days returns how many days, by the calendar of loc, a break had been known at an
// instant.
func (b KeptBreak) Days(now time.Time, loc *time.Location) int {
	return int(days(ledger.DateIn(now, loc)) - days(ledger.DateIn(b.FirstSeenAt, loc)))
}

// AgeOf returns the bucket of so many days.
func AgeOf(days int) Age {
	switch {
	case days <= 1:
		return AgeNew
	case days <= 5:
		return AgeWeek
	case days <= 30:
		return AgeMonth
	}
	return AgeOld
}

// BreakFilter selects a page of breaks, in order of their numbers. Zero fields do not
// select.
type BreakFilter struct {
	Job      Job
	State    BreakState
	Class    Class
	Owner    string
	From, To ledger.Date // of what they are about, inclusive
	After    int64       // the last number of the page before
	Limit    int         // 1 to MaxPage
}

func (f BreakFilter) where() sqldb.Where {
	var q sqldb.Where
	for _, of := range [][2]string{{"job", string(f.Job)}, {"state", string(f.State)}, {"class", string(f.Class)}, {"owner", f.Owner}} {
		if of[1] != "" {
			q.And(of[0]+" = ?", of[1])
		}
	}
	q.Period("happened_on", f.From, f.To)
	return q
}

// ListBreaks returns a page of breaks.
func ListBreaks(ctx context.Context, tx *sqldb.Tx, f BreakFilter) ([]KeptBreak, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	q := f.where()
	q.And("number > ?", f.After)
	return breaks(ctx, tx, q.Condition(), q.Args, fmt.Sprintf(" ORDER BY number LIMIT %d", f.Limit))
}

// CountOpen counts the open breaks of a period, by job. It is what keeps a period from
// being closed.
func CountOpen(ctx context.Context, tx *sqldb.Tx, from, to ledger.Date) (map[Job]int, error) {
	q := BreakFilter{State: Open, From: from, To: to}.where()
	counts := map[Job]int{}
	err := tx.Each(ctx, "SELECT job, COUNT(*) FROM breaks"+q.Clause()+" GROUP BY job", q.Args, func(rows *sqldb.Rows) error {
		var job Job
		var n int
		err := rows.Scan(&job, &n)
		counts[job] = n
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("count the open breaks: %w", err)
	}
	return counts, nil
}

// FindBreak returns the break of a number, or CodeNotFound.
func FindBreak(ctx context.Context, tx *sqldb.Tx, number int64) (KeptBreak, error) {
	return findBreak(ctx, tx, number, "")
}

func findBreak(ctx context.Context, tx *sqldb.Tx, number int64, tail string) (KeptBreak, error) {
	list, err := breaks(ctx, tx, "number = $1", []any{number}, tail)
	if err != nil {
		return KeptBreak{}, err
	}
	if len(list) == 0 {
		return KeptBreak{}, ledger.Errorf(ledger.CodeNotFound, "there is no break %d; \"tweetledger break list\" shows those there are", number).InField("number")
	}
	return list[0], nil
}

func breaks(ctx context.Context, tx *sqldb.Tx, where string, args []any, tail string) ([]KeptBreak, error) {
	list, err := sqldb.Collect(ctx, tx, `SELECT number, job, break_key, class, reference, subject, amount, currency, happened_on, message, suggestion, tweet_id,
		owner, state, events, first_run, last_run, first_seen_at, last_seen_at FROM breaks WHERE `+where+tail, args, func(rows *sqldb.Rows) (KeptBreak, error) {
		var b KeptBreak
		err := rows.Scan(&b.Number, &b.Job, &b.Key, &b.Class, &b.Reference, &b.Subject, &b.Amount, &b.Currency, &b.Date, &b.Message, &b.Suggestion, &b.TweetID,
			&b.Owner, &b.State, &b.Events, &b.FirstRun, &b.LastRun, &b.FirstSeenAt, &b.LastSeenAt)
		return b, err
	})
	if err != nil {
		return nil, fmt.Errorf("read breaks: %w", err)
	}
	return list, nil
}

func insertBreaks(ctx context.Context, tx *sqldb.Tx, list []KeptBreak) error {
	err := tx.Insert(ctx, "breaks", []sqldb.Column{
		{Name: "number", Type: "int8"}, {Name: "job", Type: "text"}, {Name: "break_key", Type: "text"}, {Name: "class", Type: "text"},
		{Name: "reference", Type: "text"}, {Name: "subject", Type: "text"}, {Name: "amount", Type: "int8"}, {Name: "currency", Type: "text"},
		{Name: "happened_on", Type: "date"}, {Name: "message", Type: "text"}, {Name: "suggestion", Type: "text"}, {Name: "tweet_id", Type: "text"},
		{Name: "owner", Type: "text"}, {Name: "state", Type: "text"}, {Name: "events", Type: "int8"}, {Name: "first_run", Type: "int8"},
		{Name: "last_run", Type: "int8"}, {Name: "first_seen_at", Type: "timestamptz"}, {Name: "last_seen_at", Type: "timestamptz"},
	}, len(list), func(i int) []any {
		b := list[i]
		return []any{b.Number, string(b.Job), b.Key, string(b.Class), b.Reference, b.Subject, int64(b.Amount), string(b.Currency), b.Date, b.Message,
			b.Suggestion, b.TweetID, b.Owner, string(b.State), int64(1), b.FirstRun, b.LastRun, b.FirstSeenAt, b.LastSeenAt}
	})
	if err != nil {
		return fmt.Errorf("keep breaks: %w", err)
	}
	return nil
}

// EventKind says what happened to a break.
type EventKind string

// The kinds of events.
const (
	EventFound         EventKind = "found"
	EventFoundAgain    EventKind = "found_again"
	EventClosedByMatch EventKind = "closed_by_match"
	EventAssigned      EventKind = "assigned"
	EventComment       EventKind = "comment"
	EventExplained     EventKind = "explained"
	EventReopened      EventKind = "reopened"
	EventProposed      EventKind = "proposed"
	EventApproved      EventKind = "approved"
	EventRejected      EventKind = "rejected"
	EventFed           EventKind = "fed"
)

// Event is one thing that happened to a break.
type Event struct {
	At     time.Time
	Actor  string
	Event  EventKind
	Run    int64 // 0: a person did it
	Reason string
}

// appendEvents adds to the trace of a break, which counts its events.
func appendEvents(ctx context.Context, tx *sqldb.Tx, b *KeptBreak, events ...Event) error {
	for _, e := range events {
		var run any
		if e.Run > 0 {
			run = e.Run
		}
		_, err := tx.Exec(ctx, "INSERT INTO break_events (break_number, ordinal, at, actor, event, run_number, reason) VALUES ($1, $2, $3, $4, $5, $6, $7)",
			b.Number, int64(b.Events), e.At, e.Actor, string(e.Event), run, e.Reason)
		if err != nil {
			return fmt.Errorf("keep what happened to break %d: %w", b.Number, err)
		}
		b.Events++
	}
	if len(events) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, "UPDATE breaks SET events = $1 WHERE number = $2", int64(b.Events), b.Number); err != nil {
		return fmt.Errorf("count what happened to break %d: %w", b.Number, err)
	}
	return nil
}

// EventsOf returns what happened to a break, the first thing first.
func EventsOf(ctx context.Context, tx *sqldb.Tx, number int64) ([]Event, error) {
	list, err := sqldb.Collect(ctx, tx, "SELECT at, actor, event, COALESCE(run_number, 0), reason FROM break_events WHERE break_number = $1 ORDER BY ordinal",
		[]any{number}, func(rows *sqldb.Rows) (Event, error) {
			var e Event
			err := rows.Scan(&e.At, &e.Actor, &e.Event, &e.Run, &e.Reason)
			return e, err
		})
	if err != nil {
		return nil, fmt.Errorf("read what happened to break %d: %w", number, err)
	}
	return list, nil
}

// CountByAge counts the open breaks, by job and by how many days of loc's calendar
// they have been known at an instant.
func CountByAge(ctx context.Context, tx *sqldb.Tx, now time.Time, loc *time.Location) (map[Job]map[Age]int, error) {
	today := ledger.DateIn(now, loc)
	since := func(days int) time.Time { return today.AddDays(-days).Midnight(loc) }
	counts := map[Job]map[Age]int{}
	err := tx.Each(ctx, `SELECT job, CASE WHEN first_seen_at >= $1 THEN 0 WHEN first_seen_at >= $2 THEN 1 WHEN first_seen_at >= $3 THEN 2 ELSE 3 END AS age, COUNT(*)
		FROM breaks WHERE state = 'open' GROUP BY 1, 2`, []any{since(1), since(5), since(30)}, func(rows *sqldb.Rows) error {
		var job Job
		var age, n int
		if err := rows.Scan(&job, &age, &n); err != nil {
			return err
		}
		if counts[job] == nil {
			counts[job] = map[Age]int{}
		}
		counts[job][Ages()[age]] = n
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count the open breaks by age: %w", err)
	}
	return counts, nil
}
