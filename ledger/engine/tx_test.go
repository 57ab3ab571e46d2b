package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// note is other work of the caller in the same transaction.
func note(ctx context.Context, tx *sqldb.Tx, name string) error {
	_, err := tx.Exec(ctx, "INSERT INTO chart_entries (category, valid_from, number, label) VALUES ($1, $2, '419', 'Note')",
		name, ledger.Date{Year: 2014, Month: time.October, Day: 14})
	return err
}

func (w *world) noted(name string) bool {
	w.t.Helper()
	var count int64
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.QueryRow(ctx, "SELECT COUNT(*) FROM chart_entries WHERE category = $1", []any{name}, &count)
	})
	return count == 1
}

func TestTxCommitsAndFailsWithItsCaller(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		// All that can be done, each on what was done before in the same transaction.
		chain := func(ctx context.Context, tx *sqldb.Tx, name string) error {
			a := ledger.Account{ID: ledger.SystemAccountID(name), Code: name, Name: "New", Category: ledger.CharityPayable,
				Side: ledger.Credit, Currency: ledger.EUR, Shards: 3}
			fund, spend := w.transfer(w.cash, w.marie, 1000), w.transfer(w.marie, a, 300)
			fund.Key, spend.Key = name+":fund", name+":spend"
			hold, rest := w.holdOf(w.marie, a, 500), w.holdOf(w.marie, a, 200)
			hold.Key, rest.Key = name+":hold", name+":rest"
			if _, err := w.OpenAccountTx(ctx, tx, a); err != nil {
				return err
			}
			if _, err := w.PostTx(ctx, tx, fund); err != nil {
				return err
			}
			spent, err := w.PostTx(ctx, tx, spend)
			if err != nil {
				return err
			}
			held, err := w.HoldTx(ctx, tx, hold)
			if err != nil {
				return err
			}
			if _, err := w.HoldTx(ctx, tx, rest); err != nil {
				return err
			}
			if _, err := w.PostHoldTx(ctx, tx, ledger.PostHoldRequest{Key: name + ":part", HoldID: held.ID, Amount: 200, Journal: "VIR", Label: "Part"}); err != nil {
				return err
			}
			if voided, err := w.VoidHoldTx(ctx, tx, ledger.VoidHoldRequest{Key: name + ":void", HoldID: held.ID}); err != nil || voided.Status != ledger.HoldVoided {
				return fmt.Errorf("void: %s, %w", voided.Status, err)
			}
			if _, err := w.ReverseTx(ctx, tx, ledger.ReverseRequest{Key: name + ":back", TransactionID: spent.ID, Label: "Back"}); err != nil {
				return err
			}
			return note(ctx, tx, name)
		}
		changedMind := errors.New("the caller changed its mind")
		err := db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			if err := chain(ctx, tx, "no"); err != nil {
				return err
			}
			return changedMind
		})
		if !errors.Is(err, changedMind) || w.noted("no") {
			t.Fatalf("got %v; noted: %t", err, w.noted("no"))
		}
		w.wantBalance(w.marie, 0, 0)
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			for name, find := range map[string]func() error{
				"account":     func() error { _, err := engine.FindAccountByCode(ctx, tx, "no"); return err },
				"transaction": func() error { _, err := engine.FindTransaction(ctx, tx, ledger.IDOfKey("no:fund")); return err },
				"hold":        func() error { _, err := engine.FindHold(ctx, tx, ledger.IDOfKey("no:hold")); return err },
			} {
				if err := find(); ledger.CodeOf(err) != ledger.CodeNotFound {
					t.Errorf("%s: got %v", name, err)
				}
			}
			return nil
		})
		if err := db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error { return chain(ctx, tx, "yes") }); err != nil {
			t.Fatal(err)
		}
		if !w.noted("yes") {
			t.Error("the caller's own work was not committed")
		}
		w.wantBalance(w.marie, 800, 600)
		// What is not idempotent would now be made twice.
		if err := db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			return chain(ctx, tx, "yes")
		}); sqldb.ClassOf(err) != sqldb.ClassUnique { // the note, and nothing before it
			t.Errorf("the second run of the chain: %v", err)
		}
		w.wantBalance(w.marie, 800, 600)
		w.verify()
	})
}

// A refusal has changed nothing, and on PostgreSQL has not aborted the caller's
// transaction either: it was found before anything was written.
func TestTxRefusalLeavesTheTransactionUsable(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		funded := w.transfer(w.cash, w.marie, 1000)
		made := w.mustPost(funded)
		held := w.mustHold(w.holdOf(w.marie, w.yoann, 400))
		closed := w.mustHold(w.holdOf(w.marie, w.yoann, 1))
		if _, err := w.VoidHold(w.ctx, ledger.VoidHoldRequest{Key: w.key(), HoldID: closed.ID}); err != nil {
			t.Fatal(err)
		}
		back := w.mustPost(w.transfer(w.cash, w.yoann, 5))
		if _, err := w.Reverse(w.ctx, ledger.ReverseRequest{Key: w.key(), TransactionID: back.ID, Label: "Back"}); err != nil {
			t.Fatal(err)
		}
		shut := w.open(ledger.Account{Code: "shut", Category: ledger.Suspense, Side: ledger.Credit})
		w.close(shut)
		dollars := w.open(ledger.Account{Code: "dollars", Category: ledger.OwnAccount, Side: ledger.Debit, Currency: "USD"})
		otherContent := funded
		otherContent.Label = "Other"
		changedName := w.marie
		changedName.Name = "Renamed"
		post := func(r ledger.PostRequest) func(ctx context.Context, tx *sqldb.Tx) error {
			return func(ctx context.Context, tx *sqldb.Tx) error { _, err := w.PostTx(ctx, tx, r); return err }
		}
		for i, c := range []struct {
			name string
			do   func(ctx context.Context, tx *sqldb.Tx) error
			want ledger.Code
		}{
			{"invalid", post(ledger.PostRequest{}), ledger.CodeInvalid},
			{"no such account", post(w.transfer(w.cash, ledger.Account{ID: uuid.New()}, 1)), ledger.CodeNotFound},
			{"other currency", post(w.transfer(w.cash, dollars, 1)), ledger.CodeCurrencyMismatch},
			{"closed account", post(w.transfer(w.cash, shut, 1)), ledger.CodeAccountClosed},
			{"overdraft", post(w.transfer(w.marie, w.payee, 601)), ledger.CodeInsufficientFunds},
			{"ceiling", post(w.transfer(w.cash, w.yoann, 249_601)), ledger.CodeLimitExceeded},
			{"overflow", post(w.transfer(w.cash, w.marie, 1<<63-1)), ledger.CodeOverflow},
			{"key of another request", post(otherContent), ledger.CodeConflict},
			{"hold of too much", func(ctx context.Context, tx *sqldb.Tx) error {
				_, err := w.HoldTx(ctx, tx, w.holdOf(w.marie, w.yoann, 601))
				return err
			}, ledger.CodeInsufficientFunds},
			{"more than was held", func(ctx context.Context, tx *sqldb.Tx) error {
				_, err := w.PostHoldTx(ctx, tx, w.postOf(held, 401))
				return err
			}, ledger.CodeHoldClosed},
			{"hold voided before", func(ctx context.Context, tx *sqldb.Tx) error {
				_, err := w.VoidHoldTx(ctx, tx, ledger.VoidHoldRequest{Key: w.key(), HoldID: closed.ID})
				return err
			}, ledger.CodeHoldClosed},
			{"reversed before", func(ctx context.Context, tx *sqldb.Tx) error {
				_, err := w.ReverseTx(ctx, tx, ledger.ReverseRequest{Key: w.key(), TransactionID: back.ID, Label: "Back"})
				return err
			}, ledger.CodeAlreadyReversed},
			{"reversal that overdraws", func(ctx context.Context, tx *sqldb.Tx) error {
				_, err := w.ReverseTx(ctx, tx, ledger.ReverseRequest{Key: w.key(), TransactionID: made.ID, Label: "Back"})
				return err
			}, ledger.CodeInsufficientFunds},
			{"account of other content", func(ctx context.Context, tx *sqldb.Tx) error {
				_, err := w.OpenAccountTx(ctx, tx, changedName)
				return err
			}, ledger.CodeConflict},
		} {
			name := fmt.Sprintf("note%c", 'a'+rune(i))
			err := db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
				if err := c.do(ctx, tx); ledger.CodeOf(err) != c.want {
					return fmt.Errorf("got %w, want %q", err, c.want)
				}
				return note(ctx, tx, name)
			})
			if err != nil || !w.noted(name) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		w.wantBalance(w.marie, 1000, 600)
		w.wantBalance(w.yoann, 0, 0)
		w.verify()
	})
}

// Callers with transactions of their own and the group commit share the book.
func TestTxBesideGroupCommit(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.mustPost(w.transfer(w.cash, w.marie, 1000))
		var mu sync.Mutex
		var all sync.WaitGroup
		spent := ledger.Amount(0)
		for caller := range 6 {
			all.Go(func() {
				for i := range 10 {
					r := w.transfer(w.marie, w.payee, 30)
					r.Key = fmt.Sprintf("beside:%d:%d", caller, i)
					var err error
					if caller%2 == 0 {
						_, err = w.Post(w.ctx, r)
					} else {
						err = db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
							_, err := w.PostTx(ctx, tx, r)
							return err
						})
					}
					switch ledger.CodeOf(err) {
					case ledger.CodeInsufficientFunds:
					default:
						if err != nil {
							t.Errorf("%s: %v", r.Key, err)
							continue
						}
						mu.Lock()
						spent += 30
						mu.Unlock()
					}
				}
			})
		}
		all.Wait()
		if spent != 990 {
			t.Errorf("%d was spent of 1000, by 30", spent)
		}
		w.wantBalance(w.marie, 1000-spent, 1000-spent)
		w.wantBalance(w.payee, spent, spent)
		w.verify()
	})
}

// A refusal names the side of the posting that it is about.
func TestRefusalNamesTheField(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	dollars := w.open(ledger.Account{Code: "dollars", Category: ledger.OwnAccount, Side: ledger.Debit, Currency: "USD"})
	nobody := ledger.Account{ID: uuid.New(), Currency: ledger.EUR}
	two := w.transfer(w.cash, w.payee, 1)
	two.Postings = append(two.Postings, ledger.Posting{Debit: w.cash.ID, Credit: nobody.ID, Amount: 1, Currency: ledger.EUR})
	huge := w.transfer(w.cash, w.payee, 1<<62)
	huge.Postings = append(huge.Postings, huge.Postings[0])
	for name, c := range map[string]struct {
		r     ledger.Request
		field string
	}{
		"debit":              {w.transfer(nobody, w.cash, 1), "postings[0].debit"},
		"credit":             {two, "postings[1].credit"},
		"currency":           {w.transfer(w.cash, dollars, 1), "postings[0].credit"},
		"too much":           {huge, "postings[1].amount"},
		"debit of a hold":    {w.holdOf(nobody, w.cash, 1), "debit"},
		"credit of a hold":   {w.holdOf(w.cash, dollars, 1), "credit"},
		"no hold":            {ledger.VoidHoldRequest{Key: w.key(), HoldID: nobody.ID}, "hold_id"},
		"nothing to reverse": {ledger.ReverseRequest{Key: w.key(), TransactionID: nobody.ID, Label: "Back"}, "transaction_id"},
	} {
		outcomes, err := w.Submit(w.ctx, []ledger.Request{c.r})
		if err != nil {
			t.Fatal(err)
		}
		if refusal, ok := errors.AsType[*ledger.Error](outcomes[0].Err); !ok || refusal.Field != c.field {
			t.Errorf("%s: got %v, want field %s", name, outcomes[0].Err, c.field)
		}
	}
}
