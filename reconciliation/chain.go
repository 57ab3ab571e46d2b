package reconciliation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// chain is all that is known of one edit chain, from all sides.
type chain struct {
	key      string
	firstID  string
	tweets   []payments.Message // of the period, by version
	cited    []uuid.UUID        // transactions of the period that name it as their source
	inbox    []payments.InboxMessage
	orders   []payments.Order
	receipts []payments.OutboxRow
	book     *book
	found    map[string]Found
}

// book is what was read along with the chains of a chunk.
type book struct {
	transactions map[uuid.UUID]ledger.Transaction
	accounts     map[uuid.UUID]uuid.UUID // of parties
	reversals    map[uuid.UUID]uuid.UUID // of postings that no order asked for
}

func newChain(channel string, g group[posted, payments.Message]) *chain {
	c := &chain{key: g.key, firstID: strings.TrimPrefix(g.key, channel+":"), tweets: versions(g.b)}
	for _, p := range g.a {
		if p.transaction != uuid.Nil {
			c.cited = append(c.cited, p.transaction)
		}
	}
	return c
}

// posted returns the order of the chain that was posted, or nil.
func (c *chain) posted() *payments.Order {
	for i := range c.orders {
		if c.orders[i].State == payments.StatePosted {
			return &c.orders[i]
		}
	}
	return nil
}

// strays returns the transactions that name the tweet as their source, and are not the
// one that its order was posted by.
func (c *chain) strays() []uuid.UUID {
	o := c.posted()
	return slices.DeleteFunc(slices.Clone(c.cited), func(id uuid.UUID) bool { return o != nil && id == o.TransactionID })
}

// row returns a version as the inbox has it, or nil.
func (c *chain) row(version int) *payments.InboxMessage {
	for i := range c.inbox {
		if c.inbox[i].Version == version {
			return &c.inbox[i]
		}
	}
	return nil
}

// tweet returns a version as the history has it.
func (c *chain) tweet(version int) (payments.Message, bool) {
	for _, m := range c.tweets {
		if m.Version == version {
			return m, true
		}
	}
	for _, f := range c.found {
		if f.Status == There && f.Message.FirstID == c.firstID && f.Message.Version == version {
			return f.Message, true
		}
	}
	return payments.Message{}, false
}

// isGone reports whether the tweet that an order was made of was deleted or is hidden, as
// far as inbox and history know.
func (c *chain) isGone(o payments.Order) bool {
	if row := c.row(o.Version); row != nil && !row.DeletedAt.IsZero() {
		return true
	}
	f, asked := c.found[c.tweetID(o)]
	return asked && f.Status != There
}

// newest returns the number of the newest version that anybody knows of.
func (c *chain) newest() int {
	version := 0
	for _, m := range c.tweets {
		version = max(version, m.Version)
	}
	for _, m := range c.inbox {
		version = max(version, m.Version)
	}
	for _, f := range c.found {
		version = max(version, f.Newest, f.Message.Version)
	}
	return version
}

// toLookUp returns the ids that the history must be asked for by name: of the
// tweet behind a posting where the period's tweets do not have it.
func (c *chain) toLookUp() []string {
	o := c.posted()
	if o == nil {
		if len(c.cited) > 0 && len(c.tweets) == 0 {
			return []string{c.firstID}
		}
		return nil
	}
	if _, ok := c.tweet(o.Version); ok || c.newest() > o.Version {
		return nil
	}
	return []string{c.tweetID(*o)}
}

// tweetID returns the id of the version that an order was made of.
func (c *chain) tweetID(o payments.Order) string {
	if row := c.row(o.Version); row != nil {
		return row.ID
	}
	return o.FirstID
}

// judgeAll reads what the book has of the chains, asks the history for what is
// missing, and judges each chain.
func (t *tweets) judgeAll(ctx context.Context, h History, chains []*chain) error {
	if len(chains) == 0 {
		return nil
	}
	err := t.service.Engine().DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return t.load(ctx, tx, chains)
	})
	if err != nil {
		return fmt.Errorf("read %d orders: %w", len(chains), err)
	}
	if err := t.lookUp(ctx, h, chains); err != nil {
		return err
	}
	for _, c := range chains {
		t.hash(c)
		t.run.watch.judged(c.key)
		if err := t.judge(c); err != nil {
			return err
		}
	}
	return nil
}

func (t *tweets) load(ctx context.Context, tx *sqldb.Tx, chains []*chain) error {
	byKey, byFirstID, byOrder := map[string]*chain{}, map[string]*chain{}, map[uuid.UUID]*chain{}
	var keys, firstIDs []string
	for _, c := range chains {
		c.inbox, c.orders, c.receipts = nil, nil, nil // the transaction may run again
		byKey[c.key], byFirstID[c.firstID] = c, c
		keys, firstIDs = append(keys, c.key), append(firstIDs, c.firstID)
	}
	inbox, err := payments.MessagesOfChains(ctx, tx, t.channel, firstIDs)
	if err != nil {
		return err
	}
	for _, m := range inbox {
		c := byFirstID[m.FirstID]
		c.inbox = append(c.inbox, m)
	}
	orders, err := payments.OrdersOfKeys(ctx, tx, keys)
	if err != nil {
		return err
	}
	var posted, parties, transactions []uuid.UUID
	for _, o := range orders {
		c := byKey[o.Key]
		c.orders = append(c.orders, o)
		byOrder[o.ID] = c
		if o.State == payments.StatePosted {
			posted, parties, transactions = append(posted, o.ID), append(parties, o.PayerID, o.PayeeID), append(transactions, o.TransactionID)
		}
	}
	receipts, err := payments.ReceiptsOfOrders(ctx, tx, posted)
	if err != nil {
		return err
	}
	for _, r := range receipts {
		c := byOrder[r.OrderID]
		c.receipts = append(c.receipts, r)
	}
	var strays []uuid.UUID
	for _, c := range chains {
		transactions = append(transactions, c.cited...)
		strays = append(strays, c.strays()...)
	}
	b := &book{}
	if b.reversals, err = engine.FindReversals(ctx, tx, strays); err != nil {
		return err
	}
	if b.accounts, err = payments.AccountsOfParties(ctx, tx, parties); err != nil {
		return err
	}
	if b.transactions, err = engine.FindTransactions(ctx, tx, transactions); err != nil {
		return err
	}
	for _, c := range chains {
		c.book = b
	}
	return nil
}

// lookUp asks the history, at most MaxLookup ids at a time.
func (t *tweets) lookUp(ctx context.Context, h History, chains []*chain) error {
	wanted := map[string]*chain{}
	var ids []string
	for _, c := range chains {
		c.found = map[string]Found{}
		for _, id := range c.toLookUp() {
			wanted[id] = c
			ids = append(ids, id)
		}
	}
	for batch := range slices.Chunk(ids, MaxLookup) {
		answers, err := h.Lookup(ctx, batch)
		if err != nil {
			return fmt.Errorf("look up %d tweets: %w", len(batch), err)
		}
		for _, id := range batch {
			f, ok := answers[id]
			// Another version than the one asked for is an answer too: it was edited.
			if !ok || (f.Status == There && (f.Message.FirstID != wanted[id].firstID || f.Message.Validate() != nil)) {
				f = Found{Status: NotFound}
			}
			wanted[id].found[id] = f
		}
	}
	return nil
}

// dayOf is the day that a chain is counted to: of its order, else of its first tweet,
// else of the first posting.
func (t *tweets) dayOf(c *chain) ledger.Date {
	if o := c.posted(); o != nil {
		return o.EffectiveDate
	}
	if len(c.tweets) > 0 {
		return t.dateOf(c.tweets[0])
	}
	for _, id := range c.cited {
		return c.book.transactions[id].EffectiveDate
	}
	return ledger.Date{}
}

// hash takes note of all that the chain is judged by.
func (t *tweets) hash(c *chain) {
	in := t.run.inputs
	in.on(t.dayOf(c))
	in.text("chain", c.key)
	in.number(int64(len(c.tweets)), int64(len(c.cited)), int64(len(c.inbox)), int64(len(c.orders)), int64(len(c.receipts)), int64(len(c.found)))
	for _, m := range c.tweets {
		in.text(m.ID, m.AuthorID, m.Text)
		in.number(int64(m.Version), m.CreatedAt.UnixMicro())
	}
	for _, id := range c.cited {
		t.hashTransaction(c.book.transactions[id])
		in.text(c.book.reversals[id].String())
	}
	for _, m := range c.inbox {
		in.text(m.ID, string(m.Outcome), m.Reason, m.OrderID.String(), string(m.TextHash))
	}
	for _, o := range c.orders {
		in.text(o.ID.String(), string(o.State), o.PayerID.String(), o.PayerUserID, o.PayeeID.String(), o.PayeeUserID, string(o.Currency))
		in.number(int64(o.Version), int64(o.Amount))
		if o.State == payments.StatePosted {
			t.hashTransaction(c.book.transactions[o.TransactionID])
		}
	}
	for _, r := range c.receipts {
		in.text(r.ID.String(), string(r.Status), r.ExternalID)
	}
	for _, id := range slices.Sorted(maps.Keys(c.found)) {
		in.text(id, string(c.found[id].Status), c.found[id].Message.Text)
		in.number(int64(c.found[id].Newest))
	}
}

func (t *tweets) hashTransaction(txn ledger.Transaction) {
	in := t.run.inputs
	in.text(txn.ID.String(), txn.Key, txn.EffectiveDate.String())
	in.number(int64(len(txn.Postings)))
	for _, p := range txn.Postings {
		in.text(p.Debit.String(), p.Credit.String(), string(p.Currency))
		in.number(int64(p.Amount))
	}
}
