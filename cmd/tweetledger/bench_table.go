package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"tweetledger/ledger/ledgerbench"
)

// printBench prints what a run came to, for people.
func printBench(w io.Writer, r ledgerbench.Result) {
	fmt.Fprintf(w, "%s, %d CPUs, %s accounts, %s a case\n", r.Version, r.CPUs, thousands(int64(r.Accounts)), r.Time)
	for _, s := range r.Durability.Settings {
		fmt.Fprintf(w, "%s = %s\n", s.Name, s.Value)
	}
	if r.Durability.Warning != "" {
		fmt.Fprintln(w, "WARNING:", r.Durability.Warning)
	}
	workload := ledgerbench.Workload("")
	for _, f := range r.Figures {
		if f.Workload != workload {
			workload = f.Workload
			printBenchHead(w, workload)
		}
		printFigures(w, f)
	}
	if len(r.History) > 0 {
		printHistory(w, r.History)
	}
	fmt.Fprintf(w, "\nthe book verifies: %s transactions, %s postings\n", thousands(r.Verified.Transactions), thousands(r.Verified.Postings))
}

// benchRow has a place for each column of the table of cases.
const benchRow = "%-7s %9s %6s %12s %10s %10s %10s %8s %8s %8s %8s\n"

func printBenchHead(w io.Writer, workload ledgerbench.Workload) {
	what := map[ledgerbench.Workload]string{
		ledgerbench.Uniform: "between any accounts", ledgerbench.Hot10: "to ten hot accounts", ledgerbench.Hot1: "to one hot account",
	}
	fmt.Fprintf(w, "\n%s: transfers %s\n", workload, what[workload])
	fmt.Fprintf(w, benchRow, "method", "callers", "bulk", "transfers/s", "p50 ms", "p99 ms", "p99.9 ms", "retries", "batch", "× naive", "÷ floor")
}

func printFigures(w io.Writer, f ledgerbench.Figures) {
	callers := strconv.Itoa(f.Callers)
	if f.Arrivals > 0 {
		callers = "paced"
	}
	retries := thousands(f.Retries)
	if f.GivenUp > 0 {
		retries += "!"
	}
	batch, timesNaive, ofFloor := "-", "-", "-"
	if f.Method == ledgerbench.Engine {
		batch = f.MeanBatch.String()
		if f.Arrivals == 0 {
			timesNaive, ofFloor = f.TimesNaive.String(), f.OfFloor.String()
		}
	}
	fmt.Fprintf(w, benchRow, string(f.Method), callers, strconv.Itoa(f.Bulk), thousands(f.PerSecond), milliseconds(f.P50), milliseconds(f.P99),
		milliseconds(f.P999), retries, batch, timesNaive, ofFloor)
	if f.Behind {
		fmt.Fprintf(w, "        the ledger did not bear the %s transfers/s that arrived\n", thousands(f.Arrivals))
	}
	if f.GivenUp > 0 {
		fmt.Fprintf(w, "      ! callers gave up %s transfers, having repeated them\n", thousands(f.GivenUp))
	}
}

// printHistory prints a column for each size of the book, and how much the last one
// costs more than the first.
func printHistory(w io.Writer, history []ledgerbench.Costs) {
	first, last := history[0], history[len(history)-1]
	fmt.Fprintf(w, "\nwhat a query costs one caller, in milliseconds (p50 and p99), as the book grows\n%-36s", "postings")
	for _, c := range history {
		fmt.Fprintf(w, " %21s", thousands(c.Postings))
	}
	fmt.Fprintf(w, " %12s\n", "last ÷ first")
	for i, q := range first.Queries {
		fmt.Fprintf(w, "%-36s", q.Query)
		for _, c := range history {
			fmt.Fprintf(w, " %10s %10s", milliseconds(c.Queries[i].P50), milliseconds(c.Queries[i].P99))
		}
		fmt.Fprintf(w, " %12s\n", quotient(int64(last.Queries[i].P50), int64(q.P50)))
	}
	fmt.Fprintf(w, "%-36s", fmt.Sprintf("post, %d callers", first.Post.Callers))
	for _, c := range history {
		fmt.Fprintf(w, " %10s %10s", milliseconds(c.Post.P50), milliseconds(c.Post.P99))
	}
	fmt.Fprintf(w, " %12s\n%-36s", quotient(int64(last.Post.P50), int64(first.Post.P50)), "  transfers/s")
	for _, c := range history {
		fmt.Fprintf(w, " %21s", thousands(c.Post.PerSecond))
	}
	fmt.Fprintf(w, " %12s\n", quotient(last.Post.PerSecond, first.Post.PerSecond))
	for _, c := range history {
		if c.Postings < c.Wanted {
			fmt.Fprintf(w, "the time for filling was over at %s of %s postings\n", thousands(c.Postings), thousands(c.Wanted))
		}
	}
}

// milliseconds writes a duration as milliseconds with two decimals.
func milliseconds(d time.Duration) string {
	hundredths := int64(d.Round(10*time.Microsecond) / (10 * time.Microsecond))
	return fmt.Sprintf("%s.%02d", thousands(hundredths/100), hundredths%100)
}

// thousands writes a number that is not negative with commas: 12,345.
func thousands(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10)
	}
	return thousands(n/1000) + fmt.Sprintf(",%03d", n%1000)
}

func quotient(a, b int64) string {
	if b == 0 {
		return "-"
	}
	return ledgerbench.Hundredths(a * 100 / b).String()
}
