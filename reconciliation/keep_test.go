package reconciliation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/reconciliation"
)

func (w *world) keepTweetsOf(from, to ledger.Date) reconciliation.Kept {
	w.t.Helper()
	kept, _, err := reconciliation.Keep(w.ctx, w.engine, reconciliation.KeepRequest{Job: reconciliation.JobTweets, From: from, To: to, By: "anne"},
		func(ctx context.Context, watch reconciliation.Watch) (reconciliation.Result, error) {
			return reconciliation.Tweets(ctx, w.payments, wordParser{}, w.history, reconciliation.TweetsParams{From: from, To: to, Watch: watch})
		})
	w.must(err)
	return kept
}

func (w *world) keepTweets() reconciliation.Kept { return w.keepTweetsOf(from, to) }

func (w *world) keepPayoutsOf(payee string, from, to ledger.Date) reconciliation.Kept {
	w.t.Helper()
	kept, _, err := reconciliation.Keep(w.ctx, w.engine, reconciliation.KeepRequest{Job: reconciliation.JobPayouts, From: from, To: to, Subject: payee, By: "anne"},
		func(ctx context.Context, watch reconciliation.Watch) (reconciliation.Result, error) {
			return reconciliation.Payouts(ctx, w.engine, w.payouts, reconciliation.PayoutsParams{From: from, To: to, Payee: payee, Watch: watch})
		})
	w.must(err)
	return kept
}

func (w *world) read(fn func(ctx context.Context, tx *sqldb.Tx) error) {
	w.t.Helper()
	w.must(w.db.Read(w.ctx, fn))
}

// wantBreak checks the state of a break and what happened to it.
func (w *world) wantBreak(number int64, state reconciliation.BreakState, events ...reconciliation.EventKind) reconciliation.KeptBreak {
	w.t.Helper()
	var b reconciliation.KeptBreak
	var list []reconciliation.Event
	w.read(func(ctx context.Context, tx *sqldb.Tx) (err error) {
		if b, err = reconciliation.FindBreak(ctx, tx, number); err == nil {
			list, err = reconciliation.EventsOf(ctx, tx, number)
		}
		return err
	})
	var kinds []reconciliation.EventKind
	for _, e := range list {
		kinds = append(kinds, e.Event)
	}
	if b.State != state || b.Events != len(list) || (len(events) > 0 && !slices.Equal(kinds, events)) {
		w.t.Errorf("break %d is %s after %v (%d counted), want %s after %v", number, b.State, kinds, b.Events, state, events)
	}
	return b
}

func (w *world) wantCode(code ledger.Code, err error) {
	w.t.Helper()
	if ledger.CodeOf(err) != code {
		w.t.Errorf("got %v, want %s", err, code)
	}
}

// A break is found once, closes when a run does not find it any more, and opens again
// when it is there again; what a person has dealt with stays so until it is another.
func TestBreaksHaveALife(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		m, o := cleanTweets(w)
		if kept := w.keepTweets(); kept.Number != 1 || kept.State != reconciliation.RunFinished || kept.Found+kept.Closed+kept.Open() != 0 {
			t.Fatalf("a clean book's run is %+v", kept)
		}
		text := m.Text
		w.rewrite(m, "pay 21.00 "+yoann+" y")
		for i, found := range []int{1, 0} {
			kept := w.keepTweets()
			if kept.Found != found || kept.Open() != 1 || !slices.Equal(kept.Outcome.Breaks, []int64{1}) {
				t.Fatalf("run %d: %+v", i, kept)
			}
		}
		b := w.wantBreak(1, reconciliation.Open, reconciliation.EventFound)
		if b.FirstRun != 2 || b.LastRun != 3 || b.Class != reconciliation.AmountDiffers || b.Reference != key(m) || b.Date != o.EffectiveDate {
			t.Errorf("the break is %+v", b)
		}
		w.rewrite(m, text)
		if kept := w.keepTweets(); kept.Closed != 1 {
			t.Errorf("%d breaks are closed that are not there any more", kept.Closed)
		}
		w.wantBreak(1, reconciliation.ClosedByMatch, reconciliation.EventFound, reconciliation.EventClosedByMatch)
		var events []reconciliation.Event
		w.read(func(ctx context.Context, tx *sqldb.Tx) (err error) {
			events, err = reconciliation.EventsOf(ctx, tx, 1)
			return err
		})
		if last := events[1]; last.Run != 4 || !strings.Contains(last.Reason, "run 4 ") || last.Actor != "anne" {
			t.Errorf("it does not say which run closed it: %+v", last)
		}

		w.rewrite(m, "pay 21.00 "+yoann+" y")
		if kept := w.keepTweets(); kept.FoundAgain != 1 || kept.Found != 0 || kept.Open() != 1 {
			t.Errorf("a break that is there again: %+v", kept)
		}
		_, err := reconciliation.Explain(w.ctx, w.engine, 1, "the customer agreed on the telephone", "bruno")
		w.must(err)
		if kept := w.keepTweets(); kept.Open() != 0 || len(kept.States) != 1 {
			t.Errorf("an explained break is open again: %+v", kept)
		}
		w.rewrite(m, "pay 25.00 "+yoann+" y")
		if kept := w.keepTweets(); kept.Open() != 1 || kept.FoundAgain != 1 {
			t.Errorf("an explained break of another amount stays closed: %+v", kept)
		}
		w.wantBreak(1, reconciliation.Open, reconciliation.EventFound, reconciliation.EventClosedByMatch, reconciliation.EventFoundAgain,
			reconciliation.EventExplained, reconciliation.EventFoundAgain)
		var open map[reconciliation.Job]int
		var ages map[reconciliation.Job]map[reconciliation.Age]int
		w.pass(6 * day)
		w.read(func(ctx context.Context, tx *sqldb.Tx) (err error) {
			if open, err = reconciliation.CountOpen(ctx, tx, o.EffectiveDate, o.EffectiveDate); err != nil {
				return err
			}
			ages, err = reconciliation.CountByAge(ctx, tx, w.clock(), w.engine.Location())
			return err
		})
		if len(ages) != 1 || len(ages[reconciliation.JobTweets]) != 1 || ages[reconciliation.JobTweets][reconciliation.AgeMonth] != 1 {
			t.Errorf("open breaks by age are %v", ages)
		}
		if len(open) != 1 || open[reconciliation.JobTweets] != 1 {
			t.Errorf("open breaks of the day are %v", open)
		}
	})
}

// A run closes nothing that it did not look at: another day, another payee, another
// job, a history that does not reach so far, or the same thing as of an earlier day.
func TestRunsCloseOnlyWhatTheyCover(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	cleanPayouts(w)
	lost := w.tweet(marie, "pay 3.00 "+yoann+" y") // never arrived
	if kept := w.keepTweets(); kept.Found != 1 {
		t.Fatalf("%+v", kept)
	}
	monday := w.engine.Today()
	p := w.payOut("acf", payouts.BatchExported)
	w.pass(20 * day)
	if kept := w.keepPayoutsOf("", from, to); kept.Found != 1 {
		t.Fatalf("%+v", kept)
	}
	unpaid := int64(2)
	w.wantBreak(unpaid, reconciliation.Open)

	w.history.tweets = slices.DeleteFunc(w.history.tweets, func(m payments.Message) bool { return m.ID == lost.ID })
	w.keepTweets()                       // knows nothing of the tweet any more
	w.keepPayoutsOf("msf", from, to)     // another payee
	w.keepPayoutsOf("", monday, monday)  // as it was then, when it was not late
	w.keepPayoutsOf("acf", from, monday) // likewise
	w.wantBreak(1, reconciliation.Open)
	w.wantBreak(unpaid, reconciliation.Open)

	w.bankSays(paid(p))
	later := w.engine.Today().AddDays(1)
	w.pass(day)
	w.keepPayoutsOf("", later, later.AddDays(1)) // the payout is of another day, and settled before
	w.wantBreak(unpaid, reconciliation.Open)
	w.keepPayoutsOf("", w.engine.Today().AddDays(-2), w.engine.Today()) // the bank paid it in this period
	if b := w.wantBreak(unpaid, reconciliation.Open); b.Events != 1 {
		t.Errorf("a run of fewer days closed it: %+v", b)
	}
	w.keepPayoutsOf("", from, to)
	w.wantBreak(unpaid, reconciliation.ClosedByMatch)
	w.history.tweets = append(w.history.tweets, lost)
	w.take(lost)
	w.keepTweets()
	w.wantBreak(1, reconciliation.ClosedByMatch)
}

func TestPeopleWorkBreaks(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		cleanPayouts(w)
		w.bankSays(payouts.Detail{Amount: 17_00}, payouts.Detail{Amount: 3_00})
		if kept := w.keepPayoutsOf("", from, to); kept.Found != 2 {
			t.Fatalf("%+v", kept)
		}
		e := w.engine
		_, err := reconciliation.Assign(w.ctx, e, 1, "carol", "anne")
		w.must(err)
		_, err = reconciliation.Comment(w.ctx, e, 1, "asked the bank, ticket 4711", "carol")
		w.must(err)
		posting := reconciliation.Posting{Kind: reconciliation.Correction, Debit: payments.AccountSuspense, Credit: payments.PayableCode("acf")}
		made, err := reconciliation.Propose(w.ctx, e, 1, posting, "a gift by transfer", "carol")
		w.must(err)
		if made.Amount != 17_00 || made.Number != 1 {
			t.Errorf("proposed %+v", made)
		}
		_, err = reconciliation.Propose(w.ctx, e, 1, posting, "once more", "carol")
		w.wantCode(ledger.CodeConflict, err)
		_, err = reconciliation.Explain(w.ctx, e, 1, "never mind", "anne")
		w.wantCode(ledger.CodeConflict, err)
		_, err = reconciliation.Approve(w.ctx, e, 1, "checked", "Carol")
		w.wantCode(ledger.CodeForbidden, err)
		_, err = reconciliation.Reject(w.ctx, e, 1, "to msf, it says", "anne")
		w.must(err)
		posting.Credit = payments.PayableCode("msf")
		_, err = reconciliation.Propose(w.ctx, e, 1, posting, "a gift by transfer", "carol")
		w.must(err)
		approved, err := reconciliation.Approve(w.ctx, e, 1, "seen the letter", "anne")
		w.must(err)
		_, err = reconciliation.Approve(w.ctx, e, 1, "seen the letter", "anne")
		w.wantCode(ledger.CodeNotFound, err)
		w.wantBreak(1, reconciliation.Corrected, reconciliation.EventFound, reconciliation.EventAssigned, reconciliation.EventComment, reconciliation.EventProposed,
			reconciliation.EventRejected, reconciliation.EventProposed, reconciliation.EventApproved)
		var txn ledger.Transaction
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			txn, err = engine.FindTransaction(ctx, tx, approved.TransactionID)
			return err
		})
		if txn.Key != "break:1:2" || len(txn.Postings) != 1 || txn.Postings[0].Amount != 17_00 || txn.Postings[0].Debit != ledger.SystemAccountID(payments.AccountSuspense) {
			t.Errorf("posted %+v", txn)
		}

		_, err = reconciliation.Propose(w.ctx, e, 2, reconciliation.Posting{Kind: reconciliation.WriteOff, Debit: payments.AccountSuspense,
			Credit: payments.AccountCommissions, Amount: 1_00}, "found money", "carol")
		w.must(err)
		_, err = reconciliation.Approve(w.ctx, e, 2, "small", "anne")
		w.must(err)
		w.wantBreak(2, reconciliation.WrittenOff)
		if kept := w.keepPayoutsOf("", from, to); kept.Open() != 0 || kept.FoundAgain != 0 {
			t.Errorf("what was dealt with is open again: %+v", kept.States)
		}
		report, err := e.Verify(w.ctx, nil)
		w.must(err)
		if !report.OK() {
			t.Errorf("the book does not verify: %v", report.Differences)
		}
	})
}

func TestBreaksRefuse(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	m, _ := cleanTweets(w)
	w.rewrite(m, "pay 21.00 "+yoann+" y")
	w.keepTweets()
	e := w.engine
	long := strings.Repeat("x", 501)
	good := reconciliation.Posting{Kind: reconciliation.Correction, Debit: payments.AccountSuspense, Credit: payments.AccountCommissions}
	with := func(change func(*reconciliation.Posting)) reconciliation.Posting {
		p := good
		change(&p)
		return p
	}
	for name, c := range map[string]struct {
		code ledger.Code
		do   func() error
	}{
		"no such break":    {ledger.CodeNotFound, func() error { _, err := reconciliation.Explain(w.ctx, e, 9, "why", "anne"); return err }},
		"no reason":        {ledger.CodeInvalid, func() error { _, err := reconciliation.Explain(w.ctx, e, 1, "", "anne"); return err }},
		"nobody":           {ledger.CodeInvalid, func() error { _, err := reconciliation.Explain(w.ctx, e, 1, "why", ""); return err }},
		"long comment":     {ledger.CodeInvalid, func() error { _, err := reconciliation.Comment(w.ctx, e, 1, long, "anne"); return err }},
		"long owner":       {ledger.CodeInvalid, func() error { _, err := reconciliation.Assign(w.ctx, e, 1, long, "anne"); return err }},
		"nothing proposed": {ledger.CodeNotFound, func() error { _, err := reconciliation.Approve(w.ctx, e, 1, "why", "anne"); return err }},
		"not explained":    {ledger.CodeConflict, func() error { _, err := reconciliation.Reopen(w.ctx, e, 1, "why", "anne"); return err }},
		"no kind": {ledger.CodeInvalid, func() error {
			_, err := reconciliation.Propose(w.ctx, e, 1, with(func(p *reconciliation.Posting) { p.Kind = "" }), "why", "anne")
			return err
		}},
		"no account": {ledger.CodeNotFound, func() error {
			_, err := reconciliation.Propose(w.ctx, e, 1, with(func(p *reconciliation.Posting) { p.Debit = "nowhere" }), "why", "anne")
			return err
		}},
		"one account": {ledger.CodeInvalid, func() error {
			_, err := reconciliation.Propose(w.ctx, e, 1, with(func(p *reconciliation.Posting) { p.Credit = p.Debit }), "why", "anne")
			return err
		}},
		"below zero": {ledger.CodeInvalid, func() error {
			_, err := reconciliation.Propose(w.ctx, e, 1, with(func(p *reconciliation.Posting) { p.Amount = -1 }), "why", "anne")
			return err
		}},
		"nobody's run": {ledger.CodeInvalid, func() error {
			_, _, err := reconciliation.Keep(w.ctx, e, reconciliation.KeepRequest{Job: reconciliation.JobTweets, From: from, To: to}, nil)
			return err
		}},
		"lost lease": {ledger.CodeConflict, func() error {
			_, _, err := reconciliation.Keep(w.ctx, e, reconciliation.KeepRequest{Job: reconciliation.JobTweets, From: from, To: to, By: "serve",
				Lease: &engine.Lease{Name: "reconciler", Holder: "me", Token: 3}}, nil)
			return err
		}},
		"a page too long": {ledger.CodeInvalid, func() error {
			return w.db.Read(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
				_, err := reconciliation.ListBreaks(ctx, tx, reconciliation.BreakFilter{Limit: reconciliation.MaxPage + 1})
				return err
			})
		}},
	} {
		if err := c.do(); ledger.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	w.wantBreak(1, reconciliation.Open, reconciliation.EventFound)
}

// Explained breaks can be opened again by hand.
func TestExplanationsAreTakenBack(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	m, _ := cleanTweets(w)
	w.rewrite(m, "pay 21.00 "+yoann+" y")
	w.keepTweets()
	_, err := reconciliation.Explain(w.ctx, w.engine, 1, "agreed", "anne")
	w.must(err)
	_, err = reconciliation.Explain(w.ctx, w.engine, 1, "agreed", "anne")
	w.wantCode(ledger.CodeConflict, err)
	_, err = reconciliation.Reopen(w.ctx, w.engine, 1, "it was another customer", "bruno")
	w.must(err)
	w.wantBreak(1, reconciliation.Open, reconciliation.EventFound, reconciliation.EventExplained, reconciliation.EventReopened)
}

func TestFailedRunsSayWhy(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	torn := errors.New("the archive is torn")
	_, _, err := reconciliation.Keep(w.ctx, w.engine, reconciliation.KeepRequest{Job: reconciliation.JobTweets, From: from, To: to, By: "anne"},
		func(context.Context, reconciliation.Watch) (reconciliation.Result, error) {
			return reconciliation.Result{}, torn
		})
	if !errors.Is(err, torn) {
		t.Errorf("got %v", err)
	}
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		r, err := reconciliation.FindRun(ctx, tx, 1)
		if r.State != reconciliation.RunFailed || r.Reason != torn.Error() || r.FinishedAt.IsZero() {
			t.Errorf("the run is %+v", r)
		}
		_, missing := reconciliation.FindRun(ctx, tx, 2)
		w.wantCode(ledger.CodeNotFound, missing)
		return err
	})
}

// A run under a lease ends those of the process that had the lease before.
func TestRunsOfLostProcessesEnd(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	lost := errors.New("killed")
	keep := func(job func(context.Context, reconciliation.Watch) (reconciliation.Result, error)) error {
		lease, got, err := w.engine.AcquireLease(w.ctx, "reconciler", "me", time.Minute)
		if err != nil || !got {
			t.Fatal(got, err)
		}
		_, _, err = reconciliation.Keep(w.ctx, w.engine, reconciliation.KeepRequest{Job: reconciliation.JobTweets, From: from, To: to, By: "serve", Lease: &lease}, job)
		return err
	}
	func() {
		defer func() { _ = recover() }()
		_ = keep(func(context.Context, reconciliation.Watch) (reconciliation.Result, error) { panic(lost) })
	}()
	w.must(keep(func(ctx context.Context, watch reconciliation.Watch) (reconciliation.Result, error) {
		return reconciliation.Tweets(ctx, w.payments, wordParser{}, w.history, reconciliation.TweetsParams{From: from, To: to, Watch: watch})
	}))
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		first, err := reconciliation.FindRun(ctx, tx, 1)
		if first.State != reconciliation.RunFailed || first.Reason == "" {
			t.Errorf("the run of the lost process is %+v", first)
		}
		return err
	})
}

// A run that is repeated is the same one, or says where it is not.
func TestRunsAreRepeated(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	cleanTweets(w)
	first, again := w.keepTweets(), w.keepTweets()
	var stored reconciliation.Run
	w.read(func(ctx context.Context, tx *sqldb.Tx) (err error) {
		list, err := reconciliation.ListRuns(ctx, tx, reconciliation.RunFilter{Job: reconciliation.JobTweets, State: reconciliation.RunFinished, Limit: 10})
		if len(list) != 2 || list[0].Number != again.Number {
			t.Errorf("runs are %+v", list)
		}
		stored = list[1]
		return err
	})
	if changes := reconciliation.Changes(stored, again.Run); len(changes) != 0 || stored.InputsHash != first.InputsHash {
		t.Errorf("nothing has changed but %v", changes)
	}
	w.pass(day)
	m, _ := w.pay("pay 4.00 " + yoann + " y")
	w.rewrite(m, "pay 5.00 "+yoann+" y")
	var what []string
	for _, c := range reconciliation.Changes(stored, w.keepTweets().Run) {
		what = append(what, c.What)
	}
	if want := []string{"inputs", "inputs of " + w.engine.Today().String(), "breaks"}; !slices.Equal(what, want) {
		t.Errorf("what has changed is %q, want %q", what, want)
	}
}

// A transaction that no order asked for is a break until it is reversed.
func TestTweetsTakeReversedStraysForMended(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	stray := w.post("stray", ledger.Source{Channel: channel, ID: "8000001"}, "wallet:c-000001", payments.AccountSuspense, 5_00)
	if kept := w.keepTweets(); kept.Found != 1 {
		t.Fatalf("%+v", kept)
	}
	_, err := w.engine.Reverse(w.ctx, ledger.ReverseRequest{Key: "undo", TransactionID: stray.ID, Label: "Undone"})
	w.must(err)
	w.keepTweets()
	w.wantBreak(1, reconciliation.ClosedByMatch)
}

func TestAgesOfBreaks(t *testing.T) {
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	seen := time.Date(2026, 11, 2, 23, 30, 0, 0, time.UTC) // the 3rd in Paris
	b := reconciliation.KeptBreak{FirstSeenAt: seen}
	for _, c := range []struct {
		days int
		want reconciliation.Age
	}{{0, reconciliation.AgeNew}, {1, reconciliation.AgeNew}, {2, reconciliation.AgeWeek}, {5, reconciliation.AgeWeek}, {6, reconciliation.AgeMonth},
		{30, reconciliation.AgeMonth}, {31, reconciliation.AgeOld}} {
		got := b.Days(seen.AddDate(0, 0, c.days), paris)
		if got != c.days || reconciliation.AgeOf(got) != c.want {
			t.Errorf("after %d days it is %d days old: %s, want %s", c.days, got, reconciliation.AgeOf(got), c.want)
		}
	}
}

// More breaks than one transaction writes are all kept, and closed, and names from
// outside may be as long as they like.
func TestManyBreaksAreKept(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	result := reconciliation.Result{Job: reconciliation.JobPayouts, From: from, To: to, InputsHash: strings.Repeat("ab", 32)}
	for i := range 1_203 {
		result.Breaks = append(result.Breaks, reconciliation.Break{Key: fmt.Sprint("payouts/late/", i), Class: reconciliation.Late, Reference: fmt.Sprint(i) + strings.Repeat("é", 300),
			Amount: 1, Currency: ledger.EUR, Date: from, Message: strings.Repeat("long ", 1000)})
	}
	keep := func(r reconciliation.Result) reconciliation.Kept {
		kept, _, err := reconciliation.Keep(w.ctx, w.engine, reconciliation.KeepRequest{Job: reconciliation.JobPayouts, From: from, To: to, By: "anne"},
			func(context.Context, reconciliation.Watch) (reconciliation.Result, error) { return r, nil })
		w.must(err)
		return kept
	}
	if kept := keep(result); kept.Found != len(result.Breaks) || kept.Open() != len(result.Breaks) || len(kept.Outcome.Breaks) != len(result.Breaks) {
		t.Errorf("%d of %d breaks are kept", kept.Found, len(result.Breaks))
	}
	result.Breaks = result.Breaks[:1]
	if kept := keep(result); kept.Closed != 1_202 || kept.Found != 0 {
		t.Errorf("%d breaks are closed", kept.Closed)
	}
}
