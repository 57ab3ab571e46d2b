package faulttest_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

const (
	// patience bounds what a test waits for; it is only ever reached when something
	// is broken.
	patience = time.Minute
	// funds is what the wallet with a floor starts with: a storm exhausts it.
	funds ledger.Amount = 5_000
	// ceiling is the most that the second wallet may hold.
	ceiling ledger.Amount = 3_000
)

// today is the effective date of all that the tests post, so that midnight
// changes nothing.
var today = ledger.Date{Year: 2014, Month: time.October, Day: 14}

// everything reports whether all faults are asked for, and not only the part of
// them that go test has time for.
func everything() bool { return os.Getenv("TWEETLEDGER_TEST_FAULTS") == "all" }

// seeded returns the randomness of a test. It is the same in every run; what the
// machine makes of it is not.
func seeded(t *testing.T, salt uint64) *rand.Rand {
	sum := salt
	for _, c := range t.Name() {
		sum = sum*31 + uint64(c)
	}
	return rand.New(rand.NewPCG(sum, 2014))
}

// stage is a book with the accounts of a storm.
type stage struct {
	t      *testing.T
	ctx    context.Context
	db     *sqldb.DB
	engine *engine.Engine // sees to it that all is right

	cash  ledger.Account // debit side, no bounds
	hot   ledger.Account // wallet with a floor of 0
	small ledger.Account // wallet with a floor of 0 and a ceiling
	payee ledger.Account // credit side, 4 shards, no bounds
}

// newStage opens the accounts on db.
func newStage(t *testing.T, db *sqldb.DB) *stage {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*patience)
	t.Cleanup(cancel)
	s := &stage{t: t, ctx: ctx, db: db, engine: engine.New(db, engine.Options{})}
	t.Cleanup(s.engine.Close)
	zero, most := ledger.Amount(0), ceiling
	s.cash = s.open(ledger.Account{Code: "cash", Category: ledger.Safeguarding, Side: ledger.Debit})
	s.hot = s.open(ledger.Account{Code: "hot", Category: ledger.CustomerEMoney, Side: ledger.Credit, Min: &zero})
	s.small = s.open(ledger.Account{Code: "small", Category: ledger.CustomerEMoney, Side: ledger.Credit, Min: &zero, Max: &most})
	s.payee = s.open(ledger.Account{Code: "payee", Category: ledger.CharityPayable, Side: ledger.Credit, Shards: 4})
	return s
}

func (s *stage) open(a ledger.Account) ledger.Account {
	s.t.Helper()
	a.ID, a.Name, a.Currency, a.Shards = ledger.SystemAccountID(a.Code), "Account for a test", ledger.EUR, max(a.Shards, 1)
	opened, err := s.engine.OpenAccount(s.ctx, a)
	if err != nil {
		s.t.Fatalf("open account %s: %v", a.Code, err)
	}
	return opened
}

func (s *stage) accounts() []ledger.Account {
	return []ledger.Account{s.cash, s.hot, s.small, s.payee}
}

// transfer returns a request for one posting.
func transfer(key string, debit, credit ledger.Account, amount ledger.Amount) ledger.PostRequest {
	return ledger.PostRequest{Key: key, Journal: ledger.JournalTransfers, Label: "Test transfer", EffectiveDate: today,
		Postings: []ledger.Posting{{Debit: debit.ID, Credit: credit.ID, Amount: amount, Currency: ledger.EUR}}}
}

// mustPost posts what nothing stands against.
func (s *stage) mustPost(r ledger.PostRequest) ledger.Transaction {
	s.t.Helper()
	made, err := s.engine.Post(s.ctx, r)
	if err != nil {
		s.t.Fatalf("post %s: %v", r.Key, err)
	}
	return made
}

// read runs queries on one snapshot.
func (s *stage) read(fn func(ctx context.Context, tx *sqldb.Tx) error) {
	s.t.Helper()
	if err := s.db.Read(s.ctx, fn); err != nil {
		s.t.Fatal(err)
	}
}

// find returns those of the transactions with the given keys that there are.
func (s *stage) find(keys []string) (found map[uuid.UUID]ledger.Transaction) {
	s.t.Helper()
	ids := make([]uuid.UUID, len(keys))
	for i, key := range keys {
		ids[i] = ledger.IDOfKey(key)
	}
	s.read(func(ctx context.Context, tx *sqldb.Tx) (err error) {
		found, err = engine.FindTransactions(ctx, tx, ids)
		return err
	})
	return found
}

// journal returns all transactions of the book, in the order in which they were
// recorded, and within one instant in the order of the book's pages.
func (s *stage) journal() []ledger.Transaction {
	s.t.Helper()
	const page = 1000
	var all []ledger.Transaction
	s.read(func(ctx context.Context, tx *sqldb.Tx) error {
		all = nil
		f := engine.TransactionFilter{Limit: page}
		for {
			list, err := engine.ListTransactions(ctx, tx, f)
			if err != nil {
				return err
			}
			all = append(all, list...)
			if len(list) < page {
				return nil
			}
			f.After = list[len(list)-1].Place
		}
	})
	slices.SortStableFunc(all, func(a, b ledger.Transaction) int { return a.RecordedAt.Compare(b.RecordedAt) })
	return all
}

// verify fails the test unless the book verifies.
func (s *stage) verify() {
	s.t.Helper()
	report, err := s.engine.Verify(s.ctx, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, d := range report.Differences {
		s.t.Error(d)
	}
}

// sameTransaction compares what a caller was told with what the book says.
func sameTransaction(a, b ledger.Transaction) bool {
	return a.ID == b.ID && a.Key == b.Key && a.Journal == b.Journal && a.Label == b.Label && a.EffectiveDate == b.EffectiveDate &&
		a.RecordedAt.Equal(b.RecordedAt) && a.Place == b.Place && a.Reverses == b.Reverses && a.HoldID == b.HoldID &&
		maps.Equal(a.Metadata, b.Metadata) && slices.Equal(a.Postings, b.Postings)
}

// storedBalances returns what the book says that stands on each account.
func (s *stage) storedBalances() map[uuid.UUID]ledger.Balance {
	s.t.Helper()
	stored := map[uuid.UUID]ledger.Balance{}
	s.read(func(ctx context.Context, tx *sqldb.Tx) error {
		for _, a := range s.accounts() {
			b, err := engine.FindBalance(ctx, tx, a.ID)
			if err != nil {
				return fmt.Errorf("account %s: %w", a.Code, err)
			}
			stored[a.ID] = b
		}
		return nil
	})
	return stored
}

// checkMoney checks that the balances are what the transactions make them, and
// that all of them add up to nothing: money is conserved.
func (s *stage) checkMoney(transactions []ledger.Transaction) {
	s.t.Helper()
	var total ledger.Amount
	debits, credits := map[uuid.UUID]ledger.Amount{}, map[uuid.UUID]ledger.Amount{}
	for _, made := range transactions {
		for _, p := range made.Postings {
			debits[p.Debit] += p.Amount
			credits[p.Credit] += p.Amount
		}
	}
	stored := s.storedBalances()
	for _, a := range s.accounts() {
		b := stored[a.ID]
		if b.DebitsPosted != debits[a.ID] || b.CreditsPosted != credits[a.ID] {
			s.t.Errorf("account %s has debits of %d and credits of %d; its transactions make %d and %d",
				a.Code, b.DebitsPosted, b.CreditsPosted, debits[a.ID], credits[a.ID])
		}
		total += b.DebitsPosted - b.CreditsPosted
	}
	if total != 0 {
		s.t.Errorf("debits and credits of all accounts differ by %d", total)
	}
}
