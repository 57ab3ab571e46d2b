package sqltest

import (
	"flag"
	"os"
	"strconv"
	"testing"

	"tweetledger/internal/sqldb"
)

// On CockroachDB each statement takes some ten times as long as elsewhere, so that
// all cases there take three times what go test may. Without anything that asks
// for them go test runs there the tests of Core and a part of the cases that tests
// make up; TWEETLEDGER_TEST_ENGINES=cockroach runs all, as CI does.

// part is of how many cases that a test makes up one runs.
const part = 4

// whole reports whether all cases are to run on engine.
func whole(engine sqldb.Engine) bool {
	return engine != sqldb.CockroachDB || os.Getenv(limitVariable) == string(sqldb.CockroachDB)
}

// WholeOnly skips a test on an engine of which only a part is run, unless -run
// asks for tests by name.
func WholeOnly(t testing.TB, engine sqldb.Engine) {
	t.Helper()
	if !whole(engine) && !named() {
		t.Skipf("on %s go test runs the core of the tests; this one runs with %s=%s or when -run names it", engine, limitVariable, engine)
	}
}

// named reports whether -run names the tests to run.
func named() bool {
	run := flag.Lookup("test.run")
	return run != nil && run.Value.String() != ""
}

// PartOfChecks lets rapid draw only a part of its cases until the test ends, on an
// engine of which only a part is run. Tests that use it must not run in parallel.
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
	if !whole(engine) {
		set(strconv.Itoa(max(n/part, 1)))
		t.Cleanup(func() { set(before) })
	}
}
