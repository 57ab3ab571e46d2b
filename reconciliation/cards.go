package reconciliation

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

const (
	// DefaultCardDays is how long a charge may take to be in a settlement file: acquirers
	// settle two or three banking days after the charge, and a weekend comes between.
	DefaultCardDays = 5
	// DefaultCardMissingDays is after how long one that is late is missing: no acquirer
	// settles later without having said so.
	DefaultCardMissingDays = 14
)

// CardsParams say what Cards reconciles.
type CardsParams struct {
	From, To ledger.Date // inclusive
	// Days after which a charge must be in a settlement file, else it is late; and a
	// transfer of an acquirer of which the configuration says nothing on a statement. 0:
	// DefaultCardDays.
	Days int
	// MissingDays after which what is late is missing; 0: DefaultCardMissingDays.
	MissingDays int
	// Progress, where it is set, is told how many charges have been judged, of how many.
	Progress func(done, total int)
	// Watch, where it is set, is told which references of open breaks were judged.
	Watch Watch
	// Spill is where the references of charges are sorted.
	Spill Spill
}

// cardTerms say from when on what is not there is a break.
type cardTerms struct {
	days, missing int
	asOf          ledger.Date // of ages: the last day of the period, but not after today
}

// overdue returns the class of what should have been there days after a date, and
// false where it has still time.
func (t cardTerms) overdue(since ledger.Date, days int) (Class, bool) {
	switch {
	case since.AddDays(max(t.missing, days)).Before(t.asOf):
		return MissingOutside, true
	case since.AddDays(days).Before(t.asOf):
		return Late, true
	}
	return "", false
}

// cardsJob is one run of the job, inside one transaction that only reads.
type cardsJob struct {
	*run
	tx      *sqldb.Tx
	params  CardsParams
	config  payouts.Config
	loc     *time.Location
	terms   cardTerms
	totals  map[string]*Total
	charges leftOver // charges without lines, and lines without charges
	credits leftOver // transfers on no statement, and movements without settlement files
	// suspects are movements in suspense that name a transfer.
	suspects map[payouts.CardPayoutID][]payouts.StoredEntry
}

// Cards reconciles card charges, refunds and chargebacks in the ledger with the lines
// of acquirers' settlement files, and the transfers of these files with their lines,
// the ledger and the bank's statements, in both directions. It only reads. What
// belongs together is found by reference, whenever it happened; the period says which
// charges, lines, transfers and movements are looked at. Their references are sorted
// on disk where memory does not hold them, and what is known of them is read 500 at a
// time.
func Cards(ctx context.Context, e *engine.Engine, s *payouts.Service, p CardsParams) (Result, error) {
	if err := checkPeriod(p.From, p.To); err != nil {
		return Result{}, err
	}
	p.Days = cmp.Or(p.Days, DefaultCardDays)
	p.MissingDays = max(cmp.Or(p.MissingDays, DefaultCardMissingDays), p.Days)
	now, asOf := e.Now(), p.To
	if today := e.Today(); today.Before(asOf) {
		asOf = today
	}
	var result Result
	err := e.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		files := newSpill(p.Spill)
		defer files.close()
		j := &cardsJob{run: newRun(JobCards, p.From, p.To, "", now), tx: tx, params: p, config: s.Config(), terms: cardTerms{p.Days, p.MissingDays, asOf},
			totals: map[string]*Total{}, suspects: map[payouts.CardPayoutID][]payouts.StoredEntry{}}
		j.watch, j.loc = p.Watch, e.Location()
		if err := j.all(ctx, files); err != nil {
			return err
		}
		result = j.done()
		return nil
	})
	if err != nil {
		return Result{}, fmt.Errorf("reconcile cards: %w", err)
	}
	return result, nil
}

// cardTotals are the totals of a run, in their order.
var cardTotals = [...]string{"charges", "refunds", "chargebacks", "chargebacks_won", "settled_charges", "settled_refunds", "settled_chargebacks", "settled_chargebacks_won",
	"transfers", "fees", "booked_by_hand"}

func (j *cardsJob) all(ctx context.Context, files *spill) error {
	for _, name := range cardTotals {
		j.totals[name] = &Total{Name: name, Currency: j.config.Currency}
	}
	touched := &side[posted]{sorter: sorter{spill: files}, key: func(p posted) string { return p.key }, within: byTransaction, encode: appendPosted, decode: readPosted}
	if err := j.readLedger(ctx, touched); err != nil {
		return fmt.Errorf("read the book: %w", err)
	}
	if err := j.readLines(ctx, touched); err != nil {
		return fmt.Errorf("read the settlement files: %w", err)
	}
	if err := j.judgeTouched(ctx, touched); err != nil {
		return err
	}
	if err := j.judgeTransfers(ctx); err != nil {
		return err
	}
	if err := j.findings(ctx, j.tx, j.config.Currency, j.loc); err != nil {
		return err
	}
	if err := j.explain(ctx); err != nil {
		return err
	}
	for _, name := range cardTotals {
		j.result.Totals = append(j.result.Totals, *j.totals[name])
	}
	return nil
}

func (j *cardsJob) total(name string, amount ledger.Amount) error {
	t := j.totals[name]
	sum, err := t.Amount.Add(amount)
	if err != nil {
		return fmt.Errorf("add up %s: %w", name, err)
	}
	t.Amount, t.Count = sum, t.Count+1
	return nil
}

func (j *cardsJob) inPeriod(d ledger.Date) bool {
	return !d.IsZero() && !d.Before(j.params.From) && !j.params.To.Before(d)
}

// Channels of what is posted to the account of cards to be settled.
const (
	cardChannel = "card"
	bankChannel = "bank"
)

// readLedger collects the references of what the ledger says of cards: in the period,
// and as long before as what is not settled can become late or missing in it.
func (j *cardsJob) readLedger(ctx context.Context, touched *side[posted]) error {
	account := ledger.SystemAccountID(payments.AccountCardsToSettle)
	f := engine.TransactionFilter{AccountID: account, From: j.params.From.AddDays(-j.params.MissingDays - 1), To: j.params.To, Limit: bookPage}
	for {
		page, err := engine.ListTransactions(ctx, j.tx, f)
		if err != nil {
			return err
		}
		for _, txn := range page {
			switch {
			case txn.Source.Channel == cardChannel && txn.Source.ID != "":
				err = touched.add(posted{txn.Source.ID, txn.ID})
			case txn.Source.Channel != bankChannel && j.inPeriod(txn.EffectiveDate):
				err = j.total("booked_by_hand", debited(txn, account)-credited(txn, account))
			}
			if err != nil {
				return err
			}
		}
		if len(page) < bookPage {
			return nil
		}
		f.After = page[len(page)-1].Place
	}
}

// readLines collects the references of what the settlement files say of the period.
func (j *cardsJob) readLines(ctx context.Context, touched *side[posted]) error {
	f := payouts.SettlementLineFilter{From: j.params.From, To: j.params.To, Limit: bookPage}
	for {
		page, err := payouts.ListSettlementLines(ctx, j.tx, f)
		if err != nil {
			return err
		}
		names, err := j.nameLines(ctx, page)
		if err != nil {
			return err
		}
		for i, l := range page {
			at := slices.Index(cardKinds[:], l.Kind)
			if at < 0 {
				continue // fees and transfers belong to no charge
			}
			if l.Currency == j.config.Currency {
				if err := j.total("settled_"+cardTotals[at], l.Gross); err != nil {
					return err
				}
			}
			if names[i] == "" {
				err = j.judgeNameless(l)
			} else {
				err = touched.add(posted{names[i], uuid.Nil})
			}
			if err != nil {
				return err
			}
		}
		if len(page) < bookPage {
			return nil
		}
		f.After = payouts.SettlementLineCursorOf(page[len(page)-1])
	}
}

// nameLines returns under what name the book has the charge of each line: the
// processor's reference, else the key of the charge. A line of a charge that the book
// does not know is named by what it says itself; empty where it says nothing.
func (j *cardsJob) nameLines(ctx context.Context, lines []payouts.StoredSettlementLine) ([]string, error) {
	var keys, references []string
	for _, l := range lines {
		keys, references = append(keys, l.ChargeReference), append(references, l.ChargeReference, l.Reference)
	}
	charges, err := payments.FindCharges(ctx, j.tx, distinct(keys), distinct(references))
	if err != nil {
		return nil, err
	}
	byKey, known := map[string]string{}, map[string]bool{}
	for _, c := range charges {
		byKey[c.Key], known[nameOf(c)] = nameOf(c), true
	}
	var byHand []uuid.UUID
	for _, reference := range distinct(references) {
		if !known[reference] && byKey[reference] == "" {
			byHand = append(byHand, ledger.IDOfKey(payments.TopUpKey(reference)))
		}
	}
	booked, err := engine.FindTransactions(ctx, j.tx, byHand)
	if err != nil {
		return nil, err
	}
	for _, txn := range booked {
		known[strings.TrimPrefix(txn.Key, payments.TopUpKey(""))] = true
	}
	names := make([]string, len(lines))
	for i, l := range lines {
		switch {
		case byKey[l.ChargeReference] != "":
			names[i] = byKey[l.ChargeReference]
		case known[l.Reference]:
			names[i] = l.Reference
		default:
			names[i] = cmp.Or(l.ChargeReference, l.Reference)
		}
	}
	return names, nil
}

// nameOf is what the book calls a charge: the ledger has the processor's reference,
// which one that never came there has not got.
func nameOf(c payments.Charge) string { return cmp.Or(c.Reference, c.Key) }

// distinct returns the texts that are not empty, in their order and each once.
func distinct(list []string) []string {
	set := make(map[string]bool, len(list))
	for _, s := range list {
		if s != "" {
			set[s] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// judgeTouched judges all charges of which something was collected, and then those of
// breaks that are still open, which something may have explained since.
func (j *cardsJob) judgeTouched(ctx context.Context, touched *side[posted]) error {
	total, done := touched.sorter.count, 0
	var chunk []*chargeTrace
	judge := func() error {
		if err := j.judgeCharges(ctx, chunk, false); err != nil {
			return err
		}
		chunk = nil
		if j.params.Progress != nil {
			j.params.Progress(done, total)
		}
		return nil
	}
	seen := map[string]bool{} // of those that are watched
	for p, err := range touched.sorted() {
		if err != nil {
			return fmt.Errorf("sort the charges: %w", err)
		}
		last := len(chunk) - 1
		if last < 0 || chunk[last].reference != p.key {
			if len(chunk) == chunkSize {
				if err := judge(); err != nil {
					return err
				}
			}
			chunk = append(chunk, &chargeTrace{reference: p.key})
			last = len(chunk) - 1
			if _, ok := j.watch[p.key]; ok {
				seen[p.key] = true
			}
		}
		done++
		if err := chunk[last].touch(p.transaction); err != nil {
			return err
		}
	}
	if err := judge(); err != nil {
		return err
	}
	for _, reference := range slices.Sorted(maps.Keys(j.watch)) {
		if seen[reference] || strings.ContainsAny(reference, " /") {
			continue // judged, or no charge: transfers and movements have these in their names
		}
		if chunk = append(chunk, &chargeTrace{reference: reference}); len(chunk) == chunkSize {
			if err := j.judgeCharges(ctx, chunk, true); err != nil {
				return err
			}
			chunk = nil
		}
	}
	return j.judgeCharges(ctx, chunk, true)
}

// explain looks for what may explain each other among what is left over. It settles
// nothing: a person decides.
func (j *cardsJob) explain(ctx context.Context) error {
	within := j.params.MissingDays
	if err := j.perhaps(ctx, Pipeline{Spill: j.params.Spill, Matchers: []Matcher{Suggested(within)}}, j.charges); err != nil {
		return err
	}
	return j.perhaps(ctx, Pipeline{Spill: j.params.Spill, Matchers: []Matcher{AmountDateCounterparty(within), WithinTolerance(bankCharge, within), Suggested(within)}}, j.credits)
}
