package main

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/reports"
)

func (a *app) cardCommand() *cobra.Command {
	command := &cobra.Command{Use: "card", Short: "Register customers' cards, charge them, and refund charges"}
	command.AddCommand(a.cardListCommand(), a.cardAddCommand(), a.cardRemoveCommand(), a.cardAllowCommand(), a.cardChargeCommand(),
		a.cardChargesCommand(), a.cardShowCommand(), a.cardRefundCommand())
	return command
}

func (a *app) cardListCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "list NUMBER", Short: "List a customer's cards",
		Example: `  tweetledger card list c-000017`,
		Long: `list shows the cards of a customer, also those that were removed. Of a card's number
nobody here knows more than its last four digits.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			table := reports.Table{Name: "cards", Title: "Cards of " + args[0], GeneratedAt: book.Now(), Columns: []reports.Column{
				{Name: "card", Title: "Card", Kind: reports.Text}, {Name: "brand", Title: "Brand", Kind: reports.Text},
				{Name: "last_four", Title: "Last four", Kind: reports.Text}, {Name: "expires", Title: "Expires", Kind: reports.Text},
				{Name: "country", Title: "Country", Kind: reports.Text}, {Name: "state", Title: "State", Kind: reports.Text},
				{Name: "default", Title: "Default", Kind: reports.Text}, {Name: "automatic", Title: "Automatic up to", Kind: reports.Money},
			}}
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				table.Rows = nil
				customer, err := payments.FindCustomer(ctx, tx, args[0])
				if err != nil {
					return err
				}
				cards, err := payments.CardsOf(ctx, tx, customer.ID)
				for _, k := range cards {
					standard := ""
					if k.Default {
						standard = "default"
					}
					table.Rows = append(table.Rows, reports.Row{Cells: []any{k.ID.String(), k.Brand, k.LastFour, fmt.Sprintf("%02d/%d", k.ExpiryMonth, k.ExpiryYear),
						k.Country, string(k.State), standard, reports.Cash{Amount: k.AutomaticMaximum, Currency: ledger.EUR}}})
				}
				return err
			})
			if err != nil {
				return err
			}
			return a.show(table, format, "")
		},
	}
	formatFlag(c, &format)
	return c
}

func (a *app) cardAddCommand() *cobra.Command {
	var token, actor string
	c := &cobra.Command{
		Use: "add NUMBER --token TOKEN", Short: "Register a card that the card processor knows",
		Example: `  tweetledger card add c-000017 --token pm_1NvPVzLkdIwHu7ix`,
		Long: `add registers a card under the token that the card processor has made of it: the
customer enters the number on the processor's own page, and never anywhere else. What
looks like a number is refused. NUMBER is the customer's, or the id of an enrolment
whose customer is to come. Cards are taken of the countries in card.countries.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			add := service.AddCard
			if enrolment, err := uuid.Parse(args[0]); err == nil {
				add = func(ctx context.Context, _, token, actor string) (payments.Card, error) {
					return service.AddEnrolmentCard(ctx, enrolment, token, actor)
				}
			}
			card, err := add(c.Context(), args[0], token, a.actor(actor))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "card %s of %s: %s %s, %02d/%d\n", card.ID, args[0], card.Brand, card.LastFour, card.ExpiryMonth, card.ExpiryYear)
			return err
		},
	}
	c.Flags().StringVar(&token, "token", "", "the card processor's token of the card; never a card number")
	required(c, "token")
	actorFlag(c, &actor)
	return c
}

// cardID reads the id of a card or charge.
func cardID(text, what string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil, ledger.Errorf(ledger.CodeInvalid, "%q is not the id of a %s; \"tweetledger card\" lists them", ledger.Clip(text), what).InField(what)
	}
	return id, nil
}

func (a *app) cardRemoveCommand() *cobra.Command {
	var actor, reason string
	c := &cobra.Command{
		Use: "remove CARD", Short: "Remove a card: it is charged no more",
		Example: `  tweetledger card remove 44b5bcb2-86ba-54af-a9c4-e063f52585f9 --reason "card lost"`,
		Long: `remove ends a card for ever, and the card processor is told to forget it. Charges that
are on their way go on; refunds still reach it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := cardID(args[0], "card")
			if err != nil {
				return err
			}
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			card, err := service.RemoveCard(c.Context(), id, a.actor(actor), reason)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "card %s is %s\n", card.ID, card.State)
			return err
		},
	}
	actorFlag(c, &actor)
	reasonFlag(c, &reason)
	return c
}

func (a *app) cardAllowCommand() *cobra.Command {
	var actor string
	c := &cobra.Command{
		Use: "allow CARD AMOUNT", Short: "Keep a customer's consent to automatic top-ups of payments from a card",
		Example: `  tweetledger card allow 44b5bcb2-86ba-54af-a9c4-e063f52585f9 50.00`,
		Long: `allow makes a card the customer's default, and keeps the consent that what is missing
of a payment is charged to it when the customer confirms the payment with the secret
code: at most AMOUNT each time, 0 for never again.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := cardID(args[0], "card")
			if err != nil {
				return err
			}
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			amount, err := ledger.ParseAmount(args[1], service.Config().Currency)
			if err != nil {
				return err
			}
			if amount > 0 {
				if _, err := service.SetDefaultCard(c.Context(), id, a.actor(actor)); err != nil {
					return err
				}
			}
			card, err := service.AllowAutomaticTopUp(c.Context(), id, amount, a.actor(actor))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "card %s may be charged up to %s %s for a payment\n", card.ID,
				card.AutomaticMaximum.Format(service.Config().Currency), service.Config().Currency)
			return err
		},
	}
	actorFlag(c, &actor)
	return c
}

func (a *app) cardChargeCommand() *cobra.Command {
	var key, on, actor string
	var present bool
	c := &cobra.Command{
		Use: "charge NUMBER AMOUNT --key KEY", Short: "Top a wallet up from a card",
		Example: `  tweetledger card charge c-000017 50.00 --key call-2026-11-23-4`,
		Long: `charge takes money from a customer's card and puts it into the wallet. The same key
charges once, and says afterwards how the charge stands. Where the processor has not
answered, or the cardholder must authenticate first, "serve" finishes it.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			amount, err := ledger.ParseAmount(args[1], service.Config().Currency)
			if err != nil {
				return err
			}
			request := payments.ChargeRequest{Key: key, CustomerNumber: args[0], Amount: amount, Present: present, Actor: a.actor(actor)}
			if on != "" {
				if request.CardID, err = cardID(on, "card"); err != nil {
					return err
				}
			}
			charge, err := service.ChargeCard(c.Context(), request)
			if err != nil {
				return err
			}
			return a.sayCharge(charge)
		},
	}
	c.Flags().StringVar(&key, "key", "", "idempotency key: 1 to 64 of letters, digits and _ . : -")
	required(c, "key")
	c.Flags().StringVar(&on, "card", "", "id of the card (default the customer's default card)")
	c.Flags().BoolVar(&present, "present", false, "the cardholder is there, and can authenticate")
	actorFlag(c, &actor)
	return c
}

// sayCharge prints how a charge stands.
func (a *app) sayCharge(c payments.Charge) error {
	if _, err := fmt.Fprintf(a.out, "charge %s of %s %s is %s (%s)\n", c.ID, c.Amount.Format(c.Currency), c.Currency, c.State, c.Reason); err != nil {
		return err
	}
	if c.ChallengeURL == "" {
		return nil
	}
	_, err := fmt.Fprintf(a.out, "the cardholder authenticates at %s\n", c.ChallengeURL)
	return err
}

func (a *app) cardChargesCommand() *cobra.Command {
	var format, state string
	var limit int
	c := &cobra.Command{
		Use: "charges", Short: "List charges of cards in the order in which they were made",
		Example: `  tweetledger card charges --state refunding`,
		Long: `charges shows what cards were asked for. The state says where a charge is:

  requested    written down; the processor may know of it or not
  challenged   the cardholder must authenticate (3-D Secure)
  succeeded    the card was charged, and nothing is posted yet
  posted       the money is in the wallet
  declined, failed   nothing was charged; the reason says why
  refunding    the money stands in suspense until it is back on the card
  refunded     it is
  disputed     a chargeback has taken it`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			table := reports.Table{Name: "charges", Title: "Charges of cards", GeneratedAt: book.Now(), Columns: []reports.Column{
				{Name: "charge", Title: "Charge", Kind: reports.Text}, {Name: "created_at", Title: "Made at", Kind: reports.Instant},
				{Name: "amount", Title: "Amount", Kind: reports.Money}, {Name: "state", Title: "State", Kind: reports.Text},
				{Name: "reason", Title: "Reason", Kind: reports.Text}, {Name: "reference", Title: "Reference", Kind: reports.Text},
			}}
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				table.Rows = nil
				list, err := payments.ListCharges(ctx, tx, payments.ChargeFilter{State: payments.ChargeState(state), Limit: limit})
				for _, k := range list {
					table.Rows = append(table.Rows, reports.Row{Cells: []any{k.ID.String(), k.CreatedAt, reports.Cash{Amount: k.Amount, Currency: k.Currency},
						string(k.State), k.Reason, k.Reference}})
				}
				return err
			})
			if err != nil {
				return err
			}
			return a.show(table, format, "")
		},
	}
	c.Flags().StringVar(&state, "state", "", "only charges in this state, such as refunding")
	c.Flags().IntVar(&limit, "limit", 1000, "how many at most")
	formatFlag(c, &format)
	return c
}

func (a *app) cardShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show CHARGE", Short: "Show a charge with all that happened to it",
		Example: `  tweetledger card show 44b5bcb2-86ba-54af-a9c4-e063f52585f9`,
		Long:    `show prints a charge, its disputes, and each change of its state: when, by whom and why.`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := cardID(args[0], "charge")
			if err != nil {
				return err
			}
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			table := reports.Table{GeneratedAt: book.Now(), Name: "charge", Columns: []reports.Column{
				{Name: "at", Title: "At", Kind: reports.Instant}, {Name: "from", Title: "From", Kind: reports.Text}, {Name: "to", Title: "To", Kind: reports.Text},
				{Name: "actor", Title: "By", Kind: reports.Text}, {Name: "reason", Title: "Reason", Kind: reports.Text},
			}}
			err = book.DB().Read(c.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				table.Rows, table.Notes = nil, nil
				k, err := payments.FindCharge(ctx, tx, id)
				if err != nil {
					return err
				}
				table.Title = "Charge " + k.ID.String()
				table.Facts = []reports.Fact{
					{Name: "key", Title: "Key", Value: k.Key}, {Name: "reference", Title: "Reference", Value: k.Reference},
					{Name: "amount", Title: "Amount", Value: reports.Cash{Amount: k.Amount, Currency: k.Currency}},
					{Name: "state", Title: "State", Value: string(k.State)},
					{Name: "suspense", Title: "In suspense", Value: reports.Cash{Amount: k.HeldApart, Currency: k.Currency}},
				}
				disputes, err := payments.DisputesOf(ctx, tx, id)
				if err != nil {
					return err
				}
				for _, d := range disputes {
					table.Notes = append(table.Notes, fmt.Sprintf("Dispute %s of %s %s: %s", d.Reference, d.Amount.Format(k.Currency), k.Currency, d.State))
				}
				events, err := payments.ChargeEvents(ctx, tx, id)
				for _, e := range events {
					table.Rows = append(table.Rows, reports.Row{Cells: []any{e.At, string(e.From), string(e.To), e.Actor, e.Reason}})
				}
				return err
			})
			if err != nil {
				return err
			}
			return a.show(table, "text", "")
		},
	}
}
