package reports

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// AccountStatementParams select the statement of an account.
type AccountStatementParams struct {
	Period
	Account string // code of the account
	// After is the last transaction of the page before; Nil for the first page.
	After uuid.UUID
	// MaxLines bounds the page; 0 is MaxStatementLines, which is also the most.
	MaxLines int
}

// MaxStatementLines bounds a page of a statement, which is held in memory until
// it is written. A page ends with the transaction that would pass it, and has at
// least one.
const MaxStatementLines = 100_000

// AccountStatement lists what was posted to an account, with the balance after
// each line on the account's normal side. The running balance is computed here,
// from the opening balance on, and must arrive at the closing balance that the
// ledger adds up by itself; where it does not, the error says so.
//
// Every page reads the whole period, so that it can carry the balance forward
// and check where the lines end.
func AccountStatement(ctx context.Context, tx *sqldb.Tx, p AccountStatementParams) (Table, error) {
	if p.MaxLines == 0 {
		p.MaxLines = MaxStatementLines
	}
	if p.MaxLines < 1 || p.MaxLines > MaxStatementLines {
		return Table{}, ledger.Errorf(ledger.CodeInvalid, "a page of a statement has 1 to %d lines, not %d", MaxStatementLines, p.MaxLines).InField("max_lines")
	}
	if err := p.check(); err != nil {
		return Table{}, err
	}
	account, err := engine.FindAccountByCode(ctx, tx, p.Account)
	if err != nil {
		return Table{}, err
	}
	s := &accountStatement{book: newBook(tx), params: p, subject: account}
	if err := s.read(ctx); err != nil {
		return Table{}, fmt.Errorf("statement of %s: %w", account.Code, err)
	}
	table, err := s.table()
	if err != nil {
		return Table{}, fmt.Errorf("statement of %s: %w", account.Code, err)
	}
	return table, nil
}

type accountStatement struct {
	*book
	params  AccountStatementParams
	subject ledger.Account

	opening, closing  ledger.Amount // of the period
	carried, balance  ledger.Amount // before the page's first line, after the last line read
	movement, pageSum turnover
	rows              []Row
	started           bool      // the page has begun: After was passed
	last              uuid.UUID // the page's last transaction
	unfinished        bool
}

func (s *accountStatement) read(ctx context.Context) error {
	if err := s.bounds(ctx); err != nil {
		return err
	}
	s.balance, s.carried, s.started = s.opening, s.opening, s.params.After == uuid.Nil
	filter := engine.TransactionFilter{AccountID: s.subject.ID, From: s.params.From, To: s.params.To,
		RecordedAt: s.params.RecordedAt, Limit: transactionPage}
	for more := true; more; {
		transactions, err := engine.ListTransactions(ctx, s.tx, filter)
		if err != nil {
			return err
		}
		if err := s.loadParties(ctx, transactions); err != nil {
			return err
		}
		for _, t := range transactions {
			if err := s.add(t); err != nil {
				return err
			}
			filter.After = t.Place
		}
		more = len(transactions) == transactionPage
	}
	if !s.started {
		return ledger.Errorf(ledger.CodeNotFound, "transaction %s is not on this statement; start again without it", s.params.After).InField("after")
	}
	if s.balance != s.closing {
		return fmt.Errorf("the lines lead from %s to %s, but the ledger's balance is %s %s; run `tweetledger verify`",
			s.opening.Format(s.subject.Currency), s.balance.Format(s.subject.Currency), s.closing.Format(s.subject.Currency), s.subject.Currency)
	}
	return nil
}

// bounds reads the balances at both ends of the period.
func (s *accountStatement) bounds(ctx context.Context) error {
	if !s.params.From.IsZero() {
		before, err := engine.BalanceAsOf(ctx, s.tx, s.subject.ID, engine.AsOf{EffectiveDate: s.params.From.AddDays(-1), RecordedAt: s.params.RecordedAt})
		if err != nil {
			return err
		}
		s.opening = before.Posted()
	}
	at, err := engine.BalanceAsOf(ctx, s.tx, s.subject.ID, engine.AsOf{EffectiveDate: s.params.To, RecordedAt: s.params.RecordedAt})
	if err != nil {
		return err
	}
	s.closing = at.Posted()
	return nil
}

func (s *accountStatement) add(t ledger.Transaction) error {
	lines := 0
	for _, p := range t.Postings {
		if p.Debit == s.subject.ID || p.Credit == s.subject.ID {
			lines++
		}
	}
	if s.started && len(s.rows) > 0 && len(s.rows)+lines > s.params.MaxLines {
		s.unfinished = true
	}
	shown := s.started && !s.unfinished
	for _, p := range t.Postings {
		if err := s.line(t, p, shown); err != nil {
			return err
		}
	}
	if shown {
		s.last = t.ID
	}
	if t.ID == s.params.After {
		s.started, s.carried = true, s.balance
	}
	return nil
}

func (s *accountStatement) line(t ledger.Transaction, p ledger.Posting, shown bool) error {
	var debit, credit ledger.Amount
	counter := p.Credit
	switch s.subject.ID {
	case p.Debit:
		debit = p.Amount
	case p.Credit:
		credit, counter = p.Amount, p.Debit
	default:
		return nil
	}
	change := credit - debit // one of them is 0
	if s.subject.Side == ledger.Debit {
		change = -change
	}
	var err error
	if s.balance, err = s.balance.Add(change); err != nil {
		return err
	}
	s.movement.add(debit, credit)
	if !shown {
		return nil
	}
	s.pageSum.add(debit, credit)
	other, err := s.account(counter)
	if err != nil {
		return err
	}
	var debited, credited any
	if debit != 0 {
		debited = s.cash(debit)
	} else {
		credited = s.cash(credit)
	}
	cells := []any{t.EffectiveDate, t.Journal, entryText(t), t.ID.String(), t.Key, t.Label, sourceText(t.Source), idText(t.Reverses), other.Code,
		debited, credited, s.cash(s.balance)}
	s.rows = append(s.rows, Row{Cells: cells})
	return nil
}

func (s *accountStatement) cash(a ledger.Amount) Cash {
	return Cash{Amount: a, Currency: s.subject.Currency}
}

func (s *accountStatement) table() (Table, error) {
	debits, err := s.movement.debits.cash(s.subject.Currency)
	if err != nil {
		return Table{}, err
	}
	credits, err := s.movement.credits.cash(s.subject.Currency)
	if err != nil {
		return Table{}, err
	}
	table := Table{
		Name:        "account_statement",
		Title:       "Statement of account " + s.subject.Code,
		Description: fmt.Sprintf("%s, %s; balances on the %s side", s.subject.Name, s.params.describe(), s.subject.Side),
		GeneratedAt: s.params.GeneratedAt,
		Facts: append(s.params.facts(),
			Fact{Name: "account", Title: "Account", Value: s.subject.Code},
			Fact{Name: "side", Title: "Normal side", Value: string(s.subject.Side)},
			Fact{Name: "opening_balance", Title: "Opening balance", Value: s.cash(s.opening)},
			Fact{Name: "debits", Title: "Debits", Value: debits},
			Fact{Name: "credits", Title: "Credits", Value: credits},
			Fact{Name: "closing_balance", Title: "Closing balance", Value: s.cash(s.closing)}),
		Columns: []Column{
			{"effective_date", "Date", Day}, {"journal", "Journal", Text}, {"entry", "Entry no.", Text},
			{"transaction_id", "Transaction", Text}, {"key", "Key", Text}, {"label", "Label", Text}, {"source", "Source", Text},
			{"reverses", "Reverses", Text}, {"counter_account", "Counter account", Text},
			{"debit", "Debit", Money}, {"credit", "Credit", Money}, {"balance", "Balance", Money},
		},
	}
	first, end := "Opening balance", "Closing balance"
	if s.params.After != uuid.Nil {
		first = "Brought forward"
	}
	endBalance := s.closing
	if s.unfinished {
		end, endBalance = "Carried forward", s.rows[len(s.rows)-1].Cells[len(table.Columns)-1].(Cash).Amount
		table.Facts = append(table.Facts, Fact{Name: "next_after", Title: "Goes on after", Value: s.last.String()})
		table.Notes = append(table.Notes, fmt.Sprintf("The statement goes on: ask for the lines after transaction %s.", s.last))
	}
	sums, err := s.pageSum.cells(s.subject.Currency)
	if err != nil {
		return Table{}, err
	}
	table.Rows = append(table.Rows, s.totalRow(first, nil, nil, s.carried))
	table.Rows = append(table.Rows, s.rows...)
	table.Rows = append(table.Rows, s.totalRow(end, sums[0], sums[1], endBalance))
	table.Notes = append(table.Notes, "The closing balance ties to the ledger.")
	return table, nil
}

func (s *accountStatement) totalRow(label string, debits, credits any, balance ledger.Amount) Row {
	return Row{Cells: []any{nil, nil, nil, nil, nil, label, nil, nil, nil, debits, credits, s.cash(balance)}, Total: true}
}
