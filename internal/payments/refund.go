package payments

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// refundPause is how long a refund that the processor has refused for good waits for
// the next try: whatever is wrong with the card takes days.
const refundPause = 24 * time.Hour

// RefundCharge gives a charge that is in the wallet back to the card: the money leaves
// the wallet at once, and stands apart until the processor has it. A wallet that has
// less is CodeInsufficientFunds. To refund what is being refunded changes nothing; any
// other state is CodeConflict. It is for a caller who has the word of two persons;
// ProposeRefund gets it.
func (s *Service) RefundCharge(ctx context.Context, id uuid.UUID, actor, reason string) (Charge, error) {
	if err := validAct(actor, reason); err != nil {
		return Charge{}, err
	}
	if s.processor == nil {
		return Charge{}, errNoProcessor()
	}
	var c Charge
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		c, err = s.refundCharge(ctx, tx, id, actor, reason)
		return err
	})
	if err != nil {
		return Charge{}, fmt.Errorf("refund: %w", err)
	}
	return s.finishRefund(ctx, c)
}

// refundTx makes the refund that was approved.
func (s *Service) refundTx(ctx context.Context, tx *sqldb.Tx, a Approval) (Charge, error) {
	id, err := uuid.Parse(a.Subject)
	if err != nil {
		return Charge{}, fmt.Errorf("the charge of approval %d: %w", a.Number, err)
	}
	return s.refundCharge(ctx, tx, id, a.DecidedBy, a.because())
}

// refundCharge takes the money of a charge out of the wallet.
func (s *Service) refundCharge(ctx context.Context, tx *sqldb.Tx, id uuid.UUID, actor, reason string) (Charge, error) {
	c, err := lockCharge(ctx, tx, id)
	if err != nil {
		return Charge{}, err
	}
	switch c.State {
	case ChargePosted:
	case ChargeRefunding, ChargeRefunded:
		return c, nil
	default:
		return Charge{}, errNotRefundable(c)
	}
	if err := walletHas(ctx, tx, c); err != nil {
		return Charge{}, err
	}
	customer, err := FindCustomerByID(ctx, tx, c.CustomerID)
	if err != nil {
		return Charge{}, err
	}
	if _, err = s.postStep(ctx, tx, c, "Card refund", ledger.Posting{Debit: customer.WalletID, Credit: ledger.SystemAccountID(AccountSuspense), Amount: c.Amount}); err != nil {
		return Charge{}, err
	}
	c.HeldApart = c.Amount
	err = changeCharge(ctx, tx, &c, ChargeRefunding, actor, reason, s.engine.Now())
	return c, err
}

func errNotRefundable(c Charge) error {
	return ledger.Errorf(ledger.CodeConflict, "charge %s is %s and cannot be refunded", c.ID, c.State).InField("charge")
}

// walletHas refuses to refund a charge that the wallet has spent.
func walletHas(ctx context.Context, tx *sqldb.Tx, c Charge) error {
	customer, err := FindCustomerByID(ctx, tx, c.CustomerID)
	if err != nil {
		return err
	}
	balance, err := engine.FindBalance(ctx, tx, customer.WalletID)
	if err != nil {
		return err
	}
	if balance.Available() < c.Amount {
		return ledger.Errorf(ledger.CodeInsufficientFunds, "the wallet of %s no longer has the %s %s of charge %s", customer.Number,
			c.Amount.Format(c.Currency), c.Currency, c.ID).InField("charge")
	}
	return nil
}

// finishRefund asks the processor for a refund whose money has left the wallet.
func (s *Service) finishRefund(ctx context.Context, c Charge) (Charge, error) {
	if c.State != ChargeRefunding {
		return c, nil
	}
	if s.processor == nil {
		return c, errNoProcessor()
	}
	done, err := s.workOn(ctx, c.ID)
	if err != nil { // the money stands apart; the sweeper goes on
		s.log.WarnContext(ctx, "a refund waits", "charge", c.ID, "err", err)
		return c, nil
	}
	return done, nil
}

// refunds takes what the processor says of refunds.
func (s *Service) refunds(ctx context.Context, tx *sqldb.Tx, c *Charge, status CardStatus, now time.Time) error {
	switch {
	case status.Refund == RefundDone && c.State == ChargeRefunding:
		if c.HeldApart > 0 {
			if _, err := s.postStep(ctx, tx, *c, "Card refunded", ledger.Posting{Debit: ledger.SystemAccountID(AccountSuspense),
				Credit: ledger.SystemAccountID(AccountCardsToSettle), Amount: c.HeldApart}); err != nil {
				return err
			}
		}
		c.HeldApart, c.RefundReference = 0, knownReference(status.RefundReference)
		return changeCharge(ctx, tx, c, ChargeRefunded, ActorProcessor, ReasonRefunded, now)
	case status.Refund == RefundDone && c.State == ChargePosted:
		// Somebody has refunded it at the processor: the wallet gives what it has.
		s.log.ErrorContext(ctx, "a charge was refunded at the card processor", "charge", c.ID)
		if _, err := s.takeBack(ctx, tx, *c, c.Amount, AccountSuspense, "Card refund made at the processor"); err != nil {
			return err
		}
		c.HeldApart = c.Amount
		return changeCharge(ctx, tx, c, ChargeRefunding, ActorProcessor, ReasonRefundedOutside, now)
	case status.Refund == RefundFailed && c.State == ChargeRefunded && status.RefundReference == c.RefundReference:
		// It has come back after all, and stands apart again.
		if _, err := s.postStep(ctx, tx, *c, "Card refund come back", ledger.Posting{Debit: ledger.SystemAccountID(AccountCardsToSettle),
			Credit: ledger.SystemAccountID(AccountSuspense), Amount: c.Amount}); err != nil {
			return err
		}
		c.HeldApart, c.Refunds = c.Amount, c.Refunds+1
		return changeCharge(ctx, tx, c, ChargeRefunding, ActorProcessor, ReasonRefundFailed, now)
	case status.Refund == RefundFailed && c.State == ChargeRefunding && status.RefundReference != c.RefundReference:
		c.Refunds, c.RefundReference, c.DueAt = c.Refunds+1, knownReference(status.RefundReference), now.Add(refundPause)
		return changeCharge(ctx, tx, c, ChargeRefunding, ActorProcessor, ReasonRefundFailed, now)
	}
	return nil
}

// knownReference keeps a reference that fits the book.
func knownReference(reference string) string {
	if referencePattern.MatchString(reference) {
		return reference
	}
	return ""
}

// takeBack takes money that has left for the card from the wallet, and what the wallet
// lacks from the customer's debts.
func (s *Service) takeBack(ctx context.Context, tx *sqldb.Tx, c Charge, amount ledger.Amount, credit, label string) (ledger.Transaction, error) {
	customer, err := FindCustomerByID(ctx, tx, c.CustomerID)
	if err != nil {
		return ledger.Transaction{}, err
	}
	balance, err := engine.FindBalance(ctx, tx, customer.WalletID)
	if err != nil {
		return ledger.Transaction{}, err
	}
	there := min(max(balance.Available(), 0), amount)
	to := ledger.SystemAccountID(credit)
	var postings []ledger.Posting
	if there > 0 {
		postings = append(postings, ledger.Posting{Debit: customer.WalletID, Credit: to, Amount: there})
	}
	if there < amount {
		postings = append(postings, ledger.Posting{Debit: ledger.SystemAccountID(AccountCustomerReceivable), Credit: to, Amount: amount - there})
	}
	return s.postStep(ctx, tx, c, label, postings...)
}
