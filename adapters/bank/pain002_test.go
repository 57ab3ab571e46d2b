package bank

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

// parts reads a report to its end.
func parts(r io.Reader) (list []payouts.ReportPart, err error) {
	for part, err := range ReadPain002(r, "report.xml") {
		if err != nil {
			return nil, err
		}
		list = append(list, part)
	}
	return list, nil
}

func TestReadPain002(t *testing.T) {
	const root = "Document/CstmrPmtStsRpt/"
	at := func(line int, element string) string {
		return fmt.Sprintf("report.xml, line %d, %s%s", line, root, element)
	}
	for name, want := range map[string][]payouts.ReportPart{
		"pain.002.001.03.xml": {
			{Group: &payouts.ReportGroup{MessageID: "RPT-20261123-0001", OriginalMessage: "PO-20261122-0001-9f3c2a1b", OriginalFormat: "pain.001.001.03", Status: "PART",
				OriginalCount: 3, OriginalSum: 1429_56, HasSum: true, Place: at(9, "OrgnlGrpInfAndSts")}},
			{Payment: &payouts.ReportPayment{OriginalPayment: "PO-20261122-0001-9f3c2a1b", Status: "PART", OriginalCount: 3, OriginalSum: 1429_56, HasSum: true,
				Place: at(16, "OrgnlPmtInfAndSts")}},
			{Transaction: &payouts.ReportTransaction{EndToEndID: "PO-20261122-0001-9f3c2a1b-00001", Status: "RJCT", Amount: 95_00, Currency: "EUR",
				Reasons: []payouts.StatusReason{{Code: "AC04", Info: "Compte clos le 15/11/2026"}}, Place: at(22, "OrgnlPmtInfAndSts/TxInfAndSts")}},
			{Transaction: &payouts.ReportTransaction{EndToEndID: "PO-20261122-0001-9f3c2a1b-00002", Status: "ACSP", Place: at(38, "OrgnlPmtInfAndSts/TxInfAndSts")}},
			{Transaction: &payouts.ReportTransaction{EndToEndID: "PO-20261122-0001-9f3c2a1b-00003", Status: "PDNG",
				Reasons: []payouts.StatusReason{{Code: "CONTROLE INTERNE"}}, Place: at(42, "OrgnlPmtInfAndSts/TxInfAndSts")}},
		},
		"pain.002.001.10.xml": {
			{Group: &payouts.ReportGroup{MessageID: "RPT-20261123-0002", OriginalMessage: "PO-20261122-0002-11aa22bb", OriginalFormat: "pain.001.001.09", Status: "RJCT",
				Reasons: []payouts.StatusReason{{Code: "AM05", Info: "Fichier deja recu"}}, Place: at(8, "OrgnlGrpInfAndSts")}},
			{Payment: &payouts.ReportPayment{OriginalPayment: "PO-20261122-0002-11aa22bb", Place: at(17, "OrgnlPmtInfAndSts")}},
			{Transaction: &payouts.ReportTransaction{EndToEndID: "PO-20261122-0002-11aa22bb-00001", Status: "RJCT", Amount: 7_50, Currency: "EUR",
				Reasons: []payouts.StatusReason{{Code: "RC01"}, {Code: "AM05"}}, Place: at(19, "OrgnlPmtInfAndSts/TxInfAndSts")}},
		},
	} {
		got, err := parts(strings.NewReader(sample(t, name)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || !reflect.DeepEqual(got[i], want[i]) {
				t.Errorf("%s, part %d: got %+v", name, i, got[min(i, len(got)-1)])
			}
		}
	}
}

func TestReadPain002Refuses(t *testing.T) {
	whole := sample(t, "pain.002.001.03.xml")
	swap := func(old, new string) string {
		if strings.Count(whole, old) != 1 {
			t.Fatalf("%q is not once in the sample", old)
		}
		return strings.Replace(whole, old, new, 1)
	}
	group := whole[strings.Index(whole, "    <OrgnlGrpInfAndSts>"):strings.Index(whole, "    <OrgnlPmtInfAndSts>")]
	payment := whole[strings.Index(whole, "    <OrgnlPmtInfAndSts>"):strings.Index(whole, "  </CstmrPmtStsRpt>")]
	for name, c := range map[string]struct{ content, field, message string }{
		"no XML":              {"report", "report.xml, line 1", "does not start with XML"},
		"statement":           {sample(t, "camt.053.001.08.xml"), "report.xml, line 2, Document", "camt.053.001.08"},
		"other version":       {swap("pain.002.001.03", "pain.002.001.02"), "report.xml, line 2, Document", "pain.002.001.02"},
		"cut off":             {whole[:900], "report.xml, line 23, Document/CstmrPmtStsRpt/OrgnlPmtInfAndSts/TxInfAndSts/StsId", "ends in the middle"},
		"no report":           {`<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.03"/>`, "report.xml, line 1, Document", "holds no report"},
		"no group":            {strings.Replace(whole, group, "", 1), "report.xml, line 9, Document/CstmrPmtStsRpt/OrgnlPmtInfAndSts", "stand before the file"},
		"nothing":             {strings.Replace(strings.Replace(whole, group, "", 1), payment, "", 1), "report.xml, line 9, Document/CstmrPmtStsRpt", "what file it is on"},
		"two groups":          {strings.Replace(whole, group, group+group, 1), "report.xml, line 16, Document/CstmrPmtStsRpt/OrgnlGrpInfAndSts", "stands twice"},
		"no id":               {swap("<MsgId>RPT-20261123-0001</MsgId>", ""), "report.xml, line 15, Document/CstmrPmtStsRpt/OrgnlGrpInfAndSts", "has no id"},
		"no message":          {swap("<OrgnlMsgId>PO-20261122-0001-9f3c2a1b</OrgnlMsgId>", ""), "report.xml, line 15, Document/CstmrPmtStsRpt/OrgnlGrpInfAndSts", "what file it is on"},
		"no payment":          {swap("<OrgnlPmtInfId>PO-20261122-0001-9f3c2a1b</OrgnlPmtInfId>", ""), "report.xml, line 22, Document/CstmrPmtStsRpt/OrgnlPmtInfAndSts/TxInfAndSts", "what payment information"},
		"long status":         {swap("<GrpSts>PART<", "<GrpSts>PARTIAL<"), "report.xml, line 14, Document/CstmrPmtStsRpt/OrgnlGrpInfAndSts/GrpSts", "at most 4"},
		"no currency":         {swap(`Ccy="EUR"`, `Ccy="EURO"`), "report.xml, line 33, Document/CstmrPmtStsRpt/OrgnlPmtInfAndSts/TxInfAndSts/OrgnlTxRef/Amt/InstdAmt", "ISO 4217"},
		"no amount":           {swap(">95.00<", ">95,00<"), "report.xml, line 33, Document/CstmrPmtStsRpt/OrgnlPmtInfAndSts/TxInfAndSts/OrgnlTxRef/Amt/InstdAmt", "95,00"},
		"no number":           {strings.Replace(whole, "<OrgnlNbOfTxs>3<", "<OrgnlNbOfTxs>0<", 1), "report.xml, line 12, Document/CstmrPmtStsRpt/OrgnlGrpInfAndSts/OrgnlNbOfTxs", "number of transactions"},
		"document type":       {strings.Replace(whole, "?>", "?><!DOCTYPE a>", 1), "report.xml, line 1", "document type"},
		"behind transactions": {swap("</TxInfAndSts>\n    </OrgnlPmtInfAndSts>", "</TxInfAndSts><PmtInfSts>RJCT</PmtInfSts>\n    </OrgnlPmtInfAndSts>"), "report.xml, line 46, Document/CstmrPmtStsRpt/OrgnlPmtInfAndSts/PmtInfSts", "behind the transactions"},
		"too many reasons": {swap("<StsRsnInf><Rsn><Prtry>CONTROLE INTERNE</Prtry></Rsn></StsRsnInf>", strings.Repeat("<StsRsnInf><Rsn><Cd>AC01</Cd></Rsn></StsRsnInf>", 11)),
			"report.xml, line 45, Document/CstmrPmtStsRpt/OrgnlPmtInfAndSts/TxInfAndSts/StsRsnInf", "more than 10 reasons"},
	} {
		_, err := parts(strings.NewReader(c.content))
		refusal, ok := errors.AsType[*ledger.Error](err)
		if !ok || refusal.Code != ledger.CodeInvalid || refusal.Field != c.field || !strings.Contains(refusal.Message, c.message) {
			t.Errorf("%s: error is %v, want %q at %s", name, err, c.message, c.field)
		}
	}
	broken := errors.New("broken")
	if _, err := parts(io.MultiReader(strings.NewReader(whole[:200]), iotest.ErrReader(broken))); !errors.Is(err, broken) || ledger.CodeOf(err) != "" {
		t.Errorf("a broken source: %v", err)
	}
}

func TestReadPain002KeepsWordsShort(t *testing.T) {
	content := strings.Replace(sample(t, "pain.002.001.03.xml"), "<AddtlInf>Compte clos</AddtlInf>", strings.Repeat("<AddtlInf>é\u202e"+strings.Repeat("x", 90)+"\n y</AddtlInf>", 20), 1)
	list, err := parts(strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	info := list[2].Transaction.Reasons[0].Info
	if n := len([]rune(info)); n != payouts.MaxInfo || strings.ContainsAny(info, "\n\u202e") || !strings.HasPrefix(info, "éxxx") {
		t.Errorf("%d characters: %q", n, info)
	}
}

// TestReadPain002IsBounded: a report takes no more memory the longer it is, and one that
// is longer than any of ours is refused.
func TestReadPain002IsBounded(t *testing.T) {
	big := func(n int) io.Reader {
		return &generated{n: n, tail: "</OrgnlPmtInfAndSts></CstmrPmtStsRpt></Document>",
			head: `<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt><GrpHdr><MsgId>R</MsgId></GrpHdr>` +
				`<OrgnlGrpInfAndSts><OrgnlMsgId>PO</OrgnlMsgId></OrgnlGrpInfAndSts><OrgnlPmtInfAndSts><OrgnlPmtInfId>PO</OrgnlPmtInfId>`,
			item: func(i int) string {
				return fmt.Sprintf("<TxInfAndSts><OrgnlEndToEndId>PO-%d</OrgnlEndToEndId><TxSts>RJCT</TxSts><StsRsnInf><Rsn><Cd>AC04</Cd></Rsn><AddtlInf>%s</AddtlInf></StsRsnInf></TxInfAndSts>",
					i, strings.Repeat("x", 105))
			}}
	}
	const most = 1 << 20 // bytes; the file has more than two
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n := 0
	for part, err := range ReadPain002(big(payouts.MaxReported), "big.xml") {
		if err != nil {
			t.Fatal(err)
		}
		if part.Transaction == nil {
			continue
		}
		if n++; n%(payouts.MaxReported/4) == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			if now.HeapAlloc > before.HeapAlloc+most {
				t.Fatalf("after %d transactions the heap has grown by %d bytes", n, now.HeapAlloc-before.HeapAlloc)
			}
		}
	}
	if n != payouts.MaxReported {
		t.Errorf("%d transactions were read", n)
	}
	if _, err := parts(big(payouts.MaxReported + 1)); ledger.CodeOf(err) != ledger.CodeInvalid {
		t.Errorf("a longer report: %v", err)
	}
}

func FuzzReadPain002(f *testing.F) {
	f.Add([]byte(sample(f, "pain.002.001.03.xml")))
	f.Add([]byte(sample(f, "pain.002.001.10.xml")))
	f.Fuzz(func(t *testing.T, content []byte) {
		list, err := parts(bytes.NewReader(content))
		if err != nil {
			if ledger.CodeOf(err) != ledger.CodeInvalid {
				t.Fatalf("error %v", err)
			}
			return
		}
		for i, p := range list {
			if (p.Group != nil) != (i == 0) || (p.Payment != nil && p.Payment.OriginalPayment == "") {
				t.Fatalf("part %d is %+v", i, p)
			}
		}
	})
}
