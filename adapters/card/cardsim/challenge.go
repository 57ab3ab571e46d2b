package cardsim

import (
	"fmt"
	"html/template"
	"net/http"
	"net/url"
)

// challengeHTML is the page of the card's issuer on which the cardholder authenticates.
const challengeHTML = `<!doctype html><html lang="fr"><meta charset="utf-8"><title>3-D Secure</title>
<h1>Votre banque / Your bank</h1>
<p>{{.Amount}} {{.Currency}}</p>
<form method="post"><button name="answer" value="approve">Approuver / Approve</button> <button name="answer" value="refuse">Refuser / Refuse</button></form>
</html>
`

func (s *Server) challengePage(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	p, ok := s.intents[r.PathValue("id")]
	waits := ok && p.status == statusAction
	s.mu.Unlock()
	if !waits {
		http.Error(w, "there is nothing to authenticate here", http.StatusNotFound)
		return
	}
	page, err := template.New("challenge").Parse(challengeHTML)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	_ = page.Execute(w, map[string]string{"Amount": fmt.Sprintf("%d,%02d", p.amount/100, p.amount%100), "Currency": p.currency}) // whoever hung up misses it
}

func (s *Server) challengeAnswer(w http.ResponseWriter, r *http.Request) {
	back, err := s.answerChallenge(r.PathValue("id"), r.FormValue("answer") == "approve")
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	u, err := url.Parse(back)
	if err != nil || u.Host == "" {
		http.Error(w, "done; go back to where you came from", http.StatusOK)
		return
	}
	query := u.Query()
	query.Set("payment_intent", r.PathValue("id"))
	u.RawQuery = query.Encode()
	http.Redirect(w, r, u.String(), http.StatusSeeOther)
}

// Authenticate answers the challenge of a payment as its cardholder would.
func (s *Server) Authenticate(reference string, approve bool) error {
	_, err := s.answerChallenge(reference, approve)
	return err
}

func (s *Server) answerChallenge(id string, approve bool) (back string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.intents[id]
	if !ok || p.status != statusAction {
		return "", fmt.Errorf("%s does not wait for its cardholder", id)
	}
	if approve {
		s.succeed(p)
		return p.returnURL, nil
	}
	p.status, p.code = statusMethod, "payment_intent_authentication_failure"
	s.deliver("payment_intent.payment_failed", s.shown(p))
	return p.returnURL, nil
}
