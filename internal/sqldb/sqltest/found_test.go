package sqltest

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"tweetledger/internal/sqldb"
)

// Whoever runs go test ./... should learn on which engines it tested nothing. But
// go test drops what a package prints that passes, so this test, which runs once
// in such a run, says it past go test.
func TestSayWhichEnginesAreMissing(t *testing.T) {
	for _, engine := range []sqldb.Engine{sqldb.PostgreSQL, sqldb.CockroachDB} {
		server, err := serverOf(engine)
		if err != nil {
			t.Errorf("%s was found but cannot be used: %v", engine, err)
			continue
		}
		if server == nil {
			line := notFoundText(engine) + ": its tests are skipped"
			t.Log(line)
			if err := sayPastGoTest(line); err != nil {
				say(line)
			}
		}
	}
}

// sayPastGoTest writes to the standard error of the process that runs the test,
// or else to the terminal, on systems that have such files.
func sayPastGoTest(line string) error {
	var failed error
	for _, path := range []string{fmt.Sprintf("/proc/%d/fd/2", os.Getppid()), "/dev/tty"} {
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() {
			err = errors.New("a file that go test itself writes to")
		}
		if err == nil {
			err = appendLine(path, line)
		}
		if err == nil {
			return nil
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

func appendLine(path, line string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, line)
	return errors.Join(err, file.Close())
}

// What a process starts must be found wherever packagers put it, the newest first.
func TestVersionIn(t *testing.T) {
	for path, want := range map[string]int{
		"/usr/lib/postgresql/15/bin":          15,
		"/usr/pgsql-9.6/bin":                  9,
		"/opt/homebrew/opt/postgresql@17/bin": 17,
		"/usr/local/pgsql/bin":                0,
	} {
		if got := versionIn(path); got != want {
			t.Errorf("versionIn(%q) = %d; want %d", path, got, want)
		}
	}
}
