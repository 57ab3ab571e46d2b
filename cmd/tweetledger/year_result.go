package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// maxResultMoves bounds how often the result of one year is moved: no more often
// than the year can be closed.
const maxResultMoves = 100

// resultMove is what stands on the wrong account of a year's result: debit on the
// account of the profit, or credit on that of the loss. Either is put right by
// debiting the loss and crediting the profit.
type resultMove struct {
	profit, loss ledger.Account
	amount       ledger.Amount // in minor units, above zero
	key          string        // of the voucher that moves it
}

// misplacedResult finds what a year that was closed anew, with another sign, has left
// on the account of its first closing.
func misplacedResult(ctx context.Context, tx *sqldb.Tx, book *engine.Engine, y engine.ClosedYear, currency ledger.Currency) (resultMove, error) {
	m := resultMove{}
	m.profit, m.loss = engine.ResultAccounts(currency, book.Now())
	var profit, loss ledger.Amount // credits less debits of the closing entries
	filter := engine.TransactionFilter{Journal: ledger.JournalClosing, From: y.To, To: y.To, Limit: engine.MaxPage}
	for more := true; more; {
		entries, err := engine.ListTransactions(ctx, tx, filter)
		if err != nil {
			return m, err
		}
		for _, t := range entries {
			for _, p := range t.Postings {
				for _, side := range []struct {
					account uuid.UUID
					amount  ledger.Amount
				}{{p.Credit, p.Amount}, {p.Debit, -p.Amount}} {
					switch side.account {
					case m.profit.ID:
						profit, err = profit.Add(side.amount)
					case m.loss.ID:
						loss, err = loss.Add(side.amount)
					}
					if err != nil {
						return m, fmt.Errorf("add up the result of %d: %w", y.Year, err)
					}
				}
			}
			filter.After = t.Place
		}
		more = len(entries) == filter.Limit
	}
	m.amount = max(-profit, loss, 0)
	return m, m.lessMoved(ctx, tx, y.Year, currency)
}

// lessMoved takes off what vouchers of this name have moved before.
func (m *resultMove) lessMoved(ctx context.Context, tx *sqldb.Tx, year int, currency ledger.Currency) error {
	for n := 1; n <= maxResultMoves; n++ {
		m.key = fmt.Sprintf("result-%d-%s-%d", year, strings.ToLower(string(currency)), n)
		id := ledger.IDOfKey(staffKeys + m.key)
		found, err := engine.FindTransactions(ctx, tx, []uuid.UUID{id})
		if err != nil {
			return err
		}
		moved, ok := found[id]
		if !ok {
			return nil
		}
		for _, p := range moved.Postings {
			m.amount -= p.Amount
		}
	}
	return nil
}

// showMisplaced prints the voucher that puts a year's result where it belongs, and
// opens the account that it needs.
func (a *app) showMisplaced(ctx context.Context, book *engine.Engine, y engine.ClosedYear, currency ledger.Currency) error {
	var m resultMove
	err := book.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		m, err = misplacedResult(ctx, tx, book, y, currency)
		return err
	})
	if err != nil || m.amount <= 0 {
		return err
	}
	for _, account := range []ledger.Account{m.profit, m.loss} {
		if _, err := book.OpenAccount(ctx, account); err != nil {
			return fmt.Errorf("open account %s: %w", account.Code, err)
		}
	}
	_, err = fmt.Fprintf(a.out, "the year was closed before with another result; move %s %s from %s to %s:\n"+
		"  tweetledger post --key %s --label \"Result of %d\" --currency %s --line %s,%s,%s\n",
		m.amount.Format(currency), currency, m.profit.Code, m.loss.Code,
		m.key, y.Year, currency, m.loss.Code, m.profit.Code, m.amount.Format(currency))
	return err
}
