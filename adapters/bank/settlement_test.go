package bank

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

func collectSettlement(r io.Reader, layout SettlementLayout) ([]payouts.SettlementLine, error) {
	var list []payouts.SettlementLine
	for line, err := range ReadSettlement(r, "s.csv", layout) {
		if err != nil {
			return nil, err
		}
		list = append(list, line)
	}
	return list, nil
}

// plainLayout has every column, and the words of payouts.SettlementKinds.
func plainLayout() SettlementLayout {
	return SettlementLayout{Columns: SettlementColumns{Kind: "kind", Charge: "merchant_reference", Reference: "reference", Gross: "gross", Fee: "fee",
		Net: "net", Currency: "currency", SettledOn: "settlement_date", Payout: "batch_id"}}
}

const plainSettlement = `merchant_reference,reference,kind,gross,fee,net,currency,settlement_date,batch_id
top-up:1,pi_1,charge,20.00,0.53,19.47,EUR,2026-11-23,B20261123
top-up:2,pi_2,refund,-5.00,0.00,-5.00,EUR,2026-11-23,B20261123
top-up:3,pi_3,chargeback,-7.50,20.00,-27.50,EUR,2026-11-23,B20261123
top-up:3,pi_3,chargeback_won,7.50,-20.00,27.50,eur,2026-11-23,B20261123
`

func TestReadSettlement(t *testing.T) {
	got, err := collectSettlement(strings.NewReader(plainSettlement), plainLayout())
	line := func(n int, kind payouts.SettlementKind, charge, reference string, gross, fee ledger.Amount) payouts.SettlementLine {
		return payouts.SettlementLine{Line: n, Kind: kind, ChargeReference: charge, Reference: reference, Gross: gross, Fee: fee, Net: gross - fee,
			Currency: "EUR", SettledOn: day(23), PayoutReference: "B20261123"}
	}
	want := []payouts.SettlementLine{
		line(2, payouts.SettledCharge, "top-up:1", "pi_1", 20_00, 53), line(3, payouts.SettledRefund, "top-up:2", "pi_2", -5_00, 0),
		line(4, payouts.SettledChargeback, "top-up:3", "pi_3", -7_50, 20_00), line(5, payouts.SettledChargebackWon, "top-up:3", "pi_3", 7_50, -20_00),
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("lines are %+v, %v\nwant %+v", got, err, want)
	}
}

// TestReadSettlementLayouts: the same line as different acquirers would write it.
func TestReadSettlementLayouts(t *testing.T) {
	want := payouts.SettlementLine{Kind: payouts.SettledRefund, Gross: -1234_50, Fee: 1_25, Net: -1235_75, Currency: "EUR", SettledOn: day(23)}
	words := map[string][]string{"charge": {"Vente"}, "refund": {"Remboursement", "Avoir"}, "ignore": {"Total"}}
	tests := map[string]struct {
		layout  SettlementLayout
		content string
	}{
		"French": {SettlementLayout{Separator: ";", Decimal: ",", Group: " ", Encoding: "iso-8859-1", Date: "DD/MM/YYYY", Skip: 2, Currency: "EUR", Kinds: words,
			Columns: SettlementColumns{Kind: "Opération", Gross: "Montant", Fee: "Commission", Net: "Net", SettledOn: "Réglé le"}},
			"Relevé\nMonétique\nOp\xe9ration;Montant;Commission;Net;R\xe9gl\xe9 le\nTotal;1;2;3;x\nAvoir;-1 234,50;1,25;-1 235,75;23/11/2026\n"},
		"fees with their sign": {SettlementLayout{NegativeFees: true, Kinds: words, Columns: SettlementColumns{Kind: "k", Gross: "g", Fee: "f", Currency: "c", SettledOn: "d"}},
			"k,g,f,c,d\nAvoir,-1234.50,-1.25,EUR,2026-11-23 17:04:05\n"},
		"net only": {SettlementLayout{Separator: "tab", Date: "YYMMDD", Kinds: words, Columns: SettlementColumns{Kind: "k", Gross: "g", Net: "n", Currency: "c", SettledOn: "d"}},
			"\ufeffk\tg\tn\tc\td\nAvoir\t-1234.5\t-1235.750\tEUR\t261123\n"},
		"refunds without a sign": {SettlementLayout{PositiveRefunds: true, Kinds: words, Columns: SettlementColumns{Kind: "k", Gross: "g", Fee: "f", Net: "n", Currency: "c", SettledOn: "d"}},
			"k,g,f,n,c,d\r\n\"Avoir\",\"1234.50\",1.25,1235.75,EUR,2026-11-23T00:00:00Z\r\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := collectSettlement(strings.NewReader(tt.content), tt.layout)
			if err != nil || len(got) != 1 {
				t.Fatalf("lines are %+v, %v", got, err)
			}
			got[0].Line = 0
			if got[0] != want {
				t.Errorf("the line is %+v\nwant %+v", got[0], want)
			}
		})
	}
}

func TestReadSettlementRefuses(t *testing.T) {
	changed := func(old, new string) string { return strings.Replace(plainSettlement, old, new, 1) }
	with := func(change func(*SettlementLayout)) SettlementLayout {
		l := plainLayout()
		change(&l)
		return l
	}
	tests := []struct {
		name, content  string
		layout         SettlementLayout
		place, message string
	}{
		{"empty", "", plainLayout(), "s.csv, line 1", "names the columns"},
		{"no such column", changed("gross", "brut"), plainLayout(), "s.csv, line 1, gross", "no such column"},
		{"column twice", changed("reference,kind", "kind,kind"), plainLayout(), "s.csv, line 1, kind", "twice"},
		{"too few fields", changed(",B20261123\ntop-up:2", "\ntop-up:2"), plainLayout(), "s.csv, line 2", "wrong number of fields"},
		{"open quote", changed("pi_1", "\"pi_1"), plainLayout(), "s.csv, line", "not CSV"},
		{"kind", changed("refund", "rebate"), plainLayout(), "s.csv, line 3, kind", `"rebate" is not a kind`},
		{"currency", changed("EUR", "EUX"), plainLayout(), "s.csv, line 2, currency", "ISO 4217"},
		{"amount", changed("20.00", "twenty"), plainLayout(), "s.csv, line 2, gross", "not an amount"},
		{"comma", changed("20.00", "\"20,00\""), plainLayout(), "s.csv, line 2, gross", "not an amount"},
		{"point", plainSettlement, with(func(l *SettlementLayout) { l.Decimal = "," }), "s.csv, line 2, gross", "decimal sign of the layout is a comma"},
		{"decimals", changed("0.53", "0.531"), plainLayout(), "s.csv, line 2, fee", "more than the 2 decimals"},
		{"float", changed("20.00", "2e1"), plainLayout(), "s.csv, line 2, gross", "not an amount"},
		{"huge", changed("20.00", "99999999999999999999"), plainLayout(), "s.csv, line 2, gross", "64 bits"},
		{"net", changed("19.47", "19.48"), plainLayout(), "s.csv, line 2, net", "gross 20.00 less fee 0.53 is 19.47, not 19.48"},
		{"fee sign", plainSettlement, with(func(l *SettlementLayout) { l.NegativeFees = true }), "s.csv, line 2, net", "correct the signs"},
		{"date", changed("2026-11-23", "23/11/2026"), plainLayout(), "s.csv, line 2, settlement_date", "not a date like YYYY-MM-DD"},
		{"no date", changed("2026-11-23", ""), plainLayout(), "s.csv, line 2, settlement_date", "not a date"},
		{"long reference", changed("pi_1", strings.Repeat("x", 121)), plainLayout(), "s.csv, line 2, reference", "longer than 120"},
		{"line break in a reference", changed("pi_1", "\"p\ni\""), plainLayout(), "s.csv, line 2, reference", "not printable"},
		{"encoding", changed("pi_1", "p\xe9"), plainLayout(), "s.csv, line 2, column 2", "not UTF-8"},
		{"giant field", changed("pi_1", "\""+strings.Repeat("x", 1<<20)+"\""), plainLayout(), "s.csv, line 2", "longer than"},
		{"separator", plainSettlement, with(func(l *SettlementLayout) { l.Separator = ";;" }), "separator", "one character"},
		{"decimal", plainSettlement, with(func(l *SettlementLayout) { l.Decimal = "'" }), "decimal", "decimal sign"},
		{"group", plainSettlement, with(func(l *SettlementLayout) { l.Group = "." }), "group", "thousands"},
		{"unknown encoding", plainSettlement, with(func(l *SettlementLayout) { l.Encoding = "ebcdic" }), "encoding", "not known"},
		{"date layout", plainSettlement, with(func(l *SettlementLayout) { l.Date = "DD/MM" }), "date", "how a date is written"},
		{"skip", plainSettlement, with(func(l *SettlementLayout) { l.Skip = -1 }), "skip", "0 to 100"},
		{"no gross", plainSettlement, with(func(l *SettlementLayout) { l.Columns.Gross = "" }), "columns.gross", "gross"},
		{"no fee", plainSettlement, with(func(l *SettlementLayout) { l.Columns.Fee, l.Columns.Net = "", "" }), "columns.net", "fee"},
		{"no settlement date", plainSettlement, with(func(l *SettlementLayout) { l.Columns.SettledOn = "" }), "columns.settled_on", "date"},
		{"no currency", plainSettlement, with(func(l *SettlementLayout) { l.Columns.Currency = "" }), "currency", "currency"},
		{"wrong currency", plainSettlement, with(func(l *SettlementLayout) { l.Currency = "Euro" }), "currency", "ISO 4217"},
		{"unknown kind", plainSettlement, with(func(l *SettlementLayout) { l.Kinds = map[string][]string{"sale": {"x"}} }), "kinds", "not a kind"},
		{"two kinds", plainSettlement, with(func(l *SettlementLayout) { l.Kinds = map[string][]string{"charge": {"x"}, "fee": {"x"}} }), "kinds", "one of them only"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := collectSettlement(strings.NewReader(tt.content), tt.layout)
			refusal, ok := errors.AsType[*ledger.Error](err)
			if !ok || refusal.Code != ledger.CodeInvalid {
				t.Fatalf("error is %v, want an invalid file", err)
			}
			if !strings.HasPrefix(refusal.Field, tt.place) || !strings.Contains(refusal.Message, tt.message) || strings.Contains(err.Error(), "\n") {
				t.Errorf("refused with %v, want %q at %q", err, tt.message, tt.place)
			}
		})
	}
}

func TestReadSettlementPassesOnReadErrors(t *testing.T) {
	broken := errors.New("disk on fire")
	_, err := collectSettlement(io.MultiReader(strings.NewReader(plainSettlement), iotest.ErrReader(broken)), plainLayout())
	if !errors.Is(err, broken) || ledger.CodeOf(err) != "" {
		t.Errorf("error is %v, want the reader's own", err)
	}
}

func FuzzReadSettlement(f *testing.F) {
	f.Add([]byte(plainSettlement))
	f.Fuzz(func(t *testing.T, content []byte) {
		lines, err := collectSettlement(bytes.NewReader(content), plainLayout())
		if err != nil {
			if ledger.CodeOf(err) != ledger.CodeInvalid {
				t.Fatal(err)
			}
			return
		}
		for _, l := range lines {
			if l.Net != l.Gross-l.Fee || !l.Currency.Known() || l.SettledOn.IsZero() || l.Line < 2 {
				t.Fatalf("line %+v is not whole", l)
			}
		}
	})
}
