package twitter_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"tweetledger/adapters/twitter"
)

// TestTokenIsReadAgain replaces a token's file, and takes it away for a while.
func TestTokenIsReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := newClock()
	for _, bad := range []string{"", " \n", "Bearer abc"} {
		write(bad)
		if _, err := twitter.NewFileToken(file, c.Now); err == nil {
			t.Errorf("%q is a token", bad)
		}
	}
	if _, err := twitter.NewFileToken(file+".none", c.Now); err == nil {
		t.Error("a file that is not there is a token")
	}
	write("one\n")
	source, err := twitter.NewFileToken(file, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		file string
		wait time.Duration
		want string
	}{{"two", 0, "one"}, {"two", 59 * time.Second, "one"}, {"two", time.Second, "two"}, {"", time.Hour, "two"}, {"three", 0, "three"}} {
		write(step.file)
		c.advance(step.wait)
		if got, err := source.Token(t.Context()); err != nil || got != step.want {
			t.Errorf("%+v: %q, %v", step, got, err)
		}
	}
}
