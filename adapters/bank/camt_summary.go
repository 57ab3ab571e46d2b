package bank

import (
	"encoding/xml"
	"strconv"
	"strings"

	"tweetledger/ledger"
)

// maxCount is the length of a number of entries: Max15NumericText of ISO 20022.
const maxCount = 15

// camtSummary is a TxsSummry: what the bank says its entries come to.
type camtSummary struct {
	total, credits, debits camtCount
	net                    camtSum
}

// camtCount is a number of entries and their sum, where given.
type camtCount struct {
	entries string // NbOfNtries
	sum     camtSum
	line    int
}

// camtSum is an amount without a currency, which is the account's.
type camtSum struct {
	text  string
	line  int
	given bool
}

// camtTally counts entries while they pass.
type camtTally struct {
	credits, debits   int64
	credited, debited ledger.Amount // both above zero
}

func (t camtTally) count() int64 { return t.credits + t.debits }

// tally adds an entry up. One in another currency is none of the account's and
// counts without its amount: only an entry that is not booked may be so.
func (r *camtReader) tally(m *camtMessage, t *camtTally, e camtEntry, place string) error {
	var amount ledger.Amount
	if ledger.Currency(e.amount.currency) == m.Currency {
		var err error
		if amount, err = r.signedAmount(m, e.amount, false, place+"/Amt"); err != nil {
			return err
		}
	}
	count, sum := &t.credits, &t.credited
	if e.negative {
		count, sum = &t.debits, &t.debited
	}
	*count++
	total, err := sum.Add(amount)
	if err != nil {
		return r.refuseAt(e.line, place, "the entries of %s %s add up to more than fits; ask the bank for a new file", r.kind, m.ID)
	}
	*sum = total
	return nil
}

func (r *camtReader) summary(s *camtSummary) error {
	return r.children(func(name string, _ []xml.Attr) error {
		switch name {
		case "TtlNtries":
			return r.counted(&s.total, &s.net)
		case "TtlCdtNtries":
			return r.counted(&s.credits, nil)
		case "TtlDbtNtries":
			return r.counted(&s.debits, nil)
		}
		return r.skip()
	})
}

// counted reads a number of entries with their sum. The net amount of all entries
// is TtlNetNtryAmt in version 2 and TtlNetNtry/Amt in version 8; which of the two
// signs it has follows from the balances.
func (r *camtReader) counted(c *camtCount, net *camtSum) error {
	c.line = r.line()
	return r.children(func(name string, _ []xml.Attr) error {
		switch {
		case name == "NbOfNtries":
			return r.text(&c.entries, maxCount)
		case name == "Sum":
			return r.sum(&c.sum)
		case name == "TtlNetNtryAmt" && net != nil:
			return r.sum(net)
		case name == "TtlNetNtry" && net != nil:
			return r.children(func(name string, _ []xml.Attr) error {
				if name == "Amt" {
					return r.sum(net)
				}
				return r.skip()
			})
		}
		return r.skip()
	})
}

func (r *camtReader) sum(s *camtSum) error {
	s.line, s.given = r.line(), true
	return r.text(&s.text, maxAmount)
}

// checkSummary compares what the bank says its entries come to with the entries.
// Banks differ on whether entries that are not booked count, and on whether the sum
// of all is that of amounts or of amounts with their signs; either is taken.
func (r *camtReader) checkSummary(m *camtMessage) error {
	place := strings.Join(r.path, "/") + "/TxsSummry/"
	checks := []struct {
		name  string
		c     camtCount
		count func(camtTally) int64
		sums  func(camtTally) []ledger.Amount
	}{
		{"TtlNtries", m.summary.total, camtTally.count, func(t camtTally) []ledger.Amount {
			return []ledger.Amount{t.credited + t.debited, magnitude(t.credited - t.debited)}
		}},
		{"TtlCdtNtries", m.summary.credits, func(t camtTally) int64 { return t.credits }, func(t camtTally) []ledger.Amount { return []ledger.Amount{t.credited} }},
		{"TtlDbtNtries", m.summary.debits, func(t camtTally) int64 { return t.debits }, func(t camtTally) []ledger.Amount { return []ledger.Amount{t.debited} }},
	}
	for _, check := range checks {
		if err := r.checkCount(check.c, place+check.name, check.count(m.booked), check.count(m.listed)); err != nil {
			return err
		}
		if err := r.checkSum(m, check.c.sum, place+check.name+"/Sum", append(check.sums(m.booked), check.sums(m.listed)...)); err != nil {
			return err
		}
	}
	return r.checkSum(m, m.summary.net, place+"TtlNtries/TtlNetNtry",
		[]ledger.Amount{magnitude(m.booked.credited - m.booked.debited), magnitude(m.listed.credited - m.listed.debited)})
}

func (r *camtReader) checkCount(c camtCount, place string, booked, listed int64) error {
	if c.entries == "" {
		return nil
	}
	n, err := strconv.ParseInt(c.entries, 10, 64)
	if err != nil || n < 0 {
		return r.refuseAt(c.line, place+"/NbOfNtries", "%q is not a number of entries; ask the bank for a new file", brief(c.entries))
	}
	if n != booked && n != listed {
		return r.refuseAt(c.line, place+"/NbOfNtries", "the summary counts %d entries, and %d are given; ask the bank for a new file", n, listed)
	}
	return nil
}

func (r *camtReader) checkSum(m *camtMessage, s camtSum, place string, sums []ledger.Amount) error {
	if !s.given {
		return nil
	}
	sign := ""
	text := s.text
	if rest, negative := strings.CutPrefix(text, "-"); negative { // the schema has no sign here, some banks have
		sign, text = "-", rest
	}
	amount, err := ledger.ParseAmount(xmlDecimal(text), m.Currency)
	if err != nil {
		return r.refuseAt(s.line, place, "%w; ask the bank for a new file", err)
	}
	for _, sum := range sums {
		if amount == sum {
			return nil
		}
	}
	return r.refuseAt(s.line, place, "the summary says %s%s, but the entries add up to %s; ask the bank for a new file",
		sign, amount.Format(m.Currency), sums[0].Format(m.Currency))
}

func magnitude(a ledger.Amount) ledger.Amount {
	if a < 0 {
		return -a
	}
	return a
}
