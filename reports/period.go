package reports

import (
	"time"

	"tweetledger/ledger"
)

// Period says which entries a report is about, in both times of the book.
type Period struct {
	From, To    ledger.Date // effective dates, both inclusive; zero is no bound
	RecordedAt  time.Time   // the book as it stood at this instant; zero is as it stands
	GeneratedAt time.Time   // when the report is made, which it says of itself
}

// check refuses a period that ends before it begins.
func (p Period) check() error {
	if !p.From.IsZero() && !p.To.IsZero() && p.To.Before(p.From) {
		return ledger.Errorf(ledger.CodeInvalid, "the period ends on %s, before it begins on %s", p.To, p.From).InField("from")
	}
	return nil
}

// describe says the period in words that follow the name of what it is of.
func (p Period) describe() string {
	text := "all dates"
	switch {
	case !p.From.IsZero() && !p.To.IsZero():
		text = "from " + p.From.String() + " to " + p.To.String()
	case !p.From.IsZero():
		text = "from " + p.From.String() + " on"
	case !p.To.IsZero():
		text = "up to " + p.To.String()
	}
	if !p.RecordedAt.IsZero() {
		text += ", as recorded by " + p.RecordedAt.UTC().Format("2006-01-02 15:04:05.999999 UTC")
	}
	return text
}

// facts are the lines about the period that a report's head has.
func (p Period) facts() []Fact {
	facts := []Fact{}
	if !p.From.IsZero() {
		facts = append(facts, Fact{Name: "from", Title: "From", Value: p.From})
	}
	if !p.To.IsZero() {
		facts = append(facts, Fact{Name: "to", Title: "To", Value: p.To})
	}
	if !p.RecordedAt.IsZero() {
		facts = append(facts, Fact{Name: "recorded_at", Title: "As recorded by", Value: p.RecordedAt.UTC()})
	}
	return facts
}

// lastDate is after every effective date there can be.
var lastDate = ledger.Date{Year: 9999, Month: time.December, Day: 31}

// end returns the period's last date, or lastDate where it has no end.
func (p Period) end() ledger.Date {
	if p.To.IsZero() {
		return lastDate
	}
	return p.To
}
