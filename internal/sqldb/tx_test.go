package sqldb_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

// things has a column of each type that the schema uses.
var things = []sqldb.Column{
	{Name: "id", Type: "uuid"}, {Name: "n", Type: "int8"}, {Name: "label", Type: "text"}, {Name: "day", Type: "date"},
	{Name: "at", Type: "timestamptz"}, {Name: "hash", Type: "bytea"}, {Name: "data", Type: "jsonb"},
}

type thing struct {
	id    uuid.UUID
	n     *ledger.Amount
	label *string
	day   ledger.Date
	at    time.Time
	hash  []byte
	data  *string
}

const selectThing = `SELECT id, n, label, day, at, hash, data FROM things WHERE id = $1`

func createThings(t *testing.T, db *sqldb.DB) {
	t.Helper()
	dropAtTheEnd(t, db, "things")
	if db.Engine() == sqldb.SQLite {
		exec(t, db, `CREATE TABLE things (id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16), n INTEGER, label TEXT,
			day TEXT, at TEXT, hash BLOB, data TEXT CHECK (json_valid(data))) STRICT`)
		return
	}
	exec(t, db, `CREATE TABLE things (id uuid PRIMARY KEY, n int8, label text, day date, at timestamptz, hash bytea, data jsonb)`)
}

// dropAtTheEnd takes a test's own tables away again, so that other tests can use
// the database.
func dropAtTheEnd(t *testing.T, db *sqldb.DB, tables ...string) {
	t.Helper()
	t.Cleanup(func() {
		for _, table := range tables {
			err := db.Write(context.Background(), func(ctx context.Context, tx *sqldb.Tx) error {
				_, err := tx.Exec(ctx, "DROP TABLE "+table)
				return err
			})
			if err != nil {
				t.Errorf("drop table %s: %v", table, err)
			}
		}
	})
}

func findThing(t *testing.T, db *sqldb.DB, id uuid.UUID) thing {
	t.Helper()
	// What the scan must overwrite.
	found := thing{day: someDate, at: time.Unix(1, 0)}
	read(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.QueryRow(ctx, selectThing, []any{id}, &found.id, &found.n, &found.label, &found.day, &found.at, &found.hash, &found.data)
	})
	return found
}

func TestValuesComeBack(t *testing.T) {
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, time.October, 25, 2, 30, 0, 123456789, paris)
	ids := []uuid.UUID{uuid.New(), uuid.New()}
	hash := [32]byte{0: 1, 31: 255}
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		createThings(t, db)
		exec(t, db, `INSERT INTO things (id, n, label, day, at, hash, data) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			ids[0], ledger.Amount(math.MinInt64), "é € 🙂 ' \\ %s", someDate, at, hash, map[string]string{"a": "é\"", "b": ""})
		insertThing := func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.Insert(ctx, "things", things, 1, func(int) []any {
				return []any{ids[1], ledger.Amount(math.MinInt64), "é € 🙂 ' \\ %s", someDate, at, hash, map[string]string{"a": "é\"", "b": ""}}
			})
		}
		write(t, db, insertThing)
		for _, id := range ids { // written singly and set-wise
			got := findThing(t, db, id)
			if got.id != id || *got.n != math.MinInt64 || *got.label != "é € 🙂 ' \\ %s" || got.day != someDate || !bytes.Equal(got.hash, hash[:]) {
				t.Errorf("read back %+v", got)
			}
			if want := at.UTC().Truncate(time.Microsecond); !got.at.Equal(want) || got.at.Location() != time.UTC {
				t.Errorf("read back the instant %v; want %v", got.at, want)
			}
			var data map[string]string
			if err := json.Unmarshal([]byte(*got.data), &data); err != nil || len(data) != 2 || data["a"] != "é\"" {
				t.Errorf("read back the JSON %q, %v", *got.data, err)
			}
		}
	})
}

func TestNullIsTheZeroValue(t *testing.T) {
	ids := []uuid.UUID{uuid.New(), uuid.New()}
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		createThings(t, db)
		exec(t, db, `INSERT INTO things (id, n, label, day, at, hash, data) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			ids[0], nil, sqldb.NullText(""), ledger.Date{}, time.Time{}, nil, nil)
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.Insert(ctx, "things", things, 1, func(int) []any {
				return []any{ids[1], nil, sqldb.NullText(""), ledger.Date{}, time.Time{}, nil, nil}
			})
		})
		for _, id := range ids {
			got := findThing(t, db, id)
			if got.n != nil || got.label != nil || !got.day.IsZero() || !got.at.IsZero() || got.hash != nil || got.data != nil {
				t.Errorf("read back %+v; want NULLs", got)
			}
		}
		if n := count(t, db, `SELECT count(*) FROM things WHERE n IS NULL AND label IS NULL AND day IS NULL AND at IS NULL`); n != 2 {
			t.Errorf("%d rows have NULLs; want 2", n)
		}
		var null uuid.UUID
		read(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			null = uuid.New()
			return tx.QueryRow(ctx, `SELECT t.reverses FROM (SELECT 1 AS n) AS one LEFT JOIN transactions AS t ON t.postings = one.n`, nil, &null)
		})
		if null != uuid.Nil {
			t.Errorf("a NULL id reads as %v", null)
		}
	})
}

func TestNullUUIDAndText(t *testing.T) {
	id := uuid.New()
	if sqldb.NullUUID(uuid.Nil) != nil || sqldb.NullUUID(id) != id || sqldb.NullText("") != nil || sqldb.NullText("a") != "a" {
		t.Error("NullUUID and NullText must be nil for the zero value and the value otherwise")
	}
}

// Instants and dates must sort in time, also where they are kept as text.
func TestInstantsSort(t *testing.T) {
	base := time.Date(2026, time.March, 29, 0, 59, 59, 999999000, time.UTC)
	instants := []time.Time{base, base.Add(time.Microsecond), base.Add(time.Second), base.AddDate(1, 0, 0)}
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		createThings(t, db)
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.Insert(ctx, "things", things, len(instants), func(i int) []any {
				at := instants[len(instants)-1-i]
				return []any{uuid.New(), i, "", ledger.DateIn(at, time.UTC), at, nil, nil}
			})
		})
		var got []time.Time
		read(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			got = nil
			rows, err := tx.Query(ctx, `SELECT at FROM things WHERE at >= $1 ORDER BY at`, instants[0])
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var at time.Time
				if err := rows.Scan(&at); err != nil {
					return err
				}
				got = append(got, at)
			}
			return rows.Err()
		})
		if !slices.EqualFunc(got, instants, time.Time.Equal) {
			t.Errorf("in order of time they are %v; want %v", got, instants)
		}
	})
}

func TestAnyOf(t *testing.T) {
	ids := []uuid.UUID{uuid.New(), uuid.New(), uuid.New()}
	labels := []string{`plain`, `quote"brace}`, `comma,back\slash`}
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		createThings(t, db)
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.Insert(ctx, "things", things, len(ids), func(i int) []any {
				return []any{ids[i], i, labels[i], nil, nil, nil, nil}
			})
		})
		read(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			for _, test := range []struct {
				condition string
				list      any
				want      int64
			}{
				{tx.AnyUUID("id", 1), ids[:2], 2},
				{tx.AnyUUID("id", 1), []uuid.UUID{uuid.New()}, 0},
				{tx.AnyUUID("id", 1), []uuid.UUID{}, 0},
				{tx.AnyText("label", 1), labels[1:], 2},
				{tx.AnyText("label", 1), []string{"no such"}, 0},
				{tx.AnyText("label", 1), []string{}, 0},
			} {
				var n int64
				if err := tx.QueryRow(ctx, "SELECT count(*) FROM things WHERE "+test.condition, []any{test.list}, &n); err != nil {
					return fmt.Errorf("%s of %v: %w", test.condition, test.list, err)
				}
				if n != test.want {
					t.Errorf("%s of %v finds %d rows; want %d", test.condition, test.list, n, test.want)
				}
			}
			return nil
		})
	})
}

func TestInsertManyRows(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		createThings(t, db)
		total := int64(0)
		for _, n := range []int{0, 1, 5001, sqldb.MaxRowsPerStatement + 1} {
			write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
				return tx.Insert(ctx, "things", things, n, func(i int) []any {
					return []any{uuid.New(), i, "row", someDate, time.Unix(int64(i), 0), []byte{1}, "{}"}
				})
			})
			total += int64(n)
			if got := count(t, db, `SELECT count(*) FROM things`); got != total {
				t.Fatalf("after Insert of %d rows there are %d; want %d", n, got, total)
			}
		}
		if got := count(t, db, `SELECT count(*) FROM things WHERE n = $1`, sqldb.MaxRowsPerStatement); got != 1 {
			t.Errorf("the row after the first statement's is there %d times; want once", got)
		}
	})
}

func TestExecRowsUpdates(t *testing.T) {
	const n = 3
	columns := []sqldb.Column{{Name: "id", Type: "uuid"}, {Name: "amount", Type: "int8"}}
	ids := []uuid.UUID{uuid.New(), uuid.New(), uuid.New()}
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		createThings(t, db)
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			err := tx.Insert(ctx, "things", things, n, func(i int) []any { return []any{ids[i], 100, "", nil, nil, nil, nil} })
			if err != nil {
				return err
			}
			changed, err := tx.ExecRows(ctx, `UPDATE things SET n = things.n + d.amount FROM ROWS AS d(id, amount) WHERE things.id = d.id`,
				columns, n, func(i int) []any { return []any{ids[i], ledger.Amount(i)} })
			if err == nil && changed != n {
				t.Errorf("ExecRows changed %d rows; want %d", changed, n)
			}
			return err
		})
		for i, id := range ids {
			if got := findThing(t, db, id); *got.n != ledger.Amount(100+i) {
				t.Errorf("row %d is %d; want %d", i, *got.n, 100+i)
			}
		}
	})
}

func TestExecCountsRows(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			for _, category := range []string{"a", "b"} {
				if err := insertRow(ctx, tx, category, "1"); err != nil {
					return err
				}
			}
			for category, want := range map[string]int64{"a": 1, "none": 0} {
				n, err := tx.Exec(ctx, writeCounter, "2", category)
				if err != nil {
					return err
				}
				if n != want {
					t.Errorf("Exec on %q changed %d rows; want %d", category, n, want)
				}
			}
			return nil
		})
	})
}

func TestQueryRowWithoutRows(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		err := db.Read(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			var label string
			return tx.QueryRow(ctx, readCounter, []any{"none"}, &label)
		})
		if !sqldb.IsNoRows(err) {
			t.Errorf("QueryRow: %v; want IsNoRows", err)
		}
	})
}

// A statement that SQLite's writer has prepared must go on working in later
// transactions, and one that cannot be prepared must fail only where it is used.
func TestSQLitePreparesStatements(t *testing.T) {
	db := sqltest.SQLite(t)
	for i := range 3 {
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error { return insertRow(ctx, tx, fmt.Sprint(i), "1") })
		if err := db.Write(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO no_such_table VALUES (1)`)
			return err
		}); err == nil {
			t.Error("a statement on a missing table succeeded")
		}
	}
	if n := count(t, db, countRows); n != 3 {
		t.Errorf("there are %d rows; want 3", n)
	}
}
