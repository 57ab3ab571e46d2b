package main

import (
	"context"
	"fmt"
	"io"

	"tweetledger/adapters/twitter"
	"tweetledger/internal/payments"
	"tweetledger/ledger"
	"tweetledger/reports"
	"tweetledger/reports/render"
)

// run tells the story from beginning to end.
func (d *demo) run(ctx context.Context, serve bool) error {
	d.tell("%s  A bank's customers pay by tweet. This is one day of it, played through the real", d.title.Sprint("tweetledger"))
	d.tell("code on %s, with a simulated X, bank, card acquirer and SMS gateway.", d.app.db)
	d.aside("Everything is written to %s", d.folder)
	for _, chapter := range []func(context.Context) error{
		d.openTheBook, d.pay, d.almost, d.refuse, d.repeatAndEdit, d.donate, d.cards, d.invite, d.lose,
		d.payOut, d.reconcile, d.report, d.verify,
	} {
		if err := chapter(ctx); err != nil {
			return fmt.Errorf("chapter %d of the demo: %w", d.chapter, err)
		}
	}
	d.heading("What is left of it")
	for _, file := range d.files {
		d.tell("%s", file)
	}
	d.tell("the book: %s", d.app.db)
	program := programName(d.app.executable)
	d.aside("Go on with it:")
	d.tell("%s report trial-balance --db %s", program, d.app.db)
	d.tell("%s verify --db %s --heads %s --public-key %s", program, d.app.db, d.file("heads.json"), d.file("heads.pub"))
	if !serve {
		return nil
	}
	d.tell("The pages keep running at %s (health: %s/healthz, metrics: %s/metrics). Stop with Ctrl-C.", d.pagesURL, d.pagesURL, d.pagesURL)
	<-ctx.Done()
	return nil
}

func (d *demo) openTheBook(ctx context.Context) error {
	d.heading("The bank opens its book")
	d.x.AddUser(d.settings.Twitter.BankUserID, d.settings.Twitter.BankHandle, d.settings.Service.BankName)
	d.x.AddUser(charityID, charityHandle, "Action contre la Faim")
	for _, p := range cast() {
		d.x.AddUser(p.id, p.handle, p.name)
		d.people[p.handle] = p
	}
	for _, open := range []struct {
		handle string
		amount ledger.Amount
		named  bool
	}{{"marie_test", 200_00, false}, {"yoann_test", 80_00, true}, {"chloe_test", 20_00, false}} {
		p := d.people[open.handle]
		if err := d.enrol(ctx, p, open.amount, open.named); err != nil {
			return err
		}
		d.says(first(p.name), "becomes customer %s, links @%s, chooses a secret code and tops up %s EUR by card",
			p.customer.Number, p.handle, open.amount.Format(ledger.EUR))
	}
	_, err := d.payments.EnrolPayee(ctx, payments.NewPayee{Code: charityCode, Kind: payments.Charity, Name: "Action contre la Faim",
		IBAN: "FR14 2004 1010 0505 0001 3M02 606", CommissionPoints: 150, Rhythm: payments.Weekly}, "anne", "bruno")
	if err != nil {
		return err
	}
	if err := d.payments.LinkPayee(ctx, twitter.Channel, charityID, charityHandle, charityCode); err != nil {
		return err
	}
	d.says("@"+charityHandle, "is enrolled as a charity: proposed by one person, approved by another; paid weekly, 1.5 %% commission")
	// The acquirer has paid out the day's top-ups, which a clerk books by voucher.
	_, err = d.payments.Engine().Post(ctx, ledger.PostRequest{
		Key: "voucher:settlement-1", Journal: ledger.JournalMisc, Label: "Card settlement of the day",
		Source: ledger.Source{Channel: "staff", ID: "settlement-1", Date: d.payments.Engine().Today()},
		Postings: []ledger.Posting{{Debit: ledger.SystemAccountID(payments.AccountSafeguarding),
			Credit: ledger.SystemAccountID(payments.AccountCardsToSettle), Amount: settled, Currency: ledger.EUR}},
	})
	if err != nil {
		return err
	}
	d.tell("The card acquirer settles %s EUR to the safeguarding account.", settled.Format(ledger.EUR))
	return d.connect(ctx)
}

// settled is what all top-ups of the story come to.
const settled ledger.Amount = 300_00

func (d *demo) pay(ctx context.Context) error {
	d.heading("A payment between friends")
	got, err := d.tweet(ctx, "marie_test", "@SmoneyFR #envoyer 12,99€ @yoann_test merci pour hier !")
	if err != nil {
		return err
	}
	if err := d.expect(got, payments.OutcomeOrder, payments.StateAwaitingConfirmation); err != nil {
		return err
	}
	d.ok("order %s: 12.99 EUR are held in Marie's wallet, and she gets an SMS", got.handled.Order.Reference())
	if err := d.answers(ctx, got.message.ID); err != nil {
		return err
	}
	marie := d.people["marie_test"]
	said, err := d.confirm(ctx, marie, "000000")
	if err != nil {
		return err
	}
	d.says("Marie", "opens the bank's page and mistypes her code")
	d.refused("%s", said)
	if said, err = d.confirm(ctx, marie, marie.code); err != nil {
		return err
	}
	d.says("Marie", "enters the right one")
	d.ok("%s", said)
	if err := d.expectState(ctx, got, payments.StatePosted); err != nil {
		return err
	}
	return d.answers(ctx, got.message.ID)
}

func (d *demo) almost(ctx context.Context) error {
	d.heading("Nearly right")
	got, err := d.tweet(ctx, "yoann_test", "Ça marche ? @smoneyfr #Envoyer 20 euros @marie_test pour le resto")
	if err != nil {
		return err
	}
	if err := d.expect(got, payments.OutcomeOrder, payments.StateAwaitingConfirmation); err != nil {
		return err
	}
	d.ok("understood: 20.00 EUR to @%s", got.handled.Order.PayeeHandle)
	yoann := d.people["yoann_test"]
	if _, err := d.confirm(ctx, yoann, yoann.code); err != nil {
		return err
	}
	if err := d.expectState(ctx, got, payments.StatePosted); err != nil {
		return err
	}
	if err := d.answers(ctx, got.message.ID); err != nil {
		return err
	}
	if got, err = d.tweet(ctx, "chloe_test", "@SmoneyFR #envoyer 1.000€ @marie_test"); err != nil {
		return err
	}
	if err := d.expect(got, payments.OutcomeRefused, ""); err != nil {
		return err
	}
	d.refused("one euro, or a thousand? Nothing is guessed (%s)", got.handled.Reason)
	if err := d.answers(ctx, got.message.ID); err != nil {
		return err
	}
	if got, err = d.tweet(ctx, "chloe_test", "Quelqu'un a déjà essayé @SmoneyFR ?"); err != nil {
		return err
	}
	d.ok("no command, so no answer")
	return d.expect(got, payments.OutcomeIgnored, "")
}

func (d *demo) refuse(ctx context.Context) error {
	d.heading("Refused by the rules")
	for _, refused := range []struct{ handle, text, why string }{
		{"marie_test", "@SmoneyFR #envoyer 251,00 € @yoann_test", "over the cap of 250 EUR between people"},
		{"chloe_test", "@SmoneyFR #envoyer 40€ @yoann_test", "the wallet holds 20.00 EUR; the public reply does not say so"},
		{"hugo_test", "@SmoneyFR #envoyer 5€ @marie_test", "Hugo is no customer"},
	} {
		got, err := d.tweet(ctx, refused.handle, refused.text)
		if err != nil {
			return err
		}
		if got.handled.Order != nil && got.handled.Order.State != payments.StateRejected {
			return fmt.Errorf("the order is %s", got.handled.Order.State)
		}
		d.refused("%s", refused.why)
		if err := d.answers(ctx, got.message.ID); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) repeatAndEdit(ctx context.Context) error {
	d.heading("Delivered twice, edited, deleted")
	got, err := d.tweet(ctx, "marie_test", "@SmoneyFR #envoyer 15€ @chloe_test")
	if err != nil {
		return err
	}
	d.x.Redeliver(got.message.ID)
	again, err := d.awaitTweet(ctx, got.message.ID)
	if err != nil {
		return err
	}
	if !again.handled.Again || again.handled.Order.ID != got.handled.Order.ID {
		return fmt.Errorf("a tweet that was delivered twice was handled twice")
	}
	d.ok("X delivers it twice; there is one order")
	edited := d.x.Edit(got.message.ID, "@SmoneyFR #envoyer 10€ @chloe_test")
	d.says("Marie", "edits it before she confirms: 10€")
	after, err := d.awaitTweet(ctx, edited)
	if err != nil {
		return err
	}
	if err := d.expectState(ctx, got, payments.StateVoided); err != nil {
		return err
	}
	if err := d.expect(after, payments.OutcomeOrder, payments.StateAwaitingConfirmation); err != nil {
		return err
	}
	d.ok("the first order is void, its money free; a new one asks for 10.00 EUR under the same key %s", after.handled.Order.Key)
	marie := d.people["marie_test"]
	if _, err := d.confirm(ctx, marie, marie.code); err != nil {
		return err
	}
	if err := d.expectState(ctx, after, payments.StatePosted); err != nil {
		return err
	}
	if err := d.answers(ctx, edited); err != nil {
		return err
	}
	late := d.x.Edit(edited, "@SmoneyFR #envoyer 1€ @chloe_test")
	if _, err := d.awaitTweet(ctx, late); err != nil {
		return err
	}
	d.says("Marie", "edits it again, after the payment: 1€")
	d.refused("nothing changes in the book; reconciliation will name it (planted break 1)")

	if got, err = d.tweet(ctx, "yoann_test", "@SmoneyFR #envoyer 7€ @marie_test"); err != nil {
		return err
	}
	yoann := d.people["yoann_test"]
	if _, err := d.confirm(ctx, yoann, yoann.code); err != nil {
		return err
	}
	if err := d.expectState(ctx, got, payments.StatePosted); err != nil {
		return err
	}
	if err := d.answers(ctx, got.message.ID); err != nil {
		return err
	}
	return d.deleteTweet(ctx, got)
}

func (d *demo) donate(ctx context.Context) error {
	d.heading("Donations")
	for _, gift := range []struct{ handle, text string }{
		{"marie_test", "@SmoneyFR #don 100EUR @ACF_France faites comme moi & donnez !"},
		{"yoann_test", "@SmoneyFR #don 25 € @ACF_France"},
	} {
		got, err := d.tweet(ctx, gift.handle, gift.text)
		if err != nil {
			return err
		}
		p := d.people[gift.handle]
		said, err := d.confirm(ctx, p, p.code)
		if err != nil {
			return err
		}
		d.ok("%s", said)
		if err := d.expectState(ctx, got, payments.StatePosted); err != nil {
			return err
		}
		if err := d.answers(ctx, got.message.ID); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) invite(ctx context.Context) error {
	d.heading("A payee whom nobody knows yet")
	got, err := d.tweet(ctx, "marie_test", "@SmoneyFR #envoyer 5€ @hugo_test")
	if err != nil {
		return err
	}
	p := d.people["marie_test"]
	if _, err := d.confirm(ctx, p, p.code); err != nil {
		return err
	}
	if err := d.expectState(ctx, got, payments.StatePosted); err != nil {
		return err
	}
	d.ok("5.00 EUR wait in the account of unclaimed payments: five days, then they come back to Marie")
	return d.answers(ctx, got.message.ID)
}

func (d *demo) lose(ctx context.Context) error {
	d.heading("A tweet gets lost")
	d.x.Lose(1)
	d.says("Chloé", "@SmoneyFR #envoyer 3€ @yoann_test")
	d.x.Tweet(d.people["chloe_test"].id, "@SmoneyFR #envoyer 3€ @yoann_test")
	d.refused("X never sends it down the stream; reconciliation will find it (planted break 2)")
	return ctx.Err()
}

// expect checks what became of a tweet.
func (d *demo) expect(got arrival, outcome payments.Outcome, state payments.State) error {
	if got.handled.Outcome != outcome {
		return fmt.Errorf("tweet %s: %s (%s), not %s", got.message.ID, got.handled.Outcome, got.handled.Reason, outcome)
	}
	if state != "" && got.handled.Order.State != state {
		return fmt.Errorf("tweet %s: the order is %s (%s), not %s", got.message.ID, got.handled.Order.State, got.handled.Order.Reason, state)
	}
	return nil
}

// expectState checks where an order is now.
func (d *demo) expectState(ctx context.Context, got arrival, state payments.State) error {
	order, err := d.payments.Order(ctx, got.handled.Order.ID)
	if err != nil {
		return err
	}
	if order.State != state {
		return fmt.Errorf("order %s is %s (%s), not %s", order.Reference(), order.State, order.Reason, state)
	}
	return nil
}

func (d *demo) write(name string, content []byte) error {
	d.files = append(d.files, d.file(name))
	return writeFile(d.file(name), func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

func (d *demo) writeTable(name, format string, t reports.Table) error {
	d.files = append(d.files, d.file(name))
	return writeFile(d.file(name), func(w io.Writer) error { return render.Render(w, format, t) })
}
