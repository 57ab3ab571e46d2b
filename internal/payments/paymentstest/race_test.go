package paymentstest

import (
	"fmt"
	"strings"
	"sync"

	"pgregory.net/rapid"

	"tweetledger/internal/payments"
)

// mostRacers do something at the same moment. All orders in which they may have done it
// are tried, and there are n! of those.
const mostRacers = 4

// race has several processes do things at the same moment, often the same. Their answers
// and the book must be as if they had done them one after the other, in some order.
func (m *machine) race(rt *rapid.T) {
	acts := m.drawRacers(rt)
	if len(acts) < 2 {
		return
	}
	answers := make([]string, len(acts))
	for _, a := range acts {
		m.tell("at once: %s", a.name)
	}
	var group sync.WaitGroup
	for i, a := range acts {
		s := m.nodes[i%len(m.nodes)]
		group.Go(func() { answers[i] = a.do(m.ctx, s) })
	}
	group.Wait()
	m.tell("  → %q", answers)
	before := m.model
	var misses []string
	seen := map[string]bool{}
	before.racers = len(acts)
	for variant := range variants(acts) {
		for _, turn := range turns(len(acts)) {
			after, ok := replay(before, acts, answers, turn, variant)
			if !ok {
				continue
			}
			key := fmt.Sprint(after.view(false))
			if seen[key] {
				continue
			}
			seen[key] = true
			m.model = after
			list := m.compared(rt, false)
			if len(list) == 0 {
				m.compare(rt, false)
				return
			}
			misses = append(misses, strings.Join(list, "\n"))
		}
	}
	m.fail(rt, "no order of these acts explains the answers and the book; the nearest ones miss:\n%s", strings.Join(misses, "\nor\n"))
}

// variants counts the ways to choose a rule for each act.
func variants(acts []act) int {
	n := 1
	for _, a := range acts {
		n *= 1 + len(a.others)
	}
	return n
}

// replay lets the model do the acts in turn, each by the rule that a variant chooses. It
// reports whether the answers fit.
func replay(before *model, acts []act, answers []string, turn []int, variant int) (*model, bool) {
	rules := make([]func(*model) string, len(acts))
	for i, a := range acts {
		choice := variant % (1 + len(a.others))
		variant /= 1 + len(a.others)
		if rules[i] = a.rule; choice > 0 {
			rules[i] = a.others[choice-1]
		}
	}
	m := before.clone()
	for _, i := range turn {
		if rules[i](m) != answers[i] {
			return nil, false
		}
	}
	return m, true
}

// turns returns all orders of n things.
func turns(n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var all [][]int
	for _, rest := range turns(n - 1) {
		for at := range n {
			turn := append([]int{}, rest[:at]...)
			all = append(all, append(append(turn, n-1), rest[at:]...))
		}
	}
	return all
}

// drawRacers draws what is done at once. Whatever makes more than one transaction, and
// is more than one thing by that, is none of it.
func (m *machine) drawRacers(rt *rapid.T) []act {
	var acts []act
	for range rapid.IntRange(2, mostRacers).Draw(rt, "racers") {
		if len(acts) > 0 && dice(rt, "the same", 3) == 2 {
			acts = append(acts, acts[len(acts)-1])
			continue
		}
		if a, ok := m.drawRacer(rt); ok {
			acts = append(acts, a)
		}
	}
	return acts
}

func (m *machine) drawRacer(rt *rapid.T) (act, bool) {
	switch dice(rt, "racer", 13) {
	case 0, 1, 2, 3, 4:
		a, v, byCard, ok := m.drawConfirmation(rt)
		return a, ok && !byCard && !m.orders[v].byCard
	case 5, 6, 7:
		in := m.drawTweet(rt)
		m.perform(rt, m.receiving(in))
		return handling(in.name()), true
	case 8:
		return m.drawCancellation(rt)
	case 9:
		return m.drawReview(rt)
	case 10:
		return m.drawLink(rt)
	case 11:
		return m.drawTopUp(rt)
	}
	if orders, unclaimed := m.due(); orders <= 1 && unclaimed <= 1 && rapid.Bool().Draw(rt, "a sweeper") {
		return m.drawSweep(rt)
	}
	return m.drawStatus(rt)
}

// due counts what a sweeper would find: each is a transaction of its own.
func (m *machine) due() (orders, unclaimed int) {
	for _, o := range m.orders {
		if o.state.Open() && !m.now.Before(o.expires) {
			orders++
		}
	}
	for _, u := range m.unclaimed {
		if u.state == payments.UnclaimedWaiting && !m.now.Before(u.due) {
			unclaimed++
		}
	}
	return orders, unclaimed
}
