package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

// The benchmarks of SQLite write a file with every commit on the disk, as the
// service does. Those of the servers that sqltest starts do not: it turns their
// fsync off, so they tell what the ledger costs, not what the disk does.

// benchmarkWallets is how many customers pay each other.
const benchmarkWallets = 1000

func eachBenchmark(b *testing.B, fn func(b *testing.B, w *world, wallets []ledger.Account)) {
	for _, engine := range sqltest.Engines(b) {
		b.Run(string(engine), func(b *testing.B) {
			w := newWorld(b, sqltest.New(b, engine))
			fn(b, w, w.fundWallets(benchmarkWallets))
		})
	}
}

// fundWallets opens wallets without a ceiling, each with a million.
func (w *world) fundWallets(n int) []ledger.Account {
	w.t.Helper()
	wallets := make([]ledger.Account, n)
	requests := make([]ledger.Request, n)
	zero := ledger.Amount(0)
	err := w.db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		for i := range wallets {
			code := fmt.Sprintf("wallet:%d", i)
			a, err := w.OpenAccountTx(ctx, tx, ledger.Account{ID: ledger.SystemAccountID(code), Code: code, Name: "Wallet",
				Category: ledger.CustomerEMoney, Side: ledger.Credit, Currency: ledger.EUR, Min: &zero, Shards: 1})
			if err != nil {
				return err
			}
			wallets[i] = a
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for i, a := range wallets {
		requests[i] = w.transfer(w.cash, a, 100_000_000)
	}
	outcomes, err := w.Submit(w.ctx, requests)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, out := range outcomes {
		if out.Err != nil {
			w.t.Fatal(out.Err)
		}
	}
	return wallets
}

// between is a transfer of one cent between two of the accounts.
func (w *world) between(accounts []ledger.Account) ledger.PostRequest {
	i, j := rand.IntN(len(accounts)), rand.IntN(len(accounts)-1)
	if j >= i {
		j++
	}
	return w.transfer(accounts[i], accounts[j], 1)
}

func (w *world) toHot(accounts []ledger.Account) ledger.PostRequest {
	return w.transfer(accounts[rand.IntN(len(accounts))], w.bank, 1)
}

func reportRate(b *testing.B, transfers int) {
	b.ReportMetric(float64(transfers)/b.Elapsed().Seconds(), "transfers/s")
}

func BenchmarkPost(b *testing.B) {
	eachBenchmark(b, func(b *testing.B, w *world, wallets []ledger.Account) {
		b.Run("caller=1", func(b *testing.B) {
			for b.Loop() {
				if _, err := w.Post(w.ctx, w.between(wallets)); err != nil {
					b.Fatal(err)
				}
			}
			reportRate(b, b.N)
		})
		for _, c := range []struct {
			name string
			make func([]ledger.Account) ledger.PostRequest
		}{{"uniform", w.between}, {"hot", w.toHot}} {
			b.Run("callers=256/"+c.name, func(b *testing.B) {
				b.SetParallelism(256 / runtime.GOMAXPROCS(0))
				var failed atomic.Int64
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := w.Post(w.ctx, c.make(wallets)); err != nil {
							failed.Add(1)
							b.Log(err)
							return
						}
					}
				})
				reportRate(b, b.N)
				if failed.Load() > 0 {
					b.Fail()
				}
			})
		}
	})
}

func BenchmarkSubmit(b *testing.B) {
	eachBenchmark(b, func(b *testing.B, w *world, wallets []ledger.Account) {
		for _, n := range []int{500, 8000} {
			b.Run(fmt.Sprintf("requests=%d", n), func(b *testing.B) {
				requests := make([]ledger.Request, n)
				for b.Loop() {
					for i := range requests {
						requests[i] = w.between(wallets)
					}
					outcomes, err := w.Submit(w.ctx, requests)
					if err != nil {
						b.Fatal(err)
					}
					for _, out := range outcomes {
						if out.Err != nil {
							b.Fatal(out.Err)
						}
					}
				}
				reportRate(b, n*b.N)
			})
		}
	})
}
