package payments

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// A customer's own bank account is a payee of a kind of its own, so that e-money is
// redeemed as charities are paid out: in batches, by two persons. Its account in the
// ledger is one of payouts on their way (4675), and nobody pays to it but its customer.

// OwnBank is the kind of payee that a customer's own bank account is.
const OwnBank PayeeKind = "customer"

// ownBankPrefix begins the codes of customers' own bank accounts.
const ownBankPrefix = "cash-out-"

// OwnBankCode returns the code of the payee that a customer's own bank account is.
func OwnBankCode(customerNumber string) string { return ownBankPrefix + customerNumber }

// CashOutAccountCode returns the code of the account in the ledger that a customer's money
// is on while it is redeemed.
func CashOutAccountCode(customerNumber string) string { return "cash-out:" + customerNumber }

// AccountCode returns the code of the payee's account in the ledger.
func (p Payee) AccountCode() string {
	if p.Kind == OwnBank {
		return CashOutAccountCode(strings.TrimPrefix(p.Code, ownBankPrefix))
	}
	return PayableCode(p.Code)
}

// payeeAccount returns the account in the ledger of a payee that is enrolled.
func (s *Service) payeeAccount(p Payee) ledger.Account {
	a := ledger.Account{Code: p.AccountCode(), Name: "Payable " + p.Code, Category: ledger.CharityPayable, Side: ledger.Credit,
		Currency: s.config.Currency, Shards: payableShards, OpenedAt: p.CreatedAt}
	if p.Kind == OwnBank {
		number, floor := strings.TrimPrefix(p.Code, ownBankPrefix), ledger.Amount(0)
		a.Name, a.Category, a.Shards, a.Min = "Cash-outs "+number, ledger.PayoutsInTransit, 1, &floor
	}
	a.ID = ledger.SystemAccountID(a.Code)
	return a
}

// ProposeOwnBank proposes the bank account that a customer's e-money is redeemed to, as
// ProposePayee does a charity; another person approves it with ApprovePayee. The holder is
// the customer. While a cash-out is on its way it is CodeConflict.
func (s *Service) ProposeOwnBank(ctx context.Context, customerNumber, iban, bic, actor, reason string) (PayeeProposal, error) {
	if iban == "" {
		return PayeeProposal{}, ledger.Errorf(ledger.CodeInvalid, "give the customer's IBAN").InField("iban")
	}
	iban, bic, err := bankAccount(iban, bic)
	if err != nil {
		return PayeeProposal{}, err
	}
	return s.propose(ctx, PayeeProposal{Code: OwnBankCode(customerNumber), ProposedBy: actor, Reason: reason}, func(ctx context.Context, tx *sqldb.Tx, p *PayeeProposal) (bool, error) {
		c, err := FindCustomer(ctx, tx, customerNumber)
		if err != nil {
			return false, err
		}
		if c.Status == Closed {
			return false, ledger.Errorf(ledger.CodeAccountClosed, "customer %s is closed", c.Number).InField("customer")
		}
		n := ownBank(c, iban, bic)
		payee, err := FindPayee(ctx, tx, p.Code)
		if ledger.CodeOf(err) == ledger.CodeNotFound {
			p.Kind, p.New = ProposalEnrolment, n.values(s.engine.Today())
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if p.Old, err = payee.values(ctx, tx); err != nil {
			return false, err
		}
		p.Kind, p.New = ProposalChange, p.Old
		p.New.Name, p.New.IBAN, p.New.BIC = n.Name, n.IBAN, n.BIC
		if p.New.equal(p.Old) {
			return false, nil
		}
		return true, nothingOnItsWay(ctx, tx, payee)
	})
}

// ownBank returns what is known of a customer's own bank account. It is at par: there are
// no terms.
func ownBank(c Customer, iban, bic string) NewPayee {
	return NewPayee{Code: OwnBankCode(c.Number), Kind: OwnBank, Name: c.Name, IBAN: iban, BIC: bic, Rhythm: Daily, Anchor: DefaultAnchor}
}

// nothingOnItsWay refuses to change the bank account that a cash-out was confirmed for.
func nothingOnItsWay(ctx context.Context, tx *sqldb.Tx, p Payee) error {
	b, err := engine.FindBalance(ctx, tx, p.AccountID)
	if err != nil {
		return err
	}
	err = noPayoutOnItsWay(ctx, tx, p)
	if ledger.CodeOf(err) == ledger.CodeConflict || (err == nil && b.Posted() != 0) {
		return ledger.Errorf(ledger.CodeConflict, "a cash-out is on its way; go on once the bank's statement shows that it was paid").InField("iban")
	}
	return err
}

// SetOwnBank keeps the bank account that a customer who knows the secret code wants e-money
// redeemed to, from the customer's own page. Errors are as for ProposeOwnBank and
// BeginOwnCard. The same account again changes nothing.
func (s *Service) SetOwnBank(ctx context.Context, r AccountStep, iban string) (Payee, error) {
	iban, err := ParseIBAN(iban)
	if err != nil {
		return Payee{}, err
	}
	c, _, err := s.authorise(ctx, r)
	if err != nil {
		return Payee{}, err
	}
	id, err := s.newID()
	if err != nil {
		return Payee{}, err
	}
	now := s.engine.Now()
	var payee Payee
	err = s.writeUnique(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		if c, err = FindCustomerByID(ctx, tx, c.ID); err != nil {
			return err
		}
		if c.Status != Open {
			return errNotDone()
		}
		payee, err = FindPayee(ctx, tx, OwnBankCode(c.Number))
		switch {
		case err == nil && payee.IBAN == iban && payee.Name == c.Name:
			return nil
		case err == nil:
			if err := nothingOnItsWay(ctx, tx, payee); err != nil {
				return err
			}
			payee.IBAN, payee.BIC, payee.Name = iban, "", c.Name
			_, err = tx.Exec(ctx, "UPDATE payees SET name = $1, iban = $2, bic = NULL WHERE id = $3", payee.Name, payee.IBAN, payee.ID)
		case ledger.CodeOf(err) == ledger.CodeNotFound:
			payee, err = s.enrolOwnBank(ctx, tx, id, ownBank(c, iban, ""), PayeeProposal{Code: OwnBankCode(c.Number), DecidedAt: now})
		}
		if err != nil {
			return err
		}
		return recordPartyEvent(ctx, tx, c.ID, PartyEvent{At: now, Actor: ActorPage, Event: "iban_set", Reason: "own bank account " + MaskIBAN(iban)})
	})
	if err != nil {
		return Payee{}, fmt.Errorf("set the bank account of customer %s: %w", c.Number, err)
	}
	return payee, nil
}

func (s *Service) enrolOwnBank(ctx context.Context, tx *sqldb.Tx, id uuid.UUID, n NewPayee, p PayeeProposal) (Payee, error) {
	payee, err := s.enrolPayee(ctx, tx, Payee{ID: id, Code: n.Code, Kind: n.Kind, Name: n.Name, Status: Open, IBAN: n.IBAN, BIC: n.BIC, Rhythm: n.Rhythm,
		Anchor: n.Anchor, CreatedAt: p.DecidedAt})
	if err != nil {
		return Payee{}, err
	}
	return payee, s.agreeOnTerms(ctx, tx, payee.ID, n.terms(), p)
}

// mayHaveBank asks, when a proposal about a customer's own bank account is approved,
// whether that is still possible.
func mayHaveBank(ctx context.Context, tx *sqldb.Tx, p PayeeProposal) error {
	c, err := FindCustomer(ctx, tx, strings.TrimPrefix(p.Code, ownBankPrefix))
	switch {
	case err != nil:
		return err
	case c.Status == Closed || c.Name != p.New.Name:
		return ledger.Errorf(ledger.CodeConflict, "customer %s was closed, or has another name, since it was proposed; reject it and propose anew", c.Number).InField("code")
	case p.Kind == ProposalEnrolment:
		return nil
	}
	payee, err := FindPayee(ctx, tx, p.Code)
	if err != nil {
		return err
	}
	return nothingOnItsWay(ctx, tx, payee)
}

// MaskIBAN returns what may be shown of an IBAN: country, check digits and the last four
// characters.
func MaskIBAN(iban string) string {
	const shown = 4
	if len(iban) < 2*shown {
		return ""
	}
	return iban[:shown] + " … " + iban[len(iban)-shown:]
}

// CashOutCameBack notes in the customer's history that the bank has refused a cash-out, or
// sent it back. It runs in the transaction that puts the money back into the wallet.
func CashOutCameBack(ctx context.Context, tx *sqldb.Tx, payee Payee, iban, reason string, amount ledger.Amount, currency ledger.Currency, now time.Time) error {
	c, err := FindCustomer(ctx, tx, strings.TrimPrefix(payee.Code, ownBankPrefix))
	if err != nil {
		return err
	}
	why := fmt.Sprintf("%s %s to %s, sent back by the bank", amount.Format(currency), currency, MaskIBAN(iban))
	if reason != "" {
		why += " (" + reason + ")"
	}
	return recordPartyEvent(ctx, tx, c.ID, PartyEvent{At: now, Actor: ActorService, Event: "cash_out_returned", Reason: why})
}
