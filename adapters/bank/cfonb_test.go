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

	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

func collectCFONB(content string) ([]payouts.Statement, error) {
	return payouts.CollectStatements(ReadCFONB(strings.NewReader(content), "f.cfonb"))
}

func TestReadCFONB(t *testing.T) {
	content := sample(t, "statement.cfonb")
	want := []payouts.Statement{
		{
			ID: "CFONB 2026-11-20", IBAN: "FR1420041010050500013M02606", Currency: "EUR",
			OpeningDate: day(20), Opening: 5000_00, ClosingDate: day(23), Closing: 5012_50,
			Entries: []payouts.Entry{
				{Reference: "BANK-REF-1", Amount: -95_00, BookingDate: day(23), ValueDate: day(24), Line: 2, Details: []payouts.Detail{
					{EndToEndID: "PO-20261122-0001-9f3c2a1b-00001", Amount: -95_00, Counterparty: payouts.Party{Name: "Action contre la Faim"},
						Remittance: "Dons du 01/11 au 22/11 reçus par tweet, sans frais, avec un texte qui ient sur deux lignes"}}},
				{Amount: 95_00, BookingDate: day(23), ValueDate: day(23), Line: 9, Details: []payouts.Detail{
					{EndToEndID: "PO-20261122-0001-9f3c2a1b-00001", Amount: 95_00, Counterparty: payouts.Party{Name: "Action contre la Faim"},
						Remittance: "REJET VIR", ReturnReason: "04"}}},
				{Amount: 12_50, BookingDate: day(23), ValueDate: day(23), Line: 13, Details: []payouts.Detail{
					{Amount: 12_50, Counterparty: payouts.Party{Name: "Loïc Dépont"}, Remittance: "VIR RECU COTISATION"}}},
			},
		},
		{
			ID: "CFONB 2026-11-23", IBAN: "FR1420041010050500013M02606", Currency: "EUR",
			OpeningDate: day(23), Opening: 5012_50, ClosingDate: day(24), Closing: 5012_50,
		},
	}
	for i := range want {
		want[i].Hash = want[i].ContentHash()
	}
	ascii := strings.NewReplacer("\r\n", "\n").Replace(content)
	var short strings.Builder
	for line := range strings.Lines(ascii) {
		short.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	utf8 := strings.NewReplacer("\xe7", "ç", "\xef", "ï", "\xe9", "é").Replace(content)
	for name, text := range map[string]string{"as it is": content, "without line ends": strings.ReplaceAll(ascii, "\n", ""),
		"blanks dropped": short.String(), "UTF-8": utf8, "end of file": content + "\x1a"} {
		t.Run(name, func(t *testing.T) {
			got, err := collectCFONB(text)
			if err != nil {
				t.Fatal(err)
			}
			if name == "without line ends" {
				for i := range got {
					for j := range got[i].Entries {
						got[i].Entries[j].Line = want[i].Entries[j].Line // records, not lines
					}
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("statements are\n%+v, want\n%+v", got, want)
			}
		})
	}
}

func TestReadCFONBRefuses(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(sample(t, "statement.cfonb"), "\r\n"), "\r\n")
	changed := func(line int, from int, text string) string {
		list := append([]string(nil), lines...)
		l := list[line-1]
		list[line-1] = l[:from-1] + text + l[from-1+len(text):]
		return strings.Join(list, "\r\n")
	}
	without := func(from, to int) string {
		return strings.Join(append(append([]string(nil), lines[:from-1]...), lines[to:]...), "\n")
	}
	tests := []struct{ name, content, place, message string }{
		{"empty", "", "f.cfonb, line 1", "holds no statement"},
		{"other file", "date;amount\n", "f.cfonb, line 1", "not a record"},
		{"unknown record", changed(2, 1, "06"), "f.cfonb, line 2", "not a record"},
		{"movement first", without(1, 1), "f.cfonb, line 1, record 04", "before an old balance"},
		{"detail first", without(1, 2), "f.cfonb, line 1, record 05", "before an old balance"},
		{"no new balance", without(16, 16), "f.cfonb, line 16, record 01", "before the new balance"},
		{"cut off", strings.Join(lines[:5], "\n"), "f.cfonb, line", "ends before the new balance"},
		{"detail without movement", without(2, 2), "f.cfonb, line 2, record 05", "belongs to no movement"},
		{"does not add up", changed(16, 104, "A"), "f.cfonb, line 16, record 07, amount", "does not add up"},
		{"amount", changed(2, 91, "x"), "f.cfonb, line 2, record 04, amount", "not an amount"},
		{"amount without sign", changed(2, 104, "0"), "f.cfonb, line 2, record 04, amount", "carries the sign"},
		{"decimals", changed(2, 20, "x"), "f.cfonb, line 2, record 04, amount", "number of decimals"},
		{"too many decimals", changed(13, 20, "4"), "f.cfonb, line 13, record 04, amount", "more than the 2 decimals"},
		{"date", changed(2, 35, "310226"), "f.cfonb, line 2, record 04, date", "not a date"},
		{"value date", changed(2, 43, "99"), "f.cfonb, line 2, record 04, value date", "not a date"},
		{"other account", changed(2, 22, "0500013M027"), "f.cfonb, line 2, record 04", "another account"},
		{"no account", changed(1, 22, "0500013-026"), "f.cfonb, line 1, record 01, account", "not those of a French account"},
		{"other currency", changed(16, 17, "USD"), "f.cfonb, line 16, record 07, currency", "is in USD"},
		{"unknown currency", changed(2, 17, "XYZ"), "f.cfonb, line 2, record 04, currency", "ISO 4217"},
		{"long line", lines[0] + "x\n", "f.cfonb, line 1", "121 characters"},
		{"endless line", strings.Repeat("1", 60) + "\n" + strings.Repeat("x", 5000), "f.cfonb, line 1", "not a record"},
		{"very long line", lines[0] + "\n" + strings.Repeat("x", 5000), "f.cfonb, line 2", "longer than"},
		{"too many details", strings.Join(lines[:2], "\n") + "\n" + strings.Repeat(lines[2]+"\n", 100), "record 05", "more than 99"},
		{"other characters", lines[0] + "\n" + strings.Replace(lines[1], "VIR", "→", 1), "f.cfonb, line 2", "ISO 8859-1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			statements, err := collectCFONB(tt.content)
			refusal, ok := errors.AsType[*ledger.Error](err)
			if !ok || refusal.Code != ledger.CodeInvalid || statements != nil {
				t.Fatalf("got %d statements and error %v, want an invalid file", len(statements), err)
			}
			if !strings.HasPrefix(refusal.Field, tt.place) && !strings.Contains(refusal.Field, tt.place) {
				t.Errorf("the place is %q, want %q", refusal.Field, tt.place)
			}
			if !strings.Contains(refusal.Message, tt.message) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the message is %q, want one line with %q", refusal.Message, tt.message)
			}
		})
	}
}

func TestReadCFONBPassesOnReadErrors(t *testing.T) {
	broken := errors.New("disk on fire")
	start := sample(t, "statement.cfonb")[:700]
	_, err := payouts.CollectStatements(ReadCFONB(io.MultiReader(strings.NewReader(start), iotest.ErrReader(broken)), "f.cfonb"))
	if !errors.Is(err, broken) || ledger.CodeOf(err) != "" {
		t.Errorf("error is %v, want the reader's own", err)
	}
}

// TestReadCFONBSample: the sample shows the format off and does not add up.
func TestReadCFONBSample(t *testing.T) {
	f, err := os.Open(filepath.Join(fixtures, "cfonb", "bank_statement.cfo"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("the sample is not here")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = payouts.CollectStatements(Read(f, "bank_statement.cfo", FormatAuto))
	const want = "bank_statement.cfo, line 6, record 07, amount: the statement does not add up: "
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error is %v\nwant %s…", err, want)
	}
}

func TestReadRecognises(t *testing.T) {
	for name, want := range map[string]int{"statement.cfonb": 2, "camt.053.001.02.xml": 1} {
		list, err := payouts.CollectStatements(Read(strings.NewReader(sample(t, name)), name, FormatAuto))
		if err != nil || len(list) != want {
			t.Errorf("%s: %d statements and error %v", name, len(list), err)
		}
	}
	_, err := payouts.CollectStatements(Read(strings.NewReader("date;amount"), "f.csv", FormatAuto))
	if ledger.CodeOf(err) != ledger.CodeInvalid || !strings.Contains(err.Error(), "neither XML nor CFONB") {
		t.Errorf("a table reads with %v", err)
	}
	_, err = payouts.CollectStatements(Read(strings.NewReader(sample(t, "statement.cfonb")), "f.xml", FormatCamt))
	if ledger.CodeOf(err) != ledger.CodeInvalid {
		t.Errorf("CFONB reads as camt with %v", err)
	}
	if _, err := ParseFormat("mt940"); ledger.CodeOf(err) != ledger.CodeInvalid {
		t.Errorf("mt940 is a format: %v", err)
	}
}

func FuzzReadCFONB(f *testing.F) {
	f.Add([]byte(sample(f, "statement.cfonb")))
	f.Add([]byte(strings.ReplaceAll(sample(f, "statement.cfonb"), "\r\n", "")))
	f.Fuzz(func(t *testing.T, content []byte) {
		statements, err := payouts.CollectStatements(ReadCFONB(bytes.NewReader(content), "fuzz.cfonb"))
		checkFuzzed(t, statements, err)
	})
}
