package reports_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/reports"
)

func trialBalance(t *testing.T, db *sqldb.DB, p reports.TrialBalanceParams) (reports.Table, error) {
	t.Helper()
	p.GeneratedAt = generated
	return read(t, db, func(ctx context.Context, tx *sqldb.Tx) (reports.Table, error) {
		return reports.TrialBalance(ctx, tx, p)
	})
}

func TestTrialBalanceNamesWhatTheChartMisses(t *testing.T) {
	db := sqltest.SQLite(t)
	e := newEngine(t, db)
	smallBook(t, e)
	fund := ledger.Account{ID: account("fund"), Code: "fund", Name: "A fund", Category: "new_fund", Side: ledger.Credit, Currency: ledger.EUR, Shards: 1}
	if _, err := e.OpenAccount(t.Context(), fund); err != nil {
		t.Fatal(err)
	}
	post(t, e, "fund:1", "OD", "Fund", day(2026, 1, 9), ledger.Source{}, move{"cards-to-settle", "fund", 1})
	table, err := trialBalance(t, db, reports.TrialBalanceParams{Period: january(), Detailed: true})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(table.Notes, "\n"), "(new_fund) has no number in the chart of accounts on 2026-01-31.") {
		t.Errorf("the notes do not name the category: %q", table.Notes)
	}
	last := table.Rows[len(table.Rows)-2].Cells // before the total
	if last[0] != nil || last[1] != "(new_fund)" || last[2] != "fund" {
		t.Errorf("the account without a number is not last: %v", last)
	}
}

func TestTrialBalanceTotalsBeyondOneAccount(t *testing.T) {
	db := sqltest.SQLite(t)
	e := newEngine(t, db)
	openBook(t, e)
	// Each account holds what fits; all together do not.
	post(t, e, "huge:1", "OD", "Huge", day(2026, 1, 1), ledger.Source{}, move{"cards-to-settle", "commissions", math.MaxInt64})
	post(t, e, "huge:2", "OD", "Huge", day(2026, 1, 1), ledger.Source{}, move{"safeguarding-account", "payouts-in-transit", math.MaxInt64})
	_, err := trialBalance(t, db, reports.TrialBalanceParams{})
	if ledger.CodeOf(err) != ledger.CodeOverflow || !strings.Contains(err.Error(), "18446744073709551614") {
		t.Errorf("got %v", err)
	}
}

func TestReportsRefuseAPeriodThatEndsBeforeItBegins(t *testing.T) {
	db := sqltest.SQLite(t)
	wrong := reports.Period{From: day(2026, 2, 1), To: day(2026, 1, 31)}
	for name, report := range map[string]func(ctx context.Context, tx *sqldb.Tx) (reports.Table, error){
		"trial balance": func(ctx context.Context, tx *sqldb.Tx) (reports.Table, error) {
			return reports.TrialBalance(ctx, tx, reports.TrialBalanceParams{Period: wrong})
		},
		"journal": func(ctx context.Context, tx *sqldb.Tx) (reports.Table, error) {
			return reports.Journal(ctx, tx, reports.JournalParams{Period: wrong})
		},
		"account statement": func(ctx context.Context, tx *sqldb.Tx) (reports.Table, error) {
			return reports.AccountStatement(ctx, tx, reports.AccountStatementParams{Period: wrong, Account: "commissions"})
		},
	} {
		if _, err := read(t, db, report); ledger.CodeOf(err) != ledger.CodeInvalid {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestTrialBalanceAlwaysTies posts at random and compares the trial balance of a
// random period with sums made by hand.
func TestTrialBalanceAlwaysTies(t *testing.T) {
	db := sqltest.SQLite(t)
	e := newEngine(t, db)
	openBook(t, e)
	codes := []string{"cards-to-settle", "safeguarding-account", "card-fees", "commissions", "payouts-in-transit", "payable:croix-rouge"}
	type posted struct {
		on ledger.Date
		move
	}
	var all []posted
	serial := 0
	rapid.Check(t, func(rt *rapid.T) {
		date := rapid.Custom(func(t *rapid.T) ledger.Date { return day(2026, 1, 1).AddDays(rapid.IntRange(0, 60).Draw(t, "day")) })
		for range rapid.IntRange(1, 3).Draw(rt, "transactions") {
			on := date.Draw(rt, "date")
			var moves []move
			for range rapid.IntRange(1, 4).Draw(rt, "postings") {
				pair := rapid.Permutation(codes).Draw(rt, "accounts")
				m := move{pair[0], pair[1], ledger.Amount(rapid.Int64Range(1, 1_000_000_000).Draw(rt, "amount"))}
				moves = append(moves, m)
				all = append(all, posted{on, m})
			}
			serial++
			post(t, e, fmt.Sprintf("random:%d", serial), "OD", "Random", on, ledger.Source{}, moves...)
		}
		from, to := date.Draw(rt, "from"), date.Draw(rt, "to")
		if to.Before(from) {
			from, to = to, from
		}
		table, err := trialBalance(t, db, reports.TrialBalanceParams{Period: reports.Period{From: from, To: to}, Detailed: true})
		if err != nil {
			rt.Fatal(err)
		}
		if fact(t, table, "ties") != true {
			rt.Fatalf("the book does not tie: %q", table.Notes)
		}
		debits, closing := map[string]ledger.Amount{}, map[string]ledger.Amount{}
		for _, p := range all {
			if to.Before(p.on) {
				continue
			}
			closing[p.debit] += p.amount
			closing[p.credit] -= p.amount
			if !p.on.Before(from) {
				debits[p.debit] += p.amount
			}
		}
		for _, row := range table.Rows {
			amount := func(i int) ledger.Amount {
				cash, _ := row.Cells[i].(reports.Cash)
				return cash.Amount
			}
			if row.Total {
				for i := 3; i < 9; i += 2 {
					if amount(i) != amount(i+1) {
						rt.Fatalf("totals %s do not tie: %v", table.Columns[i].Name, row.Cells)
					}
				}
				continue
			}
			code := row.Cells[2].(string)
			if amount(5) != debits[code] || amount(7)-amount(8) != closing[code] {
				rt.Fatalf("%s: got %v, want debits %d and balance %d", code, row.Cells, debits[code], closing[code])
			}
			delete(closing, code)
		}
		for code, left := range closing {
			if left != 0 {
				rt.Fatalf("%s with balance %d is not on the trial balance", code, left)
			}
		}
	})
}
