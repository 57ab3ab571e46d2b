package payments

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
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
	var handled Handled
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		h := handling{Service: s, tx: tx, now: s.engine.Now()}
		var err error
		handled, err = h.message(ctx, messageID)
		return err
	})
	if err != nil {
		return Handled{}, fmt.Errorf("handle message %s: %w", messageID, err)
	}
	return handled, nil
}

// handleTogether bounds the messages that one transaction handles: more save little,
// and keep the wallets of their payers locked for longer.
const handleTogether = 25

// together handles a few messages in one transaction, one after the other. Where one
// of them fails none is handled.
func (s *Service) together(ctx context.Context, ids []uuid.UUID) error {
	return s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		for _, id := range ids {
			h := handling{Service: s, tx: tx, now: s.engine.Now()}
			if _, err := h.message(ctx, id); err != nil {
				return fmt.Errorf("handle message %s: %w", id, err)
			}
		}
		return nil
	})
}

// Bounds of the work on one message that keeps failing.
const (
	maxHandleAttempts  = 10
	firstHandlePause   = 10 * time.Second
	longestHandlePause = time.Hour
)

// HandlePending handles the messages that are due, oldest first, at most limit of
// them, a few in one transaction, and returns how many it handled. One that fails is tried again later, and
// after ten times left to staff; the others go on. The error tells
// of all failures.
func (s *Service) HandlePending(ctx context.Context, limit int) (int, error) {
	if err := sqldb.CheckPage(limit, MaxPage); err != nil {
		return 0, err
	}
	var due []uuid.UUID
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		due = nil
		return tx.Each(ctx, fmt.Sprintf("SELECT id FROM messages WHERE handled_at IS NULL AND due_at <= $1 ORDER BY due_at, created_at, id LIMIT %d", limit),
			[]any{s.engine.Now()}, func(rows *sqldb.Rows) error {
				var id uuid.UUID
				err := rows.Scan(&id)
				due = append(due, id)
				return err
			})
	})
	if err != nil {
		return 0, fmt.Errorf("look for messages to handle: %w", err)
	}
	handled, failed := 0, error(nil)
	for ids := range slices.Chunk(due, handleTogether) {
		err := s.together(ctx, ids)
		switch {
		case err == nil:
			handled += len(ids)
			continue
		case giveUp(ctx, err):
			return handled, errors.Join(failed, err)
		}
		for _, id := range ids { // so that only those wait that fail
			_, err := s.Handle(ctx, id)
			switch {
			case err == nil:
				handled++
			case giveUp(ctx, err):
				return handled, errors.Join(failed, err)
			default:
				s.log.ErrorContext(ctx, "message not handled", "message", id, "error", err)
				failed = errors.Join(failed, err)
				if err := s.postpone(ctx, id); err != nil {
					return handled, errors.Join(failed, err)
				}
			}
		}
	}
	return handled, failed
}

// giveUp reports whether an error is not a message's: the process stops, or the
// database is away.
func giveUp(ctx context.Context, err error) bool {
	return ctx.Err() != nil || ledger.CodeOf(err) == ledger.CodeUnavailable
}

// postpone counts a failure to handle a message.
func (s *Service) postpone(ctx context.Context, id uuid.UUID) error {
	now := s.engine.Now()
	return s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var attempts int
		err := tx.QueryRow(ctx, "SELECT attempts FROM messages WHERE id = $1 AND handled_at IS NULL"+tx.ForUpdate(), []any{id}, &attempts)
		if sqldb.IsNoRows(err) {
			return nil
		}
		if err != nil {
			return err
		}
		attempts++
		if attempts >= maxHandleAttempts {
			_, err = tx.Exec(ctx, "UPDATE messages SET attempts = $1, handled_at = $2, outcome = $3, reason = 'handling_failed', text = CASE WHEN deleted_at IS NULL THEN text END WHERE id = $4",
				int64(attempts), now, string(OutcomeFailed), id)
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE messages SET attempts = $1, due_at = $2 WHERE id = $3",
			int64(attempts), now.Add(backOff(attempts, firstHandlePause, longestHandlePause)), id)
		return err
	})
}

// backOff returns the pause after the given number of failures: first, doubling
// up to longest.
func backOff(failures int, first, longest time.Duration) time.Duration {
	pause := first
	for i := 1; i < failures && pause < longest; i++ {
		pause *= 2
	}
	return min(pause, longest)
}

// handling is the work on one message, inside one transaction.
type handling struct {
	*Service
	tx  *sqldb.Tx
	now time.Time
}

func (h handling) message(ctx context.Context, id uuid.UUID) (Handled, error) {
	list, err := messages(ctx, h.tx, "id = $1", []any{id}, h.tx.ForUpdate())
	if err != nil {
		return Handled{}, err
	}
	if len(list) == 0 {
		return Handled{}, ledger.Errorf(ledger.CodeNotFound, "there is no message %s in the inbox", id).InField("message")
	}
	m := list[0]
	if !m.HandledAt.IsZero() {
		return h.again(ctx, m)
	}
	// A way in that knows less of a message's edit history than another files it
	// under another first id: it is the same message, and asks for one payment.
	others := int64(0)
	err = h.tx.QueryRow(ctx, `SELECT COUNT(*) FROM messages AS x JOIN messages AS n ON n.channel = x.channel AND n.first_id = x.first_id AND n.author_id = x.author_id AND n.version > x.version
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
	chain, err := h.ownChain(ctx, m)
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
// message itself is here: it knows best who wrote it.
func (h handling) ownChain(ctx context.Context, m InboxMessage) ([]Order, error) {
	all, err := lockChain(ctx, h.tx, m)
	if err != nil {
		return nil, err
	}
	var own []Order
	for i := range all {
		o := &all[i]
		switch {
		case o.PayerUserID == m.AuthorID:
			own = append(own, *o)
		case m.ID == m.FirstID && o.State.Open():
			if err := h.release(ctx, h.tx, o, StateVoided, ActorService, ReasonNotAuthor, h.now); err != nil {
				return nil, err
			}
			if err := h.replyTo(ctx, h.tx, *o, h.now); err != nil {
				return nil, err
			}
		}
	}
	return own, nil
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
	chain, err := h.ownChain(ctx, m)
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
	case parsed.Command != nil && parsed.Command.Name == CommandPay:
		return h.command(ctx, m, *parsed.Command, parsed.SecretWarning, replaced != nil)
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
	if _, err := h.tx.Exec(ctx, "UPDATE messages SET text = NULL WHERE id = $1", m.RowID); err != nil {
		return Handled{}, fmt.Errorf("purge the text: %w", err)
	}
	return h.done(ctx, m, handled, nil)
}

// done notes on the inbox row what became of the message.
func (h handling) done(ctx context.Context, m InboxMessage, handled Handled, c *Command) (Handled, error) {
	handled.MessageID = m.RowID
	command, err := encodeCommand(c)
	if err != nil {
		return Handled{}, fmt.Errorf("normalise the command: %w", err)
	}
	order := uuid.Nil
	if handled.Order != nil {
		order = handled.Order.ID
	}
	// The text of what is deleted already was kept for the parser alone.
	n, err := h.tx.Exec(ctx, `UPDATE messages SET handled_at = $1, outcome = $2, reason = $3, command = $4, order_id = $5, decision = $7,
			text = CASE WHEN deleted_at IS NULL THEN text END
		WHERE id = $6 AND handled_at IS NULL`,
		h.now, string(handled.Outcome), handled.Reason, command, sqldb.NullUUID(order), m.RowID, string(verdictOf(handled)))
	if err != nil {
		return Handled{}, fmt.Errorf("note the outcome: %w", err)
	}
	if n != 1 {
		return Handled{}, ledger.Errorf(ledger.CodeConflict, "message %s was handled by somebody else", m.RowID)
	}
	return handled, nil
}

// command makes an order of a command, and judges it.
func (h handling) command(ctx context.Context, m InboxMessage, c Command, secretWarned, replaces bool) (Handled, error) {
	lang := language(c.Language)
	link, err := FindLink(ctx, h.tx, m.Channel, m.AuthorID)
	if err != nil && ledger.CodeOf(err) != ledger.CodeNotFound {
		return Handled{}, err
	}
	if link.CustomerID == uuid.Nil {
		return h.notCustomer(ctx, m, c)
	}
	payer, err := FindCustomerByID(ctx, h.tx, link.CustomerID)
	if err != nil {
		return Handled{}, err
	}
	o := Order{ID: orderID(m.RowID), Key: OrderKey(m.Channel, m.FirstID), MessageID: m.RowID, Channel: m.Channel, FirstID: m.FirstID,
		Version: m.Version, PayerID: payer.ID, PayerUserID: m.AuthorID, PayeeKind: Unregistered, PayeeUserID: c.PayeeID, PayeeHandle: c.PayeeHandle,
		Amount: c.Amount, Currency: c.Currency, Language: lang, MessageAt: m.CreatedAt, CreatedAt: h.now}
	payee, err := h.findPayee(ctx, &o)
	if err != nil {
		return Handled{}, err
	}
	if err := h.insertOrder(ctx, h.tx, &o); err != nil {
		return Handled{}, err
	}
	if err := h.judge(ctx, &o, payer, payee); err != nil {
		return Handled{}, err
	}
	text := orderText(o, h.config, replaces)
	if secretWarned {
		text = saying{lang, m.RowID}.secretPrefix() + text
	}
	handled, allowed := Handled{Outcome: OutcomeOrder, Reason: o.Reason, Order: &o}, allowAnswer
	if o.State == StateRejected {
		handled.Outcome = OutcomeRejected
		if allowed, err = h.allowance(ctx, m); err != nil {
			return Handled{}, err
		}
	}
	if err := h.answer(ctx, m, allowed, string(o.State), text, lang, &handled); err != nil {
		return Handled{}, err
	}
	return h.done(ctx, m, handled, &c)
}

// notCustomer answers somebody whose account is linked to no customer.
func (h handling) notCustomer(ctx context.Context, m InboxMessage, c Command) (Handled, error) {
	lang, handled := language(c.Language), Handled{Outcome: OutcomeRefused, Reason: ReasonNotCustomer}
	allowed, err := h.allowance(ctx, m)
	if err == nil {
		err = h.answer(ctx, m, allowed, templateRefused, saying{lang, m.RowID}.invitation(h.config), lang, &handled)
	}
	if err != nil {
		return Handled{}, err
	}
	return h.done(ctx, m, handled, &c)
}

// payee is the receiving side of an order, whoever it is.
type payee struct {
	id      uuid.UUID
	kind    PayeeKind
	name    string // of a charity or business
	status  Status
	account uuid.UUID
}

// findPayee binds the order to whoever its payee's user id is linked to.
func (h handling) findPayee(ctx context.Context, o *Order) (payee, error) {
	link, err := FindLink(ctx, h.tx, o.Channel, o.PayeeUserID)
	if ledger.CodeOf(err) == ledger.CodeNotFound {
		return loadPayee(ctx, h.tx, *o)
	}
	if err != nil {
		return payee{}, err
	}
	o.PayeeKind, o.PayeeID = Person, link.CustomerID
	if link.PayeeID != uuid.Nil {
		p, err := FindPayeeByID(ctx, h.tx, link.PayeeID)
		if err != nil {
			return payee{}, err
		}
		o.PayeeKind, o.PayeeID = p.Kind, p.ID
	}
	return loadPayee(ctx, h.tx, *o)
}

// loadPayee returns the payee that an order is bound to.
func loadPayee(ctx context.Context, tx *sqldb.Tx, o Order) (payee, error) {
	switch o.PayeeKind {
	case Unregistered: // the bank keeps it for whoever that is
		return payee{kind: Unregistered, status: Open, account: ledger.SystemAccountID(AccountUnclaimed)}, nil
	case Person:
		c, err := FindCustomerByID(ctx, tx, o.PayeeID)
		return payee{id: c.ID, kind: Person, status: c.Status, account: c.WalletID}, err
	}
	p, err := FindPayeeByID(ctx, tx, o.PayeeID)
	return payee{id: p.ID, kind: p.Kind, name: p.Name, status: p.Status, account: p.AccountID}, err
}

// refusal returns the reason for which the rules forbid the order, or "". They
// are asked when it is made and again in the transaction that posts it.
func (s *Service) refusal(o Order, payer Customer, to payee) string {
	switch {
	case s.isDenied(o.PayerUserID) || s.isDenied(o.PayeeUserID):
		return ReasonDenied
	case payer.Status == Blocked:
		return ReasonPayerBlocked
	case payer.Status == Closed:
		return ReasonPayerClosed
	case payer.PhoneVerifiedAt.IsZero():
		return ReasonPhoneUnproven
	case to.kind == Person && to.id == payer.ID:
		return ReasonSelfPayment
	case to.status == Blocked:
		return ReasonPayeeBlocked
	case to.status == Closed:
		return ReasonPayeeClosed
	case o.Amount > s.config.capFor(to.kind):
		return ReasonOverCap
	}
	return ""
}

// settle moves an order that nothing speaks against to the state that the ledger
// gives it.
func (h handling) settle(ctx context.Context, o *Order, payer Customer, to payee) error {
	expires := h.now.Add(h.config.ConfirmationTerm)
	awaits := ReasonHeld
	refused, err := h.hold(ctx, h.tx, o, payer, to, expires)
	if err == nil && refused == ReasonInsufficientFunds {
		awaits, refused, err = h.cardInstead(ctx, h.tx, o, payer, to)
	}
	if err != nil {
		return err
	}
	if refused != "" {
		return change(ctx, h.tx, o, StateRejected, ActorService, refused, h.now)
	}
	o.ExpiresAt, o.tokenHash = expires, hashToken(h.token(o.ID))
	if err := change(ctx, h.tx, o, StateAwaitingConfirmation, ActorService, awaits, h.now); err != nil {
		return err
	}
	return h.noticeTx(ctx, h.tx, *o, h.now)
}

// hold sets the money of an order aside, or returns the reason for which it cannot.
func (s *Service) hold(ctx context.Context, tx *sqldb.Tx, o *Order, payer Customer, to payee, expires time.Time) (refused string, err error) {
	hold, err := s.engine.HoldTx(ctx, tx, ledger.HoldRequest{
		Key: o.holdKey(), Debit: payer.WalletID, Credit: to.account, Amount: o.Amount, Currency: o.Currency, ExpiresAt: expires,
		Source: ledger.Source{Channel: o.Channel, ID: o.FirstID, Date: ledger.DateIn(o.MessageAt, s.engine.Location())},
	})
	switch ledger.CodeOf(err) {
	case "":
		if err != nil {
			return "", fmt.Errorf("hold the money: %w", err)
		}
	case ledger.CodeInsufficientFunds:
		return ReasonInsufficientFunds, nil
	case ledger.CodeLimitExceeded:
		return ReasonPayeeCeiling, nil
	case ledger.CodeAccountClosed:
		return ReasonAccountClosed, nil
	default:
		return "", fmt.Errorf("hold the money: %w", err)
	}
	o.HoldID = hold.ID
	return "", nil
}
