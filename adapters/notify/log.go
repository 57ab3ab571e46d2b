package notify

import (
	"context"
	"log/slog"
	"regexp"
	"strings"

	"tweetledger/internal/payments"
)

// Log is a payments.Notifier that writes a line to a log and nothing else: who
// runs it reads that somebody would have been called, never how to confirm the
// payment.
type Log struct {
	log *slog.Logger
}

// NewLog returns a Notifier that writes to log.
func NewLog(log *slog.Logger) *Log { return &Log{log: log} }

// Notify implements payments.Notifier.
func (l *Log) Notify(ctx context.Context, n payments.Notice) error {
	l.log.InfoContext(ctx, "notice", "id", n.ID, "phone", MaskPhone(n.Phone), "text", MaskCodes(MaskLinks(n.Text)))
	return nil
}

// Digits of a telephone number that stay readable: enough for a customer to
// recognise it, too few for anybody else to call it.
const (
	phoneHead = 4
	phoneTail = 2
)

// MaskPhone hides the middle of a telephone number: +336••••••78.
func MaskPhone(phone string) string {
	runes := []rune(phone)
	if len(runes) <= phoneHead+phoneTail {
		return strings.Repeat("•", len(runes))
	}
	hidden := len(runes) - phoneHead - phoneTail
	return string(runes[:phoneHead]) + strings.Repeat("•", hidden) + string(runes[len(runes)-phoneTail:])
}

// secretPart is the last part of an address's path, long enough to be a secret.
var secretPart = regexp.MustCompile(`(https?://[^\s]*/)([0-9A-Za-z_-]{16,})`)

// shownOfSecret is how much of a secret stays, to tell two links apart.
const shownOfSecret = 4

// MaskLinks hides the secret at the end of every address in a text.
func MaskLinks(text string) string {
	return secretPart.ReplaceAllStringFunc(text, func(address string) string {
		parts := secretPart.FindStringSubmatch(address)
		return parts[1] + parts[2][:shownOfSecret] + "…"
	})
}

// codeDigits is a one-time code: six digits that stand alone.
var codeDigits = regexp.MustCompile(`\b[0-9]{6}\b`)

// MaskCodes hides every one-time code in a text.
func MaskCodes(text string) string { return codeDigits.ReplaceAllString(text, "••••••") }
