package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

var (
	storyLink      = regexp.MustCompile(`/confirm/([0-9A-Za-z_-]{43})`)
	storyStamp     = regexp.MustCompile(`name="stamp" value="([^"]+)"`)
	storyChallenge = regexp.MustCompile(`/challenge/(pi_[0-9a-z]+)`)
)

// call is the SMS gateway: it takes notices, and customers read them.
func (s *story) call(w http.ResponseWriter, r *http.Request) {
	var notice struct{ Text string }
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&notice); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if match := storyLink.FindStringSubmatch(notice.Text); match != nil {
		s.busy.Add(1)
		s.calls <- match[1]
	}
}

// storyTries is how often a customer whose service does not answer tries again: it is
// killed, and comes back.
const storyTries = 200

// visit is a customer after the other who is called to a page.
func (s *story) visit(ctx context.Context) {
	client := &http.Client{Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for {
		select {
		case <-ctx.Done():
			return
		case token := <-s.calls:
			s.confirm(ctx, client, token)
			s.busy.Add(-1)
		}
	}
}

// confirm is one customer on one page: three of ten never come, some enter a wrong code
// first, some change the form, and those whose card's issuer asks authenticate, or not.
func (s *story) confirm(ctx context.Context, client *http.Client, token string) {
	chance := s.seeded(token)
	if chance.IntN(10) < 3 {
		return
	}
	wrong, tampers, approves := chance.IntN(12) == 0, chance.IntN(20) == 0, chance.IntN(10) > 0
	declined := 0
	for range storyTries {
		page, ok := s.fetch(ctx, client, http.MethodGet, token, nil)
		if !ok {
			if pause(ctx, soakLook) != nil {
				return
			}
			continue
		}
		if match := storyChallenge.FindStringSubmatch(page.body); match != nil {
			_ = s.cards.Authenticate(match[1], approves) // somebody else may have, in time
			return
		}
		stamp := storyStamp.FindStringSubmatch(page.body)
		if stamp == nil { // there is nothing to confirm any more
			return
		}
		form := url.Values{"stamp": {stamp[1]}, "code": {soakCode}, "amount": {"0.01"}, "payee": {"somebody else"}}
		switch {
		case wrong:
			form.Set("code", "246801")
		case tampers:
			form.Set("stamp", strings.ToUpper(stamp[1]))
		}
		answer, _ := s.fetch(ctx, client, http.MethodPost, token, form)
		s.posted.Add(1)
		if answer.status == http.StatusPaymentRequired {
			if declined++; declined > 1 {
				return
			}
		}
		wrong, tampers = false, false
	}
}

type storyAnswer struct {
	status int
	body   string
}

// fetch asks the service for a page, and reports whether it is one.
func (s *story) fetch(ctx context.Context, client *http.Client, method, token string, form url.Values) (storyAnswer, bool) {
	r, err := http.NewRequestWithContext(ctx, method, s.hook+"/confirm/"+token, strings.NewReader(form.Encode()))
	if err != nil {
		return storyAnswer{}, false
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := client.Do(r)
	if err != nil {
		return storyAnswer{}, false
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	return storyAnswer{answer.StatusCode, string(body)}, err == nil && answer.StatusCode < http.StatusInternalServerError
}
