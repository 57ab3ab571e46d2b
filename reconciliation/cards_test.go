package reconciliation_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/reconciliation"
)

// cleanCards is a story without a break: charges, a refund, a chargeback and one that was
// won, all settled by two transfers, of which the bank has shown one and the other is not
// late; and a charge of today.
func cleanCards(w *cardWorld) {
	w.t.Helper()
	w.charge("a", 20_00)
	w.charge("b", 30_00)
	w.charge("c", 40_00)
	w.charge("d", 50_00)
	w.charge("gone", 5_00)
	w.refund("gone") // before the acquirer has settled it
	w.pass(2 * day)
	w.settle(line(payouts.SettledCharge, "TR-001", "topup:a", 20_00, 53), line(payouts.SettledCharge, "TR-001", "topup:b", 30_00, 67), line(payouts.SettledFee, "TR-001", "", -1_00, 0))
	w.refund("b")
	w.dispute("c", 40_00, payments.DisputeOpen)
	w.dispute("d", 50_00, payments.DisputeOpen)
	w.pass(day)
	w.dispute("d", 50_00, payments.DisputeWon)
	w.settle(line(payouts.SettledCharge, "TR-002", "topup:c", 40_00, 81), line(payouts.SettledCharge, "TR-002", "topup:d", 50_00, 95), line(payouts.SettledRefund, "TR-002", "topup:b", -30_00, 0),
		line(payouts.SettledChargeback, "TR-002", "topup:c", -40_00, 20_00), line(payouts.SettledChargeback, "TR-002", "topup:d", -50_00, 20_00), line(payouts.SettledChargebackWon, "TR-002", "topup:d", 50_00, -20_00))
	w.bankSays(transferred("TR-001", 20_00-53+30_00-67-1_00))
	w.charge("today", 7_00)
}

func TestCardsOfCleanBookHaveNoBreaks(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		w := newCardWorld(t, db)
		cleanCards(w)
		r := w.reconcileCards()
		wantBreaks(t, r)
		if got, want := matches(r), "exact_reference 10, nothing_remains 1"; got != want {
			t.Errorf("matches are %q, want %q", got, want)
		}
		if r.Open != 2 {
			t.Errorf("%d open, want the charge of today and the transfer", r.Open)
		}
		wantTotals(t, r, "charges 7 2152.00", "refunds 2 -35.00", "chargebacks 2 -90.00", "chargebacks_won 1 50.00", "settled_charges 5 2140.00", "settled_refunds 1 -30.00",
			"settled_chargebacks 2 -90.00", "settled_chargebacks_won 1 50.00", "transfers 2 46.04", "fees 2 23.96", "booked_by_hand 1 -2000.00")
		if again := w.reconcileCards(); indent(again) != indent(r) {
			t.Errorf("the same run gave\n%s\nthen\n%s", indent(r), indent(again))
		}
	})
}

// plantings are kinds of breaks, each with the story that plants it, on charges and
// transfers of its own.
func plantings() map[string]struct {
	plant func(w *cardWorld)
	want  []want
} {
	type planting = struct {
		plant func(w *cardWorld)
		want  []want
	}
	// paid is a transfer of one charge that the bank has shown.
	paid := func(w *cardWorld, name string) {
		w.charge(name, 10_00)
		w.settle(line(payouts.SettledCharge, "TR-"+name, "topup:"+name, 10_00, 10))
		w.bankSays(transferred("TR-"+name, 9_90))
	}
	charge := func(w *cardWorld, name string, lines ...payouts.SettlementLine) {
		w.charge(name, 10_00)
		w.settle(lines...)
	}
	return map[string]planting{
		"a line that nobody asked for": {func(w *cardWorld) { w.settle(line(payouts.SettledCharge, "", "topup:stray", 9_00, 0)) }, []want{{reconciliation.UnknownMoney, "topup:stray", 9_00}}},
		"a line that names nothing": {func(w *cardWorld) {
			w.settleAs("n.csv", line(payouts.SettledCharge, "", "", 9_50, 0))
		}, []want{{reconciliation.UnknownMoney, "n.csv line 2", 9_50}}},
		"another amount": {func(w *cardWorld) {
			charge(w, "amount", line(payouts.SettledCharge, "", "topup:amount", 10_01, 0))
		}, []want{{reconciliation.AmountDiffers, "pi_amount", 1}}},
		"another currency": {func(w *cardWorld) {
			l := line(payouts.SettledCharge, "", "topup:dollar", 10_00, 0)
			l.Currency = "USD"
			charge(w, "dollar", l)
		}, []want{{reconciliation.AmountDiffers, "pi_dollar", 10_00}}},
		"a duplicate line": {func(w *cardWorld) {
			charge(w, "twice", line(payouts.SettledCharge, "", "topup:twice", 10_00, 0), line(payouts.SettledCharge, "", "topup:twice", 10_00, 5))
		}, []want{{reconciliation.Duplicate, "pi_twice", 10_00}}},
		"a duplicate line in another file": {func(w *cardWorld) {
			charge(w, "again", line(payouts.SettledCharge, "", "topup:again", 10_00, 0))
			w.settle(line(payouts.SettledFee, "", "", -1, 0), line(payouts.SettledCharge, "", "topup:again", 10_00, 0))
		}, []want{{reconciliation.Duplicate, "pi_again", 10_00}}},
		"a chargeback that is not booked": {func(w *cardWorld) { w.settle(line(payouts.SettledChargeback, "", "topup:a", -20_00, 20_00)) }, []want{{reconciliation.MissingInLedger, "pi_a", 20_00}}},
		"a refund that is not booked":     {func(w *cardWorld) { w.settle(line(payouts.SettledRefund, "", "topup:d", -50_00, 0)) }, []want{{reconciliation.MissingInLedger, "pi_d", 50_00}}},
		"a charge that is not booked": {func(w *cardWorld) {
			w.acquirer.charges["topup:pending"] = payments.CardStatus{Reference: "pi_pending", Result: payments.CardPending}
			_, err := w.payments.ChargeCard(w.ctx, payments.ChargeRequest{Key: "pending", CustomerNumber: "c-000001", Amount: 10_00, Present: true, Actor: "test"})
			w.must(err)
			w.settle(line(payouts.SettledCharge, "", "topup:pending", 10_00, 0))
		}, []want{{reconciliation.MissingInLedger, "topup:pending", 10_00}}},
		"part of a chargeback": {func(w *cardWorld) {
			charge(w, "part", line(payouts.SettledCharge, "", "topup:part", 10_00, 0), line(payouts.SettledChargeback, "", "topup:part", -6_00, 0))
			w.dispute("part", 10_00, payments.DisputeOpen)
		}, []want{{reconciliation.AmountDiffers, "pi_part", 4_00}}},
		"fees not as booked": {func(w *cardWorld) {
			paid(w, "fees")
			w.exec("UPDATE settlement_lines SET fee = fee + 3, net = net - 3 WHERE charge_reference = 'topup:fees'")
		}, []want{{reconciliation.AmountDiffers, "acq/TR-fees", 3}, {reconciliation.AmountDiffers, "acq/TR-fees", 3}}}, // the fee, and the net
		"a booking that was reversed": {func(w *cardWorld) {
			paid(w, "undone")
			_, err := w.engine.Reverse(w.ctx, ledger.ReverseRequest{Key: "undo", TransactionID: ledger.IDOfKey(payouts.EntryKey(bankIBAN, w.lastStatement(), 1, 1)), Label: "Undone"})
			w.must(err)
		}, []want{{reconciliation.MissingInLedger, "acq/TR-undone", 9_90}}},
		"a transfer that comes to something else": {func(w *cardWorld) {
			charge(w, "other", line(payouts.SettledCharge, "TR-other", "topup:other", 10_00, 10))
			w.bankSays(transferred("TR-other", 9_89))
		}, []want{{reconciliation.AmountDiffers, "acq/TR-other", 1}}},
		"a transfer twice": {func(w *cardWorld) {
			paid(w, "more")
			w.bankSays(transferred("TR-more", 9_90))
		}, []want{{reconciliation.Duplicate, "acq/TR-more", 9_90}}},
		"a file after the statement": {func(w *cardWorld) {
			w.bankSays(transferred("TR-late", 9_90))
			charge(w, "late", line(payouts.SettledCharge, "TR-late", "topup:late", 10_00, 10))
		}, []want{{reconciliation.MissingInLedger, "acq/TR-late", 9_90}}},
	}
}

func (w *cardWorld) lastStatement() string { return fmt.Sprintf("2026-%03d", w.sequence) }

func TestCardsFindEachKindOfBreak(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newCardWorld(t, db)
		cleanCards(w)
		var wanted []want
		all := plantings()
		for _, name := range slices.Sorted(maps.Keys(all)) {
			all[name].plant(w)
			wanted = append(wanted, all[name].want...)
		}
		// An acquirer's money of which no file tells; what is nobody's is for the payouts.
		w.bankSays(payouts.Detail{Amount: 99_00, Counterparty: payouts.Party{Name: "ACQUIRER SA PARIS"}}, payouts.Detail{Amount: 3_00})
		wanted = append(wanted, want{reconciliation.UnknownMoney, w.lastStatement() + " entry 1.1", 99_00})
		wantBreaks(t, w.reconcilePayouts(), want{reconciliation.UnknownMoney, w.lastStatement() + " entry 2.1", 3_00}, want{reconciliation.AmountDiffers, "safeguarding-account", 9_90})
		r := w.reconcileCards()
		wantBreaks(t, r, wanted...)
		for _, b := range r.Breaks {
			t.Log(b.Class, b.Message, b.Suggestion)
		}
	})
}

// A break closes by itself when what was missing comes, whenever that is; one that was
// late and is missing then is another.
func TestCardBreaksCloseThemselves(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newCardWorld(t, db)
		w.charge("x", 10_00)
		w.pass(6 * day)
		if k := w.keepCards(); k.Found != 1 || k.Open() != 1 {
			t.Fatalf("after six days: %+v", k.Outcome)
		}
		w.pass(9 * day)
		if k := w.keepCards(); k.Found != 1 || k.Closed != 1 || k.Open() != 1 {
			t.Fatalf("after two weeks: %d found, %d closed", k.Found, k.Closed)
		}
		w.settle(line(payouts.SettledCharge, "TR-001", "topup:x", 10_00, 10))
		if k := w.keepCards(); k.Found != 1 || k.Closed != 1 { // the transfer is missing now
			t.Fatalf("with the file: %d found, %d closed, %+v", k.Found, k.Closed, k.States)
		}
		w.bankSays(transferred("TR-001", 9_90))
		if k := w.keepCards(); k.Found != 0 || k.Closed != 1 || k.Open() != 0 {
			t.Fatalf("with the statement: %d found, %d closed", k.Found, k.Closed)
		}
	})
}

// A later run of another period closes what has been explained since, and nothing else.
func TestCardBreaksOfOtherPeriods(t *testing.T) {
	w := newCardWorld(t, sqltest.SQLite(t))
	w.charge("x", 10_00)
	w.charge("y", 11_00)
	w.pass(20 * day)
	if k := w.keepCards(); k.Found != 2 {
		t.Fatalf("%d found", k.Found)
	}
	w.settle(line(payouts.SettledCharge, "", "topup:x", 10_00, 10))
	w.pass(60 * day)
	today := w.engine.Today()
	result, kept := w.keepCardsOf(today.AddDays(-5), today)
	wantBreaks(t, result)
	if kept.Closed != 1 {
		t.Errorf("%d closed, want that of x", kept.Closed)
	}
	again, _ := w.keepCardsOf(today.AddDays(-5), today)
	if indent(again) != indent(result) {
		t.Errorf("what is open elsewhere changes the run:\n%s\n%s", indent(result), indent(again))
	}
}

// The same files give the same breaks, in whatever order they and the charges come.
func TestCardsDoNotDependOnTheOrder(t *testing.T) {
	steps := []func(*cardWorld){
		func(w *cardWorld) { w.charge("a", 20_00) },
		func(w *cardWorld) { w.charge("b", 30_00) },
		func(w *cardWorld) { w.charge("c", 40_00) },
		func(w *cardWorld) { w.settleAs("1", line(payouts.SettledCharge, "TR-001", "topup:a", 20_00, 50)) },
		func(w *cardWorld) {
			w.settleAs("2", line(payouts.SettledCharge, "TR-002", "topup:a", 20_00, 50), line(payouts.SettledCharge, "TR-002", "topup:z", 40_00, 0))
		},
		func(w *cardWorld) { w.settleAs("3", line(payouts.SettledCharge, "TR-003", "topup:b", 30_01, 50)) },
		func(w *cardWorld) {
			w.settleAs("4", line(payouts.SettledChargeback, "TR-004", "topup:b", -30_00, 20_00))
		},
	}
	first := ""
	for seed := range uint64(orders) {
		w := newCardWorld(t, sqltest.SQLite(t))
		for _, at := range rand.New(rand.NewPCG(seed, seed)).Perm(len(steps)) { //nolint:gosec // it shuffles
			steps[at](w)
		}
		w.pass(20 * day)
		w.bankSays(transferred("TR-001", 19_50), transferred("TR-003", 29_50))
		r := w.reconcileCards()
		wantBreaks(t, r, want{reconciliation.Duplicate, "pi_a", 20_00}, want{reconciliation.UnknownMoney, "topup:z", 40_00}, want{reconciliation.AmountDiffers, "pi_b", 1},
			want{reconciliation.MissingInLedger, "pi_b", 30_00}, want{reconciliation.MissingOutside, "pi_c", 40_00}, want{reconciliation.MissingOutside, "acq/TR-002", 59_50},
			want{reconciliation.MissingOutside, "acq/TR-004", 50_00}, want{reconciliation.AmountDiffers, "acq/TR-003", 1})
		for _, b := range r.Breaks {
			if perhaps := b.Suggestion != ""; perhaps != (b.Reference == "topup:z" || b.Reference == "pi_c") {
				t.Errorf("%s: perhaps %q", b.Message, b.Suggestion)
			}
		}
		told := indent(r)
		if seed == 0 {
			_, first, _ = strings.Cut(told, `"Matches"`)
		}
		if !strings.HasSuffix(told, first) {
			t.Fatalf("order %d gave\n%s\nnot\n%s", seed, told, first)
		}
	}
}

// orders is in how many orders things come.
const orders = 6
