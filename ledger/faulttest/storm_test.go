package faulttest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// Sizes of a storm.
const (
	stormCallers = 4 // of each process
	someSteps    = 30
	fewSteps     = 10 // on CockroachDB, where go test has little time
	manySteps    = 200
	sharedKeys   = 10 // one step in as many repeats what somebody asked before
)

// TestSeveralProcesses is the line "two and four processes in one database, hot
// account, with reversals and holds mixed in, against the model's invariants".
func TestSeveralProcesses(t *testing.T) {
	for _, processes := range []int{2, 4} {
		t.Run(fmt.Sprint(processes), func(t *testing.T) {
			sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
				steps := someSteps
				switch {
				case everything():
					steps = manySteps
				case db.Engine() == sqldb.CockroachDB:
					steps = fewSteps
				}
				s := newStorm(t, db)
				var all sync.WaitGroup
				for p := range processes {
					w := startWorker(t, db.String(), 0)
					for caller := range stormCallers {
						all.Go(func() { s.rage(w, p*stormCallers+caller, steps) })
					}
				}
				all.Wait()
				s.check(processes * stormCallers * steps)
			})
		})
	}
}

// storm is random commands of many callers, who also use each other's holds,
// transactions and keys, and what they were told.
type storm struct {
	*stage
	mu           sync.Mutex
	asked        []ledger.Request
	transactions []uuid.UUID // that were acknowledged
	holds        []uuid.UUID
	requests     map[string]ledger.Request // that were accepted, by key
	outcomes     map[string][]outcome      // of those
	refused      map[ledger.Code]int
}

func newStorm(t *testing.T, db *sqldb.DB) *storm {
	s := &storm{stage: newStage(t, db), requests: map[string]ledger.Request{}, outcomes: map[string][]outcome{}, refused: map[ledger.Code]int{}}
	fund := transfer("storm:fund", s.cash, s.hot, funds)
	made := s.mustPost(fund)
	s.note(fund, outcome{Transaction: made})
	return s
}

// rage makes the steps of one caller.
func (s *storm) rage(b book, caller, steps int) {
	random := seeded(s.t, uint64(caller))
	for i := range steps {
		r := s.draw(random, fmt.Sprintf("storm:%d:%d", caller, i))
		s.mu.Lock()
		s.asked = append(s.asked, r)
		s.mu.Unlock()
		for try := 0; ; try++ {
			outcomes, ok := b.do(order{Requests: []ledger.Request{r}, Lookup: random.IntN(2) == 0 || try > 0})
			if !ok {
				s.t.Errorf("no answer to %s", r.IdempotencyKey())
				return
			}
			if outcomes[0].Code == ledger.CodeUnavailable && try < maxAsked {
				continue // as callers are told to
			}
			s.note(r, outcomes[0])
			break
		}
	}
}

// note remembers what became of a request.
func (s *storm) note(r ledger.Request, out outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !out.accepted() {
		s.refused[out.Code]++
		switch out.Code {
		case ledger.CodeInsufficientFunds, ledger.CodeLimitExceeded, ledger.CodeHoldClosed, ledger.CodeAlreadyReversed:
		default:
			s.t.Errorf("%+v: %q: %s", r, out.Code, out.Message)
		}
		return
	}
	key := r.IdempotencyKey()
	if _, again := s.requests[key]; !again {
		switch r.(type) {
		case ledger.HoldRequest:
			s.holds = append(s.holds, out.Hold.ID)
		case ledger.VoidHoldRequest:
		default:
			s.transactions = append(s.transactions, out.Transaction.ID)
		}
	}
	s.requests[key] = r
	s.outcomes[key] = append(s.outcomes[key], out)
}

// draw makes up a request. It prefers what is new, so that two callers often want
// the same.
func (s *storm) draw(random *rand.Rand, key string) ledger.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	recent := func(ids []uuid.UUID) uuid.UUID { return ids[len(ids)-1-random.IntN(min(len(ids), 8))] }
	amount := ledger.Amount(1 + random.IntN(int(funds)/8))
	if random.IntN(sharedKeys) == 0 && len(s.asked) > 0 {
		return s.asked[len(s.asked)-1-random.IntN(min(len(s.asked), 8))]
	}
	switch n := random.IntN(12); {
	case n < 3:
		return transfer(key, s.hot, s.payee, amount)
	case n < 4:
		return transfer(key, s.hot, s.small, amount)
	case n < 5:
		return transfer(key, s.small, s.hot, amount)
	case n < 6:
		return transfer(key, s.cash, s.hot, amount/4+1)
	case n < 8 || len(s.holds) == 0:
		return ledger.HoldRequest{Key: key, Debit: s.hot.ID, Credit: s.payee.ID, Amount: amount, Currency: ledger.EUR}
	case n < 9:
		return ledger.PostHoldRequest{Key: key, HoldID: recent(s.holds), Amount: amount/4 + 1, ReleaseRest: random.IntN(2) == 0,
			Journal: ledger.JournalTransfers, Label: "Part of a hold", EffectiveDate: today}
	case n < 10:
		return ledger.PostHoldRequest{Key: key, HoldID: recent(s.holds), Journal: ledger.JournalTransfers, Label: "All of a hold", EffectiveDate: today}
	case n < 11:
		return ledger.VoidHoldRequest{Key: key, HoldID: recent(s.holds)}
	}
	return ledger.ReverseRequest{Key: key, TransactionID: recent(s.transactions), Label: "Back", EffectiveDate: today}
}

// check checks the book after the storm against what callers were told.
func (s *storm) check(steps int) {
	s.t.Helper()
	journal := s.journal()
	s.checkKeys(journal)
	s.checkReversals(journal)
	holds := s.checkHolds(journal)
	s.checkMoney(journal)
	for _, passed := range limitsPassed(s.accounts(), journal) {
		s.t.Error(passed)
	}
	for _, passed := range limitsPassedWithHolds(s.accounts(), journal, holds) {
		s.t.Error(passed)
	}
	s.verify()
	s.t.Logf("%d steps: %d transactions, %d holds; refused: %v", steps, len(journal), len(holds), s.refused)
	if len(journal) < steps/8 || len(holds) == 0 || s.refused[ledger.CodeInsufficientFunds] == 0 || s.refused[ledger.CodeHoldClosed] == 0 {
		s.t.Error("the storm was none: too little was done, or nothing was in anybody's way")
	}
}

// checkKeys checks that every key was used once, and that all who used it were
// told the same.
func (s *storm) checkKeys(journal []ledger.Transaction) {
	s.t.Helper()
	stored := map[string]ledger.Transaction{}
	for _, made := range journal {
		if _, twice := stored[made.Key]; twice {
			s.t.Errorf("%s posted twice", made.Key)
		}
		stored[made.Key] = made
		if len(s.outcomes[made.Key]) == 0 {
			s.t.Errorf("%s is in the book and nobody was told", made.Key)
		}
	}
	for key, outcomes := range s.outcomes {
		_, isHold := s.requests[key].(ledger.HoldRequest)
		_, isVoid := s.requests[key].(ledger.VoidHoldRequest)
		for _, out := range outcomes {
			switch {
			case isHold && out.Hold.ID != ledger.IDOfKey(key):
				s.t.Errorf("%s was answered with hold %s", key, out.Hold.ID)
			case !isHold && !isVoid && !sameTransaction(out.Transaction, stored[key]):
				s.t.Errorf("%s was answered with %+v, and the book says %+v", key, out.Transaction, stored[key])
			}
		}
	}
}

// checkReversals checks that nothing was reversed twice.
func (s *storm) checkReversals(journal []ledger.Transaction) {
	s.t.Helper()
	reversed := map[uuid.UUID]string{}
	for _, made := range journal {
		if made.Reverses == uuid.Nil {
			continue
		}
		if before, twice := reversed[made.Reverses]; twice {
			s.t.Errorf("%s and %s both reverse %s", before, made.Key, made.Reverses)
		}
		reversed[made.Reverses] = made.Key
	}
}

// checkHolds checks that every hold ended in at most one way, and returns all.
func (s *storm) checkHolds(journal []ledger.Transaction) []ledger.Hold {
	s.t.Helper()
	posted, last := map[uuid.UUID]ledger.Amount{}, map[uuid.UUID]ledger.Transaction{}
	for _, made := range journal {
		if made.HoldID != uuid.Nil {
			posted[made.HoldID] += made.Postings[0].Amount
			last[made.HoldID] = made
		}
	}
	voids := map[uuid.UUID]int{}
	for _, r := range s.requests {
		if void, ok := r.(ledger.VoidHoldRequest); ok {
			voids[void.HoldID]++
		}
	}
	var holds []ledger.Hold
	s.read(func(ctx context.Context, tx *sqldb.Tx) error {
		holds = nil
		for _, id := range s.holds {
			h, err := engine.FindHold(ctx, tx, id)
			if err != nil {
				return err
			}
			holds = append(holds, h)
		}
		return nil
	})
	for _, h := range holds {
		want := map[bool]int{true: 1}[h.Status == ledger.HoldVoided]
		if voids[h.ID] != want {
			s.t.Errorf("hold %s is %s, and was voided by %d keys", h.Key, h.Status, voids[h.ID])
		}
		if h.Posted != posted[h.ID] || h.Posted > h.Amount {
			s.t.Errorf("of hold %s over %d the book says that %d is posted, its transactions %d", h.Key, h.Amount, h.Posted, posted[h.ID])
		}
		if h.Status == ledger.HoldPosted && h.Posted == 0 || h.Status == ledger.HoldPending && h.Posted == h.Amount {
			s.t.Errorf("hold %s is %s with %d of %d posted", h.Key, h.Status, h.Posted, h.Amount)
		}
		if !h.ClosedAt.IsZero() && last[h.ID].RecordedAt.After(h.ClosedAt) {
			s.t.Errorf("hold %s was %s at %s, and posted at %s", h.Key, h.Status, h.ClosedAt, last[h.ID].RecordedAt)
		}
	}
	return holds
}
