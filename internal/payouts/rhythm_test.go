package payouts_test

import (
	"context"
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

// goTo sets the clock to a morning in Paris.
func (w *world) goTo(text string) {
	w.t.Helper()
	d := day(w.t, text)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = time.Date(d.Year, d.Month, d.Day, 8, 0, 0, 0, time.UTC)
}

func (w *world) rhythm(code string, rhythm payments.Rhythm, anchor string) {
	w.t.Helper()
	_, err := w.payments.ChangePayee(w.t.Context(), code, payments.PayeeChange{Rhythm: rhythm, Anchor: day(w.t, anchor)}, "anne", "bruno", "contract")
	w.must(err)
}

// dueNow prepares what is due by rhythm, and returns what each payee gets.
func (w *world) dueNow() map[string]ledger.Amount {
	w.t.Helper()
	r, err := w.service.Prepare(w.t.Context(), payouts.PrepareRequest{ByRhythm: true, Actor: "alice"})
	if ledger.CodeOf(err) == ledger.CodeNotFound {
		return nil
	}
	w.must(err)
	got := map[string]ledger.Amount{}
	for _, p := range r.Payouts {
		got[p.PayeeCode] = p.Gross
	}
	return got
}

func TestPrepareByRhythm(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		for code, rhythm := range map[string]payments.Rhythm{"day": payments.Daily, "week": payments.Weekly, "two": payments.Fortnightly, "month": payments.Monthly} {
			w.enrol(code, acfIBAN, 0, 0)
			w.rhythm(code, rhythm, "2026-12-01") // a Tuesday
		}
		give := func(amount ledger.Amount) {
			for _, code := range []string{"day", "week", "two", "month"} {
				w.donate(code, amount)
			}
		}
		wants := func(on string, want map[string]ledger.Amount) {
			t.Helper()
			w.goTo(on)
			got := w.dueNow()
			if len(got) != len(want) {
				t.Errorf("on %s %v is due, want %v", on, got, want)
			}
			for code, amount := range want {
				if got[code] != amount {
					t.Errorf("on %s %s is due %d, want %d", on, code, got[code], amount)
				}
			}
			if again := w.dueNow(); len(again) != 0 {
				t.Errorf("on %s it is due twice: %v", on, again)
			}
		}
		w.goTo("2026-11-23")
		give(1_00)
		wants("2026-11-23", nil) // given today
		wants("2026-11-24", map[string]ledger.Amount{"day": 1_00, "week": 1_00})
		give(2_00)
		wants("2026-12-01", map[string]ledger.Amount{"day": 2_00, "week": 2_00, "two": 3_00, "month": 3_00})
		give(4_00)
		// A day without a run is caught up with, up to the day of the rhythm.
		w.goTo("2026-12-09")
		give(8_00)
		wants("2026-12-10", map[string]ledger.Amount{"day": 12_00, "week": 4_00})
		wants("2026-12-15", map[string]ledger.Amount{"week": 8_00, "two": 12_00})
		wants("2027-01-01", nil)                                            // banks are closed
		wants("2027-01-04", map[string]ledger.Amount{"month": 4_00 + 8_00}) // of 1 December's rhythm nothing was left
	})
}

func TestExecutionDatesAreBusinessDays(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	w.enrol("acf", acfIBAN, 0, 0)
	for on, want := range map[string]string{"2026-12-24": "2026-12-28", "2026-12-31": "2027-01-04", "2027-03-25": "2027-03-30"} {
		w.goTo(on)
		w.donate("acf", 1_00)
		if r := w.prepare(); r.Batch.ExecutionDate != day(t, want) {
			t.Errorf("prepared on %s the bank is to pay on %s, want %s", on, r.Batch.ExecutionDate, want)
		}
	}
	w.donate("acf", 1_00)
	r, err := w.service.Prepare(t.Context(), payouts.PrepareRequest{ExecutionDate: day(t, "2027-05-01"), Actor: "alice"})
	if w.must(err); r.Batch.ExecutionDate != day(t, "2027-05-03") {
		t.Errorf("asked for 1 May, the bank is to pay on %s", r.Batch.ExecutionDate)
	}
}

func TestSchedules(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	w.enrol("acf", acfIBAN, 0, 0)
	w.enrol("msf", msfIBAN, 0, 0)
	w.rhythm("msf", payments.Weekly, "2026-11-27")
	w.enrol("shut", acfIBAN, 0, 0)
	w.must(w.payments.SetPayeeStatus(t.Context(), "shut", payments.Blocked, "staff", "inquiry"))
	get := func(n int, codes ...string) ([]payouts.Schedule, error) {
		var list []payouts.Schedule
		err := w.db.Read(t.Context(), func(ctx context.Context, tx *sqldb.Tx) (err error) {
			list, err = payouts.Schedules(ctx, tx, codes, w.engine.Today(), n)
			return err
		})
		return list, err
	}
	list, err := get(2)
	w.must(err)
	if len(list) != 2 || list[0].Payee.Code != "acf" || list[0].Next[0].On != day(t, "2026-12-01") || list[1].Next[0].On != day(t, "2026-11-27") || len(list[1].Next) != 2 {
		t.Errorf("the schedule is %+v", list)
	}
	if list, err = get(1, "shut"); err != nil || len(list) != 1 {
		t.Errorf("one that is named: %+v, %v", list, err)
	}
	_, err = get(1, "who")
	w.refused(err, ledger.CodeNotFound)
	for _, n := range []int{0, payouts.MaxOccurrences + 1} {
		_, err = get(n)
		w.refused(err, ledger.CodeInvalid)
	}
}

func TestVATOnTheCommission(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.enrol("acf", acfIBAN, 250, 0)
		vat, tiers := 2_000, []payments.CommissionTier{{Above: 100_00, Points: 100}}
		_, err := w.payments.ChangePayee(t.Context(), "acf", payments.PayeeChange{VATPoints: &vat, Tiers: &tiers}, "anne", "bruno", "opted for VAT")
		w.must(err)
		w.donate("acf", 130_01)
		r := w.sent()
		p := r.Payouts[0]
		if p.Commission != 2_80 || p.VAT != 56 || p.Net != 126_65 || r.Batch.VAT != 56 || r.Batch.Net != 126_65 || w.payout(p.EndToEndID).VAT != 56 || w.batch(r.Batch.Reference).VAT != 56 {
			t.Errorf("prepared %+v in %+v", p, r.Batch)
		}
		if p.Remittance != "PO-20261122-0001: 1 don jusqu'au 2026-11-22, commission 2.80 EUR, TVA 0.56 EUR" {
			t.Errorf("the remittance is %q", p.Remittance)
		}
		w.balances(map[string]ledger.Amount{"payable:acf": 0, "payouts-in-transit": 126_65, "commissions": 2_80, "vat-collected": 56})
		w.nextDay()
		w.imported(w.statement(w.paid(p), w.cameBack(p)))
		w.balances(map[string]ledger.Amount{"payable:acf": 130_01, "payouts-in-transit": 0, "commissions": 0, "vat-collected": 0, "safeguarding-account": 0})
		w.confirmed("acf")
		if again := w.prepare(); again.Batch.Gross != 130_01 || again.Batch.VAT != 56 {
			t.Errorf("what came back is gathered as %+v", again.Batch)
		}
		w.verify()
	})
}
