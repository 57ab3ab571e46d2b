package bank

import (
	"strings"

	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

// cfonbMovement is a record 04 and what its records 05 add.
type cfonbMovement struct {
	amount        ledger.Amount
	booked, value ledger.Date
	label, number string
	rejected      string // why a payment was sent back: two characters, or empty
	line, extras  int

	lines            []string // LIB
	remittance       string   // LCC and LC2, as the payer wrote it
	full             bool     // the last line of it was
	structured       string   // LCS
	debtor, creditor string   // NPY, NBE
	clientReference  string   // RCN: the end-to-end id of a transfer
	bankReference    string   // REF
}

// add takes a record 05 in by its qualifier; those that say nothing of who, what and
// why are passed over.
func (m *cfonbMovement) add(c cfonbRecord) {
	text := c.text(49, 118)
	switch strings.TrimSpace(c.field(46, 48)) {
	case "LIB":
		m.lines = append(m.lines, text)
	case "LCC", "LC2":
		if m.remittance != "" && !m.full {
			m.remittance += " "
		}
		m.remittance += text
		m.full = c[117] != ' ' // so that the next line goes on in the middle of a word
	case "LCS":
		m.structured = c.text(49, 83)
	case "NPY":
		m.debtor = text
	case "NBE":
		m.creditor = text
	case "RCN":
		m.clientReference = c.text(49, 83)
	case "REF":
		m.bankReference = clippedText(text, maxReference)
	}
}

// entry is the movement as others know it.
func (m *cfonbMovement) entry() payouts.Entry {
	detail := payouts.Detail{EndToEndID: m.clientReference, Amount: m.amount, ReturnReason: m.rejected, Remittance: m.remittance}
	for _, text := range []string{m.structured, strings.Join(append([]string{m.label}, m.lines...), " ")} {
		if detail.Remittance == "" {
			detail.Remittance = clippedText(strings.TrimSpace(text), maxText)
		}
	}
	wanted, other := m.debtor, m.creditor
	if (m.amount < 0) != (m.rejected != "") { // of what comes back, the bank names the parties of what we sent
		wanted, other = other, wanted
	}
	if wanted == "" {
		wanted = other
	}
	detail.Counterparty.Name = wanted
	reference := m.bankReference
	if reference == "" {
		reference = m.number
	}
	return payouts.Entry{Reference: reference, Amount: m.amount, BookingDate: m.booked, ValueDate: m.value, Line: m.line, Details: []payouts.Detail{detail}}
}

// clippedText cuts a text to at most most characters.
func clippedText(s string, most int) string {
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return strings.TrimSpace(string(runes[:most]))
}
