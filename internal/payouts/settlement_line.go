package payouts

import (
	"iter"

	"tweetledger/ledger"
)

// SettlementKind says what a line of an acquirer's settlement file is about.
type SettlementKind string

// The kinds of line. A payout line is the acquirer's transfer to the bank account: it
// takes away what the other lines of the payout come to.
const (
	SettledCharge        SettlementKind = "charge"
	SettledRefund        SettlementKind = "refund"
	SettledChargeback    SettlementKind = "chargeback"
	SettledChargebackWon SettlementKind = "chargeback_won" // a chargeback that was taken back
	SettledFee           SettlementKind = "fee"            // one that belongs to no charge
	SettledPayout        SettlementKind = "payout"
)

// SettlementKinds returns all kinds of line.
func SettlementKinds() []SettlementKind {
	return []SettlementKind{SettledCharge, SettledRefund, SettledChargeback, SettledChargebackWon, SettledFee, SettledPayout}
}

// SettlementLine is a line of an acquirer's settlement file. Amounts are signed as we
// see them: what the acquirer owes us is positive, Fee is what it keeps, and Net is
// Gross less Fee.
type SettlementLine struct {
	Line            int // in the file, from 1
	Kind            SettlementKind
	ChargeReference string // ours; may be empty
	Reference       string // the acquirer's own; may be empty
	Gross, Fee, Net ledger.Amount
	Currency        ledger.Currency
	SettledOn       ledger.Date
	PayoutReference string // the acquirer's transfer to the bank account that has it; may be empty
}

// SettlementSource is the lines of a settlement file, read one by one. An error ends
// it, and then nothing of the file counts.
type SettlementSource = iter.Seq2[SettlementLine, error]
