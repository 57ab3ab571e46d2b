package payments_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

// screened is a world with the rules that change asks for, beside those of
// testConfig.
func screened(t *testing.T, db *sqldb.DB, change func(*payments.ScreeningConfig)) *world {
	t.Helper()
	config := testConfig()
	change(&config.Screening)
	return newWorldWith(t, db, config)
}

func (w *world) hits(order uuid.UUID) []payments.Hit {
	w.t.Helper()
	var hits []payments.Hit
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		hits, err = payments.HitsOfOrder(ctx, tx, order)
		return err
	})
	return hits
}

func (w *world) decision(order uuid.UUID) string {
	w.t.Helper()
	var decision string
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.QueryRow(ctx, "SELECT decision FROM messages WHERE order_id = $1", []any{order}, &decision)
	})
	return decision
}

// wantVerdict says a command and checks what screening makes of it.
func (w *world) wantVerdict(author, text string, state payments.State, reason string) payments.Order {
	w.t.Helper()
	o := w.say(author, text).Order
	if o == nil || o.State != state || o.Reason != reason {
		w.t.Fatalf("%q became %+v, want %s (%s)", text, o, state, reason)
	}
	want := map[payments.State]string{payments.StateUnderReview: "review", payments.StateRejected: "reject"}[state]
	if want == "" {
		want = "accept"
	}
	if got := w.decision(o.ID); got != want {
		w.t.Fatalf("%q: the inbox says %s", text, got)
	}
	return *o
}

const held = payments.StateAwaitingConfirmation

func TestVelocityIsBounded(t *testing.T) {
	type limit struct {
		name   string
		change func(*payments.ScreeningConfig)
		amount string
		n      int // payments that pass
		rule   string
		after  time.Duration // when the next one passes again
	}
	for _, l := range []limit{
		{"payments a day", func(c *payments.ScreeningConfig) { c.DayCount = 2 }, "1.00", 2, payments.ReasonVelocityDay, 24 * time.Hour},
		{"euros a day", func(c *payments.ScreeningConfig) { c.DayAmount = 30_00 }, "15.00", 2, payments.ReasonVelocityDay, 24 * time.Hour},
		{"payments in 30 days", func(c *payments.ScreeningConfig) { c.MonthCount = 3 }, "1.00", 3, payments.ReasonVelocity30, 30 * 24 * time.Hour},
		{"euros in 30 days", func(c *payments.ScreeningConfig) { c.MonthAmount = 30_00 }, "10.00", 3, payments.ReasonVelocity30, 30 * 24 * time.Hour},
	} {
		t.Run(l.name, func(t *testing.T) {
			sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
				w := screened(t, db, func(c *payments.ScreeningConfig) { c.Velocity = payments.VerdictReject; l.change(c) })
				text := "pay " + l.amount + " " + yoann + " yoann_test"
				var last payments.Order
				for range l.n {
					last = w.wantVerdict(marie, text, held, payments.ReasonHeld)
				}
				over := w.wantVerdict(marie, text, payments.StateRejected, l.rule)
				if hits := w.hits(over.ID); len(hits) != 1 || hits[0].Rule != l.rule || hits[0].Verdict != payments.VerdictReject {
					t.Fatalf("hits are %+v", hits)
				}
				if reply := w.lastReply(); !strings.HasPrefix(reply, "Ce paiement ne peut pas être effectué.") {
					t.Fatalf("the public reads %q", reply)
				}
				// What is not paid after all does not count, nor does what was refused.
				_, err := w.Cancel(w.ctx, last.ID, "anne", "the customer called")
				must(t, err)
				w.wantVerdict(marie, text, held, payments.ReasonHeld)
				w.wantVerdict(marie, text, payments.StateRejected, l.rule)
				// The window rolls on to the instant.
				w.clock.Add(l.after - time.Minute)
				w.wantVerdict(marie, text, payments.StateRejected, l.rule)
				w.clock.Add(2 * time.Minute)
				w.wantVerdict(marie, text, held, payments.ReasonHeld)
				w.verify()
			})
		})
	}
}

func TestNewPayee(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		w := screened(t, db, func(c *payments.ScreeningConfig) { c.NewPayee, c.NewPayeeAmount = payments.VerdictReview, 100_00 })
		w.wantVerdict(marie, "pay 100.00 "+yoann+" yoann_test", payments.StateUnderReview, payments.ReasonNewPayee)
		w.wantVerdict(marie, "pay 100.00 "+stranger+" hugo_test", payments.StateUnderReview, payments.ReasonNewPayee)
		w.wantVerdict(marie, "pay 400.00 "+acf+" ACF_France", held, payments.ReasonHeld) // enrolled by the bank
		small := w.wantVerdict(marie, "pay 99.99 "+yoann+" yoann_test", held, payments.ReasonHeld)
		w.wantVerdict(marie, "pay 100.00 "+yoann+" yoann_test", payments.StateUnderReview, payments.ReasonNewPayee) // ordered is not paid
		_, err := w.confirm(small.ID, rightCode)
		must(t, err)
		w.wantVerdict(marie, "pay 100.00 "+yoann+" yoann_test", held, payments.ReasonHeld)
		w.verify()
	})
}

func TestManyPayees(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := screened(t, db, func(c *payments.ScreeningConfig) { c.ManyPayees, c.ManyPayeesCount = payments.VerdictReview, 2 })
		pay := func(id int) string { return fmt.Sprintf("pay 1.00 %d user_%d", id, id) }
		for range 2 {
			w.wantVerdict(marie, pay(9001), held, payments.ReasonHeld)
			w.wantVerdict(marie, pay(9002), held, payments.ReasonHeld)
		}
		w.wantVerdict(marie, pay(9003), payments.StateUnderReview, payments.ReasonManyPayees)
		w.clock.Add(24 * time.Hour)
		w.wantVerdict(marie, pay(9004), held, payments.ReasonHeld)
	})
}

func TestPaymentsJustUnderTheCap(t *testing.T) {
	w := screened(t, sqliteDB(t), func(c *payments.ScreeningConfig) {
		c.NearCap, c.NearCapMargin, c.NearCapCount = payments.VerdictReview, 10_00, 2
	})
	w.wantVerdict(marie, "pay 245.00 "+yoann+" yoann_test", held, payments.ReasonHeld)
	w.wantVerdict(marie, "pay 239.99 "+yoann+" yoann_test", held, payments.ReasonHeld) // further below
	w.wantVerdict(marie, "pay 245.00 "+acf+" ACF_France", held, payments.ReasonHeld)   // another cap
	w.wantVerdict(marie, "pay 240.00 "+yoann+" yoann_test", payments.StateUnderReview, payments.ReasonNearCap)
	w.wantVerdict(marie, "pay 1.00 "+yoann+" yoann_test", held, payments.ReasonHeld)
}

func TestLookAlikeHandles(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		for handle, like := range map[string]bool{
			"ACF_France":   true, // of another account: the handle was taken over
			"acffrance":    true,
			"ACF_Frence":   true, // another letter
			"ACF_Frnce":    true, // one less
			"ACF_Francee":  true,
			"AFC_France":   true, // two have changed places
			"ACF_FrancE_":  true,
			"ACF_Belgique": false,
			"bakerv":       true,
			"baker":        true,
			"ba":           false,
			"yoann_test":   false, // people have no likes
		} {
			state, reason := held, payments.ReasonHeld
			if like {
				state, reason = payments.StateUnderReview, payments.ReasonLookAlike
			}
			o := w.wantVerdict(marie, "pay 5.00 "+stranger+" "+handle, state, reason)
			if hits := w.hits(o.ID); like && (len(hits) != 1 || !strings.Contains(hits[0].Detail, "@"+handle+" can be taken for @")) {
				t.Errorf("%s: hits are %+v", handle, hits)
			}
		}
		w.wantVerdict(marie, "pay 5.00 "+acf+" ACF_France", held, payments.ReasonHeld)
		w.wantVerdict(marie, "pay 5.00 "+acf+" renamed_meanwhile", held, payments.ReasonHeld)

		// A renamed payee is known by the new handle, and a letter that looks like
		// another is that letter.
		must(t, w.LinkPayee(w.ctx, channel, acf, "modern_IlIl0", "acf"))
		w.wantVerdict(marie, "pay 5.00 "+stranger+" ACF_Frence", held, payments.ReasonHeld)
		w.wantVerdict(marie, "pay 5.00 "+stranger+" rnodern_1l1lO", payments.StateUnderReview, payments.ReasonLookAlike)
	})
}

// TestDirectMessagesAreScreenedToo: who writes in private is the same person, and so
// is who is paid.
func TestDirectMessagesAreScreenedToo(t *testing.T) {
	w := screened(t, sqliteDB(t), func(c *payments.ScreeningConfig) { c.NewPayee, c.NewPayeeAmount = payments.VerdictReview, 10_00 })
	private := func(text string) payments.Order {
		t.Helper()
		m := w.message(marie, text)
		m.Channel, m.Kind = payments.DirectChannel(channel), payments.Direct
		return *w.take(m).Order
	}
	if o := private("pay 5.00 " + stranger + " ACF_Frence"); o.State != payments.StateUnderReview || o.Reason != payments.ReasonLookAlike {
		t.Fatalf("a look-alike: %+v", o)
	}
	first := private("pay 9.99 " + yoann + " yoann_test")
	_, err := w.confirm(first.ID, rightCode)
	must(t, err)
	w.wantVerdict(marie, "pay 20.00 "+yoann+" yoann_test", held, payments.ReasonHeld)
}

// TestOldPayeesAreIndexed: those that were linked before there was screening.
func TestOldPayeesAreIndexed(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	w.exec("DELETE FROM handle_keys")
	w.wantVerdict(marie, "pay 5.00 "+stranger+" ACF_Frence", held, payments.ReasonHeld)
	for _, want := range []int{2, 0} {
		if n, err := w.IndexHandles(w.ctx); err != nil || n != want {
			t.Fatalf("indexed %d (%v), want %d", n, err, want)
		}
	}
	w.wantVerdict(marie, "pay 5.00 "+stranger+" ACF_Frence", payments.StateUnderReview, payments.ReasonLookAlike)
}

func TestDeniedIDs(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		before := w.ordered(toYoann)
		config := testConfig()
		config.Screening.DeniedIDs = []string{yoann, stranger}
		w.Service = w.node(config)
		w.wantVerdict(marie, toYoann, payments.StateRejected, payments.ReasonDenied)
		w.wantVerdict(marie, "pay 1.00 "+stranger+" hugo_test", payments.StateRejected, payments.ReasonDenied)
		w.wantVerdict(yoann, "pay 1.00 "+marie+" marie_test", payments.StateRejected, payments.ReasonDenied)
		// What was ordered before is asked again before it is paid.
		_, err := w.confirm(before.ID, rightCode)
		w.wantCode(err, ledger.CodeForbidden)
		w.wantState(before.ID, payments.StateVoided, payments.ReasonDenied)
		w.wantBalance("wallet:c-000001", 1000_00, 1000_00)
		w.verify()
	})
}

// review is a world whose every first payment of 10 EUR to a person waits for staff.
func reviewed(t *testing.T, db *sqldb.DB) (*world, payments.Order) {
	w := screened(t, db, func(c *payments.ScreeningConfig) { c.NewPayee, c.NewPayeeAmount = payments.VerdictReview, 10_00 })
	return w, w.wantVerdict(marie, "pay 20.00 "+yoann+" yoann_test", payments.StateUnderReview, payments.ReasonNewPayee)
}

func (w *world) events(order uuid.UUID) string {
	w.t.Helper()
	var out []string
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		events, err := payments.OrderEvents(ctx, tx, order)
		out = nil
		for _, e := range events {
			out = append(out, fmt.Sprintf("%s>%s by %s: %s", e.From, e.To, e.Actor, e.Reason))
		}
		return err
	})
	return strings.Join(out, "\n")
}

func TestReleasedOrdersGoOn(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w, o := reviewed(t, db)
		if reply := w.lastReply(); !strings.HasPrefix(reply, "Bien reçu : 20,00\u00a0€ pour @yoann_test. Nous traitons votre demande") {
			t.Fatalf("the payer reads %q", reply)
		}
		w.wantBalance("wallet:c-000001", 1000_00, 1000_00) // nothing is held
		if len(w.sink.notices) != 0 {
			t.Fatal("the payer is called to confirm what nobody has released")
		}
		_, err := w.confirm(o.ID, rightCode)
		w.wantCode(err, ledger.CodeConflict)
		_, err = w.Release(w.ctx, o.ID, "anne", "")
		w.wantCode(err, ledger.CodeInvalid)

		released, err := w.Release(w.ctx, o.ID, "anne", "called back")
		must(t, err)
		if released.State != held || !released.ExpiresAt.Equal(w.clock.Now().Add(w.Config().ConfirmationTerm)) {
			t.Fatalf("released: %+v", released)
		}
		want := ">received by service: command\nreceived>under_review by service: new_payee\n" +
			"under_review>under_review by anne: called back\nunder_review>awaiting_confirmation by service: held"
		if got := w.events(o.ID); got != want {
			t.Fatalf("events are\n%s", got)
		}
		w.wantBalance("wallet:c-000001", 1000_00, 980_00)
		_, err = w.Release(w.ctx, o.ID, "anne", "again")
		w.wantCode(err, ledger.CodeConflict)
		_, err = w.RejectReviewed(w.ctx, o.ID, "anne", "too late")
		w.wantCode(err, ledger.CodeConflict)
		if reply := w.lastReply(); !strings.HasPrefix(reply, "Bien reçu : 20,00\u00a0€ pour @yoann_test. Validez") || len(w.sink.notices) != 1 {
			t.Fatalf("the payer reads %q", reply)
		}
		page, err := w.Confirmation(w.ctx, w.token())
		must(t, err)
		_, err = w.Confirm(w.ctx, payments.ConfirmRequest{Token: w.token(), Stamp: page.Stamp, Code: rightCode, Actor: "page"})
		must(t, err)
		w.wantBalance("wallet:c-000002", 20_00, 20_00)
		w.verify()
	})
}

func TestReviewedOrdersAreJudgedAgain(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w, o := reviewed(t, db)
		must(t, w.SetCustomerStatus(w.ctx, "c-000002", payments.Blocked, "anne", "lost"))
		rejected, err := w.Release(w.ctx, o.ID, "anne", "called back")
		must(t, err)
		if rejected.State != payments.StateRejected || rejected.Reason != payments.ReasonPayeeBlocked {
			t.Fatalf("released: %+v", rejected)
		}
		must(t, w.SetCustomerStatus(w.ctx, "c-000002", payments.Open, "anne", "found"))

		o = w.wantVerdict(marie, "pay 250.00 "+yoann+" yoann_test", payments.StateUnderReview, payments.ReasonNewPayee)
		for range 2 {
			w.wantVerdict(marie, "pay 400.00 "+acf+" ACF_France", held, payments.ReasonHeld)
		}
		rejected, err = w.Release(w.ctx, o.ID, "anne", "called back")
		must(t, err)
		if rejected.State != payments.StateRejected || rejected.Reason != payments.ReasonInsufficientFunds {
			t.Fatalf("released without money: %+v", rejected)
		}
		o = w.wantVerdict(marie, "pay 20.00 "+stranger+" hugo_test", payments.StateUnderReview, payments.ReasonNewPayee)
		waiting, err := w.Release(w.ctx, o.ID, "anne", "called back")
		must(t, err)
		if waiting.State != held || waiting.PayeeKind != payments.Unregistered {
			t.Fatalf("released to somebody who is not registered: %+v", waiting)
		}
		w.verify()
	})
}

func TestRejectedByStaff(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w, o := reviewed(t, db)
		rejected, err := w.RejectReviewed(w.ctx, o.ID, "anne", "a known fraudster")
		must(t, err)
		if rejected.State != payments.StateRejected || rejected.ClosedAt.IsZero() {
			t.Fatalf("rejected: %+v", rejected)
		}
		if got := w.events(o.ID); !strings.HasSuffix(got, "under_review>rejected by anne: a known fraudster") {
			t.Fatalf("events are\n%s", got)
		}
		if reply := w.lastReply(); strings.Contains(reply, "fraud") || !strings.HasPrefix(reply, "Ce paiement ne peut pas être effectué.") {
			t.Fatalf("the public reads %q", reply)
		}
		w.verify()
	})
}

func TestReviewsExpireAndYield(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w, o := reviewed(t, db)
		first := w.last
		w.clock.Add(w.Config().Screening.ReviewTerm)
		_, err := w.Release(w.ctx, o.ID, "anne", "called back")
		w.wantCode(err, ledger.CodeConflict)
		if n, err := w.ExpireOrders(w.ctx, 10); n != 1 || err != nil {
			t.Fatalf("%d expired: %v", n, err)
		}
		w.wantState(o.ID, payments.StateExpired, payments.ReasonReviewOver)
		if reply := w.lastReply(); !strings.Contains(reply, "n'a pas abouti à temps") {
			t.Fatalf("%s reads %q", first, reply)
		}
		// An edit voids an order under review as it does any other that is open.
		m := w.message(marie, "pay 30.00 "+yoann+" yoann_test")
		older := *w.take(m).Order
		w.take(edited(m, 1, "pay 9.00 "+yoann+" yoann_test"))
		w.wantState(older.ID, payments.StateVoided, payments.ReasonEdited)
		// Staff and payer may cancel it.
		o = w.wantVerdict(marie, "pay 30.00 "+yoann+" yoann_test", payments.StateUnderReview, payments.ReasonNewPayee)
		_, err = w.Cancel(w.ctx, o.ID, "anne", "the customer called")
		must(t, err)
		w.verify()
	})
}

// TestRetriesAndNodesReviewOnce has two persons decide at once.
func TestOnePersonDecides(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w, o := reviewed(t, db)
		nodes := []*payments.Service{w.Service, w.node(w.configOf())}
		results := make(chan error, 2)
		go func() { _, err := nodes[0].Release(w.ctx, o.ID, "anne", "called back"); results <- err }()
		go func() { _, err := nodes[1].RejectReviewed(w.ctx, o.ID, "bruno", "no answer"); results <- err }()
		done, conflicts := 0, 0
		for range 2 {
			switch err := <-results; ledger.CodeOf(err) {
			case "":
				must(t, err)
				done++
			case ledger.CodeConflict:
				conflicts++
			default:
				t.Fatal(err)
			}
		}
		if done != 1 || conflicts != 1 {
			t.Fatalf("%d decided, %d were told that it is too late", done, conflicts)
		}
		w.verify()
	})
}

// configOf is the configuration that the world's service runs with.
func (w *world) configOf() payments.Config {
	config := w.Config()
	config.Key = testKey
	return config
}

// TestEveryMessageIsRecorded: ids, what was asked, a keyed hash of the text and the
// decision, of what comes in and of what goes out.
func TestEveryMessageIsRecorded(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	w.ordered(toYoann)
	w.say(marie, "refuse two_amounts")
	w.say(marie, "nothing for us")
	w.deliver()
	decisions := map[string]int{}
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		clear(decisions)
		return tx.Each(ctx, "SELECT decision, text_hash FROM messages", nil, func(rows *sqldb.Rows) error {
			var decision string
			var hash []byte
			err := rows.Scan(&decision, &hash)
			decisions[decision]++
			if len(hash) != 32 {
				t.Errorf("hash of %d bytes", len(hash))
			}
			return err
		})
	})
	if decisions["accept"] != 1 || decisions["reject"] != 1 || decisions["none"] != 1 {
		t.Errorf("decisions are %v", decisions)
	}
	for _, row := range w.outbox(payments.OutboxSent) {
		text := row.Text
		if row.Kind == payments.OutboxNotice {
			text = w.sink.notices[0].Text
		}
		if row.Decision != payments.VerdictAccept || !bytes.Equal(row.TextHash, w.TextHash(text)) {
			t.Errorf("%s: decision %q, hash %x", row.Kind, row.Decision, row.TextHash)
		}
	}
}

// TestAddressesStayPrivate: a reply in public with an address in it is kept back, and
// staff cannot send it either.
func TestAddressesStayPrivate(t *testing.T) {
	config := testConfig()
	config.BankName = "https://phish.test"
	w := newWorldWith(t, sqliteDB(t), config)
	w.say(stranger, toYoann)
	if done := w.deliver(); done != (payments.Delivered{}) {
		t.Fatalf("sent: %+v", done)
	}
	dead := w.outbox(payments.OutboxDead)
	if len(dead) != 1 || dead[0].Decision != payments.VerdictReject || !strings.Contains(dead[0].LastError, "address") {
		t.Fatalf("dead rows are %+v", dead)
	}
	w.wantCode(w.Resend(w.ctx, dead[0].ID), ledger.CodeConflict)
}

func TestScreeningSettingsAreChecked(t *testing.T) {
	for name, change := range map[string]func(*payments.ScreeningConfig){
		"screening.velocity":          func(c *payments.ScreeningConfig) { c.Velocity = "off" },
		"screening.day_count":         func(c *payments.ScreeningConfig) { c.Velocity, c.DayCount = payments.VerdictReject, 0 },
		"screening.month_amount":      func(c *payments.ScreeningConfig) { c.Velocity, c.MonthAmount = payments.VerdictReject, 0 },
		"screening.many_payees_count": func(c *payments.ScreeningConfig) { c.ManyPayeesCount = payments.MaxCounted + 1 },
		"screening.near_cap_margin":   func(c *payments.ScreeningConfig) { c.NearCapMargin = -1 },
		"screening.denied_ids":        func(c *payments.ScreeningConfig) { c.DeniedIDs = []string{"@handle"} },
		"screening.review_term":       func(c *payments.ScreeningConfig) { c.ReviewTerm = 0 },
	} {
		config := testConfig()
		change(&config.Screening)
		var invalid *ledger.Error
		if err := config.Validate(); ledger.CodeOf(err) != ledger.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		} else if asError(err, &invalid); invalid == nil || invalid.Field != name {
			t.Errorf("%s: the error names %+v", name, invalid)
		}
	}
}

func asError(err error, to **ledger.Error) { _ = errors.As(err, to) }

// TestOrdersThatAreCancelledCount stops who orders and cancels again and again, which
// would have the bank answer in public without end.
func TestOrdersThatAreCancelledCount(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		config := testConfig()
		config.Screening.Velocity, config.Screening.DayOrders = payments.VerdictReject, 3
		w.Service = w.node(config)
		for range 3 {
			w.wantVerdict(marie, "pay 1.00 "+stranger+" stranger", held, payments.ReasonHeld)
			w.wantAnswer(w.say(marie, "cancel"), payments.OutcomeAnswered, payments.CommandCancel)
		}
		o := w.wantVerdict(marie, "pay 1.00 "+stranger+" stranger", payments.StateRejected, payments.ReasonVelocityDay)
		if hits := w.hits(o.ID); len(hits) != 1 || hits[0].Detail != "more than 3 orders in 24 hours, whatever became of them" {
			t.Errorf("hits are %+v", hits)
		}
		w.clock.Add(24 * time.Hour)
		w.wantVerdict(marie, "pay 1.00 "+stranger+" stranger", held, payments.ReasonHeld)
	})
}

// TestScreeningReadsByIndex asks each engine how it reads what a verdict needs: by an
// index whose entries are bounded by the payer's window or by one key, so that a
// verdict costs the same however long the histories are.
func TestScreeningReadsByIndex(t *testing.T) {
	primary := map[sqldb.Engine]string{sqldb.SQLite: "sqlite_autoindex_%s_1", sqldb.PostgreSQL: "%s_pkey", sqldb.CockroachDB: "%s@%[1]s_pkey"}
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		for range 30 {
			w.ordered("pay 0.01 " + yoann + " yoann_test")
		}
		w.explain(func(ctx context.Context, tx *sqldb.Tx, plan func(query string, args ...any) string) {
			args := map[string][]any{
				"orders_counted": {uuid.New(), w.clock.Now()}, "paid_payees": {uuid.New(), channel, yoann}, "handle_keys": {channel, []string{"acffrance", "acffranc"}},
			}
			for index, query := range payments.ScreeningQueries(tx) {
				want := index
				if index != "orders_counted" {
					want = fmt.Sprintf(primary[db.Engine()], index)
				}
				got := plan(query, args[index]...)
				// PostgreSQL takes an index of the same two columns to be as good while it
				// has no statistics of a new table: the window bounds that one too.
				if db.Engine() == sqldb.PostgreSQL && strings.Contains(got, "orders_of_payer") && strings.Contains(got, "(created_at > ") {
					want = "orders_of_payer"
				}
				wantIndex(t, got, want)
			}
		})
	})
}

// explain hands do a function that returns an engine's plan for a query.
func (w *world) explain(do func(ctx context.Context, tx *sqldb.Tx, plan func(query string, args ...any) string)) {
	w.t.Helper()
	explain := "EXPLAIN "
	if w.db.Engine() == sqldb.SQLite {
		explain = "EXPLAIN QUERY PLAN "
	}
	must(w.t, w.db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if w.db.Engine() == sqldb.PostgreSQL { // of a table of a few rows any way to read it is good enough
			for _, way := range []string{"seqscan", "bitmapscan", "sort"} {
				if _, err := tx.Exec(ctx, "SET LOCAL enable_"+way+" = off"); err != nil {
					return err
				}
			}
		}
		var failure error
		do(ctx, tx, func(query string, args ...any) string {
			plan := ""
			err := tx.Each(ctx, explain+query, args, func(rows *sqldb.Rows) error {
				var line string
				dest := []any{&line}
				if w.db.Engine() == sqldb.SQLite {
					var id, parent, unused int64
					dest = []any{&id, &parent, &unused, &line}
				}
				err := rows.Scan(dest...)
				plan += line + "\n"
				return err
			})
			failure = cmp.Or(failure, err)
			return plan
		})
		return failure
	}))
}

// wantIndex checks that a plan reads from an index and sorts nothing.
func wantIndex(t *testing.T, plan, index string) {
	t.Helper()
	bad := slices.ContainsFunc([]string{"Seq Scan", "FULL SCAN", "TEMP B-TREE", "Sort", "• sort"}, func(word string) bool { return strings.Contains(plan, word) })
	if bad || !strings.Contains(plan, index) {
		t.Errorf("not read from %s:\n%s", index, plan)
	}
}
