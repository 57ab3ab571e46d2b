package payouts

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// State is where a payout is in its life.
type State string

// The states of a payout. A rejected, returned or cancelled one frees its donations
// for another payout, with an end-to-end id of its own. The bank's report accepts or
// rejects (Accepted can still become Rejected); only its statement settles and returns.
const (
	Prepared  State = "prepared"
	Approved  State = "approved"
	Exported  State = "exported"
	Accepted  State = "accepted"
	Rejected  State = "rejected"
	Settled   State = "settled"
	Returned  State = "returned"
	Cancelled State = "cancelled"
)

// ParseState returns the state of a name, or CodeInvalid.
func ParseState(name string) (State, error) {
	states := []State{Prepared, Approved, Exported, Accepted, Rejected, Settled, Returned, Cancelled}
	if !slices.Contains(states, State(name)) {
		return "", ledger.Errorf(ledger.CodeInvalid, "%q is no state of a payout; choose prepared, approved, exported, accepted, rejected, settled, returned or cancelled",
			ledger.Clip(name)).InField("state")
	}
	return State(name), nil
}

// Payout is one credit transfer to one payee, and the donations that it pays out.
type Payout struct {
	ID              uuid.UUID
	BatchID         uuid.UUID
	Batch           string // reference
	Ordinal         int    // in the batch, from 1
	PayeeID         uuid.UUID
	PayeeCode       string
	AccountID       uuid.UUID // the payee's payable account
	Currency        ledger.Currency
	Donations       int
	Gross           ledger.Amount
	Commission      ledger.Amount
	VAT             ledger.Amount    // on the commission
	Net             ledger.Amount    // Gross less Commission and VAT: what the payee gets
	EndToEndID      string           // unique for ever
	Creditor        Party            // as it was when the batch was prepared
	CreditorAddress payments.Address // likewise; empty where it was not known
	Remittance      string
	State           State
	// The transactions of its life, and their effective dates; Nil and zero where
	// it has not come so far.
	TransactionID, CancelTransactionID, SettlementTransactionID, ReturnTransactionID, RejectTransactionID uuid.UUID
	ApprovedOn, CancelledOn, SettledOn, ReturnedOn, RejectedOn                                            ledger.Date
	ReturnReason, RejectReason                                                                            string // ISO code, AC04
	// BankStatus is what the bank's last report that counted says of it; empty before.
	BankStatus Status
	// RetryOf is the end-to-end id of the rejected or returned payout whose donations
	// this one pays out again: the last one, where there are several; empty: of none.
	RetryOf string
	// Where the bank's statement shows that it was paid; empty before.
	BankStatement string // statement id
	BankReference string // the bank's own reference of the entry; may be empty
}

const payoutSelect = `SELECT p.id, p.batch_id, b.reference, p.ordinal, p.payee_id, y.code, p.account_id, p.currency, p.donations, p.gross, p.commission,
	p.vat, p.net, p.end_to_end_id, p.creditor_name, p.creditor_iban, p.creditor_bic,
	p.creditor_street, p.creditor_building, p.creditor_post_code, p.creditor_town, p.creditor_country, p.remittance, p.state, p.transaction_id, p.cancel_transaction_id,
	p.settlement_transaction_id, p.return_transaction_id, p.approved_on, p.cancelled_on, p.settled_on, p.returned_on, p.return_reason,
	p.reject_transaction_id, p.rejected_on, p.reject_reason, p.bank_status, COALESCE(o.end_to_end_id, ''),
	COALESCE(s.statement_id, ''), COALESCE(e.reference, '')
	FROM payouts AS p
	JOIN payout_batches AS b ON b.id = p.batch_id
	JOIN payees AS y ON y.id = p.payee_id
	LEFT JOIN payouts AS o ON o.id = p.retry_of
	LEFT JOIN bank_entries AS e ON e.payout_id = p.id AND e.outcome = 'settled'
	LEFT JOIN bank_statements AS s ON s.id = e.statement_id`

func scanPayout(rows *sqldb.Rows) (Payout, error) {
	var p Payout
	err := rows.Scan(&p.ID, &p.BatchID, &p.Batch, &p.Ordinal, &p.PayeeID, &p.PayeeCode, &p.AccountID, &p.Currency, &p.Donations, &p.Gross, &p.Commission,
		&p.VAT, &p.Net, &p.EndToEndID, &p.Creditor.Name, &p.Creditor.IBAN, &p.Creditor.BIC,
		&p.CreditorAddress.Street, &p.CreditorAddress.Building, &p.CreditorAddress.PostCode, &p.CreditorAddress.Town, &p.CreditorAddress.Country, &p.Remittance, &p.State, &p.TransactionID, &p.CancelTransactionID,
		&p.SettlementTransactionID, &p.ReturnTransactionID, &p.ApprovedOn, &p.CancelledOn, &p.SettledOn, &p.ReturnedOn, &p.ReturnReason,
		&p.RejectTransactionID, &p.RejectedOn, &p.RejectReason, &p.BankStatus, &p.RetryOf, &p.BankStatement, &p.BankReference)
	return p, err
}

// PayoutFilter selects a page of payouts, in order of their end-to-end ids, which
// is the order in which they were prepared.
type PayoutFilter struct {
	BatchID uuid.UUID // Nil: all
	PayeeID uuid.UUID // Nil: all
	State   State     // empty: all
	// From and To select the payouts that the book was changed by in a period:
	// approved, cancelled, rejected, settled or returned on one of its days. Both or none.
	From, To ledger.Date
	After    string // end-to-end id of the last payout of the page before
	Limit    int    // 1 to MaxPage
}

// ListPayouts returns a page of payouts.
func ListPayouts(ctx context.Context, tx *sqldb.Tx, f PayoutFilter) ([]Payout, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	if f.From.IsZero() != f.To.IsZero() {
		return nil, ledger.Errorf(ledger.CodeInvalid, "give both ends of the period, or none").InField("from")
	}
	var w sqldb.Where
	if f.BatchID != uuid.Nil {
		w.And("p.batch_id = ?", f.BatchID)
	}
	if f.PayeeID != uuid.Nil {
		w.And("p.payee_id = ?", f.PayeeID)
	}
	if f.State != "" {
		w.And("p.state = ?", string(f.State))
	}
	if !f.From.IsZero() {
		w.And("(p.approved_on BETWEEN ? AND ? OR p.cancelled_on BETWEEN ? AND ? OR p.settled_on BETWEEN ? AND ? OR p.returned_on BETWEEN ? AND ? OR p.rejected_on BETWEEN ? AND ?)",
			f.From, f.To, f.From, f.To, f.From, f.To, f.From, f.To, f.From, f.To)
	}
	if f.After != "" {
		w.And("p.end_to_end_id > ?", f.After)
	}
	list, err := sqldb.Collect(ctx, tx, fmt.Sprintf("%s%s ORDER BY p.end_to_end_id LIMIT %d", payoutSelect, w.Clause(), f.Limit), w.Args, scanPayout)
	if err != nil {
		return nil, fmt.Errorf("list payouts: %w", err)
	}
	return list, nil
}

// FindPayout returns the payout with the given end-to-end id, or CodeNotFound.
func FindPayout(ctx context.Context, tx *sqldb.Tx, endToEndID string) (Payout, error) {
	list, err := sqldb.Collect(ctx, tx, payoutSelect+" WHERE p.end_to_end_id = $1", []any{endToEndID}, scanPayout)
	if err != nil {
		return Payout{}, fmt.Errorf("find payout %s: %w", ledger.Clip(endToEndID), err)
	}
	if len(list) == 0 {
		return Payout{}, ledger.Errorf(ledger.CodeNotFound, "there is no payout with end-to-end id %s", ledger.Clip(endToEndID)).InField("end_to_end_id")
	}
	return list[0], nil
}

// payoutsOfBatch returns all payouts of a batch, in their order: at most
// MaxPayouts.
func payoutsOfBatch(ctx context.Context, tx *sqldb.Tx, batch Batch) ([]Payout, error) {
	list, err := sqldb.Collect(ctx, tx, payoutSelect+" WHERE p.batch_id = $1 ORDER BY p.ordinal", []any{batch.ID}, scanPayout)
	if err != nil {
		return nil, fmt.Errorf("read the payouts of batch %s: %w", batch.Reference, err)
	}
	if len(list) != batch.Payouts {
		return nil, fmt.Errorf("batch %s should have %d payouts and has %d", batch.Reference, batch.Payouts, len(list))
	}
	return list, nil
}

// Item is a donation in a payout: one posting that credited the payee's account.
type Item struct {
	PayoutID      uuid.UUID
	Ordinal       int // in the payout, from 1
	TransactionID uuid.UUID
	Posting       int // ordinal in the transaction, from 0
	Amount        ledger.Amount
	// Live is false where the payout was cancelled, rejected or returned, so that the
	// donation belongs to a later one.
	Live          bool
	EffectiveDate ledger.Date // of the donation
}

// ItemFilter selects a page of a payout's items, in order of their ordinals.
type ItemFilter struct {
	PayoutID uuid.UUID
	After    int // ordinal of the last item of the page before
	Limit    int // 1 to MaxPage
}

const itemSelect = `SELECT i.payout_id, i.ordinal, i.transaction_id, i.posting, i.amount, i.live, g.effective_date
	FROM payout_items AS i JOIN requests AS q ON q.id = i.transaction_id JOIN pages AS g ON g.id = q.page_id`

func scanItem(rows *sqldb.Rows) (Item, error) {
	var i Item
	var live int64
	err := rows.Scan(&i.PayoutID, &i.Ordinal, &i.TransactionID, &i.Posting, &i.Amount, &live, &i.EffectiveDate)
	i.Live = live == 1
	return i, err
}

// ListItems returns a page of a payout's donations.
func ListItems(ctx context.Context, tx *sqldb.Tx, f ItemFilter) ([]Item, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	list, err := sqldb.Collect(ctx, tx, fmt.Sprintf("%s WHERE i.payout_id = $1 AND i.ordinal > $2 ORDER BY i.ordinal LIMIT %d", itemSelect, f.Limit),
		[]any{f.PayoutID, int64(f.After)}, scanItem)
	if err != nil {
		return nil, fmt.Errorf("list the donations of payout %s: %w", f.PayoutID, err)
	}
	return list, nil
}

// ItemsOfDonations returns the payout items, live or not, of at most MaxPage
// transactions: in which payouts their donations are and were. A transaction that
// was never gathered has none.
func ItemsOfDonations(ctx context.Context, tx *sqldb.Tx, transactionIDs []uuid.UUID) ([]Item, error) {
	if len(transactionIDs) == 0 {
		return nil, nil
	}
	if len(transactionIDs) > MaxPage {
		return nil, ledger.Errorf(ledger.CodeInvalid, "ask for at most %d donations at once, not %d", MaxPage, len(transactionIDs)).InField("transaction_ids")
	}
	list, err := sqldb.Collect(ctx, tx, itemSelect+" WHERE "+tx.AnyUUID("i.transaction_id", 1)+" ORDER BY i.transaction_id, i.posting, i.payout_id",
		[]any{transactionIDs}, scanItem)
	if err != nil {
		return nil, fmt.Errorf("list the payouts of donations: %w", err)
	}
	return list, nil
}
