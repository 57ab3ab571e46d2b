package faulttest_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/ledger"
)

// limitsPassed replays transactions in the order given and names each moment at
// which an account has less than its minimum or more than its maximum. Holds only
// narrow what may be posted, so no order in which transactions were judged passes
// a limit.
func limitsPassed(accounts []ledger.Account, ordered []ledger.Transaction) []string {
	r := newReplay(accounts)
	for _, made := range ordered {
		r.post(made)
		r.check(fmt.Sprintf("transaction %s (%s)", made.ID, made.Key))
	}
	return r.passed
}

// limitsPassedWithHolds is limitsPassed with what is held counted as the ledger
// counts it, after each instant at which something was recorded: within one, holds
// have no order.
func limitsPassedWithHolds(accounts []ledger.Account, transactions []ledger.Transaction, holds []ledger.Hold) []string {
	type event struct {
		at    time.Time
		apply func(r *replay)
	}
	var events []event
	byID := map[uuid.UUID]ledger.Hold{}
	for _, h := range holds {
		byID[h.ID] = h
		events = append(events, event{h.RecordedAt, func(r *replay) { r.hold(h, h.Amount) }})
		if h.Status != ledger.HoldPending {
			events = append(events, event{h.ClosedAt, func(r *replay) { r.hold(h, h.Posted-h.Amount) }})
		}
	}
	for _, made := range transactions {
		events = append(events, event{made.RecordedAt, func(r *replay) {
			r.post(made)
			for _, p := range made.Postings {
				if made.HoldID != uuid.Nil {
					r.hold(byID[made.HoldID], -p.Amount)
				}
			}
		}})
	}
	slices.SortStableFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	r := newReplay(accounts)
	for i, e := range events {
		e.apply(r)
		if i == len(events)-1 || !events[i+1].at.Equal(e.at) {
			r.check(e.at.Format(time.RFC3339Nano))
		}
	}
	return r.passed
}

// replay is what stands on accounts at one moment.
type replay struct {
	accounts []ledger.Account
	balances map[uuid.UUID]ledger.Balance
	passed   []string
}

func newReplay(accounts []ledger.Account) *replay {
	r := &replay{accounts: accounts, balances: map[uuid.UUID]ledger.Balance{}}
	for _, a := range accounts {
		r.balances[a.ID] = ledger.Balance{AccountID: a.ID, Currency: a.Currency, Side: a.Side}
	}
	return r
}

func (r *replay) change(account uuid.UUID, fn func(b *ledger.Balance)) {
	b := r.balances[account]
	fn(&b)
	r.balances[account] = b
}

func (r *replay) post(made ledger.Transaction) {
	for _, p := range made.Postings {
		r.change(p.Debit, func(b *ledger.Balance) { b.DebitsPosted += p.Amount })
		r.change(p.Credit, func(b *ledger.Balance) { b.CreditsPosted += p.Amount })
	}
}

// hold sets an amount aside, or gives it back where it is below zero.
func (r *replay) hold(h ledger.Hold, amount ledger.Amount) {
	r.change(h.Debit, func(b *ledger.Balance) { b.DebitsPending += amount })
	r.change(h.Credit, func(b *ledger.Balance) { b.CreditsPending += amount })
}

func (r *replay) check(moment string) {
	for _, a := range r.accounts {
		b := r.balances[a.ID]
		if a.Min != nil && b.Available() < *a.Min {
			r.passed = append(r.passed, fmt.Sprintf("after %s account %s has %d available, less than %d", moment, a.Code, b.Available(), *a.Min))
		}
		if a.Max != nil && b.Expected() > *a.Max {
			r.passed = append(r.passed, fmt.Sprintf("after %s account %s expects %d, more than %d", moment, a.Code, b.Expected(), *a.Max))
		}
	}
}

// A check that finds nothing wrong in anything would let every test here pass.
func TestReplaySeesLimitsThatArePassed(t *testing.T) {
	zero, most := ledger.Amount(0), ledger.Amount(100)
	cash := ledger.Account{ID: uuid.New(), Code: "cash", Side: ledger.Debit}
	wallet := ledger.Account{ID: uuid.New(), Code: "wallet", Side: ledger.Credit, Min: &zero, Max: &most}
	accounts := []ledger.Account{cash, wallet}
	at := time.Date(2014, time.October, 14, 8, 0, 0, 0, time.UTC)
	move := func(second int, debit, credit ledger.Account, amount ledger.Amount) ledger.Transaction {
		return ledger.Transaction{ID: uuid.New(), RecordedAt: at.Add(time.Duration(second) * time.Second),
			Postings: []ledger.Posting{{Debit: debit.ID, Credit: credit.ID, Amount: amount, Currency: ledger.EUR}}}
	}
	in, out, more := move(1, cash, wallet, 80), move(3, wallet, cash, 80), move(4, cash, wallet, 90)
	held := ledger.Hold{ID: uuid.New(), Debit: wallet.ID, Credit: cash.ID, Amount: 50, Status: ledger.HoldVoided,
		RecordedAt: at.Add(2 * time.Second), ClosedAt: at.Add(3 * time.Second)}
	late := held
	late.ClosedAt = at.Add(5 * time.Second)
	coming := ledger.Hold{ID: uuid.New(), Debit: cash.ID, Credit: wallet.ID, Amount: 30, Status: ledger.HoldPending, RecordedAt: at.Add(2 * time.Second)}
	for name, c := range map[string]struct {
		got  []string
		want int
	}{
		"in order":             {limitsPassed(accounts, []ledger.Transaction{in, out, more}), 0},
		"out before in":        {limitsPassed(accounts, []ledger.Transaction{out, in, more}), 1},
		"in twice":             {limitsPassed(accounts, []ledger.Transaction{in, more, out}), 1},
		"hold given back":      {limitsPassedWithHolds(accounts, []ledger.Transaction{in, out, more}, []ledger.Hold{held}), 0},
		"hold given back late": {limitsPassedWithHolds(accounts, []ledger.Transaction{in, out}, []ledger.Hold{late}), 1},
		"more expected":        {limitsPassedWithHolds(accounts, []ledger.Transaction{in}, []ledger.Hold{coming}), 1},
	} {
		if len(c.got) != c.want {
			t.Errorf("%s: %q, want %d", name, c.got, c.want)
		}
	}
}
