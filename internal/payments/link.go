package payments

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Link says who a user of a channel is: exactly one of CustomerID and PayeeID is set.
type Link struct {
	Channel    string
	UserID     string // numeric id: it binds
	Handle     string // without @, as last seen: it binds nothing
	CustomerID uuid.UUID
	PayeeID    uuid.UUID
	LinkedAt   time.Time
}

// LinkCustomer links a user id to a customer. To link it again changes only the
// handle; an id that is linked to somebody else is CodeConflict.
func (s *Service) LinkCustomer(ctx context.Context, channel, userID, handle, customerNumber string) error {
	return s.link(ctx, Link{Channel: channel, UserID: userID, Handle: handle}, func(ctx context.Context, tx *sqldb.Tx, l *Link) error {
		c, err := FindCustomer(ctx, tx, customerNumber)
		l.CustomerID = c.ID
		return err
	})
}

// LinkPayee links a user id to a payee, as LinkCustomer does to a customer.
func (s *Service) LinkPayee(ctx context.Context, channel, userID, handle, payeeCode string) error {
	return s.link(ctx, Link{Channel: channel, UserID: userID, Handle: handle}, func(ctx context.Context, tx *sqldb.Tx, l *Link) error {
		p, err := FindPayee(ctx, tx, payeeCode)
		if err == nil && p.Kind == OwnBank {
			err = ledger.Errorf(ledger.CodeInvalid, "%s is a customer's own bank account, to which nobody pays by tweet", p.Code).InField("payee")
		}
		l.PayeeID = p.ID
		return err
	})
}

func (s *Service) link(ctx context.Context, l Link, find func(ctx context.Context, tx *sqldb.Tx, l *Link) error) error {
	if err := l.validate(); err != nil {
		return err
	}
	l.LinkedAt = s.engine.Now()
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := find(ctx, tx, &l); err != nil {
			return err
		}
		return s.linkTx(ctx, tx, l)
	})
	if err != nil {
		return fmt.Errorf("link user %s of %s: %w", l.UserID, l.Channel, err)
	}
	return nil
}

func (l Link) validate() error {
	switch {
	case !channelPattern.MatchString(l.Channel):
		return ledger.Errorf(ledger.CodeInvalid, "%q is not a channel: 1 to 32 of a-z 0-9 -", clip(l.Channel)).InField("channel")
	case !idPattern.MatchString(l.UserID):
		return ledger.Errorf(ledger.CodeInvalid, "%q is not a user id; give the numeric id, not the handle", clip(l.UserID)).InField("user_id")
	case !handlePattern.MatchString(l.Handle):
		return ledger.Errorf(ledger.CodeInvalid, "%q is not a handle; write it without @", clip(l.Handle)).InField("handle")
	}
	return nil
}

// linkTx links an account to the one party that l names, or brings its handle up
// to date. What was sent to a customer's account before it was one moves on to the
// wallet with the link.
func (s *Service) linkTx(ctx context.Context, tx *sqldb.Tx, l Link) error {
	l.Channel = linkChannel(l.Channel)
	before, err := FindLink(ctx, tx, l.Channel, l.UserID)
	switch {
	case ledger.CodeOf(err) == ledger.CodeNotFound:
		_, err = tx.Exec(ctx, "INSERT INTO links (channel, user_id, customer_id, payee_id, handle, linked_at) VALUES ($1, $2, $3, $4, $5, $6)",
			l.Channel, l.UserID, sqldb.NullUUID(l.CustomerID), sqldb.NullUUID(l.PayeeID), l.Handle, l.LinkedAt)
	case err != nil:
		return err
	case before.CustomerID != l.CustomerID || before.PayeeID != l.PayeeID:
		return errLinkedElsewhere(l)
	case before.Handle == l.Handle:
		return nil
	default:
		_, err = tx.Exec(ctx, "UPDATE links SET handle = $1 WHERE channel = $2 AND user_id = $3", l.Handle, l.Channel, l.UserID)
	}
	switch {
	case err != nil:
		return err
	case l.PayeeID != uuid.Nil:
		return indexHandle(ctx, tx, l)
	case before.UserID == "":
		return s.claimAll(ctx, tx, l, l.LinkedAt)
	}
	return nil
}

func errLinkedElsewhere(l Link) error {
	return ledger.Errorf(ledger.CodeConflict, "user %s of %s is linked to somebody else", l.UserID, l.Channel).InField("user_id")
}

// UnlinkCustomer takes an account from a customer, for a reason. Its messages are
// nobody's orders from then on; orders that were made before stay the customer's.
// An account that is not the customer's is CodeNotFound.
func (s *Service) UnlinkCustomer(ctx context.Context, channel, userID, customerNumber, actor, reason string) error {
	if err := validAct(actor, reason); err != nil {
		return err
	}
	now := s.engine.Now()
	err := s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		c, err := FindCustomer(ctx, tx, customerNumber)
		if err != nil {
			return err
		}
		l, err := FindLink(ctx, tx, channel, userID)
		if err != nil {
			return err
		}
		if l.CustomerID != c.ID {
			return ledger.Errorf(ledger.CodeNotFound, "user %s of %s is not linked to customer %s", clip(userID), clip(channel), c.Number).InField("user_id")
		}
		if _, err := tx.Exec(ctx, "DELETE FROM links WHERE channel = $1 AND user_id = $2", l.Channel, l.UserID); err != nil {
			return err
		}
		return recordPartyEvent(ctx, tx, c.ID, PartyEvent{At: now, Actor: actor, Event: "unlinked", Reason: describe(l) + ": " + reason})
	})
	if err != nil {
		return fmt.Errorf("unlink user %s of %s: %w", clip(userID), clip(channel), err)
	}
	return nil
}

const linkColumns = "channel, user_id, handle, customer_id, payee_id, linked_at"

func scanLink(rows *sqldb.Rows) (Link, error) {
	var l Link
	err := rows.Scan(&l.Channel, &l.UserID, &l.Handle, &l.CustomerID, &l.PayeeID, &l.LinkedAt)
	return l, err
}

// FindLink returns who a user id is linked to, or CodeNotFound. Who writes direct
// messages is who writes posts.
func FindLink(ctx context.Context, tx *sqldb.Tx, channel, userID string) (Link, error) {
	list, err := links(ctx, tx, "channel = $1 AND user_id = $2", linkChannel(channel), userID)
	if err != nil {
		return Link{}, fmt.Errorf("find user %s of %s: %w", clip(userID), clip(channel), err)
	}
	if len(list) == 0 {
		return Link{}, ledger.Errorf(ledger.CodeNotFound, "user %s of %s is not linked to anybody", clip(userID), clip(channel)).InField("user_id")
	}
	return list[0], nil
}

// ListLinks returns the links of a customer or payee, at most MaxPage of them.
func ListLinks(ctx context.Context, tx *sqldb.Tx, party uuid.UUID) ([]Link, error) {
	list, err := links(ctx, tx, "customer_id = $1 OR payee_id = $1", party)
	if err != nil {
		return nil, fmt.Errorf("links of %s: %w", party, err)
	}
	return list, nil
}

func links(ctx context.Context, tx *sqldb.Tx, where string, args ...any) ([]Link, error) {
	var list []Link
	err := tx.Each(ctx, fmt.Sprintf("SELECT %s FROM links WHERE %s ORDER BY channel, user_id LIMIT %d", linkColumns, where, MaxPage),
		args, func(rows *sqldb.Rows) error {
			l, err := scanLink(rows)
			list = append(list, l)
			return err
		})
	return list, err
}
