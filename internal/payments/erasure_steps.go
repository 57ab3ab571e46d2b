package payments

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
)

// outbox erases the words of what was sent to the person, of answers to the person's
// messages, and of whatever names the person's handle. What still waits is not sent.
func (e eraser) outbox(ctx context.Context) error {
	var w sqldb.Where
	find := []string{"o.customer_id = ?", `EXISTS (SELECT 1 FROM orders AS p WHERE p.id = o.order_id AND (p.payer_id = ? OR p.payee_customer_id = ?))`}
	args := []any{e.customer.ID, e.customer.ID, e.customer.ID}
	for _, u := range e.users {
		find = append(find, "(o.recipient_id = ? AND o.channel IN (?, ?))",
			"EXISTS (SELECT 1 FROM messages AS m WHERE m.channel = o.channel AND m.message_id = o.in_reply_to AND m.author_id = ? AND o.channel IN (?, ?))")
		args = append(args, u.id, u.channel, DirectChannel(u.channel), u.id, u.channel, DirectChannel(u.channel))
	}
	for _, handle := range e.handles {
		find = append(find, "LOWER(o.text) LIKE ? ESCAPE '!'")
		args = append(args, "%@"+strings.ReplaceAll(strings.ToLower(handle), "_", "!_")+"%")
	}
	w.And("o.kind <> 'announcement'")
	recipients := "1 = 0"
	if ids := e.ids(); len(ids) > 0 {
		recipients = "o.recipient_id IN (" + strings.TrimSuffix(strings.Repeat("?, ", len(ids)), ", ") + ")"
		for _, id := range ids {
			args = append(args, id)
		}
	}
	w.And("("+strings.Join(find, " OR ")+") AND (o.text <> '' OR o.last_error <> '' OR "+recipients+")", args...)
	return e.until(ctx, func(ctx context.Context, tx *sqldb.Tx) ([]uuid.UUID, error) {
		return findIDs(ctx, tx, "SELECT o.id FROM outbox AS o WHERE "+w.Condition()+" ORDER BY o.id", w.Args)
	}, func(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) error {
		row, err := FindOutbox(ctx, tx, id)
		if err != nil {
			return err
		}
		recipient, queue := row.RecipientID, ""
		if e.is(row.Channel, recipient) {
			recipient = e.standIn(e.customer, row.Channel, recipient)
			queue = directMessages(row.Channel, recipient)
		}
		_, err = tx.Exec(ctx, `UPDATE outbox SET text = '', last_error = '', recipient_id = $1, queue = CASE WHEN $2 = '' THEN queue ELSE $2 END,
				status = CASE WHEN status = 'pending' THEN 'dead' ELSE status END, closed_at = COALESCE(closed_at, $3) WHERE id = $4`,
			recipient, queue, e.engine.Now(), id)
		if err != nil {
			return err
		}
		return giveTurn(ctx, tx, row.Queue)
	})
}

// messages erases the words of the person's messages, and those in which the person is
// named, and has stand-ins write and be named in them.
func (e eraser) messages(ctx context.Context) error {
	ids := e.ids()
	if len(ids) == 0 {
		return nil
	}
	return e.until(ctx, func(ctx context.Context, tx *sqldb.Tx) ([]uuid.UUID, error) {
		w := sqldb.Where{Args: []any{ids}}
		condition := tx.AnyText("author_id", 1) + " OR " + e.mentionedIn("mentions", &w)
		condition += " OR " + e.mentionedIn("command", &w)
		return findIDs(ctx, tx, "SELECT id FROM messages WHERE "+condition+" ORDER BY id", w.Args)
	}, func(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) error {
		m, err := FindMessage(ctx, tx, id)
		if err != nil {
			return err
		}
		var mentions, command string
		err = tx.QueryRow(ctx, "SELECT CAST(mentions AS text), COALESCE(CAST(command AS text), '') FROM messages WHERE id = $1", []any{id}, &mentions, &command)
		if err != nil {
			return err
		}
		if mentions, err = e.erasedJSON(e.dataSubject, m.Channel, mentions); err != nil {
			return err
		}
		var asked any
		if command != "" {
			if asked, err = e.erasedJSON(e.dataSubject, m.Channel, command); err != nil {
				return err
			}
		}
		if e.is(m.Channel, m.AuthorID) {
			m.AuthorID, m.AuthorHandle = e.standIn(e.customer, m.Channel, m.AuthorID), erasedHandle
		}
		_, err = tx.Exec(ctx, "UPDATE messages SET text = NULL, author_id = $1, author_handle = $2, mentions = $3, command = $4 WHERE id = $5",
			m.AuthorID, m.AuthorHandle, mentions, asked, id)
		return err
	})
}

// charges erases what staff wrote about the person's charges. The processor's references
// stay: card reconciliation needs them.
func (e eraser) charges(ctx context.Context) error {
	return e.until(ctx, func(ctx context.Context, tx *sqldb.Tx) ([]uuid.UUID, error) {
		return findIDs(ctx, tx, `SELECT id FROM charges AS c WHERE customer_id = $1
			AND EXISTS (SELECT 1 FROM charge_events AS e WHERE e.charge_id = c.id AND `+staffWords+") ORDER BY id", ofParty(e.customer.ID))
	}, func(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) error {
		return runAll(ctx, tx, []statement{
			{`UPDATE charges SET reason = $2 WHERE id = $1 AND EXISTS (SELECT 1 FROM charge_events AS e WHERE e.charge_id = charges.id AND e.reason = charges.reason AND ` +
				strings.ReplaceAll(staffWords, "reason NOT", "e.reason NOT") + ")", []any{id, erasedText}},
			{"UPDATE charge_events SET reason = $2 WHERE charge_id = $1 AND " + staffWords, []any{id, erasedText}},
		})
	})
}

// traces erases the person's accounts where they stand without an order's row.
func (e eraser) traces(ctx context.Context) error {
	return e.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var list []statement
		for _, u := range e.users {
			args := []any{e.standIn(e.customer, u.channel, u.id), u.id, u.channel, DirectChannel(u.channel)}
			list = append(list,
				statement{"UPDATE paid_payees SET payee_user_id = $1 WHERE payee_user_id = $2 AND channel IN ($3, $4)", args},
				statement{"UPDATE unclaimed_payments SET user_id = $1 WHERE user_id = $2 AND channel IN ($3, $4)", args})
		}
		return runAll(ctx, tx, list)
	})
}

// ordersPaid erases the accounts that the person paid from, and what staff wrote.
func (e eraser) ordersPaid(ctx context.Context) error {
	return e.until(ctx, func(ctx context.Context, tx *sqldb.Tx) ([]uuid.UUID, error) {
		return findIDs(ctx, tx, fmt.Sprintf("SELECT id FROM orders WHERE payer_id = $1 AND payer_user_id NOT LIKE '%s%%' ORDER BY created_at, id", erasedUser), ofParty(e.customer.ID))
	}, func(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) error {
		o, err := lockOrder(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := eraseOrderWords(ctx, tx, id); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE orders SET payer_user_id = $1 WHERE id = $2", e.standIn(e.customer, o.Channel, o.PayerUserID), id)
		return err
	})
}

// ordersReceived does so for the accounts that the person was paid to.
func (e eraser) ordersReceived(ctx context.Context) error {
	if len(e.users) == 0 {
		return nil
	}
	var parts []string
	var args []any
	for _, u := range e.users {
		parts, args = append(parts, "(payee_user_id = ? AND channel IN (?, ?))"), append(args, u.id, u.channel, DirectChannel(u.channel))
	}
	var w sqldb.Where
	w.And("("+strings.Join(parts, " OR ")+")", args...)
	return e.until(ctx, func(ctx context.Context, tx *sqldb.Tx) ([]uuid.UUID, error) {
		return findIDs(ctx, tx, "SELECT id FROM orders WHERE "+w.Condition()+" ORDER BY created_at, id", w.Args)
	}, func(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) error {
		o, err := lockOrder(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := eraseOrderWords(ctx, tx, id); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE orders SET payee_user_id = $1, payee_handle = $2 WHERE id = $3", e.standIn(e.customer, o.Channel, o.PayeeUserID), erasedHandle, id)
		return err
	})
}

// eraseOrderWords erases what staff and screening wrote about an order.
func eraseOrderWords(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) error {
	return runAll(ctx, tx, []statement{
		{`UPDATE orders SET reason = $2 WHERE id = $1 AND EXISTS (SELECT 1 FROM order_events AS e WHERE e.order_id = orders.id AND e.reason = orders.reason AND ` +
			strings.ReplaceAll(staffWords, "reason NOT", "e.reason NOT") + ")", []any{id, erasedText}},
		{"UPDATE order_events SET reason = $2 WHERE order_id = $1 AND " + staffWords, []any{id, erasedText}},
		{"UPDATE screening_hits SET detail = $2 WHERE order_id = $1", []any{id, erasedText}},
	})
}

// person erases what the book has of the customer as such, and notes that it was done.
func (e eraser) person(ctx context.Context) error {
	now := e.engine.Now()
	return e.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		c, err := FindCustomerByID(ctx, tx, e.customer.ID)
		if err != nil || !c.ErasedAt.IsZero() {
			return err
		}
		if err := e.mayErase(ctx, tx, c.ID); err != nil {
			return err
		}
		cards, err := CardsOf(ctx, tx, c.ID)
		if err != nil {
			return err
		}
		list := []statement{
			{"DELETE FROM links WHERE customer_id = $1", ofParty(c.ID)},
			{"DELETE FROM one_time_codes WHERE subject_id = $1", ofParty(c.ID)},
			{"UPDATE link_invitations SET closed_at = $2, state_hash = NULL, browser_hash = NULL, state_expires_at = NULL WHERE customer_id = $1 AND closed_at IS NULL", []any{c.ID, now}},
			{"UPDATE payees SET name = $2, iban = NULL, bic = NULL WHERE code = $1", []any{OwnBankCode(c.Number), erasedText}},
			{"UPDATE payee_proposals SET old_values = '{}', new_values = '{}', reason = $2, decision = CASE WHEN decision IS NULL THEN NULL ELSE $2 END WHERE code = $1",
				[]any{OwnBankCode(c.Number), erasedText}},
			{"UPDATE party_events SET reason = $2 WHERE party_id IN (SELECT id FROM payees WHERE code = $1)", []any{OwnBankCode(c.Number), erasedText}},
			{"UPDATE account_invitations SET closed_at = $2 WHERE customer_id = $1 AND closed_at IS NULL", []any{c.ID, now}},
			{"UPDATE card_registrations SET detail = '', country = '' WHERE owner_id = $1", ofParty(c.ID)},
			{"UPDATE enrolments SET phone = $2, name = $2 WHERE id = $1 AND state = 'enrolled'", []any{c.ID, erasedText}},
			{"UPDATE enrolments SET reason = $2 WHERE id = $1 AND EXISTS (SELECT 1 FROM enrolment_events AS e WHERE e.enrolment_id = enrolments.id AND e.reason = enrolments.reason AND " +
				strings.ReplaceAll(staffWords, "reason NOT", "e.reason NOT") + ")", []any{c.ID, erasedText}},
			{"UPDATE enrolment_events SET reason = $2 WHERE enrolment_id = $1 AND " + staffWords, []any{c.ID, erasedText}},
			{"UPDATE party_changes SET old_value = $2, new_value = $2, reason = $2 WHERE party_id = $1", []any{c.ID, erasedText}},
			{"UPDATE party_events SET reason = $2 WHERE party_id = $1", []any{c.ID, erasedText}},
			{"UPDATE approvals SET reason = $2, decision = CASE WHEN decision IS NULL THEN NULL ELSE $2 END WHERE customer_id = $1 AND kind <> 'erasure'", []any{c.ID, erasedText}},
			{"UPDATE customers SET name = $2, phone = $2, phone_verified_at = NULL, secret_hash = NULL, secret_failures = 0, secret_blocked_at = NULL, named = 0, erased_at = $3 WHERE id = $1",
				[]any{c.ID, erasedText, now}},
		}
		for _, phone := range e.phones {
			list = append(list, statement{"DELETE FROM one_time_codes WHERE phone = $1", []any{phone}},
				statement{"UPDATE enrolments SET phone = '', name = '' WHERE phone = $1 AND state IN ('refused', 'expired')", []any{phone}})
		}
		for _, k := range cards {
			if k.State == CardActive { // the processor forgets it, too
				if err := detachCard(ctx, tx, k.Token, ReasonCardRemoved, now); err != nil {
					return err
				}
			}
			list = append(list, statement{`UPDATE cards SET token = $2, holder = '', brand = 'erased', last_four = '0000', expiry_year = 2000, expiry_month = 1, state = 'removed',
				is_default = 0, automatic_maximum = NULL, removed_at = COALESCE(removed_at, $3) WHERE id = $1`, []any{k.ID, erasedUser + k.ID.String(), now}})
		}
		if err := runAll(ctx, tx, list); err != nil {
			return err
		}
		done, err := approvals(ctx, tx, "customer_id = $1 AND kind = 'erasure' AND state = 'approved'", ofParty(c.ID), " ORDER BY number DESC LIMIT 1")
		if err != nil {
			return err
		}
		if len(done) == 0 {
			return fmt.Errorf("nobody has approved it")
		}
		return recordPartyEvent(ctx, tx, c.ID, PartyEvent{At: now, Actor: done[0].DecidedBy, Event: "erased", Reason: done[0].because()})
	})
}
