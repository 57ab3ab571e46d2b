package payouts

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Bounds of a statement, which is imported in one database transaction.
const (
	MaxStatementDetails = 10_000
	maxStatementID      = 35 // ISO 20022 Max35Text
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

// ImportResult says what an import did.
type ImportResult struct {
	Statement StoredStatement
	// Already is set where the statement had been imported before: nothing was
	// changed, and the rest is what became of it then.
	Already  bool
	Settled  int // payouts that the bank has paid
	Returned int // payouts whose money came back
	Suspense int // movements that a person must look at
	Findings []Finding
}

// ImportStatement books a statement of the safeguarding account, all of it or
// nothing, each movement on its booking date:
//
//   - money out with the end-to-end id and the exact amount of an exported payout
//     settles it: Dr payouts in transit / Cr safeguarding account;
//   - money of a settled payout that comes back re-opens the debt in full, with
//     the commission and its VAT: Dr safeguarding account, Dr commissions and Dr VAT
//     collected / Cr payable; its donations are due again;
//   - anything else goes to suspense until a person has explained it.
//
// The same statement again changes nothing; another one under the same id is
// CodeConflict; one of another account is CodeInvalid, in another currency
// CodeCurrencyMismatch. Gaps between statements are findings, no refusal.
func (s *Service) ImportStatement(ctx context.Context, st Statement, actor string) (ImportResult, error) {
	if err := checkActor(actor); err != nil {
		return ImportResult{}, err
	}
	if err := s.checkStatement(st); err != nil {
		return ImportResult{}, err
	}
	id, err := s.newID()
	if err != nil {
		return ImportResult{}, err
	}
	now := s.engine.Now()
	var result ImportResult
	write := func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		result, err = s.importStatement(ctx, tx, id, st, actor, now)
		return err
	}
	if err = s.db.WriteIdempotent(ctx, write); sqldb.ClassOf(err) == sqldb.ClassUnique {
		err = s.db.WriteIdempotent(ctx, write) // somebody imported it at the same time: say so
	}
	if err != nil {
		return ImportResult{}, fmt.Errorf("import statement %s: %w", st.ID, err)
	}
	s.log.InfoContext(ctx, "bank statement imported", "statement", st.ID, "already", result.Already, "settled", result.Settled,
		"returned", result.Returned, "suspense", result.Suspense, "findings", len(result.Findings), "actor", actor)
	return result, nil
}

// checkStatement repeats what adapters have checked: a statement that does not
// add up must not reach the book, whoever read it.
func (s *Service) checkStatement(st Statement) error {
	invalid := func(field, format string, args ...any) error {
		return ledger.Errorf(ledger.CodeInvalid, format, args...).InField(field)
	}
	switch {
	case st.IBAN != s.config.Account.IBAN:
		return invalid("statement.iban", "statement %s is of account %s; only those of the safeguarding account %s are imported",
			ledger.Clip(st.ID), ledger.Clip(st.IBAN), s.config.Account.IBAN)
	case st.Currency != s.config.Currency:
		return ledger.Errorf(ledger.CodeCurrencyMismatch, "statement %s is in %s, but the safeguarding account is in %s",
			ledger.Clip(st.ID), ledger.Clip(string(st.Currency)), s.config.Currency).InField("statement.currency")
	case !ledger.Printable(st.ID, maxStatementID):
		return invalid("statement.id", "the statement's id must be 1 to %d bytes of printable text", maxStatementID)
	case st.Sequence < 0:
		return invalid("statement.sequence", "the sequence number of statement %s is below zero", st.ID)
	case st.OpeningDate.IsZero() || st.ClosingDate.IsZero():
		return invalid("statement.closing_date", "a balance of statement %s has no date", st.ID)
	case st.Hash != st.ContentHash():
		return invalid("statement.hash", "the hash of statement %s is not that of its content; read the file again", st.ID)
	}
	var err error
	total, details := st.Opening, 0
	for i, e := range st.Entries {
		place := fmt.Sprintf("statement.entries[%d]", i)
		if e.BookingDate.IsZero() || e.ValueDate.IsZero() {
			return invalid(place, "the entry has no booking or value date")
		}
		var parts ledger.Amount
		for _, d := range e.Details {
			if parts, err = parts.Add(d.Amount); err != nil {
				return err
			}
		}
		if len(e.Details) == 0 || parts != e.Amount {
			return invalid(place, "the details of the entry (line %d) add up to %s, not %s", e.Line, parts.Format(st.Currency), e.Amount.Format(st.Currency))
		}
		if details += len(e.Details); details > MaxStatementDetails {
			return invalid("statement.entries", "statement %s has more than %d movements; ask the bank for shorter ones", st.ID, MaxStatementDetails)
		}
		if total, err = total.Add(e.Amount); err != nil {
			return err
		}
	}
	if total != st.Closing {
		return invalid("statement.closing", "statement %s does not add up: its entries lead to %s, not to %s",
			st.ID, total.Format(st.Currency), st.Closing.Format(st.Currency))
	}
	return nil
}

func (s *Service) importStatement(ctx context.Context, tx *sqldb.Tx, id uuid.UUID, st Statement, actor string, now time.Time) (ImportResult, error) {
	before, err := findStatement(ctx, tx, st.IBAN, st.ID)
	if err != nil {
		return ImportResult{}, err
	}
	if before.ID != uuid.Nil {
		if before.ContentHash != st.Hash {
			return ImportResult{}, ledger.Errorf(ledger.CodeConflict, "statement %s was imported on %s with other content; ask the bank which one holds",
				st.ID, before.ImportedAt.Format(time.RFC3339)).InField("statement")
		}
		return importedBefore(ctx, tx, before)
	}
	stored := StoredStatement{ID: id, IBAN: st.IBAN, StatementID: st.ID, Sequence: st.Sequence, Currency: st.Currency, OpeningDate: st.OpeningDate,
		Opening: st.Opening, ClosingDate: st.ClosingDate, Closing: st.Closing, Entries: len(st.Entries), ContentHash: st.Hash, ImportedBy: actor, ImportedAt: now}
	if err := insertStatement(ctx, tx, stored); err != nil {
		return ImportResult{}, err
	}
	entries, err := s.bookEntries(ctx, tx, stored, st.Entries)
	if err != nil {
		return ImportResult{}, err
	}
	if err := insertEntries(ctx, tx, entries); err != nil {
		return ImportResult{}, err
	}
	return resultOf(ctx, tx, stored, entries)
}

// resultOf counts what became of the entries and looks for gaps around the statement.
func resultOf(ctx context.Context, tx *sqldb.Tx, st StoredStatement, entries []StoredEntry) (ImportResult, error) {
	result := ImportResult{Statement: st}
	gaps, err := gapsBefore(ctx, tx, st)
	if err != nil {
		return ImportResult{}, err
	}
	result.Findings = gaps
	for _, e := range entries {
		switch e.Outcome {
		case OutcomeSettled:
			result.Settled++
		case OutcomeReturned:
			result.Returned++
		case OutcomeSuspense:
			result.Suspense++
			result.Findings = append(result.Findings, e.explain(st))
		}
	}
	return result, nil
}

func importedBefore(ctx context.Context, tx *sqldb.Tx, st StoredStatement) (ImportResult, error) {
	entries, err := sqldb.Collect(ctx, tx, entrySelect+" WHERE e.statement_id = $1 ORDER BY e.entry, e.detail", []any{st.ID}, scanEntry)
	if err != nil {
		return ImportResult{}, fmt.Errorf("read the entries of statement %s: %w", st.StatementID, err)
	}
	result, err := resultOf(ctx, tx, st, entries)
	result.Already = true
	return result, err
}
