package card_test

import (
	"context"
	"flag"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"tweetledger/adapters/card/cardsim"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

// TestStateMachine lets customers charge, authenticate, pay, dispute and be refunded
// while requests, answers and webhooks are lost, repeated and mixed up, and processes
// die wherever they look at the clock. At the end every card that was charged has paid
// into a wallet once, or has its money back, and the book agrees with the acquirer to
// the cent.
func TestStateMachine(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, t.Context(), db, newAcquirers(t), testConfig())
		w.people()
		runs, most := 0, plainRuns
		flag.Visit(func(f *flag.Flag) {
			if f.Name == "rapid.checks" { // somebody has said how many
				most = math.MaxInt
			}
		})
		rapid.Check(t, func(rt *rapid.T) {
			if runs++; runs > most {
				return
			}
			w.t = rt
			m := &machine{world: w}
			m.begin(runs)
			rt.Repeat(map[string]func(*rapid.T){
				"charge":       m.topUp,
				"order":        m.payment,
				"confirm":      m.confirmAgain,
				"authenticate": m.authenticate,
				"dispute":      m.dispute,
				"refund":       m.giveBack,
				"webhooks":     m.webhooks,
				"sweep":        m.look,
				"expire":       func(*rapid.T) { _, _ = m.ExpireOrders(m.ctx, 100) },
				"break":        m.breakLines,
				"wait": func(rt *rapid.T) {
					m.clock.add(time.Duration(rapid.IntRange(1, 400).Draw(rt, "seconds")) * time.Second)
				},
			})
			m.settle(rt)
			m.compare(rt)
		})
	})
}

// plainRuns bounds the runs of a test that nobody has asked for more of: all tests have
// five minutes.
const plainRuns = 12

// machine is one run, with customers and cards of its own: all runs share a book.
type machine struct {
	*world
	payer, payee string // user ids
	number       string // of the payer
	cards        []payments.Card
	orders       []uuid.UUID
	queue        []cardsim.Delivery
	before       map[string]ledger.Amount // what the accounts had
}

func (m *machine) begin(run int) {
	m.payer, m.payee = fmt.Sprintf("71%07d", run), fmt.Sprintf("72%07d", run)
	m.number = m.person(m.payer)
	m.person(m.payee)
	for _, behaviour := range []string{cardsim.BehaviourOK, cardsim.BehaviourChallenge, cardsim.BehaviourProcessing, cardsim.BehaviourFunds, cardsim.BehaviourOther} {
		m.cards = append(m.cards, m.add(m.number, fmt.Sprintf("pm_sim_%s_%d", behaviour, run)))
	}
	m.before = map[string]ledger.Amount{}
	for _, account := range []string{"cards-to-settle", "suspense"} {
		m.before[account] = m.balance(account)
	}
}

// pick draws one of a list; what it is prints too long to be read.
func pick[T any](rt *rapid.T, what string, list []T) T {
	return list[rapid.IntRange(0, len(list)-1).Draw(rt, what)]
}

// dying runs something in a process that may die in the middle.
func (m *machine) dying(rt *rapid.T, fn func(ctx context.Context, s *payments.Service)) {
	s := pick(rt, "process", []*payments.Service{m.Service, m.other})
	ctx, live := m.clock.dieAfter(m.ctx, rapid.IntRange(0, 12).Draw(rt, "looks at the clock until it dies"))
	defer live()
	fn(ctx, s)
}

func (m *machine) topUp(rt *rapid.T) {
	m.next++
	r := payments.ChargeRequest{Key: fmt.Sprintf("sm-%s-%d", m.cards[0].Token, m.next), CustomerNumber: m.number, CardID: pick(rt, "card", m.cards).ID,
		Amount: ledger.Amount(rapid.IntRange(1_00, 90_00).Draw(rt, "amount")), Present: rapid.Bool().Draw(rt, "present"), Actor: "test"}
	for range rapid.IntRange(1, 2).Draw(rt, "times") {
		m.dying(rt, func(ctx context.Context, s *payments.Service) { _, _ = s.ChargeCard(ctx, r) })
	}
}

// payment orders more than the wallet has, or less, and confirms it, perhaps twice.
func (m *machine) payment(rt *rapid.T) {
	pays := pick(rt, "card", m.cards)
	if _, err := m.SetDefaultCard(m.ctx, pays.ID, "test"); err != nil {
		rt.Fatal(err)
	}
	if _, err := m.AllowAutomaticTopUp(m.ctx, pays.ID, 200_00, "test"); err != nil {
		rt.Fatal(err)
	}
	amount := ledger.Amount(rapid.IntRange(1_00, 240_00).Draw(rt, "amount"))
	o := m.orderBy(m.payer, m.payee, amount.Format(ledger.EUR))
	if o.State == payments.StateAwaitingConfirmation {
		m.orders = append(m.orders, o.ID)
	}
	m.confirmAgain(rt)
}

// confirmAgain confirms an order, whatever has become of it.
func (m *machine) confirmAgain(rt *rapid.T) {
	if len(m.orders) == 0 {
		return
	}
	id := pick(rt, "order", m.orders)
	m.dying(rt, func(ctx context.Context, s *payments.Service) {
		_, _ = s.Confirm(ctx, payments.ConfirmRequest{OrderID: id, Code: code, Actor: "page"})
	})
}

func (m *machine) anyCharge(rt *rapid.T) (payments.Charge, bool) {
	all := m.all()
	if len(all) == 0 {
		return payments.Charge{}, false
	}
	return pick(rt, "charge", all), true
}

// all returns the charges of the run's cards.
func (m *machine) all() []payments.Charge {
	var list []payments.Charge
	m.must(m.db.Read(m.ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		list, err = payments.ListCharges(ctx, tx, payments.ChargeFilter{Limit: payments.MaxPage})
		return err
	}))
	return slices.DeleteFunc(list, func(c payments.Charge) bool {
		return !slices.ContainsFunc(m.cards, func(on payments.Card) bool { return on.ID == c.CardID })
	})
}

// payments returns what the acquirer has of the run.
func (m *machine) payments() []cardsim.Payment {
	return slices.DeleteFunc(m.sim.Payments(), func(p cardsim.Payment) bool {
		return !slices.ContainsFunc(m.cards, func(on payments.Card) bool { return on.Token == p.Token })
	})
}

func (m *machine) authenticate(rt *rapid.T) {
	for _, p := range m.payments() {
		if p.Status == "requires_action" && rapid.Bool().Draw(rt, "answer") {
			m.must(m.sim.Authenticate(p.Reference, rapid.IntRange(0, 3).Draw(rt, "refuse") > 0))
		}
	}
}

func (m *machine) dispute(rt *rapid.T) {
	if c, ok := m.anyCharge(rt); ok && c.Reference != "" {
		if err := m.sim.CloseDispute(c.Reference, rapid.Bool().Draw(rt, "won")); err != nil {
			_, _ = m.sim.Dispute(c.Reference)
		}
	}
}

func (m *machine) giveBack(rt *rapid.T) {
	c, ok := m.anyCharge(rt)
	if !ok {
		return
	}
	if c.Reference != "" && rapid.IntRange(0, 4).Draw(rt, "outside") == 0 {
		_ = m.sim.RefundOutside(c.Reference)
		return
	}
	m.dying(rt, func(ctx context.Context, s *payments.Service) { _, _ = s.RefundCharge(ctx, c.ID, "staff", "test") })
}

// webhooks delivers some of what lies ready, in any order, twice, or never.
func (m *machine) webhooks(rt *rapid.T) {
	m.queue = append(m.queue, m.sim.Take()...)
	for range min(len(m.queue), rapid.IntRange(1, 5).Draw(rt, "deliveries")) {
		i := rapid.IntRange(0, len(m.queue)-1).Draw(rt, "delivery")
		for range rapid.IntRange(0, 2).Draw(rt, "times") {
			m.deliver(m.queue[i])
		}
		if rapid.Bool().Draw(rt, "forget") {
			m.queue = slices.Delete(m.queue, i, i+1)
		}
		if len(m.queue) == 0 {
			return
		}
	}
}

func (m *machine) look(rt *rapid.T) {
	m.dying(rt, func(ctx context.Context, s *payments.Service) {
		_, _ = s.SweepCharges(ctx, rapid.IntRange(1, 20).Draw(rt, "limit"))
	})
}

func (m *machine) breakLines(rt *rapid.T) {
	m.sim.Inject(rapid.SliceOfN(rapid.SampledFrom([]cardsim.Fault{cardsim.NoFault, cardsim.LoseRequest, cardsim.LoseAnswer, cardsim.Overload}), 1, 4).Draw(rt, "faults")...)
}

// settle lets everything come to its end: the lines are up, the acquirer delivers until
// it is heard, and the sweepers look for as long as it takes.
func (m *machine) settle(rt *rapid.T) {
	m.sim.Heal()
	const rounds = 50
	for range rounds {
		m.queue = append(m.queue, m.sim.Take()...)
		for _, d := range m.queue {
			m.deliver(d)
		}
		m.queue = nil
		for _, c := range m.all() {
			if c.Reference != "" { // also of what nobody has delivered
				m.must(m.HeardOf(m.ctx, "", c.Reference))
			}
		}
		for _, s := range []*payments.Service{m.Service, m.other} {
			// A refund that is disputed is refused until the dispute is over.
			_, _ = s.SweepCharges(m.ctx, 1000)
		}
		if !m.closeDisputes() && !slices.ContainsFunc(m.all(), func(c payments.Charge) bool { return c.State.Unfinished() || !c.DueAt.IsZero() }) {
			return
		}
		m.clock.add(13 * time.Hour)
	}
	for _, c := range m.all() {
		if c.State.Unfinished() {
			rt.Errorf("charge %s is still %s (%s) after %d looks", c.Key, c.State, c.Reason, c.Attempts)
		}
	}
	rt.FailNow()
}

// closeDisputes ends disputes of what is to be refunded, where one is open: both cannot
// be.
func (m *machine) closeDisputes() (closed bool) {
	for _, c := range m.all() {
		if c.State == payments.ChargeDisputed && c.DisputedFrom == payments.ChargeRefunding && m.sim.CloseDispute(c.Reference, true) == nil {
			closed = true // one that is lost stays so
		}
	}
	return closed
}

// compare holds the book against the acquirer.
func (m *machine) compare(rt *rapid.T) {
	m.verify()
	charges := map[string]payments.Charge{}
	apart := ledger.Amount(0)
	for _, c := range m.all() {
		charges[c.Key] = c
		apart += c.HeldApart
	}
	atAcquirer := ledger.Amount(0)
	seen := map[string]bool{}
	for _, p := range m.payments() {
		if seen[p.Key] {
			rt.Errorf("%s was charged twice", p.Key)
		}
		seen[p.Key] = true
		c, ok := charges[p.Key]
		if !ok {
			rt.Errorf("the acquirer has %s, which nobody wrote down", p.Key)
			continue
		}
		left := ledger.Amount(p.Received - p.Refunded - p.TakenBack)
		atAcquirer += left
		settled := c.State == payments.ChargePosted || c.State == payments.ChargeRefunded || c.State == payments.ChargeDisputed
		switch {
		case p.Received > 0 && !settled:
			rt.Errorf("%s was charged and is %s (%s)", p.Key, c.State, c.Reason)
		case p.Received == 0 && settled:
			rt.Errorf("%s was not charged and is %s (%s)", p.Key, c.State, c.Reason)
		case c.State == payments.ChargePosted && (left != c.Amount || c.TransactionID == uuid.Nil):
			rt.Errorf("%s is posted; the acquirer owes %d of %d for it", p.Key, left, c.Amount)
		case c.State == payments.ChargeRefunded && left > 0:
			rt.Errorf("%s is refunded; the acquirer still has %d", p.Key, left)
		}
	}
	if got := m.balance("cards-to-settle") - m.before["cards-to-settle"]; got != atAcquirer {
		rt.Errorf("the book has %d to be settled, the acquirer %d:\n%s", got, atAcquirer, m.story())
	}
	if got := m.balance("suspense") - m.before["suspense"]; got < apart {
		rt.Errorf("%d stands apart, and %d in suspense", apart, got)
	}
	m.ordersArePaidOnce(rt)
	for _, on := range m.cards {
		if _, err := m.RemoveCard(m.ctx, on.ID, "test", "the run is over"); err != nil {
			rt.Fatal(err)
		}
	}
}

// ordersArePaidOnce holds orders against their charges: a posted charge of an order has
// paid it, and two have not.
func (m *machine) ordersArePaidOnce(rt *rapid.T) {
	paid := map[uuid.UUID]int{}
	for _, c := range m.all() {
		if c.OrderID != uuid.Nil && c.TransactionID != uuid.Nil {
			paid[c.OrderID]++
		}
	}
	for id, times := range paid {
		o, err := m.Order(m.ctx, id)
		m.must(err)
		if o.State != payments.StatePosted || times != 1 {
			rt.Errorf("order %s is %s (%s), and %d charges were made into payments of it", o.ID, o.State, o.Reason, times)
		}
	}
}

// story tells what became of the run's charges.
func (m *machine) story() string {
	var out strings.Builder
	for _, p := range m.payments() {
		fmt.Fprintf(&out, "%+v\n", p)
	}
	for _, c := range m.all() {
		fmt.Fprintf(&out, "%s %s: %d, %d apart\n", c.Key, c.Reference, c.Amount, c.HeldApart)
		m.must(m.db.Read(m.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			events, err := payments.ChargeEvents(ctx, tx, c.ID)
			for _, e := range events {
				fmt.Fprintf(&out, "  %s → %s (%s by %s)\n", e.From, e.To, e.Reason, e.Actor)
			}
			return err
		}))
	}
	return out.String()
}
