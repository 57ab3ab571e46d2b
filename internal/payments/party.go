package payments

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Status says what a customer or payee may do.
type Status string

// The states of a customer or payee.
const (
	Open    Status = "open"
	Blocked Status = "blocked" // neither pays nor is paid, until staff lift it
	Closed  Status = "closed"  // for ever
)

// PayeeKind is what the receiver of a payment is. Caps follow it.
type PayeeKind string

// The kinds of payee.
const (
	Person       PayeeKind = "person"
	Charity      PayeeKind = "charity"
	Business     PayeeKind = "business"
	Unregistered PayeeKind = "unregistered" // nobody that we know, yet
)

// PartyEvent is something that was done to a customer or payee.
type PartyEvent struct {
	At     time.Time
	Actor  string // "staff:anne", "service", …
	Event  string // "blocked", "open", "secret_blocked", "secret_unblocked", …
	Reason string
}

// Bounds of what people enter, in code points.
const (
	maxName   = 120
	maxActor  = 64
	maxReason = 200
)

// MaxPage bounds the rows of one page of any list.
const MaxPage = 10_000

var (
	channelPattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)
	// idPattern is what ids of messages, users and conversations look like on any
	// channel: digits on Twitter, a little more elsewhere.
	idPattern = regexp.MustCompile(`^[0-9A-Za-z_.:-]{1,64}$`)
	// handlePattern keeps out points: a handle must not read as an address in a reply.
	handlePattern = regexp.MustCompile(`^[0-9A-Za-z_]{1,64}$`)
)

// validText checks a line that a person entered: bounded, printable, and without
// control or formatting characters (a right-to-left override would make it lie).
func validText(field, s string, most int) error {
	if s == "" {
		return ledger.Errorf(ledger.CodeInvalid, "is missing; give 1 to %d characters of text", most).InField(field)
	}
	n := utf8.RuneCountInString(s)
	if n > most || !utf8.ValidString(s) || strings.TrimSpace(s) != s {
		return ledger.Errorf(ledger.CodeInvalid, "must be 1 to %d characters of text without blanks at its ends, not %d", most, n).InField(field)
	}
	for _, r := range s {
		if !unicode.IsGraphic(r) {
			return ledger.Errorf(ledger.CodeInvalid, "the character %U cannot stand in it; remove it", r).InField(field)
		}
	}
	return nil
}

func validAct(actor, reason string) error {
	if err := validText("actor", actor, maxActor); err != nil {
		return err
	}
	return validText("reason", reason, maxReason)
}

// clip shortens what a caller sent so that an error stays one readable line.
func clip(s string) string {
	const most = 40
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}

// recordPartyEvent appends to the history of a customer or payee.
func recordPartyEvent(ctx context.Context, tx *sqldb.Tx, party uuid.UUID, e PartyEvent) error {
	var ordinal int64
	err := tx.QueryRow(ctx, "SELECT COALESCE(MAX(ordinal) + 1, 0) FROM party_events WHERE party_id = $1", []any{party}, &ordinal)
	if err != nil {
		return fmt.Errorf("number the event %s: %w", e.Event, err)
	}
	_, err = tx.Exec(ctx, "INSERT INTO party_events (party_id, ordinal, at, actor, event, reason) VALUES ($1, $2, $3, $4, $5, $6)",
		party, ordinal, e.At, e.Actor, e.Event, e.Reason)
	if err != nil {
		return fmt.Errorf("record the event %s: %w", e.Event, err)
	}
	return nil
}

// PartyEvents returns the newest events of a customer or payee, at most limit of
// them, oldest first.
func PartyEvents(ctx context.Context, tx *sqldb.Tx, party uuid.UUID, limit int) ([]PartyEvent, error) {
	if err := sqldb.CheckPage(limit, MaxPage); err != nil {
		return nil, err
	}
	var list []PartyEvent
	err := tx.Each(ctx, fmt.Sprintf(`SELECT at, actor, event, reason FROM (
			SELECT ordinal, at, actor, event, reason FROM party_events WHERE party_id = $1 ORDER BY ordinal DESC LIMIT %d
		) AS newest ORDER BY ordinal`, limit), []any{party}, func(rows *sqldb.Rows) error {
		var e PartyEvent
		err := rows.Scan(&e.At, &e.Actor, &e.Event, &e.Reason)
		list = append(list, e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the events of %s: %w", party, err)
	}
	return list, nil
}
