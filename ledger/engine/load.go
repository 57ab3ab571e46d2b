package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// load reads what the requests touch: first their keys, then holds (locked, in
// order of id), originals of reversals, accounts, and the balances that the
// judgement needs (locked, in order of number). Everyone locks in this order.
// A hopeful batch reads only what no write tells it: holds and originals, and
// accounts that it has not met before.
func (b *batch) load(ctx context.Context) error {
	if b.mode == cautious {
		if err := b.loadKnown(ctx); err != nil {
			return fmt.Errorf("look up idempotency keys: %w", err)
		}
		if err := b.loadClosedPeriods(ctx); err != nil {
			return fmt.Errorf("look up closed periods: %w", err)
		}
	}
	var holds, originals []uuid.UUID
	accounts, conditional := idSet{}, idSet{}
	for _, request := range b.requests {
		if _, done := b.known[request.id]; done {
			continue
		}
		switch r := request.Request.(type) {
		case ledger.PostRequest:
			for _, p := range r.Postings {
				accounts.add(p.Debit, p.Credit)
			}
			for _, c := range r.Conditions {
				accounts.add(c.AccountID)
				conditional.add(c.AccountID)
			}
		case ledger.HoldRequest:
			accounts.add(r.Debit, r.Credit)
		case ledger.PostHoldRequest:
			holds = append(holds, r.HoldID)
		case ledger.VoidHoldRequest:
			holds = append(holds, r.HoldID)
		case ledger.ReverseRequest:
			originals = append(originals, r.TransactionID)
		}
	}
	if err := b.loadHolds(ctx, holds, accounts); err != nil {
		return fmt.Errorf("lock holds: %w", err)
	}
	if err := b.loadOriginals(ctx, originals, accounts); err != nil {
		return fmt.Errorf("load what is to be reversed: %w", err)
	}
	if b.mode == hopeful {
		if len(conditional) > 0 {
			return errHopeless // their judgement needs what is read below
		}
		return b.loadNewAccounts(ctx, accounts)
	}
	if err := b.loadAccounts(ctx, accounts.sorted()); err != nil {
		return fmt.Errorf("load accounts: %w", err)
	}
	if err := b.lockBalances(ctx, conditional); err != nil {
		return fmt.Errorf("lock balances: %w", err)
	}
	return nil
}

type idSet map[uuid.UUID]struct{}

func (s idSet) add(ids ...uuid.UUID) {
	for _, id := range ids {
		s[id] = struct{}{}
	}
}

func (s idSet) sorted() []uuid.UUID {
	ids := make([]uuid.UUID, 0, len(s))
	for id := range s {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, compareIDs)
	return ids
}

func (b *batch) loadKnown(ctx context.Context) error {
	ids := make([]uuid.UUID, len(b.requests))
	for i, r := range b.requests {
		ids[i] = r.id
	}
	return b.tx.Each(ctx, "SELECT id, request_hash, page_id, line FROM requests WHERE "+b.tx.AnyUUID("id", 1),
		[]any{ids}, func(rows *sqldb.Rows) error {
			var id uuid.UUID
			var hash []byte
			var page, line *int64
			if err := rows.Scan(&id, &hash, &page, &line); err != nil {
				return err
			}
			var k known
			copy(k.hash[:], hash)
			if page != nil && line != nil {
				k.place = &place{*page, *line}
			}
			b.known[id] = k
			return nil
		})
}

func (b *batch) loadClosedPeriods(ctx context.Context) error {
	periods, err := closedPeriods(ctx, b.tx)
	b.closed = periods
	return err
}

func (b *batch) loadHolds(ctx context.Context, ids []uuid.UUID, accounts idSet) error {
	if len(ids) == 0 {
		return nil
	}
	return b.tx.Each(ctx, "SELECT "+holdColumns+" FROM holds WHERE "+b.tx.AnyUUID("id", 1)+" ORDER BY id"+b.tx.ForUpdate(),
		[]any{ids}, func(rows *sqldb.Rows) error {
			h, err := scanHold(rows)
			if err != nil {
				return err
			}
			b.holds[h.ID] = &holdState{Hold: h}
			accounts.add(h.Debit, h.Credit)
			return nil
		})
}

func (b *batch) loadOriginals(ctx context.Context, ids []uuid.UUID, accounts idSet) error {
	if len(ids) == 0 {
		return nil
	}
	originals, err := transactionsByID(ctx, b.tx, ids)
	if err != nil {
		return err
	}
	var postings []place
	for id, t := range originals {
		at := place{t.Place.PageID, t.Place.Line}
		if _, ok := b.known[id]; !ok {
			b.known[id] = known{place: &at}
		}
		b.made[id] = &t
		for i, p := range t.Postings {
			accounts.add(p.Debit, p.Credit)
			postings = append(postings, place{at.page, at.line + int64(i)})
		}
	}
	undone, err := reversedPostings(ctx, b.tx, postings)
	b.undone = undone
	return err
}

func (b *batch) loadAccounts(ctx context.Context, ids []uuid.UUID) error {
	found, err := accountsByID(ctx, b.tx, ids)
	if err != nil {
		return err
	}
	for _, a := range found {
		if b.mode == hopeful {
			// Not in a transaction of the caller's, who may have opened the account in it:
			// where that is rolled back, SQLite gives the number to the next one.
			b.engine.numbers.Add(a.ID, a)
		}
		b.accounts[a.ID] = &accountState{numberedAccount: a}
	}
	return nil
}

// loadNewAccounts finds the accounts that the engine has met before in memory:
// what is kept there of an account never changes. Whether it was closed since,
// and its bounds, come back with the balance.
func (b *batch) loadNewAccounts(ctx context.Context, accounts idSet) error {
	var unmet []uuid.UUID
	for id := range accounts {
		if a, ok := b.engine.numbers.Get(id); ok {
			a.Status = ledger.AccountOpen
			b.accounts[id] = &accountState{numberedAccount: a}
			continue
		}
		unmet = append(unmet, id)
	}
	if len(unmet) == 0 {
		return nil
	}
	slices.SortFunc(unmet, compareIDs)
	if err := b.loadAccounts(ctx, unmet); err != nil {
		return fmt.Errorf("load accounts: %w", err)
	}
	return nil
}

// lockBalances locks and reads the balances of the accounts with bounds, and of
// those that conditions name.
func (b *batch) lockBalances(ctx context.Context, conditional idSet) error {
	var numbers []int64
	byNumber := map[int64]*accountState{}
	for id, a := range b.accounts {
		if _, named := conditional[id]; named || a.Limited() {
			numbers = append(numbers, a.no)
			byNumber[a.no] = a
		}
	}
	if len(numbers) == 0 {
		return nil
	}
	slices.Sort(numbers)
	return b.tx.Each(ctx, "SELECT "+balanceColumns+" FROM balances WHERE "+b.tx.AnyInt8("account_no", 1)+
		" ORDER BY account_no, shard"+b.tx.ForUpdate(), []any{numbers}, func(rows *sqldb.Rows) error {
		row, err := scanBalance(rows)
		if err != nil {
			return err
		}
		b.engine.after(row.changed)
		a := byNumber[row.accountNo]
		if err := a.take(row); err != nil {
			a.unsummable = err // which is the fault of no other request of the batch
		}
		return nil
	})
}

const balanceColumns = `account_no, min_balance, max_balance, debits_posted, credits_posted, debits_pending, credits_pending,
	version, changed_at`

// balanceRow is a row of balances: an account's, or one of its shards'.
type balanceRow struct {
	accountNo        int64
	minimum, maximum *ledger.Amount
	total            delta
	version          int64
	changed          time.Time
}

func scanBalance(rows *sqldb.Rows) (balanceRow, error) {
	var r balanceRow
	err := rows.Scan(&r.accountNo, &r.minimum, &r.maximum, &r.total.debitsPosted, &r.total.creditsPosted,
		&r.total.debitsPending, &r.total.creditsPending, &r.version, &r.changed)
	return r, err
}

// take adds a row to the balance that the account is judged by.
func (a *accountState) take(r balanceRow) error {
	total := delta{a.balance.DebitsPosted, a.balance.CreditsPosted, a.balance.DebitsPending, a.balance.CreditsPending}
	if err := total.add(r.total); err != nil {
		return a.overflow(err)
	}
	a.read = true
	a.Min, a.Max = r.minimum, r.maximum // what the database will judge by
	a.balance = ledger.Balance{
		AccountID: a.ID, Currency: a.Currency, Side: a.Side, Version: a.balance.Version + r.version,
		DebitsPosted: total.debitsPosted, CreditsPosted: total.creditsPosted,
		DebitsPending: total.debitsPending, CreditsPending: total.creditsPending,
	}
	return nil
}
