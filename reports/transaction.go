package reports

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// Transaction shows everything that the book says of one transaction: where it
// stands, what gave rise to it, each posting, what it reverses and what reversed
// it. Postings are counted from 1.
func Transaction(ctx context.Context, tx *sqldb.Tx, id uuid.UUID, generatedAt time.Time) (Table, error) {
	t, err := engine.FindTransaction(ctx, tx, id)
	if err != nil {
		return Table{}, err
	}
	reversals, err := engine.ReversalsOf(ctx, tx, id)
	if err != nil {
		return Table{}, err
	}
	s := &transactionSheet{book: newBook(tx), transaction: t, reversals: reversals}
	if t.Reverses != uuid.Nil {
		if s.original, err = engine.FindTransaction(ctx, tx, t.Reverses); err != nil {
			return Table{}, fmt.Errorf("transaction %s: %w", id, err)
		}
	}
	if err := s.loadParties(ctx, []ledger.Transaction{t}); err != nil {
		return Table{}, fmt.Errorf("transaction %s: %w", id, err)
	}
	table := Table{Name: "transaction", Title: "Transaction " + t.ID.String(), Description: t.Label, GeneratedAt: generatedAt,
		Facts: s.facts(),
		Columns: []Column{
			{"posting", "Posting", Integer},
			{"debit_account_no", "Debit no.", Text}, {"debit_account", "Debit account", Text},
			{"credit_account_no", "Credit no.", Text}, {"credit_account", "Credit account", Text},
			{"amount", "Amount", Money}, {"reverses", "Reverses", Text}, {"reversed_by", "Reversed by", Text},
		},
	}
	if table.Rows, err = s.rows(ctx); err != nil {
		return Table{}, fmt.Errorf("transaction %s: %w", id, err)
	}
	if t.Number == 0 {
		table.Notes = append(table.Notes, "It has no number yet: it waits to be sealed.")
	}
	return table, nil
}

type transactionSheet struct {
	*book
	transaction ledger.Transaction
	original    ledger.Transaction   // what it reverses; zero where it reverses nothing
	reversals   []ledger.Transaction // of it
}

func (s *transactionSheet) facts() []Fact {
	t := s.transaction
	facts := []Fact{
		{Name: "transaction_id", Title: "Transaction", Value: t.ID.String()},
		{Name: "entry", Title: "Entry no.", Value: entryText(t)},
		{Name: "key", Title: "Key", Value: t.Key},
		{Name: "journal", Title: "Journal", Value: t.Journal},
		{Name: "label", Title: "Label", Value: t.Label},
		{Name: "effective_date", Title: "Effective date", Value: t.EffectiveDate},
		{Name: "recorded_at", Title: "Recorded at", Value: t.RecordedAt},
		{Name: "page", Title: "Page", Value: strconv.FormatInt(t.Place.PageID, 10)},
		{Name: "line", Title: "Line of the page", Value: t.Place.Line},
		{Name: "source", Title: "Source", Value: sourceText(t.Source)},
	}
	if !t.Source.Date.IsZero() {
		facts = append(facts, Fact{Name: "source_date", Title: "Date of the source", Value: t.Source.Date})
	}
	if t.HoldID != uuid.Nil {
		facts = append(facts, Fact{Name: "hold_id", Title: "Hold", Value: t.HoldID.String()})
	}
	for _, key := range slices.Sorted(maps.Keys(t.Metadata)) {
		facts = append(facts, Fact{Name: "metadata." + key, Title: "Metadata " + key, Value: t.Metadata[key]})
	}
	if t.Reverses != uuid.Nil {
		facts = append(facts, Fact{Name: "reverses", Title: "Reverses", Value: inFull(s.original)})
	}
	if len(s.reversals) > 0 {
		names := make([]string, len(s.reversals))
		for i, by := range s.reversals {
			names[i] = inFull(by)
		}
		facts = append(facts, Fact{Name: "reversed_by", Title: "Reversed by", Value: strings.Join(names, "; ")})
	}
	return facts
}

// inFull names another transaction in every way in which it can be asked for.
func inFull(t ledger.Transaction) string {
	if number := EntryNumber(t); number != "" {
		return fmt.Sprintf("%s (%s, key %s)", t.ID, number, t.Key)
	}
	return fmt.Sprintf("%s (key %s)", t.ID, t.Key)
}

func (s *transactionSheet) rows(ctx context.Context) ([]Row, error) {
	undoneBy := map[int]ledger.Transaction{}
	for _, by := range s.reversals {
		for _, p := range by.Postings {
			undoneBy[p.Reverses.Ordinal] = by
		}
	}
	rows := make([]Row, 0, len(s.transaction.Postings))
	for i, p := range s.transaction.Postings {
		cells := []any{int64(i + 1)}
		for _, id := range []uuid.UUID{p.Debit, p.Credit} {
			account, err := s.account(id)
			if err != nil {
				return nil, err
			}
			entry, ok, err := s.entry(ctx, account.Category, s.transaction.EffectiveDate)
			if err != nil {
				return nil, err
			}
			cells = append(cells, numberCells(entry, ok, account.Category)[0], account.Code)
		}
		var reverses, reversedBy any
		if p.Reverses.TransactionID != uuid.Nil {
			reverses = fmt.Sprintf("posting %d", p.Reverses.Ordinal+1)
		}
		if by, ok := undoneBy[i]; ok {
			reversedBy = by.ID.String()
		}
		cells = append(cells, Cash{Amount: p.Amount, Currency: p.Currency}, reverses, reversedBy)
		rows = append(rows, Row{Cells: cells})
	}
	return rows, nil
}
