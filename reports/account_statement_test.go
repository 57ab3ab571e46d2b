package reports_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/reports"
)

func accountStatement(t *testing.T, db *sqldb.DB, p reports.AccountStatementParams) (reports.Table, error) {
	t.Helper()
	p.GeneratedAt = generated
	return read(t, db, func(ctx context.Context, tx *sqldb.Tx) (reports.Table, error) {
		return reports.AccountStatement(ctx, tx, p)
	})
}

func TestAccountStatementPagesMakeTheWhole(t *testing.T) {
	db := sqltest.SQLite(t)
	smallBook(t, newEngine(t, db))
	p := reports.AccountStatementParams{Account: "payable:croix-rouge", Period: january()}
	whole, err := accountStatement(t, db, p)
	if err != nil {
		t.Fatal(err)
	}
	p.MaxLines = 1 // the payout has two lines, which stay together
	var lines [][]any
	for forward := any(eur(0)); ; {
		page, err := accountStatement(t, db, p)
		if err != nil {
			t.Fatal(err)
		}
		if got := page.Rows[0].Cells[11]; got != forward {
			t.Errorf("a page begins with %v, the one before ended with %v", got, forward)
		}
		for _, row := range page.Rows[1 : len(page.Rows)-1] {
			lines = append(lines, row.Cells)
		}
		forward = page.Rows[len(page.Rows)-1].Cells[11]
		last := page.Facts[len(page.Facts)-1]
		if last.Name != "next_after" {
			if forward != fact(t, whole, "closing_balance") {
				t.Errorf("the last page ends with %v", forward)
			}
			break
		}
		p.After = uuid.MustParse(last.Value.(string))
	}
	if len(lines) != len(whole.Rows)-2 {
		t.Fatalf("the pages have %d lines, the whole has %d", len(lines), len(whole.Rows)-2)
	}
	for i, cells := range lines {
		if !slices.Equal(cells, whole.Rows[i+1].Cells) {
			t.Errorf("line %d is %v, want %v", i, cells, whole.Rows[i+1].Cells)
		}
	}
}

func TestAccountStatementRefuses(t *testing.T) {
	db := sqltest.SQLite(t)
	smallBook(t, newEngine(t, db))
	for _, tc := range []struct {
		params reports.AccountStatementParams
		want   ledger.Code
	}{
		{reports.AccountStatementParams{Account: "nobody"}, ledger.CodeNotFound},
		{reports.AccountStatementParams{Account: "commissions", After: uuid.New()}, ledger.CodeNotFound},
		{reports.AccountStatementParams{Account: "commissions", MaxLines: -1}, ledger.CodeInvalid},
	} {
		if _, err := accountStatement(t, db, tc.params); ledger.CodeOf(err) != tc.want {
			t.Errorf("%+v: got %v, want %s", tc.params, err, tc.want)
		}
	}
}

func TestAccountStatementFindsATamperedBook(t *testing.T) {
	// of the commission of the payout
	for name, tc := range map[string]struct{ tamper, want string }{
		"posting moved to another month": {`UPDATE postings SET page_id = (SELECT page_id FROM transactions WHERE effective_date = '2026-02-03'), line = 1 WHERE amount = 60`,
			"has no posting 1; run verify"},
		"posting left out by its header": {`UPDATE postings SET postings = 1
			WHERE ordinal = 0 AND page_id = (SELECT page_id FROM postings WHERE amount = 60)`,
			"the lines lead from 0.00 to 0.60, but the ledger's balance is 0.00 EUR"},
	} {
		t.Run(name, func(t *testing.T) {
			db := sqltest.SQLite(t)
			smallBook(t, newEngine(t, db))
			p := reports.AccountStatementParams{Account: "payable:croix-rouge", Period: january()}
			if _, err := accountStatement(t, db, p); err != nil {
				t.Fatal(err)
			}
			err := db.Write(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				if _, err := tx.Exec(ctx, "DROP TRIGGER postings_no_update"); err != nil {
					return err
				}
				n, err := tx.Exec(ctx, tc.tamper)
				if err == nil && n != 1 {
					err = fmt.Errorf("%d rows were changed", n)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := accountStatement(t, db, p); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v; want one with %q", err, tc.want)
			}
		})
	}
}
