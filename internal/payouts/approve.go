package payouts

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// PayoutKey returns the idempotency key of the transaction that approves a payout.
func PayoutKey(endToEndID string) string { return "payout:" + endToEndID }

// Approve lets a prepared batch go: for each payout it posts Dr payable (gross) /
// Cr payouts in transit (net), Cr commissions and Cr VAT collected. It takes another person than the
// one who prepared the batch (CodeForbidden). A batch whose facts have changed
// since (a donation was reversed, the payee's account is another one, the
// execution date has passed) is refused with CodeConflict and must be prepared
// anew. To approve again what one has approved changes nothing.
func (s *Service) Approve(ctx context.Context, reference, actor string) (Batch, error) {
	if err := checkActor(actor); err != nil {
		return Batch{}, err
	}
	today, now := s.engine.Today(), s.engine.Now()
	var approved Batch
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		if approved, err = lockBatch(ctx, tx, reference); err != nil {
			return err
		}
		return s.approve(ctx, tx, &approved, actor, today, now)
	})
	if err != nil {
		return Batch{}, fmt.Errorf("approve payouts: %w", err)
	}
	s.log.InfoContext(ctx, "payouts approved", "batch", reference, "actor", actor)
	return approved, nil
}

func (s *Service) approve(ctx context.Context, tx *sqldb.Tx, b *Batch, actor string, today ledger.Date, now time.Time) error {
	switch {
	case samePerson(b.CreatedBy, actor):
		return ledger.Errorf(ledger.CodeForbidden, "%s prepared batch %s, so another person must approve it", b.CreatedBy, b.Reference).InField("actor")
	case b.State == BatchCancelled:
		return ledger.Errorf(ledger.CodeConflict, "batch %s was cancelled by %s; prepare a new one", b.Reference, b.CancelledBy).InField("batch")
	case b.State != BatchPrepared && b.ApprovedBy == actor:
		return nil
	case b.State != BatchPrepared:
		return ledger.Errorf(ledger.CodeConflict, "batch %s was already approved by %s", b.Reference, b.ApprovedBy).InField("batch")
	case b.ExecutionDate.Before(today):
		return ledger.Errorf(ledger.CodeConflict, "the bank was to pay batch %s on %s, which has passed; cancel it and prepare a new one",
			b.Reference, b.ExecutionDate).InField("batch")
	}
	payouts, err := payoutsOfBatch(ctx, tx, *b)
	if err != nil {
		return err
	}
	if err := stillDue(ctx, tx, *b, payouts); err != nil {
		return err
	}
	requests := make([]ledger.Request, len(payouts))
	for i, p := range payouts {
		requests[i] = approvalOf(*b, p, today)
	}
	posted, err := s.postAll(ctx, tx, payouts, requests)
	if err != nil {
		return err
	}
	err = changeAll(ctx, tx, "approve the payouts of batch "+b.Reference, "transaction_id", "approved_on", Prepared, Approved, payouts, posted, today)
	if err != nil {
		return err
	}
	b.State, b.ApprovedBy, b.ApprovedAt = BatchApproved, actor, now
	return changeOne(ctx, tx, "approve batch "+b.Reference,
		"UPDATE payout_batches SET state = 'approved', approved_by = $1, approved_at = $2 WHERE id = $3 AND state = 'prepared'", actor, now, b.ID)
}

// samePerson compares names of actors as people write them: a capital letter does
// not make another person.
func samePerson(a, b string) bool {
	return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b))
}

func approvalOf(b Batch, p Payout, today ledger.Date) ledger.PostRequest {
	a := accounts()
	r := ledger.PostRequest{
		Key: PayoutKey(p.EndToEndID), Journal: ledger.JournalPayouts, Label: fmt.Sprintf("Payout %s %s", b.Reference, p.PayeeCode), EffectiveDate: today,
		Source:   ledger.Source{Channel: "payouts", ID: p.EndToEndID, Date: b.PreparedOn},
		Metadata: map[string]string{"batch": b.Reference, "payee": p.PayeeCode},
		Postings: []ledger.Posting{{Debit: p.AccountID, Credit: a.inTransit, Amount: p.Net, Currency: p.Currency}},
	}
	if p.Commission > 0 {
		r.Postings = append(r.Postings, ledger.Posting{Debit: p.AccountID, Credit: a.commissions, Amount: p.Commission, Currency: p.Currency})
	}
	if p.VAT > 0 {
		r.Postings = append(r.Postings, ledger.Posting{Debit: p.AccountID, Credit: a.vat, Amount: p.VAT, Currency: p.Currency})
	}
	return r
}

// Cancel takes a batch back that was not exported: what its approval posted is
// reversed, and its donations are due again. An exported batch is CodeConflict:
// only the bank can stop it. To cancel again changes nothing.
func (s *Service) Cancel(ctx context.Context, reference, actor string) (Batch, error) {
	if err := checkActor(actor); err != nil {
		return Batch{}, err
	}
	today, now := s.engine.Today(), s.engine.Now()
	var cancelled Batch
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		if cancelled, err = lockBatch(ctx, tx, reference); err != nil {
			return err
		}
		return s.cancel(ctx, tx, &cancelled, actor, today, now)
	})
	if err != nil {
		return Batch{}, fmt.Errorf("cancel payouts: %w", err)
	}
	s.log.InfoContext(ctx, "payouts cancelled", "batch", reference, "actor", actor)
	return cancelled, nil
}

func (s *Service) cancel(ctx context.Context, tx *sqldb.Tx, b *Batch, actor string, today ledger.Date, now time.Time) error {
	switch b.State {
	case BatchCancelled:
		return nil
	case BatchExported, BatchSettled, BatchRejected:
		return ledger.Errorf(ledger.CodeConflict, "batch %s was exported by %s; only the bank can stop it now", b.Reference, b.ExportedBy).InField("batch")
	}
	payouts, err := payoutsOfBatch(ctx, tx, *b)
	if err != nil {
		return err
	}
	reversals := make([]uuid.UUID, len(payouts)) // of none, where nothing was posted
	if b.State == BatchApproved {
		requests := make([]ledger.Request, len(payouts))
		for i, p := range payouts {
			requests[i] = ledger.ReverseRequest{Key: "payout-cancel:" + p.EndToEndID, TransactionID: p.TransactionID, EffectiveDate: today,
				Label: fmt.Sprintf("Payout %s %s cancelled", b.Reference, p.PayeeCode)}
		}
		if reversals, err = s.postAll(ctx, tx, payouts, requests); err != nil {
			return err
		}
	}
	err = changeAll(ctx, tx, "cancel the payouts of batch "+b.Reference, "cancel_transaction_id", "cancelled_on", State(b.State), Cancelled, payouts, reversals, today)
	if err != nil {
		return err
	}
	if err := freeDonations(ctx, tx, payouts...); err != nil {
		return err
	}
	before := b.State
	b.State, b.CancelledBy, b.CancelledAt = BatchCancelled, actor, now
	return changeOne(ctx, tx, "cancel batch "+b.Reference,
		"UPDATE payout_batches SET state = 'cancelled', cancelled_by = $1, cancelled_at = $2 WHERE id = $3 AND state = $4", actor, now, b.ID, string(before))
}

// postAll carries out the requests of payouts together, and returns their
// transactions. One that is refused stops all.
func (s *Service) postAll(ctx context.Context, tx *sqldb.Tx, list []Payout, requests []ledger.Request) ([]uuid.UUID, error) {
	outcomes, err := s.engine.SubmitTx(ctx, tx, requests)
	if err != nil {
		return nil, fmt.Errorf("post %d payouts: %w", len(list), err)
	}
	ids := make([]uuid.UUID, len(list))
	for i, out := range outcomes {
		if out.Err != nil {
			return nil, fmt.Errorf("post payout %s: %w", list[i].EndToEndID, out.Err)
		}
		ids[i] = out.Transaction.ID
	}
	return ids, nil
}

// changeAll moves payouts on from one state to another, with the transaction of each
// and the day, in the columns of that step. All of them must be in the first state.
func changeAll(ctx context.Context, tx *sqldb.Tx, what, transactionColumn, dayColumn string, from, to State, list []Payout, transactions []uuid.UUID, on ledger.Date) error {
	n, err := tx.ExecRows(ctx, fmt.Sprintf(`UPDATE payouts SET state = d.to_state, %s = d.done_by, %s = d.done_on
		FROM ROWS AS d(payout, done_by, done_on, from_state, to_state) WHERE payouts.id = d.payout AND payouts.state = d.from_state`, transactionColumn, dayColumn),
		[]sqldb.Column{{Name: "payout", Type: "uuid"}, {Name: "done_by", Type: "uuid"}, {Name: "done_on", Type: "date"}, {Name: "from_state", Type: "text"}, {Name: "to_state", Type: "text"}},
		len(list), func(i int) []any {
			return []any{list[i].ID, sqldb.NullUUID(transactions[i]), on, string(from), string(to)}
		})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if int(n) != len(list) {
		return fmt.Errorf("%s: %d of %d were in state %s", what, n, len(list), from)
	}
	return nil
}

// freeDonations makes the donations of payouts due again.
func freeDonations(ctx context.Context, tx *sqldb.Tx, list ...Payout) error {
	want := 0
	for _, p := range list {
		want += p.Donations
	}
	n, err := tx.ExecRows(ctx, "UPDATE payout_items SET live = 0 FROM ROWS AS d(payout) WHERE payout_items.payout_id = d.payout AND payout_items.live = 1",
		[]sqldb.Column{{Name: "payout", Type: "uuid"}}, len(list), func(i int) []any { return []any{list[i].ID} })
	if err != nil {
		return fmt.Errorf("free the donations of %d payouts: %w", len(list), err)
	}
	if int(n) != want {
		return fmt.Errorf("%d payouts should free %d donations and freed %d", len(list), want, n)
	}
	return freeDays(ctx, tx, list)
}
