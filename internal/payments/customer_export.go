package payments

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// ExportFormat names the document that ExportCustomer writes. Parts may be added to it;
// what is there keeps its name and meaning, or the number goes up.
const ExportFormat = "tweetledger-customer/1"

// exportPage bounds the rows of an export that are in memory at once.
const exportPage = 500

// ExportCustomer writes everything that the book has of a customer as one document of
// JSON (GDPR art. 15 and 20), part by part as it is read: it takes little memory,
// however long the history is, and what is added meanwhile may be in it or not. Secrets
// are not in it, nor is what is only about others. docs/payments.md describes it.
func (s *Service) ExportCustomer(ctx context.Context, out io.Writer, customerNumber string) error {
	e := &exporter{Service: s, out: bufio.NewWriter(out)}
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		c, err := FindCustomer(ctx, tx, customerNumber)
		if err != nil {
			return err
		}
		e.dataSubject, err = findDataSubject(ctx, tx, c)
		return err
	})
	if err != nil {
		return fmt.Errorf("export customer %s: %w", clip(customerNumber), err)
	}
	e.head()
	for _, part := range []func(context.Context){e.corrections, e.history, e.accounts, e.cards, e.registrations, e.bankAccount, e.cashOuts, e.charges, e.enrolments, e.oneTimeCodes, e.ordersPaid, e.ordersReceived,
		e.messages, e.outgoing, e.approvals, e.statements, e.postings} {
		part(ctx)
	}
	e.text("\n}\n")
	if e.err == nil {
		e.err = e.out.Flush()
	}
	if e.err != nil {
		return fmt.Errorf("export customer %s: %w", e.customer.Number, e.err)
	}
	return nil
}

// exporter writes the parts of an export. The first error ends it.
type exporter struct {
	*Service
	dataSubject
	out *bufio.Writer
	err error
}

func (e *exporter) text(s string) {
	if e.err == nil {
		_, e.err = e.out.WriteString(s)
	}
}

func (e *exporter) value(v any) {
	if e.err != nil {
		return
	}
	var text []byte
	if text, e.err = json.Marshal(v); e.err == nil {
		_, e.err = e.out.Write(text)
	}
}

// list writes a part that is a list: page after page, until one is not full. page reads
// the rows behind the last one (nil: the first), and show makes of each what is written.
func list[T any](ctx context.Context, e *exporter, name string, page func(ctx context.Context, tx *sqldb.Tx, last *T) ([]T, error), show func(T) any) {
	e.text(",\n  \"" + name + "\": [")
	var last *T
	for first := true; e.err == nil; first = false {
		var rows []T
		e.err = e.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
			rows, err = page(ctx, tx, last)
			return err
		})
		for i, row := range rows {
			if !first || i > 0 {
				e.text(",")
			}
			e.text("\n    ")
			e.value(show(row))
		}
		if len(rows) < exportPage {
			break
		}
		last = &rows[len(rows)-1]
	}
	e.text("\n  ]")
}

// fields is an object of the export.
type fields map[string]any

// instant is a time as the export has it: null where there is none.
func instant(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// date is a day as the export has it: null where there is none.
func date(d ledger.Date) any {
	if d.IsZero() {
		return nil
	}
	return d.String()
}

// identity is an id as the export has it: null where there is none.
func identity(id uuid.UUID) any {
	if id == uuid.Nil {
		return nil
	}
	return id
}

func (e *exporter) money(a ledger.Amount, c ledger.Currency) any {
	return fields{"amount": a.Format(c), "currency": c}
}

func (e *exporter) head() {
	c := e.customer
	e.text("{\n  \"format\": ")
	e.value(ExportFormat)
	e.text(",\n  \"generated_at\": ")
	e.value(instant(e.engine.Now()))
	e.text(",\n  \"customer\": ")
	e.value(fields{"number": c.Number, "id": c.ID, "name": c.Name, "phone": c.Phone, "phone_verified_at": instant(c.PhoneVerifiedAt), "status": c.Status,
		"wallet": WalletCode(c.Number), "secret_code": c.HasSecret, "secret_failures": c.SecretFailures, "secret_blocked_at": instant(c.SecretBlockedAt),
		"created_at": instant(c.CreatedAt), "erased_at": instant(c.ErasedAt)})
	e.text(",\n  \"consents\": ")
	e.value(fields{"named_to_charities": c.Named})
}

func (e *exporter) corrections(ctx context.Context) {
	type row struct {
		ordinal int64
		PartyChange
	}
	list(ctx, e, "corrections", func(ctx context.Context, tx *sqldb.Tx, last *row) ([]row, error) {
		after := int64(-1)
		if last != nil {
			after = last.ordinal
		}
		return sqldb.Collect(ctx, tx, fmt.Sprintf("SELECT ordinal, at, actor, field, old_value, new_value, reason FROM party_changes WHERE party_id = $1 AND ordinal > $2 ORDER BY ordinal LIMIT %d", exportPage),
			[]any{e.customer.ID, after}, func(rows *sqldb.Rows) (r row, err error) {
				err = rows.Scan(&r.ordinal, &r.At, &r.Actor, &r.Field, &r.Old, &r.New, &r.Reason)
				return r, err
			})
	}, func(r row) any {
		return fields{"at": instant(r.At), "by": r.Actor, "field": r.Field, "before": r.Old, "after": r.New, "reason": r.Reason}
	})
}

func (e *exporter) history(ctx context.Context) {
	type row struct {
		ordinal int64
		PartyEvent
	}
	list(ctx, e, "history", func(ctx context.Context, tx *sqldb.Tx, last *row) ([]row, error) {
		after := int64(-1)
		if last != nil {
			after = last.ordinal
		}
		return sqldb.Collect(ctx, tx, fmt.Sprintf("SELECT ordinal, at, actor, event, reason FROM party_events WHERE party_id = $1 AND ordinal > $2 ORDER BY ordinal LIMIT %d", exportPage),
			[]any{e.customer.ID, after}, func(rows *sqldb.Rows) (r row, err error) {
				err = rows.Scan(&r.ordinal, &r.At, &r.Actor, &r.Event, &r.Reason)
				return r, err
			})
	}, func(r row) any {
		return fields{"at": instant(r.At), "by": r.Actor, "event": r.Event, "reason": r.Reason}
	})
}

func (e *exporter) accounts(ctx context.Context) {
	list(ctx, e, "accounts", func(ctx context.Context, tx *sqldb.Tx, last *Link) ([]Link, error) {
		if last != nil { // there are no more than fit one look
			return nil, nil
		}
		return ListLinks(ctx, tx, e.customer.ID)
	}, func(l Link) any {
		return fields{"channel": l.Channel, "user_id": l.UserID, "handle": l.Handle, "linked_at": instant(l.LinkedAt)}
	})
}

func (e *exporter) cards(ctx context.Context) {
	list(ctx, e, "cards", func(ctx context.Context, tx *sqldb.Tx, last *Card) ([]Card, error) {
		if last != nil {
			return nil, nil
		}
		return CardsOf(ctx, tx, e.customer.ID)
	}, func(k Card) any {
		return fields{"id": k.ID, "brand": k.Brand, "last_four": k.LastFour, "expires": fmt.Sprintf("%04d-%02d", k.ExpiryYear, k.ExpiryMonth), "country": k.Country,
			"processor_token": k.Token, "processor_customer": k.Holder, "state": k.State, "default": k.Default,
			"automatic_top_up_maximum": e.money(k.AutomaticMaximum, e.config.Currency), "created_at": instant(k.CreatedAt), "removed_at": instant(k.RemovedAt)}
	})
}

// bankAccount writes the bank account that the customer's money is redeemed to, and what
// was proposed for it.
func (e *exporter) bankAccount(ctx context.Context) {
	list(ctx, e, "bank_accounts", func(ctx context.Context, tx *sqldb.Tx, last *Payee) ([]Payee, error) {
		if last != nil {
			return nil, nil
		}
		payee, err := FindPayee(ctx, tx, OwnBankCode(e.customer.Number))
		if ledger.CodeOf(err) == ledger.CodeNotFound {
			return nil, nil
		}
		return []Payee{payee}, err
	}, func(p Payee) any {
		return fields{"holder": p.Name, "iban": p.IBAN, "bic": p.BIC, "status": p.Status, "since": instant(p.CreatedAt)}
	})
}

// cashOuts writes the transfers with which money was redeemed; "postings" has what left
// the wallet.
func (e *exporter) cashOuts(ctx context.Context) {
	type row struct {
		endToEnd, name, iban, state, reason string
		net                                 ledger.Amount
		currency                            ledger.Currency
		approved, settled, returned         ledger.Date
	}
	list(ctx, e, "cash_outs", func(ctx context.Context, tx *sqldb.Tx, last *row) ([]row, error) {
		after := ""
		if last != nil {
			after = last.endToEnd
		}
		return sqldb.Collect(ctx, tx, fmt.Sprintf(`SELECT p.end_to_end_id, p.creditor_name, p.creditor_iban, p.state, p.return_reason, p.net, p.currency, p.approved_on, p.settled_on, p.returned_on
			FROM payouts AS p JOIN payees AS y ON y.id = p.payee_id WHERE y.code = $1 AND p.end_to_end_id > $2 ORDER BY p.end_to_end_id LIMIT %d`, exportPage),
			[]any{OwnBankCode(e.customer.Number), after}, func(rows *sqldb.Rows) (row, error) {
				var r row
				err := rows.Scan(&r.endToEnd, &r.name, &r.iban, &r.state, &r.reason, &r.net, &r.currency, &r.approved, &r.settled, &r.returned)
				return r, err
			})
	}, func(r row) any {
		return fields{"end_to_end_id": r.endToEnd, "holder": r.name, "iban": r.iban, "state": r.state, "return_reason": r.reason, "amount": e.money(r.net, r.currency),
			"approved_on": date(r.approved), "settled_on": date(r.settled), "returned_on": date(r.returned)}
	})
}

// registrations of cards are maxRegistrations a day at most, so one page has what is kept
// of years.
func (e *exporter) registrations(ctx context.Context) {
	list(ctx, e, "card_registrations", func(ctx context.Context, tx *sqldb.Tx, last *CardRegistration) ([]CardRegistration, error) {
		if last != nil {
			return nil, nil
		}
		return RegistrationsOf(ctx, tx, e.customer.ID, MaxPage)
	}, func(r CardRegistration) any {
		return fields{"id": r.ID, "state": r.State, "reason": r.Reason, "card": r.Detail, "country": r.Country, "begun_at": instant(r.CreatedAt), "changed_at": instant(r.ChangedAt)}
	})
}

func (e *exporter) charges(ctx context.Context) {
	type row struct {
		Charge
		events   []ChargeEvent
		disputes []Dispute
	}
	list(ctx, e, "charges", func(ctx context.Context, tx *sqldb.Tx, last *row) ([]row, error) {
		f := ChargeFilter{CustomerID: e.customer.ID, Limit: exportPage}
		if last != nil {
			f.After = last.Cursor()
		}
		charges, err := ListCharges(ctx, tx, f)
		rows := make([]row, len(charges))
		for i, c := range charges {
			rows[i].Charge = c
			if err == nil {
				rows[i].events, err = ChargeEvents(ctx, tx, c.ID)
			}
			if err == nil {
				rows[i].disputes, err = DisputesOf(ctx, tx, c.ID)
			}
		}
		return rows, err
	}, func(r row) any {
		events, disputes := []any{}, []any{}
		for _, v := range r.events {
			events = append(events, fields{"at": instant(v.At), "by": v.Actor, "from": v.From, "to": v.To, "reason": v.Reason})
		}
		for _, d := range r.disputes {
			disputes = append(disputes, fields{"reference": d.Reference, "charge": e.money(d.Amount, r.Currency), "state": d.State, "created_at": instant(d.CreatedAt)})
		}
		return fields{"id": r.ID, "card": r.CardID, "order": identity(r.OrderID), "charge": e.money(r.Amount, r.Currency), "state": r.State, "reason": r.Reason,
			"processor_reference": r.Reference, "created_at": instant(r.CreatedAt), "events": events, "disputes": disputes}
	})
}

func (e *exporter) enrolments(ctx context.Context) {
	type row struct {
		Enrolment
		history []EnrolmentEvent
	}
	list(ctx, e, "enrolments", func(ctx context.Context, tx *sqldb.Tx, last *row) ([]row, error) {
		if last != nil {
			return nil, nil
		}
		found, err := enrolments(ctx, tx, "id = $1 OR "+tx.AnyText("phone", 2), []any{e.customer.ID, e.phones}, fmt.Sprintf(" ORDER BY created_at, id LIMIT %d", MaxPage))
		rows := make([]row, len(found))
		for i, n := range found {
			rows[i].Enrolment = n
			if err == nil {
				rows[i].history, err = EnrolmentEvents(ctx, tx, n.ID)
			}
		}
		return rows, err
	}, func(r row) any {
		events := []any{}
		for _, v := range r.history {
			events = append(events, fields{"at": instant(v.At), "by": v.Actor, "from": v.From, "to": v.To, "reason": v.Reason})
		}
		return fields{"id": r.ID, "name": r.Name, "phone": r.Phone, "named": r.Named, "language": r.Language, "state": r.State, "reason": r.Reason,
			"created_at": instant(r.CreatedAt), "events": events}
	})
}

// oneTimeCodes lists the sendings of codes; the codes themselves are nowhere.
func (e *exporter) oneTimeCodes(ctx context.Context) {
	list(ctx, e, "one_time_codes", func(ctx context.Context, tx *sqldb.Tx, last *oneTimeCode) ([]oneTimeCode, error) {
		if last != nil {
			return nil, nil
		}
		return codes(ctx, tx, "(subject_id = $1 OR "+tx.AnyText("phone", 2)+fmt.Sprintf(") ORDER BY created_at, id LIMIT %d", MaxPage), []any{e.customer.ID, e.phones})
	}, func(c oneTimeCode) any {
		return fields{"purpose": c.purpose, "phone": c.phone, "created_at": instant(c.createdAt), "expires_at": instant(c.expiresAt), "outcome": c.outcome, "tries": c.tries}
	})
}

// paidOrder is an order with what belongs to it.
type paidOrder struct {
	Order
	history   []OrderEvent
	hits      []Hit
	unclaimed Unclaimed
}

func (e *exporter) ordersPaid(ctx context.Context) {
	list(ctx, e, "orders", func(ctx context.Context, tx *sqldb.Tx, last *paidOrder) ([]paidOrder, error) {
		f := OrderFilter{PayerID: e.customer.ID, Limit: exportPage}
		if last != nil {
			f.After = last.Cursor()
		}
		found, err := ListOrders(ctx, tx, f)
		rows := make([]paidOrder, len(found))
		for i, o := range found {
			if err != nil {
				break
			}
			rows[i].Order = o
			if rows[i].history, err = OrderEvents(ctx, tx, o.ID); err != nil {
				break
			}
			if rows[i].hits, err = HitsOfOrder(ctx, tx, o.ID); err != nil {
				break
			}
			if rows[i].unclaimed, err = FindUnclaimed(ctx, tx, o.ID); ledger.CodeOf(err) == ledger.CodeNotFound {
				err = nil
			}
		}
		return rows, err
	}, func(r paidOrder) any {
		events, hits := []any{}, []any{}
		for _, v := range r.history {
			events = append(events, fields{"at": instant(v.At), "by": v.Actor, "from": v.From, "to": v.To, "reason": v.Reason})
		}
		for _, h := range r.hits {
			hits = append(hits, fields{"rule": h.Rule, "verdict": h.Verdict, "detail": h.Detail})
		}
		shown := fields{"id": r.ID, "reference": r.Reference(), "key": r.Key, "version": r.Version, "paid_from": r.PayerUserID, "payee_kind": r.PayeeKind,
			"payee_user_id": r.PayeeUserID, "payee_handle": r.PayeeHandle, "payment": e.money(r.Amount, r.Currency), "state": r.State, "reason": r.Reason,
			"message_at": instant(r.MessageAt), "created_at": instant(r.CreatedAt), "closed_at": instant(r.ClosedAt), "transaction": identity(r.TransactionID),
			"events": events, "screening": hits}
		if r.unclaimed.OrderID != uuid.Nil {
			shown["unclaimed"] = fields{"state": r.unclaimed.State, "reason": r.unclaimed.Reason, "expires_at": instant(r.unclaimed.ExpiresAt), "transaction": identity(r.unclaimed.TransactionID)}
		}
		return shown
	})
}

// ordersReceived lists what others have ordered for the customer, without who they are.
func (e *exporter) ordersReceived(ctx context.Context) {
	list(ctx, e, "received", func(ctx context.Context, tx *sqldb.Tx, last *Order) ([]Order, error) {
		var w sqldb.Where
		w.And("(payee_customer_id = ? OR id IN (SELECT order_id FROM unclaimed_payments WHERE customer_id = ?))", e.customer.ID, e.customer.ID)
		if last != nil {
			createdBetween(&w, time.Time{}, time.Time{}, last.Cursor())
		}
		return orders(ctx, tx, w.Condition(), w.Args, fmt.Sprintf(" ORDER BY created_at, id LIMIT %d", exportPage))
	}, func(o Order) any {
		return fields{"reference": o.Reference(), "paid_to": o.PayeeUserID, "handle": o.PayeeHandle, "payment": e.money(o.Amount, o.Currency), "state": o.State,
			"created_at": instant(o.CreatedAt), "closed_at": instant(o.ClosedAt)}
	})
}

func (e *exporter) messages(ctx context.Context) {
	list(ctx, e, "messages", func(ctx context.Context, tx *sqldb.Tx, last *InboxMessage) ([]InboxMessage, error) {
		authors := append(e.ids(), e.standIns...)
		if len(authors) == 0 {
			return nil, nil
		}
		w := sqldb.Where{Args: []any{authors}}
		w.And(tx.AnyText("author_id", 1))
		if last != nil {
			w.And("(created_at, id) > (?, ?)", last.CreatedAt, last.RowID)
		}
		return messages(ctx, tx, w.Condition(), w.Args, fmt.Sprintf(" ORDER BY created_at, id LIMIT %d", exportPage))
	}, func(m InboxMessage) any {
		shown := fields{"channel": m.Channel, "id": m.ID, "first_id": m.FirstID, "version": m.Version, "author_id": m.AuthorID, "author_handle": m.AuthorHandle,
			"kind": m.Kind, "via": m.Via, "language": m.Language, "mentions": m.Mentions, "created_at": instant(m.CreatedAt), "received_at": instant(m.ReceivedAt),
			"outcome": m.Outcome, "reason": m.Reason, "order": identity(m.OrderID), "deleted_at": instant(m.DeletedAt), "text": nil, "command": nil}
		if m.HasText {
			shown["text"] = m.Text
		}
		if m.Command != nil {
			shown["command"] = commandJSON(*m.Command)
		}
		return shown
	})
}

// outgoing lists notices, and answers to the customer's messages. A notice's text, with
// its link, is kept nowhere.
func (e *exporter) outgoing(ctx context.Context) {
	list(ctx, e, "sent", func(ctx context.Context, tx *sqldb.Tx, last *OutboxRow) ([]OutboxRow, error) {
		var w sqldb.Where
		find, args := "o.customer_id = ?", []any{e.customer.ID}
		for _, u := range e.users {
			find += " OR (o.recipient_id = ? AND o.channel IN (?, ?)) OR (o.channel IN (?, ?) AND EXISTS (SELECT 1 FROM messages AS m WHERE m.channel = o.channel AND m.message_id = o.in_reply_to AND m.author_id = ?))"
			args = append(args, u.id, u.channel, DirectChannel(u.channel), u.channel, DirectChannel(u.channel), u.id)
		}
		w.And("("+find+")", args...)
		if last != nil {
			w.And("(o.created_at, o.id) > (?, ?)", last.CreatedAt, last.ID)
		}
		return outboxRows(ctx, tx, w.Condition(), w.Args, fmt.Sprintf(" ORDER BY created_at, id LIMIT %d", exportPage))
	}, func(r OutboxRow) any {
		return fields{"kind": r.Kind, "channel": r.Channel, "in_reply_to": r.InReplyTo, "recipient_id": r.RecipientID, "order": identity(r.OrderID), "template": r.Template,
			"text": r.Text, "status": r.Status, "attempts": r.Attempts, "created_at": instant(r.CreatedAt), "closed_at": instant(r.ClosedAt), "external_id": r.ExternalID}
	})
}

func (e *exporter) approvals(ctx context.Context) {
	list(ctx, e, "approvals", func(ctx context.Context, tx *sqldb.Tx, last *Approval) ([]Approval, error) {
		after := 0
		if last != nil {
			after = last.Number
		}
		return approvals(ctx, tx, "customer_id = $1 AND number > $2", []any{e.customer.ID, int64(after)}, fmt.Sprintf(" ORDER BY number LIMIT %d", exportPage))
	}, func(a Approval) any {
		return fields{"number": a.Number, "kind": a.Kind, "subject": a.Subject, "money": e.money(a.Amount, e.config.Currency), "state": a.State,
			"proposed_by": a.ProposedBy, "proposed_at": instant(a.ProposedAt), "reason": a.Reason, "decided_by": a.DecidedBy, "decided_at": instant(a.DecidedAt), "decision": a.Decision}
	})
}

// stated is a donation on a statement that a charity was given.
type stated struct {
	order        Order
	donor, payee string
	number       int64
}

// statements lists where charities were told of the customer's donations, and under
// which name.
func (e *exporter) statements(ctx context.Context) {
	list(ctx, e, "charity_statements", func(ctx context.Context, tx *sqldb.Tx, last *stated) ([]stated, error) {
		var w sqldb.Where
		w.And("o.payer_id = ?", e.customer.ID)
		if last != nil {
			w.And("(o.created_at, o.id) > (?, ?)", last.order.CreatedAt, last.order.ID)
		}
		return sqldb.Collect(ctx, tx, "SELECT o.id, o.created_at, o.effective_date, l.donor, s.payee_code, s.number FROM orders AS o"+
			" JOIN donation_statement_lines AS l ON l.payee_id = o.payee_payee_id AND l.effective_date = o.effective_date AND l.transaction_id = o.transaction_id AND l.donor <> ''"+
			" JOIN donation_statements AS s ON s.id = l.statement_id WHERE "+w.Condition()+fmt.Sprintf(" ORDER BY o.created_at, o.id LIMIT %d", exportPage), w.Args,
			func(rows *sqldb.Rows) (r stated, err error) {
				err = rows.Scan(&r.order.ID, &r.order.CreatedAt, &r.order.EffectiveDate, &r.donor, &r.payee, &r.number)
				return r, err
			})
	}, func(r stated) any {
		return fields{"reference": r.order.Reference(), "date": r.order.EffectiveDate.String(), "charity": r.payee, "statement": r.number, "named_as": r.donor}
	})
}

func (e *exporter) postings(ctx context.Context) {
	list(ctx, e, "postings", func(ctx context.Context, tx *sqldb.Tx, last *ledger.Transaction) ([]ledger.Transaction, error) {
		f := engine.TransactionFilter{AccountID: e.customer.WalletID, Limit: exportPage}
		if last != nil {
			f.After = last.Place
		}
		return engine.ListTransactions(ctx, tx, f)
	}, func(t ledger.Transaction) any {
		moved := []any{}
		for _, p := range t.Postings {
			switch e.customer.WalletID {
			case p.Debit:
				moved = append(moved, fields{"side": "debit", "money": e.money(p.Amount, p.Currency)})
			case p.Credit:
				moved = append(moved, fields{"side": "credit", "money": e.money(p.Amount, p.Currency)})
			}
		}
		return fields{"transaction": t.ID, "key": t.Key, "label": t.Label, "effective_date": t.EffectiveDate.String(), "recorded_at": instant(t.RecordedAt), "wallet": moved}
	})
}
