package engine_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// history is a book with a past, and the same past in memory.
type history struct {
	*world
	transactions []ledger.Transaction // in the order of the journal
	journals     []string
	dates        []ledger.Date
	instants     []time.Time
}

// What transactions of the history are found by. The last two colours share the pages
// that they are looked for on: no more of a value is kept to find it by.
var (
	channels = []string{"test", "other"}
	colours  = []string{"rouge", "bleu", strings.Repeat("é", 120) + "1", strings.Repeat("é", 120) + "2"}
)

func date(year, month, day int) ledger.Date {
	return ledger.Date{Year: year, Month: time.Month(month), Day: day}
}

// newHistory posts back and forth over three weeks, often to one account more
// than once, not in the order of the dates.
func newHistory(t *testing.T, db *sqldb.DB) *history {
	h := &history{world: newWorld(t, db), journals: []string{ledger.JournalTransfers, ledger.JournalCards, ledger.JournalPayouts}}
	random := rand.New(rand.NewPCG(14, 10)) // the same book in every run
	h.post(h.world, random, 30)
	h.postBulk(random)
	h.sealAll()
	h.post(h.world, random, 30) // which wait for the sealer
	h.postBulk(random)
	for d := range 24 {
		h.dates = append(h.dates, date(2014, 9, 29).AddDays(d))
	}
	return h
}

func (h *history) post(w *world, random *rand.Rand, n int) []ledger.Transaction {
	w.t.Helper()
	accounts := []ledger.Account{w.cash, w.bank, w.payee, w.marie}
	var made []ledger.Transaction
	for range n {
		r := ledger.PostRequest{Key: w.key(), Journal: h.journals[random.IntN(len(h.journals))], Label: "History",
			EffectiveDate: date(2014, 10, 1).AddDays(random.IntN(20))}
		if random.IntN(3) == 0 {
			r.Metadata = map[string]string{"n": fmt.Sprint(random.IntN(100)), "accent": "é \"quoted\" <&>"}
			r.Source = ledger.Source{Channel: channels[random.IntN(len(channels))], ID: fmt.Sprint(random.IntN(100)), Date: date(2014, 10, 1)}
			r.Metadata = map[string]string{"colour": colours[random.IntN(len(colours))]}
		}
		for range 1 + random.IntN(3) {
			from, to := random.IntN(len(accounts)), random.IntN(len(accounts)-1)
			if to >= from {
				to++
			}
			r.Postings = append(r.Postings, ledger.Posting{Debit: accounts[from].ID, Credit: accounts[to].ID,
				Amount: ledger.Amount(1 + random.IntN(500)), Currency: ledger.EUR})
		}
		w.clock.Advance(time.Duration(random.IntN(12)) * time.Hour)
		t, err := w.Post(w.ctx, r)
		if err != nil {
			if ledger.CodeOf(err) != ledger.CodeInsufficientFunds {
				w.t.Fatal(err)
			}
			continue
		}
		made = append(made, t)
		h.instants = append(h.instants, t.RecordedAt)
	}
	h.transactions = append(h.transactions, made...)
	slices.SortFunc(h.transactions, compareTransactions)
	return made
}

// postBulk records a page of many transactions, one of them with more postings to
// an account than a list reads at once.
func (h *history) postBulk(random *rand.Rand) {
	h.t.Helper()
	requests := make([]ledger.Request, 10)
	for i := range requests {
		r := h.transfer(h.cash, h.payee, ledger.Amount(1+i))
		r.Journal, r.EffectiveDate = h.journals[random.IntN(len(h.journals))], date(2014, 10, 4)
		if i == 7 {
			for range 120 {
				r.Postings = append(r.Postings, r.Postings[0])
			}
		}
		requests[i] = r
	}
	h.clock.Advance(time.Minute)
	outcomes, err := h.Submit(h.ctx, requests)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, out := range outcomes {
		if out.Err != nil {
			h.t.Fatal(out.Err)
		}
		h.transactions = append(h.transactions, out.Transaction)
		h.instants = append(h.instants, out.Transaction.RecordedAt)
	}
	slices.SortFunc(h.transactions, compareTransactions)
}

func compareTransactions(a, b ledger.Transaction) int {
	if c := a.EffectiveDate.Compare(b.EffectiveDate); c != 0 {
		return c
	}
	if c := a.RecordedAt.Compare(b.RecordedAt); c != 0 {
		return c
	}
	return cmp.Compare(a.Place.Line, b.Place.Line)
}

func sameTransaction(a, b ledger.Transaction) bool {
	return a.ID == b.ID && a.Key == b.Key && a.Journal == b.Journal && a.Label == b.Label && a.EffectiveDate == b.EffectiveDate &&
		a.RecordedAt.Equal(b.RecordedAt) && a.Source == b.Source && maps.Equal(a.Metadata, b.Metadata) &&
		a.Reverses == b.Reverses && a.HoldID == b.HoldID && slices.Equal(a.Postings, b.Postings)
}

// selects says whether f selects t.
func selects(f engine.TransactionFilter, t ledger.Transaction) bool {
	touches := func(p ledger.Posting) bool { return p.Debit == f.AccountID || p.Credit == f.AccountID }
	of := func(p ledger.Posting) bool {
		return (f.AccountID == uuid.Nil || touches(p)) && p.Amount >= f.MinAmount && (f.MaxAmount == 0 || p.Amount <= f.MaxAmount)
	}
	value, ok := t.Metadata[f.MetadataKey]
	return slices.ContainsFunc(t.Postings, of) && (f.MetadataKey == "" || ok) && (f.MetadataValue == "" || value == f.MetadataValue) &&
		(f.Source.Channel == "" || f.Source.Channel == t.Source.Channel) && (f.Source.ID == "" || f.Source.ID == t.Source.ID) && (f.Journal == "" || f.Journal == t.Journal) && within(t, f.From, f.To, f.RecordedAt)
}

func within(t ledger.Transaction, from, to ledger.Date, recorded time.Time) bool {
	return (from.IsZero() || !t.EffectiveDate.Before(from)) && (to.IsZero() || !to.Before(t.EffectiveDate)) &&
		(recorded.IsZero() || !t.RecordedAt.After(recorded))
}

func (h *history) drawDate(rt *rapid.T, name string) ledger.Date {
	if rapid.Bool().Draw(rt, "any "+name) {
		return ledger.Date{}
	}
	return rapid.SampledFrom(h.dates).Draw(rt, name)
}

func (h *history) drawInstant(rt *rapid.T) time.Time {
	if rapid.Bool().Draw(rt, "any time") {
		return time.Time{}
	}
	return rapid.SampledFrom(h.instants).Draw(rt, "recorded").Add(time.Duration(rapid.IntRange(-1, 1).Draw(rt, "µs")) * time.Microsecond)
}

func (h *history) drawFilter(rt *rapid.T) engine.TransactionFilter {
	amounts := rapid.SampledFrom([][2]ledger.Amount{{}, {}, {1, 1}, {40, 40}, {100, 250}, {0, 20}, {400, 0}, {1000, 2000}}).Draw(rt, "amounts")
	metadata := rapid.SampledFrom([][2]string{{}, {}, {"colour", ""}, {"colour", colours[0]}, {"colour", colours[2]}, {"colour", "none"}, {"size", ""}}).Draw(rt, "metadata")
	source := rapid.SampledFrom([]ledger.Source{{}, {}, {Channel: channels[0]}, {Channel: channels[1]}, {Channel: "none"}, {ID: "17"}, {Channel: channels[0], ID: "18"}}).Draw(rt, "source")
	return engine.TransactionFilter{
		MinAmount: amounts[0], MaxAmount: amounts[1], MetadataKey: metadata[0], MetadataValue: metadata[1], Source: source,
		AccountID: rapid.SampledFrom([]uuid.UUID{uuid.Nil, h.cash.ID, h.marie.ID, h.payee.ID, h.yoann.ID, uuid.New()}).Draw(rt, "account"),
		Journal:   rapid.SampledFrom([]string{"", "", ledger.JournalTransfers, ledger.JournalPayouts, "NONE"}).Draw(rt, "journal"),
		From:      h.drawDate(rt, "from"), To: h.drawDate(rt, "to"), RecordedAt: h.drawInstant(rt),
		Limit: rapid.SampledFrom([]int{1, 7, 20, engine.MaxPage}).Draw(rt, "limit"),
	}
}

// pages reads all pages of a filter; between, which may be nil, runs between two.
func (h *history) pages(rt rapid.TB, f engine.TransactionFilter, between func()) []ledger.Transaction {
	var all []ledger.Transaction
	for {
		var page []ledger.Transaction
		err := h.db.Read(h.ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
			page, err = engine.ListTransactions(ctx, tx, f)
			return err
		})
		if err != nil {
			rt.Fatal(err)
		}
		if len(page) > f.Limit {
			rt.Fatalf("%d rows on a page of %d", len(page), f.Limit)
		}
		all = append(all, page...)
		if len(page) < f.Limit {
			return all
		}
		f.After = page[len(page)-1].Place
		if between != nil {
			between()
		}
	}
}

func TestListTransactions(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		h := newHistory(t, db)
		sqltest.PartOfChecks(t, db.Engine())
		rapid.Check(t, func(rt *rapid.T) {
			f := h.drawFilter(rt)
			if f.Limit == 1 { // that many pages take a while on a server
				f.From, f.To = date(2014, 10, 3), date(2014, 10, 5)
			}
			got := h.pages(rt, f, nil)
			var want []ledger.Transaction
			for _, t := range h.transactions {
				if selects(f, t) {
					want = append(want, t)
				}
			}
			if !slices.EqualFunc(got, want, sameTransaction) {
				rt.Fatalf("%+v:\ngot  %+v\nwant %+v", f, got, want)
			}
		})
	})
}

// Whoever pages through a book that others write to sees everything that was
// there when he began, once; and with RecordedAt nothing else.
func TestPagesAreStableUnderWrites(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		h := newHistory(t, db)
		random := rand.New(rand.NewPCG(1, 2))
		for _, bounded := range []bool{true, false} {
			for _, account := range []uuid.UUID{uuid.Nil, h.payee.ID} {
				f := engine.TransactionFilter{AccountID: account, Limit: 9}
				h.clock.Advance(time.Hour)
				if bounded {
					f.RecordedAt = h.Now()
					h.clock.Advance(time.Microsecond)
				}
				before := slices.DeleteFunc(slices.Clone(h.transactions), func(t ledger.Transaction) bool { return !selects(f, t) })
				left := 3 // more pages than that are read in peace
				got := h.pages(t, f, func() {
					if left--; left >= 0 {
						h.post(h.world, random, 4)
					}
				})
				if left >= 0 || !slices.IsSortedFunc(got, compareTransactions) {
					t.Fatal("out of order, or too few pages to write between")
				}
				seen := map[uuid.UUID]int{}
				for _, made := range got {
					if seen[made.ID]++; seen[made.ID] > 1 {
						t.Errorf("transaction %s comes twice", made.ID)
					}
				}
				for _, made := range before {
					if seen[made.ID] != 1 {
						t.Errorf("transaction %s was left out", made.ID)
					}
				}
				if bounded && len(got) != len(before) {
					t.Errorf("%d transactions, want the %d of the beginning", len(got), len(before))
				}
			}
		}
	})
}

// totalsOf adds up the past in memory.
func (h *history) totalsOf(f engine.TotalsFilter) map[uuid.UUID]engine.AccountTotal {
	totals := map[uuid.UUID]engine.AccountTotal{}
	for _, t := range h.transactions {
		if !within(t, f.From, f.To, f.RecordedAt) {
			continue
		}
		for _, p := range t.Postings {
			debit := totals[p.Debit]
			debit.AccountID, debit.Debits = p.Debit, debit.Debits+p.Amount
			totals[p.Debit] = debit
			credit := totals[p.Credit]
			credit.AccountID, credit.Credits = p.Credit, credit.Credits+p.Amount
			totals[p.Credit] = credit
		}
	}
	return totals
}

func TestTotalsAndBalancesAsOf(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		h := newHistory(t, db)
		h.mustHold(h.holdOf(h.cash, h.payee, 77)) // counts in no total
		sqltest.PartOfChecks(t, db.Engine())
		rapid.Check(t, func(rt *rapid.T) {
			f := engine.TotalsFilter{From: h.drawDate(rt, "from"), To: h.drawDate(rt, "to"), RecordedAt: h.drawInstant(rt)}
			sinceEver := f
			sinceEver.From = ledger.Date{}
			want, balances := h.totalsOf(f), h.totalsOf(sinceEver)
			err := h.db.Read(h.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
				got, err := engine.Totals(ctx, tx, f)
				if err != nil {
					return err
				}
				if len(got) != len(want) || !slices.IsSortedFunc(got, func(a, b engine.AccountTotal) int { return slices.Compare(a.AccountID[:], b.AccountID[:]) }) {
					rt.Fatalf("%+v: got %+v, want %+v", f, got, want)
				}
				var debits, credits ledger.Amount
				for _, total := range got {
					if total != want[total.AccountID] {
						rt.Fatalf("%+v: got %+v, want %+v", f, total, want[total.AccountID])
					}
					debits, credits = debits+total.Debits, credits+total.Credits
				}
				if debits != credits {
					rt.Fatalf("%+v: %d debits, %d credits", f, debits, credits)
				}
				for _, a := range []ledger.Account{h.cash, h.marie, h.yoann, h.payee} {
					b, err := engine.BalanceAsOf(ctx, tx, a.ID, engine.AsOf{EffectiveDate: f.To, RecordedAt: f.RecordedAt})
					if err != nil {
						return err
					}
					if b.DebitsPosted != balances[a.ID].Debits || b.CreditsPosted != balances[a.ID].Credits ||
						b.Side != a.Side || b.Currency != a.Currency || b.DebitsPending != 0 || b.CreditsPending != 0 {
						rt.Fatalf("%s as of %+v: got %+v, want %+v", a.Code, f, b, balances[a.ID])
					}
				}
				return nil
			})
			if err != nil {
				rt.Fatal(err)
			}
		})
		for _, a := range []ledger.Account{h.cash, h.bank, h.marie, h.payee} {
			if b, want := h.balance(a), h.totalsOf(engine.TotalsFilter{})[a.ID]; b.DebitsPosted != want.Debits || b.CreditsPosted != want.Credits {
				t.Errorf("%s now: got %+v, want %+v", a.Code, b, want)
			}
		}
	})
}

func TestListAccounts(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		all := []ledger.Account{w.cash, w.bank, w.marie, w.yoann, w.payee}
		for _, code := range []string{"a", "a.b", "a-b", "a:b", "ab", "0", "marie.2", "z_z"} { // every engine sorts by bytes
			all = append(all, w.wallet(code))
		}
		slices.SortFunc(all, func(a, b ledger.Account) int { return slices.Compare([]byte(a.Code), []byte(b.Code)) })
		for _, category := range []ledger.Category{"", ledger.CustomerEMoney, ledger.CharityPayable, "no_such_category"} {
			want := slices.DeleteFunc(slices.Clone(all), func(a ledger.Account) bool { return category != "" && a.Category != category })
			for _, limit := range []int{1, 3, engine.MaxPage} {
				var got []ledger.Account
				w.read(func(ctx context.Context, tx *sqldb.Tx) error {
					f := engine.AccountFilter{Category: category, Limit: limit}
					for got = nil; ; {
						page, err := engine.ListAccounts(ctx, tx, f)
						if err != nil {
							return err
						}
						got = append(got, page...)
						if len(page) < limit {
							return nil
						}
						f.AfterCode = page[len(page)-1].Code
					}
				})
				if !slices.EqualFunc(got, want, sameAccount) {
					t.Errorf("category %q by %d: got %+v, want %+v", category, limit, got, want)
				}
			}
		}
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			found, err := engine.FindAccounts(ctx, tx, []uuid.UUID{w.marie.ID, uuid.New(), w.payee.ID, w.marie.ID})
			if err != nil || len(found) != 2 || !sameAccount(found[w.marie.ID], w.marie) || !sameAccount(found[w.payee.ID], w.payee) {
				t.Errorf("FindAccounts: %+v, %v", found, err)
			}
			none, err := engine.FindAccounts(ctx, tx, nil)
			if err != nil || len(none) != 0 {
				t.Errorf("FindAccounts of nothing: %+v, %v", none, err)
			}
			for _, a := range all {
				byID, err := engine.FindAccount(ctx, tx, a.ID)
				byCode, codeErr := engine.FindAccountByCode(ctx, tx, a.Code)
				if err != nil || codeErr != nil || !sameAccount(byID, a) || !sameAccount(byCode, a) {
					t.Errorf("%s: found %+v and %+v, %v, %v", a.Code, byID, byCode, err, codeErr)
				}
			}
			return nil
		})
	})
}

func sameAccount(a, b ledger.Account) bool {
	bound := func(x *ledger.Amount) string {
		if x == nil {
			return "none"
		}
		return fmt.Sprint(*x)
	}
	return a.ID == b.ID && a.Code == b.Code && a.Name == b.Name && a.Category == b.Category && a.Side == b.Side && a.Currency == b.Currency &&
		bound(a.Min) == bound(b.Min) && bound(a.Max) == bound(b.Max) && a.Shards == b.Shards && a.Status == b.Status && a.OpenedAt.Equal(b.OpenedAt)
}

func TestWhatIsNotThere(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			for name, find := range map[string]func() error{
				"account":         func() error { _, err := engine.FindAccount(ctx, tx, uuid.New()); return err },
				"account by code": func() error { _, err := engine.FindAccountByCode(ctx, tx, "'; DROP TABLE accounts; --"); return err },
				"balance":         func() error { _, err := engine.FindBalance(ctx, tx, uuid.New()); return err },
				"balance as of":   func() error { _, err := engine.BalanceAsOf(ctx, tx, uuid.New(), engine.AsOf{}); return err },
				"transaction":     func() error { _, err := engine.FindTransaction(ctx, tx, uuid.New()); return err },
				"hold":            func() error { _, err := engine.FindHold(ctx, tx, uuid.New()); return err },
			} {
				if err := find(); ledger.CodeOf(err) != ledger.CodeNotFound {
					t.Errorf("%s: got %v", name, err)
				}
			}
			for _, limit := range []int{-1, 0, engine.MaxPage + 1} {
				for name, list := range map[string]func() error{
					"accounts": func() error { _, err := engine.ListAccounts(ctx, tx, engine.AccountFilter{Limit: limit}); return err },
					"transactions": func() error {
						_, err := engine.ListTransactions(ctx, tx, engine.TransactionFilter{Limit: limit})
						return err
					},
					"due holds": func() error { _, err := w.DueHolds(ctx, tx, limit); return err },
				} {
					if err := list(); ledger.CodeOf(err) != ledger.CodeInvalid {
						t.Errorf("%s by %d: got %v", name, limit, err)
					}
				}
			}
			totals, err := engine.Totals(ctx, tx, engine.TotalsFilter{})
			if err != nil || len(totals) != 0 {
				t.Errorf("totals of an empty book: %+v, %v", totals, err)
			}
			return nil
		})
	})
}

func TestFindManyTransactions(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		h := newHistory(t, db)
		wrong := h.mustPost(h.transfer(h.cash, h.yoann, 7))
		back, err := h.Reverse(h.ctx, ledger.ReverseRequest{Key: h.key(), TransactionID: wrong.ID, Label: "Back"})
		if err != nil {
			t.Fatal(err)
		}
		ids := []uuid.UUID{uuid.New(), wrong.ID, back.ID}
		want := append(slices.Clone(h.transactions[:20]), wrong, back)
		for _, made := range h.transactions[:20] {
			ids = append(ids, made.ID, made.ID)
		}
		h.read(func(ctx context.Context, tx *sqldb.Tx) error {
			found, err := engine.FindTransactions(ctx, tx, ids)
			if err != nil || len(found) != len(want) {
				t.Fatalf("found %d transactions, want %d; %v", len(found), len(want), err)
			}
			for _, made := range want {
				if !sameTransaction(found[made.ID], made) {
					t.Errorf("found %+v, want %+v", found[made.ID], made)
				}
			}
			reversals, err := engine.FindReversals(ctx, tx, ids)
			if err != nil || !maps.Equal(reversals, map[uuid.UUID]uuid.UUID{wrong.ID: back.ID}) {
				t.Errorf("reversals are %v, %v", reversals, err)
			}
			none, err := engine.FindTransactions(ctx, tx, nil)
			noReversals, reversalErr := engine.FindReversals(ctx, tx, nil)
			if err != nil || reversalErr != nil || len(none)+len(noReversals) != 0 {
				t.Errorf("of nothing: %v, %v, %v, %v", none, noReversals, err, reversalErr)
			}
			return nil
		})
	})
}
