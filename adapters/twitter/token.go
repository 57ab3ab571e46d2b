package twitter

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"tweetledger/ledger"
)

const (
	// tokenAge is how long a token that was read from a file counts: X's user tokens
	// live for two hours, and whoever renews them replaces the file.
	tokenAge = time.Minute
	// maxTokenBytes bounds the file of a token.
	maxTokenBytes = 8 << 10
)

// FileToken is a TokenSource that reads a bearer token from a file, and again a minute
// later. It is safe for concurrent use.
type FileToken struct {
	path  string
	clock func() time.Time

	mu    sync.Mutex
	token string
	until time.Time
}

// NewFileToken returns the token of a file, or why it cannot be read. clock may be nil.
func NewFileToken(path string, clock func() time.Time) (*FileToken, error) {
	if clock == nil {
		clock = time.Now
	}
	t := &FileToken{path: path, clock: clock}
	_, err := t.Token(context.Background())
	return t, err
}

// Token implements TokenSource. While the file cannot be read the last token counts:
// whoever replaces it may be in the middle of that.
func (t *FileToken) Token(context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock()
	if now.Before(t.until) {
		return t.token, nil
	}
	text, err := os.ReadFile(t.path)
	token := strings.TrimSpace(string(text))
	if err == nil && (token == "" || len(text) > maxTokenBytes || strings.ContainsAny(token, " \t\r\n")) {
		err = ledger.Errorf(ledger.CodeInvalid, "the file holds no token: one word, without \"Bearer\"").InField(t.path)
	}
	switch {
	case err == nil:
		t.token, t.until = token, now.Add(tokenAge)
	case t.token == "":
		return "", fmt.Errorf("read the token for X: %w", err)
	}
	return t.token, nil
}
