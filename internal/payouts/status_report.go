package payouts

import (
	"iter"
	"slices"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Status is what a bank says of a payment that it was sent, in the codes of ISO 20022
// (ExternalPaymentTransactionStatus1Code and ExternalPaymentGroupStatus1Code).
type Status string

// The statuses. StatusSettled is the payer's bank's: it has debited us, and says nothing
// of the payee's account, so that only the statement settles a payout.
const (
	StatusReceived            Status = "RCVD"
	StatusPending             Status = "PDNG"
	StatusPartial             Status = "PART" // of a group: some are accepted, some rejected
	StatusTechnical           Status = "ACTC" // the file is well-formed and was taken in
	StatusProfile             Status = "ACCP"
	StatusInProcess           Status = "ACSP"
	StatusWithChange          Status = "ACWC"
	StatusAcceptedNotCredited Status = "ACWP"
	StatusSettled             Status = "ACSC"
	StatusRejected            Status = "RJCT"
	StatusCancelled           Status = "CANC"
)

// acceptances are the statuses that accept, in the order in which a payment has them.
var acceptances = []Status{StatusTechnical, StatusProfile, StatusInProcess, StatusWithChange, StatusAcceptedNotCredited, StatusSettled}

func (s Status) known() bool {
	return s.accepts() || s.rejects() || s == StatusReceived || s == StatusPending || s == StatusPartial
}

func (s Status) accepts() bool { return slices.Contains(acceptances, s) }

func (s Status) rejects() bool { return s == StatusRejected || s == StatusCancelled }

// after reports whether s tells more of an accepted payment than an earlier status did.
func (s Status) after(earlier Status) bool {
	return slices.Index(acceptances, s) > slices.Index(acceptances, earlier)
}

// Bounds of a report. A bank reports on a file of ours in one message.
const (
	// MaxReported bounds the transactions of a report: ten times those of our largest file.
	MaxReported = 10_000
	// MaxReasons bounds the reasons of one status; banks give one.
	MaxReasons = 10
	// MaxInfo bounds the bank's words on one status, in characters: what is longer is cut.
	MaxInfo = 500
)

// StatusReport is a bank's report on a payment file (pain.002), read part by part: its
// group first, then its payment informations, each before its transactions.
type StatusReport = iter.Seq2[ReportPart, error]

// ReportPart is one part of a report: exactly one of its fields is set.
type ReportPart struct {
	Group       *ReportGroup
	Payment     *ReportPayment
	Transaction *ReportTransaction
}

// StatusReason says why a status is as it is.
type StatusReason struct {
	Code string // ISO code, or the bank's own; may be empty
	Info string // the bank's words; may be empty
}

// ReportGroup is what a report says of a payment file as a whole.
type ReportGroup struct {
	MessageID       string // of the report, as the bank numbers it
	OriginalMessage string // id of the file
	OriginalFormat  string // pain.001.001.09; may be empty
	Status          Status // may be empty: the transactions say it
	Reasons         []StatusReason
	OriginalCount   int // of transfers, as the bank repeats it; 0: not given
	OriginalSum     ledger.Amount
	HasSum          bool
	Place           string // file, line and element, for messages
}

// ReportPayment is what it says of a payment information; our files have one.
type ReportPayment struct {
	OriginalPayment string
	Status          Status
	Reasons         []StatusReason
	OriginalCount   int // of transfers, as the bank repeats it; 0: not given
	OriginalSum     ledger.Amount
	HasSum          bool
	Place           string
}

// ReportTransaction is what it says of one transfer.
type ReportTransaction struct {
	EndToEndID string
	Status     Status
	Reasons    []StatusReason
	Amount     ledger.Amount
	Currency   ledger.Currency // empty: the bank does not repeat the amount
	Place      string
}

// reportContent hashes a report while it is read: every field, each with its length
// before it, but not where it stands in the file.
type reportContent struct {
	contentHasher
	parts int64
}

func (h *reportContent) status(s Status, reasons []StatusReason) {
	h.text(string(s))
	h.number(int64(len(reasons)))
	for _, r := range reasons {
		h.text(r.Code, r.Info)
	}
}

func (h *reportContent) part(p ReportPart) {
	h.parts++
	switch {
	case p.Group != nil:
		g := p.Group
		h.text("report/1", g.MessageID, g.OriginalMessage, g.OriginalFormat)
		h.number(int64(g.OriginalCount), int64(g.OriginalSum), sqldb.Flag(g.HasSum))
		h.status(g.Status, g.Reasons)
	case p.Payment != nil:
		h.text("payment", p.Payment.OriginalPayment)
		h.number(int64(p.Payment.OriginalCount), int64(p.Payment.OriginalSum), sqldb.Flag(p.Payment.HasSum))
		h.status(p.Payment.Status, p.Payment.Reasons)
	case p.Transaction != nil:
		h.text("transaction", p.Transaction.EndToEndID, string(p.Transaction.Currency))
		h.number(int64(p.Transaction.Amount))
		h.status(p.Transaction.Status, p.Transaction.Reasons)
	}
}

func (h *reportContent) end() [32]byte {
	h.number(h.parts)
	return h.sum()
}
