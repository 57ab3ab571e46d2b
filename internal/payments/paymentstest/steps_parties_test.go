package paymentstest

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"pgregory.net/rapid"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

func (m *machine) numbers() []string { return slices.Sorted(maps.Keys(m.customers)) }

// done writes what came of something that has no other answer.
func done(err error, answer string) string {
	if err != nil {
		return refused(err)
	}
	return answer
}

func (m *machine) linkOne(rt *rapid.T)   { m.performDrawn(rt, m.drawLink) }
func (m *machine) statusOne(rt *rapid.T) { m.performDrawn(rt, m.drawStatus) }
func (m *machine) topUpOne(rt *rapid.T)  { m.performDrawn(rt, m.drawTopUp) }

// drawLink links an account to a customer or a payee, or takes it from a customer.
func (m *machine) drawLink(rt *rapid.T) (act, bool) {
	user, number := pick(rt, "user", m.users), pick(rt, "customer", m.numbers())
	switch owner, linked := m.links[user]; {
	case linked && dice(rt, "unlink", 4) == 3:
		if _, person := m.customers[owner]; person {
			number = owner
		}
		return act{name: "unlink " + user + " from " + number, do: func(ctx context.Context, s *payments.Service) string {
			return done(s.UnlinkCustomer(ctx, channel, user, number, actor, reason), "unlinked")
		}, rule: func(m *model) string { return m.unlink(user, number) }}, true
	case dice(rt, "to a payee", 10) == 9:
		code := pick(rt, "payee", slices.Sorted(maps.Keys(m.payees)))
		user = m.charity // others have handles that look like each other's
		return act{name: "link " + user + " to " + code, do: func(ctx context.Context, s *payments.Service) string {
			return done(s.LinkPayee(ctx, channel, user, m.handleFor(user), code), "linked")
		}, rule: func(m *model) string { return m.link(user, code) }}, true
	}
	return act{name: "link " + user + " to " + number, do: func(ctx context.Context, s *payments.Service) string {
		return done(s.LinkCustomer(ctx, channel, user, m.handleFor(user), number), "linked")
	}, rule: func(m *model) string { return m.link(user, number) }}, true
}

// drawStatus blocks somebody, lifts that, which is more likely, or closes an account.
func (m *machine) drawStatus(rt *rapid.T) (act, bool) {
	to := pick(rt, "status", []payments.Status{payments.Open, payments.Open, payments.Blocked, payments.Closed})
	if to != payments.Closed && dice(rt, "of a payee", 4) == 3 {
		code := pick(rt, "payee", slices.Sorted(maps.Keys(m.payees)))
		return act{name: fmt.Sprintf("payee %s becomes %s", code, to), do: func(ctx context.Context, s *payments.Service) string {
			return done(s.SetPayeeStatus(ctx, code, to, actor, reason), string(to))
		}, rule: func(m *model) string { return m.setPayeeStatus(code, to) }}, true
	}
	number := pick(rt, "customer", m.numbers())
	for _, blocked := range m.numbers() {
		if to == payments.Open && m.customers[blocked].status == payments.Blocked {
			number = blocked
		}
	}
	return act{name: fmt.Sprintf("customer %s becomes %s", number, to), do: func(ctx context.Context, s *payments.Service) string {
		return done(s.SetCustomerStatus(ctx, number, to, actor, reason), string(to))
	}, rule: func(m *model) string { return m.setStatus(number, to) }}, true
}

// drawTopUp books what an acquirer has collected, or books it again, as it was or not.
func (m *machine) drawTopUp(rt *rapid.T) (act, bool) {
	t := topUp{pick(rt, "customer", m.numbers()), pick(rt, "amount", []ledger.Amount{1_00, 20_00, 50_00, 100_00, 300_00})}
	reference := fmt.Sprintf("t-%d", m.serial())
	if len(m.booked) > 0 && dice(rt, "again", 5) == 4 {
		before := recent(rt, "before", m.booked, 20)
		reference = before.reference
		if rapid.Bool().Draw(rt, "as it was") {
			t = before.topUp
		}
	}
	m.booked = append(m.booked, booking{t, reference})
	return act{name: fmt.Sprintf("top %s up with %d (%s)", t.customer, t.amount, reference), do: func(ctx context.Context, s *payments.Service) string {
		_, err := s.TopUp(ctx, t.customer, t.amount, reference)
		return done(err, "topped up")
	}, rule: func(m *model) string { return m.topUp(t.customer, t.amount, reference) }}, true
}

// codeOne is about secret codes, and about telephone numbers.
func (m *machine) codeOne(rt *rapid.T) {
	number := pick(rt, "customer", m.numbers())
	for _, other := range m.numbers() { // mostly somebody who needs it
		if o := m.customers[other]; o.status == payments.Open && (!o.proven || o.failures >= m.config.SecretTries) && dice(rt, "this one", 2) == 1 {
			number = other
			break
		}
	}
	c := m.customers[number]
	switch dice(rt, "what", 9) {
	case 0:
		code := pick(rt, "code", []string{secretCode, "907142", "111111"})
		m.perform(rt, act{name: "new secret code of " + number, do: func(ctx context.Context, s *payments.Service) string {
			return done(s.SetSecretCode(ctx, number, code, actor), "set")
		}, rule: func(m *model) string { return m.setCode(number, code) }})
	case 1, 2:
		m.perform(rt, act{name: "unblock the code of " + number, do: func(ctx context.Context, s *payments.Service) string {
			return done(s.UnblockCode(ctx, number, actor, reason), "unblocked")
		}, rule: func(m *model) string { return m.unblockCode(number) }})
	case 3:
		phone := pick(rt, "telephone", []string{m.phone(), m.customers[pick(rt, "of", m.numbers())].phone})
		m.perform(rt, act{name: "correct the number of " + number + " to " + phone, do: func(ctx context.Context, s *payments.Service) string {
			_, err := s.CorrectCustomer(ctx, number, payments.Correction{Phone: phone}, actor, reason)
			return done(err, "corrected")
		}, rule: func(m *model) string { return m.correctPhone(number, phone) }})
	case 4, 5:
		m.perform(rt, act{name: "send " + number + " a code", do: func(ctx context.Context, s *payments.Service) string {
			return done(s.SendVerification(ctx, number, actor), "sent")
		}, rule: func(m *model) string { return m.sendVerification(number) }})
		m.readCode(rt, number, c.phone)
		fallthrough
	default:
		digits, right := m.drawDigits(rt, number)
		m.perform(rt, act{name: fmt.Sprintf("prove the number of %s: %v", number, right), do: func(ctx context.Context, s *payments.Service) string {
			return done(s.VerifyPhone(ctx, number, digits, actor), "proven")
		}, rule: func(m *model) string { return m.verifyPhone(number, right) }})
	}
}

// readCode has somebody read the code that was sent, if one was.
func (m *machine) readCode(rt *rapid.T, subject, phone string) {
	delete(m.sink.codes, phone)
	m.must(rt, m.send(m.nodes[0]))
	if code, ok := m.sink.codes[phone]; ok {
		m.older[subject] = m.digits[subject]
		m.digits[subject] = code
	}
}

// drawDigits draws what somebody enters: the code that was sent, the one before it,
// somebody else's, or a guess.
func (m *machine) drawDigits(rt *rapid.T, subject string) (digits string, right bool) {
	digits = "000000"
	switch dice(rt, "digits", 10) {
	case 0:
	case 1:
		digits = m.older[subject]
	case 2:
		if subjects := slices.Sorted(maps.Keys(m.digits)); len(subjects) > 0 {
			digits = m.digits[pick(rt, "whose", subjects)]
		}
	default:
		digits = m.digits[subject]
	}
	if digits == "" {
		digits = "000000"
	}
	return digits, digits == m.digits[subject]
}

// mostCustomers bounds the people of a run.
const mostCustomers = 16

// enrolOne is a step of somebody who becomes a customer, the right one or not.
func (m *machine) enrolOne(rt *rapid.T) {
	young := slices.DeleteFunc(slices.Clone(m.asked[max(0, len(m.asked)-4):]), func(name string) bool {
		return m.now.After(m.enrolments[name].expires.Add(10 * m.config.Enrolment.CodeTerm))
	})
	what := dice(rt, "what", 8)
	if len(young) == 0 || what == 0 {
		m.begin(rt)
		return
	}
	name := pick(rt, "enrolment", young)
	r := payments.EnrolmentStep{ID: m.begun[name], Actor: actor}
	switch what {
	case 1:
		m.perform(rt, act{name: "send a code for " + name + " again", do: func(ctx context.Context, s *payments.Service) string {
			return done(s.ResendCode(ctx, r), "sent")
		}, rule: func(m *model) string { return m.resend(name) }})
		m.readCode(rt, name, m.enrolments[name].phone)
	case 2, 3, 4:
		m.verifyOne(rt, name, r)
	default:
		m.finishOne(rt, name, r)
	}
}

func (m *machine) begin(rt *rapid.T) {
	name := fmt.Sprintf("e%d", len(m.asked)+1)
	phone := m.phone()
	switch dice := dice(rt, "telephone", 6); {
	case dice == 0:
		phone = m.customers[pick(rt, "whose", m.numbers())].phone
	case dice < 3 && len(m.asked) > 0 && m.enrolments[m.asked[len(m.asked)-1]].expires.After(m.now):
		phone = m.enrolments[m.asked[len(m.asked)-1]].phone
	}
	m.perform(rt, act{name: "enrolment " + name + " with " + phone, do: func(ctx context.Context, s *payments.Service) string {
		e, err := s.StartEnrolment(ctx, payments.StartEnrolmentRequest{Name: "Test", Phone: phone, Actor: actor})
		if err != nil {
			return refused(err)
		}
		m.begun[name], m.asking[e.ID] = e.ID, name
		m.asked = append(m.asked, name)
		return string(e.State)
	}, rule: func(m *model) string { return m.enrol(name, phone) }})
	if _, ok := m.begun[name]; !ok {
		return
	}
	m.readCode(rt, name, phone)
	if r := (payments.EnrolmentStep{ID: m.begun[name], Actor: actor}); dice(rt, "at once", 2) == 1 {
		m.verifyOne(rt, name, r)
		m.finishOne(rt, name, r)
	}
}

func (m *machine) verifyOne(rt *rapid.T, name string, r payments.EnrolmentStep) {
	digits, right := m.drawDigits(rt, name)
	r.Code = digits
	m.perform(rt, act{name: fmt.Sprintf("verify %s: %v", name, right), do: func(ctx context.Context, s *payments.Service) string {
		e, err := s.VerifyEnrolment(ctx, r)
		return done(err, string(e.State))
	}, rule: func(m *model) string { return m.verifyEnrolment(name, right) }})
}

func (m *machine) finishOne(rt *rapid.T, name string, r payments.EnrolmentStep) {
	if len(m.customers) >= mostCustomers && m.enrolments[name].state != payments.EnrolmentEnrolled {
		return
	}
	r.Code = secretCode
	next := number(m.people + 1)
	m.perform(rt, act{name: "finish " + name, do: func(ctx context.Context, s *payments.Service) string {
		made, err := s.FinishEnrolment(ctx, r)
		if err != nil {
			return refused(err)
		}
		if c, ok := m.customers[next]; ok && made.Number == next {
			c.id = made.ID
			m.customers[next] = c
			m.people++
			m.users = append(m.users, m.user())
		}
		return "enrolled"
	}, rule: func(m *model) string { return m.finish(name, secretCode, next) }})
}
