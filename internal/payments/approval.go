package payments

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Money that staff move by hand, and the erasure of a customer's data, take two
// persons: one proposes, and another one approves. What is approved happens in the
// transaction of the approval; what takes longer goes on after it.

// ApprovalKind is what is to be approved.
type ApprovalKind string

// The kinds of approvals.
const (
	ApprovalTopUp   ApprovalKind = "top_up"      // a wallet is credited with what the acquirer has collected
	ApprovalRefund  ApprovalKind = "card_refund" // a wallet is debited, and the card it came from gets it back
	ApprovalErasure ApprovalKind = "erasure"     // of a customer's data
)

// Approval is what one person wants done, and what another one has decided.
type Approval struct {
	Number     int // counts all of them, from 1
	Kind       ApprovalKind
	Subject    string // the acquirer's reference, the charge's id or the customer's number
	CustomerID uuid.UUID
	Amount     ledger.Amount // in minor units; 0: no money is moved
	State      ProposalState
	ProposedBy string
	ProposedAt time.Time
	Reason     string
	DecidedBy  string
	DecidedAt  time.Time // zero: not yet
	Decision   string    // why
}

// because is what an event says of what two persons did.
func (a Approval) because() string {
	return clipReason(fmt.Sprintf("approval %d, proposed by %s: %s", a.Number, a.ProposedBy, a.Reason))
}

const approvalColumns = `number, kind, subject, customer_id, COALESCE(amount, 0), state, proposed_by, proposed_at, reason, COALESCE(decided_by, ''), decided_at, COALESCE(decision, '')`

func approvals(ctx context.Context, tx *sqldb.Tx, where string, args []any, tail string) ([]Approval, error) {
	list, err := sqldb.Collect(ctx, tx, "SELECT "+approvalColumns+" FROM approvals WHERE "+where+tail, args, func(rows *sqldb.Rows) (Approval, error) {
		var a Approval
		err := rows.Scan(&a.Number, &a.Kind, &a.Subject, &a.CustomerID, &a.Amount, &a.State, &a.ProposedBy, &a.ProposedAt, &a.Reason, &a.DecidedBy, &a.DecidedAt, &a.Decision)
		return a, err
	})
	if err != nil {
		return nil, fmt.Errorf("read approvals: %w", err)
	}
	return list, nil
}

// ApprovalFilter selects a page of approvals, in order of their numbers.
type ApprovalFilter struct {
	Decided bool // those that were decided, too
	After   int  // the number of the last one of the page before
	Limit   int  // 1 to MaxPage
}

// ListApprovals returns a page of approvals.
func ListApprovals(ctx context.Context, tx *sqldb.Tx, f ApprovalFilter) ([]Approval, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	var c sqldb.Where
	c.And("number > ?", int64(f.After))
	if !f.Decided {
		c.And("state = ?", string(ProposalProposed))
	}
	return approvals(ctx, tx, c.Condition(), c.Args, fmt.Sprintf(" ORDER BY number LIMIT %d", f.Limit))
}

// proposeApproval stores what one person wants done, once look has found that it can be
// and completed it. Where the same person wants the same already, it returns that;
// another proposal about the same subject that waits is CodeConflict.
func (s *Service) proposeApproval(ctx context.Context, a Approval, look func(ctx context.Context, tx *sqldb.Tx, a *Approval) error) (Approval, error) {
	if err := validAct(a.ProposedBy, a.Reason); err != nil {
		return Approval{}, err
	}
	a.State, a.ProposedAt = ProposalProposed, s.engine.Now()
	var made Approval
	err := s.writeUnique(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		made = a
		if err := look(ctx, tx, &made); err != nil {
			return err
		}
		waiting, err := approvals(ctx, tx, "kind = $1 AND subject = $2 AND state = 'proposed'", []any{string(made.Kind), made.Subject}, "")
		if err != nil {
			return err
		}
		if len(waiting) > 0 {
			if w := waiting[0]; w.ProposedBy == made.ProposedBy && w.CustomerID == made.CustomerID && w.Amount == made.Amount {
				made = w
				return nil
			}
			return ledger.Errorf(ledger.CodeConflict, "approval %d about it waits for a decision; have it approved or rejected first", waiting[0].Number).InField("number")
		}
		return insertApproval(ctx, tx, &made)
	})
	if err != nil {
		return Approval{}, fmt.Errorf("propose: %w", err)
	}
	return made, nil
}

func insertApproval(ctx context.Context, tx *sqldb.Tx, a *Approval) error {
	var number int64
	if err := tx.QueryRow(ctx, "SELECT COALESCE(MAX(number), 0) + 1 FROM approvals", nil, &number); err != nil {
		return fmt.Errorf("number the approval: %w", err)
	}
	a.Number = int(number)
	var amount any
	if a.Amount != 0 {
		amount = int64(a.Amount)
	}
	_, err := tx.Exec(ctx, `INSERT INTO approvals (number, kind, subject, customer_id, amount, state, proposed_by, proposed_at, reason)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		number, string(a.Kind), a.Subject, a.CustomerID, amount, string(a.State), a.ProposedBy, a.ProposedAt, a.Reason)
	if err != nil {
		return fmt.Errorf("store the proposal: %w", err)
	}
	return nil
}

// Approved is what came of an approval.
type Approved struct {
	Approval
	Transaction ledger.Transaction // of a top-up
	Charge      Charge             // of a refund
	// Done is whether nothing is left to do. What is left of a refund the sweeper does;
	// what is left of an erasure, approving it again.
	Done bool
}

// Approve has happen what another person has proposed. Who proposed it cannot
// (CodeForbidden). What was checked when it was proposed is checked again. To approve
// again what one has approved goes on with what is left of it; what was decided
// otherwise is CodeConflict.
func (s *Service) Approve(ctx context.Context, number int, actor, reason string) (Approved, error) {
	var done Approved
	a, err := s.decideApproval(ctx, number, ProposalApproved, actor, reason, func(ctx context.Context, tx *sqldb.Tx, a Approval) error {
		var err error
		switch a.Kind {
		case ApprovalTopUp:
			done.Transaction, err = s.topUpTx(ctx, tx, a.CustomerID, a.Amount, a.Subject)
		case ApprovalRefund:
			done.Charge, err = s.refundTx(ctx, tx, a)
		case ApprovalErasure:
			err = s.mayErase(ctx, tx, a.CustomerID)
		}
		return err
	})
	if err == nil {
		done.Approval, done.Done = a, true
		switch a.Kind {
		case ApprovalRefund:
			done.Charge, err = s.finishRefund(ctx, done.Charge)
			done.Done = done.Charge.State != ChargeRefunding
		case ApprovalErasure:
			err = s.erase(ctx, a)
		}
	}
	if err != nil {
		return Approved{}, fmt.Errorf("approve %d: %w", number, err)
	}
	return done, nil
}

// RejectApproval ends a proposal without effect. Who proposed it may do it, too.
func (s *Service) RejectApproval(ctx context.Context, number int, actor, reason string) (Approval, error) {
	a, err := s.decideApproval(ctx, number, ProposalRejected, actor, reason, func(context.Context, *sqldb.Tx, Approval) error { return nil })
	if err != nil {
		return Approval{}, fmt.Errorf("reject %d: %w", number, err)
	}
	return a, nil
}

// decideApproval decides, and does what that brings about in the same transaction.
// effect must bear to be run again for a decision that was made before.
func (s *Service) decideApproval(ctx context.Context, number int, to ProposalState, actor, reason string, effect func(ctx context.Context, tx *sqldb.Tx, a Approval) error) (Approval, error) {
	if err := validAct(actor, reason); err != nil {
		return Approval{}, err
	}
	now := s.engine.Now()
	var a Approval
	err := s.writeUnique(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		list, err := approvals(ctx, tx, "number = $1", []any{int64(number)}, tx.ForUpdate())
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return ledger.Errorf(ledger.CodeNotFound, "there is no approval %d; \"tweetledger approval list\" shows those that wait", number).InField("number")
		}
		switch a = list[0]; {
		case a.State == to && a.DecidedBy == actor:
			return effect(ctx, tx, a)
		case a.State != ProposalProposed:
			return ledger.Errorf(ledger.CodeConflict, "approval %d is %s by %s already", number, a.State, a.DecidedBy).InField("number")
		case to == ProposalApproved && strings.EqualFold(a.ProposedBy, actor):
			return ledger.Errorf(ledger.CodeForbidden, "%s has proposed it; another person must approve it", a.ProposedBy).InField("actor")
		}
		a.State, a.DecidedBy, a.DecidedAt, a.Decision = to, actor, now, reason
		_, err = tx.Exec(ctx, "UPDATE approvals SET state = $1, decided_by = $2, decided_at = $3, decision = $4 WHERE number = $5",
			string(a.State), a.DecidedBy, a.DecidedAt, a.Decision, int64(a.Number))
		if err != nil {
			return fmt.Errorf("store the decision: %w", err)
		}
		return effect(ctx, tx, a)
	})
	return a, err
}

// ProposeTopUp proposes to credit a wallet with what the acquirer has collected, under
// the acquirer's reference.
func (s *Service) ProposeTopUp(ctx context.Context, customerNumber string, amount ledger.Amount, reference, actor, reason string) (Approval, error) {
	if err := validTopUp(amount, reference); err != nil {
		return Approval{}, err
	}
	if err := s.tryTopUp(ctx, customerNumber, amount, reference); err != nil {
		return Approval{}, err
	}
	a := Approval{Kind: ApprovalTopUp, Subject: reference, Amount: amount, ProposedBy: actor, Reason: reason}
	return s.proposeApproval(ctx, a, func(ctx context.Context, tx *sqldb.Tx, a *Approval) error {
		c, err := openForTopUp(ctx, tx, customerNumber)
		a.CustomerID = c.ID
		return err
	})
}

// errTried ends a transaction that was only tried.
var errTried = errors.New("tried")

// tryTopUp books a top-up and takes it back at once: what would refuse it is told when
// it is proposed, and not to the person who approves.
func (s *Service) tryTopUp(ctx context.Context, customerNumber string, amount ledger.Amount, reference string) error {
	err := s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		c, err := FindCustomer(ctx, tx, customerNumber)
		if err != nil {
			return err
		}
		if _, err := s.topUpTx(ctx, tx, c.ID, amount, reference); err != nil {
			return err
		}
		return errTried
	})
	if errors.Is(err, errTried) {
		return nil
	}
	return err
}

// ProposeRefund proposes to give a charge that is in the wallet back to its card. A
// wallet that has less is CodeInsufficientFunds, a charge in another state CodeConflict.
func (s *Service) ProposeRefund(ctx context.Context, charge uuid.UUID, actor, reason string) (Approval, error) {
	if s.processor == nil {
		return Approval{}, errNoProcessor()
	}
	a := Approval{Kind: ApprovalRefund, Subject: charge.String(), ProposedBy: actor, Reason: reason}
	return s.proposeApproval(ctx, a, func(ctx context.Context, tx *sqldb.Tx, a *Approval) error {
		c, err := FindCharge(ctx, tx, charge)
		if err != nil {
			return err
		}
		if c.State != ChargePosted {
			return errNotRefundable(c)
		}
		a.CustomerID, a.Amount = c.CustomerID, c.Amount
		return walletHas(ctx, tx, c)
	})
}
