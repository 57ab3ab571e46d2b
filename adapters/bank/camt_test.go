package bank

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

func sample(t testing.TB, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func collect(r io.Reader, name string) ([]payouts.Statement, error) {
	return payouts.CollectStatements(ReadCamt(r, name))
}

func readOne(t *testing.T, name, content string) payouts.Statement {
	t.Helper()
	statements, err := collect(strings.NewReader(content), name)
	if err != nil {
		t.Fatal(err)
	}
	if len(statements) != 1 {
		t.Fatalf("%d statements, want 1", len(statements))
	}
	return statements[0]
}

func day(d int) ledger.Date { return ledger.Date{Year: 2026, Month: 11, Day: d} }

func TestReadCamtVersion2(t *testing.T) {
	got := readOne(t, "v2.xml", sample(t, "camt.053.001.02.xml"))
	charity := payouts.Party{Name: "Action contre la Faim", IBAN: "FR7630006000011234567890189", BIC: "AGRIFRPP"}
	want := payouts.Statement{
		ID: "2026-11-23/1", Sequence: 227, IBAN: "FR1420041010050500013M02606", Currency: "EUR",
		OpeningDate: day(20), Opening: 5000_00, ClosingDate: day(23), Closing: 3780_44,
		Entries: []payouts.Entry{
			{Reference: "REF-1", Amount: -1329_56, BookingDate: day(23), ValueDate: day(24), Line: 13, Details: []payouts.Detail{
				{EndToEndID: "PO-20261122-0001-9f3c2a1b-00001", MessageID: "PO-20261122-0001-9f3c2a1b", Amount: -95_00,
					Counterparty: charity, Remittance: "Dons du 01/11 au 22/11"},
				{EndToEndID: "PO-20261122-0001-9f3c2a1b-00002", MessageID: "PO-20261122-0001-9f3c2a1b", Amount: -1234_56},
			}},
			{Amount: 95_00, BookingDate: day(23), ValueDate: day(23), Line: 41, Details: []payouts.Detail{
				{EndToEndID: "PO-20261122-0001-9f3c2a1b-00001", Amount: 95_00, Counterparty: payouts.Party{Name: charity.Name},
					Remittance: "RF18539007547034", ReturnReason: "AC04"},
			}},
			{Amount: 15_00, Reversal: true, BookingDate: day(23), ValueDate: day(23), Line: 54, Details: []payouts.Detail{{Amount: 15_00}}},
		},
	}
	want.Hash = want.ContentHash()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("statement is\n%+v, want\n%+v", got, want)
	}
}

func TestReadCamtVersion8(t *testing.T) {
	got := readOne(t, "v8.xml", sample(t, "camt.053.001.08.xml"))
	want := payouts.Statement{
		ID: "2026-11-24/1", Sequence: 228, IBAN: "FR1420041010050500013M02606", Currency: "EUR",
		OpeningDate: day(24), Opening: -5_00, ClosingDate: day(24), Closing: 7_50,
		Entries: []payouts.Entry{
			{Reference: "REF-2", Amount: 12_50, BookingDate: day(24), ValueDate: day(24), Line: 11, Details: []payouts.Detail{
				{EndToEndID: "NOTPROVIDED", Amount: 12_50,
					Counterparty: payouts.Party{Name: "Loïc Dépont", IBAN: "DE89370400440532013000", BIC: "COBADEFFXXX"}},
			}},
		},
	}
	want.Hash = want.ContentHash()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("statement is\n%+v, want\n%+v", got, want)
	}
}

func TestReadCamtHashIsOfTheContent(t *testing.T) {
	content := sample(t, "camt.053.001.02.xml")
	first := readOne(t, "a.xml", content)
	respaced := readOne(t, "b.xml", "\ufeff"+strings.ReplaceAll(content, ">\n", ">\n\n  <!-- a comment -->"))
	if first.Hash != respaced.Hash {
		t.Error("white space changed the hash")
	}
	changed := readOne(t, "c.xml", strings.Replace(content, "<Ustrd>au 22/11", "<Ustrd>au 23/11", 1))
	if first.Hash == changed.Hash {
		t.Error("another remittance has the same hash")
	}
}

func TestReadCamtRefuses(t *testing.T) {
	v2, v8 := sample(t, "camt.053.001.02.xml"), sample(t, "camt.053.001.08.xml")
	replaced := func(from, old, new string) string {
		t.Helper()
		if !strings.Contains(from, old) {
			t.Fatalf("the sample has no %q", old)
		}
		return strings.Replace(from, old, new, 1)
	}
	tests := []struct{ name, content, place, message string }{
		{"empty", "", "f.xml, line 1", "holds no XML"},
		{"not XML", "date;amount", "f.xml, line 1", "does not start with XML"},
		{"truncated", v2[:len(v2)/2], "f.xml, line 26, Document/BkToCstmrStmt/Stmt/Ntry", "ends in the middle"},
		{"not well-formed", replaced(v2, "</Refs>", "</Ref>"), "f.xml, line 21", "not well-formed"},
		{"other message", replaced(v2, "camt.053.001.02", "camt.052.001.02"), "f.xml, line 2", "camt.052.001.02"},
		{"other version", replaced(v2, "camt.053.001.02", "camt.053.001.04"), "f.xml, line 2", "camt.053.001.04"},
		{"other root", "<html></html>", "f.xml, line 1, html", "not an ISO 20022"},
		{"document type", `<!DOCTYPE a [<!ENTITY b "c">]>` + v2, "f.xml, line 1", "document type"},
		{"entity", replaced(v2, "S-money", "&b;"), "f.xml, line 24", "not well-formed"},
		{"encoding", replaced(v2, "UTF-8", "EBCDIC"), "f.xml, line 1", "convert the file to UTF-8"},
		{"after the end", v2 + "<more/>", "f.xml, line", "follows the end"},
		{"no statement", `<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.02"><BkToCstmrStmt/></Document>`, "f.xml, line 1", "no statement"},
		{"does not add up", replaced(v2, "3780.44", "3780.45"), "Document/BkToCstmrStmt/Stmt", "does not add up"},
		{"details do not add up", replaced(v2, ">1234.56<", ">1234.57<"), "line 13, Document/BkToCstmrStmt/Stmt/Ntry", "details add up to -1329.57"},
		{"batch detail without amount", replaced(v2, "<AmtDtls><TxAmt><Amt Ccy=\"EUR\">1234.56</Amt></TxAmt></AmtDtls>", ""), "line 31", "no amount in EUR"},
		{"no opening", replaced(v2, ">PRCD<", ">OPAV<"), "Stmt", "no opening balance"},
		{"no closing", replaced(v2, ">CLBD<", ">FWAV<"), "Stmt", "no closing balance"},
		{"two closings", replaced(v2, ">CLAV<", ">CLBD<"), "line 12", "is in CHF"},
		{"closing twice", replaced(replaced(v2, ">CLAV<", ">CLBD<"), `"CHF"`, `"EUR"`), "line 12", "twice"},
		{"balance in other currency", replaced(v2, `<Amt Ccy="EUR">3780`, `<Amt Ccy="SEK">3780`), "line 11", "is in SEK, but the account is in EUR"},
		{"entry in other currency", replaced(v2, `<Amt Ccy="EUR">1329`, `<Amt Ccy="SEK">1329`), "line 14", "is in SEK"},
		{"detail in other currency", replaced(v8, `<Amt Ccy="EUR">12.50</Amt><CdtDbtInd>CRDT</CdtDbtInd>
            <RltdPties>`, `<Amt Ccy="SEK">12.50</Amt><CdtDbtInd>CRDT</CdtDbtInd>
            <RltdPties>`), "line 19", "is in SEK"},
		{"unknown currency", replaced(v2, "<Ccy>EUR", "<Ccy>XYZ"), "line 9, Document/BkToCstmrStmt/Stmt/Acct", "ISO 4217"},
		{"no currency", replaced(v2, `<Amt Ccy="EUR">1329`, `<Amt>1329`), "line 14", "ISO 4217"},
		{"too many decimals", replaced(v2, "1329.56", "1329.561"), "line 14", "more than the 2 decimals"},
		{"signed amount", replaced(v2, "1329.56", "-1329.56"), "line 14", "CdtDbtInd"},
		{"exponent", replaced(v2, "1329.56", "1e3"), "line 14", "not an amount"},
		{"huge amount", replaced(v2, "1329.56", "99999999999999999999.00"), "line 14", "64 bits"},
		{"no sign", replaced(v2, `1329.56</Amt><CdtDbtInd>DBIT</CdtDbtInd>`, `1329.56</Amt>`), "line 13", "lacks"},
		{"wrong sign", replaced(v2, `1329.56</Amt><CdtDbtInd>DBIT`, `1329.56</Amt><CdtDbtInd>DEBT`), "line 14", "neither CRDT nor DBIT"},
		{"no state", replaced(v2, "DBIT</CdtDbtInd><Sts>BOOK</Sts>", "DBIT</CdtDbtInd>"), "line 13", "booked (Sts)"},
		{"unknown state", replaced(v2, "DBIT</CdtDbtInd><Sts>BOOK", "DBIT</CdtDbtInd><Sts>BOOX"), "line 13", "BOOX"},
		{"version 8 state in version 2", replaced(v2, "<Sts>BOOK</Sts>", "<Sts><Cd>BOOK</Cd></Sts>"), "line 14", "element <Cd>"},
		{"version 2 state in version 8", replaced(v8, "<Sts><Cd>BOOK</Cd></Sts>", "<Sts>BOOK</Sts>"), "line 12", "text where only elements"},
		{"no booking date", replaced(v2, "<BookgDt><Dt>2026-11-23</Dt></BookgDt><ValDt>", "<ValDt>"), "line 13", "no booking date"},
		{"impossible date", replaced(v2, "<BookgDt><Dt>2026-11-23", "<BookgDt><Dt>2026-02-30"), "line 15", "not a date"},
		{"wrong IBAN", replaced(v2, "FR1420041010050500013M02606", "FR1420041010050500013M02607"), "line 9", "check digits"},
		{"no IBAN", replaced(v2, "<IBAN>FR1420041010050500013M02606</IBAN>", "<Othr><Id>1</Id></Othr>"), "line 9", "no IBAN"},
		{"no account", replaced(v2, "<Acct><Id><IBAN>FR1420041010050500013M02606</IBAN></Id><Ccy>EUR</Ccy></Acct>", ""), "Stmt", "names no account"},
		{"no id", replaced(v2, "<Id>2026-11-23/1</Id>", ""), "Stmt", "no <Id>"},
		{"long id", replaced(v2, "2026-11-23/1", strings.Repeat("9", 36)), "line 6", "at most 35"},
		{"sequence", replaced(v2, ">227<", ">22x<"), "line 7", "not a sequence number"},
		{"boolean", replaced(v2, "<RvslInd>true", "<RvslInd>maybe"), "line 55", "neither true nor false"},
		{"giant text", replaced(v2, "S-money", strings.Repeat("x", 1<<20)), "line 24", "longer than"},
		{"deep", replaced(v2, "<GrpHdr>", "<GrpHdr>"+strings.Repeat("<a>", 100)), "line 4", "nested more than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			statements, err := collect(strings.NewReader(tt.content), "f.xml")
			refusal, ok := errors.AsType[*ledger.Error](err)
			if !ok || refusal.Code != ledger.CodeInvalid || statements != nil {
				t.Fatalf("got %d statements and error %v, want an invalid file", len(statements), err)
			}
			if !strings.HasPrefix(refusal.Field, "f.xml, line ") || !strings.Contains(refusal.Field, tt.place) {
				t.Errorf("the place is %q, want it to have %q", refusal.Field, tt.place)
			}
			if !strings.Contains(refusal.Message, tt.message) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the message is %q, want one line with %q", refusal.Message, tt.message)
			}
		})
	}
}

// TestReadCamtSummaries: what the bank says its entries come to must be so.
func TestReadCamtSummaries(t *testing.T) {
	const entries = "      <Ntry>\n        <Amt Ccy=\"EUR\">1329.56"
	content := sample(t, "camt.053.001.02.xml") // credits 95.00 + 15.00, debits 1329.56, pending 10.00
	with := func(summary string) string {
		return strings.Replace(content, entries, "      <TxsSummry>"+summary+"</TxsSummry>\n"+entries, 1)
	}
	for _, right := range []string{
		"<TtlNtries><NbOfNtries>3</NbOfNtries><Sum>1439.56</Sum><TtlNetNtryAmt>1219.56</TtlNetNtryAmt><CdtDbtInd>DBIT</CdtDbtInd></TtlNtries>",
		"<TtlNtries><NbOfNtries>4</NbOfNtries><Sum>-1219.56</Sum></TtlNtries>",
		"<TtlCdtNtries><NbOfNtries>2</NbOfNtries><Sum>110</Sum></TtlCdtNtries><TtlDbtNtries><NbOfNtries>1</NbOfNtries><Sum>1329.560</Sum></TtlDbtNtries>",
		"<TtlCdtNtries><NbOfNtries>3</NbOfNtries><Sum>120.00</Sum></TtlCdtNtries>",
	} {
		if got := readOne(t, "f.xml", with(right)); len(got.Entries) != 3 {
			t.Errorf("%d entries with %s", len(got.Entries), right)
		}
	}
	tests := []struct{ summary, place, message string }{
		{"<TtlNtries><NbOfNtries>5</NbOfNtries></TtlNtries>", "line 13, Document/BkToCstmrStmt/Stmt/TxsSummry/TtlNtries/NbOfNtries", "counts 5 entries"},
		{"<TtlNtries><NbOfNtries>x</NbOfNtries></TtlNtries>", "TtlNtries/NbOfNtries", "not a number of entries"},
		{"<TtlNtries><Sum>1439.55</Sum></TtlNtries>", "TtlNtries/Sum", "add up to 1439.56"},
		{"<TtlNtries><TtlNetNtryAmt>1</TtlNetNtryAmt></TtlNtries>", "TtlNtries/TtlNetNtry", "add up to 1219.56"},
		{"<TtlCdtNtries><Sum>110.01</Sum></TtlCdtNtries>", "TtlCdtNtries/Sum", "add up to 110.00"},
		{"<TtlDbtNtries><NbOfNtries>2</NbOfNtries></TtlDbtNtries>", "TtlDbtNtries/NbOfNtries", "counts 2 entries"},
		{"<TtlDbtNtries><Sum>1,5</Sum></TtlDbtNtries>", "TtlDbtNtries/Sum", "not an amount"},
	}
	for _, tt := range tests {
		_, err := collect(strings.NewReader(with(tt.summary)), "f.xml")
		refusal, ok := errors.AsType[*ledger.Error](err)
		if !ok || !strings.Contains(refusal.Field, tt.place) || !strings.Contains(refusal.Message, tt.message) {
			t.Errorf("%s: error is %v, want %q at %q", tt.summary, err, tt.message, tt.place)
		}
	}
}

// TestReadCamtBatches: the batch's own count and total must be those of its details.
func TestReadCamtBatches(t *testing.T) {
	content := sample(t, "camt.053.001.02.xml")
	const count = "<NbOfTxs>2</NbOfTxs>"
	for batch, want := range map[string]string{
		count + `<TtlAmt Ccy="EUR">1329.56</TtlAmt>`: "",
		`<NbOfTxs>0002</NbOfTxs>`:                    "",
		`<TtlAmt Ccy="USD">1.00</TtlAmt>`:            "",
		`<NbOfTxs>3</NbOfTxs>`:                       "3 transactions by its own count, and 2 are given",
		`<TtlAmt Ccy="EUR">1329.57</TtlAmt>`:         "-1329.57 by its own total, but its details add up to -1329.56",
	} {
		_, err := collect(strings.NewReader(strings.Replace(content, count, batch, 1)), "f.xml")
		if (want == "") != (err == nil) || (err != nil && (!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "line 19, Document/BkToCstmrStmt/Stmt/Ntry/NtryDtls/Btch"))) {
			t.Errorf("%s: error is %v, want %q", batch, err, want)
		}
	}
}

func TestReadCamtNotification(t *testing.T) {
	var parts []payouts.Part
	for part, err := range ReadCamt(strings.NewReader(sample(t, "camt.054.001.08.xml")), "n.xml") {
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, part)
	}
	const place = "Document/BkToCstmrDbtCdtNtfctn/Ntfctn"
	want := []payouts.Part{
		{Head: &payouts.Head{Kind: payouts.KindNotification, ID: "N-2026-11-23/1", Sequence: 7, IBAN: "FR1420041010050500013M02606", Currency: "EUR", Place: "n.xml, line 5, " + place}},
		{Entry: &payouts.Entry{Reference: "REF-9", Amount: 95_00, BookingDate: day(23), ValueDate: day(23), Line: 10, Details: []payouts.Detail{
			{EndToEndID: "PO-20261122-0001-9f3c2a1b-00001", Amount: 95_00, ReturnReason: "AC01"}}}},
		{Entry: &payouts.Entry{Amount: 101_00, BookingDate: day(23), ValueDate: day(23), Line: 24, Details: []payouts.Detail{
			{MessageID: "BATCH-1", Amount: 100_00, ReturnReason: "NOTPROVIDED"}, {MessageID: "BATCH-2", Amount: 1_00, ReturnReason: "NOTPROVIDED"}}}},
		{End: &payouts.End{Pending: 1, Place: "n.xml, line 39, " + place}},
	}
	if !reflect.DeepEqual(parts, want) {
		t.Errorf("parts are %+v", parts)
	}
	_, err := collect(strings.NewReader(strings.Replace(sample(t, "camt.054.001.08.xml"), ">1.00</TtlAmt>", ">2.00</TtlAmt>", 1)), "n.xml")
	if err == nil || !strings.Contains(err.Error(), "2 batches (Btch) add up to 102.00, but the entry is 101.00") {
		t.Errorf("batches that do not add up: %v", err)
	}
}

// TestReadCamtStopsAtOnce: whoever has seen enough need not read the rest.
func TestReadCamtStopsAtOnce(t *testing.T) {
	seen := 0
	for range ReadCamt(strings.NewReader(sample(t, "camt.053.001.02.xml")), "f.xml") {
		seen++
		break
	}
	if seen != 1 {
		t.Errorf("%d parts were seen", seen)
	}
}

func TestReadCamtPassesOnReadErrors(t *testing.T) {
	broken := errors.New("disk on fire")
	_, err := collect(io.MultiReader(strings.NewReader("<Document"), iotest.ErrReader(broken)), "f.xml")
	if !errors.Is(err, broken) || ledger.CodeOf(err) != "" {
		t.Errorf("error is %v, want the reader's own", err)
	}
}

// TestReadCamtDecimals: ISO 20022 allows five decimals and every spelling of
// xs:decimal; the amounts are the same.
func TestReadCamtDecimals(t *testing.T) {
	content := sample(t, "camt.053.001.02.xml")
	want := readOne(t, "f.xml", content)
	for _, spelling := range [][2]string{{">1329.56<", ">1329.56000<"}, {">95.00<", ">95.<"}, {">3780.44<", ">+3780.440<"}, {">5000.00<", ">5000<"}} {
		if got := readOne(t, "f.xml", strings.Replace(content, spelling[0], spelling[1], 1)); got.Hash != want.Hash {
			t.Errorf("%s reads as another statement than %s", spelling[1], spelling[0])
		}
	}
}

func TestReadCamtKeepsForeignElementsOut(t *testing.T) {
	content := strings.Replace(sample(t, "camt.053.001.02.xml"), "<Id>2026-11-23/1</Id>",
		`<Id>2026-11-23/1</Id><x:Id xmlns:x="urn:other"><x:y/></x:Id>`, 1)
	if got := readOne(t, "f.xml", content); got.ID != "2026-11-23/1" {
		t.Errorf("the id is %q", got.ID)
	}
}

// TestReadCamtSamples reads what other projects use as samples; most of them
// show off the format and do not add up.
func TestReadCamtSamples(t *testing.T) {
	tests := map[string]string{ // file → what it is refused for, or "" where it is read
		"camt053.v2.all-balance-types.xml": "no IBAN",
		"camt053.v2.minimal.xml":           "is in SEK, but the account is in EUR",
		"camt053.v2.multi.statement.xml":   "",
		"camt053.v2.wrong.xml":             "no statement",
		"camt053.v8.xml":                   "no IBAN",
	}
	for name, refusal := range tests {
		t.Run(name, func(t *testing.T) {
			f, err := os.Open(filepath.Join(fixtures, "camt", name))
			if errors.Is(err, os.ErrNotExist) {
				t.Skip("the samples are not here")
			}
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			statements, err := collect(f, name)
			switch {
			case refusal == "" && (err != nil || len(statements) != 2):
				t.Errorf("%d statements and error %v, want 2 and none", len(statements), err)
			case refusal != "" && (err == nil || !strings.Contains(err.Error(), refusal)):
				t.Errorf("error is %v, want %q", err, refusal)
			}
		})
	}
}

func TestOwnSamplesValidate(t *testing.T) {
	for _, version := range []string{"camt.053.001.02", "camt.053.001.08", "camt.054.001.08"} {
		t.Run(version, func(t *testing.T) { validate(t, version+".xsd", []byte(sample(t, version+".xml"))) })
	}
}

func FuzzReadCamt(f *testing.F) {
	f.Add([]byte(sample(f, "camt.053.001.02.xml")))
	f.Add([]byte(sample(f, "camt.053.001.08.xml")))
	f.Add([]byte(sample(f, "camt.054.001.08.xml")))
	f.Fuzz(func(t *testing.T, content []byte) {
		statements, err := collect(bytes.NewReader(content), "fuzz.xml")
		checkFuzzed(t, statements, err)
	})
}

// checkFuzzed checks what a reader made of whatever it was given.
func checkFuzzed(t *testing.T, statements []payouts.Statement, err error) {
	t.Helper()
	if err != nil {
		if ledger.CodeOf(err) != ledger.CodeInvalid || statements != nil {
			t.Fatalf("%d statements and error %v", len(statements), err)
		}
		return
	}
	for _, s := range statements {
		checkStatement(t, s)
	}
}

// checkStatement checks what a reader promises of every statement it returns.
func checkStatement(t *testing.T, s payouts.Statement) {
	t.Helper()
	if _, err := payments.ParseIBAN(s.IBAN); err != nil || s.ID == "" || !s.Currency.Known() || s.Hash != s.ContentHash() {
		t.Fatalf("statement %+v has a wrong head: %v", s, err)
	}
	total := s.Opening
	for _, e := range s.Entries {
		var details ledger.Amount
		for _, d := range e.Details {
			details += d.Amount
		}
		if len(e.Details) == 0 || details != e.Amount || e.BookingDate.IsZero() || e.ValueDate.IsZero() {
			t.Fatalf("entry %+v is not whole", e)
		}
		total += e.Amount
	}
	if total != s.Closing {
		t.Fatalf("statement %+v does not add up", s)
	}
}
