package xsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// window is which tweets are asked for: those with ids between since and before, not
// older than start, at most size.
type window struct {
	since, before uint64
	start         time.Time
	size          int
}

// parseWindow reads the parameters of a page, or says which of them is wrong. token
// names the one that pages.
func parseWindow(q url.Values, least int, token string) (w window, parameter, problem string) {
	w = window{since: number(q.Get("since_id")), before: ^uint64(0), size: 10}
	var err error
	if given := q.Get("max_results"); given != "" {
		if w.size, err = strconv.Atoi(given); err != nil || w.size < least || w.size > 100 {
			return w, "max_results", fmt.Sprintf("max_results must be between %d and 100", least)
		}
	}
	if given := q.Get("start_time"); given != "" {
		if w.start, err = time.Parse(time.RFC3339, given); err != nil {
			return w, "start_time", "start_time must be a time like 2006-01-02T15:04:05Z"
		}
	}
	if given := q.Get(token); given != "" {
		if w.before, err = strconv.ParseUint(given, 32, 64); err != nil {
			return w, token, token + " is not one of ours"
		}
	}
	return w, "", ""
}

// pageToken is the token of the page after the tweet or message with this id.
func pageToken(id string) string { return fmt.Sprintf("%016s", strconv.FormatUint(number(id), 32)) }

// mostMentions is how far back the mentions of a user can be read.
const mostMentions = 800

// mentions is GET /2/users/{id}/mentions.
func (s *Server) mentions(w http.ResponseWriter, r *http.Request) {
	asked, parameter, problem := parseWindow(r.URL.Query(), 5, "pagination_token")
	if problem != "" {
		invalid(w, parameter, problem)
		return
	}
	user := r.PathValue("id")
	page := s.pageOf(s.view(r.URL.Query()), asked, mostMentions, func(t *tweet) bool { return !t.is("retweeted") && t.mentionsUser(user) })
	answer(w, http.StatusOK, page)
}

const (
	// searchReach is how far back recent search goes.
	searchReach = 7 * 24 * time.Hour
	// mostQuery is how long a query may be.
	mostQuery = 512
)

// search is GET /2/tweets/search/recent. It knows the terms that rules know.
func (s *Server) search(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query().Get("query")
	if len(query) > mostQuery || !validRule(query) {
		invalid(w, "query", "There were errors processing your request: the query is not one that xsim knows")
		return
	}
	asked, parameter, problem := parseWindow(r.URL.Query(), 10, "next_token")
	earliest := s.opts.Clock().Add(-searchReach)
	if problem == "" && !asked.start.IsZero() && asked.start.Before(earliest) {
		parameter, problem = "start_time", "'start_time' must be on or after "+earliest.UTC().Format(time.RFC3339)
	}
	if problem != "" {
		invalid(w, parameter, problem)
		return
	}
	if asked.start.IsZero() {
		asked.start = earliest
	}
	answer(w, http.StatusOK, s.pageOf(s.view(r.URL.Query()), asked, s.opts.MaxTweets, func(t *tweet) bool { return s.matches(query, t) }))
}

// pageOf answers with the tweets in a window that wanted lets through, the newest
// first, among the newest reach of them. wanted is called while s.mu is held.
func (s *Server) pageOf(v view, asked window, reach int, wanted func(*tweet) bool) json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*tweet
	more := false
	for i, seen := len(s.order)-1, 0; i >= 0 && seen < reach; i-- {
		t := s.order[i]
		id := number(t.id)
		if id <= asked.since || t.createdAt.Before(asked.start) {
			break
		}
		if !s.visible(t) || !t.latest() || !wanted(t) {
			continue
		}
		seen++
		if id >= asked.before {
			continue
		}
		if len(found) == asked.size {
			more = true
			break
		}
		found = append(found, t)
	}
	meta := map[string]any{"result_count": len(found)}
	if len(found) > 0 {
		meta["newest_id"], meta["oldest_id"] = found[0].id, found[len(found)-1].id
	}
	if more {
		meta["next_token"] = pageToken(found[len(found)-1].id)
	}
	return s.page(v, found, nil, meta)
}
