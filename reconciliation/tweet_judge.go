package reconciliation

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// judge finds the breaks of one edit chain.
func (t *tweets) judge(c *chain) error {
	if err := t.judgeStray(c); err != nil {
		return err
	}
	if o := c.posted(); o != nil {
		return t.judgePosted(c, *o)
	}
	return t.judgeUnposted(c)
}

// judgeStray looks at postings that name the tweet as their source and are not
// the one that its order was posted by. One that was reversed is mended.
func (t *tweets) judgeStray(c *chain) error {
	o := c.posted()
	for _, id := range c.strays() {
		if c.book.reversals[id] != uuid.Nil {
			continue
		}
		txn := c.book.transactions[id]
		amount, currency := transactionAmount(txn)
		b := Break{Reference: c.key, Amount: amount, Currency: currency, Date: txn.EffectiveDate}
		if o != nil {
			b.Class = Duplicate
			b.Message = fmt.Sprintf("tweet %s: transaction %s posts %s a second time, order %s was posted by %s; reverse the one too many",
				c.firstID, id, money(amount, currency), o.Reference(), o.TransactionID)
		} else {
			b.Class = MissingOutside
			b.Message = fmt.Sprintf("transaction %s posts %s for tweet %s, which %s and no order asked for; find out who posted it and reverse it",
				id, money(amount, currency), c.firstID, t.whereabouts(c))
		}
		b.Key = fmt.Sprintf("%s/%s/%s", JobTweets, b.Class, id)
		if err := t.run.addBreak(b); err != nil {
			return err
		}
	}
	return nil
}

// whereabouts says if the tweet itself is there.
func (t *tweets) whereabouts(c *chain) string {
	if f, ok := c.found[c.firstID]; ok && f.Status != There && len(c.tweets) == 0 {
		return "is " + gone(f.Status)
	}
	return "is there"
}

func gone(s FoundStatus) string {
	switch s {
	case NotAuthorised:
		return "hidden, since its author's account is protected"
	case Suspended:
		return "hidden, since its author's account is suspended"
	}
	return "not found"
}

func transactionAmount(txn ledger.Transaction) (ledger.Amount, ledger.Currency) {
	var total ledger.Amount
	for _, p := range txn.Postings {
		total += p.Amount // a report of what is wrong may not fail on it
	}
	if len(txn.Postings) == 0 {
		return 0, ledger.EUR
	}
	return total, txn.Postings[0].Currency
}

// judgePosted compares a posted order with the ledger, the tweet and the receipt.
func (t *tweets) judgePosted(c *chain, o payments.Order) error {
	items := []Item{t.orderItem(c, o), t.ledgerItem(c, o)}
	what := fmt.Sprintf("tweet %s, order %s", c.firstID, o.Reference())
	at := Break{Reference: c.key, Amount: o.Amount, Currency: o.Currency, Date: o.EffectiveDate}
	recorded, isRecorded := t.recordedItem(c, o)
	edited := c.newest() > o.Version
	tweet, there := c.tweet(o.Version)
	switch {
	case there:
		command, why := t.asks(tweet)
		if command == nil {
			at.Class = MissingOutside
			at.Message = fmt.Sprintf("%s: %s was posted, but the text of tweet %s asks for nothing (%s); ask the payer, and reverse it where it was not meant",
				what, money(o.Amount, o.Currency), tweet.ID, why)
			if err := t.run.addBreak(at); err != nil {
				return err
			}
			break
		}
		items = append(items, tweetItem(c, tweet, *command))
	case isRecorded:
		items = append(items, recorded)
	case !edited:
		at.Class = MissingOutside
		at.Message = fmt.Sprintf("%s: %s was posted, but the tweet is %s and the inbox has no record that it asked for it; ask the payer, and reverse it where it was not meant",
			what, money(o.Amount, o.Currency), gone(c.found[c.tweetID(o)].Status))
		if err := t.run.addBreak(at); err != nil {
			return err
		}
	}
	if edited {
		at.Class, at.Message = Edited, t.editedMessage(c, o, what)
		if err := t.run.addBreak(at); err != nil {
			return err
		}
	}
	breaks := differences(items, what, "the payer confirmed the order: correct what is not it by a reversal")
	for _, b := range breaks {
		if err := t.run.addBreak(b); err != nil {
			return err
		}
	}
	if len(breaks) == 0 && len(items) == 3 && !edited {
		t.run.matched(match(t.matchers, items))
		if !there {
			t.noteGone(c, o, what, at)
		}
	}
	return t.judgeReceipt(c, o, what)
}

func (t *tweets) noteGone(c *chain, o payments.Order, what string, at Break) {
	at.Class = TextDeleted
	at.Message = fmt.Sprintf("%s: the tweet is %s; %s was received, confirmed and posted in order, nothing to do",
		what, gone(c.found[c.tweetID(o)].Status), money(o.Amount, o.Currency))
	t.run.addNote(at)
}

func (t *tweets) editedMessage(c *chain, o payments.Order, what string) string {
	now := "its new text is not at hand"
	if tweet, ok := c.tweet(c.newest()); ok {
		if command, why := t.asks(tweet); command != nil {
			now = fmt.Sprintf("it now asks for %s to user %s", money(command.Amount, command.Currency), command.PayeeID)
		} else {
			now = "it now asks for nothing (" + why + ")"
		}
	}
	return fmt.Sprintf("%s: edited after %s to user %s was confirmed; %s; the payment stands, tell the payer",
		what, money(o.Amount, o.Currency), o.PayeeUserID, now)
}

// asks returns what a text asks for by the rules of now, or why it asks for nothing.
func (t *tweets) asks(m payments.Message) (*payments.Command, string) {
	parsed := t.parser.Parse(m)
	switch c := parsed.Command; {
	case parsed.Refusal != nil:
		return nil, string(parsed.Refusal.Code)
	case c == nil:
		return nil, string(parsed.Ignored)
	case c.Name != payments.CommandPay:
		return nil, "another command: " + c.Name
	case c.Amount <= 0:
		return nil, string(payments.RefusedNotPositive)
	case c.Currency != t.currency:
		return nil, string(payments.RefusedCurrency)
	case c.PayeeID == "":
		return nil, string(payments.RefusedUnresolved)
	case c.PayeeID == m.AuthorID:
		return nil, string(payments.RefusedSelf)
	default:
		return c, ""
	}
}

// parties writes who pays whom, alike for every source.
func parties(payer, payee string) string { return "user " + payer + " to user " + payee }

func tweetItem(c *chain, m payments.Message, command payments.Command) Item {
	return Item{Side: Outside, Reference: c.key, Counterparty: parties(m.AuthorID, command.PayeeID), Amount: command.Amount,
		Currency: command.Currency, Source: "the tweet"}
}

func (t *tweets) orderItem(c *chain, o payments.Order) Item {
	return Item{Side: Inside, Reference: c.key, Counterparty: parties(o.PayerUserID, o.PayeeUserID), Amount: o.Amount, Currency: o.Currency,
		Date: o.EffectiveDate, Source: "the order"}
}

// ledgerItem says what was posted: by the order's user ids where the accounts are
// theirs.
func (t *tweets) ledgerItem(c *chain, o payments.Order) Item {
	txn := c.book.transactions[o.TransactionID]
	amount, currency := transactionAmount(txn)
	payer, payee := "?", "?"
	if len(txn.Postings) == 1 {
		p := txn.Postings[0]
		paid := c.book.accounts[o.PayeeID]
		if o.PayeeKind == payments.Unregistered { // the bank keeps it for the payee
			paid = ledger.SystemAccountID(payments.AccountUnclaimed)
		}
		payer, payee = owner(p.Debit, c.book.accounts[o.PayerID], o.PayerUserID), owner(p.Credit, paid, o.PayeeUserID)
	}
	return Item{Side: Inside, Reference: c.key, Counterparty: parties(payer, payee), Amount: amount, Currency: currency, Date: txn.EffectiveDate, Source: "the ledger"}
}

func owner(account, expected uuid.UUID, user string) string {
	if account == expected {
		return user
	}
	return "of account " + account.String()
}

// recordedItem is what the inbox noted when the tweet was handled.
func (t *tweets) recordedItem(c *chain, o payments.Order) (Item, bool) {
	row := c.row(o.Version)
	if row == nil || row.RowID != o.MessageID || row.Command == nil || row.OrderID != o.ID {
		return Item{}, false
	}
	return Item{Side: Inside, Reference: c.key, Counterparty: parties(row.AuthorID, row.Command.PayeeID), Amount: row.Command.Amount,
		Currency: row.Command.Currency, Source: "the inbox"}, true
}

// judgeReceipt makes sure that the payer was told, once.
func (t *tweets) judgeReceipt(c *chain, o payments.Order, what string) error {
	b := Break{Reference: c.key, Amount: o.Amount, Currency: o.Currency, Date: o.EffectiveDate}
	switch {
	case len(c.receipts) == 0:
		b.Class, b.Message = MissingOutside, fmt.Sprintf("%s: posted, but there is no receipt in the outbox; tell the payer", what)
	case len(c.receipts) > 1:
		b.Class, b.Message = Duplicate, fmt.Sprintf("%s: %d receipts in the outbox; delete the ones too many on %s", what, len(c.receipts), t.channel)
	default:
		var err error
		if b.Class, b.Message, err = t.judgeSending(c, o, what); err != nil {
			return err
		}
	}
	if b.Class == "" {
		return nil
	}
	b.Key = fmt.Sprintf("%s/%s/%s/receipt", JobTweets, b.Class, c.key)
	if b.Class == TextDeleted {
		t.run.addNote(b)
		return nil
	}
	return t.run.addBreak(b)
}

// judgeSending looks at the one receipt of a posted order. One that was given up is no
// break where the tweet is gone: nobody can answer it any more, and the payer has seen
// the payment confirmed on the bank's page.
func (t *tweets) judgeSending(c *chain, o payments.Order, what string) (Class, string, error) {
	r := c.receipts[0]
	switch {
	case r.Status == payments.OutboxDead && (r.Unanswerable() || c.isGone(o)):
		return TextDeleted, fmt.Sprintf("%s: the tweet is gone and so its receipt, outbox row %s, could not be published; nothing to do", what, r.ID), nil
	case r.Status == payments.OutboxDead:
		return MissingOutside, fmt.Sprintf("%s: the receipt was given up after %d tries (%s); resend outbox row %s", what, r.Attempts, r.LastError, r.ID), nil
	case r.Status == payments.OutboxPending && t.now.Sub(r.CreatedAt) > t.params.ReceiptTerm:
		return Late, fmt.Sprintf("%s: the receipt waits since %s after %d tries; see why outbox row %s does not go out", what,
			r.CreatedAt.UTC().Format("2006-01-02 15:04 MST"), r.Attempts, r.ID), nil
	}
	texts, err := t.ownTexts(r.ConversationID)
	if err != nil {
		return "", "", err
	}
	copies := 0
	for _, text := range texts {
		if strings.Contains(text, r.Text) {
			copies++
		}
	}
	if copies > 1 {
		return Duplicate, fmt.Sprintf("%s: the receipt stands %d times on %s; delete the ones too many", what, copies, t.channel), nil
	}
	return "", "", nil
}

// judgeUnposted looks for tweets that never arrived, or lead nowhere.
func (t *tweets) judgeUnposted(c *chain) error {
	if len(c.tweets) == 0 {
		return nil
	}
	newest := c.tweets[len(c.tweets)-1]
	if t.now.Sub(newest.CreatedAt) < t.params.Settle {
		t.run.result.Open++
		return nil
	}
	command, why := t.asks(newest)
	row := c.row(newest.Version)
	switch {
	case row == nil && c.supersedes(newest.Version):
		return nil
	case row == nil && command != nil:
		return t.missing(c, newest, *command, "never arrived; feed it into the inbox")
	case row == nil && c.open() != nil:
		o := c.open()
		return t.missing(c, newest, payments.Command{Amount: o.Amount, Currency: o.Currency, PayeeID: o.PayeeUserID},
			fmt.Sprintf("is asked for by order %s, but the tweet was edited since and asks for nothing (%s); feed the edit into the inbox, which voids the order", o.Reference(), why))
	case row == nil:
		t.run.addNote(Break{Class: MissingInLedger, Reference: c.key, Currency: t.currency, Date: t.dateOf(newest),
			Message: fmt.Sprintf("tweet %s is nearly a command (%s), but never arrived and so was not answered; no money is concerned", newest.ID, why)})
		return nil
	case command == nil:
		t.run.matched("recorded_refusal")
		return nil
	}
	return t.judgeHandled(c, newest, *command, *row)
}

// supersedes reports whether the inbox has a newer version than this one.
func (c *chain) supersedes(version int) bool {
	return slices.ContainsFunc(c.inbox, func(m payments.InboxMessage) bool { return m.Version > version })
}

// open returns the order of the chain that is still open, or nil.
func (c *chain) open() *payments.Order {
	for i := range c.orders {
		if c.orders[i].State.Open() {
			return &c.orders[i]
		}
	}
	return nil
}

// judgeHandled looks at a command that arrived.
func (t *tweets) judgeHandled(c *chain, m payments.Message, command payments.Command, row payments.InboxMessage) error {
	switch row.Outcome {
	case payments.OutcomeRefused, payments.OutcomeSuperseded, payments.OutcomeTooLate:
		t.run.matched("recorded_refusal")
		return nil
	case payments.OutcomeOrder, payments.OutcomeRejected:
	case payments.OutcomeFailed:
		return t.missing(c, m, command, "arrived, but handling it failed; look at the log for message "+row.RowID.String())
	case payments.OutcomeIgnored, payments.OutcomeAnswered:
		return t.missing(c, m, command, "arrived and was "+string(row.Outcome)+" ("+row.Reason+"), but it is a payment by the rules of now; ask the payer to tweet again")
	default:
		return t.missing(c, m, command, "arrived, but was not handled; handle it")
	}
	i := slices.IndexFunc(c.orders, func(o payments.Order) bool { return o.ID == row.OrderID })
	if i < 0 {
		return t.missing(c, m, command, "arrived, but its order is not there; message "+row.RowID.String()+" names order "+row.OrderID.String())
	}
	o := c.orders[i]
	if o.State.Open() {
		t.run.result.Open++
	}
	items := []Item{t.orderItem(c, o), tweetItem(c, m, command)}
	if matcher := match(t.matchers, items); matcher != "" {
		t.run.matched(matcher)
		return nil
	}
	for _, b := range differences(items, fmt.Sprintf("tweet %s, order %s (%s)", c.firstID, o.Reference(), o.State), "nothing is posted yet: cancel the order and ask the payer to tweet again") {
		b.Date = t.dateOf(m)
		if err := t.run.addBreak(b); err != nil {
			return err
		}
	}
	return nil
}

// missing is the break of a tweet that lacks its order. Where the inbox has not
// handled it yet, feeding it helps.
func (t *tweets) missing(c *chain, m payments.Message, command payments.Command, what string) error {
	b := Break{Class: MissingInLedger, Reference: c.key, Amount: command.Amount, Currency: command.Currency, Date: t.dateOf(m),
		Message: fmt.Sprintf("tweet %s: %s to user %s %s", m.ID, money(command.Amount, command.Currency), command.PayeeID, what)}
	if row := c.row(m.Version); row == nil || row.HandledAt.IsZero() {
		b.Tweet = &m
	}
	return t.run.addBreak(b)
}

func (t *tweets) dateOf(m payments.Message) ledger.Date {
	return ledger.DateIn(m.CreatedAt, t.service.Engine().Location())
}
