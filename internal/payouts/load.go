package payouts

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// Bounds of an import.
const (
	// loadRows is how many rows one transaction writes: enough that its commit costs
	// little, few enough that it holds up nobody and fits into a server's message.
	loadRows = 1_000
	// staleLoad is after what time rows of an import that nobody goes on with are
	// cleared away: longer than any import pauses.
	staleLoad = time.Hour
	// maxEntries bounds a statement: a busy account has a few thousand entries a day.
	maxEntries = 10_000_000
	// maxBookingMonths bounds the months that one statement books in; it is checked
	// that each takes postings.
	maxBookingMonths = 120
	maxMessageID     = 35 // ISO 20022 Max35Text
)

// load is a statement or notification on its way into the database: its rows are
// written in parts, under a message that counts for nothing until all of them are there
// and add up. With id Nil it writes nothing, because the message was imported before,
// and only finds out whether it is still the same.
type load struct {
	service *Service
	id      uuid.UUID
	head    Head
	actor   string
	before  StoredMessage // where id is Nil

	content *messageContent
	end     End
	hash    [32]byte
	total   ledger.Amount
	months  map[string]bool // in which it books: "2026-11"
	entries int
	details int // of all entries, batches taken apart

	pending []loadedRow // of entries that may have to be taken apart
	rows    []loadedRow // ready to be written
	written int
}

// loadedRow is a row of bank_message_rows.
type loadedRow struct {
	StoredEntry
	whole  ledger.Amount // of the entry
	single bool          // the entry has no other detail
}

// StoredMessage is what is known of a statement or notification that was imported.
type StoredMessage struct {
	ID          uuid.UUID
	MessageID   string
	ContentHash [32]byte
	ImportedAt  time.Time
}

// begin checks the head of a message and makes room for its rows.
func (s *Service) begin(ctx context.Context, head Head, actor string) (*load, error) {
	if err := s.checkHead(&head); err != nil {
		return nil, err
	}
	l := &load{service: s, head: head, actor: actor, content: newContent(head), total: head.Opening, months: map[string]bool{}}
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		l.before, err = findMessage(ctx, tx, head)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for %s %s: %w", head.Kind, head.ID, err)
	}
	if l.before.ID != uuid.Nil {
		return l, nil
	}
	if l.id, err = s.newID(); err != nil {
		return nil, err
	}
	now := s.engine.Now()
	err = s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO bank_messages (id, kind, iban, message_id, sequence, state, entries, details, imported_by, started_at, touched_at)
			VALUES ($1, $2, $3, $4, $5, 'loading', 0, 0, $6, $7, $7) ON CONFLICT (id) DO NOTHING`,
			l.id, string(head.Kind), head.IBAN, head.ID, head.Sequence, actor, now)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("begin %s %s: %w", head.Kind, head.ID, err)
	}
	return l, nil
}

// checkHead refuses what is not for this account. It repeats what adapters have
// checked: whoever read a message, a wrong one must not reach the book.
func (s *Service) checkHead(h *Head) error {
	invalid := func(field, format string, args ...any) error {
		return ledger.Errorf(ledger.CodeInvalid, format, args...).InField(placeOr(h.Place, string(h.Kind)+"."+field))
	}
	if h.Kind == KindNotification && h.Currency == "" {
		h.Currency = s.config.Currency
	}
	switch {
	case h.Kind != KindStatement && h.Kind != KindNotification:
		return invalid("kind", "%q is neither a statement nor a notification", ledger.Clip(string(h.Kind)))
	case h.IBAN != s.config.Account.IBAN:
		return invalid("iban", "%s %s is of account %s; only those of the safeguarding account %s are imported",
			h.Kind, ledger.Clip(h.ID), ledger.Clip(h.IBAN), s.config.Account.IBAN)
	case h.Currency != s.config.Currency:
		return ledger.Errorf(ledger.CodeCurrencyMismatch, "%s %s is in %s, but the safeguarding account is in %s",
			h.Kind, ledger.Clip(h.ID), ledger.Clip(string(h.Currency)), s.config.Currency).InField(placeOr(h.Place, string(h.Kind)+".currency"))
	case !ledger.Printable(h.ID, maxMessageID):
		return invalid("id", "the id of a %s must be 1 to %d bytes of printable text", h.Kind, maxMessageID)
	case h.Sequence < 0:
		return invalid("sequence", "the sequence number of %s %s is below zero", h.Kind, h.ID)
	case h.Kind == KindStatement && h.OpeningDate.IsZero():
		return invalid("opening_date", "the opening balance of statement %s has no date", h.ID)
	}
	return nil
}

// placeOr is where something stands: in its file, else in the request.
func placeOr(place, field string) string {
	if place != "" {
		return place
	}
	return field
}

// add takes the next entry in.
func (l *load) add(ctx context.Context, e Entry) error {
	invalid := func(format string, args ...any) error {
		return ledger.Errorf(ledger.CodeInvalid, format, args...).InField(fmt.Sprintf("%s.entries[%d]", l.head.Kind, l.entries))
	}
	if l.entries == maxEntries {
		return invalid("%s %s has more than %d entries; ask the bank for shorter ones", l.head.Kind, l.head.ID, maxEntries)
	}
	if e.BookingDate.Before(ledger.MinEffectiveDate) || e.ValueDate.IsZero() || ledger.MaxEffectiveDate.Before(e.BookingDate) {
		return invalid("the entry (line %d) has no booking or value date, or one that no book has", e.Line)
	}
	var err error
	var parts ledger.Amount
	for _, d := range e.Details {
		if parts, err = parts.Add(d.Amount); err != nil {
			return err
		}
	}
	if len(e.Details) == 0 || parts != e.Amount {
		return invalid("the details of the entry (line %d) add up to %s, not %s", e.Line, parts.Format(l.head.Currency), e.Amount.Format(l.head.Currency))
	}
	if l.total, err = l.total.Add(e.Amount); err != nil {
		return err
	}
	if month := e.BookingDate.String()[:len("2006-01")]; !l.months[month] {
		if len(l.months) == maxBookingMonths {
			return invalid("%s %s books in more than %d months; ask the bank for shorter ones", l.head.Kind, l.head.ID, maxBookingMonths)
		}
		l.months[month] = true
	}
	l.content.entry(e)
	l.entries++
	if l.id == uuid.Nil {
		return nil
	}
	for i, d := range e.Details {
		l.pending = append(l.pending, loadedRow{whole: e.Amount, single: len(e.Details) == 1, StoredEntry: StoredEntry{
			StatementID: l.id, Statement: l.head.ID, Entry: l.entries, Detail: i + 1, Reference: e.Reference, EndToEndID: d.EndToEndID,
			MessageID: d.MessageID, Amount: d.Amount, Reversal: e.Reversal, BookingDate: e.BookingDate, ValueDate: e.ValueDate,
			Counterparty: d.Counterparty, Remittance: d.Remittance, ReturnReason: d.ReturnReason,
		}})
	}
	if len(l.pending) < loadRows {
		return nil
	}
	return l.resolve(ctx)
}

// finish takes the end in, and checks that the message adds up.
func (l *load) finish(ctx context.Context, end End) error {
	if l.head.Kind == KindStatement {
		if end.ClosingDate.IsZero() {
			return ledger.Errorf(ledger.CodeInvalid, "the closing balance of statement %s has no date", l.head.ID).InField(placeOr(end.Place, "statement.closing_date"))
		}
		if l.total != end.Closing {
			return ledger.Errorf(ledger.CodeInvalid, "statement %s does not add up: its entries lead to %s, not to %s",
				l.head.ID, l.total.Format(l.head.Currency), end.Closing.Format(l.head.Currency)).InField(placeOr(end.Place, "statement.closing"))
		}
	}
	l.end, l.hash = end, l.content.end(end)
	if err := l.resolve(ctx); err != nil {
		return err
	}
	return l.write(ctx)
}

// resolve moves the pending rows on, taken apart where the bank gave one sum for
// movements that are known singly.
func (l *load) resolve(ctx context.Context) error {
	apart, err := l.service.takeApart(ctx, l.head, l.pending)
	if err != nil {
		return err
	}
	for _, row := range l.pending {
		parts, known := apart[row.Entry]
		if !known {
			if err := l.put(ctx, row); err != nil {
				return err
			}
			continue
		}
		detail := 0
		for part, err := range parts(ctx) {
			if err != nil {
				return err
			}
			detail++
			split := row
			split.Detail, split.Amount, split.EndToEndID, split.MessageID = detail, part.Amount, part.EndToEndID, part.MessageID
			split.Counterparty, split.Remittance, split.ReturnReason = part.Counterparty, part.Remittance, part.ReturnReason
			if err := l.put(ctx, split); err != nil {
				return err
			}
		}
	}
	l.pending = l.pending[:0]
	return nil
}

func (l *load) put(ctx context.Context, row loadedRow) error {
	l.rows = append(l.rows, row)
	l.details++
	if len(l.rows) < loadRows {
		return nil
	}
	return l.write(ctx)
}

// write writes the rows that are ready.
func (l *load) write(ctx context.Context) error {
	if len(l.rows) == 0 {
		return nil
	}
	after, now := l.written+len(l.rows), l.service.engine.Now()
	err := l.service.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, "UPDATE bank_messages SET entries = $1, details = $2, touched_at = $3 WHERE id = $4 AND state = 'loading' AND details = $5",
			int64(l.entries), int64(after), now, l.id, int64(l.written))
		if err != nil {
			return err
		}
		if n == 0 {
			return l.writtenBefore(ctx, tx, after)
		}
		return insertLoaded(ctx, tx, l.head.Kind, l.rows)
	})
	if err != nil {
		return fmt.Errorf("load %s %s: %w", l.head.Kind, l.head.ID, err)
	}
	l.written, l.rows = after, l.rows[:0]
	return nil
}

// writtenBefore is nil where a commit whose fate was unknown has written the rows.
func (l *load) writtenBefore(ctx context.Context, tx *sqldb.Tx, details int) error {
	var n int64
	err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM bank_messages WHERE id = $1 AND state = 'loading' AND details = $2", []any{l.id, int64(details)}, &n)
	if err != nil || n == 1 {
		return err
	}
	return ledger.Errorf(ledger.CodeConflict, "the import of %s %s paused for more than %s and was cleared away; import the file again", l.head.Kind, l.head.ID, staleLoad)
}

func insertLoaded(ctx context.Context, tx *sqldb.Tx, kind MessageKind, rows []loadedRow) error {
	return tx.Insert(ctx, "bank_message_rows", []sqldb.Column{
		{Name: "bank_message_id", Type: "uuid"}, {Name: "pass", Type: "int8"}, {Name: "entry", Type: "int8"}, {Name: "detail", Type: "int8"},
		{Name: "announced", Type: "int8"}, {Name: "reference", Type: "text"}, {Name: "end_to_end_id", Type: "text"}, {Name: "message_id", Type: "text"},
		{Name: "amount", Type: "int8"}, {Name: "entry_amount", Type: "int8"}, {Name: "reversal", Type: "int8"}, {Name: "booking_date", Type: "date"},
		{Name: "value_date", Type: "date"}, {Name: "counterparty_name", Type: "text"}, {Name: "counterparty_iban", Type: "text"},
		{Name: "counterparty_bic", Type: "text"}, {Name: "remittance", Type: "text"}, {Name: "return_reason", Type: "text"},
	}, len(rows), func(i int) []any {
		r := rows[i]
		return []any{r.StatementID, sqldb.Flag(r.Amount >= 0), int64(r.Entry), int64(r.Detail), sqldb.Flag(kind == KindNotification), r.Reference, r.EndToEndID,
			r.MessageID, int64(r.Amount), int64(r.whole), sqldb.Flag(r.Reversal), r.BookingDate, r.ValueDate, r.Counterparty.Name, r.Counterparty.IBAN,
			r.Counterparty.BIC, r.Remittance, r.ReturnReason}
	})
}

// monthsOpen refuses a statement with movements in a period that takes no postings,
// before any of it is booked.
func (l *load) monthsOpen(ctx context.Context, tx *sqldb.Tx) error {
	var periods []ledger.Period
	for _, month := range slices.Sorted(maps.Keys(l.months)) {
		p, err := l.service.engine.FindPeriod(ctx, tx, month)
		if err != nil {
			return err
		}
		periods = append(periods, p)
	}
	states, err := engine.EffectiveStates(ctx, tx, periods)
	if err != nil {
		return err
	}
	for i, state := range states {
		if state.Status != ledger.PeriodOpen {
			return ledger.Errorf(ledger.CodePeriodClosed, "statement %s has movements in %s, which is closed; open it again, or ask the bank to book them later",
				l.head.ID, periods[i].ID).InField(placeOr(l.head.Place, "statement.entries"))
		}
	}
	return nil
}

// drop clears a load away, in parts, unless it counts already.
func (s *Service) drop(ctx context.Context, id uuid.UUID) error {
	for {
		left := false
		err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			var pass, entry, detail, loading int64
			left = false
			err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM bank_messages WHERE id = $1 AND state = 'loading'", []any{id}, &loading)
			if err != nil || loading == 0 {
				return err
			}
			err = tx.QueryRow(ctx, fmt.Sprintf(`SELECT pass, entry, detail FROM bank_message_rows WHERE bank_message_id = $1
				ORDER BY pass, entry, detail LIMIT 1 OFFSET %d`, loadRows), []any{id}, &pass, &entry, &detail)
			if left = err == nil; left {
				_, err = tx.Exec(ctx, "DELETE FROM bank_message_rows WHERE bank_message_id = $1 AND (pass, entry, detail) < ($2, $3, $4)", id, pass, entry, detail)
				return err
			}
			if !sqldb.IsNoRows(err) {
				return err
			}
			if _, err := tx.Exec(ctx, "DELETE FROM bank_message_rows WHERE bank_message_id = $1", id); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, "DELETE FROM bank_messages WHERE id = $1", id)
			return err
		})
		if err != nil {
			return fmt.Errorf("clear an import away: %w", err)
		}
		if !left {
			return nil
		}
	}
}

// maxSwept bounds how many loads one import clears away.
const maxSwept = 100

// sweep clears loads away that nobody goes on with: their process died.
func (s *Service) sweep(ctx context.Context) error {
	var stale []uuid.UUID
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		stale, err = sqldb.Collect(ctx, tx, fmt.Sprintf("SELECT id FROM bank_messages WHERE state = 'loading' AND touched_at < $1 ORDER BY touched_at LIMIT %d", maxSwept),
			[]any{s.engine.Now().Add(-staleLoad)}, scanID)
		return err
	})
	if err != nil {
		return fmt.Errorf("look for imports that nobody goes on with: %w", err)
	}
	for _, id := range stale {
		if err := s.drop(ctx, id); err != nil {
			return err
		}
	}
	return nil
}
