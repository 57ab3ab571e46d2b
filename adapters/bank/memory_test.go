package bank

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"tweetledger/internal/payouts"
)

// generated is a file of any length that is made while it is read.
type generated struct {
	head, tail string
	item       func(i int) string
	n, next    int
	rest       string
	ended      bool
}

func (g *generated) Read(p []byte) (int, error) {
	for g.rest == "" {
		switch {
		case g.head != "":
			g.rest, g.head = g.head, ""
		case g.next < g.n:
			g.rest = g.item(g.next)
			g.next++
		case !g.ended:
			g.rest, g.ended = g.tail, true
		default:
			return 0, io.EOF
		}
	}
	n := copy(p, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

// generatedCamt is a statement of n entries, half a kilobyte each.
func generatedCamt(n int) *generated {
	balance := func(code string, euros int) string {
		return fmt.Sprintf(`<Bal><Tp><CdOrPrtry><Cd>%s</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">%d.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2026-11-23</Dt></Dt></Bal>`, code, euros)
	}
	return &generated{n: n, tail: "</Stmt></BkToCstmrStmt></Document>",
		head: `<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt><Stmt><Id>BIG</Id><Acct><Id><IBAN>FR1420041010050500013M02606</IBAN></Id></Acct>` +
			balance("OPBD", 0) + balance("CLBD", n),
		item: func(i int) string {
			return fmt.Sprintf(`<Ntry><Amt Ccy="EUR">1.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>2026-11-23</Dt></BookgDt><ValDt><Dt>2026-11-23</Dt></ValDt>`+
				`<AcctSvcrRef>REF-%d</AcctSvcrRef><NtryDtls><TxDtls><Refs><EndToEndId>E2E-%d</EndToEndId></Refs><RltdPties><Dbtr><Pty><Nm>Donor %d</Nm></Pty></Dbtr></RltdPties>`+
				`<RmtInf><Ustrd>%s</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>`+"\n", i, i, i, strings.Repeat("x", 100))
		}}
}

// generatedCFONB is a statement of n movements of two records each.
func generatedCFONB(n int) *generated {
	record := func(kind, fields, amount string) string {
		return fmt.Sprintf("%s20041    01005EUR2 0500013M026%-58s%s%16s\r\n", kind, fields, amount, "")
	}
	return &generated{n: n, head: record("01", "  201126", "0000000000000{"), tail: record("07", "  231126", fmt.Sprintf("%012d0{", n)),
		item: func(i int) string {
			return record("04", fmt.Sprintf("05231126  231126VIR %d", i), "0000000000010{") +
				fmt.Sprintf("0520041    01005EUR2 0500013M02605231126     NPYDonor %d\r\n", i)
		}}
}

// readAll reads a file to its end and returns how many entries it had, and the most
// that the heap grew while it was read.
func readAll(t testing.TB, file payouts.BankFile, sampleEvery int) (entries int, growth uint64) {
	t.Helper()
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for part, err := range file {
		if err != nil {
			t.Fatal(err)
		}
		if part.Entry == nil {
			continue
		}
		if entries++; entries%sampleEvery == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			if now.HeapAlloc > before.HeapAlloc {
				growth = max(growth, now.HeapAlloc-before.HeapAlloc)
			}
		}
	}
	return entries, growth
}

// TestMemoryIsBounded: a file that is read takes no more memory the longer it is.
func TestMemoryIsBounded(t *testing.T) {
	const most = 1 << 20 // bytes; the files have six times as much, and their entries in memory would take three
	for name, file := range map[string]struct {
		read payouts.BankFile
		n    int
	}{
		"camt":  {ReadCamt(generatedCamt(12_000), "big.xml"), 12_000},
		"cfonb": {ReadCFONB(generatedCFONB(30_000), "big.cfonb"), 30_000},
	} {
		entries, growth := readAll(t, file.read, file.n/10)
		if entries != file.n || growth > most {
			t.Errorf("%s: %d entries were read, and the heap grew by %d bytes, more than %d", name, entries, growth, most)
		}
	}
}

// BenchmarkRead reads files of 100 MB; peak-MB is the most that the heap grew.
func BenchmarkRead(b *testing.B) {
	const size = 100 << 20
	for name, open := range map[string]func() (*generated, payouts.BankFile){
		"camt": func() (*generated, payouts.BankFile) {
			g := generatedCamt(0)
			g = generatedCamt(size / len(g.item(1)))
			return g, ReadCamt(g, "big.xml")
		},
		"cfonb": func() (*generated, payouts.BankFile) {
			g := generatedCFONB(0)
			g = generatedCFONB(size / len(g.item(1)))
			return g, ReadCFONB(g, "big.cfonb")
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				g, file := open()
				_, growth := readAll(b, file, g.n/50)
				b.ReportMetric(float64(growth)/(1<<20), "peak-MB")
			}
		})
	}
}
