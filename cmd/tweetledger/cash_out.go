package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

func (a *app) customerBankCommand() *cobra.Command {
	var iban, bic, actor, reason string
	c := &cobra.Command{
		Use: "bank NUMBER --iban IBAN", Short: "Propose the customer's own bank account, to which e-money is redeemed",
		Long: `bank proposes where the customer's money goes with "customer cash-out". The holder is the
customer: compare the name with what the customer's bank says. The IBAN is checked, must
be one of the SEPA area, and counts once another person has approved it with "payee
approve". Customers enter it themselves on their own page ("customer account-page"). It
does not change while a cash-out is on its way.`,
		Example: `  tweetledger customer bank c-000017 --iban "FR76 3000 6000 0112 3456 7890 189" --reason "seen on a statement"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			p, err := service.ProposeOwnBank(c.Context(), args[0], iban, bic, a.actor(actor), reason)
			if err != nil {
				return err
			}
			return a.sayProposed(p)
		},
	}
	c.Flags().StringVar(&iban, "iban", "", "IBAN of the customer's own account")
	c.Flags().StringVar(&bic, "bic", "", "bank, BIC (optional)")
	required(c, "iban")
	reasonFlag(c, &reason)
	actorFlag(c, &actor)
	return c
}

func (a *app) customerCashOutCommand() *cobra.Command {
	var key, actor string
	c := &cobra.Command{
		Use: "cash-out NUMBER AMOUNT --key KEY", Short: "Redeem e-money at par to the customer's own bank account",
		Long: `cash-out takes money out of the customer's wallet for a customer who says the secret code;
it is asked for on the terminal, or read as one line from standard input. A wrong code
counts as a try. The money goes to the customer's own bank account ("customer bank") with
the next batch of payouts, without commission: "payout prepare", approved by another
person. The same key again changes nothing. What the bank sends back goes into the
wallet; a bank account that it could not credit gets nothing until that is settled.`,
		Example: `  tweetledger customer cash-out c-000017 50.00 --key counter-118 <code.txt`,
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			service, _, err := a.openPayments(c.Context())
			if err != nil {
				return err
			}
			amount, err := ledger.ParseAmount(args[1], service.Config().Currency)
			if err != nil {
				return err
			}
			code, err := a.readCode()
			if err != nil {
				return err
			}
			made, err := service.CashOut(c.Context(), payments.CashOutRequest{CustomerNumber: args[0], Key: key, Amount: amount, Code: code, Actor: a.actor(actor)})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "redeemed %s %s of customer %s to %s (transaction %s)\n", made.Amount.Format(made.Currency), made.Currency,
				made.CustomerNumber, payments.MaskIBAN(made.IBAN), made.TransactionID)
			return err
		},
	}
	c.Flags().StringVar(&key, "key", "", "makes it happen once: the number of the receipt, say")
	required(c, "key")
	actorFlag(c, &actor)
	return c
}
