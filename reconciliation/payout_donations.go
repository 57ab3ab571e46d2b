package reconciliation

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// donation is a posting that credits a payee.
type donation struct {
	transaction ledger.Transaction
	posting     int // ordinal, from 0
	amount      ledger.Amount
	date        ledger.Date
}

func (d donation) reference() string {
	if len(d.transaction.Postings) == 1 {
		return d.transaction.Key
	}
	return fmt.Sprintf("%s#%d", d.transaction.Key, d.posting+1)
}

// donations makes sure that each donation of the period is in one payout.
func (j *payoutsJob) donations(ctx context.Context, payee payments.Payee) error {
	f := engine.TransactionFilter{AccountID: payee.AccountID, From: j.params.From, To: j.params.To, Limit: payoutsPage}
	for {
		page, err := engine.ListTransactions(ctx, j.tx, f)
		if err != nil {
			return err
		}
		if err := j.judgeDonations(ctx, payee, donationsOf(page, payee.AccountID)); err != nil {
			return err
		}
		if len(page) < payoutsPage {
			return nil
		}
		f.After = page[len(page)-1].Place
	}
}

// donationsOf leaves out what credits the account from where payouts themselves
// go: returns and the undoing of approvals.
func donationsOf(page []ledger.Transaction, account uuid.UUID) []donation {
	way := map[uuid.UUID]bool{
		ledger.SystemAccountID(payments.AccountSafeguarding):     true,
		ledger.SystemAccountID(payments.AccountPayoutsInTransit): true,
		ledger.SystemAccountID(payments.AccountCommissions):      true,
		ledger.SystemAccountID(payments.AccountVAT):              true,
	}
	var list []donation
	for _, txn := range page {
		for i, p := range txn.Postings {
			if p.Credit == account && !way[p.Debit] {
				list = append(list, donation{txn, i, p.Amount, txn.EffectiveDate})
			}
		}
	}
	return list
}

func (j *payoutsJob) judgeDonations(ctx context.Context, payee payments.Payee, list []donation) error {
	var ids []uuid.UUID
	for i, d := range list {
		if i == 0 || d.transaction.ID != list[i-1].transaction.ID {
			ids = append(ids, d.transaction.ID)
		}
	}
	reversals, err := engine.FindReversals(ctx, j.tx, ids)
	if err != nil {
		return err
	}
	items, err := payouts.ItemsOfDonations(ctx, j.tx, ids)
	if err != nil {
		return err
	}
	var payoutIDs []uuid.UUID
	for _, item := range items {
		payoutIDs = append(payoutIDs, item.PayoutID)
	}
	known, err := payouts.FindPayouts(ctx, j.tx, payoutIDs)
	if err != nil {
		return err
	}
	type place struct {
		transaction uuid.UUID
		posting     int
	}
	in := map[place][]payouts.Payout{}
	for _, item := range items {
		p := known[item.PayoutID]
		if p.State != payouts.Cancelled && p.State != payouts.Rejected && p.State != payouts.Returned {
			at := place{item.TransactionID, item.Posting}
			in[at] = append(in[at], p)
		}
	}
	for _, d := range list {
		if err := j.judgeDonation(payee, d, in[place{d.transaction.ID, d.posting}], reversals[d.transaction.ID]); err != nil {
			return err
		}
	}
	return nil
}

// judgeDonation looks at one donation and the payouts that count for it;
// reversedBy is the transaction that undid it, or Nil.
func (j *payoutsJob) judgeDonation(payee payments.Payee, d donation, in []payouts.Payout, reversedBy uuid.UUID) error {
	j.watch.judged(d.reference())
	j.inputs.on(d.date)
	j.inputs.text("donation", d.transaction.ID.String(), d.date.String())
	j.inputs.number(int64(d.posting), int64(d.amount), int64(len(in)))
	for _, p := range in {
		j.inputs.text(p.EndToEndID)
	}
	what := fmt.Sprintf("donation %s of %s to %s", d.reference(), j.money(d.amount), payee.Code)
	switch {
	case reversedBy != uuid.Nil && len(in) == 0:
		return nil
	case reversedBy != uuid.Nil:
		return j.say(AmountDiffers, d.reference(), d.amount, d.date, "%s: reversed by %s, but payout %s pays it out; take it back from the payee, or cancel the payout",
			what, reversedBy, in[0].EndToEndID)
	}
	if err := j.total("donations", d.amount); err != nil {
		return err
	}
	switch len(in) {
	case 1:
		j.matched("payout_item")
		return nil
	case 0:
		if err := j.total("donations_not_paid_out", d.amount); err != nil {
			return err
		}
		term := j.params.UnpaidDays
		if term == 0 {
			term = unpaidDays(payee.Rhythm)
		}
		if !d.date.AddDays(term).Before(j.asOf) {
			j.result.Open++
			return nil
		}
		return j.say(Late, d.reference(), d.amount, d.date, "%s: of %s and in no payout, which was due within %d days; prepare a payout to %s, and see why it was left out",
			what, d.date, term, payee.Code)
	}
	ids := make([]string, len(in))
	for i, p := range in {
		ids[i] = p.EndToEndID
	}
	return j.say(Duplicate, d.reference(), d.amount, d.date, "%s: in %d payouts (%s); cancel or take back all but one", what, len(in), strings.Join(ids, ", "))
}
