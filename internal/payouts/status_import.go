package payouts

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// ReportResult says what the import of a report did.
type ReportResult struct {
	MessageID string // of the report
	Batch     string // reference
	// Already is set where the report had been imported before: nothing was changed.
	Already                       bool
	Accepted, Rejected, Unchanged int // payouts
	Flagged                       int // accounts of rejected payouts
	// Refused are words of the report that are not on payouts of the batch as it was
	// sent, each with its place; they changed nothing.
	Refused []*ledger.Error
	// Findings are contradictions to what the book knows, which changed nothing either.
	Findings []Finding
}

// ImportReport takes in a bank's report on a payment file of ours (pain.002):
//
//   - a payout that is accepted becomes Accepted, which posts nothing;
//   - one that is rejected or cancelled becomes Rejected: the transaction of its approval
//     is reversed, so that the debt is open again, and its donations are due again; where
//     the reason is one of its own and concerns the account, the account is flagged;
//   - a rejected file or payment information rejects all of its payouts, for a reason that
//     is about the file and flags nobody. One that is accepted accepts those of which the
//     report says nothing else. One that is partially accepted, pending or received goes
//     by its transactions;
//   - received and pending change nothing, and so does what is known already;
//   - what contradicts the book (rejected after the bank has paid, accepted after it has
//     rejected) is a finding.
//
// Words on single payouts that are refused, and findings, are kept in the book and leave
// the rest alone. An error changes nothing: CodeInvalid of a file that is not ours, that
// contradicts itself or has another number or sum of transfers; CodeConflict of one that was
// not exported, and of a report that was imported with other content, which is kept as a
// finding; others are of reading or of the database. The same report again changes nothing.
func (s *Service) ImportReport(ctx context.Context, file StatusReport, actor string) (ReportResult, error) {
	if err := checkActor(actor); err != nil {
		return ReportResult{}, err
	}
	report, err := collectReport(file)
	if err != nil {
		return ReportResult{}, err
	}
	imp := reportImport{service: s, storedReport: report, actor: actor}
	err = s.db.WriteIdempotent(ctx, imp.run)
	if sqldb.ClassOf(err) == sqldb.ClassUnique {
		err = s.db.WriteIdempotent(ctx, imp.run) // somebody imported it at the same time: say so
	}
	if err == nil && imp.refusal != nil {
		err = s.keepFinding(ctx, StoredFinding{Source: SourceReport, Account: s.config.Account.IBAN, ContentHash: report.hash, FoundBy: actor,
			Finding: Finding{Kind: OtherContent, Statement: report.group.MessageID, Message: imp.refusal.Message}})
		if err == nil {
			err = imp.refusal
		}
	}
	if err != nil {
		return ReportResult{}, err
	}
	s.returnAll(ctx)
	r := imp.result
	s.log.InfoContext(ctx, "payment report imported", "report", r.MessageID, "batch", r.Batch, "already", r.Already, "accepted", r.Accepted, "rejected", r.Rejected,
		"refused", len(r.Refused), "findings", len(r.Findings), "actor", actor)
	return r, nil
}

// storedReport is a report in memory.
type storedReport struct {
	group        ReportGroup
	payments     []ReportPayment
	transactions []ReportTransaction
	hash         [32]byte
}

// collectReport reads a report, which is about one file of ours and so is short.
func collectReport(file StatusReport) (storedReport, error) {
	var r storedReport
	content := &reportContent{contentHasher: newHasher()}
	for part, err := range file {
		switch {
		case err != nil:
			return r, err
		case part.Group != nil && content.parts == 0:
			r.group = *part.Group
		case part.Group != nil || content.parts == 0:
			return r, ledger.Errorf(ledger.CodeInvalid, "the report has not one group, and that first; read it again")
		case part.Payment != nil:
			if len(r.payments) == 1 {
				return r, invalidAt(part.Payment.Place, "the report is on more than one payment information, and our files have one; choose the report on our file")
			}
			r.payments = append(r.payments, *part.Payment)
		case part.Transaction != nil:
			if len(r.transactions) == MaxReported {
				return r, invalidAt(part.Transaction.Place, "the report has more than %d transactions, which no file of ours has; choose the report on our file", MaxReported)
			}
			r.transactions = append(r.transactions, *part.Transaction)
		}
		content.part(part)
	}
	if content.parts == 0 {
		return r, ledger.Errorf(ledger.CodeInvalid, "the report is empty; read it again")
	}
	r.hash = content.end()
	return r, nil
}

func invalidAt(place, format string, args ...any) *ledger.Error {
	return ledger.Errorf(ledger.CodeInvalid, format, args...).InField(placeOr(place, "report"))
}

// reportImport is one report on its way into the book.
type reportImport struct {
	service *Service
	storedReport
	actor   string
	result  ReportResult
	refusal *ledger.Error // of a report that was imported with other content
	changes []statusChange
}

// statusChange is what a report does to a payout.
type statusChange struct {
	payout  *Payout
	to      State
	status  Status
	reasons []StatusReason
	own     bool // the report says it of this payout, and not of the file
	posted  uuid.UUID
}

func (c statusChange) reason() string {
	code := ""
	for _, r := range c.reasons {
		if code == "" || (r.Code != "" && ConcernsAccount(r.Code) && !ConcernsAccount(code)) {
			code = r.Code
		}
	}
	return code
}

func (c statusChange) info() string {
	var words []string
	for _, r := range c.reasons {
		if r.Info != "" {
			words = append(words, r.Info)
		}
	}
	runes := []rune(strings.Join(words, "; "))
	return string(runes[:min(len(runes), MaxInfo)])
}

// flags reports whether the payee's account is why.
func (c statusChange) flags() bool {
	return c.to == Rejected && c.own && c.status == StatusRejected && ConcernsAccount(c.reason())
}

func (r *reportImport) run(ctx context.Context, tx *sqldb.Tx) error {
	r.result, r.refusal, r.changes = ReportResult{MessageID: r.group.MessageID}, nil, nil
	if !ledger.Printable(r.group.MessageID, maxMessageID) {
		return invalidAt(r.group.Place, "the id of a report must be 1 to %d bytes of printable text", maxMessageID)
	}
	batch, err := r.batch(ctx, tx)
	if err != nil || r.result.Already || r.refusal != nil {
		return err
	}
	list, err := lockPayoutsOfBatch(ctx, tx, batch)
	if err != nil {
		return err
	}
	if err := r.judge(batch, list); err != nil {
		return err
	}
	if err := r.apply(ctx, tx, batch); err != nil {
		return err
	}
	if err := r.keepFindings(ctx, tx); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO payment_reports (message_id, batch_id, status, transactions, content_hash, imported_by, imported_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		r.group.MessageID, batch.ID, string(r.group.Status), int64(len(r.transactions)), r.hash, r.actor, r.service.engine.Now())
	if err != nil {
		return fmt.Errorf("store report %s: %w", r.group.MessageID, err)
	}
	return nil
}

// batch finds the batch that the report is on, unless the report was imported before.
func (r *reportImport) batch(ctx context.Context, tx *sqldb.Tx) (Batch, error) {
	g := r.group
	known, err := sqldb.Collect(ctx, tx, `SELECT r.content_hash, r.imported_at, b.reference FROM payment_reports AS r JOIN payout_batches AS b ON b.id = r.batch_id
		WHERE r.message_id = $1`, []any{g.MessageID}, func(rows *sqldb.Rows) (StoredMessage, error) {
		var m StoredMessage
		var hash []byte
		err := rows.Scan(&hash, &m.ImportedAt, &r.result.Batch)
		copy(m.ContentHash[:], hash)
		return m, err
	})
	if err != nil {
		return Batch{}, fmt.Errorf("look for report %s: %w", g.MessageID, err)
	}
	if len(known) > 0 {
		r.result.Already = known[0].ContentHash == r.hash
		if !r.result.Already {
			r.refusal = ledger.Errorf(ledger.CodeConflict, "report %s was imported on %s with other content; ask the bank which one holds",
				g.MessageID, known[0].ImportedAt.Format("2006-01-02T15:04:05Z")).InField(placeOr(g.Place, "report"))
		}
		return Batch{}, nil
	}
	if g.OriginalFormat != "" && !strings.HasPrefix(g.OriginalFormat, "pain.001") {
		return Batch{}, invalidAt(g.Place, "the report is on a message %s, and our payment files are pain.001; choose the report on one of them", ledger.Clip(g.OriginalFormat))
	}
	list, err := sqldb.Collect(ctx, tx, "SELECT "+batchColumns+" FROM payout_batches WHERE message_id = $1", []any{g.OriginalMessage}, scanBatch)
	if err != nil {
		return Batch{}, fmt.Errorf("look for payment file %s: %w", ledger.Clip(g.OriginalMessage), err)
	}
	if len(list) == 0 {
		return Batch{}, invalidAt(g.Place, "the report is on message %q, which is no payment file of ours; choose another report, or ask the bank", ledger.Clip(g.OriginalMessage))
	}
	b := list[0]
	r.result.Batch = b.Reference
	if b.State == BatchPrepared || b.State == BatchApproved || b.State == BatchCancelled {
		return Batch{}, ledger.Errorf(ledger.CodeConflict, "the report is on batch %s, which is %s and was never exported; find out who sent it to the bank",
			b.Reference, b.State).InField(placeOr(g.Place, "report"))
	}
	if err := sameFile(b, g.OriginalCount, g.OriginalSum, g.HasSum, g.Place); err != nil {
		return Batch{}, err
	}
	for _, p := range r.payments {
		if p.OriginalPayment != b.MessageID {
			return Batch{}, invalidAt(p.Place, "the report is on payment information %q, and that of batch %s is %s; ask the bank", ledger.Clip(p.OriginalPayment), b.Reference, b.MessageID)
		}
		if err := sameFile(b, p.OriginalCount, p.OriginalSum, p.HasSum, p.Place); err != nil {
			return Batch{}, err
		}
	}
	return b, nil
}

// sameFile makes sure that the bank has the file that was exported.
func sameFile(b Batch, number int, sum ledger.Amount, hasSum bool, place string) error {
	switch {
	case number != 0 && number != b.Payouts:
		return invalidAt(place, "the bank has had %d transfers of batch %s, which has %d; ask the bank what file it has", number, b.Reference, b.Payouts)
	case hasSum && sum != b.Net:
		return invalidAt(place, "the bank has had transfers of %s %s of batch %s, which comes to %s; ask the bank what file it has",
			sum.Format(b.Currency), b.Currency, b.Reference, b.Net.Format(b.Currency))
	}
	return nil
}

// lockPayoutsOfBatch is payoutsOfBatch for a change of the payouts: it holds their rows
// until the transaction ends.
func lockPayoutsOfBatch(ctx context.Context, tx *sqldb.Tx, b Batch) ([]Payout, error) {
	if tx.ForUpdate() != "" {
		if _, err := sqldb.Collect(ctx, tx, "SELECT id FROM payouts WHERE batch_id = $1 ORDER BY id"+tx.ForUpdate(), []any{b.ID}, scanID); err != nil {
			return nil, fmt.Errorf("lock the payouts of batch %s: %w", b.Reference, err)
		}
	}
	return payoutsOfBatch(ctx, tx, b)
}

// apply posts and stores what the report changes.
func (r *reportImport) apply(ctx context.Context, tx *sqldb.Tx, b Batch) error {
	s := r.service
	today, now := s.engine.Today(), s.engine.Now()
	var rejected []*statusChange
	var events []PayoutEvent
	for i := range r.changes {
		c := &r.changes[i]
		if c.to == Rejected {
			rejected = append(rejected, c)
		}
		events = append(events, PayoutEvent{PayoutID: c.payout.ID, At: now, Actor: r.actor, From: c.payout.State, To: c.to, Status: c.status,
			Reason: c.reason(), Info: c.info(), Source: r.group.MessageID})
	}
	payouts, requests := make([]Payout, len(rejected)), make([]ledger.Request, len(rejected))
	var flags []IBANFlag
	for i, c := range rejected {
		payouts[i] = *c.payout
		requests[i] = ledger.ReverseRequest{Key: "payout-reject:" + c.payout.EndToEndID, TransactionID: c.payout.TransactionID, EffectiveDate: today,
			Label: fmt.Sprintf("Payout %s %s rejected", b.Reference, c.payout.PayeeCode)}
		if c.flags() {
			flags = append(flags, IBANFlag{PayoutID: c.payout.ID, IBAN: c.payout.Creditor.IBAN, Reason: c.reason(), FlaggedBy: r.actor, FlaggedAt: now})
		}
	}
	if len(rejected) > 0 {
		posted, err := s.postAll(ctx, tx, payouts, requests)
		if err != nil {
			return err
		}
		for i := range rejected {
			rejected[i].posted = posted[i]
		}
	}
	n, err := tx.ExecRows(ctx, `UPDATE payouts SET state = d.to_state, bank_status = d.bank, reject_transaction_id = d.posted, rejected_on = d.done_on, reject_reason = d.reason
		FROM ROWS AS d(payout, from_state, to_state, bank, posted, done_on, reason) WHERE payouts.id = d.payout AND payouts.state = d.from_state`,
		[]sqldb.Column{{Name: "payout", Type: "uuid"}, {Name: "from_state", Type: "text"}, {Name: "to_state", Type: "text"}, {Name: "bank", Type: "text"},
			{Name: "posted", Type: "uuid"}, {Name: "done_on", Type: "date"}, {Name: "reason", Type: "text"}},
		len(r.changes), func(i int) []any {
			c := r.changes[i]
			if c.to != Rejected {
				return []any{c.payout.ID, string(c.payout.State), string(c.to), string(c.status), nil, nil, ""}
			}
			return []any{c.payout.ID, string(c.payout.State), string(c.to), string(c.status), c.posted, today, c.reason()}
		})
	if err != nil {
		return fmt.Errorf("move the payouts of batch %s on: %w", b.Reference, err)
	}
	if int(n) != len(r.changes) {
		return fmt.Errorf("move the payouts of batch %s on: %d rows were changed, not %d", b.Reference, n, len(r.changes))
	}
	r.result.Flagged = len(flags)
	return errors.Join(insertEvents(ctx, tx, events), insertFlags(ctx, tx, flags), freeDonations(ctx, tx, payouts...), closeBatch(ctx, tx, b.ID))
}

// keepFindings stores what contradicts the book, and what is not about our payouts.
func (r *reportImport) keepFindings(ctx context.Context, tx *sqldb.Tx) error {
	keep := func(kind FindingKind, amount ledger.Amount, message string) error {
		h := newHasher()
		h.text("report-finding/1", message)
		return insertFinding(ctx, tx, StoredFinding{Source: SourceReport, Account: r.service.config.Account.IBAN, ContentHash: h.sum(), FoundBy: r.actor,
			FoundAt: r.service.engine.Now(), Finding: Finding{Kind: kind, Statement: r.group.MessageID, Amount: amount, Message: message}})
	}
	for _, f := range r.result.Findings {
		if err := keep(f.Kind, f.Amount, f.Message); err != nil {
			return fmt.Errorf("keep a contradiction: %w", err)
		}
	}
	for _, e := range r.result.Refused {
		if err := keep(StatusRefused, 0, fmt.Sprintf("report %s: %s", r.group.MessageID, e.Message)); err != nil {
			return fmt.Errorf("keep what was refused: %w", err)
		}
	}
	return nil
}
