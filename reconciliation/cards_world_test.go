package reconciliation_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/reconciliation"
)

// acquirer charges cards, and says what tests want it to.
type acquirer struct {
	payments.CardProcessor // nobody calls the rest
	charges                map[string]payments.CardStatus
}

func (a *acquirer) Card(context.Context, string) (payments.CardDetails, error) {
	return payments.CardDetails{Brand: "visa", LastFour: "4242", ExpiryYear: 2030, ExpiryMonth: 12, Country: "FR"}, nil
}

func (a *acquirer) Charge(_ context.Context, r payments.CardCharge) (payments.CardStatus, error) {
	if _, ok := a.charges[r.Key]; !ok {
		a.charges[r.Key] = payments.CardStatus{Reference: "pi_" + strings.TrimPrefix(r.Key, "topup:"), Result: payments.CardSucceeded, Amount: r.Amount, Currency: r.Currency}
	}
	return a.charges[r.Key], nil
}

func (a *acquirer) Lookup(_ context.Context, r payments.CardCharge) (payments.CardStatus, error) {
	return a.charges[r.Key], nil
}

func (a *acquirer) Cancel(ctx context.Context, r payments.CardCharge) (payments.CardStatus, error) {
	return a.Lookup(ctx, r)
}

func (a *acquirer) Refund(_ context.Context, r payments.CardCharge, key string) (payments.CardStatus, error) {
	c := a.charges[r.Key]
	c.Refund, c.RefundReference = payments.RefundDone, "re_"+strings.ReplaceAll(key, "topup:", "")
	a.charges[r.Key] = c
	return c, nil
}

// cardWorld is a world whose customers have cards.
type cardWorld struct {
	*world
	acquirer *acquirer
	ids      map[string]payments.Charge
	file     int
}

const cardKey = "topup:"

func newCardWorld(t testing.TB, db *sqldb.DB) *cardWorld {
	t.Helper()
	w := &cardWorld{world: newWorld(t, db), acquirer: &acquirer{charges: map[string]payments.CardStatus{}}, ids: map[string]payments.Charge{}}
	config := w.payments.Config()
	config.Key = bytes.Repeat([]byte("k"), payments.MinKey) // which it does not hand out
	config.Cards.DayCount, config.Cards.DayAmount = 1000, 1_000_000_00
	config.WalletCeiling = 1_000_000_00
	var err error
	w.payments, err = payments.New(w.engine, config, wordParser{}, payments.Options{Processor: w.acquirer})
	w.must(err)
	_, err = w.payments.AddCard(w.ctx, "c-000001", "tok_marie", "test")
	w.must(err)
	// What the world begins with was settled by a voucher.
	w.settle(line(payouts.SettledCharge, "", "charge-1", 2000_00, 0))
	w.acquirers(payouts.Acquirer{Name: "acq", BankName: "Acquirer SA", Days: 3})
	return w
}

func (w *cardWorld) acquirers(list ...payouts.Acquirer) {
	w.t.Helper()
	config := w.payouts.Config()
	config.Acquirers = list
	var err error
	w.payouts, err = payouts.New(w.engine, config, payouts.Options{})
	w.must(err)
}

// charge charges Marie's card; pi_NAME is what the processor calls it.
func (w *cardWorld) charge(name string, amount ledger.Amount) payments.Charge {
	w.t.Helper()
	c, err := w.payments.ChargeCard(w.ctx, payments.ChargeRequest{Key: name, CustomerNumber: "c-000001", Amount: amount, Present: true, Actor: "test"})
	w.must(err)
	if c.State != payments.ChargePosted {
		w.t.Fatalf("charge %s is %s (%s)", name, c.State, c.Reason)
	}
	w.ids[name] = c
	return c
}

// news lets the service hear what the acquirer says of a charge now.
func (w *cardWorld) news(name string, change func(*payments.CardStatus)) {
	w.t.Helper()
	c := w.acquirer.charges[cardKey+name]
	change(&c)
	w.acquirer.charges[cardKey+name] = c
	_, err := w.payments.Refresh(w.ctx, w.ids[name].ID)
	w.must(err)
}

func (w *cardWorld) refund(name string) {
	w.t.Helper()
	c, err := w.payments.RefundCharge(w.ctx, w.ids[name].ID, "test", "asked for")
	w.must(err)
	if c.State != payments.ChargeRefunded {
		w.t.Fatalf("charge %s is %s", name, c.State)
	}
}

// dispute is the news of a chargeback.
func (w *cardWorld) dispute(name string, amount ledger.Amount, state payments.DisputeState) {
	w.t.Helper()
	w.news(name, func(c *payments.CardStatus) {
		c.Disputes = []payments.CardDispute{{Reference: "dp_" + name, Amount: amount, State: state}}
	})
}

// line is a line of a settlement file about a charge, of 5 November.
func line(kind payouts.SettlementKind, payout, charge string, gross, fee ledger.Amount) payouts.SettlementLine {
	return payouts.SettlementLine{Kind: kind, ChargeReference: charge, Gross: gross, Fee: fee, Currency: ledger.EUR, SettledOn: from.AddDays(4), PayoutReference: payout}
}

// settle imports a settlement file.
func (w *cardWorld) settle(lines ...payouts.SettlementLine) {
	w.t.Helper()
	w.file++
	w.settleAs(fmt.Sprintf("file-%d.csv", w.file), lines...)
}

func (w *cardWorld) settleAs(name string, lines ...payouts.SettlementLine) {
	w.t.Helper()
	_, err := w.payouts.ImportSettlement(w.ctx, "acq", name, func(yield func(payouts.SettlementLine, error) bool) {
		for i, l := range lines {
			l.Line, l.Net = i+2, l.Gross-l.Fee
			if !yield(l, nil) {
				return
			}
		}
	}, "carol")
	w.must(err)
}

// transferred is the movement of a transfer.
func transferred(payout string, amount ledger.Amount) payouts.Detail {
	return payouts.Detail{Amount: amount, Remittance: "SETTLEMENT " + payout, Counterparty: payouts.Party{Name: "ACQ"}}
}

func (w *cardWorld) reconcileCards() reconciliation.Result {
	w.t.Helper()
	r, err := reconciliation.Cards(w.ctx, w.engine, w.payouts, reconciliation.CardsParams{From: from, To: to})
	w.must(err)
	return r
}

func (w *cardWorld) keepCards() reconciliation.Kept {
	w.t.Helper()
	_, kept := w.keepCardsOf(from, to)
	return kept
}

func (w *cardWorld) keepCardsOf(first, last ledger.Date) (reconciliation.Result, reconciliation.Kept) {
	w.t.Helper()
	kept, result, err := reconciliation.Keep(w.ctx, w.engine, reconciliation.KeepRequest{Job: reconciliation.JobCards, From: first, To: last, By: "anne"},
		func(ctx context.Context, watch reconciliation.Watch) (reconciliation.Result, error) {
			return reconciliation.Cards(ctx, w.engine, w.payouts, reconciliation.CardsParams{From: first, To: last, Watch: watch})
		})
	w.must(err)
	return result, kept
}
