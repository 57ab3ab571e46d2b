package reconciliation

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// findings makes breaks of what was found wrong with what the bank or an acquirer has
// sent, while it was imported. Gaps between
// statements are judged by the statements themselves. One that is closed is looked at,
// too: its break closes with it.
func (r *run) findings(ctx context.Context, tx *sqldb.Tx, currency ledger.Currency, loc *time.Location) error {
	about := map[string]bool{} // whether the newest of a name is closed
	f := payouts.FindingFilter{Limit: payoutsPage}
	for {
		page, err := payouts.ListFindings(ctx, tx, f)
		if err != nil {
			return err
		}
		for _, found := range page {
			if jobOf(found.Source) != r.result.Job || found.Kind.OfStatements() {
				continue
			}
			b := breakOf(found, currency)
			about[b.Reference] = !found.ClosedAt.IsZero()
			if about[b.Reference] {
				continue
			}
			if b.Date, err = found.DateOf(ctx, tx, loc); err != nil {
				return err
			}
			if b.Date.Before(r.result.From) || r.result.To.Before(b.Date) {
				continue
			}
			r.inputs.on(b.Date)
			r.inputs.text("finding", string(found.Source), found.Account, found.Statement, string(found.Kind), string(found.ContentHash[:]))
			r.inputs.number(int64(found.Amount))
			r.watch.judged(b.Reference)
			if err := r.addBreak(b); err != nil {
				return err
			}
		}
		if len(page) < payoutsPage {
			break
		}
		f.After = payouts.FindingCursorOf(page[len(page)-1])
	}
	for reference, closed := range about {
		if closed {
			r.watch.judged(reference)
		}
	}
	return nil
}

// jobOf is the job that a finding belongs to.
func jobOf(source payouts.FindingSource) Job {
	if source == payouts.SourceSettlement {
		return JobCards
	}
	return JobPayouts
}

// shownHash is how many bytes of another content tell it apart for people.
const shownHash = 4

// breakOf makes a break of a finding, but for its date.
func breakOf(f payouts.StoredFinding, currency ledger.Currency) Break {
	content := hex.EncodeToString(f.ContentHash[:])
	b := Break{Class: Contradiction, Amount: abs(f.Amount), Currency: currency,
		Reference: fmt.Sprintf("%s %s (%s)", f.Source, f.Statement, content[:2*shownHash]),
		Key:       fmt.Sprintf("%s/%s/%s/%s/%s/%s", jobOf(f.Source), f.Kind, f.Source, f.Account, f.Statement, content)}
	remedy := "find out from the bank which one is right, correct the ledger where it is not, then explain the break"
	if f.Kind == payouts.OtherContent {
		b.Class = OtherContent
		remedy = "the one that came first is what the book has: where the other one holds, correct the differences; then explain the break"
	}
	b.Message = f.Message + "; " + remedy
	return b
}
