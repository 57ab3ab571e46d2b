package payments_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

const toYoann = "pay 20.00 " + yoann + " yoann_test"

func TestWrongCodeSixTimes(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		o := w.ordered(toYoann)
		var answer string
		for try := 1; try <= 6; try++ {
			_, err := w.confirm(o.ID, wrongCode)
			w.wantCode(err, ledger.CodeForbidden)
			if try > 1 && err.Error() != answer {
				t.Fatalf("try %d is answered %q, the one before %q", try, err, answer)
			}
			answer = err.Error()
		}
		_, err := w.confirm(o.ID, rightCode)
		w.wantCode(err, ledger.CodeForbidden)
		if err.Error() != answer {
			t.Fatalf("a blocked code is answered %q, a wrong one %q", err, answer)
		}
		c, err := w.Customer(w.ctx, "c-000001")
		must(t, err)
		if c.SecretFailures != 5 || c.SecretBlockedAt.IsZero() {
			t.Fatalf("%d tries are counted, blocked at %s", c.SecretFailures, c.SecretBlockedAt)
		}
		w.wantState(o.ID, payments.StateAwaitingConfirmation, payments.ReasonHeld)
		w.wantBalance("wallet:c-000001", 1000_00, 980_00)

		must(t, w.UnblockCode(w.ctx, "c-000001", "staff:anne", "verified by telephone"))
		_, err = w.confirm(o.ID, rightCode)
		must(t, err)
		w.wantState(o.ID, payments.StatePosted, payments.ReasonConfirmed)
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			events, err := payments.PartyEvents(ctx, tx, c.ID, 10)
			must(t, err)
			var names string
			for _, e := range events {
				names += e.Event + " "
			}
			if names != "secret_set secret_blocked secret_unblocked " {
				t.Fatalf("history is %s", names)
			}
			return nil
		})
	})
}

func TestRightCodeForgetsFailures(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		for range 3 {
			o := w.ordered(toYoann)
			for range 4 {
				_, err := w.confirm(o.ID, wrongCode)
				w.wantCode(err, ledger.CodeForbidden)
			}
			_, err := w.confirm(o.ID, rightCode) // the fifth try
			must(t, err)
		}
		c, err := w.Customer(w.ctx, "c-000001")
		must(t, err)
		if c.SecretFailures != 0 || !c.SecretBlockedAt.IsZero() {
			t.Fatalf("%d tries are counted, blocked at %s", c.SecretFailures, c.SecretBlockedAt)
		}
	})
}

// TestParallelGuesses lets three nodes guess at once. The right code is guessed
// last, and by then blocked: had a sixth guess been compared, it might have paid.
func TestParallelGuesses(t *testing.T) {
	onCore(t, func(t *testing.T, w *world) {
		o := w.ordered(toYoann)
		nodes := []*payments.Service{w.Service, w.node(testConfig()), w.node(testConfig())}
		var group sync.WaitGroup
		for guess := range 100 {
			group.Go(func() {
				_, err := nodes[guess%len(nodes)].Confirm(w.ctx, payments.ConfirmRequest{OrderID: o.ID, Code: wrongCode, Actor: "test"})
				if code := ledger.CodeOf(err); code != ledger.CodeForbidden && code != ledger.CodeUnavailable {
					t.Errorf("guess %d: %v", guess, err)
				}
			})
		}
		group.Wait()
		c, err := w.Customer(w.ctx, "c-000001")
		must(t, err)
		if c.SecretFailures != 5 || c.SecretBlockedAt.IsZero() {
			t.Fatalf("%d tries are counted, blocked at %s", c.SecretFailures, c.SecretBlockedAt)
		}
		_, err = w.confirm(o.ID, rightCode)
		w.wantCode(err, ledger.CodeForbidden)
		w.wantState(o.ID, payments.StateAwaitingConfirmation, payments.ReasonHeld)
	})
}

func TestParallelConfirmationsPostOnce(t *testing.T) {
	onCore(t, func(t *testing.T, w *world) {
		o := w.ordered(toYoann)
		nodes := []*payments.Service{w.Service, w.node(testConfig()), w.node(testConfig())}
		var group sync.WaitGroup
		var mu sync.Mutex
		posted := 0
		for i := range 100 {
			group.Go(func() {
				got, err := nodes[i%len(nodes)].Confirm(w.ctx, payments.ConfirmRequest{OrderID: o.ID, Code: rightCode, Actor: "test"})
				switch {
				case err == nil && got.State == payments.StatePosted:
					mu.Lock()
					posted++
					mu.Unlock()
				// Each counts as a try until it is seen to be right: of a crowd some find none left.
				case ledger.CodeOf(err) != ledger.CodeConflict && ledger.CodeOf(err) != ledger.CodeForbidden:
					t.Errorf("confirmation %d: %v", i, err)
				}
			})
		}
		group.Wait()
		if posted != 1 {
			t.Fatalf("%d confirmations say that they posted", posted)
		}
		w.wantBalance("wallet:c-000002", 20_00, 20_00)
		c, err := w.Customer(w.ctx, "c-000001")
		must(t, err)
		if c.SecretFailures != 0 {
			t.Fatalf("right codes count as %d failures", c.SecretFailures)
		}
	})
}

func TestConfirmationIsSingleUse(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		o := w.ordered(toYoann)
		token := w.token()
		page, err := w.Confirmation(w.ctx, token)
		must(t, err)
		request := payments.ConfirmRequest{Token: token, Stamp: page.Stamp, Code: rightCode, Actor: "page"}
		_, err = w.Confirm(w.ctx, request)
		must(t, err)
		before := w.counts()
		for _, code := range []string{rightCode, wrongCode} {
			request.Code = code
			_, err = w.Confirm(w.ctx, request)
			w.wantCode(err, ledger.CodeConflict)
		}
		if after := w.counts(); after != before {
			t.Fatalf("confirming again changed %s to %s", before, after)
		}
		w.wantState(o.ID, payments.StatePosted, payments.ReasonConfirmed)
		w.wantBalance("wallet:c-000001", 980_00, 980_00)
	})
}

func TestTokenAndStamp(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.ordered(toYoann)
		token := w.token()
		page, err := w.Confirmation(w.ctx, token)
		must(t, err)
		other := w.ordered("pay 30.00 " + acf + " ACF_France")
		otherPage, err := w.Confirmation(w.ctx, w.token())
		must(t, err)
		if otherPage.OrderID != other.ID {
			t.Fatal("the second notice leads to another order")
		}
		for name, r := range map[string]payments.ConfirmRequest{
			"no stamp":               {Token: token},
			"stamp of another order": {Token: token, Stamp: otherPage.Stamp},
			"not base64":             {Token: token, Stamp: "§"},
			"too short":              {Token: token, Stamp: "AAAA"},
		} {
			r.Code, r.Actor = rightCode, "page"
			_, err := w.Confirm(w.ctx, r)
			if ledger.CodeOf(err) != ledger.CodeInvalid {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, wrong := range []string{"x", token[:42] + "!", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"} {
			_, err := w.Confirm(w.ctx, payments.ConfirmRequest{Token: wrong, Stamp: page.Stamp, Code: rightCode, Actor: "page"})
			w.wantCode(err, ledger.CodeNotFound)
		}
		w.clock.Add(w.Config().PageIdle + time.Second)
		_, err = w.Confirm(w.ctx, payments.ConfirmRequest{Token: token, Stamp: page.Stamp, Code: rightCode, Actor: "page"})
		w.wantCode(err, ledger.CodeInvalid)
		c, err := w.Customer(w.ctx, "c-000001")
		must(t, err)
		if c.SecretFailures != 0 {
			t.Fatalf("forms that were refused count as %d tries", c.SecretFailures)
		}
		// what the database keeps opens no page
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			rows, err := payments.ListOutbox(ctx, tx, payments.OutboxFilter{Limit: 100})
			must(t, err)
			for _, row := range rows {
				if tokenPattern.MatchString(row.Text) || len(row.Text) > 0 && row.Kind == payments.OutboxNotice {
					t.Fatalf("the outbox keeps %q", row.Text)
				}
			}
			return nil
		})
	})
}

// TestChangedOrderIsVoid changes what an order says behind the service's back:
// the code was asked for something else.
func TestChangedOrderIsVoid(t *testing.T) {
	for name, change := range map[string]string{
		"amount":   "UPDATE orders SET amount = 19999 WHERE id = $1",
		"payee id": "UPDATE orders SET payee_user_id = '666' WHERE id = $1",
		"payer":    "UPDATE orders SET payer_id = payee_customer_id WHERE id = $1",
	} {
		t.Run(name, func(t *testing.T) {
			db := sqliteDB(t)
			w := newWorld(t, db)
			must(t, w.SetSecretCode(w.ctx, "c-000002", rightCode, "test"))
			o := w.ordered(toYoann)
			w.exec(change, o.ID)
			_, err := w.confirm(o.ID, rightCode)
			w.wantCode(err, ledger.CodeForbidden)
			w.wantState(o.ID, payments.StateVoided, payments.ReasonBindingBroken)
			w.wantBalance("wallet:c-000001", 1000_00, 1000_00)
			w.wantBalance("wallet:c-000002", 0, 0)
			w.verify()
		})
	}
}

func TestRulesAreAskedAgain(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		check := func(o payments.Order, reason string) {
			t.Helper()
			_, err := w.confirm(o.ID, rightCode)
			w.wantCode(err, ledger.CodeForbidden)
			w.wantState(o.ID, payments.StateVoided, reason)
			w.wantBalance("wallet:c-000001", 1000_00, 1000_00)
		}
		o := w.ordered(toYoann)
		must(t, w.SetCustomerStatus(w.ctx, "c-000002", payments.Blocked, "staff:anne", "suspicion"))
		check(o, payments.ReasonPayeeBlocked)

		o = w.ordered("pay 10.00 " + acf + " ACF_France")
		must(t, w.SetPayeeStatus(w.ctx, "acf", payments.Blocked, "staff:anne", "papers missing"))
		check(o, payments.ReasonPayeeBlocked)

		o = w.ordered("pay 10.00 " + bakery + " bakery")
		must(t, w.SetCustomerStatus(w.ctx, "c-000001", payments.Blocked, "staff:anne", "suspicion"))
		check(o, payments.ReasonPayerBlocked)
		must(t, w.SetCustomerStatus(w.ctx, "c-000001", payments.Open, "staff:anne", "cleared up"))

		o = w.ordered("pay 400.00 " + bakery + " bakery")
		lower := testConfig()
		lower.BusinessCap = 399_99
		_, err := w.node(lower).Confirm(w.ctx, payments.ConfirmRequest{OrderID: o.ID, Code: rightCode, Actor: "test"})
		w.wantCode(err, ledger.CodeForbidden)
		w.wantState(o.ID, payments.StateVoided, payments.ReasonOverCap)
		if got := w.lastReply(); got != "Ce paiement ne peut pas être effectué. Rien n'est débité. Réf.\u00a0"+o.Reference() {
			t.Fatalf("answered %q", got)
		}
	})
}

func TestExpiry(t *testing.T) {
	onCore(t, func(t *testing.T, w *world) {
		first := w.ordered(toYoann)
		w.clock.Add(time.Hour)
		second := w.ordered(toYoann)
		w.clock.Add(w.Config().ConfirmationTerm - time.Hour)
		_, err := w.confirm(first.ID, rightCode) // the sweeper has not come by
		w.wantCode(err, ledger.CodeConflict)
		w.wantBalance("wallet:c-000001", 1000_00, 960_00)
		expired, err := w.ExpireOrders(w.ctx, 100)
		must(t, err)
		if expired != 1 {
			t.Fatalf("%d orders expired", expired)
		}
		w.wantState(first.ID, payments.StateExpired, payments.ReasonTermOver)
		w.wantState(second.ID, payments.StateAwaitingConfirmation, payments.ReasonHeld)
		w.wantBalance("wallet:c-000001", 1000_00, 980_00)
		_, err = w.confirm(first.ID, rightCode)
		w.wantCode(err, ledger.CodeConflict)
		_, err = w.confirm(second.ID, rightCode)
		must(t, err)
		before := w.counts()
		if expired, err := w.ExpireOrders(w.ctx, 100); err != nil || expired != 0 {
			t.Fatalf("a second sweep expired %d (%v)", expired, err)
		}
		if after := w.counts(); after != before {
			t.Fatalf("a second sweep changed %s to %s", before, after)
		}
	})
}

func TestCancel(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		o := w.ordered(toYoann)
		for range 2 {
			cancelled, err := w.Cancel(w.ctx, o.ID, "customer", "asked for it")
			must(t, err)
			if cancelled.State != payments.StateCancelled {
				t.Fatalf("order is %s", cancelled.State)
			}
		}
		w.wantBalance("wallet:c-000001", 1000_00, 1000_00)
		_, err := w.confirm(o.ID, rightCode)
		w.wantCode(err, ledger.CodeConflict)
		posted := w.ordered(toYoann)
		_, err = w.confirm(posted.ID, rightCode)
		must(t, err)
		_, err = w.Cancel(w.ctx, posted.ID, "customer", "changed my mind")
		w.wantCode(err, ledger.CodeConflict)
		_, err = w.Cancel(w.ctx, o.ID, "", "nobody")
		w.wantCode(err, ledger.CodeInvalid)
	})
}

func TestNoSecretCodeYet(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		_, err := w.TopUp(w.ctx, "c-000002", 50_00, "charge-2")
		must(t, err)
		handled := w.say(yoann, "pay 5.00 "+acf+" ACF_France")
		_, err = w.confirm(handled.Order.ID, rightCode)
		w.wantCode(err, ledger.CodeForbidden)
		must(t, w.SetSecretCode(w.ctx, "c-000002", wrongCode, "test"))
		_, err = w.confirm(handled.Order.ID, rightCode) // marie's code, not yoann's
		w.wantCode(err, ledger.CodeForbidden)
		_, err = w.confirm(handled.Order.ID, wrongCode)
		must(t, err)
	})
}

func TestSecretIsRehashed(t *testing.T) {
	db := sqliteDB(t)
	w := newWorld(t, db)
	hash := func() (h string) {
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.QueryRow(ctx, "SELECT secret_hash FROM customers WHERE number = 'c-000001'", nil, &h)
		})
		return h
	}
	old := hash()
	stronger := testConfig()
	stronger.Secret.Iterations = 2
	node := w.node(stronger)
	for range 2 {
		o := w.ordered(toYoann)
		_, err := node.Confirm(w.ctx, payments.ConfirmRequest{OrderID: o.ID, Code: rightCode, Actor: "test"})
		must(t, err)
	}
	if now := hash(); now == old || now[:len("$argon2id$v=19$m=8,t=2,p=1$")] != "$argon2id$v=19$m=8,t=2,p=1$" {
		t.Fatalf("the hash is %s", now)
	}
}

// TestHashOfSomebodyElse puts another customer's hash into the table: a code is
// bound to whom it belongs to.
func TestHashOfSomebodyElse(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	must(t, w.SetSecretCode(w.ctx, "c-000002", wrongCode, "test"))
	w.exec("UPDATE customers SET secret_hash = (SELECT secret_hash FROM customers WHERE number = 'c-000002') WHERE number = 'c-000001'")
	o := w.ordered(toYoann)
	_, err := w.confirm(o.ID, wrongCode)
	w.wantCode(err, ledger.CodeForbidden)
	w.wantState(o.ID, payments.StateAwaitingConfirmation, payments.ReasonHeld)
}

func TestHashingIsBounded(t *testing.T) {
	config := testConfig()
	config.Secret = payments.SecretParams{MemoryKiB: 8, Iterations: 1, Parallelism: 1, Workers: 1}
	w := newWorldWith(t, sqliteDB(t), config)
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	err := w.SetSecretCode(ctx, "c-000001", rightCode, "test")
	if err == nil || !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	must(t, w.SetSecretCode(w.ctx, "c-000001", rightCode, "test")) // the slot was given back
	err = w.SetSecretCode(w.ctx, "c-000001", "12345", "test")
	w.wantCode(err, ledger.CodeInvalid)
}

// TestWaitingForASlotIsNoTry lets confirmations wait for their turn until they
// give up, as when somebody floods the page: no code is blocked by that.
func TestWaitingForASlotIsNoTry(t *testing.T) {
	config := testConfig()
	config.Secret.Workers = 1
	w := newWorldWith(t, sqliteDB(t), config)
	o := w.ordered(toYoann)
	release := w.OccupyHashSlot()
	for range config.SecretTries + 1 {
		ctx, cancel := context.WithTimeout(w.ctx, 50*time.Millisecond)
		_, err := w.Confirm(ctx, payments.ConfirmRequest{OrderID: o.ID, Code: rightCode, Actor: "test"})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error is %v", err)
		}
	}
	release()
	_, err := w.confirm(o.ID, rightCode)
	must(t, err)
	w.wantState(o.ID, payments.StatePosted, payments.ReasonConfirmed)
}

// TestFloodingCustomerWaitsForHimself has one customer's codes wait in numbers:
// with a single slot to hash in, another customer's still goes through.
func TestFloodingCustomerWaitsForHimself(t *testing.T) {
	config := testConfig()
	config.Secret.Workers = 1
	w := newWorldWith(t, sqliteDB(t), config)
	must(t, w.SetSecretCode(w.ctx, "c-000002", wrongCode, "test"))
	_, err := w.TopUp(w.ctx, "c-000002", 50_00, "charge-2")
	must(t, err)
	flooded, other := w.ordered(toYoann), w.say(yoann, "pay 5.00 "+acf+" ACF_France").Order
	release, err := w.OccupyTurn(w.ctx, flooded.PayerID)
	must(t, err)
	results := make(chan error, 20)
	for range cap(results) {
		go func() {
			_, err := w.confirm(flooded.ID, wrongCode)
			results <- err
		}()
	}
	ctx, cancel := context.WithTimeout(w.ctx, 30*time.Second)
	defer cancel()
	_, err = w.Confirm(ctx, payments.ConfirmRequest{OrderID: other.ID, Code: wrongCode, Actor: "test"}) // the right one of c-000002
	must(t, err)
	release()
	for range cap(results) {
		w.wantCode(<-results, ledger.CodeForbidden)
	}
	if n := w.Turns(); n != 0 {
		t.Fatalf("%d customers are remembered", n)
	}
}
