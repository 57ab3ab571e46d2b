package twitter_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tweetledger/adapters/twitter"
	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// TestNobodysWordsAreLogged meets what X sends oddly, and looks for texts in the log.
func TestNobodysWordsAreLogged(t *testing.T) {
	w := newWorld(t)
	begin := w.clock.Now()
	w.sim.Direct(marieID, bankID, "#envoyer 1€ @abcdefghijklmnopqr")
	connects := 0
	odd := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		if connects++; connects > 1 {
			out.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(out, `{"text":"@abcdefghijklmnopqr"}`+"\r\n"+`{"data":{"id":"1","text":"@abcdefghijklmnopqr"}}`+"\r\n")
	}))
	defer odd.Close()
	var log bytes.Buffer
	client := func(address string) *twitter.Client {
		c, err := twitter.NewClient(twitter.Options{BaseURL: address, AppToken: twitter.StaticToken(w.sim.AppToken()), UserToken: twitter.StaticToken(w.sim.UserToken(bankID)),
			Log: slog.New(slog.NewTextHandler(&log, nil)), Clock: w.clock.Now, After: w.clock.After})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	take := func(context.Context, payments.Message) error { return nil }
	if _, err := client(w.server.URL).ReadDirect(w.ctx, bankID, begin, twitter.Handler(take).Each()); err != nil {
		t.Fatal(err)
	}
	if err := client(odd.URL).Stream(w.ctx, take); ledger.CodeOf(err) != ledger.CodeForbidden {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "without data") || !strings.Contains(log.String(), "no handle") || strings.Contains(log.String(), "abcdefgh") {
		t.Errorf("logged:\n%s", log.String())
	}
}
