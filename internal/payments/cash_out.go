package payments

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// E-money is redeemed at par, at any time (CMF L.133-29 to L.133-31). The customer
// confirms this amount to this bank account with the secret code; the money leaves the wallet
// at that moment, and goes with the next batch of payouts.

// maxCashOuts bounds the cash-outs of one customer in 24 hours: each is a transfer that
// the bank takes money for.
const maxCashOuts = 10

// CashOut is money that a customer redeems.
type CashOut struct {
	TransactionID  uuid.UUID
	CustomerNumber string
	Amount         ledger.Amount
	Currency       ledger.Currency
	IBAN           string
}

// CashOutPage is what a customer sees before entering the secret code.
type CashOutPage struct {
	CustomerNumber string
	Amount         ledger.Amount
	Currency       ledger.Currency
	IBAN           string
	Stamp          string // signs amount and IBAN; to come back with the code
}

// CashOutKey returns the idempotency key of the transaction that a cash-out is.
func CashOutKey(customerNumber, key string) string { return "cash-out:" + customerNumber + ":" + key }

// cashOutPurpose is what the stamp of a confirmation is for: this amount to this account.
func cashOutPurpose(amount ledger.Amount, currency ledger.Currency, iban string) string {
	return "cash-out " + amount.Format(currency) + " " + string(currency) + " " + iban
}

func (s *Service) checkCashOut(amount ledger.Amount) error {
	if amount <= 0 || amount > s.config.WalletCeiling {
		return ledger.Errorf(ledger.CodeInvalid, "redeem above zero and at most %s %s", s.config.WalletCeiling.Format(s.config.Currency), s.config.Currency).InField("amount")
	}
	return nil
}

// AskCashOut returns what is to be confirmed with the secret code. It changes nothing.
func (s *Service) AskCashOut(ctx context.Context, r AccountStep, amount ledger.Amount) (CashOutPage, error) {
	if err := s.checkCashOut(amount); err != nil {
		return CashOutPage{}, err
	}
	now := s.engine.Now()
	page := CashOutPage{Amount: amount, Currency: s.config.Currency}
	var i invitation
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var c Customer
		var err error
		if i, c, err = customerOfPage(ctx, tx, r.Token, now); err != nil {
			return err
		}
		if _, err := s.checkPageStamp("account", i.id, r.Stamp, now); err != nil {
			return err
		}
		payee, err := bankOf(ctx, tx, c)
		page.CustomerNumber, page.IBAN = c.Number, payee.IBAN
		return err
	})
	if err != nil {
		return CashOutPage{}, err
	}
	page.Stamp, err = s.pageStamp(cashOutPurpose(amount, s.config.Currency, page.IBAN), i.id, now)
	return page, err
}

// bankOf returns the bank account that a customer's money may be redeemed to.
func bankOf(ctx context.Context, tx *sqldb.Tx, c Customer) (Payee, error) {
	payee, err := FindPayee(ctx, tx, OwnBankCode(c.Number))
	switch {
	case ledger.CodeOf(err) == ledger.CodeNotFound || (err == nil && payee.IBAN == ""):
		return Payee{}, ledger.Errorf(ledger.CodeConflict, "customer %s has no bank account here to redeem money to; enter an IBAN first", c.Number).InField("iban")
	case err == nil && payee.Name != c.Name:
		return Payee{}, ledger.Errorf(ledger.CodeConflict, "customer %s has another name than the holder of the bank account; enter the IBAN anew", c.Number).InField("iban")
	case err == nil && payee.Status != Open:
		return Payee{}, ledger.Errorf(ledger.CodeForbidden, "the bank account of customer %s is %s", c.Number, payee.Status).InField("iban")
	}
	if err != nil {
		return Payee{}, err
	}
	var flagged int64
	if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM iban_flags WHERE iban = $1 AND lifted_at IS NULL", []any{payee.IBAN}, &flagged); err != nil {
		return Payee{}, fmt.Errorf("look for flags of a bank account: %w", err)
	}
	if flagged > 0 {
		return Payee{}, ledger.Errorf(ledger.CodeConflict, "the bank could not credit %s; enter another IBAN, or have two persons say that it is right (payee confirm-bank %s)",
			MaskIBAN(payee.IBAN), payee.Code).InField("iban")
	}
	return payee, nil
}

// ConfirmCashOut redeems what AskCashOut showed, for a customer who knows the secret code.
// A stamp of another amount or bank account is CodeInvalid. The same form again changes
// nothing. More than the wallet has is
// CodeInsufficientFunds, too many in a day CodeLimitExceeded.
func (s *Service) ConfirmCashOut(ctx context.Context, r AccountStep, amount ledger.Amount) (CashOut, error) {
	if err := s.checkCashOut(amount); err != nil {
		return CashOut{}, err
	}
	iban := ""
	c, id, err := s.authoriseFor(ctx, r, func(ctx context.Context, tx *sqldb.Tx, c Customer) (string, error) {
		payee, err := bankOf(ctx, tx, c)
		iban = payee.IBAN
		return cashOutPurpose(amount, s.config.Currency, iban), err
	})
	if err != nil {
		return CashOut{}, err
	}
	return s.cashOut(ctx, c, id.String(), iban, amount, ActorPage)
}

// CashOutRequest is a cash-out that staff enter for a customer who says the secret code.
type CashOutRequest struct {
	CustomerNumber string
	Key            string // makes it happen once
	Amount         ledger.Amount
	Code           string
	Actor          string
}

// CashOut redeems money for a customer who says the secret code to staff. Errors are as
// for ConfirmCashOut; a key that was used for another amount is CodeConflict.
func (s *Service) CashOut(ctx context.Context, r CashOutRequest) (CashOut, error) {
	if !chargeKeyPattern.MatchString(r.Key) {
		return CashOut{}, ledger.Errorf(ledger.CodeInvalid, "%q is not a key: 1 to 64 of letters, digits and _ . : -", clip(r.Key)).InField("key")
	}
	if err := validText("actor", r.Actor, maxActor); err != nil {
		return CashOut{}, err
	}
	if err := s.checkCashOut(r.Amount); err != nil {
		return CashOut{}, err
	}
	if err := validSecret(r.Code); err != nil {
		return CashOut{}, err
	}
	var c Customer
	var payee Payee
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		if c, err = FindCustomer(ctx, tx, r.CustomerNumber); err == nil {
			payee, err = bankOf(ctx, tx, c)
		}
		return err
	})
	if err != nil {
		return CashOut{}, err
	}
	if c, err = s.tryOwnCode(ctx, c, r.Code, r.Actor); err != nil {
		return CashOut{}, err
	}
	return s.cashOut(ctx, c, r.Key, payee.IBAN, r.Amount, r.Actor)
}

// cashOut moves the money of a customer whose code was right. Everything is checked in the
// transaction that posts; the ledger keeps the wallet from going below zero.
func (s *Service) cashOut(ctx context.Context, c Customer, key, iban string, amount ledger.Amount, actor string) (CashOut, error) {
	made := CashOut{CustomerNumber: c.Number, Amount: amount, Currency: s.config.Currency, IBAN: iban}
	key, now := CashOutKey(c.Number, key), s.engine.Now()
	err := s.writeUnique(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		was := c.secretHash
		customer, err := FindCustomerByID(ctx, tx, c.ID)
		if err != nil {
			return err
		}
		if customer.Status != Open || customer.PhoneVerifiedAt.IsZero() || customer.secretHash != was {
			return errNotDone()
		}
		payee, err := bankOf(ctx, tx, customer)
		if err != nil {
			return err
		}
		if payee.IBAN != iban {
			return ledger.Errorf(ledger.CodeConflict, "the bank account was changed meanwhile; begin again").InField("iban")
		}
		var before int64
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM requests WHERE id = $1", []any{ledger.IDOfKey(key)}, &before); err != nil {
			return fmt.Errorf("look for the cash-out: %w", err)
		}
		if before == 0 {
			if err := cashOutsLeft(ctx, tx, customer, now); err != nil {
				return err
			}
		}
		posted, err := s.engine.PostTx(ctx, tx, ledger.PostRequest{Key: key, Journal: ledger.JournalPayouts, Label: "Cash-out",
			Source:   ledger.Source{Channel: "cash-out", ID: customer.Number},
			Postings: []ledger.Posting{{Debit: customer.WalletID, Credit: payee.AccountID, Amount: amount, Currency: s.config.Currency}}})
		if err != nil {
			return err
		}
		if made.TransactionID = posted.ID; before > 0 {
			return nil
		}
		return recordPartyEvent(ctx, tx, customer.ID, PartyEvent{At: now, Actor: actor, Event: "cash_out",
			Reason: fmt.Sprintf("%s %s to %s", amount.Format(s.config.Currency), s.config.Currency, MaskIBAN(iban))})
	})
	if err != nil {
		return CashOut{}, fmt.Errorf("cash out: %w", err)
	}
	return made, nil
}

func cashOutsLeft(ctx context.Context, tx *sqldb.Tx, c Customer, now time.Time) error {
	var made int64
	err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM party_events WHERE party_id = $1 AND event = 'cash_out' AND at > $2", []any{c.ID, now.Add(-velocityWindow)}, &made)
	if err != nil {
		return fmt.Errorf("count the cash-outs of %s: %w", c.Number, err)
	}
	if made >= maxCashOuts {
		return ledger.Errorf(ledger.CodeLimitExceeded, "customer %s has redeemed money %d times in 24 hours; go on tomorrow", c.Number, made).InField("cash_out")
	}
	return nil
}
