package paymentstest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// model is the rules of PRODUCT.md in memory. Its maps hold values, so that a copy of
// the maps is a copy of the model. Every change goes through one of the set methods:
// where none was called, nothing may have changed in the book.
type model struct {
	config payments.Config
	zone   *time.Location
	now    time.Time

	accounts   map[string]account // by code
	customers  map[string]customer
	payees     map[string]payee
	links      map[string]string // user id → customer number or payee code
	likenesses map[string]bool   // user ids whose handle can be taken for a payee's
	inbox      map[version]message
	orders     map[version]order
	unclaimed  map[version]unclaimed
	paid       map[string]bool // payer and user id
	topUps     map[string]topUp
	charges    map[uuid.UUID]charge
	enrolments map[string]enrolment
	codes      map[int]oneTimeCode

	racers  int // who do something at this moment
	changed bool
	noted   bool             // what was refused smells of attack, and may stand in somebody's history
	touched map[version]bool // orders that were set since the last step
}

// version names a version of a message, and the order that it made.
type version struct {
	first string
	n     int
}

func (v version) String() string { return fmt.Sprintf("%s.%d", v.first, v.n) }

func newModel(config payments.Config, zone *time.Location, now time.Time) *model {
	return &model{config: config, zone: zone, now: now, accounts: map[string]account{}, customers: map[string]customer{}, payees: map[string]payee{},
		links: map[string]string{}, likenesses: map[string]bool{}, inbox: map[version]message{}, orders: map[version]order{}, unclaimed: map[version]unclaimed{},
		paid: map[string]bool{}, topUps: map[string]topUp{}, charges: map[uuid.UUID]charge{}, enrolments: map[string]enrolment{},
		codes: map[int]oneTimeCode{}, touched: map[version]bool{}}
}

func (m *model) clone() *model {
	c := *m
	c.accounts, c.customers, c.payees, c.links = maps.Clone(m.accounts), maps.Clone(m.customers), maps.Clone(m.payees), maps.Clone(m.links)
	c.inbox, c.orders, c.unclaimed, c.paid = maps.Clone(m.inbox), maps.Clone(m.orders), maps.Clone(m.unclaimed), maps.Clone(m.paid)
	c.topUps, c.charges, c.enrolments, c.codes = maps.Clone(m.topUps), maps.Clone(m.charges), maps.Clone(m.enrolments), maps.Clone(m.codes)
	c.touched = maps.Clone(m.touched)
	return &c
}

// account is a balance, with normal sign, and what holds reserve of it.
type account struct {
	id      uuid.UUID
	posted  ledger.Amount
	out, in ledger.Amount // held
	ceiling ledger.Amount // of posted and in; 0: the account has no bounds
}

func (a account) available() ledger.Amount { return a.posted - a.out }
func (a account) expected() ledger.Amount  { return a.posted + a.in }

type customer struct {
	phone    string
	status   payments.Status
	proven   bool
	code     string // the secret code
	failures int    // tries of it since the last right one
	id       uuid.UUID
	// card is charged for what a payment lacks, up to automatic; Nil: none.
	card      uuid.UUID
	automatic ledger.Amount
}

type payee struct {
	kind   payments.PayeeKind
	status payments.Status
}

type message struct {
	author   string
	command  command
	received time.Time
	handled  bool
	outcome  string
	ordered  bool
	order    version
}

// command is what a message says.
type command struct {
	name    string // payments.CommandPay, payments.CommandCancel or "": chatter
	amount  ledger.Amount
	payee   string  // user id
	cancels version // order
}

type order struct {
	id        uuid.UUID // Nil until the book was looked at
	payer     string
	author    string
	kind      payments.PayeeKind
	payee     string // customer number or payee code; "": nobody known
	payeeUser string
	amount    ledger.Amount
	state     payments.State
	reason    string
	held      bool
	byCard    bool // nothing was held: a card pays
	expires   time.Time
	created   time.Time
	posted    time.Time
}

func (o order) counts() bool {
	switch o.state {
	case payments.StateReceived, payments.StateUnderReview, payments.StateAwaitingConfirmation, payments.StatePosted:
		return true
	}
	return false
}

type topUp struct {
	customer string
	amount   ledger.Amount
}

func (m *model) setCustomer(number string, c customer) { m.customers[number], m.changed = c, true }
func (m *model) setPayee(code string, p payee)         { m.payees[code], m.changed = p, true }
func (m *model) setMessage(v version, in message)      { m.inbox[v], m.changed = in, true }
func (m *model) setOrder(v version, o order) {
	m.orders[v], m.touched[v], m.changed = o, true, true
}
func (m *model) setUnclaimed(v version, u unclaimed) {
	m.unclaimed[v], m.touched[v], m.changed = u, true, true
}

// add changes a balance.
func (m *model) add(code string, posted, out, in ledger.Amount) {
	a := m.accounts[code]
	a.posted, a.out, a.in = a.posted+posted, a.out+out, a.in+in
	m.accounts[code], m.changed = a, true
}

// fits returns why so much cannot go from one account to another: a wallet never has
// less than nothing and never more than its ceiling. Where both would be, the ledger
// names the account with the lower id.
func (m *model) fits(from, to string, amount ledger.Amount) ledger.Code {
	payer, taker := m.accounts[from], m.accounts[to]
	low := payer.ceiling > 0 && payer.available() < amount
	high := taker.ceiling > 0 && taker.expected()+amount > taker.ceiling
	switch {
	case low && high && bytes.Compare(taker.id[:], payer.id[:]) < 0:
		return ledger.CodeLimitExceeded
	case low:
		return ledger.CodeInsufficientFunds
	case high:
		return ledger.CodeLimitExceeded
	}
	return ""
}

func wallet(number string) string { return payments.WalletCode(number) }

// accountOf returns the account of whoever an order pays.
func (o order) accountOf() string {
	switch o.kind {
	case payments.Person:
		return wallet(o.payee)
	case payments.Charity, payments.Business:
		return payments.PayableCode(o.payee)
	}
	return payments.AccountUnclaimed
}

// sortedOrders returns the names of orders that are so, in the order of an instant and
// then of their ids.
func (m *model) sortedOrders(is func(version, order) bool, at func(version) time.Time) []version {
	var list []version
	for v, o := range m.orders {
		if is(v, o) {
			list = append(list, v)
		}
	}
	slices.SortFunc(list, func(a, b version) int {
		if c := at(a).Compare(at(b)); c != 0 {
			return c
		}
		x, y := m.orders[a].id, m.orders[b].id
		return bytes.Compare(x[:], y[:])
	})
	return list
}

// view is what can be seen of the model, and of the book, line by line.
type view map[string]string

func (m *model) view(all bool) view {
	v := view{}
	for code, a := range m.accounts {
		v["account "+code] = fmt.Sprintf("%d, out %d, in %d", a.posted, a.out, a.in)
	}
	for number, c := range m.customers {
		v["customer "+number] = fmt.Sprintf("%s, %s, proven %v, %d failures", c.phone, c.status, c.proven, c.failures)
	}
	for code, p := range m.payees {
		v["payee "+code] = string(p.status)
	}
	for user, party := range m.links {
		v["link "+user] = party
	}
	for name, o := range m.orders {
		if all || o.state.Open() || m.touched[name] {
			day := ""
			if !o.posted.IsZero() {
				day = ledger.DateIn(o.posted, m.zone).String()
			}
			v["order "+name.String()] = fmt.Sprintf("%s (%s): %d, held %v, until %s, on %q", o.state, o.reason, o.amount, o.held, written(o.expires), day)
		}
	}
	for name, u := range m.unclaimed {
		if all || u.state == payments.UnclaimedWaiting || m.touched[name] {
			v["unclaimed "+name.String()] = fmt.Sprintf("%s (%s): %d until %s, due %s, reminded %v, by %q", u.state, u.reason, u.amount, written(u.expires), written(u.due), u.reminded, u.by)
		}
	}
	for name, e := range m.enrolments {
		v["enrolment "+name] = fmt.Sprintf("%s (%s)", e.state, e.reason)
	}
	return v
}

// written is an instant to the microsecond, as databases keep it.
func written(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05.000000")
}

// differences names the lines in which two views differ.
func differences(model, book view) []string {
	var list []string
	for key, want := range model {
		if got, ok := book[key]; !ok {
			list = append(list, fmt.Sprintf("%s: the model has %s, the book nothing", key, want))
		} else if got != want {
			list = append(list, fmt.Sprintf("%s: the model has %s, the book %s", key, want, got))
		}
	}
	for key, got := range book {
		if _, ok := model[key]; !ok {
			list = append(list, fmt.Sprintf("%s: the book has %s, the model nothing", key, got))
		}
	}
	slices.Sort(list)
	return list
}
