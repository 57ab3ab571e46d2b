package payments_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

const toStranger = "pay 20.00 " + stranger + " stranger"

// kept has marie pay somebody who is no customer.
func (w *world) kept(text string) payments.Order {
	w.t.Helper()
	o, err := w.confirm(w.ordered(text).ID, rightCode)
	must(w.t, err)
	if o.State != payments.StatePosted || o.PayeeKind != payments.Unregistered {
		w.t.Fatalf("confirmed: %+v", o)
	}
	return o
}

func (w *world) unclaimed(order uuid.UUID) payments.Unclaimed {
	w.t.Helper()
	var u payments.Unclaimed
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		u, err = payments.FindUnclaimed(ctx, tx, order)
		return err
	})
	return u
}

func (w *world) wantUnclaimed(order uuid.UUID, state payments.UnclaimedState, reason string) {
	w.t.Helper()
	if u := w.unclaimed(order); u.State != state || u.Reason != reason {
		w.t.Fatalf("the payment is %s (%s), want %s (%s)", u.State, u.Reason, state, reason)
	}
}

func (w *world) sweep(want int) {
	w.t.Helper()
	if n, err := w.SweepUnclaimed(w.ctx, 100); err != nil || n != want {
		w.t.Fatalf("%d payments were looked at (%v), want %d", n, err, want)
	}
}

// tied proves that the account of unclaimed payments holds what waits, to the cent.
func (w *world) tied() {
	w.t.Helper()
	var sum ledger.Amount
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		sum = 0
		waiting, err := payments.UnclaimedOn(ctx, tx, w.Engine().Today(), payments.Cursor{}, payments.MaxPage)
		for _, u := range waiting {
			sum += u.Amount
		}
		return err
	})
	w.wantBalance(payments.AccountUnclaimed, sum, sum)
}

func (w *world) wantReply(want string) {
	w.t.Helper()
	if got := w.lastReply(); got != want {
		w.t.Fatalf("the reply is %q, want %q", got, want)
	}
}

func TestUnregisteredPayee(t *testing.T) {
	onCore(t, func(t *testing.T, w *world) {
		handled := w.say(marie, toStranger)
		w.wantState(handled.Order.ID, payments.StateAwaitingConfirmation, payments.ReasonHeld)
		w.wantBalance("wallet:c-000001", 1000_00, 980_00)
		if token := w.token(); token == "" {
			t.Fatal("the payer is not called to confirm")
		}
		ref := " Réf.\u00a0" + handled.Order.Reference()
		w.wantReply("Bien reçu : 20,00\u00a0€ pour @stranger. Validez avec votre code secret sur la page dont le lien arrive sur votre téléphone." + ref)
		o, err := w.confirm(handled.Order.ID, rightCode)
		must(t, err)
		w.wantReply("@stranger, 20,00\u00a0€ vous attendent jusqu'au 27/11 à 11h00 : ouvrez un compte S-money et reliez-y votre compte Twitter." + ref)
		w.wantBalance("wallet:c-000001", 980_00, 980_00)
		w.wantBalance(payments.AccountUnclaimed, 20_00, 20_00)
		w.wantUnclaimed(o.ID, payments.UnclaimedWaiting, "")
		w.tied()
		if got := w.say(marie, "cancel"); got.Reason != payments.ReasonNothingToCancel {
			t.Fatalf("what is paid was cancelled: %+v", got)
		}
		w.last = strings.TrimPrefix(o.Key, "twitter:")

		// Somebody else's account moves nothing, the payee's moves it all.
		must(t, w.LinkCustomer(w.ctx, channel, "700000998", "another", "c-000002"))
		w.wantBalance("wallet:c-000002", 0, 0)
		must(t, w.LinkCustomer(w.ctx, channel, stranger, "renamed_since", "c-000002"))
		w.wantBalance("wallet:c-000002", 20_00, 20_00)
		w.wantUnclaimed(o.ID, payments.UnclaimedClaimed, payments.ReasonClaimed)
		w.wantReply("@stranger nous a rejoints et a reçu 20,00\u00a0€." + ref)
		w.tied()
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			u, err := payments.FindUnclaimed(ctx, tx, o.ID)
			must(t, err)
			moved, err := engine.FindTransaction(ctx, tx, u.TransactionID)
			must(t, err)
			if moved.Key != "unclaimed:"+o.Key || moved.Source.Channel != "unclaimed" || moved.Source.ID != o.ID.String() || moved.Label != "Payment claimed" {
				t.Fatalf("moved on by %+v", moved)
			}
			return nil
		})
		if got := w.events(o.ID); !strings.HasSuffix(got, "posted>posted by service: claimed") {
			t.Fatalf("events are\n%s", got)
		}

		before := w.counts()
		must(t, w.LinkCustomer(w.ctx, channel, stranger, "renamed_since", "c-000002"))
		w.clock.Add(w.Config().UnclaimedTerm)
		w.sweep(0)
		if after := w.counts(); after != before {
			t.Fatalf("a second claim changed something:\n%s\n%s", before, after)
		}
	})
}

// TestUnclaimedIsReturned lets nobody claim a payment. Two nodes see to it.
func TestUnclaimedIsReturned(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		o := w.kept(toStranger)
		ref := " Réf.\u00a0" + o.Reference()
		other := w.node(testConfig())
		both := func(looked int) {
			t.Helper()
			counts := make([]int, 2)
			var wait sync.WaitGroup
			for i, node := range []*payments.Service{w.Service, other} {
				wait.Go(func() {
					var err error
					if counts[i], err = node.SweepUnclaimed(w.ctx, 100); err != nil {
						t.Error(err)
					}
				})
			}
			wait.Wait()
			if counts[0]+counts[1] != looked {
				t.Fatalf("%v looked at, want %d in all", counts, looked)
			}
		}
		w.clock.Add(w.Config().UnclaimedTerm - w.Config().UnclaimedReminder - time.Second)
		both(0)
		w.clock.Add(time.Second)
		w.sweep(1)
		both(0)
		w.wantReply("@stranger, il vous reste jusqu'au 27/11 à 11h00 pour recevoir 20,00\u00a0€ : ouvrez un compte S-money et reliez-y votre compte Twitter." + ref)
		w.clock.Add(w.Config().UnclaimedReminder - time.Second)
		both(0)
		w.wantBalance(payments.AccountUnclaimed, 20_00, 20_00)
		w.clock.Add(time.Second)
		both(1)
		w.wantReply("20,00\u00a0€ pour @stranger n'ont pas été réclamés à temps : ils vous sont rendus." + ref)
		w.wantUnclaimed(o.ID, payments.UnclaimedReturned, payments.ReasonTermOver)
		w.wantBalance("wallet:c-000001", 1000_00, 1000_00)
		w.tied()
		if got := w.events(o.ID); !strings.HasSuffix(got, "posted>posted by sweeper: reminded\nposted>posted by service: returned") {
			t.Fatalf("events are\n%s", got)
		}
		must(t, w.LinkCustomer(w.ctx, channel, stranger, "late", "c-000002"))
		w.wantBalance("wallet:c-000002", 0, 0)
	})
}

// TestTermsAreElapsedTime: five days are 120 hours, whatever the clocks on the wall do.
func TestTermsAreElapsedTime(t *testing.T) {
	for _, at := range []time.Time{
		time.Date(2026, 10, 23, 12, 0, 0, 0, time.UTC), // clocks go back on the 25th
		time.Date(2027, 3, 26, 12, 0, 0, 0, time.UTC),  // and forward on the 28th
		time.Date(2026, 12, 29, 12, 0, 0, 0, time.UTC), // year end
	} {
		w := newWorld(t, sqliteDB(t))
		w.clock.Add(at.Sub(w.clock.Now()))
		o := w.kept(toStranger)
		if u := w.unclaimed(o.ID); u.ExpiresAt.Sub(u.CreatedAt) != 120*time.Hour {
			t.Fatalf("from %s the term ends %s", at, u.ExpiresAt)
		}
		w.clock.Add(120*time.Hour - time.Second)
		w.sweep(1) // reminded
		w.wantUnclaimed(o.ID, payments.UnclaimedWaiting, "")
		w.clock.Add(time.Second)
		w.sweep(1)
		u := w.unclaimed(o.ID)
		if want := ledger.DateIn(u.ExpiresAt, w.Engine().Location()); u.State != payments.UnclaimedReturned || u.ClosedOn != want {
			t.Fatalf("returned on %s, want %s: %+v", u.ClosedOn, want, u)
		}
		w.verify()
	}
}

// TestWhatCannotBeClaimedWaits has each rule keep a payment, and lift it where it can.
func TestWhatCannotBeClaimedWaits(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		before       func(w *world) // the link
		link         func(w *world) error
		lift         func(w *world) // nil: it is returned in the end
	}{
		{"a blocked payee", payments.ReasonPayeeBlocked,
			func(w *world) { must(w.t, w.SetCustomerStatus(w.ctx, "c-000002", payments.Blocked, "anne", "papers")) }, nil,
			func(w *world) {
				must(w.t, w.SetCustomerStatus(w.ctx, "c-000002", payments.Open, "anne", "papers are here"))
			}},
		{"a closed payee", payments.ReasonPayeeClosed,
			func(w *world) { must(w.t, w.SetCustomerStatus(w.ctx, "c-000002", payments.Closed, "anne", "asked")) }, nil, nil},
		{"a blocked payer", payments.ReasonPayerBlocked,
			func(w *world) { must(w.t, w.SetCustomerStatus(w.ctx, "c-000001", payments.Blocked, "anne", "fraud?")) }, nil,
			func(w *world) { must(w.t, w.SetCustomerStatus(w.ctx, "c-000001", payments.Open, "anne", "no fraud")) }},
		{"a full wallet", payments.ReasonPayeeCeiling,
			func(w *world) { _, err := w.TopUp(w.ctx, "c-000002", 2490_00, "full"); must(w.t, err) }, nil,
			func(w *world) {
				must(w.t, w.SetSecretCode(w.ctx, "c-000002", rightCode, "test"))
				_, err := w.confirm(w.say(yoann, "pay 100.00 "+acf+" ACF_France").Order.ID, rightCode)
				must(w.t, err)
			}},
		{"the payer's own second account", payments.ReasonSelfPayment, nil,
			func(w *world) error { return w.LinkCustomer(w.ctx, channel, stranger, "stranger", "c-000001") }, nil},
		{"a charity", payments.ReasonPayeeNotPerson, nil,
			func(w *world) error { return w.LinkPayee(w.ctx, channel, stranger, "stranger", "acf") }, nil},
		{"a lower cap", payments.ReasonOverCap,
			func(w *world) {
				config := testConfig()
				config.PersonCap = 10_00
				w.Service = w.node(config)
			}, nil, func(w *world) { w.Service = w.node(testConfig()) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, sqliteDB(t))
			o := w.kept(toStranger)
			if c.before != nil {
				c.before(w)
			}
			link := c.link
			if link == nil {
				link = func(w *world) error { return w.LinkCustomer(w.ctx, channel, stranger, "stranger", "c-000002") }
			}
			must(t, link(w))
			payee, _ := w.balance("wallet:c-000002")
			w.clock.Add(time.Hour)
			if c.name != "a charity" {
				w.sweep(1) // looked at, and put off
				w.wantUnclaimed(o.ID, payments.UnclaimedWaiting, c.reason)
				w.clock.Add(time.Hour)
			}
			if c.lift != nil {
				c.lift(w)
				payee, _ = w.balance("wallet:c-000002")
				w.sweep(1)
				w.wantUnclaimed(o.ID, payments.UnclaimedClaimed, payments.ReasonClaimed)
				payee += 20_00
			} else {
				w.clock.Add(w.Config().UnclaimedTerm)
				w.sweep(1)
				w.wantUnclaimed(o.ID, payments.UnclaimedReturned, payments.ReasonTermOver)
			}
			if now, _ := w.balance("wallet:c-000002"); now != payee {
				t.Fatalf("the payee has %d, want %d", now, payee)
			}
			w.tied()
			w.verify()
		})
	}
}

// TestReturnToAFullWalletWaits: the payer's wallet may not hold it until something is spent.
func TestReturnToAFullWalletWaits(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		o := w.kept("pay 200.00 " + stranger + " stranger")
		_, err := w.TopUp(w.ctx, "c-000001", 1700_00, "charge-2") // 2,500.00
		must(t, err)
		w.clock.Add(w.Config().UnclaimedTerm)
		w.sweep(1)
		w.wantUnclaimed(o.ID, payments.UnclaimedWaiting, payments.ReasonPayerCeiling)
		w.sweep(0) // not at once
		must(t, w.LinkCustomer(w.ctx, channel, stranger, "late", "c-000002"))
		w.wantBalance("wallet:c-000002", 0, 0)
		_, err = w.confirm(w.ordered("pay 250.00 "+yoann+" yoann_test").ID, rightCode)
		must(t, err)
		w.clock.Add(time.Hour)
		w.sweep(1)
		w.wantUnclaimed(o.ID, payments.UnclaimedReturned, payments.ReasonTermOver)
		w.wantBalance("wallet:c-000001", 2450_00, 2450_00)
		w.tied()
	})
}

// TestPayeeJoinsBeforeTheConfirmation: what waits for nobody is claimed with it.
func TestPayeeJoinsBeforeTheConfirmation(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		o := w.ordered(toStranger)
		must(t, w.LinkCustomer(w.ctx, channel, stranger, "stranger", "c-000002"))
		w.wantBalance("wallet:c-000002", 0, 0)
		_, err := w.confirm(o.ID, rightCode)
		must(t, err)
		w.wantUnclaimed(o.ID, payments.UnclaimedClaimed, payments.ReasonClaimed)
		w.wantBalance("wallet:c-000002", 20_00, 20_00)
		w.tied()
	})
}

// TestClaimAndConfirmationAtOnce: whichever is first, the money arrives without anybody
// looking for it later.
func TestClaimAndConfirmationAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		for i := range 5 {
			user := fmt.Sprintf("80000000%d", i)
			o := w.ordered("pay 20.00 " + user + " stranger")
			var wait sync.WaitGroup
			wait.Go(func() {
				if _, err := w.confirm(o.ID, rightCode); err != nil {
					t.Error(err)
				}
			})
			wait.Go(func() {
				if err := w.LinkCustomer(w.ctx, channel, user, "stranger", "c-000002"); err != nil {
					t.Error(err)
				}
			})
			wait.Wait()
			w.wantUnclaimed(o.ID, payments.UnclaimedClaimed, payments.ReasonClaimed)
		}
		w.wantBalance("wallet:c-000002", 100_00, 100_00)
		w.tied()
	})
}

// TestClaimAndReturnAtOnce has a node for whose clock the term is not over link the
// payee, while one for whose clock it is returns: exactly one of them moves the money.
func TestClaimAndReturnAtOnce(t *testing.T) {
	onCore(t, func(t *testing.T, w *world) {
		later := &clock{now: w.clock.Now()}
		e := engine.New(w.db, engine.Options{Clock: later.Now})
		t.Cleanup(e.Close)
		ahead, err := payments.New(e, testConfig(), wordParser{}, payments.Options{})
		must(t, err)
		claimed, returned := ledger.Amount(0), ledger.Amount(0)
		for i := range 6 {
			user := fmt.Sprintf("80000000%d", i)
			o := w.kept("pay 20.00 " + user + " stranger")
			later.Add(w.clock.Now().Add(w.Config().UnclaimedTerm).Sub(later.Now()))
			var wait sync.WaitGroup
			wait.Go(func() {
				if err := w.LinkCustomer(w.ctx, channel, user, "stranger", "c-000002"); err != nil {
					t.Error(err)
				}
			})
			wait.Go(func() {
				if _, err := ahead.SweepUnclaimed(w.ctx, 100); err != nil {
					t.Error(err)
				}
			})
			wait.Wait()
			switch u := w.unclaimed(o.ID); u.State {
			case payments.UnclaimedClaimed:
				claimed += u.Amount
			case payments.UnclaimedReturned:
				returned += u.Amount
			default:
				t.Fatalf("it still waits: %+v", u)
			}
		}
		if claimed+returned != 120_00 {
			t.Fatalf("%d claimed and %d returned", claimed, returned)
		}
		w.wantBalance("wallet:c-000002", claimed, claimed)
		w.wantBalance("wallet:c-000001", 880_00+returned, 880_00+returned)
		w.wantBalance(payments.AccountUnclaimed, 0, 0)
	})
}

func TestManyClaimsAreLeftToTheSweeper(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		for range 23 {
			w.kept("pay 1.00 " + stranger + " stranger")
		}
		must(t, w.LinkCustomer(w.ctx, channel, stranger, "stranger", "c-000002"))
		w.wantBalance("wallet:c-000002", 20_00, 20_00)
		w.sweep(3)
		w.wantBalance("wallet:c-000002", 23_00, 23_00)
		w.tied()
	})
}

func TestPayerWithUnclaimedPaymentsStaysOpen(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	w.kept("pay 200.00 " + stranger + " stranger")
	for range 2 {
		_, err := w.confirm(w.ordered("pay 400.00 "+acf+" ACF_France").ID, rightCode)
		must(t, err)
	}
	w.wantBalance("wallet:c-000001", 0, 0)
	err := w.SetCustomerStatus(w.ctx, "c-000001", payments.Closed, "anne", "asked")
	w.wantCode(err, ledger.CodeConflict)
	if !strings.Contains(err.Error(), "wait to be claimed (1)") {
		t.Fatalf("error is %v", err)
	}
	must(t, w.LinkCustomer(w.ctx, channel, stranger, "stranger", "c-000002"))
	must(t, w.SetCustomerStatus(w.ctx, "c-000001", payments.Closed, "anne", "asked"))
}

// TestReversedByStaff: what staff have given back is not returned a second time.
func TestReversedByStaff(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		o := w.kept(toStranger)
		_, err := w.Engine().Reverse(w.ctx, ledger.ReverseRequest{Key: "reverse-1", TransactionID: o.TransactionID, Label: "asked back"})
		must(t, err)
		w.clock.Add(w.Config().UnclaimedTerm)
		w.sweep(1)
		w.wantUnclaimed(o.ID, payments.UnclaimedReturned, payments.ReasonReversed)
		w.wantBalance("wallet:c-000001", 1000_00, 1000_00)
		w.tied()
	})
}

func TestSweepOfNonsense(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	for _, limit := range []int{0, -1, payments.MaxPage + 1} {
		_, err := w.SweepUnclaimed(w.ctx, limit)
		w.wantCode(err, ledger.CodeInvalid)
	}
	config := testConfig()
	config.UnclaimedReminder = config.UnclaimedTerm
	_, err := payments.New(w.Engine(), config, wordParser{}, payments.Options{})
	if e, ok := errors.AsType[*ledger.Error](err); !ok || e.Field != "unclaimed_reminder" {
		t.Fatalf("error is %v", err)
	}
}

// TestUnclaimedInAnyOrder plays stories by chance: whatever happens in whatever order,
// each payment ends at most once, the account holds what waits, and no money is made.
func TestUnclaimedInAnyOrder(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		user, stories := 810000000, 0
		rapid.Check(t, func(rt *rapid.T) {
			if stories++; stories > maxStories {
				return // rapid has no bound of its own that an engine of servers keeps
			}
			user++
			id := fmt.Sprint(user)
			var orders []payments.Order
			ended := map[uuid.UUID]payments.UnclaimedState{}
			linked := false
			for range rapid.IntRange(3, 10).Draw(rt, "steps") {
				switch rapid.SampledFrom([]string{"order", "confirm", "link", "unlink", "block", "open", "time", "sweep"}).Draw(rt, "step") {
				case "order":
					if handled := w.say(marie, "pay 1.00 "+id+" stranger"); handled.Order.State == held {
						orders = append(orders, *handled.Order)
					}
				case "confirm":
					for _, o := range orders {
						if _, err := w.confirm(o.ID, rightCode); err != nil && ledger.CodeOf(err) != ledger.CodeConflict && ledger.CodeOf(err) != ledger.CodeForbidden {
							rt.Fatal(err)
						}
					}
				case "link":
					must(t, w.LinkCustomer(w.ctx, channel, id, "stranger", "c-000002"))
					linked = true
				case "unlink":
					if linked {
						must(t, w.UnlinkCustomer(w.ctx, channel, id, "c-000002", "anne", "asked"))
						linked = false
					}
				case "block":
					must(t, w.SetCustomerStatus(w.ctx, "c-000002", payments.Blocked, "anne", "papers"))
				case "open":
					must(t, w.SetCustomerStatus(w.ctx, "c-000002", payments.Open, "anne", "papers"))
				case "time":
					w.clock.Add(time.Duration(rapid.IntRange(1, 60).Draw(rt, "hours")) * time.Hour)
				case "sweep":
					_, err := w.SweepUnclaimed(w.ctx, 100)
					must(t, err)
					_, err = w.ExpireOrders(w.ctx, 100)
					must(t, err)
				}
				w.tied()
				for _, o := range orders {
					var u payments.Unclaimed
					w.read(func(ctx context.Context, tx *sqldb.Tx) error {
						var err error
						u, err = payments.FindUnclaimed(ctx, tx, o.ID)
						if ledger.CodeOf(err) == ledger.CodeNotFound {
							return nil
						}
						return err
					})
					if before := ended[o.ID]; before != "" && before != u.State {
						rt.Fatalf("order %s was %s and is %s", o.ID, before, u.State)
					}
					if u.State == payments.UnclaimedClaimed || u.State == payments.UnclaimedReturned {
						ended[o.ID] = u.State
					}
				}
			}
			must(t, w.SetCustomerStatus(w.ctx, "c-000002", payments.Open, "anne", "next story"))
		})
		payer, _ := w.balance("wallet:c-000001")
		payee, _ := w.balance("wallet:c-000002")
		waiting, _ := w.balance(payments.AccountUnclaimed)
		if payer+payee+waiting != 1000_00 {
			t.Fatalf("%d + %d + %d is not what there was", payer, payee, waiting)
		}
		w.verify()
	})
}

// maxStories keeps TestUnclaimedInAnyOrder quick.
const maxStories = 12
