package twitter_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tweetledger/adapters/twitter"
	"tweetledger/adapters/twitter/xsim"
	"tweetledger/ledger"
)

// loggedIn has the bank's account log in, and returns the file and the app's client.
func (w *world) loggedIn() (string, *twitter.Linker) {
	w.t.Helper()
	w.sim.AddApp(xsim.App{ClientID: "client-1", ClientSecret: "s", RedirectURLs: []string{redirect}})
	linker := w.linker(twitter.LinkOptions{ClientID: "client-1", ClientSecret: "s"})
	back, err := w.sim.Authorize(linker.LoginURL("state-1", verifier), bankID)
	if err != nil {
		w.t.Fatal(err)
	}
	u, err := url.Parse(back)
	if err != nil {
		w.t.Fatal(err)
	}
	file := filepath.Join(w.t.TempDir(), "token")
	if err := linker.Login(w.ctx, u.Query().Get("code"), verifier, bankID, file); err != nil {
		w.t.Fatal(err)
	}
	return file, linker
}

func TestTokenIsRenewedInTime(t *testing.T) {
	w := newWorld(t)
	file, linker := w.loggedIn()
	source := twitter.NewTokenFile(file, linker)
	first, err := source.Token(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	w.clock.advance(time.Hour + 54*time.Minute)
	if again, err := source.Token(w.ctx); err != nil || again != first {
		t.Fatalf("renewed too early, %v", err)
	}
	w.clock.advance(2 * time.Minute)
	w.sim.Fail(xsim.EndpointOAuth, xsim.Failure{Status: 503, Times: 1})
	if _, err := source.Token(w.ctx); ledger.CodeOf(err) != ledger.CodeUnavailable {
		t.Fatalf("X away: %v", err)
	}
	second, err := source.Token(w.ctx)
	if err != nil || second == first {
		t.Fatalf("not renewed, %v", err)
	}
	// Another process on the same file takes what the first has renewed.
	if other, err := twitter.NewTokenFile(file, linker).Token(w.ctx); err != nil || other != second {
		t.Fatalf("the other process, %v", err)
	}
	if text, err := os.ReadFile(file); err != nil || !twitter.IsTokenFile(string(text)) || twitter.IsTokenFile(second) {
		t.Errorf("%v", err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".token-*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestManyAskForTheToken renews once, however many ask at once.
func TestManyAskForTheToken(t *testing.T) {
	w := newWorld(t)
	file, linker := w.loggedIn()
	source := twitter.NewTokenFile(file, linker)
	w.clock.advance(3 * time.Hour)
	var group sync.WaitGroup
	tokens := make([]string, 16)
	for i := range tokens {
		group.Go(func() {
			var err error
			if tokens[i], err = source.Token(w.ctx); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, token := range tokens {
		if token != tokens[0] {
			t.Fatalf("different tokens: %d of them", len(tokens))
		}
	}
}

func TestTokenFilesThatAreNone(t *testing.T) {
	w := newWorld(t)
	file, linker := w.loggedIn()
	for name, text := range map[string]string{
		"not JSON": "{secret", "no refresh token": `{"access_token":"secret"}`, "too large": `{"refresh_token":"` + strings.Repeat("s", 20_000) + `"}`,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := twitter.NewTokenFile(file, linker).Token(w.ctx); ledger.CodeOf(err) != ledger.CodeInvalid || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := twitter.NewTokenFile(file+".none", linker).Token(w.ctx); ledger.CodeOf(err) != ledger.CodeForbidden || !strings.Contains(err.Error(), "tweetledger login") {
		t.Errorf("no file: %v", err)
	}
	// X renews no token twice.
	if err := os.WriteFile(file, []byte(`{"refresh_token":"used up"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := twitter.NewTokenFile(file, linker).Token(w.ctx); ledger.CodeOf(err) != ledger.CodeForbidden {
		t.Errorf("used up: %v", err)
	}
}
