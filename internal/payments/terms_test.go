package payments_test

import (
	"context"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

func TestCommission(t *testing.T) {
	tiers := []payments.CommissionTier{{Above: 1_000_00, Points: 100}, {Above: 5_000_00, Points: 33}}
	tests := []struct {
		name       string
		terms      payments.Terms
		gross      ledger.Amount
		commission ledger.Amount
		vat        ledger.Amount
	}{
		{"a share", payments.Terms{Points: 250}, 100_00, 2_50, 0},
		{"half a cent is rounded up", payments.Terms{Points: 5000}, 1, 1, 0},
		{"less is rounded down", payments.Terms{Points: 4999}, 1, 0, 0},
		{"75.025", payments.Terms{Points: 250}, 30_01, 75, 0},
		{"75.5", payments.Terms{Points: 250}, 30_20, 76, 0},
		{"nothing agreed", payments.Terms{}, 100_00, 0, 0},
		{"the minimum alone", payments.Terms{Minimum: 30}, 100_00, 30, 0},
		{"the minimum above the share", payments.Terms{Points: 250, Minimum: 3_00}, 100_00, 3_00, 0},
		{"all of it", payments.Terms{Points: 10_000}, 100_00, 100_00, 0},
		{"no overflow on the way", payments.Terms{Points: 10_000}, 9_000_000_000_000_000_000, 9_000_000_000_000_000_000, 0},
		{"up to the first tier", payments.Terms{Points: 150, Tiers: tiers}, 1_000_00, 15_00, 0},
		{"a cent above it", payments.Terms{Points: 150, Tiers: tiers}, 1_000_01, 15_00, 0},
		{"in the first tier", payments.Terms{Points: 150, Tiers: tiers}, 3_000_00, 35_00, 0},
		{"in the second tier", payments.Terms{Points: 150, Tiers: tiers}, 6_000_50, 15_00 + 40_00 + 3_30, 0},
		{"parts are rounded together", payments.Terms{Points: 50, Tiers: []payments.CommissionTier{{Above: 101, Points: 49}}}, 202, 1, 0}, // 0.505 and 0.4949
		{"VAT on the commission", payments.Terms{Points: 150, VATPoints: 2_000}, 100_00, 1_50, 30},
		{"VAT on the minimum", payments.Terms{Points: 150, Minimum: 2_50, VATPoints: 2_000}, 100_00, 2_50, 50},
		{"VAT of the rounded commission, half up", payments.Terms{Points: 250, VATPoints: 2_000}, 30_01, 75, 15},
		{"a reduced rate, half up", payments.Terms{Minimum: 10, VATPoints: 550}, 30_01, 10, 1}, // 0.55
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if commission, vat := tt.terms.Commission(tt.gross); commission != tt.commission || vat != tt.vat {
				t.Errorf("of %d the commission is %d and the VAT %d, want %d and %d", tt.gross, commission, vat, tt.commission, tt.vat)
			}
		})
	}
}

// TestCommissionIsExact compares with fractions, and makes sure that a larger payout
// never costs less, and that two halves never cost less than the whole.
func TestCommissionIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		terms := payments.Terms{Points: rapid.IntRange(0, 10_000).Draw(t, "points"), VATPoints: rapid.IntRange(0, 3_000).Draw(t, "vat")}
		above, points := ledger.Amount(0), terms.Points
		for range rapid.IntRange(0, payments.MaxTiers).Draw(t, "tiers") {
			if points == 0 {
				break
			}
			above += ledger.Amount(rapid.Int64Range(1, 1<<36).Draw(t, "step"))
			points = rapid.IntRange(0, points-1).Draw(t, "rate")
			terms.Tiers = append(terms.Tiers, payments.CommissionTier{Above: above, Points: points})
		}
		gross := ledger.Amount(rapid.Int64Range(1, 1<<39).Draw(t, "gross"))
		exact := new(big.Rat)
		bounds := append([]payments.CommissionTier{{Points: terms.Points}}, terms.Tiers...)
		for i, b := range bounds {
			top := gross
			if i+1 < len(bounds) {
				top = min(gross, bounds[i+1].Above)
			}
			if top > b.Above {
				exact.Add(exact, big.NewRat(int64(top-b.Above)*int64(b.Points), 10_000))
			}
		}
		commission, vat := terms.Commission(gross)
		if want := halfUp(exact); int64(commission) != want {
			t.Fatalf("commission of %d is %d, want %d", gross, commission, want)
		}
		if want := halfUp(big.NewRat(int64(commission)*int64(terms.VATPoints), 10_000)); int64(vat) != want {
			t.Fatalf("VAT on %d is %d, want %d", commission, vat, want)
		}
		if more, _ := terms.Commission(gross + 1); more < commission {
			t.Fatalf("%d costs %d, and %d only %d", gross, commission, gross+1, more)
		}
	})
}

func halfUp(r *big.Rat) int64 {
	twice := new(big.Rat).Add(r, big.NewRat(1, 2))
	return new(big.Int).Div(twice.Num(), twice.Denom()).Int64()
}

func TestTermsAreChecked(t *testing.T) {
	onCore(t, func(t *testing.T, w *world) {
		tier := func(above ledger.Amount, points int) payments.CommissionTier {
			return payments.CommissionTier{Above: above, Points: points}
		}
		for name, tt := range map[string]struct {
			change payments.NewPayee
			field  string
		}{
			"rate":            {payments.NewPayee{CommissionPoints: 10_001}, "commission_points"},
			"minimum":         {payments.NewPayee{CommissionMinimum: -1}, "commission_minimum"},
			"huge minimum":    {payments.NewPayee{CommissionMinimum: 1 << 50}, "commission_minimum"},
			"VAT":             {payments.NewPayee{VATPoints: -1}, "vat"},
			"tiers not up":    {payments.NewPayee{CommissionPoints: 200, Tiers: []payments.CommissionTier{tier(2, 100), tier(2, 50)}}, "tier"},
			"tier at nothing": {payments.NewPayee{CommissionPoints: 200, Tiers: []payments.CommissionTier{tier(0, 100)}}, "tier"},
			"rates not down":  {payments.NewPayee{CommissionPoints: 200, Tiers: []payments.CommissionTier{tier(1, 200)}}, "tier"},
			"below nothing":   {payments.NewPayee{CommissionPoints: 200, Tiers: []payments.CommissionTier{tier(1, -1)}}, "tier"},
			"too many": {payments.NewPayee{CommissionPoints: 200, Tiers: []payments.CommissionTier{
				tier(1, 9), tier(2, 8), tier(3, 7), tier(4, 6), tier(5, 5), tier(6, 4)}}, "tier"},
			"anchor": {payments.NewPayee{Anchor: ledger.Date{Year: 1, Month: 1, Day: 1}}, "anchor"},
		} {
			n := tt.change
			n.Code, n.Kind, n.Name = "x", payments.Charity, "X"
			_, err := w.ProposePayee(w.ctx, n, "anne", "contract")
			if refusal, ok := errors.AsType[*ledger.Error](err); !ok || refusal.Code != ledger.CodeInvalid || refusal.Field != tt.field {
				t.Errorf("%s: error is %v, want an invalid %s", name, err, tt.field)
			}
		}
	})
}

func (w *world) terms(code string) (list []payments.Terms) {
	w.t.Helper()
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		payee, err := payments.FindPayee(ctx, tx, code)
		if err != nil {
			return err
		}
		all, err := payments.TermsOf(ctx, tx, []uuid.UUID{payee.ID})
		list = all[payee.ID]
		return err
	})
	return list
}

func TestTermsCountFromTheirDay(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		today := w.Engine().Today()
		before := w.terms("acf")
		if len(before) != 1 || before[0].Points != 150 || before[0].ValidFrom != today {
			t.Fatalf("enrolled with %+v", before)
		}
		points, vat, tiers := 120, 2_000, []payments.CommissionTier{{Above: 1_000_00, Points: 80}}
		next := today.AddDays(40)
		change := payments.PayeeChange{CommissionPoints: &points, VATPoints: &vat, Tiers: &tiers, TermsFrom: next}
		if n := w.one("SELECT COUNT(*) FROM accounts WHERE code = 'vat-collected'"); n != 0 {
			t.Error("there is an account for VAT that nobody is charged")
		}
		_, err := w.ChangePayee(w.ctx, "acf", change, "anne", "bruno", "contract of next year")
		must(t, err)
		after := w.terms("acf")
		if len(after) != 2 || after[1].ValidFrom != next || after[1].Minimum != before[0].Minimum || len(after[1].Tiers) != 1 || after[1].Tiers[0] != tiers[0] {
			t.Fatalf("agreed on %+v", after)
		}
		if n := w.one("SELECT COUNT(*) FROM accounts WHERE code = 'vat-collected'"); n != 1 {
			t.Error("there is no account for the VAT")
		}
		for day, want := range map[ledger.Date]int{today: 150, next.AddDays(-1): 150, next: 120, next.AddDays(400): 120} {
			if got := payments.TermsOn(after, day); got.Points != want {
				t.Errorf("on %s the commission is %d, want %d", day, got.Points, want)
			}
		}
		// Another name does not touch them; nor can new ones count before those agreed.
		_, err = w.ChangePayee(w.ctx, "acf", payments.PayeeChange{Name: "ACF"}, "anne", "bruno", "short")
		must(t, err)
		if n := len(w.terms("acf")); n != 2 {
			t.Errorf("another name makes %d terms", n)
		}
		cheaper := 100
		for _, from := range []ledger.Date{today.AddDays(-1), next.AddDays(-1)} {
			_, err = w.ProposePayeeChange(w.ctx, "acf", payments.PayeeChange{CommissionPoints: &cheaper, TermsFrom: from}, "anne", "cheaper")
			if refusal, ok := errors.AsType[*ledger.Error](err); !ok || refusal.Field != "from" {
				t.Errorf("terms from %s: error is %v", from, err)
			}
		}
		p, err := w.ProposePayeeChange(w.ctx, "acf", payments.PayeeChange{CommissionPoints: &cheaper}, "anne", "cheaper")
		if must(t, err); p.New.TermsFrom != next {
			t.Errorf("terms without a day count from %s, want %s", p.New.TermsFrom, next)
		}
		must(t, w.RejectPayee(w.ctx, "acf", p.Number, "anne", "withdrawn"))
		// What is approved late counts from then on, not from the day that it named.
		p, err = w.ProposePayeeChange(w.ctx, "bakery", payments.PayeeChange{CommissionPoints: &cheaper}, "anne", "cheaper")
		must(t, err)
		w.clock.Add(72 * time.Hour)
		_, err = w.ApprovePayee(w.ctx, "bakery", p.Number, "bruno", "checked")
		must(t, err)
		if list := w.terms("bakery"); list[len(list)-1].ValidFrom != today.AddDays(3) {
			t.Errorf("approved three days later the terms count from %s", list[len(list)-1].ValidFrom)
		}
	})
}
