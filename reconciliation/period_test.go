package reconciliation_test

import (
	"context"
	"testing"
	"time"

	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/reconciliation"
)

func (w *world) reconcileTweetsOf(from, to ledger.Date) reconciliation.Result {
	w.t.Helper()
	r, err := reconciliation.Tweets(w.ctx, w.payments, wordParser{}, w.history, reconciliation.TweetsParams{From: from, To: to})
	w.must(err)
	return r
}

// A break belongs to the day on which it was posted, and to no other.
func TestTweetsKeepToThePeriod(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	m, o := w.pay("pay 4.00 " + yoann + " y")
	w.rewrite(m, "pay 5.00 "+yoann+" y")
	monday := w.engine.Today()
	w.pass(day)
	w.pay("pay 6.00 " + yoann + " y")
	tuesday := w.engine.Today()
	wantBreaks(t, w.reconcileTweetsOf(monday, monday), want{reconciliation.AmountDiffers, key(m), 1_00})
	r := w.reconcileTweetsOf(tuesday, tuesday)
	wantBreaks(t, r)
	if got := matches(r); got != "exact_reference 1" {
		t.Errorf("matches of Tuesday are %q", got)
	}
	if o.EffectiveDate != monday {
		t.Fatalf("the first order was posted on %s", o.EffectiveDate)
	}
}

// What the ledger has lost the source of is still found by its order, as far back
// as the order may have waited.
func TestTweetsFindPostingsByTheirOrders(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	m := w.tweet(marie, "pay 4.00 "+yoann+" y")
	handled := w.take(m)
	w.pass(47 * time.Hour)
	o := w.confirm(handled)
	w.deliver()
	w.must(w.db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error { // as nobody may
		_, err := tx.Exec(ctx, "DROP TRIGGER postings_no_update")
		return err
	}))
	w.exec("UPDATE postings SET source_channel = NULL, source_id = NULL WHERE ordinal = 0 AND transaction_id = $1", o.TransactionID)
	w.rewrite(m, "pay 5.00 "+yoann+" y")
	wantBreaks(t, w.reconcileTweetsOf(o.EffectiveDate, o.EffectiveDate), want{reconciliation.AmountDiffers, key(m), 1_00})
}

// A reversal names the same source as what it undoes and is no second posting.
func TestTweetsTakeReversalsForNoPostings(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	_, o := w.pay("pay 4.00 " + yoann + " y")
	_, err := w.engine.Reverse(w.ctx, ledger.ReverseRequest{Key: "undo", TransactionID: o.TransactionID, Label: "Undone"})
	w.must(err)
	wantBreaks(t, w.reconcileTweetsOf(from, to))
}

// The history may know less than the inbox: only an older version of what arrived.
func TestTweetsTakeTheNewestVersionForTheTweet(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	m := w.tweet(marie, "pay 4.00 "+yoann+" y")
	w.take(w.edit(m, "pay 5.00 "+yoann+" y"))
	w.history.tweets = w.history.tweets[:1]
	wantBreaks(t, w.reconcileTweetsOf(from, to))
}

// An edit that the history shows is proof enough: nothing is looked up for it.
func TestTweetsDoNotLookUpWhatWasEdited(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	m, _ := w.pay("pay 4.00 " + yoann + " y")
	w.edit(m, "never mind")
	w.history.tweets = w.history.tweets[1:]
	wantBreaks(t, w.reconcileTweetsOf(from, to), want{reconciliation.Edited, key(m), 4_00})
	if w.history.asked != 0 {
		t.Errorf("%d tweets were looked up", w.history.asked)
	}
}

// A run for one payee tells nothing of another's breaks, nor of the account's.
func TestPayoutsKeepToThePayee(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	cleanPayouts(w)
	p := w.payOut("acf", payouts.BatchExported)
	w.pass(day)
	d := paid(p)
	d.Amount -= 7
	w.bankSays(d, payouts.Detail{Amount: 1})
	for payee, wanted := range map[string][]want{
		"acf": {{reconciliation.AmountDiffers, p.EndToEndID, 7}},
		"msf": nil,
		"":    {{reconciliation.AmountDiffers, p.EndToEndID, 7}, {reconciliation.UnknownMoney, "2026-002 entry 2.1", 1}},
	} {
		r, err := reconciliation.Payouts(w.ctx, w.engine, w.payouts, reconciliation.PayoutsParams{From: from, To: to, Payee: payee})
		w.must(err)
		wantBreaks(t, r, wanted...)
	}
}
