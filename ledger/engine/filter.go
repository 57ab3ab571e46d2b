package engine

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// TransactionFilter selects transactions. Zero values select all.
type TransactionFilter struct {
	AccountID  uuid.UUID     // with a posting to this account, on either side
	Journal    string        // of this journal
	From, To   ledger.Date   // effective dates, both inclusive
	RecordedAt time.Time     // recorded at this instant or before
	Source     ledger.Source // of this channel, this id, or both; the date is not looked at
	// MinAmount and MaxAmount, in minor units, both inclusive, select transactions
	// with a posting of such an amount (to the account, where one is named).
	MinAmount, MaxAmount ledger.Amount
	// MetadataKey selects transactions with this key, and where it is set with
	// MetadataValue under it.
	MetadataKey, MetadataValue string
	After                      ledger.Cursor // for the next page: Place of the last one of the page before
	Limit                      int           // 1 to MaxPage
}

// ListTransactions returns a page of transactions with their postings, in the
// order of the journal: effective date, then recording. Pages stay stable under
// writes. An account, a journal, a source, an amount, a metadata key or a range of
// dates is found by index, the one that selects least; the other conditions are looked
// at one transaction after the other.
func ListTransactions(ctx context.Context, tx *sqldb.Tx, f TransactionFilter) ([]ledger.Transaction, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	if f.MetadataKey != "" && !ledger.ValidMetadataKey(f.MetadataKey) {
		// No metadata has it; and SQLite would read "$.a" as a path, and "$a" not at all.
		return nil, ledger.Errorf(ledger.CodeInvalid, "%q is not a metadata key: 1 to %d of a-z 0-9 _ . -", ledger.Clip(f.MetadataKey), ledger.MaxMetadataKey).InField("metadata_key")
	}
	places, err := f.places(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("list transactions: %w", err)
	}
	list, err := transactionsAt(ctx, tx, places)
	if err != nil {
		return nil, fmt.Errorf("list transactions: %w", err)
	}
	return list, addNumbers(ctx, tx, list)
}

// places finds a page of the transactions that the filter selects, in the order
// of the journal.
func (f TransactionFilter) places(ctx context.Context, tx *sqldb.Tx) ([]place, error) {
	if f.journalAlone() {
		return f.placesOfJournal(ctx, tx)
	}
	var account int64
	if f.AccountID != uuid.Nil {
		var err error
		account, err = accountNo(ctx, tx, f.AccountID)
		if ledger.CodeOf(err) == ledger.CodeNotFound {
			return nil, nil // no transaction has a posting to it
		}
		if err != nil {
			return nil, err
		}
	}
	c, fewer, err := f.candidates(ctx, tx)
	if err != nil {
		return nil, err
	}
	if fewer {
		return f.placesOnPages(ctx, tx, account, c)
	}
	var q sqldb.Where
	source := f.conditions(&q)
	if f.AccountID == uuid.Nil {
		return f.firstPlaces(ctx, tx, q, func(q sqldb.Where, limit int) (string, []any) {
			return postingsInOrder("postings AS p"+source, q, limit), q.Args
		})
	}
	return f.firstPlaces(ctx, tx, q, func(q sqldb.Where, limit int) (string, []any) {
		debits, credits := q, q // each side has its own index
		debits.And("p.debit_no = ?", account)
		credits.And("p.credit_no = ?", account) // the same argument, at the same place
		return fmt.Sprintf("SELECT * FROM (SELECT * FROM (%s) AS d UNION ALL SELECT * FROM (%s) AS c) AS both_sides ORDER BY page_id, line LIMIT %d",
			postingsInOrder("postings AS p"+tx.IndexedBy("postings_by_debit")+source, debits, limit),
			postingsInOrder("postings AS p"+tx.IndexedBy("postings_by_credit")+source, credits, limit), limit), debits.Args
	})
}

// conditions adds what the filter asks of postings p, but for the account, and
// returns what to join to them for it.
func (f TransactionFilter) conditions(q *sqldb.Where) (source string) {
	f.overPages(q, "p.page_id")
	if f.After != (ledger.Cursor{}) {
		q.And("(p.page_id > ? OR p.line - p.ordinal > ?)", f.After.PageID, f.After.Line)
	}
	head := "p" // the posting with the header, where it is asked about
	if f.byPosting() {
		if f.byHeader() {
			head = "h"
			source += " JOIN postings AS h ON h.page_id = p.page_id AND h.line = p.line - p.ordinal"
		}
		if f.MinAmount != 0 {
			q.And("p.amount >= ?", f.MinAmount)
		}
		if f.MaxAmount != 0 {
			q.And("p.amount <= ?", f.MaxAmount)
		}
	} else {
		q.And("p.ordinal = 0")
	}
	f.andHeader(q, head)
	if !f.RecordedAt.IsZero() {
		source += " JOIN pages AS g ON g.id = p.page_id"
		q.And("g.recorded_at <= ?", f.RecordedAt)
	}
	return source
}

// overPages adds the range of pages that the rest of the list lies on.
func (f TransactionFilter) overPages(q *sqldb.Where, column string) {
	overPages(q, column, f.From, f.To)
	if f.After != (ledger.Cursor{}) {
		q.And(column+" >= ?", f.After.PageID) // lets an index start there
	}
}

func postingsInOrder(source string, q sqldb.Where, limit int) string {
	return fmt.Sprintf("SELECT p.page_id, p.line, p.ordinal FROM %s%s ORDER BY p.page_id, p.line LIMIT %d", source, q.Clause(), limit)
}

// minRound is how many postings are read at once at least: a transaction may have
// many that the filter selects.
const minRound = 100

// firstPlaces reads postings in the order of the journal, some at a time, until
// they belong to as many transactions as the page has, and returns where those
// begin. query makes the query for postings with the conditions.
func (f TransactionFilter) firstPlaces(ctx context.Context, tx *sqldb.Tx, q sqldb.Where,
	query func(q sqldb.Where, limit int) (string, []any)) ([]place, error) {
	var found []place
	round := max(f.Limit, minRound)
	after := q
	for {
		var last place
		rows := 0
		text, args := query(after, round)
		err := tx.Each(ctx, text, args, func(r *sqldb.Rows) error {
			var ordinal int64
			if err := r.Scan(&last.page, &last.line, &ordinal); err != nil {
				return err
			}
			rows++
			first := place{last.page, last.line - ordinal}
			if len(found) < f.Limit && (len(found) == 0 || found[len(found)-1] != first) {
				found = append(found, first)
			}
			return nil
		})
		if err != nil || rows < round || len(found) == f.Limit {
			return found, err
		}
		after = q
		after.And("p.page_id >= ?", last.page)
		after.And("(p.page_id > ? OR p.line > ?)", last.page, last.line)
	}
}

// placesOfJournal finds a page of a journal's transactions: those that are sealed
// by where their seals say that they lie, and what waits for the sealer by looking.
func (f TransactionFilter) placesOfJournal(ctx context.Context, tx *sqldb.Tx) ([]place, error) {
	var found []place
	add := func(at place) {
		if at.page > f.After.PageID || at.page == f.After.PageID && at.line > f.After.Line || f.After == (ledger.Cursor{}) {
			found = append(found, at)
		}
	}
	var sealed, waiting sqldb.Where
	sealed.And("s.journal = ?", f.Journal)
	waiting.And("p.page_id = u.page_id AND p.ordinal = 0 AND p.journal = ?", f.Journal)
	overPages(&sealed, "s.page_id", f.From, f.To)
	overPages(&waiting, "u.page_id", f.From, f.To)
	if f.After != (ledger.Cursor{}) {
		sealed.And("s.page_id >= ?", f.After.PageID)
		waiting.And("u.page_id >= ?", f.After.PageID)
		waiting.And("(p.page_id > ? OR p.line > ?)", f.After.PageID, f.After.Line)
	}
	// Each page has one of them at least, but the first may have those before it only.
	query := fmt.Sprintf("SELECT s.page_id, s.lines FROM seals AS s%s ORDER BY s.page_id LIMIT %d", sealed.Clause(), f.Limit+1)
	err := tx.Each(ctx, query, sealed.Args, func(rows *sqldb.Rows) error {
		var page int64
		var lines []byte
		if err := rows.Scan(&page, &lines); err != nil {
			return err
		}
		for ; len(lines) >= 4 && len(found) < f.Limit; lines = lines[4:] {
			add(place{page, int64(binary.BigEndian.Uint32(lines))})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	query = fmt.Sprintf("SELECT p.page_id, p.line FROM unsealed_pages AS u CROSS JOIN postings AS p%s ORDER BY p.page_id, p.line LIMIT %d", waiting.Clause(), f.Limit)
	err = tx.Each(ctx, query, waiting.Args, func(rows *sqldb.Rows) error {
		var at place
		err := rows.Scan(&at.page, &at.line)
		add(at)
		return err
	})
	slices.SortFunc(found, func(a, b place) int { return cmp.Or(cmp.Compare(a.page, b.page), cmp.Compare(a.line, b.line)) })
	return found[:min(len(found), f.Limit)], err
}

// byPosting says that the filter is about postings, not transactions alone.
func (f TransactionFilter) byPosting() bool {
	return f.AccountID != uuid.Nil || f.MinAmount != 0 || f.MaxAmount != 0
}

func (f TransactionFilter) byHeader() bool {
	return f.Journal != "" || f.Source.Channel != "" || f.Source.ID != "" || f.MetadataKey != ""
}

// andHeader adds what the filter asks of the header on the posting that is called head.
func (f TransactionFilter) andHeader(q *sqldb.Where, head string) {
	if f.Journal != "" {
		q.And(head+".journal = ?", f.Journal)
	}
	if f.Source.Channel != "" {
		q.And(head+".source_channel = ?", f.Source.Channel)
	}
	if f.Source.ID != "" {
		q.And(head+".source_id = ?", f.Source.ID)
	}
	switch {
	case f.MetadataKey != "" && f.MetadataValue != "":
		q.And(head+".metadata ->> ? = ?", f.MetadataKey, f.MetadataValue)
	case f.MetadataKey != "":
		q.And(head+".metadata ->> ? IS NOT NULL", f.MetadataKey)
	}
}

// journalAlone reports whether each transaction of the journal between the dates
// is one that the filter selects.
func (f TransactionFilter) journalAlone() bool {
	return f.Journal != "" && !f.byPosting() && f.RecordedAt.IsZero() && f.Source.Channel == "" && f.Source.ID == "" && f.MetadataKey == ""
}

// overPages adds that a page id is of an effective date from one to another,
// both inclusive; a zero date is no bound.
func overPages(q *sqldb.Where, column string, from, to ledger.Date) {
	if !from.IsZero() {
		q.And(column+" >= ?", firstPage(from))
	}
	if !to.IsZero() {
		q.And(column+" < ?", firstPage(to.AddDays(1)))
	}
}
