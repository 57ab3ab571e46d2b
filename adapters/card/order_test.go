package card_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// allowed registers a card that may be charged for payments, up to 100 EUR each.
func (w *world) allowed(token string) payments.Card {
	w.t.Helper()
	c := w.add("c-000001", token)
	_, err := w.SetDefaultCard(w.ctx, c.ID, "test")
	w.must(err)
	_, err = w.AllowAutomaticTopUp(w.ctx, c.ID, 100_00, "test")
	w.must(err)
	return c
}

func (w *world) wantOrder(o payments.Order, state payments.State, reason string) {
	w.t.Helper()
	now, err := w.Order(w.ctx, o.ID)
	w.must(err)
	if now.State != state || now.Reason != reason {
		w.t.Fatalf("the order is %s (%s), want %s (%s)", now.State, now.Reason, state, reason)
	}
}

func TestOrderIsPaidByCard(t *testing.T) {
	onCore(t, func(t *testing.T, w *world) {
		_, err := w.TopUp(w.ctx, "c-000001", 12_00, "by-hand")
		w.must(err)
		without := w.order(yoann, "20.00")
		w.wantOrder(without, payments.StateRejected, payments.ReasonInsufficientFunds)

		w.allowed("pm_sim_ok_1")
		o := w.order(yoann, "20.00")
		w.wantOrder(o, payments.StateAwaitingConfirmation, payments.ReasonCardPays)
		if n := len(w.sim.Payments()); n != 0 {
			t.Fatalf("a tweet alone made %d charges", n)
		}
		_, err = w.Confirm(w.ctx, payments.ConfirmRequest{OrderID: o.ID, Code: "000000", Actor: "page"})
		w.wantCode(err, ledger.CodeForbidden)
		if n := len(w.sim.Payments()); n != 0 {
			t.Fatalf("a wrong code made %d charges", n)
		}
		done, err := w.confirm(o.ID)
		w.must(err)
		if done.State != payments.StatePosted {
			t.Fatalf("the confirmed order is %+v", done)
		}
		if p := w.sim.Payments(); len(p) != 1 || p[0].Received != 8_00 {
			t.Fatalf("the card was charged %+v, not the missing 8.00", p)
		}
		w.wantBalances(map[string]ledger.Amount{walletMarie: 0, walletYoann: 20_00, "cards-to-settle": 20_00})
		_, err = w.confirm(o.ID)
		w.wantCode(err, ledger.CodeConflict)

		tooMuch := w.order(yoann, "100.01")
		w.wantOrder(tooMuch, payments.StateRejected, payments.ReasonInsufficientFunds)
		small := w.order(yoann, "0.30") // a card is charged 1.00 at least; the rest stays in the wallet
		_, err = w.confirm(small.ID)
		w.must(err)
		w.wantBalances(map[string]ledger.Amount{walletMarie: 70, walletYoann: 20_30, "cards-to-settle": 21_00})
	})
}

func TestOrderWaitsForTheCardholder(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.allowed("pm_sim_challenge_1")
		o, other, late := w.order(yoann, "20.00"), w.order(yoann, "30.00"), w.order(yoann, "40.00")
		waiting, err := w.confirm(o.ID)
		w.must(err)
		if waiting.State != payments.StateAwaitingConfirmation || waiting.Charge == nil || !strings.Contains(waiting.Charge.ChallengeURL, "/challenge/") {
			t.Fatalf("the order waits as %+v", waiting)
		}
		again, err := w.confirm(o.ID)
		w.must(err)
		if again.Charge == nil || again.Charge.ID != waiting.Charge.ID {
			t.Fatalf("confirming again began %+v", again.Charge)
		}
		w.must(w.sim.Authenticate(waiting.Charge.Reference, true))
		w.news()
		w.wantOrder(o, payments.StatePosted, payments.ReasonConfirmed)

		// Who fails to authenticate may try again.
		failing, err := w.confirm(other.ID)
		w.must(err)
		w.must(w.sim.Authenticate(failing.Charge.Reference, false))
		w.news()
		w.wantOrder(other, payments.StateAwaitingConfirmation, payments.ReasonCardPays)
		second, err := w.confirm(other.ID)
		w.must(err)
		if second.Charge == nil || second.Charge.ID == failing.Charge.ID {
			t.Fatalf("the second try is %+v", second.Charge)
		}
		// The order is cancelled while its cardholder authenticates: the money goes back.
		_, err = w.Cancel(w.ctx, other.ID, "page", "changed my mind")
		w.must(err)
		w.must(w.sim.Authenticate(second.Charge.Reference, true))
		w.news()
		w.wantState(second.Charge.ID, payments.ChargeRefunded, payments.ReasonRefunded)
		w.wantOrder(other, payments.StateCancelled, "changed my mind")

		// The same for one whose term is over.
		slow, err := w.confirm(late.ID)
		w.must(err)
		w.clock.add(48 * time.Hour)
		w.must(w.sim.Authenticate(slow.Charge.Reference, true))
		w.news()
		w.wantState(slow.Charge.ID, payments.ChargeRefunded, payments.ReasonRefunded)
		_, err = w.ExpireOrders(w.ctx, 10)
		w.must(err)
		w.wantOrder(late, payments.StateExpired, payments.ReasonTermOver)
		if text := w.reply(late); strings.Contains(text, "rejoint") || !strings.Contains(text, "40,00") {
			t.Fatalf("the payer of an order that was not confirmed is told %q", text)
		}
		w.wantBalances(map[string]ledger.Amount{walletMarie: 0, walletYoann: 20_00, "cards-to-settle": 20_00, "suspense": 0})
	})
}

// reply returns the newest answer about an order.
func (w *world) reply(o payments.Order) string {
	w.t.Helper()
	var list []payments.OutboxRow
	w.must(w.db.Read(w.ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		list, err = payments.ListOutbox(ctx, tx, payments.OutboxFilter{OrderID: o.ID, Kind: payments.OutboxReply, Limit: 10})
		return err
	}))
	return list[len(list)-1].Text
}

// TestStrangerIsPaidByCard lets a card pay somebody who is no customer yet.
func TestStrangerIsPaidByCard(t *testing.T) {
	w := sqliteWorld(t)
	w.allowed("pm_sim_ok_1")
	o := w.order("700000999", "20.00")
	w.wantOrder(o, payments.StateAwaitingConfirmation, payments.ReasonCardPays)
	done, err := w.confirm(o.ID)
	w.must(err)
	if done.State != payments.StatePosted {
		t.Fatalf("the order is %s (%s)", done.State, done.Reason)
	}
	w.wantBalances(map[string]ledger.Amount{walletMarie: 0, "unclaimed-payments": 20_00, "cards-to-settle": 20_00})
	w.verify()
}

func TestOrderWhoseCardDeclines(t *testing.T) {
	w := sqliteWorld(t)
	card := w.allowed("pm_sim_funds_1")
	o := w.order(yoann, "20.00")
	const most = 5
	for i := range most {
		if _, err := w.confirm(o.ID); ledger.CodeOf(err) != ledger.CodeInsufficientFunds || !strings.Contains(err.Error(), string(payments.DeclineFunds)) {
			t.Fatalf("try %d: %v", i, err)
		}
	}
	_, err := w.confirm(o.ID)
	w.wantCode(err, ledger.CodeInsufficientFunds)
	if n := len(w.sim.Payments()); n != most {
		t.Fatalf("the card was asked %d times, not %d", n, most)
	}
	w.wantOrder(o, payments.StateAwaitingConfirmation, payments.ReasonCardPays)

	// Without consent no card is charged, also for what was ordered before.
	_, err = w.AllowAutomaticTopUp(w.ctx, card.ID, 0, "test")
	w.must(err)
	_, err = w.confirm(o.ID)
	w.wantCode(err, ledger.CodeInsufficientFunds)
	// What comes into the wallet meanwhile pays.
	_, err = w.TopUp(w.ctx, "c-000001", 25_00, "by-hand")
	w.must(err)
	_, err = w.confirm(o.ID)
	w.must(err)
	w.wantOrder(o, payments.StatePosted, payments.ReasonConfirmed)
	w.wantBalances(map[string]ledger.Amount{walletMarie: 5_00, walletYoann: 20_00})
	w.verify()
}

// TestOrderThatCannotBePaid charges no card for what the rules would refuse then.
func TestOrderThatCannotBePaid(t *testing.T) {
	w := sqliteWorld(t)
	w.allowed("pm_sim_challenge_1")
	o, blocked := w.order(yoann, "20.00"), w.order(yoann, "30.00")
	_, err := w.TopUp(w.ctx, "c-000002", 2490_00, "by-hand")
	w.must(err)
	_, err = w.confirm(o.ID)
	w.wantCode(err, ledger.CodeInsufficientFunds)
	full := w.order(yoann, "20.00")
	w.wantOrder(full, payments.StateRejected, payments.ReasonPayeeCeiling)
	w.must(w.SetCustomerStatus(w.ctx, "c-000002", payments.Blocked, "staff", "asked for"))
	_, err = w.confirm(blocked.ID)
	w.wantCode(err, ledger.CodeForbidden)
	w.wantOrder(blocked, payments.StateVoided, payments.ReasonPayeeBlocked)
	if n := len(w.sim.Payments()); n != 0 {
		t.Fatalf("%d cards were charged", n)
	}
	// The payee is blocked while the cardholder authenticates.
	w.must(w.SetCustomerStatus(w.ctx, "c-000002", payments.Open, "staff", "lifted"))
	w.must(w.SetSecretCode(w.ctx, "c-000002", code, "test"))
	small := w.order(yoann, "5.00")
	waiting, err := w.confirm(small.ID)
	w.must(err)
	w.must(w.SetCustomerStatus(w.ctx, "c-000002", payments.Blocked, "staff", "again"))
	w.must(w.sim.Authenticate(waiting.Charge.Reference, true))
	w.news()
	w.wantState(waiting.Charge.ID, payments.ChargeRefunded, payments.ReasonRefunded)
	w.wantBalances(map[string]ledger.Amount{walletMarie: 0, "suspense": 0})
	w.verify()
}
