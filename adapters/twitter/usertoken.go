package twitter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"tweetledger/ledger"
)

// X's access tokens of OAuth 2.0 end after two hours; the refresh token beside one is
// good once, and brings a new pair. Source: X, OAuth 2.0 with PKCE.

const (
	// renewBefore is how long before its end a token is renewed: no request takes longer.
	renewBefore = 5 * time.Minute
	// maxTokenFile bounds the file of a token, in bytes.
	maxTokenFile = 16 << 10
)

// loginScopes are what the bank's account needs: to post, to write direct messages, and
// to have its token renewed.
func loginScopes() []string {
	return []string{"tweet.read", "tweet.write", "users.read", "dm.read", "dm.write", "offline.access"}
}

// storedToken is the bank account's own token as its file has it.
type storedToken struct {
	AccessToken  string    `json:"access_token"`
	RefreshToken string    `json:"refresh_token"`
	ExpiresAt    time.Time `json:"expires_at"`
}

// TokenFile is a TokenSource of the bank account's own token, which it renews and
// keeps in a file. Several processes of one machine may share the file. It is safe
// for concurrent use.
type TokenFile struct {
	file   string
	linker *Linker // the app's client

	mu      sync.Mutex
	current storedToken
	changed time.Time // of the file, when it was read
}

// IsTokenFile reports whether the text of a token's file is one of a TokenFile, and not
// a bare token.
func IsTokenFile(text string) bool { return strings.HasPrefix(strings.TrimSpace(text), "{") }

// NewTokenFile returns the source of the token in a file that Login has written. The
// linker's client need not have a user's token itself.
func NewTokenFile(file string, linker *Linker) *TokenFile {
	return &TokenFile{file: file, linker: linker}
}

// Token implements TokenSource. A token that X does not renew any more is
// CodeForbidden: somebody must log in again.
func (t *TokenFile) Token(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.read(); err != nil {
		return "", err
	}
	if t.fresh() {
		return t.current.AccessToken, nil
	}
	before := t.current.RefreshToken
	renewed, err := t.linker.renew(ctx, before)
	if ledger.CodeOf(err) == ledger.CodeForbidden {
		// Another process may have been faster: then its token lies in the file.
		t.changed = time.Time{}
		if readErr := t.read(); readErr == nil && t.current.RefreshToken != before && t.fresh() {
			return t.current.AccessToken, nil
		}
		return "", ledger.Errorf(ledger.CodeForbidden, "X does not renew the token of the bank's account; run: tweetledger login").InField(t.file)
	}
	if err != nil {
		return "", err
	}
	t.current = renewed
	if err := t.write(renewed); err != nil {
		// The old refresh token is used up. This process goes on; after it somebody
		// must log in again.
		t.linker.client.opts.Log.ErrorContext(ctx, "the renewed token of the bank's account was not kept", "file", t.file, "error", err)
	}
	return renewed.AccessToken, nil
}

func (t *TokenFile) fresh() bool {
	return t.current.AccessToken != "" && t.linker.client.opts.Clock().Add(renewBefore).Before(t.current.ExpiresAt)
}

// read reads the file where it has changed since.
func (t *TokenFile) read() error {
	info, err := os.Stat(t.file)
	if errors.Is(err, fs.ErrNotExist) {
		return ledger.Errorf(ledger.CodeForbidden, "there is no token of the bank's account; run: tweetledger login").InField(t.file)
	}
	if err != nil {
		return fmt.Errorf("reading the token of the bank's account: %w", err)
	}
	if info.ModTime().Equal(t.changed) {
		return nil
	}
	if info.Size() > maxTokenFile {
		return ledger.Errorf(ledger.CodeInvalid, "the file of the token has %d bytes; a token has %d at most", info.Size(), maxTokenFile).InField(t.file)
	}
	text, err := os.ReadFile(t.file)
	if err != nil {
		return fmt.Errorf("reading the token of the bank's account: %w", err)
	}
	var stored storedToken
	if json.Unmarshal(text, &stored) != nil || stored.RefreshToken == "" { // the text is a secret: no error shows it
		return ledger.Errorf(ledger.CodeInvalid, "the file holds no token that can be renewed; run: tweetledger login").InField(t.file)
	}
	t.current, t.changed = stored, info.ModTime()
	return nil
}

// write puts a token into the file, whole or not at all, readable by its owner alone.
func (t *TokenFile) write(token storedToken) error {
	text, err := json.MarshalIndent(token, "", "  ")
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(t.file), ".token-*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }() // gone already where it was renamed
	_, err = file.Write(append(text, '\n'))
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), t.file)
	}
	if err != nil {
		return err
	}
	info, err := os.Stat(t.file)
	if err == nil {
		t.changed = info.ModTime()
	}
	return err
}

// LoginURL returns the address of X's page on which somebody who is logged in as the
// bank's account lets the service act as it.
func (l *Linker) LoginURL(state, verifier string) string {
	config := l.config
	config.Scopes = loginScopes()
	return config.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier))
}

// Login exchanges the code that came back from LoginURL and keeps the token in file. A
// token of any other account than the one with the id is revoked, and CodeConflict.
func (l *Linker) Login(ctx context.Context, code, verifier, accountID, file string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	token, err := l.config.Exchange(l.oauthContext(ctx), code, oauth2.VerifierOption(verifier))
	if err != nil {
		return exchangeError(err)
	}
	who, err := l.me(ctx, token.AccessToken)
	if err == nil && who.UserID != accountID {
		err = ledger.Errorf(ledger.CodeConflict, "X says that @%s (%s) has agreed, and the bank's account is %s; log out of X and in as the bank", who.Handle, who.UserID, accountID)
	}
	if err == nil && token.RefreshToken == "" {
		err = ledger.Errorf(ledger.CodeInvalid, "X gave no refresh token; the app needs the scope offline.access")
	}
	if err != nil {
		l.revoke(context.WithoutCancel(ctx), token.AccessToken)
		return err
	}
	if err := NewTokenFile(file, l).write(l.stored(token)); err != nil {
		return fmt.Errorf("keeping the token of the bank's account: %w", err)
	}
	return nil
}

// renew exchanges a refresh token, which is used up by that.
func (l *Linker) renew(ctx context.Context, refresh string) (storedToken, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout) // a pair that X has given out must be kept
	defer cancel()
	token, err := l.config.TokenSource(l.oauthContext(ctx), &oauth2.Token{RefreshToken: refresh}).Token()
	if err != nil {
		return storedToken{}, exchangeError(err)
	}
	return l.stored(token), nil
}

func (l *Linker) stored(token *oauth2.Token) storedToken {
	// The library reckons with the machine's clock; ours is handed in.
	return storedToken{AccessToken: token.AccessToken, RefreshToken: token.RefreshToken,
		ExpiresAt: l.client.opts.Clock().Add(time.Duration(token.ExpiresIn) * time.Second).UTC()}
}

func (l *Linker) oauthContext(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, l.client.opts.HTTPClient)
}
