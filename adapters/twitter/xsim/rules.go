package xsim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// rule is one filter of the stream.
type rule struct {
	ID    string `json:"id"`
	Value string `json:"value"`
	Tag   string `json:"tag,omitempty"`
}

// maxRules is what X allows an app of the basic access levels.
const maxRules = 1000

func (s *Server) listRules(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	rules := slices.Clone(s.rules)
	s.mu.Unlock()
	body := map[string]any{"meta": map[string]any{"sent": s.opts.Clock().UTC().Format(timeFormat), "result_count": len(rules)}}
	if len(rules) > 0 {
		body["data"] = rules
	}
	answer(w, http.StatusOK, body)
}

func (s *Server) changeRules(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Add    []rule `json:"add"`
		Delete *struct {
			IDs    []string `json:"ids"`
			Values []string `json:"values"`
		} `json:"delete"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostRequestBytes)).Decode(&request); err != nil || (request.Delete == nil) == (len(request.Add) == 0) {
		invalid(w, "add", "Exactly one of add and delete must be given")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if request.Delete != nil {
		before := len(s.rules)
		s.rules = slices.DeleteFunc(s.rules, func(old rule) bool {
			return slices.Contains(request.Delete.IDs, old.ID) || slices.Contains(request.Delete.Values, old.Value)
		})
		answer(w, http.StatusOK, map[string]any{"meta": map[string]any{"summary": map[string]int{"deleted": before - len(s.rules), "not_deleted": 0}}})
		return
	}
	var created []rule
	var problems []map[string]any
	for _, add := range request.Add {
		same := slices.IndexFunc(s.rules, func(old rule) bool { return old.Value == add.Value })
		switch {
		case same >= 0:
			problems = append(problems, map[string]any{"value": add.Value, "id": s.rules[same].ID, "title": "DuplicateRule", "type": problemType + "duplicate-rules"})
		case !validRule(add.Value):
			problems = append(problems, map[string]any{"value": add.Value, "title": "UnprocessableEntity", "type": problemType + "invalid-rules", "details": []string{"xsim knows @handle, from:, to:, #tag, is:, lang:, conversation_id: and words, with - before them"}})
		case len(s.rules) >= maxRules:
			problems = append(problems, map[string]any{"value": add.Value, "title": "RulesCapExceeded", "type": problemType + "rule-cap"})
		default:
			add.ID = s.newID()
			s.rules = append(s.rules, add)
			created = append(created, add)
		}
	}
	body := map[string]any{"meta": map[string]any{"sent": s.opts.Clock().UTC().Format(timeFormat), "summary": map[string]int{
		"created": len(created), "not_created": len(problems), "valid": len(created), "invalid": len(problems)}}}
	if len(created) > 0 {
		body["data"] = created
	}
	if len(problems) > 0 {
		body["errors"] = problems
	}
	answer(w, http.StatusCreated, body)
}

// validRule takes the terms of X's rule language that match understands, all of
// which must hold; no groups, no OR.
func validRule(value string) bool {
	terms := strings.Fields(value)
	for _, term := range terms {
		if term == "OR" || strings.ContainsAny(term, `()"`) {
			return false
		}
		key, _, operator := strings.Cut(strings.TrimPrefix(term, "-"), ":")
		if operator && !slices.Contains([]string{"from", "to", "is", "lang", "conversation_id"}, key) {
			return false
		}
	}
	return len(terms) > 0
}

// matching returns the rules that let t through.
func (s *Server) matching(t *tweet) []map[string]string {
	var found []map[string]string
	for _, r := range s.rules {
		if s.matches(r.Value, t) {
			found = append(found, map[string]string{"id": r.ID, "tag": r.Tag})
		}
	}
	return found
}

func (s *Server) matches(value string, t *tweet) bool {
	for _, term := range strings.Fields(value) {
		plain := strings.TrimPrefix(term, "-")
		if s.holds(strings.ToLower(plain), t) != (plain == term) {
			return false
		}
	}
	return true
}

func (s *Server) holds(term string, t *tweet) bool {
	key, arg, operator := strings.Cut(term, ":")
	switch {
	case strings.HasPrefix(term, "@"):
		return t.mentionsUser(s.userID(term[1:]))
	case strings.HasPrefix(term, "#"):
		return slices.ContainsFunc(t.hashtags, func(h hashtag) bool { return strings.EqualFold(h.Tag, term[1:]) })
	case !operator:
		return strings.Contains(strings.ToLower(t.text), term)
	}
	switch key {
	case "from":
		return t.authorID == arg || t.authorID == s.userID(arg) // X takes ids and names
	case "to":
		return t.inReplyToID != "" && t.inReplyToID == s.userID(arg)
	case "lang":
		return t.lang == arg
	case "conversation_id":
		return t.conversation == arg
	}
	switch arg {
	case "retweet":
		return t.is("retweeted")
	case "reply":
		return t.is("replied_to")
	case "quote":
		return t.is("quoted")
	}
	return false
}

// nobody is what userID finds where there is nobody: an id that no user has.
const nobody = "-"

// userID returns the id of a user named by handle or id, or nobody.
func (s *Server) userID(name string) string {
	if id, ok := s.handles[strings.ToLower(name)]; ok {
		return id
	}
	if s.users[name] != nil {
		return name
	}
	return nobody
}
