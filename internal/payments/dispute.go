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

// maxDisputes bounds the disputes of one charge: networks know a first one and a
// second.
const maxDisputes = 8

// Dispute is a chargeback in the book.
type Dispute struct {
	Reference     string // the processor's
	ChargeID      uuid.UUID
	Amount        ledger.Amount
	State         DisputeState
	TransactionID uuid.UUID // that took the money back; Nil: nothing did
	ReturnedID    uuid.UUID // that posted it back; Nil: nothing did
	CreatedAt     time.Time
	ChangedAt     time.Time
}

func findDisputes(ctx context.Context, tx *sqldb.Tx, charge uuid.UUID) ([]Dispute, error) {
	list, err := selectDisputes(ctx, tx, "charge_id = $1", charge)
	if err != nil {
		return nil, fmt.Errorf("disputes of charge %s: %w", charge, err)
	}
	return list, nil
}

func selectDisputes(ctx context.Context, tx *sqldb.Tx, where string, args ...any) ([]Dispute, error) {
	return sqldb.Collect(ctx, tx, `SELECT reference, charge_id, amount, state, transaction_id, returned_id, created_at, changed_at
		FROM disputes WHERE `+where+" ORDER BY created_at, reference", args, func(rows *sqldb.Rows) (Dispute, error) {
		var d Dispute
		err := rows.Scan(&d.Reference, &d.ChargeID, &d.Amount, &d.State, &d.TransactionID, &d.ReturnedID, &d.CreatedAt, &d.ChangedAt)
		return d, err
	})
}

// DisputesOf returns the disputes of a charge, oldest first.
func DisputesOf(ctx context.Context, tx *sqldb.Tx, charge uuid.UUID) ([]Dispute, error) {
	return findDisputes(ctx, tx, charge)
}

// disputes takes the first news of the charge's disputes.
func (s *Service) disputes(ctx context.Context, tx *sqldb.Tx, c *Charge, status CardStatus, now time.Time) error {
	if len(status.Disputes) == 0 {
		return nil
	}
	known, err := findDisputes(ctx, tx, c.ID)
	if err != nil {
		return err
	}
	byReference := map[string]Dispute{}
	for _, d := range known {
		byReference[d.Reference] = d
	}
	for _, said := range status.Disputes[:min(len(status.Disputes), maxDisputes)] {
		if !referencePattern.MatchString(said.Reference) || said.Amount <= 0 {
			return fmt.Errorf("the card processor's dispute %q of charge %s is none", clip(said.Reference), c.ID)
		}
		d, heard := byReference[said.Reference]
		switch {
		case !heard:
			return s.disputed(ctx, tx, c, said, now)
		case said.State == DisputeWon && d.State != DisputeWon:
			return s.disputeWon(ctx, tx, c, d, known, now)
		case said.State == DisputeLost && d.State == DisputeOpen:
			if _, err := tx.Exec(ctx, "UPDATE disputes SET state = 'lost', changed_at = $1 WHERE reference = $2", now, d.Reference); err != nil {
				return fmt.Errorf("lose dispute %s: %w", d.Reference, err)
			}
			return changeCharge(ctx, tx, c, c.State, ActorProcessor, ReasonDisputeLost, now)
		}
	}
	return nil
}

// disputed books a chargeback that was not heard of before: the acquirer has taken the
// money. One that was won already has taken nothing.
func (s *Service) disputed(ctx context.Context, tx *sqldb.Tx, c *Charge, said CardDispute, now time.Time) error {
	d := Dispute{Reference: said.Reference, ChargeID: c.ID, Amount: said.Amount, State: said.State}
	if said.Amount > c.Amount {
		s.log.ErrorContext(ctx, "a dispute is about more than was charged", "charge", c.ID, "dispute", d.Reference, "amount", int64(said.Amount))
	}
	reason := ReasonDisputed
	to := ChargeDisputed
	if d.State == DisputeWon {
		reason, to = ReasonDisputeWon, c.State
	} else {
		made, err := s.chargeBack(ctx, tx, c, d)
		if err != nil {
			return err
		}
		d.TransactionID = made
		if c.State != ChargeDisputed {
			c.DisputedFrom = c.State
		}
	}
	_, err := tx.Exec(ctx, `INSERT INTO disputes (reference, charge_id, amount, state, transaction_id, created_at, changed_at)
		VALUES ($1, $2, $3, $4, $5, $6, $6)`, d.Reference, d.ChargeID, int64(d.Amount), string(d.State), sqldb.NullUUID(d.TransactionID), now)
	if err != nil {
		return fmt.Errorf("store dispute %s: %w", d.Reference, err)
	}
	return changeCharge(ctx, tx, c, to, ActorProcessor, reason, now)
}

// chargeBack posts what the acquirer has taken: from what stands apart for a refund
// that can no longer be made, else from the wallet and the customer's debts.
func (s *Service) chargeBack(ctx context.Context, tx *sqldb.Tx, c *Charge, d Dispute) (uuid.UUID, error) {
	const label = "Chargeback"
	cards := ledger.SystemAccountID(AccountCardsToSettle)
	var made ledger.Transaction
	var err error
	switch {
	case c.State == ChargePosted || c.State == ChargeDisputed:
		made, err = s.takeBack(ctx, tx, *c, d.Amount, AccountCardsToSettle, label)
	case c.State == ChargeRefunding && c.HeldApart > 0:
		amount := min(d.Amount, c.HeldApart)
		c.HeldApart -= amount
		made, err = s.postStep(ctx, tx, *c, label, ledger.Posting{Debit: ledger.SystemAccountID(AccountSuspense), Credit: cards, Amount: amount})
	case c.State == ChargeRefunded: // the card has it twice now
		made, err = s.postStep(ctx, tx, *c, label, ledger.Posting{Debit: ledger.SystemAccountID(AccountCustomerReceivable), Credit: cards, Amount: d.Amount})
	}
	return made.ID, err
}

// disputeWon posts back what a chargeback took. What the wallet may not hold any more
// waits in suspense for staff.
func (s *Service) disputeWon(ctx context.Context, tx *sqldb.Tx, c *Charge, d Dispute, all []Dispute, now time.Time) error {
	if d.TransactionID != uuid.Nil {
		made, toSuspense, err := s.postBack(ctx, tx, *c, d)
		if err != nil {
			return err
		}
		d.ReturnedID = made.ID
		if toSuspense > 0 && c.DisputedFrom == ChargeRefunding {
			c.HeldApart += toSuspense
		}
	}
	if _, err := tx.Exec(ctx, "UPDATE disputes SET state = 'won', returned_id = $1, changed_at = $2 WHERE reference = $3",
		sqldb.NullUUID(d.ReturnedID), now, d.Reference); err != nil {
		return fmt.Errorf("win dispute %s: %w", d.Reference, err)
	}
	to := c.DisputedFrom
	for _, other := range all {
		if other.Reference != d.Reference && other.State != DisputeWon {
			to = ChargeDisputed
		}
	}
	if to != ChargeDisputed {
		c.DisputedFrom = ""
	}
	return changeCharge(ctx, tx, c, to, ActorProcessor, ReasonDisputeWon, now)
}

// postBack reverses a chargeback and returns how much of it went to suspense.
func (s *Service) postBack(ctx context.Context, tx *sqldb.Tx, c Charge, d Dispute) (ledger.Transaction, ledger.Amount, error) {
	taken, err := engine.FindTransaction(ctx, tx, d.TransactionID)
	if err != nil {
		return ledger.Transaction{}, 0, err
	}
	suspense := ledger.SystemAccountID(AccountSuspense)
	inSuspense := func() (sum ledger.Amount) {
		for _, p := range taken.Postings {
			if p.Debit == suspense {
				sum += p.Amount
			}
		}
		return sum
	}
	const label = "Chargeback won"
	made, err := s.engine.ReverseTx(ctx, tx, ledger.ReverseRequest{Key: c.stepKey(), TransactionID: taken.ID, Label: label})
	switch ledger.CodeOf(err) {
	case "":
		return made, inSuspense(), err
	case ledger.CodeLimitExceeded, ledger.CodeAccountClosed:
	default:
		return ledger.Transaction{}, 0, fmt.Errorf("post back dispute %s: %w", d.Reference, err)
	}
	s.log.WarnContext(ctx, "a won dispute waits in suspense: the wallet may not have it", "charge", c.ID, "dispute", d.Reference)
	customer, err := FindCustomerByID(ctx, tx, c.CustomerID)
	if err != nil {
		return ledger.Transaction{}, 0, err
	}
	postings := make([]ledger.Posting, len(taken.Postings))
	for i, p := range taken.Postings {
		postings[i] = ledger.Posting{Debit: p.Credit, Credit: p.Debit, Amount: p.Amount}
		if p.Debit == customer.WalletID {
			postings[i].Credit = suspense
		}
	}
	made, err = s.postStep(ctx, tx, c, label, postings...)
	return made, inSuspense(), err
}
