package cardsim

import (
	"math"
	"net/http"
	"strconv"
	"strings"
)

// The states of a payment. Source: Stripe, "How PaymentIntents work".
const (
	statusSucceeded  = "succeeded"
	statusAction     = "requires_action"
	statusMethod     = "requires_payment_method"
	statusProcessing = "processing"
	statusCanceled   = "canceled"
	statusFailed     = "failed"
)

func (s *Server) create(r *http.Request) (int, any) {
	amount, err := strconv.ParseInt(r.PostForm.Get("amount"), 10, 64)
	c, known := parseToken(r.PostForm.Get("payment_method"))
	currency := r.PostForm.Get("currency")
	switch {
	case err != nil || amount < 1 || amount > 99999999:
		return http.StatusBadRequest, invalid("Invalid positive integer")
	case len(currency) != 3:
		return http.StatusBadRequest, invalid("Invalid currency: %s", currency)
	case !known || s.forgotten[c.token]:
		return http.StatusBadRequest, failure("invalid_request_error", "resource_missing", "", "No such PaymentMethod", nil)
	case r.PostForm.Get("confirm") != "true":
		return http.StatusBadRequest, invalid("this simulator only confirms at once")
	case r.PostForm.Get("customer") != holder(c.token):
		return http.StatusBadRequest, invalid("The payment method does not belong to the customer")
	case len(s.intents) >= maxIntents:
		return http.StatusServiceUnavailable, failure("api_error", "", "", "the simulator is full", nil)
	}
	p := &intent{id: s.name("pi"), key: r.PostForm.Get("metadata[charge]"), order: r.PostForm.Get("metadata[order]"), amount: amount, currency: currency,
		card: c, customer: holder(c.token), returnURL: r.PostForm.Get("return_url"), created: s.opts.Clock()}
	s.intents[p.id] = p
	s.order = append(s.order, p)
	p.code, p.decline = declineOf(c, amount)
	switch {
	case p.code != "":
		p.status = statusMethod
	case c.behaviour == BehaviourChallenge && r.PostForm.Get("off_session") == "true":
		p.status, p.code, p.decline = statusMethod, "authentication_required", "authentication_required"
	case c.behaviour == BehaviourChallenge:
		p.status = statusAction
		s.deliver("payment_intent.requires_action", s.shown(p))
		return http.StatusOK, s.shown(p)
	case c.behaviour == BehaviourProcessing:
		p.status = statusProcessing
		return http.StatusOK, s.shown(p)
	}
	if p.code != "" {
		s.deliver("payment_intent.payment_failed", s.shown(p))
		return http.StatusPaymentRequired, failure("card_error", p.code, p.decline, "Your card was declined.", s.shown(p))
	}
	s.succeed(p)
	return http.StatusOK, s.shown(p)
}

// declineOf returns why a card is declined, in Stripe's words; nothing where it is not.
func declineOf(c card, amount int64) (code, decline string) {
	const declined = "card_declined"
	switch c.behaviour {
	case BehaviourDeclined:
		return declined, "do_not_honor"
	case BehaviourFunds:
		return declined, "insufficient_funds"
	case BehaviourStolen:
		return declined, "stolen_card"
	case BehaviourAmount:
		switch amount % 100 {
		case 5:
			return declined, "do_not_honor"
		case 43:
			return declined, "stolen_card"
		case 51:
			return declined, "insufficient_funds"
		case 54:
			return "expired_card", "expired_card"
		case 61:
			return declined, "card_velocity_exceeded"
		}
	}
	return "", ""
}

func (s *Server) succeed(p *intent) {
	p.status, p.succeededAt, p.code, p.decline = statusSucceeded, s.opts.Clock(), "", ""
	s.deliver("payment_intent.succeeded", s.shown(p))
}

// received is what a card was charged.
func (p *intent) received() int64 {
	switch {
	case p.succeededAt.IsZero():
		return 0
	case p.card.behaviour == BehaviourOther:
		return p.amount + 1
	}
	return p.amount
}

// refunded is what of it is back on the card.
func (p *intent) refunded() int64 {
	sum := int64(0)
	for _, r := range p.refunds {
		if r.status == statusSucceeded {
			sum += r.amount
		}
	}
	return sum
}

// shown is a payment as the API shows it.
func (s *Server) shown(p *intent) map[string]any {
	metadata := map[string]string{"charge": p.key}
	if p.order != "" {
		metadata["order"] = p.order
	}
	out := map[string]any{"id": p.id, "object": "payment_intent", "amount": p.amount, "amount_received": p.received(), "currency": p.currency,
		"status": p.status, "created": p.created.Unix(), "customer": p.customer, "payment_method": p.card.token, "metadata": metadata, "latest_charge": nil}
	if p.code != "" {
		out["last_payment_error"] = map[string]any{"type": "card_error", "code": p.code, "decline_code": p.decline, "message": "Your card was declined."}
	}
	if p.status == statusAction {
		out["next_action"] = map[string]any{"type": "redirect_to_url", "redirect_to_url": map[string]any{
			"url": s.opts.URL() + "/challenge/" + p.id, "return_url": p.returnURL}}
	}
	if !p.succeededAt.IsZero() {
		out["latest_charge"] = map[string]any{"id": "ch_" + strings.TrimPrefix(p.id, "pi_"), "object": "charge", "amount": p.received(),
			"payment_intent": p.id, "amount_refunded": p.refunded(), "refunded": p.refunded() >= p.received(), "disputed": len(p.disputes) > 0}
	}
	return out
}

func (s *Server) get(r *http.Request) (int, any) {
	p, ok := s.intents[r.PathValue("id")]
	if !ok {
		return http.StatusNotFound, failure("invalid_request_error", "resource_missing", "", "No such payment_intent", nil)
	}
	if p.status == statusProcessing {
		s.succeed(p)
	}
	return http.StatusOK, s.shown(p)
}

// list shows payments, newest first.
func (s *Server) list(r *http.Request) (int, any) {
	limit, _ := strconv.Atoi(r.Form.Get("limit"))
	since, _ := strconv.ParseInt(r.Form.Get("created[gte]"), 10, 64)
	until, err := strconv.ParseInt(r.Form.Get("created[lte]"), 10, 64)
	if err != nil {
		until = math.MaxInt64
	}
	if limit < 1 || limit > maxPage {
		limit = 10 // as Stripe has it
	}
	customer, after := r.Form.Get("customer"), r.Form.Get("starting_after")
	data := []any{}
	more := false
	for i := len(s.order) - 1; i >= 0; i-- {
		p := s.order[i]
		if after != "" {
			if p.id == after {
				after = ""
			}
			continue
		}
		if p.created.Unix() < since || p.created.Unix() > until || (customer != "" && p.customer != customer) {
			continue
		}
		if len(data) == limit {
			more = true
			break
		}
		data = append(data, s.shown(p))
	}
	return http.StatusOK, map[string]any{"object": "list", "url": "/v1/payment_intents", "has_more": more, "data": data}
}

func (s *Server) cancel(r *http.Request) (int, any) {
	p, ok := s.intents[r.PathValue("id")]
	switch {
	case !ok:
		return http.StatusNotFound, failure("invalid_request_error", "resource_missing", "", "No such payment_intent", nil)
	case p.status != statusAction && p.status != statusMethod:
		return http.StatusBadRequest, failure("invalid_request_error", "payment_intent_unexpected_state", "", "You cannot cancel this PaymentIntent", s.shown(p))
	}
	p.status = statusCanceled
	s.deliver("payment_intent.canceled", s.shown(p))
	return http.StatusOK, s.shown(p)
}
