package xsim

import "net/http"

// EndpointTimeline are the posts of one user, for which a fault can be ordered.
const EndpointTimeline Endpoint = "timeline"

// mostTimeline is how far back the posts of a user can be read.
const mostTimeline = 3200

// timeline is GET /2/users/{id}/tweets.
func (s *Server) timeline(w http.ResponseWriter, r *http.Request) {
	asked, parameter, problem := parseWindow(r.URL.Query(), 10, "pagination_token")
	if problem != "" {
		invalid(w, parameter, problem)
		return
	}
	id := r.PathValue("id")
	answer(w, http.StatusOK, s.pageOf(s.view(r.URL.Query()), asked, mostTimeline, func(t *tweet) bool { return t.authorID == id }))
}
