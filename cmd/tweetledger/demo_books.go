package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"tweetledger/adapters/bank"
	"tweetledger/adapters/bank/banksim"
	"tweetledger/adapters/twitter"
	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/reconciliation"
	"tweetledger/reports"
	"tweetledger/reports/render"
)

func (d *demo) payOut(ctx context.Context) error {
	d.heading("The charity is paid out")
	today := d.payments.Engine().Today()
	prepared, err := d.payouts.Prepare(ctx, payouts.PrepareRequest{Actor: "anne"})
	if err != nil {
		return err
	}
	b := prepared.Batch
	d.says("Anne", "prepares batch %s: %d donations, %s EUR gross, %s commission, %s net",
		b.Reference, prepared.Payouts[0].Donations, b.Gross.Format(b.Currency), b.Commission.Format(b.Currency), b.Net.Format(b.Currency))
	if _, err := d.payouts.Approve(ctx, b.Reference, "anne"); ledger.CodeOf(err) != ledger.CodeForbidden {
		return fmt.Errorf("anne approved her own batch: %v", err) //nolint:errorlint // there may be no error
	}
	d.refused("Anne cannot approve it herself")
	if b, err = d.payouts.Approve(ctx, b.Reference, "bruno"); err != nil {
		return err
	}
	d.says("Bruno", "approves it; the book is posted")
	file, err := d.payouts.Export(ctx, b.Reference, "bruno")
	if err != nil {
		return err
	}
	var pain bytes.Buffer
	if err := bank.WritePain001(&pain, file); err != nil {
		return err
	}
	if err := d.write("payouts.pain001.xml", pain.Bytes()); err != nil {
		return err
	}
	d.ok("exported for the bank as pain.001.001.09")
	camt, err := banksim.Statement(bytes.NewReader(pain.Bytes()), banksim.Options{
		ID: "STMT-0001", Sequence: 1, Account: d.payouts.Config().Account, CreatedAt: d.payments.Engine().Now(),
		BookingDate: today, Opening: settled,
		Extra: []banksim.Extra{{Amount: 17_00, Counterparty: payouts.Party{Name: "M DUPONT", IBAN: "FR7630004000031234567890143"}, Remittance: "COTISATION"}},
	})
	if err != nil {
		return err
	}
	if err := d.write("bank-statement.camt053.xml", camt); err != nil {
		return err
	}
	statements, err := payouts.CollectStatements(bank.ReadCamt(bytes.NewReader(camt), "bank-statement.camt053.xml"))
	if err != nil {
		return err
	}
	for _, st := range statements {
		result, err := d.payouts.ImportStatement(ctx, st, "anne")
		if err != nil {
			return err
		}
		d.says("The bank", "sends statement %s: %d payout settled; 17.00 EUR from M DUPONT go to suspense (planted break 3)",
			st.ID, result.Settled)
		if again, err := d.payouts.ImportStatement(ctx, st, "anne"); err != nil || !again.Already {
			return fmt.Errorf("the statement was booked twice: %w", err)
		}
		d.ok("imported once more by mistake: nothing changes")
	}
	return nil
}

// plantedTweetBreaks and plantedPayoutBreaks are what reconciliation must find:
// these, and no others.
func plantedTweetBreaks() []reconciliation.Class {
	return []reconciliation.Class{reconciliation.Edited, reconciliation.MissingInLedger}
}

func plantedPayoutBreaks() []reconciliation.Class {
	return []reconciliation.Class{reconciliation.UnknownMoney}
}

func (d *demo) reconcile(ctx context.Context) error {
	d.heading("Reconciliation")
	today := d.payments.Engine().Today()
	parser, err := twitter.NewParser(d.settings.parser())
	if err != nil {
		return err
	}
	tweets, err := reconciliation.Tweets(ctx, d.payments, parser, twitter.NewHistory(d.bank, d.settings.Twitter.BankUserID),
		reconciliation.TweetsParams{Channel: twitter.Channel, From: today.AddDays(-1), To: today})
	if err != nil {
		return err
	}
	paid, err := reconciliation.Payouts(ctx, d.payments.Engine(), d.payouts, reconciliation.PayoutsParams{From: today.AddDays(-1), To: today})
	if err != nil {
		return err
	}
	for _, run := range []struct {
		result  reconciliation.Result
		planted []reconciliation.Class
		file    string
	}{{tweets, plantedTweetBreaks(), "reconciliation-tweets.csv"}, {paid, plantedPayoutBreaks(), "reconciliation-payouts.csv"}} {
		matched := 0
		for _, m := range run.result.Matches {
			matched += m.Count
		}
		d.tell("%s: %d matched, %s, %s", run.result.Job, matched, count(len(run.result.Breaks), "break"), count(len(run.result.Notes), "note"))
		for _, b := range run.result.Breaks {
			d.refused("%s: %s", b.Class, b.Message)
		}
		for _, b := range run.result.Notes {
			d.ok("%s: %s", b.Class, b.Message)
		}
		if err := exactly(run.result.Breaks, run.planted); err != nil {
			return err
		}
		if err := d.writeTable(run.file, render.FormatCSV, reconciliationTable(run.result, nil)); err != nil {
			return err
		}
	}
	d.ok("the three breaks that the story has planted, and no other")
	return nil
}

// exactly checks that breaks are of the planted classes, each once.
func exactly(breaks []reconciliation.Break, planted []reconciliation.Class) error {
	left := map[reconciliation.Class]int{}
	for _, class := range planted {
		left[class]++
	}
	for _, b := range breaks {
		left[b.Class]--
	}
	for class, count := range left {
		if count != 0 {
			return fmt.Errorf("reconciliation found %d breaks of class %s too few (negative: too many)", count, class)
		}
	}
	return nil
}

func (d *demo) report(ctx context.Context) error {
	d.heading("Reports")
	today := d.payments.Engine().Today()
	period := reports.Period{GeneratedAt: d.payments.Engine().Now()}
	return d.app.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		trial, err := reports.TrialBalance(ctx, tx, reports.TrialBalanceParams{Period: period})
		if err != nil {
			return err
		}
		journal, err := reports.Journal(ctx, tx, reports.JournalParams{Period: period})
		if err != nil {
			return err
		}
		wallet, err := reports.AccountStatement(ctx, tx, reports.AccountStatementParams{Period: period,
			Account: payments.WalletCode(d.people["marie_test"].customer.Number)})
		if err != nil {
			return err
		}
		donations, err := reports.DonationStatement(ctx, tx, d.payments, reports.DonationStatementParams{
			Payee: charityCode, From: today.AddDays(-1), To: today, GeneratedAt: period.GeneratedAt})
		if err != nil {
			return err
		}
		safeguarding, err := reports.Safeguarding(ctx, tx, reports.SafeguardingParams{From: today, To: today, Currency: ledger.EUR, GeneratedAt: period.GeneratedAt})
		if err != nil {
			return err
		}
		for _, t := range []struct {
			file  string
			table reports.Table
			shown bool
		}{{"trial-balance", trial, true}, {"journal", journal, false}, {"account-marie", wallet, false}, {"donations-acf", donations, true}, {"safeguarding", safeguarding, true}} {
			for _, format := range render.Formats() {
				if err := d.writeTable(t.file+"."+extension(format), format, t.table); err != nil {
					return err
				}
			}
			if t.shown {
				fmt.Fprintln(d.out)
				if err := d.app.show(t.table, render.FormatText, ""); err != nil {
					return err
				}
			}
		}
		d.refused("the safeguarding account lacks what Chloé owes since her chargeback, but for the commission on it: the bank pays it in")
		return nil
	})
}

func extension(format string) string {
	if format == render.FormatText {
		return "txt"
	}
	return format
}

func (d *demo) verify(ctx context.Context) error {
	d.heading("Does the book bear out what it says?")
	book := d.payments.Engine()
	signed, err := d.sealAndSign(ctx, book)
	if err != nil {
		return err
	}
	report, err := book.VerifyBook(ctx, engine.VerifyOptions{Published: signed.List})
	if err != nil {
		return err
	}
	for _, difference := range report.Differences {
		d.refused("%s", difference)
	}
	if !report.OK() {
		return fmt.Errorf("the book does not verify")
	}
	d.ok("recomputed from %d postings and %d holds, and proved against the heads: it verifies", report.Postings, report.Holds)
	return nil
}

// sealAndSign seals the day and signs the heads with a new key, as "seal run",
// "seal keygen" and "seal heads" do.
func (d *demo) sealAndSign(ctx context.Context, book *engine.Engine) (signed ledger.SignedHeads, err error) {
	lease := &heldLease{book: book, name: engine.SealerLease, holder: holder()}
	defer func() { err = errors.Join(err, lease.release(ctx)) }()
	if err := d.app.sealAll(ctx, book, lease); err != nil {
		return signed, err
	}
	key, err := ledger.NewSigningKey(d.app.random)
	if err != nil {
		return signed, err
	}
	err = book.DB().WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		signed, err = book.SignHeads(ctx, tx, "", key)
		return err
	})
	if err != nil {
		return signed, err
	}
	for _, h := range signed.List {
		d.tell("journal %-3s of %d: sealed up to entry %d, link %x…", h.Journal, h.FiscalYear, h.Number, h.Link[:8])
	}
	document, err := signed.Encode()
	if err != nil {
		return signed, err
	}
	if err := d.write("heads.json", document); err != nil {
		return signed, err
	}
	public, err := ledger.EncodePublicKey(signed.PublicKey)
	if err != nil {
		return signed, err
	}
	return signed, d.write("heads.pub", public)
}
