package payouts

import (
	"context"
	"fmt"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Export returns what the bank is to be told of an approved batch, and marks it
// exported, after which it can no longer be cancelled. Each later call returns the
// same content: a file that was lost can be made again, and the bank refuses its
// message id the second time. A batch that is not approved, or whose execution
// date has passed before its first export, or that has a payee who was blocked, got
// another bank account or has one that is flagged since, is CodeConflict; and so is one
// of which the bank has rejected a payout, which would be paid twice.
func (s *Service) Export(ctx context.Context, reference, actor string) (PaymentFile, error) {
	if err := checkActor(actor); err != nil {
		return PaymentFile{}, err
	}
	today, now := s.engine.Today(), s.engine.Now()
	var file PaymentFile
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		b, err := lockBatch(ctx, tx, reference)
		if err != nil {
			return err
		}
		file, err = s.export(ctx, tx, b, actor, today, now)
		return err
	})
	if err != nil {
		return PaymentFile{}, fmt.Errorf("export payouts: %w", err)
	}
	s.log.InfoContext(ctx, "payouts exported", "batch", reference, "actor", actor)
	return file, nil
}

func (s *Service) export(ctx context.Context, tx *sqldb.Tx, b Batch, actor string, today ledger.Date, now time.Time) (PaymentFile, error) {
	switch {
	case b.State == BatchPrepared:
		return PaymentFile{}, ledger.Errorf(ledger.CodeConflict, "batch %s waits for approval by another person than %s", b.Reference, b.CreatedBy).InField("batch")
	case b.State == BatchCancelled:
		return PaymentFile{}, ledger.Errorf(ledger.CodeConflict, "batch %s was cancelled by %s", b.Reference, b.CancelledBy).InField("batch")
	case b.State == BatchApproved && b.ExecutionDate.Before(today):
		return PaymentFile{}, ledger.Errorf(ledger.CodeConflict, "the bank was to pay batch %s on %s, which has passed; cancel it and prepare a new one",
			b.Reference, b.ExecutionDate).InField("batch")
	}
	payouts, err := payoutsOfBatch(ctx, tx, b)
	if err != nil {
		return PaymentFile{}, err
	}
	for _, p := range payouts {
		if p.State == Rejected {
			return PaymentFile{}, ledger.Errorf(ledger.CodeConflict, "the bank rejected payout %s of batch %s, whose donations are due again; prepare a new batch instead of sending this one twice",
				p.EndToEndID, b.Reference).InField("batch")
		}
	}
	if b.State == BatchApproved {
		if err := samePayees(ctx, tx, payouts, "approved"); err != nil {
			return PaymentFile{}, err
		}
	}
	file := fileOf(b, payouts)
	total, err := file.Total()
	if err != nil || total != b.Net {
		return PaymentFile{}, fmt.Errorf("the payouts of batch %s come to %d, not %d: %w", b.Reference, total, b.Net, err)
	}
	hash := file.ContentHash()
	if b.State != BatchApproved {
		if hash != b.FileHash {
			return PaymentFile{}, fmt.Errorf("the content of batch %s is not what was exported on %s", b.Reference, b.ExportedAt.Format(time.RFC3339))
		}
		return file, nil
	}
	err = changeOne(ctx, tx, "export batch "+b.Reference, `UPDATE payout_batches SET state = 'exported', exported_by = $1, exported_at = $2, file_hash = $3
		WHERE id = $4 AND state = 'approved'`, actor, now, hash, b.ID)
	if err != nil {
		return PaymentFile{}, err
	}
	n, err := tx.Exec(ctx, "UPDATE payouts SET state = 'exported' WHERE batch_id = $1 AND state = 'approved'", b.ID)
	if err != nil {
		return PaymentFile{}, fmt.Errorf("export the payouts of batch %s: %w", b.Reference, err)
	}
	if int(n) != len(payouts) {
		return PaymentFile{}, fmt.Errorf("batch %s has %d approved payouts, not %d", b.Reference, n, len(payouts))
	}
	return file, nil
}

// fileOf depends on nothing that changes after approval. Its time is that of the
// approval, in whole seconds as a file carries it.
func fileOf(b Batch, payouts []Payout) PaymentFile {
	f := PaymentFile{MessageID: b.MessageID, CreatedAt: b.ApprovedAt.Truncate(time.Second), ExecutionDate: b.ExecutionDate, Currency: b.Currency, Debtor: b.Debtor,
		Transfers: make([]CreditTransfer, len(payouts))}
	for i, p := range payouts {
		f.Transfers[i] = CreditTransfer{EndToEndID: p.EndToEndID, Amount: p.Net, Creditor: p.Creditor, Address: p.CreditorAddress, Remittance: p.Remittance}
	}
	return f
}
