package payments

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// Money for somebody who is no customer is posted like any other when the payer has
// confirmed it, but to the account of unclaimed payments: the order is posted, and
// what the bank owes to nobody known yet has a life of its own. It waits until the
// payee's account is linked to a customer, or until its term is over. Both ends are
// one posting under one idempotency key, so that there is only ever one of them.

// UnclaimedState is where an unclaimed payment is.
type UnclaimedState string

// The states of an unclaimed payment. All but the first are final.
const (
	UnclaimedWaiting  UnclaimedState = "waiting"
	UnclaimedClaimed  UnclaimedState = "claimed"  // it went on to the payee's wallet
	UnclaimedReturned UnclaimedState = "returned" // it went back to the payer
)

// Why an unclaimed payment waits though its payee is known, or has ended. The other
// reasons are those of orders, where they are about the payee's or payer's wallet.
const (
	ReasonPayeeNotPerson = "payee_is_no_person" // the account is a charity's or a business's: what they are paid has another cap and a commission
	ReasonPayerCeiling   = "payer_ceiling"      // the payer's wallet may not hold what is to be returned
	ReasonReminded       = "reminded"           // in an order's history
	ReasonClaimed        = "claimed"
	ReasonReversed       = "reversed" // staff reversed the payment
)

// Unclaimed is money that was sent to somebody who was no customer.
type Unclaimed struct {
	OrderID       uuid.UUID
	PayerID       uuid.UUID
	Channel       string // with UserID, whose account must be linked to claim it
	UserID        string
	Amount        ledger.Amount
	Currency      ledger.Currency
	State         UnclaimedState
	Reason        string      // of its end, or why it waits; empty: for the payee
	PostedOn      ledger.Date // effective date
	CreatedAt     time.Time   // UTC, as all instants here
	ExpiresAt     time.Time   // from then on it is returned and not claimed
	RemindedAt    time.Time   // zero: not yet
	CustomerID    uuid.UUID   // who claimed it
	TransactionID uuid.UUID   // which moved it on or back; Nil while it waits
	ClosedOn      ledger.Date // effective date of that
	ClosedAt      time.Time
}

// Cursor returns the place of an unclaimed payment in the list of them.
func (u Unclaimed) Cursor() Cursor { return Cursor{At: u.CreatedAt, ID: u.OrderID} }

const (
	// claimRetry is how long what does not fit waits until it is tried again: a
	// payee who has spent something, or staff who have lifted a block, are no hurry.
	claimRetry = time.Hour
	// maxClaims bounds what moves on in the transaction of a link. The sweeper does
	// the rest, a minute later.
	maxClaims = 20
)

// unclaimedKey is the idempotency key of the end of an unclaimed payment: a claim
// and a return under the same one cannot both be posted.
func (o Order) unclaimedKey() string { return "unclaimed:" + o.Key }

// keep notes that an order which has been posted waits for its payee, and invites
// them. Where they have become a customer since the order was made, it moves on at once.
func (s *Service) keep(ctx context.Context, tx *sqldb.Tx, o *Order, now time.Time) error {
	u := Unclaimed{OrderID: o.ID, PayerID: o.PayerID, Channel: linkChannel(o.Channel), UserID: o.PayeeUserID, Amount: o.Amount, Currency: o.Currency,
		State: UnclaimedWaiting, PostedOn: o.EffectiveDate, CreatedAt: now, ExpiresAt: now.Add(s.config.UnclaimedTerm)}
	_, err := tx.Exec(ctx, `INSERT INTO unclaimed_payments (order_id, payer_id, channel, user_id, amount, currency, state, reason, posted_on, created_at, expires_at, due_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, '', $8, $9, $10, $11)`,
		u.OrderID, u.PayerID, u.Channel, u.UserID, int64(u.Amount), string(u.Currency), string(u.State), u.PostedOn, u.CreatedAt, u.ExpiresAt, s.remindAt(u))
	if err != nil {
		return fmt.Errorf("keep the payment of order %s for its payee: %w", o.ID, err)
	}
	link, err := FindLink(ctx, tx, u.Channel, u.UserID)
	if err == nil {
		err = s.moveOn(ctx, tx, o, &u, link, now)
	}
	switch {
	case err != nil && ledger.CodeOf(err) != ledger.CodeNotFound:
		return err
	case u.State == UnclaimedClaimed:
		return s.replyTo(ctx, tx, *o, now)
	}
	return s.tellTx(ctx, tx, *o, string(StatePosted), unclaimedText(words.unclaimed, *o, u, s.config, s.engine.Location()), now)
}

// remindAt is when the payee of a payment that waits is reminded.
func (s *Service) remindAt(u Unclaimed) time.Time {
	return u.ExpiresAt.Add(-s.config.UnclaimedReminder)
}

// tellTx answers the message that an order came from, in words that stand for their
// occasion alone.
func (s *Service) tellTx(ctx context.Context, tx *sqldb.Tx, o Order, what, text string, now time.Time) error {
	m, err := FindMessage(ctx, tx, o.MessageID)
	if err != nil {
		return err
	}
	return s.answerTx(ctx, tx, m, o, what, what, text, now)
}

// claimAll moves on what waits for the user id of a new link.
func (s *Service) claimAll(ctx context.Context, tx *sqldb.Tx, l Link, now time.Time) error {
	ids, err := sqldb.Collect(ctx, tx, fmt.Sprintf(`SELECT order_id FROM unclaimed_payments WHERE channel = $1 AND user_id = $2 AND state = 'waiting'
		ORDER BY created_at, order_id LIMIT %d`, maxClaims+1), []any{l.Channel, l.UserID}, func(rows *sqldb.Rows) (id uuid.UUID, err error) {
		err = rows.Scan(&id)
		return id, err
	})
	if err != nil {
		return fmt.Errorf("look for payments that wait for user %s of %s: %w", l.UserID, l.Channel, err)
	}
	for _, id := range ids[:min(len(ids), maxClaims)] {
		if _, err := s.attend(ctx, tx, id, now); err != nil {
			return err
		}
	}
	if len(ids) <= maxClaims {
		return nil
	}
	_, err = tx.Exec(ctx, "UPDATE unclaimed_payments SET due_at = $1 WHERE channel = $2 AND user_id = $3 AND state = 'waiting' AND reason = ''", now, l.Channel, l.UserID)
	if err != nil {
		return fmt.Errorf("hand payments for user %s of %s to the sweeper: %w", l.UserID, l.Channel, err)
	}
	return nil
}

// SweepUnclaimed does what is due for payments that wait for their payees: it moves
// on what can be claimed by now, reminds, and returns what nobody has claimed in
// time; at most limit of them. It returns how many it looked at. Any number of
// processes may run it. One that fails does not keep the others; the error joins
// all failures.
func (s *Service) SweepUnclaimed(ctx context.Context, limit int) (int, error) {
	if err := sqldb.CheckPage(limit, MaxPage); err != nil {
		return 0, err
	}
	var due []uuid.UUID
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		due, err = sqldb.Collect(ctx, tx, fmt.Sprintf("SELECT order_id FROM unclaimed_payments WHERE state = 'waiting' AND due_at <= $1 ORDER BY due_at, order_id LIMIT %d", limit),
			[]any{s.engine.Now()}, func(rows *sqldb.Rows) (id uuid.UUID, err error) {
				err = rows.Scan(&id)
				return id, err
			})
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("look for unclaimed payments that are due: %w", err)
	}
	attended := 0
	var failures error
	for _, id := range due {
		did := false
		err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			var err error
			did, err = s.attend(ctx, tx, id, s.engine.Now())
			return err
		})
		switch {
		case err != nil && ctx.Err() != nil:
			return attended, err
		case err != nil:
			failures = errors.Join(failures, fmt.Errorf("attend to the unclaimed payment of order %s: %w", id, err))
		case did:
			attended++
		}
	}
	return attended, failures
}

// attend does what is to be done for one payment that waits, and reports whether it
// still did.
func (s *Service) attend(ctx context.Context, tx *sqldb.Tx, id uuid.UUID, now time.Time) (bool, error) {
	// The order first, as a confirmation locks it: two that want both never wait for each other.
	o, err := lockOrder(ctx, tx, id)
	if err != nil {
		return false, err
	}
	list, err := unclaimed(ctx, tx, "order_id = $1", []any{id}, tx.ForUpdate())
	if err != nil || len(list) == 0 || list[0].State != UnclaimedWaiting {
		return false, err
	}
	u := list[0]
	reversals, err := engine.ReversalsOf(ctx, tx, o.TransactionID)
	if err != nil {
		return false, err
	}
	if len(reversals) > 0 { // the payer has it back already
		return true, s.end(ctx, tx, &o, &u, UnclaimedReturned, reversals[0], ReasonReversed, now)
	}
	if !now.Before(u.ExpiresAt) {
		return true, s.returnToPayer(ctx, tx, &o, &u, now)
	}
	link, err := FindLink(ctx, tx, u.Channel, u.UserID)
	switch {
	case err == nil:
		return true, s.moveOn(ctx, tx, &o, &u, link, now)
	case ledger.CodeOf(err) != ledger.CodeNotFound:
		return false, err
	case u.RemindedAt.IsZero() && !now.Before(s.remindAt(u)):
		return true, s.remind(ctx, tx, &o, u, now)
	case u.RemindedAt.IsZero():
		return true, putOff(ctx, tx, u, "", s.remindAt(u))
	}
	return true, putOff(ctx, tx, u, "", u.ExpiresAt)
}

// putOff has a payment wait for a reason, and be looked at again at an instant.
func putOff(ctx context.Context, tx *sqldb.Tx, u Unclaimed, reason string, until time.Time) error {
	_, err := tx.Exec(ctx, "UPDATE unclaimed_payments SET reason = $1, due_at = $2 WHERE order_id = $3 AND state = 'waiting'", reason, until, u.OrderID)
	if err != nil {
		return fmt.Errorf("put off the unclaimed payment of order %s: %w", u.OrderID, err)
	}
	return nil
}

// remind tells the payee that the term is nearly over.
func (s *Service) remind(ctx context.Context, tx *sqldb.Tx, o *Order, u Unclaimed, now time.Time) error {
	_, err := tx.Exec(ctx, "UPDATE unclaimed_payments SET reason = '', reminded_at = $1, due_at = $2 WHERE order_id = $3 AND state = 'waiting'", now, u.ExpiresAt, u.OrderID)
	if err != nil {
		return fmt.Errorf("note the reminder of order %s: %w", u.OrderID, err)
	}
	if err := note(ctx, tx, o, ActorSweeper, ReasonReminded, now); err != nil {
		return err
	}
	return s.tellTx(ctx, tx, *o, ReasonReminded, unclaimedText(words.reminder, *o, u, s.config, s.engine.Location()), now)
}

// moveOn has a payment claimed: it goes to the wallet of the customer that a link names, or notes
// why it does not fit.
func (s *Service) moveOn(ctx context.Context, tx *sqldb.Tx, o *Order, u *Unclaimed, link Link, now time.Time) error {
	later := now.Add(claimRetry)
	if u.ExpiresAt.Before(later) {
		later = u.ExpiresAt
	}
	if link.CustomerID == uuid.Nil {
		return putOff(ctx, tx, *u, ReasonPayeeNotPerson, later)
	}
	c, err := FindCustomerByID(ctx, tx, link.CustomerID)
	if err != nil {
		return err
	}
	payer, err := FindCustomerByID(ctx, tx, u.PayerID)
	if err != nil {
		return err
	}
	if reason := s.refusal(*o, payer, payee{id: c.ID, kind: Person, status: c.Status, account: c.WalletID}); reason != "" {
		return putOff(ctx, tx, *u, reason, later)
	}
	posted, err := s.moveUnclaimed(ctx, tx, *o, *u, c.WalletID, "Payment claimed")
	switch ledger.CodeOf(err) {
	case "":
		if err != nil {
			return err
		}
	case ledger.CodeLimitExceeded:
		return putOff(ctx, tx, *u, ReasonPayeeCeiling, later)
	case ledger.CodeAccountClosed:
		return putOff(ctx, tx, *u, ReasonAccountClosed, later)
	default:
		return err
	}
	u.CustomerID = c.ID
	if err := s.end(ctx, tx, o, u, UnclaimedClaimed, posted, ReasonClaimed, now); err != nil {
		return err
	}
	return s.tellTx(ctx, tx, *o, string(UnclaimedClaimed), unclaimedText(words.claimed, *o, *u, s.config, s.engine.Location()), now)
}

// returnToPayer gives back what nobody has claimed in time. Where the payer's wallet
// cannot take it, it is tried again.
func (s *Service) returnToPayer(ctx context.Context, tx *sqldb.Tx, o *Order, u *Unclaimed, now time.Time) error {
	payer, err := FindCustomerByID(ctx, tx, u.PayerID)
	if err != nil {
		return err
	}
	posted, err := s.moveUnclaimed(ctx, tx, *o, *u, payer.WalletID, "Return of a payment that was not claimed")
	switch ledger.CodeOf(err) {
	case "":
		if err != nil {
			return err
		}
	case ledger.CodeLimitExceeded:
		return putOff(ctx, tx, *u, ReasonPayerCeiling, now.Add(claimRetry))
	case ledger.CodeAccountClosed:
		return putOff(ctx, tx, *u, ReasonAccountClosed, now.Add(claimRetry))
	default:
		return err
	}
	if err := s.end(ctx, tx, o, u, UnclaimedReturned, posted, ReasonTermOver, now); err != nil {
		return err
	}
	return s.tellTx(ctx, tx, *o, string(UnclaimedReturned), unclaimedText(words.returned, *o, *u, s.config, s.engine.Location()), now)
}

// moveUnclaimed posts a payment that waits to a wallet. Its source is the order, not
// the message: that asked for one posting, which is there already.
func (s *Service) moveUnclaimed(ctx context.Context, tx *sqldb.Tx, o Order, u Unclaimed, wallet uuid.UUID, label string) (ledger.Transaction, error) {
	posted, err := s.engine.PostTx(ctx, tx, ledger.PostRequest{
		Key: o.unclaimedKey(), Journal: ledger.JournalTransfers, Label: label, Source: ledger.Source{Channel: "unclaimed", ID: o.ID.String()},
		Postings: []ledger.Posting{{Debit: ledger.SystemAccountID(AccountUnclaimed), Credit: wallet, Amount: u.Amount, Currency: u.Currency}},
	})
	if err != nil {
		return ledger.Transaction{}, fmt.Errorf("post the unclaimed payment of order %s: %w", o.ID, err)
	}
	return posted, nil
}

// end notes the end of a payment that waited, in its row and in the order's history.
func (s *Service) end(ctx context.Context, tx *sqldb.Tx, o *Order, u *Unclaimed, state UnclaimedState, by ledger.Transaction, reason string, now time.Time) error {
	n, err := tx.Exec(ctx, `UPDATE unclaimed_payments SET state = $1, reason = $2, customer_id = $3, transaction_id = $4, closed_on = $5, closed_at = $6
		WHERE order_id = $7 AND state = 'waiting'`, string(state), reason, sqldb.NullUUID(u.CustomerID), by.ID, by.EffectiveDate, now, u.OrderID)
	if err != nil {
		return fmt.Errorf("note that the payment of order %s is %s: %w", u.OrderID, state, err)
	}
	if n != 1 {
		return ledger.Errorf(ledger.CodeConflict, "the payment of order %s no longer waits for its payee", u.OrderID).InField("order")
	}
	u.State, u.Reason, u.TransactionID, u.ClosedOn, u.ClosedAt = state, reason, by.ID, by.EffectiveDate, now
	what := string(state)
	if reason == ReasonReversed {
		what = ReasonReversed
	}
	return note(ctx, tx, o, ActorService, what, now)
}

// CheckReversal refuses to reverse the posting of an order whose money has left the
// account of unclaimed payments: the payer would have it back from what is kept for
// others. What moved it on is to be reversed first. The error is CodeConflict.
func CheckReversal(ctx context.Context, tx *sqldb.Tx, original ledger.Transaction) error {
	list, err := orders(ctx, tx, "order_key = $1 AND state = 'posted'", []any{original.Key}, "")
	if err != nil {
		return fmt.Errorf("find the order of transaction %s: %w", original.ID, err)
	}
	for _, o := range list { // one at most: they share an idempotency key
		u, err := FindUnclaimed(ctx, tx, o.ID)
		switch {
		case ledger.CodeOf(err) == ledger.CodeNotFound:
			continue
		case err != nil:
			return err
		case u.State == UnclaimedWaiting || u.Reason == ReasonReversed:
			continue
		}
		undone, err := engine.ReversalsOf(ctx, tx, u.TransactionID)
		if err != nil {
			return err
		}
		if len(undone) == 0 {
			return ledger.Errorf(ledger.CodeConflict, "the money of order %s was %s with transaction %s, and no longer waits for its payee; reverse that one first",
				o.Reference(), u.State, u.TransactionID).InField("transaction_id")
		}
	}
	return nil
}

// mustHaveNothingUnclaimed refuses to close a customer to whom money may come back.
func mustHaveNothingUnclaimed(ctx context.Context, tx *sqldb.Tx, c Customer) error {
	var n int64
	err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM unclaimed_payments WHERE payer_id = $1 AND state = 'waiting'", []any{c.ID}, &n)
	if err != nil {
		return fmt.Errorf("look for unclaimed payments of %s: %w", c.Number, err)
	}
	if n > 0 {
		return ledger.Errorf(ledger.CodeConflict, "payments of %s wait to be claimed (%d), and may come back; close when they have ended", c.Number, n).InField("status")
	}
	return nil
}

const unclaimedColumns = `order_id, payer_id, channel, user_id, amount, currency, state, reason, posted_on, created_at, expires_at, reminded_at,
	customer_id, transaction_id, closed_on, closed_at`

func unclaimed(ctx context.Context, tx *sqldb.Tx, where string, args []any, tail string) ([]Unclaimed, error) {
	list, err := sqldb.Collect(ctx, tx, "SELECT "+unclaimedColumns+" FROM unclaimed_payments WHERE "+where+tail, args, func(rows *sqldb.Rows) (u Unclaimed, err error) {
		err = rows.Scan(&u.OrderID, &u.PayerID, &u.Channel, &u.UserID, &u.Amount, &u.Currency, &u.State, &u.Reason, &u.PostedOn, &u.CreatedAt, &u.ExpiresAt,
			&u.RemindedAt, &u.CustomerID, &u.TransactionID, &u.ClosedOn, &u.ClosedAt)
		return u, err
	})
	if err != nil {
		return nil, fmt.Errorf("read unclaimed payments: %w", err)
	}
	return list, nil
}

// FindUnclaimed returns what became of the money of a posted order whose payee was
// no customer, or CodeNotFound.
func FindUnclaimed(ctx context.Context, tx *sqldb.Tx, order uuid.UUID) (Unclaimed, error) {
	list, err := unclaimed(ctx, tx, "order_id = $1", []any{order}, "")
	if err != nil {
		return Unclaimed{}, err
	}
	if len(list) == 0 {
		return Unclaimed{}, ledger.Errorf(ledger.CodeNotFound, "order %s has no unclaimed payment", order).InField("order")
	}
	return list[0], nil
}

// UnclaimedOn returns a page of the payments that waited at the end of a business
// date, oldest first: those after a cursor, limit of them (1 to MaxPage).
func UnclaimedOn(ctx context.Context, tx *sqldb.Tx, on ledger.Date, after Cursor, limit int) ([]Unclaimed, error) {
	if err := sqldb.CheckPage(limit, MaxPage); err != nil {
		return nil, err
	}
	var c sqldb.Where
	c.And("posted_on <= ?", on)
	c.And("(closed_on IS NULL OR closed_on > ?)", on)
	if !after.At.IsZero() {
		c.And("(created_at, order_id) > (?, ?)", after.At, after.ID)
	}
	return unclaimed(ctx, tx, c.Condition(), c.Args, fmt.Sprintf(" ORDER BY created_at, order_id LIMIT %d", limit))
}
