package cardsim

import (
	"fmt"
	"net/http"
	"strconv"
)

func (s *Server) refund(r *http.Request) (int, any) {
	p, ok := s.intents[r.PostForm.Get("payment_intent")]
	if !ok || p.succeededAt.IsZero() {
		return http.StatusBadRequest, invalid("there is nothing to refund")
	}
	left := p.received() - p.refunded()
	amount := left
	if text := r.PostForm.Get("amount"); text != "" {
		amount, _ = strconv.ParseInt(text, 10, 64)
	}
	switch {
	case left == 0:
		return http.StatusBadRequest, failure("invalid_request_error", "charge_already_refunded", "", "Charge has already been refunded.", nil)
	case amount < 1 || amount > left:
		return http.StatusBadRequest, invalid("Refund amount is greater than unrefunded amount on charge")
	case p.takenBack() > 0:
		return http.StatusBadRequest, failure("invalid_request_error", "charge_disputed", "", "The charge is disputed", nil)
	}
	return http.StatusOK, s.giveBack(p, amount)
}

func (s *Server) giveBack(p *intent, amount int64) map[string]any {
	made := &refund{id: s.name("re"), status: statusSucceeded, amount: amount, at: s.opts.Clock()}
	if p.card.behaviour == BehaviourRefunds {
		made.status = statusFailed
	}
	p.refunds = append(p.refunds, made)
	shown := made.shown(p)
	s.deliver("refund.updated", shown)
	return shown
}

// RefundOutside refunds a payment as somebody would on the acquirer's own pages.
func (s *Server) RefundOutside(reference string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.intents[reference]
	if !ok || p.received() == p.refunded() || p.takenBack() > 0 {
		return fmt.Errorf("there is nothing to refund of %s", reference)
	}
	s.giveBack(p, p.received()-p.refunded())
	return nil
}

func (r *refund) shown(p *intent) map[string]any {
	return map[string]any{"id": r.id, "object": "refund", "amount": r.amount, "currency": p.currency, "payment_intent": p.id, "status": r.status, "created": r.at.Unix()}
}

func (s *Server) listRefunds(r *http.Request) (int, any) {
	data := []any{}
	if p, ok := s.intents[r.Form.Get("payment_intent")]; ok {
		for i := len(p.refunds) - 1; i >= 0; i-- {
			data = append(data, p.refunds[i].shown(p))
		}
	}
	return http.StatusOK, map[string]any{"object": "list", "url": "/v1/refunds", "has_more": false, "data": data}
}

// takenBack is what disputes that are open or lost have taken.
func (p *intent) takenBack() int64 {
	sum := int64(0)
	for _, d := range p.disputes {
		if d.status != "won" {
			sum += d.amount
		}
	}
	return sum
}

func (p *intent) openDispute() *dispute {
	for _, d := range p.disputes {
		if d.status == "needs_response" {
			return d
		}
	}
	return nil
}

// Dispute lets the cardholder dispute a payment: the acquirer takes the money back.
func (s *Server) Dispute(reference string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.intents[reference]
	if !ok || p.succeededAt.IsZero() || p.openDispute() != nil {
		return "", fmt.Errorf("%s cannot be disputed", reference)
	}
	d := &dispute{id: s.name("dp"), status: "needs_response", amount: p.received(), at: s.opts.Clock()}
	p.disputes = append(p.disputes, d)
	s.deliver("charge.dispute.created", d.shown(p))
	return d.id, nil
}

// CloseDispute ends the open dispute of a payment; a won one brings the money back.
func (s *Server) CloseDispute(reference string, won bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.intents[reference]
	if !ok || p.openDispute() == nil {
		return fmt.Errorf("%s is not disputed", reference)
	}
	d := p.openDispute()
	d.status = "lost"
	if won {
		d.status, d.wonAt = "won", s.opts.Clock()
	}
	s.deliver("charge.dispute.closed", d.shown(p))
	return nil
}

func (d *dispute) shown(p *intent) map[string]any {
	return map[string]any{"id": d.id, "object": "dispute", "amount": d.amount, "currency": p.currency, "payment_intent": p.id, "status": d.status, "created": d.at.Unix()}
}

func (s *Server) listDisputes(r *http.Request) (int, any) {
	data := []any{}
	if p, ok := s.intents[r.Form.Get("payment_intent")]; ok {
		for _, d := range p.disputes {
			data = append(data, d.shown(p))
		}
	}
	return http.StatusOK, map[string]any{"object": "list", "url": "/v1/disputes", "has_more": false, "data": data}
}
