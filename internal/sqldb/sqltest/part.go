package sqltest

import (
	"flag"
	"os"
	"strconv"
	"testing"

	"tweetledger/internal/sqldb"
)

// part is of how many cases that a test makes up one runs on CockroachDB, where
// each takes some ten times as long as elsewhere. What they vary is judged in Go,
// by queries that are the same for all engines.
const part = 4

// Part returns of how many cases a test should run one on engine: of one, but of
// four on CockroachDB. TWEETLEDGER_TEST_ENGINES=cockroach runs all there too, as
// CI does.
func Part(engine sqldb.Engine) int {
	if engine != sqldb.CockroachDB || os.Getenv(limitVariable) == string(sqldb.CockroachDB) {
		return 1
	}
	return part
}

// PartOfChecks lets rapid draw only the part of its cases that Part tells, until
// the test ends. Tests that use it must not run in parallel.
func PartOfChecks(t testing.TB, engine sqldb.Engine) {
	t.Helper()
	checks := flag.Lookup("rapid.checks")
	if checks == nil {
		t.Fatal("sqltest: this test does not use rapid")
	}
	before := checks.Value.String()
	n, err := strconv.Atoi(before)
	if err != nil {
		t.Fatalf("sqltest: -rapid.checks=%s: %v", before, err)
	}
	set := func(value string) {
		if err := checks.Value.Set(value); err != nil {
			t.Fatalf("sqltest: -rapid.checks=%s: %v", value, err)
		}
	}
	set(strconv.Itoa(max(n/Part(engine), 1)))
	t.Cleanup(func() { set(before) })
}
