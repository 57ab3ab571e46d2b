package payments

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Everything personal of a customer who has gone can be erased (GDPR art. 17) once no
// law asks for it any more. The books stay: they know the customer by a number alone.

// ProposeErasure proposes to erase everything personal of a customer who is closed. It
// is CodeConflict while something is open, and CodeForbidden while the law keeps it; the
// error says until when. The reason stays, so it must not name the customer.
func (s *Service) ProposeErasure(ctx context.Context, customerNumber, actor, reason string) (Approval, error) {
	a := Approval{Kind: ApprovalErasure, Subject: customerNumber, ProposedBy: actor, Reason: reason}
	return s.proposeApproval(ctx, a, func(ctx context.Context, tx *sqldb.Tx, a *Approval) error {
		c, err := FindCustomer(ctx, tx, customerNumber)
		if err != nil {
			return err
		}
		if !c.ErasedAt.IsZero() {
			return ledger.Errorf(ledger.CodeConflict, "customer %s was erased on %s", c.Number, ledger.DateIn(c.ErasedAt, s.engine.Location())).InField("number")
		}
		a.CustomerID, a.Subject = c.ID, c.Number
		if err := s.mayErase(ctx, tx, c.ID); err != nil {
			return err
		}
		d, err := findDataSubject(ctx, tx, c)
		if err != nil {
			return err
		}
		if word, found := d.named(reason); found {
			return ledger.Errorf(ledger.CodeInvalid, "the reason stays when all else is erased, so it must not name the customer (%q)", clip(word)).InField("reason")
		}
		return nil
	})
}

// mayErase asks whether a customer's data may be erased now.
func (s *Service) mayErase(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) error {
	c, err := FindCustomerByID(ctx, tx, id)
	if err != nil || !c.ErasedAt.IsZero() {
		return err
	}
	if c.Status != Closed {
		return ledger.Errorf(ledger.CodeConflict, "customer %s is %s; close the account first (\"tweetledger customer close\")", c.Number, c.Status).InField("number")
	}
	from, err := s.erasableFrom(ctx, tx, c)
	if err != nil {
		return err
	}
	if today := s.engine.Today(); today.Before(from) {
		return ledger.Errorf(ledger.CodeForbidden, "the law keeps the identity of customer %s for %d years after the end (CMF L.561-12); it can be erased from %s",
			c.Number, s.config.IdentityYears, from).InField("number")
	}
	if err := s.mustBeEmpty(ctx, tx, c.WalletID, c.Number); err != nil {
		return err
	}
	if err := mustHaveNothingUnclaimed(ctx, tx, c); err != nil {
		return err
	}
	for _, open := range []struct{ what, query string }{
		{"orders", "orders WHERE state IN ('received', 'awaiting_payee', 'under_review', 'awaiting_confirmation') AND (payer_id = $1 OR payee_customer_id = $1)"},
		{"charges of cards", "charges WHERE state IN ('requested', 'challenged', 'succeeded', 'refunding', 'disputed') AND customer_id = $1"},
	} {
		var n int64
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM "+open.query, ofParty(c.ID), &n); err != nil {
			return fmt.Errorf("look for open %s of %s: %w", open.what, c.Number, err)
		}
		if n > 0 {
			return ledger.Errorf(ledger.CodeConflict, "customer %s has %s that are not finished (%d); erase when they are", c.Number, open.what, n).InField("number")
		}
	}
	return nil
}

// erasableFrom returns the date from which the identity of a closed customer is not
// asked for any more: so many years after the end of the relationship, to the day.
func (s *Service) erasableFrom(ctx context.Context, tx *sqldb.Tx, c Customer) (ledger.Date, error) {
	var closed time.Time
	err := tx.QueryRow(ctx, "SELECT MAX(at) FROM party_events WHERE party_id = $1 AND event = 'closed'", ofParty(c.ID), &closed)
	if err != nil {
		return ledger.Date{}, fmt.Errorf("look for the closing of %s: %w", c.Number, err)
	}
	end := closed.In(s.engine.Location()).AddDate(s.config.IdentityYears, 0, 0)
	return ledger.DateIn(end, s.engine.Location()), nil
}

// erasePage bounds what one transaction of an erasure rewrites.
const erasePage = 200

// erase does what an approved erasure is about, in many small transactions: whatever
// ends it, approving it again goes on. The customer's own row is the last.
func (s *Service) erase(ctx context.Context, a Approval) error {
	var d dataSubject
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		c, err := FindCustomerByID(ctx, tx, a.CustomerID)
		if err != nil {
			return err
		}
		d, err = findDataSubject(ctx, tx, c)
		return err
	})
	if err != nil {
		return err
	}
	if !d.customer.ErasedAt.IsZero() {
		return nil
	}
	// What is found by handles goes first, and handles are found in messages; accounts
	// are found in orders and links, which go last.
	e := eraser{Service: s, dataSubject: d}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"what was said to the customer", e.outbox}, {"messages", e.messages}, {"charges", e.charges}, {"traces of payments", e.traces},
		{"orders of the customer", e.ordersPaid}, {"orders for the customer", e.ordersReceived}, {"the customer", e.person},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("erase %s of %s: %w", step.what, d.customer.Number, err)
		}
	}
	s.log.InfoContext(ctx, "customer erased", "customer", d.customer.Number, "approval", a.Number)
	return nil
}

// eraser rewrites what the book has of a person.
type eraser struct {
	*Service
	dataSubject
}

// until runs one page of a step after the other, until there is nothing left that it
// finds. A page that was rewritten is not found again.
func (e eraser) until(ctx context.Context, find func(ctx context.Context, tx *sqldb.Tx) ([]uuid.UUID, error), rewrite func(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) error) error {
	var before []uuid.UUID
	for {
		var page []uuid.UUID
		err := e.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
			page, err = find(ctx, tx)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		if slices.Equal(page, before) {
			return errors.New("what was rewritten is found again")
		}
		before = page
		err = e.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			for _, id := range page {
				if err := rewrite(ctx, tx, id); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// findIDs returns a page of the ids that a query finds.
func findIDs(ctx context.Context, tx *sqldb.Tx, query string, args []any) ([]uuid.UUID, error) {
	return sqldb.Collect(ctx, tx, query+fmt.Sprintf(" LIMIT %d", erasePage), args, func(rows *sqldb.Rows) (id uuid.UUID, err error) {
		err = rows.Scan(&id)
		return id, err
	})
}

// statement is one of a step.
type statement struct {
	query string
	args  []any
}

func runAll(ctx context.Context, tx *sqldb.Tx, list []statement) error {
	for _, st := range list {
		if _, err := tx.Exec(ctx, st.query, st.args...); err != nil {
			return err
		}
	}
	return nil
}

// staffWords is true of events whose reason a person has written: not those of the
// service, nor those in which staff did what has a reason of its own.
const staffWords = `actor NOT IN ('` + ActorService + `', '` + ActorSweeper + `', '` + ActorProcessor + `', '` + ActorPage + `', '` + ActorPayer + `')
	AND reason NOT IN ('` + ReasonConfirmed + `', '` + ReasonAskedFor + `', '` + ReasonAskedToEnrol + `', '` + ReasonCodeRight + `', '` + ReasonCardKnown + `', '` +
	ReasonSecretChosen + `', '` + ReasonComplete + `', '` + ReasonAlreadyCustomer + `', '` + ReasonCodesGuessed + `', '` + ReasonRestarted + `', '` + erasedText + `')`
