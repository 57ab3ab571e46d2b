package main

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger/engine"
)

// sealBook seals what waits in the script's book, as the sealer of "serve" does.
func sealBook(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 0, "seal")
	text, err := os.ReadFile(ts.Getenv(clockVariable))
	ts.Check(err)
	now, err := time.Parse(time.RFC3339, strings.TrimSpace(string(text)))
	ts.Check(err)
	ctx := context.Background()
	db, err := sqldb.Open(ctx, "sqlite:"+ts.MkAbs("tweetledger.db"))
	ts.Check(err)
	defer func() { _ = db.Close() }()
	e := engine.New(db, engine.Options{Clock: func() time.Time { return now }})
	defer e.Close()
	ts.Check(sealWaiting(ctx, e))
}
