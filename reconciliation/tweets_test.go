package reconciliation_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/reconciliation"
)

// cleanTweets is a story without a break: paid, given, waiting, refused, rejected,
// ignored, edited in time. It returns the tweet and order of its first payment.
func cleanTweets(w *world) (payments.Message, payments.Order) {
	w.t.Helper()
	m, o := w.pay("pay 20.00 " + yoann + " yoann_test")
	w.pay("pay 50.00 " + acf + " ACF_France")
	w.take(w.tweet(marie, "pay 12.00 "+yoann+" yoann_test"))   // not confirmed
	w.take(w.tweet(marie, "pay 9999.00 "+yoann+" yoann_test")) // over the cap
	w.take(w.tweet(marie, "refuse two_amounts"))
	w.take(w.tweet("700000999", "pay 5.00 "+yoann+" yoann_test")) // no customer
	w.take(w.tweet(marie, "good morning"))
	w.tweet(marie, "never seen by us, and none of our business")
	first := w.tweet(marie, "pay 30.00 "+yoann+" yoann_test")
	w.take(first)
	w.confirm(w.take(w.edit(first, "pay 31.00 "+yoann+" yoann_test")))
	w.deliver()
	return m, o
}

func TestTweetsOfCleanBookHaveNoBreaks(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		cleanTweets(w)
		r := w.reconcileTweets()
		wantBreaks(t, r)
		if len(r.Notes) != 0 {
			t.Errorf("notes in a clean book: %s", indent(r))
		}
		if got, want := matches(r), "exact_reference 5, recorded_refusal 2"; got != want {
			t.Errorf("matches are %q, want %q", got, want)
		}
		if r.Open != 1 {
			t.Errorf("%d open, want the one order that waits for its code", r.Open)
		}
		if w.history.asked != 0 {
			t.Errorf("%d tweets were looked up that the history had given already", w.history.asked)
		}
	})
}

func key(m payments.Message) string { return channel + ":" + m.FirstID }

func TestTweetsFindEachBreak(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		m, o := cleanTweets(w)
		// Each plants one break, in the one book, and takes it back where it can, so
		// that what is found is what was planted and nothing else.
		plant := func(name string, class reconciliation.Class, reference string, amount ledger.Amount, do, undo func()) {
			t.Run(name, func(t *testing.T) {
				t.Helper()
				do()
				wantBreaks(t, w.reconcileTweets(), want{class, reference, amount})
				undo()
				wantBreaks(t, w.reconcileTweets())
			})
		}
		text := m.Text
		restore := func() { w.rewrite(m, text) }

		plant("amount of the text", reconciliation.AmountDiffers, key(m), 1_00, func() { w.rewrite(m, "pay 21.00 "+yoann+" y") }, restore)
		plant("payee of the text", reconciliation.WrongParty, key(m), 20_00, func() { w.rewrite(m, "pay 20.00 "+acf+" a") }, restore)
		plant("text asks for nothing", reconciliation.MissingOutside, key(m), 20_00, func() { w.rewrite(m, "refuse no_amount") }, restore)
		plant("amount of the order", reconciliation.AmountDiffers, key(m), 5_00,
			func() { w.exec("UPDATE orders SET amount = 2500 WHERE id = $1", o.ID) },
			func() { w.exec("UPDATE orders SET amount = 2000 WHERE id = $1", o.ID) })
		plant("payer of the order", reconciliation.WrongParty, key(m), 20_00,
			func() { w.exec("UPDATE orders SET payer_user_id = '1' WHERE id = $1", o.ID) },
			func() { w.exec("UPDATE orders SET payer_user_id = $2 WHERE id = $1", o.ID, marie) })
		plant("account of the ledger", reconciliation.WrongParty, key(m), 20_00,
			func() {
				w.exec("UPDATE orders SET payee_customer_id = payer_id WHERE id = $1", o.ID)
			},
			func() {
				w.exec("UPDATE orders SET payee_customer_id = (SELECT id FROM customers WHERE number = 'c-000002') WHERE id = $1", o.ID)
			})
		plant("receipt given up", reconciliation.MissingOutside, key(m), 20_00,
			func() {
				w.exec("UPDATE outbox SET status = 'dead' WHERE order_id = $1 AND template = 'posted'", o.ID)
			},
			func() {
				w.exec("UPDATE outbox SET status = 'sent' WHERE order_id = $1 AND template = 'posted'", o.ID)
			})
		plant("receipt missing", reconciliation.MissingOutside, key(m), 20_00,
			func() {
				w.exec("UPDATE outbox SET template = 'lost' WHERE order_id = $1 AND template = 'posted'", o.ID)
			},
			func() {
				w.exec("UPDATE outbox SET template = 'posted' WHERE order_id = $1 AND template = 'lost'", o.ID)
			})
		plant("receipt twice in the outbox", reconciliation.Duplicate, key(m), 20_00,
			func() {
				w.exec("UPDATE outbox SET template = 'posted' WHERE order_id = $1 AND template = 'awaiting_confirmation' AND kind = 'reply'", o.ID)
			},
			func() {
				w.exec("UPDATE outbox SET template = 'awaiting_confirmation' WHERE order_id = $1 AND template = 'posted' AND text LIKE '%code secret%'", o.ID)
			})
		plant("receipt twice on twitter", reconciliation.Duplicate, key(m), 20_00, func() {
			receipt := w.receipt(m)
			for range 2 {
				own := w.tweet(bank, "@marie_test "+receipt)
				w.history.tweets[len(w.history.tweets)-1].ConversationID = m.ConversationID
				_ = own
			}
		}, func() { w.history.tweets = w.history.tweets[:len(w.history.tweets)-1] })

		tweet := payments.Message{}
		plant("command that never arrived", reconciliation.MissingInLedger, fmt.Sprintf("%s:5219391%05d", channel, w.tweeted+1), 7_00,
			func() { tweet = w.tweet(marie, "pay 7.00 "+yoann+" y") },
			func() { w.take(tweet) })
		plant("command that was not handled", reconciliation.MissingInLedger, fmt.Sprintf("%s:5219391%05d", channel, w.tweeted+1), 8_00,
			func() {
				tweet = w.tweet(marie, "pay 8.00 "+yoann+" y")
				_, err := w.payments.Receive(w.ctx, tweet)
				w.must(err)
			},
			func() { w.take(tweet) })
		plant("handling failed", reconciliation.MissingInLedger, fmt.Sprintf("%s:5219391%05d", channel, w.tweeted+1), 9_00,
			func() {
				tweet = w.tweet(marie, "pay 9.00 "+yoann+" y")
				_, err := w.payments.Receive(w.ctx, tweet)
				w.must(err)
				w.exec("UPDATE messages SET handled_at = received_at, outcome = 'failed' WHERE message_id = $1", tweet.ID)
			},
			func() {
				w.exec("UPDATE messages SET handled_at = NULL, outcome = NULL WHERE message_id = $1", tweet.ID)
				w.take(tweet)
			})
	})
}

// receipt returns what was replied last to a tweet.
func (w *world) receipt(m payments.Message) string {
	for _, r := range slices.Backward(w.mail.replies) {
		if r.InReplyTo == m.ID {
			return r.Text
		}
	}
	w.t.Fatalf("tweet %s has no reply", m.ID)
	return ""
}

// planting is one break that cannot be taken back, in a book of its own.
type planting struct {
	name string
	// plant returns what must be found.
	plant func(w *world) []want
	notes []reconciliation.Class
}

func TestTweetsFindEachBreakForGood(t *testing.T) {
	list := []planting{
		{name: "posting without tweet or order", plant: func(w *world) []want {
			w.post("by hand", ledger.Source{Channel: channel, ID: "999"}, "wallet:c-000001", "wallet:c-000002", 3_00)
			return []want{{reconciliation.MissingOutside, channel + ":999", 3_00}}
		}},
		{name: "posting twice", plant: func(w *world) []want {
			m, _ := w.pay("pay 4.00 " + yoann + " y")
			w.post("again", ledger.Source{Channel: channel, ID: m.ID}, "wallet:c-000001", "wallet:c-000002", 4_00)
			return []want{{reconciliation.Duplicate, key(m), 4_00}}
		}},
		{name: "edited after confirmation, edit received", plant: func(w *world) []want {
			m, _ := w.pay("pay 4.00 " + yoann + " y")
			w.take(w.edit(m, "pay 40.00 "+yoann+" y"))
			return []want{{reconciliation.Edited, key(m), 4_00}}
		}},
		{name: "edited after confirmation, edit not received", plant: func(w *world) []want {
			m, _ := w.pay("pay 4.00 " + yoann + " y")
			w.edit(m, "pay 40.00 "+acf+" a")
			return []want{{reconciliation.Edited, key(m), 4_00}}
		}},
		{name: "edited after confirmation, only the edit in the history", plant: func(w *world) []want {
			m, _ := w.pay("pay 4.00 " + yoann + " y")
			w.edit(m, "never mind")
			w.history.hidden[m.ID] = reconciliation.NotFound
			return []want{{reconciliation.Edited, key(m), 4_00}}
		}},
		{name: "edited before confirmation, edit not received", plant: func(w *world) []want {
			m := w.tweet(marie, "pay 4.00 "+yoann+" y")
			w.take(m)
			w.edit(m, "refuse two_payees")
			return []want{{reconciliation.MissingInLedger, key(m), 4_00}}
		}},
		{name: "deleted, and the inbox has no record", plant: func(w *world) []want {
			m, o := w.pay("pay 4.00 " + yoann + " y")
			w.history.hidden[m.ID] = reconciliation.NotFound
			w.exec("UPDATE messages SET command = NULL WHERE order_id = $1", o.ID)
			return []want{{reconciliation.MissingOutside, key(m), 4_00}}
		}},
		{name: "deleted, and the record says another amount", plant: func(w *world) []want {
			m, o := w.pay("pay 4.00 " + yoann + " y")
			w.history.hidden[m.ID] = reconciliation.NotFound
			w.exec(`UPDATE messages SET command = $2 WHERE order_id = $1`, o.ID,
				`{"name":"pay","hashtag":"envoyer","amount":350,"currency":"EUR","payee_id":"`+yoann+`","payee_handle":"y","language":"fr"}`)
			return []want{{reconciliation.AmountDiffers, key(m), 50}}
		}},
		{name: "receipt late", plant: func(w *world) []want {
			m := w.tweet(marie, "pay 4.00 "+yoann+" y")
			w.confirm(w.take(m))
			w.pass(reconciliation.DefaultReceiptTerm + time.Minute)
			return []want{{reconciliation.Late, key(m), 4_00}}
		}},
		{name: "deleted", notes: []reconciliation.Class{reconciliation.TextDeleted}, plant: func(w *world) []want {
			m, _ := w.pay("pay 4.00 " + yoann + " y")
			w.history.hidden[m.ID] = reconciliation.NotFound
			_, err := w.payments.Delete(w.ctx, payments.Deletion{Channel: channel, ID: m.ID})
			w.must(err)
			return nil
		}},
		{name: "deleted before its receipt went out, as X says", notes: []reconciliation.Class{reconciliation.TextDeleted}, plant: func(w *world) []want {
			w.mail.refuse = &payments.SendError{Permanent: true, Gone: true, Err: errors.New("deleted or not visible")}
			w.pay("pay 4.00 " + yoann + " y")
			return nil
		}},
		{name: "deleted before its receipt went out, as the inbox says", notes: []reconciliation.Class{reconciliation.TextDeleted}, plant: func(w *world) []want {
			w.mail.refuse = &payments.SendError{Permanent: true, Err: errors.New("forbidden")}
			m, _ := w.pay("pay 4.00 " + yoann + " y")
			_, err := w.payments.Delete(w.ctx, payments.Deletion{Channel: channel, ID: m.ID})
			w.must(err)
			return nil
		}},
		{name: "deleted before its receipt went out, as the history says", notes: []reconciliation.Class{reconciliation.TextDeleted, reconciliation.TextDeleted}, plant: func(w *world) []want {
			w.mail.refuse = &payments.SendError{Permanent: true, Err: errors.New("forbidden")}
			m, _ := w.pay("pay 4.00 " + yoann + " y")
			w.history.hidden[m.ID] = reconciliation.NotFound
			return nil
		}},
		{name: "receipt refused, and the tweet is there", plant: func(w *world) []want {
			w.mail.refuse = &payments.SendError{Permanent: true, Err: errors.New("forbidden")}
			m, _ := w.pay("pay 4.00 " + yoann + " y")
			return []want{{reconciliation.MissingOutside, key(m), 4_00}}
		}},
		{name: "account suspended or protected", notes: []reconciliation.Class{reconciliation.TextDeleted, reconciliation.TextDeleted}, plant: func(w *world) []want {
			a, _ := w.pay("pay 4.00 " + yoann + " y")
			b, _ := w.pay("pay 5.00 " + yoann + " y")
			w.history.hidden[a.ID], w.history.hidden[b.ID] = reconciliation.Suspended, reconciliation.NotAuthorised
			return nil
		}},
		{name: "nearly a command that never arrived", notes: []reconciliation.Class{reconciliation.MissingInLedger}, plant: func(w *world) []want {
			w.tweet(marie, "refuse no_payee")
			return nil
		}},
		{name: "unreadable", notes: []reconciliation.Class{reconciliation.Unreadable}, plant: func(w *world) []want {
			w.tweet("not an id!", "pay 4.00 "+yoann+" y")
			return nil
		}},
	}
	for _, p := range list {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel() // mostly waiting for the disk
			sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
				w := newWorld(t, db)
				cleanTweets(w)
				wanted := p.plant(w)
				r := w.reconcileTweets()
				wantBreaks(t, r, wanted...)
				var notes []reconciliation.Class
				for _, n := range r.Notes {
					notes = append(notes, n.Class)
				}
				if !slices.Equal(notes, p.notes) {
					t.Errorf("notes are %v, want %v: %s", notes, p.notes, indent(r))
				}
			})
		})
	}
}

func TestTweetsFeedWhatNeverArrived(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	cleanTweets(w)
	m := w.tweet(marie, "pay 7.00 "+yoann+" yoann_test")
	r, err := reconciliation.Tweets(w.ctx, w.payments, wordParser{}, w.history, reconciliation.TweetsParams{From: from, To: to, Feed: true})
	w.must(err)
	wantBreaks(t, r, want{reconciliation.MissingInLedger, key(m), 7_00})
	if fed := r.Breaks[0].Fed; !strings.HasSuffix(fed, string(payments.StateAwaitingConfirmation)) {
		t.Errorf("what was fed became %q", fed)
	}
	again := w.reconcileTweets()
	wantBreaks(t, again)
	if again.Open != r.Open+1 {
		t.Errorf("%d open after feeding, want %d", again.Open, r.Open+1)
	}
}

func TestTweetsLeaveYoungOnesToTheNextRun(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	m := w.tweet(marie, "pay 7.00 "+yoann+" y")
	params := reconciliation.TweetsParams{From: from, To: to, Settle: 10 * time.Minute}
	r, err := reconciliation.Tweets(w.ctx, w.payments, wordParser{}, w.history, params)
	w.must(err)
	wantBreaks(t, r)
	w.pass(time.Hour)
	r, err = reconciliation.Tweets(w.ctx, w.payments, wordParser{}, w.history, params)
	w.must(err)
	wantBreaks(t, r, want{reconciliation.MissingInLedger, key(m), 7_00})
}

// The tweet of a posting of the period may be older than the period.
func TestTweetsLookUpWhatIsOlderThanThePeriod(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	m := w.tweet(marie, "pay 7.00 "+yoann+" y")
	handled := w.take(m)
	w.pass(day)
	w.confirm(handled)
	w.deliver()
	today := w.engine.Today()
	r, err := reconciliation.Tweets(w.ctx, w.payments, wordParser{}, w.history, reconciliation.TweetsParams{From: today, To: today})
	w.must(err)
	wantBreaks(t, r)
	if got := matches(r); got != "exact_reference 1" || w.history.asked != 1 {
		t.Errorf("matches are %q after %d look-ups", got, w.history.asked)
	}
}

func TestTweetsRefuseWrongPeriods(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	for _, p := range []reconciliation.TweetsParams{{To: to}, {From: from}, {From: to, To: from}} {
		if _, err := reconciliation.Tweets(w.ctx, w.payments, wordParser{}, w.history, p); ledger.CodeOf(err) != ledger.CodeInvalid {
			t.Errorf("%v to %v: %v", p.From, p.To, err)
		}
	}
}

// The result is the same whatever the order in which the history tells, how often
// it repeats itself, and by which way its tweets came.
func TestTweetsResultDoesNotDependOnOrder(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	m, _ := cleanTweets(w)
	w.rewrite(m, "pay 21.00 "+acf+" y")
	edited, _ := w.pay("pay 4.00 " + yoann + " y")
	w.edit(edited, "pay 40.00 "+yoann+" y")
	w.edit(edited, "never mind")
	gone, _ := w.pay("pay 6.00 " + yoann + " y")
	w.history.hidden[gone.ID] = reconciliation.NotFound
	for i := range 5 {
		w.tweet(marie, fmt.Sprintf("pay %d.00 %s y", i+1, yoann))
	}
	told := slices.Clone(w.history.tweets)
	first, err := json.Marshal(w.reconcileTweets())
	w.must(err)
	rapid.Check(t, func(rt *rapid.T) {
		w.history.tweets = rapid.Permutation(told).Draw(rt, "tweets")
		w.history.tweets = append(w.history.tweets, rapid.SliceOfN(rapid.SampledFrom(told), 0, 5).Draw(rt, "repeats")...)
		r, err := json.Marshal(w.reconcileTweets())
		if err != nil {
			rt.Fatal(err)
		}
		if string(r) != string(first) {
			rt.Fatalf("the result is\n%s\nand was\n%s", r, first)
		}
	})
}
