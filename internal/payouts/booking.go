package payouts

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// bookRows is how many movements one transaction books: their postings travel
// together, and the accounts that they touch wait no longer than that takes.
const bookRows = 1_000

// book books what is left of a statement that was accepted, in parts, until nothing
// is. Money out comes first, so that a payout that was paid and returned on one
// statement is settled before it is returned, in whatever order the bank lists the
// two. Whoever breaks off, or does it at the same time, takes nothing away: what was
// booked has left the rows that are still to be booked.
func (s *Service) book(ctx context.Context, id uuid.UUID, progress func(booked int)) (booked int, err error) {
	for {
		n, done := 0, false
		err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			var err error
			n, done, err = s.bookPart(ctx, tx, id)
			return err
		})
		if err != nil {
			return booked, err
		}
		booked += n
		if progress != nil && n > 0 {
			progress(booked)
		}
		if done {
			return booked, nil
		}
	}
}

// bookPart books the next movements and returns how many; done is true once none is left.
func (s *Service) bookPart(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) (n int, done bool, err error) {
	list, err := sqldb.Collect(ctx, tx, "SELECT id FROM bank_messages WHERE id = $1 AND state = 'checked'"+tx.ForUpdate(), []any{id},
		scanID)
	if err != nil || len(list) == 0 {
		return 0, true, err
	}
	statements, err := sqldb.Collect(ctx, tx, "SELECT "+statementColumns+" FROM bank_statements WHERE id = $1", []any{id}, scanStatement)
	if err != nil {
		return 0, false, err
	}
	if len(statements) != 1 {
		return 0, false, fmt.Errorf("statement %s is to be booked and is not stored", id)
	}
	st := statements[0]
	entries, err := sqldb.Collect(ctx, tx, fmt.Sprintf(`SELECT entry, detail, reference, end_to_end_id, message_id, amount, reversal, booking_date, value_date,
		counterparty_name, counterparty_iban, counterparty_bic, remittance, return_reason
		FROM bank_message_rows WHERE bank_message_id = $1 ORDER BY pass, entry, detail LIMIT %d`, bookRows), []any{id}, func(rows *sqldb.Rows) (StoredEntry, error) {
		e := StoredEntry{StatementID: id, Statement: st.StatementID}
		var reversal int64
		err := rows.Scan(&e.Entry, &e.Detail, &e.Reference, &e.EndToEndID, &e.MessageID, &e.Amount, &reversal, &e.BookingDate, &e.ValueDate,
			&e.Counterparty.Name, &e.Counterparty.IBAN, &e.Counterparty.BIC, &e.Remittance, &e.ReturnReason)
		e.Reversal = reversal == 1
		return e, err
	})
	if err != nil {
		return 0, false, fmt.Errorf("read what is to be booked: %w", err)
	}
	if len(entries) == 0 {
		_, err := tx.Exec(ctx, "DELETE FROM bank_messages WHERE id = $1", id)
		return 0, true, err
	}
	if err := s.bookEntries(ctx, tx, st, entries); err != nil {
		return 0, false, err
	}
	last := entries[len(entries)-1]
	_, err = tx.Exec(ctx, "DELETE FROM bank_message_rows WHERE bank_message_id = $1 AND (pass, entry, detail) <= ($2, $3, $4)",
		id, sqldb.Flag(last.Amount >= 0), int64(last.Entry), int64(last.Detail))
	return len(entries), false, err
}

// booking is a part of a statement on its way into the book.
type booking struct {
	service  *Service
	st       StoredStatement
	entries  []StoredEntry
	known    map[string]*Payout
	requests []ledger.Request
	posted   []int // places of the requests among entries
	settled  []change
	returned []change
	cards    *cardPayouts
}

// change is what a movement does to a payout.
type change struct {
	payout *Payout
	from   State
	entry  int // place among entries
}

// bookEntries judges and posts movements in their order, and stores them.
func (s *Service) bookEntries(ctx context.Context, tx *sqldb.Tx, st StoredStatement, entries []StoredEntry) error {
	b := booking{service: s, st: st, entries: entries}
	var err error
	if b.known, err = lockPayouts(ctx, tx, entries); err != nil {
		return err
	}
	reasons, err := announcedReturns(ctx, tx, st.IBAN, entries)
	if err != nil {
		return err
	}
	if b.cards, err = s.openCardPayouts(ctx, tx, st, entries); err != nil {
		return err
	}
	for i := range entries {
		e := &entries[i]
		if e.ReturnReason == "" {
			e.ReturnReason = reasons[sumOf{e.EndToEndID, e.Amount}]
		}
		b.judge(i)
	}
	if err := b.post(ctx, tx); err != nil {
		return err
	}
	if err := insertEntries(ctx, tx, entries); err != nil {
		return err
	}
	if err := b.moveOn(ctx, tx); err != nil {
		return err
	}
	return b.cards.store(ctx, tx, entries)
}

// judge decides what a movement is and makes the request that posts it.
func (b *booking) judge(i int) {
	e := &b.entries[i]
	p := b.known[e.EndToEndID]
	e.judge(p)
	switch e.Outcome {
	case OutcomeNothing:
		return
	case OutcomeSettled:
		b.settled = append(b.settled, change{p, p.State, i})
		p.State = Settled
	case OutcomeReturned:
		b.returned = append(b.returned, change{p, p.State, i})
		p.State = Returned
	case OutcomeSuspense:
		if p == nil && b.cards.take(i, *e) {
			e.Outcome, e.Finding = OutcomeCards, ""
		}
	}
	b.requests, b.posted = append(b.requests, b.request(i, p)), append(b.posted, i)
}

// request posts a movement that has been judged.
func (b *booking) request(i int, p *Payout) ledger.PostRequest {
	a, e, st := accounts(), b.entries[i], b.st
	r := ledger.PostRequest{
		Key: EntryKey(st.IBAN, st.StatementID, e.Entry, e.Detail), Journal: ledger.JournalBank, EffectiveDate: e.BookingDate,
		Source:   ledger.Source{Channel: "bank", ID: fmt.Sprintf("%s/%d/%d", st.StatementID, e.Entry, e.Detail), Date: e.BookingDate},
		Metadata: map[string]string{"statement": st.StatementID, "outcome": string(e.Outcome)},
	}
	posting := func(debit, credit uuid.UUID, amount ledger.Amount) {
		switch {
		case amount > 0:
			r.Postings = append(r.Postings, ledger.Posting{Debit: debit, Credit: credit, Amount: amount, Currency: st.Currency})
		case amount < 0:
			r.Postings = append(r.Postings, ledger.Posting{Debit: credit, Credit: debit, Amount: -amount, Currency: st.Currency})
		}
	}
	switch e.Outcome {
	case OutcomeSettled:
		r.Label = fmt.Sprintf("Payout %s %s paid", p.Batch, p.PayeeCode)
		posting(a.inTransit, a.safeguarding, p.Net)
	case OutcomeReturned:
		r.Label = fmt.Sprintf("Payout %s %s returned", p.Batch, p.PayeeCode)
		posting(a.safeguarding, p.AccountID, p.Net)
		posting(a.commissions, p.AccountID, p.Commission)
		posting(a.vat, p.AccountID, p.VAT)
	case OutcomeCards:
		card := b.cards.taken[i]
		r.Label = ledger.Clip(fmt.Sprintf("Card settlement %s %s", card.Acquirer, card.PayoutReference))
		r.Metadata["acquirer"], r.Metadata["payout_reference"] = card.Acquirer, card.PayoutReference
		posting(a.safeguarding, a.cards, card.Net)
		posting(a.cardFees, a.cards, card.Fee)
	default:
		r.Label = "Money in to be explained"
		if e.Amount < 0 {
			r.Label = "Money out to be explained"
		}
		posting(a.safeguarding, a.suspense, e.Amount)
		r.Metadata["finding"] = string(e.Finding)
	}
	if p != nil {
		r.Metadata["end_to_end_id"] = p.EndToEndID
	}
	return r
}

// post posts the movements and keeps their transactions.
func (b *booking) post(ctx context.Context, tx *sqldb.Tx) error {
	for start := 0; start < len(b.requests); start += engine.MaxSubmit {
		end := min(start+engine.MaxSubmit, len(b.requests))
		outcomes, err := b.service.engine.SubmitTx(ctx, tx, b.requests[start:end])
		if err != nil {
			return err
		}
		for i, out := range outcomes {
			e := &b.entries[b.posted[start+i]]
			if out.Err != nil {
				return fmt.Errorf("entry %d, detail %d: %w", e.Entry, e.Detail, out.Err)
			}
			e.TransactionID = out.Transaction.ID
		}
	}
	return nil
}

// moveOn moves the payouts on, and the batches whose last payout the bank has booked.
func (b *booking) moveOn(ctx context.Context, tx *sqldb.Tx) error {
	columns := []sqldb.Column{{Name: "key", Type: "uuid"}, {Name: "posted", Type: "uuid"}, {Name: "booked", Type: "date"}, {Name: "reason", Type: "text"}}
	row := func(list []change) func(i int) []any {
		return func(i int) []any {
			e := b.entries[list[i].entry]
			return []any{list[i].payout.ID, e.TransactionID, e.BookingDate, e.ReturnReason}
		}
	}
	for _, step := range []struct {
		what, query string
		list        []change
	}{
		{"settle", `UPDATE payouts SET state = 'settled', settlement_transaction_id = d.posted, settled_on = d.booked
			FROM ROWS AS d WHERE payouts.id = d.key AND payouts.state IN ('exported', 'accepted')`, b.settled},
		{"return", `UPDATE payouts SET state = 'returned', return_transaction_id = d.posted, returned_on = d.booked, return_reason = d.reason
			FROM ROWS AS d WHERE payouts.id = d.key AND payouts.state = 'settled'`, b.returned},
	} {
		n, err := tx.ExecRows(ctx, step.query, columns, len(step.list), row(step.list))
		if err != nil {
			return fmt.Errorf("%s payouts: %w", step.what, err)
		}
		if n != int64(len(step.list)) {
			return fmt.Errorf("%s payouts: %d rows were changed, not %d", step.what, n, len(step.list))
		}
	}
	for _, c := range b.returned {
		if err := freeDonations(ctx, tx, *c.payout); err != nil {
			return err
		}
	}
	if err := b.record(ctx, tx); err != nil {
		return err
	}
	batches := map[uuid.UUID]bool{}
	for _, c := range b.settled {
		batches[c.payout.BatchID] = true
	}
	for batch := range batches {
		if err := closeBatch(ctx, tx, batch); err != nil {
			return err
		}
	}
	return nil
}

// record keeps what the statement did to payouts, and flags the accounts that money
// came back from because of them.
func (b *booking) record(ctx context.Context, tx *sqldb.Tx) error {
	var events []PayoutEvent
	var flags []IBANFlag
	now := b.service.engine.Now()
	for _, c := range b.settled {
		events = append(events, PayoutEvent{PayoutID: c.payout.ID, At: now, Actor: b.st.ImportedBy, From: c.from, To: Settled, Source: b.st.StatementID})
	}
	for _, c := range b.returned {
		reason := b.entries[c.entry].ReturnReason
		events = append(events, PayoutEvent{PayoutID: c.payout.ID, At: now, Actor: b.st.ImportedBy, From: c.from, To: Returned, Reason: reason, Source: b.st.StatementID})
		if reason != "" && ConcernsAccount(reason) { // without one it is the bank's reversal of its own error
			flags = append(flags, IBANFlag{PayoutID: c.payout.ID, IBAN: c.payout.Creditor.IBAN, Reason: reason, FlaggedBy: b.st.ImportedBy, FlaggedAt: now})
		}
	}
	if err := insertEvents(ctx, tx, events); err != nil {
		return err
	}
	return insertFlags(ctx, tx, flags)
}

// closeBatch ends a batch of which nothing is on its way any more.
func closeBatch(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) error {
	_, err := tx.Exec(ctx, `UPDATE payout_batches SET state = CASE
			WHEN EXISTS (SELECT 1 FROM payouts AS p WHERE p.batch_id = $1 AND p.state <> 'rejected') THEN 'settled' ELSE 'rejected' END
		WHERE id = $1 AND state = 'exported' AND NOT EXISTS (SELECT 1 FROM payouts AS p WHERE p.batch_id = $1 AND p.state IN ('exported', 'accepted'))`, id)
	if err != nil {
		return fmt.Errorf("close the batch: %w", err)
	}
	return nil
}

// lockPayouts reads the payouts that the movements name, by end-to-end id, and
// holds their rows until the transaction ends.
func lockPayouts(ctx context.Context, tx *sqldb.Tx, entries []StoredEntry) (map[string]*Payout, error) {
	var ids []string
	for _, e := range entries {
		if e.EndToEndID != "" {
			ids = append(ids, e.EndToEndID)
		}
	}
	known := map[string]*Payout{}
	for page := range slices.Chunk(sortedUnique(ids), MaxPage) {
		found, err := sqldb.Collect(ctx, tx, "SELECT id FROM payouts WHERE "+tx.AnyText("end_to_end_id", 1), []any{page}, scanID)
		if err != nil {
			return nil, fmt.Errorf("find payouts: %w", err)
		}
		if len(found) == 0 {
			continue
		}
		locked, err := sqldb.Collect(ctx, tx, "SELECT id FROM payouts WHERE "+tx.AnyUUID("id", 1)+" ORDER BY id"+tx.ForUpdate(), []any{found}, scanID)
		if err != nil {
			return nil, fmt.Errorf("lock payouts: %w", err)
		}
		list, err := sqldb.Collect(ctx, tx, payoutSelect+" WHERE "+tx.AnyUUID("p.id", 1), []any{locked}, scanPayout)
		if err != nil {
			return nil, fmt.Errorf("read payouts: %w", err)
		}
		for i := range list {
			known[list[i].EndToEndID] = &list[i]
		}
	}
	return known, nil
}
