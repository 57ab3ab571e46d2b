package twitter

// Problem is how X describes an error: as an answer's body, beside data, or in a
// stream. Source: OpenAPI document of the X API v2, schema Problem.
type Problem struct {
	Type       string `json:"type"` // an address whose last part names the problem
	Title      string `json:"title"`
	Detail     string `json:"detail"`
	ResourceID string `json:"resource_id"`
	Value      string `json:"value"`
	Message    string `json:"message"` // in what older parts of the API answer
}

// String says in one line what X said.
func (p Problem) String() string {
	for _, s := range []string{p.Detail, p.Message, p.Title, p.Type} {
		if s != "" {
			return clip(s)
		}
	}
	return "no reason given"
}
