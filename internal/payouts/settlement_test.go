package payouts_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

// settled is a settlement file with the given lines.
func settled(lines ...payouts.SettlementLine) payouts.SettlementSource {
	return func(yield func(payouts.SettlementLine, error) bool) {
		for i, l := range lines {
			l.Line, l.Net = i+2, l.Gross-l.Fee
			if !yield(l, nil) {
				return
			}
		}
	}
}

func (w *world) line(kind payouts.SettlementKind, payout, charge string, gross, fee ledger.Amount) payouts.SettlementLine {
	return payouts.SettlementLine{Kind: kind, ChargeReference: charge, Gross: gross, Fee: fee, Currency: ledger.EUR, SettledOn: w.engine.Today(), PayoutReference: payout}
}

func (w *world) settle(file string, lines ...payouts.SettlementLine) payouts.SettlementResult {
	w.t.Helper()
	r, err := w.service.ImportSettlement(w.t.Context(), "acq", file, settled(lines...), "carol")
	w.must(err)
	return r
}

func (w *world) settlementLines() (list []string) {
	w.t.Helper()
	f := payouts.SettlementLineFilter{Limit: 2}
	for {
		page := read(w, func(ctx context.Context, tx *sqldb.Tx) ([]payouts.StoredSettlementLine, error) {
			return payouts.ListSettlementLines(ctx, tx, f)
		})
		for _, l := range page {
			list = append(list, fmt.Sprintf("%s %s %s:%d %s %d-%d", l.ChargeReference, l.Kind, l.File, l.Line, l.Acquirer, l.Gross, l.Fee))
		}
		if len(page) < f.Limit {
			return list
		}
		f.After = payouts.SettlementLineCursorOf(page[len(page)-1])
	}
}

// TestSettlementIsBooked: the acquirer's transfer pays what the file says, less what
// the acquirer keeps.
func TestSettlementIsBooked(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		charge := func(payout string, gross, fee ledger.Amount) payouts.SettlementLine {
			return w.line(payouts.SettledCharge, payout, "top-up:"+payout, gross, fee)
		}
		r := w.settle("one.csv",
			charge("B1", 100_00, 1_65), w.line(payouts.SettledRefund, "B1", "top-up:0", -20_00, 0), w.line(payouts.SettledFee, "B1", "", -2_00, 0), // 76.35
			charge("B2", 50_00, 75), // 49.25
			w.line(payouts.SettledChargeback, "B3", "top-up:1", -10_00, 20_00), // -30.00
			charge("B4", 50_00, 0), charge("B5", 50_00, 0), charge("", 9_99, 0),
			charge("B6", 70_00, 1_00), w.line(payouts.SettledPayout, "B6", "", -69_00, 0))
		if r.Already || r.Payouts != 6 || r.File.Lines != 10 {
			t.Errorf("the import gave %+v", r)
		}
		with := func(amount ledger.Amount, change func(*payouts.Detail)) payouts.Entry {
			d := payouts.Detail{Amount: amount}
			change(&d)
			return w.entry(d)
		}
		res := w.imported(w.statement(
			with(76_35, func(d *payouts.Detail) { d.Remittance = "ACQ/B1. 23.11" }),
			with(49_25, func(d *payouts.Detail) { d.EndToEndID = "B2" }),
			with(49_25, func(d *payouts.Detail) { d.EndToEndID = "B2" }), // once more
			with(-30_00, func(d *payouts.Detail) { d.Remittance = "B3" }),
			with(50_00, func(d *payouts.Detail) { d.Remittance = "B40" }),                 // another reference
			with(76_34, func(d *payouts.Detail) { d.Remittance = "B1" }),                  // another amount
			with(50_00, func(d *payouts.Detail) { d.Counterparty.Name = "The Acquirer" }), // whose name nobody said
		))
		if res.Cards != 3 || res.Suspense != 4 {
			t.Errorf("%d transfers of the acquirer and %d to suspense: %+v", res.Cards, res.Suspense, res.Findings)
		}
		w.balances(map[string]ledger.Amount{"safeguarding-account": 76_35 + 49_25*2 - 30_00 + 50_00*2 + 76_34, "card-fees": 1_65 + 2_00 + 75 + 20_00,
			"cards-to-settle": -(80_00 + 50_00 - 10_00), "suspense": 49_25 + 50_00*2 + 76_34})
		list := read(w, func(ctx context.Context, tx *sqldb.Tx) ([]payouts.CardPayout, error) {
			first, err := payouts.ListCardPayouts(ctx, tx, payouts.CardPayoutFilter{Acquirer: "acq", Limit: 1})
			if err != nil {
				return nil, err
			}
			rest, err := payouts.ListCardPayouts(ctx, tx, payouts.CardPayoutFilter{After: first[0], Limit: 9})
			return append(first, rest...), err
		})
		var got []string
		for _, p := range list {
			got = append(got, fmt.Sprint(p.PayoutReference, " ", p.Lines, " ", p.Gross, " ", p.Fee, " ", p.Net, " ", p.Entry))
		}
		want := []string{"B1 3 8000 365 7635 1", "B2 1 5000 75 4925 2", "B3 1 -1000 2000 -3000 4", "B4 1 5000 0 5000 0", "B5 1 5000 0 5000 0", "B6 1 7000 100 6900 0"}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("transfers are %q\nwant %q", got, want)
		}
		w.verify()
	})
}

// TestTransferKnownByName: where the bank does not give the reference, amount, days
// and name say which transfer it is, unless two are possible.
func TestTransferKnownByName(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	config := w.service.Config()
	config.Acquirers = []payouts.Acquirer{{Name: "acq", BankName: "Acquirer SA", Days: 2}}
	var err error
	w.service, err = payouts.New(w.engine, config, payouts.Options{})
	w.must(err)
	for _, payout := range []string{"B1", "B2", "B3", "B4"} {
		amount := ledger.Amount(10_00)
		if payout == "B4" {
			amount = 20_00
		}
		w.settle(payout+".csv", w.line(payouts.SettledCharge, payout, "top-up:"+payout, amount, 0))
		if payout == "B1" { // and so its settlement is longer ago than the others'
			w.nextDay()
			w.nextDay()
			w.nextDay()
		}
	}
	named := func(amount ledger.Amount, name string) payouts.Entry {
		return w.entry(payouts.Detail{Amount: amount, Counterparty: payouts.Party{Name: name}})
	}
	if r := w.imported(w.statement(named(20_00, "ACQUIRER SA PARIS"), named(10_00, "ACQUIRER SA PARIS"), named(20_00, "Acquirer SA"))); r.Cards != 1 || r.Suspense != 2 {
		t.Errorf("%d transfers, %d to suspense", r.Cards, r.Suspense)
	}
	e := named(10_00, "somebody")
	e.Details[0].Remittance = "B2"
	if r := w.imported(w.statement(e, named(10_00, "M DUPONT"), named(10_00, "acquirer sa"))); r.Cards != 2 || r.Suspense != 1 {
		t.Errorf("when one of two is known: %d transfers, %d to suspense", r.Cards, r.Suspense)
	}
	if r := w.imported(w.statement(named(10_00, "acquirer sa"))); r.Cards != 0 || r.Suspense != 1 { // B1 was settled three days before
		t.Errorf("too late: %d transfers, %d to suspense", r.Cards, r.Suspense)
	}
	w.verify()
}

func TestSettlementIsImportedOnce(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		many := make([]payouts.SettlementLine, 0, 1500)
		for i := range 1500 {
			many = append(many, w.line(payouts.SettledCharge, "B1", fmt.Sprintf("top-up:%04d", i), 10, 1))
		}
		broken := errors.New("the disk is gone")
		cut := func(yield func(payouts.SettlementLine, error) bool) {
			for l := range settled(many...) {
				if !yield(l, nil) {
					return
				}
			}
			yield(payouts.SettlementLine{}, broken)
		}
		if _, err := w.service.ImportSettlement(t.Context(), "acq", "one.csv", cut, "carol"); !errors.Is(err, broken) {
			t.Errorf("a file that breaks off: %v", err)
		}
		dying, die := context.WithCancel(t.Context())
		gone := func(yield func(payouts.SettlementLine, error) bool) {
			for l := range settled(many...) {
				if !yield(l, nil) {
					return
				}
			}
			die()
		}
		if _, err := w.service.ImportSettlement(dying, "acq", "one.csv", gone, "carol"); err == nil {
			t.Error("an import whose process died succeeded")
		}
		if n := len(w.settlementLines()); n != 0 || w.rows("settlement_lines") == 0 {
			t.Errorf("%d lines are listed of what was not read to its end", n)
		}
		w.nextDay()
		if r := w.settle("one.csv", many...); r.Already || r.File.Lines != 1500 || r.Payouts != 1 {
			t.Errorf("the import gave %+v", r)
		}
		if n := w.rows("settlement_lines"); n != 1500 {
			t.Errorf("%d lines are stored", n)
		}
		for _, name := range []string{"one.csv", "copy.csv"} {
			if r := w.settle(name, many...); !r.Already || r.File.FileID != "one.csv" {
				t.Errorf("%s again gave %+v", name, r)
			}
		}
		other := settled(many[:2]...)
		for range 2 {
			_, err := w.service.ImportSettlement(t.Context(), "acq", "one.csv", other, "carol")
			w.refused(err, ledger.CodeConflict)
		}
		_, err := w.service.ImportSettlement(t.Context(), "acq", "two.csv", other, "carol")
		w.refused(err, ledger.CodeConflict) // the payout was told whole
		if f := w.findings(); len(f) != 1 || f[0].Source != payouts.SourceSettlement || f[0].Account != "acq" || f[0].Statement != "one.csv" {
			t.Errorf("findings are %+v", f)
		}
		if r := w.settle("empty.csv"); r.Already || r.Payouts != 0 {
			t.Errorf("an empty file gave %+v", r)
		}
		if r := w.settle("empty too.csv"); r.Already {
			t.Errorf("another empty file gave %+v", r)
		}
		list := read(w, func(ctx context.Context, tx *sqldb.Tx) ([]payouts.SettlementFile, error) {
			return payouts.ListSettlementFiles(ctx, tx, payouts.SettlementFileFilter{Acquirer: "acq", Limit: 9})
		})
		if len(list) != 3 || w.rows("settlement_lines") != 1500 || w.rows("settlement_files") != 3 {
			t.Errorf("files are %+v; %d lines", list, w.rows("settlement_lines"))
		}
		if n := len(read(w, func(ctx context.Context, tx *sqldb.Tx) ([]payouts.SettlementFile, error) {
			return payouts.ListSettlementFiles(ctx, tx, payouts.SettlementFileFilter{Before: list[0], Limit: 9})
		})); n != 2 {
			t.Errorf("%d files before the newest", n)
		}
	})
}

func TestSettlementIsRefused(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	good := w.line(payouts.SettledCharge, "B1", "top-up:1", 10_00, 1_00)
	crooked := func(yield func(payouts.SettlementLine, error) bool) {
		l := good
		l.Line, l.Net = 2, 8_00
		yield(l, nil)
	}
	for name, tt := range map[string]struct {
		acquirer, file, actor string
		lines                 payouts.SettlementSource
	}{
		"acquirer":   {"Acq!", "f", "carol", settled(good)},
		"file id":    {"acq", "", "carol", settled(good)},
		"nobody":     {"acq", "f", "", settled(good)},
		"crooked":    {"acq", "f", "carol", crooked},
		"wrong date": {"acq", "f", "carol", settled(payouts.SettlementLine{Kind: payouts.SettledCharge, Gross: 1, Currency: ledger.EUR})},
		"payout":     {"acq", "f", "carol", settled(good, w.line(payouts.SettledPayout, "B1", "", -8_99, 0))},
	} {
		if _, err := w.service.ImportSettlement(t.Context(), tt.acquirer, tt.file, tt.lines, tt.actor); ledger.CodeOf(err) != ledger.CodeInvalid {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	_, err := w.service.ImportSettlement(t.Context(), "acq", "f", settled(w.line(payouts.SettledCharge, "B1", "", -1<<62, 1<<62), w.line(payouts.SettledCharge, "B1", "", -1<<63, 1)), "carol")
	w.refused(err, ledger.CodeOverflow)
	if n := w.rows("settlement_files") + w.rows("settlement_lines"); n != 0 {
		t.Errorf("%d rows are left of what was refused", n)
	}
	w.balances(map[string]ledger.Amount{payments.AccountCardsToSettle: 0})
	w.must(w.db.Read(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		for _, err := range []error{second(payouts.ListSettlementFiles(ctx, tx, payouts.SettlementFileFilter{})), second(payouts.ListCardPayouts(ctx, tx, payouts.CardPayoutFilter{})),
			second(payouts.ListSettlementLines(ctx, tx, payouts.SettlementLineFilter{})), second(payouts.ListFindings(ctx, tx, payouts.FindingFilter{}))} {
			w.refused(err, ledger.CodeInvalid)
		}
		return nil
	}))
}
