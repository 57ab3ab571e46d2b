package payments

import (
	"context"
	"fmt"
	"regexp"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// referencePattern is what the acquirer's reference of a charge looks like.
var referencePattern = regexp.MustCompile(`^[0-9A-Za-z_.:-]{1,64}$`)

// TopUpKey returns the idempotency key of a card top-up.
func TopUpKey(reference string) string { return "topup:" + reference }

func validTopUp(amount ledger.Amount, reference string) error {
	if !referencePattern.MatchString(reference) {
		return ledger.Errorf(ledger.CodeInvalid, "%q is not a reference: 1 to 64 of letters, digits and _ . : -", clip(reference)).InField("reference")
	}
	if amount <= 0 {
		return ledger.Errorf(ledger.CodeInvalid, "the amount must be above zero, not %d", int64(amount)).InField("amount")
	}
	return nil
}

// TopUp books a card charge that the acquirer has collected: debit cards to be
// settled, credit the wallet. The acquirer's reference makes it happen once: the
// same one with another amount or customer is CodeConflict. A wallet that would
// rise above its ceiling is CodeLimitExceeded. It is for a caller who has the word of
// two persons; ProposeTopUp gets it.
func (s *Service) TopUp(ctx context.Context, customerNumber string, amount ledger.Amount, reference string) (ledger.Transaction, error) {
	if err := validTopUp(amount, reference); err != nil {
		return ledger.Transaction{}, err
	}
	var made ledger.Transaction
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		c, err := FindCustomer(ctx, tx, customerNumber)
		if err != nil {
			return err
		}
		made, err = s.topUpTx(ctx, tx, c.ID, amount, reference)
		return err
	})
	switch {
	case ledger.CodeOf(err) != "":
		return ledger.Transaction{}, err
	case err != nil:
		return ledger.Transaction{}, fmt.Errorf("top up the wallet of %s: %w", clip(customerNumber), err)
	}
	return made, nil
}

// topUpTx is in one transaction with the look at the customer: one who is being closed
// gets no money, and one who gets money is not closed.
func (s *Service) topUpTx(ctx context.Context, tx *sqldb.Tx, customer uuid.UUID, amount ledger.Amount, reference string) (ledger.Transaction, error) {
	c, err := FindCustomerByID(ctx, tx, customer)
	if err != nil {
		return ledger.Transaction{}, err
	}
	if err := mayBeToppedUp(c); err != nil {
		return ledger.Transaction{}, err
	}
	return s.engine.PostTx(ctx, tx, s.topUp(c.WalletID, amount, reference))
}

func mayBeToppedUp(c Customer) error {
	if c.Status == Closed {
		return ledger.Errorf(ledger.CodeAccountClosed, "customer %s is closed; give the money back to the card", c.Number).InField("customer")
	}
	return nil
}

func openForTopUp(ctx context.Context, tx *sqldb.Tx, number string) (Customer, error) {
	c, err := FindCustomer(ctx, tx, number)
	if err != nil {
		return Customer{}, err
	}
	return c, mayBeToppedUp(c)
}

// topUp is what books a card charge, whoever found out that the acquirer has collected
// it: one that staff have booked by hand is not booked again.
func (s *Service) topUp(wallet uuid.UUID, amount ledger.Amount, reference string) ledger.PostRequest {
	return ledger.PostRequest{
		Key: TopUpKey(reference), Journal: ledger.JournalCards, Label: "Card top-up",
		Source: ledger.Source{Channel: "card", ID: reference},
		Postings: []ledger.Posting{{Debit: ledger.SystemAccountID(AccountCardsToSettle), Credit: wallet, Amount: amount,
			Currency: s.config.Currency}},
	}
}
