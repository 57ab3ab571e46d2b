package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// headColumns are those of a transaction's first posting, p, its page, g, and the
// accounts d and c.
const headColumns = `p.page_id, p.line, p.transaction_id, p.postings, p.idempotency_key, p.journal, p.label, g.effective_date,
	g.recorded_at, COALESCE(p.source_channel, ''), COALESCE(p.source_id, ''), p.source_date, p.metadata, p.reverses, p.hold_id,
	` + postingColumns

const postingColumns = `p.reverses_page_id, p.reverses_line, d.id, c.id, p.amount, p.currency`

const postingAccounts = ` JOIN accounts AS d ON d.no = p.debit_no AND d.currency = p.currency
	JOIN accounts AS c ON c.no = p.credit_no AND c.currency = p.currency`

// scannedPosting is a posting with the place of the one that it undoes.
type scannedPosting struct {
	ledger.Posting
	page, line *int64
}

func (p *scannedPosting) fields() []any {
	return []any{&p.page, &p.line, &p.Debit, &p.Credit, &p.Amount, &p.Currency}
}

// scanHead reads headColumns: a transaction with its first posting, and how many
// it has.
func scanHead(rows *sqldb.Rows) (t ledger.Transaction, first scannedPosting, postings int64, err error) {
	var metadata *string
	err = rows.Scan(append([]any{&t.Place.PageID, &t.Place.Line, &t.ID, &postings, &t.Key, &t.Journal, &t.Label, &t.EffectiveDate,
		&t.RecordedAt, &t.Source.Channel, &t.Source.ID, &t.Source.Date, &metadata, &t.Reverses, &t.HoldID}, first.fields()...)...)
	if err == nil && metadata != nil {
		err = readMetadata(&t, *metadata)
	}
	return t, first, postings, err
}

func readMetadata(t *ledger.Transaction, text string) error {
	if text == "{}" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), &t.Metadata); err != nil {
		return fmt.Errorf("metadata of transaction %s: %w", t.ID, err)
	}
	return nil
}

// wholeColumns are those of any posting p, with its header where it has one, its
// page g, and the accounts d and c.
const wholeColumns = `p.page_id, p.line, p.transaction_id, COALESCE(p.idempotency_key, ''), COALESCE(p.journal, ''), COALESCE(p.label, ''),
	g.effective_date, g.recorded_at, COALESCE(p.source_channel, ''), COALESCE(p.source_id, ''), p.source_date, p.reverses, p.hold_id,
	` + postingColumns

// scanWhole reads a posting's ordinal, metadata and wholeColumns.
func scanWhole(rows *sqldb.Rows) (t ledger.Transaction, p scannedPosting, ordinal int64, err error) {
	var metadata string
	err = rows.Scan(append([]any{&ordinal, &metadata, &t.Place.PageID, &t.Place.Line, &t.ID, &t.Key, &t.Journal, &t.Label, &t.EffectiveDate,
		&t.RecordedAt, &t.Source.Channel, &t.Source.ID, &t.Source.Date, &t.Reverses, &t.HoldID}, p.fields()...)...)
	if err == nil {
		err = readMetadata(&t, metadata)
	}
	return t, p, ordinal, err
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
	numbered := []ledger.Transaction{t}
	if err := addNumbers(ctx, tx, numbered); err != nil {
		return ledger.Transaction{}, err
	}
	return numbered[0], nil
}

func transactionsByID(ctx context.Context, tx *sqldb.Tx, ids []uuid.UUID) (map[uuid.UUID]ledger.Transaction, error) {
	found := make(map[uuid.UUID]ledger.Transaction, len(ids))
	if len(ids) == 0 {
		return found, nil
	}
	var places []place
	err := tx.Each(ctx, "SELECT page_id, line FROM requests WHERE page_id IS NOT NULL AND "+tx.AnyUUID("id", 1), []any{ids},
		func(rows *sqldb.Rows) error {
			var at place
			err := rows.Scan(&at.page, &at.line)
			places = append(places, at)
			return err
		})
	if err != nil {
		return nil, err
	}
	list, err := transactionsAt(ctx, tx, places)
	for _, t := range list {
		found[t.ID] = t
	}
	return found, err
}

var placeColumns = []sqldb.Column{{Name: "page_id", Type: "int8"}, {Name: "line", Type: "int8"}}

func rowOfPlace(places []place) func(i int) []any {
	return func(i int) []any { return []any{places[i].page, places[i].line} }
}

// transactionsAt returns the transactions whose first postings lie at the given
// places, in the order of the journal.
func transactionsAt(ctx context.Context, tx *sqldb.Tx, places []place) ([]ledger.Transaction, error) {
	list := make([]ledger.Transaction, 0, len(places))
	var rest []place            // of the postings after the first ones
	undone := map[place]place{} // by the place of a posting: that of the posting that it undoes
	note := func(at place, p scannedPosting) {
		if p.page != nil && p.line != nil {
			undone[at] = place{*p.page, *p.line}
		}
	}
	err := tx.EachOfRows(ctx, `SELECT `+headColumns+` FROM ROWS AS k CROSS JOIN postings AS p JOIN pages AS g ON g.id = p.page_id`+postingAccounts+`
		WHERE p.page_id = k.page_id AND p.line = k.line AND p.ordinal = 0`, placeColumns, len(places), rowOfPlace(places),
		func(rows *sqldb.Rows) error {
			t, first, postings, err := scanHead(rows)
			if err != nil {
				return err
			}
			note(place{t.Place.PageID, t.Place.Line}, first)
			t.Postings = append(make([]ledger.Posting, 0, postings), first.Posting)
			for i := int64(1); i < postings; i++ {
				rest = append(rest, place{t.Place.PageID, t.Place.Line + i})
			}
			list = append(list, t)
			return nil
		})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b ledger.Transaction) int { return a.Place.Compare(b.Place) })
	if err := addPostings(ctx, tx, list, rest, note); err != nil {
		return nil, err
	}
	return list, nameUndone(ctx, tx, list, undone)
}

// addPostings reads the postings at the given places, which belong to
// transactions of the list.
func addPostings(ctx context.Context, tx *sqldb.Tx, list []ledger.Transaction, places []place, note func(place, scannedPosting)) error {
	if len(places) == 0 {
		return nil
	}
	postings := make(map[place]scannedPosting, len(places))
	err := tx.EachOfRows(ctx, `SELECT p.page_id, p.line, `+postingColumns+` FROM ROWS AS k CROSS JOIN postings AS p`+postingAccounts+`
		WHERE p.page_id = k.page_id AND p.line = k.line AND p.ordinal > 0`, placeColumns, len(places), rowOfPlace(places),
		func(rows *sqldb.Rows) error {
			var at place
			var p scannedPosting
			err := rows.Scan(append([]any{&at.page, &at.line}, p.fields()...)...)
			postings[at] = p
			return err
		})
	if err != nil {
		return err
	}
	for i := range list {
		t := &list[i]
		for n := 1; n < cap(t.Postings); n++ {
			at := place{t.Place.PageID, t.Place.Line + int64(n)}
			p, ok := postings[at]
			if !ok {
				return fmt.Errorf("transaction %s has no posting %d; run verify", t.ID, n)
			}
			note(at, p)
			t.Postings = append(t.Postings, p.Posting)
		}
	}
	return nil
}

// nameUndone puts into the postings of reversals which postings they undo.
func nameUndone(ctx context.Context, tx *sqldb.Tx, list []ledger.Transaction, undone map[place]place) error {
	if len(undone) == 0 {
		return nil
	}
	var places []place
	for _, at := range undone {
		places = append(places, at)
	}
	names := make(map[place]ledger.PostingRef, len(places))
	err := tx.EachOfRows(ctx, `SELECT p.page_id, p.line, p.transaction_id, p.ordinal FROM ROWS AS k CROSS JOIN postings AS p
		WHERE p.page_id = k.page_id AND p.line = k.line`, placeColumns, len(places), rowOfPlace(places), func(rows *sqldb.Rows) error {
		var at place
		var ref ledger.PostingRef
		err := rows.Scan(&at.page, &at.line, &ref.TransactionID, &ref.Ordinal)
		names[at] = ref
		return err
	})
	if err != nil {
		return err
	}
	for _, t := range list {
		for n := range t.Postings {
			if at, ok := undone[place{t.Place.PageID, t.Place.Line + int64(n)}]; ok {
				t.Postings[n].Reverses = names[at]
			}
		}
	}
	return nil
}

// reversedPostings returns which of the postings at the given places were reversed,
// and by which transaction.
func reversedPostings(ctx context.Context, tx *sqldb.Tx, places []place) (map[place]uuid.UUID, error) {
	undone := map[place]uuid.UUID{}
	err := tx.EachOfRows(ctx, `SELECT p.reverses_page_id, p.reverses_line, p.transaction_id FROM ROWS AS k CROSS JOIN postings AS p
		WHERE p.reverses_page_id = k.page_id AND p.reverses_line = k.line`, placeColumns, len(places), rowOfPlace(places),
		func(rows *sqldb.Rows) error {
			var at place
			var by uuid.UUID
			err := rows.Scan(&at.page, &at.line, &by)
			undone[at] = by
			return err
		})
	return undone, err
}
