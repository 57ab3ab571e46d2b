package paymentstest

import (
	"cmp"
	"fmt"
	"slices"

	"tweetledger/internal/payments"
)

// receive takes a version of a message into the inbox.
func (m *model) receive(v version, author string, c command) string {
	there := false
	for known, in := range m.inbox {
		switch {
		case known.first != v.first:
		case in.author != author && (known.n == v.n || v.n > 0):
			return "refused: invalid" // somebody else's message
		case in.author == author && known.n == v.n:
			there = true
		}
	}
	if !there {
		m.setMessage(v, message{author: author, command: c, received: m.now})
	}
	return "received"
}

// handle does what a message asks for, once.
func (m *model) handle(v version) string {
	in := m.inbox[v]
	if !in.handled {
		in.outcome, in.order, in.ordered = m.decide(v, in)
		in.handled = true
		m.setMessage(v, in)
	}
	return m.became(in)
}

// became is the answer to a message that was handled.
func (m *model) became(in message) string {
	state := payments.State("")
	if in.ordered {
		state = m.orders[in.order].state
	}
	return fmt.Sprintf("%s, order %q", in.outcome, state)
}

func outcome(o payments.Outcome, reason string) string { return fmt.Sprintf("%s (%s)", o, reason) }

func (m *model) decide(v version, in message) (became string, ordered version, any bool) {
	for other, newer := range m.inbox {
		if other.first == v.first && other.n > v.n && newer.author == in.author {
			return outcome(payments.OutcomeSuperseded, payments.ReasonEdited), version{}, false
		}
	}
	var replaced *version
	usurped := false
	for n := range payments.MaxVersion {
		older := version{v.first, n}
		o, ok := m.orders[older]
		switch {
		case !ok:
		case o.author != in.author:
			if v.n == 0 && o.state.Open() {
				m.release(older, payments.StateVoided, payments.ReasonNotAuthor)
			}
			usurped = usurped || o.state == payments.StatePosted // an edit chain pays once
		case o.state == payments.StatePosted:
			return outcome(payments.OutcomeTooLate, payments.ReasonEdited), older, true
		case o.state.Open():
			m.release(older, payments.StateVoided, payments.ReasonEdited)
			replaced = &older
		}
	}
	payer, known := m.links[in.author]
	if _, person := m.customers[payer]; !person {
		known = false
	}
	switch c := in.command; {
	case c.name == payments.CommandPay && c.payee == in.author:
		return outcome(payments.OutcomeRefused, string(payments.RefusedSelf)), version{}, false
	case c.name == payments.CommandPay && !known:
		return outcome(payments.OutcomeRefused, payments.ReasonNotCustomer), version{}, false
	case c.name == payments.CommandPay && usurped:
		return outcome(payments.OutcomeRefused, payments.ReasonUsurped), version{}, false
	case c.name == payments.CommandPay:
		m.order(v, in, payer)
		o := m.orders[v]
		if o.state == payments.StateRejected {
			return outcome(payments.OutcomeRejected, o.reason), v, true
		}
		return outcome(payments.OutcomeOrder, o.reason), v, true
	case c.name == payments.CommandCancel && replaced != nil:
		return outcome(payments.OutcomeAnswered, payments.CommandCancel), *replaced, true
	case c.name == payments.CommandCancel && !known:
		return outcome(payments.OutcomeRefused, payments.ReasonNotCustomer), version{}, false
	case c.name == payments.CommandCancel:
		o := m.orders[c.cancels]
		switch {
		case o.payer != payer:
			return outcome(payments.OutcomeAnswered, payments.ReasonNothingToCancel), version{}, false
		case !o.state.Open():
			return outcome(payments.OutcomeAnswered, payments.ReasonTooLateToCancel), version{}, false
		}
		m.release(c.cancels, payments.StateCancelled, payments.ReasonAsked)
		return outcome(payments.OutcomeAnswered, payments.CommandCancel), c.cancels, true
	}
	return outcome(payments.OutcomeIgnored, string(payments.IgnoredNoMention)), version{}, false
}

// handlePending handles what waits in the inbox, oldest first.
func (m *model) handlePending() string {
	var waiting []version
	for v, in := range m.inbox {
		if !in.handled {
			waiting = append(waiting, v)
		}
	}
	slices.SortFunc(waiting, func(a, b version) int {
		return cmp.Or(m.inbox[a].received.Compare(m.inbox[b].received), cmp.Compare(a.first, b.first), cmp.Compare(a.n, b.n))
	})
	for _, v := range waiting {
		m.handle(v)
	}
	return fmt.Sprintf("handled %d", len(waiting))
}

// forget deletes a message from its channel. What it asked for stays; what of its chain
// was not handled yet is handled first.
func (m *model) forget(v version, author string) string {
	m.changed = true // the deletion is remembered
	if in, ok := m.inbox[v]; ok && (author == "" || in.author == author) {
		for n := range payments.MaxVersion {
			other := version{v.first, n}
			if late, ok := m.inbox[other]; ok && late.author == in.author && !late.handled {
				m.handle(other)
			}
		}
	}
	return "deleted"
}
