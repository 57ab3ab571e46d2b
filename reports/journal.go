package reports

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// JournalParams select the lines of a journal.
type JournalParams struct {
	Period
	Journal string // journal code; empty: all journals
	// After is the last transaction of the page before; Nil for the first page.
	After uuid.UUID
	// MaxLines bounds the page; 0 is MaxJournalLines, which is also the most.
	MaxLines int
}

// MaxJournalLines bounds a page of the journal, which is held in memory until it
// is written. A page ends with the transaction that would pass it, and has at
// least one.
const MaxJournalLines = 100_000

// transactionPage is how many transactions are read at a time: at their largest
// (a thousand postings each) still memory that a small machine has.
const transactionPage = 500

// Journal lists transactions by effective date and time of recording, with one
// line a debit and one a credit. The fact "next_after" and a note say how to go
// on where the page is not the last.
func Journal(ctx context.Context, tx *sqldb.Tx, p JournalParams) (Table, error) {
	if err := p.checkJournal(); err != nil {
		return Table{}, err
	}
	table, err := journal(ctx, tx, p)
	if err != nil {
		return Table{}, fmt.Errorf("journal: %w", err)
	}
	return table, nil
}

func (p *JournalParams) checkJournal() error {
	if p.MaxLines == 0 {
		p.MaxLines = MaxJournalLines
	}
	if p.MaxLines < 2 || p.MaxLines > MaxJournalLines {
		return ledger.Errorf(ledger.CodeInvalid, "a page of the journal has 2 to %d lines, not %d", MaxJournalLines, p.MaxLines).InField("max_lines")
	}
	return p.check()
}

func journal(ctx context.Context, tx *sqldb.Tx, p JournalParams) (Table, error) {
	filter := engine.TransactionFilter{Journal: p.Journal, From: p.From, To: p.To, RecordedAt: p.RecordedAt, Limit: transactionPage}
	if p.After != uuid.Nil {
		before, err := engine.FindTransaction(ctx, tx, p.After)
		if err != nil {
			return Table{}, err
		}
		filter.After = before.Place
	}
	page := journalPage{book: newBook(tx), totals: byCurrency[turnover]{}}
	last := p.After
	for more := true; more; {
		transactions, err := engine.ListTransactions(ctx, tx, filter)
		if err != nil {
			return Table{}, err
		}
		if err := page.loadParties(ctx, transactions); err != nil {
			return Table{}, err
		}
		more = len(transactions) == transactionPage
		for _, t := range transactions {
			if len(page.rows) > 0 && len(page.rows)+2*len(t.Postings) > p.MaxLines {
				page.unfinished, more = true, false
				break
			}
			if err := page.add(ctx, t); err != nil {
				return Table{}, err
			}
			filter.After, last = t.Place, t.ID
		}
	}
	return page.table(p, last)
}

type journalPage struct {
	*book
	rows         []Row
	transactions int64
	totals       byCurrency[turnover]
	unfinished   bool
}

func (j *journalPage) add(ctx context.Context, t ledger.Transaction) error {
	j.transactions++
	for _, p := range t.Postings {
		amount := Cash{Amount: p.Amount, Currency: p.Currency}
		if err := j.line(ctx, t, p.Debit, amount, nil); err != nil {
			return err
		}
		if err := j.line(ctx, t, p.Credit, nil, amount); err != nil {
			return err
		}
		j.totals.of(p.Currency).add(p.Amount, p.Amount)
	}
	return nil
}

func (j *journalPage) line(ctx context.Context, t ledger.Transaction, accountID uuid.UUID, debit, credit any) error {
	account, err := j.account(accountID)
	if err != nil {
		return err
	}
	entry, ok, err := j.entry(ctx, account.Category, t.EffectiveDate)
	if err != nil {
		return err
	}
	cells := []any{t.EffectiveDate, t.Journal, entryText(t), t.ID.String(), t.Key}
	cells = append(cells, numberCells(entry, ok, account.Category)...)
	cells = append(cells, account.Code, t.Label, sourceText(t.Source), idText(t.Reverses), debit, credit)
	j.rows = append(j.rows, Row{Cells: cells})
	return nil
}

func (j *journalPage) table(p JournalParams, last uuid.UUID) (Table, error) {
	table := Table{
		Name:        "journal",
		Title:       "Journal",
		Description: "All journals, " + p.describe(),
		GeneratedAt: p.GeneratedAt,
		Facts:       append(p.facts(), Fact{Name: "transactions", Title: "Transactions", Value: j.transactions}),
		Columns: []Column{
			{"effective_date", "Date", Day}, {"journal", "Journal", Text}, {"entry", "Entry no.", Text},
			{"transaction_id", "Transaction", Text}, {"key", "Key", Text},
			{"account_no", "Account no.", Text}, {"account_label", "Account label", Text}, {"account", "Account", Text},
			{"label", "Label", Text}, {"source", "Source", Text}, {"reverses", "Reverses", Text},
			{"debit", "Debit", Money}, {"credit", "Credit", Money},
		},
		Rows: j.rows,
	}
	if p.Journal != "" {
		table.Title, table.Description = "Journal "+p.Journal, "Posted entries, "+p.describe()
	}
	for _, currency := range j.totals.currencies() {
		amounts, err := j.totals[currency].cells(currency)
		if err != nil {
			return Table{}, err
		}
		cells := []any{nil, nil, nil, nil, nil, nil, nil, nil, "Total " + string(currency), nil, nil}
		table.Rows = append(table.Rows, Row{Cells: append(cells, amounts...), Total: true})
	}
	if j.unfinished {
		table.Facts = append(table.Facts, Fact{Name: "next_after", Title: "Goes on after", Value: last.String()})
		table.Notes = append(table.Notes, fmt.Sprintf(
			"The journal goes on: ask for the lines after transaction %s. Totals are those of this page.", last))
	}
	return table, nil
}
