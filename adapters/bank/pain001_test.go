package bank

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

var update = flag.Bool("update", false, "write golden files anew")

// fixtures is where the publishers' schemas and samples may lie beside the repository.
const fixtures = "../../../shared/fixtures"

func paymentFile() payouts.PaymentFile {
	return payouts.PaymentFile{
		MessageID:     "PO-20261122-0001-9f3c2a1b",
		CreatedAt:     time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC),
		ExecutionDate: ledger.Date{Year: 2026, Month: 11, Day: 23},
		Currency:      ledger.EUR,
		Debtor:        payouts.Party{Name: "S-money – cantonnement", IBAN: "FR1420041010050500013M02606", BIC: "PSSTFRPPPAR"},
		Transfers: []payouts.CreditTransfer{
			{
				EndToEndID: "PO-20261122-0001-9f3c2a1b-00001", Amount: 95_00,
				Creditor:   payouts.Party{Name: "Action contre la Faim", IBAN: "FR76 3000 6000 0112 3456 7890 189", BIC: "AGRIFRPP"},
				Remittance: "Dons du 01/11 au 22/11 reçus par tweet",
			},
			{
				EndToEndID: "PO-20261122-0001-9f3c2a1b-00002", Amount: 1_234_56,
				Creditor: payouts.Party{Name: "Œuvre & Cœur d'Île-de-France «Łódź»", IBAN: "DE89370400440532013000"},
			},
		},
	}
}

func written(t *testing.T, f payouts.PaymentFile) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WritePain001(&b, f); err != nil {
		t.Fatalf("WritePain001: %v", err)
	}
	return b.Bytes()
}

func TestWritePain001Golden(t *testing.T) {
	got := written(t, paymentFile())
	if again := written(t, paymentFile()); !bytes.Equal(got, again) {
		t.Fatal("the same file gave other bytes the second time")
	}
	golden := filepath.Join("testdata", "pain.001.001.09.xml")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the file is not the golden one; got:\n%s", got)
	}
}

func TestWritePain001Structure(t *testing.T) {
	type total struct {
		Count int    `xml:"NbOfTxs"`
		Sum   string `xml:"CtrlSum"`
	}
	var doc struct {
		XMLName xml.Name `xml:"urn:iso:std:iso:20022:tech:xsd:pain.001.001.09 Document"`
		Header  total    `xml:"CstmrCdtTrfInitn>GrpHdr"`
		Payment struct {
			total
			Date    string `xml:"ReqdExctnDt>Dt"`
			Level   string `xml:"PmtTpInf>SvcLvl>Cd"`
			Bearer  string `xml:"ChrgBr"`
			BIC     string `xml:"DbtrAgt>FinInstnId>BICFI"`
			Batched bool   `xml:"BtchBookg"`
			Txs     []struct {
				ID   string `xml:"PmtId>EndToEndId"`
				Amt  string `xml:"Amt>InstdAmt"`
				Name string `xml:"Cdtr>Nm"`
				IBAN string `xml:"CdtrAcct>Id>IBAN"`
				BIC  string `xml:"CdtrAgt>FinInstnId>BICFI"`
				Text string `xml:"RmtInf>Ustrd"`
			} `xml:"CdtTrfTxInf"`
		} `xml:"CstmrCdtTrfInitn>PmtInf"`
	}
	if err := xml.Unmarshal(written(t, paymentFile()), &doc); err != nil {
		t.Fatal(err)
	}
	p := doc.Payment
	if want := (total{2, "1329.56"}); doc.Header != want || p.total != want {
		t.Errorf("totals are %v and %v, want %v", doc.Header, p.total, want)
	}
	if p.Date != "2026-11-23" || p.Level != "SEPA" || p.Bearer != "SLEV" || p.BIC != "PSSTFRPPPAR" || p.Batched {
		t.Errorf("payment information is %+v", p)
	}
	first, second := p.Txs[0], p.Txs[1]
	if first.ID != "PO-20261122-0001-9f3c2a1b-00001" || first.Amt != "95.00" || first.IBAN != "FR7630006000011234567890189" ||
		first.BIC != "AGRIFRPP" || first.Text != "Dons du 01/11 au 22/11 recus par tweet" {
		t.Errorf("first transfer is %+v", first)
	}
	if second.Name != "OEuvre + Coeur d'Ile-de-France .Lodz." || second.BIC != "" || second.Text != "" {
		t.Errorf("second transfer is %+v", second)
	}
}

func TestWritePain001ValidatesAgainstSchema(t *testing.T) {
	noBIC, addressed, long := paymentFile(), paymentFile(), paymentFile()
	noBIC.Debtor.BIC = ""
	addressed.Transfers[0].Address = payments.Address{Street: "rue de l'Œuvre", Building: "14 bis", PostCode: "75014", Town: "Paris", Country: "FR"}
	addressed.Transfers[1].Address = payments.Address{Town: "Kraków", Country: "PL"}
	for i := range long.Transfers {
		long.Transfers[i].Creditor.Name, long.Transfers[i].Remittance = strings.Repeat("é", 200), strings.Repeat("x", 140)
		long.Transfers[i].Address = payments.Address{Street: strings.Repeat("ß", 70), Building: strings.Repeat("ß", 16), PostCode: strings.Repeat("ß", 16), Town: strings.Repeat("ß", 35), Country: "DE"}
	}
	for _, version := range []Pain001{Pain00109, Pain00103} {
		for name, f := range map[string]payouts.PaymentFile{"plain": paymentFile(), "no BIC": noBIC, "addresses": addressed, "as long as can be": long} {
			t.Run(string(version)+" "+name, func(t *testing.T) {
				var b bytes.Buffer
				if err := WritePain001As(&b, f, version); err != nil {
					t.Fatal(err)
				}
				validate(t, string(version)+".xsd", b.Bytes())
			})
		}
	}
}

func TestVersionsOfPain001(t *testing.T) {
	f := paymentFile()
	f.Transfers[0].Address = payments.Address{Street: "rue de Niepce", Building: "14", PostCode: "75014", Town: "Paris", Country: "FR"}
	f.Transfers[1].Address = payments.Address{Town: "日本", Country: "JP"} // cannot be written
	for version, want := range map[Pain001][]string{
		Pain00109: {`xmlns="urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"`, "<Dt>2026-11-23</Dt>", "<BICFI>PSSTFRPPPAR</BICFI>"},
		Pain00103: {`xmlns="urn:iso:std:iso:20022:tech:xsd:pain.001.001.03"`, "<ReqdExctnDt>2026-11-23</ReqdExctnDt>", "<BIC>PSSTFRPPPAR</BIC>"},
	} {
		var b bytes.Buffer
		if err := WritePain001As(&b, f, version); err != nil {
			t.Fatal(err)
		}
		for _, text := range append(want, "<StrtNm>rue de Niepce</StrtNm>", "<BldgNb>14</BldgNb>", "<PstCd>75014</PstCd>", "<TwnNm>Paris</TwnNm>") {
			if !strings.Contains(b.String(), text) {
				t.Errorf("%s has no %s:\n%s", version, text, b.String())
			}
		}
		if n := strings.Count(b.String(), "PstlAdr>"); n != 2 {
			t.Errorf("%s has %d address tags, want those of one address", version, n)
		}
	}
	if v, err := ParsePain001("pain.001.001.03"); err != nil || v != Pain00103 {
		t.Errorf("parsed %s, %v", v, err)
	}
	for _, name := range []string{"", "pain.001.001.08", "camt.053.001.02"} {
		if _, err := ParsePain001(name); ledger.CodeOf(err) != ledger.CodeInvalid {
			t.Errorf("ParsePain001(%q): %v", name, err)
		}
	}
}

// validate checks XML against a published schema where both it and xmllint are there.
func validate(t *testing.T, schema string, content []byte) {
	t.Helper()
	schema = filepath.Join(fixtures, "iso20022", schema)
	if _, err := os.Stat(schema); errors.Is(err, os.ErrNotExist) {
		t.Skip("the ISO 20022 schemas are not here")
	}
	lint, err := exec.LookPath("xmllint")
	if err != nil {
		t.Skip("xmllint is not here")
	}
	cmd := exec.CommandContext(t.Context(), lint, "--nonet", "--noout", "--schema", schema, "-")
	cmd.Stdin = bytes.NewReader(content)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("xmllint: %v\n%s", err, out)
	}
}

func TestWritePain001Refuses(t *testing.T) {
	long := strings.Repeat("x", 36)
	tests := []struct {
		name   string
		change func(*payouts.PaymentFile)
		field  string
	}{
		{"no transfers", func(f *payouts.PaymentFile) { f.Transfers = nil }, "transfers"},
		{"too many transfers", func(f *payouts.PaymentFile) { f.Transfers = make([]payouts.CreditTransfer, MaxTransfers+1) }, "transfers"},
		{"other currency", func(f *payouts.PaymentFile) { f.Currency = "USD" }, "currency"},
		{"no date", func(f *payouts.PaymentFile) { f.ExecutionDate = ledger.Date{} }, "execution_date"},
		{"no time", func(f *payouts.PaymentFile) { f.CreatedAt = time.Time{} }, "created_at"},
		{"long message id", func(f *payouts.PaymentFile) { f.MessageID = long }, "message_id"},
		{"message id with slash", func(f *payouts.PaymentFile) { f.MessageID = "/a" }, "message_id"},
		{"zero", func(f *payouts.PaymentFile) { f.Transfers[1].Amount = 0 }, "transfers[1].amount"},
		{"negative", func(f *payouts.PaymentFile) { f.Transfers[0].Amount = -1 }, "transfers[0].amount"},
		{"above SEPA", func(f *payouts.PaymentFile) { f.Transfers[0].Amount = maxSEPAAmount + 1 }, "transfers[0].amount"},
		{"wrong IBAN", func(f *payouts.PaymentFile) { f.Transfers[0].Creditor.IBAN = "FR7630006000011234567890188" }, "transfers[0].creditor"},
		{"wrong debtor IBAN", func(f *payouts.PaymentFile) { f.Debtor.IBAN = "" }, "debtor"},
		{"wrong BIC", func(f *payouts.PaymentFile) { f.Transfers[0].Creditor.BIC = "AGRI" }, "transfers[0].creditor"},
		{"unwritable name", func(f *payouts.PaymentFile) { f.Transfers[1].Creditor.Name = "慈善" }, "transfers[1].creditor.name"},
		{"no end-to-end id", func(f *payouts.PaymentFile) { f.Transfers[0].EndToEndID = "" }, "transfers[0].end_to_end_id"},
		{"long end-to-end id", func(f *payouts.PaymentFile) { f.Transfers[0].EndToEndID = long }, "transfers[0].end_to_end_id"},
		{"accent in end-to-end id", func(f *payouts.PaymentFile) { f.Transfers[0].EndToEndID = "é" }, "transfers[0].end_to_end_id"},
		{"end-to-end id twice", func(f *payouts.PaymentFile) { f.Transfers[1].EndToEndID = f.Transfers[0].EndToEndID }, "transfers[1].end_to_end_id"},
		{"long remittance", func(f *payouts.PaymentFile) { f.Transfers[0].Remittance = strings.Repeat("ß", 71) }, "transfers[0].remittance"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := paymentFile()
			tt.change(&f)
			var b bytes.Buffer
			err := WritePain001(&b, f)
			refusal, ok := errors.AsType[*ledger.Error](err)
			if !ok || refusal.Code != ledger.CodeInvalid || refusal.Field != tt.field {
				t.Errorf("error is %v, want an invalid %s", err, tt.field)
			}
			if b.Len() > 0 {
				t.Errorf("%d bytes were written all the same", b.Len())
			}
		})
	}
}

func TestToSEPA(t *testing.T) {
	tests := map[string]string{
		"Médecins sans frontières":  "Medecins sans frontieres",
		"A&B_c@d":                   "A+B-c.d",
		"Straße – Weiß":             "Strasse - Weiss",
		" two\t\n spaces\u00a0here": "two spaces here",
		"100 € 日本":                  "100 EUR ..",
		"ﬁn ①":                      "fin 1",
		"a\u202eb\u200bc":           "abc",
		"日本":                        "",
		"...":                       "",
		"":                          "",
	}
	for in, want := range tests {
		if got := toSEPA(in); got != want {
			t.Errorf("toSEPA(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestWritePain001CutsLongNames(t *testing.T) {
	f := paymentFile()
	f.Transfers[0].Creditor.Name = strings.Repeat("é", 69) + " long"
	want := fmt.Sprintf("<Nm>%s</Nm>", strings.Repeat("e", 69))
	if got := written(t, f); !bytes.Contains(got, []byte(want)) {
		t.Errorf("the name was not cut at 70 characters:\n%s", got)
	}
}
