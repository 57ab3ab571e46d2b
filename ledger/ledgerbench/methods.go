package ledgerbench

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// prepare opens and funds the accounts, and makes the tables of the other methods.
func (b *bench) prepare(ctx context.Context) error {
	b.run = uuid.NewString()[:8]
	zero := ledger.Amount(0)
	source := ledger.Account{ID: uuid.New(), Code: "bench-" + b.run, Name: "Source of a benchmark", Category: ledger.OwnAccount,
		Side: ledger.Debit, Currency: ledger.EUR, Shards: 1}
	if _, err := b.engine.OpenAccount(ctx, source); err != nil {
		return err
	}
	for i := 0; i < b.Accounts; i += floorBatch {
		err := b.DB.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			b.accounts = b.accounts[:i]
			for j := i; j < min(i+floorBatch, b.Accounts); j++ {
				account, err := b.engine.OpenAccountTx(ctx, tx, ledger.Account{ID: uuid.New(), Code: fmt.Sprintf("bench-%s-%d", b.run, j),
					Name: "Account of a benchmark", Category: ledger.CustomerEMoney, Side: ledger.Credit, Currency: ledger.EUR, Shards: 1, Min: &zero})
				if err != nil {
					return err
				}
				b.accounts = append(b.accounts, account.ID)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("open the accounts of the benchmark: %w", err)
		}
	}
	var fund []ledger.Request
	for i, id := range b.accounts {
		fund = append(fund, b.transfer(fmt.Sprintf("bench:%s:fund:%d", b.run, i), source.ID, id, funding))
		if len(fund) == floorBatch || i == len(b.accounts)-1 {
			outcomes, err := b.engine.Submit(ctx, fund)
			if err != nil {
				return err
			}
			for _, out := range outcomes {
				if out.Err != nil {
					return fmt.Errorf("fund the accounts of the benchmark: %w", out.Err)
				}
			}
			fund = nil
		}
	}
	return b.makeTables(ctx)
}

func (b *bench) transfer(key string, debit, credit uuid.UUID, amount ledger.Amount) ledger.PostRequest {
	return ledger.PostRequest{Key: key, Journal: ledger.JournalTransfers, Label: "Transfer of a benchmark",
		Postings: []ledger.Posting{{Debit: debit, Credit: credit, Amount: amount, Currency: ledger.EUR}}}
}

// key makes a new idempotency key.
func (b *bench) key(r *rand.Rand) string {
	return fmt.Sprintf("bench:%s:%016x%016x", b.run, r.Uint64(), r.Uint64())
}

// makeTables makes what the naive way and the floor write to.
func (b *bench) makeTables(ctx context.Context) error {
	id, number, text, bytes, instant, date := "uuid", "int8", "text", "bytea", "timestamptz", "date"
	if b.DB.Engine() == sqldb.SQLite {
		id, number, text, bytes, instant, date = "BLOB", "INTEGER", "TEXT", "BLOB", "TEXT", "TEXT"
	}
	for _, statement := range []string{
		`DROP TABLE IF EXISTS bench_naive_transfers`, `DROP TABLE IF EXISTS bench_naive_balances`,
		`DROP TABLE IF EXISTS bench_floor_transactions`, `DROP TABLE IF EXISTS bench_floor_postings`,
		fmt.Sprintf(`CREATE TABLE bench_naive_balances (id %s PRIMARY KEY, balance %s NOT NULL CHECK (balance >= 0))`, id, number),
		fmt.Sprintf(`CREATE TABLE bench_naive_transfers (id %[1]s PRIMARY KEY, debit %[1]s NOT NULL, credit %[1]s NOT NULL, amount %[2]s NOT NULL CHECK (amount > 0), at %[3]s NOT NULL)`, id, number, instant),
		fmt.Sprintf(`CREATE TABLE bench_floor_transactions (id %[1]s PRIMARY KEY, idempotency_key %[3]s, request_hash %[4]s, journal %[3]s, label %[3]s, effective_date %[6]s, recorded_at %[5]s, postings %[2]s)`, id, number, text, bytes, instant, date),
		fmt.Sprintf(`CREATE TABLE bench_floor_postings (transaction_id %[1]s, ordinal %[2]s, debit_account_id %[1]s, credit_account_id %[1]s, amount %[2]s, currency %[3]s, effective_date %[5]s, recorded_at %[4]s, PRIMARY KEY (transaction_id, ordinal))`, id, number, text, instant, date),
	} {
		if _, err := b.DB.Pool().ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("make the tables of the benchmark: %w", err)
		}
	}
	return b.DB.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.Insert(ctx, "bench_naive_balances", []sqldb.Column{{Name: "id", Type: "uuid"}, {Name: "balance", Type: "int8"}},
			len(b.accounts), func(i int) []any { return []any{b.accounts[i], int64(funding)} })
	})
}

// writer returns what one call of a case does.
func (b *bench) writer(c aCase) (func(ctx context.Context, r *rand.Rand) error, error) {
	switch c.method {
	case Engine:
		if c.bulk == 1 {
			return func(ctx context.Context, r *rand.Rand) error {
				debit, credit := b.pick(c.workload, r)
				_, err := b.engine.Post(ctx, b.transfer(b.key(r), debit, credit, 1))
				return err
			}, nil
		}
		return func(ctx context.Context, r *rand.Rand) error { return b.bulk(ctx, c, r) }, nil
	case Naive:
		return func(ctx context.Context, r *rand.Rand) error { return b.naive(ctx, c, r) }, nil
	case Floor:
		return func(ctx context.Context, r *rand.Rand) error { return b.floor(ctx, c, r) }, nil
	}
	return nil, fmt.Errorf("there is no method %q", c.method)
}

func (b *bench) bulk(ctx context.Context, c aCase, r *rand.Rand) error {
	requests := make([]ledger.Request, c.bulk)
	for i := range requests {
		debit, credit := b.pick(c.workload, r)
		requests[i] = b.transfer(b.key(r), debit, credit, 1)
	}
	outcomes, err := b.engine.Submit(ctx, requests)
	if err != nil {
		return err
	}
	for _, out := range outcomes {
		if out.Err != nil {
			return out.Err
		}
	}
	return nil
}

// naiveRetries bounds how often the naive way tries a transfer again.
const naiveRetries = 1000

// naive is what one writes without thinking about it: at the database's default
// isolation, in the order of the accounts' ids so that it does not deadlock.
func (b *bench) naive(ctx context.Context, c aCase, r *rand.Rand) error {
	debit, credit := b.pick(c.workload, r)
	id := uuid.New()
	var err error
	for range naiveRetries {
		if err = b.naiveOnce(ctx, id, debit, credit); sqldb.ClassOf(err) != sqldb.ClassSerialization {
			return err
		}
	}
	return err
}

func (b *bench) naiveOnce(ctx context.Context, id, debit, credit uuid.UUID) error {
	tx, err := b.DB.Pool().BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, "INSERT INTO bench_naive_transfers (id, debit, credit, amount, at) VALUES ($1, $2, $3, $4, $5)",
		b.id(id), b.id(debit), b.id(credit), int64(1), b.instant()); err != nil {
		return err
	}
	first, second, sign := debit, credit, int64(-1)
	if string(credit[:]) < string(debit[:]) {
		first, second, sign = credit, debit, 1
	}
	for _, part := range []struct {
		id uuid.UUID
		by int64
	}{{first, sign}, {second, -sign}} {
		if _, err := tx.ExecContext(ctx, "UPDATE bench_naive_balances SET balance = balance + $1 WHERE id = $2", part.by, b.id(part.id)); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// id and instant are values as the engine's driver takes them.
func (b *bench) id(id uuid.UUID) any {
	if b.DB.Engine() == sqldb.SQLite {
		return id[:]
	}
	return id
}

func (b *bench) instant() any {
	now := time.Now().UTC().Truncate(time.Microsecond)
	if b.DB.Engine() == sqldb.SQLite {
		return now.Format(time.RFC3339Nano)
	}
	return now
}

var (
	floorTransactions = []sqldb.Column{
		{Name: "id", Type: "uuid"}, {Name: "idempotency_key", Type: "text"}, {Name: "request_hash", Type: "bytea"}, {Name: "journal", Type: "text"},
		{Name: "label", Type: "text"}, {Name: "effective_date", Type: "date"}, {Name: "recorded_at", Type: "timestamptz"}, {Name: "postings", Type: "int8"},
	}
	floorPostings = []sqldb.Column{
		{Name: "transaction_id", Type: "uuid"}, {Name: "ordinal", Type: "int8"}, {Name: "debit_account_id", Type: "uuid"}, {Name: "credit_account_id", Type: "uuid"},
		{Name: "amount", Type: "int8"}, {Name: "currency", Type: "text"}, {Name: "effective_date", Type: "date"}, {Name: "recorded_at", Type: "timestamptz"},
	}
)

// floor writes the rows of a batch of transfers: COPY on PostgreSQL, one INSERT
// from arrays on CockroachDB, prepared statements on SQLite.
func (b *bench) floor(ctx context.Context, c aCase, r *rand.Rand) error {
	now, today := b.engine.Now(), b.engine.Today()
	transactions, postings := make([][]any, c.bulk), make([][]any, c.bulk)
	for i := range transactions {
		debit, credit := b.pick(c.workload, r)
		request := b.transfer(b.key(r), debit, credit, 1)
		id := ledger.IDOfKey(request.Key)
		hash := request.Hash()
		transactions[i] = []any{id, request.Key, hash[:], request.Journal, request.Label, today, now, int64(1)}
		postings[i] = []any{id, int64(0), debit, credit, int64(1), string(ledger.EUR), today, now}
	}
	if b.DB.Engine() == sqldb.PostgreSQL {
		return b.copyIn(ctx, transactions, postings)
	}
	return b.DB.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := tx.Insert(ctx, "bench_floor_transactions", floorTransactions, len(transactions), func(i int) []any { return transactions[i] }); err != nil {
			return err
		}
		return tx.Insert(ctx, "bench_floor_postings", floorPostings, len(postings), func(i int) []any { return postings[i] })
	})
}

// copyIn is PostgreSQL's fastest way in: COPY, both tables in one transaction.
func (b *bench) copyIn(ctx context.Context, transactions, postings [][]any) error {
	conn, err := b.DB.Pool().Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for _, rows := range [][][]any{transactions, postings} {
		for _, row := range rows {
			for i, v := range row {
				if d, ok := v.(ledger.Date); ok {
					row[i] = d.Midnight(time.UTC)
				}
			}
		}
	}
	return withPgx(conn, func(c *pgx.Conn) error {
		return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			if _, err := tx.CopyFrom(ctx, pgx.Identifier{"bench_floor_transactions"}, names(floorTransactions), pgx.CopyFromRows(transactions)); err != nil {
				return err
			}
			_, err := tx.CopyFrom(ctx, pgx.Identifier{"bench_floor_postings"}, names(floorPostings), pgx.CopyFromRows(postings))
			return err
		})
	})
}

func withPgx(conn *sql.Conn, fn func(c *pgx.Conn) error) error {
	return conn.Raw(func(driver any) error {
		c, ok := driver.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("the connection is a %T, not one of pgx", driver)
		}
		return fn(c.Conn())
	})
}

func names(columns []sqldb.Column) []string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = c.Name
	}
	return list
}
