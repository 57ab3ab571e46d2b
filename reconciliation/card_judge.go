package reconciliation

import (
	"fmt"
	"strings"

	"github.com/google/uuid"

	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

// cardKinds are the kinds of lines that belong to a charge.
var cardKinds = [...]payouts.SettlementKind{payouts.SettledCharge, payouts.SettledRefund, payouts.SettledChargeback, payouts.SettledChargebackWon}

// cardPairs are the kinds of which one takes back what the other gave.
var cardPairs = [...][2]payouts.SettlementKind{{payouts.SettledCharge, payouts.SettledRefund}, {payouts.SettledChargeback, payouts.SettledChargebackWon}}

// cardVerdict is what is to be said of a charge, or of a transfer.
type cardVerdict struct {
	breaks          []Break
	matched         []string // matchers
	open            int      // what is not there and has still time
	inside, outside []Item   // what is left over on either side
}

func (v *cardVerdict) say(b Break) { v.breaks = append(v.breaks, b) }

// nothingRemains counts what needs no partner: what it gave was taken back before the
// other side heard of it.
const nothingRemains = "nothing_remains"

// judge compares what the ledger says of a charge with the settlement files, kind by
// kind. currency is that of the book.
func (t *chargeTrace) judge(terms cardTerms, currency ledger.Currency) cardVerdict {
	var v cardVerdict
	for _, pair := range cardPairs {
		sides := [...]*cardSides{t.sides(pair[0]), t.sides(pair[1])}
		if t.cancelled(sides[0], sides[1], currency) {
			v.matched = append(v.matched, nothingRemains)
			continue
		}
		for _, s := range sides {
			t.judgeKind(s, terms, currency, &v)
		}
	}
	return v
}

// cardSides are the two sides of a charge for one kind.
type cardSides struct {
	kind            payouts.SettlementKind
	moves           []cardMove
	lines           []payouts.StoredSettlementLine
	booked, settled ledger.Amount
	bookedOn        ledger.Date // the last one
	settledOn       ledger.Date
}

func (t *chargeTrace) sides(kind payouts.SettlementKind) *cardSides {
	s := &cardSides{kind: kind}
	for _, m := range t.moves {
		if m.kind == kind {
			s.moves, s.booked = append(s.moves, m), s.booked+m.amount // a report of what is wrong may not fail on it
			if s.bookedOn.Before(m.date) {
				s.bookedOn = m.date
			}
		}
	}
	for _, l := range t.lines {
		if l.Kind == kind {
			s.lines, s.settled = append(s.lines, l), s.settled+l.Gross
			if s.settledOn.Before(l.SettledOn) {
				s.settledOn = l.SettledOn
			}
		}
	}
	return s
}

func (s *cardSides) empty() bool { return len(s.moves)+len(s.lines) == 0 }

func (s *cardSides) foreign(currency ledger.Currency) (payouts.StoredSettlementLine, bool) {
	for _, l := range s.lines {
		if l.Currency != currency {
			return l, true
		}
	}
	return payouts.StoredSettlementLine{}, false
}

// cancelled reports whether one side alone has both of a pair, and they come to
// nothing: a charge that was refunded before the acquirer settled it, or a dispute that
// was won before it was heard of. What the book does not know at all is not meant.
func (t *chargeTrace) cancelled(given, taken *cardSides, currency ledger.Currency) bool {
	if given.empty() || taken.empty() || (t.charge == nil && len(t.moves) == 0) {
		return false
	}
	for _, s := range []*cardSides{given, taken} {
		if _, other := s.foreign(currency); other {
			return false
		}
	}
	unbooked := given.booked == 0 && taken.booked == 0 && given.settled+taken.settled == 0
	unsettled := len(given.lines)+len(taken.lines) == 0 && given.booked+taken.booked == 0
	return unbooked || unsettled
}

// judgeKind compares both sides of a kind.
func (t *chargeTrace) judgeKind(s *cardSides, terms cardTerms, currency ledger.Currency, v *cardVerdict) {
	if s.empty() {
		return
	}
	b := Break{Reference: t.reference, Currency: currency, Date: s.bookedOn, Amount: abs(s.booked)}
	say := func(class Class, format string, args ...any) string {
		b.Class, b.Key = class, fmt.Sprintf("%s/%s/%s/%s", JobCards, class, s.kind, t.reference)
		b.Message = t.what(s.kind) + ": " + fmt.Sprintf(format, args...)
		v.say(b)
		return boundedKey(b.Key)
	}
	if b.Date.IsZero() {
		b.Date = s.settledOn
	}
	if l, other := s.foreign(currency); other {
		if len(s.moves) > 0 {
			say(AmountDiffers, "currencies differ: %s has %s, the ledger %s; ask the acquirer in which it pays, and correct the ledger", lineName(l), money(l.Gross, l.Currency), money(s.booked, currency))
			return
		}
		b.Amount, b.Currency = abs(l.Gross), l.Currency
		say(UnknownMoney, "%s has %s, which is not the book's currency, and the ledger has nothing of it; ask the acquirer what it is", lineName(l), money(l.Gross, l.Currency))
		return
	}
	switch {
	case len(s.lines) == 0 && s.booked == 0: // posted, and taken back by hand
		v.matched = append(v.matched, nothingRemains)
	case len(s.lines) == 0:
		t.judgeWaiting(s, terms, v, say, b)
	case s.booked == s.settled:
		v.matched = append(v.matched, ExactReference().Name)
	case s.booked == 0:
		b.Amount, b.Date = abs(s.settled), s.settledOn
		key := t.judgeUnbooked(s, currency, say)
		v.outside = append(v.outside, Item{Key: key, Reference: t.reference, Amount: s.settled, Currency: currency, Date: s.settledOn, Source: "the line of " + t.reference})
	default:
		b.Amount, b.Date = abs(s.settled-s.booked), s.settledOn
		if s.once() == s.booked {
			say(Duplicate, "settled more than once (%s), booked once with %s; ask the acquirer to take back what is too much, and do not book it", s.where(currency), money(s.booked, currency))
			return
		}
		say(AmountDiffers, "amounts differ: %s, the ledger %s; ask the acquirer which one is right, and correct the ledger where it is not", s.where(currency), money(s.booked, currency))
	}
}

// judgeWaiting looks at what no settlement file has.
func (t *chargeTrace) judgeWaiting(s *cardSides, terms cardTerms, v *cardVerdict, say func(Class, string, ...any) string, b Break) {
	class, overdue := terms.overdue(s.bookedOn, terms.days)
	key := ""
	switch {
	case !overdue:
		v.open++
	case class == Late:
		key = say(Late, "%s, booked on %s, in no settlement file; it was due by %s: import the acquirer's files of these days", money(s.booked, b.Currency), s.bookedOn, s.bookedOn.AddDays(terms.days))
	case s.kind == payouts.SettledChargeback:
		key = say(MissingOutside, "%s, booked on %s, in no settlement file until %s; import the missing file, or ask the acquirer whether it has taken the money: where it has not, reverse the chargeback", money(s.booked, b.Currency), s.bookedOn, terms.asOf)
	default:
		key = say(MissingOutside, "%s, booked on %s, in no settlement file until %s; import the missing file, or ask the acquirer: what it never paid or took is reversed in the ledger", money(s.booked, b.Currency), s.bookedOn, terms.asOf)
	}
	v.inside = append(v.inside, Item{Key: key, Reference: t.reference, Amount: s.booked, Currency: b.Currency, Date: s.bookedOn, Source: t.what(s.kind)})
}

// judgeUnbooked says what to do about a line of which the ledger has nothing.
func (t *chargeTrace) judgeUnbooked(s *cardSides, currency ledger.Currency, say func(Class, string, ...any) string) string {
	where := s.where(currency)
	switch {
	case t.charge == nil && len(t.moves) == 0:
		return say(UnknownMoney, "%s, and the book knows no such charge; ask the acquirer whose it is: it is not booked to a customer before that is known", where)
	case s.kind == payouts.SettledCharge && t.charge != nil:
		return say(MissingInLedger, "%s, but the charge is %s here and not in the ledger; see what the processor says (\"card show\"), and have it booked or refunded", where, t.charge.State)
	case s.kind == payouts.SettledChargeback:
		return say(MissingInLedger, "%s, but no chargeback is booked; have the processor's news of the dispute come in, or book it: debit the wallet, or what the customer owes, credit cards-to-settle", where)
	case s.kind == payouts.SettledChargebackWon:
		return say(MissingInLedger, "%s, but the ledger has not given it back; have the processor's news of the dispute come in, or book it: debit cards-to-settle, credit the wallet", where)
	case s.kind == payouts.SettledRefund:
		return say(MissingInLedger, "%s, but no refund is booked; have the processor's news come in, or book it: debit the wallet, credit cards-to-settle", where)
	}
	return say(MissingInLedger, "%s, but the ledger has nothing of it; ask the acquirer, and book it: debit cards-to-settle, credit the wallet", where)
}

// once is what the lines come to where one that is there again is counted once.
func (s *cardSides) once() (sum ledger.Amount) {
	seen := map[ledger.Amount]bool{}
	for _, l := range s.lines {
		if !seen[l.Gross] {
			seen[l.Gross] = true
			sum += l.Gross
		}
	}
	return sum
}

// maxLinesNamed bounds the lines that one message names.
const maxLinesNamed = 3

// where names the lines with their amounts.
func (s *cardSides) where(currency ledger.Currency) string {
	var parts []string
	for _, l := range s.lines[:min(len(s.lines), maxLinesNamed)] {
		parts = append(parts, fmt.Sprintf("%s has %s", lineName(l), money(l.Gross, currency)))
	}
	if more := len(s.lines) - len(parts); more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more lines", more))
	}
	return strings.Join(parts, ", ")
}

// lineName names a line of a settlement file for people.
func lineName(l payouts.StoredSettlementLine) string {
	return fmt.Sprintf("%s line %d of %s", ledger.Clip(l.File), l.Line, l.SettledOn)
}

// what names one side of a charge: "refund of pi_17 (topup:app-3)".
func (t *chargeTrace) what(kind payouts.SettlementKind) string {
	name := t.reference
	if t.charge != nil && t.charge.Key != name {
		name += " (" + t.charge.Key + ")"
	}
	switch kind {
	case payouts.SettledCharge:
		return "charge " + name
	case payouts.SettledChargebackWon:
		return "chargeback of " + name + " that was won"
	}
	return string(kind) + " of " + name
}

// judgeNameless makes a break of a line that names no charge.
func (j *cardsJob) judgeNameless(l payouts.StoredSettlementLine) error {
	reference := fmt.Sprintf("%s line %d", l.File, l.Line)
	j.inputs.on(l.SettledOn)
	j.inputs.text("nameless", l.Acquirer, reference, string(l.Kind), string(l.Currency))
	j.inputs.number(int64(l.Gross), int64(l.Fee))
	j.watch.judged(reference)
	b := j.keyed(Break{Class: UnknownMoney, Reference: reference, Amount: abs(l.Gross), Currency: l.Currency, Date: l.SettledOn,
		Key: fmt.Sprintf("%s/%s/%s/%s/%d", JobCards, UnknownMoney, l.Acquirer, l.File, l.Line),
		Message: fmt.Sprintf("%s of %s has a %s of %s that names no charge; ask the acquirer what it is about, and have it fill the columns that the layout reads",
			lineName(l), l.Acquirer, strings.ReplaceAll(string(l.Kind), "_", " "), money(l.Gross, l.Currency))})
	j.charges.addOutside(Item{Key: b.Key, Reference: uuid.Nil.String(), Amount: l.Gross, Currency: l.Currency, Date: l.SettledOn, Source: lineName(l)})
	return j.addBreak(b)
}
