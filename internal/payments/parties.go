package payments

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// userKey is a user of a channel that people are linked on.
type userKey struct{ channel, id string }

// parties are the customers and payees that messages come from and go to.
type parties struct {
	links     map[userKey]Link
	customers map[uuid.UUID]Customer
	payees    map[uuid.UUID]Payee
}

// link returns who a user is linked to; nobody: a Link without ids.
func (p parties) link(channel, userID string) Link {
	return p.links[userKey{linkChannel(channel), userID}]
}

// writer tells apart who writes: a customer, whatever the account, or somebody unknown.
func (p parties) writer(m InboxMessage) string {
	if l := p.link(m.Channel, m.AuthorID); l.CustomerID != uuid.Nil {
		return string(l.CustomerID[:])
	}
	return linkChannel(m.Channel) + ":" + m.AuthorID
}

const linksQuery = `SELECT l.channel, l.user_id, l.handle, l.customer_id, l.payee_id, l.linked_at
	FROM ROWS AS d CROSS JOIN links AS l WHERE l.channel = d.on_channel AND l.user_id = d.number`

var linksColumns = []sqldb.Column{{Name: "on_channel", Type: "text"}, {Name: "number", Type: "text"}}

// findParties reads who has written messages, and whom they pay.
func (h handling) findParties(ctx context.Context, list []*work) (parties, error) {
	who := parties{links: map[userKey]Link{}, customers: map[uuid.UUID]Customer{}, payees: map[uuid.UUID]Payee{}}
	var users []userKey
	asked := map[userKey]bool{}
	ask := func(channel, id string) {
		if key := (userKey{linkChannel(channel), id}); !asked[key] {
			asked[key] = true
			users = append(users, key)
		}
	}
	for _, w := range list {
		ask(w.m.Channel, w.m.AuthorID)
		if c := w.parsed.Command; c != nil && c.Name == CommandPay {
			ask(w.m.Channel, c.PayeeID)
		}
	}
	var customers, payees []uuid.UUID
	err := h.tx.EachOfRows(ctx, linksQuery, linksColumns, len(users),
		func(i int) []any { return []any{users[i].channel, users[i].id} },
		func(rows *sqldb.Rows) error {
			l, err := scanLink(rows)
			who.links[userKey{l.Channel, l.UserID}] = l
			if l.CustomerID != uuid.Nil {
				customers = append(customers, l.CustomerID)
			} else {
				payees = append(payees, l.PayeeID)
			}
			return err
		})
	if err != nil {
		return parties{}, fmt.Errorf("find the users of %d messages: %w", len(list), err)
	}
	if len(customers) > 0 {
		err := h.tx.Each(ctx, "SELECT "+customerColumns+" FROM customers WHERE "+h.tx.AnyUUID("id", 1), []any{customers}, func(rows *sqldb.Rows) error {
			c, err := scanCustomer(rows)
			who.customers[c.ID] = c
			return err
		})
		if err != nil {
			return parties{}, fmt.Errorf("find %d customers: %w", len(customers), err)
		}
	}
	if len(payees) > 0 {
		err := h.tx.Each(ctx, "SELECT "+payeeColumns+" FROM payees WHERE "+h.tx.AnyUUID("id", 1), []any{payees}, func(rows *sqldb.Rows) error {
			p, err := scanPayee(rows)
			who.payees[p.ID] = p
			return err
		})
		if err != nil {
			return parties{}, fmt.Errorf("find %d payees: %w", len(payees), err)
		}
	}
	return who, nil
}

// payee is the receiving side of an order, whoever it is.
type payee struct {
	id      uuid.UUID
	kind    PayeeKind
	name    string // of a charity or business
	status  Status
	account uuid.UUID
}

// bind binds an order to whoever its payee's user id is linked to.
func (p parties) bind(o *Order) (payee, error) {
	l := p.link(o.Channel, o.PayeeUserID)
	switch {
	case l.CustomerID != uuid.Nil:
		c, ok := p.customers[l.CustomerID]
		if !ok {
			return payee{}, ledger.Errorf(ledger.CodeNotFound, "there is no customer %s", l.CustomerID).InField("customer")
		}
		o.PayeeKind, o.PayeeID = Person, c.ID
		return c.asPayee(), nil
	case l.PayeeID != uuid.Nil:
		to, ok := p.payees[l.PayeeID]
		if !ok {
			return payee{}, ledger.Errorf(ledger.CodeNotFound, "there is no payee %s", l.PayeeID).InField("payee")
		}
		o.PayeeKind, o.PayeeID = to.Kind, to.ID
		return to.asPayee(), nil
	}
	o.PayeeKind, o.PayeeID = Unregistered, uuid.Nil
	return nobodyYet(), nil
}

// nobodyYet is a payee who is no customer: the bank keeps the money for whoever that is.
func nobodyYet() payee {
	return payee{kind: Unregistered, status: Open, account: ledger.SystemAccountID(AccountUnclaimed)}
}

func (c Customer) asPayee() payee {
	return payee{id: c.ID, kind: Person, status: c.Status, account: c.WalletID}
}

func (p Payee) asPayee() payee {
	return payee{id: p.ID, kind: p.Kind, name: p.Name, status: p.Status, account: p.AccountID}
}

// loadPayee returns the payee that an order is bound to.
func loadPayee(ctx context.Context, tx *sqldb.Tx, o Order) (payee, error) {
	switch o.PayeeKind {
	case Unregistered:
		return nobodyYet(), nil
	case Person:
		c, err := FindCustomerByID(ctx, tx, o.PayeeID)
		return c.asPayee(), err
	}
	p, err := FindPayeeByID(ctx, tx, o.PayeeID)
	return p.asPayee(), err
}
