package engine_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// sealAll seals what there is, round by round.
func (w *world) sealAll() int64 {
	w.t.Helper()
	lease, got, err := w.AcquireLease(w.ctx, engine.SealerLease, "test", time.Minute)
	if err != nil || !got {
		w.t.Fatalf("acquire the sealer's lease: %v, %v", got, err)
	}
	total := int64(0)
	for {
		sealed, err := w.Seal(w.ctx, lease)
		if err != nil {
			w.t.Fatal(err)
		}
		total += sealed.Transactions
		if !sealed.More {
			return total
		}
	}
}

func TestSealNumbersWithoutGaps(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		fund := w.transfer(w.cash, w.marie, 100_000)
		fund.Journal = ledger.JournalCards
		w.mustPost(fund)
		var requests []ledger.Request
		for i := range 50 {
			r := w.transfer(w.marie, w.payee, ledger.Amount(i+1))
			r.EffectiveDate = w.Today().AddDays(-(i % 3) * 200) // two fiscal years
			requests = append(requests, r)
		}
		if _, err := w.Submit(w.ctx, requests); err != nil {
			t.Fatal(err)
		}
		before := w.balanceAsOf(w.payee, engine.AsOf{EffectiveDate: w.Today()})
		if n := w.sealAll(); n != 51 {
			t.Errorf("%d transactions were sealed, want 51", n)
		}
		if after := w.balanceAsOf(w.payee, engine.AsOf{EffectiveDate: w.Today()}); after != before {
			t.Errorf("balance by roll-ups is %+v, want %+v as before sealing", after, before)
		}
		seen := map[string]bool{}
		counts := map[string]int64{}
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			list, err := engine.ListTransactions(ctx, tx, engine.TransactionFilter{Limit: 100})
			for _, made := range list {
				chain := fmt.Sprint(made.Journal, made.FiscalYear)
				counts[chain]++
				seen[fmt.Sprint(chain, ":", made.Number)] = true
				if want := made.EffectiveDate.Year; made.FiscalYear != want {
					t.Errorf("a transaction of %s is in fiscal year %d, want %d", made.EffectiveDate, made.FiscalYear, want)
				}
				found, err := engine.FindByNumber(ctx, tx, made.Journal, made.FiscalYear, made.Number)
				if err != nil || found.ID != made.ID {
					t.Errorf("entry %d of %s is %s (%v), want %s", made.Number, chain, found.ID, err, made.ID)
				}
			}
			return err
		})
		for chain, n := range counts {
			for i := range n {
				if !seen[fmt.Sprint(chain, ":", i+1)] {
					t.Errorf("there is no entry %d of %d in %s", i+1, n, chain)
				}
			}
		}
		if len(counts) != 3 {
			t.Errorf("there are %d chains, want 3: %v", len(counts), counts)
		}
		w.mustPost(w.transfer(w.marie, w.payee, 7))
		if after := w.balanceAsOf(w.payee, engine.AsOf{}); after.Posted() != before.Posted()+7 {
			t.Errorf("balance with an unsealed posting is %d, want %d", after.Posted(), before.Posted()+7)
		}
		if n := w.sealAll(); n != 1 {
			t.Errorf("%d transactions were sealed, want 1", n)
		}
		w.verify()
	})
}

func (w *world) balanceAsOf(a ledger.Account, at engine.AsOf) (b ledger.Balance) {
	w.t.Helper()
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		b, err = engine.BalanceAsOf(ctx, tx, a.ID, at)
		return err
	})
	return b
}

func TestSealerThatLostItsLeaseWritesNothing(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.mustPost(w.transfer(w.cash, w.marie, 100))
		lost, got, err := w.AcquireLease(w.ctx, engine.SealerLease, "first", time.Minute)
		if err != nil || !got || lost.Token != 1 {
			t.Fatalf("first lease: %+v, %v, %v", lost, got, err)
		}
		if other, got, err := w.AcquireLease(w.ctx, engine.SealerLease, "second", time.Minute); err != nil || got || other.Holder != "first" {
			t.Fatalf("lease that another holds: %+v, %v, %v", other, got, err)
		}
		w.clock.Advance(2 * time.Minute)
		now, got, err := w.AcquireLease(w.ctx, engine.SealerLease, "second", time.Minute)
		if err != nil || !got || now.Token != 2 {
			t.Fatalf("lease that expired: %+v, %v, %v", now, got, err)
		}
		if _, err := w.Seal(w.ctx, lost); ledger.CodeOf(err) != ledger.CodeConflict {
			t.Errorf("seal with a lost lease: %v, want conflict", err)
		}
		sealed, err := w.Seal(w.ctx, now)
		if err != nil || sealed.Transactions != 1 {
			t.Errorf("seal with the lease: %+v, %v", sealed, err)
		}
	})
}

// Engines whose clocks stand at the same instant give out the same page ids; each
// goes on until it finds one that is free, inside its caller's transaction too.
func TestPagesOfTheSameInstant(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.mustPost(w.transfer(w.cash, w.marie, 1000))
		const engines = 4
		var done sync.WaitGroup
		for n := range engines {
			other := engine.New(db, engine.Options{Clock: w.clock.Now})
			t.Cleanup(other.Close)
			done.Go(func() {
				for i := range 5 {
					r := ledger.PostRequest{Key: fmt.Sprintf("instant:%d:%d", n, i), Journal: ledger.JournalTransfers, Label: "At the same instant",
						Postings: []ledger.Posting{{Debit: w.cash.ID, Credit: w.bank.ID, Amount: 1, Currency: ledger.EUR}}}
					err := db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
						_, err := other.PostTx(ctx, tx, r)
						return err
					})
					if err != nil {
						t.Errorf("engine %d: %v", n, err)
					}
				}
			})
		}
		done.Wait()
		w.wantBalance(w.bank, -engines*5, -engines*5)
		w.verify()
	})
}
