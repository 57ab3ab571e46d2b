package engine

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// ReversalsOf returns the transactions that reversed one, or a part of it, in the
// order of the journal: at most ledger.MaxPostings, since each posting is reversed
// once. Which postings each has undone, its own postings say (Posting.Reverses).
func ReversalsOf(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) ([]ledger.Transaction, error) {
	var ids []uuid.UUID
	err := tx.Each(ctx, fmt.Sprintf("SELECT transaction_id FROM postings WHERE reverses = $1 ORDER BY page_id, line LIMIT %d", ledger.MaxPostings),
		[]any{id}, func(rows *sqldb.Rows) error {
			var by uuid.UUID
			err := rows.Scan(&by)
			ids = append(ids, by)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("find the reversals of transaction %s: %w", id, err)
	}
	found, err := FindTransactions(ctx, tx, ids)
	if err != nil {
		return nil, err
	}
	list := make([]ledger.Transaction, 0, len(found))
	for _, by := range ids {
		t, ok := found[by]
		if !ok {
			return nil, fmt.Errorf("transaction %s, which reverses %s, is not where its request says; run verify", by, id)
		}
		list = append(list, t)
	}
	return list, nil
}

func (b *batch) reverse(id uuid.UUID, hash [sha256.Size]byte, r ledger.ReverseRequest) Outcome {
	original, ok := b.made[r.TransactionID]
	if !ok {
		return Outcome{Err: ledger.Errorf(ledger.CodeNotFound, "there is no transaction %s", r.TransactionID).InField("transaction_id")}
	}
	ordinals := r.Postings
	if len(ordinals) == 0 {
		ordinals = make([]int, len(original.Postings))
		for i := range ordinals {
			ordinals[i] = i
		}
	}
	date := r.EffectiveDate
	if date.IsZero() {
		date = b.engine.Today()
		if date.Before(original.EffectiveDate) {
			date = original.EffectiveDate
		}
	}
	if date.Before(original.EffectiveDate) {
		return Outcome{Err: ledger.Errorf(ledger.CodeInvalid, "transaction %s is effective on %s and cannot be undone before, on %s; give its date or a later one",
			original.ID, original.EffectiveDate, date).InField("effective_date")}
	}
	t := &ledger.Transaction{
		ID: id, Key: r.Key, Journal: original.Journal, Label: r.Label, EffectiveDate: date,
		Source: original.Source, Metadata: r.Metadata, Reverses: original.ID,
		Postings: make([]ledger.Posting, len(ordinals)),
	}
	at := b.known[original.ID].place
	for i, ordinal := range ordinals {
		if ordinal >= len(original.Postings) {
			return Outcome{Err: ledger.Errorf(ledger.CodeInvalid, "transaction %s has postings 1 to %d; there is no %d",
				original.ID, len(original.Postings), ordinal+1).InField(fmt.Sprintf("postings[%d]", i))}
		}
		if by, ok := b.undone[place{at.page, at.line + int64(ordinal)}]; ok {
			return Outcome{Err: alreadyReversed(original, ordinal, by)}
		}
		p := original.Postings[ordinal]
		t.Postings[i] = ledger.Posting{Debit: p.Credit, Credit: p.Debit, Amount: p.Amount, Currency: p.Currency,
			Reverses: ledger.PostingRef{TransactionID: original.ID, Ordinal: ordinal}}
	}
	out := b.record(t, hash, r.Adjustment, nil)
	if out.Err == nil {
		for _, ordinal := range ordinals {
			b.undone[place{at.page, at.line + int64(ordinal)}] = id
		}
	}
	return out
}

// alreadyReversed counts postings from 1, for people to read.
func alreadyReversed(original *ledger.Transaction, ordinal int, by uuid.UUID) error {
	if len(original.Postings) == 1 {
		return ledger.Errorf(ledger.CodeAlreadyReversed, "transaction %s was reversed before, by %s", original.ID, by).InField("transaction_id")
	}
	return ledger.Errorf(ledger.CodeAlreadyReversed, "posting %d of the %d of transaction %s was reversed before, by %s",
		ordinal+1, len(original.Postings), original.ID, by).InField("transaction_id")
}
