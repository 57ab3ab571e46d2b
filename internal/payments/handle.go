package payments

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
)

// Handled says what became of a message.
type Handled struct {
	MessageID uuid.UUID // in the inbox
	Outcome   Outcome
	Reason    string // of a refusal, rejection or ignoring
	Order     *Order // where there is one
	// Again is set where the message had been handled before, and nothing changed.
	Again bool
}

// Handle does what a message of the inbox asks for, in one transaction: order,
// hold, notice and reply are there together or not at all. Handling it again
// changes nothing.
func (s *Service) Handle(ctx context.Context, messageID uuid.UUID) (Handled, error) {
	handled, err := s.together(ctx, []uuid.UUID{messageID})
	if err != nil {
		return Handled{}, fmt.Errorf("handle message %s: %w", messageID, err)
	}
	return handled[0], nil
}

// message handles one message, which is locked, whatever else the inbox has of its
// edit chain.
func (h handling) message(ctx context.Context, m InboxMessage) (Handled, error) {
	// A way in that knows less of a message's edit history than another files it
	// under another first id: it is the same message, and asks for one payment.
	others := int64(0)
	err := h.tx.QueryRow(ctx, `SELECT COUNT(*) FROM messages AS x JOIN messages AS n ON n.channel = x.channel AND n.first_id = x.first_id AND n.author_id = x.author_id AND n.version > x.version
		WHERE x.channel = $1 AND x.message_id = $2 AND x.author_id = $3`, []any{m.Channel, m.ID, m.AuthorID}, &others)
	if err != nil {
		return Handled{}, fmt.Errorf("look for newer versions: %w", err)
	}
	if others > 0 {
		return h.done(ctx, m, Handled{Outcome: OutcomeSuperseded, Reason: ReasonEdited}, nil)
	}
	err = h.tx.QueryRow(ctx, "SELECT COUNT(*) FROM messages WHERE channel = $1 AND message_id = $2 AND author_id = $3 AND id <> $4 AND handled_at IS NOT NULL",
		[]any{m.Channel, m.ID, m.AuthorID, m.RowID}, &others)
	if err != nil {
		return Handled{}, fmt.Errorf("look for the message under another first id: %w", err)
	}
	if others > 0 {
		return h.duplicate(ctx, m)
	}
	return h.newest(ctx, m)
}

func (h handling) again(ctx context.Context, m InboxMessage) (Handled, error) {
	handled := Handled{MessageID: m.RowID, Outcome: m.Outcome, Reason: m.Reason, Again: true}
	if m.OrderID != uuid.Nil {
		o, err := FindOrder(ctx, h.tx, m.OrderID)
		if err != nil {
			return Handled{}, err
		}
		handled.Order = &o
	}
	return handled, nil
}

// duplicate handles a message that was handled under another first id already.
// Where it turns out to be the edit of a message that was ordered from as well,
// one of the two orders is too many: the older one, unless it was posted.
func (h handling) duplicate(ctx context.Context, m InboxMessage) (Handled, error) {
	chain, _, err := h.ownChain(ctx, m)
	if err != nil {
		return Handled{}, err
	}
	older := func(o Order) bool { return o.Key == OrderKey(m.Channel, m.FirstID) }
	paid := slices.ContainsFunc(chain, func(o Order) bool { return older(o) && o.State == StatePosted })
	for i := range chain {
		o := &chain[i]
		if !o.State.Open() || older(*o) == paid {
			continue
		}
		if err := h.withdraw(ctx, o); err != nil {
			return Handled{}, err
		}
	}
	return h.done(ctx, m, Handled{Outcome: OutcomeIgnored, Reason: ReasonDuplicate}, nil)
}

// ownChain returns the orders of a message's edit chain that its author made, and
// locks them. Those of somebody who has only claimed to edit it are void once the
// message itself is here: it knows best who wrote it. usurped reports that one of them
// was posted before, so that the chain's one posting is gone.
func (h handling) ownChain(ctx context.Context, m InboxMessage) (own []Order, usurped bool, err error) {
	all, err := lockChain(ctx, h.tx, m)
	if err != nil {
		return nil, false, err
	}
	for i := range all {
		o := &all[i]
		switch {
		case o.PayerUserID == m.AuthorID:
			own = append(own, *o)
		case m.ID == m.FirstID && o.State.Open():
			if err := h.release(ctx, h.tx, o, StateVoided, ActorService, ReasonNotAuthor, h.now); err != nil {
				return nil, false, err
			}
			if err := h.replyTo(ctx, h.tx, *o, h.now); err != nil {
				return nil, false, err
			}
		case o.State == StatePosted && o.Key == OrderKey(m.Channel, m.FirstID):
			usurped = true
		}
	}
	return own, usurped, nil
}

// withdraw voids an open order that an edit has overtaken, and says so.
func (h handling) withdraw(ctx context.Context, o *Order) error {
	if err := h.release(ctx, h.tx, o, StateVoided, ActorService, ReasonEdited, h.now); err != nil {
		return err
	}
	return h.replyTo(ctx, h.tx, *o, h.now)
}

// newest handles the newest version of a message: what an older one asked for
// and was not confirmed yet is void.
func (h handling) newest(ctx context.Context, m InboxMessage) (Handled, error) {
	chain, usurped, err := h.ownChain(ctx, m)
	if err != nil {
		return Handled{}, err
	}
	parsed := h.parse(m.Message)
	if paid := slices.IndexFunc(chain, func(o Order) bool { return o.State == StatePosted }); paid >= 0 {
		for i := range chain {
			if !chain[i].State.Open() { // as all of them are but those under another first id
				continue
			}
			if err := h.withdraw(ctx, &chain[i]); err != nil {
				return Handled{}, err
			}
		}
		return h.done(ctx, m, Handled{Outcome: OutcomeTooLate, Reason: ReasonEdited, Order: &chain[paid]}, parsed.Command)
	}
	var replaced *Order
	for i := range chain {
		o := &chain[i]
		if o.State.Open() {
			if err := h.release(ctx, h.tx, o, StateVoided, ActorService, ReasonEdited, h.now); err != nil {
				return Handled{}, err
			}
			replaced = o
		}
	}
	switch {
	case parsed.Command != nil && parsed.Command.Name == CommandPay && usurped:
		return h.usurped(ctx, m, *parsed.Command)
	case parsed.Command != nil && parsed.Command.Name == CommandPay:
		return h.payOne(ctx, &payment{m: m, c: *parsed.Command, warned: parsed.SecretWarning, replaces: replaced != nil})
	case parsed.Command != nil:
		return h.aside(ctx, m, *parsed.Command, parsed.SecretWarning, replaced)
	case parsed.Refusal != nil:
		return h.refused(ctx, m, parsed, replaced)
	}
	return h.ignored(ctx, m, parsed, replaced)
}

// refused answers a message that was meant as a command and is none.
func (h handling) refused(ctx context.Context, m InboxMessage, parsed Parsed, replaced *Order) (Handled, error) {
	answer := saying{parsed.Language, m.RowID}
	text, allowed := answer.refusal(parsed.Refusal.Code, h.config), allowAnswer
	if replaced != nil {
		text = withdrawnText(*replaced, parsed.Language)
	} else {
		var err error
		if allowed, err = h.allowance(ctx, m); err != nil {
			return Handled{}, err
		}
	}
	if parsed.SecretWarning {
		text = answer.secret()
	}
	handled := Handled{Outcome: OutcomeRefused, Reason: string(parsed.Refusal.Code)}
	if err := h.answer(ctx, m, allowed, templateRefused, text, parsed.Language, &handled); err != nil {
		return Handled{}, err
	}
	return h.done(ctx, m, handled, nil)
}

// parse asks the parser, and refuses what it must never have let pass: orders
// bind ids and amounts for ever.
func (h handling) parse(m Message) Parsed {
	parsed := h.parser.Parse(m)
	parsed.Language = language(parsed.Language)
	c := parsed.Command
	if c == nil {
		if parsed.Refusal == nil && parsed.Ignored == "" {
			parsed.Ignored = IgnoredNoHashtag
		}
		return parsed
	}
	parsed.Language = language(c.Language)
	refuse := func(code RefusalCode) Parsed {
		parsed.Command, parsed.Refusal = nil, &Refusal{Code: code}
		return parsed
	}
	switch {
	case isAside(*c):
		return parsed
	case c.Name != CommandPay:
		parsed.Command, parsed.Ignored = nil, IgnoredNoHashtag
		return parsed
	case c.Amount <= 0:
		return refuse(RefusedNotPositive)
	case c.Currency != h.config.Currency:
		return refuse(RefusedCurrency)
	case !idPattern.MatchString(c.PayeeID) || !handlePattern.MatchString(c.PayeeHandle):
		return refuse(RefusedUnresolved)
	case c.PayeeID == m.AuthorID:
		return refuse(RefusedSelf)
	}
	return parsed
}

// ignored leaves a message alone. Its text is none of our business and goes at once.
func (h handling) ignored(ctx context.Context, m InboxMessage, parsed Parsed, replaced *Order) (Handled, error) {
	handled := Handled{Outcome: OutcomeIgnored, Reason: string(parsed.Ignored)}
	switch {
	case replaced != nil:
		if err := h.reply(ctx, m, templateIgnored, withdrawnText(*replaced, parsed.Language), nil); err != nil {
			return Handled{}, err
		}
	case parsed.SecretWarning && parsed.Ignored == IgnoredNoHashtag: // they did write to us
		handled = Handled{Outcome: OutcomeRefused, Reason: ReasonSecretCode}
		allowed, err := h.allowance(ctx, m)
		if err == nil {
			err = h.answer(ctx, m, allowed, templateIgnored, saying{parsed.Language, m.RowID}.secret(), parsed.Language, &handled)
		}
		if err != nil {
			return Handled{}, err
		}
	}
	handled.MessageID = m.RowID
	return handled, h.conclude(ctx, []noted{{m: m, handled: handled, forget: true}})
}
