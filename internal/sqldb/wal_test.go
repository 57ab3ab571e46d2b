package sqldb_test

import (
	"context"
	"testing"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
)

// What waits in SQLite's log is carried over beside the writer, and after the
// writer's next commit nothing of it waits any more.
func TestLogIsCarriedOver(t *testing.T) {
	db := sqltest.SQLite(t)
	const pages = 1000
	db.StopCarrier(pages)
	fill := func(rows int) {
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
				INSERT INTO chart_entries (category, valid_from, number, label) SELECT hex(randomblob(2000)), '2020-01-01', '411', 'x' FROM n`, rows)
			return err
		})
	}
	if _, err := db.Pool().Exec("DROP TABLE chart_entries; CREATE TABLE chart_entries (category TEXT, valid_from TEXT, number TEXT, label TEXT)"); err != nil {
		t.Fatal(err)
	}
	waiting := func() int64 {
		t.Helper()
		n, err := db.WaitingPages(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	fill(pages / 2)
	before := waiting()
	db.Carry(t.Context())
	if after := waiting(); before < 100 || after != before {
		t.Errorf("of %d pages %d wait; want that few pages are left alone", before, after)
	}
	fill(pages)
	before = waiting()
	db.Carry(t.Context())
	if after := waiting(); before < pages || after != 0 {
		t.Errorf("of %d pages %d wait after carrying over; want at least %d, and 0", before, after, pages)
	}
	fill(10) // some more pages, and the writer carries them over
	if after := waiting(); after != 0 {
		t.Errorf("%d pages wait after the writer's next commit; want 0", after)
	}
	fill(10)
	if all, err := db.LogPages(t.Context()); err != nil || all > 100 {
		t.Errorf("the log has %d pages (%v); want that it began anew", all, err)
	}
}
