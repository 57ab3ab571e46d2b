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

// BatchState is where a batch is in its life.
type BatchState string

// The states of a batch. It can be cancelled until it is exported, and is
// settled when the bank has booked every payout of it.
const (
	BatchPrepared  BatchState = "prepared"
	BatchApproved  BatchState = "approved"
	BatchExported  BatchState = "exported"
	BatchSettled   BatchState = "settled"
	BatchCancelled BatchState = "cancelled"
)

// Batch is a set of payouts that one payment file carries.
type Batch struct {
	ID            uuid.UUID
	Reference     string // unique, for people: "PO-20261122-0001"
	State         BatchState
	Currency      ledger.Currency
	PreparedOn    ledger.Date
	Until         ledger.Date // donations up to this date were gathered
	ExecutionDate ledger.Date
	MessageID     string // of the payment file
	Debtor        Party  // as it was when the batch was prepared
	Payouts       int
	Gross         ledger.Amount
	Commission    ledger.Amount
	Net           ledger.Amount
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
	debtor_name, debtor_iban, debtor_bic, payouts, gross, commission, net, created_by, created_at,
	COALESCE(approved_by, ''), approved_at, COALESCE(exported_by, ''), exported_at,
	COALESCE(cancelled_by, ''), cancelled_at, file_hash`

func scanBatch(rows *sqldb.Rows) (Batch, error) {
	var b Batch
	var hash []byte
	err := rows.Scan(&b.ID, &b.Reference, &b.State, &b.Currency, &b.PreparedOn, &b.Until, &b.ExecutionDate, &b.MessageID,
		&b.Debtor.Name, &b.Debtor.IBAN, &b.Debtor.BIC, &b.Payouts, &b.Gross, &b.Commission, &b.Net, &b.CreatedBy, &b.CreatedAt,
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
	list, err := collect(ctx, tx, "SELECT "+batchColumns+" FROM payout_batches WHERE id = $1"+tx.ForUpdate(), []any{found.ID}, scanBatch)
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
	if !printable(reference, maxReference) {
		return Batch{}, ledger.Errorf(ledger.CodeInvalid, "%q is no reference of a payout batch; write it like PO-20261122-0001", brief(reference)).InField("batch")
	}
	list, err := collect(ctx, tx, "SELECT "+batchColumns+" FROM payout_batches WHERE reference = $1", []any{reference}, scanBatch)
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

func checkPage(limit int) error {
	if limit < 1 || limit > MaxPage {
		return ledger.Errorf(ledger.CodeInvalid, "a page has 1 to %d lines, not %d", MaxPage, limit).InField("limit")
	}
	return nil
}

// BatchFilter selects a page of batches, the newest first.
type BatchFilter struct {
	State  BatchState // empty: all
	Before string     // reference of the last batch of the page before; empty: from the newest
	Limit  int        // 1 to MaxPage
}

// ListBatches returns a page of batches.
func ListBatches(ctx context.Context, tx *sqldb.Tx, f BatchFilter) ([]Batch, error) {
	if err := checkPage(f.Limit); err != nil {
		return nil, err
	}
	var w where
	if f.State != "" {
		w.and("state = ?", string(f.State))
	}
	if f.Before != "" {
		w.and("reference < ?", f.Before)
	}
	list, err := collect(ctx, tx, fmt.Sprintf("SELECT %s FROM payout_batches%s ORDER BY reference DESC LIMIT %d", batchColumns, w.clause(), f.Limit),
		w.args, scanBatch)
	if err != nil {
		return nil, fmt.Errorf("list payout batches: %w", err)
	}
	return list, nil
}

// where collects conditions; ? stands for the next argument.
type where struct {
	conditions []string
	args       []any
}

func (w *where) and(condition string, args ...any) {
	for _, arg := range args {
		w.args = append(w.args, arg)
		condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(w.args)), 1)
	}
	w.conditions = append(w.conditions, condition)
}

func (w *where) clause() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conditions, " AND ")
}

// collect reads all rows of a query.
func collect[T any](ctx context.Context, tx *sqldb.Tx, query string, args []any, scan func(*sqldb.Rows) (T, error)) ([]T, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []T
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	return list, rows.Err()
}
