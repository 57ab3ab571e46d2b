package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

func TestOpenAccountAgain(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.clock.Advance(time.Second)
		repeated := w.marie
		repeated.OpenedAt = w.Now()
		if again, err := w.OpenAccount(w.ctx, repeated); err != nil || !sameAccount(again, w.marie) {
			t.Errorf("the same account again: %+v, %v", again, err)
		}
		one := ledger.Amount(-1)
		for name, change := range map[string]func(a *ledger.Account){
			"code": func(a *ledger.Account) { a.Code = "marie.2" }, "id": func(a *ledger.Account) { a.ID = uuid.New() },
			"name": func(a *ledger.Account) { a.Name = "Other" }, "category": func(a *ledger.Account) { a.Category = ledger.Suspense },
			"side": func(a *ledger.Account) { a.Side = ledger.Debit }, "currency": func(a *ledger.Account) { a.Currency = "USD" },
			"minimum": func(a *ledger.Account) { a.Min = &one }, "no minimum": func(a *ledger.Account) { a.Min = nil },
			"no maximum": func(a *ledger.Account) { a.Max = nil }, "shards": func(a *ledger.Account) { a.Min, a.Max, a.Shards = nil, nil, 2 },
			"code of one, id of another": func(a *ledger.Account) { *a = w.marie; a.Code = w.yoann.Code },
		} {
			other := w.marie
			change(&other)
			if _, err := w.OpenAccount(w.ctx, other); ledger.CodeOf(err) != ledger.CodeConflict {
				t.Errorf("another %s: %v", name, err)
			}
		}
		if _, err := w.OpenAccount(w.ctx, ledger.Account{}); ledger.CodeOf(err) != ledger.CodeInvalid {
			t.Errorf("an empty account: %v", err)
		}
		w.verify()
	})
}

// Engines write to shards of their own; a balance is the sum of them all.
func TestBalanceIsTheSumOfItsShards(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		shards, want := map[int]bool{}, ledger.Amount(0)
		var held []ledger.Hold
		for i := range 12 {
			e := engine.New(db, engine.Options{Clock: w.clock.Now})
			t.Cleanup(e.Close)
			shards[e.Shard(w.payee.Shards)] = true
			amount := ledger.Amount(1 + i)
			if _, err := e.Post(w.ctx, w.transfer(w.cash, w.payee, amount)); err != nil {
				t.Fatal(err)
			}
			want += amount
			h, err := e.Hold(w.ctx, w.holdOf(w.cash, w.payee, 100))
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, h)
			// Another engine releases it, from another shard.
			if i%2 == 1 {
				if _, err := e.VoidHold(w.ctx, ledger.VoidHoldRequest{Key: w.key(), HoldID: held[i-1].ID}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if b := w.balance(w.payee); b.Posted() != want || b.CreditsPending != 600 || b.Expected() != want+600 {
			t.Errorf("the balance is %+v, want %d posted and 600 expected", b, want)
		}
		var rows int64
		payee := w.ofAccount(w.payee)
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.QueryRow(ctx, "SELECT COUNT(*) FROM balances WHERE version > 0 AND "+payee, nil, &rows)
		})
		if int(rows) != len(shards) {
			t.Errorf("%d rows were written by engines on shards %v", rows, shards)
		}
		w.verify()
	})
}

// What a failure of the database means to the caller.
func TestFailuresOfTheDatabase(t *testing.T) {
	state := func(code string) error {
		return fmt.Errorf("write balances: %w", &pgconn.PgError{Code: code, Message: "said the database"})
	}
	for _, c := range []struct {
		name string
		err  error
		want ledger.Code
	}{
		{"none", nil, ""},
		{"a refusal", ledger.Errorf(ledger.CodeNotFound, "no"), ledger.CodeNotFound},
		{"serialization", state("40001"), ledger.CodeUnavailable},
		{"connection lost", io.ErrUnexpectedEOF, ledger.CodeUnavailable},
		{"shutting down", state("57P01"), ledger.CodeUnavailable},
		{"ambiguous", state("40003"), ledger.CodeUnavailable},
		{"disk full", state("53100"), ledger.CodeUnavailable},
		{"cancelled", context.Canceled, ledger.CodeUnavailable},
		{"out of time", context.DeadlineExceeded, ledger.CodeUnavailable},
		{"out of range", state("22003"), ledger.CodeOverflow},
		{"check", state("23514"), ""}, // a defect: not for the caller to act on
		{"unique", state("23505"), ""},
		{"foreign key", state("23503"), ""},
		{"no such table", state("42P01"), ""},
	} {
		got := engine.AsLedgerError(c.err)
		if ledger.CodeOf(got) != c.want || !errors.Is(got, c.err) {
			t.Errorf("%s: got %v with code %q, want %q", c.name, got, ledger.CodeOf(got), c.want)
		}
	}
}

// A clock that jumps back does not make recorded times go back.
func TestRecordedTimesOnlyGoUp(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	random := rand.New(rand.NewPCG(3, 4))
	last := w.mustPost(w.transfer(w.cash, w.payee, 1)).RecordedAt
	for range 50 {
		w.clock.Advance(time.Duration(random.Int64N(2001)-1000) * time.Millisecond)
		next := w.mustPost(w.transfer(w.cash, w.payee, 1)).RecordedAt
		if !next.After(last) {
			t.Fatalf("%s came after %s", next, last)
		}
		last = next
	}
}
