package payouts

import (
	"context"
	"fmt"
	"strings"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
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
	for _, p := range payouts {
		if err := stillDue(ctx, tx, p); err != nil {
			return err
		}
		posted, err := s.engine.PostTx(ctx, tx, approvalOf(*b, p, today))
		if err != nil {
			return fmt.Errorf("post payout %s: %w", p.EndToEndID, err)
		}
		err = changeOne(ctx, tx, "approve payout "+p.EndToEndID,
			"UPDATE payouts SET state = 'approved', transaction_id = $1, approved_on = $2 WHERE id = $3 AND state = 'prepared'", posted.ID, today, p.ID)
		if err != nil {
			return err
		}
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

// stillDue makes sure that what was prepared is still so: the approver sees the
// state of now, not that of then.
func stillDue(ctx context.Context, tx *sqldb.Tx, p Payout) error {
	payee, err := payments.FindPayeeByID(ctx, tx, p.PayeeID)
	if err != nil {
		return err
	}
	var donations, reversed int64
	var total ledger.Amount
	err = tx.QueryRow(ctx, `SELECT COUNT(*), CAST(COALESCE(SUM(i.amount), 0) AS bigint), COUNT(r.transaction_id)
		FROM payout_items AS i JOIN requests AS q ON q.id = i.transaction_id
		LEFT JOIN postings AS r ON r.reverses_page_id = q.page_id AND r.reverses_line = q.line + i.posting
		WHERE i.payout_id = $1 AND i.live = 1`, []any{p.ID}, &donations, &total, &reversed)
	if err != nil {
		return fmt.Errorf("read the donations of payout %s: %w", p.EndToEndID, err)
	}
	if int(donations) != p.Donations || total != p.Gross {
		return fmt.Errorf("payout %s should have %d donations of %d and has %d of %d", p.EndToEndID, p.Donations, p.Gross, donations, total)
	}
	balance, err := engine.FindBalance(ctx, tx, p.AccountID)
	if err != nil {
		return err
	}
	conflict := func(format string, args ...any) error {
		return ledger.Errorf(ledger.CodeConflict, format+"; cancel batch %s and prepare a new one", append(args, p.Batch)...).InField("payout." + p.EndToEndID)
	}
	switch {
	case reversed > 0:
		return conflict("%d donations to %s were reversed since the batch was prepared", reversed, p.PayeeCode)
	case payee.Status != payments.Open:
		return conflict("%s is %s since the batch was prepared", p.PayeeCode, payee.Status)
	case payee.IBAN != p.Creditor.IBAN || payee.BIC != p.Creditor.BIC:
		return conflict("%s has another IBAN or BIC since the batch was prepared", p.PayeeCode)
	case balance.Available() < p.Gross:
		return conflict("the account of %s has only %s %s left", p.PayeeCode, balance.Available().Format(p.Currency), p.Currency)
	}
	return nil
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
	case BatchExported, BatchSettled:
		return ledger.Errorf(ledger.CodeConflict, "batch %s was exported by %s; only the bank can stop it now", b.Reference, b.ExportedBy).InField("batch")
	}
	payouts, err := payoutsOfBatch(ctx, tx, *b)
	if err != nil {
		return err
	}
	for _, p := range payouts {
		var reversal ledger.Transaction
		if p.State == Approved {
			reversal, err = s.engine.ReverseTx(ctx, tx, ledger.ReverseRequest{
				Key: "payout-cancel:" + p.EndToEndID, TransactionID: p.TransactionID, EffectiveDate: today,
				Label: fmt.Sprintf("Payout %s %s cancelled", b.Reference, p.PayeeCode),
			})
			if err != nil {
				return fmt.Errorf("reverse payout %s: %w", p.EndToEndID, err)
			}
		}
		err := changeOne(ctx, tx, "cancel payout "+p.EndToEndID,
			"UPDATE payouts SET state = 'cancelled', cancel_transaction_id = $1, cancelled_on = $2 WHERE id = $3 AND state = $4",
			sqldb.NullUUID(reversal.ID), today, p.ID, string(p.State))
		if err != nil {
			return err
		}
		if err := freeDonations(ctx, tx, p); err != nil {
			return err
		}
	}
	before := b.State
	b.State, b.CancelledBy, b.CancelledAt = BatchCancelled, actor, now
	return changeOne(ctx, tx, "cancel batch "+b.Reference,
		"UPDATE payout_batches SET state = 'cancelled', cancelled_by = $1, cancelled_at = $2 WHERE id = $3 AND state = $4", actor, now, b.ID, string(before))
}

// freeDonations makes a payout's donations due again.
func freeDonations(ctx context.Context, tx *sqldb.Tx, p Payout) error {
	n, err := tx.Exec(ctx, "UPDATE payout_items SET live = 0 WHERE payout_id = $1 AND live = 1", p.ID)
	if err != nil {
		return fmt.Errorf("free the donations of payout %s: %w", p.EndToEndID, err)
	}
	if int(n) != p.Donations {
		return fmt.Errorf("payout %s should free %d donations and freed %d", p.EndToEndID, p.Donations, n)
	}
	return nil
}
