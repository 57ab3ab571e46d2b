package paymentstest

import (
	"fmt"
	"strings"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// enrolment is somebody who becomes a customer.
type enrolment struct {
	phone   string
	state   payments.EnrolmentState
	reason  string
	expires time.Time
}

func (e enrolment) proven() bool {
	return e.state == payments.EnrolmentPhoneVerified || e.state == payments.EnrolmentEnrolled
}

// oneTimeCode is one that was sent, to enrol or to prove a customer's number.
type oneTimeCode struct {
	subject string // name of the enrolment, or number of the customer
	phone   string
	sent    time.Time
	tries   int
	closed  bool
	guessed bool // until it ended
}

func (m *model) setEnrolment(name string, e enrolment) { m.enrolments[name], m.changed = e, true }

// link says who a user id is.
func (m *model) link(user, party string) string {
	switch before, linked := m.links[user]; {
	case linked && before != party:
		return "refused: conflict"
	case linked:
		return "linked"
	}
	m.links[user], m.changed = party, true
	if _, person := m.customers[party]; person {
		m.claim(user)
	}
	return "linked"
}

func (m *model) unlink(user, number string) string {
	if m.links[user] != number {
		return "refused: not_found"
	}
	delete(m.links, user)
	m.changed = true
	return "unlinked"
}

// setStatus blocks a customer, lifts that, or closes the account, which it does at zero.
func (m *model) setStatus(number string, to payments.Status) string {
	c := m.customers[number]
	switch c.status {
	case to:
		return string(to)
	case payments.Closed:
		return "refused: conflict"
	}
	if to == payments.Closed {
		w := m.accounts[wallet(number)]
		if w.posted != 0 || w.out != 0 || w.in != 0 {
			return "refused: conflict"
		}
		for _, u := range m.unclaimed {
			if u.payer == number && u.state == payments.UnclaimedWaiting {
				return "refused: conflict"
			}
		}
		m.endCodes(number)
	}
	c.status = to
	m.setCustomer(number, c)
	return string(to)
}

func (m *model) setPayeeStatus(code string, to payments.Status) string {
	p := m.payees[code]
	if p.status != to {
		p.status = to
		m.setPayee(code, p)
	}
	return string(to)
}

// topUp books a charge that the acquirer has collected, once.
func (m *model) topUp(number string, amount ledger.Amount, reference string) string {
	before, again := m.topUps[reference]
	switch {
	case m.customers[number].status == payments.Closed:
		return "refused: account_closed"
	case again && before != topUp{number, amount}:
		return "refused: conflict"
	case again:
		return "topped up"
	case m.fits(payments.AccountCardsToSettle, wallet(number), amount) != "":
		return "refused: limit_exceeded"
	}
	m.topUps[reference] = topUp{number, amount}
	m.add(payments.AccountCardsToSettle, amount, 0, 0)
	m.add(wallet(number), amount, 0, 0)
	return "topped up"
}

func (m *model) setCode(number, code string) string {
	c := m.customers[number]
	switch {
	case c.status == payments.Closed:
		return "refused: conflict"
	case strings.Count(code, code[:1]) == len(code): // easy to guess
		return "refused: invalid"
	}
	c.code, c.failures = code, 0
	m.setCustomer(number, c)
	return "set"
}

func (m *model) unblockCode(number string) string {
	if c := m.customers[number]; c.failures > 0 {
		c.failures = 0
		m.setCustomer(number, c)
	}
	return "unblocked"
}

func (m *model) knownPhone(phone, except string) bool {
	for number, c := range m.customers {
		if c.phone == phone && c.status != payments.Closed && number != except {
			return true
		}
	}
	return false
}

// correctPhone is staff's: the new number is to be proven.
func (m *model) correctPhone(number, phone string) string {
	c := m.customers[number]
	switch {
	case c.status == payments.Closed:
		return "refused: conflict"
	case c.phone == phone:
		return "corrected"
	case m.knownPhone(phone, number):
		return "refused: conflict"
	}
	m.endCodes(number)
	c.phone, c.proven = phone, false
	m.setCustomer(number, c)
	return "corrected"
}

// sendCode sends a one-time code, unless the number has had enough.
func (m *model) sendCode(subject, phone string) string {
	hour, today := 0, 0
	for _, c := range m.codes {
		if c.phone == phone && c.sent.After(m.now.Add(-day)) {
			today++
			if c.sent.After(m.now.Add(-time.Hour)) {
				hour++
			}
		}
	}
	if hour >= m.config.Enrolment.CodesHour || today >= m.config.Enrolment.CodesDay {
		return "refused: limit_exceeded"
	}
	m.endCodes(subject)
	m.codes[len(m.codes)], m.changed = oneTimeCode{subject: subject, phone: phone, sent: m.now}, true
	return "sent"
}

func (m *model) endCodes(subject string) {
	for i, c := range m.codes {
		if c.subject == subject && !c.closed {
			c.closed = true
			m.codes[i], m.changed = c, true
		}
	}
}

// tryCode compares a one-time code with the one that its subject has.
func (m *model) tryCode(subject string, right bool) (used int, ok bool) {
	for i, c := range m.codes {
		if c.subject != subject || c.closed || !m.now.Before(c.sent.Add(m.config.Enrolment.CodeTerm)) || c.tries >= m.config.Enrolment.CodeTries {
			continue
		}
		c.tries++
		if !right && c.tries == m.config.Enrolment.CodeTries {
			c.closed, c.guessed = true, true
		}
		m.codes[i], m.changed = c, true
		return i, right
	}
	return 0, false
}

func (m *model) use(code int) {
	c := m.codes[code]
	c.closed = true
	m.codes[code], m.changed = c, true
}

func (m *model) sendVerification(number string) string {
	c := m.customers[number]
	if c.status == payments.Closed {
		return "refused: conflict"
	}
	return m.sendCode(number, c.phone)
}

func (m *model) verifyPhone(number string, right bool) string {
	code, ok := m.tryCode(number, right)
	if !ok {
		return "refused: forbidden"
	}
	m.use(code)
	c := m.customers[number]
	c.proven, c.failures = true, 0
	m.setCustomer(number, c)
	return "proven"
}

// enrol begins an enrolment; one of the same number that has proven nothing ends.
func (m *model) enrol(name, phone string) string {
	e := enrolment{phone: phone, state: payments.EnrolmentStarted, reason: payments.ReasonAskedToEnrol, expires: m.now.Add(m.config.Enrolment.Term)}
	if m.knownPhone(phone, "") {
		e.state, e.reason = payments.EnrolmentRefused, payments.ReasonAlreadyCustomer
	}
	if answer := m.sendCode(name, phone); answer != "sent" {
		return answer
	}
	m.restart(phone, payments.EnrolmentStarted)
	m.setEnrolment(name, e)
	return string(e.state)
}

// restart ends what a number has in a state: whoever comes later has it.
func (m *model) restart(phone string, state payments.EnrolmentState) {
	for name, e := range m.enrolments {
		if e.phone == phone && e.state == state {
			m.endCodes(name)
			e.state, e.reason = payments.EnrolmentExpired, payments.ReasonRestarted
			m.setEnrolment(name, e)
		}
	}
}

func (m *model) resend(name string) string {
	e := m.enrolments[name]
	if e.proven() {
		return "refused: conflict"
	}
	return m.sendCode(name, e.phone)
}

// mostGuessed is how many codes that were guessed at end an enrolment.
const mostGuessed = 3

func (m *model) verifyEnrolment(name string, right bool) string {
	if m.enrolments[name].proven() {
		return "refused: conflict"
	}
	code, ok := m.tryCode(name, right)
	e := m.enrolments[name]
	open := e.state == payments.EnrolmentStarted && m.now.Before(e.expires)
	if !ok || !open {
		guessed := 0
		for _, c := range m.codes {
			if c.subject == name && c.guessed {
				guessed++
			}
		}
		if guessed >= mostGuessed && e.state == payments.EnrolmentStarted {
			e.state, e.reason = payments.EnrolmentRefused, payments.ReasonCodesGuessed
			m.setEnrolment(name, e)
		}
		return "refused: forbidden"
	}
	m.use(code)
	m.restart(e.phone, payments.EnrolmentPhoneVerified)
	e.state, e.reason = payments.EnrolmentPhoneVerified, payments.ReasonCodeRight
	m.setEnrolment(name, e)
	return string(e.state)
}

// finish makes the customer, with a number that the book gives out next.
func (m *model) finish(name, secret, number string) string {
	e := m.enrolments[name]
	switch {
	case e.state == payments.EnrolmentEnrolled:
		return "enrolled"
	case e.state != payments.EnrolmentPhoneVerified || !m.now.Before(e.expires):
		return "refused: conflict"
	case m.knownPhone(e.phone, ""):
		e.state, e.reason = payments.EnrolmentRefused, payments.ReasonAlreadyCustomer
		m.setEnrolment(name, e)
		return "refused: forbidden"
	}
	e.state, e.reason = payments.EnrolmentEnrolled, payments.ReasonComplete
	m.setEnrolment(name, e)
	m.join(number, customer{phone: e.phone, code: secret})
	return "enrolled"
}

// join makes somebody a customer with an empty wallet.
func (m *model) join(number string, c customer) {
	c.status, c.proven = payments.Open, true
	m.setCustomer(number, c)
	m.accounts[wallet(number)] = account{id: ledger.SystemAccountID(wallet(number)), ceiling: m.config.WalletCeiling}
}

func (m *model) expireEnrolments() string {
	m.changed = true // codes of two days ago are forgotten
	for name, e := range m.enrolments {
		if e.state.Open() && !m.now.Before(e.expires) {
			m.endCodes(name)
			e.state, e.reason = payments.EnrolmentExpired, payments.ReasonTermOver
			m.setEnrolment(name, e)
		}
	}
	return "expired"
}

func number(serial int) string { return fmt.Sprintf("c-%06d", serial) }
