package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tweetledger/ledger/ledgerbench"
)

// benchApp is the program with a book in a folder of its own.
func benchApp(t *testing.T) (a *app, out *bytes.Buffer, folder string) {
	t.Helper()
	out, folder = &bytes.Buffer{}, t.TempDir()
	return &app{environment: environment{out: out, err: out, getenv: func(string) string { return "" }},
		dbURL: "sqlite:" + filepath.Join(folder, "book.db")}, out, folder
}

// Of a book that does not verify no figures are printed; the book stays, to be
// looked at. Every other book of a benchmark goes.
func TestBenchKeepsWhatDoesNotVerify(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		code int
		kept bool
	}{
		{"verifies", nil, exitOK, false},
		{"differences", &ledgerbench.DifferencesError{First: "account a: debits posted is 1, but must be 2", Count: 7}, exitBreaks, true},
		{"failure", errors.New("the disk is full"), exitFailed, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, out, folder := benchApp(t)
			err := a.bench(t.Context(), ledgerbench.Options{}, false, func(context.Context, ledgerbench.Options) (ledgerbench.Result, error) {
				return ledgerbench.Result{Figures: []ledgerbench.Figures{{Workload: ledgerbench.Uniform}}}, test.err
			})
			code := exitOK
			if quiet, ok := errors.AsType[*exitError](err); ok {
				code = quiet.code
				if !strings.Contains(quiet.message, "the first of 7 differences: account a: debits posted is 1, but must be 2; the book is kept at sqlite:"+folder) {
					t.Errorf("the error is %q", quiet.message)
				}
			} else if err != nil {
				code = exitFailed
			}
			if code != test.code || (test.err == nil) != strings.Contains(out.String(), "uniform") {
				t.Errorf("exit code %d, want %d, with the output\n%s", code, test.code, out)
			}
			left, err := filepath.Glob(filepath.Join(folder, "tweetledger-bench-*", "bench.db"))
			if err != nil || (len(left) == 1) != test.kept {
				t.Errorf("left behind: %v (%v)", left, err)
			}
			if _, err := os.Stat(filepath.Join(folder, "book.db")); !os.IsNotExist(err) {
				t.Errorf("the book itself was made: %v", err)
			}
		})
	}
}

func TestBenchTable(t *testing.T) {
	ms := time.Millisecond
	var out bytes.Buffer
	printBench(&out, ledgerbench.Result{
		Version: "SQLite 3.50.0", CPUs: 2, Accounts: 10_000, Time: 5 * time.Second,
		Durability: ledgerbench.Durability{Settings: []ledgerbench.Setting{{Name: "synchronous", Value: "off"}},
			Warning: "figures without fsync are not durable: synchronous is off"},
		Figures: []ledgerbench.Figures{
			{Workload: ledgerbench.Uniform, Method: ledgerbench.Engine, Callers: 256, Bulk: 1, PerSecond: 12_345, P50: 20 * ms, P99: 45*ms + 4*time.Microsecond,
				P999: 1234 * ms, Retries: 3, MeanBatch: 17_890, TimesNaive: 592, OfFloor: 9},
			{Workload: ledgerbench.Uniform, Method: ledgerbench.Naive, Callers: 256, Bulk: 1, PerSecond: 2085, P50: 83 * ms, P99: 402 * ms, P999: 434 * ms, Retries: 5, GivenUp: 2},
			{Workload: ledgerbench.Uniform, Method: ledgerbench.Engine, Arrivals: 6172, Behind: true, Bulk: 1, PerSecond: 900, P50: 9 * ms, P99: 10 * ms, P999: 11 * ms, MeanBatch: 100},
			{Workload: ledgerbench.Hot1, Method: ledgerbench.Floor, Callers: 1, Bulk: 2000, PerSecond: 100, P50: ms, P99: ms, P999: ms},
		},
		History: []ledgerbench.Costs{
			{Postings: 100_000, Wanted: 100_000, Queries: []ledgerbench.QueryCost{{Query: "balance, quiet account", P50: ms / 5, P99: ms}},
				Post: ledgerbench.Figures{Callers: 256, P50: 20 * ms, P99: 40 * ms, PerSecond: 10_000}},
			{Postings: 900_000, Wanted: 1_000_000, Queries: []ledgerbench.QueryCost{{Query: "balance, quiet account", P50: ms / 4, P99: 2 * ms}},
				Post: ledgerbench.Figures{Callers: 256, P50: 22 * ms, P99: 44 * ms, PerSecond: 9000}},
		},
		Verified: ledgerbench.Verified{Transactions: 1_234_567, Postings: 1_234_567},
	})
	want, err := os.ReadFile(filepath.Join("testdata", "bench_table.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("the table is\n%s\nwant\n%s", out.String(), want)
	}
}
