package payments

import (
	"context"
	"fmt"
)

// Whoever writes to the bank is answered, which costs money and takes from what the
// channel lets the bank's account say in a day. So nobody gets more than
// Config.DayAnswers answers in rolling 24 hours, beside those to payments that go on.

// The reasons of messages whose writer has had enough answers.
const (
	ReasonLastAnswer  = "last_answer"  // answered with the word that it is the last answer for now
	ReasonAnswerLimit = "answer_limit" // not answered; what it asked for is on record
	// ReasonSecretCode is of a message that was answered since it holds digits that
	// look like a secret code.
	ReasonSecretCode = "secret_code"
)

// MaxDayAnswers bounds Config.DayAnswers, and so what counting them reads.
const MaxDayAnswers = 1000

// allowance is what the writer of a message may still be told.
type allowance int

const (
	allowAnswer allowance = iota
	allowLast             // that this is the last answer for now
	allowNothing
)

// answersQuery counts the messages of a writer ($1) on a channel and its direct
// messages ($2, $3) that were answered after an instant ($4), from the index
// messages_answered, as far as limit.
func answersQuery(limit int) string {
	return fmt.Sprintf(`SELECT COUNT(*) FROM (SELECT 1 AS one FROM messages
		WHERE author_id = $1 AND channel IN ($2, $3) AND handled_at > $4
			AND outcome IN ('answered', 'refused', 'rejected') AND reason <> 'answer_limit' LIMIT %d) AS answered`, limit)
}

// allowance counts what the writer of m was answered. It does so in the transaction
// that answers, so that two nodes do not both give the last answer.
func (h handling) allowance(ctx context.Context, m InboxMessage) (allowance, error) {
	most := h.config.DayAnswers
	posts := linkChannel(m.Channel)
	var answered int
	err := h.tx.QueryRow(ctx, answersQuery(most+1), []any{m.AuthorID, posts, DirectChannel(posts), h.now.Add(-day)}, &answered)
	switch {
	case err != nil:
		return allowNothing, fmt.Errorf("count the answers to %s: %w", clip(m.AuthorID), err)
	case answered < most:
		return allowAnswer, nil
	case answered == most:
		return allowLast, nil
	}
	return allowNothing, nil
}

// answer answers a message as far as its writer's allowance goes, with the text or with
// the word that there is no more for now, and notes on handled where that cut it short.
func (h handling) answer(ctx context.Context, m InboxMessage, allowed allowance, template, text, lang string, handled *Handled) error {
	row, ok := h.answerOf(m, allowed, template, text, lang, handled)
	if !ok {
		return nil
	}
	return h.insertOutbox(ctx, h.tx, row)
}

// answerOf is what answer says; false: nothing.
func (h handling) answerOf(m InboxMessage, allowed allowance, template, text, lang string, handled *Handled) (OutboxRow, bool) {
	switch allowed {
	case allowNothing:
		handled.Reason = ReasonAnswerLimit
		return OutboxRow{}, false
	case allowLast:
		handled.Reason = ReasonLastAnswer
		s := saying{lang, m.RowID}
		template, text = templateRefused, s.say(words.lastAnswer)+s.number()
	case allowAnswer:
	}
	return h.replyOf(m, template, text, handled.Order), true
}

// overLimit leaves a message undone whose writer has had enough answers.
func (h handling) overLimit(ctx context.Context, m InboxMessage, allowed allowance, lang string, c *Command) (Handled, error) {
	handled := Handled{Outcome: OutcomeRefused}
	if err := h.answer(ctx, m, allowed, templateRefused, "", lang, &handled); err != nil {
		return Handled{}, err
	}
	return h.done(ctx, m, handled, c)
}
