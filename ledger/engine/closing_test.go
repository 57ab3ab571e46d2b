package engine_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// ledgers is a book with income and expense in two currencies, of 2013 and 2014.
type ledgers struct {
	*world
	income, fees, dollars, dollarCash ledger.Account
}

func newLedgers(t *testing.T, db *sqldb.DB) *ledgers {
	t.Helper()
	w := newWorld(t, db)
	l := &ledgers{world: w,
		income:     w.open(ledger.Account{Code: "income", Category: ledger.Commissions, Side: ledger.Credit, Shards: 2}),
		fees:       w.open(ledger.Account{Code: "fees", Category: ledger.CardFees, Side: ledger.Debit}),
		dollars:    w.open(ledger.Account{Code: "dollars", Category: ledger.CardFees, Side: ledger.Debit, Currency: "USD"}),
		dollarCash: w.open(ledger.Account{Code: "dollar-cash", Category: ledger.OwnAccount, Side: ledger.Debit, Currency: "USD"}),
	}
	var chart []ledger.ChartEntry
	for category, number := range map[ledger.Category]string{ledger.Commissions: "7061", ledger.CardFees: "6278", ledger.OwnAccount: "5122",
		ledger.Safeguarding: "5121", ledger.CustomerEMoney: "4671", ledger.CharityPayable: "4672", ledger.Result: "120", ledger.ResultLoss: "129"} {
		chart = append(chart, ledger.ChartEntry{Category: category, ValidFrom: date(2010, 1, 1), Number: number, Label: "Compte " + number})
	}
	if err := w.SetChart(w.ctx, chart); err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct {
		debit, credit ledger.Account
		amount        ledger.Amount
		on            ledger.Date
	}{
		{w.cash, l.income, 10_000, date(2013, 3, 31)}, {w.cash, w.marie, 5_000, date(2013, 3, 31)},
		{l.fees, w.bank, 4_000, date(2013, 12, 31)}, {l.dollars, l.dollarCash, 700, date(2013, 12, 1)},
		{w.cash, l.income, 300, date(2014, 1, 1)},
	} {
		r := w.transfer(m.debit, m.credit, m.amount)
		r.EffectiveDate = m.on
		w.mustPost(r)
	}
	return l
}

// seal is what seals while a year is closed.
func (l *ledgers) seal(context.Context) error {
	l.sealAll()
	return nil
}

func (l *ledgers) closeMonths(ids ...string) {
	l.t.Helper()
	l.sealAll()
	for _, id := range ids {
		l.mustChange(id, ledger.PeriodSoftClosed)
		l.mustChange(id, ledger.PeriodHardClosed)
	}
}

func (l *ledgers) until(a ledger.Account, d ledger.Date) ledger.Amount {
	l.t.Helper()
	return l.balanceAsOf(a, engine.AsOf{EffectiveDate: d}).Posted()
}

func (l *ledgers) openings(year int) map[string]ledger.Amount {
	l.t.Helper()
	openings := map[string]ledger.Amount{}
	totals := map[ledger.Currency]ledger.Amount{}
	l.read(func(ctx context.Context, tx *sqldb.Tx) error {
		for after := ""; ; { // page by page
			list, err := engine.OpeningBalances(ctx, tx, year, after, 2)
			for _, o := range list {
				openings[o.Code] = o.Amount
				totals[o.Currency] += o.Amount
				after = o.Code
			}
			if err != nil || len(list) < 2 {
				return err
			}
		}
	})
	for currency, total := range totals {
		if total != 0 {
			l.t.Errorf("the opening balances of %d in %s come to %d", year, currency, total)
		}
	}
	return openings
}

// Closing a year brings income and expense to zero, freezes what the next year
// opens with, and closes every month of the year.
func TestFiscalYearCloses(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		l := newLedgers(t, db)
		order := engine.YearClosing{Year: 2013, By: "anne", Reason: "Accounts of 2013", Seal: l.seal}
		_, err := l.CloseFiscalYear(l.ctx, order)
		l.says("months are open", err, ledger.CodeConflict, "2013-03 has postings and is open")
		l.closeMonths("2013-03")
		closed, err := l.CloseFiscalYear(l.ctx, order)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[ledger.Currency]ledger.Amount{"EUR": 6_000, "USD": -700}; !maps.Equal(closed.Result, want) || closed.Entries != 3 || closed.Openings != 6 {
			t.Errorf("closed %+v, want results %v of 3 entries, and 6 openings", closed, want)
		}
		end, next := date(2013, 12, 31), date(2014, 1, 1)
		for _, a := range []ledger.Account{l.income, l.fees, l.dollars} {
			if b := l.until(a, end); b != 0 {
				t.Errorf("%s begins the year at %d", a.Code, b)
			}
		}
		if b := l.until(l.income, next); b != 300 {
			t.Errorf("the income of the new year is %d, want 300", b)
		}
		want := map[string]ledger.Amount{"cash": 15_000, "bank": -4_000, "marie": -5_000, "dollar-cash": -700,
			"result-of-the-year:eur": -6_000, "loss-of-the-year:usd": 700}
		if got := l.openings(2014); !maps.Equal(got, want) {
			t.Errorf("the opening balances are %v, want %v", got, want)
		}
		l.read(func(ctx context.Context, tx *sqldb.Tx) error {
			year, err := l.FiscalYear(2013)
			if err != nil {
				return err
			}
			list, err := l.ListPeriods(ctx, tx, year)
			for _, p := range list {
				if p.Status != ledger.PeriodHardClosed || p.FiscalYear != 2013 {
					t.Errorf("%+v is not hard-closed", p)
				}
			}
			return err
		})
		for _, d := range []ledger.Date{date(2013, 6, 1), end} {
			r := l.on(d)
			r.Adjustment = true
			_, err := l.Post(l.ctx, r)
			l.refused("posting into the year", err, ledger.CodePeriodClosed, "effective_date")
		}
		_, err = l.CloseFiscalYear(l.ctx, order)
		l.says("once more", err, ledger.CodeConflict, "closed already: anne did it at "+l.Now().Format(time.RFC3339))
		l.mustPost(l.on(next))
		l.verify()
	})
}

// Wherever closing a year ends half-way, running it again finishes.
func TestFiscalYearClosesAfterACrash(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		l := newLedgers(t, db)
		l.closeMonths("2013-03")
		order := engine.YearClosing{Year: 2013, By: "anne"}
		// Without a sealer it goes as far as it can, step by step.
		_, err := l.CloseFiscalYear(l.ctx, order)
		l.says("entries to be sealed", err, ledger.CodeConflict, "run: tweetledger seal run")
		if p, _ := l.period("2013-12"); p.Status != ledger.PeriodSoftClosed || l.until(l.income, date(2013, 12, 31)) != 0 {
			t.Errorf("the period is %s, the income stands at %d", p.Status, l.until(l.income, date(2013, 12, 31)))
		}
		// An adjustment comes in meanwhile: the same accounts are closed once more.
		late := l.transfer(l.cash, l.income, 50)
		late.EffectiveDate, late.Adjustment = date(2013, 12, 15), true
		l.mustPost(late)
		// The process dies at each call of its check, which is before each commit.
		died := errors.New("died")
		for dies := 1; ; dies++ {
			calls := 0
			order.Seal, order.Checks = l.seal, []engine.Check{func(context.Context, *sqldb.Tx, ledger.Period) error {
				if calls++; calls == dies {
					return died
				}
				return nil
			}}
			closed, err := l.CloseFiscalYear(l.ctx, order)
			if err == nil {
				if closed.Result["EUR"] != 6_050 || closed.Entries != 4 || dies < 2 {
					t.Errorf("after %d deaths: %+v, want a result of 6050 in 4 entries", dies-1, closed)
				}
				break
			}
			if !errors.Is(err, died) {
				t.Fatal(err)
			}
			if len(l.openings(2014)) != 0 {
				t.Error("a year that is not closed has opening balances")
			}
		}
		if got := l.openings(2014); got["result-of-the-year:eur"] != -6_050 || len(got) != 6 {
			t.Errorf("the opening balances are %v", got)
		}
		l.verify()
	})
}

// A year that is opened again loses its opening balances, and is closed again with
// what was posted since.
func TestFiscalYearClosesAgain(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		l := newLedgers(t, db)
		l.closeMonths("2013-03")
		order := engine.YearClosing{Year: 2013, By: "anne", Seal: l.seal}
		if _, err := l.CloseFiscalYear(l.ctx, order); err != nil {
			t.Fatal(err)
		}
		l.says("a month before the last", l.change("2013-03", ledger.PeriodOpen), ledger.CodeConflict, "2013-12 is hard-closed; open that one first")
		l.clock.Advance(time.Minute)
		l.mustChange("2013-12", ledger.PeriodOpen)
		if got := l.openings(2014); len(got) != 0 {
			t.Errorf("opening balances of a year that was opened again: %v", got)
		}
		late := l.transfer(l.fees, l.bank, 9_000)
		late.EffectiveDate = date(2013, 12, 31)
		l.mustPost(late)
		l.sealAll()
		l.mustChange("2013-12", ledger.PeriodSoftClosed)
		l.says("by the period", l.change("2013-12", ledger.PeriodHardClosed), ledger.CodeConflict, "run: tweetledger year close 2013")
		l.clock.Advance(time.Minute)
		closed, err := l.CloseFiscalYear(l.ctx, order)
		if err != nil {
			t.Fatal(err)
		}
		// The profit became a loss: it stays on the account of its first closing.
		if closed.Result["EUR"] != -3_000 || closed.Entries != 4 {
			t.Errorf("closed again: %+v", closed)
		}
		if got := l.openings(2014); got["result-of-the-year:eur"] != 3_000 || got["bank"] != -13_000 {
			t.Errorf("the opening balances are %v", got)
		}
		l.verify()
	})
}

func TestFiscalYearRefusals(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		l := newLedgers(t, db)
		_, err := l.CloseFiscalYear(l.ctx, engine.YearClosing{Year: 2014, By: "anne", Seal: l.seal})
		l.says("not over", err, ledger.CodeConflict, "2014-12 is not over")
		_, err = l.CloseFiscalYear(l.ctx, engine.YearClosing{Year: 13, By: "anne"})
		l.says("no year", err, ledger.CodeInvalid, "13 is not a fiscal year")
		_, err = l.CloseFiscalYear(l.ctx, engine.YearClosing{Year: 2013})
		l.says("nobody", err, ledger.CodeInvalid, "say who asks for it")
		l.closeMonths("2013-03")
		other := l.open(ledger.Account{Code: "odd", Category: "odd_category", Side: ledger.Debit})
		r := l.transfer(other, l.cash, 5)
		r.EffectiveDate = date(2013, 12, 31)
		l.mustPost(r)
		_, err = l.CloseFiscalYear(l.ctx, engine.YearClosing{Year: 2013, By: "anne", Seal: l.seal})
		l.says("not in the chart", err, ledger.CodeConflict, "odd_category has no number in the chart on 2013-12-31")
		if p, changes := l.period("2013-12"); p.Status != ledger.PeriodOpen || len(changes) != 0 {
			t.Errorf("a year that was not closed has its last period %s, by %v", p.Status, changes)
		}

		// Nor does it change anything where an earlier month is not hard-closed.
		if err := l.SetChart(l.ctx, []ledger.ChartEntry{{Category: other.Category, ValidFrom: date(2010, 1, 1), Number: "4710", Label: "Attente"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := l.ChangePeriod(l.ctx, ledger.PeriodChange{Period: "2013-03", To: ledger.PeriodOpen, By: "anne", ApprovedBy: "bruno", Reason: "x"}); err != nil {
			t.Fatal(err)
		}
		l.mustChange("2013-03", ledger.PeriodSoftClosed)
		_, err = l.CloseFiscalYear(l.ctx, engine.YearClosing{Year: 2013, By: "anne", Seal: l.seal})
		l.says("earlier month", err, ledger.CodeConflict, "2013-03 has postings and is soft-closed; first make it hard-closed")
		if p, _ := l.period("2013-12"); p.Status != ledger.PeriodOpen {
			t.Errorf("a year that was not closed has its last period %s", p.Status)
		}
	})
}

// The result of a year does not come into the next one's, also where its last
// period has no postings and nothing else asks for it to be closed.
func TestFiscalYearsCloseInOrder(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		l := newLedgers(t, db)
		early := l.transfer(l.cash, l.income, 111)
		early.EffectiveDate = date(2012, 3, 1)
		l.mustPost(early)
		l.closeMonths("2012-03")
		l.mustChange("2013-03", ledger.PeriodSoftClosed)
		const first = "first run: tweetledger year close 2012"
		l.says("a month of the next year", l.change("2013-03", ledger.PeriodHardClosed), ledger.CodeConflict, first)
		_, err := l.CloseFiscalYear(l.ctx, engine.YearClosing{Year: 2013, By: "anne", Seal: l.seal})
		l.says("the next year", err, ledger.CodeConflict, first)
		if p, _ := l.period("2013-12"); p.Status != ledger.PeriodOpen {
			t.Errorf("its last period is %s", p.Status)
		}
		closed, err := l.CloseFiscalYear(l.ctx, engine.YearClosing{Year: 2012, By: "anne", Seal: l.seal})
		if err != nil || closed.Result["EUR"] != 111 {
			t.Fatalf("closed %+v, %v", closed, err)
		}
		l.mustChange("2013-03", ledger.PeriodHardClosed)
		closed, err = l.CloseFiscalYear(l.ctx, engine.YearClosing{Year: 2013, By: "anne", Seal: l.seal})
		if err != nil || closed.Result["EUR"] != 6_000 {
			t.Errorf("closed %+v, %v", closed, err)
		}
		l.verify()
	})
}

// A fiscal year may begin in another month than January.
func TestFiscalYearOfAnotherMonth(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		e := engine.New(db, engine.Options{Clock: w.clock.Now, FiscalYearStarts: time.July})
		t.Cleanup(e.Close)
		l := &ledgers{world: w.in(t)}
		l.Engine = e
		l.mustPost(l.on(date(2014, 6, 30)))
		closed, err := l.CloseFiscalYear(l.ctx, engine.YearClosing{Year: 2013, By: "anne", Seal: l.seal})
		l.says("no chart", err, ledger.CodeConflict, "has no number in the chart on 2014-06-30")
		if err := l.SetChart(l.ctx, []ledger.ChartEntry{{Category: w.cash.Category, ValidFrom: date(2010, 1, 1), Number: "5121", Label: "Banque"},
			{Category: w.payee.Category, ValidFrom: date(2010, 1, 1), Number: "4672", Label: "Dons"}}); err != nil {
			t.Fatal(err)
		}
		if closed, err = l.CloseFiscalYear(l.ctx, engine.YearClosing{Year: 2013, By: "anne", Seal: l.seal}); err != nil {
			t.Fatal(err)
		}
		if closed.From != date(2013, 7, 1) || closed.To != date(2014, 6, 30) || closed.Entries != 0 || closed.Openings != 2 {
			t.Errorf("closed %+v", closed)
		}
		if p, _ := l.period("2014-06"); p.Status != ledger.PeriodHardClosed || p.FiscalYear != 2013 {
			t.Errorf("its last period is %+v", p)
		}
		l.verify()
	})
}
