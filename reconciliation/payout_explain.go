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

// unexplained are the two sides of what is left over: payouts that no statement shows,
// and movements that no payout explains. There are no more of them than breaks.
type unexplained struct{ payouts, movements []Item }

// waits notes a payout that is on no statement yet.
func (j *payoutsJob) waits(t trace, batch payouts.Batch) {
	if len(j.left.payouts) == MaxBreaks {
		return // nobody works through as many
	}
	j.left.payouts = append(j.left.payouts, Item{Key: j.keyed(Break{Class: MissingOutside, Reference: t.EndToEndID}).Key, Reference: t.EndToEndID, Batch: batch.MessageID,
		Counterparty: t.Creditor.IBAN, Amount: -t.Net, Currency: t.Currency, Date: batch.ExecutionDate, Source: fmt.Sprintf("payout %s to %s", t.EndToEndID, t.PayeeCode)})
}

// unknown notes a movement that no payout explains.
func (j *payoutsJob) unknown(e payouts.StoredEntry, key string) {
	reference := e.MessageID
	if reference == "" {
		reference = e.Reference
	}
	j.left.movements = append(j.left.movements, Item{Key: key, Reference: reference, Counterparty: e.Counterparty.IBAN, Amount: e.Amount, Currency: j.config.Currency,
		Date: e.BookingDate, Source: "statement " + place(e)})
}

// explain looks for what may explain each other among what is left over, and says so
// with the breaks. It settles nothing: that a payout was paid by a movement which does
// not name it, a person must decide.
func (j *payoutsJob) explain(ctx context.Context) error {
	if len(j.left.payouts) == 0 || len(j.left.movements) == 0 {
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
	within := j.params.SettlementDays
	p := Pipeline{Spill: j.params.Spill, Matchers: []Matcher{BatchReference(), AmountDateCounterparty(within), WithinTolerance(bankCharge, within), Suggested(within)}}
	_, err := p.Run(ctx, items(j.left.payouts), items(j.left.movements), Sink{
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
	for i := range j.result.Breaks {
		j.result.Breaks[i].Suggestion = perhaps[j.result.Breaks[i].Key]
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
