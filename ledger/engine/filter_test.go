package engine_test

import (
	"context"
	"testing"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// A source's id selects transactions without its channel too, by whichever of
// their postings the rest of the filter finds them.
func TestFilterBySourceAndMetadata(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		r := w.transfer(w.cash, w.payee, 10)
		r.Source = ledger.Source{Channel: "bank", ID: "17"}
		r.Metadata = map[string]string{"a.b-c": "v", "a": "w"}
		r.Postings = append(r.Postings, ledger.Posting{Debit: w.bank.ID, Credit: w.marie.ID, Amount: 5, Currency: ledger.EUR})
		w.mustPost(r)
		w.mustPost(w.transfer(w.cash, w.marie, 1))
		list := func(f engine.TransactionFilter) (n int, err error) {
			f.Limit = 10
			err = db.Read(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
				list, err := engine.ListTransactions(ctx, tx, f)
				n = len(list)
				return err
			})
			return n, err
		}
		for name, f := range map[string]engine.TransactionFilter{
			"id":                          {Source: ledger.Source{ID: "17"}},
			"id and account":              {Source: ledger.Source{ID: "17"}, AccountID: w.marie.ID},
			"id and amount":               {Source: ledger.Source{ID: "17"}, MaxAmount: 5},
			"channel, id and account":     {Source: ledger.Source{Channel: "bank", ID: "17"}, AccountID: w.marie.ID},
			"metadata":                    {MetadataKey: "a.b-c"},
			"metadata, value and account": {MetadataKey: "a.b-c", MetadataValue: "v", AccountID: w.marie.ID},
		} {
			if n, err := list(f); n != 1 || err != nil {
				t.Errorf("by %s: %d transactions, %v; want 1", name, n, err)
			}
		}
		for _, key := range []string{"$.a", "$", "$x", "[0]", `"`, "a'"} {
			_, err := list(engine.TransactionFilter{MetadataKey: key})
			w.refused("metadata key "+key, err, ledger.CodeInvalid, "metadata_key")
		}
	})
}

// Every day from the first to the last that can be posted to has pages of its own,
// and what is asked as of a day before or after them is answered as of all time.
func TestFirstAndLastDays(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		days := []ledger.Date{ledger.MinEffectiveDate, date(2014, 10, 14), date(2192, 4, 10), date(2192, 4, 11), date(2192, 4, 12), ledger.MaxEffectiveDate}
		for _, d := range days {
			if made := w.mustPost(w.on(d)); made.EffectiveDate != d {
				t.Errorf("posted on %s, asked for %s", made.EffectiveDate, d)
			}
		}
		for _, sealed := range []bool{false, true} {
			for d, want := range map[ledger.Date]ledger.Amount{date(1, 1, 1): 0, date(1899, 12, 31): 0, ledger.MinEffectiveDate: 100,
				date(2192, 4, 11): 400, date(2199, 12, 30): 500, ledger.MaxEffectiveDate: 600, date(9999, 12, 31): 600} {
				for _, recorded := range []time.Time{{}, w.Now().Add(time.Hour)} {
					if got := w.balanceAsOf(w.payee, engine.AsOf{EffectiveDate: d, RecordedAt: recorded}).Posted(); got != want {
						t.Errorf("as of %s (sealed %t): %d, want %d", d, sealed, got, want)
					}
				}
			}
			w.sealAll()
		}
		w.verify()
	})
}
