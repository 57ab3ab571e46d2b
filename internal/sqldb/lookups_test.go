package sqldb_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// A book that was sealed before lists had anything to find pages by gets it for what
// is sealed, and roll-ups by the day of recording.
func TestSealedBookGetsItsLookups(t *testing.T) {
	const before = 17 // the version without them
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		now := time.Date(2026, 11, 22, 22, 0, 0, 0, time.UTC)
		e := engine.New(db, engine.Options{Clock: func() time.Time { return now }})
		t.Cleanup(e.Close)
		var ids [2]uuid.UUID
		for i, code := range []string{"a", "b"} {
			account, err := e.OpenAccount(ctx, ledger.Account{ID: ledger.IDOfKey(code), Code: code, Name: code, Category: "suspense", Side: ledger.Debit, Currency: ledger.EUR, Shards: 1})
			if err != nil {
				t.Fatal(err)
			}
			ids[i] = account.ID
		}
		post := func(key string, metadata map[string]string) {
			t.Helper()
			now = now.Add(time.Hour)
			_, err := e.Post(ctx, ledger.PostRequest{Key: key, Journal: ledger.JournalMisc, Label: "Old", EffectiveDate: ledger.Date{Year: 2026, Month: 11, Day: 20},
				Source: ledger.Source{Channel: "bank", ID: key}, Metadata: metadata,
				Postings: []ledger.Posting{{Debit: ids[0], Credit: ids[1], Amount: 5, Currency: ledger.EUR}, {Debit: ids[0], Credit: ids[1], Amount: 7, Currency: ledger.EUR}}})
			if err != nil {
				t.Fatal(err)
			}
		}
		post("one", map[string]string{"colour": strings.Repeat("é", 120), "empty": "", "quote": `"a\`})
		post("two", nil)
		post("three", map[string]string{"colour": "bleu"}) // on the next day
		lease, got, err := e.AcquireLease(ctx, engine.SealerLease, "test", time.Hour)
		if err != nil || !got {
			t.Fatalf("no lease: %v", err)
		}
		if sealed, err := e.Seal(ctx, lease); err != nil || sealed.Transactions != 3 {
			t.Fatalf("sealed %+v, %v", sealed, err)
		}
		post("waiting", map[string]string{"colour": "vert"})
		want := engine.Report{Transactions: 4, Postings: 8, Accounts: 2}
		verify(t, e, want)
		if err := db.MigrateDownTo(ctx, before); err != nil {
			t.Fatal(err)
		}
		migrateUp(t, db)
		verify(t, e, want)
		err = db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			list, err := engine.ListTransactions(ctx, tx, engine.TransactionFilter{MetadataKey: "colour", Limit: 10})
			if err == nil && len(list) != 3 {
				t.Errorf("%d transactions have a colour, want 3", len(list))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
