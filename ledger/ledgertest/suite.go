// Package ledgertest says what a ledger must do. Run is the conformance suite;
// Model is the same book in memory, which the suite compares an engine with.
package ledgertest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/ledger"
)

// Book is what the suite needs of an engine.
type Book interface {
	OpenAccount(ctx context.Context, a ledger.Account) (ledger.Account, error)
	Post(ctx context.Context, r ledger.PostRequest) (ledger.Transaction, error)
	Hold(ctx context.Context, r ledger.HoldRequest) (ledger.Hold, error)
	PostHold(ctx context.Context, r ledger.PostHoldRequest) (ledger.Transaction, error)
	VoidHold(ctx context.Context, r ledger.VoidHoldRequest) (ledger.Hold, error)
	Reverse(ctx context.Context, r ledger.ReverseRequest) (ledger.Transaction, error)
	// Balance returns what stands on an account now.
	Balance(ctx context.Context, account uuid.UUID) (ledger.Balance, error)
	// BalanceAsOf returns what was posted to an account up to a date and an
	// instant, both inclusive; zero is no bound.
	BalanceAsOf(ctx context.Context, account uuid.UUID, date ledger.Date, recorded time.Time) (ledger.Balance, error)
	// HoldByID returns a hold as it is now.
	HoldByID(ctx context.Context, id uuid.UUID) (ledger.Hold, error)
	// Verify recomputes the book and returns an error that names each difference.
	Verify(ctx context.Context) error
}

// Harness makes books for the suite.
type Harness struct {
	// Open returns n engines on the book, the same one at every call, which was
	// empty before the suite. They tell the time by clock and are closed when the
	// test ends.
	Open func(t *testing.T, n int, clock func() time.Time) []Book
}

// Clock is a clock that a test sets. It is safe for concurrent use.
type Clock struct{ micros atomic.Int64 }

// NewClock returns a clock that stands at t.
func NewClock(t time.Time) *Clock {
	c := &Clock{}
	c.micros.Store(t.UnixMicro())
	return c
}

// Now returns the clock's time in UTC.
func (c *Clock) Now() time.Time { return time.UnixMicro(c.micros.Load()).UTC() }

// Advance moves the clock, back where d is negative.
func (c *Clock) Advance(d time.Duration) { c.micros.Add(d.Microseconds()) }

// Start is the time at which the suite's clocks begin: 14 October 2014, when
// the first payment by tweet was made in France.
var Start = time.Date(2014, time.October, 14, 8, 0, 0, 0, time.UTC)

// Run checks that an engine keeps the ledger's laws.
func Run(t *testing.T, h Harness) {
	for _, law := range []struct {
		name string
		test func(t *testing.T, f *fixture)
	}{
		{"PostMovesMoney", testPost},
		{"PostIsAllOrNothing", testAllOrNothing},
		{"BadPostingsAreRefused", testBadPostings},
		{"KeysLiveForEver", testKeys},
		{"LimitsHold", testLimits},
		{"LimitsAreJudgedInOrder", testLimitsInOrder},
		{"OverflowIsRefused", testOverflow},
		{"HoldPostVoid", testHolds},
		{"HoldsExpire", testExpiry},
		{"HoldEndsOnce", testHoldEndsOnce},
		{"ReverseOnce", testReverse},
		{"BalancesAsOf", testAsOf},
		{"ClockSetBack", testClockSetBack},
		{"AccountsOpenOnce", testOpenAccount},
		{"MatchesModel", testStateMachine},
		{"MatchesModelConcurrently", testConcurrent},
		{"SeveralEnginesOneBook", testSeveralEngines},
	} {
		t.Run(law.name, func(t *testing.T) {
			f := newFixture(t, h, strings.ToLower(law.name))
			law.test(t, f)
			f.verify()
		})
	}
}

// fixture is a book with a clock and an open account of each sort.
type fixture struct {
	t       *testing.T
	ctx     context.Context
	harness Harness
	clock   *Clock
	book    Book
	prefix  string // of account codes and keys, so that all tests can share one book
	keys    atomic.Int64

	cash   ledger.Account // debit side, no bounds
	marie  ledger.Account // wallet: 0 to 2500.00
	yoann  ledger.Account // wallet
	payee  ledger.Account // credit side, sharded, no bounds
	dollar ledger.Account // in USD
}

func newFixture(t *testing.T, h Harness, prefix string) *fixture {
	t.Helper()
	f := &fixture{t: t, ctx: t.Context(), harness: h, clock: NewClock(Start), prefix: prefix + ":"}
	f.book = h.Open(t, 1, f.clock.Now)[0]
	f.openAccounts("")
	return f
}

// openAccounts opens the fixture's accounts under fresh ids, so that one book
// can serve many runs of a property.
func (f *fixture) openAccounts(run string) {
	f.t.Helper()
	prefix := f.prefix + run
	zero, ceiling := ledger.Amount(0), ledger.Amount(250_000)
	f.cash = f.open(ledger.Account{Code: prefix + "cash", Category: ledger.Safeguarding, Side: ledger.Debit, Currency: ledger.EUR, Shards: 1})
	f.marie = f.open(ledger.Account{Code: prefix + "marie", Category: ledger.CustomerEMoney, Side: ledger.Credit, Currency: ledger.EUR, Shards: 1, Min: &zero, Max: &ceiling})
	f.yoann = f.open(ledger.Account{Code: prefix + "yoann", Category: ledger.CustomerEMoney, Side: ledger.Credit, Currency: ledger.EUR, Shards: 1, Min: &zero, Max: &ceiling})
	f.payee = f.open(ledger.Account{Code: prefix + "payee", Category: ledger.CharityPayable, Side: ledger.Credit, Currency: ledger.EUR, Shards: 4})
	f.dollar = f.open(ledger.Account{Code: prefix + "dollar", Category: ledger.OwnAccount, Side: ledger.Debit, Currency: "USD", Shards: 1})
}

func (f *fixture) open(a ledger.Account) ledger.Account {
	f.t.Helper()
	a.ID, a.Name = uuid.New(), "Account for a test"
	opened, err := f.book.OpenAccount(f.ctx, a)
	if err != nil {
		f.t.Fatalf("open account %s: %v", a.Code, err)
	}
	return opened
}

func (f *fixture) key() string { return fmt.Sprintf("%s%d", f.prefix, f.keys.Add(1)) }

// post returns a request for one posting.
func (f *fixture) post(debit, credit ledger.Account, amount ledger.Amount) ledger.PostRequest {
	return ledger.PostRequest{Key: f.key(), Journal: ledger.JournalTransfers, Label: "Test transfer",
		Postings: []ledger.Posting{{Debit: debit.ID, Credit: credit.ID, Amount: amount, Currency: ledger.EUR}}}
}

func (f *fixture) hold(debit, credit ledger.Account, amount ledger.Amount) ledger.HoldRequest {
	return ledger.HoldRequest{Key: f.key(), Debit: debit.ID, Credit: credit.ID, Amount: amount, Currency: ledger.EUR}
}

func (f *fixture) postHold(id uuid.UUID, amount ledger.Amount) ledger.PostHoldRequest {
	return ledger.PostHoldRequest{Key: f.key(), HoldID: id, Amount: amount, Journal: ledger.JournalTransfers, Label: "Test of a hold"}
}

// do carries a request out and fails the test unless the result has the code.
func (f *fixture) do(r ledger.Request, want ledger.Code) (ledger.Transaction, ledger.Hold) {
	f.t.Helper()
	transaction, hold, err := submit(f.ctx, f.book, r)
	if err != nil && ledger.CodeOf(err) == "" {
		f.t.Fatalf("%T: unexpected failure: %v", r, err)
	}
	if got := ledger.CodeOf(err); got != want {
		f.t.Fatalf("%T: got %q (%v), want %q", r, got, err, want)
	}
	return transaction, hold
}

func submit(ctx context.Context, book Book, request ledger.Request) (ledger.Transaction, ledger.Hold, error) {
	var t ledger.Transaction
	var h ledger.Hold
	var err error
	switch r := request.(type) {
	case ledger.PostRequest:
		t, err = book.Post(ctx, r)
	case ledger.HoldRequest:
		h, err = book.Hold(ctx, r)
	case ledger.PostHoldRequest:
		t, err = book.PostHold(ctx, r)
	case ledger.VoidHoldRequest:
		h, err = book.VoidHold(ctx, r)
	case ledger.ReverseRequest:
		t, err = book.Reverse(ctx, r)
	}
	return t, h, err
}

// wantBalance checks posted and available amounts on the account's normal side.
func (f *fixture) wantBalance(a ledger.Account, posted, available ledger.Amount) {
	f.t.Helper()
	b, err := f.book.Balance(f.ctx, a.ID)
	if err != nil {
		f.t.Fatalf("balance of %s: %v", a.Code, err)
	}
	if b.Posted() != posted || b.Available() != available {
		f.t.Fatalf("balance of %s: posted %d, available %d; want %d, %d", a.Code, b.Posted(), b.Available(), posted, available)
	}
}

func (f *fixture) verify() {
	f.t.Helper()
	if err := f.book.Verify(f.ctx); err != nil {
		f.t.Errorf("the book does not verify: %v", err)
	}
}

func testPost(t *testing.T, f *fixture) {
	r := f.post(f.cash, f.marie, 20_000)
	r.Source = ledger.Source{Channel: "test", ID: "42", Date: ledger.Date{Year: 2014, Month: time.October, Day: 13}}
	r.Metadata = map[string]string{"rail": "card", "batch": "7"}
	made, _ := f.do(r, "")
	if made.ID != ledger.IDOfKey(r.Key) || made.Source != r.Source || len(made.Metadata) != 2 ||
		!slices.Equal(made.Postings, r.Postings) || made.EffectiveDate != (ledger.Date{Year: 2014, Month: time.October, Day: 14}) {
		t.Errorf("transaction is %+v", made)
	}
	f.wantBalance(f.cash, 20_000, 20_000)
	f.wantBalance(f.marie, 20_000, 20_000)
	f.do(f.post(f.marie, f.yoann, 1299), "")
	f.wantBalance(f.marie, 18_701, 18_701)
	f.wantBalance(f.yoann, 1299, 1299)
}

func testAllOrNothing(t *testing.T, f *fixture) {
	r := f.post(f.cash, f.marie, 1000)
	r.Postings = append(r.Postings,
		ledger.Posting{Debit: f.marie.ID, Credit: f.payee.ID, Amount: 400, Currency: ledger.EUR},
		ledger.Posting{Debit: f.marie.ID, Credit: f.yoann.ID, Amount: 601, Currency: ledger.EUR})
	f.do(r, ledger.CodeInsufficientFunds)
	f.wantBalance(f.marie, 0, 0)
	f.wantBalance(f.payee, 0, 0)
	r.Postings[2].Amount = 600
	f.do(r, "") // a refused request has not used up its key
	f.wantBalance(f.marie, 0, 0)
	f.wantBalance(f.payee, 400, 400)

	long := f.post(f.cash, f.payee, 1)
	for len(long.Postings) < ledger.MaxPostings {
		long.Postings = append(long.Postings, long.Postings[0])
	}
	f.do(long, "")
	f.wantBalance(f.payee, 1400, 1400)
	long.Key, long.Postings = f.key(), append(long.Postings, long.Postings[0])
	f.do(long, ledger.CodeInvalid)
}

func testBadPostings(t *testing.T, f *fixture) {
	stranger := ledger.Account{ID: uuid.New()}
	for name, bad := range map[string]struct {
		change func(r *ledger.PostRequest)
		want   ledger.Code
	}{
		"no postings":       {func(r *ledger.PostRequest) { r.Postings = nil }, ledger.CodeInvalid},
		"zero":              {func(r *ledger.PostRequest) { r.Postings[0].Amount = 0 }, ledger.CodeInvalid},
		"negative":          {func(r *ledger.PostRequest) { r.Postings[0].Amount = -1 }, ledger.CodeInvalid},
		"one account twice": {func(r *ledger.PostRequest) { r.Postings[0].Credit = f.cash.ID }, ledger.CodeInvalid},
		"no debit":          {func(r *ledger.PostRequest) { r.Postings[0].Debit = uuid.Nil }, ledger.CodeInvalid},
		"unknown account":   {func(r *ledger.PostRequest) { r.Postings[0].Credit = stranger.ID }, ledger.CodeNotFound},
		"unknown currency":  {func(r *ledger.PostRequest) { r.Postings[0].Currency = "EURO" }, ledger.CodeInvalid},
		"other currency":    {func(r *ledger.PostRequest) { r.Postings[0].Currency = "USD" }, ledger.CodeCurrencyMismatch},
		"dollars to euros":  {func(r *ledger.PostRequest) { r.Postings[0].Debit = f.dollar.ID }, ledger.CodeCurrencyMismatch},
		"no key":            {func(r *ledger.PostRequest) { r.Key = "" }, ledger.CodeInvalid},
		"control character": {func(r *ledger.PostRequest) { r.Label = "a\x00b" }, ledger.CodeInvalid},
		"bidi override":     {func(r *ledger.PostRequest) { r.Label = "a\u202eb" }, ledger.CodeInvalid},
		"bad journal":       {func(r *ledger.PostRequest) { r.Journal = "vir" }, ledger.CodeInvalid},
		"large metadata":    {func(r *ledger.PostRequest) { r.Metadata = map[string]string{"k": string(make([]byte, 300))} }, ledger.CodeInvalid},
	} {
		r := f.post(f.cash, f.marie, 100)
		bad.change(&r)
		if _, err := f.book.Post(f.ctx, r); ledger.CodeOf(err) != bad.want {
			t.Errorf("%s: got %v, want %q", name, err, bad.want)
		}
	}
	f.wantBalance(f.cash, 0, 0)
}

func testKeys(t *testing.T, f *fixture) {
	r := f.post(f.cash, f.marie, 500)
	first, _ := f.do(r, "")
	f.clock.Advance(40 * 24 * time.Hour)
	again, _ := f.do(r, "")
	if again.ID != first.ID || !again.RecordedAt.Equal(first.RecordedAt) || again.EffectiveDate != first.EffectiveDate {
		t.Errorf("the second answer is %+v, the first was %+v", again, first)
	}
	other := r
	other.Label = "Another label"
	_, err := f.book.Post(f.ctx, other)
	if ledger.CodeOf(err) != ledger.CodeConflict || !strings.Contains(err.Error(), fmt.Sprintf("(transaction %s, effective %s)", first.ID, first.EffectiveDate)) {
		t.Errorf("the same key with other content: %v", err)
	}
	hold := f.hold(f.marie, f.yoann, 100)
	hold.Key = r.Key
	f.do(hold, ledger.CodeConflict)
	f.wantBalance(f.marie, 500, 500)

	hold.Key = f.key()
	_, held := f.do(hold, "")
	_, heldAgain := f.do(hold, "")
	if held.ID != heldAgain.ID || heldAgain.Amount != 100 {
		t.Errorf("the second answer is %+v, the first was %+v", heldAgain, held)
	}
	void := ledger.VoidHoldRequest{Key: f.key(), HoldID: held.ID}
	f.do(void, "")
	_, voided := f.do(void, "")
	if voided.ID != held.ID || voided.Status != ledger.HoldVoided {
		t.Errorf("the repeated void answers %+v", voided)
	}
	f.wantBalance(f.marie, 500, 500)
}

func testLimits(t *testing.T, f *fixture) {
	f.do(f.post(f.cash, f.marie, 250_000), "")
	f.do(f.post(f.cash, f.marie, 1), ledger.CodeLimitExceeded)
	f.do(f.post(f.marie, f.payee, 250_001), ledger.CodeInsufficientFunds)
	f.do(f.hold(f.cash, f.marie, 1), ledger.CodeLimitExceeded)
	_, held := f.do(f.hold(f.marie, f.yoann, 200_000), "")
	f.wantBalance(f.marie, 250_000, 50_000)
	f.do(f.post(f.marie, f.payee, 50_001), ledger.CodeInsufficientFunds)
	f.do(f.post(f.cash, f.yoann, 50_001), ledger.CodeLimitExceeded) // with what is expected from marie
	f.do(f.post(f.marie, f.payee, 50_000), "")
	f.do(f.postHold(held.ID, 0), "")
	f.wantBalance(f.marie, 0, 0)
	f.wantBalance(f.yoann, 200_000, 200_000)
}

// testLimitsInOrder posts many small transfers at once out of a wallet that
// covers only some of them, while others pay in: netting would hide overdrafts.
func testLimitsInOrder(t *testing.T, f *fixture) {
	f.do(f.post(f.cash, f.marie, 1000), "")
	const callers = 60
	codes := make([]ledger.Code, callers)
	var wg sync.WaitGroup
	for i := range callers {
		r := f.post(f.marie, f.payee, 100)
		wg.Go(func() {
			_, err := f.book.Post(f.ctx, r)
			codes[i] = ledger.CodeOf(err)
		})
	}
	wg.Wait()
	done := 0
	for _, code := range codes {
		switch code {
		case "":
			done++
		case ledger.CodeInsufficientFunds:
		default:
			t.Fatalf("a transfer ended with %q", code)
		}
	}
	if done != 10 {
		t.Fatalf("%d transfers of 1.00 left a wallet with 10.00", done)
	}
	f.wantBalance(f.marie, 0, 0)
	f.wantBalance(f.payee, 1000, 1000)
}

func testOverflow(t *testing.T, f *fixture) {
	f.do(f.post(f.cash, f.payee, math.MaxInt64), "")
	f.do(f.post(f.cash, f.payee, 1), ledger.CodeOverflow)
	both := f.post(f.dollarTwin(), f.payee, math.MaxInt64)
	both.Postings = append(both.Postings, both.Postings[0])
	f.do(both, ledger.CodeOverflow)
	f.wantBalance(f.payee, math.MaxInt64, math.MaxInt64)
	f.do(f.post(f.dollarTwin(), f.marie, 100), "")
}

// dollarTwin opens one more unbounded account in EUR.
func (f *fixture) dollarTwin() ledger.Account {
	return f.open(ledger.Account{Code: f.key(), Category: ledger.OwnAccount,
		Side: ledger.Debit, Currency: ledger.EUR, Shards: 1})
}

func testHolds(t *testing.T, f *fixture) {
	f.do(f.post(f.cash, f.marie, 1000), "")
	_, h := f.do(f.hold(f.marie, f.yoann, 600), "")
	if h.Status != ledger.HoldPending || h.Remaining() != 600 {
		t.Errorf("hold is %+v", h)
	}
	f.do(f.hold(f.marie, f.payee, 401), ledger.CodeInsufficientFunds)
	made, _ := f.do(f.postHold(h.ID, 250), "")
	if made.HoldID != h.ID || made.Postings[0].Amount != 250 {
		t.Errorf("transaction is %+v", made)
	}
	f.wantBalance(f.marie, 750, 400)
	f.do(f.postHold(h.ID, 351), ledger.CodeHoldClosed)
	f.do(f.postHold(h.ID, 100), "")
	rest := f.postHold(h.ID, 50)
	rest.ReleaseRest = true
	f.do(rest, "")
	f.wantBalance(f.marie, 600, 600)
	f.wantBalance(f.yoann, 400, 400)
	now, err := f.book.HoldByID(f.ctx, h.ID)
	if err != nil || now.Status != ledger.HoldPosted || now.Posted != 400 || now.Remaining() != 0 {
		t.Errorf("hold is %+v, %v", now, err)
	}
	f.do(f.postHold(h.ID, 0), ledger.CodeHoldClosed)
	f.do(ledger.VoidHoldRequest{Key: f.key(), HoldID: h.ID}, ledger.CodeHoldClosed)
	f.do(f.postHold(uuid.New(), 0), ledger.CodeNotFound)
	f.do(ledger.VoidHoldRequest{Key: f.key(), HoldID: uuid.New()}, ledger.CodeNotFound)

	_, h = f.do(f.hold(f.marie, f.payee, 600), "")
	f.do(f.postHold(h.ID, 100), "")
	_, voided := f.do(ledger.VoidHoldRequest{Key: f.key(), HoldID: h.ID}, "")
	if voided.Status != ledger.HoldVoided || voided.Posted != 100 || voided.ClosedAt.IsZero() {
		t.Errorf("voided hold is %+v", voided)
	}
	f.wantBalance(f.marie, 500, 500)
	f.wantBalance(f.payee, 100, 100)
}

func testExpiry(t *testing.T, f *fixture) {
	f.do(f.post(f.cash, f.marie, 1000), "")
	r := f.hold(f.marie, f.yoann, 1000)
	r.ExpiresAt = f.clock.Now()
	f.do(r, ledger.CodeInvalid)
	r.ExpiresAt = f.clock.Now().Add(48 * time.Hour)
	_, h := f.do(r, "")
	if !h.ExpiresAt.Equal(r.ExpiresAt) {
		t.Errorf("hold expires at %s, want %s", h.ExpiresAt, r.ExpiresAt)
	}
	expire := ledger.VoidHoldRequest{Key: f.key(), HoldID: h.ID, Expired: true}
	f.do(expire, ledger.CodeInvalid)
	f.clock.Advance(48 * time.Hour)
	f.do(f.postHold(h.ID, 0), ledger.CodeHoldClosed)
	f.wantBalance(f.marie, 1000, 0)
	_, h = f.do(expire, "")
	if h.Status != ledger.HoldExpired {
		t.Errorf("hold is %+v", h)
	}
	f.wantBalance(f.marie, 1000, 1000)
}

// testHoldEndsOnce posts, voids and expires a hold at the same time.
func testHoldEndsOnce(t *testing.T, f *fixture) {
	f.do(f.post(f.cash, f.marie, 10_000), "")
	for range 10 {
		r := f.hold(f.marie, f.yoann, 100)
		r.ExpiresAt = f.clock.Now().Add(time.Hour)
		_, h := f.do(r, "")
		requests := []ledger.Request{
			f.postHold(h.ID, 0),
			ledger.VoidHoldRequest{Key: f.key(), HoldID: h.ID},
			f.postHold(h.ID, 60),
			f.postHold(h.ID, 60),
		}
		errs := make([]error, len(requests))
		var wg sync.WaitGroup
		for i, request := range requests {
			wg.Go(func() { _, _, errs[i] = submit(f.ctx, f.book, request) })
		}
		wg.Wait()
		for i, err := range errs {
			if code := ledger.CodeOf(err); err != nil && code != ledger.CodeHoldClosed {
				t.Fatalf("%T: %v", requests[i], err)
			}
		}
		if errs[0] == nil && (errs[1] == nil || errs[2] == nil && errs[3] == nil) {
			t.Fatalf("the hold ended more than once: %v", errs)
		}
		if errs[2] == nil && errs[3] == nil {
			t.Fatalf("120 were posted of a hold of 100")
		}
	}
}

func testReverse(t *testing.T, f *fixture) {
	f.do(f.post(f.cash, f.marie, 1000), "")
	made, _ := f.do(f.post(f.marie, f.yoann, 700), "")
	r := ledger.ReverseRequest{Key: f.key(), TransactionID: made.ID, Label: "Sent to the wrong person"}
	reversal, _ := f.do(r, "")
	if reversal.Reverses != made.ID || reversal.Journal != made.Journal ||
		reversal.Postings[0].Debit != f.yoann.ID || reversal.Postings[0].Amount != 700 {
		t.Errorf("reversal is %+v", reversal)
	}
	f.wantBalance(f.marie, 1000, 1000)
	f.wantBalance(f.yoann, 0, 0)
	f.do(r, "")
	r.Key = f.key()
	f.do(r, ledger.CodeAlreadyReversed)
	r.TransactionID = uuid.New()
	f.do(r, ledger.CodeNotFound)

	spent, _ := f.do(f.post(f.marie, f.yoann, 300), "")
	f.do(f.post(f.yoann, f.payee, 300), "")
	f.do(ledger.ReverseRequest{Key: f.key(), TransactionID: spent.ID, Label: "Too late"}, ledger.CodeInsufficientFunds)

	// Nothing is undone before it was done.
	later := f.post(f.cash, f.marie, 50)
	later.EffectiveDate = made.EffectiveDate.AddDays(7)
	due, _ := f.do(later, "")
	early := ledger.ReverseRequest{Key: f.key(), TransactionID: due.ID, Label: "Too early", EffectiveDate: later.EffectiveDate.AddDays(-1)}
	_, err := f.book.Reverse(f.ctx, early)
	if refusal, ok := errors.AsType[*ledger.Error](err); !ok || refusal.Code != ledger.CodeInvalid || refusal.Field != "effective_date" {
		t.Errorf("undone before it was done: %v", err)
	}
	undone, _ := f.do(ledger.ReverseRequest{Key: f.key(), TransactionID: due.ID, Label: "With it"}, "")
	if undone.EffectiveDate != later.EffectiveDate {
		t.Errorf("a reversal without a date is of %s, want %s", undone.EffectiveDate, later.EffectiveDate)
	}
}

func testAsOf(t *testing.T, f *fixture) {
	day := func(d int) ledger.Date { return ledger.Date{Year: 2014, Month: time.October, Day: d} }
	var recorded []time.Time
	for i, d := range []int{14, 16, 15} { // the last one is back-dated
		r := f.post(f.cash, f.marie, ledger.Amount(100*(i+1)))
		r.EffectiveDate = day(d)
		made, _ := f.do(r, "")
		recorded = append(recorded, made.RecordedAt)
		f.clock.Advance(time.Hour)
	}
	for _, at := range []struct {
		date     ledger.Date
		recorded time.Time
		want     ledger.Amount
	}{
		{ledger.Date{}, time.Time{}, 600},
		{day(13), time.Time{}, 0},
		{day(14), time.Time{}, 100},
		{day(15), time.Time{}, 400},
		{day(16), time.Time{}, 600},
		{day(15), recorded[1], 100}, // as one saw it before the back-dated entry
		{ledger.Date{}, recorded[1], 300},
		{ledger.Date{}, recorded[0].Add(-time.Microsecond), 0},
	} {
		b, err := f.book.BalanceAsOf(f.ctx, f.marie.ID, at.date, at.recorded)
		if err != nil || b.Posted() != at.want {
			t.Errorf("as of %s, recorded %s: %d, %v; want %d", at.date, at.recorded, b.Posted(), err, at.want)
		}
	}
	if _, err := f.book.BalanceAsOf(f.ctx, uuid.New(), ledger.Date{}, time.Time{}); ledger.CodeOf(err) != ledger.CodeNotFound {
		t.Errorf("balance of no account: %v", err)
	}
}

func testClockSetBack(t *testing.T, f *fixture) {
	first, _ := f.do(f.post(f.cash, f.marie, 1), "")
	f.clock.Advance(-time.Hour)
	second, _ := f.do(f.post(f.cash, f.marie, 2), "")
	if !second.RecordedAt.After(first.RecordedAt) {
		t.Errorf("recorded at %s after %s", second.RecordedAt, first.RecordedAt)
	}
}

func testOpenAccount(t *testing.T, f *fixture) {
	again, err := f.book.OpenAccount(f.ctx, f.marie)
	if err != nil || again.ID != f.marie.ID {
		t.Errorf("open again: %+v, %v", again, err)
	}
	other := f.marie
	other.Max = nil
	if _, err := f.book.OpenAccount(f.ctx, other); ledger.CodeOf(err) != ledger.CodeConflict {
		t.Errorf("open with other bounds: %v", err)
	}
	other = f.marie
	other.ID = uuid.New()
	if _, err := f.book.OpenAccount(f.ctx, other); ledger.CodeOf(err) != ledger.CodeConflict {
		t.Errorf("open with the same code: %v", err)
	}
	other.Code, other.Shards = f.key(), 2
	if _, err := f.book.OpenAccount(f.ctx, other); ledger.CodeOf(err) != ledger.CodeInvalid {
		t.Errorf("open a sharded wallet: %v", err)
	}
	if _, err := f.book.Balance(f.ctx, uuid.New()); ledger.CodeOf(err) != ledger.CodeNotFound {
		t.Errorf("balance of no account: %v", err)
	}
}
