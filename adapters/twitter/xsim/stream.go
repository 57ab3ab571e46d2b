package xsim

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
)

// subscriber is one open stream. What is sent to it waits in queue; gone is
// closed when it must end.
type subscriber struct {
	view      view
	partition int // of the compliance stream; 0 on the filtered stream
	queue     chan message
	gone      chan struct{}
	ended     bool // gone is closed
}

// message is one line for a stream. cut: send half of it, then hang up. last: hang up after it.
type message struct {
	line []byte
	cut  bool
	last bool
}

func newSubscriber(v view, partition int) *subscriber {
	return &subscriber{view: v, partition: partition, queue: make(chan message, streamQueue), gone: make(chan struct{})}
}

// send queues a line, or ends a stream whose reader is too slow. s.mu is held.
func (sub *subscriber) send(m message) {
	select {
	case sub.queue <- m:
	default:
		sub.end()
	}
}

// end hangs up. s.mu is held.
func (sub *subscriber) end() {
	if !sub.ended {
		sub.ended = true
		close(sub.gone)
	}
}

// deliver puts t on the filtered stream where a rule lets it through. s.mu is held.
func (s *Server) deliver(t *tweet) {
	rules := s.matching(t)
	if s.filtered == nil || len(rules) == 0 {
		return
	}
	if s.faults.lose > 0 {
		s.faults.lose--
		return
	}
	body := map[string]any{"data": s.filtered.view.render(t), "matching_rules": rules}
	if in := s.includes(s.filtered.view, t); in != nil {
		body["includes"] = in
	}
	m := message{line: line(body)}
	if s.faults.cut > 0 {
		s.faults.cut--
		m.cut = true
	}
	if s.faults.hold > 0 && !m.cut {
		s.faults.hold--
		s.faults.held = append(s.faults.held, m)
		return
	}
	s.filtered.send(m)
	if s.faults.duplicate > 0 && !m.cut {
		s.faults.duplicate--
		s.filtered.send(m)
	}
	s.release()
}

// announceDeletion tells the compliance stream. s.mu is held.
func (s *Server) announceDeletion(t *tweet) {
	event := line(map[string]any{"data": map[string]any{"delete": map[string]any{
		"tweet":    map[string]string{"id": t.id, "author_id": t.authorID},
		"event_at": s.opts.Clock().UTC().Format(timeFormat),
	}}})
	for sub := range s.listeners {
		if sub.partition == partitionOf(t.authorID) {
			sub.send(message{line: event})
		}
	}
}

// announceGone tells the compliance stream of accounts. s.mu is held.
func (s *Server) announceGone(what, userID string) {
	event := line(map[string]any{"data": map[string]any{what: map[string]any{
		"user":     map[string]string{"id": userID},
		"event_at": s.opts.Clock().UTC().Format(timeFormat),
	}}})
	for sub := range s.watchers {
		if sub.partition == partitionOf(userID) {
			sub.send(message{line: event})
		}
	}
}

// partitions is how many parts X's compliance stream is read in.
const partitions = 4

// partitionOf spreads users over the partitions of the compliance stream.
func partitionOf(userID string) int { return int(number(userID)%partitions) + 1 }

func line(body any) []byte {
	b, err := json.Marshal(body)
	if err != nil { // maps of strings and numbers: it cannot happen
		return []byte("{}\r\n")
	}
	return append(b, '\r', '\n')
}

// serveFiltered is GET /2/tweets/search/stream. As with X there is one
// connection; a new one takes the place of the old, so that a client that was cut
// off need not wait until the server has noticed.
func (s *Server) serveFiltered(w http.ResponseWriter, r *http.Request) {
	sub := newSubscriber(s.view(r.URL.Query()), 0)
	s.mu.Lock()
	if old := s.filtered; old != nil {
		old.send(message{line: disconnectError("This stream was replaced by a newer connection"), last: true})
	}
	s.filtered = sub
	s.announceJoin()
	s.mu.Unlock()
	s.run(w, r, sub)
	s.mu.Lock()
	if s.filtered == sub {
		s.filtered = nil
	}
	s.mu.Unlock()
}

// serveCompliance is GET /2/tweets/compliance/stream.
func (s *Server) serveCompliance(w http.ResponseWriter, r *http.Request) {
	s.servePartition(w, r, s.listeners)
}

// serveUserCompliance is GET /2/users/compliance/stream.
func (s *Server) serveUserCompliance(w http.ResponseWriter, r *http.Request) {
	s.servePartition(w, r, s.watchers)
}

func (s *Server) servePartition(w http.ResponseWriter, r *http.Request, listeners map[*subscriber]bool) {
	partition, err := strconv.Atoi(r.URL.Query().Get("partition"))
	if err != nil || partition < 1 || partition > partitions {
		invalid(w, "partition", "partition must be 1 to 4")
		return
	}
	sub := newSubscriber(view{}, partition)
	s.mu.Lock()
	listeners[sub] = true
	s.announceJoin()
	s.mu.Unlock()
	s.run(w, r, sub)
	s.mu.Lock()
	delete(listeners, sub)
	s.mu.Unlock()
}

func (s *Server) announceJoin() {
	close(s.joined)
	s.joined = make(chan struct{})
}

// WaitForStreams returns when at least filtered streams and compliance streams
// are connected (filtered is 0 or 1), or with the context's error.
func (s *Server) WaitForStreams(ctx context.Context, filtered, compliance int) error {
	return s.waitFor(ctx, func() bool { return len(s.listeners) >= compliance && (filtered == 0 || s.filtered != nil) })
}

// WaitForUserStreams returns when at least so many compliance streams of accounts are
// connected, or with the context's error.
func (s *Server) WaitForUserStreams(ctx context.Context, n int) error {
	return s.waitFor(ctx, func() bool { return len(s.watchers) >= n })
}

func (s *Server) waitFor(ctx context.Context, ready func() bool) error {
	for {
		s.mu.Lock()
		joined, there := s.joined, ready()
		s.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-joined:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// run writes sub's lines until somebody hangs up, with a newline where nothing
// was sent for a while.
func (s *Server) run(w http.ResponseWriter, r *http.Request, sub *subscriber) {
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	if out.Flush() != nil {
		return
	}
	for {
		idle := s.opts.After(keepAlive)
		select {
		case m := <-sub.queue:
			if !s.awaitSound(r.Context(), sub) || !write(w, out, m) {
				return
			}
		case <-idle:
			if s.silent() {
				continue
			}
			if !write(w, out, message{line: []byte("\r\n")}) {
				return
			}
		case <-sub.gone:
			return
		case <-r.Context().Done():
			return
		case <-s.closed:
			return
		}
	}
}

// write sends one line; false where the stream must end.
func write(w http.ResponseWriter, out *http.ResponseController, m message) bool {
	if m.cut {
		m.line = m.line[:len(m.line)/2]
	}
	if _, err := w.Write(m.line); err != nil {
		return false
	}
	return out.Flush() == nil && !m.cut && !m.last
}

func disconnectError(detail string) []byte {
	return line(map[string]any{"errors": []map[string]string{{
		"title":           "operational-disconnect",
		"disconnect_type": "UpstreamOperationalDisconnect",
		"detail":          detail,
		"type":            problemType + "operational-disconnect",
	}}})
}
