package payouts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// Bounds of a batch, which is prepared in one database transaction. What does not
// fit is left for the next batch.
const (
	MaxPayouts   = 1_000
	MaxDonations = 20_000 // of all payouts together
	// maxBatchesADay is what four digits of a reference count.
	maxBatchesADay = 9_999
	// maxPrepareTries bounds how often a batch is gathered anew because another was
	// being prepared at the same time: one of those at work always succeeds.
	maxPrepareTries = 16
)

// PrepareRequest asks for a batch.
type PrepareRequest struct {
	Payees []string // codes; empty: all payees
	// ByRhythm gathers only what is due by each payee's rhythm: the donations until
	// its LastOccurrence. What an earlier batch has missed, or what came back, is due
	// at once.
	ByRhythm bool
	Until    ledger.Date // donations up to and including it; zero: today
	// ExecutionDate is when the bank is to pay; zero: tomorrow. Where it is no
	// business day the next one is taken.
	ExecutionDate ledger.Date
	Actor         string
}

// Refusal is a payee that is owed money but cannot be paid now, and why.
type Refusal struct {
	PayeeCode string
	Err       *ledger.Error
}

// PrepareResult is a new batch, and whom it leaves out.
type PrepareResult struct {
	Batch   Batch
	Payouts []Payout
	Refused []Refusal // in order of their codes
	// Left is set where the batch is full and more may be due: prepare another one.
	Left bool
}

// Prepare gathers every donation that is due into payouts, one a payee: the
// postings that credit the payee's account, up to a date, that were not reversed
// and are in no other payout. The book is not changed by it. A payee that cannot
// be paid (no IBAN, one that is flagged, blocked, commission above the donations) is refused with a
// reason and the others go on; where nobody can be paid it is an error: the
// refusal, or CodeNotFound where nothing is due.
func (s *Service) Prepare(ctx context.Context, r PrepareRequest) (PrepareResult, error) {
	today := s.engine.Today()
	if r.Until.IsZero() {
		r.Until = today
	}
	if r.ExecutionDate.IsZero() {
		r.ExecutionDate = today.AddDays(1)
	}
	switch {
	case r.ExecutionDate.Before(today):
		return PrepareResult{}, ledger.Errorf(ledger.CodeInvalid, "the bank cannot pay on %s, which has passed", r.ExecutionDate).InField("execution_date")
	case today.Before(r.Until):
		return PrepareResult{}, ledger.Errorf(ledger.CodeInvalid, "%s has not come yet; gather donations until %s", r.Until, today).InField("until")
	case len(r.Payees) > MaxPayouts:
		return PrepareResult{}, ledger.Errorf(ledger.CodeInvalid, "a batch pays at most %d payees, not %d", MaxPayouts, len(r.Payees)).InField("payees")
	}
	if err := checkActor(r.Actor); err != nil {
		return PrepareResult{}, err
	}
	if _, err := s.ReturnCashOuts(ctx, MaxPage); err != nil {
		return PrepareResult{}, err
	}
	r.ExecutionDate = BusinessDayFrom(r.ExecutionDate)
	id, err := s.newID()
	if err != nil {
		return PrepareResult{}, err
	}
	g := gathering{request: r, id: id, today: today, now: s.engine.Now(), debtor: s.config.Account, currency: s.config.Currency, newID: s.newID}
	var result PrepareResult
	for try := 1; ; try++ {
		err = s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			var err error
			result, err = g.run(ctx, tx)
			return err
		})
		// Another batch took a donation or the reference first: gather what it left.
		if sqldb.ClassOf(err) != sqldb.ClassUnique || try == maxPrepareTries {
			break
		}
	}
	if err == nil {
		err = g.nobody
	}
	if err != nil {
		return PrepareResult{}, fmt.Errorf("prepare payouts: %w", err)
	}
	s.log.InfoContext(ctx, "payouts prepared", "batch", result.Batch.Reference, "payouts", result.Batch.Payouts,
		"refused", len(result.Refused), "actor", r.Actor)
	return result, nil
}

// gathering is one preparation of a batch.
type gathering struct {
	request  PrepareRequest
	id       uuid.UUID // of the batch
	today    ledger.Date
	now      time.Time
	debtor   Party
	currency ledger.Currency
	newID    func() (uuid.UUID, error)
	unsealed []ledger.Date // of what waits for the sealer, in order
	nobody   error         // why no batch was made
}

// collected is a payout on its way.
type collected struct {
	Payout
	kind  payments.PayeeKind
	until ledger.Date // of its donations, at most
	items []Item
	days  []gatheredDay // of which nothing is due beside the items
}

func (g *gathering) run(ctx context.Context, tx *sqldb.Tx) (PrepareResult, error) {
	g.nobody = nil
	result, found, err := g.earlierRun(ctx, tx)
	if err != nil || found {
		return result, err
	}
	if g.unsealed, err = unsealedDates(ctx, tx, g.request.Until); err != nil {
		return PrepareResult{}, err
	}
	var list []collected
	var days []gatheredDay
	donations := 0
	err = g.eachPayee(ctx, tx, func(payee payments.Payee) error {
		room := MaxDonations - donations
		if len(list) == MaxPayouts || room == 0 {
			result.Left = true
			return nil
		}
		c, left, err := g.payout(ctx, tx, payee, room)
		if refusal, ok := errors.AsType[*ledger.Error](err); ok {
			result.Refused = append(result.Refused, Refusal{PayeeCode: payee.Code, Err: refusal})
			return nil
		}
		if err != nil {
			return err
		}
		days = append(days, c.days[:min(len(c.days), maxGatheredDays-len(days))]...)
		if c.Donations == 0 {
			return nil
		}
		result.Left = result.Left || left
		donations += c.Donations
		list = append(list, c)
		return nil
	})
	if err != nil {
		return PrepareResult{}, err
	}
	if len(list) == 0 {
		g.nobody = g.whyNobody(result.Refused)
	} else if err := g.store(ctx, tx, &result, list); err != nil {
		return PrepareResult{}, err
	}
	return result, keepGathered(ctx, tx, days)
}

// whyNobody says why there is nobody to pay.
func (g *gathering) whyNobody(refused []Refusal) error {
	switch {
	case len(refused) == 1:
		return refused[0].Err
	case len(refused) > 1:
		first := refused[0]
		return ledger.Errorf(first.Err.Code, "none of the %d payees that are owed money can be paid; the first: %w", len(refused), first.Err).InField("payees")
	case g.request.ByRhythm:
		return ledger.Errorf(ledger.CodeNotFound, "nothing is due by rhythm on %s; \"tweetledger payout schedule\" shows what is when, and payees that are named are paid out at any time", g.today)
	}
	return ledger.Errorf(ledger.CodeNotFound, "no donation of %s or before is due; what is in a batch already is in \"tweetledger payout list\"", g.request.Until)
}

// earlierRun finds the batch where a commit whose fate was unknown did happen.
func (g *gathering) earlierRun(ctx context.Context, tx *sqldb.Tx) (PrepareResult, bool, error) {
	list, err := sqldb.Collect(ctx, tx, "SELECT "+batchColumns+" FROM payout_batches WHERE id = $1", []any{g.id}, scanBatch)
	if err != nil || len(list) == 0 {
		return PrepareResult{}, false, err
	}
	payouts, err := payoutsOfBatch(ctx, tx, list[0])
	return PrepareResult{Batch: list[0], Payouts: payouts}, true, err
}

// eachPayee calls visit for the payees that were asked for, in order of their codes.
func (g *gathering) eachPayee(ctx context.Context, tx *sqldb.Tx, visit func(payments.Payee) error) error {
	if len(g.request.Payees) > 0 {
		for _, code := range sortedUnique(g.request.Payees) {
			payee, err := payments.FindPayee(ctx, tx, code)
			if err != nil {
				return err
			}
			if err := visit(payee); err != nil {
				return err
			}
		}
		return nil
	}
	for after := ""; ; {
		page, err := payments.ListPayees(ctx, tx, payments.PayeeFilter{AfterCode: after, SkipIdle: true, Limit: MaxPage})
		if err != nil {
			return err
		}
		for _, payee := range page {
			if err := visit(payee); err != nil {
				return err
			}
		}
		if len(page) < MaxPage {
			return nil
		}
		after = page[len(page)-1].Code
	}
}

// payout gathers what one payee is owed, at most room donations; left says that
// there are more. Without donations the payout is empty. A ledger.Error is why
// the payee cannot be paid.
func (g *gathering) payout(ctx context.Context, tx *sqldb.Tx, payee payments.Payee, room int) (c collected, left bool, err error) {
	until := g.request.Until
	if g.request.ByRhythm {
		if last := LastOccurrence(payee.Rhythm, payee.Anchor, g.today).Until; last.Before(until) {
			until = last
		}
	}
	items, days, err := g.due(ctx, tx, payee.AccountID, until, room+1)
	if err != nil || len(items) == 0 {
		return collected{days: days}, false, err
	}
	if left = len(items) > room; left {
		items = items[:room]
	}
	var gross ledger.Amount
	for i := range items {
		items[i].Ordinal = i + 1
		if gross, err = gross.Add(items[i].Amount); err != nil {
			return collected{}, false, err
		}
	}
	if payee.Kind == payments.OwnBank {
		if err := notBackYet(ctx, tx, payee); err != nil {
			return collected{}, false, err
		}
	}
	terms, err := payments.TermsOf(ctx, tx, []uuid.UUID{payee.ID})
	if err != nil {
		return collected{}, false, err
	}
	commission, vat := payments.TermsOn(terms[payee.ID], g.today).Commission(gross)
	switch {
	case payee.Status != payments.Open:
		return collected{}, false, ledger.Errorf(ledger.CodeForbidden, "%s is %s; its %s %s stay until it is open again",
			payee.Code, payee.Status, gross.Format(g.currency), g.currency).InField("payee." + payee.Code)
	case payee.IBAN == "":
		return collected{}, false, ledger.Errorf(ledger.CodeInvalid, "%s has no IBAN to pay %s %s to; enter one and prepare again",
			payee.Code, gross.Format(g.currency), g.currency).InField("payee." + payee.Code)
	case commission >= gross || vat >= gross-commission:
		return collected{}, false, ledger.Errorf(ledger.CodeInvalid, "%s is owed %s %s, which its commission of %s would eat up; wait for more donations",
			payee.Code, gross.Format(g.currency), g.currency, (commission + vat).Format(g.currency)).InField("payee." + payee.Code)
	}
	flags, err := openFlags(ctx, tx, []string{payee.IBAN})
	if err != nil {
		return collected{}, false, err
	}
	if flag, ok := flags[payee.IBAN]; ok {
		return collected{}, false, ledger.Errorf(ledger.CodeConflict, "%s", flag.refuse(payee.Code)).InField("payee." + payee.Code)
	}
	if err := g.covered(ctx, tx, payee, gross); err != nil {
		return collected{}, false, err
	}
	return collected{
		Payout: Payout{
			BatchID: g.id, PayeeID: payee.ID, PayeeCode: payee.Code, AccountID: payee.AccountID, Currency: g.currency, Donations: len(items),
			Gross: gross, Commission: commission, VAT: vat, Net: gross - commission - vat, State: Prepared,
			Creditor: Party{Name: payee.Name, IBAN: payee.IBAN, BIC: payee.BIC}, CreditorAddress: payee.Address,
		},
		kind:  payee.Kind,
		until: until,
		items: items,
		days:  days,
	}, left, nil
}

// due reads the donations to a payee until a day that no live payout has: at most
// limit, the oldest first, and the days of which these are all. What credits the
// account from the accounts that payouts themselves go through is no donation: it is a
// return or the undoing of an approval, whose donations are due again by themselves.
func (g *gathering) due(ctx context.Context, tx *sqldb.Tx, account uuid.UUID, until ledger.Date, limit int) ([]Item, []gatheredDay, error) {
	unsealed := g.unsealed
	for len(unsealed) > 0 && until.Before(unsealed[len(unsealed)-1]) {
		unsealed = unsealed[:len(unsealed)-1]
	}
	days, err := openDays(ctx, tx, account, until, unsealed)
	if err != nil {
		return nil, nil, err
	}
	a := accounts()
	var items []Item
	for i, day := range days {
		first, end := engine.PagesOf(day.date)
		of, err := sqldb.Collect(ctx, tx, fmt.Sprintf(`SELECT d.transaction_id, d.ordinal, d.amount
			FROM accounts AS a JOIN postings AS d ON d.credit_no = a.no JOIN accounts AS b ON b.no = d.debit_no
			WHERE a.id = $1 AND d.page_id >= $2 AND d.page_id < $3 AND b.id <> $4 AND b.id <> $5 AND b.id <> $6 AND b.id <> $7
				AND NOT EXISTS (SELECT 1 FROM payout_items AS i WHERE i.transaction_id = d.transaction_id AND i.posting = d.ordinal AND i.live = 1)
				AND NOT EXISTS (SELECT 1 FROM postings AS r WHERE r.reverses_page_id = d.page_id AND r.reverses_line = d.line)
			ORDER BY d.page_id, d.line LIMIT %d`, limit-len(items)),
			[]any{account, first, end, a.safeguarding, a.inTransit, a.commissions, a.vat}, func(rows *sqldb.Rows) (Item, error) {
				item := Item{EffectiveDate: day.date, Live: true}
				err := rows.Scan(&item.TransactionID, &item.Posting, &item.Amount)
				return item, err
			})
		if err != nil {
			return nil, nil, fmt.Errorf("gather donations: %w", err)
		}
		items = append(items, of...)
		if len(items) == limit {
			return items, days[:i], nil
		}
	}
	return items, days, nil
}

// covered makes sure that the payee's account holds what is to be paid out beside
// what other batches have gathered but not yet had approved. It holds less where
// a donation was reversed after it had been paid out.
func (g *gathering) covered(ctx context.Context, tx *sqldb.Tx, payee payments.Payee, gross ledger.Amount) error {
	balance, err := engine.FindBalance(ctx, tx, payee.AccountID)
	if err != nil {
		return err
	}
	var waiting ledger.Amount
	err = tx.QueryRow(ctx, "SELECT CAST(COALESCE(SUM(gross), 0) AS bigint) FROM payouts WHERE payee_id = $1 AND state = 'prepared'",
		[]any{payee.ID}, &waiting)
	if err != nil {
		return fmt.Errorf("read what %s waits for: %w", payee.Code, err)
	}
	if free := balance.Available() - waiting; free < gross {
		return ledger.Errorf(ledger.CodeInsufficientFunds, "%s has donations of %s %s to come, but its account has only %s left; a donation that was already paid out was reversed: settle that first",
			payee.Code, gross.Format(g.currency), g.currency, free.Format(g.currency)).InField("payee." + payee.Code)
	}
	return nil
}

// counted says, in the payee's language, what a payout consists of: "3 dons".
func counted(n int, kind payments.PayeeKind) string {
	noun := "paiement"
	if kind == payments.Charity {
		noun = "don"
	}
	if n > 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// remittance is what the payee reads on the own statement, in the own language.
func remittance(p collected) string {
	if p.kind == payments.OwnBank {
		return p.Batch + ": remboursement de monnaie électronique"
	}
	text := fmt.Sprintf("%s: %s jusqu'au %s, commission %s %s", p.Batch, counted(p.Donations, p.kind), p.until, p.Commission.Format(p.Currency), p.Currency)
	if p.VAT > 0 {
		text += fmt.Sprintf(", TVA %s %s", p.VAT.Format(p.Currency), p.Currency)
	}
	return text
}

// store numbers the batch and writes it down.
func (g *gathering) store(ctx context.Context, tx *sqldb.Tx, result *PrepareResult, list []collected) error {
	var number int64
	err := tx.QueryRow(ctx, "SELECT COALESCE(MAX(number), 0) + 1 FROM payout_batches WHERE prepared_on = $1", []any{g.today}, &number)
	if err != nil {
		return fmt.Errorf("number the batch: %w", err)
	}
	if number > maxBatchesADay {
		return ledger.Errorf(ledger.CodeLimitExceeded, "%d batches were prepared today, which is the most there can be; go on tomorrow", maxBatchesADay)
	}
	reference := fmt.Sprintf("PO-%04d%02d%02d-%04d", g.today.Year, g.today.Month, g.today.Day, number)
	b := Batch{
		ID: g.id, Reference: reference, State: BatchPrepared, Currency: g.currency, PreparedOn: g.today, Until: list[0].until,
		ExecutionDate: g.request.ExecutionDate, Debtor: g.debtor, Payouts: len(list), CreatedBy: g.request.Actor, CreatedAt: g.now,
		// Part of the random id, so that a book started anew never repeats an id to the bank.
		MessageID: fmt.Sprintf("%s-%x", reference, g.id[:4]),
	}
	for i := range list {
		p := &list[i]
		if p.ID, err = g.newID(); err != nil {
			return err
		}
		p.Batch, p.Ordinal = reference, i+1
		p.EndToEndID = fmt.Sprintf("%s-%05d", b.MessageID, i+1)
		if b.Until.Before(p.until) {
			b.Until = p.until
		}
		p.Remittance = remittance(*p)
		for j := range p.items {
			p.items[j].PayoutID = p.ID
		}
		if b.Gross, err = b.Gross.Add(p.Gross); err != nil {
			return err
		}
		b.Commission += p.Commission // together at most Gross
		b.VAT += p.VAT
		result.Payouts = append(result.Payouts, p.Payout)
	}
	b.Net = b.Gross - b.Commission - b.VAT
	result.Batch = b
	if err := insertBatch(ctx, tx, b, list, number); err != nil {
		return err
	}
	return linkRetries(ctx, tx, b, result.Payouts)
}
