package payouts

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// maxFileID bounds the id of a settlement file, in bytes; it is its name, mostly.
const maxFileID = 120

// acquirerPattern is what an acquirer is called in the configuration.
var acquirerPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// SettlementFile is a settlement file that has been imported.
type SettlementFile struct {
	ID          uuid.UUID
	Acquirer    string
	FileID      string
	Lines       int
	ContentHash [32]byte
	ImportedBy  string
	ImportedAt  time.Time
}

// SettlementResult says what the import of a settlement file did.
type SettlementResult struct {
	File SettlementFile
	// Already is set where the file had been imported before: nothing was changed.
	Already bool
	Payouts int // transfers to the bank account that its lines belong to
}

// ImportSettlement keeps an acquirer's settlement file: all of its lines, or none
// where one is refused. Nothing is posted: the acquirer's transfer is, when the bank's
// statement shows it, see ImportFile. fileID tells the acquirer's files apart.
//
// The same file again changes nothing, also under another id; another one under the
// same id is CodeConflict and kept as a finding. CodeConflict is also a file with lines of a
// transfer that an earlier file has told whole.
func (s *Service) ImportSettlement(ctx context.Context, acquirer, fileID string, lines SettlementSource, actor string) (SettlementResult, error) {
	if err := checkActor(actor); err != nil {
		return SettlementResult{}, err
	}
	if !acquirerPattern.MatchString(acquirer) {
		return SettlementResult{}, ledger.Errorf(ledger.CodeInvalid, "%q is not the name of an acquirer; write at most 32 of a-z 0-9 - _", ledger.Clip(acquirer)).InField("acquirer")
	}
	if !ledger.Printable(fileID, maxFileID) {
		return SettlementResult{}, ledger.Errorf(ledger.CodeInvalid, "the id of a settlement file must be 1 to %d bytes of printable text", maxFileID).InField("file_id")
	}
	if err := s.sweepSettlements(ctx); err != nil {
		return SettlementResult{}, err
	}
	id, err := s.newID()
	if err != nil {
		return SettlementResult{}, err
	}
	l := settlementLoad{service: s, file: SettlementFile{ID: id, Acquirer: acquirer, FileID: fileID, ImportedBy: actor, ImportedAt: s.engine.Now()}, content: contentHasher{sha256.New()}}
	result, err := l.run(ctx, lines)
	if err != nil || result.Already {
		if ctx.Err() == nil {
			err = errors.Join(err, s.dropSettlement(ctx, id))
		}
	}
	if err != nil {
		return SettlementResult{}, err
	}
	s.log.InfoContext(ctx, "settlement file imported", "acquirer", acquirer, "file", fileID, "lines", result.File.Lines, "already", result.Already, "actor", actor)
	return result, nil
}

// settlementLoad is a settlement file on its way into the database.
type settlementLoad struct {
	service *Service
	file    SettlementFile
	content contentHasher
	rows    []SettlementLine
	written int
}

func (l *settlementLoad) run(ctx context.Context, lines SettlementSource) (SettlementResult, error) {
	err := l.service.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO settlement_files (id, acquirer, file_id, state, lines, imported_by, imported_at, touched_at)
			VALUES ($1, $2, $3, 'loading', 0, $4, $5, $5) ON CONFLICT (id) DO NOTHING`, l.file.ID, l.file.Acquirer, l.file.FileID, l.file.ImportedBy, l.file.ImportedAt)
		return err
	})
	if err != nil {
		return SettlementResult{}, fmt.Errorf("begin settlement file %s: %w", l.file.FileID, err)
	}
	l.content.text("settlement/1", l.file.Acquirer)
	for line, err := range lines {
		if err != nil {
			return SettlementResult{}, err
		}
		if err := l.add(ctx, line); err != nil {
			return SettlementResult{}, err
		}
	}
	if err := l.write(ctx); err != nil {
		return SettlementResult{}, err
	}
	l.file.Lines, l.file.ContentHash = l.written, l.content.sum()
	return l.accept(ctx)
}

// add takes a line in. It repeats what the reader has checked.
func (l *settlementLoad) add(ctx context.Context, line SettlementLine) error {
	net, err := line.Gross.Sub(line.Fee)
	if err != nil {
		return err
	}
	if net != line.Net || !line.Currency.Known() || line.SettledOn.IsZero() || line.Line < 1 {
		return ledger.Errorf(ledger.CodeInvalid, "line %d of settlement file %s does not add up, or has no currency or date", line.Line, l.file.FileID).InField("lines")
	}
	l.content.text(string(line.Kind), line.ChargeReference, line.Reference, string(line.Currency), line.SettledOn.String(), line.PayoutReference)
	l.content.number(int64(line.Gross), int64(line.Fee))
	if l.rows = append(l.rows, line); len(l.rows) < loadRows {
		return nil
	}
	return l.write(ctx)
}

func (l *settlementLoad) write(ctx context.Context) error {
	if len(l.rows) == 0 {
		return nil
	}
	after, now := l.written+len(l.rows), l.service.engine.Now()
	err := l.service.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, "UPDATE settlement_files SET lines = $1, touched_at = $2 WHERE id = $3 AND state = 'loading' AND lines = $4",
			int64(after), now, l.file.ID, int64(l.written))
		if err != nil {
			return err
		}
		if n == 0 {
			return l.writtenBefore(ctx, tx, after)
		}
		return tx.Insert(ctx, "settlement_lines", []sqldb.Column{
			{Name: "file_id", Type: "uuid"}, {Name: "line", Type: "int8"}, {Name: "kind", Type: "text"}, {Name: "charge_reference", Type: "text"},
			{Name: "reference", Type: "text"}, {Name: "gross", Type: "int8"}, {Name: "fee", Type: "int8"}, {Name: "net", Type: "int8"},
			{Name: "currency", Type: "text"}, {Name: "settled_on", Type: "date"}, {Name: "payout_reference", Type: "text"},
		}, len(l.rows), func(i int) []any {
			r := l.rows[i]
			return []any{l.file.ID, int64(r.Line), string(r.Kind), r.ChargeReference, r.Reference, int64(r.Gross), int64(r.Fee), int64(r.Net), string(r.Currency),
				r.SettledOn, r.PayoutReference}
		})
	})
	if err != nil {
		return fmt.Errorf("load settlement file %s: %w", l.file.FileID, err)
	}
	l.written, l.rows = after, l.rows[:0]
	return nil
}

// writtenBefore is nil where a commit whose fate was unknown has written the lines.
func (l *settlementLoad) writtenBefore(ctx context.Context, tx *sqldb.Tx, lines int) error {
	var n int64
	err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM settlement_files WHERE id = $1 AND state = 'loading' AND lines = $2", []any{l.file.ID, int64(lines)}, &n)
	if err != nil || n == 1 {
		return err
	}
	return ledger.Errorf(ledger.CodeConflict, "the import of settlement file %s paused for more than %s and was cleared away; import it again", l.file.FileID, staleLoad)
}

// accept makes the file count, or finds that it was imported before.
func (l *settlementLoad) accept(ctx context.Context) (SettlementResult, error) {
	var result SettlementResult
	conflict := false
	write := func(ctx context.Context, tx *sqldb.Tx) error {
		result, conflict = SettlementResult{File: l.file}, false
		list, err := sqldb.Collect(ctx, tx, "SELECT "+settlementColumns+` FROM settlement_files
			WHERE acquirer = $1 AND state = 'complete' AND (file_id = $2 OR (content_hash = $3 AND lines > 0)) ORDER BY CASE WHEN file_id = $2 THEN 0 ELSE 1 END`,
			[]any{l.file.Acquirer, l.file.FileID, l.file.ContentHash}, scanSettlementFile)
		if err != nil {
			return err
		}
		if len(list) > 0 {
			result.File, result.Already = list[0], list[0].ID != l.file.ID
			conflict = list[0].ContentHash != l.file.ContentHash
			if result.Already {
				return nil
			}
		} else if err := l.complete(ctx, tx); err != nil {
			return err
		}
		return tx.QueryRow(ctx, "SELECT COUNT(*) FROM settlement_payouts WHERE file_id = $1", []any{l.file.ID}, &result.Payouts)
	}
	err := l.service.db.WriteIdempotent(ctx, write)
	if sqldb.ClassOf(err) == sqldb.ClassUnique {
		err = l.service.db.WriteIdempotent(ctx, write) // somebody imported it at the same time: say so
	}
	if err != nil {
		return SettlementResult{}, fmt.Errorf("import settlement file %s: %w", l.file.FileID, err)
	}
	if !conflict {
		return result, nil
	}
	refusal := ledger.Errorf(ledger.CodeConflict, "settlement file %s of %s was imported on %s with other content; ask the acquirer which one holds",
		l.file.FileID, l.file.Acquirer, result.File.ImportedAt.Format(time.RFC3339)).InField("file_id")
	err = l.service.keepFinding(ctx, StoredFinding{Source: SourceSettlement, Account: l.file.Acquirer, ContentHash: l.file.ContentHash, FoundBy: l.file.ImportedBy,
		Finding: Finding{Kind: OtherContent, Statement: l.file.FileID, Message: refusal.Message}})
	return SettlementResult{}, errors.Join(refusal, err)
}

// complete adds up the transfers that the lines belong to. A fee that belongs to no
// charge may stand in the gross column: it is a fee all the same.
func (l *settlementLoad) complete(ctx context.Context, tx *sqldb.Tx) error {
	var reference string
	err := tx.QueryRow(ctx, `SELECT p.payout_reference FROM settlement_payouts AS p WHERE p.acquirer = $1
		AND EXISTS (SELECT 1 FROM settlement_lines AS l WHERE l.file_id = $2 AND l.payout_reference = p.payout_reference AND l.currency = p.currency)
		ORDER BY p.payout_reference LIMIT 1`, []any{l.file.Acquirer, l.file.ID}, &reference)
	if err == nil {
		return ledger.Errorf(ledger.CodeConflict, "an earlier file of %s has the lines of payout %s already; ask the acquirer for files that have each payout once",
			l.file.Acquirer, ledger.Clip(reference)).InField("file_id")
	}
	if !sqldb.IsNoRows(err) {
		return err
	}
	fee := "CASE WHEN kind = 'fee' THEN fee - gross ELSE fee END"
	err = tx.QueryRow(ctx, `SELECT payout_reference FROM settlement_lines WHERE file_id = $1 AND payout_reference <> '' GROUP BY payout_reference, currency
		HAVING SUM(CASE WHEN kind = 'payout' THEN 1 ELSE 0 END) > 0 AND SUM(net) <> 0 ORDER BY payout_reference LIMIT 1`, []any{l.file.ID}, &reference)
	if err == nil {
		return ledger.Errorf(ledger.CodeInvalid, "the lines of payout %s do not add up to what was paid out; ask the acquirer", ledger.Clip(reference)).InField("lines")
	}
	if !sqldb.IsNoRows(err) {
		return err
	}
	_, err = tx.Exec(ctx, fmt.Sprintf(`INSERT INTO settlement_payouts (acquirer, payout_reference, currency, file_id, lines, gross, fee, net, settled_on)
		SELECT CAST($1 AS text), payout_reference, currency, file_id, COUNT(*), CAST(SUM(gross + %[1]s - fee) AS %[2]s), CAST(SUM(%[1]s) AS %[2]s), CAST(SUM(net) AS %[2]s), MAX(settled_on)
		FROM settlement_lines WHERE file_id = $2 AND payout_reference <> '' AND kind <> 'payout' GROUP BY file_id, payout_reference, currency`, fee, tx.Int8()),
		l.file.Acquirer, l.file.ID)
	if err != nil {
		return err
	}
	return changeOne(ctx, tx, "accept settlement file "+l.file.FileID,
		"UPDATE settlement_files SET state = 'complete', content_hash = $1, touched_at = $2 WHERE id = $3 AND state = 'loading' AND lines = $4",
		l.file.ContentHash, l.file.ImportedAt, l.file.ID, int64(l.written))
}

// dropSettlement clears a settlement file away, in parts, unless it counts already.
func (s *Service) dropSettlement(ctx context.Context, id uuid.UUID) error {
	for left := true; left; {
		err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			var line, loading int64
			left = false
			err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM settlement_files WHERE id = $1 AND state = 'loading'", []any{id}, &loading)
			if err != nil || loading == 0 {
				return err
			}
			err = tx.QueryRow(ctx, fmt.Sprintf("SELECT line FROM settlement_lines WHERE file_id = $1 ORDER BY line LIMIT 1 OFFSET %d", loadRows), []any{id}, &line)
			if left = err == nil; left {
				_, err = tx.Exec(ctx, "DELETE FROM settlement_lines WHERE file_id = $1 AND line < $2", id, line)
				return err
			}
			if !sqldb.IsNoRows(err) {
				return err
			}
			if _, err := tx.Exec(ctx, "DELETE FROM settlement_lines WHERE file_id = $1", id); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, "DELETE FROM settlement_files WHERE id = $1", id)
			return err
		})
		if err != nil {
			return fmt.Errorf("clear a settlement file away: %w", err)
		}
	}
	return nil
}

// sweepSettlements clears files away whose import nobody goes on with.
func (s *Service) sweepSettlements(ctx context.Context) error {
	var stale []uuid.UUID
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		stale, err = sqldb.Collect(ctx, tx, fmt.Sprintf("SELECT id FROM settlement_files WHERE state = 'loading' AND touched_at < $1 ORDER BY touched_at LIMIT %d", maxSwept),
			[]any{s.engine.Now().Add(-staleLoad)}, scanID)
		return err
	})
	if err != nil {
		return fmt.Errorf("look for settlement files that nobody goes on with: %w", err)
	}
	for _, id := range stale {
		if err := s.dropSettlement(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func scanID(rows *sqldb.Rows) (id uuid.UUID, err error) { err = rows.Scan(&id); return id, err }
