package payouts

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

const settlementColumns = "id, acquirer, file_id, lines, content_hash, imported_by, imported_at"

func scanSettlementFile(rows *sqldb.Rows) (SettlementFile, error) {
	var f SettlementFile
	var hash []byte
	err := rows.Scan(&f.ID, &f.Acquirer, &f.FileID, &f.Lines, &hash, &f.ImportedBy, &f.ImportedAt)
	copy(f.ContentHash[:], hash)
	return f, err
}

// SettlementFileFilter selects a page of settlement files, in the order in which they
// were imported, the newest first. A file that was not read to its end is left out.
type SettlementFileFilter struct {
	Acquirer string // empty: all
	Before   SettlementFile
	Limit    int // 1 to MaxPage
}

// ListSettlementFiles returns a page of settlement files.
func ListSettlementFiles(ctx context.Context, tx *sqldb.Tx, f SettlementFileFilter) ([]SettlementFile, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	var w sqldb.Where
	w.And("state = 'complete'")
	if f.Acquirer != "" {
		w.And("acquirer = ?", f.Acquirer)
	}
	if f.Before.ID != uuid.Nil {
		w.And("(imported_at, id) < (?, ?)", f.Before.ImportedAt, f.Before.ID)
	}
	list, err := sqldb.Collect(ctx, tx, fmt.Sprintf("SELECT %s FROM settlement_files%s ORDER BY imported_at DESC, id DESC LIMIT %d", settlementColumns, w.Clause(), f.Limit),
		w.Args, scanSettlementFile)
	if err != nil {
		return nil, fmt.Errorf("list settlement files: %w", err)
	}
	return list, nil
}

// StoredSettlementLine is a line of a settlement file that has been imported.
type StoredSettlementLine struct {
	SettlementLine
	FileID   uuid.UUID
	Acquirer string
	File     string // id of the file, as it was imported
}

const settlementLineColumns = `l.line, l.kind, l.charge_reference, l.reference, l.gross, l.fee, l.net, l.currency, l.settled_on,
	l.payout_reference, l.file_id, f.acquirer, f.file_id`

func scanSettlementLine(rows *sqldb.Rows) (StoredSettlementLine, error) {
	var l StoredSettlementLine
	err := rows.Scan(&l.Line, &l.Kind, &l.ChargeReference, &l.Reference, &l.Gross, &l.Fee, &l.Net, &l.Currency, &l.SettledOn, &l.PayoutReference,
		&l.FileID, &l.Acquirer, &l.File)
	return l, err
}

// SettlementLineCursor is a place in the order of lines: by charge reference, then
// file and line.
type SettlementLineCursor struct {
	ChargeReference string
	FileID          uuid.UUID
	Line            int
}

// SettlementLineCursorOf returns the place of a line.
func SettlementLineCursorOf(l StoredSettlementLine) SettlementLineCursor {
	return SettlementLineCursor{l.ChargeReference, l.FileID, l.Line}
}

// SettlementLineFilter selects a page of lines, in order of charge reference.
type SettlementLineFilter struct {
	Acquirer string      // empty: all
	From, To ledger.Date // of the settlement date, inclusive; zero: no bound
	Imported time.Time   // only files imported until then; zero: all
	After    SettlementLineCursor
	Limit    int // 1 to MaxPage
}

// ListSettlementLines returns a page of the lines of files that were read to their end.
func ListSettlementLines(ctx context.Context, tx *sqldb.Tx, f SettlementLineFilter) ([]StoredSettlementLine, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	var w sqldb.Where
	w.And("f.state = 'complete'")
	if f.Acquirer != "" {
		w.And("f.acquirer = ?", f.Acquirer)
	}
	if !f.Imported.IsZero() {
		w.And("f.imported_at <= ?", f.Imported)
	}
	w.Period("l.settled_on", f.From, f.To)
	if f.After != (SettlementLineCursor{}) {
		w.And("l.charge_reference >= ? AND (l.charge_reference, l.file_id, l.line) > (?, ?, ?)", f.After.ChargeReference, f.After.ChargeReference, f.After.FileID, int64(f.After.Line))
	}
	list, err := sqldb.Collect(ctx, tx, fmt.Sprintf(`SELECT %s FROM settlement_lines AS l JOIN settlement_files AS f ON f.id = l.file_id%s
		ORDER BY l.charge_reference, l.file_id, l.line LIMIT %d`, settlementLineColumns, w.Clause(), f.Limit), w.Args, scanSettlementLine)
	if err != nil {
		return nil, fmt.Errorf("list settlement lines: %w", err)
	}
	return list, nil
}
