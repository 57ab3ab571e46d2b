package paymentstest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"tweetledger/adapters/card/cardsim"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// dealCards gives a customer cards of every kind.
func (m *machine) dealCards(rt *rapid.T, number string) {
	for _, behaviour := range []string{cardsim.BehaviourOK, cardsim.BehaviourChallenge, cardsim.BehaviourProcessing, cardsim.BehaviourFunds, cardsim.BehaviourOther} {
		card, err := m.nodes[0].AddCard(m.ctx, number, fmt.Sprintf("pm_sim_%s_%d", behaviour, m.serial()), actor)
		m.must(rt, err)
		m.cards, m.owners[card.ID] = append(m.cards, card), number
	}
	m.allow(rt, m.cards[len(m.cards)-5], 250_00)
}

// allow lets a card pay what is missing in its owner's payments.
func (m *machine) allow(rt *rapid.T, card payments.Card, most ledger.Amount) {
	s := m.node(rt)
	_, err := s.SetDefaultCard(m.ctx, card.ID, actor)
	m.must(rt, err)
	_, err = s.AllowAutomaticTopUp(m.ctx, card.ID, most, actor)
	m.must(rt, err)
	c := m.customers[m.owners[card.ID]]
	c.card, c.automatic = card.ID, most
	m.setCustomer(m.owners[card.ID], c)
}

// dying runs something in a process that may die in the middle, and reports whether it
// was left alone.
func (m *machine) dying(rt *rapid.T, fn func(ctx context.Context, s *payments.Service)) (lived bool) {
	looks := max(0, rapid.IntRange(-10, 10).Draw(rt, "looks at the clock until it dies"))
	ctx, live := m.clock.dieAfter(m.ctx, looks)
	defer live()
	fn(ctx, m.node(rt))
	return looks == 0
}

// chargeOne charges a card for its owner's wallet, anew or under a key that was used,
// or changes what a card may pay.
func (m *machine) chargeOne(rt *rapid.T) {
	card := pick(rt, "card", m.cards)
	if dice(rt, "allow", 5) == 4 {
		most := pick(rt, "at most", []ledger.Amount{0, 50_00, 250_00, 500_00})
		m.tell("card %s of %s may pay up to %d", card.Token, m.owners[card.ID], most)
		m.allow(rt, card, most)
		m.compare(rt, false)
		return
	}
	number := m.owners[card.ID]
	r := payments.ChargeRequest{Key: fmt.Sprintf("sm-%d", m.serial()), CustomerNumber: number, CardID: card.ID, Actor: actor, Present: rapid.Bool().Draw(rt, "present"),
		Amount: pick(rt, "amount", []ledger.Amount{50, 1_00, 20_00, 60_00, 120_00, 499_00, 500_00, 500_01})}
	forbidden := m.mayTopUp(number, r.Amount)
	if len(m.topped) > 0 && dice(rt, "again", 5) == 4 {
		r, forbidden = recent(rt, "before", m.topped, 10), ""
	}
	m.tell("charge %s of %s: %d (%s)", card.Token, number, r.Amount, r.Key)
	before := m.digest(rt)
	lived := m.dying(rt, func(ctx context.Context, s *payments.Service) {
		c, err := s.ChargeCard(ctx, r)
		m.tell("  → %s %v", c.State, err)
		switch {
		case forbidden != "" && err == nil:
			m.fail(rt, "a charge of %d for %s, which is %s, was made", r.Amount, number, forbidden)
		case err == nil:
			m.topped = append(m.topped, r)
		}
	})
	if forbidden != "" && lived {
		m.unchanged(rt, "a charge that was refused", before)
	}
	m.observe(rt)
}

// confirmByCard confirms an order that a card pays. What comes of it is the acquirer's
// to say.
func (m *machine) confirmByCard(rt *rapid.T, a act, v version) {
	m.tell("%s, by card", a.name)
	o := m.orders[v]
	failures := m.customers[o.payer].failures
	m.dying(rt, func(ctx context.Context, s *payments.Service) { m.tell("  → %s", a.do(ctx, s)) })
	m.observeCharges(rt)
	var now payments.Order
	var payer payments.Customer
	m.must(rt, m.db.Read(m.ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		if now, err = payments.FindOrder(ctx, tx, o.id); err == nil {
			payer, err = payments.FindCustomer(ctx, tx, o.payer)
		}
		return err
	}))
	m.must(rt, m.adopt(v, now.State, now.Reason))
	if n := payer.SecretFailures; n != 0 && n != failures && n != failures+1 {
		m.fail(rt, "a right code of %s after %d tries left %d", o.payer, failures, n)
	}
	c := m.customers[o.payer]
	c.failures = payer.SecretFailures
	m.setCustomer(o.payer, c)
	m.compare(rt, false)
}

// observe takes what happened to charges, and compares.
func (m *machine) observe(rt *rapid.T) {
	m.observeCharges(rt)
	m.compare(rt, false)
}

// observeCharges tells the model what happened to the run's charges in this step.
func (m *machine) observeCharges(rt *rapid.T) {
	type news struct {
		payments.Charge
		events []payments.ChargeEvent
	}
	var list []news
	m.must(rt, m.db.Read(m.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		list = nil
		ids, err := sqldb.Collect(ctx, tx, "SELECT id FROM charges WHERE changed_at >= $1 ORDER BY created_at, id", []any{m.now}, func(rows *sqldb.Rows) (id uuid.UUID, err error) {
			err = rows.Scan(&id)
			return id, err
		})
		for _, id := range ids {
			if err != nil {
				return err
			}
			var n news
			if n.Charge, err = payments.FindCharge(ctx, tx, id); err == nil {
				n.events, err = payments.ChargeEvents(ctx, tx, id)
			}
			if _, mine := m.owners[n.CardID]; mine {
				list = append(list, n)
			}
		}
		return err
	}))
	if len(list) == 0 {
		return
	}
	there := map[string]atAcquirer{}
	for _, p := range m.sim.Payments() {
		there[p.Key] = atAcquirer{ledger.Amount(p.Received), ledger.Amount(p.Refunded)}
	}
	for _, n := range list {
		if _, known := m.charges[n.ID]; !known {
			v, forOrder := m.ids[n.OrderID]
			m.must(rt, m.noteOf(n.ID, charge{customer: m.owners[n.CardID], order: v, forOrder: forOrder, amount: n.Amount}))
		}
		for _, e := range n.events[m.charges[n.ID].events:] {
			m.tell("  charge %s: %s → %s (%s)", n.Key, e.From, e.To, e.Reason)
			m.must(rt, m.happened(n.ID, e, there[n.Key]))
		}
		if c := m.charges[n.ID]; c.state != n.State || c.apart != n.HeldApart {
			m.fail(rt, "charge %s is %s with %d apart in the book, and %s with %d in the model", n.Key, n.State, n.HeldApart, c.state, c.apart)
		}
	}
}

// atSim returns what the acquirer has of the run's cards.
func (m *machine) atSim() []cardsim.Payment {
	return slices.DeleteFunc(m.sim.Payments(), func(p cardsim.Payment) bool {
		return !slices.ContainsFunc(m.cards, func(on payments.Card) bool { return on.Token == p.Token })
	})
}

func (m *machine) authenticate(rt *rapid.T) {
	for _, p := range m.atSim() {
		if p.Status == "requires_action" && rapid.Bool().Draw(rt, "answer") {
			m.tell("the cardholder of %s answers", p.Reference)
			m.must(rt, m.sim.Authenticate(p.Reference, dice(rt, "refuse", 4) > 0))
		}
	}
}

// disputeOne opens or closes a dispute; each payment is disputed once at most.
func (m *machine) disputeOne(rt *rapid.T) {
	all := m.atSim()
	if len(all) == 0 {
		return
	}
	p := recent(rt, "payment", all, 10)
	if m.refs[p.Reference] {
		won := rapid.Bool().Draw(rt, "won")
		m.tell("the dispute of %s ends: %v, %v", p.Reference, won, m.sim.CloseDispute(p.Reference, won))
		return
	}
	if _, err := m.sim.Dispute(p.Reference); err == nil {
		m.tell("%s is disputed", p.Reference)
		m.refs[p.Reference] = true
	}
}

// refundOne gives a charge back, by staff or on the acquirer's own pages.
func (m *machine) refundOne(rt *rapid.T) {
	all := m.atSim()
	if len(all) == 0 {
		return
	}
	p := recent(rt, "payment", all, 10)
	if dice(rt, "outside", 4) == 0 {
		m.tell("%s is refunded outside: %v", p.Reference, m.sim.RefundOutside(p.Reference))
		return
	}
	for id := range m.charges {
		c, err := m.nodes[0].Charge(m.ctx, id)
		m.must(rt, err)
		if c.Key == p.Key {
			m.tell("refund %s", p.Key)
			m.dying(rt, func(ctx context.Context, s *payments.Service) { _, _ = s.RefundCharge(ctx, id, actor, reason) })
			m.observe(rt)
			return
		}
	}
}

// webhooks delivers some of what lies ready, in any order, twice, or never.
func (m *machine) webhooks(rt *rapid.T) {
	m.queue = append(m.queue, m.sim.Take()...)
	for range min(len(m.queue), rapid.IntRange(1, 5).Draw(rt, "deliveries")) {
		i := rapid.IntRange(0, len(m.queue)-1).Draw(rt, "delivery")
		d := m.queue[i]
		for range dice(rt, "times", 3) {
			m.post(d)
			m.heard = append(m.heard, d)
		}
		if rapid.Bool().Draw(rt, "forget") {
			m.queue = slices.Delete(m.queue, i, i+1)
		}
		if len(m.queue) == 0 {
			return
		}
	}
}

// sweepCharges has processes look at charges that are due, one after the other: so it
// is known in which order things happened.
func (m *machine) sweepCharges(rt *rapid.T) {
	for range rapid.IntRange(1, 4).Draw(rt, "charges") {
		m.tell("look at a charge")
		m.dying(rt, func(ctx context.Context, s *payments.Service) { _, _ = s.SweepCharges(ctx, 1) })
		m.observe(rt)
	}
}

func (m *machine) breakLines(rt *rapid.T) {
	m.sim.Inject(rapid.SliceOfN(rapid.SampledFrom([]cardsim.Fault{cardsim.NoFault, cardsim.LoseRequest, cardsim.LoseAnswer, cardsim.Overload}), 1, 4).Draw(rt, "faults")...)
}

// settle lets what is on its way come to its end: the lines are up, the acquirer
// delivers until it is heard, and the sweepers look for as long as it takes.
func (m *machine) settle(rt *rapid.T) {
	m.sim.Heal()
	const rounds = 50
	for range rounds {
		m.queue = append(m.queue, m.sim.Take()...)
		for _, d := range m.queue {
			m.post(d)
			m.heard = append(m.heard, d)
		}
		m.queue = nil
		for _, p := range m.atSim() { // also of what nobody has delivered
			_ = m.nodes[0].HeardOf(m.ctx, p.Key, p.Reference)
		}
		for looked := 1; looked > 0; {
			m.advance(time.Millisecond)
			looked, _ = m.nodes[0].SweepCharges(m.ctx, 1)
			m.observe(rt)
		}
		if !m.closeDisputes() && !slices.ContainsFunc(m.openCharges(), func(c charge) bool { return true }) {
			return
		}
		m.advance(13 * time.Hour)
	}
	m.fail(rt, "charges wait for ever: %+v", m.openCharges())
}

func (m *machine) openCharges() []charge {
	var open []charge
	for _, c := range m.charges {
		switch c.state {
		case payments.ChargeRequested, payments.ChargeChallenged, payments.ChargeSucceeded, payments.ChargeRefunding:
			open = append(open, c)
		}
	}
	return open
}

// closeDisputes ends the disputes that are open: what is to be refunded waits for them.
func (m *machine) closeDisputes() (closed bool) {
	for reference := range m.refs {
		closed = m.sim.CloseDispute(reference, true) == nil || closed
	}
	return closed
}

// compareAcquirer holds the book's charges against what the acquirer has: each card that
// was charged has paid into a wallet once, or has its money back, to the cent.
func (m *machine) compareAcquirer(rt *rapid.T) {
	book := map[string]payments.Charge{}
	for id := range m.charges {
		c, err := m.nodes[0].Charge(m.ctx, id)
		m.must(rt, err)
		book[c.Key] = c
	}
	booked := ledger.Amount(0)
	for _, t := range m.topUps {
		booked += t.amount
	}
	left := ledger.Amount(0)
	seen := map[string]bool{}
	for _, p := range m.atSim() {
		c, ok := book[p.Key]
		there := ledger.Amount(p.Received - p.Refunded - p.TakenBack)
		left += there
		settled := c.State == payments.ChargePosted || c.State == payments.ChargeRefunded || c.State == payments.ChargeDisputed
		if !ok || seen[p.Key] || (p.Received > 0) != settled || (c.State == payments.ChargePosted && there != c.Amount) || (c.State == payments.ChargeRefunded && there > 0) {
			m.fail(rt, "the acquirer has %+v, the book %s %s (%s) over %d", p, c.Key, c.State, c.Reason, c.Amount)
		}
		seen[p.Key] = true
	}
	if got := m.accounts[payments.AccountCardsToSettle].posted - booked; got != left {
		m.fail(rt, "the book has %d to be settled by cards, the acquirer %d", got, left)
	}
}
