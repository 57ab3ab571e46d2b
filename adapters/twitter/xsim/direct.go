package xsim

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"time"
)

// direct is a direct message.
type direct struct {
	id, from, to string
	text         string
	createdAt    time.Time
	mentions     []mention
}

// DirectMessage is a direct message as a test looks at it.
type DirectMessage struct {
	ID, From, To string // From and To are user ids
	Text         string
	CreatedAt    time.Time
}

// Direct sends a direct message and returns its id.
func (s *Server) Direct(from, to, text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sendMessage(from, to, text).id
}

// sendMessage keeps a direct message. s.mu is held.
func (s *Server) sendMessage(from, to, text string) *direct {
	for _, id := range []string{from, to} {
		if s.users[id] == nil {
			s.addUser(id, "user"+id, "")
		}
	}
	d := &direct{id: s.newID(), from: from, to: to, text: text, createdAt: s.opts.Clock().UTC().Truncate(time.Millisecond)}
	d.mentions, _ = s.entities(text)
	s.directs = append(s.directs, d)
	if len(s.directs) > s.opts.MaxTweets {
		s.directs = s.directs[1:]
	}
	s.notifyDirect(d)
	return d
}

// Directs returns the direct messages to a user, the oldest first.
func (s *Server) Directs(to string) []DirectMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []DirectMessage
	for _, d := range s.directs {
		if d.to == to {
			found = append(found, DirectMessage{ID: d.id, From: d.from, To: d.to, Text: d.text, CreatedAt: d.createdAt})
		}
	}
	return found
}

// conversation names a conversation of two: both ids, the smaller first.
func conversation(a, b string) string {
	if number(a) > number(b) {
		a, b = b, a
	}
	return a + "-" + b
}

// directEvents is GET /2/dm_events and GET /2/dm_conversations/with/{participant}/dm_events.
func (s *Server) directEvents(w http.ResponseWriter, r *http.Request) {
	asked, parameter, problem := parseWindow(r.URL.Query(), 1, "pagination_token")
	if problem != "" {
		invalid(w, parameter, problem)
		return
	}
	answer(w, http.StatusOK, s.directPage(set(r.URL.Query().Get("dm_event.fields")), set(r.URL.Query().Get("expansions")), s.caller(r).userID, r.PathValue("participant"), asked))
}

func (s *Server) directPage(fields, expansions map[string]bool, me, with string, asked window) json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	data := []map[string]any{}
	var users []map[string]string
	var last string
	more := false
	for _, d := range slices.Backward(s.directs) {
		if d.from != me && d.to != me || with != "" && d.from != with && d.to != with || number(d.id) >= asked.before {
			continue
		}
		if len(data) == asked.size {
			more = true
			break
		}
		last = d.id
		data = append(data, d.render(fields, expansions))
		for _, id := range []string{d.from, d.to} {
			if u := s.users[id].render(); expansions["sender_id"] && !slices.ContainsFunc(users, func(o map[string]string) bool { return o["id"] == id }) {
				users = append(users, u)
			}
		}
	}
	meta := map[string]any{"result_count": len(data)}
	if more {
		meta["next_token"] = pageToken(last)
	}
	body := map[string]any{"meta": meta}
	if len(data) > 0 {
		body["data"] = data
	}
	if len(users) > 0 {
		body["includes"] = map[string]any{"users": users}
	}
	return line(body)
}

// writtenAddress is an address in a text: X shows a short one of its own.
var writtenAddress = regexp.MustCompile(`https?://[^\s]+`)

// render gives the fields that were asked for. As X does for direct messages, the
// mentions have no ids.
func (d *direct) render(fields, expansions map[string]bool) map[string]any {
	out := map[string]any{"id": d.id, "event_type": "MessageCreate", "text": escape(writtenAddress.ReplaceAllString(d.text, "https://t.co/"+d.id))}
	if fields["created_at"] {
		out["created_at"] = d.createdAt.Format(timeFormat)
	}
	if fields["dm_conversation_id"] {
		out["dm_conversation_id"] = conversation(d.from, d.to)
	}
	if expansions["sender_id"] {
		out["sender_id"] = d.from
	}
	if fields["entities"] && len(d.mentions) > 0 {
		named := make([]map[string]any, len(d.mentions))
		for i, m := range d.mentions {
			named[i] = map[string]any{"start": m.Start, "end": m.End, "username": m.Username}
		}
		out["entities"] = map[string]any{"mentions": named}
	}
	return out
}

// sendDirect is POST /2/dm_conversations/with/{participant}/messages.
func (s *Server) sendDirect(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Text string `json:"text"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostRequestBytes)).Decode(&request); err != nil || request.Text == "" {
		invalid(w, "text", "text must be given")
		return
	}
	me, to := s.caller(r).userID, r.PathValue("participant")
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.users[to]; a == nil || a.suspended {
		problem(w, http.StatusForbidden, "about:blank", "Forbidden", "You do not have permission to DM one or more participants.")
		return
	}
	d := s.sendMessage(me, to, request.Text)
	s.tell("sent %s by @%s to @%s: %s", d.id, s.users[me].Handle, s.users[to].Handle, d.text)
	if s.loseAnswer(w) {
		return
	}
	answer(w, http.StatusCreated, map[string]any{"data": map[string]string{"dm_conversation_id": conversation(me, to), "dm_event_id": d.id}})
}
