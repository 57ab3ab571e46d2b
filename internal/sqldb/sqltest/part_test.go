package sqltest

import (
	"testing"

	"tweetledger/internal/sqldb"
)

// Only CockroachDB is not tested whole, and only where nobody asks for that.
func TestWhole(t *testing.T) {
	for _, test := range []struct {
		limit  string
		engine sqldb.Engine
		want   bool
	}{
		{"", sqldb.SQLite, true},
		{"", sqldb.PostgreSQL, true},
		{"", sqldb.CockroachDB, false},
		{"sqlite,cockroach", sqldb.CockroachDB, false},
		{"cockroach", sqldb.CockroachDB, true},
	} {
		t.Setenv(limitVariable, test.limit)
		if got := whole(test.engine); got != test.want {
			t.Errorf("%s=%s: whole(%s) is %v", limitVariable, test.limit, test.engine, got)
		}
	}
}
