package payouts_test

import (
	"reflect"
	"testing"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

// TestExportLooksAgain: between approval and the first export a payee can be blocked or
// get another account; after it the same file is given again whatever happens.
func TestExportLooksAgain(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		ctx := t.Context()
		w.enrol("acf", acfIBAN, 0, 0)
		address := payments.Address{Street: "rue de Niepce", Building: "14", PostCode: "75014", Town: "Paris", Country: "FR"}
		_, err := w.payments.ChangePayee(ctx, "acf", payments.PayeeChange{Address: &address}, "anne", "bruno", "letterhead")
		w.must(err)
		w.donate("acf", 10_00)
		r := w.prepare()
		_, err = w.service.Approve(ctx, r.Batch.Reference, "bob")
		w.must(err)
		w.changeAccount("acf", msfIBAN, "", "moved")
		_, err = w.service.Export(ctx, r.Batch.Reference, "bob")
		w.refused(err, ledger.CodeConflict)
		w.changeAccount("acf", acfIBAN, "", "moved back")
		w.must(w.payments.SetPayeeStatus(ctx, "acf", payments.Blocked, "staff", "inquiry"))
		_, err = w.service.Export(ctx, r.Batch.Reference, "bob")
		w.refused(err, ledger.CodeConflict)
		w.must(w.payments.SetPayeeStatus(ctx, "acf", payments.Open, "staff", "cleared"))
		file, err := w.service.Export(ctx, r.Batch.Reference, "bob")
		w.must(err)
		if len(file.Transfers) != 1 || file.Transfers[0].Address != address {
			t.Errorf("the file is %+v", file)
		}

		// Nothing is owed any more, but the bank may still send it back.
		w.refused(w.payments.SetPayeeStatus(ctx, "acf", payments.Closed, "staff", "dissolved"), ledger.CodeConflict)
		w.changeAccount("acf", msfIBAN, "", "moved after all")
		elsewhere := payments.Address{Town: "Lyon", Country: "FR"}
		_, err = w.payments.ChangePayee(ctx, "acf", payments.PayeeChange{Address: &elsewhere}, "anne", "bruno", "moved")
		w.must(err)
		again, err := w.service.Export(ctx, r.Batch.Reference, "erin")
		if w.must(err); !reflect.DeepEqual(again, file) {
			t.Errorf("exported again: %+v", again)
		}
		w.nextDay()
		w.imported(w.statement(w.paid(r.Payouts[0])))
		w.must(w.payments.SetPayeeStatus(ctx, "acf", payments.Closed, "staff", "dissolved"))
		w.verify()
	})
}
