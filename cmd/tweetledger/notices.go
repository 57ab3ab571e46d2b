package main

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"tweetledger/adapters/notify"
	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// notifySettings say who delivers the notices to customers.
type notifySettings struct {
	SMS               string `toml:"sms"`
	WebhookURL        string `toml:"webhook_url"`
	WebhookSecretFile string `toml:"webhook_secret_file"`
	SMTPHost          string `toml:"smtp_host"`
	SMTPPort          int    `toml:"smtp_port"`
	SMTPTLS           string `toml:"smtp_tls"`
	SMTPUsername      string `toml:"smtp_username"`
	SMTPPasswordFile  string `toml:"smtp_password_file"`
	SMTPFrom          string `toml:"smtp_from"`
	SMTPSMSDomain     string `toml:"smtp_sms_domain"`
}

// The sinks of notices.
const (
	sinkLog     = "log"
	sinkWebhook = "webhook"
	sinkSMTP    = "smtp"
)

// The environment variables that take the place of secret files.
const (
	notifySecretVariable = "TWEETLEDGER_NOTIFY_SECRET"
	smtpPasswordVariable = "TWEETLEDGER_SMTP_PASSWORD"
)

// notifier returns who delivers notices, with its attempts counted.
func (a *app) notifier(s settings, log *slog.Logger) (payments.Notifier, error) {
	sink, err := a.sink(s, log)
	if err != nil {
		return nil, fmt.Errorf("configuration, [notify]: %w", err)
	}
	meter, err := notify.NewMeter(a.registry)
	if err != nil {
		return nil, err
	}
	return meter.Of(sink, s.Notify.SMS), nil
}

func (a *app) sink(s settings, log *slog.Logger) (payments.Notifier, error) {
	switch s.Notify.SMS {
	case sinkLog:
		return notify.NewLog(log), nil
	case sinkWebhook:
		secret, err := s.notifySecret()
		if err != nil {
			return nil, err
		}
		return notify.NewWebhook(notify.WebhookOptions{URL: s.Notify.WebhookURL, Secret: secret, Clock: a.now})
	case sinkSMTP:
		password, err := s.smtpPassword()
		if err != nil {
			return nil, err
		}
		n := s.Notify
		return notify.NewSMTP(notify.SMTPOptions{Host: n.SMTPHost, Port: n.SMTPPort, TLS: n.SMTPTLS, Username: n.SMTPUsername, Password: password,
			From: n.SMTPFrom, SMSDomain: n.SMTPSMSDomain, Clock: a.now})
	}
	return nil, ledger.Errorf(ledger.CodeInvalid, "%q delivers no notices; use %s, %s or %s", s.Notify.SMS, sinkLog, sinkWebhook, sinkSMTP).InField("sms")
}

// notifySecret returns the secret that signs notices to a gateway.
func (s settings) notifySecret() ([]byte, error) {
	text, err := s.secretText(notifySecretVariable, s.Notify.WebhookSecretFile)
	if err != nil {
		return nil, err
	}
	if text == "" {
		return nil, ledger.Errorf(ledger.CodeInvalid, "a gateway needs the secret that signs notices: set %s, or name a file", notifySecretVariable).InField("webhook_secret_file")
	}
	secret, err := hex.DecodeString(text)
	if err != nil {
		return nil, ledger.Errorf(ledger.CodeInvalid, "the secret that signs notices must be hexadecimal digits, such as \"openssl rand -hex 32\" makes").InField("webhook_secret_file")
	}
	return secret, nil
}

// smtpPassword returns the password for the mail server, or "" where it asks for none.
func (s settings) smtpPassword() (string, error) {
	return s.secretText(smtpPasswordVariable, s.Notify.SMTPPasswordFile)
}

// secretText returns a secret from the environment, else from its file, else "".
func (s settings) secretText(variable, file string) (string, error) {
	if text := s.getenv(variable); text != "" || file == "" {
		return text, nil
	}
	text, err := os.ReadFile(s.path(file))
	if err != nil {
		return "", fmt.Errorf("read a secret: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}
