package payouts

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
)

// FindingSource says what a stored finding is about.
type FindingSource string

// The sources.
const (
	SourceStatement    FindingSource = "statement"
	SourceNotification FindingSource = "notification"
	SourceSettlement   FindingSource = "settlement"
	SourceReport       FindingSource = "report"
)

// StoredFinding is something that is wrong with a statement, notification or
// settlement file as a whole, or with what a report says of one payout. It is kept until a later statement closes it, and for
// ever after.
type StoredFinding struct {
	Finding     // Statement is the id of the statement, notification or file; the kind is one of gaps, OtherContent or, of a report, Contradiction or StatusRefused
	Source      FindingSource
	Account     string   // IBAN; of a settlement file, the acquirer
	ContentHash [32]byte // of the other content, or of what is wrong in a report; zero for gaps
	FoundBy     string
	FoundAt     time.Time
	ClosedBy    string    // id of the statement that closed it; empty while it is open
	ClosedAt    time.Time // zero while it is open
}

const findingColumns = "source, account, message_id, kind, content_hash, amount, message, found_by, found_at, closed_by, closed_at"

func scanFinding(rows *sqldb.Rows) (StoredFinding, error) {
	var f StoredFinding
	var hash []byte
	err := rows.Scan(&f.Source, &f.Account, &f.Statement, &f.Kind, &hash, &f.Amount, &f.Message, &f.FoundBy, &f.FoundAt, &f.ClosedBy, &f.ClosedAt)
	copy(f.ContentHash[:], hash)
	return f, err
}

// FindingCursor is a place in the order of findings: by time, then what they are about.
type FindingCursor struct {
	FoundAt     time.Time
	Source      FindingSource
	Account     string
	Message     string
	Kind        FindingKind
	ContentHash [32]byte
}

// FindingCursorOf returns the place of a finding.
func FindingCursorOf(f StoredFinding) FindingCursor {
	return FindingCursor{f.FoundAt, f.Source, f.Account, f.Statement, f.Kind, f.ContentHash}
}

// FindingFilter selects a page of findings, in their order.
type FindingFilter struct {
	Open  bool // only those that are not closed
	After FindingCursor
	Limit int // 1 to MaxPage
}

// ListFindings returns a page of findings.
func ListFindings(ctx context.Context, tx *sqldb.Tx, f FindingFilter) ([]StoredFinding, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	var w sqldb.Where
	if f.Open {
		w.And("closed_at IS NULL")
	}
	if c := f.After; c != (FindingCursor{}) {
		w.And("found_at >= ? AND (found_at, source, account, message_id, kind, content_hash) > (?, ?, ?, ?, ?, ?)",
			c.FoundAt, c.FoundAt, string(c.Source), c.Account, c.Message, string(c.Kind), c.ContentHash)
	}
	list, err := sqldb.Collect(ctx, tx, fmt.Sprintf("SELECT %s FROM bank_findings%s ORDER BY found_at, source, account, message_id, kind, content_hash LIMIT %d",
		findingColumns, w.Clause(), f.Limit), w.Args, scanFinding)
	if err != nil {
		return nil, fmt.Errorf("list bank findings: %w", err)
	}
	return list, nil
}

// keepFinding stores a finding, once while it is open.
func (s *Service) keepFinding(ctx context.Context, f StoredFinding) error {
	f.FoundAt = s.engine.Now()
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return insertFinding(ctx, tx, f) })
	if err != nil {
		return fmt.Errorf("keep what is wrong with %s: %w", f.Statement, err)
	}
	return nil
}

func insertFinding(ctx context.Context, tx *sqldb.Tx, f StoredFinding) error {
	var open int64
	err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM bank_findings WHERE source = $1 AND account = $2 AND message_id = $3 AND kind = $4
		AND content_hash = $5 AND closed_at IS NULL`, []any{string(f.Source), f.Account, f.Statement, string(f.Kind), f.ContentHash}, &open)
	if err != nil || open > 0 {
		return err
	}
	_, err = tx.Exec(ctx, "INSERT INTO bank_findings ("+findingColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, '', NULL) ON CONFLICT DO NOTHING",
		string(f.Source), f.Account, f.Statement, string(f.Kind), f.ContentHash, int64(f.Amount), f.Message, f.FoundBy, f.FoundAt)
	return err
}

// findGaps compares a new statement with the ones before and after it, and keeps
// what does not fit; what did not fit before and does now is closed.
func findGaps(ctx context.Context, tx *sqldb.Tx, st StoredStatement) error {
	before, err := neighbour(ctx, tx, st, false)
	if err != nil {
		return err
	}
	after, err := neighbour(ctx, tx, st, true)
	if err != nil {
		return err
	}
	if before.ID != uuid.Nil {
		if err := keepGaps(ctx, tx, st, st, Gaps(before, st)); err != nil {
			return err
		}
	}
	if after.ID != uuid.Nil {
		return keepGaps(ctx, tx, st, after, Gaps(st, after))
	}
	return nil
}

// keepGaps makes the open gaps before a statement those that are given; st is the new
// statement that showed it.
func keepGaps(ctx context.Context, tx *sqldb.Tx, st, later StoredStatement, gaps []Finding) error {
	open, err := sqldb.Collect(ctx, tx, "SELECT "+findingColumns+` FROM bank_findings WHERE source = 'statement' AND account = $1 AND message_id = $2
		AND kind <> $3 AND closed_at IS NULL`, []any{st.IBAN, later.StatementID, string(OtherContent)}, scanFinding)
	if err != nil {
		return fmt.Errorf("read the gaps before statement %s: %w", later.StatementID, err)
	}
	for _, f := range open {
		if slices.Contains(gaps, f.Finding) {
			continue
		}
		err := changeOne(ctx, tx, "close a finding", `UPDATE bank_findings SET closed_by = $1, closed_at = $2 WHERE source = 'statement' AND account = $3
			AND message_id = $4 AND kind = $5 AND closed_at IS NULL`, st.StatementID, st.ImportedAt, st.IBAN, later.StatementID, string(f.Kind))
		if err != nil {
			return err
		}
	}
	for _, gap := range gaps {
		err := insertFinding(ctx, tx, StoredFinding{Finding: gap, Source: SourceStatement, Account: st.IBAN, FoundBy: st.ImportedBy, FoundAt: st.ImportedAt})
		if err != nil {
			return fmt.Errorf("keep a gap before statement %s: %w", later.StatementID, err)
		}
	}
	return nil
}

// neighbour returns the statement before another, or after it; its ID is Nil where
// there is none.
func neighbour(ctx context.Context, tx *sqldb.Tx, s StoredStatement, after bool) (StoredStatement, error) {
	compare, direction := "<", "DESC"
	if after {
		compare, direction = ">", "ASC"
	}
	list, err := sqldb.Collect(ctx, tx, fmt.Sprintf(`SELECT %s FROM bank_statements WHERE iban = $1 AND (closing_date, sequence, statement_id) %s ($2, $3, $4)
		ORDER BY closing_date %[3]s, sequence %[3]s, statement_id %[3]s LIMIT 1`, statementColumns, compare, direction),
		[]any{s.IBAN, s.ClosingDate, s.Sequence, s.StatementID}, scanStatement)
	if err != nil {
		return StoredStatement{}, fmt.Errorf("read the statement next to %s: %w", s.StatementID, err)
	}
	if len(list) == 0 {
		return StoredStatement{}, nil
	}
	return list[0], nil
}
