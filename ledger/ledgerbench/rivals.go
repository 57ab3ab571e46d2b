package ledgerbench

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// The tables of the naive way.
const (
	naiveTransfers = "bench_naive_transfers"
	naiveBalances  = "bench_naive_balances"
)

// The tables of the floor: those that the ledger writes a row to for every
// transfer, with all their columns and their primary keys, but without constraints
// and without any other index.
const (
	floorPostings = "bench_floor_postings"
	floorRequests = "bench_floor_requests"
)

// column is one of a floor's table, in the order of the ledger's own. Written says
// that a plain transfer has a value in it; the others stay NULL.
type column struct {
	name, kind string
	written    bool
}

func postingColumns() []column {
	return []column{
		{"page_id", "int8", true}, {"line", "int8", true}, {"transaction_id", "uuid", true}, {"ordinal", "int8", true},
		{"debit_no", "int8", true}, {"credit_no", "int8", true}, {"amount", "int8", true}, {"currency", "text", true},
		{"reverses_page_id", "int8", false}, {"reverses_line", "int8", false}, {"postings", "int8", true},
		{"idempotency_key", "text", true}, {"journal", "text", true}, {"label", "text", true}, {"source_channel", "text", false},
		{"source_id", "text", false}, {"source_date", "date", false}, {"metadata", "jsonb", false}, {"reverses", "uuid", false},
		{"hold_id", "uuid", false},
	}
}

func requestColumns() []column {
	return []column{{"id", "uuid", true}, {"request_hash", "bytea", true}, {"page_id", "int8", true}, {"line", "int8", true}}
}

// written are the columns that a row of the floor has values for.
func written(columns []column) []sqldb.Column {
	var list []sqldb.Column
	for _, c := range columns {
		if c.written {
			list = append(list, sqldb.Column{Name: c.name, Type: c.kind})
		}
	}
	return list
}

// makeTables makes what the naive way and the floor write to.
func (b *bench) makeTables(ctx context.Context) error {
	kinds, layout := map[string]string{}, ""
	if b.DB.Engine() == sqldb.SQLite { // as the ledger's own tables there
		kinds = map[string]string{"uuid": "BLOB", "int8": "INTEGER", "bytea": "BLOB", "text": "TEXT", "date": "TEXT", "timestamptz": "TEXT", "jsonb": "TEXT"}
		layout = " STRICT, WITHOUT ROWID"
	}
	kind := func(k string) string {
		if own, ok := kinds[k]; ok {
			return own
		}
		return k
	}
	table := func(name string, columns []column, key string) string {
		list := make([]string, len(columns))
		for i, c := range columns {
			list[i] = c.name + " " + kind(c.kind)
		}
		return "CREATE TABLE " + name + " (" + strings.Join(list, ", ") + ", PRIMARY KEY (" + key + "))" + layout
	}
	var statements []string
	for _, name := range []string{naiveTransfers, naiveBalances, floorPostings, floorRequests} {
		statements = append(statements, "DROP TABLE IF EXISTS "+name)
	}
	statements = append(statements,
		fmt.Sprintf("CREATE TABLE %s (id %s PRIMARY KEY, balance %s NOT NULL CHECK (balance >= 0))", naiveBalances, kind("uuid"), kind("int8")),
		fmt.Sprintf("CREATE TABLE %s (id %[2]s PRIMARY KEY, debit %[2]s NOT NULL, credit %[2]s NOT NULL, amount %[3]s NOT NULL CHECK (amount > 0), at %[4]s NOT NULL)",
			naiveTransfers, kind("uuid"), kind("int8"), kind("timestamptz")),
		table(floorPostings, postingColumns(), "page_id, line"), table(floorRequests, requestColumns(), "id"))
	for _, statement := range statements {
		if _, err := b.DB.Pool().ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("make the tables of the other methods: %w", err)
		}
	}
	return b.DB.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.Insert(ctx, naiveBalances, []sqldb.Column{{Name: "id", Type: "uuid"}, {Name: "balance", Type: "int8"}},
			len(b.accounts), func(i int) []any { return []any{b.accounts[i], int64(funding)} })
	})
}

// naiveRetries bounds how often the naive way tries a transfer again.
const naiveRetries = 1000

// naive is what one writes without thinking of speed: one SQL transaction a
// transfer, at the database's default isolation, with the two balances in the
// order of their ids so that it does not deadlock. It begins again at once where
// the database asks for that (error class 40), as one must.
func (b *bench) naive(ctx context.Context, c aCase, r *rand.Rand) (int, error) {
	i, j := b.pick(c.workload, r)
	id, debit, credit := uuid.New(), b.accounts[i], b.accounts[j]
	for range naiveRetries {
		err := b.naiveOnce(ctx, id, debit, credit)
		if err == nil {
			return 1, nil
		}
		if sqldb.ClassOf(err) != sqldb.ClassSerialization {
			return 0, err
		}
		b.repeats.Add(1)
	}
	b.givenUp.Add(1)
	return 0, nil
}

func (b *bench) naiveOnce(ctx context.Context, id, debit, credit uuid.UUID) error {
	tx, err := b.DB.Pool().BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, "INSERT INTO "+naiveTransfers+" (id, debit, credit, amount, at) VALUES ($1, $2, $3, $4, $5)",
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
		if _, err := tx.ExecContext(ctx, "UPDATE "+naiveBalances+" SET balance = balance + $1 WHERE id = $2", part.by, b.id(part.id)); err != nil {
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
	return [16]byte(id)
}

func (b *bench) instant() any {
	now := time.Now().UTC().Truncate(time.Microsecond)
	if b.DB.Engine() == sqldb.SQLite {
		return now.Format(time.RFC3339Nano)
	}
	return now
}

// emptyFloor begins each case of the floor with empty tables, in which it is at
// its fastest, and keeps the disk from filling up.
func (b *bench) emptyFloor(ctx context.Context) error {
	for _, name := range []string{floorPostings, floorRequests} {
		statement := "TRUNCATE TABLE " + name
		if b.DB.Engine() == sqldb.SQLite {
			statement = "DELETE FROM " + name // which truncates, having no condition
		}
		if _, err := b.DB.Pool().ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("empty %s: %w", name, err)
		}
	}
	return nil
}

// floor writes the rows of a call's transfers, in one database transaction: by
// COPY on PostgreSQL, elsewhere by the ledger's own way to insert many rows.
func (b *bench) floor(ctx context.Context, c aCase, r *rand.Rand) (int, error) {
	page := b.floorPage.Add(1)
	requests, postings := make([][]any, c.bulk), make([][]any, c.bulk)
	for i := range requests {
		debit, credit := b.pick(c.workload, r)
		id, hash := randomID(r), make([]byte, 0, 32)
		for range 4 {
			hash = binary.LittleEndian.AppendUint64(hash, r.Uint64())
		}
		requests[i] = []any{id, hash, page, int64(i)}
		postings[i] = []any{page, int64(i), id, int64(0), int64(debit), int64(credit), int64(1), string(ledger.EUR), int64(1), b.key(), journal, label}
	}
	var err error
	if b.DB.Engine() == sqldb.PostgreSQL {
		err = b.copyIn(ctx, requests, postings)
	} else {
		err = b.DB.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			if err := tx.Insert(ctx, floorRequests, written(requestColumns()), len(requests), func(i int) []any { return requests[i] }); err != nil {
				return err
			}
			return tx.Insert(ctx, floorPostings, written(postingColumns()), len(postings), func(i int) []any { return postings[i] })
		})
	}
	if err != nil {
		return 0, err
	}
	return c.bulk, nil
}

// randomID is like the ids of requests, which are hashes of their keys.
func randomID(r *rand.Rand) uuid.UUID {
	var id uuid.UUID
	binary.LittleEndian.PutUint64(id[:8], r.Uint64())
	binary.LittleEndian.PutUint64(id[8:], r.Uint64())
	return id
}

// copyIn is PostgreSQL's fastest way in: COPY, both tables in one transaction.
func (b *bench) copyIn(ctx context.Context, requests, postings [][]any) error {
	conn, err := b.DB.Pool().Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for _, rows := range [][][]any{requests, postings} {
		for _, row := range rows {
			for i, v := range row {
				if id, ok := v.(uuid.UUID); ok {
					row[i] = [16]byte(id) // which pgx copies as it is
				}
			}
		}
	}
	return withPgx(conn, func(c *pgx.Conn) error {
		return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			if _, err := tx.CopyFrom(ctx, pgx.Identifier{floorRequests}, names(written(requestColumns())), pgx.CopyFromRows(requests)); err != nil {
				return err
			}
			_, err := tx.CopyFrom(ctx, pgx.Identifier{floorPostings}, names(written(postingColumns())), pgx.CopyFromRows(postings))
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
