package ledgertest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"tweetledger/ledger"
)

// testStateMachine drives the engine and the model with the same random
// requests and compares every answer and all balances.
func testStateMachine(t *testing.T, f *fixture) {
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m := newMachine(f, fmt.Sprintf("run-%d-", runs))
		rt.Repeat(map[string]func(*rapid.T){
			"request": func(rt *rapid.T) { m.step(rt, m.draw(rt)) },
			"repeat":  func(rt *rapid.T) { m.repeat(rt) },
			"wait": func(rt *rapid.T) {
				f.clock.Advance(time.Duration(rapid.IntRange(1, 40).Draw(rt, "minutes")) * time.Minute)
			},
			"": func(rt *rapid.T) {
				m.compareBalance(rt, rapid.SampledFrom(m.accounts).Draw(rt, "account to compare"))
				m.compareHold(rt)
			},
		})
		for _, a := range m.accounts {
			m.compareBalance(rt, a)
		}
	})
}

// machine is one run of the state machine, on accounts of its own.
type machine struct {
	f        *fixture
	model    *Model
	accounts []ledger.Account
	strange  uuid.UUID // an account that does not exist
	requests []ledger.Request
	holds    []uuid.UUID
	made     []uuid.UUID
	keys     int
	prefix   string
}

func newMachine(f *fixture, prefix string) *machine {
	f.openAccounts(prefix)
	m := &machine{f: f, model: NewModel(), strange: uuid.New(), prefix: f.prefix + prefix,
		accounts: []ledger.Account{f.cash, f.marie, f.yoann, f.payee, f.dollar}}
	for _, a := range m.accounts {
		m.model.Open(a)
	}
	return m
}

func (m *machine) key() string {
	m.keys++
	return fmt.Sprintf("%s%d", m.prefix, m.keys)
}

// draw makes a request that is mostly right, and often just at a limit.
func (m *machine) draw(rt *rapid.T) ledger.Request {
	kinds := []string{"post", "post", "post", "hold", "hold"}
	if len(m.holds) > 0 {
		kinds = append(kinds, "post hold", "post hold", "void")
	}
	if len(m.made) > 0 {
		kinds = append(kinds, "reverse", "reverse") // twice, so that a second part is drawn often enough
	}
	switch kind := rapid.SampledFrom(kinds).Draw(rt, "kind"); kind {
	case "hold":
		p := m.drawPosting(rt)
		r := ledger.HoldRequest{Key: m.key(), Debit: p.Debit, Credit: p.Credit, Amount: p.Amount, Currency: p.Currency}
		if rapid.Bool().Draw(rt, "expires") {
			r.ExpiresAt = m.f.clock.Now().Add(time.Duration(rapid.IntRange(0, 60).Draw(rt, "minutes")) * time.Minute)
		}
		return r
	case "post hold":
		return ledger.PostHoldRequest{Key: m.key(), HoldID: rapid.SampledFrom(m.holds).Draw(rt, "hold"),
			Amount:      ledger.Amount(rapid.SampledFrom([]int64{0, 0, 0, 1, 1000, 60_000}).Draw(rt, "amount")),
			ReleaseRest: rapid.Bool().Draw(rt, "release rest"), Journal: ledger.JournalTransfers, Label: "Drawn"}
	case "void":
		return ledger.VoidHoldRequest{Key: m.key(), HoldID: rapid.SampledFrom(m.holds).Draw(rt, "hold"),
			Expired: rapid.Bool().Draw(rt, "expired")}
	case "reverse":
		return ledger.ReverseRequest{Key: m.key(), TransactionID: rapid.SampledFrom(m.made).Draw(rt, "transaction"),
			Postings: m.drawOrdinals(rt), Label: "Drawn", EffectiveDate: m.drawDate(rt)}
	}
	r := ledger.PostRequest{Key: m.key(), Journal: ledger.JournalTransfers, Label: "Drawn", EffectiveDate: m.drawDate(rt)}
	for range rapid.IntRange(1, maxDrawnPostings).Draw(rt, "postings") {
		r.Postings = append(r.Postings, m.drawPosting(rt))
	}
	return r
}

// drawDate draws an effective date: mostly today, else one well before or after.
func (m *machine) drawDate(rt *rapid.T) ledger.Date {
	days := rapid.SampledFrom([]int{0, 0, 0, -10, 10}).Draw(rt, "days")
	if days == 0 {
		return ledger.Date{}
	}
	return ledger.DateIn(m.f.clock.Now(), time.UTC).AddDays(days)
}

// drawOrdinals draws which postings to reverse: all, or up to three, of which the
// transaction may not have every one.
func (m *machine) drawOrdinals(rt *rapid.T) []int {
	if rapid.Bool().Draw(rt, "whole") {
		return nil
	}
	ordinals := rapid.SliceOfNDistinct(rapid.IntRange(0, maxDrawnPostings), 1, 3, rapid.ID[int]).Draw(rt, "ordinals")
	slices.Sort(ordinals)
	return ordinals
}

// maxDrawnPostings bounds the postings of a drawn transaction.
const maxDrawnPostings = 4

func (m *machine) drawPosting(rt *rapid.T) ledger.Posting {
	names := []string{"cash", "cash", "marie", "marie", "yoann", "yoann", "payee", "payee", "dollar", "nobody"}
	ids := map[string]uuid.UUID{"cash": m.f.cash.ID, "marie": m.f.marie.ID, "yoann": m.f.yoann.ID,
		"payee": m.f.payee.ID, "dollar": m.f.dollar.ID, "nobody": m.strange}
	return ledger.Posting{
		Debit:    ids[rapid.SampledFrom(names).Draw(rt, "debit")],
		Credit:   ids[rapid.SampledFrom(names).Draw(rt, "credit")],
		Amount:   ledger.Amount(rapid.SampledFrom([]int64{1, 999, 1000, 50_000, 125_000, 249_999, 250_000, 0}).Draw(rt, "amount")),
		Currency: ledger.EUR,
	}
}

func (m *machine) repeat(rt *rapid.T) {
	if len(m.requests) == 0 {
		rt.Skip("nothing to repeat")
	}
	r := rapid.SampledFrom(m.requests).Draw(rt, "request")
	if post, ok := r.(ledger.PostRequest); ok && rapid.Bool().Draw(rt, "changed") {
		post.Label = "Changed"
		r = post
	}
	m.step(rt, r)
}

func (m *machine) step(rt *rapid.T, r ledger.Request) {
	wantID, want := m.model.Apply(r, m.f.clock.Now())
	transaction, hold, err := submit(m.f.ctx, m.f.book, r)
	if err != nil && ledger.CodeOf(err) == "" {
		rt.Fatalf("%+v: unexpected failure: %v", r, err)
	}
	if got := ledger.CodeOf(err); got != want {
		rt.Fatalf("%+v: engine says %q (%v), model says %q", r, got, err, want)
	}
	m.requests = append(m.requests, r)
	if err != nil {
		return
	}
	if transaction.ID != wantID && hold.ID != wantID {
		rt.Fatalf("%+v: answered with transaction %s, hold %s; want %s", r, transaction.ID, hold.ID, wantID)
	}
	if made, ok := m.model.Transactions[wantID]; ok {
		m.made = append(m.made, wantID)
		if !slices.Equal(made.Postings, transaction.Postings) || made.Reverses != transaction.Reverses || made.HoldID != transaction.HoldID {
			rt.Fatalf("%+v: made %+v, want %+v", r, transaction, made)
		}
	} else {
		m.holds = append(m.holds, wantID)
	}
}

// compareBalance compares what stands on an account. After each step that is one
// of them, and all at the end: reading takes longer than writing.
func (m *machine) compareBalance(rt *rapid.T, a ledger.Account) {
	got, err := m.f.book.Balance(m.f.ctx, a.ID)
	if err != nil {
		rt.Fatalf("balance of %s: %v", a.Code, err)
	}
	want := m.model.Balances[a.ID]
	got.Version = want.Version
	if got != want {
		rt.Fatalf("balance of %s is %+v, want %+v", a.Code, got, want)
	}
}

// compareHold compares the newest hold.
func (m *machine) compareHold(rt *rapid.T) {
	if len(m.holds) == 0 {
		return
	}
	id := m.holds[len(m.holds)-1]
	got, err := m.f.book.HoldByID(m.f.ctx, id)
	if err != nil {
		rt.Fatalf("hold %s: %v", id, err)
	}
	if want := m.model.Holds[id]; got.Status != want.Status || got.Posted != want.Posted || got.Amount != want.Amount {
		rt.Fatalf("hold is %+v, want %+v", got, want)
	}
}

// Sizes of the concurrent tests: enough for batches to form and to collide.
const (
	concurrentCallers  = 16
	requestsEachCaller = 25
)

// testConcurrent lets many callers loose on one engine. What it accepted, in the
// order of its recorded times, must be acceptable to the model in that order: no
// limit was passed at any moment, not only in the end.
func testConcurrent(t *testing.T, f *fixture) {
	done := f.storm(t, []Book{f.book})
	slices.SortFunc(done, inOrder)
	m := f.modelOf()
	for _, d := range done {
		if _, code := m.Apply(d.request, f.clock.Now()); code != "" {
			t.Fatalf("the engine accepted %+v at %s; in that order the model says %q", d.request, d.at, code)
		}
	}
	f.compareAll(t, m)
}

// testSeveralEngines lets many callers loose on several engines of one book: the
// same holds for them, since an account's recorded times go up from one engine to
// the next.
func testSeveralEngines(t *testing.T, f *fixture) {
	books := f.harness.Open(t, 3, f.clock.Now)
	f.book = books[0]
	f.openAccounts("several-")
	done := f.storm(t, books)
	slices.SortFunc(done, inOrder)
	m := f.modelOf()
	for _, d := range done {
		if _, code := m.Apply(d.request, f.clock.Now()); code != "" {
			t.Fatalf("the engines accepted %+v at %s; in that order the model says %q", d.request, d.at, code)
		}
	}
	f.compareAll(t, m)
}

type accepted struct {
	request ledger.Request
	at      time.Time
	place   ledger.Cursor // of a transaction
}

// inOrder compares by recording. What was recorded together is one commit, of
// which only transactions say their order: what it released comes before them and
// what it held after, which is the order that asks least of the limits.
func inOrder(a, b accepted) int {
	rank := func(r ledger.Request) int {
		switch r.(type) {
		case ledger.VoidHoldRequest:
			return 0
		case ledger.HoldRequest:
			return 2
		}
		return 1
	}
	return cmp.Or(a.at.Compare(b.at), rank(a.request)-rank(b.request), a.place.Compare(b.place))
}

func (f *fixture) modelOf() *Model {
	m := NewModel()
	for _, a := range []ledger.Account{f.cash, f.marie, f.yoann, f.payee, f.dollar} {
		m.Open(a)
	}
	return m
}

func (f *fixture) compareAll(t *testing.T, m *Model) {
	t.Helper()
	for id, want := range m.Balances {
		got, err := f.book.Balance(f.ctx, id)
		got.Version = want.Version
		if err != nil || got != want {
			t.Errorf("balance of %s is %+v, %v; want %+v", m.Accounts[id].Code, got, err, want)
		}
	}
}

// storm runs concurrentCallers callers with transfers, holds, their posting and
// voiding, and repeats, and returns what was accepted, each request once.
func (f *fixture) storm(t *testing.T, books []Book) []accepted {
	t.Helper()
	fund := f.post(f.cash, f.marie, 5000)
	fund.Journal, fund.Label = ledger.JournalCards, "Fund"
	first, err := books[0].Post(f.ctx, fund)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	all := map[string]accepted{fund.Key: {fund, first.RecordedAt, first.Place}}
	var wg sync.WaitGroup
	for caller := range concurrentCallers {
		wg.Go(func() {
			book := books[caller%len(books)]
			for i := range requestsEachCaller {
				for _, d := range f.stormStep(t, book, caller, i) {
					mu.Lock()
					all[d.request.IdempotencyKey()] = d
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return slices.Collect(maps.Values(all))
}

// stormStep makes one random move and returns what of it was accepted. Amounts
// and routes follow from the numbers of caller and step, so a failure repeats.
func (f *fixture) stormStep(t *testing.T, book Book, caller, i int) []accepted {
	key := fmt.Sprintf("%sstorm:%d:%d", f.prefix, caller, i)
	routes := [][2]ledger.Account{{f.marie, f.yoann}, {f.yoann, f.marie}, {f.marie, f.payee}, {f.cash, f.yoann}, {f.payee, f.marie}}
	route := routes[(caller+3*i)%len(routes)]
	amount := ledger.Amount(100 + 700*((caller*7+i*13)%9))
	post := ledger.PostRequest{Key: key, Journal: ledger.JournalTransfers, Label: "Storm",
		Postings: []ledger.Posting{{Debit: route[0].ID, Credit: route[1].ID, Amount: amount, Currency: ledger.EUR}}}
	if i%5 == 4 { // the same key from many callers: at most one transfer
		post.Key = fmt.Sprintf("%sshared:%d", f.prefix, i)
		post.Postings[0] = ledger.Posting{Debit: f.cash.ID, Credit: f.payee.ID, Amount: 1, Currency: ledger.EUR}
	}
	if i%3 != 0 {
		return f.try(t, book, post)
	}
	hold := ledger.HoldRequest{Key: key, Debit: route[0].ID, Credit: route[1].ID, Amount: amount, Currency: ledger.EUR}
	done := f.try(t, book, hold)
	if len(done) == 0 {
		return nil
	}
	id := ledger.IDOfKey(key)
	if i%2 == 0 {
		return append(done, f.try(t, book, ledger.VoidHoldRequest{Key: key + ":void", HoldID: id})...)
	}
	return append(done, f.try(t, book, ledger.PostHoldRequest{Key: key + ":post", HoldID: id, Amount: 50,
		ReleaseRest: i%4 == 1, Journal: ledger.JournalTransfers, Label: "Storm"})...)
}

func (f *fixture) try(t *testing.T, book Book, r ledger.Request) []accepted {
	ctx, cancel := context.WithTimeout(f.ctx, time.Minute)
	defer cancel()
	transaction, hold, err := submit(ctx, book, r)
	switch code := ledger.CodeOf(err); {
	case err == nil:
		at := transaction.RecordedAt
		switch r.(type) {
		case ledger.HoldRequest:
			at = hold.RecordedAt
		case ledger.VoidHoldRequest:
			at = hold.ClosedAt
		}
		return []accepted{{r, at, transaction.Place}}
	case code == ledger.CodeInsufficientFunds, code == ledger.CodeLimitExceeded, code == ledger.CodeHoldClosed:
		return nil
	}
	t.Errorf("%+v: %v", r, err)
	return nil
}
