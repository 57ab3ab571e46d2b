package paymentstest

import (
	"context"
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// amounts are often just at a limit.
func amounts() []ledger.Amount {
	return []ledger.Amount{1, 5_00, 10_00, 15_00, 20_00, 25_00, 30_00, 50_00, 60_00, 70_00, 80_00, 90_00, 120_00, 150_00, 199_99, 200_00, 230_00, 241_00, 249_00, 250_00, 250_01, 400_00, 495_00, 500_00, 500_01}
}

func (m *machine) drawCommand(rt *rapid.T) command {
	switch dice := dice(rt, "command", 20); {
	case dice == 0:
		return command{}
	case dice < 3 && len(m.made) > 0:
		return command{name: payments.CommandCancel, cancels: recent(rt, "order to cancel", m.made, 10)}
	}
	return command{name: payments.CommandPay, amount: pick(rt, "amount", amounts()), payee: pick(rt, "payee", m.users)}
}

// write makes a version of a message.
func (m *machine) write(v version, author string, c command) spoken {
	id := v.first
	if v.n > 0 {
		id = v.String()
	}
	text := "il fait beau"
	switch c.name {
	case payments.CommandPay:
		text = fmt.Sprintf("pay %s %s %s", c.amount.Format(ledger.EUR), c.payee, m.handleFor(c.payee))
	case payments.CommandCancel:
		order := m.orders[c.cancels].id
		text = fmt.Sprintf("cancel %X", order[:4])
	}
	return spoken{command: c, Message: payments.Message{Channel: channel, ID: id, FirstID: v.first, Version: v.n, ConversationID: v.first, AuthorID: author,
		AuthorHandle: handleOf(author), Kind: payments.Original, Text: text, Language: "fr", CreatedAt: m.clock.Now(), Via: "stream"}}
}

// drawTweet writes a message of somebody.
func (m *machine) drawTweet(rt *rapid.T) spoken {
	t := tweet{first: fmt.Sprintf("5219391%08d", m.serial()), author: m.author(rt), versions: 1}
	m.tweets = append(m.tweets, t)
	return m.write(version{first: t.first}, t.author, m.drawCommand(rt))
}

// author draws who writes: mostly somebody who can pay.
func (m *machine) author(rt *rapid.T) string {
	var able []string
	for _, user := range m.users {
		if c, ok := m.customers[m.links[user]]; ok && c.status == payments.Open && c.proven {
			able = append(able, user)
		}
	}
	if len(able) == 0 || dice(rt, "anybody", 8) == 7 {
		return pick(rt, "author", m.users)
	}
	return pick(rt, "author", able)
}

// mostEdits keeps an edit chain well below payments.MaxVersion.
const mostEdits = 50

// drawEdit writes another version of a message, or claims to.
func (m *machine) drawEdit(rt *rapid.T) spoken {
	t := &m.tweets[len(m.tweets)-1-rapid.IntRange(0, min(15, len(m.tweets)-1)).Draw(rt, "tweet")]
	author := t.author
	if dice(rt, "claimed", 7) == 6 {
		author = pick(rt, "who claims to be its author", m.users)
	}
	v := version{t.first, min(t.versions, mostEdits)}
	t.versions++
	return m.write(v, author, m.drawCommand(rt))
}

func (m *machine) say(rt *rapid.T) { m.bring(rt, m.drawTweet(rt)) }

func (m *machine) edit(rt *rapid.T) {
	if len(m.tweets) > 0 {
		m.bring(rt, m.drawEdit(rt))
	}
}

// bring has a message come: at once, or later.
func (m *machine) bring(rt *rapid.T, in spoken) {
	switch dice(rt, "way", 6) {
	case 0:
		m.late = append(m.late, in)
	case 1:
		m.perform(rt, m.receiving(in))
	default:
		m.perform(rt, m.taking(in))
	}
}

func (m *machine) comeLate(rt *rapid.T) {
	if len(m.late) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.late)-1).Draw(rt, "message")
	in := m.late[i]
	m.late = slices.Delete(m.late, i, i+1)
	m.perform(rt, m.taking(in))
}

func (s spoken) describe() string { return fmt.Sprintf("%s by %s: %q", s.name(), s.AuthorID, s.Text) }

// receiving brings a message into the inbox.
func (m *machine) receiving(in spoken) act {
	m.said = append(m.said, in)
	return act{name: "receive " + in.describe(), do: func(ctx context.Context, s *payments.Service) string {
		if _, err := s.Receive(ctx, in.Message); err != nil {
			return refused(err)
		}
		return "received"
	}, rule: func(m *model) string { return m.receive(in.name(), in.AuthorID, in.command) }}
}

// handling does what a message of the inbox asks for.
func handling(v version) act {
	return act{name: "handle " + v.String(), do: func(ctx context.Context, s *payments.Service) string {
		return handled(s.Handle(ctx, payments.MessageID(channel, v.first, v.n)))
	}, rule: func(m *model) string { return m.handle(v) }}
}

func handled(h payments.Handled, err error) string {
	if err != nil {
		return refused(err)
	}
	state := payments.State("")
	if h.Order != nil {
		state = h.Order.State
	}
	return fmt.Sprintf("%s (%s), order %q", h.Outcome, h.Reason, state)
}

// taking is both.
func (m *machine) taking(in spoken) act {
	receive, handle := m.receiving(in), handling(in.name())
	return act{name: "take " + in.describe(), do: func(ctx context.Context, s *payments.Service) string {
		if answer := receive.do(ctx, s); answer != "received" {
			return answer
		}
		return handle.do(ctx, s)
	}, rule: func(m *model) string {
		if answer := receive.rule(m); answer != "received" {
			return answer
		}
		return handle.rule(m)
	}}
}

func (m *machine) handleInbox(rt *rapid.T) {
	m.perform(rt, act{name: "handle what waits", do: func(ctx context.Context, s *payments.Service) string {
		n, err := s.HandlePending(ctx, payments.MaxPage)
		if err != nil {
			return refused(err)
		}
		return fmt.Sprintf("handled %d", n)
	}, rule: (*model).handlePending})
}

// delete has a message go from its channel, at its author's wish, at somebody else's,
// or at nobody knows whose.
func (m *machine) delete(rt *rapid.T) {
	if len(m.tweets) == 0 {
		return
	}
	t := recent(rt, "tweet", m.tweets, 30)
	v := version{t.first, rapid.IntRange(0, min(t.versions, mostEdits)-1).Draw(rt, "version")}
	author := pick(rt, "who deletes it", []string{t.author, t.author, "", pick(rt, "somebody", m.users)})
	in := m.write(v, author, command{})
	m.perform(rt, act{name: fmt.Sprintf("%q deletes %s", author, v), do: func(ctx context.Context, s *payments.Service) string {
		if _, err := s.Delete(ctx, payments.Deletion{Channel: channel, ID: in.ID, AuthorID: author}); err != nil {
			return refused(err)
		}
		return "deleted"
	}, rule: func(m *model) string { return m.forget(v, author) }})
}
