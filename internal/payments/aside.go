package payments

import (
	"context"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// The commands beside pay. They move no money; what they tell of somebody's account
// goes to that account alone, by direct message.

// The reasons of OutcomeAnswered beside the commands' names.
const (
	ReasonNothingToCancel = "nothing_to_cancel"
	ReasonTooLateToCancel = "too_late_to_cancel"
)

// ActorPayer stands in the history of an order for its payer, by a message.
const ActorPayer = "payer"

// The kinds of answer to these commands in the outbox.
const (
	templateAnswered = "answered"
	// templateBalance is a direct message that tells a balance. Its text goes as soon
	// as it was sent or given up: what somebody had is not kept a second time.
	templateBalance = "balance"
)

// orderReference is Order.Reference.
var orderReference = regexp.MustCompile(`^[0-9A-F]{8}$`)

// isAside reports whether c is a well-formed command that moves no money.
func isAside(c Command) bool {
	switch c.Name {
	case CommandBalance, CommandHelp, CommandLink:
		return true
	case CommandCancel:
		return c.Reference == "" || orderReference.MatchString(c.Reference)
	}
	return false
}

// aside does what a command that moves no money asks for. replaced is the order that
// an edit to this command has voided, or nil.
func (h handling) aside(ctx context.Context, m InboxMessage, c Command, secretWarned bool, replaced *Order) (Handled, error) {
	lang := language(c.Language)
	allowed, err := h.allowance(ctx, m)
	if err != nil {
		return Handled{}, err
	}
	// A cancellation is done in any case, and a word on a payment that an edit has ended
	// is owed; see Config.DayAnswers.
	if allowed != allowAnswer && c.Name != CommandCancel && replaced == nil {
		return h.overLimit(ctx, m, allowed, lang, &c)
	}
	answer := saying{lang, m.RowID}
	link, err := FindLink(ctx, h.tx, m.Channel, m.AuthorID)
	if ledger.CodeOf(err) == ledger.CodeNotFound {
		err = nil
	}
	customer := link.CustomerID
	handled := Handled{Outcome: OutcomeAnswered, Reason: c.Name}
	var text string
	switch {
	case err != nil:
	case c.Name == CommandHelp:
		text = h.helpText(answer, m.Kind == Direct)
	case c.Name == CommandLink:
		text = h.linkText(answer, m.Kind == Direct, customer != uuid.Nil)
	case c.Name == CommandCancel && replaced != nil: // the edit has done so
		handled.Order, text = replaced, withdrawnText(*replaced, lang)
	case customer == uuid.Nil:
		handled.Outcome, handled.Reason = OutcomeRefused, ReasonNotCustomer
		text = answer.invitation(h.config)
	case c.Name == CommandBalance:
		text, err = h.tellBalance(ctx, m, customer, answer)
	default:
		text, err = h.cancel(ctx, m, c.Reference, customer, answer, &handled)
	}
	if err != nil {
		return Handled{}, err
	}
	if replaced != nil && c.Name != CommandCancel {
		text = words.replaced.say(lang, m.RowID) + text
	}
	if secretWarned {
		text = answer.secretPrefix() + text
	}
	template := templateAnswered
	switch {
	case handled.Outcome == OutcomeRefused:
		template = templateRefused
	case c.Name == CommandBalance && m.Kind == Direct:
		template = templateBalance
	}
	if replaced != nil || (handled.Order != nil && allowed == allowLast) {
		allowed = allowAnswer
	}
	if err := h.answer(ctx, m, allowed, template, text, lang, &handled); err != nil {
		return Handled{}, err
	}
	return h.done(ctx, m, handled, &c)
}

// helpText tells the commands in a few lines.
func (h handling) helpText(s saying, private bool) string {
	text := s.say(words.help, h.config.BankHandle)
	if private {
		text += "\n" + s.say(words.helpInPrivate, h.config.BankHandle)
	}
	return text + s.number()
}

// linkText tells how an account is linked. Only in private does it say whether this
// one is, and what the address begins with: whoever was sent another one is warned.
func (h handling) linkText(s saying, private, linked bool) string {
	how := words.howToLink
	switch {
	case private && linked:
		how = words.linkedAlready
	case private:
		how = words.linkByMail
	}
	return s.say(how, h.config.BankHandle, h.config.BankName, h.config.LinkURL()) + s.number()
}

// tellBalance returns the customer's balance where the message is a direct one. For
// any other it puts the balance into a direct message, and returns what the public is
// told: nothing.
func (h handling) tellBalance(ctx context.Context, m InboxMessage, customer uuid.UUID, s saying) (string, error) {
	c, err := FindCustomerByID(ctx, h.tx, customer)
	if err != nil {
		return "", err
	}
	b, err := engine.FindBalance(ctx, h.tx, c.WalletID)
	if err != nil {
		return "", fmt.Errorf("balance of customer %s: %w", c.Number, err)
	}
	at := h.now.In(h.engine.Location()).Format(say(s.lang, "02/01 à 15h04", "2 Jan at 15:04"))
	text := s.say(words.balance, money(b.Available(), b.Currency, s.lang), at)
	if b.DebitsPending > 0 {
		text += s.say(words.held, money(b.DebitsPending, b.Currency, s.lang))
	}
	text += s.number()
	if m.Kind == Direct {
		return text, nil
	}
	channel := DirectChannel(m.Channel)
	row := OutboxRow{ID: outboxID(OutboxDirectMessage, templateBalance, m.RowID), Kind: OutboxDirectMessage, Queue: directMessages(channel, m.AuthorID), Channel: channel,
		InReplyTo: m.ID, RecipientID: m.AuthorID, Template: templateBalance, Text: text, NextAttemptAt: h.now, CreatedAt: h.now}
	if err := h.insertOutbox(ctx, h.tx, row); err != nil {
		return "", err
	}
	return s.say(words.balanceInPrivate) + s.number(), nil
}

// cancel ends the order of the writer that a reference names, or the newest one, where
// it was not confirmed yet, and returns what to answer.
func (h handling) cancel(ctx context.Context, m InboxMessage, ref string, customer uuid.UUID, s saying, handled *Handled) (string, error) {
	id, err := h.orderToCancel(ctx, m, ref, customer)
	if err != nil {
		return "", err
	}
	if id == uuid.Nil {
		handled.Reason = ReasonNothingToCancel
		return s.say(words.nothingToCancel) + s.number(), nil
	}
	o, err := lockOrder(ctx, h.tx, id)
	if err != nil {
		return "", err
	}
	if !o.State.Open() {
		handled.Reason = ReasonTooLateToCancel
		return s.say(words.tooLateToCancel) + s.number(), nil
	}
	if err := h.release(ctx, h.tx, &o, StateCancelled, ActorPayer, ReasonAsked, h.now); err != nil {
		return "", err
	}
	handled.Order = &o
	told := o
	told.Language = s.lang
	quiet := isDirect(o.Channel) || o.PayerUserID != m.AuthorID
	if quiet && m.Kind != Direct { // what was ordered in private, or from another account, stays there
		return words.cancelledQuietly.say(s.lang, o.ID) + reference(told), nil
	}
	return closedText(told) + reference(told), nil
}

// isDirect reports whether a channel is one of direct messages.
func isDirect(channel string) bool { return strings.HasSuffix(channel, directSuffix) }

// orderToCancel finds the order of a customer that a reference names, an open one
// where several have it; without a reference the newest open one that was asked for
// before the message was written: a message that comes late cancels nothing newer.
// Nil: there is none.
func (h handling) orderToCancel(ctx context.Context, m InboxMessage, reference string, customer uuid.UUID) (uuid.UUID, error) {
	const open = "state IN ('received', 'awaiting_payee', 'under_review', 'awaiting_confirmation')"
	query := "SELECT id FROM orders WHERE payer_id = $1 AND message_at <= $2 AND " + open + " ORDER BY created_at DESC, id LIMIT 1"
	args := []any{customer, m.CreatedAt}
	if reference != "" {
		first, err := hex.DecodeString(reference)
		if err != nil {
			return uuid.Nil, fmt.Errorf("reference %s: %w", clip(reference), err)
		}
		low, high := uuid.Nil, uuid.Max
		copy(low[:], first)
		copy(high[:], first)
		query = "SELECT id FROM orders WHERE payer_id = $1 AND id >= $2 AND id <= $3 ORDER BY CASE WHEN " + open + " THEN 0 ELSE 1 END, created_at DESC, id LIMIT 1"
		args = []any{customer, low, high}
	}
	var id uuid.UUID
	err := h.tx.QueryRow(ctx, query, args, &id)
	if sqldb.IsNoRows(err) {
		return uuid.Nil, nil
	}
	if err != nil {
		return uuid.Nil, fmt.Errorf("find the order to cancel: %w", err)
	}
	return id, nil
}
