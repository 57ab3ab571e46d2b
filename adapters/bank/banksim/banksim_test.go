package banksim_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tweetledger/adapters/bank"
	"tweetledger/adapters/bank/banksim"
	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

var (
	holder  = payouts.Party{Name: "S-money", IBAN: "FR1420041010050500013M02606"}
	charity = payouts.Party{Name: "Action contre la Faim", IBAN: "FR7630006000011234567890189"}
	other   = payouts.Party{Name: "Other", IBAN: "DE89370400440532013000"}
	booking = ledger.Date{Year: 2026, Month: 11, Day: 23}
	now     = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
)

func pain001(t *testing.T) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	err := bank.WritePain001(&b, payouts.PaymentFile{
		MessageID: "PO-1", CreatedAt: now, ExecutionDate: booking, Currency: ledger.EUR, Debtor: holder,
		Transfers: []payouts.CreditTransfer{
			{EndToEndID: "E1", Amount: 95_00, Creditor: charity, Remittance: "Dons"},
			{EndToEndID: "E2", Amount: 5_50, Creditor: other},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &b
}

// answer makes a statement, checks it against the schema where that is there, and reads it back.
func answer(t *testing.T, file *bytes.Buffer, o banksim.Options) payouts.Statement {
	t.Helper()
	o.ID, o.Sequence, o.CreatedAt, o.BookingDate = "S-1", 7, now, booking
	var content []byte
	var err error
	if file == nil {
		content, err = banksim.Statement(nil, o)
	} else {
		content, err = banksim.Statement(file, o)
	}
	if err != nil {
		t.Fatalf("Statement: %v", err)
	}
	validate(t, content)
	statements, err := payouts.CollectStatements(bank.ReadCamt(bytes.NewReader(content), "s.xml"))
	if err != nil {
		t.Fatalf("ReadCamt: %v\n%s", err, content)
	}
	return statements[0]
}

func validate(t *testing.T, content []byte) {
	t.Helper()
	schema := filepath.FromSlash("../../../../shared/fixtures/iso20022/camt.053.001.08.xsd")
	lint, err := exec.LookPath("xmllint")
	if _, missing := os.Stat(schema); err != nil || missing != nil {
		t.Log("not validated: xmllint or the schema is not here")
		return
	}
	cmd := exec.CommandContext(t.Context(), lint, "--nonet", "--noout", "--schema", schema, "-")
	cmd.Stdin = bytes.NewReader(content)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("xmllint: %v\n%s", err, out)
	}
}

// flat lists the details of a statement, entry by entry.
func flat(s payouts.Statement) [][]payouts.Detail {
	var list [][]payouts.Detail
	for _, e := range s.Entries {
		list = append(list, e.Details)
	}
	return list
}

func TestStatementExecutesAndReturns(t *testing.T) {
	s := answer(t, pain001(t), banksim.Options{
		Opening: 100_00, Returns: map[string]string{"E1": "AC04"},
		Extra: []banksim.Extra{
			{Amount: 30_00, Counterparty: other, Remittance: "Unknown"},
			{Amount: 1_00, EndToEndID: "E0", Counterparty: charity, Reversal: true},
		},
	})
	want := [][]payouts.Detail{
		{{EndToEndID: "E1", Amount: -95_00, Counterparty: charity, Remittance: "Dons"}},
		{{EndToEndID: "E2", Amount: -5_50, Counterparty: other}},
		{{EndToEndID: "E1", Amount: 95_00, Counterparty: charity, Remittance: "Dons", ReturnReason: "AC04"}},
		{{EndToEndID: "NOTPROVIDED", Amount: 30_00, Counterparty: other, Remittance: "Unknown"}},
		{{EndToEndID: "E0", Amount: 1_00, Counterparty: charity}},
	}
	if got := flat(s); !reflect.DeepEqual(got, want) {
		t.Errorf("details are\n%+v, want\n%+v", got, want)
	}
	if s.Opening != 100_00 || s.Closing != 125_50 || s.Sequence != 7 || s.IBAN != holder.IBAN || !s.Entries[4].Reversal {
		t.Errorf("statement is %+v", s)
	}
}

func TestStatementBooksABatch(t *testing.T) {
	s := answer(t, pain001(t), banksim.Options{Batch: true, Returns: map[string]string{"E2": "MS03"}})
	want := [][]payouts.Detail{
		{
			{EndToEndID: "E1", Amount: -95_00, Counterparty: charity, Remittance: "Dons"},
			{EndToEndID: "E2", Amount: -5_50, Counterparty: other},
		},
		{{EndToEndID: "E2", Amount: 5_50, Counterparty: other, ReturnReason: "MS03"}},
	}
	if got := flat(s); !reflect.DeepEqual(got, want) {
		t.Errorf("details are\n%+v, want\n%+v", got, want)
	}
	if s.Closing != -95_00 {
		t.Errorf("closing balance is %d", s.Closing)
	}
}

func TestStatementWithoutPaymentFile(t *testing.T) {
	s := answer(t, nil, banksim.Options{Account: holder, Opening: 1_00,
		Extra: []banksim.Extra{{Amount: 95_00, EndToEndID: "E1", Counterparty: charity, ReturnReason: "AC01"}}})
	if s.Closing != 96_00 || s.Entries[0].Details[0].ReturnReason != "AC01" {
		t.Errorf("statement is %+v", s)
	}
	empty := answer(t, pain001(t), banksim.Options{Unexecuted: map[string]bool{"E1": true, "E2": true}})
	if len(empty.Entries) != 0 || empty.Closing != 0 {
		t.Errorf("a bank that paid nothing says %+v", empty)
	}
}

func TestStatementRefuses(t *testing.T) {
	o := banksim.Options{ID: "S-1", Sequence: 1, CreatedAt: now, BookingDate: booking}
	for name, file := range map[string]string{
		"no XML":       "",
		"other XML":    "<a/>",
		"no transfers": `<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"/>`,
		"other amount": strings.Replace(pain001(t).String(), ">95.00<", ">95.001<", 1),
		"other money":  strings.Replace(pain001(t).String(), `Ccy="EUR"`, `Ccy="USD"`, 1),
	} {
		if _, err := banksim.Statement(strings.NewReader(file), o); ledger.CodeOf(err) != ledger.CodeInvalid {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	o.Account = charity
	_, err := banksim.Statement(pain001(t), o)
	if e, ok := errors.AsType[*ledger.Error](err); !ok || e.Code != ledger.CodeInvalid {
		t.Errorf("a foreign account: error is %v", err)
	}
}

// TestReport: what the simulated bank reports reads as it was told to say it.
func TestReport(t *testing.T) {
	for name, c := range map[string]struct {
		options banksim.ReportOptions
		group   payouts.Status
		said    map[string]payouts.Status
	}{
		"accepted": {banksim.ReportOptions{}, payouts.StatusProfile, map[string]payouts.Status{"E1": payouts.StatusProfile, "E2": payouts.StatusProfile}},
		"partly": {banksim.ReportOptions{Transfers: map[string]banksim.Verdict{"E2": {payouts.StatusRejected, "AC04", "Compte clos"}}}, payouts.StatusPartial,
			map[string]payouts.Status{"E1": payouts.StatusProfile, "E2": payouts.StatusRejected}},
		"rejected": {banksim.ReportOptions{Status: payouts.StatusRejected, Reason: "AM05"}, payouts.StatusRejected, map[string]payouts.Status{}},
		"all of it": {banksim.ReportOptions{Transfers: map[string]banksim.Verdict{"E1": {Status: payouts.StatusCancelled}, "E2": {Status: payouts.StatusRejected}}},
			payouts.StatusRejected, map[string]payouts.Status{"E1": payouts.StatusCancelled, "E2": payouts.StatusRejected}},
	} {
		c.options.ID, c.options.CreatedAt = "RPT-1", now
		content, err := banksim.Report(pain001(t), c.options)
		if err != nil {
			t.Fatal(err)
		}
		said := map[string]payouts.Status{}
		for part, err := range bank.ReadPain002(bytes.NewReader(content), name) {
			switch {
			case err != nil:
				t.Fatalf("%s: %v\n%s", name, err, content)
			case part.Group != nil:
				if g := part.Group; g.Status != c.group || g.MessageID != "RPT-1" || g.OriginalMessage != "PO-1" || g.OriginalCount != 2 || g.OriginalSum != 100_50 ||
					(c.options.Reason != "" && g.Reasons[0].Code != c.options.Reason) {
					t.Errorf("%s: group is %+v", name, g)
				}
			case part.Payment != nil && part.Payment.OriginalPayment != "PO-1":
				t.Errorf("%s: payment information is %+v", name, part.Payment)
			case part.Transaction != nil:
				said[part.Transaction.EndToEndID] = part.Transaction.Status
				if v := c.options.Transfers[part.Transaction.EndToEndID]; v.Reason != "" && part.Transaction.Reasons[0] != (payouts.StatusReason{Code: v.Reason, Info: v.Info}) {
					t.Errorf("%s: reasons are %+v", name, part.Transaction.Reasons)
				}
			}
		}
		if !reflect.DeepEqual(said, c.said) {
			t.Errorf("%s: %v is said, want %v", name, said, c.said)
		}
	}
	if _, err := banksim.Report(strings.NewReader("<a/>"), banksim.ReportOptions{ID: "R"}); ledger.CodeOf(err) != ledger.CodeInvalid {
		t.Errorf("a report on no payment file: %v", err)
	}
}
