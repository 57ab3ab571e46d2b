package payouts

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Outcome says what the book made of a movement on the bank account.
type Outcome string

// The outcomes.
const (
	OutcomeSettled  Outcome = "settled"  // a payout was paid
	OutcomeReturned Outcome = "returned" // a payout came back
	OutcomeSuspense Outcome = "suspense" // a person must look at it
	OutcomeNothing  Outcome = "nothing"  // a movement of zero
)

// FindingKind names what is wrong with a movement or a statement. Reconciliation
// makes breaks of findings.
type FindingKind string

// The kinds of finding.
const (
	UnknownIn        FindingKind = "unknown_in"        // money in that no payout explains
	UnknownOut       FindingKind = "unknown_out"       // money out that no payout explains
	AmountDiffers    FindingKind = "amount_differs"    // a payout's id with another amount
	Duplicate        FindingKind = "duplicate"         // a payout paid or returned for the second time
	NotExported      FindingKind = "not_exported"      // paid without having been sent
	ReturnUnsettled  FindingKind = "return_unsettled"  // came back without having been paid
	SequenceGap      FindingKind = "sequence_gap"      // a statement is missing
	BalanceGap       FindingKind = "balance_gap"       // opening is not the closing before
	SequenceRepeated FindingKind = "sequence_repeated" // two statements with one number
)

// Finding is something about a statement that a person must know.
type Finding struct {
	Kind      FindingKind
	Statement string // statement id
	Entry     int    // 0: the statement as a whole
	Detail    int
	Amount    ledger.Amount // of the movement, or by which balances differ
	Message   string
}

// StoredEntry is one movement of an imported statement: a detail of an entry.
type StoredEntry struct {
	StatementID uuid.UUID
	Statement   string // as the bank numbers it
	Entry       int    // from 1
	Detail      int    // from 1
	Reference   string // the bank's own
	EndToEndID  string
	MessageID   string
	Amount      ledger.Amount // money in is positive
	Reversal    bool
	BookingDate ledger.Date
	ValueDate   ledger.Date

	Counterparty  Party
	Remittance    string
	ReturnReason  string
	Outcome       Outcome
	Finding       FindingKind // why it went to suspense
	PayoutID      uuid.UUID   // also where it went to suspense for what it says of a payout
	TransactionID uuid.UUID   // Nil for a movement of zero
}

const entrySelect = `SELECT e.statement_id, s.statement_id, e.entry, e.detail, e.reference, e.end_to_end_id, e.message_id, e.amount, e.reversal,
	e.booking_date, e.value_date, e.counterparty_name, e.counterparty_iban, e.counterparty_bic, e.remittance, e.return_reason,
	e.outcome, e.finding, e.payout_id, e.transaction_id
	FROM bank_entries AS e JOIN bank_statements AS s ON s.id = e.statement_id`

func scanEntry(rows *sqldb.Rows) (StoredEntry, error) {
	var e StoredEntry
	var reversal int64
	err := rows.Scan(&e.StatementID, &e.Statement, &e.Entry, &e.Detail, &e.Reference, &e.EndToEndID, &e.MessageID, &e.Amount, &reversal,
		&e.BookingDate, &e.ValueDate, &e.Counterparty.Name, &e.Counterparty.IBAN, &e.Counterparty.BIC, &e.Remittance, &e.ReturnReason,
		&e.Outcome, &e.Finding, &e.PayoutID, &e.TransactionID)
	e.Reversal = reversal == 1
	return e, err
}

func insertEntries(ctx context.Context, tx *sqldb.Tx, entries []StoredEntry) error {
	err := tx.Insert(ctx, "bank_entries", []sqldb.Column{
		{Name: "statement_id", Type: "uuid"}, {Name: "entry", Type: "int8"}, {Name: "detail", Type: "int8"}, {Name: "reference", Type: "text"},
		{Name: "end_to_end_id", Type: "text"}, {Name: "message_id", Type: "text"}, {Name: "amount", Type: "int8"}, {Name: "reversal", Type: "int8"},
		{Name: "booking_date", Type: "date"}, {Name: "value_date", Type: "date"}, {Name: "counterparty_name", Type: "text"},
		{Name: "counterparty_iban", Type: "text"}, {Name: "counterparty_bic", Type: "text"}, {Name: "remittance", Type: "text"},
		{Name: "return_reason", Type: "text"}, {Name: "outcome", Type: "text"}, {Name: "finding", Type: "text"}, {Name: "payout_id", Type: "uuid"},
		{Name: "transaction_id", Type: "uuid"},
	}, len(entries), func(i int) []any {
		e := entries[i]
		return []any{e.StatementID, int64(e.Entry), int64(e.Detail), e.Reference, e.EndToEndID, e.MessageID, int64(e.Amount), sqldb.Flag(e.Reversal),
			e.BookingDate, e.ValueDate, e.Counterparty.Name, e.Counterparty.IBAN, e.Counterparty.BIC, e.Remittance, e.ReturnReason,
			string(e.Outcome), string(e.Finding), sqldb.NullUUID(e.PayoutID), sqldb.NullUUID(e.TransactionID)}
	})
	if err != nil {
		return fmt.Errorf("store the entries: %w", err)
	}
	return nil
}

// bookEntries judges and posts the movements of a statement. Money out comes
// first, so that a payout that was paid and returned on one statement is settled
// before it is returned, in whatever order the bank lists the two.
func (s *Service) bookEntries(ctx context.Context, tx *sqldb.Tx, st StoredStatement, list []Entry) ([]StoredEntry, error) {
	var entries []StoredEntry
	for i, e := range list {
		for j, d := range e.Details {
			entries = append(entries, StoredEntry{
				StatementID: st.ID, Statement: st.StatementID, Entry: i + 1, Detail: j + 1, Reference: e.Reference, EndToEndID: d.EndToEndID,
				MessageID: d.MessageID, Amount: d.Amount, Reversal: e.Reversal, BookingDate: e.BookingDate, ValueDate: e.ValueDate,
				Counterparty: d.Counterparty, Remittance: d.Remittance, ReturnReason: d.ReturnReason,
			})
		}
	}
	known, err := lockPayouts(ctx, tx, entries)
	if err != nil {
		return nil, err
	}
	changed := map[uuid.UUID]bool{} // batches
	book := func(e *StoredEntry) error {
		p := known[e.EndToEndID]
		e.judge(p)
		if err := s.post(ctx, tx, st, e, p); err != nil {
			return fmt.Errorf("entry %d, detail %d: %w", e.Entry, e.Detail, err)
		}
		if e.Outcome == OutcomeSettled {
			changed[p.BatchID] = true
		}
		return nil
	}
	for _, out := range []bool{true, false} {
		for i := range entries {
			if (entries[i].Amount < 0) != out {
				continue
			}
			if err := book(&entries[i]); err != nil {
				return nil, err
			}
		}
	}
	for batch := range changed {
		_, err := tx.Exec(ctx, `UPDATE payout_batches SET state = 'settled' WHERE id = $1 AND state = 'exported'
			AND NOT EXISTS (SELECT 1 FROM payouts AS p WHERE p.batch_id = $1 AND p.state = 'exported')`, batch)
		if err != nil {
			return nil, fmt.Errorf("settle the batch: %w", err)
		}
	}
	return entries, nil
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
	scanID := func(rows *sqldb.Rows) (id uuid.UUID, err error) { err = rows.Scan(&id); return id, err }
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

// judge decides what a movement is; p is the payout whose end-to-end id it
// carries, or nil.
func (e *StoredEntry) judge(p *Payout) {
	suspense := func(kind FindingKind) { e.Outcome, e.Finding = OutcomeSuspense, kind }
	if e.Amount == 0 {
		e.Outcome = OutcomeNothing
		return
	}
	cameBack := e.Amount > 0 && (e.ReturnReason != "" || e.Reversal)
	if p == nil || (e.Amount > 0 && !cameBack) {
		if e.Amount > 0 {
			suspense(UnknownIn)
		} else {
			suspense(UnknownOut)
		}
		return
	}
	e.PayoutID = p.ID
	exact := e.Amount == p.Net || e.Amount == -p.Net
	switch {
	case p.State == Prepared || p.State == Approved || p.State == Cancelled:
		suspense(NotExported)
	case p.State == Returned || (p.State == Settled && !cameBack):
		suspense(Duplicate)
	case p.State == Exported && cameBack:
		suspense(ReturnUnsettled)
	case !exact:
		suspense(AmountDiffers)
	case cameBack:
		e.Outcome = OutcomeReturned
	default:
		e.Outcome = OutcomeSettled
	}
}

// EntryKey returns the idempotency key of the transaction that books a movement.
func EntryKey(iban, statementID string, entry, detail int) string {
	return fmt.Sprintf("bank:%s:%s:%d:%d", iban, statementID, entry, detail)
}

// post books a movement that has been judged, and moves its payout on.
func (s *Service) post(ctx context.Context, tx *sqldb.Tx, st StoredStatement, e *StoredEntry, p *Payout) error {
	a := accounts()
	r := ledger.PostRequest{
		Key: EntryKey(st.IBAN, st.StatementID, e.Entry, e.Detail), Journal: ledger.JournalBank, EffectiveDate: e.BookingDate,
		Source:   ledger.Source{Channel: "bank", ID: fmt.Sprintf("%s/%d/%d", st.StatementID, e.Entry, e.Detail), Date: e.BookingDate},
		Metadata: map[string]string{"statement": st.StatementID, "outcome": string(e.Outcome)},
	}
	posting := func(debit, credit uuid.UUID, amount ledger.Amount) {
		r.Postings = append(r.Postings, ledger.Posting{Debit: debit, Credit: credit, Amount: amount, Currency: st.Currency})
	}
	switch {
	case e.Outcome == OutcomeNothing:
		return nil
	case e.Outcome == OutcomeSettled:
		r.Label = fmt.Sprintf("Payout %s %s paid", p.Batch, p.PayeeCode)
		posting(a.inTransit, a.safeguarding, p.Net)
	case e.Outcome == OutcomeReturned:
		r.Label = fmt.Sprintf("Payout %s %s returned", p.Batch, p.PayeeCode)
		posting(a.safeguarding, p.AccountID, p.Net)
		if p.Commission > 0 {
			posting(a.commissions, p.AccountID, p.Commission)
		}
		if p.VAT > 0 {
			posting(a.vat, p.AccountID, p.VAT)
		}
	case e.Amount > 0:
		r.Label = "Money in to be explained"
		posting(a.safeguarding, a.suspense, e.Amount)
	default:
		r.Label = "Money out to be explained"
		posting(a.suspense, a.safeguarding, -e.Amount)
	}
	if e.Outcome == OutcomeSuspense {
		r.Metadata["finding"] = string(e.Finding)
	}
	if p != nil {
		r.Metadata["end_to_end_id"] = p.EndToEndID
	}
	posted, err := s.engine.PostTx(ctx, tx, r)
	if err != nil {
		return err
	}
	e.TransactionID = posted.ID
	switch e.Outcome {
	case OutcomeSettled:
		p.State = Settled
		return changeOne(ctx, tx, "settle payout "+p.EndToEndID, `UPDATE payouts SET state = 'settled', settlement_transaction_id = $1, settled_on = $2
			WHERE id = $3 AND state = 'exported'`, posted.ID, e.BookingDate, p.ID)
	case OutcomeReturned:
		p.State = Returned
		err := changeOne(ctx, tx, "return payout "+p.EndToEndID, `UPDATE payouts SET state = 'returned', return_transaction_id = $1, returned_on = $2,
			return_reason = $3 WHERE id = $4 AND state = 'settled'`, posted.ID, e.BookingDate, e.ReturnReason, p.ID)
		if err != nil {
			return err
		}
		return freeDonations(ctx, tx, *p)
	}
	return nil
}

// explain says in one line what is wrong with a movement.
func (e StoredEntry) explain(st StoredStatement) Finding {
	amount := e.Amount.Format(st.Currency) + " " + string(st.Currency)
	f := Finding{Kind: e.Finding, Statement: st.StatementID, Entry: e.Entry, Detail: e.Detail, Amount: e.Amount}
	switch e.Finding {
	case UnknownIn:
		f.Message = fmt.Sprintf("%s came in that no payout explains", amount)
	case UnknownOut:
		f.Message = fmt.Sprintf("%s went out that no payout explains", amount)
	case AmountDiffers:
		f.Message = fmt.Sprintf("%s is not the amount of payout %s", amount, e.EndToEndID)
	case Duplicate:
		f.Message = fmt.Sprintf("%s: payout %s is booked once more", amount, e.EndToEndID)
	case NotExported:
		f.Message = fmt.Sprintf("%s: payout %s was never sent to the bank", amount, e.EndToEndID)
	case ReturnUnsettled:
		f.Message = fmt.Sprintf("%s: payout %s came back, but no statement shows that it was paid", amount, e.EndToEndID)
	}
	return f
}
