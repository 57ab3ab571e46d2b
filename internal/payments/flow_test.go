package payments_test

import (
	"context"
	"slices"
	"testing"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

func TestPersonPaysPerson(t *testing.T) {
	onCore(t, func(t *testing.T, w *world) {
		m := w.message(marie, "pay 20.00 "+yoann+" yoann_test")
		handled := w.take(m)
		if handled.Outcome != payments.OutcomeOrder || handled.Order.State != payments.StateAwaitingConfirmation {
			t.Fatalf("became %+v", handled)
		}
		o := *handled.Order
		if o.Key != "twitter:"+m.FirstID || o.PayeeKind != payments.Person || o.PayeeUserID != yoann {
			t.Fatalf("order is bound to %+v", o)
		}
		w.wantBalance("wallet:c-000001", 1000_00, 980_00)
		w.wantBalance("wallet:c-000002", 0, 0)

		token := w.token()
		if got := w.sink.notices[0].Phone; got != "+33612345678" {
			t.Fatalf("the notice went to %s", got)
		}
		page, err := w.Confirmation(w.ctx, token)
		must(t, err)
		if page.Amount != 20_00 || page.PayeeHandle != "yoann_test" || page.OrderID != o.ID {
			t.Fatalf("the page shows %+v", page)
		}
		posted, err := w.Confirm(w.ctx, payments.ConfirmRequest{Token: token, Stamp: page.Stamp, Code: rightCode, Actor: "page"})
		must(t, err)
		if posted.State != payments.StatePosted || posted.EffectiveDate.String() != "2026-11-22" {
			t.Fatalf("confirmed order is %+v", posted)
		}
		w.wantBalance("wallet:c-000001", 980_00, 980_00)
		w.wantBalance("wallet:c-000002", 20_00, 20_00)
		if got, want := w.lastReply(), "C'est fait : 20,00\u00a0€ envoyés à @yoann_test. Réf.\u00a0"+o.Reference(); got != want {
			t.Fatalf("receipt is %q, want %q", got, want)
		}
		if len(w.sink.replies) != 2 || w.sink.replies[1].InReplyTo != m.ID {
			t.Fatalf("replies are %+v", w.sink.replies)
		}

		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			posting, err := engine.FindTransaction(ctx, tx, posted.TransactionID)
			must(t, err)
			if posting.Key != "twitter:"+m.FirstID || posting.Journal != ledger.JournalTransfers || posting.Label != "Transfer between customers" ||
				posting.Source.Channel != channel || posting.Source.ID != m.FirstID || posting.Source.Date.String() != "2026-11-22" {
				t.Fatalf("posted %+v", posting)
			}
			events, err := payments.OrderEvents(ctx, tx, o.ID)
			must(t, err)
			var states []payments.State
			for _, e := range events {
				states = append(states, e.To)
			}
			if !slices.Equal(states, []payments.State{payments.StateReceived, payments.StateAwaitingConfirmation, payments.StatePosted}) || events[2].Actor != "page" {
				t.Fatalf("events are %+v", events)
			}
			return nil
		})
	})
}

func TestDonation(t *testing.T) {
	onCore(t, func(t *testing.T, w *world) {
		w.Engine()
		first := w.ordered("pay 100.00 " + acf + " ACF_France")
		_, err := w.confirm(first.ID, rightCode)
		must(t, err)
		must(t, w.LinkCustomer(w.ctx, channel, yoann, "yoann_test", "c-000002"))
		must(t, w.SetSecretCode(w.ctx, "c-000002", wrongCode, "test"))
		_, err = w.TopUp(w.ctx, "c-000002", 50_00, "charge-2")
		must(t, err)
		second := w.say(yoann, "pay 7.50 "+acf+" ACF_France")
		_, err = w.confirm(second.Order.ID, wrongCode)
		must(t, err)
		third := w.say(yoann, "pay 2.50 "+acf+" ACF_France")
		_, err = w.confirm(third.Order.ID, wrongCode)
		must(t, err)
		w.wantBalance("payable:acf", 110_00, 110_00)
		if first.PayeeKind != payments.Charity {
			t.Fatalf("payee kind is %s", first.PayeeKind)
		}

		charity, err := w.Payee(w.ctx, "acf")
		must(t, err)
		business, err := w.Payee(w.ctx, "bakery")
		must(t, err)
		donor, err := w.Customer(w.ctx, "c-000002")
		must(t, err)
		var all, page []payments.Donation
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			all = nil
			after := payments.DonationFilter{PayeeID: charity.ID, From: w.Engine().Today(), To: w.Engine().Today(), Limit: 2}
			for {
				var err error
				page, err = w.ListDonations(ctx, tx, after)
				must(t, err)
				if len(page) == 0 {
					return nil
				}
				all = append(all, page...)
				last := page[len(page)-1]
				after.AfterDate, after.AfterID = last.EffectiveDate, last.OrderID
			}
		})
		if len(all) != 3 {
			t.Fatalf("donations are %+v", all)
		}
		var total ledger.Amount
		for _, d := range all {
			total += d.Amount
			switch d.PayerID {
			case donor.ID:
				if d.Named || d.Donor != w.Pseudonym(donor, charity.ID) {
					t.Fatalf("donor without consent appears as %q", d.Donor)
				}
			default:
				if !d.Named || d.Donor != "Marie Test" {
					t.Fatalf("donor with consent appears as %q", d.Donor)
				}
			}
		}
		if total != 110_00 {
			t.Fatalf("donations come to %d", total)
		}
		if w.Pseudonym(donor, charity.ID) == w.Pseudonym(donor, business.ID) {
			t.Fatal("two payees know a donor by the same pseudonym")
		}
	})
}

func TestCapsAtTheirBoundary(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		_, err := w.TopUp(w.ctx, "c-000001", 1500_00, "charge-more")
		must(t, err)
		for _, c := range []struct {
			text   string
			reason string
		}{
			{"pay 250.00 " + yoann + " yoann_test", payments.ReasonHeld},
			{"pay 250.01 " + yoann + " yoann_test", payments.ReasonOverCap},
			{"pay 500.00 " + acf + " ACF_France", payments.ReasonHeld},
			{"pay 500.01 " + acf + " ACF_France", payments.ReasonOverCap},
			{"pay 500.00 " + bakery + " bakery", payments.ReasonHeld},
			{"pay 500.01 " + bakery + " bakery", payments.ReasonOverCap},
			{"pay 250.00 " + stranger + " stranger", payments.ReasonHeld},
			{"pay 250.01 " + stranger + " stranger", payments.ReasonOverCap},
		} {
			handled := w.say(marie, c.text)
			if handled.Reason != c.reason {
				t.Errorf("%s: %s, want %s", c.text, handled.Reason, c.reason)
			}
			if over := c.reason == payments.ReasonOverCap; over != (handled.Outcome == payments.OutcomeRejected) {
				t.Errorf("%s: outcome is %s", c.text, handled.Outcome)
			}
		}
		w.wantBalance("wallet:c-000001", 2500_00, 1000_00)
	})
}

func TestRefusals(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		staff := func(err error) { t.Helper(); must(t, err) }
		tooMuch := w.say(marie, "pay 250.00 "+yoann+" yoann_test") // leaves 750
		must(t, func() error { _, err := w.Cancel(w.ctx, tooMuch.Order.ID, "staff:anne", "test"); return err }())
		_, err := w.TopUp(w.ctx, "c-000002", 2400_00, "charge-full")
		must(t, err)
		before, _ := w.balance("wallet:c-000001")

		rejected := func(text, reason, reply string) {
			t.Helper()
			handled := w.say(marie, text)
			if handled.Outcome != payments.OutcomeRejected || handled.Reason != reason {
				t.Fatalf("%q became %s (%s), want %s", text, handled.Outcome, handled.Reason, reason)
			}
			w.wantState(handled.Order.ID, payments.StateRejected, reason)
			want := reply + " Réf.\u00a0" + handled.Order.Reference()
			if got := w.lastReply(); got != want {
				t.Fatalf("%s is answered with %q, want %q", reason, got, want)
			}
			_, err := w.confirm(handled.Order.ID, rightCode)
			w.wantCode(err, ledger.CodeConflict)
		}
		const neutral = "Ce paiement ne peut pas être effectué."
		rejected("pay 100.01 "+yoann+" yoann_test", payments.ReasonPayeeCeiling, neutral)

		staff(w.SetCustomerStatus(w.ctx, "c-000002", payments.Blocked, "staff:anne", "lost phone"))
		rejected("pay 1.00 "+yoann+" yoann_test", payments.ReasonPayeeBlocked, neutral)
		staff(w.SetPayeeStatus(w.ctx, "acf", payments.Blocked, "staff:anne", "papers missing"))
		rejected("pay 1.00 "+acf+" ACF_France", payments.ReasonPayeeBlocked, neutral)
		staff(w.SetPayeeStatus(w.ctx, "acf", payments.Closed, "staff:anne", "dissolved"))
		rejected("pay 1.00 "+acf+" ACF_France", payments.ReasonPayeeClosed, neutral)
		rejected("pay 251.00 "+stranger+" stranger", payments.ReasonOverCap, "Un paiement à @stranger ne peut pas dépasser 250,00\u00a0€.")

		// marie's other account: the same customer under another user id
		must(t, w.LinkCustomer(w.ctx, channel, "700000111", "marie_bis", "c-000001"))
		rejected("pay 1.00 700000111 marie_bis", payments.ReasonSelfPayment, "Vous ne pouvez pas vous payer vous-même.")

		for range 4 { // 1,000 EUR are two payments of 500 short of nothing
			w.say(marie, "pay 500.00 "+bakery+" bakery")
		}
		rejected("pay 0.01 "+bakery+" bakery", payments.ReasonInsufficientFunds, neutral)

		staff(w.SetCustomerStatus(w.ctx, "c-000001", payments.Blocked, "staff:anne", "suspicion"))
		rejected("pay 1.00 "+bakery+" bakery", payments.ReasonPayerBlocked, neutral)

		if after, _ := w.balance("wallet:c-000001"); after != before {
			t.Fatalf("refusals moved money: %d to %d", before, after)
		}

		invited := w.say(stranger, "pay 1.00 "+marie+" marie_test")
		if invited.Outcome != payments.OutcomeRefused || invited.Reason != payments.ReasonNotCustomer || invited.Order != nil {
			t.Fatalf("a stranger's command became %+v", invited)
		}
		if got := w.lastReply(); got != "Pour payer par tweet, ouvrez un compte S-money et reliez-y votre compte Twitter." {
			t.Fatalf("a stranger is answered %q", got)
		}
		payeeSpeaks := w.say(acf, "pay 1.00 "+marie+" marie_test")
		if payeeSpeaks.Reason != payments.ReasonNotCustomer {
			t.Fatalf("a charity's command became %+v", payeeSpeaks)
		}
		nearly := w.say(marie, "refuse ambiguous_amount")
		if nearly.Outcome != payments.OutcomeRefused || nearly.Reason != "ambiguous_amount" {
			t.Fatalf("a command that is nearly right became %+v", nearly)
		}
	})
}

func TestParserIsNotTrusted(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		for text, reason := range map[string]string{
			"pay -5.00 " + yoann + " yoann_test": "not_positive",
			"pay 0.00 " + yoann + " yoann_test":  "not_positive",
			"pay 5.00 " + marie + " marie_test":  "payer_is_payee",
			"pay 5.00 " + yoann + " yo.ann":      "payee_unresolved",
		} {
			if got := w.say(marie, text); got.Outcome != payments.OutcomeRefused || got.Reason != reason {
				t.Errorf("%q became %s (%s), want %s", text, got.Outcome, got.Reason, reason)
			}
		}
	})
}
