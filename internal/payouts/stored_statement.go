package payouts

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// StoredStatement is a statement that has been imported.
type StoredStatement struct {
	ID          uuid.UUID
	IBAN        string
	StatementID string // as the bank numbers it
	Sequence    int64  // 0: none
	Currency    ledger.Currency
	OpeningDate ledger.Date
	Opening     ledger.Amount
	ClosingDate ledger.Date
	Closing     ledger.Amount
	Entries     int
	ContentHash [32]byte
	ImportedBy  string
	ImportedAt  time.Time
}

const statementColumns = `id, iban, statement_id, sequence, currency, opening_date, opening, closing_date, closing, entries, content_hash,
	imported_by, imported_at`

func scanStatement(rows *sqldb.Rows) (StoredStatement, error) {
	var s StoredStatement
	var hash []byte
	err := rows.Scan(&s.ID, &s.IBAN, &s.StatementID, &s.Sequence, &s.Currency, &s.OpeningDate, &s.Opening, &s.ClosingDate, &s.Closing, &s.Entries, &hash,
		&s.ImportedBy, &s.ImportedAt)
	copy(s.ContentHash[:], hash)
	return s, err
}

// FindStatement returns a statement by the bank's id, and how many movements of it
// are still to be booked, or CodeNotFound.
func FindStatement(ctx context.Context, tx *sqldb.Tx, iban, statementID string) (s StoredStatement, left int64, err error) {
	list, err := sqldb.Collect(ctx, tx, "SELECT "+statementColumns+" FROM bank_statements WHERE iban = $1 AND statement_id = $2", []any{iban, statementID}, scanStatement)
	if err != nil {
		return s, 0, fmt.Errorf("find statement %s: %w", ledger.Clip(statementID), err)
	}
	if len(list) == 0 {
		return s, 0, ledger.Errorf(ledger.CodeNotFound, "there is no statement %s of account %s; \"tweetledger statement list\" shows those there are", ledger.Clip(statementID), iban).InField("statement")
	}
	err = tx.QueryRow(ctx, "SELECT COUNT(*) FROM bank_message_rows WHERE bank_message_id = $1", []any{list[0].ID}, &left)
	if err != nil {
		return s, 0, fmt.Errorf("count what is left of statement %s: %w", statementID, err)
	}
	return list[0], left, nil
}

func insertStatement(ctx context.Context, tx *sqldb.Tx, s StoredStatement) error {
	_, err := tx.Exec(ctx, "INSERT INTO bank_statements ("+statementColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
		s.ID, s.IBAN, s.StatementID, s.Sequence, string(s.Currency), s.OpeningDate, int64(s.Opening), s.ClosingDate, int64(s.Closing), int64(s.Entries),
		s.ContentHash, s.ImportedBy, s.ImportedAt)
	if err != nil {
		return fmt.Errorf("store the statement: %w", err)
	}
	return nil
}

// StatementCursor is a place in the order of statements: by closing date, then
// sequence, then the bank's id.
type StatementCursor struct {
	ClosingDate ledger.Date
	Sequence    int64
	StatementID string
}

// CursorOf returns the place of a statement.
func CursorOf(s StoredStatement) StatementCursor {
	return StatementCursor{s.ClosingDate, s.Sequence, s.StatementID}
}

// StatementFilter selects a page of an account's statements, in their order. One that
// is not booked to its end is left out.
type StatementFilter struct {
	IBAN     string
	From, To ledger.Date // of the closing date, inclusive; zero: no bound
	After    StatementCursor
	Limit    int // 1 to MaxPage
}

// ListStatements returns a page of statements.
func ListStatements(ctx context.Context, tx *sqldb.Tx, f StatementFilter) ([]StoredStatement, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	var w sqldb.Where
	w.And("iban = ?", f.IBAN)
	w.And("NOT EXISTS (SELECT 1 FROM bank_messages AS m WHERE m.id = bank_statements.id)")
	w.Period("closing_date", f.From, f.To)
	if f.After != (StatementCursor{}) {
		w.And("closing_date >= ? AND (closing_date, sequence, statement_id) > (?, ?, ?)", f.After.ClosingDate, f.After.ClosingDate, f.After.Sequence, f.After.StatementID)
	}
	list, err := sqldb.Collect(ctx, tx, fmt.Sprintf("SELECT %s FROM bank_statements%s ORDER BY closing_date, sequence, statement_id LIMIT %d",
		statementColumns, w.Clause(), f.Limit), w.Args, scanStatement)
	if err != nil {
		return nil, fmt.Errorf("list statements: %w", err)
	}
	return list, nil
}

// EntryCursor is a place in the order of movements: by booking date, statement,
// entry and detail.
type EntryCursor struct {
	BookingDate ledger.Date
	StatementID uuid.UUID
	Entry       int
	Detail      int
}

// EntryCursorOf returns the place of a movement.
func EntryCursorOf(e StoredEntry) EntryCursor {
	return EntryCursor{e.BookingDate, e.StatementID, e.Entry, e.Detail}
}

// EntryFilter selects a page of movements, in their order.
type EntryFilter struct {
	StatementID uuid.UUID   // Nil: of all statements
	PayoutID    uuid.UUID   // Nil: whatever the payout
	Outcome     Outcome     // empty: all; OutcomeSuspense selects what is unmatched
	From, To    ledger.Date // of the booking date, inclusive; zero: no bound
	After       EntryCursor
	Limit       int // 1 to MaxPage
}

// ListEntries returns a page of movements.
func ListEntries(ctx context.Context, tx *sqldb.Tx, f EntryFilter) ([]StoredEntry, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	var w sqldb.Where
	if f.StatementID != uuid.Nil {
		w.And("e.statement_id = ?", f.StatementID)
	}
	if f.PayoutID != uuid.Nil {
		w.And("e.payout_id = ?", f.PayoutID)
	}
	if f.Outcome != "" {
		w.And("e.outcome = ?", string(f.Outcome))
	}
	w.Period("e.booking_date", f.From, f.To)
	if f.After != (EntryCursor{}) {
		w.And("e.booking_date >= ? AND (e.booking_date, e.statement_id, e.entry, e.detail) > (?, ?, ?, ?)", f.After.BookingDate,
			f.After.BookingDate, f.After.StatementID, int64(f.After.Entry), int64(f.After.Detail))
	}
	list, err := sqldb.Collect(ctx, tx, fmt.Sprintf("%s%s ORDER BY e.booking_date, e.statement_id, e.entry, e.detail LIMIT %d", entrySelect, w.Clause(), f.Limit),
		w.Args, scanEntry)
	if err != nil {
		return nil, fmt.Errorf("list bank entries: %w", err)
	}
	return list, nil
}

// Gaps returns what does not fit between two statements of one account that
// follow each other. Sequence numbers may begin anew at 1 with a new year.
func Gaps(before, s StoredStatement) []Finding {
	var gaps []Finding
	add := func(kind FindingKind, amount ledger.Amount, format string, args ...any) {
		gaps = append(gaps, Finding{Kind: kind, Statement: s.StatementID, Amount: amount, Message: fmt.Sprintf(format, args...)})
	}
	numbered := before.Sequence > 0 && s.Sequence > 0
	newYear := s.Sequence == 1 && before.ClosingDate.Year < s.ClosingDate.Year
	switch {
	case numbered && s.Sequence == before.Sequence:
		add(SequenceRepeated, 0, "statements %s and %s have the same number %d", before.StatementID, s.StatementID, s.Sequence)
	case numbered && !newYear && s.Sequence != before.Sequence+1:
		add(SequenceGap, 0, "statement %s has number %d, but the one before it, %s, has %d", s.StatementID, s.Sequence, before.StatementID, before.Sequence)
	}
	if s.Opening != before.Closing {
		difference := s.Opening - before.Closing
		add(BalanceGap, difference, "statement %s opens at %s, but %s closed at %s", s.StatementID,
			s.Opening.Format(s.Currency), before.StatementID, before.Closing.Format(s.Currency))
	}
	return gaps
}
