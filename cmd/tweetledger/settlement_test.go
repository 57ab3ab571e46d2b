package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"tweetledger/adapters/bank"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// TestSettlementOfSimulator: the ready-made section reads what the simulated acquirer writes.
func TestSettlementOfSimulator(t *testing.T) {
	b := newCardBook(t)
	b.run(exitOK, "card", "add", "c-000001", "--token", "pm_sim_ok_1")
	b.run(exitOK, "card", "charge", "c-000001", "20.00", "--key", "k1")
	b.run(exitOK, "card", "charge", "c-000001", "5.50", "--key", "k2")
	var file bytes.Buffer
	if err := b.sim.WriteSettlement(&file, b.now); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "settlement.csv")
	if err := os.WriteFile(name, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	b.says(`(2 lines of 1 payout\n)`, "settlement", "import", "--acquirer", "cardsim", name)

	env := steered(b.now, strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}, func(name string) string { return b.variables[name] })
	a := &app{environment: env}
	t.Cleanup(func() { _ = a.close() })
	book, err := a.openBook(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var lines []payouts.StoredSettlementLine
	err = book.DB().Read(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		lines, err = payouts.ListSettlementLines(ctx, tx, payouts.SettlementLineFilter{Acquirer: "cardsim", Limit: 9})
		return err
	})
	if err != nil || len(lines) != 2 {
		t.Fatalf("lines are %+v, %v", lines, err)
	}
	paid := b.sim.Settlement(b.now)
	for i, l := range lines {
		if want := paid[i]; l.Kind != payouts.SettledCharge || l.ChargeReference != want.MerchantReference || l.Reference != want.Reference || int64(l.Gross) != want.Gross ||
			int64(l.Fee) != want.Fee || l.Net != l.Gross-l.Fee || l.PayoutReference == "" {
			t.Errorf("line %+v, the acquirer's is %+v", l, want)
		}
	}
}

// TestSettlementOfStripe: the section in the documentation reads Stripe's report.
func TestSettlementOfStripe(t *testing.T) {
	text, err := os.ReadFile("../../docs/bank.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(text), "```toml\n")
	block, _, closed := strings.Cut(block, "```")
	if !found || !closed {
		t.Fatal("docs/bank.md has no TOML")
	}
	var s settings
	meta, err := toml.Decode(block, &s)
	if err != nil || len(meta.Undecoded()) != 0 {
		t.Fatalf("docs/bank.md: %v, unknown settings %v", err, meta.Undecoded())
	}
	report := `"automatic_payout_id","automatic_payout_effective_at","balance_transaction_id","created","available_on","currency","gross","fee","net","reporting_category","description","payment_intent_id","payment_metadata[charge]"
"po_1","2026-11-23 00:00:00","txn_1","2026-11-20 10:00:00","2026-11-23 00:00:00","eur","20.00","0.53","19.47","charge","Top-up","pi_1","top-up:1"
"po_1","2026-11-23 00:00:00","txn_2","2026-11-20 11:00:00","2026-11-23 00:00:00","eur","-5.00","0.00","-5.00","refund","Refund","pi_1","top-up:1"
"po_1","2026-11-23 00:00:00","txn_3","2026-11-20 12:00:00","2026-11-23 00:00:00","eur","-7.50","20.00","-27.50","dispute","Dispute","pi_0","top-up:0"
"po_1","2026-11-23 00:00:00","txn_4","2026-11-20 13:00:00","2026-11-23 00:00:00","eur","-0.10","0.00","-0.10","fee","Radar","",""
`
	var kinds []string
	var net ledger.Amount
	for line, err := range bank.ReadSettlement(strings.NewReader(report), "stripe.csv", s.Settlement["stripe"].layout()) {
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, string(line.Kind)+" "+line.ChargeReference+" "+line.Reference+" "+line.PayoutReference+" "+line.SettledOn.String())
		net += line.Net
	}
	want := "charge top-up:1 pi_1 po_1 2026-11-23|refund top-up:1 pi_1 po_1 2026-11-23|chargeback top-up:0 pi_0 po_1 2026-11-23|fee   po_1 2026-11-23"
	if got := strings.Join(kinds, "|"); got != want || net != -13_13 {
		t.Errorf("lines are %s, net %d", got, net)
	}
	if acquirers := s.acquirers(); len(acquirers) != 1 || acquirers[0] != (payouts.Acquirer{Name: "stripe", BankName: "stripe", Days: 5}) {
		t.Errorf("acquirers are %+v", acquirers)
	}
}
