package paymentstest

import (
	"time"

	"tweetledger/internal/payments"
)

// unclaimed is money for somebody who was no customer when it was confirmed.
type unclaimed struct {
	order
	state    payments.UnclaimedState
	reason   string
	due      time.Time
	expires  time.Time
	since    time.Time
	reminded bool
	by       string // customer who claimed it
}

// retry is how long what does not fit waits: claimRetry of the service.
const retry = time.Hour

// mostClaims is how much moves on with a link at once; the sweeper does the rest.
const mostClaims = 20

// keep lets a payment wait for its payee, who may have been linked meanwhile.
func (m *model) keep(v version) {
	o := m.orders[v]
	u := unclaimed{order: o, state: payments.UnclaimedWaiting, expires: m.now.Add(m.config.UnclaimedTerm), since: m.now}
	u.due = u.expires.Add(-m.config.UnclaimedReminder)
	m.setUnclaimed(v, u)
	if party, ok := m.links[o.payeeUser]; ok {
		m.moveOn(v, party)
	}
}

// putOff has a payment wait for a reason.
func (m *model) putOff(v version, why string, until time.Time) {
	u := m.unclaimed[v]
	u.reason, u.due = why, until
	m.setUnclaimed(v, u)
}

// moveOn gives a payment to the customer that its payee's account is linked to.
func (m *model) moveOn(v version, party string) {
	u := m.unclaimed[v]
	later := m.now.Add(retry)
	if u.expires.Before(later) {
		later = u.expires
	}
	if _, person := m.customers[party]; !person {
		m.putOff(v, payments.ReasonPayeeNotPerson, later)
		return
	}
	as := u.order
	as.kind, as.payee = payments.Person, party
	if why := m.forbidden(as); why != "" {
		m.putOff(v, why, later)
		return
	}
	if m.full(as) {
		m.putOff(v, payments.ReasonPayeeCeiling, later)
		return
	}
	u.by = party
	m.end(v, u, payments.UnclaimedClaimed, payments.ReasonClaimed, wallet(party))
}

func (m *model) end(v version, u unclaimed, state payments.UnclaimedState, why, to string) {
	m.add(payments.AccountUnclaimed, -u.amount, 0, 0)
	m.add(to, u.amount, 0, 0)
	u.state, u.reason = state, why
	m.setUnclaimed(v, u)
}

// waiting returns the payments that wait and are so, in the order of an instant.
func (m *model) waiting(is func(unclaimed) bool, at func(unclaimed) time.Time) []version {
	return m.sortedOrders(func(v version, _ order) bool {
		u, ok := m.unclaimed[v]
		return ok && u.state == payments.UnclaimedWaiting && is(u)
	}, func(v version) time.Time { return at(m.unclaimed[v]) })
}

// claim moves on what waits for an account that was linked just now.
func (m *model) claim(user string) {
	waiting := m.waiting(func(u unclaimed) bool { return u.payeeUser == user }, func(u unclaimed) time.Time { return u.since })
	for i, v := range waiting {
		if i < mostClaims {
			m.attend(v)
		}
	}
	if len(waiting) <= mostClaims {
		return
	}
	for _, v := range waiting {
		if u := m.unclaimed[v]; u.state == payments.UnclaimedWaiting && u.reason == "" {
			m.putOff(v, "", m.now)
		}
	}
}

// attend does what is to be done for a payment that waits.
func (m *model) attend(v version) {
	u := m.unclaimed[v]
	party, linked := m.links[u.payeeUser]
	remindAt := u.expires.Add(-m.config.UnclaimedReminder)
	switch {
	case !m.now.Before(u.expires):
		as := u.order
		as.kind, as.payee = payments.Person, u.payer
		if m.full(as) {
			m.putOff(v, payments.ReasonPayerCeiling, m.now.Add(retry))
			return
		}
		m.end(v, u, payments.UnclaimedReturned, payments.ReasonTermOver, wallet(u.payer))
	case linked:
		m.moveOn(v, party)
	case !u.reminded && !m.now.Before(remindAt):
		u.reminded, u.reason, u.due = true, "", u.expires
		m.setUnclaimed(v, u)
	case !u.reminded:
		m.putOff(v, "", remindAt)
	default:
		m.putOff(v, "", u.expires)
	}
}

func (m *model) sweepUnclaimed() string {
	due := m.waiting(func(u unclaimed) bool { return !m.now.Before(u.due) }, func(u unclaimed) time.Time { return u.due })
	for _, v := range due {
		m.attend(v)
	}
	return "swept"
}
