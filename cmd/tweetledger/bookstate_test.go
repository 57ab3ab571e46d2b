package main

import (
	"crypto/sha256"
	"database/sql"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// stateKey finds the state of a script's book when it was last looked at.
type stateKey struct{}

type bookState struct{ sum string }

// remember takes down what the book says now; "book" does so too.
func remember(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 0, "remember")
	ts.Value(stateKey{}).(*bookState).sum = sumBook(ts)
}

// unchanged fails where any row of any table of the book is not what it was.
func unchanged(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 0, "unchanged")
	if before := ts.Value(stateKey{}).(*bookState).sum; before == "" || sumBook(ts) != before {
		ts.Fatalf("the book was changed (or nothing had been remembered)")
	}
}

// tamper changes the book behind the program's back.
func tamper(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "tamper SQL")
	db := openRaw(ts)
	defer func() { _ = db.Close() }()
	result, err := db.Exec(args[0])
	ts.Check(err)
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		ts.Fatalf("%q changed nothing (%v)", args[0], err)
	}
}

func openRaw(ts *testscript.TestScript) *sql.DB {
	db, err := sql.Open("sqlite", ts.MkAbs("tweetledger.db"))
	ts.Check(err)
	return db
}

// sumBook is a hash of all rows of the script's book.
func sumBook(ts *testscript.TestScript) string {
	db := openRaw(ts)
	defer func() { _ = db.Close() }()
	hash := sha256.New()
	for _, table := range column(ts, db, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name") {
		rows := column(ts, db, "SELECT * FROM "+table)
		slices.Sort(rows)
		fmt.Fprintf(hash, "%s %d\n%s\n", table, len(rows), strings.Join(rows, "\n"))
	}
	return string(hash.Sum(nil))
}

// column returns the rows of a query, each as one text.
func column(ts *testscript.TestScript, db *sql.DB, query string) []string {
	rows, err := db.Query(query)
	ts.Check(err)
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	ts.Check(err)
	var list []string
	for rows.Next() {
		values := make([]any, len(names))
		targets := make([]any, len(names))
		for i := range values {
			targets[i] = &values[i]
		}
		ts.Check(rows.Scan(targets...))
		if len(values) == 1 {
			list = append(list, fmt.Sprint(values[0]))
		} else {
			list = append(list, fmt.Sprintf("%q", values))
		}
	}
	ts.Check(rows.Err())
	return list
}

// megabyte is the text that "fill" writes: words, as no compression or repeat
// detector would matter to it.
func megabyte() string {
	const word = "lorem ipsum "
	return strings.Repeat(word, (1<<20)/len(word)+1)[:1<<20]
}

// fill replaces the word MEGABYTE in a file with a megabyte of text.
func fill(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "fill FILE")
	text := strings.ReplaceAll(ts.ReadFile(args[0]), "MEGABYTE", megabyte())
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}
