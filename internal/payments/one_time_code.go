package payments

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// A one-time code proves that whoever enters it reads what is sent to a mobile
// number: the element of possession (RTS 2018/389 art. 7). It follows from a random
// nonce and a key that is not in the database, so that only its keyed hash is stored
// and it can be sent again; it is bound to its purpose, to whom it is for and to the
// number, good once and for a few minutes, and has few tries.

// codePurpose is what a one-time code is for.
type codePurpose string

const (
	purposeEnrolment    codePurpose = "enrolment"
	purposeVerification codePurpose = "verification"
)

// oneTimeCode is one as it is kept.
type oneTimeCode struct {
	id        uuid.UUID
	purpose   codePurpose
	subject   uuid.UUID // an enrolment or a customer; the own id where the number is nobody's
	phone     string
	language  string
	nonce     []byte
	hash      []byte
	tries     int
	attempts  int // to send it
	createdAt time.Time
	expiresAt time.Time
	closedAt  time.Time
	outcome   string
	token     string // of the page that asks for it; only of a new one
	silent    bool   // is not sent, since the number is nobody's; only of a new one
}

// The outcomes of a code.
const (
	codeUsed      = "used"
	codeExhausted = "exhausted"
	codeReplaced  = "replaced"
)

// digits returns what is sent.
func (s *Service) digits(c oneTimeCode) string {
	sum := mac(s.keys.oneTime, []byte("digits"), c.id[:], c.nonce)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint64(sum)%1_000_000)
}

// hashOf returns the keyed hash of digits, bound to all that the code is for.
func (s *Service) hashOf(c oneTimeCode, digits string) []byte {
	return mac(s.keys.oneTime, []byte("hash"), c.id[:], []byte(c.purpose), c.subject[:], []byte(c.phone), []byte(digits))
}

// errCodeNotAccepted is the one answer to everything that is wrong with a code:
// whether it was wrong, late, used before or somebody else's is never told, nor
// whether there was one.
func errCodeNotAccepted() error {
	return ledger.Errorf(ledger.CodeForbidden, "the code was not accepted; check it, or ask for a new one")
}

func errTooManyCodes() error {
	return ledger.Errorf(ledger.CodeLimitExceeded, "too many codes were asked for; try again in an hour, or contact us").InField("phone")
}

// newCode makes a code that issueCode stores.
func (s *Service) newCode(purpose codePurpose, subject uuid.UUID, phone, language string) (oneTimeCode, error) {
	c := oneTimeCode{purpose: purpose, subject: subject, phone: phone, language: language, nonce: make([]byte, 16)}
	var err error
	if c.id, err = s.newID(); err != nil {
		return oneTimeCode{}, err
	}
	if _, err := io.ReadFull(s.random, c.nonce); err != nil {
		return oneTimeCode{}, fmt.Errorf("make a one-time code: %w", err)
	}
	return c, nil
}

// roomForCodes refuses a code where the whole service has sent as many as it may in
// an hour: somebody makes it send for the money that sending earns. Codes that are
// asked for at the same moment may go over the bound by as many.
func (s *Service) roomForCodes(ctx context.Context) error {
	most := int64(s.config.Enrolment.CodesHourAll)
	var sent int64
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.QueryRow(ctx, fmt.Sprintf("SELECT COUNT(*) FROM (SELECT 1 FROM one_time_codes WHERE created_at > $1 LIMIT %d) AS newest", most),
			[]any{s.engine.Now().Add(-time.Hour)}, &sent)
	})
	if err != nil {
		return fmt.Errorf("count one-time codes: %w", err)
	}
	if sent >= most {
		s.log.WarnContext(ctx, "no more one-time codes this hour", "most", most)
		return errTooManyCodes()
	}
	return nil
}

// issueCode stores a code to be sent, in place of the one that its subject has. More
// codes to one number than an hour or a day may have are CodeLimitExceeded, whoever
// asks for them and whether or not the number is known.
func (s *Service) issueCode(ctx context.Context, tx *sqldb.Tx, c oneTimeCode, now time.Time) error {
	var hour, day int64
	err := tx.QueryRow(ctx, `SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN created_at > $1 THEN 1 ELSE 0 END), 0) AS `+tx.Int8()+`)
		FROM one_time_codes WHERE phone = $2 AND created_at > $3`, []any{now.Add(-time.Hour), c.phone, now.Add(-codeDay)}, &day, &hour)
	if err != nil {
		return fmt.Errorf("count the one-time codes of a number: %w", err)
	}
	if hour >= int64(s.config.Enrolment.CodesHour) || day >= int64(s.config.Enrolment.CodesDay) {
		s.log.WarnContext(ctx, "no more one-time codes to a number", "subject", c.subject, "purpose", c.purpose)
		return errTooManyCodes()
	}
	_, err = tx.Exec(ctx, "UPDATE one_time_codes SET closed_at = $1, outcome = $2 WHERE subject_id = $3 AND purpose = $4 AND closed_at IS NULL",
		now, codeReplaced, c.subject, string(c.purpose))
	if err != nil {
		return fmt.Errorf("replace a one-time code: %w", err)
	}
	status := string(OutboxPending)
	if c.silent {
		status = string(OutboxSent)
	}
	var token any
	if c.token != "" {
		token = hashToken(c.token)
	}
	_, err = tx.Exec(ctx, `INSERT INTO one_time_codes (id, purpose, subject_id, phone, language, nonce, code_hash, token_hash, created_at, expires_at, status, next_attempt_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $9)`,
		c.id, string(c.purpose), c.subject, c.phone, c.language, c.nonce, s.hashOf(c, s.digits(c)), token, now, now.Add(s.config.Enrolment.CodeTerm), status)
	if err != nil {
		return fmt.Errorf("store a one-time code: %w", err)
	}
	return nil
}

// codeDay is how far back the codes of a number are counted; codesKept is how long
// they stay.
const (
	codeDay   = 24 * time.Hour
	codesKept = 48 * time.Hour
)

const codeColumns = `id, purpose, subject_id, phone, language, nonce, code_hash, tries, attempts, created_at, expires_at, closed_at, COALESCE(outcome, '')`

func codes(ctx context.Context, tx *sqldb.Tx, where string, args []any) ([]oneTimeCode, error) {
	return sqldb.Collect(ctx, tx, "SELECT "+codeColumns+" FROM one_time_codes WHERE "+where, args, func(rows *sqldb.Rows) (oneTimeCode, error) {
		var c oneTimeCode
		err := rows.Scan(&c.id, &c.purpose, &c.subject, &c.phone, &c.language, &c.nonce, &c.hash, &c.tries, &c.attempts, &c.createdAt, &c.expiresAt, &c.closedAt, &c.outcome)
		return c, err
	})
}

// tryOneTimeCode uses up one try of a subject's code, commits that, and only then
// compares: however many guesses run at once, on however many nodes, no more than
// CodeTries of them are ever compared. It returns the code that was right, or
// CodeForbidden, always with the same words. The caller uses the code up with
// useCode, together with what it is good for.
func (s *Service) tryOneTimeCode(ctx context.Context, purpose codePurpose, subject uuid.UUID, digits, actor string) (oneTimeCode, error) {
	done, err := s.turns.take(ctx, subject) // who floods the page waits for himself
	if err != nil {
		return oneTimeCode{}, err
	}
	defer done()
	most, now := int64(s.config.Enrolment.CodeTries), s.engine.Now()
	var c oneTimeCode
	taken := false
	err = s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		c, taken = oneTimeCode{purpose: purpose, subject: subject}, false
		n, err := tx.Exec(ctx, `UPDATE one_time_codes SET tries = tries + 1
			WHERE subject_id = $1 AND purpose = $2 AND closed_at IS NULL AND expires_at > $3 AND tries < $4`, subject, string(purpose), now, most)
		if err != nil || n == 0 {
			return err
		}
		found, err := codes(ctx, tx, "subject_id = $1 AND purpose = $2 AND closed_at IS NULL", []any{subject, string(purpose)})
		if err == nil && len(found) == 1 {
			c, taken = found[0], true
		}
		return err
	})
	if err != nil {
		return oneTimeCode{}, fmt.Errorf("count the try of a one-time code: %w", err)
	}
	right := hmac.Equal(c.hash, s.hashOf(c, digits)) // also where there is none: the answer takes as long
	if taken && right {
		return c, nil
	}
	if taken && int64(c.tries) >= most {
		s.exhausted(ctx, c, actor, now)
	}
	return oneTimeCode{}, errCodeNotAccepted()
}

// exhausted notes that somebody has guessed. The tries themselves are committed;
// losing the note loses no safety.
func (s *Service) exhausted(ctx context.Context, c oneTimeCode, actor string, now time.Time) {
	err := s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, "UPDATE one_time_codes SET closed_at = $1, outcome = $2 WHERE id = $3 AND closed_at IS NULL", now, codeExhausted, c.id)
		if err != nil || n == 0 || c.subject == c.id { // nobody's number has no history
			return err
		}
		if err := recordPartyEvent(ctx, tx, c.subject, PartyEvent{At: now, Actor: actor, Event: "code_exhausted", Reason: "too many wrong one-time codes"}); err != nil {
			return err
		}
		if c.purpose != purposeEnrolment {
			return nil
		}
		return s.refuseGuessed(ctx, tx, c.subject, actor, now)
	})
	s.log.WarnContext(ctx, "one-time code guessed at", "purpose", c.purpose, "subject", c.subject, "actor", actor, "error", err)
}

// useCode uses a code up. That it was used meanwhile is CodeForbidden.
func useCode(ctx context.Context, tx *sqldb.Tx, c oneTimeCode, now time.Time) error {
	n, err := tx.Exec(ctx, "UPDATE one_time_codes SET closed_at = $1, outcome = $2 WHERE id = $3 AND closed_at IS NULL AND expires_at > $1", now, codeUsed, c.id)
	if err != nil {
		return fmt.Errorf("use a one-time code up: %w", err)
	}
	if n != 1 {
		return errCodeNotAccepted()
	}
	return nil
}

// endCodes makes the open codes of a subject worthless.
func endCodes(ctx context.Context, tx *sqldb.Tx, subject uuid.UUID, now time.Time) error {
	_, err := tx.Exec(ctx, "UPDATE one_time_codes SET closed_at = $1, outcome = $2, status = 'sent' WHERE subject_id = $3 AND closed_at IS NULL", now, codeReplaced, subject)
	if err != nil {
		return fmt.Errorf("end one-time codes: %w", err)
	}
	return nil
}

// pageStamp signs that a page about id was shown at a time. Without an id (Nil) it is
// a page on which something begins, whose own id comes from the stamp: the same form
// sent twice begins one thing.
func (s *Service) pageStamp(what string, id uuid.UUID, now time.Time) (string, error) {
	raw := binary.BigEndian.AppendUint64(nil, uint64(now.UnixMicro()))
	nonce := make([]byte, 16)
	if _, err := io.ReadFull(s.random, nonce); err != nil {
		return "", fmt.Errorf("make a stamp: %w", err)
	}
	raw = append(raw, nonce...)
	return base64.RawURLEncoding.EncodeToString(append(raw, mac(s.keys.oneTime, []byte("page"), []byte(what), id[:], raw)...)), nil
}

// stampHead is the length of a stamp's time and nonce.
const stampHead = 8 + 16

// checkPageStamp refuses a form that was left open for too long, or is none of ours.
// It returns the id of what begins with it.
func (s *Service) checkPageStamp(what string, id uuid.UUID, stamp string, now time.Time) (uuid.UUID, error) {
	raw, err := base64.RawURLEncoding.DecodeString(stamp)
	if err != nil || len(raw) < stampHead || !hmac.Equal(raw[stampHead:], mac(s.keys.oneTime, []byte("page"), []byte(what), id[:], raw[:stampHead])) {
		return uuid.Nil, ledger.Errorf(ledger.CodeInvalid, "this page is not up to date; open it again").InField("stamp")
	}
	age := now.Sub(time.UnixMicro(int64(binary.BigEndian.Uint64(raw))))
	if age < -maxClockSkew || age > s.config.PageIdle {
		return uuid.Nil, ledger.Errorf(ledger.CodeInvalid, "this page was open for more than %d minutes; open it again",
			int(s.config.PageIdle.Minutes())).InField("stamp")
	}
	return uuid.NewSHA1(enrolmentNamespace, mac(s.keys.oneTime, []byte("begins"), []byte(what), raw[:stampHead])), nil
}

var enrolmentNamespace = uuid.MustParse("0b6bd0a5-35a2-5a0c-9a5e-0d6e1f1a2c47")
