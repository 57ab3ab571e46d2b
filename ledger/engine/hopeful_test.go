package engine_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// counterpart is a few accounts to try a batch on. There are two of them in a
// book, one for a hopeful engine and one for a cautious one.
type counterpart struct {
	*world
	name           string
	wallet, friend ledger.Account // wallets: 0 to 2500.00
	till           ledger.Account // debit side, no bounds
	shop           ledger.Account // credit side, 4 shards, no bounds
	used           int            // keys
}

func (w *world) counterpart(name string) *counterpart {
	w.t.Helper()
	return &counterpart{world: w, name: name, wallet: w.wallet(name + ".wallet"), friend: w.wallet(name + ".friend"),
		till: w.open(ledger.Account{Code: name + ".till", Category: ledger.Safeguarding, Side: ledger.Debit}),
		shop: w.open(ledger.Account{Code: name + ".shop", Category: ledger.CharityPayable, Side: ledger.Credit, Shards: 4})}
}

// transfer is the world's, with a key that the other counterpart has likewise.
func (c *counterpart) transfer(debit, credit ledger.Account, amount ledger.Amount) ledger.PostRequest {
	r := c.world.transfer(debit, credit, amount)
	c.used++
	r.Key = fmt.Sprintf("%s:%d", c.name, c.used)
	return r
}

// state is what a caller can see of a counterpart.
func (c *counterpart) state() (amounts []ledger.Amount) {
	for _, a := range []ledger.Account{c.wallet, c.friend, c.till, c.shop} {
		b := c.balance(a)
		amounts = append(amounts, b.DebitsPosted, b.CreditsPosted, b.DebitsPending, b.CreditsPending)
	}
	return amounts
}

// hope is a batch that a hopeful engine and a cautious one must answer alike.
type hope struct {
	name    string
	batch   func(c *counterpart) []ledger.Request
	want    []ledger.Code
	replays int
	vain    bool // the hopeful engine has to begin again
}

// A batch that writes before it looks ends as one that looks before it writes.
func TestHopefulBatchesEndAsCautiousOnes(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.closeTraced("2014-09", ledger.PeriodSoftClosed)
		hopeful := w.counterpart("hopeful")
		looking := *w
		looking.Engine = w.another()
		looking.BeCautious()
		cautious := looking.counterpart("cautious")
		for _, h := range hopes() {
			w.Hope()
			restarted := w.restarted()
			got, gotReplays := h.run(t, hopeful)
			want, wantReplays := h.run(t, cautious)
			if !slices.Equal(got, want) || !slices.Equal(got, h.want) || gotReplays != wantReplays || gotReplays != h.replays {
				t.Errorf("%s:\nhopeful  %q, %d replayed\ncautious %q, %d replayed\nwant     %q, %d replayed",
					h.name, got, gotReplays, want, wantReplays, h.want, h.replays)
			}
			if a, b := hopeful.state(), cautious.state(); !slices.Equal(a, b) {
				t.Errorf("%s: left\n%d after hope,\n%d after caution", h.name, a, b)
			}
			if vain := w.restarted() > restarted; vain != h.vain {
				t.Errorf("%s: hoped in vain: %t, want %t", h.name, vain, h.vain)
			}
		}
		w.verify()
	})
}

// run empties the wallets but for 1000 on the first, and then submits the batch.
func (h hope) run(t *testing.T, c *counterpart) (codes []ledger.Code, replays int) {
	t.Helper()
	c.clock.Advance(time.Second) // or the two engines' pages would collide
	for _, a := range []ledger.Account{c.wallet, c.friend} {
		if left := c.balance(a).Posted(); left > 0 {
			c.mustPost(c.transfer(a, c.shop, left))
		}
	}
	c.mustPost(c.transfer(c.till, c.wallet, 1000))
	outcomes, err := c.Submit(c.ctx, h.batch(c))
	if err != nil {
		t.Fatal(err)
	}
	for i, out := range outcomes {
		codes = append(codes, ledger.CodeOf(out.Err))
		if out.Err != nil && codes[i] == "" {
			t.Errorf("%s: request %d failed: %v", h.name, i, out.Err)
		}
		if out.Replayed {
			replays++
		}
	}
	return codes, replays
}

func hopes() []hope {
	const short, high = ledger.CodeInsufficientFunds, ledger.CodeLimitExceeded
	hold := func(c *counterpart, amount ledger.Amount) ledger.HoldRequest {
		t := c.transfer(c.wallet, c.friend, amount)
		return ledger.HoldRequest{Key: t.Key, Debit: c.wallet.ID, Credit: c.friend.ID, Amount: amount, Currency: ledger.EUR}
	}
	void := func(c *counterpart, r ledger.HoldRequest) ledger.VoidHoldRequest {
		return ledger.VoidHoldRequest{Key: r.Key + ":void", HoldID: ledger.IDOfKey(r.Key)}
	}
	back := func(r ledger.Request, ordinals ...int) ledger.ReverseRequest {
		return ledger.ReverseRequest{Key: r.IdempotencyKey() + ":back" + fmt.Sprint(ordinals), TransactionID: ledger.IDOfKey(r.IdempotencyKey()),
			Postings: ordinals, Label: "Back"}
	}
	return []hope{
		{"all is well", func(c *counterpart) []ledger.Request {
			return []ledger.Request{c.transfer(c.wallet, c.shop, 400), c.transfer(c.wallet, c.friend, 600), c.transfer(c.friend, c.wallet, 600)}
		}, []ledger.Code{"", "", ""}, 0, false},
		{"key repeated in the batch", func(c *counterpart) []ledger.Request {
			r := c.transfer(c.wallet, c.shop, 400)
			return []ledger.Request{r, r, c.transfer(c.wallet, c.shop, 600)}
		}, []ledger.Code{"", "", ""}, 1, false},
		{"key of an earlier batch", func(c *counterpart) []ledger.Request {
			r := c.transfer(c.wallet, c.shop, 400)
			c.mustPost(r)
			return []ledger.Request{c.transfer(c.wallet, c.shop, 100), r, c.transfer(c.wallet, c.shop, 500)}
		}, []ledger.Code{"", "", ""}, 1, true},
		{"key of an earlier hold", func(c *counterpart) []ledger.Request {
			h := hold(c, 400)
			c.mustHold(h)
			return []ledger.Request{h, void(c, h), void(c, h)}
		}, []ledger.Code{"", "", ""}, 2, true},
		{"key of another request", func(c *counterpart) []ledger.Request {
			r := c.transfer(c.wallet, c.shop, 1)
			changed := r
			changed.Label = "Changed"
			return []ledger.Request{r, changed, c.transfer(c.wallet, c.shop, 999)}
		}, []ledger.Code{"", ledger.CodeConflict, ""}, 0, true},
		{"key of another request in an earlier batch", func(c *counterpart) []ledger.Request {
			r := c.transfer(c.wallet, c.shop, 1)
			c.mustPost(r)
			r.Label = "Changed"
			return []ledger.Request{r}
		}, []ledger.Code{ledger.CodeConflict}, 0, true},
		{"refusal between others", func(c *counterpart) []ledger.Request {
			return []ledger.Request{c.transfer(c.wallet, c.shop, 400), c.transfer(c.wallet, c.shop, 601), c.transfer(c.wallet, c.shop, 600)}
		}, []ledger.Code{"", short, ""}, 0, true},
		{"account that is not there", func(c *counterpart) []ledger.Request {
			r := c.transfer(c.wallet, c.shop, 1)
			r.Postings[0].Credit = uuid.Nil
			r.Postings[0].Credit[0] = 1
			return []ledger.Request{c.transfer(c.wallet, c.shop, 1), r}
		}, []ledger.Code{"", ledger.CodeNotFound}, 0, true},
		{"overdraft that the batch makes good", func(c *counterpart) []ledger.Request {
			return []ledger.Request{c.transfer(c.wallet, c.shop, 1500), c.transfer(c.till, c.wallet, 1000)}
		}, []ledger.Code{short, ""}, 0, true},
		{"money that comes before it goes", func(c *counterpart) []ledger.Request {
			return []ledger.Request{c.transfer(c.till, c.wallet, 1000), c.transfer(c.wallet, c.shop, 1500)}
		}, []ledger.Code{"", ""}, 0, false},
		{"ceiling that the batch comes back under", func(c *counterpart) []ledger.Request {
			return []ledger.Request{c.transfer(c.till, c.wallet, 249_001), c.transfer(c.wallet, c.shop, 2)}
		}, []ledger.Code{high, ""}, 0, true},
		{"overdraft inside one transaction is none", func(c *counterpart) []ledger.Request {
			r := c.transfer(c.wallet, c.shop, 1500)
			r.Postings = append(r.Postings, c.transfer(c.till, c.wallet, 500).Postings...)
			return []ledger.Request{r}
		}, []ledger.Code{""}, 0, false},
		{"hold beyond the funds that the batch releases", func(c *counterpart) []ledger.Request {
			h := hold(c, 1001)
			return []ledger.Request{h, void(c, h)}
		}, []ledger.Code{short, ledger.CodeNotFound}, 0, true},
		{"hold beyond the ceiling of who gets it", func(c *counterpart) []ledger.Request {
			c.mustPost(c.transfer(c.till, c.friend, 249_500))
			h := hold(c, 501)
			return []ledger.Request{h, void(c, h)}
		}, []ledger.Code{high, ledger.CodeNotFound}, 0, true},
		{"hold that a later request posts", func(c *counterpart) []ledger.Request {
			h := hold(c, 1000)
			return []ledger.Request{h, ledger.PostHoldRequest{Key: h.Key + ":post", HoldID: ledger.IDOfKey(h.Key), Journal: "VIR", Label: "Post"}}
		}, []ledger.Code{"", ""}, 0, false},
		{"hold that frees what is spent", func(c *counterpart) []ledger.Request {
			h := hold(c, 1000)
			c.mustHold(h)
			return []ledger.Request{void(c, h), c.transfer(c.wallet, c.shop, 1000)}
		}, []ledger.Code{"", ""}, 0, false},
		{"hold that frees too late", func(c *counterpart) []ledger.Request {
			h := hold(c, 1000)
			c.mustHold(h)
			return []ledger.Request{c.transfer(c.wallet, c.shop, 1000), void(c, h)}
		}, []ledger.Code{short, ""}, 0, true},
		{"reversal in the batch of the original", func(c *counterpart) []ledger.Request {
			r := c.transfer(c.wallet, c.shop, 1000)
			return []ledger.Request{r, back(r), c.transfer(c.wallet, c.shop, 1000)}
		}, []ledger.Code{"", "", ""}, 0, false},
		{"reversal for the second time", func(c *counterpart) []ledger.Request {
			r := c.transfer(c.wallet, c.shop, 1000)
			c.mustPost(r)
			return []ledger.Request{back(r), back(r, 0), c.transfer(c.wallet, c.shop, 1000)}
		}, []ledger.Code{"", ledger.CodeAlreadyReversed, ""}, 0, true},
		{"condition that holds", func(c *counterpart) []ledger.Request {
			return []ledger.Request{when(c.transfer(c.wallet, c.shop, 1000), atBalance(c.wallet, 1000))}
		}, []ledger.Code{""}, 0, true},
		{"date in a closed period", func(c *counterpart) []ledger.Request {
			r := c.transfer(c.till, c.shop, 1)
			r.EffectiveDate = date(2014, 9, 14)
			return []ledger.Request{c.transfer(c.wallet, c.shop, 1), r, c.transfer(c.wallet, c.shop, 999)}
		}, []ledger.Code{"", ledger.CodePeriodClosed, ""}, 0, true},
		{"closed account", func(c *counterpart) []ledger.Request {
			c.close(c.friend)
			return []ledger.Request{c.transfer(c.wallet, c.shop, 1), c.transfer(c.wallet, c.friend, 1), c.transfer(c.wallet, c.shop, 999)}
		}, []ledger.Code{"", ledger.CodeAccountClosed, ""}, 0, true},
		{"hold on a closed account that the batch releases", func(c *counterpart) []ledger.Request {
			h := hold(c, 1)
			return []ledger.Request{h, void(c, h)}
		}, []ledger.Code{ledger.CodeAccountClosed, ledger.CodeNotFound}, 0, true},
	}
}

// close closes an account at its balance, as another process would.
func (w *world) close(a ledger.Account) {
	w.t.Helper()
	w.mustExec("UPDATE balances SET closed_debits = debits_posted, closed_credits = credits_posted WHERE "+w.ofAccount(a),
		"UPDATE accounts SET status = 'closed' WHERE id = "+w.lit(a.ID),
		"INSERT INTO account_changes (account_id, ordinal, to_status, changed_by, reason, changed_at) SELECT id, 1, 'closed', 'anne', 'Test', opened_at FROM accounts WHERE id = "+w.lit(a.ID))
}

// What depends on an account's earlier change is recorded after it, however far
// ahead the clock was of the engine that made it.
func TestClockOfAnotherEngineIsAhead(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		for name, prepare := range map[string]func(e *engine.Engine){"hopeful": (*engine.Engine).Hope, "cautious": (*engine.Engine).BeCautious} {
			for _, ahead := range []time.Duration{0, time.Microsecond, time.Second, time.Hour} {
				early := engine.New(db, engine.Options{Clock: func() time.Time { return w.clock.Now().Add(ahead) }})
				t.Cleanup(early.Close)
				funded, err := early.Post(w.ctx, w.transfer(w.cash, w.marie, 100))
				if err != nil {
					t.Fatal(err)
				}
				late := w.another()
				prepare(late)
				r := w.transfer(w.marie, w.payee, 100)
				r.EffectiveDate = date(2014, 10, 13) // pages of the same time would not collide
				spent, err := late.Post(w.ctx, r)
				if err != nil {
					t.Fatal(err)
				}
				if !spent.RecordedAt.After(funded.RecordedAt) {
					t.Errorf("%s, %s ahead: what came in at %s was spent at %s", name, ahead, funded.RecordedAt, spent.RecordedAt)
				}
				prepare(late)
				if next, err := late.Post(w.ctx, w.transfer(w.cash, w.payee, 1)); err != nil || !next.RecordedAt.After(spent.RecordedAt) {
					t.Errorf("%s, %s ahead: recorded at %s after %s, %v", name, ahead, next.RecordedAt, spent.RecordedAt, err)
				}
				w.clock.Advance(2 * time.Hour)
			}
		}
		w.wantBalance(w.marie, 0, 0)
		w.verify()
	})
}

// After a batch that hoped in vain, the engine looks first for a while.
func TestCautionPasses(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	refusal := func() {
		t.Helper()
		if _, err := w.Post(w.ctx, w.transfer(w.marie, w.payee, 1)); ledger.CodeOf(err) != ledger.CodeInsufficientFunds {
			t.Fatal(err)
		}
	}
	for round := range int64(2) {
		for range engine.CautiousBatches + 1 { // the first one hopes
			refusal()
		}
		if got := w.restarted(); got != round+1 {
			t.Fatalf("%d batches began again in %d rounds", got, round+1)
		}
	}
}
