package engine

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// write stores what was accepted, one statement a table.
func (b *batch) write(ctx context.Context) error {
	if err := b.writeTransactions(ctx); err != nil {
		return fmt.Errorf("write transactions: %w", err)
	}
	if err := b.writeHolds(ctx); err != nil {
		return fmt.Errorf("write holds: %w", err)
	}
	if err := b.writeBalances(ctx); err != nil {
		return fmt.Errorf("write balances: %w", err)
	}
	return nil
}

var transactionTable = []sqldb.Column{
	{Name: "id", Type: "uuid"}, {Name: "idempotency_key", Type: "text"}, {Name: "request_hash", Type: "bytea"},
	{Name: "journal", Type: "text"}, {Name: "label", Type: "text"}, {Name: "effective_date", Type: "date"},
	{Name: "recorded_at", Type: "timestamptz"}, {Name: "source_channel", Type: "text"}, {Name: "source_id", Type: "text"},
	{Name: "source_date", Type: "date"}, {Name: "metadata", Type: "jsonb"}, {Name: "reverses", Type: "uuid"},
	{Name: "hold_id", Type: "uuid"}, {Name: "postings", Type: "int8"},
}

var postingTable = []sqldb.Column{
	{Name: "transaction_id", Type: "uuid"}, {Name: "ordinal", Type: "int8"}, {Name: "debit_account_id", Type: "uuid"},
	{Name: "credit_account_id", Type: "uuid"}, {Name: "amount", Type: "int8"}, {Name: "currency", Type: "text"},
	{Name: "effective_date", Type: "date"}, {Name: "recorded_at", Type: "timestamptz"},
}

func (b *batch) writeTransactions(ctx context.Context) error {
	if len(b.transactions) == 0 {
		return nil
	}
	err := b.tx.Insert(ctx, "transactions", transactionTable, len(b.transactions), func(i int) []any {
		t := b.transactions[i]
		return []any{
			t.ID, t.Key, t.hash, t.Journal, t.Label, t.EffectiveDate, t.RecordedAt,
			sqldb.NullText(t.Source.Channel), sqldb.NullText(t.Source.ID), t.Source.Date, t.Metadata,
			sqldb.NullUUID(t.Reverses), sqldb.NullUUID(t.HoldID), int64(len(t.Postings)),
		}
	})
	if err != nil {
		return err
	}
	type place struct{ transaction, posting int }
	var places []place
	for i, t := range b.transactions {
		for j := range t.Postings {
			places = append(places, place{i, j})
		}
	}
	return b.tx.Insert(ctx, "postings", postingTable, len(places), func(i int) []any {
		t := b.transactions[places[i].transaction]
		p := t.Postings[places[i].posting]
		return []any{
			t.ID, int64(places[i].posting), p.Debit, p.Credit, int64(p.Amount), string(p.Currency), t.EffectiveDate, t.RecordedAt,
		}
	})
}

var holdTable = []sqldb.Column{
	{Name: "id", Type: "uuid"}, {Name: "idempotency_key", Type: "text"}, {Name: "request_hash", Type: "bytea"},
	{Name: "debit_account_id", Type: "uuid"}, {Name: "credit_account_id", Type: "uuid"}, {Name: "amount", Type: "int8"},
	{Name: "posted", Type: "int8"}, {Name: "currency", Type: "text"}, {Name: "status", Type: "text"},
	{Name: "expires_at", Type: "timestamptz"}, {Name: "recorded_at", Type: "timestamptz"},
	{Name: "closed_at", Type: "timestamptz"}, {Name: "source_channel", Type: "text"}, {Name: "source_id", Type: "text"},
	{Name: "source_date", Type: "date"},
}

var holdChange = []sqldb.Column{
	{Name: "id", Type: "uuid"}, {Name: "posted", Type: "int8"}, {Name: "status", Type: "text"}, {Name: "closed_at", Type: "timestamptz"},
}

var releaseTable = []sqldb.Column{
	{Name: "id", Type: "uuid"}, {Name: "idempotency_key", Type: "text"}, {Name: "request_hash", Type: "bytea"},
	{Name: "hold_id", Type: "uuid"}, {Name: "amount", Type: "int8"}, {Name: "recorded_at", Type: "timestamptz"},
}

func (b *batch) writeHolds(ctx context.Context) error {
	if len(b.newHolds) > 0 {
		err := b.tx.Insert(ctx, "holds", holdTable, len(b.newHolds), func(i int) []any {
			h := b.newHolds[i]
			return []any{
				h.ID, h.Key, h.hash, h.Debit, h.Credit, int64(h.Amount), int64(h.Posted), string(h.Currency), string(h.Status),
				h.ExpiresAt, h.RecordedAt, h.ClosedAt,
				sqldb.NullText(h.Source.Channel), sqldb.NullText(h.Source.ID), h.Source.Date,
			}
		})
		if err != nil {
			return err
		}
	}
	changed := idSet{}
	for id, h := range b.holds {
		if h.changed && !h.isNew {
			changed.add(id)
		}
	}
	if len(changed) > 0 {
		ids := changed.sorted()
		count, err := b.tx.ForRows(ctx,
			`UPDATE holds SET posted = d.posted, status = d.status, closed_at = d.closed_at
			FROM ROWS AS d(id, posted, status, closed_at) WHERE holds.id = d.id`,
			`UPDATE holds SET posted = $2, status = $3, closed_at = $4 WHERE id = $1`,
			holdChange, len(ids), func(i int) []any {
				h := b.holds[ids[i]]
				return []any{h.ID, int64(h.Posted), string(h.Status), h.ClosedAt}
			})
		if err != nil {
			return err
		}
		if count != int64(len(ids)) {
			return fmt.Errorf("%d of %d holds were updated", count, len(ids))
		}
	}
	if len(b.releases) == 0 {
		return nil
	}
	return b.tx.Insert(ctx, "hold_releases", releaseTable, len(b.releases), func(i int) []any {
		r := b.releases[i]
		return []any{r.id, r.key, r.hash, r.hold, int64(r.amount), r.at}
	})
}

var balanceChange = []sqldb.Column{
	{Name: "account_id", Type: "uuid"}, {Name: "shard", Type: "int8"}, {Name: "debits_posted", Type: "int8"},
	{Name: "credits_posted", Type: "int8"}, {Name: "debits_pending", Type: "int8"}, {Name: "credits_pending", Type: "int8"},
}

func (b *batch) writeBalances(ctx context.Context) error {
	changed := idSet{}
	for id, a := range b.accounts {
		if !a.delta.isZero() {
			changed.add(id)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	ids := changed.sorted()
	count, err := b.tx.ForRows(ctx,
		`UPDATE balances SET debits_posted = balances.debits_posted + d.debits_posted,
			credits_posted = balances.credits_posted + d.credits_posted,
			debits_pending = balances.debits_pending + d.debits_pending,
			credits_pending = balances.credits_pending + d.credits_pending,
			version = balances.version + 1
		FROM ROWS AS d(account_id, shard, debits_posted, credits_posted, debits_pending, credits_pending)
		WHERE balances.account_id = d.account_id AND balances.shard = d.shard`,
		`UPDATE balances SET debits_posted = debits_posted + $3, credits_posted = credits_posted + $4,
			debits_pending = debits_pending + $5, credits_pending = credits_pending + $6, version = version + 1
		WHERE account_id = $1 AND shard = $2`,
		balanceChange, len(ids), func(i int) []any {
			a := b.accounts[ids[i]]
			return []any{
				a.ID, int64(b.engine.shard % a.Shards), int64(a.delta.debitsPosted), int64(a.delta.creditsPosted),
				int64(a.delta.debitsPending), int64(a.delta.creditsPending),
			}
		})
	if err != nil {
		return err
	}
	if count != int64(len(ids)) {
		return fmt.Errorf("%d of %d balances were updated", count, len(ids))
	}
	return nil
}

// replay fills the outcomes of requests that were carried out before with what
// came of them then.
func (b *batch) replay(ctx context.Context) error {
	if len(b.replays) == 0 {
		return nil
	}
	var transactions, holds []uuid.UUID
	for _, i := range b.replays {
		switch b.requests[i].(type) {
		case ledger.HoldRequest:
			holds = append(holds, b.ids[i])
		case ledger.VoidHoldRequest:
			holds = append(holds, b.known[b.ids[i]].hold)
		default:
			transactions = append(transactions, b.ids[i])
		}
	}
	made, err := transactionsByID(ctx, b.tx, transactions)
	if err != nil {
		return fmt.Errorf("load earlier transactions: %w", err)
	}
	held, err := holdsByID(ctx, b.tx, holds)
	if err != nil {
		return fmt.Errorf("load earlier holds: %w", err)
	}
	for _, i := range b.replays {
		id := b.ids[i]
		if void := b.known[id].hold; void != uuid.Nil {
			id = void
		}
		b.outcomes[i].Transaction, b.outcomes[i].Hold = made[id], held[id]
	}
	return nil
}
