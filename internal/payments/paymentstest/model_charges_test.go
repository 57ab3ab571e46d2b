package paymentstest

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// What a card's acquirer answers, and when, the model does not know: it is told what
// happened to a charge, one event after the other, says whether that may happen, and
// computes itself what it means for everybody's money.

// charge is one of a card.
type charge struct {
	customer string
	order    version // that it pays for
	forOrder bool
	amount   ledger.Amount
	created  time.Time
	state    payments.ChargeState
	events   int
	credited bool          // a wallet has it, or had it
	apart    ledger.Amount // in suspense, until it is back on the card
	taken    takings       // by the dispute
	disputed bool
	won      bool
}

// takings is from where a chargeback, or a refund that was made outside, was paid.
type takings struct{ wallet, receivable, suspense ledger.Amount }

func (m *model) setCharge(id uuid.UUID, c charge) { m.charges[id], m.changed = c, true }

// mayCharge says why a customer's card may not be charged.
func (m *model) mayCharge(number string, amount ledger.Amount) ledger.Code {
	c := m.customers[number]
	count, sum := 0, ledger.Amount(0)
	for _, other := range m.charges {
		if other.customer != number || !other.created.After(m.now.Add(-day)) {
			continue
		}
		count++
		if other.state != payments.ChargeDeclined && other.state != payments.ChargeFailed {
			sum += other.amount
		}
	}
	switch {
	case c.status == payments.Closed:
		return ledger.CodeAccountClosed
	case c.status == payments.Blocked:
		return ledger.CodeForbidden
	case amount > m.config.Cards.Maximum:
		return ledger.CodeInvalid
	case count >= m.config.Cards.DayCount || sum+amount > m.config.Cards.DayAmount:
		return ledger.CodeLimitExceeded
	}
	return ""
}

// mayTopUp says why a card may not be charged for a wallet.
func (m *model) mayTopUp(number string, amount ledger.Amount) ledger.Code {
	if amount < m.config.Cards.Minimum {
		return ledger.CodeInvalid
	}
	if code := m.mayCharge(number, amount); code != "" {
		return code
	}
	if m.accounts[wallet(number)].expected()+amount > m.config.WalletCeiling {
		return ledger.CodeLimitExceeded
	}
	return ""
}

// noteOf adds a charge that was written down.
func (m *model) noteOf(id uuid.UUID, c charge) error {
	if code := m.mayCharge(c.customer, c.amount); code != "" {
		return fmt.Errorf("a card of %s was asked for %d, which is %s", c.customer, c.amount, code)
	}
	if o := m.orders[c.order]; c.forOrder && (!o.byCard || !m.awaits(c.order) || c.amount > m.customers[c.customer].automatic) {
		return fmt.Errorf("a card was asked for %d for order %s, which is %s", c.amount, c.order, o.state)
	}
	c.created, c.state, c.events = m.now, payments.ChargeRequested, 1
	m.setCharge(id, c)
	return nil
}

// atAcquirer is what the acquirer has charged to a card.
type atAcquirer struct{ received, refunded ledger.Amount }

// happened takes the next event of a charge.
func (m *model) happened(id uuid.UUID, e payments.ChargeEvent, there atAcquirer) error {
	c := m.charges[id]
	if e.From != c.state {
		return fmt.Errorf("charge %s is %s, and went from %s to %s", id, c.state, e.From, e.To)
	}
	c.state, c.events = e.To, c.events+1
	w := wallet(c.customer)
	add := func(account string, amount ledger.Amount) { m.add(account, amount, 0, 0) }
	var err error
	switch {
	case e.To == payments.ChargeSucceeded && there.received == 0:
		err = fmt.Errorf("charge %s succeeded, and the card was not charged", id)
	case e.From == payments.ChargeSucceeded && e.To == payments.ChargePosted:
		if c.credited || m.customers[c.customer].status != payments.Open || there.received != c.amount || m.fits(payments.AccountCardsToSettle, w, c.amount) != "" {
			err = fmt.Errorf("charge %s of %d was posted: acquirer %+v, %+v", id, c.amount, there, m.accounts[w])
		}
		c.credited = true
		add(payments.AccountCardsToSettle, c.amount)
		add(w, c.amount)
		if c.forOrder {
			err = m.paidByCard(c.order)
		}
	case e.From == payments.ChargeSucceeded && e.To == payments.ChargeRefunding && e.Reason != payments.ReasonMismatch:
		c.apart = c.amount
		add(payments.AccountCardsToSettle, c.amount)
		add(payments.AccountSuspense, c.amount)
	case e.From == payments.ChargePosted && e.To == payments.ChargeRefunding && e.Reason == payments.ReasonRefundedOutside:
		m.take(c.customer, c.amount, payments.AccountSuspense, 1)
		c.apart = c.amount
	case e.From == payments.ChargePosted && e.To == payments.ChargeRefunding:
		if m.accounts[w].available() < c.amount {
			err = fmt.Errorf("charge %s of %d was refunded from %+v", id, c.amount, m.accounts[w])
		}
		add(w, -c.amount)
		add(payments.AccountSuspense, c.amount)
		c.apart = c.amount
	case e.From == payments.ChargeRefunding && e.To == payments.ChargeRefunded:
		if there.refunded == 0 {
			err = fmt.Errorf("charge %s is refunded, and the card has nothing back", id)
		}
		add(payments.AccountSuspense, -c.apart)
		add(payments.AccountCardsToSettle, -c.apart)
		c.apart = 0
	case e.To == payments.ChargeDisputed && e.Reason == payments.ReasonDisputed:
		err = m.chargedBack(&c, e.From, there.received)
	case e.Reason == payments.ReasonDisputeWon:
		m.disputeWon(&c, e.From == payments.ChargeDisputed && e.To == payments.ChargeRefunding)
	}
	m.setCharge(id, c)
	return err
}

// paidByCard is an order that is posted together with its charge.
func (m *model) paidByCard(v version) error {
	o := m.orders[v]
	why := m.forbidden(o)
	if why == "" {
		why = m.tooMuch(o)
	}
	if why == "" && m.fits(wallet(o.payer), o.accountOf(), o.amount) != "" {
		why = "it does not fit"
	}
	if !o.byCard || !m.awaits(v) || why != "" {
		return fmt.Errorf("order %s, which is %s until %s, was paid by a card: %s", v, o.state, written(o.expires), why)
	}
	m.post(v)
	return nil
}

// take takes money that has left for a card from a wallet, and what that lacks from the
// customer's debts. The other side is debit (-1) or credit (1).
func (m *model) take(number string, amount ledger.Amount, to string, sign ledger.Amount) takings {
	there := min(max(m.accounts[wallet(number)].available(), 0), amount)
	m.add(wallet(number), -there, 0, 0)
	m.add(payments.AccountCustomerReceivable, amount-there, 0, 0)
	m.add(to, sign*amount, 0, 0)
	return takings{wallet: there, receivable: amount - there}
}

// chargedBack is a dispute that the acquirer has paid.
func (m *model) chargedBack(c *charge, from payments.ChargeState, amount ledger.Amount) error {
	if c.disputed {
		return fmt.Errorf("a charge of %s was disputed twice", c.customer)
	}
	c.disputed = true
	switch {
	case from == payments.ChargePosted:
		c.taken = m.take(c.customer, amount, payments.AccountCardsToSettle, -1)
	case from == payments.ChargeRefunding && c.apart > 0:
		c.taken.suspense = min(amount, c.apart)
		c.apart -= c.taken.suspense
		m.add(payments.AccountSuspense, -c.taken.suspense, 0, 0)
		m.add(payments.AccountCardsToSettle, -c.taken.suspense, 0, 0)
	case from == payments.ChargeRefunded: // the card has it twice
		c.taken.receivable = amount
		m.add(payments.AccountCustomerReceivable, amount, 0, 0)
		m.add(payments.AccountCardsToSettle, -amount, 0, 0)
	}
	return nil
}

// disputeWon gives back what a dispute took; what a wallet may not hold by now waits in
// suspense.
func (m *model) disputeWon(c *charge, refunding bool) {
	if c.won || !c.disputed { // it was over before anybody heard of it
		c.won = true
		return
	}
	c.won = true
	t := c.taken
	m.add(payments.AccountCardsToSettle, t.wallet+t.receivable+t.suspense, 0, 0)
	m.add(payments.AccountCustomerReceivable, -t.receivable, 0, 0)
	m.add(payments.AccountSuspense, t.suspense, 0, 0)
	if refunding {
		c.apart += t.suspense
	}
	to := wallet(c.customer)
	if a := m.accounts[to]; t.wallet > 0 && a.expected()+t.wallet > a.ceiling {
		to = payments.AccountSuspense
	}
	m.add(to, t.wallet, 0, 0)
}

// adopt takes what became of an order that waits for a card, where no charge says so:
// the wallet had enough by then, or the rules forbid it.
func (m *model) adopt(v version, state payments.State, why string) error {
	o := m.orders[v]
	if o.state == state {
		return nil
	}
	forbidden := m.forbidden(o)
	if forbidden == "" {
		forbidden = m.tooMuch(o)
	}
	switch {
	case state == payments.StatePosted && m.awaits(v) && forbidden == "" && m.fits(wallet(o.payer), o.accountOf(), o.amount) == "":
		m.post(v)
	case state == payments.StateVoided && m.awaits(v) && why == forbidden:
		m.become(v, state, why)
	default:
		return fmt.Errorf("order %s, which was %s and to which the rules say %q, is %s (%s)", v, o.state, forbidden, state, why)
	}
	return nil
}
