package payments

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// An order whose money is not in the wallet can wait for its confirmation without a
// hold, where the customer has allowed a card to pay what is missing. The card is
// charged when the payer has confirmed the order with the secret code: then rules and
// screening have spoken, the payer is there to authenticate, and a tweet alone charges
// nothing. The order is posted in the transaction that posts the charge. Where that is
// not possible any more, the charge goes back to the card.

// CardShare is what a card pays of an order.
type CardShare struct {
	Brand, LastFour string
	Amount          ledger.Amount // 0: the wallet has enough by now
	// State and ChallengeURL are of the newest charge; empty: there is none.
	State        ChargeState
	Reason       string
	ChallengeURL string
}

// missing is what an order needs from a card: no less than a card is charged at least.
func missing(cards CardConfig, amount, available ledger.Amount) ledger.Amount {
	if available >= amount {
		return 0
	}
	return max(amount-max(available, 0), cards.Minimum)
}

// cardShare returns what the page of an order says about its card; nil: no card pays.
func cardShare(ctx context.Context, tx *sqldb.Tx, cards CardConfig, o Order) (*CardShare, error) {
	if o.State != StateAwaitingConfirmation || o.HoldID != uuid.Nil {
		return nil, nil
	}
	card, err := FindCard(ctx, tx, o.CardID)
	if err != nil {
		return nil, err
	}
	payer, err := FindCustomerByID(ctx, tx, o.PayerID)
	if err != nil {
		return nil, err
	}
	balance, err := engine.FindBalance(ctx, tx, payer.WalletID)
	if err != nil {
		return nil, err
	}
	list, err := chargesOfOrder(ctx, tx, o.ID)
	if err != nil {
		return nil, err
	}
	share := CardShare{Brand: card.Brand, LastFour: card.LastFour, Amount: missing(cards, o.Amount, balance.Available())}
	if len(list) > 0 {
		last := list[len(list)-1]
		share.State, share.Reason, share.ChallengeURL = last.State, last.Reason, last.ChallengeURL
	}
	return &share, nil
}

func chargesOfOrder(ctx context.Context, tx *sqldb.Tx, order uuid.UUID) ([]Charge, error) {
	return findCharges(ctx, tx, "order_id = $1", []any{order}, " ORDER BY created_at, id")
}

// cardInstead lets an order for which the wallet has too little wait for a card, where
// one may pay. It returns the reason to wait, or the one for which the order is refused.
func (s *Service) cardInstead(ctx context.Context, tx *sqldb.Tx, o *Order, payer Customer, to payee) (awaits, refused string, err error) {
	if s.processor == nil {
		return "", ReasonInsufficientFunds, nil
	}
	card, found, err := defaultCard(ctx, tx, payer.ID)
	if err != nil || !found {
		return "", ReasonInsufficientFunds, err
	}
	if _, err := s.share(ctx, tx, *o, payer, card); err != nil {
		if code := ledger.CodeOf(err); code != "" && code != ledger.CodeUnavailable {
			return "", ReasonInsufficientFunds, nil
		}
		return "", "", err
	}
	full, err := s.payeeIsFull(ctx, tx, *o, to)
	if err != nil {
		return "", "", err
	}
	if full {
		return "", ReasonPayeeCeiling, nil
	}
	o.CardID = card.ID
	return ReasonCardPays, "", nil
}

// payeeIsFull reports whether the payee's wallet may not hold the order's amount. The
// ledger says so again when it is posted; here it keeps a card from being charged for
// nothing.
func (s *Service) payeeIsFull(ctx context.Context, tx *sqldb.Tx, o Order, to payee) (bool, error) {
	if to.kind != Person {
		return false, nil
	}
	balance, err := engine.FindBalance(ctx, tx, to.account)
	return balance.Expected() > s.config.WalletCeiling-o.Amount, err
}

// share returns what the card is to be charged for the order; an Error says why it may
// not be.
func (s *Service) share(ctx context.Context, tx *sqldb.Tx, o Order, payer Customer, card Card) (ledger.Amount, error) {
	balance, err := engine.FindBalance(ctx, tx, payer.WalletID)
	if err != nil {
		return 0, err
	}
	amount := missing(s.config.Cards, o.Amount, balance.Available())
	switch {
	case amount == 0:
		return 0, nil
	case amount > card.AutomaticMaximum:
		return 0, ledger.Errorf(ledger.CodeInsufficientFunds, "the wallet lacks %s %s, which the card %s may not be charged without asking",
			amount.Format(o.Currency), o.Currency, card.described())
	}
	return amount, s.mayCharge(ctx, tx, payer, card, amount)
}

// orderCharge is the charge that an order waits for, and its card.
type orderCharge struct {
	charge Charge
	card   Card
	made   bool // it was written down just now, and the processor does not know of it
}

func (p orderCharge) due() bool { return p.charge.ID != uuid.Nil }

// fund gets the money of a confirmed order that holds nothing: from the wallet, which
// may have it by now, else by a charge that is written down here. refused is what the
// payer is told.
func (s *Service) fund(ctx context.Context, tx *sqldb.Tx, o *Order, payer Customer, actor string) (paying orderCharge, refused, err error) {
	to, err := loadPayee(ctx, tx, *o)
	if err != nil {
		return paying, nil, err
	}
	reason, err := s.forbidden(ctx, tx, *o, payer, to, s.engine.Now())
	if err != nil || reason != "" || !hmac.Equal(o.binding, s.bind(*o)) {
		return paying, nil, err // postTx says so again, and the order is voided
	}
	list, err := chargesOfOrder(ctx, tx, o.ID)
	if err != nil {
		return paying, nil, err
	}
	if n := len(list); n > 0 && list[n-1].State.open() {
		return orderCharge{charge: list[n-1]}, nil, nil
	}
	card, err := FindCard(ctx, tx, o.CardID)
	if err != nil {
		return paying, nil, err
	}
	amount, err := s.share(ctx, tx, *o, payer, card)
	switch {
	case err != nil && ledger.CodeOf(err) != "" && ledger.CodeOf(err) != ledger.CodeUnavailable:
		return paying, ledger.Errorf(ledger.CodeInsufficientFunds, "the wallet has too little, and no card may pay: %w", err).InField("order"), nil
	case err != nil:
		return paying, nil, err
	case amount == 0:
		reason, err := s.hold(ctx, tx, o, payer, to, o.ExpiresAt)
		if err == nil && reason != "" {
			refused = ledger.Errorf(ledger.CodeInsufficientFunds, "the payment cannot be made now (%s)", reason).InField("order")
		}
		return paying, refused, err
	case len(list) >= maxOrderCharges:
		return paying, ledger.Errorf(ledger.CodeInsufficientFunds, "the card was asked %d times for this payment; top up the wallet instead", len(list)).InField("order"), nil
	case s.processor == nil:
		return paying, errNoProcessor(), nil
	}
	if full, err := s.payeeIsFull(ctx, tx, *o, to); err != nil || full {
		return paying, ledger.Errorf(ledger.CodeInsufficientFunds, "the payment cannot be made now (%s)", ReasonPayeeCeiling).InField("order"), err
	}
	c, err := s.request(ctx, tx, Charge{Key: fmt.Sprintf("order:%s:%d", o.ID, len(list)+1), CustomerID: payer.ID, CardID: card.ID, OrderID: o.ID,
		Present: true, Amount: amount}, actor)
	return orderCharge{charge: c, card: card, made: true}, nil, err
}

// payByCard charges the card for a confirmed order and returns the order as it is then,
// with the charge that it may still wait for.
func (s *Service) payByCard(ctx context.Context, o Order, paying orderCharge, token string) (Order, error) {
	c := paying.charge
	if paying.made {
		back := s.config.PageURL
		if token != "" {
			back += "/" + token
		}
		var err error
		if c, err = s.collect(ctx, c, paying.card, back); err != nil {
			return Order{}, err
		}
	}
	if !c.State.open() {
		var err error
		if o, err = s.Order(ctx, o.ID); err != nil || o.State == StatePosted {
			return o, err
		}
		return Order{}, ledger.Errorf(ledger.CodeInsufficientFunds, "the card did not pay (%s); try again, or top up the wallet", c.Reason).InField("order")
	}
	o.Charge = &c
	return o, nil
}

// orderOverError says that the order which a charge was for cannot be paid any more.
type orderOverError struct{ reason string }

func (e *orderOverError) Error() string { return "the order cannot be paid any more: " + e.reason }

func isOrderOver(err error) bool {
	_, over := errors.AsType[*orderOverError](err)
	return over
}

// payOrder posts the order that a charge has paid for, in the transaction that posts
// the charge. The payer has confirmed it with the secret code, or there would be no
// charge.
func (s *Service) payOrder(ctx context.Context, tx *sqldb.Tx, c Charge, payer Customer, now time.Time) error {
	if c.OrderID == uuid.Nil {
		return nil
	}
	o, err := lockOrder(ctx, tx, c.OrderID)
	if err != nil {
		return err
	}
	if err := awaitsConfirmation(o, now); err != nil {
		return &orderOverError{string(o.State)}
	}
	to, err := loadPayee(ctx, tx, o)
	if err != nil {
		return err
	}
	reason := s.refusal(o, payer, to)
	if reason == "" && o.HoldID == uuid.Nil {
		reason, err = s.hold(ctx, tx, &o, payer, to, o.ExpiresAt)
	}
	if err == nil && reason == "" {
		reason, err = s.postTx(ctx, tx, &o, payer, c.ID, ActorService, now)
	}
	if err == nil && reason != "" {
		return &orderOverError{reason}
	}
	return err
}
