package reconciliation_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/reconciliation"
)

func (w *world) reconcileSafeguarding(from, to ledger.Date) reconciliation.Result {
	w.t.Helper()
	r, err := reconciliation.Safeguarding(w.ctx, w.engine, w.payouts.Config(), reconciliation.SafeguardingParams{From: from, To: to})
	w.must(err)
	return r
}

func (w *world) seal() {
	w.t.Helper()
	lease, got, err := w.engine.AcquireLease(w.ctx, engine.SealerLease, "test", time.Hour)
	w.must(err)
	if !got {
		w.t.Fatal("somebody else seals")
	}
	for {
		sealed, err := w.engine.Seal(w.ctx, lease)
		w.must(err)
		if !sealed.More {
			return
		}
	}
}

// Each day is proved by itself, whether its postings are sealed or wait for it; a day
// on which money is missing, or the bank says otherwise, is a break.
func TestSafeguardingProvesEachDay(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		monday := w.engine.Today()
		cleanPayouts(w) // ends on Tuesday, with 1.50 of commissions on the account
		w.pass(day)
		wednesday := w.engine.Today()
		r := w.reconcileSafeguarding(monday.AddDays(-1), wednesday)
		wantBreaks(t, r)
		if got, want := matches(r), "daily_proof 3, statement_balance 1"; got != want || r.Open != 1 {
			t.Errorf("matches are %q and %d days open, want %q and today", got, r.Open, want)
		}
		wantTotals(t, r, "owed_to_customers 3 1870.00", "on_the_account 3 1871.50", "on_its_way_from_cards 3 0.00", "in_suspense 3 0.00", "cover 3 1.50")

		w.seal()
		w.post("sweep", ledger.Source{}, payments.AccountOwn, payments.AccountSafeguarding, 5_00)
		w.pass(day)
		w.post("back", ledger.Source{}, payments.AccountSafeguarding, payments.AccountOwn, 5_00)
		w.pass(day)
		shortfall := want{reconciliation.Shortfall, "safeguarding " + wednesday.String(), 3_50}
		wantBreaks(t, w.reconcileSafeguarding(monday, wednesday.AddDays(1)), shortfall)

		// What is in suspense covers nothing: it may be somebody's.
		w.seal()
		w.bankSays(payouts.Detail{Amount: 17_00})
		friday := w.engine.Today()
		w.post("strange", ledger.Source{}, payments.AccountSafeguarding, payments.AccountOwn, 1_00)
		w.pass(day)
		r = w.reconcileSafeguarding(monday, friday)
		wantBreaks(t, r, shortfall, want{reconciliation.AmountDiffers, "safeguarding " + friday.String(), 1_00})
		wantTotals(t, r, "owed_to_customers 5 1870.00", "on_the_account 5 1889.50", "on_its_way_from_cards 5 0.00", "in_suspense 5 17.00", "cover 5 2.50")

		// The days of a run begin with what stood before them.
		wantBreaks(t, w.reconcileSafeguarding(wednesday, wednesday), shortfall)
	})
}

// Balances of the proof are those that the ledger has.
func TestProofsAreTheLedgersBalances(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	cleanPayouts(w)
	w.seal()
	w.bankSays(payouts.Detail{Amount: -3_00}, payouts.Detail{Amount: 1_00})
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		list, err := reconciliation.Proofs(ctx, tx, from, w.engine.Today(), ledger.EUR)
		if err != nil {
			return err
		}
		for _, p := range list {
			for code, got := range map[string]ledger.Amount{payments.AccountSafeguarding: p.Bank, payments.AccountCardsToSettle: p.Cards,
				payments.AccountSuspense: p.Unknown, payments.AccountCommissions: p.Commissions} {
				b, err := engine.BalanceAsOf(ctx, tx, ledger.SystemAccountID(code), engine.AsOf{EffectiveDate: p.Date})
				if err != nil {
					return err
				}
				if b.Posted() != got {
					t.Errorf("on %s %s is %d in the proof and %d in the ledger", p.Date, code, got, b.Posted())
				}
			}
		}
		if n := len(list); list[n-1].Unknown != -2_00 {
			t.Errorf("the last proof is %+v", list[n-1])
		}
		_, err = reconciliation.Proofs(ctx, tx, from, from.AddDays(reconciliation.MaxProofDays), ledger.EUR)
		w.wantCode(ledger.CodeLimitExceeded, err)
		return nil
	})
}

// Money that names no payout, and a payout that no statement shows, explain each other
// perhaps; whether they do a person decides.
func TestPayoutsSayWhatMayExplainABreak(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	cleanPayouts(w)
	p := w.payOut("acf", payouts.BatchExported)
	w.pass(day)
	w.bankSays(payouts.Detail{EndToEndID: "NOTPROVIDED", Amount: -p.Net, Counterparty: p.Creditor}, payouts.Detail{Amount: 1_00})
	w.pass(20 * day)
	r := w.reconcilePayouts()
	wantBreaks(t, r, want{reconciliation.MissingOutside, p.EndToEndID, p.Net}, want{reconciliation.UnknownMoney, "2026-002 entry 1.1", p.Net},
		want{reconciliation.UnknownMoney, "2026-002 entry 2.1", 1_00})
	var said []string
	for _, b := range r.Breaks {
		said = append(said, b.Suggestion)
	}
	slices.Sort(said)
	expected := []string{"", "it is payout " + p.EndToEndID + " to acf (amount date counterparty)", "it is statement 2026-002 entry 1.1 (amount date counterparty)"}
	if !slices.Equal(said, expected) {
		t.Errorf("said %q, want %q", said, expected)
	}
}
