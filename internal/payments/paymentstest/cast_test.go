package paymentstest

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

const zoneName = "Europe/Paris"

func newMachine(rt *rapid.T, w *world) *machine {
	zone, err := time.LoadLocation(zoneName)
	if err != nil {
		rt.Fatal(err)
	}
	m := &machine{world: w, pages: map[version]shown{}, owners: map[uuid.UUID]string{}, begun: map[string]uuid.UUID{}, digits: map[string]string{}, older: map[string]string{}, refs: map[string]bool{}, listed: map[version]bool{}, handles: map[string]string{}, counts: map[string]int{},
		book: book{model: newModel(w.config, zone, w.clock.Now()), ids: map[uuid.UUID]version{}, base: map[string]ledger.Amount{}, names: map[uuid.UUID]string{}, asking: map[uuid.UUID]string{}}}
	m.clear(rt)
	m.cast(rt)
	return m
}

// clear lets what an earlier run has left on the book come to its end, so that the
// sweepers have nothing of it to do in this one.
func (m *machine) clear(rt *rapid.T) {
	m.sim.Heal()
	for range 3 {
		m.advance(10 * day)
		s := m.nodes[0]
		_, _ = s.HandlePending(m.ctx, payments.MaxPage) // whatever a run that failed has left
		_, _ = s.ExpireOrders(m.ctx, payments.MaxPage)
		_, _ = s.SweepUnclaimed(m.ctx, payments.MaxPage)
		_, _ = s.SweepCharges(m.ctx, payments.MaxPage)
		_, _ = s.ExpireEnrolments(m.ctx, payments.MaxPage)
		_ = m.send(s)
	}
	m.newTokens()
	m.sim.Take()
	for _, code := range systemAccounts() {
		m.accounts[code] = account{id: ledger.SystemAccountID(code)}
	}
	m.names = map[uuid.UUID]string{}
	m.accountIDs()
	m.must(rt, m.db.Read(m.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.Each(ctx, "SELECT a.id, b.side, b.debits_posted, b.credits_posted FROM accounts AS a JOIN balances AS b ON b.account_no = a.no WHERE "+tx.AnyUUID("a.id", 1),
			[]any{m.accountIDs()}, func(rows *sqldb.Rows) error {
				var id uuid.UUID
				var b ledger.Balance
				err := rows.Scan(&id, &b.Side, &b.DebitsPosted, &b.CreditsPosted)
				m.base[m.names[id]] += b.Posted()
				return err
			})
	}))
}

// The people of a run.
const (
	castCustomers = 6
	castStrangers = 4
	castCards     = 2 // customers who have cards
	secretCode    = "135790"
	wrongCode     = "246801"
)

// cast makes the people of the run.
func (m *machine) cast(rt *rapid.T) {
	s := m.nodes[0]
	for i := range castCustomers {
		c := customer{phone: m.phone(), code: secretCode}
		made, err := s.EnrolCustomer(m.ctx, payments.NewCustomer{Name: "Test", Phone: c.phone})
		m.must(rt, err)
		m.people++
		if made.Number != number(m.people) {
			m.fail(rt, "the customer is %s, and not %s", made.Number, number(m.people))
		}
		c.id = made.ID
		m.join(made.Number, c)
		m.must(rt, s.SetSecretCode(m.ctx, made.Number, secretCode, actor))
		user := m.user()
		m.users = append(m.users, user)
		m.must(rt, s.LinkCustomer(m.ctx, channel, user, handleOf(user), made.Number))
		m.link(user, made.Number)
		reference := fmt.Sprintf("first-%d", m.serial())
		_, err = s.TopUp(m.ctx, made.Number, 250_00, reference)
		m.must(rt, err)
		m.topUp(made.Number, 250_00, reference)
		if i < castCards {
			m.dealCards(rt, made.Number)
		}
	}
	for i, kind := range []payments.PayeeKind{payments.Charity, payments.Business} {
		code := fmt.Sprintf("p-%d", m.serial())
		_, err := s.EnrolPayee(m.ctx, payments.NewPayee{Code: code, Kind: kind, Name: "Payee"}, "anne", "bruno")
		m.must(rt, err)
		m.setPayee(code, payee{kind: kind, status: payments.Open})
		m.accounts[payments.PayableCode(code)] = account{id: ledger.SystemAccountID(payments.PayableCode(code))}
		user := m.user()
		m.users = append(m.users, user)
		m.handles[user] = []string{"ACF_France", "Boulangerie_Paul"}[i]
		m.must(rt, s.LinkPayee(m.ctx, channel, user, m.handles[user], code))
		m.link(user, code)
	}
	for range castStrangers {
		m.users = append(m.users, m.user())
	}
	m.charity = m.users[len(m.users)-2]
	m.handles[m.charity] = farHandle(m.serial())
	alike := m.users[len(m.users)-1]
	m.likenesses[alike], m.handles[alike] = true, "ACF_Frence"
	m.denied = deniedUser(m.serial() % payments.MaxDenied)
	m.users = append(m.users, m.denied)
	m.compare(rt, false)
}

// deniedUser is the nth of those who neither pay nor are paid. Each run has one of them.
func deniedUser(n int) string { return fmt.Sprintf("66%07d", n) }

func (m *machine) user() string { return fmt.Sprintf("7%08d", m.serial()) }

// handleOf is what a user is called who has no other name.
func handleOf(user string) string { return "u" + user }

// farHandle is the nth of handles of which nobody takes one for another: any two differ
// in four letters.
func farHandle(n int) string {
	letters := "abdefghkps"
	handle := "Secours"
	for ; n > 0; n /= len(letters) {
		handle += strings.Repeat(letters[n%len(letters):n%len(letters)+1], 4)
	}
	return handle
}

func (m *machine) handleFor(user string) string { return cmp.Or(m.handles[user], handleOf(user)) }
