package reconciliation

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// transferTrace is what is known of one transfer of an acquirer.
type transferTrace struct {
	payouts.CardPayout
	lines payouts.LineTotal    // as they are stored
	entry *payouts.StoredEntry // the movement that booked it; nil: none did
	// booked is what the ledger has of it, less what was reversed; txn is its
	// transaction, with no id where there is none.
	booked   bookedTransfer
	txn      ledger.Transaction
	suspects []payouts.StoredEntry // movements in suspense that name it
}

// bookedTransfer is what the ledger has of a transfer.
type bookedTransfer struct{ gross, fee, net ledger.Amount }

// nameOfTransfer names a transfer for people.
func nameOfTransfer(id payouts.CardPayoutID) string { return id.Acquirer + "/" + id.PayoutReference }

// judgeTransfers judges the transfers of the period, and those of before that no
// statement has shown, with the movements of acquirers that are in suspense.
func (j *cardsJob) judgeTransfers(ctx context.Context) error {
	oldest, err := j.oldestOpen(ctx)
	if err != nil {
		return err
	}
	if err := j.readSuspense(ctx, oldest.AddDays(-j.terms.days)); err != nil {
		return fmt.Errorf("read what is in suspense: %w", err)
	}
	f := payouts.CardPayoutFilter{Limit: payoutsPage}
	for {
		page, err := payouts.ListCardPayouts(ctx, j.tx, f)
		if err != nil {
			return err
		}
		if err := j.judgePage(ctx, page); err != nil {
			return err
		}
		if len(page) < payoutsPage {
			return nil
		}
		f.After = page[len(page)-1]
	}
}

// oldestOpen is when the oldest transfer was settled that no statement has shown, but
// not later than the period begins.
func (j *cardsJob) oldestOpen(ctx context.Context) (ledger.Date, error) {
	oldest := j.params.From
	f := payouts.CardPayoutFilter{Open: true, Limit: payoutsPage}
	for {
		page, err := payouts.ListCardPayouts(ctx, j.tx, f)
		if err != nil {
			return oldest, err
		}
		for _, p := range page {
			if p.SettledOn.Before(oldest) {
				oldest = p.SettledOn
			}
		}
		if len(page) < payoutsPage {
			return oldest, nil
		}
		f.After = page[len(page)-1]
	}
}

// readSuspense finds acquirers' movements among what is in suspense since a day: those
// that name a transfer are kept for it, those that only bear an acquirer's name are
// breaks of the period.
func (j *cardsJob) readSuspense(ctx context.Context, since ledger.Date) error {
	f := payouts.EntryFilter{Outcome: payouts.OutcomeSuspense, From: since, Limit: payoutsPage}
	for {
		page, err := payouts.ListEntries(ctx, j.tx, f)
		if err != nil {
			return err
		}
		theirs, err := payouts.CardMovements(ctx, j.tx, j.config.Acquirers, page)
		if err != nil {
			return err
		}
		for i, e := range page {
			m, ok := theirs[i]
			switch {
			case !ok:
			case len(m.Transfers) > 0:
				id := m.Transfers[0].ID()
				j.suspects[id] = append(j.suspects[id], e)
				j.watch.judged(place(e)) // if there was a break of it, it is one of the transfer now
			case j.inPeriod(e.BookingDate):
				if err := j.judgeCredit(e, m.Acquirer); err != nil {
					return err
				}
			}
		}
		if len(page) < payoutsPage {
			return nil
		}
		f.After = payouts.EntryCursorOf(page[len(page)-1])
	}
}

// judgeCredit makes a break of a movement that bears an acquirer's name, and of which
// no settlement file tells.
func (j *cardsJob) judgeCredit(e payouts.StoredEntry, acquirer string) error {
	j.hashEntry("credit", e)
	j.watch.judged(place(e))
	b := j.keyed(Break{Class: UnknownMoney, Reference: place(e), Amount: abs(e.Amount), Currency: j.config.Currency, Date: e.BookingDate,
		Key: fmt.Sprintf("%s/statement/%s/%d/%d", JobCards, e.Statement, e.Entry, e.Detail),
		Message: fmt.Sprintf("statement %s of %s: %s of acquirer %s%s, and no settlement file tells what it consists of; import the file, then correct from suspense to cards-to-settle",
			place(e), e.BookingDate, j.moved(e), acquirer, describe(e))})
	j.credits.addOutside(Item{Key: b.Key, Reference: place(e), Counterparty: acquirer, Amount: e.Amount, Currency: j.config.Currency, Date: e.BookingDate, Source: "statement " + place(e)})
	return j.addBreak(b)
}

// moved says how much a movement is and where it went.
func (j *cardsJob) moved(e payouts.StoredEntry) string {
	if e.Amount < 0 {
		return money(-e.Amount, j.config.Currency) + " out"
	}
	return money(e.Amount, j.config.Currency) + " in"
}

// hashEntry adds a movement to the inputs: its row id is random, what it says is not.
func (j *cardsJob) hashEntry(what string, e payouts.StoredEntry) {
	j.inputs.on(e.BookingDate)
	j.inputs.text(what, e.Statement, string(e.Outcome))
	j.inputs.number(int64(e.Entry), int64(e.Detail), int64(e.Amount))
}

// judgePage judges those of some transfers that are of the period, that nothing has
// booked, or of which a break is open.
func (j *cardsJob) judgePage(ctx context.Context, page []payouts.CardPayout) error {
	var list []payouts.CardPayout
	quiet := map[payouts.CardPayoutID]bool{}
	for _, p := range page {
		_, watched := j.watch[nameOfTransfer(p.ID())]
		suspected := slices.ContainsFunc(j.suspects[p.ID()], func(e payouts.StoredEntry) bool { return j.inPeriod(e.BookingDate) })
		of := j.inPeriod(p.SettledOn) || suspected || (p.TransactionID == uuid.Nil && !j.params.To.Before(p.SettledOn))
		if of || watched {
			list, quiet[p.ID()] = append(list, p), !of
		}
	}
	if len(list) == 0 {
		return nil
	}
	traces, err := j.traceTransfers(ctx, list)
	if err != nil {
		return fmt.Errorf("read the transfers of acquirers: %w", err)
	}
	for _, t := range traces {
		v := t.judge(j.terms.ofTransfer(t.CardPayout, j.config.Acquirers), j.config.Currency)
		if quiet[t.ID()] {
			if len(v.breaks) == 0 {
				j.watch.judged(nameOfTransfer(t.ID()))
			}
			continue
		}
		if err := j.takeTransfer(t, v); err != nil {
			return err
		}
	}
	return nil
}

// ofTransfer are the terms of a transfer: the days that its acquirer needs, where the
// configuration says them.
func (t cardTerms) ofTransfer(p payouts.CardPayout, acquirers []payouts.Acquirer) cardTerms {
	for _, a := range acquirers {
		if a.Name == p.Acquirer && a.Days > 0 {
			t.days = a.Days
		}
	}
	return t
}

func (j *cardsJob) traceTransfers(ctx context.Context, list []payouts.CardPayout) ([]transferTrace, error) {
	lines, err := payouts.TotalLines(ctx, j.tx, list)
	if err != nil {
		return nil, err
	}
	entries, err := payouts.EntriesOfCardPayouts(ctx, j.tx, list)
	if err != nil {
		return nil, err
	}
	var ids []uuid.UUID
	for _, p := range list {
		if p.TransactionID != uuid.Nil {
			ids = append(ids, p.TransactionID)
		}
	}
	transactions, err := engine.FindTransactions(ctx, j.tx, ids)
	if err != nil {
		return nil, err
	}
	reversed, err := engine.FindReversals(ctx, j.tx, ids)
	if err != nil {
		return nil, err
	}
	traces := make([]transferTrace, len(list))
	for i, p := range list {
		t := transferTrace{CardPayout: p, lines: lines[p.ID()], txn: transactions[p.TransactionID], suspects: j.suspects[p.ID()]}
		if e, ok := entries[p.ID()]; ok {
			t.entry = &e
		}
		t.booked.add(t.txn)
		if _, ok := reversed[p.TransactionID]; ok {
			undone, err := engine.ReversalsOf(ctx, j.tx, p.TransactionID)
			if err != nil {
				return nil, err
			}
			for _, txn := range undone {
				t.booked.add(txn)
			}
		}
		traces[i] = t
	}
	return traces, nil
}

// add adds what a transaction has posted of a transfer.
func (b *bookedTransfer) add(txn ledger.Transaction) {
	cards, fees, bank := ledger.SystemAccountID(payments.AccountCardsToSettle), ledger.SystemAccountID(payments.AccountCardFees), ledger.SystemAccountID(payments.AccountSafeguarding)
	b.gross += credited(txn, cards) - debited(txn, cards)
	b.fee += debited(txn, fees) - credited(txn, fees)
	b.net += debited(txn, bank) - credited(txn, bank)
}

// takeTransfer counts a transfer of the period and keeps what is wrong with it.
func (j *cardsJob) takeTransfer(t transferTrace, v cardVerdict) error {
	j.watch.judged(nameOfTransfer(t.ID()))
	j.inputs.on(t.SettledOn)
	j.inputs.text("transfer", t.Acquirer, t.PayoutReference, string(t.Currency), t.txn.Key)
	j.inputs.number(int64(t.Gross), int64(t.Fee), int64(t.Net), int64(t.lines.Lines), int64(t.lines.Gross), int64(t.lines.Fee), int64(t.lines.Net),
		int64(t.booked.gross), int64(t.booked.fee), int64(t.booked.net))
	if t.entry != nil {
		j.hashEntry("booked", *t.entry)
	}
	for _, e := range t.suspects {
		j.hashEntry("suspect", e)
	}
	if t.Currency == j.config.Currency && j.inPeriod(t.SettledOn) {
		if err := j.total("transfers", t.Net); err != nil {
			return err
		}
		if err := j.total("fees", t.Fee); err != nil {
			return err
		}
	}
	j.result.Open += v.open
	for _, matcher := range v.matched {
		j.matched(matcher)
	}
	for _, b := range v.breaks {
		if err := j.addBreak(b); err != nil {
			return err
		}
	}
	for _, i := range v.inside {
		j.credits.addInside(i)
	}
	return nil
}

// judge compares a transfer as its file's lines, the ledger and the bank say it. The
// terms are those of its acquirer, currency is that of the account.
func (t transferTrace) judge(terms cardTerms, currency ledger.Currency) cardVerdict {
	var v cardVerdict
	name := nameOfTransfer(t.ID())
	say := func(class Class, about string, amount ledger.Amount, date ledger.Date, format string, args ...any) string {
		b := Break{Class: class, Reference: name, Amount: amount, Currency: t.Currency, Date: date, Key: fmt.Sprintf("%s/%s/%s/%s/%s", JobCards, class, about, name, t.Currency),
			Message: fmt.Sprintf("transfer %s of %s, settled on %s: %s", name, money(t.Net, t.Currency), t.SettledOn, fmt.Sprintf(format, args...))}
		v.say(b)
		return boundedKey(b.Key)
	}
	if t.Currency != currency {
		say(AmountDiffers, "currency", abs(t.Net), t.SettledOn, "the acquirer settles in %s, and the account is in %s: no movement can be this transfer; ask the acquirer to settle in %s", t.Currency, currency, currency)
		return v
	}
	if t.txn.ID != uuid.Nil || t.TransactionID != uuid.Nil {
		t.judgeBooked(&v, say)
	} else {
		t.judgeUnbooked(terms, &v, say)
	}
	return v
}

type sayTransfer = func(class Class, about string, amount ledger.Amount, date ledger.Date, format string, args ...any) string

// judgeBooked compares gross, fee and net of a transfer that a statement has shown.
func (t transferTrace) judgeBooked(v *cardVerdict, say sayTransfer) {
	date := t.SettledOn
	if t.entry != nil {
		date = t.entry.BookingDate
	}
	before := len(v.breaks)
	switch {
	case t.txn.ID == uuid.Nil:
		say(MissingInLedger, "booking", abs(t.Net), date, "a statement has shown it, but the ledger has no entry %s of it; ask who changed the tables", t.TransactionID)
	case t.booked == bookedTransfer{} && t.Gross != 0:
		say(MissingInLedger, "booking", abs(t.Net), date, "its booking was reversed, so that the ledger has nothing of it; book it again: debit safeguarding-account %s and card-fees %s, credit cards-to-settle %s",
			t.money(t.Net), t.money(t.Fee), t.money(t.Gross))
	default:
		t.judgeSums(date, say)
	}
	if t.entry == nil {
		say(MissingOutside, "statement", abs(t.Net), date, "booked, but the statement that showed it is not there any more; ask who changed the tables")
	}
	for _, e := range t.suspects {
		say(Duplicate, "twice/"+place(e), abs(e.Amount), e.BookingDate, "statement %s of %s names it again, with %s, after it was booked; ask the acquirer, and correct from suspense", place(e), e.BookingDate, t.money(e.Amount))
	}
	if before == len(v.breaks) {
		v.matched = append(v.matched, t.matcher())
	}
}

// matcher is by what the movement is the transfer.
func (t transferTrace) matcher() string {
	inside := Item{Side: Inside, Reference: t.PayoutReference, Counterparty: t.Acquirer, Amount: t.Net, Currency: t.Currency}
	outside := inside
	if outside.Side = Outside; !t.NamedBy(*t.entry) {
		outside.Reference = t.entry.Reference
	}
	if inside.Reference == outside.Reference {
		return match([]Matcher{ExactReference()}, []Item{inside, outside})
	}
	return match([]Matcher{AmountDateCounterparty(anyDays)}, []Item{inside, outside})
}

// judgeSums compares what the file says of a transfer with its lines, the ledger and
// the statement.
func (t transferTrace) judgeSums(date ledger.Date, say sayTransfer) {
	item := func(source string, amount ledger.Amount) Item {
		return Item{Side: Inside, Reference: t.PayoutReference, Amount: amount, Currency: t.Currency, Source: source}
	}
	net := []Item{item("the file", t.Net), item("its lines", t.lines.Net), item("the ledger", t.booked.net)}
	if t.entry != nil {
		net = append(net, item("statement "+place(*t.entry), t.entry.Amount))
	}
	for _, of := range []struct {
		name, remedy string
		items        []Item
	}{
		{"gross", "ask the acquirer which one is right, and correct cards-to-settle", []Item{item("the file", t.Gross), item("its lines", t.lines.Gross), item("the ledger", t.booked.gross)}},
		{"fee", "ask the acquirer which one is right, and correct card-fees against cards-to-settle", []Item{item("the file", t.Fee), item("its lines", t.lines.Fee), item("the ledger", t.booked.fee)}},
		{"net", "ask the acquirer which one is right, and correct cards-to-settle", net},
	} {
		if !sameMoney(of.items) {
			say(AmountDiffers, of.name, spread(of.items), date, "%s is not as booked: %s; %s", of.name, sayings(of.items, func(i Item) string { return t.money(i.Amount) }), of.remedy)
		}
	}
}

// judgeUnbooked looks at a transfer that no movement has booked.
func (t transferTrace) judgeUnbooked(terms cardTerms, v *cardVerdict, say sayTransfer) {
	lines := payouts.LineTotal{Lines: t.Lines, Gross: t.Gross, Fee: t.Fee, Net: t.Net}
	if t.lines != lines {
		say(AmountDiffers, "lines", abs(t.Net-t.lines.Net), t.SettledOn, "its %d lines come to %s gross and %s of fees, but it was taken for %d lines, %s and %s; ask who changed the tables",
			t.lines.Lines, t.money(t.lines.Gross), t.money(t.lines.Fee), t.Lines, t.money(t.Gross), t.money(t.Fee))
	}
	for _, e := range t.suspects {
		if e.Amount == t.Net {
			say(MissingInLedger, "late/"+place(e), abs(t.Net), e.BookingDate,
				"statement %s of %s shows it, but in suspense, as the settlement file came after it; correct from suspense to cards-to-settle, and post the fees: debit card-fees, credit cards-to-settle %s",
				place(e), e.BookingDate, t.money(t.Fee))
			continue
		}
		say(AmountDiffers, "net/"+place(e), abs(t.Net-e.Amount), e.BookingDate, "statement %s of %s shows %s of it, its lines come to %s; ask the acquirer, then correct from suspense to cards-to-settle",
			place(e), e.BookingDate, t.money(e.Amount), t.money(t.Net))
	}
	if len(t.suspects) > 0 {
		return
	}
	if t.Net == 0 {
		v.matched = append(v.matched, nothingRemains)
		return
	}
	due := t.SettledOn.AddDays(terms.days)
	class, overdue := terms.overdue(t.SettledOn, terms.days)
	key := ""
	switch {
	case !overdue:
		v.open++
	case class == Late:
		key = say(Late, "statement", abs(t.Net), t.SettledOn, "on no statement, and due by %s; import the statements of these days", due)
	default:
		key = say(MissingOutside, "statement", abs(t.Net), t.SettledOn, "on no statement until %s; import the missing statement, or ask the acquirer for its transfer", terms.asOf)
	}
	v.inside = append(v.inside, Item{Key: key, Reference: t.PayoutReference, Counterparty: t.Acquirer, Amount: t.Net, Currency: t.Currency, Date: t.SettledOn, Source: "transfer " + nameOfTransfer(t.ID())})
}

func (t transferTrace) money(a ledger.Amount) string { return money(a, t.Currency) }
