package sqldb_test

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

var numbers = []sqldb.Column{{Name: "n", Type: "int8"}}

// upTo is the set of the numbers from 0 to n-1.
func upTo(n int) sqldb.RowSet {
	return sqldb.RowSet{Columns: numbers, N: n, Row: func(i int) []any { return []any{int64(i)} }}
}

// thingRow is a row of things that has a number and NULLs.
func thingRow(n int) []any { return []any{uuid.New(), int64(n), nil, nil, nil, nil, nil} }

// noneHeld checks that statements have given their sets back.
func noneHeld(t *testing.T, db *sqldb.DB) {
	t.Helper()
	if db.Engine() != sqldb.SQLite {
		return
	}
	if n := db.HeldRowSets(); n != 0 {
		t.Errorf("%d sets are held after their statements", n)
	}
}

func TestSetsKeepValues(t *testing.T) {
	label, data := "é € 🙂 ' \\ %s", `{"a": "b"}`
	at := time.Date(2026, time.March, 1, 12, 0, 0, 123456000, time.UTC)
	hash := [32]byte{0: 0, 1: 1, 31: 0}
	rows := [][]any{
		{uuid.New(), ledger.Amount(-1), label, someDate, at, hash, data},
		{uuid.New(), nil, nil, ledger.Date{}, time.Time{}, nil, nil},
		{uuid.New(), 7, "", someDate, at.Add(time.Microsecond), []byte{0, 1, 0, 0}, map[string]string{}},
		{uuid.New(), int64(8), "", nil, nil, []byte{}, nil},
		{uuid.New(), int64(9), nil, someDate, at, []byte(nil), nil},
	}
	wantHashes := [][]byte{hash[:], nil, {0, 1, 0, 0}, {}, nil}
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		createThings(t, db)
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.Insert(ctx, "things", things, len(rows), func(i int) []any { return rows[i] })
		})
		got := make([]thing, len(rows))
		for i, row := range rows {
			got[i] = findThing(t, db, row[0].(uuid.UUID))
			if !bytes.Equal(got[i].hash, wantHashes[i]) {
				t.Errorf("row %d has the hash %x; want %x", i, got[i].hash, wantHashes[i])
			}
		}
		if n := count(t, db, `SELECT count(*) FROM things WHERE hash IS NULL`); n != 2 { // an empty one is not NULL
			t.Errorf("%d rows have no hash; want 2", n)
		}
		if g := got[0]; *g.n != -1 || *g.label != label || g.day != someDate || !g.at.Equal(at) || g.data == nil {
			t.Errorf("read back %+v", g)
		}
		if g := got[1]; g.n != nil || g.label != nil || !g.day.IsZero() || !g.at.IsZero() || g.data != nil {
			t.Errorf("read back %+v; want NULLs", g)
		}
		if g := got[2]; *g.n != 7 || *g.label != "" || !g.at.Equal(at.Add(time.Microsecond)) || *g.data != "{}" {
			t.Errorf("read back %+v", g)
		}
		if g := got[4]; g.day != someDate || !g.at.Equal(at) {
			t.Errorf("read back %+v", g)
		}
	})
}

func TestEachOfRows(t *testing.T) {
	columns := []sqldb.Column{{Name: "key", Type: "uuid"}, {Name: "amount", Type: "int8"}}
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		createThings(t, db)
		for _, n := range []int{0, 1, 2, sqldb.MaxRowsPerStatement + 1} {
			ids := make([]uuid.UUID, n)
			for i := range ids {
				ids[i] = uuid.New()
			}
			row := func(i int) []any { return []any{ids[i], int64(1000)} }
			var read, updated []int64
			write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
				read, updated = nil, nil
				if err := tx.Insert(ctx, "things", things, n, func(i int) []any { return slices.Insert(thingRow(i)[1:], 0, any(ids[i])) }); err != nil {
					return err
				}
				into := func(list *[]int64) func(rows *sqldb.Rows) error {
					return func(rows *sqldb.Rows) error {
						var id uuid.UUID
						var number int64
						if err := rows.Scan(&id, &number); err != nil {
							return err
						}
						*list = append(*list, number)
						return nil
					}
				}
				if err := tx.EachOfRows(ctx, `SELECT t.id, t.n + d.amount FROM ROWS AS d(key, amount) CROSS JOIN things AS t WHERE t.id = d.key`,
					columns, n, row, into(&read)); err != nil {
					return err
				}
				return tx.EachOfRows(ctx, `UPDATE things SET n = things.n + d.amount FROM ROWS AS d WHERE things.id = d.key RETURNING id, n`,
					columns, n, row, into(&updated))
			})
			noneHeld(t, db)
			for _, list := range [][]int64{read, updated} {
				slices.Sort(list)
				if len(list) != n || n > 0 && (list[0] != 1000 || list[n-1] != int64(999+n)) {
					t.Errorf("of %d rows %d were returned", n, len(list))
				}
			}
		}
	})
}

// A set is read once and looked up in the table, in whatever order the planner
// finds the table attractive.
func TestSQLiteReadsTheSetFirst(t *testing.T) {
	db := sqltest.SQLite(t)
	exec(t, db, `CREATE TABLE lines (page INTEGER, line INTEGER, n INTEGER, PRIMARY KEY (page, line)) STRICT, WITHOUT ROWID`)
	for _, query := range []string{
		`UPDATE lines SET n = d.n FROM ROWS AS d(n) WHERE lines.page = 0 AND lines.line = d.n`,
		`SELECT l.n FROM ROWS AS d(n) CROSS JOIN lines AS l WHERE l.page = 0 AND l.line = d.n`,
	} {
		var plan []string
		read(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			plan = nil
			return tx.EachOfRows(ctx, "EXPLAIN QUERY PLAN "+query, numbers, 2, upTo(2).Row, func(rows *sqldb.Rows) error {
				var id, parent, unused int
				var detail string
				err := rows.Scan(&id, &parent, &unused, &detail)
				plan = append(plan, detail)
				return err
			})
		})
		if len(plan) != 2 || !strings.HasPrefix(plan[0], "SCAN rowset") || !strings.Contains(plan[1], "(page=? AND line=?)") {
			t.Errorf("the plan of %s is %q; want one scan of the set, and a search in the table", query, plan)
		}
	}
}

func TestTwoSetsInOneStatement(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		createThings(t, db)
		for _, test := range []struct{ first, second, want int }{{3, 4, 12}, {1, 1, 1}, {1, 5, 5}, {0, 4, 0}, {4, 0, 0}, {0, 0, 0}} {
			write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
				pairs := 0
				err := tx.QuerySets(ctx, `SELECT a.n, b.other FROM ROWS1 AS a CROSS JOIN ROWS2 AS b(other) WHERE a.n >= 0`,
					func(*sqldb.Rows) error { pairs++; return nil }, upTo(test.first), upTo(test.second))
				if err == nil && pairs != test.want {
					t.Errorf("sets of %d and %d rows make %d pairs; want %d", test.first, test.second, pairs, test.want)
				}
				return err
			})
		}
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			set := sqldb.RowSet{Columns: things, N: 3, Row: thingRow}
			n, err := tx.ExecSets(ctx, `INSERT INTO things (id, n, label, day, at, hash, data)
				SELECT * FROM ROWS1 AS t WHERE t.n IN (SELECT n FROM ROWS2 AS chosen)`, set, upTo(2))
			if err == nil && n != 2 {
				t.Errorf("%d rows were inserted; want 2", n)
			}
			return err
		})
		noneHeld(t, db)
	})
}

// On servers one statement may change several tables (CockroachDB: each once).
func TestSetsOfAStatementWithTwoParts(t *testing.T) {
	for _, engine := range sqltest.Engines(t) {
		if engine == sqldb.SQLite {
			continue
		}
		t.Run(string(engine), func(t *testing.T) {
			db := sqltest.New(t, engine)
			createThings(t, db)
			dropAtTheEnd(t, db, "sums")
			exec(t, db, `CREATE TABLE sums (id int8 PRIMARY KEY, n int8 NOT NULL)`)
			exec(t, db, `INSERT INTO sums (id, n) VALUES (0, 5), (1, 5)`)
			for i, inserted := range []int{2, 0} {
				var sums []int64
				write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
					sums = nil
					return tx.QuerySets(ctx, `WITH new AS (INSERT INTO things (id, n, label, day, at, hash, data) SELECT * FROM ROWS1 RETURNING 1)
						UPDATE sums SET n = sums.n + 1 FROM ROWS2 AS d(key) WHERE sums.id = d.key RETURNING n`,
						func(rows *sqldb.Rows) error {
							var n int64
							err := rows.Scan(&n)
							sums = append(sums, n)
							return err
						},
						sqldb.RowSet{Columns: things, N: inserted, Row: thingRow}, upTo(2))
				})
				if want := []int64{int64(6 + i), int64(6 + i)}; !slices.Equal(sums, want) {
					t.Errorf("the update returned %v; want %v", sums, want)
				}
			}
			if n := count(t, db, `SELECT count(*) FROM things`); n != 2 {
				t.Errorf("there are %d rows; want 2", n)
			}
		})
	}
}

// A row that is refused takes the whole statement back and says why, as a single
// statement would.
func TestRefusedRowOfASet(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		dropAtTheEnd(t, db, "children", "parents")
		exec(t, db, `CREATE TABLE parents (id BIGINT PRIMARY KEY)`)
		exec(t, db, `CREATE TABLE children (id BIGINT PRIMARY KEY, parent BIGINT NOT NULL REFERENCES parents (id), n BIGINT CHECK (n > 0))`)
		exec(t, db, `INSERT INTO parents (id) VALUES (1)`)
		columns := []sqldb.Column{{Name: "id", Type: "int8"}, {Name: "parent", Type: "int8"}, {Name: "n", Type: "int8"}}
		for _, test := range []struct {
			last []any
			want sqldb.Class
		}{
			{[]any{int64(0), int64(1), int64(1)}, sqldb.ClassUnique},
			{[]any{int64(-1), int64(9), int64(1)}, sqldb.ClassForeignKey},
			{[]any{int64(-1), nil, int64(1)}, sqldb.ClassCheck},
			{[]any{int64(-1), int64(1), int64(0)}, sqldb.ClassCheck},
		} {
			const n = 60
			insert := func(ctx context.Context, tx *sqldb.Tx) error {
				return tx.Insert(ctx, "children", columns, n, func(i int) []any {
					if i == n-1 {
						return test.last
					}
					return []any{int64(i), int64(1), int64(1)}
				})
			}
			err := db.Write(t.Context(), insert)
			if got := sqldb.ClassOf(err); got != test.want {
				t.Errorf("the row %v: class %d (%v); want %d", test.last, got, err, test.want)
			}
			if db.Engine() == sqldb.SQLite && test.want != sqldb.ClassForeignKey { // which it checks at the commit
				write(t, db, func(ctx context.Context, tx *sqldb.Tx) error { // a server's transaction would be over
					if err := insert(ctx, tx); err == nil {
						t.Error("the row was taken")
					}
					return nil
				})
			}
			if got := count(t, db, `SELECT count(*) FROM children`); got != 0 {
				t.Errorf("the row %v: %d rows of its statement are left", test.last, got)
			}
			noneHeld(t, db)
		}
	})
}

func TestWrongSets(t *testing.T) {
	wide := make([]sqldb.Column, 40)
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		for _, test := range []struct {
			query string
			sets  []sqldb.RowSet
			want  string
		}{
			{`SELECT n FROM ROWS AS d`, []sqldb.RowSet{{Columns: numbers, N: 3, Row: func(i int) []any { return make([]any, 1+i/2) }}}, "ROWS1: row 2 has 2 values for 1 columns"},
			{`SELECT n FROM ROWS AS d`, []sqldb.RowSet{{Columns: numbers, N: 2, Row: func(i int) []any { return []any{make(chan int)} }}}, ""},
			{`SELECT n FROM ROWS AS d`, []sqldb.RowSet{upTo(sqldb.MaxRowsPerStatement + 1)}, "at most 10000 rows, not 10001"},
			{`SELECT n FROM ROWS AS d`, []sqldb.RowSet{{Columns: wide, N: 1}}, "32 columns, not 40"},
			{`SELECT n FROM ROWS AS d`, []sqldb.RowSet{{}}, "32 columns, not 0"},
			{`SELECT n FROM ROWS AS d`, []sqldb.RowSet{upTo(2), upTo(2)}, "does not read ROWS2"},
			{`SELECT n FROM ROWS2 AS d`, []sqldb.RowSet{upTo(2)}, "reads ROWS2 and has 1 sets"},
			{`SELECT n FROM ROWS AS d(a, b)`, []sqldb.RowSet{upTo(2)}, "names 2 columns of ROWS1, which has 1"},
			{`SELECT n AS BROWS, n AS ROWSET FROM d`, []sqldb.RowSet{upTo(2)}, "does not read ROWS1"},
		} {
			err := db.Write(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				return tx.QuerySets(ctx, test.query, func(*sqldb.Rows) error { return nil }, test.sets...)
			})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %v; want %q", test.query, err, test.want)
			}
			noneHeld(t, db)
		}
	})
}

func TestUnknownRowSet(t *testing.T) {
	db := sqltest.SQLite(t)
	for query, want := range map[string]string{
		`SELECT c0 FROM rowset(77)`:   "no set with the handle 77",
		`SELECT c0 FROM rowset('a')`:  "no set with the handle a",
		`SELECT c0 FROM rowset`:       "with the handle of a set alone",
		`SELECT c0 FROM rowset(NULL)`: "no set with the handle",
	} {
		err := db.Read(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.Each(ctx, query, nil, func(*sqldb.Rows) error { return nil })
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", query, err, want)
		}
	}
}

// An error or a panic of the caller's leaves nothing behind.
func TestCallerFailsInASet(t *testing.T) {
	failure := errors.New("failure of the caller")
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		createThings(t, db)
		err := db.Write(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.EachOfRows(ctx, `SELECT n FROM ROWS AS d`, numbers, 100, upTo(100).Row, func(*sqldb.Rows) error { return failure })
		})
		if !errors.Is(err, failure) {
			t.Errorf("EachOfRows: %v; want the caller's error", err)
		}
		noneHeld(t, db)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the caller's panic is lost")
				}
			}()
			_ = db.Write(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				return tx.Insert(ctx, "things", things, 100, func(i int) []any {
					if i == 50 {
						panic("in a row")
					}
					return thingRow(i)
				})
			})
		}()
		noneHeld(t, db)
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.Insert(ctx, "things", things, 2, thingRow)
		})
		if n := count(t, db, `SELECT count(*) FROM things`); n != 2 {
			t.Errorf("there are %d rows; want 2", n)
		}
	})
}

func TestCancelledInsideASet(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		seen := 0
		err := db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.QuerySets(ctx, `SELECT a.n FROM ROWS1 AS a CROSS JOIN ROWS2 AS b`,
				func(*sqldb.Rows) error { seen++; cancel(); return nil }, upTo(1000), upTo(1000))
		})
		if !errors.Is(err, context.Canceled) || seen == 1000*1000 {
			t.Errorf("QuerySets: %v after %d rows; want context.Canceled before the last", err, seen)
		}
		noneHeld(t, db)
		read(t, db, func(context.Context, *sqldb.Tx) error { return nil })
	})
}

// A statement that writes is interrupted too: this one would take days.
func TestDeadlineInsideASet(t *testing.T) {
	db := sqltest.SQLite(t)
	createThings(t, db)
	write(t, db, func(ctx context.Context, tx *sqldb.Tx) error { return tx.Insert(ctx, "things", things, 1, thingRow) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.ExecSets(ctx, `UPDATE things SET n = (SELECT count(*) FROM ROWS AS a CROSS JOIN ROWS AS b CROSS JOIN ROWS AS c
			WHERE a.n + b.n + c.n >= 0)`, upTo(sqldb.MaxRowsPerStatement))
		return err
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ExecSets: %v; want context.DeadlineExceeded", err)
	}
	noneHeld(t, db)
	if n := count(t, db, `SELECT count(*) FROM things WHERE n = 0`); n != 1 {
		t.Error("the interrupted statement has changed the row")
	}
}

// The table of sets belongs to a connection; the next one has it too, and
// statements that were prepared before find it.
func TestSQLiteWriterReconnects(t *testing.T) {
	db := sqltest.SQLite(t)
	createThings(t, db)
	for i := range 4 {
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error { return tx.Insert(ctx, "things", things, 2, thingRow) })
		if n := count(t, db, `SELECT count(*) FROM things`); n != int64(2*i+2) {
			t.Fatalf("there are %d rows; want %d", n, 2*i+2)
		}
		conn, err := db.Pool().Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Raw(func(any) error { return driver.ErrBadConn }); !errors.Is(err, driver.ErrBadConn) {
			t.Fatalf("dropping the connection: %v", err)
		}
	}
	var foreignKeys, synchronous int64
	write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := tx.QueryRow(ctx, `PRAGMA foreign_keys`, nil, &foreignKeys); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `PRAGMA synchronous`, nil, &synchronous)
	})
	if foreignKeys != 1 || synchronous != 2 {
		t.Errorf("after a reconnect foreign_keys is %d and synchronous %d; want 1 and 2 (FULL)", foreignKeys, synchronous)
	}
}
