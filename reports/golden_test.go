package reports_test

import (
	"context"
	"testing"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/reports"
)

func january() reports.Period {
	return reports.Period{From: day(2026, 1, 1), To: day(2026, 1, 31), GeneratedAt: generated}
}

// TestGolden holds the reports that read the ledger alone to the files in
// testdata, in every format: one book an engine, since a schema takes long to make
// on some.
func TestGolden(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		late := smallBook(t, newEngine(t, db))
		known := january()
		known.RecordedAt = late.RecordedAt.Add(-1)
		check := func(name string, table reports.Table, err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			golden(t, name, table)
		}
		for name, p := range map[string]reports.TrialBalanceParams{
			"trial_balance_all":          {},
			"trial_balance_as_of":        {Period: reports.Period{To: day(2026, 1, 10)}},
			"trial_balance_period":       {Period: january()},
			"trial_balance_detailed":     {Period: january(), Detailed: true},
			"trial_balance_before_later": {Period: known},
			"trial_balance_empty":        {Period: reports.Period{To: day(2020, 1, 1)}},
		} {
			table, err := trialBalance(t, db, p)
			check(name, table, err)
		}
		for name, p := range map[string]reports.JournalParams{
			"journal_period": {Period: january()},
			"journal_vir":    {Period: january(), Journal: "VIR"},
			"journal_page":   {MaxLines: 6},
			"journal_empty":  {Journal: "ZZZ"},
		} {
			table, err := journal(t, db, p)
			check(name, table, err)
		}
		for name, p := range map[string]reports.AccountStatementParams{
			"account_statement_wallet": {Account: "wallet:c-000001", Period: january()},
			"account_statement_bank":   {Account: "safeguarding-account"},
			"account_statement_page":   {Account: "payable:croix-rouge", MaxLines: 2},
			"account_statement_empty":  {Account: "commissions", Period: reports.Period{To: day(2026, 1, 1)}},
		} {
			table, err := accountStatement(t, db, p)
			check(name, table, err)
		}
		table, err := read(t, db, func(ctx context.Context, tx *sqldb.Tx) (reports.Table, error) {
			return reports.Safeguarding(ctx, tx, reports.SafeguardingParams{From: day(2025, 12, 30), To: day(2026, 1, 3), Currency: ledger.EUR, GeneratedAt: generated})
		})
		check("safeguarding", table, err)
		for name, key := range map[string]string{
			"transaction_reversed": "twitter:101",
			"transaction_reversal": "reverse:101",
			"transaction_compound": "payout:1",
			"transaction_unsealed": "card:2",
		} {
			table, err := read(t, db, func(ctx context.Context, tx *sqldb.Tx) (reports.Table, error) {
				return reports.Transaction(ctx, tx, ledger.IDOfKey(key), generated)
			})
			settle(t, &table)
			check(name, table, err)
		}
	})
}

// settle gives what depends on how often an engine had to begin again, and so to
// read the clock, the same value on all.
func settle(t *testing.T, table *reports.Table) {
	t.Helper()
	for i, f := range table.Facts {
		switch at, isInstant := f.Value.(time.Time); {
		case f.Name == "recorded_at" && isInstant && at.Before(generated) && generated.AddDate(0, -1, 0).Before(at):
			table.Facts[i].Value = generated
		case f.Name == "page" && f.Value != "0":
			table.Facts[i].Value = "1"
		case f.Name == "recorded_at" || f.Name == "page":
			t.Errorf("%s is %v", f.Name, f.Value)
		}
	}
}

func TestTransactionThatIsNotThere(t *testing.T) {
	_, err := read(t, sqltest.SQLite(t), func(ctx context.Context, tx *sqldb.Tx) (reports.Table, error) {
		return reports.Transaction(ctx, tx, ledger.IDOfKey("nothing"), generated)
	})
	if ledger.CodeOf(err) != ledger.CodeNotFound {
		t.Errorf("got %v, want %s", err, ledger.CodeNotFound)
	}
}
