package reports_test

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/reports"
	"tweetledger/reports/render"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var generated = time.Date(2026, 2, 28, 17, 30, 0, 0, time.UTC)

func day(y int, m time.Month, d int) ledger.Date { return ledger.Date{Year: y, Month: m, Day: d} }

// ticking returns a clock that goes on by a second every time it is read.
func ticking(from time.Time) func() time.Time {
	var mu sync.Mutex
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		from = from.Add(time.Second)
		return from
	}
}

func newEngine(t *testing.T, db *sqldb.DB) *engine.Engine {
	t.Helper()
	e := engine.New(db, engine.Options{Clock: ticking(time.Date(2026, 2, 10, 9, 0, 0, 0, time.UTC))})
	t.Cleanup(e.Close)
	return e
}

// openBook opens the accounts that the tests post to.
func openBook(t *testing.T, e *engine.Engine) {
	t.Helper()
	none := ledger.Amount(0)
	for _, a := range []ledger.Account{
		{Code: "cards-to-settle", Name: "Cards to be settled", Category: ledger.CardsToSettle, Side: ledger.Debit},
		{Code: "safeguarding-account", Name: "Safeguarding account", Category: ledger.Safeguarding, Side: ledger.Debit},
		{Code: "card-fees", Name: "Card fees", Category: ledger.CardFees, Side: ledger.Debit},
		{Code: "commissions", Name: "Commissions", Category: ledger.Commissions, Side: ledger.Credit},
		{Code: "payouts-in-transit", Name: "Payouts in transit", Category: ledger.PayoutsInTransit, Side: ledger.Credit},
		{Code: "payable:croix-rouge", Name: "Charity payable", Category: ledger.CharityPayable, Side: ledger.Credit, Shards: 8},
		{Code: "wallet:c-000001", Name: "Customer wallet", Category: ledger.CustomerEMoney, Side: ledger.Credit, Min: &none},
		{Code: "wallet:c-000002", Name: "Customer wallet", Category: ledger.CustomerEMoney, Side: ledger.Credit, Min: &none},
	} {
		a.ID, a.Currency, a.Shards = account(a.Code), ledger.EUR, max(a.Shards, 1)
		if _, err := e.OpenAccount(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.SetChart(t.Context(), chart()); err != nil {
		t.Fatal(err)
	}
}

func chart() []ledger.ChartEntry {
	first, new := day(2014, 1, 1), day(2026, 1, 15)
	return []ledger.ChartEntry{
		{Category: ledger.CardsToSettle, ValidFrom: first, Number: "5115", Label: "Cartes à encaisser"},
		{Category: ledger.Safeguarding, ValidFrom: first, Number: "5121", Label: "Compte de cantonnement"},
		{Category: ledger.CardFees, ValidFrom: first, Number: "6278", Label: "Frais sur cartes"},
		{Category: ledger.Commissions, ValidFrom: first, Number: "7061", Label: "Commissions sur reversements"},
		{Category: ledger.PayoutsInTransit, ValidFrom: first, Number: "4675", Label: "Virements en cours"},
		{Category: ledger.CharityPayable, ValidFrom: first, Number: "4672", Label: "Dons à reverser"},
		{Category: ledger.CharityPayable, ValidFrom: new, Number: "467200", Label: "Dons et paiements à reverser"},
		{Category: ledger.CustomerEMoney, ValidFrom: first, Number: "4671", Label: "Monnaie électronique"},
	}
}

func account(code string) uuid.UUID { return ledger.SystemAccountID(code) }

type move struct {
	debit, credit string
	amount        ledger.Amount
}

func post(t *testing.T, e *engine.Engine, key, journal, label string, on ledger.Date, source ledger.Source, moves ...move) ledger.Transaction {
	t.Helper()
	r := ledger.PostRequest{Key: key, Journal: journal, Label: label, EffectiveDate: on, Source: source}
	for _, m := range moves {
		r.Postings = append(r.Postings, ledger.Posting{Debit: account(m.debit), Credit: account(m.credit), Amount: m.amount, Currency: ledger.EUR})
	}
	made, err := e.Post(t.Context(), r)
	if err != nil {
		t.Fatalf("post %s: %v", key, err)
	}
	return made
}

// smallBook posts a winter of a small service. It returns the transaction that
// was recorded late, for a date long gone.
func smallBook(t *testing.T, e *engine.Engine) ledger.Transaction {
	t.Helper()
	openBook(t, e)
	tweet := func(id string, on ledger.Date) ledger.Source {
		return ledger.Source{Channel: "twitter", ID: id, Date: on}
	}
	post(t, e, "card:1", "CB", "Card top-up", day(2025, 12, 30), ledger.Source{}, move{"cards-to-settle", "wallet:c-000001", 125000})
	post(t, e, "settlement:1", "BQ", "Card settlement", day(2026, 1, 2), ledger.Source{Channel: "bank", ID: "BNP-2026-0001", Date: day(2026, 1, 2)},
		move{"safeguarding-account", "cards-to-settle", 123125}, move{"card-fees", "cards-to-settle", 1875})
	transfer := post(t, e, "twitter:101", "VIR", "Payment by tweet", day(2026, 1, 5), tweet("101", day(2026, 1, 4)), move{"wallet:c-000001", "wallet:c-000002", 2000})
	post(t, e, "twitter:102", "VIR", "Donation by tweet", day(2026, 1, 6), tweet("102", day(2026, 1, 6)), move{"wallet:c-000001", "payable:croix-rouge", 3000})
	post(t, e, "twitter:103", "VIR", "Donation by tweet", day(2026, 1, 16), tweet("103", day(2026, 1, 15)), move{"wallet:c-000001", "payable:croix-rouge", 1})
	post(t, e, "payout:1", "PAY", "Payout prepared", day(2026, 1, 20), ledger.Source{},
		move{"payable:croix-rouge", "payouts-in-transit", 2941}, move{"payable:croix-rouge", "commissions", 60})
	post(t, e, "bank:1", "BQ", "Payout on the bank statement", day(2026, 1, 22), ledger.Source{Channel: "bank", ID: "BNP-2026-0015", Date: day(2026, 1, 22)},
		move{"payouts-in-transit", "safeguarding-account", 2941})
	if _, err := e.Reverse(t.Context(), ledger.ReverseRequest{Key: "reverse:101", TransactionID: transfer.ID, Label: "Payment undone", EffectiveDate: day(2026, 1, 31)}); err != nil {
		t.Fatal(err)
	}
	sealAll(t, e)
	post(t, e, "twitter:104", "VIR", "Donation by tweet", day(2026, 2, 3), tweet("104", day(2026, 2, 3)), move{"wallet:c-000001", "payable:croix-rouge", 1000})
	return post(t, e, "card:2", "CB", "Card top-up, found late", day(2026, 1, 3), ledger.Source{}, move{"cards-to-settle", "wallet:c-000002", 500})
}

// sealAll numbers what was posted so far.
func sealAll(t *testing.T, e *engine.Engine) {
	t.Helper()
	lease, got, err := e.AcquireLease(t.Context(), engine.SealerLease, "test", time.Hour)
	if err != nil || !got {
		t.Fatalf("lease of the sealer: %v, %v", got, err)
	}
	for more := true; more; {
		sealed, err := e.Seal(t.Context(), lease)
		if err != nil {
			t.Fatal(err)
		}
		more = sealed.More
	}
}

// read makes a report in one snapshot.
func read(t *testing.T, db *sqldb.DB, fn func(ctx context.Context, tx *sqldb.Tx) (reports.Table, error)) (reports.Table, error) {
	t.Helper()
	var table reports.Table
	err := db.Read(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		table, err = fn(ctx, tx)
		return err
	})
	return table, err
}

// golden compares a table in every format with the files in testdata.
func golden(t *testing.T, name string, table reports.Table) {
	t.Helper()
	for _, format := range render.Formats() {
		var got bytes.Buffer
		if err := render.Render(&got, format, table); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", name+"."+format)
		if *update {
			if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%v; run the test with -update to write it", err)
		}
		if !bytes.Equal(want, got.Bytes()) {
			t.Errorf("%s differs; got\n%s\nwant\n%s", path, got.Bytes(), want)
		}
	}
}

func fact(t *testing.T, table reports.Table, name string) any {
	t.Helper()
	for _, f := range table.Facts {
		if f.Name == name {
			return f.Value
		}
	}
	t.Fatalf("%s has no fact %s", table.Name, name)
	return nil
}

func eur(minor ledger.Amount) reports.Cash { return reports.Cash{Amount: minor, Currency: ledger.EUR} }
