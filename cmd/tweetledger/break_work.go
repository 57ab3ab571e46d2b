package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/reconciliation"
)

func (a *app) breakAssignCommand() *cobra.Command {
	var owner, actor string
	c := &cobra.Command{
		Use: "assign NUMBER", Short: "Give a break to the person who works on it",
		Long:    `assign names who works on a break. An empty name takes it away from whoever had it.`,
		Example: `  tweetledger break assign 7 --owner carol`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.onBreak(c.Context(), args[0], func(ctx context.Context, book *engine.Engine, number int64) (string, error) {
				b, err := reconciliation.Assign(ctx, book, number, owner, a.actor(actor))
				if b.Owner == "" {
					return "is nobody's", err
				}
				return "is " + b.Owner + "'s", err
			})
		},
	}
	c.Flags().StringVar(&owner, "owner", "", "who works on it")
	required(c, "owner")
	actorFlag(c, &actor)
	return c
}

// onBreak does something to the break of a number and says what it is then.
func (a *app) onBreak(ctx context.Context, text string, do func(ctx context.Context, book *engine.Engine, number int64) (string, error)) error {
	number, err := parseBreak(text)
	if err != nil {
		return err
	}
	book, err := a.openBook(ctx)
	if err != nil {
		return err
	}
	is, err := do(ctx, book, number)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "break %d %s\n", number, is)
	return err
}

// breakActCommand makes a command that says something about a break; done is what it
// is then, or its state.
func (a *app) breakActCommand(use, flag, short, long, example, done string,
	act func(ctx context.Context, e *engine.Engine, number int64, text, actor string) (reconciliation.KeptBreak, error)) *cobra.Command {
	var text, actor string
	c := &cobra.Command{
		Use: use + " NUMBER", Short: short, Long: long, Example: "  tweetledger break " + use + " 7 " + example, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.onBreak(c.Context(), args[0], func(ctx context.Context, book *engine.Engine, number int64) (string, error) {
				b, err := act(ctx, book, number, text, a.actor(actor))
				if done != "" {
					return "is " + done, err
				}
				return "is " + stateOf(b.State), err
			})
		},
	}
	c.Flags().StringVar(&text, flag, "", "what to keep in the trace")
	required(c, flag)
	actorFlag(c, &actor)
	return c
}

func (a *app) breakProposeCommand(use string, kind reconciliation.ProposalKind, short, long string) *cobra.Command {
	p := reconciliation.Posting{Kind: kind}
	var amount, currency, date, actor, reason string
	c := &cobra.Command{
		Use: use + " NUMBER", Short: short, Long: long,
		Example: "  tweetledger break " + use + ` 7 --debit suspense --credit payable:acf --reason "a gift by transfer, letter of 20 November"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if amount != "" {
				if p.Amount, err = ledger.ParseAmount(amount, ledger.Currency(currency)); err != nil {
					return fmt.Errorf("--amount: %w", err)
				}
			}
			if p.EffectiveDate, err = parseDate("--date", date); err != nil {
				return err
			}
			return a.onBreak(c.Context(), args[0], func(ctx context.Context, book *engine.Engine, number int64) (string, error) {
				made, err := reconciliation.Propose(ctx, book, number, p, reason, a.actor(actor))
				return fmt.Sprintf("has proposal %d: debit %s, credit %s, %s %s; another person approves it with: tweetledger break approve %d", made.Number, made.Debit, made.Credit,
					made.Amount.Format(made.Currency), made.Currency, number), err
			})
		},
	}
	c.Flags().StringVar(&p.Debit, "debit", "", "code of the account that is debited")
	c.Flags().StringVar(&p.Credit, "credit", "", "code of the account that is credited")
	c.Flags().StringVar(&amount, "amount", "", "how much (default the break's amount)")
	c.Flags().StringVar(&currency, "currency", string(ledger.EUR), "in which --amount is written; it is posted in the break's")
	c.Flags().StringVar(&date, "date", "", "effective date (default the day of the approval)")
	required(c, "debit", "credit")
	actorFlag(c, &actor)
	reasonFlag(c, &reason)
	return c
}

func (a *app) breakDecideCommand(use, short, long string,
	decide func(ctx context.Context, e *engine.Engine, number int64, reason, actor string) (reconciliation.Proposal, error)) *cobra.Command {
	var actor, reason string
	c := &cobra.Command{
		Use: use + " NUMBER", Short: short, Long: long, Example: "  tweetledger break " + use + ` 7 --actor bruno --reason "seen the letter"`, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.onBreak(c.Context(), args[0], func(ctx context.Context, book *engine.Engine, number int64) (string, error) {
				p, err := decide(ctx, book, number, reason, a.actor(actor))
				if err != nil {
					return "", err
				}
				said := fmt.Sprintf("has proposal %d %s", p.Number, p.State)
				if p.State == reconciliation.Approved {
					said += ": posted as transaction " + p.TransactionID.String()
				}
				return said, nil
			})
		},
	}
	actorFlag(c, &actor)
	reasonFlag(c, &reason)
	return c
}

func (a *app) breakFeedCommand() *cobra.Command {
	var actor string
	var from historyFlags
	c := &cobra.Command{
		Use: "feed NUMBER", Short: "Put the tweet of a break, which never arrived, into the inbox",
		Long: `feed reads the tweet that a break is about from X, or from files named with --history, and
puts it into the inbox: its payer is then asked for the code as always. The break closes
with the next run that finds the order.`,
		Example: `  tweetledger break feed 7
  tweetledger break feed 7 --history tweets.jsonl`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := a.reconciler(c.Context(), from.files, from.owner)
			if err != nil {
				return err
			}
			if r.history == nil {
				return errNoHistory()
			}
			return a.onBreak(c.Context(), args[0], func(ctx context.Context, _ *engine.Engine, number int64) (string, error) {
				fed, err := reconciliation.Feed(ctx, r.payments, r.history, number, a.actor(actor))
				return "is fed: " + fed, err
			})
		},
	}
	from.flags(c)
	actorFlag(c, &actor)
	return c
}
