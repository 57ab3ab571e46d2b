package main

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"tweetledger/adapters/card"
	"tweetledger/adapters/card/cardsim"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// startAcquirer starts the simulated card acquirer, and names it in the settings as a
// configuration would.
func (d *demo) startAcquirer() error {
	address := ""
	d.acquirer = cardsim.New(cardsim.Options{Clock: d.app.now, SecretKey: cardsimKey, Secret: cardsimSecret, URL: func() string { return address }})
	var err error
	if address, err = d.listen(d.acquirer); err != nil {
		return err
	}
	d.settings.Card.APIURL, d.settings.Card.SecretKeyFile, d.settings.Card.WebhookSecretFile = address, "acquirer.key", "acquirer.webhook"
	for file, secret := range map[string]string{d.settings.Card.SecretKeyFile: cardsimKey, d.settings.Card.WebhookSecretFile: cardsimSecret} {
		if err := os.WriteFile(d.file(file), []byte(secret+"\n"), 0o600); err != nil {
			return fmt.Errorf("write the secrets of the simulated acquirer: %w", err)
		}
	}
	return nil
}

// serveAcquirer takes what the acquirer delivers.
func (d *demo) serveAcquirer() error {
	hook, err := d.settings.cardWebhook(d.payments, make(chan struct{}, 1), card.WebhookOptions{Clock: d.app.now, Log: d.app.log(), Registerer: d.app.registry})
	if err != nil {
		return err
	}
	d.pages.Handle(d.settings.Card.WebhookPath, hook)
	return nil
}

// news delivers what happened at the acquirer, and lets the service look, as "serve" does.
func (d *demo) news(ctx context.Context) error {
	client := &http.Client{Timeout: patience}
	for _, delivery := range d.acquirer.Take() {
		if err := d.acquirer.Post(ctx, client, d.pagesURL+d.settings.Card.WebhookPath, delivery); err != nil {
			return fmt.Errorf("deliver %s: %w", delivery.Type, err)
		}
	}
	_, err := d.payments.SweepCharges(ctx, workBatch)
	return err
}

// demoCard is declined by the cents of an amount: .51 is "insufficient funds".
const demoCard = "pm_sim_amount_chloe"

func (d *demo) cards(ctx context.Context) error {
	d.heading("A card pays what is missing")
	chloe := d.people["chloe_test"]
	registered, err := d.payments.AddCard(ctx, chloe.customer.Number, demoCard, "demo")
	if err != nil {
		return err
	}
	if _, err := d.payments.AllowAutomaticTopUp(ctx, registered.ID, 50_00, "demo"); err != nil {
		return err
	}
	d.says("Chloé", "registers her card %s •••• %s with the acquirer; here it is a token. It may pay up to 50.00 EUR of a payment", registered.Brand, registered.LastFour)

	declined, err := d.tweet(ctx, "chloe_test", "@SmoneyFR #envoyer 40,51€ @yoann_test")
	if err != nil {
		return err
	}
	if err := d.expect(declined, payments.OutcomeOrder, payments.StateAwaitingConfirmation); err != nil {
		return err
	}
	d.ok("her wallet has 30.00 EUR: nothing is charged before she enters her code")
	said, err := d.confirm(ctx, chloe, chloe.code)
	if err != nil {
		return err
	}
	d.refused("her bank declines the missing 10.51 EUR: %s", said)
	if err := d.expectState(ctx, declined, payments.StateAwaitingConfirmation); err != nil {
		return err
	}
	if _, err := d.payments.Cancel(ctx, declined.handled.Order.ID, "anne", "asked for on the telephone"); err != nil {
		return err
	}
	d.says("Anne", "cancels it for her: nothing was taken")

	paid, err := d.tweet(ctx, "chloe_test", "@SmoneyFR #envoyer 40€ @yoann_test")
	if err != nil {
		return err
	}
	if said, err = d.confirm(ctx, chloe, chloe.code); err != nil {
		return err
	}
	if err := d.expectState(ctx, paid, payments.StatePosted); err != nil {
		return err
	}
	d.ok("charge, top-up of 10.00 EUR and payment are one transaction: %s", said)
	if err := d.answers(ctx, paid.message.ID); err != nil {
		return err
	}
	return d.chargeBack(ctx)
}

// chargeBack has Chloé dispute the charge that has paid.
func (d *demo) chargeBack(ctx context.Context) error {
	if err := d.news(ctx); err != nil {
		return err
	}
	reference := ""
	for _, p := range d.acquirer.Payments() {
		if p.Received > 0 {
			reference = p.Reference
		}
	}
	if _, err := d.acquirer.Dispute(reference); err != nil {
		return err
	}
	if err := d.news(ctx); err != nil {
		return err
	}
	var owed ledger.Balance
	err := d.app.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		owed, err = engine.FindBalance(ctx, tx, ledger.SystemAccountID(payments.AccountCustomerReceivable))
		return err
	})
	if err != nil {
		return err
	}
	if owed.Posted() != 10_00 {
		return fmt.Errorf("customers owe %s EUR, not 10.00", owed.Posted().Format(ledger.EUR))
	}
	d.says("Chloé", "tells her bank that it was not her: the acquirer takes 10.00 EUR back")
	d.refused("her wallet is empty, so she owes it (4161); the safeguarding report will show who must cover it")
	return nil
}
