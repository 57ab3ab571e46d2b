package reconciliation_test

import (
	"context"
	"encoding/hex"
	"strings"
	"testing"

	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/reconciliation"
)

// What an import refuses because it came before with other content, staff find among the
// breaks, once, until they have dealt with it or the finding is closed.
func TestFindingsOfImportsAreBreaks(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newCardWorld(t, db)
		first := w.statement()
		w.importStatement(first)
		other := first
		other.Opening, other.Closing = other.Opening+1, other.Closing+1
		other.Hash = other.ContentHash()
		l := line(payouts.SettledFee, "", "", -1, 0)
		w.settleAs("one.csv", l)
		for range 2 {
			if _, err := w.payouts.ImportStatement(w.ctx, other, "carol"); ledger.CodeOf(err) != ledger.CodeConflict {
				t.Fatalf("other content: %v", err)
			}
			l.Gross--
			_, err := w.payouts.ImportSettlement(w.ctx, "acq", "one.csv", func(yield func(payouts.SettlementLine, error) bool) {
				changed := l
				changed.Line, changed.Net = 2, l.Gross
				yield(changed, nil)
			}, "carol")
			if ledger.CodeOf(err) != ledger.CodeConflict {
				t.Fatalf("other content: %v", err)
			}
		}
		bank, cards := w.reconcilePayouts(), w.reconcileCards()
		wantBreaks(t, bank, want{reconciliation.OtherContent, "statement 2026-001 (" + hex.EncodeToString(other.Hash[:4]) + ")", 0})
		if len(cards.Breaks) != 2 || cards.Breaks[0].Class != reconciliation.OtherContent || !strings.HasPrefix(cards.Breaks[0].Reference, "settlement one.csv (") ||
			cards.Breaks[0].Date != from.AddDays(4) || cards.Breaks[0].Key == cards.Breaks[1].Key {
			t.Errorf("two other contents of a settlement file are %s", indent(cards))
		}
		if b := bank.Breaks[0]; b.Date != first.ClosingDate || !strings.Contains(b.Message, "with other content") {
			t.Errorf("the break is %+v", b)
		}
		// It is of the day on which the statement closes, and of no other period.
		w.pass(40 * day)
		r, err := reconciliation.Payouts(w.ctx, w.engine, w.payouts, reconciliation.PayoutsParams{From: to.AddDays(1), To: to.AddDays(10)})
		w.must(err)
		if len(r.Breaks) != 0 {
			t.Errorf("in December: %s", indent(r))
		}
		// It is open until a person has explained it, and closes with its finding.
		kept := w.keepPayoutsOf("", from, to)
		if kept.Found != 1 || kept.Open() != 1 {
			t.Fatalf("%d found, %d open", kept.Found, kept.Open())
		}
		open := 0
		w.must(db.Read(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			counts, err := reconciliation.CountOpen(ctx, tx, from, to)
			open = counts[reconciliation.JobPayouts]
			return err
		}))
		if open != 1 {
			t.Errorf("%d breaks keep November open", open)
		}
		w.exec("UPDATE bank_findings SET closed_by = 'letter of the bank', closed_at = $1 WHERE source = 'statement'", w.clock())
		if kept := w.keepPayoutsOf("", from, to); kept.Closed != 1 || len(kept.States) != 0 {
			t.Errorf("when the finding is closed: %d closed, %+v", kept.Closed, kept.States)
		}
	})
}
