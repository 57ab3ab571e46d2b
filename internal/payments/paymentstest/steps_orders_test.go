package paymentstest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
)

// drawOrder draws one of the newest orders, mostly one in a state.
func (m *machine) drawOrder(rt *rapid.T, state payments.State) (version, bool) {
	if len(m.made) == 0 {
		return version{}, false
	}
	var list []version
	for _, v := range m.made[max(0, len(m.made)-200):] {
		if m.orders[v].state == state {
			list = append(list, v)
		}
	}
	if len(list) == 0 || dice(rt, "any order", 8) == 7 {
		return recent(rt, "order", m.made, 30), true
	}
	return recent(rt, string(state), list, 12), true
}

// drawConfirmation draws a try to confirm an order: from the page, or by its id; with
// the right code, a wrong one, or what is none; with a form that was left open, is
// another order's, or was tampered with. byCard: what comes of it the acquirer decides.
func (m *machine) drawConfirmation(rt *rapid.T) (a act, v version, byCard, ok bool) {
	if v, ok = m.drawOrder(rt, payments.StateAwaitingConfirmation); !ok {
		return a, v, false, false
	}
	o := m.orders[v]
	payer := m.customers[o.payer]
	r := payments.ConfirmRequest{OrderID: o.id, Code: payer.code, Actor: actor}
	form := noPage
	if p, open := m.pages[v]; open && rapid.Bool().Draw(rt, "from the page") {
		form = goodPage
		r.OrderID, r.Token, r.Stamp = uuid.Nil, p.token, p.stamp
		switch others := m.otherPages(v); dice(rt, "form", 8) {
		case 0:
			r.Stamp, form = strings.Map(otherLetter, p.stamp), badPage
		case 1:
			if len(others) > 0 {
				r.Stamp, form = m.pages[pick(rt, "another order's form", others)].stamp, badPage
			}
		}
		if m.now.Sub(p.at) > m.config.PageIdle {
			form = badPage
		}
	}
	name := fmt.Sprintf("confirm %s, form %d", v, form)
	switch dice(rt, "code", 12) {
	case 9:
		r.Code = pick(rt, "no code", []string{"", "12345", "1234567", "12345a", "١٢٣٤٥٦"})
		return m.confirming(r, name+" with no code", func(*model) string { return "refused: invalid" }), v, false, true
	case 8:
		r.Code = wrongCode
		name += " with a wrong code"
	}
	right := r.Code == payer.code
	byCard = o.byCard && m.awaits(v) && right && form != badPage && payer.failures < m.config.SecretTries
	rule := func(late bool) func(*model) string {
		return func(m *model) string { return m.confirm(v, form, r.Code, late) }
	}
	crowded := func(m *model) string { return m.crowded(v, form) }
	return m.confirming(r, name, rule(false), rule(true), crowded), v, byCard, true
}

func (m *machine) confirming(r payments.ConfirmRequest, name string, rule func(*model) string, others ...func(*model) string) act {
	return act{name: name, rule: rule, others: others, do: func(ctx context.Context, s *payments.Service) string {
		o, err := s.Confirm(ctx, r)
		if err != nil {
			return refused(err)
		}
		return string(o.State)
	}}
}

// otherLetter changes a form without making it another length.
func otherLetter(r rune) rune {
	if r == 'A' {
		return 'B'
	}
	return 'A'
}

// otherPages returns whose pages are open beside an order's, in a fixed order.
func (m *machine) otherPages(v version) []version {
	list := slices.SortedFunc(maps.Keys(m.pages), compareVersions)
	return slices.DeleteFunc(list, func(other version) bool { return other == v })
}

func (m *machine) confirmOne(rt *rapid.T) {
	a, v, byCard, ok := m.drawConfirmation(rt)
	switch {
	case !ok:
	case byCard:
		m.confirmByCard(rt, a, v)
	default:
		m.perform(rt, a)
	}
}

// openPages has payers open the pages that they were called to, and again those that
// they had open. It is rare that somebody has many of them open.
func (m *machine) openPages(rt *rapid.T) {
	m.tell("open pages")
	m.must(rt, m.send(m.node(rt)))
	for _, token := range m.newTokens() {
		m.open(rt, token)
	}
	if list := slices.SortedFunc(maps.Keys(m.pages), compareVersions); len(list) > 0 {
		m.open(rt, m.pages[recent(rt, "page", list, 10)].token)
	}
	m.compare(rt, false)
}

func (m *machine) open(rt *rapid.T, token string) {
	p, err := m.node(rt).Confirmation(m.ctx, token)
	m.must(rt, err)
	v, mine := m.ids[p.OrderID]
	if !mine {
		return
	}
	o := m.orders[v]
	want := o.state
	if o.state == payments.StateAwaitingConfirmation && !m.awaits(v) {
		want = payments.StateExpired
	}
	if p.Amount != o.amount || p.State != want {
		m.fail(rt, "the page of order %s shows %d and %s; the order is over %d and %s", v, p.Amount, p.State, o.amount, want)
	}
	m.pages[v] = shown{token: token, stamp: p.Stamp, at: m.now}
}

func (m *machine) drawCancellation(rt *rapid.T) (act, bool) {
	v, ok := m.drawOrder(rt, payments.StateAwaitingConfirmation)
	id := m.orders[v].id
	return act{name: "cancel " + v.String(), do: func(ctx context.Context, s *payments.Service) string {
		if _, err := s.Cancel(ctx, id, actor, reason); err != nil {
			return refused(err)
		}
		return "cancelled"
	}, rule: func(m *model) string { return m.cancel(v) }}, ok
}

func (m *machine) drawReview(rt *rapid.T) (act, bool) {
	v, ok := m.drawOrder(rt, payments.StateUnderReview)
	letGo := dice(rt, "let it go on", 4) > 0
	id := m.orders[v].id
	return act{name: fmt.Sprintf("review %s: %v", v, letGo), do: func(ctx context.Context, s *payments.Service) string {
		decide := s.RejectReviewed
		if letGo {
			decide = s.Release
		}
		o, err := decide(ctx, id, actor, reason)
		if err != nil {
			return refused(err)
		}
		return string(o.State)
	}, rule: func(m *model) string { return m.review(v, letGo) }}, ok
}

// performDrawn performs what was drawn, where there was something to draw.
func (m *machine) performDrawn(rt *rapid.T, draw func(*rapid.T) (act, bool)) {
	if a, ok := draw(rt); ok {
		m.perform(rt, a)
	}
}

func (m *machine) cancelOne(rt *rapid.T) { m.performDrawn(rt, m.drawCancellation) }
func (m *machine) reviewOne(rt *rapid.T) { m.performDrawn(rt, m.drawReview) }
func (m *machine) sweep(rt *rapid.T)     { m.performDrawn(rt, m.drawSweep) }

// drawSweep draws one of the sweepers.
func (m *machine) drawSweep(rt *rapid.T) (act, bool) {
	swept := func(answer string, work func(context.Context, *payments.Service) (int, error)) func(context.Context, *payments.Service) string {
		return func(ctx context.Context, s *payments.Service) string {
			if _, err := work(ctx, s); err != nil {
				return refused(err)
			}
			return answer
		}
	}
	return pick(rt, "sweeper", []act{
		{name: "expire orders", rule: (*model).expire, do: swept("expired", func(ctx context.Context, s *payments.Service) (int, error) {
			return s.ExpireOrders(ctx, payments.MaxPage)
		})},
		{name: "attend to unclaimed payments", rule: (*model).sweepUnclaimed, do: swept("swept", func(ctx context.Context, s *payments.Service) (int, error) {
			return s.SweepUnclaimed(ctx, payments.MaxPage)
		})},
		{name: "expire holds", rule: (*model).expireHolds, do: swept("released", func(ctx context.Context, s *payments.Service) (int, error) {
			return s.Engine().ExpireHolds(ctx, payments.MaxPage)
		})},
		{name: "expire enrolments", rule: (*model).expireEnrolments, do: swept("expired", func(ctx context.Context, s *payments.Service) (int, error) {
			return s.ExpireEnrolments(ctx, payments.MaxPage)
		})},
		{name: "purge texts", rule: func(*model) string { return "purged" }, do: swept("purged", func(ctx context.Context, s *payments.Service) (int, error) {
			return s.PurgeTexts(ctx, payments.MaxPage)
		})},
		{name: "forget deletions", rule: func(*model) string { return "forgotten" }, do: swept("forgotten", func(ctx context.Context, s *payments.Service) (int, error) {
			return s.PurgeDeletions(ctx, payments.MaxPage)
		})},
	}), true
}

// deliverAll has the outbox sent, by a gateway that may be away.
func (m *machine) deliverAll(rt *rapid.T) {
	m.tell("deliver")
	m.sink.fails = dice(rt, "lost attempts", 4)
	m.must(rt, m.send(m.node(rt)))
	m.sink.fails = 0
	m.compare(rt, false)
}

// repeat plays again what has come: messages, confirmations and webhooks of any time.
func (m *machine) repeat(rt *rapid.T) {
	if len(m.said) == 0 {
		return
	}
	from := rapid.IntRange(0, len(m.said)-1).Draw(rt, "from")
	m.playAgain(rt, from, min(from+15, len(m.said)), 10)
}

// playAgain plays the messages from one to another again, and as many of the newest
// orders' confirmations and of the newest webhooks: nothing may change.
func (m *machine) playAgain(rt *rapid.T, from, to, most int) {
	m.tell("play messages %d to %d again", from, to)
	before := m.digest(rt)
	for _, in := range m.said[from:to] {
		s := m.node(rt)
		received, err := s.Receive(m.ctx, in.Message)
		if err == nil && m.inbox[in.name()].handled {
			_, err = s.Handle(m.ctx, received.ID)
		}
		if err != nil && refused(err) != "refused: invalid" {
			m.fail(rt, "%s again: %v", in.describe(), err)
		}
	}
	for _, v := range m.made[max(0, len(m.made)-most):] {
		o := m.orders[v]
		if o.state.Open() {
			continue
		}
		_, err := m.node(rt).Confirm(m.ctx, payments.ConfirmRequest{OrderID: o.id, Code: m.customers[o.payer].code, Actor: actor})
		if refused(err) != "refused: conflict" {
			m.fail(rt, "order %s, which is %s, is confirmed again: %v", v, o.state, err)
		}
	}
	for _, d := range m.heard[max(0, len(m.heard)-most):] {
		m.post(d)
	}
	m.unchanged(rt, "what was played again", before)
}

// check compares all of the book, and plays some of what has happened again.
func (m *machine) check(rt *rapid.T, most int) {
	m.compare(rt, true)
	before := m.contents(rt)
	m.playAgain(rt, max(0, len(m.said)-most), len(m.said), most)
	if list := differences(before, m.contents(rt)); len(list) > 0 {
		m.fail(rt, "what was played again has changed:\n%s", strings.Join(list, "\n"))
	}
	m.must(rt, m.db.Read(m.ctx, properties))
}

func (m *machine) contents(rt *rapid.T) (v view) {
	m.must(rt, m.db.Read(m.ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		v, err = contents(ctx, tx)
		return err
	}))
	return v
}

// finish ends a run: whatever is on its way comes to its end, everything is played
// again, and the book is proven.
func (m *machine) finish(rt *rapid.T) {
	m.settle(rt)
	m.check(rt, len(m.said)+len(m.made)+len(m.heard))
	m.compareAcquirer(rt)
	m.must(rt, m.db.Read(m.ctx, func(ctx context.Context, tx *sqldb.Tx) error { return paidTooMuch(ctx, tx, rules()) }))
	report, err := m.engine.Verify(m.ctx, nil)
	m.must(rt, err)
	if !report.OK() {
		m.fail(rt, "the book does not verify: %v", report.Differences)
	}
}
