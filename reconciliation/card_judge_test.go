package reconciliation

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

// told writes a verdict in short: breaks with class, kind and amount, what matched, and
// how much is open.
func (v cardVerdict) told() string {
	var parts []string
	for _, b := range v.breaks {
		parts = append(parts, fmt.Sprintf("%s %s %d %s", b.Class, strings.Split(b.Key, "/")[2], b.Amount, b.Date))
	}
	parts = append(parts, v.matched...)
	if v.open > 0 {
		parts = append(parts, fmt.Sprintf("open %d", v.open))
	}
	return strings.Join(parts, "; ")
}

// The table is of what the ledger and the files say of one charge on the 20th, with
// terms of 5 and 14 days.
func TestJudgeOfCharges(t *testing.T) {
	const charge, refund, back, won = payouts.SettledCharge, payouts.SettledRefund, payouts.SettledChargeback, payouts.SettledChargebackWon
	move := func(kind payouts.SettlementKind, amount ledger.Amount, day int) cardMove {
		return cardMove{kind: kind, amount: amount, currency: ledger.EUR, date: on(day - 1)}
	}
	line := func(kind payouts.SettlementKind, amount ledger.Amount, day int) payouts.StoredSettlementLine {
		return payouts.StoredSettlementLine{SettlementLine: payouts.SettlementLine{Line: 2, Kind: kind, Gross: amount, Net: amount, Currency: ledger.EUR, SettledOn: on(day - 1)}, File: "f.csv"}
	}
	dollars := line(charge, 100, 19)
	dollars.Currency = "USD"
	known := &payments.Charge{Key: "topup:1", Reference: "pi_1", State: payments.ChargeFailed}
	for name, c := range map[string]struct {
		charge *payments.Charge
		moves  []cardMove
		lines  []payouts.StoredSettlementLine
		want   string
	}{
		"nothing":                         {want: ""},
		"in both":                         {known, []cardMove{move(charge, 100, 18)}, []payouts.StoredSettlementLine{line(charge, 100, 19)}, "exact_reference"},
		"in parts":                        {known, []cardMove{move(charge, 100, 18)}, []payouts.StoredSettlementLine{line(charge, 60, 19), line(charge, 40, 20)}, "exact_reference"},
		"in time":                         {known, []cardMove{move(charge, 100, 15)}, nil, "open 1"},
		"late":                            {known, []cardMove{move(charge, 100, 14)}, nil, "late charge 100 2026-11-14"},
		"still late":                      {known, []cardMove{move(charge, 100, 6)}, nil, "late charge 100 2026-11-06"},
		"missing":                         {known, []cardMove{move(charge, 100, 5)}, nil, "missing_outside charge 100 2026-11-05"},
		"settled after years":             {known, []cardMove{move(charge, 100, -900)}, []payouts.StoredSettlementLine{line(charge, 100, 19)}, "exact_reference"},
		"unknown":                         {nil, nil, []payouts.StoredSettlementLine{line(charge, 100, 19)}, "unknown_money charge 100 2026-11-19"},
		"unknown, and refunded":           {nil, nil, []payouts.StoredSettlementLine{line(charge, 100, 19), line(refund, -100, 19)}, "unknown_money charge 100 2026-11-19; unknown_money refund 100 2026-11-19"},
		"not booked":                      {known, nil, []payouts.StoredSettlementLine{line(charge, 100, 19)}, "missing_in_ledger charge 100 2026-11-19"},
		"never booked, as refunded there": {known, nil, []payouts.StoredSettlementLine{line(charge, 100, 19), line(refund, -100, 19)}, "nothing_remains"},
		"refunded before it was settled":  {known, []cardMove{move(charge, 100, 1), move(refund, -100, 1)}, nil, "nothing_remains"},
		"refund missing":                  {known, []cardMove{move(charge, 100, 1), move(refund, -100, 2)}, []payouts.StoredSettlementLine{line(charge, 100, 2)}, "missing_outside refund 100 2026-11-02; exact_reference"},
		"refund come back":                {known, []cardMove{move(charge, 100, 1), move(refund, -100, 2), move(refund, 100, 3)}, []payouts.StoredSettlementLine{line(charge, 100, 2), line(refund, -100, 3), line(refund, 100, 4)}, "exact_reference; exact_reference"},
		"undone by hand":                  {known, []cardMove{move(charge, 100, 1), move(charge, -100, 2)}, nil, "nothing_remains"},
		"undone by hand, but settled":     {known, []cardMove{move(charge, 100, 1), move(charge, -100, 2)}, []payouts.StoredSettlementLine{line(charge, 100, 3)}, "missing_in_ledger charge 100 2026-11-03"},
		"another amount":                  {known, []cardMove{move(charge, 100, 18)}, []payouts.StoredSettlementLine{line(charge, 99, 19)}, "amount_differs charge 1 2026-11-19"},
		"another currency":                {known, []cardMove{move(charge, 100, 18)}, []payouts.StoredSettlementLine{dollars}, "amount_differs charge 100 2026-11-18"},
		"foreign money":                   {nil, nil, []payouts.StoredSettlementLine{dollars}, "unknown_money charge 100 2026-11-19"},
		"twice":                           {known, []cardMove{move(charge, 100, 18)}, []payouts.StoredSettlementLine{line(charge, 100, 19), line(charge, 100, 19), line(charge, 100, 20)}, "duplicate charge 200 2026-11-20"},
		"twice, with another amount":      {known, []cardMove{move(charge, 100, 18)}, []payouts.StoredSettlementLine{line(charge, 99, 19), line(charge, 99, 19)}, "amount_differs charge 98 2026-11-19"},
		"chargeback not booked":           {known, []cardMove{move(charge, 100, 1)}, []payouts.StoredSettlementLine{line(charge, 100, 2), line(back, -100, 9)}, "missing_in_ledger chargeback 100 2026-11-09; exact_reference"},
		"chargeback not in a file":        {known, []cardMove{move(charge, 100, 1), move(back, -100, 9)}, []payouts.StoredSettlementLine{line(charge, 100, 2)}, "late chargeback 100 2026-11-09; exact_reference"},
		"chargeback won":                  {known, []cardMove{move(back, -100, 1), move(won, 100, 9)}, []payouts.StoredSettlementLine{line(back, -100, 2), line(won, 100, 10)}, "exact_reference; exact_reference"},
		"won before it was heard of":      {known, nil, []payouts.StoredSettlementLine{line(back, -100, 2), line(won, 100, 10)}, "nothing_remains"},
		"won, and not given back":         {known, []cardMove{move(back, -100, 1)}, []payouts.StoredSettlementLine{line(back, -100, 2), line(won, 100, 10)}, "missing_in_ledger chargeback_won 100 2026-11-10; exact_reference"},
	} {
		trace := chargeTrace{reference: "pi_1", charge: c.charge, moves: c.moves, lines: c.lines}
		v := trace.judge(cardTerms{days: 5, missing: 14, asOf: on(19)}, ledger.EUR)
		if got := v.told(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		for _, b := range v.breaks {
			if b.Reference != "pi_1" || b.Currency == "" || b.Message == "" || strings.Contains(b.Message, "\n") {
				t.Errorf("%s: nobody can work %+v", name, b)
			}
		}
	}
}

func TestJudgeOfTransfers(t *testing.T) {
	base := payouts.CardPayout{Acquirer: "acq", PayoutReference: "TR-001", Currency: ledger.EUR, Lines: 2, Gross: 100, Fee: 10, Net: 90, SettledOn: on(0)}
	lines := payouts.LineTotal{Lines: 2, Gross: 100, Fee: 10, Net: 90}
	entry := func(amount ledger.Amount) payouts.StoredEntry {
		return payouts.StoredEntry{Statement: "S1", Entry: 1, Detail: 1, Amount: amount, BookingDate: on(2), Remittance: "TR-001"}
	}
	shown := func(change func(*transferTrace)) transferTrace {
		e := entry(90)
		tr := transferTrace{CardPayout: base, lines: lines, entry: &e, booked: bookedTransfer{100, 10, 90}, txn: ledger.Transaction{ID: uuid.New()}}
		tr.TransactionID = tr.txn.ID
		change(&tr)
		return tr
	}
	open := func(day int, change func(*transferTrace)) transferTrace {
		tr := transferTrace{CardPayout: base, lines: lines}
		tr.SettledOn = on(day - 1)
		change(&tr)
		return tr
	}
	as := func(*transferTrace) {}
	for name, c := range map[string]struct {
		trace transferTrace
		want  string
	}{
		"shown":                  {shown(as), "exact_reference"},
		"known by its amount":    {shown(func(tr *transferTrace) { tr.entry.Remittance = "ACQ" }), "amount_date_counterparty"},
		"fee not as booked":      {shown(func(tr *transferTrace) { tr.booked.fee = 9 }), "amount_differs fee 1 2026-11-03"},
		"gross not as booked":    {shown(func(tr *transferTrace) { tr.booked.gross = 110 }), "amount_differs gross 10 2026-11-03"},
		"lines not as the file":  {shown(func(tr *transferTrace) { tr.lines.Net = 80 }), "amount_differs net 10 2026-11-03"},
		"statement differs":      {shown(func(tr *transferTrace) { tr.entry.Amount = 91 }), "amount_differs net 1 2026-11-03"},
		"reversed":               {shown(func(tr *transferTrace) { tr.booked = bookedTransfer{} }), "missing_in_ledger booking 90 2026-11-03"},
		"without its entry":      {shown(func(tr *transferTrace) { tr.txn = ledger.Transaction{} }), "missing_in_ledger booking 90 2026-11-03"},
		"without its statement":  {shown(func(tr *transferTrace) { tr.entry = nil }), "missing_outside statement 90 2026-11-01"},
		"twice":                  {shown(func(tr *transferTrace) { tr.suspects = []payouts.StoredEntry{entry(90)} }), "duplicate twice 90 2026-11-03"},
		"in time":                {open(17, as), "open 1"},
		"late":                   {open(16, as), "late statement 90 2026-11-16"},
		"missing":                {open(5, as), "missing_outside statement 90 2026-11-05"},
		"of nothing":             {open(1, func(tr *transferTrace) { tr.Net, tr.Fee, tr.lines.Net, tr.lines.Fee = 0, 100, 0, 100 }), "nothing_remains"},
		"in suspense":            {open(1, func(tr *transferTrace) { tr.suspects = []payouts.StoredEntry{entry(90)} }), "missing_in_ledger late 90 2026-11-03"},
		"with another amount":    {open(1, func(tr *transferTrace) { tr.suspects = []payouts.StoredEntry{entry(89)} }), "amount_differs net 1 2026-11-03"},
		"in another currency":    {open(1, func(tr *transferTrace) { tr.Currency = "USD" }), "amount_differs currency 90 2026-11-01"},
		"lines not what it says": {open(18, func(tr *transferTrace) { tr.lines = payouts.LineTotal{Lines: 1, Gross: 50, Fee: 5, Net: 45} }), "amount_differs lines 45 2026-11-18; open 1"},
	} {
		v := c.trace.judge(cardTerms{days: 3, missing: 14, asOf: on(19)}, ledger.EUR)
		if got := v.told(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// What a charge has posted is told apart by what the charge and its disputes know.
func TestClassifyPostings(t *testing.T) {
	cards, other := ledger.SystemAccountID(payments.AccountCardsToSettle), ledger.SystemAccountID(payments.AccountSuspense)
	book := cardBook{transactions: map[uuid.UUID]ledger.Transaction{}, reversals: map[uuid.UUID][]ledger.Transaction{}}
	trace := chargeTrace{reference: "pi_1"}
	post := func(key string, amount ledger.Amount, reverses uuid.UUID) uuid.UUID {
		p := ledger.Posting{Debit: cards, Credit: other, Amount: amount, Currency: ledger.EUR}
		if amount < 0 {
			p.Debit, p.Credit, p.Amount = other, cards, -amount
		}
		txn := ledger.Transaction{ID: ledger.IDOfKey(key), Key: key, Postings: []ledger.Posting{p}, EffectiveDate: on(0), Reverses: reverses}
		if reverses != uuid.Nil {
			book.reversals[reverses] = append(book.reversals[reverses], txn)
		}
		book.transactions[txn.ID] = txn
		trace.transactions = append(trace.transactions, txn.ID)
		return txn.ID
	}
	top := post("topup:pi_1", 100, uuid.Nil)
	post("step:2", -100, uuid.Nil)
	post("step:3", 100, uuid.Nil)
	taken := post("step:4", -100, uuid.Nil)
	back := post("step:5", 100, taken)
	post("undo", -100, top)
	slices.Reverse(trace.transactions) // as they may come
	trace.classify(book, []payments.Dispute{{TransactionID: taken, ReturnedID: back}})
	got := map[string]payouts.SettlementKind{}
	for _, m := range trace.moves {
		got[m.key] = m.kind
	}
	for key, kind := range map[string]payouts.SettlementKind{"topup:pi_1": payouts.SettledCharge, "step:2": payouts.SettledRefund, "step:3": payouts.SettledRefund,
		"step:4": payouts.SettledChargeback, "step:5": payouts.SettledChargebackWon, "undo": payouts.SettledCharge} {
		if got[key] != kind {
			t.Errorf("%s is a %s, want %s", key, got[key], kind)
		}
	}
	if len(trace.moves) != 6 {
		t.Errorf("%d moves", len(trace.moves))
	}
}
