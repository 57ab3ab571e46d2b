package payments

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Who is paid out, where to and on which terms takes two persons: one proposes, and
// another one approves. Until its enrolment is approved a payee is not there: it cannot
// be linked, be paid or be paid out. Until a change is approved the old values count.

// ProposalState is what became of a proposal.
type ProposalState string

// The states of a proposal.
const (
	ProposalProposed ProposalState = "proposed"
	ProposalApproved ProposalState = "approved"
	ProposalRejected ProposalState = "rejected"
)

// ProposalKind is what a proposal is about.
type ProposalKind string

// The kinds of proposals.
const (
	ProposalEnrolment ProposalKind = "enrolment"
	ProposalChange    ProposalKind = "change"
)

// PayeeValues are what two persons decide on.
type PayeeValues struct {
	Kind              PayeeKind        `json:"kind"`
	Name              string           `json:"name"`
	IBAN              string           `json:"iban"`
	BIC               string           `json:"bic"`
	CommissionPoints  int              `json:"commission_points"`
	CommissionMinimum ledger.Amount    `json:"commission_minimum"` // in minor units
	Tiers             []CommissionTier `json:"tiers"`
	VATPoints         int              `json:"vat_points"`
	// TermsFrom is the day from which the commission counts, or the day of the
	// approval where that is later; zero in proposals of before there was one.
	TermsFrom ledger.Date `json:"terms_from,omitzero"`
	Rhythm    Rhythm      `json:"rhythm"`
	Anchor    ledger.Date `json:"anchor,omitzero"`
	Address   Address     `json:"address"`
}

// PayeeProposal is what one person wants, and what another one has decided.
type PayeeProposal struct {
	Code       string // of the payee
	Number     int    // counts the proposals of a payee, from 1
	Kind       ProposalKind
	Old        PayeeValues // of a change: those it was proposed over
	New        PayeeValues
	State      ProposalState
	ProposedBy string
	ProposedAt time.Time
	Reason     string
	DecidedBy  string
	DecidedAt  time.Time // zero: not yet
	Decision   string    // why
}

// PayeeChange is what is to change of a payee. What is empty, or nil, stays.
type PayeeChange struct {
	Name              string
	IBAN              string // with BIC, which an empty one takes away
	BIC               string
	CommissionPoints  *int
	CommissionMinimum *ledger.Amount
	Tiers             *[]CommissionTier
	VATPoints         *int
	TermsFrom         ledger.Date // of a change of the commission; zero: from its approval on
	Rhythm            Rhythm
	Anchor            ledger.Date
	Address           *Address
}

// values returns what is known of a payee, with the terms that were agreed last.
func (p Payee) values(ctx context.Context, tx *sqldb.Tx) (PayeeValues, error) {
	terms, err := termsOf(ctx, tx, p.ID)
	last := terms[len(terms)-1]
	return PayeeValues{Kind: p.Kind, Name: p.Name, IBAN: p.IBAN, BIC: p.BIC, CommissionPoints: last.Points, CommissionMinimum: last.Minimum,
		Tiers: last.Tiers, VATPoints: last.VATPoints, TermsFrom: last.ValidFrom, Rhythm: p.Rhythm, Anchor: p.Anchor, Address: p.Address}, err
}

func (v PayeeValues) payee(code string) NewPayee {
	return NewPayee{Code: code, Kind: v.Kind, Name: v.Name, IBAN: v.IBAN, BIC: v.BIC, CommissionPoints: v.CommissionPoints, CommissionMinimum: v.CommissionMinimum,
		Tiers: v.Tiers, VATPoints: v.VATPoints, Rhythm: v.Rhythm, Anchor: v.Anchor, Address: v.Address}
}

// values returns what a payee is to be, with terms that count from a day on.
func (n NewPayee) values(termsFrom ledger.Date) PayeeValues {
	return PayeeValues{Kind: n.Kind, Name: n.Name, IBAN: n.IBAN, BIC: n.BIC, CommissionPoints: n.CommissionPoints, CommissionMinimum: n.CommissionMinimum,
		Tiers: n.Tiers, VATPoints: n.VATPoints, TermsFrom: termsFrom, Rhythm: n.Rhythm, Anchor: n.Anchor, Address: n.Address}
}

func (v PayeeValues) equal(other PayeeValues) bool { return reflect.DeepEqual(v, other) }

// sameTerms reports whether both take the same commission, whenever it counts from.
func (v PayeeValues) sameTerms(other PayeeValues) bool {
	return v.CommissionPoints == other.CommissionPoints && v.CommissionMinimum == other.CommissionMinimum && slices.Equal(v.Tiers, other.Tiers) &&
		v.VATPoints == other.VATPoints
}

// ProposePayee proposes a charity or business. Where the same was proposed before, or
// there is a payee of this code, kind and name, it changes nothing and returns that;
// another payee's code, and one with another proposal that waits, are CodeConflict.
func (s *Service) ProposePayee(ctx context.Context, n NewPayee, actor, reason string) (PayeeProposal, error) {
	if err := n.normalise(); err != nil {
		return PayeeProposal{}, err
	}
	if n.Kind == OwnBank {
		return PayeeProposal{}, ledger.Errorf(ledger.CodeInvalid, "a customer's own bank account is proposed with \"tweetledger customer bank\"").InField("kind")
	}
	p := PayeeProposal{Code: n.Code, Kind: ProposalEnrolment, New: n.values(s.engine.Today()), ProposedBy: actor, Reason: reason}
	return s.propose(ctx, p, func(ctx context.Context, tx *sqldb.Tx, p *PayeeProposal) (bool, error) {
		before, err := FindPayee(ctx, tx, p.Code)
		if ledger.CodeOf(err) == ledger.CodeNotFound {
			return true, nil
		}
		if err == nil && (before.Kind != p.New.Kind || before.Name != p.New.Name) {
			err = ledger.Errorf(ledger.CodeConflict, "%s is the code of another payee; choose another", p.Code).InField("code")
		}
		if err == nil {
			p.New, err = before.values(ctx, tx)
		}
		return false, err
	})
}

// ProposePayeeChange proposes to change a payee. Where nothing would change it returns
// what is approved already; another proposal that waits is CodeConflict.
func (s *Service) ProposePayeeChange(ctx context.Context, code string, change PayeeChange, actor, reason string) (PayeeProposal, error) {
	return s.propose(ctx, PayeeProposal{Code: code, Kind: ProposalChange, ProposedBy: actor, Reason: reason},
		func(ctx context.Context, tx *sqldb.Tx, p *PayeeProposal) (bool, error) {
			payee, err := FindPayee(ctx, tx, p.Code)
			if err != nil {
				return false, err
			}
			if err := mayBecome(payee.Status, payee.Code); err != nil {
				return false, err
			}
			if payee.Kind == OwnBank { // at par, and to its holder
				return false, ledger.Errorf(ledger.CodeForbidden, "%s is a customer's own bank account; \"tweetledger customer bank\" changes it", payee.Code).InField("code")
			}
			if p.Old, err = payee.values(ctx, tx); err != nil {
				return false, err
			}
			n := change.apply(p.Old).payee(p.Code)
			if err := n.normalise(); err != nil {
				return false, err
			}
			p.New = n.values(p.Old.TermsFrom)
			if !p.New.sameTerms(p.Old) {
				if p.New.TermsFrom, err = newTermsFrom(change.TermsFrom, p.Old.TermsFrom, s.engine.Today()); err != nil {
					return false, err
				}
			}
			return !p.New.equal(p.Old), nil
		})
}

func (c PayeeChange) apply(v PayeeValues) PayeeValues {
	if c.Name != "" {
		v.Name = c.Name
	}
	if c.IBAN != "" {
		v.IBAN, v.BIC = c.IBAN, c.BIC
	}
	if c.CommissionPoints != nil {
		v.CommissionPoints = *c.CommissionPoints
	}
	if c.CommissionMinimum != nil {
		v.CommissionMinimum = *c.CommissionMinimum
	}
	if c.Tiers != nil {
		v.Tiers = *c.Tiers
	}
	if c.VATPoints != nil {
		v.VATPoints = *c.VATPoints
	}
	if c.Rhythm != "" {
		v.Rhythm = c.Rhythm
	}
	if !c.Anchor.IsZero() {
		v.Anchor = c.Anchor
	}
	if c.Address != nil {
		v.Address = *c.Address
	}
	return v
}

// propose stores a proposal that look has completed, unless look says that there is
// nothing to decide.
func (s *Service) propose(ctx context.Context, p PayeeProposal, look func(context.Context, *sqldb.Tx, *PayeeProposal) (bool, error)) (PayeeProposal, error) {
	if err := validAct(p.ProposedBy, p.Reason); err != nil {
		return PayeeProposal{}, err
	}
	p.ProposedAt = s.engine.Now()
	var made PayeeProposal
	err := s.writeUnique(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		made = p
		open, err := look(ctx, tx, &made)
		if err != nil {
			return err
		}
		if !open {
			made.State = ProposalApproved
			return nil
		}
		waiting, err := proposals(ctx, tx, "code = $1 AND state = 'proposed'", []any{p.Code}, "")
		if err != nil {
			return err
		}
		if len(waiting) > 0 {
			if waiting[0].Kind == made.Kind && waiting[0].New.equal(made.New) && waiting[0].ProposedBy == made.ProposedBy {
				made = waiting[0]
				return nil
			}
			return ledger.Errorf(ledger.CodeConflict, "proposal %d of %s waits for a decision; have it approved or rejected first", waiting[0].Number, p.Code).InField("code")
		}
		made.State = ProposalProposed
		return insertProposal(ctx, tx, &made)
	})
	if err != nil {
		return PayeeProposal{}, fmt.Errorf("propose payee %s: %w", clip(p.Code), err)
	}
	return made, nil
}

func insertProposal(ctx context.Context, tx *sqldb.Tx, p *PayeeProposal) error {
	var number int64
	if err := tx.QueryRow(ctx, "SELECT COALESCE(MAX(number), 0) + 1 FROM payee_proposals WHERE code = $1", []any{p.Code}, &number); err != nil {
		return fmt.Errorf("number the proposal: %w", err)
	}
	p.Number = int(number)
	before, err := json.Marshal(p.Old)
	if err != nil {
		return fmt.Errorf("write the old values: %w", err)
	}
	after, err := json.Marshal(p.New)
	if err != nil {
		return fmt.Errorf("write the new values: %w", err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO payee_proposals (code, number, kind, old_values, new_values, state, proposed_by, proposed_at, reason)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		p.Code, number, string(p.Kind), string(before), string(after), string(p.State), p.ProposedBy, p.ProposedAt, p.Reason)
	if err != nil {
		return fmt.Errorf("store the proposal: %w", err)
	}
	return nil
}

// ApprovePayee puts a proposal into force. It takes another person than the one who
// proposed it (CodeForbidden). To approve again what one has approved changes nothing;
// what was decided otherwise is CodeConflict.
func (s *Service) ApprovePayee(ctx context.Context, code string, number int, actor, reason string) (Payee, error) {
	id, err := s.newID()
	if err != nil {
		return Payee{}, err
	}
	var payee Payee
	err = s.decide(ctx, code, number, ProposalApproved, actor, reason, func(ctx context.Context, tx *sqldb.Tx, p PayeeProposal, decided bool) error {
		if !decided {
			if err := s.putIntoForce(ctx, tx, p, Payee{ID: id, CreatedAt: p.DecidedAt}); err != nil {
				return err
			}
		}
		payee, err = FindPayee(ctx, tx, code)
		return err
	})
	if err != nil {
		return Payee{}, fmt.Errorf("approve proposal %d of payee %s: %w", number, clip(code), err)
	}
	return payee, nil
}

// RejectPayee ends a proposal without effect. Who proposed it may do it, too.
func (s *Service) RejectPayee(ctx context.Context, code string, number int, actor, reason string) error {
	err := s.decide(ctx, code, number, ProposalRejected, actor, reason, func(context.Context, *sqldb.Tx, PayeeProposal, bool) error { return nil })
	if err != nil {
		return fmt.Errorf("reject proposal %d of payee %s: %w", number, clip(code), err)
	}
	return nil
}

// decide decides on a proposal, and does what that brings about in the same
// transaction; decided says that the same person had decided the same before.
func (s *Service) decide(ctx context.Context, code string, number int, to ProposalState, actor, reason string,
	effect func(ctx context.Context, tx *sqldb.Tx, p PayeeProposal, decided bool) error,
) error {
	if err := validAct(actor, reason); err != nil {
		return err
	}
	now := s.engine.Now()
	return s.writeUnique(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		list, err := proposals(ctx, tx, "code = $1 AND number = $2", []any{code, int64(number)}, tx.ForUpdate())
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return ledger.Errorf(ledger.CodeNotFound, "there is no proposal %d of payee %s; \"tweetledger payee proposals\" shows those that wait", number, clip(code)).InField("number")
		}
		p := list[0]
		switch {
		case p.State == to && p.DecidedBy == actor:
			return effect(ctx, tx, p, true)
		case p.State != ProposalProposed:
			return ledger.Errorf(ledger.CodeConflict, "proposal %d of %s is %s by %s already", number, p.Code, p.State, p.DecidedBy).InField("number")
		case to == ProposalApproved && strings.EqualFold(p.ProposedBy, actor):
			return ledger.Errorf(ledger.CodeForbidden, "%s has proposed it; another person must approve it", p.ProposedBy).InField("actor")
		}
		p.State, p.DecidedBy, p.DecidedAt, p.Decision = to, actor, now, reason
		_, err = tx.Exec(ctx, "UPDATE payee_proposals SET state = $1, decided_by = $2, decided_at = $3, decision = $4 WHERE code = $5 AND number = $6",
			string(p.State), p.DecidedBy, p.DecidedAt, p.Decision, p.Code, int64(p.Number))
		if err != nil {
			return fmt.Errorf("store the decision: %w", err)
		}
		return effect(ctx, tx, p, false)
	})
}

// putIntoForce makes the payee that a proposal describes, or changes it.
func (s *Service) putIntoForce(ctx context.Context, tx *sqldb.Tx, p PayeeProposal, made Payee) error {
	n := p.New.payee(p.Code) // what was checked when it was proposed is checked again
	if err := n.normalise(); err != nil {
		return err
	}
	if n.Kind == OwnBank {
		if err := mayHaveBank(ctx, tx, p); err != nil {
			return err
		}
	}
	event := PartyEvent{At: p.DecidedAt, Actor: p.DecidedBy, Event: "enrolled", Reason: clipReason(fmt.Sprintf("proposal %d by %s: %s", p.Number, p.ProposedBy, p.Reason))}
	if p.Kind == ProposalEnrolment {
		made.Code, made.Kind, made.Name, made.Status, made.IBAN, made.BIC = n.Code, n.Kind, n.Name, Open, n.IBAN, n.BIC
		made.Rhythm, made.Anchor, made.Address = n.Rhythm, n.Anchor, n.Address
		made, err := s.enrolPayee(ctx, tx, made)
		if err != nil {
			return err
		}
		if err := s.agreeOnTerms(ctx, tx, made.ID, n.terms(), p); err != nil {
			return err
		}
		return recordPartyEvent(ctx, tx, made.ID, event)
	}
	payee, err := FindPayee(ctx, tx, p.Code)
	if err != nil {
		return err
	}
	now, err := payee.values(ctx, tx)
	if err != nil {
		return err
	}
	if p.Old.TermsFrom.IsZero() { // proposed before there was such a day, and before there were anchors
		p.Old.TermsFrom, p.Old.Anchor = now.TermsFrom, now.Anchor
	}
	if !now.equal(p.Old) || payee.Status == Closed {
		return ledger.Errorf(ledger.CodeConflict, "%s is not any more what it was when the change was proposed; reject it and propose anew", p.Code).InField("code")
	}
	_, err = tx.Exec(ctx, `UPDATE payees SET name = $1, iban = $2, bic = $3, rhythm = $4, anchor = $5,
			street = $6, building = $7, post_code = $8, town = $9, country = $10 WHERE id = $11`,
		n.Name, sqldb.NullText(n.IBAN), sqldb.NullText(n.BIC), string(n.Rhythm), n.Anchor,
		n.Address.Street, n.Address.Building, n.Address.PostCode, n.Address.Town, n.Address.Country, payee.ID)
	if err != nil {
		return fmt.Errorf("change payee %s: %w", p.Code, err)
	}
	if !p.New.sameTerms(p.Old) {
		if err := s.agreeOnTerms(ctx, tx, payee.ID, n.terms(), p); err != nil {
			return err
		}
	}
	event.Event = "changed"
	return recordPartyEvent(ctx, tx, payee.ID, event)
}

// clipReason bounds a reason that was put together from others.
func clipReason(s string) string {
	runes := []rune(s)
	return string(runes[:min(len(runes), maxReason)])
}

// EnrolPayee proposes a payee and approves it at once, for a caller who has the word of
// two persons.
func (s *Service) EnrolPayee(ctx context.Context, n NewPayee, proposer, approver string) (Payee, error) {
	p, err := s.ProposePayee(ctx, n, proposer, "to be paid by customers")
	if err != nil || p.State == ProposalApproved {
		return s.approved(ctx, n.Code, err)
	}
	return s.ApprovePayee(ctx, p.Code, p.Number, approver, "checked")
}

// ChangePayee proposes a change of a payee and approves it at once, for a caller who has
// the word of two persons.
func (s *Service) ChangePayee(ctx context.Context, code string, change PayeeChange, proposer, approver, reason string) (Payee, error) {
	p, err := s.ProposePayeeChange(ctx, code, change, proposer, reason)
	if err != nil || p.State == ProposalApproved {
		return s.approved(ctx, code, err)
	}
	return s.ApprovePayee(ctx, p.Code, p.Number, approver, reason)
}

// approved returns a payee of which nothing is left to decide.
func (s *Service) approved(ctx context.Context, code string, err error) (Payee, error) {
	if err != nil {
		return Payee{}, err
	}
	return s.Payee(ctx, code)
}

const proposalColumns = `code, number, kind, old_values, new_values, state, proposed_by, proposed_at, reason, COALESCE(decided_by, ''), decided_at, COALESCE(decision, '')`

func proposals(ctx context.Context, tx *sqldb.Tx, where string, args []any, tail string) ([]PayeeProposal, error) {
	list, err := sqldb.Collect(ctx, tx, "SELECT "+proposalColumns+" FROM payee_proposals WHERE "+where+tail, args, func(rows *sqldb.Rows) (PayeeProposal, error) {
		var p PayeeProposal
		var before, after string
		err := rows.Scan(&p.Code, &p.Number, &p.Kind, &before, &after, &p.State, &p.ProposedBy, &p.ProposedAt, &p.Reason, &p.DecidedBy, &p.DecidedAt, &p.Decision)
		if err == nil {
			err = json.Unmarshal([]byte(before), &p.Old)
		}
		if err == nil {
			err = json.Unmarshal([]byte(after), &p.New)
		}
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("read proposals of payees: %w", err)
	}
	return list, nil
}

// ProposalFilter selects a page of proposals, in order of codes and numbers.
type ProposalFilter struct {
	Code        string // empty: of all payees
	Decided     bool   // those that were decided, too
	AfterCode   string // of the last one of the page before
	AfterNumber int
	Limit       int // 1 to MaxPage
}

// ListProposals returns a page of proposals.
func ListProposals(ctx context.Context, tx *sqldb.Tx, f ProposalFilter) ([]PayeeProposal, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	var c sqldb.Where
	if f.Code != "" {
		c.And("code = ?", f.Code)
	}
	if !f.Decided {
		c.And("state = ?", string(ProposalProposed))
	}
	if f.AfterCode != "" {
		c.And("(code, number) > (?, ?)", f.AfterCode, int64(f.AfterNumber))
	}
	return proposals(ctx, tx, c.Condition(), c.Args, fmt.Sprintf(" ORDER BY code, number LIMIT %d", f.Limit))
}
