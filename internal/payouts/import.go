package payouts

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// MaxFindings bounds the findings that an import reports; the rest is in the book.
const MaxFindings = 100

// ImportResult says what the import of one statement or notification did.
type ImportResult struct {
	Kind      MessageKind
	MessageID string // as the bank numbers it
	Statement StoredStatement
	// Already is set where the message had been imported before: nothing was changed,
	// and the rest is what became of it then.
	Already bool
	// Resumed is set beside it where the booking had broken off, and went on now.
	Resumed  bool
	Entries  int
	Settled  int // payouts that the bank has paid
	Returned int // payouts whose money came back
	Cards    int // transfers of acquirers
	Suspense int // movements that a person must look at
	Pending  int // entries that the bank has not booked; left out
	Findings []Finding
	// Err says why this message was refused; the rest is empty then.
	Err error
}

// ImportFile takes in what a bank's file holds, one entry at a time: statements of
// the safeguarding account are booked, each movement on its booking date, and
// notifications are kept until the statement comes that books what they announce.
//
//   - money out with the end-to-end id and the exact amount of a payout that the bank
//     was sent settles it: Dr payouts in transit / Cr safeguarding account;
//   - money of a settled payout that comes back re-opens the debt in full, with
//     the commission and its VAT: Dr safeguarding account, Dr commissions and Dr VAT /
//     Cr payable; its donations are due again;
//   - a transfer of an acquirer whose settlement file was imported settles card
//     charges: Dr safeguarding account and Dr card fees / Cr cards to be settled;
//   - anything else goes to suspense until a person has explained it.
//
// Where the bank gives one sum for a batch, a notification or the payment file that
// was exported says what it consists of.
//
// An error is one of reading or of the database. After an error of reading nothing of
// the file was booked; an import that broke off goes on when the file is imported again. The
// refusal of one message is in its result and leaves the others alone: CodeInvalid of
// another account or one that does not add up, CodeCurrencyMismatch, CodePeriodClosed
// where a month of it takes no postings, CodeConflict of one that was imported with
// other content, which is kept as a finding. The same message again changes nothing.
//
// progress, which may be nil, is told how many movements were booked.
func (s *Service) ImportFile(ctx context.Context, file BankFile, actor string, progress func(booked int)) ([]ImportResult, error) {
	if err := checkActor(actor); err != nil {
		return nil, err
	}
	if err := s.sweep(ctx); err != nil {
		return nil, err
	}
	imp := fileImport{service: s, actor: actor}
	err := imp.read(ctx, file)
	if err == nil {
		err = imp.complete(ctx, progress)
	}
	if err != nil {
		return imp.results[:imp.completed], errors.Join(err, imp.dropAll(ctx))
	}
	s.returnAll(ctx)
	return imp.results, nil
}

// ImportStatement is ImportFile for one statement in memory, whose hash must be that
// of its content; its refusal is the error.
func (s *Service) ImportStatement(ctx context.Context, st Statement, actor string) (ImportResult, error) {
	if st.Hash != st.ContentHash() {
		return ImportResult{}, ledger.Errorf(ledger.CodeInvalid, "the hash of statement %s is not that of its content; read the file again", ledger.Clip(st.ID)).InField("statement.hash")
	}
	results, err := s.ImportFile(ctx, st.Parts(), actor, nil)
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		return ImportResult{}, fmt.Errorf("import statement %s: %w", ledger.Clip(st.ID), err)
	}
	return results[0], nil
}

// fileImport is one file on its way.
type fileImport struct {
	service *Service
	actor   string
	results []ImportResult
	loads   []*load // of the results, in their order; nil where refused
	// completed is how many results are final.
	completed int
}

// refused reports whether err is about a message and not about the file or the database.
func refused(err error) bool {
	switch ledger.CodeOf(err) {
	case ledger.CodeInvalid, ledger.CodeCurrencyMismatch, ledger.CodeConflict, ledger.CodePeriodClosed, ledger.CodeOverflow:
		return true
	}
	return false
}

// read loads the messages of a file.
func (f *fileImport) read(ctx context.Context, file BankFile) error {
	for part, err := range file {
		if err != nil {
			return err
		}
		if part.Head != nil {
			l, err := f.service.begin(ctx, *part.Head, f.actor)
			if err != nil && !refused(err) {
				return err
			}
			f.results = append(f.results, ImportResult{Kind: part.Head.Kind, MessageID: part.Head.ID, Err: err})
			f.loads = append(f.loads, l)
			continue
		}
		if len(f.loads) == 0 {
			return ledger.Errorf(ledger.CodeInvalid, "the file has an entry before its statement; read it again")
		}
		last := len(f.loads) - 1
		l := f.loads[last]
		switch {
		case l == nil: // refused
		case part.Entry != nil:
			err = l.add(ctx, *part.Entry)
		case part.End != nil:
			err = l.finish(ctx, *part.End)
		}
		if err == nil {
			continue
		}
		if !refused(err) {
			return err
		}
		f.results[last].Err = err
		if err := f.dropOne(ctx, last); err != nil {
			return err
		}
	}
	return nil
}

// dropOne clears a load away that came to nothing.
func (f *fileImport) dropOne(ctx context.Context, i int) error {
	l := f.loads[i]
	f.loads[i] = nil
	if l == nil || l.id == uuid.Nil {
		return nil
	}
	return f.service.drop(ctx, l.id)
}

// dropAll clears away what will not be booked.
func (f *fileImport) dropAll(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil // a later import does it
	}
	for i := range f.loads {
		if err := f.dropOne(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// complete makes the messages of a file count, one after the other.
func (f *fileImport) complete(ctx context.Context, progress func(booked int)) error {
	for i, l := range f.loads {
		if l == nil {
			f.completed = i + 1
			continue
		}
		result, err := f.service.completeOne(ctx, l, progress)
		if err != nil && !refused(err) {
			return err
		}
		if err != nil || result.Already {
			if err := f.dropOne(ctx, i); err != nil {
				return err
			}
		}
		f.loads[i] = nil // what is booked now stays
		result.Kind, result.MessageID, result.Err, result.Pending = l.head.Kind, l.head.ID, err, l.end.Pending
		f.results[i], f.completed = result, i+1
	}
	return nil
}

func (s *Service) completeOne(ctx context.Context, l *load, progress func(booked int)) (ImportResult, error) {
	known, err := s.accept(ctx, l)
	if err != nil {
		return ImportResult{}, err
	}
	result := ImportResult{Already: known.ID != l.id, Entries: l.entries}
	if l.head.Kind == KindStatement {
		booked, err := s.book(ctx, known.ID, progress)
		result.Resumed = result.Already && booked > 0
		if err != nil {
			return ImportResult{}, fmt.Errorf("book statement %s: %w; import the file again to go on with it", l.head.ID, err)
		}
		err = s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return resultOf(ctx, tx, known.ID, &result) })
		if err != nil {
			return ImportResult{}, err
		}
	}
	s.log.InfoContext(ctx, "bank message imported", "kind", l.head.Kind, "message", l.head.ID, "already", result.Already, "settled", result.Settled,
		"returned", result.Returned, "cards", result.Cards, "suspense", result.Suspense, "findings", len(result.Findings), "actor", l.actor)
	return result, nil
}

// accept makes a message count that was loaded and adds up, and returns it, or the
// one with the same content that was imported before.
func (s *Service) accept(ctx context.Context, l *load) (StoredMessage, error) {
	now := s.engine.Now()
	var known StoredMessage
	write := func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		if known, err = findMessage(ctx, tx, l.head); err != nil || known.ID != uuid.Nil {
			return err
		}
		if l.id == uuid.Nil {
			return ledger.Errorf(ledger.CodeConflict, "%s %s was there a moment ago and is gone; import the file again", l.head.Kind, l.head.ID)
		}
		known = StoredMessage{ID: l.id, MessageID: l.head.ID, ContentHash: l.hash, ImportedAt: now}
		state := "complete"
		if l.head.Kind == KindStatement {
			state = "checked"
			if err := l.monthsOpen(ctx, tx); err != nil {
				return err
			}
			stored := StoredStatement{ID: l.id, IBAN: l.head.IBAN, StatementID: l.head.ID, Sequence: l.head.Sequence, Currency: l.head.Currency,
				OpeningDate: l.head.OpeningDate, Opening: l.head.Opening, ClosingDate: l.end.ClosingDate, Closing: l.end.Closing, Entries: l.entries,
				ContentHash: l.hash, ImportedBy: l.actor, ImportedAt: now}
			if err := insertStatement(ctx, tx, stored); err != nil {
				return err
			}
			if err := findGaps(ctx, tx, stored); err != nil {
				return err
			}
		}
		return changeOne(ctx, tx, "accept "+string(l.head.Kind)+" "+l.head.ID,
			"UPDATE bank_messages SET state = $1, content_hash = $2, entries = $3, touched_at = $4 WHERE id = $5 AND state = 'loading' AND details = $6",
			state, l.hash, int64(l.entries), now, l.id, int64(l.written))
	}
	err := s.db.WriteIdempotent(ctx, write)
	if sqldb.ClassOf(err) == sqldb.ClassUnique {
		err = s.db.WriteIdempotent(ctx, write) // somebody imported it at the same time: say so
	}
	if err != nil {
		return StoredMessage{}, err
	}
	if known.ContentHash == l.hash {
		return known, nil
	}
	return known, s.otherContent(ctx, l, known)
}

// otherContent refuses a message that was imported with other content, and keeps that
// it came. Hashes of statements were made differently once, so the stored entries
// have the last word.
func (s *Service) otherContent(ctx context.Context, l *load, known StoredMessage) error {
	if l.head.Kind == KindStatement {
		hash, err := s.storedHash(ctx, known.ID)
		if err != nil || hash == l.hash {
			return err
		}
	}
	refusal := ledger.Errorf(ledger.CodeConflict, "%s %s was imported on %s with other content; ask the bank which one holds",
		l.head.Kind, l.head.ID, known.ImportedAt.Format("2006-01-02T15:04:05Z")).InField(placeOr(l.head.Place, string(l.head.Kind)))
	err := s.keepFinding(ctx, StoredFinding{Source: FindingSource(l.head.Kind), Account: l.head.IBAN, ContentHash: l.hash, FoundBy: l.actor,
		Finding: Finding{Kind: OtherContent, Statement: l.head.ID, Message: refusal.Message}})
	if err != nil {
		return err
	}
	return refusal
}

// findMessage returns a message that was imported; its ID is Nil where there is none.
func findMessage(ctx context.Context, tx *sqldb.Tx, h Head) (StoredMessage, error) {
	query := "SELECT id, statement_id, content_hash, imported_at FROM bank_statements WHERE iban = $1 AND statement_id = $2"
	if h.Kind == KindNotification {
		query = "SELECT id, message_id, content_hash, touched_at FROM bank_messages WHERE iban = $1 AND message_id = $2 AND state = 'complete'"
	}
	list, err := sqldb.Collect(ctx, tx, query, []any{h.IBAN, h.ID}, func(rows *sqldb.Rows) (StoredMessage, error) {
		var m StoredMessage
		var hash []byte
		err := rows.Scan(&m.ID, &m.MessageID, &hash, &m.ImportedAt)
		copy(m.ContentHash[:], hash)
		return m, err
	})
	if err != nil || len(list) == 0 {
		return StoredMessage{}, err
	}
	return list[0], nil
}

// resultOf counts what became of a statement, and collects what is wrong with it.
func resultOf(ctx context.Context, tx *sqldb.Tx, id uuid.UUID, result *ImportResult) error {
	list, err := sqldb.Collect(ctx, tx, "SELECT "+statementColumns+" FROM bank_statements WHERE id = $1", []any{id}, scanStatement)
	if err != nil {
		return fmt.Errorf("read the statement: %w", err)
	}
	if len(list) == 0 {
		return fmt.Errorf("the statement is not stored")
	}
	result.Statement = list[0]
	err = tx.Each(ctx, "SELECT outcome, COUNT(*) FROM bank_entries WHERE statement_id = $1 GROUP BY outcome", []any{id}, func(rows *sqldb.Rows) error {
		var outcome Outcome
		var n int
		err := rows.Scan(&outcome, &n)
		switch outcome {
		case OutcomeSettled:
			result.Settled = n
		case OutcomeReturned:
			result.Returned = n
		case OutcomeCards:
			result.Cards = n
		case OutcomeSuspense:
			result.Suspense = n
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("count the entries: %w", err)
	}
	before, err := neighbour(ctx, tx, result.Statement, false)
	if err != nil {
		return err
	}
	if before.ID != uuid.Nil {
		result.Findings = Gaps(before, result.Statement)
	}
	entries, err := sqldb.Collect(ctx, tx, fmt.Sprintf("%s WHERE e.statement_id = $1 AND e.outcome = 'suspense' ORDER BY e.entry, e.detail LIMIT %d", entrySelect, MaxFindings),
		[]any{id}, scanEntry)
	if err != nil {
		return fmt.Errorf("read what went to suspense: %w", err)
	}
	for _, e := range entries {
		result.Findings = append(result.Findings, e.explain(result.Statement))
	}
	return nil
}

// storedHash is the content hash of a statement whose entries are in the book.
func (s *Service) storedHash(ctx context.Context, id uuid.UUID) (hash [32]byte, err error) {
	var content *messageContent
	var st StoredStatement
	var entry Entry
	number := 0
	flush := func() {
		if number > 0 {
			content.entry(entry)
		}
	}
	err = s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		list, err := sqldb.Collect(ctx, tx, "SELECT "+statementColumns+" FROM bank_statements WHERE id = $1", []any{id}, scanStatement)
		if err != nil || len(list) == 0 {
			return errors.Join(err, fmt.Errorf("%d statements are stored under the id", len(list)))
		}
		st = list[0]
		content, number = newContent(Head{Kind: KindStatement, ID: st.StatementID, Sequence: st.Sequence, IBAN: st.IBAN, Currency: st.Currency,
			OpeningDate: st.OpeningDate, Opening: st.Opening}), 0
		return tx.Each(ctx, entrySelect+" WHERE e.statement_id = $1 ORDER BY e.entry, e.detail", []any{id}, func(rows *sqldb.Rows) error {
			e, err := scanEntry(rows)
			if err != nil {
				return err
			}
			if e.Entry != number {
				flush()
				number, entry = e.Entry, Entry{Reference: e.Reference, Reversal: e.Reversal, BookingDate: e.BookingDate, ValueDate: e.ValueDate}
			}
			entry.Amount += e.Amount
			entry.Details = append(entry.Details, Detail{EndToEndID: e.EndToEndID, MessageID: e.MessageID, Amount: e.Amount, Counterparty: e.Counterparty,
				Remittance: e.Remittance, ReturnReason: e.ReturnReason})
			return nil
		})
	})
	if err != nil {
		return hash, fmt.Errorf("read statement %s again: %w", id, err)
	}
	flush()
	return content.end(End{ClosingDate: st.ClosingDate, Closing: st.Closing}), nil
}
