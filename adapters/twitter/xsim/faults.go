package xsim

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// Endpoint is a part of the API for which a fault can be ordered.
type Endpoint string

// The endpoints.
const (
	EndpointStream     Endpoint = "stream"
	EndpointRules      Endpoint = "rules"
	EndpointMentions   Endpoint = "mentions"
	EndpointLookup     Endpoint = "lookup"
	EndpointCreate     Endpoint = "create"
	EndpointUsers      Endpoint = "users"
	EndpointCompliance Endpoint = "compliance"
	EndpointSearch     Endpoint = "search"
	EndpointDirectRead Endpoint = "direct_read"
	EndpointDirectSend Endpoint = "direct_send"
)

// Endpoints lists them.
func Endpoints() []Endpoint {
	return []Endpoint{EndpointStream, EndpointRules, EndpointMentions, EndpointLookup, EndpointCreate, EndpointUsers, EndpointCompliance,
		EndpointSearch, EndpointDirectRead, EndpointDirectSend}
}

// Failure is what an endpoint answers instead of doing its work.
type Failure struct {
	Status int           // 429, 503, …
	Times  int           // for how many requests
	Reset  time.Duration // with 429: after which time x-rate-limit-reset allows more
}

// faults are those on order. Server.mu guards them.
type faults struct {
	failures  map[Endpoint]*Failure
	cut       int
	lose      int
	duplicate int           // on the stream
	deliver2  int           // on the webhook
	hold      int           // how many more tweets are held back
	held      []message     // those that are, the first one first
	forge     int           // deliveries to the webhook with a wrong signature
	unstored  int           // requests to create that are done and then answered with 503
	silence   chan struct{} // closed when the silence ends; nil: none
}

// mostHeld bounds the tweets that are held back at a time.
const mostHeld = 1000

// Fail makes the next requests to an endpoint fail.
func (s *Server) Fail(endpoint Endpoint, f Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.failures[endpoint] = &f
}

// CutMidTweet makes the stream hang up in the middle of each of the next n tweets.
func (s *Server) CutMidTweet(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.cut = n
}

// Lose keeps the next n tweets off the stream: only mentions and look-ups show them.
func (s *Server) Lose(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.lose = n
}

// Duplicate puts each of the next n tweets on the stream, and on the webhook, twice.
func (s *Server) Duplicate(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.duplicate, s.faults.deliver2 = n, n
}

// Hold keeps the next n tweets (at most 1,000) back: they come on the stream after
// the one that follows them, the last of them first, or when Release is called.
func (s *Server) Hold(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.hold = min(n, mostHeld)
}

// Release sends what is held back.
func (s *Server) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.hold = 0
	s.release()
}

// release sends what is held back, the last one first. s.mu is held.
func (s *Server) release() {
	for i := len(s.faults.held) - 1; i >= 0 && s.filtered != nil; i-- {
		s.filtered.send(s.faults.held[i])
	}
	s.faults.held = nil
}

// Forge signs the next n deliveries to the webhook wrongly. A forgery is sent beside
// the delivery, not instead of it: nobody repeats what was refused as forged.
func (s *Server) Forge(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.forge = n
}

// LoseAnswers publishes the next n tweets or direct messages that are sent through the
// API, and answers 503 all the same: whoever sent them does not know.
func (s *Server) LoseAnswers(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.unstored = n
}

// loseAnswer answers 503 where that is on order. s.mu is held.
func (s *Server) loseAnswer(w http.ResponseWriter) bool {
	if s.faults.unstored == 0 {
		return false
	}
	s.faults.unstored--
	problem(w, http.StatusServiceUnavailable, "about:blank", "Service Unavailable", "Service Unavailable")
	return true
}

// Silence stops everything on open streams, keep-alives too, until it is ended.
// A stream that hangs up meanwhile loses what waited in it.
func (s *Server) Silence(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case on && s.faults.silence == nil:
		s.faults.silence = make(chan struct{})
	case !on && s.faults.silence != nil:
		close(s.faults.silence)
		s.faults.silence = nil
	}
}

// Disconnect ends the filtered stream with an error object in it, as X does
// when it moves connections.
func (s *Server) Disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.filtered != nil {
		s.filtered.send(message{line: disconnectError("This stream has been disconnected for operational reasons."), last: true})
	}
}

func (s *Server) silent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults.silence != nil
}

// awaitSound waits until no silence is ordered; false where the stream ended.
func (s *Server) awaitSound(ctx context.Context, sub *subscriber) bool {
	for {
		s.mu.Lock()
		silence := s.faults.silence
		s.mu.Unlock()
		if silence == nil {
			return true
		}
		select {
		case <-silence:
		case <-sub.gone:
			return false
		case <-ctx.Done():
			return false
		case <-s.closed:
			return false
		}
	}
}

// rateLimit and rateWindow are what the headers say while no failure is ordered.
const (
	rateLimit  = 10_000
	rateWindow = 15 * time.Minute
)

// failed answers with the failure on order, if there is one, and sets the
// rate-limit headers.
func (s *Server) failed(w http.ResponseWriter, endpoint Endpoint) bool {
	s.mu.Lock()
	f := s.faults.failures[endpoint]
	if f != nil {
		if f.Times--; f.Times <= 0 {
			delete(s.faults.failures, endpoint)
		}
	}
	s.mu.Unlock()
	remaining, reset := rateLimit, rateWindow
	if f != nil && f.Status == http.StatusTooManyRequests {
		remaining, reset = 0, f.Reset
	}
	h := w.Header()
	h.Set("x-rate-limit-limit", strconv.Itoa(rateLimit))
	h.Set("x-rate-limit-remaining", strconv.Itoa(remaining))
	h.Set("x-rate-limit-reset", strconv.FormatInt(s.opts.Clock().Add(reset).Unix(), 10))
	if f == nil {
		return false
	}
	problem(w, f.Status, "about:blank", http.StatusText(f.Status), http.StatusText(f.Status))
	return true
}
