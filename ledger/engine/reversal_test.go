package engine_test

import (
	"context"
	"maps"
	"slices"
	"testing"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// reverse undoes some postings of a transaction, or all of them.
func (w *world) reverse(t ledger.Transaction, ordinals ...int) ledger.ReverseRequest {
	return ledger.ReverseRequest{Key: w.key(), TransactionID: t.ID, Postings: ordinals, Label: "Back"}
}

// split pays yoann 1, 2, 4 and so on by one transaction, so that the sum of any
// postings tells which they are.
func (w *world) split(postings int) ledger.Transaction {
	w.t.Helper()
	r := w.transfer(w.cash, w.yoann, 1)
	for i := 1; i < postings; i++ {
		p := r.Postings[0]
		p.Amount = 1 << i
		r.Postings = append(r.Postings, p)
	}
	return w.mustPost(r)
}

// Each posting of a transaction is reversed once, by whichever reversal comes first.
func TestReversalOfSomePostings(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		t.Run("one after the other", func(t *testing.T) { reverseOneByOne(w.in(t)) })
		t.Run("in one batch", func(t *testing.T) { reverseInOneBatch(w.in(t)) })
		t.Run("without funds", func(t *testing.T) { reverseWithoutFunds(w.in(t)) })
		t.Run("by many callers", func(t *testing.T) { reverseByMany(w.in(t)) })
		w.verify()
	})
}

func reverseOneByOne(w *world) {
	original := w.split(4)
	second := w.reverse(original, 1)
	back, err := w.Reverse(w.ctx, second)
	if err != nil {
		w.t.Fatal(err)
	}
	undone := ledger.Posting{Debit: w.yoann.ID, Credit: w.cash.ID, Amount: 2, Currency: ledger.EUR,
		Reverses: ledger.PostingRef{TransactionID: original.ID, Ordinal: 1}}
	if back.Reverses != original.ID || !slices.Equal(back.Postings, []ledger.Posting{undone}) {
		w.t.Errorf("the reversal is %+v", back)
	}
	w.wantBalance(w.yoann, 1+4+8, 1+4+8)
	if again, err := w.Reverse(w.ctx, second); err != nil || !sameTransaction(again, back) {
		w.t.Errorf("with the same key: %+v, %v", again, err)
	}
	for name, ordinals := range map[string][]int{"the same": {1}, "overlapping": {0, 1, 2}, "overlapping at the end": {0, 1}, "the whole": nil} {
		_, err := w.Reverse(w.ctx, w.reverse(original, ordinals...))
		w.refused(name, err, ledger.CodeAlreadyReversed, "transaction_id")
	}
	_, err = w.Reverse(w.ctx, w.reverse(original, 0, 4))
	w.refused("out of range", err, ledger.CodeInvalid, "postings[1]")
	_, err = w.Reverse(w.ctx, w.reverse(original, 2, 0))
	w.refused("not in order", err, ledger.CodeInvalid, "postings[1]")
	_, err = w.Reverse(w.ctx, w.reverse(original, 2, 2))
	w.refused("twice in one", err, ledger.CodeInvalid, "postings[1]")
	w.wantBalance(w.yoann, 1+4+8, 1+4+8) // none of it was half done

	rest, err := w.Reverse(w.ctx, w.reverse(original, 0, 2, 3))
	if err != nil {
		w.t.Fatal(err)
	}
	w.wantBalance(w.yoann, 0, 0)
	_, err = w.Reverse(w.ctx, w.reverse(original, 3))
	w.refused("nothing is left", err, ledger.CodeAlreadyReversed, "transaction_id")
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		stored, err := engine.FindTransactions(ctx, tx, []uuid.UUID{back.ID, rest.ID})
		if err != nil || !sameTransaction(stored[back.ID], back) || !sameTransaction(stored[rest.ID], rest) {
			w.t.Errorf("stored are %+v, %v; want %+v and %+v", stored, err, back, rest)
		}
		last, err := engine.FindReversals(ctx, tx, []uuid.UUID{original.ID, rest.ID})
		if err != nil || !maps.Equal(last, map[uuid.UUID]uuid.UUID{original.ID: rest.ID}) {
			w.t.Errorf("reversals are %v, %v; want the last one, %s", last, err, rest.ID)
		}
		return nil
	})
	// A reversal can be wrong as well.
	if _, err := w.Reverse(w.ctx, w.reverse(rest, 0)); err != nil {
		w.t.Error(err)
	}
	w.wantBalance(w.yoann, 1, 1)
	if _, err := w.Reverse(w.ctx, w.reverse(rest, 1, 2)); err != nil {
		w.t.Error(err)
	}
	w.mustPost(w.transfer(w.yoann, w.cash, 1+4+8))
}

func reverseInOneBatch(w *world) {
	before, original, fresh := w.split(3), w.split(3), w.transfer(w.cash, w.yoann, 100)
	other := fresh.Postings[0]
	other.Amount = 200
	fresh.Postings = append(fresh.Postings, other)
	made := ledger.Transaction{ID: ledger.IDOfKey(fresh.Key)}
	got := w.codes(w.Engine,
		w.reverse(original, 0), w.reverse(original, 0), w.reverse(original, 1), w.reverse(original), w.reverse(original, 1, 2), w.reverse(original, 2),
		w.reverse(before), w.reverse(before, 1),
		w.reverse(made, 0), fresh, w.reverse(made, 1), w.reverse(made, 2), w.reverse(made), w.reverse(made, 0))
	const twice = ledger.CodeAlreadyReversed
	want := []ledger.Code{"", twice, "", twice, twice, "", "", twice, ledger.CodeNotFound, "", "", ledger.CodeInvalid, twice, ""}
	if !slices.Equal(got, want) {
		w.t.Errorf("got %q, want %q", got, want)
	}
	w.wantBalance(w.yoann, 0, 0)
}

// A reversal that is refused leaves its postings to be reversed later.
func reverseWithoutFunds(w *world) {
	original := w.split(3)
	w.mustPost(w.transfer(w.yoann, w.payee, 7))
	_, err := w.Reverse(w.ctx, w.reverse(original, 1, 2))
	w.refused("all is spent", err, ledger.CodeInsufficientFunds, "")
	got := w.codes(w.Engine, w.reverse(original, 1), w.transfer(w.cash, w.yoann, 2), w.reverse(original, 1, 2), w.reverse(original, 1), w.reverse(original, 1))
	const short = ledger.CodeInsufficientFunds
	if want := []ledger.Code{short, "", short, "", ledger.CodeAlreadyReversed}; !slices.Equal(got, want) {
		w.t.Errorf("got %q, want %q", got, want)
	}
	w.wantBalance(w.yoann, 0, 0)
}

func reverseByMany(w *world) {
	const callers = 8
	original := w.split(3)
	engines := []*engine.Engine{w.Engine, w.another()}
	done := make(chan error, callers)
	for i := range callers {
		r := w.reverse(original, [][]int{{1}, {0, 1}, {1, 2}, nil}[i/2]...)
		go func() {
			_, err := engines[i%len(engines)].Reverse(w.ctx, r)
			done <- err
		}()
	}
	through := 0
	for range callers {
		if err := <-done; err == nil {
			through++
		} else if ledger.CodeOf(err) != ledger.CodeAlreadyReversed {
			w.t.Error(err)
		}
	}
	if through != 1 {
		w.t.Errorf("%d of %d reversals of one posting went through, want one", through, callers)
	}
}
