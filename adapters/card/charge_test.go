package card_test

import (
	"strings"
	"testing"
	"time"

	"tweetledger/adapters/card/cardsim"
	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

func TestChargeIsPosted(t *testing.T) {
	onCore(t, func(t *testing.T, w *world) {
		c := w.charge("c-000001", w.add("c-000001", "pm_sim_ok_1"), 50_00)
		w.wantState(c.ID, payments.ChargePosted, payments.ReasonToppedUp)
		w.wantBalances(map[string]ledger.Amount{walletMarie: 50_00, "cards-to-settle": 50_00})
		again, err := w.ChargeCard(w.ctx, payments.ChargeRequest{Key: "t-1", CustomerNumber: "c-000001", Amount: 50_00, Present: true, Actor: "test"})
		w.must(err)
		if again.ID != c.ID {
			t.Fatalf("the same key made charge %s after %s", again.ID, c.ID)
		}
		_, err = w.ChargeCard(w.ctx, payments.ChargeRequest{Key: "t-1", CustomerNumber: "c-000001", Amount: 51_00, Actor: "test"})
		w.wantCode(err, ledger.CodeConflict)
		// Staff who book the same charge by hand book nothing twice.
		_, err = w.TopUp(w.ctx, "c-000001", 50_00, c.Reference)
		w.must(err)
		w.news()
		w.wantBalances(map[string]ledger.Amount{walletMarie: 50_00, "cards-to-settle": 50_00})
	})
}

func TestDeclinesHaveReasons(t *testing.T) {
	w := sqliteWorld(t)
	for token, reason := range map[string]payments.DeclineReason{
		"pm_sim_declined_1": payments.DeclineOther, "pm_sim_funds_1": payments.DeclineFunds, "pm_sim_stolen_1": payments.DeclineStolen,
	} {
		c := w.charge("c-000001", w.add("c-000001", token), 20_00)
		if c = w.wantState(c.ID, payments.ChargeDeclined, string(reason)); c.Reference == "" {
			t.Errorf("%s: the processor's reference is lost", token)
		}
	}
	byAmount := w.add("c-000001", "pm_sim_amount_1")
	for amount, reason := range map[ledger.Amount]payments.DeclineReason{10_05: payments.DeclineOther, 10_43: payments.DeclineStolen,
		10_51: payments.DeclineFunds, 10_54: payments.DeclineExpired, 10_61: payments.DeclineLimit} {
		w.wantState(w.charge("c-000001", byAmount, amount).ID, payments.ChargeDeclined, string(reason))
	}
	w.wantState(w.charge("c-000001", byAmount, 10_00).ID, payments.ChargePosted, payments.ReasonToppedUp)
	// Who is not there cannot authenticate.
	c, err := w.ChargeCard(w.ctx, payments.ChargeRequest{Key: "away", CustomerNumber: "c-000001", CardID: w.add("c-000001", "pm_sim_challenge_1").ID, Amount: 10_00, Actor: "test"})
	w.must(err)
	w.wantState(c.ID, payments.ChargeDeclined, string(payments.DeclineAuthentication))
	w.wantBalances(map[string]ledger.Amount{walletMarie: 10_00, "cards-to-settle": 10_00})
	w.verify()
}

func TestChallenge(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		on := w.add("c-000001", "pm_sim_challenge_1")
		approved, refused, left := w.charge("c-000001", on, 10_00), w.charge("c-000001", on, 20_00), w.charge("c-000001", on, 40_00)
		if !strings.Contains(approved.ChallengeURL, "/challenge/"+approved.Reference) {
			t.Fatalf("the cardholder is sent to %q", approved.ChallengeURL)
		}
		w.must(w.sim.Authenticate(approved.Reference, true))
		w.must(w.sim.Authenticate(refused.Reference, false))
		w.news()
		w.wantState(approved.ID, payments.ChargePosted, payments.ReasonToppedUp)
		w.wantState(refused.ID, payments.ChargeDeclined, string(payments.DeclineAuthentication))
		w.wantState(left.ID, payments.ChargeChallenged, payments.ReasonChallenge)
		w.clock.add(w.Config().Cards.ChallengeTerm)
		w.sweep()
		w.wantState(left.ID, payments.ChargeFailed, payments.ReasonAbandoned)
		if err := w.sim.Authenticate(left.Reference, true); err == nil {
			t.Fatal("a charge that was given up could still succeed")
		}
		w.wantBalances(map[string]ledger.Amount{walletMarie: 10_00, "cards-to-settle": 10_00})
	})
}

func TestLostAnswers(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		on := w.add("c-000001", "pm_sim_ok_1")
		w.sim.Inject(cardsim.LoseAnswer)
		answerLost := w.charge("c-000001", on, 10_00)
		w.sim.Inject(cardsim.LoseRequest)
		requestLost := w.charge("c-000001", on, 20_00)
		w.sim.Inject(cardsim.Overload)
		refused := w.charge("c-000001", on, 40_00)
		for _, c := range []payments.Charge{answerLost, requestLost, refused} {
			w.wantState(c.ID, payments.ChargeRequested, payments.ReasonAskedFor)
		}
		w.clock.add(time.Minute)
		w.sweep()
		w.wantState(answerLost.ID, payments.ChargePosted, payments.ReasonToppedUp)
		w.wantState(requestLost.ID, payments.ChargeRequested, payments.ReasonAskedFor)
		w.clock.add(5 * time.Minute)
		w.sweep()
		w.wantState(requestLost.ID, payments.ChargeFailed, payments.ReasonNeverArrived)
		w.wantState(refused.ID, payments.ChargeFailed, payments.ReasonNeverArrived)
		w.wantBalances(map[string]ledger.Amount{walletMarie: 10_00, "cards-to-settle": 10_00})
	})
}

// TestNoWalletForIt charges cards whose money no wallet may have: it goes back.
func TestNoWalletForIt(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		on := w.add("c-000001", "pm_sim_challenge_1")
		closed, blocked, full := w.charge("c-000001", on, 10_00), w.charge("c-000001", on, 20_00), w.charge("c-000001", on, 500_00)
		w.must(w.SetCustomerStatus(w.ctx, "c-000001", payments.Blocked, "staff", "phone stolen"))
		w.must(w.sim.Authenticate(blocked.Reference, true))
		w.news()
		w.wantState(blocked.ID, payments.ChargeRefunded, payments.ReasonRefunded)
		w.must(w.SetCustomerStatus(w.ctx, "c-000001", payments.Open, "staff", "found again"))
		_, err := w.TopUp(w.ctx, "c-000001", 2400_00, "by-hand")
		w.must(err)
		w.must(w.sim.Authenticate(full.Reference, true))
		w.news()
		w.wantState(full.ID, payments.ChargeRefunded, payments.ReasonRefunded)
		w.wantBalances(map[string]ledger.Amount{walletMarie: 2400_00, "cards-to-settle": 2400_00, "suspense": 0})

		bare, err := w.EnrolCustomer(w.ctx, payments.NewCustomer{Name: "Leaving", Phone: "+33612345699"})
		w.must(err)
		leaving := w.charge(bare.Number, w.add(bare.Number, "pm_sim_challenge_2"), 30_00)
		w.must(w.SetCustomerStatus(w.ctx, bare.Number, payments.Closed, "staff", "on request"))
		w.must(w.sim.Authenticate(leaving.Reference, true))
		w.news()
		w.wantState(leaving.ID, payments.ChargeRefunded, payments.ReasonRefunded)
		w.must(w.sim.Authenticate(closed.Reference, false))
		w.news()
		w.wantBalances(map[string]ledger.Amount{walletMarie: 2400_00, "cards-to-settle": 2400_00, "suspense": 0})
	})
}

func TestRefund(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		on := w.add("c-000001", "pm_sim_ok_1")
		first, second := w.charge("c-000001", on, 10_00), w.charge("c-000001", on, 20_00)
		w.sim.Inject(cardsim.LoseAnswer)
		c, err := w.RefundCharge(w.ctx, first.ID, "staff", "charged by mistake")
		w.must(err)
		if c.State != payments.ChargeRefunding || c.HeldApart != 10_00 {
			t.Fatalf("the refund whose answer was lost is %+v", c)
		}
		w.wantBalances(map[string]ledger.Amount{walletMarie: 20_00, "cards-to-settle": 30_00, "suspense": 10_00})
		w.clock.add(time.Minute)
		w.sweep()
		w.wantState(first.ID, payments.ChargeRefunded, payments.ReasonRefunded)
		w.wantBalances(map[string]ledger.Amount{walletMarie: 20_00, "cards-to-settle": 20_00, "suspense": 0})
		_, err = w.RefundCharge(w.ctx, first.ID, "staff", "twice")
		w.must(err)

		// Somebody refunds at the processor what was spent already.
		w.pay(yoann, "15.00")
		_, err = w.RefundCharge(w.ctx, second.ID, "staff", "too late")
		w.wantCode(err, ledger.CodeInsufficientFunds)
		w.must(w.sim.RefundOutside(second.Reference))
		w.news()
		w.wantState(second.ID, payments.ChargeRefunded, payments.ReasonRefunded)
		w.wantBalances(map[string]ledger.Amount{walletMarie: 0, walletYoann: 15_00, "customer-receivable": 15_00, "cards-to-settle": 0, "suspense": 0})
	})
}

// TestRefundThatFails tries again, a day later and under another key.
func TestRefundThatFails(t *testing.T) {
	w := sqliteWorld(t)
	c := w.charge("c-000001", w.add("c-000001", "pm_sim_norefund_1"), 10_00)
	_, err := w.RefundCharge(w.ctx, c.ID, "staff", "asked for")
	w.must(err)
	if c = w.wantState(c.ID, payments.ChargeRefunding, payments.ReasonRefundFailed); c.Refunds != 1 {
		t.Fatalf("%d refunds have failed, not 1", c.Refunds)
	}
	w.news()
	if c = w.now(c.ID); c.Refunds != 1 {
		t.Fatalf("the same failure was counted %d times", c.Refunds)
	}
	w.clock.add(24 * time.Hour)
	w.sweep()
	if c = w.now(c.ID); c.Refunds != 2 || c.HeldApart != 10_00 {
		t.Fatalf("a day later the charge is %+v", c)
	}
	w.wantBalances(map[string]ledger.Amount{walletMarie: 0, "cards-to-settle": 10_00, "suspense": 10_00})
	w.verify()
}

// TestAnotherAmount does not let a processor's mistake into the books.
func TestAnotherAmount(t *testing.T) {
	w := sqliteWorld(t)
	c := w.charge("c-000001", w.add("c-000001", "pm_sim_other_1"), 10_00)
	w.wantState(c.ID, payments.ChargeRefunding, payments.ReasonMismatch)
	w.news()
	w.wantState(c.ID, payments.ChargeRefunded, payments.ReasonRefunded)
	w.wantBalances(map[string]ledger.Amount{walletMarie: 0, "cards-to-settle": 0, "suspense": 0})
	w.verify()
}

func TestChargebacks(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		c := w.charge("c-000001", w.add("c-000001", "pm_sim_ok_1"), 50_00)
		w.pay(yoann, "20.00")
		disputed := map[string]ledger.Amount{walletMarie: 0, "customer-receivable": 20_00, "cards-to-settle": 0, walletYoann: 20_00}
		_, err := w.sim.Dispute(c.Reference)
		w.must(err)
		news := w.sim.Take()
		for range 2 { // what is delivered twice happens once
			for _, d := range news {
				if status := w.deliver(d); status != 200 {
					t.Fatalf("%s was answered %d", d.Type, status)
				}
			}
			w.sweep()
			w.wantState(c.ID, payments.ChargeDisputed, payments.ReasonDisputed)
			w.wantBalances(disputed)
		}
		_, err = w.RefundCharge(w.ctx, c.ID, "staff", "asked for")
		w.wantCode(err, ledger.CodeConflict)
		w.must(w.sim.CloseDispute(c.Reference, true))
		w.news()
		w.wantState(c.ID, payments.ChargePosted, payments.ReasonDisputeWon)
		w.wantBalances(map[string]ledger.Amount{walletMarie: 30_00, "customer-receivable": 0, "cards-to-settle": 50_00})
		for _, d := range news { // the opening, late
			w.deliver(d)
		}
		w.sweep()
		w.wantBalances(map[string]ledger.Amount{walletMarie: 30_00, "customer-receivable": 0, "cards-to-settle": 50_00})

		_, err = w.sim.Dispute(c.Reference)
		w.must(err)
		w.news()
		w.must(w.sim.CloseDispute(c.Reference, false))
		w.news()
		w.wantState(c.ID, payments.ChargeDisputed, payments.ReasonDisputeLost)
		w.wantBalances(disputed)
	})
}

// TestDisputeWonWithoutRoom wins a dispute whose money the wallet may not hold.
func TestDisputeWonWithoutRoom(t *testing.T) {
	w := sqliteWorld(t)
	c := w.charge("c-000001", w.add("c-000001", "pm_sim_ok_1"), 500_00)
	_, err := w.sim.Dispute(c.Reference)
	w.must(err)
	w.news()
	_, err = w.TopUp(w.ctx, "c-000001", 2400_00, "by-hand")
	w.must(err)
	w.must(w.sim.CloseDispute(c.Reference, true))
	w.news()
	w.wantState(c.ID, payments.ChargePosted, payments.ReasonDisputeWon)
	w.wantBalances(map[string]ledger.Amount{walletMarie: 2400_00, "suspense": 500_00, "cards-to-settle": 2900_00})
	w.verify()
}

func TestRefusedCards(t *testing.T) {
	w := sqliteWorld(t)
	for token, why := range map[string]string{
		"4242424242424242":              "card number",
		"4242 4242 4242 4242":           "card number",
		"pm sim":                        "token",
		"":                              "token",
		"pm_sim_ok_us_1":                "issued in US",
		strings.Repeat("a", 10_000_000): "token",
	} {
		_, err := w.AddCard(w.ctx, "c-000001", token, "test")
		w.wantCode(err, ledger.CodeInvalid)
		if !strings.Contains(err.Error(), why) || (len(token) > 9 && strings.Contains(err.Error(), token)) {
			t.Errorf("%.20q: %.200v", token, err)
		}
	}
	_, err := w.AddCard(w.ctx, "c-000001", "pm_unknown", "test")
	w.wantCode(err, ledger.CodeNotFound)
	mine := w.add("c-000001", "pm_sim_ok_1")
	if again := w.add("c-000001", "pm_sim_ok_1"); again.ID != mine.ID || !mine.Default {
		t.Fatalf("the same card again is %+v, at first %+v", again, mine)
	}
	_, err = w.AddCard(w.ctx, "c-000002", "pm_sim_ok_1", "test")
	w.wantCode(err, ledger.CodeConflict)
	_, err = w.ChargeCard(w.ctx, payments.ChargeRequest{Key: "foreign", CustomerNumber: "c-000002", CardID: mine.ID, Amount: 10_00, Actor: "test"})
	w.wantCode(err, ledger.CodeNotFound)
	_, err = w.AllowAutomaticTopUp(w.ctx, mine.ID, 500_01, "test")
	w.wantCode(err, ledger.CodeInvalid)
	_, err = w.RemoveCard(w.ctx, mine.ID, "test", "lost")
	w.must(err)
	_, err = w.AddCard(w.ctx, "c-000001", "pm_sim_ok_1", "test")
	w.wantCode(err, ledger.CodeConflict)
	_, err = w.ChargeCard(w.ctx, payments.ChargeRequest{Key: "removed", CustomerNumber: "c-000001", CardID: mine.ID, Amount: 10_00, Actor: "test"})
	w.wantCode(err, ledger.CodeConflict)
	old := w.add("c-000001", "pm_sim_ok_2")
	w.clock.add(4 * 366 * 24 * time.Hour)
	_, err = w.ChargeCard(w.ctx, payments.ChargeRequest{Key: "expired", CustomerNumber: "c-000001", CardID: old.ID, Amount: 10_00, Actor: "test"})
	w.wantCode(err, ledger.CodeInvalid)
	if n := len(w.sim.Take()); n != 0 {
		t.Fatalf("the acquirer heard of %d things that were refused", n)
	}
}

// TestVelocity bounds how often and how much a customer's cards are asked for.
func TestVelocity(t *testing.T) {
	config := testConfig()
	config.Cards.DayCount, config.Cards.DayAmount = 3, 600_00
	w := sqliteWorldWith(t, config)
	ask := func(key string, amount ledger.Amount) error {
		_, err := w.ChargeCard(w.ctx, payments.ChargeRequest{Key: key, CustomerNumber: "c-000001", Amount: amount, Actor: "test"})
		return err
	}
	w.add("c-000001", "pm_sim_ok_1")
	w.wantCode(ask("tiny", 99), ledger.CodeInvalid)
	w.wantCode(ask("huge", 500_01), ledger.CodeInvalid)
	w.must(ask("a", 500_00))
	w.wantCode(ask("b", 100_01), ledger.CodeLimitExceeded)
	w.must(ask("b", 50_00))
	w.must(ask("c", 50_00))
	w.wantCode(ask("d", 1_00), ledger.CodeLimitExceeded)
	w.clock.add(24 * time.Hour)
	w.must(ask("d", 1_00))
	w.verify()
}
