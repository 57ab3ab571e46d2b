package banksim_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"tweetledger/adapters/bank"
	"tweetledger/adapters/bank/banksim"
	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// TestPayoutThroughXML sends a batch to the bank and takes its answers in, with
// nothing but XML in between.
func TestPayoutThroughXML(t *testing.T) {
	ctx := t.Context()
	db := sqltest.SQLite(t)
	e := engine.New(db, engine.Options{Clock: func() time.Time { return now }})
	t.Cleanup(e.Close)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	config := payments.DefaultConfig()
	config.Key, config.PageURL = make([]byte, payments.MinKey), "https://pay.example/confirm"
	people, err := payments.New(e, config, nil, payments.Options{})
	must(err)
	must(people.Setup(ctx))
	for code, iban := range map[string]string{"acf": charity.IBAN, "other": other.IBAN} {
		_, err := people.EnrolPayee(ctx, payments.NewPayee{Code: code, Kind: payments.Charity, Name: "Œuvre " + code, IBAN: iban, CommissionPoints: 200}, "anne", "bruno")
		must(err)
		_, err = e.Post(ctx, ledger.PostRequest{Key: "donation:" + code, Journal: ledger.JournalTransfers, Label: "Donation", Postings: []ledger.Posting{{
			Debit: ledger.SystemAccountID(payments.AccountCardsToSettle), Credit: ledger.SystemAccountID(payments.PayableCode(code)), Amount: 100_00, Currency: ledger.EUR}}})
		must(err)
	}
	service, err := payouts.New(e, payouts.Config{Account: holder, Currency: ledger.EUR}, payouts.Options{})
	must(err)

	exchange := func(sequence int64, opening ledger.Amount, returns bool) payouts.ImportResult {
		t.Helper()
		prepared, err := service.Prepare(ctx, payouts.PrepareRequest{Actor: "alice"})
		must(err)
		_, err = service.Approve(ctx, prepared.Batch.Reference, "bob")
		must(err)
		file, err := service.Export(ctx, prepared.Batch.Reference, "bob")
		must(err)
		var pain001 bytes.Buffer
		must(bank.WritePain001(&pain001, file))
		o := banksim.Options{ID: "ST-" + prepared.Batch.Reference, Sequence: sequence, CreatedAt: now, BookingDate: booking, Opening: opening, Batch: true}
		if returns {
			o.Returns = map[string]string{prepared.Payouts[0].EndToEndID: "AC04"}
		}
		content, err := banksim.Statement(&pain001, o)
		must(err)
		validate(t, content)
		statements, err := payouts.CollectStatements(bank.ReadCamt(bytes.NewReader(content), "statement.xml"))
		must(err)
		result, err := service.ImportStatement(ctx, statements[0], "carol")
		must(err)
		again, err := service.ImportStatement(ctx, statements[0], "carol")
		must(err)
		if !again.Already {
			t.Error("the statement was imported twice")
		}
		return result
	}
	if r := exchange(1, 500_00, true); r.Settled != 2 || r.Returned != 1 || len(r.Findings) != 0 {
		t.Errorf("the first exchange gave %+v", r)
	}
	for _, actor := range []string{"anne", "bruno"} {
		_, err := service.ConfirmIBAN(ctx, "acf", actor, "the bank erred")
		must(err)
	}
	if r := exchange(2, 402_00, false); r.Settled != 1 || r.Returned+r.Suspense != 0 || len(r.Findings) != 0 {
		t.Errorf("the second exchange gave %+v", r)
	}
	must(db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		for code, want := range map[string]ledger.Amount{"payable:acf": 0, "payable:other": 0, "payouts-in-transit": 0, "commissions": 4_00, "safeguarding-account": -196_00} {
			b, err := engine.FindBalance(ctx, tx, ledger.SystemAccountID(code))
			if err != nil {
				return err
			}
			if b.Posted() != want {
				t.Errorf("balance of %s is %d, want %d", code, b.Posted(), want)
			}
		}
		return nil
	}))
	report, err := e.Verify(ctx, nil)
	must(err)
	if !report.OK() {
		t.Errorf("the book does not verify: %+v", report.Differences)
	}
}
