package reconciliation

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// cardMove is one thing that the ledger says of a charge on the account of cards to be
// settled.
type cardMove struct {
	kind     payouts.SettlementKind
	amount   ledger.Amount // what the acquirer owes us is positive
	currency ledger.Currency
	date     ledger.Date
	key      string // of the transaction
}

// chargeTrace is what is known of one charge, wherever and whenever it was said.
type chargeTrace struct {
	reference    string
	transactions []uuid.UUID // that were collected with it
	charge       *payments.Charge
	moves        []cardMove
	lines        []payouts.StoredSettlementLine
}

// touch notes a transaction of the charge; Nil is a line.
func (t *chargeTrace) touch(id uuid.UUID) error {
	if id == uuid.Nil || slices.Contains(t.transactions, id) {
		return nil
	}
	if t.transactions = append(t.transactions, id); len(t.transactions) > maxGroup {
		return ledger.Errorf(ledger.CodeLimitExceeded, "there are more than %d postings of charge %s; somebody repeats them", maxGroup, ledger.Clip(t.reference))
	}
	return nil
}

// judgeCharges reads what is known of charges and judges them. The quiet ones are not
// of the period: they only close breaks.
func (j *cardsJob) judgeCharges(ctx context.Context, chunk []*chargeTrace, quiet bool) error {
	if len(chunk) == 0 {
		return nil
	}
	by := make(map[string]*chargeTrace, len(chunk))
	for _, t := range chunk {
		by[t.reference] = t
	}
	if err := j.load(ctx, chunk, by); err != nil {
		return fmt.Errorf("read charges: %w", err)
	}
	for _, t := range chunk {
		if quiet {
			if v := t.judge(j.terms, j.config.Currency); len(v.breaks) == 0 && len(t.moves)+len(t.lines) > 0 {
				j.watch.judged(t.reference)
			}
			continue
		}
		j.watch.judged(t.reference)
		if err := j.take(t); err != nil {
			return err
		}
	}
	return nil
}

// load reads charges, lines and postings of some charges.
func (j *cardsJob) load(ctx context.Context, chunk []*chargeTrace, by map[string]*chargeTrace) error {
	references := make([]string, len(chunk))
	for i, t := range chunk {
		references[i] = t.reference
	}
	charges, err := payments.FindCharges(ctx, j.tx, references, references)
	if err != nil {
		return err
	}
	names := slices.Clone(references)
	var chargeIDs []uuid.UUID
	for _, c := range charges {
		if t := by[nameOf(c)]; t != nil {
			t.charge = &c
			names, chargeIDs = append(names, c.Key), append(chargeIDs, c.ID)
		}
	}
	lines, err := payouts.LinesOfCharges(ctx, j.tx, distinct(names))
	if err != nil {
		return err
	}
	of, err := j.nameLines(ctx, lines)
	if err != nil {
		return err
	}
	for i, l := range lines {
		if t := by[of[i]]; t != nil {
			t.lines = append(t.lines, l)
		}
	}
	disputes, err := payments.FindDisputes(ctx, j.tx, chargeIDs)
	if err != nil {
		return err
	}
	book, err := j.postings(ctx, chunk)
	if err != nil {
		return err
	}
	for _, t := range chunk {
		slices.SortFunc(t.lines, compareLines)
		var of []payments.Dispute
		if t.charge != nil {
			of = disputes[t.charge.ID]
		}
		t.classify(book, of)
	}
	return nil
}

// compareLines puts lines in an order that does not depend on which file came first.
func compareLines(a, b payouts.StoredSettlementLine) int {
	return cmp.Or(a.SettledOn.Compare(b.SettledOn), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Gross, b.Gross), cmp.Compare(a.Fee, b.Fee), cmp.Compare(a.Currency, b.Currency),
		cmp.Compare(a.PayoutReference, b.PayoutReference), cmp.Compare(a.Acquirer, b.Acquirer), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
}

// cardBook are the transactions of some charges, with those that reverse them.
type cardBook struct {
	transactions map[uuid.UUID]ledger.Transaction
	reversals    map[uuid.UUID][]ledger.Transaction // by what they reverse
}

// keysOf are the idempotency keys of all that may be posted of a charge, in the order
// in which it would have been.
func (t *chargeTrace) keys() []string {
	if t.charge != nil {
		return t.charge.PostingKeys()
	}
	return []string{payments.TopUpKey(t.reference)}
}

func (j *cardsJob) postings(ctx context.Context, chunk []*chargeTrace) (cardBook, error) {
	var ids []uuid.UUID
	for _, t := range chunk {
		ids = append(ids, t.transactions...)
		for _, key := range t.keys() {
			ids = append(ids, ledger.IDOfKey(key))
		}
	}
	book := cardBook{reversals: map[uuid.UUID][]ledger.Transaction{}}
	var err error
	if book.transactions, err = engine.FindTransactions(ctx, j.tx, ids); err != nil {
		return book, err
	}
	reversed, err := engine.FindReversals(ctx, j.tx, ids)
	if err != nil {
		return book, err
	}
	for id := range reversed { // few are
		if book.reversals[id], err = engine.ReversalsOf(ctx, j.tx, id); err != nil {
			return book, err
		}
	}
	return book, nil
}

// classify says what each transaction of the charge is: the ledger has only amounts,
// and the charge and its disputes know what made them.
func (t *chargeTrace) classify(book cardBook, disputes []payments.Dispute) {
	known := map[uuid.UUID]payouts.SettlementKind{}
	for _, d := range disputes {
		if d.TransactionID != uuid.Nil {
			known[d.TransactionID] = payouts.SettledChargeback
		}
		if d.ReturnedID != uuid.Nil {
			known[d.ReturnedID] = payouts.SettledChargebackWon
		}
	}
	var list []ledger.Transaction
	seen := map[uuid.UUID]bool{}
	add := func(txn ledger.Transaction, ok bool) {
		if ok && !seen[txn.ID] {
			seen[txn.ID] = true
			list = append(list, txn)
		}
	}
	for _, key := range t.keys() {
		txn, ok := book.transactions[ledger.IDOfKey(key)]
		add(txn, ok)
	}
	for _, id := range t.transactions {
		txn, ok := book.transactions[id]
		add(txn, ok && txn.Reverses == uuid.Nil)
	}
	for i := 0; i < len(list); i++ { // what reverses one of them comes behind it
		for _, txn := range book.reversals[list[i].ID] {
			add(txn, true)
		}
	}
	for _, id := range t.transactions { // what reverses something else
		txn, ok := book.transactions[id]
		add(txn, ok)
	}
	charged := false
	for _, txn := range list {
		move, ok := moveOf(txn)
		if !ok {
			continue
		}
		if move.kind, ok = known[txn.ID]; !ok {
			of, reversal := known[txn.Reverses]
			switch {
			case reversal:
				move.kind = of
			case move.amount < 0:
				move.kind = payouts.SettledRefund
			case !charged || strings.HasPrefix(txn.Key, payments.TopUpKey("")):
				move.kind, charged = payouts.SettledCharge, true
			default: // a refund that has come back
				move.kind = payouts.SettledRefund
			}
			known[txn.ID] = move.kind
		}
		t.moves = append(t.moves, move)
	}
}

// moveOf is what a transaction moves on the account of cards to be settled.
func moveOf(txn ledger.Transaction) (cardMove, bool) {
	account := ledger.SystemAccountID(payments.AccountCardsToSettle)
	m := cardMove{amount: debited(txn, account) - credited(txn, account), date: txn.EffectiveDate, key: txn.Key}
	for _, p := range txn.Postings {
		if p.Debit == account || p.Credit == account {
			m.currency = p.Currency
		}
	}
	return m, m.currency != ""
}

// take counts a charge of the period and keeps what is wrong with it.
func (j *cardsJob) take(t *chargeTrace) error {
	j.inputs.on(ledger.Date{})
	j.inputs.text("charge", t.reference)
	if t.charge != nil {
		j.inputs.text(t.charge.Key, string(t.charge.State))
	}
	for _, m := range t.moves {
		j.inputs.on(m.date)
		j.inputs.text("posted", t.reference, string(m.kind), string(m.currency), m.key)
		j.inputs.number(int64(m.amount))
		if at := slices.Index(cardKinds[:], m.kind); at >= 0 && j.inPeriod(m.date) {
			if err := j.total(cardTotals[at], m.amount); err != nil {
				return err
			}
		}
	}
	for _, l := range t.lines {
		j.inputs.on(l.SettledOn)
		j.inputs.text("settled", t.reference, string(l.Kind), string(l.Currency), l.PayoutReference, l.Acquirer, l.File)
		j.inputs.number(int64(l.Line), int64(l.Gross), int64(l.Fee))
	}
	v := t.judge(j.terms, j.config.Currency)
	j.result.Open += v.open
	for _, matcher := range v.matched {
		j.matched(matcher)
	}
	for _, b := range v.breaks {
		if err := j.addBreak(b); err != nil {
			return err
		}
	}
	for _, i := range v.inside {
		j.charges.addInside(i)
	}
	for _, i := range v.outside {
		j.charges.addOutside(i)
	}
	return nil
}
