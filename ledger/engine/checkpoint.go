package engine

import (
	"maps"
	"slices"

	"tweetledger/ledger"
)

// Checkpoint is how far a run of VerifyBook has come with what is sealed. It can
// be kept as JSON. It trusts what the run had verified before.
type Checkpoint struct {
	Format       string        `json:"format"` // checkpointFormat
	Began        []ledger.Head `json:"began"`  // the ends of the chains when the run began
	LastPage     int64         `json:"last_page"`
	Transactions int64         `json:"transactions"`
	Postings     int64         `json:"postings"`
	Totals       []Total       `json:"totals"`
	Differences  []Difference  `json:"differences"`
	More         int64         `json:"more"`
}

// Total is what was posted to an account by its number, in minor units.
type Total struct {
	AccountNo int64         `json:"no"`
	Debits    ledger.Amount `json:"debits"`
	Credits   ledger.Amount `json:"credits"`
}

const checkpointFormat = "tweetledger verify 1"

func (v *verifier) checkpoint() Checkpoint {
	c := Checkpoint{Format: checkpointFormat, Began: v.began, LastPage: v.lastPage, Transactions: v.report.Transactions,
		Postings: v.report.Postings, Differences: slices.Clone(v.report.Differences), More: v.report.More}
	for _, no := range slices.Sorted(maps.Keys(v.accounts)) {
		if a := v.accounts[no]; !a.total.isZero() {
			c.Totals = append(c.Totals, Total{no, a.total.debitsPosted, a.total.creditsPosted})
		}
	}
	return c
}

// resume goes on from a checkpoint.
func (v *verifier) resume(c Checkpoint) error {
	if c.Format != checkpointFormat {
		return ledger.Errorf(ledger.CodeInvalid, "%q is not a checkpoint of verify; begin again without it", ledger.Clip(c.Format)).InField("format")
	}
	v.began, v.lastPage = c.Began, c.LastPage
	v.report.Transactions, v.report.Postings = c.Transactions, c.Postings
	v.report.Differences, v.report.More = c.Differences, c.More
	for _, t := range c.Totals {
		a, ok := v.accounts[t.AccountNo]
		if !ok {
			return ledger.Errorf(ledger.CodeInvalid, "the checkpoint knows an account with number %d and the book does not; begin again without it", t.AccountNo).InField("totals")
		}
		a.total = delta{debitsPosted: t.Debits, creditsPosted: t.Credits}
	}
	return nil
}

// verifierState is what a transaction that begins again has to find as it was.
type verifierState struct {
	report   Report
	lastPage int64
	totals   map[int64]delta
}

func (v *verifier) state() verifierState {
	s := verifierState{report: *v.report, lastPage: v.lastPage, totals: make(map[int64]delta, len(v.accounts))}
	s.report.Differences = slices.Clone(v.report.Differences)
	for no, a := range v.accounts {
		s.totals[no] = a.total
	}
	return s
}

func (v *verifier) restore(s verifierState) {
	*v.report, v.lastPage = s.report, s.lastPage
	v.report.Differences = slices.Clone(s.report.Differences)
	for no, a := range v.accounts {
		a.total = s.totals[no]
	}
}
