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

// payouts judges the payouts of a payee that the period changed, and those that
// are still on their way from before.
func (j *payoutsJob) payouts(ctx context.Context, payee payments.Payee) error {
	for _, f := range []payouts.PayoutFilter{
		{From: j.params.From, To: j.params.To},
		{State: payouts.Prepared}, {State: payouts.Approved}, {State: payouts.Exported}, {State: payouts.Accepted},
	} {
		f.PayeeID, f.Limit = payee.ID, payoutsPage
		for {
			page, err := payouts.ListPayouts(ctx, j.tx, f)
			if err != nil {
				return err
			}
			if err := j.judgePayouts(ctx, page, f.State != ""); err != nil {
				return err
			}
			if len(page) < payoutsPage {
				break
			}
			f.After = page[len(page)-1].EndToEndID
		}
	}
	return nil
}

// trace is what is known of one payout.
type trace struct {
	payouts.Payout
	items        payouts.ItemTotal
	entries      []payouts.StoredEntry
	transactions map[uuid.UUID]ledger.Transaction
}

func (j *payoutsJob) judgePayouts(ctx context.Context, page []payouts.Payout, open bool) error {
	var ids, transactionIDs []uuid.UUID
	for _, p := range page {
		ids = append(ids, p.ID)
		for _, id := range []uuid.UUID{p.TransactionID, p.CancelTransactionID, p.RejectTransactionID, p.SettlementTransactionID, p.ReturnTransactionID} {
			if id != uuid.Nil {
				transactionIDs = append(transactionIDs, id)
			}
		}
	}
	items, err := payouts.TotalItems(ctx, j.tx, ids)
	if err != nil {
		return err
	}
	entries, err := payouts.EntriesOfPayouts(ctx, j.tx, ids)
	if err != nil {
		return err
	}
	transactions, err := engine.FindTransactions(ctx, j.tx, transactionIDs)
	if err != nil {
		return err
	}
	named := map[uuid.UUID][]payouts.StoredEntry{}
	for _, e := range entries {
		named[e.PayoutID] = append(named[e.PayoutID], e)
	}
	for i, p := range page {
		if i > 0 && p.ID == page[i-1].ID {
			continue // two movements claim to have paid it: judgeBank says so
		}
		if open && (j.inPeriod(p.ApprovedOn) || j.params.To.Before(p.ApprovedOn)) {
			continue // it came with the period, or comes with the next one
		}
		if err := j.judgePayout(ctx, trace{p, items[p.ID], named[p.ID], transactions}); err != nil {
			return fmt.Errorf("payout %s: %w", p.EndToEndID, err)
		}
	}
	return nil
}

func (j *payoutsJob) judgePayout(ctx context.Context, t trace) error {
	j.hashPayout(t)
	before := len(j.result.Breaks)
	if err := j.judgeAmounts(t); err != nil {
		return err
	}
	if err := j.judgeParties(t); err != nil {
		return err
	}
	if err := j.judgeBank(ctx, t); err != nil {
		return err
	}
	if err := j.countPayout(t); err != nil {
		return err
	}
	if entry, ok := t.entry(payouts.OutcomeSettled); ok && before == len(j.result.Breaks) {
		j.matched(match(j.matchers, []Item{t.item(), entryItem(entry, j.config.Currency)}))
	}
	return nil
}

func (t trace) item() Item {
	return Item{Side: Inside, Reference: t.EndToEndID, Counterparty: t.Creditor.IBAN, Amount: -t.Net, Currency: t.Currency, Date: t.SettledOn, Source: "the payout"}
}

func entryItem(e payouts.StoredEntry, currency ledger.Currency) Item {
	return Item{Side: Outside, Reference: e.EndToEndID, Counterparty: e.Counterparty.IBAN, Amount: e.Amount, Currency: currency, Date: e.BookingDate,
		Source: "statement " + place(e)}
}

// place names a movement for people: statement, entry, and detail in a batch.
func place(e payouts.StoredEntry) string {
	return fmt.Sprintf("%s entry %d.%d", e.Statement, e.Entry, e.Detail)
}

// entry returns the first movement with an outcome.
func (t trace) entry(o payouts.Outcome) (payouts.StoredEntry, bool) {
	for _, e := range t.entries {
		if e.Outcome == o {
			return e, true
		}
	}
	return payouts.StoredEntry{}, false
}

func (t trace) count(o payouts.Outcome) (n int) {
	for _, e := range t.entries {
		if e.Outcome == o {
			n++
		}
	}
	return n
}

func (j *payoutsJob) hashPayout(t trace) {
	in := j.inputs
	j.watch.judged(t.EndToEndID)
	in.on(j.dateOf(t.Payout))
	in.text("payout", t.EndToEndID, t.PayeeCode, string(t.State), t.Creditor.IBAN, t.ApprovedOn.String(), t.SettledOn.String(), t.ReturnedOn.String(), t.CancelledOn.String())
	in.number(int64(t.Gross), int64(t.Commission), int64(t.Net), int64(t.items.Items), int64(t.items.Amount), int64(t.items.Posted), int64(t.items.Foreign), int64(len(t.entries)))
	if t.VAT != 0 { // runs of before there was VAT can be repeated
		in.number(int64(t.VAT))
	}
	if t.State == payouts.Rejected { // likewise, of before there were reports
		in.text("rejected", t.RejectedOn.String(), t.transactions[t.RejectTransactionID].Reverses.String())
	}
	for _, id := range []uuid.UUID{t.TransactionID, t.CancelTransactionID, t.SettlementTransactionID, t.ReturnTransactionID} {
		txn := t.transactions[id]
		in.text(txn.ID.String())
		for _, p := range txn.Postings {
			in.text(p.Debit.String(), p.Credit.String())
			in.number(int64(p.Amount))
		}
	}
	for _, e := range t.entries {
		in.text(e.Statement, string(e.Outcome), e.Counterparty.IBAN)
		in.number(int64(e.Entry), int64(e.Detail), int64(e.Amount))
	}
}

// credited adds up what a transaction credits to an account, debited what it debits.
func credited(txn ledger.Transaction, account uuid.UUID) (sum ledger.Amount) {
	for _, p := range txn.Postings {
		if p.Credit == account {
			sum += p.Amount // a report of what is wrong may not fail on it
		}
	}
	return sum
}

func debited(txn ledger.Transaction, account uuid.UUID) (sum ledger.Amount) {
	for _, p := range txn.Postings {
		if p.Debit == account {
			sum += p.Amount
		}
	}
	return sum
}

// judgeAmounts compares gross, commission and net of a payout as its row, its
// donations, the ledger and the bank say them. Whatever is wrong is one break.
func (j *payoutsJob) judgeAmounts(t trace) error {
	inTransit, commissions := ledger.SystemAccountID(payments.AccountPayoutsInTransit), ledger.SystemAccountID(payments.AccountCommissions)
	collected := ledger.SystemAccountID(payments.AccountVAT)
	item := func(source string, amount ledger.Amount) Item {
		return Item{Side: Inside, Reference: t.EndToEndID, Amount: amount, Currency: t.Currency, Source: source}
	}
	gross := []Item{item("the payout", t.Gross), item("its net and commission", t.Net+t.Commission+t.VAT), item("its list of donations", t.items.Amount), item("its donations", t.items.Posted)}
	commission := []Item{item("the payout", t.Commission)}
	vat := []Item{item("the payout", t.VAT)}
	net := []Item{item("the payout", t.Net)}
	if txn, ok := t.transactions[t.TransactionID]; ok {
		posted, _ := transactionAmount(txn)
		gross = append(gross, item("the ledger", posted))
		commission = append(commission, item("the ledger", credited(txn, commissions)))
		vat = append(vat, item("the ledger", credited(txn, collected)))
		net = append(net, item("the ledger", credited(txn, inTransit)))
		if !j.params.To.Before(t.ApprovedOn) && (t.SettledOn.IsZero() || j.params.To.Before(t.SettledOn)) && (t.CancelledOn.IsZero() || j.params.To.Before(t.CancelledOn)) &&
			(t.RejectedOn.IsZero() || j.params.To.Before(t.RejectedOn)) {
			j.transit += credited(txn, inTransit) - t.Net
		}
	}
	if txn, ok := t.transactions[t.SettlementTransactionID]; ok {
		net = append(net, item("its settlement in the ledger", debited(txn, inTransit)))
	}
	if txn, ok := t.transactions[t.ReturnTransactionID]; ok {
		gross = append(gross, item("its return in the ledger", credited(txn, t.AccountID)))
	}
	if e, ok := t.entry(payouts.OutcomeSettled); ok {
		net = append(net, item("statement "+place(e), -e.Amount))
	}
	if e, ok := t.entry(payouts.OutcomeReturned); ok {
		net = append(net, item("the return on statement "+place(e), e.Amount))
	}
	var wrong []string
	var amount ledger.Amount
	for _, of := range []struct {
		name  string
		items []Item
	}{{"gross", gross}, {"commission", commission}, {"VAT", vat}, {"net", net}} {
		if !sameMoney(of.items) {
			amount = max(amount, spread(of.items))
			wrong = append(wrong, of.name+": "+sayings(of.items, func(i Item) string { return j.money(i.Amount) }))
		}
	}
	if t.items.Items != t.Donations {
		wrong = append(wrong, fmt.Sprintf("donations: the payout counts %d, its list has %d", t.Donations, t.items.Items))
	}
	if len(wrong) == 0 {
		return nil
	}
	return j.say(AmountDiffers, t.EndToEndID, amount, j.dateOf(t.Payout), "payout %s to %s does not add up: %s; find out which one is right, and correct the ledger by a reversal",
		t.EndToEndID, t.PayeeCode, strings.Join(wrong, "; "))
}

// dateOf is the day on which the book last moved a payout.
func (j *payoutsJob) dateOf(p payouts.Payout) ledger.Date {
	for _, d := range []ledger.Date{p.ReturnedOn, p.SettledOn, p.RejectedOn, p.CancelledOn, p.ApprovedOn} {
		if !d.IsZero() {
			return d
		}
	}
	return j.asOf
}

// judgeParties makes sure that the payee was paid with the payee's money.
func (j *payoutsJob) judgeParties(t trace) error {
	var wrong []string
	if t.items.Foreign > 0 {
		wrong = append(wrong, fmt.Sprintf("%d of its donations were given to somebody else", t.items.Foreign))
	}
	if txn, ok := t.transactions[t.TransactionID]; ok {
		for _, p := range txn.Postings {
			if p.Debit != t.AccountID {
				wrong = append(wrong, fmt.Sprintf("the ledger takes %s from account %s", j.money(p.Amount), p.Debit))
			}
		}
	}
	if e, ok := t.entry(payouts.OutcomeSettled); ok && e.Counterparty.IBAN != "" && e.Counterparty.IBAN != t.Creditor.IBAN {
		wrong = append(wrong, fmt.Sprintf("statement %s shows %s as the receiver, not %s", place(e), e.Counterparty.IBAN, t.Creditor.IBAN))
	}
	if len(wrong) == 0 {
		return nil
	}
	return j.say(WrongParty, t.EndToEndID, t.Net, j.dateOf(t.Payout), "payout %s of %s to %s: %s; ask the bank, and correct the ledger by a reversal",
		t.EndToEndID, j.money(t.Net), t.PayeeCode, strings.Join(wrong, "; "))
}

// judgeBank compares the life of a payout with what the statements show.
func (j *payoutsJob) judgeBank(ctx context.Context, t trace) error {
	settled, isSettled := t.entry(payouts.OutcomeSettled)
	returned, isReturned := t.entry(payouts.OutcomeReturned)
	_, isSuspect := t.entry(payouts.OutcomeSuspense) // a break of its own
	what := fmt.Sprintf("payout %s of %s to %s", t.EndToEndID, j.money(t.Net), t.PayeeCode)
	say := func(class Class, format string, args ...any) error {
		return j.say(class, t.EndToEndID, t.Net, j.dateOf(t.Payout), "%s: %s", what, fmt.Sprintf(format, args...))
	}
	switch {
	case t.State == payouts.Prepared:
		j.result.Open++
		return nil
	case t.State == payouts.Cancelled:
		if t.TransactionID != uuid.Nil && t.transactions[t.CancelTransactionID].Reverses != t.TransactionID {
			return say(MissingInLedger, "cancelled, but its approval %s was not reversed; reverse it", t.TransactionID)
		}
		return nil
	case t.State == payouts.Rejected:
		if t.transactions[t.RejectTransactionID].Reverses != t.TransactionID {
			return say(MissingInLedger, "rejected by the bank, but its approval %s was not reversed; reverse it", t.TransactionID)
		}
		return nil
	case t.transactions[t.TransactionID].ID == uuid.Nil:
		return say(MissingInLedger, "%s, but the ledger has no entry of its approval; ask who changed the tables", t.State)
	case isReturned && (t.State != payouts.Returned || t.ReturnTransactionID != returned.TransactionID):
		return say(MissingInLedger, "came back on statement %s, but the payout is %s and not linked to transaction %s that re-opens the debt; mark it returned", place(returned), t.State, returned.TransactionID)
	case t.count(payouts.OutcomeSettled) > 1 || t.count(payouts.OutcomeReturned) > 1:
		return say(Duplicate, "statements show %d times that it was paid and %d times that it came back; one entry too many was taken for it",
			t.count(payouts.OutcomeSettled), t.count(payouts.OutcomeReturned))
	case t.State == payouts.Returned && !isReturned:
		return say(MissingOutside, "returned, but no statement shows that it came back; import the statement of %s", t.ReturnedOn)
	case isSettled && (t.SettledOn.IsZero() || t.SettlementTransactionID != settled.TransactionID):
		return say(MissingInLedger, "paid on statement %s, but the payout is %s and not linked to transaction %s; mark it settled", place(settled), t.State, settled.TransactionID)
	case !t.SettledOn.IsZero() && !isSettled:
		return say(MissingOutside, "settled, but no statement shows that the bank paid it; import the statement of %s again", t.SettledOn)
	case isSettled || isSuspect:
		return nil
	}
	return j.judgeWaiting(ctx, t, say)
}

// judgeWaiting looks at a payout that the bank has not booked.
func (j *payoutsJob) judgeWaiting(ctx context.Context, t trace, say func(class Class, format string, args ...any) error) error {
	batch, err := j.batch(ctx, t.Batch)
	if err != nil {
		return err
	}
	j.waits(t, batch)
	due := batch.ExecutionDate.AddDays(j.params.SettlementDays)
	if !due.Before(j.asOf) {
		j.result.Open++
		return nil
	}
	if t.State == payouts.Approved {
		return say(MissingOutside, "approved on %s for %s, but never exported to the bank; cancel batch %s and prepare a new one", t.ApprovedOn, batch.ExecutionDate, t.Batch)
	}
	return say(MissingOutside, "exported for %s, but on no statement until %s; import the missing statements, or ask the bank for batch %s", batch.ExecutionDate, j.asOf, t.Batch)
}

func (j *payoutsJob) countPayout(t trace) error {
	counts := []struct {
		name   string
		on     ledger.Date
		amount ledger.Amount
	}{
		{"payouts_gross", t.ApprovedOn, t.Gross}, {"payouts_commission", t.ApprovedOn, t.Commission}, {"payouts_vat", t.ApprovedOn, t.VAT}, {"payouts_net", t.ApprovedOn, t.Net},
		{"settled", t.SettledOn, t.Net}, {"returned", t.ReturnedOn, t.Net},
	}
	for i, c := range counts {
		undone := i < 4 && (t.State == payouts.Cancelled || t.State == payouts.Rejected)
		untaxed := c.name == "payouts_vat" && t.VAT == 0
		if j.inPeriod(c.on) && !undone && !untaxed {
			if err := j.total(c.name, c.amount); err != nil {
				return err
			}
		}
	}
	return nil
}
