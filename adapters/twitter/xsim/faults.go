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
)

// Failure is what an endpoint answers instead of doing its work.
type Failure struct {
	Status int           // 429, 503, …
	Times  int           // for how many requests
	Reset  time.Duration // with 429: after which time x-rate-limit-reset allows more
}

// faults are those on order. Server.mu guards them.
type faults struct {
	failures map[Endpoint]*Failure
	cut      int
	lose     int
	silence  chan struct{} // closed when the silence ends; nil: none
}

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
