package cardsim

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/stripe/stripe-go/v85/webhook"
)

// maxDeliveries bounds what lies ready to be delivered; the oldest are forgotten.
const maxDeliveries = 10_000

// Delivery is an event on its way to the webhook.
type Delivery struct {
	Type string // "payment_intent.succeeded"
	Body []byte
}

// deliver makes an event lie ready; the server is locked.
func (s *Server) deliver(kind string, object map[string]any) {
	body, err := json.Marshal(map[string]any{"id": s.name("evt"), "object": "event", "type": kind, "created": s.opts.Clock().Unix(),
		"data": map[string]any{"object": object}})
	if err != nil {
		panic(fmt.Sprintf("cardsim: an event that is no JSON: %v", err)) // maps of texts and numbers are
	}
	s.deliveries = append(s.deliveries, Delivery{Type: kind, Body: body})
	if len(s.deliveries) > maxDeliveries {
		s.deliveries = slices.Delete(s.deliveries, 0, len(s.deliveries)-maxDeliveries)
	}
}

// Take returns what lies ready to be delivered, oldest first, and forgets it: whoever
// takes it delivers it when, as often and in the order that he likes.
func (s *Server) Take() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.deliveries
	s.deliveries = nil
	return list
}

// Sign returns the signature header of a delivery that is signed at a time.
func (s *Server) Sign(d Delivery, at time.Time) string {
	return fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(webhook.ComputeSignature(at, d.Body, s.opts.Secret)))
}

// Post delivers to the webhook at a URL.
func (s *Server) Post(ctx context.Context, client *http.Client, url string, d Delivery) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(d.Body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Stripe-Signature", s.Sign(d, s.opts.Clock()))
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	if err := answer.Body.Close(); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the webhook answered %s", answer.Status)
	}
	return nil
}
