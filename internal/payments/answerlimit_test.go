package payments_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
)

// limitedWorld answers nobody more than three times a day.
func limitedWorld(t *testing.T, db *sqldb.DB) *world {
	t.Helper()
	config := testConfig()
	config.DayAnswers = 3
	return newWorldWith(t, db, config)
}

// answers returns how many answers the outbox has in all.
func (w *world) answers() (n int) {
	w.t.Helper()
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.QueryRow(ctx, "SELECT COUNT(*) FROM outbox WHERE kind IN ('reply', 'direct_message')", nil, &n)
	})
	return n
}

// TestAnswersAreLimited answers a stranger three times in 24 hours, says once that this
// is all, and is silent then, whatever the messages ask for and by whatever way.
func TestAnswersAreLimited(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := limitedWorld(t, db)
		w.wantAnswer(w.say(stranger, "help"), payments.OutcomeAnswered, payments.CommandHelp)
		w.wantAnswer(w.say(stranger, "refuse two_amounts"), payments.OutcomeRefused, "two_amounts")
		w.wantAnswer(w.say(stranger, toYoann), payments.OutcomeRefused, payments.ReasonNotCustomer)
		last := w.message(stranger, "help")
		w.wantAnswer(w.take(last), payments.OutcomeRefused, payments.ReasonLastAnswer)
		if public, _ := w.sent(last.ID); len(public) != 1 || public[0] != "Beaucoup de messages en peu de temps : nous répondrons de nouveau demain." {
			t.Errorf("the last answer is %q", public)
		}
		before := w.answers()
		for range 3 {
			for _, text := range []string{"help", "link", "balance", "refuse no_payee", toYoann, "secret"} {
				w.wantAnswer(w.say(stranger, text), payments.OutcomeRefused, payments.ReasonAnswerLimit)
			}
			w.wantAnswer(w.take(w.direct(stranger, "help")), payments.OutcomeRefused, payments.ReasonAnswerLimit)
		}
		if after := w.answers(); after != before {
			t.Errorf("%d answers beyond the last", after-before)
		}
		var decided int
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.QueryRow(ctx, "SELECT COUNT(*) FROM messages WHERE author_id = $1 AND reason = 'answer_limit' AND decision = 'reject'", []any{stranger}, &decided)
		})
		if decided != 21 {
			t.Errorf("%d messages have their decision on record, want 21", decided)
		}
		w.wantAnswer(w.say(marie, "help"), payments.OutcomeAnswered, payments.CommandHelp) // others are not concerned
		w.clock.Add(24 * time.Hour)
		w.wantAnswer(w.say(stranger, "help"), payments.OutcomeAnswered, payments.CommandHelp)
	})
}

// TestPaymentsAreAnsweredBeyondTheLimit tells a customer who asked too much what
// becomes of payments, cancels what is to be cancelled, and says no balance.
func TestPaymentsAreAnsweredBeyondTheLimit(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w = &world{t: t, ctx: w.ctx, db: w.db, clock: w.clock, sink: w.sink, next: w.next}
		config := testConfig()
		config.DayAnswers = 1
		w.Service = w.node(config)
		w.say(marie, "help")
		o := w.ordered("pay 20.00 " + yoann + " yoann_test")
		if got := w.lastReply(); !strings.HasPrefix(got, "Bien reçu") && !strings.Contains(got, "20,00") {
			t.Errorf("the order is answered with %q", got)
		}
		m := w.message(marie, "cancel "+o.Reference())
		w.wantAnswer(w.take(m), payments.OutcomeAnswered, payments.CommandCancel)
		if public, _ := w.sent(m.ID); len(public) != 1 || !strings.Contains(public[0], "20,00") {
			t.Errorf("the cancellation is answered with %q", public)
		}
		o = w.ordered("pay 21.00 " + yoann + " yoann_test")
		before := w.answers()
		w.wantAnswer(w.say(marie, "cancel "+o.Reference()), payments.OutcomeAnswered, payments.ReasonAnswerLimit)
		w.wantState(o.ID, payments.StateCancelled, payments.ReasonAsked)
		w.wantAnswer(w.say(marie, "balance"), payments.OutcomeRefused, payments.ReasonAnswerLimit)
		rejected := w.say(marie, "pay 9999.00 "+yoann+" yoann_test")
		w.wantAnswer(rejected, payments.OutcomeRejected, payments.ReasonAnswerLimit)
		w.wantState(rejected.Order.ID, payments.StateRejected, payments.ReasonOverCap)
		if after := w.answers(); after != before {
			t.Errorf("%d answers beyond the limit", after-before)
		}
		edit := w.message(marie, "pay 22.00 "+yoann+" yoann_test")
		w.take(edit)
		edit = edited(edit, 1, "refuse two_amounts")
		w.wantAnswer(w.take(edit), payments.OutcomeRefused, "two_amounts")
		if public, _ := w.sent(edit.ID); len(public) != 1 || !strings.Contains(public[0], "annul") {
			t.Errorf("an edit that ends a payment is answered with %q", public)
		}
	})
}

// TestAnswersAreLimitedOnSeveralNodes lets two nodes handle a flood at once.
func TestAnswersAreLimitedOnSeveralNodes(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := limitedWorld(t, db)
		config := testConfig()
		config.DayAnswers = 3
		other := w.node(config)
		var ids []uuid.UUID
		for range 12 {
			received, err := w.Receive(w.ctx, w.message(stranger, "help"))
			must(t, err)
			ids = append(ids, received.ID)
		}
		var nodes sync.WaitGroup
		failed := make(chan error, len(ids))
		for i, id := range ids {
			node := []*payments.Service{w.Service, other}[i%2]
			nodes.Go(func() {
				_, err := node.Handle(w.ctx, id)
				failed <- err
			})
		}
		nodes.Wait()
		for range ids {
			must(t, <-failed)
		}
		if n := w.answers(); n != 4 {
			t.Errorf("%d answers, want three and the word that there are no more", n)
		}
	})
}

// TestOutboxIsListedByIndex asks each engine how it reads a page of the outbox, and the
// answers that somebody has had: from an index in its order, and bounded.
func TestOutboxIsListedByIndex(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		for range 30 {
			w.say(marie, "help")
		}
		w.explain(func(_ context.Context, _ *sqldb.Tx, plan func(query string, args ...any) string) {
			after := payments.Cursor{At: w.clock.Now(), ID: uuid.New()}
			for _, f := range []payments.OutboxFilter{{}, {After: after}, {Kind: payments.OutboxReply}, {Kind: payments.OutboxNotice, After: after},
				{Status: payments.OutboxSent}, {Status: payments.OutboxSent, Kind: payments.OutboxReply, After: after},
				{Status: payments.OutboxPending}, {Status: payments.OutboxPending, After: after},
				{Status: payments.OutboxDead}, {Status: payments.OutboxDead, Kind: payments.OutboxReply, After: after}} {
				f.Limit = 10
				for _, q := range payments.OutboxQueries(f) {
					got := plan(q.Query, q.Args...)
					if f.Status == payments.OutboxPending || f.Status == payments.OutboxDead { // all that this index has are few
						got = strings.ReplaceAll(got, "FULL SCAN", "")
					}
					wantIndex(t, got, q.Index)
				}
			}
			wantIndex(t, plan(payments.OrdersOfDayQuery(), uuid.New(), w.clock.Now()), "orders_of_payer")
			wantIndex(t, plan(payments.AnswersQuery(), stranger, channel, payments.DirectChannel(channel), w.clock.Now()), "messages_answered")
		})
	})
}

// TestOutboxPagesAreWhole reads each list page by page, and finds all of it in order.
func TestOutboxPagesAreWhole(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		for range 3 {
			w.ordered("pay 1.00 " + yoann + " yoann_test")
			w.take(w.direct(marie, "balance"))
			w.say(marie, "balance")
		}
		w.deliver()
		w.ordered("pay 2.00 " + yoann + " yoann_test")
		w.exec("UPDATE outbox SET status = 'dead' WHERE status = 'sent' AND template = 'answered'")
		for _, f := range []payments.OutboxFilter{{}, {Kind: payments.OutboxReply}, {Kind: payments.OutboxDirectMessage}, {Status: payments.OutboxSent},
			{Status: payments.OutboxPending}, {Status: payments.OutboxDead}, {Status: payments.OutboxSent, Kind: payments.OutboxNotice}} {
			list := func(limit int, after payments.Cursor) (rows []payments.OutboxRow) {
				f.Limit, f.After = limit, after
				w.read(func(ctx context.Context, tx *sqldb.Tx) error {
					var err error
					rows, err = payments.ListOutbox(ctx, tx, f)
					return err
				})
				return rows
			}
			all, after := list(100, payments.Cursor{}), payments.Cursor{}
			if len(all) == 0 {
				t.Errorf("%+v is empty", f)
			}
			for i := range all {
				page := list(1, after)
				if len(page) != 1 || page[0].ID != all[i].ID {
					t.Fatalf("%+v: row %d is %+v, want %s", f, i, page, all[i].ID)
				}
				if after = page[0].Cursor(); f.Status == payments.OutboxPending {
					after = page[0].PendingCursor()
				}
			}
			if rest := list(1, after); len(rest) != 0 {
				t.Errorf("%+v goes on with %+v", f, rest)
			}
		}
	})
}
