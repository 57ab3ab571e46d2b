package reconciliation

import (
	"context"
	"fmt"
	"strings"

	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

// bankCharge is the most, in minor units, that a bank on the way may have taken from a
// transfer. In the single euro area none takes any (PSD2 art. 81); abroad they do.
const bankCharge ledger.Amount = 25_00

// leftOver are the two sides of what is left over: what nothing outside shows, payouts
// for one, and what nothing inside explains, movements on the account for one. Each has
// the key of its break. There are no more of them than breaks.
type leftOver struct{ inside, outside []Item }

func (l *leftOver) addInside(i Item) {
	if len(l.inside) < MaxBreaks { // nobody works through as many
		l.inside = append(l.inside, i)
	}
}

func (l *leftOver) addOutside(i Item) {
	if len(l.outside) < MaxBreaks {
		l.outside = append(l.outside, i)
	}
}

// waits notes a payout that is on no statement yet.
func (j *payoutsJob) waits(t trace, batch payouts.Batch) {
	j.left.addInside(Item{Key: j.keyed(Break{Class: MissingOutside, Reference: t.EndToEndID}).Key, Reference: t.EndToEndID, Batch: batch.MessageID,
		Counterparty: t.Creditor.IBAN, Amount: -t.Net, Currency: t.Currency, Date: batch.ExecutionDate, Source: fmt.Sprintf("payout %s to %s", t.EndToEndID, t.PayeeCode)})
}

// unknown notes a movement that no payout explains.
func (j *payoutsJob) unknown(e payouts.StoredEntry, key string) {
	reference := e.MessageID
	if reference == "" {
		reference = e.Reference
	}
	j.left.addOutside(Item{Key: key, Reference: reference, Counterparty: e.Counterparty.IBAN, Amount: e.Amount, Currency: j.config.Currency,
		Date: e.BookingDate, Source: "statement " + place(e)})
}

// explain looks for what may explain each other among payouts and movements.
func (j *payoutsJob) explain(ctx context.Context) error {
	within := j.params.SettlementDays
	return j.perhaps(ctx, Pipeline{Spill: j.params.Spill, Matchers: []Matcher{BatchReference(), AmountDateCounterparty(within), WithinTolerance(bankCharge, within), Suggested(within)}}, j.left)
}

// perhaps looks for what may explain each other among what is left over, and says so
// with the breaks. It settles nothing: that a payout was paid by a movement which does
// not name it, a person must decide.
func (r *run) perhaps(ctx context.Context, p Pipeline, left leftOver) error {
	if len(left.inside) == 0 || len(left.outside) == 0 {
		return nil
	}
	perhaps := map[string]string{} // by the break's key
	note := func(matcher string, inside, outside []Item) {
		how := " (" + strings.ReplaceAll(matcher, "_", " ") + ")"
		for _, item := range inside {
			perhaps[item.Key] = "it is " + named(outside) + how
		}
		for _, item := range outside {
			perhaps[item.Key] = "it is " + named(inside) + how
		}
	}
	_, err := p.Run(ctx, items(left.inside), items(left.outside), Sink{
		Matched: func(matcher string, inside, outside []Item) error {
			note(matcher, inside, outside)
			return nil
		},
		Suggested: func(matcher string, inside, outside Item) error {
			note(matcher, []Item{inside}, []Item{outside})
			return nil
		},
	})
	if err != nil {
		return fmt.Errorf("look for what explains breaks: %w", err)
	}
	for i := range r.result.Breaks {
		if b := &r.result.Breaks[i]; perhaps[b.Key] != "" {
			b.Suggestion = perhaps[b.Key]
		}
	}
	return nil
}

// named names items, the first ones of many.
func named(list []Item) string {
	var names []string
	for _, item := range list[:min(len(list), 3)] {
		names = append(names, item.Source)
	}
	if more := len(list) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

func items(list []Item) func(yield func(Item, error) bool) {
	return func(yield func(Item, error) bool) {
		for _, item := range list {
			if !yield(item, nil) {
				return
			}
		}
	}
}
