package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"tweetledger/adapters/card"
	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// shared is a buffer that a program writes while a test reads it.
type shared struct {
	mu  sync.Mutex
	all bytes.Buffer
	new chan struct{}
}

// Write implements io.Writer.
func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.all.Write(p)
	select {
	case s.new <- struct{}{}:
	default:
	}
	return n, err
}

// says waits until a pattern was written, and returns its group.
func (s *shared) says(t *testing.T, pattern string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		s.mu.Lock()
		text := s.all.String()
		s.mu.Unlock()
		if match := regexp.MustCompile("(?m)" + pattern).FindStringSubmatch(text); match != nil {
			return match[len(match)-1]
		}
		select {
		case <-s.new:
		case <-ctx.Done():
			t.Fatalf("nothing like %s was said: %s", pattern, text)
		}
	}
}

// TestCardsimByHand charges a card at the simulated acquirer as it is run by hand, has
// its cardholder dispute the charge, and its news delivered.
func TestCardsimByHand(t *testing.T) {
	heard := make(chan string, 10)
	hook, err := card.NewWebhook(card.WebhookOptions{Secret: cardsimSecret, Clock: func() time.Time { return firstMinute },
		Heard:   func(_ context.Context, _, reference string) error { heard <- reference; return nil },
		Refused: func(context.Context, string) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	webhook := httptest.NewServer(hook)
	defer webhook.Close()
	in, keyboard := io.Pipe()
	out := &shared{new: make(chan struct{}, 1)}
	env := steered(firstMinute, in, out, out, func(string) string { return "" })
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"cardsim", "--listen", "127.0.0.1:0", "--webhook", webhook.URL}, env)
	}()
	address := out.says(t, `^simulated acquirer on (http://\S+)$`)
	client, err := card.NewClient(card.Options{SecretKey: cardsimKey, BaseURL: address})
	if err != nil {
		t.Fatal(err)
	}
	details, err := client.Card(t.Context(), "pm_sim_ok_1")
	if err != nil {
		t.Fatal(err)
	}
	status, err := client.Charge(t.Context(), payments.CardCharge{Key: "k1", Token: "pm_sim_ok_1", Holder: details.Holder, Amount: 20_00, Currency: ledger.EUR, Present: true, ReturnURL: "https://pay.test"})
	if err != nil || status.Result != payments.CardSucceeded {
		t.Fatalf("%+v (%v)", status, err)
	}
	say := func(line string) {
		if _, err := io.WriteString(keyboard, line+"\n"); err != nil {
			t.Error(err)
		}
	}
	say("dispute " + status.Reference)
	out.says(t, "^done: dispute "+status.Reference+"$")
	say("payments")
	out.says(t, `^(`+status.Reference+` pm_sim_ok_1 succeeded charged 20\.00 refunded 0\.00 taken back 20\.00)$`)
	say("win pi_unknown")
	out.says(t, "^pi_unknown is not disputed$")
	say("steal " + status.Reference)
	out.says(t, `^"steal" is not known; `)
	out.says(t, "^delivered charge.dispute.created$")
	for range 2 { // the charge, and its dispute
		if got := <-heard; got != status.Reference {
			t.Errorf("heard of %s", got)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"/settlement/"+firstMinute.Format(time.DateOnly)+".csv", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+cardsimKey)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	file, err := io.ReadAll(io.LimitReader(answer.Body, maxPage))
	_ = answer.Body.Close()
	if err != nil || strings.Count(string(file), status.Reference) != 2 || !strings.Contains(string(file), "chargeback") {
		t.Errorf("the settlement file is\n%s (%v)", file, err)
	}
	interrupt()
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d", code)
	}
	_ = keyboard.Close()
}
