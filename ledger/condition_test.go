package ledger_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"tweetledger/ledger"
)

func TestConditionsAreChecked(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(r *ledger.PostRequest)
		field  string
	}{
		{"as they are", func(r *ledger.PostRequest) {}, ""},
		{"version 0", func(r *ledger.PostRequest) { r.Conditions[0].Version = new(int64(0)) }, ""},
		{"no account", func(r *ledger.PostRequest) { r.Conditions[1].AccountID = uuid.Nil }, "conditions[1].account_id"},
		{"neither version nor balance", func(r *ledger.PostRequest) { r.Conditions[1].Balance = nil }, "conditions[1]"},
		{"negative version", func(r *ledger.PostRequest) { r.Conditions[0].Version = new(int64(-1)) }, "conditions[0].version"},
		{"one account twice", func(r *ledger.PostRequest) { r.Conditions[2].AccountID = marie }, "conditions[2].account_id"},
		{"most", func(r *ledger.PostRequest) { r.Conditions = conditions(ledger.MaxConditions) }, ""},
		{"too many", func(r *ledger.PostRequest) { r.Conditions = conditions(ledger.MaxConditions + 1) }, "conditions"},
	} {
		r := conditional()
		c.change(&r)
		wantField(t, c.name, r.Validate(), c.field)
	}
}

func conditions(n int) []ledger.Condition {
	var all []ledger.Condition
	for i := range n {
		all = append(all, ledger.Condition{AccountID: uuid.UUID{0: byte(i), 15: 1}, Version: new(int64(i))})
	}
	return all
}

func TestConditionHolds(t *testing.T) {
	b := ledger.Balance{AccountID: marie, Currency: ledger.EUR, Side: ledger.Credit, DebitsPosted: 1000, CreditsPosted: 1250, DebitsPending: 100, Version: 7}
	for _, c := range []struct {
		name string
		ledger.Condition
		holds bool
	}{
		{"version", ledger.Condition{Version: new(int64(7))}, true},
		{"balance", ledger.Condition{Balance: amount(250)}, true},
		{"both", ledger.Condition{Version: new(int64(7)), Balance: amount(250)}, true},
		{"an older version", ledger.Condition{Version: new(int64(6)), Balance: amount(250)}, false},
		{"a newer version", ledger.Condition{Version: new(int64(8))}, false},
		{"another balance", ledger.Condition{Version: new(int64(7)), Balance: amount(251)}, false},
		{"what is available", ledger.Condition{Balance: amount(150)}, false},
		{"the other side", ledger.Condition{Balance: amount(-250)}, false},
	} {
		c.AccountID = marie
		err := c.Check(b)
		if c.holds != (err == nil) || !c.holds && ledger.CodeOf(err) != ledger.CodeConditionFailed {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := (ledger.Condition{AccountID: marie, Balance: amount(1)}).Check(b); err == nil || !strings.Contains(err.Error(), "balance of 2.50 EUR, not 0.01") {
		t.Errorf("got %v", err)
	}
}

func TestOrdinalsToReverseAreChecked(t *testing.T) {
	all := make([]int, ledger.MaxPostings+1)
	for i := range all {
		all[i] = i
	}
	for _, c := range []struct {
		name     string
		ordinals []int
		field    string
	}{
		{"none", []int{}, ""},
		{"one", []int{0}, ""},
		{"all", all[:ledger.MaxPostings], ""},
		{"one more", all, "postings"},
		{"negative", []int{-1}, "postings[0]"},
		{"beyond", []int{0, ledger.MaxPostings}, "postings[1]"},
		{"twice", []int{1, 1}, "postings[1]"},
		{"descending", []int{1, 2, 0}, "postings[2]"},
	} {
		r := reverse()
		r.Postings = c.ordinals
		wantField(t, c.name, r.Validate(), c.field)
	}
	none, empty := reverse(), reverse()
	empty.Postings = []int{}
	if none.Hash() != empty.Hash() {
		t.Error("no ordinals and an empty list are two requests")
	}
}
