package sqldb_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

func TestParseURL(t *testing.T) {
	tests := []struct {
		url  string
		want sqldb.Engine // "": refused
	}{
		{"sqlite:tweetledger.db", sqldb.SQLite},
		{"sqlite:/var/lib/book.db", sqldb.SQLite},
		{"sqlite:///var/lib/book.db", sqldb.SQLite},
		{sqldb.DefaultURL, sqldb.SQLite},
		{"postgres://app@db/book", sqldb.PostgreSQL},
		{"postgresql://app@db/book", sqldb.PostgreSQL},
		{"postgres://app@/book?host=/run/postgresql", sqldb.PostgreSQL},
		{"cockroach://root@localhost:26257/book?sslmode=disable", sqldb.CockroachDB},
		{"cockroachdb://root@localhost:26257/book", sqldb.CockroachDB},
		{"", ""},
		{"sqlite", ""},
		{"sqlite:", ""},
		{"sqlite::memory:", ""},
		{"sqlite://book.db", ""},
		{"book.db", ""},
		{"mysql://root@localhost/book", ""},
		{"postgres", ""},
		{"POSTGRES://app@db/book", ""},
	}
	for _, test := range tests {
		got, err := sqldb.ParseURL(test.url)
		if test.want == "" {
			if ledger.CodeOf(err) != ledger.CodeInvalid || !strings.Contains(err.Error(), "sqlite:FILE") {
				t.Errorf("ParseURL(%q) = %q, %v; want a refusal that says what is accepted", test.url, got, err)
			}
			continue
		}
		if err != nil || got != test.want {
			t.Errorf("ParseURL(%q) = %q, %v; want %q", test.url, got, err, test.want)
		}
	}
}

// No password may reach a log, whichever way it stands in a URL and however
// wrong the URL is.
func TestPasswordIsNeverShown(t *testing.T) {
	const secret = "hunter2"
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // none of these is to be dialled
	for _, url := range []string{
		"postgres://app:" + secret + "@127.0.0.1:1/book",
		"cockroach://app:" + secret + "@127.0.0.1:1/book",
		"postgres://app@127.0.0.1:1/book?password=" + secret,
		"postgres://app@127.0.0.1:1/book?sslmode=disable&sslpassword=" + secret,
		"postgres://app:" + secret + "%zz@127.0.0.1:1/book",
		"postgres://app:" + secret + "@127.0.0.1:port/book",
		"postgres://app:" + secret + "@127.0.0.1:1/book?sslmode=nonsense",
		"postgres://app:" + secret + "#@127.0.0.1:1/book",
		"mysql://app:" + secret + "@127.0.0.1:1/book",
		"mysql://app:" + secret + "%zz@127.0.0.1:1/book",
		"app:" + secret + "@127.0.0.1/book",
	} {
		db, err := sqldb.Open(ctx, url)
		if err == nil {
			t.Errorf("Open(%q) = %v; want an error", url, db)
			continue
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("Open(%q) shows the password: %v", url, err)
		}
	}
}

func TestStringHasNoPassword(t *testing.T) {
	rawURL := sqltest.EmptyURL(t, sqldb.PostgreSQL)
	withPassword := strings.Replace(rawURL, "postgres@", "postgres:hunter2@", 1)
	db, err := sqldb.Open(t.Context(), withPassword)
	if err != nil {
		t.Skipf("the server does not take any password: %v", err)
	}
	defer db.Close()
	if s := db.String(); strings.Contains(s, "hunter2") || !strings.Contains(s, "postgres:xxxxx@") {
		t.Errorf("String() = %q; want the URL without its password", s)
	}
}

func TestOpenTellsWhatToDo(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "missing")
	tests := []struct {
		url  string
		code ledger.Code
		want string
	}{
		{"sqlite:" + filepath.Join(folder, "book.db"), ledger.CodeInvalid, "create it"},
		{"sqlite:" + t.TempDir(), ledger.CodeUnavailable, "cannot open"}, // a folder, not a file
		{"postgres://app@127.0.0.1:1/book", ledger.CodeUnavailable, "check the address"},
		{"cockroach://app@127.0.0.1:1/book?sslmode=nonsense", ledger.CodeInvalid, "not a database URL"},
	}
	for _, test := range tests {
		_, err := sqldb.Open(t.Context(), test.url)
		if ledger.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "--db: ") {
			t.Errorf("Open(%q): %v; want code %s, field --db and %q", test.url, err, test.code, test.want)
		}
	}
}

// A book holds names, telephone numbers and hashes of secret codes: nobody else
// on the machine may read it, and a mode that its owner has given it stays.
func TestBookIsPrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no mode there")
	}
	file := filepath.Join(t.TempDir(), "book.db")
	for _, want := range []os.FileMode{0o600, 0o640} {
		db, err := sqldb.Open(t.Context(), "sqlite:"+file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.MigrateUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{file, file + "-wal", file + "-shm"} {
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != want {
				t.Errorf("%s has mode %o, want %o", name, info.Mode().Perm(), want)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, 0o640); err != nil {
			t.Fatal(err)
		}
	}
}
