package payments

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// payment is a command to pay, on its way to an order.
type payment struct {
	m        InboxMessage
	c        Command
	warned   bool // its text holds digits that look like a secret code
	replaces bool // an older version of the message has asked for another payment
	payer    Customer
	to       payee
	o        Order
	events   []OrderEvent
	hits     []Hit
	handled  Handled
}

// payOne makes an order of one command.
func (h handling) payOne(ctx context.Context, p *payment) (Handled, error) {
	who, err := h.findParties(ctx, []*work{{m: p.m, parsed: Parsed{Command: &p.c}}})
	if err != nil {
		return Handled{}, err
	}
	err = h.pay(ctx, []*payment{p}, who)
	return p.handled, err
}

// pay makes orders of commands by different people, each judged by itself, and answers
// them. What one holds is on its payee's account when the next is judged.
func (h handling) pay(ctx context.Context, list []*payment, who parties) error {
	orders := make([]*payment, 0, len(list))
	for _, p := range list {
		known, err := h.begin(p, who)
		if err == nil && !known {
			p.handled, err = h.notCustomer(ctx, p.m, p.c)
		}
		if err != nil {
			return err
		}
		if known {
			orders = append(orders, p)
		}
	}
	var accepted []*payment
	alike := likenesses{}
	for _, p := range orders {
		ok, err := h.judge(ctx, p, alike)
		if err != nil {
			return err
		}
		if ok {
			accepted = append(accepted, p)
		}
	}
	if err := h.settle(ctx, accepted); err != nil {
		return err
	}
	outgoing := make([]OutboxRow, 0, 2*len(orders))
	notes := make([]noted, len(orders))
	for i, p := range orders {
		if p.o.State == StateAwaitingConfirmation {
			outgoing = append(outgoing, noticeOf(p.o, h.now))
		}
		row, told, err := h.tell(ctx, p)
		if err != nil {
			return err
		}
		if told {
			outgoing = append(outgoing, row)
		}
		notes[i] = noted{m: p.m, handled: p.handled, command: &p.c}
	}
	if err := insertOrders(ctx, h.tx, orders); err != nil {
		return err
	}
	if err := h.insertOutbox(ctx, h.tx, outgoing...); err != nil {
		return err
	}
	return h.conclude(ctx, notes)
}

// begin binds the order of a command to its payer and payee; false: its writer is no
// customer.
func (h handling) begin(p *payment, who parties) (bool, error) {
	l := who.link(p.m.Channel, p.m.AuthorID)
	if l.CustomerID == uuid.Nil {
		return false, nil
	}
	var ok bool
	if p.payer, ok = who.customers[l.CustomerID]; !ok {
		return false, ledger.Errorf(ledger.CodeNotFound, "there is no customer %s", l.CustomerID).InField("customer")
	}
	m, c := p.m, p.c
	p.o = Order{ID: orderID(m.RowID), Key: OrderKey(m.Channel, m.FirstID), MessageID: m.RowID, Channel: m.Channel, FirstID: m.FirstID,
		Version: m.Version, State: StateReceived, Reason: ReasonCommand, PayerID: p.payer.ID, PayerUserID: m.AuthorID,
		PayeeUserID: c.PayeeID, PayeeHandle: c.PayeeHandle, Amount: c.Amount, Currency: c.Currency, Language: language(c.Language),
		MessageAt: m.CreatedAt, CreatedAt: h.now, events: 1}
	var err error
	p.to, err = who.bind(&p.o)
	p.o.binding = h.bind(p.o)
	p.events = []OrderEvent{{At: h.now, Actor: ActorService, To: StateReceived, Reason: ReasonCommand}}
	return true, err
}

// usurped answers the author of a message that somebody else had claimed to edit before
// it came, and has paid: an edit chain pays once, so what the author asks for cannot be
// ordered under it. The author may write it anew; staff find the message by its reason.
func (h handling) usurped(ctx context.Context, m InboxMessage, c Command) (Handled, error) {
	link, err := FindLink(ctx, h.tx, m.Channel, m.AuthorID)
	switch {
	case err != nil && ledger.CodeOf(err) != ledger.CodeNotFound:
		return Handled{}, err
	case link.CustomerID == uuid.Nil:
		return h.notCustomer(ctx, m, c)
	}
	h.log.WarnContext(ctx, "somebody else has paid under this message, which they claimed to edit", "message", m.ID, "author", m.AuthorID)
	lang, handled := language(c.Language), Handled{Outcome: OutcomeRefused, Reason: ReasonUsurped}
	allowed, err := h.allowance(ctx, m)
	if err == nil {
		s := saying{lang, m.RowID}
		err = h.answer(ctx, m, allowed, templateRefused, s.say(words.failed)+s.number(), lang, &handled)
	}
	if err != nil {
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

// judge asks the rules and screening; true: nothing speaks against the payment.
func (h handling) judge(ctx context.Context, p *payment, alike likenesses) (bool, error) {
	if reason := h.refusal(p.o, p.payer, p.to); reason != "" {
		return false, p.move(StateRejected, reason, h.now)
	}
	verdict, hits, err := h.screen(ctx, p.o, p.to, alike)
	if err != nil {
		return false, err
	}
	p.hits = hits
	switch verdict {
	case VerdictReject:
		return false, p.move(StateRejected, hits[0].Rule, h.now)
	case VerdictReview: // nothing is held: whether it can be is seen when staff let it go on
		p.o.ExpiresAt = h.now.Add(h.config.Screening.ReviewTerm)
		return false, p.move(StateUnderReview, hits[0].Rule, h.now)
	}
	return true, nil
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

// move moves the order on, and notes that for its history.
func (p *payment) move(to State, reason string, at time.Time) error {
	event, err := p.o.move(to, ActorService, reason, at)
	p.events = append(p.events, event)
	return err
}

// settle moves orders that nothing speaks against to the states that the ledger gives
// them. Where a card is to pay in place of a wallet, its order comes after those whose
// money is held.
func (h handling) settle(ctx context.Context, list []*payment) error {
	if len(list) == 0 {
		return nil
	}
	expires := h.now.Add(h.config.ConfirmationTerm)
	requests := make([]ledger.Request, len(list))
	for i, p := range list {
		requests[i] = h.holdRequest(p.o, p.payer, p.to, expires)
	}
	outcomes, err := h.engine.SubmitTx(ctx, h.tx, requests)
	if err != nil {
		return fmt.Errorf("hold the money of %d orders: %w", len(list), err)
	}
	for i, p := range list {
		refused, err := refusedHold(outcomes[i].Err)
		if err != nil {
			return err
		}
		awaits := ReasonHeld
		switch refused {
		case "":
			p.o.HoldID = outcomes[i].Hold.ID
		case ReasonInsufficientFunds:
			awaits, refused, err = h.cardInstead(ctx, h.tx, &p.o, p.payer, p.to)
		}
		switch {
		case err != nil:
		case refused != "":
			err = p.move(StateRejected, refused, h.now)
		default:
			p.o.ExpiresAt, p.o.tokenHash = expires, hashToken(h.token(p.o.ID))
			err = p.move(StateAwaitingConfirmation, awaits, h.now)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) holdRequest(o Order, payer Customer, to payee, expires time.Time) ledger.HoldRequest {
	return ledger.HoldRequest{
		Key: o.holdKey(), Debit: payer.WalletID, Credit: to.account, Amount: o.Amount, Currency: o.Currency, ExpiresAt: expires,
		Source: ledger.Source{Channel: o.Channel, ID: o.FirstID, Date: ledger.DateIn(o.MessageAt, s.engine.Location())},
	}
}

// refusedHold returns the reason for which the ledger does not hold an order's money, or
// the error of a ledger that could not say.
func refusedHold(err error) (string, error) {
	switch ledger.CodeOf(err) {
	case ledger.CodeInsufficientFunds:
		return ReasonInsufficientFunds, nil
	case ledger.CodeLimitExceeded:
		return ReasonPayeeCeiling, nil
	case ledger.CodeAccountClosed:
		return ReasonAccountClosed, nil
	}
	if err != nil {
		return "", fmt.Errorf("hold the money: %w", err)
	}
	return "", nil
}

// hold sets the money of an order aside, or returns the reason for which it cannot.
func (s *Service) hold(ctx context.Context, tx *sqldb.Tx, o *Order, payer Customer, to payee, expires time.Time) (refused string, err error) {
	hold, err := s.engine.HoldTx(ctx, tx, s.holdRequest(*o, payer, to, expires))
	if refused, err = refusedHold(err); err == nil && refused == "" {
		o.HoldID = hold.ID
	}
	return refused, err
}

// tell notes what became of a command and returns the answer to it; false: its writer
// has had enough answers.
func (h handling) tell(ctx context.Context, p *payment) (OutboxRow, bool, error) {
	text := orderText(p.o, h.config, p.replaces)
	if p.warned {
		text = saying{p.o.Language, p.m.RowID}.secretPrefix() + text
	}
	p.handled = Handled{MessageID: p.m.RowID, Outcome: OutcomeOrder, Reason: p.o.Reason, Order: &p.o}
	allowed := allowAnswer
	if p.o.State == StateRejected {
		p.handled.Outcome = OutcomeRejected
		var err error
		if allowed, err = h.allowance(ctx, p.m); err != nil {
			return OutboxRow{}, false, err
		}
	}
	row, told := h.answerOf(p.m, allowed, string(p.o.State), text, p.o.Language, &p.handled)
	return row, told, nil
}

var (
	orderTable = []sqldb.Column{
		{Name: "id", Type: "uuid"}, {Name: "order_key", Type: "text"}, {Name: "message_id", Type: "uuid"}, {Name: "channel", Type: "text"},
		{Name: "first_id", Type: "text"}, {Name: "version", Type: "int8"}, {Name: "state", Type: "text"}, {Name: "reason", Type: "text"},
		{Name: "events", Type: "int8"}, {Name: "payer_id", Type: "uuid"}, {Name: "payer_user_id", Type: "text"}, {Name: "payee_kind", Type: "text"},
		{Name: "payee_customer_id", Type: "uuid"}, {Name: "payee_payee_id", Type: "uuid"}, {Name: "payee_user_id", Type: "text"},
		{Name: "payee_handle", Type: "text"}, {Name: "amount", Type: "int8"}, {Name: "currency", Type: "text"}, {Name: "language", Type: "text"},
		{Name: "binding", Type: "bytea"}, {Name: "token_hash", Type: "bytea"}, {Name: "hold_id", Type: "uuid"}, {Name: "card_id", Type: "uuid"},
		{Name: "message_at", Type: "timestamptz"}, {Name: "created_at", Type: "timestamptz"}, {Name: "expires_at", Type: "timestamptz"},
		{Name: "closed_at", Type: "timestamptz"},
	}
	orderEventTable = []sqldb.Column{
		{Name: "order_id", Type: "uuid"}, {Name: "ordinal", Type: "int8"}, {Name: "at", Type: "timestamptz"}, {Name: "actor", Type: "text"},
		{Name: "from_state", Type: "text"}, {Name: "to_state", Type: "text"}, {Name: "reason", Type: "text"},
	}
	hitTable = []sqldb.Column{
		{Name: "order_id", Type: "uuid"}, {Name: "rule", Type: "text"}, {Name: "verdict", Type: "text"}, {Name: "detail", Type: "text"},
		{Name: "at", Type: "timestamptz"},
	}
)

// insertOrders stores new orders with their histories and the rules that they met.
func insertOrders(ctx context.Context, tx *sqldb.Tx, list []*payment) error {
	err := tx.Insert(ctx, "orders", orderTable, len(list), func(i int) []any {
		o := list[i].o
		customer, payee := uuid.Nil, uuid.Nil
		switch o.PayeeKind {
		case Person:
			customer = o.PayeeID
		case Charity, Business:
			payee = o.PayeeID
		}
		return []any{o.ID, o.Key, o.MessageID, o.Channel, o.FirstID, int64(o.Version), string(o.State), o.Reason,
			o.events, o.PayerID, o.PayerUserID, string(o.PayeeKind), sqldb.NullUUID(customer), sqldb.NullUUID(payee), o.PayeeUserID,
			o.PayeeHandle, int64(o.Amount), string(o.Currency), o.Language, o.binding, nullBytes(o.tokenHash), sqldb.NullUUID(o.HoldID),
			sqldb.NullUUID(o.CardID), o.MessageAt, o.CreatedAt, o.ExpiresAt, o.ClosedAt}
	})
	if err != nil {
		return fmt.Errorf("store %d orders: %w", len(list), err)
	}
	var events, hits [][]any
	for _, p := range list {
		for ordinal, e := range p.events {
			events = append(events, []any{p.o.ID, int64(ordinal), e.At, e.Actor, string(e.From), string(e.To), e.Reason})
		}
		for _, hit := range p.hits {
			hits = append(hits, []any{p.o.ID, hit.Rule, string(hit.Verdict), hit.Detail, hit.At})
		}
	}
	if err := tx.Insert(ctx, "order_events", orderEventTable, len(events), func(i int) []any { return events[i] }); err != nil {
		return fmt.Errorf("record the events of %d orders: %w", len(list), err)
	}
	if err := tx.Insert(ctx, "screening_hits", hitTable, len(hits), func(i int) []any { return hits[i] }); err != nil {
		return fmt.Errorf("record the rules that %d orders met: %w", len(list), err)
	}
	return nil
}
