package payments

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// State is where an order is in its life.
type State string

// The states of an order. Every one after awaiting_confirmation is final, and so
// is rejected.
const (
	StateReceived             State = "received"
	StateRejected             State = "rejected"       // the rules refuse it
	StateAwaitingPayee        State = "awaiting_payee" // of old orders: since there are unclaimed payments, nobody is waited for before the payer has confirmed
	StateUnderReview          State = "under_review"
	StateAwaitingConfirmation State = "awaiting_confirmation" // money is held
	StatePosted               State = "posted"
	StateExpired              State = "expired"
	StateCancelled            State = "cancelled" // by the payer or staff
	StateVoided               State = "voided"    // by the service: edited, or no longer allowed
)

// transitions lists which state may follow which.
func transitions(from State) []State {
	switch from {
	case StateReceived:
		return []State{StateRejected, StateAwaitingPayee, StateUnderReview, StateAwaitingConfirmation, StateCancelled, StateVoided}
	case StateAwaitingPayee:
		return []State{StateRejected, StateUnderReview, StateAwaitingConfirmation, StateExpired, StateCancelled, StateVoided}
	case StateUnderReview:
		return []State{StateRejected, StateAwaitingPayee, StateAwaitingConfirmation, StateExpired, StateCancelled, StateVoided}
	case StateAwaitingConfirmation:
		return []State{StatePosted, StateExpired, StateCancelled, StateVoided}
	}
	return nil
}

// Open reports whether the order can still lead to a payment.
func (s State) Open() bool { return len(transitions(s)) > 0 }

// Valid reports whether s is one of the states.
func (s State) Valid() bool {
	return s.Open() || s == StateRejected || s == StatePosted || s == StateExpired || s == StateCancelled || s == StateVoided
}

// The reasons that orders and messages carry. Those of orders are private: what
// the public is told is in reply.go.
const (
	ReasonCommand           = "command"        // a message asked for it
	ReasonNotCustomer       = "not_a_customer" // of a message: its author is nobody we know
	ReasonDuplicate         = "duplicate"      // of a message: it was handled under another first id
	ReasonUsurped           = "usurped"        // of a message: somebody else claimed to edit it before it came, and has paid
	ReasonOverCap           = "over_cap"
	ReasonSelfPayment       = "self_payment"
	ReasonPayerBlocked      = "payer_blocked"
	ReasonPayerClosed       = "payer_closed"
	ReasonPhoneUnproven     = "phone_not_verified" // the payer's number was changed and is not proven
	ReasonPayeeBlocked      = "payee_blocked"
	ReasonPayeeClosed       = "payee_closed"
	ReasonInsufficientFunds = "insufficient_funds"
	ReasonPayeeCeiling      = "payee_ceiling" // the payee's wallet may not hold so much
	ReasonAccountClosed     = "account_closed"
	ReasonHeld              = "held"
	ReasonConfirmed         = "confirmed"
	ReasonTermOver          = "term_over"
	ReasonReviewOver        = "review_over" // nobody has reviewed it in time
	ReasonEdited            = "edited"
	ReasonAsked             = "asked_by_the_payer" // the payer cancelled it
	ReasonNotAuthor         = "not_the_author"     // it was ordered as an edit of what somebody else wrote
	ReasonBindingBroken     = "binding_broken"     // what would be posted is not what was asked for
	ReasonHoldLost          = "hold_lost"          // the ledger no longer holds the money
	ReasonCardPays          = "card_pays"          // nothing is held: a card pays what is missing when it is confirmed
)

// The actors of changes that no person makes.
const (
	ActorService = "service"
	ActorSweeper = "sweeper"
)

// Order is a payment that a customer asked for.
type Order struct {
	ID            uuid.UUID
	Key           string // channel and first id of the edit chain: the posting's idempotency key
	MessageID     uuid.UUID
	Channel       string
	FirstID       string
	Version       int // of the message
	State         State
	Reason        string // of the last change; private
	PayerID       uuid.UUID
	PayerUserID   string
	PayeeKind     PayeeKind
	PayeeID       uuid.UUID // customer (Person) or payee; Nil: Unregistered
	PayeeUserID   string    // bound when the order was made
	PayeeHandle   string    // as it was then
	Amount        ledger.Amount
	Currency      ledger.Currency
	Language      string
	HoldID        uuid.UUID
	CardID        uuid.UUID   // that pays what is missing when the order is confirmed; Nil: none
	TransactionID uuid.UUID   // Nil unless posted
	EffectiveDate ledger.Date // of the posting; zero unless posted
	MessageAt     time.Time   // when the message was written
	CreatedAt     time.Time
	ExpiresAt     time.Time // zero: never
	ClosedAt      time.Time // zero: open
	// Charge is what a confirmed order still waits for; only Confirm sets it.
	Charge         *Charge
	confirmationID uuid.UUID
	binding        []byte
	tokenHash      []byte
	events         int64
}

// Cursor returns the place of an order in the list of orders.
func (o Order) Cursor() Cursor { return Cursor{At: o.CreatedAt, ID: o.ID} }

// OrderKey returns the key of the orders of an edit chain. At most one of them
// is ever posted, under this idempotency key.
func OrderKey(channel, firstID string) string { return channel + ":" + firstID }

// holdKey, voidKey: a new version of a message holds anew.
func (o Order) holdKey() string { return fmt.Sprintf("hold:%s:v%d", o.Key, o.Version) }
func (o Order) voidKey() string { return fmt.Sprintf("void:%s:v%d", o.Key, o.Version) }

// Reference is a short name of the order for people. It makes replies with the
// same words differ, too, which X asks for.
func (o Order) Reference() string { return fmt.Sprintf("%X", o.ID[:referenceBytes]) }

var orderNamespace = uuid.MustParse("c6b0a2f4-1c55-5d2a-9f0e-7a3d0d6b8e21")

func orderID(message uuid.UUID) uuid.UUID { return uuid.NewSHA1(orderNamespace, message[:]) }

// bind computes what a secret code confirms: this amount to this payee, and
// nothing else (RTS 2018/389 art. 5, dynamic linking).
func (s *Service) bind(o Order) []byte {
	return mac(s.keys.binding, o.ID[:], o.PayerID[:], []byte(o.PayeeKind), o.PayeeID[:], []byte(o.PayeeUserID),
		binary.BigEndian.AppendUint64(nil, uint64(o.Amount)), []byte(o.Currency))
}

// token returns the secret part of the confirmation page's address. It follows
// from the order's id and a key that is not in the database, so that a notice
// can be written when it is sent and the link itself is stored nowhere.
func (s *Service) token(order uuid.UUID) string {
	return base64.RawURLEncoding.EncodeToString(mac(s.keys.token, order[:]))
}

// tokenLength is that of 32 bytes in base64.
const tokenLength = 43

func hashToken(token string) []byte {
	hash := sha256.Sum256([]byte(token))
	return hash[:]
}

const orderColumns = `id, order_key, message_id, channel, first_id, version, state, reason, payer_id, payer_user_id, payee_kind,
	COALESCE(payee_customer_id, payee_payee_id), payee_user_id, payee_handle, amount, currency, language, hold_id, card_id, transaction_id,
	effective_date, message_at, created_at, expires_at, closed_at, confirmation_id, binding, token_hash, events`

func scanOrder(rows *sqldb.Rows) (Order, error) {
	var o Order
	err := rows.Scan(&o.ID, &o.Key, &o.MessageID, &o.Channel, &o.FirstID, &o.Version, &o.State, &o.Reason, &o.PayerID, &o.PayerUserID, &o.PayeeKind,
		&o.PayeeID, &o.PayeeUserID, &o.PayeeHandle, &o.Amount, &o.Currency, &o.Language, &o.HoldID, &o.CardID, &o.TransactionID,
		&o.EffectiveDate, &o.MessageAt, &o.CreatedAt, &o.ExpiresAt, &o.ClosedAt, &o.confirmationID, &o.binding, &o.tokenHash, &o.events)
	return o, err
}

func orders(ctx context.Context, tx *sqldb.Tx, where string, args []any, tail string) ([]Order, error) {
	var list []Order
	err := tx.Each(ctx, "SELECT "+orderColumns+" FROM orders WHERE "+where+tail, args, func(rows *sqldb.Rows) error {
		o, err := scanOrder(rows)
		list = append(list, o)
		return err
	})
	return list, err
}

func oneOrder(ctx context.Context, tx *sqldb.Tx, where string, arg any, tail, name string) (Order, error) {
	list, err := orders(ctx, tx, where, []any{arg}, tail)
	if err != nil {
		return Order{}, fmt.Errorf("find order %s: %w", name, err)
	}
	if len(list) == 0 {
		return Order{}, ledger.Errorf(ledger.CodeNotFound, "there is no order %s", name).InField("order")
	}
	return list[0], nil
}

// FindOrder returns the order with the given id, or CodeNotFound.
func FindOrder(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) (Order, error) {
	return oneOrder(ctx, tx, "id = $1", id, "", id.String())
}

func lockOrder(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) (Order, error) {
	return oneOrder(ctx, tx, "id = $1", id, tx.ForUpdate(), id.String())
}

// OrdersOfKey returns the orders of an edit chain, by version.
func OrdersOfKey(ctx context.Context, tx *sqldb.Tx, key string) ([]Order, error) {
	list, err := orders(ctx, tx, "order_key = $1", []any{key}, " ORDER BY version")
	if err != nil {
		return nil, fmt.Errorf("orders of %s: %w", clip(key), err)
	}
	return list, nil
}

// otherFirstIDs finds the first ids under which the messages of an edit chain are known
// as well. CROSS makes SQLite begin with the chain, not with all of the channel.
const otherFirstIDs = `SELECT x.first_id FROM messages AS v CROSS JOIN messages AS x
	WHERE v.channel = $1 AND v.first_id = $2 AND x.channel = v.channel AND x.message_id = v.message_id AND x.first_id <> $2 AND x.author_id = $3`

// lockChain returns the orders of a message's edit chain and locks them; those
// that the same author's versions made under another first id belong to it. They
// are looked up first and locked by their ids: on CockroachDB 22.1 a lock that was
// taken through a secondary index can linger for seconds after the commit.
func lockChain(ctx context.Context, tx *sqldb.Tx, m InboxMessage) ([]Order, error) {
	keys := []string{OrderKey(m.Channel, m.FirstID)}
	err := tx.Each(ctx, otherFirstIDs, []any{m.Channel, m.FirstID, m.AuthorID},
		func(rows *sqldb.Rows) error {
			var firstID string
			err := rows.Scan(&firstID)
			if key := OrderKey(m.Channel, firstID); !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("other first ids of the edit chain: %w", err)
	}
	found, err := orders(ctx, tx, tx.AnyText("order_key", 1), []any{keys}, "")
	if err != nil {
		return nil, fmt.Errorf("orders of the edit chain: %w", err)
	}
	if len(found) == 0 {
		return nil, nil
	}
	ids := make([]uuid.UUID, len(found))
	for i, o := range found {
		ids[i] = o.ID
	}
	locked, err := orders(ctx, tx, tx.AnyUUID("id", 1), []any{ids}, " ORDER BY id"+tx.ForUpdate())
	if err != nil {
		return nil, fmt.Errorf("lock the orders of the edit chain: %w", err)
	}
	return locked, nil
}

// Order returns the order with the given id, or CodeNotFound.
func (s *Service) Order(ctx context.Context, id uuid.UUID) (Order, error) {
	var o Order
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		o, err = FindOrder(ctx, tx, id)
		return err
	})
	return o, err
}

// OrderFilter selects a page of orders, in the order in which they were made.
type OrderFilter struct {
	State    State     // empty: any
	PayerID  uuid.UUID // Nil: any
	PayeeID  uuid.UUID // customer or payee; Nil: any
	From, To time.Time // when they were made; To is exclusive; zero: no bound
	After    Cursor    // the last one seen; zero: from the first
	Limit    int       // 1 to MaxPage
}

// ListOrders returns a page of orders.
func ListOrders(ctx context.Context, tx *sqldb.Tx, f OrderFilter) ([]Order, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	var c sqldb.Where
	if f.State != "" {
		if !f.State.Valid() {
			return nil, ledger.Errorf(ledger.CodeInvalid, "%q is not a state of orders; use one such as awaiting_confirmation, posted or cancelled", clip(string(f.State))).InField("state")
		}
		c.And("state = ?", string(f.State))
	}
	if f.PayerID != uuid.Nil {
		c.And("payer_id = ?", f.PayerID)
	}
	if f.PayeeID != uuid.Nil {
		c.And("(payee_customer_id = ? OR payee_payee_id = ?)", f.PayeeID, f.PayeeID)
	}
	createdBetween(&c, f.From, f.To, f.After)
	list, err := orders(ctx, tx, c.Condition(), c.Args, fmt.Sprintf(" ORDER BY created_at, id LIMIT %d", f.Limit))
	if err != nil {
		return nil, fmt.Errorf("list orders: %w", err)
	}
	return list, nil
}

// OrderEvent is a change of an order's state.
type OrderEvent struct {
	At       time.Time
	Actor    string
	From, To State // From is empty for the first
	Reason   string
}

// OrderEvents returns what happened to an order, oldest first.
func OrderEvents(ctx context.Context, tx *sqldb.Tx, order uuid.UUID) ([]OrderEvent, error) {
	var list []OrderEvent
	err := tx.Each(ctx, "SELECT at, actor, from_state, to_state, reason FROM order_events WHERE order_id = $1 ORDER BY ordinal",
		[]any{order}, func(rows *sqldb.Rows) error {
			var e OrderEvent
			err := rows.Scan(&e.At, &e.Actor, &e.From, &e.To, &e.Reason)
			list = append(list, e)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("events of order %s: %w", order, err)
	}
	return list, nil
}

func recordOrderEvent(ctx context.Context, tx *sqldb.Tx, order uuid.UUID, ordinal int64, e OrderEvent) error {
	_, err := tx.Exec(ctx, `INSERT INTO order_events (order_id, ordinal, at, actor, from_state, to_state, reason)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`, order, ordinal, e.At, e.Actor, string(e.From), string(e.To), e.Reason)
	if err != nil {
		return fmt.Errorf("record an event of order %s: %w", order, err)
	}
	return nil
}

// move moves an order to another state, and returns what to record of it. A change that
// the states do not allow is CodeConflict.
func (o *Order) move(to State, actor, reason string, at time.Time) (OrderEvent, error) {
	if !slices.Contains(transitions(o.State), to) {
		return OrderEvent{}, ledger.Errorf(ledger.CodeConflict, "order %s is %s and cannot become %s", o.ID, o.State, to).InField("order")
	}
	event := OrderEvent{At: at, Actor: actor, From: o.State, To: to, Reason: reason}
	if !to.Open() {
		o.ClosedAt = at
	}
	o.State, o.Reason, o.events = to, reason, o.events+1
	return event, nil
}

// change moves an order to another state, with everything that o has of that
// state, and records the event. The order must be as o says: a change that
// somebody else made first, or one that the states do not allow, is CodeConflict.
func change(ctx context.Context, tx *sqldb.Tx, o *Order, to State, actor, reason string, at time.Time) error {
	next := *o
	event, err := next.move(to, actor, reason, at)
	if err == nil {
		err = update(ctx, tx, next, event)
	}
	if err == nil {
		*o = next
	}
	return err
}

// update writes an order as its last event has left it.
func update(ctx context.Context, tx *sqldb.Tx, o Order, last OrderEvent) error {
	n, err := tx.Exec(ctx, `UPDATE orders SET state = $1, reason = $2, events = events + 1, hold_id = $3, token_hash = $4, expires_at = $5,
			transaction_id = $6, effective_date = $7, confirmation_id = $8, closed_at = $9, card_id = $10
		WHERE id = $11 AND state = $12`,
		string(o.State), o.Reason, sqldb.NullUUID(o.HoldID), nullBytes(o.tokenHash), o.ExpiresAt,
		sqldb.NullUUID(o.TransactionID), o.EffectiveDate, sqldb.NullUUID(o.confirmationID), o.ClosedAt, sqldb.NullUUID(o.CardID), o.ID, string(last.From))
	if err != nil {
		return fmt.Errorf("change order %s to %s: %w", o.ID, o.State, err)
	}
	if n != 1 {
		return ledger.Errorf(ledger.CodeConflict, "order %s is no longer %s", o.ID, last.From).InField("order")
	}
	return recordOrderEvent(ctx, tx, o.ID, o.events-1, last)
}

func nullBytes(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// note adds to an order's history what is no change of its state.
func note(ctx context.Context, tx *sqldb.Tx, o *Order, actor, reason string, at time.Time) error {
	if err := recordOrderEvent(ctx, tx, o.ID, o.events, OrderEvent{At: at, Actor: actor, From: o.State, To: o.State, Reason: reason}); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "UPDATE orders SET events = events + 1 WHERE id = $1", o.ID); err != nil {
		return fmt.Errorf("count the events of order %s: %w", o.ID, err)
	}
	o.events++
	return nil
}

// release gives back what an open order holds and moves it to a final state.
func (s *Service) release(ctx context.Context, tx *sqldb.Tx, o *Order, to State, actor, reason string, at time.Time) error {
	if o.HoldID != uuid.Nil {
		_, err := s.engine.VoidHoldTx(ctx, tx, ledger.VoidHoldRequest{Key: o.voidKey(), HoldID: o.HoldID, Expired: to == StateExpired})
		// A hold that the ledger has let go by itself holds nothing any more.
		if err != nil && ledger.CodeOf(err) != ledger.CodeHoldClosed {
			return fmt.Errorf("release the money of order %s: %w", o.ID, err)
		}
	}
	return change(ctx, tx, o, to, actor, reason, at)
}
