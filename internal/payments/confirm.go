package payments

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Confirmation is what a payer sees before entering the secret code.
type Confirmation struct {
	OrderID     uuid.UUID
	State       State
	Amount      ledger.Amount
	Currency    ledger.Currency
	PayeeHandle string // without @
	PayeeName   string // of a charity or business; people are shown by handle alone
	PayeeKind   PayeeKind
	Language    string
	Reference   string
	ExpiresAt   time.Time // UTC
	// Card is what pays the missing part, where that is not in the wallet.
	Card *CardShare
	// Stamp is to come back with the code: it proves when the page was shown, and
	// that it showed what is confirmed.
	Stamp string
}

// Confirmation returns what the page with a token shows. An unknown token is
// CodeNotFound.
func (s *Service) Confirmation(ctx context.Context, token string) (Confirmation, error) {
	var o Order
	var to payee
	var share *CardShare
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		if o, err = orderOfToken(ctx, tx, token); err != nil {
			return err
		}
		if to, err = loadPayee(ctx, tx, o); err != nil {
			return err
		}
		share, err = cardShare(ctx, tx, s.config.Cards, o)
		return err
	})
	if err != nil {
		return Confirmation{}, err
	}
	now := s.engine.Now()
	c := Confirmation{OrderID: o.ID, State: o.State, Amount: o.Amount, Currency: o.Currency, PayeeHandle: o.PayeeHandle, PayeeName: to.name,
		PayeeKind: o.PayeeKind, Language: o.Language, Reference: o.Reference(), ExpiresAt: o.ExpiresAt, Card: share, Stamp: s.stamp(o, now)}
	if c.State == StateAwaitingConfirmation && !now.Before(o.ExpiresAt) {
		c.State = StateExpired // the sweeper has not come by yet
	}
	return c, nil
}

func orderOfToken(ctx context.Context, tx *sqldb.Tx, token string) (Order, error) {
	if len(token) != tokenLength {
		return Order{}, ledger.Errorf(ledger.CodeNotFound, "there is nothing to confirm under this address")
	}
	list, err := orders(ctx, tx, "token_hash = $1", []any{hashToken(token)}, "")
	if err != nil {
		return Order{}, fmt.Errorf("find the order of a confirmation link: %w", err)
	}
	if len(list) == 0 {
		return Order{}, ledger.Errorf(ledger.CodeNotFound, "there is nothing to confirm under this address")
	}
	return list[0], nil
}

// stamp signs that the page of an order was shown at a time.
func (s *Service) stamp(o Order, at time.Time) string {
	stamp := binary.BigEndian.AppendUint64(nil, uint64(at.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(append(stamp, mac(s.keys.form, stamp, o.ID[:], o.binding)...))
}

// checkStamp refuses a form that was left open too long, or is none of ours.
func (s *Service) checkStamp(o Order, stamp string, now time.Time) error {
	raw, err := base64.RawURLEncoding.DecodeString(stamp)
	if err != nil || len(raw) != stampLength {
		return ledger.Errorf(ledger.CodeInvalid, "this page is not up to date; open the link again").InField("stamp")
	}
	if !hmac.Equal(raw[8:], mac(s.keys.form, raw[:8], o.ID[:], o.binding)) {
		return &ledger.Error{Code: ledger.CodeInvalid, Field: "stamp", Message: "this page is not up to date; open the link again", Err: errForged}
	}
	age := now.Sub(time.UnixMicro(int64(binary.BigEndian.Uint64(raw))))
	if age < -maxClockSkew || age > s.config.PageIdle {
		return ledger.Errorf(ledger.CodeInvalid, "this page was open for more than %d minutes; open the link again",
			int(s.config.PageIdle.Minutes())).InField("stamp")
	}
	return nil
}

// stampLength is that of a time and an HMAC-SHA256.
const stampLength = 8 + 32

// maxClockSkew bounds how far the clock of the node that showed a page may be ahead.
const maxClockSkew = time.Minute

// ConfirmRequest is a payer's secret code for an order.
type ConfirmRequest struct {
	// Token is the secret part of the page's address, and Stamp what Confirmation
	// returned with it. A caller that has made sure by itself which order is meant
	// (the command line) gives OrderID instead of both.
	Token   string
	Stamp   string
	OrderID uuid.UUID
	Code    string // 6 digits
	Actor   string // who passes it on: "page", or the clerk
}

// errNotConfirmed is the one answer to everything that is wrong with who asks:
// which element failed is never revealed (RTS 2018/389 art. 4).
func errNotConfirmed() error {
	return ledger.Errorf(ledger.CodeForbidden, "the payment was not confirmed; check what you entered, or contact us")
}

// Confirm posts an order that its payer confirms with the secret code. A wrong
// code, a blocked one or none at all is CodeForbidden, always with the same
// words. An order that is not waiting for a confirmation is CodeConflict, and no
// try is counted. An order that the rules forbid by now is voided: CodeForbidden.
// Where a card pays what is missing, the order may come back as it was, with the
// charge that it waits for; a card that was declined is CodeInsufficientFunds.
func (s *Service) Confirm(ctx context.Context, r ConfirmRequest) (Order, error) {
	if err := validSecret(r.Code); err != nil {
		return Order{}, err
	}
	if err := validText("actor", r.Actor, maxActor); err != nil {
		return Order{}, err
	}
	o, payer, err := s.orderToConfirm(ctx, r)
	if err != nil {
		return Order{}, err
	}
	tried, err := s.tryCode(ctx, payer, r.Code)
	if err != nil {
		return Order{}, err
	}
	if !tried.right {
		if tried.last {
			s.recordBlock(ctx, payer, r.Actor)
		}
		s.log.InfoContext(ctx, "payment not confirmed", "order", o.ID, "customer", payer.Number, "actor", r.Actor)
		return Order{}, errNotConfirmed()
	}
	confirmed, err := s.post(ctx, o.ID, payer.secretHash, r)
	if err == nil && tried.stale {
		s.rehash(ctx, payer, r.Code)
	}
	return confirmed, err
}

// orderToConfirm reads the order and its payer, and refuses what no code can help.
func (s *Service) orderToConfirm(ctx context.Context, r ConfirmRequest) (Order, Customer, error) {
	var o Order
	var payer Customer
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		if r.Token != "" {
			o, err = orderOfToken(ctx, tx, r.Token)
		} else {
			o, err = FindOrder(ctx, tx, r.OrderID)
		}
		if err != nil {
			return err
		}
		payer, err = FindCustomerByID(ctx, tx, o.PayerID)
		return err
	})
	if err != nil {
		return Order{}, Customer{}, err
	}
	now := s.engine.Now()
	if err := awaitsConfirmation(o, now); err != nil {
		return Order{}, Customer{}, err
	}
	if r.Token != "" {
		if err := s.checkStamp(o, r.Stamp, now); err != nil {
			s.suspectForm(ctx, payer, o.ID, r.Actor, err)
			return Order{}, Customer{}, err
		}
	}
	return o, payer, nil
}

func awaitsConfirmation(o Order, now time.Time) error {
	switch {
	case o.State == StateAwaitingConfirmation && !now.Before(o.ExpiresAt):
		return ledger.Errorf(ledger.CodeConflict, "order %s has expired and cannot be confirmed", o.ID).InField("order")
	case o.State != StateAwaitingConfirmation:
		return ledger.Errorf(ledger.CodeConflict, "order %s is %s and cannot be confirmed", o.ID, o.State).InField("order")
	}
	return nil
}

// recordBlock notes in the customer's history that the code is blocked now. The
// block itself was committed with the try; losing the note loses no safety.
func (s *Service) recordBlock(ctx context.Context, c Customer, actor string) {
	now := s.engine.Now()
	err := s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return recordPartyEvent(ctx, tx, c.ID, PartyEvent{At: now, Actor: actor, Event: "secret_blocked", Reason: "too many wrong codes"})
	})
	s.log.WarnContext(ctx, "secret code blocked", "customer", c.Number, "actor", actor, "error", err)
}

// rehash replaces a hash that was made with parameters of the past.
func (s *Service) rehash(ctx context.Context, c Customer, code string) {
	hash, err := s.hashSecret(ctx, c.ID, code)
	if err == nil {
		err = s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, "UPDATE customers SET secret_hash = $1 WHERE id = $2 AND secret_hash = $3", hash, c.ID, c.secretHash)
			return err
		})
	}
	if err != nil { // the old hash stays good; the next confirmation tries again
		s.log.WarnContext(ctx, "secret code not rehashed", "customer", c.Number, "error", err)
	}
}

// post moves the money of an order whose code was right. Everything is checked
// again, in the transaction that posts.
func (s *Service) post(ctx context.Context, id uuid.UUID, secretHash string, r ConfirmRequest) (Order, error) {
	attempt, err := s.newID()
	if err != nil {
		return Order{}, err
	}
	var o Order
	var refused error
	var paying orderCharge
	err = s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		refused, paying = nil, orderCharge{}
		var err error
		if o, err = lockOrder(ctx, tx, id); err != nil {
			return err
		}
		if o.State == StatePosted && o.confirmationID == attempt {
			return nil // an earlier run of this function was committed after all
		}
		payer, err := FindCustomerByID(ctx, tx, o.PayerID)
		if err != nil {
			return err
		}
		if payer.secretHash != secretHash {
			return errNotConfirmed() // the code was changed while this one was checked
		}
		if err := secretAccepted(ctx, tx, payer.ID); err != nil {
			return err
		}
		now := s.engine.Now()
		if refused = awaitsConfirmation(o, now); refused != nil {
			return nil
		}
		if o.HoldID == uuid.Nil {
			if paying, refused, err = s.fund(ctx, tx, &o, payer, r.Actor); err != nil || refused != nil || paying.due() {
				return err
			}
		}
		reason, err := s.postTx(ctx, tx, &o, payer, attempt, r.Actor, now)
		if err != nil || reason == "" {
			return err
		}
		refused = ledger.Errorf(ledger.CodeForbidden, "this payment cannot be made any more; nothing was taken").InField("order")
		if err := s.release(ctx, tx, &o, StateVoided, ActorService, reason, now); err != nil {
			return err
		}
		return s.replyTo(ctx, tx, o, now)
	})
	if ledger.CodeOf(err) == ledger.CodeForbidden {
		return Order{}, err // the very same words as for a wrong code
	}
	if err != nil {
		return Order{}, fmt.Errorf("confirm order %s: %w", id, err)
	}
	if refused == nil && paying.due() {
		return s.payByCard(ctx, o, paying, r.Token)
	}
	return o, refused
}

// postTx posts what the order holds and puts the receipt into the outbox, or
// returns the reason for which that is not allowed.
func (s *Service) postTx(ctx context.Context, tx *sqldb.Tx, o *Order, payer Customer, attempt uuid.UUID, actor string, now time.Time) (string, error) {
	if !hmac.Equal(o.binding, s.bind(*o)) {
		s.log.ErrorContext(ctx, "order is not what was asked for", "order", o.ID)
		return ReasonBindingBroken, nil
	}
	to, err := loadPayee(ctx, tx, *o)
	if err != nil {
		return "", err
	}
	if reason, err := s.forbidden(ctx, tx, *o, payer, to, now); err != nil || reason != "" {
		return reason, err
	}
	posted, err := s.engine.PostHoldTx(ctx, tx, ledger.PostHoldRequest{Key: o.Key, HoldID: o.HoldID, Amount: o.Amount,
		ReleaseRest: true, Journal: ledger.JournalTransfers, Label: journalLabel(to.kind)})
	switch ledger.CodeOf(err) {
	case "":
		if err != nil {
			return "", fmt.Errorf("post the hold: %w", err)
		}
	case ledger.CodeHoldClosed:
		return ReasonHoldLost, nil
	case ledger.CodeAccountClosed:
		return ReasonAccountClosed, nil
	default:
		return "", fmt.Errorf("post the hold: %w", err)
	}
	if p := posted.Postings; len(p) != 1 || p[0].Debit != payer.WalletID || p[0].Credit != to.account || p[0].Amount != o.Amount {
		return "", fmt.Errorf("the hold of order %s is not between its payer and payee", o.ID)
	}
	o.TransactionID, o.EffectiveDate, o.confirmationID = posted.ID, posted.EffectiveDate, attempt
	if err := change(ctx, tx, o, StatePosted, actor, ReasonConfirmed, now); err != nil {
		return "", err
	}
	if err := notePaid(ctx, tx, *o); err != nil {
		return "", err
	}
	if to.kind == Unregistered {
		return "", s.keep(ctx, tx, o, now)
	}
	return "", s.replyTo(ctx, tx, *o, now)
}

// forbidden returns the reason for which an order may not be posted now, or "".
func (s *Service) forbidden(ctx context.Context, tx *sqldb.Tx, o Order, payer Customer, to payee, now time.Time) (string, error) {
	if reason := s.refusal(o, payer, to); reason != "" {
		return reason, nil
	}
	return s.overVelocity(ctx, tx, o, now)
}

// journalLabel says what a posting is without saying whose: it goes into the tax file.
func journalLabel(kind PayeeKind) string {
	switch kind {
	case Charity:
		return "Donation"
	case Business:
		return "Payment to a business"
	case Unregistered:
		return "Payment to be claimed"
	}
	return "Transfer between customers"
}
