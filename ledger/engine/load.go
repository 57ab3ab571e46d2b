package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// load reads what the requests touch: first their keys, then holds (locked, in
// order of id), originals of reversals, accounts, and the balances of accounts
// with bounds (locked, in order of id). Everyone locks in this order.
func (b *batch) load(ctx context.Context) error {
	if err := b.loadKnown(ctx); err != nil {
		return fmt.Errorf("look up idempotency keys: %w", err)
	}
	var holds, originals []uuid.UUID
	accounts := idSet{}
	for i, request := range b.requests {
		if _, done := b.known[b.ids[i]]; done {
			continue
		}
		switch r := request.(type) {
		case ledger.PostRequest:
			for _, p := range r.Postings {
				accounts.add(p.Debit, p.Credit)
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
	if err := b.loadAccounts(ctx, accounts.sorted()); err != nil {
		return fmt.Errorf("load accounts: %w", err)
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
	return b.tx.Each(ctx, fmt.Sprintf(`
		SELECT id, request_hash, hold_id FROM hold_releases WHERE %[1]s
		UNION ALL SELECT id, request_hash, NULL FROM transactions WHERE %[1]s
		UNION ALL SELECT id, request_hash, NULL FROM holds WHERE %[1]s`, b.tx.AnyUUID("id", 1)),
		[]any{b.ids}, func(rows *sqldb.Rows) error {
			var id, hold uuid.UUID
			var hash []byte
			if err := rows.Scan(&id, &hash, &hold); err != nil {
				return err
			}
			k := known{hold: hold}
			copy(k.hash[:], hash)
			b.known[id] = k
			return nil
		})
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
	for id, t := range originals {
		b.made[id] = &t
		for _, p := range t.Postings {
			accounts.add(p.Debit, p.Credit)
		}
	}
	return b.tx.Each(ctx, "SELECT reverses FROM transactions WHERE reverses IS NOT NULL AND "+b.tx.AnyUUID("reverses", 1),
		[]any{ids}, func(rows *sqldb.Rows) error {
			var id uuid.UUID
			if err := rows.Scan(&id); err != nil {
				return err
			}
			b.reversed[id] = true
			return nil
		})
}

func (b *batch) loadAccounts(ctx context.Context, ids []uuid.UUID) error {
	if len(ids) == 0 {
		return nil
	}
	var limited []uuid.UUID
	err := b.tx.Each(ctx, "SELECT "+accountColumns+" FROM accounts WHERE "+b.tx.AnyUUID("id", 1),
		[]any{ids}, func(rows *sqldb.Rows) error {
			a, err := scanAccount(rows)
			if err != nil {
				return err
			}
			b.accounts[a.ID] = &accountState{Account: a}
			if a.Limited() {
				limited = append(limited, a.ID)
			}
			return nil
		})
	if err != nil || len(limited) == 0 {
		return err
	}
	return b.tx.Each(ctx, `SELECT account_id, min_balance, max_balance, debits_posted, credits_posted, debits_pending, credits_pending
		FROM balances WHERE `+b.tx.AnyUUID("account_id", 1)+" ORDER BY account_id, shard"+b.tx.ForUpdate(),
		[]any{limited}, func(rows *sqldb.Rows) error {
			var id uuid.UUID
			var minimum, maximum *ledger.Amount
			var balance ledger.Balance
			if err := rows.Scan(&id, &minimum, &maximum, &balance.DebitsPosted, &balance.CreditsPosted,
				&balance.DebitsPending, &balance.CreditsPending); err != nil {
				return err
			}
			a := b.accounts[id]
			a.Min, a.Max = minimum, maximum // what the database will judge by
			balance.AccountID, balance.Currency, balance.Side = id, a.Currency, a.Side
			a.balance = balance
			return nil
		})
}
