package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tweetledger/adapters/card"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// cardSettings say who charges cards, and by which rules.
type cardSettings struct {
	APIURL            string   `toml:"api_url"`
	SecretKeyFile     string   `toml:"secret_key_file"`
	WebhookPath       string   `toml:"webhook_path"`
	WebhookSecretFile string   `toml:"webhook_secret_file"`
	Countries         []string `toml:"countries"`
	Minimum           string   `toml:"minimum"`
	Maximum           string   `toml:"maximum"`
	DayCount          int      `toml:"day_count"`
	DayAmount         string   `toml:"day_amount"`
	ChallengeTerm     duration `toml:"challenge_term"`
}

// The environment variables that hold the card processor's secrets.
const (
	cardKeyVariable           = "TWEETLEDGER_CARD_KEY"
	cardWebhookSecretVariable = "TWEETLEDGER_CARD_WEBHOOK_SECRET"
)

// rules returns the settings that are not amounts.
func (s cardSettings) rules() payments.CardConfig {
	return payments.CardConfig{Countries: s.Countries, DayCount: s.DayCount, ChallengeTerm: time.Duration(s.ChallengeTerm)}
}

// cardProcessor returns who charges cards, or nil where the configuration names nobody,
// or this process is given no key: commands that charge nothing need none.
func (s settings) cardProcessor() (payments.CardProcessor, error) {
	if s.Card.APIURL == "" || (s.getenv(cardKeyVariable) == "" && s.Card.SecretKeyFile == "") {
		return nil, nil
	}
	key, err := s.secretText(cardKeyVariable, s.Card.SecretKeyFile)
	if err != nil {
		return nil, fmt.Errorf("configuration, [card]: %w", err)
	}
	client, err := card.NewClient(card.Options{SecretKey: key, BaseURL: s.Card.APIURL})
	if err != nil {
		return nil, fmt.Errorf("configuration, [card]: %w", err)
	}
	return client, nil
}

// cardWebhook returns what takes the card processor's deliveries and wakes whoever looks
// at charges; nil where no cards are charged.
func (s settings) cardWebhook(service *payments.Service, woken chan<- struct{}, o card.WebhookOptions) (http.Handler, error) {
	if s.Card.APIURL == "" {
		return nil, nil
	}
	if processor, err := s.cardProcessor(); err != nil || processor == nil {
		return nil, fmt.Errorf("configuration, [card]: %w", ledger.Errorf(ledger.CodeInvalid, "set %s, or name a file, or empty api_url", cardKeyVariable).InField("secret_key_file"))
	}
	var err error
	if o.Secret, err = s.secretText(cardWebhookSecretVariable, s.Card.WebhookSecretFile); err != nil {
		return nil, fmt.Errorf("configuration, [card]: %w", err)
	}
	o.Refused = service.RecordRefusedNews
	o.Heard = func(ctx context.Context, key, reference string) error {
		err := service.HeardOf(ctx, key, reference)
		if err == nil {
			select {
			case woken <- struct{}{}:
			default: // it is woken already
			}
		}
		return err
	}
	hook, err := card.NewWebhook(o)
	if err != nil {
		return nil, fmt.Errorf("configuration, [card]: %w", err)
	}
	return hook, nil
}

// cardMetrics tell which charges of cards are not finished.
type cardMetrics struct{ open, oldestSeconds, refunding, disputed, apart prometheus.Gauge }

func newCardMetrics(registerer prometheus.Registerer) *cardMetrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &cardMetrics{
		open:          gauge("tweetledger_card_charges_open", "Charges of cards that are neither posted nor ended, counted up to 10,000."),
		oldestSeconds: gauge("tweetledger_card_charges_open_oldest_seconds", "Age of the oldest of them; 0 where there is none."),
		refunding:     gauge("tweetledger_card_charges_refunding", "Charges whose money is on its way back to the card, counted up to 10,000."),
		disputed:      gauge("tweetledger_card_charges_disputed", "Charges that a chargeback has taken, counted up to 10,000."),
		apart:         gauge("tweetledger_card_suspense_minor_units", "What stands in suspense until it is back on cards, in minor units."),
	}
	if registerer != nil {
		registerer.MustRegister(m.open, m.oldestSeconds, m.refunding, m.disputed, m.apart)
	}
	return m
}

// measure reads what waits in the book.
func (m *cardMetrics) measure(ctx context.Context, book *engine.Engine) error {
	var w payments.CardsWaiting
	err := book.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		w, err = payments.MeasureCards(ctx, tx)
		return err
	})
	if err != nil {
		return err
	}
	m.open.Set(float64(w.Open))
	m.oldestSeconds.Set(0)
	if !w.OldestAt.IsZero() {
		m.oldestSeconds.Set(max(0, book.Now().Sub(w.OldestAt).Seconds()))
	}
	m.refunding.Set(float64(w.Refunding))
	m.disputed.Set(float64(w.Disputed))
	m.apart.Set(float64(w.Apart))
	return nil
}
