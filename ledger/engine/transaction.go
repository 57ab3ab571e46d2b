package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

const transactionColumns = `id, idempotency_key, journal, label, effective_date, recorded_at, COALESCE(source_channel, ''),
	COALESCE(source_id, ''), source_date, metadata, reverses, hold_id`

func scanTransaction(rows *sqldb.Rows) (ledger.Transaction, error) {
	var t ledger.Transaction
	var metadata string
	if err := rows.Scan(&t.ID, &t.Key, &t.Journal, &t.Label, &t.EffectiveDate, &t.RecordedAt, &t.Source.Channel,
		&t.Source.ID, &t.Source.Date, &metadata, &t.Reverses, &t.HoldID); err != nil {
		return ledger.Transaction{}, err
	}
	if metadata != "{}" {
		if err := json.Unmarshal([]byte(metadata), &t.Metadata); err != nil {
			return ledger.Transaction{}, fmt.Errorf("metadata of transaction %s: %w", t.ID, err)
		}
	}
	return t, nil
}

// FindTransaction returns the transaction with the given id, or CodeNotFound.
func FindTransaction(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) (ledger.Transaction, error) {
	found, err := transactionsByID(ctx, tx, []uuid.UUID{id})
	if err != nil {
		return ledger.Transaction{}, fmt.Errorf("find transaction %s: %w", id, err)
	}
	t, ok := found[id]
	if !ok {
		return ledger.Transaction{}, ledger.Errorf(ledger.CodeNotFound, "there is no transaction %s", id)
	}
	return t, nil
}

func transactionsByID(ctx context.Context, tx *sqldb.Tx, ids []uuid.UUID) (map[uuid.UUID]ledger.Transaction, error) {
	found := map[uuid.UUID]ledger.Transaction{}
	if len(ids) == 0 {
		return found, nil
	}
	err := tx.Each(ctx, "SELECT "+transactionColumns+" FROM transactions WHERE "+tx.AnyUUID("id", 1), []any{ids},
		func(rows *sqldb.Rows) error {
			t, err := scanTransaction(rows)
			found[t.ID] = t
			return err
		})
	if err != nil {
		return nil, err
	}
	err = tx.Each(ctx, `SELECT transaction_id, debit_account_id, credit_account_id, amount, currency FROM postings
		WHERE `+tx.AnyUUID("transaction_id", 1)+" ORDER BY transaction_id, ordinal", []any{ids},
		func(rows *sqldb.Rows) error {
			var id uuid.UUID
			var p ledger.Posting
			if err := rows.Scan(&id, &p.Debit, &p.Credit, &p.Amount, &p.Currency); err != nil {
				return err
			}
			t := found[id]
			t.Postings = append(t.Postings, p)
			found[id] = t
			return nil
		})
	return found, err
}

// Cursor is a place in the order of transactions: effective date, then recorded
// time, then id. The zero Cursor is the beginning.
type Cursor struct {
	EffectiveDate ledger.Date
	RecordedAt    time.Time
	ID            uuid.UUID
}

// CursorOf returns the place just behind t.
func CursorOf(t ledger.Transaction) Cursor {
	return Cursor{EffectiveDate: t.EffectiveDate, RecordedAt: t.RecordedAt, ID: t.ID}
}

// TransactionFilter selects transactions. Zero values select all.
type TransactionFilter struct {
	AccountID  uuid.UUID   // with a posting to this account, on either side
	Journal    string      // of this journal
	From, To   ledger.Date // effective dates, both inclusive
	RecordedAt time.Time   // recorded at this instant or before
	After      Cursor      // for the next page: CursorOf the last one of the page before
	Limit      int         // 1 to MaxPage
}

// ListTransactions returns a page of transactions with their postings, in the
// order of Cursor. Pages stay stable under writes.
func ListTransactions(ctx context.Context, tx *sqldb.Tx, f TransactionFilter) ([]ledger.Transaction, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	var q sqldb.Where
	if f.Journal != "" {
		q.And("t.journal = ?", f.Journal)
	}
	order := "t.effective_date, t.recorded_at, t.id"
	id := "t.id"
	source := "transactions t"
	if f.AccountID != uuid.Nil {
		// Each side has its own index; the union finds the page without reading on.
		order, id = "p.effective_date, p.recorded_at, p.transaction_id", "p.transaction_id"
		source = "postings p"
		if f.Journal != "" {
			source += " JOIN transactions t ON t.id = p.transaction_id"
		}
	}
	at := strings.Split(order, ", ")
	if !f.From.IsZero() {
		q.And(at[0]+" >= ?", f.From)
	}
	if !f.To.IsZero() {
		q.And(at[0]+" <= ?", f.To)
	}
	if !f.RecordedAt.IsZero() {
		q.And(at[1]+" <= ?", f.RecordedAt)
	}
	if f.After != (Cursor{}) {
		q.And(at[0]+" >= ?", f.After.EffectiveDate) // lets an index start there
		q.And("("+order+") > (?, ?, ?)", f.After.EffectiveDate, f.After.RecordedAt, f.After.ID)
	}
	page := func(condition string) string {
		return fmt.Sprintf("SELECT DISTINCT %s, %s AS id FROM %s WHERE %s ORDER BY %s LIMIT %d",
			strings.Join(at[:2], ", "), id, source, condition, order, f.Limit)
	}
	query := page(q.Condition())
	if f.AccountID != uuid.Nil {
		debits, credits := q, q
		debits.And("p.debit_account_id = ?", f.AccountID)
		credits.And("p.credit_account_id = ?", f.AccountID) // the same argument, at the same place
		query = fmt.Sprintf(`SELECT effective_date, recorded_at, id
			FROM (SELECT * FROM (%s) AS d UNION SELECT * FROM (%s) AS c) AS both_sides ORDER BY effective_date, recorded_at, id LIMIT %d`,
			page(debits.Condition()), page(credits.Condition()), f.Limit)
		q = debits
	}
	var ids []uuid.UUID
	err := tx.Each(ctx, query, q.Args, func(rows *sqldb.Rows) error {
		var at Cursor
		err := rows.Scan(&at.EffectiveDate, &at.RecordedAt, &at.ID)
		ids = append(ids, at.ID)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list transactions: %w", err)
	}
	found, err := transactionsByID(ctx, tx, ids)
	if err != nil {
		return nil, fmt.Errorf("list transactions: %w", err)
	}
	list := make([]ledger.Transaction, len(ids))
	for i, id := range ids {
		list[i] = found[id]
	}
	return list, nil
}
