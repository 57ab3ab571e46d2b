package payments

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// mostCodeAttempts bounds how often the sending of a code is tried: a code that came
// late would be worth nothing.
const mostCodeAttempts = 5

// deliverCodes sends the one-time codes that wait, before everything else: somebody
// looks at a page that asks for them. It returns how many it took.
func (s *Service) deliverCodes(ctx context.Context, notifier Notifier, limit int, done *Delivered) (int, error) {
	claimed, err := s.claimCodes(ctx, limit)
	if err != nil {
		return 0, fmt.Errorf("claim one-time codes to send: %w", err)
	}
	for _, c := range claimed {
		if err := ctx.Err(); err != nil {
			return 0, err // not begun: the lease runs out and somebody else sends it
		}
		if err := s.deliverCode(ctx, c, notifier, done); err != nil {
			return 0, err
		}
	}
	return len(claimed), nil
}

// claimCodes takes codes that are due, as claim does rows of the outbox.
func (s *Service) claimCodes(ctx context.Context, limit int) ([]oneTimeCode, error) {
	var claimed []oneTimeCode
	err := s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		claimed = nil
		now := s.engine.Now()
		due, err := codes(ctx, tx, fmt.Sprintf("status = 'pending' AND next_attempt_at <= $1 ORDER BY next_attempt_at, id LIMIT %d", min(deliverBatch, limit)), []any{now})
		if err != nil {
			return err
		}
		for i, c := range due {
			n, err := tx.Exec(ctx, "UPDATE one_time_codes SET attempts = attempts + 1, next_attempt_at = $1 WHERE id = $2 AND status = 'pending' AND attempts = $3",
				now.Add(s.config.Outbox.Lease*time.Duration(i+1)), c.id, int64(c.attempts))
			if err != nil {
				return err
			}
			if n == 1 {
				c.attempts++
				claimed = append(claimed, c)
			}
		}
		return nil
	})
	return claimed, err
}

func (s *Service) deliverCode(ctx context.Context, c oneTimeCode, notifier Notifier, done *Delivered) error {
	finishing := context.WithoutCancel(ctx)
	text, err := s.codeText(ctx, c)
	if err != nil {
		return err
	}
	status, next, now := OutboxSent, s.engine.Now(), s.engine.Now()
	switch {
	case text == "": // nobody waits for it any more
	case !now.Before(c.expiresAt):
		err = errors.New("it expired before it was sent")
	default:
		sendCtx, cancel := context.WithTimeout(finishing, s.config.Outbox.SendTimeout)
		err = notifier.Notify(sendCtx, Notice{ID: c.id.String(), Phone: c.phone, Text: text})
		cancel()
	}
	lastError := ""
	if err != nil {
		lastError = clipError(err)
		refused, _ := errors.AsType[*SendError](err)
		next = now.Add(s.jitter(backOff(c.attempts, s.config.Outbox.FirstPause, s.config.Outbox.LongestPause)))
		if status = OutboxPending; c.attempts >= mostCodeAttempts || !next.Before(c.expiresAt) || (refused != nil && refused.Permanent) {
			status = OutboxDead
		}
	}
	switch {
	case status == OutboxDead:
		done.Dead++
		s.log.WarnContext(ctx, "one-time code not sent", "purpose", c.purpose, "subject", c.subject, "attempts", c.attempts, "error", lastError)
	case status == OutboxPending:
		done.Retried++
	case text != "":
		done.Sent++
	}
	markCtx, cancel := context.WithTimeout(finishing, markTimeout)
	defer cancel()
	err = s.db.WriteIdempotent(markCtx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE one_time_codes SET status = $1, last_error = $2, next_attempt_at = $3
			WHERE id = $4 AND status = 'pending' AND (attempts = $5 OR $1 = 'sent')`, string(status), lastError, next, c.id, int64(c.attempts))
		return err
	})
	if err != nil {
		return fmt.Errorf("mark one-time code %s: %w", c.id, err)
	}
	return nil
}

// codeText returns what is sent to the number, or nothing where the code is of no use
// by now. Who is a customer already is told so on the own telephone, and nowhere else.
func (s *Service) codeText(ctx context.Context, c oneTimeCode) (string, error) {
	var text string
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		text = ""
		now, err := codes(ctx, tx, "id = $1 AND closed_at IS NULL", []any{c.id})
		if err != nil || len(now) == 0 {
			return err
		}
		if c.purpose == purposeEnrolment {
			e, err := FindEnrolment(ctx, tx, c.subject)
			switch {
			case err != nil:
				return err
			case e.Reason == ReasonAlreadyCustomer:
				text = fmt.Sprintf(say(c.language, "%s : ce numéro est déjà celui d'un client. Si vous n'avez rien demandé, ignorez ce message.",
					"%s: this number is a customer's already. If you asked for nothing, ignore this message."), s.config.BankName)
				return nil
			case e.State != EnrolmentStarted:
				return nil
			}
		}
		text = fmt.Sprintf(say(c.language, "%s : votre code est %s, valable %d minutes. Ne le donnez à personne, nous ne le demandons que sur notre page.",
			"%s: your code is %s, good for %d minutes. Give it to nobody, we ask for it on our page only."),
			s.config.BankName, s.digits(c), int(s.config.Enrolment.CodeTerm.Minutes()))
		return nil
	})
	if ledger.CodeOf(err) == ledger.CodeNotFound {
		return "", nil
	}
	return text, err
}
