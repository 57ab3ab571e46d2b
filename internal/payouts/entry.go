package payouts

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Outcome says what the book made of a movement on the bank account.
type Outcome string

// The outcomes.
const (
	OutcomeSettled  Outcome = "settled"         // a payout was paid
	OutcomeReturned Outcome = "returned"        // a payout came back
	OutcomeCards    Outcome = "card_settlement" // an acquirer's transfer, as its settlement file says
	OutcomeSuspense Outcome = "suspense"        // a person must look at it
	OutcomeNothing  Outcome = "nothing"         // a movement of zero
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
	PaidRejected     FindingKind = "paid_rejected"     // a payout that the bank had rejected moved all the same
	SequenceGap      FindingKind = "sequence_gap"      // a statement is missing
	BalanceGap       FindingKind = "balance_gap"       // opening is not the closing before
	SequenceRepeated FindingKind = "sequence_repeated" // two statements with one number
	OtherContent     FindingKind = "other_content"     // imported again with other content
	Contradiction    FindingKind = "contradiction"     // a report contradicts what the book knows of a payout
	StatusRefused    FindingKind = "status_refused"    // a report's word on a transfer that is not ours as it says
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
	case p.State == Rejected:
		suspense(PaidRejected)
	case p.State == Returned || (p.State == Settled && !cameBack):
		suspense(Duplicate)
	case (p.State == Exported || p.State == Accepted) && cameBack:
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
	case PaidRejected:
		f.Message = fmt.Sprintf("%s: payout %s, which the bank had rejected, is booked all the same; ask the bank, and before its donations are paid out again", amount, e.EndToEndID)
	case ReturnUnsettled:
		f.Message = fmt.Sprintf("%s: payout %s came back, but no statement shows that it was paid", amount, e.EndToEndID)
	}
	return f
}
