package reconciliation

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// ProposalKind is what is proposed to be posted for a break.
type ProposalKind string

// The kinds of proposals.
const (
	Correction ProposalKind = "correction" // the money belongs elsewhere
	WriteOff   ProposalKind = "write_off"  // the money is lost, or found
)

// ProposalState is what became of a proposal.
type ProposalState string

// The states of a proposal.
const (
	Proposed ProposalState = "proposed"
	Approved ProposalState = "approved"
	Rejected ProposalState = "rejected"
)

// Posting is what a person proposes to post for a break.
type Posting struct {
	Kind          ProposalKind
	Debit, Credit string        // codes of accounts
	Amount        ledger.Amount // 0: the break's
	// EffectiveDate is when it counts; zero: the day of the approval.
	EffectiveDate ledger.Date
}

// Proposal is a posting that waits for another person, or had one.
type Proposal struct {
	Posting
	Break         int64 // number of the break
	Number        int   // counts the proposals of the break, from 1
	Currency      ledger.Currency
	State         ProposalState
	ProposedBy    string
	ProposedAt    time.Time
	Reason        string
	DecidedBy     string
	DecidedAt     time.Time // zero: not yet
	Decision      string
	TransactionID uuid.UUID // that was posted
}

// Key is the idempotency key of what an approved proposal posts.
func (p Proposal) Key() string { return fmt.Sprintf("break:%d:%d", p.Break, p.Number) }

func validAct(actor, reason string) error {
	if !ledger.Printable(actor, maxActor) {
		return ledger.Errorf(ledger.CodeInvalid, "say who does it, in 1 to %d bytes without control characters", maxActor).InField("actor")
	}
	if !ledger.Printable(reason, maxComment) {
		return ledger.Errorf(ledger.CodeInvalid, "say why, in 1 to %d bytes without control characters", maxComment).InField("reason")
	}
	return nil
}

// onBreak changes a break in a transaction and adds an event to its trace.
func onBreak(ctx context.Context, e *engine.Engine, number int64, event Event, change func(ctx context.Context, tx *sqldb.Tx, b *KeptBreak) error) (KeptBreak, error) {
	if err := validAct(event.Actor, event.Reason); err != nil {
		return KeptBreak{}, err
	}
	event.At = e.Now()
	var changed KeptBreak
	err := e.DB().Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		if changed, err = findBreak(ctx, tx, number, tx.ForUpdate()); err != nil {
			return err
		}
		if err := change(ctx, tx, &changed); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE breaks SET state = $1, owner = $2 WHERE number = $3", string(changed.State), changed.Owner, number); err != nil {
			return fmt.Errorf("change break %d: %w", number, err)
		}
		return appendEvents(ctx, tx, &changed, event)
	})
	return changed, err
}

// Assign gives a break to the person who works on it; an empty owner takes it away.
func Assign(ctx context.Context, e *engine.Engine, number int64, owner, actor string) (KeptBreak, error) {
	if owner != "" && !ledger.Printable(owner, maxActor) {
		return KeptBreak{}, ledger.Errorf(ledger.CodeInvalid, "an owner has at most %d bytes without control characters", maxActor).InField("owner")
	}
	reason := "to " + owner
	if owner == "" {
		reason = "to nobody"
	}
	return onBreak(ctx, e, number, Event{Actor: actor, Event: EventAssigned, Reason: reason}, func(_ context.Context, _ *sqldb.Tx, b *KeptBreak) error {
		b.Owner = owner
		return nil
	})
}

// Comment notes what a person has found out.
func Comment(ctx context.Context, e *engine.Engine, number int64, text, actor string) (KeptBreak, error) {
	return onBreak(ctx, e, number, Event{Actor: actor, Event: EventComment, Reason: text}, func(context.Context, *sqldb.Tx, *KeptBreak) error { return nil })
}

// Explain ends an open break: it is right as it is, for a reason.
func Explain(ctx context.Context, e *engine.Engine, number int64, reason, actor string) (KeptBreak, error) {
	return onBreak(ctx, e, number, Event{Actor: actor, Event: EventExplained, Reason: reason}, func(ctx context.Context, tx *sqldb.Tx, b *KeptBreak) error {
		if err := b.mustBeOpen(); err != nil {
			return err
		}
		if err := nothingWaits(ctx, tx, number); err != nil {
			return err
		}
		b.State = Explained
		return nil
	})
}

// Reopen takes an explanation back.
func Reopen(ctx context.Context, e *engine.Engine, number int64, reason, actor string) (KeptBreak, error) {
	return onBreak(ctx, e, number, Event{Actor: actor, Event: EventReopened, Reason: reason}, func(_ context.Context, _ *sqldb.Tx, b *KeptBreak) error {
		if b.State != Explained {
			return ledger.Errorf(ledger.CodeConflict, "break %d is %s; only what was explained is opened again by hand", b.Number, b.State.words()).InField("number")
		}
		b.State = Open
		return nil
	})
}

func (b KeptBreak) mustBeOpen() error {
	if b.State != Open {
		return ledger.Errorf(ledger.CodeConflict, "break %d is %s already", b.Number, b.State.words()).InField("number")
	}
	return nil
}

func nothingWaits(ctx context.Context, tx *sqldb.Tx, number int64) error {
	waiting, err := proposals(ctx, tx, "break_number = $1 AND state = 'proposed'", number)
	if err != nil || len(waiting) == 0 {
		return err
	}
	return ledger.Errorf(ledger.CodeConflict, "proposal %d by %s waits; have it approved or rejected first", waiting[0].Number, waiting[0].ProposedBy).InField("number")
}

// Propose proposes what to post for an open break. Another person approves it. While
// one waits, another is CodeConflict.
func Propose(ctx context.Context, e *engine.Engine, number int64, posting Posting, reason, actor string) (Proposal, error) {
	if posting.Kind != Correction && posting.Kind != WriteOff {
		return Proposal{}, ledger.Errorf(ledger.CodeInvalid, "%q is neither a correction nor a write_off", string(posting.Kind)).InField("kind")
	}
	if posting.Amount < 0 {
		return Proposal{}, ledger.Errorf(ledger.CodeInvalid, "an amount is above zero; exchange debit and credit instead").InField("amount")
	}
	var made Proposal
	event := Event{Actor: actor, Event: EventProposed, Reason: reason}
	_, err := onBreak(ctx, e, number, event, func(ctx context.Context, tx *sqldb.Tx, b *KeptBreak) error {
		if err := b.mustBeOpen(); err != nil {
			return err
		}
		if err := nothingWaits(ctx, tx, number); err != nil {
			return err
		}
		made = Proposal{Posting: posting, Break: number, Currency: b.Currency, State: Proposed, ProposedBy: actor, ProposedAt: e.Now(), Reason: reason}
		if made.Amount == 0 {
			made.Amount = b.Amount
		}
		for _, of := range [][2]string{{"debit", posting.Debit}, {"credit", posting.Credit}} {
			if _, err := engine.FindAccountByCode(ctx, tx, of[1]); err != nil {
				return fmt.Errorf("%s: %w", of[0], err)
			}
		}
		if err := made.request().Validate(); err != nil {
			return err
		}
		var last int64
		if err := tx.QueryRow(ctx, "SELECT COALESCE(MAX(number), 0) FROM break_proposals WHERE break_number = $1", []any{number}, &last); err != nil {
			return fmt.Errorf("number the proposal: %w", err)
		}
		made.Number = int(last) + 1
		_, err := tx.Exec(ctx, `INSERT INTO break_proposals (break_number, number, kind, debit_code, credit_code, amount, currency, effective_date, state,
			proposed_by, proposed_at, reason) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`, number, int64(made.Number), string(made.Kind),
			made.Debit, made.Credit, int64(made.Amount), string(made.Currency), made.EffectiveDate, string(made.State), actor, made.ProposedAt, reason)
		return err
	})
	if err != nil {
		return Proposal{}, fmt.Errorf("propose a posting for break %d: %w", number, err)
	}
	return made, nil
}

// request is what a proposal posts.
func (p Proposal) request() ledger.PostRequest {
	what := "Correction of break"
	if p.Kind == WriteOff {
		what = "Write-off of break"
	}
	return ledger.PostRequest{Key: p.Key(), Journal: ledger.JournalMisc, Label: fmt.Sprintf("%s %d", what, p.Break), EffectiveDate: p.EffectiveDate,
		Metadata: map[string]string{"break": fmt.Sprint(p.Break)},
		Postings: []ledger.Posting{{Debit: ledger.SystemAccountID(p.Debit), Credit: ledger.SystemAccountID(p.Credit), Amount: p.Amount, Currency: p.Currency}}}
}

// Approve posts what another person has proposed (CodeForbidden where it is the same
// one), in one transaction with the end of the break.
func Approve(ctx context.Context, e *engine.Engine, number int64, reason, actor string) (Proposal, error) {
	p, err := decide(ctx, e, number, Event{Actor: actor, Event: EventApproved, Reason: reason}, func(ctx context.Context, tx *sqldb.Tx, b *KeptBreak, p *Proposal) error {
		if strings.EqualFold(p.ProposedBy, actor) {
			return ledger.Errorf(ledger.CodeForbidden, "%s has proposed it; another person must approve it", p.ProposedBy).InField("actor")
		}
		if err := b.mustBeOpen(); err != nil {
			return err
		}
		r := p.request()
		for i, code := range []string{p.Debit, p.Credit} {
			account, err := engine.FindAccountByCode(ctx, tx, code)
			if err != nil {
				return err
			}
			*[]*uuid.UUID{&r.Postings[0].Debit, &r.Postings[0].Credit}[i] = account.ID
		}
		posted, err := e.PostTx(ctx, tx, r)
		if err != nil {
			return err
		}
		p.State, p.TransactionID, b.State = Approved, posted.ID, Corrected
		if p.Kind == WriteOff {
			b.State = WrittenOff
		}
		return nil
	})
	if err != nil {
		return Proposal{}, fmt.Errorf("approve what is proposed for break %d: %w", number, err)
	}
	return p, nil
}

// Reject ends a proposal without effect; who has made it may do so, too.
func Reject(ctx context.Context, e *engine.Engine, number int64, reason, actor string) (Proposal, error) {
	p, err := decide(ctx, e, number, Event{Actor: actor, Event: EventRejected, Reason: reason}, func(_ context.Context, _ *sqldb.Tx, _ *KeptBreak, p *Proposal) error {
		p.State = Rejected
		return nil
	})
	if err != nil {
		return Proposal{}, fmt.Errorf("reject what is proposed for break %d: %w", number, err)
	}
	return p, nil
}

// decide decides on the proposal of a break that waits.
func decide(ctx context.Context, e *engine.Engine, number int64, event Event, how func(ctx context.Context, tx *sqldb.Tx, b *KeptBreak, p *Proposal) error) (Proposal, error) {
	var decided Proposal
	_, err := onBreak(ctx, e, number, event, func(ctx context.Context, tx *sqldb.Tx, b *KeptBreak) error {
		waiting, err := proposals(ctx, tx, "break_number = $1 AND state = 'proposed'", number)
		if err != nil {
			return err
		}
		if len(waiting) == 0 {
			return ledger.Errorf(ledger.CodeNotFound, "nothing is proposed for break %d; \"tweetledger break correct\" proposes", number).InField("number")
		}
		decided = waiting[0]
		if err := how(ctx, tx, b, &decided); err != nil {
			return err
		}
		decided.DecidedBy, decided.DecidedAt, decided.Decision = event.Actor, e.Now(), event.Reason
		_, err = tx.Exec(ctx, "UPDATE break_proposals SET state = $1, decided_by = $2, decided_at = $3, decision = $4, transaction_id = $5 WHERE break_number = $6 AND number = $7",
			string(decided.State), decided.DecidedBy, decided.DecidedAt, decided.Decision, sqldb.NullUUID(decided.TransactionID), number, int64(decided.Number))
		return err
	})
	return decided, err
}

// ProposalsOf returns what was proposed for a break, the first one first.
func ProposalsOf(ctx context.Context, tx *sqldb.Tx, number int64) ([]Proposal, error) {
	return proposals(ctx, tx, "break_number = $1", number)
}

func proposals(ctx context.Context, tx *sqldb.Tx, where string, args ...any) ([]Proposal, error) {
	list, err := sqldb.Collect(ctx, tx, `SELECT break_number, number, kind, debit_code, credit_code, amount, currency, effective_date, state, proposed_by, proposed_at, reason,
		COALESCE(decided_by, ''), decided_at, COALESCE(decision, ''), transaction_id FROM break_proposals WHERE `+where+" ORDER BY number", args, func(rows *sqldb.Rows) (Proposal, error) {
		var p Proposal
		err := rows.Scan(&p.Break, &p.Number, &p.Kind, &p.Debit, &p.Credit, &p.Amount, &p.Currency, &p.EffectiveDate, &p.State, &p.ProposedBy, &p.ProposedAt, &p.Reason,
			&p.DecidedBy, &p.DecidedAt, &p.Decision, &p.TransactionID)
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("read what is proposed for breaks: %w", err)
	}
	return list, nil
}

// Feed puts the tweet of an open break, which never arrived, into the inbox, and
// handles it. The tweet is read from the history anew: no text is kept with a break.
// It returns what became of it; the break closes with the next run.
func Feed(ctx context.Context, s *payments.Service, h History, number int64, actor string) (string, error) {
	e := s.Engine()
	if err := validAct(actor, "fed"); err != nil {
		return "", err
	}
	var b KeptBreak
	err := e.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		b, err = FindBreak(ctx, tx, number)
		return err
	})
	if err != nil {
		return "", err
	}
	if err := b.mustBeOpen(); err != nil {
		return "", err
	}
	if b.TweetID == "" {
		return "", ledger.Errorf(ledger.CodeInvalid, "break %d is about no tweet that is missing in the inbox", number).InField("number")
	}
	found, err := h.Lookup(ctx, []string{b.TweetID})
	if err != nil {
		return "", fmt.Errorf("look up tweet %s: %w", b.TweetID, err)
	}
	answer, ok := found[b.TweetID]
	if !ok || answer.Status != There {
		return "", ledger.Errorf(ledger.CodeNotFound, "tweet %s is %s in this history; explain the break, or name a history that has it", b.TweetID, gone(answer.Status)).InField("number")
	}
	fed := []Break{{Tweet: &answer.Message}}
	if err := feed(ctx, s, fed); err != nil {
		return "", err
	}
	_, err = onBreak(ctx, e, number, Event{Actor: actor, Event: EventFed, Reason: clipTo(fed[0].Fed, maxComment/4)}, func(context.Context, *sqldb.Tx, *KeptBreak) error { return nil })
	return fed[0].Fed, err
}
