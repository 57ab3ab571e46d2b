package reports_test

import (
	"context"
	"slices"
	"testing"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/reports"
)

func journal(t *testing.T, db *sqldb.DB, p reports.JournalParams) (reports.Table, error) {
	t.Helper()
	p.GeneratedAt = generated
	return read(t, db, func(ctx context.Context, tx *sqldb.Tx) (reports.Table, error) {
		return reports.Journal(ctx, tx, p)
	})
}

func TestJournalPagesMakeTheWhole(t *testing.T) {
	db := sqltest.SQLite(t)
	smallBook(t, newEngine(t, db))
	whole, err := journal(t, db, reports.JournalParams{})
	if err != nil {
		t.Fatal(err)
	}
	for size := 2; size < 10; size++ {
		var lines []reports.Row
		p := reports.JournalParams{MaxLines: size}
		for pages := 0; ; pages++ {
			if pages > len(whole.Rows) {
				t.Fatal("the pages do not end")
			}
			page, err := journal(t, db, p)
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range page.Rows {
				if !row.Total {
					lines = append(lines, row)
				}
			}
			last := page.Facts[len(page.Facts)-1]
			if last.Name != "next_after" {
				break
			}
			p.After = uuid.MustParse(last.Value.(string))
		}
		if len(lines) != len(whole.Rows)-1 {
			t.Fatalf("pages of %d have %d lines, the whole has %d", size, len(lines), len(whole.Rows)-1)
		}
		for i, line := range lines {
			if !slices.Equal(line.Cells, whole.Rows[i].Cells) {
				t.Errorf("pages of %d: line %d is %v, want %v", size, i, line.Cells, whole.Rows[i].Cells)
			}
		}
	}
}

func TestJournalRefuses(t *testing.T) {
	db := sqltest.SQLite(t)
	for _, tc := range []struct {
		params reports.JournalParams
		want   ledger.Code
	}{
		{reports.JournalParams{MaxLines: 1}, ledger.CodeInvalid},
		{reports.JournalParams{MaxLines: reports.MaxJournalLines + 1}, ledger.CodeInvalid},
		{reports.JournalParams{After: uuid.New()}, ledger.CodeNotFound},
	} {
		if _, err := journal(t, db, tc.params); ledger.CodeOf(err) != tc.want {
			t.Errorf("%+v: got %v, want %s", tc.params, err, tc.want)
		}
	}
}
