package engine_test

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// when makes a request depend on conditions.
func when(r ledger.PostRequest, conditions ...ledger.Condition) ledger.PostRequest {
	r.Conditions = conditions
	return r
}

func atVersion(a ledger.Account, version int64) ledger.Condition {
	return ledger.Condition{AccountID: a.ID, Version: &version}
}

func atBalance(a ledger.Account, balance ledger.Amount) ledger.Condition {
	return ledger.Condition{AccountID: a.ID, Balance: &balance}
}

// A conditional request is posted only if its accounts stand as its caller saw
// them.
func TestConditionalPosting(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.mustPost(w.transfer(w.cash, w.marie, 1000))
		t.Run("version", func(t *testing.T) { conditionOnVersion(w.in(t)) })
		t.Run("balance", func(t *testing.T) { conditionOnBalance(w.in(t)) })
		t.Run("in one batch", func(t *testing.T) { conditionsInOneBatch(w.in(t)) })
		t.Run("sharded account", func(t *testing.T) { conditionOnShards(w.in(t)) })
		t.Run("one caller of many", func(t *testing.T) { conditionOfManyCallers(w.in(t)) })
		w.verify()
	})
}

func conditionOnVersion(w *world) {
	seen := w.balance(w.marie)
	fresh := when(w.transfer(w.marie, w.payee, 10), atVersion(w.marie, seen.Version))
	made := w.mustPost(fresh)
	if now := w.balance(w.marie); now.Version <= seen.Version || now.Posted() != seen.Posted()-10 {
		w.t.Errorf("the balance went from %+v to %+v", seen, now)
	}
	if again := w.mustPost(fresh); !sameTransaction(again, made) {
		w.t.Errorf("repeated after the condition no longer holds: %+v", again)
	}
	_, err := w.Post(w.ctx, when(w.transfer(w.marie, w.payee, 10), atVersion(w.marie, seen.Version)))
	w.refused("a stale version", err, ledger.CodeConditionFailed, "conditions[0]")
	_, err = w.Post(w.ctx, when(w.transfer(w.marie, w.payee, 10), atVersion(w.marie, w.balance(w.marie).Version+1)))
	w.refused("a version to come", err, ledger.CodeConditionFailed, "conditions[0]")
	// A hold changes what is available, so it is a version too.
	seen = w.balance(w.marie)
	w.mustHold(w.holdOf(w.marie, w.yoann, 1))
	_, err = w.Post(w.ctx, when(w.transfer(w.marie, w.payee, 10), atVersion(w.marie, seen.Version)))
	w.refused("a version from before a hold", err, ledger.CodeConditionFailed, "conditions[0]")
	w.wantBalance(w.marie, seen.Posted(), seen.Available()-1)
}

func conditionOnBalance(w *world) {
	before := w.balance(w.marie).Posted()
	w.mustPost(when(w.transfer(w.marie, w.payee, 10), atBalance(w.marie, before)))
	_, err := w.Post(w.ctx, when(w.transfer(w.marie, w.payee, 10), atBalance(w.marie, before)))
	w.refused("a stale balance", err, ledger.CodeConditionFailed, "conditions[0]")
	// What came back to the same balance is another version.
	seen := w.balance(w.marie)
	w.mustPost(w.transfer(w.marie, w.payee, 10))
	w.mustPost(w.transfer(w.cash, w.marie, 10))
	both := atBalance(w.marie, seen.Posted())
	both.Version = &seen.Version
	_, err = w.Post(w.ctx, when(w.transfer(w.marie, w.payee, 10), both))
	w.refused("a balance that came back", err, ledger.CodeConditionFailed, "conditions[0]")
	w.mustPost(when(w.transfer(w.cash, w.payee, 1), atBalance(w.marie, seen.Posted()), atBalance(w.yoann, 0))) // neither is posted to
	_, err = w.Post(w.ctx, when(w.transfer(w.cash, w.payee, 1), atBalance(w.marie, seen.Posted()), atBalance(w.yoann, 1)))
	w.refused("the second of two", err, ledger.CodeConditionFailed, "conditions[1]")
	_, err = w.Post(w.ctx, when(w.transfer(w.cash, w.payee, 1), atBalance(ledger.Account{ID: uuid.New()}, 0)))
	w.refused("an account that is not there", err, ledger.CodeNotFound, "conditions[0].account_id")
	w.wantBalance(w.marie, before-10, before-11) // 1 is held
}

// Inside a batch each request sees what those before it did.
func conditionsInOneBatch(w *world) {
	seen := w.balance(w.yoann)
	got := w.codes(w.Engine,
		when(w.transfer(w.cash, w.yoann, 5), atVersion(w.yoann, seen.Version)),
		when(w.transfer(w.cash, w.yoann, 5), atVersion(w.yoann, seen.Version)), // saw the same as the first
		when(w.transfer(w.cash, w.yoann, 5), atBalance(w.yoann, seen.Posted()+5)),
		when(w.transfer(w.yoann, w.payee, 1_000_000), atBalance(w.yoann, seen.Posted()+10)), // refused, so it changes nothing
		when(w.transfer(w.yoann, w.payee, 3), atBalance(w.yoann, seen.Posted()+10)),
	)
	want := []ledger.Code{"", ledger.CodeConditionFailed, "", ledger.CodeInsufficientFunds, ""}
	if !slices.Equal(got, want) {
		w.t.Errorf("got %q, want %q", got, want)
	}
	if now := w.balance(w.yoann); now.Posted() != seen.Posted()+7 || now.Version != seen.Version+1 {
		w.t.Errorf("the balance went from %+v to %+v", seen, now)
	}
}

// The version of a sharded account changes with every shard.
func conditionOnShards(w *world) {
	for range 6 { // that several shards are written is likely, not certain
		other := w.another()
		seen := w.balance(w.payee)
		if _, err := other.Post(w.ctx, w.transfer(w.cash, w.payee, 1)); err != nil {
			w.t.Fatal(err)
		}
		_, err := w.Post(w.ctx, when(w.transfer(w.cash, w.payee, 1), atVersion(w.payee, seen.Version)))
		w.refused("a stale version", err, ledger.CodeConditionFailed, "conditions[0]")
		_, err = w.Post(w.ctx, when(w.transfer(w.cash, w.payee, 1), atBalance(w.payee, seen.Posted())))
		w.refused("a stale balance", err, ledger.CodeConditionFailed, "conditions[0]")
		now := w.balance(w.payee)
		fresh := atBalance(w.payee, seen.Posted()+1)
		fresh.Version = &now.Version
		if _, err := other.Post(w.ctx, when(w.transfer(w.payee, w.cash, 1), fresh)); err != nil {
			w.t.Errorf("a fresh version and balance: %v", err)
		}
	}
}

// Of many callers that saw the same, over several engines, one goes through.
func conditionOfManyCallers(w *world) {
	const callers = 8
	engines := []*engine.Engine{w.Engine, w.another()}
	before := w.balance(w.marie)
	done := make(chan error, callers)
	for i := range callers {
		r := when(w.transfer(w.marie, w.payee, 1), atVersion(w.marie, before.Version))
		go func() {
			_, err := engines[i%len(engines)].Post(w.ctx, r)
			done <- err
		}()
	}
	through := 0
	for range callers {
		if err := <-done; err == nil {
			through++
		} else if ledger.CodeOf(err) != ledger.CodeConditionFailed {
			w.t.Error(err)
		}
	}
	if through != 1 {
		w.t.Errorf("%d of %d callers went through, want one", through, callers)
	}
	w.wantBalance(w.marie, before.Posted()-1, before.Available()-1)
}
