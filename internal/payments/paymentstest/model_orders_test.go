package paymentstest

import (
	"slices"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

const (
	day   = 24 * time.Hour
	month = 30 * day
)

// order makes an order of a command, and judges it.
func (m *model) order(v version, in message, payer string) {
	o := order{payer: payer, author: in.author, payeeUser: in.command.payee, amount: in.command.amount, created: m.now, state: payments.StateReceived, kind: payments.Unregistered}
	if party, ok := m.links[o.payeeUser]; ok {
		o.payee, o.kind = party, payments.Person
		if p, ok := m.payees[party]; ok {
			o.kind = p.kind
		}
	}
	m.setOrder(v, o)
	if reason := m.forbidden(o); reason != "" {
		m.become(v, payments.StateRejected, reason)
		return
	}
	switch reason, verdict := m.screen(o); verdict {
	case payments.VerdictReject:
		m.become(v, payments.StateRejected, reason)
	case payments.VerdictReview:
		o.expires = m.now.Add(m.config.Screening.ReviewTerm)
		m.setOrder(v, o)
		m.become(v, payments.StateUnderReview, reason)
	default:
		m.settle(v)
	}
}

func (m *model) become(v version, state payments.State, reason string) {
	o := m.orders[v]
	o.state, o.reason = state, reason
	m.setOrder(v, o)
}

func (m *model) capOf(kind payments.PayeeKind) ledger.Amount {
	switch kind {
	case payments.Charity:
		return m.config.CharityCap
	case payments.Business:
		return m.config.BusinessCap
	}
	return m.config.PersonCap
}

// forbidden returns why the rules forbid a payment, whenever they are asked.
func (m *model) forbidden(o order) string {
	payer := m.customers[o.payer]
	status := payments.Open
	switch o.kind {
	case payments.Person:
		status = m.customers[o.payee].status
	case payments.Charity, payments.Business:
		status = m.payees[o.payee].status
	}
	switch {
	case slices.Contains(m.config.Screening.DeniedIDs, o.author) || slices.Contains(m.config.Screening.DeniedIDs, o.payeeUser):
		return payments.ReasonDenied
	case payer.status == payments.Blocked:
		return payments.ReasonPayerBlocked
	case payer.status == payments.Closed:
		return payments.ReasonPayerClosed
	case !payer.proven:
		return payments.ReasonPhoneUnproven
	case o.kind == payments.Person && o.payee == o.payer:
		return payments.ReasonSelfPayment
	case status == payments.Blocked:
		return payments.ReasonPayeeBlocked
	case status == payments.Closed:
		return payments.ReasonPayeeClosed
	case o.amount > m.capOf(o.kind):
		return payments.ReasonOverCap
	}
	return ""
}

// screen judges a new order by what its payer has paid, and has on the way.
func (m *model) screen(o order) (string, payments.Verdict) {
	limits := m.config.Screening
	isNear := func(amount ledger.Amount) bool {
		return amount <= m.capOf(o.kind) && amount >= m.capOf(o.kind)-limits.NearCapMargin
	}
	var days, months, made, near int
	var dayAmount, monthAmount ledger.Amount
	payees := map[string]bool{}
	for _, other := range m.orders {
		if other.payer != o.payer || !other.created.After(m.now.Add(-month)) {
			continue
		}
		today := other.created.After(m.now.Add(-day))
		if today {
			made++
		}
		if !other.counts() {
			continue
		}
		months, monthAmount = months+1, monthAmount+other.amount
		if today {
			days, dayAmount = days+1, dayAmount+other.amount
			payees[other.payeeUser] = true
			if isNear(other.amount) {
				near++
			}
		}
	}
	stranger := o.kind == payments.Person || o.kind == payments.Unregistered
	switch {
	case days > limits.DayCount || dayAmount > limits.DayAmount:
		return payments.ReasonVelocityDay, limits.Velocity
	case months > limits.MonthCount || monthAmount > limits.MonthAmount:
		return payments.ReasonVelocity30, limits.Velocity
	case made > limits.DayOrders:
		return payments.ReasonVelocityDay, limits.Velocity
	case len(payees) > limits.ManyPayeesCount:
		return payments.ReasonManyPayees, limits.ManyPayees
	case isNear(o.amount) && near >= limits.NearCapCount:
		return payments.ReasonNearCap, limits.NearCap
	case stranger && o.amount >= limits.NewPayeeAmount && !m.paid[o.payer+" "+o.payeeUser]:
		return payments.ReasonNewPayee, limits.NewPayee
	case stranger && m.likenesses[o.payeeUser]:
		return payments.ReasonLookAlike, limits.LookAlike
	}
	return "", payments.VerdictAccept
}

// tooMuch reports whether a payment that is posted now would be more than its payer may
// pay in rolling 24 hours or 30 days, whenever it was ordered.
func (m *model) tooMuch(o order) string {
	days, months := 1, 1
	dayAmount, monthAmount := o.amount, o.amount
	for _, other := range m.orders {
		if other.payer != o.payer || other.state != payments.StatePosted || !other.posted.After(m.now.Add(-month)) {
			continue
		}
		months, monthAmount = months+1, monthAmount+other.amount
		if other.posted.After(m.now.Add(-day)) {
			days, dayAmount = days+1, dayAmount+other.amount
		}
	}
	limits := m.config.Screening
	switch {
	case days > limits.DayCount || dayAmount > limits.DayAmount:
		return payments.ReasonVelocityDay
	case months > limits.MonthCount || monthAmount > limits.MonthAmount:
		return payments.ReasonVelocity30
	}
	return ""
}

// settle holds the money, or lets a card pay what is missing, or rejects.
func (m *model) settle(v version) {
	o := m.orders[v]
	o.expires = m.now.Add(m.config.ConfirmationTerm)
	to := o.accountOf()
	switch code := m.fits(wallet(o.payer), to, o.amount); {
	case code == "":
		m.add(wallet(o.payer), 0, o.amount, 0)
		m.add(to, 0, 0, o.amount)
		o.held = true
		m.setOrder(v, o)
		m.become(v, payments.StateAwaitingConfirmation, payments.ReasonHeld)
	case code == ledger.CodeLimitExceeded:
		m.become(v, payments.StateRejected, payments.ReasonPayeeCeiling)
	case m.missing(o) > m.customers[o.payer].automatic || m.mayCharge(o.payer, m.missing(o)) != "":
		m.become(v, payments.StateRejected, payments.ReasonInsufficientFunds)
	case m.full(o):
		m.become(v, payments.StateRejected, payments.ReasonPayeeCeiling)
	default:
		o.byCard = true
		m.setOrder(v, o)
		m.become(v, payments.StateAwaitingConfirmation, payments.ReasonCardPays)
	}
}

func (m *model) full(o order) bool {
	return o.kind == payments.Person && m.accounts[wallet(o.payee)].expected()+o.amount > m.config.WalletCeiling
}

// missing is what a card would have to pay of an order.
func (m *model) missing(o order) ledger.Amount {
	has := m.accounts[wallet(o.payer)].available()
	if has >= o.amount {
		return 0
	}
	return max(o.amount-max(has, 0), m.config.Cards.Minimum)
}

// free gives back what an order holds.
func (m *model) free(v version) {
	if o := m.orders[v]; o.held {
		m.add(wallet(o.payer), 0, -o.amount, 0)
		m.add(o.accountOf(), 0, 0, -o.amount)
		o.held = false
		m.setOrder(v, o)
	}
}

func (m *model) release(v version, state payments.State, reason string) {
	m.free(v)
	m.become(v, state, reason)
}

// post moves the money of an order that is paid.
func (m *model) post(v version) {
	m.free(v)
	o := m.orders[v]
	m.add(wallet(o.payer), -o.amount, 0, 0)
	m.add(o.accountOf(), o.amount, 0, 0)
	o.posted = m.now
	m.setOrder(v, o)
	m.become(v, payments.StatePosted, payments.ReasonConfirmed)
	m.paid[o.payer+" "+o.payeeUser] = true
	if o.kind == payments.Unregistered {
		m.keep(v)
	}
}

func (m *model) awaits(v version) bool {
	o := m.orders[v]
	return o.state == payments.StateAwaitingConfirmation && m.now.Before(o.expires)
}

// page is the state of the form that a code comes with.
type page int

const (
	noPage page = iota // the order is named by who has made sure of it
	goodPage
	badPage // too old, of another order, or changed
)

// confirm tries a payer's code for an order whose money is held. late: the order was
// ended by somebody else while the code was looked at, so a try was counted.
func (m *model) confirm(v version, form page, code string, late bool) string {
	o := m.orders[v]
	switch {
	case !late && !m.awaits(v):
		return "refused: conflict"
	case form == badPage:
		m.noted = true
		return "refused: invalid"
	}
	if !m.try(o.payer, code) {
		return "refused: forbidden"
	}
	if !m.awaits(v) {
		return "refused: conflict"
	}
	reason := m.forbidden(o)
	if reason == "" {
		reason = m.tooMuch(o)
	}
	if reason != "" {
		m.release(v, payments.StateVoided, reason)
		return "refused: forbidden"
	}
	m.post(v)
	return "posted"
}

// crowded is a try that finds none left, since those of others are being looked at: each
// is counted before.
func (m *model) crowded(v version, form page) string {
	if form == badPage || m.customers[m.orders[v].payer].failures+m.racers-1 < m.config.SecretTries {
		return "cannot be"
	}
	return "refused: forbidden"
}

// try uses up a try of a customer's secret code.
func (m *model) try(number, code string) bool {
	c := m.customers[number]
	if c.failures >= m.config.SecretTries || c.code == "" {
		return false
	}
	c.failures++
	right := c.code == code
	if right {
		c.failures = 0
	}
	m.setCustomer(number, c)
	return right
}

func (m *model) cancel(v version) string {
	switch o := m.orders[v]; {
	case o.state == payments.StateCancelled:
	case !o.state.Open():
		return "refused: conflict"
	default:
		m.release(v, payments.StateCancelled, reason)
	}
	return "cancelled"
}

// review is what staff decide on an order that waits for them.
func (m *model) review(v version, letGo bool) string {
	o := m.orders[v]
	if o.state != payments.StateUnderReview || !m.now.Before(o.expires) {
		return "refused: conflict"
	}
	switch why := m.forbidden(o); {
	case !letGo:
		m.become(v, payments.StateRejected, reason)
	case why != "":
		m.become(v, payments.StateRejected, why)
	default:
		m.settle(v)
	}
	return string(m.orders[v].state)
}

func (m *model) expire() string {
	for v, o := range m.orders {
		if !o.state.Open() || m.now.Before(o.expires) {
			continue
		}
		why := payments.ReasonTermOver
		if o.state == payments.StateUnderReview {
			why = payments.ReasonReviewOver
		}
		m.release(v, payments.StateExpired, why)
	}
	return "expired"
}

// expireHolds is the ledger's own sweeper: what an order held is free when its term is
// over, also before the order is ended.
func (m *model) expireHolds() string {
	for v, o := range m.orders {
		if o.held && !m.now.Before(o.expires) {
			m.free(v)
		}
	}
	return "released"
}
