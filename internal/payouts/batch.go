package payouts

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// BatchState is where a batch is in its life.
type BatchState string

// The states of a batch. It can be cancelled until it is exported. Once nothing of it is
// on its way any more it is settled, or rejected where the bank rejected all of it.
const (
	BatchPrepared  BatchState = "prepared"
	BatchApproved  BatchState = "approved"
	BatchExported  BatchState = "exported"
	BatchSettled   BatchState = "settled"
	BatchRejected  BatchState = "rejected"
	BatchCancelled BatchState = "cancelled"
)

// Batch is a set of payouts that one payment file carries.
type Batch struct {
	ID            uuid.UUID
	Reference     string // unique, for people: "PO-20261122-0001"
	State         BatchState
	Currency      ledger.Currency
	PreparedOn    ledger.Date
	Until         ledger.Date // donations up to this date at most were gathered
	ExecutionDate ledger.Date
	MessageID     string // of the payment file
	Debtor        Party  // as it was when the batch was prepared
	Payouts       int
	Gross         ledger.Amount
	Commission    ledger.Amount
	VAT           ledger.Amount // on the commission
	Net           ledger.Amount // Gross less Commission and VAT
	CreatedBy     string
	CreatedAt     time.Time
	ApprovedBy    string // empty until then, as the others
	ApprovedAt    time.Time
	ExportedBy    string
	ExportedAt    time.Time
	CancelledBy   string
	CancelledAt   time.Time
	FileHash      [32]byte // PaymentFile.ContentHash, once exported
}

const batchColumns = `id, reference, state, currency, prepared_on, until_date, execution_date, message_id,
	debtor_name, debtor_iban, debtor_bic, payouts, gross, commission, vat, net, created_by, created_at,
	COALESCE(approved_by, ''), approved_at, COALESCE(exported_by, ''), exported_at,
	COALESCE(cancelled_by, ''), cancelled_at, file_hash`

func scanBatch(rows *sqldb.Rows) (Batch, error) {
	var b Batch
	var hash []byte
	err := rows.Scan(&b.ID, &b.Reference, &b.State, &b.Currency, &b.PreparedOn, &b.Until, &b.ExecutionDate, &b.MessageID,
		&b.Debtor.Name, &b.Debtor.IBAN, &b.Debtor.BIC, &b.Payouts, &b.Gross, &b.Commission, &b.VAT, &b.Net, &b.CreatedBy, &b.CreatedAt,
		&b.ApprovedBy, &b.ApprovedAt, &b.ExportedBy, &b.ExportedAt, &b.CancelledBy, &b.CancelledAt, &hash)
	copy(b.FileHash[:], hash)
	return b, err
}

// maxReference bounds a batch's reference as a caller may write it.
const maxReference = 35

// lockBatch is FindBatch for a change of the batch: it holds the row until the
// transaction ends. It locks through the primary key: locks that CockroachDB takes
// through another index outlive the transaction by seconds.
func lockBatch(ctx context.Context, tx *sqldb.Tx, reference string) (Batch, error) {
	found, err := FindBatch(ctx, tx, reference)
	if err != nil || tx.ForUpdate() == "" {
		return found, err
	}
	list, err := sqldb.Collect(ctx, tx, "SELECT "+batchColumns+" FROM payout_batches WHERE id = $1"+tx.ForUpdate(), []any{found.ID}, scanBatch)
	if err != nil {
		return Batch{}, fmt.Errorf("lock payout batch %s: %w", reference, err)
	}
	if len(list) != 1 {
		return Batch{}, fmt.Errorf("lock payout batch %s: it is gone", reference)
	}
	return list[0], nil
}

// FindBatch returns the batch with the given reference, or CodeNotFound.
func FindBatch(ctx context.Context, tx *sqldb.Tx, reference string) (Batch, error) {
	if !ledger.Printable(reference, maxReference) {
		return Batch{}, ledger.Errorf(ledger.CodeInvalid, "%q is no reference of a payout batch; write it like PO-20261122-0001", ledger.Clip(reference)).InField("batch")
	}
	list, err := sqldb.Collect(ctx, tx, "SELECT "+batchColumns+" FROM payout_batches WHERE reference = $1", []any{reference}, scanBatch)
	if err != nil {
		return Batch{}, fmt.Errorf("find payout batch %s: %w", reference, err)
	}
	if len(list) == 0 {
		return Batch{}, ledger.Errorf(ledger.CodeNotFound, "there is no payout batch %s", reference).InField("batch")
	}
	return list[0], nil
}

// MaxPage bounds what one query for a list returns.
const MaxPage = 1_000

// BatchFilter selects a page of batches, the newest first.
type BatchFilter struct {
	State  BatchState // empty: all
	Before string     // reference of the last batch of the page before; empty: from the newest
	Limit  int        // 1 to MaxPage
}

// ListBatches returns a page of batches.
func ListBatches(ctx context.Context, tx *sqldb.Tx, f BatchFilter) ([]Batch, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	var w sqldb.Where
	if f.State != "" {
		w.And("state = ?", string(f.State))
	}
	if f.Before != "" {
		w.And("reference < ?", f.Before)
	}
	list, err := sqldb.Collect(ctx, tx, fmt.Sprintf("SELECT %s FROM payout_batches%s ORDER BY reference DESC LIMIT %d", batchColumns, w.Clause(), f.Limit),
		w.Args, scanBatch)
	if err != nil {
		return nil, fmt.Errorf("list payout batches: %w", err)
	}
	return list, nil
}
