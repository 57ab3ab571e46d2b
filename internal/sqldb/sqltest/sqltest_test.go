package sqltest_test

import (
	"testing"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
)

func TestEach(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		if err := db.CheckSchema(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Log(db)
	})
}
