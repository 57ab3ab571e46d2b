package xsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

const problemType = "https://api.twitter.com/2/problems/"

// who is asking.
type caller struct {
	app    bool
	userID string // of a user token
}

type handler func(w http.ResponseWriter, r *http.Request)

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	app := func(c caller) bool { return c.app }
	anyone := func(c caller) bool { return c.app || c.userID != "" }
	mux.Handle("GET /2/tweets/search/stream", s.guard(EndpointStream, app, s.serveFiltered))
	mux.Handle("GET /2/tweets/search/stream/rules", s.guard(EndpointRules, app, s.listRules))
	mux.Handle("POST /2/tweets/search/stream/rules", s.guard(EndpointRules, app, s.changeRules))
	mux.Handle("GET /2/tweets/compliance/stream", s.guard(EndpointCompliance, app, s.serveCompliance))
	mux.Handle("GET /2/users/compliance/stream", s.guard(EndpointCompliance, app, s.serveUserCompliance))
	mux.Handle("GET /2/tweets", s.guard(EndpointLookup, anyone, s.lookup))
	mux.Handle("POST /2/tweets", s.guard(EndpointCreate, func(c caller) bool { return c.userID != "" }, s.create))
	mux.Handle("GET /2/users/{id}/mentions", s.guard(EndpointMentions, anyone, s.mentions))
	mux.Handle("GET /2/users/by", s.guard(EndpointUsers, anyone, s.usersBy))
	user := func(c caller) bool { return c.userID != "" }
	mux.Handle("GET /2/tweets/search/recent", s.guard(EndpointSearch, anyone, s.search))
	mux.Handle("GET /2/dm_events", s.guard(EndpointDirectRead, user, s.directEvents))
	mux.Handle("GET /2/dm_conversations/with/{participant}/dm_events", s.guard(EndpointDirectRead, user, s.directEvents))
	mux.Handle("POST /2/dm_conversations/with/{participant}/messages", s.guard(EndpointDirectSend, user, s.sendDirect))
	mux.Handle("GET /2/users/{id}", s.guard(EndpointUsers, anyone, s.user))
	mux.Handle("GET /2/users/{id}/tweets", s.guard(EndpointTimeline, anyone, s.timeline))
	s.oauthRoutes(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		problem(w, http.StatusNotFound, "about:blank", "Not Found", "Not Found")
	})
	return mux
}

// guard checks the bearer token and plays the faults on order.
func (s *Server) guard(endpoint Endpoint, allowed func(caller) bool, next handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := s.caller(r)
		switch {
		case !c.app && c.userID == "":
			problem(w, http.StatusUnauthorized, "about:blank", "Unauthorized", "Unauthorized")
		case !allowed(c):
			problem(w, http.StatusForbidden, problemType+"unsupported-authentication", "Unsupported Authentication", "This token is of the wrong kind for this endpoint.")
		case s.failed(w, endpoint):
		default:
			next(w, r)
		}
	})
}

func (s *Server) caller(r *http.Request) caller {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return caller{}
	}
	if token == s.opts.AppToken {
		return caller{app: true}
	}
	id, ok := strings.CutPrefix(token, userTokenPrefix)
	s.mu.Lock()
	defer s.mu.Unlock()
	if linked := s.userOf(token); linked != "" {
		id, ok = linked, true
	}
	if !ok || s.users[id] == nil {
		return caller{}
	}
	return caller{userID: id}
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // whoever hung up misses the answer
}

func problem(w http.ResponseWriter, status int, kind, title, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"type": kind, "title": title, "detail": detail, "status": status})
}

func invalid(w http.ResponseWriter, parameter, message string) {
	answer(w, http.StatusBadRequest, map[string]any{
		"errors": []map[string]any{{"parameters": map[string][]string{parameter: {}}, "message": message}},
		"title":  "Invalid Request", "detail": "One or more parameters to your request was invalid.", "type": problemType + "invalid-request",
	})
}

func resourceProblem(kind, title, detail, resource, id string) map[string]any {
	return map[string]any{
		"type": problemType + kind, "title": title, "detail": detail, "resource_type": resource,
		"resource_id": id, "value": id, "parameter": "ids",
	}
}

// mostIDs is how many ids X takes in one look-up.
const mostIDs = 100

func (s *Server) lookup(w http.ResponseWriter, r *http.Request) {
	ids := strings.Split(r.URL.Query().Get("ids"), ",")
	if len(ids) > mostIDs || ids[0] == "" {
		invalid(w, "ids", "size must be between 1 and 100")
		return
	}
	answer(w, http.StatusOK, s.lookupPage(s.view(r.URL.Query()), ids))
}

func (s *Server) lookupPage(v view, ids []string) json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*tweet
	var problems []map[string]any
	for _, id := range ids {
		t := s.tweets[id]
		switch {
		case t == nil || t.chain.deleted:
			problems = append(problems, resourceProblem("resource-not-found", "Not Found Error", fmt.Sprintf("Could not find tweet with ids: [%s].", id), "tweet", id))
		case s.users[t.authorID].suspended:
			problems = append(problems, resourceProblem("resource-not-found", "Forbidden", fmt.Sprintf("User has been suspended: [%s].", t.authorID), "tweet", id))
		case s.users[t.authorID].protected:
			problems = append(problems, resourceProblem("not-authorized-for-resource", "Authorization Error", fmt.Sprintf("Sorry, you are not authorized to see the Tweet with ids: [%s].", id), "tweet", id))
		case !t.hidden:
			found = append(found, t)
		}
	}
	return s.page(v, found, problems, nil)
}

// page is the body of an answer with tweets, written out while s.mu is held so
// that a slow reader holds up nobody else.
func (s *Server) page(v view, tweets []*tweet, problems []map[string]any, meta map[string]any) json.RawMessage {
	body := map[string]any{}
	if len(tweets) > 0 {
		data := make([]map[string]any, len(tweets))
		for i, t := range tweets {
			data[i] = v.render(t)
		}
		body["data"] = data
	}
	if in := s.includes(v, tweets...); in != nil {
		body["includes"] = in
	}
	if len(problems) > 0 {
		body["errors"] = problems
	}
	if meta != nil {
		body["meta"] = meta
	}
	return line(body)
}

// visible reports whether anybody may see t.
func (s *Server) visible(t *tweet) bool {
	a := s.users[t.authorID]
	return !t.chain.deleted && !a.suspended && !a.protected
}

// mostCharacters is the length of a tweet of an account that does not pay.
const mostCharacters = 280

// create is POST /2/tweets.
func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Text  string `json:"text"`
		Reply *struct {
			To string `json:"in_reply_to_tweet_id"`
		} `json:"reply"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostRequestBytes)).Decode(&request); err != nil || request.Text == "" {
		invalid(w, "text", "text must be given")
		return
	}
	author := s.caller(r).userID
	t := &tweet{authorID: author, text: request.Text, lang: "fr"}
	s.mu.Lock()
	defer s.mu.Unlock()
	forbidden := func(detail string) { problem(w, http.StatusForbidden, "about:blank", "Forbidden", detail) }
	if request.Reply != nil {
		parent := s.tweets[request.Reply.To]
		if parent == nil || !s.visible(parent) {
			forbidden("You attempted to reply to a Tweet that is deleted or not visible to you.")
			return
		}
		if !parent.mentionsUser(author) && parent.authorID != author {
			forbidden("Reply to this conversation is not allowed because you have not been mentioned or otherwise engaged by the author of the post you are replying to.")
			return
		}
		t.refs = []reference{{"replied_to", parent.id}}
	}
	switch {
	case utf8.RuneCountInString(request.Text) > mostCharacters:
		forbidden("Your Tweet text is too long. For more information see the documentation on counting characters.")
		return
	case s.written[author+" "+request.Text]:
		forbidden("You are not allowed to create a Tweet with duplicate content.")
		return
	}
	s.written[author+" "+request.Text] = true
	s.publish(t)
	s.tell("published %s by @%s: %s", t.id, s.users[author].Handle, t.text)
	if s.loseAnswer(w) {
		return
	}
	answer(w, http.StatusCreated, map[string]any{"data": map[string]any{"id": t.id, "text": escape(t.text), "edit_history_tweet_ids": []string{t.id}}})
}

// tell tells what a client did.
func (s *Server) tell(format string, args ...any) {
	if s.opts.Tell != nil {
		s.opts.Tell(fmt.Sprintf(format, args...))
	}
}

// askedHandle is what X lets anybody ask for. Some accounts have longer handles.
var askedHandle = regexp.MustCompile(`^[A-Za-z0-9_]{1,15}$`)

func (s *Server) usersBy(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []map[string]string
	var problems []map[string]any
	handles := strings.Split(r.URL.Query().Get("usernames"), ",")
	if bad := slices.IndexFunc(handles, func(handle string) bool { return !askedHandle.MatchString(handle) }); bad >= 0 {
		invalid(w, "usernames", fmt.Sprintf("The `usernames` query parameter value [%s] does not match ^[A-Za-z0-9_]{1,15}$", handles[bad]))
		return
	}
	for _, handle := range handles {
		if a := s.users[s.handles[strings.ToLower(handle)]]; a != nil && !a.suspended {
			found = append(found, a.render())
			continue
		}
		p := resourceProblem("resource-not-found", "Not Found Error", fmt.Sprintf("Could not find user with usernames: [%s].", handle), "user", handle)
		p["parameter"] = "usernames"
		problems = append(problems, p)
	}
	body := map[string]any{}
	if len(found) > 0 {
		body["data"] = found
	}
	if len(problems) > 0 {
		body["errors"] = problems
	}
	answer(w, http.StatusOK, body)
}

func (s *Server) user(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := r.PathValue("id")
	if a := s.users[id]; a != nil && !a.suspended {
		answer(w, http.StatusOK, map[string]any{"data": a.render()})
		return
	}
	answer(w, http.StatusOK, map[string]any{"errors": []map[string]any{
		resourceProblem("resource-not-found", "Not Found Error", fmt.Sprintf("Could not find user with id: [%s].", id), "user", id)}})
}
